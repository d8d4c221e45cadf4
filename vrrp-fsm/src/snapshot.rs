//! The run-time state as a plain value, for a hand-over to another process.

use core::{net::IpAddr, time::Duration};

use vrrp_proto::{Family, Interval, Priority};

use crate::{
    ActiveRouter, ChecksumEvidence, Config, ConfigError, Counters, Expiry, Instant,
    NewActiveReason, Reason, ShutdownCause, VirtualRouter,
    announce::Schedule,
    backup::Backup,
    preempt::PreemptHold,
    router::{self, Active},
    settings::Applied,
};

/// The run-time state of a [`VirtualRouter`], and the fields of its [`Config`] that the state
/// depends on. Deadlines are relative to the moment of the snapshot, so it means the same in a
/// process with another epoch.
///
/// It is opaque: only [`VirtualRouter::snapshot`] makes one, and its contents are not part of the
/// public interface. With the feature `serde` it can be stored for a process of the same version of
/// this crate.
///
/// ```
/// use vrrp_fsm::{Config, Event, Instant, VirtualRouter};
/// use vrrp_proto::{Family, Vrid};
///
/// let config = Config::new(Vrid::new(51).ok_or("VRID")?, Family::Ipv4);
/// let now = Instant::from_nanos(1_000_000);
/// let mut router = VirtualRouter::new(config)?;
/// let _ = router.handle_event(now, Event::Startup { primary_address: [192, 0, 2, 11].into() });
///
/// let snapshot = router.snapshot(now);
/// assert_eq!(VirtualRouter::restore(config, snapshot, now)?, router);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Snapshot {
    /// The state with its data.
    #[doc(hidden)]
    pub phase: Phase,
    /// [`VirtualRouter::primary_address`].
    #[doc(hidden)]
    pub primary_address: IpAddr,
    /// [`VirtualRouter::effective_priority`].
    #[doc(hidden)]
    pub effective_priority: Priority,
    /// [`VirtualRouter::active_interval`].
    #[doc(hidden)]
    pub active_interval: Interval,
    /// The checksum forms of the last accepted version 3 advertisements.
    #[doc(hidden)]
    pub checksum_evidence: ChecksumEvidence,
    /// [`VirtualRouter::last_reason`].
    #[doc(hidden)]
    pub last_reason: Option<Reason>,
    /// [`VirtualRouter::new_active_reason`].
    #[doc(hidden)]
    pub new_active_reason: NewActiveReason,
    /// [`VirtualRouter::counters`].
    #[doc(hidden)]
    pub counters: Counters,
    /// [`Config::priority`]. A different one in the new configuration becomes the effective one.
    #[doc(hidden)]
    pub priority: Priority,
    /// [`Config::interval`].
    #[doc(hidden)]
    pub interval: Interval,
    /// [`AnnouncePolicy::refresh`](crate::AnnouncePolicy::refresh).
    #[doc(hidden)]
    pub refresh_interval: Option<Duration>,
}

/// The state in a [`Snapshot`].
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Phase {
    /// [`State::Initialize`](crate::State::Initialize).
    Initialize {
        /// [`VirtualRouter::shutdown_cause`].
        cause: Option<ShutdownCause>,
    },
    /// [`State::Backup`](crate::State::Backup).
    Backup {
        /// Active_Down_Timer.
        down: Deadline,
        /// The end of [`Config::startup_hold`].
        not_before: Deadline,
        /// The end of the delay of [`Preempt::AfterDelay`](crate::Preempt::AfterDelay); never if no
        /// delay was started.
        preempt_hold: Deadline,
        /// [`VirtualRouter::active`].
        active: Option<ActiveRouter>,
        /// The reason of a takeover when the timer fires.
        expiry: Expiry,
        /// Whether the timer was restarted after a stall, and no advertisement has been accepted
        /// since.
        stalled: bool,
    },
    /// [`State::Active`](crate::State::Active).
    Active {
        /// Adver_Timer.
        adver: Deadline,
        /// The pending burst of announcements.
        burst: Deadline,
        /// Messages per address in it.
        burst_repeat: u8,
        /// The next refresh.
        refresh: Deadline,
        /// Whether that is the second burst after a rival.
        is_for_rival: bool,
        /// The burst after the last advertisement of a rival.
        after_rival: Deadline,
        /// Until then no rival of lower priority is answered (AMB-13).
        answer: Deadline,
        /// Until then an Active that was preempted may still advertise.
        hand_over: Deadline,
    },
}

/// A deadline, seen from the moment of a [`Snapshot`].
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Deadline {
    /// No deadline.
    Never,
    /// It is due after this time.
    In(Duration),
    /// It was due this long ago.
    Overdue(Duration),
}

