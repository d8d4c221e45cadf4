//! The state that a program keeps between reconciliations.

use std::time::Duration;

use super::{Draining, Policy, Reconciliation, Wanted};

/// Reconciles repeatedly, and remembers the destinations that are being drained: across calls,
/// scopes, errors and dropped futures.
///
/// ```no_run
/// # use std::time::{Duration, Instant};
/// # use ipvs_netlink::{Client, VirtualServer, plan::{Policy, Reconciler, Wanted}};
/// # type Error = Box<dyn std::error::Error>;
/// # fn run(mut client: Client, servers: &[VirtualServer]) -> Result<(), Error> {
/// let mut reconciler = Reconciler::new(Policy::default());
/// let start = Instant::now();
/// loop {
///     let report = client.reconcile(&mut reconciler, Wanted::new(servers), start.elapsed())?;
///     // Connections may end before the time is over.
///     let Some(wait) = report.wait else { break };
///     std::thread::sleep(wait.min(Duration::from_secs(5)));
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Reconciler {
    policy: Policy,
    pub(super) draining: Draining,
}

impl Reconciler {
    /// Creates a reconciler without draining destinations.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self::resume(policy, Draining::default())
    }

    /// Creates a reconciler with the draining destinations of an earlier one.
    #[must_use]
    pub fn resume(policy: Policy, draining: Draining) -> Self {
        Self { policy, draining }
    }

    /// The policy.
    #[must_use]
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// Changes the policy from the next call on, including for destinations that are being drained.
    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }

    /// The destinations that are being drained.
    #[must_use]
    pub fn draining(&self) -> &Draining {
        &self.draining
    }

    /// Begins to bring the kernel's table to the wanted state. `now` is the time of a monotonic
    /// clock. A reconciliation may be dropped at any time: the next call reads the table again.
    pub fn begin<'a>(&'a mut self, wanted: Wanted<'a>, now: Duration) -> Reconciliation<'a> {
        let policy = self.policy;
        Reconciliation::new(&mut self.draining, wanted, policy, now)
    }
}
