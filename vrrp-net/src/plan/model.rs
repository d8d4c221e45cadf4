//! A model of the kernel for tests, with the behaviour of the real one that matters to the plan.
//!
//! * An IPv4 address whose subnet has a primary one already is secondary. When the primary one is
//!   removed, the kernel removes the secondary ones too, or promotes the first of them
//!   (`promote_secondaries`).
//! * The key of an IPv4 address is its local part, its prefix length and the subnet of its peer; an
//!   interface has an IPv6 address once, whatever its prefix length.
//! * IPv4 routes are removed without a notification along with their link, its last address, or
//!   their source address.
//! * A macvlan is removed with its parent. A link that goes down loses its IPv6 addresses.
//! * Notifications are queued, and lost when there are too many.

use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
};

use vrrp_proto::frame::MacAddress;

use super::Change;
use crate::{
    ADDRESS_PROTOCOL, InterfaceAddress, Interfaces, LINK_MARK, Link, MonitorEvent, ROUTE_PROTOCOL,
    Route, Scope,
};

/// The reason why the kernel refuses a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Errno {
    Perm,
    NoDev,
    NetDown,
    NetUnreach,
    Inval,
    AddrInUse,
    Exist,
}

/// A route as the kernel has it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct KernelRoute {
    pub(super) route: Route,
    pub(super) oif: Option<u32>,
    pub(super) protocol: u8,
}

#[derive(Clone, Debug)]
pub(super) struct ModelLink {
    pub(super) link: Link,
    pub(super) addresses: Vec<InterfaceAddress>,
    /// `arp_ignore` and `arp_announce`.
    pub(super) settings: [i32; 2],
    pub(super) promotes: bool,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Kernel {
    pub(super) links: BTreeMap<u32, ModelLink>,
    pub(super) routes: Vec<KernelRoute>,
    pub(super) queue: VecDeque<MonitorEvent>,
    next_index: u32,
    /// The number of next changes that are refused.
    pub(super) refusals: u32,
    /// The number of notifications that fit.
    pub(super) room: usize,
}

/// The settings of a parent that its macvlans ask for.
pub(super) const QUIET: [i32; 2] = [1, 2];

impl Kernel {
    pub(super) fn new() -> Self {
        Self {
            room: usize::MAX,
            ..Self::default()
        }
    }

    fn notify(&mut self, event: MonitorEvent) {
        if self.queue.len() >= self.room {
            if self.queue.back() != Some(&MonitorEvent::Overrun) {
                self.queue.push_back(MonitorEvent::Overrun);
            }
            return;
        }
        self.queue.push_back(event);
    }

    fn notify_link(&mut self, index: u32) {
        if let Some(it) = self.links.get(&index) {
            let link = it.link.clone();
            self.notify(MonitorEvent::Link(link));
        }
    }

    /// The content of a dump.
    pub(super) fn dump(&self) -> Interfaces {
        let mut interfaces = Interfaces::default();
        for it in self.links.values() {
            interfaces.apply(&MonitorEvent::Link(it.link.clone()));
        }
        for (index, it) in &self.links {
            for address in &it.addresses {
                interfaces.apply(&MonitorEvent::AddressAdded {
                    interface: *index,
                    address: address.clone(),
                });
            }
        }
        interfaces
    }

    pub(super) fn dump_routes(&self) -> Vec<(Option<u32>, Route)> {
        let marked = self
            .routes
            .iter()
            .filter(|it| it.protocol == ROUTE_PROTOCOL);
        marked.map(|it| (it.oif, it.route.clone())).collect()
    }

    pub(super) fn named(&self, name: &str) -> Option<u32> {
        let found = self.links.values().find(|it| it.link.name == name);
        found.map(|it| it.link.index)
    }

    pub(super) fn add_link(
        &mut self,
        name: &str,
        kind: &str,
        parent: Option<u32>,
        mac: MacAddress,
        index: Option<u32>,
    ) -> Option<u32> {
        if self.named(name).is_some() {
            return None;
        }
        let free = index.filter(|it| !self.links.contains_key(it));
        let index = free.unwrap_or_else(|| {
            // The kernel reuses an index only on request, as for a link that moves.
            self.next_index + 1
        });
        self.next_index = self.next_index.max(index);
        let is_macvlan = kind == "macvlan";
        let link = Link {
            index,
            name: name.into(),
            mac: Some(mac),
            up: !is_macvlan,
            kind: kind.into(),
            parent,
            alias: String::new(),
            vrf: None,
            enabled: !is_macvlan,
            alt_names: Vec::new(),
        };
        let it = ModelLink {
            link,
            addresses: Vec::new(),
            settings: [0, 0],
            promotes: false,
        };
        self.links.insert(index, it);
        self.notify_link(index);
        Some(index)
    }

