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

impl Journal {
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
