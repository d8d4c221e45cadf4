//! The reading of statements of an instance, its addresses and its groups, as keepalived 2.2.7 has
//! it.

use serde_json::Value;

use crate::keepalived_conf::{
    Reading,
    host::{Host, Interface},
    report,
    tests::read_on,
};

/// A host with eth0, eth1 and lo, and with vm0, a macvlan.
fn host() -> Host {
    let mut host = Host::default();
    for (name, address, kind) in [
        ("eth0", "10.0.0.11", ""),
        ("eth1", "10.0.1.11", ""),
        ("lo", "127.0.0.1", ""),
        ("vm0", "fe80::1", "macvlan"),
    ] {
        let interface = Interface {
            addresses: vec![address.parse().unwrap()],
            is_loopback: name == "lo",
            kind: kind.to_owned(),
        };
        host.interfaces.insert(name.to_owned(), interface);
    }
    host
}

fn read(text: &str) -> Reading {
    read_on(&host(), text)
}

/// An instance on eth0 with these statements, one a line, and these virtual addresses.
fn instance(statements: &str, addresses: &str) -> String {
    format!(
        "vrrp_instance V {{\ninterface eth0\nvirtual_router_id 51\n{statements}\n\
         virtual_ipaddress {{\n{addresses}\n}}\n}}\n"
    )
}

/// A second instance, of VRID 52.
fn second(statements: &str, addresses: &str) -> String {
    let text = instance(statements, addresses);
    text.replace("vrrp_instance V", "vrrp_instance W")
        .replace("_id 51", "_id 52")
}

/// The instances in the form of the report.
fn values(text: &str) -> Value {
    report(&read(text), &host())["values"]["instances"].clone()
}

/// A value of the only instance.
fn value(text: &str, name: &str) -> Value {
    values(text)[0][name].clone()
}

/// The virtual addresses of an instance that has these.
fn shown(statements: &str, addresses: &str) -> Vec<String> {
    let shown = value(&instance(statements, addresses), "virtual_ipaddress");
    let shown = shown.as_array().cloned().unwrap_or_default();
    let texts = shown.iter().map(|it| it.as_str().unwrap().to_owned());
    texts.collect()
}

/// The exit status and the lines that are complained of. Complaints about a whole have line 0.
fn check(text: &str) -> (u8, Vec<usize>) {
    let reading = read(text);
    let found = report(&reading, &host())["test"]["complaints"].clone();
    let lines = found.as_array().unwrap().iter();
    let lines = lines.map(|it| usize::try_from(it["line"].as_u64().unwrap_or(0)).unwrap());
    (reading.exit_status(), lines.collect())
}

const VIP: &str = "10.0.0.100/24";

#[test]
fn a_missing_interface_ends_the_check_before_scripts_are_looked_up() {
    let text = instance("notify_master \"/bin/true x\"", VIP).replace("eth0", "eth9");
    assert_eq!(check(&text), (5, vec![2, 0]));
}

#[test]
fn a_keyword_of_unicast_without_peers_is_deprecated_unless_that_is_a_fault() {
    for keyword in [
        "unicast_src_ip 10.0.0.11",
        "check_unicast_src",
        "unicast_peer {\n}",
    ] {
        assert_eq!(check(&instance(keyword, VIP)), (5, vec![0]), "{keyword}");
    }
    for keyword in [
        "unicast_fault_no_peer",
        "unicast_fault_no_peer\ncheck_unicast_src",
        "mcast_src_ip 10.0.0.11",
    ] {
        assert_eq!(check(&instance(keyword, VIP)), (0, vec![]), "{keyword}");
    }
}

#[test]
fn unicast_with_use_vmac_leaves_by_the_parent_with_or_without_peers() {
    let text = instance("use_vmac\ncheck_unicast_src", VIP);
    assert_eq!(check(&text), (5, vec![9, 0]));
    assert_eq!(value(&text, "vmac")["xmit_base"], true);
    let unknown = text.replace("eth0", "eth9");
    assert_eq!(check(&unknown), (5, vec![2, 9, 0]));
    assert!(value(&unknown, "vmac").is_null());
}

