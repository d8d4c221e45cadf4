//! Tracked routes, which the driver watches itself.

use std::{
    io::Write,
    os::fd::{AsFd, AsRawFd},
    process::Stdio,
    thread,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use vrrp_fsm::{
    State,
    track::{Kind, Level, Object, ObjectId},
};
use vrrp_lab::{Host, Lan, wait_for};
use vrrp_net::{Driver, DriverEvent, Error, Monitor, MonitorEvent, RouterId, Watch};
use vrrp_proto::Family;

use crate::rig::notifications;
use crate::{
    rig::{DriverThread, LIMIT, iproute2, lan_of, router},
    tracking::{explanation, tracking, wait_for_level, weighing},
};

fn watch(route: &str) -> Watch {
    Watch::Route(route.parse().unwrap())
}

/// Runs ip(8) with arguments as one would type them.
fn ip_of(host: &Host, arguments: &str) {
    iproute2(host, &arguments.split_whitespace().collect::<Vec<_>>());
}

/// Runs many commands of ip(8) at once.
fn batch(host: &Host, commands: impl IntoIterator<Item = String>) {
    let mut ip = host.namespace().command("ip");
    let mut ip = ip
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let text: String = commands.into_iter().map(|it| it + "\n").collect();
    ip.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(ip.wait().unwrap().success());
}

/// A driver that tracks a route and has no router.
fn tracking_only(host: &Host, route: &str) -> (DriverThread, ObjectId) {
    let running = DriverThread::start(host.namespace());
    let watch = watch(route);
    let object = running.with(move |driver| {
        let object = Object::new("route", Kind::Route);
        driver.add_object(object, watch).unwrap()
    });
    (running, object)
}

/// The number of times that an object was notified as up.
fn rises(running: &DriverThread, id: ObjectId) -> usize {
    let is_rise = |event: &DriverEvent| matches!(event, DriverEvent::ObjectChanged { object, level: Some(Level::Up) } if *object == id);
    running.log().iter().filter(|it| is_rise(&it.event)).count()
}

#[test]
fn o_21_a_default_route_that_goes_lowers_the_priority_and_moves_the_active() {
    for (family, route) in [(Family::Ipv4, "0.0.0.0/0"), (Family::Ipv6, "::/0")] {
        let (_lan, [r1, r2]) = lan_of::<2>();
        let (add, delete) = match family {
            Family::Ipv4 => ("route add default via 192.0.2.9", "route del default"),
            Family::Ipv6 => (
                "-6 route add default via fe80::9 dev eth0",
                "-6 route del default",
            ),
        };
        ip_of(&r1, add);
        let (one, one_id, _) = tracking(&r1, 200, weighing(Kind::Route, -150), watch(route));
        one.wait_for_state(one_id, State::Active);
        let (two, two_id) = DriverThread::with_router(r2.namespace(), router(Family::Ipv4, 100));
        two.wait_for_state(two_id, State::Backup);

        ip_of(&r1, delete);
        two.wait_for_state(two_id, State::Active);
        one.wait_for_state(one_id, State::Backup);
        assert_eq!(
            explanation(&one, one_id),
            "priority 50: 200 configured, uplink down -150"
        );
        ip_of(&r1, add);
        one.wait_for_state(one_id, State::Active);
        assert_eq!(
            explanation(&one, one_id),
            "priority 200: 200 configured, uplink up"
        );
    }
}

#[test]
fn a_route_that_must_be_there_keeps_the_router_down_until_it_leads_somewhere() {
    let (_lan, [r1]) = lan_of::<1>();
    let object = Object::new("default", Kind::Route);
    let (running, id, _) = tracking(&r1, 100, object, watch("0.0.0.0/0"));
    let wait_for = |state| running.wait_for_state(id, state);
    running.wait_for_event("the first look", |event| {
        matches!(
            event,
            DriverEvent::ObjectChanged {
                level: Some(Level::Down),
                ..
            }
        )
        .then_some(())
    });
    wait_for(State::Initialize);
    ip_of(&r1, "route add default via 192.0.2.9");
    wait_for(State::Active);
    for kind in ["blackhole", "unreachable", "prohibit", "throw"] {
        ip_of(&r1, &format!("route replace {kind} default"));
        wait_for(State::Initialize);
        ip_of(&r1, "route replace default via 192.0.2.9");
        wait_for(State::Active);
    }
    // Other tables do not count.
    ip_of(&r1, "route add default via 192.0.2.9 table 100");
    ip_of(&r1, "route del default");
    wait_for(State::Initialize);
}

#[test]
fn a_route_is_there_while_one_is_that_fits() {
    let (_lan, [r1]) = lan_of::<1>();
    let outside = Lan::new().unwrap();
    outside
        .attach(&r1, "eth1", &["198.51.100.1/24", "2001:db8:1::1/64"])
        .unwrap();
    let routes = [
        "203.0.113.0/24",
        "203.0.113.0/24 dev eth0",
        "203.0.113.0/24 via 192.0.2.9",
        "203.0.113.0/24 via 198.51.100.9 dev eth1",
        "203.0.113.0/24 metric 20",
        "203.0.113.0/24 src 198.51.100.1",
        "203.0.113.0/24 table 100",
        "203.0.113.0/24 table 4242",
        "2001:db8:2::/48",
        "2001:db8:2::/48 via 2001:db8:1::9",
        "2001:db8:2::/48 dev eth0",
        "2001:db8:2::/49",
    ];
    let running = DriverThread::start(r1.namespace());
    let ids = routes.map(|route| {
        let (object, watch) = (Object::new(route, Kind::Route), watch(route));
        running.with(move |driver| driver.add_object(object, watch).unwrap())
    });
    let are_there = |expected: &[&str]| {
        let levels = || {
            running.with(move |driver| {
                ids.map(|id| driver.objects().level(id).is_some_and(Level::is_up))
            })
        };
        let expected = routes.map(|route| expected.contains(&route));
        wait_for("the routes", LIMIT, || (levels() == expected).then_some(()))
            .unwrap_or_else(|error| panic!("{error}: {:?}, not {expected:?}", levels()));
    };
    let change = |arguments: &str| ip_of(&r1, arguments);
    are_there(&[]);
    // Routes of two metrics.
    change("route add 203.0.113.0/24 via 192.0.2.9 metric 10");
    change("route add 203.0.113.0/24 via 192.0.2.9 metric 20");
    are_there(&[routes[0], routes[1], routes[2], routes[4]]);
    change("route del 203.0.113.0/24 metric 10");
    are_there(&[routes[0], routes[1], routes[2], routes[4]]);
    change("route del 203.0.113.0/24 metric 20");
    are_there(&[]);
    // A route with two next hops.
    change("route add 203.0.113.0/24 nexthop via 192.0.2.9 nexthop via 198.51.100.9");
    are_there(&[routes[0], routes[1], routes[2], routes[3]]);
    change("route replace 203.0.113.0/24 via 198.51.100.9 src 198.51.100.1");
    are_there(&[routes[0], routes[3], routes[5]]);
    change("route del 203.0.113.0/24");
    // Routes in two tables, one of which needs more than eight bits.
    change("route add 203.0.113.0/24 via 192.0.2.9 table 100");
    are_there(&[routes[6]]);
    change("route add 203.0.113.0/24 via 192.0.2.9 table 4242");
    are_there(&[routes[6], routes[7]]);
    change("route flush table 100");
    are_there(&[routes[7]]);
    change("route flush table 4242");
    are_there(&[]);
    // IPv6 adds and removes next hops one by one.
    change("-6 route add 2001:db8:2::/48 via 2001:db8::9");
    are_there(&[routes[8], routes[10]]);
    change("-6 route append 2001:db8:2::/48 via 2001:db8:1::9");
    are_there(&[routes[8], routes[9], routes[10]]);
    change("-6 route del 2001:db8:2::/48 via 2001:db8::9");
    are_there(&[routes[8], routes[9]]);
    change("-6 route del 2001:db8:2::/48");
    are_there(&[]);
    // Routes that are no longer tracked are no longer followed, and the others are.
    running.with(move |driver| {
        for id in &ids[1..] {
            driver.remove_object(*id).unwrap();
        }
    });
    change("route add 203.0.113.0/24 via 192.0.2.9");
    wait_for_level(&running, ids[0], Level::Up);
}

#[test]
fn routes_that_go_with_their_link_are_missed_and_not_taken_for_there_when_it_is_back() {
    let (_lan, [r1]) = lan_of::<1>();
    for (route, gateway) in [
        ("203.0.113.0/24", "198.51.100.9"),
        ("2001:db8:2::/48", "fe80::9"),
    ] {
        let outside = Lan::new().unwrap();
        let uplink = outside.attach(&r1, "eth1", &["198.51.100.1/24"]).unwrap();
        let add = format!("route add {route} via {gateway} dev eth1");
        ip_of(&r1, &add);
        let (running, id) = tracking_only(&r1, route);
        let link = running.with(|driver| {
            let link = Object::new("link", Kind::Interface);
            let watch = Watch::Interface("eth1".into());
            driver.add_object(link, watch).unwrap()
        });
        wait_for_level(&running, id, Level::Up);
        // The kernel keeps a route by a link without a carrier, and it works again with the
        // carrier.
        uplink.unplug().unwrap();
        wait_for_level(&running, id, Level::Down);
        uplink.mend().unwrap();
        wait_for_level(&running, link, Level::Up);
        if route.contains(':') {
            // Some kernels remove it, others do not.
            let _ = r1
                .namespace()
                .command("ip")
                .args(add.split_whitespace())
                .output();
        }
        wait_for_level(&running, id, Level::Up);
        // The kernel removes the routes of a link that is set down, for IPv4 without a
        // notification. It also removes the link's IPv6 addresses, which would cause a
        // notification.
        if route.contains('.') {
            let no_ipv6 = "ipv6.conf.eth1.disable_ipv6";
            r1.namespace().set_sysctl(no_ipv6, "1").unwrap();
            wait_for("the notification", LIMIT, || {
                let is_notified = |driver: &mut Driver| {
                    let interface = driver.interfaces().named("eth1").unwrap();
                    interface.addresses.iter().all(|it| it.address.is_ipv4())
                };
                running.with(is_notified).then_some(())
            })
            .unwrap();
        }
        ip_of(&r1, "link set eth1 down");
        wait_for_level(&running, id, Level::Down);
        let before = rises(&running, id);
        ip_of(&r1, "link set eth1 up");
        wait_for_level(&running, link, Level::Up);
        ip_of(&r1, "route add 192.88.99.0/24 via 192.0.2.9");
        assert_eq!(rises(&running, id), before);
        ip_of(&r1, &add);
        wait_for_level(&running, id, Level::Up);
        ip_of(&r1, "link delete eth1");
        wait_for_level(&running, id, Level::Down);
        ip_of(&r1, "route flush 192.88.99.0/24");
    }
}

/// Takes turns until an object has a level, and returns the changes of all objects.
fn turn_until(driver: &mut Driver, id: ObjectId, level: Level) -> Vec<(ObjectId, Option<Level>)> {
    let mut changes = Vec::new();
    wait_for(&format!("{level:?}"), LIMIT, || {
        driver.turn().unwrap();
        changes.extend(notifications(driver).filter_map(|it| match it.event {
            DriverEvent::ObjectChanged { object, level } => Some((object, level)),
            _ => None,
        }));
        (driver.objects().level(id) == Some(level)).then_some(())
    })
    .unwrap();
    changes
}

/// Waits until the kernel has sent the notification of a link that is up.
fn wait_for_link_up(monitor: &mut Monitor, name: &str) {
    wait_for("the link", LIMIT, || {
        let mut is_up = false;
        let up = |event| {
            is_up |= matches!(event, MonitorEvent::Link(link) if link.name == name && link.up);
        };
        monitor.receive(up).unwrap();
        is_up.then_some(())
    })
    .unwrap();
}

/// The driver reads notifications of links first, and the dumps of routes after them. In between it
/// does not report a route of an earlier dump.
#[test]
fn a_route_that_is_gone_is_not_reported_by_a_link_that_is_back_before_the_lists_are_read() {
    let (_lan, [r1]) = lan_of::<1>();
    for (route, gateway) in [
        ("203.0.113.0/24", "198.51.100.9"),
        ("2001:db8:2::/48", "fe80::9"),
    ] {
        let outside = Lan::new().unwrap();
        let uplink = outside.attach(&r1, "eth1", &["198.51.100.1/24"]).unwrap();
        let add = format!("route add {route} via {gateway} dev eth1");
        let (mut driver, id, link, mut monitor) = r1.namespace().run(|| {
            let mut driver = Driver::new().unwrap();
            let object = Object::new("route", Kind::Route);
            let id = driver.add_object(object, watch(route)).unwrap();
            let object = Object::new("link", Kind::Interface);
            let watch = Watch::Interface("eth1".into());
            let link = driver.add_object(object, watch).unwrap();
            (driver, id, link, Monitor::open().unwrap())
        });
        let r1 = &r1;
        let down = || ip_of(r1, "link set eth1 down");
        let up = || ip_of(r1, "link set eth1 up");
        // The kernel keeps the route while the carrier is gone, so the test can remove it.
        let pull = || uplink.unplug().unwrap();
        let remove_and_plug = || {
            ip_of(r1, &format!("route del {route}"));
            uplink.mend().unwrap();
        };
        let mut ways: Vec<[&dyn Fn(); 2]> = vec![[&down, &up]];
        if route.contains('.') {
            ways.push([&pull, &remove_and_plug]);
        }
        for [lose, restore] in ways {
            ip_of(r1, &add);
            turn_until(&mut driver, id, Level::Up);
            lose();
            turn_until(&mut driver, id, Level::Down);
            turn_until(&mut driver, link, Level::Down);
            // The driver sleeps until the link is up again.
            monitor.receive(drop).unwrap();
            restore();
            wait_for_link_up(&mut monitor, "eth1");
            let mut changes = turn_until(&mut driver, link, Level::Up);
            // The first of these turns requests the dumps, the next ones read them.
            for _ in 0..10 {
                changes.extend(turn_until(&mut driver, link, Level::Up));
            }
            assert_eq!(changes, [(link, Some(Level::Up))], "{route}");
        }
        ip_of(r1, "link delete eth1");
    }
}

#[test]
fn routes_that_go_with_an_address_or_a_next_hop_are_missed() {
    let (_lan, [r1]) = lan_of::<1>();
    let (running, id) = tracking_only(&r1, "203.0.113.0/24");
    wait_for_level(&running, id, Level::Down);
    for [make, lose] in [
        [
            "route add 203.0.113.0/24 via 192.0.2.9 src 192.0.2.77",
            "address del 192.0.2.77/32 dev eth0",
        ],
        ["route add 203.0.113.0/24 nhid 7", "nexthop del id 7"],
    ] {
        for _ in 0..5 {
            ip_of(&r1, "address replace 192.0.2.77/32 dev eth0");
            ip_of(&r1, "nexthop replace id 7 via 192.0.2.9 dev eth0");
            ip_of(&r1, make);
            wait_for_level(&running, id, Level::Up);
            ip_of(&r1, lose);
            wait_for_level(&running, id, Level::Down);
        }
    }
}

#[test]
fn a_route_that_goes_some_time_after_its_address_is_noticed() {
    const OTHERS: u32 = 30_000;
    let (_lan, [r1]) = lan_of::<1>();
    let outside = Lan::new().unwrap();
    outside.attach(&r1, "eth1", &["198.51.100.1/24"]).unwrap();
    // The route is in the last table that the kernel clears, after the thousands of routes in
    // another.
    let table = 4095;
    let (running, id) = tracking_only(&r1, &format!("203.0.113.0/24 table {table}"));
    let routes = (0..OTHERS).map(|number| {
        let [_, _, high, low] = number.to_be_bytes();
        format!("route add 10.{high}.{low}.0/24 via 198.51.100.9")
    });
    let tracked = format!("route add 203.0.113.0/24 via 198.51.100.9 table {table}");
    batch(&r1, routes.chain([tracked]));
    wait_for_level(&running, id, Level::Up);
    ip_of(&r1, "address del 198.51.100.1/24 dev eth1");
    wait_for_level(&running, id, Level::Down);
}

/// Whether a driver has something to read.
fn can_be_read(driver: &Driver) -> bool {
    let mut polls = [PollFd::new(driver.as_fd(), PollFlags::POLLIN)];
    poll(&mut polls, PollTimeout::ZERO).unwrap() > 0
}

/// The number of descriptors that the driver waits for: one of proc_pid_fdinfo(5)'s lines each.
pub(crate) fn sources(driver: &Driver) -> usize {
    let info = format!("/proc/self/fdinfo/{}", driver.as_raw_fd());
    let info = std::fs::read_to_string(info).unwrap();
    info.lines().filter(|line| line.starts_with("tfd:")).count()
}

#[test]
fn other_routes_wake_nobody() {
    wake_up_for(&["203.0.113.0/24", "0.0.0.0/0"]);
    wake_up_for(&["203.0.113.0/24", "2001:db8:2::/48"]);
}

/// A driver that tracks these routes wakes up for them and not for others.
fn wake_up_for(watches: &[&str]) {
    let (_lan, [r1]) = lan_of::<1>();
    let (mut driver, ids) = r1.namespace().run(|| {
        let mut driver = Driver::new().unwrap();
        // Links and addresses, other threads, and other instances.
        assert_eq!(sources(&driver), 3);
        let track = |route: &&str| {
            let object = Object::new(*route, Kind::Route);
            driver.add_object(object, watch(route)).unwrap()
        };
        let ids: Vec<ObjectId> = watches.iter().map(track).collect();
        assert_eq!(sources(&driver), 5);
        (driver, ids)
    });
    // The driver runs in another namespace from here on: everything that it needs is open.
    let run_until_idle = |driver: &mut Driver| {
        while can_be_read(driver) || driver.timeout().is_some_and(|it| it.is_zero()) {
            driver.turn().unwrap();
        }
    };
    run_until_idle(&mut driver);
    for other in [
        "203.0.113.0/25 via 192.0.2.9",
        "203.0.112.0/24 via 192.0.2.9",
        "2001:db8::/32 via 2001:db8::9",
        "2001:db9:2::/48 via 2001:db8::9",
        "::/0 via 2001:db8::9",
    ] {
        ip_of(&r1, &format!("route add {other}"));
        ip_of(&r1, &format!("route del {other}"));
        assert!(!can_be_read(&driver), "{other}");
    }
    // Each tracked route wakes the driver.
    for (route, id) in watches.iter().zip(&ids) {
        let gateway = if route.contains(':') {
            "2001:db8::9"
        } else {
            "192.0.2.9"
        };
        ip_of(&r1, &format!("route add {route} via {gateway}"));
        assert!(can_be_read(&driver), "{route}");
        run_until_idle(&mut driver);
        assert_eq!(driver.objects().level(*id), Some(Level::Up), "{route}");
    }
    for id in ids {
        driver.remove_object(id).unwrap();
    }
    // A process that another test has just started has the sockets until it executes its program.
    wait_for("the end of the subscriptions", LIMIT, || {
        (sources(&driver) == 3).then_some(())
    })
    .unwrap();
}

#[test]
fn a_route_is_found_and_missed_among_thousands() {
    const OTHERS: u32 = 5000;
    let (_lan, [r1]) = lan_of::<1>();
    let others = |verb: &'static str| {
        (0..OTHERS).map(move |number| {
            let [_, _, high, low] = number.to_be_bytes();
            format!("route {verb} 10.{high}.{low}.0/24 via 192.0.2.9")
        })
    };
    batch(&r1, others("add"));
    let (running, id) = tracking_only(&r1, "10.255.0.0/24");
    wait_for_level(&running, id, Level::Down);
    ip_of(&r1, "route add 10.255.0.0/24 via 192.0.2.9");
    wait_for_level(&running, id, Level::Up);
    // Other routes come and go at the same time.
    thread::scope(|scope| {
        scope.spawn(|| batch(&r1, others("del")));
        for _ in 0..5 {
            ip_of(&r1, "route del 10.255.0.0/24");
            wait_for_level(&running, id, Level::Down);
            ip_of(&r1, "route add 10.255.0.0/24 via 192.0.2.9");
            wait_for_level(&running, id, Level::Up);
        }
    });
    assert_eq!(rises(&running, id), 6);
}

