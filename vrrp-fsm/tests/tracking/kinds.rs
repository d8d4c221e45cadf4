//! The evaluation of its reports by each kind of object.

use vrrp_fsm::track::{Debounce, Kind, Object, Quorum, Report, TrackError};

use crate::{Bench, check, ms, weighted};

#[test]
fn the_first_result_of_a_check_decides_at_once() {
    for first in [true, false] {
        let mut bench = Bench::default();
        let id = bench.add(Object::new("check", check(3, 3, None)));
        bench.reports(id, [first]);
        assert_eq!(bench.is_up(id), Some(first));
    }
}

#[test]
fn a_check_falls_after_failures_in_a_row_and_rises_after_successes_in_a_row() {
    let mut bench = Bench::default();
    let id = bench.add(Object::new("check", check(2, 3, None)));
    bench.reports(id, [true, false, false, true, false, false]);
    assert_eq!(
        bench.is_up(id),
        Some(true),
        "a success starts the count again"
    );
    bench.reports(id, [false]);
    assert_eq!(bench.is_up(id), Some(false));
    bench.reports(id, [true, false, true]);
    assert_eq!(
        bench.is_up(id),
        Some(false),
        "a failure starts the count again"
    );
    bench.reports(id, [true]);
    assert_eq!(bench.is_up(id), Some(true));
}

#[test]
fn a_check_that_stops_reporting_counts_as_failed() {
    let mut bench = Bench::default();
    let id = bench.add(Object::new("check", check(2, 2, Some(ms(500)))));
    bench.reports(id, [true]);
    bench.pass(ms(499));
    bench.reports(id, [true]);
    bench.pass(ms(499));
    assert_eq!(bench.is_up(id), Some(true));
    bench.pass(ms(1));
    assert_eq!(bench.is_up(id), Some(false));
    assert!(bench.tracker.is_stale(id));
    assert_eq!(bench.tracker.poll_timeout(), None);
    bench.reports(id, [true]);
    assert_eq!(bench.is_up(id), Some(false), "it has to rise again");
    assert!(!bench.tracker.is_stale(id));
    bench.reports(id, [true]);
    assert_eq!(bench.is_up(id), Some(true));
}

#[test]
fn a_check_that_never_reports_counts_as_failed_when_its_time_is_over() {
    let mut bench = Bench::default();
    let id = bench.add(Object::new("check", check(1, 1, Some(ms(500)))));
    assert_eq!(bench.faults(), (0, 1));
    bench.pass(ms(500));
    assert_eq!(bench.is_up(id), Some(false));
    assert_eq!(bench.faults(), (1, 0));
}

#[test]
fn another_time_in_which_a_check_has_to_report_counts_from_the_change() {
    let with = |stale_after| Object::new("check", check(1, 1, stale_after));
    let reconfigured = |stale_after| {
        let mut bench = Bench::default();
        let id = bench.add(with(Some(ms(500))));
        bench.reports(id, [true]);
        bench.pass(ms(400));
        let now = bench.now;
        bench
            .tracker
            .reconfigure(now, id, with(stale_after))
            .unwrap();
        let remaining = bench.tracker.poll_timeout().map(|at| at - now);
        (bench, id, remaining)
    };
    let (mut bench, id, remaining) = reconfigured(Some(ms(1000)));
    assert_eq!(remaining, Some(ms(1000)));
    bench.pass(ms(1000));
    assert!(bench.tracker.is_stale(id));
    // A stale check stays stale until it reports, even if its time limit becomes longer.
    let now = bench.now;
    let longer = with(Some(ms(5000)));
    bench.tracker.reconfigure(now, id, longer).unwrap();
    assert!(bench.tracker.is_stale(id));
    assert_eq!(bench.tracker.poll_timeout(), None);

    let (_, _, remaining) = reconfigured(Some(ms(500)));
    assert_eq!(remaining, Some(ms(100)), "the same time goes on");
    let (_, _, remaining) = reconfigured(None);
    assert_eq!(remaining, None);
}

#[test]
fn a_debounce_does_not_keep_a_stale_check_up() {
    let mut bench = Bench::default();
    let id = bench.add(Object {
        debounce: Debounce {
            down: ms(10_000),
            up: ms(0),
        },
        ..Object::new("check", check(1, 1, Some(ms(500))))
    });
    bench.reports(id, [true]);
    bench.pass(ms(500));
    assert_eq!(bench.is_up(id), Some(false));
}

