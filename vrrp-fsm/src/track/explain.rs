//! Explanations of priorities.

use alloc::vec::Vec;
use core::fmt;

use vrrp_proto::Priority;

use super::{Contribution, Level, ObjectId, TrackState};

/// The reasons for a router's effective priority, and its faults.
///
/// As text: `priority 70: 100 configured, uplink up, peering down -30`, or in a sync group without
/// [`member_weights`](crate::fleet::SyncGroup::member_weights)
/// `priority 100: 100 configured, peering down (-30 does not count in sync group gateway)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation<'a> {
    /// The configured priority.
    pub configured: Priority,
    /// The configured priority plus all points, clamped to 1..=254; 255 for the address owner,
    /// whose objects can only be faults.
    pub effective: Priority,
    /// The contribution of every object, in the order of the references.
    pub influences: Vec<Influence<'a>>,
}

/// The contribution of one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Influence<'a> {
    /// The object.
    pub object: ObjectId,
    /// Its name.
    pub name: &'a str,
    /// Its level, or `None` before its first report.
    pub level: Option<Level>,
    /// Whether it counts as failed because it has not reported in time.
    pub is_stale: bool,
    /// Its contribution.
    pub contribution: Contribution,
    /// The weight in points that does not count here, and the reason; `None` where the weight
    /// counts.
    pub ignored: Option<Ignored<'a>>,
    /// The weight in points, with the sign that `reverse` gives it; `None` for a weight that is a
    /// fault.
    pub(crate) points: Option<i16>,
}

/// A weight that does not count.
///
/// As text: `-60 does not count in sync group gateway`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ignored<'a> {
    /// The weight in points, with the sign turned where the object counts in reverse.
    pub weight: i16,
    /// Why it does not count.
    pub reason: IgnoredReason<'a>,
}

/// Why a weight does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IgnoredReason<'a> {
    /// In this sync group only faults of the members' own objects count
    /// ([`member_weights`](crate::fleet::SyncGroup::member_weights)).
    SyncGroup(&'a str),
    /// The router owns the addresses: its priority is always 255 (AMB-25).
    Owner,
}

impl fmt::Display for Ignored<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:+} does not count ", self.weight)?;
        match self.reason {
            IgnoredReason::SyncGroup(name) => write!(f, "in sync group {name}"),
            IgnoredReason::Owner => f.write_str("for the address owner"),
        }
    }
}

impl<'a> Influence<'a> {
    /// Returns the influence of an object whose weight does not count, for this reason.
    pub(crate) fn without_points(mut self, reason: IgnoredReason<'a>) -> Self {
        if let Contribution::Points(points) = &mut self.contribution
            && let Some(weight) = self.points
        {
            *points = 0;
            self.ignored.get_or_insert(Ignored { weight, reason });
        }
        self
    }
}

impl<'a> Explanation<'a> {
    pub(crate) fn new(configured: Priority, mut influences: Vec<Influence<'a>>) -> Self {
        if configured.is_owner() {
            for influence in &mut influences {
                *influence = influence.without_points(IgnoredReason::Owner);
            }
        }
        let track_state = influences
            .iter()
            .map(|influence| influence.contribution)
            .fold(TrackState::default(), TrackState::with);
        Self {
            configured,
            effective: track_state.effective_priority(configured),
            influences,
        }
    }

    /// Returns the names of the objects that are a fault.
    pub fn faults(&self) -> impl Iterator<Item = &'a str> {
        self.named(Contribution::Fault)
    }

    /// Returns the names of the objects that may be a fault and have not reported.
    pub fn unreported(&self) -> impl Iterator<Item = &'a str> {
        self.named(Contribution::Unreported)
    }

    fn named(&self, contribution: Contribution) -> impl Iterator<Item = &'a str> {
        self.influences
            .iter()
            .filter(move |influence| influence.contribution == contribution)
            .map(|influence| influence.name)
    }
}

impl fmt::Display for Explanation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (effective, configured) = (self.effective.get(), self.configured.get());
        write!(f, "priority {effective}: {configured} configured")?;
        for influence in &self.influences {
            write!(f, ", {influence}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Influence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.name)?;
        match self.level {
            _ if self.is_stale => f.write_str("stale")?,
            None => f.write_str("unreported")?,
            Some(Level::Up) => f.write_str("up")?,
            Some(Level::Down) => f.write_str("down")?,
            Some(Level::Number(number)) => write!(f, "{number}")?,
        }
        match self.contribution {
            Contribution::Points(0) => match self.ignored {
                Some(ignored) => write!(f, " ({ignored})"),
                None => Ok(()),
            },
            Contribution::Points(points) => write!(f, " {points:+}"),
            Contribution::Fault => f.write_str(" (fault)"),
            Contribution::Unreported => f.write_str(" (holds)"),
        }
    }
}
