//! The words of the language: the keywords of each block, and their parameters.

use super::{source::Like, value::Range};

/// A keyword of a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keyword {
    pub(super) word: &'static str,
    pub(super) takes: Takes,
    /// Whether keepalived 2.2.7 does not know it.
    is_recent: bool,
}

impl Keyword {
    const fn recent(self) -> Self {
        Self {
            is_recent: true,
            ..self
        }
    }

    /// Whether that keepalived knows it.
    pub(super) const fn is_known(&self, like: Like) -> bool {
        match like {
            Like::Debian12 => !self.is_recent,
            Like::Recent => true,
        }
    }
}

/// The parameters of a keyword.
#[derive(Clone, Copy, Debug)]
pub(super) enum Takes {
    /// Nothing; further words are ignored.
    Nothing,
    /// Nothing, or a boolean.
    Switch,
    /// A number, and the effect if it is missing.
    Number(Range, Missing),
    /// One word or more.
    Words(Missing),
    /// A command, optionally followed by a user and a group.
    Command(Missing),
    /// Keywords in braces.
    Block(&'static [Keyword]),
    /// Lines of words in braces.
    Lines,
    /// Words in braces, on any number of lines.
    List,
    /// Parameters without effect; the text says what to write instead.
    Deprecated(&'static str),
}

/// The effect of a missing parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// Reading ends, and the daemon exits with status 2.
    Fatal,
    /// There is a complaint.
    Complaint,
    /// There is none.
    Allowed,
}

/// One of the daemon's processes, each of which reads the configuration for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    Parent,
    Checker,
    Vrrp,
    Bfd,
}

impl Reader {
    pub(super) const ALL: [Self; 4] = [Self::Parent, Self::Checker, Self::Vrrp, Self::Bfd];
}

/// A keyword outside all blocks, and the part that reads it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Root {
    pub(super) keyword: Keyword,
    pub(super) readers: &'static [Reader],
}

use Missing::{Allowed, Complaint, Fatal};
use Takes::{Block, Command, Deprecated, Lines, List, Nothing, Number, Switch, Words};

const U32: i64 = u32::MAX as i64;
const I32: i64 = i32::MAX as i64;
/// Whole seconds that fit into a timer of microseconds in 32 bits.
const TIMER: i64 = U32 / 1_000_000;

const fn kw(word: &'static str, takes: Takes) -> Keyword {
    Keyword {
        word,
        takes,
        is_recent: false,
    }
}

const fn unsigned(word: &'static str, low: i64, high: i64) -> Keyword {
    kw(word, Number(Range::whole(low, high).lenient(), Fatal))
}

const fn strict(word: &'static str, low: i64, high: i64) -> Keyword {
    kw(word, Number(Range::whole(low, high), Fatal))
}

const fn asked(word: &'static str, low: i64, high: i64) -> Keyword {
    kw(word, Number(Range::whole(low, high).lenient(), Complaint))
}

const fn seconds(word: &'static str, low: i64, high: i64) -> Keyword {
    kw(word, Number(Range::seconds(low, high), Fatal))
}

/// Microseconds, written in seconds with three decimal places.
const fn short(word: &'static str) -> Keyword {
    let range = Range {
        places: 3,
        factor: 1000,
        ..Range::seconds(0, U32 / 1000)
    };
    kw(word, Number(range, Fatal))
}

const fn whole_seconds(word: &'static str, low: i64, high: i64) -> Keyword {
    kw(word, Number(Range::whole_seconds(low, high), Fatal))
}

const fn root(word: &'static str, takes: Takes, readers: &'static [Reader]) -> Root {
    Root {
        keyword: kw(word, takes),
        readers,
    }
}

const PARENT: &[Reader] = &[Reader::Parent];
const VRRP: &[Reader] = &[Reader::Vrrp];
const CHECKER: &[Reader] = &[Reader::Checker];
const BOTH: &[Reader] = &[Reader::Vrrp, Reader::Checker];
const CHILDREN: &[Reader] = &[Reader::Checker, Reader::Vrrp, Reader::Bfd];
const EVERY: &[Reader] = &Reader::ALL;

