//! The plan: the changes that bring the host from its actual state to the state that a router
//! wants.
//!
//! Nothing in here does I/O. [`plan`] is a function of the wanted state and of the [`Actual`] one;
//! it is idempotent, and returns no change when there is nothing to do. [`Planner`] adds what
//! depends on time: it spaces retries, and remembers things that no router wants any more until
//! they are gone. [`Paced`] spaces announcements. The driver makes the changes and reports the
//! results back.
//!
//! # Ours, and everybody else's
//!
//! An address is ours when it has the mark [`ADDRESS_PROTOCOL`](crate::ADDRESS_PROTOCOL), a route
//! when it has the mark [`ROUTE_PROTOCOL`](crate::ROUTE_PROTOCOL), a macvlan when its alias begins
//! with `vrrp-net`. Only such things are removed. There is one exception: a router that stops being
//! the address owner takes over the addresses that the administrator had configured
//! ([`Wanted::takes_unmarked`]).
//!
//! Things with our mark may belong to another running instance on the same host, whose [`Claims`]
//! are part of the actual state. Its macvlans are not ours, and an address or route that it uses
//! stays.
//!
//! # The order
//!
//! To become Active: the macvlan is created and set up, then the addresses are put in place, each
//! other form of an address removed before the wanted one is added, then the routes. Otherwise: the
//! routes go, then the macvlan goes down, then the addresses go. So a route never names an address
//! that is not there, and a Backup is silent before its macvlan leaves any group.

mod actual;
mod change;
mod claims;
mod holders;
#[cfg(test)]
mod model;
mod pace;
mod pause;
mod planner;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr};

use vrrp_proto::frame::MacAddress;

pub use self::pace::{AnnouncementPace, PaceGroup, Pacing};
pub(crate) use self::{
    actual::{Actual, Lost},
    change::Change,
    claims::{Claim, Claims},
    pace::{Announcement, Lane, Paced},
    pause::Pause,
    planner::{Planner, Thing},
};
use crate::{InterfaceAddress, Route, Scope, VirtualAddress};

/// The dummy address of RFC 7600. On a macvlan without any address, the kernel would drop every
/// packet whose source is not routed back by that macvlan, even where `rp_filter` is loose.
pub(crate) const DUMMY: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 0, 8));

/// An index that no interface has, so the kernel answers `ENODEV`.
pub(crate) const NO_INTERFACE: u32 = i32::MAX.cast_unsigned();

/// The stage of a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It is Active: its addresses and routes are in place.
    Active,
    /// It is Backup or in Initialize: its macvlan exists and is down, and nothing else of it
    /// exists.
    Idle,
    /// It was shut down or removed: nothing of it exists.
    Ended,
}

/// The macvlan that a router wants on its interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WantedMacvlan<'a> {
    /// Its hardware address, the virtual MAC.
    pub(crate) mac: MacAddress,
    /// Its name, also where the configuration names none.
    pub(crate) name: &'a str,
}

/// The wanted state of the host for one router, given the router's state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) stage: Stage,
    /// The index of the interface, while it exists.
    pub(crate) interface: Option<u32>,
    /// The macvlan, where the router uses its virtual MAC.
    pub(crate) macvlan: Option<WantedMacvlan<'a>>,
    /// The index of the macvlan that it used last.
    pub(crate) address_interface: Option<u32>,
    /// The virtual addresses that it advertises.
    pub(crate) addresses: &'a [VirtualAddress],
    /// The virtual addresses that it does not advertise.
    pub(crate) excluded: &'a [VirtualAddress],
    pub(crate) routes: &'a [Route],
    /// Whether it owns its addresses (priority 255).
    pub(crate) is_owner: bool,
    /// Whether the host has the addresses; otherwise a proxy answers for them.
    pub(crate) accepts: bool,
    /// Whether addresses without our mark are ours too: the router was their owner until now.
    pub(crate) takes_unmarked: bool,
}

/// Something that a router does not want, and that another running instance uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    Address(VirtualAddress),
    Route(Route),
}

/// The form in which an Active has an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// The administrator configured it, and this router owns it.
    Native,
    /// The host has it.
    Assigned,
    /// The proxy answers for it, and a route discards the packets to it.
    Proxied,
}

impl<'a> Wanted<'a> {
    /// All virtual addresses.
    pub(crate) fn all(&self) -> impl Iterator<Item = &'a VirtualAddress> + use<'a> {
        self.addresses.iter().chain(self.excluded)
    }

