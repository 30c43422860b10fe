// SPDX-License-Identifier: Apache-2.0
//! One figure over the last minute, hour and day, by the names that RocketMQ's tools know. Called by the face of 315.

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

fn item(rate: Rate) -> BrokerStatsItem {
    BrokerStatsItem { avgpt: rate.per_call, sum: rate.sum as i64, tps: rate.per_second }
}
