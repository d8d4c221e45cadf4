//! Options beyond the plain router: peers behind routers, deviations, HMAC, announcements, tracked
//! and excluded addresses.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::mpsc::{self, Receiver, TryRecvError},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::Value;
use vrrp_lab::{BackgroundProgram, Host, Lan, wait_for};
use vrrp_net::{Datagram, FrameSocket, VrrpSocket};
use vrrp_proto::{
    Addresses, Advertisement, ChecksumForm, DecodeOptions, Endpoints, Family, Interval, Leniency,
    MessageAuthentication, Priority, TRAILER_LEN, Vrid,
    frame::ipv4,
    hmac::{AntiReplay, Key, Keys, SendSequence, UtcTime},
};

use crate::{
    BASE, VIP, advertised, ask_for, ask_for_state, assert_refused, events, has, iproute2, lan_of,
    router, wait_for_event, wait_for_state,
};

/// Waits until a Backup knows its Active by this address.
fn wait_for_active(router: &BackgroundProgram, address: &str) {
    wait_for_event(router, "started");
    wait_for(address, BackgroundProgram::LIMIT, || {
        let state = ask_for_state(router);
        (state["active"]["address"] == address && state["state"] == "Backup").then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}; there was {:#?}", router.lines()));
}

#[test]
fn peers_behind_a_router_are_accepted_with_the_ttl_of_the_options() {
    let lans = [Lan::new().unwrap(), Lan::new().unwrap()];
    let h1 = lans[0].host("r1", &["192.0.2.1/24"]).unwrap();
    let h2 = lans[1].host("r2", &["198.51.100.1/24"]).unwrap();
    let between = lans[0].host("between", &["192.0.2.9/24"]).unwrap();
    let _eth1 = lans[1]
        .attach(&between, "eth1", &["198.51.100.9/24"])
        .unwrap();
    between
        .namespace()
        .set_sysctl("ipv4.ip_forward", "1")
        .unwrap();
    for (host, gateway) in [(&h1, "192.0.2.9"), (&h2, "198.51.100.9")] {
        iproute2(host, &["route", "add", "default", "via", gateway]);
    }
    let start = |host: &Host, options: &str| {
        let options = format!("--address 203.0.113.254/32 {options}");
        router(host, &options.split(' ').collect::<Vec<_>>())
    };
    let r1 = start(&h1, "--priority 200 --unicast-peer 198.51.100.1");
    wait_for_state(&r1, "Active");

    let strict = start(&h2, "--unicast-peer 192.0.2.1");
    let discarded = wait_for_event(&strict, "discarded");
    assert_eq!(discarded["counter"], "ip-ttl-errors", "{discarded}");
    wait_for_state(&strict, "Active");
    drop(strict);
    iproute2(&h2, &["address", "flush", "to", "203.0.113.254/32"]);

    let r2 = start(&h2, "--unicast-peer 192.0.2.1 --min-ttl 254");
    wait_for_active(&r2, "192.0.2.1");
}

#[test]
fn a_peer_behind_another_interface_is_reached_by_the_routing_table_where_asked() {
    let lans = [Lan::new().unwrap(), Lan::new().unwrap()];
    let h1 = lans[0].host("r1", &["192.0.2.1/24"]).unwrap();
    let h2 = lans[1].host("r2", &["198.51.100.2/24"]).unwrap();
    let _eth1 = lans[1].attach(&h1, "eth1", &["198.51.100.1/24"]).unwrap();
    iproute2(
        &h2,
        &["route", "add", "192.0.2.0/24", "via", "198.51.100.1"],
    );
    let start = |options: &str| {
        let peer = "--address 203.0.113.254/32 --priority 200 --unicast-peer 198.51.100.2";
        let words = peer.split(' ').chain(options.split_whitespace());
        router(&h1, &words.collect::<Vec<_>>())
    };
    let backup = "--address 203.0.113.254/32 --unicast-peer 192.0.2.1";
    let r2 = router(&h2, &backup.split(' ').collect::<Vec<_>>());
    // By eth0 nobody answers ARP for the peer.
    let by_interface = start("");
    wait_for_state(&by_interface, "Active");
    wait_for_state(&r2, "Active");
    drop(by_interface);
    iproute2(&h1, &["address", "flush", "to", "203.0.113.254/32"]);

    let _r1 = start("--unicast-path routing-table");
    wait_for_active(&r2, "192.0.2.1");
}

/// Sends a message again and again, until the other end of the channel is gone.
fn send_on(host: &Host, endpoints: Endpoints, octets: &[u8], until: &Receiver<()>) {
    let socket = host
        .namespace()
        .run(|| VrrpSocket::open(endpoints.family()).unwrap());
    while until.try_recv() != Err(TryRecvError::Disconnected) {
        let datagram = Datagram {
            interface: host.index(),
            endpoints,
            ttl: 255,
            octets,
        };
        socket.send([datagram], |_, error| panic!("{error}"));
        thread::sleep(Duration::from_millis(100));
    }
}

/// Sends an IPv6 advertisement of priority 200 whose list begins with a global address.
fn advertise_global_first(host: &Host, until: &Receiver<()>) {
    let addresses: [Ipv6Addr; 2] = ["fe80::254", "2001:db8::254"].map(|it| it.parse().unwrap());
    let advertisement = Advertisement {
        vrid: Vrid::new(51).unwrap(),
        priority: Priority::new(200),
        interval: Interval::centis(10).unwrap(),
        authentication: MessageAuthentication::None,
        addresses: Addresses::from(&addresses[..]),
    };
    let group = "ff02::12".parse().unwrap();
    let endpoints = Endpoints::new(IpAddr::V6(host.link_local()), group).unwrap();
    let mut message = [0; 64];
    let length = advertisement
        .encode(&mut message, &endpoints, ChecksumForm::PseudoHeader)
        .unwrap();
    // In another order the addresses have the same checksum.
    message[8..40].rotate_left(16);
    send_on(host, endpoints, &message[..length], until);
}

/// An IPv4 advertisement of priority 200 with this interval and these addresses.
fn advertisement_of_r2(interval: Interval, addresses: &[Ipv4Addr]) -> (Endpoints, Vec<u8>) {
    let advertisement = Advertisement {
        vrid: Vrid::new(51).unwrap(),
        priority: Priority::new(200),
        interval,
        authentication: MessageAuthentication::None,
        addresses: Addresses::from(addresses),
    };
    let endpoints = Endpoints::multicast([192, 0, 2, 2].into());
    let mut message = vec![0; advertisement.encoded_len()];
    let (form, any) = (ChecksumForm::PseudoHeader, Leniency::ALL);
    advertisement
        .encode_lenient(&mut message, &endpoints, form, any)
        .unwrap();
    (endpoints, message)
}

#[test]
fn bytes_behind_a_message_and_a_missing_list_are_accepted_by_a_lenient_router() {
    let vip: Ipv4Addr = VIP.split('/').next().unwrap().parse().unwrap();
    let (endpoints, mut surplus) = advertisement_of_r2(Interval::centis(10).unwrap(), &[vip]);
    surplus.extend([1, 2, 3]);
    let (_, empty) = advertisement_of_r2(Interval::seconds(1).unwrap(), &[]);
    let v2 = ["--version", "2", "--interval", "100"];
    for (message, options, deviation) in [
        (&surplus, &[][..], "surplus"),
        (&empty, &v2[..], "v2-without-addresses"),
    ] {
        let (_lan, [h1, h2]) = lan_of();
        let (stop, until) = mpsc::channel();
        thread::scope(|scope| {
            let host = &h2;
            scope.spawn(move || send_on(host, endpoints, message, &until));
            let strict = router(&h1, options);
            let discarded = wait_for_event(&strict, "discarded");
            assert_eq!(discarded["counter"], "packet-length-errors", "{discarded}");
            drop(strict);

            let lenient = [options, &["--lenient", deviation]].concat();
            let r1 = router(&h1, &lenient);
            wait_for_active(&r1, "192.0.2.2");
            drop(stop);
        });
    }
}

#[test]
fn a_list_that_begins_with_a_global_address_is_accepted_by_a_lenient_router() {
    let (_lan, [h1, h2]) = lan_of();
    let (stop, until) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn({
            let host = &h2;
            move || advertise_global_first(host, &until)
        });
        let addresses = ["--address", "fe80::254", "--address", "2001:db8::254"];
        let strict = router(&h1, &addresses);
        let discarded = wait_for_event(&strict, "discarded");
        assert_eq!(discarded["counter"], "address-list-errors", "{discarded}");
        wait_for_state(&strict, "Active");
        drop(strict);

        let lenient = ["--lenient", "first-address-not-link-local"];
        let r1 = router(&h1, &[&addresses[..], &lenient].concat());
        wait_for_active(&r1, &h2.link_local().to_string());
        drop(stop);
    });
}

