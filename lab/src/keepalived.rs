use std::{
    ffi::OsStr,
    fmt::{self, Display, Formatter},
    fs,
    net::IpAddr,
    path::Path,
    time::Duration,
};

use tempfile::TempDir;

use crate::{Error, Namespace, daemon::Daemons};

/// Debian installs it outside a normal user's PATH.
const PROGRAM: &str = "/usr/sbin/keepalived";

/// Names a keepalived of version 2.3.3 or later where the installed one is older.
const RECENT: &str = "RECENT_KEEPALIVED";

/// How long keepalived may take to read its configuration.
const STARTING: Duration = Duration::from_secs(120);

/// A running keepalived. Dropping it kills it, as [`kill`](Self::kill) does.
#[derive(Debug)]
pub struct Keepalived {
    daemons: Daemons,
    folder: TempDir,
}

impl Keepalived {
    /// Starts keepalived in `namespace` with the given configuration file: usually one or more
    /// [`KeepalivedInstance`]s as text. Returns when keepalived has read it.
    ///
    /// # Errors
    ///
    /// [`Error::MissingProgram`]; [`Error::Program`] with keepalived's output if it ends or finds
    /// fault with the configuration.
    pub fn start(namespace: &Namespace, config: &str) -> Result<Self, Error> {
        Self::start_program(OsStr::new(PROGRAM), namespace, config)
    }

    /// The same with a keepalived of version 2.3.3 or later, which knows `v3_checksum_as_v2`: the
    /// program that the environment variable `RECENT_KEEPALIVED` names (the test command sets it on
    /// Debian 12), else the installed one.
    ///
    /// # Errors
    ///
    /// As for [`start`](Self::start); an older keepalived finds fault with the words that it does
    /// not know.
    pub fn start_recent(namespace: &Namespace, config: &str) -> Result<Self, Error> {
        let program = std::env::var_os(RECENT).unwrap_or_else(|| PROGRAM.into());
        Self::start_program(&program, namespace, config)
    }

    fn start_program(program: &OsStr, namespace: &Namespace, config: &str) -> Result<Self, Error> {
        let folder = tempfile::tempdir().map_err(Error::os("make a temporary folder"))?;
        let file = |name: &str| folder.path().join(name);
        fs::write(file("conf"), config).map_err(Error::os("write keepalived's configuration"))?;

        let mut command = namespace.command(program);
        command.args([
            "--dont-fork",
            "--log-console",
            // Where no syslog daemon runs, each line would go to the console of the machine, which
            // takes milliseconds.
            "--no-syslog",
            "--log-detail",
            "--vrrp",
            "--dont-respawn",
        ]);
        for (option, name) in [
            ("--use-file", "conf"),
            ("--pid", "pid"),
            ("--vrrp_pid", "vrrp.pid"),
            ("--checkers_pid", "checkers.pid"),
        ] {
            command.arg(option).arg(file(name));
        }
        let mut daemons = Daemons::new()?;
        daemons.start(command, "keepalived")?;
        daemons.wait_until("the start of keepalived", STARTING, |log| {
            log.contains("Startup complete")
        })?;

        daemons.refuse(&format!("({}: Line ", file("conf").display()))?;
        Ok(Self { daemons, folder })
    }

    /// What keepalived printed so far, one event a line.
    #[must_use]
    pub fn log(&self) -> String {
        self.daemons.log()
    }

    /// Waits until the log contains `text`, for instance `Entering MASTER STATE`.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`] with the log; [`Error::Program`] if keepalived ends before.
    pub fn wait_for_log(&mut self, text: &str, limit: Duration) -> Result<(), Error> {
        self.daemons
            .wait_until(&format!("keepalived's line {text:?}"), limit, |log| {
                log.contains(text)
            })
    }

    /// The temporary folder with its configuration and process id files.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Stops it as an operator does: with SIGTERM, upon which an Active sends priority zero and
    /// removes its addresses. Returns when it has ended.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`] or [`Error::Program`] if it does not end, or not well.
    pub fn stop(mut self) -> Result<(), Error> {
        self.daemons.stop()
    }

    /// Kills it without warning: all of its processes at once, so that none can say goodbye. Its
    /// addresses stay.
    pub fn kill(mut self) {
        self.daemons.kill();
    }
}

/// Authentication of a version 2 instance (RFC 2338 section 5.3.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeepalivedAuthentication {
    /// Type 1: a password of at most 8 octets in clear text.
    Pass(String),
    /// Type 2: IP authentication header with HMAC-MD5-96.
    Ah(String),
}