pub(super) const ROOTS: &[Root] = &[
    root("linkbeat_use_polling", Nothing, VRRP),
    root("net_namespace", Words(Complaint), PARENT),
    root("net_namespace_ipvs", Words(Allowed), PARENT),
    root("namespace_with_ipsets", Nothing, PARENT),
    root("use_pid_dir", Nothing, PARENT),
    root("instance", Words(Fatal), PARENT),
    root(
        "child_wait_time",
        Number(Range::whole(0, TIMER), Complaint),
        PARENT,
    ),
    root("global_defs", Block(GLOBAL), EVERY),
    root("track_file", Block(TRACK_FILE), BOTH),
    root("vrrp_track_file", Block(TRACK_FILE), BOTH),
    root("track_group", Block(TRACK_GROUP), VRRP),
    root("static_ipaddress", Lines, VRRP),
    root("static_routes", Lines, VRRP),
    root("static_rules", Lines, VRRP),
    root("vrrp_sync_group", Block(SYNC_GROUP), VRRP),
    root("garp_group", Block(GARP_GROUP), VRRP),
    root("linkbeat_interfaces", Lines, VRRP),
    root("interface_up_down_delays", Lines, VRRP),
    root("vrrp_instance", Block(INSTANCE), VRRP),
    root("vrrp_script", Block(SCRIPT), VRRP),
    root("vrrp_track_process", Block(TRACK_PROCESS), VRRP),
    root("bfd_instance", Block(BFD), CHILDREN),
    root("SSL", Block(SSL), CHECKER),
    root("virtual_server_group", Lines, CHECKER),
    root("virtual_server", Block(VIRTUAL_SERVER), CHECKER),
];

