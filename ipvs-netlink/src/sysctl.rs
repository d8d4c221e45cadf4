//! The sysctls of IPVS, `net.ipv4.vs` of a network namespace, as typed settings that can be
//! restored.
//!
//! # UDP after a destination was removed
//!
//! When a destination is deleted, its connections stay until they time out, five minutes for UDP,
//! and the kernel silently drops their packets. A client that keeps its port, such as a resolver or
//! a QUIC client, gets no answer during this time. With [`Setting::ExpireNodestConn`] the first
//! packet ends the connection, and the client reaches another server:
//!
//! ```no_run
//! use ipvs_netlink::sysctl::{Setting, Sysctls};
//!
//! let saved = Sysctls::open()?.set(&[Setting::ExpireNodestConn(true)])?;
//! // When `saved` is dropped, the setting gets its old value back.
//! # drop(saved);
//! # Ok::<(), ipvs_netlink::sysctl::SysctlError>(())
//! ```
//!
//! kube-proxy uses this setting too. With it, a destination with weight 0 still keeps its
//! connections; persistent clients of such a destination move with
//! [`Setting::ExpireQuiescentTemplate`].

use std::{
    fmt, fs, io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{Error, namespace};

/// Declares the settings: how a value is read and written follows from its type.
macro_rules! settings {
    ($($(#[$docs:meta])* $name:ident($value:ty) = $file:literal,)*) => {
        /// A setting with its value. Ranges are the kernel's; it refuses other values.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Setting {
            $($(#[$docs])* $name($value),)*
        }

        impl Setting {
            /// The names of all settings, which are the names of the files below
            /// `/proc/sys/net/ipv4/vs`.
            pub const NAMES: &'static [&'static str] = &[$($file),*];

            /// Its name.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$name(_) => $file,)*
                }
            }

            /// Its value, as the kernel prints it.
            fn text(self) -> String {
                match self {
                    $(Self::$name(value) => value.print(),)*
                }
            }

            /// A setting by its name, with a value that the kernel printed.
            fn read(name: &str, text: &str) -> Option<Self> {
                match name {
                    $($file => <$value>::read(text).map(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

settings! {
    /// Memory in pages below which drop strategies begin.
    Amemthresh(u32) = "amemthresh",
    /// The rate of the drop strategy that is always active: it drops one packet in this many.
    AmDroprate(u32) = "am_droprate",
    /// Whether a load balancer that runs the backup sync daemon, and not the master, leaves all
    /// traffic alone.
    BackupOnly(bool) = "backup_only",
    /// Whether a cluster of transparent caches passes packets to the original address when no cache
    /// is available.
    CacheBypass(bool) = "cache_bypass",
    /// The greatest number of connections in the namespace (Linux 7).
    ConnMax(u32) = "conn_max",
    /// The load factor of the connection table, a power of 2 (Linux 7).
    ConnLfactor(i32) = "conn_lfactor",
    /// How a new connection from a reused port is treated: 0 as a packet of the old connection; bit
    /// 0 schedules it again if the old one is closing; bit 1 does so for TCP only if it is safe.
    ConnReuseMode(u32) = "conn_reuse_mode",
    /// Whether connections are known to the firewall's connection tracking.
    Conntrack(bool) = "conntrack",
    /// When random entries are dropped: 0 never; 1 and 2 while memory is short, when the kernel
    /// turns 1 into 2 and back; 3 always.
    DropEntry(u32) = "drop_entry",
    /// When packets are dropped at a rate, with values as for `drop_entry`.
    DropPacket(u32) = "drop_packet",
    /// The nice value of the threads that estimate rates (Linux 6.2).
    EstNice(i32) = "est_nice",
    /// Whether the first packet of a connection whose destination was deleted ends the connection,
    /// so the client reaches another server. Otherwise its packets are dropped until the connection
    /// times out.
    ExpireNodestConn(bool) = "expire_nodest_conn",
    /// Whether persistence forgets a client when its destination has weight 0.
    ExpireQuiescentTemplate(bool) = "expire_quiescent_template",
    /// Whether tunneled packets in ICMP errors are ignored.
    IgnoreTunneled(bool) = "ignore_tunneled",
    /// Whether the load balancer sends ICMP errors for masqueraded connections whose server is
    /// unreachable.
    NatIcmpSend(bool) = "nat_icmp_send",
    /// Whether ICMP errors "fragmentation needed" are sent to clients of tunnels and direct
    /// routing.
    PmtuDisc(bool) = "pmtu_disc",
    /// Whether counters and rates are estimated.
    RunEstimation(bool) = "run_estimation",
    /// Whether ICMP packets are scheduled as connections.
    ScheduleIcmp(bool) = "schedule_icmp",
    /// When TCP has shorter timeouts, with values as for `drop_entry`.
    SecureTcp(u32) = "secure_tcp",
    /// Whether an SCTP packet that is not an INIT may begin a connection.
    SloppySctp(bool) = "sloppy_sctp",
    /// Whether a TCP packet that is not a SYN may begin a connection: for load balancers of equal
    /// rank behind ECMP, with a hashing scheduler.
    SloppyTcp(bool) = "sloppy_tcp",
    /// Whether packets of masqueraded connections are routed again after translation.
    SnatReroute(bool) = "snat_reroute",
    /// The load factor of the service table, a power of 2 (Linux 7).
    SvcLfactor(i32) = "svc_lfactor",
    /// Whether only templates of persistence are synchronized.
    SyncPersistMode(bool) = "sync_persist_mode",
    /// The number of UDP ports and threads of the sync master: 1, 2, 4 or 8.
    SyncPorts(u32) = "sync_ports",
    /// The most messages that wait to be sent.
    SyncQlenMax(u32) = "sync_qlen_max",
    /// How often an unchanged connection is synchronized, in seconds; 0 to count packets instead.
    SyncRefreshPeriod(u32) = "sync_refresh_period",
    /// How often a connection is sent again, 0 to 3.
    SyncRetries(u32) = "sync_retries",
    /// The send or receive buffer of the sync sockets in octets; 0 for the default.
    SyncSockSize(u32) = "sync_sock_size",
    /// The packet at which a connection is first synchronized, and then the number of packets
    /// between synchronizations.
    SyncThreshold(Threshold) = "sync_threshold",
    /// The version of the sync protocol: 0 or 1.
    SyncVersion(u32) = "sync_version",
}

/// The value of [`Setting::SyncThreshold`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Threshold {
    /// The packet at which a connection is first synchronized. Less than the period, unless that is
    /// 0.
    pub first: u32,
    /// The number of packets between synchronizations; 0 for once only.
    pub period: u32,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "net.ipv4.vs.{} = {}", self.name(), self.text())
    }
}

/// A value as the kernel prints it.
trait Value: Sized {
    fn print(&self) -> String;
    fn read(text: &str) -> Option<Self>;
}

impl Value for bool {
    fn print(&self) -> String {
        u8::from(*self).to_string()
    }

    fn read(text: &str) -> Option<Self> {
        text.parse::<i64>().ok().map(|number| number != 0)
    }
}

impl Value for u32 {
    fn print(&self) -> String {
        self.to_string()
    }

    fn read(text: &str) -> Option<Self> {
        // Some settings have the kernel's type `long`.
        let number = text.parse::<u64>().ok()?;
        Some(Self::try_from(number).unwrap_or(Self::MAX))
    }
}

impl Value for i32 {
    fn print(&self) -> String {
        self.to_string()
    }

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Value for Threshold {
    fn print(&self) -> String {
        format!("{} {}", self.first, self.period)
    }

    fn read(text: &str) -> Option<Self> {
        let (first, period) = text.split_once(char::is_whitespace)?;
        Some(Self {
            first: first.trim().parse().ok()?,
            period: period.trim().parse().ok()?,
        })
    }
}

/// Why a setting could not be read or set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SysctlError {
    /// The network namespace could not be entered.
    #[error(transparent)]
    Namespace(#[from] Error),
    /// This kernel has no such setting, or IPVS is not loaded.
    #[error("net.ipv4.vs.{0}: this kernel has no such setting, or the module ip_vs is not loaded")]
    Missing(&'static str),
    /// The file could not be read or written.
    #[error("{setting}: {reason}: {remedy}")]
    Refused {
        /// The name of the setting, with the value to set.
        setting: String,
        /// The system's reason.
        reason: String,
        /// The remedy.
        remedy: &'static str,
    },
    /// The kernel keeps another value.
    #[error("{wanted}: the kernel keeps {found}; use a value that it accepts")]
    NotKept {
        /// The setting as it should be.
        wanted: Setting,
        /// The setting as it is.
        found: Setting,
    },
}

/// The settings of a network namespace.
///
/// They exist once the module `ip_vs` is loaded, for example by opening a
/// [`Client`](crate::Client).
#[derive(Clone, Debug)]
pub struct Sysctls {
    namespace: Arc<OwnedFd>,
}

impl Sysctls {
    /// The settings of the network namespace of the calling thread.
    ///
    /// # Errors
    ///
    /// [`SysctlError::Namespace`] without `/proc`.
    pub fn open() -> Result<Self, SysctlError> {
        Self::open_path("/proc/thread-self/ns/net")
    }

    /// The settings of a network namespace by a file descriptor of it.
    ///
    /// # Errors
    ///
    /// [`SysctlError::Namespace`] if the descriptor cannot be duplicated.
    pub fn open_in(namespace: impl AsFd) -> Result<Self, SysctlError> {
        let namespace = namespace.as_fd().try_clone_to_owned();
        let failed = |error| namespace::from_io("duplicate the network namespace", &error);
        Ok(Self {
            namespace: Arc::new(namespace.map_err(failed)?),
        })
    }

    /// The settings of a network namespace by its path, such as `/run/netns/NAME`.
    ///
    /// # Errors
    ///
    /// [`SysctlError::Namespace`] if there is no such file.
    pub fn open_path(namespace: impl AsRef<Path>) -> Result<Self, SysctlError> {
        Self::open_in(namespace::open(namespace.as_ref())?)
    }

    /// All settings that this kernel has, in the order of [`Setting::NAMES`].
    ///
    /// # Errors
    ///
    /// [`SysctlError::Namespace`] if the namespace cannot be entered. [`SysctlError::Missing`] if
    /// there is none at all.
    pub fn all(&self) -> Result<Vec<Setting>, SysctlError> {
        let found: Vec<Setting> = self.inside(|| {
            let names = Setting::NAMES.iter();
            names.filter_map(|name| get(name).ok()).collect()
        })?;
        if found.is_empty() {
            return Err(SysctlError::Missing("*"));
        }
        Ok(found)
    }

    /// Sets some settings, and returns the old values of the changed ones. If one fails, the others
    /// get their old values back. A setting that has its value already is not written, so a
    /// container with read-only settings works once its host has set them.
    ///
    /// # Errors
    ///
    /// A [`SysctlError`]; [`SysctlError::Refused`] without `CAP_NET_ADMIN`, for a value that the
    /// kernel does not accept, and where the settings are read-only.
    pub fn set(&self, settings: &[Setting]) -> Result<Saved, SysctlError> {
        let mut saved = Saved {
            sysctls: self.clone(),
            changes: Vec::new(),
        };
        for new in settings {
            if let Some(old) = self.inside(|| set(*new))?? {
                saved.changes.push((old, *new));
            }
        }
        Ok(saved)
    }

    fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, SysctlError> {
        Ok(namespace::inside(self.namespace.as_fd(), || Ok(work()))?)
    }
}

/// The old values of settings, restored when this is dropped: the last change first, and only if
/// the setting still has the value that was set.
#[derive(Debug)]
#[must_use = "the old values are put back when this is dropped"]
pub struct Saved {
    sysctls: Sysctls,
    changes: Vec<(Setting, Setting)>,
}

impl Saved {
    /// The old values of the settings that were different.
    pub fn old(&self) -> impl Iterator<Item = Setting> {
        self.changes.iter().map(|(old, _)| *old)
    }

    /// Restores the old values.
    ///
    /// # Errors
    ///
    /// The first [`SysctlError`]. The other settings are restored anyway.
    pub fn restore(mut self) -> Result<(), SysctlError> {
        self.put_back()
    }

    /// Keeps the new values.
    pub fn keep(mut self) {
        self.changes.clear();
    }

    fn put_back(&mut self) -> Result<(), SysctlError> {
        let mut result = Ok(());
        for (old, new) in std::mem::take(&mut self.changes).into_iter().rev() {
            let put_back = || match get(new.name()) {
                Ok(found) if found != new => Ok(()),
                Ok(_) => set(old).map(drop),
                Err(error) => Err(error),
            };
            let one = self.sysctls.inside(put_back).and_then(|done| done);
            result = result.and(one);
        }
        result
    }
}

impl Drop for Saved {
    fn drop(&mut self) {
        // There is no caller left to return the error to.
        let _ = self.put_back();
    }
}

fn path(name: &str) -> PathBuf {
    Path::new("/proc/sys/net/ipv4/vs").join(name)
}

fn get(name: &'static str) -> Result<Setting, SysctlError> {
    let text = fs::read_to_string(path(name)).map_err(|error| failed(name, name, &error))?;
    Setting::read(name, text.trim()).ok_or_else(|| SysctlError::Refused {
        setting: format!("net.ipv4.vs.{name}"),
        reason: format!("unexpected value {:?}", text.trim()),
        remedy: "leave this setting alone",
    })
}

/// Sets a setting if it has another value, and returns the old one.
fn set(new: Setting) -> Result<Option<Setting>, SysctlError> {
    let name = new.name();
    let old = get(name)?;
    if old == new {
        return Ok(None);
    }
    fs::write(path(name), new.text()).map_err(|error| failed(name, &new.to_string(), &error))?;
    let found = get(name)?;
    if found != new {
        return Err(SysctlError::NotKept { wanted: new, found });
    }
    Ok(Some(old))
}

fn failed(name: &'static str, setting: &str, error: &io::Error) -> SysctlError {
    let remedy = match error.kind() {
        io::ErrorKind::NotFound => return SysctlError::Missing(name),
        io::ErrorKind::PermissionDenied => "needs CAP_NET_ADMIN in the network namespace",
        io::ErrorKind::ReadOnlyFilesystem => {
            "set it on the host, or mount /proc/sys writable in the container"
        }
        _ => "use a value that the kernel takes",
    };
    SysctlError::Refused {
        setting: setting.to_owned(),
        reason: error.to_string(),
        remedy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_the_kernel_prints_them() {
        let threshold = Threshold {
            first: 3,
            period: 50,
        };
        for (name, text, setting) in [
            ("sync_threshold", "3\t50", Setting::SyncThreshold(threshold)),
            ("sloppy_tcp", "1", Setting::SloppyTcp(true)),
            ("est_nice", "-5", Setting::EstNice(-5)),
            (
                "sync_qlen_max",
                "18446744073709551615",
                Setting::SyncQlenMax(u32::MAX),
            ),
        ] {
            assert_eq!(Setting::read(name, text), Some(setting));
        }
        assert_eq!(Setting::read("sloppy_tcp", "x"), None);
        assert_eq!(Setting::read("unknown", "1"), None);
    }

    #[test]
    fn a_setting_is_printed_as_a_line_of_sysctl_conf() {
        let setting = Setting::ConnReuseMode(2);
        assert_eq!(setting.to_string(), "net.ipv4.vs.conn_reuse_mode = 2");
    }
}
