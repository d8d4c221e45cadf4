//! The state of a load balancer for people and programs: a page, JSON, and metrics.
//!
//! [`History`] keeps data that changes over time: rates, and the last events. [`History::status`]
//! returns a [`Status`], a plain value that is written as [`html`](Status::html), as
//! [`metrics`](Status::metrics), or as JSON with serde.

mod metrics;
pub(crate) mod page;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, SystemTime},
};

use ipvs_netlink::{
    DestinationKey, ListedDestination, ServiceKey, Table, Weight,
    pool::{Level, Usage, Verdict},
};
use serde::Serialize;

use crate::balancer::{Balancer, Notice, boot_time};

/// The number of samples that are kept, for the sparkline.
const SAMPLES: usize = 60;
/// The number of events that are kept.
const EVENTS: usize = 50;

/// Rates of services and servers, and the last events.
#[derive(Debug)]
pub struct History {
    started: SystemTime,
    events: VecDeque<Line>,
    sampled: Duration,
    services: BTreeMap<ServiceKey, Samples>,
    servers: BTreeMap<(ServiceKey, DestinationKey), Counts>,
    rates: BTreeMap<(ServiceKey, DestinationKey), Rates>,
}

/// The kernel's counters for a server.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    connections: u64,
    packets: u64,
    bytes: u64,
}

#[derive(Debug, Default)]
struct Samples {
    connections: VecDeque<f64>,
}

/// An event, as one line.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// Seconds since 1970.
    pub time: f64,
    /// The event.
    pub text: String,
}

/// Rates of a server or service, per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Rates {
    /// New connections.
    pub connections: f64,
    /// Packets in both directions that pass this host.
    pub packets: f64,
    /// Bytes in both directions that pass this host.
    pub bytes: f64,
}

/// The state of a load balancer at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// The name of the host.
    pub host: String,
    /// For how long the program has run, in seconds.
    pub uptime: f64,
    /// Its virtual routers.
    pub routers: Vec<RouterLine>,
    /// Its services.
    pub services: Vec<ServiceLine>,
    /// The probes under way.
    pub probes_running: u32,
    /// The probes that were made, by result.
    pub probes: ProbeCounts,
    /// The servers that are leaving the table and still have connections.
    pub draining: Vec<DrainLine>,
    /// The changes that the kernel refused.
    pub refused: Vec<String>,
    /// The last events, the newest first.
    pub events: Vec<Line>,
}

/// A virtual router.
#[derive(Clone, Debug, Serialize)]
pub struct RouterLine {
    /// Its interface.
    pub interface: String,
    /// Its VRID.
    pub vrid: u8,
    /// Its state: Initialize, Backup or Active.
    pub state: String,
    /// Its effective priority.
    pub priority: u8,
    /// Its virtual addresses.
    pub addresses: Vec<String>,
    /// Why it has this priority.
    pub explanation: String,
}

/// A service.
#[derive(Clone, Debug, Serialize)]
pub struct ServiceLine {
    /// The service.
    pub service: String,
    /// The quorum: up, down or unknown.
    pub quorum: &'static str,
    /// The live capacity, in the unit of the quorum.
    pub live: u64,
    /// Whether the sorry server is in use.
    pub sorry: bool,
    /// The servers that are down and in use, because the brake holds them.
    pub braked: usize,
    /// The servers that are down and in use, because too few are left.
    pub panicking: usize,
    /// Its rates.
    pub rates: Rates,
    /// New connections per second, in the last minute.
    pub sparkline: Vec<f64>,
    /// Its servers.
    pub servers: Vec<ServerLine>,
}

/// A server.
#[derive(Clone, Debug, Serialize)]
pub struct ServerLine {
    /// The server.
    pub server: String,
    /// The verdict of its checks: up, down or waiting.
    pub health: String,
    /// Whether it gets new connections.
    pub in_use: bool,
    /// Why it is in use or not.
    pub usage: String,
    /// Seconds since its health changed.
    pub since: f64,
    /// The weight in the table.
    pub weight: Option<u32>,
    /// The state that the operator has set.
    pub operator: String,
    /// Connections, active and inactive.
    pub connections: u32,
    /// Its rates.
    pub rates: Rates,
    /// The last answer of each check.
    pub answers: Vec<String>,
    /// Everything about it, as text.
    pub explanation: String,
}

