//! The command line: that of keepalived, with a few options more.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Parser, ValueEnum};
use vrrp_examples::keepalived_conf::source::Like;

/// Runs the configuration of keepalived on these crates.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "keepalived",
    disable_version_flag = true,
    after_help = "keepalived --genhash prints the digest of a page: see keepalived --genhash --help"
)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "as many as keepalived has flags"
)]
pub(crate) struct Options {
    /// The configuration file.
    #[arg(
        short = 'f',
        long = "use-file",
        default_value = "/etc/keepalived/keepalived.conf"
    )]
    pub(crate) file: PathBuf,
    /// Check the configuration and exit: status 0, 2, 4, 5 or 6 as in keepalived. The complaints
    /// go to the file, if one is named; `-` stands for standard output.
    #[arg(short = 't', long = "config-test", num_args = 0..=1, value_name = "FILE", default_missing_value = "-")]
    pub(crate) test: Option<PathBuf>,
    /// Treat every warning as an error: exit status 5 instead of 0.
    #[arg(long)]
    pub(crate) strict: bool,
    /// How complaints are printed.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
    /// The keepalived whose words are known. Default: 2.2.7 with --format json, whose form is that
    /// of its recorded answers, else 2.4.
    #[arg(long, value_enum, value_name = "VERSION")]
    pub(crate) like: Option<Version>,
    /// The configuration id that lines beginning with `@` are compared with.
    #[arg(short = 'i', long = "config-id")]
    pub(crate) config_id: Option<String>,

    /// Take over from the running daemon, without an election.
    #[arg(long)]
    pub(crate) replace: bool,
    /// The socket at which a successor takes over.
    #[arg(
        long,
        value_name = "SOCKET",
        default_value = "/run/keepalived.replace.sock"
    )]
    pub(crate) replace_socket: PathBuf,
    /// The TCP address of pages about the virtual servers: `/`, `/status.json` and `/metrics`.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) page: Option<SocketAddr>,
    /// Reload as keepalived does: use the valid parts of a file with errors.
    #[arg(long)]
    pub(crate) lenient_reload: bool,

    /// Run VRRP only.
    #[arg(short = 'P', long = "vrrp")]
    pub(crate) vrrp_only: bool,
    /// Run health checks only.
    #[arg(short = 'C', long = "check")]
    pub(crate) checks_only: bool,
    /// Without effect: there is no BFD engine.
    #[arg(short = 'B', long = "no_bfd")]
    pub(crate) no_bfd: bool,
    /// Without effect: one process serves everything.
    #[arg(long)]
    pub(crate) all: bool,
    /// Log to standard error.
    #[arg(short = 'l', long = "log-console")]
    pub(crate) log_console: bool,
    /// Log in detail.
    #[arg(short = 'D', long = "log-detail")]
    pub(crate) log_detail: bool,
    /// The facility of syslog: 0 to 7, local0 to local7, user or daemon.
    #[arg(
        short = 'S',
        long = "log-facility",
        value_name = "FACILITY",
        default_value = "daemon"
    )]
    pub(crate) log_facility: String,
    /// Do not log to syslog.
    #[arg(short = 'G', long = "no-syslog")]
    pub(crate) no_syslog: bool,
    /// Log to a file as well.
    #[arg(short = 'g', long = "log-file", num_args = 0..=1, value_name = "FILE", default_missing_value = "/tmp/keepalived.log")]
    pub(crate) log_file: Option<PathBuf>,
    /// Without effect: each line is written at once.
    #[arg(long)]
    pub(crate) flush_log_file: bool,
    /// The file mode creation mask, in octal.
    #[arg(short = 'u', long, value_name = "MASK")]
    pub(crate) umask: Option<String>,
    /// Without effect: addresses are removed at SIGTERM in any case.
    #[arg(short = 'X', long = "release-vips")]
    pub(crate) release_vips: bool,
    /// Keep the virtual addresses when the daemon ends.
    #[arg(short = 'V', long = "dont-release-vrrp")]
    pub(crate) keep_vrrp: bool,
    /// Keep the virtual servers when the daemon ends.
    #[arg(short = 'I', long = "dont-release-ipvs")]
    pub(crate) keep_ipvs: bool,
    /// Without effect: there are no child processes.
    #[arg(short = 'R', long = "dont-respawn")]
    pub(crate) no_respawn: bool,
    /// Stay in the foreground.
    #[arg(short = 'n', long = "dont-fork")]
    pub(crate) foreground: bool,
    /// Report on standard input when the daemon is ready: the program starts itself so.
    #[arg(long = "in-background", hide = true)]
    pub(crate) is_in_background: bool,
    /// Log the configuration at the start.
    #[arg(short = 'd', long = "dump-conf")]
    pub(crate) dump: bool,
    /// The file that gets the process id.
    #[arg(short = 'p', long = "pid", value_name = "FILE")]
    pub(crate) pid_file: Option<PathBuf>,
    /// Another file that gets the process id, while VRRP runs.
    #[arg(short = 'r', long = "vrrp_pid", value_name = "FILE")]
    pub(crate) vrrp_pid_file: Option<PathBuf>,
    /// Another file that gets the process id, while checks run.
    #[arg(short = 'c', long = "checkers_pid", value_name = "FILE")]
    pub(crate) checkers_pid_file: Option<PathBuf>,
    /// Without effect: there is no BFD engine.
    #[arg(short = 'b', long = "bfd_pid", value_name = "FILE")]
    pub(crate) bfd_pid_file: Option<PathBuf>,
    /// Without effect: there is no SNMP agent.
    #[arg(short = 'x', long)]
    pub(crate) snmp: bool,
    /// Without effect: there is no SNMP agent.
    #[arg(short = 'A', long = "snmp-agent-socket", value_name = "SOCKET")]
    pub(crate) snmp_agent_socket: Option<String>,
    /// Run in this network namespace, whatever the configuration says.
    #[arg(short = 's', long = "namespace", value_name = "NAME")]
    pub(crate) namespace: Option<String>,
    /// Without effect: the service manager decides on core dumps.
    #[arg(short = 'm', long = "core-dump")]
    pub(crate) core_dump: bool,
    /// Without effect: the service manager decides on core dumps.
    #[arg(short = 'M', long = "core-dump-pattern", num_args = 0..=1, value_name = "PATTERN", default_missing_value = "core")]
    pub(crate) core_dump_pattern: Option<String>,
    /// Refuse a configuration if one of its files is missing.
    #[arg(short = 'e', long = "all-config")]
    pub(crate) all_config: bool,
    /// Log addresses that come and go.
    #[arg(short = 'a', long = "address-monitoring")]
    pub(crate) address_monitoring: bool,
    /// Print the number of a signal: STOP, RELOAD, DATA, STATS, STATS_CLEAR or JSON.
    #[arg(long, value_name = "SIGNAL")]
    pub(crate) signum: Option<String>,
    /// Print the version.
    #[arg(short = 'v', long)]
    pub(crate) version: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people: the line, a mark under the word, and help.
    Text,
    /// For programs: one object.
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Version {
    /// 2.2.7, as in Debian 12.
    #[value(name = "2.2.7")]
    Debian12,
    /// 2.4, with all words.
    #[value(name = "2.4")]
    Recent,
}

