//! How evenly checks start, above all after the host stood still.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use ipvs_netlink::{
    Destination, DestinationKey, ForwardingMethod, ListedDestination, Scheduler, Service,
    ServiceKey, Stats, Table,
    pool::{
        Action, Check, Config, Initial, Outcome, Passive, Pool, PoolChange, ProbeId, RealServer,
        VirtualServer,
    },
};
use proptest::prelude::*;

use crate::host::*;

/// The time in which starts are counted.
const WINDOW: Duration = Duration::from_millis(20);
/// The starts that may come on top in a window.
const EXTRA: usize = 33;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The servers from `from` up to `to`.
fn servers(from: u16, to: u16) -> impl Iterator<Item = RealServer<&'static str>> {
    (from..to).map(|number| {
        let [high, low] = number.to_be_bytes();
        let key = DestinationKey::new(([10, 0, high, low], 80));
        RealServer::new(Destination::new(key, ForwardingMethod::Masquerade))
    })
}

/// So many servers, in services of up to 50.
fn many(check: &Check<&'static str>, count: u16) -> Config<&'static str> {
    let services = (0..count.div_ceil(50)).map(|number| {
        let [high, low] = number.to_be_bytes();
        let key = ServiceKey::tcp(([192, 0, high, low], 80));
        let mut service = VirtualServer::new(Service::new(key, Scheduler::WRR));
        service.checks.push(check.clone());
        let from = number * 50;
        service.servers.extend(servers(from, count.min(from + 50)));
        service
    });
    config(services.collect())
}

/// Every `interval`, with the noise and the spread of a check without settings.
fn every(interval: Duration) -> Check<&'static str> {
    Check {
        interval,
        ..Check::new("tcp")
    }
}

/// A host that only keeps the starts of its probes. Each takes `takes`.
struct Crowd {
    pool: Pool<&'static str>,
    now: Duration,
    takes: Duration,
    outcome: Outcome,
    starts: Vec<(Duration, SocketAddr)>,
    /// How often it woke up because a probe could start or had a result.
    wakes: usize,
    under_way: BTreeSet<(Duration, ProbeId)>,
}

impl Crowd {
    fn new(config: Config<&'static str>) -> Self {
        Self {
            pool: Pool::new(Duration::ZERO, config, &Table::default()).unwrap(),
            now: Duration::ZERO,
            takes: ms(1),
            outcome: Outcome::SUCCESS,
            starts: Vec::new(),
            wakes: 0,
            under_way: BTreeSet::new(),
        }
    }

    /// Does everything that can be done now.
    fn turn(&mut self) {
        while let Some((at, id)) = self.under_way.first().copied() {
            if at > self.now {
                break;
            }
            self.under_way.pop_first();
            self.pool.handle_result(self.now, id, self.outcome.clone());
        }
        self.pool.handle_timeout(self.now);
        while let Some(action) = self.pool.poll_action(self.now) {
            if let Action::Probe(probe) = action {
                self.starts.push((self.now, probe.address));
                self.under_way.insert((self.now + self.takes, probe.id));
            }
        }
        if let Some(at) = self.pool.poll_timeout() {
            assert!(at > self.now, "everything that may start has started");
        }
    }

    /// Runs for this time without a stall.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        self.turn();
        loop {
            let result = self.under_way.first().map(|(at, _)| *at);
            let timeout = self.pool.poll_timeout();
            let Some(next) = timeout.into_iter().chain(result).min() else {
                break;
            };
            if next > end {
                break;
            }
            self.now = self.now.max(next);
            self.wakes += 1;
            self.turn();
        }
        self.now = end;
    }

    fn stall(&mut self, time: Duration) {
        self.now += time;
    }

    /// The most starts in any window, of those after `from`.
    fn most(&self, from: Duration) -> usize {
        let after = |(at, _): &&(Duration, SocketAddr)| *at >= from;
        let starts: Vec<_> = self.starts.iter().filter(after).map(|it| it.0).collect();
        let mut first = 0;
        let mut most = 0;
        for (place, at) in starts.iter().enumerate() {
            while starts[first] + WINDOW <= *at {
                first += 1;
            }
            most = most.max(place + 1 - first);
        }
        most
    }

    /// The times of the starts of each server.
    fn by_server(&self) -> BTreeMap<SocketAddr, Vec<Duration>> {
        let mut all: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (at, server) in &self.starts {
            all.entry(*server).or_default().push(*at);
        }
        all
    }
}

