//! The content of a configuration.

use std::{collections::BTreeMap, net::IpAddr, path::Path};

use super::{
    address::Address,
    host::{Account, Host},
    route::Route,
    rule::Rule,
    script::Script,
};

/// A complete configuration: values checked, references resolved, defaults filled in as keepalived
/// does when it starts.
#[derive(Clone, Debug, Default)]
pub struct Configuration {
    /// `global_defs`, by keyword.
    pub global: Global,
    /// `net_namespace`.
    pub net_namespace: Option<String>,
    /// `net_namespace_ipvs`; empty without a name, which stands for the namespace in which the
    /// daemon is started.
    pub net_namespace_ipvs: Option<String>,
    /// `instance`.
    pub instance: Option<String>,
    /// `use_pid_dir`.
    pub uses_pid_folder: bool,
    /// The names of `track_group`.
    pub track_groups: Vec<String>,
    /// `static_ipaddress`.
    pub static_addresses: Vec<Address>,
    /// `static_routes`.
    pub static_routes: Vec<Route>,
    /// `static_rules`.
    pub static_rules: Vec<Rule>,
    /// The `vrrp_script` blocks that are tracked.
    pub scripts: Vec<CheckScript>,
    /// The `track_file` blocks that are tracked.
    pub track_files: Vec<TrackFile>,
    /// The `vrrp_track_process` blocks.
    pub track_processes: Vec<TrackProcess>,
    /// `bfd_instance`.
    pub bfd_instances: Vec<BfdInstance>,
    /// `vrrp_sync_group`.
    pub sync_groups: Vec<SyncGroup>,
    /// `vrrp_instance`.
    pub instances: Vec<Instance>,
    /// `virtual_server_group`.
    pub virtual_server_groups: Vec<super::lvs::ServiceGroup>,
    /// `virtual_server`.
    pub virtual_servers: Vec<super::lvs::VirtualServer>,
    /// Whether TLS is used for checks.
    pub uses_tls: bool,
    /// `SSL`.
    pub tls: super::lvs::TlsFiles,
    /// `lvs_sync_daemon`.
    pub sync_daemon: Option<super::sync_daemon::SyncDaemon>,
    /// `garp_group`.
    pub garp_groups: Vec<GarpGroup>,
    /// `interface_up_down_delays`, by the name of the interface.
    pub link_delays: BTreeMap<String, LinkDelay>,
}

impl Configuration {
    /// The folder of the files with process ids.
    #[must_use]
    pub fn pid_folder(&self) -> &'static Path {
        Path::new(if self.uses_pid_folder {
            "/run/keepalived"
        } else {
            "/run"
        })
    }
}

/// `garp_group`: interfaces whose announcements are spaced together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GarpGroup {
    /// The names of the interfaces.
    pub interfaces: Vec<String>,
    /// `garp_interval`: microseconds between two gratuitous ARP messages.
    pub garp_interval: i64,
    /// `gna_interval`: microseconds between two unsolicited neighbor advertisements.
    pub gna_interval: i64,
}

/// A line of `interface_up_down_delays`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkDelay {
    /// Microseconds for which the interface must be down before that takes effect.
    pub down: i64,
    /// Microseconds for which the interface must be up before that takes effect.
    pub up: i64,
}

/// The settings of `global_defs`.
#[derive(Clone, Debug, Default)]
pub struct Global {
    /// The words after each keyword that was given; of a repeated keyword, those of the last one.
    pub words: BTreeMap<&'static str, Vec<String>>,
    /// The numbers among them: microseconds for times.
    pub numbers: BTreeMap<&'static str, i64>,
    /// The booleans among them.
    pub switches: BTreeMap<&'static str, bool>,
    /// `notification_email`.
    pub email_recipients: Vec<String>,
    /// `smtp_server`, resolved, with its port.
    pub smtp_server: Option<(IpAddr, u16)>,
    /// `lvs_timeouts`: TCP, TCP after FIN, UDP, in seconds.
    pub lvs_timeouts: [Option<u32>; 3],
    /// The scripts of FIFOs, startup and shutdown, by keyword.
    pub scripts: BTreeMap<&'static str, Script>,
    /// `umask`: the permissions that new files do not get.
    pub umask: Option<u32>,
    /// The account of scripts that name none.
    pub script_account: Option<Account>,
}

