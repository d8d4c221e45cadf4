//! The host's interfaces, and the primary one of their addresses.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv6Addr},
};

use vrrp_proto::{Family, frame::MacAddress};

use crate::{Error, Route, Scope, VirtualAddress};

/// The mark of virtual addresses in the kernel (`IFA_PROTO`): the IP protocol number of VRRP.
///
/// No other program uses it, so an address with this mark that no running program claims was left
/// by a crash. Kernels before Linux 5.18 do not keep it.
pub const ADDRESS_PROTOCOL: u8 = 112;

/// The mark of keepalived's virtual addresses (`IFAPROT_KEEPALIVED`). An address with it is never a
/// primary one, and is removed where a router has the same address.
pub(crate) const KEEPALIVED_PROTOCOL: u8 = 18;

/// A link.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Link {
    /// Its index, which no other link of the namespace has while it exists.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its hardware address, if it is of six octets.
    pub mac: Option<MacAddress>,
    /// Whether it is up and has a carrier (`IFF_UP` and `IFF_RUNNING`).
    pub up: bool,
    /// The kind of a virtual link: `macvlan`, `vlan`, `veth` and so on. Empty for a physical one.
    pub kind: String,
    /// The index of its parent link, where there is one.
    pub parent: Option<u32>,
    /// Its alias (`ip link set alias`), or an empty text.
    pub alias: String,
    /// The index of the VRF device that the link is enslaved to, if it is.
    pub vrf: Option<u32>,
    /// Whether it is set up, with or without a carrier (`IFF_UP`).
    pub enabled: bool,
    /// Its alternative names (`ip link property add altname`).
    pub alt_names: Vec<String>,
}

/// The beginning of the alias of our macvlans, and of the alternative name of a parent.
pub(crate) const LINK_MARK: &str = "vrrp-net";

impl Link {
    /// Whether it is a macvlan with our mark.
    pub(crate) fn is_marked_macvlan(&self) -> bool {
        let rest = self.alias.strip_prefix(LINK_MARK);
        self.kind == "macvlan"
            && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
            && self.mac.is_some_and(|mac| mac.virtual_router().is_some())
    }

    /// Our record of the settings of a parent: an alternative name of the form
    /// `vrrp-net.INDEX.ARP_IGNORE.ARP_ANNOUNCE`. The index makes it unique in its namespace.
    pub(crate) fn settings_record(&self) -> Option<(&str, [i32; 2])> {
        self.alt_names.iter().find_map(|name| {
            let rest = name.strip_prefix(LINK_MARK)?.strip_prefix('.')?;
            let mut numbers = rest.split('.').map(|it| it.parse().ok());
            let _index: i32 = numbers.next()??;
            let values = [numbers.next()??, numbers.next()??];
            numbers.next().is_none().then_some((name.as_str(), values))
        })
    }
}

/// An address of an interface.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InterfaceAddress {
    /// The address.
    pub address: IpAddr,
    /// Its prefix length.
    pub prefix_len: u8,
    /// The address of the other end, on a point-to-point link.
    pub peer: Option<IpAddr>,
    /// The program that added it (`IFA_PROTO`): [`ADDRESS_PROTOCOL`] for virtual addresses, 0 for
    /// unknown.
    pub protocol: u8,
    /// Whether it is one of several addresses of a subnet and not the first (IPv4), or a temporary
    /// one (IPv6): `IFA_F_SECONDARY`.
    pub secondary: bool,
    /// Whether it can be used: neither still being checked for duplicates nor found to be a
    /// duplicate (IPv6).
    pub usable: bool,
    /// The scope of an IPv4 address; [`Scope::Global`] for IPv6.
    pub scope: Scope,
}

impl InterfaceAddress {
    /// Whether it has the same key in the kernel: local address, prefix length and peer.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.address == other.address
            && self.prefix_len == other.prefix_len
            && self.peer == other.peer
    }

    /// Whether it is in the subnet of another IPv4 address, so that one of them is the primary
    /// address of the subnet and the other secondary (`inet_ifa_match`).
    pub(crate) fn is_in_subnet_of(&self, other: &Self) -> bool {
        let network = |own: &Self| match own.peer.unwrap_or(own.address) {
            IpAddr::V4(address) => {
                let host = u32::MAX.checked_shr(own.prefix_len.into()).unwrap_or(0);
                Some(address.to_bits() & !host)
            }
            IpAddr::V6(_) => None,
        };
        self.prefix_len == other.prefix_len
            && network(self).is_some()
            && network(self) == network(other)
    }

    /// Its place in the list: IPv4 before IPv6. The kernel keeps IPv4 addresses in the order in
    /// which they were added, with narrower scopes first and secondary addresses last
    /// (`__inet_insert_ifa` in net/ipv4/devinet.c). Its order of IPv6 addresses differs from dump
    /// to dump, so they are sorted here.
    const fn rank(&self) -> (u8, Reverse<Scope>, Option<Ipv6Addr>) {
        match self.address {
            IpAddr::V4(_) if self.secondary => (1, Reverse(Scope::Global), None),
            IpAddr::V4(_) => (0, Reverse(self.scope), None),
            IpAddr::V6(address) => (2, Reverse(Scope::Global), Some(address)),
        }
    }

    fn is_link_local_ipv6(&self) -> bool {
        matches!(self.address, IpAddr::V6(address) if address.is_unicast_link_local())
    }
}

