//! Properties under any results, times and changes of the configuration.

use std::{collections::BTreeMap, time::Duration};

use ipvs_netlink::{
    ServiceKey, Stats, Table, VirtualServer as Entry, Weight,
    pool::{
        Action, Capacity, Check, Config, Event, Initial, Limit, Operator, Outcome, Panic, Pool,
        PoolChange, ProbeId, Quorum, Usage, Verdict, VirtualServer, WeightReport,
    },
};
use proptest::prelude::*;

use crate::host::*;

/// A step of a host and its surroundings.
#[derive(Clone, Debug)]
enum Step {
    /// Time passes, in milliseconds, and everything that is due is done.
    Pass(u16),
    /// Time passes and nothing is done.
    Stall(u16),
    /// The oldest probe under way, or a later one, has this result.
    Result(u8, Given),
    Reload(Settings),
    Operator(u8, Operator),
    Weight(u8, Option<u16>),
    Suspend(bool),
    Kernel(Vec<(u8, u16, u32)>),
}

#[derive(Clone, Copy, Debug)]
enum Given {
    Success,
    Weight(u16),
    Failure,
    Local,
}

impl From<Given> for Outcome {
    fn from(given: Given) -> Self {
        match given {
            Given::Success => Self::SUCCESS,
            Given::Weight(weight) => Self::Weight(WeightReport::Set(weight.into()), "".into()),
            Given::Failure => refused(),
            Given::Local => Self::LocalFailure("no port".into()),
        }
    }
}

// Each is a setting.
#[allow(clippy::struct_excessive_bools)]
#[derive(Clone, Debug)]
struct Settings {
    servers: Vec<u16>,
    initial: Initial,
    fall: u32,
    rise: u32,
    port: u16,
    quorum: u32,
    percent: bool,
    sorry: bool,
    brake: Option<Limit>,
    panic: Panic,
    inhibit: bool,
    slow_start: bool,
    max_running: u32,
}

impl Settings {
    fn config(&self) -> Config<&'static str> {
        let check = Check {
            initial: self.initial,
            fall: self.fall,
            rise: self.rise,
            port: Some(self.port),
            noise: 5,
            spread: None,
            ..plain()
        };
        let mut first = service(check.clone(), &self.servers);
        first.quorum = Quorum {
            at_least: if self.percent {
                Capacity::Percent(self.quorum * 20)
            } else {
                Capacity::Weight(self.quorum)
            },
            hysteresis: self.quorum / 2,
        };
        first.sorry_server = self.sorry.then(sorry);
        first.brake = self.brake;
        first.panic = self.panic;
        first.inhibit_on_failure = self.inhibit;
        first.slow_start = self.slow_start.then(|| s(5.0));
        // Shares the targets of the first.
        let mut second: VirtualServer<_> = service(check, &self.servers);
        second.service.key = ServiceKey::udp(([192, 0, 2, 1], 80));
        Config {
            max_running: self.max_running,
            ..config(vec![second, first])
        }
    }
}

fn limit() -> impl Strategy<Value = Limit> {
    prop_oneof![
        (0_u32..4).prop_map(Limit::Servers),
        (0_u32..=100).prop_map(Limit::Percent)
    ]
}

