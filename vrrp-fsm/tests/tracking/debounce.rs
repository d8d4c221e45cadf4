//! Debounce.

use vrrp_fsm::track::{Debounce, Kind, Level, Object, ObjectId, Report};

use crate::{Bench, ms};

fn debounced(kind: Kind) -> (Bench, ObjectId) {
    let mut bench = Bench::default();
    let id = bench.add(Object {
        debounce: Debounce {
            down: ms(200),
            up: ms(500),
        },
        ..Object::new("link", kind)
    });
    (bench, id)
}

#[test]
fn the_first_report_counts_at_once() {
    let (mut bench, id) = debounced(Kind::Interface);
    bench.reports(id, [false]);
    assert_eq!(bench.is_up(id), Some(false));
}

#[test]
fn down_and_up_each_wait_their_time() {
    let (mut bench, id) = debounced(Kind::Interface);
    bench.reports(id, [true, false]);
    bench.pass(ms(199));
    assert_eq!(bench.is_up(id), Some(true));
    bench.pass(ms(1));
    assert_eq!(bench.is_up(id), Some(false));
    bench.reports(id, [true]);
    bench.pass(ms(499));
    assert_eq!(bench.is_up(id), Some(false));
    bench.pass(ms(1));
    assert_eq!(bench.is_up(id), Some(true));
}

#[test]
fn a_flap_that_ends_in_time_counts_for_nothing() {
    let (mut bench, id) = debounced(Kind::Interface);
    bench.reports(id, [true]);
    while bench.tracker.poll_changed().is_some() {}
    for _ in 0..10 {
        bench.reports(id, [false]);
        bench.pass(ms(150));
        bench.reports(id, [true]);
        bench.pass(ms(150));
    }
    assert_eq!(bench.is_up(id), Some(true));
    assert_eq!(bench.tracker.poll_changed(), None);
    assert_eq!(bench.tracker.poll_timeout(), None);
}

#[test]
fn an_equal_report_does_not_restart_the_wait() {
    let (mut bench, id) = debounced(Kind::Interface);
    bench.reports(id, [true, false]);
    bench.pass(ms(150));
    bench.reports(id, [false]);
    bench.pass(ms(50));
    assert_eq!(bench.is_up(id), Some(false));
}

#[test]
fn a_number_waits_only_between_0_and_the_others() {
    let (mut bench, id) = debounced(Kind::Number);
    bench.report(id, Report::Number(0));
    bench.report(id, Report::Number(1));
    bench.pass(ms(100));
    bench.report(id, Report::Number(2));
    assert_eq!(bench.tracker.level(id), Some(Level::Number(0)));
    bench.pass(ms(100));
    assert_eq!(bench.tracker.level(id), Some(Level::Number(2)));
    bench.report(id, Report::Number(3));
    assert_eq!(bench.tracker.level(id), Some(Level::Number(3)));
}
