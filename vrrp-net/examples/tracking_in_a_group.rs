//! A gateway: two virtual routers that change their state together, an uplink that lowers their
//! priority, and a service that this program checks. As root:
//!
//! `cargo run --example tracking_in_a_group -- \
//!     eth0 192.0.2.254/24 eth1 198.51.100.254/24 eth2 127.0.0.1:80`

use std::{
    env,
    net::{SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use vrrp_net::{
    Check, Config, Driver, Family, Kind, Object, Report, RouterConfig, SyncGroup, TrackRef, Vrid,
    Watch, Weight,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = env::args().skip(1);
    let mut next = |what: &'static str| arguments.next().ok_or(what);
    let mut driver = Driver::new()?;
    let mut members = Vec::new();
    for vrid in [51, 52] {
        let interface = next("the name of an interface")?;
        let address = next("a virtual address")?.parse()?;
        let election = Config::new(Vrid::try_from(vrid)?, Family::Ipv4);
        members.push(driver.add(RouterConfig::new(interface, election, vec![address]))?);
    }

    // The driver watches the uplink. While it is down, each member loses 60 points.
    let mut uplink = Object::new("uplink", Kind::Interface);
    uplink.weight = Weight::points(-60)?;
    let uplink = driver.add_object(uplink, Watch::Interface(next("an uplink")?))?;
    // This program watches the service. While it fails, all members are in Initialize.
    let service = Object::new("service", Kind::Check(Check::EACH));
    let service = driver.add_object(service, Watch::Host)?;

    // Weights that single members track do not count in a group: the group tracks.
    let mut gateway = SyncGroup::new("gateway", members.clone());
    gateway.tracking = vec![TrackRef::of(uplink), TrackRef::of(service)];
    driver.add_group(gateway)?;

    let target: SocketAddr = next("the address and port of a service")?.parse()?;
    let handle = driver.handle();
    thread::spawn(move || {
        let limit = Duration::from_secs(1);
        loop {
            let answers = TcpStream::connect_timeout(&target, limit).is_ok();
            let report = if answers { Report::Up } else { Report::Down };
            if handle.report(service, report).is_err() {
                return;
            }
            thread::sleep(limit);
        }
    });
    while !driver.is_stopped() {
        driver.wait(None)?;
        driver.turn()?;
        while let Some(notification) = driver.next_notification() {
            println!("{notification}");
            let explanation = notification.router.and_then(|id| driver.explain(id));
            if let Some(explanation) = explanation {
                println!("  {explanation}");
            }
        }
    }
    Ok(())
}