pub(super) const GLOBAL: &[Keyword] = &[
    kw("process_names", Nothing),
    kw("process_name", Words(Fatal)),
    kw("vrrp_process_name", Words(Fatal)),
    kw("checker_process_name", Words(Fatal)),
    kw("lvs_process_name", Words(Fatal)),
    kw("bfd_process_name", Words(Fatal)),
    kw("router_id", Words(Complaint)),
    kw("notification_email_from", Words(Complaint)),
    kw("smtp_server", Words(Fatal)),
    kw("smtp_helo_name", Words(Allowed)),
    unsigned("smtp_connect_timeout", 0, TIMER),
    kw("notification_email", List),
    kw("smtp_alert", Switch),
    kw("startup_script", Command(Complaint)),
    asked("startup_script_timeout", 1, 1000),
    kw("shutdown_script", Command(Complaint)),
    asked("shutdown_script_timeout", 1, 1000),
    kw(
        "max_auto_priority",
        Number(Range::whole(-1, 99).lenient(), Allowed),
    ),
    asked("min_auto_priority_delay", 1, 10_000_000),
    kw("smtp_alert_vrrp", Switch),
    kw("smtp_alert_checker", Switch),
    kw("checker_log_all_failures", Switch),
    kw("dynamic_interfaces", Words(Allowed)),
    kw("no_email_faults", Nothing),
    kw("default_interface", Words(Complaint)),
    kw("disable_local_igmp", Nothing),
    kw("lvs_timeouts", Words(Complaint)),
    kw("lvs_flush", Nothing),
    kw("lvs_flush_on_stop", Words(Allowed)),
    kw("lvs_flush_onstop", Words(Allowed)),
    kw("lvs_sync_daemon", Words(Complaint)),
    kw("vrrp_mcast_group4", Words(Fatal)),
    kw("vrrp_mcast_group6", Words(Fatal)),
    unsigned("vrrp_garp_master_delay", 0, TIMER),
    unsigned("vrrp_garp_master_repeat", 0, U32),
    unsigned("vrrp_garp_master_refresh", 0, U32),
    unsigned("vrrp_garp_master_refresh_repeat", 0, U32),
    unsigned("vrrp_garp_lower_prio_delay", 0, TIMER),
    unsigned("vrrp_garp_lower_prio_repeat", 0, I32),
    unsigned("vrrp_down_timer_adverts", 1, 100),
    seconds("vrrp_garp_interval", 1, U32),
    seconds("vrrp_gna_interval", 1, U32),
    kw("vrrp_min_garp", Switch),
    kw("vrrp_garp_extra_if", Words(Allowed)),
    kw("vrrp_vmac_garp_intvl", Deprecated("vrrp_garp_extra_if")),
    kw("vrrp_lower_prio_no_advert", Switch),
    kw("vrrp_higher_prio_send_advert", Switch),
    unsigned("vrrp_version", 2, 3),
    kw("vrrp_iptables", Deprecated("nftables")),
    kw("nftables", Words(Allowed)),
    strict("nftables_priority", -I32 - 1, I32),
    kw("nftables_ifindex", Nothing),
    kw("nftables_ipvs", Words(Allowed)),
    strict("nftables_ipvs_priority", -I32 - 1, I32),
    strict("nftables_ipvs_start_fwmark", 1, U32),
    kw("nftables_counters", Nothing),
    kw("vrrp_check_unicast_src", Nothing),
    kw("vrrp_skip_check_adv_addr", Words(Allowed)),
    kw("vrrp_strict", Words(Allowed)),
    asked("vrrp_priority", -20, 19),
    kw("vrrp_no_swap", Nothing),
    asked("vrrp_rt_priority", -I32 - 1, I32),
    kw("vrrp_cpu_affinity", Words(Complaint)),
    unsigned("vrrp_rlimit_rttime", 1, U32),
    unsigned("vrrp_rlimit_rtime", 1, U32),
    kw("notify_fifo", Words(Complaint)),
    kw("notify_fifo_script", Command(Complaint)),
    kw("vrrp_notify_fifo", Words(Complaint)),
    kw("vrrp_notify_fifo_script", Command(Complaint)),
    kw("vrrp_notify_priority_changes", Switch),
    kw("fifo_write_vrrp_states_on_reload", Nothing),
    kw("lvs_notify_fifo", Words(Complaint)),
    kw("lvs_notify_fifo_script", Command(Complaint)),
    asked("checker_priority", -20, 19),
    kw("checker_no_swap", Nothing),
    asked("checker_rt_priority", -I32 - 1, I32),
    kw("checker_cpu_affinity", Words(Complaint)),
    unsigned("checker_rlimit_rttime", 1, U32),
    unsigned("checker_rlimit_rtime", 1, U32),
    asked("bfd_priority", -20, 19),
    kw("bfd_no_swap", Nothing),
    asked("bfd_rt_priority", -I32 - 1, I32),
    kw("bfd_cpu_affinity", Words(Complaint)),
    unsigned("bfd_rlimit_rttime", 1, U32),
    unsigned("bfd_rlimit_rtime", 1, U32),
    kw("snmp_socket", Words(Complaint)),
    kw("enable_traps", Nothing),
    kw("enable_snmp_vrrp", Nothing),
    kw("enable_snmp_keepalived", Nothing),
    kw("enable_snmp_rfc", Nothing),
    kw("enable_snmp_rfcv2", Nothing),
    kw("enable_snmp_rfcv3", Nothing),
    kw("enable_snmp_checker", Nothing),
    kw("enable_dbus", Nothing),
    kw("dbus_service_name", Words(Complaint)),
    kw("script_user", Words(Complaint)),
    kw("enable_script_security", Nothing),
    asked("vrrp_netlink_cmd_rcv_bufs", 0, I32),
    kw("vrrp_netlink_cmd_rcv_bufs_force", Switch),
    asked("vrrp_netlink_monitor_rcv_bufs", 0, I32),
    kw("vrrp_netlink_monitor_rcv_bufs_force", Switch),
    asked("process_monitor_rcv_bufs", 0, I32),
    kw("process_monitor_rcv_bufs_force", Switch),
    asked("lvs_netlink_cmd_rcv_bufs", 0, I32),
    kw("lvs_netlink_cmd_rcv_bufs_force", Switch),
    asked("lvs_netlink_monitor_rcv_bufs", 0, I32),
    kw("lvs_netlink_monitor_rcv_bufs_force", Switch),
    kw("rs_init_notifies", Switch),
    kw("no_checker_emails", Switch),
    kw("vrrp_rx_bufs_policy", Words(Complaint)),
    asked("vrrp_rx_bufs_multiplier", 1, U32),
    seconds("vrrp_startup_delay", 1000, U32),
    kw("log_unknown_vrids", Nothing),
    kw("vmac_prefix", Words(Fatal)),
    kw("vmac_addr_prefix", Words(Fatal)),
    kw("umask", Words(Fatal)),
    strict("random_seed", 0, U32),
    kw("reload_check_config", Words(Allowed)),
    kw("reload_time_file", Words(Complaint)),
    kw("reload_repeat", Nothing),
    kw("reload_file", Words(Allowed)),
    kw("include_check", Words(Allowed)),
    kw("config_save_dir", Words(Fatal)),
    kw("tmp_config_directory", Words(Complaint)),
    kw("data_use_instance", Switch),
    kw("dbus_no_interface_name", Nothing).recent(),
    kw("iproute_etc_dir", Words(Complaint)).recent(),
    kw("iproute_usr_dir", Words(Complaint)).recent(),
    kw("json_dump_file", Words(Complaint)).recent(),
    asked("json_version", 1, 2).recent(),
    kw("set_supplementary_groups", Nothing).recent(),
    unsigned("snmp_rs_stats_update_interval", 0, U32).recent(),
    unsigned("snmp_vs_stats_update_interval", 0, U32).recent(),
    kw("state_dump_file", Words(Complaint)).recent(),
    kw("stats_dump_file", Words(Complaint)).recent(),
    kw("use_symlink_paths", Switch).recent(),
    kw("v3_checksum_as_v2", Switch).recent(),
    seconds("vrrp_delay_after_boot", 1000, U32).recent(),
    kw("vrrp_owner_ignore_adverts", Switch).recent(),
];

