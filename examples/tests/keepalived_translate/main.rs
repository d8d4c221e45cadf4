//! The translation of each setting into routers, groups and objects of a driver, without any I/O.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::{collections::BTreeMap, path::Path, time::Duration};

use ipvs_netlink::{
    DaemonState, SchedulerFlags,
    pool::{Capacity, Check, FirstResult, Initial, Pace, Panic},
};
use vrrp_examples::{
    keepalived::{
        balance::{Balance, balance},
        host_object::HostObject,
        translate::{Plan, PlannedRouter, Probe, translate},
    },
    keepalived_conf::{
        self,
        complaint::{Complaint, Kind},
        host::{Host, Interface},
        source::{Environment, Like, Lines},
    },
    probe::{self, Http, Tls, TlsSettings},
};
use vrrp_fsm::{ChecksumSending, Preempt, Profile, StallPolicy, track::Weight};
use vrrp_net::{AnnouncementPace, Authentication, PaceGroup, Pacing, Transport, UnicastPath};
use vrrp_proto::{ChecksumForm, Family, Versions};

/// A host with eth0 and eth1.
fn host() -> Host {
    let interface = |address: &str| Interface {
        addresses: vec![address.parse().unwrap()],
        is_loopback: false,
        kind: String::new(),
    };
    Host {
        interfaces: BTreeMap::from([
            ("eth0".into(), interface("192.0.2.1")),
            ("eth1".into(), interface("198.51.100.1")),
        ]),
        name: "host".into(),
        path: vec!["/usr/bin".into()],
    }
}

fn plan_of(text: &str) -> Plan {
    let lines = Lines::of_text(Path::new("conf"), text.into(), &Environment::default());
    let reading = keepalived_conf::interpret(lines, &host());
    assert!(reading.is_startable, "{:#?}", reading.complaints);
    translate(&reading.configuration, Duration::from_secs(1000))
}

/// The only router of an instance with further settings.
fn router(further: &str) -> (PlannedRouter, Vec<String>) {
    let text = format!(
        "vrrp_instance V {{\n interface eth0\n virtual_router_id 7\n{further}\n \
         virtual_ipaddress {{\n 192.0.2.100/24\n }}\n}}\n"
    );
    let mut plan = plan_of(&text);
    (plan.routers.remove(0), plan.notes)
}

#[test]
fn the_defaults_are_those_of_keepalived() {
    let (router, notes) = router("");
    let fsm = router.config.fsm;
    assert_eq!(fsm.versions, Versions::V2);
    assert_eq!(fsm.priority.get(), 100);
    assert_eq!(fsm.interval.as_duration(), Duration::from_secs(1));
    assert_eq!(fsm.preempt, Preempt::Always);
    assert_eq!(fsm.profile, Profile::Rfc9568);
    assert_eq!(fsm.announce.repeat, 5);
    assert_eq!(
        fsm.announce.second_burst_after,
        Some(Duration::from_secs(5))
    );
    assert!(!fsm.advertise_on_yield);
    assert!(router.config.track_interface && router.config.check_addresses);
    assert!(!router.config.enforce_accept_mode);
    assert_eq!(router.config.addresses[0].to_string(), "192.0.2.100/24");
    assert!(notes.is_empty(), "{notes:?}");
}

#[test]
fn each_setting_of_the_election_reaches_the_state_machine() {
    let fsm = |further: &str| router(further).0.config.fsm;
    assert_eq!(fsm(" nopreempt").preempt, Preempt::Never);
    assert_eq!(
        fsm(" preempt_delay 1.5").preempt,
        Preempt::AfterDelay(Duration::from_millis(1500))
    );
    assert_eq!(fsm(" priority 7").priority.get(), 7);
    assert_eq!(fsm(" down_timer_adverts 5").missed_advertisements, 5);
    assert_eq!(fsm(" lower_prio_no_advert").profile, Profile::Rfc3768);
    assert_eq!(
        fsm(" version 3\n lower_prio_no_advert").profile,
        Profile::Rfc5798
    );
    assert!(fsm(" higher_prio_send_advert").advertise_on_yield);
    assert_eq!(
        fsm(" version 3\n advert_int 0.25").interval.as_duration(),
        Duration::from_millis(250)
    );
    assert_eq!(
        fsm(" version 3").checksum,
        ChecksumSending::Fixed(ChecksumForm::PseudoHeader)
    );
    assert_eq!(
        fsm(" version 3\n v3_checksum_as_v2").checksum,
        ChecksumSending::Fixed(ChecksumForm::MessageOnly)
    );
    assert_eq!(
        fsm(" nopreempt\n timer_expired_backup 200").stall,
        StallPolicy::Yield
    );
}

#[test]
fn announcements_follow_the_garp_settings() {
    let (router, _) = router(
        " garp_master_repeat 3\n garp_master_delay 0\n garp_master_refresh 9\n \
         garp_master_refresh_repeat 2\n garp_lower_prio_repeat 0\n garp_lower_prio_delay 4",
    );
    let announce = router.config.fsm.announce;
    assert_eq!((announce.repeat, announce.second_burst_after), (3, None));
    assert_eq!(announce.refresh, Some(Duration::from_secs(9)));
    assert_eq!((announce.refresh_repeat, announce.rival_repeat), (2, 0));
    assert_eq!(
        announce.rival_second_burst_after,
        Some(Duration::from_secs(4))
    );
}

