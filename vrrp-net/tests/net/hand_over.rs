//! One driver ends, another continues, and no other host notices.

use std::{
    collections::BTreeMap,
    net::UdpSocket,
    os::fd::OwnedFd,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use vrrp_fsm::{
    Reason, State,
    fleet::{RouterId, SyncGroup},
    track::{Kind, Level, Object, ObjectId, Report, TrackRef, Weight},
};
use vrrp_lab::{Frame, Host, wait_for};
use vrrp_net::{
    Authentication, Driver, DriverEvent, Error, Fault, FrameSocket, HandOver, HmacKeys, HmacMode,
    Monitor, MonitorEvent, Notification, RouterConfig, RouterView, SocketParts, VrrpSocket, Watch,
};
use vrrp_proto::{
    AuthenticationFault, Discard, Family, Interval, Password,
    frame::multicast_mac,
    group,
    hmac::{AntiReplay, Key},
};

use crate::rig::{
    DriverThread, LIMIT, Seen, VIP4, VIP6, advertisements, bytes, has, in_time, ip, iproute2,
    lan_of, parts, router, router_v2, wait_for_address, wait_for_advertisement,
};
use crate::virtual_mac::{is_resolved_and_silent, mac, virtual_mac_router};

/// Runs something in a host's namespace, without moving this thread there.
fn inside<T: Send>(host: &Host, work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            host.namespace().enter().unwrap();
            work()
        });
        thread.join().unwrap()
    })
}

fn nth(place: u32) -> RouterId {
    RouterId::nth(place)
}

/// The numbers of the notifications, in order and without a gap.
fn assert_in_order(log: &[Notification]) {
    for pair in log.windows(2) {
        assert_eq!(pair[1].sequence, pair[0].sequence + 1);
    }
}

const FAMILIES: [Family; 2] = [Family::Ipv4, Family::Ipv6];

fn slow(family: Family, priority: u8) -> RouterConfig {
    let mut config = router(family, priority);
    config.fsm.interval = Interval::centis(60).unwrap();
    config
}

/// Routers of both families in a group, which tracks two objects. The objects lower their priority
/// to 180.
fn start_gateway(host: &Host) -> DriverThread {
    let running = DriverThread::start(host.namespace());
    running.with(|driver| {
        let load = Object {
            weight: Weight::points(-1).unwrap(),
            ..Object::new("load", Kind::Number)
        };
        let load = driver.add_object(load, Watch::Host).unwrap();
        let link = Object::new("link", Kind::Interface);
        let link = driver
            .add_object(link, Watch::Interface("eth0".into()))
            .unwrap();
        let [first, second] = FAMILIES.map(|family| driver.add(slow(family, 200)).unwrap());
        // So the ids differ from the successor's.
        driver.remove(first).unwrap();
        let first = driver.add(slow(Family::Ipv4, 200)).unwrap();
        let mut group = SyncGroup::new("gateway", vec![first, second]);
        group.tracking = vec![TrackRef::of(load), TrackRef::of(link)];
        driver.add_group(group).unwrap();
        driver.report(load, Report::Number(20)).unwrap();
    });
    wait_for("two Actives", LIMIT, || {
        let all = |driver: &mut Driver| driver.routers().all(|it| it.state() == State::Active);
        running.with(all).then_some(())
    })
    .unwrap();
    wait_for_address(host, VIP4, true);
    wait_for_address(host, VIP6, true);
    running
}

/// Checks that the gateway is complete, and that its state has not changed.
fn assert_goes_on(running: &DriverThread) {
    running.with(|driver| {
        let (group, config) = driver.groups().next().unwrap();
        assert_eq!((config.name.as_str(), config.members.len()), ("gateway", 2));
        for view in driver.routers() {
            assert_eq!(view.state(), State::Active);
            assert_eq!(view.faults().count(), 0);
            assert!(view.addresses().all(|(_, installed)| installed));
            assert_eq!(driver.group_with(view.id()), Some(group));
            let explanation = driver.explain(view.id()).unwrap().to_string();
            assert_eq!(
                explanation,
                "priority 180: 200 configured, load 20 -20, link up"
            );
        }
    });
    let log = running.log();
    assert_eq!(log.len(), 0, "{log:?}");
}

