//! Model checking: every situation that a service with three servers can get into.
//!
//! Results come in any order and at any time, as the model makes any target due at any moment.
//! Situations are equal when everything that affects later decisions is equal; of times, only the
//! order does.

use std::{
    hash::{Hash, Hasher},
    time::Duration,
};

use stateright::{Checker, HasDiscoveries, Model, Property};

use super::*;
use crate::{
    Destination, DestinationKey, ForwardingMethod, Scheduler, Service, ServiceKey, Table, Weight,
};

const SERVERS: u8 = 3;

/// After all steps of any check.
const LATER: Duration = Duration::from_secs(1 << 30);

const SERVED: &str = "a server that is good, or the sorry server, gets traffic";
const BRAKED: &str = "checks take out no more servers than the brake allows";
const ALONE: &str = "the sorry server is in exactly while the quorum is not there";
const QUORUM: &str = "the quorum is within its hysteresis";
const HEALED: &str = "all servers that are good are in";

/// A service, and what may happen to it.
struct World {
    /// The first one is in force at the start.
    configs: Vec<VirtualServer<&'static str>>,
    operator: bool,
    /// Properties that do not hold, for the test that they are found.
    limit: usize,
}

#[derive(Clone, Debug)]
struct Situation {
    pool: Pool<&'static str>,
    config: usize,
    now: Duration,
}

/// Everything of a server that affects later decisions.
type ServerFacts = (
    Verdict,
    bool,
    u32,
    u32,
    Verdict,
    usize,
    [bool; 2],
    Operator,
    Option<Weight>,
);

impl Situation {
    fn facts(&self) -> (usize, Level, bool, usize, usize, Vec<ServerFacts>) {
        let service = &self.pool.services[0];
        let servers = service.servers.iter().map(|server| {
            let check = &server.checks[0];
            let rank = service.servers.iter();
            let rank = rank.filter(|other| other.since < server.since).count();
            (
                check.verdict,
                check.unchecked,
                // Greater counts have the same effect.
                check.failures.min(check.check.fall),
                check.successes.min(check.check.rise),
                server.health,
                rank,
                [server.was_in, server.was_up],
                server.operator,
                server.placed,
            )
        });
        (
            self.config,
            service.quorum,
            service.sorry_in,
            service.braked,
            service.panicking,
            servers.collect(),
        )
    }

    fn service(&self) -> &service::ServiceState<&'static str> {
        &self.pool.services[0]
    }
}

impl PartialEq for Situation {
    fn eq(&self, other: &Self) -> bool {
        self.facts() == other.facts()
    }
}

impl Eq for Situation {}

impl Hash for Situation {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Two situations differ exactly if the texts of their facts differ.
        format!("{:?}", self.facts()).hash(state);
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Result(u8, bool),
    Operator(u8, Operator),
    Reload(usize),
}

fn web() -> ServiceKey {
    ServiceKey::tcp(([192, 0, 2, 1], 80))
}

fn key(server: u8) -> DestinationKey {
    DestinationKey::new(([10, 0, 0, server], 80))
}

fn service(initial: Initial, fall: u32, rise: u32) -> VirtualServer<&'static str> {
    let mut service = VirtualServer::new(Service::new(web(), Scheduler::WRR));
    service.checks.push(Check {
        fall,
        rise,
        initial,
        ..Check::new("tcp")
    });
    for server in 1..=SERVERS {
        let destination = Destination::new(key(server), ForwardingMethod::Masquerade);
        service.servers.push(RealServer::new(destination));
    }
    service
}

fn sorry() -> SorryServer {
    SorryServer::new(key(99), ForwardingMethod::Masquerade)
}

impl World {
    fn new(configs: Vec<VirtualServer<&'static str>>) -> Self {
        Self {
            configs,
            operator: false,
            limit: usize::MAX,
        }
    }

    fn config(&self, place: usize) -> Config<&'static str> {
        Config {
            services: vec![self.configs[place].clone()],
            ..Config::default()
        }
    }

    fn assert_holds(self) -> usize {
        let checker = self.checker().spawn_bfs().join();
        checker.assert_properties();
        checker.unique_state_count()
    }
}

impl Model for World {
    type State = Situation;
    type Action = Step;

    fn init_states(&self) -> Vec<Situation> {
        let now = Duration::ZERO;
        let pool = Pool::new(now, self.config(0), &Table::default()).unwrap();
        let config = 0;
        vec![Situation { pool, config, now }]
    }

    fn actions(&self, situation: &Situation, steps: &mut Vec<Step>) {
        for server in 1..=SERVERS {
            steps.push(Step::Result(server, true));
            steps.push(Step::Result(server, false));
        }
        if self.operator {
            for operator in [Operator::Ready, Operator::Drain, Operator::Maintenance] {
                steps.push(Step::Operator(1, operator));
            }
        }
        let others = (0..self.configs.len()).filter(|place| *place != situation.config);
        steps.extend(others.map(Step::Reload));
    }