/// A server that is leaving the table and still has connections.
#[derive(Clone, Debug, Serialize)]
pub struct DrainLine {
    /// Its service.
    pub service: String,
    /// The server.
    pub server: String,
    /// The seconds after which it leaves even if it still has connections.
    pub left: f64,
}

/// Probes by result.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ProbeCounts {
    /// Successes.
    pub successes: u64,
    /// Failures.
    pub failures: u64,
    /// Local failures.
    pub local_failures: u64,
}

impl Default for History {
    fn default() -> Self {
        Self::new()
    }
}

impl History {
    /// A history that begins now.
    #[must_use]
    pub fn new() -> Self {
        Self {
            started: SystemTime::now(),
            events: VecDeque::new(),
            sampled: Duration::ZERO,
            services: BTreeMap::new(),
            servers: BTreeMap::new(),
            rates: BTreeMap::new(),
        }
    }

    /// Records a notice. After [`Notice::Compared`] it takes a sample.
    pub fn note(&mut self, notice: &Notice, balancer: &Balancer) {
        match notice {
            Notice::Compared(table) => self.sample(table, balancer.now()),
            notice => self.event(notice.to_string()),
        }
    }

    /// Adds an event of another part of the program.
    pub fn event(&mut self, text: String) {
        self.events.truncate(EVENTS - 1);
        let time = seconds(SystemTime::now(), SystemTime::UNIX_EPOCH);
        self.events.push_front(Line { time, text });
    }

    fn sample(&mut self, table: &Table, now: Duration) {
        let elapsed = (now.saturating_sub(self.sampled)).as_secs_f64();
        self.sampled = now;
        let mut servers = BTreeMap::new();
        self.rates.clear();
        for entry in &table.entries {
            let service = entry.service.service.key;
            let mut all = 0.0;
            for listed in &entry.destinations {
                let place = (service, listed.destination.key);
                let counts = counts(listed);
                servers.insert(place, counts);
                if let Some(before) = self.servers.get(&place) {
                    let rates = rates(*before, counts, elapsed);
                    all += rates.connections;
                    self.rates.insert(place, rates);
                }
            }
            let samples = &mut self.services.entry(service).or_default().connections;
            if samples.len() >= SAMPLES {
                samples.pop_front();
            }
            samples.push_back(all);
        }
        self.servers = servers;
        let listed = table.entries.iter();
        let listed: BTreeSet<_> = listed.map(|entry| entry.service.service.key).collect();
        self.services.retain(|service, _| listed.contains(service));
    }

    /// The state at this moment.
    #[must_use]
    pub fn status(&self, balancer: &Balancer, routers: Vec<RouterLine>) -> Status {
        let pool = balancer.pool();
        let counters = pool.counters();
        let host = nix::unistd::gethostname().unwrap_or_default();
        Status {
            host: host.to_string_lossy().into_owned(),
            uptime: seconds(SystemTime::now(), self.started),
            routers,
            services: pool
                .statuses()
                .map(|status| self.service(balancer, &status))
                .collect(),
            probes_running: pool.running(),
            probes: ProbeCounts {
                successes: counters.successes,
                failures: counters.failures,
                local_failures: counters.local_failures,
            },
            draining: balancer
                .draining()
                .destinations
                .iter()
                .map(|((service, server), drain)| DrainLine {
                    service: service.to_string(),
                    server: server.to_string(),
                    left: drain.until.saturating_sub(boot_time()).as_secs_f64(),
                })
                .collect(),
            refused: balancer
                .refused()
                .iter()
                .map(|failure| format!("{}: {}", failure.step, failure.error))
                .collect(),
            events: self.events.iter().cloned().collect(),
        }
    }