    pub(super) fn delete_link(&mut self, index: u32) {
        let children: Vec<u32> = self
            .links
            .values()
            .filter(|it| it.link.parent == Some(index))
            .map(|it| it.link.index)
            .collect();
        for child in children {
            self.delete_link(child);
        }
        if let Some(gone) = self.links.remove(&index) {
            for address in gone.addresses {
                let interface = index;
                self.notify(MonitorEvent::AddressRemoved { interface, address });
            }
            self.routes.retain(|it| it.oif != Some(index));
            self.notify(MonitorEvent::LinkGone { interface: index });
        }
    }

    /// Moves a link to another network namespace. Its macvlans stay, without a notification.
    pub(super) fn move_link_away(&mut self, index: u32) {
        let is_child = |it: &&mut ModelLink| it.link.parent == Some(index);
        for child in self.links.values_mut().filter(is_child) {
            child.link.parent = None;
        }
        self.delete_link(index);
    }

    pub(super) fn change_link(&mut self, index: u32, change: impl FnOnce(&mut Link)) {
        if let Some(it) = self.links.get_mut(&index) {
            change(&mut it.link);
            self.notify_link(index);
        }
    }

    /// Sets a link up or down.
    pub(super) fn enable(&mut self, index: u32, enabled: bool) {
        let Some(it) = self.links.get_mut(&index) else {
            return;
        };
        if it.link.enabled == enabled {
            return;
        }
        it.link.enabled = enabled;
        it.link.up = enabled;
        if !enabled {
            let (v4, v6): (Vec<_>, Vec<_>) = std::mem::take(&mut it.addresses)
                .into_iter()
                .partition(|it| it.address.is_ipv4());
            it.addresses = v4;
            for address in v6 {
                let interface = index;
                self.notify(MonitorEvent::AddressRemoved { interface, address });
            }
            self.routes.retain(|it| it.oif != Some(index));
        }
        self.notify_link(index);
    }

    pub(super) fn add_address(
        &mut self,
        index: u32,
        mut address: InterfaceAddress,
    ) -> Result<(), Errno> {
        let it = self.links.get_mut(&index).ok_or(Errno::NoDev)?;
        if address.address.is_ipv6() {
            if it
                .addresses
                .iter()
                .any(|own| own.address == address.address)
            {
                return Err(Errno::Exist);
            }
            it.addresses.push(address.clone());
        } else {
            let in_subnet = |own: &&InterfaceAddress| own.is_in_subnet_of(&address);
            let mut peers = it.addresses.iter().filter(in_subnet);
            if peers.clone().any(|own| own.address == address.address) {
                return Err(Errno::Exist);
            }
            address.secondary = peers.any(|own| !own.secondary);
            let is_before = |own: &InterfaceAddress| {
                own.address.is_ipv4() && !own.secondary && own.scope >= address.scope
            };
            let place = if address.secondary {
                it.addresses.len()
            } else {
                let last = it.addresses.iter().rposition(is_before);
                last.map_or(0, |place| place + 1)
            };
            it.addresses.insert(place, address.clone());
        }
        let interface = index;
        self.notify(MonitorEvent::AddressAdded { interface, address });
        Ok(())
    }