impl Options {
    /// The keepalived whose words are known.
    pub(crate) fn like(&self) -> Like {
        match (self.like, self.format) {
            (Some(Version::Debian12), _) | (None, Format::Json) => Like::Debian12,
            (Some(Version::Recent), _) | (None, Format::Text) => Like::Recent,
        }
    }

    /// The options that were given and have no effect, each with the reason.
    pub(crate) fn without_effect(&self) -> Vec<(&'static str, &'static str)> {
        const BFD: &str = "there is no BFD engine";
        const SNMP: &str = "there is no SNMP agent";
        const CORE: &str = "the service manager decides on core dumps";
        [
            (self.no_bfd, "--no_bfd", BFD),
            (self.bfd_pid_file.is_some(), "--bfd_pid", BFD),
            (self.all, "--all", "one process serves everything"),
            (
                self.flush_log_file,
                "--flush-log-file",
                "each line is written at once",
            ),
            (
                self.release_vips,
                "--release-vips",
                "addresses go at SIGTERM in any case",
            ),
            (
                self.no_respawn,
                "--dont-respawn",
                "there are no child processes",
            ),
            (self.snmp, "--snmp", SNMP),
            (
                self.snmp_agent_socket.is_some(),
                "--snmp-agent-socket",
                SNMP,
            ),
            (self.core_dump, "--core-dump", CORE),
            (
                self.core_dump_pattern.is_some(),
                "--core-dump-pattern",
                CORE,
            ),
        ]
        .into_iter()
        .filter(|(is_given, ..)| *is_given)
        .map(|(_, option, reason)| (option, reason))
        .collect()
    }
}
