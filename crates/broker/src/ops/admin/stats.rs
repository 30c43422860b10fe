// SPDX-License-Identifier: Apache-2.0
//! One figure over the last minute, hour and day, by the names that RocketMQ's tools know. Called by the face of 315.
//! What is not measured has no figure: latencies of single queues (TOPIC_PUT_LATENCY, GROUP_GET_LATENCY) would cost a look at
//! the clock and a lookup for each message; those of the broker as a whole are among its runtime figures (28).

use protocol::body::{BrokerStatsData, BrokerStatsItem};
use stdx::Timestamp;

use crate::Broker;
use crate::rates::{GroupTraffic, Rate, Span};

/// Why there is no such figure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("The stats <{name}> <{key}> not exist")]
pub struct NoFigure {
    name: String,
    key: String,
}

impl Broker {
    /// Reads a figure; `key` is a topic, `topic@group`, or the cluster.
    pub(crate) fn figure(&self, name: &str, key: &str, now: Timestamp) -> Result<BrokerStatsData, NoFigure> {
        let span = |span| self.rate(name, key, span, now);
        match (span(Span::Minute), span(Span::Hour), span(Span::Day)) {
            (Some(minute), Some(hour), Some(day)) => Ok(BrokerStatsData {
                stats_day: item(day),
                stats_hour: item(hour),
                stats_minute: item(minute),
            }),
            _ => Err(NoFigure { name: name.to_owned(), key: key.to_owned() }),
        }
    }

    fn rate(&self, name: &str, key: &str, span: Span, now: Timestamp) -> Option<Rate> {
        let is_cluster = key == self.config().identity.cluster;
        match name {
            "TOPIC_PUT_NUMS" => self.rates.with_puts(key, |puts| puts.messages(span, now)),
            "TOPIC_PUT_SIZE" => self.rates.with_puts(key, |puts| puts.bytes(span, now)),
            "GROUP_GET_NUMS" => self.of_group(key, |group| group.gets.messages(span, now)),
            "GROUP_GET_SIZE" => self.of_group(key, |group| group.gets.bytes(span, now)),
            "SNDBCK_PUT_NUMS" => self.of_group(key, |group| group.sent_back.messages(span, now)),
            // Apache has the name and never counts under it.
            "DLQ_PUT_NUMS" => self.of_group(key, |group| group.dead.messages(span, now)),
            "SNDBCK2DLQ_TIMES" => self.of_group(dead_key(key)?, |group| group.dead.messages(span, now)),
            "BROKER_PUT_NUMS" if is_cluster => Some(self.rates.puts(&self.counts.now(), span, now)),
            "BROKER_GET_NUMS" if is_cluster => Some(self.rates.gets(&self.counts.now(), span, now)),
            _ => None,
        }
    }

    fn of_group(&self, key: &str, read: impl FnOnce(&GroupTraffic) -> Rate) -> Option<Rate> {
        let (topic, group) = key.split_once('@')?;
        self.rates.find_group(topic, group).map(|traffic| read(&traffic))
    }
}

/// The topic and the group in a key that also names an owner (ours have none) and the kind of event.
fn dead_key(key: &str) -> Option<&str> {
    key.strip_prefix("null@")?.strip_suffix("@SEND_BACK_TO_DLQ")
}

fn item(rate: Rate) -> BrokerStatsItem {
    BrokerStatsItem { avgpt: rate.per_call, sum: rate.sum as i64, tps: rate.per_second }
}
