//! The options of a virtual router.

use std::{net::IpAddr, time::Duration};

use clap::{Parser, ValueEnum, builder::NonEmptyStringValueParser, value_parser};
use vrrp_fsm::{ChecksumSending, Config, Preempt};
use vrrp_net::{Authentication, Route, RouterConfig, Transport, VirtualAddress, VirtualMac};
use vrrp_proto::{ChecksumForm, Family, Interval, OutOfRange, Password, Peer, Priority, TTL, Vrid};

use crate::{
    notify::{Hook, NotifyArguments},
    options::invalid,
    seconds::parse_delay,
    tracking::{Tracked, TrackingArguments},
};

/// What the help ends with.
const MORE: &str = "\
Several virtual routers:
  --next ends the options of one virtual router, and those of another one follow. `--next sync-group NAME` is followed by
  those of a sync group, which `vrrp_router sync-group --help` shows. A sync group that needs none is not mentioned.

Examples:
  vrrp_router --interface eth0 --vrid 51 --address 192.0.2.254/24 --priority 150 \\
      --track-script 'web:-60 interval 2 fall 3 rise 2 run curl -fs http://127.0.0.1/'

  vrrp_router --interface eth0 --vrid 51 --address 192.0.2.254/24 --sync-group gateway \\
      --next --interface eth1 --vrid 52 --address 198.51.100.254/24 --sync-group gateway \\
      --next sync-group gateway --track-interface eth2:-50 --notify /etc/vrrp/moved";

/// Runs virtual routers (RFC 9568, RFC 3768), alone or in sync groups.
///
/// While a router is Active its virtual addresses are on its interface. Every event is told as one JSON object a line on standard output.
/// SIGTERM, SIGINT and the end of its terminal (SIGHUP, but not under nohup) have it resign, take its addresses away and end with status 0; SIGUSR1 has it tell its full state and counters.
///
/// It needs CAP_NET_ADMIN and CAP_NET_RAW.
#[derive(Parser)]
#[command(
    name = "vrrp_router",
    override_usage = "vrrp_router [OPTIONS] --interface <NAME> --vrid <VRID> --address <ADDRESS/LENGTH> [--next ...]",
    after_help = MORE
)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "options that are there or not"
)]
pub(crate) struct RouterArguments {
    /// The interface. It need not exist yet.
    #[arg(long, value_name = "NAME")]
    interface: String,

    /// The virtual router identifier, 1 to 255.
    #[arg(long, value_name = "VRID", value_parser = value_parser!(u8).range(1..))]
    vrid: u8,

    /// Who has the highest is Active: 1 to 254, or 255 for the owner of the addresses.
    #[arg(long, value_name = "PRIORITY", default_value_t = 100, value_parser = value_parser!(u8).range(1..))]
    priority: u8,

    /// The time between advertisements in centiseconds: 1 to 4095, or with --version 2 whole seconds, 100 to 25500.
    #[arg(long, value_name = "CS", default_value_t = 100, value_parser = value_parser!(u16).range(1..=25500))]
    interval: u16,

    /// A virtual address with its prefix length, 32 or 128 unless given. Can be repeated; all are of one family, and the first IPv6
    /// address is link-local.
    #[arg(long = "address", value_name = "ADDRESS/LENGTH", required = true)]
    addresses: Vec<VirtualAddress>,

    /// The version of the protocol: 2, for IPv4 only, or 3.
    #[arg(long, value_name = "VERSION", default_value_t = 3, value_parser = value_parser!(u8).range(2..=3))]
    version: u8,

    /// The address to advertise from, in place of the interface's primary address.
    #[arg(long, value_name = "IP")]
    source: Option<IpAddr>,

    /// Another router, to advertise to it and hear it by unicast in place of multicast. Can be repeated.
    #[arg(long = "unicast-peer", value_name = "IP")]
    unicast_peers: Vec<IpAddr>,

    /// Leave an Active of lower priority in peace.
    #[arg(long, conflicts_with = "preempt_delay")]
    no_preempt: bool,

    /// Take over from an Active of lower priority only after this many seconds, 0 to 31536000.
    #[arg(long, value_name = "S", value_parser = parse_delay)]
    preempt_delay: Option<Duration>,

    /// Authenticate with a password in clear text, 1 to 8 octets. Version 2 only.
    #[arg(long, value_name = "TEXT", conflicts_with = "ah", value_parser = parse_password)]
    password: Option<Password>,

    /// Authenticate inside IP AH with this key, 1 to 8 octets. Version 2 only.
    #[arg(long, value_name = "TEXT", value_parser = parse_password)]
    ah: Option<Password>,

    /// What the checksum of version 3 over IPv4 covers in what is sent. Both forms are accepted.
    #[arg(long, value_enum, value_name = "FORM", default_value_t = Checksum::Adaptive)]
    checksum: Checksum,

    /// Accept_Mode: an Active that does not own the addresses accepts packets to them. Only told in the state, but with --enforce-accept-mode.
    #[arg(long)]
    accept: bool,

    /// Have Accept_Mode decide: without --accept the host of an Active does not accept packets to the addresses, and answers ARP and
    /// Neighbor Discovery for them all the same. Without this option it always accepts.
    #[arg(long)]
    enforce_accept_mode: bool,

    /// Bear the virtual router MAC address, 00-00-5E-00-01-VRID or 00-00-5E-00-02-VRID, on a macvlan of the interface.
    #[arg(long)]
    virtual_mac: bool,

