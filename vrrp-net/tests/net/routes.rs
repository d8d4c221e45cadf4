//! Virtual routes.

use vrrp_fsm::State;
use vrrp_lab::{Host, Lan, wait_for};
use vrrp_net::{
    DriverEvent, Monitor, MonitorEvent, Netlink, Outcome, Route, RouteChange, RouterConfig,
    RouterId, VirtualMac,
};
use vrrp_proto::{Family, Priority};

use crate::rig::{DriverThread, LIMIT, VIP4, ip, iproute2, lan_of, router, wait_for_address};

/// The routes of a host with our mark, of all tables.
fn marked(host: &Host) -> String {
    let show = |family| {
        iproute2(
            host,
            &[family, "route", "show", "table", "all", "proto", "112"],
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
    let mut routes: Vec<Route> = texts.map(|text| text.parse().unwrap()).into();
    routes.push(Route::discard(ip("192.0.2.254")));
    routes.push(Route::discard(ip("2001:db8::254")));
    let interface = |route: &Route| route.interface().map(|_| r1.index());
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
fn the_monitor_reports_removed_routes_with_the_mark_and_no_others() {
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
        let route: Route = text.parse().unwrap();
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
    let route: Route = "203.0.113.0/24 via 10.1.2.3".parse().unwrap();
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
    .map(|text| text.parse::<Route>().unwrap());
    let drop_route = Route::discard(ip("192.0.2.254"));
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

fn with_routes(priority: u8, routes: &[&str]) -> RouterConfig {
    let mut config = router(Family::Ipv4, priority);
    config.routes = routes.iter().map(|route| route.parse().unwrap()).collect();
    config
}

fn set_priority(running: &DriverThread, id: RouterId, priority: u8) {
    running.with(move |driver| {
        let mut fsm = driver.get(id).unwrap().config().fsm;
        fsm.priority = Priority::new(priority);
        driver.reconfigure(id, fsm).unwrap();
    });
}

/// Waits until a host has `count` marked routes, and returns them.
fn wait_for_routes(host: &Host, count: usize) -> String {
    wait_for(&format!("{count} routes"), LIMIT, || {
        let shown = marked(host);
        (shown.lines().count() == count).then_some(shown)
    })
    .unwrap_or_else(|error| panic!("{error}; there was {}", marked(host)))
}

#[test]
fn routes_follow_the_active_state() {
    for virtual_mac in [None, Some(VirtualMac::default())] {
        let (_lan, [r1, r2]) = lan_of::<2>();
        let routes = [
            // The source address is installed before the route, and removed after it.
            "203.0.113.0/24 via 192.0.2.9 src 192.0.2.254",
            "203.0.114.0/24 metric 5 table 100",
            "2001:db8:1::/48 via 2001:db8::9",
        ];
        let mut config = with_routes(100, &routes);
        config.virtual_mac = virtual_mac;
        let (_other, _) = DriverThread::with_router(r2.namespace(), router(Family::Ipv4, 200));
        let (running, id) = DriverThread::with_router(r1.namespace(), config);
        running.wait_for_state(id, State::Backup);
        assert_eq!(marked(&r1), "");
        for _ in 0..2 {
            set_priority(&running, id, 250);
            running.wait_for_state(id, State::Active);
            let shown = wait_for_routes(&r1, 3);
            assert!(shown.contains("203.0.113.0/24 via 192.0.2.9 dev eth0 src 192.0.2.254"));
            assert!(
                shown.contains("203.0.114.0/24 dev eth0 table 100"),
                "{shown}"
            );
            assert!(running.with(move |driver| {
                let view = driver.get(id).unwrap();
                view.routes().all(|(_, is_there)| is_there)
            }));
            set_priority(&running, id, 50);
            running.wait_for_state(id, State::Backup);
            wait_for_routes(&r1, 0);
        }
        take_over_and_stop(running, id);
        assert_eq!(marked(&r1), "");
    }
}

fn take_over_and_stop(running: DriverThread, id: RouterId) {
    set_priority(&running, id, 250);
    running.wait_for_state(id, State::Active);
    let log = running.stop();
    let is_odd = |event: &DriverEvent| {
        matches!(
            event,
            DriverEvent::RouteLost(_) | DriverEvent::RouteFailed { .. }
        )
    };
    let odd: Vec<_> = log.iter().filter(|it| is_odd(&it.event)).collect();
    assert!(odd.is_empty(), "{odd:#?}");
}

#[test]
fn a_route_that_somebody_removes_is_put_back() {
    let (_lan, [r1]) = lan_of::<1>();
    let route = "203.0.113.0/24 via 192.0.2.9";
    let (running, id) = DriverThread::with_router(r1.namespace(), with_routes(100, &[route]));
    running.wait_for_state(id, State::Active);
    wait_for_routes(&r1, 1);
    iproute2(&r1, &["route", "delete", "203.0.113.0/24"]);
    running.wait_for_event("the loss", |event| {
        matches!(event, DriverEvent::RouteLost(lost) if lost.to_string() == route).then_some(())
    });
    running.wait_for_event("the repair", |event| {
        matches!(event, DriverEvent::RouteRestored(back) if back.to_string() == route).then_some(())
    });
    wait_for_routes(&r1, 1);
    assert_eq!(running.count_transitions(State::Active), 1);
}

#[test]
fn a_route_that_goes_with_its_interface_comes_back_with_it() {
    let (_lan, [r1]) = lan_of::<1>();
    let other = Lan::new().unwrap();
    let eth1 = other.attach(&r1, "eth1", &["198.51.100.1/24"]).unwrap();
    let routes = [
        "203.0.113.0/24 via 198.51.100.9 dev eth1",
        "203.0.114.0/24 dev eth7",
    ];
    let (running, id) = DriverThread::with_router(r1.namespace(), with_routes(100, &routes));
    running.wait_for_state(id, State::Active);
    wait_for_routes(&r1, 1);
    let error = running.wait_for_event("the refusal", |event| match event {
        DriverEvent::RouteFailed { error, .. } => Some(error.to_string()),
        _ => None,
    });
    assert!(
        error.starts_with("add route 203.0.114.0/24 dev eth7: No such device"),
        "{error}"
    );
    // The kernel does not notify the removal of the route.
    eth1.shut().unwrap();
    wait_for_routes(&r1, 0);
    eth1.mend().unwrap();
    wait_for_routes(&r1, 1);
    assert_eq!(running.count_transitions(State::Active), 1);
}

#[test]
fn a_route_from_a_virtual_address_comes_back_with_it() {
    let (_lan, [r1]) = lan_of::<1>();
    let route = "203.0.113.0/24 via 192.0.2.9 src 192.0.2.254";
    let (running, id) = DriverThread::with_router(r1.namespace(), with_routes(100, &[route]));
    running.wait_for_state(id, State::Active);
    wait_for_routes(&r1, 1);
    // The kernel removes the route along with the address.
    r1.remove_address("192.0.2.254/32").unwrap();
    running.wait_for_event("the repair", |event| {
        matches!(event, DriverEvent::AddressRestored(_)).then_some(())
    });
    wait_for_routes(&r1, 1);
    wait_for_address(&r1, "192.0.2.254/32", true);
    assert_eq!(running.count_transitions(State::Active), 1);
}

#[test]
fn a_route_that_goes_with_the_way_to_its_gateway_comes_back_with_it() {
    let (_lan, [r1]) = lan_of::<1>();
    let other = Lan::new().unwrap();
    let eth1 = other.attach(&r1, "eth1", &["198.51.100.1/24"]).unwrap();
    let config = with_routes(100, &["203.0.113.0/24 via 198.51.100.9"]);
    let (running, id) = DriverThread::with_router(r1.namespace(), config);
    running.wait_for_state(id, State::Active);
    wait_for_routes(&r1, 1);
    eth1.shut().unwrap();
    wait_for_routes(&r1, 0);
    eth1.mend().unwrap();
    wait_for_routes(&r1, 1);
    // With its last address an interface loses its routes.
    iproute2(
        &r1,
        &["address", "delete", "198.51.100.1/24", "dev", "eth1"],
    );
    wait_for_routes(&r1, 0);
    iproute2(&r1, &["address", "add", "198.51.100.1/24", "dev", "eth1"]);
    wait_for_routes(&r1, 1);
    assert_eq!(running.count_transitions(State::Active), 1);
}

#[test]
fn routes_and_drop_routes_that_a_crash_leaves_are_removed() {
    let (_lan, [r1, r2]) = lan_of::<2>();
    let mut config = with_routes(100, &["203.0.113.0/24 via 192.0.2.9"]);
    config.enforce_accept_mode = true;
    let (first, id) = DriverThread::with_router(r1.namespace(), config.clone());
    first.wait_for_state(id, State::Active);
    let shown = wait_for_routes(&r1, 2);
    assert!(shown.contains("blackhole 192.0.2.254"), "{shown}");
    first.kill();
    assert_eq!(marked(&r1).lines().count(), 2);

    // The next run does not enforce it, and its address has to take the place of the drop route.
    config.enforce_accept_mode = false;
    let (other, other_id) = DriverThread::with_router(r2.namespace(), router(Family::Ipv4, 200));
    other.wait_for_state(other_id, State::Active);
    let (second, id) = DriverThread::with_router(r1.namespace(), config);
    second.wait_for_state(id, State::Backup);
    wait_for_routes(&r1, 0);
    second.kill();

    // A sweep removes routes that no router has any more.
    iproute2(
        &r1,
        &[
            "route",
            "add",
            "203.0.115.0/24",
            "via",
            "192.0.2.9",
            "proto",
            "112",
        ],
    );
    let third = DriverThread::start(r1.namespace());
    third.with(|driver| driver.sweep().unwrap());
    assert_eq!(marked(&r1), "");
    wait_for_address(&r1, "192.0.2.254/32", false);
}

#[test]
fn a_route_that_another_program_replaces_is_theirs_from_then_on() {
    let (_lan, [r1]) = lan_of::<1>();
    let mut config = router(Family::Ipv4, 100);
    config.routes = vec!["203.0.113.0/24 via 192.0.2.9".parse().unwrap()];
    let (running, id) = DriverThread::with_router(r1.namespace(), config);
    wait_for("the route", LIMIT, || {
        (!marked(&r1).is_empty()).then_some(())
    })
    .unwrap();
    // The kernel sends a notification of the new route alone, which has no mark.
    let theirs = ["route", "replace", "203.0.113.0/24", "via", "192.0.2.8"];
    iproute2(&r1, &theirs);
    assert_eq!(marked(&r1), "");
    let has_theirs = || {
        let shown = iproute2(&r1, &["route"]);
        shown.contains("203.0.113.0/24 via 192.0.2.8") && !shown.contains("192.0.2.9")
    };
    running.with(move |driver| driver.set_fault(id, "a test").unwrap());
    wait_for_address(&r1, VIP4, false);
    assert!(has_theirs());
    running.with(move |driver| driver.clear_fault(id, "a test").unwrap());
    wait_for_address(&r1, VIP4, true);
    running.wait_for_state(id, State::Active);
    assert!(has_theirs());
    running.stop();
    assert!(has_theirs());
}
