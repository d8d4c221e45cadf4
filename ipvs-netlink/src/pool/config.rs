//! The configuration, as plain structs.

use std::{net::IpAddr, time::Duration};

use crate::{Destination, DestinationKey, ForwardingMethod, Service, ServiceKey, plan::Drain};

/// The configuration of a [`Pool`](super::Pool): all services with their servers and checks.
///
/// `P` describes one attempt, such as "GET /health, expect 200". The pool compares these values and
/// hands them out; only the host knows their meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config<P> {
    /// The virtual servers. Two of them with the same key are an error.
    pub services: Vec<VirtualServer<P>>,
    /// The greatest number of probes that run at once, 1 or more. Default: 500.
    pub max_running: u32,
    /// Seeds the spread of first runs and the noise of intervals. Hosts with the same configuration
    /// should have different seeds, so that they do not probe in the same moment. Default: 0.
    pub seed: u64,
    /// The lateness from which an expired time limit counts as a stall of the host, not as a
    /// failure of the server. Default: 1 s.
    pub stall: Duration,
}

impl<P> Default for Config<P> {
    fn default() -> Self {
        Self {
            services: Vec::new(),
            max_running: 500,
            seed: 0,
            stall: Duration::from_secs(1),
        }
    }
}

/// A virtual service with its real servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualServer<P> {
    /// The service as the kernel has it.
    pub service: Service,
    /// The real servers. Two of them with the same key are an error.
    pub servers: Vec<RealServer<P>>,
    /// Checks of every server, before the checks of its own.
    pub checks: Vec<Check<P>>,
    /// The capacity that the service needs. Default: any weight above 0.
    pub quorum: Quorum,
    /// The destination in use while the quorum is lost.
    pub sorry_server: Option<SorryServer>,
    /// The greatest number of servers that checks may take out at once. Default: no limit.
    pub brake: Option<Limit>,
    /// When failed servers are used anyway. Default: [`Panic::WhenNoneIsLeft`].
    pub panic: Panic,
    /// Whether a failed server stays in the table with weight 0. A [`RealServer`] may differ.
    pub inhibit_on_failure: bool,
    /// Whether [`Pool::stop`](super::Pool::stop) reports servers as down and the quorum as lost.
    pub omega: bool,
    /// The time in which the weight of a recovered server rises to its full value. A weight of 1
    /// cannot rise.
    pub slow_start: Option<Duration>,
    /// How live servers leave: drained by the operator, removed from the configuration, or replaced
    /// by the sorry server; and how the sorry server leaves. `None`: at once.
    pub drain: Option<Drain>,
    /// How failed servers leave. Default: at once.
    pub drain_failed: Option<Drain>,
    /// Signs of failure in the kernel's counters.
    pub passive: Option<Passive>,
}

impl<P> VirtualServer<P> {
    /// A service without servers, with the defaults of each field.
    #[must_use]
    pub fn new(service: Service) -> Self {
        Self {
            service,
            servers: Vec::new(),
            checks: Vec::new(),
            quorum: Quorum::default(),
            sorry_server: None,
            brake: None,
            panic: Panic::default(),
            inhibit_on_failure: false,
            omega: false,
            slow_start: None,
            drain: Some(Drain::default()),
            drain_failed: None,
            passive: None,
        }
    }

    /// The key of the service.
    #[must_use]
    pub fn key(&self) -> ServiceKey {
        self.service.key
    }
}

/// A real server of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RealServer<P> {
    /// The destination as the kernel has it while the server is up.
    pub destination: Destination,
    /// Checks of this server alone. A server without any check is always up.
    pub checks: Vec<Check<P>>,
    /// Whether the server stays in the table with weight 0 when it fails. `None`: as the service.
    pub inhibit_on_failure: Option<bool>,
    /// How the server leaves while it is alive. `None`: as the service.
    pub drain: Option<Drain>,
}

impl<P> RealServer<P> {
    /// A server without checks of its own.
    #[must_use]
    pub fn new(destination: Destination) -> Self {
        Self {
            destination,
            checks: Vec::new(),
            inhibit_on_failure: None,
            drain: None,
        }
    }

    /// The key of the destination.
    #[must_use]
    pub fn key(&self) -> DestinationKey {
        self.destination.key
    }
}

/// The destination in use while the quorum is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SorryServer {
    /// The destination. It may also be one of the real servers.
    pub destination: Destination,
    /// Whether it stays in the table with weight 0 while it is not in use. A real server with the
    /// same key decides this itself.
    pub inhibit: bool,
}

