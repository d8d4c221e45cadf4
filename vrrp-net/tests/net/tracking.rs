//! Tracked objects decide which router is Active, and which may run.

use std::{
    thread,
    time::{Duration, Instant},
};

use vrrp_fsm::{
    State,
    fleet::FleetError,
    track::{Debounce, Kind, Level, Object, ObjectId, Report, TrackError, TrackRef, Weight},
};
use vrrp_lab::{Host, Lan, wait_for};
use vrrp_net::{Driver, DriverEvent, Error, RouterId, Watch};
use vrrp_proto::{Family, Priority};

use crate::rig::{
    DriverThread, LIMIT, VIP4, advertisements, has, ip, iproute2, lan_of, router, wait_for_address,
    wait_for_advertisement,
};

/// A router that depends on an object.
pub(crate) fn tracking(
    host: &Host,
    priority: u8,
    object: Object,
    watch: Watch,
) -> (DriverThread, RouterId, ObjectId) {
    let running = DriverThread::start(host.namespace());
    let (id, object) = running.with(move |driver| {
        let object = driver.add_object(object, watch).unwrap();
        let mut config = router(Family::Ipv4, priority);
        config.tracking = vec![TrackRef::of(object)];
        (driver.add(config).unwrap(), object)
    });
    (running, id, object)
}

pub(crate) fn weighing(kind: Kind, points: i16) -> Object {
    Object {
        weight: Weight::points(points).unwrap(),
        ..Object::new("uplink", kind)
    }
}

pub(crate) fn explanation(running: &DriverThread, id: RouterId) -> String {
    running.with(move |driver| driver.explain(id).unwrap().to_string())
}

pub(crate) fn wait_for_level(running: &DriverThread, object: ObjectId, level: Level) {
    wait_for("the level", LIMIT, || {
        (running.with(move |driver| driver.objects().level(object)) == Some(level)).then_some(())
    })
    .unwrap();
}

#[test]
fn o_21_an_interface_that_goes_down_lowers_the_priority_and_moves_the_active() {
    let (lan, [r1, r2]) = lan_of::<2>();
    let outside = Lan::new().unwrap();
    let uplink = outside.attach(&r1, "eth1", &[]).unwrap();
    let (one, one_id, object) = tracking(
        &r1,
        200,
        weighing(Kind::Interface, -150),
        Watch::Interface("eth1".into()),
    );
    one.wait_for_state(one_id, State::Active);
    let (two, two_id) = DriverThread::with_router(r2.namespace(), router(Family::Ipv4, 100));
    two.wait_for_state(two_id, State::Backup);
    let capture = lan.capture().unwrap();

    let cut = Instant::now();
    uplink.unplug().unwrap();
    two.wait_for_state(two_id, State::Active);
    one.wait_for_state(one_id, State::Backup);
    wait_for_address(&r1, VIP4, false);
    let lowered = |seen: &crate::rig::Seen| seen.source == ip("192.0.2.1") && seen.priority() == 50;
    wait_for_advertisement(&capture, "the lower priority", cut, lowered);
    assert_eq!(
        explanation(&one, one_id),
        "priority 50: 200 configured, uplink down -150"
    );
    one.wait_for_event("the object", |event| {
        matches!(event, DriverEvent::ObjectChanged { object: it, level: Some(Level::Down) } if *it == object)
            .then_some(())
    });
    let change = one.wait_for_event("the priority", |event| match event {
        DriverEvent::PriorityChanged { from, to } => Some((from.get(), to.get())),
        _ => None,
    });
    assert_eq!(change, (200, 50));

    uplink.mend().unwrap();
    one.wait_for_state(one_id, State::Active);
    two.wait_for_state(two_id, State::Backup);
    assert_eq!(
        explanation(&one, one_id),
        "priority 200: 200 configured, uplink up"
    );
}

