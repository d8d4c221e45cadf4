//! Errors: the failed step, its object, and the remedy.

use std::{fmt, fs, io, sync::Arc};

use vrrp_fsm::{
    ConfigError,
    fleet::{FleetError, RouterId},
};
use vrrp_proto::{EncodeError, Family, OutOfRange, Vrid};

/// A privilege of Linux (capabilities(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Capability {
    /// `CAP_NET_RAW`: raw sockets and packet sockets.
    NetRaw,
    /// `CAP_NET_ADMIN`: addresses, socket priority, large buffers.
    NetAdmin,
}

impl Capability {
    /// Whether the calling thread has it.
    fn is_held(self) -> bool {
        self.is_in("/proc/thread-self/status")
    }

    /// Whether a process has it.
    pub(crate) fn is_held_by(self, process: i32) -> bool {
        self.is_in(&format!("/proc/{process}/status"))
    }

    /// Whether it is in the set of effective capabilities, a hexadecimal number, of a status file
    /// of proc(5).
    fn is_in(self, file: &str) -> bool {
        let bit = match self {
            Self::NetAdmin => 12,
            Self::NetRaw => 13,
        };
        let status = fs::read_to_string(file).unwrap_or_default();
        let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        let set = effective.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok());
        set.is_some_and(|set| set >> bit & 1 == 1)
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NetRaw => "CAP_NET_RAW",
            Self::NetAdmin => "CAP_NET_ADMIN",
        })
    }
}

/// The reason of a failure. The text names the attempt, the interface, the cause, and the remedy,
/// each once: [`source`](std::error::Error::source) returns no cause that the text already has.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel refused.
    #[error("{action}: {cause}")]
    Os {
        /// The attempt.
        action: String,
        /// The kernel's answer.
        cause: Arc<io::Error>,
    },
    /// The kernel refused because the process lacks a privilege.
    #[error(
        "{action}: {cause}; the process needs {capability}: run it as root, or give the program the privilege with \
         `setcap cap_net_admin,cap_net_raw+ep PROGRAM`; a container needs `--cap-add NET_ADMIN --cap-add NET_RAW` \
         (Docker, Podman) or `securityContext: {{capabilities: {{add: [NET_ADMIN, NET_RAW]}}}}` (Kubernetes)"
    )]
    Capability {
        /// The attempt.
        action: String,
        /// The missing privilege.
        capability: Capability,
        /// The kernel's answer.
        cause: Arc<io::Error>,
    },
    /// The kernel refused although the process has the privilege that the call needs.
    #[error(
        "{action}: {cause}; the process has {capability}, so a seccomp filter, a security module or a user namespace \
         that does not own the network forbids it: allow the system call, for a test with \
         `--security-opt seccomp=unconfined` (Docker, Podman) or \
         `securityContext: {{seccompProfile: {{type: Unconfined}}}}` (Kubernetes), or run it as root of the user \
         namespace that owns the network"
    )]
    Filtered {
        /// The attempt.
        action: String,
        /// The privilege that the process has.
        capability: Capability,
        /// The kernel's answer.
        cause: Arc<io::Error>,
    },
    /// The kernel's settings cannot be written, as in most containers.
    #[error(
        "{action}: {cause}; /proc/sys is mounted read-only, as in a container: set the value outside before the start, \
         or start the container with `--security-opt systempaths=unconfined` (Docker), `--security-opt unmask=/proc/sys` \
         (Podman) or `securityContext: {{privileged: true}}` (Kubernetes)"
    )]
    ReadOnly {
        /// The attempt.
        action: String,
        /// The kernel's answer.
        cause: Arc<io::Error>,
    },
    /// The kernel did not answer a request within 10 ms, or did not answer another one a moment
    /// before. Answers of the kernel come at once, so a longer wait would not help; the driver
    /// makes the request again.
    #[error("{action}: no answer from the kernel")]
    NoAnswer {
        /// The attempt.
        action: String,
    },
    /// The calling thread is in a network namespace other than that of the object it calls, so the
    /// call would change settings or open sockets in the wrong one.
    #[error("{action}: the calling thread is in another network namespace")]
    OtherNamespace {
        /// The attempt.
        action: String,
    },
    /// The router does not exist, or exists no longer.
    #[error("there is no {id}")]
    NoRouter {
        /// The request.
        id: RouterId,
    },
    /// The interface has a virtual router of this family and VRID already.
    #[error("virtual router {vrid} over {family} is on interface {interface} already")]
    Duplicate {
        /// The interface.
        interface: String,
        /// The family.
        family: Family,
        /// The VRID.
        vrid: Vrid,
    },
    /// The configuration of the state machine is not usable.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A tracked object or a sync group is not usable.
    #[error(transparent)]
    Fleet(FleetError),
    /// The protocol does not allow the advertisement that the configuration asks for.
    #[error("the advertisement cannot be sent: {0}")]
    Advertisement(EncodeError),
    /// A value is outside its range.
    #[error(transparent)]
    OutOfRange(#[from] OutOfRange),
    /// The other process of a hand-over broke the rules of the exchange, or was too slow.
    #[error("hand over: {problem}")]
    HandOver {
        /// The problem.
        problem: String,
    },
    /// The driver has stopped, or was handed over, and takes no more requests.
    #[error("the driver has stopped")]
    Stopped,
    /// Another part of the configuration is not usable.
    #[error("{field}: {problem}")]
    Invalid {
        /// The field of [`RouterConfig`](crate::RouterConfig).
        field: &'static str,
        /// The problem, and the allowed values.
        problem: String,
    },
}

