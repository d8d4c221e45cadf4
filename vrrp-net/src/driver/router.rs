//! One virtual router of the driver: what the host keeps beside the state machine.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use vrrp_fsm::{
    Instant, Outgoing, State, VirtualRouter,
    fleet::{AddressList, Member, MessageTransport, RouterId},
};
use vrrp_proto::{
    EncodeError, Family, IP_PROTOCOL, Peer,
    frame::{MacAddress, virtual_mac as virtual_mac_of},
    group,
};

use super::{
    Fault, RouterConfig, Transport, UnicastPath,
    authentication::Authenticator,
    config::{check_address, check_peers},
    messages::{self, Messages},
    work::Step,
};
use crate::{
    ADDRESS_PROTOCOL, Datagram, Error, Interface, InterfaceAddress, Interfaces, Macvlan, Route,
    VirtualAddress, VrrpSocket, kernel::sysctl,
};

/// The host's side of a virtual router.
#[derive(Debug)]
pub(super) struct Router {
    pub(super) config: RouterConfig,
    pub(super) authenticator: Authenticator,
    /// The interface, while there is one of that name.
    pub(super) binding: Option<Binding>,
    /// The index of the VRF that the interface is in.
    pub(super) vrf: Option<u32>,
    /// What is missing.
    pub(super) faults: BTreeSet<Fault>,
    /// What the host said is missing.
    pub(super) host_faults: BTreeSet<String>,
    /// It was shut down for good.
    pub(super) is_shut_down: bool,
    /// The macvlan that bears the virtual MAC, where there is to be one, or why there is none.
    pub(super) macvlan: Result<Macvlan, String>,
    /// When what the kernel refused, of the macvlan or of the group, is tried again.
    pub(super) retry: Repair,
    /// The virtual addresses on the interface: those that are listed in advertisements, then the others.
    pub(super) held: Vec<Held>,
    pub(super) routes: Vec<HeldRoute>,
    /// Those that are listed.
    advertised: AddressList,
    messages: Messages,
    /// Since when no advertisement could be sent.
    pub(super) unsent_since: Option<Instant>,
    /// Why none could be sent, where that lasts.
    pub(super) cannot_send: Option<String>,
    /// Whether an advertisement waits to be sent.
    pub(super) is_outgoing: bool,
}

/// What a router has on an interface.
#[derive(Clone, Copy, Debug)]
pub(super) struct Binding {
    pub(super) interface: u32,
    /// Whether the group is joined there, where the transport asks for it.
    pub(super) joined: bool,
}

/// A virtual address on the interface.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) address: VirtualAddress,
    pub(super) advertised: bool,
    /// The owner's own: it was on the interface before, stays there, and is no virtual address to whoever looks for a primary one.
    pub(super) is_native: bool,
    /// Whether it is in place as one that the host does not have but answers for, and not as one that it has.
    pub(super) is_answered: bool,
    pub(super) standing: Standing,
}

impl Held {
    pub(super) fn new(address: VirtualAddress, advertised: bool) -> Self {
        Self {
            address,
            advertised,
            is_native: false,
            is_answered: false,
            standing: Standing::default(),
        }
    }

    /// Whether it is in place, and not the owner's own.
    pub(super) fn is_added(&self) -> bool {
        self.standing.installed && !self.is_native
    }

    /// Whether the interface has it without the router, which has added its addresses at the station, in whatever form.
    fn is_own_of(&self, interface: &Interface, station: &Interface) -> bool {
        let is_here = self.is_added() && interface.link.index == station.link.index;
        interface.addresses.iter().any(|own| {
            own.address == self.address.address()
                && own.protocol != ADDRESS_PROTOCOL
                && !(is_here && self.address.is_at(own))
        })
    }
}

/// A virtual route.
#[derive(Debug)]
pub(super) struct HeldRoute {
    pub(super) route: Route,
    pub(super) standing: Standing,
}

impl HeldRoute {
    fn of(routes: &[Route]) -> Vec<Self> {
        let held = routes.iter().map(|route| Self {
            route: route.clone(),
            standing: Standing::default(),
        });
        held.collect()
    }

