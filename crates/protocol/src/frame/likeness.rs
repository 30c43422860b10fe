// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. What the JSON headers of one connection have in common. A producer writes the same header again and again but
//! for a few values: once that is known, all between them is compared instead of read. The decoder of a connection keeps
//! one [`Likeness`] and asks it before it reads a header in full. It knows a few kinds of header side by side: half messages
//! and decisions about them come in turns.
//! Invariant: a header is like a model only if reading it in full would find the same members and fields, with other
//! values in the holes alone; so a frame from here is the frame that `json::decode` makes.

use std::fmt;
use std::ops::Range;

use bytes::{Buf, Bytes};

use super::Frame;
use super::json::{Members, usual_integer};
use crate::fields::{Fields, Known, Variation, skip_text, usual};

/// A header that is read by comparing earns this much, and learning from one costs as much as so many earn: a connection
/// whose headers have little in common is soon left alone.
const COST: u16 = 16;
/// What a connection begins with, and the most that it can have.
const CREDIT: u16 = 16 * COST;
/// No longer header becomes a model: what a connection keeps must stay small.
const LONGEST: usize = 4096;
const OPAQUE: &[u8] = b"\"opaque\":";

/// So many kinds of header are known at a time, each of another code.
const KINDS: usize = 3;
/// So many headers that were read in full are remembered by their codes.
const MISSES: usize = 4;

/// What was learned from the headers of one connection.
#[derive(Clone)]
pub(super) struct Likeness {
    /// One a code, the one that fitted last in front.
    models: Vec<Model>,
    /// The codes of the last headers that were read in full, the latest in front; none of a kind that fitted since.
    missed: [Option<i32>; MISSES],
    /// Counts models, so that each has a number of its own.
    made: u32,
    credit: u16,
}

impl Default for Likeness {
    fn default() -> Likeness {
        Likeness { models: Vec::new(), missed: [None; MISSES], made: 0, credit: CREDIT }
    }
}

/// A header, and where others may differ from it.
#[derive(Clone)]
struct Model {
    number: u32,
    text: Bytes,
    /// Where its fields stand, braces included.
    object: Range<usize>,
    fields: Vec<Known>,
    /// Those of them that others may have with another value, in order.
    holes: Vec<Known>,
    /// Where the number stands that ties an answer to its request, behind the fields. It differs always.
    opaque: Range<usize>,
    /// All else that the header says.
    frame: Frame,
}

impl fmt::Debug for Likeness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Likeness").field("made", &self.made).finish_non_exhaustive()
    }
}

impl Likeness {
    /// The frame of a header that is like a model, made of it. `None` for any other: it has to be read in full.
    pub(super) fn read(&mut self, header: &mut Bytes) -> Option<Frame> {
        let (at, frame) =
            self.models.iter().enumerate().find_map(|(at, model)| Some((at, model.read(header)?)))?;
        // kinds come in runs
        self.models.get_mut(..=at)?.rotate_right(1);
        self.missed.iter_mut().filter(|code| **code == Some(frame.code)).for_each(|code| *code = None);
        self.credit = self.credit.saturating_add(1).min(CREDIT);
        Some(frame)
    }

    /// Learns from a header that was read in full. One of a code that is not known, or with other fields, becomes a model
    /// if a like one was read in full shortly before, so a stray one changes nothing.
    pub(super) fn learn(&mut self, header: &Bytes, frame: &Frame) {
        if frame.fields.is_empty() {
            return;
        }
        let is_second = self.missed.contains(&Some(frame.code));
        self.missed.rotate_right(1);
        if let Some(latest) = self.missed.first_mut() {
            *latest = Some(frame.code);
        }
        let known = self.models.iter().position(|model| model.frame.code == frame.code);
        if !is_second && known.is_none() || header.len() > LONGEST {
            return;
        }
        let Some(credit) = self.credit.checked_sub(COST) else { return };
        (self.credit, self.made) = (credit, self.made.wrapping_add(1));
        let Some(mut model) = Model::of(header, frame, self.made) else { return };
        match known.map(|at| self.models.remove(at)) {
            Some(before) if before.has_fields_of(&model) => {
                model.vary(&before);
                if model.holes.len() <= Variation::MOST {
                    self.models.insert(0, model);
                }
            }
            Some(before) if !is_second => self.models.insert(0, before),
            _ => {
                self.models.truncate(KINDS.saturating_sub(1));
                self.models.insert(0, model);
            }
        }
    }
}

