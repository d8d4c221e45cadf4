//! Settings one by one, at half a second between advertisements.

use nix::sys::signal::Signal;

use crate::{compare, instance};

const VIP: &str = "192.0.2.100/24";

/// Runs a trial with two hosts of these priorities and the same further settings.
fn alike(further: &str, trial: impl Fn(&mut crate::rig::Rig) + Sync) {
    let configs = [instance(150, further), instance(100, further)];
    compare([&configs[0], &configs[1]], trial);
}

#[test]
fn a_master_that_is_killed_is_followed_and_takes_its_address_back() {
    alike("", |rig| {
        rig.start_both();
        rig.wait_for_note(0, "MASTER");
        rig.wait_for_note(1, "BACKUP");
        rig.nodes[0].kill();
        rig.wait_for_note(1, "MASTER");
        rig.start(0);
        rig.wait_until("the second run", |rig| rig.node(0).notes().len() == 4);
        rig.wait_for_note(1, "BACKUP");
        rig.wait_for_address(VIP, 0);
    });
}

#[test]
fn an_interface_that_goes_down_is_a_fault_and_comes_back() {
    alike("", |rig| {
        rig.start_both();
        rig.wait_for_note(0, "MASTER");
        rig.ip(0, "link set eth0 down");
        rig.wait_for_note(0, "FAULT");
        rig.wait_for_note(1, "MASTER");
        rig.ip(0, "link set eth0 up");
        rig.wait_for_note(0, "MASTER");
        rig.wait_for_note(1, "BACKUP");
        rig.wait_for_address(VIP, 0);
    });
}

#[test]
fn a_router_that_only_backs_up_reports_its_stop_too() {
    alike("", |rig| {
        rig.start_both();
        rig.wait_for_note(0, "MASTER");
        rig.wait_for_note(1, "BACKUP");
        rig.stop(1);
        rig.wait_for_note(1, "STOP");
        rig.stop(0);
        rig.wait_for_note(0, "STOP");
        assert!(!rig.node(0).has(VIP));
    });
}

#[test]
fn preempt_delay_holds_a_router_back_that_returns() {
    alike("    preempt_delay 2\n", |rig| {
        rig.start(1);
        rig.wait_for_note(1, "MASTER");
        rig.start(0);
        rig.wait_for_heartbeats(1, 5);
        rig.wait_for_note(0, "MASTER");
        rig.wait_for_note(1, "BACKUP");
    });
}

#[test]
fn a_reload_with_another_priority_moves_the_address() {
    alike("", |rig| {
        rig.start_both();
        rig.wait_for_note(0, "MASTER");
        rig.wait_for_note(1, "BACKUP");
        rig.node(0).write_config(&instance(50, ""));
        rig.node(0).signal(Signal::SIGHUP);
        rig.wait_for_note(1, "MASTER");
        rig.wait_for_note(0, "BACKUP");
        rig.wait_for_address(VIP, 1);
    });
}

#[test]
fn a_reload_with_another_address_changes_only_that() {
    alike("", |rig| {
        rig.start_both();
        rig.wait_for_note(0, "MASTER");
        let more = rig
            .node(0)
            .config()
            .replace("192.0.2.100/24", "192.0.2.100/24\n        192.0.2.101/24");
        for place in [0, 1] {
            rig.node(place).write_config(&more);
            rig.node(place).signal(Signal::SIGHUP);
        }
        rig.wait_for_address("192.0.2.101/24", 0);
        rig.wait_for_address(VIP, 0);
        rig.wait_for_note(0, "MASTER");
        rig.wait_for_note(1, "BACKUP");
    });
}