/// Twice the mean number of starts in a window, and a few.
fn bound(count: u16, interval: Duration) -> usize {
    let mean = u128::from(count) * WINDOW.as_nanos() / interval.as_nanos();
    2 * usize::try_from(mean).unwrap() + EXTRA
}

#[test]
fn after_stalls_checks_start_at_no_more_than_twice_their_mean_rate() {
    // The budget: 5,000 checks a second, and a host that stands still again and again.
    let mut crowd = Crowd::new(many(&every(s(1.0)), 5000));
    crowd.run(s(3.0));
    for stall in [55, 55, 55, 10, 20, 300, 1500] {
        crowd.stall(ms(stall));
        crowd.run(ms(945));
    }
    let (most, mean) = (crowd.most(s(3.0)), 100);
    assert!(
        most <= 2 * mean,
        "{most} starts in 20 ms, {mean} on average"
    );
}

#[test]
fn without_stalls_no_check_waits_for_another() {
    for (count, interval) in [(20, 2), (300, 10), (1000, 1), (5000, 1)] {
        let check = every(Duration::from_secs(interval));
        let mut crowd = Crowd::new(many(&check, count));
        crowd.run(Duration::from_secs(interval * 6));
        for (server, starts) in crowd.by_server() {
            for pair in starts.windows(2) {
                // The interval, its probe, and as much as a timer is late.
                let longest = Duration::from_secs(interval) + crowd.takes + ms(5);
                assert!(pair[1] - pair[0] <= longest, "{count}: {server} {pair:?}");
            }
            assert!(starts.len() > 5, "{count}: {server} {starts:?}");
        }
    }
}

#[test]
fn first_checks_of_new_servers_do_not_wait_while_others_are_caught_up_with() {
    let check = Check {
        initial: Initial::Up,
        ..every(s(10.0))
    };
    let mut crowd = Crowd::new(many(&check, 3000));
    crowd.run(s(21.0));
    crowd.stall(s(5.0));
    crowd.run(ms(1));
    let reload = crowd.now;
    crowd.pool.reconfigure(reload, many(&check, 5000)).unwrap();
    crowd.run(s(1.001));
    let starts = crowd.by_server();
    assert_eq!(starts.len(), 5000, "each new one within its spread of 1 s");
}

#[test]
fn failures_of_all_servers_at_once_are_found_as_early_as_the_failure_of_one() {
    let check = Check {
        fast_interval: Some(ms(500)),
        fall: 3,
        initial: Initial::Up,
        ..every(s(10.0))
    };
    let mut crowd = Crowd::new(many(&check, 2000));
    crowd.run(s(30.0));
    while crowd.pool.poll_event().is_some() {}
    let died = crowd.now;
    crowd.outcome = refused();
    crowd.run(s(11.2));
    let mut down = 0;
    let starts = crowd.by_server();
    while let Some(event) = crowd.pool.poll_event() {
        let PoolChange::ServerDown(server) = event.change else {
            continue;
        };
        down += 1;
        let starts = &starts[&SocketAddr::new(server.address, server.port)];
        let first = starts.iter().find(|at| **at + crowd.takes > died).unwrap();
        let bound = *first + (crowd.takes + ms(500)) * 2 + crowd.takes + ms(10);
        assert!(event.at <= bound, "{server}: {:?} {bound:?}", event.at);
    }
    assert_eq!(down, 2000);
}

