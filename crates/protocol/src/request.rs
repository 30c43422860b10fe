// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. What a typed header is, and the macros in which the spec and the codec are the same text.
//!
//! ```text
//! request! {
//!     /// What it asks for.
//!     PullMessage = 11 -> PullReply {
//!         /// What the field means.
//!         group: Group = "consumerGroup",                                    // must be there
//!         bytes: Option<u32> = "maxMsgBytes",                                // may be absent or negative
//!         commit: Option<QueueOffset> = "commitOffset" absent as "-1",       // written as -1 when there is none
//!         min: QueueOffset = "minOffset" or QueueOffset(0),                  // a default when absent or negative
//!     }
//! }
//! ```
//! A header reads its fields in one pass, ignores those it does not know, and takes the last of repeated ones. One that is
//! `PullMessage = 11 -> PullReply, renewed` can be read from one like it, too.

#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use std::borrow::Cow;

use crate::fields::{Fields, FieldsOut};

/// The typed part of a frame's header.
pub trait Header: Sized + Send + 'static {
    /// Reads the header from the ext fields of a frame.
    fn decode(fields: &Fields) -> Result<Self, DecodeError>;
    /// Reads the header from fields that are like those this one was read from ([`Fields::likeness`]): only what differs.
    /// `None` leaves it to [`Header::decode`].
    fn renewed(&self, _fields: &Fields) -> Option<Self> {
        None
    }
    /// Writes the header's fields.
    fn encode(&self, out: &mut FieldsOut<'_>);
}

/// A header that asks for something; its type carries the code and what the answer looks like.
pub trait Request: Header {
    /// The request code.
    const CODE: i32;
    /// The name of the type, for logs.
    const NAME: &'static str;
    /// The header of the answer.
    type Reply: Header;
}

/// Why bytes are no frame, or fields no header.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} (at byte {at})")]
pub struct DecodeError {
    /// Where, counted from the start of the part that was read.
    pub at: usize,
    /// What is wrong.
    pub what: Cow<'static, str>,
}

impl DecodeError {
    /// Makes an error whose text is constant.
    pub const fn new(at: usize, what: &'static str) -> DecodeError {
        DecodeError { at, what: Cow::Borrowed(what) }
    }
}

