//! Virtual addresses that are the primary ones of their subnets.
//!
//! The kernel removes the other addresses of a subnet along with its primary one, unless
//! `promote_secondaries` is set (`__inet_del_ifa` in net/ipv4/devinet.c). The setting is made for
//! the moment of the removal. Where that is not possible, the other addresses are added again at
//! once.

use std::collections::BTreeSet;

use vrrp_proto::Family;

use super::DriverEvent;
use crate::{
    Error, InterfaceAddress, Netlink, Outcome, VirtualAddress,
    kernel::{netlink::RawAddress, sysctl::Sysctl},
    plan::{Actual, Change},
};

/// The other addresses of the subnets of virtual addresses, while a virtual address is removed.
#[derive(Debug, Default)]
pub(super) struct SparedSubnets {
    /// The interfaces whose setting was changed, by their names.
    promoting: Vec<String>,
    /// The addresses that must be there afterwards, with the names of their interfaces.
    kept: Vec<(String, RawAddress)>,
}

impl SparedSubnets {
    /// Prepares for the removals among these changes.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] or [`Error::NoAnswer`] where the kernel does not list its addresses.
    pub(super) fn prepare(
        netlink: &mut Netlink,
        actual: &Actual,
        changes: &[Change],
    ) -> Result<Self, Error> {
        let mut spared = Self::default();
        let removed: Vec<(u32, &InterfaceAddress)> = changes
            .iter()
            .filter(|change| change.spares_subnet())
            .filter_map(|change| match change {
                Change::RemoveAddress { interface, address } => Some((*interface, address)),
                _ => None,
            })
            .collect();
        let interfaces: BTreeSet<u32> = removed.iter().map(|(interface, _)| *interface).collect();
        let mut unprotected = BTreeSet::new();
        for interface in interfaces {
            let Some(link) = actual.link(interface) else {
                continue;
            };
            match promote(netlink, &link.name) {
                Ok(true) => spared.promoting.push(link.name.clone()),
                Ok(false) => {}
                Err(error) => {
                    tracing::debug!(%error, "the kernel promotes no secondary address");
                    unprotected.insert(interface);
                }
            }
        }
        if unprotected.is_empty() {
            return Ok(spared);
        }
        let is_kept = |raw: &RawAddress| {
            let mut removed = removed
                .iter()
                .filter(|(interface, _)| *interface == raw.interface);
            unprotected.contains(&raw.interface)
                && removed
                    .clone()
                    .any(|(_, own)| raw.address.is_in_subnet_of(own))
                && removed.all(|(_, own)| !raw.address.is_same(own))
        };
        for raw in netlink.raw_addresses()? {
            if let Some(link) = actual.link(raw.interface).filter(|_| is_kept(&raw)) {
                spared.kept.push((link.name.clone(), raw));
            }
        }
        Ok(spared)
    }

    /// Puts the settings and the addresses back. Returns the events about addresses that had been
    /// removed.
    pub(super) fn restore(self, netlink: &mut Netlink) -> Vec<DriverEvent> {
        for name in &self.promoting {
            if let Err(error) = promotion(name).set(0) {
                tracing::warn!(%error, "promote_secondaries was not put back");
            }
        }
        let events = self.kept.into_iter().filter_map(|(interface, raw)| {
            let own = &raw.address;
            let address = VirtualAddress::new(own.address).with_prefix_len(own.prefix_len);
            let address = address.ok()?;
            match netlink.add_raw_address(&raw) {
                Ok(Outcome::AlreadySo) => None,
                Ok(Outcome::Changed) => {
                    Some(DriverEvent::HostAddressRestored { interface, address })
                }
                Err(error) => Some(DriverEvent::HostAddressLost {
                    interface,
                    address,
                    error,
                }),
            }
        });
        events.collect()
    }
}

/// Makes the kernel promote a secondary address of an interface in place of the primary one of its
/// subnet. Returns whether the setting of the interface was changed.
fn promote(netlink: &Netlink, name: &str) -> Result<bool, Error> {
    netlink.check_namespace(|| format!("set promote_secondaries of {name}"))?;
    let is_set = |name| promotion(name).get().is_ok_and(|value| value != 0);
    if is_set("all") || is_set(name) {
        return Ok(false);
    }
    promotion(name).set(1).map(|_| true)
}

const fn promotion(interface: &str) -> Sysctl<'_> {
    Sysctl {
        family: Family::Ipv4,
        interface,
        key: "promote_secondaries",
    }
}