#[test]
fn an_address_that_names_the_interface_or_the_macvlan_of_its_instance_is_on_the_macvlan() {
    let on_macvlan = ["10.0.0.100/24 dev vrrp.51@eth0 scope global"];
    assert_eq!(shown("use_vmac", "10.0.0.100/24 dev eth0"), on_macvlan);
    assert_eq!(shown("use_vmac", VIP), on_macvlan);
    let named = shown("use_vmac vm0", "10.0.0.100/24 dev vm0");
    assert_eq!(named, ["10.0.0.100/24 dev vm0@eth0 scope global"]);
    let elsewhere = shown("use_vmac", "10.0.0.100/24 dev eth1");
    assert_eq!(elsewhere, ["10.0.0.100/24 dev eth1 scope global"]);
}

#[test]
fn use_vmac_of_an_address_names_a_macvlan_for_each_family_and_parent() {
    let own = shown(
        "",
        "10.0.0.100/24 use_vmac\n10.0.0.101/24 dev eth0 use_vmac",
    );
    assert_eq!(
        own,
        [
            "10.0.0.100/24 dev vrrp.51@eth0 use_vmac scope global",
            "10.0.0.101/24 dev vrrp.51@eth0 use_vmac scope global"
        ]
    );
    let other = shown("use_vmac", "10.0.0.100/24 dev eth1 use_vmac");
    assert_eq!(
        other,
        ["10.0.0.100/24 dev vrrp1.51@eth1 use_vmac scope global"]
    );
    let both = instance("use_vmac", "10.0.0.100/24 use_vmac");
    assert_eq!(check(&both), (5, vec![0]));
}

#[test]
fn the_macvlans_of_instances_have_different_names() {
    let devices = |text: &str| -> Vec<String> {
        let values = values(text);
        let all = values.as_array().unwrap().iter();
        all.map(|it| it["vmac"]["device"].as_str().unwrap().to_owned())
            .collect()
    };
    let ipv6 = second("use_vmac", "fe80::100/64").replace("_id 52", "_id 51");
    let both = instance("use_vmac", VIP) + &ipv6;
    assert_eq!(devices(&both), ["vrrp.51", "vrrp6.51"]);
    let other = ipv6.replace("fe80::100/64", VIP).replace("eth0", "eth1");
    let both = instance("use_vmac", VIP) + &other;
    assert_eq!(devices(&both), ["vrrp.51", "vrrp1.51"]);
    let later = second("use_vmac vrrp.51", "10.0.0.101/24");
    let both = instance("use_vmac", VIP) + &later;
    assert_eq!(devices(&both), ["vrrp1.51", "vrrp.51"]);
    let same = second("use_vmac vm1", "10.0.0.101/24");
    let both = instance("use_vmac vm1", VIP) + &same;
    assert_eq!(devices(&both), ["vm1", "vrrp.52"]);
    assert_eq!(check(&both), (5, vec![12]));
    let taken = instance("use_vmac eth1", VIP);
    assert_eq!(devices(&taken), ["vrrp.51"]);
    assert_eq!(check(&taken), (5, vec![4]));
    assert_eq!(devices(&instance("use_vmac vm0", VIP)), ["vm0"]);
}

#[test]
fn a_prefix_length_of_a_source_or_a_group_is_ignored() {
    let text = instance("mcast_src_ip 10.0.0.12/x\nmcast_dst_ip 224.0.0.19/24", VIP);
    assert_eq!(check(&text), (0, vec![]));
    assert_eq!(value(&text, "src_ip"), "10.0.0.12");
    assert_eq!(value(&text, "multicast"), "224.0.0.19");
}

#[test]
fn the_first_statement_with_a_family_determines_that_of_the_instance() {
    let native = |addresses| instance("native_ipv6", addresses);
    assert_eq!(check(&native("fe80::100/64")), (0, vec![]));
    assert_eq!(value(&native("fe80::100/64"), "version"), 3);
    assert_eq!(check(&native(VIP)).1.first(), Some(&6));
    assert_eq!(
        check(&instance("mcast_src_ip 10.0.0.11\nnative_ipv6", VIP)),
        (5, vec![5])
    );
    assert_eq!(
        check(&instance("mcast_dst_ip ff02::13", VIP)).1.first(),
        Some(&6)
    );
    let dropped = instance("", "fe80::100/64 brd +\n10.0.0.100/24");
    assert_eq!(check(&dropped), (5, vec![6]));
    let families = read(&dropped);
    assert!(!families.configuration.instances[0].is_ipv6);
    assert_eq!(check(&instance("version 2\nversion 3", VIP)), (5, vec![5]));
}

