//! The network that the tests build.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::echo::EchoServers;
use ipvs_netlink::{
    Client, Destination, DestinationKey, Family, ForwardingMethod, ListedDestination, Scheduler,
    Service, ServiceKey,
    connections::{Connection, Connections},
};
use vrrp_lab::{Host, Lan, Namespace};

pub(crate) const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// The numbers of the servers.
pub(crate) const SERVERS: [u8; 3] = [1, 2, 3];

/// The router's addresses, as a gateway of the network inside.
const ROUTER: [&str; 2] = ["10.0.0.254", "fd00::254"];
const ROUTER_INSIDE: [&str; 2] = ["10.0.0.254/24", "fd00::254/64"];
const ROUTER_OUTSIDE: [&str; 4] = [
    "192.0.2.1/24",
    "2001:db8::1/64",
    "198.51.100.1/24",
    "2001:db8:1::1/64",
];

/// The path of the servers' answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReturnPath {
    /// Through the director, which is their default gateway: for masquerading. They have addresses
    /// of their own only.
    Director,
    /// Past the director, through the router: for direct routing and tunnels. They serve the
    /// virtual address only, which they have on `lo`.
    Direct,
}

/// A client that reaches a virtual address by a router.
///
/// ```text
///  client ── outside ── router ── inside ──┬── director
///  192.0.2.10           192.0.2.1          │   10.0.0.1, virtual: 10.0.0.100
///  2001:db8::10         2001:db8::1        │   fd00::1, virtual: fd00::100
///                       10.0.0.254         │
///                       fd00::254          └── servers 1, 2, 3
///                                              10.0.0.11 to 10.0.0.13
///                                              fd00::11 to fd00::13
/// ```
#[derive(Debug)]
pub(crate) struct Network {
    outside: Lan,
    pub(crate) inside: Lan,
    pub(crate) director: Host,
    servers: [Host; 3],
    // They exist as long as this does.
    _client: Host,
    _router: Host,
    _echo: EchoServers,
}

impl Network {
    /// Builds it with echo servers that run. The calling thread becomes the client.
    pub(crate) fn new(answers: ReturnPath) -> Self {
        let outside = Lan::new().unwrap();
        let inside = Lan::new().unwrap();
        let router = inside.host("router", &ROUTER_INSIDE).unwrap();
        outside.attach(&router, "eth1", &ROUTER_OUTSIDE).unwrap();
        let client = host(
            &outside,
            "client",
            ["192.0.2.10/24", "2001:db8::10/64"],
            ["192.0.2.1", "2001:db8::1"],
        );
        let director = host(&inside, "director", ["10.0.0.1/24", "fd00::1/64"], ROUTER);
        director.add_address("10.0.0.100/24").unwrap();
        // Not for packets of the director's own: tunnels would come to the servers as if from
        // themselves.
        run(
            director.namespace(),
            "ip address add fd00::100/64 dev eth0 nodad preferred_lft 0",
        );
        for forwarding in [router.namespace(), director.namespace()] {
            set(forwarding, "ipv4.ip_forward", "1");
            set(forwarding, "ipv6.conf.all.forwarding", "1");
        }

        let echo = EchoServers::new();
        let servers = SERVERS.map(|number| server(&inside, &echo, number, answers));
        client.namespace().enter().unwrap();
        Self {
            outside,
            inside,
            director,
            servers,
            _client: client,
            _router: router,
            _echo: echo,
        }
    }

    /// The host of a server.
    pub(crate) fn server(&self, number: u8) -> &Host {
        &self.servers[usize::from(number) - 1]
    }

    /// A controller of the director's IPVS.
    pub(crate) fn controller(&self) -> Client {
        Client::open_in(self.director.namespace()).unwrap()
    }

    /// The connections of the director's IPVS.
    pub(crate) fn connections(&self) -> Vec<Connection> {
        self.director
            .namespace()
            .run(|| Connections::open().unwrap().map(Result::unwrap).collect())
    }

    /// Adds a host beside the client.
    pub(crate) fn neighbour(&self) -> Host {
        host(
            &self.outside,
            "neighbour",
            ["192.0.2.11/24", "2001:db8::11/64"],
            ["192.0.2.1", "2001:db8::1"],
        )
    }

