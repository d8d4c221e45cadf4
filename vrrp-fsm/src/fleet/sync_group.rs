//! Configuration of a sync group. `docs/sync-groups.md` has the rules in full.

use alloc::{string::String, vec::Vec};

use super::RouterId;
use crate::track::TrackRef;

/// A sync group: virtual routers of any interface and family that change their state together.
///
/// | rule | |
/// |---|---|
/// | G-1 | While one member cannot run, all are in Initialize. Those that were Active resign with priority 0. |
/// | G-2 | When all can run, all start, and as Backup unless all are address owners and none has a start-up hold. |
/// | G-3 | A Backup whose Active_Down_Timer fires is ready to take over, and restarts its timer. When all members are ready, all take over at once. |
/// | G-4 | A member that accepts the advertisement of an Active is no longer ready. |
/// | G-5 | When a member yields, or accepts an Active as a Backup, the Active members become Backup. They do not resign with priority 0: their networks have another Active too, or will have one in time. |
/// | G-6 | When an Active member announces because of a rival, all members announce. |
/// | G-7 | The objects of the group count for all members. Weights of a member's own objects do not count in a group, unless [`member_weights`](Self::member_weights) is set; faults do. |
/// | G-8 | A joining router adapts to the group. The other members do not change. |
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SyncGroup {
    /// Its unique name.
    pub name: String,
    /// The members. None is in another group, and all or none are address owners.
    pub members: Vec<RouterId>,
    /// The objects that all members track.
    pub tracking: Vec<TrackRef>,
    /// Whether the weights of the members' own objects count. Default false: members with different
    /// priorities would elect different Actives.
    pub member_weights: bool,
}

impl SyncGroup {
    /// Makes a group without tracked objects.
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
