// SPDX-License-Identifier: Apache-2.0
//! What a push consumer hands to the application, and what it hears back.

use std::collections::BTreeMap;
use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::consumer::received::Received;

/// Messages of one queue, in queue order. Reads like a slice.
#[derive(Clone, Debug)]
pub struct Delivery {
    messages: Arc<[Received]>,
    failed: Failed,
}

/// Single messages that failed, with the level at which each is to come again.
type Failed = Arc<Mutex<BTreeMap<usize, i32>>>;

impl Delivery {
    /// Delivers one of the messages again later; the others are what the verdict says, usually `Done`. Level as in
    /// [`Consumed::LaterAt`]. Where order counts, those behind it come again as well, because they must not pass it.
    pub fn later(&self, index: usize, level: i32) {
        self.failed.lock().insert(index, level);
    }
}

impl Deref for Delivery {
    type Target = [Received];
    fn deref(&self) -> &[Received] {
        &self.messages
    }
}

/// The application's verdict on a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consumed {
    /// Everything was dealt with, but for what [`Delivery::later`] named.
    Done,
    /// Nothing was: deliver again later. An orderly consumer waits and repeats, a concurrent one sends the messages
    /// back to the broker, a broadcast one drops them.
    Later,
    /// As `Later`, with a delay level of the broker: 1 is one second, 18 two hours; 0 lets the broker choose, below 0 gives up
    /// at once and moves the messages to the dead letters.
    LaterAt(i32),
}

/// What a call of the listener came to, message by message: the level at which one is to come again, or nothing where
/// it was dealt with.
pub(crate) type Levels = Vec<Option<i32>>;

type Verdict = Pin<Box<dyn Future<Output = Consumed> + Send>>;

/// The application's function.
#[derive(Clone)]
pub(crate) struct Listener(Arc<dyn Fn(Delivery) -> Verdict + Send + Sync>);

impl Listener {
    pub(crate) fn new<F, V>(listener: F) -> Listener
    where
        F: Fn(Delivery) -> V + Send + Sync + 'static,
        V: Future<Output = Consumed> + Send + 'static,
    {
        Listener(Arc::new(move |delivery| Box::pin(listener(delivery))))
    }

    /// Hands messages over.
    pub(crate) async fn call(&self, messages: Arc<[Received]>) -> Levels {
        let (count, failed) = (messages.len(), Failed::default());
        let verdict = (self.0)(Delivery { messages, failed: failed.clone() }).await;
        let failed = failed.lock();
        let rest = match verdict {
            Consumed::Done => None,
            Consumed::Later => Some(0),
            Consumed::LaterAt(level) => Some(level),
        };
        (0..count).map(|index| failed.get(&index).copied().or(rest)).collect()
    }
}
