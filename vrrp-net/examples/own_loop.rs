//! A virtual router in a loop of the program's own, which also answers requests over UDP.
//!
//! `cargo run --example own_loop -- eth0 192.0.2.254/24`, as root. `nc -u 127.0.0.1 5112` asks for
//! the state.

use std::{env, net::UdpSocket, os::fd::AsFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use vrrp_net::{Config, Driver, Family, RouterConfig, VirtualAddress, Vrid};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = env::args().skip(1);
    let interface = arguments.next().ok_or("the name of an interface")?;
    let address: VirtualAddress = arguments.next().ok_or("a virtual address")?.parse()?;

    let election = Config::new(Vrid::try_from(51)?, Family::Ipv4);
    let mut driver = Driver::new()?;
    let id = driver.add(RouterConfig::new(interface, election, vec![address]))?;

    let questions = UdpSocket::bind("127.0.0.1:5112")?;
    questions.set_nonblocking(true)?;
    while !driver.is_stopped() {
        // With its timers, the driver is one descriptor of many.
        driver.arm_timer()?;
        let source = |source| PollFd::new(source, PollFlags::POLLIN);
        let mut sources = [source(driver.as_fd()), source(questions.as_fd())];
        poll(&mut sources, PollTimeout::NONE)?;

        driver.turn()?;
        while let Some(notification) = driver.next_notification() {
            println!("{notification}");
        }
        let mut question = [0; 64];
        while let Ok((_, asker)) = questions.recv_from(&mut question) {
            let state = driver.get(id).map(|router| router.state().to_string());
            questions.send_to(state.unwrap_or_default().as_bytes(), asker)?;
        }
    }
    Ok(())
}
