//! A load balancer: it checks its servers, spreads connections over those that answer, and holds
//! the address of the service while enough of them do.
//!
//! `cargo run --example guide_load_balancer -- eth0 192.0.2.254/24 80 10.0.0.1:8080 10.0.0.2:8080`,
//! as root. SIGINT and SIGTERM shut it down cleanly.

use std::{
    collections::BTreeSet,
    env, io,
    net::{SocketAddr, TcpStream},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use ipvs_netlink::{
    Client, Destination, DestinationKey, ForwardingMethod, Scheduler, Service, ServiceKey,
    plan::{Policy, Reconciler, Scope, Wanted},
    pool::{self, Action, FailureKind, Level, Outcome, Pool, RealServer, VirtualServer},
};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};
use vrrp_net::{
    Check, Config, Driver, Family, Kind, Object, Report, RouterConfig, TrackRef, VirtualAddress,
    Vrid, Watch,
};

/// The time between two comparisons of the kernel's table, which other programs can change.
const REPAIR: Duration = Duration::from_secs(1);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = env::args().skip(1);
    let interface = arguments.next().ok_or("the name of an interface")?;
    let address: VirtualAddress = arguments.next().ok_or("a virtual address")?.parse()?;
    let port = arguments.next().ok_or("the port of the service")?.parse()?;
    let servers = arguments
        .map(|server| server.parse())
        .collect::<Result<Vec<SocketAddr>, _>>()?;

    // The virtual router needs the quorum of the pool: without it, another host takes over.
    let service = ServiceKey::tcp((address.address(), port));
    let mut driver = Driver::new()?;
    let election = Config::new(Vrid::try_from(51)?, Family::of(address.address()));
    let mut router = RouterConfig::new(interface, election, vec![address]);
    let quorum = driver.add_object(Object::new("quorum", Kind::Check(Check::EACH)), Watch::Host)?;
    router.tracking = vec![TrackRef::of(quorum)];
    driver.add(router)?;
    let handle = driver.handle();
    let routers = thread::spawn(move || driver.run(|notification| println!("{notification}")));
    let stopper = handle.clone();
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    thread::spawn(move || {
        if signals.forever().next().is_some() {
            stopper.stop();
        }
    });

    let start = Instant::now();
    let mut client = Client::open()?;
    let mut reconciler = Reconciler::new(Policy::default());
    let mut pool = Pool::new(
        start.elapsed(),
        configuration(service, &servers),
        &client.table()?,
    )?;
    let (sender, results) = mpsc::channel();
    let mut reported = Level::Unknown;
    let mut repaired = None::<Instant>;
    while !handle.is_stopped() {
        // Results come before time: an answer that has arrived beats its time limit.
        for (id, outcome) in results.try_iter() {
            pool.handle_result(start.elapsed(), id, outcome);
        }
        let now = start.elapsed();
        pool.handle_timeout(now);
        while let Some(action) = pool.poll_action(now) {
            if let Action::Probe(probe) = action {
                let (id, address, sender) = (probe.id, probe.address, sender.clone());
                let limit = probe.until.saturating_sub(now);
                thread::spawn(move || sender.send((id, connect(address, limit))));
            }
        }
        while let Some(event) = pool.poll_event() {
            println!("{event}");
        }
        let level = pool.quorum(&service).unwrap_or_default();
        if level != reported {
            let is_up = level == Level::Up;
            handle.report(quorum, if is_up { Report::Up } else { Report::Down })?;
            reported = level;
        }
        let changed: BTreeSet<_> = std::iter::from_fn(|| pool.poll_changed()).collect();
        if !changed.is_empty() || repaired.is_none_or(|at| at.elapsed() >= REPAIR) {
            reconcile(&mut client, &mut reconciler, &pool, start)?;
            repaired = Some(Instant::now());
        }
        let wait = pool
            .poll_timeout()
            .map_or(REPAIR, |at| at.saturating_sub(start.elapsed()));
        match results.recv_timeout(wait.min(REPAIR)) {
            Ok((id, outcome)) => pool.handle_result(start.elapsed(), id, outcome),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
    }
    routers.join().map_err(|_| "the driver panicked")??;
    pool.stop(start.elapsed());
    reconcile(&mut client, &mut reconciler, &pool, start)?;
    Ok(())
}

/// One service, whose servers have to accept a connection.
fn configuration(service: ServiceKey, servers: &[SocketAddr]) -> pool::Config<&'static str> {
    let mut web = VirtualServer::new(Service::new(service, Scheduler::WLC));
    web.panic = pool::Panic::Off;
    web.checks.push(pool::Check {
        fall: 2,
        interval: Duration::from_secs(1),
        ..pool::Check::new("connect")
    });
    for server in servers {
        let key = DestinationKey::new(*server);
        let destination = Destination::new(key, ForwardingMethod::Masquerade);
        web.servers.push(RealServer::new(destination));
    }
    pool::Config {
        services: vec![web],
        ..pool::Config::default()
    }
}

/// One probe: a connection to the server within a time limit.
fn connect(address: SocketAddr, limit: Duration) -> Outcome {
    let kind = match TcpStream::connect_timeout(&address, limit.max(Duration::from_millis(1))) {
        Ok(_) => return Outcome::SUCCESS,
        Err(error) => error.kind(),
    };
    let failure = match kind {
        io::ErrorKind::ConnectionRefused => FailureKind::Refused,
        io::ErrorKind::TimedOut => FailureKind::TimeLimit,
        _ => FailureKind::Unreachable,
    };
    Outcome::failure(failure, kind.to_string())
}

/// Makes the kernel's table the wanted one.
fn reconcile(
    client: &mut Client,
    reconciler: &mut Reconciler,
    pool: &Pool<&'static str>,
    start: Instant,
) -> Result<(), Box<dyn std::error::Error>> {
    let (servers, owned, removals) = (pool.wanted(), pool.owned(), pool.removals());
    let wanted = Wanted::new(&servers)
        .within(Scope::Services(&owned))
        .with_removals(&removals);
    let report = client.reconcile(reconciler, wanted, start.elapsed())?;
    for step in &report.applied {
        println!("{step}");
    }
    for failure in &report.failed {
        eprintln!("{}: {}", failure.step, failure.error);
    }
    Ok(())
}
