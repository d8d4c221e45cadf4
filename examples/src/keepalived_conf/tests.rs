//! The reading of `global_defs`, scripts, includes and BFD instances, as keepalived 2.2.7 has it.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::Path;

use super::{
    Reading,
    complaint::{Kind, Weight},
    host::{Host, Interface},
    interpret,
    source::{Environment, Lines},
};

/// An instance, with further lines.
fn instance(further: &str) -> String {
    format!(
        "vrrp_instance V {{\ninterface eth0\nvirtual_router_id 51\n{further}\nvirtual_ipaddress {{\n\
         10.0.0.100/24\n}}\n}}\n"
    )
}

/// Reads a text as a configuration on a host.
pub(crate) fn read_on(host: &Host, text: &str) -> Reading {
    let environment = Environment::default();
    let lines = Lines::of_text(Path::new("x.conf"), text.into(), &environment);
    interpret(lines, host)
}

fn read(text: &str) -> Reading {
    read_at(Path::new("x.conf"), text)
}

fn read_at(path: &Path, text: &str) -> Reading {
    let environment = Environment {
        like: super::Like::Debian12,
        ..Environment::default()
    };
    let host = Host {
        path: vec!["/usr/bin".into(), "/bin".into()],
        ..with_eth0()
    };
    interpret(Lines::of_text(path, text.into(), &environment), &host)
}

/// A host with the interface eth0.
pub(crate) fn with_eth0() -> Host {
    let eth0 = Interface {
        addresses: vec!["10.0.0.11".parse().unwrap()],
        ..Interface::default()
    };
    let mut host = Host::default();
    host.interfaces.insert("eth0".into(), eth0);
    host
}

/// The exit status, and the complaints with their lines; 0 stands for no line.
fn faults(text: &str) -> (u8, Vec<(Kind, usize)>) {
    faults_of(&read(text))
}

fn faults_of(reading: &Reading) -> (u8, Vec<(Kind, usize)>) {
    let complaints = reading.complaints.iter();
    let shown = complaints
        .filter(|it| it.weight > Weight::Advice)
        .map(|it| (it.kind, it.place.map_or(0, |place| place.line)));
    (reading.exit_status(), shown.collect())
}

/// Asserts that there is no complaint.
fn assert_silent(text: &str) {
    assert_eq!(faults(text), (0, vec![]), "{text}");
}

const SECURE: &str = "global_defs {\nenable_script_security\n}\n";

#[test]
fn without_a_default_user_the_first_script_alone_has_a_complaint() {
    let two = instance("notify_master /bin/true\nnotify_backup /bin/true");
    let text = format!("{SECURE}{two}");
    assert_eq!(faults(&text), (5, vec![(Kind::NoScriptUser, 7)]));
    assert!(
        read(&text).configuration.instances[0]
            .notification
            .commands
            .is_empty()
    );
    // It counts which line comes first, and not which keyword.
    let turned = instance("notify /bin/true\nnotify_backup /bin/true");
    let text = format!("{SECURE}{turned}");
    assert_eq!(faults(&text), (5, vec![(Kind::NoScriptUser, 7)]));
    let of_root = instance("notify_master /bin/true root\nnotify_backup /bin/true");
    let text = format!("{SECURE}{of_root}");
    assert_eq!(faults(&text), (5, vec![(Kind::NoScriptUser, 8)]));
    assert_silent(&format!("{SECURE}{}", instance("notify /bin/true root")));
}

#[test]
fn the_complaint_about_the_default_user_comes_once_for_all_parts_of_the_daemon() {
    let server = "virtual_server 10.0.0.1 80 {\nprotocol TCP\nlb_algo rr\nlb_kind NAT\n\
                  quorum_down /bin/true\nquorum_up /bin/true\nreal_server 10.0.0.2 80 {\nweight 1\n}\n}\n";
    let text = format!("{SECURE}{server}{}", instance("notify /bin/true"));
    assert_eq!(faults(&text), (5, vec![(Kind::NoScriptUser, 8)]));
    let startup = "global_defs {\nenable_script_security\nstartup_script /bin/true\n\
                   shutdown_script /bin/true\n}\n";
    let (status, complaints) = faults(&format!("{startup}{}", instance("notify /bin/true")));
    assert_eq!(status, 5);
    let expected = [(Kind::Other, 3), (Kind::Other, 4), (Kind::NoScriptUser, 3)];
    assert_eq!(complaints, expected);
    let check = "virtual_server 10.0.0.1 80 {\nprotocol TCP\nlb_algo rr\nlb_kind NAT\n\
                 real_server 10.0.0.2 80 {\nMISC_CHECK {\nmisc_path /bin/true\n}\n}\n}\n";
    let (status, complaints) = faults(&format!("{SECURE}{check}"));
    assert_eq!(status, 5);
    assert!(complaints.iter().all(|it| *it == (Kind::NoScriptUser, 11)));
}

