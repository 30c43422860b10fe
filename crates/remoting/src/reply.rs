// SPDX-License-Identifier: Apache-2.0
//! What a handler gives back: a reply with its body, or a refusal. Written by the connection, never changed by it.

use std::borrow::Cow;

use bytes::Bytes;
use protocol::codes::ResponseCode;

/// A request that will not be done, as the peer is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The number clients act on.
    pub code: ResponseCode,
    /// The sentence people read.
    pub remark: String,
}

impl Refusal {
    /// Refuses with a code and a sentence.
    pub fn new(code: ResponseCode, remark: impl Into<String>) -> Refusal {
        Refusal { code, remark: remark.into() }
    }
}

/// The bytes after a header. Large ones are written from where they lie.
#[derive(Clone, Debug, Default)]
pub enum Body {
    /// Nothing follows the header.
    #[default]
    Empty,
    /// One run of bytes.
    One(Bytes),
    /// Several runs, written in order without a gap.
    Many(Vec<Bytes>),
}

impl Body {
    /// Counts the bytes.
    pub fn len(&self) -> usize {
        self.pieces().iter().map(Bytes::len).sum()
    }

    /// Returns true when no byte follows the header.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The runs in order.
    pub fn pieces(&self) -> &[Bytes] {
        match self {
            Body::Empty => &[],
            Body::One(piece) => std::slice::from_ref(piece),
            Body::Many(pieces) => pieces,
        }
    }
}

impl From<()> for Body {
    fn from((): ()) -> Body {
        Body::Empty
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Body {
        Body::One(bytes)
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Body {
        Body::One(bytes.into())
    }
}

impl From<Vec<Bytes>> for Body {
    fn from(pieces: Vec<Bytes>) -> Body {
        Body::Many(pieces)
    }
}

/// An answer with its typed header.
#[derive(Clone, Debug)]
pub struct Reply<H> {
    /// The number clients act on; mostly success.
    pub code: ResponseCode,
    /// A sentence for people, where the code alone does not say enough.
    pub remark: Option<Cow<'static, str>>,
    /// The typed header.
    pub header: H,
    /// The bytes after it.
    pub body: Body,
}

impl<H> Reply<H> {
    /// Answers with success.
    pub fn ok(header: H) -> Reply<H> {
        Reply { code: ResponseCode::SUCCESS, remark: None, header, body: Body::Empty }
    }

    /// Sets the body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Body>) -> Reply<H> {
        self.body = body.into();
        self
    }

    /// Sets the code.
    #[must_use]
    pub fn with_code(mut self, code: ResponseCode) -> Reply<H> {
        self.code = code;
        self
    }

    /// Sets the remark.
    #[must_use]
    pub fn with_remark(mut self, remark: impl Into<Cow<'static, str>>) -> Reply<H> {
        self.remark = Some(remark.into());
        self
    }
}
