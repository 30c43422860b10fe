// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. What SDKs write down about messages when they are asked to trace: lines of fields in the body of messages
//! that go to a topic of their own, found by the ids and keys of what they tell of.
//! In: a body. Out: what each line says. Never fails: a line that is none is left out, a field that is not there is
//! `None`, because every line of versions wrote a few fields more than the one before.

use stdx::Timestamp;

use crate::names::TRACE_TOPIC;

/// Ends a line.
const LINE_END: char = '\u{2}';
/// Stands between two fields.
const BETWEEN: char = '\u{1}';

/// Where SDKs send what they write down, unless told otherwise.
pub const TOPIC: &str = TRACE_TOPIC;

/// What a line tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceKind {
    /// A producer sent the message.
    Sent,
    /// A consumer is about to consume it.
    Consuming,
    /// A consumer has consumed it, or failed to.
    Consumed,
    /// A producer decided its transaction.
    Decided,
    /// A producer took it back.
    Recalled,
}

impl TraceKind {
    /// The word that SDKs write.
    pub fn name(self) -> &'static str {
        match self {
            TraceKind::Sent => "Pub",
            TraceKind::Consuming => "SubBefore",
            TraceKind::Consumed => "SubAfter",
            TraceKind::Decided => "EndTransaction",
            TraceKind::Recalled => "Recall",
        }
    }

    fn of(name: &str) -> Option<TraceKind> {
        let all = [
            TraceKind::Sent,
            TraceKind::Consuming,
            TraceKind::Consumed,
            TraceKind::Decided,
            TraceKind::Recalled,
        ];
        all.into_iter().find(|kind| kind.name() == name)
    }
}

/// One line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceLine<'a> {
    /// What it tells of.
    pub kind: TraceKind,
    /// When, by the clock of the client.
    pub at: Option<Timestamp>,
    /// The client's group.
    pub group: Option<&'a str>,
    /// The topic of the message.
    pub topic: Option<&'a str>,
    /// The id that the producer gave the message.
    pub id: &'a str,
    /// Its tag.
    pub tags: Option<&'a str>,
    /// Its keys.
    pub keys: Option<&'a str>,
    /// The broker that it was sent to.
    pub store_host: Option<&'a str>,
    /// Bytes of its body.
    pub body_len: Option<i64>,
    /// How long it took, in milliseconds.
    pub cost: Option<i64>,
    /// The id that tells its place in the broker's log.
    pub offset_id: Option<&'a str>,
    /// Whether it went well.
    pub success: Option<bool>,
    /// Ties what comes before consuming to what comes after.
    pub request: Option<&'a str>,
    /// How often it had failed before.
    pub retries: Option<i64>,
    /// How consuming ended, as the client counts it.
    pub context: Option<i64>,
    /// What was decided.
    pub state: Option<&'a str>,
    /// Whether the broker had to ask for it.
    pub was_asked: Option<bool>,
}

/// The lines of a body, in their order.
pub fn lines(body: &str) -> impl Iterator<Item = TraceLine<'_>> {
    body.split(LINE_END).filter_map(line)
}

fn line(text: &str) -> Option<TraceLine<'_>> {
    let (name, rest) = text.split_once(BETWEEN)?;
    let kind = TraceKind::of(name)?;
    let fields: Vec<&str> = rest.split(BETWEEN).collect();
    // Java writes a field that is not there as a word.
    let text = |at: usize| fields.get(at).copied().filter(|text| !text.is_empty() && *text != "null");
    let number = |at: usize| text(at)?.parse::<i64>().ok();
    let truth = |at: usize| text(at)?.parse::<bool>().ok();
    let (id, mut line) = match kind {
        TraceKind::Consumed => (text(1)?, TraceLine::new(kind)),
        _ => (text(4)?, TraceLine { at: number(0).map(Timestamp), group: text(2), ..TraceLine::new(kind) }),
    };
    line.id = id;
    match kind {
        TraceKind::Sent => {
            // Before 4.4 the id of the place was not among them.
            let has_place = fields.len() > 12;
            (line.topic, line.tags, line.keys, line.store_host) = (text(3), text(5), text(6), text(7));
            (line.body_len, line.cost) = (number(8), number(9));
            line.offset_id = if has_place { text(11) } else { None };
            line.success = truth(if has_place { 12 } else { 11 });
        }
        TraceKind::Consuming => {
            (line.request, line.retries, line.keys) = (text(3), number(5), text(6));
        }
        TraceKind::Consumed => {
            (line.request, line.cost, line.success) = (text(0), number(2), truth(3));
            (line.keys, line.context) = (text(4), number(5));
            (line.at, line.group) = (number(6).map(Timestamp), text(7));
        }
        TraceKind::Decided => {
            (line.topic, line.tags, line.keys, line.store_host) = (text(3), text(5), text(6), text(7));
            (line.state, line.was_asked) = (text(10), truth(11));
        }
        TraceKind::Recalled => (line.topic, line.success) = (text(3), truth(5)),
    }
    Some(line)
}