#[test]
fn an_unweighted_script_is_a_fault_while_it_fails() {
    let script = "vrrp_script chk {
    script \"/bin/ls DIR/flag\"
    interval 1
}
";
    let tracked = "    track_script {\n        chk\n    }\n";
    let configs = [
        format!("{script}{}", instance(150, tracked)),
        instance(100, ""),
    ];
    compare([&configs[0], &configs[1]], |rig| {
        rig.start(1);
        rig.wait_for_note(1, "MASTER");
        rig.start(0);
        rig.wait_for_note(0, "FAULT");
        rig.touch(0, "flag");
        rig.wait_for_note(0, "MASTER");
        rig.wait_for_note(1, "BACKUP");
        rig.remove(0, "flag");
        rig.wait_for_note(0, "FAULT");
        rig.wait_for_note(1, "MASTER");
        rig.wait_for_address(VIP, 1);
    });
}

#[test]
fn a_script_with_reverse_is_a_fault_while_it_succeeds() {
    let script = "vrrp_script chk {
    script \"/bin/ls DIR/flag\"
    interval 1
    weight 0 reverse
}
";
    let tracked = "    track_script {\n        chk\n    }\n";
    let configs = [
        format!("{script}{}", instance(150, tracked)),
        instance(100, ""),
    ];
    compare([&configs[0], &configs[1]], |rig| {
        rig.start_both();
        rig.wait_for_note(0, "MASTER");
        rig.touch(0, "flag");
        rig.wait_for_note(0, "FAULT");
        rig.wait_for_note(1, "MASTER");
    });
}

#[test]
fn a_positive_weight_counts_while_the_script_succeeds() {
    let script = "vrrp_script chk {
    script \"/bin/ls DIR/flag\"
    interval 1
    weight 20
}
";
    let tracked = "    track_script {\n        chk\n    }\n";
    let configs = [
        format!("{script}{}", instance(90, tracked)),
        instance(100, ""),
    ];
    compare([&configs[0], &configs[1]], |rig| {
        rig.start(1);
        rig.wait_for_note(1, "MASTER");
        rig.start(0);
        rig.wait_for_note(0, "BACKUP");
        rig.touch(0, "flag");
        rig.wait_for_note(0, "MASTER");
        rig.wait_for_priority(0, 110);
        rig.wait_for_note(1, "BACKUP");
    });
}

#[test]
fn a_tracked_file_adds_its_number_times_the_weight() {
    let file = "vrrp_track_file F {
    file DIR/number
}
";
    let tracked = "    track_file {\n        F weight 2\n    }\n";
    let configs = [
        format!("{file}{}", instance(90, tracked)),
        instance(100, ""),
    ];
    compare([&configs[0], &configs[1]], |rig| {
        std::fs::write(rig.node(0).path("number"), "0\n").unwrap();
        rig.start(1);
        rig.wait_for_note(1, "MASTER");
        rig.start(0);
        rig.wait_for_note(0, "BACKUP");
        std::fs::write(rig.node(0).path("number"), "20\n").unwrap();
        rig.wait_for_note(0, "MASTER");
        rig.wait_for_priority(0, 130);
        rig.wait_for_note(1, "BACKUP");
        std::fs::write(rig.node(0).path("number"), "-10\n").unwrap();
        rig.wait_for_note(1, "MASTER");
        rig.wait_for_note(0, "BACKUP");
    });
}

#[test]
fn dont_track_primary_keeps_a_master_whose_interface_is_down() {
    alike("    dont_track_primary\n", |rig| {
        rig.start_both();
        rig.wait_for_note(0, "MASTER");
        rig.ip(0, "link set eth0 down");
        rig.wait_for_note(1, "MASTER");
        rig.ip(0, "link set eth0 up");
        rig.wait_for_note(1, "BACKUP");
        rig.wait_for_note(0, "MASTER");
    });
}

#[test]
fn excluded_addresses_of_both_families_come_and_go_with_the_others() {
    let excluded = "    virtual_ipaddress_excluded {
        192.0.2.111/32
        2001:db8::111/64
    }
";
    alike(excluded, |rig| {
        rig.start_both();
        for address in [VIP, "192.0.2.111/32", "2001:db8::111/64"] {
            rig.wait_for_address(address, 0);
        }
        rig.stop(0);
        for address in [VIP, "192.0.2.111/32", "2001:db8::111/64"] {
            rig.wait_for_address(address, 1);
        }
    });
}