/// The number of advertisements that each router has counted as sent, and the Active_Down_Interval
/// that others use for it.
fn sent(running: &DriverThread) -> BTreeMap<Family, (u64, Duration)> {
    running.with(|driver| {
        let sent = |it: RouterView<'_>| {
            let machine = it.machine();
            let count = machine.counters().advertisements_sent;
            (
                machine.config().family,
                (count, machine.active_down_interval()),
            )
        };
        driver.routers().map(sent).collect()
    })
}

#[test]
fn no_advertisement_is_missed_and_no_address_moves_when_a_driver_hands_over() {
    in_time(|| {
        let (lan, [r1, r2, r3]) = lan_of::<3>();
        let mut running = start_gateway(&r1);
        let (two, two_ids) = start_all(&r2, FAMILIES.map(|family| slow(family, 100)));
        let (three, three_ids) = start_all(&r3, FAMILIES.map(|family| slow(family, 150)));
        for (other, ids) in [(&two, two_ids), (&three, three_ids)] {
            for id in ids {
                other.wait_for_state(id, State::Backup);
            }
        }
        let mut monitor = inside(&r1, || Monitor::open().unwrap());
        let capture = lan.capture().unwrap();
        let before = sent(&running);

        for _ in 0..3 {
            running = DriverThread::take_over(r1.namespace(), running.hand_over());
            let now = Instant::now();
            for family in FAMILIES {
                wait_for_advertisement(&capture, "one of the successor", now, |seen| {
                    seen.priority() == 180 && seen.source.is_ipv4() == (family == Family::Ipv4)
                });
            }
            assert_goes_on(&running);
        }

        // Every sent advertisement was seen.
        let seen = advertisements(&capture);
        for (family, (count, down)) in sent(&running) {
            let is_meant = |seen: &Seen| seen.source.is_ipv4() == (family == Family::Ipv4);
            let ours: Vec<_> = seen.iter().filter(|(_, seen)| is_meant(seen)).collect();
            let foreign = ours.iter().find(|(_, seen)| seen.priority() != 180);
            assert!(foreign.is_none(), "{foreign:?} of {ours:#?}");
            for pair in ours.windows(2) {
                assert!(pair[1].0 - pair[0].0 < down, "{:?}", pair[1].0 - pair[0].0);
            }
            // One advertisement may have left between the capture and the count.
            let counted = count - before[&family].0;
            assert!(
                ours.len() >= 3 && counted.abs_diff(ours.len() as u64) <= 1,
                "{counted} of {ours:?}"
            );
        }
        for other in [&two, &three] {
            assert_eq!(other.count_transitions(State::Active), 0);
        }
        let note = |event| match event {
            MonitorEvent::AddressRemoved { address, .. } => panic!("{address:?} was removed"),
            MonitorEvent::Overrun => panic!("notifications were lost"),
            _ => {}
        };
        monitor.receive(note).unwrap();

        // The successor can still do everything.
        running.with(|driver| {
            let load = driver.objects().find("load").unwrap();
            driver.report(load, Report::Number(90)).unwrap();
        });
        for id in three_ids {
            three.wait_for_state(id, State::Active);
        }
        wait_for_address(&r1, VIP4, false);
        assert_in_order(&running.log());
    });
}

fn start_all<const N: usize>(
    host: &Host,
    configs: [RouterConfig; N],
) -> (DriverThread, [RouterId; N]) {
    let running = DriverThread::start(host.namespace());
    let ids = running.with(move |driver| configs.map(|it| driver.add(it).unwrap()));
    (running, ids)
}

#[test]
fn packets_during_a_hand_over_wait_for_the_successor() {
    let (_lan, [r1, r2]) = lan_of::<2>();
    for family in [Family::Ipv4, Family::Ipv6] {
        let (high, high_id) = DriverThread::with_router(r2.namespace(), router(family, 200));
        high.wait_for_state(high_id, State::Active);
        let (low, low_id) = DriverThread::with_router(r1.namespace(), router(family, 100));
        low.wait_for_state(low_id, State::Backup);
        wait_for("the Active being heard", LIMIT, || {
            low.with(move |driver| driver.get(low_id).unwrap().machine().active())
        })
        .unwrap();
        let hand_over = low.hand_over();
        // No driver reads in the meantime.
        high.stop();
        let low = DriverThread::take_over(r1.namespace(), hand_over);
        low.wait_for_state(nth(0), State::Active);
        let reason = low.wait_for_event("the change", |event| match event {
            DriverEvent::StateChanged(change) => Some(change.reason),
            _ => None,
        });
        assert_eq!(reason, Reason::ActiveResigned);
        low.stop();
    }
}

