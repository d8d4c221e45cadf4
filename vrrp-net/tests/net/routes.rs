//! Virtual routes.

use vrrp_lab::Host;
use vrrp_net::{Monitor, MonitorEvent, Netlink, Outcome, RouteChange, VirtualRoute};

use crate::rig::{ip, iproute2, lan_of};

/// The routes of a host with our mark, of all tables.
fn marked(host: &Host) -> String {
    let show = |family| {
        iproute2(
            host,
            &[family, "route", "show", "table", "all", "proto", "18"],
        )
    };
    show("-4") + &show("-6")
}

#[test]
fn routes_are_added_as_they_are_written_and_removed() {
    let (_lan, [r1]) = lan_of::<1>();
    let texts = [
        "203.0.113.0/24 via 192.0.2.9",
        "198.51.100.0/24 dev eth0",
        "0.0.0.0/0 via 192.0.2.8 dev eth0 src 192.0.2.1 metric 7 table 100",
        "2001:db8:1::/48 via 2001:db8::9",
        "2001:db8:2::/48 via fe80::9 dev eth0 src 2001:db8::1 metric 9 table 4242",
    ];
    let mut routes: Vec<VirtualRoute> = texts.map(|text| text.parse().unwrap()).into();
    routes.push(VirtualRoute::discard(ip("192.0.2.254")));
    routes.push(VirtualRoute::discard(ip("2001:db8::254")));
    let interface = |route: &VirtualRoute| route.interface().map(|_| r1.index());
    let mut netlink = r1.namespace().run(|| Netlink::open().unwrap());
    let add: Vec<_> = routes
        .iter()
        .map(|route| RouteChange::Add {
            interface: interface(route),
            route,
        })
        .collect();
    let remove: Vec<_> = routes
        .iter()
        .map(|route| RouteChange::Remove {
            interface: interface(route),
            route,
        })
        .collect();
    let mut apply = |changes: &[RouteChange<'_>]| -> Vec<Outcome> {
        let results = netlink.apply(changes).unwrap();
        results.into_iter().map(Result::unwrap).collect()
    };
    assert_eq!(apply(&add), [Outcome::Changed; 7]);
    let shown = marked(&r1);
    for expected in [
        "203.0.113.0/24 via 192.0.2.9 dev eth0",
        "198.51.100.0/24 dev eth0 scope link",
        "default via 192.0.2.8 dev eth0 table 100 src 192.0.2.1 metric 7",
        "2001:db8:1::/48 via 2001:db8::9 dev eth0",
        "2001:db8:2::/48 via fe80::9 dev eth0 table 4242 src 2001:db8::1 metric 9",
        "blackhole 192.0.2.254 table local",
        "blackhole 2001:db8::254 dev lo table local",
    ] {
        assert!(shown.contains(expected), "{expected} in\n{shown}");
    }
    assert_eq!(apply(&add), [Outcome::AlreadySo; 7]);
    assert_eq!(apply(&remove), [Outcome::Changed; 7]);
    assert_eq!(marked(&r1), "");
    assert_eq!(apply(&remove), [Outcome::AlreadySo; 7]);
}

#[test]
fn the_monitor_tells_of_marked_routes_that_are_removed_and_of_no_others() {
    let (_lan, [r1]) = lan_of::<1>();
    let (mut monitor, mut netlink) = r1
        .namespace()
        .run(|| (Monitor::open().unwrap(), Netlink::open().unwrap()));
    let interface = Some(r1.index());
    let mut expected = Vec::new();
    for (text, other) in [
        ("203.0.113.0/24 via 192.0.2.9", "203.0.114.0/24"),
        (
            "2001:db8:1::/48 via 2001:db8::9 metric 1024",
            "2001:db8:2::/48",
        ),
    ] {
        let route: VirtualRoute = text.parse().unwrap();
        let change = RouteChange::Add {
            interface,
            route: &route,
        };
        netlink.apply(&[change]).unwrap().remove(0).unwrap();
        for action in ["add", "delete"] {
            iproute2(&r1, &["route", action, other, "dev", "eth0"]);
        }
        let destination = route.destination().to_string();
        iproute2(
            &r1,
            &[
                "route",
                "delete",
                &format!("{destination}/{}", route.prefix_len()),
            ],
        );
        expected.push(MonitorEvent::RouteRemoved { interface, route });
    }
    let mut events = Vec::new();
    monitor.receive(|event| events.push(event)).unwrap();
    events.retain(|event| matches!(event, MonitorEvent::RouteRemoved { .. }));
    assert_eq!(events, expected);
}

#[test]
fn a_route_that_the_kernel_refuses_is_named() {
    let (_lan, [r1]) = lan_of::<1>();
    let route: VirtualRoute = "203.0.113.0/24 via 10.1.2.3".parse().unwrap();
    let change = RouteChange::Add {
        interface: None,
        route: &route,
    };
    let mut netlink = r1.namespace().run(|| Netlink::open().unwrap());
    let error = netlink.apply(&[change]).unwrap().remove(0).unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("add route 203.0.113.0/24 via 10.1.2.3: "),
        "{text}"
    );
}

#[test]
fn a_sweep_removes_marked_routes_and_no_others() {
    let (_lan, [r1]) = lan_of::<1>();
    let routes = [
        "203.0.113.0/24 via 192.0.2.9",
        "2001:db8:1::/48 via 2001:db8::9 metric 3 table 300",
        "203.0.114.0/24 via 192.0.2.9",
    ]
    .map(|text| text.parse::<VirtualRoute>().unwrap());
    let drop_route = VirtualRoute::discard(ip("192.0.2.254"));
    iproute2(&r1, &["route", "add", "203.0.115.0/24", "via", "192.0.2.9"]);
    let mut netlink = r1.namespace().run(|| Netlink::open().unwrap());
    let add: Vec<_> = routes
        .iter()
        .chain([&drop_route])
        .map(|route| RouteChange::Add {
            interface: None,
            route,
        })
        .collect();
    for result in netlink.apply(&add).unwrap() {
        result.unwrap();
    }
    let kept = ip("203.0.114.0");
    let removed = netlink
        .sweep_routes(|_, route| route.destination() == kept)
        .unwrap();
    assert_eq!(removed.len(), 3, "{removed:?}");
    assert!(removed.iter().any(|(_, route)| *route == drop_route));
    let shown = iproute2(&r1, &["route", "show", "table", "all"]);
    assert!(shown.contains("203.0.114.0/24") && shown.contains("203.0.115.0/24"));
    assert!(
        marked(&r1)
            .trim_end()
            .ends_with("203.0.114.0/24 via 192.0.2.9 dev eth0")
    );
}
