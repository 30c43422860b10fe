// SPDX-License-Identifier: Apache-2.0
//! The loop of a push consumer: keeps its place in the group, its share of the queues, its locks and its progress.
//! It owns the workers; whatever happens to a queue is decided here. Never calls the listener itself.
//! Invariants: a queue has one worker at a time; an orderly queue gets one only with the broker's lock.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use protocol::names::{BrokerName, QueueOffset};
use stdx::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::consumer::answers;
use crate::consumer::group::GroupState;
use crate::consumer::held::{Held, Stop};
use crate::consumer::inbox::Ask;
use crate::consumer::push::{Mode, Model};
use crate::consumer::worker::{Leftover, Worker};
use crate::queue::Queue;
use crate::rebalance;
use crate::session::StartError;

/// How soon to look again while something is missing: a topic, the members, a lock.
const SOON: Duration = Duration::from_secs(1);

pub(crate) struct Member {
    group: Arc<GroupState>,
    asks: mpsc::Receiver<Ask>,
    held: BTreeMap<Queue, Arc<Held>>,
    workers: JoinSet<Leftover>,
    /// Handlers of queues that were given up, and messages consumed on a broker's word.
    lingering: JoinSet<()>,
    due: Due,
}

/// When what is next to be done.
struct Due {
    routes: Timestamp,
    beat: Timestamp,
    rebalance: Timestamp,
    commit: Timestamp,
    lock: Timestamp,
}

impl Due {
    fn first(&self) -> Timestamp {
        [self.routes, self.beat, self.rebalance, self.commit, self.lock]
            .into_iter()
            .min()
            .unwrap_or(self.beat)
    }
}

impl Member {
    pub(crate) fn new(group: Arc<GroupState>, asks: mpsc::Receiver<Ask>) -> Member {
        let now = group.session.now();
        let due = Due { routes: now, beat: now, rebalance: now, commit: now, lock: now };
        Member { group, asks, held: BTreeMap::new(), workers: JoinSet::new(), lingering: JoinSet::new(), due }
    }

    /// Finds the brokers and joins the group.
    pub(crate) async fn join(&mut self) -> Result<(), StartError> {
        self.refresh_routes().await;
        self.group.check_filters().await?;
        self.beat().await;
        Ok(())
    }

    /// Runs until the other end of `stop` is dropped.
    pub(crate) async fn run(mut self, mut stop: oneshot::Receiver<()>) {
        loop {
            let wait = self.due.first().since(self.group.session.now());
            tokio::select! {
                _ = &mut stop => break,
                Some(ask) = self.asks.recv() => self.answer(ask),
                Some(ended) = self.workers.join_next() => self.released(ended),
                Some(_) = self.lingering.join_next() => {}
                () = self.group.forgotten.notified() => self.speak_up(),
                () = self.group.session.routes().new_broker.notified() => self.due.beat = self.group.session.now(),
                () = self.group.session.sleep(wait) => self.tick().await,
            }
        }
        self.leave().await;
    }

    /// Does everything that is due.
    async fn tick(&mut self) {
        let now = self.group.session.now();
        if self.due.routes <= now {
            self.refresh_routes().await;
        }
        if self.due.beat <= now {
            self.beat().await;
        }
        if self.due.lock <= now {
            self.renew_locks().await;
        }
        if self.due.rebalance <= now {
            self.rebalance().await;
        }
        if self.due.commit <= now {
            self.commit().await;
        }
    }

    /// Says soon that we live, and asks for the locks again; not more often than once in a while.
    fn speak_up(&mut self) {
        let soon = self.group.session.now() + SOON;
        self.due.beat = self.due.beat.min(soon);
        self.due.lock = self.due.lock.min(soon);
    }

