//! Interfaces that an instance needs: an ipvlan to advertise from, and macvlans for its addresses
//! on other interfaces.

use serde::{Deserialize, Serialize};
use vrrp_proto::{Family, Vrid};

use super::host_object::HostObject;
use crate::keepalived_conf::{
    address::Address,
    configuration::{Instance, Ipvlan},
};

/// The ipvlan from which an instance advertises.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct PlannedIpvlan {
    /// Its name.
    pub name: String,
    /// The name of its parent.
    pub parent: String,
    /// The link, its address, and its state.
    pub objects: Vec<HostObject>,
}

/// A macvlan with the virtual MAC of an instance, for its addresses of one family on one interface.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct PlannedMacvlan {
    /// Its name.
    pub name: String,
    /// The name of its parent.
    pub parent: String,
    /// The family of the addresses, which determines the virtual MAC.
    pub family: Family,
    /// The VRID of the instance.
    pub vrid: Vrid,
}

/// The ipvlan of `use_ipvlan`. Without an address of its own, it gets the address to advertise
/// from.
pub(super) fn ipvlan(instance: &Instance, ipvlan: &Ipvlan) -> PlannedIpvlan {
    let Ipvlan {
        device,
        address,
        mode,
    } = ipvlan;
    let source = instance.source.filter(|_| instance.source_is_configured);
    let source = source.map(|it| (it, if it.is_ipv4() { 32 } else { 128 }));
    let address = address.or(source);
    let address = address.map(|it| HostObject::plain_address(it, device));
    let mut objects = vec![HostObject::ipvlan(device, &instance.interface, mode)];
    objects.extend(address);
    objects.push(HostObject::up(device));
    PlannedIpvlan {
        name: device.clone(),
        parent: instance.interface.clone(),
        objects,
    }
}

/// Adds the macvlan that an address goes to, if it goes to one.
pub(super) fn macvlan(
    instance: &Instance,
    vrid: Vrid,
    address: &Address,
    macvlans: &mut Vec<PlannedMacvlan>,
) {
    let Some(name) = &address.macvlan else { return };
    if macvlans.iter().any(|it| it.name == *name) {
        return;
    }
    let parent = address.interface.as_ref().unwrap_or(&instance.interface);
    macvlans.push(PlannedMacvlan {
        name: name.clone(),
        parent: parent.clone(),
        family: Family::of(address.address),
        vrid,
    });
}
