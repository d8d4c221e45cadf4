//! The programs when their output cannot be written.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{fs::File, process::Command};
use vrrp_lab::example;

#[test]
fn a_closed_standard_error_does_not_change_the_exit_status() {
    for (line, status) in [
        ("failover --version 2 --ipv6", 2),
        ("ipvsadm --diff /no/where", 2),
        ("simulate --replay /no/where", 2),
        (
            "smoltcp_router --tap lo --mac 02-00-00-00-00-33 --vrid 51 --source 192.0.2.33/24 --address 192.0.2.254/24",
            1,
        ),
        (
            "tokio_router --interface no/where --vrid 51 --address 192.0.2.254",
            1,
        ),
        ("vrrp_dump /no/where", 2),
        (
            "vrrp_router --interface no/where --vrid 51 --address 192.0.2.254",
            1,
        ),
    ] {
        let (name, arguments) = line.split_once(' ').unwrap();
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut command = Command::new(example(name).unwrap());
        let command = command.args(arguments.split(' ')).stderr(full);
        assert_eq!(command.status().unwrap().code(), Some(status), "{line}");
    }
}
