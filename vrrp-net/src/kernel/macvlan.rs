//! The interface with the virtual MAC of a virtual router.

use vrrp_proto::{
    Family, Vrid,
    frame::{MacAddress, virtual_mac},
};

use super::{netlink::Netlink, sys::describe_interface, sysctl::Sysctl};
use crate::{Error, Interfaces, LINK_MARK, Link, MonitorEvent, interface::check_link_name};

/// The settings of the parent interface. The parent answers ARP for its own addresses only, and
/// sends ARP requests from these only: otherwise neighbours would learn its physical MAC for
/// addresses on the macvlan.
const PARENT_SETTINGS: [(&str, i32); 2] = [("arp_ignore", 1), ("arp_announce", 2)];

/// The interface of a virtual router: a macvlan in bridge mode on an Ethernet interface, whose
/// hardware address is the virtual router MAC address, 00-00-5E-00-01-{VRID} or
/// 00-00-5E-00-02-{VRID} (RFC 9568 section 7.3, M-01, M-02). Each interface, family and VRID has
/// its own.
///
/// It is up while the router is Active, and down otherwise: nothing leaves it then, and the parent
/// interface does not accept frames to the virtual MAC (M-05). Its only addresses are virtual ones:
/// the kernel forms no other address there (M-10), and sends no router solicitations.
/// Advertisements are received on the parent interface; so no IGMP report leaves the macvlan, and
/// MLD reports leave it only for the solicited-node groups of its addresses, which the Active has
/// to join.
///
/// # Settings
///
/// The settings of the macvlan are deleted with it: `net.ipv4.conf` has `arp_ignore` 1,
/// `arp_announce` 2, `promote_secondaries` 1 and `rp_filter` 2 (loose, where the host filters at
/// all: answers leave by the parent interface); `net.ipv6.conf` has `addr_gen_mode` 1, `accept_ra`
/// 0 and `autoconf` 0.
///
/// The parent gets `arp_ignore` 1, unless it has 1, 2 or 8, and `arp_announce` 2, where there are
/// virtual IPv4 addresses. The values that it had are recorded on the parent itself, as an
/// alternative name (`vrrp-net.INDEX.ARP_IGNORE.ARP_ANNOUNCE`), which survives a crash and the loss
/// of the macvlan. They are put back when the last macvlan on that parent ends; a value that was
/// changed in the meantime stays. Kernels before Linux 5.5 have no alternative names: there the
/// alias of the macvlan holds the record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Macvlan {
    interface: u32,
    name: String,
    parent: u32,
    mac: MacAddress,
}

impl Macvlan {
    /// Puts the macvlan of a virtual router on the interface of the index `parent`, down, or takes
    /// over the one that an earlier run has left there, whatever its state and name. `interfaces`
    /// has to be up to date, and is kept so.
    ///
    /// Without a `name` it has a name of the form `vrrp4-51-2`: family, VRID, and index of the
    /// parent in hexadecimal digits.
    ///
    /// Settings belong to the network namespace of the calling thread, which has to be that of
    /// `netlink`.
    ///
    /// # Errors
    ///
    /// [`Error::OtherNamespace`] where it is not; [`Error::Invalid`] where the parent is not
    /// Ethernet, where no link can have the name, and where another link has it;
    /// [`Error::Capability`] without `CAP_NET_ADMIN`; [`Error::Os`] names a setting that could not
    /// be changed, or another refusal. Nothing has changed then.
    pub fn add(
        netlink: &mut Netlink,
        interfaces: &mut Interfaces,
        parent: u32,
        (family, vrid): (Family, Vrid),
        name: Option<&str>,
        has_ipv4: bool,
    ) -> Result<Self, Error> {
        let mac = virtual_mac(vrid, family);
        let name = match name {
            Some(name) => name.into(),
            None => default_name(family, vrid, parent),
        };
        let found = interfaces.get(parent).map(|it| it.link.clone());
        let found = found.ok_or_else(|| not_ethernet(parent))?;
        let existing = interfaces.iter().map(|it| &it.link).find(|link| {
            let is_ours = link.is_marked_macvlan() || link.name == name;
            is_ours && link.parent == Some(parent) && link.mac == Some(mac)
        });
        let existing = existing.cloned();
        let (macvlan, link) = Self::create(netlink, &found, mac, &name, existing.as_ref())?;
        interfaces.apply(&MonitorEvent::Link(link.clone()));
        if has_ipv4 {
            match quiet_parent(netlink, &found, &link) {
                Ok(changed) => {
                    for link in changed {
                        interfaces.apply(&MonitorEvent::Link(link));
                    }
                }
                Err(error) => {
                    if existing.is_none()
                        && let Err(error) = macvlan.delete(netlink, interfaces)
                    {
                        tracing::warn!(%error, "a macvlan that could not be set up stays");
                    }
                    return Err(error);
                }
            }
        }
        Ok(macvlan)
    }

