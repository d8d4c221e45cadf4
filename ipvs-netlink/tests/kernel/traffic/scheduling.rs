//! Who gets how much.

use std::collections::BTreeMap;

use super::{
    echo::{ask, connect, datagrams_to, octets},
    network::{Network, ReturnPath, SERVERS, serve, serve_web, virtual_socket, web, web_server},
};
use ipvs_netlink::{Client, Family, Scheduler, Service, ServiceKey};
use vrrp_lab::{GuestTest, guest_tests};

pub(crate) fn tests() -> Vec<GuestTest> {
    guest_tests![
        weights_split_connections_exactly,
        one_packet_scheduling_splits_the_datagrams_of_one_socket,
    ]
    .to_vec()
}

/// How many connections each server gets of sixty that are opened one after the other.
fn split() -> [usize; 3] {
    let service = virtual_socket(Family::V4, 80);
    let numbers: Vec<_> = (0..60).map(|_| connect(service)).collect();
    SERVERS.map(|server| numbers.iter().filter(|number| **number == server).count())
}

fn set_weights(ipvs: &mut Client, weights: [u16; 3]) {
    for (number, weight) in SERVERS.into_iter().zip(weights) {
        ipvs.update_destination(web(), web_server(number), |server| {
            server.weight = weight.into();
        })
        .unwrap();
    }
}

fn weights_split_connections_exactly() {
    let network = Network::new(ReturnPath::Direct);
    let mut ipvs = network.controller();
    serve_web(&mut ipvs);
    assert_eq!(split(), [20, 20, 20]);
    set_weights(&mut ipvs, [3, 2, 1]);
    // It looks only whether a weight is 0.
    assert_eq!(split(), [20, 20, 20]);
    ipvs.update_service(web(), |service| service.scheduler = Scheduler::WRR)
        .unwrap();
    assert_eq!(split(), [30, 20, 10]);
    set_weights(&mut ipvs, [1, 0, 4]);
    assert_eq!(split(), [12, 0, 48]);
}

fn one_packet_scheduling_splits_the_datagrams_of_one_socket() {
    let network = Network::new(ReturnPath::Direct);
    let mut ipvs = network.controller();
    let address = virtual_socket(Family::V4, 80);
    let mut service = Service::new(ServiceKey::udp(address), Scheduler::RR);
    serve(&mut ipvs, service);

    let answers = || {
        let socket = datagrams_to(address);
        let mut answers = BTreeMap::new();
        for _ in 0..30 {
            *answers.entry(ask(&socket, &octets(100))).or_insert(0) += 1;
        }
        answers.into_values().collect::<Vec<_>>()
    };
    assert_eq!(answers(), [30]);
    service.one_packet = true;
    ipvs.update_service(service.key, |listed| *listed = service)
        .unwrap();
    assert_eq!(answers(), [10, 10, 10]);
}
