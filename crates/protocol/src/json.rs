// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. The JSON of RocketMQ bodies, which is fastjson's dialect: maps may have bare integer keys and even
//! objects as keys. Reads both forms, quoted or not, and writes either.
//! Called for every request and reply with a JSON body. Knows no body type: those are in `body/`.
//! Invariants: what a writer prints, the reader reads back; depth and size are capped before anything is allocated;
//! no input panics. Integer keys are read into any integer type, object keys into an [`ObjectMap`].

use core::fmt;
use core::marker::PhantomData;
use std::borrow::Cow;

use serde::de::{DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

mod read;
mod write;

/// The longest text that is read.
pub const MAX_LEN: usize = 16 << 20;
/// The deepest nesting that is read.
pub const MAX_DEPTH: usize = 64;
/// The longest explanation of an error.
const MAX_WHAT: usize = 300;

/// Why a text is not the JSON that was expected, and at which byte that was noticed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonError {
    pub at: usize,
    pub what: Cow<'static, str>,
}

impl JsonError {
    fn new(at: usize, what: impl Into<Cow<'static, str>>) -> JsonError {
        JsonError { at, what: what.into() }
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JSON, byte {}: {}", self.at, self.what)
    }
}

impl std::error::Error for JsonError {}

impl serde::de::Error for JsonError {
    /// Types quote what they did not expect, which may be as long as the text; a person needs the beginning.
    fn custom<T: fmt::Display>(what: T) -> JsonError {
        let mut what = what.to_string();
        what.truncate(what.floor_char_boundary(MAX_WHAT));
        JsonError::new(0, what)
    }
}

impl serde::ser::Error for JsonError {
    fn custom<T: fmt::Display>(what: T) -> JsonError {
        JsonError::new(0, what.to_string())
    }
}

/// Reads standard JSON or fastjson's dialect. Members that are `null` count as absent, numbers and booleans may be
/// quoted, and a number or an object is accepted where text is expected, as Java's side does.
pub fn from_slice<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, JsonError> {
    if bytes.len() > MAX_LEN {
        return Err(JsonError::new(MAX_LEN, "text is too long"));
    }
    let text = core::str::from_utf8(bytes).map_err(|e| JsonError::new(e.valid_up_to(), "not UTF-8"))?;
    let mut reader = read::Reader::new(text);
    let value = T::deserialize(&mut reader).map_err(|e| reader.place(e))?;
    reader.finish()?;
    Ok(value)
}

/// Writes compact standard JSON: every key is a quoted string, `null` members are left out.
pub fn to_vec<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    write::write(value, write::Dialect::Standard)
}

/// Writes the compact text that fastjson prints: integer keys and object keys stand bare.
pub fn to_vec_fastjson<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    write::write(value, write::Dialect::Fastjson)
}

/// A map whose keys are objects, in the order they were put or read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectMap<K, V>(pub Vec<(K, V)>);

impl<K, V> Default for ObjectMap<K, V> {
    fn default() -> Self {
        ObjectMap(Vec::new())
    }
}

impl<K: PartialEq, V> ObjectMap<K, V> {
    /// Finds the value of `key`, looking at one pair after the other.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, v)| v)
    }
}

impl<K, V> FromIterator<(K, V)> for ObjectMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        ObjectMap(pairs.into_iter().collect())
    }
}

impl<K: Serialize, V: Serialize> Serialize for ObjectMap<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(k, v)| (k, v)))
    }
}

impl<'de, K: DeserializeOwned, V: Deserialize<'de>> Deserialize<'de> for ObjectMap<K, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Pairs(PhantomData))
    }
}

struct Pairs<K, V>(PhantomData<(K, V)>);

impl<'de, K: DeserializeOwned, V: Deserialize<'de>> Visitor<'de> for Pairs<K, V> {
    type Value = ObjectMap<K, V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map with objects as keys")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        // A key arrives as its text, whether it stood bare or as a string that holds an object.
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            let key = from_slice(key.as_bytes())
                .map_err(|e| serde::de::Error::custom(format!("key: {}", e.what)))?;
            pairs.push((key, map.next_value()?));
        }
        Ok(ObjectMap(pairs))
    }
}

#[cfg(test)]
mod tests;