#[test]
fn an_interface_that_must_be_up_keeps_the_router_down_until_it_is() {
    let (_lan, [r1, r2]) = lan_of::<2>();
    let outside = Lan::new().unwrap();
    let watch = Watch::Interface("eth1".into());
    let object = Object::new("uplink", Kind::Interface);
    let (one, one_id, object) = tracking(&r1, 200, object, watch);
    // There is no such interface yet.
    wait_for_level(&one, object, Level::Down);
    assert_eq!(one.state(one_id), State::Initialize);
    let (two, two_id) = DriverThread::with_router(r2.namespace(), router(Family::Ipv4, 100));
    two.wait_for_state(two_id, State::Active);

    let uplink = outside.attach(&r1, "eth1", &[]).unwrap();
    one.wait_for_state(one_id, State::Active);
    two.wait_for_state(two_id, State::Backup);
    let faults = one.with(move |driver| {
        let view = driver.get(one_id).unwrap();
        assert_eq!(view.faults().count(), 0, "nothing is missing of its own");
        driver.explain(one_id).unwrap().faults().count()
    });
    assert_eq!(faults, 0);

    uplink.shut().unwrap();
    one.wait_for_state(one_id, State::Initialize);
    two.wait_for_state(two_id, State::Active);
    wait_for_address(&r1, VIP4, false);
    let faults = one.with(move |driver| {
        let explanation = driver.explain(one_id).unwrap();
        explanation.faults().map(String::from).collect::<Vec<_>>()
    });
    assert_eq!(faults, ["uplink"]);

    // The kind of the failure does not matter.
    uplink.mend().unwrap();
    one.wait_for_state(one_id, State::Active);
    iproute2(&r1, &["link", "set", "eth1", "name", "eth9"]);
    one.wait_for_state(one_id, State::Initialize);
    iproute2(&r1, &["link", "set", "eth9", "name", "eth1"]);
    one.wait_for_state(one_id, State::Active);
    iproute2(&r1, &["link", "delete", "eth1"]);
    one.wait_for_state(one_id, State::Initialize);
}

#[test]
fn an_address_of_this_host_can_be_tracked() {
    let (_lan, [r1]) = lan_of::<1>();
    let watch = Watch::Address {
        address: ip("198.51.100.1"),
        interface: Some("eth0".into()),
    };
    let (running, id, object) = tracking(&r1, 100, weighing(Kind::Address, 20), watch);
    wait_for_level(&running, object, Level::Down);
    let priority = || running.with(move |it| it.get(id).unwrap().machine().effective_priority());
    assert_eq!(priority(), Priority::new(100));
    r1.add_address("198.51.100.1/32").unwrap();
    wait_for_level(&running, object, Level::Up);
    assert_eq!(priority(), Priority::new(120));
    r1.remove_address("198.51.100.1/32").unwrap();
    wait_for_level(&running, object, Level::Down);
    assert_eq!(priority(), Priority::new(100));
}

#[test]
fn a_check_of_the_host_counts_and_waits_as_it_is_configured() {
    let (_lan, [r1]) = lan_of::<1>();
    let check = Object {
        debounce: Debounce {
            down: Duration::from_millis(200),
            up: Duration::ZERO,
        },
        ..Object::new("resolver", Kind::BfdSession)
    };
    let (running, id, object) = tracking(&r1, 100, check, Watch::Host);
    running.wait_for_state(id, State::Initialize);
    assert_eq!(
        explanation(&running, id),
        "priority 100: 100 configured, resolver unreported (holds)"
    );
    let report = |report| {
        running.with(move |driver| driver.report(object, report).unwrap());
    };
    report(Report::Up);
    running.wait_for_state(id, State::Active);
    // This change is shorter than the debounce, and does not count.
    running.with(move |driver| {
        driver.report(object, Report::Down).unwrap();
        driver.report(object, Report::Up).unwrap();
    });
    let reported = Instant::now();
    report(Report::Down);
    running.wait_for_state(id, State::Initialize);
    assert!(reported.elapsed() >= Duration::from_millis(200));
    assert_eq!(running.count_transitions(State::Initialize), 1);
    report(Report::Up);
    running.wait_for_state(id, State::Active);
    wait_for_address(&r1, VIP4, true);
}

#[test]
fn tracked_objects_of_a_router_change_while_it_runs() {
    let (_lan, [r1]) = lan_of::<1>();
    let (running, id) = DriverThread::with_router(r1.namespace(), router(Family::Ipv4, 100));
    running.wait_for_state(id, State::Active);
    wait_for_address(&r1, VIP4, true);
    running.with(move |driver| {
        let load = driver
            .add_object(
                Object {
                    weight: Weight::points(-1).unwrap(),
                    ..Object::new("load", Kind::Number)
                },
                Watch::Host,
            )
            .unwrap();
        driver.report(load, Report::Number(30)).unwrap();
        let priority = |driver: &vrrp_net::Driver| {
            let machine = driver.get(id).unwrap();
            machine.machine().effective_priority().get()
        };
        assert_eq!(priority(driver), 100);
        driver.set_tracking(id, vec![TrackRef::of(load)]).unwrap();
        assert_eq!(priority(driver), 70);
        // The tracked points count from another configured priority, too.
        driver
            .reconfigure(id, crate::rig::fsm(Family::Ipv4, 150))
            .unwrap();
        assert_eq!(priority(driver), 120);

        let twice = driver.set_tracking(id, vec![TrackRef::of(load), TrackRef::of(load)]);
        assert!(
            matches!(&twice, Err(Error::Fleet(FleetError::Track(TrackError::Twice(name)))) if name == "load"),
            "{twice:?}"
        );
        let in_use = driver.remove_object(load);
        assert!(
            matches!(&in_use, Err(Error::Fleet(FleetError::Track(TrackError::InUse(name)))) if name == "load"),
            "{in_use:?}"
        );
        assert_eq!(priority(driver), 120);
        driver.set_tracking(id, Vec::new()).unwrap();
        assert_eq!(priority(driver), 150);
        driver.remove_object(load).unwrap();
        assert!(driver.report(load, Report::Number(1)).is_err());

        let wrong = Watch::Interface("eth0".into());
        let wrong = driver.add_object(Object::new("other", Kind::Number), wrong);
        assert!(matches!(&wrong, Err(Error::Invalid { field: "kind", .. })), "{wrong:?}");
        let long = "a23456789012345x";
        let any = Watch::Address { address: ip("192.0.2.1"), interface: Some(long.into()) };
        for (kind, watch) in [(Kind::Interface, Watch::Interface(long.into())), (Kind::Address, any)] {
            let long = driver.add_object(Object::new("long", kind), watch);
            assert!(matches!(&long, Err(Error::Invalid { field: "interface", .. })), "{long:?}");
        }
        assert_eq!(driver.objects().iter().count(), 0);
    });
    assert!(has(&r1, VIP4));
    assert_eq!(running.count_transitions(State::Active), 1);
}

