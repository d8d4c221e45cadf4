//! When each router has to be looked at next.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

use vrrp_fsm::Instant;

use super::RouterId;

/// The deadlines of all routers, in order.
///
/// An advertisement moves its router's deadline to a later time, and does so many times before any deadline is reached. So an entry
/// stays where it is when its deadline moves away, and is put in its right place once it has come to the front. For each router
/// one entry counts, that at its time in `armed`; others of it are left-overs, and are dropped at the front.
#[derive(Debug, Default)]
pub(super) struct Timers {
    entries: BinaryHeap<Reverse<(Instant, RouterId)>>,
    /// `None` where no entry counts: taking the router out, and in again, would allocate.
    armed: BTreeMap<RouterId, Option<Instant>>,
}

impl Timers {
    /// Notes that a router's deadline is now this.
    pub(super) fn set(&mut self, id: RouterId, deadline: Option<Instant>) {
        let armed = self.armed.entry(id).or_default();
        if let Some(deadline) = deadline
            && armed.is_none_or(|armed| deadline < armed)
        {
            *armed = Some(deadline);
            self.entries.push(Reverse((deadline, id)));
        }
    }

    /// Forgets a router that is removed.
    pub(super) fn remove(&mut self, id: RouterId) {
        self.armed.remove(&id);
    }

    /// The router whose deadline is the first, and the deadline. `deadline_of` says what a router's deadline is by now.
    pub(super) fn first(
        &mut self,
        deadline_of: impl Fn(RouterId) -> Option<Instant>,
    ) -> Option<(Instant, RouterId)> {
        loop {
            let &Reverse((time, id)) = self.entries.peek()?;
            let Some(armed) = self
                .armed
                .get_mut(&id)
                .filter(|armed| **armed == Some(time))
            else {
                self.entries.pop();
                continue;
            };
            let deadline = deadline_of(id);
            if deadline.is_some_and(|deadline| deadline <= time) {
                return Some((time, id));
            }
            *armed = None;
            self.entries.pop();
            self.set(id, deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Timers, and the deadlines that they are told of.
    #[derive(Default)]
    struct Clockwork {
        timers: Timers,
        deadlines: BTreeMap<RouterId, Instant>,
    }

    impl Clockwork {
        fn set(&mut self, id: u64, nanos: u64) {
            let (id, deadline) = (RouterId(id), Instant::from_nanos(nanos));
            self.deadlines.insert(id, deadline);
            self.timers.set(id, Some(deadline));
        }

        fn stop(&mut self, id: u64) {
            self.deadlines.remove(&RouterId(id));
            self.timers.set(RouterId(id), None);
        }

        fn first(&mut self) -> Option<(u64, u64)> {
            let deadlines = &self.deadlines;
            let (time, id) = self.timers.first(|id| deadlines.get(&id).copied())?;
            Some((time.as_nanos(), id.0))
        }
    }

    #[test]
    fn the_first_deadline_is_exact_however_deadlines_move() {
        let mut clockwork = Clockwork::default();
        assert_eq!(clockwork.first(), None);
        clockwork.set(1, 30);
        clockwork.set(2, 20);
        assert_eq!(clockwork.first(), Some((20, 2)));
        clockwork.set(2, 50);
        assert_eq!(clockwork.first(), Some((30, 1)));
        clockwork.set(1, 60);
        assert_eq!(clockwork.first(), Some((50, 2)));
        clockwork.set(2, 10);
        assert_eq!(clockwork.first(), Some((10, 2)));
        clockwork.stop(2);
        assert_eq!(clockwork.first(), Some((60, 1)));
        clockwork.stop(1);
        assert_eq!(clockwork.first(), None);
    }

    #[test]
    fn the_first_deadline_is_that_of_a_sorted_list() {
        // A small generator of numbers, so that the case is the same each time.
        let mut state = 1_u64;
        let mut next = |below: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) % below
        };
        let mut clockwork = Clockwork::default();
        for _ in 0..20_000 {
            let id = next(50);
            if next(10) == 0 {
                clockwork.stop(id);
            } else {
                clockwork.set(id, next(1000));
            }
            let expected = clockwork.deadlines.values().min().copied();
            let found = clockwork.first();
            assert_eq!(found.map(|(time, _)| Instant::from_nanos(time)), expected);
        }
        let entries = clockwork.timers.entries.len();
        assert!(entries < 20_000, "left-overs are dropped: {entries}");
    }

    #[test]
    fn a_deadline_that_only_moves_away_takes_one_entry() {
        let mut clockwork = Clockwork::default();
        for time in 1..1000 {
            clockwork.set(1, time);
        }
        assert_eq!(clockwork.timers.entries.len(), 1);
        assert_eq!(clockwork.first(), Some((999, 1)));
    }
}
