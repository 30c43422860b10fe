// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Tag expressions: `a || b`. Called by `filter`; the client lists tags and hashes in its heartbeats.

use super::FilterError;
use crate::record::{string_hash, tag_hash};

/// The tags of an expression, sorted by hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tags(Vec<(i64, Box<str>)>);

impl Tags {
    /// Reads an expression. Blanks around tags do not count, nor do empty places between separators.
    pub fn parse(expression: &str) -> Result<Tags, FilterError> {
        if expression.split("||").all(str::is_empty) {
            return Err(FilterError::NoTag { expression: expression.to_owned() });
        }
        let tags = expression.split("||").map(str::trim).filter(|tag| !tag.is_empty());
        let mut tags: Vec<_> = tags.map(|tag| (tag_hash(tag), tag.into())).collect();
        tags.sort_unstable();
        tags.dedup();
        Ok(Tags(tags))
    }

    /// Tells whether some tag has this hash.
    pub fn has_hash(&self, hash: i64) -> bool {
        self.with_hash(hash).next().is_some()
    }

    /// Tells whether this is one of the tags.
    pub fn has(&self, tag: &str) -> bool {
        self.with_hash(tag_hash(tag)).any(|found| found == tag)
    }

    /// Returns the tags with their Java hashes.
    pub fn iter(&self) -> impl Iterator<Item = (&str, i32)> {
        self.0.iter().map(|(_, tag)| (&**tag, string_hash(tag)))
    }

    fn with_hash(&self, hash: i64) -> impl Iterator<Item = &str> {
        let from = self.0.partition_point(|(h, _)| *h < hash);
        self.0.iter().skip(from).take_while(move |(h, _)| *h == hash).map(|(_, tag)| &**tag)
    }
}
