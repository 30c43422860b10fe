// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. How long a group's failed messages wait before the next try: part of the settings of a group. Used by the
//! broker, which obeys it, and by tools, which show it.
//! In: how often a message failed before. Out: a wait, or nothing where the group leaves it to the delay levels.
//! Invariant: no number in a policy makes a wait negative or overflow.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How long a failed message waits before the next try.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GroupRetryPolicy {
    pub customized_retry_policy: Option<CustomizedRetryPolicy>,
    pub exponential_retry_policy: Option<ExponentialRetryPolicy>,
    #[serde(rename = "type")]
    pub kind: GroupRetryPolicyType,
}

/// Which of the two policies holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum GroupRetryPolicyType {
    #[serde(rename = "EXPONENTIAL", alias = "0")]
    Exponential,
    #[default]
    #[serde(rename = "CUSTOMIZED", alias = "1")]
    Customized,
}

/// Waits that grow, in milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ExponentialRetryPolicy {
    pub initial: i64,
    pub max: i64,
    pub multiplier: i64,
}

impl Default for ExponentialRetryPolicy {
    fn default() -> ExponentialRetryPolicy {
        ExponentialRetryPolicy { initial: 5_000, max: 2 * 3_600_000, multiplier: 2 }
    }
}

/// Waits one by one, in milliseconds.
///
/// COMPAT: the first two are those of the delay levels 1 and 2, which no retry uses: the first retry waits for the
/// third, and what comes after the last waits for the last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct CustomizedRetryPolicy {
    pub next: Vec<i64>,
}

/// Entries of a list that no retry uses while there are more.
const UNUSED: usize = 2;

/// Retries after which an exponential wait grows no more.
const GROWTHS_MAX: u32 = 32;

impl Default for CustomizedRetryPolicy {
    /// The usual delay levels.
    fn default() -> CustomizedRetryPolicy {
        let seconds = [1, 5, 10, 30, 60, 120, 180, 240, 300, 360, 420, 480, 540, 600, 1200, 1800, 3600, 7200];
        CustomizedRetryPolicy { next: seconds.iter().map(|s: &i64| s.saturating_mul(1000)).collect() }
    }
}

impl CustomizedRetryPolicy {
    /// The list with which the first retry waits for the first of `waits`, the second for the second, and so on.
    pub fn of_retries(waits: &[i64]) -> CustomizedRetryPolicy {
        let lead = waits.first().copied().unwrap_or_default();
        CustomizedRetryPolicy { next: [&[lead; UNUSED], waits].concat() }
    }
}

/// Why a policy cannot be obeyed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRetryPolicy {
    /// A list of nothing.
    #[error("a customized retry policy needs at least one wait")]
    Empty,
    /// A wait that is none, or beyond what the broker can wait for.
    #[error("a retry waits for 0 to {max} ms, not for {wait}")]
    Wait {
        /// What was asked for.
        wait: i64,
        /// The limit.
        max: i64,
    },
    /// Waits that would shrink.
    #[error("the multiplier of a retry policy is at least 1, not {multiplier}")]
    Multiplier {
        /// What was asked for.
        multiplier: i64,
    },
}

impl GroupRetryPolicy {
    /// How long a message waits that failed `reconsumed` times before this failure; `None` leaves it to the delay
    /// levels, as a group does that was given no policy.
    pub fn wait(&self, reconsumed: i32) -> Option<Duration> {
        let failed = usize::try_from(reconsumed).unwrap_or(0);
        let wait = match self.kind {
            GroupRetryPolicyType::Customized => {
                let next = &self.customized_retry_policy.as_ref()?.next;
                *next.get(failed.saturating_add(UNUSED)).or(next.last())?
            }
            GroupRetryPolicyType::Exponential => {
                let policy = self.exponential_retry_policy.as_ref()?;
                let growths = u32::try_from(failed).unwrap_or(GROWTHS_MAX).min(GROWTHS_MAX);
                policy.initial.saturating_mul(policy.multiplier.saturating_pow(growths)).min(policy.max)
            }
        };
        Some(Duration::from_millis(u64::try_from(wait).unwrap_or(0)))
    }

