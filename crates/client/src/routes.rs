// SPDX-License-Identifier: Apache-2.0
//! Routes of the topics a client uses: fetched once, kept, fetched again in the background.
//! A route that was seen stays in use while the name servers are away.

mod route;

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use protocol::body::TopicRouteData;
use protocol::codes::ResponseCode;
use protocol::json::{self, JsonError};
use protocol::names::{AUTO_CREATE_TOPIC, TopicName};
use protocol::route::GetRouteInfo;
use remoting::CallError;
use tokio::sync::Notify;

use crate::session::Session;

pub use route::Route;

/// Why there is no route.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// The name servers know no such topic.
    #[error("no route: topic {topic} does not exist")]
    Unknown {
        /// The topic.
        topic: TopicName,
    },
    /// The topic exists but none of its brokers takes part now.
    #[error("no route: topic {topic} has no queue to {verb}")]
    NoQueue {
        /// The topic.
        topic: TopicName,
        /// What was wanted of a queue.
        verb: &'static str,
    },
    /// The name servers could not be asked.
    #[error("no route: {0}")]
    Call(#[from] CallError),
    /// The answer cannot be read.
    #[error("the route of {topic} cannot be read: {error}")]
    Answer {
        /// The topic.
        topic: TopicName,
        /// What is wrong.
        error: JsonError,
    },
}

/// Known routes by topic.
#[derive(Default)]
pub(crate) struct Routes {
    known: RwLock<HashMap<TopicName, Arc<Route>>>,
    /// Held while a missing route is fetched, so that a thousand first sends ask once.
    fetching: tokio::sync::Mutex<()>,
    /// Told when an address appears that was in no route before.
    pub(crate) new_broker: Notify,
}

impl Routes {
    pub(crate) fn get(&self, topic: &TopicName) -> Option<Arc<Route>> {
        self.known.read().get(topic).cloned()
    }

    pub(crate) fn topics(&self) -> Vec<TopicName> {
        self.known.read().keys().cloned().collect()
    }

    pub(crate) fn each(&self) -> Vec<Arc<Route>> {
        self.known.read().values().cloned().collect()
    }

    /// Keeps a route; true when it differs from what was known.
    fn keep(&self, topic: &TopicName, route: Route) -> bool {
        let mut known = self.known.write();
        if known.get(topic).is_some_and(|old| **old == route) {
            return false;
        }
        let is_known = |address: &String| known.values().any(|route| route.addresses().any(|a| a == address));
        if !route.addresses().all(is_known) {
            self.new_broker.notify_one();
        }
        known.insert(topic.detached(), Arc::new(route));
        true
    }
}

impl Session {
    /// The route of an existing topic.
    pub(crate) async fn route(&self, topic: &TopicName) -> Result<Arc<Route>, RouteError> {
        self.route_or(topic, None).await
    }

    /// The route to write by. An unknown topic borrows the route of the template topic, with `queues` queues
    /// on each broker.
    pub(crate) async fn route_for_write(
        &self,
        topic: &TopicName,
        queues: i32,
    ) -> Result<Arc<Route>, RouteError> {
        let route = self.route_or(topic, Some(queues)).await?;
        if route.writable().is_empty() {
            return Err(RouteError::NoQueue { topic: topic.clone(), verb: "write" });
        }
        Ok(route)
    }

    async fn route_or(&self, topic: &TopicName, borrow: Option<i32>) -> Result<Arc<Route>, RouteError> {
        let usable = |route: &Route| borrow.is_some() || !route.is_borrowed();
        if let Some(route) = self.routes().get(topic).filter(|route| usable(route)) {
            return Ok(route);
        }
        let _one_at_a_time = self.routes().fetching.lock().await;
        if let Some(route) = self.routes().get(topic).filter(|route| usable(route)) {
            return Ok(route);
        }
        match (self.fetch_route(topic).await, borrow) {
            (Err(RouteError::Unknown { .. }), Some(queues)) => self.borrow_route(topic, queues).await?,
            (fetched, _) => drop(fetched?),
        }
        self.routes().get(topic).ok_or_else(|| RouteError::Unknown { topic: topic.clone() })
    }

    /// Asks for the route and keeps the answer; true when it is new.
    pub(crate) async fn fetch_route(&self, topic: &TopicName) -> Result<bool, RouteError> {
        let answer = self.ask_route(topic).await?;
        Ok(self.routes().keep(topic, Route::new(topic, &answer)))
    }

    async fn borrow_route(&self, topic: &TopicName, queues: i32) -> Result<(), RouteError> {
        let template = self.ask_route(&TopicName::stored(AUTO_CREATE_TOPIC)).await;
        let template = template.map_err(|error| match error {
            RouteError::Unknown { .. } => RouteError::Unknown { topic: topic.clone() },
            other => other,
        })?;
        self.routes().keep(topic, Route::borrowed(topic, &template, queues));
        Ok(())
    }

    /// The name server's own answer.
    pub(crate) async fn ask_route(&self, topic: &TopicName) -> Result<TopicRouteData, RouteError> {
        let response =
            self.ask_name_server(&GetRouteInfo { topic: topic.clone(), standard_json: true }).await?;
        match response.code() {
            ResponseCode::SUCCESS => json::from_slice(response.body())
                .map_err(|error| RouteError::Answer { topic: topic.clone(), error }),
            ResponseCode::TOPIC_NOT_EXIST => Err(RouteError::Unknown { topic: topic.clone() }),
            _ => Err(response.refused().into()),
        }
    }
}
