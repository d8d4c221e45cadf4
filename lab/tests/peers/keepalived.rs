use std::{
    env, fs,
    io::{self, BufRead, BufReader},
    net::IpAddr,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use vrrp_lab::{
    Error, Host, Keepalived, KeepalivedAuthentication, KeepalivedInstance, Lan, V3Checksum,
    wait_for,
};

use crate::{FAST, LONG, advertisement, advertisements, processes};

fn keepalived(host: &Host, instance: &KeepalivedInstance) -> Keepalived {
    Keepalived::start(host.namespace(), &instance.to_string()).unwrap()
}

fn holds(host: &Host, address: &str) -> bool {
    let address: IpAddr = address.parse().unwrap();
    host.addresses()
        .unwrap()
        .iter()
        .any(|prefix| prefix.addr() == address)
}

#[test]
fn two_keepalived_elect_and_fail_over_when_one_is_killed() {
    let lan = Lan::new().unwrap();
    let r1 = lan.host("r1", &["192.0.2.1/24"]).unwrap();
    let r2 = lan.host("r2", &["192.0.2.2/24"]).unwrap();
    let capture = lan.capture().unwrap();
    let instance = |priority| KeepalivedInstance {
        advert_interval: FAST,
        ..KeepalivedInstance::new(51, priority, &["192.0.2.254/24"])
    };
    let mut first = keepalived(&r1, &instance(200));
    first.wait_for_log("Entering MASTER STATE", LONG).unwrap();
    let _second = keepalived(&r2, &instance(100));
    assert!(holds(&r1, "192.0.2.254"));
    assert!(!holds(&r2, "192.0.2.254"));

    let killed = Instant::now();
    first.kill();
    wait_for("the takeover", LONG, || {
        holds(&r2, "192.0.2.254").then_some(())
    })
    .unwrap();
    // A goodbye would have cut the wait short; the address stays where the dead cannot remove it.
    assert!(
        killed.elapsed() + Duration::from_millis(10) >= 3 * FAST,
        "{:?}",
        killed.elapsed()
    );
    assert!(holds(&r1, "192.0.2.254"));
    let frames = capture.frames();
    assert!(
        frames
            .iter()
            .any(|frame| advertisement(frame) == Some((3, 200)))
    );
    assert!(
        !frames
            .iter()
            .any(|frame| advertisement(frame) == Some((3, 0)))
    );
}

#[test]
fn a_stopped_keepalived_resigns_and_cleans_up() {
    let lan = Lan::new().unwrap();
    let r1 = lan.host("r1", &["192.0.2.1/24"]).unwrap();
    let capture = lan.capture().unwrap();
    let instance = KeepalivedInstance {
        version: 2,
        ..KeepalivedInstance::new(51, 200, &["192.0.2.254/24"])
    };
    let mut router = keepalived(
        &r1,
        &KeepalivedInstance {
            start_as_master: true,
            ..instance
        },
    );
    router.wait_for_log("Entering MASTER STATE", LONG).unwrap();
    router.stop().unwrap();
    assert!(!holds(&r1, "192.0.2.254"));
    capture
        .wait_for("the resignation", LONG, |frame| {
            advertisement(frame) == Some((2, 0))
        })
        .unwrap();
}

#[test]
fn a_dropped_keepalived_leaves_no_process_and_no_file() {
    let lan = Lan::new().unwrap();
    let r1 = lan.host("r1", &["192.0.2.1/24"]).unwrap();
    let router = keepalived(&r1, &KeepalivedInstance::new(51, 200, &["192.0.2.254/24"]));
    let folder = router.folder().to_owned();
    let name = folder.to_str().unwrap();
    assert_eq!(processes(name).len(), 2, "keepalived and its child");
    drop(router);
    assert!(!folder.exists());
    // The child is not ours to wait for: SIGKILL ends it, and the kernel takes its time.
    wait_for("the end of keepalived", LONG, || {
        processes(name).is_empty().then_some(())
    })
    .unwrap();
}

#[test]
fn a_fault_in_the_configuration_of_keepalived_is_an_error() {
    let lan = Lan::new().unwrap();
    let r1 = lan.host("r1", &["192.0.2.1/24"]).unwrap();
    let instance = KeepalivedInstance {
        further: "no_such_option".into(),
        ..KeepalivedInstance::new(51, 100, &["192.0.2.254/24"])
    };
    let error = Keepalived::start(r1.namespace(), &instance.to_string()).unwrap_err();
    assert!(matches!(error, Error::Program { .. }), "{error}");
    assert!(error.to_string().contains("no_such_option"), "{error}");
}

/// Every option is accepted by keepalived and seen on the wire.
#[test]
fn the_options_of_a_keepalived_instance_take_effect() {
    let lan = Lan::new().unwrap();
    let r1 = lan.host("r1", &["192.0.2.1/24", "192.0.2.11/24"]).unwrap();
    let _r2 = lan.host("r2", &["192.0.2.2/24"]).unwrap();
    let base = KeepalivedInstance {
        start_as_master: true,
        ..KeepalivedInstance::new(51, 150, &["192.0.2.254/24"])
    };
    let run = |instance: KeepalivedInstance, checksum| {
        let capture = lan.capture().unwrap();
        let mut router = keepalived(&r1, &instance);
        router.wait_for_log("Entering MASTER STATE", LONG).unwrap();
        router.stop().unwrap();
        let packets = advertisements(capture, checksum);
        for packet in &packets {
            assert_eq!(packet.complaints(), [""; 0], "{instance}");
        }
        packets[0].clone()
    };

    let plain = run(
        KeepalivedInstance {
            advert_interval: FAST,
            ..base.clone()
        },
        V3Checksum::PseudoHeader,
    );
    assert_eq!(plain.field("vrrp.version"), Some("3"));
    assert_eq!(plain.field("vrrp.short_adver_int"), Some("10"));
    assert_eq!(plain.field("ip.dst"), Some("224.0.0.18"));
    assert_eq!(plain.fields("vrrp.ip_addr"), ["192.0.2.254"]);

    let unicast = KeepalivedInstance {
        source: Some([192, 0, 2, 11].into()),
        unicast_peers: vec![[192, 0, 2, 2].into()],
        advert_interval: FAST,
        ..base.clone()
    };
    let unicast = run(unicast, V3Checksum::PseudoHeader);
    assert_eq!(
        (unicast.field("ip.src"), unicast.field("ip.dst")),
        (Some("192.0.2.11"), Some("192.0.2.2"))
    );

    let pass = KeepalivedAuthentication::Pass("secret".into());
    let pass = run(
        KeepalivedInstance {
            version: 2,
            authentication: Some(pass),
            ..base.clone()
        },
        V3Checksum::MessageOnly,
    );
    assert_eq!(pass.field("vrrp.auth_type"), Some("1"));
    assert_eq!(pass.field("vrrp.auth_string"), Some("secret"));

    let ah = KeepalivedAuthentication::Ah("secret".into());
    let ah = KeepalivedInstance {
        version: 2,
        authentication: Some(ah),
        start_as_master: false,
        ..base.clone()
    };
    let ah = run(ah, V3Checksum::MessageOnly);
    assert_eq!(ah.field("vrrp.auth_type"), Some("2"));
    assert_eq!(ah.field("ip.proto"), Some("51"));
}

#[test]
fn keepalived_runs_ipv6() {
    let lan = Lan::new().unwrap();
    let r1 = lan.host("r1", &["2001:db8::1/64"]).unwrap();
    let capture = lan.capture().unwrap();
    let instance = KeepalivedInstance {
        advert_interval: FAST,
        ..KeepalivedInstance::new(51, 150, &["fe80::254/64", "2001:db8::254/64"])
    };
    let _router = keepalived(&r1, &instance);
    wait_for("the address", LONG, || {
        holds(&r1, "2001:db8::254").then_some(())
    })
    .unwrap();
    let packets = advertisements(capture, V3Checksum::PseudoHeader);
    assert_eq!(
        packets[0].fields("vrrp.ipv6_addr"),
        ["fe80::254", "2001:db8::254"]
    );
    assert_eq!(packets[0].complaints(), [""; 0]);
}

#[test]
fn without_preemption_the_higher_priority_waits() {
    let lan = Lan::new().unwrap();
    let r1 = lan.host("r1", &["192.0.2.1/24"]).unwrap();
    let r2 = lan.host("r2", &["192.0.2.2/24"]).unwrap();
    let instance = |priority, preempt| KeepalivedInstance {
        advert_interval: FAST,
        preempt,
        ..KeepalivedInstance::new(51, priority, &["192.0.2.254/24"])
    };
    let mut low = keepalived(&r1, &instance(100, true));
    low.wait_for_log("Entering MASTER STATE", LONG).unwrap();
    let patient = keepalived(&r2, &instance(200, false));
    std::thread::sleep(10 * FAST);
    assert!(!holds(&r2, "192.0.2.254"));
    drop(patient);
    let mut impatient = keepalived(&r2, &instance(200, true));
    impatient
        .wait_for_log("Entering MASTER STATE", LONG)
        .unwrap();
}

/// Starts this test again in a process that is killed while keepalived runs.
#[test]
fn keepalived_does_not_outlive_a_killed_process() {
    const VICTIM: &str = "VRRP_LAB_TEST_VICTIM";
    if env::var_os(VICTIM).is_some() {
        let lan = Lan::new().unwrap();
        let r1 = lan.host("r1", &["192.0.2.1/24"]).unwrap();
        let router = keepalived(&r1, &KeepalivedInstance::new(51, 200, &["192.0.2.254/24"]));
        println!("folder={}", router.folder().display());
        // Ends when it is killed, or with the test that started it.
        io::stdin().read_line(&mut String::new()).unwrap();
        return;
    }
    let mut victim = Command::new(env::current_exe().unwrap())
        .args([
            "--exact",
            "keepalived::keepalived_does_not_outlive_a_killed_process",
            "--nocapture",
        ])
        .env(VICTIM, "")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    let folder = lines
        .map_while(Result::ok)
        .find_map(|line| Some(line.split_once("folder=")?.1.to_owned()));
    let folder = folder.unwrap();
    assert_eq!(processes(&folder).len(), 2);
    victim.kill().unwrap();
    victim.wait().unwrap();
    wait_for("the end of keepalived", LONG, || {
        processes(&folder).is_empty().then_some(())
    })
    .unwrap();
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_recent_keepalived_leaves_the_pseudo_header_out() {
    let lan = Lan::new().unwrap();
    let host = lan.host("r1", &["192.0.2.1/24"]).unwrap();
    let capture = lan.capture().unwrap();
    let instance = KeepalivedInstance {
        advert_interval: Duration::from_millis(100),
        further: "v3_checksum_as_v2".into(),
        ..KeepalivedInstance::new(51, 100, &["192.0.2.254/24"])
    };
    let keepalived = Keepalived::start_recent(host.namespace(), &instance.to_string()).unwrap();
    let frame = capture
        .wait_for("an advertisement", LONG, |frame| {
            frame.bytes.get(23) == Some(&112)
        })
        .unwrap();
    // The words of the message alone add up to all ones.
    let sum = frame.bytes[34..46]
        .chunks(2)
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum::<u32>();
    assert_eq!((sum >> 16) + (sum & 0xffff), 0xffff);
    keepalived.stop().unwrap();
}