#[test]
fn announcements_are_repeated_as_often_as_the_options_say() {
    let (lan, [host]) = lan_of();
    let capture = lan.capture().unwrap();
    let _r1 = router(&host, &["--announce-refresh", "0.1"]);
    // 5 on becoming Active and 5 more after 5 s are the default.
    let mut announcements = 0;
    capture
        .wait_for(
            "the twelfth announcement",
            BackgroundProgram::LIMIT,
            |frame| {
                let bytes = &frame.bytes;
                let is_arp = bytes.get(12..14) == Some(&[0x08, 0x06]);
                if is_arp && bytes.get(28..32) == Some(&[192, 0, 2, 254]) {
                    announcements += 1;
                }
                announcements == 12
            },
        )
        .unwrap();
}

#[test]
fn routers_with_the_same_hmac_key_from_an_option_or_a_file_accept_each_other() {
    const TEXT: &str = "0123456789abcdef0123456789abcdef";
    let (_lan, [h1, h2]) = lan_of();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    fs::write(&file, format!("{TEXT}\n")).unwrap();
    let digits: Vec<String> = TEXT.bytes().map(|byte| format!("{byte:02x}")).collect();
    let [text, hex, file] = [
        format!("7:{TEXT}"),
        format!("7:hex:{}", digits.concat()),
        format!("7:file:{}", file.display()),
    ];

    let r1 = router(&h1, &["--priority", "200", "--hmac-key", &text]);
    wait_for_state(&r1, "Active");
    for options in [
        vec!["--hmac-key", &hex],
        vec!["--hmac-key", &file, "--hmac-monotonic"],
        vec!["--hmac-key", &hex, "--hmac-mode", "permissive"],
        vec![
            "--hmac-key",
            &hex,
            "--hmac-mode",
            "receive-only",
            "--hmac-window",
            "60",
        ],
    ] {
        let r2 = router(&h2, &options);
        wait_for_active(&r2, "192.0.2.1");
    }
}

