//! The interface that bears the virtual MAC of a virtual router.

use vrrp_proto::{
    Family, Vrid,
    frame::{MacAddress, virtual_mac},
};

use super::{netlink::Netlink, sys::describe_interface, sysctl::Sysctl};
use crate::{Error, Interfaces, Link, MonitorEvent, interface::check_link_name};

/// How the alias of a macvlan of ours begins. Behind it stand the settings of the interface beneath as they were.
const MARK: &str = "vrrp-net";

/// The settings of the interface beneath, so that it does not speak for addresses that are not on it but on the macvlan, which would
/// teach its neighbours the physical MAC: it answers ARP for its own addresses only, and asks in the name of these only.
const BENEATH: [(&str, i32); 2] = [("arp_ignore", 1), ("arp_announce", 2)];

/// The interface of a virtual router: a macvlan in bridge mode on an Ethernet interface, whose hardware address is the virtual router MAC
/// address, 00-00-5E-00-01-{VRID} or 00-00-5E-00-02-{VRID} (RFC 9568 section 7.3, M-01, M-02). Each interface, family and VRID has its own.
///
/// It is up while the router is Active, and down otherwise: nothing leaves it then, and the interface beneath does not take in what is
/// sent to the virtual MAC (M-05). It has no addresses but virtual ones: the kernel forms none there (M-10), and sends no router
/// solicitations. Advertisements are received on the interface beneath; so no IGMP report leaves the macvlan, and MLD reports
/// do only for the solicited-node groups of its addresses, which the Active has to join.
///
/// # Settings
///
/// Those of the macvlan go with it: `net.ipv4.conf` has `arp_ignore` 1, `arp_announce` 2, `promote_secondaries` 1 and `rp_filter` 2
/// (loose, where the host filters at all: answers leave by the interface beneath); `net.ipv6.conf` has `addr_gen_mode` 1,
/// `accept_ra` 0 and `autoconf` 0.
///
/// The interface beneath gets `arp_ignore` 1, unless it has 1, 2 or 8, and `arp_announce` 2, where there are virtual IPv4 addresses. The
/// values that it had are kept in the alias of the macvlan, where a crash does not reach them, and come back with the end of the last
/// macvlan on that interface. A value that somebody has changed in the meantime stays.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Macvlan {
    interface: u32,
    name: String,
    parent: u32,
    mac: MacAddress,
}

impl Macvlan {
    /// Puts the macvlan of a virtual router on the interface of the index `parent`, down, or takes over the one that an earlier run has
    /// left there, in whatever state it is. `interfaces` has to be up to date, and is kept so.
    ///
    /// Without a `name` it is called `vrrp4-51-2` or so: family, VRID, and index of the interface beneath in hexadecimal digits.
    ///
    /// Settings belong to the network namespace of the calling thread, which has to be that of `netlink`.
    ///
    /// # Errors
    ///
    /// [`Error::OtherNamespace`] where it is not; [`Error::Invalid`] where the interface beneath is not Ethernet, where the name is not one that a link can have, and where another
    /// link has it; [`Error::Capability`] without `CAP_NET_ADMIN`; [`Error::Os`] names a setting that could not be made, or another
    /// refusal. Nothing has changed then.
    pub fn add(
        netlink: &mut Netlink,
        interfaces: &mut Interfaces,
        parent: u32,
        (family, vrid): (Family, Vrid),
        name: Option<&str>,
        has_ipv4: bool,
    ) -> Result<Self, Error> {
        let mac = virtual_mac(vrid, family);
        netlink
            .check_namespace(|| format!("set up a macvlan on {}", describe_interface(parent)))?;
        let name = match name {
            Some(name) => name.into(),
            None => format!(
                "vrrp{}-{vrid}-{parent:x}",
                match family {
                    Family::Ipv4 => 4,
                    Family::Ipv6 => 6,
                }
            ),
        };
        check_link_name("virtual_mac", &name)?;
        let beneath = interfaces.get(parent).map(|parent| parent.link.clone());
        let Some(beneath) = beneath.filter(|link| link.mac.is_some()) else {
            let problem = format!("{} is not Ethernet", describe_interface(parent));
            return Err(invalid(problem));
        };
        let is_new = netlink.add_macvlan(parent, &name, mac)?;
        let Some(mut link) = netlink.link(&name)? else {
            return Err(invalid(format!("{name} was removed at once")));
        };
        if !is_new && !is_left_over(&link, parent, mac) {
            let problem = format!(
                "there is a link {name} already, which is not a macvlan of this crate on {} with the address {mac}",
                beneath.name
            );
            return Err(invalid(problem));
        }
        let macvlan = Self {
            interface: link.index,
            name,
            parent,
            mac,
        };
        let result = macvlan.set_up(netlink, interfaces, &mut link, &beneath.name, has_ipv4);
        interfaces.apply(&MonitorEvent::Link(link));
        match result {
            Ok(()) => Ok(macvlan),
            Err(error) => {
                if is_new && let Err(error) = macvlan.delete(netlink, interfaces) {
                    tracing::warn!(%error, "a macvlan that could not be set up stays");
                }
                Err(error)
            }
        }
    }