#[test]
fn drivers_of_two_namespaces_run_on_one_thread_and_know_nothing_of_each_other() {
    let lans = [lan_of::<1>(), lan_of::<1>()];
    let hosts = lans.each_ref().map(|(_, [host])| host);
    // The names, the numbers and the addresses are the same in both.
    let (mut drivers, ids): (Vec<Driver>, Vec<RouterId>) = thread::scope(|scope| {
        let make = |host: &Host| {
            host.namespace().enter().unwrap();
            let mut driver = Driver::new().unwrap();
            let watch = Watch::Interface("eth0".into());
            let object = Object::new("link", Kind::Interface);
            let object = driver.add_object(object, watch).unwrap();
            let mut config = router(Family::Ipv4, 100);
            config.tracking = vec![TrackRef::of(object)];
            let id = driver.add(config).unwrap();
            (driver, id)
        };
        let thread = scope.spawn(move || hosts.into_iter().map(make).unzip());
        thread.join().unwrap()
    });
    let mut wait_for_states = |expected: [State; 2]| {
        wait_for(&format!("{expected:?}"), LIMIT, || {
            for driver in &mut drivers {
                driver.turn().unwrap();
            }
            let states = drivers.iter().zip(&ids);
            let states = states.map(|(driver, id)| driver.get(*id).unwrap().state());
            states.eq(expected).then_some(())
        })
        .unwrap();
    };
    wait_for_states([State::Active, State::Active]);
    hosts[1].unplug().unwrap();
    wait_for_states([State::Active, State::Initialize]);
    wait_for_address(hosts[0], VIP4, true);
    wait_for_address(hosts[1], VIP4, false);
    hosts[1].mend().unwrap();
    hosts[0].unplug().unwrap();
    wait_for_states([State::Initialize, State::Active]);
}

#[test]
fn one_change_of_a_link_with_a_hundred_objects_is_one_advertisement() {
    let (lan, [host]) = lan_of::<1>();
    let outside = Lan::new().unwrap();
    let uplink = outside.attach(&host, "eth1", &[]).unwrap();
    let running = DriverThread::start(host.namespace());
    let id = running.with(|driver| {
        let objects = (0..100).map(|number| {
            let object = Object {
                name: format!("uplink {number}"),
                ..weighing(Kind::Interface, -1)
            };
            let watch = Watch::Interface("eth1".into());
            TrackRef::of(driver.add_object(object, watch).unwrap())
        });
        let tracking = objects.collect();
        let mut config = router(Family::Ipv4, 200);
        config.tracking = tracking;
        driver.add(config).unwrap()
    });
    running.wait_for_state(id, State::Active);
    let capture = lan.capture().unwrap();
    let cut = Instant::now();
    uplink.unplug().unwrap();
    wait_for_advertisement(&capture, "the lower priority", cut, |seen| {
        seen.priority() == 100
    });
    // Each priority that was advertised, and each that was notified.
    let seen = advertisements(&capture);
    let mut priorities: Vec<u8> = seen.iter().map(|(_, seen)| seen.priority()).collect();
    priorities.dedup();
    assert!(
        matches!(priorities[..], [100] | [200, 100]),
        "{priorities:?}"
    );
    let count = || {
        let log = running.log();
        let changes = log.iter().filter(|notification| {
            matches!(notification.event, DriverEvent::PriorityChanged { .. })
        });
        changes.count()
    };
    wait_for("the change of priority", LIMIT, || {
        (count() > 0).then_some(())
    })
    .unwrap();
    assert_eq!(count(), 1);
}
