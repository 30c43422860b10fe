// SPDX-License-Identifier: Apache-2.0
//! One declaration per configuration key. From it come the struct, its defaults, reading and printing by name,
//! the names that RocketMQ gives the same key, and the manual. Values are text here; files are read elsewhere.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::ByteSize;

/// What is known of a key beside its value.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Our name, as written in TOML and on the command line.
    pub name: &'static str,
    /// RocketMQ's name of the same key; empty where it has none.
    pub alias: &'static str,
    /// What it does, in one or two sentences.
    pub doc: &'static str,
    /// True when a change takes effect without a restart.
    pub live: bool,
    /// What its value is, in a word or two.
    pub kind: &'static str,
    /// What a bare number counts; empty where it counts things or is none.
    pub unit: &'static str,
    /// Which values it may have.
    pub range: Range,
}

/// Which values of its type a key may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// All.
    Any,
    /// Text that is there.
    NotEmpty,
    /// A number, or a time or size in its unit, of at least this.
    AtLeast(u64),
    /// One from the first to the second.
    Between(u64, u64),
}

impl Range {
    /// Judges a value by the text it prints as.
    pub fn check(self, printed: &str) -> Result<(), String> {
        let number = || printed.parse::<u64>().ok();
        let fits = match self {
            Range::Any => true,
            Range::NotEmpty => !printed.trim().is_empty(),
            Range::AtLeast(low) => number().is_none_or(|number| number >= low),
            Range::Between(low, high) => number().is_none_or(|number| (low..=high).contains(&number)),
        };
        if fits { Ok(()) } else { Err(format!("'{printed}' is out of range: {self}")) }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Range::Any => Ok(()),
            Range::NotEmpty => f.write_str("not empty"),
            Range::AtLeast(low) => write!(f, "{low} or more"),
            Range::Between(low, high) => write!(f, "{low} to {high}"),
        }
    }
}

/// A type that a key can have.
pub trait Value: Sized {
    /// What it is, in a word or two.
    const KIND: &'static str;
    /// What a bare number counts; empty where it counts things or is none.
    const UNIT: &'static str = "";
    /// Reads the value from text, or says what is wrong with it.
    fn read(text: &str) -> Result<Self, String>;
    /// Prints it so that `read` gives it back.
    fn print(&self) -> String;
}