#[test]
fn changes_during_a_hand_over_are_found() {
    let (_lan, [r1]) = lan_of::<1>();
    let (one, id) = DriverThread::with_router(r1.namespace(), router(Family::Ipv4, 100));
    one.wait_for_state(id, State::Active);
    wait_for_address(&r1, VIP4, true);
    let hand_over = one.hand_over();
    r1.remove_address(VIP4).unwrap();
    let two = DriverThread::take_over(r1.namespace(), hand_over);
    two.wait_for_event("the address being put back", |event| {
        matches!(event, DriverEvent::AddressRestored(_)).then_some(())
    });
    assert!(has(&r1, VIP4));
    assert_eq!(two.state(nth(0)), State::Active);

    let hand_over = two.hand_over();
    r1.shut().unwrap();
    let three = DriverThread::take_over(r1.namespace(), hand_over);
    three.wait_for_state(nth(0), State::Initialize);
    three.wait_for_event("the fault", |event| {
        matches!(event, DriverEvent::Fault(Fault::InterfaceDown)).then_some(())
    });
    wait_for_address(&r1, VIP4, false);

    // A fault that the program has set stays.
    three.with(|driver| driver.set_fault(nth(0), "overtaken").unwrap());
    let four = DriverThread::take_over(r1.namespace(), three.hand_over());
    r1.mend().unwrap();
    four.wait_for_event("the interface", |event| {
        matches!(event, DriverEvent::Recovered(Fault::InterfaceDown)).then_some(())
    });
    assert_eq!(four.state(nth(0)), State::Initialize);
    four.with(|driver| driver.clear_fault(nth(0), "overtaken").unwrap());
    four.wait_for_state(nth(0), State::Active);
}

#[test]
fn a_macvlan_its_answers_and_routes_are_handed_over() {
    let (_lan, [r1, client]) = lan_of::<2>();
    let mut config = virtual_mac_router(Family::Ipv4, 100);
    config.enforce_accept_mode = true;
    config.routes = vec!["203.0.113.0/24 via 192.0.2.77".parse().unwrap()];
    let (one, id) = DriverThread::with_router(r1.namespace(), config);
    one.wait_for_state(id, State::Active);
    let macvlan = |running: &DriverThread, id: RouterId| {
        running.with(move |driver| {
            let view = driver.get(id).unwrap();
            let is_all_there = view.addresses().all(|(_, installed)| installed)
                && view.routes().all(|(_, installed)| installed);
            is_all_there.then(|| view.macvlan().unwrap().interface())
        })
    };
    let before = wait_for("all in place", LIMIT, || macvlan(&one, id)).unwrap();
    is_resolved_and_silent(&client, "192.0.2.254", mac(Family::Ipv4));
    let mut monitor = inside(&r1, || Monitor::open().unwrap());

    let two = DriverThread::take_over(r1.namespace(), one.hand_over());
    let after = wait_for("all in place", LIMIT, || macvlan(&two, nth(0))).unwrap();
    assert_eq!(after, before, "the same link");
    is_resolved_and_silent(&client, "192.0.2.254", mac(Family::Ipv4));
    let note = |event| match event {
        MonitorEvent::Link(link) => assert!(link.up, "{link:?}"),
        MonitorEvent::AddressAdded { .. } => {}
        event => panic!("{event:?}"),
    };
    monitor.receive(note).unwrap();
    assert_eq!(two.log().len(), 0, "{:?}", two.log());

    // It also removes the things that it took over.
    two.stop();
    let links = iproute2(&r1, &["-o", "link", "show"]);
    assert!(!links.contains("vrrp4-51"), "{links}");
    let routes = iproute2(&r1, &["route", "show", "203.0.113.0/24"]);
    assert_eq!(routes, "");
}

