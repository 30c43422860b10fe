// SPDX-License-Identifier: Apache-2.0
//! Faces for brokers: registration and farewell (103, 104), signs of life (322, 904), who shares a name (901).

use std::sync::Arc;

use bytes::Bytes;
use protocol::body::{BrokerMemberGroup, GetBrokerMemberGroupResponseBody, KVTable};
use protocol::codes::ResponseCode;
use protocol::data_version::DataVersion;
use protocol::json;
use protocol::route::{
    BrokerHeartbeat, GetBrokerMemberGroup, QueryDataVersion, QueryDataVersionReply, RegisterBroker,
    RegisterBrokerReply, UnregisterBroker,
};
use remoting::{Ctx, Refusal, Reply};

use crate::address;
use crate::bodies;
use crate::handlers::fitting;
use crate::registration;
use crate::server::NameServer;
use crate::table::{DEFAULT_LEASE, LEASE_MAX, RegisterRefused, Registration, Seat};

/// The ext field in which brokers and clients name their zone.
pub(crate) const ZONE_NAME: &str = "__ZONE_NAME";

impl From<RegisterRefused> for Refusal {
    fn from(refused: RegisterRefused) -> Refusal {
        match refused {
            RegisterRefused::Partial
            | RegisterRefused::Stale { .. }
            | RegisterRefused::Past { .. }
            | RegisterRefused::OtherCluster { .. } => {
                Refusal::new(ResponseCode::SYSTEM_ERROR, refused.to_string())
            }
        }
    }
}

/// COMPAT: Apache answers success to a registration that it ignores for its age; here the broker is told.
pub(crate) async fn register(
    server: Arc<NameServer>,
    ctx: Ctx,
    request: RegisterBroker,
    body: Bytes,
) -> Result<Reply<RegisterBrokerReply>, Refusal> {
    registration::check_sum(&body, request.body_crc)?;
    let announced = registration::read(&body, request.compressed, ctx.version)?;
    let registration = Registration {
        seat: seat(&request.cluster, request.broker.as_str(), request.broker_id, &request.address)?,
        replication_address: request.replication_address.as_deref().unwrap_or_default().to_owned(),
        zone: ctx.fields.get(ZONE_NAME).map(|zone| zone.to_string()),
        acting_master: request.acting_master,
        lease: request.lease.map_or(DEFAULT_LEASE, |lease| lease.min(LEASE_MAX)),
        version: announced.version,
        topics: announced.topics,
        mappings: announced.mappings,
        connection: ctx.connection.id(),
        is_local: address::is_same_machine(ctx.peer, ctx.local),
    };
    let registered = server.register(registration, ctx.now)?;
    let (master_address, replication_address) = registered.master.unzip();
    let header = RegisterBrokerReply {
        master_address: master_address.map(Into::into),
        replication_address: replication_address.map(Into::into),
    };
    if !server.config(|config| config.order_to_brokers) {
        return Ok(Reply::ok(header));
    }
    let body = json::to_vec_fastjson(&KVTable { table: server.order_topics() });
    fitting(header, body, "the order of topics")
}

pub(crate) async fn unregister(
    server: Arc<NameServer>,
    ctx: Ctx,
    request: UnregisterBroker,
    _: Bytes,
) -> Result<Reply<()>, Refusal> {
    let seat = seat(&request.cluster, request.broker.as_str(), request.broker_id, &request.address)?;
    server.unregister(&seat, ctx.connection.id(), ctx.now);
    Ok(Reply::ok(()))
}

pub(crate) async fn heartbeat(
    server: Arc<NameServer>,
    ctx: Ctx,
    request: BrokerHeartbeat,
    _: Bytes,
) -> Result<Reply<()>, Refusal> {
    let BrokerHeartbeat { cluster, address, broker, .. } = request;
    server.change(ctx.now, |table| table.heartbeat(&cluster, broker.as_str(), &address, ctx.now));
    Ok(Reply::ok(()))
}

/// A broker asks whether it has to register again; asking is a sign of life.
pub(crate) async fn data_version(
    server: Arc<NameServer>,
    ctx: Ctx,
    request: QueryDataVersion,
    body: Bytes,
) -> Result<Reply<QueryDataVersionReply>, Refusal> {
    let offered: DataVersion = bodies::VERSION.read(&body)?;
    let QueryDataVersion { cluster, address, broker, .. } = request;
    let known = server.change(ctx.now, |table| {
        table.heartbeat(&cluster, broker.as_str(), &address, ctx.now);
        table.version(&cluster, broker.as_str(), &address).copied()
    });
    let reply = Reply::ok(QueryDataVersionReply { changed: known.as_ref() != Some(&offered) });
    Ok(match known {
        Some(version) => reply.with_body(json::to_vec_fastjson(&version)),
        None => reply,
    })
}

pub(crate) async fn member_group(
    server: Arc<NameServer>,
    ctx: Ctx,
    request: GetBrokerMemberGroup,
    _: Bytes,
) -> Result<Reply<()>, Refusal> {
    let members = server.look(ctx.now, |table| table.members(request.broker.as_str()));
    let addresses = members.map(|members| members.addresses).unwrap_or_default();
    let group = BrokerMemberGroup {
        cluster: request.cluster.to_string(),
        broker_name: request.broker,
        broker_addrs: addresses.into_iter().map(|(id, address)| (id as i64, address.text)).collect(),
    };
    let body = GetBrokerMemberGroupResponseBody { broker_member_group: Some(group) };
    fitting((), json::to_vec_fastjson(&body), "the member group")
}

fn seat(cluster: &str, broker: &str, id: i64, address: &str) -> Result<Seat, Refusal> {
    let refuse =
        |what: &str| Refusal::new(ResponseCode::SYSTEM_ERROR, format!("register broker failed: {what}"));
    let id = u64::try_from(id).map_err(|_| refuse("the broker id is negative"))?;
    if cluster.is_empty() || broker.is_empty() || address.is_empty() {
        return Err(refuse("cluster, name and address of the broker must not be empty"));
    }
    Ok(Seat { cluster: cluster.to_owned(), broker: broker.to_owned(), id, address: address.to_owned() })
}
