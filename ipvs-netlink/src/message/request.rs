//! Requests to the kernel.

use std::fmt;

use super::Command;
use crate::{DaemonState, Destination, DestinationKey, Service, ServiceKey, SyncDaemon, Timeouts};

/// A change to make. The kernel acknowledges each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Add a service.
    AddService(Service),
    /// Give a service new settings: all of them, because the kernel forgets the others.
    UpdateService(Service),
    /// Delete a service with its destinations.
    DeleteService(ServiceKey),
    /// Add a destination.
    AddDestination {
        /// The service it belongs to.
        service: ServiceKey,
        /// The destination.
        destination: Destination,
    },
    /// Give a destination new settings: all of them, because the kernel forgets the others.
    UpdateDestination {
        /// The service it belongs to.
        service: ServiceKey,
        /// The destination.
        destination: Destination,
    },
    /// Delete a destination. Its connections stall until it is added again, or with
    /// `net.ipv4.vs.expire_nodest_conn` at 1 are cut.
    DeleteDestination {
        /// The service it belongs to.
        service: ServiceKey,
        /// The destination.
        destination: DestinationKey,
    },
    /// Start a sync daemon.
    StartDaemon(SyncDaemon),
    /// Stop a sync daemon.
    StopDaemon(DaemonState),
    /// Set the timeouts that are not 0.
    SetTimeouts(Timeouts),
    /// Set the counters of a service and its destinations to zero.
    ZeroService(ServiceKey),
    /// Set all counters to zero.
    ZeroAll,
    /// Delete all services of the namespace.
    Flush,
}

/// A question to the kernel, which it answers with [`Reply`](super::Reply)s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Query {
    /// One service.
    Service(ServiceKey),
    /// All services.
    Services,
    /// The destinations of a service. The kernel answers with none if there is no such service.
    Destinations(ServiceKey),
    /// The sync daemons.
    Daemons,
    /// The timeouts.
    Timeouts,
    /// The version and the size of the connection table.
    Info,
}

/// A message to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// A change.
    Change(Change),
    /// A query.
    Query(Query),
}

impl From<Change> for Request {
    fn from(change: Change) -> Self {
        Self::Change(change)
    }
}

impl From<Query> for Request {
    fn from(query: Query) -> Self {
        Self::Query(query)
    }
}

impl Request {
    /// The command in its header.
    #[must_use]
    pub fn command(&self) -> Command {
        match self {
            Self::Change(change) => match change {
                Change::AddService(_) => Command::NewService,
                Change::UpdateService(_) => Command::SetService,
                Change::DeleteService(_) => Command::DelService,
                Change::AddDestination { .. } => Command::NewDest,
                Change::UpdateDestination { .. } => Command::SetDest,
                Change::DeleteDestination { .. } => Command::DelDest,
                Change::StartDaemon(_) => Command::NewDaemon,
                Change::StopDaemon(_) => Command::DelDaemon,
                Change::SetTimeouts(_) => Command::SetConfig,
                Change::ZeroService(_) | Change::ZeroAll => Command::Zero,
                Change::Flush => Command::Flush,
            },
            Self::Query(query) => match query {
                Query::Service(_) | Query::Services => Command::GetService,
                Query::Destinations(_) => Command::GetDest,
                Query::Daemons => Command::GetDaemon,
                Query::Timeouts => Command::GetConfig,
                Query::Info => Command::GetInfo,
            },
        }
    }

    /// Whether the answer is a list, so the header needs `NLM_F_DUMP`.
    #[must_use]
    pub fn is_dump(&self) -> bool {
        matches!(
            self,
            Self::Query(Query::Services | Query::Destinations(_) | Query::Daemons)
        )
    }

    /// The service that it is about.
    #[must_use]
    pub fn service(&self) -> Option<ServiceKey> {
        match self {
            Self::Change(change) => change.service(),
            Self::Query(Query::Service(key) | Query::Destinations(key)) => Some(*key),
            Self::Query(_) => None,
        }
    }