    fn service(
        &self,
        balancer: &Balancer,
        status: &ipvs_netlink::pool::ServiceStatus,
    ) -> ServiceLine {
        let service = status.service;
        let servers = status.servers.iter();
        let servers: Vec<_> = servers
            .filter_map(|server| self.server(balancer, &service, server))
            .collect();
        let sum = |part: fn(&Rates) -> f64| servers.iter().map(|it| part(&it.rates)).sum();
        let samples = self.services.get(&service);
        ServiceLine {
            service: service.to_string(),
            quorum: match status.quorum {
                Level::Up => "up",
                Level::Down => "down",
                Level::Unknown => "unknown",
            },
            live: status.live,
            sorry: status.sorry_in,
            braked: status.braked,
            panicking: status.panicking,
            rates: Rates {
                connections: sum(|rates| rates.connections),
                packets: sum(|rates| rates.packets),
                bytes: sum(|rates| rates.bytes),
            },
            sparkline: samples.map_or_else(Vec::new, |samples| {
                samples.connections.iter().copied().collect()
            }),
            servers,
        }
    }

    fn server(
        &self,
        balancer: &Balancer,
        service: &ServiceKey,
        server: &DestinationKey,
    ) -> Option<ServerLine> {
        let explanation = balancer.pool().explain(service, server)?;
        let checks = explanation.checks.iter();
        let answers = checks.map(|check| match &check.last {
            Some(last) => format!("{}: {}", check.name, last.outcome),
            None => format!("{}: no result yet", check.name),
        });
        Some(ServerLine {
            server: server.to_string(),
            health: explanation.health.to_string(),
            in_use: matches!(explanation.usage, Usage::In(_))
                && explanation
                    .weight
                    .is_some_and(|weight| weight != Weight::ZERO),
            usage: explanation.usage.to_string(),
            since: balancer
                .now()
                .saturating_sub(explanation.since)
                .as_secs_f64(),
            weight: explanation.weight.map(Weight::get),
            operator: explanation.operator.to_string(),
            connections: explanation.connections.unwrap_or(0),
            rates: self
                .rates
                .get(&(*service, *server))
                .copied()
                .unwrap_or_default(),
            answers: answers.collect(),
            explanation: explanation.to_string(),
        })
    }
}

impl ServiceLine {
    /// Whether it needs attention.
    fn has_problem(&self) -> bool {
        let is_held = self.sorry || self.braked > 0 || self.panicking > 0;
        self.quorum == "down" || is_held || self.servers.iter().any(ServerLine::is_down)
    }
}

impl ServerLine {
    /// Whether its checks say that it is down.
    fn is_down(&self) -> bool {
        self.health == Verdict::Down.to_string()
    }
}

fn seconds(later: SystemTime, earlier: SystemTime) -> f64 {
    later
        .duration_since(earlier)
        .unwrap_or_default()
        .as_secs_f64()
}

fn counts(listed: &ListedDestination) -> Counts {
    let stats = &listed.stats;
    Counts {
        connections: stats.connections,
        packets: stats.incoming_packets + stats.outgoing_packets,
        bytes: stats.incoming_bytes + stats.outgoing_bytes,
    }
}

/// The rates between two readings. A counter that has gone back gives the rate 0.
fn rates(before: Counts, now: Counts, elapsed: f64) -> Rates {
    // Counters of less than 2^52 are exact.
    #[allow(clippy::cast_precision_loss)]
    let rate = |before: u64, now: u64| match now.checked_sub(before) {
        Some(more) if elapsed > 0.0 => more as f64 / elapsed,
        _ => 0.0,
    };
    Rates {
        connections: rate(before.connections, now.connections),
        packets: rate(before.packets, now.packets),
        bytes: rate(before.bytes, now.bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_the_difference_by_time_and_never_negative() {
        let before = Counts {
            connections: 10,
            packets: 100,
            bytes: 1000,
        };
        let now = Counts {
            connections: 30,
            packets: 50,
            bytes: 1000,
        };
        let expected = Rates {
            connections: 10.0,
            packets: 0.0,
            bytes: 0.0,
        };
        assert_eq!(rates(before, now, 2.0), expected);
        assert_eq!(rates(before, now, 0.0), Rates::default());
    }
}
