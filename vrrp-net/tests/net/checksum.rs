//! Both checksum forms of version 3 over IPv4, with running peers that accept one form only
//! (AMB-01).

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use vrrp_fsm::{ChecksumEvidence, ChecksumForms, ChecksumSending, State};
use vrrp_lab::{Capture, Frr, FrrInstance, Keepalived, KeepalivedInstance, wait_for};
use vrrp_net::{Driver, RouterConfig};
use vrrp_proto::{
    Advertisement, ChecksumForm, ChecksumMatch, DecodeOptions, Endpoints, Family, Interval,
    IpHeader,
};

use crate::rig::{
    DriverThread, LIMIT, Seen, advertisements, ip, lan_of, router, wait_for_address,
    wait_for_advertisement,
};

/// The interval of all routers here. A shorter one would let a busy machine cause a takeover.
const INTERVAL: Duration = Duration::from_millis(300);

/// The time for which a peer is watched after it has joined: longer than its wait before a
/// takeover.
const JOINING: Duration = Duration::from_millis(6 * 300);

fn form(seen: &Seen) -> ChecksumMatch {
    let ip = IpHeader {
        endpoints: Endpoints::new(seen.source, seen.destination).unwrap(),
        ttl: seen.ttl,
    };
    let decoded = Advertisement::decode(&seen.message, &ip, &DecodeOptions::default()).unwrap();
    decoded.checksum
}

fn keepalived(priority: u8, further: &str) -> String {
    let instance = KeepalivedInstance {
        advert_interval: INTERVAL,
        further: further.into(),
        ..KeepalivedInstance::new(51, priority, &["192.0.2.254/32"])
    };
    instance.to_string()
}

fn ours_at(priority: u8) -> RouterConfig {
    let mut config = router(Family::Ipv4, priority);
    config.fsm.interval = Interval::centis(30).unwrap();
    config
}

fn ours(seen: &Seen) -> bool {
    seen.source == ip("192.0.2.1")
}

/// The forms of the messages that were captured from us, or from the others.
fn forms(capture: &Capture, of_ours: bool) -> HashSet<Option<ChecksumForm>> {
    let seen = advertisements(capture);
    let messages = seen.iter().filter(|(_, seen)| ours(seen) == of_ours);
    messages.map(|(_, seen)| form(seen).form()).collect()
}

const MESSAGE_ONLY: Option<ChecksumForm> = Some(ChecksumForm::MessageOnly);
const PSEUDO_HEADER: Option<ChecksumForm> = Some(ChecksumForm::PseudoHeader);

/// Checks that a peer that starts next to our Active of this priority becomes Backup, and stays
/// Backup.
fn joins_as_backup<P>(
    ours: u8,
    peer: impl FnOnce(&vrrp_lab::Host) -> P,
    log: impl Fn(&P) -> String,
    became_active: &str,
) {
    let (lan, hosts) = lan_of::<2>();
    let capture = lan.capture().unwrap();
    let (running, id) = DriverThread::with_router(hosts[0].namespace(), ours_at(ours));
    running.wait_for_state(id, State::Active);
    let peer = peer(&hosts[1]);
    // In this time the peer would take over.
    std::thread::sleep(JOINING);
    let log = log(&peer);
    assert!(!log.contains(became_active), "{log}");
    assert_eq!(running.count_transitions(State::Active), 1);
    assert_eq!(running.state(id), State::Active);
    assert_eq!(
        forms(&capture, true),
        HashSet::from([MESSAGE_ONLY, PSEUDO_HEADER])
    );
    assert_eq!(forms(&capture, false), HashSet::new());
}

#[test]
fn amb_01_keepalived_joins_as_a_backup() {
    for (ours, further) in [(200, ""), (50, "nopreempt\n    state BACKUP")] {
        joins_as_backup(
            ours,
            |host| Keepalived::start(host.namespace(), &keepalived(100, further)).unwrap(),
            Keepalived::log,
            "Entering MASTER STATE",
        );
    }
}

#[test]
#[ignore = "root alone can start the unpacked keepalived: run ./test"]
fn amb_01_a_recent_keepalived_joins_as_a_backup_with_either_form() {
    for (ours, further) in [
        (200, ""),
        (50, "nopreempt\n    state BACKUP"),
        (200, "v3_checksum_as_v2"),
        (50, "v3_checksum_as_v2\n    nopreempt\n    state BACKUP"),
    ] {
        joins_as_backup(
            ours,
            |host| Keepalived::start_recent(host.namespace(), &keepalived(100, further)).unwrap(),
            Keepalived::log,
            "Entering MASTER STATE",
        );
    }
}

