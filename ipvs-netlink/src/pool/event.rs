//! Events, in order, with their reasons.

use std::{fmt, sync::Arc, time::Duration};

use super::Outcome;
use crate::{DestinationKey, ServiceKey, Weight};

/// An event of a pool. Events come in the order of cause and effect: a server goes down, then the
/// quorum is lost, then the sorry server is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Counts the events of a pool from 0.
    pub sequence: u64,
    /// The time.
    pub at: Duration,
    /// The service.
    pub service: ServiceKey,
    /// The change.
    pub change: PoolChange,
    /// The cause.
    pub cause: Cause,
}

/// A change of a service or of one of its servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PoolChange {
    /// A server is up.
    ServerUp(DestinationKey),
    /// A server is down. The brake or panic may keep it in use.
    ServerDown(DestinationKey),
    /// A server gets no new connections and keeps those that it has.
    Draining(DestinationKey),
    /// A server that was draining has no connections left, or is gone from the kernel's table.
    Drained(DestinationKey),
    /// The weight of a server in the table changed.
    Weight {
        /// The server.
        server: DestinationKey,
        /// The weight before.
        from: Weight,
        /// The weight from now on.
        to: Weight,
    },
    /// A server was added to the configuration.
    ServerAdded(DestinationKey),
    /// A server was removed from the configuration, alone or with its service.
    ServerRemoved {
        /// The server.
        server: DestinationKey,
        /// Whether it was up.
        was_up: bool,
    },
    /// The operator changed the state of a server.
    Operator(DestinationKey, super::Operator),
    /// The quorum is reached.
    QuorumGained(LiveCapacity),
    /// The quorum is lost.
    QuorumLost(LiveCapacity),
    /// The sorry server is in use.
    SorryIn(DestinationKey),
    /// The sorry server is no longer in use.
    SorryOut(DestinationKey),
    /// This many servers are down and stay in use, because the brake keeps checks from taking out
    /// more.
    BrakeOn(usize),
    /// The brake keeps no server in use.
    BrakeOff,
    /// This many servers are down and in use, because too few others are left.
    PanicOn(usize),
    /// Servers that are down are no longer in use.
    PanicOff,
    /// The checks of the service are suspended.
    Suspended,
    /// The checks of the service continue.
    Resumed,
}

/// The live capacity and the capacity that is needed for the change, both in the unit of the
/// quorum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveCapacity {
    /// The live capacity.
    pub live: u64,
    /// The bound: at least this for a gain, less than this for a loss.
    pub bound: u64,
    /// Whether both are percent of servers and not weights.
    pub percent: bool,
}

impl fmt::Display for LiveCapacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            live,
            bound,
            percent,
        } = self;
        if *percent {
            write!(f, "{live} % of {bound} %")
        } else {
            write!(f, "weight {live} of {bound}")
        }
    }
}

/// The cause of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// A result of a check.
    Check {
        /// The name of the check.
        check: Arc<str>,
        /// The result.
        outcome: Outcome,
    },
    /// The configuration was set or changed.
    Configuration,
    /// The operator.
    Operator,
    /// Time, as in a slow start.
    Time,
    /// The kernel's table.
    Kernel,
    /// The pool was stopped.
    Stop,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Check { check, outcome } => write!(f, "{check}: {outcome}"),
            Self::Configuration => f.write_str("configuration"),
            Self::Operator => f.write_str("operator"),
            Self::Time => f.write_str("time"),
            Self::Kernel => f.write_str("kernel's table"),
            Self::Stop => f.write_str("stop"),
        }
    }
}

/// One line, such as
/// `tcp 192.0.2.1:80: server 10.0.0.1:80 down (check 1: refused (connection refused))`.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.service, self.change, self.cause)
    }
}

impl fmt::Display for PoolChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ServerUp(server) => write!(f, "server {server} up"),
            Self::ServerDown(server) => write!(f, "server {server} down"),
            Self::Draining(server) => write!(f, "server {server} draining"),
            Self::Drained(server) => write!(f, "server {server} drained"),
            Self::Weight { server, from, to } => {
                write!(f, "server {server} weight {from} to {to}")
            }
            Self::ServerAdded(server) => write!(f, "server {server} added"),
            Self::ServerRemoved { server, was_up } => {
                let state = if *was_up { "up" } else { "down" };
                write!(f, "server {server} removed, was {state}")
            }
            Self::Operator(server, state) => write!(f, "server {server} {state}"),
            Self::QuorumGained(live) => write!(f, "quorum gained, {live}"),
            Self::QuorumLost(live) => write!(f, "quorum lost, {live}"),
            Self::SorryIn(server) => write!(f, "sorry server {server} in"),
            Self::SorryOut(server) => write!(f, "sorry server {server} out"),
            Self::BrakeOn(servers) => write!(f, "brake on, holds {servers}"),
            Self::BrakeOff => f.write_str("brake off"),
            Self::PanicOn(servers) => write!(f, "panic on, uses {servers} that are down"),
            Self::PanicOff => f.write_str("panic off"),
            Self::Suspended => f.write_str("checks suspended"),
            Self::Resumed => f.write_str("checks resumed"),
        }
    }
}

impl fmt::Display for super::Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ready => "ready",
            Self::Drain => "drain",
            Self::Maintenance => "maintenance",
        })
    }
}