    /// Whether the kernel means this one. It tells of a metric where none was asked for, and does not know names of interfaces.
    pub(super) fn is(&self, told: &Route) -> bool {
        let own = &self.route;
        own.destination() == told.destination()
            && own.prefix_len() == told.prefix_len()
            && own.table() == told.table()
            && own.gateway() == told.gateway()
            && own
                .metric()
                .is_none_or(|metric| told.metric().unwrap_or(0) == metric)
    }
}

/// Whether something that belongs to an Active is in place.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// Whether the kernel has it, as far as is known.
    pub(super) installed: bool,
    /// Whether it waits in the work queue to be put back.
    pub(super) is_under_repair: bool,
    repair: Repair,
}

impl Standing {
    /// Somebody took it away, or the kernel would not have it. Returns when it is to be put back: as soon as that is allowed.
    pub(super) fn lose(&mut self, now: Instant) -> Instant {
        self.installed = false;
        self.repair.ask(now)
    }

    /// Whether it is to be put back now. Once this was said, the next time may be later.
    pub(super) fn start_repair(&mut self, now: Instant) -> bool {
        let is_due = self.repair.start(now);
        self.is_under_repair |= is_due;
        is_due
    }

    /// It is no longer wanted.
    pub(super) fn give_up_repair(&mut self) {
        self.repair.due = None;
        self.is_under_repair = false;
    }
}

/// When something may be put back, or tried again.
///
/// The first time at once; then a second after the last attempt, two seconds, four, and so on to a minute. After a minute without
/// an attempt it starts over. So whoever removes it as a rule wins, and whoever did it by mistake does not.
#[derive(Debug)]
pub(super) struct Repair {
    due: Option<Instant>,
    not_before: Instant,
    pause: Duration,
}

impl Repair {
    const SHORTEST: Duration = Duration::from_secs(1);
    const LONGEST: Duration = Duration::from_secs(60);

    /// Asks for an attempt, and returns when it may be made.
    pub(super) fn ask(&mut self, now: Instant) -> Instant {
        let due = self.not_before.max(now);
        self.due = Some(due);
        due
    }

    /// Whether an attempt is to be made now. Once this was said, the next may be later.
    pub(super) fn start(&mut self, now: Instant) -> bool {
        let is_due = self.due.is_some_and(|due| due <= now);
        if is_due {
            self.due = None;
            if now >= self.not_before + Self::LONGEST {
                self.pause = Self::SHORTEST;
            }
            self.not_before = now + self.pause;
            self.pause = (self.pause * 2).min(Self::LONGEST);
        }
        is_due
    }
}

impl Default for Repair {
    fn default() -> Self {
        Self {
            due: None,
            not_before: Instant::ZERO,
            pause: Self::SHORTEST,
        }
    }
}

impl Router {
    pub(super) fn new(config: RouterConfig) -> Result<Self, Error> {
        let held: Vec<Held> = config
            .addresses
            .iter()
            .map(|address| Held::new(address.clone(), true))
            .chain(
                config
                    .excluded
                    .iter()
                    .map(|address| Held::new(address.clone(), false)),
            )
            .collect();
        let router = Self {
            authenticator: Authenticator::new(&config.authentication),
            advertised: messages::address_list(config.fsm.family, &config.addresses),
            routes: HeldRoute::of(&config.routes),
            config,
            binding: None,
            vrf: None,
            faults: BTreeSet::new(),
            host_faults: BTreeSet::new(),
            is_shut_down: false,
            macvlan: Err(String::new()),
            retry: Repair::default(),
            held,
            messages: Messages::default(),
            unsent_since: None,
            cannot_send: None,
            is_outgoing: false,
        };
        router.check(&router.config)?;
        Ok(router)
    }

    pub(super) fn family(&self) -> Family {
        self.config.fsm.family
    }

    pub(super) fn interface(&self) -> Option<u32> {
        self.binding.map(|binding| binding.interface)
    }

