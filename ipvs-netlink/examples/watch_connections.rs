//! Counts the connections of each server by state, from `/proc/net/ip_vs_conn`.
//!
//! `cargo run --example watch_connections` as root.

use std::collections::BTreeMap;

use ipvs_netlink::{Client, connections::Connections};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The file exists once the module is loaded, which a client does.
    Client::open()?;
    let mut counts: BTreeMap<_, u64> = BTreeMap::new();
    for connection in Connections::open()? {
        let connection = connection?;
        let place = (
            connection.destination.to_string(),
            connection.state.to_string(),
        );
        *counts.entry(place).or_default() += 1;
    }
    for ((server, state), count) in counts {
        println!("{server} {state}: {count}");
    }
    Ok(())
}
