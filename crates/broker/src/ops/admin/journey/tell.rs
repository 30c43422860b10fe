// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. What one record of a message tells, and what a group's noted steps tell of it. In: a record, steps, and
//! where the group stands. Out: hops. Invariant: a hop without a time is one whose time nobody noted.

use protocol::names::{Group, HALF_TOPIC, QueueOffset, SCHEDULE_TOPIC, TIMER_TOPIC, TopicName};
use protocol::properties;
use protocol::record::{self, Record};
use stdx::Timestamp;

use super::{Hop, What};
use crate::rates::Told;
use crate::rates::trail::{Kind, Step};
use crate::transaction::records::{BY, WHY};

/// What is known of a group and a message.
#[derive(Clone, Debug)]
pub(super) struct Listener {
    pub(super) group: Group,
    pub(super) told: Told,
    pub(super) committed: Option<QueueOffset>,
    /// Its members keep their progress themselves.
    pub(super) broadcasts: bool,
    /// Whether its present filter takes the message, if it has one.
    pub(super) wants_it: Option<bool>,
}

/// What the record says of the message that is for `topic`, and the group that it was stored for, if for one.
pub(super) fn stored(
    record: &Record<'_>,
    topic: &TopicName,
    level_due: Timestamp,
) -> (Vec<Hop>, Option<Group>) {
    let said = |name| record.property(name);
    let here = TopicName::stored(record.topic().to_owned());
    let stored = |what| hop(record, what, Some(record.stored_at()));
    let size = format!("{} bytes at log offset {}", record.body().len(), record.log_offset());
    if here == *topic {
        let detail = format!("{size}{}", arrival(record));
        return (vec![born(record), Hop { detail, ..stored(What::Stored) }], None);
    }
    let real = TopicName::stored(said(properties::REAL_TOPIC).unwrap_or_default().to_owned());
    let group = here.retry_group().or_else(|| dead_group(&here)).or_else(|| real.retry_group());
    let attempt = record.reconsume();
    let hops = match here.as_str() {
        HALF_TOPIC => {
            let producers = said(properties::PGROUP).map(|group| Group::stored(group.to_owned()));
            vec![born(record), Hop { group: producers, detail: size, ..stored(What::Half) }]
        }
        TIMER_TOPIC if said(properties::TIMER_DEL_UNIQKEY).is_some() => vec![stored(What::Recalled)],
        TIMER_TOPIC => {
            let due = store::due(record);
            let again = store::origin(record).map(|at| format!(" instead of the record at {at}"));
            let detail = format!("{size}{}", again.unwrap_or_default());
            vec![born(record), Hop { until: due, detail, ..stored(What::Waits) }]
        }
        SCHEDULE_TOPIC => {
            let level = said(properties::DELAY).unwrap_or_default();
            let what = if group.is_some() { What::Failed } else { What::Waits };
            let detail = match group {
                Some(_) => format!("attempt {attempt} failed; tried again after level {level}"),
                None => format!("{size}, delay level {level}"),
            };
            vec![Hop { until: Some(level_due), group: group.clone(), detail, ..stored(what) }]
        }
        _ if here.is_retry() => {
            let detail = format!("for attempt {}", attempt.saturating_add(1));
            vec![Hop { group: group.clone(), detail, ..stored(What::Again) }]
        }
        _ if here.is_dlq() => {
            let detail = format!("after {attempt} attempts");
            vec![Hop { group: group.clone(), detail, ..stored(What::Dead) }]
        }
        _ => Vec::new(),
    };
    (hops, group)
}

/// Consumers can read the record; nobody notes since when.
pub(super) fn dispatched(record: &Record<'_>) -> Hop {
    let detail = "consumers can read it".to_owned();
    Hop { detail, ..hop(record, What::Dispatched, None) }
}

