//! Several running instances on one host: things that they share, and things that only one instance
//! can have.

#![allow(
    unsafe_code,
    reason = "a number of a descriptor that is open is one that can be borrowed"
)]

use std::{
    fs,
    io::{Read, Write},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixStream},
    },
    thread,
    time::Duration,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use vrrp_fsm::State;
use vrrp_lab::{Host, wait_for};
use vrrp_net::{Driver, DriverEvent, Fault, RouterConfig, RouterId, VirtualMac};
use vrrp_proto::Family;

use crate::{
    rig::{DriverThread, LIMIT, VIP4, has, iproute2, lan_of, router, vrid, wait_for_address},
    tracked_routes::sources,
};

const ROUTE: &str = "203.0.113.0/24 via 192.0.2.9 dev eth0";

/// A router with the address and the route that the others have too.
fn sharing(number: u8) -> RouterConfig {
    let mut config = router(Family::Ipv4, 100);
    config.fsm.vrid = vrid(number);
    config.routes = vec![ROUTE.parse().unwrap()];
    config
}

/// The names of the addresses and routes that stay for another instance.
fn of_others(running: &DriverThread, id: RouterId) -> Vec<String> {
    running.with(move |driver| {
        let router = driver.get(id).unwrap();
        let addresses = router.addresses_of_others().map(ToString::to_string);
        let others = router.routes_of_others().map(ToString::to_string);
        addresses.chain(others).collect()
    })
}

#[test]
fn things_that_stay_for_another_instance_are_reported_with_the_reason() {
    let (_lan, [r1]) = lan_of::<1>();
    let (one, one_id) = DriverThread::with_router(r1.namespace(), sharing(51));
    one.wait_for_state(one_id, State::Active);
    let (two, two_id) = DriverThread::with_router(r1.namespace(), sharing(52));
    two.wait_for_state(two_id, State::Active);
    wait_for_address(&r1, VIP4, true);
    assert!(of_others(&one, one_id).is_empty());

    one.with(move |driver| driver.set_fault(one_id, "a test").unwrap());
    let address = one.wait_for_event("the address that stays", |event| match event {
        DriverEvent::AddressKept(address) => Some(address.to_string()),
        _ => None,
    });
    assert_eq!(address, VIP4);
    let route = one.wait_for_event("the route that stays", |event| match event {
        DriverEvent::RouteKept(route) => Some(route.to_string()),
        _ => None,
    });
    assert_eq!(route, ROUTE);
    assert_eq!(of_others(&one, one_id), [VIP4, ROUTE]);
    assert!(has(&r1, VIP4));
    let reports = |running: &DriverThread| {
        let log = running.log();
        let kept = |it: &&vrrp_net::Notification| {
            matches!(
                it.event,
                DriverEvent::AddressKept(_) | DriverEvent::RouteKept(_)
            )
        };
        log.iter().filter(kept).count()
    };
    assert_eq!(reports(&one), 2);

    // The last instance that uses them removes them.
    two.stop();
    wait_for_address(&r1, VIP4, false);
    wait_for("no reason left", LIMIT, || {
        of_others(&one, one_id).is_empty().then_some(())
    })
    .unwrap();
    assert_eq!(reports(&one), 2);
}

fn with_macvlan(name: &str) -> RouterConfig {
    let mut config = router(Family::Ipv4, 100);
    config.virtual_mac = Some(VirtualMac {
        name: Some(name.into()),
        ..VirtualMac::default()
    });
    config
}

fn macvlans(host: &Host) -> Vec<String> {
    let shown = iproute2(host, &["-o", "link", "show", "type", "macvlan"]);
    let names = shown.lines().filter_map(|line| line.split(": ").nth(1));
    names.map(str::to_owned).collect()
}

fn is_on(host: &Host, name: &str, address: &str) -> bool {
    let address = address.parse().unwrap();
    let found = host.namespace().addresses(name);
    found.is_ok_and(|all| all.contains(&address))
}

fn virtual_mac_fault(running: &DriverThread, id: RouterId) -> Option<String> {
    let mut faults = running.faults(id).into_iter();
    faults.find_map(|fault| match fault {
        Fault::VirtualMacInUse(text) => Some(text),
        _ => None,
    })
}

#[test]
fn a_second_instance_with_the_same_virtual_mac_is_in_fault_until_the_first_has_ended() {
    for (second_name, dies) in [("other", false), ("vip", false), ("other", true)] {
        let (_lan, [r1]) = lan_of::<1>();
        let (one, one_id) = DriverThread::with_router(r1.namespace(), with_macvlan("vip"));
        one.wait_for_state(one_id, State::Active);
        wait_for("the address", LIMIT, || {
            is_on(&r1, "vip", VIP4).then_some(())
        })
        .unwrap();
        let (two, two_id) = DriverThread::with_router(r1.namespace(), with_macvlan(second_name));
        let text = wait_for("the fault", LIMIT, || virtual_mac_fault(&two, two_id)).unwrap();
        let start = "another program on this host runs virtual router 51 over IPv4 on eth0";
        assert!(
            text.starts_with(start) && text.contains("stop it"),
            "{text}"
        );
        assert_eq!(two.state(two_id), State::Initialize);
        assert_eq!(macvlans(&r1), ["vip@eth0"]);
        // New instances are asked after three seconds. The first instance is unaffected.
        thread::sleep(Duration::from_millis(3500));
        assert_eq!(one.state(one_id), State::Active);
        assert_eq!(virtual_mac_fault(&one, one_id), None);
        assert!(is_on(&r1, "vip", VIP4));
        let disturbed = |running: &DriverThread| {
            let log = running.log();
            let found = log.iter().find(|it| {
                matches!(
                    it.event,
                    DriverEvent::VirtualMacFailed(_) | DriverEvent::AddressLost(_)
                )
            });
            found.map(ToString::to_string)
        };
        assert_eq!((disturbed(&one), disturbed(&two)), (None, None));

        if dies {
            one.kill();
        } else {
            one.stop();
        }
        two.wait_for_state(two_id, State::Active);
        wait_for("the address", LIMIT, || {
            is_on(&r1, second_name, VIP4).then_some(())
        })
        .unwrap();
        assert_eq!(macvlans(&r1), [format!("{second_name}@eth0")]);
        two.stop();
        assert!(macvlans(&r1).is_empty());
    }
}

