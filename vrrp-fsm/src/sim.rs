//! Fleets on a hostile network in simulated time. The same seed gives the same run on every
//! platform.
//!
//! The hosts run the real [`VrrpRouter`]. They send encoded messages, and receive messages through
//! every check. A run needs a [`Scenario`] and a seed:
//!
//! ```
//! use core::time::Duration;
//! use vrrp_fsm::{
//!     Instant,
//!     fleet::VrrpRouter,
//!     sim::{Chance, Occurrence, Rate, Scenario, Simulation},
//! };
//!
//! let mut scenario = Scenario::uniform(3, 10)?;
//! scenario.faults.until = Instant::ZERO + Duration::from_secs(60);
//! scenario.faults.loss = Chance::per_million(20_000)?;
//! let (every, longest) = (Duration::from_secs(20), Duration::from_secs(10));
//! scenario.faults.crash = Some(Rate { every, longest });
//!
//! let mut simulation = Simulation::<VrrpRouter>::new(&scenario, 7)?;
//! let mut violations = Vec::new();
//! simulation.run_until(Instant::ZERO + Duration::from_secs(90), &mut |at, occurrence| {
//!     if let Occurrence::Violated(violation) = occurrence {
//!         violations.push(format!("{at}: {violation}"));
//!     }
//! });
//! assert!(violations.is_empty(), "{violations:?}");
//! # Ok::<(), vrrp_fsm::sim::ScenarioError>(())
//! ```
//!
//! | to do this | use |
//! |---|---|
//! | define the network | [`Scenario`]: [`HostPlan`]s, [`Network`], [`FaultRates`] |
//! | run it | [`Simulation::step`], [`Simulation::run_until`] |
//! | observe | an [observer](Observer), called for each [`Occurrence`]; their lines of text are the trace of the run |
//! | find violations | [`Occurrence::Violated`]: a [`Property`] did not hold |
//! | repeat a run | the seed; or a [`Trace`] with [`Simulation::replay`], an editable list of faults |
//! | minimise a violation | [`minimise`] leaves out faults while the violation remains |
//! | use unicast, authenticate | [`Scenario::use_unicast`], [`Scenario::use_authentication`], [`Secrets`] |
//! | write a pcap file | [`Packet::frame`] of each [`Occurrence::Sent`] and [`Announcement::frames`] of each [`Occurrence::Announced`] |
//! | test your own host | implement [`Host`] |
//!
//! `docs/simulation.md` describes which property holds under which faults.

mod addresses;
mod announcement;
mod authentication;
mod fault;
mod frame;
mod host;
mod monitor;
mod neighbors;
mod packet;
mod property;
mod random;
mod scenario;
mod schedule;
mod trace;
mod wire;

use alloc::{collections::BTreeMap, sync::Arc, vec, vec::Vec};
use core::{fmt, time::Duration};

use vrrp_proto::{Discard, Endpoints, IpHeader, Protection, TTL};

pub use addresses::primary_address;
use addresses::virtual_addresses;
pub use announcement::Announcement;
pub use authentication::Secrets;
pub use fault::{Condition, Delivery, Fault, TraceSyntax};
pub use host::Host;
use host::{Copy, Input, Node, Wanted};
use monitor::Monitor;
pub use packet::Packet;
pub use property::{Property, Violation};
pub use scenario::{
    Chance, FaultRates, HostPlan, Network, Rate, Scenario, ScenarioError, TrackedObject,
};
use schedule::{Fate, Kind, Source};
pub use trace::{Trace, minimise};
use wire::Wire;

use crate::{
    Action, Deadlines, Instant, Outgoing, Transition,
    fleet::{FleetChange, FleetSnapshot, MessageTransport, RouterId, RouterKey, VrrpRouter},
};

/// A callback for each occurrence and its time.
pub type Observer<'a> = dyn FnMut(Instant, &Occurrence<'_>) + 'a;