#[test]
fn servers_with_signs_of_failure_are_probed_at_once_however_many_they_are() {
    let mut service = service(every(s(3600.0)), &[]);
    service.servers.extend(servers(0, 200));
    service.passive = Some(Passive {
        connections_without_answer: 5,
    });
    let mut crowd = Crowd::new(config(vec![service]));
    crowd.run(s(2.0));
    let table = |connections| {
        let mut table = listed(&[]);
        let stats = Stats {
            connections,
            ..Stats::default()
        };
        let of_host = |it: RealServer<&'static str>| ListedDestination {
            destination: it.destination,
            active_connections: 0,
            inactive_connections: 0,
            persistent_connections: 0,
            stats,
            unknown: Vec::new(),
        };
        table.entries[0].destinations = servers(0, 200).map(of_host).collect();
        table
    };
    crowd.pool.handle_table(crowd.now, &table(0));
    crowd.pool.handle_table(crowd.now, &table(9));
    let before = crowd.starts.len();
    crowd.turn();
    assert_eq!(crowd.starts.len() - before, 200);
}

#[test]
fn checks_without_noise_and_spread_stay_together() {
    let check = Check {
        noise: 0,
        spread: Some(Duration::ZERO),
        ..every(s(10.0))
    };
    let mut crowd = Crowd::new(many(&check, 400));
    crowd.run(s(45.0));
    for (server, starts) in crowd.by_server() {
        let last = starts.last().unwrap();
        // 20 ms at each of four rounds.
        assert!(*last <= s(40.1), "{server} {starts:?}");
    }
}

#[test]
fn while_checks_are_caught_up_with_each_wake_starts_one() {
    let mut crowd = Crowd::new(many(&every(s(1.0)), 500));
    crowd.run(s(5.0));
    crowd.stall(s(0.6));
    let (wakes, starts) = (crowd.wakes, crowd.starts.len());
    crowd.run(s(2.0));
    let (wakes, starts) = (crowd.wakes - wakes, crowd.starts.len() - starts);
    // One for a start, and one for its result.
    assert!(wakes <= 2 * starts + 2, "{wakes} wakes, {starts} starts");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Stalls of any length at any times: the starts of any 20 ms stay below twice the mean, no
    /// more probes run than allowed, and every check goes on.
    #[test]
    fn any_stalls_leave_checks_even_and_starve_none(
        count in 1_u16..1000,
        interval in 200_u64..2000,
        max_running in 30_u32..300,
        takes in 0_u64..20,
        stalls in prop::collection::vec((0_u64..700, 0_u64..900), 1..12),
    ) {
        let mut config = many(&every(ms(interval)), count);
        config.max_running = max_running;
        let mut crowd = Crowd::new(config);
        crowd.takes = ms(takes);
        // All first and second probes.
        let begin = ms(2 * interval + 1000);
        crowd.run(begin);
        for (run, stall) in &stalls {
            crowd.stall(ms(*stall));
            crowd.run(ms(*run));
            prop_assert!(crowd.pool.running() <= max_running);
        }
        crowd.run(ms(2 * interval));
        let bound = bound(count, ms(interval));
        let most = crowd.most(begin);
        prop_assert!(most <= bound, "{most} starts in 20 ms, at most {bound}");
        // Each check waits at most for all others, at the pace of a cap of probes that end.
        let stalled: u64 = stalls.iter().map(|(_, stall)| stall).sum();
        let at_cap = u64::from(count) * takes / u64::from(max_running);
        let longest = ms(2 * interval + stalled + takes + at_cap + 100);
        let starts = crowd.by_server();
        prop_assert_eq!(starts.len(), usize::from(count));
        for (server, mut starts) in starts {
            starts.push(crowd.now);
            for pair in starts.windows(2) {
                prop_assert!(pair[1] - pair[0] <= longest, "{} {:?}", server, pair);
            }
        }
    }

    #[test]
    fn the_same_stalls_give_the_same_starts(
        count in 1_u16..500,
        stalls in prop::collection::vec((0_u64..300, 0_u64..300), 1..8),
    ) {
        let run = || {
            let mut crowd = Crowd::new(many(&every(ms(300)), count));
            for (run, stall) in &stalls {
                crowd.stall(ms(*stall));
                crowd.run(ms(*run));
            }
            crowd.starts
        };
        prop_assert_eq!(run(), run());
    }
}
