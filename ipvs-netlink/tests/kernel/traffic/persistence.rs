//! Persistence, which keeps a client on one server.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, SocketAddr},
};

use super::{
    echo::{Conversation, connect},
    network::{FAMILIES, Network, ReturnPath, run, serve, server_address, virtual_socket},
};
use crate::with;
use ipvs_netlink::{
    Family, Netmask, Persistence, PrefixLength, Scheduler, Service, ServiceKey,
    connections::Connection,
};
use vrrp_lab::{GuestTest, Host, guest_tests};

/// For how long clients are remembered, in seconds: longer than any test.
const TIMEOUT: u32 = 300;

pub(crate) fn tests() -> Vec<GuestTest> {
    guest_tests![
        persistence_keeps_a_client_on_one_server,
        a_netmask_keeps_the_neighbours_of_a_client_on_its_server,
        a_firewall_mark_joins_ports_and_persistence_keeps_them_together,
    ]
    .to_vec()
}

fn persistent(key: ServiceKey, netmask: Netmask) -> Service {
    let timeout = TIMEOUT;
    with(Service::new(key, Scheduler::RR), |service| {
        service
            .set_persistence(Persistence { timeout, netmask })
            .unwrap();
    })
}

fn subnet(family: Family) -> Netmask {
    match family {
        Family::V4 => Netmask::V4([255, 255, 255, 0].into()),
        Family::V6 => Netmask::V6(PrefixLength::new(64).unwrap()),
    }
}

/// The servers that ten new connections from here reach.
fn servers_of(service: SocketAddr) -> BTreeSet<u8> {
    (0..10).map(|_| connect(service)).collect()
}

fn connect_from(host: &Host, service: SocketAddr) -> u8 {
    host.namespace().run(|| connect(service))
}

/// Client, service and destination of each template of persistence.
fn templates(network: &Network, family: Family) -> Vec<[SocketAddr; 3]> {
    network
        .connections()
        .into_iter()
        .filter(Connection::is_template)
        .map(|template| [template.client, template.service, template.destination])
        .filter(|[client, ..]| Family::of(client.ip()) == family)
        .collect()
}

fn persistence_keeps_a_client_on_one_server() {
    let network = Network::new(ReturnPath::Direct);
    let neighbour = network.neighbour();
    let mut ipvs = network.controller();
    for family in FAMILIES {
        let service = virtual_socket(family, 80);
        let key = ServiceKey::tcp(service);
        serve(&mut ipvs, persistent(key, Netmask::host(family)));
        let servers = servers_of(service);
        assert_eq!(servers.len(), 1, "{servers:?}");
        assert!(!servers.contains(&connect_from(&neighbour, service)));

        let listed = ipvs.destinations(key).unwrap();
        let remembered: Vec<_> = listed
            .iter()
            .map(|listed| listed.persistent_connections)
            .collect();
        assert_eq!(remembered.iter().sum::<u32>(), 2, "{remembered:?}");
        ipvs.delete_service(key).unwrap();
    }
}

fn a_netmask_keeps_the_neighbours_of_a_client_on_its_server() {
    let network = Network::new(ReturnPath::Direct);
    let neighbour = network.neighbour();
    let stranger = network.stranger();
    let mut ipvs = network.controller();
    for (family, network_address) in FAMILIES.into_iter().zip(["192.0.2.0", "2001:db8::"]) {
        let service = virtual_socket(family, 80);
        serve(
            &mut ipvs,
            persistent(ServiceKey::tcp(service), subnet(family)),
        );
        let server = connect(service);
        for _ in 0..3 {
            assert_eq!(connect_from(&neighbour, service), server);
        }
        let found = templates(&network, family);
        let network_address: IpAddr = network_address.parse().unwrap();
        let destination = SocketAddr::new(server_address(family, server), 80);
        assert_eq!(
            found,
            [[SocketAddr::new(network_address, 0), service, destination]]
        );
        assert_ne!(connect_from(&stranger, service), server);
        assert_eq!(templates(&network, family).len(), 2);
    }
}

fn a_firewall_mark_joins_ports_and_persistence_keeps_them_together() {
    let network = Network::new(ReturnPath::Direct);
    let neighbour = network.neighbour();
    let mut ipvs = network.controller();
    for (family, iptables, template) in [
        (Family::V4, "iptables-legacy", "0.0.0.7"),
        (Family::V6, "ip6tables-legacy", "0:7::"),
    ] {
        let key = ServiceKey::mark(7.try_into().unwrap(), family);
        serve(&mut ipvs, persistent(key, Netmask::host(family)));
        let [http, https] = [80, 443].map(|port| virtual_socket(family, port));
        let error = Conversation::begin(http).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{error}");
        run(
            network.director.namespace(),
            &format!(
                "{iptables} -t mangle -A PREROUTING -d {} -p tcp -m multiport --dports 80,443 -j MARK --set-mark 7",
                http.ip()
            ),
        );
        let servers = &servers_of(http) | &servers_of(https);
        assert_eq!(servers.len(), 1, "{servers:?}");
        let other = connect_from(&neighbour, https);
        assert!(!servers.contains(&other));
        assert_eq!(connect_from(&neighbour, http), other);
        let template = SocketAddr::new(template.parse().unwrap(), 0);
        let services = templates(&network, family).into_iter();
        let services: Vec<_> = services.map(|[_, service, _]| service).collect();
        assert_eq!(services, [template; 2]);
    }
}
