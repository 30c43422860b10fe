// SPDX-License-Identifier: Apache-2.0
//! What a filter costs a message: `cargo run --release -p protocol --example filter [MILLIONS]`. Under `valgrind --tool=callgrind`
//! with `0` it judges 10,000 times only, so that the instructions can be counted.

use std::hint::black_box;
use std::time::Instant;

use protocol::filter::sql::{Sql, Verdict};

const EXPRESSION: &str = "a BETWEEN 1 AND 10 AND b IN ('x','y') AND c IS NOT NULL";

/// Messages as a broker stores them: their own properties between those that every message has.
fn message(a: &str, b: &str, c: Option<&str>) -> String {
    let mut pairs = vec![
        ("MIN_OFFSET", "0"),
        ("TRACE_ON", "true"),
        ("MSG_REGION", "DefaultRegion"),
        ("a", a),
        ("KEYS", "order-123456"),
    ];
    pairs.extend([
        ("UNIQ_KEY", "7F00000100001F89C18C5A8E2B6C0001"),
        ("CLUSTER", "DefaultCluster"),
        ("WAIT", "true"),
    ]);
    pairs.extend([("b", b), ("TAGS", "paid")]);
    pairs.extend(c.map(|c| ("c", c)));
    pairs.iter().map(|(name, value)| format!("{name}\u{1}{value}\u{2}")).collect()
}

fn main() {
    let millions: u64 = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(10);
    let rounds = (millions * 1_000_000).max(10_000);
    let sql = Sql::parse(EXPRESSION).expect("it is read");
    let messages = [
        message("5", "x", Some("1")),
        message("7", "z", Some("1")),
        message("11", "y", None),
        message("9", "y", None),
    ];
    let wanted = messages.each_ref().map(|message| sql.judge(message));
    assert_eq!(wanted, [Verdict::True, Verdict::False, Verdict::False, Verdict::False]);
    for message in &messages {
        let begun = Instant::now();
        for _ in 0..rounds / 4 {
            black_box(sql.matches(black_box(message)));
        }
        let nanos = begun.elapsed().as_nanos() as f64 / (rounds / 4) as f64;
        println!(
            "{nanos:6.0} ns a message of {} bytes of properties, {:?}",
            message.len(),
            sql.judge(message)
        );
    }
}
