// SPDX-License-Identifier: Apache-2.0
//! Every refusal as the code and the sentence that clients know. Faces use it through `?`. No match has a wildcard:
//! a new reason does not compile until somebody decided what clients are told.

use protocol::codes::ResponseCode;
use protocol::names::NameError;
use remoting::Refusal;
use store::{AppendError, ReadError};

use crate::bodies::BodyRefused;
use crate::groups::GroupRefused;
use crate::ops::assignment::ModeRefused;
use crate::ops::heartbeat::ClientRefused;
use crate::ops::offset::OffsetRefused;
use crate::ops::pull::PullRefused;
use crate::ops::query::QueryRefused;
use crate::ops::recall::RecallRefused;
use crate::ops::reply::ReplyRefused;
use crate::ops::send::{LightRefused, SendRefused};
use crate::ops::send_back::SendBackRefused;
use crate::room::NoRoom;
use crate::topics::TopicRefused;

impl From<SendRefused> for Refusal {
    fn from(refused: SendRefused) -> Refusal {
        let code = match &refused {
            SendRefused::BrokerNotWritable { .. } => ResponseCode::NO_PERMISSION,
            // COMPAT: a topic name that is too long is the message's fault here, any other bad name the request's.
            SendRefused::Topic(TopicRefused::BadName(NameError::TooLong { .. })) => {
                ResponseCode::MESSAGE_ILLEGAL
            }
            SendRefused::Topic(TopicRefused::Append(error)) | SendRefused::Append(error) => {
                return append(error);
            }
            SendRefused::Group(GroupRefused::Append(error)) => return append(error),
            SendRefused::Topic(refused) => topic(refused),
            SendRefused::Group(refused) => group(refused),
            SendRefused::NoBody
            | SendRefused::TooLarge { .. }
            | SendRefused::PropertiesTooLarge { .. }
            | SendRefused::PropertiesNotText
            | SendRefused::KeyMissing
            | SendRefused::KeyTooLong { .. }
            | SendRefused::CountsItself
            | SendRefused::OtherKind { .. }
            | SendRefused::BadBatch(_)
            | SendRefused::BatchCount { .. }
            | SendRefused::NotInBatch { .. }
            | SendRefused::BadTime { .. }
            | SendRefused::TooFar { .. }
            | SendRefused::TimerDelete => ResponseCode::MESSAGE_ILLEGAL,
            SendRefused::Half { .. } => ResponseCode::NO_PERMISSION,
            SendRefused::TooManyOpen { .. } => ResponseCode::SYSTEM_BUSY,
            SendRefused::Light(LightRefused::Name { .. } | LightRefused::Many { .. }) => {
                ResponseCode::MESSAGE_ILLEGAL
            }
            SendRefused::Light(LightRefused::Full(_)) | SendRefused::TooManyKeys { .. } => {
                ResponseCode::SYSTEM_ERROR
            }
        };
        Refusal::new(code, refused.to_string())
    }
}

impl From<BodyRefused> for Refusal {
    fn from(refused: BodyRefused) -> Refusal {
        let code = match &refused {
            BodyRefused::TooLarge { .. } | BodyRefused::Unreadable(_) => ResponseCode::INVALID_PARAMETER,
        };
        Refusal::new(code, refused.to_string())
    }
}

impl From<PullRefused> for Refusal {
    fn from(refused: PullRefused) -> Refusal {
        let code = match &refused {
            PullRefused::BrokerNotReadable { .. }
            | PullRefused::LiteForbidden { .. }
            | PullRefused::BroadcastForbidden { .. }
            | PullRefused::Forbidden { .. } => ResponseCode::NO_PERMISSION,
            PullRefused::Group(GroupRefused::Append(error)) => return append(error),
            PullRefused::Topic(TopicRefused::Append(error)) => return append(error),
            PullRefused::Group(refused) => group(refused),
            PullRefused::Topic(refused) => topic(refused),
            PullRefused::NoMembers { .. }
            | PullRefused::NoSubscription { .. }
            | PullRefused::Mixed { .. } => ResponseCode::SUBSCRIPTION_NOT_EXIST,
            PullRefused::BadFilter { .. } => ResponseCode::SUBSCRIPTION_PARSE_FAILED,
            PullRefused::FilterMissing { .. } => ResponseCode::FILTER_DATA_NOT_EXIST,
            PullRefused::Outdated => ResponseCode::SUBSCRIPTION_NOT_LATEST,
            PullRefused::FilterOff { .. } => ResponseCode::SYSTEM_ERROR,
            PullRefused::Full { .. } => ResponseCode::SYSTEM_BUSY,
            PullRefused::Read(error) => return read(error),
        };
        Refusal::new(code, refused.to_string())
    }
}