#[test]
fn a_route_is_not_missed_that_is_tracked_while_lists_are_read() {
    const OTHERS: u32 = 10_000;
    let (_lan, [r1]) = lan_of::<1>();
    let others = (0..OTHERS).map(|number| {
        let [_, _, high, low] = number.to_be_bytes();
        format!("route add 10.{high}.{low}.0/24 via 192.0.2.9")
    });
    batch(&r1, others);
    r1.namespace().run(|| {
        let mut driver = Driver::new().unwrap();
        let track = |driver: &mut Driver, route| {
            let object = Object::new(route, Kind::Route);
            driver.add_object(object, watch(route)).unwrap()
        };
        let last = track(&mut driver, "203.0.113.0/24");
        // The first turn requests a dump, the second reads a portion with the first routes.
        for _ in 0..2 {
            driver.wait(Some(LIMIT)).unwrap();
            driver.turn().unwrap();
        }
        assert_eq!(driver.objects().level(last), None, "there is more to read");
        let first = track(&mut driver, "10.0.0.0/24");
        let mut notified = Vec::new();
        while driver.objects().level(last).is_none() || driver.objects().level(first).is_none() {
            driver.wait(Some(LIMIT)).unwrap();
            driver.turn().unwrap();
            notified.extend(notifications(&mut driver).map(|notification| notification.event));
        }
        let expected = [(last, Level::Down), (first, Level::Up)];
        let levels = expected.map(|(id, _)| driver.objects().level(id));
        assert_eq!(levels, expected.map(|(_, level)| Some(level)));
        assert_eq!(notified.len(), 2, "{notified:?}");
    });
}

