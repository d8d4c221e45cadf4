use std::{ffi::OsStr, io, path::PathBuf, time::Duration};

/// An error while building or using a lab.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A system call was refused.
    #[error("cannot {action}: {source}{}", hint(source))]
    Os {
        /// The attempt.
        action: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A request to the kernel's routing socket was refused.
    #[error("cannot {action}: {source}")]
    Netlink {
        /// The attempt.
        action: String,
        /// The kernel's answer.
        source: rtnetlink::Error,
    },
    /// An interface address that is not of the form `192.0.2.1/24` or `2001:db8::1/64`.
    #[error("address {text:?} is not of the form 192.0.2.1/24 or 2001:db8::1/64")]
    Address {
        /// The text that was given.
        text: String,
        /// Why it could not be read.
        source: ipnet::AddrParseError,
    },
    /// An interface with this name does not exist in the namespace.
    #[error("there is no interface {interface:?} in this namespace")]
    NoInterface {
        /// The name that was asked for.
        interface: String,
    },
    /// This user may not create user namespaces.
    #[error(
        "a normal user may not create a user namespace with a network here ({source}{}); \
         run the program as root instead: sudo {}", list(.settings), .program.display()
    )]
    UserNamespacesForbidden {
        /// The kernel's answer.
        source: io::Error,
        /// The sysctls that forbid it, as `name = value`; empty if none explains it (a container's
        /// system call filter, for instance).
        settings: Vec<String>,
        /// This program.
        program: PathBuf,
    },
    /// A program is not installed.
    #[error("{program} is not installed; on Debian: apt-get install {package}")]
    MissingProgram {
        /// The missing program.
        program: PathBuf,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// An example program has not been built.
    #[error("{} does not exist; `cargo build --examples` builds it", .path.display())]
    NoExample {
        /// Where cargo would have put it.
        path: PathBuf,
    },
    /// The folder with Debian's kernels is not known.
    #[error(
        "{variable} does not name the folder with Debian's kernels; `lab/fetch-kernels FOLDER` makes one, \
         and `./test` does both"
    )]
    NoKernels {
        /// The environment variable.
        variable: &'static str,
    },
    /// A program ended or failed where it should not.
    #[error("{program} {what}\n{output}")]
    Program {
        /// The program.
        program: String,
        /// Its failure, as a verb: "ended with status 1".
        what: String,
        /// Its output.
        output: String,
    },
    /// Something that was waited for did not happen in time.
    #[error("{what} did not happen within {limit:?}")]
    Timeout {
        /// The effect that was waited for.
        what: String,
        /// For how long.
        limit: Duration,
    },
    /// A capture is incomplete.
    #[error("the kernel dropped {count} frames of a capture")]
    FramesLost {
        /// How many frames are missing.
        count: u32,
    },
    /// A capture file could not be written or read.
    #[error("capture file: {0}")]
    Pcap(#[from] pcap_file::PcapError),
    /// tshark printed something else than expected.
    #[error("tshark printed no valid JSON: {0}")]
    Json(#[from] serde_json::Error),
}

impl Error {
    /// Wraps an I/O error: `.map_err(Error::os("bring lo up"))`.
    pub(crate) fn os<E: Into<io::Error>>(action: impl Into<String>) -> impl FnOnce(E) -> Self {
        move |source| Self::Os {
            action: action.into(),
            source: source.into(),
        }
    }

    /// The program, which is in the Debian package `package`, could not be started.
    pub(crate) fn starting(
        program: impl AsRef<OsStr>,
        package: &'static str,
        source: io::Error,
    ) -> Self {
        let program = program.as_ref();
        match source.kind() {
            io::ErrorKind::NotFound => Self::MissingProgram {
                program: program.into(),
                package,
            },
            _ => Self::Os {
                action: format!("start {}", program.display()),
                source,
            },
        }
    }
}

fn hint(source: &io::Error) -> &'static str {
    // EACCES is about files, for which more privileges are not the remedy.
    if source.raw_os_error() == Some(libc::EPERM) {
        " (CAP_SYS_ADMIN, CAP_NET_ADMIN and CAP_NET_RAW are needed: run as root or under `unshare -Urn`)"
    } else {
        ""
    }
}

fn list(settings: &[String]) -> String {
    settings
        .iter()
        .fold(String::new(), |text, setting| text + "; " + setting)
}
