use super::{super::complaint::Weight, *};
use crate::keepalived_conf::{Reading, host::Host, tests::read_on};

fn read(text: &str) -> Reading {
    read_on(&Host::default(), text)
}

/// The lines of the errors, and 0 for each error about no line.
fn errors(reading: &Reading) -> Vec<usize> {
    let errors = reading.complaints.iter();
    let errors = errors.filter(|it| it.weight >= Weight::Error);
    let mut lines: Vec<usize> = errors
        .map(|it| it.place.map_or(0, |place| place.line))
        .collect();
    lines.sort_unstable();
    lines.dedup();
    lines
}

/// A virtual server, with its method in line 4 and its further statements from line 5 on.
fn service(key: &str, method: &str, statements: &str) -> String {
    let body = "protocol TCP\nlb_algo rr\nlb_kind";
    format!("virtual_server {key} {{\n{body} {method}\n{statements}\n}}\n")
}

/// A group of these lines, which has the name G.
fn group(lines: &[&str]) -> String {
    format!("\nvirtual_server_group G {{\n{}\n}}\n", lines.join("\n"))
}

const REAL: &str = "real_server 10.0.0.2 80 {\n}";

/// The errors about a group of these lines, and the persistence, protocol and number of virtual
/// servers of one that uses it.
fn ports(lines: &[&str], method: &str, real: &str) -> (usize, Option<u32>, Option<&'static str>) {
    let real = format!("real_server {real} {{\n}}");
    let reading = read(&(service("group G", method, &real) + &group(lines)));
    let servers = &reading.configuration.virtual_servers;
    let server = servers.first();
    (
        errors(&reading).len(),
        server.and_then(|it| it.persistence_timeout),
        server.and_then(|it| it.protocol),
    )
}

#[test]
fn without_translation_a_server_has_the_port_of_each_address_of_its_group() {
    let tcp = Some("TCP");
    let of = |lines: &[&str], real| ports(lines, "DR", real);
    assert_eq!(of(&["10.0.0.100 80"], "10.0.0.2 80"), (0, None, tcp));
    assert_eq!(of(&["10.0.0.100 80"], "10.0.0.2"), (0, None, tcp));
    assert_eq!(of(&["10.0.0.100 80"], "10.0.0.2 81"), (1, None, tcp));
    let both = ["10.0.0.100 80", "10.0.0.101 81"];
    assert_eq!(of(&both, "10.0.0.2 80"), (1, None, tcp));
    assert_eq!(ports(&both, "NAT", "10.0.0.2 80"), (0, None, tcp));
    // A mark has neither a port nor a protocol, and a group of marks only has none either.
    let mixed = ["fwmark 1", "10.0.0.100 80"];
    assert_eq!(of(&mixed, "10.0.0.2 80"), (1, None, tcp));
    assert_eq!(of(&["fwmark 1"], "10.0.0.2"), (1, None, None));
    assert_eq!(of(&["fwmark 1 inet6"], "10.0.0.2"), (0, None, tcp));
    // An address without a port needs persistence.
    assert_eq!(of(&["10.0.0.100"], "10.0.0.2"), (1, Some(360), tcp));
}

#[test]
fn a_virtual_server_of_a_group_that_does_not_exist_is_ignored_in_silence() {
    let reading = read("virtual_server group G {\nreal_server 10.0.0.2 80 {\n}\n}\n");
    assert_eq!(errors(&reading), [0_usize; 0]);
    assert!(reading.configuration.virtual_servers.is_empty());
    let reading = read(&format!("{}{}", group(&[]), service("group G", "DR", REAL)));
    assert_eq!(errors(&reading), [4]);
    assert!(reading.configuration.virtual_servers.is_empty());
}

/// The lines of the errors of a group, and its entries.
fn entries(lines: &[&str]) -> (Vec<usize>, Vec<GroupEntry>) {
    let mut reading = read(group(lines).trim_start());
    let groups = &mut reading.configuration.virtual_server_groups;
    let entries = groups.pop().map_or(Vec::new(), |group| group.entries);
    (errors(&reading), entries)
}