    /// Makes the macvlan on this parent, down, or takes over `existing`, and applies its settings.
    pub(crate) fn create(
        netlink: &mut Netlink,
        parent: &Link,
        mac: MacAddress,
        name: &str,
        existing: Option<&Link>,
    ) -> Result<(Self, Link), Error> {
        netlink.check_namespace(|| format!("set up a macvlan on {}", parent.name))?;
        check_link_name("virtual_mac", name)?;
        if parent.mac.is_none() {
            return Err(not_ethernet(parent.index));
        }
        let mut is_new = false;
        match existing {
            Some(existing) if existing.name != name => {
                netlink.set_up(existing.index, false)?;
                netlink.set_name(existing.index, name)?;
            }
            Some(_) => {}
            None => is_new = netlink.add_macvlan(parent.index, name, mac)?,
        }
        let Some(mut link) = netlink.link(name)? else {
            return Err(invalid(format!("{name} was removed at once")));
        };
        if !is_new && !is_left_over(&link, parent.index, mac) {
            let problem = format!(
                "there is a link {name} already, which is not a macvlan of this crate on {} with the address {mac}",
                parent.name
            );
            return Err(invalid(problem));
        }
        let macvlan = Self {
            interface: link.index,
            name: name.into(),
            parent: parent.index,
            mac,
        };
        match macvlan.set_up(netlink, &mut link) {
            Ok(()) => Ok((macvlan, link)),
            Err(error) => {
                if is_new && let Err(error) = netlink.delete_links(&[macvlan.interface]) {
                    tracing::warn!(%error, "a macvlan that could not be set up stays");
                }
                Err(error)
            }
        }
    }

    fn set_up(&self, netlink: &mut Netlink, link: &mut Link) -> Result<(), Error> {
        if !link.is_marked_macvlan() {
            netlink.set_alias(self.interface, LINK_MARK)?;
            link.alias = LINK_MARK.into();
        }
        let all = Sysctl {
            family: Family::Ipv4,
            interface: "all",
            key: "rp_filter",
        };
        let rp_filter = if all.get()? == 0 { 0 } else { 2 };
        let own = [
            (Family::Ipv4, "arp_ignore", 1),
            (Family::Ipv4, "arp_announce", 2),
            (Family::Ipv4, "promote_secondaries", 1),
            (Family::Ipv4, "rp_filter", rp_filter),
            (Family::Ipv6, "addr_gen_mode", 1),
            (Family::Ipv6, "accept_ra", 0),
            (Family::Ipv6, "autoconf", 0),
        ];
        for (family, key, value) in own {
            let sysctl = Sysctl {
                family,
                interface: &self.name,
                key,
            };
            // A kernel without IPv6 has no such settings, and needs none.
            if family == Family::Ipv4 || sysctl.exists() {
                sysctl.set(value)?;
            }
        }
        Ok(())
    }

