//! Plans carried out: macvlans, addresses, routes, then announcements and reports.

use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
    slice,
    time::Duration,
};

use vrrp_fsm::{
    Instant, Transition,
    fleet::{RouterId, VrrpRouter},
};

use super::{
    Driver, DriverEvent, Sweeping, announcements::Frames, host::Made, is_active, router::Router,
};
use crate::{
    Error, Outcome, VirtualAddress,
    plan::{Change, DUMMY, Kept, Thing, Wanted},
};

/// The number of changes that are made before the driver serves its sockets and timers again: about
/// a millisecond's work.
const PORTION: usize = 64;

/// Changes that take at least this long are reported. Usually they take a millisecond.
const HOLD_UP: Duration = Duration::from_millis(500);

/// The most changes of state of one router that wait to be reported.
const CHANGES: usize = 8;

/// The tasks of a router after all advertisements were sent. Its plan is made in any case.
#[derive(Debug, Default)]
pub(super) struct Task {
    /// The number of announcements of each address, if the router is Active then.
    repeat: u8,
    /// The changes of state to report.
    transitions: Transitions,
}

/// A change of state, and the number of those that were dropped before it.
type Reported = (Transition, u32);

/// Changes of state in their order. A single one, the usual case, needs no allocation: thousands of
/// routers may wait for their plans at the same time.
#[derive(Debug, Default)]
enum Transitions {
    #[default]
    None,
    One(Reported),
    Many(Vec<Reported>),
}

impl Transitions {
    fn as_slice(&self) -> &[Reported] {
        match self {
            Self::None => &[],
            Self::One(only) => slice::from_ref(only),
            Self::Many(all) => all,
        }
    }

    fn push(&mut self, last: Reported) {
        match self {
            Self::None => *self = Self::One(last),
            Self::One(first) => *self = Self::Many(vec![*first, last]),
            Self::Many(all) => all.push(last),
        }
    }

    fn last_mut(&mut self) -> Option<&mut Reported> {
        match self {
            Self::None => None,
            Self::One(only) => Some(only),
            Self::Many(all) => all.last_mut(),
        }
    }
}

/// The routers whose plan may have changed, in the order in which they were queued, each with its
/// task.
///
/// A router is in it once, however often it changes: the plan depends on its last state alone.
#[derive(Debug, Default)]
pub(super) struct Queue {
    routers: VecDeque<RouterId>,
    tasks: BTreeMap<RouterId, Task>,
}

impl Queue {
    /// Queues the plan of a router.
    pub(super) fn push(&mut self, id: RouterId) {
        self.task(id);
    }

    /// Queues announcements of the addresses of a router, `repeat` of each, if it is Active then.
    pub(super) fn announce(&mut self, id: RouterId, repeat: u8) {
        let task = self.task(id);
        task.repeat = task.repeat.max(repeat);
    }

    /// Reports a change of state, once the plan is carried out.
    pub(super) fn report(&mut self, id: RouterId, transition: Transition) {
        let task = self.task(id);
        let is_full = task.transitions.as_slice().len() >= CHANGES;
        match task.transitions.last_mut().filter(|_| is_full) {
            Some((last, overtaken)) => {
                *last = transition;
                *overtaken = overtaken.saturating_add(1);
            }
            None => task.transitions.push((transition, 0)),
        }
    }

    fn task(&mut self, id: RouterId) -> &mut Task {
        self.tasks.entry(id).or_insert_with(|| {
            self.routers.push_back(id);
            Task::default()
        })
    }

    /// Puts a task back that waits for another change.
    fn put_back(&mut self, id: RouterId, task: Task) {
        let own = self.task(id);
        own.repeat = own.repeat.max(task.repeat);
        let later = std::mem::replace(&mut own.transitions, task.transitions);
        for transition in later.as_slice() {
            own.transitions.push(*transition);
        }
    }

    /// Forgets a router. Its changes of state are not reported.
    pub(super) fn forget(&mut self, id: RouterId) {
        self.routers.retain(|it| *it != id);
        self.tasks.remove(&id);
    }

    fn pop(&mut self) -> Option<(RouterId, Task)> {
        let id = self.routers.pop_front()?;
        Some((id, self.tasks.remove(&id)?))
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.routers.is_empty()
    }

    pub(super) fn concerns(&self, id: RouterId) -> bool {
        self.tasks.contains_key(&id)
    }
}

/// The addresses, routes and macvlan that the host should have for a router.
pub(super) fn wanted<'a>(
    routers: &'a BTreeMap<RouterId, Box<Router>>,
    fleet: &VrrpRouter,
    id: RouterId,
) -> Option<Wanted<'a>> {
    Some(routers.get(&id)?.wanted(fleet.get(id)))
}

