//! The command line and the configuration file of kube-proxy, joined.

use std::{
    fs, io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use clap::Parser;
use ipnet::IpNet;
use ipvs_netlink::{NameError, Scheduler, Timeouts};
use vrrp_examples::kubernetes::{
    ConfigurationError, GoDuration, ProxyConfiguration, parse_configuration,
};

/// Keeps the IPVS services of a Kubernetes node: Services and EndpointSlices in, IPVS out.
///
/// Options that kube-proxy has too are named as its flags; the command line wins over the file.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, args_override_self = true)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub(crate) struct Options {
    /// Folder with .json, .yaml and .yml files that is watched, or `-` for JSON on standard input.
    #[arg(required_unless_present = "cleanup")]
    source: Option<PathBuf>,
    /// File of kind KubeProxyConfiguration. Fields that are not used are named on standard error.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Name of this node, as in `nodeName` of endpoints [default: the host name].
    #[arg(long, value_name = "NAME")]
    hostname_override: Option<String>,
    /// Scheduler of all services [default: rr].
    #[arg(long, value_name = "NAME")]
    ipvs_scheduler: Option<String>,
    /// Shortest time between two synchronizations [default: 1s].
    #[arg(long, value_name = "TIME")]
    ipvs_min_sync_period: Option<GoDuration>,
    /// Time after which the whole table is read and repaired [default: 30s].
    #[arg(long, value_name = "TIME")]
    ipvs_sync_period: Option<GoDuration>,
    /// Timeout of idle TCP connections [default: the kernel's].
    #[arg(long, value_name = "TIME")]
    ipvs_tcp_timeout: Option<GoDuration>,
    /// Timeout of TCP connections after a FIN [default: the kernel's].
    #[arg(long, value_name = "TIME")]
    ipvs_tcpfin_timeout: Option<GoDuration>,
    /// Timeout of UDP [default: the kernel's].
    #[arg(long, value_name = "TIME")]
    ipvs_udp_timeout: Option<GoDuration>,
    /// Set arp_ignore to 1 and arp_announce to 2, so the node answers ARP only for its own
    /// addresses.
    #[arg(long)]
    ipvs_strict_arp: bool,
    /// Networks whose services are never removed.
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    ipvs_exclude_cidrs: Vec<String>,
    /// Networks of the node addresses that serve node ports [default: all].
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    nodeport_addresses: Vec<String>,
    /// Address of /healthz; empty for none [default: 0.0.0.0:10256].
    #[arg(long, value_name = "ADDRESS")]
    healthz_bind_address: Option<String>,
    /// Address of /metrics and /status; empty for none [default: 127.0.0.1:10249].
    #[arg(long, value_name = "ADDRESS")]
    metrics_bind_address: Option<String>,
    /// Dummy interface that has the addresses of services. It belongs to this program.
    #[arg(long, value_name = "NAME", default_value = "kube-ipvs0")]
    interface: String,
    /// File that remembers the services of this program; empty for none.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/run/ipvs-controller/services"
    )]
    state: PathBuf,
    /// Longest time that a removed TCP or SCTP endpoint keeps its connections.
    #[arg(long, value_name = "TIME", default_value = "15m")]
    drain: GoDuration,
    /// Time without objects after which the list at the beginning of a stream counts as complete,
    /// once Services and EndpointSlices have come.
    #[arg(long, value_name = "TIME", default_value = "2s")]
    initial_quiet: GoDuration,
    /// Longest time that this list takes, from its first object on.
    #[arg(long, value_name = "TIME", default_value = "30s")]
    initial_limit: GoDuration,
    /// Print the wanted table as `ipvsadm -S` does, and change nothing.
    #[arg(long)]
    print: bool,
    /// Synchronize once and end.
    #[arg(long, conflicts_with = "print")]
    once: bool,
    /// Remove the services, the interface and the state file of this program, and end.
    #[arg(long, conflicts_with_all = ["source", "print", "once"])]
    cleanup: bool,
}

