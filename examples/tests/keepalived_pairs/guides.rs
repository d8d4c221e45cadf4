//! The promises of five guides for keepalived to their readers (E1 to E17), with the guides'
//! settings.

use crate::{compare, rig::Process};

const VIP: &str = "192.0.2.100/32";

/// An instance of a guide: version 2, an interval of a second, a password.
fn guide(state: &str, priority: u8, further: &str) -> String {
    format!(
        "global_defs {{
    script_user root
    dynamic_interfaces
    vrrp_mcast_group4 224.24.24.18
}}
vrrp_instance VI_1 {{
    state {state}
    interface eth0
    virtual_router_id 51
    priority {priority}
    advert_int 1
    authentication {{
        auth_type PASS
        auth_pass 1111
    }}
    virtual_ipaddress {{
        192.0.2.100
    }}
    notify_master \"DIR/note master\"
    notify_backup \"DIR/note backup\"
    notify_fault \"DIR/note fault\"
{further}
}}
"
    )
}

#[test]
fn e1_e2_unicast_the_master_has_the_address_runs_its_script_and_is_followed_when_it_stops() {
    let unicast = |own: u8, peer: u8| {
        format!(
            "    unicast_src_ip 192.0.2.{own}\n    unicast_peer {{\n        192.0.2.{peer}\n    }}\n"
        )
    };
    let configs = [
        guide("BACKUP", 100, &unicast(1, 2)),
        guide("BACKUP", 90, &unicast(2, 1)),
    ];
    compare([&configs[0], &configs[1]], |rig| {
        rig.start_both();
        rig.wait_for_address(VIP, 0);
        rig.wait_for_note(0, "master");
        rig.wait_for_note(1, "backup");
        rig.stop(0);
        rig.wait_for_address(VIP, 1);
        rig.wait_for_note(1, "master");
    });
}

#[test]
fn e3_e4_e5_the_address_moves_at_a_stop_and_comes_back_at_the_next_start() {
    let configs = [guide("BACKUP", 100, ""), guide("BACKUP", 90, "")];
    compare([&configs[0], &configs[1]], |rig| {
        rig.start_both();
        rig.wait_for_address(VIP, 0);
        rig.wait_for_note(0, "master");
        rig.stop(0);
        rig.wait_for_note(1, "master");
        rig.wait_for_address(VIP, 1);
        rig.start(0);
        rig.wait_for_note(0, "master");
        rig.wait_for_note(1, "backup");
        rig.wait_for_address(VIP, 0);
    });
}

#[test]
fn e6_two_instances_share_the_load_and_each_host_takes_over_for_the_other() {
    let second = |priority: u8| {
        format!(
            "}}
vrrp_instance VI_2 {{
    interface eth0
    virtual_router_id 02
    priority {priority}
    authentication {{
        auth_type PASS
        auth_pass 2222
    }}
    virtual_ipaddress {{
        192.0.2.200
    }}
    notify_master \"DIR/note second\"
"
        )
    };
    let other = "192.0.2.200/32";
    let configs = [
        guide("BACKUP", 100, &second(95)),
        guide("BACKUP", 90, &second(100)),
    ];
    compare([&configs[0], &configs[1]], |rig| {
        rig.start_both();
        rig.wait_for_address(VIP, 0);
        rig.wait_for_address(other, 1);
        rig.stop(1);
        rig.wait_for_address(other, 0);
        rig.wait_for_address(VIP, 0);
        rig.wait_until("both on one host", |rig| {
            let notes = rig.node(0).notes();
            notes.iter().filter(|note| *note == "second").count() == 2
        });
        // The notes of the two instances come at the same time.
        rig.at_once = true;
    });
}

#[test]
fn e7_e8_a_weighted_script_lowers_the_priority_and_the_address_stays_while_it_is_the_highest() {
    let script = "vrrp_script chk {
    script \"/bin/ls DIR/flag\"
    interval 1
    weight -4
    fall 2
    rise 2
}
";
    let first = format!(
        "{script}{}",
        guide("BACKUP", 100, "    track_script {\n        chk\n    }\n")
    );
    let configs = [first, guide("BACKUP", 90, "")];
    compare([&configs[0], &configs[1]], |rig| {
        rig.touch(0, "flag");
        rig.start_both();
        rig.wait_for_note(0, "master");
        rig.wait_for_priority(0, 100);
        rig.remove(0, "flag");
        rig.wait_for_priority(0, 96);
        rig.wait_for_address(VIP, 0);
        rig.touch(0, "flag");
        rig.wait_for_priority(0, 100);
        rig.wait_for_address(VIP, 0);
    });
}

#[test]
fn e9_the_owner_is_master_and_the_backup_follows_when_it_stops() {
    let configs = [guide("MASTER", 255, ""), guide("BACKUP", 150, "")];
    compare([&configs[0], &configs[1]], |rig| {
        rig.start(0);
        rig.wait_for_note(0, "master");
        rig.start(1);
        rig.wait_for_note(1, "backup");
        rig.wait_for_address(VIP, 0);
        rig.stop(0);
        rig.wait_for_note(1, "master");
        rig.wait_for_address(VIP, 1);
    });
}

#[test]
fn e10_nopreempt_the_router_that_returns_stays_backup() {
    let configs = [
        guide("BACKUP", 200, "    nopreempt\n"),
        guide("BACKUP", 150, "    nopreempt\n"),
    ];
    compare([&configs[0], &configs[1]], |rig| {
        rig.start(0);
        rig.wait_for_note(0, "master");
        rig.start(1);
        rig.wait_for_note(1, "backup");
        rig.stop(0);
        rig.wait_for_note(1, "master");
        rig.start(0);
        rig.wait_for_note(0, "backup");
        // Longer than a preemption would take.
        rig.wait_for_heartbeats(1, 5);
        rig.wait_for_address(VIP, 1);
    });
}

#[test]
fn e11_a_script_that_fails_moves_the_address_and_back_when_it_succeeds_again() {
    let script = "vrrp_script chk {
    script \"/bin/ls DIR/flag\"
    interval 1
    weight -50
    fall 3
    rise 2
}
";
    let config = |priority| {
        let tracked = "    track_script {\n        chk\n    }\n";
        format!("{script}{}", guide("BACKUP", priority, tracked))
    };
    let configs = [config(100), config(90)];
    compare([&configs[0], &configs[1]], |rig| {
        rig.touch(0, "flag");
        rig.touch(1, "flag");
        rig.start_both();
        rig.wait_for_note(0, "master");
        rig.remove(0, "flag");
        rig.wait_for_note(1, "master");
        rig.wait_for_note(0, "backup");
        rig.wait_for_address(VIP, 1);
        rig.touch(0, "flag");
        rig.wait_for_note(0, "master");
        rig.wait_for_note(1, "backup");
        rig.wait_for_address(VIP, 0);
    });
}