pub(super) const TRACK_FILE: &[Keyword] = &[
    kw("file", Words(Complaint)),
    asked("weight", -254, 254),
    kw("init_file", Words(Allowed)),
];

const TRACK_GROUP: &[Keyword] = &[kw("group", List)];

pub(super) const SYNC_GROUP: &[Keyword] = &[
    kw("group", List),
    kw("track_interface", Lines),
    kw("track_script", Lines),
    kw("track_file", Lines),
    kw("track_process", Lines),
    kw("track_bfd", Lines),
    kw("notify_backup", Command(Fatal)),
    kw("notify_master", Command(Fatal)),
    kw("notify_fault", Command(Fatal)),
    kw("notify_stop", Command(Fatal)),
    kw("notify", Command(Fatal)),
    kw("smtp_alert", Switch),
    kw("global_tracking", Deprecated("sync_group_tracking_weight")),
    kw("sync_group_tracking_weight", Nothing),
    kw("notify_priority_changes", Switch),
    kw("notify_deleted", Command(Allowed)).recent(),
];

const GARP_GROUP: &[Keyword] = &[
    seconds("garp_interval", 0, I32),
    seconds("gna_interval", 0, I32),
    kw("interface", Words(Fatal)),
    kw("interfaces", List),
];

pub(super) const INSTANCE: &[Keyword] = &[
    kw("use_vmac", Words(Allowed)),
    kw("use_vmac_addr", Nothing),
    kw("vmac_xmit_base", Nothing),
    kw("use_ipvlan", Words(Allowed)),
    kw("unicast_peer", Lines),
    kw("unicast_fault_no_peer", Nothing),
    kw("check_unicast_src", Nothing),
    kw("old_unicast_checksum", Words(Allowed)),
    kw("native_ipv6", Nothing),
    kw("state", Words(Fatal)),
    kw("interface", Words(Fatal)),
    kw("vrf", Words(Fatal)),
    kw("dont_track_primary", Nothing),
    kw("track_interface", Lines),
    kw("track_script", Lines),
    kw("track_file", Lines),
    kw("track_process", Lines),
    kw("track_bfd", Lines),
    kw("mcast_src_ip", Words(Fatal)),
    kw("unicast_src_ip", Words(Fatal)),
    kw("mcast_dst_ip", Words(Fatal)),
    kw("track_src_ip", Nothing),
    strict("virtual_router_id", 1, 255),
    strict("unicast_ttl", 0, 255),
    unsigned("version", 2, 3),
    strict("priority", 1, 255),
    seconds("advert_int", 10_000, 255_000_000),
    kw("virtual_ipaddress", Lines),
    kw("virtual_ipaddress_excluded", Lines),
    kw("promote_secondaries", Nothing),
    kw("linkbeat_use_polling", Deprecated("linkbeat_interfaces")),
    kw("virtual_routes", Lines),
    kw("virtual_rules", Lines),
    kw("accept", Nothing),
    kw("no_accept", Nothing),
    kw("skip_check_adv_addr", Switch),
    kw("strict_mode", Switch),
    kw("preempt", Nothing),
    kw("nopreempt", Nothing),
    seconds("preempt_delay", 0, 1_000_000_000),
    unsigned("debug", 0, 4),
    kw("notify_backup", Command(Fatal)),
    kw("notify_master", Command(Fatal)),
    kw("notify_fault", Command(Fatal)),
    kw("notify_stop", Command(Fatal)),
    kw("notify_deleted", Command(Allowed)),
    kw("notify", Command(Fatal)),
    kw("notify_master_rx_lower_pri", Command(Fatal)),
    kw("smtp_alert", Switch),
    kw("notify_priority_changes", Switch),
    kw(
        "lvs_sync_daemon_interface",
        Deprecated("lvs_sync_daemon in global_defs"),
    ),
    unsigned("garp_master_delay", 0, TIMER),
    unsigned("garp_master_refresh", 0, U32),
    unsigned("garp_master_repeat", 0, U32),
    unsigned("garp_master_refresh_repeat", 0, U32),
    unsigned("garp_lower_prio_delay", 0, TIMER),
    unsigned("garp_lower_prio_repeat", 0, I32),
    unsigned("down_timer_adverts", 1, 100),
    kw("garp_extra_if", Words(Allowed)),
    kw("vmac_garp_intvl", Deprecated("garp_extra_if")),
    kw("lower_prio_no_advert", Switch),
    kw("higher_prio_send_advert", Switch),
    kw(
        "kernel_rx_buf_size",
        Number(Range::whole(0, I32), Complaint),
    ),
    kw("authentication", Block(AUTHENTICATION)),
    kw("auth_hmac", Block(AUTH_HMAC)).recent(),
    kw("no_virtual_ipaddress", Nothing).recent(),
    kw("owner_ignore_adverts", Switch).recent(),
    kw("thread_timer_expired", Words(Allowed)).recent(),
    kw("timer_expired_backup", Words(Allowed)).recent(),
    kw("v3_checksum_as_v2", Switch).recent(),
];

