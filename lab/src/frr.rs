use std::{
    fs,
    net::{Ipv4Addr, Ipv6Addr},
    os::unix::fs::chown,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::unistd::User;
use tempfile::TempDir;

use crate::{Error, Host, Namespace, daemon::Daemons};

const ZEBRA: &str = "/usr/lib/frr/zebra";
const VRRPD: &str = "/usr/lib/frr/vrrpd";
const BGPD: &str = "/usr/lib/frr/bgpd";

/// The user that the daemons change to, and the package that it and they come with.
const USER: &str = "frr";

/// How long each daemon may take to come up.
const STARTING: Duration = Duration::from_secs(120);

/// A running FRR: its daemon `zebra`, and `vrrpd` or `bgpd`. Dropping it kills them, as
/// [`kill`](Self::kill) does.
///
/// They change to the user `frr`, for which this process must be root outside any user namespace,
/// and reach their configuration in the temporary folder, which all users must be able to enter.
#[derive(Debug)]
pub struct Frr {
    daemons: Daemons,
    /// Where the daemons keep a crash log while they run.
    crash_logs: Vec<PathBuf>,
    folder: TempDir,
}

impl Frr {
    /// Starts FRR on a host's interface with one virtual router. For each family FRR needs a
    /// macvlan with the virtual MAC and the virtual addresses, which this function makes:
    /// `vrrp4-VRID` and `vrrp6-VRID`. Returns when the virtual router is started.
    ///
    /// # Errors
    ///
    /// [`Error::MissingProgram`]; [`Error::Os`] if this process is not root; [`Error::Netlink`] if
    /// the macvlan exists; [`Error::Program`] with FRR's output if a daemon ends or refuses its
    /// configuration.
    pub fn start(host: &Host, instance: &FrrInstance) -> Result<Self, Error> {
        instance.add_macvlans(host)?;
        let config = instance.config(host.interface());
        let mut frr = Self::run(host.namespace(), VRRPD, &config)?;
        for family in instance.families() {
            let started = format!("[VRID {}] [{family}] Initialize -> ", instance.vrid);
            frr.wait_for_log(&started, STARTING)?;
        }
        frr.daemons.refuse("No such command on config line")?;
        Ok(frr)
    }

    /// Starts FRR's BGP in a namespace, with a configuration of bgpd(8). Returns when the daemons
    /// run; peers may not be connected yet.
    ///
    /// # Errors
    ///
    /// As for [`start`](Self::start).
    pub fn start_bgp(namespace: &Namespace, config: &str) -> Result<Self, Error> {
        let mut frr = Self::run(namespace, BGPD, config)?;
        let socket = frr.folder.path().join("bgpd.vty");
        frr.daemons
            .wait_until("bgpd's socket", STARTING, |_| socket.exists())?;
        frr.daemons.refuse("No such command on config line")?;
        Ok(frr)
    }

    /// Starts zebra, and then another daemon with its configuration.
    fn run(namespace: &Namespace, program: &str, config: &str) -> Result<Self, Error> {
        let user = User::from_name(USER)
            .map_err(Error::os(format!("look the user {USER} up")))?
            .ok_or_else(|| Error::MissingProgram {
                program: ZEBRA.into(),
                package: USER,
            })?;
        let folder = tempfile::tempdir().map_err(Error::os("make a temporary folder"))?;
        let zserv = folder.path().join("zserv.api");
        let write = |name: &str, text: &str| -> Result<PathBuf, Error> {
            let path = folder.path().join(name);
            fs::write(&path, text).map_err(Error::os("write FRR's configuration"))?;
            Ok(path)
        };
        let zebra = write("zebra.conf", "")?;
        let other = write("other.conf", config)?;
        for path in [folder.path(), &zebra, &other] {
            let ids = (Some(user.uid.as_raw()), Some(user.gid.as_raw()));
            chown(path, ids.0, ids.1).map_err(Error::os(format!(
                "give {} to the user {USER}, which only root outside user namespaces can",
                path.display()
            )))?;
        }

        let command = |program: &str, config: &Path| {
            let mut command = namespace.command(program);
            command.arg("--config_file").arg(config);
            command.arg("--pid_file").arg(config.with_extension("pid"));
            command.arg("--vty_socket").arg(folder.path());
            command.arg("--socket").arg(&zserv);
            // Port 0: no listener for terminals.
            command.args(["--vty_port", "0", "--log", "stdout", "--log-level", "debug"]);
            command
        };
        let mut daemons = Daemons::new()?;
        daemons.start(command(ZEBRA, &zebra), USER)?;
        daemons.wait_until("zebra's socket", STARTING, |_| zserv.exists())?;
        daemons.start(command(program, &other), USER)?;
        let mut frr = Self {
            daemons,
            crash_logs: Vec::new(),
            folder,
        };
        let name = Path::new(program).file_name().unwrap_or_default();
        let names = ["zebra".into(), name.to_string_lossy()];
        for (name, pid) in names.into_iter().zip(frr.daemons.pids()) {
            frr.crash_logs
                .push(format!("/var/tmp/frr/{name}.{pid}").into());
        }
        Ok(frr)
    }

    /// What the daemons printed so far, with vrrpd's debugging on.
    #[must_use]
    pub fn log(&self) -> String {
        self.daemons.log()
    }

    /// Waits until the log contains `text`, for instance `[IPv4] Backup -> Master`. A new Active
    /// enables its macvlan then and fails to send until the kernel has brought it up, which may
    /// take a second.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`] with the log; [`Error::Program`] if a daemon ends before.
    pub fn wait_for_log(&mut self, text: &str, limit: Duration) -> Result<(), Error> {
        self.daemons
            .wait_until(&format!("FRR's line {text:?}"), limit, |log| {
                log.contains(text)
            })
    }

    /// The temporary folder with its configuration and process id files.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Stops vrrpd with SIGTERM, upon which an Active sends priority zero and sets its macvlan
    /// down, and then zebra.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`] or [`Error::Program`] if a daemon does not end, or not well.
    pub fn stop(mut self) -> Result<(), Error> {
        self.daemons.stop()
    }

    /// Kills both daemons at once without warning. The macvlans stay as they are, an Active's with
    /// its addresses.
    pub fn kill(mut self) {
        self.daemons.kill();
    }
}

impl Drop for Frr {
    fn drop(&mut self) {
        self.daemons.kill();
        for folder in &self.crash_logs {
            // A daemon that ended well has removed its own.
            let _ = fs::remove_dir_all(folder);
        }
    }
}

/// A virtual router of FRR. FRR 8.4 has no setting for the checksum of version 3 over IPv4: it
/// always covers a pseudo-header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrrInstance {
    /// `vrrp VRID`.
    pub vrid: u8,
    /// `priority`, 1 to 254.
    pub priority: u8,
    /// `advertisement-interval`, in multiples of 10 ms; 1 s by default.
    pub advertisement_interval: Duration,
    /// `version`, 2 or 3; 3 by default.
    pub version: u8,
    /// `preempt`; on by default.
    pub preempt: bool,
    /// `ip`: the virtual IPv4 addresses; there is no IPv4 virtual router without.
    pub ipv4: Vec<Ipv4Addr>,
    /// `ipv6`: the virtual IPv6 addresses; there is no IPv6 virtual router without.
    pub ipv6: Vec<Ipv6Addr>,
}

