// SPDX-License-Identifier: Apache-2.0
//! The refusals of operators' requests as codes and sentences. As in `refusal`, no match has a wildcard.

use protocol::codes::ResponseCode;
use remoting::{CallError, Refusal};

use crate::ops::admin::attributes::AttributesRefused;
use crate::ops::admin::connections::ShowRefused;
use crate::ops::admin::groups::SetGroupRefused;
use crate::ops::admin::journey::JourneyRefused;
use crate::ops::admin::queue::EntriesRefused;
use crate::ops::admin::relay::MemberRefused;
use crate::ops::admin::reset::ResetRefused;
use crate::ops::admin::settings::SettingsRefused;
use crate::ops::admin::stats::NoFigure;
use crate::ops::admin::topics::SetTopicRefused;
use crate::ops::admin::transactions::TransactionRefused;
use crate::refusal::{append, read};

impl From<SetTopicRefused> for Refusal {
    fn from(refused: SetTopicRefused) -> Refusal {
        let code = match refused {
            SetTopicRefused::Topic(refused) => return refused.into(),
            SetTopicRefused::BadName(_)
            | SetTopicRefused::System { .. }
            | SetTopicRefused::Queues { .. }
            | SetTopicRefused::Permission { .. }
            | SetTopicRefused::Mixed => ResponseCode::INVALID_PARAMETER,
            SetTopicRefused::Attributes(ref refused) => attributes(refused),
        };
        Refusal::new(code, refused.to_string())
    }
}

impl From<SetGroupRefused> for Refusal {
    fn from(refused: SetGroupRefused) -> Refusal {
        let code = match refused {
            SetGroupRefused::Group(refused) => return refused.into(),
            SetGroupRefused::Append(error) => return append(&error),
            SetGroupRefused::Topic(refused) => return refused.into(),
            SetGroupRefused::BadName(_) | SetGroupRefused::Queues { .. } | SetGroupRefused::Policy(_) => {
                ResponseCode::INVALID_PARAMETER
            }
            SetGroupRefused::Attributes(ref refused) => attributes(refused),
        };
        Refusal::new(code, refused.to_string())
    }
}

/// COMPAT: bad attributes are a system error in Apache, not an invalid parameter.
fn attributes(refused: &AttributesRefused) -> ResponseCode {
    match refused {
        AttributesRefused::Format(_)
        | AttributesRefused::Twice(_)
        | AttributesRefused::Unknown(_)
        | AttributesRefused::New(_)
        | AttributesRefused::NotThere(_)
        | AttributesRefused::Fixed(_)
        | AttributesRefused::KeepsBatches
        | AttributesRefused::Value { .. } => ResponseCode::SYSTEM_ERROR,
    }
}

impl From<ResetRefused> for Refusal {
    fn from(refused: ResetRefused) -> Refusal {
        let code = match refused {
            ResetRefused::Topic(refused) => return refused.into(),
            ResetRefused::Group(refused) => return refused.into(),
            ResetRefused::OutOfRange { .. } | ResetRefused::NoQueues => ResponseCode::SYSTEM_ERROR,
            ResetRefused::Offline { .. } => ResponseCode::CONSUMER_NOT_ONLINE,
        };
        Refusal::new(code, refused.to_string())
    }
}

impl From<MemberRefused> for Refusal {
    fn from(refused: MemberRefused) -> Refusal {
        let code = match &refused {
            MemberRefused::Read(error) => return read(error),
            MemberRefused::Call { error, .. } if matches!(**error, CallError::Timeout { .. }) => {
                ResponseCode::CONSUME_MSG_TIMEOUT
            }
            MemberRefused::NoMembers { .. }
            | MemberRefused::Offline { .. }
            | MemberRefused::TooOld { .. }
            | MemberRefused::Call { .. }
            | MemberRefused::NotThere { .. } => ResponseCode::SYSTEM_ERROR,
            MemberRefused::BadId(_) => ResponseCode::INVALID_PARAMETER,
        };
        Refusal::new(code, refused.to_string())
    }
}

impl From<ShowRefused> for Refusal {
    fn from(refused: ShowRefused) -> Refusal {
        let code = match &refused {
            ShowRefused::NoConsumers { .. } => ResponseCode::CONSUMER_NOT_ONLINE,
            ShowRefused::NoProducers { .. } => ResponseCode::SYSTEM_ERROR,
        };
        Refusal::new(code, refused.to_string())
    }
}

impl From<SettingsRefused> for Refusal {
    fn from(refused: SettingsRefused) -> Refusal {
        let code = match &refused {
            SettingsRefused::Append(error) => return append(error),
            SettingsRefused::Locked => ResponseCode::NO_PERMISSION,
            SettingsRefused::NoPair { .. }
            | SettingsRefused::Unknown { .. }
            | SettingsRefused::NotLive { .. }
            | SettingsRefused::Value { .. }
            | SettingsRefused::Together(_) => ResponseCode::INVALID_PARAMETER,
        };
        Refusal::new(code, refused.to_string())
    }
}

impl From<NoFigure> for Refusal {
    fn from(refused: NoFigure) -> Refusal {
        Refusal::new(ResponseCode::SYSTEM_ERROR, refused.to_string())
    }
}

impl From<EntriesRefused> for Refusal {
    fn from(refused: EntriesRefused) -> Refusal {
        match &refused {
            EntriesRefused::NoQueue { .. } => Refusal::new(ResponseCode::SYSTEM_ERROR, refused.to_string()),
        }
    }
}

impl From<JourneyRefused> for Refusal {
    fn from(refused: JourneyRefused) -> Refusal {
        let code = match &refused {
            JourneyRefused::Read(error) => return read(error),
            JourneyRefused::NotThere { .. } => ResponseCode::QUERY_NOT_FOUND,
            JourneyRefused::WhichTopic { .. } => ResponseCode::INVALID_PARAMETER,
        };
        Refusal::new(code, refused.to_string())
    }
}

impl From<TransactionRefused> for Refusal {
    fn from(refused: TransactionRefused) -> Refusal {
        let code = match refused {
            TransactionRefused::Read(error) => return read(&error),
            TransactionRefused::Append(error) => return append(&error),
            TransactionRefused::End(refused) => return refused.into(),
            TransactionRefused::NotThere { .. } => ResponseCode::QUERY_NOT_FOUND,
            TransactionRefused::NotOpen { .. } => ResponseCode::ILLEGAL_OPERATION,
            TransactionRefused::NoAudit => ResponseCode::INVALID_PARAMETER,
        };
        Refusal::new(code, refused.to_string())
    }
}