    /// The index of the interface that has its addresses: the macvlan, where it bears the virtual MAC.
    pub(super) fn station(&self) -> Option<u32> {
        match (&self.macvlan, &self.config.virtual_mac) {
            (Ok(macvlan), _) => Some(macvlan.interface()),
            (Err(_), Some(_)) => None,
            (Err(_), None) => self.interface(),
        }
    }

    /// The virtual MAC, where advertisements are to come from it (M-03).
    pub(super) fn frame_source(&self) -> Option<MacAddress> {
        let virtual_mac = self.config.virtual_mac.as_ref()?;
        (self.is_multicast() && !virtual_mac.advertise_from_interface)
            .then(|| virtual_mac_of(self.config.fsm.vrid, self.family()))
    }

    /// Whether the host is to have the addresses itself.
    pub(super) fn accepts(&self, machine: Option<&VirtualRouter>) -> bool {
        !self.config.enforce_accept_mode || machine.is_some_and(VirtualRouter::accepts_traffic)
    }

    pub(super) fn is_multicast(&self) -> bool {
        self.config.transport == Transport::Multicast
    }

    /// The IP protocol of its packets.
    pub(super) fn protocol(&self) -> u8 {
        match self.authenticator {
            #[cfg(feature = "ah")]
            Authenticator::Ah { .. } => vrrp_proto::ah::IP_PROTOCOL,
            _ => IP_PROTOCOL,
        }
    }

    /// Whether its packets travel by this socket.
    pub(super) fn uses(&self, socket: &VrrpSocket) -> bool {
        socket.family() == self.family() && socket.protocol() == self.protocol()
    }

    /// Whether the router could have this configuration, with the addresses and the authentication that it has.
    pub(super) fn check(&self, config: &RouterConfig) -> Result<(), Error> {
        config.check()?;
        let machine = VirtualRouter::new(config.fsm)?;
        Ok(messages::check(
            &machine,
            &self.advertised,
            &self.authenticator,
        )?)
    }

    /// What the fleet knows of it.
    pub(super) fn member(&self, interface: u32) -> Member {
        let mut member = Member::new(interface, self.config.fsm);
        member.transport = match &self.config.transport {
            Transport::Multicast => MessageTransport::Multicast {
                group: group(self.family()),
            },
            Transport::Unicast { peers } => MessageTransport::Unicast {
                peers: peers.clone(),
            },
        };
        member.authentication = self.authenticator.local();
        member.decode = self.config.decode_options();
        member.addresses = self.config.check_addresses.then(|| self.advertised.clone());
        member.tracking.clone_from(&self.config.tracking);
        member
    }

    /// Whether there are addresses that are to be put back now.
    pub(super) fn start_repairs(&mut self, now: Instant) -> bool {
        let mut some = false;
        for held in &mut self.held {
            some |= held.standing.start_repair(now);
        }
        for held in &mut self.routes {
            some |= held.standing.start_repair(now);
        }
        some
    }

    /// Brings the advertisements up to date for sending.
    pub(super) fn prepare(
        &mut self,
        outgoing: Outgoing,
        machine: &VirtualRouter,
    ) -> Result<(), EncodeError> {
        self.messages.prepare(
            outgoing,
            machine,
            &self.advertised,
            &self.config.transport,
            &mut self.authenticator,
        )?;
        if let Some(source) = self.frame_source() {
            let is_sealed = self.protocol() != IP_PROTOCOL;
            self.messages.put_into_frames(source, is_sealed);
        }
        Ok(())
    }

    /// What was prepared, as whole frames.
    pub(super) fn frames(&self) -> impl Iterator<Item = (u32, &[u8])> {
        self.interface()
            .into_iter()
            .flat_map(|interface| self.messages.frames().map(move |frame| (interface, frame)))
    }