impl Configuration {
    /// The name of the file of `keepalived.data`. With `data_use_instance`, it has the network
    /// namespace and the instance in it.
    #[must_use]
    pub fn data_file(&self) -> String {
        let names: Vec<&str> = [&self.net_namespace, &self.instance]
            .into_iter()
            .filter_map(Option::as_deref)
            .collect();
        let uses_names = self.global.switches.get("data_use_instance") == Some(&true);
        if uses_names && !names.is_empty() {
            format!("keepalived.{}.data", names.join("_"))
        } else {
            "keepalived.data".into()
        }
    }
}

impl Global {
    /// Whether a keyword was given.
    #[must_use]
    pub fn has(&self, word: &str) -> bool {
        self.words.contains_key(word)
    }

    /// The first word after a keyword.
    #[must_use]
    pub fn text(&self, word: &str) -> Option<&str> {
        self.words.get(word)?.first().map(String::as_str)
    }

    /// The owner of the FIFO of a keyword: the user and group that it names, or those of scripts.
    #[must_use]
    pub fn fifo_account(&self, word: &str) -> Account {
        let words = self.words.get(word).map_or(&[][..], Vec::as_slice);
        let user = words.get(1);
        let own = user.and_then(|user| Host::account(user, words.get(2).map(String::as_str)));
        let own = own.or(self.script_account);
        own.unwrap_or(Account { uid: 0, gid: 0 })
    }
}

/// Something that an instance or a group tracks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracked {
    /// Its name.
    pub name: String,
    /// The number that it adds to the priority; 0 makes its failure a fault.
    pub weight: i32,
    /// Whether its success counts as failure.
    pub is_reverse: bool,
}

/// Everything that an instance or a group tracks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tracking {
    /// `track_interface`.
    pub interfaces: Vec<Tracked>,
    /// `track_script`.
    pub scripts: Vec<Tracked>,
    /// `track_file`.
    pub files: Vec<Tracked>,
    /// `track_process`.
    pub processes: Vec<Tracked>,
    /// `track_bfd`.
    pub bfd: Vec<Tracked>,
}

/// `vrrp_script`.
#[derive(Clone, Debug)]
pub struct CheckScript {
    /// Its name.
    pub name: String,
    /// The command.
    pub script: Script,
    /// Microseconds between the starts of two runs.
    pub interval: u64,
    /// Microseconds that a run may take; 0 for the interval.
    pub timeout: u64,
    /// The weight where a `track_script` names none.
    pub weight: i32,
    /// Whether success counts as failure.
    pub is_reverse: bool,
    /// Successes in a row that make it good.
    pub rise: u32,
    /// Failures in a row that make it bad.
    pub fall: u32,
    /// Whether it counts as failed until its first result.
    pub init_fail: bool,
}

/// `track_file`.
#[derive(Clone, Debug)]
pub struct TrackFile {
    /// Its name.
    pub name: String,
    /// The file with the number.
    pub path: String,
    /// The factor where a `track_file` names none.
    pub weight: i32,
    /// Whether the sign is inverted.
    pub is_reverse: bool,
    /// The value that the file gets at the start, and whether it replaces what it has.
    pub initial: Option<(i64, bool)>,
}

/// `vrrp_track_process`.
#[derive(Clone, Debug)]
pub struct TrackProcess {
    /// Its name.
    pub name: String,
    /// The program, then its parameters.
    pub process: Vec<String>,
    /// Which processes count.
    pub command_match: CommandMatch,
    /// The weight where a `track_process` names none.
    pub weight: i32,
    /// Whether running counts as failure.
    pub is_reverse: bool,
    /// The fewest processes.
    pub quorum: u32,
    /// The most processes.
    pub quorum_max: Option<u32>,
    /// Microseconds before the end of a process takes effect.
    pub terminate_delay: i64,
    /// Microseconds before the start of a process takes effect.
    pub fork_delay: i64,
}

/// How a process is compared with the command of a `vrrp_track_process`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandMatch {
    /// Its name is the program. The kernel keeps 15 octets of a name, without folders.
    Name,
    /// The first argument of its command line is the program; the others do not count
    /// (`full_command`).
    Program,
    /// Its command line is the same: parameters, or `param_match` without a word.
    Exact,
    /// More arguments may follow (`param_match partial`).
    Partial,
    /// The last parameter may be longer, and more arguments may follow (`param_match initial`).
    Initial,
}