#[test]
fn addresses_that_the_driver_has_no_words_for_are_listed_and_put_in_place_by_ip() {
    let (router, _) = router(
        " virtual_ipaddress {\n 192.0.2.101/24 brd + label eth0:1\n \
         192.0.2.102/24 dev eth1\n 192.0.2.103 peer 192.0.2.104\n }",
    );
    let own: Vec<String> = router
        .config
        .addresses
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(own, ["192.0.2.101/24", "192.0.2.100/24"]);
    let first = &router.config.addresses[0];
    assert_eq!(first.label(), Some("eth0:1"));
    assert_eq!(first.options().broadcast, Some([192, 0, 2, 255].into()));
    assert_eq!(router.config.listed.len(), 2);
    let lines: Vec<String> = router.objects.iter().map(HostObject::addition).collect();
    assert_eq!(
        lines,
        [
            "address add 192.0.2.102/24 dev eth1 scope global\n",
            "address add 192.0.2.103 peer 192.0.2.104/32 dev eth0 scope global\n",
        ]
    );
    assert_eq!(
        router.objects[0].removal(),
        "address del 192.0.2.102/24 dev eth1\n"
    );
}

#[test]
fn addresses_on_other_interfaces_are_announced_there() {
    let (router, _) = router(" virtual_ipaddress {\n 192.0.2.102/24 dev eth1\n }");
    let announced: Vec<_> = router
        .config
        .announced
        .iter()
        .map(|it| (it.interface.as_str(), it.address.to_string()))
        .collect();
    assert_eq!(announced, [("eth1", "192.0.2.102".into())]);
}

#[test]
fn an_address_on_the_interface_of_its_instance_is_on_the_macvlan_of_the_instance_or_on_its_own() {
    let plan = plan_of(
        "vrrp_instance V {\n interface eth0\n virtual_router_id 51\n use_vmac\n \
         virtual_ipaddress {\n 192.0.2.100/24 dev eth0\n }\n \
         virtual_rules {\n from 192.0.2.0/24 tunnel-id 7 table 10 priority 5\n }\n}\n\
         vrrp_instance W {\n interface eth0\n virtual_router_id 51\n use_vmac\n \
         virtual_ipaddress {\n fe80::100/64\n }\n}\n\
         vrrp_instance X {\n interface eth0\n virtual_router_id 53\n \
         virtual_ipaddress {\n 192.0.2.103/24 use_vmac\n }\n}\n",
    );
    let [v, w, x] = plan.routers.as_slice() else {
        panic!("{:?}", plan.notes);
    };
    let device = |router: &PlannedRouter| router.config.virtual_mac.clone().unwrap().name.unwrap();
    assert_eq!(
        (device(v), device(w)),
        ("vrrp.51".into(), "vrrp6.51".into())
    );
    assert_eq!(v.config.addresses[0].to_string(), "192.0.2.100/24");
    assert!(v.config.announced.is_empty());
    let rule: String = v.objects.iter().map(HostObject::addition).collect();
    assert!(rule.contains(" tun_id 7 "), "{rule}");
    assert_eq!(
        (x.macvlans[0].name.as_str(), x.macvlans[0].parent.as_str()),
        ("vrrp.53", "eth0")
    );
    let address = x.objects[0].addition();
    assert!(address.contains("192.0.2.103/24 dev vrrp.53 "), "{address}");
}

#[test]
fn addresses_with_a_virtual_mac_go_to_macvlans_one_for_each_interface_and_family() {
    let plan = plan_of(
        "global_defs {\n vmac_addr_prefix vx\n}\n\
         vrrp_instance V {\n interface eth0\n virtual_router_id 51\n use_vmac_addr\n \
         virtual_ipaddress {\n 192.0.2.100/24\n 198.51.100.7/24 dev eth1\n \
         198.51.100.8/24 dev eth1\n }\n virtual_ipaddress_excluded {\n \
         2001:db8::7/64 dev eth1\n 2001:db8:1::7/64\n }\n}\n\
         vrrp_instance W {\n interface eth0\n virtual_router_id 52\n use_vmac\n \
         virtual_ipaddress {\n 192.0.2.101/24 dev eth0 use_vmac\n \
         198.51.100.9/24 dev eth1 use_vmac\n 198.51.100.10/24 dev eth1\n }\n}\n",
    );
    let macvlans = |place: usize| -> Vec<_> {
        let macvlans = plan.routers[place].macvlans.iter();
        macvlans
            .map(|it| (it.name.as_str(), it.parent.as_str(), it.family))
            .collect()
    };
    let (v4, v6) = (Family::Ipv4, Family::Ipv6);
    // The names that keepalived 2.2.7 finds, except for the last: vx2.51.
    let expected = [
        ("vx.51", "eth1", v4),
        ("vx6.51", "eth1", v6),
        ("vx1.51", "eth0", v6),
    ];
    assert_eq!(macvlans(0), expected);
    assert_eq!(macvlans(1), [("vx.52", "eth1", v4)]);
    let additions = |place: usize| -> String {
        let objects = plan.routers[place].objects.iter();
        objects.map(HostObject::addition).collect()
    };
    for line in [
        "198.51.100.7/24 dev vx.51 ",
        "198.51.100.8/24 dev vx.51 ",
        "2001:db8::7/64 dev vx6.51 ",
        "2001:db8:1::7/64 dev vx1.51 ",
    ] {
        assert!(additions(0).contains(line), "{line}: {}", additions(0));
    }
    let second = additions(1);
    assert!(second.contains("198.51.100.9/24 dev vx.52 "), "{second}");
    assert!(second.contains("198.51.100.10/24 dev eth1 "), "{second}");
    let announced = &plan.routers[1].config.announced;
    assert!(
        announced.iter().any(|it| it.interface == "vx.52"),
        "{announced:?}"
    );
}