    /// Deletes it, with its addresses. With the last macvlan on an interface, that interface's
    /// settings are put back. `interfaces` has to be up to date, and is kept so.
    ///
    /// # Errors
    ///
    /// [`Error::Capability`] without `CAP_NET_ADMIN`; [`Error::Os`] names the refused change;
    /// [`Error::OtherNamespace`] as for [`add`](Self::add), when it is deleted and the settings
    /// stay.
    pub fn delete(self, netlink: &mut Netlink, interfaces: &mut Interfaces) -> Result<(), Error> {
        Self::delete_all(vec![self], netlink, interfaces)
    }

    /// Deletes several macvlans. The kernel has to wait until no processor uses them any more, and
    /// waits once for all of them.
    pub(crate) fn delete_all(
        macvlans: Vec<Self>,
        netlink: &mut Netlink,
        interfaces: &mut Interfaces,
    ) -> Result<(), Error> {
        let indexes: Vec<u32> = macvlans.iter().map(|it| it.interface).collect();
        netlink.delete_links(&indexes)?;
        let settings = macvlans.into_iter().map(|it| it.end(netlink, interfaces));
        settings.fold(Ok(()), Result::and)
    }

    /// Notes that it is deleted. After the last macvlan on a parent, puts the settings of the
    /// parent back.
    fn end(self, netlink: &mut Netlink, interfaces: &mut Interfaces) -> Result<(), Error> {
        let alias = interfaces
            .get(self.interface)
            .map(|own| own.link.alias.clone());
        interfaces.apply(&MonitorEvent::LinkGone {
            interface: self.interface,
        });
        let is_sibling = |link: &Link| link.parent == Some(self.parent) && link.is_marked_macvlan();
        if interfaces.iter().any(|it| is_sibling(&it.link)) {
            return Ok(());
        }
        let Some(parent) = interfaces.get(self.parent).map(|it| it.link.clone()) else {
            return Ok(());
        };
        if let Some(link) = restore_parent(netlink, &parent, alias.as_deref())? {
            interfaces.apply(&MonitorEvent::Link(link));
        }
        Ok(())
    }

    /// Deletes the macvlans of this crate for whose indexes `keep` returns false: those that an
    /// earlier run left behind and whose routers are no longer configured. Returns their names.
    ///
    /// # Errors
    ///
    /// As for [`delete`](Self::delete).
    pub fn sweep(
        netlink: &mut Netlink,
        interfaces: &mut Interfaces,
        keep: impl Fn(u32) -> bool,
    ) -> Result<Vec<String>, Error> {
        let left_over: Vec<Self> = interfaces
            .iter()
            .filter_map(|interface| Self::of(&interface.link))
            .filter(|macvlan| !keep(macvlan.interface))
            .collect();
        let names = left_over.iter().map(|it| it.name.clone()).collect();
        Self::delete_all(left_over, netlink, interfaces)?;
        Ok(names)
    }

    /// A link, if it is one of these.
    fn of(link: &Link) -> Option<Self> {
        let mac = link.mac?;
        let is_own = link.is_marked_macvlan();
        Some(Self {
            interface: link.index,
            name: link.name.clone(),
            parent: link.parent?,
            mac,
        })
        .filter(|_| is_own)
    }

