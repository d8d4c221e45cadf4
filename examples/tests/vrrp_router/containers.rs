//! What the program says where a container or a user namespace keeps something from it.

use std::process::Command;

use nix::sys::signal::Signal;
use vrrp_lab::{BackgroundProgram, Host, example};

use crate::{BASE, iproute2, lan_of, wait_for_event, wait_for_state};

/// Runs the program behind other words, and returns what it says when it is refused.
fn refused(host: &Host, before: &[&str]) -> String {
    let mut command: Command = host.namespace().command(before[0]);
    command.args(&before[1..]);
    command.arg(example("vrrp_router").unwrap());
    let output = command.args(BASE.split(' ')).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    text
}

#[test]
fn a_missing_capability_is_named_with_the_remedies() {
    let (_lan, [host]) = lan_of();
    for capability in ["net_raw", "net_admin"] {
        let text = refused(
            &host,
            &["setpriv", &format!("--bounding-set=-{capability}")],
        );
        for remedy in [
            &*format!(
                "the process needs CAP_{}: run it as root",
                capability.to_uppercase()
            ),
            "`setcap cap_net_admin,cap_net_raw+ep PROGRAM`",
            "`--cap-add NET_ADMIN --cap-add NET_RAW` (Docker, Podman)",
            "`securityContext: {capabilities: {add: [NET_ADMIN, NET_RAW]}}` (Kubernetes)",
        ] {
            assert!(text.contains(remedy), "no {remedy:?} in {text}");
        }
    }
}

#[test]
fn a_call_that_is_forbidden_although_the_capability_is_there_is_not_blamed_on_it() {
    let (_lan, [host]) = lan_of();
    // Root of a user namespace has all capabilities, but not over the network of another one.
    let text = refused(&host, &["unshare", "--user", "--map-root-user"]);
    for part in [
        "Operation not permitted (os error 1); the process has CAP_NET_",
        "a seccomp filter, a security module or a user namespace",
        "`--security-opt seccomp=unconfined` (Docker, Podman)",
        "`securityContext: {seccompProfile: {type: Unconfined}}` (Kubernetes)",
    ] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
}

#[test]
fn settings_that_are_mounted_read_only_are_named_with_the_remedies() {
    let (_lan, [host]) = lan_of();
    let mut command = host.namespace().command("unshare");
    let script =
        "mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys && exec \"$@\"";
    command.args(["--mount", "sh", "-c", script, "sh"]);
    command.arg(example("vrrp_router").unwrap());
    command
        .args(BASE.split(' '))
        .args(["--interval", "10", "--virtual-mac"]);
    let mut router = BackgroundProgram::spawn(command);
    let fault = wait_for_event(&router, "fault");
    let reason = fault["reason"].as_str().unwrap();
    for part in [
        "set sysctl net/ipv",
        "Read-only file system (os error 30); /proc/sys is mounted read-only",
        "`--security-opt systempaths=unconfined` (Docker)",
        "`--security-opt unmask=/proc/sys` (Podman)",
        "`securityContext: {privileged: true}` (Kubernetes)",
    ] {
        assert!(reason.contains(part), "no {part:?} in {reason}");
    }
    wait_for_event(&router, "started");
    router.signal(Signal::SIGTERM);
    assert_eq!(router.wait().code(), Some(0));
    assert!(!iproute2(&host, &["link", "show"]).contains("vrrp4-51"));

    // Without a virtual MAC address nothing has to be set.
    let mut command = host.namespace().command("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]);
    command.arg(example("vrrp_router").unwrap());
    command.args(BASE.split(' ')).args(["--interval", "10"]);
    let router = BackgroundProgram::spawn(command);
    wait_for_state(&router, "Active");
}
