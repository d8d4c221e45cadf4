//! One virtual router of the driver: the Linux half, next to the state machine.

use std::{collections::BTreeSet, net::IpAddr};

use vrrp_fsm::{
    Instant, Outgoing, State, Transition, VirtualRouter,
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
    compact::CompactConfig,
    config::{check_address, check_peers},
    messages::{self, Messages},
};
use crate::{
    Datagram, Error, Interface, Macvlan, Route, VirtualAddress, VrrpSocket,
    kernel::{macvlan::default_name, sysctl},
    plan::{Actual, Kept, Stage, Wanted, WantedMacvlan},
};

/// The host's side of a virtual router.
#[derive(Debug)]
pub(super) struct Router {
    pub(super) config: CompactConfig,
    pub(super) authenticator: Authenticator,
    /// The interface, while there is one of that name.
    pub(super) binding: Option<Binding>,
    /// The index of the VRF that the interface is in.
    pub(super) vrf: Option<u32>,
    /// `None` while there are no faults.
    problems: Option<Box<Problems>>,
    /// The state that was reported last.
    pub(super) reported: State,
    /// Whether it was shut down for good.
    pub(super) is_shut_down: bool,
    /// The macvlan, where the router uses its virtual MAC.
    pub(super) macvlan: Option<Box<RouterMacvlan>>,
    /// Whether addresses without our mark are the router's: it was their owner until now.
    pub(super) takes_unmarked: bool,
    messages: Messages,
    /// Set while no advertisement can be sent.
    pub(super) silence: Option<Box<Silence>>,
    /// Whether an advertisement waits to be sent.
    pub(super) is_outgoing: bool,
}

/// The faults of a router.
#[derive(Debug, Default)]
pub(super) struct Problems {
    pub(super) faults: BTreeSet<Fault>,
    /// The causes of faults that the host has set.
    pub(super) host_faults: BTreeSet<String>,
}

static NO_FAULTS: BTreeSet<Fault> = BTreeSet::new();

/// A time in which no advertisement could be sent.
#[derive(Debug)]
pub(super) struct Silence {
    pub(super) since: Instant,
    /// The reason, once it has lasted for Active_Down_Interval.
    pub(super) reason: Option<String>,
}

/// A router on an interface: the parts of it that are in place there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Binding {
    pub(super) interface: u32,
    /// Whether the group is joined there, where the transport asks for it.
    pub(super) joined: bool,
    /// Whether it has put anything in place there. Before that, an address with our mark was left
    /// by another run.
    pub(super) has_installed: bool,
}

/// The macvlan of a router that uses its virtual MAC.
#[derive(Debug, Default)]
pub(super) struct RouterMacvlan {
    /// Its name on the interface that the router is bound to.
    name: String,
    pub(super) made: Option<Macvlan>,
    /// The reason why it could not be made.
    pub(super) refusal: Option<String>,
}

