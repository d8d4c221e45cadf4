//! Runs the example programs of this crate, which the guide explains, in namespaces.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{net::TcpListener, net::UdpSocket, time::Duration};

use nix::sys::signal::Signal;
use vrrp_lab::{BackgroundProgram, Host, Lan, example, wait_for};

const ADDRESS: &str = "192.0.2.254/24";

fn host(lan: &Lan) -> Host {
    lan.host("r1", &["192.0.2.1/24"]).unwrap()
}

fn has(host: &Host, address: &str) -> bool {
    let addresses = host.addresses().unwrap();
    addresses.contains(&address.parse().unwrap())
}

/// Waits for a line that ends with `end`.
fn wait_for_line(program: &BackgroundProgram, end: &str) {
    program.wait_for(end, |line| line.ends_with(end).then_some(()));
}

fn wait_for_active(program: &BackgroundProgram) {
    wait_for_line(program, "from Backup to Active: the Active fell silent");
}

#[test]
fn blocking_holds_the_address_until_enter_is_pressed() {
    let lan = Lan::new().unwrap();
    let host = host(&lan);
    let mut command = host.namespace().command(example("blocking").unwrap());
    command.args(["eth0", ADDRESS]);
    let mut program = BackgroundProgram::spawn_with_input(command);
    wait_for_active(&program);
    assert!(has(&host, ADDRESS));
    program.write_line("");
    assert!(program.wait().success());
    assert!(!has(&host, ADDRESS));
}

#[test]
fn own_loop_answers_requests_and_runs_the_router() {
    let lan = Lan::new().unwrap();
    let host = host(&lan);
    let program = BackgroundProgram::start(host.namespace(), "own_loop", &["eth0", ADDRESS]);
    wait_for_active(&program);
    let socket = host.namespace().run(|| UdpSocket::bind("127.0.0.1:0"));
    let socket = socket.unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(1)))
        .unwrap();
    let mut answer = [0; 64];
    let length = wait_for("an answer", BackgroundProgram::LIMIT, || {
        socket.send_to(b"state", "127.0.0.1:5112").ok()?;
        socket.recv(&mut answer).ok()
    });
    assert_eq!(&answer[..length.unwrap()], b"Active");
}

#[test]
fn tokio_task_resigns_at_ctrl_c() {
    let lan = Lan::new().unwrap();
    let host = host(&lan);
    let mut program = BackgroundProgram::start(host.namespace(), "tokio_task", &["eth0", ADDRESS]);
    wait_for_active(&program);
    assert!(has(&host, ADDRESS));
    program.signal(Signal::SIGINT);
    assert!(program.wait().success());
    assert!(!has(&host, ADDRESS));
}

#[test]
fn tracking_in_a_group_follows_the_service_and_the_uplink() {
    let lans = [(); 3].map(|()| Lan::new().unwrap());
    let host = host(&lans[0]);
    let inside = "198.51.100.254/24";
    let second = lans[1].attach(&host, "eth1", &["198.51.100.1/24"]).unwrap();
    let uplink = lans[2].attach(&host, "eth2", &["203.0.113.1/24"]).unwrap();
    let listen = || TcpListener::bind("127.0.0.1:80").unwrap();
    let service = host.namespace().run(listen);
    let arguments = ["eth0", ADDRESS, "eth1", inside, "eth2", "127.0.0.1:80"];
    let program = BackgroundProgram::start(host.namespace(), "tracking_in_a_group", &arguments);
    wait_for_line(&program, "all members are in state Active");
    wait_for("the addresses", BackgroundProgram::LIMIT, || {
        (has(&host, ADDRESS) && has(&second, inside)).then_some(())
    })
    .unwrap();

    uplink.shut().unwrap();
    let lowered = "virtual router 51 on eth0 (IPv4): the effective priority changed from 100 to 40";
    wait_for_line(&program, lowered);

    drop(service);
    wait_for_line(&program, "all members are in state Initialize");
    wait_for("the addresses to go", BackgroundProgram::LIMIT, || {
        (!has(&host, ADDRESS) && !has(&second, inside)).then_some(())
    })
    .unwrap();
    let _service = host.namespace().run(listen);
    wait_for(
        "both routers to start again",
        BackgroundProgram::LIMIT,
        || {
            let lines = program.lines();
            let starts = lines
                .iter()
                .filter(|line| line.ends_with("in state Active"));
            (starts.count() == 2).then_some(())
        },
    )
    .unwrap();
}
