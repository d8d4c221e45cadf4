//! A TCP connection.

use std::{net::SocketAddr, time::Instant};

use ipvs_netlink::pool::Outcome;

use super::{Source, within};

/// Connects to a server over TCP, and resets the connection.
pub async fn tcp(target: SocketAddr, deadline: Instant, source: &Source) -> Outcome {
    within(deadline, async {
        source.connect(target).await?;
        Ok(Outcome::SUCCESS)
    })
    .await
}
