// SPDX-License-Identifier: Apache-2.0
//! The offsets in light queues that a record names in its own text; see [`super::numbers`].
//! Called by `Store::append_light`.
//! Invariants: the offsets of a light queue are handed out in log order, gapless, like those of any queue; a record takes
//! one offset of a queue that it names twice.

use std::fmt::Write;

use protocol::{caps, light, properties};

use super::numbers::{Counted, Kind, Number};
use super::{Draft, Encoded};
use crate::error::AppendError;
use crate::queue::QueueRef;

impl Draft<'_> {
    /// True when it goes to light queues.
    pub(crate) fn lists_light(&self) -> bool {
        list(self).is_some()
    }
}

/// The names that the message of `draft` lists, if it goes to light queues.
fn list<'a>(draft: &Draft<'a>) -> Option<&'a str> {
    let text = str::from_utf8(draft.message.properties).ok()?;
    let list = properties::get(text, properties::INNER_MULTI_DISPATCH)?;
    (light::is_written_from(&draft.queue.key().topic) && !list.trim().is_empty()).then_some(list)
}

impl Encoded {
    /// Adds a message, and to its text its offsets in light queues if it lists any. `queue` finds or makes one.
    pub(crate) fn push_light(
        &mut self,
        draft: &Draft<'_>,
        counted: &mut Counted,
        queue: impl Fn(&str) -> QueueRef,
    ) -> Result<(), AppendError> {
        let Some(list) = list(draft) else { return self.push_counted(draft, counted) };
        counted.add(draft.queue, 1);
        let (record, first) = (self.ends.len(), self.numbers.list.len());
        let mut text = String::from_utf8_lossy(draft.message.properties).into_owned();
        if !text.ends_with(properties::VALUE_END) {
            text.push(properties::VALUE_END);
        }
        text += properties::INNER_MULTI_QUEUE_OFFSET;
        text.push(properties::NAME_END);
        for (index, name) in light::names(list).enumerate() {
            if index > 0 {
                text.push(light::SEPARATOR);
            }
            // A message from Apache's log may list what is no light queue: it has no offset there either.
            if light::check(name).is_err() {
                continue;
            }
            let queue = queue(name);
            let earlier = self.numbers.list[first..].iter().find(|known| known.queue.is_same(&queue));
            let (kind, ahead) = match earlier {
                Some(known) => (Kind::Again, known.ahead),
                None => (Kind::Light, counted.add(&queue, 1)),
            };
            let (at, expected) = (text.len(), queue.next().0 + ahead);
            write!(text, "{expected}").expect("a string takes everything");
            let width = text.len() - at;
            self.numbers.list.push(Number { queue, record, at, width, ahead, kind });
        }
        text.push(properties::VALUE_END);
        if text.len() > caps::MAX_PROPERTIES {
            // Sends are judged by this; only a message of an older log can come here.
            tracing::error!(topic = %draft.queue.key().topic, "a message has no room for its light queues");
            self.numbers.list.truncate(first);
            return self.push(&draft.message);
        }
        self.push_text(draft, &text, first)
    }
}
