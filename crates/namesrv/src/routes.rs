// SPDX-License-Identifier: Apache-2.0
//! What a name server answers, one line per code.

use remoting::{Class, Router};

use crate::handlers::{brokers, route, settings, topics};
use crate::server::NameServer;

/// Everything a name server answers.
pub fn routes() -> Router<NameServer> {
    Router::new()
        .class(Class::Client)
        .on(route::route_of_topic) // 105
        .class(Class::Control)
        .on(brokers::register) // 103
        .on(brokers::unregister) // 104
        .on(brokers::data_version) // 322
        .on(brokers::member_group) // 901
        .on(brokers::heartbeat) // 904
        .on(topics::register_topic) // 217
        .class(Class::Admin)
        .on(route::cluster_info) // 106
        .on(topics::all_topics) // 206
        .on(topics::topics_of_cluster) // 224
        .on(topics::system_topics) // 304
        .on(topics::unit_topics) // 311
        .on(topics::unit_subscription_topics) // 312
        .on(topics::unit_subscription_only_topics) // 313
        .on(topics::delete_topic) // 216
        .on(topics::wipe_write_permission) // 205
        .on(topics::add_write_permission) // 327
        .on(settings::put) // 100
        .on(settings::get) // 101
        .on(settings::delete) // 102
        .on(settings::list) // 219
        .on(settings::update_config) // 318
        .on(settings::config) // 319
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::codes::{self, Answerer};

    #[test]
    fn every_code_of_a_name_server_is_answered() {
        let answered: Vec<i32> = routes().codes().into_iter().map(|(code, ..)| code).collect();
        for code in 0..=4000 {
            let Some(info) = codes::lookup(code) else { continue };
            let ours = matches!(info.answered_by, Answerer::NameServer | Answerer::NameServerAndController);
            assert_eq!(ours, answered.contains(&code), "{}", info.name);
        }
    }
}
