//! Drain, maintenance and weights by the operator.

use ipvs_netlink::{
    ServiceKey,
    pool::{Check, Initial, Operator, Out, PoolChange, UnknownServer, Usage},
};

use crate::host::*;

#[test]
fn a_drained_server_leaves_with_its_drain_policy_and_returns_at_once() {
    let mut host = Host::new(config(vec![service(plain(), &[1, 1])]), |_| good());
    host.run_until(s(0.5));
    host.changes();
    host.pool
        .set_operator(host.now, &web(), &key(1), Operator::Drain)
        .unwrap();
    assert_eq!(host.wanted(), [(2, 1)]);
    assert_eq!(
        host.changes(),
        ["server 10.0.0.1:80 drain", "server 10.0.0.1:80 draining"]
    );
    let removals = host.pool.removals();
    assert_eq!(removals.destinations.len(), 1);
    assert!(removals.destinations[&(web(), key(1))].is_some());
    // Its checks continue.
    host.run_until(s(2.5));
    assert_eq!(host.starts(1).len(), 3);
    host.pool
        .set_operator(host.now, &web(), &key(1), Operator::Ready)
        .unwrap();
    assert_eq!(host.wanted(), [(1, 1), (2, 1)]);
}

#[test]
fn a_server_in_maintenance_is_out_at_once_and_checked_before_it_returns() {
    let mut host = Host::new(config(vec![service(plain(), &[1, 1])]), |_| good());
    host.run_until(s(0.5));
    host.pool
        .set_operator(host.now, &web(), &key(1), Operator::Maintenance)
        .unwrap();
    assert_eq!(host.wanted(), [(2, 1)]);
    assert_eq!(host.pool.removals().destinations[&(web(), key(1))], None);
    host.run_until(s(5.0));
    assert_eq!(host.starts(1).len(), 1, "no checks");
    host.pool
        .set_operator(host.now, &web(), &key(1), Operator::Ready)
        .unwrap();
    assert_eq!(host.wanted(), [(2, 1)]);
    host.run_until(s(5.1));
    assert_eq!(host.wanted(), [(1, 1), (2, 1)]);
}

#[test]
fn a_failed_server_leaves_at_once() {
    let mut host = Host::new(config(vec![service(plain(), &[1, 1])]), |made| {
        if made.host() == 1 { bad() } else { good() }
    });
    host.run_until(s(0.5));
    assert_eq!(host.pool.removals().destinations[&(web(), key(1))], None);
}

#[test]
fn a_weight_by_the_operator_replaces_the_configured_one() {
    let mut host = Host::new(config(vec![service(plain(), &[5, 5])]), |_| good());
    host.run_until(s(0.5));
    host.changes();
    let weight = Some(9.into());
    host.pool
        .set_weight(host.now, &web(), &key(1), weight)
        .unwrap();
    assert_eq!(host.wanted(), [(1, 9), (2, 5)]);
    assert_eq!(host.changes(), ["server 10.0.0.1:80 weight 5 to 9"]);
    host.pool
        .set_weight(host.now, &web(), &key(1), None)
        .unwrap();
    assert_eq!(host.wanted(), [(1, 5), (2, 5)]);
}

#[test]
fn settings_of_the_operator_survive_a_reload() {
    let mut host = Host::new(config(vec![service(plain(), &[5, 5, 5])]), |_| good());
    host.run_until(s(0.5));
    host.pool
        .set_operator(host.now, &web(), &key(1), Operator::Drain)
        .unwrap();
    host.pool
        .set_operator(host.now, &web(), &key(2), Operator::Maintenance)
        .unwrap();
    host.pool
        .set_weight(host.now, &web(), &key(3), Some(9.into()))
        .unwrap();
    let other_checks = Check {
        port: Some(81),
        ..plain()
    };
    host.reload(config(vec![service(other_checks, &[5, 5, 5, 5])]));
    host.run_until(s(3.0));
    assert_eq!(host.wanted(), [(3, 9), (4, 5)]);
    assert_eq!(host.starts(2).len(), 1);
}

