//! The known state of the host.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
};

use vrrp_proto::frame::MacAddress;

use super::{Change, Claim, Claims, WantedMacvlan, holders::Present};
use crate::{
    ADDRESS_PROTOCOL, Interface, InterfaceAddress, Interfaces, KEEPALIVED_PROTOCOL, Link,
    MonitorEvent, Route,
};

/// The links, addresses and marked routes of a host, of all programs, and the addresses that the
/// proxy answers for.
///
/// It follows notifications ([`apply`](Self::apply)), the results of our own changes
/// ([`made`](Self::made)), and dumps ([`resync`](Self::resync)). The kernel reports no removal
/// of a route along with its link or its address, so such a route counts as doubtful. Adding an
/// existing route, or removing a missing one, changes nothing.
#[derive(Debug, Default)]
pub(crate) struct Actual {
    interfaces: Interfaces,
    /// The addresses of each interface, for a quick look-up.
    present: Present,
    /// Macvlans by parent and hardware address.
    macvlans: BTreeSet<(u32, [u8; 6], u32)>,
    /// The macvlans that this driver made or took over, whatever their alias is now.
    made: BTreeSet<u32>,
    /// Parents whose settings this driver has changed.
    quieted: BTreeSet<u32>,
    /// Routes that forward packets, by table and prefix.
    routes: HashMap<(u32, IpAddr, u8), Vec<MarkedRoute>>,
    /// Routes that discard, each with whether it may be gone.
    discards: BTreeMap<IpAddr, bool>,
    /// The addresses that the proxy answers for.
    proxied: BTreeMap<(u32, IpAddr), Option<MacAddress>>,
    /// The addresses that this driver added, where the kernel keeps no mark (before Linux 5.18).
    added: Option<BTreeSet<(u32, IpAddr, u8)>>,
    /// The addresses that are known from the results of our own requests alone. The notification
    /// shows their place among the addresses of the interface.
    unplaced: BTreeSet<(u32, IpAddr, u8)>,
    /// The claims of other running instances on this host, as last stated.
    claims: Claims,
    /// Whether there are such instances. Their claims may have changed since.
    has_company: bool,
    /// Whether they have not stated their claims yet.
    awaits_claims: bool,
}

/// A marked route that forwards packets.
#[derive(Debug)]
struct MarkedRoute {
    interface: Option<u32>,
    route: Route,
    /// Whether it may be gone without a notification.
    is_doubted: bool,
}

/// Something that is gone, although we did not remove it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    Address {
        interface: u32,
        address: InterfaceAddress,
    },
    Route {
        route: Route,
    },
}

impl Actual {
    /// The state of a host. `keeps_marks`: the kernel keeps the marks of addresses.
    pub(crate) fn new(interfaces: Interfaces, keeps_marks: bool) -> Self {
        let mut actual = Self {
            added: (!keeps_marks).then(BTreeSet::new),
            ..Self::default()
        };
        actual.resync(interfaces);
        actual
    }

    pub(crate) const fn interfaces(&self) -> &Interfaces {
        &self.interfaces
    }

    /// The claims of other running instances.
    pub(crate) const fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Replaces the claims of other running instances.
    pub(crate) fn set_claims(&mut self, claims: Claims) {
        self.claims = claims;
    }

    /// Assumes that another instance uses an address, until the next answers.
    pub(crate) fn doubt_address(&mut self, interface: u32, local: IpAddr) {
        self.claims.doubt_address(interface, local);
    }

    /// Whether other instances run on this host.
    pub(crate) const fn has_company(&self) -> bool {
        self.has_company
    }

    /// Notes whether other instances run on this host.
    pub(crate) fn set_company(&mut self, has_company: bool) {
        self.has_company = has_company;
    }

    /// Whether other instances have not stated their claims yet.
    pub(crate) const fn awaits_claims(&self) -> bool {
        self.awaits_claims
    }

    /// Notes whether other instances have not stated their claims yet.
    pub(crate) const fn set_awaits_claims(&mut self, awaits: bool) {
        self.awaits_claims = awaits;
    }

