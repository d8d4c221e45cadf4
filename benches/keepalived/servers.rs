//! The virtual servers, in a guest: start, reload, memory.

use std::{
    collections::HashMap,
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use ipvs_netlink::Client;
use socket2::{Domain, Protocol, Socket, Type};
use vrrp_benches::{Error, Table, verdict};

use crate::{
    LIMIT,
    configuration::{self, PORT, Size, server, service},
    guest_network,
    program::Program,
};

/// Connections that wait at the servers, at most.
const BACKLOG: i32 = 4096;

/// The results of one program.
struct Figures {
    /// From the start to the whole table.
    table: Duration,
    /// Checks a second before the reload.
    rate: f64,
    /// From SIGHUP to the change.
    change: Duration,
    /// Servers that were not checked in one and a half intervals around the reload.
    skipped: usize,
    longest: Duration,
    /// The written pages of all processes, in KiB.
    memory: f64,
}

/// Measures each program, and prints a table.
pub(crate) fn run() -> Result<(), Error> {
    let size = Size::for_host();
    let network = guest_network()?;
    network.enter()?;
    let mut table = Table::new(&[
        "virtual servers",
        "whole table ms",
        "checks/s",
        "reload: change ms",
        "skipped checks",
        "longest gap s",
        "written KiB",
    ]);
    let checks = Checks::record()?;
    let mut skipped = None;
    for program in Program::of_guest() {
        let figures = measure(&program, size, &network, &checks)?;
        skipped.get_or_insert(figures.skipped);
        table.row([
            program.name().to_owned(),
            format!("{:.0}", figures.table.as_secs_f64() * 1e3),
            format!("{:.0}", figures.rate),
            format!("{:.0}", figures.change.as_secs_f64() * 1e3),
            figures.skipped.to_string(),
            format!("{:.1}", figures.longest.as_secs_f64()),
            format!("{:.0}", figures.memory),
        ]);
    }
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    println!(
        "Linux {} as a guest: {} virtual servers of {}, each checked every {} s; one weight of the \
         file changes\n{table}",
        release.trim(),
        size.services,
        size.servers,
        size.interval
    );
    let skipped = skipped.unwrap_or_default();
    #[expect(clippy::cast_precision_loss, reason = "some thousands at the most")]
    let is_met = verdict(skipped as f64, Some(0.0));
    println!("checks skipped in a reload: {skipped} of 0 allowed, {is_met}");
    Ok(())
}

fn measure(
    program: &Program,
    size: Size,
    network: &vrrp_lab::Namespace,
    checks: &Checks,
) -> Result<Figures, Error> {
    let mut client = Client::open()?;
    client.flush()?;
    let interval = Duration::from_secs(size.interval.into());
    let text = configuration::with_servers("", size);
    let started = Instant::now();
    let running = program.start(network, &text, &["--check"])?;
    let table = wait_for_table(&mut client, size, started)
        .map_err(|error| format!("{}: {error}: {}", program.name(), running.log()))?;

    // The first round: one second in keepalived, and the warm-up, which is an interval.
    thread::sleep((started + interval + interval / 2).saturating_duration_since(Instant::now()));
    let calm = Instant::now();
    thread::sleep(interval / 2);
    let reloaded = Instant::now();
    let rate = checks.between(calm, reloaded).len();
    let changed = text.replacen("weight 1", "weight 7", 1);
    running.reload(&changed)?;
    let change = wait_for_weight(&mut client, reloaded)
        .map_err(|error| format!("{}: {error}: {}", program.name(), running.log()))?;
    thread::sleep((reloaded + interval * 5 / 2).saturating_duration_since(Instant::now()));
    let end = Instant::now();
    let (skipped, longest) = gaps(size, &checks.between(started, end), reloaded, end);
    let memory = running.memory()?;
    running.stop()?;
    #[expect(clippy::cast_precision_loss, reason = "some thousands at the most")]
    let rate = rate as f64 / (reloaded - calm).as_secs_f64();
    Ok(Figures {
        table,
        rate,
        change,
        skipped,
        longest,
        memory,
    })
}

/// The time until all destinations are in the table. The guest has one processor, so only the last
/// service of the file is requested until it is complete.
fn wait_for_table(client: &mut Client, size: Size, started: Instant) -> Result<Duration, Error> {
    let last = service(size.services - 1);
    let mut found = 0;
    while started.elapsed() < LIMIT {
        // The service is not there at first.
        let listed = client.destinations(last).unwrap_or_default();
        if listed.len() == usize::from(size.servers) {
            let asked = started.elapsed();
            let table = client.table()?;
            let entries = table.entries.iter();
            found = entries.map(|entry| entry.destinations.len()).sum();
            if found == size.destinations() {
                return Ok(asked);
            }
        }
        thread::sleep(Duration::from_millis(2));
    }
    Err(format!("{found} destinations of {}", size.destinations()).into())
}

/// The time until the first destination has its new weight.
fn wait_for_weight(client: &mut Client, since: Instant) -> Result<Duration, Error> {
    let address = IpAddr::from(server(0, 1));
    while since.elapsed() < LIMIT {
        let listed = client.destinations(service(0))?;
        let mut listed = listed.iter().map(|it| it.destination);
        if listed.any(|it| it.key.address == address && it.weight.get() == 7) {
            return Ok(since.elapsed());
        }
        thread::sleep(Duration::from_millis(2));
    }
    Err("the weight did not change".into())
}

/// The servers without a check for more than one and a half intervals around a time, and the
/// longest time without a check.
fn gaps(
    size: Size,
    checks: &[(Instant, Ipv4Addr)],
    around: Instant,
    end: Instant,
) -> (usize, Duration) {
    let limit = Duration::from_secs(size.interval.into()) * 3 / 2;
    let mut of_servers: HashMap<Ipv4Addr, Vec<Instant>> = HashMap::new();
    for (at, server) in checks {
        of_servers.entry(*server).or_default().push(*at);
    }
    let all = (0..size.services)
        .flat_map(|number| (1..=size.servers).map(move |place| server(number, place)));
    let gap = |server: Ipv4Addr| {
        let mut times = of_servers.get(&server).cloned().unwrap_or_default();
        times.push(end);
        let after = times.partition_point(|at| *at <= around);
        let before = after.checked_sub(1).and_then(|place| times.get(place));
        // One that was never checked before has no gap.
        let (before, after) = (before?, times.get(after)?);
        Some(*after - *before)
    };
    let gaps: Vec<Duration> = all.map(|server| gap(server).unwrap_or(limit * 2)).collect();
    let skipped = gaps.iter().filter(|gap| **gap > limit).count();
    (skipped, gaps.into_iter().max().unwrap_or_default())
}

/// The servers, which accept connections, and when they did.
struct Checks(Arc<Mutex<Vec<(Instant, Ipv4Addr)>>>);

impl Checks {
    fn record() -> Result<Self, Error> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        let all = SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT));
        socket.bind(&all.into())?;
        socket.listen(BACKLOG)?;
        let listener = TcpListener::from(socket);
        let checks = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&checks);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let at = Instant::now();
                // A client that has gone already counts too.
                let Some(IpAddr::V4(server)) = stream
                    .ok()
                    .and_then(|it| it.local_addr().ok())
                    .map(|it| it.ip())
                else {
                    continue;
                };
                let mut checks = shared.lock().unwrap_or_else(PoisonError::into_inner);
                checks.push((at, server));
            }
        });
        Ok(Self(checks))
    }

    fn between(&self, start: Instant, end: Instant) -> Vec<(Instant, Ipv4Addr)> {
        let checks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_in = |(at, _): &&(Instant, Ipv4Addr)| (start..end).contains(at);
        checks.iter().filter(is_in).copied().collect()
    }
}
