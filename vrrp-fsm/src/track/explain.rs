//! Why a priority is what it is.

use alloc::vec::Vec;
use core::fmt;

use vrrp_proto::Priority;

use super::{Contribution, Level, ObjectId, TrackState};

/// Why a router has its effective priority, and what keeps it in Initialize.
///
/// As text: `priority 70: 100 configured, uplink up, peering down -30`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation<'a> {
    /// The configured priority.
    pub configured: Priority,
    /// The configured priority with all points, held within 1..=254; 255 for the address owner, whose objects can only be faults.
    pub effective: Priority,
    /// What every object contributes, in the order of the uses; to the address owner no points.
    pub influences: Vec<Influence<'a>>,
}

/// What one object contributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Influence<'a> {
    /// The object.
    pub object: ObjectId,
    /// Its name.
    pub name: &'a str,
    /// What counts of it, or `None` before it has reported.
    pub level: Option<Level>,
    /// Whether it counts as failed because its reports stay out.
    pub is_stale: bool,
    /// What that comes to.
    pub contribution: Contribution,
}

impl Influence<'_> {
    /// Where only faults count.
    pub(crate) fn without_points(mut self) -> Self {
        if let Contribution::Points(points) = &mut self.contribution {
            *points = 0;
        }
        self
    }
}

impl<'a> Explanation<'a> {
    pub(crate) fn new(configured: Priority, mut influences: Vec<Influence<'a>>) -> Self {
        if configured.is_owner() {
            for influence in &mut influences {
                *influence = influence.without_points();
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

    /// The names of the objects that are a fault.
    pub fn faults(&self) -> impl Iterator<Item = &'a str> {
        self.named(Contribution::Fault)
    }

    /// The names of the objects that may be a fault and have not reported.
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
            Contribution::Points(0) => Ok(()),
            Contribution::Points(points) => write!(f, " {points:+}"),
            Contribution::Fault => f.write_str(" (fault)"),
            Contribution::Unreported => f.write_str(" (holds)"),
        }
    }
}
