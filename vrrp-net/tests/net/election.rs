//! Routers of one network elect an Active, and replace it.

use std::{
    thread,
    time::{Duration, Instant},
};

use vrrp_fsm::State;
use vrrp_lab::{Host, wait_for};
use vrrp_net::{DriverEvent, Notification, RouterConfig, RouterId};
use vrrp_proto::{Family, Priority};

use crate::rig::{
    DriverThread, LIMIT, VIP4, VIP6, VIP6_LINK_LOCAL, advertisements, fsm, has, in_time, ip,
    lan_of, router, router_v2, unicast, vrid, wait_for_address, wait_for_advertisement,
};

/// The time that a test allows on top of the protocol's own time and the time for which the
/// driver's thread waited for a processor.
const SLACK: Duration = Duration::from_millis(250);

/// Starts a router on each host: first the last one, which becomes Active, then the others, which
/// accept its advertisements. A Backup that starts before the Active may have to take over.
fn elect<const N: usize>(
    hosts: &[Host; N],
    configs: [RouterConfig; N],
) -> [(DriverThread, RouterId); N] {
    let highest = configs[N - 1].fsm.priority;
    let mut running: Vec<(DriverThread, RouterId)> = Vec::new();
    for (host, config) in hosts.iter().zip(configs).rev() {
        running.push(DriverThread::with_router(host.namespace(), config));
        let (active, id) = &running[0];
        active.wait_for_state(*id, State::Active);
    }
    running.reverse();
    let Ok(running) = <[_; N]>::try_from(running) else {
        panic!("one router on each host");
    };
    for backup in &running[..N - 1] {
        wait_until_received(backup, highest);
    }
    running
}

/// Waits until a Backup has accepted an advertisement of this priority.
fn wait_until_received((backup, id): &(DriverThread, RouterId), priority: Priority) {
    let id = *id;
    let what = format!("an advertisement of priority {priority} being heard");
    wait_for(&what, LIMIT, || {
        let received = backup.with(move |driver| {
            let machine = driver.get(id).unwrap().machine();
            (machine.state() == State::Backup)
                .then(|| machine.active())
                .flatten()
        });
        received
            .filter(|active| active.priority == priority)
            .map(drop)
    })
    .unwrap();
}

/// Starts three routers, takes the Active away, then the next, and watches the addresses follow.
fn three_routers_take_over_in_turn(configs: [RouterConfig; 3], addresses: &[&str]) {
    let (_lan, hosts) = lan_of::<3>();
    let [low, middle, high] = elect(&hosts, configs);
    let [r1, r2, r3] = &hosts;
    let is_only_on = |host: &Host| {
        for address in addresses {
            for other in [r1, r2, r3] {
                wait_for_address(other, address, other.name() == host.name());
            }
        }
    };
    is_only_on(r3);

    high.0.stop();
    middle.0.wait_for_state(middle.1, State::Active);
    is_only_on(r2);
    wait_until_received(&low, Priority::new(100));

    let down = low
        .0
        .with(move |driver| driver.get(low.1).unwrap().machine().active_down_interval());
    let waited = low.0.processor_wait();
    let killed = middle.0.kill();
    low.0.wait_for_state(low.1, State::Active);
    let took = killed.elapsed();
    let held_up = low.0.processor_wait().saturating_sub(waited);
    assert!(
        took < down + SLACK + held_up,
        "{took:?}, {held_up:?} without a processor"
    );
    for address in addresses {
        wait_for_address(r1, address, true);
    }
    low.0.stop();
    for address in addresses {
        assert!(!has(r1, address), "{address} has stayed");
    }
}

#[test]
fn version_2_by_multicast() {
    in_time(|| {
        three_routers_take_over_in_turn([50, 100, 200].map(router_v2), &[VIP4]);
    });
}

#[test]
fn version_3_over_ipv4_by_multicast() {
    in_time(|| {
        let configs = [50, 100, 200].map(|priority| router(Family::Ipv4, priority));
        three_routers_take_over_in_turn(configs, &[VIP4]);
    });
}

#[test]
fn version_3_over_ipv6_by_multicast() {
    in_time(|| {
        let configs = [50, 100, 200].map(|priority| router(Family::Ipv6, priority));
        three_routers_take_over_in_turn(configs, &[VIP6_LINK_LOCAL, VIP6]);
    });
}

#[test]
fn version_3_over_ipv4_by_unicast() {
    in_time(|| {
        let configs = [
            unicast(router(Family::Ipv4, 50), &["192.0.2.2", "192.0.2.3"]),
            unicast(router(Family::Ipv4, 100), &["192.0.2.1", "192.0.2.3"]),
            unicast(router(Family::Ipv4, 200), &["192.0.2.1", "192.0.2.2"]),
        ];
        three_routers_take_over_in_turn(configs, &[VIP4]);
    });
}