#[test]
fn an_instance_with_an_ipvlan_advertises_from_it() {
    let (router, notes) = router(" use_ipvlan iv 192.0.2.3/24 vepa");
    assert_eq!(router.config.interface, "iv");
    let ipvlan = router.ipvlan.unwrap();
    assert_eq!(
        (ipvlan.name.as_str(), ipvlan.parent.as_str()),
        ("iv", "eth0")
    );
    let lines: Vec<String> = ipvlan.objects.iter().map(HostObject::addition).collect();
    let expected = [
        "link add iv link eth0 type ipvlan mode l2 vepa\n",
        "address add 192.0.2.3/24 dev iv\n",
        "link set iv up\n",
    ];
    assert_eq!(lines, expected);
    assert_eq!(ipvlan.objects[0].removal(), "link del iv\n");
    // The addresses stay on the parent.
    let lines: Vec<String> = router.objects.iter().map(HostObject::addition).collect();
    let expected = "address add 192.0.2.100/24 dev eth0 scope global\n";
    assert_eq!(lines, [expected]);
    assert!(
        router.config.addresses.is_empty() && notes.is_empty(),
        "{notes:?}"
    );
}

#[test]
fn garp_extra_if_refreshes_addresses_with_a_virtual_mac_or_on_all_other_interfaces() {
    let refreshes = |further: &str| -> Vec<_> {
        let text = format!(
            "{further}\n virtual_ipaddress {{\n 198.51.100.7/24 dev eth1 use_vmac\n \
             198.51.100.8/24 dev eth1\n }}"
        );
        let (router, _) = router(&text);
        let announced = router.config.announced.iter();
        announced
            .map(|it| it.refresh.map(|it| it.as_secs()))
            .collect()
    };
    assert_eq!(refreshes(""), [None, None]);
    assert_eq!(refreshes(" garp_extra_if 100"), [Some(100), None]);
    assert_eq!(refreshes(" garp_extra_if all 9"), [Some(9), Some(9)]);
    assert_eq!(refreshes(" garp_extra_if 0"), [None, None]);
}

/// The periods of announcements of an address with a virtual MAC and of one without, both on
/// another interface, and the complaints.
fn extra_periods(global: &str, further: &str) -> (Vec<Option<u64>>, Vec<String>) {
    let text = format!(
        "global_defs {{\n{global}\n}}\nvrrp_instance V {{\n interface eth0\n \
         virtual_router_id 7\n{further}\n virtual_ipaddress {{\n \
         198.51.100.7/24 dev eth1 use_vmac\n 198.51.100.8/24 dev eth1\n }}\n}}\n"
    );
    let lines = Lines::of_text(Path::new("conf"), text, &Environment::default());
    let reading = keepalived_conf::interpret(lines, &host());
    let plan = translate(&reading.configuration, Duration::from_secs(1000));
    let announced = plan.routers[0].config.announced.iter();
    let periods = announced.map(|it| it.refresh.map(|it| it.as_secs()));
    let complaints = reading.complaints.iter().map(ToString::to_string);
    (periods.collect(), complaints.collect())
}

#[test]
fn vmac_garp_intvl_is_a_deprecated_name_of_garp_extra_if() {
    let deprecated = vec!["vmac_garp_intvl is deprecated".to_owned()];
    for (further, periods) in [
        (" vmac_garp_intvl 100", [Some(100), None]),
        (" vmac_garp_intvl all 9", [Some(9), Some(9)]),
        (" vmac_garp_intvl 0", [None, None]),
        // The later one counts.
        (" garp_extra_if 8\n vmac_garp_intvl 9", [Some(9), None]),
        (" vmac_garp_intvl 9\n garp_extra_if 8", [Some(8), None]),
        (" garp_extra_if 8\n vmac_garp_intvl 0", [None, None]),
    ] {
        let found = extra_periods("", further);
        assert_eq!(found, (periods.to_vec(), deprecated.clone()), "{further}");
    }
}

#[test]
fn vrrp_vmac_garp_intvl_is_a_deprecated_name_of_vrrp_garp_extra_if() {
    let deprecated = vec!["vrrp_vmac_garp_intvl is deprecated".to_owned()];
    for (global, periods) in [
        (" vrrp_vmac_garp_intvl 100", [Some(100), None]),
        (" vrrp_vmac_garp_intvl all 9", [Some(9), Some(9)]),
        (
            " vrrp_garp_extra_if 8\n vrrp_vmac_garp_intvl 9",
            [Some(9), None],
        ),
        (
            " vrrp_vmac_garp_intvl 9\n vrrp_garp_extra_if 8",
            [Some(8), None],
        ),
    ] {
        let found = extra_periods(global, "");
        assert_eq!(found, (periods.to_vec(), deprecated.clone()), "{global}");
    }
    // An instance has the last word.
    let (periods, _) = extra_periods(" vrrp_vmac_garp_intvl 9", " vmac_garp_intvl 0");
    assert_eq!(periods, [None, None]);
}

#[test]
fn a_period_of_announcements_that_cannot_be_used_leaves_the_one_before() {
    for wrong in ["", " all", " all 86401", " -1"] {
        for word in ["garp_extra_if", "vmac_garp_intvl"] {
            let (periods, complaints) =
                extra_periods("", &format!(" garp_extra_if 8\n {word}{wrong}"));
            assert_eq!(periods, [Some(8), None], "{word}{wrong}");
            let has = |start: &str, range: &str, complaints: &[String]| {
                let mut all = complaints.iter();
                all.any(|it| it.starts_with(start) && it.contains(range))
            };
            assert!(has(word, "0 to 86400", &complaints), "{complaints:?}");
            let (periods, complaints) =
                extra_periods(&format!(" vrrp_garp_extra_if 8\n vrrp_{word}{wrong}"), "");
            assert_eq!(periods, [Some(8), None], "vrrp_{word}{wrong}");
            let word = format!("vrrp_{word}");
            assert!(has(&word, "1 to 86400", &complaints), "{complaints:?}");
        }
    }
    let (periods, complaints) = extra_periods(" vrrp_garp_extra_if 0", "");
    assert_eq!((periods, complaints.len()), (vec![None, None], 1));
}

