// SPDX-License-Identifier: Apache-2.0
//! The laws of the house as checks over the source: layers, purity of cores, file headers, banned calls,
//! and that the names in the documents exist. Also a test, so that plain `cargo test` keeps them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::shell;

/// Rows of the house, lowest first. An edge may only point to a lower row.
const LAYERS: [&[&str]; 7] = [
    &["stdx"],
    &["protocol"],
    &["store", "auth", "traffic"],
    &["remoting"],
    &["broker", "namesrv", "controller", "client"],
    &["proxy", "console", "relay", "probe"],
    &["cli"],
];
/// Crates outside the product, which may look at anything below `cli`.
const DEV: [&str; 2] = ["sim", "xtask"];
/// What a file that calls itself `Sans-IO` may not contain.
const IMPURE: [&str; 12] = [
    "async ",
    "tokio",
    "std::fs",
    "std::net::Tcp",
    "std::net::Udp",
    "std::thread",
    "Mutex",
    "RwLock",
    "Instant::now",
    "SystemTime",
    "from_entropy",
    "std::env",
];
/// Places without an async runtime: their futures use wakers only.
const NO_RUNTIME: [&str; 4] =
    ["crates/stdx/src", "crates/protocol/src", "crates/store/src", "crates/broker/src/ops"];
const UNFINISHED: [&str; 6] = ["TODO", "FIXME", "todo!(", "unimplemented!(", "#[ignore", "allow(dead_code"];

/// Checks every law and prints all that is broken.
pub(crate) fn run() -> Result<()> {
    let broken = problems()?;
    for problem in &broken {
        eprintln!("tidy: {problem}");
    }
    if !broken.is_empty() {
        bail!("{} law(s) broken", broken.len());
    }
    Ok(())
}

fn problems() -> Result<Vec<String>> {
    let mut broken = layer_problems(&manifests()?);
    let sources = sources()?;
    for (path, text) in &sources {
        broken.extend(file_problems(path, text));
    }
    broken.extend(document_problems(&sources)?);
    Ok(broken)
}

/// The workspace's own crates with the workspace crates they depend on outside of tests.
fn manifests() -> Result<BTreeMap<String, Vec<String>>> {
    let args = ["metadata", "--no-deps", "--format-version", "1", "--locked", "--offline"];
    let metadata: serde_json::Value = serde_json::from_str(&shell::output(shell::command("cargo", &args))?)?;
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    Ok(packages
        .iter()
        .map(|package| {
            let edges = package["dependencies"].as_array().into_iter().flatten();
            let inside = edges.filter(|edge| edge["path"].is_string() && edge["kind"].is_null());
            (text(&package["name"]), inside.map(|edge| text(&edge["name"])).collect())
        })
        .collect())
}

fn layer_problems(manifests: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let row = |name: &str| LAYERS.iter().position(|crates| crates.contains(&name));
    let mut broken = Vec::new();
    for (name, edges) in manifests {
        let Some(from) = row(name).or(DEV.contains(&name.as_str()).then_some(LAYERS.len() - 1)) else {
            broken.push(format!("crate {name} has no row in the layers of xtask/src/tidy.rs"));
            continue;
        };
        for edge in edges {
            if row(edge).is_none_or(|to| to >= from) {
                broken.push(format!("{name} depends on {edge}: edges point only to a lower row"));
            }
        }
    }
    broken
}

/// All Rust files of the workspace with their text, relative to the root.
fn sources() -> Result<Vec<(String, String)>> {
    let root = shell::root();
    let mut files = Vec::new();
    let mut folders: Vec<PathBuf> = ["crates", "fuzz"].iter().map(|folder| root.join(folder)).collect();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text =
                    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
                files.push((path.strip_prefix(&root)?.to_string_lossy().into_owned(), text));
            }
        }
    }
    files.sort();
    Ok(files)
}