#[test]
fn an_address_goes_to_the_interface_that_it_names() {
    let elsewhere = "    virtual_ipaddress {
        198.51.100.7/24 dev eth1 label eth1:7
    }
";
    alike(elsewhere, |rig| {
        rig.start_both();
        rig.wait_for_address("198.51.100.7/24", 0);
        rig.stop(0);
        rig.wait_for_address("198.51.100.7/24", 1);
    });
}

#[test]
fn routes_and_rules_come_and_go_with_the_master() {
    let objects = "    virtual_routes {
        203.0.113.0/24 via 192.0.2.9 dev eth0
        203.0.113.128/25 via 192.0.2.9 dev eth0 mtu 1400 onlink
        blackhole 198.18.0.0/15
    }
    virtual_rules {
        from 192.0.2.100 table 100 priority 500
    }
";
    alike(objects, |rig| {
        let shows = |rig: &crate::rig::Rig, place: usize| {
            let host = &rig.node(place).host;
            let routes = crate::rig::iproute2(host, "route");
            let rules = crate::rig::iproute2(host, "rule");
            [
                routes.contains("203.0.113.0/24 via 192.0.2.9"),
                routes.contains("mtu 1400"),
                routes.contains("blackhole 198.18.0.0/15"),
                rules.contains("500:\tfrom 192.0.2.100 lookup 100"),
            ]
        };
        rig.start_both();
        rig.wait_for_note(0, "MASTER");
        rig.wait_for_note(1, "BACKUP");
        rig.wait_until("all objects", |rig| shows(rig, 0) == [true; 4]);
        assert_eq!(shows(rig, 1), [false; 4]);
        rig.stop(0);
        rig.wait_until("no objects", |rig| shows(rig, 0) == [false; 4]);
        rig.wait_until("all objects", |rig| shows(rig, 1) == [true; 4]);
    });
}