impl From<OffsetRefused> for Refusal {
    fn from(refused: OffsetRefused) -> Refusal {
        let code = match &refused {
            OffsetRefused::NotFound => ResponseCode::QUERY_NOT_FOUND,
            OffsetRefused::Group(GroupRefused::Append(error)) => return append(error),
            OffsetRefused::Topic(TopicRefused::Append(error)) => return append(error),
            OffsetRefused::Group(refused) => group(refused),
            OffsetRefused::Topic(refused) => topic(refused),
            OffsetRefused::TooMany { .. } => ResponseCode::INVALID_PARAMETER,
        };
        Refusal::new(code, refused.to_string())
    }
}

impl From<SendBackRefused> for Refusal {
    fn from(refused: SendBackRefused) -> Refusal {
        let code = match &refused {
            SendBackRefused::BrokerNotWritable { .. } => ResponseCode::NO_PERMISSION,
            SendBackRefused::Group(GroupRefused::Append(error)) | SendBackRefused::Append(error) => {
                return append(error);
            }
            SendBackRefused::Topic(TopicRefused::Append(error)) => return append(error),
            SendBackRefused::Group(refused) => group(refused),
            SendBackRefused::Topic(refused) => topic(refused),
            SendBackRefused::NotThere { .. } | SendBackRefused::NotInBatch { .. } => {
                ResponseCode::SYSTEM_ERROR
            }
            SendBackRefused::Read(error) => return read(error),
        };
        Refusal::new(code, refused.to_string())
    }
}

impl From<QueryRefused> for Refusal {
    fn from(refused: QueryRefused) -> Refusal {
        let code = match &refused {
            QueryRefused::NotFound => ResponseCode::QUERY_NOT_FOUND,
            QueryRefused::NotThere { .. } => ResponseCode::SYSTEM_ERROR,
            QueryRefused::Read(error) => return read(error),
        };
        Refusal::new(code, refused.to_string())
    }
}

impl From<RecallRefused> for Refusal {
    fn from(refused: RecallRefused) -> Refusal {
        let code = match &refused {
            RecallRefused::Forbidden => ResponseCode::NO_PERMISSION,
            RecallRefused::NoTopic { .. } => ResponseCode::TOPIC_NOT_EXIST,
            RecallRefused::BadHandle
            | RecallRefused::OtherTopic
            | RecallRefused::OtherBroker { .. }
            | RecallRefused::TooLate
            | RecallRefused::Unknown => ResponseCode::ILLEGAL_OPERATION,
            RecallRefused::TooFar { .. } => ResponseCode::INVALID_PARAMETER,
            RecallRefused::Behind => ResponseCode::SYSTEM_BUSY,
            RecallRefused::Append(error) => return append(error),
            RecallRefused::Read(error) => return read(error),
            RecallRefused::Poisoned(_) => ResponseCode::SERVICE_NOT_AVAILABLE,
        };
        Refusal::new(code, refused.to_string())
    }
}

impl From<ReplyRefused> for Refusal {
    fn from(refused: ReplyRefused) -> Refusal {
        let code = match refused {
            ReplyRefused::Send(refused) => return refused.into(),
            ReplyRefused::Nobody | ReplyRefused::Gone { .. } | ReplyRefused::NotTaken { .. } => {
                ResponseCode::SYSTEM_ERROR
            }
        };
        Refusal::new(code, refused.to_string())
    }
}

impl From<ClientRefused> for Refusal {
    fn from(refused: ClientRefused) -> Refusal {
        let code = match &refused {
            // COMPAT: not an empty list; clients skip a rebalance round on this code.
            ClientRefused::NoMembers { .. } => ResponseCode::SYSTEM_ERROR,
            ClientRefused::FilterOff { .. } => ResponseCode::SYSTEM_ERROR,
            ClientRefused::BadFilter(_) => ResponseCode::SUBSCRIPTION_PARSE_FAILED,
        };
        Refusal::new(code, refused.to_string())
    }
}

