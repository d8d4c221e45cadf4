//! A simulated host: a fleet, its configuration, and its socket.

use alloc::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    vec::Vec,
};

use vrrp_proto::{
    AuthenticationFault, Discard, Interval, MessageAuthentication, Priority, Protection, Versions,
};

use super::{
    HostPlan, Packet, ScenarioError,
    addresses::primary_address,
    authentication::{Authenticator, Keyring, Proof},
};
use crate::{
    Action, Instant, State, VirtualRouter,
    fleet::{FleetError, Member, Reader, RouterId, SyncGroup, VrrpRouter},
    track::ObjectId,
};

/// Drives a fleet. [`VrrpRouter`] is the correct implementation. Your own host, or one with a
/// deliberate mistake, replaces a method:
///
/// ```
/// use vrrp_fsm::{Instant, fleet::VrrpRouter, sim::{Host, Packet}};
/// use vrrp_proto::{Discard, Protection};
///
/// /// It ignores resignations.
/// struct DeafToZero(VrrpRouter);
///
/// impl Host for DeafToZero {
///     fn boot(fleet: VrrpRouter) -> Self {
///         Self(fleet)
///     }
///     fn fleet(&self) -> &VrrpRouter {
///         &self.0
///     }
///     fn fleet_mut(&mut self) -> &mut VrrpRouter {
///         &mut self.0
///     }
///     fn receive(
///         &mut self,
///         now: Instant,
///         packet: &Packet,
///         protection: Protection,
///     ) -> Result<(), Discard> {
///         if packet.octets[2] == 0 {
///             return Ok(());
///         }
///         self.0.receive(now, packet, protection)
///     }
/// }
/// # fn use_as(_: impl Host) {}
/// # fn main() { use_as(DeafToZero::boot(VrrpRouter::new())) }
/// ```
pub trait Host: Sized {
    /// Makes a host from its configured fleet, before startups and reports.
    fn boot(fleet: VrrpRouter) -> Self;

    /// Returns its fleet.
    fn fleet(&self) -> &VrrpRouter;

    /// Returns its fleet, for startups, shutdowns, configuration and reports.
    fn fleet_mut(&mut self) -> &mut VrrpRouter;

    /// Handles a packet. `protection` is the result of verifying it with the
    /// [`Secrets`](super::Secrets) of the host.
    ///
    /// # Errors
    ///
    /// The reason of the discard.
    fn receive(
        &mut self,
        now: Instant,
        packet: &Packet,
        protection: Protection,
    ) -> Result<(), Discard> {
        let Packet {
            interface,
            ip,
            octets,
            ..
        } = packet;
        let handled = self
            .fleet_mut()
            .handle_packet(now, *interface, ip, octets, protection);
        handled.map(drop).map_err(|rejected| rejected.discard)
    }

    /// Handles the deadline of [`poll_timeout`](Self::poll_timeout).
    fn handle_timeout(&mut self, now: Instant) {
        self.fleet_mut().handle_timeout(now);
    }

    /// Returns the next deadline.
    fn poll_timeout(&self) -> Option<Instant> {
        self.fleet().poll_timeout()
    }

    /// Returns the next action.
    fn poll_action(&mut self) -> Option<(RouterId, Action)> {
        self.fleet_mut().poll_action()
    }
}

impl Host for VrrpRouter {
    fn boot(fleet: VrrpRouter) -> Self {
        fleet
    }

    fn fleet(&self) -> &VrrpRouter {
        self
    }

    fn fleet_mut(&mut self) -> &mut VrrpRouter {
        self
    }
}

/// An input of a host. It waits while the host does not run.
#[derive(Clone, Debug)]
pub(super) enum Input {
    Packet(Arc<Packet>, Copy),
    /// Bring a virtual router in line with [`Node`].
    Router(u32),
    /// Report an object.
    Object(u32),
}

/// The kind of an arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Copy {
    First,
    /// A duplicate that the network made.
    Duplicate,
    /// A replay.
    Replay,
}

