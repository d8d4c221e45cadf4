//! Adding, changing and removing routers while others run.

use vrrp_fsm::{
    Action, ConfigError, Instant, State,
    fleet::{AddressList, FleetError, MessageTransport, SyncGroup, VrrpRouter},
    track::{Kind, Object, Report},
};
use vrrp_proto::{Family, Peer, Vrid};

use crate::lan::{Lan, config, member, ms};

#[test]
fn nothing_that_is_done_to_one_router_touches_another() {
    let mut lan = Lan::new(1);
    let watched = lan.add(0, member(1, 100));
    lan.run(ms(4_000));
    let now = lan.now;
    let before = *lan.nodes[0].fleet.get(watched).unwrap();
    let other = lan.add(0, member(2, 100));
    let fleet = lan.fleet(0);
    fleet.reconfigure(now, other, member(2, 200)).unwrap();
    fleet.set_primary_address(now, other, None).unwrap();
    fleet.shutdown(now, other).unwrap();
    fleet.remove(now, other).unwrap();
    assert_eq!(*fleet.get(watched).unwrap(), before);
}

#[test]
fn another_configuration_causes_no_election() {
    let mut lan = Lan::new(2);
    let active = lan.add(0, member(1, 200));
    let backup = lan.add(1, member(1, 100));
    lan.run(ms(10_000));
    let now = lan.now;
    let mut other = member(1, 190);
    other.config.interval = vrrp_proto::Interval::centis(50).unwrap();
    lan.fleet(0).reconfigure(now, active, other).unwrap();
    lan.fleet(1)
        .reconfigure(now, backup, member(1, 120))
        .unwrap();
    lan.run(ms(10_000));
    assert_eq!(lan.state(0, active), State::Active);
    assert_eq!(lan.nodes[0].transitions.len(), 2);
    assert_eq!(lan.nodes[1].transitions.len(), 1, "Startup only");
    assert_eq!(lan.nodes[0].advertised.last().unwrap().1, 190);
}

#[test]
fn other_peers_are_advertised_to_at_once() {
    let mut lan = Lan::new(1);
    let id = lan.add(0, member(1, 200));
    lan.run(ms(4_000));
    lan.nodes[0].advertised.clear();
    let now = lan.now;
    let mut unicast = member(1, 200);
    unicast.transport = MessageTransport::Unicast { peers: Vec::new() };
    lan.fleet(0).reconfigure(now, id, unicast.clone()).unwrap();
    lan.exchange_all();
    assert_eq!(lan.nodes[0].advertised.len(), 1);
    assert_eq!(lan.nodes[0].fleet.member(id), Some(unicast));
}

#[test]
fn an_active_advertises_changes_of_its_host_and_a_backup_does_not() {
    let mut lan = Lan::new(1);
    let active = lan.add(0, member(1, 255));
    let backup = lan.add(0, member(2, 100));
    let gone = lan.add(0, member(3, 100));
    lan.exchange_all();
    let now = lan.now;
    let fleet = lan.fleet(0);
    fleet.remove(now, gone).unwrap();
    while fleet.poll_action().is_some() {}
    for id in [active, backup] {
        fleet.addresses_changed(now, id).unwrap();
        fleet.reannounce(now, id).unwrap();
    }
    let actions: Vec<_> = core::iter::from_fn(|| fleet.poll_action()).collect();
    assert!(
        matches!(
            actions[..],
            [
                (a, Action::SendAdvertisement(_)),
                (b, Action::InstallAddresses),
                (c, Action::Announce { .. }),
                (d, Action::Announce { .. }),
            ] if [a, b, c, d] == [active; 4]
        ),
        "{actions:?}"
    );
    let unknown = Err(FleetError::UnknownRouter(gone));
    assert_eq!(fleet.addresses_changed(now, gone), unknown);
    assert_eq!(fleet.reannounce(now, gone), unknown);
}

#[test]
fn vrid_and_family_cannot_change() {
    let mut lan = Lan::new(1);
    let id = lan.add(0, member(1, 100));
    let before = *lan.nodes[0].fleet.get(id).unwrap();
    let now = lan.now;
    let fleet = lan.fleet(0);
    let interface = fleet.reconfigure(now, id, member(2, 100)).unwrap_err();
    assert_eq!(
        interface.to_string(),
        "interface 2 is not 1: it cannot change while the virtual router lives"
    );
    let mut other = member(1, 100);
    other.config = config(52, 100);
    let vrid = fleet.reconfigure(now, id, other).unwrap_err();
    let [configured, requested] = [51, 52].map(|vrid| Vrid::new(vrid).unwrap());
    let expected = ConfigError::VridChanged {
        configured,
        requested,
    };
    assert_eq!(vrid, FleetError::Config(expected));
    assert_eq!(*fleet.get(id).unwrap(), before);
}

