//! The slow part of what the state machines ask for: macvlans, addresses, routes, and announcements.

use std::{
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, Ipv4Addr},
};

use vrrp_fsm::{Instant, State, Transition, VirtualRouter, fleet::RouterId};
use vrrp_proto::{
    Family,
    frame::{arp, neighbor},
};

use super::{
    Driver, DriverEvent,
    events::Topic,
    is_active,
    router::{Held, Router},
};
use crate::{
    ADDRESS_PROTOCOL, AddressChange, Change, Error, Interface, InterfaceAddress, Interfaces,
    LinkChange, Outcome, Route, RouteChange, Scope, VirtualAddress,
    kernel::{resolution_frame::ResolutionFrame, sys::describe_interface},
};

/// Addresses and routes that are worked on before the driver looks at its sockets and timers again: a millisecond's work.
const PORTION: usize = 64;

/// Something to be done for a router once all advertisements are out.
#[derive(Clone, Debug)]
pub(super) enum Work {
    /// Put its addresses in place, then its routes; what is there already stays.
    Install,
    /// Put back those that are lost and may be put back.
    Repair,
    /// Take its routes away, then its addresses.
    Remove {
        /// They were there before the router was.
        left_over: bool,
    },
    /// Take something away that is no longer the router's, from an interface that may no longer be the router's. In a box, because it is
    /// rare, and others wait by the thousand.
    Withdraw(Box<Step>),
    /// Announce its addresses, each so often.
    Announce { repeat: u8 },
    /// Tell that its state has changed.
    Tell {
        transition: Transition,
        /// So many changes before it were overtaken, and are not told.
        overtaken: u32,
    },
}

/// What waits to be done: the routers in the order in which they came, and for each what it needs.
///
/// Where routers change their states faster than their addresses can follow, what one change asks for stands for what those before it did, so
/// that no more waits for a router than this.
#[derive(Debug, Default)]
pub(super) struct WorkQueue {
    routers: VecDeque<RouterId>,
    waiting: BTreeMap<RouterId, Vec<Work>>,
}

/// Changes of state of one router that wait to be told, at the most.
const CHANGES: usize = 8;

impl WorkQueue {
    pub(super) fn push(&mut self, id: RouterId, work: Work) {
        let waiting = self.waiting.entry(id).or_insert_with(|| {
            self.routers.push_back(id);
            Vec::new()
        });
        merge(waiting, work);
    }

    /// All that waits for the router whose turn it is.
    fn pop(&mut self) -> Option<(RouterId, Vec<Work>)> {
        let id = self.routers.pop_front()?;
        Some((id, self.waiting.remove(&id)?))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.routers.is_empty()
    }

    pub(super) fn concerns(&self, id: RouterId) -> bool {
        self.waiting.contains_key(&id)
    }
}

/// Adds to what waits for a router, and drops what is overtaken. The state decides in the end what is put in place, so that the first of several
/// that ask for the same will do.
fn merge(waiting: &mut Vec<Work>, mut work: Work) {
    match &mut work {
        Work::Install => {
            if waiting.iter().any(|it| matches!(it, Work::Install)) {
                return;
            }
            waiting.retain(|it| !matches!(it, Work::Repair | Work::Remove { .. }));
        }
        Work::Repair => {
            if waiting
                .iter()
                .any(|it| matches!(it, Work::Install | Work::Repair))
            {
                return;
            }
        }
        Work::Remove { left_over } => waiting.retain(|it| match it {
            Work::Install | Work::Repair | Work::Announce { .. } => false,
            Work::Remove { left_over: too } => {
                *left_over |= *too;
                false
            }
            Work::Withdraw(_) | Work::Tell { .. } => true,
        }),
        Work::Announce { repeat } => {
            for it in waiting.iter_mut() {
                if let Work::Announce { repeat: before } = it {
                    *before = (*before).max(*repeat);
                    return;
                }
            }
        }
        Work::Tell { overtaken, .. } => {
            let changes = || waiting.iter().enumerate().filter_map(change);
            if changes().count() >= CHANGES
                && let Some((place, before)) = changes().next_back()
            {
                *overtaken = before.saturating_add(1);
                waiting.remove(place);
            }
        }
        Work::Withdraw(_) => {}
    }
    waiting.push(work);
}

/// The place of a change of state, and how many were overtaken before it.
const fn change((place, work): (usize, &Work)) -> Option<(usize, u32)> {
    match work {
        Work::Tell { overtaken, .. } => Some((place, *overtaken)),
        _ => None,
    }
}

