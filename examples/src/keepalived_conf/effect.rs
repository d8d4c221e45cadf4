//! How each keyword is treated: obeyed, accepted without effect, or not supported.

use std::{
    collections::{BTreeSet, HashMap},
    fmt::Write as _,
    sync::LazyLock,
};

use super::grammar::{Keyword, ROOTS, Takes};

/// How a keyword is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// It has the effect that it has in keepalived.
    Obeyed,
    /// It has no effect, and needs none here, for this reason.
    Without(&'static str),
    /// It has no effect here, which some users may miss.
    Refused(&'static str),
}

const SCHEDULING: &str =
    "the service manager schedules processes, for example CPUSchedulingPolicy= of systemd";
const ONE_PROCESS: &str = "one process serves everything, so there are no others to name";
const NO_FIREWALL: &str = "no firewall rules are made";
const BUFFERS: &str =
    "buffers are large enough from the start, and lost notifications cause a new dump";
const SNMP: &str = "there is no SNMP agent: use the JSON data of SIGRTMIN+2";
const DBUS: &str = "there is no D-Bus service";
const BFD: &str = "there is no BFD engine";
const MARKS: &str = "each service of a group has its own entry in the table";

/// The keywords without effect, by block and word. `*` stands for every word.
const WITHOUT: &[(&str, &str, &str)] = &[
    (
        "global_defs",
        "no_checker_emails",
        "mails are about servers that come and go, and not about single checks",
    ),
    (
        "global_defs",
        "checker_log_all_failures",
        "each failure is in the log",
    ),
    ("url", "regex_stack", "expressions run in bounded memory"),
    (
        "url",
        "tls_compliant",
        "each connection ends with close_notify",
    ),
    (
        "SSL",
        "ca",
        "checks verify no certificate, as with keepalived",
    ),
    ("", "namespace_with_ipsets", NO_FIREWALL),
    ("", "child_wait_time", ONE_PROCESS),
    ("", "linkbeat_use_polling", "the kernel reports carriers"),
    ("", "linkbeat_interfaces", "the kernel reports carriers"),
    (
        "vrrp_instance",
        "linkbeat_use_polling",
        "the kernel reports carriers",
    ),
    ("global_defs", "process_names", ONE_PROCESS),
    ("global_defs", "process_name", ONE_PROCESS),
    ("global_defs", "vrrp_process_name", ONE_PROCESS),
    ("global_defs", "checker_process_name", ONE_PROCESS),
    ("global_defs", "lvs_process_name", ONE_PROCESS),
    ("global_defs", "bfd_process_name", ONE_PROCESS),
    ("global_defs", "max_auto_priority", SCHEDULING),
    ("global_defs", "min_auto_priority_delay", SCHEDULING),
    ("global_defs", "vrrp_priority", SCHEDULING),
    ("global_defs", "vrrp_no_swap", SCHEDULING),
    ("global_defs", "vrrp_rt_priority", SCHEDULING),
    ("global_defs", "vrrp_cpu_affinity", SCHEDULING),
    ("global_defs", "vrrp_rlimit_rttime", SCHEDULING),
    ("global_defs", "vrrp_rlimit_rtime", SCHEDULING),
    ("global_defs", "checker_priority", SCHEDULING),
    ("global_defs", "checker_no_swap", SCHEDULING),
    ("global_defs", "checker_rt_priority", SCHEDULING),
    ("global_defs", "checker_cpu_affinity", SCHEDULING),
    ("global_defs", "checker_rlimit_rttime", SCHEDULING),
    ("global_defs", "checker_rlimit_rtime", SCHEDULING),
    ("global_defs", "bfd_priority", SCHEDULING),
    ("global_defs", "bfd_no_swap", SCHEDULING),
    ("global_defs", "bfd_rt_priority", SCHEDULING),
    ("global_defs", "bfd_cpu_affinity", SCHEDULING),
    ("global_defs", "bfd_rlimit_rttime", SCHEDULING),
    ("global_defs", "bfd_rlimit_rtime", SCHEDULING),
    (
        "global_defs",
        "disable_local_igmp",
        "the groups are joined on the parent interface, so nothing leaves with the virtual MAC",
    ),
    ("global_defs", "vrrp_iptables", NO_FIREWALL),
    ("global_defs", "nftables", NO_FIREWALL),
    ("global_defs", "nftables_priority", NO_FIREWALL),
    ("global_defs", "nftables_ifindex", NO_FIREWALL),
    ("global_defs", "nftables_counters", NO_FIREWALL),
    ("global_defs", "vrrp_netlink_cmd_rcv_bufs", BUFFERS),
    ("global_defs", "vrrp_netlink_cmd_rcv_bufs_force", BUFFERS),
    ("global_defs", "vrrp_netlink_monitor_rcv_bufs", BUFFERS),
    (
        "global_defs",
        "vrrp_netlink_monitor_rcv_bufs_force",
        BUFFERS,
    ),
    ("global_defs", "lvs_netlink_cmd_rcv_bufs", BUFFERS),
    ("global_defs", "lvs_netlink_cmd_rcv_bufs_force", BUFFERS),
    ("global_defs", "lvs_netlink_monitor_rcv_bufs", BUFFERS),
    ("global_defs", "lvs_netlink_monitor_rcv_bufs_force", BUFFERS),
    (
        "global_defs",
        "process_monitor_rcv_bufs",
        "processes are counted from /proc",
    ),
    (
        "global_defs",
        "process_monitor_rcv_bufs_force",
        "processes are counted from /proc",
    ),
    ("global_defs", "vrrp_rx_bufs_policy", BUFFERS),
    ("global_defs", "vrrp_rx_bufs_multiplier", BUFFERS),
    (
        "global_defs",
        "random_seed",
        "nothing here depends on chance",
    ),
    (
        "global_defs",
        "reload_check_config",
        "a reload always checks the files, and refuses them whole where they are wrong",
    ),
    (
        "global_defs",
        "tmp_config_directory",
        "no temporary copies of the files are made",
    ),
    (
        "global_defs",
        "iproute_etc_dir",
        "the names of routing tables are read where iproute2 has them",
    ),
    (
        "global_defs",
        "iproute_usr_dir",
        "the names of routing tables are read where iproute2 has them",
    ),
    (
        "global_defs",
        "use_symlink_paths",
        "scripts are found by their real path, as security asks for",
    ),
    ("vrrp_instance", "kernel_rx_buf_size", BUFFERS),
    (
        "vrrp_instance",
        "debug",
        "the log level is that of the command line",
    ),
    (
        "vrrp_instance",
        "vrf",
        "the VRF is that of the interface with the address of unicast_src_ip",
    ),
    (
        "vrrp_instance",
        "native_ipv6",
        "the addresses decide on the family",
    ),
    (
        "vrrp_instance",
        "old_unicast_checksum",
        "both checksum forms are accepted, and unicast has the form of RFC 5798",
    ),
    (
        "vrrp_instance",
        "skip_check_adv_addr",
        "an address list that differs is reported and never refused",
    ),
    (
        "vrrp_instance",
        "promote_secondaries",
        "the setting is on during each removal of an address",
    ),
    (
        "vrrp_instance",
        "check_unicast_src",
        "only configured peers are ever heard",
    ),
    (
        "vrrp_instance",
        "thread_timer_expired",
        "a late Active advertises and announces again",
    ),
    (
        "global_defs",
        "vrrp_check_unicast_src",
        "only configured peers are ever heard",
    ),
    (
        "global_defs",
        "vrrp_skip_check_adv_addr",
        "an address list that differs is reported and never refused",
    ),
];

/// The keywords that are not supported, by block and word. `*` stands for every word.
const REFUSED: &[(&str, &str, &str)] = &[
    ("", "bfd_instance", BFD),
    ("bfd_instance", "*", BFD),
    ("virtual_server", "snmp_name", SNMP),
    ("real_server", "snmp_name", SNMP),
    ("real_server", "BFD_CHECK", BFD),
    ("BFD_CHECK", "*", BFD),
    ("vrrp_sync_group", "track_bfd", BFD),
    ("vrrp_instance", "track_bfd", BFD),
    (
        "global_defs",
        "set_supplementary_groups",
        "scripts run with the group of their user alone",
    ),
    ("global_defs", "nftables_ipvs", MARKS),
    ("global_defs", "nftables_ipvs_priority", MARKS),
    ("global_defs", "nftables_ipvs_start_fwmark", MARKS),
    ("global_defs", "snmp_socket", SNMP),
    ("global_defs", "enable_traps", SNMP),
    ("global_defs", "enable_snmp_vrrp", SNMP),
    ("global_defs", "enable_snmp_keepalived", SNMP),
    ("global_defs", "enable_snmp_rfc", SNMP),
    ("global_defs", "enable_snmp_rfcv2", SNMP),
    ("global_defs", "enable_snmp_rfcv3", SNMP),
    ("global_defs", "enable_snmp_checker", SNMP),
    ("global_defs", "snmp_rs_stats_update_interval", SNMP),
    ("global_defs", "snmp_vs_stats_update_interval", SNMP),
    ("global_defs", "enable_dbus", DBUS),
    ("global_defs", "dbus_service_name", DBUS),
    ("global_defs", "dbus_no_interface_name", DBUS),
];

/// The keywords of a block that are not obeyed. `*` stands for every word.
#[derive(Clone, Copy, Debug)]
pub(super) struct Effects(&'static [(&'static str, Effect)]);

