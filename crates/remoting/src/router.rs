// SPDX-License-Identifier: Apache-2.0
//! From a code to its typed handler. A role lists what it answers in one [`Router`]; binding it to the role's state
//! erases every type but the frame's, so that a connection knows none of them.
//! Never panics on what a peer sent: an unknown code is refused with 3, a header that cannot be read with 1.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use protocol::codes::ResponseCode;
use protocol::fields::Fields;
use protocol::frame::{Frame, Language};
use protocol::request::{DecodeError, Request};
use stdx::Timestamp;

use crate::admission::{Busy, Class};
use crate::gather::{Answer, Asked, Gather, Gathered, Turn};
use crate::handle::{Connection, ReplyTo};
use crate::quiet::Quiet;
use crate::reply::{Body, Refusal, Reply};

/// What a handler knows about its request besides header and body.
#[derive(Clone, Debug)]
pub struct Ctx {
    /// When the request was read; read the clock no more than this.
    pub now: Timestamp,
    /// Who asks.
    pub peer: SocketAddr,
    /// Where it was asked.
    pub local: SocketAddr,
    /// The way back, also for requests of ours.
    pub connection: Connection,
    /// The asker's version.
    pub version: i32,
    /// The asker's language.
    pub language: Language,
    /// The request code.
    pub code: i32,
    /// The asker does not want an answer; one that is given is not sent.
    pub one_way: bool,
    /// All header fields as they came, for signatures and for fields outside the typed header.
    pub fields: Fields,
}

/// The work on one request; it leaves the answer on its connection's desk. Dropping it abandons the request.
pub(crate) type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How the requests of one line are worked on.
pub(crate) enum Handler {
    /// One by one.
    Each(Box<dyn Fn(Ctx, ReplyTo, Bytes) -> Option<Work> + Send + Sync>),
    /// All that came with one read together; this makes what gathers them.
    Together(Box<dyn Fn() -> Box<dyn Gather> + Send + Sync>),
}

type Binder<S> = Box<dyn FnOnce(Arc<S>) -> Handler + Send>;

/// Everything a role answers, one line a code.
pub struct Router<S> {
    class: Class,
    routes: Vec<(i32, &'static str, Class, Binder<S>)>,
}

impl<S> Default for Router<S> {
    fn default() -> Router<S> {
        Router { class: Class::Client, routes: Vec::new() }
    }
}

impl<S: Send + Sync + 'static> Router<S> {
    /// Answers nothing yet.
    pub fn new() -> Router<S> {
        Router::default()
    }

    /// Sets the class of the lines that follow.
    #[must_use]
    pub fn class(mut self, class: Class) -> Router<S> {
        self.class = class;
        self
    }

    /// Answers the request type of `handler` with it. Asserts that no other line answers the same code.
    #[must_use]
    pub fn on<R, F, Fut>(self, handler: F) -> Router<S>
    where
        R: Request,
        F: Fn(Arc<S>, Ctx, R, Bytes) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Reply<R::Reply>, Refusal>> + Send + 'static,
    {
        let bind = move |state: Arc<S>| {
            Handler::Each(Box::new(move |ctx, to, body| match R::decode(&ctx.fields) {
                Ok(request) => {
                    let connection = ctx.connection.clone();
                    let answer = handler(state.clone(), ctx, request, body);
                    Some(Box::pin(async move { to.send(&connection, answer.await) }))
                }
                Err(error) => {
                    to.refuse_unreadable(&ctx.connection, R::NAME, &error);
                    None
                }
            }))
        };
        self.line::<R>(Box::new(bind))
    }

    /// Does the same with a handler that mostly knows the answer at once: then nothing is kept for the request. Asserts as
    /// [`Router::on`] does.
    #[must_use]
    pub fn on_at_once<R, F>(self, handler: F) -> Router<S>
    where
        R: Request,
        F: Fn(&Arc<S>, Ctx, R, Bytes) -> Answer<R::Reply> + Send + Sync + 'static,
    {
        let bind = move |state: Arc<S>| {
            Handler::Each(Box::new(move |ctx, to, body| {
                let connection = ctx.connection.clone();
                match R::decode(&ctx.fields) {
                    Ok(request) => match handler(&state, ctx, request, body) {
                        Answer::Now(answer) => to.send(&connection, answer),
                        Answer::Later(answer) => {
                            return Some(Box::pin(async move { to.send(&connection, answer.await) }));
                        }
                    },
                    Err(error) => to.refuse_unreadable(&connection, R::NAME, &error),
                }
                None
            }))
        };
        self.line::<R>(Box::new(bind))
    }

    /// Answers the requests of this type that came with one read together. Asserts as [`Router::on`] does.
    #[must_use]
    pub fn on_together<R, F>(self, handler: F) -> Router<S>
    where
        R: Request + Clone,
        F: Fn(&Arc<S>, &Turn, &mut Vec<Asked<R>>, &mut Vec<Answer<R::Reply>>) + Send + Sync + 'static,
    {
        let handler = Arc::new(handler);
        let bind = move |state: Arc<S>| {
            Handler::Together(Box::new(move || Box::new(Gathered::new(state.clone(), handler.clone()))))
        };
        self.line::<R>(Box::new(bind))
    }

    fn line<R: Request>(mut self, bind: Binder<S>) -> Router<S> {
        assert!(self.routes.iter().all(|route| route.0 != R::CODE), "code {} is answered twice", R::CODE);
        self.routes.push((R::CODE, R::NAME, self.class, bind));
        self
    }