/// An occurrence in the network. As text it is one line, without the time.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Occurrence<'a> {
    /// A fault: its text.
    Fault(&'a Fault),
    /// A lasting fault is over: `over crash 2`.
    Over(&'a Condition),
    /// A host has sent a message: `sent 0 17 lan 1 IPv4 vrid 51 priority 100`, and by unicast `… to
    /// 10.1.0.2`.
    Sent(&'a Packet),
    /// A host has announced virtual addresses: `announced 0 18 lan 1 IPv4 vrid 51 repeat 5`.
    Announced(&'a Announcement),
    /// A host has received a message: `result 0 17>2`.
    Received(Delivery),
    /// A host has discarded a message: `discarded 0 17>2: the digest differs`.
    Discarded(Delivery, Discard),
    /// The deadline of a host has passed: `timeout 2`.
    Timeout(u32),
    /// A virtual router has changed its state: `state 2 lan 1 IPv4 vrid 51 Backup to Active: the
    /// Active fell silent`.
    State(u32, RouterKey, Transition),
    /// A property does not hold: `violated` and the text of the violation.
    Violated(&'a Violation),
}

impl fmt::Display for Occurrence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fault(fault) => fault.fmt(f),
            Self::Over(condition) => write!(f, "over {condition}"),
            Self::Sent(packet) => {
                let priority = packet.octets.get(2).copied().unwrap_or_default();
                write!(f, "sent {} {}", packet.from, packet.number)?;
                if let Some(key) = packet.key() {
                    write!(f, " {}", OnLan(key))?;
                }
                write!(f, " priority {priority}")?;
                let destination = packet.ip.endpoints.destination();
                if !destination.is_multicast() {
                    write!(f, " to {destination}")?;
                }
                Ok(())
            }
            Self::Announced(announcement) => write!(f, "announced {announcement}"),
            Self::Received(delivery) => write!(f, "received {delivery}"),
            Self::Discarded(delivery, discard) => write!(f, "discarded {delivery}: {discard}"),
            Self::Timeout(host) => write!(f, "timeout {host}"),
            Self::State(host, key, Transition { from, to, reason }) => {
                write!(f, "state {host} {} {from} to {to}: {reason}", OnLan(*key))
            }
            Self::Violated(violation) => write!(f, "violated {violation}"),
        }
    }
}

/// A virtual router as text.
struct OnLan(RouterKey);

impl fmt::Display for OnLan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RouterKey {
            interface,
            family,
            vrid,
        } = self.0;
        write!(f, "lan {interface} {family} vrid {vrid}")
    }
}

/// A network of hosts in simulated time. All hosts start at [`Instant::ZERO`].
pub struct Simulation<H = VrrpRouter> {
    now: Instant,
    nodes: Vec<Node<H>>,
    wire: Wire,
    source: Source,
    /// The scheduled events; at equal times in the order of scheduling.
    agenda: BTreeMap<(Instant, u64), Event>,
    /// The number of scheduled events so far.
    planned: u64,
    wakes: Deadlines,
    monitor: Monitor,
    has_begun: bool,
}

#[derive(Debug)]
enum Event {
    Begin(Condition, Duration),
    End(Condition),
    Arrive(u32, Arc<Packet>, Copy),
    /// The neighbours next to a host receive this announcement, possibly late.
    Learn(u32, Arc<Announcement>, bool),
    /// The next fault of this kind is due.
    Draw(Kind),
}

impl<H: Host> Simulation<H> {
    /// Makes the network of a scenario. The seed determines the faults, and the delay of each
    /// message.
    ///
    /// # Errors
    ///
    /// If a host rejects its configuration, or a number is out of range.
    pub fn new(scenario: &Scenario, seed: u64) -> Result<Self, ScenarioError> {
        let mut simulation = Self::with_source(scenario, Source::random(scenario, seed))?;
        for kind in Kind::ALL {
            simulation.plan_fault(kind);
        }
        Ok(simulation)
    }