impl<'a> TraceLine<'a> {
    fn new(kind: TraceKind) -> TraceLine<'a> {
        TraceLine {
            kind,
            at: None,
            group: None,
            topic: None,
            id: "",
            tags: None,
            keys: None,
            store_host: None,
            body_len: None,
            cost: None,
            offset_id: None,
            success: None,
            request: None,
            retries: None,
            context: None,
            state: None,
            was_asked: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    fn check(body: &str, expected: Expect) {
        let body = body.replace('|', "\u{1}").replace(';', "\u{2}");
        let show = |line: TraceLine<'_>| {
            let fields = format!("{line:?}").replace("None", "-");
            let known = fields.split(", ").filter(|field| !field.contains(": -"));
            known.collect::<Vec<_>>().join(", ")
        };
        let shown: Vec<String> = lines(&body).map(show).collect();
        expected.assert_eq(&shown.join("\n"));
    }

    #[test]
    fn every_kind_says_what_it_says() {
        check(
            "Pub|1700|here|P|orders|ID1|red|null|10.0.0.1:10911|5|3|0|PLACE|true;\
             Pub|1700|here|P|orders|ID1|red|k|10.0.0.1:10911|5|3|0|true;\
             SubBefore|1701|here|G|R1|ID1|2|k;\
             SubAfter|R1|ID1|7|false|k|1|1702|G;\
             SubAfter|R1|ID1|7|true|k|0|;\
             EndTransaction|1703|here|P|orders|ID1|red|k|10.0.0.1:10911|2|TX|COMMIT_MESSAGE|true;\
             Recall|1704|here|P|orders|ID1|true;",
            expect![[r#"
                TraceLine { kind: Sent, at: Some(1700ms), group: Some("P"), topic: Some("orders"), id: "ID1", tags: Some("red"), store_host: Some("10.0.0.1:10911"), body_len: Some(5), cost: Some(3), offset_id: Some("PLACE"), success: Some(true)
                TraceLine { kind: Sent, at: Some(1700ms), group: Some("P"), topic: Some("orders"), id: "ID1", tags: Some("red"), keys: Some("k"), store_host: Some("10.0.0.1:10911"), body_len: Some(5), cost: Some(3), success: Some(true)
                TraceLine { kind: Consuming, at: Some(1701ms), group: Some("G"), id: "ID1", keys: Some("k"), request: Some("R1"), retries: Some(2)
                TraceLine { kind: Consumed, at: Some(1702ms), group: Some("G"), id: "ID1", keys: Some("k"), cost: Some(7), success: Some(false), request: Some("R1"), context: Some(1)
                TraceLine { kind: Consumed, id: "ID1", keys: Some("k"), cost: Some(7), success: Some(true), request: Some("R1"), context: Some(0)
                TraceLine { kind: Decided, at: Some(1703ms), group: Some("P"), topic: Some("orders"), id: "ID1", tags: Some("red"), keys: Some("k"), store_host: Some("10.0.0.1:10911"), state: Some("COMMIT_MESSAGE"), was_asked: Some(true) }
                TraceLine { kind: Recalled, at: Some(1704ms), group: Some("P"), topic: Some("orders"), id: "ID1", success: Some(true)"#]],
        );
    }

    #[test]
    fn what_is_no_line_is_left_out() {
        check(
            "Sub|1|2;;Pub;Pub|1|2|3|4;hello;Pub|x|y|z|t|ID|;",
            expect![[r#"TraceLine { kind: Sent, group: Some("z"), topic: Some("t"), id: "ID""#]],
        );
    }

    proptest! {
        #[test]
        fn foreign_bodies_do_no_harm(body in "(Pub|SubBefore|SubAfter|EndTransaction|Recall|[\u{1}\u{2}a0-9]){0,30}") {
            lines(&body).for_each(drop);
        }
    }
}
