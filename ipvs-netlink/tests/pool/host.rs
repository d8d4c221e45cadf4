//! A host in simulated time: it makes probes as the test says, and records everything.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use ipvs_netlink::{
    Destination, DestinationKey, ForwardingMethod, ListedDestination, ListedService, Scheduler,
    Service, ServiceKey, Stats, Table, TableEntry,
    pool::{
        Action, Check, Config, Event, FailureKind, Initial, Outcome, Pool, PoolChange, ProbeId,
        RealServer, SorryServer, VirtualServer,
    },
};

/// The test's answer to a probe.
pub(crate) type Reply = Option<(Duration, Outcome)>;

pub(crate) fn s(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

pub(crate) fn refused() -> Outcome {
    Outcome::failure(FailureKind::Refused, "connection refused")
}

// All answers of a test have one type.
#[allow(clippy::unnecessary_wraps)]
pub(crate) fn good() -> Reply {
    Some((s(0.001), Outcome::SUCCESS))
}

#[allow(clippy::unnecessary_wraps)]
pub(crate) fn bad() -> Reply {
    Some((s(0.001), refused()))
}

pub(crate) fn web() -> ServiceKey {
    ServiceKey::tcp(([192, 0, 2, 1], 80))
}

pub(crate) fn key(host: u8) -> DestinationKey {
    DestinationKey::new(([10, 0, 0, host], 80))
}

pub(crate) fn server(host: u8, weight: u16) -> RealServer<&'static str> {
    RealServer::new(Destination {
        weight: weight.into(),
        ..Destination::new(key(host), ForwardingMethod::Masquerade)
    })
}

pub(crate) fn sorry() -> SorryServer {
    SorryServer::new(key(99), ForwardingMethod::Masquerade)
}

/// Every second, without noise and spread, one failure or success decides, up at first.
pub(crate) fn plain() -> Check<&'static str> {
    Check {
        interval: s(1.0),
        fast_interval: Some(s(1.0)),
        time_limit: s(0.5),
        fall: 1,
        rise: 1,
        initial: Initial::Up,
        noise: 0,
        spread: Some(Duration::ZERO),
        ..Check::new("tcp")
    }
}

