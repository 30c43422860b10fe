// SPDX-License-Identifier: Apache-2.0
//! One declaration per configuration key. From it come the struct, its defaults, reading and printing by name,
//! the names that RocketMQ gives the same key, and the manual. Values are text here; files are read elsewhere.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::ByteSize;

/// What is known of a key beside its type.
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
}

/// A type that a key can have.
pub trait Value: Sized {
    /// Reads the value from text, or says what is wrong with it.
    fn read(text: &str) -> Result<Self, String>;
    /// Prints it so that `read` gives it back.
    fn print(&self) -> String;
}

macro_rules! plain_value {
    ($($type:ty, $what:literal;)*) => {$(
        impl Value for $type {
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
    bool, "true or false";
    u16, "a whole number from 0 to 65535";
    u32, "a whole number of 32 bits";
    u64, "a whole number that is not negative";
    usize, "a whole number that is not negative";
    i32, "a whole number of 32 bits";
    i64, "a whole number";
    f64, "a number";
    SocketAddr, "an address such as 127.0.0.1:10911";
}

impl Value for String {
    fn read(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }
    fn print(&self) -> String {
        self.clone()
    }
}

impl Value for PathBuf {
    fn read(text: &str) -> Result<Self, String> {
        Ok(PathBuf::from(text))
    }
    fn print(&self) -> String {
        self.display().to_string()
    }
}

impl Value for ByteSize {
    fn read(text: &str) -> Result<Self, String> {
        text.parse()
    }
    fn print(&self) -> String {
        self.0.to_string()
    }
}

/// A time; a bare number is milliseconds, as in RocketMQ's files.
impl Value for Duration {
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
    fn read(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() { Ok(None) } else { T::read(text).map(Some) }
    }
    fn print(&self) -> String {
        self.as_ref().map(T::print).unwrap_or_default()
    }
}

/// Declares a section of configuration: `/// doc` `name: Type = default, "rocketMqName", live|restart;` a line.
#[macro_export]
macro_rules! config {
    ($(#[$outer:meta])* pub struct $section:ident {
        $($(#[doc = $doc:literal])+ $name:ident: $type:ty = $default:expr, $alias:literal, $when:ident;)*
    }) => {
        $(#[$outer])*
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
            /// Every key of this section, in the order of their declaration.
            pub const KEYS: &'static [$crate::config::Key] = &[$($crate::config::Key {
                name: stringify!($name),
                alias: $alias,
                doc: concat!($($doc),+),
                live: $crate::config!(@live $when),
            },)*];

            /// Sets a key by our name or RocketMQ's; `None` when this section has no such key.
            pub fn set(&mut self, name: &str, text: &str) -> Option<Result<(), String>> {
                $(if name == stringify!($name) || (!$alias.is_empty() && name == $alias) {
                    return Some($crate::config::Value::read(text).map(|value| self.$name = value));
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
}

#[cfg(test)]
#[expect(unreachable_pub, reason = "the macro declares what crates show to each other")]
mod tests {
    use super::*;

    config! {
        /// A section.
        pub struct Sample {
            /// How long to wait.
            wait: Duration = Duration::from_secs(5), "waitTimeMills", live;
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
        assert_eq!((Sample::KEYS[0].live, Sample::KEYS[1].live), (true, false));
    }
}
