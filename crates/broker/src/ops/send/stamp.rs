// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. The properties of a message on its way into the log: read once, written once.
//! In: the text a client sent. Out: what it asks of the broker, and the text that is stored.
//! Invariants: a stored message has exactly one id, cluster, region and trace switch, and no handle of an earlier
//! pop; every other property is kept as it came, in its order.

use std::time::Duration;

use super::timing::Timing;
use protocol::kind::{Kind, Wishes};
use protocol::properties::{self as names, NAME_END, VALUE_END};
use stdx::Timestamp;

/// The properties that every message stored here gets; the same text each time.
pub(crate) struct Brand(String);

/// What a message's properties ask of the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Said<'a> {
    text: &'a str,
    /// The id its client gave it.
    pub(crate) unique: Option<&'a str>,
    /// The delay level, 0 when there is none. A level that is no number is none, as in RocketMQ.
    pub(crate) delay: i64,
    /// It names a delay level, whatever that says.
    leveled: bool,
    /// It names a group of messages that stay in order.
    in_order: bool,
    /// It names a light queue of its topic.
    lite: bool,
    /// The light queues that it goes to as well.
    pub(crate) light: Option<&'a str>,
    /// How urgent it is.
    priority: Option<&'a str>,
    /// It is the first half of a transaction.
    pub(crate) half: bool,
    /// The group that its producer says to be of.
    pub(crate) group: Option<&'a str>,
    /// The topic and the queue that a message is for which waits elsewhere.
    pub(crate) real_topic: Option<&'a str>,
    pub(crate) real_queue: Option<&'a str>,
    /// How long the producer of a half message is not to be asked about it.
    pub(crate) immunity: Option<Duration>,
    /// When it wants to be delivered.
    pub(crate) timing: Timing<'a>,
    /// The producer waits for the promised durability.
    pub(crate) wait: bool,
    /// It says how many messages it holds, which only the broker says of a record.
    pub(crate) counts: bool,
    /// It has index keys.
    pub(crate) keyed: bool,
    /// Something in it is not stored as it came.
    rewrite: bool,
    /// All of it is stored as it came up to here, unless its priority is not.
    kept: usize,
    /// Nothing in it that a message says anew which waits for a time of its own stands in front of here.
    timed_from: usize,
    /// An earlier broker left marks of a transaction in it.
    pub(crate) stale: bool,
    /// For how many milliseconds it is worth being read.
    ttl: Option<&'a str>,
    /// It says already until when.
    expires: bool,
    /// Until when it is worth being read, if that is decided here.
    deadline: Option<Timestamp>,
    /// Its priority is not stored.
    drops_priority: bool,
}

/// Properties that a stored message never has from its sender.
const CLEARED: [&str; 10] = [
    names::POP_CK,
    names::CLUSTER,
    names::MSG_REGION,
    names::TRACE_ON,
    names::REAL_TOPIC,
    names::REAL_QID,
    names::TIMER_WAS_MS,
    names::INNER_MULTI_QUEUE_OFFSET,
    names::INNER_NUM,
    names::INNER_BASE,
];

/// What a message says anew that waits for a time of its own.
const TIMES: [&str; 5] = [
    names::DELAY,
    names::TIMER_DELIVER_MS,
    names::TIMER_OUT_MS,
    names::TIMER_ENQUEUE_MS,
    names::TIMER_DEQUEUE_MS,
];

impl Brand {
    /// Writes the text once.
    pub(crate) fn new(cluster: &str, region: &str, trace_on: bool) -> Brand {
        let mut out = names::PropertiesOut::default();
        out.push(names::MSG_REGION, region);
        out.push(names::TRACE_ON, if trace_on { "true" } else { "false" });
        out.push(names::CLUSTER, cluster);
        Brand(out.as_str().to_owned())
    }
}