impl SorryServer {
    /// A sorry server of weight 1 that is in the table only while it is in use.
    #[must_use]
    pub fn new(key: DestinationKey, forwarding: ForwardingMethod) -> Self {
        Self {
            destination: Destination::new(key, forwarding),
            inhibit: false,
        }
    }
}

/// The capacity that a service needs, with hysteresis.
///
/// The quorum is lost when the live capacity is 0 or less than `at_least` - `hysteresis`. It is
/// gained again at `at_least` + `hysteresis`, or when all that is configured is live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quorum {
    /// The capacity.
    pub at_least: Capacity,
    /// In the unit of `at_least`; less than `at_least`.
    pub hysteresis: u32,
}

/// A capacity of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capacity {
    /// The sum of the weights of live servers, 1 or more.
    Weight(u32),
    /// The live servers of a weight above 0, in percent of all configured servers: 1 to 100.
    Percent(u32),
}

impl Default for Quorum {
    /// Weight 1 without hysteresis.
    fn default() -> Self {
        Self {
            at_least: Capacity::Weight(1),
            hysteresis: 0,
        }
    }
}

/// A number of servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// This many servers; with 0 checks take out none.
    Servers(u32),
    /// A share of the servers that the operator has not taken out, 0 to 100 percent, rounded down,
    /// but at least one server.
    Percent(u32),
}

impl Limit {
    pub(super) fn of(self, servers: usize) -> usize {
        match self {
            Self::Servers(limit) => limit as usize,
            Self::Percent(percent) => (servers * percent as usize / 100).max(1),
        }
    }
}

/// When servers that have failed their checks are used anyway.
///
/// It brings back only servers that were in use before they failed, and none while a sorry server
/// is in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Panic {
    /// Never: the table may become empty.
    Off,
    /// While no server of a weight above 0 is left, because a wrong check is more likely than the
    /// failure of all servers.
    #[default]
    WhenNoneIsLeft,
    /// While fewer servers than this share are up, 1 to 100 percent, or none is left.
    BelowPercent(u32),
}

/// Signs of failure in the kernel's counters. Useful with masquerading, where the servers' answers
/// pass this host and are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(deny_unknown_fields)
)]
pub struct Passive {
    /// A server is probed at once if it got at least this many new connections, 1 or more, between
    /// two calls of [`Pool::handle_table`](super::Pool::handle_table) and sent no packet.
    pub connections_without_answer: u64,
}

/// A check of a server: the schedule of probes, and the verdict on their results.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Check<P> {
    /// The name in events and explanations. Empty: "check 1" and so on.
    pub name: String,
    /// The attempts, one or more. Several are made one at a time, in turn. A failed one is repeated
    /// until it succeeds; if the server is down by then, the round starts again from the first.
    pub probes: Vec<P>,
    /// The address of the probes. `None`: the address of the server.
    pub address: Option<IpAddr>,
    /// The port of the probes. `None`: the port of the server, or of the service where that is 0.
    pub port: Option<u16>,
    /// The time from one probe to the next while the server is up. 1 ms to 1 day. Default: 2 s.
    pub interval: Duration,
    /// The same after a failure that has not taken the server down, and before the first verdict.
    /// `None`: 500 ms, or `interval` where that is shorter.
    pub fast_interval: Option<Duration>,
    /// The same after a success that has not brought the server back; 0 is allowed.
    /// `None`: as `fast_interval`.
    pub rising_interval: Option<Duration>,
    /// The same while the server is down. `None`: as `interval`.
    pub down_interval: Option<Duration>,
    /// The time limit of a whole attempt, 1 ms to 1 day. Default: 2 s.
    pub time_limit: Duration,
    /// The consecutive failures that take the server down, 1 or more. Default: 3.
    pub fall: u32,
    /// The consecutive successes that bring the server back, 1 or more. Default: 2.
    pub rise: u32,
    /// How the first result counts. Default: [`FirstResult::Decides`].
    pub first_result: FirstResult,
    /// The state before the first result. Default: [`Initial::AsKernel`].
    pub initial: Initial,
    /// The start of an interval. Default: [`Pace::AfterEnd`].
    pub pace: Pace,
    /// The greatest share of an interval, 0 to 50 percent, that is left out at random. An interval
    /// is never longer than configured. Default: 5.
    pub noise: u32,
    /// The time over which first probes are spread at random. `None`: 1 s, or `interval` where that
    /// is shorter. If it is shorter than `interval`, and `noise` is not 0, the second probes are
    /// spread over the whole `interval`.
    pub spread: Option<Duration>,
    /// The effect of a failed check on its server. Default: [`Effect::TakeOut`].
    pub effect: Effect,
    /// Whether a server that is down is probed in rounds of `fall` probes, `fast_interval` apart,
    /// with `down_interval` between the rounds. Default: false.
    pub retry_while_down: bool,
}

