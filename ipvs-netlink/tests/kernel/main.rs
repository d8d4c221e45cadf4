//! Tests on real kernels. Each test starts with an empty table in a network namespace of its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

mod calls;
mod dumps;
mod errors;
mod foreign_transport;
mod matrix;
mod reconcile;
mod rules;
mod sysctls;
mod traffic;

use std::{process::ExitCode, time::Duration};

use ipvs_netlink::{Client, Service};
use vrrp_lab::{Kernel, Suite};

/// How long the start or stop of a sync daemon may take. The kernel waits for the daemon's thread,
/// in an emulated kernel on a busy machine for longer than a request usually takes.
const DAEMON_TIME: Duration = Duration::from_secs(30);

/// A service with some fields changed.
fn with(mut service: Service, edit: impl FnOnce(&mut Service)) -> Service {
    edit(&mut service);
    service
}

/// How many requests a client has made: its sequence number, which only its debug text has.
fn requests(client: &Client) -> u32 {
    let text = format!("{client:?}");
    let (_, number) = text.split_once("sequence: ").unwrap();
    number.split_once(',').unwrap().0.parse().unwrap()
}

fn main() -> ExitCode {
    if let Some(role) = errors::role() {
        return role();
    }
    let tests = [
        matrix::tests(),
        errors::tests(),
        foreign_transport::tests(),
        calls::tests(),
        dumps::tests(),
        reconcile::tests(),
        rules::tests(),
        sysctls::tests(),
        traffic::tests(),
    ]
    .concat();
    Suite::new(Kernel::ALL, &tests).run()
}