impl Effects {
    /// How a keyword of the block is treated.
    pub(super) fn of(self, word: &str) -> Effect {
        let mut all = self.0.iter();
        all.find(|(its, _)| *its == word || *its == "*")
            .map_or(Effect::Obeyed, |(_, effect)| *effect)
    }
}

/// How the keywords of a block are treated; the block outside all others has no name.
pub(super) fn of_block(block: &str) -> Effects {
    static ALL: LazyLock<HashMap<&str, Vec<(&str, Effect)>>> = LazyLock::new(|| {
        let refused = REFUSED.iter();
        let refused = refused.map(|(block, word, why)| (*block, *word, Effect::Refused(why)));
        let without = WITHOUT.iter();
        let without = without.map(|(block, word, why)| (*block, *word, Effect::Without(why)));
        let mut all: HashMap<&str, Vec<(&str, Effect)>> = HashMap::new();
        for (block, word, effect) in refused.chain(without) {
            all.entry(block).or_default().push((word, effect));
        }
        all
    });
    Effects(ALL.get(block).map_or(&[], Vec::as_slice))
}

/// Every keyword and how it is treated, as a table in Markdown.
#[must_use]
pub fn keyword_table() -> String {
    let mut text = String::from("| block | keyword | |\n|---|---|---|\n");
    let roots = ROOTS.iter().map(|root| &root.keyword);
    rows("", "", roots.clone(), &mut text);
    for root in roots {
        block(root, root.word, &mut text);
    }
    text
}