fn settings() -> impl Strategy<Value = Settings> {
    let initial = prop_oneof![
        Just(Initial::Up),
        Just(Initial::Down),
        Just(Initial::AsKernel)
    ];
    let panic = prop_oneof![
        Just(Panic::Off),
        Just(Panic::WhenNoneIsLeft),
        (1_u32..=100).prop_map(Panic::BelowPercent)
    ];
    let first = (
        prop::collection::vec(0_u16..5, 0..5),
        initial,
        1_u32..4,
        1_u32..4,
        80_u16..83,
    );
    let second = (
        1_u32..6,
        any::<bool>(),
        any::<bool>(),
        prop::option::of(limit()),
        panic,
    );
    let third = (any::<bool>(), any::<bool>(), 1_u32..6);
    (first, second, third).prop_map(
        |(
            (servers, initial, fall, rise, port),
            (quorum, percent, sorry, brake, panic),
            (inhibit, slow_start, max_running),
        )| Settings {
            servers,
            initial,
            fall,
            rise,
            port,
            quorum: if percent { quorum.min(5) } else { quorum },
            percent,
            sorry,
            brake,
            panic,
            inhibit,
            slow_start,
            max_running,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let given = prop_oneof![
        3 => Just(Given::Success),
        1 => (0_u16..9).prop_map(Given::Weight),
        4 => Just(Given::Failure),
        1 => Just(Given::Local),
    ];
    let operator = prop_oneof![
        Just(Operator::Ready),
        Just(Operator::Drain),
        Just(Operator::Maintenance)
    ];
    prop_oneof![
        4 => (0_u16..3000).prop_map(Step::Pass),
        1 => (0_u16..9000).prop_map(Step::Stall),
        8 => (any::<u8>(), given).prop_map(|(place, given)| Step::Result(place, given)),
        2 => settings().prop_map(Step::Reload),
        1 => (1_u8..6, operator).prop_map(|(server, operator)| Step::Operator(server, operator)),
        1 => (1_u8..6, prop::option::of(0_u16..9))
            .prop_map(|(server, weight)| Step::Weight(server, weight)),
        1 => any::<bool>().prop_map(Step::Suspend),
        1 => prop::collection::vec((1_u8..6, 0_u16..3, 0_u32..2), 0..5).prop_map(Step::Kernel),
    ]
}

/// A pool with the probes that are under way.
struct Run {
    pool: Pool<&'static str>,
    settings: Settings,
    now: Duration,
    under_way: BTreeMap<ProbeId, Duration>,
    events: Vec<Event>,
    log: Vec<String>,
}

impl Run {
    fn new(settings: &Settings) -> Self {
        let pool = Pool::new(Duration::ZERO, settings.config(), &Table::default()).unwrap();
        let mut run = Self {
            pool,
            settings: settings.clone(),
            now: Duration::ZERO,
            under_way: BTreeMap::new(),
            events: Vec::new(),
            log: Vec::new(),
        };
        run.act();
        run
    }

    fn act(&mut self) {
        while let Some(action) = self.pool.poll_action(self.now) {
            self.log.push(format!("{action:?}"));
            match action {
                Action::Probe(probe) => {
                    assert!(self.under_way.insert(probe.id, probe.until).is_none());
                    assert!(probe.until > self.now);
                }
                Action::Cancel(id) => {
                    self.under_way.remove(&id);
                }
            }
        }
        while let Some(event) = self.pool.poll_event() {
            self.events.push(event);
        }
    }

    fn step(&mut self, step: &Step) {
        let millis = |ms: u16| Duration::from_millis(ms.into());
        match step {
            Step::Pass(ms) => {
                let end = self.now + millis(*ms);
                while let Some(at) = self.pool.poll_timeout().filter(|at| *at <= end) {
                    self.now = at.max(self.now);
                    self.pool.handle_timeout(self.now);
                    self.act();
                }
                self.now = end;
            }
            Step::Stall(ms) => {
                self.now += millis(*ms);
                self.pool.handle_timeout(self.now);
            }
            Step::Result(place, given) => {
                let count = self.under_way.len();
                let place = usize::from(*place) % count.max(1);
                if let Some(id) = self.under_way.keys().nth(place).copied() {
                    self.under_way.remove(&id);
                    self.pool.handle_result(self.now, id, (*given).into());
                }
            }
            Step::Reload(settings) => {
                self.settings = settings.clone();
                self.pool.reconfigure(self.now, settings.config()).unwrap();
            }
            Step::Operator(server, operator) => {
                // There may be no such server.
                let _ = self
                    .pool
                    .set_operator(self.now, &web(), &key(*server), *operator);
            }
            Step::Weight(server, weight) => {
                let weight = weight.map(Weight::from);
                let _ = self
                    .pool
                    .set_weight(self.now, &web(), &key(*server), weight);
            }
            Step::Suspend(suspended) => {
                self.pool
                    .set_suspended(self.now, &web(), *suspended)
                    .unwrap();
            }
            Step::Kernel(servers) => {
                let servers: Vec<_> = servers
                    .iter()
                    .map(|(host, weight, connections)| {
                        (*host, *weight, *connections, Stats::default())
                    })
                    .collect();
                self.pool.handle_table(self.now, &listed(&servers));
            }
        }
        self.act();
    }

    fn check(&self) {
        let wanted = self.pool.wanted();
        assert!(wanted.is_sorted_by_key(|entry| entry.service.key));
        for entry in &wanted {
            assert!(
                entry
                    .destinations
                    .is_sorted_by_key(|destination| destination.key)
            );
            self.check_served(entry);
        }
        assert!(u32::try_from(self.under_way.len()).unwrap() >= self.pool.running());
        if let Some(at) = self.pool.poll_timeout() {
            assert!(at > self.now, "everything is done that is due");
        }
        self.check_counters();
    }

    fn check_served(&self, entry: &Entry) {
        let service = entry.service.key;
        let status = self.pool.status(&service).unwrap();
        let explanations: Vec<_> = status
            .servers
            .iter()
            .map(|server| self.pool.explain(&service, server).unwrap())
            .collect();
        let is_served = entry
            .destinations
            .iter()
            .any(|destination| destination.weight > Weight::ZERO);
        let is_good = explanations.iter().any(|server| {
            server.health == Verdict::Up
                && server.operator == Operator::Ready
                && server.full_weight > Weight::ZERO
        });
        let has_sorry = self.settings.sorry && service == web();
        assert!(
            is_served || !is_good && !has_sorry,
            "{entry:?} {explanations:#?}"
        );

        // A server in the table is explained as such, with its weight.
        for server in &explanations {
            let found = entry
                .destinations
                .iter()
                .find(|other| other.key == server.server);
            assert_eq!(
                found.map(|found| found.weight),
                server.weight,
                "{server:#?}"
            );
            assert_eq!(
                matches!(server.usage, Usage::Out(_)),
                server.weight.is_none()
            );
        }

        // The brake holds.
        if let Some(brake) = self.settings.brake
            && service == web()
            && !status.sorry_in
        {
            let ready = explanations
                .iter()
                .filter(|server| server.operator == Operator::Ready);
            let limit = match brake {
                Limit::Servers(servers) => servers as usize,
                Limit::Percent(percent) => (ready.count() * percent as usize / 100).max(1),
            };
            let taken_out = self.taken_out(&explanations);
            assert!(
                taken_out <= limit,
                "{taken_out} of {limit}: {explanations:#?}"
            );
        }
    }

    /// Servers that were in and that checks took out.
    fn taken_out(&self, explanations: &[ipvs_netlink::pool::Explanation]) -> usize {
        use ipvs_netlink::pool::Out;
        let taken_out = explanations.iter().filter(|server| {
            let is_out = matches!(
                server.usage,
                Usage::Out(Out::Down) | Usage::Inhibited(Out::Down)
            );
            // Up at some time since it was added, or since the operator took it out.
            let last = self.events.iter().rev().find(|event| {
                event.service == server.service
                    && matches!(event.change,
                        PoolChange::ServerUp(other)
                        | PoolChange::ServerAdded(other)
                        | PoolChange::Operator(other, Operator::Drain | Operator::Maintenance)
                        if other == server.server)
            });
            is_out
                && matches!(
                    last.map(|event| event.change),
                    Some(PoolChange::ServerUp(_))
                )
        });
        taken_out.count()
    }

    fn check_counters(&self) {
        let counters = self.pool.counters();
        assert_eq!(counters.events(), self.events.len() as u64);
        let count = |matches: fn(&PoolChange) -> bool| {
            self.events
                .iter()
                .filter(|event| matches(&event.change))
                .count() as u64
        };
        assert_eq!(
            counters.servers_up,
            count(|c| matches!(c, PoolChange::ServerUp(_)))
        );
        assert_eq!(
            counters.servers_down,
            count(|c| matches!(c, PoolChange::ServerDown(_)))
        );
        assert_eq!(
            counters.quorum_gained,
            count(|c| matches!(c, PoolChange::QuorumGained(_)))
        );
        assert_eq!(
            counters.quorum_lost,
            count(|c| matches!(c, PoolChange::QuorumLost(_)))
        );
        assert_eq!(
            counters.sorry_in,
            count(|c| matches!(c, PoolChange::SorryIn(_)))
        );
        assert_eq!(
            counters.sorry_out,
            count(|c| matches!(c, PoolChange::SorryOut(_)))
        );
        let ended = counters.successes + counters.failures + counters.local_failures;
        let running = u64::from(self.pool.running());
        assert_eq!(counters.probes, ended + counters.cancelled + running);
        // Sequence without a gap, time never backwards.
        for (place, event) in self.events.iter().enumerate() {
            assert_eq!(event.sequence, place as u64);
        }
        assert!(self.events.is_sorted_by_key(|event| event.at));
    }

    /// Gains and losses of a quorum alternate.
    fn check_alternation(&self) {
        let mut gained = BTreeMap::new();
        for event in &self.events {
            let level = match event.change {
                PoolChange::QuorumGained(_) => true,
                PoolChange::QuorumLost(_) => false,
                _ => continue,
            };
            assert_ne!(gained.insert(event.service, level), Some(level), "{event}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn whatever_happens_a_service_with_a_server_has_one(
        first in settings(),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut run = Run::new(&first);
        run.check();
        for step in &steps {
            run.step(step);
            run.check();
        }
        run.check_alternation();
    }

    #[test]
    fn the_same_inputs_give_the_same_outputs(
        first in settings(),
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let outputs = |_| {
            let mut run = Run::new(&first);
            let mut tables = Vec::new();
            for step in &steps {
                run.step(step);
                tables.push(run.pool.wanted());
            }
            (tables, run.events, run.log)
        };
        prop_assert_eq!(outputs(0), outputs(1));
    }

    /// Reloads at any times, with any settings but those that end a check: every server of the
    /// configuration is probed within the longest interval and the time that the cap costs.
    #[test]
    fn no_check_starves_under_reloads(
        interval in 1_u64..5,
        changes in prop::collection::vec((1_u64..1500, 0_u16..3, any::<bool>()), 40..80),
    ) {
        let config = |port: u16, slow: bool| {
            let check = Check {
                interval: Duration::from_secs(if slow { interval * 2 } else { interval }),
                port: Some(80 + port),
                noise: 5,
                spread: None,
                ..plain()
            };
            config(vec![service(check, &[1, 1, 1])])
        };
        let mut host = Host::new(config(0, false), |_| Some((Duration::ZERO, Outcome::SUCCESS)));
        for (after, port, slow) in changes {
            let next = host.now + Duration::from_millis(after);
            host.run_until(next);
            host.reload(config(port, slow));
        }
        host.act();
        let longest = Duration::from_secs(interval * 2);
        for server in 1..=3 {
            let mut starts = host.starts(server);
            starts.insert(0, Duration::ZERO);
            starts.push(host.now);
            for pair in starts.windows(2) {
                prop_assert!(pair[1] - pair[0] <= longest, "server {} {:?}", server, pair);
            }
        }
    }
}
