//! The planner: minimal changes from the kernel's table to the wanted one, in a safe order.
//!
//! [`plan`] compares and returns the steps. A [`Reconciler`] remembers the draining destinations
//! from call to call; each call is a [`Reconciliation`], which requests the table, plans, returns
//! changes, takes their results, and repeats where another program interferes. None of them does
//! I/O, and time is an argument. `Client::reconcile` runs a reconciliation against a kernel.
//!
//! ```
//! use std::time::Duration;
//! use ipvs_netlink::{
//!     Destination, DestinationKey, ForwardingMethod, Scheduler, Service, ServiceKey, Table,
//!     VirtualServer,
//!     plan::{Draining, Policy, Wanted, plan},
//! };
//!
//! let service = Service::new(ServiceKey::tcp(([192, 0, 2, 1], 80)), Scheduler::WRR);
//! let key = DestinationKey::new(([10, 0, 0, 1], 80));
//! let server = Destination::new(key, ForwardingMethod::Masquerade);
//! let servers = [VirtualServer { service, destinations: vec![server] }];
//! let wanted = Wanted::new(&servers);
//! let (table, draining) = (Table::default(), Draining::default());
//! let plan = plan(&table, wanted, &Policy::default(), &draining, Duration::ZERO);
//! let lines: Vec<_> = plan.steps.iter().map(ToString::to_string).collect();
//! assert_eq!(lines, [
//!     "add service tcp 192.0.2.1:80 scheduler wrr",
//!     "add destination 10.0.0.1:80 masquerade weight 1 to tcp 192.0.2.1:80",
//! ]);
//! ```
//!
//! # Unchanged objects
//!
//! Services outside the [`Scope`], and anything already equal, stay as they are. Comparison uses
//! the types of this crate: unknown flags, and settings that are meaningless without persistence,
//! are ignored. Each difference is one step.
//!
//! A service that is wanted twice with different settings, or a destination that is wanted twice
//! with different settings, is [`Rejected`]: the kernel's service stays as it is, and all other
//! services are made. Two identical ones count as one.
//!
//! # The order
//!
//! Additions come before removals: first new services, new destinations and changes, then weights
//! that become 0 and deleted destinations, and deleted services last. A service that has servers
//! before and after has some at any moment. If the kernel refuses all new servers of a service, a
//! [`Reconciliation`] keeps the old. A new scheduler is a step of its own, because the kernel waits
//! for all its processors then and the service has no scheduler in the meantime.
//!
//! # Draining
//!
//! A destination that is no longer wanted gets weight 0, and is deleted when its [`Drain`] is over:
//! at once, in the same call, if it has no connections. If it is wanted again before that, it gets
//! its wanted weight back and has kept its connections. The rule for a destination is the first of
//! these: its own rule in [`Removals`], of this call or of the last call that named it; the rule of
//! its service in [`Removals`]; the [`Policy`]. If the service is no longer wanted, its rule
//! precedes an own rule of an earlier call, so a service that has to go at once does.
//!
//! A [`Reconciler`] remembers the destinations that are being drained, with the start and the end
//! of their time, across calls, scopes, errors and dropped futures. A program that stores
//! [`Reconciler::draining`] continues after a restart with [`Reconciler::resume`]. Otherwise the
//! time of an unwanted destination of weight 0 begins when it is first seen. If another program
//! gives a draining destination a weight above 0, its time begins again.
//!
//! Any monotonic clock will do. A program that keeps [`Draining`] across restarts uses one that
//! keeps running in between, such as `CLOCK_BOOTTIME`.
//!
//! Persistent clients keep coming to a drained destination, unless
//! `net.ipv4.vs.expire_quiescent_template` is 1. UDP has no end of a connection: entries linger for
//! their whole timeout, so UDP has a time limit of its own. A firewall mark has the limit of UDP
//! while its destination has no active connection, because the kernel counts UDP as inactive.
//! One-packet services have nothing to drain.

mod compare;
mod daemons;
mod reconcile;
mod reconciler;
mod rejected;
mod target;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt, time::Duration};

pub use compare::plan;
pub use daemons::{DaemonReport, plan_daemons};
pub use reconcile::{Failure, Next, ReconcileError, ReconcileReport, Reconciliation};
pub use reconciler::Reconciler;
pub use rejected::Rejected;

use crate::{DestinationKey, ServiceKey, VirtualServer, Weight, message::Change};

/// The wanted state of the kernel.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The services with their destinations.
    pub servers: &'a [VirtualServer],
    /// The services that may be touched. A service of the scope that is not wanted is removed.
    pub scope: Scope<'a>,
    /// Rules for removing destinations, which override the policy.
    pub removals: &'a Removals,
}

static NO_REMOVALS: Removals = Removals {
    services: BTreeMap::new(),
    destinations: BTreeMap::new(),
};

impl<'a> Wanted<'a> {
    /// The whole table of the namespace.
    #[must_use]
    pub fn new(servers: &'a [VirtualServer]) -> Self {
        Self {
            servers,
            scope: Scope::All,
            removals: &NO_REMOVALS,
        }
    }

    /// The same within a scope.
    #[must_use]
    pub fn within(self, scope: Scope<'a>) -> Self {
        Self { scope, ..self }
    }

    /// The same with other rules for removals.
    #[must_use]
    pub fn with_removals(self, removals: &'a Removals) -> Self {
        Self { removals, ..self }
    }
}

