//! Interfaces that an instance needs: an ipvlan to advertise from, and macvlans for its addresses
//! on other interfaces.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use vrrp_proto::{Family, Vrid};

use super::host_object::HostObject;
use crate::keepalived_conf::{
    address::Address,
    configuration::{Configuration, Instance, Ipvlan},
};

/// The longest name of an interface.
const LONGEST: usize = 15;

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

/// The names of macvlans that are already in use.
#[derive(Debug)]
pub(super) struct Names {
    prefix: String,
    taken: BTreeSet<String>,
}

impl Names {
    /// The names of all `use_vmac` and `use_ipvlan`.
    pub(super) fn of(configuration: &Configuration) -> Self {
        let instances = configuration.instances.iter();
        let taken = instances.flat_map(|it| {
            let macvlan = it.vmac.as_ref().map(|it| it.device.clone());
            let ipvlan = it.ipvlan.as_ref().map(|it| it.device.clone());
            macvlan.into_iter().chain(ipvlan)
        });
        let global = &configuration.global;
        let prefix = global.text("vmac_addr_prefix");
        let prefix = prefix.or(global.text("vmac_prefix")).unwrap_or("vrrp");
        Self {
            prefix: prefix.to_owned(),
            taken: taken.collect(),
        }
    }

    /// Finds a free name: `vrrp.51`, over IPv6 `vrrp6.51` if that is taken, then `vrrp1.51` and so
    /// on.
    fn next(&mut self, vrid: Vrid, family: Family) -> String {
        let prefix = &self.prefix;
        let numbered = (1..).map(|number: u32| format!("{prefix}{number}.{vrid}"));
        let of_family = (family == Family::Ipv6).then(|| format!("{prefix}6.{vrid}"));
        let mut names = std::iter::once(format!("{prefix}.{vrid}"))
            .chain(of_family)
            .chain(numbered);
        let free = names.find(|name| !self.taken.contains(name));
        let mut name = free.unwrap_or_default();
        name.truncate(LONGEST);
        self.taken.insert(name.clone());
        name
    }

    /// The name of the macvlan that an address goes to; `None` where it goes to the interface
    /// itself.
    pub(super) fn macvlan(
        &mut self,
        instance: &Instance,
        vrid: Vrid,
        address: &Address,
        macvlans: &mut Vec<PlannedMacvlan>,
    ) -> Option<String> {
        let own = instance.interface.as_str();
        let parent = address.interface.as_deref().unwrap_or(own);
        let family = Family::of(address.address);
        let is_of_instance = parent == own && address.address.is_ipv6() == instance.is_ipv6;
        let is_wanted = (instance.use_vmac_addr && !is_of_instance)
            || (address.uses_vmac && address.interface.is_some());
        // Two links of one parent cannot both be up with the same hardware address.
        let has_it = is_of_instance && instance.vmac.is_some();
        if !is_wanted || has_it {
            return None;
        }
        let known = macvlans
            .iter()
            .find(|it| it.parent == parent && it.family == family);
        if let Some(known) = known {
            return Some(known.name.clone());
        }
        let name = self.next(vrid, family);
        macvlans.push(PlannedMacvlan {
            name: name.clone(),
            parent: parent.to_owned(),
            family,
            vrid,
        });
        Some(name)
    }
}
