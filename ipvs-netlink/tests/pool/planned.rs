//! The wanted table of a pool, brought into a kernel's table by `plan`.

use std::time::Duration;

use ipvs_netlink::{
    Stats, Table,
    plan::{Drain, Draining, Policy, Wanted, plan},
    pool::{Operator, Panic},
};

use crate::host::*;

/// The steps from this table of the kernel to the wanted one.
fn steps(host: &Host, table: &Table) -> Vec<String> {
    let servers = host.pool.wanted();
    let removals = host.pool.removals();
    let wanted = Wanted::new(&servers).with_removals(&removals);
    let plan = plan(
        table,
        wanted,
        &Policy::AT_ONCE,
        &Draining::default(),
        Duration::ZERO,
    );
    plan.steps.iter().map(ToString::to_string).collect()
}

fn kernel(servers: &[(u8, u32)]) -> Table {
    let servers: Vec<_> = servers
        .iter()
        .map(|(host, connections)| (*host, 1, *connections, Stats::default()))
        .collect();
    listed(&servers)
}

#[test]
fn a_dead_server_goes_at_once_and_a_drained_one_keeps_its_connections() {
    let mut host = Host::new(config(vec![service(plain(), &[1, 1, 1])]), |made| {
        if made.host() == 1 { bad() } else { good() }
    });
    host.run_until(s(0.5));
    host.pool
        .set_operator(host.now, &web(), &key(2), Operator::Drain)
        .unwrap();
    assert_eq!(
        steps(&host, &kernel(&[(1, 5), (2, 5), (3, 5)])),
        [
            "delete destination 10.0.0.1:80 of tcp 192.0.2.1:80 (no longer wanted)",
            "update destination 10.0.0.2:80 masquerade weight 0 of tcp 192.0.2.1:80 \
             (no longer wanted)",
        ]
    );
}

#[test]
fn the_sorry_server_is_in_before_the_last_server_is_out_and_out_after_the_first_is_back() {
    let mut service = service(plain(), &[1]);
    service.sorry_server = Some(sorry());
    service.drain = None;
    let mut host = Host::new(config(vec![service]), |_| bad());
    host.run_until(s(0.5));
    assert_eq!(
        steps(&host, &kernel(&[(1, 0)])),
        [
            "add destination 10.0.0.99:80 masquerade weight 1 to tcp 192.0.2.1:80",
            "delete destination 10.0.0.1:80 of tcp 192.0.2.1:80 (no longer wanted)",
        ]
    );
    host.set_reply(|_| good());
    host.run_until(s(1.5));
    let steps = steps(&host, &kernel(&[(99, 0)]));
    assert_eq!(
        steps[0],
        "add destination 10.0.0.1:80 masquerade weight 1 to tcp 192.0.2.1:80"
    );
    assert!(steps[1..].iter().all(|step| step.contains("10.0.0.99:80")));
}

#[test]
fn the_servers_of_a_service_that_left_go_at_once() {
    let mut host = Host::new(config(vec![service(plain(), &[1])]), |_| good());
    host.run_until(s(0.5));
    host.reload(config(vec![]));
    let steps = steps(&host, &kernel(&[(1, 5)]));
    assert_eq!(
        steps.last().unwrap(),
        "delete service tcp 192.0.2.1:80 (no longer wanted)"
    );
    assert!(
        !steps.iter().any(|step| step.contains("weight 0")),
        "{steps:?}"
    );
}

/// The steps for a sorry server with connections that is no longer in use.
fn sorry_leaves(drain: Option<Drain>, leave: impl Fn(&mut Host)) -> Vec<String> {
    let mut service = service(plain(), &[1]);
    service.sorry_server = Some(sorry());
    service.drain = drain;
    let mut host = Host::new(config(vec![service]), |_| bad());
    host.run_until(s(0.5));
    assert_eq!(host.wanted(), [(99, 1)]);
    leave(&mut host);
    host.set_reply(|_| good());
    host.run_until(s(1.5));
    assert_eq!(host.wanted(), [(1, 1)]);
    steps(&host, &kernel(&[(1, 0), (99, 5)]))
}

const DELETED: &str = "delete destination 10.0.0.99:80 of tcp 192.0.2.1:80 (no longer wanted)";
const DRAINED: &str = "update destination 10.0.0.99:80 masquerade weight 0 of tcp 192.0.2.1:80 \
                       (no longer wanted)";

#[test]
fn a_sorry_server_that_makes_way_keeps_its_connections_as_live_servers_do() {
    assert_eq!(sorry_leaves(Some(Drain::default()), |_| ()), [DRAINED]);
    assert_eq!(sorry_leaves(None, |_| ()), [DELETED]);
}

#[test]
fn a_sorry_server_that_leaves_the_configuration_keeps_its_connections() {
    let without = |drain: Option<Drain>| {
        move |host: &mut Host| {
            let mut service = service(plain(), &[1]);
            service.panic = Panic::Off;
            service.drain = drain;
            host.reload(config(vec![service]));
        }
    };
    let drain = Some(Drain::default());
    assert_eq!(sorry_leaves(drain, without(drain)), [DRAINED]);
    assert_eq!(sorry_leaves(None, without(None)), [DELETED]);
}
