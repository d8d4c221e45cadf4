//! One tracked object: what it is, and what its reports amount to.

use alloc::{string::String, vec::Vec};
use core::{num::NonZeroU8, time::Duration};

use super::{Level, ObjectId, TrackError, Weight};
use crate::{Instant, snapshot::Deadline};

/// A tracked object as it is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Object {
    /// Its name, which no other object has. [`Explanation`](super::Explanation) shows it.
    pub name: String,
    /// What it is, and so how its reports count.
    pub kind: Kind,
    /// How much it counts for those who do not say otherwise. Default [`Weight::FAULT`].
    pub weight: Weight,
    /// Whether bad is good: a fault while the object is up, or points with the sign turned. Default false.
    pub reverse: bool,
    /// How long it has to stay up or down before that counts. Default not at all.
    pub debounce: Debounce,
}

impl Object {
    /// An object that is a condition: while it is down, there is a fault.
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

/// What is tracked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Kind {
    /// An interface: [`Report::Up`], [`Report::Down`].
    Interface,
    /// A check that somebody runs again and again, such as a script: [`Report::Up`] when it has passed, [`Report::Down`] when it has failed.
    Check(Check),
    /// A number, such as one in a file: [`Report::Number`]. The number times the weight is what it contributes; -254 and less is a fault,
    /// and more than 253 counts as 253. With [`Weight::FAULT`] any number but 0 is a fault. It is up while it is 0.
    Number,
    /// How many processes there are: [`Report::Count`].
    Processes(Quorum),
    /// A BFD session (RFC 5880): [`Report::Up`], [`Report::Down`].
    BfdSession,
    /// The presence of an address: [`Report::Up`] while it is there.
    Address,
    /// The presence of a route: [`Report::Up`] while it is there.
    Route,
    /// Several objects as one. It gets no reports of its own.
    Set {
        /// How many of them make it up.
        require: Require,
        /// The objects: at least one, none of them a set, none twice. One that is [`reverse`](Object::reverse) counts while it is down.
        members: Vec<ObjectId>,
    },
}

/// When a check counts as passed or failed.
///
/// The first result decides at once, whatever `rise` and `fall` say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Check {
    /// Successes in a row after which a failed check counts as passed.
    pub rise: NonZeroU8,
    /// Failures in a row after which a passed check counts as failed.
    pub fall: NonZeroU8,
    /// The longest time without a result, from when it was added or reported last. After it the check counts as failed at once, and needs
    /// `rise` successes. `None` waits for ever.
    pub stale_after: Option<Duration>,
}

impl Check {
    /// Every result counts, and none is waited for.
    pub const EACH: Self = Self {
        rise: NonZeroU8::MIN,
        fall: NonZeroU8::MIN,
        stale_after: None,
    };
}

/// How many processes there have to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Quorum {
    /// At least so many.
    pub at_least: u32,
    /// At most so many, not less than `at_least`; `None` for any number.
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

/// How many members make a [`Kind::Set`] up.
///
/// While members have not reported, the set is up or down as soon as they can no longer change that, and has not reported until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Require {
    /// One.
    Any,
    /// Every one.
    All,
    /// So many: 1 to their number.
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

/// How long an object has to stay down, or up again, before that counts. A report that says otherwise meanwhile ends the wait; one that
/// says the same does not start it anew. The first report counts at once.
///
/// Of a [`Kind::Number`], up is 0: from one other number to another there is no wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Debounce {
    /// Before down counts.
    pub down: Duration,
    /// Before up counts.
    pub up: Duration,
}

impl Debounce {
    /// Everything counts at once.
    pub const NONE: Self = Self {
        down: Duration::ZERO,
        up: Duration::ZERO,
    };
}

/// What is reported about an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Report {
    /// It is up, there, or has passed.
    Up,
    /// It is down, gone, or has failed.
    Down,
    /// The number of a [`Kind::Number`].
    Number(i32),
    /// The processes of a [`Kind::Processes`].
    Count(u32),
}

/// What is known about an object. Every decision comes from the last reports alone, never from how many there were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// What counts.
    pub(super) level: Option<Level>,
    /// What counts from then on, if nothing is reported against it.
    pub(super) pending: Option<(Level, Instant)>,
    /// The last count of processes.
    count: Option<u32>,
    /// What a check amounts to, before it is debounced, and how many results in a row have been against it.
    verdict: Option<bool>,
    against: u8,
    /// When a check counts as failed.
    pub(super) stale_at: Instant,
    /// It does, for that reason.
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

    /// When time alone changes something.
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

    /// One result of a check; what all of them amount to.
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

    /// What is so now, to count at once or after the debounce.
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

    /// Nothing is known any more. Only a set can come to this: some of its members went down, or others were added, and those that have not reported
    /// decide.
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

    /// The object has another configuration of the same kind.
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
    /// The configuration. The members of a set are [`ObjectId::nth`] of their places in the list of all objects.
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
    /// The number of results in a row against that.
    against: u8,
    /// When a check becomes stale.
    stale: Deadline,
    /// Whether it is.
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
