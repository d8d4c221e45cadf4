//! Why a server is used or not, and the state of a service.

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use super::{
    Answer, In, Level, Operator, Out, Pool, ServerCounters, Usage, Verdict, check::CheckState,
    server::ServerState, service::ServiceState,
};
use crate::{DestinationKey, ServiceKey, Weight};

/// Why a server is in the table, out of it, draining, or has its weight.
///
/// As text, one line for the server and one for each check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The service.
    pub service: ServiceKey,
    /// The server.
    pub server: DestinationKey,
    /// Whether it is in the table, and why.
    pub usage: Usage,
    /// Whether it is up by its checks.
    pub health: Verdict,
    /// Since when.
    pub since: Duration,
    /// The weight in the table, if it is there.
    pub weight: Option<Weight>,
    /// The weight by operator and checks, which a slow start may not have reached yet.
    pub full_weight: Weight,
    /// The weight of the configuration.
    pub configured_weight: Weight,
    /// The weight that the operator gave it.
    pub operator_weight: Option<Weight>,
    /// The state that the operator gave it.
    pub operator: Operator,
    /// The end of its slow start.
    pub slow_start_until: Option<Duration>,
    /// Since when it drains.
    pub draining_since: Option<Duration>,
    /// Connections, active and inactive, in the last table of the kernel.
    pub connections: Option<u32>,
    /// Whether the checks of its service are suspended.
    pub suspended: bool,
    /// Its checks.
    pub checks: Vec<CheckExplanation>,
    /// Its counters.
    pub counters: ServerCounters,
}

/// The state of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckExplanation {
    /// The name.
    pub name: Arc<str>,
    /// The address of its probes.
    pub address: SocketAddr,
    /// The verdict.
    pub verdict: Verdict,
    /// Whether no results have given a verdict since it was added or changed.
    pub unchecked: bool,
    /// Consecutive failures.
    pub failures: u32,
    /// The number of them that takes the server down.
    pub failures_needed: u32,
    /// Consecutive successes.
    pub successes: u32,
    /// The number of them that brings the server up.
    pub successes_needed: u32,
    /// The last result, with its time.
    pub last: Option<Answer>,
    /// When the next probe is due, unless one is under way.
    pub next: Option<Duration>,
    /// The end of the time limit of the probe that is under way.
    pub running_until: Option<Duration>,
}

/// The state of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceStatus {
    /// The service.
    pub service: ServiceKey,
    /// The level of the quorum.
    pub quorum: Level,
    /// Since when.
    pub since: Duration,
    /// The live capacity, in the unit of the quorum: weight, or percent of servers.
    pub live: u64,
    /// Whether the sorry server is in use.
    pub sorry_in: bool,
    /// The number of servers that are down and that the brake keeps in use.
    pub braked: usize,
    /// The number of servers that are down and in use because too few are left.
    pub panicking: usize,
    /// Whether its checks are suspended.
    pub suspended: bool,
    /// Its servers, in the order of their keys.
    pub servers: Vec<DestinationKey>,
}

impl<P: Clone + Ord> Pool<P> {
    /// Explains a server; `None` if it is not configured.
    #[must_use]
    pub fn explain(&self, service: &ServiceKey, server: &DestinationKey) -> Option<Explanation> {
        let service = self.service_state(service)?;
        let place = service
            .servers
            .binary_search_by_key(server, ServerState::key);
        let server = service.servers.get(place.ok()?)?;
        let slow_start = server.rising_since.zip(service.config.slow_start);
        let slow_start = slow_start
            .map(|(since, slow_start)| since.saturating_add(slow_start))
            .filter(|_| {
                server
                    .placed
                    .is_some_and(|weight| weight < server.full_weight())
            });
        Some(Explanation {
            service: service.key(),
            server: server.key(),
            usage: server.usage,
            health: server.health,
            since: server.since,
            weight: server.placed,
            full_weight: server.full_weight(),
            configured_weight: server.destination.weight,
            operator_weight: server.weight,
            operator: server.operator,
            slow_start_until: slow_start.filter(|_| server.usage.is_in()),
            draining_since: server.draining_since,
            connections: server.connections,
            suspended: service.suspended,
            checks: server
                .checks
                .iter()
                .map(|check| self.check(check))
                .collect(),
            counters: server.counters,
        })
    }

