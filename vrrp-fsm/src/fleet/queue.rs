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

    pub(super) fn next_advertiser(&mut self) -> Option<u32> {
        self.advertisers.pop_front()
    }

    pub(super) fn push(&mut self, slot: u32, task: Task) {
        self.tasks.push_back((slot, task));
    }

    pub(super) fn next(&mut self) -> Option<(u32, Task)> {
        self.tasks.pop_front()
    }
}
