// SPDX-License-Identifier: Apache-2.0
//! The names on a simulated disk: as the running process sees them, and as they would be after a power cut.
//! Invariant: changes within one directory become lasting in their order.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use stdx::Rng;

use crate::disk::DirEntry;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Dir,
    File(usize),
}

#[derive(Clone, Debug)]
pub(super) enum NameOp {
    Link(PathBuf, Node),
    Unlink(PathBuf),
    /// Both names are in one directory.
    Rename(PathBuf, PathBuf),
}

type Map = BTreeMap<PathBuf, Node>;

#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    seen: Map,
    lasting: Map,
    pending: Vec<NameOp>,
}

impl NameOp {
    fn dir(&self) -> Option<&Path> {
        let (NameOp::Link(path, _) | NameOp::Unlink(path) | NameOp::Rename(path, _)) = self;
        path.parent()
    }

    fn apply(&self, names: &mut Map) {
        match self {
            NameOp::Link(path, node) => _ = names.insert(path.clone(), node.clone()),
            NameOp::Unlink(path) => _ = names.remove(path),
            NameOp::Rename(from, to) => {
                if let Some(node) = names.remove(from) {
                    names.insert(to.clone(), node);
                }
            }
        }
    }
}

impl Names {
    pub(super) fn get(&self, path: &Path) -> Option<&Node> {
        self.seen.get(path)
    }

    pub(super) fn change(&mut self, op: NameOp) {
        op.apply(&mut self.seen);
        self.pending.push(op);
    }

    pub(super) fn check_parent(&self, path: &Path) -> io::Result<()> {
        match path.parent().and_then(|parent| self.seen.get(parent)) {
            Some(Node::Dir) => Ok(()),
            _ => Err(super::missing(path)),
        }
    }

    pub(super) fn create_dir(&mut self, dir: &Path) {
        for part in dir.ancestors() {
            for names in [&mut self.seen, &mut self.lasting] {
                names.entry(part.to_owned()).or_insert(Node::Dir);
            }
        }
    }

    pub(super) fn list(&self, dir: &Path, len: impl Fn(usize) -> u64) -> io::Result<Vec<DirEntry>> {
        if self.seen.get(dir) != Some(&Node::Dir) {
            return Err(super::missing(dir));
        }
        let inside = self.seen.iter().filter(|(path, _)| path.parent() == Some(dir));
        let entry = |(path, node): (&PathBuf, &Node)| {
            let name = path.file_name()?.to_str()?.to_owned();
            let (is_dir, len) = match node {
                Node::Dir => (true, 0),
                Node::File(id) => (false, len(*id)),
            };
            Some(DirEntry { name, is_dir, len })
        };
        Ok(inside.filter_map(entry).collect())
    }

    pub(super) fn files(&self) -> impl Iterator<Item = usize> + '_ {
        self.seen.values().filter_map(|node| match node {
            Node::File(id) => Some(*id),
            Node::Dir => None,
        })
    }

    pub(super) fn sync(&mut self, dir: &Path) {
        for op in &self.pending {
            if op.dir() == Some(dir) {
                op.apply(&mut self.lasting);
            }
        }
        self.pending.retain(|op| op.dir() != Some(dir));
    }

    /// In each directory some of the first pending changes have made it.
    pub(super) fn after_power_cut(&self, rng: &mut Rng, keeps: impl Fn(&Node) -> bool) -> Names {
        let mut names = self.lasting.clone();
        let mut left: BTreeMap<Option<&Path>, u64> = BTreeMap::new();
        for op in &self.pending {
            *left.entry(op.dir()).or_default() += 1;
        }
        for count in left.values_mut() {
            *count = rng.below(*count + 1);
        }
        for op in &self.pending {
            let count = left.get_mut(&op.dir()).expect("each directory was counted");
            if *count > 0 {
                *count -= 1;
                op.apply(&mut names);
            }
        }
        names.retain(|_, node| keeps(node));
        Names { seen: names.clone(), lasting: names, pending: Vec::new() }
    }
}
