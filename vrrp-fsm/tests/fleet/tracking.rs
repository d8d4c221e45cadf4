//! The effects of objects on the routers that track them.

use vrrp_fsm::{
    Action, ShutdownCause, State,
    fleet::{FleetChange, FleetError, Reader, RouterId, VrrpRouter},
    track::{Kind, Object, ObjectId, Report, TrackError, TrackRef, Weight},
};

use crate::lan::{Lan, member, ms};

fn object(lan: &mut Lan, name: &str, weight: i16) -> ObjectId {
    let mut object = Object::new(name, Kind::Interface);
    if weight != 0 {
        object.weight = Weight::points(weight).unwrap();
    }
    let now = lan.now;
    lan.fleet(0).add_object(now, object).unwrap()
}

fn report(lan: &mut Lan, id: ObjectId, report: Report) {
    let now = lan.now;
    lan.fleet(0).report(now, id, report).unwrap();
}

fn tracking(lan: &mut Lan, interface: u32, priority: u8, objects: &[ObjectId]) -> RouterId {
    let mut tracks = member(interface, priority);
    tracks.tracking = objects.iter().map(|id| TrackRef::of(*id)).collect();
    lan.add(0, tracks)
}

fn priority(lan: &Lan, id: RouterId) -> u8 {
    lan.nodes[0]
        .fleet
        .get(id)
        .unwrap()
        .effective_priority()
        .get()
}

#[test]
fn a_condition_that_has_not_reported_holds_its_router_in_initialize() {
    let mut lan = Lan::new(1);
    let uplink = object(&mut lan, "uplink", 0);
    let id = tracking(&mut lan, 1, 100, &[uplink]);
    lan.run(ms(10_000));
    assert_eq!(lan.state(0, id), State::Initialize);
    report(&mut lan, uplink, Report::Up);
    assert_eq!(lan.state(0, id), State::Backup);
}

#[test]
fn a_new_condition_does_not_stop_a_router_that_runs_before_it_has_reported() {
    let mut lan = Lan::new(1);
    let id = lan.add(0, member(1, 100));
    lan.run(ms(4_000));
    let uplink = object(&mut lan, "uplink", 0);
    let now = lan.now;
    let mut tracks = member(1, 100);
    tracks.tracking = vec![TrackRef::of(uplink)];
    lan.fleet(0).reconfigure(now, id, tracks).unwrap();
    assert_eq!(lan.state(0, id), State::Active);
    report(&mut lan, uplink, Report::Down);
    assert_eq!(lan.state(0, id), State::Initialize);
}

#[test]
fn every_fault_has_to_go_before_the_router_starts() {
    let mut lan = Lan::new(1);
    let [one, two] = ["one", "two"].map(|name| object(&mut lan, name, 0));
    let id = tracking(&mut lan, 1, 100, &[one, two]);
    for up in [one, two] {
        report(&mut lan, up, Report::Up);
    }
    lan.run(ms(4_000));
    assert_eq!(lan.state(0, id), State::Active);
    let now = lan.now;
    let address = lan.address(0, id);
    report(&mut lan, one, Report::Down);
    report(&mut lan, two, Report::Down);
    lan.fleet(0).set_primary_address(now, id, None).unwrap();
    let cause = lan.nodes[0].fleet.get(id).unwrap().shutdown_cause();
    assert_eq!(cause, Some(ShutdownCause::Fault));
    report(&mut lan, one, Report::Up);
    lan.fleet(0)
        .set_primary_address(now, id, Some(address))
        .unwrap();
    assert_eq!(lan.state(0, id), State::Initialize);
    let explanation = lan.nodes[0].fleet.explain(id).unwrap();
    assert_eq!(explanation.faults().collect::<Vec<_>>(), ["two"]);
    report(&mut lan, two, Report::Up);
    assert_eq!(lan.state(0, id), State::Backup);
}