#[test]
fn a_route_that_stays_is_not_missed_while_others_around_it_go() {
    const OTHERS: u32 = 2000;
    let (_lan, [r1]) = lan_of::<1>();
    let others = |verb: &'static str| {
        (0..OTHERS)
            .map(move |number| format!("route {verb} 2001:db8:{number:x}::/48 via 2001:db8::9"))
    };
    batch(&r1, others("add"));
    let change = |what: &str| ip_of(&r1, &format!("-6 route {what}"));
    change("add 2001:db8:e000::/48 via 2001:db8::9 metric 10");
    let (running, id) = tracking_only(&r1, "2001:db8:e000::/48");
    let second = running.with(|driver| {
        let object = Object::new("second", Kind::Route);
        let watch = watch("2001:db8:e000::/48 metric 20");
        driver.add_object(object, watch).unwrap()
    });
    for _ in 0..5 {
        // The dump has confirmed the known state.
        wait_for_level(&running, id, Level::Up);
        wait_for_level(&running, second, Level::Down);
        thread::scope(|scope| {
            let all = scope.spawn(|| batch(&r1, others("del").chain(others("add"))));
            while !all.is_finished() {
                change("add 2001:db8:e000::/48 via 2001:db8::9 metric 20");
                change("del 2001:db8:e000::/48 metric 20");
            }
        });
        change("add 2001:db8:e000::/48 via 2001:db8::9 metric 20");
        wait_for_level(&running, second, Level::Up);
        change("del 2001:db8:e000::/48 metric 20");
    }
    assert_eq!(rises(&running, id), 1);
}

