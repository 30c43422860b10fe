// SPDX-License-Identifier: Apache-2.0
//! The server of a simulation: a store and a broker over a simulated disk, opened as the command line opens them.

use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use broker::{Broker, Wake};
use protocol::filter::Filter;
use protocol::names::QueueOffset;
use stdx::Clock;
use store::disk::sim::SimDisk;
use store::{QueueRef, Read, ReadError, ReadLimit, Store, Verification};

use crate::clock::VirtualClock;
use crate::message::records;
use crate::plan::{DIR, Plan};

/// One process on one machine.
pub(crate) struct Node {
    pub(crate) disk: SimDisk,
    pub(crate) store: Arc<Store>,
    pub(crate) broker: Arc<Broker>,
}

impl Node {
    /// Starts the process on what is on the disk.
    pub(crate) fn open(disk: SimDisk, clock: &Arc<VirtualClock>, plan: &Plan) -> Result<Node, String> {
        disk.set_cold(plan.cold);
        let store = Store::open(plan.store(), Arc::new(disk.clone()), clock.clone());
        let store = Arc::new(store.map_err(|e| format!("the store does not open: {e}"))?);
        let broker = Broker::open(plan.broker(), store.clone(), clock.clone());
        let broker = broker.map_err(|e| format!("the broker does not open: {e}"))?;
        Ok(Node { disk, store, broker })
    }

    /// Opens what a crash left once, compares views and log, and leaves the disk of a process that was killed then.
    pub(crate) fn verify(
        disk: &SimDisk,
        clock: &Arc<VirtualClock>,
        plan: &Plan,
    ) -> Result<(SimDisk, Vec<(u64, u64)>), String> {
        let node = Node::open(disk.clone(), clock, plan)?;
        let damaged = node.damaged();
        drop(node);
        let found = Store::verify(Path::new(DIR), Arc::new(disk.kill()));
        let Verification { differences, .. } = found.map_err(|e| format!("cannot be verified: {e}"))?;
        if !differences.is_empty() {
            return Err(format!("views and log differ: {differences:?}"));
        }
        Ok((disk.kill(), damaged))
    }

    /// What opening set aside.
    pub(crate) fn damaged(&self) -> Vec<(u64, u64)> {
        self.store.opened().damaged.iter().map(|damage| (damage.start.0, damage.end.0)).collect()
    }

    /// Makes everything visible that may be.
    pub(crate) fn dispatch_all(&self, clock: &VirtualClock) {
        while matches!(self.broker.dispatch_step(clock.now()), Wake::Now | Wake::After(_)) {}
    }

    /// What a read finds, from the device where it has to.
    pub(crate) fn read(&self, queue: &QueueRef, from: u64, filter: &Filter) -> Result<Read, ReadError> {
        let limit = ReadLimit { messages: 64, bytes: 1 << 20 };
        match self.store.read(queue, QueueOffset(from), limit, filter) {
            Err(ReadError::Cold) => {
                let mut answer = pin!(self.store.read_cold(queue, QueueOffset(from), limit, filter));
                self.store.reader_step();
                match answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    Poll::Ready(read) => read,
                    Poll::Pending => panic!("the readers left a read waiting"),
                }
            }
            read => read,
        }
    }

    /// All records of a queue from an offset on, up to another.
    pub(crate) fn read_range(&self, queue: &QueueRef, from: u64, to: u64) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        let mut at = from.max(queue.first().0);
        while at < to {
            match self.read(queue, at, &Filter::All) {
                Ok(Read::Found(batch)) => {
                    all.extend(records(&batch.slices));
                    at = batch.next.0;
                }
                Ok(Read::Filtered { next, .. }) => at = next.0,
                Ok(Read::AtTail(_) | Read::Beyond(_)) => break,
                Err(e) => panic!("{} cannot be read at {at}: {e}", queue.key()),
            }
        }
        all
    }

    /// All records of a queue.
    pub(crate) fn read_all(&self, queue: &QueueRef) -> Vec<Vec<u8>> {
        self.read_range(queue, 0, queue.dispatched().0)
    }
}
