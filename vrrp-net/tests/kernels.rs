//! Tracked routes in an older kernel, which sends fewer notifications of removed routes, and does
//! not dump while it removes routes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test"
)]

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use vrrp_fsm::track::{Kind, Level, Object, ObjectId};
use vrrp_lab::{Host, Kernel, Lan, Suite, guest_tests};
use vrrp_net::{Driver, Watch};

/// The longest wait for an event. It is reached only where something is broken.
const LIMIT: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    let tests = guest_tests![
        a_route_of_either_family_is_seen_to_come_and_go,
        routes_that_go_with_their_link_are_missed,
        routes_that_go_with_their_addresses_are_missed,
        routes_that_go_with_their_next_hop_are_missed,
    ];
    Suite::new(&[Kernel::Uml6_1], &tests).run()
}

/// A host with an address on each of two networks, and its driver.
struct Fixture {
    _lans: [Lan; 2],
    host: Host,
    driver: Driver,
    id: ObjectId,
}

impl Fixture {
    fn tracking(route: &str) -> Self {
        let lans = [Lan::new().unwrap(), Lan::new().unwrap()];
        let host = lans[0]
            .host("r1", &["192.0.2.1/24", "2001:db8::1/64"])
            .unwrap();
        lans[1].attach(&host, "eth1", &["198.51.100.1/24"]).unwrap();
        host.namespace()
            .set_sysctl("ipv6.conf.eth1.disable_ipv6", "1")
            .unwrap();
        let (driver, id) = host.namespace().run(|| {
            let mut driver = Driver::new().unwrap();
            let object = Object::new("route", Kind::Route);
            let watch = Watch::Route(route.parse().unwrap());
            let id = driver.add_object(object, watch).unwrap();
            (driver, id)
        });
        Self {
            _lans: lans,
            host,
            driver,
            id,
        }
    }

    fn ip(&self, arguments: &str) {
        let mut ip = self.host.namespace().command("ip");
        let output = ip.args(arguments.split(' ')).output().unwrap();
        assert!(output.status.success(), "ip {arguments}: {output:?}");
    }

    fn wait_for(&mut self, level: Level) {
        let start = Instant::now();
        while self.driver.objects().level(self.id) != Some(level) {
            assert!(start.elapsed() < LIMIT, "{level:?}");
            self.driver.wait(Some(Duration::from_millis(100))).unwrap();
            self.driver.turn().unwrap();
        }
    }

    /// Checks that the driver sees the route come and go by these commands.
    fn sees(&mut self, come: &str, go: &str) {
        self.wait_for(Level::Down);
        self.ip(come);
        self.wait_for(Level::Up);
        self.ip(go);
        self.wait_for(Level::Down);
    }
}

fn a_route_of_either_family_is_seen_to_come_and_go() {
    let mut fixture = Fixture::tracking("0.0.0.0/0");
    fixture.sees("route add default via 192.0.2.9", "route del default");
    fixture.sees(
        "route add default via 192.0.2.9",
        "route replace blackhole default",
    );
    let mut fixture = Fixture::tracking("::/0 via fe80::9 dev eth0");
    fixture.sees(
        "-6 route add default via fe80::9 dev eth0",
        "-6 route del default",
    );
}

fn routes_that_go_with_their_link_are_missed() {
    let mut fixture = Fixture::tracking("203.0.113.0/24");
    let add = "route add 203.0.113.0/24 via 198.51.100.9";
    fixture.sees(add, "link set eth1 down");
    fixture.ip("link set eth1 up");
    // Routes by either interface come and go again.
    fixture.sees(
        "route add 203.0.113.0/24 via 192.0.2.9",
        "route del 203.0.113.0/24",
    );
    fixture.sees(add, "link del eth1");
}

fn routes_that_go_with_their_addresses_are_missed() {
    let mut fixture = Fixture::tracking("203.0.113.0/24");
    fixture.ip("address add 192.0.2.77/32 dev eth0");
    fixture.sees(
        "route add 203.0.113.0/24 via 192.0.2.9 src 192.0.2.77",
        "address del 192.0.2.77/32 dev eth0",
    );
    fixture.sees(
        "route add 203.0.113.0/24 via 198.51.100.9",
        "address del 198.51.100.1/24 dev eth1",
    );
}

fn routes_that_go_with_their_next_hop_are_missed() {
    let mut fixture = Fixture::tracking("203.0.113.0/24 via 192.0.2.9");
    fixture.ip("nexthop add id 7 via 192.0.2.9 dev eth0");
    fixture.sees("route add 203.0.113.0/24 nhid 7", "nexthop del id 7");
}