/// A recorded packet of another router is a replay for a router that was killed and started again,
/// where a file keeps the sequence numbers.
#[test]
fn a_sequence_file_makes_old_packets_replays_after_a_kill() {
    let key = format!("7:{}", "k".repeat(32));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sequences");
    let file = file.to_str().unwrap();
    let (lan, [h1, h2, h3]) = lan_of();
    let capture = lan.capture().unwrap();
    let hmac = ["--hmac-key", &key, "--hmac-monotonic"];
    let keeping = [&hmac[..], &["--sequence-file", file]].concat();
    let active = router(&h2, &[&["--priority", "200"][..], &hmac].concat());
    wait_for_state(&active, "Active");
    let backup = router(&h1, &keeping);
    wait_for_active(&backup, "192.0.2.2");
    let recorded = capture
        .wait_for("an advertisement", BackgroundProgram::LIMIT, |frame| {
            frame.bytes.get(23) == Some(&112)
        })
        .unwrap();
    wait_for(
        "the numbers of the sender",
        BackgroundProgram::LIMIT,
        || {
            let text = fs::read_to_string(file).ok()?;
            text.contains("192.0.2.2").then_some(())
        },
    )
    .unwrap();
    active.kill();
    backup.kill();
    iproute2(&h2, &["address", "flush", "to", VIP]);

    let socket = h3.namespace().run(|| FrameSocket::open().unwrap());
    for (options, counter) in [(&hmac[..], "received"), (&keeping, "authentication_errors")] {
        let again = router(&h1, options);
        wait_for_state(&again, "Active");
        socket.send([(h3.index(), &recorded.bytes[..])], |_, error| {
            panic!("{error}")
        });
        let counters = wait_for("the replayed packet", BackgroundProgram::LIMIT, || {
            let counters = ask_for_state(&again)["counters"].clone();
            let is_counted = |name: &str| counters[name].as_u64().unwrap() > 0;
            (is_counted("advertisements_received") || is_counted("authentication_errors"))
                .then_some(counters)
        })
        .unwrap();
        let is_replay = counters["authentication_errors"] != 0;
        assert_eq!(is_replay, counter == "authentication_errors", "{counters}");
        again.kill();
    }
    // A file that cannot be read is named.
    fs::write(file, "[").unwrap();
    let refused = [&["--vrid", "51"][..], &keeping].concat();
    let mut refused = router(&h1, &refused);
    assert_eq!(refused.wait().code(), Some(1));
}

