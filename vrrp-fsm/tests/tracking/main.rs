//! Tracked objects: the results of their reports.

#![allow(missing_docs)]
// The settings in clippy.toml do not reach the helpers of tests.
#![allow(clippy::unwrap_used, clippy::panic)]

mod debounce;
mod explain;
mod kinds;
mod properties;
mod sets;
mod weights;

use core::{num::NonZeroU8, time::Duration};

use vrrp_fsm::{
    Instant,
    track::{Check, Kind, Object, ObjectId, Report, TrackRef, Tracker, Weight},
};
use vrrp_proto::Priority;

/// A tracker and its clock, seen by one router of priority 100.
#[derive(Default)]
struct Bench {
    tracker: Tracker,
    now: Instant,
    uses: Vec<TrackRef>,
}

impl Bench {
    /// Adds an object that the router tracks.
    fn add(&mut self, object: Object) -> ObjectId {
        let id = self.tracker.add(self.now, object).unwrap();
        self.uses.push(TrackRef::of(id));
        id
    }

    fn report(&mut self, id: ObjectId, report: Report) {
        self.tracker.report(self.now, id, report).unwrap();
    }

    fn reports(&mut self, id: ObjectId, up: impl IntoIterator<Item = bool>) {
        for up in up {
            self.report(id, if up { Report::Up } else { Report::Down });
        }
    }

    /// Advances the time, and serves every timeout when it is due.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.tracker.poll_timeout().filter(|at| *at <= end) {
            self.tracker.handle_timeout(at);
            let next = self.tracker.poll_timeout();
            assert!(
                next.is_none_or(|next| next > at),
                "served at {at} and still due"
            );
        }
        self.now = end;
    }

    fn is_up(&self, id: ObjectId) -> Option<bool> {
        self.tracker.level(id).map(vrrp_fsm::track::Level::is_up)
    }

    fn priority(&self) -> u8 {
        let standing = self.tracker.track_state(&self.uses);
        standing.effective_priority(Priority::new(100)).get()
    }

    /// The number of faults, and of objects that have not reported and may be a fault.
    fn faults(&self) -> (u32, u32) {
        let standing = self.tracker.track_state(&self.uses);
        (standing.faults, standing.unreported)
    }
}

fn points(points: i16) -> Weight {
    Weight::points(points).unwrap()
}

fn weighted(name: &str, kind: Kind, weight: i16) -> Object {
    Object {
        weight: points(weight),
        ..Object::new(name, kind)
    }
}

fn check(rise: u8, fall: u8, stale_after: Option<Duration>) -> Kind {
    Kind::Check(Check {
        rise: NonZeroU8::new(rise).unwrap(),
        fall: NonZeroU8::new(fall).unwrap(),
        stale_after,
    })
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