    /// Returns the addresses that are gone.
    pub(super) fn remove_address(
        &mut self,
        index: u32,
        key: &InterfaceAddress,
        promotes: bool,
    ) -> Vec<InterfaceAddress> {
        let Some(it) = self.links.get_mut(&index) else {
            return Vec::new();
        };
        let Some(place) = it.addresses.iter().position(|own| own.is_same(key)) else {
            return Vec::new();
        };
        let address = it.addresses.remove(place);
        let mut gone = vec![address.clone()];
        let mut first_left = None;
        if address.address.is_ipv4() && !address.secondary {
            let is_second = |own: &InterfaceAddress| own.secondary && own.is_in_subnet_of(&address);
            if promotes || it.promotes {
                if let Some(place) = it.addresses.iter().position(is_second) {
                    let mut first = it.addresses.remove(place);
                    first.secondary = false;
                    let is_before = |own: &InterfaceAddress| {
                        own.address.is_ipv4() && !own.secondary && own.scope >= first.scope
                    };
                    let last = it.addresses.iter().rposition(is_before);
                    let place = last.map_or(0, |place| place + 1);
                    it.addresses.insert(place, first.clone());
                    first_left = Some(first);
                }
            } else {
                gone.extend(it.addresses.iter().filter(|own| is_second(own)).cloned());
                it.addresses.retain(|own| !is_second(own));
            }
        }
        let has_ipv4 = it.addresses.iter().any(|own| own.address.is_ipv4());
        let left: Vec<IpAddr> = self
            .links
            .values()
            .flat_map(|it| it.addresses.iter().map(|own| own.address))
            .collect();
        for address in &gone {
            self.routes.retain(|it| {
                let lost_source =
                    it.route.source() == Some(address.address) && !left.contains(&address.address);
                let lost_link = it.oif == Some(index)
                    && it.route.destination().is_ipv4()
                    && address.address.is_ipv4()
                    && !has_ipv4;
                !lost_source && !lost_link
            });
        }
        let interface = index;
        for address in gone.clone() {
            self.notify(MonitorEvent::AddressRemoved { interface, address });
        }
        if let Some(address) = first_left {
            self.notify(MonitorEvent::AddressAdded { interface, address });
        }
        gone
    }

    /// The interface that leads to a gateway.
    fn way_to(&self, gateway: IpAddr) -> Option<u32> {
        let probe = |prefix_len| InterfaceAddress {
            address: gateway,
            prefix_len,
            peer: None,
            protocol: 0,
            secondary: false,
            usable: true,
            scope: Scope::Global,
        };
        let leads = |it: &&ModelLink| {
            it.link.up
                && it
                    .addresses
                    .iter()
                    .any(|own| own.prefix_len < 32 && probe(own.prefix_len).is_in_subnet_of(own))
        };
        self.links.values().find(leads).map(|it| it.link.index)
    }

    fn add_route(&mut self, oif: Option<u32>, route: &Route) -> Result<(), Errno> {
        let mut oif = oif;
        if !route.discards() {
            if let Some(gateway) = route.gateway() {
                let way = self.way_to(gateway).ok_or(Errno::NetUnreach)?;
                if *oif.get_or_insert(way) != way {
                    return Err(Errno::NetUnreach);
                }
            }
            let index = oif.ok_or(Errno::NoDev)?;
            let it = self.links.get(&index).ok_or(Errno::NoDev)?;
            if !it.link.up {
                return Err(Errno::NetDown);
            }
            if let Some(source) = route.source() {
                let mut all = self.links.values().flat_map(|it| &it.addresses);
                if !all.any(|own| own.address == source) {
                    return Err(Errno::Inval);
                }
            }
        }
        let is_same = |it: &KernelRoute| {
            it.route.table() == route.table()
                && it.route.destination() == route.destination()
                && it.route.prefix_len() == route.prefix_len()
                && it.route.metric() == route.metric()
        };
        if self.routes.iter().any(is_same) {
            return Err(Errno::Exist);
        }
        self.routes.push(KernelRoute {
            route: route.clone(),
            oif,
            protocol: ROUTE_PROTOCOL,
        });
        Ok(())
    }

    /// Removes a route as another program does, with a notification.
    pub(super) fn remove_route(&mut self, place: usize) {
        if place < self.routes.len() {
            let gone = self.routes.remove(place);
            if gone.protocol == ROUTE_PROTOCOL {
                self.notify(MonitorEvent::RouteRemoved {
                    interface: gone.oif,
                    route: gone.route,
                });
            }
        }
    }

