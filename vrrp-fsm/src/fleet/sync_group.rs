//! Configuration of a sync group: `docs/sync-groups.md` has the rules and their table.

use alloc::{string::String, vec::Vec};

use super::RouterId;
use crate::track::TrackRef;

/// A sync group as it is configured: virtual routers of any interface and family that change their state together.
///
/// | rule | |
/// |---|---|
/// | G-1 | While one member cannot run, all are in Initialize. Those that were Active resign with priority 0. |
/// | G-2 | When all can run, all start, and as Backup unless all are address owners and none has a start-up hold. |
/// | G-3 | A Backup whose Active_Down_Timer fires wants to be Active, says so to the group, and starts its timer anew. When all want to, all take over at once. |
/// | G-4 | A member that hears an Active which it accepts wants so no longer. |
/// | G-5 | A member that yields, or in Backup accepts an Active, pulls those that are Active to Backup. They do not resign with priority 0: their own Active is there, too, or takes over in its time. |
/// | G-6 | When an Active member announces because it heard a rival, all announce. |
/// | G-7 | What the group tracks counts for all members. Weights that a single member tracks do not count in a group, unless [`member_weights`](Self::member_weights) says so; faults do. |
/// | G-8 | A router that joins adapts to the others, and they do not move for it. |
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SyncGroup {
    /// Its name, which no other group has.
    pub name: String,
    /// The members. None is in another group, and all or none are address owners.
    pub members: Vec<RouterId>,
    /// The objects that count for all members.
    pub tracking: Vec<TrackRef>,
    /// Whether the weights of objects that single members track count. Default false: members of different priorities would find different
    /// Actives.
    pub member_weights: bool,
}

impl SyncGroup {
    /// A group that tracks nothing.
    #[must_use]
    pub fn new(name: impl Into<String>, members: Vec<RouterId>) -> Self {
        Self {
            name: name.into(),
            members,
            tracking: Vec::new(),
            member_weights: false,
        }
    }
}
