// SPDX-License-Identifier: Apache-2.0
//! Stories of the route table as text, and a naive model beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use expect_test::{Expect, expect};
use proptest::prelude::*;
use protocol::names::BrokerName;

use super::*;

const LEASE: Duration = Duration::from_secs(120);
const NOW: Timestamp = Timestamp(1_000_000);

fn rw(read: i32, write: i32) -> Queues {
    Queues { read, write, permission: 6, flags: 0 }
}

fn seat(broker: &str, id: u64, address: &str) -> Seat {
    Seat { cluster: "c".into(), broker: broker.into(), id, address: address.into() }
}

fn from(broker: &str, id: u64, address: &str, topics: &[&str]) -> Registration {
    Registration {
        seat: seat(broker, id, address),
        replication_address: format!("{address}+ha"),
        zone: None,
        acting_master: Some(false),
        lease: LEASE,
        version: version(0),
        topics: topics.iter().map(|topic| ((*topic).to_owned(), rw(4, 4))).collect(),
        mappings: Vec::new(),
        connection: 1,
        is_local: false,
    }
}

fn version(state_version: i64) -> DataVersion {
    DataVersion { state_version, ..DataVersion::default() }
}

/// A table whose start-up grace is over.
fn table() -> RouteTable {
    RouteTable::new(Rules::default(), Vec::new(), Timestamp(0))
}

fn registered(registrations: &[Registration]) -> RouteTable {
    let mut table = table();
    for registration in registrations {
        table.register(registration.clone(), NOW).expect("the test registers what fits");
        table.check();
    }
    table
}

fn show(table: &RouteTable, topics: &[&str]) -> String {
    let mut out = String::new();
    for topic in topics {
        match table.route(topic, NOW) {
            Lookup::Found(route) => {
                for ((name, queues), members) in route.queues.iter().zip(&route.brokers) {
                    let addresses: Vec<_> = members
                        .addresses
                        .iter()
                        .map(|(id, address)| format!("{id}={}", address.text))
                        .collect();
                    let Queues { read, write, permission, .. } = queues;
                    let _ = writeln!(
                        out,
                        "{topic}: {name} r{read} w{write} p{permission} {}",
                        addresses.join(" ")
                    );
                }
            }
            other => {
                let _ = writeln!(out, "{topic}: {other:?}");
            }
        }
    }
    out
}

fn check(table: &RouteTable, topics: &[&str], expected: Expect) {
    table.check();
    expected.assert_eq(&show(table, topics));
}