    /// Says whether it can be obeyed by a broker that can wait for `max`. What is not in force is not judged.
    pub fn check(&self, max: Duration) -> Result<(), BadRetryPolicy> {
        let max = i64::try_from(max.as_millis()).unwrap_or(i64::MAX);
        let check = |wait: i64| match wait {
            _ if (0..=max).contains(&wait) => Ok(()),
            _ => Err(BadRetryPolicy::Wait { wait, max }),
        };
        match (self.kind, &self.customized_retry_policy, &self.exponential_retry_policy) {
            (GroupRetryPolicyType::Customized, Some(list), _) if list.next.is_empty() => {
                Err(BadRetryPolicy::Empty)
            }
            (GroupRetryPolicyType::Customized, Some(list), _) => {
                list.next.iter().try_for_each(|wait| check(*wait))
            }
            (GroupRetryPolicyType::Exponential, _, Some(growing)) => {
                check(growing.initial)?;
                check(growing.max)?;
                match growing.multiplier {
                    multiplier if multiplier < 1 => Err(BadRetryPolicy::Multiplier { multiplier }),
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(text: &str) -> GroupRetryPolicy {
        crate::json::from_slice(text.as_bytes()).unwrap()
    }

    /// The waits of the first retries in milliseconds.
    fn waits(text: &str, retries: i32) -> Option<Vec<u128>> {
        (0..retries).map(|n| policy(text).wait(n).map(|wait| wait.as_millis())).collect()
    }

    #[test]
    fn the_waits_of_each_kind() {
        assert_eq!(waits("{}", 3), None, "the delay levels");
        assert_eq!(waits(r#"{"type":"EXPONENTIAL"}"#, 3), None);
        let exponential =
            r#"{"type":"EXPONENTIAL","exponentialRetryPolicy":{"initial":100,"max":1000,"multiplier":3}}"#;
        assert_eq!(waits(exponential, 5), Some(vec![100, 300, 900, 1000, 1000]));
        let usual = r#"{"type":"EXPONENTIAL","exponentialRetryPolicy":{}}"#;
        assert_eq!(waits(usual, 4), Some(vec![5_000, 10_000, 20_000, 40_000]));
        let listed = r#"{"type":"CUSTOMIZED","customizedRetryPolicy":{"next":[1,2,3,4]}}"#;
        assert_eq!(waits(listed, 4), Some(vec![3, 4, 4, 4]), "as delay levels: the first two are never used");
        let short = r#"{"type":"CUSTOMIZED","customizedRetryPolicy":{"next":[7]}}"#;
        assert_eq!(waits(short, 2), Some(vec![7, 7]));
        let default = r#"{"type":"CUSTOMIZED","customizedRetryPolicy":{}}"#;
        assert_eq!(waits(default, 2), Some(vec![10_000, 30_000]));
        assert_eq!(policy(default).wait(99), Some(Duration::from_secs(7200)));
        let said = GroupRetryPolicy {
            customized_retry_policy: Some(CustomizedRetryPolicy::of_retries(&[10, 20])),
            ..GroupRetryPolicy::default()
        };
        let said: Vec<_> = (0..3).map(|n| said.wait(n).unwrap().as_millis()).collect();
        assert_eq!(said, [10, 20, 20]);
    }

    #[test]
    fn no_number_breaks_it() {
        for text in [
            r#"{"type":"EXPONENTIAL","exponentialRetryPolicy":{"initial":9223372036854775807,"max":9223372036854775807,"multiplier":9223372036854775807}}"#,
            r#"{"type":"EXPONENTIAL","exponentialRetryPolicy":{"initial":-9,"max":-9,"multiplier":-9}}"#,
            r#"{"type":"CUSTOMIZED","customizedRetryPolicy":{"next":[-5]}}"#,
        ] {
            for reconsumed in [i32::MIN, -1, 0, 1, 31, 32, 33, i32::MAX] {
                assert!(policy(text).wait(reconsumed).is_some());
            }
        }
        assert_eq!(waits(r#"{"type":"CUSTOMIZED","customizedRetryPolicy":{"next":[]}}"#, 1), None);
    }

    #[test]
    fn what_cannot_be_obeyed_is_named() {
        let check = |text: &str| policy(text).check(Duration::from_secs(10)).map_err(|bad| bad.to_string());
        assert_eq!(check("{}"), Ok(()));
        assert_eq!(check(r#"{"customizedRetryPolicy":{"next":[0,10000]}}"#), Ok(()));
        let bad = |text: &str| check(text).unwrap_err();
        assert_eq!(
            bad(r#"{"customizedRetryPolicy":{"next":[]}}"#),
            "a customized retry policy needs at least one wait"
        );
        assert_eq!(
            bad(r#"{"customizedRetryPolicy":{"next":[1,-1]}}"#),
            "a retry waits for 0 to 10000 ms, not for -1"
        );
        assert_eq!(
            bad(r#"{"type":"EXPONENTIAL","exponentialRetryPolicy":{"initial":1,"max":10001}}"#),
            "a retry waits for 0 to 10000 ms, not for 10001"
        );
        assert_eq!(
            bad(r#"{"type":"EXPONENTIAL","exponentialRetryPolicy":{"max":1,"initial":0,"multiplier":0}}"#),
            "the multiplier of a retry policy is at least 1, not 0"
        );
        // It is not in force.
        assert_eq!(check(r#"{"type":"EXPONENTIAL","customizedRetryPolicy":{"next":[]}}"#), Ok(()));
    }
}
