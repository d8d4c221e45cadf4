//! A wanted table against the kernel's table: the least changes, in a safe order.
//!
//! [`plan`] compares and says what to do. [`Reconciler`] goes on until it is done: it asks for the table, plans, hands out changes, takes what
//! became of them, and starts over where another program was faster. Neither does any I/O, and time is an argument; `Client::reconcile` runs
//! the second against a kernel.
//!
//! ```
//! use std::time::Duration;
//! use ipvs_netlink::{
//!     Destination, DestinationKey, ForwardingMethod, Scheduler, Service, ServiceKey, Table, VirtualServer,
//!     plan::{Draining, Policy, Scope, plan},
//! };
//!
//! let service = Service::new(ServiceKey::tcp(([192, 0, 2, 1], 80)), Scheduler::WRR);
//! let server = Destination::new(DestinationKey::new(([10, 0, 0, 1], 80)), ForwardingMethod::Masquerade);
//! let wanted = [VirtualServer { service, destinations: vec![server] }];
//! let plan = plan(&Table::default(), &wanted, &Scope::All, &Policy::default(), &Draining::default(), Duration::ZERO)?;
//! let lines: Vec<_> = plan.steps.iter().map(ToString::to_string).collect();
//! assert_eq!(lines, [
//!     "add service tcp 192.0.2.1:80 scheduler wrr",
//!     "add destination 10.0.0.1:80 masquerade weight 1 to tcp 192.0.2.1:80",
//! ]);
//! # Ok::<(), ipvs_netlink::plan::PlanError>(())
//! ```
//!
//! # What is left alone
//!
//! Services outside the [`Scope`], and whatever is equal already: equal once brought into one form, which the types of this crate are (flags that it
//! does not know and settings that mean nothing without persistence are not part of them). With nothing to do there are no steps, and each
//! difference is one step.
//!
//! # The order
//!
//! What gives comes before what takes away: first new services, new destinations and changes, then weights that become 0 and destinations that go,
//! and last of all services that go. So a service that has servers before and after is at no moment without. If the kernel refuses all its new ones, a
//! [`Reconciler`] keeps the old. A new scheduler is a step of its own, because the kernel waits for all its processors then and has the
//! service without one meanwhile.
//!
//! # Draining
//!
//! A destination that is no longer wanted gets weight 0, and is deleted when the [`Policy`] says that it is done. If it comes back meanwhile,
//! it gets its wanted weight and has kept its connections. What is being drained since when is a plain value, [`Draining`], that the caller keeps. A
//! destination of weight 0 that nobody wants and that is not in it, because the program was started anew, counts from the moment it was first seen.
//! One that another program gave weight meanwhile begins anew.
//!
//! The time may be read from any clock that does not go back. Whoever keeps [`Draining`] across restarts of the program takes one that
//! goes on meanwhile, such as `CLOCK_BOOTTIME`.
//!
//! Clients that are remembered for persistence keep coming to a drained destination, unless `net.ipv4.vs.expire_quiescent_template` is 1.
//! UDP has no end of a connection: entries linger for their whole timeout, so that it has a time of its own. One-packet services have nothing to
//! drain.

mod compare;
mod reconcile;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt, time::Duration};

pub use compare::plan;
pub use reconcile::{Failure, Next, Reconciler, Report};

use crate::{DestinationKey, ServiceKey, Weight, message::Change};

/// The services that may be touched.
#[derive(Clone, Copy)]
pub enum Scope<'a> {
    /// All of the namespace.
    All,
    /// These.
    Services(&'a [ServiceKey]),
    /// Those for which it is true.
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

/// How careful to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// When a destination that is no longer wanted may be deleted; `None` for at once.
    pub drain: Option<Drain>,
    /// Whether a scheduler may be changed. If not, the service keeps its own, and the plan says so.
    pub change_schedulers: bool,
}

impl Default for Policy {
    /// Draining as [`Drain::default`] has it; schedulers may be changed.
    fn default() -> Self {
        Self {
            drain: Some(Drain::default()),
            change_schedulers: true,
        }
    }
}

/// When a destination is drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// After this time, whatever connections it has.
    pub at_most: Duration,
    /// The same for UDP services.
    pub at_most_udp: Duration,
    /// Before that, when it has no more connections than this, active and inactive together.
    pub connections: u32,
    /// Whether clients that are remembered for persistence count as connections.
    pub count_persistent: bool,
}

impl Default for Drain {
    /// Until there are no connections, for at most 15 minutes, which is how long the kernel keeps a silent TCP connection; UDP 30 seconds.
    fn default() -> Self {
        Self {
            at_most: Duration::from_secs(900),
            at_most_udp: Duration::from_secs(30),
            connections: 0,
            count_persistent: false,
        }
    }
}

/// What is being drained. Kept by the caller from plan to plan, and if it likes across restarts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draining {
    /// The destinations, in the order of their keys.
    pub destinations: BTreeMap<(ServiceKey, DestinationKey), DrainingDestination>,
}

/// A destination that is being drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainingDestination {
    /// Since when, by the clock that the caller plans with.
    pub since: Duration,
    /// The weight it had; 0 if it was first seen with none.
    pub weight: Weight,
}

/// What to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The changes, in the order in which they are to be made.
    pub steps: Vec<Step>,
    /// What is being drained once they are made.
    pub draining: Draining,
    /// When a destination has been drained long enough. It may be done before, when its connections have ended.
    pub next_deadline: Option<Duration>,
    /// Services that keep a scheduler that is not the wanted one, because the policy says so.
    pub schedulers_kept: Vec<ServiceKey>,
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
    /// It is wanted and not there.
    Missing,
    /// It is there and not as it is wanted.
    Different,
    /// Its scheduler is not the wanted one.
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

/// Why there can be no plan: what is wanted contradicts itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A service is wanted twice.
    #[error("service {0} is wanted twice")]
    ServiceTwice(ServiceKey),
    /// A destination is wanted twice.
    #[error("destination {destination} of {service} is wanted twice")]
    DestinationTwice {
        /// The service.
        service: ServiceKey,
        /// The destination.
        destination: DestinationKey,
    },
    /// A service is wanted that is not to be touched.
    #[error("service {0} is wanted, but is outside the scope")]
    OutsideScope(ServiceKey),
}
