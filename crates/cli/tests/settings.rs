// SPDX-License-Identifier: Apache-2.0
//! The configuration from outside: its manual, and what is said about mistakes.

use std::path::Path;
use std::process::Command;

fn kiruna(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_kiruna")).args(arguments).output().expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn the_manual_says_what_the_program_says() {
    let (code, made, errors) = kiruna(&["config", "--markdown"]);
    assert_eq!(code, Some(0), "{errors}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/ops/config.md");
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = kept.lines().zip(made.lines()).find(|(kept, made)| kept != made);
    assert!(
        kept == made,
        "docs/ops/config.md is out of date, first here: {differs:?}\nrefresh it with\n    cargo run --package cli -- config --markdown > docs/ops/config.md"
    );
}

/// Starts a server with this file, which must not come up.
fn refused(name: &str, text: &str) -> String {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join(name);
    std::fs::write(&path, text).expect("a file");
    let data = dir.path().join("data");
    let flags = ["--config", &path.display().to_string(), "--data-dir", &data.display().to_string()];
    let (code, out, errors) = kiruna(&[&["broker"][..], &flags].concat());
    assert_eq!((code, out.as_str()), (Some(78), ""), "{errors}");
    errors.replace(&path.display().to_string(), "FILE")
}

#[test]
fn a_mistake_in_a_file_is_named_with_file_line_and_key() {
    let said = refused("broker.conf", "brokerName=b\nlistenPrt=1\n");
    assert!(said.contains("FILE:2: 'listenPrt' is not a key (did you mean 'listenPort'?)"), "{said}");
    let said = refused("broker.conf", "listenPort=many\nbrokerPermission=9\n");
    assert!(said.contains("FILE:1: listenPort: 'many' is not a whole number from 0 to 65535"), "{said}");
    assert!(said.contains("FILE:2: brokerPermission: '9' is out of range: 0 to 6"), "all of them: {said}");
    let said = refused("kiruna.toml", "[log]\nstages_max = 1\nreadrs = 2\n");
    assert!(said.contains("FILE:2: log.stages_max: '1' is out of range: 2 or more"), "{said}");
    assert!(said.contains("FILE:3: 'log.readrs' is not a key (did you mean 'readers'?)"), "{said}");
    let said = refused("kiruna.toml", "[log\n");
    assert!(said.contains("FILE: ") && said.contains("line 1"), "{said}");
}
