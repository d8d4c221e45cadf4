//! A priority queue of deadlines.

use alloc::{vec, vec::Vec};

use crate::Instant;

/// Members of a group: the instants that fit into a cache line.
const WIDTH: usize = 8;

/// A priority queue of deadlines by small indices: a tournament tree.
///
/// The deadlines lie in groups of eight, in the order of their indices; the earliest of each group
/// is a member of a group of the level above, and so on up to the earliest of all. A change writes
/// the deadline and replays the matches above it, up to the first with the same outcome. Nothing
/// moves. The bench `fleet` compares this with heaps and a balanced tree.
///
/// Equal deadlines are in the order of their indices. Memory grows with the greatest index, by 8
/// octets for each index and a seventh of that for the winners, and does not shrink. Indices below
/// [`reserve`](Self::reserve) allocate nothing.
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
/// assert_eq!(deadlines.earliest(), Some(at(40)));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Deadlines {
    /// First the deadlines, then the winners of the level below. The last level is one group.
    levels: Vec<Vec<Group>>,
}

/// Eight deadlines or winners; [`Instant::MAX`] stands for none.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Group([Instant; WIDTH]);

impl Group {
    const EMPTY: Self = Self([Instant::MAX; WIDTH]);

    /// Three rounds of independent matches, in place of a chain of seven comparisons.
    #[inline]
    #[allow(clippy::many_single_char_names)]
    fn earliest(&self) -> Instant {
        let [a, b, c, d, e, f, g, h] = self.0;
        let first_half = a.min(b).min(c.min(d));
        let second_half = e.min(f).min(g.min(h));
        first_half.min(second_half)
    }

    /// Returns the first member that is equal. It compares all: a mispredicted early exit takes
    /// longer.
    #[inline]
    fn position(&self, at: Instant) -> usize {
        let mut equal = 0_u32;
        for (number, member) in self.0.iter().enumerate() {
            equal |= u32::from(*member == at) << number;
        }
        equal.trailing_zeros() as usize
    }
}

impl Deadlines {
    /// Makes an empty queue.
    #[must_use]
    pub const fn new() -> Self {
        Self { levels: Vec::new() }
    }

    /// Makes room for the deadlines of the indices below this one.
    pub fn reserve(&mut self, indices: usize) {
        let groups = indices.div_ceil(WIDTH);
        let mut wanted = groups;
        for level in &mut self.levels {
            level.reserve_exact(wanted.saturating_sub(level.len()));
            wanted = wanted.div_ceil(WIDTH);
        }
        self.grow(groups);
    }

    /// Returns the earliest deadline and its index.
    #[inline]
    #[must_use]
    pub fn first(&self) -> Option<(Instant, u32)> {
        let at = self.earliest()?;
        Some((at, self.winner(at)))
    }

    /// Returns the earliest deadline. It is faster than [`first`](Self::first).
    #[inline]
    #[must_use]
    pub fn earliest(&self) -> Option<Instant> {
        let at = self.levels.last()?.first()?.earliest();
        (at != Instant::MAX).then_some(at)
    }

    /// Returns the index of the earliest deadline, if it is due.
    #[inline]
    #[must_use]
    pub fn due(&self, now: Instant) -> Option<u32> {
        let at = self.earliest()?;
        at.is_due(now).then(|| self.winner(at))
    }

    /// Sets the deadline of an index, or removes it with `None`. [`Instant::MAX`] counts as `None`.
    #[inline]
    pub fn set(&mut self, index: u32, deadline: Option<Instant>) {
        let mut at = deadline.unwrap_or(Instant::MAX);
        let mut place = index as usize;
        let groups = self.levels.first().map_or(0, Vec::len);
        if place / WIDTH >= groups && at != Instant::MAX {
            self.grow(place / WIDTH + 1);
        }
        for level in &mut self.levels {
            let Some(group) = level.get_mut(place / WIDTH) else {
                return;
            };
            if let Some(member) = group.0.get_mut(place % WIDTH)
                && core::mem::replace(member, at) == at
            {
                return;
            }
            at = group.earliest();
            place /= WIDTH;
        }
    }

    /// Returns the index of a deadline that won all its matches.
    fn winner(&self, at: Instant) -> u32 {
        let mut place = 0;
        for level in self.levels.iter().rev() {
            let group = level.get(place).unwrap_or(&Group::EMPTY);
            place = place * WIDTH + group.position(at);
        }
        // All indices have 32 bits.
        #[allow(clippy::cast_possible_truncation)]
        let index = place as u32;
        index
    }

    /// Extends the first level to at least this many groups, and the others accordingly.
    #[cold]
    fn grow(&mut self, mut groups: usize) {
        let mut above = 0;
        while groups > 0 {
            if above == self.levels.len() {
                let mut group = Group::EMPTY;
                // Until now the level below was the last one, a single group.
                group.0[0] = self.earliest().unwrap_or(Instant::MAX);
                self.levels.push(vec![group]);
            }
            if let Some(level) = self.levels.get_mut(above) {
                level.resize(groups.max(level.len()), Group::EMPTY);
            }
            groups = if groups == 1 {
                0
            } else {
                groups.div_ceil(WIDTH)
            };
            above += 1;
        }
    }
}
