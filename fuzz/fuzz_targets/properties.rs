// SPDX-License-Identifier: Apache-2.0
//! Any text as properties: no panic, what is read and written again stays, a change changes nothing else.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::properties::{self, Properties, PropertiesOut};

fuzz_target!(|data: (&str, &str, &str)| {
    let (text, name, value) = data;
    let before: Vec<_> = properties::iter(text).collect();
    let rewritten: Properties = before.iter().copied().collect();
    let names_hold = before.iter().all(|(name, value)| properties::fits(name, value));
    assert!(names_hold, "what is read can be written");
    assert_eq!(rewritten.iter().collect::<Vec<_>>(), before);
    let mut out = PropertiesOut::from_text(text);
    assert_eq!(properties::iter(out.as_str()).collect::<Vec<_>>(), before);
    if properties::fits(name, value) {
        out.set(name, value);
        assert_eq!(out.get(name), Some(value));
        let others: Vec<_> = properties::iter(out.as_str()).filter(|(found, _)| *found != name).collect();
        let kept: Vec<_> = before.iter().copied().filter(|(found, _)| *found != name).collect();
        assert_eq!(others, kept);
        out.remove(name);
        assert_eq!(out.get(name), None);
    } else {
        out.push(name, value);
    }
});
