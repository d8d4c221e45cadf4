#![no_main]
//! Results, times, operators, tables and configurations in any order: the pool does not panic,
//! hands out each probe once, and never leaves a service without traffic while it has a good server
//! or its sorry server is in use.

use std::{collections::BTreeSet, time::Duration};

use arbitrary::Arbitrary;
use ipvs_netlink::{
    Destination, DestinationKey, ForwardingMethod, ListedDestination, ListedService, Scheduler,
    Service, ServiceKey, Stats, Table, TableEntry, Weight,
    pool::{
        Action, Capacity, Check, Config, Effect, FailureKind, FirstResult, Initial, Limit,
        Operator, Outcome, Pace, Panic, Passive, Pool, Quorum, RealServer, SorryServer, Verdict,
        VirtualServer, WeightReport,
    },
};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input {
    first: Settings,
    steps: Vec<Step>,
}

#[derive(Arbitrary, Debug)]
struct Settings {
    services: Vec<Server>,
    max_running: u8,
    seed: u8,
}

#[derive(Arbitrary, Debug)]
struct Server {
    port: u8,
    servers: Vec<(u8, u16)>,
    checks: Vec<Probe>,
    quorum: (bool, u8, u8),
    sorry: Option<(u8, bool)>,
    brake: Option<(bool, u8)>,
    panic: Option<u8>,
    inhibit: bool,
    omega: bool,
    slow_start: Option<u16>,
    passive: Option<u8>,
}

#[derive(Arbitrary, Debug)]
struct Probe {
    probes: Vec<u8>,
    port: Option<u8>,
    millis: [u16; 5],
    fall: u8,
    rise: u8,
    counts: bool,
    initial: u8,
    after_start: bool,
    noise: u8,
    spread: Option<u16>,
    weigh: Option<i8>,
    retry_while_down: bool,
}

#[derive(Arbitrary, Debug)]
enum Step {
    Sleep,
    Pass(u16),
    Jump(u64),
    Result(u8, u8),
    Stale(u8),
    Reload(Settings),
    Operator(u8, u8, u8),
    Weight(u8, u8, Option<u32>),
    Suspend(u8, bool),
    Kernel(u8, Vec<(u8, u8, u8)>, bool),
    Stop,
}

fn key(host: u8) -> DestinationKey {
    DestinationKey::new(([10, 0, 0, host % 8], 80))
}

fn service_key(port: u8) -> ServiceKey {
    ServiceKey::tcp(([192, 0, 2, 1], u16::from(port % 4)))
}

fn millis(millis: u16) -> Duration {
    Duration::from_millis(millis.into())
}

impl Probe {
    fn check(&self) -> Check<u8> {
        let [interval, fast, rising, down, limit] = self.millis.map(millis);
        Check {
            port: self.port.map(u16::from),
            interval,
            fast_interval: Some(fast),
            rising_interval: Some(rising),
            down_interval: Some(down),
            time_limit: limit,
            fall: self.fall.into(),
            rise: self.rise.into(),
            first_result: if self.counts {
                FirstResult::Counts
            } else {
                FirstResult::Decides
            },
            initial: match self.initial % 3 {
                0 => Initial::Up,
                1 => Initial::Down,
                _ => Initial::AsKernel,
            },
            pace: if self.after_start {
                Pace::AfterStart
            } else {
                Pace::AfterEnd
            },
            noise: self.noise.into(),
            spread: self.spread.map(millis),
            effect: match self.weigh {
                Some(points) => Effect::Weigh(WeightReport::Add(points.into())),
                None => Effect::TakeOut,
            },
            retry_while_down: self.retry_while_down,
            ..Check::of(self.probes.clone())
        }
    }
}

impl Server {
    fn service(&self) -> VirtualServer<u8> {
        let service = Service::new(service_key(self.port), Scheduler::WRR);
        let mut service = VirtualServer::new(service);
        for (host, weight) in &self.servers {
            service.servers.push(RealServer::new(Destination {
                weight: (*weight).into(),
                ..Destination::new(key(*host), ForwardingMethod::Masquerade)
            }));
        }
        service.checks = self.checks.iter().take(3).map(Probe::check).collect();
        let (percent, at_least, hysteresis) = self.quorum;
        service.quorum = Quorum {
            at_least: if percent {
                Capacity::Percent(at_least.into())
            } else {
                Capacity::Weight(at_least.into())
            },
            hysteresis: hysteresis.into(),
        };
        service.sorry_server = self.sorry.map(|(host, inhibit)| SorryServer {
            inhibit,
            ..SorryServer::new(key(host), ForwardingMethod::Masquerade)
        });
        service.brake = self.brake.map(|(percent, limit)| {
            if percent {
                Limit::Percent(limit.into())
            } else {
                Limit::Servers(limit.into())
            }
        });
        service.panic = match self.panic {
            None => Panic::Off,
            Some(0) => Panic::WhenNoneIsLeft,
            Some(percent) => Panic::BelowPercent(percent.into()),
        };
        service.inhibit_on_failure = self.inhibit;
        service.omega = self.omega;
        service.slow_start = self.slow_start.map(millis);
        service.passive = self.passive.map(|connections| Passive {
            connections_without_answer: connections.into(),
        });
        service
    }
}

