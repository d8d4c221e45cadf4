//! The data of a Backup: its timer, and the Active.

use core::net::IpAddr;

use vrrp_proto::{Priority, Version, Versions};

use crate::{AcceptedAdvertisement, Instant, preempt::PreemptHold, timers::Timers};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Backup {
    /// Active_Down_Timer.
    pub(crate) down: Instant,
    /// The end of the start-up hold.
    pub(crate) not_before: Instant,
    pub(crate) preempt_hold: PreemptHold,
    /// The Active last accepted.
    pub(crate) active: Option<ActiveRouter>,
    /// The reason of a takeover when the timer fires.
    pub(crate) expiry: Expiry,
    /// The timer was restarted after a stall, and no advertisement has been accepted since.
    pub(crate) stalled: bool,
}

/// The last event since the Active_Down_Timer was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Expiry {
    /// None: the Active is silent when the timer fires.
    Silence,
    /// The Active's resignation.
    Resignation,
    /// An Active of lower priority, which this router preempts.
    LowerPriority,
}

/// The Active, as far as this router knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ActiveRouter {
    /// Its primary address.
    pub address: IpAddr,
    /// The priority that it advertised.
    pub priority: Priority,
    /// The version of its last advertisement that was accepted.
    pub version: Version,
    /// The number of its version 3 advertisements since the last one of version 2. One in both
    /// checksum forms counts once. Counted with [`Versions::Both`] only.
    pub v3_without_v2: u8,
}

impl Backup {
    /// Makes a Backup without a running timer.
    pub(crate) const fn new(not_before: Instant) -> Self {
        Self {
            down: Instant::MAX,
            not_before,
            preempt_hold: PreemptHold::STOPPED,
            active: None,
            expiry: Expiry::Silence,
            stalled: false,
        }
    }

    /// Restarts the Active_Down_Timer with Active_Down_Interval (S-07, S-12, T-15).
    pub(crate) fn wait_for_silence(&mut self, now: Instant, timers: &Timers) {
        self.expiry = Expiry::Silence;
        self.set_timer(now, timers.active_down_interval, timers);
    }

    /// Sets the Active_Down_Timer to Skew_Time: the Active has resigned (S-11).
    pub(crate) fn wait_for_successor(&mut self, now: Instant, timers: &Timers) {
        self.expiry = Expiry::Resignation;
        self.set_timer(now, timers.skew_time, timers);
    }

    /// Sets the timer of an owner to the end of the start-up hold.
    pub(crate) fn wait_for_hold(&mut self, now: Instant, timers: &Timers) {
        self.set_timer(now, 0, timers);
    }

    /// Sets the timer, at the earliest to Skew_Time after the end of the start-up hold.
    fn set_timer(&mut self, now: Instant, wait: u64, timers: &Timers) {
        let earliest = self.not_before.after(timers.skew_time);
        self.down = now.after(wait).max(earliest);
    }

    /// O-12: whether an advertisement is ignored because the Active also sends version 3. It is
    /// counted (O-13).
    pub(crate) fn ignores(&mut self, accepted: &AcceptedAdvertisement) -> bool {
        match &mut self.active {
            Some(active)
                if active.address == accepted.source
                    && active.version == Version::V3
                    && accepted.version() == Version::V2 =>
            {
                active.v3_without_v2 = 0;
                true
            }
            _ => false,
        }
    }

    /// Adopts the sender as the Active. `is_second_form` is whether the advertisement has just come
    /// in its first checksum form.
    pub(crate) fn follow(
        &mut self,
        accepted: &AcceptedAdvertisement,
        versions: Versions,
        is_second_form: bool,
    ) {
        let v3_without_v2 = match (versions, accepted.version(), &self.active) {
            (Versions::Both, Version::V3, Some(active)) if active.address == accepted.source => {
                let new = u8::from(!is_second_form);
                active.v3_without_v2.saturating_add(new)
            }
            (Versions::Both, Version::V3, _) => 1,
            _ => 0,
        };
        self.stalled = false;
        self.active = Some(ActiveRouter {
            address: accepted.source,
            priority: accepted.priority,
            version: accepted.version(),
            v3_without_v2,
        });
    }
}