    /// What was prepared.
    pub(super) fn datagrams(&self) -> impl Iterator<Item = Datagram<'_>> {
        self.binding.into_iter().flat_map(|binding| {
            let routed = match self.config.unicast_path {
                UnicastPath::Interface => binding.interface,
                UnicastPath::RoutingTable => self.vrf.unwrap_or(0),
            };
            self.messages.datagrams(binding.interface, routed)
        })
    }

    /// What was prepared: the advertisement, and its messages.
    pub(super) fn outgoing(&self) -> (Option<Outgoing>, usize) {
        self.messages.outgoing()
    }

    /// Has the advertisements built anew before the next is sent.
    pub(super) fn forget_messages(&mut self) {
        self.messages.forget();
    }

    /// Replaces the peers of a unicast router.
    pub(super) fn set_peers(&mut self, peers: Vec<Peer>) -> Result<(), Error> {
        check_peers(&peers, self.family())?;
        if self.is_multicast() {
            return Err(Error::Invalid {
                field: "peers",
                problem: "the router advertises by multicast".into(),
            });
        }
        self.config.transport = Transport::Unicast { peers };
        self.forget_messages();
        Ok(())
    }

    /// Replaces the addresses that are listed, or leaves everything as it was.
    pub(super) fn advertise(&mut self, addresses: Vec<VirtualAddress>) -> Result<(), Error> {
        for address in &addresses {
            check_address(address, self.family())?;
        }
        let list = messages::address_list(self.family(), &addresses);
        let machine = VirtualRouter::new(self.config.fsm)?;
        messages::check(&machine, &list, &self.authenticator)?;
        self.advertised = list;
        self.config.addresses = addresses;
        self.forget_messages();
        Ok(())
    }

    /// The address to advertise from, on this interface.
    pub(super) fn primary_address(
        &self,
        interface: &Interface,
        is_virtual: impl Fn(IpAddr) -> bool,
    ) -> Option<IpAddr> {
        if let Some(source) = self.config.source {
            return interface.has(source).then_some(source);
        }
        let routable = match (&self.config.transport, self.family()) {
            (Transport::Unicast { peers }, Family::Ipv6) => peers.iter().any(|peer| {
                matches!(peer.address, IpAddr::V6(address) if !address.is_unicast_link_local())
            }),
            _ => false,
        };
        if routable {
            interface.routable_address(is_virtual)
        } else {
            interface.primary_address(self.family(), is_virtual)
        }
    }

    /// What is missing, as things are.
    pub(super) fn current_faults(
        &self,
        interface: Option<&Interface>,
        primary: Option<IpAddr>,
    ) -> BTreeSet<Fault> {
        let mut faults: BTreeSet<Fault> =
            self.host_faults.iter().cloned().map(Fault::Host).collect();
        faults.extend(self.cannot_send.clone().map(Fault::CannotSend));
        match interface {
            None => {
                faults.insert(Fault::NoInterface);
            }
            Some(interface) => {
                if !interface.link.up {
                    faults.insert(Fault::InterfaceDown);
                }
                if primary.is_none() {
                    faults.insert(Fault::NoPrimaryAddress);
                }
                if let (Some(_), Some(_), Err(reason)) =
                    (&self.config.virtual_mac, self.binding, &self.macvlan)
                {
                    faults.insert(Fault::NoVirtualMac(reason.clone()));
                }
                if self.vrf.is_some() && !sysctl::receives_from_vrfs() {
                    faults.insert(Fault::VrfPacketsIgnored);
                }
                if self.is_multicast() && self.binding.is_some_and(|binding| !binding.joined) {
                    faults.insert(Fault::NoMulticast);
                }
            }
        }
        faults
    }

    /// Looks which of the addresses are on an interface that the router has just been bound to, or on its macvlan, and whose they are.
    pub(super) fn look_for_addresses(&mut self, interface: &Interface, station: &Interface) {
        let is_owner = self.config.fsm.is_owner();
        for held in &mut self.held {
            // The owner's address may have another prefix length than the virtual one that it was given here.
            held.is_native = is_owner && held.is_own_of(interface, station);
            held.is_answered = false;
            held.standing.installed = held.is_native || held.address.is_on(station);
            held.standing.give_up_repair();
        }
    }

    /// Looks whose the addresses are now that the router may be their owner, or no longer be it. Returns what has to go from the interface or from
    /// the macvlan: an address in a form in which the router does not hold it.
    pub(super) fn look_whose_addresses(
        &mut self,
        interface: &Interface,
        station: &Interface,
    ) -> Vec<Step> {
        let is_owner = self.config.fsm.is_owner();
        let mut gone = Vec::new();
        for held in &mut self.held {
            let is_native = is_owner && held.is_own_of(interface, station);
            match (held.is_native, is_native) {
                (false, true) => {
                    if held.is_added() {
                        gone.push(Step::take_away(station.link.index, held));
                    }
                    held.is_answered = false;
                    held.standing.installed = true;
                    held.standing.give_up_repair();
                }
                (true, false) => {
                    let stays = |own: &&InterfaceAddress| {
                        interface.link.index == station.link.index && held.address.is_at(own)
                    };
                    let own = interface.addresses.iter();
                    let own = own.filter(|own| own.address == held.address.address());
                    let (kept, others): (Vec<_>, Vec<_>) = own.partition(stays);
                    let others = others.into_iter();
                    gone.extend(others.filter_map(|own| Step::clear(interface, own)));
                    held.standing.installed = !kept.is_empty();
                }
                _ => {}
            }
            held.is_native = is_native;
        }
        gone
    }

    /// Notes that no address is in place any more, because what they were on is gone. Routes and drop routes may have stayed.
    pub(super) fn lose_addresses(&mut self) {
        for held in self.held.iter_mut().filter(|held| !held.is_answered) {
            held.standing.installed = false;
            held.standing.give_up_repair();
        }
    }
}

