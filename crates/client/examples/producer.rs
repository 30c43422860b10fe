// SPDX-License-Identifier: Apache-2.0
//! Sends ten messages: `cargo run -p client --example producer -- hello`, with a server on `$NAMESRV_ADDR` or the usual port.

use client::{Message, Producer, ProducerConfig};
use protocol::{Group, TopicName};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let servers = std::env::var("NAMESRV_ADDR").unwrap_or("127.0.0.1:9876".into());
    let topic = TopicName::parse(std::env::args().nth(1).unwrap_or("hello".into()))?;
    let producer = Producer::start(ProducerConfig::new(Group::parse("example-producer")?, &servers)).await?;
    for n in 0..10 {
        let message = Message::new(topic.clone(), format!("message {n}")).tag("example");
        let sent = producer.send(message).await?;
        println!("{} is at {} in {}", sent.id, sent.offset, sent.queue);
    }
    producer.shutdown().await;
    Ok(())
}
