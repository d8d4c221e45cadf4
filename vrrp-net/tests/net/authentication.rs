//! Advertisements without our authentication are discarded.

use std::{
    net::{IpAddr, Ipv4Addr},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use vrrp_fsm::{Counters, Reason, State};
use vrrp_lab::{Host, wait_for};
use vrrp_net::{
    Authentication, DriverEvent, Error, FrameSocket, HmacKeys, HmacMode, RouterConfig, RouterId,
    VirtualMac,
};
use vrrp_proto::{
    Addresses, Advertisement, AuthenticationFault, ChecksumForm, ClockSkew, Discard, Endpoints,
    Family, GROUP_IPV4, Interval, LengthFault, Password, Priority,
    frame::{ethernet, ipv4, multicast_mac, virtual_mac},
    group,
    hmac::{AntiReplay, Key, Keys, SendSequence, UtcTime},
};

use crate::rig::{
    DriverThread, LIMIT, VIP4, in_time, lan_of, router, router_v2, vrid, wait_for_advertisement,
};

fn password(text: &str) -> Password {
    Password::new(text.as_bytes()).unwrap()
}

fn with(mut config: RouterConfig, authentication: Authentication) -> RouterConfig {
    config.authentication = authentication;
    config
}

/// Checks that of two routers with these configurations the second becomes Active and the first
/// Backup. When the second stops, the first takes over.
fn they_accept_each_other(hosts: &[Host; 2], low: RouterConfig, high: RouterConfig) {
    // The Active starts first: a Backup that starts before it may have to take over.
    let (high, high_id) = DriverThread::with_router(hosts[1].namespace(), high);
    high.wait_for_state(high_id, State::Active);
    let (low, low_id) = DriverThread::with_router(hosts[0].namespace(), low);
    low.wait_until_it_received(low_id);
    let received = low.with(move |driver| {
        driver
            .get(low_id)
            .unwrap()
            .machine()
            .counters()
            .authentication_errors
    });
    assert_eq!(received, 0);
    high.stop();
    low.wait_for_state(low_id, State::Active);
    // The resignation was accepted too: Skew_Time passed, and not the whole Active_Down_Interval.
    let takeovers = || -> Vec<Reason> {
        let log = low.log();
        let takeover = |event: &DriverEvent| match event {
            DriverEvent::StateChanged(change) if change.to == State::Active => Some(change.reason),
            _ => None,
        };
        log.iter().filter_map(|it| takeover(&it.event)).collect()
    };
    wait_for("the takeover", LIMIT, || {
        (!takeovers().is_empty()).then_some(())
    })
    .unwrap();
    assert_eq!(takeovers(), [Reason::ActiveResigned]);
}

/// Checks that two routers with these configurations both become Active, and that the first reports
/// this discard.
fn they_reject_each_other(
    low: RouterConfig,
    high: RouterConfig,
    is_expected: impl Fn(AuthenticationFault) -> bool,
) {
    let (_lan, hosts) = lan_of::<2>();
    let (high, high_id) = DriverThread::with_router(hosts[1].namespace(), high);
    high.wait_for_state(high_id, State::Active);
    let (low, low_id) = DriverThread::with_router(hosts[0].namespace(), low);
    low.wait_for_state(low_id, State::Active);
    let fault = low.wait_for_event("a discarded packet", |event| match event {
        DriverEvent::Discarded {
            discard: Discard::Authentication(fault),
            ..
        } => Some(*fault),
        _ => None,
    });
    assert!(is_expected(fault), "{fault}");
    assert_eq!(high.state(high_id), State::Active);
    assert_eq!(low.state(low_id), State::Active);
}

#[test]
fn p_48_routers_with_the_same_password_accept_each_other() {
    in_time(|| {
        let (_lan, hosts) = lan_of::<2>();
        let secret = || Authentication::SimpleText(password("secret"));
        they_accept_each_other(
            &hosts,
            with(router_v2(100), secret()),
            with(router_v2(200), secret()),
        );
    });
}

#[test]
fn p_48_a_wrong_password_is_ignored() {
    they_reject_each_other(
        with(
            router_v2(100),
            Authentication::SimpleText(password("secret")),
        ),
        with(
            router_v2(200),
            Authentication::SimpleText(password("wrong")),
        ),
        |fault| fault == AuthenticationFault::Password,
    );
}

#[test]
fn p_50_routers_with_the_same_ah_key_accept_each_other() {
    in_time(|| {
        let (lan, hosts) = lan_of::<2>();
        let capture = lan.capture().unwrap();
        let started = Instant::now();
        let secret = || Authentication::Ah(password("secret"));
        they_accept_each_other(
            &hosts,
            with(router_v2(100), secret()),
            with(router_v2(200), secret()),
        );
        let frame = capture
            .wait_for("a packet", LIMIT, |frame| {
                frame.at >= started
                    && frame.bytes.get(12..14) == Some(&[0x08, 0x00])
                    && frame.bytes.get(30..34) == Some(&[224, 0, 0, 18])
            })
            .unwrap();
        assert_eq!(frame.bytes[23], 51, "inside AH");
        assert_eq!((frame.bytes[22], frame.bytes[15]), (255, 0xc0));
    });
}

#[test]
fn p_50_another_ah_key_is_ignored() {
    they_reject_each_other(
        with(router_v2(100), Authentication::Ah(password("secret"))),
        with(router_v2(200), Authentication::Ah(password("wrong"))),
        |fault| fault == AuthenticationFault::Digest,
    );
}

#[test]
fn p_50_a_router_with_ah_ignores_those_without() {
    let (_lan, hosts) = lan_of::<2>();
    let (plain, plain_id) = DriverThread::with_router(hosts[1].namespace(), router_v2(200));
    let config = with(router_v2(100), Authentication::Ah(password("secret")));
    let (ah, ah_id) = DriverThread::with_router(hosts[0].namespace(), config);
    plain.wait_for_state(plain_id, State::Active);
    ah.wait_for_state(ah_id, State::Active);
    thread::sleep(Duration::from_secs(1));
    assert_eq!(plain.state(plain_id), State::Active);
    assert_eq!(ah.state(ah_id), State::Active);
}

#[test]
fn p_50_a_packet_that_is_sent_again_is_discarded() {
    let (lan, hosts) = lan_of::<3>();
    let capture = lan.capture().unwrap();
    let config = |priority| with(router_v2(priority), Authentication::Ah(password("secret")));
    let (high, high_id) = DriverThread::with_router(hosts[1].namespace(), config(200));
    high.wait_for_state(high_id, State::Active);
    let (low, low_id) = DriverThread::with_router(hosts[0].namespace(), config(100));
    let received = || {
        low.with(move |driver| {
            let machine = driver.get(low_id).unwrap().machine();
            machine.counters().advertisements_received
        })
    };
    wait_for("an advertisement", LIMIT, || (received() > 0).then_some(())).unwrap();
    let frames = capture.frames();
    let old = frames
        .iter()
        .find(|frame| frame.bytes.get(23) == Some(&51))
        .unwrap();
    // The Active is gone. An attacker who recorded its packets tries to keep the Backup quiet.
    high.kill();
    let socket = hosts[2].namespace().run(|| FrameSocket::open().unwrap());
    let index = hosts[2].index();
    socket.send([(index, &old.bytes[..])], |_, error| panic!("{error}"));
    low.wait_for_event("the discarded packet", |event| {
        let is_meant = matches!(
            event,
            DriverEvent::Discarded {
                discard: Discard::Authentication(AuthenticationFault::Replay { .. }),
                ..
            }
        );
        is_meant.then_some(())
    });
    low.wait_for_state(low_id, State::Active);
}

#[test]
fn p_50_an_owner_that_starts_again_is_accepted() {
    let (_lan, hosts) = lan_of::<2>();
    let config = |priority| with(router_v2(priority), Authentication::Ah(password("secret")));
    let (owner, owner_id) = DriverThread::with_router(hosts[1].namespace(), config(255));
    owner.wait_for_state(owner_id, State::Active);
    let (low, low_id) = DriverThread::with_router(hosts[0].namespace(), config(100));
    let count = |which: fn(&Counters) -> u64| {
        low.with(move |driver| which(driver.get(low_id).unwrap().machine().counters()))
    };
    let received = || count(|counters| counters.advertisements_received);
    wait_for("five advertisements", LIMIT, || {
        (received() >= 5).then_some(())
    })
    .unwrap();
    owner.kill();
    low.wait_for_state(low_id, State::Active);
    // The owner counts from the beginning, and in version 2 it discards the packets that carry the
    // numbers of the others.
    let (owner, owner_id) = DriverThread::with_router(hosts[1].namespace(), config(255));
    low.wait_for_state(low_id, State::Backup);
    assert_eq!(owner.state(owner_id), State::Active);
    let discarded = count(|counters| counters.authentication_errors);
    assert!((1..4).contains(&discarded), "{discarded}");
}

fn hmac(secret: &[u8; 32]) -> Authentication {
    hmac_in_mode(secret, HmacMode::Enforce)
}

fn hmac_in_mode(secret: &[u8; 32], mode: HmacMode) -> Authentication {
    Authentication::Hmac(HmacKeys {
        keys: vec![Key::new(7, secret).unwrap()],
        active: 7,
        anti_replay: AntiReplay::time(5).unwrap(),
        mode,
    })
}

#[test]
fn routers_with_the_same_hmac_key_accept_each_other_over_either_family() {
    in_time(|| {
        for family in [Family::Ipv4, Family::Ipv6] {
            let (_lan, hosts) = lan_of::<2>();
            they_accept_each_other(
                &hosts,
                with(router(family, 100), hmac(&[1; 32])),
                with(router(family, 200), hmac(&[1; 32])),
            );
        }
    });
}

#[test]
fn authenticated_messages_come_from_a_virtual_mac_as_well() {
    in_time(|| {
        for (is_v2, family) in [
            (true, Family::Ipv4),
            (false, Family::Ipv4),
            (false, Family::Ipv6),
        ] {
            let (lan, hosts) = lan_of::<2>();
            let capture = lan.capture().unwrap();
            let with_virtual_mac = |priority| {
                let mut config = if is_v2 {
                    with(router_v2(priority), Authentication::Ah(password("secret")))
                } else {
                    with(router(family, priority), hmac(&[7; 32]))
                };
                config.virtual_mac = Some(VirtualMac::default());
                config
            };
            they_accept_each_other(&hosts, with_virtual_mac(100), with_virtual_mac(200));
            let mac_address = virtual_mac(vrid(51), family);
            let group = multicast_mac(group(family));
            let frames = capture.frames();
            let advertisements: Vec<_> = frames
                .iter()
                .filter(|frame| frame.bytes[..6] == group.0)
                .collect();
            assert!(advertisements.len() > 2);
            for frame in advertisements {
                assert_eq!(frame.bytes[6..12], mac_address.0);
            }
        }
    });
}

#[test]
fn another_hmac_key_is_ignored() {
    they_reject_each_other(
        with(router(Family::Ipv4, 100), hmac(&[1; 32])),
        with(router(Family::Ipv4, 200), hmac(&[2; 32])),
        |fault| fault == AuthenticationFault::Digest,
    );
}

#[test]
fn messages_without_an_hmac_trailer_are_ignored_where_it_is_enforced() {
    they_reject_each_other(
        with(router(Family::Ipv4, 100), hmac(&[1; 32])),
        router(Family::Ipv4, 200),
        |fault| matches!(fault, AuthenticationFault::Method { .. }),
    );
}

#[test]
fn hmac_trailers_are_rolled_out_in_two_steps_without_an_election() {
    in_time(|| {
        let in_mode = |mode| hmac_in_mode(&[1; 32], mode);
        let steps = [
            [Authentication::None, in_mode(HmacMode::ReceiveOnly)],
            [
                in_mode(HmacMode::ReceiveOnly),
                in_mode(HmacMode::Permissive),
            ],
            [in_mode(HmacMode::Permissive), in_mode(HmacMode::Enforce)],
        ];
        for [before, after] in steps {
            for (low, high) in [(&before, &after), (&after, &before)] {
                let (_lan, hosts) = lan_of::<2>();
                they_accept_each_other(
                    &hosts,
                    with(router(Family::Ipv4, 100), low.clone()),
                    with(router(Family::Ipv4, 200), high.clone()),
                );
            }
        }
    });
}

fn counters(running: &DriverThread, id: RouterId) -> Counters {
    running.with(move |driver| *driver.get(id).unwrap().machine().counters())
}

/// The number of advertisements that a router has received.
fn received(running: &DriverThread, id: RouterId) -> u64 {
    counters(running, id).advertisements_received
}

fn authenticate(running: &DriverThread, id: RouterId, authentication: Authentication) {
    running.with(move |driver| driver.set_authentication(id, authentication).unwrap());
}

/// Checks that the Backup of two routers still receives the Active, and that neither changes its
/// state.
fn they_still_accept_each_other(low: &(DriverThread, RouterId), high: &(DriverThread, RouterId)) {
    let before = received(&low.0, low.1);
    // One advertisement may have been on its way.
    wait_for("more advertisements", LIMIT, || {
        (received(&low.0, low.1) >= before + 2).then_some(())
    })
    .unwrap();
    assert_eq!(low.0.count_transitions(State::Active), 0);
    assert_eq!(high.0.count_transitions(State::Active), 1);
    assert_eq!(high.0.state(high.1), State::Active);
}

/// The first is the Backup of the second.
fn backup_and_active(
    hosts: &[Host; 2],
    config: impl Fn(u8) -> RouterConfig,
) -> [(DriverThread, RouterId); 2] {
    let high = DriverThread::with_router(hosts[1].namespace(), config(200));
    high.0.wait_for_state(high.1, State::Active);
    let low = DriverThread::with_router(hosts[0].namespace(), config(100));
    low.0.wait_until_it_received(low.1);
    [low, high]
}

#[test]
fn hmac_trailers_and_other_keys_come_to_running_routers_without_an_election() {
    in_time(|| {
        let key = |id: u8| Key::new(id, &[id; 32]).unwrap();
        let keys = |ids: &[u8], active, mode| {
            Authentication::Hmac(HmacKeys {
                keys: ids.iter().map(|id| key(*id)).collect(),
                active,
                anti_replay: AntiReplay::Monotonic,
                mode,
            })
        };
        let steps = [
            keys(&[1], 1, HmacMode::ReceiveOnly),
            keys(&[1], 1, HmacMode::Permissive),
            keys(&[1], 1, HmacMode::Enforce),
            keys(&[1, 2], 1, HmacMode::Enforce),
            keys(&[1, 2], 2, HmacMode::Enforce),
            keys(&[2], 2, HmacMode::Enforce),
        ];
        let (lan, hosts) = lan_of::<2>();
        let [low, high] = backup_and_active(&hosts, |priority| router(Family::Ipv6, priority));
        for step in steps {
            for (running, id) in [&high, &low] {
                authenticate(running, *id, step.clone());
                they_still_accept_each_other(&low, &high);
            }
        }
        assert_eq!(counters(&low.0, low.1).authentication_errors, 0);
        let capture = lan.capture().unwrap();
        wait_for_advertisement(&capture, "one with a trailer", Instant::now(), |seen| {
            // Header, two addresses, and the trailer.
            seen.message.len() > 8 + 2 * 16
        });
        // Without the key, no advertisement is accepted any more.
        authenticate(&low.0, low.1, hmac(&[9; 32]));
        low.0.wait_for_state(low.1, State::Active);
    });
}

#[test]
fn p_50_running_routers_go_over_to_ah_and_back_without_an_election() {
    in_time(|| {
        let (_lan, hosts) = lan_of::<2>();
        let [low, high] = backup_and_active(&hosts, router_v2);
        let ah = || Authentication::Ah(password("secret"));
        for step in [ah(), Authentication::SimpleText(password("word")), ah()] {
            // No router sends in the meantime: the next advertisement leaves long after both have
            // changed.
            let last = received(&low.0, low.1);
            wait_for("the next advertisement", LIMIT, || {
                (received(&low.0, low.1) > last).then_some(())
            })
            .unwrap();
            authenticate(&low.0, low.1, step.clone());
            authenticate(&high.0, high.1, step);
            they_still_accept_each_other(&low, &high);
        }
    });
}

#[test]
fn an_authentication_that_a_router_cannot_have_changes_nothing() {
    in_time(|| {
        let (_lan, hosts) = lan_of::<2>();
        let [low, high] = backup_and_active(&hosts, |priority| {
            with(router(Family::Ipv4, priority), hmac(&[1; 32]))
        });
        let id = high.1;
        for (wrong, field) in [
            (Authentication::Ah(password("secret")), "authentication"),
            (Authentication::SimpleText(password("a")), "authentication"),
        ] {
            let error =
                (high.0).with(move |driver| driver.set_authentication(id, wrong).unwrap_err());
            assert!(
                matches!(error, Error::Invalid { field: it, .. } if it == field),
                "{error}"
            );
        }
        they_still_accept_each_other(&low, &high);
    });
}

/// Two routers in version 2 that are authenticated in different ways both become Active. Each
/// counts what the other sends, and reports it: an HMAC trailer as a wrong length, where none is
/// expected.
#[test]
fn p_51_routers_with_different_authentication_count_and_report_each_other() {
    let ways = [
        Authentication::None,
        Authentication::SimpleText(password("s3cret")),
        Authentication::Ah(password("s3cret")),
        hmac(&[1; 32]),
    ];
    // All pairs at once: each waits for Active_Down_Interval.
    thread::scope(|scope| {
        for (place, low) in ways.iter().enumerate() {
            for high in ways.iter().skip(place + 1) {
                scope.spawn(|| they_report_each_other(low, high));
            }
        }
    });
}

fn they_report_each_other(low: &Authentication, high: &Authentication) {
    let (_lan, hosts) = lan_of::<2>();
    let pair = [(100, low), (200, high)].map(|(priority, way)| {
        let host = &hosts[usize::from(priority == 200)];
        let config = with(router_v2(priority), way.clone());
        DriverThread::with_router(host.namespace(), config)
    });
    for (running, id) in &pair {
        running.wait_for_state(*id, State::Active);
    }
    for (running, id) in &pair {
        running.wait_for_event(&format!("{low:?} beside {high:?}"), |event| {
            matches!(event, DriverEvent::Discarded { .. }).then_some(())
        });
        let id = *id;
        let counted = running.with(move |driver| {
            let counters = driver.get(id).unwrap().machine().counters();
            counters.authentication_errors + counters.packet_length_errors
        });
        assert!(counted > 0);
        assert_eq!(running.state(id), State::Active);
    }
}

/// The same in version 3, where the peer uses version 2 inside IP AH.
#[test]
fn p_51_a_peer_inside_ah_is_reported_by_a_router_in_version_3() {
    let (_lan, [r1, r2]) = lan_of::<2>();
    let (one, id) = DriverThread::with_router(r1.namespace(), router(Family::Ipv4, 100));
    one.wait_for_state(id, State::Active);
    let peer = with(router_v2(200), Authentication::Ah(password("s3cret")));
    let (_two, _) = DriverThread::with_router(r2.namespace(), peer);
    one.wait_for_event("the peer", |event| {
        matches!(event, DriverEvent::Discarded { .. }).then_some(())
    });
    let errors = one.with(move |driver| {
        let counters = driver.get(id).unwrap().machine().counters();
        counters.authentication_errors + u64::from(counters.other_discards)
    });
    assert!(errors > 0);
}

/// An advertisement with an HMAC trailer from 192.0.2.2, signed `seconds_ahead` seconds after now.
fn signed_frame(secret: &[u8; 32], seconds_ahead: i64) -> Vec<u8> {
    let source = Ipv4Addr::new(192, 0, 2, 2);
    let endpoints = Endpoints::multicast(source.into());
    let virtual_addresses = [VIP4.split('/').next().unwrap().parse::<Ipv4Addr>().unwrap()];
    let advertisement = Advertisement {
        vrid: vrid(51),
        priority: Priority::new(200),
        interval: Interval::centis(10).unwrap(),
        authentication: vrrp_proto::MessageAuthentication::None,
        addresses: Addresses::from(&virtual_addresses[..]),
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seconds = now.as_secs().checked_add_signed(seconds_ahead).unwrap();
    let time = UtcTime::new(seconds, now.subsec_nanos());
    let sequence = SendSequence::default().next(time, AntiReplay::Monotonic);
    let mut message = [0; 64];
    let length = advertisement
        .encode(&mut message, &endpoints, ChecksumForm::PseudoHeader)
        .unwrap();
    let keys = [Key::new(7, secret).unwrap()];
    let keys = Keys::new(&keys, 7).unwrap();
    let length = keys
        .append(&mut message, length, &endpoints, sequence)
        .unwrap();
    let mut frame = Vec::new();
    let (to, from) = (
        multicast_mac(group(Family::Ipv4)),
        virtual_mac(vrid(51), Family::Ipv4),
    );
    frame.extend(ethernet::header(to, from, ethernet::IPV4));
    let header = ipv4::Header::advertisement(source, GROUP_IPV4);
    frame.extend(header.encode(length).unwrap());
    frame.extend(&message[..length]);
    frame
}

#[test]
fn a_clock_skew_is_reported_with_its_direction_and_before_packets_are_discarded() {
    let secret = [1; 32];
    for (seconds_ahead, is_accepted) in [(40, true), (-40, true), (70, false), (-70, false)] {
        let (_lan, hosts) = lan_of::<2>();
        let mut authentication = hmac(&secret);
        if let Authentication::Hmac(keys) = &mut authentication {
            keys.anti_replay = AntiReplay::time(60).unwrap();
        }
        let config = with(router(Family::Ipv4, 100), authentication);
        let (low, low_id) = DriverThread::with_router(hosts[0].namespace(), config);
        low.wait_for_state(low_id, State::Active);
        let socket = hosts[1].namespace().run(|| FrameSocket::open().unwrap());
        let frame = signed_frame(&secret, seconds_ahead);
        socket.send([(hosts[1].index(), &frame[..])], |_, error| {
            panic!("{error}")
        });
        let skew = low.wait_for_event("the clock skew", |event| match event {
            DriverEvent::ClockSkew { skew, source, .. } if is_accepted => Some((*skew, *source)),
            DriverEvent::Discarded {
                discard: Discard::Authentication(AuthenticationFault::Stale { skew, window: 60 }),
                source,
                ..
            } if !is_accepted => Some((*skew, *source)),
            _ => None,
        });
        assert_eq!(skew.1, "192.0.2.2".parse::<IpAddr>().unwrap());
        // The frame was on its way for a moment, or for longer on a busy machine.
        let near = match skew.0 {
            ClockSkew::Ahead { millis } => i64::from(millis),
            ClockSkew::Behind { millis } => -i64::from(millis),
        };
        let expected = seconds_ahead * 1000;
        assert!((expected - 8000..=expected).contains(&near), "{near}");
        assert_eq!(received(&low, low_id) > 0, is_accepted);
    }
}

#[test]
fn a_router_without_hmac_names_the_trailer_of_the_other() {
    let (_lan, hosts) = lan_of::<2>();
    let signing = with(router(Family::Ipv4, 200), hmac(&[1; 32]));
    let (high, high_id) = DriverThread::with_router(hosts[1].namespace(), signing);
    high.wait_for_state(high_id, State::Active);
    let (low, _) = DriverThread::with_router(hosts[0].namespace(), router(Family::Ipv4, 100));
    low.wait_for_event("a discarded packet", |event| {
        let is_meant = matches!(
            event,
            DriverEvent::Discarded {
                discard: Discard::PacketLength(LengthFault::HmacTrailer { .. }),
                ..
            }
        );
        is_meant.then_some(())
    });
}

/// The window is so long that the replayed packet is in it.
#[test]
fn kept_sequences_discard_a_replay_after_a_cold_restart() {
    let (lan, hosts) = lan_of::<3>();
    let capture = lan.capture().unwrap();
    let config = |priority| {
        let mut authentication = hmac(&[1; 32]);
        if let Authentication::Hmac(keys) = &mut authentication {
            keys.anti_replay = AntiReplay::time(300).unwrap();
        }
        with(router(Family::Ipv4, priority), authentication)
    };
    let (high, high_id) = DriverThread::with_router(hosts[1].namespace(), config(200));
    high.wait_for_state(high_id, State::Active);
    let (low, low_id) = DriverThread::with_router(hosts[0].namespace(), config(100));
    wait_for("advertisements", LIMIT, || {
        (received(&low, low_id) > 2).then_some(())
    })
    .unwrap();
    let frames = capture.frames();
    let of_protocol = |frame: &&vrrp_lab::Frame| frame.bytes.get(23) == Some(&112);
    let old = frames.iter().find(of_protocol).unwrap().bytes.clone();
    high.kill();
    let sequences = low.with(move |driver| driver.sequences(low_id).unwrap());
    low.kill();
    let socket = hosts[2].namespace().run(|| FrameSocket::open().unwrap());
    for is_kept in [false, true] {
        let sequences = sequences.clone();
        let low = DriverThread::start(hosts[0].namespace());
        let low_id = low.with(move |driver| {
            let id = driver.add(config(100)).unwrap();
            if is_kept {
                driver.continue_sequences(id, &sequences).unwrap();
            }
            id
        });
        low.wait_for_state(low_id, State::Active);
        socket.send([(hosts[2].index(), &old[..])], |_, error| panic!("{error}"));
        wait_for("the replayed packet", LIMIT, || {
            let counters = counters(&low, low_id);
            (counters.advertisements_received + counters.authentication_errors > 0).then_some(())
        })
        .unwrap();
        assert_eq!(counters(&low, low_id).authentication_errors > 0, is_kept);
        assert_eq!(received(&low, low_id) == 0, is_kept);
        low.kill();
    }
}
