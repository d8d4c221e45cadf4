//! `global_defs` under the oracle's labels.

use serde_json::{Map, Value, json};

use crate::keepalived_conf::{
    announcing::ExtraPeriod,
    configuration::{Configuration, Global},
    host::{Account, Host},
    reload::ReloadSettings,
};

const TEXTS: [(&str, &str); 11] = [
    ("router_id", "Router ID"),
    ("default_interface", "Default interface"),
    ("vrrp_mcast_group4", "VRRP IPv4 mcast group"),
    ("vrrp_mcast_group6", "VRRP IPv6 mcast group"),
    ("dbus_service_name", "DBus service name"),
    ("vrrp_process_name", "VRRP process name"),
    ("checker_process_name", "LVS process name"),
    ("lvs_process_name", "LVS process name"),
    ("bfd_process_name", "BFD process name"),
    ("snmp_socket", "SNMP socket"),
    ("tmp_config_directory", "config save directory"),
];
const NUMBERS: [(&str, &str); 24] = [
    ("vrrp_version", "VRRP default protocol version"),
    ("vrrp_garp_master_delay", "Gratuitous ARP delay"),
    ("vrrp_garp_master_repeat", "Gratuitous ARP repeat"),
    ("vrrp_garp_master_refresh", "Gratuitous ARP refresh timer"),
    (
        "vrrp_garp_master_refresh_repeat",
        "Gratuitous ARP refresh repeat",
    ),
    (
        "vrrp_garp_lower_prio_delay",
        "Gratuitous ARP lower priority delay",
    ),
    (
        "vrrp_garp_lower_prio_repeat",
        "Gratuitous ARP lower priority repeat",
    ),
    ("max_auto_priority", "Max auto priority"),
    ("vrrp_priority", "VRRP process priority"),
    ("vrrp_rt_priority", "VRRP realtime priority"),
    ("vrrp_rlimit_rttime", "VRRP realtime limit"),
    ("checker_priority", "Checker process priority"),
    ("checker_rt_priority", "Checker realtime priority"),
    ("checker_rlimit_rttime", "Checker realtime limit"),
    ("bfd_priority", "BFD process priority"),
    ("bfd_rt_priority", "BFD realtime priority"),
    ("bfd_rlimit_rttime", "BFD realtime limit"),
    ("vrrp_netlink_cmd_rcv_bufs", "vrrp_netlink_cmd_rcv_bufs"),
    (
        "vrrp_netlink_monitor_rcv_bufs",
        "vrrp_netlink_monitor_rcv_bufs",
    ),
    ("lvs_netlink_cmd_rcv_bufs", "lvs_netlink_cmd_rcv_bufs"),
    (
        "lvs_netlink_monitor_rcv_bufs",
        "lvs_netlink_monitor_rcv_bufs",
    ),
    ("process_monitor_rcv_bufs", "process_monitor_rcv_bufs"),
    ("vrrp_down_timer_adverts", "Num adverts before down"),
    ("vrrp_rx_bufs_multiplier", "rx_bufs_multiples"),
];
const PRESENT: [(&str, &str); 11] = [
    ("enable_script_security", "Script security enabled"),
    ("enable_traps", "SNMP traps enabled"),
    ("enable_snmp_vrrp", "SNMP vrrp enabled"),
    ("enable_snmp_keepalived", "SNMP vrrp enabled"),
    ("enable_snmp_rfc", "SNMP RFCv2 enabled"),
    ("enable_snmp_rfc", "SNMP RFCv3 enabled"),
    ("enable_snmp_rfcv2", "SNMP RFCv2 enabled"),
    ("enable_snmp_rfcv3", "SNMP RFCv3 enabled"),
    ("enable_snmp_checker", "SNMP checker enabled"),
    ("enable_dbus", "DBus enabled"),
    (
        "reload_check_config",
        "Test config before reload, log to /dev/null",
    ),
];
const TRUE: [(&str, &str); 8] = [
    ("lvs_flush", "LVS flush"),
    (
        "fifo_write_vrrp_states_on_reload",
        "FIFO write vrrp states on reload",
    ),
    ("vrrp_check_unicast_src", "VRRP check unicast_src"),
    (
        "vrrp_skip_check_adv_addr",
        "VRRP skip check advert addresses",
    ),
    ("vrrp_strict", "VRRP strict mode"),
    ("vrrp_no_swap", "VRRP don't swap"),
    ("checker_no_swap", "Checker don't swap"),
    ("bfd_no_swap", "BFD don't swap"),
];