impl<'a> Said<'a> {
    /// Reads what a message asks, in one pass.
    pub(crate) fn read(text: &'a str) -> Said<'a> {
        let mut said = Said {
            text,
            unique: None,
            delay: 0,
            leveled: false,
            in_order: false,
            lite: false,
            light: None,
            priority: None,
            half: false,
            group: None,
            real_topic: None,
            real_queue: None,
            immunity: None,
            timing: Timing::default(),
            wait: true,
            counts: false,
            keyed: false,
            rewrite: false,
            kept: text.len(),
            timed_from: text.len(),
            stale: false,
            ttl: None,
            expires: false,
            deadline: None,
            drops_priority: false,
        };
        for (name, value) in names::iter(text) {
            match name {
                names::UNIQ_KEY => said.unique = Some(value),
                names::DELAY => {
                    (said.delay, said.leveled) = (value.parse().unwrap_or(0), true);
                    said.restates(name);
                }
                names::SHARDING_KEY => said.in_order = true,
                names::PRIORITY => said.priority = Some(value),
                names::LITE_TOPIC => said.lite = true,
                names::INNER_MULTI_DISPATCH => {
                    said.light = Some(value).filter(|list| !list.trim().is_empty())
                }
                names::TTL_MS => said.ttl = Some(value),
                names::EXPIRES => said.expires = true,
                names::PGROUP => said.group = Some(value),
                names::TRAN_MSG => said.half = value.eq_ignore_ascii_case("true"),
                names::CHECK_IMMUNITY_TIME_IN_SECONDS => {
                    said.immunity = value.parse().ok().map(Duration::from_secs);
                }
                names::WAIT => said.wait = !value.eq_ignore_ascii_case("false"),
                names::INNER_NUM => {
                    said.counts = true;
                    said.drops(name);
                }
                names::KEYS => said.keyed = !value.trim().is_empty(),
                names::TRANSACTION_ID
                | names::TRANSACTION_CHECK_TIMES
                | names::TRAN_PREPARED_QUEUE_OFFSET => said.stale = true,
                names::REAL_TOPIC => {
                    said.real_topic = Some(value);
                    said.drops(name);
                }
                names::REAL_QID => {
                    said.real_queue = Some(value);
                    said.drops(name);
                }
                _ if said.timing.read(name, value) => said.restates(name),
                names::TIMER_ENQUEUE_MS | names::TIMER_DEQUEUE_MS => said.restates(name),
                _ if is_cleared(name) => said.drops(name),
                _ => {}
            }
        }
        said
    }

    /// This is a property that is not stored; its name is a part of the text.
    fn drops(&mut self, name: &str) {
        if !self.rewrite {
            (self.rewrite, self.kept) = (true, self.place_of(name));
        }
    }

    /// This may be a property that a message says anew which waits; its name is a part of the text.
    fn restates(&mut self, name: &str) {
        if TIMES.contains(&name) {
            self.timed_from = self.timed_from.min(self.place_of(name));
        }
    }

    fn place_of(&self, name: &str) -> usize {
        name.as_ptr().addr() - self.text.as_ptr().addr()
    }

    /// The text that was read.
    pub(crate) fn text(&self) -> &'a str {
        self.text
    }

    /// The kind of message that this is.
    pub(crate) fn kind(&self) -> Kind {
        Kind::of_message(Wishes {
            half: self.half,
            later: self.leveled || self.timing.names_one(),
            in_order: self.in_order,
            priority: self.priority.is_some(),
            lite: self.lite,
        })
    }

    /// It says itself for how long it is worth being read.
    pub(crate) fn says_ttl(&self) -> bool {
        self.ttl.is_some()
    }

    /// How urgent it is: 0 and more, if it says so in a number. A message that asks for something else besides has no
    /// priority, and is stored without.
    pub(crate) fn urgency(&mut self) -> Option<u32> {
        let urgency = self.priority?.parse::<i32>().ok().and_then(|number| u32::try_from(number).ok())?;
        if self.kind() == Kind::Priority {
            return Some(urgency);
        }
        (self.drops_priority, self.rewrite) = (true, true);
        None
    }

    /// Decides until when it is worth being read. `from` is when it can be read first, `ttl` what its topic says for messages
    /// that say nothing. What an earlier broker or its sender decided stays, so a retry is not worth longer.
    pub(crate) fn expire(&mut self, from: Timestamp, ttl: Option<Duration>) {
        let own = self.ttl.and_then(|text| text.parse().ok()).filter(|ttl| *ttl > 0);
        let ttl = own.map(Duration::from_millis).or(ttl).filter(|_| !self.expires);
        self.deadline = ttl.map(|ttl| from + ttl);
    }

    /// Appends the text to store: what came, without `without`, with `also`, an id and the brand.
    ///
    /// `fresh` is the id for a message that came without one.
    pub(crate) fn stored(
        &self,
        brand: &Brand,
        without: &[&str],
        also: &[(&str, &str)],
        fresh: Option<&str>,
        out: &mut String,
    ) {
        let kept = if without.is_empty() { self.kept } else { 0 };
        self.write(kept, brand, without, also, fresh, out);
    }

    /// The same for a message that waits for a time of its own, which `also` says.
    pub(crate) fn stored_timed(
        &self,
        brand: &Brand,
        also: &[(&str, &str)],
        fresh: Option<&str>,
        out: &mut String,
    ) {
        self.write(self.kept.min(self.timed_from), brand, &TIMES, also, fresh, out);
    }

