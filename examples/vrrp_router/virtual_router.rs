//! The options of a virtual router.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use clap::{Parser, ValueEnum, builder::NonEmptyStringValueParser, value_parser};
use vrrp_fsm::{ChecksumSending, Config, Preempt};
use vrrp_net::{Route, RouterConfig, Transport, UnicastPath, VirtualAddress, VirtualMac};
use vrrp_proto::{ChecksumForm, Family, Interval, Leniency, Peer, Priority, TTL, Vrid};

use crate::{
    authentication::AuthenticationArguments,
    notify::{Hook, NotifyArguments},
    options::invalid,
    seconds::{parse_delay, parse_limit},
    tracking::{Tracked, TrackingArguments},
};

/// The end of the help.
const MORE: &str = "\
Several virtual routers:
  --next ends the options of one virtual router and begins those of another. `--next sync-group NAME` begins those of a sync
  group; `vrrp_router sync-group --help` lists them. A sync group without options of its own needs no such part.

Examples:
  vrrp_router --interface eth0 --vrid 51 --address 192.0.2.254/24 --priority 150 \\
      --track-script 'web:-60 interval 2 fall 3 rise 2 run curl -fs http://127.0.0.1/'

  vrrp_router --interface eth0 --vrid 51 --address 192.0.2.254/24 --sync-group gateway \\
      --next --interface eth1 --vrid 52 --address 198.51.100.254/24 --sync-group gateway \\
      --next sync-group gateway --track-interface eth2:-50 --notify '/etc/vrrp/moved \"$@\"'";

/// Runs virtual routers (RFC 9568, RFC 3768), alone or in sync groups.
///
/// An Active router has its virtual addresses on its interface. Standard output gets one JSON
/// object a line for each event. SIGTERM, SIGINT and SIGHUP (the end of the terminal, except under
/// nohup) end the program with status 0: its routers resign and remove their addresses. SIGUSR1
/// logs the full state and all counters.
///
/// Needs CAP_NET_ADMIN and CAP_NET_RAW.
#[derive(Parser)]
#[command(
    name = "vrrp_router",
    override_usage = "vrrp_router [OPTIONS] --interface <NAME> --vrid <VRID> --address <ADDRESS/LENGTH> [--next ...]",
    after_help = MORE
)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "options that are given or not"
)]
pub(crate) struct RouterArguments {
    /// The interface. It may appear later.
    #[arg(long, value_name = "NAME")]
    interface: String,

    /// The virtual router identifier, 1 to 255.
    #[arg(long, value_name = "VRID", value_parser = value_parser!(u8).range(1..))]
    vrid: u8,

    /// The priority, 1 to 254; the highest becomes Active. 255 marks the owner of the addresses.
    #[arg(long, value_name = "PRIORITY", default_value_t = 100, value_parser = value_parser!(u8).range(1..))]
    priority: u8,

    /// The time between advertisements in centiseconds: 1 to 4095. With --version 2 whole seconds:
    /// 100 to 25500 in steps of 100.
    #[arg(long, value_name = "CS", default_value_t = 100, value_parser = value_parser!(u16).range(1..=25500))]
    interval: u16,

    /// A virtual address with its prefix length (default 32 or 128). Can be repeated. All are of
    /// one family; the first IPv6 address is link-local.
    #[arg(long = "address", value_name = "ADDRESS/LENGTH", required = true)]
    addresses: Vec<VirtualAddress>,

    /// Take over from the program that listens at this socket, without an election, if there is
    /// one; then listen there for a successor. Once for the whole program, with any of its routers.
    #[arg(long, value_name = "SOCKET")]
    take_over: Option<PathBuf>,

    /// Keep the sequence numbers of --ah and --hmac-key in this file, so that packets from before a
    /// restart or a crash are still replays. Once for the whole program, with any of its routers.
    #[arg(long, value_name = "FILE")]
    sequence_file: Option<PathBuf>,

    /// A further virtual address, of either family, that advertisements do not list. Can be
    /// repeated.
    #[arg(long = "excluded-address", value_name = "ADDRESS/LENGTH")]
    excluded: Vec<VirtualAddress>,

    /// The protocol version: 3, or 2 (IPv4 only).
    #[arg(long, value_name = "VERSION", default_value_t = 3, value_parser = value_parser!(u8).range(2..=3))]
    version: u8,

    /// The source address of advertisements. Default: the primary address of the interface.
    #[arg(long, value_name = "IP")]
    source: Option<IpAddr>,

    /// The address of another router, for unicast in place of multicast. Can be repeated.
    #[arg(long = "unicast-peer", value_name = "IP")]
    unicast_peers: Vec<IpAddr>,

