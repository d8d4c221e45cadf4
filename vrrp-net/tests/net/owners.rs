//! The address owner, and who was it or becomes it.

use vrrp_fsm::State;
use vrrp_lab::wait_for;
use vrrp_net::{Fault, RouterConfig, RouterId, VirtualMac};
use vrrp_proto::{Family, Priority};

use crate::rig::{LIMIT, Running, VIP4, fsm, has, iproute2, lan_of, router, wait_for_address};

fn reconfigure(running: &Running, id: RouterId, priority: u8) {
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
fn s_31_who_no_longer_is_the_owner_has_its_addresses_only_while_it_is_active() {
    // The form in which the router has it, and whether the address comes from the same subnet as the one to advertise from.
    for form in ["192.0.2.1/24", "192.0.2.1/32"] {
        let (_lan, [r1, r2]) = lan_of::<2>();
        iproute2(&r1, &["address", "add", "198.51.100.1/24", "dev", "eth0"]);
        let (one, one_id) = Running::with_router(r1.namespace(), with_address(255, form));
        one.wait_for_state(one_id, State::Active);
        let (two, two_id) = Running::with_router(r2.namespace(), with_address(200, form));
        two.wait_for_state(two_id, State::Backup);

        reconfigure(&one, one_id, 100);
        two.wait_for_state(two_id, State::Active);
        one.wait_for_state(one_id, State::Backup);
        for own in ["192.0.2.1/24", "192.0.2.1/32"] {
            wait_for_address(&r1, own, false);
        }
        assert!(has(&r1, "198.51.100.1/24"), "what is not virtual stays");

        two.stop();
        one.wait_for_state(one_id, State::Active);
        wait_for_address(&r1, form, true);
        one.stop();
        assert!(!has(&r1, form));
    }
}

#[test]
fn who_no_longer_is_the_owner_needs_another_address_to_advertise_from() {
    let (_lan, [r1]) = lan_of::<1>();
    let (one, id) = Running::with_router(r1.namespace(), with_address(255, "192.0.2.1/32"));
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
fn who_becomes_the_owner_leaves_alone_what_the_host_has_got() {
    let (_lan, [r1, r2]) = lan_of::<2>();
    let (other, other_id) = Running::with_router(r2.namespace(), router(Family::Ipv4, 200));
    other.wait_for_state(other_id, State::Active);
    let (one, id) = Running::with_router(r1.namespace(), router(Family::Ipv4, 100));
    one.wait_for_state(id, State::Backup);
    reconfigure(&one, id, 255);
    one.wait_for_state(id, State::Active);
    other.wait_for_state(other_id, State::Backup);
    // What the host does not have the router adds.
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
fn an_owner_s_own_address_that_is_added_to_its_router_stays_when_that_stops() {
    let (_lan, [r1]) = lan_of::<1>();
    r1.add_address("192.0.2.77/24").unwrap();
    let (one, id) = Running::with_router(r1.namespace(), with_address(255, "192.0.2.1/24"));
    one.wait_for_state(id, State::Active);
    one.with(move |driver| {
        let address = "192.0.2.77/24".parse().unwrap();
        driver.add_address(id, address).unwrap();
    });
    let log = one.stop();
    assert!(has(&r1, "192.0.2.77/24"), "{log:#?}");
}

#[test]
fn m_03_who_no_longer_is_the_owner_has_its_addresses_on_the_macvlan() {
    let (_lan, [r1]) = lan_of::<1>();
    iproute2(&r1, &["address", "add", "198.51.100.1/24", "dev", "eth0"]);
    let mut config = with_address(255, "192.0.2.1/24");
    config.virtual_mac = Some(VirtualMac {
        name: Some("vip".into()),
        ..VirtualMac::default()
    });
    let (one, id) = Running::with_router(r1.namespace(), config);
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