#[test]
fn the_hmac_mode_decides_on_trailers_to_send_and_to_require() {
    let key = format!("7:{}", "k".repeat(32));
    let with_mode = |mode| ["--hmac-key", &key, "--hmac-mode", mode];
    for (mode, trailer) in [
        ("receive-only", 0),
        ("permissive", TRAILER_LEN),
        ("enforce", TRAILER_LEN),
    ] {
        let sent = advertised(&with_mode(mode));
        let packet = ipv4::Packet::parse(&sent).unwrap();
        // A header and one address.
        assert_eq!(packet.payload.len(), 12 + trailer, "{mode}");
    }
    let (_lan, [h1, h2]) = lan_of();
    let unsigned = router(&h1, &["--priority", "200"]);
    wait_for_state(&unsigned, "Active");
    for mode in ["receive-only", "permissive"] {
        let r2 = router(&h2, &with_mode(mode));
        wait_for_active(&r2, "192.0.2.1");
    }
    let r2 = router(&h2, &with_mode("enforce"));
    let discarded = wait_for_event(&r2, "discarded");
    assert_eq!(discarded["counter"], "authentication-errors", "{discarded}");
}

/// An advertisement of 192.0.2.2 that is signed by a clock 40 s ahead.
fn signed_ahead(secret: &[u8]) -> (Endpoints, Vec<u8>) {
    let vip: Ipv4Addr = VIP.split('/').next().unwrap().parse().unwrap();
    let (endpoints, mut message) = advertisement_of_r2(Interval::centis(10).unwrap(), &[vip]);
    let length = message.len();
    message.resize(length + TRAILER_LEN, 0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let time = UtcTime::new(now.as_secs() + 40, now.subsec_nanos());
    let sequence = SendSequence::default().next(time, AntiReplay::Monotonic);
    let keys = [Key::new(7, secret).unwrap()];
    let keys = Keys::new(&keys, 7).unwrap();
    keys.append(&mut message, length, &endpoints, sequence)
        .unwrap();
    (endpoints, message)
}

#[test]
fn the_hmac_window_decides_on_clocks_that_differ() {
    let secret = "k".repeat(32);
    let key = format!("7:{secret}");
    let (_lan, [h1, h2]) = lan_of();
    let (stop, until) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let (host, secret) = (&h2, secret.as_bytes());
        scope.spawn(move || {
            let socket = host
                .namespace()
                .run(|| VrrpSocket::open(Family::Ipv4).unwrap());
            while until.try_recv() != Err(TryRecvError::Disconnected) {
                let (endpoints, octets) = signed_ahead(secret);
                let datagram = Datagram {
                    interface: host.index(),
                    endpoints,
                    ttl: 255,
                    octets: &octets,
                };
                socket.send([datagram], |_, error| panic!("{error}"));
                thread::sleep(Duration::from_millis(100));
            }
        });
        let strict = router(&h1, &["--hmac-key", &key]);
        let discarded = wait_for_event(&strict, "discarded");
        assert_eq!(discarded["counter"], "authentication-errors", "{discarded}");
        drop(strict);
        for options in [&["--hmac-window", "60"][..], &["--hmac-monotonic"]] {
            let r1 = router(&h1, &[&["--hmac-key", &key][..], options].concat());
            wait_for_active(&r1, "192.0.2.2");
        }
        drop(stop);
    });
}

