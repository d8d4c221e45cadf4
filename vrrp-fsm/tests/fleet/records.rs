//! The stream of records.

use vrrp_fsm::{
    Instant, State,
    fleet::{FleetChange, Lost, Reader, Record, VrrpRouter},
    track::{Kind, Level, Object, Report, TrackRef, Weight},
};

use crate::lan::{member, ms};

fn read(fleet: &VrrpRouter, reader: &mut Reader) -> Vec<Result<Record, Lost>> {
    core::iter::from_fn(|| fleet.read(reader)).collect()
}

#[test]
fn records_are_numbered_without_a_gap_and_in_order() {
    let mut fleet = VrrpRouter::new();
    let t = |millis| Instant::ZERO + ms(millis);
    let weight = Object {
        weight: Weight::points(-20).unwrap(),
        ..Object::new("load", Kind::Interface)
    };
    let object = fleet.add_object(t(0), weight).unwrap();
    let mut tracks = member(1, 100);
    tracks.tracking = vec![TrackRef::of(object)];
    let id = fleet.add(t(1), tracks).unwrap();
    fleet.startup(t(2), id, [192, 0, 2, 11].into()).unwrap();
    fleet.report(t(3), object, Report::Down).unwrap();
    fleet.handle_timeout(t(5_000));
    fleet.remove(t(6_000), id).unwrap();
    let records: Vec<_> = read(&fleet, &mut Reader::default())
        .into_iter()
        .map(Result::unwrap)
        .collect();
    for (number, record) in (0..).zip(&records) {
        assert_eq!(record.sequence, number);
    }
    let said: Vec<_> = records
        .iter()
        .map(|record| {
            let what = match record.change {
                FleetChange::Added(it) if it == id => "added".into(),
                FleetChange::Removed(it) if it == id => "removed".into(),
                FleetChange::State(it, transition) if it == id => transition.to.to_string(),
                FleetChange::Object(it, Some(Level::Down)) if it == object => "down".into(),
                FleetChange::EffectivePriority { from, to, .. } => {
                    format!("{} to {}", from.get(), to.get())
                }
                other => panic!("{other:?}"),
            };
            ((record.at - Instant::ZERO).as_millis(), what)
        })
        .collect();
    let expected = [
        (1, "added"),
        (2, "Backup"),
        (3, "down"),
        (3, "100 to 80"),
        (5_000, "Active"),
        (6_000, "Initialize"),
        (6_000, "removed"),
    ];
    assert_eq!(said, expected.map(|(at, what)| (at, what.to_owned())));
}

#[test]
fn a_changed_configured_priority_is_reported_once_with_its_points() {
    let mut fleet = VrrpRouter::new();
    let weight = Object {
        weight: Weight::points(-20).unwrap(),
        ..Object::new("load", Kind::Interface)
    };
    let object = fleet.add_object(Instant::ZERO, weight).unwrap();
    let of = |priority, objects: &[_]| {
        let mut member = member(1, priority);
        member.tracking = objects.iter().map(|id| TrackRef::of(*id)).collect();
        member
    };
    let id = fleet.add(Instant::ZERO, of(100, &[object])).unwrap();
    fleet.report(Instant::ZERO, object, Report::Down).unwrap();
    for (priority, objects) in [
        (200, &[object][..]),
        (220, &[object]),
        (200, &[]),
        (255, &[]),
    ] {
        let member = of(priority, objects);
        fleet.reconfigure(Instant::ZERO, id, member).unwrap();
    }
    let changes: Vec<_> = read(&fleet, &mut Reader::default())
        .into_iter()
        .filter_map(|record| match record.unwrap().change {
            FleetChange::EffectivePriority { router, from, to } if router == id => {
                Some((from.get(), to.get()))
            }
            _ => None,
        })
        .collect();
    assert_eq!(changes, [(100, 80), (80, 180), (180, 200), (200, 255)]);
}

