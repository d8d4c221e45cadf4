//! Another configuration for a router that runs.

use vrrp_proto::{Interval, Priority, Versions};

use crate::{
    Actions, ChecksumForms, Config, ConfigError, Instant, VirtualRouter, backup::Backup,
    router::Phase, settings::Settings,
};

impl VirtualRouter {
    /// Replaces the configuration of a running router, without a re-election (AMB-21).
    ///
    /// * Another priority becomes the effective one, and whoever tracks then sends [`Event::EffectivePriority`](crate::Event::EffectivePriority); while `priority` stays
    ///   what it was, so does the effective one.
    /// * An Active advertises at once what others must know: another priority, interval, version, or checksum form. With another
    ///   interval the Adver_Timer starts from now. Another refresh starts from now as well.
    /// * A Backup's running timer stays as it is. The new values count from the next time that it is set. A hold that runs ends when
    ///   it was to end; another `startup_hold` counts from the next Startup.
    ///
    /// The addresses are the host's: [`Event::AddressesChanged`](crate::Event::AddressesChanged).
    ///
    /// # Errors
    ///
    /// [`ConfigError`] as for [`new`](Self::new), and for another VRID or family. Nothing has changed then.
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
        let said_before = self.said();
        self.settings = new;
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
        let said_now = self.said();
        if let Phase::Active(active) = &mut self.phase {
            if new.interval.as_nanos() != old.interval.as_nanos() {
                active.adver = now.after(new.interval.as_nanos());
            }
            if new.announcements != old.announcements {
                active.schedule.reconfigure(now, &new.announcements);
            }
            if said_before != said_now {
                return Ok(Actions::of([Some(self.advertise())]));
            }
        }
        Ok(Actions::NONE)
    }

    /// What an advertisement of this router says, but for the addresses.
    fn said(&self) -> (Priority, Interval, Versions, ChecksumForms) {
        (
            self.effective_priority,
            self.settings.interval,
            self.settings.versions,
            self.checksum_forms(),
        )
    }
}
