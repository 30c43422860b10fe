// SPDX-License-Identifier: Apache-2.0
//! The metrics port of a broker: figures for Prometheus under `/metrics`, and what `kiruna stages` and `kiruna pauses` read.
//! Started by the server commands. Everything is put together when somebody asks, from counters that are there anyway; what
//! is told does not grow with topics, groups or clients.

mod http;
mod page;
pub(crate) mod told;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use broker::Broker;
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;
use stdx::Threads;
use tokio::sync::Notify;

use crate::hiccups::Hiccups;
use http::Answer;
use page::Page;

/// The form of the text, as Prometheus asks for it.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
/// What is there, for who looks with a browser.
const INDEX: &str = "kiruna\n\n/metrics  for Prometheus\n/stages   how long requests spend where (kiruna stages)\n\
                     /pauses   when nothing went on (kiruna pauses)\n";

/// Where the figures come from.
#[derive(Clone)]
pub(crate) struct Sources {
    pub(crate) broker: Arc<Broker>,
    pub(crate) hiccups: Arc<Hiccups>,
}

impl std::fmt::Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sources")
    }
}

/// The listening port; dropping it closes it.
pub(crate) struct Metrics {
    local: SocketAddr,
    closing: Arc<Notify>,
    _threads: Threads,
}

impl Drop for Metrics {
    fn drop(&mut self) {
        self.closing.notify_one();
    }
}

impl Metrics {
    /// Listens at `address` and starts to answer.
    pub(crate) fn start(address: SocketAddr, sources: Sources) -> io::Result<Metrics> {
        let listener = TcpListener::bind(address)?;
        let local = listener.local_addr()?;
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Page::new(sources.clone())));
        let mut threads = Threads::default();
        let closing = Arc::new(Notify::new());
        http::serve(&mut threads, (listener, closing.clone()), move |path| {
            answer(path, &registry, &sources)
        })?;
        Ok(Metrics { local, closing, _threads: threads })
    }

    /// Where it listens.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.local
    }
}

fn answer(path: &str, registry: &Registry, sources: &Sources) -> Option<Answer> {
    let json = |body: serde_json::Result<Vec<u8>>| body.ok().map(|body| Answer { kind: JSON, body });
    match path {
        "/metrics" => {
            let mut body = String::new();
            text::encode(&mut body, registry).ok()?;
            Some(Answer { kind: OPEN_METRICS, body: body.into_bytes() })
        }
        "/stages" => json(serde_json::to_vec(&page::told(sources))),
        "/pauses" => json(serde_json::to_vec(&sources.hiccups.ledger())),
        "/" => Some(Answer { kind: TEXT, body: INDEX.into() }),
        _ => None,
    }
}

/// How long one who asks may take for all of it, the answer included.
const PATIENCE: Duration = Duration::from_secs(5);