/// `bfd_instance`.
#[derive(Clone, Debug)]
pub struct BfdInstance {
    /// Its name.
    pub name: String,
    /// The other side.
    pub neighbor: IpAddr,
    /// Our address.
    pub source: Option<IpAddr>,
    /// The shortest time between received packets, in microseconds.
    pub min_rx: i64,
    /// The shortest time between sent packets, in microseconds.
    pub min_tx: i64,
    /// The time between sent packets while the session is down, in microseconds.
    pub idle_tx: i64,
    /// Packets that may be lost.
    pub multiplier: i64,
    /// The TTL of packets.
    pub ttl: i64,
    /// Hops to the other side; 0 where it is on the link.
    pub max_hops: i64,
    /// Whether it waits for the other side.
    pub is_passive: bool,
    /// The weight where a `track_bfd` names none.
    pub weight: i32,
}

/// Commands for changes of state, by their oracle name: `master`, `backup`, `fault`, `stop`,
/// `deleted`, `generic`, `master rx lower pri`.
pub type Notifies = BTreeMap<&'static str, Script>;

/// `vrrp_sync_group`.
#[derive(Clone, Debug)]
pub struct SyncGroup {
    /// Its name.
    pub name: String,
    /// Its instances.
    pub members: Vec<String>,
    /// The objects that it tracks.
    pub tracking: Tracking,
    /// Its commands.
    pub notifies: Notifies,
    /// Whether changes are mailed.
    pub smtp_alert: bool,
    /// Whether weights count inside it.
    pub tracking_weight: bool,
    /// Whether changes of priority are notified.
    pub notify_priority_changes: bool,
}

/// `vrrp_instance`.
#[derive(Clone, Debug)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "as many as the language has flags"
)]
pub struct Instance {
    /// Its name.
    pub name: String,
    /// The version of VRRP: 2 or 3.
    pub version: u8,
    /// Whether it is of IPv6.
    pub is_ipv6: bool,
    /// The interface. Where the configuration names none, it is the one that has the source
    /// address.
    pub interface: String,
    /// Whether the configuration names no interface, so advertisements follow the routing table.
    pub is_routed: bool,
    /// The virtual MAC's interface, and whether advertisements leave by the parent.
    pub vmac: Option<Vmac>,
    /// `use_ipvlan`.
    pub ipvlan: Option<Ipvlan>,
    /// The address to advertise from at present.
    pub source: Option<IpAddr>,
    /// Whether the configuration names it.
    pub source_is_configured: bool,
    /// `track_src_ip`.
    pub tracks_source: bool,
    /// The multicast group.
    pub multicast: IpAddr,
    /// The settings of unicast.
    pub unicast: Unicast,
    /// `virtual_router_id`.
    pub vrid: u8,
    /// The interval in microseconds.
    pub interval: i64,
    /// The settings that decide which router is Active.
    pub election: Election,
    /// Whether it accepts packets to its addresses.
    pub accept: bool,
    /// `strict_mode`.
    pub is_strict: bool,
    /// `skip_check_adv_addr`.
    pub skips_address_check: bool,
    /// `dont_track_primary`.
    pub dont_track_primary: bool,
    /// `promote_secondaries`.
    pub promote_secondaries: bool,
    /// `PASS` or `AH` with the password.
    pub authentication: Option<(&'static str, String)>,
    /// `auth_hmac`.
    pub hmac: Option<Hmac>,
    /// `no_virtual_ipaddress`.
    pub may_lack_addresses: bool,
    /// `v3_checksum_as_v2`.
    pub checksum_is_of_message: bool,
    /// The addresses, routes and rules that the host has while it is Active.
    pub objects: Objects,
    /// The bursts of announcements.
    pub garp: Garp,
    /// `garp_extra_if`: whether it applies to all other interfaces and not only to virtual MACs,
    /// and the period in seconds, not 0.
    pub garp_extra: Option<(bool, i64)>,
    /// The objects that it tracks.
    pub tracking: Tracking,
    /// The reports of its changes.
    pub notification: Notification,
    /// `debug`.
    pub debug: Option<i64>,
    /// `kernel_rx_buf_size`.
    pub kernel_rx_buf_size: Option<i64>,
    /// `use_vmac_addr`.
    pub use_vmac_addr: bool,
    /// Its sync group.
    pub sync_group: Option<String>,
}

/// The settings of an instance that decide which router is Active.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "as many as the language has flags"
)]
pub struct Election {
    /// The priority.
    pub priority: u8,
    /// Whether the configured initial state is MASTER.
    pub starts_as_master: bool,
    /// Whether it preempts.
    pub preempt: bool,
    /// `preempt_delay` in microseconds.
    pub preempt_delay: i64,
    /// The advertisements that must be missing before a takeover.
    pub down_timer_adverts: i64,
    /// Whether an advertisement of lower priority is answered.
    pub answers_lower_priority: bool,
    /// Whether it sends one advertisement before it yields.
    pub advertises_before_yield: bool,
    /// `owner_ignore_adverts`.
    pub owner_ignores_others: bool,
    /// `timer_expired_backup`.
    pub yields_after_stall: bool,
}

