//! Changes while the routers run, without another election.

use std::time::Instant;

use vrrp_fsm::{
    State,
    track::{Kind, Object, TrackRef},
};
use vrrp_lab::wait_for;
use vrrp_net::{
    AnnouncedAddress, Driver, DriverEvent, Error, Fault, RouterConfig, RouterId, Transport, Watch,
};
use vrrp_proto::{Family, Interval, Peer, Priority};

use serde_json::json;

use crate::rig::{
    DriverThread, LIMIT, VIP4, fsm, has, in_time, ip, lan_of, parts, router, unicast, vrid,
    wait_for_address, wait_for_advertisement,
};

const SECOND: &str = "192.0.2.253/32";

fn pair(
    hosts: &[vrrp_lab::Host; 2],
    low: RouterConfig,
    high: RouterConfig,
) -> ((DriverThread, RouterId), (DriverThread, RouterId)) {
    // The Active starts first: a Backup that starts before it may have to take over.
    let high = DriverThread::with_router(hosts[1].namespace(), high);
    high.0.wait_for_state(high.1, State::Active);
    let low = DriverThread::with_router(hosts[0].namespace(), low);
    low.0.wait_until_it_received(low.1);
    (low, high)
}

/// Checks that neither router has changed its state.
fn nothing_moved(low: &DriverThread, high: &DriverThread) {
    assert_eq!(low.count_transitions(State::Active), 0);
    assert_eq!(high.count_transitions(State::Active), 1);
    assert_eq!(high.count_transitions(State::Backup), 1, "at the start");
}

#[test]
fn amb_21_addresses_change_without_an_election() {
    in_time(|| {
        let (lan, hosts) = lan_of::<2>();
        let ((low, low_id), (high, high_id)) =
            pair(&hosts, router(Family::Ipv4, 100), router(Family::Ipv4, 200));
        let capture = lan.capture().unwrap();
        let added = Instant::now();
        for (running, id) in [(&low, low_id), (&high, high_id)] {
            running.with(move |driver| driver.add_address(id, SECOND.parse().unwrap()).unwrap());
        }
        wait_for_address(&hosts[1], SECOND, true);
        wait_for_advertisement(&capture, "both addresses", added, |seen| {
            seen.priority() == 200 && seen.message[3] == 2
        });
        assert!(!has(&hosts[0], SECOND), "not on the Backup");

        let removed = Instant::now();
        high.with(move |driver| driver.remove_address(high_id, ip("192.0.2.254")).unwrap());
        wait_for_address(&hosts[1], VIP4, false);
        wait_for_advertisement(&capture, "the other address", removed, |seen| {
            seen.priority() == 200
                && seen.message[3] == 1
                && seen.message.ends_with(&[192, 0, 2, 253])
        });
        assert!(has(&hosts[1], SECOND));
        let last = high.with(move |driver| driver.remove_address(high_id, ip("192.0.2.253")));
        assert!(matches!(last, Err(Error::Advertisement(_))), "{last:?}");
        nothing_moved(&low, &high);
        assert!(has(&hosts[1], SECOND));
    });
}

