// SPDX-License-Identifier: Apache-2.0
//! Topics: made, changed, deleted, listed, located, measured.

use std::collections::BTreeSet;

use protocol::admin::topic::{
    DeleteTopicInBroker, GetAllTopicConfig, GetSystemTopicListFromBroker, GetTopicConfig, GetTopicStatsInfo,
    QueryTopicConsumeByWho, QueryTopicsByConsumer, UpdateAndCreateTopic,
};
use protocol::body::{
    GroupList, TopicConfig, TopicConfigAndMappingSerializeWrapper, TopicConfigAndQueueMapping, TopicList,
    TopicRouteData, TopicStatsTable,
};
use protocol::names::{AUTO_CREATE_TOPIC, ByteStr, Group, TopicName};
use protocol::route::{DeleteTopicInNameServer, GetAllTopicListFromNameServer, GetTopicsByCluster};

use crate::admin::{Admin, AdminError, Master};

impl Admin {
    /// Makes or changes a topic on every master of a cluster, or of all; returns those masters.
    pub async fn put_topic(
        &self,
        cluster: Option<&str>,
        config: &TopicConfig,
    ) -> Result<Vec<Master>, AdminError> {
        let masters = self.masters(cluster).await?;
        for master in &masters {
            self.put_topic_on(&master.address, config).await?;
        }
        Ok(masters)
    }

    /// Makes or changes a topic on one broker.
    pub async fn put_topic_on(&self, address: &str, config: &TopicConfig) -> Result<(), AdminError> {
        config.topic_name.check()?;
        let request = UpdateAndCreateTopic {
            topic: config.topic_name.clone(),
            default_topic: Some(TopicName::stored(AUTO_CREATE_TOPIC)),
            read_queues: config.read_queue_nums,
            write_queues: config.write_queue_nums,
            permission: config.perm,
            filter_type: ByteStr::from_static(config.topic_filter_type.name()),
            sys_flag: Some(config.topic_sys_flag),
            order: config.order,
            attributes: attributes(config),
            force: None,
        };
        self.tell(address, &request, ()).await
    }

    /// Deletes a topic on every master of a cluster, or of all, and then from the name servers.
    pub async fn delete_topic(&self, cluster: Option<&str>, topic: &TopicName) -> Result<(), AdminError> {
        for master in self.masters(cluster).await? {
            self.tell(&master.address, &DeleteTopicInBroker { topic: topic.clone() }, ()).await?;
        }
        let request = DeleteTopicInNameServer { topic: topic.clone(), cluster: cluster.map(ByteStr::from) };
        self.every_name_server(&request, bytes::Bytes::new()).await
    }

    /// All topics that name servers know.
    pub async fn topics(&self) -> Result<BTreeSet<TopicName>, AdminError> {
        let list: TopicList = self.name_server(&GetAllTopicListFromNameServer).await?;
        Ok(list.topic_list)
    }

    /// The topics of one cluster.
    pub async fn topics_of_cluster(&self, cluster: &str) -> Result<BTreeSet<TopicName>, AdminError> {
        let list: TopicList = self.name_server(&GetTopicsByCluster { cluster: cluster.into() }).await?;
        Ok(list.topic_list)
    }

    /// The topics that belong to a broker itself.
    pub async fn system_topics(&self, address: &str) -> Result<BTreeSet<TopicName>, AdminError> {
        let list: TopicList = self.broker(address, &GetSystemTopicListFromBroker).await?;
        Ok(list.topic_list)
    }

    /// Where a topic is.
    pub async fn route(&self, topic: &TopicName) -> Result<TopicRouteData, AdminError> {
        Ok(self.session.ask_route(topic).await?)
    }

    /// What the queues of a topic hold, over all its brokers.
    pub async fn topic_stats(&self, topic: &TopicName) -> Result<TopicStatsTable, AdminError> {
        let mut all = TopicStatsTable::default();
        for address in self.masters_of(topic).await? {
            let table: TopicStatsTable =
                self.broker(&address, &GetTopicStatsInfo { topic: topic.clone() }).await?;
            all.offset_table.0.extend(table.offset_table.0);
            all.topic_put_tps += table.topic_put_tps;
        }
        all.offset_table.0.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(all)
    }

    /// The settings of a topic on one broker.
    pub async fn topic_config(&self, address: &str, topic: &TopicName) -> Result<TopicConfig, AdminError> {
        let answer: TopicConfigAndQueueMapping =
            self.broker(address, &GetTopicConfig { topic: topic.clone() }).await?;
        Ok(answer.config)
    }

    /// The settings of all topics on one broker.
    pub async fn topic_configs(
        &self,
        address: &str,
    ) -> Result<TopicConfigAndMappingSerializeWrapper, AdminError> {
        self.broker(address, &GetAllTopicConfig { from: None, data_version: None, max: None }).await
    }

    /// The groups that consume a topic.
    pub async fn groups_of_topic(&self, topic: &TopicName) -> Result<BTreeSet<Group>, AdminError> {
        let mut groups = BTreeSet::new();
        for address in self.masters_of(topic).await? {
            let list: GroupList =
                self.broker(&address, &QueryTopicConsumeByWho { topic: topic.clone() }).await?;
            groups.extend(list.group_list);
        }
        Ok(groups)
    }

    /// The topics that a group consumes.
    pub async fn topics_of_group(&self, group: &Group) -> Result<BTreeSet<TopicName>, AdminError> {
        let mut topics = BTreeSet::new();
        for master in self.masters(None).await? {
            let list: TopicList =
                self.broker(&master.address, &QueryTopicsByConsumer { group: group.clone() }).await?;
            topics.extend(list.topic_list);
        }
        Ok(topics)
    }

    /// Addresses of the masters a topic is on.
    pub(super) async fn masters_of(&self, topic: &TopicName) -> Result<Vec<String>, AdminError> {
        let route = self.route(topic).await?;
        let on = |name: &str| route.queue_datas.iter().any(|queues| queues.broker_name == *name);
        let masters = route.broker_datas.iter().filter(|broker| on(&broker.broker_name));
        Ok(masters.filter_map(|broker| broker.broker_addrs.get(&0).cloned()).collect())
    }
}

/// Attributes travel as `+key=value,-key`; a key without a sign is one to be set.
fn attributes(config: &TopicConfig) -> Option<ByteStr> {
    let text: Vec<String> = config
        .attributes
        .iter()
        .map(|(key, value)| match key.chars().next() {
            Some('-') => key.clone(),
            Some('+') => format!("{key}={value}"),
            _ => format!("+{key}={value}"),
        })
        .collect();
    (!text.is_empty()).then(|| ByteStr::from(text.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_carry_a_sign() {
        let mut config = TopicConfig::default();
        assert_eq!(attributes(&config), None);
        for (key, value) in [("a", "1"), ("+b", "2"), ("-c", "")] {
            config.attributes.insert(key.into(), value.into());
        }
        assert_eq!(attributes(&config).as_deref(), Some("+b=2,-c,+a=1"));
    }
}