const AUTH_HMAC: &[Keyword] = &[
    kw("key", Words(Fatal)).recent(),
    unsigned("active_key", 1, 255).recent(),
    kw("anti_replay", Words(Fatal)).recent(),
    unsigned("time_window", 1, 300).recent(),
    kw("mode", Words(Fatal)).recent(),
];

const AUTHENTICATION: &[Keyword] = &[kw("auth_type", Words(Fatal)), kw("auth_pass", Words(Fatal))];

const SCRIPT: &[Keyword] = &[
    kw("script", Command(Allowed)),
    // Both are in microseconds. The first entry that the imitated version knows counts.
    short("interval").recent(),
    short("timeout").recent(),
    whole_seconds("interval", 0, TIMER),
    whole_seconds("timeout", 0, TIMER),
    kw("weight", Words(Fatal)),
    unsigned("rise", 1, I32),
    unsigned("fall", 1, I32),
    kw("user", Words(Fatal)),
    kw("init_fail", Nothing),
];

const TRACK_PROCESS: &[Keyword] = &[
    kw("process", Words(Fatal)),
    kw("param_match", Words(Allowed)),
    asked("weight", -254, 254),
    unsigned("quorum", 1, 65535),
    unsigned("quorum_max", 0, 65535),
    seconds("delay", 1, 3_600_000_000),
    seconds("terminate_delay", 1, 3_600_000_000),
    seconds("fork_delay", 1, 3_600_000_000),
    kw("full_command", Nothing),
];