    async fn refresh_routes(&mut self) {
        let topics: Vec<_> = self.group.interests.keys().cloned().collect();
        let changed = self.group.session.refresh_routes(&topics).await;
        let now = self.group.session.now();
        let is_missing = topics.iter().any(|topic| self.group.session.routes().get(topic).is_none());
        let interval = self.group.session.config().route_interval;
        self.due.routes = now + if is_missing { SOON.min(interval) } else { interval };
        if changed {
            self.due.rebalance = now;
        }
    }

    async fn beat(&mut self) {
        let answered = self.group.session.beat(&self.group.heartbeat()).await;
        tracing::debug!(group = %self.group.config.group, answered, "told the brokers that we live");
        self.due.beat = self.group.session.now() + self.group.session.config().heartbeat_interval;
    }

    /// Looks at the shares again: gives up what is not ours any more, takes what is.
    async fn rebalance(&mut self) {
        let (share, is_sure) = self.share().await;
        let now = self.group.session.now();
        let held: BTreeSet<Queue> = self.held.keys().cloned().collect();
        let change = rebalance::change(&held, &share);
        for queue in &change.given_up {
            if let Some(held) = self.held.get(queue) {
                held.stop(Stop::GivenUp);
            }
        }
        let missed = self.take(change.taken).await;
        // A queue that is ours but still with its old worker is taken once that has ended; see `released`.
        let interval = self.group.config.rebalance_interval;
        self.due.rebalance = now + if is_sure && !missed { interval } else { SOON.min(interval) };
    }

    /// Computes our share of all topics. Topics whose route or members are unknown keep what they have; false then.
    async fn share(&self) -> (BTreeSet<Queue>, bool) {
        let mut share = BTreeSet::new();
        let mut is_sure = true;
        for topic in self.group.interests.keys() {
            let Some(route) = self.group.session.routes().get(topic) else {
                is_sure &= topic.is_retry();
                continue;
            };
            if self.group.config.model == Model::Broadcast {
                share.extend(route.readable().iter().cloned());
                continue;
            }
            match self.group.members(&route).await {
                Some(members) => {
                    let me = self.group.session.id();
                    share.extend(self.group.config.allocation.share(route.readable(), &members, me));
                }
                None => {
                    is_sure = false;
                    share.extend(self.held.keys().filter(|queue| queue.topic == *topic).cloned());
                }
            }
        }
        (share, is_sure)
    }

    /// Starts workers; true when a lock was not granted.
    async fn take(&mut self, queues: Vec<Queue>) -> bool {
        let forever = Timestamp(i64::MAX);
        if self.group.config.mode == Mode::Concurrent || self.group.config.model == Model::Broadcast {
            queues.into_iter().for_each(|queue| self.start(queue, forever));
            return false;
        }
        let wanted = queues.len();
        let mut started = 0;
        for (broker, queues) in by_broker(queues) {
            match self.group.lock(&broker, &queues).await {
                Ok((granted, until)) => {
                    started += granted.len();
                    granted.into_iter().for_each(|queue| self.start(queue, until));
                }
                Err(error) => tracing::warn!(broker = %broker, %error, "cannot lock queues"),
            }
        }
        started < wanted
    }

    fn start(&mut self, queue: Queue, locked_until: Timestamp) {
        let Some(interest) = self.group.interests.get(&queue.topic) else { return };
        tracing::debug!(group = %self.group.config.group, queue = %queue, "taking a queue");
        let held = Arc::new(Held::new(queue.clone(), locked_until));
        let worker = Worker::new(self.group.clone(), held.clone(), interest.clone());
        self.workers.spawn(worker.run());
        self.held.insert(queue, held);
    }

    /// A worker has ended: its queue is free, and may be ours again.
    fn released(&mut self, ended: Result<Leftover, tokio::task::JoinError>) {
        match ended {
            Ok(Leftover { held, mut handlers }) => {
                tracing::debug!(group = %self.group.config.group, queue = %held.queue, "gave a queue up");
                self.held.remove(&held.queue);
                if !handlers.is_empty() {
                    self.lingering.spawn(async move { while handlers.join_next().await.is_some() {} });
                }
            }
            Err(error) => {
                tracing::error!(%error, "a queue's worker was lost; its queue is taken anew");
                let alive = |held: &Arc<Held>| Arc::strong_count(held) > 1;
                self.held.retain(|_, held| alive(held));
            }
        }
        self.due.rebalance = self.group.session.now();
    }