#[test]
fn a_driver_that_was_shut_down_stays_it_and_a_watch_goes_on() {
    let (_lan, [r1]) = lan_of::<1>();
    let (one, id) = DriverThread::with_router(r1.namespace(), router(Family::Ipv4, 100));
    one.wait_for_state(id, State::Active);
    one.with(|driver| {
        let watch = Watch::Address {
            address: ip("198.51.100.1"),
            interface: None,
        };
        driver
            .add_object(Object::new("service", Kind::Address), watch)
            .unwrap();
        driver.shutdown().unwrap();
    });
    let hand_over = one.hand_over();
    r1.add_address("198.51.100.1/32").unwrap();
    let two = DriverThread::take_over(r1.namespace(), hand_over);
    let level = |running: &DriverThread| {
        running.with(|driver| driver.objects().level(ObjectId::nth(0)).map(Level::is_up))
    };
    assert_eq!(level(&two), Some(true));
    r1.remove_address("198.51.100.1/32").unwrap();
    wait_for("the address", LIMIT, || {
        (level(&two) == Some(false)).then_some(())
    })
    .unwrap();
    assert_eq!(two.state(nth(0)), State::Initialize);
}

#[test]
fn the_time_that_a_hand_over_takes_counts() {
    let (_lan, [r1]) = lan_of::<1>();
    let mut config = router(Family::Ipv4, 100);
    config.fsm.interval = Interval::centis(500).unwrap();
    let (one, id) = DriverThread::with_router(r1.namespace(), config);
    one.wait_for_state(id, State::Backup);
    // The time until the Active_Down_Timer fires, in 18 s.
    let left = |running: &DriverThread| {
        wait_for("nothing else to do", LIMIT, || {
            let left = running.with(|driver| driver.timeout());
            left.filter(|left| !left.is_zero())
        })
        .unwrap()
    };
    let before = left(&one);
    let hand_over = one.hand_over();
    let pause = Duration::from_millis(300);
    thread::sleep(pause);
    let two = DriverThread::take_over(r1.namespace(), hand_over);
    let after = left(&two);
    assert!(after + pause <= before, "{after:?} of {before:?}");
    assert_eq!(two.state(nth(0)), State::Backup);
}

/// Checks that a peer still accepts a router that was handed over, and the other way round.
fn authentication_goes_on(config: impl Fn(u8) -> RouterConfig) {
    let (_lan, [r1, r2]) = lan_of::<2>();
    let (mut high, id) = DriverThread::with_router(r1.namespace(), config(200));
    high.wait_for_state(id, State::Active);
    let (mut low, id) = DriverThread::with_router(r2.namespace(), config(100));
    low.wait_for_state(id, State::Backup);
    let counters = |running: &DriverThread| {
        running.with(|driver| *driver.routers().next().unwrap().machine().counters())
    };
    let receives = |low: &DriverThread, more: u64| {
        let before = counters(low).advertisements_received;
        wait_for("advertisements", LIMIT, || {
            let counters = counters(low);
            assert_eq!(counters.authentication_errors, 0);
            (counters.advertisements_received >= before + more).then_some(())
        })
        .unwrap();
    };
    receives(&low, 1);
    high = DriverThread::take_over(r1.namespace(), high.hand_over());
    receives(&low, 1);
    low = DriverThread::take_over(r2.namespace(), low.hand_over());
    receives(&low, 1);
    assert_eq!(low.count_transitions(State::Active), 0);
    assert_eq!(high.state(nth(0)), State::Active);
}