    /// The destination that it is about.
    #[must_use]
    pub fn destination(&self) -> Option<DestinationKey> {
        match self {
            Self::Change(change) => change.destination(),
            Self::Query(_) => None,
        }
    }
}

impl Change {
    /// The service that it is about.
    #[must_use]
    pub fn service(&self) -> Option<ServiceKey> {
        match self {
            Self::AddService(service) | Self::UpdateService(service) => Some(service.key),
            Self::DeleteService(key) | Self::ZeroService(key) => Some(*key),
            Self::AddDestination { service, .. }
            | Self::UpdateDestination { service, .. }
            | Self::DeleteDestination { service, .. } => Some(*service),
            Self::StartDaemon(_)
            | Self::StopDaemon(_)
            | Self::SetTimeouts(_)
            | Self::ZeroAll
            | Self::Flush => None,
        }
    }

    /// The destination that it is about.
    #[must_use]
    pub fn destination(&self) -> Option<DestinationKey> {
        match self {
            Self::AddDestination { destination, .. }
            | Self::UpdateDestination { destination, .. } => Some(destination.key),
            Self::DeleteDestination { destination, .. } => Some(*destination),
            _ => None,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddService(service) => write!(f, "add service {}", Settings(service)),
            Self::UpdateService(service) => write!(f, "update service {}", Settings(service)),
            Self::DeleteService(key) => write!(f, "delete service {key}"),
            Self::AddDestination {
                service,
                destination,
            } => {
                write!(f, "add destination {} to {service}", Shape(destination))
            }
            Self::UpdateDestination {
                service,
                destination,
            } => {
                write!(f, "update destination {} of {service}", Shape(destination))
            }
            Self::DeleteDestination {
                service,
                destination,
            } => {
                write!(f, "delete destination {destination} of {service}")
            }
            Self::StartDaemon(daemon) => {
                write!(
                    f,
                    "start {} sync daemon on {}",
                    daemon.state, daemon.interface
                )
            }
            Self::StopDaemon(state) => write!(f, "stop {state} sync daemon"),
            Self::SetTimeouts(timeouts) => write!(
                f,
                "set timeouts tcp {} tcp_fin {} udp {}",
                timeouts.tcp, timeouts.tcp_fin, timeouts.udp
            ),
            Self::ZeroService(key) => write!(f, "zero counters of {key}"),
            Self::ZeroAll => f.write_str("zero all counters"),
            Self::Flush => f.write_str("delete all services"),
        }
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(key) => write!(f, "get service {key}"),
            Self::Services => f.write_str("list services"),
            Self::Destinations(key) => write!(f, "list destinations of {key}"),
            Self::Daemons => f.write_str("list sync daemons"),
            Self::Timeouts => f.write_str("get timeouts"),
            Self::Info => f.write_str("get info"),
        }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Change(change) => change.fmt(f),
            Self::Query(query) => query.fmt(f),
        }
    }
}

/// A service with the settings that differ from the default.
struct Settings<'a>(&'a Service);

impl fmt::Display for Settings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let service = self.0;
        write!(f, "{} scheduler {}", service.key, service.scheduler)?;
        if !service.scheduler_flags.is_empty() {
            write!(f, " flags {}", service.scheduler_flags)?;
        }
        if let Some(persistence) = service.persistence() {
            write!(
                f,
                " persistent {} s mask {}",
                persistence.timeout, persistence.netmask
            )?;
        }
        if let Some(engine) = service.persistence_engine {
            write!(f, " engine {engine}")?;
        }
        if service.one_packet {
            f.write_str(" one-packet")?;
        }
        Ok(())
    }
}

/// A destination with the settings that differ from the default.
struct Shape<'a>(&'a Destination);

impl fmt::Display for Shape<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Destination {
            key,
            forwarding,
            weight,
            thresholds,
        } = self.0;
        write!(f, "{key} {forwarding} weight {weight}")?;
        if thresholds.upper() != 0 {
            write!(
                f,
                " thresholds {}/{}",
                thresholds.upper(),
                thresholds.lower()
            )?;
        }
        Ok(())
    }
}
