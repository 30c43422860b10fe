// SPDX-License-Identifier: Apache-2.0
//! `kiruna pub` and `kiruna sub`: messages from and to a terminal, through the ordinary producer and consumer.

use std::io::{BufRead, Write};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use client::{
    ConsumeFrom, Consumed, Message, Model, Producer, ProducerConfig, PushConfig, PushConsumer, Received,
    Subscription,
};
use protocol::names::{Group, TopicName};
use serde_json::json;

use crate::exit;
use crate::output::{Format, Rows};

/// Flags of `kiruna pub`.
#[derive(Args, Debug)]
pub(crate) struct PubArgs {
    /// Topic to send to.
    topic: String,
    /// Body of the message; without it each line of standard input is a message.
    body: Option<String>,
    /// Name server.
    #[arg(short = 'n', long, env = "NAMESRV_ADDR", default_value = "127.0.0.1:9876")]
    namesrv: String,
    /// Tag of the message.
    #[arg(long)]
    tag: Option<String>,
    /// Key that the message can be found by; may be repeated.
    #[arg(long = "key")]
    keys: Vec<String>,
    /// Property of the message; may be repeated.
    #[arg(long = "property", value_name = "NAME=VALUE")]
    properties: Vec<String>,
    /// Delay level, 1 (1 s) to 18 (2 h).
    #[arg(long)]
    delay_level: Option<u8>,
    /// Messages with the same key stay in order.
    #[arg(long, value_name = "KEY")]
    ordered: Option<String>,
    /// How often the message is sent.
    #[arg(long, default_value_t = 1)]
    count: u64,
    /// Producer group.
    #[arg(long, default_value = "KIRUNA_CLI")]
    group: String,
    /// Form of the answer.
    #[arg(short = 'o', long, value_enum, default_value_t)]
    output: Format,
}

/// Flags of `kiruna sub`.
#[derive(Args, Debug)]
pub(crate) struct SubArgs {
    /// Topic to read.
    topic: String,
    /// Name server.
    #[arg(short = 'n', long, env = "NAMESRV_ADDR", default_value = "127.0.0.1:9876")]
    namesrv: String,
    /// Consumer group; its progress is kept. Without it every message is shown and no progress kept.
    #[arg(long)]
    group: Option<String>,
    /// Tags to read, such as `a || b`.
    #[arg(long, default_value = "*")]
    tags: String,
    /// Reads what an SQL92 expression over properties chooses, such as `price > 10 AND kind IN ('book', 'map')`.
    #[arg(long, value_name = "EXPRESSION", conflicts_with = "tags")]
    sql: Option<String>,
    /// Ends after this many messages; 0 reads until stopped.
    #[arg(long, default_value_t = 0)]
    count: u64,
    /// Begins at the end of the topic rather than at its first message.
    #[arg(long)]
    new: bool,
    /// Form of the answer; `table` prints a line a message.
    #[arg(short = 'o', long, value_enum, default_value_t)]
    output: Format,
}

/// Sends what the flags say.
pub(crate) fn publish(args: PubArgs) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let config = ProducerConfig::new(Group::parse(args.group.as_str())?, &args.namesrv);
        let producer = Producer::start(config).await?;
        let mut rows = Rows::new(&["id", "broker", "queue", "offset", "status"]);
        let outcome = match &args.body {
            Some(body) => {
                send_all(&producer, &args, (0..args.count).map(|_| Ok(body.clone())), &mut rows).await
            }
            None => send_all(&producer, &args, std::io::stdin().lock().lines(), &mut rows).await,
        };
        rows.write(args.output, &mut std::io::stdout().lock())?;
        producer.shutdown().await;
        outcome
    })
}

async fn send_all(
    producer: &Producer,
    args: &PubArgs,
    bodies: impl Iterator<Item = std::io::Result<String>>,
    rows: &mut Rows,
) -> Result<()> {
    for body in bodies {
        let message = message(args, body?)?;
        let sent = match &args.ordered {
            Some(key) => producer.send_ordered(message, key).await,
            None => producer.send(message).await,
        };
        let sent = sent.with_context(|| format!("cannot send to {}", args.topic))?;
        rows.push(vec![
            json!(sent.id),
            json!(sent.queue.broker.as_str()),
            json!(sent.queue.id.0),
            json!(sent.offset.0),
            json!(format!("{:?}", sent.stored)),
        ]);
    }
    Ok(())
}

fn message(args: &PubArgs, body: String) -> Result<Message> {
    let mut message = Message::new(TopicName::parse(args.topic.as_str())?, body.into_bytes());
    if let Some(tag) = &args.tag {
        message = message.tag(tag);
    }
    if !args.keys.is_empty() {
        message = message.keys(args.keys.iter().map(String::as_str));
    }
    for property in &args.properties {
        let Some((name, value)) = property.split_once('=') else {
            bail!("--property {property}: write NAME=VALUE")
        };
        message = message.property(name, value);
    }
    if let Some(level) = args.delay_level {
        message = message.delay_level(level.into());
    }
    Ok(message)
}

/// Prints messages until enough have come or a signal does.
pub(crate) fn subscribe(args: SubArgs) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let (sender, receiver) = mpsc::sync_channel::<Received>(1024);
    let consumer = runtime.block_on(consumer(&args, sender))?;
    let stop = runtime.spawn(exit::signal());
    let printed = print(&args, &receiver, || stop.is_finished());
    drop(receiver);
    runtime.block_on(consumer.shutdown());
    printed
}

async fn consumer(args: &SubArgs, sender: mpsc::SyncSender<Received>) -> Result<PushConsumer> {
    let group = args.group.clone().unwrap_or_else(|| format!("KIRUNA_SUB_{}", std::process::id()));
    let mut config = PushConfig::new(Group::parse(group.as_str())?, &args.namesrv);
    config.from = if args.new { ConsumeFrom::Last } else { ConsumeFrom::First };
    if args.group.is_none() {
        config.model = Model::Broadcast;
        config.progress_dir = std::env::temp_dir().join(format!("kiruna-sub-{}", std::process::id()));
    }
    let topic = TopicName::parse(args.topic.as_str())?;
    let subscription = match &args.sql {
        Some(expression) => Subscription::sql(topic, expression),
        None => Subscription::tags(topic, &args.tags),
    };
    let listener = move |delivery: client::Delivery| {
        let sender = sender.clone();
        async move {
            let all = delivery.iter().all(|message| sender.send(message.clone()).is_ok());
            if all { Consumed::Done } else { Consumed::Later }
        }
    };
    Ok(PushConsumer::start(config, &[subscription], listener).await?)
}

fn print(args: &SubArgs, receiver: &mpsc::Receiver<Received>, stopped: impl Fn() -> bool) -> Result<()> {
    let mut shown = 0;
    while !stopped() && (args.count == 0 || shown < args.count) {
        let Ok(message) = receiver.recv_timeout(Duration::from_millis(100)) else { continue };
        shown += 1;
        let mut out = std::io::stdout().lock();
        let body = String::from_utf8_lossy(&message.body);
        if args.output == Format::Table {
            writeln!(out, "{}", body)?;
        } else {
            let mut rows = Rows::new(&["id", "topic", "queue", "offset", "tag", "stored_at", "body"]);
            rows.push(vec![
                json!(message.id()),
                json!(message.topic.as_str()),
                json!(message.queue_id().0),
                json!(message.offset.0),
                json!(message.tag()),
                json!(message.stored_at.0),
                json!(body),
            ]);
            rows.write(args.output, &mut out)?;
        }
        out.flush()?;
    }
    Ok(())
}
