//! Virtual routers on interfaces that are in a VRF: in kernels that have VRFs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test"
)]

use std::{
    net::IpAddr,
    process::ExitCode,
    time::{Duration, Instant},
};

use vrrp_fsm::{Config, State};
use vrrp_lab::{Host, Kernel, Lan, Suite, guest_tests};
use vrrp_net::{Driver, DriverEvent, Fault, RouterConfig, RouterId, Transport, UnicastPath};
use vrrp_proto::{Family, Interval, Peer, Priority, Vrid};

/// The longest wait for an event. It is reached only where something is broken.
const LIMIT: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    let tests = guest_tests![
        routers_in_vrfs_elect_one_active_by_unicast,
        routers_in_vrfs_elect_one_active_by_unicast_along_the_routing_table,
        routers_in_vrfs_elect_one_active_by_multicast,
        a_router_that_cannot_receive_in_its_vrf_is_in_fault_until_it_can,
        an_interface_that_enters_a_vrf_keeps_its_router,
    ];
    Suite::new(&[Kernel::Debian6_12], &tests).run()
}

/// Runs ip(8) in a host.
fn ip(host: &Host, arguments: &str) {
    let output = host
        .namespace()
        .command("ip")
        .args(arguments.split_whitespace())
        .output()
        .unwrap();
    assert!(output.status.success(), "ip {arguments}: {output:?}");
}

/// Puts a host's interface into a VRF. That removes the IPv6 addresses, which are added again.
fn enter_vrf(host: &Host, number: u8) {
    ip(host, "link add red type vrf table 10");
    ip(host, "link set red up");
    ip(host, "link set eth0 master red");
    ip(
        host,
        &format!("address replace 2001:db8::{number}/64 dev eth0 nodad"),
    );
    host.namespace()
        .set_sysctl("ipv6.conf.eth0.addr_gen_mode", "0")
        .unwrap();
}

/// The two routers of a test, each with its driver, on one thread.
struct Pair {
    hosts: [Host; 2],
    drivers: Vec<(Driver, RouterId)>,
    _lan: Lan,
}

impl Pair {
    fn hosts() -> (Lan, [Host; 2]) {
        let lan = Lan::new().unwrap();
        let host = |number| {
            let addresses = [
                format!("192.0.2.{number}/24"),
                format!("2001:db8::{number}/64"),
            ];
            lan.host(
                &format!("r{number}"),
                &addresses.each_ref().map(String::as_str),
            )
            .unwrap()
        };
        let hosts = [host(1), host(2)];
        (lan, hosts)
    }

    fn start(lan: Lan, hosts: [Host; 2], config: impl Fn(usize) -> RouterConfig) -> Self {
        let drivers = hosts.iter().enumerate().map(|(place, host)| {
            let mut config = config(place);
            config.fsm.priority = Priority::new(if place == 0 { 200 } else { 100 });
            host.namespace().run(|| {
                let mut driver = Driver::new().unwrap();
                let id = driver.add(config).unwrap();
                (driver, id)
            })
        });
        Self {
            drivers: drivers.collect(),
            hosts,
            _lan: lan,
        }
    }

    fn states(&self) -> [State; 2] {
        [0, 1].map(|place| {
            let (driver, id) = &self.drivers[place];
            driver.get(*id).unwrap().state()
        })
    }

