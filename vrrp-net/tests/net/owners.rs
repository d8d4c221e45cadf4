//! The address owner, and routers that become or stop being the owner.

use std::net::IpAddr;

use vrrp_fsm::{Config, State};
use vrrp_lab::{Host, wait_for};
use vrrp_net::{
    Authentication, DriverEvent, Fault, HmacKeys, HmacMode, RouterConfig, RouterId, VirtualMac,
};
use vrrp_proto::{Family, Password, Priority};

use crate::rig::{
    DriverThread, LIMIT, VIP4, fsm, has, iproute2, lan_of, router, unicast, vrid, wait_for_address,
};

fn reconfigure(running: &DriverThread, id: RouterId, priority: u8) {
    running.with(move |driver| {
        let mut config = driver.get(id).unwrap().config().fsm;
        config.priority = Priority::new(priority);
        driver.reconfigure(id, config).unwrap();
    });
}

/// A router over IPv4 with this address.
fn with_address(priority: u8, address: &str) -> RouterConfig {
    RouterConfig::new(
        "eth0",
        fsm(Family::Ipv4, priority),
        vec![address.parse().unwrap()],
    )
}

#[test]
fn s_31_a_former_owner_has_its_addresses_only_while_it_is_active() {
    // The form in which the router lists the address: in the subnet of the address to advertise
    // from, or alone.
    for form in ["192.0.2.1/24", "192.0.2.1/32"] {
        let (_lan, [r1, r2]) = lan_of::<2>();
        iproute2(&r1, &["address", "add", "198.51.100.1/24", "dev", "eth0"]);
        let (one, one_id) = DriverThread::with_router(r1.namespace(), with_address(255, form));
        one.wait_for_state(one_id, State::Active);
        let (two, two_id) = DriverThread::with_router(r2.namespace(), with_address(200, form));
        two.wait_for_state(two_id, State::Backup);

        reconfigure(&one, one_id, 100);
        two.wait_for_state(two_id, State::Active);
        one.wait_for_state(one_id, State::Backup);
        for own in ["192.0.2.1/24", "192.0.2.1/32"] {
            wait_for_address(&r1, own, false);
        }
        assert!(has(&r1, "198.51.100.1/24"), "other addresses stay");

        two.stop();
        one.wait_for_state(one_id, State::Active);
        wait_for_address(&r1, form, true);
        one.stop();
        assert!(!has(&r1, form));
    }
}

#[test]
fn a_former_owner_needs_another_address_to_advertise_from() {
    let (_lan, [r1]) = lan_of::<1>();
    let (one, id) = DriverThread::with_router(r1.namespace(), with_address(255, "192.0.2.1/32"));
    one.wait_for_state(id, State::Active);
    reconfigure(&one, id, 254);
    one.wait_for_state(id, State::Initialize);
    wait_for_address(&r1, "192.0.2.1/24", false);
    let faults: Vec<_> = one.with(move |driver| {
        let router = driver.get(id).unwrap();
        router.faults().cloned().collect()
    });
    assert_eq!(faults, [Fault::NoPrimaryAddress]);
    r1.add_address("192.0.2.11/24").unwrap();
    one.wait_for_state(id, State::Active);
    wait_for_address(&r1, "192.0.2.1/32", true);
}

#[test]
fn a_router_that_becomes_the_owner_leaves_the_addresses_of_the_host() {
    let (_lan, [r1, r2]) = lan_of::<2>();
    let (other, other_id) = DriverThread::with_router(r2.namespace(), router(Family::Ipv4, 200));
    other.wait_for_state(other_id, State::Active);
    let (one, id) = DriverThread::with_router(r1.namespace(), router(Family::Ipv4, 100));
    one.wait_for_state(id, State::Backup);
    reconfigure(&one, id, 255);
    one.wait_for_state(id, State::Active);
    other.wait_for_state(other_id, State::Backup);
    // The router adds the address that the host does not have.
    wait_for_address(&r1, VIP4, true);

    reconfigure(&one, id, 250);
    r1.add_address("192.0.2.254/24").unwrap();
    reconfigure(&one, id, 255);
    wait_for_address(&r1, VIP4, false);
    assert_eq!(one.state(id), State::Active);
    one.stop();
    assert!(has(&r1, "192.0.2.254/24"), "it is the host's");
    assert!(!has(&r1, VIP4));
}