    /// Appends the text to store, of which what came stays as it is up to `kept`.
    fn write(
        &self,
        kept: usize,
        brand: &Brand,
        without: &[&str],
        also: &[(&str, &str)],
        fresh: Option<&str>,
        out: &mut String,
    ) {
        let more: usize = also.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
        out.reserve(self.text.len() + 1 + 48 + more + brand.0.len());
        let priority = self.drops_priority.then_some(names::PRIORITY);
        let kept = if priority.is_none() { kept } else { 0 };
        if kept < self.text.len() {
            let dropped = |name: &str| is_cleared(name) || without.contains(&name) || priority == Some(name);
            let (kept, rest) = self.text.split_at(kept);
            out.push_str(kept);
            names::iter(rest).filter(|(name, _)| !dropped(name)).for_each(|pair| put(out, pair));
        } else {
            out.push_str(self.text);
            if !out.is_empty() && !out.ends_with(VALUE_END) {
                out.push(VALUE_END);
            }
        }
        also.iter().for_each(|pair| put(out, *pair));
        if let Some(deadline) = self.deadline {
            put(out, (names::EXPIRES, &deadline.to_string()));
        }
        if let Some(id) = fresh {
            put(out, (names::UNIQ_KEY, id));
        }
        out.push_str(&brand.0);
    }
}

/// True for properties that no sender sets in a stored message.
pub(super) fn is_cleared(name: &str) -> bool {
    CLEARED.contains(&name)
}

