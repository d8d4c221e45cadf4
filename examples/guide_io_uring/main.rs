//! A virtual router in a loop of io_uring, which also serves its state over TCP.
//!
//! `cargo run --example guide_io_uring -- eth0 192.0.2.254/24`, as root. `nc 127.0.0.1 5112` shows
//! the state.

use std::{
    env,
    io::{self, Write},
    net::{TcpListener, TcpStream},
    os::fd::{AsRawFd, FromRawFd},
    ptr,
};

use io_uring::{IoUring, opcode, squeue::Entry, types::Fd};
use vrrp_net::{Config, Driver, Family, RouterConfig, VirtualAddress, Vrid};

/// The operations of the ring, by their `user_data`.
const DRIVER: u64 = 0;
const CLIENT: u64 = 1;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = env::args().skip(1);
    let interface = arguments.next().ok_or("the name of an interface")?;
    let address: VirtualAddress = arguments.next().ok_or("a virtual address")?.parse()?;

    let mut ring = IoUring::new(8).map_err(|error| {
        format!(
            "io_uring is not available: {error}. Linux has it from 5.1 on; the sysctl \
             kernel.io_uring_disabled or a seccomp filter, as that of Docker, can forbid it"
        )
    })?;
    let election = Config::new(Vrid::try_from(51)?, Family::Ipv4);
    let mut driver = Driver::new()?;
    let id = driver.add(RouterConfig::new(interface, election, vec![address]))?;
    let listener = TcpListener::bind("127.0.0.1:5112")?;

    let driver_is_ready =
        opcode::PollAdd::new(Fd(driver.as_raw_fd()), libc::POLLIN.cast_unsigned().into())
            .build()
            .user_data(DRIVER);
    let accept = opcode::Accept::new(Fd(listener.as_raw_fd()), ptr::null_mut(), ptr::null_mut())
        .build()
        .user_data(CLIENT);
    driver.arm_timer()?;
    submit(&mut ring, &driver_is_ready)?;
    submit(&mut ring, &accept)?;
    while !driver.is_stopped() {
        if let Err(error) = ring.submit_and_wait(1)
            && error.kind() != io::ErrorKind::Interrupted
        {
            return Err(error.into());
        }
        let completions: Vec<_> = ring.completion().collect();
        for completion in completions {
            let result = completion.result();
            if result < 0 {
                return Err(io::Error::from_raw_os_error(-result).into());
            }
            if completion.user_data() == DRIVER {
                driver.turn()?;
                while let Some(notification) = driver.next_notification() {
                    println!("{notification}");
                }
                // With its timer, the one descriptor of the driver is enough.
                driver.arm_timer()?;
                submit(&mut ring, &driver_is_ready)?;
            } else {
                // SAFETY: the kernel returned a new descriptor, which nothing else owns.
                let mut client = unsafe { TcpStream::from_raw_fd(result) };
                let state = driver.get(id).map(|router| router.state().to_string());
                // A client that has disconnected only misses its answer.
                let _ = writeln!(client, "{}", state.unwrap_or_default());
                submit(&mut ring, &accept)?;
            }
        }
    }
    Ok(())
}

/// Queues an operation; [`IoUring::submit_and_wait`] starts it.
fn submit(ring: &mut IoUring, operation: &Entry) -> Result<(), io::Error> {
    // SAFETY: the operations refer to descriptors that live as long as the ring, and to no memory.
    unsafe { ring.submission().push(operation) }.map_err(io::Error::other)
}
