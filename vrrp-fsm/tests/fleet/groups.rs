//! Sync groups: the rules of `docs/sync-groups.md`.

use vrrp_fsm::{
    Reason, ShutdownCause, StallPolicy, State,
    fleet::{FleetChange, FleetError, Member, Reader, Record, SyncGroup, VrrpRouter},
    track::{Kind, Object, Report, TrackRef, Weight},
};

use vrrp_proto::{Interval, Protection, Versions};

use crate::lan::{Lan, config, member, member_ipv6, message, message_v2, ms, multicast};

use State::{Active, Backup, Initialize};

/// Two fleets with a group on two interfaces and in both families, after a while. The first fleet
/// has the higher priority.
fn two_nodes() -> (
    Lan,
    [vrrp_fsm::fleet::RouterId; 2],
    [vrrp_fsm::fleet::RouterId; 2],
) {
    let mut lan = Lan::new(2);
    let one = lan.add_group(0, [member(1, 200), member_ipv6(2, 200)]);
    let two = lan.add_group(1, [member(1, 100), member_ipv6(2, 100)]);
    lan.run(ms(10_000));
    (lan, one, two)
}

/// A member that yields, or waits once more, when its host was late.
fn member_that_yields(interface: u32) -> Member {
    let mut member = member(interface, 100);
    member.config.stall = StallPolicy::Yield;
    member
}

/// The priorities that a fleet has advertised since it was last asked.
fn advertised(lan: &mut Lan, node: usize) -> Vec<u8> {
    let list = core::mem::take(&mut lan.nodes[node].advertised);
    list.into_iter().map(|(_, priority)| priority).collect()
}

/// All changes in the first fleet.
fn changes(lan: &Lan) -> Vec<Record> {
    let mut reader = Reader::default();
    core::iter::from_fn(|| lan.nodes[0].fleet.read(&mut reader))
        .map(Result::unwrap)
        .collect()
}

#[test]
fn g_1_a_fault_of_one_member_stops_all_and_the_actives_resign() {
    let (mut lan, one, two) = two_nodes();
    assert_eq!(lan.states(0, one), [Active; 2]);
    assert_eq!(lan.states(1, two), [Backup; 2]);
    let _before = advertised(&mut lan, 0);
    let now = lan.now;
    lan.fleet(0).set_primary_address(now, one[1], None).unwrap();
    lan.exchange_all();
    assert_eq!(lan.states(0, one), [Initialize; 2]);
    assert_eq!(advertised(&mut lan, 0), [0, 0], "both resign, once");
    let cause = |id| lan.nodes[0].fleet.get(id).unwrap().shutdown_cause();
    assert_eq!(cause(one[0]), Some(ShutdownCause::Group));
    assert_eq!(cause(one[1]), Some(ShutdownCause::Fault));
    assert!(lan.nodes[0].installed.is_empty());
    lan.run(ms(700));
    assert_eq!(lan.states(1, two), [Active; 2], "within Skew_Time");
}

#[test]
fn g_1_a_member_that_is_stopped_stops_all() {
    let (mut lan, one, _) = two_nodes();
    let now = lan.now;
    lan.fleet(0).shutdown(now, one[0]).unwrap();
    lan.exchange_all();
    assert_eq!(lan.states(0, one), [Initialize; 2]);
}

#[test]
fn when_all_are_shut_down_no_member_goes_down_because_of_another() {
    let (mut lan, one, two) = two_nodes();
    let alone = lan.add(0, member(3, 200));
    lan.run(ms(10_000));
    let _before = advertised(&mut lan, 0);
    let now = lan.now;
    lan.fleet(0).shutdown_all(now);
    lan.exchange_all();
    assert_eq!(advertised(&mut lan, 0), [0, 0, 0], "each resigns, once");
    for id in [one[0], one[1], alone] {
        let machine = lan.nodes[0].fleet.get(id).unwrap();
        assert_eq!(machine.state(), Initialize);
        assert_eq!(
            machine.shutdown_cause(),
            Some(ShutdownCause::Administrative)
        );
    }
    lan.run(ms(700));
    assert_eq!(lan.states(1, two), [Active; 2], "within Skew_Time");
}

#[test]
fn g_2_all_start_when_the_last_member_can() {
    let mut lan = Lan::new(1);
    let ids = [member(1, 100), member(2, 100)].map(|member| lan.add_stopped(0, member));
    let now = lan.now;
    let group = SyncGroup::new("group", ids.to_vec());
    lan.fleet(0).add_group(now, group).unwrap();
    lan.start(0, ids[0]);
    lan.run(ms(10_000));
    assert_eq!(lan.states(0, ids), [Initialize; 2]);
    lan.start(0, ids[1]);
    assert_eq!(lan.states(0, ids), [Backup; 2]);
}

