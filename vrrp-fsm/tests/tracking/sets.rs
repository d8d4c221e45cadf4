//! Several objects as one.

use vrrp_fsm::track::{Debounce, Kind, Object, ObjectId, Require, TrackError};

use crate::{Bench, ms};

/// Three members and a set of them, which alone is used.
fn three(require: Require) -> (Bench, [ObjectId; 3], ObjectId) {
    let mut bench = Bench::default();
    let members = ["a", "b", "c"].map(|name| bench.add(Object::new(name, Kind::Interface)));
    bench.uses.clear();
    let set = bench.add(Object::new("set", set_of(require, &members)));
    (bench, members, set)
}

fn set_of(require: Require, members: &[ObjectId]) -> Kind {
    Kind::Set {
        require,
        members: members.to_vec(),
    }
}

#[test]
fn a_set_is_up_when_enough_members_are() {
    for (require, least) in [
        (Require::Any, 1),
        (Require::AtLeast(2), 2),
        (Require::All, 3),
    ] {
        for pattern in 0_u8..8 {
            let (mut bench, members, set) = three(require);
            for (bit, member) in members.into_iter().enumerate() {
                bench.reports(member, [pattern >> bit & 1 == 1]);
            }
            let up = pattern.count_ones() >= least;
            assert_eq!(bench.is_up(set), Some(up), "{require:?} {pattern:03b}");
        }
    }
}

#[test]
fn a_set_has_reported_once_the_missing_members_cannot_change_it() {
    let (mut bench, [a, b, _], any) = three(Require::Any);
    bench.reports(a, [false]);
    assert_eq!(bench.is_up(any), None);
    assert_eq!(bench.faults(), (0, 1));
    bench.reports(b, [true]);
    assert_eq!(bench.is_up(any), Some(true));

    let (mut bench, [a, b, _], all) = three(Require::All);
    bench.reports(a, [true]);
    assert_eq!(bench.is_up(all), None);
    bench.reports(b, [false]);
    assert_eq!(bench.is_up(all), Some(false));
}

#[test]
fn a_set_has_not_reported_any_more_when_missing_members_decide_again() {
    let (mut bench, [a, b, c], set) = three(Require::AtLeast(2));
    bench.reports(a, [true]);
    bench.reports(b, [true]);
    assert_eq!(bench.is_up(set), Some(true));
    bench.reports(b, [false]);
    assert_eq!(bench.is_up(set), None, "the third decides");
    assert_eq!(bench.faults(), (0, 1));
    bench.reports(c, [true]);
    assert_eq!(bench.is_up(set), Some(true));
    let new = bench.add(Object::new("d", Kind::Interface));
    let larger = Object::new("set", set_of(Require::AtLeast(3), &[a, b, c, new]));
    bench.tracker.reconfigure(bench.now, set, larger).unwrap();
    assert_eq!(bench.is_up(set), None, "the new one decides");
}

#[test]
fn a_reverse_member_counts_while_it_is_down() {
    let mut bench = Bench::default();
    let member = bench.add(Object {
        reverse: true,
        ..Object::new("maintenance", Kind::Interface)
    });
    let set = bench.add(Object::new("set", set_of(Require::All, &[member])));
    bench.reports(member, [false]);
    assert_eq!(bench.is_up(set), Some(true));
    let forward = Object::new("maintenance", Kind::Interface);
    bench
        .tracker
        .reconfigure(bench.now, member, forward)
        .unwrap();
    assert_eq!(bench.is_up(set), Some(false));
}

#[test]
fn a_set_has_a_debounce_of_its_own() {
    let (mut bench, members, set) = three(Require::All);
    let slow = Object {
        debounce: Debounce {
            down: ms(100),
            up: ms(0),
        },
        ..Object::new("set", set_of(Require::All, &members))
    };
    bench.tracker.reconfigure(bench.now, set, slow).unwrap();
    for member in members {
        bench.reports(member, [true]);
    }
    bench.reports(members[1], [false]);
    bench.pass(ms(99));
    assert_eq!(bench.is_up(set), Some(true));
    bench.pass(ms(1));
    assert_eq!(bench.is_up(set), Some(false));
}

#[test]
fn another_list_of_members_counts_at_once() {
    let (mut bench, [a, b, c], set) = three(Require::All);
    bench.reports(a, [true]);
    bench.reports(b, [true]);
    bench.reports(c, [false]);
    assert_eq!(bench.is_up(set), Some(false));
    let smaller = Object::new("set", set_of(Require::All, &[a, b]));
    bench.tracker.reconfigure(bench.now, set, smaller).unwrap();
    assert_eq!(bench.is_up(set), Some(true));
    bench.tracker.remove(c).unwrap();
    let refused = bench.tracker.remove(a);
    assert_eq!(refused, Err(TrackError::InUse("a".into())));
    bench.tracker.remove(set).unwrap();
    bench.tracker.remove(a).unwrap();
}

#[test]
fn an_invalid_set_is_rejected() {
    let (mut bench, [a, b, _], set) = three(Require::All);
    let gone = bench.add(Object::new("gone", Kind::Interface));
    bench.tracker.remove(gone).unwrap();
    let require = |required, members| TrackError::Require { required, members };
    for (number, members, expected) in [
        (1, &[][..], require(1, 0)),
        (0, &[a][..], require(0, 1)),
        (3, &[a, b][..], require(3, 2)),
        (1, &[a, b, a][..], TrackError::Twice("a".into())),
        (1, &[a, set][..], TrackError::NestedSet("set".into())),
        (1, &[gone][..], TrackError::Unknown(gone)),
    ] {
        let kind = set_of(Require::AtLeast(number), members);
        let refused = bench.tracker.add(bench.now, Object::new("bad", kind));
        assert_eq!(refused, Err(expected));
    }
}
