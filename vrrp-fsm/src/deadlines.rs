//! The deadlines of many things, in order.

use alloc::{vec, vec::Vec};

use crate::Instant;

/// Members of a group: as many instants as there is room for in a cache line.
const WIDTH: usize = 8;

/// The deadlines of many things, each known by a small index, in order: a tournament.
///
/// The deadlines lie in groups of eight, in the order of their indices; the earliest of each group is a member of a group of the level above, and
/// so on up to the earliest of all. To change a deadline is to write it down and to play the matches above it again, up to the first whose outcome
/// is the same as before; nothing moves. The bench `fleet` compares this with heaps and a balanced tree.
///
/// It is exact at any time. Deadlines that are equal come in the order of their indices. Memory grows with the greatest index, by 8 octets
/// for each and a seventh of that for the winners, and is kept; what fits [`reserve`](Self::reserve) allocates nothing.
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

    /// In three rounds, whose matches need not wait for each other as those of a search from one end would.
    #[inline]
    #[allow(clippy::many_single_char_names)]
    fn earliest(&self) -> Instant {
        let [a, b, c, d, e, f, g, h] = self.0;
        let first_half = a.min(b).min(c.min(d));
        let second_half = e.min(f).min(g.min(h));
        first_half.min(second_half)
    }

    /// The first member that is this one. All are looked at: where to stop would have to be guessed, and each wrong guess takes longer.
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
    /// No deadline.
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

    /// The earliest deadline, and whose it is.
    #[inline]
    #[must_use]
    pub fn first(&self) -> Option<(Instant, u32)> {
        let at = self.earliest()?;
        Some((at, self.winner(at)))
    }

    /// The earliest deadline. This is quicker than [`first`](Self::first).
    #[inline]
    #[must_use]
    pub fn earliest(&self) -> Option<Instant> {
        let at = self.levels.last()?.first()?.earliest();
        (at != Instant::MAX).then_some(at)
    }

    /// Whose the earliest deadline is, if it has come.
    #[inline]
    #[must_use]
    pub fn due(&self, now: Instant) -> Option<u32> {
        let at = self.earliest()?;
        at.is_due(now).then(|| self.winner(at))
    }

    /// Sets the deadline of an index, or with `None` takes it away. [`Instant::MAX`] is never reached and counts as `None`.
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

    /// The index whose deadline won all its matches: the way back from the last one.
    fn winner(&self, at: Instant) -> u32 {
        let mut place = 0;
        for level in self.levels.iter().rev() {
            let group = level.get(place).unwrap_or(&Group::EMPTY);
            place = place * WIDTH + group.position(at);
        }
        // It was an index of 32 bits that won.
        #[allow(clippy::cast_possible_truncation)]
        let index = place as u32;
        index
    }

    /// Makes the first level at least so many groups long, and the others what this takes.
    #[cold]
    fn grow(&mut self, mut groups: usize) {
        let mut above = 0;
        while groups > 0 {
            if above == self.levels.len() {
                let mut group = Group::EMPTY;
                // Until now the level below was the last, and one group.
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
