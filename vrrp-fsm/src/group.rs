//! Sync groups: virtual routers that are Active, Backup or down together. `docs/sync-groups.md` has the rules and their table.

use alloc::{string::String, vec::Vec};

use vrrp_proto::Version;

use crate::{
    Actions, Expiry, Instant, Reason, VirtualRouter, announce::Schedule, fleet::RouterId,
    router::Phase, track::Use,
};

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
pub struct SyncGroup {
    /// Its name, which no other group has.
    pub name: String,
    /// The members. None is in another group, and all or none are address owners.
    pub members: Vec<RouterId>,
    /// The objects that count for all members.
    pub tracking: Vec<Use>,
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

/// What only the member of a group does.
impl VirtualRouter {
    /// G-3: serves the Active_Down_Timer of a Backup. What it meant, or `None` where it does not count.
    pub(crate) fn want_active(&mut self, now: Instant) -> Option<Expiry> {
        let Phase::Backup(mut backup) = self.phase else {
            return None;
        };
        if !backup.down.is_due(now) || self.waits_after_stall(now, backup) {
            return None;
        }
        let expiry = backup.expiry;
        backup.wait_for_silence(now, &self.timers());
        self.phase = Phase::Backup(backup);
        Some(expiry)
    }

    /// G-4: whether what a Backup has heard last is an Active that it accepts, and not one that it ignores (O-12).
    pub(crate) fn accepts_another(&self, version: Version) -> bool {
        matches!(&self.phase, Phase::Backup(backup)
            if backup.expiry == Expiry::Silence && backup.active.is_some_and(|active| active.version == version))
    }

    /// G-5: an Active is pulled to Backup.
    pub(crate) fn yield_with_group(&mut self, now: Instant) -> Actions {
        match self.phase {
            Phase::Active(_) => self.stand_back(now, Reason::Group),
            Phase::Initialize(_) | Phase::Backup(_) => Actions::NONE,
        }
    }

    /// When an Active announces.
    pub(crate) fn schedule(&self) -> Option<Schedule> {
        match &self.phase {
            Phase::Active(active) => Some(active.schedule),
            Phase::Initialize(_) | Phase::Backup(_) => None,
        }
    }

    /// G-6: another member has heard a rival.
    pub(crate) fn announce_with_group(&mut self, now: Instant) -> Actions {
        let Phase::Active(mut active) = self.phase else {
            return Actions::NONE;
        };
        let announcement = active.schedule.rival(now, &self.settings.announcements);
        self.phase = Phase::Active(active);
        Actions::of([announcement])
    }
}