#[test]
fn members_of_a_sync_group_fail_together() {
    let config = |priority: u8| {
        let second = format!(
            "}}
vrrp_instance VI_2 {{
    interface eth0
    virtual_router_id 52
    version 3
    advert_int 0.5
    priority {priority}
    virtual_ipaddress {{
        192.0.2.102/24
    }}
    track_interface {{
        eth1
    }}
"
        );
        let group = "vrrp_sync_group G {
    group {
        VI_1
        VI_2
    }
    notify_master \"DIR/note GROUP-MASTER\"
    notify_fault \"DIR/note GROUP-FAULT\"
}
";
        format!("{group}{}", instance(priority, &second))
    };
    let configs = [config(150), config(100)];
    let notes = |rig: &crate::rig::Rig, place: usize, note: &str| {
        let notes = rig.node(place).notes();
        notes.iter().any(|it| it == note)
    };
    compare([&configs[0], &configs[1]], |rig| {
        rig.start(0);
        rig.wait_until("the group of 0", |rig| notes(rig, 0, "GROUP-MASTER"));
        rig.start(1);
        rig.wait_for_address("192.0.2.102/24", 0);
        rig.wait_for_address(VIP, 0);
        rig.ip(0, "link set eth1 down");
        rig.wait_for_address("192.0.2.102/24", 1);
        rig.wait_for_address(VIP, 1);
        rig.wait_until("the group of 1", |rig| notes(rig, 1, "GROUP-MASTER"));
        rig.wait_until("the fault", |rig| notes(rig, 0, "GROUP-FAULT"));
        // In keepalived, scripts of a group and of its members run at the same time.
        rig.at_once = true;
    });
}

#[test]
fn ah_with_a_password_is_understood_by_both() {
    let configs = [150, 100].map(|priority| {
        instance(
            priority,
            "    authentication {\n        auth_type AH\n        auth_pass secret\n    }\n",
        )
        .replace("version 3", "version 2")
        .replace("advert_int 0.5", "advert_int 1")
    });
    compare([&configs[0], &configs[1]], |rig| {
        rig.start_both();
        rig.wait_for_note(0, "MASTER");
        rig.wait_for_note(1, "BACKUP");
        rig.wait_for_heartbeats(0, 3);
        rig.wait_for_address(VIP, 0);
    });
}

#[test]
fn ipv6_with_a_global_address_first() {
    let configs = [150, 100]
        .map(|priority| instance(priority, "").replace("192.0.2.100/24", "2001:db8::100/64"));
    compare([&configs[0], &configs[1]], |rig| {
        rig.start_both();
        rig.wait_for_note(0, "MASTER");
        rig.wait_for_note(1, "BACKUP");
        rig.wait_for_address("2001:db8::100/64", 0);
        rig.stop(0);
        rig.wait_for_note(1, "MASTER");
        rig.wait_for_address("2001:db8::100/64", 1);
    });
}

#[test]
fn a_virtual_mac_has_the_address_on_an_interface_of_its_own() {
    alike("    use_vmac\n", |rig| {
        rig.start_both();
        rig.wait_for_note(0, "MASTER");
        rig.wait_for_note(1, "BACKUP");
        let shown = crate::rig::iproute2(&rig.node(0).host, "-o address show dev vrrp.51");
        assert!(shown.contains(VIP), "{shown}");
        rig.stop(0);
        rig.wait_for_note(1, "MASTER");
        let links = crate::rig::iproute2(&rig.node(0).host, "link");
        assert!(!links.contains("vrrp.51"), "{links}");
    });
}

#[test]
fn a_lower_priority_that_comes_later_is_answered_and_stays_backup() {
    alike("", |rig| {
        rig.start(0);
        rig.wait_for_note(0, "MASTER");
        rig.start(1);
        rig.wait_for_note(1, "BACKUP");
        rig.wait_for_heartbeats(0, 10);
        rig.wait_for_address(VIP, 0);
        assert!(!rig.has_seen_priority(100));
    });
}

#[test]
fn an_interface_that_is_deleted_and_made_again() {
    alike("", |rig| {
        rig.start_both();
        rig.wait_for_note(0, "MASTER");
        rig.wait_for_note(1, "BACKUP");
        rig.delete_interface(0);
        rig.wait_for_note(0, "FAULT");
        rig.wait_for_note(1, "MASTER");
        rig.make_interface(0);
        rig.wait_for_note(0, "MASTER");
        rig.wait_for_note(1, "BACKUP");
    });
}

#[test]
fn interface_up_down_delays_outlast_a_link_that_bounces() {
    let delays = "interface_up_down_delays {
    eth0 1.9 0.5
}
";
    let config = |priority| {
        let text = instance(priority, "").replace("advert_int 0.5", "advert_int 1");
        format!("{delays}{text}")
    };
    let configs = [config(150), config(100)];
    compare([&configs[0], &configs[1]], |rig| {
        rig.start_both();
        rig.wait_for_note(0, "MASTER");
        rig.wait_for_note(1, "BACKUP");
        let bounces = rig.node(0).path("bounces");
        std::fs::write(&bounces, "link set eth0 down\nlink set eth0 up\n".repeat(3)).unwrap();
        rig.ip(0, &format!("-batch {}", bounces.display()));
        rig.wait_for_heartbeats(0, 3);
        rig.wait_for_address(VIP, 0);
        rig.wait_for_note(0, "MASTER");
        rig.ip(0, "link set eth0 down");
        rig.wait_for_note(0, "FAULT");
        rig.wait_for_note(1, "MASTER");
        rig.ip(0, "link set eth0 up");
        rig.wait_for_note(0, "MASTER");
        rig.wait_for_note(1, "BACKUP");
    });
}

