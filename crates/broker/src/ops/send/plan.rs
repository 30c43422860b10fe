// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Where a message really goes: to its topic, to where messages wait, to the half messages, or to the dead letters
//! of its group.
//! In: what the message says and what its group allows. Out: a route or a refusal. The only place that decides it.

use std::time::Duration;

use stdx::Timestamp;

use super::SendRefused;
use super::stamp::Said;
use super::timing::Clockwork;
use crate::delay::{Level, Levels};

/// Where a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// To the topic and queue it names.
    Direct,
    /// It waits for its level's time first.
    Delayed(Level),
    /// It is the first half of a transaction, and waits for a decision first.
    Half,
    /// It waits for a time of its own first.
    Timed(Timestamp),
    /// Its group gave up on it.
    DeadLetters,
}

/// What a group allows a message that its consumer sends back by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RetryRule {
    /// How often it may be consumed again.
    pub(crate) max: i32,
    /// The group consumes in order now. Its consumer keeps a failing message and sends it only when it gives up.
    pub(crate) in_order: bool,
    /// How long the group's own policy has it wait now; `None` leaves it to the levels.
    pub(crate) wait: Option<Duration>,
}

/// Decides the route. `rule` is there for messages to a retry topic; `reconsumed` counts its deliveries so far.
pub(crate) fn plan(
    said: &Said<'_>,
    levels: &Levels,
    rule: Option<RetryRule>,
    reconsumed: i32,
    clock: Clockwork,
) -> Result<Route, SendRefused> {
    if rule.is_some_and(|rule| rule.in_order || reconsumed > rule.max) {
        return Ok(Route::DeadLetters);
    }
    // Clients that send a retry by themselves name the level that RocketMQ's brokers would choose. Where a group has a
    // policy it holds for these as well; another level is a wish for this one message.
    let is_usual = said.delay <= 0 || said.delay == i64::from(reconsumed).saturating_add(2);
    let wait = rule.and_then(|rule| rule.wait).filter(|_| is_usual);
    let onward = match (wait, levels.clamp(said.delay)) {
        (Some(wait), _) => Route::Timed(clock.now + wait.min(clock.max)),
        (None, Some(level)) => Route::Delayed(level),
        (None, None) => said.timing.due(clock)?.map_or(Route::Direct, Route::Timed),
    };
    // Clients before 4.6.1 leave the mark of a transaction on its retries. What a half message asks for besides is
    // looked at now and done when it is committed.
    let is_half = said.half && !(reconsumed > 0 && said.delay > 0);
    Ok(if is_half { Route::Half } else { onward })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route() {
        let levels = Levels::default();
        let rule = |max, in_order| Some(RetryRule { max, in_order, wait: None });
        let policy = |ms| Some(RetryRule { max: 16, in_order: false, wait: Some(Duration::from_millis(ms)) });
        let delayed = |level| Ok(Route::Delayed(levels.clamp(level).expect("a level")));
        let delay = |level: i64| format!("DELAY\u{1}{level}\u{2}");
        type Row<'a> = (&'a str, Option<RetryRule>, i32, Result<Route, SendRefused>);
        let clock = Clockwork { now: Timestamp(1000), max: Duration::from_secs(60) };
        let rows: [Row<'_>; 22] = [
            ("", None, 0, Ok(Route::Direct)),
            (&delay(3), None, 0, delayed(3)),
            (&delay(99), None, 0, delayed(18)),
            (&delay(-1), None, 0, Ok(Route::Direct)),
            (&delay(4), rule(16, false), 1, delayed(4)),
            (&delay(4), rule(16, false), 16, delayed(4)),
            (&delay(4), rule(16, false), 17, Ok(Route::DeadLetters)),
            (&delay(4), rule(16, true), 1, Ok(Route::DeadLetters)),
            ("TRAN_MSG\u{1}true", None, 0, Ok(Route::Half)),
            ("TRAN_MSG\u{1}true\u{2}DELAY\u{1}3", None, 0, Ok(Route::Half)),
            ("TRAN_MSG\u{1}true\u{2}TIMER_DELAY_MS\u{1}5", None, 0, Ok(Route::Half)),
            ("TRAN_MSG\u{1}true\u{2}DELAY\u{1}3", rule(16, false), 1, delayed(3)),
            ("TIMER_DELAY_MS\u{1}5", None, 0, Ok(Route::Timed(Timestamp(1005)))),
            ("TIMER_DELAY_MS\u{1}-5", None, 0, Ok(Route::Direct)),
            ("TIMER_DELAY_MS\u{1}5", rule(16, false), 17, Ok(Route::DeadLetters)),
            ("TIMER_DELAY_MS\u{1}5\u{2}DELAY\u{1}2", None, 0, delayed(2)),
            // The group's policy, where the client names no level of its own.
            (&delay(3), policy(70), 1, Ok(Route::Timed(Timestamp(1070)))),
            (&delay(6), policy(70), 4, Ok(Route::Timed(Timestamp(1070)))),
            ("", policy(70), 1, Ok(Route::Timed(Timestamp(1070)))),
            ("", policy(61_000), 1, Ok(Route::Timed(Timestamp(61_000)))),
            (&delay(9), policy(70), 1, delayed(9)),
            (&delay(4), policy(70), 17, Ok(Route::DeadLetters)),
        ];
        for (properties, rule, reconsumed, expected) in rows {
            let route = plan(&Said::read(properties), &levels, rule, reconsumed, clock);
            assert_eq!(route, expected, "{properties:?} {rule:?} {reconsumed}");
        }
    }
}