    /// Its index.
    #[must_use]
    pub const fn interface(&self) -> u32 {
        self.interface
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The index of the parent interface.
    #[must_use]
    pub const fn parent(&self) -> u32 {
        self.parent
    }

    /// The virtual MAC.
    #[must_use]
    pub const fn mac(&self) -> MacAddress {
        self.mac
    }
}

/// The name of a macvlan for which none is configured.
pub(crate) fn default_name(family: Family, vrid: Vrid, parent: u32) -> String {
    let family = match family {
        Family::Ipv4 => 4,
        Family::Ipv6 => 6,
    };
    format!("vrrp{family}-{vrid}-{parent:x}")
}

/// Whether an earlier run has made this link, even a run that ended before it marked the link.
fn is_left_over(link: &Link, parent: u32, mac: MacAddress) -> bool {
    link.kind == "macvlan"
        && link.parent == Some(parent)
        && link.mac == Some(mac)
        && (link.alias.is_empty() || link.is_marked_macvlan())
}

/// Keeps a parent from answering ARP for the IPv4 addresses of its macvlans, after its settings
/// were recorded. Returns the links that have changed.
pub(crate) fn quiet_parent(
    netlink: &mut Netlink,
    parent: &Link,
    macvlan: &Link,
) -> Result<Vec<Link>, Error> {
    netlink.check_namespace(|| format!("change the settings of {}", parent.name))?;
    let mut changed = Vec::new();
    // Another program may have recorded them by now.
    let found = netlink.link(&parent.name)?;
    let found = found.filter(|link| link.index == parent.index);
    let Some(found) = found else {
        return Err(invalid(format!("{} was removed at once", parent.name)));
    };
    let is_recorded = found.settings_record().is_some() || alias_record(&macvlan.alias).is_some();
    if !is_recorded {
        let mut values = [0; 2];
        for ((key, _), value) in PARENT_SETTINGS.into_iter().zip(&mut values) {
            *value = parent_setting(&parent.name, key).get()?;
        }
        let [ignore, announce] = values;
        let name = format!("{LINK_MARK}.{}.{ignore}.{announce}", parent.index);
        if netlink.set_alt_name(parent.index, &name, true)? {
            let mut link = found;
            link.alt_names.push(name);
            changed.push(link);
        } else {
            let alias = format!("{LINK_MARK} arp_ignore={ignore} arp_announce={announce}");
            netlink.set_alias(macvlan.index, &alias)?;
            let mut link = macvlan.clone();
            link.alias = alias;
            changed.push(link);
        }
    }
    for (key, value) in PARENT_SETTINGS {
        let sysctl = parent_setting(&parent.name, key);
        if !(key == "arp_ignore" && matches!(sysctl.get()?, 1 | 2 | 8)) {
            sysctl.set(value)?;
        }
    }
    Ok(changed)
}

/// Puts back the settings of a parent that are still as we have set them, from its record, or from
/// the alias of its last macvlan. Returns the parent where it has changed.
pub(crate) fn restore_parent(
    netlink: &mut Netlink,
    parent: &Link,
    alias: Option<&str>,
) -> Result<Option<Link>, Error> {
    let record = parent.settings_record();
    let values = record.map(|(_, values)| values);
    let Some(values) = values.or_else(|| alias_record(alias?)) else {
        return Ok(None);
    };
    netlink.check_namespace(|| format!("bring the settings of {} back", parent.name))?;
    for ((key, ours), value) in PARENT_SETTINGS.into_iter().zip(values) {
        let sysctl = parent_setting(&parent.name, key);
        if sysctl.get()? == ours {
            sysctl.set(value)?;
        }
    }
    let Some((name, _)) = record else {
        return Ok(None);
    };
    netlink.set_alt_name(parent.index, name, false)?;
    let mut link = parent.clone();
    link.alt_names.retain(|it| it != name);
    Ok(Some(link))
}

/// The record in the alias of a macvlan of ours, on a kernel without alternative names.
pub(crate) fn alias_record(alias: &str) -> Option<[i32; 2]> {
    let record = alias.strip_prefix(LINK_MARK)?;
    let value = |wanted: &str| {
        record
            .split(' ')
            .filter_map(|entry| entry.split_once('='))
            .find(|(key, _)| *key == wanted)
            .and_then(|(_, value)| value.parse().ok())
    };
    Some([value("arp_ignore")?, value("arp_announce")?])
}

const fn parent_setting<'a>(interface: &'a str, key: &'a str) -> Sysctl<'a> {
    Sysctl {
        family: Family::Ipv4,
        interface,
        key,
    }
}

fn not_ethernet(parent: u32) -> Error {
    invalid(format!("{} is not Ethernet", describe_interface(parent)))
}

const fn invalid(problem: String) -> Error {
    Error::Invalid {
        field: "virtual_mac",
        problem,
    }
}
