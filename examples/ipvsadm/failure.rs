//! The errors of the program, and the exit status of each.

use std::{io, path::PathBuf, process::ExitCode};

use ipvs_netlink::{Error, connections::ConnectionsError, plan::Rejected, rules::ParseError};

/// The reason why the program could not do its task.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// A word of the command line is not text.
    #[error("{0:?}: not UTF-8")]
    NotText(String),
    /// The command line, or a line of a text to restore, is not a command.
    #[error("{0}")]
    Usage(#[from] Box<ParseError>),
    /// An option that ipvsadm does not have is wrong.
    #[error("{0}")]
    Option(&'static str),
    /// The kernel refused something, or could not be asked.
    #[error(transparent)]
    Kernel(#[from] Error),
    /// The service to list does not exist.
    #[error("{0}")]
    NotListed(Error),
    /// The connections could not be read.
    #[error(transparent)]
    Connections(#[from] ConnectionsError),
    /// A file could not be read.
    #[error("{}: {error}", path.display())]
    File {
        /// The path.
        path: PathBuf,
        /// The error.
        error: io::Error,
    },
    /// A line of a file is not a command, or contradicts the lines before it.
    #[error("{name}: {error}")]
    Text {
        /// The file.
        name: String,
        /// The fault, with its line.
        error: Box<ParseError>,
    },
    /// A file contradicts itself.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// The output could not be written, the input could not be read, or signals are not available.
    #[error("standard input or output: {0}")]
    Io(#[from] io::Error),
}

impl Failure {
    /// Whether the reader of the standard output has closed it.
    pub(crate) fn is_closed_output(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// The exit status: that of ipvsadm where it has one.
    pub(crate) fn status(&self) -> ExitCode {
        match self {
            Self::Usage(error) if error.problem.is_malformed() => 255,
            Self::Kernel(error) if !error.is_unavailable() && !error.is_permission_denied() => 255,
            Self::Kernel(_) | Self::NotListed(_) | Self::Connections(_) | Self::Io(_) => 1,
            Self::Usage(_)
            | Self::NotText(_)
            | Self::Rejected(_)
            | Self::Option(_)
            | Self::File { .. }
            | Self::Text { .. } => 2,
        }
        .into()
    }
}
