//! What went wrong, where, and what to do about it.

use std::{fmt, io};

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

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NetRaw => "CAP_NET_RAW",
            Self::NetAdmin => "CAP_NET_ADMIN",
        })
    }
}

/// Why something could not be done. The text says what was tried, on which interface, and what helps.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel refused.
    #[error("{action}: {source}")]
    Os {
        /// What was tried.
        action: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The kernel refused because the process lacks a privilege.
    #[error(
        "{action}: {source}; the process needs {capability}: run it as root, or give the program the privilege with \
         `setcap cap_net_admin,cap_net_raw+ep PROGRAM`"
    )]
    Capability {
        /// What was tried.
        action: String,
        /// The missing privilege.
        capability: Capability,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The kernel did not answer a request. Its answers come at once, so this does not go away by waiting.
    #[error("{action}: no answer from the kernel")]
    NoAnswer {
        /// What was tried.
        action: String,
    },
    /// The calling thread is in another network namespace than what it has called, so that it would change settings or open sockets there.
    #[error("{action}: the calling thread is in another network namespace")]
    OtherNamespace {
        /// What was tried.
        action: String,
    },
    /// There is no such router, or none any more.
    #[error("there is no {id}")]
    NoRouter {
        /// What was asked for.
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
    /// The advertisement that the configuration asks for is not one that the protocol allows.
    #[error("the advertisement cannot be sent: {0}")]
    Advertisement(#[from] EncodeError),
    /// A value is outside its range.
    #[error(transparent)]
    OutOfRange(#[from] OutOfRange),
    /// Another part of the configuration is not usable.
    #[error("{field}: {problem}")]
    Invalid {
        /// The field of [`RouterConfig`](crate::RouterConfig).
        field: &'static str,
        /// What is wrong with it, and what it may be.
        problem: String,
    },
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
    /// For `map_err`: the failure of a system call that needs no privilege, or one that the process has anyway.
    pub(crate) fn os(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Os {
            action: action.into(),
            source,
        }
    }

    /// For `map_err`: the failure of a system call that needs a privilege.
    pub(crate) fn privileged(
        action: impl Into<String>,
        capability: Capability,
    ) -> impl FnOnce(io::Error) -> Self {
        move |source| {
            let action = action.into();
            // EACCES is the same error kind, but says something else: IPv6 is disabled, or a security module forbids it.
            if source.raw_os_error() == Some(libc::EPERM) {
                Self::Capability {
                    action,
                    capability,
                    source,
                }
            } else {
                Self::Os { action, source }
            }
        }
    }
}
