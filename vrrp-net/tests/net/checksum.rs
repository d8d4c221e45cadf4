//! Both checksum forms of version 3 over IPv4, with keepalived as the peer that knows one only (AMB-01).

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use vrrp_fsm::{ChecksumSending, State};
use vrrp_lab::{Keepalived, KeepalivedInstance, wait_for};
use vrrp_net::{Driver, RouterConfig};
use vrrp_proto::{
    Advertisement, ChecksumForm, ChecksumMatch, DecodeOptions, Endpoints, Family, IpHeader,
};

use crate::rig::{
    LIMIT, Running, Seen, advertisements, ip, lan_of, router, wait_for_address,
    wait_for_advertisement,
};

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
        advert_interval: Duration::from_millis(100),
        further: further.into(),
        ..KeepalivedInstance::new(51, priority, &["192.0.2.254/32"])
    };
    instance.to_string()
}

fn starting_with(form: ChecksumForm, priority: u8) -> RouterConfig {
    let mut config = router(Family::Ipv4, priority);
    config.fsm.checksum = ChecksumSending::Adaptive(form);
    config
}

fn ours(seen: &Seen) -> bool {
    seen.source == ip("192.0.2.1")
}

/// keepalived as it comes takes the pseudo-header only: it cannot hear a router that starts without, and comes up beside it.
#[test]
fn amb_01_a_peer_with_the_pseudo_header_is_answered_with_it() {
    let (lan, hosts) = lan_of::<2>();
    let capture = lan.capture().unwrap();
    let started = Instant::now();
    let config = starting_with(ChecksumForm::MessageOnly, 200);
    let (running, id) = Running::with_router(hosts[0].namespace(), config);
    running.wait_for_state(id, State::Active);
    let (_, first) = wait_for_advertisement(&capture, "an advertisement", started, ours);
    assert_eq!(form(&first).form(), Some(ChecksumForm::MessageOnly));

    let mut peer = Keepalived::start(hosts[1].namespace(), &keepalived(100, "")).unwrap();
    peer.wait_for_log("Entering MASTER STATE", LIMIT).unwrap();
    // Its first advertisement is enough.
    wait_for_advertisement(&capture, "the answer in its form", started, |seen| {
        ours(seen) && form(seen).form() == Some(ChecksumForm::PseudoHeader)
    });
    wait_for_address(&hosts[1], "192.0.2.254/32", false);
    assert_eq!(running.state(id), State::Active);
    assert_eq!(running.count_transitions(State::Active), 1);
    peer.stop().unwrap();
}

/// With `v3_checksum_as_v2` it sends as RFC 9568 says (and takes anything).
#[test]
fn amb_01_a_peer_without_the_pseudo_header_is_followed_without_it() {
    let (lan, hosts) = lan_of::<2>();
    let capture = lan.capture().unwrap();
    let config = keepalived(200, "v3_checksum_as_v2");
    let mut peer = Keepalived::start_recent(hosts[1].namespace(), &config).unwrap();
    peer.wait_for_log("Entering MASTER STATE", LIMIT).unwrap();
    let config = starting_with(ChecksumForm::PseudoHeader, 100);
    let (running, id) = Running::with_router(hosts[0].namespace(), config);
    running.wait_for_state(id, State::Backup);
    let heard = move |driver: &mut Driver| {
        let active = driver.get(id).unwrap().machine().active();
        active.map(|active| active.address)
    };
    let active = wait_for("keepalived as the Active", LIMIT, || running.with(heard)).unwrap();
    assert_eq!(active, ip("192.0.2.2"));

    peer.stop().unwrap();
    running.wait_for_state(id, State::Active);
    let seen = advertisements(&capture);
    let forms = |is_meant: fn(&Seen) -> bool| {
        let messages = seen.iter().filter(move |(_, seen)| is_meant(seen));
        messages
            .map(|(_, seen)| form(seen).form())
            .collect::<HashSet<_>>()
    };
    let message_only = HashSet::from([Some(ChecksumForm::MessageOnly)]);
    assert_eq!(forms(|seen| !ours(seen)), message_only);
    assert_eq!(forms(ours), message_only);
}