#[test]
fn amb_21_all_addresses_are_replaced_at_once() {
    in_time(|| {
        let addresses = |subnet: u8| -> Vec<_> {
            let all = (1..=200).map(|host| format!("198.51.{subnet}.{host}/32"));
            all.map(|it| it.parse().unwrap()).collect()
        };
        let (_lan, hosts) = lan_of::<1>();
        let mut config = router(Family::Ipv4, 200);
        config.addresses = addresses(1);
        let (running, id) = DriverThread::with_router(hosts[0].namespace(), config);
        running.wait_for_state(id, State::Active);
        wait_for_address(&hosts[0], "198.51.1.200/32", true);
        let kept = addresses(1)[9].clone();
        let mut new = addresses(2);
        new[9] = kept.clone();
        running.with(move |driver| driver.set_addresses(id, new).unwrap());
        for (address, is_there) in [
            ("198.51.1.1/32", false),
            ("198.51.1.10/32", true),
            ("198.51.1.200/32", false),
            ("198.51.2.1/32", true),
            ("198.51.2.200/32", true),
        ] {
            wait_for_address(&hosts[0], address, is_there);
        }

        // A list that is refused changes nothing.
        let other_prefix = kept.clone().with_prefix_len(24).unwrap();
        let twice = vec![kept.clone(), kept.clone()];
        let too_many = addresses(2).into_iter().chain(addresses(3)).collect();
        for list in [vec![], vec![other_prefix], twice, too_many] {
            let count = list.len();
            let result = running.with(move |driver| driver.set_addresses(id, list));
            assert!(result.is_err(), "{count} addresses");
        }
        let left = running.with(move |driver| driver.get(id).unwrap().config().addresses.len());
        assert_eq!(left, 200);
        assert_eq!(running.count_transitions(State::Active), 1);
        assert_eq!(running.count_transitions(State::Initialize), 0);
    });
}

#[test]
fn amb_21_the_interval_changes_without_an_election() {
    in_time(|| {
        let (lan, hosts) = lan_of::<2>();
        let ((low, low_id), (high, high_id)) =
            pair(&hosts, router(Family::Ipv4, 100), router(Family::Ipv4, 200));
        let capture = lan.capture().unwrap();
        let mut config = fsm(Family::Ipv4, 200);
        config.interval = Interval::centis(20).unwrap();
        let changed = Instant::now();
        high.with(move |driver| driver.reconfigure(high_id, config).unwrap());
        wait_for_advertisement(&capture, "the new interval", changed, |seen| {
            seen.message[4..6] == [0, 20]
        });
        wait_for("the Backup learning it", LIMIT, || {
            low.with(move |driver| driver.get(low_id).unwrap().machine().active_interval())
                .eq(&Interval::centis(20).unwrap())
                .then_some(())
        })
        .unwrap();
        let interval = low.wait_for_event("the note of it", |event| match event {
            DriverEvent::IntervalDiffers { interval, .. } => Some(*interval),
            _ => None,
        });
        assert_eq!(interval.as_centis(), 20);
        nothing_moved(&low, &high);
    });
}

#[test]
fn another_priority_decides_who_is_active() {
    in_time(|| {
        let (_lan, hosts) = lan_of::<2>();
        let ((low, low_id), (high, high_id)) =
            pair(&hosts, router(Family::Ipv4, 100), router(Family::Ipv4, 200));
        high.with(move |driver| {
            driver.reconfigure(high_id, fsm(Family::Ipv4, 50)).unwrap();
        });
        low.wait_for_state(low_id, State::Active);
        high.wait_for_state(high_id, State::Backup);
        wait_for_address(&hosts[0], VIP4, true);
        high.with(move |driver| {
            driver.reconfigure(high_id, fsm(Family::Ipv4, 200)).unwrap();
        });
        high.wait_for_state(high_id, State::Active);
        low.wait_for_state(low_id, State::Backup);
    });
}