    /// The index of the interface that has the addresses: the macvlan, where there is one.
    pub(crate) fn address_interface(&self, actual: &Actual) -> Option<u32> {
        match self.macvlan {
            None => self.interface,
            Some(macvlan) => {
                let parent = self.interface?;
                let is_valid = |it: &u32| actual.is_macvlan_of(*it, parent, macvlan.mac);
                self.address_interface.filter(is_valid)
            }
        }
    }

    /// Whether it is Active on an interface that exists.
    fn is_active(&self) -> bool {
        self.stage == Stage::Active && self.interface.is_some()
    }

    /// The interfaces on which it may have something: the address interface first.
    fn places(&self, address_interface: Option<u32>) -> impl Iterator<Item = u32> + use<> {
        let parent = self.interface.filter(|it| Some(*it) != address_interface);
        address_interface.into_iter().chain(parent)
    }

    /// Whether an address on one of its interfaces may be removed for it.
    fn is_ours(&self, place: u32, own: &InterfaceAddress, actual: &Actual) -> bool {
        actual.is_marked(place, own) || (self.takes_unmarked && !self.is_owner)
    }

    /// Whether it owns this address, and the host has it without the router.
    pub(crate) fn is_native(&self, local: IpAddr, actual: &Actual) -> bool {
        self.is_owner
            && self.places(self.address_interface(actual)).any(|place| {
                let mut found = actual.addresses(place, local);
                found.any(|own| !actual.is_marked(place, own))
            })
    }

    /// An address of this router that another program has put on its interface.
    pub(crate) fn foreign(&self, actual: &Actual) -> Option<(u32, InterfaceAddress)> {
        if self.is_owner || self.takes_unmarked {
            return None;
        }
        let address_interface = self.address_interface(actual);
        self.all().find_map(|address| {
            self.places(address_interface).find_map(|place| {
                let mut found = actual.addresses(place, address.address());
                let own = found.find(|own| !actual.is_marked(place, own))?;
                Some((place, own.clone()))
            })
        })
    }

    fn form(&self, local: IpAddr, actual: &Actual) -> Form {
        if self.is_native(local, actual) {
            Form::Native
        } else if self.accepts || local == DUMMY {
            Form::Assigned
        } else {
            Form::Proxied
        }
    }

    /// Whether it uses its dummy address now.
    fn uses_dummy(&self) -> bool {
        self.is_active()
            && self.macvlan.is_some()
            && !self.accepts
            && self.all().any(|it| it.address().is_ipv4())
    }

    /// Whether it wants this address on this interface, in this form.
    pub(crate) fn wants(&self, place: u32, own: &InterfaceAddress, actual: &Actual) -> bool {
        if !self.is_active() || self.address_interface(actual) != Some(place) {
            return false;
        }
        if own.address == DUMMY {
            return self.uses_dummy();
        }
        self.all().any(|it| it.is_at(own)) && self.form(own.address, actual) == Form::Assigned
    }

    /// Whether it wants packets to this address discarded.
    fn wants_discarded(&self, local: IpAddr, actual: &Actual) -> bool {
        self.is_active()
            && self.address_interface(actual).is_some()
            && self.all().any(|it| it.address() == local)
            && self.form(local, actual) == Form::Proxied
    }

    /// Whether it wants this route, by the interface of this index.
    fn wants_route(&self, route: &Route) -> bool {
        self.is_active() && self.routes.contains(route)
    }

    /// Whether an address is in place, in whatever form.
    pub(crate) fn is_in_place(&self, address: &VirtualAddress, actual: &Actual) -> bool {
        let local = address.address();
        let places = self.places(self.address_interface(actual));
        let is_there = |place| {
            let mut found = actual.addresses(place, local);
            actual.is_proxied(place, local) || found.any(|own| address.is_at(own))
        };
        self.is_native(local, actual) || places.into_iter().any(is_there)
    }

    /// Adds everything that the router may have, whatever its state, and all that it uses now.
    pub(crate) fn add_claims(&self, actual: &Actual, claims: &mut Claims) {
        let address_interface = self.address_interface(actual);
        for own in self.all() {
            let local = own.address();
            let is_proxied = self.form(local, actual) == Form::Proxied;
            for place in self.places(address_interface) {
                let is_used = self.is_active() && !is_proxied && Some(place) == address_interface;
                claims.add(Claim::Address(place, local), is_used);
            }
            if is_proxied {
                claims.add(Claim::Discard(local), self.is_active());
            }
        }
        for route in self.routes {
            claims.add(Claim::of_route(route), self.is_active());
        }
        if let (Some(parent), Some(_)) = (self.interface, self.macvlan) {
            claims.add(Claim::Parent(parent), true);
            if let Some(interface) = address_interface {
                claims.add(Claim::Link(interface), true);
                if let Some(virtual_mac) = self.virtual_mac() {
                    claims.add(virtual_mac, true);
                }
                claims.add(Claim::Address(interface, DUMMY), true);
            }
        }
    }

