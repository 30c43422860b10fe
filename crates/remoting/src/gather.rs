// SPDX-License-Identifier: Apache-2.0
//! Requests of one type that came with one read, worked on together, so that what they share is done once. The task of
//! the connection fills a [`Gather`] while it decodes and lets it work before it does anything else.
//! Invariants: every request that was taken is answered or parked exactly once, those of one type in the order in which
//! they came; types of different classes may be gathered side by side, of one class only one at a time, so that a class
//! keeps its order.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use protocol::fields::Fields;
use protocol::frame::Frame;
use protocol::request::{DecodeError, Request};
use stdx::Timestamp;

use crate::admission::{Class, Permit};
use crate::handle::{Connection, ReplyTo};
use crate::reply::{Refusal, Reply};
use crate::router::Work;

/// The most requests of one turn.
const REQUESTS: usize = 64;
/// The bytes of bodies that end a turn.
const BYTES: usize = 256 << 10;

/// What the requests of one turn have in common.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    /// When they were read.
    pub now: Timestamp,
    /// Who asks.
    pub peer: SocketAddr,
    /// Where it was asked.
    pub local: SocketAddr,
}

/// One request of a turn.
#[derive(Debug)]
pub struct Asked<R> {
    /// Its header.
    pub request: R,
    /// Its body.
    pub body: Bytes,
    /// The asker does not want an answer; one that is given is not sent.
    pub one_way: bool,
}

/// An answer that is mostly known at once.
pub enum Answer<H> {
    /// It is.
    Now(Result<Reply<H>, Refusal>),
    /// It has to wait for something.
    Later(Pin<Box<dyn Future<Output = Result<Reply<H>, Refusal>> + Send>>),
}

/// Requests of one type on one connection.
pub(crate) trait Gather: Send {
    /// Takes a request. Its header may turn out to be unreadable.
    fn push(&mut self, frame: Frame, to: ReplyTo, permit: Permit) -> Result<(), Unreadable>;
    /// How many it has taken and not worked on.
    fn len(&self) -> usize;
    /// Whether it should work before it takes another.
    fn is_full(&self) -> bool;
    /// Works on all that was taken, and tells what became of each.
    fn work(&mut self, connection: &Connection, now: Timestamp, ended: &mut dyn FnMut(Ended));
}

/// A request whose header cannot be read.
pub(crate) struct Unreadable {
    pub(crate) name: &'static str,
    pub(crate) error: DecodeError,
    pub(crate) permit: Permit,
}

/// All that is gathered on one connection: what gathers requests stays for those of the next read.
#[derive(Default)]
pub(crate) struct Gathers(Vec<Held>);

struct Held {
    class: Class,
    code: i32,
    gather: Box<dyn Gather>,
    /// It has taken something since it last worked.
    is_used: bool,
}

impl Gathers {
    /// What gathers the requests with this code. What has to work before goes to `work`.
    pub(crate) fn of(
        &mut self,
        class: Class,
        code: i32,
        make: impl FnOnce() -> Box<dyn Gather>,
        work: impl FnOnce(&mut dyn Gather),
    ) -> &mut dyn Gather {
        let at = match self.0.iter().position(|held| held.class == class) {
            Some(at) if self.0[at].code == code => at,
            Some(at) => {
                let held = &mut self.0[at];
                if held.is_used {
                    work(&mut *held.gather);
                }
                *held = Held { class, code, gather: make(), is_used: false };
                at
            }
            None => {
                self.0.push(Held { class, code, gather: make(), is_used: false });
                self.0.len() - 1
            }
        };
        self.0[at].is_used = true;
        &mut *self.0[at].gather
    }

    /// Hands over everything that has something to work on.
    pub(crate) fn each(&mut self, mut work: impl FnMut(&mut dyn Gather)) {
        for held in self.0.iter_mut().filter(|held| held.is_used) {
            held.is_used = false;
            work(&mut *held.gather);
        }
    }
}

/// What became of a request.
pub(crate) enum Ended {
    Answered(Permit),
    Waits(Work, Permit, ReplyTo),
}

/// What gathers for one handler.
pub(crate) struct Gathered<S, R: Request, F> {
    state: Arc<S>,
    handler: Arc<F>,
    asked: Vec<Asked<R>>,
    /// The first of the headers that are like the last one, and the number of what they are like.
    model: Option<(u32, R)>,
    bytes: usize,
    from: Vec<(ReplyTo, Permit)>,
    answers: Vec<Answer<R::Reply>>,
}

impl<S, R: Request, F> Gathered<S, R, F> {
    pub(crate) fn new(state: Arc<S>, handler: Arc<F>) -> Gathered<S, R, F> {
        Gathered {
            state,
            handler,
            asked: Vec::new(),
            model: None,
            bytes: 0,
            from: Vec::new(),
            answers: Vec::new(),
        }
    }
}

impl<S, R: Request + Clone, F> Gathered<S, R, F> {
    /// Reads the header; of one that is like others before it only what differs.
    fn decode(&mut self, fields: &Fields) -> Result<R, DecodeError> {
        let Some(number) = fields.likeness() else { return R::decode(fields) };
        if let Some((of, model)) = &self.model
            && *of == number
        {
            return model.renewed(fields).map_or_else(|| R::decode(fields), Ok);
        }
        // what is kept must not keep alive all that was read with it
        let model = R::decode(&fields.detached())?;
        self.model = Some((number, model.clone()));
        Ok(model)
    }
}

impl<S, R, F> Gather for Gathered<S, R, F>
where
    S: Send + Sync + 'static,
    R: Request + Clone,
    F: Fn(&Arc<S>, &Turn, &mut Vec<Asked<R>>, &mut Vec<Answer<R::Reply>>) + Send + Sync + 'static,
{
    fn push(&mut self, frame: Frame, to: ReplyTo, permit: Permit) -> Result<(), Unreadable> {
        match self.decode(&frame.fields) {
            Ok(request) => {
                self.bytes += frame.body.len();
                self.asked.push(Asked { request, body: frame.body, one_way: to.one_way });
                self.from.push((to, permit));
                Ok(())
            }
            Err(error) => Err(Unreadable { name: R::NAME, error, permit }),
        }
    }

    fn len(&self) -> usize {
        self.asked.len()
    }

    fn is_full(&self) -> bool {
        self.asked.len() >= REQUESTS || self.bytes >= BYTES
    }

    fn work(&mut self, connection: &Connection, now: Timestamp, ended: &mut dyn FnMut(Ended)) {
        if self.asked.is_empty() {
            return;
        }
        let turn = Turn { now, peer: connection.peer(), local: connection.local() };
        (self.handler)(&self.state, &turn, &mut self.asked, &mut self.answers);
        assert_eq!(self.answers.len(), self.from.len(), "an answer for each request");
        self.asked.clear();
        self.bytes = 0;
        for ((to, permit), answer) in self.from.drain(..).zip(self.answers.drain(..)) {
            match answer {
                Answer::Now(answer) => {
                    to.send(connection, answer);
                    ended(Ended::Answered(permit));
                }
                Answer::Later(answer) => {
                    let connection = connection.clone();
                    let work = Box::pin(async move { to.send(&connection, answer.await) });
                    ended(Ended::Waits(work, permit, to));
                }
            }
        }
    }
}