#[test]
fn interfaces_of_routes_and_rules_may_come_later_with_dynamic_interfaces() {
    let objects = "virtual_routes {\n10.9.0.0/24 dev eth9\n}\n\
                   virtual_rules {\nfrom 10.9.0.0/24 iif eth9 table 10 priority 5\n}";
    assert_eq!(check(&instance(objects, VIP)), (5, vec![5, 8, 0]));
    let dynamic = "global_defs {\ndynamic_interfaces\n}\n".to_owned() + &instance(objects, VIP);
    assert_eq!(check(&dynamic), (0, vec![]));
    assert!(read(&dynamic).is_startable);
}

#[test]
fn state_master_has_no_effect_in_a_sync_group_with_a_member_that_is_no_owner() {
    let group = "vrrp_sync_group G {\ngroup {\nV\nW\n}\n}\n";
    for (of_v, of_w, expected) in [
        ("priority 150", "priority 150", "BACKUP"),
        ("priority 255", "priority 150", "BACKUP"),
        ("priority 255", "priority 255", "MASTER"),
    ] {
        let members = instance(&format!("state MASTER\n{of_v}"), VIP)
            + &second(&format!("state MASTER\n{of_w}"), "10.0.0.101");
        for text in [group.to_owned() + &members, members.clone() + group] {
            assert_eq!(check(&text), (0, vec![]), "{text}");
            for member in values(&text).as_array().unwrap() {
                assert_eq!(member["initial_state"], expected, "{text}");
            }
        }
        let alone = values(&members);
        assert_eq!(alone[0]["initial_state"], "MASTER", "{members}");
    }
}

#[test]
fn unicast_ttl_without_peers_is_complained_of_whatever_else_is_wrong() {
    assert_eq!(check(&instance("unicast_ttl 2", VIP)), (5, vec![8]));
    let elsewhere = instance("unicast_ttl 2", "10.0.0.100/24 dev eth9");
    assert_eq!(check(&elsewhere), (5, vec![6, 8, 0]));
    let peers = instance("unicast_ttl 2\nunicast_peer {\n10.0.0.12\n}", VIP);
    assert_eq!(check(&peers), (0, vec![]));
}

#[test]
fn the_report_shows_an_ipvlan_that_is_not_made_yet() {
    let plain = values(&instance("use_ipvlan", VIP));
    assert_eq!(
        plain[0]["ipvlan_text"],
        "vrrp.51, is_up = false, type bridge"
    );
    assert_eq!(
        plain[0]["ipvlan"],
        serde_json::json!({ "device": "vrrp.51", "xmit_base": false })
    );
    assert_eq!(plain[0]["src_ip"], "10.0.0.11");
    let own = values(&instance("use_ipvlan ipv0 10.0.0.7 vepa", VIP));
    assert_eq!(own[0]["ipvlan_text"], "address = 10.0.0.7, type vepa");
    assert_eq!(own[0]["src_ip"], "10.0.0.7");
    let ipv6 = values(&instance("use_ipvlan\nversion 3", "2001:db8::100/64"));
    assert_eq!(ipv6[0]["src_ip"], "(none)");
}

#[test]
fn the_report_names_the_macvlan_in_place_of_a_parent_that_does_not_exist() {
    let missing = instance("use_vmac", VIP).replace("interface eth0", "interface eth9");
    let dynamic = "global_defs {\ndynamic_interfaces\n}\n".to_owned() + &missing;
    assert_eq!(value(&dynamic, "interface"), "vrrp.51");
    assert_eq!(value(&instance("use_vmac", VIP), "interface"), "eth0");
}

#[test]
fn auth_type_ah_clears_the_initial_state_of_a_router_that_is_no_owner() {
    let ah = "authentication {\nauth_type AH\nauth_pass a\n}\nstate MASTER\n";
    let text = instance(&format!("{ah}priority 100\npreempt_delay 5"), VIP);
    assert_eq!(check(&text), (5, vec![0]));
    assert_eq!(value(&text, "initial_state"), "BACKUP");
    assert_eq!(value(&text, "preempt_delay_s"), 5);
    assert_eq!(
        check(&instance(&format!("{ah}priority 255"), VIP)),
        (0, vec![])
    );
}

