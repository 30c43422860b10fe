// SPDX-License-Identifier: Apache-2.0
//! Any bytes into the decoder, whole and in pieces: no panic, the same frames both ways, and every frame that
//! was read is read again as the same after it was written. JSON headers are judged by serde_json too.
#![no_main]

use bytes::{BufMut, BytesMut};
use libfuzzer_sys::fuzz_target;
use protocol::frame::{self, Decoder};
use protocol::{Frame, Head, Serialization};

fn frames(data: &[u8], step: usize) -> (Vec<Frame>, bool) {
    let mut decoder = Decoder::new(1 << 20);
    let mut input = BytesMut::new();
    let mut frames = Vec::new();
    for piece in data.chunks(step) {
        input.put_slice(piece);
        loop {
            match decoder.next(&mut input) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(_) => return (frames, false),
            }
        }
    }
    (frames, true)
}

fn shown(frame: &Frame) -> String {
    format!("{frame:?}")
}

fn again(frame: &Frame) -> Frame {
    let head = Head {
        code: frame.code,
        opaque: frame.opaque,
        flag: frame.flag,
        version: frame.version,
        language: frame.language,
        remark: frame.remark.as_deref(),
        serialization: frame.serialization,
    };
    let mut out = BytesMut::new();
    frame::encode(&head, &frame.fields, frame.body.len(), &mut out).expect("what was read can be written");
    out.put_slice(&frame.body);
    Decoder::default().next(&mut out).expect("what was written can be read").expect("it is whole")
}

/// A header alone, so that the fuzzer need not find the lengths first.
fn framed(form: u8, header: &[u8]) -> BytesMut {
    let mut bytes = BytesMut::new();
    bytes.put_u32(4 + header.len() as u32);
    bytes.put_u32((u32::from(form) << 24) | header.len() as u32);
    bytes.put_slice(header);
    bytes
}

/// A decoder that knows what the sends of a producer have in common.
fn experienced() -> Decoder {
    let mut decoder = Decoder::default();
    for n in 0..6 {
        let fields = format!(r#""a":"g","b":"t","e":"{n}","g":"{n}","i":"UNIQ_KEY\u0001{n}\u0002""#);
        let header = format!(r#"{{"code":310,"extFields":{{{fields}}},"flag":0,"opaque":{n}}}"#);
        decoder.next(&mut framed(0, header.as_bytes())).expect("it can be read");
    }
    decoder
}

fuzz_target!(|data: &[u8]| {
    let Some((how, data)) = data.split_first() else { return };
    let stream = match how % 4 {
        0 => data.to_vec(),
        form => framed(form % 2, data).to_vec(),
    };
    let (whole, good) = frames(&stream, stream.len().max(1));
    let (pieces, still_good) = frames(&stream, usize::from(how / 4 % 7) + 1);
    assert_eq!(good, still_good);
    assert_eq!(whole.iter().map(shown).collect::<Vec<_>>(), pieces.iter().map(shown).collect::<Vec<_>>());
    let mut decoder = experienced();
    let known = decoder.next(&mut BytesMut::from(&stream[..])).ok().flatten();
    assert_eq!(known.as_ref().map(shown), whole.first().map(shown));
    for frame in &whole {
        assert_eq!(shown(frame), shown(&again(frame)));
        if frame.serialization == Serialization::Json && how % 4 != 0 {
            match serde_json::from_slice::<serde_json::Value>(data) {
                Ok(theirs) => assert_eq!(theirs["code"].as_i64(), Some(frame.code.into())),
                Err(e) => assert!(e.to_string().contains("out of range"), "{e}"),
            }
        }
    }
});