/// A link with its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The link.
    pub link: Link,
    /// Its addresses: IPv4 in the kernel's order, then IPv6 in numerical order.
    pub addresses: Vec<InterfaceAddress>,
}

impl Interface {
    /// The primary address, from which advertisements are sent, and which decides ties.
    ///
    /// For IPv4 it is the first address of the interface that is valid on the link (P-08), for IPv6
    /// its link-local address (P-09). A virtual address never is primary: neither an address for
    /// which `is_virtual` is true nor one with the mark [`ADDRESS_PROTOCOL`].
    ///
    /// ```
    /// use vrrp_net::{ADDRESS_PROTOCOL, Interface, InterfaceAddress, Link, Scope};
    /// use vrrp_proto::Family;
    ///
    /// let address = |address: &str, protocol| {
    ///     Ok::<_, std::net::AddrParseError>(InterfaceAddress {
    ///         address: address.parse()?,
    ///         prefix_len: 24,
    ///         peer: None,
    ///         protocol,
    ///         secondary: false,
    ///         usable: true,
    ///         scope: Scope::Global,
    ///     })
    /// };
    /// let interface = Interface {
    ///     link: Link {
    ///         index: 2,
    ///         name: "eth0".into(),
    ///         mac: None,
    ///         up: true,
    ///         kind: String::new(),
    ///         parent: None,
    ///         alias: String::new(),
    ///         vrf: None,
    ///         enabled: true,
    ///         alt_names: Vec::new(),
    ///     },
    ///     addresses: vec![
    ///         address("192.0.2.254", ADDRESS_PROTOCOL)?,
    ///         address("192.0.2.1", 0)?,
    ///         address("192.0.2.2", 0)?,
    ///     ],
    /// };
    /// assert_eq!(interface.primary_address(Family::Ipv4, |_| false), Some("192.0.2.1".parse()?));
    /// # Ok::<(), std::net::AddrParseError>(())
    /// ```
    #[must_use]
    pub fn primary_address(
        &self,
        family: Family,
        is_virtual: impl Fn(IpAddr) -> bool,
    ) -> Option<IpAddr> {
        self.first(is_virtual, |address| match family {
            Family::Ipv4 => address.address.is_ipv4(),
            Family::Ipv6 => address.is_link_local_ipv6(),
        })
    }

    /// The first IPv6 address that is not link-local, for unicast to peers elsewhere. As for
    /// [`primary_address`](Self::primary_address), it is never a virtual one.
    #[must_use]
    pub fn routable_address(&self, is_virtual: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
        self.first(is_virtual, |address| {
            address.address.is_ipv6() && !address.is_link_local_ipv6()
        })
    }

    /// Whether it has this address, ready for use.
    #[must_use]
    pub fn has(&self, address: IpAddr) -> bool {
        self.addresses
            .iter()
            .any(|own| own.address == address && own.usable)
    }

    /// Whether it has an address of this family, ready for use, that no driver has added.
    pub(crate) fn has_any(&self, family: Family) -> bool {
        let is_own = |own: &&InterfaceAddress| own.usable && own.protocol != ADDRESS_PROTOCOL;
        let mut own = self.addresses.iter().filter(is_own);
        own.any(|own| Family::of(own.address) == family)
    }

    fn first(
        &self,
        is_virtual: impl Fn(IpAddr) -> bool,
        fits: impl Fn(&InterfaceAddress) -> bool,
    ) -> Option<IpAddr> {
        self.addresses
            .iter()
            .filter(|own| {
                let is_marked = matches!(own.protocol, ADDRESS_PROTOCOL | KEEPALIVED_PROTOCOL);
                own.usable && !is_marked && own.scope != Scope::Host && fits(own)
            })
            .map(|own| own.address)
            .find(|address| !is_virtual(*address))
    }
}

impl VirtualAddress {
    /// Whether `own` is this address on an interface.
    pub(crate) fn is_at(&self, own: &InterfaceAddress) -> bool {
        own.address == self.address() && own.prefix_len == self.prefix_len() && own.peer.is_none()
    }
}

/// A notification about a link, an address or a route, with the new state of its subject.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MonitorEvent {
    /// A link came, or changed: [`Link::up`] says whether it is up and has a carrier.
    Link(Link),
    /// A link is gone, and its addresses with it.
    LinkGone {
        /// Its index.
        interface: u32,
    },
    /// An address came, or changed.
    AddressAdded {
        /// The index of its interface.
        interface: u32,
        /// The address.
        address: InterfaceAddress,
    },
    /// An address is gone.
    AddressRemoved {
        /// The index of its interface.
        interface: u32,
        /// The address.
        address: InterfaceAddress,
    },
    /// A virtual route is gone: one with the mark [`ROUTE_PROTOCOL`](crate::ROUTE_PROTOCOL). The
    /// kernel does not notify the removal of every route that it removes along with an interface or
    /// a source address.
    RouteRemoved {
        /// The index of its interface, if it had one.
        interface: Option<u32>,
        /// The route.
        route: Route,
    },
    /// Notifications were lost, because the kernel's buffer was full. Dump everything again with
    /// [`Netlink::interfaces`](crate::Netlink::interfaces).
    Overrun,
}

