//! Things with our mark are removed when no router wants them, and nothing else is removed.

use std::{
    collections::BTreeSet,
    thread,
    time::{Duration, Instant},
};

use vrrp_fsm::State;
use vrrp_lab::{Host, Namespace, wait_for};
use vrrp_net::{
    ADDRESS_PROTOCOL, AddressChange, Driver, DriverEvent, Fault, Macvlan, Netlink, RouterConfig,
    RouterId, VirtualMac,
};
use vrrp_proto::Family;

use crate::rig::{
    DriverThread, LIMIT, VIP4, VIP6, fsm, has, iproute2, lan_of, router, vrid, wait_for_address,
};
use crate::tracked_routes::sources;

const ROUTE: &str = "203.0.113.0/24 via 192.0.2.9 dev eth0";

fn with_address(priority: u8, address: &str) -> RouterConfig {
    RouterConfig::new(
        "eth0",
        fsm(Family::Ipv4, priority),
        vec![address.parse().unwrap()],
    )
}

fn with_macvlan(name: &str) -> RouterConfig {
    let mut config = router(Family::Ipv4, 100);
    config.virtual_mac = Some(VirtualMac {
        name: Some(name.into()),
        ..VirtualMac::default()
    });
    config
}

/// The things on a host with our mark, and the settings of its interface.
fn traces(host: &Host) -> (String, [String; 2]) {
    let shown = marked(host)
        + &iproute2(host, &["route", "show", "table", "all", "proto", "112"])
        + &iproute2(host, &["link", "show", "type", "macvlan"]);
    (shown, arp_settings(host))
}

/// The addresses with our mark.
fn marked(host: &Host) -> String {
    let interfaces = host
        .namespace()
        .run(|| Netlink::open().unwrap().interfaces().unwrap());
    let lists = interfaces.iter().map(|it| &it.addresses);
    let marked = lists
        .flatten()
        .filter(|own| own.protocol == ADDRESS_PROTOCOL);
    let marked: Vec<_> = marked.map(|own| own.address.to_string()).collect();
    marked.join(" ")
}

fn arp_settings(host: &Host) -> [String; 2] {
    ["arp_ignore", "arp_announce"].map(|key| {
        let setting = format!("ipv4.conf.eth0.{key}");
        host.namespace().sysctl(&setting).unwrap()
    })
}

