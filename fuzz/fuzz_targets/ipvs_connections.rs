#![no_main]
//! The text of `/proc/net/ip_vs_conn`. Each connection that can be read is written as the kernel
//! writes it, read again, and must be the same.

use std::net::{IpAddr, SocketAddr};

use ipvs_netlink::{
    Protocol,
    connections::{Connection, Connections},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let lines = text.split(|octet| *octet == b'\n').count();
    let found: Vec<_> = Connections::new(text).take(lines + 1).collect();
    assert!(found.len() <= lines);
    for connection in found {
        match connection {
            Ok(connection) => {
                let line = written(&connection);
                let again: Vec<_> = Connections::new(line.as_bytes())
                    .map(|found| found.unwrap())
                    .collect();
                assert_eq!(again, [connection]);
            }
            Err(error) => assert!(error.to_string().len() < 512),
        }
    }
});

fn written(connection: &Connection) -> String {
    let protocol = match connection.protocol {
        Some(Protocol::Tcp) => "TCP",
        Some(Protocol::Udp) => "UDP",
        Some(Protocol::Sctp) => "SCTP",
        None => "IP",
    };
    let engine = connection
        .engine
        .as_ref()
        .map(|(engine, data)| format!(" {engine} {data}"));
    format!(
        "{protocol:<3} {} {} {} {:<11} {:7}{}\n",
        endpoint(connection.client),
        endpoint(connection.service),
        endpoint(connection.destination),
        connection.state,
        connection.expires.as_secs(),
        engine.unwrap_or_default(),
    )
}

fn endpoint(address: SocketAddr) -> String {
    let port = address.port();
    match address.ip() {
        IpAddr::V4(ip) => format!("{:08X} {port:04X}", ip.to_bits()),
        IpAddr::V6(ip) => {
            let groups = ip.segments().map(|group| format!("{group:04x}"));
            format!("{} {port:04X}", groups.join(":"))
        }
    }
}