#[test]
fn of_two_instances_that_make_one_virtual_mac_at_once_one_keeps_it() {
    let (_lan, [r1]) = lan_of::<1>();
    let running = [(), ()].map(|()| DriverThread::start(r1.namespace()));
    // Both have been asked, and neither has a macvlan.
    for it in &running {
        wait_for("the other instance", LIMIT, || {
            it.with(|driver| sources(driver) >= 5).then_some(())
        })
        .unwrap();
    }
    thread::sleep(Duration::from_millis(300));
    let names = ["one", "two"].into_iter();
    let ids: Vec<RouterId> = names
        .zip(&running)
        .map(|(name, it)| it.with(|driver| driver.add(with_macvlan(name)).unwrap()))
        .collect();
    let states = || [0, 1].map(|place| running[place].state(ids[place]));
    let faults = || [0, 1].map(|place| virtual_mac_fault(&running[place], ids[place]).is_some());
    wait_for(
        "one of the two in fault, and the other Active",
        LIMIT,
        || {
            let is_so = |active: usize, other: usize| {
                states()[active] == State::Active
                    && states()[other] == State::Initialize
                    && !faults()[active]
                    && faults()[other]
            };
            (is_so(0, 1) || is_so(1, 0)).then_some(())
        },
    )
    .unwrap_or_else(|error| panic!("{error}: {:?} {:?}", states(), faults()));
}

#[test]
fn an_instance_that_asks_after_a_flood_of_connections_gets_an_answer() {
    let (_lan, [r1]) = lan_of::<1>();
    let (running, id) = DriverThread::with_router(r1.namespace(), router(Family::Ipv4, 100));
    running.wait_for_state(id, State::Active);
    let answer = r1.namespace().run(|| {
        let sockets = fs::read_to_string("/proc/thread-self/net/unix").unwrap();
        let name = sockets.split('@').nth(1).unwrap().lines().next().unwrap();
        let address = SocketAddr::from_abstract_name(name).unwrap();
        // The second portion comes after the driver has waited without its listener.
        let mut connections = Vec::new();
        for _ in 0..2 {
            for _ in 0..100 {
                connections.push(UnixStream::connect_addr(&address).unwrap());
            }
            running.with(|_| ());
        }
        let mut last = connections.pop().unwrap();
        last.write_all(b"?").unwrap();
        last.set_read_timeout(Some(LIMIT)).unwrap();
        let mut answer = [0; 1 << 12];
        let len = last.read(&mut answer).unwrap();
        String::from_utf8(answer[..len].to_vec()).unwrap()
    });
    assert!(answer.ends_with("end\n"), "{answer}");
}

#[test]
fn a_connection_that_ends_wakes_nobody_although_a_child_process_still_has_it() {
    let (_lan, [r1]) = lan_of::<1>();
    let mut driver = r1.namespace().run(|| Driver::new().unwrap());
    r1.namespace().run(|| driver.turn().unwrap());
    let before = sources(&driver);
    let other = DriverThread::start(r1.namespace());
    wait_for("the other instance", LIMIT, || {
        r1.namespace().run(|| driver.turn().unwrap());
        (sources(&driver) > before).then_some(())
    })
    .unwrap();
    // A child process has such copies between fork and execve.
    let duplicates = duplicates(&driver);
    drop(other);
    wait_for("the end of the connection", LIMIT, || {
        r1.namespace().run(|| driver.turn().unwrap());
        (sources(&driver) == before).then_some(())
    })
    .unwrap();
    let mut polled = [PollFd::new(driver.as_fd(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut polled, PollTimeout::ZERO).unwrap(), 0);
    drop(duplicates);
}

/// Duplicates of all descriptors that a driver waits for.
fn duplicates(driver: &Driver) -> Vec<OwnedFd> {
    let info = format!("/proc/self/fdinfo/{}", driver.as_raw_fd());
    let info = std::fs::read_to_string(info).unwrap();
    let descriptors = info.lines().filter_map(|line| {
        let rest = line.strip_prefix("tfd:")?;
        rest.split_whitespace().next()?.parse::<i32>().ok()
    });
    let duplicate = |descriptor: i32| {
        // SAFETY: the driver keeps it open during the call.
        let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
        borrowed.try_clone_to_owned().unwrap()
    };
    descriptors.map(duplicate).collect()
}
