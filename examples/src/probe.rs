//! Probes: one attempt to use one server, for the health checks of a load balancer.
//!
//! Each probe is a future that ends by its deadline and has no state. It returns the [`Outcome`]
//! that [`Pool::handle_result`](ipvs_netlink::pool::Pool::handle_result) takes. A cause on this
//! host, such as a lack of ports, is a [local failure](Outcome::LocalFailure), which says nothing
//! about the server.

mod agent;
mod source;
mod tcp;

use std::time::Instant;

use ipvs_netlink::pool::{FailureKind, Outcome};

pub use self::{agent::agent, source::Source, tcp::tcp};

/// Runs a probe until its deadline. The time limit covers the whole attempt.
async fn within(
    deadline: Instant,
    attempt: impl Future<Output = Result<Outcome, Outcome>>,
) -> Outcome {
    match tokio::time::timeout_at(deadline.into(), attempt).await {
        Ok(Ok(outcome) | Err(outcome)) => outcome,
        Err(_) => Outcome::failure(FailureKind::TimeLimit, "no answer in time"),
    }
}
