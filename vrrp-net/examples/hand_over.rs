//! A program that a newer one replaces, without an election: run it again while it runs.
//!
//! `cargo run --example hand_over --features serde -- eth0 192.0.2.254/24`, as root.

use std::{
    env, fs,
    os::unix::net::{UnixListener, UnixStream},
    thread,
    time::Duration,
};

use vrrp_net::{Config, Driver, Family, RouterConfig, Successor, VirtualAddress, Vrid};

const SOCKET: &str = "/run/vrrp-net-hand-over";
const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = env::args().skip(1);
    let interface = arguments.next().ok_or("the name of an interface")?;
    let address: VirtualAddress = arguments.next().ok_or("a virtual address")?.parse()?;

    let mut driver = if let Ok(predecessor) = UnixStream::connect(SOCKET) {
        Driver::take_over_from(predecessor, PATIENCE)?
    } else {
        // There is no predecessor.
        let election = Config::new(Vrid::try_from(51)?, Family::Ipv4);
        let mut driver = Driver::new()?;
        driver.add(RouterConfig::new(interface, election, vec![address]))?;
        driver
    };
    for router in driver.routers() {
        println!("{} starts as {}", router.id(), router.state());
    }

    // This program is now a predecessor itself.
    let _ = fs::remove_file(SOCKET);
    let listener = UnixListener::bind(SOCKET)?;
    let handle = driver.handle();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // The routers keep running until the successor is ready.
            let handed_over = Successor::accept(stream, PATIENCE).and_then(|successor| {
                handle.call(|driver| driver.hand_over_to(successor, None))?
            });
            if let Err(error) = handed_over {
                println!("{error}; this program goes on");
            }
        }
    });
    driver.run(|notification| println!("{notification}"))?;
    println!("another process has taken over");
    Ok(())
}