#[test]
fn routes_are_dumped_again_after_lost_notifications() {
    let (_lan, [r1]) = lan_of::<1>();
    let (running, id) = tracking_only(&r1, "203.0.113.0/24");
    ip_of(&r1, "route add 203.0.113.0/24 via 192.0.2.9");
    wait_for_level(&running, id, Level::Up);
    running.while_asleep(|| {
        batch(
            &r1,
            (1..=2000)
                .map(|metric| format!("route add 203.0.113.0/24 via 192.0.2.9 metric {metric}")),
        );
        ip_of(&r1, "route flush 203.0.113.0/24");
        let sockets = r1
            .namespace()
            .run(|| std::fs::read_to_string("/proc/thread-self/net/netlink").unwrap());
        let drops = |line: &str| line.split_whitespace().nth(8)?.parse::<u64>().ok();
        assert!(
            sockets.lines().filter_map(drops).any(|it| it > 0),
            "{sockets}"
        );
    });
    wait_for_level(&running, id, Level::Down);
}

#[test]
fn a_tracked_route_is_followed_across_a_hand_over() {
    let (_lan, [r1]) = lan_of::<1>();
    ip_of(&r1, "route add default via 192.0.2.9");
    let object = Object::new("default", Kind::Route);
    let (one, id, _) = tracking(&r1, 100, object, watch("0.0.0.0/0"));
    one.wait_for_state(id, State::Active);
    let two = DriverThread::take_over(r1.namespace(), one.hand_over());
    assert_eq!(two.state(RouterId::nth(0)), State::Active);
    let hand_over = two.hand_over();
    // The route changes while no turn is taken.
    ip_of(&r1, "route del default");
    let three = DriverThread::take_over(r1.namespace(), hand_over);
    three.wait_for_state(RouterId::nth(0), State::Initialize);
    ip_of(&r1, "route add default via 192.0.2.9");
    three.wait_for_state(RouterId::nth(0), State::Active);
    assert_eq!(rises(&three, ObjectId::nth(0)), 1);
}

#[test]
fn a_route_that_cannot_be_tracked_is_refused() {
    let (_lan, [r1]) = lan_of::<1>();
    r1.namespace().run(|| {
        let mut driver = Driver::new().unwrap();
        let mut refusal = |kind, route: vrrp_net::Route| {
            let object = Object::new("route", kind);
            let error = driver.add_object(object, Watch::Route(route)).unwrap_err();
            assert!(matches!(error, Error::Invalid { .. }), "{error:?}");
            error.to_string()
        };
        let discard = vrrp_net::Route::discard("192.0.2.254".parse().unwrap());
        assert_eq!(
            refusal(Kind::Route, discard),
            "route: cannot track blackhole 192.0.2.254/32 table 255: it discards packets"
        );
        let route = "0.0.0.0/0".parse().unwrap();
        assert_eq!(
            refusal(Kind::Address, route),
            "kind: object \"route\" is Address, and the driver watches over it as Kind::Route"
        );
        assert_eq!(driver.objects().iter().count(), 0);
    });
}