#[test]
fn an_address_that_the_host_gets_right_after_the_router_stops_being_the_owner_stays() {
    let (_lan, [r1]) = lan_of::<1>();
    let (one, id) = DriverThread::with_router(r1.namespace(), router(Family::Ipv4, 255));
    one.wait_for_state(id, State::Active);
    wait_for_address(&r1, VIP4, true);
    let own = "192.0.2.254/24";
    let mut add = r1.namespace().command("ip");
    add.args(["address", "add", own, "dev", "eth0"]);
    // Both in one turn: the driver learns of the address before it does the work of the change.
    one.with(move |driver| {
        let mut config = driver.get(id).unwrap().config().fsm;
        config.priority = Priority::new(200);
        driver.reconfigure(id, config).unwrap();
        assert!(add.status().unwrap().success());
    });
    // Each call is a turn, which does a part of the waiting work.
    for _ in 0..20 {
        one.with(|_| ());
    }
    let log = one.stop();
    assert!(has(&r1, own), "{log:#?}");
}

#[test]
fn an_owner_s_own_address_that_is_added_to_its_router_stays_when_that_stops() {
    let (_lan, [r1]) = lan_of::<1>();
    r1.add_address("192.0.2.77/24").unwrap();
    let (one, id) = DriverThread::with_router(r1.namespace(), with_address(255, "192.0.2.1/24"));
    one.wait_for_state(id, State::Active);
    one.with(move |driver| {
        let address = "192.0.2.77/24".parse().unwrap();
        driver.add_address(id, address).unwrap();
    });
    let log = one.stop();
    assert!(has(&r1, "192.0.2.77/24"), "{log:#?}");
}

#[test]
fn m_03_a_former_owner_has_its_addresses_on_the_macvlan() {
    let (_lan, [r1]) = lan_of::<1>();
    iproute2(&r1, &["address", "add", "198.51.100.1/24", "dev", "eth0"]);
    let mut config = with_address(255, "192.0.2.1/24");
    config.virtual_mac = Some(VirtualMac {
        name: Some("vip".into()),
        ..VirtualMac::default()
    });
    let (one, id) = DriverThread::with_router(r1.namespace(), config);
    one.wait_for_state(id, State::Active);
    let holders = || {
        let shown = iproute2(&r1, &["-o", "-4", "address", "show", "to", "192.0.2.1"]);
        let name = |line: &str| {
            let name = line.split_whitespace().nth(1).unwrap();
            name.to_owned()
        };
        shown.lines().map(name).collect::<Vec<_>>()
    };
    assert_eq!(holders(), ["eth0"]);
    reconfigure(&one, id, 100);
    wait_for("the address on the macvlan alone", LIMIT, || {
        (holders() == ["vip"]).then_some(())
    })
    .unwrap();
    assert_eq!(one.state(id), State::Active);

    // The host gets it back.
    r1.add_address("192.0.2.1/24").unwrap();
    reconfigure(&one, id, 255);
    wait_for("the address on the interface alone", LIMIT, || {
        (holders() == ["eth0"]).then_some(())
    })
    .unwrap();
    let log = one.stop();
    assert_eq!(holders(), ["eth0"], "{log:#?}");
}

/// Sets a host's reverse path filter to strict, so that it also drops martians: the defaults of
/// distributions.
fn filter_strictly(host: &Host) {
    for interface in ["all", "default", "eth0"] {
        for (key, value) in [("rp_filter", "1"), ("accept_local", "0")] {
            let key = format!("ipv4.conf.{interface}.{key}");
            host.namespace().set_sysctl(&key, value).unwrap();
        }
    }
}

/// The owner of an address comes back: `stand_in` is the router that has the address until then,
/// and `owner` changes the same router of priority 255. The owner's advertisements are received in
/// time, each once, and the address moves.
fn the_owner_is_accepted(
    base: RouterConfig,
    stand_in: impl FnOnce(&mut RouterConfig),
    owner: impl FnOnce(&mut RouterConfig),
) {
    the_owner_is_accepted_after(base, stand_in, owner, |_, one| one);
}

