//! Errors and their meaning.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr},
};

use crate::{
    DestinationKey, ServiceKey,
    message::{Change, Command, DecodeError, Query, Request},
};

/// An error number of the operating system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Errno(pub i32);

impl Errno {
    pub(crate) const PERMITTED: Self = Self(1);
    pub(crate) const NO_ENTRY: Self = Self(2);
    pub(crate) const NO_SUCH: Self = Self(3);
    pub(crate) const MEMORY: Self = Self(12);
    #[cfg(all(feature = "client", target_os = "linux"))]
    pub(crate) const BUSY: Self = Self(16);
    pub(crate) const EXISTS: Self = Self(17);
    pub(crate) const NO_DEVICE: Self = Self(19);
    pub(crate) const INVALID: Self = Self(22);
    pub(crate) const RANGE: Self = Self(34);
    pub(crate) const UNSUPPORTED: Self = Self(numbers::EOPNOTSUPP);
    pub(crate) const FAMILY: Self = Self(numbers::EAFNOSUPPORT);
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        io::Error::from_raw_os_error(self.0).fmt(f)
    }
}

/// Error numbers that differ between architectures.
mod numbers {
    #[cfg(target_os = "linux")]
    pub(super) use libc::{EAFNOSUPPORT, EOPNOTSUPP};

    #[cfg(not(target_os = "linux"))]
    pub(super) const EOPNOTSUPP: i32 = 95;
    #[cfg(not(target_os = "linux"))]
    pub(super) const EAFNOSUPPORT: i32 = 97;
}

/// The reason why a call of the client failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel has no IPVS: it was built without it, or cannot load the module `ip_vs`, for
    /// example from a container.
    #[error("this kernel has no IPVS: the module ip_vs is not loaded and could not be loaded")]
    Unavailable,
    /// The kernel refused a request. Nothing was changed.
    #[error(transparent)]
    Refused(Box<Refusal>),
    /// No answer, or only a part of it, was received. The change may or may not have been made.
    #[error("{request}: {cause}")]
    Unanswered {
        /// The request.
        request: Box<Request>,
        /// Why there is no answer.
        cause: NoAnswer,
    },
    /// A change of a batch was not sent, because an earlier one was not answered.
    #[error("{0}: not sent, because an earlier change was not answered")]
    NotSent(Box<Change>),
    /// The kernel's answer cannot be decoded.
    #[error("{query}: the kernel's answer: {error}")]
    Decode {
        /// The request.
        query: Box<Query>,
        /// The fault of the answer.
        error: Box<DecodeError>,
    },
    /// A destination to be updated is not in the kernel's list.
    #[error("no such destination {destination} of {service}")]
    NoSuchDestination {
        /// The service.
        service: Box<ServiceKey>,
        /// The destination.
        destination: Box<DestinationKey>,
    },
    /// The system refused something other than a request.
    #[error("{doing}: {errno}")]
    System {
        /// The attempted operation.
        doing: &'static str,
        /// The error of the system.
        errno: Errno,
    },
}

/// The reason why an answer is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoAnswer {
    /// The time limit passed.
    #[error("no answer within the time limit")]
    TimedOut,
    /// Answers were lost, because the socket's buffer was full.
    #[error("answers were lost: the socket's buffer was full")]
    Overrun,
    /// An answer was longer than the buffer for it.
    #[error("the answer was cut short")]
    Truncated,
    /// The socket failed.
    #[error("the socket failed: {0}")]
    Socket(Errno),
}

/// A request that the kernel refused.
///
/// The meaning of an error number depends on the command; [`reason`](Self::reason) returns it. The
/// text names the object and the meaning:
///
/// ```
/// use ipvs_netlink::{Errno, Refusal, Scheduler, Service, ServiceKey, message::Change};
///
/// let key = ServiceKey::tcp(([192, 0, 2, 1], 80));
/// let change = Change::AddService(Service::new(key, Scheduler::MH));
/// let refusal = Refusal { request: change.into(), errno: Errno(2) };
/// assert_eq!(
///     refusal.to_string(),
///     "add service tcp 192.0.2.1:80 scheduler mh: scheduler 'mh' is not available: \
///      module ip_vs_mh not loaded"
/// );
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The request.
    pub request: Request,
    /// The kernel's error number.
    pub errno: Errno,
}

