//! Virtual addresses come, stay and go with the state.

use std::time::{Duration, Instant};

use vrrp_fsm::State;
use vrrp_lab::wait_for;
use vrrp_net::{Driver, DriverEvent, Interface, Netlink, RouterConfig};
use vrrp_proto::Family;

use crate::rig::{DriverThread, LIMIT, VIP4, VIP6, fsm, has, lan_of, router, wait_for_address};

fn count(running: &DriverThread, is_meant: impl Fn(&DriverEvent) -> bool) -> usize {
    running
        .log()
        .iter()
        .filter(|notification| is_meant(&notification.event))
        .count()
}

#[test]
fn an_address_that_somebody_removes_is_put_back_and_announced() {
    let (lan, [r1]) = lan_of::<1>();
    let (running, id) = DriverThread::with_router(r1.namespace(), router(Family::Ipv4, 100));
    running.wait_for_state(id, State::Active);
    wait_for_address(&r1, VIP4, true);
    let capture = lan.capture().unwrap();
    let removed = Instant::now();
    r1.remove_address(VIP4).unwrap();
    running.wait_for_event("the loss", |event| {
        matches!(event, DriverEvent::AddressLost(address) if address.to_string() == VIP4)
            .then_some(())
    });
    running.wait_for_event("the repair", |event| {
        matches!(event, DriverEvent::AddressRestored(address) if address.to_string() == VIP4)
            .then_some(())
    });
    assert!(has(&r1, VIP4));
    capture
        .wait_for("a gratuitous ARP", LIMIT, |frame| {
            frame.at >= removed && frame.bytes.get(12..14) == Some(&[0x08, 0x06])
        })
        .unwrap();
    assert_eq!(running.state(id), State::Active, "no new election");
    assert_eq!(running.count_transitions(State::Backup), 1);

    // The second time it takes a second.
    let again = Instant::now();
    r1.remove_address(VIP4).unwrap();
    wait_for("the second loss", LIMIT, || {
        (count(&running, |event| {
            matches!(event, DriverEvent::AddressLost(_))
        }) == 2)
            .then_some(())
    })
    .unwrap();
    wait_for_address(&r1, VIP4, true);
    let pause = again.elapsed();
    assert!(removed.elapsed() >= Duration::from_secs(1), "{pause:?}");
}

#[test]
fn an_address_that_the_router_itself_gives_up_is_not_put_back() {
    let (_lan, hosts) = lan_of::<2>();
    let (low, low_id) = DriverThread::with_router(hosts[0].namespace(), router(Family::Ipv4, 100));
    low.wait_for_state(low_id, State::Active);
    for _ in 0..2 {
        let (high, high_id) =
            DriverThread::with_router(hosts[1].namespace(), router(Family::Ipv4, 200));
        high.wait_for_state(high_id, State::Active);
        low.wait_for_state(low_id, State::Backup);
        wait_for_address(&hosts[0], VIP4, false);
        high.stop();
        low.wait_for_state(low_id, State::Active);
        wait_for_address(&hosts[0], VIP4, true);
    }
    let log = low.stop();
    let complaint = log.iter().find(|notification| {
        matches!(
            notification.event,
            DriverEvent::AddressLost(_)
                | DriverEvent::AddressRestored(_)
                | DriverEvent::AddressFailed { .. }
                | DriverEvent::LeftOverRemoved(_)
        )
    });
    assert!(complaint.is_none(), "{complaint:?}");
}