#[test]
fn intervals_of_announcements_hold_for_each_interface_and_for_groups_together() {
    let plan = plan_of(
        "global_defs {\n vrrp_garp_interval 0.001\n vrrp_gna_interval 0.000002\n}\n\
         garp_group {\n garp_interval 0.1\n interfaces {\n eth0 eth1\n }\n}\n",
    );
    let pace = |arp, neighbor| AnnouncementPace {
        gratuitous_arp: Duration::from_micros(arp),
        neighbor_advertisement: Duration::from_micros(neighbor),
    };
    let expected = Pacing {
        each: pace(1000, 2),
        groups: vec![PaceGroup {
            interfaces: vec!["eth0".into(), "eth1".into()],
            pace: pace(100_000, 0),
        }],
    };
    assert_eq!(plan.pacing, expected);
    assert_eq!(plan_of("").pacing, Pacing::default());
}

#[test]
fn a_garp_group_without_an_interval_and_an_interface_in_two_of_them_are_complained_of() {
    let complaints = |text: &str| {
        let lines = Lines::of_text(Path::new("conf"), text.into(), &Environment::default());
        let reading = keepalived_conf::interpret(lines, &host());
        let complaints = reading.complaints.iter().map(ToString::to_string);
        (complaints.collect::<Vec<_>>(), reading.configuration)
    };
    let (none, configuration) = complaints("garp_group {\n interface eth0\n}\n");
    assert!(none[0].contains("no garp_interval"), "{none:?}");
    assert!(configuration.garp_groups.is_empty());
    let group = "garp_group {\n garp_interval 1\n interface eth0\n}\n";
    let (twice, configuration) = complaints(&group.repeat(2));
    assert!(
        twice[0].contains("eth0 is in a garp_group already"),
        "{twice:?}"
    );
    assert!(configuration.garp_groups[1].interfaces.is_empty());
}

#[test]
fn interfaces_that_addresses_and_routes_name_are_tracked_unless_they_say_no() {
    let tracked = |further: &str| -> Vec<_> {
        let (router, _) = router(further);
        let uses = router.tracked.into_iter();
        uses.map(|it| (it.object, it.weight.get())).collect()
    };
    let eth1 = |weight| vec![("interface eth1".to_owned(), weight)];
    let excluded = " virtual_ipaddress_excluded {\n 198.51.100.7/24 dev eth1\n }";
    assert_eq!(tracked(excluded), eth1(None));
    let route = " virtual_routes {\n 203.0.113.0/24 dev eth1\n }";
    assert_eq!(tracked(route), eth1(None));
    let weighted = format!("{excluded}\n track_interface {{\n eth1 weight -10\n }}");
    assert_eq!(tracked(&weighted), eth1(Some(-10)));
    assert_eq!(
        tracked(&excluded.replace("dev eth1", "dev eth1 no_track")),
        []
    );
    assert_eq!(tracked(&route.replace("dev eth1", "dev eth1 no_track")), []);
    assert_eq!(tracked(&excluded.replace("eth1", "eth0")), []);
}

#[test]
fn an_interface_with_delays_is_a_tracked_object_of_its_instances() {
    let plan = plan_of(
        "interface_up_down_delays {\n eth0 0.5 1\n eth1 0.25\n}\n\
         vrrp_instance V {\n interface eth0\n virtual_router_id 7\n \
         track_interface {\n eth1 weight -10\n }\n virtual_ipaddress {\n 192.0.2.100/24\n }\n}\n\
         vrrp_instance W {\n interface eth0\n virtual_router_id 8\n dont_track_primary\n \
         virtual_ipaddress {\n 192.0.2.101/24\n }\n}\n",
    );
    let [first, second] = plan.routers.as_slice() else {
        panic!("{:?}", plan.routers);
    };
    assert!(!first.config.track_interface);
    let tracked = |router: &PlannedRouter| -> Vec<_> {
        let uses = router.tracked.iter();
        uses.map(|it| (it.object.clone(), it.weight.get()))
            .collect()
    };
    let eth1 = ("interface eth1".to_owned(), Some(-10));
    let eth0 = ("interface eth0".to_owned(), None);
    assert_eq!(tracked(first), [eth1, eth0]);
    assert_eq!(tracked(second), []);
    let debounce = |place: usize| {
        let debounce = plan.objects[place].object.debounce;
        (debounce.down.as_millis(), debounce.up.as_millis())
    };
    assert_eq!((debounce(0), debounce(1)), ((500, 1000), (250, 250)));
    assert!(plan.notes.is_empty(), "{:?}", plan.notes);
}

#[test]
fn routes_go_to_the_driver_where_it_has_words_for_them() {
    let (router, _) = router(
        " virtual_routes {\n 203.0.113.0/24 via 192.0.2.9 dev eth0 metric 5\n \
         203.0.113.0/25 via 192.0.2.9 dev eth0 onlink mtu 1400\n blackhole 198.18.0.0/15\n }\n \
         virtual_rules {\n from 192.0.2.100 table 10 priority 5\n }",
    );
    assert_eq!(
        router.config.routes[0].to_string(),
        "203.0.113.0/24 via 192.0.2.9 dev eth0 metric 5"
    );
    let lines: Vec<String> = router.objects.iter().map(HostObject::addition).collect();
    assert_eq!(
        lines,
        [
            "route prepend 203.0.113.0/25 via 192.0.2.9 dev eth0 mtu 1400 proto 18 onlink\n",
            "route prepend blackhole 198.18.0.0/15 proto 18\n",
            "rule add from 192.0.2.100/32 priority 5 table 10 protocol 18\n",
        ]
        .map(|line| line.replace("prepend blackhole", "add blackhole"))
    );
}