#[test]
fn g_2_two_members_at_fault_and_one_back_is_still_at_fault() {
    let (mut lan, one, _) = two_nodes();
    let now = lan.now;
    let addresses = one.map(|id| lan.address(0, id));
    for id in one {
        lan.fleet(0).set_primary_address(now, id, None).unwrap();
    }
    let back = |lan: &mut Lan, number: usize| {
        let fleet = lan.fleet(0);
        let address = Some(addresses[number]);
        fleet
            .set_primary_address(now, one[number], address)
            .unwrap();
    };
    back(&mut lan, 1);
    assert_eq!(lan.states(0, one), [Initialize; 2]);
    back(&mut lan, 0);
    assert_eq!(lan.states(0, one), [Backup; 2]);
}

#[test]
fn g_2_owners_start_as_active_together() {
    let mut lan = Lan::new(1);
    let ids = lan.add_group(0, [member(1, 255), member(2, 255)]);
    assert_eq!(lan.states(0, ids), [Active; 2]);
}

#[test]
fn g_2_owners_wait_for_the_start_up_hold_of_one_of_them() {
    let mut lan = Lan::new(1);
    let mut held = member(2, 255);
    held.config.startup_hold = ms(2_000);
    let ids = lan.add_group(0, [member(1, 255), held]);
    lan.run(ms(1_999));
    assert_eq!(lan.states(0, ids), [Backup; 2]);
    lan.run(ms(10));
    assert_eq!(lan.states(0, ids), [Active; 2]);
    // A router that could not run joins waiting members, and waits with them.
    let now = lan.now;
    let group = lan.nodes[0].fleet.group_with(ids[0]).unwrap();
    let late = lan.add_stopped(0, member(3, 255));
    let all = [ids[0], ids[1], late];
    let larger = SyncGroup::new("group", all.to_vec());
    lan.fleet(0).reconfigure_group(now, group, larger).unwrap();
    let address = lan.address(0, ids[0]);
    let fleet = lan.fleet(0);
    fleet.set_primary_address(now, ids[0], None).unwrap();
    fleet
        .set_primary_address(now, ids[0], Some(address))
        .unwrap();
    lan.start(0, late);
    assert_eq!(lan.states(0, all), [Backup; 3]);
    lan.run(ms(1_990));
    assert_eq!(lan.states(0, all), [Backup; 3]);
    lan.run(ms(20));
    assert_eq!(lan.states(0, all), [Active; 3]);
}

#[test]
fn g_2_owners_do_not_wait_for_the_start_up_hold_of_one_that_does_not_count() {
    let mut lan = Lan::new(1);
    let [owner] = lan.add_group(0, [member(1, 255)]);
    let mut held = member(2, 255);
    held.config.startup_hold = ms(2_000);
    let held = lan.add_stopped(0, held);
    let now = lan.now;
    let group = lan.nodes[0].fleet.group_with(owner).unwrap();
    let both = SyncGroup::new("group", vec![owner, held]);
    lan.fleet(0).reconfigure_group(now, group, both).unwrap();
    let address = lan.address(0, owner);
    for address in [None, Some(address)] {
        let fleet = lan.fleet(0);
        fleet.set_primary_address(now, owner, address).unwrap();
    }
    assert_eq!(lan.states(0, [owner, held]), [Active, Initialize]);
}

#[test]
fn g_3_the_group_takes_over_when_its_slowest_member_wants_to() {
    let mut lan = Lan::new(1);
    let mut slow = member(2, 100);
    slow.config.interval = vrrp_proto::Interval::centis(300).unwrap();
    let ids = lan.add_group(0, [member(1, 100), slow]);
    lan.run(ms(10_000));
    assert_eq!(lan.states(0, ids), [Backup; 2], "3.6 s and 10.8 s");
    lan.run(ms(1_000));
    assert_eq!(lan.states(0, ids), [Active; 2]);
    let reasons: Vec<_> = lan.nodes[0]
        .transitions
        .iter()
        .filter(|(_, transition)| transition.to == Active)
        .map(|(_, transition)| transition.reason)
        .collect();
    assert_eq!(reasons, [Reason::ActiveDown; 2]);
}

#[test]
fn g_3_a_member_that_receives_its_active_holds_the_others() {
    let mut lan = Lan::new(2);
    let other = lan.add(1, member(1, 254));
    let ids = lan.add_group(0, [member(1, 100), member(2, 100)]);
    lan.run(ms(60_000));
    assert_eq!(lan.state(1, other), Active);
    assert_eq!(lan.states(0, ids), [Backup; 2]);
    lan.kill(1);
    lan.run(ms(3_700));
    assert_eq!(
        lan.states(0, ids),
        [Active; 2],
        "the other has wanted to all along"
    );
}

#[test]
fn g_3_a_takeover_advertises_for_all_before_anything_else() {
    let mut lan = Lan::new(1);
    let _ids = lan.add_group(0, [member(1, 100), member(2, 100), member(3, 100)]);
    let at = lan.nodes[0].fleet.poll_timeout().unwrap();
    lan.fleet(0).handle_timeout(at);
    let actions: Vec<_> = core::iter::from_fn(|| lan.fleet(0).poll_action()).collect();
    let adverts = |(_, action): &&_| matches!(action, vrrp_fsm::Action::SendAdvertisement(_));
    assert_eq!(actions[..3].iter().filter(adverts).count(), 3);
    assert_eq!(actions.iter().filter(adverts).count(), 3);
}