/// A change on behalf of a router.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// The macvlan goes up or down.
    Link { interface: u32, up: bool },
    /// The host gets an address, or has it no longer.
    Address {
        interface: u32,
        address: VirtualAddress,
        add: bool,
    },
    /// The host begins to answer for an address that it does not have, and to discard what is sent to it, or ends it.
    Answer {
        interface: u32,
        address: VirtualAddress,
        discard: Route,
        add: bool,
    },
    /// A route comes or goes.
    Route {
        interface: Option<u32>,
        route: Route,
        add: bool,
    },
}

impl Step {
    /// Puts an address in place on an interface, or takes it away.
    fn of_address(interface: u32, held: &Held, is_answered: bool, add: bool) -> Self {
        let address = held.address.clone();
        if is_answered {
            Self::Answer {
                interface,
                discard: Route::discard(address.address()),
                address,
                add,
            }
        } else {
            Self::Address {
                interface,
                address,
                add,
            }
        }
    }

    /// Takes an address away in the form in which it is in place.
    pub(super) fn take_away(interface: u32, held: &Held) -> Self {
        Self::of_address(interface, held, held.is_answered, false)
    }

    /// Takes an address away from an interface in the form in which it is there.
    pub(super) fn clear(interface: &Interface, own: &InterfaceAddress) -> Option<Self> {
        let address = VirtualAddress::new(own.address).with_prefix_len(own.prefix_len);
        Some(Self::Address {
            interface: interface.link.index,
            address: address.ok()?,
            add: false,
        })
    }

    const fn change(&self) -> Change<'_> {
        match *self {
            Self::Link {
                interface,
                up: true,
            } => Change::Link(LinkChange::Up { interface }),
            Self::Link {
                interface,
                up: false,
            } => Change::Link(LinkChange::Down { interface }),
            Self::Address {
                interface,
                ref address,
                add: true,
            } => Change::Address(AddressChange::Add { interface, address }),
            Self::Address {
                interface,
                ref address,
                add: false,
            } => Change::Address(AddressChange::Remove { interface, address }),
            Self::Answer {
                discard: ref route,
                add,
                ..
            } => route_change(None, route, add),
            Self::Route {
                interface,
                ref route,
                add,
            } => route_change(interface, route, add),
        }
    }
}

const fn route_change(interface: Option<u32>, route: &Route, add: bool) -> Change<'_> {
    Change::Route(if add {
        RouteChange::Add { interface, route }
    } else {
        RouteChange::Remove { interface, route }
    })
}

impl Driver {
    /// Does a portion of the work: first all changes, many to a system call, then what had to wait for them.
    pub(super) fn do_some_work(&mut self, now: Instant) -> Result<(), Error> {
        if self.work.is_empty() {
            return Ok(());
        }
        let mut portion = Vec::new();
        let mut steps: Vec<Step> = Vec::new();
        let mut cost = 0;
        while cost < PORTION
            && let Some((id, works)) = self.work.pop()
        {
            let Some(router) = self.routers.get_mut(&id) else {
                continue;
            };
            let machine = self.fleet.get(id);
            for work in works {
                cost += match (&work, &router.macvlan) {
                    // The kernel sets a link down only once no processor uses it any more, which takes milliseconds.
                    (Work::Remove { .. }, Ok(_)) => PORTION,
                    _ => (router.held.len() + router.routes.len()).max(1),
                };
                let before = steps.len();
                plan(router, machine, &work, &self.interfaces, &mut steps);
                portion.push((id, work, steps.len() - before));
            }
        }
        let changes: Vec<_> = steps.iter().map(Step::change).collect();
        let results = self.netlink.apply(&changes)?;
        let mut done = steps.into_iter().zip(results);

        let mut frames = Vec::new();
        for (id, work, count) in portion {
            for (step, result) in done.by_ref().take(count) {
                self.settle(id, &work, step, result, now);
            }
            match work {
                Work::Announce { repeat } => {
                    if let Some(router) = self.routers.get(&id)
                        && is_active(&self.fleet, id)
                    {
                        announce(id, router, repeat, &self.interfaces, &mut frames);
                    }
                }
                Work::Tell {
                    transition,
                    overtaken,
                } => {
                    self.send_announcements(&mut frames, now);
                    if overtaken > 0 {
                        self.notify(
                            Some(id),
                            DriverEvent::ChangesOvertaken { changes: overtaken },
                        );
                    }
                    let transition = self.events.record_state(id, transition);
                    self.notify(Some(id), DriverEvent::StateChanged(transition));
                    if let Some(group) = self.fleet.group_with(id) {
                        self.tell_group(group);
                    }
                }
                Work::Install | Work::Repair | Work::Remove { .. } | Work::Withdraw(_) => {}
            }
        }
        self.send_announcements(&mut frames, now);
        Ok(())
    }