#[test]
#[ignore = "root alone can start FRR: run ./test"]
fn amb_01_frr_joins_as_a_backup() {
    let instance = FrrInstance {
        advertisement_interval: INTERVAL,
        ipv4: vec![[192, 0, 2, 254].into()],
        ..FrrInstance::new(51, 100)
    };
    joins_as_backup(
        200,
        |host| Frr::start(host, &instance).unwrap(),
        Frr::log,
        "-> Master",
    );
}

/// No peer here rejects the pseudo-header; another driver of ours that accepts the message alone
/// stands for a router of RFC 9568.
#[test]
fn amb_01_a_receiver_of_rfc_9568_joins_as_a_backup() {
    let (_lan, hosts) = lan_of::<2>();
    let (running, id) = DriverThread::with_router(hosts[0].namespace(), ours_at(50));
    running.wait_for_state(id, State::Active);
    let mut strict = ours_at(100);
    strict.fsm.preempt = vrrp_fsm::Preempt::Never;
    strict.fsm.checksum = ChecksumSending::Fixed(ChecksumForm::MessageOnly);
    strict.checksum = vrrp_proto::ChecksumAcceptance::MessageOnly;
    let (peer, peer_id) = DriverThread::with_router(hosts[1].namespace(), strict);
    std::thread::sleep(JOINING);
    assert_eq!(peer.state(peer_id), State::Backup);
    let rejected = move |driver: &mut Driver| driver.counters().checksum_errors;
    assert!(peer.with(rejected) > 0, "it has seen the other form");
    assert_eq!(running.count_transitions(State::Active), 1);
}

/// keepalived with its defaults was Active before us: we send its form alone, and it accepts that
/// form when it comes back.
fn follows(peer: impl Fn(&vrrp_lab::Host) -> Keepalived, expected: ChecksumForm) {
    let (lan, hosts) = lan_of::<2>();
    let mut keepalived = peer(&hosts[1]);
    keepalived
        .wait_for_log("Entering MASTER STATE", LIMIT)
        .unwrap();
    let (running, id) = DriverThread::with_router(hosts[0].namespace(), ours_at(50));
    running.wait_for_state(id, State::Backup);
    let only = ChecksumForms::Only(expected);
    let known = move |driver: &mut Driver| {
        (driver.get(id).unwrap().machine().checksum_forms() == only).then_some(())
    };
    wait_for("the form of keepalived", LIMIT, || running.with(known)).unwrap();
    let received = move |driver: &mut Driver| {
        let counters = driver.get(id).unwrap().machine().counters();
        counters.advertisements_received
    };
    assert!(running.with(received) >= u64::from(ChecksumEvidence::ENOUGH));

    let capture = lan.capture().unwrap();
    keepalived.stop().unwrap();
    running.wait_for_state(id, State::Active);
    let back = peer(&hosts[1]);
    std::thread::sleep(JOINING);
    assert!(
        !back.log().contains("Entering MASTER STATE"),
        "{}",
        back.log()
    );
    assert_eq!(running.state(id), State::Active);
    assert_eq!(forms(&capture, true), HashSet::from([Some(expected)]));
    wait_for_address(&hosts[0], "192.0.2.254/32", true);
}

#[test]
fn amb_01_the_form_of_a_keepalived_that_was_active_is_sent_alone() {
    let config = keepalived(100, "nopreempt\n    state BACKUP");
    follows(
        |host| Keepalived::start(host.namespace(), &config).unwrap(),
        ChecksumForm::PseudoHeader,
    );
}

#[test]
#[ignore = "root alone can start the unpacked keepalived: run ./test"]
fn amb_01_the_form_of_a_keepalived_without_the_pseudo_header_is_sent_alone() {
    let config = keepalived(100, "v3_checksum_as_v2\n    nopreempt\n    state BACKUP");
    follows(
        |host| Keepalived::start_recent(host.namespace(), &config).unwrap(),
        ChecksumForm::MessageOnly,
    );
}

/// The reason for both forms: with one form alone, a keepalived that rejects this form becomes
/// Active next to ours.
#[test]
fn amb_01_a_keepalived_that_rejects_the_only_form_becomes_active_as_well() {
    let (lan, hosts) = lan_of::<2>();
    let capture = lan.capture().unwrap();
    let started = Instant::now();
    let mut config: RouterConfig = ours_at(200);
    config.fsm.checksum = ChecksumSending::Fixed(ChecksumForm::MessageOnly);
    let (running, id) = DriverThread::with_router(hosts[0].namespace(), config);
    running.wait_for_state(id, State::Active);
    let (_, first) = wait_for_advertisement(&capture, "an advertisement", started, ours);
    assert_eq!(form(&first).form(), MESSAGE_ONLY);
    let mut peer = Keepalived::start(hosts[1].namespace(), &keepalived(100, "")).unwrap();
    peer.wait_for_log("Entering MASTER STATE", LIMIT).unwrap();
    peer.stop().unwrap();
}