/// The words of a block and of the blocks inside it. Checks that connect are the same in all
/// servers.
fn block(keyword: &'static Keyword, path: &str, text: &mut String) {
    let Takes::Block(words) = keyword.takes else {
        return;
    };
    rows(keyword.word, path, words.iter(), text);
    for inner in words {
        block(inner, &format!("{path} {}", inner.word), text);
    }
}

fn rows(name: &str, path: &str, words: impl Iterator<Item = &'static Keyword>, text: &mut String) {
    let mut seen = BTreeSet::new();
    // A keyword with another value in another version has an entry for each.
    for keyword in words.filter(|it| seen.insert(it.word)) {
        let outer = path.split(' ').next().unwrap_or_default();
        let effect = match (of_block(name).of(keyword.word), of_block("").of(outer)) {
            (Effect::Obeyed, outer @ Effect::Refused(_)) if !path.is_empty() => outer,
            (effect, _) => effect,
        };
        let effect = match effect {
            Effect::Obeyed => "obeyed".to_owned(),
            Effect::Without(reason) => format!("no effect: {reason}"),
            Effect::Refused(reason) => format!("not supported: {reason}"),
        };
        let _infallible = writeln!(text, "| {path} | `{}` | {effect} |", keyword.word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exists(block: &str, word: &str) -> bool {
        fn find(words: &[&Keyword], block: &str, word: &str) -> bool {
            words.iter().any(|keyword| {
                let Takes::Block(inner) = keyword.takes else {
                    return false;
                };
                let is_here = keyword.word == block
                    && (word == "*" || inner.iter().any(|it| it.word == word));
                is_here || find(&inner.iter().collect::<Vec<_>>(), block, word)
            })
        }
        let roots: Vec<&Keyword> = ROOTS.iter().map(|root| &root.keyword).collect();
        if block.is_empty() {
            return roots.iter().any(|keyword| keyword.word == word);
        }
        find(&roots, block, word)
    }

    #[test]
    fn each_keyword_with_an_effect_of_its_own_is_a_word_of_the_language_and_is_listed_once() {
        let mut seen = BTreeSet::new();
        for (block, word, reason) in WITHOUT.iter().chain(REFUSED) {
            assert!(exists(block, word), "{block} {word}");
            assert!(seen.insert((block, word)), "{block} {word} stands twice");
            assert!(!reason.is_empty());
        }
    }
}