/// As [`the_owner_is_accepted`], after something has happened to the stand-in, which may have
/// another driver by then.
fn the_owner_is_accepted_after(
    base: RouterConfig,
    stand_in: impl FnOnce(&mut RouterConfig),
    owner: impl FnOnce(&mut RouterConfig),
    happening: impl FnOnce(&Host, DriverThread) -> DriverThread,
) {
    let (_lan, [r1, r2]) = lan_of::<2>();
    filter_strictly(&r1);
    let (mut ours, mut theirs) = (base.clone(), base);
    stand_in(&mut ours);
    owner(&mut theirs);
    theirs.fsm.priority = Priority::OWNER;
    let (one, id) = DriverThread::with_router(r1.namespace(), ours);
    one.wait_for_state(id, State::Active);
    one.wait_for_event("to be Active with all that goes with it", |event| {
        matches!(event, DriverEvent::StateChanged(change) if change.to == State::Active)
            .then_some(())
    });
    let one = happening(&r1, one);
    let (two, two_id) = DriverThread::with_router(r2.namespace(), theirs);
    two.wait_for_state(two_id, State::Active);
    let source: IpAddr =
        two.with(move |driver| driver.get(two_id).unwrap().machine().primary_address());
    one.wait_for_state(id, State::Backup);
    wait_for("the owner to be the Active of the other", LIMIT, || {
        let active = one.with(move |driver| driver.get(id).unwrap().machine().active());
        (active?.address == source).then_some(())
    })
    .unwrap();
    let (received, errors) = one.with(move |driver| {
        let counters = driver.get(id).unwrap().machine().counters();
        (
            counters.advertisements_received,
            counters.priority_zero_received,
        )
    });
    assert!(received > 0 && errors == 0, "{received} {errors}");
    // A resignation of the owner is received as well, and the address comes back.
    two.stop();
    one.wait_for_state(id, State::Active);
    let log = one.stop();
    let discarded = log.iter().find(|it| {
        matches!(
            it.event,
            DriverEvent::Discarded { .. } | DriverEvent::RivalDiscarded { .. }
        )
    });
    assert!(discarded.is_none(), "{discarded:?}");
}

/// A router over IPv4 with the address of r2.
fn of_r2() -> RouterConfig {
    with_address(100, "192.0.2.2/24")
}

#[test]
fn p_08_an_owner_is_accepted_by_the_active_that_has_its_address() {
    the_owner_is_accepted(of_r2(), |_| {}, |_| {});
}

#[test]
fn p_08_an_owner_is_accepted_in_version_2() {
    let mut config = of_r2();
    config.fsm = Config::v2(vrid(51));
    config.fsm.priority = Priority::new(100);
    the_owner_is_accepted(config, |_| {}, |_| {});
}

#[test]
fn p_08_an_owner_is_accepted_by_an_active_with_the_virtual_mac() {
    let virtual_mac = |config: &mut RouterConfig| {
        config.virtual_mac = Some(VirtualMac::default());
    };
    the_owner_is_accepted(of_r2(), virtual_mac, |_| {});
}

#[test]
fn p_08_an_owner_is_accepted_by_an_active_that_only_answers_for_the_address() {
    let proxy = |config: &mut RouterConfig| {
        config.enforce_accept_mode = true;
        config.fsm.accept_mode = false;
    };
    the_owner_is_accepted(of_r2(), proxy, |_| {});
    let both = |config: &mut RouterConfig| {
        proxy(config);
        config.virtual_mac = Some(VirtualMac::default());
    };
    the_owner_is_accepted(of_r2(), both, |_| {});
}

#[test]
fn p_08_an_owner_is_accepted_by_unicast() {
    the_owner_is_accepted(
        of_r2(),
        |config| *config = unicast(config.clone(), &["192.0.2.2"]),
        |config| *config = unicast(config.clone(), &["192.0.2.1"]),
    );
}

#[test]
fn p_08_an_owner_is_accepted_with_authentication() {
    let mut config = of_r2();
    config.fsm = Config::v2(vrid(51));
    config.fsm.priority = Priority::new(100);
    config.authentication = Authentication::Ah(Password::new(b"s3cret").unwrap());
    the_owner_is_accepted(config, |_| {}, |_| {});
    let mut config = of_r2();
    config.authentication = Authentication::Hmac(HmacKeys {
        keys: vec![vrrp_proto::hmac::Key::new(1, &[7; 32]).unwrap()],
        active: 1,
        anti_replay: vrrp_proto::hmac::AntiReplay::time(30).unwrap(),
        mode: HmacMode::Enforce,
    });
    the_owner_is_accepted(config, |_| {}, |_| {});
}

