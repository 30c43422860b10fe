// SPDX-License-Identifier: Apache-2.0
//! Random stories: what a store may go through in any order, compared with the model after every crash.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Op {
    Send {
        topic: u8,
        queue: u8,
        key: u8,
        count: u8,
    },
    /// Inner batches.
    SendWhole {
        topic: u8,
        queue: u8,
        count: u16,
    },
    Fact {
        key: u8,
        value: Option<u8>,
    },
    RemoveTopic(u8),
    /// A message waits until then.
    Wait {
        topic: u8,
        due: u8,
    },
    /// One that waits is delivered, taken back or moved.
    Unwait {
        which: u8,
        how: u8,
    },
    /// A checkpoint while this share of the log's last records is not durable.
    Checkpoint {
        behind: u8,
    },
    Kill,
    /// The log is cut to what is durable.
    PowerCut,
    /// A kill, and one record that the replay will need is gone.
    Damage {
        which: u8,
    },
    Retain {
        keep: u8,
    },
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => (0..4u8, 0..3u8, 0..6u8, 1..12u8)
            .prop_map(|(topic, queue, key, count)| Op::Send { topic, queue, key, count }),
        4 => (0..4u8, 0..3u8, prop_oneof![9 => 1..40u16, 1 => 1..3000u16])
            .prop_map(|(topic, queue, count)| Op::SendWhole { topic, queue, count }),
        3 => (0..5u8, proptest::option::of(any::<u8>())).prop_map(|(key, value)| Op::Fact { key, value }),
        1 => (0..4u8).prop_map(Op::RemoveTopic),
        5 => (0..4u8, any::<u8>()).prop_map(|(topic, due)| Op::Wait { topic, due }),
        3 => (any::<u8>(), 0..3u8).prop_map(|(which, how)| Op::Unwait { which, how }),
        6 => (0..6u8).prop_map(|behind| Op::Checkpoint { behind }),
        1 => Just(Op::Kill),
        1 => Just(Op::PowerCut),
        1 => any::<u8>().prop_map(|which| Op::Damage { which }),
        2 => any::<u8>().prop_map(|keep| Op::Retain { keep }),
    ]
}

struct Run {
    story: Story,
    durable: u64,
    saved: u64,
}

impl Run {
    fn step(&mut self, op: &Op) {
        match op {
            Op::Send { topic, queue, key, count } => {
                for n in 0..*count {
                    let properties = format!("UNIQ_KEY=u{key}-{n};TAGS=t{n};KEYS=k{key} all;");
                    self.story.send(&format!("topic{topic}"), u32::from(*queue), &properties);
                }
            }
            Op::SendWhole { topic, queue, count } => {
                let properties = format!("UNIQ_KEY=w{count};TAGS=t0;INNER_NUM={count};");
                self.story.send(&format!("topic{topic}"), u32::from(*queue), &properties);
            }
            Op::Fact { key, value } => {
                let value = value.map(|value| value.to_string());
                self.story.fact(&format!("fact{key}"), value.as_deref());
            }
            Op::Wait { topic, due } => {
                self.story.wait(&format!("topic{topic}"), i64::from(*due), None);
            }
            Op::Unwait { which, how } => self.unwait(usize::from(*which), *how),
            Op::RemoveTopic(topic) => self.story.remove_topic(&format!("topic{topic}")),
            Op::Checkpoint { behind } => {
                let durable = self.story.log.keys().rev().nth(usize::from(*behind)).copied();
                self.durable = self.durable.max(durable.unwrap_or(LOG_START));
                let saved = self.story.views().checkpoint(LogOffset(self.durable)).unwrap();
                assert!(saved.0 <= self.durable, "a checkpoint never passes what is durable");
                self.saved = saved.0;
            }
            Op::Kill => {
                let disk = self.story.disk.kill();
                assert_eq!(self.story.reopen(disk).damage, None);
            }
            Op::PowerCut => {
                let disk = self.story.disk.cut_power();
                self.story.log.split_off(&self.durable);
                self.story.end = self.durable;
                assert_eq!(self.story.reopen(disk).damage, None);
            }
            Op::Damage { which } => self.damage(usize::from(*which)),
            Op::Retain { keep } => self.retain(usize::from(*keep)),
        }
    }

    fn unwait(&mut self, which: usize, how: u8) {
        let waiting = self.story.waiting();
        let Some((due, at, topic)) = which.checked_rem(waiting.len()).map(|which| &waiting[which]) else {
            return;
        };
        match how {
            0 => self.story.end(topic, *at, *due, false),
            1 => self.story.end(topic, *at, *due, true),
            _ => self.story.wait(topic, due + 100, Some((*at, *due))),
        };
    }

    fn damage(&mut self, which: usize) {
        self.story.disk = self.story.disk.kill();
        let opened = self.story.open();
        assert_eq!(opened.damage, None);
        let at_risk: Vec<u64> = self
            .story
            .log
            .range(opened.resume.0..)
            .filter(|(_, bytes)| Record::parse(bytes).unwrap().topic() != FACTS_TOPIC)
            .map(|(&at, _)| at)
            .collect();
        if !at_risk.is_empty() {
            self.story.log.remove(&at_risk[which % at_risk.len()]);
        }
        self.story.replay(opened.resume.0);
    }

    fn retain(&mut self, keep: usize) {
        let starts: Vec<u64> = self
            .story
            .log
            .range(self.story.first..self.saved.max(self.story.first))
            .map(|(&at, _)| at)
            .collect();
        let Some(&first) = starts.get(keep * starts.len() / 256) else { return };
        self.story.retain(first);
        // The store waits for what was carried before it cuts the log.
        self.durable = self.story.end;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, max_shrink_iters: 2000, ..ProptestConfig::default() })]
    #[test]
    fn views_follow_the_model(ops in proptest::collection::vec(any_op(), 1..60), seed in any::<u64>()) {
        let mut run = Run { story: Story::new(SimDisk::new(seed)), durable: LOG_START, saved: LOG_START };
        for op in &ops {
            run.step(op);
            if matches!(op, Op::Kill | Op::PowerCut | Op::Damage { .. } | Op::Retain { .. }) {
                run.story.check();
            }
        }
        run.story.check();
        let was_damaged = ops.iter().any(|op| matches!(op, Op::Damage { .. }));
        run.story.check_rebuilt_after(was_damaged);
    }
}
