//! The order of ipvsadm's lists.
//!
//! ipvsadm compares numbers by the sign of their difference in 32 bits. 200.0.0.1 is then before
//! 9.0.0.1, 9.0.0.1 before 127.0.0.1 and 127.0.0.1 before 200.0.0.1. The result of sorting depends
//! on the algorithm, so this module has its own: the merge sort of the GNU C library, which ipvsadm
//! uses.

use std::{cmp::Ordering, net::IpAddr};

use crate::{DestinationKey, ServiceKey};

/// Sorts services as ipvsadm does: by mark, family, protocol, address, port. To reproduce its list
/// exactly, start from the order in which the kernel lists them.
pub fn sort_services<T>(services: &mut Vec<T>, key: impl Fn(&T) -> ServiceKey) {
    merge_sort(services, &|a, b| compare_services(key(a), key(b)));
}

/// Sorts the destinations of a service as ipvsadm does: by address, port. To reproduce its list
/// exactly, start from the order in which the kernel lists them.
pub fn sort_destinations<T>(destinations: &mut Vec<T>, key: impl Fn(&T) -> DestinationKey) {
    merge_sort(destinations, &|a, b| {
        let (a, b) = (key(a), key(b));
        compare_addresses(a.address, b.address).then(a.port.cmp(&b.port))
    });
}

fn compare_services(a: ServiceKey, b: ServiceKey) -> Ordering {
    compare(mark(a), mark(b))
        .then(a.family().cmp(&b.family()))
        .then_with(|| match (a, b) {
            (
                ServiceKey::Address {
                    protocol: a_protocol,
                    address: a_address,
                    port: a_port,
                },
                ServiceKey::Address {
                    protocol: b_protocol,
                    address: b_address,
                    port: b_port,
                },
            ) => a_protocol
                .cmp(&b_protocol)
                .then(compare_addresses(a_address, b_address))
                .then(a_port.cmp(&b_port)),
            _ => Ordering::Equal,
        })
}

fn mark(key: ServiceKey) -> u32 {
    match key {
        ServiceKey::Address { .. } => 0,
        ServiceKey::FirewallMark { mark, .. } => mark.get(),
    }
}

/// Compares the first 32 bits that differ. The family of the first address gives their number; an
/// IPv4 address is followed by zeros.
fn compare_addresses(a: IpAddr, b: IpAddr) -> Ordering {
    let length = if a.is_ipv4() { 1 } else { 4 };
    words(a)
        .into_iter()
        .zip(words(b))
        .take(length)
        .map(|(a, b)| compare(a, b))
        .find(|ordering| ordering.is_ne())
        .unwrap_or(Ordering::Equal)
}

fn words(address: IpAddr) -> [u32; 4] {
    match address {
        IpAddr::V4(address) => [address.to_bits(), 0, 0, 0],
        IpAddr::V6(address) => {
            let octets = address.octets();
            let word = |at| {
                let octets = [octets[at], octets[at + 1], octets[at + 2], octets[at + 3]];
                u32::from_be_bytes(octets)
            };
            [word(0), word(4), word(8), word(12)]
        }
    }
}

fn compare(a: u32, b: u32) -> Ordering {
    a.wrapping_sub(b).cast_signed().cmp(&0)
}

/// Sorts and merges the two halves, of which the second has the odd element. Of equal elements,
/// that of the first half comes first.
fn merge_sort<T>(items: &mut Vec<T>, compare: &impl Fn(&T, &T) -> Ordering) {
    if items.len() < 2 {
        return;
    }
    let mut second = items.split_off(items.len() / 2);
    let mut first = std::mem::take(items);
    merge_sort(&mut first, compare);
    merge_sort(&mut second, compare);
    let mut first = first.into_iter().peekable();
    let mut second = second.into_iter().peekable();
    while let (Some(a), Some(b)) = (first.peek(), second.peek()) {
        let next = if compare(a, b).is_le() {
            first.next()
        } else {
            second.next()
        };
        items.extend(next);
    }
    items.extend(first);
    items.extend(second);
}
