// SPDX-License-Identifier: Apache-2.0
//! Faces of routes (105) and of the list of brokers (106). Here addresses become reachable ones.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use protocol::body::{BrokerData, ClusterInfo, QueueData, TopicRouteData};
use protocol::codes::ResponseCode;
use protocol::json;
use protocol::names::BrokerName;
use protocol::route::{GetBrokerClusterInfo, GetRouteInfo};
use remoting::{Ctx, Refusal, Reply};

use crate::address;
use crate::handlers::{brokers::ZONE_NAME, fitting};
use crate::kv::ORDER_TOPICS;
use crate::server::NameServer;
use crate::table::{Lookup, Members, Queues, Route};

/// The ext field with which a client asks for the brokers of its own zone only.
const ZONE_MODE: &str = "__ZONE_MODE";
/// The first version (4.9.4) whose client reads standard JSON.
const STANDARD_JSON_SINCE: i32 = 401;

pub(crate) async fn route_of_topic(
    server: Arc<NameServer>,
    ctx: Ctx,
    request: GetRouteInfo,
    _: Bytes,
) -> Result<Reply<()>, Refusal> {
    let topic = request.topic.as_str();
    let route = match server.look(ctx.now, |table| table.route(topic, ctx.now)) {
        Lookup::Found(route) => in_zone(route, &ctx),
        Lookup::Missing => return Err(missing(topic)),
        Lookup::TooEarly => return Err(too_early()),
    };
    let order = server.config(|config| config.order_in_routes);
    let order = order.then(|| server.settings().get(ORDER_TOPICS, topic).map(str::to_owned)).flatten();
    let route = to_wire(route, order, ctx.local);
    let is_standard = ctx.version >= STANDARD_JSON_SINCE || request.standard_json;
    let body = if is_standard { json::to_vec(&route) } else { json::to_vec_fastjson(&route) };
    fitting((), body, "the route")
}

fn missing(topic: &str) -> Refusal {
    let remark = format!("No topic route info in name server for the topic: {topic}");
    Refusal::new(ResponseCode::TOPIC_NOT_EXIST, remark)
}

/// Any other code than "no such topic": clients keep the route they have and ask again.
fn too_early() -> Refusal {
    Refusal::new(
        ResponseCode::SYSTEM_ERROR,
        "name server not ready: it has just started and brokers are missing",
    )
}

fn in_zone(route: Route, ctx: &Ctx) -> Route {
    let is_wanted = ctx.fields.get(ZONE_MODE).is_some_and(|mode| mode.eq_ignore_ascii_case("true"));
    match ctx.fields.get(ZONE_NAME).filter(|zone| is_wanted && !zone.trim().is_empty()) {
        Some(zone) => route.in_zone(&zone),
        None => route,
    }
}

pub(crate) async fn cluster_info(
    server: Arc<NameServer>,
    ctx: Ctx,
    _: GetBrokerClusterInfo,
    _: Bytes,
) -> Result<Reply<()>, Refusal> {
    let all = server.look(ctx.now, |table| table.all_members());
    let mut clusters = BTreeMap::<String, BTreeSet<BrokerName>>::new();
    for members in &all {
        clusters.entry(members.cluster.clone()).or_default().insert(BrokerName::stored(&members.broker));
    }
    let brokers =
        all.into_iter().map(|members| (BrokerName::stored(&members.broker), broker(members, ctx.local)));
    let info = ClusterInfo { broker_addr_table: brokers.collect(), cluster_addr_table: clusters };
    fitting((), json::to_vec_fastjson(&info), "the list of brokers")
}

fn to_wire(route: Route, order: Option<String>, local: SocketAddr) -> TopicRouteData {
    TopicRouteData {
        order_topic_conf: order,
        queue_datas: route.queues.into_iter().map(|(name, queues)| queue(name, queues)).collect(),
        broker_datas: route.brokers.into_iter().map(|members| broker(members, local)).collect(),
        topic_queue_mapping_by_broker: route.mappings.map(|mappings| {
            mappings.into_iter().map(|(name, info)| (BrokerName::stored(name), info)).collect()
        }),
        ..TopicRouteData::default()
    }
}

fn queue(broker: String, queues: Queues) -> QueueData {
    QueueData {
        broker_name: BrokerName::stored(broker),
        read_queue_nums: queues.read,
        write_queue_nums: queues.write,
        perm: queues.permission,
        topic_sys_flag: queues.flags,
    }
}

fn broker(members: Members, local: SocketAddr) -> BrokerData {
    let reachable = |(id, address)| (id as i64, address::reachable(&address, local));
    BrokerData {
        cluster: members.cluster,
        broker_name: BrokerName::stored(members.broker),
        broker_addrs: members.addresses.into_iter().map(reachable).collect(),
        zone_name: members.zone,
        enable_acting_master: members.acting_master,
    }
}
