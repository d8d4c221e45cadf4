//! The properties of a virtual router, and their violations.

use alloc::vec::Vec;
use core::fmt;

use crate::{Instant, fleet::RouterKey};

/// A property that is checked continuously. `docs/simulation.md` lists the faults under which each
/// holds, and derives the bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Property {
    /// A virtual router has at most one Active among hosts that reach each other, once the network
    /// was quiet for the bound.
    AtMostOneActive,
    /// It has at least one then, if one of its routers is healthy.
    ActiveExists,
    /// No healthy router then has a higher priority than the Active, if all preempt.
    HighestPriorityActive,
    /// From then on no router changes its state, until the next disturbance.
    NoFlapping,
    /// When an Active resigns in a network that was quiet, another one is there within Skew_Time of
    /// the best Backup and the longest delay.
    HandOverInSkewTime,
    /// Two Actives do not survive one exchange: a router that receives the better one's
    /// advertisement is Backup at once, and one whose advertisement the better one receives is
    /// Backup within the longest delay.
    DuplicateEnds,
    /// All members of a sync group are in the same state.
    GroupAgrees,
    /// A router that becomes Active announces its addresses at once. So does an Active that
    /// receives a rival's advertisement, unless it has just announced.
    ActiveAnnounces,
    /// The neighbours send traffic for the virtual addresses to the Active, because the last
    /// announcement that they received is its own, once the network was quiet for the bound and for
    /// the second bursts that may be due.
    LastAnnouncementIsOfActive,
    /// A second after an Active received the last advertisement of a rival, the neighbours send to
    /// the Active and no longer to the rival, unless the rival has announced since.
    NeighborsCorrected,
    /// A packet that was accepted is not accepted again, if a sequence number is authenticated: IP
    /// AH and the HMAC trailer.
    ReplayIsDiscarded,
}

impl Property {
    /// All properties.
    pub const ALL: [Self; 11] = [
        Self::AtMostOneActive,
        Self::ActiveExists,
        Self::HighestPriorityActive,
        Self::NoFlapping,
        Self::HandOverInSkewTime,
        Self::DuplicateEnds,
        Self::GroupAgrees,
        Self::ActiveAnnounces,
        Self::LastAnnouncementIsOfActive,
        Self::NeighborsCorrected,
        Self::ReplayIsDiscarded,
    ];
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AtMostOneActive => "at most one Active",
            Self::ActiveExists => "an Active exists",
            Self::HighestPriorityActive => "the highest priority is Active",
            Self::NoFlapping => "no flapping",
            Self::HandOverInSkewTime => "hand-over in Skew_Time",
            Self::DuplicateEnds => "a duplicate ends",
            Self::GroupAgrees => "the group agrees",
            Self::ActiveAnnounces => "the Active announces",
            Self::LastAnnouncementIsOfActive => "the last announcement is the Active's",
            Self::NeighborsCorrected => "the neighbours are corrected",
            Self::ReplayIsDiscarded => "a replay is discarded",
        })
    }
}

/// A property did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The time at which it was seen.
    pub at: Instant,
    /// The property.
    pub property: Property,
    /// The virtual router; of a sync group, one of its members.
    pub key: RouterKey,
    /// The hosts involved: the Actives, or those that should be Active.
    pub hosts: Vec<u32>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            property,
            key,
            hosts,
            ..
        } = self;
        write!(
            f,
            "{property}: LAN {} {} VRID {}, hosts {hosts:?}",
            key.interface, key.family, key.vrid
        )
    }
}
