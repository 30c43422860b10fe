// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. When a failed request is tried again, where, and for how long.
//! In: outcomes and now. Out: the next step; brokers better left alone. Used by the producer and by every loop that waits.
//! Invariants: no more attempts than allowed, none after the deadline, and no pause that outlives it.

use std::collections::HashMap;
use std::time::Duration;

use protocol::codes::ResponseCode;
use protocol::names::BrokerName;
use stdx::Timestamp;

/// How often and how long a send is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryLimits {
    /// Attempts in all; 1 means no retry.
    pub attempts: u32,
    /// Time for all attempts together.
    pub timeout: Duration,
}

impl Default for RetryLimits {
    fn default() -> Self {
        RetryLimits { attempts: 3, timeout: Duration::from_secs(3) }
    }
}

/// True for the refusals that another broker, or the same one a little later, may not repeat. The last two are ours and
/// new clients' only: the server that slows a connection down, and the one that is about to go.
pub(crate) fn may_pass(code: ResponseCode) -> bool {
    matches!(
        code,
        ResponseCode::TOPIC_NOT_EXIST
            | ResponseCode::SERVICE_NOT_AVAILABLE
            | ResponseCode::SYSTEM_ERROR
            | ResponseCode::SYSTEM_BUSY
            | ResponseCode::NO_PERMISSION
            | ResponseCode::NO_BUYER_ID
            | ResponseCode::NOT_IN_CURRENT_UNIT
            | ResponseCode::FLOW_CONTROL
            | ResponseCode::GO_AWAY
    )
}

/// What to do after a failed attempt.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Try again after a pause.
    Try { pause: Duration },
    /// The last failure is the answer.
    GiveUp,
}

/// The attempts of one request.
#[derive(Debug)]
pub(crate) struct Attempts {
    limits: RetryLimits,
    deadline: Timestamp,
    made: u32,
    last: Option<BrokerName>,
}

impl Attempts {
    pub(crate) fn new(limits: RetryLimits, now: Timestamp) -> Attempts {
        Attempts { limits, deadline: now + limits.timeout, made: 0, last: None }
    }

    /// The broker of the last attempt, to be avoided by the next one.
    pub(crate) fn last(&self) -> Option<&BrokerName> {
        self.last.as_ref()
    }

    /// How often it was tried.
    pub(crate) fn made(&self) -> u32 {
        self.made
    }

    /// Time left for everything.
    pub(crate) fn left(&self, now: Timestamp) -> Duration {
        self.deadline.since(now)
    }

    /// Begins an attempt: how long it may take. All but the last leave half of the time for those that follow.
    pub(crate) fn begin(&mut self, broker: BrokerName, now: Timestamp) -> Duration {
        self.made += 1;
        self.last = Some(broker);
        let left = self.left(now);
        if self.made >= self.limits.attempts { left } else { left / 2 }
    }

    /// Decides after an attempt failed. `is_retriable` is the judgement on the failure itself.
    pub(crate) fn failed(&self, is_retriable: bool, now: Timestamp) -> Next {
        let pause = Backoff::SEND.pause(self.made.saturating_sub(1));
        if !is_retriable || self.made >= self.limits.attempts || now + pause >= self.deadline {
            return Next::GiveUp;
        }
        Next::Try { pause }
    }
}

/// Pauses that double up to a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Backoff {
    first: Duration,
    most: Duration,
}

impl Backoff {
    /// Between attempts of one send. Longer than the first pauses of a connection that cannot be made: a broker that comes back
    /// at once is met by the next attempt.
    pub(crate) const SEND: Backoff =
        Backoff { first: Duration::from_millis(100), most: Duration::from_secs(1) };
    /// Between attempts of a loop that has all day.
    pub(crate) const LOOP: Backoff =
        Backoff { first: Duration::from_millis(50), most: Duration::from_secs(3) };

    /// The pause after `failures` failures in a row beyond the first.
    pub(crate) fn pause(self, failures: u32) -> Duration {
        self.first.saturating_mul(1u32.checked_shl(failures.min(16)).unwrap_or(u32::MAX)).min(self.most)
    }
}

