//! A virtual router as a task of tokio, until Ctrl-C.
//!
//! `cargo run --example tokio_task --features tokio -- eth0 192.0.2.254/24`, as root.

use std::env;

use vrrp_net::{AsyncDriver, Config, Driver, Family, RouterConfig, VirtualAddress, Vrid};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = env::args().skip(1);
    let interface = arguments.next().ok_or("the name of an interface")?;
    let address: VirtualAddress = arguments.next().ok_or("a virtual address")?.parse()?;

    let election = Config::new(Vrid::try_from(51)?, Family::Ipv4);
    let mut driver = AsyncDriver::new(Driver::new()?)?;
    let config = RouterConfig::new(interface, election, vec![address]);
    driver.get_mut().add(config)?;

    let handle = driver.get_ref().handle();
    loop {
        tokio::select! {
            // Nothing is lost when the other branch is first.
            notification = driver.next() => match notification? {
                Some(notification) => println!("{notification}"),
                None => return Ok(()),
            },
            _ = tokio::signal::ctrl_c() => handle.stop(),
        }
    }
}
