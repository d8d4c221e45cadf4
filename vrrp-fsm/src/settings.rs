//! A validated configuration in compact form.

use core::time::Duration;

use vrrp_proto::{Family, Interval, OwnerRule, Priority, Version, Versions, Vrid};

use crate::{
    ChecksumSending, Config, ConfigError, Profile, StallPolicy, announce::Announcements,
    instant::nanos, preempt::PreemptPolicy, timers::Timers,
};

/// A validated [`Config`], with delays in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) preempt: PreemptPolicy,
    pub(crate) startup_hold: u64,
    pub(crate) announcements: Announcements,
    pub(crate) interval: Interval,
    pub(crate) checksum: ChecksumSending,
    pub(crate) vrid: Vrid,
    pub(crate) family: Family,
    pub(crate) versions: Versions,
    pub(crate) profile: Profile,
    pub(crate) priority: Priority,
    pub(crate) accept_mode: bool,
    pub(crate) advertise_on_yield: bool,
    pub(crate) missed_advertisements: u8,
    pub(crate) stall: StallPolicy,
}

/// The settings that are also in the state of a running router, so a change of one changes it.
pub(crate) struct Applied {
    pub(crate) priority: Priority,
    pub(crate) interval: Interval,
    pub(crate) refresh: Option<Duration>,
}

impl Settings {
    pub(crate) fn new(config: &Config) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(Self {
            preempt: PreemptPolicy::new(config.preempt),
            startup_hold: nanos(config.startup_hold),
            announcements: Announcements::new(&config.announce),
            interval: config.interval,
            checksum: config.checksum,
            vrid: config.vrid,
            family: config.family,
            versions: config.versions,
            profile: config.profile,
            priority: config.priority,
            accept_mode: config.accept_mode,
            advertise_on_yield: config.advertise_on_yield,
            missed_advertisements: config.missed_advertisements,
            stall: config.stall,
        })
    }

    pub(crate) const fn config(&self) -> Config {
        Config {
            vrid: self.vrid,
            family: self.family,
            versions: self.versions,
            profile: self.profile,
            priority: self.priority,
            interval: self.interval,
            preempt: self.preempt.public(),
            accept_mode: self.accept_mode,
            advertise_on_yield: self.advertise_on_yield,
            missed_advertisements: self.missed_advertisements,
            startup_hold: Duration::from_nanos(self.startup_hold),
            announce: self.announcements.public(),
            checksum: self.checksum,
            stall: self.stall,
        }
    }

    /// The settings that are also in the state.
    pub(crate) const fn applied(&self) -> Applied {
        Applied {
            priority: self.priority,
            interval: self.interval,
            refresh: self.announcements.refresh(),
        }
    }

    /// Clamps a priority of tracking: the owner's is fixed (AMB-25), others are 1 to 254 (AMB-21).
    pub(crate) fn effective_priority(&self, wanted: Priority) -> Priority {
        if self.priority.is_owner() {
            Priority::OWNER
        } else {
            Priority::new(wanted.get().clamp(1, 254))
        }
    }

    /// Returns how the address owner handles a message of this version (P-43, AMB-02).
    pub(crate) fn owner_rule(&self, version: Version) -> OwnerRule {
        if !self.priority.is_owner() {
            OwnerRule::NotOwner
        } else if self.profile == Profile::Rfc9568 && version == Version::V3 {
            OwnerRule::Process
        } else {
            OwnerRule::Discard
        }
    }

    /// The owner always preempts (S-25).
    pub(crate) const fn preempt_policy(&self) -> PreemptPolicy {
        if self.priority.is_owner() {
            PreemptPolicy::ALWAYS
        } else {
            self.preempt
        }
    }

    pub(crate) const fn timers(&self, priority: Priority, active_interval: Interval) -> Timers {
        Timers::new(
            self.versions,
            self.missed_advertisements,
            priority,
            active_interval,
        )
    }
}
