// SPDX-License-Identifier: Apache-2.0
//! Compiled filters, one for each expression whoever uses it: a group whose hundred members send the same expression with
//! every heartbeat and every pull has it read once. Called by heartbeats, pulls and checks. Never decides who may filter.
//! Invariant: at most `KEPT_MAX` are kept; while there are more in use, the rest are compiled each time.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use protocol::filter::{self, Filter, FilterError};

/// The most filters that are kept.
const KEPT_MAX: usize = 4096;

/// Compiled filters.
pub(crate) struct Filters {
    /// Lets everything pass.
    everything: Arc<Filter>,
    sql: RwLock<HashMap<Box<str>, Arc<Filter>>>,
}

impl Default for Filters {
    fn default() -> Filters {
        Filters { everything: Arc::new(Filter::All), sql: RwLock::default() }
    }
}

impl Filters {
    /// The filter that lets everything pass.
    pub(crate) fn everything(&self) -> Arc<Filter> {
        self.everything.clone()
    }

    /// Compiles an expression, or finds it compiled.
    pub(crate) fn compile(&self, kind: &str, expression: &str) -> Result<Arc<Filter>, FilterError> {
        if kind != filter::SQL92 {
            return Ok(match Filter::parse(kind, expression)? {
                Filter::All => self.everything(),
                filter => Arc::new(filter),
            });
        }
        if let Some(known) = self.sql.read().get(expression) {
            return Ok(known.clone());
        }
        let filter = Arc::new(Filter::parse(kind, expression)?);
        let mut sql = self.sql.write();
        if sql.len() >= KEPT_MAX {
            sql.retain(|_, filter| Arc::strong_count(filter) > 1);
        }
        if sql.len() < KEPT_MAX {
            return Ok(sql.entry(expression.into()).or_insert(filter).clone());
        }
        Ok(filter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_is_compiled_once_and_only_what_is_used_is_kept() {
        let filters = Filters::default();
        let compile = |n: usize| filters.compile("SQL92", &format!("a = {n}")).expect("it is one");
        let used = compile(0);
        assert!(Arc::ptr_eq(&used, &compile(0)));
        assert!(!Arc::ptr_eq(&used, &compile(1)));
        (1..2 * KEPT_MAX).for_each(|n| drop(compile(n)));
        assert!(Arc::ptr_eq(&used, &compile(0)), "it is in use");
        assert!(filters.sql.read().len() <= KEPT_MAX);
        let all: Vec<_> = (0..KEPT_MAX + 9).map(compile).collect();
        assert!(all.len() > KEPT_MAX && filters.sql.read().len() <= KEPT_MAX);
        assert!(filters.compile("SQL92", "a =").is_err() && filters.compile("TAG", "||").is_err());
    }
}