#[test]
fn version_3_over_ipv6_by_unicast() {
    in_time(|| {
        let configs = [
            unicast(router(Family::Ipv6, 50), &["2001:db8::2", "2001:db8::3"]),
            unicast(router(Family::Ipv6, 100), &["2001:db8::1", "2001:db8::3"]),
            unicast(router(Family::Ipv6, 200), &["2001:db8::1", "2001:db8::2"]),
        ];
        three_routers_take_over_in_turn(configs, &[VIP6_LINK_LOCAL, VIP6]);
    });
}

#[test]
fn version_3_over_ipv6_by_unicast_between_link_local_addresses() {
    let (_lan, hosts) = lan_of::<2>();
    let local = hosts.each_ref().map(|host| host.link_local().to_string());
    let configs = [
        unicast(router(Family::Ipv6, 100), &[&local[1]]),
        unicast(router(Family::Ipv6, 200), &[&local[0]]),
    ];
    let [low, high] = elect(&hosts, configs);
    let source = low.0.with(move |driver| {
        driver
            .get(low.1)
            .unwrap()
            .machine()
            .active()
            .unwrap()
            .address
    });
    assert_eq!(source.to_string(), local[1]);
    high.0.stop();
    low.0.wait_for_state(low.1, State::Active);
}

#[test]
fn a_silent_active_is_replaced_after_the_active_down_interval() {
    in_time(|| {
        let (lan, hosts) = lan_of::<2>();
        let capture = lan.capture().unwrap();
        let configs = [100, 200].map(|priority| router(Family::Ipv4, priority));
        let [low, high] = elect(&hosts, configs);
        let waited = low.0.processor_wait();
        let killed = high.0.kill();
        let (taken_over, _) = wait_for_advertisement(&capture, "the takeover", killed, |seen| {
            seen.priority() == 100
        });
        let last = advertisements(&capture)
            .iter()
            .rfind(|(_, seen)| seen.priority() == 200)
            .unwrap()
            .0;
        let held_up = low.0.processor_wait().saturating_sub(waited);
        let silence = taken_over - last;
        // 3 x 10 cs, and 156/256 of 10 cs.
        let down = Duration::from_nanos(360_937_500);
        assert!(
            silence + Duration::from_millis(1) > down && silence < down + SLACK + held_up,
            "{silence:?}, {held_up:?} without a processor"
        );
        low.0.wait_for_state(low.1, State::Active);
        wait_for_address(&hosts[0], VIP4, true);
    });
}

#[test]
fn an_active_that_stops_is_replaced_after_skew_time() {
    in_time(|| {
        let (lan, hosts) = lan_of::<2>();
        let capture = lan.capture().unwrap();
        let configs = [100, 200].map(|priority| router(Family::Ipv4, priority));
        let [low, high] = elect(&hosts, configs);
        let waited = low.0.processor_wait();
        let stopping = Instant::now();
        high.0.stop();
        assert!(
            !has(&hosts[1], VIP4),
            "the addresses go before shutdown returns"
        );
        let (resigned, _) = wait_for_advertisement(&capture, "the resignation", stopping, |seen| {
            seen.priority() == 0
        });
        let (taken_over, _) = wait_for_advertisement(&capture, "the takeover", resigned, |seen| {
            seen.priority() == 100
        });
        let held_up = low.0.processor_wait().saturating_sub(waited);
        let gap = taken_over - resigned;
        // 156/256 of 10 cs.
        let skew = Duration::from_nanos(60_937_500);
        assert!(
            gap + Duration::from_millis(1) > skew && gap < skew + SLACK + held_up,
            "{gap:?}, {held_up:?} without a processor"
        );
        low.0.wait_for_state(low.1, State::Active);
        wait_for_address(&hosts[0], VIP4, true);
    });
}

#[test]
fn two_actives_of_a_network_that_was_split_become_one() {
    in_time(|| {
        let (_lan, hosts) = lan_of::<2>();
        let configs = [100, 200].map(|priority| router(Family::Ipv4, priority));
        let [low, high] = elect(&hosts, configs);
        hosts[1].partition().unwrap();
        low.0.wait_for_state(low.1, State::Active);
        assert_eq!(high.0.state(high.1), State::Active, "no event reported it");
        hosts[1].mend().unwrap();
        low.0.wait_for_state(low.1, State::Backup);
        assert_eq!(high.0.state(high.1), State::Active);
        wait_for_address(&hosts[0], VIP4, false);
        assert!(has(&hosts[1], VIP4));
    });
}

