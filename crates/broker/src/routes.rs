// SPDX-License-Identifier: Apache-2.0
//! Everything a broker answers, one line a code, by class: what is shed first under load stands in its class.

use remoting::{Class, Router};

use crate::Broker;
use crate::handlers::admin::{
    broker, connections, groups, journey, progress, relay, replicas, reset, timers, topics, transactions,
};
use crate::handlers::{
    assignment, heartbeat, lock, offset, pull, query, recall, reply, send, send_back, transaction,
};

/// Returns what a broker answers.
pub fn routes() -> Router<Broker> {
    Router::new()
        .class(Class::Send)
        .on_together(send::send_message) // 10
        .on_together(send::send_message_v2) // 310
        .on_together(send::send_batch) // 320
        .on(reply::send_reply) // 324
        .on(reply::send_reply_v2) // 325
        .on(send_back::send_back) // 36
        .on(recall::recall) // 370
        .class(Class::Settle)
        .on_together(transaction::end_transaction) // 37
        .class(Class::Pull)
        .on_at_once(pull::pull_message) // 11
        .on_at_once(pull::lite_pull_message) // 361
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
        .on(assignment::query_assignment) // 400
        .on(query::query_message) // 12
        .on(query::view_message) // 33
        .class(Class::Admin)
        .on(topics::set_topic) // 17
        .on(topics::set_topics) // 18
        .on(topics::all_topics) // 21
        .on(topics::topic_stats) // 202
        .on(topics::delete_topic) // 215
        .on(topics::groups_of_topic) // 300
        .on(topics::system_topics) // 305
        .on(topics::queue_entries) // 321
        .on(topics::topics_of_group) // 343
        .on(topics::topic_config) // 351
        .on(groups::set_group) // 200
        .on(groups::all_groups) // 201
        .on(groups::delete_group) // 207
        .on(groups::set_groups) // 225
        .on(groups::group_config) // 352
        .on(groups::set_readable) // 353
        .on(assignment::set_mode) // 401
        .on(assignment::all_modes) // 402
        .on(connections::consumer_connections) // 203
        .on(connections::producer_connections) // 204
        .on(connections::all_producers) // 328
        .on(connections::subscription) // 345
        .on(progress::consume_stats) // 208
        .on(progress::time_spans) // 303
        .on(progress::correction_offsets) // 308
        .on(progress::clone_progress) // 314
        .on(progress::broker_consume_stats) // 317
        .on(reset::reset_group) // 222
        .on(reset::consumer_status) // 223
        .on(relay::running_info) // 307
        .on(relay::consume_directly) // 309
        .on(broker::change_settings) // 25
        .on(broker::settings) // 26
        .on(broker::runtime) // 28
        .on(broker::clean_queues) // 306
        .on(broker::figure) // 315
        .on(broker::clean_topics) // 316
        .on(broker::clean_log) // 329
        .on(transactions::ask_again) // 323
        .on(transactions::list) // 30020
        .on(transactions::show_one) // 30021
        .on(transactions::decide) // 30022
        .on(timers::list) // 30040
        .on(timers::show_one) // 30041
        .on(timers::change) // 30042
        .on(timers::count) // 30043
        .on(journey::trace) // 30060
        .on(replicas::all_progress) // 43
        .on(replicas::delay_progress) // 45
        .on(replicas::replication) // 907
        .on(replicas::limit_cold_reads) // 2001
        .on(replicas::lift_cold_limit) // 2002
        .on(replicas::cold_limits) // 2003
        .on(replicas::read_mode) // 2004
}