#[test]
fn g_3_a_member_that_waits_says_once_that_it_wants_to() {
    let mut lan = Lan::new(2);
    let _holds = lan.add(1, member(2, 254));
    let ids = lan.add_group(0, [member(1, 100), member(2, 100)]);
    lan.run(ms(60_000));
    assert_eq!(lan.states(0, ids), [Backup; 2]);
    let (group, _) = lan.nodes[0].fleet.groups().next().unwrap();
    let waiting: Vec<_> = changes(&lan)
        .into_iter()
        .map(|record| record.change)
        .filter(|change| matches!(change, FleetChange::WantsActive(..)))
        .collect();
    assert_eq!(waiting, [FleetChange::WantsActive(ids[0], group)]);
}

#[test]
fn g_3_a_member_that_cannot_have_been_listening_listens_once_more_before_it_wants_to() {
    let mut lan = Lan::new(1);
    let ids = lan.add_group(0, [member_that_yields(1), member(2, 100)]);
    lan.now = lan.now + ms(60_000);
    let now = lan.now;
    lan.fleet(0).handle_timeout(now);
    assert_eq!(lan.states(0, ids), [Backup; 2]);
    lan.run(ms(4_000));
    assert_eq!(lan.states(0, ids), [Active; 2]);
}

#[test]
fn g_4_a_pending_takeover_ends_with_an_accepted_active() {
    let mut lan = Lan::new(3);
    // One router holds the second member. Another appears on the network of the first member after
    // that member's timer has fired.
    let _holds = lan.add(1, member(2, 254));
    let ids = lan.add_group(0, [member(1, 100), member(2, 100)]);
    lan.run(ms(10_000));
    let late = lan.add(2, member(1, 254));
    lan.run(ms(10_000));
    assert_eq!(lan.state(2, late), Active);
    lan.kill(1);
    lan.run(ms(10_000));
    let took_over = |(_, it): &(_, vrrp_fsm::Transition)| it.to == Active;
    assert!(!lan.nodes[0].transitions.iter().any(took_over));
    assert_eq!(
        lan.states(0, ids),
        [Backup; 2],
        "the first does not want to any more"
    );
    lan.kill(2);
    lan.run(ms(4_000));
    assert_eq!(lan.states(0, ids), [Active; 2]);
}

#[test]
fn g_4_an_active_of_lower_priority_does_not_end_a_pending_takeover() {
    let mut lan = Lan::new(3);
    let _holds = lan.add(1, member(2, 254));
    let ids = lan.add_group(0, [member(1, 100), member(2, 100)]);
    lan.run(ms(10_000));
    let low = lan.add(2, member(1, 50));
    lan.run(ms(10_000));
    assert_eq!(lan.state(2, low), Active);
    lan.kill(1);
    lan.run(ms(3_700));
    assert_eq!(lan.states(0, ids), [Active; 2]);
    assert_eq!(lan.state(2, low), Backup);
}

#[test]
fn g_4_an_ignored_advertisement_does_not_end_a_pending_takeover() {
    let mut lan = Lan::new(1);
    let mut both = member(1, 100);
    both.config.versions = Versions::Both;
    let ids = lan.add_group(0, [both, member(2, 100)]);
    let ip = multicast();
    let receive = |lan: &mut Lan, interface, octets: &[u8]| {
        let now = lan.now;
        let received = lan
            .fleet(0)
            .handle_packet(now, interface, &ip, octets, Protection::None);
        assert!(received.is_ok(), "{received:?}");
    };
    let version_3 = message(51, 200, &ip.endpoints);
    let version_2 = message_v2(51, 200, &ip.endpoints);
    receive(&mut lan, 1, &version_3);
    // From now on the Active of the first member sends version 2 alone, which is ignored (O-12),
    // and the second member receives its own Active.
    for _ in 0..4 {
        receive(&mut lan, 1, &version_2);
        receive(&mut lan, 2, &version_3);
        lan.run(ms(1_000));
    }
    receive(&mut lan, 1, &version_2);
    let waiting =
        |change: &Record| matches!(change.change, FleetChange::WantsActive(id, _) if id == ids[0]);
    assert_eq!(changes(&lan).iter().filter(|it| waiting(it)).count(), 1);
    lan.run(ms(2_650));
    assert_eq!(lan.states(0, ids), [Active; 2], "the first has wanted to");
}

