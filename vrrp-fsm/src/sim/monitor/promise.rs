//! Requirements at a future time, which follow from an event.

use alloc::vec::Vec;
use core::time::Duration;

use super::{
    super::{Host, Property, host::Node, wire::Wire},
    cluster::Cluster,
    virtual_router::{Finding, Virtual},
};
use crate::{Instant, State};

/// The time for which an answer to a rival replaces further answers (AMB-13).
const ANSWER_GAP: Duration = Duration::from_millis(10);

/// A requirement at a future time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Promise {
    /// Another host has taken over from this host.
    HandOver { of: u32, host: u32, heir: u32 },
    /// One of these two routers is no longer Active, because the winner received the loser's
    /// advertisement. The counts are their changes of state so far.
    End {
        of: u32,
        winner: (u32, u32, u64),
        loser: (u32, u32, u64),
    },
    /// This Active has announced because of a rival.
    Announce { of: u32, host: u32, router: u32 },
    /// The neighbours no longer send to this rival. The count is that of the Active's changes of
    /// state so far.
    Correct {
        of: u32,
        active: (u32, u32, u64),
        rival: u32,
    },
}

impl Promise {
    /// The number of its virtual router.
    pub(super) const fn of(self) -> u32 {
        match self {
            Self::HandOver { of, .. }
            | Self::End { of, .. }
            | Self::Announce { of, .. }
            | Self::Correct { of, .. } => of,
        }
    }

    /// Whether a disturbance of its cluster has invalidated it. A resignation follows from a fault
    /// of the same time. The last answer may have gone to another rival just before (AMB-13).
    pub(super) fn is_invalid(self, since: Instant, cluster: &Cluster) -> bool {
        match self {
            Self::Announce { .. } => false,
            Self::Correct { .. } => cluster.standing != 0 || cluster.disturbed > since,
            Self::HandOver { .. } => {
                cluster.standing != 0
                    || cluster.disturbed > since
                    || cluster.lost.is_some_and(|at| at >= since)
            }
            Self::End { .. } => {
                let last = cluster.disturbed.max(cluster.lost.unwrap_or_default());
                cluster.standing != 0 || last + ANSWER_GAP >= since
            }
        }
    }

    /// Checks whether it is kept. `changes` returns the number of state changes of a router so far.
    /// Returns `None` if it no longer applies.
    pub(super) fn check<H: Host>(
        self,
        since: Instant,
        own: &Virtual,
        changes: impl Fn(u32, u32) -> u64,
        nodes: &[Node<H>],
        wire: &Wire,
    ) -> Option<Finding> {
        let is_active = |host: u32, router: u32| {
            nodes
                .get(host as usize)
                .is_some_and(|node| node.state(router) == Some(State::Active))
        };
        let persists =
            |(host, router, count)| is_active(host, router) && changes(host, router) == count;
        let reaches = |from, to| wire.reaches(own.key.interface, from, to);
        let (property, is_kept, culprits) = match self {
            Self::Announce { host, router, .. } => {
                let earliest =
                    Instant::ZERO + (since - Instant::ZERO).saturating_sub(own.rival_gap);
                let is_kept =
                    !is_active(host, router) || own.neighbors.has_announced(host, earliest);
                (Property::ActiveAnnounces, is_kept, Vec::from([host]))
            }
            Self::HandOver { host, heir, .. } => {
                let mut others = own.places.iter().filter(|place| reaches(heir, place.host));
                let is_taken = others.any(|place| is_active(place.host, place.router));
                (
                    Property::HandOverInSkewTime,
                    is_taken,
                    Vec::from([host, heir]),
                )
            }
            Self::Correct { active, rival, .. } => {
                let host = active.0;
                // Each later advertisement has its own promise.
                let is_last = own.neighbors.last_met(host) <= Some(since);
                if !persists(active) || !is_last {
                    return None;
                }
                let hosts = own.places.iter().map(|place| place.host);
                let hosts = hosts.filter(|location| reaches(host, *location));
                let misled = own.neighbors.misled_by(rival, since, hosts)?;
                let culprits = [&[host, rival], &misled[..]].concat();
                (Property::NeighborsCorrected, misled.is_empty(), culprits)
            }
            Self::End { winner, loser, .. } => {
                let is_over = !persists(winner) || !persists(loser);
                (
                    Property::DuplicateEnds,
                    is_over,
                    Vec::from([winner.0, loser.0]),
                )
            }
        };
        Some((property, (!is_kept).then_some(culprits)))
    }
}