/// Checks that packets which a router has received cannot be replayed to its successor, by an
/// attacker who wants to keep it quiet.
fn replays_are_discarded(config: impl Fn(u8) -> RouterConfig) {
    let (lan, [r1, r2, stranger]) = lan_of::<3>();
    let capture = lan.capture().unwrap();
    let (high, id) = DriverThread::with_router(r2.namespace(), config(200));
    high.wait_for_state(id, State::Active);
    let (low, id) = DriverThread::with_router(r1.namespace(), config(100));
    let received = || {
        low.with(move |driver| {
            let machine = driver.get(id).unwrap().machine();
            machine.counters().advertisements_received
        })
    };
    wait_for("an advertisement", LIMIT, || (received() > 0).then_some(())).unwrap();
    let group = multicast_mac(group(config(1).fsm.family));
    let frames = capture.frames();
    let is_old = |frame: &&Frame| frame.bytes[..6] == group.0 && frame.bytes[6..12] == r2.mac();
    let old = frames.iter().find(is_old).unwrap();

    // The hand-over goes through bytes, as it does to another process.
    let hand_over = change(low.hand_over(), |_, _| {});
    high.kill();
    let low = DriverThread::take_over(r1.namespace(), hand_over);
    let socket = stranger.namespace().run(|| FrameSocket::open().unwrap());
    socket.send([(stranger.index(), &old.bytes[..])], |_, error| {
        panic!("{error}")
    });
    low.wait_for_event("the discarded replay", |event| {
        let is_meant = matches!(
            event,
            DriverEvent::Discarded {
                discard: Discard::Authentication(AuthenticationFault::Replay { .. }),
                ..
            }
        );
        is_meant.then_some(())
    });
    low.wait_for_state(nth(0), State::Active);
}

fn with_ah(priority: u8) -> RouterConfig {
    let mut config = router_v2(priority);
    config.authentication = Authentication::Ah(Password::new(b"secret").unwrap());
    config
}

fn with_hmac(family: Family, anti_replay: AntiReplay, priority: u8) -> RouterConfig {
    let mut config = router(family, priority);
    config.authentication = Authentication::Hmac(HmacKeys {
        keys: vec![Key::new(1, b"0123456789abcdef0123456789abcdef").unwrap()],
        active: 1,
        anti_replay,
        mode: HmacMode::Enforce,
    });
    config
}

#[test]
fn the_sequence_numbers_of_ah_go_on() {
    authentication_goes_on(with_ah);
}

#[test]
fn the_sequence_numbers_of_hmac_go_on() {
    authentication_goes_on(|priority| with_hmac(Family::Ipv6, AntiReplay::Monotonic, priority));
}

#[test]
fn p_50_packets_received_with_ah_are_replays_to_the_successor() {
    replays_are_discarded(with_ah);
}

#[test]
fn packets_received_with_hmac_are_replays_to_the_successor() {
    let window = AntiReplay::time(60).unwrap();
    for (family, anti_replay) in [
        (Family::Ipv4, AntiReplay::Monotonic),
        (Family::Ipv6, window),
    ] {
        replays_are_discarded(|priority| with_hmac(family, anti_replay, priority));
    }
}

#[test]
fn hmac_sequences_go_on_above_those_of_a_predecessor_with_a_clock_ahead() {
    let (_lan, [r1, r2]) = lan_of::<2>();
    let config = |priority| with_hmac(Family::Ipv4, AntiReplay::Monotonic, priority);
    let (high, id) = DriverThread::with_router(r1.namespace(), config(200));
    high.wait_for_state(id, State::Active);
    let mut ahead = 0;
    let hand_over = change(high.hand_over(), |it, _| {
        let sent = &mut it["state"]["routers"][0]["sequences"]["hmac_sent"];
        ahead = sent.as_u64().unwrap() + (3600 << 32);
        *sent = ahead.into();
    });
    let high = DriverThread::take_over(r1.namespace(), hand_over);
    let (low, id) = DriverThread::with_router(r2.namespace(), config(100));
    low.wait_for_state(id, State::Backup);
    wait_for("an advertisement", LIMIT, || {
        low.with(move |driver| driver.get(id).unwrap().machine().active())
    })
    .unwrap();
    let (state, _) = parts(low.hand_over());
    let received = &state["state"]["routers"][0]["sequences"]["hmac_received"];
    assert_eq!(received.as_array().unwrap().len(), 1, "{received}");
    assert_eq!(received[0][0], "192.0.2.1");
    assert!(received[0][1].as_u64().unwrap() > ahead);
    high.stop();
}