impl Router {
    /// Shares what it can of its configuration with one of `others`.
    pub(super) fn new<'a>(
        config: RouterConfig,
        others: impl IntoIterator<Item = &'a CompactConfig>,
    ) -> Result<Self, Error> {
        let authenticator = Authenticator::new(&config.authentication);
        check(&config, &authenticator)?;
        Ok(Self {
            authenticator,
            macvlan: config.virtual_mac.is_some().then(Box::default),
            config: CompactConfig::new(config, others),
            binding: None,
            vrf: None,
            problems: None,
            reported: State::Initialize,
            is_shut_down: false,
            takes_unmarked: false,
            messages: Messages::default(),
            silence: None,
            is_outgoing: false,
        })
    }

    pub(super) fn family(&self) -> Family {
        self.config.family()
    }

    /// The settings that routers may have in common.
    pub(super) fn common(&self) -> &RouterConfig {
        self.config.common()
    }

    /// The faults.
    pub(super) fn faults(&self) -> &BTreeSet<Fault> {
        self.problems.as_ref().map_or(&NO_FAULTS, |it| &it.faults)
    }

    /// Changes the faults.
    pub(super) fn change_problems(&mut self, change: impl FnOnce(&mut Problems)) {
        let mut problems = self.problems.take().unwrap_or_default();
        change(&mut problems);
        let is_any = !problems.faults.is_empty() || !problems.host_faults.is_empty();
        self.problems = is_any.then_some(problems);
    }

    /// Notes a change of state that is about to be reported. It begins in the state that was
    /// reported last.
    pub(super) fn report(&mut self, transition: Transition) -> Transition {
        let from = std::mem::replace(&mut self.reported, transition.to);
        Transition { from, ..transition }
    }

    pub(super) fn interface(&self) -> Option<u32> {
        self.binding.map(|binding| binding.interface)
    }

    /// The index of the interface that has its addresses: the macvlan, where it uses its virtual
    /// MAC.
    pub(super) fn address_interface(&self) -> Option<u32> {
        match &self.macvlan {
            Some(macvlan) => macvlan.made.as_ref().map(Macvlan::interface),
            None => self.interface(),
        }
    }

    /// The wanted state of the host, given the state of the router's machine.
    pub(super) fn wanted(&self, machine: Option<&VirtualRouter>) -> Wanted<'_> {
        let is_active = machine.is_some_and(|machine| machine.state() == State::Active);
        let is_owner = self.config.is_owner();
        Wanted {
            stage: if self.is_shut_down {
                Stage::Ended
            } else if is_active {
                Stage::Active
            } else {
                Stage::Idle
            },
            interface: self.interface(),
            macvlan: self.macvlan.as_deref().map(|macvlan| WantedMacvlan {
                mac: virtual_mac_of(self.config.vrid, self.family()),
                name: &macvlan.name,
            }),
            address_interface: self.address_interface(),
            addresses: self.config.addresses(),
            excluded: &self.common().excluded,
            routes: &self.common().routes,
            is_owner,
            accepts: self.accepts(machine),
            takes_unmarked: self.takes_unmarked,
        }
    }

    /// All virtual addresses: first the ones that are listed in advertisements, then the others.
    pub(super) fn all(&self) -> impl Iterator<Item = &VirtualAddress> {
        self.config
            .addresses()
            .iter()
            .chain(&self.common().excluded)
    }

    /// Binds it to the interface of this index.
    pub(super) fn bind(&mut self, interface: u32) {
        self.binding = Some(Binding {
            interface,
            joined: false,
            has_installed: false,
        });
        let (family, vrid) = (self.family(), self.config.vrid);
        if let (Some(wanted), Some(macvlan)) =
            (&self.config.common().virtual_mac, &mut self.macvlan)
        {
            macvlan.name = match &wanted.name {
                Some(name) => name.clone(),
                None => default_name(family, vrid, interface),
            };
        }
    }

    /// Notes that it has put something in place.
    pub(super) fn note_installed(&mut self) {
        if let Some(binding) = &mut self.binding {
            binding.has_installed = true;
        }
    }

    /// Whether something of ours on its interface was left by another run, because the router has
    /// put nothing there yet.
    pub(super) fn finds_left_overs(&self) -> bool {
        self.binding.is_some_and(|binding| !binding.has_installed)
    }

    /// Unties it from its interface.
    pub(super) fn unbind(&mut self) {
        self.binding = None;
        if let Some(macvlan) = &mut self.macvlan {
            macvlan.made = None;
            macvlan.refusal = None;
        }
    }

    /// Whether it waits for the removal of an address that another program put on its interface.
    pub(super) fn is_kept_down_by_an_address(&self) -> bool {
        self.faults()
            .iter()
            .any(|fault| matches!(fault, Fault::ForeignAddress(_)))
    }

    /// Whether it waits for another instance to give up its virtual MAC.
    pub(super) fn lacks_virtual_mac(&self) -> bool {
        self.faults()
            .iter()
            .any(|fault| matches!(fault, Fault::VirtualMacInUse(_)))
    }

    /// The virtual MAC, where advertisements come from it (M-03).
    pub(super) fn frame_source(&self) -> Option<MacAddress> {
        let virtual_mac = self.common().virtual_mac.as_ref()?;
        (self.is_multicast() && !virtual_mac.advertise_from_interface)
            .then(|| virtual_mac_of(self.config.vrid, self.family()))
    }

    /// Whether the host should have the addresses itself.
    pub(super) fn accepts(&self, machine: Option<&VirtualRouter>) -> bool {
        !self.common().enforce_accept_mode || machine.is_some_and(VirtualRouter::accepts_traffic)
    }

    pub(super) fn is_multicast(&self) -> bool {
        self.common().transport == Transport::Multicast
    }

    /// The multicast group that its advertisements go to, where it uses one.
    pub(super) fn group(&self) -> Option<IpAddr> {
        let group = || self.common().group.unwrap_or_else(|| group(self.family()));
        self.is_multicast().then(group)
    }

    /// The IP protocol of its packets.
    pub(super) fn protocol(&self) -> u8 {
        match self.authenticator {
            #[cfg(feature = "ah")]
            Authenticator::Ah(_) => vrrp_proto::ah::IP_PROTOCOL,
            _ => IP_PROTOCOL,
        }
    }

    /// Whether its packets travel by this socket.
    pub(super) fn uses(&self, socket: &VrrpSocket) -> bool {
        socket.family() == self.family() && socket.protocol() == self.protocol()
    }

    /// Whether the router could have this configuration, with the authentication that it has.
    pub(super) fn check(&self, config: &RouterConfig) -> Result<(), Error> {
        check(config, &self.authenticator)
    }

    /// The configuration of its machine in the fleet.
    pub(super) fn member(&self, interface: u32) -> Member {
        let mut member = Member::new(interface, self.config.fsm());
        member.transport = match &self.common().transport {
            Transport::Multicast => MessageTransport::Multicast {
                group: self.common().group.unwrap_or_else(|| group(self.family())),
            },
            Transport::Unicast { peers } => MessageTransport::Unicast {
                peers: peers.clone(),
            },
        };
        member.authentication = self.authenticator.local();
        member.decode = self.config.decode_options();
        member.addresses = self.common().check_addresses.then(|| self.address_list());
        member.tracking.clone_from(&self.common().tracking);
        member
    }

    /// The addresses that its advertisements list.
    fn address_list(&self) -> AddressList {
        messages::address_list(
            self.family(),
            self.config.addresses(),
            &self.common().listed,
        )
    }

    /// Brings the advertisements up to date for sending.
    pub(super) fn prepare(
        &mut self,
        outgoing: Outgoing,
        machine: &VirtualRouter,
    ) -> Result<(), EncodeError> {
        self.messages
            .prepare(outgoing, machine, &self.config, &mut self.authenticator)?;
        if let Some(source) = self.frame_source() {
            let is_sealed = self.protocol() != IP_PROTOCOL;
            self.messages.put_into_frames(source, is_sealed);
        }
        Ok(())
    }

    /// The prepared messages, as whole frames.
    pub(super) fn frames(&self) -> impl Iterator<Item = (u32, &[u8])> {
        self.interface()
            .into_iter()
            .flat_map(|interface| self.messages.frames().map(move |frame| (interface, frame)))
    }

    /// The prepared messages.
    pub(super) fn datagrams(&self) -> impl Iterator<Item = Datagram<'_>> {
        self.binding.into_iter().flat_map(|binding| {
            let routed = match self.common().unicast_path {
                UnicastPath::Interface => binding.interface,
                UnicastPath::RoutingTable => self.vrf.unwrap_or(0),
            };
            let config = &self.config;
            self.messages.datagrams(config, binding.interface, routed)
        })
    }

    /// The prepared advertisement, and the number of its messages.
    pub(super) fn outgoing(&self) -> (Option<Outgoing>, usize) {
        self.messages.outgoing()
    }

    /// Discards the advertisements; they are built again before the next one is sent.
    pub(super) fn forget_messages(&mut self) {
        self.messages.forget();
    }

    /// The configuration with other peers, for a unicast router.
    pub(super) fn with_peers(&self, peers: Vec<Peer>) -> Result<RouterConfig, Error> {
        check_peers(&peers, self.family())?;
        if self.is_multicast() {
            return Err(Error::Invalid {
                field: "peers",
                problem: "the router advertises by multicast".into(),
            });
        }
        Ok(RouterConfig {
            transport: Transport::Unicast { peers },
            ..self.config.whole()
        })
    }

    /// Replaces the addresses that are listed, or leaves everything as it was.
    pub(super) fn advertise(&mut self, addresses: Vec<VirtualAddress>) -> Result<(), Error> {
        for address in &addresses {
            check_address(address, self.family())?;
        }
        let list = messages::address_list(self.family(), &addresses, &self.common().listed);
        let machine = VirtualRouter::new(self.config.fsm())?;
        let deviations = self.common().own_deviations;
        messages::check(&machine, &list, &self.authenticator, deviations)?;
        self.config.set_addresses(addresses);
        self.forget_messages();
        Ok(())
    }

    /// The address to advertise from, on this interface.
    pub(super) fn primary_address(
        &self,
        interface: &Interface,
        is_virtual: impl Fn(IpAddr) -> bool,
    ) -> Option<IpAddr> {
        if let Some(source) = self.common().source {
            return interface.has(source).then_some(source);
        }
        let routable = match (&self.common().transport, self.family()) {
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

    /// The faults in the present state of the host.
    pub(super) fn current_faults(
        &self,
        interface: Option<&Interface>,
        primary: Option<IpAddr>,
    ) -> BTreeSet<Fault> {
        let of_host = self.problems.iter().flat_map(|it| &it.host_faults);
        let mut faults: BTreeSet<Fault> = of_host.cloned().map(Fault::Host).collect();
        let reason = self.silence.as_ref().and_then(|it| it.reason.clone());
        faults.extend(reason.map(Fault::CannotSend));
        match interface {
            None => {
                faults.insert(Fault::NoInterface);
            }
            Some(interface) => {
                if !interface.link.up && self.common().track_interface {
                    faults.insert(Fault::InterfaceDown);
                }
                if primary.is_none() {
                    faults.insert(Fault::NoPrimaryAddress);
                }
                let refusal = self.macvlan.as_ref().and_then(|it| it.refusal.as_ref());
                faults.extend(refusal.cloned().map(Fault::NoVirtualMac));
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
}

impl RouterConfig {
    /// Validates the configuration without a driver and without privileges, so that a program can
    /// refuse a file before it changes anything. Only [`Driver::add`](super::Driver::add) can find
    /// another router of the same interface, family and VRID (S-01), and a lack of capabilities.
    ///
    /// # Errors
    ///
    /// The unusable field, as from [`Driver::add`](super::Driver::add).
    pub fn validate(&self) -> Result<(), Error> {
        check(self, &Authenticator::new(&self.authentication))
    }
}

/// Whether a router could have this configuration.
fn check(config: &RouterConfig, authenticator: &Authenticator) -> Result<(), Error> {
    config.check()?;
    let machine = VirtualRouter::new(config.fsm)?;
    let list = messages::address_list(config.fsm.family, &config.addresses, &config.listed);
    let deviations = config.own_deviations;
    Ok(messages::check(&machine, &list, authenticator, deviations)?)
}

/// A read-only view of a router.
#[derive(Clone, Copy, Debug)]
pub struct RouterView<'a> {
    pub(super) id: RouterId,
    pub(super) machine: &'a VirtualRouter,
    pub(super) router: &'a Router,
    pub(super) actual: &'a Actual,
    pub(super) kept: &'a [Kept],
}

impl<'a> RouterView<'a> {
    /// The id of the router.
    #[must_use]
    pub const fn id(&self) -> RouterId {
        self.id
    }

    /// The configuration, with the changes since the router was added. Each call makes a new value,
    /// because routers share equal parts of their configurations. To find a router,
    /// [`interface_name`](Self::interface_name) and [`machine`](Self::machine) take less time.
    #[must_use]
    pub fn config(&self) -> RouterConfig {
        self.router.config.whole()
    }

    /// The name of its interface, as in [`RouterConfig::interface`].
    #[must_use]
    pub fn interface_name(&self) -> &'a str {
        &self.router.common().interface
    }

    /// The state machine, with getters for its state, priority, timers, the Active, and counters.
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
        self.actual.interfaces().get(self.router.interface()?)
    }

    /// The faults of the router on this host.
    pub fn faults(&self) -> impl Iterator<Item = &'a Fault> {
        self.router.faults().iter()
    }

    /// The virtual addresses, listed ones first, each with whether it is in place.
    pub fn addresses(&self) -> impl Iterator<Item = (&'a VirtualAddress, bool)> {
        let wanted = self.router.wanted(Some(self.machine));
        let actual = self.actual;
        wanted
            .all()
            .map(move |address| (address, wanted.is_in_place(address, actual)))
    }

    /// The virtual routes, each with whether it is in place.
    pub fn routes(&self) -> impl Iterator<Item = (&'a Route, bool)> {
        let wanted = self.router.wanted(Some(self.machine));
        let actual = self.actual;
        wanted.routes.iter().map(move |route| {
            let interface = wanted.interface_of(route, actual);
            (route, actual.has_route(interface, route))
        })
    }

    /// The virtual addresses that are in place although the router is not Active: another running
    /// instance on this host uses them.
    pub fn addresses_of_others(&self) -> impl Iterator<Item = &'a VirtualAddress> {
        self.kept.iter().filter_map(|it| match it {
            Kept::Address(address) => Some(address),
            Kept::Route(_) => None,
        })
    }

    /// The virtual routes that are in place although the router is not Active: another running
    /// instance on this host uses them.
    pub fn routes_of_others(&self) -> impl Iterator<Item = &'a Route> {
        self.kept.iter().filter_map(|it| match it {
            Kept::Route(route) => Some(route),
            Kept::Address(_) => None,
        })
    }

    /// The macvlan of the virtual MAC, where there is one.
    #[must_use]
    pub fn macvlan(&self) -> Option<&'a Macvlan> {
        self.router.macvlan.as_ref()?.made.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use vrrp_fsm::{Config, Reason};
    use vrrp_proto::Vrid;

    use super::*;

    fn router() -> Router {
        let fsm = Config::new(Vrid::MIN, Family::Ipv4);
        let addresses = vec!["192.0.2.1".parse().unwrap()];
        Router::new(RouterConfig::new("eth0", fsm, addresses), []).unwrap()
    }

    #[test]
    fn a_change_begins_in_the_state_that_was_reported_last() {
        let mut router = router();
        let change = |from, to| Transition {
            from,
            to,
            reason: Reason::ActiveDown,
        };
        let first = router.report(change(State::Initialize, State::Backup));
        assert_eq!((first.from, first.to), (State::Initialize, State::Backup));
        // Backup -> Active -> Backup was coalesced before it.
        let second = router.report(change(State::Active, State::Initialize));
        assert_eq!((second.from, second.to), (State::Backup, State::Initialize));
    }

    #[test]
    fn a_router_without_faults_keeps_no_room_for_them() {
        let mut router = router();
        router.change_problems(|it| it.faults = BTreeSet::from([Fault::InterfaceDown]));
        assert!(router.faults().contains(&Fault::InterfaceDown));
        router.change_problems(|it| it.faults.clear());
        assert!(router.faults().is_empty() && router.problems.is_none());
    }
}