impl MonitorEvent {
    /// Whether it may change the order of the addresses of an interface: the kernel promotes a
    /// secondary address, or an address comes back at the end of the list.
    pub(crate) const fn reorders(&self) -> bool {
        matches!(self, Self::AddressRemoved { address, .. } if address.address.is_ipv4())
    }
}

/// The interfaces of a network namespace: read by
/// [`Netlink::interfaces`](crate::Netlink::interfaces), and kept up to date by the events of a
/// [`Monitor`](crate::Monitor).
///
/// To miss nothing, open the monitor first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interfaces {
    by_index: BTreeMap<u32, Interface>,
    by_name: HashMap<String, u32>,
}

impl Interfaces {
    /// Applies an event. This is idempotent, because an event holds the new state of its subject.
    pub fn apply(&mut self, event: &MonitorEvent) {
        match event {
            MonitorEvent::Link(link) => {
                self.rename(link);
                self.by_index
                    .entry(link.index)
                    .and_modify(|interface| interface.link.clone_from(link))
                    .or_insert_with(|| Interface {
                        link: link.clone(),
                        addresses: Vec::new(),
                    });
            }
            MonitorEvent::LinkGone { interface } => {
                if let Some(gone) = self.by_index.remove(interface) {
                    forget_name(&mut self.by_name, &gone.link);
                }
            }
            MonitorEvent::AddressAdded { interface, address } => {
                if let Some(interface) = self.by_index.get_mut(interface) {
                    let list = &mut interface.addresses;
                    let known = list
                        .iter_mut()
                        .find(|own| own.is_same(address) && own.rank() == address.rank());
                    if let Some(own) = known {
                        own.clone_from(address);
                    } else {
                        list.retain(|own| !own.is_same(address));
                        let place = list.partition_point(|own| own.rank() <= address.rank());
                        list.insert(place, address.clone());
                    }
                }
            }
            MonitorEvent::AddressRemoved { interface, address } => {
                if let Some(interface) = self.by_index.get_mut(interface) {
                    interface.addresses.retain(|own| !own.is_same(address));
                }
            }
            MonitorEvent::RouteRemoved { .. } | MonitorEvent::Overrun => {}
        }
    }

    /// Notes the name of a link.
    fn rename(&mut self, link: &Link) {
        if let Some(known) = self.by_index.get(&link.index) {
            if known.link.name == link.name {
                return;
            }
            forget_name(&mut self.by_name, &known.link);
        }
        self.by_name.insert(link.name.clone(), link.index);
    }

    /// The interface with this index.
    #[must_use]
    pub fn get(&self, index: u32) -> Option<&Interface> {
        self.by_index.get(&index)
    }

    /// The interface with this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Interface> {
        self.get(*self.by_name.get(name)?)
    }

    /// All interfaces, by index.
    pub fn iter(&self) -> impl Iterator<Item = &Interface> {
        self.by_index.values()
    }
}

/// Forgets the name that a link had, unless another one has it by now.
fn forget_name(by_name: &mut HashMap<String, u32>, link: &Link) {
    if by_name.get(&link.name) == Some(&link.index) {
        by_name.remove(&link.name);
    }
}

/// Checks a name by the kernel's rules (`dev_valid_name`).
pub(crate) fn check_link_name(field: &'static str, name: &str) -> Result<(), Error> {
    let fits = (1..=15).contains(&name.len())
        && name != "."
        && name != ".."
        && !name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace());
    if fits {
        return Ok(());
    }
    Err(Error::Invalid {
        field,
        problem: format!(
            "{name:?} is not the name of a link: 1 to 15 octets without slash, colon and space"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_found_by_the_name_that_it_has_now() {
        let mut interfaces = Interfaces::default();
        let mut name = |index: u32, name: &str| {
            let name = name.into();
            interfaces.apply(&MonitorEvent::Link(Link {
                index,
                name,
                mac: None,
                up: true,
                kind: String::new(),
                parent: None,
                alias: String::new(),
                vrf: None,
                enabled: true,
                alt_names: Vec::new(),
            }));
            ["a", "b", "c"].map(|name| interfaces.named(name).map(|it| it.link.index))
        };
        assert_eq!(name(1, "a"), [Some(1), None, None]);
        assert_eq!(name(2, "b"), [Some(1), Some(2), None]);
        // The notification of one of two links that swap their names comes before the other.
        assert_eq!(name(1, "b"), [None, Some(1), None]);
        assert_eq!(name(2, "a"), [Some(2), Some(1), None]);
        assert_eq!(name(2, "c"), [None, Some(1), Some(2)]);
        interfaces.apply(&MonitorEvent::LinkGone { interface: 1 });
        assert!(interfaces.named("b").is_none() && interfaces.named("c").is_some());
    }
}