    /// A route that is there while the router is Active: a prefix, then any of via ADDRESS, dev NAME, src ADDRESS, metric NUMBER, table NUMBER.
    /// Can be repeated.
    #[arg(long = "route", value_name = "ROUTE")]
    routes: Vec<Route>,

    /// The sync group that it is a member of, by a name of your choice: its members are Active, Backup or in Initialize together.
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    sync_group: Option<String>,

    #[command(flatten)]
    tracking: TrackingArguments,

    #[command(flatten)]
    notify: NotifyArguments,
}

#[derive(Clone, Copy, ValueEnum)]
enum Checksum {
    /// The message alone.
    Rfc9568,
    /// A pseudo-header as well, as keepalived and FRR send it.
    Pseudo,
    /// The message alone, until somebody else is heard; then the form of that router.
    Adaptive,
}

/// A virtual router, as it was asked for.
pub(crate) struct RouterOptions {
    pub(crate) config: RouterConfig,
    pub(crate) tracked: Vec<Tracked>,
    pub(crate) sync_group: Option<String>,
    pub(crate) notify: Option<Hook>,
}

impl RouterArguments {
    /// What clap cannot check is checked here; the errors read like clap's.
    pub(crate) fn into_options(self) -> Result<RouterOptions, String> {
        let family = self.family()?;
        let Some(vrid) = Vrid::new(self.vrid) else {
            return Err(invalid("--vrid <VRID>", self.vrid, "not in 1..=255"));
        };
        let mut fsm = match self.version {
            2 if family == Family::Ipv6 => {
                return Err(invalid(
                    "--version <VERSION>",
                    2,
                    "version 2 exists over IPv4 only",
                ));
            }
            2 => Config::v2(vrid),
            _ => Config::new(vrid, family),
        };
        fsm.interval = self.wire_interval()?;
        fsm.priority = Priority::new(self.priority);
        fsm.accept_mode = self.accept;
        fsm.preempt = match (self.no_preempt, self.preempt_delay) {
            (true, _) => Preempt::Never,
            (false, Some(delay)) => Preempt::AfterDelay(delay),
            (false, None) => Preempt::Always,
        };
        fsm.checksum = match self.checksum {
            Checksum::Rfc9568 => ChecksumSending::Fixed(ChecksumForm::MessageOnly),
            Checksum::Pseudo => ChecksumSending::Fixed(ChecksumForm::PseudoHeader),
            Checksum::Adaptive => ChecksumSending::Adaptive(ChecksumForm::MessageOnly),
        };

        let mut config = RouterConfig::new(self.interface, fsm, self.addresses);
        config.source = self.source;
        config.enforce_accept_mode = self.enforce_accept_mode;
        config.virtual_mac = self.virtual_mac.then(VirtualMac::default);
        config.routes = self.routes;
        if !self.unicast_peers.is_empty() {
            let peers = self.unicast_peers.into_iter().map(|address| Peer {
                address,
                min_ttl: TTL,
            });
            config.transport = Transport::Unicast {
                peers: peers.collect(),
            };
        }
        config.authentication = match (self.password, self.ah) {
            (None, None) => Authentication::None,
            _ if self.version != 2 => {
                return Err(invalid(
                    "--version <VERSION>",
                    self.version,
                    "--password and --ah exist in version 2 only",
                ));
            }
            (Some(password), _) => Authentication::SimpleText(password),
            (None, Some(key)) => Authentication::Ah(key),
        };
        Ok(RouterOptions {
            tracked: self.tracking.into_list(),
            sync_group: self.sync_group,
            notify: self.notify.of_router(&config),
            config,
        })
    }

    /// The family of all addresses.
    fn family(&self) -> Result<Family, String> {
        const ADDRESS: &str = "--address <ADDRESS/LENGTH>";
        let own = self.addresses.iter().map(VirtualAddress::address);
        let Some(first) = own.clone().next() else {
            return Err(invalid(ADDRESS, "", "one is needed"));
        };
        let family = Family::of(first);
        if let IpAddr::V6(address) = first
            && !address.is_unicast_link_local()
        {
            let problem = "the first IPv6 address has to be link-local, in fe80::/10 (RFC 9568 section 5.2.9)";
            return Err(invalid(ADDRESS, address, problem));
        }
        let peers = self.unicast_peers.iter().copied();
        let all = own
            .map(|address| (ADDRESS, address))
            .chain(self.source.map(|address| ("--source <IP>", address)))
            .chain(peers.map(|address| ("--unicast-peer <IP>", address)));
        for (option, address) in all {
            if Family::of(address) != family {
                let problem =
                    format!("the first --address is {family}, so this has to be {family} too");
                return Err(invalid(option, address, problem));
            }
        }
        Ok(family)
    }

    /// The interval in the unit of the version.
    fn wire_interval(&self) -> Result<Interval, String> {
        const INTERVAL: &str = "--interval <CS>";
        let interval = if self.version == 3 {
            Interval::centis(self.interval).map_err(|_| "version 3 takes 1..=4095")
        } else if self.interval.is_multiple_of(100) {
            let seconds = u8::try_from(self.interval / 100).unwrap_or(0);
            Interval::seconds(seconds).map_err(|_| "version 2 takes 100..=25500")
        } else {
            Err("version 2 takes whole seconds: 100..=25500 in steps of 100")
        };
        interval.map_err(|problem| invalid(INTERVAL, self.interval, problem))
    }
}

fn parse_password(text: &str) -> Result<Password, OutOfRange> {
    Password::new(text.as_bytes())
}