#[test]
fn g_5_a_member_that_yields_pulls_the_others_without_priority_0() {
    let mut lan = Lan::new(2);
    let ids = lan.add_group(0, [member(1, 100), member_ipv6(2, 100), member(3, 100)]);
    lan.run(ms(10_000));
    assert_eq!(lan.states(0, ids), [Active; 3]);
    let _before = advertised(&mut lan, 0);
    let higher = lan.add(1, member(1, 250));
    lan.run(ms(4_000));
    assert_eq!(lan.state(1, higher), Active);
    assert_eq!(lan.states(0, ids), [Backup; 3]);
    assert!(!advertised(&mut lan, 0).contains(&0));
    assert!(lan.nodes[0].installed.is_empty());
    let last = &lan.nodes[0].transitions[6..];
    let reasons: Vec<_> = last.iter().map(|(_, it)| (it.to, it.reason)).collect();
    let (yielded, pulled) = ((Backup, Reason::HigherPriority), (Backup, Reason::Group));
    assert_eq!(reasons, [yielded, pulled, pulled]);
    lan.run(ms(20_000));
    assert_eq!(
        lan.states(0, ids),
        [Backup; 3],
        "one that hears its Active holds all"
    );
}

#[test]
fn g_5_the_first_advertisement_that_one_member_yields_to_pulls_the_others() {
    let mut lan = Lan::new(1);
    let ids = lan.add_group(0, [member(1, 100), member(2, 100)]);
    lan.run(ms(10_000));
    assert_eq!(lan.states(0, ids), [Active; 2]);
    let (now, ip) = (lan.now, multicast());
    let higher = message(51, 200, &ip.endpoints);
    let received = lan
        .fleet(0)
        .handle_packet(now, 1, &ip, &higher, Protection::None);
    assert_eq!(received.unwrap().0, ids[0]);
    assert_eq!(lan.states(0, ids), [Backup; 2]);
}

#[test]
fn g_5_a_stalled_member_that_yields_before_its_timeout_pulls_the_others() {
    let stalled = || {
        let mut lan = Lan::new(1);
        let ids = lan.add_group(0, [member_that_yields(1), member(2, 100)]);
        lan.run(ms(10_000));
        assert_eq!(lan.states(0, ids), [Active; 2]);
        let _before = advertised(&mut lan, 0);
        lan.now = lan.now + ms(10_000);
        (lan, ids)
    };

    // It receives the router that took over, or gets another configuration.
    let (mut lan, ids) = stalled();
    let (now, ip) = (lan.now, multicast());
    let lower = message(51, 50, &ip.endpoints);
    let received = lan
        .fleet(0)
        .handle_packet(now, 1, &ip, &lower, Protection::None);
    assert_eq!(received.unwrap().0, ids[0]);
    assert_eq!(lan.states(0, ids), [Backup; 2]);
    lan.exchange_all();
    assert_eq!(advertised(&mut lan, 0), []);

    let (mut lan, ids) = stalled();
    let now = lan.now;
    let mut other = member_that_yields(1);
    other.config.interval = Interval::centis(4095).unwrap();
    lan.fleet(0).reconfigure(now, ids[0], other).unwrap();
    assert_eq!(lan.states(0, ids), [Backup; 2]);
    lan.exchange_all();
    assert_eq!(advertised(&mut lan, 0), []);
}

#[test]
fn g_5_a_stall_of_one_member_pulls_the_others() {
    let mut lan = Lan::new(1);
    let ids = lan.add_group(0, [member_that_yields(1), member(2, 100)]);
    lan.run(ms(10_000));
    assert_eq!(lan.states(0, ids), [Active; 2]);
    let late = lan.now + ms(60_000);
    lan.fleet(0).handle_timeout(late);
    assert_eq!(lan.states(0, ids), [Backup; 2]);
}

#[test]
fn g_6_all_members_announce_when_one_receives_a_rival() {
    let mut lan = Lan::new(2);
    let one = lan.add_group(0, [member(1, 200), member_ipv6(2, 200)]);
    let rival = lan.add(1, member(1, 50));
    lan.nodes[1].cut.insert(1);
    lan.run(ms(20_000));
    assert_eq!(lan.states(0, one), [Active; 2]);
    assert_eq!(lan.state(1, rival), Active, "behind a cable that is out");
    lan.nodes[0].announced.clear();
    lan.nodes[1].cut.clear();
    lan.run(ms(1_100));
    assert_eq!(lan.state(1, rival), Backup);
    let announced: Vec<_> = lan.nodes[0].announced.keys().copied().collect();
    let keys = one.map(|id| lan.nodes[0].fleet.key(id).unwrap());
    assert_eq!(announced, keys);
}

#[test]
fn g_6_a_member_that_announces_without_a_rival_makes_no_other_member_announce() {
    let mut lan = Lan::new(1);
    let mut deaf = member(1, 200);
    deaf.config.announce.rival_repeat = 0;
    let ids = lan.add_group(0, [deaf, member_ipv6(2, 200)]);
    lan.run(ms(20_000));
    lan.nodes[0].announced.clear();
    let ip = multicast();
    let rival = message(51, 50, &ip.endpoints);
    let now = lan.now;
    let received = lan
        .fleet(0)
        .handle_packet(now, 1, &ip, &rival, Protection::None);
    assert_eq!(received.unwrap().0, ids[0]);
    lan.run(ms(20_000));
    assert_eq!(lan.states(0, ids), [Active; 2]);
    assert!(lan.nodes[0].announced.is_empty());
}

