//! The view of a router: the values that its decisions use.

use core::{net::IpAddr, time::Duration};

use vrrp_proto::{ChecksumForm, Family, Interval, Priority, Version, Versions};

use crate::{
    ActiveRouter, ChecksumForms, Config, Counters, Instant, NewActiveReason, Reason, ShutdownCause,
    State, VirtualRouter, backup::Backup, router::Phase,
};

impl VirtualRouter {
    /// Returns the state.
    #[must_use]
    pub const fn state(&self) -> State {
        match self.phase {
            Phase::Initialize(_) => State::Initialize,
            Phase::Backup(_) => State::Backup,
            Phase::Active(_) => State::Active,
        }
    }

    /// Returns the cause of Initialize; `None` before the first Startup and while the router runs.
    #[must_use]
    pub const fn shutdown_cause(&self) -> Option<ShutdownCause> {
        match self.phase {
            Phase::Initialize(cause) => cause,
            Phase::Backup(_) | Phase::Active(_) => None,
        }
    }

    /// The configuration.
    #[must_use]
    pub const fn config(&self) -> Config {
        self.settings.config()
    }

    /// Returns the effective priority: in advertisements, in comparisons and in Skew_Time (T-10).
    #[must_use]
    pub const fn effective_priority(&self) -> Priority {
        self.effective_priority
    }

    /// Returns the address from which the host advertises; unspecified before the first Startup.
    #[must_use]
    pub const fn primary_address(&self) -> IpAddr {
        self.primary_address
    }

    /// Returns the Active: this router in Active, the last accepted Active in Backup.
    #[must_use]
    pub fn active(&self) -> Option<ActiveRouter> {
        match &self.phase {
            Phase::Initialize(_) => None,
            Phase::Backup(backup) => backup.active,
            Phase::Active(_) => Some(ActiveRouter {
                address: self.primary_address,
                priority: self.effective_priority,
                version: match self.settings.versions {
                    Versions::V2 => Version::V2,
                    Versions::V3 | Versions::Both => Version::V3,
                },
                v3_without_v2: 0,
            }),
        }
    }

    /// Whether the Active sends no version 2 messages (O-13): with [`Versions::Both`], it sent more
    /// version 3 advertisements in a row than may be missed. The version 2 message of the last one
    /// may be on its way.
    #[must_use]
    pub fn active_sends_no_v2(&self) -> bool {
        matches!(&self.phase, Phase::Backup(Backup { active: Some(active), .. })
            if active.v3_without_v2 >= self.settings.missed_advertisements.saturating_add(1))
    }

    /// Whether the Active has the same priority as this Backup (O-06). The address then decides
    /// between them, which may be unintended.
    #[must_use]
    pub fn active_has_equal_priority(&self) -> bool {
        matches!(&self.phase, Phase::Backup(Backup { active: Some(active), .. })
            if active.priority == self.effective_priority)
    }

    /// Returns the reason of the last change of state, `None` before the first. `last-event` of RFC
    /// 8347 is its [`Reason::last_event`], or `vrrp-event-none`.
    #[must_use]
    pub const fn last_reason(&self) -> Option<Reason> {
        self.last_reason
    }

    /// Returns the reason of the last transition to Active: `new-master-reason` of RFC 8347 (O-22).
    #[must_use]
    pub const fn new_active_reason(&self) -> NewActiveReason {
        self.new_active_reason
    }

    /// Returns Active_Adver_Interval: the interval of the last accepted Active, or this router's
    /// own (S-12, T-07).
    #[must_use]
    pub const fn active_interval(&self) -> Interval {
        self.active_interval
    }

    /// Skew_Time (T-03, T-04).
    #[must_use]
    pub fn skew_time(&self) -> Duration {
        Duration::from_nanos(self.timers().skew_time)
    }

    /// Active_Down_Interval (T-05, T-06).
    #[doc(alias = "master_down_interval")]
    #[must_use]
    pub fn active_down_interval(&self) -> Duration {
        Duration::from_nanos(self.timers().active_down_interval)
    }

    /// Whether this host accepts packets to the virtual addresses now: in Active, by the owner and
    /// with Accept_Mode (M-07, M-08). Version 2 has no Accept_Mode. IPv6 neighbor solicitations and
    /// advertisements are accepted in any case.
    #[must_use]
    pub fn accepts_traffic(&self) -> bool {
        self.state() == State::Active
            && (self.settings.priority.is_owner()
                || (self.settings.accept_mode && self.settings.versions != Versions::V2))
    }

    /// Returns the checksum forms in use (AMB-01): over IPv6 always [`ChecksumForm::PseudoHeader`],
    /// and in version 2 [`ChecksumForm::MessageOnly`].
    #[must_use]
    pub const fn checksum_forms(&self) -> ChecksumForms {
        match (self.settings.family, self.settings.versions) {
            (Family::Ipv6, _) => ChecksumForms::Only(ChecksumForm::PseudoHeader),
            (Family::Ipv4, Versions::V2) => ChecksumForms::Only(ChecksumForm::MessageOnly),
            (Family::Ipv4, Versions::V3 | Versions::Both) => {
                self.settings.checksum.forms(self.checksum_evidence)
            }
        }
    }

    /// Returns the counters.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Returns how late [`handle_timeout`](Self::handle_timeout) would be now: the time since
    /// [`poll_timeout`](Self::poll_timeout), or zero.
    #[must_use]
    pub fn lateness(&self, now: Instant) -> Duration {
        self.poll_timeout()
            .map_or(Duration::ZERO, |deadline| now - deadline)
    }

    /// Whether [`handle_timeout`](Self::handle_timeout) would be so late now that the
    /// [`StallPolicy`](crate::StallPolicy) applies: in Active, if the Adver_Timer is overdue by
    /// more than Active_Down_Interval; in Backup, if the Active_Down_Timer is overdue by more than
    /// one interval of the Active.
    #[must_use]
    pub fn is_stalled(&self, now: Instant) -> bool {
        let (deadline, allowed) = match &self.phase {
            Phase::Initialize(_) => return false,
            Phase::Backup(backup) => (backup.down, self.active_interval.as_nanos()),
            Phase::Active(active) => (
                active.adver,
                self.settings
                    .timers(self.effective_priority, self.settings.interval)
                    .active_down_interval,
            ),
        };
        deadline.is_due(now) && now.as_nanos() - deadline.as_nanos() > allowed
    }
}
