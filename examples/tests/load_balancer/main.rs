//! The load balancer in a real kernel: its library `balancer`, and the program `load_balancer` as a
//! user runs it. Each test has an empty table in a network namespace of its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

mod demo;
mod ecmp;
mod library;
mod program;
mod service_manager;
mod takeover;

use std::{
    net::{SocketAddr, TcpListener},
    process::{Command, ExitCode},
};

use vrrp_lab::{Kernel, Suite, example};

fn main() -> ExitCode {
    let tests = [
        library::tests(),
        program::tests(),
        takeover::tests(),
        service_manager::tests(),
        demo::tests(),
        ecmp::tests(),
    ]
    .concat();
    let mut suite = Suite::new(&[Kernel::Uml6_1], &tests);
    suite.memory = 512;
    suite.files.push(example("load_balancer").unwrap());
    suite.run()
}

/// Gives this namespace the address of the service, and those of the servers.
fn set_up() {
    run("ip link set lo up");
    run("ip address add 192.0.2.1/32 dev lo");
    for server in 1..=4 {
        run(&format!("ip address add 10.0.0.{server}/32 dev lo"));
    }
}

/// Runs a command, and returns its output.
#[track_caller]
fn run(line: &str) -> String {
    let mut words = line.split_whitespace();
    let output = Command::new(words.next().unwrap()).args(words).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{line}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The kernel's table, as `ipvsadm -S` prints it, in order.
fn table() -> Vec<String> {
    let mut lines: Vec<_> = run("ipvsadm -Sn").lines().map(String::from).collect();
    lines.sort();
    lines
}

/// A server that accepts connections on port 80 of 10.0.0.N.
fn serve(server: u8) -> TcpListener {
    TcpListener::bind(SocketAddr::from(([10, 0, 0, server], 80))).unwrap()
}
