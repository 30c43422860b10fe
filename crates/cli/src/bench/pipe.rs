// SPDX-License-Identifier: Apache-2.0
//! One connection that carries load: requests go out as bytes in one write for all that are ready, answers come in
//! one read for all that are there and are matched by their number. Called by `load`; knows no request.
//! It is not the SDK's connection, because the generator shares the machine with the server that it measures: what it
//! costs is missing from the figure. Invariant: every answer is of a call that is under way, or the run fails.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::BytesMut;
use protocol::frame::{Decoder, Frame};

use super::target::PATIENCE;

/// Numbers of calls have ten digits, so that a prepared frame keeps its length.
const FIRST_NUMBER: i32 = 1_000_000_000;
const NUMBERS: u32 = 1_000_000_000;
/// Read at most at once.
const CHUNK: usize = 256 << 10;

thread_local! {
    /// Where all connections of the thread read to: a thousand with room of their own took 0.8 GB.
    static ROOM: RefCell<Box<[u8]>> = RefCell::new(vec![0; CHUNK].into());
}

/// A connection and the calls under way on it.
pub(super) struct Pipe {
    stream: TcpStream,
    address: String,
    decoder: Decoder,
    input: BytesMut,
    output: Vec<u8>,
    /// How much of `output` the socket has taken.
    taken: usize,
    /// When each call was due, oldest first; `None` once it is answered.
    calls: VecDeque<Option<Instant>>,
    /// Number of the oldest call in `calls`, counted from zero.
    oldest: u32,
    under_way: usize,
}

impl Pipe {
    pub(super) fn connect(address: &str) -> Result<Pipe> {
        let stream = dial(address).with_context(|| format!("cannot connect to the broker at {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Pipe {
            stream,
            address: address.to_owned(),
            decoder: Decoder::default(),
            input: BytesMut::new(),
            output: Vec::new(),
            taken: 0,
            calls: VecDeque::new(),
            oldest: 0,
            under_way: 0,
        })
    }

    /// Calls without an answer.
    pub(super) fn under_way(&self) -> usize {
        self.under_way
    }

    /// Calls without an answer that were due before `then`.
    pub(super) fn older_than(&self, then: Instant) -> u64 {
        self.calls.iter().flatten().filter(|due| **due < then).count() as u64
    }

    /// Whether bytes wait for room in the socket.
    pub(super) fn is_full(&self) -> bool {
        self.taken < self.output.len()
    }

    /// Starts a call: `write` appends the frame with this number.
    pub(super) fn ask(&mut self, due: Instant, write: impl FnOnce(i32, &mut Vec<u8>)) {
        let number = self.oldest.wrapping_add(self.calls.len() as u32) % NUMBERS;
        self.calls.push_back(Some(due));
        self.under_way += 1;
        write(FIRST_NUMBER + number as i32, &mut self.output);
    }

    /// Hands the socket what it takes without waiting.
    pub(super) fn flush(&mut self) -> Result<()> {
        while self.is_full() {
            match self.stream.write(&self.output[self.taken..]) {
                Ok(count) => self.taken += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).with_context(|| format!("cannot write to {}", self.address)),
            }
        }
        self.output.clear();
        self.taken = 0;
        Ok(())
    }

    /// Takes what the socket has, once. False when there is nothing.
    pub(super) fn read(&mut self) -> Result<bool> {
        loop {
            let read = ROOM.with_borrow_mut(|room| {
                let count = self.stream.read(room)?;
                self.input.extend_from_slice(&room[..count]);
                io::Result::Ok(count)
            });
            match read {
                Ok(0) => bail!("{} closed the connection", self.address),
                Ok(_) => return Ok(true),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot read from {}", self.address));
                }
            }
        }
    }

    /// The next answer that was read, and when its call was due.
    pub(super) fn answer(&mut self) -> Result<Option<(Instant, Frame)>> {
        let frame = loop {
            let Some(frame) = self.decoder.next(&mut self.input)? else { return Ok(None) };
            // A server tells its clients who is in their group now, and wants no answer.
            if frame.is_response() || !frame.is_one_way() {
                break frame;
            }
        };
        let number = frame.opaque.wrapping_sub(FIRST_NUMBER) as u32;
        let index = number.wrapping_add(NUMBERS).wrapping_sub(self.oldest) % NUMBERS;
        let due = self.calls.get_mut(index as usize).and_then(Option::take);
        let Some(due) = due.filter(|_| frame.is_response()) else {
            bail!("{} answered call {}, which was never made", self.address, frame.opaque);
        };
        self.under_way -= 1;
        while let Some(None) = self.calls.front() {
            self.calls.pop_front();
            self.oldest = (self.oldest + 1) % NUMBERS;
        }
        Ok(Some((due, frame)))
    }

    /// Waits until one of `pipes` can go on, or for `patience`, and says of each in its order whether it can.
    pub(super) fn wait<'a>(
        pipes: impl Iterator<Item = &'a Pipe>,
        patience: Duration,
        ready: &mut Vec<bool>,
    ) -> Result<()> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let wanted =
            |pipe: &Pipe| if pipe.is_full() { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        let mut polled: Vec<_> = pipes.map(|pipe| PollFd::new(&pipe.stream, wanted(pipe))).collect();
        match poll(&mut polled, Some(&Timespec::try_from(patience)?)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("cannot wait for the sockets"),
        }
        ready.clear();
        ready.extend(polled.iter().map(|polled| !polled.revents().is_empty()));
        Ok(())
    }
}

/// A connection to the first address of that name that takes one in time.
fn dial(address: &str) -> io::Result<TcpStream> {
    let mut refused = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => return Ok(stream),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}