#[test]
fn what_is_not_supported_is_named() {
    let (_, notes) =
        router(" use_vmac vm 00:11:22:33:44:55\n unicast_ttl 0\n unicast_peer {\n 192.0.2.2\n }");
    for part in ["00:11:22:33:44:55", "unicast_ttl 0"] {
        assert!(notes.iter().any(|note| note.contains(part)), "{notes:?}");
    }
    let plan = plan_of(
        "vrrp_instance V {\n interface eth0\n virtual_router_id 7\n version 2\n \
         virtual_ipaddress {\n 2001:db8::1\n }\n}\n",
    );
    assert!(plan.routers.is_empty());
    assert!(
        plan.notes[0].contains("version 2 over IPv6"),
        "{:?}",
        plan.notes
    );
}

#[test]
fn transport_and_authentication_are_taken_over() {
    let (router, notes) = router(
        " unicast_src_ip 192.0.2.1\n unicast_ttl 64\n unicast_peer {\n \
         192.0.2.2 min_ttl 250 max_ttl 254\n 192.0.2.3\n }\n \
         authentication {\n auth_type PASS\n auth_pass secret\n }",
    );
    let Transport::Unicast { peers } = &router.config.transport else {
        panic!("{:?}", router.config.transport);
    };
    let bounds: Vec<_> = peers.iter().map(|it| (it.min_ttl, it.max_ttl)).collect();
    assert_eq!(bounds, [(250, 254), (0, 255)]);
    assert_eq!(router.config.unicast_ttl, 64);
    assert_eq!(router.config.source, Some([192, 0, 2, 1].into()));
    assert!(matches!(
        router.config.authentication,
        Authentication::SimpleText(_)
    ));
    assert!(notes.is_empty(), "{notes:?}");
}

/// A unicast instance without an interface, with further settings.
fn without_interface(further: &str, like: Like) -> keepalived_conf::Reading {
    let text = format!(
        "vrrp_instance V {{\n virtual_router_id 7\n{further}\n unicast_peer {{\n 192.0.2.2\n }}\n \
         virtual_ipaddress {{\n 203.0.113.1 dev eth0\n }}\n}}\n"
    );
    let environment = Environment {
        like,
        ..Environment::default()
    };
    let lines = Lines::of_text(Path::new("conf"), text, &environment);
    keepalived_conf::interpret(lines, &host())
}

#[test]
fn a_unicast_instance_without_an_interface_runs_on_the_one_with_its_source_address() {
    let source = " unicast_src_ip 198.51.100.1";
    for further in [source, &format!("{source}\n vrf eth1")] {
        let reading = without_interface(further, Like::Recent);
        assert!(reading.is_startable, "{:#?}", reading.complaints);
        let plan = translate(&reading.configuration, Duration::from_secs(1000));
        let config = &plan.routers[0].config;
        assert_eq!(config.interface, "eth1");
        assert_eq!(config.unicast_path, UnicastPath::RoutingTable);
        assert_eq!(config.source, Some("198.51.100.1".parse().unwrap()));
        assert!(!config.track_interface);
        assert_eq!(config.announced[0].interface, "eth0");
    }
    let (router, _) = router(&format!("{source}\n unicast_peer {{\n 192.0.2.2\n }}"));
    assert_eq!(router.config.unicast_path, UnicastPath::Interface);
}

#[test]
fn an_instance_without_an_interface_needs_peers_and_an_address_of_the_host() {
    for further in [
        "",
        " unicast_src_ip 198.51.100.9",
        " unicast_src_ip 198.51.100.1\n use_vmac",
        " unicast_src_ip 198.51.100.1\n interface lo",
    ] {
        let reading = without_interface(further, Like::Recent);
        assert!(!reading.is_startable, "{further}");
    }
    // keepalived 2.2.7 always needs an interface.
    let source = " unicast_src_ip 198.51.100.1";
    assert!(!without_interface(source, Like::Debian12).is_startable);
}

#[test]
fn a_trailer_with_hmac_is_taken_over() {
    let (router, _) = router(
        " auth_hmac {\n key 3 0123456789abcdef0123456789abcdef\n key 4 \
         hex:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n active_key 4\n \
         anti_replay monotonic\n mode permissive\n }",
    );
    let Authentication::Hmac(keys) = &router.config.authentication else {
        panic!("{:?}", router.config.authentication);
    };
    assert_eq!((keys.keys.len(), keys.active), (2, 4));
    assert_eq!(keys.mode, vrrp_net::HmacMode::Permissive);
}

#[test]
fn tracked_objects_are_made_once_and_used_with_the_weight_of_each_use() {
    let plan = plan_of(
        "vrrp_script s {\n script \"/usr/bin/true a\"\n interval 3\n rise 2\n fall 4\n weight 7\n}\n\
         vrrp_script unused {\n script /usr/bin/true\n}\n\
         vrrp_track_file f {\n file /tmp/f\n}\n\
         vrrp_track_process p {\n process x\n delay 2\n}\n\
         vrrp_instance A {\n interface eth0\n virtual_router_id 1\n virtual_ipaddress {\n 192.0.2.9\n }\n \
         track_script {\n s\n }\n track_file {\n f weight 3\n }\n track_process {\n p\n }\n \
         track_interface {\n eth1 weight -5\n }\n}\n\
         vrrp_instance B {\n interface eth0\n virtual_router_id 2\n virtual_ipaddress {\n 192.0.2.10\n }\n \
         track_script {\n s weight -9 reverse\n }\n}\n",
    );
    let names: Vec<&str> = plan
        .objects
        .iter()
        .map(|it| it.object.name.as_str())
        .collect();
    assert_eq!(names, ["interface eth1", "script s", "file f", "process p"]);
    let Some(Probe::Script {
        script, interval, ..
    }) = &plan.objects[1].probe
    else {
        panic!("{:?}", plan.objects[1]);
    };
    assert_eq!(script.arguments, ["/usr/bin/true", "a"]);
    assert_eq!(*interval, Duration::from_secs(3));
    let weight = |router: usize, name: &str| {
        let uses = &plan.routers[router].tracked;
        let found = uses.iter().find(|it| it.object == name).unwrap();
        (found.weight.get(), found.is_reverse)
    };
    assert_eq!(weight(0, "script s"), (Some(7), false));
    assert_eq!(weight(1, "script s"), (Some(-9), true));
    assert_eq!(weight(0, "interface eth1"), (Some(-5), false));
    assert_eq!(weight(0, "process p"), (Weight::FAULT.get(), false));
    assert_eq!(plan.objects[3].object.debounce.down, Duration::from_secs(2));
}