/// The meaning of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// There is no such service.
    NoSuchService,
    /// The service exists already.
    ServiceExists,
    /// There is no such destination.
    NoSuchDestination,
    /// The destination exists already.
    DestinationExists,
    /// The scheduler's module is not loaded and could not be loaded.
    SchedulerUnavailable,
    /// The module of the scheduler or of the persistence engine is not loaded and could not be
    /// loaded; the kernel does not report which.
    SchedulerOrEngineUnavailable,
    /// No such sync daemon runs.
    NoSuchDaemon,
    /// Such a sync daemon runs already.
    DaemonRuns,
    /// There is no such network interface.
    NoSuchInterface,
    /// The kernel has no support for the address family.
    FamilyUnsupported,
    /// The caller lacks `CAP_NET_ADMIN` in the initial user namespace: root in another user
    /// namespace is not enough.
    NotPermitted,
    /// A number is outside the kernel's range.
    OutOfRange,
    /// The kernel rejects the combination of settings.
    Invalid,
    /// The kernel does not know the command.
    Unsupported,
    /// The kernel has no memory left.
    OutOfMemory,
    /// Another reason, such as an error of a sync daemon's socket.
    Other,
}

impl Refusal {
    /// Returns the meaning of the error number for this request, by the kernel's `ip_vs_ctl.c`.
    #[must_use]
    pub fn reason(&self) -> Reason {
        let command = self.request.command();
        let of_destination = matches!(
            command,
            Command::NewDest | Command::SetDest | Command::DelDest
        );
        let of_daemon = matches!(command, Command::NewDaemon | Command::DelDaemon);
        match self.errno {
            Errno::PERMITTED => Reason::NotPermitted,
            Errno::NO_ENTRY if of_destination => Reason::NoSuchDestination,
            Errno::NO_ENTRY => match self.request {
                Request::Change(Change::AddService(service) | Change::UpdateService(service)) => {
                    if service.persistence_engine.is_some() {
                        Reason::SchedulerOrEngineUnavailable
                    } else {
                        Reason::SchedulerUnavailable
                    }
                }
                _ => Reason::Other,
            },
            Errno::NO_SUCH if of_daemon => Reason::NoSuchDaemon,
            Errno::NO_SUCH => Reason::NoSuchService,
            Errno::EXISTS if of_destination => Reason::DestinationExists,
            Errno::EXISTS if of_daemon => Reason::DaemonRuns,
            Errno::EXISTS => Reason::ServiceExists,
            Errno::NO_DEVICE => Reason::NoSuchInterface,
            Errno::INVALID => Reason::Invalid,
            Errno::RANGE => Reason::OutOfRange,
            Errno::FAMILY => Reason::FamilyUnsupported,
            Errno::UNSUPPORTED => Reason::Unsupported,
            Errno::MEMORY => Reason::OutOfMemory,
            _ => Reason::Other,
        }
    }
}

impl std::error::Error for Refusal {}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.request)?;
        let wanted = match self.request {
            Request::Change(Change::AddService(service) | Change::UpdateService(service)) => {
                Some(service)
            }
            _ => None,
        };
        match (self.reason(), wanted) {
            (Reason::NoSuchService, _) => match self.request.service() {
                Some(key) => write!(f, "no such service {key}"),
                None => f.write_str("no such service"),
            },
            (Reason::ServiceExists, _) => f.write_str("service exists"),
            (Reason::NoSuchDestination, _) => f.write_str("no such destination"),
            (Reason::DestinationExists, _) => f.write_str("destination exists"),
            (Reason::SchedulerUnavailable, Some(service)) => write!(
                f,
                "scheduler '{0}' is not available: module ip_vs_{0} not loaded",
                service.scheduler
            ),
            (Reason::SchedulerOrEngineUnavailable, Some(service)) => {
                write!(
                    f,
                    "scheduler '{0}' or persistence engine '{1}' is not available: \
                     module ip_vs_{0} or ip_vs_pe_{1} not loaded",
                    service.scheduler,
                    service
                        .persistence_engine
                        .as_ref()
                        .map_or("", |engine| engine.as_str())
                )
            }
            (Reason::SchedulerUnavailable | Reason::SchedulerOrEngineUnavailable, None) => {
                f.write_str("scheduler is not available")
            }
            (Reason::NoSuchDaemon, _) => f.write_str("no such sync daemon runs"),
            (Reason::DaemonRuns, _) => f.write_str("such a sync daemon runs already"),
            (Reason::NoSuchInterface, _) => f.write_str("no such network interface"),
            (Reason::FamilyUnsupported, _) => {
                f.write_str("the kernel does not support the address family")
            }
            (Reason::NotPermitted, _) => {
                f.write_str("needs CAP_NET_ADMIN in the initial user namespace")
            }
            (Reason::OutOfRange, _) => {
                f.write_str("a number is outside the range the kernel takes")
            }
            (Reason::Invalid, _) => invalid(&self.request, f),
            (Reason::Unsupported, _) => f.write_str("the kernel does not know the command"),
            (Reason::OutOfMemory, _) => f.write_str("the kernel has no memory left"),
            (Reason::Other, _) => self.errno.fmt(f),
        }
    }
}