#[test]
fn one_object_serves_many_routers_and_each_in_its_own_way() {
    let mut lan = Lan::new(1);
    let load = object(&mut lan, "load", -30);
    let plain = tracking(&mut lan, 1, 100, &[load]);
    let owner = tracking(&mut lan, 2, 255, &[load]);
    let mut own_weight = member(3, 100);
    own_weight.tracking = vec![TrackRef {
        object: load,
        weight: Some(Weight::FAULT),
        reverse: Some(true),
    }];
    let reverse = lan.add(0, own_weight);
    let free = lan.add(0, member(4, 100));
    report(&mut lan, load, Report::Down);
    assert_eq!(
        [plain, owner, reverse, free].map(|id| priority(&lan, id)),
        [70, 255, 100, 100]
    );
    assert_eq!(lan.state(0, reverse), State::Backup);
    report(&mut lan, load, Report::Up);
    assert_eq!(
        [plain, owner, reverse, free].map(|id| priority(&lan, id)),
        [100, 255, 100, 100]
    );
    assert_eq!(lan.state(0, reverse), State::Initialize);
    let heavier = Object {
        weight: Weight::points(50).unwrap(),
        ..Object::new("load", Kind::Interface)
    };
    let now = lan.now;
    lan.fleet(0).reconfigure_object(now, load, heavier).unwrap();
    assert_eq!(priority(&lan, plain), 150);
}

#[test]
fn a_lower_priority_hands_over_and_back() {
    let mut lan = Lan::new(2);
    let load = object(&mut lan, "load", -150);
    let one = tracking(&mut lan, 1, 200, &[load]);
    let two = lan.add(1, member(1, 100));
    report(&mut lan, load, Report::Up);
    lan.run(ms(10_000));
    assert_eq!(lan.state(0, one), State::Active);
    report(&mut lan, load, Report::Down);
    lan.exchange_all();
    assert_eq!(
        lan.nodes[0].advertised.last().unwrap().1,
        50,
        "notified at once"
    );
    lan.run(ms(4_000));
    assert_eq!(
        (lan.state(0, one), lan.state(1, two)),
        (State::Backup, State::Active)
    );
    report(&mut lan, load, Report::Up);
    lan.run(ms(4_000));
    assert_eq!(
        (lan.state(0, one), lan.state(1, two)),
        (State::Active, State::Backup)
    );
}

#[test]
fn the_configured_priority_changes_under_the_weights() {
    let mut lan = Lan::new(1);
    let load = object(&mut lan, "load", -30);
    let id = tracking(&mut lan, 1, 100, &[load]);
    report(&mut lan, load, Report::Down);
    let now = lan.now;
    let mut other = member(1, 200);
    other.tracking = vec![TrackRef::of(load)];
    lan.fleet(0).reconfigure(now, id, other).unwrap();
    assert_eq!(priority(&lan, id), 170);
    lan.fleet(0).reconfigure(now, id, member(1, 200)).unwrap();
    assert_eq!(priority(&lan, id), 200, "tracked no longer");
}

#[test]
fn staleness_reaches_the_router_through_the_one_deadline() {
    let mut lan = Lan::new(1);
    let check = vrrp_fsm::track::Check {
        stale_after: Some(ms(500)),
        ..vrrp_fsm::track::Check::EACH
    };
    let now = lan.now;
    let check = Object::new("check", Kind::Check(check));
    let check = lan.fleet(0).add_object(now, check).unwrap();
    let id = tracking(&mut lan, 1, 100, &[check]);
    report(&mut lan, check, Report::Up);
    assert_eq!(lan.nodes[0].fleet.poll_timeout(), Some(now + ms(500)));
    lan.run(ms(499));
    assert_eq!(lan.state(0, id), State::Backup);
    lan.run(ms(1));
    assert_eq!(lan.state(0, id), State::Initialize);
}