#[test]
fn peers_change_without_an_election() {
    in_time(|| {
        let (_lan, hosts) = lan_of::<3>();
        let [r1, r2, r3] = &hosts;
        let (one, one_id) = DriverThread::with_router(
            r1.namespace(),
            unicast(router(Family::Ipv4, 200), &["192.0.2.2"]),
        );
        let (two, two_id) = DriverThread::with_router(
            r2.namespace(),
            unicast(router(Family::Ipv4, 100), &["192.0.2.1"]),
        );
        one.wait_for_state(one_id, State::Active);
        two.wait_for_state(two_id, State::Backup);
        one.with(move |driver| {
            let peers = ["192.0.2.2", "192.0.2.3"].map(|address| Peer::new(ip(address)));
            driver.set_peers(one_id, peers.to_vec()).unwrap();
        });
        let (three, three_id) = DriverThread::with_router(
            r3.namespace(),
            unicast(router(Family::Ipv4, 50), &["192.0.2.1"]),
        );
        wait_for("the third router hearing the Active", LIMIT, || {
            three.with(move |driver| {
                let view = driver.get(three_id).unwrap();
                (view.machine().counters().advertisements_received > 0).then_some(())
            })
        })
        .unwrap();
        assert_eq!(three.state(three_id), State::Backup);
        assert_eq!(one.count_transitions(State::Active), 1);
        assert_eq!(two.count_transitions(State::Active), 0);
        let refused = one.with(move |driver| driver.set_peers(one_id, Vec::new()));
        assert!(
            matches!(refused, Err(Error::Invalid { field: "peers", .. })),
            "{refused:?}"
        );
    });
}

#[test]
fn a_host_s_fault_ends_a_router_s_part_until_all_causes_are_gone() {
    let (_lan, hosts) = lan_of::<2>();
    let ((low, low_id), (high, high_id)) =
        pair(&hosts, router(Family::Ipv4, 100), router(Family::Ipv4, 200));
    let set = |cause: &'static str, missing| {
        high.with(move |driver| {
            if missing {
                driver.set_fault(high_id, cause).unwrap();
            } else {
                driver.clear_fault(high_id, cause).unwrap();
            }
        });
    };
    set("no upstream", true);
    // The same cause twice, and another one: causes are a set.
    set("no upstream", true);
    set("disk full", true);
    high.wait_for_state(high_id, State::Initialize);
    low.wait_for_state(low_id, State::Active);
    wait_for_address(&hosts[1], VIP4, false);
    let faults = high.with(move |driver| {
        let view = driver.get(high_id).unwrap();
        view.faults().cloned().collect::<Vec<_>>()
    });
    assert_eq!(
        faults,
        ["disk full", "no upstream"].map(|cause| Fault::Host(cause.into()))
    );

    set("no upstream", false);
    assert_eq!(high.state(high_id), State::Initialize);
    set("disk full", false);
    high.wait_for_state(high_id, State::Active);
    low.wait_for_state(low_id, State::Backup);
}

#[test]
fn a_router_that_is_removed_resigns_and_can_be_added_again() {
    let (lan, hosts) = lan_of::<2>();
    let ((low, low_id), (high, high_id)) =
        pair(&hosts, router(Family::Ipv4, 100), router(Family::Ipv4, 200));
    let capture = lan.capture().unwrap();
    let removed = Instant::now();
    high.with(move |driver| driver.remove(high_id).unwrap());
    assert!(!has(&hosts[1], VIP4), "gone when it returns");
    wait_for_advertisement(&capture, "the resignation", removed, |seen| {
        seen.priority() == 0
    });
    low.wait_for_state(low_id, State::Active);
    let again = high.with(move |driver| {
        assert!(driver.get(high_id).is_none());
        assert!(matches!(
            driver.remove(high_id),
            Err(Error::NoRouter { .. })
        ));
        driver.add(router(Family::Ipv4, 200)).unwrap()
    });
    assert_ne!(again, high_id);
    high.wait_for_state(again, State::Active);
    let log = high.stop();
    let sequences: Vec<u64> = log
        .iter()
        .map(|notification| notification.sequence)
        .collect();
    let expected: Vec<u64> = (1..).take(sequences.len()).collect();
    assert_eq!(sequences, expected, "in order, and none is lost");
}

