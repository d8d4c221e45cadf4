//! The deadlines of many things, in order.

use alloc::vec::Vec;

use crate::Instant;

/// Children of a node. The more there are, the flatter the tree and the fewer entries move: most steps of a router put its deadline off, which
/// moves an entry down. The bench `fleet` compares this with other numbers and other structures.
const ARITY: usize = 8;

/// Stands for an index that has no deadline.
const NOWHERE: u32 = u32::MAX;

/// The deadlines of many things, each known by a small index, in order: an indexed heap.
///
/// Every index has one entry at most, so that a deadline that moves leaves nothing behind, and [`first`](Self::first) is exact at any
/// time. Deadlines that are equal come in the order of their indices. Memory grows with the greatest index and the number of deadlines
/// and is kept; what fits [`reserve`](Self::reserve) allocates nothing.
///
/// ```
/// use vrrp_fsm::{Deadlines, Instant};
///
/// let at = Instant::from_nanos;
/// let mut deadlines = Deadlines::new();
/// deadlines.set(7, Some(at(30)));
/// deadlines.set(3, Some(at(20)));
/// assert_eq!(deadlines.first(), Some((at(20), 3)));
/// deadlines.set(3, Some(at(40)));
/// assert_eq!(deadlines.first(), Some((at(30), 7)));
/// deadlines.set(7, None);
/// assert_eq!(deadlines.first(), Some((at(40), 3)));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Deadlines {
    heap: Vec<Entry>,
    /// Where in the heap an index is, or [`NOWHERE`].
    places: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    at: Instant,
    index: u32,
}

impl Entry {
    /// By time, then by index, in one number: comparing it needs no branch.
    #[inline]
    fn order(self) -> u128 {
        u128::from(self.at.as_nanos()) << 32 | u128::from(self.index)
    }
}

impl Deadlines {
    /// No deadline.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            heap: Vec::new(),
            places: Vec::new(),
        }
    }

    /// Makes room for the deadlines of the indices below this one.
    pub fn reserve(&mut self, indices: usize) {
        let missing = |length: usize| indices.saturating_sub(length);
        self.heap.reserve_exact(missing(self.heap.len()));
        self.places.reserve_exact(missing(self.places.len()));
    }

    /// The earliest deadline, and whose it is.
    #[inline]
    #[must_use]
    pub fn first(&self) -> Option<(Instant, u32)> {
        self.heap.first().map(|entry| (entry.at, entry.index))
    }

    /// The earliest deadline if it has come.
    #[inline]
    #[must_use]
    pub fn due(&self, now: Instant) -> Option<u32> {
        let (at, index) = self.first()?;
        at.is_due(now).then_some(index)
    }

    /// Sets the deadline of an index, or with `None` takes it away. [`Instant::MAX`] is never reached and counts as `None`.
    #[inline]
    pub fn set(&mut self, index: u32, deadline: Option<Instant>) {
        let place = self.place(index);
        match (place, deadline.filter(|at| *at != Instant::MAX)) {
            (Some(place), Some(at)) => {
                let entry = Entry { at, index };
                match self.heap.get(place) {
                    Some(old) if old.order() < entry.order() => self.sift_down(place, entry),
                    _ => self.sift_up(place, entry),
                }
            }
            (None, Some(at)) => {
                let entry = Entry { at, index };
                let slot = index as usize;
                if self.places.len() <= slot {
                    self.places.resize(slot + 1, NOWHERE);
                }
                self.heap.push(entry);
                self.sift_up(self.heap.len() - 1, entry);
            }
            (Some(place), None) => self.take(place, index),
            (None, None) => {}
        }
    }

    fn place(&self, index: u32) -> Option<usize> {
        let place = *self.places.get(index as usize)?;
        (place != NOWHERE).then_some(place as usize)
    }

    /// The last entry fills the gap.
    fn take(&mut self, place: usize, index: u32) {
        self.note(index, NOWHERE);
        let Some(last) = self.heap.pop() else { return };
        let Some(gap) = self.heap.get(place) else {
            return;
        };
        if last.order() < gap.order() {
            self.sift_up(place, last);
        } else {
            self.sift_down(place, last);
        }
    }

    fn sift_up(&mut self, mut place: usize, entry: Entry) {
        while let Some(parent) = place.checked_sub(1).map(|place| place / ARITY) {
            match self.heap.get(parent) {
                Some(above) if entry.order() < above.order() => {
                    let above = *above;
                    self.put(place, above);
                }
                _ => break,
            }
            place = parent;
        }
        self.put(place, entry);
    }

    fn sift_down(&mut self, mut place: usize, entry: Entry) {
        loop {
            let first = place * ARITY + 1;
            let children = self.heap.get(first..).unwrap_or_default();
            let mut least = (entry, place);
            for (child, below) in children.iter().take(ARITY).zip(first..) {
                if child.order() < least.0.order() {
                    least = (*child, below);
                }
            }
            let (child, below) = least;
            if below == place {
                break;
            }
            self.put(place, child);
            place = below;
        }
        self.put(place, entry);
    }

    fn put(&mut self, place: usize, entry: Entry) {
        if let Some(slot) = self.heap.get_mut(place) {
            *slot = entry;
        }
        // A heap of entries with different indices of 32 bits is not longer than that.
        #[allow(clippy::cast_possible_truncation)]
        self.note(entry.index, place as u32);
    }

    fn note(&mut self, index: u32, place: u32) {
        if let Some(slot) = self.places.get_mut(index as usize) {
            *slot = place;
        }
    }
}