    fn next_state(&self, last: &Situation, step: Step) -> Option<Situation> {
        let mut next = last.clone();
        next.now += Duration::from_secs(1);
        let now = next.now;
        match step {
            Step::Result(server, is_good) => {
                let place = usize::from(server - 1);
                let slot = next.service().servers[place].checks[0].target;
                // None is due in maintenance.
                next.pool.starts.get(slot)?;
                for other in 0..u32::from(u8::MAX) {
                    if next.pool.starts.get(other).is_some() {
                        let at = if other == slot { now } else { LATER };
                        next.pool.starts.set_prompt(other, at);
                    }
                }
                let Some(Action::Probe(probe)) = next.pool.poll_action(now) else {
                    panic!("a target is due");
                };
                let id = probe.id;
                let outcome = if is_good {
                    Outcome::SUCCESS
                } else {
                    Outcome::failure(FailureKind::Refused, "")
                };
                next.pool.handle_result(now, id, outcome);
            }
            Step::Operator(server, operator) => {
                next.pool
                    .set_operator(now, &web(), &key(server), operator)
                    .unwrap();
            }
            Step::Reload(config) => {
                next.pool.reconfigure(now, self.config(config)).unwrap();
                next.config = config;
            }
        }
        while next.pool.poll_event().is_some() {}
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(SERVED, |_, situation: &Situation| {
                let service = situation.service();
                let traffic = |destination: &Destination| destination.weight > Weight::ZERO;
                let good = |server: &server::ServerState<_>| {
                    server.health == Verdict::Up && server.is_ready()
                };
                let has_sorry = service.config.sorry_server.is_some();
                service.wanted.iter().any(traffic)
                    || !has_sorry && !service.servers.iter().any(good)
            }),
            Property::always(BRAKED, |world: &World, situation: &Situation| {
                let service = situation.service();
                let out = service
                    .servers
                    .iter()
                    .filter(|server| server.has_failed() && server.usage == Usage::Out(Out::Down));
                let limit = match service.config.brake {
                    Some(Limit::Servers(limit)) => limit as usize,
                    _ => usize::MAX,
                };
                out.count() <= limit.min(world.limit)
            }),
            Property::always(ALONE, |_, situation: &Situation| {
                let service = situation.service();
                let is_in = service.wanted.iter().any(|other| other.key == key(99));
                let is_lost = service.quorum != Level::Up;
                let real = service.wanted.iter().any(|other| other.key != key(99));
                is_in == (is_lost && service.config.sorry_server.is_some()) && !(is_in && real)
            }),
            Property::always(QUORUM, |_, situation: &Situation| {
                let service = situation.service();
                let Capacity::Weight(needed) = service.config.quorum.at_least else {
                    return false;
                };
                let (needed, hysteresis) = (
                    u64::from(needed),
                    u64::from(service.config.quorum.hysteresis),
                );
                match service.quorum {
                    Level::Up => service.live >= (needed - hysteresis).max(1),
                    Level::Down => service.live < (needed + hysteresis).min(SERVERS.into()),
                    Level::Unknown => true,
                }
            }),
            Property::always(HEALED, |_, situation: &Situation| {
                let service = situation.service();
                let good = |server: &&server::ServerState<_>| {
                    server.health == Verdict::Up && server.is_ready()
                };
                let mut good = service.servers.iter().filter(good);
                service.sorry_in || good.all(|server| server.usage == Usage::In(In::Up))
            }),
            Property::sometimes("all servers are down", |_, situation: &Situation| {
                let servers = &situation.service().servers;
                servers.iter().all(|server| server.health == Verdict::Down)
            }),
            Property::sometimes("all servers are up", |_, situation: &Situation| {
                let servers = &situation.service().servers;
                servers.iter().all(|server| server.health == Verdict::Up)
            }),
        ]
    }
}

#[test]
fn a_service_with_fall_and_rise() {
    for initial in [Initial::Up, Initial::Down, Initial::AsKernel] {
        let count = World::new(vec![service(initial, 2, 2)]).assert_holds();
        assert!(count > 100, "{count}");
    }
}

#[test]
fn a_service_with_a_sorry_server_and_hysteresis() {
    let mut with_sorry = service(Initial::AsKernel, 1, 2);
    with_sorry.sorry_server = Some(sorry());
    with_sorry.quorum = Quorum {
        at_least: Capacity::Weight(2),
        hysteresis: 1,
    };
    World::new(vec![with_sorry]).assert_holds();
}

#[test]
fn a_service_with_a_brake_and_an_operator() {
    let mut braked = service(Initial::Up, 1, 1);
    braked.brake = Some(Limit::Servers(1));
    let mut world = World::new(vec![braked]);
    world.operator = true;
    world.assert_holds();
}

#[test]
fn a_service_whose_configuration_changes() {
    let first = service(Initial::AsKernel, 1, 1);
    let mut second = service(Initial::Down, 1, 1);
    second.checks[0].port = Some(81);
    second.sorry_server = Some(sorry());
    let mut third = service(Initial::Up, 2, 1);
    third.brake = Some(Limit::Servers(0));
    World::new(vec![first, second, third]).assert_holds();
}

#[test]
fn a_brake_that_does_not_hold_is_found() {
    let mut world = World::new(vec![service(Initial::Up, 1, 1)]);
    world.limit = 1;
    let found = HasDiscoveries::AnyOf([BRAKED].into());
    let checker = world.checker().finish_when(found).spawn_bfs().join();
    checker.assert_any_discovery(BRAKED);
}