    /// Applies a notification. Returns the thing that is gone.
    pub(crate) fn apply(&mut self, event: &MonitorEvent) -> Option<Lost> {
        let mut lost = None;
        match event {
            MonitorEvent::Link(link) => {
                self.index_link(link);
                if !link.up {
                    self.doubt_routes(|oif, _| oif.is_none_or(|oif| oif == link.index));
                }
            }
            MonitorEvent::LinkGone { interface } => self.forget_link(*interface),
            MonitorEvent::AddressAdded { interface, address } => {
                if self.interfaces.get(*interface).is_some() {
                    self.present.insert(*interface, address.address);
                }
                let key = key_of_address(*interface, address);
                if address.peer.is_none() && self.unplaced.remove(&key) {
                    let (interface, address) = (*interface, address.clone());
                    self.interfaces
                        .apply(&MonitorEvent::AddressRemoved { interface, address });
                }
            }
            MonitorEvent::AddressRemoved { interface, address } => {
                let was_there = self
                    .addresses(*interface, address.address)
                    .any(|own| own.is_same(address));
                if was_there {
                    let (interface, address) = (*interface, address.clone());
                    lost = Some(Lost::Address { interface, address });
                }
                self.doubt_routes(|oif, route| {
                    oif.is_none_or(|oif| oif == *interface)
                        || route.source() == Some(address.address)
                });
                let key = key_of_address(*interface, address);
                self.unplaced.remove(&key);
                if let Some(added) = &mut self.added {
                    added.remove(&key);
                }
            }
            MonitorEvent::RouteRemoved { interface, route } => {
                // We may have added it again before this notification was read.
                if self.doubt_route(*interface, route) {
                    let route = route.clone();
                    lost = Some(Lost::Route { route });
                }
            }
            MonitorEvent::Overrun => {}
        }
        self.interfaces.apply(event);
        if let MonitorEvent::AddressRemoved { interface, address } = event {
            let (interface, local) = (*interface, address.address);
            if self.present.contains(interface, local)
                && self.addresses(interface, local).next().is_none()
            {
                self.present.remove(interface, local);
            }
        }
        lost
    }

    /// Applies a dump of all links and addresses. Returns the addresses that are gone.
    pub(crate) fn resync(&mut self, interfaces: Interfaces) -> Vec<Lost> {
        let before = std::mem::replace(&mut self.interfaces, interfaces);
        self.present.clear();
        self.macvlans.clear();
        self.unplaced.clear();
        let links: Vec<Link> = self.interfaces.iter().map(|it| it.link.clone()).collect();
        for link in &links {
            self.index_link(link);
        }
        for interface in self.interfaces.iter() {
            for own in &interface.addresses {
                self.present.insert(interface.link.index, own.address);
            }
        }
        let mut lost = Vec::new();
        for interface in before.iter() {
            let index = interface.link.index;
            for own in &interface.addresses {
                let mut now = self.addresses(index, own.address);
                if !now.any(|it| it.is_same(own)) {
                    lost.push(Lost::Address {
                        interface: index,
                        address: own.clone(),
                    });
                }
            }
        }
        let is_gone = |index: &u32| self.interfaces.get(*index).is_none();
        let known = self.made.iter().chain(&self.quieted);
        let gone: Vec<u32> = known.copied().filter(is_gone).collect();
        for index in gone {
            self.forget_link(index);
        }
        // Another link may have the index by now.
        let quiet = |index: &u32| {
            self.link(*index)
                .is_some_and(|it| it.settings_record().is_some())
        };
        let quieted = self.quieted.iter().copied().filter(quiet).collect();
        let virtual_mac = |index: &u32| {
            let mac = self.link(*index).and_then(|it| it.mac);
            mac.is_some_and(|mac| mac.virtual_router().is_some())
        };
        let made = self.made.iter().copied().filter(virtual_mac).collect();
        self.quieted = quieted;
        self.made = made;
        self.proxied
            .retain(|(index, _), _| self.interfaces.get(*index).is_some());
        self.doubt_routes(|_, _| true);
        lost
    }

    /// Applies the marked routes of a dump.
    pub(crate) fn found_routes(&mut self, routes: impl IntoIterator<Item = (Option<u32>, Route)>) {
        self.routes.clear();
        self.discards.clear();
        for (interface, route) in routes {
            self.note_route(interface, route);
        }
    }