#[test]
fn a_script_has_times_in_milliseconds_since_2_3_and_in_whole_seconds_before() {
    // Observed with 2.2.7 and 2.3.3.
    let times = |time: &str, like| {
        let text = format!(
            "vrrp_script s {{\n script /usr/bin/true\n interval {time}\n timeout {time}\n}}\n\
             vrrp_instance A {{\n interface eth0\n virtual_router_id 1\n virtual_ipaddress {{\n \
             192.0.2.9\n }}\n track_script {{\n s\n }}\n}}\n"
        );
        let environment = Environment {
            like,
            ..Environment::default()
        };
        let lines = Lines::of_text(Path::new("conf"), text, &environment);
        let reading = keepalived_conf::interpret(lines, &host());
        let is_malformed = |it: &&Complaint| it.kind == Kind::InvalidNumber;
        let count = reading.complaints.iter().filter(is_malformed).count();
        let plan = translate(&reading.configuration, Duration::ZERO);
        match &plan.objects[0].probe {
            Some(Probe::Script {
                interval, timeout, ..
            }) => (interval.as_millis(), timeout.as_millis(), count),
            other => panic!("{other:?}"),
        }
    };
    let recent = |time| times(time, Like::Recent);
    assert_eq!(recent("0.2"), (200, 200, 0));
    assert_eq!(recent("3"), (3000, 3000, 0));
    let (interval, timeout, _) = recent("0.0001");
    assert_eq!((interval, timeout), (1000, 1000));
    let before = |time| times(time, Like::Debian12);
    assert_eq!(before("3"), (3000, 3000, 0));
    assert_eq!(before("0.2").2, 2);
}

#[test]
fn groups_have_the_members_that_run() {
    let plan = plan_of(
        "vrrp_sync_group G {\n group {\n A\n B\n }\n}\n\
         vrrp_instance A {\n interface eth0\n virtual_router_id 1\n virtual_ipaddress {\n 192.0.2.9\n }\n}\n\
         vrrp_instance B {\n interface eth0\n virtual_router_id 2\n version 2\n virtual_ipaddress {\n 2001:db8::1\n }\n}\n",
    );
    assert_eq!(plan.groups[0].members, ["A"]);
    assert!(
        plan.notes.iter().any(|it| it.contains("left out")),
        "{:?}",
        plan.notes
    );
}

#[test]
fn the_later_of_both_delays_at_the_start_counts() {
    let hold = |global: &str| {
        let text = format!(
            "global_defs {{\n{global}\n}}\nvrrp_instance A {{\n interface eth0\n virtual_router_id 1\n \
             virtual_ipaddress {{\n 192.0.2.9\n }}\n}}\n"
        );
        plan_of(&text).startup_hold
    };
    assert_eq!(hold("vrrp_startup_delay 2.5"), Duration::from_millis(2500));
    // The host has been running for 1000 seconds.
    assert_eq!(hold("vrrp_delay_after_boot 1010"), Duration::from_secs(10));
    assert_eq!(hold("vrrp_delay_after_boot 900"), Duration::ZERO);
}

#[test]
fn static_objects_are_those_of_ip() {
    let plan = plan_of(
        "static_ipaddress {\n 198.51.100.5/24 dev eth1\n 2001:db8::5/64 dev eth0\n}\n\
         static_routes {\n 203.0.113.0/24 via 198.51.100.9 dev eth1\n}\n\
         static_rules {\n to 203.0.113.0/24 table 5 priority 9\n}\n",
    );
    let lines: Vec<String> = plan.statics.iter().map(HostObject::addition).collect();
    assert_eq!(
        lines,
        [
            "address add 198.51.100.5/24 dev eth1 scope global\n",
            "address add 2001:db8::5/64 dev eth0 nodad valid_lft forever preferred_lft forever\n",
            "route prepend 203.0.113.0/24 via 198.51.100.9 dev eth1 proto 18\n",
            "rule add from all to 203.0.113.0/24 priority 9 table 5 protocol 18\n",
        ]
    );
    assert!(plan.statics[1].is_ipv6() && !plan.statics[2].is_ipv6());
}