#[test]
fn take_over_rejects_foreign_state() {
    let (_lan, [r1]) = lan_of::<1>();
    let refused = |spoil: fn(&mut Value, &mut Vec<OwnedFd>)| {
        let (running, id) = DriverThread::with_router(r1.namespace(), router(Family::Ipv4, 100));
        running.wait_for_state(id, State::Active);
        let (mut state, mut descriptors) = parts(running.hand_over());
        spoil(&mut state, &mut descriptors);
        let taken = HandOver::from_parts(&bytes(&state), descriptors);
        let taken = taken.and_then(|hand_over| inside(&r1, || Driver::take_over(hand_over)));
        match taken.map(drop).unwrap_err() {
            Error::Invalid { field, .. } => field,
            error => panic!("{error}"),
        }
    };
    let fields = [
        refused(|it, _| it["state"]["routers"] = json!([])),
        refused(|it, _| it["state"]["watches"] = json!(["host"])),
        refused(|it, _| it["state"]["interfaces"] = json!([])),
        refused(|it, _| {
            let sockets = it["sockets"].as_array_mut().unwrap();
            sockets.push(json!({"descriptors": 0, "memberships": []}));
        }),
        refused(|it, _| it["sockets"][0]["memberships"] = json!([[1, "224.0.0.18", 7]])),
        refused(|_, descriptors| descriptors[0] = UdpSocket::bind("[::1]:0").unwrap().into()),
        refused(|it, descriptors| {
            descriptors.push(UdpSocket::bind("[::1]:0").unwrap().into());
            it["sockets"][0]["descriptors"] = 2.into();
        }),
        refused(|_, descriptors| {
            let icmp = socket2::Socket::new(
                socket2::Domain::IPV4,
                socket2::Type::RAW,
                Some(socket2::Protocol::ICMPV4),
            );
            descriptors[0] = icmp.unwrap().into();
        }),
        // Each of two sockets would receive everything, and send everything.
        refused(|it, descriptors| {
            descriptors.push(descriptors[0].try_clone().unwrap());
            let sockets = it["sockets"].as_array_mut().unwrap();
            sockets.push(json!({"descriptors": 1, "memberships": []}));
        }),
        // A router would have an interface number on which no packets arrive.
        refused(|it, _| it["state"]["interfaces"] = json!(["eth0", "eth0"])),
        // One descriptor more than the state has.
        refused(|_, descriptors| descriptors.push(descriptors[0].try_clone().unwrap())),
        refused(|it, _| it["sockets"][0]["descriptors"] = u64::MAX.into()),
        refused(|it, _| it["state"]["fleet"]["members"][0]["member"]["config"]["vrid"] = 0.into()),
        refused(|it, _| it["state"] = json!(null)),
    ];
    let expected = [
        "routers",
        "watches",
        "interfaces",
        "sockets",
        "sockets",
        "sockets",
        "sockets",
        "sockets",
        "sockets",
        "interfaces",
        "sockets",
        "sockets",
        "state",
        "state",
    ];
    assert_eq!(fields, expected);
    let error = HandOver::from_parts(b"vrrp-net hand-over 2\n{}", Vec::new()).unwrap_err();
    assert!(error.to_string().contains("another version"), "{error}");
}

/// Changes the state of a hand-over.
fn change(hand_over: HandOver, how: impl FnOnce(&mut Value, &mut Vec<OwnedFd>)) -> HandOver {
    let (mut state, mut descriptors) = parts(hand_over);
    how(&mut state, &mut descriptors);
    HandOver::from_parts(&bytes(&state), descriptors).unwrap()
}

#[test]
fn sockets_of_another_network_namespace_are_refused() {
    let (_lan, [r1, r2]) = lan_of::<2>();
    let (one, id) = DriverThread::with_router(r1.namespace(), router(Family::Ipv4, 100));
    one.wait_for_state(id, State::Active);
    let hand_over = one.hand_over();
    let error = inside(&r2, || Driver::take_over(hand_over).map(drop).unwrap_err());
    assert!(matches!(error, Error::OtherNamespace { .. }), "{error}");
}

#[test]
fn a_membership_that_was_handed_over_and_is_none_is_made_one() {
    let (_lan, [r1, r2]) = lan_of::<2>();
    let (low, id) = DriverThread::with_router(r1.namespace(), router(Family::Ipv4, 100));
    low.wait_for_state(id, State::Active);
    let hand_over = change(low.hand_over(), |it, descriptors| {
        let memberships = &it["sockets"][0]["memberships"];
        assert_eq!(*memberships, json!([[r1.index(), "224.0.0.18", 0]]));
        let other = inside(&r1, || VrrpSocket::open(Family::Ipv4).unwrap().into_parts());
        *descriptors = other.sockets;
    });
    let low = DriverThread::take_over(r1.namespace(), hand_over);
    let (high, high_id) = DriverThread::with_router(r2.namespace(), router(Family::Ipv4, 200));
    high.wait_for_state(high_id, State::Active);
    low.wait_for_state(nth(0), State::Backup);
}

