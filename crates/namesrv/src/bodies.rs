// SPDX-License-Identifier: Apache-2.0
//! How large the bodies may be that name servers read, and how one becomes a value. Called by the faces. Registrations are
//! read in `registration`: a broker's whole table may fill a frame, and `protocol` caps what it inflates to.
//! Invariant: nothing is parsed before its size is judged.

use protocol::codes::ResponseCode;
use protocol::json;
use remoting::Refusal;
use serde::de::DeserializeOwned;

use crate::registration::BodyRefused;

/// A kind of body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    name: &'static str,
    max: usize,
}

/// 322: a version.
pub(crate) const VERSION: Kind = Kind { name: "version", max: 4 << 10 };
/// 217: the queues of one topic on all its brokers.
pub(crate) const ROUTE: Kind = Kind { name: "route", max: 1 << 20 };
/// 318: all keys there are, many times over.
pub(crate) const SETTINGS: Kind = Kind { name: "list of settings", max: 256 << 10 };

impl Kind {
    /// Reads a body of this kind.
    pub(crate) fn read<T: DeserializeOwned>(self, body: &[u8]) -> Result<T, BodyRefused> {
        Ok(json::from_slice(self.admit(body)?)?)
    }

    /// Gives the body back when it is not too large.
    pub(crate) fn admit(self, body: &[u8]) -> Result<&[u8], BodyRefused> {
        match body.len() {
            size if size > self.max => Err(BodyRefused::TooLarge { what: self.name, size, max: self.max }),
            _ => Ok(body),
        }
    }
}

impl From<BodyRefused> for Refusal {
    fn from(refused: BodyRefused) -> Refusal {
        Refusal::new(ResponseCode::SYSTEM_ERROR, refused.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_judged_before_it_is_read() {
        for kind in [VERSION, ROUTE, SETTINGS] {
            // No JSON at all: whoever looked inside would say so.
            let refused = kind.read::<serde_json::Value>(&vec![b'#'; kind.max + 1]);
            assert!(matches!(refused, Err(BodyRefused::TooLarge { .. })), "{}: {refused:?}", kind.name);
            let fits = kind.read::<serde_json::Value>(format!("{{}}{}", " ".repeat(kind.max - 2)).as_bytes());
            assert!(fits.is_ok(), "{}: {fits:?}", kind.name);
        }
    }
}