#[test]
fn a_virtual_server_becomes_a_service_of_a_pool_with_keepalived_s_rules() {
    let text = "virtual_server 192.0.2.1 80 {\n delay_loop 7\n lb_algo sh\n lb_kind TUN type gue port 6080 csum\n \
        protocol TCP\n sh-port\n quorum 2\n hysteresis 1\n persistence_timeout 50\n \
        persistence_granularity 255.255.255.0\n sorry_server 10.0.0.9 80\n sorry_server_inhibit\n \
        real_server 10.0.0.1 80 {\n weight 3\n uthreshold 9\n inhibit_on_failure\n \
        HTTP_GET {\n url {\n path /a\n status_code 200\n }\n url {\n path /b\n }\n retry 2\n \
        delay_before_retry 4\n warmup 0\n alpha\n }\n }\n \
        real_server 10.0.0.2 80 {\n FILE_CHECK {\n track_file f\n }\n TCP_CHECK {\n connect_port 81\n }\n }\n}\n\
        track_file f {\n file /tmp/f\n}\n";
    let balance = balance_of(text);
    let [service] = balance.config.services.as_slice() else {
        panic!("{:#?}", balance.config.services);
    };
    assert_eq!(service.panic, Panic::Off);
    assert_eq!(service.drain, None);
    assert_eq!(service.quorum.at_least, Capacity::Weight(2));
    assert_eq!(service.quorum.hysteresis, 1);
    assert_eq!(service.service.scheduler_flags, SchedulerFlags::SH_PORT);
    let persistence = service.service.persistence().unwrap();
    assert_eq!(
        (persistence.timeout, persistence.netmask.to_string()),
        (50, "255.255.255.0".into())
    );
    assert!(service.sorry_server.unwrap().inhibit);
    let [first, second] = service.servers.as_slice() else {
        panic!("{:#?}", service.servers);
    };
    assert_eq!(
        first.destination.forwarding.to_string(),
        "tunnel gue port 6080 checksum"
    );
    assert_eq!(
        (
            first.destination.weight.get(),
            first.destination.thresholds.upper()
        ),
        (3, 9)
    );
    assert_eq!(first.inhibit_on_failure, Some(true));
    let check = &first.checks[0];
    assert_eq!((check.probes.len(), check.fall, check.rise), (2, 3, 3));
    assert_eq!(check.interval, Duration::from_secs(7));
    assert_eq!(check.fast_interval, Some(Duration::from_secs(4)));
    assert_eq!((check.initial, check.noise), (Initial::Down, 0));
    assert_eq!(check.spread, Some(Duration::ZERO));
    assert_eq!(check.first_result, FirstResult::Decides);
    assert!(!check.retry_while_down);
    assert_eq!(second.checks[0].port, Some(81));
    assert_eq!(second.checks[0].initial, Initial::Up);
    let file = &second.checks[1];
    assert_eq!((file.interval, file.fall), (Duration::from_millis(100), 1));
    assert!(
        matches!(&file.probes[..], [probe::Probe::File(_)]),
        "{file:?}"
    );
    assert_eq!(balance.notes, [""; 0]);
}

fn balance_of(text: &str) -> Balance {
    let lines = Lines::of_text(Path::new("conf"), text.into(), &Environment::default());
    let reading = keepalived_conf::interpret(lines, &host());
    balance(&reading.configuration)
}

/// The request of an HTTP check with settings of service, server, check and URL.
fn request(global: &str, [service, server, check, url]: [&str; 4]) -> (Option<Http>, Vec<String>) {
    let balance = balance_of(&format!(
        "{global}\nvirtual_server 192.0.2.1 443 {{\n lb_algo rr\n lb_kind NAT\n protocol TCP\n{service}\n \
         real_server 10.0.0.1 443 {{\n{server}\n SSL_GET {{\n{check}\n url {{\n path /\n{url}\n }}\n }}\n }}\n}}\n"
    ));
    let servers = balance.config.services[0].servers.first();
    let http = servers.map(|server| match &server.checks[0].probes[..] {
        [probe::Probe::Http(http)] => (**http).clone(),
        other => panic!("{other:?}"),
    });
    (http, balance.notes)
}

#[test]
fn the_name_in_the_tls_handshake_is_that_of_the_url_the_check_or_the_service() {
    let hosts = ["service", "server", "check", "url"].map(|it| format!("virtualhost {it}.example"));
    let [service, server, check, url] = hosts.each_ref().map(String::as_str);
    let sni = |extra: &str| format!("{check}\n{extra}");
    let (all, named) = (sni("enable_sni"), sni("enable_sni\nsni_name own.example"));
    for (settings, name) in [
        ([service, server, check, url], None),
        ([service, server, &all, url], Some("url.example")),
        ([service, server, &all, ""], Some("check.example")),
        // The host of a real server is in the request, and not in the handshake.
        ([service, server, "enable_sni", ""], Some("service.example")),
        (["", server, "enable_sni", ""], None),
        ([service, server, &named, url], Some("own.example")),
        (["", "", "sni_name own.example", ""], Some("own.example")),
    ] {
        let (http, notes) = request("", settings);
        let expected = Tls::new(TlsSettings {
            name: name.map(str::to_owned),
            ..TlsSettings::default()
        });
        assert_eq!(http.unwrap().tls, Some(expected.unwrap()), "{settings:?}");
        assert_eq!(notes, [""; 0]);
    }
}

#[test]
fn the_ssl_block_has_the_certificate_of_every_check() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (certificate, key) = (path("certificate.pem"), path("key.pem"));
    let made = std::process::Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            "/CN=client",
        ])
        .args(["-keyout", &key, "-out", &certificate])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let block = format!("SSL {{\n certificate {certificate}\n key {key}\n}}");
    let (http, notes) = request(&block, [""; 4]);
    let expected = Tls::new(TlsSettings {
        certificate: Some(certificate.clone().into()),
        key: Some(key.clone().into()),
        ..TlsSettings::default()
    });
    assert_eq!(http.unwrap().tls, Some(expected.unwrap()));
    assert_eq!(notes, [""; 0]);
    // An encrypted key, which a password decrypts.
    let encrypted = format!("{key}.encrypted");
    let made = std::process::Command::new("openssl")
        .args([
            "pkcs8",
            "-topk8",
            "-passout",
            "pass:secret",
            "-in",
            &key,
            "-out",
            &encrypted,
        ])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let block =
        format!("SSL {{\n certificate {certificate}\n key {encrypted}\n password secret\n}}");
    let (http, notes) = request(&block, [""; 4]);
    let expected = Tls::new(TlsSettings {
        certificate: Some(certificate.into()),
        key: Some(encrypted.into()),
        password: Some("secret".into()),
        ..TlsSettings::default()
    });
    assert_eq!(http.unwrap().tls, Some(expected.unwrap()));
    assert_eq!(notes, [""; 0]);
    // Without its certificate the check would prove nothing, so there is no check.
    let (http, notes) = request(&format!("SSL {{\n key {key}\n}}"), [""; 4]);
    assert_eq!(http, None);
    assert!(notes[0].contains("use both"), "{notes:?}");
}

