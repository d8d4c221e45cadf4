//! The share of each destination under each scheduler.

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

/// How many answers came from each server.
fn count(answers: impl Iterator<Item = u8>) -> [u32; 3] {
    let mut counts = [0; 3];
    for server in answers {
        counts[usize::from(server) - 1] += 1;
    }
    counts
}

/// How sixty connections that are opened one after the other are split.
fn split() -> [u32; 3] {
    let service = virtual_socket(Family::V4, 80);
    count((0..60).map(|_| connect(service)))
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
    // Which looks at weights no further than whether they are 0.
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
    let service = Service::new(ServiceKey::udp(address), Scheduler::RR);
    serve(&mut ipvs, service);

    let answers = || {
        let socket = datagrams_to(address);
        count((0..30).map(|_| ask(&socket, &octets(100))))
    };
    assert!(answers().contains(&30));
    ipvs.update_service(service.key, |service| service.one_packet = true)
        .unwrap();
    assert_eq!(answers(), [10, 10, 10]);
}
