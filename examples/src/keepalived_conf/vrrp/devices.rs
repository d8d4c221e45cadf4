//! The names of the interfaces that keepalived creates: those of instances, and macvlans of
//! addresses.

use std::collections::{BTreeMap, BTreeSet};

use super::{Context, finish::Draft};
use crate::keepalived_conf::{configuration::Global, host::LONGEST_NAME};

/// Names the interface of each instance that has one. Returns all names that are in use.
pub(super) fn names(drafts: &mut [Draft<'_>], context: &Context<'_>) -> BTreeSet<String> {
    let host = context.host;
    let others = host.interfaces.keys();
    let others = others.filter(|name| host.has_other(name, "macvlan"));
    let configured = drafts.iter().filter_map(|it| it.device.as_ref());
    let mut taken: BTreeSet<String> = others.chain(configured).cloned().collect();
    let prefix = context.global.text("vmac_prefix").unwrap_or("vrrp");
    for draft in drafts {
        let it = &mut draft.instance;
        if it.vmac.is_none() && it.ipvlan.is_none() {
            continue;
        }
        let device = match &draft.device {
            Some(device) => device.clone(),
            None => next(prefix, it.vrid, it.is_ipv6, &mut taken),
        };
        if let Some(vmac) = &mut it.vmac {
            vmac.device.clone_from(&device);
        }
        if let Some(ipvlan) = &mut it.ipvlan {
            ipvlan.device = device;
        }
    }
    taken
}

/// Names the macvlans of addresses: one for each family on each parent.
pub(super) fn of_addresses(draft: &mut Draft<'_>, global: &Global, taken: &mut BTreeSet<String>) {
    let prefix = global.text("vmac_addr_prefix");
    let prefix = prefix.or(global.text("vmac_prefix")).unwrap_or("vrrp");
    let it = &mut draft.instance;
    let own = it.interface.as_str();
    let mut known: BTreeMap<(String, bool), String> = BTreeMap::new();
    let objects = &mut it.objects;
    for address in objects.addresses.iter_mut().chain(&mut objects.excluded) {
        let parent = address.interface.as_deref().unwrap_or(own);
        let is_ipv6 = address.address.is_ipv6();
        let is_of_instance = parent == own && is_ipv6 == it.is_ipv6;
        let is_wanted = (it.use_vmac_addr && !is_of_instance) || address.uses_vmac;
        // Two links of one parent cannot both be up with the same hardware address.
        if !is_wanted || (is_of_instance && it.vmac.is_some()) {
            continue;
        }
        let name = known
            .entry((parent.to_owned(), is_ipv6))
            .or_insert_with(|| next(prefix, it.vrid, is_ipv6, taken));
        address.macvlan = Some(name.clone());
    }
}

/// Finds a free name: `vrrp.51`, over IPv6 `vrrp6.51` if that is taken, then `vrrp1.51` and so on.
fn next(prefix: &str, vrid: u8, is_ipv6: bool, taken: &mut BTreeSet<String>) -> String {
    let numbered = (1..).map(|number: u32| format!("{prefix}{number}.{vrid}"));
    let of_family = is_ipv6.then(|| format!("{prefix}6.{vrid}"));
    let mut names = std::iter::once(format!("{prefix}.{vrid}"))
        .chain(of_family)
        .chain(numbered);
    let free = names.find(|name| !taken.contains(name));
    let mut name = free.unwrap_or_default();
    name.truncate(LONGEST_NAME);
    taken.insert(name.clone());
    name
}
