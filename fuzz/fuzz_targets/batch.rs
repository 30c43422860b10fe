// SPDX-License-Identifier: Apache-2.0
//! Any bytes as the body of a batch: no panic, and units that were read are written and read again as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::batch;

fuzz_target!(|data: &[u8]| {
    let units: Vec<_> = batch::units(data).flatten().collect();
    let mut out = Vec::new();
    for unit in &units {
        batch::encode(unit, &mut out).expect("what was read fits");
    }
    assert!(out.len() <= data.len());
    let again: Vec<_> = batch::units(&out).map(|unit| unit.expect("what was written is read")).collect();
    assert_eq!(again, units);
});