#[test]
fn a_script_before_enable_script_security_makes_root_the_default_user() {
    let text = "global_defs {\nvrrp_notify_fifo_script /bin/true\nenable_script_security\n}\n";
    let text = format!("{text}{}", instance("notify /bin/true"));
    assert_silent(&text);
    let commands = &read(&text).configuration.instances[0].notification.commands;
    assert_eq!(commands["generic"].account.uid, 0);
}

#[test]
fn an_unknown_script_user_has_a_complaint_and_the_default_user_none() {
    let text = "global_defs {\nenable_script_security\nscript_user no-such-user\n}\n";
    let text = format!("{text}{}", instance("notify /bin/true"));
    assert_eq!(faults(&text), (5, vec![(Kind::ScriptUserUnknown, 3)]));
}

#[test]
fn old_spellings_of_global_keywords_are_silent() {
    let text = "global_defs {\nlvs_flush_onstop VS\nvrrp_rlimit_rtime 20000\n\
                checker_rlimit_rtime 3\nbfd_rlimit_rtime 4\n}\n";
    assert_silent(text);
    let global = read(text).configuration.global;
    assert_eq!(global.text("lvs_flush_on_stop"), Some("VS"));
    assert_eq!(global.numbers["vrrp_rlimit_rttime"], 20_000);
    let wrong = "global_defs {\nlvs_flush_onstop x\nchecker_rlimit_rtime 0\n}\n";
    let expected = vec![(Kind::NumberOutOfRange, 3), (Kind::UnknownValue, 2)];
    assert_eq!(faults(wrong), (5, expected));
    assert_eq!(faults("global_defs {\nbfd_rlimit_rtime\n}\n").0, 2);
}

#[test]
fn a_umask_is_a_number_as_in_c_or_names_of_permissions() {
    let mask = |value: &str| {
        let text = format!("global_defs {{\numask 01\numask {value}\n}}\n");
        let reading = read(&text);
        (faults_of(&reading), reading.configuration.global.umask)
    };
    for (value, bits) in [
        ("022", 0o22),
        ("18", 0o22),
        ("0x12", 0o22),
        ("0X1ff", 0o777),
        ("0", 0),
        ("IWGRP | IWOTH", 0o22),
        ("IXUSR|IWGRP|IXGRP|IWOTH|IXOTH", 0o133),
        ("IXUSR | IWOTH|IXOTH| IWGRP |IWOTH", 0o123),
        (
            "IRUSR | IWUSR | IXUSR | IRGRP | IWGRP | IXGRP | IROTH | IWOTH | IXOTH",
            0o777,
        ),
    ] {
        assert_eq!(mask(value), ((0, vec![]), Some(bits)), "{value}");
    }
    // An unusable value leaves the mask as it was.
    for value in [
        "0999",
        "1000",
        "01000",
        "022x",
        "+022",
        "-1",
        "022 | IWOTH",
        "022 x",
        "IWGRP IWOTH",
        "IWGRP |",
        "IWGRP|",
        "|IWOTH",
        "IWGRP||IWOTH",
        "022|IWOTH",
        "| IWOTH",
        "IWGRP || IWOTH",
        "IWGRP | 020",
        "S_IWGRP",
        "IRWXG",
        "iwgrp",
        "\"IWGRP | IWOTH\"",
    ] {
        let expected = (5, vec![(Kind::ValueInvalid, 3)]);
        assert_eq!(mask(value), (expected, Some(1)), "{value}");
    }
}

#[test]
fn timeouts_of_ipvs_go_up_to_31_days() {
    assert_silent("global_defs {\nlvs_timeouts tcp 2678400 tcpfin 2147484 udp 0\n}\n");
    let longer = faults("global_defs {\nlvs_timeouts tcp 2678401 udp 5\n}\n");
    assert_eq!(longer, (5, vec![(Kind::ValueInvalid, 2)]));
}