#[test]
fn nothing_is_left_of_interfaces_whose_routers_were_removed() {
    let (_lan, [r1]) = lan_of::<1>();
    let (running, id) = DriverThread::with_router(r1.namespace(), router(Family::Ipv4, 100));
    running.with(|driver| {
        for number in 0..50 {
            let mut config = router(Family::Ipv4, 100);
            config.interface = format!("veth{number}");
            let id = driver.add(config).unwrap();
            driver.remove(id).unwrap();
        }
    });
    // A refused configuration has no effect.
    let refused = running.with(|driver| {
        let gone = driver
            .add_object(Object::new("gone", Kind::Interface), Watch::Host)
            .unwrap();
        driver.remove_object(gone).unwrap();
        let mut config = router(Family::Ipv4, 100);
        config.interface = "veth50".into();
        config.tracking = vec![TrackRef::of(gone)];
        driver.add(config)
    });
    assert!(matches!(refused, Err(Error::Fleet(_))), "{refused:?}");
    // Another router on the same interface keeps running.
    let second = running.with(|driver| {
        let mut config = router(Family::Ipv4, 100);
        config.fsm.vrid = vrid(52);
        config.addresses = vec![SECOND.parse().unwrap()];
        driver.add(config).unwrap()
    });
    running.with(move |driver| driver.remove(second).unwrap());
    running.wait_for_state(id, State::Active);
    let (state, _) = parts(running.hand_over());
    assert_eq!(state["state"]["interfaces"], json!(["eth0", ""]));
    assert_eq!(state["state"]["routers"].as_array().unwrap().len(), 1);
}

#[test]
fn o_16_the_vrid_of_a_router_that_was_refused_is_not_let_through() {
    let (lan, [r1, r2]) = lan_of::<2>();
    let (one, id) = DriverThread::with_router(r1.namespace(), router(Family::Ipv4, 100));
    one.wait_for_state(id, State::Active);
    let of_52 = |tracking| {
        let mut config = router(Family::Ipv4, 100);
        config.fsm.vrid = vrid(52);
        config.addresses = vec![SECOND.parse().unwrap()];
        config.tracking = tracking;
        config
    };
    one.with(move |driver| {
        let gone = driver
            .add_object(Object::new("gone", Kind::Interface), Watch::Host)
            .unwrap();
        driver.remove_object(gone).unwrap();
        driver.add(of_52(vec![TrackRef::of(gone)])).unwrap_err();
    });
    let capture = lan.capture().unwrap();
    let (two, two_id) = DriverThread::with_router(r2.namespace(), of_52(Vec::new()));
    two.wait_for_state(two_id, State::Active);
    wait_for_advertisement(&capture, "another's", Instant::now(), |it| it.vrid() == 52);
    two.stop();
    assert_eq!(one.with(|driver| driver.counters().vrid_errors), 0);
}

#[test]
fn a_stop_from_another_thread_ends_the_loop() {
    let (_lan, [host]) = lan_of::<1>();
    let (handle, handles) = std::sync::mpsc::channel();
    let log = std::thread::scope(|scope| {
        let running = scope.spawn(|| {
            host.namespace().run(|| {
                let mut driver = Driver::new().unwrap();
                driver.add(router(Family::Ipv4, 255)).unwrap();
                handle.send(driver.handle()).unwrap();
                let mut log = Vec::new();
                driver.run(|notification| log.push(notification)).unwrap();
                log
            })
        });
        let stop = handles.recv_timeout(LIMIT).unwrap();
        wait_for_address(&host, VIP4, true);
        stop.stop();
        running.join().unwrap()
    });
    assert!(!has(&host, VIP4));
    let last = log.last().map(|notification| &notification.event);
    assert!(
        matches!(last, Some(DriverEvent::StateChanged(change)) if change.to == State::Initialize),
        "{last:?}"
    );
}

