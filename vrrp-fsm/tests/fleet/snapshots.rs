//! Handing a whole fleet over.

use vrrp_fsm::{
    Instant, State,
    fleet::{FleetError, Reader, SyncGroup, VrrpRouter},
    track::{Check, Kind, Object, Report, Require, TrackRef, Weight},
};

use crate::lan::{Lan, member, member_ipv6, ms};

/// A fleet with everything: routers alone, in groups, joining, waiting to take over, with tracked
/// objects, and some removed before.
fn full(lan: &mut Lan) {
    let now = lan.now;
    let gone = lan.add(0, member(9, 100));
    let object = |lan: &mut Lan, object| lan.fleet(0).add_object(now, object).unwrap();
    let unused = object(lan, Object::new("unused", Kind::Route));
    let check = Check {
        stale_after: Some(ms(60_000)),
        ..Check::EACH
    };
    let check = object(lan, Object::new("check", Kind::Check(check)));
    let set = Kind::Set {
        require: Require::All,
        members: vec![check],
    };
    let set = Object {
        weight: Weight::points(-10).unwrap(),
        ..Object::new("set", set)
    };
    let set = object(lan, set);
    lan.fleet(0).remove_object(unused).unwrap();
    let mut tracks = member(1, 100);
    tracks.tracking = vec![TrackRef::of(check)];
    let _tracks = lan.add(0, tracks);
    let group = lan.add_group(0, [member(2, 150), member_ipv6(2, 150)]);
    let joining = lan.add_stopped(0, member(3, 100));
    let (id, config) = lan.fleet(0).groups().next().unwrap();
    let config = SyncGroup {
        members: vec![group[0], group[1], joining],
        tracking: vec![TrackRef::of(set)],
        ..config.clone()
    };
    lan.fleet(0).reconfigure_group(now, id, config).unwrap();
    lan.fleet(0).report(now, check, Report::Up).unwrap();
    lan.fleet(0).remove(now, gone).unwrap();
    // Holds one member of the group, so the other waits to take over.
    let _holds = lan.add(1, member(2, 254));
}

#[test]
fn an_heir_goes_on_as_the_fleet_would_have() {
    let mut lan = Lan::new(2);
    full(&mut lan);
    lan.run(ms(7_654));
    let now = Instant::from_nanos(1 << 50);
    let snapshot = lan.nodes[0].fleet.snapshot(lan.now);
    assert!(
        snapshot
            .members
            .iter()
            .any(|member| member.pending_takeover.is_some())
    );
    assert!(snapshot.members.iter().any(|member| member.is_joining));
    let mut heir = VrrpRouter::restore(&snapshot, now).unwrap();
    assert_eq!(heir.poll_action(), None, "nothing is done for the change");
    assert_eq!(heir.snapshot(now), snapshot);

    // Both go on without the other node.
    let mut reader = Reader::from(snapshot.next_record);
    let mut heirs_reader = reader;
    for _ in 0..200 {
        let next = lan.nodes[0].fleet.poll_timeout().unwrap();
        let wait = next - lan.now;
        assert_eq!(heir.poll_timeout(), Some(now + wait));
        lan.nodes[0].fleet.handle_timeout(next);
        heir.handle_timeout(now + wait);
        loop {
            let mut own = lan.nodes[0].fleet.poll_action();
            let mut heirs = heir.poll_action();
            let key = own
                .take()
                .map(|(id, action)| (lan.nodes[0].fleet.key(id), action));
            let heirs_key = heirs.take().map(|(id, action)| (heir.key(id), action));
            assert_eq!(key, heirs_key);
            if key.is_none() {
                break;
            }
        }
    }
    let count = |fleet: &VrrpRouter, reader: &mut Reader| {
        core::iter::from_fn(|| fleet.read(reader)).flatten().count()
    };
    let records = count(&lan.nodes[0].fleet, &mut reader);
    assert!(records > 5);
    assert_eq!(count(&heir, &mut heirs_reader), records);
}

#[test]
fn an_address_does_not_move_when_a_fleet_is_handed_over() {
    let mut lan = Lan::new(2);
    let one = lan.add(0, member(1, 200));
    let two = lan.add(1, member(1, 100));
    lan.run(ms(10_250));
    let key = lan.nodes[0].fleet.key(one).unwrap();
    let now = lan.now;
    let snapshot = lan.nodes[0].fleet.snapshot(now);
    lan.nodes[0].fleet = VrrpRouter::restore(&snapshot, now).unwrap();
    let one = lan.nodes[0].fleet.find(&key).unwrap();
    lan.run(ms(60_000));
    assert_eq!(lan.state(0, one), State::Active);
    assert_eq!(lan.nodes[1].transitions.len(), 1);
    assert_eq!(lan.state(1, two), State::Backup);
}

#[test]
fn a_snapshot_that_no_fleet_has_given_is_refused() {
    let mut lan = Lan::new(2);
    full(&mut lan);
    let good = lan.nodes[0].fleet.snapshot(lan.now);
    let now = lan.now;
    let mut bad = good.clone();
    bad.members.push(bad.members[0].clone());
    assert!(VrrpRouter::restore(&bad, now).is_err());
    let mut bad = good.clone();
    bad.members.clear();
    assert!(
        VrrpRouter::restore(&bad, now).is_err(),
        "a group without its members"
    );
    let mut bad = good.clone();
    bad.objects.clear();
    assert!(
        VrrpRouter::restore(&bad, now).is_err(),
        "uses without objects"
    );
    let mut bad = good.clone();
    bad.records = usize::MAX;
    let refused = VrrpRouter::restore(&bad, now).err();
    let records = usize::MAX;
    assert_eq!(refused, Some(FleetError::Records { records }));
    for next in [1 << 63, u64::MAX] {
        let mut bad = good.clone();
        bad.next_record = next;
        let refused = VrrpRouter::restore(&bad, now).err();
        assert_eq!(refused, Some(FleetError::NextRecord { next }));
    }
    let mut bad = good;
    bad.objects[1].object.name = bad.objects[0].object.name.clone();
    assert!(VrrpRouter::restore(&bad, now).is_err(), "a name twice");
}