    /// The codes that are answered, with the names of their request types.
    pub fn codes(&self) -> Vec<(i32, &'static str, Class)> {
        self.routes.iter().map(|(code, name, class, _)| (*code, *name, *class)).collect()
    }

    /// Gives every handler its state.
    pub(crate) fn bind(self, state: &Arc<S>) -> Arc<Routes> {
        let bound = |(code, _, class, bind): (i32, _, Class, Binder<S>)| (code, class, bind(state.clone()));
        let mut table: Vec<_> = self.routes.into_iter().map(bound).collect();
        table.sort_by_key(|route| route.0);
        Arc::new(Routes { table })
    }
}

/// A bound router.
pub(crate) struct Routes {
    /// Sorted by code.
    table: Vec<(i32, Class, Handler)>,
}

impl Routes {
    /// Finds the line of a code.
    pub(crate) fn find(&self, code: i32) -> Option<(Class, &Handler)> {
        let index = self.table.binary_search_by_key(&code, |route| route.0).ok()?;
        self.table.get(index).map(|(_, class, handler)| (*class, handler))
    }
}

impl Ctx {
    /// What a handler of one request knows about it, and its body.
    pub(crate) fn of(frame: Frame, connection: &Connection, now: Timestamp) -> (Ctx, Bytes) {
        let ctx = Ctx {
            now,
            peer: connection.peer(),
            local: connection.local(),
            connection: connection.clone(),
            version: frame.version,
            language: frame.language,
            code: frame.code,
            one_way: frame.is_one_way(),
            fields: frame.fields,
        };
        (ctx, frame.body)
    }
}

impl ReplyTo {
    pub(crate) fn of(frame: &Frame) -> ReplyTo {
        ReplyTo {
            opaque: frame.opaque,
            serialization: frame.serialization,
            one_way: frame.is_one_way(),
            code: frame.code,
        }
    }

    /// Answers; nothing is written where no answer is wanted.
    pub(crate) fn send<H: protocol::request::Header>(
        &self,
        connection: &Connection,
        answer: Result<Reply<H>, Refusal>,
    ) {
        if self.one_way {
            return;
        }
        let written = match answer {
            Ok(reply) => {
                connection.answer(self, reply.code.0, reply.remark.as_deref(), &reply.header, reply.body)
            }
            Err(refusal) => connection.answer(self, refusal.code.0, Some(&refusal.remark), &(), Body::Empty),
        };
        if let Err(error) = written {
            static UNWRITABLE: Quiet = Quiet::new();
            if let Some(unsaid) = UNWRITABLE.speak(connection.clock().now()) {
                tracing::warn!(code = self.code, peer = %connection.peer(), %error, unsaid, "an answer cannot be written");
            }
            let remark = format!("the answer cannot be written: {error}");
            self.refuse(connection, ResponseCode::SYSTEM_ERROR, &remark);
        }
    }

    /// Answers with a code and a sentence, unless no answer is wanted.
    pub(crate) fn refuse(&self, connection: &Connection, code: ResponseCode, remark: &str) {
        // A remark short enough for any frame: it is ours, or one line about theirs.
        let written = || connection.answer(self, code.0, Some(remark), &(), Body::Empty);
        if !self.one_way && written().is_err() {
            tracing::debug!(code = self.code, peer = %connection.peer(), "a refusal cannot be written");
        }
    }

    /// Answers that a header cannot be read.
    pub(crate) fn refuse_unreadable(&self, connection: &Connection, name: &str, error: &DecodeError) {
        let remark = format!("the header of {name} cannot be read: {error}");
        self.refuse(connection, ResponseCode::SYSTEM_ERROR, &remark);
    }

    /// Tells the peer who is busy. A full server is worth another try elsewhere (2); a peer over its own share is told
    /// so with a code that its client does not answer by trying the next server (215).
    pub(crate) fn shed(&self, connection: &Connection, busy: Busy) {
        let (code, remark) = match busy {
            Busy::Server => (
                ResponseCode::SYSTEM_BUSY,
                "[REJECTREQUEST] the server has as many requests waiting as it may hold, try again later or elsewhere",
            ),
            Busy::Connection => (
                ResponseCode::FLOW_CONTROL,
                "[REJECTREQUEST] this connection has as many requests waiting as it may hold, wait for answers",
            ),
        };
        self.refuse(connection, code, remark);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::heartbeat::Heartbeat;

    async fn answer(
        _: Arc<()>,
        _: Ctx,
        _: Heartbeat,
        _: Bytes,
    ) -> Result<Reply<<Heartbeat as Request>::Reply>, Refusal> {
        Err(Refusal::new(ResponseCode::SYSTEM_ERROR, "not asked here"))
    }

    #[test]
    fn a_line_is_found_by_its_code_under_its_class() {
        let router = Router::<()>::new().class(Class::Admin).on(answer);
        assert_eq!(router.codes(), [(34, Heartbeat::NAME, Class::Admin)]);
        let routes = router.bind(&Arc::new(()));
        assert!(matches!(routes.find(34), Some((Class::Admin, _))));
        for code in [33, 35, 0, -34, i32::MIN, i32::MAX] {
            assert!(routes.find(code).is_none());
        }
    }

    #[test]
    #[should_panic(expected = "answered twice")]
    fn a_code_has_one_line() {
        let _ = Router::<()>::new().on(answer).on(answer);
    }
}
