//! When probes are made, and how their results count.

use std::{collections::BTreeSet, time::Duration};

use ipvs_netlink::{
    Scheduler, Service, ServiceKey,
    pool::{Check, Config, FirstResult, Initial, Outcome, Pace, PoolChange, VirtualServer},
};

use crate::host::*;

fn one(check: Check<&'static str>) -> Config<&'static str> {
    config(vec![service(check, &[1])])
}

/// Distances between the starts of probes, in milliseconds.
fn distances(host: &Host) -> Vec<u128> {
    let starts = host.starts(1);
    starts
        .windows(2)
        .map(|pair| (pair[1] - pair[0]).as_millis())
        .collect()
}

#[test]
fn an_interval_begins_at_the_end_of_the_probe_before() {
    let mut host = Host::new(one(plain()), |_| Some((s(0.2), Outcome::SUCCESS)));
    host.run_until(s(4.0));
    assert_eq!(distances(&host), [1200, 1200, 1200]);
}

#[test]
fn an_interval_can_begin_at_the_start_of_the_probe_before() {
    let check = Check {
        pace: Pace::AfterStart,
        time_limit: s(5.0),
        ..plain()
    };
    let mut host = Host::new(one(check), |made| {
        let takes = if made.at == s(1.0) { 1.5 } else { 0.2 };
        Some((s(takes), Outcome::SUCCESS))
    });
    host.run_until(s(4.0));
    assert_eq!(distances(&host), [1000, 1500, 1000]);
}

#[test]
fn a_probe_has_one_time_limit() {
    let mut host = Host::new(one(plain()), |_| None);
    host.run_until(s(0.5));
    assert_eq!(host.made[0].until, s(0.5));
    assert_eq!(host.time_of(PoolChange::ServerDown(key(1))), s(0.5));
    host.act();
    assert_eq!(host.cancelled, [(s(0.5), host.made[0].id)]);
    let counters = host.pool.counters();
    assert_eq!((counters.failures, counters.time_limits), (1, 1));
}

#[test]
fn the_result_of_a_probe_that_is_over_changes_nothing() {
    let mut host = Host::new(one(plain()), |_| None);
    host.run_until(s(0.6));
    let before = host.wanted();
    let id = host.made[0].id;
    host.pool.handle_result(host.now, id, Outcome::SUCCESS);
    assert_eq!(host.wanted(), before);
    assert_eq!(host.pool.counters().stale_results, 1);
    assert_eq!(host.pool.counters().successes, 0);
}

#[test]
fn a_server_falls_after_consecutive_failures_only() {
    let check = Check { fall: 3, ..plain() };
    let outcomes = [true, false, false, true, false, false, false];
    let mut count = 0;
    let mut host = Host::new(one(check), move |_| {
        count += 1;
        if outcomes[(count - 1) % outcomes.len()] {
            good()
        } else {
            bad()
        }
    });
    host.run_until(s(5.5));
    assert!(
        !host
            .events
            .iter()
            .any(|event| event.change == PoolChange::ServerDown(key(1)))
    );
    host.run_until(s(6.5));
    assert_eq!(host.time_of(PoolChange::ServerDown(key(1))), s(6.007));
}

#[test]
fn a_server_rises_after_consecutive_successes_only() {
    let check = Check { rise: 3, ..plain() };
    let outcomes = [false, true, true, false, true, true, true];
    let mut count = 0;
    let mut host = Host::new(one(check), move |_| {
        count += 1;
        if outcomes[(count - 1) % outcomes.len()] {
            good()
        } else {
            bad()
        }
    });
    host.run_until(s(0.5));
    host.changes();
    host.run_until(s(5.5));
    assert_eq!(host.changes(), Vec::<String>::new());
    host.run_until(s(6.5));
    assert_eq!(host.time_of(PoolChange::ServerUp(key(1))), s(6.007));
}

#[test]
fn the_first_result_decides_or_counts() {
    for (first_result, failures) in [(FirstResult::Decides, 1), (FirstResult::Counts, 3)] {
        let check = Check {
            first_result,
            fall: 3,
            ..plain()
        };
        let mut host = Host::new(one(check), |_| bad());
        host.run_until(s(10.0));
        let down = host.time_of(PoolChange::ServerDown(key(1)));
        let before = host.starts(1).iter().filter(|at| **at < down).count();
        assert_eq!(before, failures, "{first_result:?}");
    }
}

#[test]
fn each_state_has_its_interval() {
    let check = Check {
        interval: s(10.0),
        fast_interval: Some(s(1.0)),
        rising_interval: Some(s(2.0)),
        down_interval: Some(s(20.0)),
        fall: 2,
        rise: 2,
        ..plain()
    };
    let outcomes = [true, false, false, false, true, true, true];
    let mut count = 0;
    let mut host = Host::new(one(check), move |_| {
        count += 1;
        let outcome = if outcomes[count - 1] {
            Outcome::SUCCESS
        } else {
            refused()
        };
        Some((Duration::ZERO, outcome))
    });
    host.run_until(s(54.0));
    // Up; in doubt; down, down; rising; up.
    assert_eq!(distances(&host), [10_000, 1_000, 20_000, 20_000, 2_000]);
}

#[test]
fn a_local_failure_counts_as_nothing() {
    let check = Check { fall: 2, ..plain() };
    let mut count = 0;
    let mut host = Host::new(one(check), move |_| {
        count += 1;
        match count {
            1 => good(),
            2 | 4 => bad(),
            _ => Some((s(0.001), Outcome::LocalFailure("no port".into()))),
        }
    });
    host.run_until(s(2.5));
    assert_eq!(host.wanted(), [(1, 1)]);
    host.run_until(s(3.5));
    // Failures with a local failure in between are consecutive.
    assert_eq!(host.time_of(PoolChange::ServerDown(key(1))), s(3.004));
    assert_eq!(host.pool.counters().local_failures, 1);
}

#[test]
fn local_failures_lead_to_no_busy_loop() {
    let check = Check {
        rising_interval: Some(Duration::ZERO),
        initial: Initial::Down,
        rise: 2,
        first_result: FirstResult::Counts,
        ..plain()
    };
    let mut count = 0;
    let mut host = Host::new(one(check), move |_| {
        count += 1;
        match count {
            1 => good(),
            _ => Some((Duration::ZERO, Outcome::LocalFailure("no socket".into()))),
        }
    });
    host.run_until(s(5.0));
    assert!(host.made.len() <= 7, "{}", host.made.len());
}

#[test]
fn noise_shortens_intervals_and_never_lengthens_them() {
    let check = Check {
        noise: 20,
        interval: s(1.0),
        ..plain()
    };
    let mut host = Host::new(one(check), |_| Some((Duration::ZERO, Outcome::SUCCESS)));
    host.run_until(s(300.0));
    let distances = distances(&host);
    // The first one is spread over the whole interval.
    let distances = &distances[1..];
    assert!(
        distances.iter().all(|ms| (799..=1000).contains(ms)),
        "{distances:?}"
    );
    let different: BTreeSet<_> = distances.iter().collect();
    assert!(different.len() > 50);
}

#[test]
fn noise_is_on_by_default() {
    assert!(Check::new("tcp").noise > 0);
}

#[test]
fn first_probes_are_spread_and_second_ones_over_the_interval() {
    let check = Check {
        interval: s(60.0),
        spread: None,
        noise: 5,
        ..plain()
    };
    let service = service(check, &[1; 200]);
    let mut host = Host::new(config(vec![service]), |_| good());
    host.run_until(s(62.0));
    let starts: Vec<_> = (1..=200).map(|server| host.starts(server)).collect();
    let before = |place: usize, at| starts.iter().filter(|starts| starts[place] < s(at)).count();
    assert_eq!(before(0, 1.0), 200);
    assert!((60..140).contains(&before(0, 0.5)), "{}", before(0, 0.5));
    assert_eq!(before(1, 62.0), 200);
    assert!((60..140).contains(&before(1, 30.0)), "{}", before(1, 30.0));
}

#[test]
fn the_same_seed_gives_the_same_times_and_another_seed_others() {
    let run = |seed| {
        let mut config = config(vec![service(
            Check {
                noise: 10,
                spread: None,
                ..plain()
            },
            &[1; 9],
        )]);
        config.seed = seed;
        let mut host = Host::new(config, |_| good());
        host.run_until(s(20.0));
        host.made
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn a_cap_limits_the_probes_under_way_and_the_longest_due_goes_first() {
    let mut config = config(vec![service(plain(), &[1; 10])]);
    config.max_running = 3;
    let mut host = Host::new(config, |_| Some((s(0.1), Outcome::SUCCESS)));
    host.run_until(s(0.05));
    assert_eq!(host.pool.running(), 3);
    assert_eq!(
        host.pool.poll_timeout(),
        Some(s(0.5)),
        "no busy loop at the cap"
    );
    host.run_until(s(0.35));
    let hosts: BTreeSet<u8> = host.made.iter().map(Made::host).collect();
    assert_eq!(hosts.len(), 10, "each once");
    assert_eq!(host.made.len(), 10);
}

#[test]
fn at_the_cap_no_target_starves() {
    let mut config = config(vec![service(plain(), &[1; 10])]);
    config.max_running = 1;
    let mut host = Host::new(config, |_| Some((s(0.3), Outcome::SUCCESS)));
    host.run_until(s(60.0));
    for server in 1..=10 {
        assert!(host.starts(server).len() >= 18, "{server}");
    }
}

#[test]
fn a_target_of_many_services_is_probed_once() {
    let mut services = Vec::new();
    for port in 80..180 {
        let mut service = service(plain(), &[1, 1]);
        service.service = Service::new(ServiceKey::tcp(([192, 0, 2, 1], port)), Scheduler::WRR);
        services.push(service);
    }
    let mut host = Host::new(config(services), |made| {
        if made.host() == 1 { bad() } else { good() }
    });
    host.run_until(s(2.5));
    assert_eq!(host.made.len(), 6);
    for entry in host.pool.wanted() {
        assert_eq!(entry.destinations.len(), 1, "{}", entry.service.key);
    }
}

#[test]
fn a_shared_target_is_probed_at_its_shortest_interval() {
    let mut other = service(
        Check {
            interval: s(0.25),
            ..plain()
        },
        &[1],
    );
    other.service = Service::new(ServiceKey::udp(([192, 0, 2, 1], 80)), Scheduler::WRR);
    let mut host = Host::new(config(vec![service(plain(), &[1]), other]), |_| {
        Some((Duration::ZERO, Outcome::SUCCESS))
    });
    host.run_until(s(1.0));
    assert_eq!(distances(&host), [250; 4]);
}

#[test]
fn a_stalled_host_takes_no_server_out() {
    let mut host = Host::new(config(vec![service(plain(), &[1, 1, 1])]), |_| None);
    host.run_until(s(0.1));
    host.stall_until(s(30.0));
    assert_eq!(host.wanted().len(), 3);
    assert_eq!(host.pool.counters().stalls, 3);
    // The probes are repeated at once, and then a time limit counts.
    host.act();
    assert_eq!(host.made.len(), 6);
    host.stall_until(s(60.0));
    assert_eq!(host.pool.counters().time_limits, 3);
}

#[test]
fn results_that_wait_come_before_time_limits() {
    let mut host = Host::new(config(vec![service(plain(), &[1, 1, 1])]), |_| {
        Some((s(0.4), Outcome::SUCCESS))
    });
    host.run_until(s(0.1));
    host.stall_until(s(30.0));
    assert_eq!(host.pool.counters().successes, 3);
    assert_eq!(host.pool.counters().stalls, 0);
}

#[test]
fn probes_of_a_check_come_in_turn_and_a_failed_one_is_repeated() {
    let check = Check {
        probes: vec!["/a", "/b", "/c"],
        rise: 4,
        fall: 2,
        ..plain()
    };
    let mut bad_times = 0;
    let mut host = Host::new(one(check), move |made| {
        if made.attempt == "/b" && made.at > s(3.5) && bad_times < 3 {
            bad_times += 1;
            return bad();
        }
        good()
    });
    host.run_until(s(12.5));
    let attempts: Vec<_> = host.made.iter().map(|made| made.attempt).collect();
    assert_eq!(
        attempts,
        // Up; /b fails until the server is down, and once more; /b, then a whole round.
        [
            "/a", "/b", "/c", "/a", "/b", "/b", "/b", "/b", "/a", "/b", "/c", "/a", "/b"
        ]
    );
    let up = host
        .events
        .iter()
        .rev()
        .find(|event| event.change == PoolChange::ServerUp(key(1)));
    assert_eq!(up.unwrap().at, s(10.011));
}

#[test]
fn an_address_and_a_port_of_a_check_replace_those_of_the_server() {
    let check = Check {
        address: Some([10, 9, 9, 9].into()),
        port: Some(8080),
        ..plain()
    };
    let mut host = Host::new(one(check), |_| good());
    host.run_until(s(0.1));
    assert_eq!(host.made[0].address.to_string(), "10.9.9.9:8080");
}

#[test]
fn a_server_without_a_port_is_probed_at_the_port_of_the_service() {
    let mut service: VirtualServer<_> = service(plain(), &[1]);
    service.servers[0].destination.key.port = 0;
    let mut host = Host::new(config(vec![service]), |_| good());
    host.run_until(s(0.1));
    assert_eq!(host.made[0].address.to_string(), "10.0.0.1:80");
}

#[test]
fn a_clock_that_goes_back_stands_still() {
    let mut host = Host::new(one(plain()), |_| good());
    host.run_until(s(5.5));
    host.pool.handle_timeout(s(1.0));
    assert!(host.pool.poll_action(s(1.0)).is_none());
    host.run_until(s(6.5));
    assert_eq!(host.starts(1).len(), 7);
}

#[test]
fn checks_that_were_suspended_do_not_stay_in_one_phase() {
    let check = Check {
        interval: s(60.0),
        spread: None,
        noise: 5,
        ..plain()
    };
    let mut host = Host::new(config(vec![service(check, &[1; 200])]), |_| good());
    host.run_until(s(200.0));
    host.pool.set_suspended(host.now, &web(), true).unwrap();
    host.run_until(s(300.0));
    host.pool.set_suspended(host.now, &web(), false).unwrap();
    host.made.clear();
    host.run_until(s(361.0));
    let starts: Vec<_> = (1..=200).map(|server| host.starts(server)).collect();
    assert!(starts.iter().all(|starts| starts[0] == s(300.0)));
    let early = starts.iter().filter(|starts| starts[1] < s(330.0)).count();
    assert!((60..140).contains(&early), "{early}");
}
