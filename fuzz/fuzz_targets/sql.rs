// SPDX-License-Identifier: Apache-2.0
//! Any text as an SQL92 expression and, behind its first zero byte, as the properties of a message: no panic, an error lies
//! inside the text, and without what is no property the verdict is the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::filter::sql::Sql;
use protocol::properties;

fuzz_target!(|data: &str| {
    let (text, message) = data.split_once('\0').unwrap_or((data, ""));
    match Sql::parse(text) {
        Ok(sql) => {
            let whole: String = properties::iter(message).map(|(name, value)| format!("{name}\u{1}{value}\u{2}")).collect();
            assert_eq!(sql.judge(message), sql.judge(&whole));
            // On the last line `--` are two signs; a line more makes a comment of them.
            if !text.rsplit(['\n', '\r']).next().is_some_and(|last| last.contains("--")) {
                assert_eq!(sql, Sql::parse(&format!("({text}\n)")).expect("what is read alone is read in parentheses"));
            }
        }
        Err(error) => assert!((1..=text.chars().count() + 1).contains(&error.at)),
    }
});
