// SPDX-License-Identifier: Apache-2.0
//! How many connections all servers of a process may have open together. Each takes a descriptor, and the log needs some
//! too: whoever starts the servers says how many are left for connections.
//! Invariant: a seat is taken before a connection is dealt to its worker, and given back when its socket is closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The seats of a process.
#[derive(Clone, Debug)]
pub struct Seats(Arc<Table>);

#[derive(Debug)]
struct Table {
    most: usize,
    taken: AtomicUsize,
}

/// The right to one connection.
#[derive(Debug)]
pub(crate) struct Seat(Arc<Table>);

impl Seats {
    /// So many, for all servers that are given this value or a copy of it.
    pub fn new(most: usize) -> Seats {
        Seats(Arc::new(Table { most, taken: AtomicUsize::new(0) }))
    }

    /// How many there are.
    pub(crate) fn most(&self) -> usize {
        self.0.most
    }

    /// Takes one; `None` when none is free.
    pub(crate) fn take(&self) -> Option<Seat> {
        if self.0.taken.fetch_add(1, Ordering::AcqRel) < self.0.most {
            return Some(Seat(self.0.clone()));
        }
        self.0.taken.fetch_sub(1, Ordering::AcqRel);
        None
    }
}

impl Default for Seats {
    /// As many as anybody wants.
    fn default() -> Seats {
        Seats::new(usize::MAX)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_given_back() {
        let seats = Seats::new(2);
        let (first, second) = (seats.take().unwrap(), seats.clone().take().unwrap());
        assert!(seats.take().is_none() && seats.take().is_none());
        drop(first);
        let third = seats.take().unwrap();
        assert!(seats.take().is_none());
        drop((second, third));
        assert_eq!(seats.0.taken.load(Ordering::Acquire), 0);
    }
}