#[test]
fn of_several_nftables_the_first_counts() {
    let again = |text: &str| faults(&format!("global_defs {{\n{text}\n}}\n")).1;
    assert_eq!(again("nftables\nnftables"), [(Kind::Duplicate, 3)]);
    assert_eq!(
        again("nftables_ipvs a\nnftables_ipvs b"),
        [(Kind::Duplicate, 3)]
    );
    assert_eq!(again("nftables\nvrrp_iptables"), [(Kind::Deprecated, 3)]);
    let expected = [(Kind::Deprecated, 2), (Kind::Duplicate, 3)];
    assert_eq!(again("vrrp_iptables\nnftables"), expected);
}

/// The complaint about a missing include, if there is one.
fn missing_include(statement: &str) -> (u8, Vec<(Kind, usize)>) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("d/e")).unwrap();
    faults_of(&read_at(
        &folder.path().join("x.conf"),
        &format!("{statement}\n"),
    ))
}

#[test]
fn an_include_whose_wildcards_match_nothing_is_silent_and_a_missing_folder_is_not() {
    for pattern in [
        "zzq*.conf",
        "./zzq*.conf",
        "zzq*/a.conf",
        "zzq*/x/*.conf",
        "d/q*/x.conf",
        "d/q*/x/y*.conf",
        "{zzp*,zzq*}.conf",
        "z[z]q/../*.conf",
    ] {
        for keyword in ["include", "includer", "includem", "includeb"] {
            let statement = format!("{keyword} {pattern}");
            assert_eq!(missing_include(&statement), (0, vec![]), "{statement}");
        }
        let strict = missing_include(&format!("includew {pattern}"));
        assert_eq!(strict, (6, vec![(Kind::Strict, 1)]), "{pattern}");
    }
    for pattern in [
        "zzq/*.conf",
        "/zzq/*/a.conf",
        "d/*/x.conf",
        "zzq/*/x/y*.conf",
        "zzq.d/[ab].conf",
    ] {
        let expected = (0, vec![(Kind::ConfigFiles, 1)]);
        assert_eq!(
            missing_include(&format!("include {pattern}")),
            expected,
            "{pattern}"
        );
        let strict = missing_include(&format!("includem {pattern}"));
        assert_eq!(strict, (6, vec![(Kind::Strict, 1)]), "{pattern}");
    }
}

#[test]
fn an_include_also_matches_in_the_folder_of_a_path_without_a_slash() {
    // The folder of "x.conf" is the current one, in which no file has this name.
    assert_silent("include no-such-file*.conf\n");
}

#[test]
fn with_a_network_namespace_that_does_not_exist_only_the_globals_are_checked() {
    let text = format!(
        "net_namespace no-such-namespace\nglobal_defs {{\nfoo\n}}\n{}",
        instance("bar")
    );
    let reading = read(&text);
    assert_eq!(faults_of(&reading), (0, vec![(Kind::UnknownKeyword, 3)]));
    assert!(!reading.is_startable);
    assert!(reading.configuration.instances.is_empty());
    let advice = reading.complaints.last().unwrap();
    assert_eq!(advice.weight, Weight::Advice);
    assert!(advice.message.contains("no-such-namespace"), "{advice}");
}

#[test]
fn a_net_namespace_without_a_name_is_ignored_and_the_first_of_two_counts() {
    let text = format!("net_namespace\n{}", instance(""));
    assert_eq!(faults(&text), (5, vec![(Kind::MissingParameter, 1)]));
    let two = read("net_namespace no-such-namespace\nnet_namespace other\n");
    assert_eq!(faults_of(&two), (0, vec![(Kind::Duplicate, 2)]));
    let name = two.configuration.net_namespace.as_deref();
    assert_eq!(name, Some("no-such-namespace"));
}

#[test]
fn a_bfd_instance_that_is_disabled_can_be_tracked() {
    let tracks = instance("track_bfd {\nB weight 5\n}");
    let text = format!("bfd_instance B {{\nmin_rx 100\n}}\n{tracks}");
    let reading = read(&text);
    assert_eq!(faults_of(&reading), (5, vec![(Kind::ValueInvalid, 3)]));
    assert!(reading.configuration.bfd_instances.is_empty());
    let tracked = &reading.configuration.instances[0].tracking.bfd;
    assert_eq!((tracked[0].name.as_str(), tracked[0].weight), ("B", 5));
    let malformed = format!("bfd_instance B {{\nneighbor_ip x\n}}\n{tracks}");
    assert_eq!(faults(&malformed), (5, vec![(Kind::BadAddress, 2)]));
}