impl Driver {
    /// The addresses, routes and macvlan that the host should have for a router.
    pub(super) fn wanted(&self, id: RouterId) -> Option<Wanted<'_>> {
        wanted(&self.routers, &self.fleet, id)
    }

    /// Carries out a portion of the plans: first all changes, many to a system call, then the
    /// announcements and reports that wait for them.
    pub(super) fn install(&mut self, now: Instant) -> Result<(), Error> {
        if self.queue.is_empty() && !self.planner.has_former() {
            return Ok(());
        }
        let mut portion = Vec::new();
        let mut changes: Vec<Change> = Vec::new();
        let mut cost = 0;
        while cost < PORTION
            && let Some((id, task)) = self.queue.pop()
        {
            let get = |id| wanted(&self.routers, &self.fleet, id);
            let plan = self.planner.plan(now, id, &get, &self.host.actual);
            cost += self.cost(id, &plan);
            portion.push((id, task, plan.len()));
            changes.extend(plan);
        }
        if self.queue.is_empty() && self.planner.has_former() {
            let get = |id| wanted(&self.routers, &self.fleet, id);
            changes.extend(self.planner.plan_former(now, &get, &self.host.actual));
        }
        let results = self.host.make(&changes);
        self.report_hold_up(now);
        for event in self.host.take_subnet_events() {
            self.notify(None, event);
        }
        let results = match results {
            Ok(results) => results,
            Err(error) => {
                // The plans are made again after the part has rested.
                for (id, task, _) in portion {
                    self.queue.put_back(id, task);
                }
                self.host.dump_again(now);
                return Err(error);
            }
        };
        let mut done = changes.iter().zip(results);
        let mut frames = Vec::new();
        for (id, task, count) in portion {
            let mut creates = false;
            for (change, result) in done.by_ref().take(count) {
                creates |= matches!(change, Change::CreateMacvlan { .. }) && result.is_ok();
                self.on_result(now, Some(id), change, result);
            }
            self.give_up_unmarked(id);
            self.report_kept(now, id);
            if creates {
                self.queue.put_back(id, task);
            } else {
                self.finish(now, id, &task, &mut frames);
            }
        }
        for (change, result) in done {
            self.on_result(now, None, change, result);
        }
        if self.sweeping == Sweeping::Runs && !self.planner.has_former() {
            self.sweeping = Sweeping::Done;
        }
        self.send_announcements(&mut frames, now);
        Ok(())
    }

    /// The kernel sets a link down, or deletes it, only once no processor uses it any more, which
    /// takes milliseconds.
    fn cost(&self, id: RouterId, plan: &[Change]) -> usize {
        let is_slow = |change: &Change| {
            matches!(
                change,
                Change::SetDown { .. } | Change::DeleteLink { .. } | Change::CreateMacvlan { .. }
            )
        };
        if plan.iter().any(is_slow) {
            return PORTION;
        }
        let router = self.routers.get(&id);
        router.map_or(1, |router| {
            let config = &router.config;
            (config.addresses().len()
                + config.common().excluded.len()
                + config.common().routes.len())
            .max(1)
        })
    }

    /// Makes the macvlan of a router at once where there is none, because the router cannot start
    /// without it.
    pub(super) fn ensure_macvlan(&mut self, now: Instant, id: RouterId) {
        let needs_one = self.routers.get(&id).is_some_and(|router| {
            router.macvlan.is_some() && router.binding.is_some() && !router.is_shut_down
        });
        if !needs_one {
            return;
        }
        // The macvlan, then the settings of its parent.
        for _ in 0..2 {
            let get = |id| wanted(&self.routers, &self.fleet, id);
            let changes = self.planner.plan_macvlan(now, id, &get, &self.host.actual);
            if changes.is_empty() {
                return;
            }
            match self.host.make(&changes) {
                Ok(results) => {
                    for (change, result) in changes.iter().zip(results) {
                        self.on_result(now, Some(id), change, result);
                    }
                }
                Err(error) => {
                    tracing::error!(%id, %error, "a macvlan could not be made");
                    return;
                }
            }
        }
    }

    /// Queues the plan and the announcements of an Active.
    pub(super) fn install_and_announce(&mut self, now: Instant, id: RouterId) {
        if is_active(&self.fleet, id) {
            self.queue.push(id);
            // It fails for a router that does not exist.
            let _known = self.fleet.reannounce(now, id);
            self.collect(now);
        }
    }

    /// Reports changes of the host that have taken so long that advertisements may be late.
    fn report_hold_up(&mut self, since: Instant) {
        let now = self.now();
        let took = now - since;
        if took < HOLD_UP {
            return;
        }
        if let Some(suppressed) = self.events.pass_hold_up(now) {
            self.notify(None, DriverEvent::ChangesHeldUp { took, suppressed });
        }
    }

    /// Reports things that stay because another instance uses them, once each time. While the
    /// instances are being asked, the things in use are not known.
    pub(super) fn report_kept(&mut self, now: Instant, id: RouterId) {
        if self.instance.is_asking(now) {
            return;
        }
        let get = |id| wanted(&self.routers, &self.fleet, id);
        let kept = self.planner.kept(id, &get, &self.host.actual);
        let before = self.kept.remove(&id).unwrap_or_default();
        for new in kept.iter().filter(|it| !before.contains(it)) {
            let event = match new {
                Kept::Address(address) => DriverEvent::AddressKept(address.clone()),
                Kept::Route(route) => DriverEvent::RouteKept(route.clone()),
            };
            self.notify(Some(id), event);
        }
        if !kept.is_empty() {
            self.kept.insert(id, kept);
        }
    }

    /// Ends the claim of an ex-owner to addresses without our mark: it has taken over those that it
    /// had, and later ones are the host's.
    pub(super) fn give_up_unmarked(&mut self, id: RouterId) {
        let Some(mut wanted) = self.wanted(id).filter(|it| it.takes_unmarked) else {
            return;
        };
        wanted.takes_unmarked = false;
        if wanted.foreign(&self.host.actual).is_none()
            && self.host.actual.keeps_marks()
            && let Some(router) = self.routers.get_mut(&id)
        {
            router.takes_unmarked = false;
        }
    }

    /// Takes note of the result of a change.
    pub(super) fn on_result(
        &mut self,
        now: Instant,
        owner: Option<RouterId>,
        change: &Change,
        result: Result<Made, Error>,
    ) {
        match result {
            Ok(made) => self.on_made(now, owner, change, made),
            Err(error) => {
                self.planner.refused(now, owner, change);
                self.on_refused(owner, change, error);
            }
        }
    }

    fn on_made(&mut self, now: Instant, owner: Option<RouterId>, change: &Change, made: Made) {
        let has_changed = made.outcome == Outcome::Changed;
        let is_retried = self.planner.is_retried(owner, Thing::of(change));
        let router = owner.and_then(|id| self.routers.get_mut(&id));
        match change {
            Change::CreateMacvlan { .. } => {
                if let (Some(id), Some(router)) = (owner, router) {
                    if let Some(macvlan) = &mut router.macvlan {
                        macvlan.made = made.macvlan;
                        macvlan.refusal = None;
                    }
                    self.install_and_announce(now, id);
                }
                if self.instance.has_company() {
                    // Another instance may have made one with the same virtual MAC just now.
                    self.instance.ask(now);
                    self.instance.report_change();
                }
            }
            Change::QuietParent { .. } => {
                if let Some(macvlan) = router.and_then(|it| it.macvlan.as_mut()) {
                    macvlan.refusal = None;
                }
            }
            Change::AddAddress { .. } | Change::BeginProxy { .. } => {
                let Some(local) = local_of(change) else {
                    return;
                };
                let Some(router) = router else { return };
                router.note_installed();
                let address = router.all().find(|it| it.address() == local).cloned();
                if let (Some(id), Some(address)) = (owner, address)
                    && has_changed
                    && is_retried
                {
                    self.notify(owner, DriverEvent::AddressRestored(address));
                    // It fails for a router that was removed in the meantime.
                    let _known = self.fleet.reannounce(now, id);
                    self.collect(now);
                }
            }
            Change::AddRoute { route, .. } => {
                if let Some(router) = router {
                    router.note_installed();
                }
                if has_changed && is_retried && !route.discards() {
                    self.notify(owner, DriverEvent::RouteRestored(route.clone()));
                }
            }
            Change::RemoveAddress { address, .. } => {
                let left = VirtualAddress::new(address.address).with_prefix_len(address.prefix_len);
                if let Ok(address) = left
                    && has_changed
                    && address.address() != DUMMY
                    && router.map_or(self.sweeping == Sweeping::Runs, |it| it.finds_left_overs())
                {
                    self.notify(owner, DriverEvent::LeftOverRemoved(address));
                }
            }
            Change::RemoveRoute { route, .. } if route.discards() => {
                let is_left = router.is_some_and(|it| it.finds_left_overs());
                if has_changed && is_left {
                    let address = VirtualAddress::new(route.destination());
                    self.notify(owner, DriverEvent::LeftOverRemoved(address));
                }
            }
            Change::DeleteLink { .. }
            | Change::RestoreParent { .. }
            | Change::SetUp { .. }
            | Change::SetDown { .. }
            | Change::EndProxy { .. }
            | Change::RemoveRoute { .. } => {}
        }
    }

    fn on_refused(&mut self, owner: Option<RouterId>, change: &Change, error: Error) {
        let event = match change {
            Change::CreateMacvlan { .. } | Change::QuietParent { .. } => {
                let router = owner.and_then(|id| self.routers.get_mut(&id));
                if let Some(macvlan) = router.and_then(|it| it.macvlan.as_mut()) {
                    macvlan.refusal = Some(error.to_string());
                }
                return;
            }
            Change::DeleteLink { .. }
            | Change::RestoreParent { .. }
            | Change::SetUp { .. }
            | Change::SetDown { .. } => DriverEvent::VirtualMacFailed(error),
            Change::AddRoute { route, .. } | Change::RemoveRoute { route, .. }
                if !route.discards() =>
            {
                let route = route.clone();
                DriverEvent::RouteFailed { route, error }
            }
            _ => {
                let Some(local) = local_of(change) else {
                    return;
                };
                let router = owner.and_then(|id| self.routers.get(&id));
                let known = router.and_then(|it| it.all().find(|it| it.address() == local));
                let address = known.cloned().unwrap_or_else(|| VirtualAddress::new(local));
                DriverEvent::AddressFailed { address, error }
            }
        };
        self.notify(owner, event);
    }

    /// Announces and reports, once the plan of a router is carried out.
    fn finish(&mut self, now: Instant, id: RouterId, task: &Task, frames: &mut Frames) {
        if task.repeat > 0 && is_active(&self.fleet, id) {
            self.announce(now, id, task.repeat, frames);
        }
        for &(transition, overtaken) in task.transitions.as_slice() {
            self.send_announcements(frames, now);
            if overtaken > 0 {
                let event = DriverEvent::ChangesOvertaken { changes: overtaken };
                self.notify(Some(id), event);
            }
            let transition = match self.routers.get_mut(&id) {
                Some(router) => router.report(transition),
                None => transition,
            };
            self.notify(Some(id), DriverEvent::StateChanged(transition));
            if let Some(group) = self.fleet.group_with(id) {
                self.notify_group(group);
            }
        }
    }
}

