// SPDX-License-Identifier: Apache-2.0
//! `kiruna group set` and `kiruna group settings`: what a group may do, and how its failed messages are tried again.
//! What is not named stays as it is, broker by broker.

use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use client::Admin;
use protocol::ResponseCode;
use protocol::body::{
    CustomizedRetryPolicy, ExponentialRetryPolicy, GroupRetryPolicy, GroupRetryPolicyType,
    SubscriptionGroupConfig,
};
use protocol::names::Group;
use serde_json::{Value, json};
use stdx::config::Value as Setting;

use crate::commands::{Ask, answer};
use crate::output::Rows;

/// Flags of `kiruna group set`.
#[derive(Args, Debug)]
pub(crate) struct Set {
    /// The group.
    group: String,
    /// How often a failed message is tried again before it is a dead letter.
    #[arg(long, value_name = "TIMES")]
    retry_max: Option<i32>,
    /// Queues of its retry topic; 0 means that failed messages are not wanted again.
    #[arg(long, value_name = "COUNT")]
    retry_queues: Option<i32>,
    /// Failed messages wait so long, one time a retry, the last for all that follow: `1s,10s,5m`.
    #[arg(long, value_name = "TIMES", group = "waits")]
    retry_after: Option<String>,
    /// Failed messages wait longer each time: the first wait, the longest, and the factor: `1s,10m,2`.
    #[arg(long, value_name = "FIRST,MOST,FACTOR", group = "waits")]
    retry_backoff: Option<String>,
    /// Failed messages wait as the delay levels have it, from the third on, as groups do that were told nothing.
    #[arg(long, group = "waits")]
    retry_levels: bool,
    /// Whether it may consume.
    #[arg(long, value_name = "BOOL")]
    consume: Option<bool>,
    #[command(flatten)]
    ask: Ask,
}

impl Set {
    fn policy(&self) -> Result<Option<GroupRetryPolicy>> {
        if let Some(times) = &self.retry_after {
            let waits = times.split(',').map(millis).collect::<Result<Vec<i64>>>()?;
            let list = CustomizedRetryPolicy::of_retries(&waits);
            return Ok(Some(GroupRetryPolicy { customized_retry_policy: Some(list), ..Default::default() }));
        }
        if let Some(growing) = &self.retry_backoff {
            let parts: Vec<&str> = growing.split(',').collect();
            let [first, most, factor] = parts[..] else {
                bail!("--retry-backoff takes the first wait, the longest and a factor, as 1s,10m,2");
            };
            let policy = ExponentialRetryPolicy {
                initial: millis(first)?,
                max: millis(most)?,
                multiplier: factor.trim().parse()?,
            };
            return Ok(Some(GroupRetryPolicy {
                kind: GroupRetryPolicyType::Exponential,
                exponential_retry_policy: Some(policy),
                ..Default::default()
            }));
        }
        Ok(self.retry_levels.then(GroupRetryPolicy::default))
    }
}

fn millis(text: &str) -> Result<i64> {
    let time = <Duration as Setting>::read(text.trim()).map_err(anyhow::Error::msg)?;
    Ok(time.as_millis().try_into()?)
}

/// Makes or changes a group on every master.
pub(crate) fn set(set: &Set) -> Result<()> {
    let group = Group::parse(set.group.as_str())?;
    let policy = set.policy()?;
    answer(&set.ask, async |admin| {
        for master in admin.masters(None).await? {
            let now = find(admin, &master.address, &group).await?;
            let new = SubscriptionGroupConfig { group_name: group.clone(), ..Default::default() };
            let now = now.unwrap_or(new);
            let next = SubscriptionGroupConfig {
                retry_max_times: set.retry_max.unwrap_or(now.retry_max_times),
                retry_queue_nums: set.retry_queues.unwrap_or(now.retry_queue_nums),
                group_retry_policy: policy.clone().unwrap_or(now.group_retry_policy.clone()),
                consume_enable: set.consume.unwrap_or(now.consume_enable),
                // Brokers read them as changes.
                attributes: Default::default(),
                ..now
            };
            admin.put_group_on(&master.address, &next).await?;
        }
        settings(admin, &group).await
    })
}

/// Shows a group's settings.
pub(crate) fn show(group: &str, ask: &Ask) -> Result<()> {
    let group = Group::parse(group)?;
    answer(ask, async |admin| settings(admin, &group).await)
}

async fn settings(admin: &Admin, group: &Group) -> Result<Rows> {
    let mut rows =
        Rows::new(&["broker", "consume", "retry_max", "retry_queues", "retry_policy", "retry_waits"]);
    for master in admin.masters(None).await? {
        let Some(config) = find(admin, &master.address, group).await? else { continue };
        rows.push(vec![
            json!(master.broker.as_str()),
            json!(config.consume_enable),
            json!(config.retry_max_times),
            json!(config.retry_queue_nums),
            json!(kind(&config.group_retry_policy)),
            waits(&config),
        ]);
    }
    if rows.is_empty() {
        bail!("no broker knows group {group}");
    }
    Ok(rows)
}

fn kind(policy: &GroupRetryPolicy) -> &'static str {
    match policy.kind {
        _ if policy.wait(0).is_none() => "levels",
        GroupRetryPolicyType::Customized => "list",
        GroupRetryPolicyType::Exponential => "backoff",
    }
}

/// How long the first retries wait; nothing where the broker's delay levels say it.
fn waits(config: &SubscriptionGroupConfig) -> Value {
    let retries = 0..config.retry_max_times.clamp(0, 16);
    let waits = retries.map(|failed| config.group_retry_policy.wait(failed).map(show_wait));
    json!(waits.collect::<Option<Vec<String>>>().map(|waits| waits.join(" ")))
}

/// In seconds where it is whole ones.
fn show_wait(wait: Duration) -> String {
    match wait.as_millis() {
        millis if millis % 1000 == 0 => format!("{}s", millis / 1000),
        millis => format!("{millis}ms"),
    }
}

/// The settings on one broker, where it has any.
async fn find(admin: &Admin, address: &str, group: &Group) -> Result<Option<SubscriptionGroupConfig>> {
    match admin.group_config(address, group).await {
        Ok(config) if config.group_name == *group => Ok(Some(config)),
        Ok(_) => Ok(None),
        Err(error) if error.refusal() == Some(ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        set: Set,
    }

    fn first_waits(arguments: &[&str]) -> Vec<Option<u128>> {
        let line = Line::parse_from(["kiruna", "g"].iter().chain(arguments));
        let policy = line.set.policy().expect("it reads").expect("there is one");
        (0..4).map(|failed| policy.wait(failed).map(|wait| wait.as_millis())).collect()
    }

    #[test]
    fn a_policy_does_what_was_said() {
        let some = |waits: [u128; 4]| waits.map(Some).to_vec();
        assert_eq!(first_waits(&["--retry-after", "1s,50ms,2m"]), some([1_000, 50, 120_000, 120_000]));
        assert_eq!(first_waits(&["--retry-backoff", "100ms,1s,3"]), some([100, 300, 900, 1_000]));
        assert_eq!(first_waits(&["--retry-levels"]), [None; 4]);
    }
}