/// A host with its wanted state, which it applies when it runs.
pub(super) struct Node<H> {
    plan: HostPlan,
    /// `None` while it is dead.
    host: Option<H>,
    pub(super) crashes: u32,
    pub(super) stalls: u32,
    /// The waiting inputs while it does not run.
    inbox: VecDeque<Input>,
    /// The number of its sent messages.
    sent: u64,
    routers: Vec<Wanted>,
    /// The number of faults of each object.
    pub(super) bad: Vec<u32>,
    pub(super) records: Reader,
    keyring: Keyring,
    authenticators: Vec<Authenticator>,
    /// Whether any of them has sequences.
    has_sequences: bool,
    /// The packets with several arrivals, by sender and number.
    copied: BTreeMap<(u32, u64), Copies>,
}

/// The arrivals of a packet after the first.
#[derive(Clone, Copy, Debug, Default)]
struct Copies {
    /// The number of those to come. A crashed or full host never receives some of them.
    expected: u8,
    /// Whether the host has accepted the packet since it started.
    is_accepted: bool,
}

/// The wanted state of a virtual router.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wanted {
    pub(super) stops: u32,
    /// The priority instead of the configured one, and until when.
    pub(super) priority: Option<(Priority, Instant)>,
    /// The interval instead of the configured one, and until when.
    pub(super) interval: Option<(Interval, Instant)>,
}

/// The capacity of the socket of a host that does not run, the minimum on Linux. Further packets
/// are lost.
const SOCKET: usize = 256;

impl<H: Host> Node<H> {
    /// Makes a host that is switched off.
    pub(super) fn new(number: u32, plan: HostPlan) -> Result<Self, ScenarioError> {
        let node = Self {
            host: None,
            crashes: 0,
            stalls: 0,
            inbox: VecDeque::new(),
            sent: 0,
            routers: plan.members.iter().map(|_| Wanted::default()).collect(),
            bad: plan.objects.iter().map(|_| 0).collect(),
            records: Reader::default(),
            keyring: Keyring::new(&plan.secrets)?,
            authenticators: Vec::new(),
            has_sequences: plan
                .members
                .iter()
                .any(|member| Authenticator::new(&member.authentication).counts()),
            copied: BTreeMap::new(),
            plan,
        };
        match node.try_out() {
            Ok(()) => Ok(node),
            Err(error) => Err(ScenarioError::Fleet {
                host: number,
                error,
            }),
        }
    }

    /// Checks the configuration and the reports of the objects.
    fn try_out(&self) -> Result<(), FleetError> {
        let mut fleet = self.configured(Instant::ZERO)?;
        for (object, tracked) in (0..).zip(&self.plan.objects) {
            for report in [tracked.bad, tracked.good].into_iter().flatten() {
                fleet.report(Instant::ZERO, ObjectId::nth(object), report)?;
            }
        }
        Ok(())
    }

    pub(super) const fn plan(&self) -> &HostPlan {
        &self.plan
    }

    /// Returns the host, unless it is crashed.
    pub(super) const fn host(&self) -> Option<&H> {
        self.host.as_ref()
    }

    pub(super) const fn host_mut(&mut self) -> Option<&mut H> {
        self.host.as_mut()
    }

    /// Returns the host, if it runs.
    pub(super) fn running(&self) -> Option<&H> {
        self.host.as_ref().filter(|_| self.runs())
    }

    pub(super) const fn runs(&self) -> bool {
        self.crashes == 0 && self.stalls == 0
    }

    pub(super) fn wanted(&mut self, router: u32) -> Option<&mut Wanted> {
        self.routers.get_mut(router as usize)
    }

    fn group_of(&self, router: u32) -> Option<&SyncGroup> {
        let id = RouterId::nth(router);
        let mut groups = self.plan.groups.iter();
        groups.find(|group| group.members.contains(&id))
    }

    /// Returns the virtual router with the members of its group.
    pub(super) fn company(&self, router: u32) -> Vec<u32> {
        let members = self.group_of(router).map(|group| group.members.iter());
        let members = members.map(|members| members.filter_map(|id| id.place()).collect());
        members.unwrap_or_else(|| Vec::from([router]))
    }

    /// Returns a virtual router.
    pub(super) fn router(&self, router: u32) -> Option<&VirtualRouter> {
        self.host.as_ref()?.fleet().get(RouterId::nth(router))
    }