    /// Takes turns until `done` is true, and returns the notifications.
    fn turn_until(&mut self, what: &str, done: impl Fn(&Self) -> bool) -> Vec<DriverEvent> {
        let deadline = Instant::now() + LIMIT;
        let mut events = Vec::new();
        while !done(self) {
            assert!(Instant::now() < deadline, "{what}: {events:#?}");
            for (host, (driver, _)) in self.hosts.iter().zip(&mut self.drivers) {
                host.namespace().run(|| {
                    driver.turn().unwrap();
                    while let Some(it) = driver.next_notification() {
                        events.push(it.event);
                    }
                });
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        events
    }

    /// Checks that one router is Active and the other Backup, and that the Backup stays Backup for
    /// Active_Down_Interval.
    fn elects(&mut self) {
        self.turn_until("one Active", |it| {
            let [one, two] = &it.drivers[..] else {
                return false;
            };
            let received = two.0.get(two.1).unwrap().machine().active().is_some();
            received && one.0.get(one.1).unwrap().state() == State::Active
        });
        let begin = Instant::now();
        let events = self.turn_until("four intervals", |_| begin.elapsed() > 4 * INTERVAL);
        assert_eq!(self.states(), [State::Active, State::Backup], "{events:#?}");
        let failed = |event: &&DriverEvent| matches!(event, DriverEvent::SendFailed { .. });
        assert!(events.iter().find(failed).is_none(), "{events:#?}");
    }
}

/// Long enough for an emulated machine.
const INTERVAL: Duration = Duration::from_millis(500);

fn router(family: Family, peer: Option<&str>) -> RouterConfig {
    let mut fsm = Config::new(Vrid::new(51).unwrap(), family);
    fsm.interval = Interval::centis(50).unwrap();
    let addresses: &[&str] = match family {
        Family::Ipv4 => &["192.0.2.254/32"],
        Family::Ipv6 => &["fe80::254/128", "2001:db8::254/128"],
    };
    let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
    let mut config = RouterConfig::new("eth0", fsm, addresses);
    if let Some(peer) = peer {
        let address: IpAddr = peer.parse().unwrap();
        config.transport = Transport::Unicast {
            peers: vec![Peer::new(address)],
        };
    }
    config
}

fn by_unicast(path: UnicastPath) {
    for (family, peers) in [
        (Family::Ipv4, ["192.0.2.2", "192.0.2.1"]),
        (Family::Ipv6, ["2001:db8::2", "2001:db8::1"]),
    ] {
        let (lan, hosts) = Pair::hosts();
        for (number, host) in (1..).zip(&hosts) {
            enter_vrf(host, number);
        }
        let mut pair = Pair::start(lan, hosts, |place| {
            let mut config = router(family, Some(peers[place]));
            config.unicast_path = path;
            config
        });
        pair.elects();
    }
}

fn routers_in_vrfs_elect_one_active_by_unicast() {
    by_unicast(UnicastPath::Interface);
}

fn routers_in_vrfs_elect_one_active_by_unicast_along_the_routing_table() {
    by_unicast(UnicastPath::RoutingTable);
}

fn routers_in_vrfs_elect_one_active_by_multicast() {
    for family in [Family::Ipv4, Family::Ipv6] {
        let (lan, hosts) = Pair::hosts();
        for (number, host) in (1..).zip(&hosts) {
            enter_vrf(host, number);
        }
        Pair::start(lan, hosts, |_| router(family, None)).elects();
    }
}

fn a_router_that_cannot_receive_in_its_vrf_is_in_fault_until_it_can() {
    for (family, peers) in [
        (Family::Ipv4, None),
        (Family::Ipv4, Some(["192.0.2.2", "192.0.2.1"])),
        // The setting counts for both families.
        (Family::Ipv6, None),
    ] {
        cannot_receive_in_its_vrf(family, peers);
    }
}

fn cannot_receive_in_its_vrf(family: Family, peers: Option<[&str; 2]>) {
    let (lan, hosts) = Pair::hosts();
    for (number, host) in (1..).zip(&hosts) {
        enter_vrf(host, number);
    }
    let setting = |pair: &Pair, value| {
        let namespace = pair.hosts[1].namespace();
        namespace
            .set_sysctl("ipv4.raw_l3mdev_accept", value)
            .unwrap();
    };
    hosts[1]
        .namespace()
        .set_sysctl("ipv4.raw_l3mdev_accept", "0")
        .unwrap();
    let mut pair = Pair::start(lan, hosts, |place| {
        router(family, peers.map(|peers| peers[place]))
    });
    let faults = |pair: &Pair| -> Vec<Fault> {
        let (driver, id) = &pair.drivers[1];
        driver.get(*id).unwrap().faults().cloned().collect()
    };
    assert_eq!(faults(&pair), [Fault::VrfPacketsIgnored]);
    pair.turn_until("the other to be Active", |it| {
        it.states()[0] == State::Active
    });
    assert_eq!(pair.states()[1], State::Initialize);
    assert!(faults(&pair)[0].to_string().contains("raw_l3mdev_accept"));
    setting(&pair, "1");
    pair.elects();
    assert_eq!(faults(&pair), []);
}

fn an_interface_that_enters_a_vrf_keeps_its_router() {
    let (lan, hosts) = Pair::hosts();
    let peers = ["192.0.2.2", "192.0.2.1"];
    let mut pair = Pair::start(lan, hosts, |place| router(Family::Ipv4, Some(peers[place])));
    pair.elects();
    for (number, host) in (1..).zip(&pair.hosts) {
        enter_vrf(host, number);
    }
    pair.elects();
}
