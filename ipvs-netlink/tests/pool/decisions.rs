//! Which servers are in the table, with which weight.

use ipvs_netlink::{
    DestinationKey, ForwardingMethod, Stats,
    pool::{
        Capacity, Check, Effect, Initial, Level, Limit, Outcome, Panic, PoolChange, Quorum,
        RealServer, SorryServer, WeightReport,
    },
};

use crate::host::*;

/// Fails the hosts for which `fails` returns true.
fn failing(fails: impl Fn(u8) -> bool + 'static) -> impl FnMut(&Made) -> Reply + 'static {
    move |made| if fails(made.host()) { bad() } else { good() }
}

fn quorum(weight: u32, hysteresis: u32) -> Quorum {
    Quorum {
        at_least: Capacity::Weight(weight),
        hysteresis,
    }
}

#[test]
fn a_failed_server_is_out_and_comes_back() {
    let mut host = Host::new(
        config(vec![service(plain(), &[1, 2, 3])]),
        failing(|host| host == 2),
    );
    host.run_until(s(0.5));
    assert_eq!(host.wanted(), [(1, 1), (3, 3)]);
    host.set_reply(|_| good());
    host.run_until(s(1.5));
    assert_eq!(host.wanted(), [(1, 1), (2, 2), (3, 3)]);
}

#[test]
fn a_server_is_down_while_one_of_its_checks_is() {
    let mut service = service(plain(), &[1, 1]);
    service.servers[0].checks.push(Check {
        port: Some(81),
        ..plain()
    });
    let mut host = Host::new(config(vec![service]), |made| {
        if made.address.port() == 81 {
            bad()
        } else {
            good()
        }
    });
    host.run_until(s(0.5));
    assert_eq!(host.wanted(), [(2, 1)]);
}

#[test]
fn a_server_without_checks_is_up() {
    let mut service = service(plain(), &[]);
    service.checks.clear();
    service.servers.push(server(1, 1));
    let mut host = Host::new(config(vec![service]), |_| panic!("no probe"));
    host.run_until(s(100.0));
    assert_eq!(host.wanted(), [(1, 1)]);
    assert_eq!(host.pool.poll_timeout(), None);
}

#[test]
fn alpha_keeps_a_server_out_until_it_has_succeeded() {
    let alpha = Check {
        initial: Initial::Down,
        ..plain()
    };
    let mut host = Host::new(
        config(vec![service(alpha, &[1, 1])]),
        failing(|host| host == 2),
    );
    assert_eq!(host.wanted(), []);
    assert_eq!(host.pool.quorum(&web()), Some(Level::Unknown));
    host.run_until(s(0.5));
    assert_eq!(host.wanted(), [(1, 1)]);
    assert_eq!(host.pool.quorum(&web()), Some(Level::Up));
}

#[test]
fn a_server_that_the_kernel_has_is_up_and_another_waits() {
    let check = Check {
        initial: Initial::AsKernel,
        ..plain()
    };
    let table = listed(&[(1, 1, 0, Stats::default()), (2, 0, 0, Stats::default())]);
    let mut host = Host::with_table(config(vec![service(check, &[1, 1, 1])]), &table, |_| good());
    assert_eq!(host.wanted(), [(1, 1)]);
    host.run_until(s(0.5));
    assert_eq!(host.wanted(), [(1, 1), (2, 1), (3, 1)]);
}

#[test]
fn unchecked_servers_are_better_than_none_and_worse_than_a_sorry_server() {
    let check = Check {
        initial: Initial::AsKernel,
        ..plain()
    };
    let mut host = Host::new(
        config(vec![service(check.clone(), &[1, 1])]),
        failing(|host| host == 2),
    );
    assert_eq!(host.wanted(), [(1, 1), (2, 1)]);
    assert_eq!(host.pool.quorum(&web()), Some(Level::Unknown));
    host.run_until(s(0.5));
    assert_eq!(host.wanted(), [(1, 1)]);

    let mut service = service(check, &[1, 1]);
    service.sorry_server = Some(sorry());
    let mut host = Host::new(config(vec![service]), |_| good());
    assert_eq!(host.wanted(), [(99, 1)]);
    host.run_until(s(0.5));
    assert_eq!(host.wanted(), [(1, 1), (2, 1)]);
}

#[test]
fn the_quorum_has_hysteresis() {
    // checks.md 5.1: weights 3, 2, 2; quorum 4, hysteresis 1.
    let mut service = service(plain(), &[3, 2, 2]);
    service.quorum = quorum(4, 1);
    let mut host = Host::new(config(vec![service]), |_| good());
    let mut at = 0.5;
    let mut level_with = |down: &'static [u8]| {
        host.set_reply(failing(move |host| down.contains(&host)));
        host.run_until(s(at));
        at += 1.0;
        host.pool.quorum(&web()).unwrap()
    };
    assert_eq!(level_with(&[]), Level::Up);
    assert_eq!(level_with(&[1]), Level::Up, "4");
    assert_eq!(level_with(&[1, 2]), Level::Down, "2");
    assert_eq!(level_with(&[1]), Level::Down, "4 is less than 5");
    assert_eq!(level_with(&[]), Level::Up, "7");
}

