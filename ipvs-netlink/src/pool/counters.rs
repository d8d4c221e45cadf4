//! Counters.

use super::event::PoolChange;

/// The counters of a pool since it was created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[allow(missing_docs)] // The names say it; the groups have their words.
pub struct Counters {
    /// Probes handed out.
    pub probes: u64,
    /// Results by kind.
    pub successes: u64,
    pub failures: u64,
    pub local_failures: u64,
    /// Failures because the time limit passed without a result; part of `failures`.
    pub time_limits: u64,
    /// Time limits that did not count, because the host was late; part of `local_failures`.
    pub stalls: u64,
    /// Probes cancelled by the pool for a reason other than the time limit.
    pub cancelled: u64,
    /// Results of probes that were no longer running. They change nothing.
    pub stale_results: u64,
    /// Probes made at once because of the kernel's counters.
    pub hints: u64,
    /// Events by kind.
    pub servers_up: u64,
    pub servers_down: u64,
    pub draining: u64,
    pub drained: u64,
    pub weights: u64,
    pub servers_added: u64,
    pub servers_removed: u64,
    pub operator: u64,
    pub quorum_gained: u64,
    pub quorum_lost: u64,
    pub sorry_in: u64,
    pub sorry_out: u64,
    pub brake_on: u64,
    pub brake_off: u64,
    pub panic_on: u64,
    pub panic_off: u64,
    pub suspended: u64,
    pub resumed: u64,
}

impl Counters {
    /// The events of all kinds together.
    #[must_use]
    pub fn events(&self) -> u64 {
        [
            self.servers_up,
            self.servers_down,
            self.draining,
            self.drained,
            self.weights,
            self.servers_added,
            self.servers_removed,
            self.operator,
            self.quorum_gained,
            self.quorum_lost,
            self.sorry_in,
            self.sorry_out,
            self.brake_on,
            self.brake_off,
            self.panic_on,
            self.panic_off,
            self.suspended,
            self.resumed,
        ]
        .iter()
        .sum()
    }

    pub(super) fn count(&mut self, change: &PoolChange) {
        let counter = match change {
            PoolChange::ServerUp(_) => &mut self.servers_up,
            PoolChange::ServerDown(_) => &mut self.servers_down,
            PoolChange::Draining(_) => &mut self.draining,
            PoolChange::Drained(_) => &mut self.drained,
            PoolChange::Weight { .. } => &mut self.weights,
            PoolChange::ServerAdded(_) => &mut self.servers_added,
            PoolChange::ServerRemoved { .. } => &mut self.servers_removed,
            PoolChange::Operator(..) => &mut self.operator,
            PoolChange::QuorumGained(_) => &mut self.quorum_gained,
            PoolChange::QuorumLost(_) => &mut self.quorum_lost,
            PoolChange::SorryIn(_) => &mut self.sorry_in,
            PoolChange::SorryOut(_) => &mut self.sorry_out,
            PoolChange::BrakeOn(_) => &mut self.brake_on,
            PoolChange::BrakeOff => &mut self.brake_off,
            PoolChange::PanicOn(_) => &mut self.panic_on,
            PoolChange::PanicOff => &mut self.panic_off,
            PoolChange::Suspended => &mut self.suspended,
            PoolChange::Resumed => &mut self.resumed,
        };
        *counter += 1;
    }
}

/// The counters of a server since it was added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
pub struct ServerCounters {
    /// Successful results of its checks.
    pub successes: u64,
    /// Failed results of its checks.
    pub failures: u64,
    /// Changes to up.
    pub ups: u64,
    /// Changes to down.
    pub downs: u64,
}