    pub(super) fn state(&self, router: u32) -> Option<State> {
        self.router(router).map(VirtualRouter::state)
    }

    /// Whether this virtual router can be Backup or Active: the host runs, and it and its group
    /// were started and have no fault.
    pub(super) fn is_healthy(&self, router: u32) -> bool {
        let Some(host) = self.running() else {
            return false;
        };
        let tracker = host.fleet().tracker();
        let group = self.group_of(router);
        let of_group = group.map_or(&[][..], |group| &group.tracking);
        tracker.track_state(of_group).is_ready()
            && self.company(router).into_iter().all(|router| {
                let stops = self.routers.get(router as usize).map(|it| it.stops);
                let member = self.plan.members.get(router as usize);
                stops == Some(0)
                    && member.is_some_and(|member| tracker.track_state(&member.tracking).is_ready())
            })
    }

    fn configured(&self, now: Instant) -> Result<VrrpRouter, FleetError> {
        let members = self.plan.members.len();
        let mut fleet = VrrpRouter::with_capacity(members, VrrpRouter::RECORDS + 8 * members);
        for tracked in &self.plan.objects {
            fleet.add_object(now, tracked.object.clone())?;
        }
        for router in (0..).take(members) {
            if let Some(member) = self.member(router) {
                fleet.add(now, member)?;
            }
        }
        for group in &self.plan.groups {
            fleet.add_group(now, group.clone())?;
        }
        Ok(fleet)
    }

    /// Returns the wanted configuration of a virtual router.
    fn member(&self, router: u32) -> Option<Member> {
        let mut member = self.plan.members.get(router as usize)?.clone();
        let wanted = self.routers.get(router as usize)?;
        if let Some((priority, _)) = wanted.priority
            && !member.config.priority.is_owner()
        {
            member.config.priority = priority;
        }
        if let Some((interval, _)) = wanted.interval
            && member.config.versions == Versions::V3
            && interval.as_nanos() < member.config.interval.as_nanos()
        {
            member.config.interval = interval;
        }
        Some(member)
    }

    /// Restarts the host.
    pub(super) fn boot(&mut self, number: u32, now: Instant) {
        // The configuration was accepted before, and no later change can make it invalid.
        let Ok(fleet) = self.configured(now) else {
            return;
        };
        self.host = Some(H::boot(fleet));
        self.records = Reader::default();
        let members = self.plan.members.iter();
        self.authenticators = members
            .map(|member| Authenticator::new(&member.authentication))
            .collect();
        for object in (0..).take(self.plan.objects.len()) {
            self.report(now, object);
        }
        for router in (0..).take(self.plan.members.len()) {
            self.start_or_stop(number, now, router);
        }
    }

    /// Crashes the host.
    pub(super) fn die(&mut self) {
        self.host = None;
        self.inbox.clear();
        for copies in self.copied.values_mut() {
            copies.is_accepted = false;
        }
    }

    /// Adds an input to the inbox of a host that does not run.
    pub(super) fn keep(&mut self, input: Input) {
        let is_lost =
            self.crashes != 0 || matches!(input, Input::Packet(..)) && self.inbox.len() >= SOCKET;
        if !is_lost {
            self.inbox.push_back(input);
        }
    }

    /// Returns the number of its next message.
    pub(super) const fn count_sent(&mut self) -> u64 {
        let number = self.sent;
        self.sent += 1;
        number
    }

    // Authentication.

    /// Returns the authentication field of a virtual router in version 2.
    pub(super) fn in_message(&self, router: u32) -> MessageAuthentication {
        let authenticator = self.authenticators.get(router as usize);
        authenticator.map_or(MessageAuthentication::None, Authenticator::in_message)
    }

    /// Protects and numbers a message of a virtual router.
    pub(super) fn protect(&mut self, router: u32, mut packet: Packet) -> Option<Packet> {
        let authenticator = self.authenticators.get_mut(router as usize)?;
        authenticator.protect(&self.keyring, &mut packet)?;
        packet.number = self.count_sent();
        Some(packet)
    }