/// Rules for removing destinations that are no longer wanted, which override the [`Policy`]. `None`
/// removes at once.
///
/// ```
/// use std::time::Duration;
/// use ipvs_netlink::{DestinationKey, ServiceKey, plan::{Drain, Removals}};
///
/// let web = ServiceKey::tcp(([192, 0, 2, 1], 80));
/// let mut removals = Removals::default();
/// // A dead server goes at once, a pod within its grace period.
/// removals.destinations.insert((web, DestinationKey::new(([10, 0, 0, 1], 80))), None);
/// let grace = Drain { at_most: Duration::from_secs(30), ..Drain::default() };
/// removals.destinations.insert((web, DestinationKey::new(([10, 0, 0, 2], 80))), Some(grace));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removals {
    /// For all destinations of a service, whether the service is still wanted or not.
    pub services: BTreeMap<ServiceKey, Option<Drain>>,
    /// For one destination. A [`Reconciler`] remembers this rule until the destination is gone or
    /// wanted again. A remembered rule yields to one of [`services`](Self::services) once the
    /// service is no longer wanted.
    pub destinations: BTreeMap<(ServiceKey, DestinationKey), Option<Drain>>,
}

/// The services that may be touched.
#[derive(Clone, Copy)]
pub enum Scope<'a> {
    /// All of the namespace.
    All,
    /// These.
    Services(&'a [ServiceKey]),
    /// Those for which the function returns true.
    Matching(&'a (dyn Fn(&ServiceKey) -> bool + Send + Sync)),
}

impl fmt::Debug for Scope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("All"),
            Self::Services(keys) => f.debug_tuple("Services").field(keys).finish(),
            Self::Matching(_) => f.write_str("Matching(..)"),
        }
    }
}

/// How destinations are removed, and whether schedulers may be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// When a destination that its service no longer wants may be deleted; `None` for at once.
    pub drain: Option<Drain>,
    /// The same for the destinations of a service that is no longer wanted.
    pub drain_services: Option<Drain>,
    /// Whether a scheduler may be changed. If not, the service keeps its own, and the report names
    /// it.
    pub change_schedulers: bool,
}

impl Policy {
    /// Destinations and services are removed at once; schedulers may be changed.
    pub const AT_ONCE: Self = Self {
        drain: None,
        drain_services: None,
        change_schedulers: true,
    };

    /// Destinations and services are drained by one rule; schedulers may be changed.
    #[must_use]
    pub const fn drained(drain: Drain) -> Self {
        Self {
            drain: Some(drain),
            drain_services: Some(drain),
            change_schedulers: true,
        }
    }
}

impl Default for Policy {
    /// Draining as in [`Drain::default`]; schedulers may be changed.
    fn default() -> Self {
        Self::drained(Drain::default())
    }
}

/// The end of a destination's draining.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// After this time, whatever connections it has.
    pub at_most: Duration,
    /// The same for UDP services.
    pub at_most_udp: Duration,
    /// Earlier, once it has no more connections than this, active and inactive together.
    pub connections: u32,
    /// Whether clients that are remembered for persistence count as connections.
    pub count_persistent: bool,
}

impl Default for Drain {
    /// Until there are no connections, for at most 15 minutes, which is how long the kernel keeps a
    /// silent TCP connection; UDP 30 seconds.
    fn default() -> Self {
        Self {
            at_most: Duration::from_secs(900),
            at_most_udp: Duration::from_secs(30),
            connections: 0,
            count_persistent: false,
        }
    }
}

/// The destinations that are being drained. A [`Reconciler`] keeps them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draining {
    /// The destinations, in the order of their keys.
    pub destinations: BTreeMap<(ServiceKey, DestinationKey), DrainingDestination>,
}

impl Draining {
    /// Whether nothing is being drained.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.destinations.is_empty()
    }

    /// The time from `now` until the first destination's limit; `None` if nothing is being drained.
    /// Connections may end earlier, and the kernel sends no notification of that.
    #[must_use]
    pub fn wait(&self, now: Duration) -> Option<Duration> {
        let ends = self.destinations.values().map(|draining| draining.until);
        ends.min().map(|end| end.saturating_sub(now))
    }
}

/// A destination that is being drained. Times are by the clock of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainingDestination {
    /// The start of draining.
    pub since: Duration,
    /// When it is deleted, whatever connections it has.
    pub until: Duration,
    /// The weight it had before; 0 if it was first seen with weight 0.
    pub weight: Weight,
    /// Its own rule, if it was named in [`Removals::destinations`].
    pub rule: Option<Drain>,
}

/// The result of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The changes, in the order of their execution.
    pub steps: Vec<Step>,
    /// The destinations that are being drained after these steps.
    pub draining: Draining,
    /// Services that keep an unwanted scheduler, because the policy does not allow the change.
    pub schedulers_kept: Vec<ServiceKey>,
    /// Parts of the wanted table that are not applied.
    pub rejected: Vec<Rejected>,
}

/// A change with its reason. As text it is one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The change.
    pub change: Change,
    /// Why.
    pub why: Why,
}

/// Why something is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Why {
    /// It is wanted and does not exist.
    Missing,
    /// It exists with other settings than the wanted ones.
    Different,
    /// It exists with another scheduler.
    SchedulerDifferent,
    /// It is not wanted, and drained from now on.
    Unwanted,
    /// It is not wanted, and has been drained.
    Drained,
}

impl Step {
    /// Whether a service may have fewer servers after it.
    fn takes_away(&self) -> bool {
        match self.change {
            Change::DeleteService(_) | Change::DeleteDestination { .. } => true,
            Change::UpdateDestination { destination, .. } => destination.weight == Weight::ZERO,
            _ => false,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.change.fmt(f)?;
        f.write_str(match self.why {
            Why::Missing | Why::Different | Why::SchedulerDifferent => "",
            Why::Unwanted => " (no longer wanted)",
            Why::Drained => " (drained)",
        })
    }
}
