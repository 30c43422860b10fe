// SPDX-License-Identifier: Apache-2.0
//! Money moves between two ledgers by transactions, while producer and broker die at any point: in the end what left
//! one ledger has reached the other, once. `KIRUNA_BANK_TRANSFERS` makes it long (`cargo xtask bank`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use broker::ops::send::Sent;
use broker::ops::transaction::{EndInput, EndRefused};
use broker::transaction::Decision;
use protocol::names::Group;
use protocol::properties;
use protocol::record::Record;
use stdx::Rng;

use crate::world::{World, input};

const TOPIC: &str = "transfers";
const QUEUES: u32 = 4;

/// The producer's database: what left its ledger, by transfer. It is durable; the producer is not.
#[derive(Default)]
struct Payer {
    balance: i64,
    paid: BTreeMap<u64, i64>,
    /// Half messages that the producer was told of and has not ended: gone when it dies.
    under_way: Vec<(u64, Sent)>,
}

/// The consumer's database: what came in, by transfer, and how far it has read.
#[derive(Default)]
struct Payee {
    balance: i64,
    seen: BTreeSet<u64>,
    read: [usize; QUEUES as usize],
    repeated: u64,
}

impl Payer {
    /// The outcome that the database proves; a transfer that it does not know will never be made.
    fn outcome(&self, transfer: u64) -> Decision {
        if self.paid.contains_key(&transfer) { Decision::Commit } else { Decision::Rollback }
    }
}

fn end(world: &World, half: &Sent, decision: Decision) -> Result<(), EndRefused> {
    let input = EndInput {
        id: half.start,
        queue_offset: half.queue_offset,
        group: Some(Group::stored("payers")),
        unique: [None, None],
        decision,
        audit: None,
    };
    world.finish(world.broker.end_transaction(input, world.now())).map(drop)
}

/// What the broker would ask producers about: every open half message, answered by the database.
fn answer_questions(world: &World, payer: &Payer) {
    world.steps();
    for half in world.store.halves() {
        let raw = world.store.record_at(half.log).expect("it is readable").expect("it is there");
        let record = Record::parse(&raw).expect("a record");
        let id = record.property(properties::UNIQ_KEY).expect("an id");
        let transfer = id.trim_start_matches("transfer-").parse().expect("a number");
        let input = EndInput {
            id: half.id,
            queue_offset: half.queue_offset,
            group: Some(half.group.clone()),
            unique: [None, Some(id.into())],
            decision: payer.outcome(transfer),
            audit: None,
        };
        world.finish(world.broker.end_transaction(input, world.now())).expect("nobody decided otherwise");
    }
    world.steps();
}

fn collect(world: &World, payee: &mut Payee) {
    for queue in 0..QUEUES {
        let records = world.records(TOPIC, queue);
        let at = &mut payee.read[queue as usize];
        for record in &records[*at..] {
            let (transfer, amount) = record.body.split_once(' ').expect("two numbers");
            let amount: i64 = amount.parse().expect("an amount");
            if payee.seen.insert(transfer.parse().expect("a number")) {
                payee.balance += amount;
            } else {
                payee.repeated += 1;
            }
        }
        *at = records.len();
    }
}

#[test]
fn what_left_one_ledger_reached_the_other() {
    let transfers = std::env::var("KIRUNA_BANK_TRANSFERS").ok().and_then(|text| text.parse().ok());
    let transfers: u64 = transfers.unwrap_or(1_000);
    let mut rng = Rng::new(transfers);
    let mut world = World::new();
    for queue in 0..QUEUES {
        world.put("other", queue, &[], "x");
    }
    let template = |mut input: broker::ops::send::SendInput| {
        input.template.queues = QUEUES;
        input
    };
    let (mut payer, mut payee) = (Payer::default(), Payee::default());
    let (mut kills, mut deaths) = (0, 0);
    for transfer in 0..transfers {
        let amount = rng.below(1_000) as i64 + 1;
        let (body, id) = (format!("{transfer} {amount}"), format!("transfer-{transfer}"));
        let properties = [("TRAN_MSG", "true"), ("PGROUP", "payers"), ("UNIQ_KEY", id.as_str())];
        let queue = rng.below(u64::from(QUEUES)) as u32;
        let half = world.send(template(input(TOPIC, queue, &properties, &body))).expect("it is stored");
        match rng.below(20) {
            // Dies before its local transaction: nothing was paid.
            0 => deaths += 1,
            // Dies behind it: paid, and nobody was told.
            1 => {
                (payer.balance, deaths) = (payer.balance - amount, deaths + 1);
                payer.paid.insert(transfer, amount);
                payer.under_way.clear();
            }
            // The local transaction fails.
            2 => end(&world, &half, Decision::Rollback).expect("it is rolled back"),
            // The broker dies before it is told; the producer tells the next one, late, or dies as well.
            3 => {
                payer.balance -= amount;
                payer.paid.insert(transfer, amount);
                payer.under_way.push((transfer, half));
                (world, kills) = (world.kill(), kills + 1);
            }
            _ => {
                payer.balance -= amount;
                payer.paid.insert(transfer, amount);
                end(&world, &half, Decision::Commit).expect("it is committed");
                if rng.chance(40) {
                    (world, kills) = (world.kill(), kills + 1);
                }
                if rng.chance(10) {
                    end(&world, &half, Decision::Commit).expect("told twice");
                }
            }
        }
        if rng.chance(50) {
            world.clock_forward(Duration::from_secs(60));
            answer_questions(&world, &payer);
            for (transfer, half) in std::mem::take(&mut payer.under_way) {
                end(&world, &half, payer.outcome(transfer)).expect("the questions came to the same");
            }
        }
        if rng.chance(100) {
            world.store.checkpoint_step(true);
        }
    }
    answer_questions(&world, &payer);
    world = world.kill();
    collect(&world, &mut payee);
    assert!(kills > 0 && deaths > 0 && world.store.halves().is_empty());
    assert_eq!(payee.repeated, 0, "each arrived once");
    assert_eq!(payee.seen, payer.paid.keys().copied().collect::<BTreeSet<u64>>());
    assert_eq!(payer.balance + payee.balance, 0, "the sums agree");
}