#[test]
fn a_line_of_a_group_is_an_address_a_range_a_subnet_or_a_mark() {
    for (text, first, last) in [
        ("10.0.0.1", "10.0.0.1", "10.0.0.1"),
        ("10.0.0.1-5", "10.0.0.1", "10.0.0.5"),
        ("10.0.0.1-10.0.1.5", "10.0.0.1", "10.0.1.5"),
        ("10.0.0.1-10.0.0.1", "10.0.0.1", "10.0.0.1"),
        ("10.0.0.0/24", "10.0.0.0", "10.0.0.255"),
        ("10.0.0.0/32", "10.0.0.0", "10.0.0.0"),
        ("2001:db8::1-ffff", "2001:db8::1", "2001:db8::ffff"),
        ("2001:db8::1-2001:db8:1::", "2001:db8::1", "2001:db8:1::"),
        ("2001:db8::/127", "2001:db8::", "2001:db8::1"),
    ] {
        let expected = GroupEntry::Addresses {
            first: first.parse().unwrap(),
            last: last.parse().unwrap(),
            port: 80,
        };
        let found = entries(&[&format!("{text} 80")]);
        assert_eq!(found, (vec![], vec![expected]), "{text}");
    }
    for text in [
        "x",
        "10.0.0.1-1",
        "10.0.0.5-1",
        "10.0.0.5-10.0.0.4",
        "10.0.0.1-300",
        "10.0.0.1-",
        "10.0.0.1/24",
        "10.0.0.0/33",
        "10.0.0.0/",
        "10.0.0.1-2001:db8::1",
        "2001:db8::1-1:0",
    ] {
        // The second error is that the group is empty.
        assert_eq!(entries(&[text]), (vec![2, 3], vec![]), "{text}");
    }
}

#[test]
fn the_marks_of_a_group_stand_behind_its_addresses_and_may_have_a_family() {
    let address = |text: &str| {
        let address = text.parse().unwrap();
        GroupEntry::Addresses {
            first: address,
            last: address,
            port: 80,
        }
    };
    let mark = |mark, is_ipv6| GroupEntry::Mark { mark, is_ipv6 };
    let four = address("10.0.0.100");
    let six = address("2001:db8::1");
    let lines = [
        "fwmark 3 inet",
        "10.0.0.100 80",
        "fwmark 2 inet6",
        "2001:db8::1 80",
    ];
    let all = vec![four.clone(), six, mark(3, Some(false)), mark(2, Some(true))];
    assert_eq!(entries(&lines), (vec![], all));
    let lines = ["10.0.0.100 80", "fwmark 3", "2001:db8::1 80"];
    assert_eq!(entries(&lines), (vec![5], vec![]));
    let lines = ["10.0.0.100 80", "fwmark 3 x"];
    assert_eq!(entries(&lines), (vec![3], vec![four]));
}

#[test]
fn the_first_family_of_a_virtual_server_is_that_of_its_servers_except_in_tunnels() {
    let six = "real_server 2001:db8::2 80 {\n}";
    for (key, method, statements, expected, servers) in [
        ("10.0.0.100 80", "NAT", format!("{REAL}\n{six}"), vec![8], 1),
        ("10.0.0.100 80", "TUN", format!("{REAL}\n{six}"), vec![], 2),
        (
            "10.0.0.100 80",
            "NAT",
            format!("{six}\nlb_kind TUN\n{REAL}"),
            vec![6],
            1,
        ),
        (
            "10.0.0.100 80",
            "NAT",
            format!("ip_family inet6\n{REAL}"),
            vec![5],
            1,
        ),
        (
            "10.0.0.100 80",
            "NAT",
            format!("ip_family inet\n{REAL}"),
            vec![],
            1,
        ),
        // The 0 is the protocol, which a mark does not have.
        ("fwmark 5", "NAT", format!("{six}\n{REAL}"), vec![0, 8], 1),
        (
            "fwmark 5",
            "NAT",
            format!("ip_family inet6\n{REAL}\n{six}"),
            vec![0, 7],
            1,
        ),
        (
            "fwmark 5",
            "NAT",
            format!("persistence_granularity 64\n{REAL}\n{six}"),
            vec![0, 7],
            1,
        ),
        (
            "10.0.0.100 80",
            "NAT",
            format!("sorry_server 2001:db8::9\n{REAL}"),
            vec![8],
            1,
        ),
        (
            "10.0.0.100 80",
            "TUN",
            format!("sorry_server 2001:db8::9\n{REAL}"),
            vec![],
            1,
        ),
    ] {
        let text = service(key, method, &statements);
        let reading = read(&text);
        assert_eq!(errors(&reading), expected, "{text}");
        let server = reading.configuration.virtual_servers.first().unwrap();
        assert_eq!(server.real_servers.len(), servers, "{text}");
        assert_eq!(
            server.sorry_server.is_some(),
            text.contains("sorry") && method == "TUN"
        );
    }
}