    /// Takes note of what became of a step.
    fn settle(
        &mut self,
        id: RouterId,
        work: &Work,
        step: Step,
        result: Result<Outcome, Error>,
        now: Instant,
    ) {
        match step {
            Step::Link { up, .. } => {
                if let Err(error) = result {
                    if up {
                        self.try_again(now, id);
                    }
                    self.notify(Some(id), DriverEvent::VirtualMacFailed(error));
                }
            }
            Step::Route { route, add, .. } => self.settle_route(id, work, route, add, result, now),
            Step::Address { address, add, .. } => {
                self.settle_address(id, work, address, (false, add), result, now);
            }
            Step::Answer {
                interface,
                address,
                add,
                ..
            } => {
                let result = result.and_then(|outcome| {
                    self.answer(interface, address.address(), add)?;
                    Ok(outcome)
                });
                self.settle_address(id, work, address, (true, add), result, now);
            }
        }
    }

    /// Begins to answer for an address, in the name of the station that the interface is, or ends it.
    fn answer(&mut self, interface: u32, address: IpAddr, add: bool) -> Result<(), Error> {
        if !add {
            self.answers.end(interface, address);
            return Ok(());
        }
        let interfaces = &self.interfaces;
        match interfaces.get(interface).and_then(|it| it.link.mac) {
            Some(mac) => self.answers.begin(interface, address, mac),
            // There is nobody to ask.
            None => Ok(()),
        }
    }

    fn settle_address(
        &mut self,
        id: RouterId,
        work: &Work,
        address: VirtualAddress,
        (is_answered, added): (bool, bool),
        result: Result<Outcome, Error>,
        now: Instant,
    ) {
        let Some(router) = self.routers.get_mut(&id) else {
            return;
        };
        let held = router.held.iter_mut().find(|held| held.address == address);
        match (held, &result) {
            (Some(held), Ok(_)) if added => {
                held.standing.installed = true;
                held.is_answered = is_answered;
            }
            // What an earlier run left in the other form is not what is in place.
            (Some(held), Ok(_)) if held.is_answered == is_answered && !held.is_native => {
                held.standing.installed = false;
                held.is_answered = false;
            }
            (Some(held), Err(_)) if added => {
                self.repairs.insert((held.standing.lose(now), id));
            }
            (None, Ok(_)) if added => return,
            _ => {}
        }
        match (result, work) {
            (Ok(Outcome::Changed), Work::Repair) => {
                self.notify(Some(id), DriverEvent::AddressRestored(address));
                // It fails for a router that was removed meanwhile, which has nothing to announce.
                let _known = self.fleet.reannounce(now, id);
                self.collect(now);
            }
            (Ok(Outcome::Changed), Work::Remove { left_over: true }) => {
                self.notify(Some(id), DriverEvent::LeftOverRemoved(address));
            }
            (Ok(_), _) => {}
            (Err(error), _) => {
                self.notify(Some(id), DriverEvent::AddressFailed { address, error });
            }
        }
    }

    fn settle_route(
        &mut self,
        id: RouterId,
        work: &Work,
        route: Route,
        added: bool,
        result: Result<Outcome, Error>,
        now: Instant,
    ) {
        let Some(router) = self.routers.get_mut(&id) else {
            return;
        };
        let held = router.routes.iter_mut().find(|held| held.route == route);
        match (held, &result) {
            (Some(held), Ok(_)) => held.standing.installed = added,
            (Some(held), Err(_)) if added => {
                self.repairs.insert((held.standing.lose(now), id));
            }
            _ => {}
        }
        match (result, work) {
            (Ok(Outcome::Changed), Work::Repair) => {
                self.notify(Some(id), DriverEvent::RouteRestored(route));
            }
            (Ok(_), _) => {}
            (Err(error), _) => self.notify(Some(id), DriverEvent::RouteFailed { route, error }),
        }
    }

    fn send_announcements(
        &mut self,
        frames: &mut Vec<(RouterId, u32, ResolutionFrame)>,
        now: Instant,
    ) {
        let mut refused = Vec::new();
        self.frames.send(
            frames
                .iter()
                .map(|(_, interface, frame)| (*interface, frame.octets())),
            |place, error| refused.push((place, error)),
        );
        for (place, error) in refused {
            let Some(&(id, interface, _)) = frames.get(place) else {
                continue;
            };
            let Some(suppressed) = self.events.pass(now, id, Topic::AnnounceFailed) else {
                continue;
            };
            let action = format!(
                "announce a virtual address on {}",
                describe_interface(interface)
            );
            let error = Error::os(action)(error);
            self.notify(Some(id), DriverEvent::AnnounceFailed { error, suppressed });
        }
        frames.clear();
    }
}