#[test]
fn an_address_that_a_crash_left_over_is_removed_at_the_start() {
    let (_lan, [r1, r2]) = lan_of::<2>();
    let (high, high_id) = DriverThread::with_router(r2.namespace(), router(Family::Ipv4, 200));
    high.wait_for_state(high_id, State::Active);
    high.kill();
    assert!(has(&r2, VIP4), "a crash leaves it");

    let (other, other_id) = DriverThread::with_router(r1.namespace(), router(Family::Ipv4, 100));
    other.wait_for_state(other_id, State::Active);
    let (again, again_id) = DriverThread::with_router(r2.namespace(), router(Family::Ipv4, 50));
    again.wait_for_event("the left-over", |event| {
        matches!(event, DriverEvent::LeftOverRemoved(address) if address.to_string() == VIP4)
            .then_some(())
    });
    assert!(!has(&r2, VIP4));
    assert_eq!(again.state(again_id), State::Backup);
}

#[test]
fn an_address_that_a_crash_left_with_another_prefix_length_is_removed_at_the_start() {
    for (family, left, now) in [
        (Family::Ipv4, "192.0.2.254/24", "192.0.2.254/32"),
        (Family::Ipv6, "2001:db8::254/64", "2001:db8::254/128"),
    ] {
        let (_lan, [r1, r2]) = lan_of::<2>();
        let with = |priority, address: &str| {
            let mut config = router(family, priority);
            config.addresses.pop();
            config.addresses.push(address.parse().unwrap());
            config
        };
        let (crashed, id) = DriverThread::with_router(r2.namespace(), with(200, left));
        crashed.wait_for_state(id, State::Active);
        wait_for_address(&r2, left, true);
        crashed.kill();
        let (other, other_id) = DriverThread::with_router(r1.namespace(), with(100, now));
        other.wait_for_state(other_id, State::Active);
        let (again, again_id) = DriverThread::with_router(r2.namespace(), with(50, now));
        again.wait_for_event("the left-over", |event| {
            matches!(event, DriverEvent::LeftOverRemoved(address) if address.to_string() == left)
                .then_some(())
        });
        assert!(!has(&r2, left));
        assert_eq!(again.state(again_id), State::Backup);
        // The address is there once at the end.
        other.stop();
        again.wait_for_state(again_id, State::Active);
        wait_for_address(&r2, now, true);
        assert!(!has(&r2, left));
    }
}

#[test]
fn a_sweep_removes_marked_addresses_and_no_others() {
    let (_lan, [r1, r2]) = lan_of::<2>();
    r1.add_address("192.0.2.77/32").unwrap();
    let (running, id) = DriverThread::with_router(r1.namespace(), router(Family::Ipv4, 100));
    running.wait_for_state(id, State::Active);
    wait_for_address(&r1, VIP4, true);

    // Another instance comes and crashes: a driver that starts later would remove its left-overs.
    let mut crashed = router(Family::Ipv4, 100);
    crashed.fsm.vrid = crate::rig::vrid(9);
    crashed.addresses = vec!["192.0.2.99/32".parse().unwrap()];
    crashed.excluded = vec!["2001:db8::99/128".parse().unwrap()];
    let (other, other_id) = DriverThread::with_router(r1.namespace(), crashed);
    other.wait_for_state(other_id, State::Active);
    // The kernel reports an IPv6 address some time after it is there.
    let index = r1.index();
    let is_known = move |driver: &mut Driver| {
        let interface = driver.interfaces().get(index)?;
        interface.has("2001:db8::99".parse().unwrap()).then_some(())
    };
    wait_for("the report", LIMIT, || running.with(is_known)).unwrap();
    other.kill();
    assert!(has(&r1, VIP4));
    let mut removed: Vec<_> = running
        .with(|driver| driver.sweep().unwrap())
        .into_iter()
        .map(|(interface, address)| (interface, address.to_string()))
        .collect();
    removed.sort();
    let expected = ["192.0.2.99/32", "2001:db8::99/128"];
    assert_eq!(
        removed,
        expected.map(|address| (r1.index(), address.to_owned()))
    );
    for (address, stays) in [
        ("192.0.2.1/24", true),
        ("192.0.2.77/32", true),
        (VIP4, true),
        ("192.0.2.99/32", false),
        ("2001:db8::99/128", false),
    ] {
        assert_eq!(has(&r1, address), stays, "{address}");
    }
    drop(r2);
}