#[test]
fn a_server_has_the_method_that_the_virtual_server_has_where_it_stands() {
    let text = service(
        "10.0.0.100 80",
        "NAT",
        &format!("sorry_server 10.0.0.9 80\n{REAL}\nlb_kind DR"),
    );
    let server = read(&text).configuration.virtual_servers.remove(0);
    assert_eq!(server.method.kind, "DR");
    assert_eq!(server.real_servers[0].method.kind, "NAT");
    assert_eq!(server.sorry_server.unwrap().method.kind, "NAT");
    let text = format!("virtual_server 10.0.0.100 80 {{\n{REAL}\nlb_kind DR\n}}\n");
    let server = read(&text).configuration.virtual_servers.remove(0);
    assert_eq!(server.real_servers[0].method.kind, "DR");
}

#[test]
fn of_an_address_with_a_range_or_a_prefix_length_the_address_counts() {
    for text in [
        "10.0.0.100-105",
        "10.0.0.100/24",
        "10.0.0.100/x",
        "10.0.0.100-10.0.0.105",
    ] {
        let key = format!("{text} 80");
        let real = "real_server 10.0.0.2/24 80 {\nTCP_CHECK {\nconnect_ip 10.0.0.3-9\n}\n}";
        let reading = read(&service(&key, "NAT", real));
        assert_eq!(errors(&reading), [0_usize; 0], "{text}");
        let server = reading.configuration.virtual_servers.first().unwrap();
        let expected = Service::Address("10.0.0.100".parse().unwrap(), 80);
        assert_eq!(server.service, expected, "{text}");
        let target = server.real_servers[0].checks[0].target.unwrap();
        assert_eq!(target, ("10.0.0.3".parse().unwrap(), 80));
        let advice = reading
            .complaints
            .iter()
            .filter(|it| it.weight == Weight::Advice);
        assert_eq!(advice.count(), 3, "{text}");
    }
    // Of a malformed port, a daemon takes the leading digits, and -t complains.
    let reading = read(&service("10.0.0.100 80-90", "NAT", REAL));
    assert_eq!(errors(&reading), [1]);
    let expected = Service::Address("10.0.0.100".parse().unwrap(), 80);
    assert_eq!(reading.configuration.virtual_servers[0].service, expected);
    let reading = read(&service("10.0.0.100 99999", "NAT", REAL));
    assert_eq!(errors(&reading), [1]);
    assert!(reading.configuration.virtual_servers.is_empty());
}

#[test]
fn a_sorry_server_that_is_a_real_server_is_inhibited_as_that_one_is() {
    for (sorry, real, expected) in [
        ("sorry_server 10.0.0.2 80", "", false),
        ("sorry_server 10.0.0.2 80\nsorry_server_inhibit", "", false),
        ("sorry_server 10.0.0.2 80\n", "inhibit_on_failure", true),
        (
            "sorry_server 10.0.0.2 80\nsorry_server_inhibit",
            "inhibit_on_failure",
            true,
        ),
    ] {
        let statements = format!("{sorry}\nreal_server 10.0.0.2 80 {{\n{real}\n}}");
        let reading = read(&service("10.0.0.100 80", "NAT", &statements));
        let is_changed = sorry.contains("inhibit") != expected;
        assert_eq!(
            errors(&reading).len(),
            usize::from(is_changed),
            "{statements}"
        );
        let server = reading.configuration.virtual_servers.first().unwrap();
        let sorry = server.sorry_server.as_ref().unwrap();
        assert_eq!(
            (sorry.inhibits, sorry.duplicates_real_server),
            (expected, true)
        );
    }
}

/// The lines of the errors in the block of a real server, and its checks.
fn checks(block: &str) -> (Vec<usize>, Vec<Check>) {
    let real = format!("real_server 10.0.0.2 80 {{\n{block}\n}}");
    let mut reading = read(&service("10.0.0.100 80", "NAT", &real));
    let mut server = reading.configuration.virtual_servers.remove(0);
    (errors(&reading), server.real_servers.remove(0).checks)
}

#[test]
fn smtp_check_with_hosts_is_a_check_itself_if_it_names_a_connection() {
    let host = "host {\nconnect_ip 10.0.0.3\n}";
    for (statement, expected) in [
        ("retry 3", 1),
        ("helo_name x", 1),
        ("connect_ip bad", 1),
        ("connect_timeout 3", 2),
        ("connect_port 25", 2),
        ("bindto 10.0.0.11", 2),
        ("fwmark 3", 2),
    ] {
        let (_, checks) = checks(&format!("SMTP_CHECK {{\n{statement}\n{host}\n}}"));
        assert_eq!(checks.len(), expected, "{statement}");
        // A host takes nothing from the connection of the block.
        let check = checks.last().unwrap();
        assert_eq!(check.target, Some(("10.0.0.3".parse().unwrap(), 80)));
        assert_eq!((check.bind, check.mark), (None, None), "{statement}");
    }
    let (_, checks) = checks("SMTP_CHECK {\nhost {\nalpha\nretry 5\n}\n}");
    assert!(checks[0].is_alpha);
    assert_eq!(checks[0].retry, Some(5));
}