#[test]
fn a_quorum_above_all_weights_is_gained_when_all_servers_are_up() {
    let mut service = service(plain(), &[1, 1]);
    service.quorum = quorum(50, 10);
    let mut host = Host::new(config(vec![service]), |_| good());
    host.run_until(s(0.5));
    assert_eq!(host.pool.quorum(&web()), Some(Level::Up));
    host.set_reply(|_| bad());
    host.run_until(s(1.5));
    assert_eq!(host.pool.quorum(&web()), Some(Level::Down));
    host.set_reply(|_| good());
    host.run_until(s(2.5));
    assert_eq!(host.pool.quorum(&web()), Some(Level::Up));
}

#[test]
fn a_quorum_can_be_a_share_of_the_servers() {
    let mut service = service(plain(), &[100, 1, 1, 1]);
    service.quorum = Quorum {
        at_least: Capacity::Percent(50),
        hysteresis: 0,
    };
    let mut host = Host::new(config(vec![service]), failing(|host| host <= 2));
    host.run_until(s(0.5));
    assert_eq!(host.pool.quorum(&web()), Some(Level::Up), "2 of 4");
    host.set_reply(failing(|host| host <= 3));
    host.run_until(s(1.5));
    assert_eq!(host.pool.quorum(&web()), Some(Level::Down), "1 of 4");
}

#[test]
fn without_a_sorry_server_the_quorum_does_not_touch_the_table() {
    let mut service = service(plain(), &[1, 1, 1]);
    service.quorum = quorum(3, 0);
    let mut host = Host::new(config(vec![service]), failing(|host| host == 1));
    host.run_until(s(0.5));
    assert_eq!(host.pool.quorum(&web()), Some(Level::Down));
    assert_eq!(host.wanted(), [(2, 1), (3, 1)]);
}

#[test]
fn the_sorry_server_replaces_all_when_the_quorum_is_lost() {
    let mut service = service(plain(), &[1, 1, 1]);
    service.quorum = quorum(2, 0);
    service.sorry_server = Some(sorry());
    let mut host = Host::new(config(vec![service]), |_| good());
    host.run_until(s(0.5));
    host.changes();
    host.set_reply(failing(|host| host <= 2));
    host.run_until(s(1.5));
    assert_eq!(host.wanted(), [(99, 1)]);
    assert_eq!(
        host.changes(),
        [
            "server 10.0.0.1:80 down",
            "server 10.0.0.2:80 down",
            "quorum lost, weight 1 of 2",
            "sorry server 10.0.0.99:80 in",
            "server 10.0.0.3:80 draining",
        ]
    );
    host.set_reply(|_| good());
    host.run_until(s(2.5));
    assert_eq!(host.wanted(), [(1, 1), (2, 1), (3, 1)]);
    assert_eq!(
        host.changes(),
        [
            "server 10.0.0.1:80 up",
            "quorum gained, weight 2 of 2",
            "sorry server 10.0.0.99:80 out",
            "server 10.0.0.2:80 up",
        ]
    );
}

