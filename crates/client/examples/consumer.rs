// SPDX-License-Identifier: Apache-2.0
//! Prints the messages of a topic until Ctrl-C: `cargo run -p client --example consumer -- hello`, with a server on
//! `$NAMESRV_ADDR` or the usual port.

use client::{ConsumeFrom, Consumed, Delivery, PushConfig, PushConsumer, Subscription};
use protocol::{Group, TopicName};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let servers = std::env::var("NAMESRV_ADDR").unwrap_or("127.0.0.1:9876".into());
    let topic = TopicName::parse(std::env::args().nth(1).unwrap_or("hello".into()))?;
    let mut config = PushConfig::new(Group::parse("example-consumer")?, &servers);
    config.from = ConsumeFrom::First;
    let consumer = PushConsumer::start(config, &[Subscription::all(topic)], print).await?;
    tokio::signal::ctrl_c().await?;
    consumer.shutdown().await;
    Ok(())
}

async fn print(delivery: Delivery) -> Consumed {
    for message in delivery.iter() {
        println!("{} at {}: {}", message.queue, message.offset, String::from_utf8_lossy(&message.body));
    }
    Consumed::Done
}