impl Model {
    /// A header as SDKs write it becomes a model. Nothing varies yet but the number of the request.
    fn of(header: &Bytes, frame: &Frame, number: u32) -> Option<Model> {
        let object = Members::usual(header)?.fields?;
        let opaque = opaque(header, &object)?;
        // what is kept must not keep alive all that was read with it
        let text = Bytes::copy_from_slice(header);
        let fields = Known::all(&text, object.start)?;
        let frame = Frame { fields: Fields::default(), body: Bytes::new(), ..frame.clone() };
        Some(Model { number, text, object, holes: Vec::new(), fields, opaque, frame })
    }

    /// Others may differ where this differs from `before`, which has the same fields, and where they could from that.
    fn vary(&mut self, before: &Model) {
        let varied = |old: &Known| before.holes.iter().any(|hole| hole.value_at == old.value_at);
        let varies =
            |old: &Known, new: &Known| varied(old) || old.value(&before.text) != new.value(&self.text);
        let pairs = before.fields.iter().zip(&self.fields);
        self.holes = pairs.filter(|(old, new)| varies(old, new)).map(|(_, new)| *new).collect();
    }

    fn has_fields_of(&self, other: &Model) -> bool {
        let names = |model: &Model| -> Option<Vec<Vec<u8>>> {
            model.fields.iter().map(|field| field.name(&model.text).map(<[u8]>::to_vec)).collect()
        };
        self.frame.code == other.frame.code && names(self) == names(other)
    }

    fn read(&self, header: &mut Bytes) -> Option<Frame> {
        let mut variation = Variation::new(self.number);
        let (mut at, mut seen) = (0, 0);
        for hole in &self.holes {
            at = usual(header, at, self.text.get(seen..hole.value_at)?)?;
            variation.add(at.checked_sub(self.object.start)?, hole.name_len)?;
            let end = skip_text(header, at)?;
            if !header.get(at..end)?.is_ascii() {
                return None;
            }
            (at, seen) = (end, hole.end);
        }
        at = usual(header, at, self.text.get(seen..self.opaque.start)?)?;
        let object_end = self.object.end.checked_add(at)?.checked_sub(self.opaque.start)?;
        let (opaque, end) = usual_integer(header, at)?;
        let rest = self.text.get(self.opaque.end..)?;
        if header.get(end..)? != rest {
            return None;
        }
        header.get(self.object.start..object_end)?;
        header.truncate(object_end);
        header.advance(self.object.start);
        let fields = Fields::like(std::mem::take(header), variation);
        Some(Frame { opaque, fields, ..self.frame.clone() })
    }
}

/// Where the number stands that ties an answer to its request, if it does so once, behind the fields.
fn opaque(header: &[u8], object: &Range<usize>) -> Option<Range<usize>> {
    let places = |part: &[u8]| -> Vec<usize> {
        part.windows(OPAQUE.len())
            .enumerate()
            .filter(|(_, bytes)| *bytes == OPAQUE)
            .map(|(at, _)| at)
            .collect()
    };
    let (before, behind) = (places(header.get(..object.start)?), places(header.get(object.end..)?));
    let [at] = behind[..] else { return None };
    let start = object.end.checked_add(at)?.checked_add(OPAQUE.len())?;
    let (_, end) = usual_integer(header, start)?;
    before.is_empty().then_some(start..end)
}