    /// The lowest TTL or hop limit accepted from --unicast-peer, 1 to 255: 255 for peers on the
    /// link, one less for each router on the way. Below 255 anybody can send such packets from
    /// afar.
    #[arg(
        long, value_name = "TTL", default_value_t = TTL, requires = "unicast_peers",
        value_parser = value_parser!(u8).range(1..)
    )]
    min_ttl: u8,

    /// The way of unicast advertisements.
    #[arg(
        long, value_enum, value_name = "PATH", default_value_t = Path::Interface, requires = "unicast_peers"
    )]
    unicast_path: Path,

    /// Never preempt an Active router with a lower priority.
    #[arg(long, conflicts_with = "preempt_delay")]
    no_preempt: bool,

    /// Preempt an Active router with a lower priority only after this many seconds, 0 to 31536000.
    #[arg(long, value_name = "S", value_parser = parse_delay)]
    preempt_delay: Option<Duration>,

    /// Announce the addresses of an Active router again at this interval in seconds, 0.01 to
    /// 31536000. Neighbours with a wrong entry are corrected within that time.
    #[arg(long, value_name = "S", value_parser = parse_limit)]
    announce_refresh: Option<Duration>,

    /// A deviation of other routers that is accepted. Can be repeated.
    #[arg(long = "lenient", value_enum, value_name = "DEVIATION")]
    lenient: Vec<Deviation>,

    /// The checksum forms of version 3 over IPv4 to send. Both forms are accepted.
    #[arg(long, value_enum, value_name = "FORM", default_value_t = Checksum::Adaptive)]
    checksum: Checksum,

    /// Accept_Mode: an Active router that does not own the addresses accepts packets to them.
    /// Without --enforce-accept-mode this is only shown in the state output.
    #[arg(long)]
    accept: bool,

    /// Enforce Accept_Mode. Without --accept the host of an Active router discards packets to the
    /// virtual addresses, and still answers ARP and Neighbor Discovery for them. Without this
    /// option it accepts them.
    #[arg(long)]
    enforce_accept_mode: bool,

    /// Use the virtual router MAC address (00-00-5E-00-01-VRID, over IPv6 00-00-5E-00-02-VRID) on a
    /// macvlan of the interface.
    #[arg(long)]
    virtual_mac: bool,

    /// A route that exists while the router is Active: a prefix, then any of via ADDRESS, dev NAME,
    /// src ADDRESS, metric NUMBER, table NUMBER. Can be repeated.
    #[arg(long = "route", value_name = "ROUTE")]
    routes: Vec<Route>,

    /// The name of a sync group. Its members are Active, Backup or in Initialize together.
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    sync_group: Option<String>,

    #[command(flatten)]
    authentication: AuthenticationArguments,

    #[command(flatten)]
    tracking: TrackingArguments,

    #[command(flatten)]
    notify: NotifyArguments,
}

#[derive(Clone, Copy, ValueEnum)]
enum Checksum {
    /// The message alone (RFC 9568).
    Rfc9568,
    /// A pseudo-header as well, as keepalived and FRR send it.
    Pseudo,
    /// Both forms, until the advertisements of other routers show which one they need; then that
    /// one.
    Adaptive,
    /// Both forms, always.
    Both,
}

/// The ways of [`UnicastPath`].
#[derive(Clone, Copy, ValueEnum)]
enum Path {
    /// By the interface of the virtual router, also where the routing table names another.
    Interface,
    /// By the routing table: for peers behind another interface.
    RoutingTable,
}

/// The deviations of [`Leniency`].
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Deviation {
    /// Bytes behind the message.
    Surplus,
    /// A version 2 message without addresses, as keepalived can send it.
    V2WithoutAddresses,
    /// An IPv6 address list that begins with a global address, as VPP, FRR and keepalived can send
    /// it.
    FirstAddressNotLinkLocal,
}

/// A virtual router, as given on the command line.
pub(crate) struct RouterOptions {
    pub(crate) take_over: Option<PathBuf>,
    pub(crate) sequence_file: Option<PathBuf>,
    pub(crate) config: RouterConfig,
    pub(crate) tracked: Vec<Tracked>,
    pub(crate) sync_group: Option<String>,
    pub(crate) notify: Option<Hook>,
}

impl RouterArguments {
    /// Checks everything that clap cannot check. The errors read like clap's.
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
            Checksum::Adaptive => ChecksumSending::Adaptive,
            Checksum::Both => ChecksumSending::Both,
        };

        fsm.announce.refresh = self.announce_refresh;
        let interval = fsm.interval.as_duration();
        let authentication = self.authentication.into_config(self.version, interval)?;

        let mut config = RouterConfig::new(self.interface, fsm, self.addresses);
        config.excluded = self.excluded;
        config.authentication = authentication;
        config.leniency = Leniency {
            surplus: self.lenient.contains(&Deviation::Surplus),
            v2_without_addresses: self.lenient.contains(&Deviation::V2WithoutAddresses),
            first_address_not_link_local: self
                .lenient
                .contains(&Deviation::FirstAddressNotLinkLocal),
        };
        config.source = self.source;
        config.unicast_path = match self.unicast_path {
            Path::Interface => UnicastPath::Interface,
            Path::RoutingTable => UnicastPath::RoutingTable,
        };
        config.enforce_accept_mode = self.enforce_accept_mode;
        config.virtual_mac = self.virtual_mac.then(VirtualMac::default);
        config.routes = self.routes;
        if !self.unicast_peers.is_empty() {
            let peers = self
                .unicast_peers
                .into_iter()
                .map(|address| Peer::new(address).with_min_ttl(self.min_ttl));
            config.transport = Transport::Unicast {
                peers: peers.collect(),
            };
        }
        Ok(RouterOptions {
            take_over: self.take_over,
            sequence_file: self.sequence_file,
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
