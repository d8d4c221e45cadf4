//! Notifications on their way to the program, and the states of groups reported last.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::{Duration, SystemTime},
};

use vrrp_fsm::{
    Instant, State,
    fleet::{GroupId, RouterId},
};

use super::notification::{DriverEvent, Notification, Subject};

/// The most notifications that wait for the program. So a program that never reads them does not
/// make the driver grow.
const CAPACITY: usize = 1 << 16;

/// The pause between two notifications of one kind for one router (O-03).
const PAUSE: Duration = Duration::from_secs(5);

/// A kind of notification that every packet can cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Topic {
    Discarded,
    IntervalDiffers,
    AddressListDiffers,
    OwnerConflict,
    ClockSkew,
    RivalDetected,
    RivalDiscarded,
    SendFailed,
    AnnounceFailed,
}

/// The queue of notifications, the rate limits, and the states of groups that were reported last.
#[derive(Debug, Default)]
pub(super) struct Events {
    queue: VecDeque<Notification>,
    last_sequence: u64,
    /// Notifications that were dropped unread since the last one that was read.
    dropped: u64,
    /// Whether something was queued since the last turn.
    has_new: bool,
    /// The limiters of routers and kinds that were limited once: most routers never are.
    limiters: HashMap<(RouterId, Topic), Limiter>,
    /// The limiter of [`DriverEvent::ChangesHeldUp`].
    held_up: Limiter,
    group_states: BTreeMap<GroupId, State>,
}

impl Events {
    /// Continues after the notifications of a predecessor.
    pub(super) fn continue_after(&mut self, sequence: u64) {
        self.last_sequence = sequence;
    }

    /// The number of the last notification.
    pub(super) const fn last_sequence(&self) -> u64 {
        self.last_sequence
    }

    /// Queues a notification.
    pub(super) fn push(
        &mut self,
        router: Option<RouterId>,
        subject: Option<Subject>,
        event: DriverEvent,
    ) {
        if self.queue.len() >= CAPACITY {
            self.queue.pop_front();
            self.dropped += 1;
        }
        // A predecessor may have claimed any number.
        self.last_sequence = self.last_sequence.saturating_add(1);
        self.has_new = true;
        self.queue.push_back(Notification {
            sequence: self.last_sequence,
            time: SystemTime::now(),
            router,
            subject,
            event,
        });
    }

    /// Takes the next notification from the queue.
    pub(super) fn pop(&mut self) -> Option<Notification> {
        if self.dropped > 0 {
            let notifications = std::mem::take(&mut self.dropped);
            let next = self.queue.front()?;
            return Some(Notification {
                sequence: next.sequence.saturating_sub(1),
                time: next.time,
                router: None,
                subject: None,
                event: DriverEvent::NotificationsLost { notifications },
            });
        }
        self.queue.pop_front()
    }

    /// Whether something was queued since the last turn.
    pub(super) const fn has_new(&self) -> bool {
        self.has_new
    }

    /// Notes the end of a turn: the program reads the queue next.
    pub(super) fn end_turn(&mut self) {
        self.has_new = false;
    }

    /// Asks whether a notification of this kind may be queued for this router now. Returns the
    /// number of suppressed ones before it.
    pub(super) fn pass(&mut self, now: Instant, id: RouterId, topic: Topic) -> Option<u32> {
        self.limiters.entry((id, topic)).or_default().pass(now)
    }

    /// Asks whether a hold-up by the kernel may be reported now: as [`pass`](Self::pass).
    pub(super) fn pass_hold_up(&mut self, now: Instant) -> Option<u32> {
        self.held_up.pass(now)
    }

    /// Notes the state of a group. Returns the state that was reported before.
    pub(super) fn record_group_state(&mut self, id: GroupId, state: State) -> Option<State> {
        self.group_states.insert(id, state)
    }

    /// Forgets a router that was removed.
    pub(super) fn forget_router(&mut self, id: RouterId) {
        self.limiters.retain(|(router, _), _| *router != id);
    }

    /// Forgets a group that was removed.
    pub(super) fn forget_group(&mut self, id: GroupId) {
        self.group_states.remove(&id);
    }
}

/// Passes one of many equal notifications.
#[derive(Debug, Default)]
struct Limiter {
    not_before: Option<Instant>,
    suppressed: u32,
}

impl Limiter {
    fn pass(&mut self, now: Instant) -> Option<u32> {
        if self.not_before.is_some_and(|not_before| now < not_before) {
            self.suppressed = self.suppressed.saturating_add(1);
            return None;
        }
        self.not_before = Some(now + PAUSE);
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn o_03_notifications_of_packets_are_rate_limited_per_router_and_kind() {
        let mut events = Events::default();
        let [one, two] = [0, 1].map(RouterId::nth);
        let start = Instant::from_nanos(7);
        assert_eq!(events.pass(start, one, Topic::Discarded), Some(0));
        for _ in 0..3 {
            let soon = start + Duration::from_secs(4);
            assert_eq!(events.pass(soon, one, Topic::Discarded), None);
        }
        assert_eq!(events.pass(start, two, Topic::Discarded), Some(0));
        assert_eq!(events.pass(start, one, Topic::RivalDetected), Some(0));
        let later = start + PAUSE;
        assert_eq!(events.pass(later, one, Topic::Discarded), Some(3));
        assert_eq!(events.pass(later, one, Topic::Discarded), None);
        events.forget_router(one);
        assert_eq!(
            events.limiters.len(),
            1,
            "nothing stays of a removed router"
        );
        assert_eq!(events.pass(later, one, Topic::Discarded), Some(0));
    }

    #[test]
    fn notifications_that_nobody_reads_are_dropped_and_counted() {
        let mut events = Events::default();
        let more = 3;
        for _ in 0..CAPACITY + more {
            events.push(None, None, DriverEvent::Overrun);
        }
        assert_eq!(events.queue.len(), CAPACITY);
        let lost = events.pop().unwrap();
        assert!(
            matches!(
                lost.event,
                DriverEvent::NotificationsLost { notifications: 3 }
            ),
            "{lost:?}"
        );
        // The numbers show the gap too.
        assert_eq!(lost.sequence, 3);
        let mut rest = 0;
        while let Some(next) = events.pop() {
            rest += 1;
            assert_eq!(next.sequence, lost.sequence + rest);
        }
        assert_eq!(rest, CAPACITY as u64);
    }

    #[test]
    fn a_turn_is_due_only_for_notifications_since_the_last_one() {
        let mut events = Events::default();
        events.push(None, None, DriverEvent::Overrun);
        assert!(events.has_new());
        events.end_turn();
        assert!(
            !events.has_new(),
            "a program that does not read them would spin"
        );
    }
}
