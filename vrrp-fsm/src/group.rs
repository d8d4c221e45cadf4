//! Steps of a virtual router that only a member of a sync group takes: `docs/sync-groups.md`.

use vrrp_proto::Version;

use crate::{Actions, Expiry, Instant, Reason, VirtualRouter, announce::Schedule, router::Phase};

impl VirtualRouter {
    /// G-3: handles the Active_Down_Timer of a Backup. Returns the reason of the takeover, or
    /// `None` if the Backup waits.
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

    /// G-4: whether a Backup accepts the sender of the last advertisement as the Active, and does
    /// not ignore it (O-12).
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

    /// Returns the announcement schedule of an Active.
    pub(crate) fn schedule(&self) -> Option<Schedule> {
        match &self.phase {
            Phase::Active(active) => Some(active.schedule),
            Phase::Initialize(_) | Phase::Backup(_) => None,
        }
    }

    /// G-6: another member received the advertisement of a rival.
    pub(crate) fn announce_with_group(&mut self, now: Instant) -> Actions {
        let Phase::Active(mut active) = self.phase else {
            return Actions::NONE;
        };
        let announcement = active.schedule.rival(now, &self.settings.announcements);
        self.phase = Phase::Active(active);
        Actions::of([announcement])
    }
}