/// Milliseconds with three decimal places.
const fn milliseconds(word: &'static str, low: i64) -> Keyword {
    kw(
        word,
        Number(
            Range {
                low,
                high: 4_294_967_000,
                places: 3,
                is_lenient: false,
                factor: 1,
            },
            Fatal,
        ),
    )
}

const BFD: &[Keyword] = &[
    kw("source_ip", Words(Fatal)),
    kw("neighbor_ip", Words(Fatal)),
    kw("neighbour_ip", Words(Fatal)),
    milliseconds("min_rx", 1000),
    milliseconds("min_tx", 1000),
    milliseconds("idle_tx", 1_000_000),
    strict("multiplier", 1, 255),
    kw("passive", Nothing),
    strict("ttl", 1, 255),
    strict("hoplimit", 1, 255),
    strict("max_hops", -1, 255),
    unsigned("weight", -253, 253),
    kw("vrrp", Nothing),
    kw("checker", Nothing),
    kw("multihop", Nothing).recent(),
];

const SSL: &[Keyword] = &[
    kw("password", Words(Complaint)),
    kw("ca", Words(Complaint)),
    kw("certificate", Words(Complaint)),
    kw("key", Words(Complaint)),
];

/// The longest time that a timer of the checkers holds, in microseconds.
const LONGEST: i64 = i64::MAX;

pub(super) const VIRTUAL_SERVER: &[Keyword] = &[
    kw("ip_family", Words(Fatal)),
    strict("retry", 1, U32),
    seconds("delay_before_retry", 0, LONGEST),
    seconds("warmup", 0, LONGEST),
    seconds("connect_timeout", 1, U32),
    seconds("delay_loop", 1, LONGEST),
    kw("inhibit_on_failure", Nothing),
    kw("lb_algo", Words(Fatal)),
    kw("lvs_sched", Words(Fatal)),
    kw("hashed", Nothing),
    kw("ops", Nothing),
    kw("flag-1", Nothing),
    kw("flag-2", Nothing),
    kw("flag-3", Nothing),
    kw("sh-port", Nothing),
    kw("sh-fallback", Nothing),
    kw("mh-port", Nothing),
    kw("mh-fallback", Nothing),
    kw("lb_kind", Words(Fatal)),
    kw("lvs_method", Words(Fatal)),
    kw("persistence_engine", Words(Fatal)),
    kw("persistence_timeout", Words(Allowed)),
    kw("persistence_granularity", Words(Fatal)),
    kw("protocol", Words(Fatal)),
    kw("ha_suspend", Nothing),
    kw("smtp_alert", Switch),
    kw("virtualhost", Words(Complaint)),
    kw("snmp_name", Words(Complaint)),
    kw("alpha", Nothing),
    kw("omega", Nothing),
    kw("quorum_up", Command(Fatal)),
    kw("quorum_down", Command(Fatal)),
    unsigned("quorum", 1, U32),
    unsigned("hysteresis", 0, U32),
    unsigned("weight", 1, I32),
    kw("sorry_server", Words(Fatal)),
    kw("sorry_server_inhibit", Nothing),
    kw("sorry_server_lvs_method", Words(Complaint)),
    kw("real_server", Block(REAL_SERVER)),
];

const REAL_SERVER: &[Keyword] = &[
    unsigned("weight", 0, I32),
    kw("lvs_method", Words(Fatal)),
    unsigned("uthreshold", 0, U32),
    unsigned("lthreshold", 0, U32),
    kw("inhibit_on_failure", Switch),
    kw("notify_up", Command(Fatal)),
    kw("notify_down", Command(Fatal)),
    kw("alpha", Switch),
    strict("retry", 1, U32),
    seconds("delay_before_retry", 0, LONGEST),
    seconds("warmup", 0, LONGEST),
    seconds("connect_timeout", 1, U32),
    seconds("delay_loop", 1, LONGEST),
    kw("smtp_alert", Switch),
    kw("virtualhost", Words(Complaint)),
    kw("snmp_name", Words(Complaint)),
    kw("MISC_CHECK", Block(MISC_CHECK)),
    kw("SMTP_CHECK", Block(SMTP_CHECK)),
    kw("TCP_CHECK", Block(CONNECTION)),
    kw("PING_CHECK", Block(CONNECTION)),
    kw("UDP_CHECK", Block(UDP_CHECK)),
    kw("HTTP_GET", Block(HTTP_GET)),
    kw("SSL_GET", Block(HTTP_GET)),
    kw("DNS_CHECK", Block(DNS_CHECK)),
    kw("FILE_CHECK", Block(FILE_CHECK)),
    kw("BFD_CHECK", Block(BFD_CHECK)),
];