#[test]
fn an_inhibited_server_stays_with_weight_0() {
    let mut service = service(plain(), &[1, 1]);
    service.inhibit_on_failure = true;
    service.servers[1].inhibit_on_failure = Some(false);
    service.sorry_server = Some(SorryServer {
        inhibit: true,
        ..sorry()
    });
    let mut host = Host::new(config(vec![service]), failing(|host| host == 1));
    host.run_until(s(0.5));
    assert_eq!(host.wanted(), [(1, 0), (2, 1), (99, 0)]);
    host.set_reply(|_| bad());
    host.run_until(s(1.5));
    assert_eq!(host.wanted(), [(1, 0), (99, 1)]);
}

#[test]
fn an_inhibited_server_is_in_with_weight_0_before_its_first_success() {
    let alpha = Check {
        initial: Initial::Down,
        ..plain()
    };
    let mut service = service(alpha, &[1]);
    service.inhibit_on_failure = true;
    let host = Host::new(config(vec![service]), |_| good());
    assert_eq!(host.wanted(), [(1, 0)]);
}

#[test]
fn a_real_server_can_be_the_sorry_server() {
    let mut service = service(plain(), &[5, 5]);
    service.sorry_server = Some(SorryServer::new(key(2), ForwardingMethod::Masquerade));
    let mut host = Host::new(config(vec![service]), |_| bad());
    host.run_until(s(0.5));
    assert_eq!(host.wanted(), [(2, 1)]);
    host.set_reply(failing(|host| host == 2));
    host.run_until(s(1.5));
    assert_eq!(host.wanted(), [(1, 5)]);
    host.set_reply(|_| good());
    host.run_until(s(2.5));
    assert_eq!(host.wanted(), [(1, 5), (2, 5)]);
}

#[test]
fn the_brake_holds_servers_that_fail_later() {
    let mut service = service(plain(), &[1; 5]);
    service.brake = Some(Limit::Servers(2));
    let mut host = Host::new(config(vec![service]), |_| good());
    host.run_until(s(0.5));
    host.set_reply(failing(|host| host == 4));
    host.run_until(s(1.5));
    host.changes();
    host.set_reply(|_| bad());
    host.run_until(s(2.5));
    assert_eq!(
        host.wanted(),
        [(2, 1), (3, 1), (5, 1)],
        "4 failed first, then 1"
    );
    assert_eq!(
        host.pool.quorum(&web()),
        Some(Level::Up),
        "held servers count"
    );
    let changes = host.changes();
    assert!(changes.contains(&"brake on, holds 1".into()), "{changes:?}");
    // When a server comes back, the server that was held longest goes out.
    host.set_reply(failing(|host| host != 4));
    host.run_until(s(3.5));
    assert_eq!(host.wanted(), [(3, 1), (4, 1), (5, 1)]);
    host.set_reply(|_| good());
    host.run_until(s(4.5));
    assert_eq!(host.wanted().len(), 5);
    assert_eq!(
        host.changes()
            .iter()
            .filter(|change| *change == "brake off")
            .count(),
        1
    );
}

#[test]
fn a_brake_in_percent_lets_one_server_go_at_least() {
    let mut service = service(plain(), &[1; 3]);
    service.brake = Some(Limit::Percent(10));
    let mut host = Host::new(config(vec![service]), |_| bad());
    host.run_until(s(0.5));
    assert_eq!(host.wanted().len(), 2);
}

#[test]
fn a_wrong_check_does_not_empty_a_pool() {
    let mut host = Host::new(config(vec![service(plain(), &[1, 1])]), |_| bad());
    host.run_until(s(0.5));
    assert_eq!(host.wanted(), [(1, 1), (2, 1)]);
    assert_eq!(host.pool.quorum(&web()), Some(Level::Down));
    let changes = host.changes();
    assert!(
        changes.contains(&"panic on, uses 2 that are down".into()),
        "{changes:?}"
    );
    host.set_reply(failing(|host| host == 2));
    host.run_until(s(1.5));
    assert_eq!(host.wanted(), [(1, 1)]);
    assert_eq!(host.changes().last().unwrap(), "panic off");
}