/// Why the options cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OptionsError {
    #[error("{}: {error}", path.display())]
    Read { path: PathBuf, error: io::Error },
    #[error("{}: {error}", path.display())]
    Configuration {
        path: PathBuf,
        error: ConfigurationError,
    },
    #[error("scheduler: {0}")]
    Scheduler(NameError),
    #[error("{name}: {value:?} is not a network; expected ADDRESS/LENGTH")]
    Network { name: &'static str, value: String },
    #[error("{name}: {value:?} is not an address; expected ADDRESS:PORT, or nothing for none")]
    Address { name: &'static str, value: String },
    #[error("{name}: {seconds} s is more than {max} s, the longest that every kernel holds")]
    Timeout {
        name: &'static str,
        seconds: u64,
        max: u32,
    },
    #[error("{name}: must be more than 0s")]
    Zero { name: &'static str },
    #[error("cannot read the host name: {0}; use --hostname-override")]
    HostName(#[from] nix::errno::Errno),
}

/// What the program does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Run,
    Once,
    Print,
    Cleanup,
}

/// Where objects come from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Stream,
    Folder(PathBuf),
}

/// The joined options.
#[derive(Clone, Debug)]
pub(crate) struct Configuration {
    pub(crate) mode: Mode,
    pub(crate) source: Source,
    pub(crate) node: String,
    pub(crate) scheduler: Scheduler,
    pub(crate) min_sync_period: Duration,
    pub(crate) sync_period: Duration,
    pub(crate) timeouts: Timeouts,
    pub(crate) strict_arp: bool,
    pub(crate) excluded: Vec<IpNet>,
    pub(crate) node_port_addresses: Vec<IpNet>,
    pub(crate) healthz: Option<SocketAddr>,
    pub(crate) metrics: Option<SocketAddr>,
    pub(crate) interface: String,
    pub(crate) state: Option<PathBuf>,
    pub(crate) drain: Duration,
    pub(crate) initial_quiet: Duration,
    pub(crate) initial_limit: Duration,
    /// Fields of the configuration file that are not used.
    pub(crate) ignored: Vec<String>,
}

impl Options {
    pub(crate) fn join(self) -> Result<Configuration, OptionsError> {
        let file = match &self.config {
            None => ProxyConfiguration::default(),
            Some(path) => read(path)?,
        };
        let ipvs = file.ipvs;
        let period = |name, own: Option<GoDuration>, file: Option<GoDuration>, default: u64| {
            // Zero in the file stands for the default, as in kube-proxy.
            let file = file.filter(|time| !time.0.is_zero());
            match own.or(file) {
                None => Ok(Duration::from_secs(default)),
                Some(time) if time.0.is_zero() => Err(OptionsError::Zero { name }),
                Some(time) => Ok(time.0),
            }
        };
        let timeouts = Timeouts {
            tcp: seconds("tcpTimeout", self.ipvs_tcp_timeout.or(ipvs.tcp_timeout))?,
            tcp_fin: seconds(
                "tcpFinTimeout",
                self.ipvs_tcpfin_timeout.or(ipvs.tcp_fin_timeout),
            )?,
            udp: seconds("udpTimeout", self.ipvs_udp_timeout.or(ipvs.udp_timeout))?,
        };
        let scheduler = self.ipvs_scheduler.or(ipvs.scheduler);
        let scheduler = match scheduler.filter(|name| !name.is_empty()) {
            None => Scheduler::RR,
            Some(name) => Scheduler::new(&name).map_err(OptionsError::Scheduler)?,
        };
        let node = match self.hostname_override.or(file.hostname_override) {
            Some(name) => name,
            None => nix::unistd::gethostname()?.to_string_lossy().into_owned(),
        };
        let first_set = |own: Vec<String>, file| if own.is_empty() { file } else { own };
        Ok(Configuration {
            mode: match (self.print, self.once, self.cleanup) {
                (true, _, _) => Mode::Print,
                (_, true, _) => Mode::Once,
                (_, _, true) => Mode::Cleanup,
                _ => Mode::Run,
            },
            source: match self.source {
                Some(path) if path.as_os_str() != "-" => Source::Folder(path),
                _ => Source::Stream,
            },
            // The API server lowers the names of nodes.
            node: node.trim().to_lowercase(),
            scheduler,
            min_sync_period: period(
                "minSyncPeriod",
                self.ipvs_min_sync_period,
                ipvs.min_sync_period,
                1,
            )?,
            sync_period: period("syncPeriod", self.ipvs_sync_period, ipvs.sync_period, 30)?,
            timeouts,
            strict_arp: self.ipvs_strict_arp || ipvs.strict_arp.unwrap_or_default(),
            excluded: networks(
                "excludeCIDRs",
                first_set(
                    self.ipvs_exclude_cidrs,
                    ipvs.exclude_cidrs.unwrap_or_default(),
                ),
            )?,
            node_port_addresses: networks(
                "nodePortAddresses",
                first_set(self.nodeport_addresses, file.node_port_addresses),
            )?,
            healthz: address(
                "healthzBindAddress",
                self.healthz_bind_address.or(file.healthz_bind_address),
                "0.0.0.0:10256",
            )?,
            metrics: address(
                "metricsBindAddress",
                self.metrics_bind_address.or(file.metrics_bind_address),
                "127.0.0.1:10249",
            )?,
            interface: self.interface,
            state: Some(self.state).filter(|path| !path.as_os_str().is_empty()),
            drain: self.drain.0,
            initial_quiet: self.initial_quiet.0,
            initial_limit: self.initial_limit.0,
            ignored: file.ignored,
        })
    }
}

fn read(path: &PathBuf) -> Result<ProxyConfiguration, OptionsError> {
    let text = fs::read_to_string(path).map_err(|error| OptionsError::Read {
        path: path.clone(),
        error,
    })?;
    parse_configuration(&text).map_err(|error| OptionsError::Configuration {
        path: path.clone(),
        error,
    })
}

/// The longest timeout in seconds. The kernel counts ticks of up to 1/1000 s in 31 bits.
const LONGEST_TIMEOUT: u32 = i32::MAX.cast_unsigned() / 1000;

/// A timeout in whole seconds, of which 0 leaves the kernel's.
fn seconds(name: &'static str, time: Option<GoDuration>) -> Result<u32, OptionsError> {
    let time = time.unwrap_or_default().0;
    let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    let too_long = OptionsError::Timeout {
        name,
        seconds,
        max: LONGEST_TIMEOUT,
    };
    u32::try_from(seconds)
        .ok()
        .filter(|seconds| *seconds <= LONGEST_TIMEOUT)
        .ok_or(too_long)
}

fn networks(name: &'static str, texts: Vec<String>) -> Result<Vec<IpNet>, OptionsError> {
    let parse = |value: String| {
        value
            .parse()
            .map_err(|_| OptionsError::Network { name, value })
    };
    texts.into_iter().map(parse).collect()
}

/// An address to listen on; without a port it gets the port of the default.
fn address(
    name: &'static str,
    text: Option<String>,
    default: &str,
) -> Result<Option<SocketAddr>, OptionsError> {
    let value = text.unwrap_or_else(|| default.to_owned());
    if value.is_empty() {
        return Ok(None);
    }
    if let Ok(address) = value.parse() {
        return Ok(Some(address));
    }
    let port = default
        .parse()
        .map_or(0, |default: SocketAddr| default.port());
    match value.parse::<IpAddr>() {
        Ok(ip) => Ok(Some(SocketAddr::new(ip, port))),
        Err(_) => Err(OptionsError::Address { name, value }),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn joined(words: &[&str]) -> Result<Configuration, OptionsError> {
        Options::try_parse_from(["ipvs_controller"].iter().chain(words))
            .unwrap()
            .join()
    }

    #[test]
    fn the_defaults_are_those_of_kube_proxy() {
        let it = joined(&["objects"]).unwrap();
        assert_eq!(it.scheduler, Scheduler::RR);
        assert_eq!(it.min_sync_period, Duration::from_secs(1));
        assert_eq!(it.sync_period, Duration::from_secs(30));
        assert_eq!(it.timeouts, Timeouts::default());
        assert_eq!(it.healthz, Some("0.0.0.0:10256".parse().unwrap()));
        assert_eq!(it.metrics, Some("127.0.0.1:10249".parse().unwrap()));
        assert_eq!(it.interface, "kube-ipvs0");
        assert!(!it.strict_arp);
    }

    #[test]
    fn the_command_line_wins_over_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.yaml");
        let text = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\n\
                    kind: KubeProxyConfiguration\n\
                    healthzBindAddress: 127.0.0.1\n\
                    ipvs:\n  scheduler: wrr\n  syncPeriod: 10s\n  minSyncPeriod: 0s\n";
        fs::write(&path, text).unwrap();
        let config = path.to_str().unwrap();
        let it = joined(&["-", "--config", config, "--ipvs-scheduler", "mh"]).unwrap();
        assert_eq!(it.scheduler, Scheduler::MH);
        assert_eq!(it.sync_period, Duration::from_secs(10));
        assert_eq!(it.min_sync_period, Duration::from_secs(1));
        assert_eq!(it.healthz, Some("127.0.0.1:10256".parse().unwrap()));
    }

    #[test]
    fn errors_name_the_field_and_the_value() {
        for (words, expected) in [
            (
                ["--ipvs-exclude-cidrs", "10.0.0.0"],
                "excludeCIDRs: \"10.0.0.0\"",
            ),
            (
                ["--healthz-bind-address", "here"],
                "healthzBindAddress: \"here\"",
            ),
            (
                ["--ipvs-sync-period", "0s"],
                "syncPeriod: must be more than 0s",
            ),
            (
                ["--ipvs-tcp-timeout", "1000h"],
                "tcpTimeout: 3600000 s is more than 2147483 s",
            ),
            (
                ["--ipvs-scheduler", "a-name-of-more-than-15"],
                "scheduler: ",
            ),
        ] {
            let error = joined(&[&words[..], &["-"]].concat())
                .unwrap_err()
                .to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn a_timeout_under_a_second_is_not_the_kernels_default() {
        let it = joined(&["-", "--ipvs-udp-timeout", "100ms"]).unwrap();
        assert_eq!(it.timeouts.udp, 1);
    }
}