#[test]
fn unicast_has_its_ttl_and_peers_are_accepted_within_their_bounds() {
    let config = |priority, own: u8, peer: u8| {
        instance(
            priority,
            &format!(
                "    unicast_src_ip 192.0.2.{own}\n    unicast_ttl 64\n    unicast_peer {{\n        \
                 192.0.2.{peer} min_ttl 60 max_ttl 64\n    }}\n"
            ),
        )
    };
    let configs = [config(150, 1, 2), config(100, 2, 1)];
    compare([&configs[0], &configs[1]], |rig| {
        rig.start_both();
        rig.wait_for_note(0, "MASTER");
        rig.wait_for_note(1, "BACKUP");
        rig.wait_for_heartbeats(0, 3);
        assert_eq!(rig.ttls(0), [64]);
        rig.stop(0);
        rig.wait_for_note(1, "MASTER");
    });
}

#[test]
fn unicast_with_a_ttl_above_the_bound_of_the_peer_is_not_accepted() {
    let config = |priority, own: u8, peer: u8, bound: &str| {
        instance(
            priority,
            &format!(
                "    unicast_src_ip 192.0.2.{own}\n    unicast_ttl 64\n    unicast_peer {{\n        \
                 192.0.2.{peer} {bound}\n    }}\n"
            ),
        )
    };
    let configs = [config(150, 1, 2, ""), config(100, 2, 1, "max_ttl 63")];
    compare([&configs[0], &configs[1]], |rig| {
        rig.start(0);
        rig.wait_for_note(0, "MASTER");
        rig.start(1);
        rig.wait_for_note(1, "MASTER");
        rig.wait_for_note(0, "MASTER");
    });
}

#[test]
fn use_vmac_addr_puts_addresses_of_other_interfaces_on_macvlans_there() {
    let further = "    use_vmac_addr
    virtual_ipaddress {
        198.51.100.7/24 dev eth1
    }
    virtual_ipaddress_excluded {
        2001:db8:1::7/64 dev eth1
    }
";
    alike(further, |rig| {
        rig.start_both();
        rig.wait_for_note(0, "MASTER");
        rig.wait_for_address("198.51.100.7/24", 0);
        rig.wait_for_address("2001:db8:1::7/64", 0);
        let show = |device: &str| {
            let host = &rig.node(0).host;
            let link = crate::rig::iproute2(host, &format!("link show dev {device}"));
            let addresses = crate::rig::iproute2(host, &format!("-o address show dev {device}"));
            (link, addresses)
        };
        let (link, addresses) = show("vrrp.51");
        assert!(link.contains("vrrp.51@eth1"), "{link}");
        assert!(link.contains("00:00:5e:00:01:33"), "{link}");
        assert!(addresses.contains("198.51.100.7/24"), "{addresses}");
        let (link, addresses) = show("vrrp6.51");
        assert!(link.contains("00:00:5e:00:02:33"), "{link}");
        assert!(addresses.contains("2001:db8:1::7/64"), "{addresses}");
        rig.stop(0);
        rig.wait_for_note(1, "MASTER");
        rig.wait_for_address("198.51.100.7/24", 1);
        let links = crate::rig::iproute2(&rig.node(0).host, "link");
        assert!(!links.contains("vrrp"), "{links}");
    });
}

#[test]
fn an_interface_that_has_an_address_of_the_instance_is_a_fault_while_it_is_down() {
    let further = "    virtual_ipaddress_excluded {
        198.51.100.7/24 dev eth1
        198.51.100.8/24 dev eth2 no_track
    }
";
    alike(further, |rig| {
        rig.start_both();
        rig.wait_for_note(0, "MASTER");
        rig.wait_for_note(1, "BACKUP");
        rig.ip(0, "link set eth2 down");
        rig.ip(0, "link set eth1 down");
        rig.wait_for_note(0, "FAULT");
        rig.wait_for_note(1, "MASTER");
        rig.ip(0, "link set eth1 up");
        rig.wait_for_note(0, "MASTER");
        rig.wait_for_note(1, "BACKUP");
        rig.wait_for_address("198.51.100.7/24", 0);
    });
}