#[test]
fn the_sorry_server_comes_when_the_operator_drains_all() {
    let mut service = service(plain(), &[1, 1]);
    service.sorry_server = Some(sorry());
    let mut host = Host::new(config(vec![service]), |_| good());
    host.run_until(s(0.5));
    for server in [1, 2] {
        host.pool
            .set_operator(host.now, &web(), &key(server), Operator::Drain)
            .unwrap();
    }
    assert_eq!(host.wanted(), [(99, 1)]);
    let explanation = host.pool.explain(&web(), &key(1)).unwrap();
    assert_eq!(explanation.usage, Usage::Out(Out::Drain));
}

#[test]
fn the_brake_does_not_count_what_the_operator_took_out() {
    let mut service = service(plain(), &[1; 4]);
    service.brake = Some(ipvs_netlink::pool::Limit::Servers(1));
    let mut host = Host::new(config(vec![service]), |_| good());
    host.run_until(s(0.5));
    host.pool
        .set_operator(host.now, &web(), &key(1), Operator::Maintenance)
        .unwrap();
    host.set_reply(|made| if made.host() >= 3 { bad() } else { good() });
    host.run_until(s(1.5));
    assert_eq!(host.wanted(), [(2, 1), (4, 1)]);
}

#[test]
fn unknown_servers_are_refused() {
    let mut host = Host::new(config(vec![service(plain(), &[1])]), |_| good());
    let error = host
        .pool
        .set_operator(s(0.0), &web(), &key(7), Operator::Drain)
        .unwrap_err();
    assert_eq!(error, UnknownServer::Server(web(), key(7)));
    let other = ipvs_netlink::ServiceKey::udp(([192, 0, 2, 1], 80));
    assert!(host.pool.set_suspended(s(0.0), &other, true).is_err());
    assert!(host.pool.explain(&other, &key(1)).is_none());
}

#[test]
fn a_drained_server_that_is_inhibited_stays_with_weight_0() {
    let mut service = service(
        Check {
            initial: Initial::Up,
            ..plain()
        },
        &[1, 1],
    );
    service.inhibit_on_failure = true;
    let mut host = Host::new(config(vec![service]), |_| good());
    host.run_until(s(0.5));
    host.pool
        .set_operator(host.now, &web(), &key(1), Operator::Drain)
        .unwrap();
    assert_eq!(host.wanted(), [(1, 0), (2, 1)]);
}

/// A host whose two services check server 1 every ten minutes, with all probes just made.
fn host_of_two_services() -> Host {
    let check = || Check {
        interval: s(600.0),
        ..plain()
    };
    let mut other = service(check(), &[1]);
    other.service.key = ServiceKey::tcp(([192, 0, 2, 1], 443));
    let mut host = Host::new(config(vec![service(check(), &[1]), other]), |_| good());
    host.run_until(s(5.0));
    host
}

#[test]
fn resumed_checks_are_due_at_once_although_another_service_has_them_too() {
    let mut host = host_of_two_services();
    host.pool.set_suspended(host.now, &web(), true).unwrap();
    host.run_until(s(10.0));
    assert_eq!(host.starts(1).len(), 1);
    host.set_reply(|_| bad());
    host.pool.set_suspended(host.now, &web(), false).unwrap();
    host.run_until(s(10.1));
    assert_eq!(host.time_of(PoolChange::ServerDown(key(1))), s(10.001));
}

#[test]
fn a_server_returns_from_maintenance_at_once_although_another_service_checks_it() {
    let mut host = host_of_two_services();
    let set = |host: &mut Host, operator| {
        let (now, pool) = (host.now, &mut host.pool);
        pool.set_operator(now, &web(), &key(1), operator).unwrap();
    };
    set(&mut host, Operator::Maintenance);
    host.run_until(s(10.0));
    assert_eq!(host.wanted(), []);
    set(&mut host, Operator::Ready);
    host.run_until(s(10.1));
    assert_eq!(host.wanted(), [(1, 1)]);
}