#[test]
fn g_6_all_members_announce_for_the_last_rival_too_however_soon_it_came_after_the_first() {
    let mut lan = Lan::new(1);
    let quiet = |mut member: Member| {
        member.config.announce.rival_second_burst_after = None;
        member
    };
    let ids = lan.add_group(0, [quiet(member(1, 200)), quiet(member_ipv6(2, 200))]);
    lan.run(ms(20_000));
    lan.nodes[0].announced.clear();
    let ip = multicast();
    let rival = message(51, 50, &ip.endpoints);
    for _ in 0..3 {
        let now = lan.now;
        let received = lan
            .fleet(0)
            .handle_packet(now, 1, &ip, &rival, Protection::None);
        assert_eq!(received.unwrap().0, ids[0]);
        lan.run(ms(100));
    }
    let announced = |lan: &Lan| lan.nodes[0].announced.values().copied().collect::<Vec<_>>();
    assert_eq!(announced(&lan), [1, 1]);
    lan.run(ms(10_000));
    assert_eq!(announced(&lan), [2, 2]);
}

#[test]
fn g_7_the_objects_of_a_group_count_for_all_members() {
    let mut lan = Lan::new(1);
    let now = lan.now;
    let fault = lan
        .fleet(0)
        .add_object(now, Object::new("power", Kind::Interface))
        .unwrap();
    let weight = Object {
        weight: Weight::points(-20).unwrap(),
        ..Object::new("load", Kind::Interface)
    };
    let weight = lan.fleet(0).add_object(now, weight).unwrap();
    let ids = [member(1, 100), member(2, 150)].map(|member| lan.add_stopped(0, member));
    let group = SyncGroup {
        tracking: vec![TrackRef::of(fault), TrackRef::of(weight)],
        ..SyncGroup::new("group", ids.to_vec())
    };
    lan.fleet(0).add_group(now, group).unwrap();
    for id in ids {
        lan.start(0, id);
    }
    assert_eq!(
        lan.states(0, ids),
        [Initialize; 2],
        "power has not reported"
    );
    lan.fleet(0).report(now, fault, Report::Up).unwrap();
    lan.run(ms(10_000));
    assert_eq!(lan.states(0, ids), [Active; 2]);
    let now = lan.now;
    lan.fleet(0).report(now, weight, Report::Down).unwrap();
    let priorities = ids.map(|id| {
        lan.nodes[0]
            .fleet
            .get(id)
            .unwrap()
            .effective_priority()
            .get()
    });
    assert_eq!(priorities, [80, 130]);
    lan.fleet(0).report(now, fault, Report::Down).unwrap();
    assert_eq!(lan.states(0, ids), [Initialize; 2]);
    let cause = |id| lan.nodes[0].fleet.get(id).unwrap().shutdown_cause();
    assert_eq!(ids.map(cause), [Some(ShutdownCause::Fault); 2]);
    let explanation = lan.nodes[0].fleet.explain(ids[0]).unwrap().to_string();
    assert_eq!(
        explanation,
        "priority 80: 100 configured, power down (fault), load down -20"
    );
}

#[test]
fn g_7_a_member_has_its_faults_but_its_weights_only_where_the_group_says_so() {
    let mut lan = Lan::new(1);
    let now = lan.now;
    let weight = Object {
        weight: Weight::points(-20).unwrap(),
        ..Object::new("load", Kind::Interface)
    };
    let object = lan.fleet(0).add_object(now, weight).unwrap();
    lan.fleet(0).report(now, object, Report::Down).unwrap();
    let mut tracks = member(1, 100);
    tracks.tracking = vec![TrackRef::of(object)];
    let ids = lan.add_group(0, [tracks, member(2, 100)]);
    let priority = |lan: &Lan| {
        lan.nodes[0]
            .fleet
            .get(ids[0])
            .unwrap()
            .effective_priority()
            .get()
    };
    assert_eq!(priority(&lan), 100);
    let explained = lan.nodes[0].fleet.explain(ids[0]).unwrap();
    assert_eq!(
        explained.to_string(),
        "priority 100: 100 configured, load down (-20 does not count in sync group group)"
    );
    let (group, config) = lan.nodes[0].fleet.groups().next().unwrap();
    let counting = SyncGroup {
        member_weights: true,
        ..config.clone()
    };
    lan.fleet(0)
        .reconfigure_group(now, group, counting)
        .unwrap();
    assert_eq!(priority(&lan), 80);
    lan.fleet(0).remove_group(now, group).unwrap();
    assert_eq!(priority(&lan), 80, "alone it counts too");
}