/// The labels with their values.
#[derive(Default)]
struct Shown(Map<String, Value>);

impl Shown {
    fn put(&mut self, label: &str, value: Value) {
        self.0.insert(label.to_owned(), value);
    }
}

/// Shows `global_defs`.
pub(super) fn global(it: &Global, configuration: &Configuration, host: &Host) -> Value {
    let mut shown = Shown::default();
    given(it, &mut shown);
    switches(it, &mut shown);
    times(it, &mut shown);
    processes(it, &mut shown);
    if let Some(name) = &configuration.net_namespace_ipvs {
        let name = if name.is_empty() { "(default)" } else { name };
        shown.put("Network namespace ipvs", json!(name));
    }
    reloads(&ReloadSettings::of(configuration), &mut shown);
    mails(it, host, &mut shown);
    for (prefix, label) in [
        ("", "Global notify fifo"),
        ("vrrp_", "VRRP notify fifo"),
        ("lvs_", "LVS notify fifo"),
    ] {
        fifo(it, prefix, label, host, &mut shown);
    }
    if it.has("lvs_flush_on_stop") {
        let extent = it.text("lvs_flush_on_stop").unwrap_or("full");
        shown.put("LVS flush on stop", json!(extent));
    }
    if let Some(policy) = it.text("vrrp_rx_bufs_policy") {
        let is_size = policy.starts_with(|c: char| c.is_ascii_digit());
        let label = if is_size {
            "rx_bufs_size"
        } else {
            "rx_bufs_policy"
        };
        shown.put(label, json!(policy));
    }
    if it.has("disable_local_igmp") {
        shown.put("Disable local IGMP", json!("yes"));
    }
    nftables(it, configuration, &mut shown);
    timeouts(it, &mut shown);
    Value::Object(shown.0)
}

fn truth(is_on: bool) -> Value {
    json!(is_on.to_string())
}

/// Keywords that are shown as they were given.
fn given(it: &Global, shown: &mut Shown) {
    for (word, label) in TEXTS {
        if let Some(text) = it.text(word) {
            shown.put(label, json!(text));
        }
    }
    if let Some(mask) = it.umask {
        shown.put("umask", json!(format!("0{mask:o}")));
    }
    for (word, label) in NUMBERS {
        if let Some(number) = it.numbers.get(word) {
            shown.put(label, json!(number.to_string()));
        }
    }
    if it.has("max_auto_priority") && !it.numbers.contains_key("max_auto_priority") {
        shown.put("Max auto priority", json!("99"));
    }
    for (word, source, label) in [
        (
            "vrrp_garp_lower_prio_delay",
            "vrrp_garp_master_delay",
            "Gratuitous ARP lower priority delay",
        ),
        (
            "vrrp_garp_lower_prio_repeat",
            "vrrp_garp_master_repeat",
            "Gratuitous ARP lower priority repeat",
        ),
    ] {
        // By default they are the numbers for a takeover.
        if let (None, Some(number)) = (it.numbers.get(word), it.numbers.get(source)) {
            shown.put(label, json!(number.to_string()));
        }
    }
    for (word, label) in PRESENT {
        if it.has(word) {
            shown.put(label, json!(true));
        }
    }
    for (word, label) in TRUE {
        if it.has(word) {
            shown.put(label, json!("true"));
        }
    }
}