    /// The virtual MAC that it needs on its interface, as another instance may claim it.
    fn virtual_mac(&self) -> Option<Claim> {
        let (vrid, family) = self.macvlan?.mac.virtual_router()?;
        Some(Claim::VirtualMac(self.interface?, family, vrid))
    }

    /// Whether another instance has a macvlan with its virtual MAC on its interface, and keeps it.
    /// Two links of one parent cannot both be up with one hardware address.
    pub(crate) fn lacks_virtual_mac(&self, actual: &Actual) -> bool {
        let has_one = self.address_interface(actual).is_some();
        let claim = self.virtual_mac();
        claim.is_some_and(|claim| actual.claims().keep_virtual_mac(&claim, has_one))
    }

    /// Whether it has no macvlan yet, and waits for the claims of other instances before it makes
    /// one.
    pub(crate) fn awaits_claims(&self, actual: &Actual) -> bool {
        actual.awaits_claims() && self.macvlan.is_some() && self.address_interface(actual).is_none()
    }

    /// The addresses and routes that it does not want, and that are there for another instance,
    /// which uses them.
    fn kept(&self, others: &[Self], actual: &Actual) -> Vec<Kept> {
        let claims = actual.claims();
        let address_interface = self.address_interface(actual);
        let mut kept = Vec::new();
        for address in self.all() {
            let is_used = |place: u32, own: &InterfaceAddress| {
                self.is_ours(place, own, actual)
                    && !self.wants(place, own, actual)
                    && !others.iter().any(|it| it.wants(place, own, actual))
                    && claims.use_now(&Claim::Address(place, own.address))
            };
            let mut places = self.places(address_interface);
            if places.any(|place| {
                let mut found = actual.addresses(place, address.address());
                found.any(|own| is_used(place, own))
            }) {
                kept.push(Kept::Address(address.clone()));
            }
        }
        for route in self.routes {
            let is_wanted = |it: &Self| it.wants_route(route);
            let interface = self.interface_of(route, actual);
            if !is_wanted(self)
                && !others.iter().any(is_wanted)
                && claims.use_now(&Claim::of_route(route))
                && actual.may_have_route(interface.filter(|it| *it != NO_INTERFACE), route)
            {
                kept.push(Kept::Route(route.clone()));
            }
        }
        kept
    }

    /// Whether another instance claims something that the router may have.
    pub(crate) fn is_claimed(&self, actual: &Actual) -> bool {
        if actual.claims().is_empty() {
            return false;
        }
        let mut own = Claims::default();
        self.add_claims(actual, &mut own);
        own.overlap(actual.claims())
    }

    /// The index of the interface by which a route leads, where it has one.
    pub(crate) fn interface_of(&self, route: &Route, actual: &Actual) -> Option<u32> {
        match (route.interface(), route.gateway()) {
            (Some(name), _) => {
                let interface = actual.interfaces().named(name);
                Some(interface.map_or(NO_INTERFACE, |it| it.link.index))
            }
            (None, Some(_)) => None,
            (None, None) => self.interface,
        }
    }
}

/// The changes that bring the host from its actual state to the wanted one, in a safe order.
///
/// `others` are the other routers that have an address or a route in common with this one: what one
/// of them wants stays.
pub(crate) fn plan(wanted: &Wanted<'_>, others: &[Wanted<'_>], actual: &Actual) -> Vec<Change> {
    let mut changes = Vec::new();
    let is_active = wanted.is_active();
    let address_interface = wanted.address_interface(actual);
    if !is_active {
        plan_route_removal(wanted, others, actual, &mut changes);
    }
    plan_macvlan(wanted, address_interface, actual, &mut changes);
    let is_wanted = |place, own: &InterfaceAddress| {
        wanted.wants(place, own, actual)
            || others.iter().any(|it| it.wants(place, own, actual))
            || actual.claims().use_now(&Claim::Address(place, own.address))
    };
    let dummy = VirtualAddress::new(DUMMY).with_scope(Scope::Host);
    let dummy = wanted.macvlan.map(|_| &dummy);
    for address in dummy.into_iter().chain(wanted.all()) {
        let local = address.address();
        for place in wanted.places(address_interface) {
            for own in actual.addresses(place, local) {
                if wanted.is_ours(place, own, actual) && !is_wanted(place, own) {
                    changes.push(Change::remove_address(place, own));
                }
            }
            let is_proxied_by = |it: &Wanted<'_>| {
                it.address_interface(actual) == Some(place) && it.wants_discarded(local, actual)
            };
            if actual.is_proxied(place, local)
                && !is_proxied_by(wanted)
                && !others.iter().any(is_proxied_by)
            {
                let (interface, address) = (place, local);
                changes.push(Change::EndProxy { interface, address });
            }
        }
        let is_discarded = |it: &Wanted<'_>| it.wants_discarded(local, actual);
        if actual.may_be_discarded(local)
            && !is_discarded(wanted)
            && !others.iter().any(is_discarded)
            && !actual.claims().use_now(&Claim::Discard(local))
        {
            changes.push(Change::RemoveRoute {
                interface: None,
                route: Route::discard(local),
            });
        }
        if let (true, Some(address_interface)) = (is_active, address_interface) {
            plan_address(wanted, address_interface, address, actual, &mut changes);
        }
    }
    if let (true, Some(_)) = (is_active, address_interface) {
        for route in wanted.routes {
            let interface = wanted.interface_of(route, actual);
            if !actual.has_route(interface, route) {
                let route = route.clone();
                changes.push(Change::AddRoute { interface, route });
            }
        }
    }
    changes
}

