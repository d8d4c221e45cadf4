//! Every forwarding method carries TCP and UDP of both families, and is seen on the wire to be that
//! method.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    echo::{Conversation, ask, datagrams_to, octets},
    network::{FAMILIES, Network, ReturnPath, SERVERS, run, server_address, virtual_socket},
};
use ipvs_netlink::{
    Client, Destination, DestinationKey, Family, ForwardingMethod, GueChecksum, Scheduler, Service,
    ServiceKey, Tunnel,
};
use vrrp_lab::{Frame, GuestTest, Host, guest_tests};

/// The port at which the servers end GUE tunnels.
const GUE_PORT: u16 = 6080;

/// Protocols by their numbers.
const ICMP: u8 = 1;
const IPV4: u8 = 4;
const TCP: u8 = 6;
const UDP: u8 = 17;
const IPV6: u8 = 41;
const GRE: u8 = 47;
const ICMPV6: u8 = 58;

pub(crate) fn tests() -> Vec<GuestTest> {
    guest_tests![
        masquerading_carries_tcp_and_udp_of_both_families_to_another_port,
        direct_routing_carries_tcp_and_udp_of_both_families,
        ipip_tunnels_carry_tcp_and_udp_of_both_families,
        gue_tunnels_carry_tcp_and_udp_of_both_families,
        gre_tunnels_carry_tcp_and_udp_of_both_families,
        tunnels_reach_servers_of_the_other_family,
    ]
    .to_vec()
}

fn masquerading_carries_tcp_and_udp_of_both_families_to_another_port() {
    let network = Network::new(ReturnPath::Director);
    carries_both_families(&network, ForwardingMethod::Masquerade);
}

fn direct_routing_carries_tcp_and_udp_of_both_families() {
    let network = Network::new(ReturnPath::Direct);
    carries_both_families(&network, ForwardingMethod::DirectRoute);
}

fn ipip_tunnels_carry_tcp_and_udp_of_both_families() {
    let network = Network::new(ReturnPath::Direct);
    end_tunnels(&network, &IP_IN_IP);
    carries_both_families(&network, ForwardingMethod::Tunnel(Tunnel::IpIp));
}

fn gue_tunnels_carry_tcp_and_udp_of_both_families() {
    let network = Network::new(ReturnPath::Direct);
    end_tunnels(&network, &IP_IN_IP);
    end_tunnels(
        &network,
        &[
            "modprobe fou",
            &format!("ip fou add port {GUE_PORT} gue"),
            &format!("ip -6 fou add port {GUE_PORT} gue"),
        ],
    );
    for checksum in [GueChecksum::None, GueChecksum::Full, GueChecksum::Remote] {
        let port = GUE_PORT.try_into().unwrap();
        let tunnel = Tunnel::Gue { port, checksum };
        carries_both_families(&network, ForwardingMethod::Tunnel(tunnel));
    }
}

fn gre_tunnels_carry_tcp_and_udp_of_both_families() {
    let network = Network::new(ReturnPath::Direct);
    end_tunnels(
        &network,
        &[
            "modprobe -a ip_gre ip6_gre",
            "ip link set gre0 up",
            "ip link set ip6gre0 up",
        ],
    );
    let gre = |checksum| ForwardingMethod::Tunnel(Tunnel::Gre { checksum });
    carries_both_families(&network, gre(false));
    // Linux accepts checksums only in a tunnel that is configured for them.
    for number in SERVERS {
        let namespace = network.server(number).namespace();
        for (family, kind, director) in [
            (Family::V4, "gre", "10.0.0.1"),
            (Family::V6, "ip6gre", "fd00::1"),
        ] {
            let own = server_address(family, number);
            run(
                namespace,
                &format!("ip link add {kind}1 type {kind} local {own} remote {director} icsum"),
            );
            run(namespace, &format!("ip link set {kind}1 up"));
        }
    }
    carries_both_families(&network, gre(true));
}

fn tunnels_reach_servers_of_the_other_family() {
    let network = Network::new(ReturnPath::Direct);
    end_tunnels(
        &network,
        &[
            "modprobe -a sit ip6_tunnel",
            "ip link set sit0 up",
            "ip -6 tunnel change ip6tnl0 mode any",
            "ip link set ip6tnl0 up",
        ],
    );
    let tunnel = ForwardingMethod::Tunnel(Tunnel::IpIp);
    carries(&network, tunnel, Family::V4, Family::V6);
    carries(&network, tunnel, Family::V6, Family::V4);
}

/// Makes the servers end tunnels of IP in IP.
const IP_IN_IP: [&str; 3] = [
    "modprobe -a ipip ip6_tunnel",
    "ip link set tunl0 up",
    "ip link set ip6tnl0 up",
];

