use std::time::Duration;

use vrrp_lab::{Error, Frame, Frr, FrrInstance, Lan, V3Checksum};

use crate::{FAST, LONG, advertisement, advertisements, processes};

fn frr_instance(priority: u8) -> FrrInstance {
    FrrInstance {
        advertisement_interval: FAST,
        ipv4: vec![[192, 0, 2, 254].into()],
        ..FrrInstance::new(51, priority)
    }
}

#[test]
fn two_frr_elect_and_fail_over_when_one_is_killed() {
    let lan = Lan::new().unwrap();
    let r1 = lan.host("r1", &["192.0.2.1/24"]).unwrap();
    let r2 = lan.host("r2", &["192.0.2.2/24"]).unwrap();
    let capture = lan.capture().unwrap();
    let mut first = Frr::start(&r1, &frr_instance(200)).unwrap();
    first.wait_for_log("[IPv4] Backup -> Master", LONG).unwrap();
    // An Active fails to send its first ones, until the macvlan that it has just enabled is up.
    let sent_by = |priority| move |frame: &Frame| advertisement(frame) == Some((3, priority));
    capture
        .wait_for("an advertisement", LONG, sent_by(200))
        .unwrap();
    let mut second = Frr::start(&r2, &frr_instance(100)).unwrap();
    assert!(!second.log().contains("-> Master"));
    first.kill();
    second
        .wait_for_log("[IPv4] Backup -> Master", LONG)
        .unwrap();
    capture
        .wait_for("an advertisement", LONG, sent_by(100))
        .unwrap();
    assert!(!capture.frames().iter().any(sent_by(0)));
    second.stop().unwrap();
    capture
        .wait_for("the resignation", LONG, sent_by(0))
        .unwrap();
    for packet in advertisements(capture, V3Checksum::PseudoHeader) {
        assert_eq!(packet.complaints(), [""; 0]);
        assert_eq!(packet.field("vrrp.short_adver_int"), Some("10"));
    }
}

#[test]
fn frr_runs_ipv6_and_version_2() {
    let lan = Lan::new().unwrap();
    let r1 = lan.host("r1", &["192.0.2.1/24", "2001:db8::1/64"]).unwrap();
    let capture = lan.capture().unwrap();
    let both = FrrInstance {
        ipv6: vec!["2001:db8::254".parse().unwrap()],
        ..frr_instance(150)
    };
    let mut router = Frr::start(&r1, &both).unwrap();
    router
        .wait_for_log("[IPv4] Backup -> Master", LONG)
        .unwrap();
    router
        .wait_for_log("[IPv6] Backup -> Master", LONG)
        .unwrap();
    let ipv6 = |frame: &Frame| {
        let bytes = &frame.bytes;
        bytes.get(12..14) == Some(&[0x86, 0xdd]) && bytes.get(20) == Some(&112)
    };
    capture
        .wait_for("an advertisement over IPv6", LONG, ipv6)
        .unwrap();
    router.stop().unwrap();
    let packets = advertisements(capture, V3Checksum::PseudoHeader);
    let ipv6 = packets
        .iter()
        .find(|packet| packet.field("ipv6.src").is_some())
        .unwrap();
    assert_eq!(ipv6.fields("vrrp.ipv6_addr"), ["2001:db8::254"]);
    assert_eq!(ipv6.complaints(), [""; 0]);

    let lan = Lan::new().unwrap();
    let r1 = lan.host("r1", &["192.0.2.1/24"]).unwrap();
    let capture = lan.capture().unwrap();
    let version_2 = FrrInstance {
        version: 2,
        advertisement_interval: Duration::from_secs(1),
        ..frr_instance(200)
    };
    let router = Frr::start(&r1, &version_2).unwrap();
    capture
        .wait_for("an advertisement", LONG, |frame| {
            advertisement(frame) == Some((2, 200))
        })
        .unwrap();
    drop(router);
}

#[test]
fn a_dropped_frr_leaves_no_process_and_no_file() {
    let lan = Lan::new().unwrap();
    let r1 = lan.host("r1", &["192.0.2.1/24"]).unwrap();
    let router = Frr::start(&r1, &frr_instance(100)).unwrap();
    let folder = router.folder().to_owned();
    let name = folder.to_str().unwrap();
    assert_eq!(processes(name).len(), 2, "zebra and vrrpd");
    drop(router);
    assert_eq!(processes(name), [""; 0]);
    assert!(!folder.exists());
}

#[test]
fn a_fault_in_the_configuration_of_frr_is_an_error() {
    let lan = Lan::new().unwrap();
    let r1 = lan.host("r1", &["192.0.2.1/24"]).unwrap();
    // FRR keeps 255 for itself.
    let error = Frr::start(&r1, &frr_instance(255)).unwrap_err();
    assert!(matches!(error, Error::Program { .. }), "{error}");
    assert!(
        error.to_string().contains("vrrp 51 priority 255"),
        "{error}"
    );
}
