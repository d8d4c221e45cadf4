//! A normal user's program builds networks after `become_root_in_user_namespace`.
//!
//! Without the usual test harness, because the harness has threads and the kernel moves only
//! single-threaded processes into a user namespace. This program starts itself again as the user
//! `nobody`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "a test"
)]

use std::{
    env, fs,
    net::UdpSocket,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    process::Command,
    time::Duration,
};

use vrrp_lab::{Error, Lan, become_root_in_user_namespace};

const NOBODY: u32 = 65534;
const ROLE: &str = "VRRP_LAB_TEST_ROLE";

fn main() {
    match env::var(ROLE).as_deref() {
        Ok("build") => build(),
        Ok("forbidden") => forbidden(),
        Ok("threads") => threads(),
        _ => {
            // A process with the privileges keeps its namespace.
            let before = fs::read_link("/proc/self/ns/user").unwrap();
            become_root_in_user_namespace().unwrap();
            assert_eq!(fs::read_link("/proc/self/ns/user").unwrap(), before);
            println!("a privileged process stays in its user namespace ... ok");

            for role in ["build", "threads"] {
                as_nobody(role);
                println!("{role} as a normal user ... ok");
            }
            in_a_closed_namespace("forbidden");
            println!("forbidden names the setting that forbids it ... ok");
        }
    }
}

fn as_nobody(role: &str) {
    // A copy, because nobody may not be allowed to reach the build directory.
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = folder.path().join("user_namespace");
    fs::copy(env::current_exe().unwrap(), &program).unwrap();

    let mut command = Command::new(program);
    command.env(ROLE, role);
    // Inside a user namespace that maps one user only, nobody does not exist and root is a normal
    // user already.
    let users: u64 = fs::read_to_string("/proc/self/uid_map")
        .unwrap()
        .split_whitespace()
        .nth(2)
        .unwrap()
        .parse()
        .unwrap();
    if users > u64::from(NOBODY) {
        command.uid(NOBODY).gid(NOBODY);
    } else {
        println!("only one user is mapped here: {role} runs with privileges");
    }
    assert!(command.status().unwrap().success(), "{role} failed");
}

fn unprivileged() -> bool {
    nix::unistd::geteuid().as_raw() == NOBODY
}

fn build() {
    become_root_in_user_namespace().unwrap();
    assert!(nix::unistd::geteuid().is_root());
    let lan = Lan::new().unwrap();
    let r1 = lan.host("r1", &["192.0.2.1/24"]).unwrap();
    let r2 = lan.host("r2", &["192.0.2.2/24"]).unwrap();
    let receiver = r2
        .namespace()
        .run(|| UdpSocket::bind("192.0.2.2:0"))
        .unwrap();
    receiver
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let sender = r1
        .namespace()
        .run(|| UdpSocket::bind("192.0.2.1:0"))
        .unwrap();
    sender
        .send_to(b"hello", receiver.local_addr().unwrap())
        .unwrap();
    assert_eq!(receiver.recv(&mut [0; 5]).unwrap(), 5);
}

fn threads() {
    let (release, wait) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || wait.recv());
    let result = become_root_in_user_namespace();
    release.send(()).unwrap();
    thread.join().unwrap().unwrap();
    match result {
        Err(Error::Os { action, .. }) => assert!(action.contains("several threads"), "{action}"),
        other => assert!(!unprivileged() && other.is_ok(), "{other:?}"),
    }
}

/// A user namespace has limits of its own, so one can be closed without touching the system's
/// settings.
fn in_a_closed_namespace(role: &str) {
    let close_and_run = "echo 0 > /proc/sys/user/max_user_namespaces && \
        exec setpriv --bounding-set -all --inh-caps -all --securebits +noroot \"$0\"";
    let status = Command::new("unshare")
        .args(["--user", "--map-root-user", "sh", "-c", close_and_run])
        .arg(env::current_exe().unwrap())
        .env(ROLE, role)
        .status()
        .unwrap();
    assert!(status.success(), "{role} failed");
}

fn forbidden() {
    let error = become_root_in_user_namespace().unwrap_err();
    assert!(
        matches!(error, Error::UserNamespacesForbidden { .. }),
        "{error:?}"
    );
    let text = error.to_string();
    assert!(text.contains("user.max_user_namespaces = 0"), "{text}");
    assert!(text.contains("sudo "), "{text}");
}