    fn check(&self, check: &CheckState<P>) -> CheckExplanation {
        let target = &self.targets[check.target as usize];
        CheckExplanation {
            name: Arc::clone(&check.name),
            address: target.target.address,
            verdict: check.verdict,
            unchecked: check.unchecked,
            failures: check.failures,
            failures_needed: check.failures_needed(),
            successes: check.successes,
            successes_needed: check.successes_needed(),
            last: target.last.clone(),
            next: self.starts.get(check.target),
            running_until: target.running.map(|running| running.until),
        }
    }

    /// Explains all servers, in the order of the keys of their services and of their own.
    pub fn explanations(&self) -> impl Iterator<Item = Explanation> {
        self.statuses().flat_map(move |status| {
            let servers = status.servers.into_iter();
            servers.filter_map(move |server| self.explain(&status.service, &server))
        })
    }

    /// Returns the state of a service; `None` if it is not configured.
    #[must_use]
    pub fn status(&self, service: &ServiceKey) -> Option<ServiceStatus> {
        self.service_state(service).map(ServiceState::status)
    }

    /// Returns the states of all services, in the order of their keys.
    pub fn statuses(&self) -> impl Iterator<Item = ServiceStatus> {
        self.services.iter().map(ServiceState::status)
    }
}

impl<P> ServiceState<P> {
    fn status(&self) -> ServiceStatus {
        ServiceStatus {
            service: self.key(),
            quorum: self.quorum,
            since: self.quorum_since,
            live: self.live,
            sorry_in: self.sorry_in,
            braked: self.braked,
            panicking: self.panicking,
            suspended: self.suspended,
            servers: self.servers.iter().map(ServerState::key).collect(),
        }
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = |out: &Out| match out {
            Out::Down => "failed its checks",
            Out::Waiting => "waits for its first check",
            Out::Drain => "drained by the operator",
            Out::Maintenance => "in maintenance",
            Out::Sorry => "quorum lost, sorry server in use",
            Out::Stopped => "pool stopped",
        };
        match self {
            Self::In(In::Up) => f.write_str("in"),
            Self::In(In::Brake) => f.write_str("in, although down: the brake holds it"),
            Self::In(In::Panic) => f.write_str("in, although down: too few servers are left"),
            Self::In(In::Unchecked) => f.write_str("in, unchecked: no better server is left"),
            Self::Inhibited(out) => write!(f, "in with weight 0: {}", reason(out)),
            Self::Out(out) => write!(f, "out: {}", reason(out)),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Waiting => "waiting",
        })
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            service, server, ..
        } = self;
        write!(f, "{server} of {service}: {}; ", self.usage)?;
        write!(f, "{} since {}", self.health, Seconds(self.since))?;
        if let Some(weight) = self.weight {
            write!(f, "; weight {weight}")?;
            if self.full_weight != self.configured_weight {
                let (full, configured) = (self.full_weight, self.configured_weight);
                write!(f, " (configured {configured}, reported {full})")?;
            }
        }
        if let Some(weight) = self.operator_weight {
            write!(f, "; operator's weight {weight}")?;
        }
        if let Some(until) = self.slow_start_until {
            let full = self.full_weight;
            write!(f, "; slow start to {full} until {}", Seconds(until))?;
        }
        if let Some(since) = self.draining_since {
            write!(f, "; draining since {}", Seconds(since))?;
        }
        if let Some(connections) = self.connections {
            write!(f, "; {connections} connections")?;
        }
        if self.suspended {
            f.write_str("; checks suspended")?;
        }
        for check in &self.checks {
            write!(f, "\n  {check}")?;
        }
        Ok(())
    }
}

impl fmt::Display for CheckExplanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}: {}", self.name, self.address, self.verdict)?;
        if self.unchecked {
            f.write_str(", unchecked")?;
        } else if self.verdict == Verdict::Down && self.successes > 0 {
            write!(
                f,
                ", {} of {} successes",
                self.successes, self.successes_needed
            )?;
        } else if self.failures > 0 {
            write!(
                f,
                ", {} of {} failures",
                self.failures, self.failures_needed
            )?;
        }
        match &self.last {
            Some(last) => write!(f, "; last {} at {}", last.outcome, Seconds(last.at))?,
            None => f.write_str("; no result yet")?,
        }
        match (self.running_until, self.next) {
            (Some(until), _) => write!(f, "; under way until {}", Seconds(until)),
            (None, Some(next)) => write!(f, "; next at {}", Seconds(next)),
            (None, None) => f.write_str("; not scheduled"),
        }
    }
}

/// Seconds since the epoch of the pool's clock.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} s", self.0.as_secs_f64())
    }
}
