//! Answers of the kernel.

use super::Command;
use crate::{Info, ListedDestination, ListedService, SyncDaemon, Timeouts};

/// An answer to a [`Query`](super::Query): one, or for a list one for each object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A service.
    Service(ListedService),
    /// A destination.
    Destination(ListedDestination),
    /// A sync daemon.
    Daemon(SyncDaemon),
    /// The timeouts.
    Timeouts(Timeouts),
    /// The version and the size of the connection table.
    Info(Info),
}

impl Reply {
    /// The command in its header.
    #[must_use]
    pub fn command(&self) -> Command {
        match self {
            Self::Service(_) => Command::NewService,
            Self::Destination(_) => Command::NewDest,
            Self::Daemon(_) => Command::NewDaemon,
            Self::Timeouts(_) => Command::SetConfig,
            Self::Info(_) => Command::SetInfo,
        }
    }
}
