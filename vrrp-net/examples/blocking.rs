//! One virtual router on the main thread, until Enter is pressed.
//!
//! `cargo run --example blocking -- eth0 192.0.2.254/24`, as root.

use std::{env, io, thread};

use vrrp_net::{Config, Driver, Family, Interval, Priority, RouterConfig, VirtualAddress, Vrid};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = env::args().skip(1);
    let interface = arguments.next().ok_or("the name of an interface")?;
    let address: VirtualAddress = arguments.next().ok_or("a virtual address")?.parse()?;

    let mut election = Config::new(Vrid::try_from(51)?, Family::Ipv4);
    election.priority = Priority::new(150);
    election.interval = Interval::centis(10)?;

    let mut driver = Driver::new()?;
    driver.add(RouterConfig::new(interface, election, vec![address]))?;

    let handle = driver.handle();
    thread::spawn(move || {
        let _ = io::stdin().read_line(&mut String::new());
        handle.stop();
    });
    // Returns when the router has resigned and its address is gone.
    driver.run(|notification| println!("{notification}"))?;
    Ok(())
}