impl Deadline {
    pub(crate) fn of(deadline: Instant, now: Instant) -> Self {
        if deadline == Instant::MAX {
            Self::Never
        } else if deadline >= now {
            Self::In(deadline - now)
        } else {
            Self::Overdue(now - deadline)
        }
    }

    pub(crate) fn at(self, now: Instant) -> Instant {
        match self {
            Self::Never => Instant::MAX,
            Self::In(after) => now + after,
            Self::Overdue(before) => now - before,
        }
    }
}

impl VirtualRouter {
    /// Returns the run-time state, for [`restore`](Self::restore).
    #[must_use]
    pub fn snapshot(&self, now: Instant) -> Snapshot {
        let of = |deadline| Deadline::of(deadline, now);
        let applied = self.settings.applied();
        Snapshot {
            phase: match self.phase {
                router::Phase::Initialize(cause) => Phase::Initialize { cause },
                router::Phase::Backup(backup) => Phase::Backup {
                    down: of(backup.down),
                    not_before: of(backup.not_before),
                    preempt_hold: of(backup.preempt_hold.0),
                    active: backup.active,
                    expiry: backup.expiry,
                    stalled: backup.stalled,
                },
                router::Phase::Active(active) => Phase::Active {
                    adver: of(active.adver),
                    burst: of(active.schedule.burst_at),
                    burst_repeat: active.schedule.burst_repeat,
                    refresh: of(active.schedule.refresh_at),
                    is_for_rival: active.schedule.is_for_rival,
                    after_rival: of(active.schedule.after_rival_at),
                    answer: of(active.answer_after),
                    hand_over: of(active.hand_over_until),
                },
            },
            primary_address: self.primary_address,
            effective_priority: self.effective_priority,
            active_interval: self.active_interval,
            checksum_evidence: self.checksum_evidence,
            last_reason: self.last_reason,
            new_active_reason: self.new_active_reason,
            counters: self.counters,
            priority: applied.priority,
            interval: applied.interval,
            refresh_interval: applied.refresh,
        }
    }

    /// Restores a router from a snapshot. With the same configuration it continues as the old one
    /// would have; nothing is sent, installed or announced. The host hands over the resources of
    /// the state, such as the addresses of an Active.
    ///
    /// A different configuration applies as in [`reconfigure`](Self::reconfigure), except that
    /// nothing is advertised at once, and a changed interval may only make the next advertisement
    /// earlier. A deadline before the new epoch counts as due since the epoch.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new), and for another family.
    pub fn restore(config: Config, snapshot: Snapshot, now: Instant) -> Result<Self, ConfigError> {
        let mut router = Self::new(config)?;
        let family = Family::of(snapshot.primary_address);
        if config.family != family {
            return Err(ConfigError::FamilyChanged {
                configured: family,
                requested: config.family,
            });
        }
        router.phase = match snapshot.phase {
            Phase::Initialize { cause } => router::Phase::Initialize(cause),
            Phase::Backup {
                down,
                not_before,
                preempt_hold,
                active,
                expiry,
                stalled,
            } => router::Phase::Backup(Backup {
                down: down.at(now),
                not_before: not_before.at(now),
                preempt_hold: PreemptHold(preempt_hold.at(now)),
                active,
                expiry,
                stalled,
            }),
            Phase::Active {
                adver,
                burst,
                burst_repeat,
                refresh,
                is_for_rival,
                after_rival,
                answer,
                hand_over,
            } => router::Phase::Active(Active {
                adver: adver.at(now),
                schedule: Schedule {
                    burst_at: burst.at(now),
                    burst_repeat,
                    refresh_at: refresh.at(now),
                    is_for_rival,
                    after_rival_at: after_rival.at(now),
                },
                answer_after: answer.at(now),
                hand_over_until: hand_over.at(now),
            }),
        };
        router.primary_address = snapshot.primary_address;
        router.effective_priority = snapshot.effective_priority;
        router.active_interval = snapshot.active_interval;
        router.checksum_evidence = snapshot.checksum_evidence;
        router.last_reason = snapshot.last_reason;
        router.new_active_reason = snapshot.new_active_reason;
        router.counters = snapshot.counters;
        router.apply_changes(
            now,
            &Applied {
                priority: snapshot.priority,
                interval: snapshot.interval,
                refresh: snapshot.refresh_interval,
            },
        );
        let (settings, effective) = (&router.settings, router.effective_priority);
        router.effective_priority = settings.effective_priority(effective);
        let interval = config.interval.as_nanos();
        if let router::Phase::Active(active) = &mut router.phase
            && interval != snapshot.interval.as_nanos()
        {
            // The Backups have not received the new interval, and still expect the old one.
            active.adver = active.adver.min(now.after(interval));
        }
        Ok(router)
    }
}