/// Brokers that failed a moment ago. They are passed over while another one can be had.
#[derive(Debug, Default)]
pub(crate) struct Penalties {
    brokers: HashMap<BrokerName, Penalty>,
}

#[derive(Debug)]
struct Penalty {
    failures: u32,
    until: Timestamp,
}

impl Penalties {
    const BACKOFF: Backoff = Backoff { first: Duration::from_millis(500), most: Duration::from_secs(30) };

    /// Notes a failure of the connection or a missed deadline.
    pub(crate) fn failed(&mut self, broker: &BrokerName, now: Timestamp) {
        let penalty =
            self.brokers.entry(broker.clone()).or_insert(Penalty { failures: 0, until: Timestamp(0) });
        penalty.until = now + Self::BACKOFF.pause(penalty.failures);
        penalty.failures = penalty.failures.saturating_add(1);
    }

    /// Notes an answer.
    pub(crate) fn answered(&mut self, broker: &BrokerName) {
        if !self.brokers.is_empty() {
            self.brokers.remove(broker);
        }
    }

    /// True while the broker should be passed over.
    pub(crate) fn holds(&self, broker: &BrokerName, now: Timestamp) -> bool {
        self.brokers.get(broker).is_some_and(|penalty| now < penalty.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn broker(name: &str) -> BrokerName {
        BrokerName::stored(name)
    }

    #[test]
    fn codes_that_are_tried_again() {
        let retried: Vec<i32> = (0..2100).filter(|&c| may_pass(ResponseCode(c))).collect();
        assert_eq!(retried, [1, 2, 14, 16, 17, 204, 205, 215, 1500]);
    }

    #[test]
    fn an_attempt_leaves_time_for_the_next_and_the_last_takes_all() {
        let mut attempts = Attempts::new(RetryLimits::default(), Timestamp(0));
        assert_eq!(attempts.begin(broker("a"), Timestamp(0)), Duration::from_millis(1500));
        assert_eq!(attempts.failed(true, Timestamp(1000)), Next::Try { pause: Duration::from_millis(100) });
        assert_eq!(attempts.begin(broker("b"), Timestamp(1000)), Duration::from_secs(1));
        assert_eq!(attempts.last(), Some(&broker("b")));
        assert_eq!(attempts.begin(broker("b"), Timestamp(1500)), Duration::from_millis(1500));
        assert_eq!(attempts.failed(true, Timestamp(1600)), Next::GiveUp);
    }

    #[test]
    fn a_final_refusal_is_not_tried_again() {
        let mut attempts = Attempts::new(RetryLimits::default(), Timestamp(0));
        attempts.begin(broker("a"), Timestamp(0));
        assert_eq!(attempts.failed(false, Timestamp(1)), Next::GiveUp);
    }

    #[test]
    fn a_failing_broker_is_avoided_longer_each_time_and_forgiven_at_once() {
        let (mut penalties, a) = (Penalties::default(), broker("a"));
        penalties.failed(&a, Timestamp(0));
        assert!(penalties.holds(&a, Timestamp(499)) && !penalties.holds(&a, Timestamp(500)));
        penalties.failed(&a, Timestamp(500));
        assert!(penalties.holds(&a, Timestamp(1499)) && !penalties.holds(&a, Timestamp(1500)));
        penalties.answered(&a);
        assert!(!penalties.holds(&a, Timestamp(0)));
    }

    proptest! {
        #[test]
        fn attempts_and_time_are_bounded(limit in 1u32..10, timeout in 1u64..5000, costs in prop::collection::vec(0i64..2000, 20)) {
            let limits = RetryLimits { attempts: limit, timeout: Duration::from_millis(timeout) };
            let mut now = Timestamp(0);
            let mut attempts = Attempts::new(limits, now);
            let mut made = 0;
            for cost in costs {
                let patience = attempts.begin(broker("a"), now);
                made += 1;
                now = now + patience.min(Duration::from_millis(cost as u64));
                match attempts.failed(true, now) {
                    Next::Try { pause } => now = now + pause,
                    Next::GiveUp => break,
                }
            }
            prop_assert!(made <= limit);
            prop_assert!(now.0 <= timeout as i64);
        }
    }
}