#[test]
fn both_ends_of_a_connection_are_of_one_family() {
    for (block, expected) in [
        (
            "TCP_CHECK {\nconnect_ip 2001:db8::2\nbindto 10.0.0.11\n}",
            vec![8],
        ),
        (
            "TCP_CHECK {\nbindto 10.0.0.11\nconnect_ip 2001:db8::2\n}",
            vec![8],
        ),
        ("TCP_CHECK {\nbindto 2001:db8::11\n}", vec![7]),
        (
            "TCP_CHECK {\nconnect_ip 2001:db8::2\nbindto 2001:db8::11\n}",
            vec![],
        ),
        ("SMTP_CHECK {\nbindto 2001:db8::11\n}", vec![]),
        ("SMTP_CHECK {\nhost {\nbindto 2001:db8::11\n}\n}", vec![8]),
    ] {
        let (errors, checks) = checks(block);
        assert_eq!(errors, expected, "{block}");
        if let (Some((target, _)), Some((Some(source), _))) = (checks[0].target, checks[0].bind)
            && block.starts_with("TCP")
        {
            assert_eq!(target.is_ipv6(), source.is_ipv6(), "{block}");
        }
    }
}

#[test]
fn misc_check_without_a_user_is_ignored_with_a_complaint() {
    let check = "MISC_CHECK {\nmisc_path /bin/true\n}";
    let real = format!("real_server 10.0.0.2 80 {{\n{check}\n}}");
    let text = service("10.0.0.100 80", "NAT", &real)
        + "global_defs {\nscript_user nosuchuser\nenable_script_security\n}\n";
    let reading = read(&text);
    assert!(errors(&reading).contains(&8), "{:?}", reading.complaints);
    let server = &reading.configuration.virtual_servers[0];
    assert!(server.real_servers[0].checks.is_empty());
}

#[test]
fn an_unknown_user_of_a_notify_script_is_advice_because_the_script_is_dropped_at_the_start() {
    let statements = format!("quorum_up /bin/true nosuchuser\n{REAL}");
    let reading = read(&service("10.0.0.100 80", "NAT", &statements));
    assert_eq!(errors(&reading), [0_usize; 0]);
    let advice = reading
        .complaints
        .iter()
        .find(|it| it.weight == Weight::Advice);
    assert_eq!(advice.unwrap().kind, Kind::ScriptUserUnknown);
    assert!(reading.configuration.virtual_servers[0].scripts.is_empty());
}

#[test]
fn status_codes_end_at_599_and_unknown_options_of_expressions_are_advice() {
    for (statement, expected) in [
        ("status_code 599", vec![]),
        ("status_code 600", vec![9]),
        ("status_code 500-600", vec![9]),
        ("regex_options caseless nope", vec![]),
    ] {
        let (errors, _) = checks(&format!("HTTP_GET {{\nurl {{\npath /\n{statement}\n}}\n}}"));
        assert_eq!(errors, expected, "{statement}");
    }
}

#[test]
fn the_payload_of_udp_is_all_words_and_a_single_digit_is_an_octet() {
    for (words, expected) in [
        ("75 9f 01", Some("759f01")),
        ("\"75 9f\" 01", Some("759f01")),
        ("75f", Some("750f")),
        ("7 5 9", Some("070509")),
        ("7x", None),
        ("75:9f", None),
    ] {
        let (errors, checks) = checks(&format!("UDP_CHECK {{\npayload {words}\n}}"));
        let Detail::Udp { payload, .. } = &checks[0].detail else {
            panic!("another check");
        };
        assert_eq!(payload.as_deref(), expected, "{words}");
        assert_eq!(errors.len(), usize::from(expected.is_none()), "{words}");
    }
}

