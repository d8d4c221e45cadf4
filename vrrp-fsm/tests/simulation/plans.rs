//! The plan of a scenario, before anything runs.

use std::{collections::BTreeSet, time::Duration};

use vrrp_fsm::{
    fleet::{MessageTransport, VrrpRouter},
    sim::{
        Chance, FaultRates, Property, Rate, Scenario, ScenarioError, Simulation, Violation,
        primary_address,
    },
};
use vrrp_proto::{Family, Interval, LocalAuthentication, Password, Peer, Versions};

use crate::scenarios::at;

#[test]
fn uniform_hosts_have_all_virtual_routers_and_take_turns_in_being_the_best() {
    let plan = Scenario::uniform(3, 1021).unwrap();
    assert_eq!(plan.hosts.len(), 3);
    let member = |host: usize, router: usize| {
        let member = &plan.hosts[host].members[router];
        let key = member.key();
        let config = &member.config;
        (
            key.interface,
            key.family,
            key.vrid.get(),
            config.priority.get(),
        )
    };
    assert_eq!(member(0, 0), (1, Family::Ipv4, 1, 200));
    assert_eq!(member(1, 0), (1, Family::Ipv4, 1, 199));
    assert_eq!(member(2, 0), (1, Family::Ipv4, 1, 198));
    assert_eq!(member(2, 1), (1, Family::Ipv6, 1, 200));
    assert_eq!(member(1, 2), (1, Family::Ipv4, 2, 200));
    assert_eq!(member(0, 509), (1, Family::Ipv6, 255, 198));
    assert_eq!(member(0, 510), (2, Family::Ipv4, 1, 200));
    assert_eq!(member(0, 1020), (3, Family::Ipv4, 1, 200));
    for host in &plan.hosts {
        let keys: BTreeSet<_> = host
            .members
            .iter()
            .map(vrrp_fsm::fleet::Member::key)
            .collect();
        assert_eq!(keys.len(), 1021);
    }
}

#[test]
fn as_many_hosts_and_routers_as_there_can_be() {
    for (hosts, routers) in [(1, 1), (100, 1), (1, 100_000)] {
        let plan = Scenario::uniform(hosts, routers).unwrap();
        assert_eq!(plan.hosts.len(), hosts as usize);
        for host in plan.hosts {
            assert_eq!(host.members.len(), routers as usize);
        }
    }
    for (hosts, routers, why) in [
        (0, 1, "hosts 0 is not in 1..=100"),
        (101, 1, "hosts 101 is not in 1..=100"),
        (1, 0, "routers 0 is not in 1..=100000"),
        (1, 100_001, "routers 100001 is not in 1..=100000"),
    ] {
        let error = Scenario::uniform(hosts, routers).unwrap_err();
        assert_eq!(error.to_string(), why);
    }
}

#[test]
fn a_chance_is_a_million_in_a_million_at_most() {
    assert_eq!(Chance::per_million(1_000_000).unwrap().get(), 1_000_000);
    assert!(Chance::per_million(1_000_001).is_err());
    assert_eq!(Chance::NEVER, Chance::default());
}

#[test]
fn a_fault_comes_at_most_once_in_a_millisecond() {
    let set: [fn(&mut FaultRates) -> &mut Option<Rate>; 8] = [
        |faults| &mut faults.crash,
        |faults| &mut faults.stall,
        |faults| &mut faults.stop,
        |faults| &mut faults.priority,
        |faults| &mut faults.interval,
        |faults| &mut faults.object,
        |faults| &mut faults.partition,
        |faults| &mut faults.one_way,
    ];
    for set in set {
        let refused = |every| {
            let mut plan = Scenario::uniform(2, 1).unwrap();
            *set(&mut plan.faults) = Some(Rate {
                every,
                longest: Duration::from_secs(1),
            });
            Simulation::<VrrpRouter>::new(&plan, 1).err()
        };
        assert_eq!(refused(Duration::from_millis(1)), None);
        let found = refused(Duration::from_micros(999));
        assert!(
            matches!(found, Some(ScenarioError::OutOfRange(_))),
            "{found:?}"
        );
    }
}

#[test]
fn a_unicast_router_has_all_others_as_peers_and_not_itself() {
    let mut plan = Scenario::uniform(3, 4).unwrap();
    plan.hosts[2].members.truncate(2);
    plan.use_unicast(|key| key.family == Family::Ipv6);
    for (own, host) in (0..).zip(&plan.hosts) {
        for (place, member) in host.members.iter().enumerate() {
            let hosts = if place < 2 { 0..3 } else { 0..2 };
            let others = hosts
                .filter(|host| *host != own)
                .map(|host| Peer::new(primary_address(host, member.key())));
            let by_unicast = MessageTransport::Unicast {
                peers: others.collect(),
            };
            let is_unicast = member.key().family == Family::Ipv6;
            assert_eq!(member.transport == by_unicast, is_unicast, "{own} {place}");
        }
    }
}

#[test]
fn authentication_takes_the_version_that_has_it() {
    let members = |authentication| {
        let mut plan = Scenario::uniform(1, 2).unwrap();
        plan.hosts[0].members[0].config.interval = Interval::centis(120).unwrap();
        plan.use_authentication(authentication);
        [0, 1].map(|place| {
            let member = &plan.hosts[0].members[place];
            (
                member.authentication,
                member.config.versions,
                member.config.interval.as_duration().as_millis(),
                member.decode.hmac_trailer,
            )
        })
    };
    let none = LocalAuthentication::None;
    let as_before = |millis| (none, Versions::V3, millis, false);
    assert_eq!(members(none), [as_before(1200), as_before(1000)]);
    let password = LocalAuthentication::SimpleText(Password::new(b"s3cret").unwrap());
    for of_v2 in [password, LocalAuthentication::IpAh] {
        let expected = [(of_v2, Versions::V2, 2000, false), as_before(1000)];
        assert_eq!(members(of_v2), expected);
    }
    for hmac in [
        LocalAuthentication::Hmac,
        LocalAuthentication::HmacIfPresent,
    ] {
        let expected = [1200, 1000].map(|millis| (hmac, Versions::V3, millis, true));
        assert_eq!(members(hmac), expected);
    }
}

#[test]
fn a_violation_names_the_property_and_the_place() {
    let violation = Violation {
        at: at(3),
        property: Property::HandOverInSkewTime,
        key: Scenario::uniform(1, 1).unwrap().hosts[0].members[0].key(),
        hosts: vec![1, 2],
    };
    assert_eq!(
        violation.to_string(),
        "hand-over in Skew_Time: LAN 1 IPv4 VRID 1, hosts [1, 2]"
    );
    let texts: BTreeSet<_> = Property::ALL.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), Property::ALL.len());
}
