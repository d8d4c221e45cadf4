//! Counters.

use std::time::Duration;

use super::{
    echo::{ask, datagrams_to, octets},
    network::{FAMILIES, Network, ReturnPath, SERVERS, server_address, virtual_socket},
};
use ipvs_netlink::{
    Client, Destination, DestinationKey, Family, ForwardingMethod, Rates, Scheduler, Service,
    ServiceKey, Stats,
};
use vrrp_lab::{GuestTest, guest_tests, wait_for};

/// How long the kernel's estimator may take to count. It works every two seconds.
const ESTIMATOR: Duration = Duration::from_secs(15);

/// Octets in a datagram.
const LENGTH: usize = 100;

pub(crate) fn tests() -> Vec<GuestTest> {
    guest_tests![counters_add_up_and_are_cleared].to_vec()
}

/// The counters of a service, and those of its destinations summed up, without rates.
fn counters(ipvs: &mut Client, key: ServiceKey) -> [Stats; 2] {
    let counters = |stats: Stats| Stats {
        rates: Rates::default(),
        ..stats
    };
    let service = counters(ipvs.service(key).unwrap().stats);
    let mut sum = Stats::default();
    for listed in ipvs.destinations(key).unwrap() {
        sum.connections += listed.stats.connections;
        sum.incoming_packets += listed.stats.incoming_packets;
        sum.outgoing_packets += listed.stats.outgoing_packets;
        sum.incoming_bytes += listed.stats.incoming_bytes;
        sum.outgoing_bytes += listed.stats.outgoing_bytes;
    }
    [service, sum]
}

/// Sends four datagrams from each of six sockets to the service, so that each server has two of
/// them.
fn traffic(family: Family) {
    for _ in 0..6 {
        let socket = datagrams_to(virtual_socket(family, 80));
        for _ in 0..4 {
            ask(&socket, &octets(LENGTH));
        }
    }
}

/// The counters after [`traffic`], with the headers of IP and UDP, and with the octet in which a
/// server sends its number.
fn expected(family: Family) -> Stats {
    let headers = match family {
        Family::V4 => 20 + 8,
        Family::V6 => 40 + 8,
    };
    let octets = LENGTH as u64;
    Stats {
        connections: 6,
        incoming_packets: 24,
        outgoing_packets: 24,
        incoming_bytes: 24 * (headers + octets),
        outgoing_bytes: 24 * (headers + octets + 1),
        ..Stats::default()
    }
}

fn counters_add_up_and_are_cleared() {
    let network = Network::new(ReturnPath::Director);
    let mut ipvs = network.controller();
    let keys = FAMILIES.map(|family| ServiceKey::udp(virtual_socket(family, 80)));
    for key in keys {
        ipvs.add_service(Service::new(key, Scheduler::RR)).unwrap();
        for number in SERVERS {
            let server = DestinationKey::new((server_address(key.family(), number), 80));
            let destination = Destination::new(server, ForwardingMethod::Masquerade);
            ipvs.add_destination(key, destination).unwrap();
        }
        traffic(key.family());
    }
    let [v4, v6] = keys;
    let mut wait_for_traffic = |key: ServiceKey| {
        let expected = expected(key.family());
        let mut last = [Stats::default(); 2];
        wait_for("the estimator", ESTIMATOR, || {
            last = counters(&mut ipvs, key);
            (last == [expected; 2]).then_some(())
        })
        .unwrap_or_else(|error| panic!("{error}: {last:?} instead of {expected:?}"));
    };
    wait_for_traffic(v4);
    wait_for_traffic(v6);
    for listed in ipvs.destinations(v4).unwrap() {
        assert_eq!(listed.stats.connections, 2);
        assert_eq!(listed.stats.incoming_packets, 8);
    }

    ipvs.zero(Some(v4)).unwrap();
    assert_eq!(counters(&mut ipvs, v4), [Stats::default(); 2]);
    assert_eq!(counters(&mut ipvs, v6), [expected(Family::V6); 2]);
    ipvs.zero(None).unwrap();
    assert_eq!(counters(&mut ipvs, v6), [Stats::default(); 2]);
}
