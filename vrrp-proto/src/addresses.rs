//! The virtual addresses of one virtual router.

use core::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::Family;

/// A list of addresses of one family: a view of the octets of a message, or of a caller's slice.
///
/// ```
/// use std::net::Ipv4Addr;
/// use vrrp_proto::{Addresses, Family};
///
/// let own = [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2)];
/// let addresses = Addresses::from(&own[..]);
/// assert_eq!(addresses.family(), Family::Ipv4);
/// assert_eq!(addresses.iter().count(), 2);
/// ```
#[derive(Clone, Copy)]
pub struct Addresses<'a>(Repr<'a>);

#[derive(Clone, Copy)]
enum Repr<'a> {
    WireV4(&'a [[u8; 4]]),
    WireV6(&'a [[u8; 16]]),
    HostV4(&'a [Ipv4Addr]),
    HostV6(&'a [Ipv6Addr]),
}

impl<'a> Addresses<'a> {
    /// Views octets as addresses. Octets after the last whole address are left out.
    pub(crate) fn from_wire(family: Family, octets: &'a [u8]) -> Self {
        Self(match family {
            Family::Ipv4 => Repr::WireV4(octets.as_chunks().0),
            Family::Ipv6 => Repr::WireV6(octets.as_chunks().0),
        })
    }

    /// The family of every address in the list.
    #[must_use]
    pub const fn family(&self) -> Family {
        match self.0 {
            Repr::WireV4(_) | Repr::HostV4(_) => Family::Ipv4,
            Repr::WireV6(_) | Repr::HostV6(_) => Family::Ipv6,
        }
    }

    /// Returns the number of addresses.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self.0 {
            Repr::WireV4(list) => list.len(),
            Repr::WireV6(list) => list.len(),
            Repr::HostV4(list) => list.len(),
            Repr::HostV6(list) => list.len(),
        }
    }

    /// Whether the list is empty.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the address at an index, counted from 0.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<IpAddr> {
        match self.0 {
            Repr::WireV4(list) => list.get(index).map(|octets| IpAddr::from(*octets)),
            Repr::WireV6(list) => list.get(index).map(|octets| IpAddr::from(*octets)),
            Repr::HostV4(list) => list.get(index).copied().map(IpAddr::V4),
            Repr::HostV6(list) => list.get(index).copied().map(IpAddr::V6),
        }
    }

    /// Iterates over the addresses in order.
    #[must_use]
    pub fn iter(&self) -> AddressIter<'a> {
        AddressIter {
            list: *self,
            next: 0,
        }
    }

    /// Whether both lists have the same length and contain the same addresses, in any order.
    ///
    /// The comparison takes time proportional to the length if the order is the same (P-41), and to
    /// the product of the lengths otherwise.
    #[must_use]
    pub fn same_set(&self, other: &Addresses<'_>) -> bool {
        let holds_all = |a: &Addresses<'_>, b: &Addresses<'_>| {
            b.iter().all(|address| a.iter().any(|own| own == address))
        };
        self == other
            || (self.len() == other.len() && holds_all(self, other) && holds_all(other, self))
    }

    /// The first address of an IPv6 list: by P-38 the link-local address of the virtual router.
    pub(crate) fn first_ipv6(&self) -> Option<Ipv6Addr> {
        match self.0 {
            Repr::WireV6(list) => list.first().map(|octets| Ipv6Addr::from(*octets)),
            Repr::HostV6(list) => list.first().copied(),
            Repr::WireV4(_) | Repr::HostV4(_) => None,
        }
    }

    /// Passes the octets of the addresses to `part`, in the order of the wire.
    #[inline]
    pub(crate) fn emit(&self, mut part: impl FnMut(&[u8])) {
        match self.0 {
            Repr::WireV4(list) => part(list.as_flattened()),
            Repr::WireV6(list) => part(list.as_flattened()),
            Repr::HostV4(list) => list.iter().for_each(|address| part(&address.octets())),
            Repr::HostV6(list) => list.iter().for_each(|address| part(&address.octets())),
        }
    }
}

impl<'a> IntoIterator for &Addresses<'a> {
    type Item = IpAddr;
    type IntoIter = AddressIter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Iterator over [`Addresses`], made by [`Addresses::iter`].
#[derive(Clone, Debug)]
pub struct AddressIter<'a> {
    list: Addresses<'a>,
    next: usize,
}

impl Iterator for AddressIter<'_> {
    type Item = IpAddr;

    fn next(&mut self) -> Option<IpAddr> {
        let address = self.list.get(self.next)?;
        self.next = self.next.saturating_add(1);
        Some(address)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.list.len().saturating_sub(self.next);
        (left, Some(left))
    }
}

impl ExactSizeIterator for AddressIter<'_> {}

impl<'a> From<&'a [Ipv4Addr]> for Addresses<'a> {
    fn from(list: &'a [Ipv4Addr]) -> Self {
        Self(Repr::HostV4(list))
    }
}

impl<'a> From<&'a [Ipv6Addr]> for Addresses<'a> {
    fn from(list: &'a [Ipv6Addr]) -> Self {
        Self(Repr::HostV6(list))
    }
}

/// The same family and the same addresses in the same order, wherever they are stored.
impl PartialEq for Addresses<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.family() == other.family() && self.iter().eq(other.iter())
    }
}

impl Eq for Addresses<'_> {}

impl fmt::Debug for Addresses<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