#[test]
fn addresses_of_the_other_family_are_refused_and_change_nothing() {
    let mut lan = Lan::new(1);
    let now = lan.now;
    let id = lan.add(0, member(1, 100));
    lan.run(ms(4_000));
    let stopped = lan.add_stopped(0, member(2, 100));
    let ipv6 = core::net::IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, 1]);
    let fleet = lan.fleet(0);
    let before = fleet.snapshot(now);
    let refused = |field| {
        Err(FleetError::AddressFamily {
            field,
            found: Family::Ipv6,
            family: Family::Ipv4,
        })
    };
    assert_eq!(
        fleet.startup(now, stopped, ipv6),
        refused("primary_address")
    );
    let moved = fleet.set_primary_address(now, id, Some(ipv6));
    assert_eq!(moved, refused("primary_address"));
    let peer = Peer::new(ipv6);
    let peers = vec![peer];
    for (field, transport, addresses) in [
        ("group", MessageTransport::Multicast { group: ipv6 }, None),
        ("peers", MessageTransport::Unicast { peers }, None),
        (
            "addresses",
            member(1, 100).transport,
            Some(AddressList::Ipv6(Vec::new())),
        ),
    ] {
        let mut other = member(1, 100);
        other.transport = transport;
        other.addresses = addresses;
        let changed = fleet.reconfigure(now, id, other.clone());
        assert_eq!(changed, refused(field));
        other.interface = 3;
        assert_eq!(fleet.add(now, other).map(drop), refused(field));
    }
    assert_eq!(fleet.snapshot(now), before);
    let mut bad = before;
    bad.members[0].primary_address = Some(ipv6);
    let restored = VrrpRouter::restore(&bad, now).map(drop);
    assert_eq!(restored, refused("primary_address"));
    assert_eq!(
        restored.unwrap_err().to_string(),
        "primary_address is IPv6, but the router is IPv4"
    );
}

#[test]
fn errors_name_the_missing_part() {
    let mut lan = Lan::new(1);
    let now = lan.now;
    let fleet = lan.fleet(0);
    let router = fleet.add(now, member(1, 100)).unwrap();
    let owner = fleet.add(now, member(2, 255)).unwrap();
    let group = fleet
        .add_group(now, SyncGroup::new("group", vec![router]))
        .unwrap();
    let object = Object::new("uplink", Kind::Interface);
    let object = fleet.add_object(now, object).unwrap();
    let mixed = SyncGroup::new("mixed", vec![owner, router]);
    let taken = fleet.add_group(now, mixed).unwrap_err().to_string();
    assert_eq!(taken, "router 0 is already a member of a sync group");
    let _config = fleet.remove_group(now, group).unwrap();
    fleet.remove(now, router).unwrap();
    let _object = fleet.remove_object(object).unwrap();
    let gone = |result: Result<(), FleetError>| result.unwrap_err().to_string();
    let errors = [
        gone(fleet.shutdown(now, router)),
        gone(fleet.remove_group(now, group).map(drop)),
        gone(fleet.report(now, object, Report::Up)),
    ];
    let expected = ["router 0", "group 0", "object 0"];
    assert_eq!(errors, expected.map(|it| format!("{it} does not exist")));
}

#[test]
fn an_active_that_is_removed_resigns_and_its_key_is_free_at_once() {
    let mut lan = Lan::new(2);
    let old = lan.add(0, member(1, 200));
    let heir = lan.add(1, member(1, 100));
    lan.run(ms(10_000));
    let now = lan.now;
    let key = lan.nodes[0].fleet.key(old).unwrap();
    lan.fleet(0).remove(now, old).unwrap();
    assert_eq!(lan.nodes[0].fleet.find(&key), None);
    let new = lan.add(0, member(1, 50));
    assert_ne!(old, new);
    assert!(lan.nodes[0].fleet.get(old).is_some(), "its actions wait");
    let refused = lan.fleet(0).shutdown(now, old);
    assert_eq!(refused, Err(FleetError::UnknownRouter(old)));
    lan.run(ms(700));
    assert_eq!(lan.nodes[0].fleet.get(old), None);
    assert_eq!(lan.nodes[0].advertised.last(), Some(&(key, 0)));
    assert!(lan.nodes[0].installed.is_empty());
    assert_eq!(lan.state(1, heir), State::Active, "within Skew_Time");
    assert_eq!(lan.state(0, new), State::Backup);
}

#[test]
fn slots_are_used_again_under_other_ids() {
    let mut lan = Lan::new(1);
    let mut seen = Vec::new();
    for round in 0..10 {
        let id = lan.add(0, member(1, 255));
        assert!(!seen.contains(&id), "{round}");
        assert_eq!(id.to_string(), format!("router {round}"));
        seen.push(id);
        lan.exchange_all();
        let now = lan.now;
        lan.fleet(0).remove(now, id).unwrap();
        lan.exchange_all();
        assert_eq!(lan.nodes[0].fleet.poll_timeout(), None);
    }
    for id in seen {
        assert_eq!(lan.nodes[0].fleet.get(id), None);
    }
}

#[test]
fn one_hundred_thousand_routers_take_over_in_one_turn() {
    let mut fleet = vrrp_fsm::fleet::VrrpRouter::with_capacity(100_000, 0);
    for number in 0..100_000_u32 {
        let vrid = u8::try_from(number % 250 + 1).unwrap();
        let member = vrrp_fsm::fleet::Member::new(number / 250, config(vrid, 100));
        let id = fleet.add(Instant::ZERO, member).unwrap();
        fleet
            .startup(Instant::ZERO, id, [192, 0, 2, 11].into())
            .unwrap();
    }
    while fleet.poll_action().is_some() {}
    fleet.handle_timeout(Instant::ZERO + ms(4_000));
    let actions = core::iter::from_fn(|| fleet.poll_action()).count();
    assert_eq!(actions, 400_000);
    let active = |(_, router): &(_, &vrrp_fsm::VirtualRouter)| router.state() == State::Active;
    assert_eq!(fleet.iter().filter(active).count(), 100_000);
}