impl From<EncodeError> for Error {
    fn from(error: EncodeError) -> Self {
        Self::Advertisement(error)
    }
}

impl From<FleetError> for Error {
    fn from(error: FleetError) -> Self {
        match error {
            FleetError::Config(error) => Self::Config(error),
            FleetError::UnknownRouter(id) => Self::NoRouter { id },
            error => Self::Fleet(error),
        }
    }
}

impl Error {
    /// The answer of the kernel, for an error that comes from the kernel.
    #[must_use]
    pub fn os_error(&self) -> Option<&io::Error> {
        match self {
            Self::Os { cause, .. }
            | Self::Capability { cause, .. }
            | Self::Filtered { cause, .. }
            | Self::ReadOnly { cause, .. } => Some(cause),
            _ => None,
        }
    }

    /// For `map_err`: the failure of a system call that needs no privilege, or one that the process
    /// has anyway.
    pub(crate) fn os(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self::Os {
            action: action.into(),
            cause: Arc::new(cause),
        }
    }

    /// For `map_err`: the failure of a system call that needs a privilege.
    pub(crate) fn privileged(
        action: impl Into<String>,
        capability: Capability,
    ) -> impl FnOnce(io::Error) -> Self {
        move |cause| {
            let action = action.into();
            let cause = Arc::new(cause);
            match cause.raw_os_error() {
                Some(libc::EPERM) if capability.is_held() => Self::Filtered {
                    action,
                    capability,
                    cause,
                },
                Some(libc::EPERM) => Self::Capability {
                    action,
                    capability,
                    cause,
                },
                Some(libc::EROFS) => Self::ReadOnly { action, cause },
                // EACCES, too: IPv6 is disabled, or a security module forbids it.
                _ => Self::Os { action, cause },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn a_chain_of_causes_has_each_cause_once() {
        let refused = || io::Error::from_raw_os_error(libc::EPERM);
        let privileged = Error::privileged("open a socket", Capability::NetRaw);
        let read_only = Error::privileged("set a value", Capability::NetAdmin);
        let vrid = Vrid::try_from(0).unwrap_err();
        for (error, cause) in [
            (Error::os("read a link")(refused()), refused().to_string()),
            (privileged(refused()), refused().to_string()),
            (
                read_only(io::Error::from_raw_os_error(libc::EROFS)),
                "Read-only file system (os error 30)".into(),
            ),
            (Error::from(vrid), vrid.to_string()),
        ] {
            let mut texts = vec![error.to_string()];
            let mut source = error.source();
            while let Some(it) = source {
                texts.push(it.to_string());
                source = it.source();
            }
            let count = texts.concat().matches(&cause).count();
            assert_eq!(count, 1, "{texts:?}");
        }
    }
}
