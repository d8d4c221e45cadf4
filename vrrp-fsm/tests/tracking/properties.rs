//! Properties of all sequences of reports.

use core::time::Duration;

use proptest::{collection::vec, prelude::*};
use vrrp_fsm::{
    Instant,
    track::{
        Debounce, Kind, Object, ObjectId, Quorum, Report, Require, TrackRef, TrackState, Tracker,
    },
};

use crate::{Bench, check, ms, points};

/// One object of each kind except sets, with various weights, and a set of some of them.
fn bench(debounce: bool) -> (Bench, Vec<ObjectId>) {
    let quorum = Quorum {
        at_least: 2,
        at_most: Some(5),
    };
    let mut bench = Bench::default();
    let kinds = [
        (Kind::Interface, None, false),
        (check(1, 1, None), Some(-20), true),
        (Kind::Number, Some(3), false),
        (Kind::Processes(quorum), Some(-60), false),
        (Kind::BfdSession, Some(253), false),
        (Kind::Address, None, true),
        (Kind::Route, Some(-253), false),
    ];
    let ids: Vec<_> = kinds
        .into_iter()
        .enumerate()
        .map(|(number, (kind, weight, reverse))| {
            let mut object = Object::new(number.to_string(), kind);
            object.reverse = reverse;
            if let Some(weight) = weight {
                object.weight = points(weight);
            }
            if debounce {
                object.debounce = Debounce {
                    down: ms(20),
                    up: ms(30),
                };
            }
            bench.add(object)
        })
        .collect();
    let kind = Kind::Set {
        require: Require::AtLeast(2),
        members: ids[..4].to_vec(),
    };
    let _set = bench.add(Object::new("set", kind));
    (bench, ids)
}

/// A valid report for the object of this number.
fn report(object: usize, value: u8) -> Report {
    match object {
        2 => Report::Number(i32::from(value) - 100),
        3 => Report::Count(u32::from(value % 8)),
        _ if value.is_multiple_of(2) => Report::Up,
        _ => Report::Down,
    }
}

fn standings(tracker: &Tracker, uses: &[TrackRef]) -> (TrackState, Vec<TrackState>) {
    let each = uses
        .iter()
        .map(|one| tracker.track_state(&[*one]))
        .collect();
    (tracker.track_state(uses), each)
}

proptest! {
    /// Any order, loss or repetition of reports ends in the state of the last report of each.
    #[test]
    fn only_the_last_report_of_each_object_counts(
        reports in vec((0_usize..7, any::<u8>(), 0_u64..40, 1_usize..4), 0..60),
        debounce: bool,
    ) {
        let (mut all, ids) = bench(debounce);
        let mut last = [None; 7];
        for (object, value, pause, times) in reports {
            all.pass(ms(pause));
            for _ in 0..times {
                all.report(ids[object], report(object, value));
            }
            last[object] = Some(value);
        }
        all.pass(ms(1000));

        let (mut few, ids) = bench(debounce);
        for (object, value) in last.into_iter().enumerate().rev() {
            if let Some(value) = value {
                few.report(ids[object], report(object, value));
            }
        }
        few.pass(ms(1000));
        prop_assert_eq!(
            standings(&all.tracker, &all.uses),
            standings(&few.tracker, &few.uses)
        );
        prop_assert_eq!(all.tracker.poll_timeout(), None);
    }

    /// A tracker that was handed over to another process, with another clock, continues as the old
    /// one.
    #[test]
    fn a_snapshot_goes_on_as_the_original(
        before in vec((0_usize..7, any::<u8>(), 0_u64..40), 0..30),
        after in vec((0_usize..7, any::<u8>(), 0_u64..40), 0..30),
        epoch in any::<u32>(),
    ) {
        let (mut old, ids) = bench(true);
        for (object, value, pause) in before {
            old.pass(ms(pause));
            old.report(ids[object], report(object, value));
        }
        let now = Instant::from_nanos(epoch.into());
        let restored = Tracker::restore(&old.tracker.snapshot(old.now), now).unwrap();
        let of = |id: ObjectId| restored.find(&old.tracker.get(id).unwrap().name).unwrap();
        let uses: Vec<_> = old.uses.iter().map(|one| TrackRef::of(of(one.object))).collect();
        let new_ids: Vec<_> = ids.iter().map(|id| of(*id)).collect();
        let mut new = Bench { tracker: restored, now, uses };
        for (object, value, pause) in after {
            for (bench, ids) in [(&mut old, &ids), (&mut new, &new_ids)] {
                bench.pass(ms(pause));
                bench.report(ids[object], report(object, value));
            }
            prop_assert_eq!(
                standings(&old.tracker, &old.uses),
                standings(&new.tracker, &new.uses)
            );
            let remaining = |bench: &Bench| bench.tracker.poll_timeout().map(|at| at - bench.now);
            prop_assert_eq!(remaining(&old), remaining(&new));
        }
    }

    /// After any changes, the queue returns the same deadlines as a list, down to the last one.
    #[test]
    fn the_first_deadline_is_that_of_a_list(
        indices in prop_oneof![1_u32..20, 1_u32..1000],
        room in 0_usize..600,
        changes in vec((any::<u32>(), proptest::option::weighted(0.8, 0_u64..1000)), 0..400),
    ) {
        let mut deadlines = vrrp_fsm::Deadlines::new();
        let mut list = [None; 1000];
        let first = |list: &[Option<Instant>]| {
            (0..).zip(list).filter_map(|(index, at)| Some(((*at)?, index))).min()
        };
        for (change, (index, at)) in changes.into_iter().enumerate() {
            let index = index % indices;
            let at = at.map(Instant::from_nanos);
            deadlines.set(index, at);
            list[index as usize] = at;
            if change == 200 {
                deadlines.reserve(room);
            }
            prop_assert_eq!(deadlines.first(), first(&list));
            prop_assert_eq!(deadlines.earliest(), first(&list).map(|(at, _)| at));
        }
        while let Some((at, index)) = first(&list) {
            prop_assert_eq!(deadlines.first(), Some((at, index)));
            prop_assert_eq!(deadlines.due(at), Some(index));
            prop_assert_eq!(deadlines.due(at - Duration::from_nanos(1)).is_some(), at == Instant::ZERO);
            deadlines.set(index, None);
            list[index as usize] = None;
        }
        prop_assert_eq!(deadlines.first(), None);
    }
}