    /// Returns the addressee of a packet and its verification, if the host has sequences.
    pub(super) fn prove(
        &self,
        now: Instant,
        packet: &Packet,
    ) -> Option<(u32, Result<Proof, AuthenticationFault>)> {
        let fleet = self.host.as_ref().filter(|_| self.has_sequences)?.fleet();
        let router = fleet
            .addressee(packet.interface, &packet.ip, &packet.octets)?
            .place()?;
        let authenticator = self.authenticators.get(router as usize)?;
        let decode = self.plan.members.get(router as usize)?.decode;
        let proof = authenticator.prove(&self.keyring, now, packet, decode);
        Some((router, proof))
    }

    /// Whether a virtual router would accept a packet with this protection.
    pub(super) fn would_accept(
        &self,
        router: u32,
        packet: &Packet,
        protection: Protection,
    ) -> bool {
        let id = RouterId::nth(router);
        let fleet = self.host.as_ref().map(Host::fleet);
        fleet.is_some_and(|fleet| fleet.would_accept(id, &packet.ip, &packet.octets, protection))
    }

    /// Remembers a packet that has passed every check of a running virtual router.
    pub(super) fn accept(&mut self, router: u32, packet: &Packet, proof: Proof) {
        if self.state(router) == Some(State::Initialize) {
            return;
        }
        if let Some(authenticator) = self.authenticators.get_mut(router as usize) {
            authenticator.accept(proof);
        }
        let key = (packet.from, packet.number);
        if let Some(copies) = self.copied.get_mut(&key).filter(|_| proof.is_unique()) {
            copies.is_accepted = true;
        }
    }

    /// Notes that this packet arrives this many times after the first.
    pub(super) fn expect_copies(&mut self, packet: &Packet, expected: u8) {
        let copies = Copies {
            expected,
            is_accepted: false,
        };
        self.copied.insert((packet.from, packet.number), copies);
    }

    /// Handles a copy of a packet. Returns whether a detectable copy was accepted before.
    pub(super) fn is_known(&mut self, packet: &Packet) -> bool {
        let key = (packet.from, packet.number);
        let Some(copies) = self.copied.get_mut(&key) else {
            return false;
        };
        let is_known = copies.is_accepted;
        copies.expected = copies.expected.saturating_sub(1);
        if copies.expected == 0 {
            self.copied.remove(&key);
        }
        is_known
    }

    pub(super) fn next_input(&mut self) -> Option<Input> {
        self.inbox.pop_front()
    }

    /// Applies the wanted state of a virtual router.
    pub(super) fn adjust(&mut self, number: u32, now: Instant, router: u32) {
        let id = RouterId::nth(router);
        if let Some(member) = self.member(router)
            && let Some(host) = &mut self.host
            && host.fleet().member(id).is_some_and(|found| found != member)
        {
            // The configuration was accepted before, and only the priority or the interval differs,
            // within its range.
            let _accepted = host.fleet_mut().reconfigure(now, id, member);
        }
        self.start_or_stop(number, now, router);
    }

    fn start_or_stop(&mut self, number: u32, now: Instant, router: u32) {
        let Some(wanted) = self.routers.get(router as usize) else {
            return;
        };
        let (Some(host), Some(member)) = (&mut self.host, self.plan.members.get(router as usize))
        else {
            return;
        };
        let id = RouterId::nth(router);
        // The id is that of a member.
        let _known = if wanted.stops == 0 {
            host.fleet_mut()
                .startup(now, id, primary_address(number, member.key()))
        } else {
            host.fleet_mut().shutdown(now, id)
        };
    }

    /// Reports the state of an object.
    pub(super) fn report(&mut self, now: Instant, object: u32) {
        let Some(tracked) = self.plan.objects.get(object as usize) else {
            return;
        };
        let is_bad = self
            .bad
            .get(object as usize)
            .is_some_and(|count| *count != 0);
        let report = if is_bad { tracked.bad } else { tracked.good };
        if let (Some(report), Some(host)) = (report, &mut self.host) {
            // `try_out` checked it.
            let _suits = host.fleet_mut().report(now, ObjectId::nth(object), report);
        }
    }
}
