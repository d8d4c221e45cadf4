//! The kernel's table as an input.

use ipvs_netlink::{
    Stats, Table,
    pool::{Check, Initial, Level, Operator, Passive},
};

use crate::host::*;

fn stats(connections: u64, outgoing_packets: u64) -> Stats {
    Stats {
        connections,
        outgoing_packets,
        ..Stats::default()
    }
}

#[test]
fn a_restart_goes_on_with_the_servers_of_the_kernel() {
    let check = Check {
        initial: Initial::AsKernel,
        ..plain()
    };
    let mut service = service(check, &[1, 1]);
    service.sorry_server = Some(sorry());
    let table = listed(&[(1, 1, 5, Stats::default())]);
    let mut host = Host::with_table(config(vec![service]), &table, |_| good());
    assert_eq!(host.wanted(), [(1, 1)]);
    assert_eq!(host.pool.quorum(&web()), Some(Level::Up));
    host.run_until(s(0.5));
    assert_eq!(host.wanted(), [(1, 1), (2, 1)]);
}

#[test]
fn a_server_that_was_added_is_adopted_at_the_next_table() {
    let check = Check {
        initial: Initial::AsKernel,
        ..plain()
    };
    let first = config(vec![service(check.clone(), &[1])]);
    let mut host = Host::new(first, |made| if made.host() == 1 { good() } else { None });
    host.run_until(s(1.5));
    host.reload(config(vec![service(check, &[1, 1])]));
    assert_eq!(host.wanted(), [(1, 1)]);
    let table = listed(&[(1, 1, 0, Stats::default()), (2, 1, 0, Stats::default())]);
    host.pool.handle_table(host.now, &table);
    assert_eq!(host.wanted(), [(1, 1), (2, 1)]);
}

#[test]
fn a_table_that_may_be_incomplete_proves_no_absence() {
    let mut host = Host::new(config(vec![service(plain(), &[1, 1])]), |_| good());
    host.run_until(s(0.5));
    host.pool
        .set_operator(host.now, &web(), &key(1), Operator::Drain)
        .unwrap();
    host.changes();
    let torn = Table {
        may_be_incomplete: true,
        ..listed(&[(2, 1, 0, Stats::default())])
    };
    host.pool.handle_table(host.now, &torn);
    assert_eq!(host.changes(), Vec::<String>::new());
    host.pool
        .handle_table(host.now, &listed(&[(2, 1, 0, Stats::default())]));
    assert_eq!(host.changes(), ["server 10.0.0.1:80 drained"]);
}

#[test]
fn a_server_is_drained_when_its_connections_are_over() {
    let mut host = Host::new(config(vec![service(plain(), &[1, 1])]), |_| good());
    host.run_until(s(0.5));
    host.pool
        .set_operator(host.now, &web(), &key(1), Operator::Drain)
        .unwrap();
    host.changes();
    // Not yet applied, and then with connections.
    for (weight, connections) in [(1, 0), (0, 7)] {
        let table = listed(&[
            (1, weight, connections, stats(9, 9)),
            (2, 1, 0, stats(9, 9)),
        ]);
        host.pool.handle_table(host.now, &table);
        assert_eq!(host.changes(), Vec::<String>::new());
    }
    assert_eq!(
        host.pool.explain(&web(), &key(1)).unwrap().connections,
        Some(7)
    );
    host.pool
        .handle_table(host.now, &listed(&[(1, 0, 0, stats(9, 9))]));
    assert_eq!(host.changes(), ["server 10.0.0.1:80 drained"]);
}

#[test]
fn connections_without_an_answer_lead_to_a_probe_at_once() {
    let mut service = service(
        Check {
            interval: s(60.0),
            ..plain()
        },
        &[1, 1],
    );
    service.passive = Some(Passive {
        connections_without_answer: 5,
    });
    let mut host = Host::new(config(vec![service]), |_| good());
    host.run_until(s(10.0));
    let table = |one: Stats, two: Stats| listed(&[(1, 1, 0, one), (2, 1, 0, two)]);
    host.pool
        .handle_table(host.now, &table(stats(100, 500), stats(100, 500)));
    host.pool
        .handle_table(host.now, &table(stats(104, 500), stats(150, 600)));
    host.run_until(s(11.0));
    assert_eq!(host.made.len(), 2, "four are too few, and server 2 answers");
    host.set_reply(|_| bad());
    host.pool
        .handle_table(host.now, &table(stats(109, 500), stats(150, 600)));
    host.run_until(s(11.5));
    assert_eq!(host.made.len(), 3);
    assert_eq!(host.pool.counters().hints, 1);
    // No result of a check, so no verdict by itself.
    assert_eq!(host.wanted(), [(2, 1)]);
}

#[test]
fn counters_that_start_over_are_no_sign() {
    let mut service = service(
        Check {
            interval: s(60.0),
            ..plain()
        },
        &[1],
    );
    service.passive = Some(Passive {
        connections_without_answer: 1,
    });
    let mut host = Host::new(config(vec![service]), |_| good());
    host.run_until(s(1.0));
    for counters in [stats(100, 0), stats(0, 0)] {
        host.pool
            .handle_table(host.now, &listed(&[(1, 1, 0, counters)]));
    }
    assert_eq!(host.pool.counters().hints, 0);
}

#[test]
fn services_and_servers_that_left_are_owned_until_the_kernel_lacks_them() {
    let mut host = Host::new(config(vec![service(plain(), &[1, 1])]), |_| good());
    host.run_until(s(0.5));
    host.reload(config(vec![service(plain(), &[1])]));
    let removals = host.pool.removals().destinations;
    assert_eq!(removals.len(), 1);
    assert!(
        removals[&(web(), key(2))].is_some(),
        "it is alive, so it drains"
    );
    host.pool
        .handle_table(host.now, &listed(&[(1, 1, 0, Stats::default())]));
    assert!(host.pool.removals().destinations.is_empty());

    host.reload(config(vec![]));
    assert_eq!(host.pool.owned(), [web()]);
    host.pool
        .handle_table(host.now, &listed(&[(1, 1, 0, Stats::default())]));
    assert_eq!(host.pool.owned(), [web()]);
    host.pool.handle_table(host.now, &Table::default());
    assert_eq!(host.pool.owned(), []);
}