fn wait_until_clean(host: &Host) {
    let clean = (String::new(), ["0", "0"].map(str::to_owned));
    // The record of the settings is removed after they are restored.
    let link = || iproute2(host, &["link", "show", "eth0"]);
    wait_for("nothing of ours", LIMIT, || {
        (traces(host) == clean && !link().contains("altname")).then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}: {:?} {}", traces(host), link()));
}

fn is_on(host: &Host, name: &str, address: &str) -> bool {
    let address = address.parse().unwrap();
    let found = host.namespace().addresses(name);
    found.is_ok_and(|all| all.contains(&address))
}

/// Runs a router until it is Active with its address, and kills it.
fn crash(host: &Host, config: RouterConfig, mac_address: &str, address: &str) {
    let (crashed, id) = DriverThread::with_router(host.namespace(), config);
    crashed.wait_for_state(id, State::Active);
    wait_for("the address", LIMIT, || {
        is_on(host, mac_address, address).then_some(())
    })
    .unwrap();
    crashed.kill();
}

#[test]
fn another_configuration_after_a_crash_leaves_nothing_of_the_old_one() {
    let old = || {
        let mut config = with_macvlan("vip");
        config.routes = vec![ROUTE.parse().unwrap()];
        config
    };
    let elsewhere = || {
        let mut config = router(Family::Ipv4, 50);
        config.interface = "eth7".into();
        config
    };
    for next in [
        router(Family::Ipv4, 50),
        with_address(50, "192.0.2.99/32"),
        elsewhere(),
    ] {
        let (_lan, [r1, r2]) = lan_of::<2>();
        crash(&r1, old(), "vip", VIP4);
        assert_eq!(arp_settings(&r1), ["1", "2"]);
        let (other, other_id) =
            DriverThread::with_router(r2.namespace(), router(Family::Ipv4, 200));
        other.wait_for_state(other_id, State::Active);
        let (again, _) = DriverThread::with_router(r1.namespace(), next);
        wait_until_clean(&r1);
        again.stop();
        wait_until_clean(&r1);
    }
}

#[test]
fn a_virtual_mac_after_a_crash_without_one_moves_the_address() {
    let (_lan, [r1]) = lan_of::<1>();
    crash(&r1, router(Family::Ipv4, 100), "eth0", VIP4);
    let (again, id) = DriverThread::with_router(r1.namespace(), with_macvlan("vip"));
    again.wait_for_state(id, State::Active);
    wait_for("the address on the macvlan", LIMIT, || {
        (is_on(&r1, "vip", VIP4) && !is_on(&r1, "eth0", VIP4)).then_some(())
    })
    .unwrap();
    again.stop();
    wait_until_clean(&r1);
}

#[test]
fn a_starting_driver_leaves_everything_of_another_running_one() {
    let (_lan, [r1]) = lan_of::<1>();
    let mut config = with_macvlan("vip");
    config.routes = vec![ROUTE.parse().unwrap()];
    config.excluded = vec!["2001:db8::254/128".parse().unwrap()];
    let (one, one_id) = DriverThread::with_router(r1.namespace(), config);
    one.wait_for_state(one_id, State::Active);
    wait_for("the address", LIMIT, || {
        is_on(&r1, "vip", VIP4).then_some(())
    })
    .unwrap();
    let mut config = with_address(100, "192.0.2.99/32");
    config.fsm.vrid = vrid(52);
    let (two, two_id) = DriverThread::with_router(r1.namespace(), config);
    two.wait_for_state(two_id, State::Active);
    wait_for_address(&r1, "192.0.2.99/32", true);
    let log = two.stop();
    for log in [&log[..], &one.log()[..]] {
        let lost = log.iter().find(|it| {
            matches!(
                it.event,
                DriverEvent::AddressLost(_)
                    | DriverEvent::RouteLost(_)
                    | DriverEvent::LeftOverRemoved(_)
                    | DriverEvent::LeftOversKept
            )
        });
        assert!(lost.is_none(), "{lost:?}");
    }
    assert!(is_on(&r1, "vip", VIP4));
    assert_eq!(arp_settings(&r1), ["1", "2"]);
    one.stop();
    wait_until_clean(&r1);
}

/// A router of another VRID and with another address, whose driver is there to notice the end of
/// others.
fn witness(host: &Host) -> DriverThread {
    let mut config = with_address(100, "192.0.2.99/32");
    config.fsm.vrid = vrid(52);
    let (witness, id) = DriverThread::with_router(host.namespace(), config);
    witness.wait_for_state(id, State::Active);
    wait_for_address(host, "192.0.2.99/32", true);
    witness
}

/// An address with our mark that no instance claims: it is gone after the next removal of
/// left-overs.
const UNCLAIMED: &str = "192.0.2.77/32";

fn leave_unclaimed_address(host: &Host) {
    host.namespace().run(|| {
        let address = UNCLAIMED.parse().unwrap();
        let add = AddressChange::Add {
            interface: host.index(),
            address: &address,
        };
        let result = Netlink::open().unwrap().apply(&[add]).unwrap().remove(0);
        result.unwrap();
    });
}

fn has_lost_an_address(running: &DriverThread) -> bool {
    let log = running.log();
    log.iter()
        .any(|it| matches!(it.event, DriverEvent::AddressLost(_)))
}

#[test]
fn a_macvlan_that_the_program_manages_is_no_left_over_for_its_driver_or_another_one() {
    let (_lan, [r1]) = lan_of::<1>();
    let own = r1.namespace().run(|| {
        let mut netlink = Netlink::open().unwrap();
        let mut interfaces = netlink.interfaces().unwrap();
        let router = (Family::Ipv4, vrid(53));
        let parent = r1.index();
        Macvlan::add(
            &mut netlink,
            &mut interfaces,
            parent,
            router,
            Some("own"),
            true,
        )
        .unwrap()
    });
    let macvlans = BTreeSet::from([own.interface()]);
    let is_there = || iproute2(&r1, &["link", "show", "type", "macvlan"]).contains("own@");
    leave_unclaimed_address(&r1);
    let _one = DriverThread::start_as(r1.namespace(), move || {
        let mut driver = Driver::new().unwrap();
        driver.set_own_macvlans(&macvlans);
        driver
    });
    wait_for_address(&r1, UNCLAIMED, false);
    assert!(is_there());
    leave_unclaimed_address(&r1);
    let _other = DriverThread::start(r1.namespace());
    wait_for_address(&r1, UNCLAIMED, false);
    assert!(is_there());
    assert_eq!(arp_settings(&r1), ["1", "2"]);
}

#[test]
fn an_instance_that_dies_leaves_nothing_while_another_one_runs() {
    for starts_first in [true, false] {
        let (_lan, [r1]) = lan_of::<1>();
        let first = starts_first.then(|| witness(&r1));
        let mut config = with_macvlan("vip");
        config.routes = vec![ROUTE.parse().unwrap()];
        let (dying, id) = DriverThread::with_router(r1.namespace(), config);
        dying.wait_for_state(id, State::Active);
        wait_for("the address", LIMIT, || {
            is_on(&r1, "vip", VIP4).then_some(())
        })
        .unwrap();
        let witness = first.unwrap_or_else(|| witness(&r1));
        // Its connection ends before the call returns.
        let before = Instant::now();
        dying.kill();
        wait_for("the end of its things", LIMIT, || {
            let shown = traces(&r1);
            let expected = ("192.0.2.99".to_owned(), ["0", "0"].map(str::to_owned));
            (shown == expected).then_some(())
        })
        .unwrap_or_else(|error| panic!("{error}: {:?}", traces(&r1)));
        let stayed = before.elapsed();
        assert!(stayed >= Duration::from_secs(3), "{stayed:?}");
        assert!(!has_lost_an_address(&witness));
        witness.stop();
        wait_until_clean(&r1);
    }
}

#[test]
fn an_address_of_an_instance_that_started_later_stays_until_that_dies() {
    let (_lan, [r1, r2]) = lan_of::<2>();
    let (other, other_id) = DriverThread::with_router(r2.namespace(), router(Family::Ipv4, 200));
    other.wait_for_state(other_id, State::Active);
    let (backup, backup_id) = DriverThread::with_router(r1.namespace(), router(Family::Ipv4, 100));
    backup.wait_for_state(backup_id, State::Backup);
    let mut config = router(Family::Ipv4, 100);
    config.fsm.vrid = vrid(53);
    let (later, later_id) = DriverThread::with_router(r1.namespace(), config);
    // The Backup sees the address, asks, and removes it, because no instance claims it.
    leave_unclaimed_address(&r1);
    later.wait_for_state(later_id, State::Active);
    wait_for_address(&r1, UNCLAIMED, false);
    wait_for_address(&r1, VIP4, true);
    assert!(!has_lost_an_address(&later));
    assert_eq!(backup.state(backup_id), State::Backup);
    later.kill();
    wait_for_address(&r1, VIP4, false);
}

#[test]
fn a_hand_over_on_a_host_with_another_instance_loses_nothing() {
    let (_lan, [r1]) = lan_of::<1>();
    let witness = witness(&r1);
    let (old, id) = DriverThread::with_router(r1.namespace(), with_macvlan("vip"));
    old.wait_for_state(id, State::Active);
    wait_for("the address", LIMIT, || {
        is_on(&r1, "vip", VIP4).then_some(())
    })
    .unwrap();
    leave_unclaimed_address(&r1);
    let new = DriverThread::take_over(r1.namespace(), old.hand_over());
    assert_eq!(new.state(id), State::Active);
    wait_for_address(&r1, UNCLAIMED, false);
    assert!(is_on(&r1, "vip", VIP4));
    assert!(!has_lost_an_address(&new) && !has_lost_an_address(&witness));
    // The new driver has removed it at its start, and the witness does so after the end of the old
    // one.
    leave_unclaimed_address(&r1);
    wait_for_address(&r1, UNCLAIMED, false);
    assert!(is_on(&r1, "vip", VIP4));
    assert!(!has_lost_an_address(&new) && !has_lost_an_address(&witness));
}

#[test]
fn instances_in_the_namespace_of_the_calling_thread_are_not_asked() {
    /// A new instance is asked three seconds after it has connected.
    const ROUND: Duration = Duration::from_secs(4);

    let (_lan, [r1, r2]) = lan_of::<2>();
    let mut driver = r1.namespace().run(|| Driver::new().unwrap());
    let mut turn_for = |host: &Host, time: Duration| {
        let start = Instant::now();
        while start.elapsed() < time {
            host.namespace().run(|| driver.turn().unwrap());
            thread::sleep(Duration::from_millis(5));
        }
        sources(&driver)
    };
    let before = turn_for(&r1, Duration::from_millis(300));
    // The first has the same name as ours: names belong to a namespace.
    let _elsewhere = [0, 1].map(|_| DriverThread::start(r2.namespace()));
    let _newcomer = DriverThread::start(r1.namespace());
    let after = turn_for(&r2, ROUND);
    assert_eq!(after, before + 1, "the connection of the newcomer alone");
}

#[test]
fn left_overs_stay_while_another_instance_does_not_answer() {
    let (_lan, [r1]) = lan_of::<1>();
    let silent = DriverThread::start(r1.namespace());
    silent.while_asleep(|| {
        crash(&r1, router(Family::Ipv4, 100), "eth0", VIP4);
        let (again, _) =
            DriverThread::with_router(r1.namespace(), with_address(1, "192.0.2.99/32"));
        again.wait_for_event("the warning", |event| {
            matches!(event, DriverEvent::LeftOversKept).then_some(())
        });
        assert!(has(&r1, VIP4));
        // The operator calls for the removal anyway.
        let removed = again.with(|driver| driver.sweep().unwrap());
        assert_eq!(removed.len(), 1);
    });
    assert!(!has(&r1, VIP4));
}

#[test]
fn the_settings_of_a_parent_come_back_however_its_macvlan_went() {
    let ways: [&[&str]; 4] = [
        &["link", "delete", "vip"],
        &["link", "set", "vip", "alias", "of the operator"],
        &["link", "set", "vip", "down", "name", "renamed"],
        &["link", "property", "add", "dev", "vip", "altname", "other"],
    ];
    for way in ways {
        let (_lan, [r1]) = lan_of::<1>();
        let (running, id) = DriverThread::with_router(r1.namespace(), with_macvlan("vip"));
        running.wait_for_state(id, State::Active);
        assert_eq!(arp_settings(&r1), ["1", "2"]);
        running.while_asleep(|| drop(iproute2(&r1, way)));
        running.stop();
        wait_until_clean(&r1);
    }
}

#[test]
fn the_settings_of_a_parent_come_back_after_a_crash_in_which_its_macvlan_went() {
    let (_lan, [r1]) = lan_of::<1>();
    crash(&r1, with_macvlan("vip"), "vip", VIP4);
    iproute2(&r1, &["link", "delete", "vip"]);
    assert_eq!(arp_settings(&r1), ["1", "2"]);
    let running = DriverThread::start(r1.namespace());
    wait_until_clean(&r1);
    running.stop();
}

/// The kernel reports a link that moves to another namespace as removed, and the alias of the link
/// is out of reach.
#[test]
fn the_settings_of_a_parent_come_back_after_its_macvlan_moved_to_another_namespace() {
    let elsewhere = Namespace::new().unwrap();
    for dies in [false, true] {
        let (_lan, [r1]) = lan_of::<1>();
        let mut sleep = elsewhere.command("sleep").arg("60").spawn().unwrap();
        let pid = sleep.id().to_string();
        let (running, id) = DriverThread::with_router(r1.namespace(), with_macvlan("vip"));
        running.wait_for_state(id, State::Active);
        assert_eq!(arp_settings(&r1), ["1", "2"]);
        let move_away = || drop(iproute2(&r1, &["link", "set", "vip", "netns", &pid]));
        if dies {
            running.kill();
            move_away();
            let again = DriverThread::start(r1.namespace());
            wait_until_clean(&r1);
            again.stop();
        } else {
            running.while_asleep(move_away);
            running.stop();
        }
        sleep.kill().unwrap();
        sleep.wait().unwrap();
        wait_until_clean(&r1);
    }
}

#[test]
fn a_macvlan_of_another_name_is_taken_over() {
    let (_lan, [r1]) = lan_of::<1>();
    crash(&r1, with_macvlan("old"), "old", VIP4);
    let (again, id) = DriverThread::with_router(r1.namespace(), with_macvlan("new"));
    again.wait_for_state(id, State::Active);
    wait_for("the address", LIMIT, || {
        is_on(&r1, "new", VIP4).then_some(())
    })
    .unwrap();
    let shown = iproute2(&r1, &["link", "show", "type", "macvlan"]);
    assert!(!shown.contains("old"), "{shown}");
    again.stop();
    wait_until_clean(&r1);
}

#[test]
fn an_address_of_the_host_stays_when_the_virtual_one_before_it_goes() {
    for is_active_at_the_end in [true, false] {
        let (_lan, [r1]) = lan_of::<1>();
        assert_eq!(
            r1.namespace()
                .sysctl("ipv4.conf.eth0.promote_secondaries")
                .unwrap(),
            "0"
        );
        let (running, id) =
            DriverThread::with_router(r1.namespace(), with_address(100, "198.51.100.7/24"));
        running.wait_for_state(id, State::Active);
        wait_for_address(&r1, "198.51.100.7/24", true);
        iproute2(&r1, &["address", "add", "198.51.100.1/24", "dev", "eth0"]);
        iproute2(
            &r1,
            &["route", "add", "203.0.113.0/24", "via", "198.51.100.9"],
        );
        if is_active_at_the_end {
            running.with(move |driver| driver.remove(id).unwrap());
        } else {
            running.with(move |driver| driver.set_fault(id, "a test").unwrap());
        }
        wait_for_address(&r1, "198.51.100.7/24", false);
        assert!(has(&r1, "198.51.100.1/24"));
        let shown = iproute2(&r1, &["route"]);
        assert!(shown.contains("203.0.113.0/24 via 198.51.100.9"), "{shown}");
        let setting = r1.namespace().sysctl("ipv4.conf.eth0.promote_secondaries");
        assert_eq!(setting.unwrap(), "0");
    }
}

#[test]
fn addresses_of_the_host_are_added_again_where_promote_secondaries_cannot_be_set() {
    let (_lan, [r1]) = lan_of::<1>();
    // From a thread outside the network namespace the driver reaches the kernel, but not its
    // settings.
    let (mut driver, id) = r1.namespace().run(|| {
        let mut driver = Driver::new().unwrap();
        let id = driver.add(with_address(100, "198.51.100.7/24")).unwrap();
        (driver, id)
    });
    let mut events = Vec::new();
    let mut turn = |driver: &mut Driver| {
        driver.wait(Some(Duration::from_millis(10))).unwrap();
        driver.turn().unwrap();
        while let Some(notification) = driver.next_notification() {
            events.push(notification.event);
        }
    };
    wait_for("the address", LIMIT, || {
        turn(&mut driver);
        has(&r1, "198.51.100.7/24").then_some(())
    })
    .unwrap();
    let with_label = "198.51.100.1/24 dev eth0 label eth0:own broadcast 198.51.100.200 valid_lft 3000 preferred_lft 2000 metric 50";
    for words in [with_label, "198.51.100.2/24 dev eth0 noprefixroute"] {
        let words: Vec<&str> = ["address", "add"]
            .into_iter()
            .chain(words.split(' '))
            .collect();
        iproute2(&r1, &words);
    }
    let shown = || {
        let lines = iproute2(&r1, &["-4", "address", "show", "dev", "eth0"]);
        // Lifetimes run.
        let lines = lines.lines().filter(|it| it.contains("inet "));
        let own = lines.filter(|it| !it.contains("198.51.100.7"));
        let own = own.map(|it| it.trim().replace("secondary ", ""));
        own.collect::<BTreeSet<_>>()
    };
    let before = shown();
    assert_eq!(before.len(), 3, "{before:?}");
    driver.set_fault(id, "a test").unwrap();
    wait_for("the end of the address", LIMIT, || {
        turn(&mut driver);
        (!has(&r1, "198.51.100.7/24")).then_some(())
    })
    .unwrap();
    assert_eq!(shown(), before);
    let lifetimes = iproute2(&r1, &["-4", "address", "show", "label", "eth0:own"]);
    assert!(
        lifetimes.contains("preferred_lft 1") || lifetimes.contains("preferred_lft 2000"),
        "{lifetimes}"
    );
    let restored: Vec<String> = events
        .iter()
        .filter_map(|event| match event {
            DriverEvent::HostAddressRestored { interface, address } => {
                Some(format!("{address} {interface}"))
            }
            _ => None,
        })
        .collect();
    assert_eq!(restored, ["198.51.100.1/24 eth0", "198.51.100.2/24 eth0"]);
}

fn foreign_fault(running: &DriverThread, id: RouterId) -> Option<String> {
    let mut faults = running.faults(id).into_iter();
    faults.find_map(|fault| match fault {
        Fault::ForeignAddress(text) => Some(text),
        _ => None,
    })
}

#[test]
fn the_host_s_only_address_is_never_taken_for_a_left_over() {
    let (_lan, [r1]) = lan_of::<1>();
    let (running, id) =
        DriverThread::with_router(r1.namespace(), with_address(100, "192.0.2.1/24"));
    let text = wait_for("the fault", LIMIT, || foreign_fault(&running, id)).unwrap();
    assert!(
        text.starts_with("eth0 has the virtual address 192.0.2.1/24")
            && text.contains("set priority 255"),
        "{text}"
    );
    assert!(has(&r1, "192.0.2.1/24"));
    assert_eq!(running.state(id), State::Initialize);
    // Once the host has another address and gives this one up, the router starts.
    r1.add_address("192.0.2.11/24").unwrap();
    iproute2(&r1, &["address", "del", "192.0.2.11/24", "dev", "eth0"]);
    iproute2(&r1, &["address", "add", "192.0.2.11/24", "dev", "eth0"]);
    r1.namespace()
        .set_sysctl("ipv4.conf.eth0.promote_secondaries", "1")
        .unwrap();
    r1.remove_address("192.0.2.1/24").unwrap();
    running.wait_for_state(id, State::Active);
    wait_for_address(&r1, "192.0.2.1/24", true);
}

#[test]
fn an_address_that_somebody_adds_on_a_backup_is_reported_and_removed_if_it_has_our_mark() {
    for (config, marked, foreign) in [
        (router(Family::Ipv4, 100), VIP4, "192.0.2.254/24"),
        // On the parent of its macvlan.
        (with_macvlan("vip"), VIP4, "192.0.2.254/24"),
        (router(Family::Ipv6, 100), VIP6, "2001:db8::254/64"),
    ] {
        let (_lan, [r1, r2]) = lan_of::<2>();
        let family = config.fsm.family;
        let (other, other_id) = DriverThread::with_router(r2.namespace(), router(family, 200));
        other.wait_for_state(other_id, State::Active);
        let (running, id) = DriverThread::with_router(r1.namespace(), config);
        running.wait_for_state(id, State::Backup);
        let add_marked = || {
            r1.namespace().run(|| {
                let address = marked.parse().unwrap();
                let add = AddressChange::Add {
                    interface: r1.index(),
                    address: &address,
                };
                let result = Netlink::open().unwrap().apply(&[add]).unwrap().remove(0);
                result.unwrap();
            });
            wait_for_address(&r1, marked, false);
        };
        add_marked();
        iproute2(&r1, &["address", "add", foreign, "dev", "eth0"]);
        let address = running.wait_for_event("the report", |event| match event {
            DriverEvent::ForeignAddress(address) => Some(address.to_string()),
            _ => None,
        });
        assert_eq!(address, foreign);
        // An interface has an IPv6 address once, whatever its prefix length is.
        if family == Family::Ipv4 {
            add_marked();
        }
        assert!(has(&r1, foreign), "it is the host's");
        assert_eq!(running.state(id), State::Backup);
        running.stop();
        assert!(has(&r1, foreign));
    }
}

#[test]
fn an_address_of_two_routers_stays_while_one_of_them_is_active() {
    let (_lan, [r1]) = lan_of::<1>();
    let running = DriverThread::start(r1.namespace());
    let [one, two] = [51, 52].map(|number| {
        let mut config = router(Family::Ipv4, 100);
        config.fsm.vrid = vrid(number);
        config.routes = vec![ROUTE.parse().unwrap()];
        running.with(move |driver| driver.add(config).unwrap())
    });
    for id in [one, two] {
        running.wait_for_state(id, State::Active);
    }
    wait_for_address(&r1, VIP4, true);
    running.with(move |driver| driver.set_fault(one, "a test").unwrap());
    running.wait_for_state(one, State::Initialize);
    running.with(move |driver| driver.remove(one).unwrap());
    assert!(has(&r1, VIP4));
    let shown = iproute2(&r1, &["route", "show", "proto", "112"]);
    assert!(shown.contains("203.0.113.0/24"), "{shown}");
    let log = running.stop();
    let lost = log.iter().find(|it| {
        matches!(
            it.event,
            DriverEvent::AddressLost(_) | DriverEvent::RouteLost(_)
        )
    });
    assert!(lost.is_none(), "{lost:?}");
    wait_until_clean(&r1);
}

#[test]
fn of_two_point_to_point_addresses_with_one_local_part_one_may_go() {
    let (_lan, [r1]) = lan_of::<1>();
    iproute2(&r1, &["address", "flush", "dev", "eth0"]);
    for peer in ["10.0.0.2", "10.0.0.3"] {
        let add = ["address", "add", "10.0.0.1", "peer", peer, "dev", "eth0"];
        iproute2(&r1, &add);
    }
    let (running, id) = DriverThread::with_router(r1.namespace(), router(Family::Ipv4, 100));
    running.wait_for_state(id, State::Active);
    let del = [
        "address", "del", "10.0.0.1", "peer", "10.0.0.2", "dev", "eth0",
    ];
    iproute2(&r1, &del);
    // The next event of the same interface comes after it.
    r1.add_address("198.51.100.1/24").unwrap();
    wait_for("the event", LIMIT, || {
        let seen = running.with(|driver| {
            let eth0 = driver.interfaces().named("eth0").unwrap();
            eth0.has("198.51.100.1".parse().unwrap())
        });
        seen.then_some(())
    })
    .unwrap();
    assert_eq!(running.state(id), State::Active);
    assert_eq!(running.count_transitions(State::Initialize), 0);
    let primary = running.with(move |driver| {
        let machine = driver.get(id).unwrap().machine();
        machine.primary_address().to_string()
    });
    assert_eq!(primary, "10.0.0.1");
}

#[test]
fn an_interface_that_is_renamed_loses_the_addresses_of_its_router() {
    for config in [router(Family::Ipv4, 100), with_macvlan("vip")] {
        let (_lan, [r1]) = lan_of::<1>();
        let (running, id) = DriverThread::with_router(r1.namespace(), config);
        running.wait_for_state(id, State::Active);
        running.while_asleep(|| {
            iproute2(&r1, &["link", "set", "eth0", "down"]);
            iproute2(&r1, &["link", "set", "eth0", "name", "away"]);
            iproute2(&r1, &["link", "set", "away", "up"]);
        });
        running.wait_for_state(id, State::Initialize);
        wait_for("nothing of ours", LIMIT, || {
            let shown = marked(&r1) + &iproute2(&r1, &["link", "show", "type", "macvlan"]);
            shown.is_empty().then_some(())
        })
        .unwrap();
    }
}