/// What a group did with the record.
pub(super) fn group(record: &Record<'_>, listener: &Listener) -> Vec<Hop> {
    let offset = record.queue_offset();
    let is_done = listener.committed.is_some_and(|committed| committed > offset);
    let (given_since, moved_since) = listener.told.since;
    let knows = |since: Timestamp| since <= record.stored_at();
    let of =
        |what, detail: String| Hop { group: Some(listener.group.clone()), detail, ..hop(record, what, None) };
    let mut hops: Vec<Hop> =
        listener.told.steps.iter().map(|step| step_hop(record, listener, step)).collect();
    let has = |what: &[What]| hops.iter().any(|hop| what.contains(&hop.what));
    let was_given = has(&[What::Given]);
    let was_looked_at = was_given || has(&[What::PassedOver, What::Unknown]);
    let was_acknowledged = has(&[What::Acknowledged]);
    let stands = listener.committed.map_or("nowhere".to_owned(), |at| format!("at {at}"));
    if !knows(given_since) {
        let also = if was_given { " too" } else { "" };
        let detail = format!("to whom it was given before then{also}, and whether, is not remembered");
        hops.push(Hop { until: Some(given_since), order: given_since, ..of(What::Unknown, detail) });
    }
    if listener.broadcasts {
        return hops;
    }
    if is_done && !was_acknowledged {
        // Progress that began behind it, or was moved over it, needs no word about it.
        let until = (!knows(moved_since)).then_some(moved_since);
        let detail = format!("progress stands {stands}; when it passed is not remembered");
        let order = until.unwrap_or(record.stored_at());
        hops.push(Hop { until, order, ..of(What::Acknowledged, detail) });
    }
    let latest = hops.iter().map(|hop| hop.order).max().unwrap_or(record.stored_at());
    if !is_done && was_given {
        let detail = format!("not acknowledged; progress stands {stands}");
        hops.push(Hop { order: latest, ..of(What::InFlight, detail) });
    } else if !is_done && !was_looked_at && knows(given_since) {
        let detail = format!("progress stands {stands}");
        hops.push(Hop { order: latest, ..of(What::NotGiven, detail) });
    }
    hops
}

fn step_hop(record: &Record<'_>, listener: &Listener, step: &Step) -> Hop {
    let range = step.to.0.abs_diff(step.from.0);
    let (what, detail) = match step.kind {
        Kind::Given { messages: 0 } => (What::PassedOver, "its filter did not want it".to_owned()),
        Kind::Given { messages } if u64::from(messages) == range => {
            (What::Given, format!("with {messages} messages from offset {}", step.from))
        }
        Kind::Given { messages } => {
            let batch = format!("with {messages} of {range} messages from offset {}", step.from);
            match listener.wants_it {
                Some(true) => (What::Given, format!("{batch}; the group's present filter wants it")),
                Some(false) => {
                    (What::PassedOver, format!("{batch}; the group's present filter does not want it"))
                }
                None => (What::Unknown, format!("{batch}; whether its filter wanted it is not known")),
            }
        }
        Kind::Committed => (What::Acknowledged, format!("progress from {} to {}", step.from, step.to)),
        Kind::Moved if step.to < step.from => {
            (What::Moved, format!("back from {} to {}: to be given again", step.from, step.to))
        }
        Kind::Moved => (What::Moved, format!("from {} to {}: not to be given", step.from, step.to)),
    };
    let readers = &listener.told.readers;
    let named = readers.iter().find(|(by, _)| *by == step.by).map(|(_, name)| name.to_string());
    Hop {
        at: Some(step.first),
        until: Some(step.last).filter(|last| *last != step.first),
        group: Some(listener.group.clone()),
        client: named.or_else(|| (step.by != 0).then(|| format!("connection {}", step.by))),
        detail,
        order: step.first,
        ..hop(record, what, None)
    }
}

/// Who decided a transaction, and why, where that is noted.
pub(super) fn audit(note: Record<'_>) -> String {
    match (note.property(BY), note.property(WHY)) {
        (Some(by), Some(why)) => format!("by hand: {by}: {why}"),
        _ => String::new(),
    }
}

fn born(record: &Record<'_>) -> Hop {
    Hop {
        client: Some(record.born_host().to_string()),
        detail: "by its producer's clock".to_owned(),
        // Clocks differ: it comes before what it became.
        order: record.born_at().min(record.stored_at()),
        ..hop(record, What::Born, Some(record.born_at()))
    }
}

/// How a record came to where it is, if it was somewhere else before.
fn arrival(record: &Record<'_>) -> String {
    let is_commit = record.transaction() & record::COMMITTED != 0;
    match store::due(record) {
        _ if is_commit => format!("; commits the half message at log offset {}", record.prepared()),
        Some(due) => format!("; its time, {due}, had come"),
        None => String::new(),
    }
}

fn dead_group(topic: &TopicName) -> Option<Group> {
    topic.as_str().strip_prefix("%DLQ%").map(|group| Group::stored(group.to_owned()))
}

fn hop(record: &Record<'_>, what: What, at: Option<Timestamp>) -> Hop {
    Hop {
        what,
        at,
        until: None,
        topic: TopicName::stored(record.topic().to_owned()),
        queue: record.queue(),
        offset: record.queue_offset(),
        group: None,
        client: None,
        detail: String::new(),
        order: record.stored_at(),
    }
}