#[test]
fn hmac_keys_and_modes_that_do_not_match_keep_routers_apart() {
    let other = format!("7:{}", "x".repeat(32));
    let key = format!("7:{}", "k".repeat(32));
    let (_lan, [h1, h2]) = lan_of();
    let enforcing = router(&h1, &["--priority", "200", "--hmac-key", &key]);
    wait_for_state(&enforcing, "Active");
    let mismatched = router(&h2, &["--hmac-key", &other]);
    let discarded = wait_for_event(&mismatched, "discarded");
    assert_eq!(discarded["counter"], "authentication-errors", "{discarded}");
    drop(mismatched);
    iproute2(&h2, &["address", "flush", "to", VIP]);

    // With two keys the one named signs, and both verify.
    let signing = [
        "--hmac-key",
        &other,
        "--hmac-key",
        "9:hex:00",
        "--hmac-active",
        "9",
    ];
    let long = format!("9:{}", "k".repeat(64));
    let mut signing = signing.to_vec();
    signing[3] = &long;
    let sent = advertised(&signing);
    let packet = ipv4::Packet::parse(&sent).unwrap();
    // Type and key id lead the trailer.
    let length = packet.payload.len();
    assert_eq!(packet.payload[length - 28..length - 26], [1, 9]);
}

#[test]
fn an_excluded_address_is_on_the_host_and_not_in_the_advertisement() {
    let (_lan, [host]) = lan_of();
    let options = ["--excluded-address", "203.0.113.7/32"];
    let options = [&options[..], &["--excluded-address", "2001:db8::7/128"]].concat();
    let mut r1 = router(&host, &options);
    wait_for_state(&r1, "Active");
    for address in [VIP, "203.0.113.7/32", "2001:db8::7/128"] {
        assert!(has(&host, address), "{address}");
    }
    r1.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(r1.wait().code(), Some(0));
    assert!(!has(&host, "203.0.113.7/32") && !has(&host, "2001:db8::7/128"));

    let sent = advertised(&options);
    let packet = ipv4::Packet::parse(&sent).unwrap();
    let options = DecodeOptions::default();
    let decoded = Advertisement::decode(packet.payload, &packet.ip_header(), &options).unwrap();
    let listed: Vec<IpAddr> = decoded.advertisement.addresses.iter().collect();
    assert_eq!(listed, ["192.0.2.254".parse::<IpAddr>().unwrap()]);
}

/// The levels of an object, from the first.
fn levels(router: &BackgroundProgram) -> Vec<Value> {
    let mut events = events(router);
    events.retain(|event| event["event"] == "object-changed");
    events.iter_mut().map(|event| event["up"].take()).collect()
}

#[test]
fn a_tracked_address_counts_while_the_interface_has_it() {
    let (_lan, [host]) = lan_of();
    let outside = Lan::new().unwrap();
    let uplink = outside.attach(&host, "eth1", &[]).unwrap();
    let track = "uplink:-50 is 203.0.113.5 dev eth1";
    let r1 = router(
        &host,
        &[
            "--track-address",
            track,
            "--track-address",
            "any is 192.0.2.1",
        ],
    );
    wait_for_state(&r1, "Active");
    let explained = |up: &str| format!("priority {up}, any up");
    let wait_for_explanation = |expected: String| {
        wait_for(&expected, BackgroundProgram::LIMIT, || {
            (ask_for_state(&r1)["explanation"] == *expected).then_some(())
        })
        .unwrap();
    };
    wait_for_explanation(explained("50: 100 configured, uplink down -50"));
    // On another interface it does not count.
    host.add_address("203.0.113.5/32").unwrap();
    uplink.add_address("203.0.113.6/24").unwrap();
    wait_for_explanation(explained("50: 100 configured, uplink down -50"));
    host.remove_address("203.0.113.5/32").unwrap();
    uplink.add_address("203.0.113.5/24").unwrap();
    wait_for_explanation(explained("100: 100 configured, uplink up"));
    uplink.remove_address("203.0.113.5/24").unwrap();
    wait_for_explanation(explained("50: 100 configured, uplink down -50"));
}