    /// First the record, then what it is about: a crash in between is repaired by it.
    fn set_up(
        &self,
        netlink: &mut Netlink,
        interfaces: &Interfaces,
        link: &mut Link,
        beneath: &str,
        has_ipv4: bool,
    ) -> Result<(), Error> {
        let mut record = record_of(&link.alias).map(str::to_owned);
        if has_ipv4 && record.as_deref().is_none_or(str::is_empty) {
            let known = siblings(interfaces, self.parent, self.interface).next();
            record = Some(match known {
                Some(record) => record.into(),
                None => record_anew(beneath)?,
            });
        }
        let alias = match record.as_deref() {
            None | Some("") => MARK.into(),
            Some(record) => format!("{MARK} {record}"),
        };
        if link.alias != alias {
            netlink.set_alias(self.interface, &alias)?;
            link.alias = alias;
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
        if has_ipv4 {
            for (key, value) in BENEATH {
                let sysctl = setting_beneath(beneath, key);
                if !(key == "arp_ignore" && matches!(sysctl.get()?, 1 | 2 | 8)) {
                    sysctl.set(value)?;
                }
            }
        }
        Ok(())
    }

    /// Deletes it, with its addresses, and with the last one on an interface brings that interface's settings back. `interfaces` has to be
    /// up to date, and is kept so.
    ///
    /// # Errors
    ///
    /// [`Error::Capability`] without `CAP_NET_ADMIN`; [`Error::Os`] names what was refused; [`Error::OtherNamespace`] as for
    /// [`add`](Self::add), when it is deleted and the settings stay.
    pub fn delete(self, netlink: &mut Netlink, interfaces: &mut Interfaces) -> Result<(), Error> {
        Self::delete_all(vec![self], netlink, interfaces)
    }

    /// Deletes several. The kernel has to wait until no processor uses them any more, and does so once for all of them.
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

    /// Takes note that it is deleted, and with the last one on an interface brings that interface's settings back.
    fn end(self, netlink: &Netlink, interfaces: &mut Interfaces) -> Result<(), Error> {
        let alias = interfaces
            .get(self.interface)
            .map(|own| own.link.alias.clone());
        interfaces.apply(&MonitorEvent::LinkGone {
            interface: self.interface,
        });
        let is_last = siblings(interfaces, self.parent, self.interface)
            .next()
            .is_none();
        let (Some(beneath), Some(record)) = (
            interfaces.get(self.parent),
            alias.as_deref().and_then(record_of),
        ) else {
            return Ok(());
        };
        if is_last {
            let name = &beneath.link.name;
            netlink.check_namespace(|| format!("bring the settings of {name} back"))?;
            restore(name, record)?;
        }
        Ok(())
    }

    /// Deletes the macvlans of this crate that `keep`, which is given their indexes, does not want kept: those that a run has left behind
    /// whose routers are no longer configured. Returns their names.
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
        let is_own = link.kind == "macvlan"
            && record_of(&link.alias).is_some()
            && mac.virtual_router().is_some();
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

    /// The index of the interface beneath.
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

/// Whether an earlier run has made this link; also one that did not live to mark it.
fn is_left_over(link: &Link, parent: u32, mac: MacAddress) -> bool {
    link.kind == "macvlan"
        && link.parent == Some(parent)
        && link.mac == Some(mac)
        && (link.alias.is_empty() || record_of(&link.alias).is_some())
}

/// The record in the alias of a macvlan of ours.
fn record_of(alias: &str) -> Option<&str> {
    let rest = alias.strip_prefix(MARK)?;
    (rest.is_empty() || rest.starts_with(' ')).then(|| rest.trim_start())
}

/// The records of the other macvlans of ours on an interface.
fn siblings(interfaces: &Interfaces, parent: u32, own: u32) -> impl Iterator<Item = &str> {
    interfaces
        .iter()
        .map(|interface| &interface.link)
        .filter(move |link| {
            link.kind == "macvlan" && link.parent == Some(parent) && link.index != own
        })
        .filter_map(|link| record_of(&link.alias))
        .filter(|record| !record.is_empty())
}

const fn setting_beneath<'a>(interface: &'a str, key: &'a str) -> Sysctl<'a> {
    Sysctl {
        family: Family::Ipv4,
        interface,
        key,
    }
}

/// What the settings of an interface are, as text.
fn record_anew(beneath: &str) -> Result<String, Error> {
    let values = BENEATH.map(|(key, _)| {
        let value = setting_beneath(beneath, key).get()?;
        Ok(format!("{key}={value}"))
    });
    let values: Vec<String> = values.into_iter().collect::<Result<_, Error>>()?;
    Ok(values.join(" "))
}

/// Brings the settings of an interface back that are still as we have set them.
fn restore(beneath: &str, record: &str) -> Result<(), Error> {
    for (key, ours) in BENEATH {
        let recorded = record
            .split(' ')
            .filter_map(|entry| entry.split_once('='))
            .find(|(name, _)| *name == key)
            .and_then(|(_, value)| value.parse().ok());
        let sysctl = setting_beneath(beneath, key);
        if let Some(value) = recorded
            && sysctl.get()? == ours
        {
            sysctl.set(value)?;
        }
    }
    Ok(())
}

const fn invalid(problem: String) -> Error {
    Error::Invalid {
        field: "virtual_mac",
        problem,
    }
}
