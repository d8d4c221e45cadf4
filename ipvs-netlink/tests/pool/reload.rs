//! Changes of the configuration.

use ipvs_netlink::{
    ServiceKey,
    pool::{
        Check, Config, Effect, FailureKind, Initial, Outcome, PoolChange, VirtualServer,
        WeightReport,
    },
};

use crate::host::*;

fn every(seconds: f64) -> Check<&'static str> {
    Check {
        interval: s(seconds),
        ..plain()
    }
}

#[test]
fn the_same_configuration_changes_nothing() {
    let config = || {
        config(vec![service(
            Check {
                noise: 10,
                spread: None,
                ..every(2.0)
            },
            &[1, 2, 3],
        )])
    };
    let reply = |made: &Made| if made.host() == 2 { bad() } else { good() };
    let mut quiet = Host::new(config(), reply);
    let mut reloaded = Host::new(config(), reply);
    for tenth in 0..300 {
        quiet.run_until(s(f64::from(tenth) / 10.0));
        reloaded.run_until(s(f64::from(tenth) / 10.0));
        reloaded.reload(config());
    }
    assert_eq!(quiet.made, reloaded.made);
    assert_eq!(quiet.events, reloaded.events);
    assert_eq!(quiet.wanted(), reloaded.wanted());
}

#[test]
fn reloads_do_not_starve_checks() {
    // keepalived: a dead server stays as long as reloads come (checks.md 9.6).
    let mut host = Host::new(config(vec![service(every(10.0), &[1, 1])]), |_| good());
    host.run_until(s(0.5));
    host.set_reply(|made| if made.host() == 1 { bad() } else { good() });
    for second in 1..40 {
        host.run_until(s(f64::from(second)));
        host.reload(config(vec![service(every(10.0), &[1, 1])]));
    }
    assert_eq!(host.time_of(PoolChange::ServerDown(key(1))), s(10.002));
}

#[test]
fn reloads_that_change_a_check_do_not_starve_it() {
    let mut host = Host::new(config(vec![service(every(10.0), &[1, 1])]), |_| good());
    host.run_until(s(0.5));
    host.set_reply(|_| Some((s(0.1), refused())));
    for second in 1..40_u16 {
        host.run_until(s(f64::from(second)));
        // Another target each time.
        let check = Check {
            port: Some(1000 + second),
            ..every(10.0)
        };
        host.reload(config(vec![service(check, &[1, 1])]));
    }
    assert!(host.time_of(PoolChange::ServerDown(key(1))) <= s(10.2));
}

#[test]
fn a_dead_server_whose_check_changed_stays_out_until_it_succeeds() {
    // keepalived: back in until its next check (checks.md 9.4).
    let mut host = Host::new(config(vec![service(every(1.0), &[1, 1])]), |made| {
        if made.host() == 1 { bad() } else { good() }
    });
    host.run_until(s(0.5));
    assert_eq!(host.wanted(), [(2, 1)]);
    for check in [
        Check {
            time_limit: s(0.3),
            ..every(1.0)
        },
        Check {
            probes: vec!["http"],
            initial: Initial::Up,
            ..every(1.0)
        },
    ] {
        host.reload(config(vec![service(check, &[1, 1])]));
        assert_eq!(host.wanted(), [(2, 1)]);
    }
    host.run_until(s(2.5));
    assert_eq!(host.wanted(), [(2, 1)]);
    host.set_reply(|_| good());
    host.run_until(s(3.6));
    assert_eq!(host.wanted(), [(1, 1), (2, 1)]);
}

#[test]
fn a_live_server_whose_check_changed_stays_in() {
    let mut host = Host::new(config(vec![service(every(1.0), &[1, 1])]), |_| good());
    host.run_until(s(0.5));
    let alpha = Check {
        port: Some(81),
        initial: Initial::Down,
        ..every(1.0)
    };
    host.reload(config(vec![service(alpha, &[1, 1])]));
    assert_eq!(host.wanted(), [(1, 1), (2, 1)]);
    let mut with_another = service(every(1.0), &[1, 1]);
    with_another.checks.push(Check {
        port: Some(81),
        initial: Initial::Down,
        ..every(1.0)
    });
    host.reload(config(vec![with_another]));
    assert_eq!(host.wanted(), [(1, 1), (2, 1)]);
}

#[test]
fn a_dead_server_without_the_check_that_failed_comes_back() {
    let mut first = service(every(1.0), &[1, 1]);
    first.servers[0].checks.push(Check {
        port: Some(81),
        ..every(1.0)
    });
    let mut host = Host::new(config(vec![first]), |made| {
        if made.address.port() == 81 {
            bad()
        } else {
            good()
        }
    });
    host.run_until(s(0.5));
    assert_eq!(host.wanted(), [(2, 1)]);
    host.reload(config(vec![service(every(1.0), &[1, 1])]));
    assert_eq!(host.wanted(), [(1, 1), (2, 1)]);
}

