//! The order in which ipvsadm prints services and destinations.
//!
//! It compares by subtraction in 32 bits, so that 192.168.1.1 comes before 10.0.0.1, and for three addresses far enough from each other
//! there is no order at all: what is printed then depends on the order in which the kernel listed them, and on the way of the sort.

use std::net::IpAddr;

use ipvs_netlink::{DestinationKey, Family, Protocol, ServiceKey, TableEntry};

/// Puts a table in the order in which ipvsadm prints it.
pub(crate) fn sort(entries: &mut Vec<TableEntry>) {
    merge_sort(entries, |entry| service(entry.service.service.key));
    for entry in entries {
        merge_sort(&mut entry.destinations, |listed| {
            destination(listed.destination.key)
        });
    }
}

/// Services by mark, family, protocol, address and port.
fn service(key: ServiceKey) -> [u32; 8] {
    let (mark, family, protocol, [a, b, c, d], port) = match key {
        ServiceKey::FirewallMark { mark, family } => (mark.get(), family, 0, [0; 4], 0),
        ServiceKey::Address {
            protocol,
            address,
            port,
        } => {
            let protocol = match protocol {
                Protocol::Tcp => 6,
                Protocol::Udp => 17,
                Protocol::Sctp => 132,
            };
            (0, Family::of(address), protocol, words(address), port)
        }
    };
    let family = match family {
        Family::V4 => 2,
        Family::V6 => 10,
    };
    [mark, family, protocol, a, b, c, d, port.into()]
}

/// Destinations by address and port.
fn destination(key: DestinationKey) -> [u32; 5] {
    let [a, b, c, d] = words(key.address);
    [a, b, c, d, key.port.into()]
}

/// An address of either family as four numbers.
fn words(address: IpAddr) -> [u32; 4] {
    match address {
        IpAddr::V4(v4) => [v4.to_bits(), 0, 0, 0],
        IpAddr::V6(v6) => {
            let word = |at: u32| (v6.to_bits() >> (96 - 32 * at)) as u32;
            [word(0), word(1), word(2), word(3)]
        }
    }
}

/// Whether the first of two keys may stay before the second: the first difference, as a signed number, is not positive.
fn in_order<const N: usize>(first: &[u32; N], second: &[u32; N]) -> bool {
    let differing = first.iter().zip(second).find(|(a, b)| a != b);
    differing.is_none_or(|(a, b)| a.wrapping_sub(*b).cast_signed() <= 0)
}

/// The merge sort of the C library, which halves from the top. That of Rust wants a total order.
fn merge_sort<T, const N: usize>(items: &mut Vec<T>, key: impl Fn(&T) -> [u32; N]) {
    let keyed = items.drain(..).map(|item| (key(&item), item)).collect();
    items.extend(sorted(keyed).into_iter().map(|(_, item)| item));
}

fn sorted<T, const N: usize>(mut items: Vec<([u32; N], T)>) -> Vec<([u32; N], T)> {
    if items.len() < 2 {
        return items;
    }
    let second = sorted(items.split_off(items.len() / 2));
    let first = sorted(items);
    let mut merged = Vec::with_capacity(first.len() + second.len());
    let (mut first, mut second) = (first.into_iter().peekable(), second.into_iter().peekable());
    while let (Some((a, _)), Some((b, _))) = (first.peek(), second.peek()) {
        let from_first = in_order(a, b);
        merged.extend(if from_first {
            first.next()
        } else {
            second.next()
        });
    }
    merged.extend(first);
    merged.extend(second);
    merged
}
