//! Virtual routers that depend on each other, and the time after which they must be stable.

use alloc::vec::Vec;
use core::time::Duration;

use vrrp_proto::LocalAuthentication;

use super::{super::Scenario, virtual_router::Virtual};
use crate::{Instant, Preempt, fleet::Member};

/// Virtual routers joined by sync groups, or a single one.
pub(super) struct Cluster {
    pub(super) virtuals: Vec<u32>,
    pub(super) hosts: Vec<u32>,
    pub(super) is_grouped: bool,
    /// The time after the last disturbance until all properties must hold.
    pub(super) bound: Duration,
    /// The time after that until the last bursts were announced.
    pub(super) bursts: Duration,
    pub(super) disturbed: Instant,
    /// The last lost message.
    pub(super) lost: Option<Instant>,
    /// Disturbances that last.
    pub(super) standing: u32,
    pub(super) is_stable: bool,
    /// The end of its last stable period.
    pub(super) stable_until: Option<Instant>,
}

impl Cluster {
    pub(super) const fn new() -> Self {
        Self {
            virtuals: Vec::new(),
            hosts: Vec::new(),
            is_grouped: false,
            bound: Duration::ZERO,
            bursts: Duration::ZERO,
            disturbed: Instant::ZERO,
            lost: None,
            standing: 0,
            is_stable: false,
            stable_until: None,
        }
    }

    /// Adds the virtual router with this number.
    pub(super) fn add(
        &mut self,
        number: u32,
        own: &Virtual,
        is_grouped: bool,
        scenario: &Scenario,
    ) {
        self.virtuals.push(number);
        self.is_grouped |= is_grouped;
        for place in &own.places {
            if !self.hosts.contains(&place.host) {
                self.hosts.push(place.host);
            }
        }
        self.bound = self.bound.max(bound(scenario, own));
        self.bursts = self.bursts.max(bursts(scenario, own));
    }

    /// Restarts the bound from a time on. Returns its end, unless a disturbance lasts.
    pub(super) fn disturb(&mut self, until: Instant) -> Option<Instant> {
        if self.is_stable {
            self.is_stable = false;
            self.stable_until = Some(until);
        }
        self.disturbed = self.disturbed.max(until);
        (self.standing == 0).then_some(self.disturbed + self.bound)
    }

    /// Counts a disturbance that lasts, at its beginning and at its end.
    pub(super) const fn stand(&mut self, begins: bool) {
        self.standing = if begins {
            self.standing.saturating_add(1)
        } else {
            self.standing.saturating_sub(1)
        };
    }
}

/// Returns the configurations of a virtual router.
fn members<'a>(scenario: &'a Scenario, own: &'a Virtual) -> impl Iterator<Item = &'a Member> {
    own.places.iter().filter_map(|place| {
        let plan = scenario.hosts.get(place.host as usize)?;
        plan.members.get(place.router as usize)
    })
}

/// Returns the longest time until the last burst has arrived.
fn bursts(scenario: &Scenario, own: &Virtual) -> Duration {
    let gaps = members(scenario, own).filter_map(|it| it.config.announce.second_burst_after);
    let longest = gaps.max().unwrap_or_default();
    longest.max(own.rival_gap) + scenario.network.longest_delay
}

/// Returns the bound after the last disturbance: `docs/simulation.md` derives it.
fn bound(scenario: &Scenario, own: &Virtual) -> Duration {
    let mut interval = Duration::ZERO;
    let mut shortest = Duration::MAX;
    let mut missed = 0;
    let mut held = Duration::ZERO;
    let mut rounds = 1;
    let mut exchanges = 0;
    for member in members(scenario, own) {
        let config = &member.config;
        let preempts_late = match config.preempt {
            Preempt::AfterDelay(delay) => {
                rounds = 2;
                delay
            }
            Preempt::Always | Preempt::Never => Duration::ZERO,
        };
        interval = interval.max(config.interval.as_duration());
        shortest = shortest.min(config.interval.as_duration());
        missed = missed.max(config.missed_advertisements);
        if member.authentication == LocalAuthentication::IpAh {
            exchanges = 1;
        }
        held = held.max(config.startup_hold + preempts_late);
    }
    if interval != shortest {
        exchanges += u32::try_from(own.places.len()).unwrap_or(u32::MAX);
    }
    // Skew_Time is less than an interval; in version 2 it is less than a second, the shortest
    // interval there.
    interval * ((u32::from(missed) + 1) * rounds + exchanges)
        + held
        + scenario.network.longest_delay * 4
}