/// The settings of unicast of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "as many as the language has flags"
)]
pub struct Unicast {
    /// `unicast_peer`, each with the bounds of the TTL. Without peers, multicast is used.
    pub peers: Vec<Peer>,
    /// `unicast_ttl`.
    pub ttl: Option<u8>,
    /// `check_unicast_src`.
    pub checks_source: bool,
    /// Whether a unicast keyword is given without any peers.
    pub lacks_peers: bool,
    /// `unicast_fault_no_peer`.
    pub fails_without_peers: bool,
    /// `old_unicast_checksum`: `no`, `config` or `never`.
    pub old_checksum: &'static str,
}

/// The addresses, routes and rules of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Objects {
    /// `virtual_ipaddress`.
    pub addresses: Vec<Address>,
    /// `virtual_ipaddress_excluded`, with the addresses that do not fit into an advertisement.
    pub excluded: Vec<Address>,
    /// `virtual_routes`.
    pub routes: Vec<Route>,
    /// `virtual_rules`.
    pub rules: Vec<Rule>,
}

/// How changes of an instance are reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// The commands.
    pub commands: Notifies,
    /// Whether changes are mailed.
    pub smtp_alert: bool,
    /// Whether changes of priority are notified.
    pub priority_changes: bool,
    /// Whether `notify_deleted` is given.
    pub deleted: bool,
}

/// `auth_hmac`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hmac {
    /// The keys: an id, and text, `hex:` with digits, or `file:` with a path.
    pub keys: Vec<(u8, String)>,
    /// The id of the key that signs.
    pub active: u8,
    /// Whether replays are recognised by the order of messages alone, without clocks.
    pub is_monotonic: bool,
    /// Seconds by which the clock of another router may differ.
    pub window: Option<u16>,
    /// Which messages are signed and accepted.
    pub mode: HmacMode,
}

/// `mode` of `auth_hmac`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HmacMode {
    /// `receive-only`.
    ReceiveOnly,
    /// `permissive`.
    Permissive,
    /// `enforce`.
    #[default]
    Enforce,
}

/// The bursts of announcements of an instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Garp {
    /// `garp_master_delay`: seconds before the second burst.
    pub delay: i64,
    /// `garp_master_repeat`: messages in each of the two bursts.
    pub repeat: i64,
    /// `garp_master_refresh`: seconds between refreshes.
    pub refresh: i64,
    /// `garp_master_refresh_repeat`: messages in a refresh.
    pub refresh_repeat: i64,
    /// `garp_lower_prio_delay`: seconds before the second burst after an advertisement of lower
    /// priority.
    pub lower_prio_delay: i64,
    /// `garp_lower_prio_repeat`: messages after an advertisement of lower priority.
    pub lower_prio_repeat: i64,
}

/// The interface with a virtual MAC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vmac {
    /// Its name.
    pub device: String,
    /// The hardware address, where it is not that of VRRP.
    pub own_address: Option<String>,
    /// Whether advertisements leave by the parent.
    pub transmits_from_parent: bool,
}

/// The interface of `use_ipvlan`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ipvlan {
    /// Its name.
    pub device: String,
    /// Its own address, with the length of the prefix.
    pub address: Option<(IpAddr, u8)>,
    /// `bridge`, `private` or `vepa`.
    pub mode: &'static str,
}

/// A unicast peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// The least TTL of its packets.
    pub min_ttl: u8,
    /// The greatest TTL of its packets.
    pub max_ttl: u8,
}
