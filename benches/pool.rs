//! Time of a check in the pool among up to 100,000, beside a heap that only keeps the times.
//!
//! `cargo bench -p vrrp-benches --bench pool [-- --quick]`

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    time::{Duration, Instant},
};

use ipvs_netlink::{
    Destination, DestinationKey, ForwardingMethod, Scheduler, Service, ServiceKey,
    pool::{Action, Check, Config, FailureKind, Initial, Outcome, Pool, RealServer, VirtualServer},
};
use vrrp_benches::{Error, Repeat, Table, interleave, is_quick, median};

/// Calls over which allocations are counted.
const CALLS: u32 = 2000;

/// Services, and servers of each.
const SHAPES: [(u16, u8); 4] = [(100, 10), (1_000, 10), (10_000, 10), (1_000, 100)];

fn main() -> Result<(), Error> {
    steps()?;
    whole()?;
    Ok(())
}

fn config(services: u16, servers: u8) -> Config<&'static str> {
    let service = |number: u16| {
        let [high, low] = number.to_be_bytes();
        let key = ServiceKey::tcp(([192, 0, high, low], 80));
        let mut service = VirtualServer::new(Service::new(key, Scheduler::WRR));
        service.checks.push(Check {
            initial: Initial::Up,
            fall: 1,
            rise: 1,
            ..Check::new("tcp")
        });
        for host in 0..servers {
            let key = DestinationKey::new(([10, high, low, host], 80));
            let destination = Destination::new(key, ForwardingMethod::Masquerade);
            service.servers.push(RealServer::new(destination));
        }
        service
    };
    Config {
        services: (0..services).map(service).collect(),
        ..Config::default()
    }
}

fn pool(services: u16, servers: u8) -> Result<Pool<&'static str>, Error> {
    let none = ipvs_netlink::Table::default();
    Ok(Pool::new(Duration::ZERO, config(services, servers), &none)?)
}

/// One check: the next deadline, its probe, its result, the next deadline.
fn check(pool: &mut Pool<&'static str>, outcome: &Outcome) {
    let Some(now) = pool.poll_timeout() else {
        return;
    };
    pool.handle_timeout(now);
    if let Some(Action::Probe(probe)) = pool.poll_action(now) {
        let id = probe.id;
        pool.handle_result(now, id, outcome.clone());
    }
}

/// All checks succeed.
fn succeeds(services: u16, servers: u8) -> Result<Repeat, Error> {
    let mut pool = pool(services, servers)?;
    // All have had a result.
    for _ in 0..2 * u32::from(services) * u32::from(servers) {
        check(&mut pool, &Outcome::SUCCESS);
    }
    Ok(Box::new(move |times| {
        for _ in 0..times {
            check(&mut pool, &Outcome::SUCCESS);
        }
    }))
}

/// Each result changes its server, the wanted table of its service, and makes events.
fn flaps(services: u16, servers: u8) -> Result<Repeat, Error> {
    let mut pool = pool(services, servers)?;
    let refused = Outcome::failure(FailureKind::Refused, "connection refused");
    let mut left = 0;
    let checks = u32::from(services) * u32::from(servers);
    Ok(Box::new(move |times| {
        for _ in 0..times {
            let round = (left / checks) % 2;
            let outcome = if round == 0 {
                &refused
            } else {
                &Outcome::SUCCESS
            };
            check(&mut pool, outcome);
            left += 1;
            while pool.poll_event().is_some() {}
            while pool.poll_changed().is_some() {}
        }
    }))
}

/// The same deadlines in a heap, without any decision.
fn floor(services: u16, servers: u8) -> Repeat {
    let checks = u32::from(services) * u32::from(servers);
    let at = |number: u32| Duration::from_nanos(u64::from(number) * 7919 % 2_000_000_000);
    let mut heap: BinaryHeap<_> = (0..checks)
        .map(|number| Reverse((at(number), number)))
        .collect();
    Box::new(move |times| {
        for _ in 0..times {
            if let Some(Reverse((at, number))) = heap.pop() {
                heap.push(Reverse((at + Duration::from_secs(2), number)));
            }
        }
    })
}

fn steps() -> Result<(), Error> {
    let mut table = Table::new(&[
        "check",
        "checks",
        "servers of a service",
        "best ns",
        "median ns",
        "heap ns",
        "x heap",
        "% of a core at all checks a second",
        "allocations per check",
    ]);
    for (services, servers) in SHAPES {
        let mut works = [
            ("result as before", succeeds(services, servers)?),
            ("result changes the table", flaps(services, servers)?),
            ("", floor(services, servers)),
        ];
        let samples = interleave(works.iter_mut().map(|(_, work)| work));
        let [.., floor] = &samples[..] else {
            return Err("three kinds of work".into());
        };
        let checks = f64::from(services) * f64::from(servers);
        for ((name, work), samples) in works.iter_mut().zip(&samples).take(2) {
            let allocations = allocation_counter::measure(|| work(CALLS)).count_total;
            table.row([
                (*name).into(),
                checks.to_string(),
                servers.to_string(),
                format!("{:.0}", samples.best()),
                format!("{:.0}", samples.median()),
                format!("{:.0}", floor.median()),
                format!("{:.1}", samples.ratio(&[floor])),
                format!("{:.2}", samples.median() * checks / 1e9 * 100.0),
                format!(
                    "{}",
                    f64::from(u32::try_from(allocations)?) / f64::from(CALLS)
                ),
            ]);
        }
    }
    println!("{table}");
    Ok(())
}

/// Calls that concern all checks.
fn whole() -> Result<(), Error> {
    let rounds = if is_quick() { 3 } else { 21 };
    let mut table = Table::new(&[
        "checks",
        "octets per check",
        "start ms",
        "reload without change ms",
        "wanted table ms",
    ]);
    for (services, servers) in SHAPES {
        let mut built = None;
        let counted = allocation_counter::measure(|| built = Some(pool(services, servers)));
        let mut pool = built.ok_or("no pool")??;
        let (mut starts, mut reloads, mut tables) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            let milliseconds = |start: Instant| start.elapsed().as_secs_f64() * 1e3;
            let config = config(services, servers);
            let start = Instant::now();
            pool.reconfigure(Duration::ZERO, config)?;
            reloads.push(milliseconds(start));
            let start = Instant::now();
            std::hint::black_box(pool.wanted());
            tables.push(milliseconds(start));
            let start = Instant::now();
            std::hint::black_box(self::pool(services, servers)?);
            starts.push(milliseconds(start));
            while pool.poll_event().is_some() {}
        }
        let checks = f64::from(services) * f64::from(servers);
        table.row([
            checks.to_string(),
            format!(
                "{:.0}",
                f64::from(u32::try_from(counted.bytes_current)?) / checks
            ),
            format!("{:.1}", median(starts)),
            format!("{:.1}", median(reloads)),
            format!("{:.2}", median(tables)),
        ]);
    }
    println!("{table}");
    Ok(())
}