#[test]
fn counts_go_on() {
    let check = |interval| Check {
        fall: 3,
        ..every(interval)
    };
    let mut host = Host::new(config(vec![service(check(1.0), &[1, 1])]), |_| good());
    host.run_until(s(0.5));
    host.set_reply(|made| if made.host() == 1 { bad() } else { good() });
    host.run_until(s(2.5));
    // Two failures so far, and other timings.
    host.reload(config(vec![service(check(0.9), &[1, 1])]));
    host.run_until(s(3.5));
    assert_eq!(host.wanted(), [(2, 1)]);
}

#[test]
fn a_shorter_interval_counts_from_now() {
    let mut host = Host::new(config(vec![service(every(600.0), &[1])]), |_| good());
    host.run_until(s(1.0));
    host.reload(config(vec![service(every(2.0), &[1])]));
    host.run_until(s(3.0));
    assert_eq!(host.made.len(), 2);
}

#[test]
fn probes_under_way_go_on_and_those_of_removed_servers_are_cancelled() {
    let mut host = Host::new(config(vec![service(every(1.0), &[1, 1])]), |_| {
        Some((s(0.4), Outcome::SUCCESS))
    });
    host.run_until(s(0.2));
    let ids: Vec<_> = host.made.iter().map(|made| made.id).collect();
    host.reload(config(vec![service(every(1.0), &[1])]));
    host.run_until(s(0.5));
    assert_eq!(host.cancelled, [(s(0.2), ids[1])]);
    assert_eq!(host.pool.counters().successes, 1);
    assert_eq!(host.pool.running(), 0);
}

#[test]
fn an_added_server_is_checked_before_it_is_used() {
    let check = || Check {
        initial: Initial::AsKernel,
        ..every(1.0)
    };
    let mut host = Host::new(config(vec![service(check(), &[1])]), |_| good());
    host.run_until(s(0.5));
    host.reload(config(vec![service(check(), &[1, 1])]));
    assert_eq!(host.wanted(), [(1, 1)]);
    host.run_until(s(0.6));
    assert_eq!(host.wanted(), [(1, 1), (2, 1)]);
}

#[test]
fn all_servers_replaced_at_once_leave_no_empty_table() {
    let check = || Check {
        initial: Initial::AsKernel,
        ..every(1.0)
    };
    let mut host = Host::new(config(vec![service(check(), &[1])]), |_| good());
    host.run_until(s(0.5));
    let mut other = service(check(), &[1, 1, 1]);
    other.servers.remove(0);
    host.reload(config(vec![other]));
    assert_eq!(host.wanted(), [(2, 1), (3, 1)]);
}

#[test]
fn a_reload_while_the_sorry_server_is_in_never_mixes_it_with_real_servers() {
    // keepalived: both share the traffic until the next loss (checks.md 9.5).
    let with = |time_limit| {
        let mut service = service(
            Check {
                time_limit: s(time_limit),
                ..every(1.0)
            },
            &[1],
        );
        service.sorry_server = Some(sorry());
        config(vec![service])
    };
    let mut host = Host::new(with(0.5), |_| bad());
    host.run_until(s(0.5));
    assert_eq!(host.wanted(), [(99, 1)]);
    host.reload(with(0.4));
    assert_eq!(host.wanted(), [(99, 1)]);
    host.set_reply(|_| good());
    host.run_until(s(2.5));
    assert_eq!(host.wanted(), [(1, 1)]);
}

#[test]
fn removed_servers_and_services_are_reported() {
    let mut host = Host::new(config(vec![service(every(1.0), &[1, 1, 1])]), |made| {
        if made.host() == 3 { bad() } else { good() }
    });
    host.run_until(s(0.5));
    host.changes();
    host.reload(config(vec![service(every(1.0), &[1])]));
    assert_eq!(
        host.changes(),
        [
            "server 10.0.0.2:80 removed, was up",
            "server 10.0.0.2:80 draining",
            "server 10.0.0.3:80 removed, was down",
        ]
    );
    host.reload(config(vec![]));
    assert_eq!(host.changes(), ["server 10.0.0.1:80 removed, was up"]);
    assert!(host.pool.wanted().is_empty());
}

#[test]
fn another_sorry_server_replaces_the_one_in_use() {
    let with = |host| {
        let mut service = service(every(1.0), &[1]);
        let mut sorry = sorry();
        sorry.destination.key = key(host);
        service.sorry_server = Some(sorry);
        config(vec![service])
    };
    let mut host = Host::new(with(99), |_| bad());
    host.run_until(s(0.5));
    host.changes();
    host.reload(with(98));
    assert_eq!(host.wanted(), [(98, 1)]);
    assert_eq!(
        host.changes(),
        [
            "sorry server 10.0.0.98:80 in",
            "sorry server 10.0.0.99:80 out"
        ]
    );
}