#[test]
fn each_bfd_instance_has_its_own_name_neighbour_and_family() {
    let other = "bfd_instance B {\nneighbor_ip 10.0.0.2\n}\n";
    for (text, expected) in [
        (
            "bfd_instance C {\nneighbor_ip 10.0.0.2\n}\n",
            (Kind::Duplicate, 6),
        ),
        (
            "bfd_instance B {\nneighbor_ip 10.0.0.3\n}\n",
            (Kind::Duplicate, 4),
        ),
        (
            "bfd_instance C {\nneighbor_ip 10.0.0.3\nsource_ip 2001:db8::1\n}\n",
            (Kind::FamilyMismatch, 7),
        ),
        (
            "bfd_instance a23456789b123456789c123456789d12 {\nneighbor_ip 10.0.0.3\n}\n",
            (Kind::NameTooLong, 4),
        ),
    ] {
        let reading = read(&format!("{other}{text}"));
        assert_eq!(faults_of(&reading), (5, vec![expected]), "{text}");
        assert_eq!(reading.configuration.bfd_instances.len(), 1, "{text}");
    }
    let hops = read("bfd_instance B {\nneighbor_ip 10.0.0.2\nmax_hops 5\nttl 3\n}\n");
    assert_eq!(faults_of(&hops), (5, vec![(Kind::ValueInvalid, 5)]));
    assert_eq!(hops.configuration.bfd_instances[0].max_hops, 3);
}

#[test]
fn a_block_with_two_words_has_no_name_and_is_skipped() {
    for block in [
        "vrrp_instance V W {",
        "vrrp_instance V\"x\" {",
        "vrrp_instance V W\n{",
    ] {
        let text = format!("{block}\nfoo\n}}\n{}", instance(""));
        let reading = read(&text);
        assert_eq!(
            faults_of(&reading),
            (5, vec![(Kind::MissingParameter, 1)]),
            "{text}"
        );
        assert_eq!(reading.configuration.instances.len(), 1, "{text}");
    }
    for block in [
        "vrrp_sync_group G W {",
        "track_group a b {",
        "track_group {",
    ] {
        let text = format!("{block}\ngroup {{\nV\n}}\n}}\n{}", instance(""));
        assert_eq!(
            faults(&text),
            (5, vec![(Kind::MissingParameter, 1)]),
            "{text}"
        );
    }
    // The names of scripts are their first words.
    let script = "vrrp_script s x {\nscript /bin/true\n}\n";
    let text = format!("{script}{}", instance("track_script {\ns\n}"));
    assert_eq!(faults(&text), (6, vec![(Kind::ScriptSecurity, 0)]));
}

#[test]
fn init_file_takes_a_number_and_overwrite_in_any_order() {
    let read_file = |statement: &str| {
        let file = format!("track_file f {{\nfile /run/no-such-file\ninit_file {statement}\n}}\n");
        let tracks = instance("track_file {\nf\n}");
        let reading = read(&format!("{file}{tracks}"));
        let initial = reading.configuration.track_files[0].initial;
        (faults_of(&reading).1, initial)
    };
    for (statement, expected) in [
        ("", (0, false)),
        ("overwrite", (0, true)),
        ("overwrite 5", (5, true)),
        ("5 overwrite", (5, true)),
        ("overwrite 5 7", (7, true)),
        ("-5", (-5, false)),
    ] {
        assert_eq!(
            read_file(statement),
            (vec![], Some(expected)),
            "{statement}"
        );
    }
    for (statement, expected) in [
        ("5 x", (5, false)),
        ("x overwrite 9", (9, true)),
        ("overwrite 5x", (0, true)),
        ("99999999999", (0, false)),
    ] {
        let complaint = vec![(Kind::ValueInvalid, 3)];
        assert_eq!(
            read_file(statement),
            (complaint, Some(expected)),
            "{statement}"
        );
    }
}

#[test]
fn without_instances_no_script_of_the_vrrp_part_is_looked_up() {
    assert_silent("vrrp_script s {\nscript /bin/true\n}\n");
    assert_silent("vrrp_script s {\nscript /no/such/program\n}\n");
    assert_silent("global_defs {\nvrrp_notify_fifo_script /bin/true\n}\n");
    let startup = faults("global_defs {\nstartup_script /bin/true\n}\n");
    assert_eq!(startup, (6, vec![(Kind::ScriptSecurity, 0)]));
}