    /// Notes that a change was made, or that there was nothing to change.
    pub(crate) fn made(&mut self, change: &Change, has_changed: bool) {
        match change {
            Change::CreateMacvlan { .. } => {}
            Change::QuietParent { parent, .. } => {
                // The record comes with the notification.
                self.quieted.insert(*parent);
            }
            Change::RestoreParent { interface } => {
                self.quieted.remove(interface);
                if let Some(mut link) = self.link(*interface).cloned() {
                    let record = link.settings_record().map(|(name, _)| name.to_owned());
                    link.alt_names.retain(|it| Some(it) != record.as_ref());
                    self.interfaces.apply(&MonitorEvent::Link(link));
                }
            }
            Change::DeleteLink { interface } => {
                let interface = *interface;
                self.apply(&MonitorEvent::LinkGone { interface });
            }
            Change::SetUp { interface } => self.enable(*interface, true),
            Change::SetDown { interface } => self.enable(*interface, false),
            Change::AddAddress { interface, address } => {
                let (index, local) = (*interface, address.address());
                if has_changed && let Some(added) = &mut self.added {
                    added.insert((index, local, address.prefix_len()));
                }
                let mut own = InterfaceAddress {
                    address: local,
                    prefix_len: address.prefix_len(),
                    peer: None,
                    protocol: if has_changed { ADDRESS_PROTOCOL } else { 0 },
                    secondary: false,
                    usable: true,
                    scope: address.scope(),
                };
                if let Some(interface) = self.interfaces.get(index).filter(|_| local.is_ipv4()) {
                    let is_first = |it: &InterfaceAddress| !it.secondary && own.is_in_subnet_of(it);
                    own.secondary = own.prefix_len < 32 && interface.addresses.iter().any(is_first);
                }
                let key = key_of_address(index, &own);
                let is_known = self.is_known(index, &own);
                self.apply(&MonitorEvent::AddressAdded {
                    interface: index,
                    address: own,
                });
                if !is_known {
                    self.unplaced.insert(key);
                }
            }
            Change::RemoveAddress { interface, address } => {
                self.apply(&MonitorEvent::AddressRemoved {
                    interface: *interface,
                    address: address.clone(),
                });
            }
            Change::BeginProxy { interface, address } => {
                let mac = self.interfaces.get(*interface).and_then(|it| it.link.mac);
                self.proxied.insert((*interface, *address), mac);
            }
            Change::EndProxy { interface, address } => {
                self.proxied.remove(&(*interface, *address));
            }
            Change::AddRoute { interface, route } => self.note_route(*interface, route.clone()),
            Change::RemoveRoute { interface, route } => {
                self.forget_route(*interface, route);
            }
        }
    }

    /// Notes that a macvlan is ours.
    pub(crate) fn adopt(&mut self, link: Link) {
        self.made.insert(link.index);
        self.apply(&MonitorEvent::Link(link));
    }

    /// The addresses of an interface with this local part.
    pub(crate) fn addresses(
        &self,
        interface: u32,
        local: IpAddr,
    ) -> impl Iterator<Item = &InterfaceAddress> {
        let found = self
            .present
            .contains(interface, local)
            .then(|| self.interfaces.get(interface))
            .flatten();
        let all = found.into_iter().flat_map(|it| &it.addresses);
        all.filter(move |own| own.address == local)
    }

    /// Whether an interface has this address by a notification or a dump.
    pub(crate) fn is_known(&self, interface: u32, address: &InterfaceAddress) -> bool {
        let mut own = self.addresses(interface, address.address);
        own.any(|own| own.is_same(address))
            && !self.unplaced.contains(&key_of_address(interface, address))
    }

    /// Whether an interface has an address with this local part, in whatever form.
    pub(crate) fn has_address(&self, interface: u32, local: IpAddr) -> bool {
        self.present.contains(interface, local)
    }

    /// Whether an address has the mark of virtual addresses.
    pub(crate) fn is_marked(&self, interface: u32, own: &InterfaceAddress) -> bool {
        match &self.added {
            Some(added) => added.contains(&(interface, own.address, own.prefix_len)),
            None => matches!(own.protocol, ADDRESS_PROTOCOL | KEEPALIVED_PROTOCOL),
        }
    }

    /// Whether the kernel keeps the marks of addresses.
    pub(crate) const fn keeps_marks(&self) -> bool {
        self.added.is_none()
    }

    /// Whether the settings keep a parent from answering ARP for the addresses of its macvlans.
    pub(crate) fn is_quiet(&self, parent: u32) -> bool {
        self.quieted.contains(&parent)
    }

    /// Whether a link is set up, whatever its carrier.
    pub(crate) fn is_enabled(&self, interface: u32) -> bool {
        self.link(interface).is_some_and(|it| it.enabled)
    }

