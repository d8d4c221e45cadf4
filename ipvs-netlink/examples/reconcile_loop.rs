//! Keeps a service as a list of servers wants it, and drains servers that leave.
//!
//! `cargo run --example reconcile_loop 192.0.2.1:80 10.0.0.1:8080 10.0.0.2:8080` as root. Each line
//! on standard input is a new list of servers; the end of the input drains all.

use std::{
    env,
    error::Error,
    io::{self, BufRead},
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use ipvs_netlink::{
    Client, Destination, DestinationKey, ForwardingMethod, Scheduler, Service, ServiceKey,
    VirtualServer,
    plan::{Drain, Policy, Reconciler, Scope, Wanted},
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = env::args().skip(1);
    let address: SocketAddr = words.next().ok_or("no address of the service")?.parse()?;
    let service = Service::new(ServiceKey::tcp(address), Scheduler::LC);
    // Other services are out of scope: they are neither read nor changed.
    let ours = [service.key];

    let mut client = Client::open()?;
    let drain = Drain {
        at_most: Duration::from_secs(60),
        ..Drain::default()
    };
    let mut reconciler = Reconciler::new(Policy::drained(drain));
    let start = Instant::now();
    let mut apply = |servers: &[VirtualServer]| {
        let wanted = Wanted::new(servers).within(Scope::Services(&ours));
        let report = client.reconcile(&mut reconciler, wanted, start.elapsed())?;
        for step in &report.applied {
            println!("{step}");
        }
        for failure in &report.failed {
            eprintln!("{}", failure.error);
        }
        Ok::<_, Box<dyn Error>>(report.wait)
    };

    let parse = |word: &str| -> Result<Destination, Box<dyn Error>> {
        let key = DestinationKey::new(word.parse::<SocketAddr>()?);
        Ok(Destination::new(key, ForwardingMethod::Masquerade))
    };
    let first: Vec<String> = words.collect();
    let lines = io::stdin().lock().lines();
    for line in [Ok(first.join(" "))].into_iter().chain(lines) {
        let destinations = line?
            .split_whitespace()
            .map(parse)
            .collect::<Result<_, _>>()?;
        apply(&[VirtualServer {
            service,
            destinations,
        }])?;
    }
    // Without any wanted service, the old one goes when its connections have ended.
    while let Some(wait) = apply(&[])? {
        thread::sleep(wait.min(Duration::from_secs(1)));
    }
    Ok(())
}
