// SPDX-License-Identifier: Apache-2.0
//! Faces of the key-value settings (100, 101, 102, 219) and of the name server's own configuration (318, 319).

use std::sync::Arc;

use bytes::Bytes;
use protocol::body::KVTable;
use protocol::codes::ResponseCode;
use protocol::json;
use protocol::route::{
    DeleteKvConfig, GetKvConfig, GetKvConfigReply, GetKvListByNamespace, GetNameServerConfig, PutKvConfig,
    UpdateNameServerConfig,
};
use remoting::{Ctx, Refusal, Reply};

use crate::bodies;
use crate::config::ConfigRefused;
use crate::handlers::fitting;
use crate::kv::ChangeRefused;
use crate::server::NameServer;

impl From<ChangeRefused> for Refusal {
    fn from(refused: ChangeRefused) -> Refusal {
        let code = match &refused {
            ChangeRefused::Unnamed | ChangeRefused::Disk(_) => ResponseCode::SYSTEM_ERROR,
            ChangeRefused::TooLarge { .. } => ResponseCode::INVALID_PARAMETER,
        };
        Refusal::new(code, refused.to_string())
    }
}

impl From<ConfigRefused> for Refusal {
    fn from(refused: ConfigRefused) -> Refusal {
        let code = match &refused {
            ConfigRefused::Locked(_) => ResponseCode::NO_PERMISSION,
            ConfigRefused::NoPair(_)
            | ConfigRefused::Unknown(_)
            | ConfigRefused::NotLive(_)
            | ConfigRefused::Value { .. } => ResponseCode::INVALID_PARAMETER,
            ConfigRefused::Disk(_) => ResponseCode::SYSTEM_ERROR,
        };
        Refusal::new(code, refused.to_string())
    }
}

pub(crate) async fn put(
    server: Arc<NameServer>,
    _: Ctx,
    request: PutKvConfig,
    _: Bytes,
) -> Result<Reply<()>, Refusal> {
    server.settings().put(&request.namespace, &request.key, &request.value)?;
    Ok(Reply::ok(()))
}

pub(crate) async fn get(
    server: Arc<NameServer>,
    _: Ctx,
    request: GetKvConfig,
    _: Bytes,
) -> Result<Reply<GetKvConfigReply>, Refusal> {
    match server.settings().get(&request.namespace, &request.key) {
        Some(value) => Ok(Reply::ok(GetKvConfigReply { value: Some(value.into()) })),
        None => Err(Refusal::new(
            ResponseCode::QUERY_NOT_FOUND,
            format!("No config item, Namespace: {} Key: {}", request.namespace, request.key),
        )),
    }
}

pub(crate) async fn delete(
    server: Arc<NameServer>,
    _: Ctx,
    request: DeleteKvConfig,
    _: Bytes,
) -> Result<Reply<()>, Refusal> {
    server.settings().delete(&request.namespace, &request.key)?;
    Ok(Reply::ok(()))
}

pub(crate) async fn list(
    server: Arc<NameServer>,
    _: Ctx,
    request: GetKvListByNamespace,
    _: Bytes,
) -> Result<Reply<()>, Refusal> {
    let Some(table) = server.settings().namespace(&request.namespace).cloned() else {
        let remark = format!("No config item, Namespace: {}", request.namespace);
        return Err(Refusal::new(ResponseCode::QUERY_NOT_FOUND, remark));
    };
    fitting((), json::to_vec_fastjson(&KVTable { table }), "the namespace")
}

pub(crate) async fn update_config(
    server: Arc<NameServer>,
    _: Ctx,
    _: UpdateNameServerConfig,
    body: Bytes,
) -> Result<Reply<()>, Refusal> {
    server.update_config(bodies::SETTINGS.admit(&body)?)?;
    Ok(Reply::ok(()))
}

pub(crate) async fn config(
    server: Arc<NameServer>,
    _: Ctx,
    _: GetNameServerConfig,
    _: Bytes,
) -> Result<Reply<()>, Refusal> {
    Ok(Reply::ok(()).with_body(server.print_config().into_bytes()))
}