#[test]
fn the_owner_s_own_address_stays_when_its_router_stops() {
    let (_lan, [r1]) = lan_of::<1>();
    let mut config = router(Family::Ipv4, 255);
    config.addresses = vec!["192.0.2.1/24".parse().unwrap()];
    let (running, id) = DriverThread::with_router(r1.namespace(), config);
    running.wait_for_state(id, State::Active);
    running.stop();
    assert!(has(&r1, "192.0.2.1/24"));
}

#[test]
fn excluded_addresses_of_both_families_come_and_go_with_the_others() {
    let (lan, [r1]) = lan_of::<1>();
    let capture = lan.capture().unwrap();
    let mut config = router(Family::Ipv4, 100);
    config.excluded = vec![VIP6.parse().unwrap(), "198.51.100.7/32".parse().unwrap()];
    let (running, id) = DriverThread::with_router(r1.namespace(), config);
    running.wait_for_state(id, State::Active);
    for address in [VIP4, VIP6, "198.51.100.7/32"] {
        wait_for_address(&r1, address, true);
    }
    let (_, seen) =
        crate::rig::wait_for_advertisement(&capture, "an advertisement", Instant::now(), |_| true);
    assert_eq!(seen.message[3], 1, "only one is listed");
    running.stop();
    for address in [VIP4, VIP6, "198.51.100.7/32"] {
        assert!(!has(&r1, address), "{address}");
    }
}

#[test]
fn a_refused_address_is_reported_and_the_others_are_there() {
    let (_lan, [r1]) = lan_of::<1>();
    r1.namespace()
        .set_sysctl("ipv6.conf.eth0.disable_ipv6", "1")
        .unwrap();
    let mut config = RouterConfig::new("eth0", fsm(Family::Ipv4, 100), vec![VIP4.parse().unwrap()]);
    config.excluded = vec![VIP6.parse().unwrap()];
    let (running, _) = DriverThread::with_router(r1.namespace(), config);
    let text = running.wait_for_event("the refusal", |event| match event {
        DriverEvent::AddressFailed { error, .. } => Some(error.to_string()),
        _ => None,
    });
    assert!(
        text.starts_with("add 2001:db8::254/128 to ") && text.contains("IPv6 is disabled there"),
        "{text}"
    );
    wait_for_address(&r1, VIP4, true);
    // The driver tries again, and succeeds once the kernel allows it.
    r1.namespace()
        .set_sysctl("ipv6.conf.eth0.disable_ipv6", "0")
        .unwrap();
    wait_for_address(&r1, VIP6, true);
}

#[test]
fn virtual_addresses_are_marked_usable_at_once_and_never_preferred() {
    let (_lan, [r1]) = lan_of::<1>();
    let (running, id) = DriverThread::with_router(r1.namespace(), router(Family::Ipv6, 100));
    running.wait_for_state(id, State::Active);
    wait_for_address(&r1, VIP6, true);
    let interfaces = r1
        .namespace()
        .run(|| Netlink::open().unwrap().interfaces().unwrap());
    let eth0: &Interface = interfaces.named("eth0").unwrap();
    let address = eth0
        .addresses
        .iter()
        .find(|own| format!("{}/{}", own.address, own.prefix_len) == VIP6)
        .unwrap();
    assert_eq!((address.protocol, address.usable), (112, true));
    // Address, index, prefix length, scope, flags, name: the flags are NODAD, DEPRECATED and
    // PERMANENT.
    let table = r1
        .namespace()
        .run(|| std::fs::read_to_string("/proc/thread-self/net/if_inet6").unwrap());
    let line = table
        .lines()
        .find(|line| line.starts_with("20010db8000000000000000000000254"))
        .unwrap();
    assert_eq!(line.split_whitespace().nth(4), Some("a2"), "{line}");
}