impl FrrInstance {
    /// A virtual router with FRR's defaults and no addresses yet.
    #[must_use]
    pub fn new(vrid: u8, priority: u8) -> Self {
        Self {
            vrid,
            priority,
            advertisement_interval: Duration::from_secs(1),
            version: 3,
            preempt: true,
            ipv4: Vec::new(),
            ipv6: Vec::new(),
        }
    }

    /// The names that FRR's log uses for the families in use.
    fn families(&self) -> impl Iterator<Item = &'static str> {
        let ipv4 = (!self.ipv4.is_empty()).then_some("IPv4");
        let ipv6 = (!self.ipv6.is_empty()).then_some("IPv6");
        ipv4.into_iter().chain(ipv6)
    }

    fn add_macvlans(&self, host: &Host) -> Result<(), Error> {
        let ipv4: Vec<_> = self
            .ipv4
            .iter()
            .map(|address| format!("{address}/32"))
            .collect();
        let ipv6: Vec<_> = self
            .ipv6
            .iter()
            .map(|address| format!("{address}/128"))
            .collect();
        // The virtual MAC: RFC 9568 section 7.3.
        for (name, octet, addresses) in [("vrrp4", 1, ipv4), ("vrrp6", 2, ipv6)] {
            if !addresses.is_empty() {
                let addresses: Vec<_> = addresses.iter().map(String::as_str).collect();
                let mac = [0, 0, 0x5e, 0, octet, self.vrid];
                host.add_macvlan(&format!("{name}-{}", self.vrid), mac, &addresses)?;
            }
        }
        Ok(())
    }

    fn config(&self, interface: &str) -> String {
        let Self {
            vrid,
            priority,
            version,
            preempt,
            ..
        } = self;
        let mut lines = vec![
            "log stdout debugging".to_string(),
            "debug vrrp".to_string(),
            format!("interface {interface}"),
            format!(" vrrp {vrid} version {version}"),
            format!(" vrrp {vrid} priority {priority}"),
            format!(
                " vrrp {vrid} advertisement-interval {}",
                self.advertisement_interval.as_millis()
            ),
            format!(" {}vrrp {vrid} preempt", if *preempt { "" } else { "no " }),
        ];
        lines.extend(
            self.ipv4
                .iter()
                .map(|address| format!(" vrrp {vrid} ip {address}")),
        );
        lines.extend(
            self.ipv6
                .iter()
                .map(|address| format!(" vrrp {vrid} ipv6 {address}")),
        );
        lines.join("\n") + "\n"
    }
}