#[test]
fn options_of_an_expression_change_its_meaning_as_in_pcre2() {
    let of = |url: &str| request("", ["", "", "", url]);
    let body = |url: &str| of(url).0.unwrap().body.unwrap();
    let plain = body("regex a.b");
    assert_eq!((plain.from, plain.to, plain.must_match), (0, None, true));
    assert_eq!(plain.pattern.find(b"A\nb"), None);
    let both = body("regex a.b\nregex_options caseless dotall no_auto_possess");
    assert_eq!(both.pattern.find(b"xA\nB"), Some(1));
    let lines = body("regex ^b\nregex_options multiline");
    assert_eq!(lines.pattern.find(b"a\nb"), Some(2));
    let spaced = body("regex \"a b\"\nregex_options extended");
    assert_eq!(spaced.pattern.find(b"ab"), Some(0));
    let bounds = body("regex a\nregex_min_offset 2\nregex_max_offset 5\nregex_no_match");
    assert_eq!(
        (bounds.from, bounds.to, bounds.must_match),
        (2, Some(5), false)
    );
    let none = body("regex a\nregex_min_offset 6\nregex_max_offset 5");
    assert_eq!((none.from, none.to), (0, None));
    let first = body("regex ok$\nregex_options firstline");
    assert!(first.on_first_line);
    assert_eq!(first.find(b"it is ok\n"), Some(6));
    assert_eq!(first.find(b"it is\nok\n"), None);
    let (_, notes) = of("regex a\nregex_options ucp");
    assert!(notes[0].contains("ucp is not supported"), "{notes:?}");
}

#[test]
fn a_sync_daemon_without_an_instance_has_both_roles_and_the_id_0() {
    let sync = |statement: &str| {
        let text = format!(
            "global_defs {{\n lvs_sync_daemon {statement}\n}}\nvrrp_instance V {{\n interface eth0\n \
             virtual_router_id 7\n virtual_ipaddress {{\n 192.0.2.9\n }}\n}}\n"
        );
        let balance = balance_of(&text);
        (balance.kernel.sync, balance.notes)
    };
    let ids = |statement: &str, is_active| {
        let daemons = sync(statement).0.unwrap().daemons(is_active);
        let ids = daemons.iter().map(|it| (it.state, it.sync_id));
        ids.collect::<Vec<_>>()
    };
    let (master, backup) = (DaemonState::Master, DaemonState::Backup);
    assert_eq!(ids("eth0", false), [(master, 0), (backup, 0)]);
    assert_eq!(ids("eth0 V", true), [(master, 7)]);
    assert_eq!(ids("eth0 inst V", false), [(backup, 7)]);
    assert_eq!(ids("eth0 V id 9", true), [(master, 9)]);
    assert_eq!(ids("eth0 V 9", true), [(master, 9)]);
    let (none, notes) = sync("eth0 W");
    assert_eq!(none, None);
    assert!(notes[0].contains("no vrrp_instance \"W\""), "{notes:?}");
}

/// The check of the pool for a check in a keepalived.conf.
fn check_of(text: &str) -> Check<probe::Probe> {
    let text = format!(
        "virtual_server 192.0.2.1 80 {{\n delay_loop 7\n connect_timeout 3\n protocol TCP\n \
         real_server 10.0.0.1 80 {{\n {text}\n }}\n}}\n"
    );
    let lines = Lines::of_text(Path::new("conf"), text, &Environment::default());
    let reading = keepalived_conf::interpret(lines, &host());
    let mut balance = balance(&reading.configuration);
    balance.config.services[0].servers[0].checks.remove(0)
}

#[test]
fn each_kind_of_check_has_its_own_retries_and_intervals() {
    let seconds = Duration::from_secs;
    let tcp = check_of("TCP_CHECK {\n }");
    assert_eq!((tcp.fall, tcp.rise), (2, 1));
    assert_eq!(tcp.first_result, FirstResult::Decides);
    assert_eq!(tcp.time_limit, seconds(3));
    assert_eq!(tcp.fast_interval, Some(seconds(1)));
    assert!(!tcp.retry_while_down && tcp.pace == Pace::AfterEnd);
    // First the failed URL, and then all URLs; never faster than the interval.
    let http = check_of("HTTP_GET {\n url {\n path /\n }\n delay_before_retry 9\n }");
    assert_eq!((http.fall, http.rise), (2, 2));
    assert_eq!(http.fast_interval, Some(seconds(9)));
    assert_eq!(http.down_interval, Some(seconds(9)));
    let probe::Probe::Http(attempt) = &http.probes[0] else {
        panic!("{http:?}");
    };
    // The limit applies to a step, and a whole attempt may take several times that.
    assert_eq!(attempt.step_limit, Some(seconds(3)));
    assert!(http.time_limit > seconds(3));
    let smtp = check_of("SMTP_CHECK {\n }");
    assert_eq!(smtp.first_result, FirstResult::Counts);
    assert!(smtp.retry_while_down);
    let misc = check_of("MISC_CHECK {\n misc_path /bin/true\n }");
    assert_eq!((misc.fall, misc.pace), (1, Pace::AfterStart));
    let dns = check_of("DNS_CHECK {\n }");
    assert_eq!((dns.fall, dns.fast_interval), (4, Some(seconds(7))));
}