    /// Renews the locks; a queue whose lock somebody else has is dropped on the spot.
    async fn renew_locks(&mut self) {
        self.due.lock = self.group.session.now() + self.group.config.lock_interval;
        if self.group.config.mode == Mode::Concurrent || self.group.config.model == Model::Broadcast {
            return;
        }
        let running = self.held.values().filter(|held| held.stopped().is_none());
        for (broker, queues) in by_broker(running.map(|held| held.queue.clone()).collect()) {
            let (granted, until) = match self.group.lock(&broker, &queues).await {
                Ok(granted) => granted,
                Err(error) => {
                    tracing::warn!(broker = %broker, %error, "cannot renew locks");
                    continue;
                }
            };
            for held in queues.iter().filter_map(|queue| self.held.get(queue)) {
                if granted.contains(&held.queue) {
                    held.locked(until);
                } else {
                    tracing::warn!(queue = %held.queue, "lost the lock of a queue");
                    held.stop(Stop::LockLost);
                }
            }
        }
    }

    async fn commit(&mut self) {
        for held in self.held.values().filter(|held| held.stopped().is_none()) {
            self.group.commit(held).await;
        }
        if let Some(local) = &self.group.local {
            local.save();
        }
        self.due.commit = self.group.session.now() + self.group.config.commit_interval;
    }

    fn answer(&mut self, ask: Ask) {
        match ask {
            Ask::MembersChanged => self.due.rebalance = self.group.session.now(),
            Ask::Reset(offsets) => self.reset(&offsets),
            Ask::Status(topic, answer) => drop(answer.send(answers::status(&self.held, &topic))),
            Ask::RunningInfo(answer) => drop(answer.send(answers::running_info(&self.group, &self.held))),
            Ask::Consume(record, broker, answer) => {
                let group = self.group.clone();
                self.lingering.spawn(async move {
                    drop(answer.send(answers::consume(&group, &record, &broker).await));
                });
            }
        }
    }

    fn reset(&self, offsets: &[(Queue, QueueOffset)]) {
        for (queue, offset) in offsets {
            if let Some(held) = self.held.get(queue) {
                tracing::info!(group = %self.group.config.group, queue = %queue, offset = %offset, "offset reset");
                held.ask_rewind(*offset);
            }
        }
    }

    /// Gives everything up in order, but not beyond the patience for a shutdown.
    async fn leave(mut self) {
        // Saved before the wait as well as after it: the listener may never finish.
        self.commit().await;
        self.held.values().for_each(|held| held.stop(Stop::Leaving));
        let group = self.group.clone();
        let settle = async {
            while self.workers.join_next().await.is_some() {}
            while self.lingering.join_next().await.is_some() {}
        };
        if group.session.within(group.config.shutdown_patience, settle).await.is_none() {
            tracing::warn!(group = %group.config.group, "shut down before the listener had finished");
            self.workers.abort_all();
            let unsettled = self.held.values().filter(|held| held.stopped() == Some(Stop::Leaving));
            join_all(unsettled.map(|held| group.commit(held))).await;
        }
        if let Some(local) = &group.local {
            local.save();
        }
        group.session.unregister(None, Some(&group.config.group)).await;
        group.session.close();
    }
}

fn by_broker(queues: Vec<Queue>) -> HashMap<BrokerName, Vec<Queue>> {
    let mut groups: HashMap<BrokerName, Vec<Queue>> = HashMap::new();
    for queue in queues {
        groups.entry(queue.broker.clone()).or_default().push(queue);
    }
    groups
}