impl<P> Check<P> {
    /// A check of one probe, with the defaults of each field.
    #[must_use]
    pub fn new(probe: P) -> Self {
        Self::of(vec![probe])
    }

    /// A check of several probes in turn, with the defaults of each field.
    #[must_use]
    pub fn of(probes: Vec<P>) -> Self {
        Self {
            name: String::new(),
            probes,
            address: None,
            port: None,
            interval: Duration::from_secs(2),
            fast_interval: None,
            rising_interval: None,
            down_interval: None,
            time_limit: Duration::from_secs(2),
            fall: 3,
            rise: 2,
            first_result: FirstResult::Decides,
            initial: Initial::AsKernel,
            pace: Pace::AfterEnd,
            noise: 5,
            spread: None,
            effect: Effect::TakeOut,
            retry_while_down: false,
        }
    }

    pub(super) fn fast(&self) -> Duration {
        self.fast_interval
            .unwrap_or(Duration::from_millis(500).min(self.interval))
    }

    pub(super) fn rising(&self) -> Duration {
        self.rising_interval.unwrap_or(self.fast())
    }

    pub(super) fn down(&self) -> Duration {
        self.down_interval.unwrap_or(self.interval)
    }

    pub(super) fn spread(&self) -> Duration {
        self.spread
            .unwrap_or(Duration::from_secs(1).min(self.interval))
    }

    /// Whether it changes the weight of its server, and never takes the server out.
    pub(super) const fn weighs(&self) -> bool {
        matches!(self.effect, Effect::Weigh(_))
    }
}

/// The state of a server before the first result of a check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(rename_all = "kebab-case")
)]
pub enum Initial {
    /// In use until the check fails.
    Up,
    /// Out until the check succeeds (keepalived's `alpha`). It is reported as down when the check
    /// fails. With a sorry server the quorum is lost until enough checks have succeeded.
    Down,
    /// In use if the kernel has it with a weight above 0. Otherwise it waits for the first result,
    /// unless its service has no other server and no sorry server.
    #[default]
    AsKernel,
}

/// How the first result of a check counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(rename_all = "kebab-case")
)]
pub enum FirstResult {
    /// It decides alone: one failure takes the server down, one success of each probe brings it up.
    #[default]
    Decides,
    /// It counts as any other result: `fall` failures, `rise` successes.
    Counts,
}

/// The start of an interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(rename_all = "kebab-case")
)]
pub enum Pace {
    /// The end of the probe before.
    #[default]
    AfterEnd,
    /// The start of the probe before. A probe that takes longer is followed at once.
    AfterStart,
}

/// The effect of a failed check on its server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(rename_all = "kebab-case")
)]
pub enum Effect {
    /// It takes the server out.
    #[default]
    TakeOut,
    /// It changes the weight of the server.
    Weigh(WeightReport),
}

/// A weight that a check reports.
///
/// Reports of several checks add up: each contributes its difference from the configured weight.
/// The sum is clamped to 0 to 2³¹ - 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(rename_all = "kebab-case")
)]
pub enum WeightReport {
    /// This weight in place of the configured one.
    Set(u32),
    /// The configured weight plus this number.
    Add(i64),
    /// This percentage of the configured weight.
    Percent(u32),
}

impl WeightReport {
    /// The difference from the configured weight.
    pub(super) fn difference(self, configured: u32) -> i64 {
        let configured = i64::from(configured);
        match self {
            Self::Set(weight) => i64::from(weight) - configured,
            Self::Add(points) => points,
            Self::Percent(percent) => configured * i64::from(percent) / 100 - configured,
        }
    }
}

/// The state that the operator gave a server. It survives changes of the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(rename_all = "kebab-case")
)]
pub enum Operator {
    /// As checks decide.
    #[default]
    Ready,
    /// No new connections; existing ones continue, as [`VirtualServer::drain`] allows. Checks
    /// continue.
    Drain,
    /// Take it out at once and stop its checks. Afterwards it is checked before it is used.
    Maintenance,
}