fn put(out: &mut String, (name, value): (&str, &str)) {
    out.push_str(name);
    out.push(NAME_END);
    out.push_str(value);
    out.push(VALUE_END);
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn brand() -> Brand {
        Brand::new("main", "here", true)
    }

    fn stored(
        said: &Said<'_>,
        brand: &Brand,
        without: &[&str],
        also: &[(&str, &str)],
        fresh: Option<&str>,
    ) -> String {
        let mut out = String::new();
        said.stored(brand, without, also, fresh, &mut out);
        out.replace('\u{1}', "=").replace('\u{2}', ";")
    }

    fn check(text: &str, expected: Expect) {
        let text = text.replace('=', "\u{1}").replace(';', "\u{2}");
        let said = Said::read(&text);
        let fresh = said.unique.is_none().then_some("NEW");
        let stored = stored(&said, &brand(), &[], &[], fresh);
        let Said { unique, delay, half, timing, wait, keyed, .. } = said;
        let timed = timing.is_asked();
        expected.assert_eq(&format!(
            "{stored}\nunique {unique:?} delay {delay} half {half} timed {timed} wait {wait} keyed {keyed}"
        ));
    }

    #[test]
    fn an_ordinary_message_is_kept_and_branded() {
        check(
            "UNIQ_KEY=u1;TAGS=a;WAIT=true",
            expect![[r#"
                UNIQ_KEY=u1;TAGS=a;WAIT=true;MSG_REGION=here;TRACE_ON=true;CLUSTER=main;
                unique Some("u1") delay 0 half false timed false wait true keyed false"#]],
        );
        check(
            "",
            expect![[r#"
                UNIQ_KEY=NEW;MSG_REGION=here;TRACE_ON=true;CLUSTER=main;
                unique None delay 0 half false timed false wait true keyed false"#]],
        );
    }

    #[test]
    fn a_message_that_was_here_before_is_not_branded_twice() {
        check(
            "CLUSTER=old;UNIQ_KEY=u1;POP_CK=0 1 2;INNER_MULTI_QUEUE_OFFSET=7;INNER_NUM=3;INNER_BASE=4;MSG_REGION=there;TRACE_ON=false;KEYS=k;REAL_TOPIC=t;REAL_QID=9;",
            expect![[r#"
                UNIQ_KEY=u1;KEYS=k;MSG_REGION=here;TRACE_ON=true;CLUSTER=main;
                unique Some("u1") delay 0 half false timed false wait true keyed true"#]],
        );
        // as a half message is that was stored here
        check(
            "A=b;UNIQ_KEY=u1;KEYS=k;__transactionId__=u1;REAL_TOPIC=t;C=d;REAL_QID=9;MSG_REGION=there;TRACE_ON=false;CLUSTER=old;E=f",
            expect![[r#"
                A=b;UNIQ_KEY=u1;KEYS=k;__transactionId__=u1;C=d;E=f;MSG_REGION=here;TRACE_ON=true;CLUSTER=main;
                unique Some("u1") delay 0 half false timed false wait true keyed true"#]],
        );
    }

    #[test]
    fn wishes_are_read() {
        check(
            "DELAY=3;TRAN_MSG=TRUE;WAIT=false;TIMER_DELAY_MS=5;KEYS=  ;UNIQ_KEY=u",
            expect![[r#"
                DELAY=3;TRAN_MSG=TRUE;WAIT=false;TIMER_DELAY_MS=5;KEYS=  ;UNIQ_KEY=u;MSG_REGION=here;TRACE_ON=true;CLUSTER=main;
                unique Some("u") delay 3 half true timed true wait false keyed false"#]],
        );
        assert_eq!(Said::read("DELAY\u{1}soon").delay, 0);
    }

    #[test]
    fn a_priority_is_one_only_alone() {
        let rows = [
            ("_SYS_MSG_PRIORITY_=3", Kind::Priority, Some(3), "_SYS_MSG_PRIORITY_=3;"),
            (
                "_SYS_MSG_PRIORITY_=3;__LITE_TOPIC=a",
                Kind::Priority,
                Some(3),
                "_SYS_MSG_PRIORITY_=3;__LITE_TOPIC=a;",
            ),
            ("A=b;_SYS_MSG_PRIORITY_=3;__SHARDINGKEY=k", Kind::Fifo, None, "A=b;__SHARDINGKEY=k;"),
            ("DELAY=0;_SYS_MSG_PRIORITY_=3", Kind::Delay, None, "DELAY=0;"),
            (
                "TIMER_OUT_MS=1;TIMER_DELIVER_MS=1;_SYS_MSG_PRIORITY_=3",
                Kind::Delay,
                None,
                "TIMER_OUT_MS=1;TIMER_DELIVER_MS=1;",
            ),
            (
                "_SYS_MSG_PRIORITY_=-1;__SHARDINGKEY=k",
                Kind::Fifo,
                None,
                "_SYS_MSG_PRIORITY_=-1;__SHARDINGKEY=k;",
            ),
            ("_SYS_MSG_PRIORITY_=high", Kind::Priority, None, "_SYS_MSG_PRIORITY_=high;"),
            ("__LITE_TOPIC=a", Kind::Lite, None, "__LITE_TOPIC=a;"),
            ("", Kind::Normal, None, ""),
        ];
        for (text, kind, urgency, stored) in rows {
            let text = text.replace('=', "\u{1}").replace(';', "\u{2}");
            let mut said = Said::read(&text);
            assert_eq!((said.kind(), said.urgency()), (kind, urgency), "{text:?}");
            let kept = super::tests::stored(&said, &Brand(String::new()), &[], &[], None);
            assert_eq!(kept, stored, "{text:?}");
        }
    }

    #[test]
    fn a_message_that_waits_says_its_time_once() {
        let rows = [
            ("A=b;TIMER_DELAY_MS=5", "A=b;TIMER_DELAY_MS=5;"),
            ("A=b;TIMER_DELIVER_MS=5;C=d", "A=b;C=d;"),
            ("DELAY=0;A=b;TIMER_DELIVER_MS=5;", "A=b;"),
            ("A=b;TIMER_ENQUEUE_MS=5;C=d;TIMER_DEQUEUE_MS=6", "A=b;C=d;"),
            ("A=b;TIMER_DEQUEUE_MS=6", "A=b;"),
            ("TIMER_OUT_MS=1;CLUSTER=c;A=b", "A=b;"),
            ("A=b;CLUSTER=c;TIMER_DELIVER_MS=5;C=d", "A=b;C=d;"),
            ("A=b;_SYS_MSG_PRIORITY_=3;TIMER_DELAY_MS=5", "A=b;TIMER_DELAY_MS=5;"),
            ("", ""),
        ];
        for (text, kept) in rows {
            let text = text.replace('=', "\u{1}").replace(';', "\u{2}");
            let mut said = Said::read(&text);
            said.urgency();
            let also = [(names::TIMER_OUT_MS, "4"), (names::TIMER_DELIVER_MS, "5")];
            let mut stored = String::new();
            said.stored_timed(&Brand(String::new()), &also, None, &mut stored);
            let stored = stored.replace('\u{1}', "=").replace('\u{2}', ";");
            assert_eq!(stored, format!("{kept}TIMER_OUT_MS=4;TIMER_DELIVER_MS=5;"), "{text:?}");
        }
    }

    #[test]
    fn properties_are_taken_away_and_added() {
        let text = "DELAY\u{1}3\u{2}A\u{1}x\u{1}y\u{2}";
        let stored = stored(&Said::read(text), &brand(), &["DELAY"], &[("REAL_QID", "7")], None);
        assert!(stored.starts_with("A=x=y;REAL_QID=7;MSG_REGION"), "{stored:?}");
    }
}
