//! The errors where a privilege is missing.

use std::{env, process::Command};

use vrrp_net::{Capability, Driver, Error};

/// Set in a child that has one privilege less: it prints its error, for its parent to read.
const CHILD: &str = "VRRP_NET_TEST_WITHOUT_CAPABILITY";

#[test]
fn a_driver_opens_with_the_two_capabilities() {
    match (env::var_os(CHILD), Driver::new()) {
        (None, result) => {
            result.unwrap();
        }
        (Some(_), Err(error @ Error::Capability { capability, .. })) => {
            println!("<{capability}: {error}>");
            assert!(matches!(
                capability,
                Capability::NetAdmin | Capability::NetRaw
            ));
        }
        (Some(_), other) => panic!("{other:?}"),
    }
}

/// Runs the test above with all capabilities except one, and returns its output.
fn without(capability: &str) -> String {
    let output = Command::new("setpriv")
        .arg(format!("--bounding-set=-{capability}"))
        .arg(env::current_exe().unwrap())
        .args(["--exact", "--nocapture"])
        .arg("privileges::a_driver_opens_with_the_two_capabilities")
        .env(CHILD, "1")
        .output()
        .expect("setpriv of the Debian package util-linux");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    text
}

#[test]
fn an_error_names_the_missing_capability_and_the_remedy() {
    let text = without("net_raw");
    assert!(
        text.contains(
            "<CAP_NET_RAW: open a packet socket for announcements: Operation not permitted"
        ),
        "{text}"
    );
    for remedy in [
        "the process needs CAP_NET_RAW: run it as root, or",
        "--cap-add NET_ADMIN --cap-add NET_RAW",
        "securityContext: {capabilities: {add: [NET_ADMIN, NET_RAW]}}",
    ] {
        assert!(text.contains(remedy), "no {remedy:?} in {text}");
    }

    let text = without("net_admin");
    assert!(
        text.contains("<CAP_NET_ADMIN: change addresses: "),
        "{text}"
    );
    assert!(
        text.contains("setcap cap_net_admin,cap_net_raw+ep"),
        "{text}"
    );
}
