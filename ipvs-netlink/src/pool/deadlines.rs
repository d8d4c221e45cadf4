//! The deadlines of many entries, in order.

use std::time::Duration;

/// Members of a group: as many as fit into a cache line.
const WIDTH: usize = 8;

/// Stands for no deadline.
const NEVER: u64 = u64::MAX;

/// Eight deadlines of a level, in nanoseconds.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Group([u64; WIDTH]);

impl Group {
    const EMPTY: Self = Self([NEVER; WIDTH]);

    fn earliest(&self) -> u64 {
        self.0.iter().copied().fold(NEVER, u64::min)
    }
}

/// Exact deadlines of entries with small indices, as a tournament tree.
///
/// The first level has the deadlines by index, each further level the earliest of each group of the
/// level before. Nothing moves, so a change touches one cache line of a level, and only the levels
/// whose winner changes. It allocates only for an index greater than any before. Equal deadlines
/// come in the order of their indices.
#[derive(Clone, Debug, Default)]
pub(super) struct Deadlines {
    levels: Vec<Vec<Group>>,
}

impl Deadlines {
    /// The earliest deadline, with its index.
    pub(super) fn first(&self) -> Option<(Duration, u32)> {
        let earliest = self.levels.last()?.first()?.earliest();
        if earliest == NEVER {
            return None;
        }
        let mut place = 0;
        for level in self.levels.iter().rev() {
            let winner = |member: &u64| *member == earliest;
            place = place * WIDTH + level.get(place)?.0.iter().position(winner)?;
        }
        let index = u32::try_from(place).ok()?;
        Some((Duration::from_nanos(earliest), index))
    }

    /// The index of the earliest deadline, if it has come.
    pub(super) fn due(&self, now: Duration) -> Option<u32> {
        let (at, index) = self.first()?;
        (at <= now).then_some(index)
    }

    /// The deadline of an index.
    pub(super) fn get(&self, index: u32) -> Option<Duration> {
        let index = index as usize;
        let at = self.levels.first()?.get(index / WIDTH)?.0[index % WIDTH];
        (at != NEVER).then(|| Duration::from_nanos(at))
    }

    /// Sets the deadline of an index, or removes it. One after 584 years is never reached.
    pub(super) fn set(&mut self, index: u32, deadline: Option<Duration>) {
        let nanos = |at: Duration| u64::try_from(at.as_nanos()).unwrap_or(NEVER);
        let mut at = deadline.map_or(NEVER, nanos);
        let mut place = index as usize;
        if at != NEVER {
            self.grow(place / WIDTH + 1);
        }
        for level in &mut self.levels {
            let Some(group) = level.get_mut(place / WIDTH) else {
                return;
            };
            if std::mem::replace(&mut group.0[place % WIDTH], at) == at {
                return;
            }
            at = group.earliest();
            place /= WIDTH;
        }
    }

    /// Grows the first level to at least this many groups, and ends with a level of one group.
    fn grow(&mut self, mut groups: usize) {
        let mut number = 0;
        loop {
            if number == self.levels.len() {
                let mut group = Group::EMPTY;
                // The level before was the last one until now.
                if let Some(before) = self.levels.last().and_then(|level| level.first()) {
                    group.0[0] = before.earliest();
                }
                self.levels.push(vec![group]);
            }
            let level = &mut self.levels[number];
            if level.len() >= groups {
                return;
            }
            level.resize(groups, Group::EMPTY);
            groups = groups.div_ceil(WIDTH);
            number += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_first_is_the_earliest_after_any_changes(
            steps in prop::collection::vec((0_u32..600, prop::option::of(0_u64..50)), 0..400),
        ) {
            let mut queue = Deadlines::default();
            let mut model = BTreeMap::new();
            for (index, deadline) in steps {
                let at = deadline.map(Duration::from_nanos);
                queue.set(index, at);
                match at {
                    Some(at) => model.insert(index, at),
                    None => model.remove(&index),
                };
                let first = model.iter().map(|(index, at)| (*at, *index)).min();
                prop_assert_eq!(queue.first(), first);
                prop_assert_eq!(queue.get(index), at);
            }
        }
    }
}
