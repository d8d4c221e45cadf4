//! The memory that a pool keeps for each check, and that a reload leaves.

use std::time::Duration;

use allocation_counter::measure;
use ipvs_netlink::{
    Destination, DestinationKey, ForwardingMethod, Scheduler, Service, ServiceKey, Table, Weight,
    pool::{Action, Check, Config, Outcome, Pool, RealServer, VirtualServer},
};

/// Virtual servers, and real servers of each. Each real server has a check.
const SERVICES: u16 = 1000;
const SERVERS: u8 = 10;

/// The most bytes for a check with its real server.
const MOST: i64 = 760;

/// An attempt of the size of those of the programs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Attempt([u64; 12]);

/// A configuration in which each real server has a check of its own, as keepalived's have.
fn config(first_weight: u16) -> Config<Attempt> {
    let service = |number: u16| {
        let [high, low] = number.to_be_bytes();
        let key = ServiceKey::tcp(([192, 0, high, low], 80));
        let mut service = VirtualServer::new(Service::new(key, Scheduler::RR));
        for host in 0..SERVERS {
            let key = DestinationKey::new(([10, high, low, host], 80));
            let mut server = Destination::new(key, ForwardingMethod::Masquerade);
            if (number, host) == (0, 0) {
                server.weight = Weight::from(first_weight);
            }
            let mut server = RealServer::new(server);
            let mut check = Check::new(Attempt([7; 12]));
            check.name = "TCP_CHECK".into();
            check.address = Some(key.address);
            check.port = Some(key.port);
            server.checks.push(check);
            service.servers.push(server);
        }
        service
    };
    Config {
        services: (0..SERVICES).map(service).collect(),
        ..Config::default()
    }
}

/// Makes each check once, and takes all events. `None` if a probe is not due.
fn run(pool: &mut Pool<Attempt>) -> Option<()> {
    for _ in 0..checks() {
        let now = pool.poll_timeout()?;
        pool.handle_timeout(now);
        let Action::Probe(probe) = pool.poll_action(now)? else {
            return None;
        };
        let id = probe.id;
        pool.handle_result(now, id, Outcome::SUCCESS);
    }
    take_events(pool);
    Some(())
}

fn take_events(pool: &mut Pool<Attempt>) {
    while pool.poll_event().is_some() {}
    while pool.poll_changed().is_some() {}
}

fn checks() -> i64 {
    i64::from(SERVICES) * i64::from(SERVERS)
}

#[test]
fn a_check_with_its_server_keeps_few_bytes_and_a_reload_adds_none() {
    let mut running = None;
    let start = measure(|| {
        let mut pool = Pool::new(Duration::ZERO, config(1), &Table::default()).unwrap();
        run(&mut pool).unwrap();
        running = Some(pool);
    });
    let each = start.bytes_current / checks();
    assert!((1..=MOST).contains(&each), "{each} bytes for each check");

    let mut pool = running.unwrap();
    let reload = measure(|| {
        let now = pool.poll_timeout().unwrap();
        pool.reconfigure(now, config(7)).unwrap();
        take_events(&mut pool);
    });
    let each = reload.bytes_current / checks();
    assert!(each <= 0, "{each} more bytes for each check");
}
