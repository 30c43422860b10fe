// SPDX-License-Identifier: Apache-2.0
//! Tables and random stories of heartbeats, goodbyes and silences.

use super::*;
use expect_test::{Expect, expect};
use proptest::prelude::*;

const SILENCE: Duration = Duration::from_secs(120);

fn session(connection: ConnectionId, client: &str, seen: i64) -> Session {
    Session {
        connection,
        client: ByteStr::from(client),
        peer: ([127, 0, 0, 1], 1).into(),
        language: Language::JAVA,
        version: 0,
        seen: Timestamp(seen * 1000),
    }
}

/// `topic:tags:version`, comma separated; `-` leaves the subscriptions out.
fn presence(group: &str, wanted: &str, fingerprint: i32) -> Presence {
    let subscription = |text: &str| {
        let mut parts = text.split(':');
        let (topic, tags) = (parts.next().unwrap_or_default(), parts.next().unwrap_or("*"));
        let sub_version = parts.next().and_then(|version| version.parse().ok()).unwrap_or(1);
        let data = SubscriptionData {
            topic: TopicName::stored(topic),
            sub_string: tags.to_owned(),
            sub_version,
            ..SubscriptionData::default()
        };
        let filter = Filter::parse("TAG", tags).map(Arc::new);
        (TopicName::stored(topic), Arc::new(Subscription { data, filter }))
    };
    let manner = Manner {
        consume_type: ConsumeType::Passively,
        model: MessageModel::Clustering,
        from: ConsumeFromWhere::LastOffset,
    };
    let subscriptions = (wanted != "-").then(|| wanted.split(',').map(subscription).collect());
    Presence { group: Group::stored(group), manner, subscriptions, fingerprint }
}

/// Runs one line a step: `seconds connection verb …`; prints what each changed.
fn check(script: &str, expected: Expect) {
    let mut table = ClientTable::default();
    let mut printed = String::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split(' ').collect();
        let (now, connection) = (words[0].parse().unwrap(), words[1].parse().unwrap());
        let word = |at: usize| *words.get(at).unwrap_or(&"");
        let group = Group::stored(word(3));
        let outcome = match words[2] {
            "beats" => {
                let session = session(connection, &format!("c{connection}"), now);
                let greeted =
                    table.consumer(&session, presence(word(3), word(4), word(5).parse().unwrap_or(0)));
                let names = [
                    (greeted.joined, "joined"),
                    (greeted.resubscribed, "resubscribed"),
                    (greeted.unknown, "unknown"),
                ];
                let names = names.iter().filter(|(is, _)| *is).map(|(_, name)| (*name).to_owned());
                let disputed = greeted.disputed.iter().map(|topic| format!("disputes {topic}"));
                names.chain(disputed).collect::<Vec<_>>().join(" ")
            }
            "produces" => {
                table.producer(&session(connection, "p", now), group);
                String::new()
            }
            "leaves" => table.leave_consumer(connection, &group).to_string(),
            "closes" => format!("{:?}", table.close(connection)),
            "silence" => format!("{:?}", table.expire(Timestamp(now * 1000), SILENCE)),
            _ => {
                let (members, topic) = (table.members(&group), TopicName::stored(word(4)));
                let wanted = members.and_then(|members| members.subscription(connection, &topic));
                let dispute = members.and_then(|members| members.dispute(connection, &topic));
                let dispute = dispute.filter(|dispute| dispute.is_other);
                let dispute =
                    dispute.map_or(String::new(), |d| format!(", not {}", d.governing.data.sub_string));
                wanted.map_or("nothing".into(), |s| {
                    format!("{} v{}{dispute}", s.data.sub_string, s.data.sub_version)
                })
            }
        };
        printed += &format!("{line} → {outcome}\n");
        table.check();
    }
    expected.assert_eq(&printed);
}

