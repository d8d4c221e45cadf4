//! Linux kernels other than the machine's own, booted as a guest to run one program.

mod console;
mod emulated;
mod init;
mod initramfs;
pub(crate) mod suite;
mod user_mode;

use std::{
    ffi::OsString,
    fmt,
    path::PathBuf,
    time::{Duration, Instant},
};

use self::console::Console;
use crate::Error;

/// A Linux kernel in which a program can run as a guest, with privileges and without touching the
/// host.
///
/// ```no_run
/// use vrrp_lab::{Guest, Kernel};
///
/// # fn main() -> Result<(), vrrp_lab::Error> {
/// let guest = Guest { arguments: vec!["-Ln".into()], ..Guest::new("/usr/sbin/ipvsadm") };
/// let status = Kernel::Uml6_1.run(&guest, |line| println!("{line}"))?;
/// assert_eq!(status, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kernel {
    /// User-mode Linux 6.1, Debian 12's package `user-mode-linux`. The host's files are the
    /// guest's, read-only.
    Uml6_1,
    /// Debian 12's Linux 6.1 for cloud machines, in a machine that qemu emulates. The guest's files
    /// are in its memory: its program and files, busybox, ipvsadm, iptables, iproute2, and the
    /// modules for networks.
    Debian6_1,
    /// The same with Debian 12's Linux 6.12.
    Debian6_12,
}

impl Kernel {
    /// All of them.
    pub const ALL: &[Self] = &[Self::Uml6_1, Self::Debian6_1, Self::Debian6_12];

    /// The variable of a guest's environment with the name of its kernel.
    const VARIABLE: &str = "VRRP_LAB_KERNEL";

    /// The kernel in which this process runs as a guest; `None` on the host.
    #[must_use]
    pub fn current() -> Option<Self> {
        let name = std::env::var(Self::VARIABLE).ok()?;
        Self::ALL
            .iter()
            .copied()
            .find(|kernel| kernel.name() == name)
    }

    /// A name for lists: `uml_6_1`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uml6_1 => "uml_6_1",
            Self::Debian6_1 => "debian_6_1",
            Self::Debian6_12 => "debian_6_12",
        }
    }

    /// The Debian package of the kernel, or of the program that runs it.
    const fn package(self) -> &'static str {
        match self {
            Self::Uml6_1 => "user-mode-linux",
            Self::Debian6_1 | Self::Debian6_12 => "qemu-system-x86",
        }
    }

    /// Boots the kernel, runs the guest's program in it, gives its lines to `on_line` as they come
    /// (both its standard output and its standard error, without line ends), and returns the
    /// program's exit status, 128 + n after signal n. After that, the kernel is gone with all its
    /// processes and files.
    ///
    /// The program runs as root in the initial namespaces. `/proc`, `/sys`, `/dev` and `/run` are
    /// mounted, `TMPDIR` can be written, modules load when the kernel asks for them or by
    /// `modprobe`. Standard input is empty.
    ///
    /// # Errors
    ///
    /// [`Error::MissingProgram`] or [`Error::NoKernels`] if the kernel is not installed,
    /// [`Error::Timeout`] if the program did not end within the guest's limit, [`Error::Program`]
    /// if the kernel ended before it. The latter two show the end of the console.
    pub fn run(self, guest: &Guest, mut on_line: impl FnMut(&str)) -> Result<i32, Error> {
        let deadline = Instant::now() + guest.limit;
        let mut console = self.boot(guest)?;
        while let Some(line) = console.next_line(deadline)? {
            on_line(&line);
        }
        console.status()
    }

    fn boot(self, guest: &Guest) -> Result<Console, Error> {
        Console::open(self, |folder, mark| match self {
            Self::Uml6_1 => user_mode::command(self, guest, folder, mark),
            Self::Debian6_1 => emulated::command(self, "6.1", guest, folder, mark),
            Self::Debian6_12 => emulated::command(self, "6.12", guest, folder, mark),
        })
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A program for a [`Kernel`] to run, with its surroundings.
#[derive(Clone, Debug)]
pub struct Guest {
    /// The program, an absolute path on the host. It has the same path in the guest.
    pub program: PathBuf,
    /// The program's arguments.
    pub arguments: Vec<OsString>,
    /// Variables of the program's environment, besides `PATH`, `HOME` and `TMPDIR`. The host's are
    /// not passed on.
    pub environment: Vec<(String, OsString)>,
    /// Other files that the program needs, absolute paths on the host. They have the same paths in
    /// the guest. A program's shared libraries come with it.
    pub files: Vec<PathBuf>,
    /// The guest's memory in MiB. The least with which an emulated machine boots and runs a small
    /// program is 160.
    pub memory: u32,
    /// How long booting and running may take.
    pub limit: Duration,
}

impl Guest {
    /// `program` without arguments, in 256 MiB, for at most five minutes (a busy machine takes one
    /// to boot).
    #[must_use]
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            files: Vec::new(),
            memory: 256,
            limit: Duration::from_secs(300),
        }
    }
}
