// SPDX-License-Identifier: Apache-2.0
//! What was counted, as a page for people and as raw figures, and how it is compared with what was accepted.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

use super::profile::Profile;

/// More than this beyond what was accepted fails. Runs of one build differ by 0.1 % where many requests come in one piece, by
/// 0.6 % where each is a turn of its own; a second checksum of a message of 1 KiB would be 5 %.
const TOLERANCE: f64 = 0.03;
/// Functions with less than this of the whole are not listed.
const LISTED: f64 = 0.01;
/// Our own crates.
const OURS: [&str; 6] = ["remoting::", "protocol::", "broker::", "Broker::", "store::", "stdx::"];
/// What is done behind the answer, in the names of its functions.
const BEHIND: [(&str, &str); 2] =
    [("dispatch", "store::dispatch::Dispatch"), ("drain", "store::drain::Drain")];

const RAW: &str = "instructions.json";
const PAGE: &str = "instructions.md";

/// One kind of load.
#[derive(Debug, PartialEq)]
pub(super) struct Found {
    name: String,
    /// Instructions a request on the thread of its connection.
    total: f64,
    /// Instructions a message behind it.
    behind: Vec<(String, f64)>,
    /// Function, instructions a request with all that it calls, its own.
    functions: Vec<(String, f64, f64)>,
}

/// All of them.
#[derive(Debug, PartialEq)]
pub(super) struct Figures {
    /// The compiler, the C library and valgrind: with others the same code has other figures.
    pub(super) made_with: String,
    pub(super) found: Vec<Found>,
}

impl Found {
    pub(super) fn new(name: &str, connection: (&Profile, u64), others: (&Profile, u64)) -> Found {
        let (profile, requests) = connection;
        let a_request = |count: u64| (count as f64 / requests as f64).round();
        let mut functions: Vec<(String, f64, f64)> = profile
            .functions
            .iter()
            .filter(|(name, share)| {
                let is_ours = OURS.iter().any(|ours| name.contains(ours)) && !name.starts_with("tokio::");
                let counted = if is_ours { share.all } else { share.own };
                counted as f64 >= LISTED * profile.total as f64
            })
            .map(|(name, share)| (name.clone(), a_request(share.all), a_request(share.own)))
            .collect();
        functions.sort_by(|one, other| other.1.total_cmp(&one.1));
        let (others, messages) = others;
        let behind = BEHIND.iter().filter(|_| messages > 0).map(|(name, part)| {
            let both = others.within(part) + profile.within(part);
            ((*name).to_owned(), (both as f64 / messages as f64).round())
        });
        Found { name: name.to_owned(), total: a_request(profile.total), behind: behind.collect(), functions }
    }

    fn to_json(&self) -> Value {
        let behind = self.behind.iter().map(|(name, count)| (name.clone(), json!(count)));
        let functions = self.functions.iter().map(|(name, all, own)| (name.clone(), json!([all, own])));
        json!({
            "name": self.name,
            "total": self.total,
            "behind": behind.collect::<Map<_, _>>(),
            "functions": functions.collect::<Map<_, _>>(),
        })
    }

    fn from_json(value: &Value) -> Option<Found> {
        let behind = value["behind"].as_object()?.iter();
        let functions = value["functions"].as_object()?.iter();
        Some(Found {
            name: value["name"].as_str()?.to_owned(),
            total: value["total"].as_f64()?,
            behind: behind
                .map(|(name, count)| Some((name.clone(), count.as_f64()?)))
                .collect::<Option<_>>()?,
            functions: functions
                .map(|(name, share)| Some((name.clone(), share[0].as_f64()?, share[1].as_f64()?)))
                .collect::<Option<_>>()?,
        })
    }

    /// What there is more of than was accepted, if it is too much: a line of the sum and one of each function that grew.
    fn grown(&self, accepted: &Found) -> Option<String> {
        let excess = self.total / accepted.total - 1.0;
        if excess <= TOLERANCE {
            return None;
        }
        let before = |name: &str| {
            let same = accepted.functions.iter().find(|(other, ..)| other == name);
            same.map_or((0.0, 0.0), |(_, all, own)| (*all, *own))
        };
        let mut rows: Vec<_> = self
            .functions
            .iter()
            .map(|(name, all, own)| (name, before(name), (*all, *own)))
            .filter(|(_, before, now)| now.0 > before.0 || now.1 > before.1)
            .collect();
        rows.sort_by(|one, other| (other.2.1 - other.1.1).total_cmp(&(one.2.1 - one.1.1)));
        let mut text = format!(
            "{}: {:.0} instructions a request, {:.0} were accepted ({:+.1} %)\n\n| Function | with all it calls | its own |\n|---|---|---|\n",
            self.name,
            self.total,
            accepted.total,
            excess * 100.0
        );
        for (name, before, now) in rows {
            let _ = writeln!(text, "| `{name}` | {} → {} | {} → {} |", before.0, now.0, before.1, now.1);
        }
        Some(text)
    }
}