impl From<ModeRefused> for Refusal {
    fn from(refused: ModeRefused) -> Refusal {
        let code = match &refused {
            ModeRefused::Retry => ResponseCode::NO_PERMISSION,
            ModeRefused::Pop { .. } => ResponseCode::REQUEST_CODE_NOT_SUPPORTED,
            ModeRefused::Topic(refused) => topic(refused),
            ModeRefused::Group(refused) => group(refused),
            ModeRefused::Append(error) => return append(error),
        };
        Refusal::new(code, refused.to_string())
    }
}

impl From<TopicRefused> for Refusal {
    fn from(refused: TopicRefused) -> Refusal {
        match &refused {
            TopicRefused::Append(error) => append(error),
            TopicRefused::NoRoom(lack) => no_room(lack),
            other => Refusal::new(topic(other), refused.to_string()),
        }
    }
}

impl From<GroupRefused> for Refusal {
    fn from(refused: GroupRefused) -> Refusal {
        match &refused {
            GroupRefused::Append(error) => append(error),
            GroupRefused::NoRoom(lack) => no_room(lack),
            other => Refusal::new(group(other), refused.to_string()),
        }
    }
}

fn topic(refused: &TopicRefused) -> ResponseCode {
    match refused {
        TopicRefused::Missing { .. } => ResponseCode::TOPIC_NOT_EXIST,
        TopicRefused::NotWritable { .. }
        | TopicRefused::NotReadable { .. }
        | TopicRefused::Reserved { .. } => ResponseCode::NO_PERMISSION,
        TopicRefused::BadName(_) | TopicRefused::NoSuchQueue { .. } => ResponseCode::INVALID_PARAMETER,
        TopicRefused::Queues(_) => ResponseCode::SYSTEM_ERROR,
        TopicRefused::NoRoom(lack) => no_room(lack).code,
        TopicRefused::Append(error) => append(error).code,
    }
}

fn group(refused: &GroupRefused) -> ResponseCode {
    match refused {
        GroupRefused::Missing { .. } => ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST,
        GroupRefused::Disabled { .. } => ResponseCode::NO_PERMISSION,
        GroupRefused::BadName(_) => ResponseCode::INVALID_PARAMETER,
        GroupRefused::NoRoom(lack) => no_room(lack).code,
        GroupRefused::Append(error) => append(error).code,
    }
}

/// What a client is told when nothing new is made. As for a full disk: another broker may have room.
fn no_room(lack: &NoRoom) -> Refusal {
    Refusal::new(ResponseCode::SERVICE_NOT_AVAILABLE, format!("service not available now: {lack}"))
}

/// What a client is told when the store took nothing.
///
/// Busy is worth another try elsewhere, and the sentence starts as clients and operators know it. A full or broken
/// disk is not a moment's trouble: 14, with the real reason.
pub(crate) fn append(error: &AppendError) -> Refusal {
    let (code, remark) = match error {
        AppendError::TooLarge { .. } | AppendError::Record(_) => {
            (ResponseCode::MESSAGE_ILLEGAL, format!("the message is illegal: {error}"))
        }
        AppendError::Busy { .. } => (
            ResponseCode::SYSTEM_BUSY,
            format!("[PC_SYNCHRONIZED]broker busy, start flow control for a while: {error}"),
        ),
        AppendError::Removed => (
            ResponseCode::TOPIC_NOT_EXIST,
            "the topic was removed a moment ago, apply first please!".to_owned(),
        ),
        AppendError::DiskFull { .. } | AppendError::Poisoned(_) | AppendError::Closed => {
            (ResponseCode::SERVICE_NOT_AVAILABLE, format!("service not available now: {error}"))
        }
    };
    Refusal::new(code, remark)
}

/// What a client is told when the store could not read.
pub(crate) fn read(error: &ReadError) -> Refusal {
    let (code, remark) = match error {
        ReadError::Busy { .. } => (ResponseCode::SYSTEM_BUSY, format!("[REJECTREQUEST] {error}")),
        ReadError::Cold | ReadError::Io { .. } | ReadError::Damaged { .. } => {
            (ResponseCode::SYSTEM_ERROR, error.to_string())
        }
        ReadError::Closed => {
            (ResponseCode::SERVICE_NOT_AVAILABLE, format!("service not available now: {error}"))
        }
    };
    Refusal::new(code, remark)
}