#[test]
fn without_panic_the_table_becomes_empty() {
    let mut service = service(plain(), &[1, 1]);
    service.panic = Panic::Off;
    let mut host = Host::new(config(vec![service]), |_| bad());
    host.run_until(s(0.5));
    assert_eq!(host.wanted(), []);
}

#[test]
fn below_a_share_all_servers_are_used() {
    let mut service = service(plain(), &[1; 4]);
    service.panic = Panic::BelowPercent(50);
    let mut host = Host::new(config(vec![service]), failing(|host| host <= 2));
    host.run_until(s(0.5));
    assert_eq!(host.wanted(), [(3, 1), (4, 1)]);
    host.set_reply(failing(|host| host <= 3));
    host.run_until(s(1.5));
    assert_eq!(host.wanted().len(), 4);
}

#[test]
fn panic_uses_no_server_that_never_was_up() {
    let alpha = Check {
        initial: Initial::Down,
        ..plain()
    };
    let mut host = Host::new(config(vec![service(alpha, &[1])]), |_| bad());
    host.run_until(s(3.5));
    assert_eq!(host.wanted(), []);
}

#[test]
fn checks_report_weights_and_their_reports_add_up() {
    let mut service = service(plain(), &[10]);
    service.servers[0].checks.push(Check {
        port: Some(81),
        ..plain()
    });
    let mut host = Host::new(config(vec![service]), |made| {
        let report = match (made.address.port(), made.at.as_secs()) {
            (80, 0) => WeightReport::Set(50),
            (80, 1) => return bad(),
            (80, 2) => WeightReport::Set(40),
            (80, 3) => WeightReport::Percent(50),
            (81, 3) => WeightReport::Add(7),
            (80, 4) => WeightReport::Add(-100),
            _ => return good(),
        };
        Some((s(0.001), Outcome::Weight(report, "".into())))
    });
    let mut weights = Vec::new();
    for second in 0..6 {
        host.run_until(s(f64::from(second) + 0.5));
        weights.push(host.wanted()[0].1);
    }
    // A failure in between takes the report away (keepalived: 80 in place of 40). In the second
    // second it is down, and nothing else is left.
    assert_eq!(weights, [50, 10, 40, 12, 0, 10]);
}

#[test]
fn a_weight_of_0_stays_in_the_table_and_adds_nothing_to_the_quorum() {
    let mut service = service(plain(), &[1, 1]);
    service.sorry_server = Some(sorry());
    let weight_0 = |made: &Made| {
        let report = Outcome::Weight(WeightReport::Set(0), "".into());
        if made.host() == 1 {
            Some((s(0.001), report))
        } else {
            good()
        }
    };
    let mut host = Host::new(config(vec![service]), weight_0);
    host.run_until(s(0.5));
    assert_eq!(host.wanted(), [(1, 0), (2, 1)]);
    host.set_reply(|_| Some((s(0.001), Outcome::Weight(WeightReport::Set(0), "".into()))));
    host.run_until(s(1.5));
    assert_eq!(host.wanted(), [(99, 1)]);
}

#[test]
fn weights_of_0_in_the_configuration_leave_a_quorum_that_can_be_gained() {
    // keepalived: the sorry server stays for ever (checks.md 5.7).
    let mut service = service(plain(), &[0, 0]);
    service.sorry_server = Some(sorry());
    let mut host = Host::new(config(vec![service]), |_| good());
    host.run_until(s(0.5));
    assert_eq!(host.wanted(), [(99, 1)]);
    host.set_reply(|_| Some((s(0.001), Outcome::Weight(WeightReport::Set(10), "".into()))));
    host.run_until(s(1.5));
    assert_eq!(host.wanted(), [(1, 10), (2, 10)]);
}

