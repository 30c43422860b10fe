// SPDX-License-Identifier: Apache-2.0
//! The process or the machine dies at every single step of saving the views.

use super::*;

/// Appends, removes, retains and saves so that each kind of checkpoint is written: full, changes, runs, releases.
/// Stops at the first refusal. Answers up to where the log was durable.
fn live(story: &mut Story) -> u64 {
    let mut durable = LOG_START;
    for round in 0..9u32 {
        for n in 0..5 {
            let properties = format!("UNIQ_KEY=u{round}-{n};TAGS=t;KEYS=all;");
            if story.try_send(&format!("topic{}", (round + n) % 3), n % 2, &properties, b"").is_err() {
                return durable;
            }
        }
        if story.disk.is_dead() {
            return durable;
        }
        match round {
            2 => {
                story.fact("a", Some("1"));
            }
            3 => story.remove_topic("topic1"),
            4 => {
                story.fact("a", Some("2"));
                story.fact("b", Some("3"));
            }
            5 => {
                story.fact("b", None);
                let first = *story.log.keys().nth(12).unwrap();
                story.retain(first);
            }
            7 => story.remove_topic("topic2"),
            _ => {}
        }
        durable = story.end;
        if story.views().checkpoint(LogOffset(durable)).is_err() {
            return durable;
        }
    }
    durable
}

fn steps_of_a_life() -> (u64, u64) {
    let disk = SimDisk::new(3);
    let mut story = Story::new(disk.clone());
    let before = disk.steps();
    live(&mut story);
    story.check();
    (before, disk.steps())
}

fn die_at_each_step(power: bool) {
    let (from, to) = steps_of_a_life();
    assert!(to - from > 120, "the life has {} steps", to - from);
    let mut checkpoints = 0;
    for step in from + 1..=to {
        let disk = SimDisk::new(step);
        let mut story = Story::new(disk.clone());
        disk.die_at(step);
        let durable = live(&mut story);
        let left = if power {
            story.log.split_off(&durable);
            story.end = durable;
            disk.cut_power()
        } else {
            disk.kill()
        };
        let opened = story.reopen(left);
        assert_eq!(opened.damage, None, "step {step}");
        assert!(opened.resume.0 <= durable, "step {step}");
        checkpoints += u32::from(opened.from_checkpoint);
        story.check();
        // It goes on as if nothing had happened, and the next crash finds that too.
        story.send("topic0", 0, "KEYS=all;");
        story.checkpoint();
        let left = story.disk.cut_power();
        assert!(story.reopen(left).from_checkpoint, "step {step}");
        story.check();
        story.check_rebuilt();
    }
    assert!(checkpoints > 100, "{checkpoints} lives left a checkpoint");
}

#[test]
fn killed_at_each_step() {
    die_at_each_step(false);
}

#[test]
fn power_lost_at_each_step() {
    die_at_each_step(true);
}
