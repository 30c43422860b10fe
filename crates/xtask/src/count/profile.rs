// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. What callgrind wrote of one thread: instructions by function, its own and with all that it calls.
//! In: a file of callgrind's without positions. Out: figures by name.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result, bail};

/// Instructions of one function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Share {
    /// In its own lines, and in what was inlined there.
    pub(super) own: u64,
    /// And in all that it calls.
    pub(super) all: u64,
}

/// Instructions of one thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Profile {
    pub(super) total: u64,
    pub(super) functions: BTreeMap<String, Share>,
}

impl Profile {
    /// Reads a file.
    pub(super) fn parse(text: &str) -> Result<Profile> {
        let mut profile = Profile::default();
        let mut names = HashMap::new();
        let mut function = None;
        let mut is_call = false;
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("fn=") {
                function = Some(named(name, &mut names)?);
            } else if let Some(name) = line.strip_prefix("cfn=") {
                named(name, &mut names)?;
            } else if line.starts_with("calls=") {
                is_call = true;
            } else if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) {
                let cost = line.split_ascii_whitespace().nth(1).map_or(Ok(0), str::parse::<u64>)?;
                let name = function.clone().context("a cost of no function")?;
                let share = profile.functions.entry(name).or_default();
                share.all += cost;
                if !std::mem::take(&mut is_call) {
                    share.own += cost;
                    profile.total += cost;
                }
            }
        }
        Ok(profile)
    }

    /// Instructions in the functions whose names contain `part`, and in all that they call. They do not call one another.
    pub(super) fn within(&self, part: &str) -> u64 {
        self.functions.iter().filter(|(name, _)| name.contains(part)).map(|(_, share)| share.all).sum()
    }

    /// What both did.
    pub(super) fn and(mut self, other: Profile) -> Profile {
        self.total += other.total;
        for (name, share) in other.functions {
            let both = self.functions.entry(name).or_default();
            *both = Share { own: both.own + share.own, all: both.all + share.all };
        }
        self
    }

    /// Keeps of each figure the lower one: what another thread or the machine adds is no part of the work.
    pub(super) fn least(self, other: &Profile) -> Profile {
        let both = |(name, share): (String, Share)| {
            let there = other.functions.get(&name)?;
            Some((name, Share { own: share.own.min(there.own), all: share.all.min(there.all) }))
        };
        Profile {
            total: self.total.min(other.total),
            functions: self.functions.into_iter().filter_map(both).collect(),
        }
    }
}

/// A name is written once, with a number that stands for it from then on.
fn named(text: &str, names: &mut HashMap<String, String>) -> Result<String> {
    let Some((number, name)) = text.split_once(')') else { bail!("`{text}` is no name") };
    match name.trim() {
        "" => names.get(number).cloned().with_context(|| format!("`{text}` was never named")),
        name => {
            names.insert(number.to_owned(), short(name));
            Ok(short(name))
        }
    }
}

/// Without the hash of the compiler and the depth of a recursion.
fn short(name: &str) -> String {
    let name = name.rsplit_once('\'').map_or(name, |(name, _)| name);
    let is_hash = |end: &str| end.len() == 17 && end.starts_with('h');
    let name = name.rsplit_once("::").filter(|(_, end)| is_hash(end)).map_or(name, |(name, _)| name);
    name.replace("<impl broker::broker::Broker>", "Broker").replace("{{closure}}", "{}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
events: Ir
fn=(1) store::append::h0123456789abcdef
0 10
cob=(2) libc
cfn=(2) memcpy
calls=3 0
0 90
+1 5

fn=(2)
0 90

fn=(3) broker::put'2
0 1
cfn=(1)
calls=1 0
0 105
";

    #[test]
    fn what_is_called_counts_once_and_for_its_callers() {
        let profile = Profile::parse(TEXT).expect("a profile");
        let share = |own, all| Share { own, all };
        assert_eq!(profile.total, 106);
        assert_eq!(profile.functions["store::append"], share(15, 105));
        assert_eq!(profile.functions["memcpy"], share(90, 90));
        assert_eq!(profile.functions["broker::put"], share(1, 106));
        assert_eq!((profile.within("store::"), profile.within("nobody")), (105, 0));
    }

    #[test]
    fn the_lower_of_two_figures_is_kept() {
        let one = Profile::parse(TEXT).expect("a profile");
        let other = Profile::parse("fn=(1) store::append\n0 4\n").expect("a profile");
        let least = one.least(&other);
        assert_eq!((least.total, least.functions.len()), (4, 1));
        assert_eq!(least.functions["store::append"], Share { own: 4, all: 4 });
    }

    #[test]
    fn what_is_no_profile_is_refused() {
        for text in ["0 5\n", "fn=(7)\n", "fn=none\n", "fn=(1) a\n0 many\n"] {
            assert!(Profile::parse(text).is_err(), "{text:?}");
        }
    }
}