/// The header without fields.
impl Header for () {
    fn decode(_fields: &Fields) -> Result<(), DecodeError> {
        Ok(())
    }
    fn encode(&self, _out: &mut FieldsOut<'_>) {}
}

/// A header that is passed on as it came.
impl Header for Fields {
    fn decode(fields: &Fields) -> Result<Fields, DecodeError> {
        Ok(fields.clone())
    }
    fn encode(&self, out: &mut FieldsOut<'_>) {
        for (name, value) in self.iter().map_while(Result::ok) {
            out.put_text(&name, &value);
        }
    }
}

/// Declares a header and its codec.
macro_rules! header {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name;

        impl $crate::request::Header for $name {
            fn decode(_: &$crate::fields::Fields) -> Result<$name, $crate::request::DecodeError> {
                Ok($name)
            }
            fn encode(&self, _: &mut $crate::fields::FieldsOut<'_>) {}
        }
    };
    ($(#[$doc:meta])* $name:ident $($renewed:ident)? { $(
        $(#[$about:meta])*
        $field:ident: $type:ty = $wire:literal $(absent as $sentinel:literal)? $(or $default:expr)?
    ),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name { $($(#[$about])* pub $field: $type),+ }

        impl $crate::request::Header for $name {
            $crate::request::codec! {
                fn decode, fn encode, $(fn $renewed,)? $name { $($field: $type = $wire $(absent as $sentinel)? $(or $default)?),+ }
            }
        }
    };
}

/// The two functions of a codec, for a struct whose fields have the given names on the wire; with a third one it is also
/// renewed from one like it. One `in order` has SDKs that write the fields in just that order, and is tried so first.
macro_rules! codec {
    (in order fn $decode:ident, fn $encode:ident, fn $renewed:ident, $name:ident { $(
        $field:ident: $type:ty = $wire:literal $(absent as $sentinel:literal)? $(or $default:expr)?
    ),+ $(,)? }) => {
        fn $decode(fields: &$crate::fields::Fields) -> Result<Self, $crate::request::DecodeError> {
            if let Some(mut fields) = fields.in_order()
                && let Ok(header) = Self::decode_in_order(&mut fields)
                && fields.is_over()
            {
                return Ok(header);
            }
            Self::decode_any(fields)
        }

        $crate::request::codec! { fn $renewed, $name { $($field: $type = $wire),+ } }

        fn decode_in_order(
            fields: &mut $crate::fields::InOrder<'_>,
        ) -> Result<Self, $crate::fields::Unusual> {
            Ok($name { $($field: match fields.field::<$type>(
                const { &$crate::fields::FieldName::new($wire, concat!("\",\"", $wire, "\":\"")) },
            )? {
                Some(value) => value,
                None => $crate::request::absent!($wire $(, $default)?),
            }),+ })
        }

        $crate::request::codec! {
            fn decode_any, fn $encode, $name { $($field: $type = $wire $(absent as $sentinel)? $(or $default)?),+ }
        }
    };
    (fn $renewed:ident, $name:ident { $($field:ident: $type:ty = $wire:literal),+ }) => {
        fn $renewed(&self, fields: &$crate::fields::Fields) -> Option<Self> {
            $(let mut $field: Option<$type> = None;)+
            fields.varied(&mut |name, fields, at| {
                $(if name == $wire.as_bytes() {
                    $field = Some(fields.at(at)?);
                    return Some(());
                })+
                Some(())
            })?;
            Some($name { $($field: $field.unwrap_or_else(|| self.$field.clone())),+ })
        }
    };
    (fn $decode:ident, fn $encode:ident, fn $renewed:ident, $name:ident { $(
        $field:ident: $type:ty = $wire:literal $(absent as $sentinel:literal)? $(or $default:expr)?
    ),+ $(,)? }) => {
        $crate::request::codec! { fn $renewed, $name { $($field: $type = $wire),+ } }

        $crate::request::codec! {
            fn $decode, fn $encode, $name { $($field: $type = $wire $(absent as $sentinel)? $(or $default)?),+ }
        }
    };
    (fn $decode:ident, fn $encode:ident, $name:ident { $(
        $field:ident: $type:ty = $wire:literal $(absent as $sentinel:literal)? $(or $default:expr)?
    ),+ $(,)? }) => {
        fn $decode(fields: &$crate::fields::Fields) -> Result<Self, $crate::request::DecodeError> {
            $(let mut $field: Option<$type> = None;)+
            fields.each(&mut |name, raw| {
                $(if name == $wire.as_bytes() {
                    $field = $crate::request::present!($wire, raw $(, $default)?);
                    return Ok(());
                })+
                Ok(())
            })?;
            Ok($name { $($field: match $field {
                Some(value) => value,
                None => $crate::request::absent!($wire $(, $default)?),
            }),+ })
        }

        fn $encode(&self, out: &mut $crate::fields::FieldsOut<'_>) {
            $($crate::fields::Field::put(
                &self.$field,
                const { &$crate::fields::FieldName::new($wire, concat!("\",\"", $wire, "\":\"")) },
                $crate::request::sentinel!($($sentinel)?),
                out,
            );)+
        }
    };
}

/// What a field is whose name is there. One with a default may be empty or negative and then takes it.
macro_rules! present {
    ($wire:literal, $raw:expr) => {
        Some($crate::fields::read($wire, $raw)?)
    };
    ($wire:literal, $raw:expr, $default:expr) => {
        $crate::fields::read($wire, $raw)?
    };
}

/// What a field is whose name is absent.
macro_rules! absent {
    ($wire:literal) => {
        $crate::fields::missing($wire)?
    };
    ($wire:literal, $default:expr) => {
        $default
    };
}

/// The text of a field that has no value.
macro_rules! sentinel {
    () => {
        None
    };
    ($sentinel:literal) => {
        Some($sentinel)
    };
}

/// Declares a request: its code, its answer and its header, its own or one that another request has too.
macro_rules! request {
    ($(#[$doc:meta])* $name:ident = $code:literal -> $reply:ty, as $header:ident) => {
        $crate::request::request! { $(#[$doc])* $name = $code -> $reply, as $header by decode, encode }
    };
    ($(#[$doc:meta])* $name:ident = $code:literal -> $reply:ty,
     as $header:ident by $decode:ident, $encode:ident $(, $renewed:ident)?) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name(pub $header);

        impl From<$header> for $name {
            fn from(header: $header) -> $name {
                $name(header)
            }
        }

        impl From<$name> for $header {
            fn from(request: $name) -> $header {
                request.0
            }
        }

        impl $crate::request::Header for $name {
            fn decode(fields: &$crate::fields::Fields) -> Result<$name, $crate::request::DecodeError> {
                $header::$decode(fields).map($name)
            }
            $(fn renewed(&self, fields: &$crate::fields::Fields) -> Option<$name> {
                self.0.$renewed(fields).map($name)
            })?
            fn encode(&self, out: &mut $crate::fields::FieldsOut<'_>) {
                self.0.$encode(out);
            }
        }

        impl $crate::request::Request for $name {
            const CODE: i32 = $code;
            const NAME: &'static str = stringify!($name);
            type Reply = $reply;
        }
    };
    ($(#[$doc:meta])* $name:ident = $code:literal -> $reply:ty $(, $renewed:ident)? $({ $($fields:tt)* })?) => {
        $crate::request::header! { $(#[$doc])* $name $($renewed)? $({ $($fields)* })? }

        impl $crate::request::Request for $name {
            const CODE: i32 = $code;
            const NAME: &'static str = stringify!($name);
            type Reply = $reply;
        }
    };
}

pub(crate) use {absent, codec, header, present, request, sentinel};