    /// Makes the network of a scenario with the faults of a trace only. A trace with all faults of
    /// a seed gives the run of that seed.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    pub fn replay(scenario: &Scenario, trace: &Trace) -> Result<Self, ScenarioError> {
        let mut simulation = Self::with_source(scenario, Source::replay(scenario, trace))?;
        for (at, fault) in &trace.faults {
            if let Fault::Lasting(condition, lasts) = fault {
                simulation.plan(*at, Event::Begin(condition.clone(), *lasts));
            }
        }
        Ok(simulation)
    }

    fn with_source(scenario: &Scenario, source: Source) -> Result<Self, ScenarioError> {
        scenario.check()?;
        let mut wire = Wire::default();
        let mut nodes = Vec::new();
        for (number, plan) in (0..).zip(&scenario.hosts) {
            for member in &plan.members {
                wire.attach(member.interface, number);
            }
            nodes.push(Node::new(number, plan.clone())?);
        }
        Ok(Self {
            now: Instant::ZERO,
            nodes,
            wire,
            source,
            agenda: BTreeMap::new(),
            planned: 0,
            wakes: Deadlines::new(),
            monitor: Monitor::new(scenario),
            has_begun: false,
        })
    }

    /// The time.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// Returns a host, unless it is crashed.
    #[must_use]
    pub fn host(&self, number: u32) -> Option<&H> {
        self.nodes.get(number as usize)?.host()
    }

    /// Returns the state of all hosts; `None` for a crashed host.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Option<FleetSnapshot>> {
        let hosts = self.nodes.iter().map(Node::host);
        hosts
            .map(|host| Some(host?.fleet().snapshot(self.now)))
            .collect()
    }

    /// Returns the number of checks of a property so far. A property without checks shows nothing.
    #[must_use]
    pub fn checks(&self, property: Property) -> u64 {
        self.monitor.checks(property)
    }

    /// Simulates the next event, if it is not later than `end`. Returns whether there was one.
    ///
    /// Arrivals come before deadlines of the same time: drain, then decide.
    pub fn step(&mut self, end: Instant, observe: &mut Observer<'_>) -> bool {
        if !self.has_begun {
            self.has_begun = true;
            for number in (0..).take(self.nodes.len()) {
                self.boot(number, observe);
            }
            return true;
        }
        let planned = self.agenda.first_key_value().map(|((at, _), _)| *at);
        let woken = self.wakes.first();
        let checked = self.monitor.poll_timeout();
        let times = planned
            .into_iter()
            .chain(woken.map(|(at, _)| at))
            .chain(checked);
        let Some(next) = times
            .min()
            .map(|at| at.max(self.now))
            .filter(|at| *at <= end)
        else {
            return false;
        };
        self.now = next;
        let is_due = |at: Instant| at <= next;
        if planned.is_some_and(is_due) {
            if let Some((_, event)) = self.agenda.pop_first() {
                self.happen(event, observe);
            }
        } else if let Some((_, number)) = woken.filter(|(at, _)| is_due(*at)) {
            observe(next, &Occurrence::Timeout(number));
            if let Some(host) = self.nodes.get_mut(number as usize).and_then(Node::host_mut) {
                host.handle_timeout(next);
            }
            self.perform(number, observe);
        } else {
            self.monitor.handle_timeout(next, &self.nodes, &self.wire);
        }
        for violation in self.monitor.take_found() {
            observe(next, &Occurrence::Violated(&violation));
        }
        true
    }

    /// Simulates all events until this time.
    pub fn run_until(&mut self, end: Instant, observe: &mut Observer<'_>) {
        while self.step(end, observe) {}
        self.now = self.now.max(end);
    }

    fn plan(&mut self, at: Instant, event: Event) {
        self.agenda.insert((at, self.planned), event);
        self.planned += 1;
    }

    /// Schedules the next random fault of a kind.
    fn plan_fault(&mut self, kind: Kind) {
        if let Some(at) = self.source.next_fault(self.now, kind) {
            self.plan(at, Event::Draw(kind));
        }
    }

    fn happen(&mut self, event: Event, observe: &mut Observer<'_>) {
        match event {
            Event::Arrive(to, packet, copy) => {
                self.input(to, Input::Packet(packet, copy), observe);
            }
            Event::Learn(to, announcement, is_late) => {
                self.monitor.announced(to, &announcement, is_late);
            }
            Event::Draw(kind) => {
                let drawn = self.source.draw(self.now, kind, &self.nodes, &self.wire);
                if let Some((condition, lasts)) = drawn {
                    self.begin(condition, lasts, observe);
                }
                self.plan_fault(kind);
            }
            Event::Begin(condition, lasts) => self.begin(condition, lasts, observe),
            Event::End(condition) => {
                observe(self.now, &Occurrence::Over(&condition));
                self.turn(&condition, None, observe);
            }
        }
    }

    fn begin(&mut self, condition: Condition, lasts: Duration, observe: &mut Observer<'_>) {
        let fault = Fault::Lasting(condition.clone(), lasts);
        observe(self.now, &Occurrence::Fault(&fault));
        self.turn(&condition, Some(self.now + lasts), observe);
        self.plan(self.now + lasts, Event::End(condition));
    }

    /// Begins a condition that lasts until this time, or ends it.
    fn turn(&mut self, condition: &Condition, until: Option<Instant>, observe: &mut Observer<'_>) {
        let now = self.now;
        let begins = until.is_some();
        let count = |number: &mut u32| {
            *number = if begins {
                number.saturating_add(1)
            } else {
                number.saturating_sub(1)
            };
        };
        match *condition {
            Condition::Crash { host } => {
                let Some(node) = self.nodes.get_mut(host as usize) else {
                    return;
                };
                count(&mut node.crashes);
                if begins {
                    node.die();
                    self.wakes.set(host, None);
                }
                self.monitor.disturb_host(now, host);
                self.go_on(host, observe);
            }
            Condition::Stall { host } => {
                let Some(node) = self.nodes.get_mut(host as usize) else {
                    return;
                };
                count(&mut node.stalls);
                if begins {
                    self.wakes.set(host, None);
                }
                self.monitor.stall(now, host, begins);
                self.go_on(host, observe);
            }
            Condition::Stop { host, router } => {
                let Some(node) = self.nodes.get_mut(host as usize) else {
                    return;
                };
                let Some(wanted) = node.wanted(router) else {
                    return;
                };
                count(&mut wanted.stops);
                self.monitor.disturb_router(now, host, router);
                self.input(host, Input::Router(router), observe);
            }
            Condition::Priority {
                host,
                router,
                priority,
            } => self.reconfigure(host, router, observe, |wanted| {
                wanted.priority = until.map(|until| (priority, until)).or_else(|| {
                    // Another change may have followed in the meantime.
                    wanted.priority.filter(|(_, until)| *until > now)
                });
            }),
            Condition::Interval {
                host,
                router,
                interval,
            } => self.reconfigure(host, router, observe, |wanted| {
                wanted.interval = until
                    .map(|until| (interval, until))
                    .or_else(|| wanted.interval.filter(|(_, until)| *until > now));
            }),
            Condition::Object { host, object } => {
                let Some(node) = self.nodes.get_mut(host as usize) else {
                    return;
                };
                let Some(bad) = node.bad.get_mut(object as usize) else {
                    return;
                };
                count(bad);
                self.monitor.disturb_host(now, host);
                self.input(host, Input::Object(object), observe);
            }
            Condition::Partition { interface, .. } => {
                self.rewire(condition, begins);
                self.monitor.partition(now, interface, begins);
            }
            Condition::OneWay { interface, .. } => {
                self.rewire(condition, begins);
                self.monitor.one_way(now, interface, begins);
            }
        }
    }

    /// Reconfigures a virtual router and its whole sync group.
    fn reconfigure(
        &mut self,
        host: u32,
        router: u32,
        observe: &mut Observer<'_>,
        change: impl Fn(&mut Wanted),
    ) {
        let Some(node) = self.nodes.get(host as usize) else {
            return;
        };
        self.monitor.disturb_router(self.now, host, router);
        for router in node.company(router) {
            let node = self.nodes.get_mut(host as usize);
            if let Some(wanted) = node.and_then(|node| node.wanted(router)) {
                change(wanted);
                self.input(host, Input::Router(router), observe);
            }
        }
    }

    fn rewire(&mut self, condition: &Condition, is_cut: bool) {
        if is_cut {
            self.wire.cut(condition.clone());
        } else {
            self.wire.mend(condition);
        }
    }

    /// Continues a host that may run again: it boots, or drains its sockets and then serves its
    /// timers.
    fn go_on(&mut self, number: u32, observe: &mut Observer<'_>) {
        let Some(node) = self
            .nodes
            .get_mut(number as usize)
            .filter(|node| node.runs())
        else {
            return;
        };
        if node.host().is_none() {
            self.boot(number, observe);
            return;
        }
        while let Some(input) = self
            .nodes
            .get_mut(number as usize)
            .and_then(Node::next_input)
        {
            self.take(number, input, observe);
        }
        observe(self.now, &Occurrence::Timeout(number));
        if let Some(host) = self.nodes.get_mut(number as usize).and_then(Node::host_mut) {
            host.handle_timeout(self.now);
        }
        self.perform(number, observe);
    }

    fn boot(&mut self, number: u32, observe: &mut Observer<'_>) {
        if let Some(node) = self.nodes.get_mut(number as usize) {
            node.boot(number, self.now);
        }
        self.perform(number, observe);
    }

    /// Delivers an input to a host: now, or when it runs again.
    fn input(&mut self, number: u32, input: Input, observe: &mut Observer<'_>) {
        let Some(node) = self.nodes.get_mut(number as usize) else {
            return;
        };
        if node.runs() {
            self.take(number, input, observe);
            self.perform(number, observe);
        } else {
            node.keep(input);
        }
    }

    fn take(&mut self, number: u32, input: Input, observe: &mut Observer<'_>) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(number as usize) else {
            return;
        };
        match input {
            Input::Packet(packet, copy) => self.deliver(number, &packet, copy, observe),
            Input::Router(router) => node.adjust(number, now, router),
            Input::Object(object) => node.report(now, object),
        }
    }

    /// Delivers a message to a host, which may discard it.
    fn deliver(&mut self, number: u32, packet: &Packet, copy: Copy, observe: &mut Observer<'_>) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(number as usize) else {
            return;
        };
        let delivery = Delivery {
            from: packet.from,
            number: packet.number,
            to: number,
        };
        observe(now, &Occurrence::Received(delivery));
        let found = node.prove(now, packet);
        let protection = match found {
            Some((_, Ok(proof))) => proof.into(),
            Some((_, Err(fault))) => Protection::Failed(fault),
            None => Protection::None,
        };
        let meeting = self.monitor.before_packet(number, node, packet, protection);
        let result = match node.host_mut() {
            Some(host) => host.receive(now, packet, protection),
            None => return,
        };
        if copy != Copy::First && node.is_known(packet) {
            self.monitor.repeated(now, number, packet, result.is_ok());
        }
        // An owner that discards all advertisements still continues above the sequence numbers of
        // others.
        let is_valid = matches!(result, Ok(()) | Err(Discard::Owner));
        if let Some((router, Ok(proof))) = found
            && is_valid
        {
            node.accept(router, packet, proof);
        }
        match result {
            Ok(()) if copy == Copy::Replay => self.monitor.misled(now, packet),
            Ok(()) => {}
            Err(discard) => observe(now, &Occurrence::Discarded(delivery, discard)),
        }
        if let Some(meeting) = meeting {
            self.monitor
                .after_packet(now, &meeting, &self.nodes, &self.wire);
        }
    }

    /// Performs the actions of a fleet.
    fn perform(&mut self, number: u32, observe: &mut Observer<'_>) {
        let now = self.now;
        let mut has_changed = false;
        // Object changes disturb the network before their effects are checked.
        self.follow_records(number);
        while let Some((id, action)) = self
            .nodes
            .get_mut(number as usize)
            .and_then(Node::host_mut)
            .and_then(H::poll_action)
        {
            match action {
                Action::SendAdvertisement(outgoing) => self.send(number, id, outgoing, observe),
                Action::StateChanged(transition) => {
                    has_changed = true;
                    let key = self.host(number).and_then(|host| host.fleet().key(id));
                    let Some((key, router)) = key.zip(id.place()) else {
                        continue;
                    };
                    observe(now, &Occurrence::State(number, key, transition));
                    self.monitor
                        .changed(now, number, router, transition, &self.nodes, &self.wire);
                }
                Action::Announce { repeat } => self.announce(number, id, repeat, observe),
                Action::InstallAddresses | Action::RemoveAddresses => {}
            }
        }
        if let Some(node) = self.nodes.get(number as usize) {
            if has_changed {
                self.monitor.check_groups(now, number, node);
            }
            let deadline = node.running().and_then(H::poll_timeout);
            self.wakes.set(number, deadline);
        }
    }

    /// Handles delayed changes of objects, a disturbance without a fault.
    fn follow_records(&mut self, number: u32) {
        let Some(node) = self.nodes.get_mut(number as usize) else {
            return;
        };
        let mut reader = node.records;
        let mut is_disturbed = false;
        while let Some(record) = node.host().and_then(|host| host.fleet().read(&mut reader)) {
            is_disturbed |= match record {
                Ok(record) => matches!(
                    record.change,
                    FleetChange::Object(..) | FleetChange::EffectivePriority { .. }
                ),
                Err(_) => true,
            };
        }
        node.records = reader;
        if is_disturbed {
            self.monitor.disturb_host(self.now, number);
        }
    }

    fn send(&mut self, from: u32, id: RouterId, outgoing: Outgoing, observe: &mut Observer<'_>) {
        for packet in self.packets(from, id, outgoing) {
            let packet = Arc::new(packet);
            observe(self.now, &Occurrence::Sent(&packet));
            let Some(key) = packet.key() else {
                continue;
            };
            let destination = packet.ip.endpoints.destination();
            for place in 0..self.wire.hosts(key.interface).len() {
                if let Some(to) = self.other(key.interface, place, from)
                    && (destination.is_multicast() || destination == primary_address(to, key))
                {
                    self.transmit(&packet, key, to, observe);
                }
            }
        }
    }

    /// Returns the host at a place on a LAN, unless it is this one.
    fn other(&self, interface: u32, place: usize, host: u32) -> Option<u32> {
        let found = self.wire.hosts(interface).get(place).copied();
        found.filter(|other| *other != host)
    }

    /// Returns the messages of an action: one for each destination, or two with both versions.
    fn packets(&mut self, from: u32, id: RouterId, outgoing: Outgoing) -> Vec<Packet> {
        let sent = self.now;
        let Some(node) = self.nodes.get_mut(from as usize) else {
            return Vec::new();
        };
        let Some(fleet) = node.host().map(Host::fleet) else {
            return Vec::new();
        };
        let (Some(router), Some(member), Some(place)) =
            (fleet.get(id), fleet.member(id), id.place())
        else {
            return Vec::new();
        };
        let key = member.key();
        let source = router.primary_address();
        let addresses = virtual_addresses(&member);
        let (group, peers) = match &member.transport {
            MessageTransport::Multicast { group } => (Some(*group), &[][..]),
            MessageTransport::Unicast { peers } => (None, &peers[..]),
        };
        let destinations = group
            .into_iter()
            .chain(peers.iter().map(|peer| peer.address));
        let mut packets = Vec::new();
        for destination in destinations {
            let Some(endpoints) = Endpoints::new(source, destination) else {
                continue;
            };
            let messages =
                router.advertisements(outgoing, node.in_message(place), addresses.as_addresses());
            for (message, form) in messages {
                let mut octets = vec![0; message.encoded_len()];
                if message.encode(&mut octets, &endpoints, form).is_ok() {
                    packets.push(Packet {
                        from,
                        number: 0,
                        sent,
                        interface: key.interface,
                        ip: IpHeader {
                            endpoints,
                            ttl: TTL,
                        },
                        octets,
                        ah: None,
                    });
                }
            }
        }
        let packets = packets.into_iter();
        packets
            .filter_map(|packet| node.protect(place, packet))
            .collect()
    }

    /// Sends a message to one of its receivers.
    fn transmit(
        &mut self,
        packet: &Arc<Packet>,
        key: RouterKey,
        to: u32,
        observe: &mut Observer<'_>,
    ) {
        let now = self.now;
        let &Packet { from, number, .. } = &**packet;
        let interface = key.interface;
        if !self.wire.reaches(interface, from, to) {
            return;
        }
        let delivery = Delivery { from, number, to };
        let (delay, fates) = self.source.fates(now, delivery);
        let mut late = Duration::ZERO;
        let (mut is_lost, mut is_doubled, mut again) = (false, false, None);
        for fate in fates {
            observe(now, &Occurrence::Fault(&fate.fault(delivery)));
            match fate {
                Fate::Lost => is_lost = true,
                Fate::Twice => is_doubled = true,
                Fate::Again(by) => again = Some(by),
                Fate::Late(by) => late = by,
            }
        }
        if is_lost {
            self.monitor.lost(now, key, to);
            return;
        }
        self.monitor.delivered(key, to);
        let copies = u8::from(is_doubled) + u8::from(again.is_some());
        if copies != 0
            && let Some(node) = self.nodes.get_mut(to as usize)
        {
            node.expect_copies(packet, copies);
        }
        let copies = [
            Some((Copy::First, Duration::ZERO)),
            is_doubled.then_some((Copy::Duplicate, Duration::ZERO)),
            again.map(|by| (Copy::Replay, by)),
        ];
        for (copy, later) in copies.into_iter().flatten() {
            let at = if late + later == Duration::ZERO {
                self.wire.in_order(interface, from, to, now + delay)
            } else {
                now + delay + late + later
            };
            if late != Duration::ZERO && copy != Copy::Replay {
                self.monitor.late(at, key);
            }
            self.plan(at, Event::Arrive(to, Arc::clone(packet), copy));
        }
    }

    /// Announces to the neighbours on the LAN: at once to those next to the host itself, and with
    /// the delay of a message to the others.
    fn announce(&mut self, from: u32, id: RouterId, repeat: u8, observe: &mut Observer<'_>) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(from as usize) else {
            return;
        };
        let Some(member) = node.host().and_then(|host| host.fleet().member(id)) else {
            return;
        };
        let announcement = Arc::new(Announcement {
            from,
            number: node.count_sent(),
            sent: now,
            key: member.key(),
            addresses: virtual_addresses(&member),
            repeat,
        });
        observe(now, &Occurrence::Announced(&announcement));
        self.monitor.announces(&announcement);
        for place in 0..self.wire.hosts(member.interface).len() {
            if let Some(to) = self.other(member.interface, place, from) {
                self.carry(&announcement, to, observe);
            }
        }
    }

    /// Carries an announcement to the neighbours next to a host. A duplicated burst counts once.
    fn carry(&mut self, announcement: &Arc<Announcement>, to: u32, observe: &mut Observer<'_>) {
        let now = self.now;
        let &Announcement {
            from, number, key, ..
        } = &**announcement;
        if !self.wire.reaches(key.interface, from, to) {
            self.monitor.unannounced(to, key);
            return;
        }
        let delivery = Delivery { from, number, to };
        let (delay, fates) = self.source.fates(now, delivery);
        let mut late = Duration::ZERO;
        for fate in fates {
            match fate {
                Fate::Lost => {
                    observe(now, &Occurrence::Fault(&fate.fault(delivery)));
                    self.monitor.unannounced(to, key);
                    return;
                }
                Fate::Late(by) => {
                    observe(now, &Occurrence::Fault(&fate.fault(delivery)));
                    late = by;
                }
                Fate::Twice | Fate::Again(_) => {}
            }
        }
        let is_late = late != Duration::ZERO;
        let at = if is_late {
            self.monitor.unannounced(to, key);
            now + delay + late
        } else {
            self.wire.in_order(key.interface, from, to, now + delay)
        };
        self.plan(at, Event::Learn(to, Arc::clone(announcement), is_late));
    }
}