/// Servers 1, 2 and so on with these weights, and the check.
pub(crate) fn service(check: Check<&'static str>, weights: &[u16]) -> VirtualServer<&'static str> {
    let mut service = VirtualServer::new(Service::new(web(), Scheduler::WRR));
    service.checks.push(check);
    for (host, weight) in (1..).zip(weights) {
        service.servers.push(server(host, *weight));
    }
    service
}

pub(crate) fn config(services: Vec<VirtualServer<&'static str>>) -> Config<&'static str> {
    Config {
        services,
        ..Config::default()
    }
}

/// A kernel's table of the service [`web`] with these hosts and weights.
pub(crate) fn listed(servers: &[(u8, u16, u32, Stats)]) -> Table {
    let listed = |(host, weight, connections, stats): &(u8, u16, u32, Stats)| ListedDestination {
        destination: server(*host, *weight).destination,
        active_connections: *connections,
        inactive_connections: 0,
        persistent_connections: 0,
        stats: *stats,
        unknown: Vec::new(),
    };
    Table {
        entries: vec![TableEntry {
            service: ListedService {
                service: Service::new(web(), Scheduler::WRR),
                stats: Stats::default(),
                unknown: Vec::new(),
            },
            destinations: servers.iter().map(listed).collect(),
        }],
        ..Table::default()
    }
}

/// A probe as it was handed out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Made {
    pub(crate) at: Duration,
    pub(crate) address: SocketAddr,
    pub(crate) attempt: &'static str,
    pub(crate) until: Duration,
    pub(crate) id: ProbeId,
}

impl Made {
    pub(crate) fn host(&self) -> u8 {
        match self.address.ip() {
            std::net::IpAddr::V4(address) => address.octets()[3],
            std::net::IpAddr::V6(_) => panic!("only IPv4 here"),
        }
    }
}

pub(crate) struct Host {
    pub(crate) pool: Pool<&'static str>,
    pub(crate) now: Duration,
    pub(crate) made: Vec<Made>,
    pub(crate) cancelled: Vec<(Duration, ProbeId)>,
    pub(crate) events: Vec<Event>,
    under_way: BTreeMap<(Duration, ProbeId), Outcome>,
    reply: Box<dyn FnMut(&Made) -> Reply>,
}

impl Host {
    pub(crate) fn new(
        config: Config<&'static str>,
        reply: impl FnMut(&Made) -> Reply + 'static,
    ) -> Self {
        Self::with_table(config, &Table::default(), reply)
    }

    pub(crate) fn with_table(
        config: Config<&'static str>,
        table: &Table,
        reply: impl FnMut(&Made) -> Reply + 'static,
    ) -> Self {
        let mut host = Self {
            pool: Pool::new(Duration::ZERO, config, table).unwrap(),
            now: Duration::ZERO,
            made: Vec::new(),
            cancelled: Vec::new(),
            events: Vec::new(),
            under_way: BTreeMap::new(),
            reply: Box::new(reply),
        };
        host.note_events();
        host
    }

    pub(crate) fn set_reply(&mut self, reply: impl FnMut(&Made) -> Reply + 'static) {
        self.reply = Box::new(reply);
    }

    /// Advances to this time, and does everything that is due up to and at it.
    pub(crate) fn run_until(&mut self, end: Duration) {
        loop {
            self.act();
            let arrival = self.under_way.keys().next().map(|(at, _)| *at);
            let next = self.pool.poll_timeout().into_iter().chain(arrival).min();
            let Some(next) = next.filter(|next| *next <= end) else {
                self.now = end.max(self.now);
                return;
            };
            self.now = next.max(self.now);
            self.receive();
            self.pool.handle_timeout(self.now);
            self.note_events();
        }
    }

    /// Stops for a while. Results arrive in the meantime.
    pub(crate) fn stall_until(&mut self, end: Duration) {
        self.now = end;
        self.receive();
        self.pool.handle_timeout(end);
        self.note_events();
    }

    fn receive(&mut self) {
        while let Some(first) = self.under_way.first_entry() {
            if first.key().0 > self.now {
                break;
            }
            let ((_, id), outcome) = first.remove_entry();
            self.pool.handle_result(self.now, id, outcome);
        }
    }

    pub(crate) fn act(&mut self) {
        while let Some(action) = self.pool.poll_action(self.now) {
            match action {
                Action::Probe(probe) => {
                    let made = Made {
                        at: self.now,
                        address: probe.address,
                        attempt: probe.attempt,
                        until: probe.until,
                        id: probe.id,
                    };
                    self.made.push(made);
                    if let Some((after, outcome)) = (self.reply)(&made) {
                        self.under_way.insert((self.now + after, made.id), outcome);
                    }
                }
                Action::Cancel(id) => {
                    self.cancelled.push((self.now, id));
                    self.under_way.retain(|(_, other), _| *other != id);
                }
            }
        }
        self.note_events();
    }

    pub(crate) fn note_events(&mut self) {
        while let Some(event) = self.pool.poll_event() {
            self.events.push(event);
        }
    }

    pub(crate) fn reload(&mut self, config: Config<&'static str>) {
        self.pool.reconfigure(self.now, config).unwrap();
        self.note_events();
    }

    /// The wanted hosts with their weights.
    pub(crate) fn wanted(&self) -> Vec<(u8, u32)> {
        let Some(entry) = self.pool.wanted_of(&web()) else {
            return Vec::new();
        };
        let host = |destination: &Destination| match destination.key.address {
            std::net::IpAddr::V4(address) => (address.octets()[3], destination.weight.get()),
            std::net::IpAddr::V6(_) => panic!("only IPv4 here"),
        };
        entry.destinations.iter().map(host).collect()
    }

    /// The changes since the last call, as text.
    pub(crate) fn changes(&mut self) -> Vec<String> {
        self.note_events();
        let events = std::mem::take(&mut self.events);
        events
            .iter()
            .map(|event| event.change.to_string())
            .collect()
    }

    /// The first time of a change.
    pub(crate) fn time_of(&self, change: PoolChange) -> Duration {
        let event = self.events.iter().find(|event| event.change == change);
        event
            .unwrap_or_else(|| panic!("{change} in {:#?}", self.events))
            .at
    }

    /// When probes of a host began.
    pub(crate) fn starts(&self, host: u8) -> Vec<Duration> {
        let of_host = self.made.iter().filter(|made| made.host() == host);
        of_host.map(|made| made.at).collect()
    }
}