#[test]
fn o_04_an_active_reports_a_second_active_of_lower_priority() {
    in_time(|| {
        let (_lan, hosts) = lan_of::<2>();
        let configs = [100, 200].map(|priority| router(Family::Ipv4, priority));
        let [low, high] = elect(&hosts, configs);
        hosts[1].partition().unwrap();
        low.0.wait_for_state(low.1, State::Active);
        hosts[1].mend().unwrap();
        let rival = high.0.wait_for_event("the rival", |event| match event {
            DriverEvent::RivalDetected {
                source, priority, ..
            } => Some((*source, priority.get())),
            _ => None,
        });
        assert_eq!(rival, (ip("192.0.2.1"), 100));
        low.0.wait_for_state(low.1, State::Backup);
        let is_rival = |notification: &Notification| {
            matches!(notification.event, DriverEvent::RivalDetected { .. })
        };
        assert!(!low.0.log().iter().any(is_rival), "it was the lesser");
    });
}

#[test]
fn two_drivers_share_the_load_of_two_virtual_routers() {
    let (_lan, hosts) = lan_of::<2>();
    let second = |priority| {
        let mut fsm = fsm(Family::Ipv4, priority);
        fsm.vrid = vrid(52);
        RouterConfig::new("eth0", fsm, vec!["192.0.2.253/32".parse().unwrap()])
    };
    let (one, one_51) = DriverThread::with_router(hosts[0].namespace(), router(Family::Ipv4, 200));
    let one_52 = one.with(move |driver| driver.add(second(100)).unwrap());
    let (two, two_51) = DriverThread::with_router(hosts[1].namespace(), router(Family::Ipv4, 100));
    let two_52 = two.with(move |driver| driver.add(second(200)).unwrap());
    one.wait_for_state(one_51, State::Active);
    two.wait_for_state(two_52, State::Active);
    two.wait_for_state(two_51, State::Backup);
    one.wait_for_state(one_52, State::Backup);
    wait_for_address(&hosts[0], VIP4, true);
    wait_for_address(&hosts[1], "192.0.2.253/32", true);

    two.kill();
    one.wait_for_state(one_52, State::Active);
    assert_eq!(one.state(one_51), State::Active);
    wait_for_address(&hosts[0], "192.0.2.253/32", true);
    assert!(has(&hosts[0], VIP4));
}

#[test]
fn a_thread_that_wakes_up_late_reads_waiting_packets_before_it_decides() {
    in_time(|| {
        let (_lan, hosts) = lan_of::<2>();
        let configs = [100, 200].map(|priority| router(Family::Ipv4, priority));
        let [low, high] = elect(&hosts, configs);
        // Three times as long as it takes to give the Active up.
        low.0.with(|_| thread::sleep(Duration::from_millis(1100)));
        let stalled = low.0.with(move |driver| driver.get(low.1).unwrap().state());
        assert_eq!(stalled, State::Backup);
        assert_eq!(low.0.count_transitions(State::Active), 0);
        assert_eq!(high.0.count_transitions(State::Backup), 1, "at the start");
    });
}

#[test]
fn a_preemption_in_good_order_reports_no_rival() {
    let (_lan, hosts) = lan_of::<2>();
    let (low, low_id) = DriverThread::with_router(hosts[0].namespace(), router(Family::Ipv4, 100));
    low.wait_for_state(low_id, State::Active);
    let (high, high_id) =
        DriverThread::with_router(hosts[1].namespace(), router(Family::Ipv4, 200));
    high.wait_for_state(high_id, State::Active);
    low.wait_for_state(low_id, State::Backup);
    // It receives the last advertisement of the router that it preempted.
    wait_for("the last advertisement", LIMIT, || {
        let received = high.with(move |driver| {
            let machine = driver.get(high_id).unwrap().machine();
            machine.counters().advertisements_received
        });
        let sent = low.with(move |driver| {
            let machine = driver.get(low_id).unwrap().machine();
            machine.counters().advertisements_sent
        });
        // Advertisements are sent in both checksum forms. Those that were sent before the Backup
        // listened do not count.
        (received > 0 && received <= sent).then_some(())
    })
    .unwrap();
    let log = high.stop();
    let is_rival = |it: &&Notification| matches!(it.event, DriverEvent::RivalDetected { .. });
    let rivals: Vec<_> = log.iter().filter(is_rival).collect();
    assert!(rivals.is_empty(), "{rivals:?}");
}