#[test]
fn an_empty_password_is_none_and_the_last_one_counts() {
    let auth = |passwords| {
        let block = format!("authentication {{\nauth_type PASS\n{passwords}\n}}");
        value(&instance(&block, VIP), "auth_type")
    };
    assert_eq!(auth("auth_pass \"\""), "none");
    assert_eq!(auth("auth_pass a\nauth_pass \"\""), "none");
    assert_eq!(auth("auth_pass \"\"\nauth_pass a"), "PASS");
}

#[test]
fn of_opposite_switches_the_last_one_counts() {
    let preempt = |text| value(&instance(text, VIP), "preempt");
    assert_eq!(preempt("nopreempt\npreempt"), true);
    assert_eq!(preempt("preempt\nnopreempt"), false);
    assert_eq!(value(&instance("no_accept\naccept", VIP), "accept"), true);
}

#[test]
fn an_interface_name_that_is_too_long_leaves_the_one_before() {
    let text = instance("interface aaaaaaaaaaaaaaaa", VIP);
    assert_eq!(check(&text), (5, vec![4]));
    assert_eq!(value(&text, "interface"), "eth0");
}

#[test]
fn promote_secondaries_is_not_for_the_interface_of_an_instance() {
    let text = instance("promote_secondaries\nuse_vmac", VIP);
    assert_eq!(check(&text), (5, vec![0]));
    assert_eq!(value(&text, "promote_secondaries"), false);
}

#[test]
fn leading_digits_are_a_prefix_length_but_never_0() {
    for (text, expected) in [
        ("10.0.0.100/24,10.0.0.101/24", "10.0.0.100/24"),
        ("10.0.0.100/255.255.255.0", "10.0.0.100"),
        // keepalived makes every address a neighbour here.
        ("10.0.0.100/", "10.0.0.100"),
        ("10.0.0.100/x", "10.0.0.100"),
        ("10.0.0.100/0x18", "10.0.0.100"),
    ] {
        let own = format!("{expected} dev eth0 scope global");
        assert_eq!(shown("", text), [own], "{text}");
        assert_eq!(check(&instance("", text)), (5, vec![6]), "{text}");
    }
    assert_eq!(check(&instance("", "10.0.0.100/0")), (0, vec![]));
}

#[test]
fn an_option_of_an_address_is_kept_ignored_or_costs_the_address() {
    for (option, expected) in [
        ("scope 200", "scope site"),
        ("scope 0x10", "scope 16"),
        ("preferred_lft forever", "scope global"),
    ] {
        let own = format!("10.0.0.100/24 dev eth0 {expected}");
        assert_eq!(shown("", &format!("{VIP} {option}")), [own], "{option}");
    }
    for option in [
        "scope 400",
        "scope universe",
        "track_group x",
        "no-track",
        "preferred_lft x",
    ] {
        let text = format!("{VIP} {option}");
        assert_eq!(shown("", &text), ["10.0.0.100/24 dev eth0 scope global"]);
        assert!(check(&instance("", &text)).1.contains(&6), "{option}");
    }
    for option in [
        "dev",
        "label",
        "dev eth0 dev eth1",
        "brd bogus",
        "label aaaaaaaaaaaaaaaa",
    ] {
        let text = instance("", &format!("{VIP} {option}"));
        assert!(value(&text, "virtual_ipaddress").is_null(), "{option}");
        assert_eq!(check(&text), (5, vec![6, 0]), "{option}");
    }
    let ipv6 = "fe80::100/64 label x";
    let own = "fe80::100/64 dev eth0 scope global preferred_lft forever";
    assert_eq!(shown("", ipv6), [own]);
    assert_eq!(check(&instance("", ipv6)), (5, vec![6]));
    // With a peer, an IPv6 address has the longest prefix, and is deprecated.
    let peer = "fe80::100 dev eth0 scope global peer fe80::5/128 deprecated";
    assert_eq!(shown("", "fe80::100/64 peer fe80::5"), [peer]);
}

/// The routes of an instance with this one.
fn route(text: &str) -> Option<String> {
    let block = format!("virtual_routes {{\n{text}\n}}");
    let routes = value(&instance(&block, VIP), "virtual_routes");
    Some(routes.get(0)?.as_str().unwrap().to_owned())
}