#[test]
fn members_come_and_go() {
    check(
        "0 1 beats g t
         1 2 beats g t
         2 2 produces g
         3 2 leaves g
         4 2 leaves g
         5 1 beats h t
         6 1 closes
         7 2 closes",
        expect![[r#"
            0 1 beats g t → joined resubscribed
            1 2 beats g t → joined
            2 2 produces g → 
            3 2 leaves g → true
            4 2 leaves g → false
            5 1 beats h t → joined resubscribed
            6 1 closes → ["g", "h"]
            7 2 closes → []
        "#]],
    );
}

#[test]
fn a_group_has_one_filter_the_one_it_has_had_longest() {
    check(
        "0 1 beats g t:a:5
         0 2 beats g t:b:6,u
         0 1 wants g t
         0 2 wants g t
         0 9 wants g t
         0 1 wants g u
         0 1 wants g v
         0 1 beats g t:old:4
         0 1 wants g t
         0 2 beats g u
         0 1 closes
         0 2 wants g t",
        expect![[r#"
            0 1 beats g t:a:5 → joined resubscribed
            0 2 beats g t:b:6,u → joined resubscribed disputes t disputes u
            0 1 wants g t → a v5
            0 2 wants g t → b v6, not a
            0 9 wants g t → a v5
            0 1 wants g u → * v1
            0 1 wants g v → nothing
            0 1 beats g t:old:4 → 
            0 1 wants g t → a v5
            0 2 beats g u → 
            0 1 closes → ["g"]
            0 2 wants g t → nothing
        "#]],
    );
}

#[test]
fn a_change_is_rolled_out_member_by_member() {
    check(
        "0 1 beats g t:a:1
         0 2 beats g t:a:2
         1 1 beats g t:b:3
         1 1 wants g t
         2 3 beats g t:b:4
         2 2 beats g t:a:5
         2 2 wants g t
         3 2 closes
         3 1 wants g t
         3 3 wants g t
         4 4 beats g t:a:6
         4 4 wants g t
         5 1 beats g t:b:7
         5 4 closes
         6 5 beats g u
         7 5 leaves g
         8 5 beats g u:*:9",
        expect![[r#"
            0 1 beats g t:a:1 → joined resubscribed
            0 2 beats g t:a:2 → joined
            1 1 beats g t:b:3 → disputes t
            1 1 wants g t → b v3, not a
            2 3 beats g t:b:4 → joined
            2 2 beats g t:a:5 → 
            2 2 wants g t → a v5
            3 2 closes → ["g"]
            3 1 wants g t → b v3
            3 3 wants g t → b v4
            4 4 beats g t:a:6 → joined disputes t
            4 4 wants g t → a v6, not b
            5 1 beats g t:b:7 → 
            5 4 closes → ["g"]
            6 5 beats g u → joined resubscribed disputes t disputes u
            7 5 leaves g → true
            8 5 beats g u:*:9 → joined resubscribed disputes t disputes u
        "#]],
    );
}

#[test]
fn subscriptions_may_be_left_out_when_they_are_known() {
    check(
        "0 1 beats g - 5
         0 1 beats g t:a 5
         0 1 beats g - 5
         0 1 wants g t
         0 1 beats g - 6
         0 2 beats g - 5",
        expect![[r#"
            0 1 beats g - 5 → joined unknown
            0 1 beats g t:a 5 → resubscribed
            0 1 beats g - 5 → 
            0 1 wants g t → a v1
            0 1 beats g - 6 → unknown
            0 2 beats g - 5 → joined unknown
        "#]],
    );
}

#[test]
fn the_silent_are_forgotten() {
    check(
        "0 1 beats g t
         0 2 beats g t
         0 3 produces p
         100 1 beats g t
         120 0 silence
         121 0 silence
         221 0 silence",
        expect![[r#"
            0 1 beats g t → joined resubscribed
            0 2 beats g t → joined
            0 3 produces p → 
            100 1 beats g t → 
            120 0 silence → []
            121 0 silence → ["g"]
            221 0 silence → ["g"]
        "#]],
    );
}

#[test]
fn a_producer_is_found_by_its_name_while_one_connection_is_left() {
    let mut table = ClientTable::default();
    let found = |table: &ClientTable, name: &str| table.producing(name).copied().collect::<Vec<_>>();
    for (connection, group) in [(1, "g"), (1, "h"), (2, "g")] {
        table.producer(&session(connection, "asking", 0), Group::stored(group));
    }
    assert_eq!(found(&table, "asking"), [2, 1]);
    table.leave_producer(1, &Group::stored("g"));
    assert_eq!(found(&table, "asking"), [2, 1], "it still produces in another group there");
    table.producer(&session(2, "renamed", 1), Group::stored("g"));
    assert_eq!((found(&table, "asking"), found(&table, "renamed")), (vec![1], vec![2]));
    table.close(1);
    assert_eq!(found(&table, "asking"), []);
    table.check();
}

proptest! {
    /// Whatever producers do, a name leads to them and to nobody else.
    #[test]
    fn producers_are_found(steps in proptest::collection::vec((0..6u8, 0..4u64, 0..3u8, 0..60i64), 0..80)) {
        let mut table = ClientTable::default();
        let mut now = 0;
        for (verb, connection, group, pause) in steps {
            now += pause;
            let group = Group::stored(format!("g{group}"));
            match verb {
                0..=2 => table.producer(&session(connection, &format!("c{}", now % 3), now), group),
                3 => table.leave_producer(connection, &group),
                4 => drop(table.close(connection)),
                _ => drop(table.expire(Timestamp(now * 1000), SILENCE)),
            }
            table.check();
        }
    }

    /// Whatever happens, the table knows exactly who beat last and has not left, closed or fallen silent.
    #[test]
    fn equals_the_model(steps in proptest::collection::vec((0..6u8, 0..4u64, 0..3u8, 0..60i64), 0..80)) {
        let mut table = ClientTable::default();
        let mut model: BTreeMap<(u8, u64), i64> = BTreeMap::new();
        let mut now = 0;
        let name = |group: u8| Group::stored(format!("g{group}"));
        for (verb, connection, group, pause) in steps {
            now += pause;
            match verb {
                0..=2 => {
                    let session = session(connection, &format!("c{connection}"), now);
                    let tags = ["t:a", "t:b", "u"][now as usize % 3];
                    let greeted = table.consumer(&session, presence(&name(group), tags, 0));
                    prop_assert_eq!(greeted.joined, model.insert((group, connection), now).is_none());
                }
                3 => prop_assert_eq!(table.leave_consumer(connection, &name(group)), model.remove(&(group, connection)).is_some()),
                4 => {
                    let lost: BTreeSet<Group> = model.keys().filter(|key| key.1 == connection).map(|key| name(key.0)).collect();
                    prop_assert_eq!(table.close(connection), lost.into_iter().collect::<Vec<_>>());
                    model.retain(|key, _| key.1 != connection);
                }
                _ => {
                    let is_silent = |seen: i64| now - seen > 120;
                    let lost: BTreeSet<Group> = model.iter().filter(|(_, seen)| is_silent(**seen)).map(|(key, _)| name(key.0)).collect();
                    prop_assert_eq!(table.expire(Timestamp(now * 1000), SILENCE), lost.into_iter().collect::<Vec<_>>());
                    model.retain(|_, seen| !is_silent(*seen));
                }
            }
            table.check();
            for group in 0..3 {
                let known: Vec<u64> = table.members(&name(group)).into_iter().flat_map(Members::sessions).map(|s| s.connection).collect();
                let expected: Vec<u64> = model.keys().filter(|key| key.0 == group).map(|key| key.1).collect();
                prop_assert_eq!(known, expected);
            }
        }
    }
}