/// What can be seen of a router.
#[derive(Clone, Copy, Debug)]
pub struct RouterView<'a> {
    pub(super) id: RouterId,
    pub(super) machine: &'a VirtualRouter,
    pub(super) router: &'a Router,
    pub(super) interfaces: &'a Interfaces,
}

impl<'a> RouterView<'a> {
    /// Which router it is.
    #[must_use]
    pub const fn id(&self) -> RouterId {
        self.id
    }

    /// The configuration, with what was changed since.
    #[must_use]
    pub const fn config(&self) -> &'a RouterConfig {
        &self.router.config
    }

    /// The state machine, which has getters for all that it knows: state, priority, timers, the Active, counters.
    pub const fn machine(&self) -> &'a VirtualRouter {
        self.machine
    }

    /// The state.
    #[must_use]
    pub const fn state(&self) -> State {
        self.machine.state()
    }

    /// The interface with its addresses, while there is one.
    #[must_use]
    pub fn interface(&self) -> Option<&'a Interface> {
        self.interfaces.get(self.router.interface()?)
    }

    /// What the router needs and is missing.
    pub fn faults(&self) -> impl Iterator<Item = &'a Fault> {
        self.router.faults.iter()
    }

    /// The virtual addresses, listed ones first, each with whether it is in place.
    pub fn addresses(&self) -> impl Iterator<Item = (&'a VirtualAddress, bool)> {
        self.router
            .held
            .iter()
            .map(|held| (&held.address, held.standing.installed))
    }

    /// The virtual routes, each with whether it is in place.
    pub fn routes(&self) -> impl Iterator<Item = (&'a Route, bool)> {
        self.router
            .routes
            .iter()
            .map(|held| (&held.route, held.standing.installed))
    }

    /// The macvlan that bears the virtual MAC, where there is one.
    #[must_use]
    pub fn macvlan(&self) -> Option<&'a Macvlan> {
        self.router.macvlan.as_ref().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_removed_again_and_again_is_put_back_ever_less_often() {
        let at = |seconds| Instant::ZERO + Duration::from_secs(seconds);
        let mut held = Standing::default();
        assert!(!held.start_repair(at(100)), "nothing is lost yet");

        held.lose(at(100));
        assert!(held.start_repair(at(100)), "the first time at once");
        assert!(!held.start_repair(at(1000)), "it is under way");

        let mut last = 100;
        for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
            held.lose(at(last));
            last += pause;
            assert!(!held.start_repair(at(last - 1)), "{pause}");
            assert!(held.start_repair(at(last)), "{pause}");
        }

        last += 180;
        held.lose(at(last));
        assert!(held.start_repair(at(last)));
        held.lose(at(last));
        assert!(held.start_repair(at(last + 1)), "it has started over");
    }
}