#[test]
fn a_slow_reader_learns_how_many_records_it_lost_and_a_fast_one_loses_none() {
    let mut fleet = VrrpRouter::with_capacity(1, 4);
    let id = fleet.add(Instant::ZERO, member(1, 255)).unwrap();
    let (mut fast, mut slow) = (Reader::default(), Reader::default());
    let mut seen = 0;
    for _ in 0..5 {
        fleet
            .startup(Instant::ZERO, id, [192, 0, 2, 11].into())
            .unwrap();
        fleet.shutdown(Instant::ZERO, id).unwrap();
        let records = read(&fleet, &mut fast);
        assert!(records.iter().all(Result::is_ok));
        seen += records.len();
    }
    assert_eq!(seen, 11);
    let records = read(&fleet, &mut slow);
    assert_eq!(records[0], Err(Lost { first: 0, count: 7 }));
    let numbers: Vec<_> = records[1..].iter().map(|it| it.unwrap().sequence).collect();
    assert_eq!(numbers, [7, 8, 9, 10]);
    assert!(read(&fleet, &mut slow).is_empty());
    assert!(read(&fleet, &mut Reader::from(11)).is_empty());
    let records = read(&fleet, &mut Reader::from(5));
    assert_eq!(records[0], Err(Lost { first: 5, count: 2 }), "5 and 6");
}

#[test]
fn a_log_without_room_for_records_reports_their_loss() {
    let mut fleet = VrrpRouter::with_capacity(0, 0);
    let id = fleet.add(Instant::ZERO, member(1, 100)).unwrap();
    assert_eq!(fleet.get(id).unwrap().state(), State::Initialize);
    let mut reader = Reader::default();
    let lost = fleet.read(&mut reader);
    assert_eq!(lost, Some(Err(Lost { first: 0, count: 1 })));
    assert_eq!(fleet.read(&mut reader), None);
}

#[test]
fn room_for_more_records_loses_none() {
    let mut fleet = VrrpRouter::with_capacity(0, 2);
    let mut reader = Reader::default();
    let _ids: Vec<_> = (1..=2)
        .map(|interface| fleet.add(Instant::ZERO, member(interface, 100)).unwrap())
        .collect();
    fleet.keep_records(5);
    fleet.keep_records(1);
    for interface in 3..=5 {
        let _id = fleet.add(Instant::ZERO, member(interface, 100)).unwrap();
    }
    let records = read(&fleet, &mut reader);
    assert!(records.iter().all(Result::is_ok), "{records:?}");
    assert_eq!(records.len(), 5);
    let _id = fleet.add(Instant::ZERO, member(6, 100)).unwrap();
    let lost = Lost { first: 0, count: 1 };
    assert_eq!(fleet.read(&mut Reader::default()), Some(Err(lost)));
}

#[test]
fn dropped_records_are_lost_for_other_readers_and_not_for_the_one_that_has_read_them() {
    let mut fleet = VrrpRouter::with_capacity(0, 8);
    let (mut own, mut other) = (Reader::default(), Reader::default());
    let add = |fleet: &mut VrrpRouter, interface| {
        let _id = fleet.add(Instant::ZERO, member(interface, 100)).unwrap();
    };
    for interface in 1..=3 {
        add(&mut fleet, interface);
    }
    assert!(fleet.read(&mut own).unwrap().is_ok());
    fleet.drop_records(own);
    assert_eq!(read(&fleet, &mut own).len(), 2, "unread records stay");
    let lost = Lost { first: 0, count: 1 };
    assert_eq!(fleet.read(&mut other), Some(Err(lost)));

    fleet.drop_records(own);
    let lost = Lost { first: 1, count: 2 };
    assert_eq!(fleet.read(&mut other), Some(Err(lost)));
    assert_eq!(fleet.read(&mut other), None);
    fleet.drop_records(own);
    for interface in 4..=12 {
        add(&mut fleet, interface);
    }
    let lost = Lost { first: 3, count: 1 };
    assert_eq!(fleet.read(&mut own), Some(Err(lost)), "there is room for 8");
    let numbers: Vec<_> = read(&fleet, &mut own)
        .into_iter()
        .map(|it| it.unwrap().sequence)
        .collect();
    assert_eq!(numbers, [4, 5, 6, 7, 8, 9, 10, 11]);
}
