//! Weight, reverse, overrides, and the sum.

use vrrp_fsm::track::{Contribution, Kind, Object, Report, TrackError, TrackRef, Weight};
use vrrp_proto::Priority;

use crate::{Bench, points, weighted};

/// What the object contributes: unreported, up, down.
fn contributions(object: Object) -> [Contribution; 3] {
    let mut bench = Bench::default();
    let id = bench.add(object);
    let now = bench.now;
    let one = |bench: &Bench| bench.tracker.contribution(&TrackRef::of(id)).unwrap();
    let unreported = one(&bench);
    bench.tracker.report(now, id, Report::Up).unwrap();
    let up = one(&bench);
    bench.tracker.report(now, id, Report::Down).unwrap();
    [unreported, up, one(&bench)]
}

#[test]
fn every_weight_in_both_directions() {
    use Contribution::{Fault, Points, Unreported};
    let object = |weight, reverse| Object {
        weight,
        reverse,
        ..Object::new("link", Kind::Interface)
    };
    for (weight, reverse, expected) in [
        (Weight::FAULT, false, [Unreported, Points(0), Fault]),
        (Weight::FAULT, true, [Unreported, Fault, Points(0)]),
        (points(40), false, [Points(0), Points(40), Points(0)]),
        (points(40), true, [Points(0), Points(-40), Points(0)]),
        (points(-40), false, [Points(0), Points(0), Points(-40)]),
        (points(-40), true, [Points(0), Points(0), Points(40)]),
    ] {
        assert_eq!(
            contributions(object(weight, reverse)),
            expected,
            "{weight:?} {reverse}"
        );
    }
}

#[test]
fn a_number_counts_times_its_weight_within_its_limits() {
    use Contribution::{Fault, Points};
    for (number, weight, reverse, expected) in [
        (7, 10, false, Points(70)),
        (7, 10, true, Points(-70)),
        (-7, 10, false, Points(-70)),
        (7, -10, false, Points(-70)),
        (-7, -10, false, Points(70)),
        (0, 10, false, Points(0)),
        (26, 10, false, Points(253)),
        (253, -1, false, Points(-253)),
        (254, -1, false, Fault),
        (254, 1, true, Fault),
        (i32::MIN, 253, false, Fault),
        (i32::MIN, -253, false, Points(253)),
        (i32::MAX, 253, false, Points(253)),
    ] {
        let mut bench = Bench::default();
        let object = Object {
            reverse,
            ..weighted("file", Kind::Number, weight)
        };
        let id = bench.add(object);
        bench.report(id, Report::Number(number));
        let found = bench.tracker.contribution(&TrackRef::of(id));
        assert_eq!(found, Some(expected), "{number} x {weight}, {reverse}");
    }
}

#[test]
fn a_number_that_is_a_condition_is_a_fault_unless_it_is_0() {
    for (reverse, number, faults) in [(false, 0, 0), (false, -3, 1), (true, 0, 1), (true, 3, 0)] {
        let mut bench = Bench::default();
        let id = bench.add(Object {
            reverse,
            ..Object::new("file", Kind::Number)
        });
        bench.report(id, Report::Number(number));
        assert_eq!(bench.faults(), (faults, 0), "{reverse} {number}");
    }
}

#[test]
fn a_weight_has_its_range() {
    for value in [-253, -1, 1, 253] {
        assert_eq!(points(value).get(), Some(value));
    }
    for value in [i16::MIN, -254, 0, 254, i16::MAX] {
        assert_eq!(Weight::points(value), Err(TrackError::Weight { value }));
    }
}

#[test]
fn the_sum_is_held_within_1_to_254_and_comes_back_from_there() {
    let mut bench = Bench::default();
    let down = [
        bench.add(weighted("a", Kind::Interface, -90)),
        bench.add(weighted("b", Kind::Interface, -90)),
    ];
    for id in down {
        bench.report(id, Report::Down);
    }
    assert_eq!(bench.priority(), 1, "100 - 180");
    bench.report(down[0], Report::Up);
    assert_eq!(
        bench.priority(),
        10,
        "the sum is not clamped, only the priority"
    );

    let mut bench = Bench::default();
    for name in ["a", "b"] {
        let id = bench.add(weighted(name, Kind::Interface, 90));
        bench.report(id, Report::Up);
    }
    assert_eq!(bench.priority(), 254, "100 + 180");
}

#[test]
fn the_owner_stays_255_but_has_faults() {
    let mut bench = Bench::default();
    let weight = bench.add(weighted("a", Kind::Interface, -90));
    let fault = bench.add(Object::new("b", Kind::Interface));
    bench.report(weight, Report::Down);
    bench.report(fault, Report::Down);
    let standing = bench.tracker.track_state(&bench.uses);
    assert_eq!(
        standing.effective_priority(Priority::OWNER),
        Priority::OWNER
    );
    assert!(!standing.is_ready());
}

#[test]
fn a_router_may_start_when_nothing_is_a_fault_and_all_that_may_be_one_have_reported() {
    let mut bench = Bench::default();
    let fault = bench.add(Object::new("a", Kind::Interface));
    let _weight = bench.add(weighted("b", Kind::Interface, -90));
    let is_ready = |bench: &Bench| bench.tracker.track_state(&bench.uses).is_ready();
    assert!(!is_ready(&bench));
    bench.report(fault, Report::Down);
    assert!(!is_ready(&bench));
    bench.report(fault, Report::Up);
    assert!(is_ready(&bench), "the weight need not have reported");
}

#[test]
fn a_reference_overrides_the_settings_of_its_object() {
    let mut bench = Bench::default();
    let id = bench.add(weighted("a", Kind::Interface, -90));
    bench.report(id, Report::Down);
    let own = |weight, reverse| TrackRef {
        object: id,
        weight,
        reverse,
    };
    let tracker = &bench.tracker;
    for (one, expected) in [
        (own(None, None), Contribution::Points(-90)),
        (own(Some(points(-5)), None), Contribution::Points(-5)),
        (own(None, Some(true)), Contribution::Points(90)),
        (own(Some(Weight::FAULT), None), Contribution::Fault),
        (
            own(Some(Weight::FAULT), Some(true)),
            Contribution::Points(0),
        ),
    ] {
        assert_eq!(tracker.contribution(&one), Some(expected), "{one:?}");
    }
}

/// A defect of another implementation: several devices behind one fault bit.
#[test]
fn peer_defect_6_2_of_two_objects_down_one_comes_back_and_the_fault_holds() {
    let mut bench = Bench::default();
    let one = bench.add(Object::new("one", Kind::Interface));
    let two = bench.add(Object::new("two", Kind::Interface));
    bench.reports(one, [true, false]);
    bench.reports(two, [true, false]);
    assert_eq!(bench.faults(), (2, 0));
    bench.report(one, Report::Up);
    assert_eq!(bench.faults(), (1, 0));
    bench.report(two, Report::Up);
    assert_eq!(bench.faults(), (0, 0));
}

/// A defect of another implementation: `reverse` was left out of the first sum.
#[test]
fn peer_defect_6_6_reverse_counts_from_the_first_report() {
    let mut bench = Bench::default();
    let id = bench.add(Object {
        reverse: true,
        ..weighted("a", Kind::Interface, -30)
    });
    assert_eq!(bench.priority(), 100);
    bench.report(id, Report::Down);
    assert_eq!(bench.priority(), 130);
}