#[test]
fn a_tunnel_whose_options_have_a_fault_is_a_plain_one() {
    for (words, expected) in [
        ("TUN", Ok("TUN, type = IPIP")),
        ("TUN nocsum", Ok("TUN, type = IPIP")),
        ("TUN type gre csum", Ok("TUN, type = GRE, checksum")),
        (
            "TUN type gue port 6080 remcsum",
            Ok("TUN, type = GUE, port = 6080, remote checksum"),
        ),
        ("TUN type gue", Err("TUN, type = IPIP")),
        ("TUN type gue port 0", Err("TUN, type = IPIP")),
        ("TUN type foo csum", Err("TUN, type = IPIP")),
        ("TUN type gre port 6080", Err("TUN, type = IPIP")),
        ("TUN type gre remcsum", Err("TUN, type = IPIP")),
        ("TUN csum", Err("TUN, type = IPIP")),
        ("NAT type gue", Err("NAT")),
    ] {
        let reading = read(&service("10.0.0.100 80", words, REAL));
        let method = reading.configuration.virtual_servers[0].method.describe();
        let found = match errors(&reading).as_slice() {
            [] => Ok(method.as_str()),
            _ => Err(method.as_str()),
        };
        assert_eq!(found, expected, "{words}");
    }
}

#[test]
fn a_block_or_a_mark_without_its_words_ends_the_reading() {
    for text in [
        "virtual_server {\n}\n",
        "virtual_server 10.0.0.100 80 {\nreal_server {\n}\n}\n",
        "virtual_server_group {\n10.0.0.100 80\n}\n",
        "virtual_server_group G {\nfwmark\n}\n",
    ] {
        assert_eq!(read(text).exit_status(), 2, "{text}");
    }
}

#[test]
fn a_second_value_of_ssl_replaces_the_first_with_a_complaint() {
    let reading = read("SSL {\ncertificate a\ncertificate b\nkey\nkey c\n}\n");
    assert_eq!(errors(&reading), [3, 4]);
    let tls = &reading.configuration.tls;
    assert_eq!(tls.certificate.as_deref(), Some("b"));
    assert_eq!(tls.key.as_deref(), Some("c"));
    // A second block replaces the whole first one.
    let reading = read("SSL {\ncertificate a\n}\nSSL {\nkey b\n}\n");
    assert_eq!(errors(&reading), [4]);
    assert_eq!(reading.configuration.tls.certificate, None);
}

#[test]
fn the_flags_of_hashing_count_behind_their_scheduler() {
    for (scheduler, flag, flags, lines) in [
        ("sh", "sh-port", vec!["flag-2"], vec![]),
        ("mh", "mh-fallback", vec!["flag-1"], vec![]),
        ("mh", "sh-port", vec![], vec![]),
        ("rr", "sh-port", vec![], vec![3]),
        ("rr", "hashed", vec![], vec![3]),
    ] {
        let text = format!(
            "virtual_server 10.0.0.100 80 {{\nlb_algo {scheduler}\n{flag}\nlb_kind NAT\nprotocol TCP\n{REAL}\n}}\n"
        );
        let reading = read(&text);
        assert_eq!(errors(&reading), lines, "{text}");
        assert_eq!(
            reading.configuration.virtual_servers[0].flags, flags,
            "{text}"
        );
    }
}

#[test]
fn the_granularity_of_ipv4_is_a_mask_even_if_it_is_a_number() {
    let mask = |text: &str| Some(Granularity::Mask(text.parse().unwrap()));
    for (text, expected) in [
        ("255.255.255.0", mask("255.255.255.0")),
        ("24", mask("0.0.0.24")),
        ("0x18", mask("0.0.0.24")),
        ("010", mask("0.0.0.8")),
        ("1.2.3", mask("1.2.0.3")),
        ("4294967295", mask("255.255.255.255")),
        ("4294967296", None),
        ("0x", None),
        ("08", None),
        ("1.2.3.256", None),
        ("1.2.3.4.5", None),
        ("-1", None),
    ] {
        let statements = format!("persistence_granularity {text}\n{REAL}");
        let reading = read(&service("10.0.0.100 80", "NAT", &statements));
        let server = reading.configuration.virtual_servers.first().unwrap();
        assert_eq!(server.persistence_granularity, expected, "{text}");
        assert_eq!(errors(&reading).is_empty(), expected.is_some(), "{text}");
    }
    let advice = read(&service(
        "10.0.0.100 80",
        "NAT",
        &format!("persistence_granularity 24\n{REAL}"),
    ));
    let advice = advice
        .complaints
        .iter()
        .find(|it| it.weight == Weight::Advice);
    assert!(advice.unwrap().message.contains("0.0.0.24"));
    let six = "persistence_granularity 255.255.255.0\nreal_server 2001:db8::2 80 {\n}";
    assert_eq!(errors(&read(&service("2001:db8::100 80", "NAT", six))), [5]);
}
