//! Spreads the connections to one address over servers, and repairs the table when it changes.
//!
//! `cargo run --example guide_ipvs -- 192.0.2.254:80 10.0.0.1:8080 10.0.0.2:8080`, as root.

use std::{
    env,
    net::{AddrParseError, SocketAddr},
    thread,
    time::{Duration, Instant},
};

use ipvs_netlink::{
    Client, Destination, DestinationKey, ForwardingMethod, Scheduler, Service, ServiceKey,
    VirtualServer,
    plan::{Policy, Reconciler, Scope, Wanted},
};

/// The time between two reconciliations.
const INTERVAL: Duration = Duration::from_secs(2);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = env::args().skip(1);
    let address: SocketAddr = arguments
        .next()
        .ok_or("the address of a service")?
        .parse()?;
    let service = Service::new(ServiceKey::tcp(address), Scheduler::WLC);
    let destinations = arguments
        .map(|server| {
            let key = DestinationKey::new(server.parse::<SocketAddr>()?);
            Ok(Destination::new(key, ForwardingMethod::Masquerade))
        })
        .collect::<Result<_, AddrParseError>>()?;
    let servers = [VirtualServer {
        service,
        destinations,
    }];

    // Services of other programs are outside the scope, and stay as they are.
    let ours = [service.key];
    let wanted = Wanted::new(&servers).within(Scope::Services(&ours));
    let mut client = Client::open()?;
    let mut reconciler = Reconciler::new(Policy::default());
    let start = Instant::now();
    loop {
        let report = client.reconcile(&mut reconciler, wanted, start.elapsed())?;
        for step in &report.applied {
            println!("{step}");
        }
        for failure in &report.failed {
            eprintln!("{}: {}", failure.step, failure.error);
        }
        // A removed server may have connections; the report says when its drain ends.
        thread::sleep(report.wait.unwrap_or(INTERVAL).min(INTERVAL));
    }
}