/// An IPv4 address in the IPv6 form `::ffff:a.b.c.d`, which the kernel accepts for no destination.
fn mapped_address(request: &Request) -> Option<Ipv4Addr> {
    match request.destination()?.address {
        IpAddr::V6(address) => address.to_ipv4_mapped(),
        IpAddr::V4(_) => None,
    }
}

/// Writes what the kernel checks before it answers "invalid".
fn invalid(request: &Request, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if let Some(address) = mapped_address(request) {
        return write!(
            f,
            "invalid: a destination cannot be an IPv4-mapped IPv6 address; write {address}"
        );
    }
    f.write_str(match request {
        Request::Change(Change::AddDestination { .. } | Change::UpdateDestination { .. }) => {
            "invalid: a destination has a unicast address that is not link-local, \
             and one of the other family than its service is reached by a tunnel, \
             with no sync daemon running"
        }
        Request::Change(Change::StartDaemon(_)) => {
            "invalid: the group has to be multicast, \
             and no destination may be of the other family than its service"
        }
        Request::Change(Change::SetTimeouts(_)) => {
            "invalid: a timeout is longer than the kernel can count"
        }
        Request::Change(_) | Request::Query(Query::Service(_)) => {
            "the kernel rejects these settings"
        }
        Request::Query(_) => "the kernel rejected the query as invalid (EINVAL)",
    })
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

// A batch has a result for each of its changes. Boxed, a result has 24 bytes; with its request
// inline it has 80, so 12,000 changes take 0.3 MB and not 1 MB.
const _: () = assert!(size_of::<Result<(), Error>>() <= 24);

impl Error {
    #[cfg(all(feature = "client", target_os = "linux"))]
    pub(crate) fn decode(query: Query, error: DecodeError) -> Self {
        Self::Decode {
            query: Box::new(query),
            error: Box::new(error),
        }
    }

    /// Returns the error number of the kernel or the system, if there is one.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused(refusal) => Some(refusal.errno),
            Self::System { errno, .. }
            | Self::Unanswered {
                cause: NoAnswer::Socket(errno),
                ..
            } => Some(*errno),
            _ => None,
        }
    }

    /// Returns the meaning of a refusal; `None` for other errors.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::Refused(refusal) => Some(refusal.reason()),
            _ => None,
        }
    }

    /// Whether the service, destination or daemon of the request does not exist.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::NoSuchDestination { .. })
            || matches!(
                self.reason(),
                Some(Reason::NoSuchService | Reason::NoSuchDestination | Reason::NoSuchDaemon)
            )
    }

    /// Whether the object to add exists already.
    #[must_use]
    pub fn already_exists(&self) -> bool {
        matches!(
            self.reason(),
            Some(Reason::ServiceExists | Reason::DestinationExists | Reason::DaemonRuns)
        )
    }

    /// Whether the caller lacks the privilege.
    #[must_use]
    pub fn is_permission_denied(&self) -> bool {
        self.errno() == Some(Errno::PERMITTED)
    }

    /// Whether this kernel has no IPVS.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        *self == Self::Unavailable
    }

    /// Whether the result is unknown, so the table has to be read again.
    #[must_use]
    pub fn is_unanswered(&self) -> bool {
        matches!(self, Self::Unanswered { .. })
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match error.reason() {
            _ if error.is_permission_denied() => io::ErrorKind::PermissionDenied,
            _ if error.is_missing() => io::ErrorKind::NotFound,
            _ if error.already_exists() => io::ErrorKind::AlreadyExists,
            _ if error.is_unavailable() => io::ErrorKind::Unsupported,
            Some(Reason::Invalid | Reason::OutOfRange) => io::ErrorKind::InvalidInput,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