#[test]
fn a_configuration_that_is_not_usable_is_refused_with_the_field() {
    let (_lan, [host]) = lan_of::<1>();
    host.namespace().run(|| {
        let mut driver = Driver::new().unwrap();
        let mut refuse = |config: RouterConfig, text: &str| {
            assert_eq!(config.validate().unwrap_err().to_string(), text);
            assert_eq!(driver.add(config).unwrap_err().to_string(), text);
        };
        let with = |change: &dyn Fn(&mut RouterConfig)| {
            let mut config = router(Family::Ipv4, 100);
            change(&mut config);
            config
        };
        for name in ["", "a23456789012345x", "eth0/1"] {
            refuse(
                with(&|config| config.interface = name.into()),
                &format!(
                    "interface: {name:?} is not the name of a link: 1 to 15 octets without slash, colon and space"
                ),
            );
        }
        for address in ["0.0.0.0", "224.0.0.18", "255.255.255.255"] {
            let own = || vec![address.parse().unwrap()];
            for field in ["addresses", "excluded", "source", "peers"] {
                let config = match field {
                    "addresses" => with(&|config| config.addresses = own()),
                    "excluded" => with(&|config| config.excluded = own()),
                    "source" => with(&|config| config.source = Some(ip(address))),
                    _ => unicast(router(Family::Ipv4, 100), &[address]),
                };
                let field = field.replace("excluded", "addresses");
                refuse(config, &format!("{field}: {address} is not a unicast address"));
            }
        }
        refuse(
            with(&|config| config.fsm.priority = Priority::RESIGN),
            "priority 0 is not in 1..=255",
        );
        refuse(
            with(&|config| config.addresses.push("2001:db8::1".parse().unwrap())),
            "addresses: 2001:db8::1 is not of the router's family, IPv4",
        );
        refuse(
            with(&|config| config.excluded.push(VIP4.parse().unwrap())),
            "addresses: 192.0.2.254 is listed twice",
        );
        refuse(
            with(&|config| config.source = Some(ip("2001:db8::1"))),
            "source: 2001:db8::1 is not of the router's family, IPv4",
        );
        refuse(
            unicast(router(Family::Ipv4, 100), &["192.0.2.2", "192.0.2.2"]),
            "peers: 192.0.2.2 is listed twice",
        );
        refuse(
            unicast(router(Family::Ipv4, 100), &[]),
            "peers: no peers given: unicast needs at least one (use Transport::Multicast otherwise)",
        );
        let mut bounds = unicast(router(Family::Ipv4, 100), &["192.0.2.2"]);
        bounds.transport = Transport::Unicast {
            peers: vec![Peer::new(ip("192.0.2.2")).with_max_ttl(254)],
        };
        refuse(
            bounds,
            "peers: max_ttl 254 of 192.0.2.2 is not in 255..=255, from min_ttl",
        );
        refuse(
            with(&|config| config.unicast_ttl = 0),
            "unicast_ttl: 0 is not in 1..=255",
        );
        let elsewhere = AnnouncedAddress::new("eth1", ip("198.51.100.7"));
        let mut often = elsewhere.clone();
        often.refresh = Some(std::time::Duration::ZERO);
        refuse(
            with(&|config| config.announced = vec![often.clone()]),
            "announced: refresh 0ns of 198.51.100.7 is not in 1s..=86400s",
        );
        refuse(
            with(&|config| config.announced = vec![elsewhere.clone(), elsewhere.clone()]),
            "announced: 198.51.100.7 is listed twice",
        );
        let mut no_link_local = router(Family::Ipv6, 100);
        no_link_local.addresses.reverse();
        let early = no_link_local.validate().err();
        for refused in [early, driver.add(no_link_local).err()] {
            assert!(matches!(refused, Some(Error::Advertisement(_))));
        }

        router(Family::Ipv4, 100).validate().unwrap();
        driver.add(router(Family::Ipv4, 100)).unwrap();
        let twice = driver.add(router(Family::Ipv4, 200)).unwrap_err();
        assert_eq!(
            twice.to_string(),
            "virtual router 51 over IPv4 is on interface eth0 already"
        );
        let mut other = router(Family::Ipv4, 200);
        other.fsm.vrid = vrid(52);
        driver.add(other).unwrap();
        driver.add(router(Family::Ipv6, 200)).unwrap();
        assert_eq!(driver.routers().count(), 3);
    });
}
