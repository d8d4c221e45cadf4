//! Events that wait for the host, and the counters.

use std::{collections::VecDeque, time::Duration};

use super::{Cause, Counters, Event, PoolChange};
use crate::ServiceKey;

#[derive(Clone, Debug, Default)]
pub(super) struct Journal {
    pub(super) events: VecDeque<Event>,
    pub(super) sequence: u64,
    pub(super) counters: Counters,
}

/// The events for which an empty queue keeps its memory.
const KEPT: usize = 64;

impl Journal {
    /// The next event. Once there are no more, the queue returns its memory: a new configuration
    /// brings an event for each of its servers.
    pub(super) fn next(&mut self) -> Option<Event> {
        let event = self.events.pop_front();
        if self.events.is_empty() {
            self.events.shrink_to(KEPT);
        }
        event
    }

    pub(super) fn record(
        &mut self,
        at: Duration,
        service: ServiceKey,
        change: PoolChange,
        cause: Cause,
    ) {
        self.counters.count(&change);
        self.events.push_back(Event {
            sequence: self.sequence,
            at,
            service,
            change,
            cause,
        });
        self.sequence += 1;
    }
}
