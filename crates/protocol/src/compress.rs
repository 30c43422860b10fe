// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Compressed bodies: zlib streams (RFC 1950), LZ4 frames and zstd frames.
//! Clients compress bodies and undo it; servers look inside only for registrations and inner batches.
//! Invariants: output never grows past the cap that the caller gives, and buffers that a decoder needs besides are at
//! most 16 MiB or that cap; damaged input gives an error.
#![deny(clippy::indexing_slicing)]

use std::io::{ErrorKind, Read, Write};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;

/// Bits of the system flag that name the codec.
const CODEC_MASK: i32 = 0x700;
/// zstd windows up to 8 MiB are believed whatever the cap is: ordinary levels use them for small bodies too.
const ZSTD_WINDOW_LOG: u32 = 23;
const CHUNK: usize = 16 << 10;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Codec {
    #[default]
    Zlib,
    Lz4,
    Zstd,
}

/// Why a body could not be decompressed.
#[derive(Debug, thiserror::Error)]
pub enum DecompressError {
    #[error("the decompressed body is larger than {cap} bytes")]
    TooLarge { cap: usize },
    #[error("{codec:?} body is damaged: {cause}")]
    Damaged { codec: Codec, cause: std::io::Error },
}

impl Codec {
    /// Returns the codec that a system flag names. Zero means zlib: the bits are younger than compression.
    pub fn of(sys_flag: i32) -> Option<Codec> {
        match sys_flag & CODEC_MASK {
            0 | 0x300 => Some(Codec::Zlib),
            0x100 => Some(Codec::Lz4),
            0x200 => Some(Codec::Zstd),
            _ => None,
        }
    }

    /// Returns the bits for the system flag. The bit that says "compressed" is another one: [`crate::record::COMPRESSED`].
    pub fn bits(self) -> i32 {
        match self {
            Codec::Lz4 => 0x100,
            Codec::Zstd => 0x200,
            Codec::Zlib => 0x300,
        }
    }
}

/// Compresses `body`. `level` is zlib's or zstd's own; LZ4 has none.
pub fn compress(codec: Codec, level: i32, body: &[u8]) -> Vec<u8> {
    let whole = "writing into memory does not fail";
    match codec {
        Codec::Zlib => {
            let mut encoder =
                ZlibEncoder::new(Vec::new(), Compression::new(level.clamp(0, 9).unsigned_abs()));
            encoder.write_all(body).expect(whole);
            encoder.finish().expect(whole)
        }
        Codec::Lz4 => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            encoder.write_all(body).expect(whole);
            encoder.finish().expect(whole)
        }
        Codec::Zstd => zstd::bulk::compress(body, level).expect("zstd takes any body at any level"),
    }
}

/// Undoes [`compress`], or what another client's library made.
pub fn decompress(codec: Codec, bytes: &[u8], cap: usize) -> Result<Vec<u8>, DecompressError> {
    let damaged = |cause| DecompressError::Damaged { codec, cause };
    match codec {
        Codec::Zlib => read_capped(codec, ZlibDecoder::new(bytes), cap),
        Codec::Lz4 => {
            let mut decoder = lz4_flex::frame::FrameDecoder::new(Source { rest: bytes, ran_dry: false });
            let body = read_capped(codec, &mut decoder, cap)?;
            if decoder.get_ref().ran_dry {
                return Err(damaged(ErrorKind::UnexpectedEof.into()));
            }
            Ok(body)
        }
        Codec::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(bytes).map_err(damaged)?;
            let window = cap.max(1).ilog2() + 1;
            decoder.window_log_max(window.clamp(ZSTD_WINDOW_LOG, 30)).map_err(damaged)?;
            read_capped(codec, decoder, cap)
        }
    }
}

/// Bytes that note when more was wanted. The LZ4 decoder takes a frame that was cut between two blocks for a whole one.
struct Source<'a> {
    rest: &'a [u8],
    ran_dry: bool,
}

impl Read for Source<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        self.ran_dry |= self.rest.len() < out.len();
        self.rest.read(out)
    }
}

fn read_capped(codec: Codec, mut source: impl Read, cap: usize) -> Result<Vec<u8>, DecompressError> {
    let mut out = Vec::new();
    let mut chunk = [0; CHUNK];
    loop {
        let len = source.read(&mut chunk).map_err(|cause| DecompressError::Damaged { codec, cause })?;
        let Some(bytes) = chunk.get(..len).filter(|bytes| !bytes.is_empty()) else { return Ok(out) };
        if bytes.len() > cap - out.len() {
            return Err(DecompressError::TooLarge { cap });
        }
        if out.capacity() - out.len() < bytes.len() {
            let grown = (out.capacity() * 2).max(out.len() + bytes.len()).min(cap);
            out.reserve_exact(grown - out.len());
        }
        out.extend_from_slice(bytes);
    }
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a test may panic")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CODECS: [Codec; 3] = [Codec::Zlib, Codec::Lz4, Codec::Zstd];

    #[test]
    fn flags_name_codecs() {
        for codec in CODECS {
            assert_eq!(Codec::of(codec.bits() | 0x1), Some(codec));
        }
        assert_eq!(Codec::of(0x1), Some(Codec::Zlib));
        assert_eq!(Codec::of(0x401), None);
    }

    #[test]
    fn the_cap_holds() {
        let body = vec![7; 1 << 20];
        for codec in CODECS {
            let small = compress(codec, 5, &body);
            assert!(small.len() < 10_000, "{codec:?}");
            assert_eq!(decompress(codec, &small, body.len()).unwrap(), body);
            let error = decompress(codec, &small, body.len() - 1).unwrap_err();
            assert!(matches!(error, DecompressError::TooLarge { cap: 1_048_575 }), "{codec:?}: {error}");
            assert!(decompress(codec, &small, 0).is_err());
            let kept = decompress(codec, &small, body.len()).unwrap();
            assert!(kept.capacity() <= body.len());
        }
    }

    #[test]
    fn a_cut_body_is_an_error() {
        let body: Vec<u8> = (0..50_000u32).flat_map(u32::to_le_bytes).collect();
        for codec in CODECS {
            let whole = compress(codec, 5, &body);
            for cut in [1, whole.len() / 2, whole.len() - 1] {
                let error = decompress(codec, &whole[..cut], 1 << 20);
                assert!(error.is_err(), "{codec:?} cut at {cut} of {}", whole.len());
            }
            assert_eq!(decompress(codec, &compress(codec, 5, b""), 0).unwrap(), b"");
        }
    }

    #[test]
    fn a_huge_zstd_window_is_refused() {
        // Magic, a descriptor without sizes, and a window of 2^41 bytes.
        let bytes = [0x28, 0xB5, 0x2F, 0xFD, 0x00, 0xF8, 0x01, 0x00, 0x00];
        assert!(decompress(Codec::Zstd, &bytes, 1 << 20).is_err());
    }

    proptest! {
        #[test]
        fn bodies_round_trip(body in proptest::collection::vec(any::<u8>(), 0..5000), level in -2..12i32) {
            for codec in CODECS {
                prop_assert_eq!(&decompress(codec, &compress(codec, level, &body), 5000).unwrap(), &body);
            }
        }

        #[test]
        fn damage_is_survived(body in proptest::collection::vec(any::<u8>(), 0..300), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            for codec in CODECS {
                let mut bytes = compress(codec, 3, &body);
                let at = at.index(bytes.len());
                bytes[at] = byte;
                let _ = decompress(codec, &bytes, 10_000);
                let _ = decompress(codec, &body, 10_000);
            }
        }
    }
}
