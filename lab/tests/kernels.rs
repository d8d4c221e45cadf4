//! The guest kernels are what they claim to be, and have what tests of IPVS need.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "a test"
)]

use std::{
    fs,
    process::{Command, ExitCode},
};

use vrrp_lab::{Kernel, Lan, Suite, guest_tests};

fn main() -> ExitCode {
    let mut tests = Vec::from(guest_tests![
        the_kernel_has_its_version,
        ipvs_tables_are_empty,
        ipvs_tables_are_empty_again,
        schedulers_load_when_they_are_used,
        hosts_of_a_lan_reach_each_other,
        firewall_marks_can_be_set,
        tunnels_and_delays_can_be_set_up,
    ]);
    tests.extend(guest_tests![the_scheduler_twos_loads].map(|test| test.on(&[Kernel::Debian6_12])));
    Suite::new(Kernel::ALL, &tests).run()
}

/// The output of a program, if it succeeds.
fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn ipvsadm(arguments: &str) -> String {
    run("ipvsadm", &arguments.split(' ').collect::<Vec<_>>())
}

fn the_kernel_has_its_version() {
    let version = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let expected = match Kernel::current().unwrap() {
        Kernel::Uml6_1 | Kernel::Debian6_1 => "6.1.",
        Kernel::Debian6_12 => "6.12.",
    };
    assert!(version.starts_with(expected), "{version}");
}

/// Twice, for each test has tables of its own.
fn ipvs_tables_are_empty() {
    assert_eq!(ipvsadm("-Sn"), "");
    ipvsadm("-A -t 192.0.2.1:80 -s rr");
    assert_eq!(ipvsadm("-Sn"), "-A -t 192.0.2.1:80 -s rr\n");
}

fn ipvs_tables_are_empty_again() {
    ipvs_tables_are_empty();
}

fn schedulers_load_when_they_are_used() {
    for scheduler in [
        "rr", "wrr", "lc", "wlc", "fo", "ovf", "lblc", "lblcr", "dh", "sh", "mh", "sed", "nq",
    ] {
        ipvsadm(&format!("-A -t 192.0.2.1:80 -s {scheduler}"));
        ipvsadm("-D -t 192.0.2.1:80");
    }
}

/// It is younger than 6.1 in Debian's configuration.
fn the_scheduler_twos_loads() {
    ipvsadm("-A -t 192.0.2.1:80 -s twos");
}

fn hosts_of_a_lan_reach_each_other() {
    let lan = Lan::new().unwrap();
    let r1 = lan.host("r1", &["192.0.2.1/24", "2001:db8::1/64"]).unwrap();
    let _r2 = lan.host("r2", &["192.0.2.2/24", "2001:db8::2/64"]).unwrap();
    for address in ["192.0.2.2", "2001:db8::2"] {
        let status = r1
            .namespace()
            .command("busybox")
            .args(["ping", "-c", "1", "-W", "5", address])
            .status()
            .unwrap();
        assert!(status.success(), "{address}");
    }
}

fn firewall_marks_can_be_set() {
    for program in ["iptables-legacy", "ip6tables-legacy"] {
        let rule = "-t mangle -A PREROUTING -p tcp --dport 80 -j MARK --set-mark 1";
        run(program, &rule.split(' ').collect::<Vec<_>>());
    }
}

fn tunnels_and_delays_can_be_set_up() {
    for command in [
        "ip link add d0 type dummy",
        "ip link add t0 type ipip local 192.0.2.1 remote 192.0.2.2",
        "ip link add t1 type gre local 192.0.2.1 remote 192.0.2.2",
        "ip link add t2 type ip6tnl local 2001:db8::1 remote 2001:db8::2",
        "ip link add m0 link d0 type macvlan mode bridge",
        // Nothing in the kernel asks for this one.
        "modprobe fou",
        "ip fou add port 5555 ipproto 4",
        "tc qdisc add dev d0 root netem delay 1ms",
    ] {
        let mut words = command.split(' ');
        run(words.next().unwrap(), &words.collect::<Vec<_>>());
    }
}