    /// The hardware address by which the proxy answers for an address on an interface.
    pub(crate) fn proxy(&self, interface: u32, local: IpAddr) -> Option<MacAddress> {
        self.proxied.get(&(interface, local)).copied().flatten()
    }

    /// The addresses that the proxy answers for, each with its interface.
    pub(crate) fn proxied(&self) -> impl Iterator<Item = (u32, IpAddr)> {
        self.proxied.keys().copied()
    }

    /// The addresses that the proxy answers for on an interface.
    pub(crate) fn proxied_on(&self, interface: u32) -> Vec<IpAddr> {
        let all = self.proxied().filter(|(index, _)| *index == interface);
        all.map(|(_, address)| address).collect()
    }

    pub(crate) fn is_proxied(&self, interface: u32, local: IpAddr) -> bool {
        self.proxied.contains_key(&(interface, local))
    }

    /// Whether packets to an address are discarded for sure.
    pub(crate) fn is_discarded(&self, local: IpAddr) -> bool {
        self.discards.get(&local) == Some(&false)
    }

    /// Whether packets to an address may be discarded.
    pub(crate) fn may_be_discarded(&self, local: IpAddr) -> bool {
        self.discards.contains_key(&local)
    }

    /// Whether a route is there for sure.
    pub(crate) fn has_route(&self, interface: Option<u32>, route: &Route) -> bool {
        let mut found = self.found(interface, route);
        found.any(|it| !it.is_doubted)
    }

    /// Whether a route may be there.
    pub(crate) fn may_have_route(&self, interface: Option<u32>, route: &Route) -> bool {
        if route.discards() {
            return self.may_be_discarded(route.destination());
        }
        self.found(interface, route).next().is_some()
    }

    fn found(&self, interface: Option<u32>, route: &Route) -> impl Iterator<Item = &MarkedRoute> {
        let all = self.routes.get(&key_of(route)).into_iter().flatten();
        all.filter(move |found| found.is(interface, route))
    }

    /// The marked routes, with the index of their interface.
    pub(crate) fn routes(&self) -> impl Iterator<Item = (Option<u32>, Route)> {
        let discards = self.discards.keys();
        let discards = discards.map(|address| (None, Route::discard(*address)));
        let routes = self.routes.values().flatten();
        let routes = routes.map(|it| (it.interface, it.route.clone()));
        routes.chain(discards)
    }

    /// Whether the macvlan that a router used last still fits the router.
    pub(crate) fn is_macvlan_of(&self, interface: u32, parent: u32, mac: MacAddress) -> bool {
        self.macvlans.contains(&(parent, mac.0, interface))
    }

    /// Our macvlans with this hardware address on a parent.
    pub(crate) fn our_macvlans(&self, parent: u32, mac: MacAddress) -> impl Iterator<Item = u32> {
        let all = self
            .macvlans
            .range((parent, mac.0, 0)..=(parent, mac.0, u32::MAX));
        all.map(|(_, _, index)| *index)
            .filter(|index| self.is_our_link(*index))
    }

    /// The macvlan that a router can take over: the one of its name, or else one of ours.
    pub(crate) fn adoptable(&self, parent: u32, wanted: &WantedMacvlan<'_>) -> Option<u32> {
        let named = self.interfaces.named(wanted.name).map(|it| &it.link);
        let is_ours = |link: &&Link| {
            self.is_macvlan_of(link.index, parent, wanted.mac)
                && (self.is_our_link(link.index) || link.alias.is_empty())
        };
        let named = named.filter(is_ours).map(|link| link.index);
        named.or_else(|| self.our_macvlans(parent, wanted.mac).next())
    }

    /// The macvlans on a parent with our mark, also those of other instances.
    pub(crate) fn macvlans_on(&self, parent: u32) -> impl Iterator<Item = u32> {
        let all = self
            .macvlans
            .range((parent, [0; 6], 0)..=(parent, [u8::MAX; 6], u32::MAX));
        all.map(|(_, _, index)| *index)
            .filter(|index| self.made.contains(index) || self.is_marked_link(*index))
    }

    /// Whether a macvlan is ours: made by this driver, or marked and not of another instance.
    pub(crate) fn is_our_link(&self, index: u32) -> bool {
        self.made.contains(&index)
            || (self.is_marked_link(index) && !self.claims.include(&Claim::Link(index)))
    }

    fn is_marked_link(&self, index: u32) -> bool {
        self.link(index).is_some_and(Link::is_marked_macvlan)
    }

    pub(crate) fn link(&self, index: u32) -> Option<&Link> {
        self.interfaces.get(index).map(|it| &it.link)
    }

