//! One virtual router inside tokio: the parts of the crates in an async runtime, without the driver
//! of vrrp-net.
//!
//! This file contains tokio's part: the sources that wake the state machine up. `host` carries out
//! its actions. Link faults, repairs, unicast and authentication are left out;
//! `vrrp_net::AsyncDriver` supports them.

mod host;

use std::{
    future::pending,
    io::{self, Write},
    process::ExitCode,
    time::Instant,
};

use clap::{Parser, value_parser};
use tokio::{
    io::{Interest, unix::AsyncFd},
    signal::unix::{SignalKind, signal},
    time::sleep_until,
};
use vrrp_fsm::{Config, Epoch, Event, ShutdownCause, VirtualRouter};
use vrrp_net::{ReceiveBatch, VirtualAddress, VrrpSocket};
use vrrp_proto::{Interval, Priority, Vrid};

use crate::host::{Host, Result};

/// Runs one virtual router, version 3 by multicast, inside tokio. It resigns
/// on SIGTERM and SIGINT.
#[derive(Parser)]
struct Arguments {
    /// The interface.
    #[arg(long, value_name = "NAME")]
    interface: String,
    /// The virtual router identifier, 1 to 255.
    #[arg(long, value_parser = value_parser!(u8).range(1..))]
    vrid: u8,
    /// Priority, 1 to 254; the highest becomes Active. 255 marks the address owner.
    #[arg(long, default_value_t = 100, value_parser = value_parser!(u8).range(1..))]
    priority: u8,
    /// The time between advertisements in centiseconds, 1 to 4095.
    #[arg(long, value_name = "CS", default_value_t = 100, value_parser = value_parser!(u16).range(1..=4095))]
    interval: u16,
    /// A virtual address with its prefix length. Can be repeated; all are of one family, and the
    /// first IPv6 address is link-local.
    #[arg(long = "address", value_name = "ADDRESS/LENGTH", required = true)]
    addresses: Vec<VirtualAddress>,
}

/// The number of reads, of up to 64 advertisements each, before the timers have their turn: a flood
/// must not delay them. The next packet causes the rest to be read.
const BATCHES: usize = 128;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "tokio_router: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result {
    let arguments = Arguments::parse();
    let family = arguments.addresses[0].family();
    let mut config = Config::new(Vrid::try_from(arguments.vrid)?, family);
    config.priority = Priority::new(arguments.priority);
    config.interval = Interval::centis(arguments.interval)?;

    let mut machine = VirtualRouter::new(config)?;
    let mut host = Host::new(&arguments.interface, family, arguments.addresses)?;
    let mut socket = VrrpSocket::open(family)?;
    socket.join(host.interface())?;
    // SAFETY: the socket owns its file descriptor, and keeps it open for as long as it lives.
    let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }?;
    let mut batch = ReceiveBatch::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;

    // tokio uses the clock of the standard library, and the epoch converts it to that of the state
    // machine.
    let epoch = Epoch::new(Instant::now());
    let now = || epoch.instant(Instant::now());
    let primary_address = host.primary_address();
    let actions = machine.handle_event(now(), Event::Startup { primary_address });
    host.perform(&machine, socket.get_ref(), actions)?;
    loop {
        let deadline = machine.poll_timeout();
        let wake_up = deadline.and_then(|deadline| epoch.std_instant(deadline));
        let timeout = async {
            match wake_up {
                Some(wake_up) => sleep_until(wake_up.into()).await,
                None => pending().await,
            }
        };
        tokio::select! {
            // A later packet makes it readable again; packets that wait already are read below.
            guard = socket.readable() => guard?.clear_ready(),
            () = timeout => {}
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
        // Drain, then decide, in every case: packets that arrived before the deadline come before
        // the timeout.
        for _ in 0..BATCHES {
            if socket.get_ref().receive(&mut batch)? == 0 {
                break;
            }
            for received in batch.iter() {
                host.receive(now(), &mut machine, socket.get_ref(), &received)?;
            }
        }
        let actions = machine.handle_timeout(now());
        host.perform(&machine, socket.get_ref(), actions)?;
    }
    let actions = machine.handle_event(now(), Event::Shutdown(ShutdownCause::Administrative));
    host.perform(&machine, socket.get_ref(), actions)
}
