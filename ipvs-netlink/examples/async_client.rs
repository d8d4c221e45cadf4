//! Prints the connections of each server every second, in tokio, until ctrl-c.
//!
//! `cargo run --example async_client --features tokio` as root.

use std::time::Duration;

use ipvs_netlink::AsyncClient;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut client = AsyncClient::open().await?;
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            end = tokio::signal::ctrl_c() => return Ok(end?),
        }
        // Lists that may have been torn are read again.
        let table = client.confirmed_table().await?;
        for entry in &table.entries {
            println!("{}", entry.service.service.key);
            for listed in &entry.destinations {
                let active = listed.active_connections;
                let rate = listed.stats.rates.connections;
                println!(
                    "  {}: {active} active, {rate} new/s",
                    listed.destination.key
                );
            }
        }
        if table.may_be_incomplete {
            println!("another program keeps changing the table: something may be missing");
        }
    }
}
