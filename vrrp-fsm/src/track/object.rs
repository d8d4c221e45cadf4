//! A tracked object: configuration, and evaluation of its reports.

use alloc::{string::String, vec::Vec};
use core::{num::NonZeroU8, time::Duration};

use super::{Level, ObjectId, TrackError, Weight};
use crate::{Instant, snapshot::Deadline};

/// A tracked object as it is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Object {
    /// Its unique name, shown in an [`Explanation`](super::Explanation).
    pub name: String,
    /// Its kind, which determines its reports.
    pub kind: Kind,
    /// Its weight, unless a [`TrackRef`](super::TrackRef) has another one. Default
    /// [`Weight::FAULT`].
    pub weight: Weight,
    /// Whether it counts in reverse: a fault while the object is up, or points with the opposite
    /// sign. Default false.
    pub reverse: bool,
    /// The time for which it must stay up or down before the change counts. Default none.
    pub debounce: Debounce,
}

impl Object {
    /// Makes an object with the weight [`Weight::FAULT`]: while it is down, there is a fault.
    #[must_use]
    pub fn new(name: impl Into<String>, kind: Kind) -> Self {
        Self {
            name: name.into(),
            kind,
            weight: Weight::FAULT,
            reverse: false,
            debounce: Debounce::NONE,
        }
    }
}

/// Kind of a tracked object.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Kind {
    /// An interface: [`Report::Up`], [`Report::Down`].
    Interface,
    /// A periodic check, such as a script: [`Report::Up`] if it has passed, [`Report::Down`] if it
    /// has failed.
    Check(Check),
    /// A number, such as one in a file: [`Report::Number`]. It contributes the number times the
    /// weight; -254 and less is a fault, and more than 253 counts as 253. With [`Weight::FAULT`]
    /// any number but 0 is a fault. It is up while it is 0.
    Number,
    /// The number of processes: [`Report::Count`].
    Processes(Quorum),
    /// A BFD session (RFC 5880): [`Report::Up`], [`Report::Down`].
    BfdSession,
    /// The presence of an address: [`Report::Up`] while it is there.
    Address,
    /// The presence of a route: [`Report::Up`] while it is there.
    Route,
    /// A set of objects. It has no reports of its own.
    Set {
        /// The number of members that must be up.
        require: Require,
        /// The objects: at least one, none of them a set, none twice. One that is
        /// [`reverse`](Object::reverse) counts while it is down.
        members: Vec<ObjectId>,
    },
}

/// The rules by which a check counts as passed or failed.
///
/// The first result decides at once, regardless of `rise` and `fall`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Check {
    /// Successes in a row after which a failed check counts as passed.
    pub rise: NonZeroU8,
    /// Failures in a row after which a passed check counts as failed.
    pub fall: NonZeroU8,
    /// The longest time without a result, since the check was added or last reported. After it the
    /// check counts as failed, and needs `rise` successes. `None` for no limit.
    pub stale_after: Option<Duration>,
}

impl Check {
    /// Every result counts, without a time limit.
    pub const EACH: Self = Self {
        rise: NonZeroU8::MIN,
        fall: NonZeroU8::MIN,
        stale_after: None,
    };
}

/// The required number of processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Quorum {
    /// The minimum.
    pub at_least: u32,
    /// The maximum, not less than `at_least`; `None` for no maximum.
    pub at_most: Option<u32>,
}

impl Quorum {
    const fn holds(self, count: u32) -> bool {
        let too_many = match self.at_most {
            Some(at_most) => count > at_most,
            None => false,
        };
        count >= self.at_least && !too_many
    }
}

/// The number of members that must be up in a [`Kind::Set`].
///
/// The set has a level as soon as the members without a report can no longer change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Require {
    /// One.
    Any,
    /// Every one.
    All,
    /// This number: 1 to the number of members.
    AtLeast(u32),
}

impl Require {
    pub(super) const fn of(self, members: usize) -> usize {
        match self {
            Self::Any => 1,
            Self::All => members,
            Self::AtLeast(number) => number as usize,
        }
    }
}

/// The time for which an object must stay down, or up again, before the change counts. A contrary
/// report ends the wait; an equal one does not restart it. The first report counts at once.
///
/// A [`Kind::Number`] is up while it is 0: a change between two other numbers counts at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Debounce {
    /// The time before a change to down counts.
    pub down: Duration,
    /// The time before a change to up counts.
    pub up: Duration,
}

impl Debounce {
    /// No wait.
    pub const NONE: Self = Self {
        down: Duration::ZERO,
        up: Duration::ZERO,
    };
}

/// A report about an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Report {
    /// It is up or present, or has passed.
    Up,
    /// It is down or absent, or has failed.
    Down,
    /// The number of a [`Kind::Number`].
    Number(i32),
    /// The processes of a [`Kind::Processes`].
    Count(u32),
}

/// The state of an object. It depends on the last reports only, not on their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// The level that counts.
    pub(super) level: Option<Level>,
    /// The level that counts from this time on, unless a contrary report arrives.
    pub(super) pending: Option<(Level, Instant)>,
    /// The last count of processes.
    count: Option<u32>,
    /// The result of a check before it is debounced, and the number of contrary results in a row.
    verdict: Option<bool>,
    against: u8,
    /// The time at which a check becomes stale.
    pub(super) stale_at: Instant,
    /// Whether the check is stale.
    pub(super) is_stale: bool,
}