    fn enable(&mut self, index: u32, enabled: bool) {
        if let Some(link) = self.link(index) {
            let mut link = link.clone();
            link.enabled = enabled;
            self.interfaces.apply(&MonitorEvent::Link(link));
        }
    }

    fn index_link(&mut self, link: &Link) {
        if let Some(before) = self.interfaces.get(link.index) {
            if let Some(key) = macvlan_key(&before.link) {
                self.macvlans.remove(&key);
            }
            if before.link.mac != link.mac {
                let of_link = (link.index, IpAddr::from([0; 4]));
                for ((_, _), mac) in self
                    .proxied
                    .range_mut(of_link..)
                    .take_while(|((index, _), _)| *index == link.index)
                {
                    *mac = link.mac;
                }
            }
        }
        self.macvlans.extend(macvlan_key(link));
    }

    fn forget_link(&mut self, index: u32) {
        if let Some(Interface { link, addresses }) = self.interfaces.get(index) {
            if let Some(key) = macvlan_key(link) {
                self.macvlans.remove(&key);
            }
            for own in addresses {
                self.present.remove(index, own.address);
            }
        }
        self.made.remove(&index);
        self.quieted.remove(&index);
        self.proxied.retain(|(of, _), _| *of != index);
        self.unplaced.retain(|(of, _, _)| *of != index);
        if let Some(added) = &mut self.added {
            added.retain(|(of, _, _)| *of != index);
        }
        self.doubt_routes(|oif, _| oif.is_none_or(|oif| oif == index));
    }

    /// Marks the routes that may be gone without a notification as doubtful.
    fn doubt_routes(&mut self, may_be_gone: impl Fn(Option<u32>, &Route) -> bool) {
        for it in self.routes.values_mut().flatten() {
            it.is_doubted |= may_be_gone(it.interface, &it.route);
        }
    }

    /// Marks a route as doubtful. Returns whether it was there for sure.
    fn doubt_route(&mut self, interface: Option<u32>, route: &Route) -> bool {
        if route.discards() {
            let doubt = self.discards.get_mut(&route.destination());
            return doubt.is_some_and(|doubt| !std::mem::replace(doubt, true));
        }
        let mut was_sure = false;
        for found in self.routes.get_mut(&key_of(route)).into_iter().flatten() {
            if found.is(interface, route) {
                was_sure |= !std::mem::replace(&mut found.is_doubted, true);
            }
        }
        was_sure
    }

    fn note_route(&mut self, interface: Option<u32>, route: Route) {
        if route.discards() {
            self.discards.insert(route.destination(), false);
            return;
        }
        self.forget_route(interface, &route);
        let list = self.routes.entry(key_of(&route)).or_default();
        list.push(MarkedRoute {
            interface,
            route,
            is_doubted: false,
        });
    }

    /// Returns whether it was there.
    fn forget_route(&mut self, interface: Option<u32>, route: &Route) -> bool {
        if route.discards() {
            return self.discards.remove(&route.destination()).is_some();
        }
        let key = key_of(route);
        let Some(list) = self.routes.get_mut(&key) else {
            return false;
        };
        let before = list.len();
        list.retain(|found| !found.is(interface, route));
        let was_there = list.len() < before;
        if list.is_empty() {
            self.routes.remove(&key);
        }
        was_there
    }
}

const fn key_of_address(interface: u32, address: &InterfaceAddress) -> (u32, IpAddr, u8) {
    (interface, address.address, address.prefix_len)
}

const fn key_of(route: &Route) -> (u32, IpAddr, u8) {
    (route.table(), route.destination(), route.prefix_len())
}

impl MarkedRoute {
    /// Whether it is this route, to the same prefix. The kernel reports a metric where none was
    /// asked for, and a wanted route may leave the interface open.
    fn is(&self, interface: Option<u32>, route: &Route) -> bool {
        let is_open = |a: Option<u32>, b: Option<u32>| a.is_none() || b.is_none() || a == b;
        let metric = |route: &Route| route.metric().filter(|it| *it != 0);
        self.route.gateway() == route.gateway()
            && is_open(metric(&self.route), metric(route))
            && is_open(self.interface, interface)
    }
}

fn macvlan_key(link: &Link) -> Option<(u32, [u8; 6], u32)> {
    (link.kind == "macvlan").then_some(())?;
    Some((link.parent?, link.mac?.0, link.index))
}