#[test]
fn g_7_an_explanation_names_each_weight_that_does_not_count() {
    let mut lan = Lan::new(1);
    let now = lan.now;
    let mut track = |name: &str, weight: Weight, reverse| {
        let object = Object {
            weight,
            reverse,
            ..Object::new(name, Kind::Interface)
        };
        let id = lan.fleet(0).add_object(now, object).unwrap();
        lan.fleet(0).report(now, id, Report::Up).unwrap();
        TrackRef::of(id)
    };
    let own = vec![
        track("peering", Weight::points(-60).unwrap(), false),
        track("rival", Weight::points(-40).unwrap(), true),
        track("uplink", Weight::FAULT, false),
    ];
    let of_group = track("power", Weight::points(-20).unwrap(), false);
    let mut tracks = member(1, 100);
    tracks.tracking = own;
    let ids = [tracks, member(2, 100)].map(|member| lan.add_stopped(0, member));
    let group = SyncGroup {
        tracking: vec![of_group],
        ..SyncGroup::new("gateway", ids.to_vec())
    };
    lan.fleet(0).add_group(now, group).unwrap();
    let explanation = lan.nodes[0].fleet.explain(ids[0]).unwrap();
    assert_eq!(
        explanation.to_string(),
        "priority 100: 100 configured, peering up (-60 does not count in sync group gateway), \
         rival up (+40 does not count in sync group gateway), uplink up, power up"
    );
    let ignored = explanation.influences.iter().map(|it| it.ignored.is_some());
    assert!(ignored.eq([true, true, false, false]));
}

#[test]
fn g_8_a_router_that_joins_does_not_move_the_others() {
    let mut lan = Lan::new(1);
    let ids = lan.add_group(0, [member(1, 100), member(2, 100)]);
    lan.run(ms(10_000));
    assert_eq!(lan.states(0, ids), [Active; 2]);
    let transitions = lan.nodes[0].transitions.len();
    let new = lan.add_stopped(0, member(3, 100));
    let all = [ids[0], ids[1], new];
    let now = lan.now;
    let (group, _) = lan.nodes[0].fleet.groups().next().unwrap();
    let larger = SyncGroup::new("group", all.to_vec());
    lan.fleet(0).reconfigure_group(now, group, larger).unwrap();
    lan.run(ms(10_000));
    assert_eq!(lan.states(0, all), [Active, Active, Initialize]);
    assert_eq!(lan.nodes[0].transitions.len(), transitions);
    let fleet = &lan.nodes[0].fleet;
    assert_eq!(fleet.group_with(new), Some(group), "it is a member");
    assert!(fleet.counted_members(group).eq(ids));
    lan.start(0, new);
    assert!(lan.nodes[0].fleet.counted_members(group).eq(all));
    lan.run(ms(3_700));
    assert_eq!(lan.states(0, all), [Active; 3]);
    assert_eq!(lan.nodes[0].transitions.len(), transitions + 2);
    let now = lan.now;
    lan.fleet(0).set_primary_address(now, new, None).unwrap();
    assert_eq!(lan.states(0, all), [Initialize; 3], "now it counts");
}

#[test]
fn g_8_a_group_made_of_routers_that_run_takes_in_the_actives_first() {
    let mut lan = Lan::new(2);
    let _holds = lan.add(1, member(2, 254));
    let stopped = lan.add_stopped(0, member(1, 100));
    let backup = lan.add(0, member(2, 100));
    let active = lan.add(0, member(3, 100));
    lan.run(ms(10_000));
    let ids = [stopped, backup, active];
    let before = [Initialize, Backup, Active];
    assert_eq!(lan.states(0, ids), before);
    let now = lan.now;
    let group = SyncGroup::new("group", ids.to_vec());
    lan.fleet(0).add_group(now, group).unwrap();
    assert_eq!(lan.states(0, ids), before, "nobody is moved for another");
    lan.exchange_all();
    assert_eq!(lan.nodes[0].transitions.len(), 3);
}

#[test]
fn g_8_a_new_member_whose_active_is_elsewhere_pulls_the_group() {
    let mut lan = Lan::new(2);
    let other = lan.add(1, member(2, 254));
    let [first] = lan.add_group(0, [member(1, 100)]);
    let second = lan.add(0, member(2, 100));
    lan.run(ms(10_000));
    assert_eq!(lan.states(0, [first, second]), [Active, Backup]);
    let now = lan.now;
    let (group, _) = lan.nodes[0].fleet.groups().next().unwrap();
    let both = SyncGroup::new("group", vec![first, second]);
    lan.fleet(0).reconfigure_group(now, group, both).unwrap();
    assert_eq!(lan.state(0, first), Active, "not before it is heard");
    lan.run(ms(1_100));
    assert_eq!(lan.states(0, [first, second]), [Backup; 2]);
    assert_eq!(lan.state(1, other), Active);
}

