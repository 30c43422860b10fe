// SPDX-License-Identifier: Apache-2.0
//! Any bytes as a compressed body or registration: no panic, no output past the cap, and what came out is compressed and
//! comes out again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::body::RegisterBrokerBody;
use protocol::compress::{self, Codec};

const CAP: usize = 64 << 10;

fuzz_target!(|data: &[u8]| {
    for codec in [Codec::Zlib, Codec::Lz4, Codec::Zstd] {
        if let Ok(body) = compress::decompress(codec, data, CAP) {
            assert!(body.len() <= CAP && body.capacity() <= CAP);
            let again = compress::decompress(codec, &compress::compress(codec, 1, &body), CAP);
            assert_eq!(again.expect("what was compressed comes out"), body);
        }
    }
    let deflated = compress::compress(Codec::Zlib, 1, data);
    assert_eq!(compress::decompress(Codec::Zlib, &deflated, data.len()).expect("whole"), data);
    if let Ok(body) = RegisterBrokerBody::decode(&deflated, true) {
        let again = RegisterBrokerBody::decode(&body.encode(true), true).expect("what was written is read");
        assert_eq!(
            again.topic_config_serialize_wrapper.data_version,
            body.topic_config_serialize_wrapper.data_version
        );
    }
    let _ = RegisterBrokerBody::decode(data, true);
});