#[test]
fn e12_an_interface_that_goes_down_is_a_fault_or_lowers_the_priority_by_its_weight() {
    let tracked = "    track_interface {
        eth1
        eth2 weight -50
    }
";
    let configs = [guide("BACKUP", 100, tracked), guide("BACKUP", 90, "")];
    compare([&configs[0], &configs[1]], |rig| {
        rig.start_both();
        rig.wait_for_note(0, "master");
        rig.ip(0, "link set eth1 down");
        rig.wait_for_note(0, "fault");
        rig.wait_for_note(1, "master");
        rig.wait_for_address(VIP, 1);
        rig.ip(0, "link set eth1 up");
        rig.wait_for_note(0, "master");
        rig.wait_for_note(1, "backup");
        rig.ip(0, "link set eth2 down");
        rig.wait_for_note(1, "master");
        rig.wait_for_note(0, "backup");
        rig.wait_for_address(VIP, 1);
    });
}

#[test]
fn e13_a_process_that_ends_is_a_fault_and_the_address_moves() {
    // keepalived is notified of processes in the first network namespace only, so only this program
    // is tested.
    use crate::rig::{Kind, Rig};
    let process = "vrrp_track_process P {
    process kad-process
    delay 1
}
";
    let tracked = "    track_process {\n        P\n    }\n";
    let configs = [
        format!("{process}{}", guide("BACKUP", 100, tracked)),
        guide("BACKUP", 90, ""),
    ];
    let mut rig = Rig::new([Kind::Ours, Kind::Keepalived], [&configs[0], &configs[1]]);
    let process = Process::start(&rig.node(0).path(""), "kad-process");
    rig.start_both();
    rig.wait_for_note(0, "master");
    drop(process);
    rig.wait_for_note(0, "fault");
    rig.wait_for_note(1, "master");
    rig.wait_for_address(VIP, 1);
    let _process = Process::start(&rig.node(0).path(""), "kad-process");
    rig.wait_for_note(0, "master");
    rig.wait_for_address(VIP, 0);
}

#[test]
fn e15_e16_e17_equal_priorities_with_nopreempt_the_first_stays_and_is_followed_without_return() {
    let config = |own: u8, peer: u8| {
        let unicast = format!(
            "    nopreempt
    unicast_src_ip 192.0.2.{own}
    unicast_peer {{
        192.0.2.{peer}
    }}
    notify_stop \"DIR/note stop\"
    garp_master_delay 1
    garp_master_refresh 2
    track_interface {{
        eth0
    }}
"
        );
        guide("BACKUP", 50, &unicast)
    };
    let configs = [config(1, 2), config(2, 1)];
    compare([&configs[0], &configs[1]], |rig| {
        rig.start(0);
        rig.wait_for_note(0, "master");
        rig.start(1);
        rig.wait_for_note(1, "backup");
        rig.wait_for_address(VIP, 0);
        // The first burst of five, a second one after a second, then one every two seconds.
        rig.wait_for_announcements(0, [192, 0, 2, 100], 12);
        rig.stop(0);
        rig.wait_for_note(0, "stop");
        rig.wait_for_note(1, "master");
        rig.start(0);
        rig.wait_for_note(0, "backup");
        rig.wait_for_heartbeats(1, 5);
        rig.wait_for_address(VIP, 1);
    });
}