#[test]
fn processes_have_to_be_enough_and_not_too_many() {
    let mut bench = Bench::default();
    let quorum = |at_least, at_most| Kind::Processes(Quorum { at_least, at_most });
    let id = bench.add(Object::new("daemon", quorum(2, Some(4))));
    for (count, up) in [(0, false), (1, false), (2, true), (4, true), (5, false)] {
        bench.report(id, Report::Count(count));
        assert_eq!(bench.is_up(id), Some(up), "{count}");
    }
    let now = bench.now;
    let wider = Object::new("daemon", quorum(2, None));
    bench.tracker.reconfigure(now, id, wider).unwrap();
    assert_eq!(bench.is_up(id), Some(true), "5 are enough now");
    let exact = bench.add(Object::new("exact", quorum(2, Some(2))));
    bench.report(exact, Report::Count(2));
    assert_eq!(bench.is_up(exact), Some(true));
    let refused = bench
        .tracker
        .add(now, Object::new("other", quorum(2, Some(1))));
    assert_eq!(
        refused.unwrap_err().to_string(),
        "at_most 1 is less than at_least 2"
    );
}

#[test]
fn a_report_of_another_kind_is_refused_and_changes_nothing() {
    let quorum = Quorum {
        at_least: 1,
        at_most: None,
    };
    for (kind, good, bad) in [
        (Kind::Interface, Report::Up, Report::Number(0)),
        (Kind::BfdSession, Report::Up, Report::Count(1)),
        (Kind::Address, Report::Up, Report::Number(1)),
        (Kind::Route, Report::Up, Report::Number(1)),
        (check(1, 1, None), Report::Up, Report::Count(0)),
        (Kind::Number, Report::Number(0), Report::Down),
        (Kind::Processes(quorum), Report::Count(1), Report::Down),
    ] {
        let mut bench = Bench::default();
        let id = bench.add(Object::new("object", kind));
        bench.report(id, good);
        let refused = bench.tracker.report(bench.now, id, bad).unwrap_err();
        assert!(matches!(refused, TrackError::Report { .. }), "{refused}");
        assert_eq!(bench.is_up(id), Some(true));
    }
}

#[test]
fn names_are_unique_and_a_kind_stays() {
    let mut bench = Bench::default();
    let now = bench.now;
    let id = bench.add(Object::new("a", Kind::Interface));
    let taken = bench.tracker.add(now, Object::new("a", Kind::Route));
    assert_eq!(taken, Err(TrackError::NameTaken("a".into())));
    let changed = bench
        .tracker
        .reconfigure(now, id, Object::new("a", Kind::Route));
    assert_eq!(changed, Err(TrackError::KindChanged("a".into())));
    let renamed = Object::new("b", Kind::Interface);
    bench.tracker.reconfigure(now, id, renamed).unwrap();
    assert_eq!(bench.tracker.find("b"), Some(id));
    assert_eq!(bench.tracker.find("a"), None);
    let other = bench.add(Object::new("a", Kind::Route));
    let taken = bench
        .tracker
        .reconfigure(now, other, Object::new("b", Kind::Route));
    assert_eq!(taken, Err(TrackError::NameTaken("b".into())));
    assert_eq!(bench.tracker.find("a"), Some(other));
    bench.tracker.remove(id).unwrap();
    assert_eq!(bench.tracker.find("b"), None);
    let same = Object::new("a", Kind::Route);
    bench.tracker.reconfigure(now, other, same).unwrap();
    assert_eq!(bench.tracker.find("a"), Some(other));
}

#[test]
fn a_removed_object_is_gone_and_its_id_is_not_used_again() {
    let mut bench = Bench::default();
    let old = bench.add(Object::new("a", check(1, 1, Some(ms(10)))));
    bench.tracker.remove(old).unwrap();
    assert_eq!(bench.tracker.poll_timeout(), None);
    let new = bench.add(Object::new("b", Kind::Interface));
    assert_ne!(old, new);
    let refused = bench.tracker.report(bench.now, old, Report::Up);
    assert_eq!(refused, Err(TrackError::Unknown(old)));
    assert_eq!(bench.is_up(new), None);
    assert_eq!(bench.tracker.poll_changed(), None);
}

#[test]
fn a_change_is_reported_once_and_only_if_something_changed() {
    let mut bench = Bench::default();
    let one = bench.add(weighted("one", Kind::Interface, 5));
    let two = bench.add(weighted("two", Kind::Interface, 5));
    bench.reports(one, [true, false, true]);
    bench.reports(two, [true]);
    assert_eq!(bench.tracker.poll_changed(), Some(one));
    assert_eq!(bench.tracker.poll_changed(), Some(two));
    assert_eq!(bench.tracker.poll_changed(), None);
    bench.reports(one, [true, true]);
    assert_eq!(bench.tracker.poll_changed(), None);
    let heavier = weighted("one", Kind::Interface, 50);
    bench.tracker.reconfigure(bench.now, one, heavier).unwrap();
    assert_eq!(bench.tracker.poll_changed(), Some(one), "another weight");
}