const CONNECT_IP: Keyword = kw("connect_ip", Words(Fatal));
const CONNECT_PORT: Keyword = unsigned("connect_port", 1, 65535);
const BINDTO: Keyword = kw("bindto", Words(Fatal));
const BIND_PORT: Keyword = unsigned("bind_port", 1, 65535);
const BIND_IF: Keyword = kw("bind_if", Words(Fatal));
const CONNECT_TIMEOUT: Keyword = seconds("connect_timeout", 1, U32);
const FWMARK: Keyword = unsigned("fwmark", 0, U32);
const RETRY: Keyword = unsigned("retry", 0, U32);
const DELAY_BEFORE_RETRY: Keyword = seconds("delay_before_retry", 0, LONGEST);
const WARMUP: Keyword = seconds("warmup", 0, LONGEST);
const DELAY_LOOP: Keyword = seconds("delay_loop", 1, LONGEST);
const ALPHA: Keyword = kw("alpha", Switch);
const LOG_ALL_FAILURES: Keyword = kw("log_all_failures", Switch);

/// The keywords of every check that connects, followed by those of one kind of check.
macro_rules! connecting {
    ($($own:expr),* $(,)?) => {
        &[
            CONNECT_IP,
            CONNECT_PORT,
            BINDTO,
            BIND_PORT,
            BIND_IF,
            CONNECT_TIMEOUT,
            FWMARK,
            RETRY,
            DELAY_BEFORE_RETRY,
            WARMUP,
            DELAY_LOOP,
            ALPHA,
            LOG_ALL_FAILURES,
            $($own),*
        ]
    };
}

const CONNECTION: &[Keyword] = connecting![];

const MISC_CHECK: &[Keyword] = &[
    RETRY,
    DELAY_BEFORE_RETRY,
    WARMUP,
    DELAY_LOOP,
    ALPHA,
    LOG_ALL_FAILURES,
    kw("misc_path", Command(Allowed)),
    unsigned("misc_timeout", 0, TIMER),
    kw("misc_dynamic", Nothing),
    kw("user", Words(Complaint)),
];

const SMTP_CHECK: &[Keyword] = connecting![
    kw("helo_name", Words(Complaint)),
    kw("host", Block(CONNECTION)),
];

const UDP_CHECK: &[Keyword] = connecting![
    kw("payload", Words(Complaint)),
    kw("require_reply", Words(Allowed)),
    strict("min_reply_length", 0, 65535),
    strict("max_reply_length", 0, 65535),
];

const DNS_CHECK: &[Keyword] = connecting![kw("type", Words(Fatal)), kw("name", Words(Fatal)),];

const HTTP_GET: &[Keyword] = connecting![
    unsigned("nb_get_retry", 0, U32),
    kw("virtualhost", Words(Complaint)),
    kw("http_protocol", Words(Complaint)),
    kw("enable_sni", Switch),
    kw("fast_recovery", Switch),
    kw("sni_name", Words(Complaint)).recent(),
    kw("url", Block(URL)),
];

const URL: &[Keyword] = &[
    kw("path", Words(Fatal)),
    kw("digest", Words(Fatal)),
    kw("status_code", Words(Allowed)),
    kw("virtualhost", Words(Complaint)),
    kw("regex", Words(Allowed)),
    kw("regex_no_match", Nothing),
    kw("regex_options", Words(Allowed)),
    kw("regex_min_offset", Words(Allowed)),
    kw("regex_max_offset", Words(Allowed)),
    kw("regex_stack", Words(Allowed)),
    kw("tls_compliant", Nothing).recent(),
];

const FILE_CHECK: &[Keyword] = &[kw("track_file", Words(Fatal)), asked("weight", -254, 254)];

const BFD_CHECK: &[Keyword] = &[kw("name", Words(Fatal)), ALPHA];
