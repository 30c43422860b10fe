// SPDX-License-Identifier: Apache-2.0
//! What a push consumer hands to the application, and what it hears back.

use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;

use crate::consumer::received::Received;

/// Messages of one queue, in queue order. Reads like a slice.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub(crate) messages: Arc<[Received]>,
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
    /// Everything was dealt with.
    Done,
    /// Nothing was: deliver again later. An orderly consumer waits and repeats, a concurrent one sends the messages
    /// back to the broker, a broadcast one drops them.
    Later,
    /// As `Later`, with a delay level of the broker: 1 is one second, 18 two hours; 0 lets the broker choose, below 0 gives up
    /// at once and moves the messages to the dead letters.
    LaterAt(i32),
}

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

    pub(crate) fn call(&self, messages: Arc<[Received]>) -> Verdict {
        (self.0)(Delivery { messages })
    }
}
