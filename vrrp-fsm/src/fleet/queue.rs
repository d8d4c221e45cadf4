//! The queue of actions, advertisements first.

use alloc::collections::VecDeque;

use crate::Action;

/// The most actions of a router in this queue, at a takeover: addresses, announcement, change of
/// state.
const ACTIONS: usize = 3;

/// The actions of all routers. The contents of an advertisement stay with its router, so there is
/// at most one per router, the latest.
#[derive(Clone, Debug, Default)]
pub(super) struct Queue {
    advertisers: VecDeque<u32>,
    tasks: VecDeque<(u32, Task)>,
}

/// An action after the advertisements.
#[derive(Clone, Copy, Debug)]
pub(super) enum Task {
    Do(Action),
    /// The last action of a removed router.
    Free,
}

impl Queue {
    /// Reserves room for this many routers that take over at once.
    pub(super) fn reserve(&mut self, routers: usize) {
        let missing = |length: usize, wanted: usize| wanted.saturating_sub(length);
        let advertisers = missing(self.advertisers.len(), routers);
        let tasks = missing(self.tasks.len(), routers * ACTIONS);
        self.advertisers.reserve_exact(advertisers);
        self.tasks.reserve_exact(tasks);
    }

    pub(super) fn advertise(&mut self, slot: u32) {
        self.advertisers.push_back(slot);
    }

    #[inline]
    pub(super) fn has_any(&self) -> bool {
        !self.advertisers.is_empty() || !self.tasks.is_empty()
    }

    pub(super) fn next_advertiser(&mut self) -> Option<u32> {
        take(&mut self.advertisers)
    }

    pub(super) fn push(&mut self, slot: u32, task: Task) {
        self.tasks.push_back((slot, task));
    }

    pub(super) fn next(&mut self) -> Option<(u32, Task)> {
        take(&mut self.tasks)
    }
}

/// Takes the first item. An emptied queue restarts at the front of its memory: a ring that wraps
/// around would touch all of the memory reserved for the worst case.
#[inline]
fn take<T>(queue: &mut VecDeque<T>) -> Option<T> {
    let next = queue.pop_front();
    if queue.is_empty() {
        queue.clear();
    }
    next
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn few_actions_at_a_time_use_little_of_the_room_for_many() {
        let mut queue = Queue::default();
        queue.reserve(1000);
        let first = |queue: &Queue| {
            let advertiser = queue.advertisers.front().map(core::ptr::from_ref);
            let task = queue.tasks.front().map(core::ptr::from_ref);
            (advertiser.unwrap(), task.unwrap())
        };
        let mut places = alloc::vec::Vec::new();
        for slot in 0..3 {
            queue.advertise(slot);
            queue.push(slot, Task::Free);
            places.push(first(&queue));
            assert_eq!(queue.next_advertiser(), Some(slot));
            assert!(queue.next().is_some());
        }
        places.dedup();
        assert_eq!(places.len(), 1);
    }
}