/// What a piece of work changes. What the state has overtaken in the meantime is left out: the state is what has to be.
///
/// A macvlan goes up before anything is put on it, and down before anything is taken from it: a Backup is silent at once, also with what
/// the kernel would say about groups that it leaves.
fn plan(
    router: &mut Router,
    machine: Option<&VirtualRouter>,
    work: &Work,
    interfaces: &Interfaces,
    steps: &mut Vec<Step>,
) {
    if let Work::Withdraw(step) = work {
        steps.push(Step::clone(step));
    }
    let (station, interface) = (router.station(), router.interface());
    let is_active = machine.is_some_and(|machine| machine.state() == State::Active);
    let is_answered = !router.accepts(machine);
    match work {
        Work::Install | Work::Repair if is_active => {
            let (Some(station), Some(interface)) = (station, interface) else {
                return;
            };
            if router.macvlan.is_ok() {
                steps.push(link(station, true));
                if is_answered && router.family() == Family::Ipv4 {
                    steps.push(dummy(station, true));
                }
            }
            let is_meant = |was_under_repair| matches!(work, Work::Install) || was_under_repair;
            for held in router.held.iter_mut().filter(|held| !held.is_native) {
                if is_meant(std::mem::take(&mut held.standing.is_under_repair)) {
                    if held.standing.installed && held.is_answered != is_answered {
                        steps.push(Step::take_away(station, held));
                    }
                    steps.push(Step::of_address(station, held, is_answered, true));
                }
            }
            for held in &mut router.routes {
                if is_meant(std::mem::take(&mut held.standing.is_under_repair)) {
                    steps.push(of_route(Some(interface), &held.route, interfaces, true));
                }
            }
        }
        // Also without an interface, because routes and drop routes do not all go with it.
        Work::Remove { left_over } if !is_active => {
            for held in &mut router.routes {
                held.standing.give_up_repair();
                if held.standing.installed || *left_over {
                    steps.push(of_route(interface, &held.route, interfaces, false));
                }
            }
            if router.macvlan.is_ok()
                && let Some(station) = station
            {
                steps.extend([link(station, false), dummy(station, false)]);
            }
            if *left_over && let Some(interface) = station.and_then(|it| interfaces.get(it)) {
                steps.extend(of_other_prefixes(router, interface));
            }
            let station = station.unwrap_or(NONE);
            for held in &mut router.held {
                held.standing.give_up_repair();
                // A drop route would be in the way of the address.
                if *left_over && !held.is_native {
                    steps.push(Step::of_address(station, held, true, false));
                }
                if held.is_added() {
                    steps.push(Step::take_away(station, held));
                }
            }
        }
        Work::Install
        | Work::Repair
        | Work::Remove { .. }
        | Work::Withdraw(_)
        | Work::Announce { .. }
        | Work::Tell { .. } => {}
    }
}

/// An address that stands for none (RFC 7600): on a macvlan without any, the kernel would drop what comes from elsewhere than the interface
/// that leads back, however loosely `rp_filter` is set.
pub(super) const DUMMY: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 0, 8));

/// No interface has this index, so that the kernel says that there is none.
const NONE: u32 = i32::MAX.cast_unsigned();

const fn link(interface: u32, up: bool) -> Step {
    Step::Link { interface, up }
}

const fn dummy(interface: u32, add: bool) -> Step {
    Step::Address {
        interface,
        address: VirtualAddress::new(DUMMY).with_scope(Scope::Host),
        add,
    }
}

/// Takes away what an earlier run has left of the addresses with other prefix lengths than they have now.
fn of_other_prefixes(router: &Router, interface: &Interface) -> impl Iterator<Item = Step> {
    let is_left = |own: &&InterfaceAddress| {
        own.protocol == ADDRESS_PROTOCOL
            && router
                .held
                .iter()
                .any(|held| held.address.address() == own.address && !held.address.is_at(own))
    };
    let left = interface.addresses.iter().filter(is_left);
    left.filter_map(|own| Step::clear(interface, own))
}

/// Adds a route, or removes it.
fn of_route(own: Option<u32>, route: &Route, interfaces: &Interfaces, add: bool) -> Step {
    let interface = match (route.interface(), route.gateway()) {
        (Some(name), _) => {
            let interface = interfaces.named(name);
            Some(interface.map_or(NONE, |interface| interface.link.index))
        }
        (None, Some(_)) => None,
        (None, None) => own,
    };
    Step::Route {
        interface,
        route: route.clone(),
        add,
    }
}

