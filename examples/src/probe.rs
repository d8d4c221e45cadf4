//! Probes: one attempt to use one server, for the health checks of a load balancer.
//!
//! [`Probe`] describes an attempt, as a configuration has it, and [`probe`] makes it. The result is
//! the [`Outcome`] that [`Pool::handle_result`](ipvs_netlink::pool::Pool::handle_result) takes. An
//! attempt has no state, except that a script that cannot be ended is not started again, and its
//! deadline covers all of it. A cause on this host, such as a lack of
//! ports, is a [local failure](Outcome::LocalFailure), which says nothing about the server.
//!
//! ```no_run
//! use std::time::{Duration, Instant};
//! use vrrp_examples::probe::{Http, Probe, probe};
//!
//! # async fn example() {
//! let health = Http { path: "/health".parse().unwrap(), ..Http::default() };
//! let attempt = Probe::Http(Box::new(health));
//! let deadline = Instant::now() + Duration::from_secs(2);
//! println!("{}", probe(&attempt, ([10, 0, 0, 1], 80).into(), deadline).await);
//! # }
//! ```
//!
//! In a file, a probe is its name, or its name with settings:
//!
//! ```toml
//! probe = "tcp"
//! probe = { http = { path = "/health", tls = true, status = "200, 204" } }
//! probe = { dns = { name = "example.com", kind = "A" } }
//! probe = { script = { command = "/usr/local/bin/check --fast" } }
//! ```

mod agent;
mod dns;
mod file;
mod form;
mod http;
mod icmp;
mod pattern;
mod script;
mod smtp;
mod source;
mod stuck;
mod tcp;
mod tls;
mod udp;

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use ipvs_netlink::pool::{FailureKind, Outcome};

pub use self::{
    agent::Agent,
    dns::{Dns, Question, QuestionError},
    file::File,
    http::{
        Body, HeaderLabel, HeaderText, Http, HttpVersion, Md5, Method, StatusSet, Target, WrongText,
    },
    icmp::Icmp,
    pattern::{BytePattern, Bytes, Pattern, PatternError},
    script::{Place, Script, User, name_places},
    smtp::Smtp,
    source::Source,
    tcp::Tcp,
    tls::{Tls, TlsError, TlsSettings},
    udp::Udp,
};

/// One attempt to use a server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Probe {
    /// A TCP connection.
    Tcp(Tcp),
    /// A request over HTTP or HTTPS.
    Http(Box<Http>),
    /// A query over DNS.
    Dns(Dns),
    /// A UDP datagram.
    Udp(Udp),
    /// The dialogue of SMTP up to the greeting of the client.
    Smtp(Smtp),
    /// An ICMP echo request.
    Icmp(Icmp),
    /// A question to an agent on the server.
    Agent(Agent),
    /// A number in a file on this host.
    File(File),
    /// A command on this host.
    Script(Box<Script>),
}

/// Makes an attempt. It ends by the deadline; dropping the future abandons the attempt.
///
/// Run it in a runtime of tokio with I/O and time.
pub async fn probe(probe: &Probe, target: SocketAddr, deadline: Instant) -> Outcome {
    match probe {
        Probe::Tcp(tcp) => within(deadline, tcp.attempt(target)).await,
        // Boxed to keep the other futures small: a task moves its future several times.
        Probe::Http(http) => Box::pin(within(deadline, http.attempt(target))).await,
        Probe::Dns(dns) => Box::pin(within(deadline, dns.attempt(target))).await,
        Probe::Udp(udp) => Box::pin(within(deadline, udp.attempt(target, deadline))).await,
        Probe::Smtp(smtp) => Box::pin(within(deadline, smtp.attempt(target))).await,
        Probe::Icmp(icmp) => within(deadline, icmp.attempt(target.ip())).await,
        Probe::Agent(agent) => Box::pin(agent.ask(target, deadline)).await,
        Probe::File(file) => file.read(),
        Probe::Script(script) => Box::pin(script.run(target, deadline)).await,
    }
}

/// Runs an attempt until its deadline.
async fn within(
    deadline: Instant,
    attempt: impl Future<Output = Result<Outcome, Outcome>>,
) -> Outcome {
    match tokio::time::timeout_at(deadline.into(), attempt).await {
        Ok(Ok(outcome) | Err(outcome)) => outcome,
        Err(_) => late(),
    }
}

/// When silence is a result: a moment before the deadline, at which the attempt would fail.
fn before(deadline: Instant) -> Instant {
    const MOMENT: Duration = Duration::from_millis(50);
    let left = deadline.saturating_duration_since(Instant::now());
    deadline
        .checked_sub(MOMENT.min(left / 10))
        .unwrap_or(deadline)
}

/// The failure of an attempt whose limit has passed.
fn late() -> Outcome {
    Outcome::failure(FailureKind::TimeLimit, "no answer in time")
}

/// The failure of an attempt whose connection broke.
fn closed(error: &io::Error) -> Outcome {
    Outcome::failure(FailureKind::Closed, error.to_string())
}

/// The failure of an attempt with an unexpected answer.
fn wrong(text: String) -> Outcome {
    Outcome::failure(FailureKind::Answer, text)
}

/// The failure of an attempt with an answer that breaks the protocol.
fn broken(text: String) -> Outcome {
    Outcome::failure(FailureKind::Protocol, text)
}

/// The beginning of a text from a server, without control characters.
fn excerpt(text: &[u8]) -> String {
    const LONGEST: usize = 80;
    let text = String::from_utf8_lossy(text);
    let text = text.trim().chars().filter(|it| !it.is_control());
    text.take(LONGEST).collect()
}
