//! The output of a fleet: deadlines, actions and records.

use super::{
    RouterId,
    log::{FleetChange, Log},
    member::Entry,
    queue::{Queue, Task},
};
use crate::{Action, Actions, Deadlines, Event, Instant, arena::TypedKey};

/// Deadlines, waiting actions and records of all virtual routers.
#[derive(Clone, Debug)]
pub(super) struct Output {
    /// Indexed by the slots of the routers.
    pub(super) deadlines: Deadlines,
    pub(super) queue: Queue,
    pub(super) log: Log,
    /// By how many nanoseconds the advertisements of Actives may leave the schedule.
    pub(super) patience: u64,
}

impl Output {
    pub(super) fn new(log: Log) -> Self {
        Self {
            deadlines: Deadlines::new(),
            queue: Queue::default(),
            log,
            patience: 0,
        }
    }

    /// Updates the deadline of a router.
    #[inline]
    pub(super) fn schedule(&mut self, id: RouterId, entry: &Entry) {
        let deadline = entry.alarm(self.patience);
        self.deadlines.set(id.key().slot(), deadline);
    }

    /// Passes an event to a router, and queues its actions.
    pub(super) fn step(&mut self, now: Instant, id: RouterId, entry: &mut Entry, event: Event) {
        let actions = entry.router.handle_event(now, event);
        self.perform(now, id, entry, actions);
    }

    /// Queues the actions of a router, and updates its deadline.
    pub(super) fn perform(
        &mut self,
        now: Instant,
        id: RouterId,
        entry: &mut Entry,
        actions: Actions,
    ) {
        self.schedule(id, entry);
        let slot = id.key().slot();
        for action in actions {
            match action {
                Action::SendAdvertisement(outgoing) => {
                    match entry.advertisement.replace(outgoing) {
                        None => self.queue.advertise(slot),
                        Some(unsent) => entry.router.counters.count_unsent(unsent),
                    }
                }
                Action::StateChanged(transition) => {
                    entry.pending_takeover = None;
                    self.queue.push(slot, Task::Do(action));
                    self.log.push(now, FleetChange::State(id, transition));
                }
                _ => self.queue.push(slot, Task::Do(action)),
            }
        }
    }

    /// Starts or stops a router without a group, as its causes require.
    pub(super) fn start_or_stop(&mut self, now: Instant, id: RouterId, entry: &mut Entry) {
        match (entry.obstacle(), entry.primary_address) {
            (Some(cause), _) => self.step(now, id, entry, Event::Shutdown(cause)),
            (None, Some(primary_address)) if entry.can_run() => {
                self.step(now, id, entry, Event::Startup { primary_address });
            }
            _ => {}
        }
    }
}