#[test]
fn topics_come_from_the_master_and_the_addresses_from_all() {
    let mut table = registered(&[from("a", 0, "m:1", &["t", "u"]), from("b", 0, "m:2", &["t", "w"])]);
    let replica = table.register(from("a", 1, "s:1", &["t", "only-here"]), NOW).unwrap();
    assert_eq!(replica.master, Some(("m:1".into(), "m:1+ha".into())));
    check(
        &table,
        &["t", "u", "only-here"],
        expect![[r#"
            t: a r4 w4 p6 0=m:1 1=s:1
            t: b r4 w4 p6 0=m:2
            u: a r4 w4 p6 0=m:1 1=s:1
            only-here: Missing
        "#]],
    );
    assert_eq!(table.topics(TopicSet::Cluster("c")).len(), 3);
    assert!(table.topics(TopicSet::Cluster("x")).is_empty());
}

#[test]
fn one_topic_needs_a_whole_registration_before_it() {
    let mut table = table();
    assert_eq!(table.register(from("a", 0, "m:1", &["t"]), NOW), Err(RegisterRefused::Partial));
    table.check();
    table.register(from("a", 0, "m:1", &[]), NOW).unwrap();
    assert_eq!(table.register(from("a", 1, "s:1", &["t"]), NOW), Err(RegisterRefused::Partial));
    table.register(from("a", 0, "m:1", &["t"]), NOW).unwrap();
    check(&table, &["t"], expect![["t: a r4 w4 p6 0=m:1\n"]]);
}

#[test]
fn the_newer_state_keeps_the_seat() {
    let holder = Registration { version: version(5), ..from("a", 0, "old:1", &["t", "u"]) };
    let mut table = registered(&[holder]);
    let late = Registration { version: version(4), ..from("a", 0, "new:1", &["t", "u"]) };
    let refused = table.register(late, NOW).unwrap_err();
    expect!["broker id 0 of a is held by old:1 with a newer state version (5 > 4)"]
        .assert_eq(&refused.to_string());
    check(&table, &["t"], expect![["t: a r4 w4 p6 0=old:1\n"]]);
    let equal = Registration { version: version(5), ..from("a", 0, "new:1", &["t", "u"]) };
    table.register(equal, NOW).unwrap();
    check(&table, &["t"], expect![["t: a r4 w4 p6 0=new:1\n"]]);
}

#[test]
fn what_comes_on_an_older_connection_is_from_the_past() {
    let mut table = registered(&[
        Registration { connection: 1, ..from("a", 0, "m:1", &["t", "u"]) },
        Registration { connection: 2, ..from("a", 0, "m:1", &["t", "u"]) },
    ]);
    // The farewell of the process that used to be there, overtaken by its successor (R20).
    assert!(!table.unregister(&seat("a", 0, "m:1"), 1));
    assert!(table.disconnect(1).is_empty());
    let late = Registration { connection: 1, ..from("a", 0, "m:1", &["t", "u"]) };
    assert_eq!(table.register(late, NOW), Err(RegisterRefused::Past { address: "m:1".into() }));
    check(&table, &["t"], expect![["t: a r4 w4 p6 0=m:1\n"]]);
    assert!(!table.unregister(&seat("a", 1, "m:1"), 2));
    assert!(table.unregister(&seat("a", 0, "m:1"), 2));
    check(&table, &["t"], expect![["t: Missing\n"]]);
}

#[test]
fn an_address_has_one_seat() {
    let mut table = registered(&[from("a", 0, "m:1", &["t", "u"]), from("a", 1, "s:1", &[])]);
    table.register(from("a", 0, "s:1", &["t", "u"]), NOW).unwrap();
    check(&table, &["t"], expect![["t: a r4 w4 p6 0=s:1\n"]]);
    table.register(from("renamed", 0, "s:1", &["t", "x"]), NOW).unwrap();
    check(
        &table,
        &["t", "u"],
        expect![[r#"
        t: renamed r4 w4 p6 0=s:1
        u: Missing
    "#]],
    );
}

#[test]
fn a_name_belongs_to_one_cluster() {
    let mut table = registered(&[from("a", 0, "m:1", &["t", "u"])]);
    let mut other = from("a", 0, "n:1", &["t", "u"]);
    other.seat.cluster = "d".into();
    let refused = table.register(other.clone(), NOW).unwrap_err();
    expect!["the broker name a is taken in cluster c"].assert_eq(&refused.to_string());
    // The same process under another configuration takes its name along.
    other.seat.address = "m:1".into();
    table.register(other, NOW).unwrap();
    check(&table, &["t"], expect![["t: a r4 w4 p6 0=m:1\n"]]);
    assert_eq!(table.members("a").unwrap().cluster, "d");
}

#[test]
fn a_lease_ends_without_a_sign_of_life() {
    let short = Registration { lease: Duration::from_secs(10), ..from("a", 0, "m:1", &["t", "u"]) };
    let mut table = registered(&[short, from("b", 0, "m:2", &["t", "w"])]);
    let at = |seconds| NOW + Duration::from_secs(seconds);
    assert!(!table.is_due(at(10)) && table.expire(at(10)).is_empty());
    assert!(table.heartbeat("c", "a", "m:1", at(10)));
    assert!(!table.heartbeat("d", "a", "m:1", at(10)) && !table.heartbeat("c", "a", "m:3", at(10)));
    assert!(table.is_due(at(11)) && table.expire(at(20)).is_empty());
    assert_eq!(table.expire(at(21)), [seat("a", 0, "m:1")]);
    check(
        &table,
        &["t", "u"],
        expect![[r#"
        t: b r4 w4 p6 0=m:2
        u: Missing
    "#]],
    );
    assert!(!table.is_due(at(120)) && table.is_due(at(121)));
}

#[test]
fn a_closed_connection_empties_the_seats_it_registered() {
    let mut table = registered(&[
        Registration { connection: 7, ..from("a", 0, "m:1", &["t", "u"]) },
        Registration { connection: 8, ..from("a", 1, "s:1", &[]) },
    ]);
    assert_eq!(table.disconnect(7), [seat("a", 0, "m:1")]);
    check(&table, &["t"], expect![["t: a r4 w4 p6 1=s:1\n"]]);
    assert_eq!(table.disconnect(8).len(), 1);
    check(&table, &["t"], expect![["t: Missing\n"]]);
}

#[test]
fn a_wiped_broker_stays_wiped_until_it_is_given_back_or_gone() {
    let mut table = registered(&[from("a", 0, "m:1", &["t", "u"])]);
    assert_eq!((table.set_wiped("a", true), table.set_wiped("nobody", true)), (2, 0));
    table.register(from("a", 0, "m:1", &["t", "u", "w"]), NOW).unwrap();
    check(
        &table,
        &["t", "w"],
        expect![[r#"
        t: a r4 w4 p4 0=m:1
        w: a r4 w4 p4 0=m:1
    "#]],
    );
    assert_eq!(table.set_wiped("a", false), 3);
    check(&table, &["t"], expect![["t: a r4 w4 p6 0=m:1\n"]]);
    table.set_wiped("a", true);
    table.disconnect(1);
    table.register(from("a", 0, "m:1", &["t", "u"]), NOW).unwrap();
    check(&table, &["t"], expect![["t: a r4 w4 p6 0=m:1\n"]]);
}

#[test]
fn a_replica_stands_in_for_reading_only() {
    let standing = |id, address: &str| Registration {
        acting_master: Some(true),
        connection: id,
        ..from("a", id, address, &["t", "u"])
    };
    let mut table = registered(&[standing(0, "m:1"), standing(1, "s:1"), standing(2, "s:2")]);
    table.disconnect(0);
    check(&table, &["t"], expect![["t: a r4 w4 p4 1=s:1 2=s:2\n"]]);
    table.rules.acting_master = true;
    check(&table, &["t"], expect![["t: a r4 w4 p4 0=s:1 2=s:2\n"]]);
    table.register(standing(0, "m:1"), NOW).unwrap();
    check(&table, &["t"], expect![["t: a r4 w4 p6 0=m:1 1=s:1 2=s:2\n"]]);
}

#[test]
fn topics_are_announced_deleted_and_dropped_when_unlisted() {
    let mut table = registered(&[from("a", 0, "m:1", &["t", "u"]), from("b", 0, "m:2", &["t", "w"])]);
    assert!(!table.register_topic("x", &[("a".into(), rw(1, 1)), ("nobody".into(), rw(1, 1))]));
    assert!(!table.register_topic("x", &[]));
    assert!(table.register_topic("x", &[("a".into(), rw(1, 2)), ("b".into(), rw(3, 4))]));
    table.delete_topic("t", Some("elsewhere"));
    table.delete_topic("u", Some("c"));
    table.delete_topic("w", None);
    table.delete_topic("never", None);
    check(
        &table,
        &["x", "t", "u", "w"],
        expect![[r#"
        x: a r1 w2 p6 0=m:1
        x: b r3 w4 p6 0=m:2
        t: a r4 w4 p6 0=m:1
        t: b r4 w4 p6 0=m:2
        u: Missing
        w: Missing
    "#]],
    );
    table.rules.drop_unlisted = true;
    table.register(from("a", 0, "m:1", &["u"]), NOW).unwrap();
    check(
        &table,
        &["x", "u"],
        expect![[r#"
        x: a r1 w2 p6 0=m:1
        x: b r3 w4 p6 0=m:2
        u: a r4 w4 p6 0=m:1
    "#]],
    );
    table.register(from("a", 0, "m:1", &["u", "v"]), NOW).unwrap();
    check(
        &table,
        &["x", "t"],
        expect![[r#"
        x: b r3 w4 p6 0=m:2
        t: b r4 w4 p6 0=m:2
    "#]],
    );
}

#[test]
fn the_layout_of_a_static_topic_outlives_its_broker() {
    let mapping = TopicQueueMappingInfo {
        bname: BrokerName::stored("a"),
        total_queues: 8,
        ..TopicQueueMappingInfo::default()
    };
    let on_a = Registration { mappings: vec![("t".into(), mapping)], ..from("a", 0, "m:1", &["t", "u"]) };
    let mut table = registered(&[on_a, Registration { connection: 2, ..from("b", 0, "m:2", &["t", "u"]) }]);
    table.disconnect(1);
    let mappings = |table: &RouteTable| match table.route("t", NOW) {
        Lookup::Found(route) => route.mappings.map(|by_broker| by_broker["a"].total_queues),
        other => panic!("{other:?}"),
    };
    assert_eq!(mappings(&table), Some(8));
    table.delete_topic("t", None);
    table.register(Registration { connection: 2, ..from("b", 0, "m:2", &["t", "u"]) }, NOW).unwrap();
    assert_eq!(mappings(&table), None);
}

#[test]
fn unit_topics_are_listed_by_their_flags() {
    let mut table = registered(&[from("a", 0, "m:1", &[])]);
    for flags in 0..4 {
        table.register_topic(&format!("f{flags}"), &[("a".into(), Queues { flags, ..rw(1, 1) })]);
    }
    let list = |set| table.topics(set).into_iter().collect::<Vec<_>>().join(" ");
    assert_eq!(list(TopicSet::All), "f0 f1 f2 f3");
    assert_eq!(list(TopicSet::Unit), "f1 f3");
    assert_eq!(list(TopicSet::UnitSubscription), "f2 f3");
    assert_eq!(list(TopicSet::UnitSubscriptionOnly), "f2");
}

#[test]
fn after_a_start_nobody_is_declared_gone_too_early() {
    let until = NOW + Duration::from_secs(45);
    let remembered = vec!["a".to_owned(), "b".to_owned()];
    let mut table = RouteTable::new(Rules::default(), remembered, until);
    assert_eq!(table.route("t", NOW), Lookup::TooEarly);
    assert_eq!(table.route("t", until), Lookup::Missing);
    assert!(!table.register(from("a", 0, "m:1", &["t", "u"]), NOW).unwrap().roster_changed);
    assert!(matches!(table.route("t", NOW), Lookup::Found(_)));
    assert_eq!(table.route("x", NOW), Lookup::TooEarly);
    table.register(from("b", 0, "m:2", &[]), NOW).unwrap();
    assert_eq!(table.route("x", NOW), Lookup::Missing);
    table.disconnect(1);
    assert_eq!((table.route("t", NOW), table.roster().len()), (Lookup::Missing, 2));

    let mut fresh = RouteTable::new(Rules::default(), Vec::new(), until);
    assert_eq!(fresh.route("t", NOW), Lookup::TooEarly);
    assert!(fresh.register(from("a", 0, "m:1", &[]), NOW).unwrap().roster_changed);
    assert_eq!(fresh.route("t", NOW), Lookup::Missing);
    assert!(fresh.unregister(&seat("a", 0, "m:1"), 1) && fresh.roster().is_empty());
}

#[test]
fn a_zone_sees_its_own_brokers_and_those_without_a_master() {
    let zoned = |broker: &str, id, address: &str, zone: &str| Registration {
        zone: Some(zone.into()),
        ..from(broker, id, address, &["t", "u"])
    };
    let mut table = registered(&[zoned("a", 0, "m:1", "z1"), zoned("b", 0, "m:2", "z2")]);
    table.register(zoned("s", 0, "m:3", "z3"), NOW).unwrap();
    table.register(Registration { connection: 9, ..zoned("s", 1, "s:3", "z3") }, NOW).unwrap();
    table.remove_replicas(|_, _, replica| replica.address == "m:3");
    let names = |zone: &str| {
        let Lookup::Found(route) = table.route("t", NOW) else { panic!("the topic is there") };
        let route = route.in_zone(zone);
        assert_eq!(route.queues.len(), route.brokers.len());
        route.brokers.into_iter().map(|broker| broker.broker).collect::<Vec<_>>().join(" ")
    };
    assert_eq!((names("Z1").as_str(), names("z2").as_str(), names("nowhere").as_str()), ("a s", "b s", "s"));
    table.disconnect(9);
    let Lookup::Found(route) = table.route("t", NOW) else { panic!("the topic is there") };
    assert_eq!(route.in_zone("nowhere").brokers.len(), 2);
}

/// What can happen to a table.
#[derive(Clone, Debug)]
enum Event {
    Register { broker: u8, id: u64, address: u8, state: i64, connection: u64, topics: Vec<u8> },
    Heartbeat { broker: u8, address: u8 },
    Unregister { broker: u8, id: u64, address: u8, connection: u64 },
    Disconnect(u64),
    Pass(u8),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let register = (0..3u8, 0..3u64, 0..4u8, 0..3i64, 0..5u64, proptest::collection::vec(0..4u8, 0..4));
    let one = prop_oneof![
        4 => register.prop_map(|(broker, id, address, state, connection, topics)| {
            Event::Register { broker, id, address, state, connection, topics }
        }),
        1 => (0..3u8, 0..4u8).prop_map(|(broker, address)| Event::Heartbeat { broker, address }),
        1 => (0..3u8, 0..3u64, 0..4u8, 0..5u64).prop_map(|(broker, id, address, connection)| {
            Event::Unregister { broker, id, address, connection }
        }),
        1 => (0..5u64).prop_map(Event::Disconnect),
        1 => (1..90u8).prop_map(Event::Pass),
    ];
    proptest::collection::vec(one, 0..60)
}

/// The same rules over flat lists, written for reading and not for speed.
#[derive(Default)]
struct Model {
    seats: Vec<ModelSeat>,
    topics: BTreeSet<(u8, u8)>,
}

#[derive(Clone)]
struct ModelSeat {
    broker: u8,
    id: u64,
    address: u8,
    state: i64,
    connection: u64,
    end: Timestamp,
}

impl Model {
    fn register(&mut self, new: ModelSeat, topics: &[u8]) -> bool {
        let holder = self.seats.iter().find(|held| held.broker == new.broker && held.id == new.id);
        let mine = self.seats.iter().find(|held| held.broker == new.broker && held.address == new.address);
        let is_past = mine.is_some_and(|held| held.connection > new.connection);
        let is_stale = holder.is_some_and(|held| held.address != new.address && held.state > new.state);
        if is_past || is_stale || (holder.is_none() && topics.len() == 1) {
            return false;
        }
        let kept_name = new.broker;
        self.seats
            .retain(|held| held.address != new.address && (held.broker, held.id) != (new.broker, new.id));
        self.seats.push(new.clone());
        self.forget_empty();
        let lowest = self.seats.iter().filter(|held| held.broker == kept_name).map(|held| held.id).min();
        if lowest == Some(new.id) {
            self.topics.extend(topics.iter().map(|topic| (*topic, new.broker)));
        }
        true
    }

    fn forget_empty(&mut self) {
        let alive: BTreeSet<u8> = self.seats.iter().map(|seat| seat.broker).collect();
        self.topics.retain(|(_, broker)| alive.contains(broker));
    }

    fn drop_where(&mut self, is_gone: impl Fn(&ModelSeat) -> bool) {
        self.seats.retain(|seat| !is_gone(seat));
        self.forget_empty();
    }

    fn show(&self) -> BTreeMap<String, Vec<String>> {
        let mut shown = BTreeMap::<String, Vec<String>>::new();
        for (topic, broker) in &self.topics {
            let seats: BTreeMap<u64, u8> = self
                .seats
                .iter()
                .filter(|seat| seat.broker == *broker)
                .map(|seat| (seat.id, seat.address))
                .collect();
            shown.entry(format!("t{topic}")).or_default().push(format!("b{broker} {seats:?}"));
        }
        shown
    }
}

fn show_table(table: &RouteTable, now: Timestamp) -> BTreeMap<String, Vec<String>> {
    let mut shown = BTreeMap::new();
    for topic in table.topics(TopicSet::All) {
        let Lookup::Found(route) = table.route(&topic, now) else { panic!("a listed topic has a route") };
        let lines = route.brokers.iter().map(|members| {
            let address = |text: &str| text.parse::<u8>().expect("addresses are numbers here");
            let seats: BTreeMap<u64, u8> =
                members.addresses.iter().map(|(id, entry)| (*id, address(&entry.text))).collect();
            format!("{} {seats:?}", members.broker)
        });
        shown.insert(topic.clone(), lines.collect());
    }
    shown
}

/// Runs one event on both and returns the new time.
fn step(event: &Event, table: &mut RouteTable, model: &mut Model, now: Timestamp) -> Timestamp {
    let name = |broker: &u8| format!("b{broker}");
    match event {
        Event::Register { broker, id, address, state, connection, topics } => {
            let new = Registration {
                seat: seat(&name(broker), *id, &address.to_string()),
                version: version(*state),
                connection: *connection,
                topics: topics.iter().map(|topic| (format!("t{topic}"), rw(4, 4))).collect(),
                ..from("", 0, "", &[])
            };
            let (broker, id, address, state, connection) = (*broker, *id, *address, *state, *connection);
            let seat = ModelSeat { broker, id, address, state, connection, end: now + LEASE };
            assert_eq!(table.register(new, now).is_ok(), model.register(seat, topics));
        }
        Event::Heartbeat { broker, address } => {
            table.heartbeat("c", &name(broker), &address.to_string(), now);
            let heard =
                model.seats.iter_mut().filter(|seat| (seat.broker, seat.address) == (*broker, *address));
            heard.for_each(|seat| seat.end = now + LEASE);
        }
        Event::Unregister { broker, id, address, connection } => {
            table.unregister(&seat(&name(broker), *id, &address.to_string()), *connection);
            model.drop_where(|seat| {
                (seat.broker, seat.id, seat.address) == (*broker, *id, *address)
                    && seat.connection <= *connection
            });
        }
        Event::Disconnect(connection) => {
            table.disconnect(*connection);
            model.drop_where(|seat| seat.connection == *connection);
        }
        Event::Pass(seconds) => {
            let now = now + Duration::from_secs(u64::from(*seconds));
            if table.is_due(now) {
                table.expire(now);
            }
            model.drop_where(|seat| seat.end < now);
            return now;
        }
    }
    now
}

proptest! {
    #[test]
    fn the_table_answers_like_the_naive_model(events in events()) {
        let (mut table, mut model, mut now) = (table(), Model::default(), NOW);
        for event in &events {
            now = step(event, &mut table, &mut model, now);
            table.check();
            prop_assert_eq!(show_table(&table, now), model.show(), "after {:?}", event);
        }
    }
}