/// Keywords that are on or off.
fn switches(it: &Global, shown: &mut Shown) {
    let on_off = |is_on: bool| json!(if is_on { "on" } else { "off" });
    for (word, label) in [
        ("smtp_alert", "Default smtp_alert"),
        ("smtp_alert_vrrp", "Default smtp_alert_vrrp"),
        ("smtp_alert_checker", "Default smtp_alert_checker"),
    ] {
        if let Some(is_on) = it.switches.get(word) {
            shown.put(label, on_off(*is_on));
        }
    }
    if it.has("no_email_faults") {
        shown.put("Send emails for fault transitions", json!("off"));
    }
    if it.switches.get("data_use_instance") == Some(&true) {
        shown.put("Use instance name in data dumps", json!(true));
    }
    if let Some(silent) = it.switches.get("vrrp_lower_prio_no_advert") {
        shown.put(
            "Send advert after receive lower priority advert",
            truth(!*silent),
        );
    }
    if let Some(sends) = it.switches.get("vrrp_higher_prio_send_advert") {
        shown.put(
            "Send advert after receive higher priority advert",
            truth(*sends),
        );
    }
    if let Some(logs) = it.switches.get("checker_log_all_failures") {
        shown.put("Checkers log all failures", truth(*logs));
    }
    if let Some(notifies) = it.switches.get("vrrp_notify_priority_changes") {
        shown.put("VRRP notify priority changes", truth(*notifies));
    }
    for (word, label) in [
        (
            "vrrp_netlink_cmd_rcv_bufs_force",
            "vrrp_netlink_cmd_rcv_bufs_force",
        ),
        (
            "vrrp_netlink_monitor_rcv_bufs_force",
            "vrrp_netlink_monitor_rcv_bufs_force",
        ),
        ("rs_init_notifies", "rs_init_notifies"),
        ("no_checker_emails", "no_checker_emails"),
    ] {
        if let Some(is_on) = it.switches.get(word) {
            shown.put(label, json!(u8::from(*is_on).to_string()));
        }
    }
}

/// Times.
fn times(it: &Global, shown: &mut Shown) {
    for (word, label) in [
        ("vrrp_garp_interval", "Gratuitous ARP interval"),
        ("vrrp_gna_interval", "Gratuitous NA interval"),
    ] {
        if let Some(time) = it.numbers.get(word) {
            shown.put(
                label,
                json!(format!("{}.{:06}", time / 1_000_000, time % 1_000_000)),
            );
        }
    }
    if let Some(words) = it.words.get("vrrp_garp_extra_if")
        && let Some((is_all, seconds)) = ExtraPeriod::of_global("", words).value
    {
        let place = if is_all { "i/f" } else { "VMAC" };
        let label = format!("Gratuitous ARP for each secondary {place}");
        shown.put(&label, json!(format!("{seconds}s")));
    }
    if let Some(time) = it.numbers.get("vrrp_startup_delay") {
        shown.put("vrrp_startup_delay", json!(plain_seconds(*time)));
    }
    if let Some(time) = it.numbers.get("min_auto_priority_delay") {
        shown.put("Min auto priority delay", json!(format!("{time} usecs")));
    }
}

/// Accounts, names and priorities of processes.
fn processes(it: &Global, shown: &mut Shown) {
    if it.has("vrrp_rt_priority") && !it.has("vrrp_rlimit_rttime") {
        shown.put("current realtime time limit", json!("10000"));
    }
    if it.has("script_user")
        && let Some(account) = it.script_account
        && (account.uid, account.gid) != (0, 0)
    {
        let label = format!("Default script uid:gid {}:{}", account.uid, account.gid);
        shown.put(&label, json!(true));
    }
    if it.has("process_names") {
        shown.put("VRRP process name", json!("keepalived_vrrp"));
        shown.put("LVS process name", json!("keepalived_lvs"));
        shown.put("BFD process name", json!("keepalived_bfd"));
    }
    if it.has("dynamic_interfaces") {
        shown.put("Dynamic interfaces", json!("true"));
        let allows = it.text("dynamic_interfaces") == Some("allow_if_changes");
        shown.put("Allow interface changes", truth(allows));
    }
    for (word, labels) in [
        ("vrrp_rt_priority", "current realtime priority"),
        ("vrrp_rlimit_rttime", "current realtime time limit"),
    ] {
        if let Some(number) = it.numbers.get(word)
            && it.has("vrrp_rt_priority")
        {
            shown.put(labels, json!(number.to_string()));
        }
    }
}