    fn make_address(&mut self, change: &Change, made: &mut Made) -> Result<(), Errno> {
        match change {
            Change::AddAddress { interface, address } => {
                let own = InterfaceAddress {
                    address: address.address(),
                    prefix_len: address.prefix_len(),
                    peer: None,
                    protocol: ADDRESS_PROTOCOL,
                    secondary: false,
                    usable: true,
                    scope: address.scope(),
                };
                match self.add_address(*interface, own) {
                    Err(Errno::Exist) => made.has_changed = false,
                    result => result?,
                }
            }
            Change::RemoveAddress { interface, address } => {
                made.gone = self.remove_address(*interface, address, change.spares_subnet());
                made.has_changed = !made.gone.is_empty();
            }
            _ => {}
        }
        Ok(())
    }

    /// Makes a change. Returns whether there was something to change, the macvlan of a creation,
    /// and the addresses that were removed along with it.
    pub(super) fn make(&mut self, change: &Change) -> Result<Made, Errno> {
        if self.refusals > 0 {
            self.refusals -= 1;
            return Err(Errno::Perm);
        }
        let mut made = Made {
            has_changed: true,
            ..Made::default()
        };
        match change {
            Change::CreateMacvlan {
                parent,
                mac,
                name,
                existing,
            } => {
                if !self.links.contains_key(parent) {
                    return Err(Errno::NoDev);
                }
                let index = match existing.filter(|it| self.links.contains_key(it)) {
                    Some(index) => {
                        if self.named(name).is_some_and(|it| it != index) {
                            return Err(Errno::Exist);
                        }
                        let name = name.clone();
                        self.change_link(index, |link| link.name = name);
                        index
                    }
                    None => self
                        .add_link(name, "macvlan", Some(*parent), *mac, None)
                        .ok_or(Errno::Exist)?,
                };
                self.change_link(index, |link| link.alias = LINK_MARK.into());
                made.macvlan = self.links.get(&index).map(|it| it.link.clone());
            }
            Change::QuietParent { parent, .. } => {
                let it = self.links.get_mut(parent).ok_or(Errno::NoDev)?;
                if it.link.settings_record().is_none() {
                    let [ignore, announce] = it.settings;
                    let record = format!("{LINK_MARK}.{parent}.{ignore}.{announce}");
                    it.link.alt_names.push(record);
                }
                it.settings = QUIET;
                self.notify_link(*parent);
            }
            Change::DeleteLink { interface } => self.delete_link(*interface),
            Change::RestoreParent { interface } => {
                let it = self.links.get_mut(interface).ok_or(Errno::NoDev)?;
                if let Some((name, values)) = it.link.settings_record() {
                    let name = name.to_owned();
                    if it.settings == QUIET {
                        it.settings = values;
                    }
                    it.link.alt_names.retain(|own| *own != name);
                }
                self.notify_link(*interface);
            }
            Change::SetUp { interface } => {
                let own = self.links.get(interface).ok_or(Errno::NoDev)?.link.clone();
                let is_rival = |it: &ModelLink| {
                    it.link.index != *interface
                        && it.link.parent == own.parent
                        && it.link.mac == own.mac
                        && it.link.enabled
                };
                if self.links.values().any(is_rival) {
                    return Err(Errno::AddrInUse);
                }
                self.enable(*interface, true);
            }
            Change::SetDown { interface } => self.enable(*interface, false),
            Change::AddAddress { .. } | Change::RemoveAddress { .. } => {
                self.make_address(change, &mut made)?;
            }
            Change::BeginProxy { interface, .. } => {
                self.links.get(interface).ok_or(Errno::NoDev)?;
            }
            Change::EndProxy { .. } => {}
            Change::AddRoute { interface, route } => match self.add_route(*interface, route) {
                Err(Errno::Exist) => made.has_changed = false,
                result => result?,
            },
            Change::RemoveRoute { interface, route } => {
                let is_meant = |it: &KernelRoute| {
                    it.protocol == ROUTE_PROTOCOL
                        && it.route.table() == route.table()
                        && it.route.destination() == route.destination()
                        && it.route.prefix_len() == route.prefix_len()
                        && it.route.gateway() == route.gateway()
                        && (interface.is_none() || it.oif == *interface)
                };
                let place = self.routes.iter().position(is_meant);
                made.has_changed = place.is_some();
                if let Some(place) = place {
                    self.remove_route(place);
                }
            }
        }
        Ok(made)
    }
}

#[derive(Debug, Default)]
pub(super) struct Made {
    pub(super) has_changed: bool,
    pub(super) macvlan: Option<Link>,
    pub(super) gone: Vec<InterfaceAddress>,
}
