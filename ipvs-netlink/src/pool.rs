//! Health of real servers and configuration in, wanted table out: a state machine without I/O.
//!
//! A [`Pool`] decides which real servers get traffic. It hands out [probes](Action::Probe), takes
//! their [results](Outcome), and computes the table that [`plan`](crate::plan) brings into the
//! kernel. The table is a function of configuration, results and time: it is compared with the
//! kernel's table again after each change, so a change by another program is repaired as well.
//!
//! | type | purpose |
//! |---|---|
//! | [`Config`], [`VirtualServer`], [`RealServer`], [`Check`] | the configuration, plain structs |
//! | [`Pool`] | the machine |
//! | [`Action`], [`Probe`], [`ProbeId`], [`Target`] | probes for the host to make |
//! | [`Outcome`], [`Failure`] | their results |
//! | [`Event`], [`PoolChange`], [`Cause`] | changes in order, with their causes |
//! | [`Explanation`], [`ServiceStatus`] | why a server is in or out, the state of a service |
//! | [`Level`] | the quorum, for an object that a VRRP router tracks |
//! | [`Counters`] | counters |
//! | [`PoolSnapshot`] | the state for a successor in another process |
//!
//! # Driving it
//!
//! ```
//! use std::time::Duration;
//! use ipvs_netlink::{
//!     Destination, DestinationKey, ForwardingMethod, Scheduler, Service, ServiceKey, Table,
//!     pool::{Action, Check, Config, FailureKind, Outcome, Pool, RealServer, VirtualServer},
//! };
//!
//! let service = ServiceKey::tcp(([192, 0, 2, 1], 80));
//! let mut web = VirtualServer::new(Service::new(service, Scheduler::WRR));
//! web.checks.push(Check::new("connect"));
//! for host in [1, 2] {
//!     let key = DestinationKey::new(([10, 0, 0, host], 80));
//!     web.servers.push(RealServer::new(Destination::new(key, ForwardingMethod::Masquerade)));
//! }
//! let config = Config { services: vec![web], ..Config::default() };
//!
//! let mut now = Duration::ZERO;
//! let mut pool = Pool::new(now, config, &Table::default())?;
//! // Nothing is known yet, and unchecked servers are better than none.
//! assert_eq!(pool.wanted()[0].destinations.len(), 2);
//!
//! // A turn of the host: results first, then time, then actions.
//! while let Some(at) = pool.poll_timeout().filter(|at| *at < Duration::from_secs(1)) {
//!     now = now.max(at);
//!     pool.handle_timeout(now);
//!     let mut answers = Vec::new();
//!     while let Some(action) = pool.poll_action(now) {
//!         if let Action::Probe(probe) = action {
//!             // A real host starts the probe here and reports when it has ended.
//!             let outcome = if probe.address.ip().to_string() == "10.0.0.2" {
//!                 Outcome::failure(FailureKind::Refused, "connection refused")
//!             } else {
//!                 Outcome::SUCCESS
//!             };
//!             answers.push((probe.id, outcome));
//!         }
//!     }
//!     for (id, outcome) in answers {
//!         pool.handle_result(now, id, outcome);
//!     }
//! }
//! assert_eq!(pool.wanted()[0].destinations.len(), 1);
//! let failed = DestinationKey::new(([10, 0, 0, 2], 80));
//! let explanation = pool.explain(&service, &failed).ok_or("configured")?;
//! assert!(explanation.to_string().contains("last refused (connection refused)"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Time
//!
//! Time is an argument of each call: the duration since an epoch that the host chooses, by a
//! monotonic clock. [`plan`](crate::plan) uses the same time, so one clock reading serves both, and
//! a caller of `vrrp-fsm` passes `instant - Instant::ZERO`.
//!
//! The pool has no other inputs. Randomness comes from [`Config::seed`], and nothing depends on the
//! order of a hash table: the same inputs give the same actions, events and tables.

mod check;
mod config;
mod counters;
mod deadlines;
mod event;
mod explain;
#[cfg(feature = "serde")]
mod file;
mod journal;
mod kernel;
mod lineage;
mod machine;
#[cfg(test)]
mod model;
mod outcome;
mod pace;
mod random;
mod reconfigure;
mod server;
mod service;
mod snapshot;
mod starts;
mod target;
mod validate;

pub use check::Verdict;
pub use config::{
    Capacity, Check, Config, Effect, FirstResult, Initial, Limit, Operator, Pace, Panic, Passive,
    Quorum, RealServer, SorryServer, VirtualServer, WeightReport,
};
pub use counters::{Counters, ServerCounters};
pub use event::{Cause, Event, LiveCapacity, PoolChange};
pub use explain::{CheckExplanation, Explanation, ServiceStatus};
pub use machine::{Action, Pool, Probe, UnknownServer};
pub use outcome::{Failure, FailureKind, Outcome};
pub use server::{In, Out, Usage};
pub use service::Level;
pub use snapshot::PoolSnapshot;
pub use target::{Answer, ProbeId, Target};
pub use validate::{ConfigError, ConfigErrors};