#[test]
fn the_family_of_a_default_route_is_that_of_its_addresses() {
    let route = |text| route(text).unwrap_or_default();
    let ipv6 = "prepend ::/0 via inet6 fe80::2 dev eth0 proto 18";
    assert_eq!(route("default via fe80::2 dev eth0"), ipv6);
    assert_eq!(route("default via inet6 fe80::2 dev eth0"), ipv6);
    assert_eq!(route("default gw fe80::2 dev eth0"), ipv6);
    assert_eq!(
        route("default dev eth0"),
        "prepend 0.0.0.0/0 dev eth0 proto 18"
    );
    for mixed in [
        "via fe80::2 dev eth0 to default",
        "default via inet fe80::2 dev eth0",
        "10.9.0.0/24 via fe80::2 dev eth0",
        "10.9.0.0/24 dev eth0 src fe80::2",
    ] {
        assert_eq!(route(mixed), "", "{mixed}");
    }
}

#[test]
fn a_faulty_next_hop_ends_the_list_of_next_hops() {
    let hops = |text: &str| route(&format!("10.9.0.0/24 {text}")).unwrap_or_default();
    let start = "prepend 10.9.0.0/24 proto 18";
    let good = "nexthop via 10.0.0.1 dev eth0";
    let first = format!("{start} nexthop via inet 10.0.0.1 dev eth0 no_track");
    assert_eq!(
        hops(&format!("{good} nexthop via 10.0.0.2 weight 300")),
        first
    );
    assert_eq!(hops(&format!("{good} metric 5 {good}")), first);
    assert_eq!(
        hops(&format!("nexthop via x {good}")),
        format!("{start} no_track")
    );
    let weighted = hops("nexthop via 10.0.0.1 weight 256");
    assert_eq!(
        weighted,
        format!("{start} nexthop via inet 10.0.0.1 weight 256 no_track")
    );
}

#[test]
fn a_word_of_a_route_or_a_rule_without_its_value_ends_the_reading() {
    for text in [
        "default dev",
        "10.9.0.0/24 via inet6",
        "10.9.0.0/24 dev eth0 mtu lock",
        "to",
    ] {
        let block = format!("virtual_routes {{\n{text}\n}}");
        assert_eq!(check(&instance(&block, VIP)), (2, vec![5]), "{text}");
    }
    for text in ["from", "from 10.9.0.0/24 iif", "from 10.9.0.0/24 tunnel-id"] {
        let block = format!("virtual_rules {{\n{text}\n}}");
        assert_eq!(check(&instance(&block, VIP)), (2, vec![5]), "{text}");
    }
    let block = "virtual_rules {\nfrom 10.9.0.0/24 tunnel-id 5 table 10 priority 5\n}";
    assert_eq!(check(&instance(block, VIP)), (0, vec![]));
}

#[test]
fn a_missing_interface_of_a_block_that_only_adds_to_it_leaves_exit_status_4() {
    for block in ["linkbeat_interfaces", "interface_up_down_delays"] {
        let text = format!("{block} {{\neth9\n}}\n") + &instance("", VIP);
        assert_eq!(check(&text), (4, vec![2]));
        assert!(read(&text).is_startable);
    }
    let text = "linkbeat_interfaces {\neth1 eth0\n}\n".to_owned() + &instance("", VIP);
    assert_eq!(check(&text), (5, vec![2]));
}

#[test]
fn empty_groups_impossible_ttls_and_interfaces_tracked_twice_are_reported() {
    let both = instance("", VIP) + &second("dont_track_primary", "10.0.0.101/24");
    let group = |text: &str| format!("{both}vrrp_sync_group G {{\n{text}}}\n");
    let empty = group("group {\n}\ngroup {\nV\nW\n}\n");
    assert_eq!(check(&empty), (5, vec![19]));
    // An instance tracks its own interface, unless it has dont_track_primary.
    let twice = group("group {\nV\nW\n}\ntrack_interface {\neth0\n}\n");
    let reading = read(&twice);
    let objects: Vec<_> = reading
        .complaints
        .iter()
        .filter_map(|it| it.object.as_deref())
        .collect();
    assert_eq!(objects, ["V"]);
    let peer = instance("unicast_peer {\n10.0.0.12 min_ttl 5 max_ttl 2\n}", VIP);
    assert_eq!(check(&peer), (5, vec![5]));
}