macro_rules! plain_value {
    ($($type:ty, $kind:literal, $what:literal;)*) => {$(
        impl Value for $type {
            const KIND: &'static str = $kind;
            fn read(text: &str) -> Result<Self, String> {
                text.trim().parse().map_err(|_| format!("'{text}' is not {}", $what))
            }
            fn print(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

plain_value! {
    bool, "true or false", "true or false";
    u16, "0 to 65535", "a whole number from 0 to 65535";
    u32, "whole number", "a whole number of 32 bits";
    u64, "whole number", "a whole number that is not negative";
    usize, "whole number", "a whole number that is not negative";
    i32, "whole number", "a whole number of 32 bits";
    i64, "whole number", "a whole number";
    f64, "number", "a number";
    SocketAddr, "address", "an address such as 127.0.0.1:10911";
}

impl Value for String {
    const KIND: &'static str = "text";
    fn read(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }
    fn print(&self) -> String {
        self.clone()
    }
}

impl Value for PathBuf {
    const KIND: &'static str = "path";
    fn read(text: &str) -> Result<Self, String> {
        Ok(PathBuf::from(text))
    }
    fn print(&self) -> String {
        self.display().to_string()
    }
}

impl Value for ByteSize {
    const KIND: &'static str = "size";
    const UNIT: &'static str = "bytes";
    fn read(text: &str) -> Result<Self, String> {
        text.parse()
    }
    fn print(&self) -> String {
        self.0.to_string()
    }
}

/// A time; a bare number is milliseconds, as in RocketMQ's files.
impl Value for Duration {
    const KIND: &'static str = "time";
    const UNIT: &'static str = "ms";
    fn read(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(split);
        let scale = match unit.trim() {
            "" | "ms" => 1,
            "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(format!("'{text}' is not a time: use ms, s, m, h or d, such as 500ms")),
        };
        let whole = number.parse::<u64>().ok().and_then(|n| n.checked_mul(scale));
        whole
            .map(Duration::from_millis)
            .ok_or_else(|| format!("'{text}' is not a time: write such as 500ms or 5s"))
    }
    fn print(&self) -> String {
        self.as_millis().to_string()
    }
}

/// Empty text is `None`.
impl<T: Value> Value for Option<T> {
    const KIND: &'static str = T::KIND;
    const UNIT: &'static str = T::UNIT;
    fn read(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() { Ok(None) } else { T::read(text).map(Some) }
    }
    fn print(&self) -> String {
        self.as_ref().map(T::print).unwrap_or_default()
    }
}

/// Declares a section of configuration: `/// doc` `name: Type = default, "rocketMqName", live|restart;` a line, with a
/// [`Range`] before the semicolon where not every value of the type will do.
#[macro_export]
macro_rules! config {
    ($(#[doc = $about:literal])+ pub struct $section:ident {
        $(
            $(#[doc = $doc:literal])+
            $name:ident: $type:ty = $default:expr, $alias:literal, $when:ident $(, $range:expr)?;
        )*
    }) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug)]
        pub struct $section {
            $($(#[doc = $doc])+ pub $name: $type,)*
        }

        impl Default for $section {
            fn default() -> Self {
                $section { $($name: $default,)* }
            }
        }

        impl $section {
            /// What this section is about.
            pub const ABOUT: &'static str = concat!($($about),+);

            /// Every key of this section, in the order of their declaration.
            pub const KEYS: &'static [$crate::config::Key] = &[$($crate::config::Key {
                name: stringify!($name),
                alias: $alias,
                doc: concat!($($doc),+),
                live: $crate::config!(@live $when),
                kind: <$type as $crate::config::Value>::KIND,
                unit: <$type as $crate::config::Value>::UNIT,
                range: $crate::config!(@range $($range)?),
            },)*];

            /// Sets a key by our name or RocketMQ's; `None` when this section has no such key.
            pub fn set(&mut self, name: &str, text: &str) -> Option<Result<(), String>> {
                $(if name == stringify!($name) || (!$alias.is_empty() && name == $alias) {
                    let read = <$type as $crate::config::Value>::read(text).and_then(|value| {
                        let range: $crate::config::Range = $crate::config!(@range $($range)?);
                        range.check(&$crate::config::Value::print(&value)).map(|()| value)
                    });
                    return Some(read.map(|value| self.$name = value));
                })*
                let _ = text;
                None
            }

            /// Prints a key's value by our name or RocketMQ's; `None` when this section has no such key.
            pub fn get(&self, name: &str) -> Option<String> {
                $(if name == stringify!($name) || (!$alias.is_empty() && name == $alias) {
                    return Some($crate::config::Value::print(&self.$name));
                })*
                None
            }
        }
    };
    (@live live) => { true };
    (@live restart) => { false };
    (@range) => { $crate::config::Range::Any };
    (@range $range:expr) => { $range };
}

#[cfg(test)]
#[expect(unreachable_pub, reason = "the macro declares what crates show to each other")]
mod tests {
    use super::*;

    config! {
        /// A section.
        pub struct Sample {
            /// How long to wait.
            wait: Duration = Duration::from_secs(5), "waitTimeMills", live, Range::Between(10, 600_000);
            /// How much.
            room: Option<ByteSize> = None, "", restart;
        }
    }

    #[test]
    fn keys_answer_to_both_names() {
        let mut sample = Sample::default();
        assert_eq!(sample.set("waitTimeMills", "250"), Some(Ok(())));
        assert_eq!(sample.get("wait"), Some("250".into()));
        assert_eq!(sample.set("wait", "2m"), Some(Ok(())));
        assert_eq!(sample.wait, Duration::from_secs(120));
        assert_eq!(sample.set("room", "64KiB"), Some(Ok(())));
        assert_eq!(sample.get("room"), Some("65536".into()));
        assert_eq!(sample.set("", "x"), None);
        assert!(sample.set("wait", "soon").is_some_and(|outcome| outcome.is_err()));
        assert!(sample.set("wait", "9").is_some_and(|outcome| outcome.is_err()));
        assert_eq!(sample.set("wait", "1h"), Some(Err("'3600000' is out of range: 10 to 600000".into())));
        assert_eq!(sample.wait, Duration::from_secs(120), "a refused value changes nothing");
        assert_eq!(
            (Sample::ABOUT, Sample::KEYS[1].kind, Sample::KEYS[1].unit),
            (" A section.", "size", "bytes")
        );
        assert_eq!((Sample::KEYS[0].live, Sample::KEYS[1].live), (true, false));
    }
}