#[test]
fn g_7_an_object_that_has_not_reported_stops_no_group_of_routers_that_run() {
    let mut lan = Lan::new(1);
    let ids = [1, 2].map(|interface| lan.add(0, member(interface, 100)));
    lan.run(ms(10_000));
    let now = lan.now;
    let power = Object::new("power", Kind::Interface);
    let power = lan.fleet(0).add_object(now, power).unwrap();
    let group = SyncGroup {
        tracking: vec![TrackRef::of(power)],
        ..SyncGroup::new("group", ids.to_vec())
    };
    lan.fleet(0).add_group(now, group).unwrap();
    assert_eq!(lan.states(0, ids), [Active; 2]);
    lan.exchange_all();
    assert_eq!(lan.nodes[0].transitions.len(), 4);
    lan.fleet(0).report(now, power, Report::Down).unwrap();
    assert_eq!(lan.states(0, ids), [Initialize; 2]);
}

#[test]
fn g_8_an_active_that_joins_backups_becomes_one() {
    let mut lan = Lan::new(2);
    let _holds = lan.add(1, member(1, 254));
    let alone = lan.add(0, member(2, 100));
    let [first] = lan.add_group(0, [member(1, 100)]);
    lan.run(ms(10_000));
    assert_eq!(lan.states(0, [first, alone]), [Backup, Active]);
    let now = lan.now;
    let (group, _) = lan.nodes[0].fleet.groups().next().unwrap();
    let both = SyncGroup::new("group", vec![first, alone]);
    lan.fleet(0).reconfigure_group(now, group, both).unwrap();
    assert_eq!(lan.states(0, [first, alone]), [Backup; 2]);
}

#[test]
fn g_8_a_router_that_runs_waits_with_a_group_that_waits() {
    let mut lan = Lan::new(1);
    let now = lan.now;
    let power = Object::new("power", Kind::Interface);
    let power = lan.fleet(0).add_object(now, power).unwrap();
    let first = lan.add_stopped(0, member(1, 100));
    let group = |members| SyncGroup {
        tracking: vec![TrackRef::of(power)],
        ..SyncGroup::new("group", members)
    };
    let id = lan.fleet(0).add_group(now, group(vec![first])).unwrap();
    lan.start(0, first);
    let second = lan.add(0, member(2, 100));
    assert_eq!(lan.states(0, [first, second]), [Initialize, Backup]);
    let both = group(vec![first, second]);
    lan.fleet(0).reconfigure_group(now, id, both).unwrap();
    assert_eq!(lan.states(0, [first, second]), [Initialize; 2]);
    lan.fleet(0).report(now, power, Report::Up).unwrap();
    assert_eq!(lan.states(0, [first, second]), [Backup; 2]);
}

#[test]
fn g_8_an_active_that_joins_goes_down_for_no_group_that_can_run() {
    let mut lan = Lan::new(1);
    let now = lan.now;
    let power = Object::new("power", Kind::Interface);
    let power = lan.fleet(0).add_object(now, power).unwrap();
    let first = lan.add_stopped(0, member(1, 100));
    let waiting = SyncGroup {
        tracking: vec![TrackRef::of(power)],
        ..SyncGroup::new("group", vec![first])
    };
    let group = lan.fleet(0).add_group(now, waiting).unwrap();
    lan.start(0, first);
    let second = lan.add(0, member(2, 255));
    lan.fleet(0)
        .reconfigure(now, second, member(2, 100))
        .unwrap();
    assert_eq!(lan.states(0, [first, second]), [Initialize, Active]);
    // The new configuration also drops the tracked object that held the group.
    let both = SyncGroup::new("group", vec![first, second]);
    lan.fleet(0).reconfigure_group(now, group, both).unwrap();
    assert_eq!(lan.states(0, [first, second]), [Backup, Active]);

    // The group has another member, but that one does not count.
    let third = lan.add_stopped(0, member(3, 100));
    let set = |lan: &mut Lan, members| {
        let config = SyncGroup::new("group", members);
        lan.fleet(0).reconfigure_group(now, group, config).unwrap();
    };
    set(&mut lan, vec![first, third]);
    set(&mut lan, vec![third]);
    set(&mut lan, vec![third, second]);
    assert_eq!(lan.states(0, [second, third]), [Active, Initialize]);
    lan.exchange_all();
    assert!(!advertised(&mut lan, 0).contains(&0), "nobody has resigned");
}

#[test]
fn g_8_a_member_that_leaves_keeps_its_state_and_frees_the_others() {
    let mut lan = Lan::new(2);
    let _holds = lan.add(1, member(1, 254));
    let ids = lan.add_group(0, [member(1, 100), member(2, 100)]);
    lan.run(ms(10_000));
    assert_eq!(lan.states(0, ids), [Backup; 2]);
    let now = lan.now;
    let (group, _) = lan.nodes[0].fleet.groups().next().unwrap();
    let smaller = SyncGroup::new("group", vec![ids[1]]);
    lan.fleet(0).reconfigure_group(now, group, smaller).unwrap();
    assert_eq!(
        lan.states(0, ids),
        [Backup, Active],
        "nobody holds the second"
    );
}