fn end_tunnels(network: &Network, commands: &[&str]) {
    for number in SERVERS {
        for command in commands {
            run(network.server(number).namespace(), command);
        }
    }
}

fn carries_both_families(network: &Network, method: ForwardingMethod) {
    for family in FAMILIES {
        carries(network, method, family, family);
    }
}

/// Shows that services of `family` reach servers by their addresses of the family `servers`.
fn carries(network: &Network, method: ForwardingMethod, family: Family, servers: Family) {
    let mut ipvs = network.controller();
    let service = virtual_socket(family, 80);
    for (key, transport) in [
        (ServiceKey::tcp(service), TCP),
        (ServiceKey::udp(service), UDP),
    ] {
        let capture = network.inside.capture().unwrap();
        balance(&mut ipvs, key, method, servers);
        let numbers = SERVERS.map(|_| {
            if transport == TCP {
                let mut conversation = Conversation::begin(service).unwrap();
                conversation.exchange(&octets(30_000)).unwrap();
                conversation.server
            } else {
                ask(&datagrams_to(service), &octets(1_000))
            }
        });
        let mut sorted = numbers;
        sorted.sort_unstable();
        assert_eq!(sorted, SERVERS, "{method} for {key}: {numbers:?}");
        ipvs.delete_service(key).unwrap();

        let frames = capture.stop().unwrap();
        for number in SERVERS {
            let own = server_address(servers, number);
            let expected = packed(method, service.ip(), own, transport);
            let server = network.server(number);
            let sent: Vec<_> = frames
                .iter()
                .filter_map(|frame| outer(frame, &network.director, server))
                .collect();
            assert!(!sent.is_empty(), "nothing went to server {number}");
            assert!(
                sent.iter().all(|found| *found == expected),
                "{method} to server {number}: {sent:?} instead of {expected:?}"
            );
        }
    }
}

/// The port of the servers, which differs from that of the service if the method can change it.
fn port(method: ForwardingMethod) -> u16 {
    match method {
        ForwardingMethod::Masquerade => 443,
        _ => 80,
    }
}

fn balance(ipvs: &mut Client, key: ServiceKey, method: ForwardingMethod, servers: Family) {
    ipvs.add_service(Service::new(key, Scheduler::RR)).unwrap();
    for number in SERVERS {
        let server = DestinationKey::new((server_address(servers, number), port(method)));
        ipvs.add_destination(key, Destination::new(server, method))
            .unwrap();
    }
}

/// The header that brings a packet to a server.
#[derive(Debug, PartialEq, Eq)]
struct Outer {
    destination: IpAddr,
    protocol: u8,
    /// The destination port of TCP or UDP.
    port: Option<u16>,
}

/// The header that `method` makes of a packet for the port 80 of `service`.
fn packed(method: ForwardingMethod, service: IpAddr, server: IpAddr, transport: u8) -> Outer {
    let inner = if service.is_ipv4() { IPV4 } else { IPV6 };
    let (destination, protocol, port) = match method {
        ForwardingMethod::Tunnel(Tunnel::IpIp) => (server, inner, None),
        ForwardingMethod::Tunnel(Tunnel::Gre { .. }) => (server, GRE, None),
        ForwardingMethod::Tunnel(Tunnel::Gue { port, .. }) => (server, UDP, Some(port.get())),
        ForwardingMethod::Masquerade => (server, transport, Some(port(method))),
        _ => (service, transport, Some(port(method))),
    };
    Outer {
        destination,
        protocol,
        port,
    }
}

/// The outer header of a frame from one host to another, unless it is ICMP or no IP.
fn outer(frame: &Frame, from: &Host, to: &Host) -> Option<Outer> {
    let bytes = &frame.bytes;
    if !bytes.starts_with(&to.mac()) || bytes[6..12] != from.mac() {
        return None;
    }
    let packet = &bytes[14..];
    let (protocol, destination, payload): (u8, IpAddr, _) = match bytes[12..14] {
        [0x08, 0x00] => {
            let address = <[u8; 4]>::try_from(&packet[16..20]).unwrap();
            let header = usize::from(packet[0] & 15) * 4;
            (packet[9], Ipv4Addr::from(address).into(), &packet[header..])
        }
        [0x86, 0xdd] => {
            let address = <[u8; 16]>::try_from(&packet[24..40]).unwrap();
            (packet[6], Ipv6Addr::from(address).into(), &packet[40..])
        }
        _ => return None,
    };
    if [ICMP, ICMPV6].contains(&protocol) {
        return None;
    }
    let has_ports = [TCP, UDP].contains(&protocol);
    Some(Outer {
        destination,
        protocol,
        port: has_ports.then(|| u16::from_be_bytes([payload[2], payload[3]])),
    })
}