impl Known {
    pub(super) fn new(now: Instant, kind: &Kind) -> Self {
        Self {
            level: None,
            pending: None,
            count: None,
            verdict: None,
            against: 0,
            stale_at: stale_at(now, kind),
            is_stale: false,
        }
    }

    /// Returns the next deadline.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let pending = self.pending.map_or(Instant::MAX, |(_, at)| at);
        Some(pending.min(self.stale_at)).filter(|at| *at != Instant::MAX)
    }

    pub(super) fn report(
        &mut self,
        now: Instant,
        object: &Object,
        report: Report,
    ) -> Result<(), TrackError> {
        let level = match (&object.kind, report) {
            (Kind::Check(check), Report::Up | Report::Down) => {
                self.stale_at = stale_at(now, &object.kind);
                self.is_stale = false;
                Level::of(self.evaluate(*check, report == Report::Up))
            }
            (Kind::Number, Report::Number(number)) => Level::Number(number),
            (Kind::Processes(quorum), Report::Count(count)) => {
                self.count = Some(count);
                Level::of(quorum.holds(count))
            }
            (
                Kind::Interface | Kind::BfdSession | Kind::Address | Kind::Route,
                Report::Up | Report::Down,
            ) => Level::of(report == Report::Up),
            _ => {
                return Err(TrackError::Report {
                    name: object.name.clone(),
                    report,
                });
            }
        };
        self.observe(now, object.debounce, level);
        Ok(())
    }

    /// Evaluates one result of a check.
    fn evaluate(&mut self, check: Check, passed: bool) -> bool {
        let Some(verdict) = self.verdict else {
            self.verdict = Some(passed);
            return passed;
        };
        if passed == verdict {
            self.against = 0;
            return verdict;
        }
        self.against = self.against.saturating_add(1);
        let needed = if passed { check.rise } else { check.fall };
        if self.against < needed.get() {
            return verdict;
        }
        self.against = 0;
        self.verdict = Some(passed);
        passed
    }

    /// Observes a level, which counts at once or after the debounce.
    pub(super) fn observe(&mut self, now: Instant, debounce: Debounce, level: Level) {
        let wait = match self.level {
            Some(old) if old.is_up() != level.is_up() && level.is_up() => debounce.up,
            Some(old) if old.is_up() != level.is_up() => debounce.down,
            _ => Duration::ZERO,
        };
        if wait.is_zero() {
            self.level = Some(level);
            self.pending = None;
        } else {
            let at = self.pending.map_or(now + wait, |(_, at)| at);
            self.pending = Some((level, at));
        }
    }

    /// Forgets the level. Only a set does this: after some members went down or others were added,
    /// members without a report decide.
    pub(super) fn forget(&mut self) {
        self.level = None;
        self.pending = None;
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if let Some((level, at)) = self.pending
            && at.is_due(now)
        {
            self.level = Some(level);
            self.pending = None;
        }
        if self.stale_at.is_due(now) {
            self.stale_at = Instant::MAX;
            self.is_stale = true;
            self.verdict = Some(false);
            self.against = 0;
            self.level = Some(Level::Down);
            self.pending = None;
        }
    }

    /// Applies a new configuration of the same kind.
    pub(super) fn reconfigure(&mut self, now: Instant, old: &Object, new: &Object) {
        match (&old.kind, &new.kind) {
            (Kind::Check(old), Kind::Check(check))
                if old.stale_after != check.stale_after && !self.is_stale =>
            {
                self.stale_at = stale_at(now, &new.kind);
            }
            (_, Kind::Processes(quorum)) => {
                if let Some(count) = self.count {
                    self.observe(now, new.debounce, Level::of(quorum.holds(count)));
                }
            }
            _ => {}
        }
    }

    pub(super) fn snapshot(&self, now: Instant, object: Object) -> ObjectSnapshot {
        ObjectSnapshot {
            object,
            level: self.level,
            pending: self
                .pending
                .map(|(level, at)| (level, Deadline::of(at, now))),
            count: self.count,
            verdict: self.verdict,
            against: self.against,
            stale: Deadline::of(self.stale_at, now),
            is_stale: self.is_stale,
        }
    }

    pub(super) fn restore(saved: &ObjectSnapshot, now: Instant) -> Self {
        Self {
            level: saved.level,
            pending: saved.pending.map(|(level, at)| (level, at.at(now))),
            count: saved.count,
            verdict: saved.verdict,
            against: saved.against,
            stale_at: saved.stale.at(now),
            is_stale: saved.is_stale,
        }
    }
}

/// The configuration of an object, and everything that is known about it. It is opaque:
/// [`Tracker::snapshot`](super::Tracker::snapshot) makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ObjectSnapshot {
    /// The configuration. The members of a set are [`ObjectId::nth`] of their places in the list of
    /// all objects.
    #[doc(hidden)]
    pub object: Object,
    /// The level that counts.
    level: Option<Level>,
    /// The level that counts when a debounce is over.
    pending: Option<(Level, Deadline)>,
    /// The last [`Report::Count`].
    count: Option<u32>,
    /// The result of a check, before it is debounced.
    verdict: Option<bool>,
    /// The number of contrary results in a row.
    against: u8,
    /// When a check becomes stale.
    stale: Deadline,
    /// Whether the check is stale.
    is_stale: bool,
}

fn stale_at(now: Instant, kind: &Kind) -> Instant {
    match kind {
        Kind::Check(Check {
            stale_after: Some(after),
            ..
        }) => now + *after,
        _ => Instant::MAX,
    }
}