#[test]
fn g_8_removing_the_member_that_cannot_run_starts_the_others() {
    let mut lan = Lan::new(1);
    let ids = lan.add_group(0, [member(1, 255), member(2, 255)]);
    let now = lan.now;
    lan.fleet(0).shutdown(now, ids[0]).unwrap();
    assert_eq!(lan.states(0, ids), [Initialize; 2]);
    lan.exchange_all();
    lan.nodes[0].transitions.clear();
    lan.fleet(0).remove(now, ids[0]).unwrap();
    lan.exchange_all();
    assert_eq!(lan.state(0, ids[1]), Active);
    assert_eq!(
        lan.nodes[0].transitions.len(),
        1,
        "the removed one did not start"
    );
}

#[test]
fn an_invalid_group_is_rejected() {
    let mut lan = Lan::new(1);
    let now = lan.now;
    let [a, b] = lan.add_group(0, [member(1, 100), member(2, 100)]);
    let owner = lan.add(0, member(3, 255));
    let free = lan.add(0, member(4, 100));
    let gone = lan.add(0, member(5, 100));
    lan.fleet(0).remove(now, gone).unwrap();
    let fleet = lan.fleet(0);
    for (name, members, expected) in [
        (
            "group",
            vec![free],
            FleetError::GroupNameTaken("group".into()),
        ),
        ("other", vec![a, free], FleetError::AlreadyMember(a)),
        ("other", vec![free, free], FleetError::AlreadyMember(free)),
        ("other", vec![free, owner], FleetError::MixedOwners(owner)),
        ("other", vec![gone], FleetError::UnknownRouter(gone)),
    ] {
        let refused = fleet.add_group(now, SyncGroup::new(name, members));
        assert_eq!(refused, Err(expected));
    }
    let mut own = member(2, 255);
    own.config = config(51, 255);
    let refused = fleet.reconfigure(now, b, own);
    assert_eq!(refused, Err(FleetError::MixedOwners(b)));
}

#[test]
fn the_name_of_a_group_is_free_when_it_has_another_or_is_gone() {
    let mut lan = Lan::new(1);
    let now = lan.now;
    let fleet = lan.fleet(0);
    let named = |name: &str| SyncGroup::new(name, Vec::new());
    let taken = |name: &str| FleetError::GroupNameTaken(name.into());
    let one = fleet.add_group(now, named("one")).unwrap();
    fleet.reconfigure_group(now, one, named("two")).unwrap();
    fleet.reconfigure_group(now, one, named("two")).unwrap();
    assert_eq!(fleet.add_group(now, named("two")), Err(taken("two")));
    let other = fleet.add_group(now, named("one")).unwrap();
    let refused = fleet.reconfigure_group(now, other, named("two"));
    assert_eq!(refused, Err(taken("two")));
    let mut heir = VrrpRouter::restore(&fleet.snapshot(now), now).unwrap();
    assert_eq!(heir.add_group(now, named("two")), Err(taken("two")));
    let _config = fleet.remove_group(now, one).unwrap();
    fleet.reconfigure_group(now, other, named("two")).unwrap();
    assert_eq!(fleet.group(other), Some(&named("two")));
}

#[test]
fn whether_it_owns_its_addresses_a_member_may_change_when_it_has_no_company() {
    let mut lan = Lan::new(1);
    let now = lan.now;
    let [first, second] = lan.add_group(0, [member(1, 100), member(2, 100)]);
    let free = lan.add(0, member(3, 100));
    let fleet = lan.fleet(0);
    fleet.reconfigure(now, first, member(1, 120)).unwrap();
    fleet.reconfigure(now, free, member(3, 255)).unwrap();
    fleet.remove(now, first).unwrap();
    fleet.reconfigure(now, second, member(2, 255)).unwrap();
}

#[test]
fn g_8_a_leaving_router_starts_if_only_the_group_held_it() {
    // An owner starts as Active.
    for (priority, expected) in [(100, Backup), (255, Active)] {
        for is_removed in [false, true] {
            let mut lan = Lan::new(1);
            let ids = lan.add_group(0, [member(1, priority), member(2, priority)]);
            let now = lan.now;
            let fleet = lan.fleet(0);
            fleet.set_primary_address(now, ids[1], None).unwrap();
            let states = |fleet: &VrrpRouter| ids.map(|id| fleet.get(id).unwrap().state());
            assert_eq!(states(fleet), [Initialize; 2]);
            let group = fleet.group_with(ids[0]).unwrap();
            if is_removed {
                let _config = fleet.remove_group(now, group).unwrap();
            } else {
                let mut config = fleet.group(group).unwrap().clone();
                config.members = vec![ids[1]];
                fleet.reconfigure_group(now, group, config).unwrap();
            }
            assert_eq!(states(fleet), [expected, Initialize], "{is_removed}");
        }
    }
}