#[test]
fn an_invalid_time_of_a_script_leaves_the_one_before() {
    let script = "vrrp_script s {\nscript /bin/true\ninterval 4\ninterval 1000001\n\
                  timeout 1000001\n}\n";
    let reading = read(&format!("{script}{}", instance("track_script {\ns\n}")));
    let found = &reading.configuration.scripts[0];
    assert_eq!((found.interval, found.timeout), (4_000_000, 0));
}

#[test]
fn a_folder_is_an_insecure_script() {
    let script = "vrrp_script s {\nscript /usr/bin\n}\n";
    let tracks = instance("track_script {\ns\n}");
    let secure = "global_defs {\nenable_script_security\nscript_user root\n}\n";
    let reading = read(&format!("{secure}{script}{tracks}"));
    assert_eq!(faults_of(&reading), (5, vec![(Kind::ScriptDisabled, 0)]));
    assert!(
        reading.configuration.instances[0]
            .tracking
            .scripts
            .is_empty()
    );
}

#[test]
fn an_address_whose_dev_has_no_value_is_dropped() {
    let addresses = "virtual_ipaddress {\n~LST({A,B},{101,eth0},{102}) 10.0.0.$A dev $B\n}";
    let reading = read(&instance(addresses));
    assert_eq!(faults_of(&reading).1, [(Kind::MissingParameter, 5)]);
    let found = &reading.configuration.instances[0].objects.addresses;
    assert_eq!(found.len(), 2);
}

#[test]
fn the_report_shows_globals_under_the_labels_of_keepalived() {
    let text = "global_defs {\nlvs_flush\nlvs_flush_on_stop VS\nnotify_fifo /run/a root root\n\
                notify_fifo_script /bin/true\nlvs_notify_fifo /run/b\n\
                vrrp_rx_bufs_policy ADVERT\nvrrp_rx_bufs_multiplier 4\nrs_init_notifies\n\
                no_checker_emails\ndisable_local_igmp\nfifo_write_vrrp_states_on_reload\n\
                checker_log_all_failures\nvrrp_rlimit_rttime 5\nscript_user root\n\
                enable_snmp_rfc\nmax_auto_priority\nlvs_timeouts tcp 5 tcpfin 6 udp 300\n}\n";
    let report = super::report(&read(text), &Host::default());
    let shown = &report["values"]["global_defs"];
    let program = Path::new("/bin").canonicalize().unwrap().join("true");
    let script = format!("'{}' '/run/a', uid:gid 0:0", program.display());
    for (label, value) in [
        ("LVS flush", "true"),
        ("LVS flush on stop", "VS"),
        ("Global notify fifo", "/run/a, uid:gid 0:0"),
        ("Global notify fifo script", script.as_str()),
        ("LVS notify fifo", "/run/b, uid:gid 0:0"),
        ("rx_bufs_policy", "ADVERT"),
        ("rx_bufs_multiples", "4"),
        ("rs_init_notifies", "1"),
        ("no_checker_emails", "1"),
        ("Disable local IGMP", "yes"),
        ("FIFO write vrrp states on reload", "true"),
        ("Checkers log all failures", "true"),
        ("Max auto priority", "99"),
        ("LVS TCP timeout", "300"),
        ("LVS TCP FIN timeout", "6"),
    ] {
        assert_eq!(shown[label], value, "{label}");
    }
    assert_eq!(shown["SNMP RFCv2 enabled"], true);
    assert_eq!(shown["SNMP RFCv3 enabled"], true);
    assert!(shown.get("current realtime time limit").is_none());
    let plain = read("global_defs {\nlvs_flush_on_stop\nvrrp_rx_bufs_policy 5000\n}\n");
    let report = super::report(&plain, &Host::default());
    let shown = &report["values"]["global_defs"];
    assert_eq!(shown["LVS flush on stop"], "full");
    assert_eq!(shown["rx_bufs_size"], "5000");
}

#[test]
fn the_policy_of_buffers_is_mtu_or_advert_in_any_case_or_a_size() {
    let policy = |words: &str| {
        faults(&format!(
            "global_defs {{\nvrrp_rx_bufs_policy {words}\n}}\n"
        ))
    };
    for words in ["MTU", "mtu", "ADVERT", "0", "65537"] {
        assert_eq!(policy(words), (0, vec![]), "{words}");
    }
    for words in ["NO_SEND_RX", "MTU x", "9999999999"] {
        assert_eq!(policy(words), (5, vec![(Kind::UnknownValue, 2)]), "{words}");
    }
    assert_eq!(policy("MTU ADVERT"), (5, vec![(Kind::ValueInvalid, 2)]));
}