#[test]
fn changed_services_are_named() {
    let mut host = Host::new(config(vec![service(every(1.0), &[1])]), |_| good());
    assert_eq!(host.pool.poll_changed(), Some(web()));
    assert_eq!(host.pool.poll_changed(), None);
    host.run_until(s(5.5));
    assert_eq!(host.pool.poll_changed(), None, "nothing changed");
    let mut other = service(every(1.0), &[1]);
    other.service.scheduler = ipvs_netlink::Scheduler::MH;
    host.reload(config(vec![other]));
    assert_eq!(host.pool.poll_changed(), Some(web()));
}

#[test]
fn a_wrong_configuration_changes_nothing() {
    let mut host = Host::new(config(vec![service(every(1.0), &[1])]), |_| good());
    host.run_until(s(0.5));
    let wrong: Config<_> = config(vec![service(
        Check {
            fall: 0,
            ..every(1.0)
        },
        &[],
    )]);
    assert!(host.pool.reconfigure(host.now, wrong).is_err());
    assert_eq!(host.wanted(), [(1, 1)]);
    host.run_until(s(1.5));
    assert_eq!(host.made.len(), 2);
}

#[test]
fn a_last_answer_is_kept() {
    let mut host = Host::new(config(vec![service(every(1.0), &[1])]), |_| {
        Some((s(0.1), Outcome::failure(FailureKind::Answer, "503")))
    });
    host.run_until(s(0.5));
    host.reload(config(vec![service(every(2.0), &[7])]));
    let explanation = host.pool.explain(&web(), &key(1)).unwrap();
    assert_eq!(explanation.checks[0].last.as_ref().unwrap().at, s(0.1));
}

/// The service of another port, with servers 1 to 3 and the check.
fn another_service(check: Check<&'static str>) -> VirtualServer<&'static str> {
    let mut other = service(check, &[1, 1, 1]);
    other.service.key = ServiceKey::tcp(([192, 0, 2, 1], 443));
    other
}

#[test]
fn a_service_added_to_servers_that_others_check_has_them_soon() {
    let check = || Check {
        initial: Initial::AsKernel,
        spread: Some(s(1.0)),
        ..every(600.0)
    };
    let web = || service(check(), &[1, 1, 1]);
    let mut host = Host::new(config(vec![web()]), |_| good());
    host.run_until(s(5.0));
    let mut another = another_service(check());
    another.sorry_server = Some(sorry());
    host.reload(config(vec![web(), another]));
    host.run_until(s(6.1));
    let wanted = host.pool.wanted();
    assert_eq!(wanted.len(), 2);
    for service in wanted {
        let hosts = service.destinations.iter().map(|it| it.key);
        assert_eq!(hosts.collect::<Vec<_>>(), [1, 2, 3].map(key));
    }
}

#[test]
fn a_changed_check_that_others_have_is_due_no_later_than_the_one_before() {
    let other = || {
        another_service(Check {
            port: Some(81),
            ..every(600.0)
        })
    };
    let web = |port| {
        let check = Check {
            port: Some(port),
            fast_interval: Some(s(10.0)),
            spread: Some(s(10.0)),
            ..every(10.0)
        };
        service(check, &[1])
    };
    let mut host = Host::new(config(vec![web(80), other()]), |_| good());
    host.run_until(s(15.0));
    let before = host.starts(1);
    host.reload(config(vec![web(81), other()]));
    host.run_until(s(30.0));
    let last = host.made.iter().rfind(|made| made.address.port() == 80);
    let last = last.unwrap().at;
    let probes = host.starts(1);
    assert!(probes.len() > before.len());
    let next = probes[before.len()];
    assert!(next <= last + s(10.002), "{next:?} after {last:?}");
}

#[test]
fn a_check_that_only_lowered_a_weight_takes_no_server_out_when_it_goes() {
    let weighing = Check {
        port: Some(81),
        effect: Effect::Weigh(WeightReport::Add(-1)),
        ..every(1.0)
    };
    let with = |checks: Vec<Check<&'static str>>| {
        let mut service = service(plain(), &[5, 5]);
        service.checks = checks;
        config(vec![service])
    };
    let mut host = Host::new(with(vec![weighing, every(1.0)]), |made| {
        if made.address.port() == 81 && made.host() == 1 {
            bad()
        } else {
            good()
        }
    });
    host.run_until(s(0.5));
    assert_eq!(host.wanted(), [(1, 4), (2, 5)]);
    // The check that takes out is another one, at the place of the one that weighed.
    let changed = || Check {
        port: Some(82),
        ..every(1.0)
    };
    host.reload(with(vec![changed()]));
    assert_eq!(host.wanted(), [(1, 5), (2, 5)]);

    // Alone as well.
    let weighing = Check {
        port: Some(81),
        effect: Effect::Weigh(WeightReport::Add(-1)),
        ..every(1.0)
    };
    host.reload(with(vec![weighing]));
    host.run_until(s(2.5));
    assert_eq!(host.wanted(), [(1, 4), (2, 5)]);
    host.reload(with(vec![changed()]));
    assert_eq!(host.wanted(), [(1, 5), (2, 5)]);
}