#[test]
fn an_interface_without_an_address_of_the_family_counts_as_down_where_asked() {
    let (_lan, [host]) = lan_of();
    let outside = Lan::new().unwrap();
    let uplink = outside.attach(&host, "eth1", &[]).unwrap();
    let r1 = router(&host, &["--track-interface", "eth1 with ipv4"]);
    wait_for_event(&r1, "started");
    assert_eq!(ask_for_state(&r1)["state"], "Initialize");
    uplink.add_address("2001:db8::5/64").unwrap();
    uplink.add_address("203.0.113.5/24").unwrap();
    wait_for_state(&r1, "Active");
    uplink.remove_address("203.0.113.5/24").unwrap();
    wait_for_state(&r1, "Initialize");
    assert_eq!(levels(&r1), [false, true, false]);
    drop(r1);

    // A virtual address of the program is none.
    let line = "--interface eth1 --vrid 52 --interval 10 --address fe80::254 \
                --excluded-address 203.0.113.254/32 --next --interface eth0 --vrid 51 \
                --address 192.0.2.254 --track-interface";
    let mut arguments: Vec<&str> = line.split_whitespace().collect();
    arguments.push("eth1 with ipv4");
    let routers = BackgroundProgram::start(host.namespace(), "vrrp_router", &arguments);
    wait_for("the virtual address", BackgroundProgram::LIMIT, || {
        has(&uplink, "203.0.113.254/32").then_some(())
    })
    .unwrap();
    let state = ask_for(&routers, |state| state["vrid"] == 51);
    assert_eq!(
        state["explanation"],
        "priority 100: 100 configured, eth1 down (fault)"
    );
}

#[test]
fn an_option_that_does_not_go_with_the_others_is_named() {
    let base = BASE;
    let key = "1:0123456789abcdef0123456789abcdef";
    assert_refused(&[
        (
            &format!("{base} --min-ttl 250"),
            "the following required arguments were not provided:\n  --unicast-peer <IP>",
        ),
        (
            &format!("{base} --unicast-path routing-table"),
            "the following required arguments were not provided:\n  --unicast-peer <IP>",
        ),
        (
            &format!("{base} --lenient everything"),
            "invalid value 'everything' for '--lenient <DEVIATION>'",
        ),
        (
            &format!("{base} --announce-refresh 0"),
            "invalid value '0' for '--announce-refresh <S>': 0 is not in 0.01..=31536000 seconds",
        ),
        (
            &format!("{base} --hmac-key short"),
            "invalid value 'short' for '--hmac-key <ID:VALUE>': expected ID:VALUE",
        ),
        (
            &format!("{base} --hmac-key 1:short"),
            "invalid value '1:short' for '--hmac-key <ID:VALUE>': key length 5 is not in 32..=64",
        ),
        (
            &format!("{base} --hmac-key 0:short"),
            "invalid value '0:short' for '--hmac-key <ID:VALUE>': key id 0 is not in 1..=255",
        ),
        (
            &format!("{base} --hmac-key 1:hex:0g"),
            "invalid value '1:hex:0g' for '--hmac-key <ID:VALUE>': hex: takes an even number",
        ),
        (
            &format!("{base} --hmac-key 1:file:/nonexistent"),
            "invalid value '1:file:/nonexistent' for '--hmac-key <ID:VALUE>': /nonexistent: No such file",
        ),
        (
            &format!("{base} --hmac-mode permissive"),
            "the following required arguments were not provided:\n  --hmac-key <ID:VALUE>",
        ),
        (
            &format!("{base} --hmac-key {key} --hmac-window 301"),
            "invalid value '301' for '--hmac-window <S>': 301 is not in 1..=300",
        ),
        (
            &format!("{base} --hmac-key {key} --hmac-window 5 --hmac-monotonic"),
            "the argument '--hmac-window <S>' cannot be used with '--hmac-monotonic'",
        ),
        (
            &format!("{base} --version 2 --hmac-key {key} --ah b"),
            "the argument '--hmac-key <ID:VALUE>' cannot be used with",
        ),
        (
            &format!("{base} --track-address uplink"),
            "invalid value 'uplink' for '--track-address <NAME[:WEIGHT] [...] is ADDRESS [dev NAME]>': is ADDRESS is missing",
        ),
        (
            &format!("{base} --track-address uplink,is,somewhere"),
            "invalid value 'uplink is somewhere' for '--track-address <NAME[:WEIGHT] [...] is ADDRESS [dev NAME]>': somewhere is no IP address",
        ),
        (
            &format!("{base} --track-interface eth1,with,arp"),
            "invalid value 'eth1 with arp' for '--track-interface <NAME[:WEIGHT] [...]>': with takes ipv4 or ipv6",
        ),
    ]);
}