/// The address that a change is about.
const fn local_of(change: &Change) -> Option<IpAddr> {
    match change {
        Change::AddAddress { address, .. } => Some(address.address()),
        Change::RemoveAddress { address, .. } => Some(address.address),
        Change::BeginProxy { address, .. } | Change::EndProxy { address, .. } => Some(*address),
        Change::AddRoute { route, .. } | Change::RemoveRoute { route, .. } => {
            Some(route.destination())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use vrrp_fsm::{Reason, State};

    use super::*;

    const ID: RouterId = RouterId::nth(7);

    const fn transition(from: State, to: State, reason: Reason) -> Transition {
        Transition { from, to, reason }
    }

    fn take_over(queue: &mut Queue, repeat: u8) {
        queue.push(ID);
        queue.announce(ID, repeat);
        queue.report(
            ID,
            transition(State::Backup, State::Active, Reason::ActiveDown),
        );
    }

    fn yield_to_another(queue: &mut Queue) {
        queue.push(ID);
        queue.report(
            ID,
            transition(State::Active, State::Backup, Reason::HigherPriority),
        );
    }

    #[test]
    fn a_router_waits_once_with_the_most_announcements_that_were_asked_for() {
        let mut queue = Queue::default();
        take_over(&mut queue, 5);
        queue.push(ID);
        queue.announce(ID, 2);
        assert!(queue.concerns(ID) && !queue.is_empty());
        let (_, task) = queue.pop().unwrap();
        assert_eq!((task.repeat, task.transitions.as_slice().len()), (5, 1));
        assert!(!queue.concerns(ID) && queue.is_empty());
    }

    #[test]
    fn a_task_that_is_put_back_is_reported_before_later_changes() {
        let mut queue = Queue::default();
        take_over(&mut queue, 5);
        let (_, task) = queue.pop().unwrap();
        yield_to_another(&mut queue);
        queue.put_back(ID, task);
        let (_, task) = queue.pop().unwrap();
        let to: Vec<_> = task
            .transitions
            .as_slice()
            .iter()
            .map(|it| it.0.to)
            .collect();
        assert_eq!(to, [State::Active, State::Backup]);
        assert_eq!(task.repeat, 5);
    }

    #[test]
    fn rapid_transitions_are_coalesced_and_counted() {
        let mut queue = Queue::default();
        for _ in 0..1000 {
            take_over(&mut queue, 5);
            yield_to_another(&mut queue);
        }
        let (_, task) = queue.pop().unwrap();
        let transitions = task.transitions.as_slice();
        assert!(transitions.len() <= CHANGES);
        let reported = transitions.iter().map(|(_, overtaken)| 1 + overtaken);
        let last = transitions.last().map(|(it, _)| it.to);
        assert_eq!((reported.sum(), last), (2000_u32, Some(State::Backup)));
        assert!(queue.pop().is_none());
    }
}