fn file_problems(path: &str, text: &str) -> Vec<String> {
    let mut broken = Vec::new();
    let mut complain = |line: usize, what: String| broken.push(format!("{path}:{line}: {what}"));
    if !text.starts_with("// SPDX-License-Identifier: Apache-2.0\n") {
        complain(1, "the first line names the licence".into());
    }
    // A list that is included by a test cannot have a header of the kind that documents modules.
    let opening = if path.contains("/tests/") { "// " } else { "//!" };
    if !text.lines().skip(1).take(2).any(|line| line.starts_with("//!") || line.starts_with(opening)) {
        complain(2, "a file says with //! what it is, who calls it and what it never does".into());
    }
    let is_lib = path.ends_with("/src/lib.rs") || path.ends_with("/src/main.rs");
    if is_lib
        && !path.starts_with("crates/store/")
        && !path.starts_with("fuzz/")
        && !text.contains("#![forbid(unsafe_code)]")
    {
        complain(1, "the crate forbids unsafe code".into());
    }
    if path.starts_with("crates/xtask/src/tidy.rs") {
        return broken;
    }
    let is_core = text.lines().any(|line| line.starts_with("//! Sans-IO"));
    let production = text.find("#[cfg(test)]\nmod ").map_or(text, |at| &text[..at]);
    for (index, line) in text.lines().enumerate() {
        for word in UNFINISHED {
            if line.contains(word) {
                complain(index + 1, format!("`{word}` does not land"));
            }
        }
    }
    for (index, line) in production.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        if is_core {
            for word in IMPURE.iter().filter(|word| code.contains(**word)) {
                complain(index + 1, format!("a Sans-IO file has no `{}`", word.trim()));
            }
        }
        if NO_RUNTIME.iter().any(|folder| path.starts_with(folder)) && code.contains("tokio::") {
            complain(index + 1, "there is no async runtime below the sockets".into());
        }
        if code.contains("unsafe ")
            && !path.starts_with("crates/store/src/disk/")
            && !path.contains("/tests/")
        {
            complain(index + 1, "unsafe code lives in store/src/disk only".into());
        }
    }
    broken
}

/// Paths such as `store::append::Sequencer::append` in the documents must name things that exist.
fn document_problems(sources: &[(String, String)]) -> Result<Vec<String>> {
    let mut broken = Vec::new();
    for document in ["ARCHITECTURE.md", "CONTRIBUTING.md"] {
        let path = shell::root().join(document);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {document}"))?;
        for (index, line) in text.lines().enumerate() {
            for quoted in line.split('`').skip(1).step_by(2) {
                if !names_something(quoted, sources) {
                    broken.push(format!("{document}:{}: `{quoted}` is not in the code", index + 1));
                }
            }
        }
    }
    Ok(broken)
}

fn names_something(quoted: &str, sources: &[(String, String)]) -> bool {
    if quoted.starts_with("crates/") && !quoted.contains(['*', '{', ' ']) {
        return Path::new(&shell::root()).join(quoted).exists();
    }
    let path = quoted.split('(').next().unwrap_or_default();
    let mut parts = path.split("::");
    let first = parts.next().unwrap_or_default();
    let is_ours = LAYERS.iter().any(|crates| crates.contains(&first)) || DEV.contains(&first);
    let Some(last) = parts.last().filter(|_| is_ours) else { return true };
    let folder = format!("crates/{first}/src/");
    let declared =
        ["fn", "struct", "enum", "trait", "mod", "const", "type"].map(|kind| format!("{kind} {last}"));
    sources.iter().filter(|(path, _)| path.starts_with(&folder)).any(|(_, text)| {
        declared.iter().any(|wanted| {
            text.match_indices(wanted.as_str()).any(|(at, _)| {
                !text[at + wanted.len()..].starts_with(|next: char| next.is_alphanumeric() || next == '_')
            })
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_house_is_in_order() {
        let broken = problems().expect("the tree can be read");
        assert!(broken.is_empty(), "\n{}", broken.join("\n"));
    }

    #[test]
    fn an_edge_upwards_or_sideways_is_seen() {
        let house = |name: &str, edge: &str| BTreeMap::from([(name.to_owned(), vec![edge.to_owned()])]);
        for (name, edge) in
            [("protocol", "store"), ("broker", "namesrv"), ("store", "remoting"), ("new", "stdx")]
        {
            assert_eq!(layer_problems(&house(name, edge)).len(), 1, "{name} -> {edge}");
        }
        assert!(layer_problems(&house("broker", "store")).is_empty());
    }

    #[test]
    fn an_impure_core_is_seen() {
        let head = "// SPDX-License-Identifier: Apache-2.0\n//! Sans-IO. A core.\n";
        for bad in ["use std::fs;", "let l = Mutex::new(0);", "async fn f() {}"] {
            assert_eq!(
                file_problems("crates/protocol/src/x.rs", &format!("{head}{bad}\n")).len(),
                1,
                "{bad}"
            );
        }
        assert!(file_problems("crates/protocol/src/x.rs", head).is_empty());
        assert_eq!(file_problems("crates/store/src/x.rs", "fn f() {}").len(), 2);
    }
}