/// The frames that announce the addresses of an Active: those that are in place, each once, and all of that so often.
fn announce(
    id: RouterId,
    router: &Router,
    repeat: u8,
    interfaces: &Interfaces,
    frames: &mut Vec<(RouterId, u32, ResolutionFrame)>,
) {
    let Some(interface) = router.station().and_then(|index| interfaces.get(index)) else {
        return;
    };
    // Without a hardware address there is nobody to tell.
    let Some(mac) = interface.link.mac else {
        return;
    };
    for _ in 0..repeat {
        for held in router.held.iter().filter(|held| held.standing.installed) {
            let frame = match held.address.address() {
                IpAddr::V4(address) => ResolutionFrame::Arp(arp::gratuitous(
                    mac,
                    address,
                    router.config.gratuitous_arp,
                )),
                // From the address itself (AMB-17).
                IpAddr::V6(address) => {
                    ResolutionFrame::Neighbor(neighbor::unsolicited(mac, address, address))
                }
            };
            frames.push((id, interface.link.index, frame));
        }
    }
}

#[cfg(test)]
mod tests {
    use vrrp_fsm::{Config, Reason, fleet::Member};
    use vrrp_proto::Vrid;

    use super::*;

    fn id() -> RouterId {
        let config = Config::new(Vrid::new(51).unwrap(), Family::Ipv4);
        let mut fleet = vrrp_fsm::fleet::VrrpRouter::new();
        fleet.add(Instant::ZERO, Member::new(1, config)).unwrap()
    }

    const fn tell(from: State, to: State, reason: Reason) -> Work {
        Work::Tell {
            transition: Transition { from, to, reason },
            overtaken: 0,
        }
    }

    /// What a takeover asks for.
    fn take_over(queue: &mut WorkQueue, repeat: u8) {
        queue.push(id(), Work::Install);
        queue.push(id(), Work::Announce { repeat });
        queue.push(id(), tell(State::Backup, State::Active, Reason::ActiveDown));
    }

    fn yield_to_another(queue: &mut WorkQueue) {
        queue.push(id(), Work::Remove { left_over: false });
        queue.push(
            id(),
            tell(State::Active, State::Backup, Reason::HigherPriority),
        );
    }

    #[test]
    fn work_that_does_not_change_its_mind_is_done_in_order() {
        let mut queue = WorkQueue::default();
        take_over(&mut queue, 5);
        queue.push(id(), Work::Install);
        queue.push(id(), Work::Announce { repeat: 2 });
        assert!(queue.concerns(id()) && !queue.is_empty());
        let (_, works) = queue.pop().unwrap();
        assert!(
            matches!(
                works[..],
                [
                    Work::Install,
                    Work::Announce { repeat: 5 },
                    Work::Tell { overtaken: 0, .. }
                ]
            ),
            "{works:?}"
        );
        assert!(!queue.concerns(id()) && queue.is_empty());
    }

    #[test]
    fn what_is_overtaken_does_not_wait() {
        let mut queue = WorkQueue::default();
        queue.push(id(), Work::Remove { left_over: true });
        queue.push(id(), Work::Repair);
        yield_to_another(&mut queue);
        let (_, works) = queue.pop().unwrap();
        assert!(
            matches!(
                works[..],
                [Work::Remove { left_over: true }, Work::Tell { .. }]
            ),
            "{works:?}"
        );
        yield_to_another(&mut queue);
        take_over(&mut queue, 1);
        let (_, works) = queue.pop().unwrap();
        assert!(
            matches!(
                works[..],
                [
                    Work::Tell { .. },
                    Work::Install,
                    Work::Announce { .. },
                    Work::Tell { .. }
                ]
            ),
            "{works:?}"
        );
    }

    #[test]
    fn however_often_a_router_changes_little_waits_and_what_is_not_told_is_counted() {
        let mut queue = WorkQueue::default();
        for _ in 0..1000 {
            take_over(&mut queue, 5);
            yield_to_another(&mut queue);
        }
        let (_, works) = queue.pop().unwrap();
        assert!(works.len() <= CHANGES + 1, "{works:?}");
        let mut told = 0;
        let mut last = None;
        for work in &works {
            if let Work::Tell {
                transition,
                overtaken,
            } = work
            {
                told += 1 + overtaken;
                last = Some(transition.to);
            }
        }
        assert_eq!((told, last), (2000, Some(State::Backup)));
        assert!(queue.pop().is_none());
    }
}
