//! Addresses, routes and rules of an instance: those of the driver, and those of ip(8).

use std::collections::BTreeSet;

use vrrp_net::{AddressOptions, AnnouncedAddress, Route as NetRoute, Scope, VirtualAddress};

use super::{PlannedRouter, micros};
use crate::{
    keepalived::{host_object::HostObject, link},
    keepalived_conf::{
        address::Address,
        configuration::{Instance, Objects},
        route::Route,
    },
};

/// Divides the objects of an instance between the driver and ip(8).
pub(super) fn place(instance: &Instance, router: &mut PlannedRouter, notes: &mut Vec<String>) {
    let Objects {
        addresses,
        excluded,
        routes,
        rules,
    } = &instance.objects;
    let listed = addresses.iter().map(|it| (it, true));
    let unlisted = excluded.iter().map(|it| (it, false));
    let mut seen = BTreeSet::new();
    for (address, is_listed) in listed.chain(unlisted) {
        if seen.insert(address.address) {
            place_address(address, is_listed, instance, router);
        } else {
            notes.push(format!(
                "{} stands twice in the instance; the first one counts",
                address.address
            ));
        }
    }
    for route in routes {
        match plain_route(route) {
            Some(route) => router.config.routes.push(route),
            None => router.objects.push(HostObject::route(route)),
        }
    }
    router.objects.extend(rules.iter().map(HostObject::rule));
}

fn place_address(
    address: &Address,
    is_listed: bool,
    instance: &Instance,
    router: &mut PlannedRouter,
) {
    let vrid = router.config.fsm.vrid;
    let own = router.config.interface.as_str();
    link::macvlan(instance, vrid, address, &mut router.macvlans);
    let macvlan = address.macvlan.as_deref();
    let chosen = macvlan.or(address.interface.as_deref());
    // With an ipvlan, the addresses stay on its parent.
    let interface = chosen.unwrap_or(&instance.interface);
    let is_elsewhere = interface != own || (chosen.is_some() && instance.vmac.is_some());
    let plain = (!is_elsewhere && address.peer.is_none())
        .then(|| virtual_address(address))
        .flatten();
    match plain {
        Some(address) if is_listed => router.config.addresses.push(address),
        Some(address) => router.config.excluded.push(address),
        None => {
            if is_listed {
                router.config.listed.push(address.address);
            }
            let object = HostObject::address(address, interface);
            router.objects.push(object);
            let mut announced = AnnouncedAddress::new(interface, address.address);
            announced.refresh = instance
                .garp_extra
                .filter(|(is_all, _)| *is_all || macvlan.is_some())
                .map(|(_, seconds)| micros(seconds * 1_000_000));
            router.config.announced.push(announced);
        }
    }
}

/// The other interfaces that addresses and routes name, unless they are not tracked. While such an
/// interface is down, the instance cannot have everything that it advertises.
pub(super) fn interfaces(instance: &Instance) -> BTreeSet<&str> {
    // The macvlan of the instance comes and goes with it.
    let own = instance.vmac.as_ref().map(|vmac| vmac.device.as_str());
    let objects = &instance.objects;
    let addresses = objects.addresses.iter().chain(&objects.excluded);
    let addresses = addresses.filter(|it| it.is_tracked);
    let routes = objects.routes.iter().filter(|it| it.is_tracked);
    addresses
        .filter_map(|it| it.interface.as_deref())
        .chain(routes.filter_map(|it| it.interface.as_deref()))
        .filter(|name| *name != instance.interface && Some(*name) != own)
        .collect()
}

/// An address for the driver, if the driver can express it.
fn virtual_address(address: &Address) -> Option<VirtualAddress> {
    let Address {
        address: own,
        prefix_len,
        interface: _,
        scope,
        broadcast: _,
        label,
        peer: _,
        is_tracked: _, // A removed address is restored anyway.
        uses_vmac: _,
        macvlan: _,
        track_group: _,
        flags,
        preferred,
    } = address;
    let scope = match scope.as_str() {
        "global" => Scope::Global,
        "link" => Scope::Link,
        "host" => Scope::Host,
        _ => return None,
    };
    let has = |flag: &str| flags.contains(&flag);
    let options = AddressOptions {
        broadcast: address.broadcast_address(),
        preferred: match preferred.as_deref() {
            None => 0,
            Some("forever") => u32::MAX,
            Some(seconds) => seconds.parse().ok()?,
        },
        detects_duplicates: has("-nodad"),
        is_home: has("home"),
        manages_temporary: has("mngtmpaddr"),
        without_prefix_route: has("noprefixroute"),
        joins_group: has("autojoin"),
    };
    let result = VirtualAddress::new(*own)
        .with_prefix_len(*prefix_len)
        .ok()?
        .with_scope(scope)
        .with_options(options);
    match label {
        Some(label) => result.with_label(label).ok(),
        None => Some(result),
    }
}

/// A route for the driver, if the driver can express it.
fn plain_route(route: &Route) -> Option<NetRoute> {
    let Route {
        kind,
        destination,
        has_any_family: _,
        source,
        gateway,
        interface,
        table,
        protocol: None | Some(18),
        scope: None,
        metric,
        is_onlink: false,
        mtu: None,
        locks_mtu: _,
        hops,
        is_tracked: _, // A removed route is restored anyway.
        asks_no_tracking: _,
        further,
    } = route
    else {
        return None;
    };
    if kind != "unicast" || !hops.is_empty() || !further.is_empty() {
        return None;
    }
    let (destination, length) = (*destination)?;
    let mut result = NetRoute::new(destination, length).ok()?;
    if let Some(gateway) = gateway {
        result = result.with_gateway(*gateway).ok()?;
    }
    if let Some(interface) = interface {
        result = result.with_interface(interface);
    }
    if let Some(source) = source {
        result = result.with_source(*source).ok()?;
    }
    if let Some(metric) = metric {
        result = result.with_metric(*metric);
    }
    if let Some(table) = table {
        result = result.with_table(*table).ok()?;
    }
    Some(result)
}