/// A `vrrp_instance` block of keepalived.conf: [`Display`] writes it.
///
/// Debian 12's keepalived 2.2.7 computes the checksum of version 3 over IPv4 with a pseudo-header,
/// and has no setting for it; a later version ([`Keepalived::start_recent`]) takes
/// `v3_checksum_as_v2` in [`further`](Self::further).
///
/// ```
/// use std::time::Duration;
/// use vrrp_lab::KeepalivedInstance;
///
/// let instance = KeepalivedInstance {
///     version: 2,
///     advert_interval: Duration::from_secs(2),
///     ..KeepalivedInstance::new(51, 150, &["192.0.2.254/24"])
/// };
/// assert!(instance.to_string().contains("advert_int 2\n"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeepalivedInstance {
    /// `interface`; `eth0` by default.
    pub interface: String,
    /// `virtual_router_id`.
    pub vrid: u8,
    /// `priority`.
    pub priority: u8,
    /// `advert_int`; 1 s by default. Whole seconds for version 2, hundredths of a second for
    /// version 3.
    pub advert_interval: Duration,
    /// `version`, 2 or 3; 3 by default.
    pub version: u8,
    /// `virtual_ipaddress`, of one family; the first of IPv6 is link-local.
    pub addresses: Vec<String>,
    /// `state MASTER` instead of `state BACKUP`; off by default.
    pub start_as_master: bool,
    /// Whether `nopreempt` is absent; on by default.
    pub preempt: bool,
    /// `mcast_src_ip`, or `unicast_src_ip` if there are unicast peers; keepalived's choice by
    /// default.
    pub source: Option<IpAddr>,
    /// `unicast_peer`; none, which means multicast, by default.
    pub unicast_peers: Vec<IpAddr>,
    /// `authentication`; none by default.
    pub authentication: Option<KeepalivedAuthentication>,
    /// Further lines, for everything else.
    pub further: String,
}

impl KeepalivedInstance {
    /// An instance with keepalived's defaults, apart from version 3.
    #[must_use]
    pub fn new(vrid: u8, priority: u8, addresses: &[&str]) -> Self {
        Self {
            interface: "eth0".into(),
            vrid,
            priority,
            advert_interval: Duration::from_secs(1),
            version: 3,
            addresses: addresses.iter().map(ToString::to_string).collect(),
            start_as_master: false,
            preempt: true,
            source: None,
            unicast_peers: Vec::new(),
            authentication: None,
            further: String::new(),
        }
    }
}

impl Display for KeepalivedInstance {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "vrrp_instance {}_{}_{} {{",
            self.interface,
            self.vrid,
            self.family()
        )?;
        writeln!(f, "  interface {}", self.interface)?;
        writeln!(f, "  virtual_router_id {}", self.vrid)?;
        writeln!(f, "  priority {}", self.priority)?;
        writeln!(f, "  advert_int {}", self.advert_interval.as_secs_f64())?;
        writeln!(f, "  version {}", self.version)?;
        writeln!(
            f,
            "  state {}",
            if self.start_as_master {
                "MASTER"
            } else {
                "BACKUP"
            }
        )?;
        if !self.preempt {
            writeln!(f, "  nopreempt")?;
        }
        if let Some(source) = self.source {
            let kind = if self.unicast_peers.is_empty() {
                "mcast"
            } else {
                "unicast"
            };
            writeln!(f, "  {kind}_src_ip {source}")?;
        }
        block(f, "unicast_peer", &self.unicast_peers)?;
        match &self.authentication {
            Some(KeepalivedAuthentication::Pass(key)) => authentication(f, "PASS", key)?,
            Some(KeepalivedAuthentication::Ah(key)) => authentication(f, "AH", key)?,
            None => {}
        }
        block(f, "virtual_ipaddress", &self.addresses)?;
        for line in self.further.lines() {
            writeln!(f, "  {line}")?;
        }
        writeln!(f, "}}")
    }
}

impl KeepalivedInstance {
    /// One VRID may be used once per family, and an instance's name once.
    fn family(&self) -> &'static str {
        if self.addresses.iter().any(|address| address.contains(':')) {
            "v6"
        } else {
            "v4"
        }
    }
}

fn block<T: Display>(f: &mut Formatter<'_>, name: &str, lines: &[T]) -> fmt::Result {
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(f, "  {name} {{")?;
    for line in lines {
        writeln!(f, "    {line}")?;
    }
    writeln!(f, "  }}")
}

fn authentication(f: &mut Formatter<'_>, kind: &str, key: &str) -> fmt::Result {
    block(
        f,
        "authentication",
        &[format!("auth_type {kind}"), format!("auth_pass {key}")],
    )
}