#[test]
fn p_08_an_owner_is_accepted_after_the_driver_of_its_stand_in_was_replaced() {
    let replaced = |host: &Host, one: DriverThread| {
        let one = DriverThread::take_over(host.namespace(), one.hand_over());
        one.with(|_| ());
        one
    };
    the_owner_is_accepted_after(of_r2(), |_| {}, |_| {}, replaced);
}

#[test]
fn p_08_an_owner_is_accepted_after_the_interface_of_its_stand_in_was_made_again() {
    let make = |host: &Host| {
        let link = [
            "link", "port", "name", "eth0", "up", "type", "macvlan", "mode", "bridge",
        ];
        iproute2(host, &[&["link", "add"], &link[..]].concat());
        iproute2(host, &["address", "add", "192.0.2.1/24", "dev", "eth0"]);
        filter_strictly(host);
    };
    let made_again = |host: &Host, one: DriverThread| {
        one.stop();
        iproute2(host, &["address", "flush", "dev", "eth0"]);
        iproute2(host, &["link", "set", "eth0", "down"]);
        iproute2(host, &["link", "set", "eth0", "up", "name", "port"]);
        make(host);
        let (one, id) = DriverThread::with_router(host.namespace(), of_r2());
        one.wait_for_state(id, State::Active);
        wait_for_address(host, "192.0.2.2/24", true);
        // The driver learns of both in one turn, so its router stays Active.
        one.while_asleep(|| {
            iproute2(host, &["link", "delete", "eth0"]);
            make(host);
        });
        wait_for_address(host, "192.0.2.2/24", true);
        assert_eq!(one.count_transitions(State::Active), 1);
        one
    };
    the_owner_is_accepted_after(of_r2(), |_| {}, |_| {}, made_again);
}

#[test]
fn p_09_an_owner_is_accepted_over_ipv6() {
    let addresses = ["fe80::ff:fe00:2/64", "2001:db8::2/64"];
    let config = RouterConfig::new(
        "eth0",
        fsm(Family::Ipv6, 100),
        addresses.iter().map(|text| text.parse().unwrap()).collect(),
    );
    the_owner_is_accepted(config.clone(), |_| {}, |_| {});
    let proxy = |config: &mut RouterConfig| config.enforce_accept_mode = true;
    the_owner_is_accepted(config.clone(), proxy, |_| {});
    let virtual_mac = |config: &mut RouterConfig| {
        config.virtual_mac = Some(VirtualMac::default());
    };
    the_owner_is_accepted(config, virtual_mac, |_| {});
}

#[test]
fn p_43_two_owners_of_one_address_receive_each_other() {
    let (_lan, [r1, r2]) = lan_of::<2>();
    filter_strictly(&r1);
    r1.remove_address("192.0.2.1/24").unwrap();
    r1.add_address("192.0.2.2/24").unwrap();
    let (one, id) = DriverThread::with_router(r1.namespace(), with_address(255, "192.0.2.2/24"));
    one.wait_for_state(id, State::Active);
    let (_two, _) = DriverThread::with_router(r2.namespace(), with_address(255, "192.0.2.2/24"));
    one.wait_for_event("the other owner", |event| {
        matches!(
            event,
            DriverEvent::OwnerConflict { .. } | DriverEvent::Discarded { .. }
        )
        .then_some(())
    });
}

#[test]
fn a_rival_whose_packets_the_kernel_discards_is_reported() {
    let (_lan, [r1, r2]) = lan_of::<2>();
    filter_strictly(&r1);
    // From an address to which another route leads, if any.
    r2.add_address("203.0.113.2/24").unwrap();
    let (one, id) = DriverThread::with_router(r1.namespace(), router(Family::Ipv4, 100));
    one.wait_for_state(id, State::Active);
    let mut config = router(Family::Ipv4, 200);
    config.source = Some("203.0.113.2".parse().unwrap());
    let (two, two_id) = DriverThread::with_router(r2.namespace(), config);
    two.wait_for_state(two_id, State::Active);
    let source = one.wait_for_event("the rival", |event| match event {
        DriverEvent::RivalDiscarded { source, .. } => Some(*source),
        _ => None,
    });
    assert_eq!(source, "203.0.113.2".parse::<IpAddr>().unwrap());
    assert_eq!(one.state(id), State::Active);
}