#[test]
fn an_object_in_use_is_not_removed() {
    let mut lan = Lan::new(1);
    let load = object(&mut lan, "load", -30);
    let id = tracking(&mut lan, 1, 100, &[load]);
    let now = lan.now;
    let fleet = lan.fleet(0);
    let in_use = FleetError::Track(TrackError::InUse("load".into()));
    assert_eq!(fleet.remove_object(load), Err(in_use));
    fleet.remove(now, id).unwrap();
    fleet.remove_object(load).unwrap();
    let refused = fleet.report(now, load, Report::Up);
    assert_eq!(refused, Err(FleetError::Track(TrackError::Unknown(load))));
    let mut tracks = member(2, 100);
    tracks.tracking = vec![TrackRef::of(load)];
    let refused = fleet.add(now, tracks);
    assert_eq!(refused, Err(FleetError::Track(TrackError::Unknown(load))));
}

#[test]
fn many_reports_at_once_change_the_priority_once_and_are_advertised_once() {
    let mut lan = Lan::new(1);
    let mut objects: Vec<ObjectId> = (0..100)
        .map(|number| object(&mut lan, &format!("link {number}"), -1))
        .collect();
    let of_group = object(&mut lan, "uplink of the group", -30);
    let mut alone = member(1, 200);
    alone.tracking = objects.iter().map(|id| TrackRef::of(*id)).collect();
    let alone = lan.add(0, alone);
    let grouped = lan.add_group(0, [member(2, 200), member(3, 200)]);
    let now = lan.now;
    let group = lan.fleet(0).groups().next().unwrap().0;
    let mut config = lan.fleet(0).group(group).unwrap().clone();
    config.tracking = vec![TrackRef::of(of_group)];
    lan.fleet(0).reconfigure_group(now, group, config).unwrap();
    objects.push(of_group);
    for id in &objects {
        report(&mut lan, *id, Report::Up);
    }
    lan.run(ms(5_000));
    let routers = [alone, grouped[0], grouped[1]];
    assert!(routers.iter().all(|id| lan.state(0, *id) == State::Active));

    let now = lan.now;
    let fleet = lan.fleet(0);
    while fleet.poll_action().is_some() {}
    let mut reader = Reader::default();
    while let Some(_seen) = fleet.read(&mut reader) {}
    let sent = |fleet: &VrrpRouter| {
        routers.map(|id| fleet.get(id).unwrap().counters().advertisements_sent)
    };
    let before = sent(fleet);
    let reports = objects.iter().map(|id| (*id, Report::Down));
    fleet.report_all(now, reports).unwrap();
    // In both checksum forms.
    assert_eq!(sent(fleet), before.map(|count| count + 2));
    let mut actions = Vec::new();
    while let Some((id, action)) = fleet.poll_action() {
        let Action::SendAdvertisement(outgoing) = action else {
            panic!("{action:?}");
        };
        actions.push((id, outgoing.priority.get()));
    }
    actions.sort_unstable();
    assert_eq!(
        actions,
        [(alone, 100), (grouped[0], 170), (grouped[1], 170)]
    );
    let mut changes = Vec::new();
    while let Some(record) = fleet.read(&mut reader) {
        if let FleetChange::EffectivePriority { router, to, .. } = record.unwrap().change {
            changes.push((router, to.get()));
        }
    }
    changes.sort_unstable();
    assert_eq!(changes, actions);
}

#[test]
fn of_many_reports_a_wrong_one_is_named_and_the_others_count() {
    let mut lan = Lan::new(1);
    let objects = ["a", "b"].map(|name| object(&mut lan, name, -10));
    let id = tracking(&mut lan, 1, 100, &objects);
    let now = lan.now;
    let reports = [
        (objects[0], Report::Number(1)),
        (objects[0], Report::Down),
        (objects[1], Report::Down),
    ];
    let error = lan.fleet(0).report_all(now, reports).unwrap_err();
    assert!(matches!(
        error,
        FleetError::Track(TrackError::Report { .. })
    ));
    assert_eq!(priority(&lan, id), 80);
}
