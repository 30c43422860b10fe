// SPDX-License-Identifier: Apache-2.0
//! Everything a broker answers, one line a code, by class: what is shed first under load stands in its class.

use remoting::{Class, Router};

use crate::Broker;
use crate::handlers::{heartbeat, lock, offset, pull, query, send, send_back};

/// Returns what a broker answers.
pub fn routes() -> Router<Broker> {
    Router::new()
        .class(Class::Send)
        .on(send::send_message) // 10
        .on(send::send_message_v2) // 310
        .on(send::send_batch) // 320
        .on(send_back::send_back) // 36
        .class(Class::Pull)
        .on(pull::pull_message) // 11
        .on(pull::lite_pull_message) // 361
        .class(Class::Client)
        .on(offset::query_consumer_offset) // 14
        .on(offset::update_consumer_offset) // 15
        .on(offset::search_offset) // 29
        .on(offset::max_offset) // 30
        .on(offset::min_offset) // 31
        .on(offset::earliest_store_time) // 32
        .on(heartbeat::heartbeat) // 34
        .on(heartbeat::unregister_client) // 35
        .on(heartbeat::consumer_list) // 38
        .on(heartbeat::check_client_config) // 46
        .on(lock::lock_queues) // 41
        .on(lock::unlock_queues) // 42
        .on(query::query_message) // 12
        .on(query::view_message) // 33
}