impl Figures {
    /// Reads what was accepted.
    pub(super) fn read(folder: &Path) -> Result<Figures> {
        let path = folder.join(RAW);
        let text = fs::read_to_string(&path).with_context(|| {
            format!("cannot read {}; `cargo xtask count --accept` writes it", path.display())
        })?;
        let value: Value = serde_json::from_str(&text)?;
        let found = value["found"].as_array().context("it lists nothing")?;
        let found = found.iter().map(|found| Found::from_json(found).context("a figure is missing"));
        let made_with = value["made with"].as_str().unwrap_or_default().to_owned();
        Ok(Figures { made_with, found: found.collect::<Result<_>>()? })
    }

    /// Accepts these.
    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        let found: Vec<Value> = self.found.iter().map(Found::to_json).collect();
        let raw = format!("{:#}\n", json!({ "made with": self.made_with, "found": found }));
        for (name, text) in [(RAW, raw), (PAGE, self.page())] {
            let path = folder.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }

    /// Fails when there is too much more than was accepted with the same tools.
    pub(super) fn compare(&self, accepted: &Figures) -> Result<()> {
        if self.made_with != accepted.made_with {
            println!(
                "count: NOTHING IS COMPARED: accepted were figures of {}, and this is {}",
                accepted.made_with, self.made_with
            );
            return Ok(());
        }
        let mut grown = String::new();
        for found in &self.found {
            let Some(accepted) = accepted.found.iter().find(|accepted| accepted.name == found.name) else {
                bail!("nothing was accepted for `{}`", found.name);
            };
            grown.extend(found.grown(accepted));
        }
        if !grown.is_empty() {
            bail!("more instructions than were accepted; `--accept` takes them\n\n{grown}");
        }
        Ok(())
    }

    /// The page.
    pub(super) fn page(&self) -> String {
        let mut page = format!(
            "# Instructions of a send and of a pull\n\nWritten by `cargo xtask count --accept`; `cargo xtask count` fails when one of the \
             sums is more than {:.0} % above.\nUser space only, of the release build. Functions that the compiler put into their callers \
             are counted there.\nMade with {}.\n\n| | instructions a request, on its connection's thread |{} a message |\n|---|---|---|\n",
            TOLERANCE * 100.0,
            self.made_with,
            BEHIND.map(|(name, _)| format!(" {name}")).join(" and"),
        );
        for found in &self.found {
            let behind: Vec<String> = found.behind.iter().map(|(_, count)| count.to_string()).collect();
            let _ = writeln!(page, "| {} | {} | {} |", found.name, found.total, behind.join(" and "));
        }
        for found in &self.found {
            let _ = write!(
                page,
                "\n## {}\n\n| Function | with all it calls | its own |\n|---|---|---|\n",
                found.name
            );
            for (name, all, own) in &found.functions {
                let _ = writeln!(page, "| `{name}` | {all} | {own} |");
            }
        }
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(total: f64, own: f64) -> Figures {
        let functions = vec![("store::append".to_owned(), total, own), ("memcpy".to_owned(), 50.0, 50.0)];
        let behind = vec![("dispatch".to_owned(), 7.0)];
        let made_with = "these tools".to_owned();
        Figures { made_with, found: vec![Found { name: "send".to_owned(), total, behind, functions }] }
    }

    #[test]
    fn what_is_accepted_is_read_again() {
        let folder = std::env::temp_dir().join(format!("kiruna-figures-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a directory");
        figures(1000.0, 900.0).write(&folder).expect("it is written");
        let read = Figures::read(&folder).expect("it is read");
        fs::remove_dir_all(&folder).expect("it is there");
        assert_eq!(read, figures(1000.0, 900.0));
    }

    #[test]
    fn a_little_more_passes_and_too_much_names_the_function() {
        let accepted = figures(1000.0, 900.0);
        figures(1029.0, 929.0).compare(&accepted).expect("it is a little");
        figures(500.0, 400.0).compare(&accepted).expect("it is less");
        let error = figures(1050.0, 950.0).compare(&accepted).expect_err("it is too much").to_string();
        assert!(
            error.contains("(+5.0 %)") && error.contains("| `store::append` | 1000 → 1050 | 900 → 950 |")
        );
        assert!(!error.contains("memcpy"), "{error}");
        let unknown = Figures { found: Vec::new(), ..figures(1.0, 1.0) };
        assert!(figures(1.0, 1.0).compare(&unknown).is_err());
        let others = Figures { made_with: "others".to_owned(), ..figures(1.0, 1.0) };
        figures(1050.0, 950.0).compare(&others).expect("what cannot be compared does not fail");
    }
}
