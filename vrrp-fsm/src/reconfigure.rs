//! Reconfiguration of a running router.

use vrrp_proto::{Interval, Priority, Versions};

use crate::{
    Actions, ChecksumForms, Config, ConfigError, Instant, Reason, VirtualRouter,
    backup::Backup,
    router::Phase,
    settings::{Applied, Settings},
};

impl VirtualRouter {
    /// Replaces the configuration of a running router, without a re-election (AMB-21).
    ///
    /// * A changed priority becomes the effective one; a host that tracks objects then sends
    ///   [`Event::EffectivePriority`](crate::Event::EffectivePriority). If `priority` stays the
    ///   same, so does the effective priority.
    /// * An Active advertises a changed priority, interval, version or checksum form at once. A
    ///   changed interval restarts the Adver_Timer, and a changed refresh interval restarts the
    ///   refresh.
    /// * An Active that has stalled and [yields](crate::StallPolicy::Yield) becomes Backup first.
    /// * The running timer of a Backup does not change. New values apply when it is set the next
    ///   time. A running hold keeps its end; a changed `startup_hold` applies at the next Startup.
    ///
    /// The host reports changed addresses by
    /// [`Event::AddressesChanged`](crate::Event::AddressesChanged).
    ///
    /// # Errors
    ///
    /// [`ConfigError`] as for [`new`](Self::new), and for another VRID or family. Nothing has
    /// changed then.
    pub fn reconfigure(&mut self, now: Instant, config: Config) -> Result<Actions, ConfigError> {
        let old = self.settings;
        if config.vrid != old.vrid {
            return Err(ConfigError::VridChanged {
                configured: old.vrid,
                requested: config.vrid,
            });
        }
        if config.family != old.family {
            return Err(ConfigError::FamilyChanged {
                configured: old.family,
                requested: config.family,
            });
        }
        let new = Settings::new(&config)?;
        // A new interval would hide the stall.
        let actions = if self.must_yield(now) {
            self.stand_back(now, Reason::Stall)
        } else {
            Actions::NONE
        };
        let said_before = self.said();
        self.settings = new;
        self.apply_changes(now, &old.applied());
        let said_now = self.said();
        if let Phase::Active(active) = &mut self.phase {
            if new.interval.as_nanos() != old.interval.as_nanos() {
                active.adver = now.after(new.interval.as_nanos());
            }
            if said_before != said_now {
                return Ok(Actions::of([Some(self.advertise())]));
            }
        }
        Ok(actions)
    }

    /// Brings the state in line with the settings, where the old ones differ. The Adver_Timer is
    /// left to the caller, who knows whether the router advertises now.
    pub(crate) fn apply_changes(&mut self, now: Instant, old: &Applied) {
        let new = self.settings;
        if new.priority != old.priority {
            self.effective_priority = new.priority;
        }
        let follows_nobody = !matches!(
            self.phase,
            Phase::Backup(Backup {
                active: Some(_),
                ..
            })
        );
        if new.versions == Versions::V2 || (follows_nobody && new.interval != old.interval) {
            self.active_interval = new.interval;
        }
        if let Phase::Active(active) = &mut self.phase
            && new.announcements.refresh() != old.refresh
        {
            active.schedule.reconfigure(now, &new.announcements);
        }
    }

    /// The contents of an advertisement of this router, without the addresses.
    fn said(&self) -> (Priority, Interval, Versions, ChecksumForms) {
        (
            self.effective_priority,
            self.settings.interval,
            self.settings.versions,
            self.checksum_forms(),
        )
    }
}