impl Settings {
    fn config(&self) -> Config<u8> {
        Config {
            services: self.services.iter().map(Server::service).collect(),
            max_running: self.max_running.into(),
            seed: self.seed.into(),
            ..Config::default()
        }
    }
}

fn outcome(number: u8) -> Outcome {
    match number % 5 {
        0 => Outcome::SUCCESS,
        1 => Outcome::Weight(WeightReport::Set(number.into()), "".into()),
        2 => Outcome::Weight(WeightReport::Percent(number.into()), "".into()),
        3 => Outcome::failure(FailureKind::Closed, ""),
        _ => Outcome::LocalFailure("no port".into()),
    }
}

fn table(port: u8, servers: &[(u8, u8, u8)], may_be_incomplete: bool) -> Table {
    let listed = |(host, weight, connections): &(u8, u8, u8)| ListedDestination {
        destination: Destination {
            weight: u16::from(*weight).into(),
            ..Destination::new(key(*host), ForwardingMethod::Masquerade)
        },
        active_connections: (*connections).into(),
        inactive_connections: 0,
        persistent_connections: 0,
        stats: Stats {
            connections: (*connections).into(),
            ..Stats::default()
        },
        unknown: Vec::new(),
    };
    Table {
        entries: vec![TableEntry {
            service: ListedService {
                service: Service::new(service_key(port), Scheduler::WRR),
                stats: Stats::default(),
                unknown: Vec::new(),
            },
            destinations: servers.iter().map(listed).collect(),
        }],
        may_be_incomplete,
        ..Table::default()
    }
}

fn check(pool: &mut Pool<u8>, events: &mut u64) {
    for entry in pool.wanted() {
        assert!(entry.destinations.is_sorted_by_key(|other| other.key));
        let key = entry.service.key;
        let status = pool.status(&key).expect("wanted, so configured");
        let traffic = entry
            .destinations
            .iter()
            .any(|other| other.weight > Weight::ZERO);
        assert!(traffic || !status.sorry_in);
        for server in status.servers {
            let server = pool.explain(&key, &server).expect("listed");
            assert!(!server.to_string().is_empty());
            let is_good = server.health == Verdict::Up
                && server.operator == Operator::Ready
                && server.full_weight > Weight::ZERO;
            assert!(traffic || !is_good);
        }
    }
    while let Some(event) = pool.poll_event() {
        assert_eq!(event.sequence, *events);
        assert!(!event.to_string().is_empty());
        *events += 1;
    }
    assert_eq!(pool.counters().events(), *events);
}

fuzz_target!(|input: Input| {
    let config = input.first.config();
    let valid = config.validate().is_ok();
    let mut now = Duration::ZERO;
    let Ok(mut pool) = Pool::new(now, config, &Table::default()) else {
        assert!(!valid);
        return;
    };
    let mut events = 0;
    let mut under_way = BTreeSet::new();
    let mut over = Vec::new();
    for step in &input.steps {
        match step {
            Step::Sleep => now = pool.poll_timeout().unwrap_or(now).max(now),
            Step::Pass(time) => now += millis(*time),
            Step::Jump(nanos) => now = Duration::from_nanos(*nanos),
            Step::Result(place, number) => {
                let place = usize::from(*place) % under_way.len().max(1);
                if let Some(id) = under_way.iter().nth(place).copied() {
                    under_way.remove(&id);
                    over.push(id);
                    pool.handle_result(now, id, outcome(*number));
                }
            }
            Step::Stale(place) => {
                let place = usize::from(*place) % over.len().max(1);
                if let Some(id) = over.get(place) {
                    let before = pool.counters();
                    pool.handle_result(now, *id, outcome(3));
                    assert_eq!(pool.counters().failures, before.failures);
                }
            }
            Step::Reload(settings) => {
                let config = settings.config();
                let valid = config.validate().is_ok();
                assert_eq!(pool.reconfigure(now, config).is_ok(), valid);
            }
            Step::Operator(port, host, operator) => {
                let operator = match operator % 3 {
                    0 => Operator::Ready,
                    1 => Operator::Drain,
                    _ => Operator::Maintenance,
                };
                let _ = pool.set_operator(now, &service_key(*port), &key(*host), operator);
            }
            Step::Weight(port, host, weight) => {
                let weight = weight.and_then(|weight| Weight::new(weight).ok());
                let _ = pool.set_weight(now, &service_key(*port), &key(*host), weight);
            }
            Step::Suspend(port, suspended) => {
                let _ = pool.set_suspended(now, &service_key(*port), *suspended);
            }
            Step::Kernel(port, servers, may_be_incomplete) => {
                pool.handle_table(now, &table(*port, servers, *may_be_incomplete));
            }
            Step::Stop => pool.stop(now),
        }
        pool.handle_timeout(now);
        // Intervals of zero are refused, so this loop ends.
        while let Some(action) = pool.poll_action(now) {
            match action {
                Action::Probe(probe) => {
                    assert!(under_way.insert(probe.id), "handed out once");
                }
                Action::Cancel(id) => {
                    under_way.remove(&id);
                    over.push(id);
                }
            }
        }
        assert!(under_way.len() <= 255);
        assert_eq!(under_way.len(), pool.running() as usize);
        check(&mut pool, &mut events);
    }
});