#[test]
fn a_check_can_lower_the_weight_in_place_of_removal() {
    let mut service = service(plain(), &[10, 10]);
    service.servers[0].checks.push(Check {
        port: Some(81),
        effect: Effect::Weigh(WeightReport::Percent(20)),
        ..plain()
    });
    let mut host = Host::new(config(vec![service]), |made| {
        if made.address.port() == 81 {
            bad()
        } else {
            good()
        }
    });
    host.run_until(s(0.5));
    assert_eq!(host.wanted(), [(1, 2), (2, 10)]);
}

#[test]
fn a_recovered_server_starts_slowly_and_a_new_one_does_not() {
    let mut service = service(plain(), &[100, 100]);
    service.slow_start = Some(s(10.0));
    let mut host = Host::new(config(vec![service]), |_| good());
    host.run_until(s(0.5));
    assert_eq!(host.wanted(), [(1, 100), (2, 100)]);
    host.set_reply(failing(|host| host == 1));
    host.run_until(s(1.5));
    host.set_reply(|_| good());
    // Up again at 2.003.
    for (at, weight) in [(2.1, 5), (2.6, 10), (7.1, 55), (11.9, 100), (12.1, 100)] {
        host.run_until(s(at));
        assert_eq!(host.wanted()[0], (1, weight), "at {at}");
    }
    assert_eq!(host.pool.quorum(&web()), Some(Level::Up));
    let explanation = host.pool.explain(&web(), &key(1)).unwrap();
    assert_eq!(explanation.slow_start_until, None);
}

#[test]
fn a_weight_in_a_slow_start_is_never_0() {
    let mut service = service(plain(), &[3, 1]);
    service.slow_start = Some(s(10.0));
    let mut host = Host::new(config(vec![service]), failing(|host| host == 1));
    host.run_until(s(0.5));
    host.set_reply(|_| good());
    host.run_until(s(1.1));
    assert_eq!(host.wanted(), [(1, 1), (2, 1)]);
}

#[test]
fn the_table_is_in_the_order_of_keys() {
    let mut service = service(plain(), &[1, 1, 1]);
    service.servers.reverse();
    let other = DestinationKey::new(([10, 0, 0, 2], 8080));
    service.servers.insert(
        0,
        RealServer::new(ipvs_netlink::Destination::new(
            other,
            ForwardingMethod::Masquerade,
        )),
    );
    let host = Host::new(config(vec![service]), |_| good());
    assert_eq!(host.wanted(), [(1, 1), (2, 1), (2, 1), (3, 1)]);
}

#[test]
fn thresholds_are_passed_on() {
    let mut service = service(plain(), &[1]);
    let thresholds = ipvs_netlink::Thresholds::new(100, 50).unwrap();
    service.servers[0].destination.thresholds = thresholds;
    let host = Host::new(config(vec![service]), |_| good());
    let wanted = host.pool.wanted();
    assert_eq!(wanted[0].destinations[0].thresholds, thresholds);
}

#[test]
fn events_have_a_cause_and_a_sequence() {
    let mut host = Host::new(
        config(vec![service(plain(), &[1, 1])]),
        failing(|host| host == 1),
    );
    host.run_until(s(0.5));
    let down = host
        .events
        .iter()
        .find(|event| event.change == PoolChange::ServerDown(key(1)));
    assert_eq!(
        down.unwrap().to_string(),
        "tcp 192.0.2.1:80: server 10.0.0.1:80 down (check 1: refused (connection refused))"
    );
    let sequence: Vec<u64> = host.events.iter().map(|event| event.sequence).collect();
    let expected: Vec<u64> = (0..).take(sequence.len()).collect();
    assert_eq!(sequence, expected);
}

#[test]
fn the_first_success_of_a_server_is_no_recovery() {
    let alpha = Check {
        initial: Initial::Down,
        ..plain()
    };
    let mut service = service(alpha, &[100, 100]);
    service.slow_start = Some(s(10.0));
    let mut host = Host::new(config(vec![service]), |_| good());
    host.run_until(s(0.5));
    assert_eq!(host.wanted(), [(1, 100), (2, 100)]);
}
