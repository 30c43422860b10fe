// SPDX-License-Identifier: Apache-2.0
//! Transactions: those that wait for a decision, what became of one, and deciding by hand. All but asking again are
//! requests that only our own broker knows; Apache's answers that it does not.

use protocol::admin::broker::ResumeCheckHalfMessage;
use protocol::admin::transaction::{DecideTransaction, ListTransactions, ShowTransaction};
use protocol::body::{TransactionInfo, TransactionList};
use protocol::codes::ResponseCode;
use protocol::ids::OffsetId;
use protocol::json;
use protocol::names::{BrokerName, ByteStr, Group, TopicName};
use protocol::transaction::{COMMIT, ROLLBACK, UNKNOWN};

use crate::admin::{Admin, AdminError, Master};
use crate::producer::Outcome;

/// Which undecided transactions are wanted.
#[derive(Clone, Debug, Default)]
pub struct TransactionQuery {
    /// Of this topic.
    pub topic: Option<TopicName>,
    /// Of this producer group.
    pub group: Option<Group>,
    /// Only parked ones.
    pub parked: bool,
    /// Behind this one.
    pub after: Option<u64>,
    /// How many of each broker.
    pub max: u32,
}

impl Admin {
    /// Undecided transactions by broker, the oldest first.
    pub async fn transactions(
        &self,
        query: &TransactionQuery,
    ) -> Result<Vec<(BrokerName, TransactionList)>, AdminError> {
        let request = ListTransactions {
            topic: query.topic.clone(),
            group: query.group.clone(),
            parked: query.parked,
            after: query.after,
            max: query.max,
        };
        let mut lists = Vec::new();
        for Master { broker, address, .. } in self.masters(None).await? {
            lists.push((broker, self.broker(&address, &request).await?));
        }
        Ok(lists)
    }

    /// What became of a transaction, and the broker that has it.
    pub async fn transaction(&self, id: &str) -> Result<(BrokerName, TransactionInfo), AdminError> {
        let (master, info) = self.find_transaction(id).await?;
        Ok((master.broker, info))
    }

    /// Decides a transaction by hand; `by` and `why` go into the log.
    pub async fn decide_transaction(
        &self,
        id: &str,
        outcome: Outcome,
        by: &str,
        why: &str,
    ) -> Result<(), AdminError> {
        let (master, info) = self.find_transaction(id).await?;
        let decision = match outcome {
            Outcome::Commit => COMMIT,
            Outcome::Rollback => ROLLBACK,
            Outcome::Unknown => UNKNOWN,
        };
        let request = DecideTransaction {
            id: ByteStr::from(info.id.to_string()),
            decision,
            by: ByteStr::from(by),
            why: ByteStr::from(why),
        };
        self.tell(&master.address, &request, ()).await
    }

    /// Has the producers of a transaction asked again.
    pub async fn ask_about_transaction(&self, id: &str) -> Result<(), AdminError> {
        let (master, info) = self.find_transaction(id).await?;
        let id = ByteStr::from(info.id.to_string());
        let request = ResumeCheckHalfMessage { topic: None, message_id: Some(id) };
        self.tell(&master.address, &request, ()).await
    }

    /// Asks the broker that the id names, or each in turn.
    async fn find_transaction(&self, id: &str) -> Result<(Master, TransactionInfo), AdminError> {
        let request = ShowTransaction { id: ByteStr::from(id) };
        let named = OffsetId::parse(id).ok().map(|id| id.host.to_string());
        let mut masters = self.masters(None).await?;
        masters.sort_by_key(|master| named.as_ref() != Some(&master.address));
        for master in masters {
            match self.session.ask(&master.address, &request, ()).await {
                Ok((_, body)) => return Ok((master, json::from_slice(&body)?)),
                Err(error) if error.refusal() == Some(ResponseCode::QUERY_NOT_FOUND) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(AdminError::NoTransaction(id.to_owned()))
    }
}