fn plan_macvlan(
    wanted: &Wanted<'_>,
    address_interface: Option<u32>,
    actual: &Actual,
    changes: &mut Vec<Change>,
) {
    let (Some(macvlan), Some(parent)) = (wanted.macvlan, wanted.interface) else {
        return;
    };
    if wanted.awaits_claims(actual) {
        return;
    }
    // Two links of one parent cannot both be up with one hardware address.
    let kept = address_interface.or_else(|| actual.adoptable(parent, &macvlan));
    let kept = kept.filter(|_| wanted.stage != Stage::Ended);
    for interface in actual.our_macvlans(parent, macvlan.mac) {
        if Some(interface) != kept {
            changes.push(Change::DeleteLink { interface });
        }
    }
    let Some(interface) = address_interface else {
        if wanted.stage != Stage::Ended && !wanted.lacks_virtual_mac(actual) {
            changes.push(Change::CreateMacvlan {
                parent,
                mac: macvlan.mac,
                name: macvlan.name.into(),
                existing: kept,
            });
        }
        return;
    };
    let has_ipv4 = wanted.all().any(|it| it.address().is_ipv4());
    if has_ipv4 && wanted.stage != Stage::Ended && !actual.is_quiet(parent) {
        changes.push(Change::QuietParent { parent, interface });
    }
    let is_up = actual.is_enabled(interface);
    match wanted.stage {
        Stage::Active if !is_up => changes.push(Change::SetUp { interface }),
        Stage::Idle if is_up => changes.push(Change::SetDown { interface }),
        _ => {}
    }
}

/// Plans the missing parts of one address of an Active.
fn plan_address(
    wanted: &Wanted<'_>,
    interface: u32,
    address: &VirtualAddress,
    actual: &Actual,
    changes: &mut Vec<Change>,
) {
    let local = address.address();
    if local == DUMMY && !wanted.uses_dummy() {
        return;
    }
    match wanted.form(local, actual) {
        Form::Native => {}
        Form::Assigned => {
            let mut found = actual.addresses(interface, local);
            // Of an IPv6 address, an interface has one at most, whatever its prefix length.
            let blocks = |own: &InterfaceAddress| {
                address.is_at(own) || (local.is_ipv6() && !wanted.is_ours(interface, own, actual))
            };
            if !found.any(blocks) {
                let address = address.clone();
                changes.push(Change::AddAddress { interface, address });
            }
        }
        Form::Proxied => {
            if !actual.is_discarded(local) {
                changes.push(Change::AddRoute {
                    interface: None,
                    route: Route::discard(local),
                });
            }
            if !actual.is_proxied(interface, local) {
                let address = local;
                changes.push(Change::BeginProxy { interface, address });
            }
        }
    }
}

fn plan_route_removal(
    wanted: &Wanted<'_>,
    others: &[Wanted<'_>],
    actual: &Actual,
    changes: &mut Vec<Change>,
) {
    for route in wanted.routes {
        let is_used = actual.claims().use_now(&Claim::of_route(route));
        if is_used || others.iter().any(|it| it.wants_route(route)) {
            continue;
        }
        let interface = wanted.interface_of(route, actual);
        if actual.may_have_route(interface.filter(|it| *it != NO_INTERFACE), route) {
            changes.push(Change::RemoveRoute {
                interface: interface.filter(|it| *it != NO_INTERFACE),
                route: route.clone(),
            });
        }
    }
}