    /// Adds a host of another subnet than the client's.
    pub(crate) fn stranger(&self) -> Host {
        host(
            &self.outside,
            "stranger",
            ["198.51.100.10/24", "2001:db8:1::10/64"],
            ["198.51.100.1", "2001:db8:1::1"],
        )
    }
}

fn server(inside: &Lan, echo: &EchoServers, number: u8, answers: ReturnPath) -> Host {
    let own = FAMILIES.map(|family| server_address(family, number));
    let [v4, v6] = own;
    let gateways = match answers {
        ReturnPath::Director => ["10.0.0.1", "fd00::1"],
        ReturnPath::Direct => ROUTER,
    };
    let host = host(
        inside,
        &format!("server{number}"),
        [&format!("{v4}/24"), &format!("{v6}/64")],
        gateways,
    );
    let namespace = host.namespace();
    let served = match answers {
        ReturnPath::Director => {
            // The director redirects them to the shorter way, by the router. On that, nobody would
            // undo the translation.
            for redirects in [
                "ipv4.conf.all.accept_redirects",
                "ipv4.conf.eth0.accept_redirects",
                "ipv6.conf.eth0.accept_redirects",
            ] {
                set(namespace, redirects, "0");
            }
            own
        }
        ReturnPath::Direct => {
            // The router must find the address at the director only.
            set(namespace, "ipv4.conf.all.arp_ignore", "1");
            set(namespace, "ipv4.conf.all.arp_announce", "2");
            let shared = FAMILIES.map(virtual_address);
            for address in shared {
                run(namespace, &format!("ip address add {address} dev lo"));
            }
            shared
        }
    };
    echo.start(namespace, number, &served);
    host
}

/// Adds a host with an address and a gateway of each family.
fn host(lan: &Lan, name: &str, addresses: [&str; 2], gateways: [&str; 2]) -> Host {
    let host = lan.host(name, &addresses).unwrap();
    for gateway in gateways {
        let command = format!("ip route add default via {gateway}");
        run(host.namespace(), &command);
    }
    host
}

fn set(namespace: &Namespace, sysctl: &str, value: &str) {
    namespace.set_sysctl(sysctl, value).unwrap();
}

/// Runs a command inside `namespace`, which has to succeed.
pub(crate) fn run(namespace: &Namespace, command: &str) {
    let mut words = command.split(' ');
    let output = namespace
        .command(words.next().unwrap())
        .args(words)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{command}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

pub(crate) fn virtual_address(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(10, 0, 0, 100).into(),
        Family::V6 => Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x100).into(),
    }
}

pub(crate) fn server_address(family: Family, number: u8) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(10, 0, 0, 10 + number).into(),
        Family::V6 => Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x10 + u16::from(number)).into(),
    }
}

/// The address and port that clients connect to.
pub(crate) fn virtual_socket(family: Family, port: u16) -> SocketAddr {
    SocketAddr::new(virtual_address(family), port)
}

/// A web service over IPv4.
pub(crate) fn web() -> ServiceKey {
    ServiceKey::tcp(virtual_socket(Family::V4, 80))
}

/// The destination that a server is for a web service over IPv4.
pub(crate) fn web_server(number: u8) -> DestinationKey {
    DestinationKey::new((server_address(Family::V4, number), 80))
}

/// Adds a service with all servers, which it reaches by direct routing at their port 80.
pub(crate) fn serve(ipvs: &mut Client, service: Service) {
    let family = service.key.family();
    ipvs.add_service(service).unwrap();
    for number in SERVERS {
        let key = DestinationKey::new((server_address(family, number), 80));
        let destination = Destination::new(key, ForwardingMethod::DirectRoute);
        ipvs.add_destination(service.key, destination).unwrap();
    }
}

/// Adds a web service over IPv4 with all servers by direct routing, in turn.
pub(crate) fn serve_web(ipvs: &mut Client) {
    serve(ipvs, Service::new(web(), Scheduler::RR));
}

/// A destination of [`web`] as it is listed.
pub(crate) fn listed(ipvs: &mut Client, key: DestinationKey) -> ListedDestination {
    ipvs.destinations(web())
        .unwrap()
        .into_iter()
        .find(|listed| listed.destination.key == key)
        .unwrap()
}