/// Reloads.
fn reloads(settings: &ReloadSettings, shown: &mut Shown) {
    if let Some(folder) = &settings.save_folder {
        shown.put("Config save dir", json!(folder.display().to_string()));
    }
    if let Some(file) = &settings.file {
        shown.put("Reload_file", json!(file.display().to_string()));
    }
    if let Some(file) = &settings.time_file {
        let repeat = if file.is_kept { " (repeat)" } else { "" };
        let path = file.path.display();
        shown.put("Reload time file", json!(format!("{path}{repeat}")));
        shown.put("No reload scheduled", json!(true));
    }
}

/// Mails.
fn mails(it: &Global, host: &Host, shown: &mut Shown) {
    if let Some((address, port)) = it.smtp_server {
        shown.put("Smtp server", json!(address.to_string()));
        shown.put("Smtp server port", json!(port.to_string()));
        let timeout = it.numbers.get("smtp_connect_timeout").unwrap_or(&30);
        shown.put("Smtp server connection timeout", json!(timeout.to_string()));
    }
    let from = it.text("notification_email_from");
    if from.is_some() || it.smtp_server.is_some() {
        let user = nix::unistd::User::from_uid(nix::unistd::getuid());
        let user = user.ok().flatten().map_or("root".into(), |user| user.name);
        let from = from.map_or_else(|| format!("{user}@{}", host.name), str::to_owned);
        shown.put("Email notification from", json!(from));
        let recipients = &it.email_recipients;
        shown.put(
            "Email notification to:",
            if recipients.is_empty() {
                json!(true)
            } else {
                json!(recipients)
            },
        );
    }
}

/// A FIFO, of all parts or of one, with its script.
fn fifo(it: &Global, prefix: &str, label: &str, host: &Host, shown: &mut Shown) {
    let keyword = format!("{prefix}notify_fifo");
    let Some(fifo) = it.text(&keyword) else {
        return;
    };
    let owner = |account: Account| format!("uid:gid {}:{}", account.uid, account.gid);
    let text = format!("{fifo}, {}", owner(it.fifo_account(&keyword)));
    shown.put(label, json!(text));
    let Some(script) = it.scripts.get(format!("{keyword}_script").as_str()) else {
        return;
    };
    let mut words = script.arguments.clone();
    if let Some(program) = words.first_mut()
        && let Some(path) = host.program(program)
    {
        *program = path.display().to_string();
    }
    words.push(fifo.to_owned());
    let words: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    let text = format!("{}, {}", words.join(" "), owner(script.account));
    shown.put(&format!("{label} script"), json!(text));
}

/// The table of nftables, where keepalived makes one.
fn nftables(it: &Global, configuration: &Configuration, shown: &mut Shown) {
    let uses_nftables = it.has("nftables")
        || it.has("vrrp_iptables")
        || configuration
            .instances
            .iter()
            .any(|instance| instance.vmac.is_some() || !instance.accept);
    if uses_nftables {
        let table = it.text("nftables").unwrap_or("keepalived");
        let priority = it.numbers.get("nftables_priority").unwrap_or(&-1);
        shown.put("nftables table name", json!(table));
        shown.put("nftables base chain priority", json!(priority.to_string()));
        shown.put(
            "nftables don't force use ifindex for link local IPv6",
            json!(true),
        );
    }
}

/// Timeouts of IPVS. keepalived names that of UDP like that of TCP.
fn timeouts(it: &Global, shown: &mut Shown) {
    for (place, label) in ["LVS TCP timeout", "LVS TCP FIN timeout", "LVS TCP timeout"]
        .into_iter()
        .enumerate()
    {
        if let Some(Some(timeout)) = it.lvs_timeouts.get(place) {
            shown.put(label, json!(timeout.to_string()));
        }
    }
}

fn plain_seconds(microseconds: i64) -> String {
    let text = format!(
        "{}.{:06}",
        microseconds / 1_000_000,
        microseconds % 1_000_000
    );
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
