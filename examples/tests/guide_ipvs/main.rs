//! Runs the programs of the guide (docs/guide) that program IPVS, in a kernel that has it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    net::{TcpListener, TcpStream},
    process::ExitCode,
    time::Duration,
};

use nix::sys::signal::Signal;
use vrrp_lab::{BackgroundProgram, Kernel, Lan, Namespace, Suite, example, guest_tests, wait_for};

/// Longer than any test takes: a guest on a busy machine is slow.
const LIMIT: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    let tests = guest_tests![
        the_table_is_made_and_repaired,
        the_load_balancer_follows_the_health_of_its_servers,
    ];
    let tests = tests.map(|test| test.within(LIMIT));
    let mut suite = Suite::new(&[Kernel::Uml6_1], &tests);
    for name in ["guide_ipvs", "guide_load_balancer"] {
        suite.files.push(example(name).unwrap());
    }
    suite.run()
}

/// The table as `ipvsadm -Sn` prints it.
fn table(namespace: &Namespace) -> String {
    let mut command = namespace.command("/usr/sbin/ipvsadm");
    let output = command.arg("-Sn").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn wait_for_table(namespace: &Namespace, expected: &str) {
    let is_expected = || (table(namespace) == expected).then_some(());
    wait_for(&format!("the table {expected:?}"), LIMIT / 2, is_expected)
        .unwrap_or_else(|error| panic!("{error}; it is {:?}", table(namespace)));
}

fn the_table_is_made_and_repaired() {
    let namespace = Namespace::new().unwrap();
    let servers = ["192.0.2.254:80", "10.0.0.1:8080", "10.0.0.2:8080"];
    let program = BackgroundProgram::start(&namespace, "guide_ipvs", &servers);
    let expected = "-A -t 192.0.2.254:80 -s wlc\n\
                    -a -t 192.0.2.254:80 -r 10.0.0.1:8080 -m -w 1\n\
                    -a -t 192.0.2.254:80 -r 10.0.0.2:8080 -m -w 1\n";
    wait_for_table(&namespace, expected);
    let mut command = namespace.command("/usr/sbin/ipvsadm");
    let status = command
        .args(["-d", "-t", servers[0], "-r", servers[2]])
        .status();
    assert!(status.unwrap().success());
    wait_for_table(&namespace, expected);
    let lines = program.lines();
    assert_eq!(lines.len(), 4, "three additions and one repair: {lines:#?}");
    let chapter = include_str!("../../../docs/guide/ipvs.md");
    let output = lines.join("\n");
    assert!(chapter.contains(&output), "not in the guide:\n{output}");
}

fn the_load_balancer_follows_the_health_of_its_servers() {
    let lan = Lan::new().unwrap();
    let balancer = lan.host("r1", &["192.0.2.1/24"]).unwrap();
    let client = lan.host("r2", &["192.0.2.2/24"]).unwrap();
    let namespace = balancer.namespace();
    let listen = |port: u16| namespace.run(|| TcpListener::bind(("192.0.2.1", port)).unwrap());
    let (first, second) = (listen(8081), listen(8082));
    let arguments = "eth0 192.0.2.254/24 80 192.0.2.1:8081 192.0.2.1:8082";
    let arguments: Vec<&str> = arguments.split(' ').collect();
    let mut program = BackgroundProgram::start(namespace, "guide_load_balancer", &arguments);
    let service = "-A -t 192.0.2.254:80 -s wlc\n";
    let server = |port: u16| format!("-a -t 192.0.2.254:80 -r 192.0.2.1:{port} -m -w 1\n");
    wait_for_table(
        namespace,
        &(service.to_owned() + &server(8081) + &server(8082)),
    );
    let line = "from Backup to Active: the Active fell silent";
    program.wait_for(line, |it| it.ends_with(line).then_some(()));

    // A connection to the virtual address reaches a server.
    let connect = || TcpStream::connect(("192.0.2.254", 80));
    wait_for("a connection", LIMIT / 4, || {
        client.namespace().run(connect).ok()
    })
    .unwrap();

    drop(first);
    wait_for_table(namespace, &(service.to_owned() + &server(8082)));
    drop(second);
    wait_for_table(namespace, service);
    let line = "from Active to Initialize";
    program.wait_for(line, |it| it.contains(line).then_some(()));

    let _second = listen(8082);
    wait_for_table(namespace, &(service.to_owned() + &server(8082)));
    let is_active = |lines: Vec<String>| {
        let mut changes = lines
            .iter()
            .filter(|line| line.contains("the state changed"));
        changes
            .next_back()
            .is_some_and(|line| line.contains("to Active"))
    };
    wait_for("the address to come back", LIMIT / 4, || {
        is_active(program.lines()).then_some(())
    })
    .unwrap();
    program.signal(Signal::SIGTERM);
    assert!(program.wait().success());
    wait_for_table(namespace, "");
    assert!(
        !balancer
            .addresses()
            .unwrap()
            .contains(&"192.0.2.254/24".parse().unwrap())
    );
}