#[test]
fn after_a_successor_that_failed_another_goes_on_from_the_state_alone() {
    let (_lan, [r1, r2]) = lan_of::<2>();
    let (one, id) = DriverThread::with_router(r1.namespace(), slow(Family::Ipv4, 100));
    one.wait_for_state(id, State::Active);
    let (two, two_id) = DriverThread::with_router(r2.namespace(), slow(Family::Ipv4, 50));
    two.wait_for_state(two_id, State::Backup);
    let (mut state, descriptors) = parts(one.hand_over());
    let without = HandOver::from_parts(&bytes(&state), Vec::new()).unwrap();
    state["state"]["watches"] = json!(["host"]);
    let hand_over = HandOver::from_parts(&bytes(&state), descriptors).unwrap();
    inside(&r1, || Driver::take_over(hand_over).map(drop).unwrap_err());
    assert!(has(&r1, VIP4), "addresses stay");
    let three = DriverThread::take_over(r1.namespace(), without);
    assert_eq!(three.state(nth(0)), State::Active);
    // The router sends and receives.
    two.with(move |driver| {
        let mut config = driver.get(two_id).unwrap().config().fsm;
        config.priority = vrrp_proto::Priority::new(200);
        driver.reconfigure(two_id, config).unwrap();
    });
    three.wait_for_state(nth(0), State::Backup);
    wait_for_address(&r1, VIP4, false);
    // The router advertises before it reports its change.
    wait_for("one change to Active", LIMIT, || {
        (two.count_transitions(State::Active) == 1).then_some(())
    })
    .unwrap();
}

#[test]
fn a_number_of_notifications_that_cannot_be_does_no_harm() {
    let (_lan, [r1]) = lan_of::<1>();
    let (one, id) = DriverThread::with_router(r1.namespace(), router(Family::Ipv4, 100));
    one.wait_for_state(id, State::Active);
    let hand_over = change(one.hand_over(), |it, _| {
        it["state"]["last_sequence"] = u64::MAX.into();
        it["state"]["taken_at"] = json!({"secs": u64::MAX, "nanos": 999_999_999});
    });
    let two = DriverThread::take_over(r1.namespace(), hand_over);
    two.with(|driver| driver.set_fault(nth(0), "overtaken").unwrap());
    two.wait_for_state(nth(0), State::Initialize);
    two.wait_for_event("the fault", |event| {
        matches!(event, DriverEvent::Fault(Fault::Host(_))).then_some(())
    });
}

#[test]
fn a_socket_is_put_together_as_it_was() {
    let (_lan, [r1]) = lan_of::<1>();
    let (index, other) = (r1.index(), 1);
    inside(&r1, || {
        let mut socket = VrrpSocket::open(Family::Ipv6).unwrap();
        socket.join(index).unwrap();
        let groups = || std::fs::read_to_string("/proc/thread-self/net/igmp6").unwrap();
        let joined = |text: &str| {
            let is_meant = |line: &&str| {
                line.contains("eth0") && line.contains("ff020000000000000000000000000012")
            };
            text.lines().filter(is_meant).count()
        };
        assert_eq!(joined(&groups()), 1);
        let parts: SocketParts = socket.into_parts();
        assert_eq!(parts.memberships, [(index, group(Family::Ipv6), 0)]);
        let mut again = VrrpSocket::from_parts(parts).unwrap();
        assert_eq!((again.family(), again.protocol()), (Family::Ipv6, 112));
        again.join(index).unwrap();
        again.leave_unused();
        assert_eq!(joined(&groups()), 1, "it has a user");
        let mut again = VrrpSocket::from_parts(again.into_parts()).unwrap();
        again.join(other).ok();
        again.leave_unused();
        assert_eq!(joined(&groups()), 0, "it has none");
    });
}
