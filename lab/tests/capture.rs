//! Captures, the files made of them, and Wireshark's opinion of these.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    net::{SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use vrrp_lab::{Capture, Error, Frame, Host, Lan, V3Checksum, tshark, wait_for, write_pcap};

const LONG: Duration = Duration::from_secs(60);

fn send(from: &Host, to: &str, payload: &[u8]) {
    let to: SocketAddr = to.parse().unwrap();
    let from = from
        .namespace()
        .run(|| UdpSocket::bind("0.0.0.0:0"))
        .unwrap();
    from.send_to(payload, to).unwrap();
}

fn carries(frame: &Frame, payload: &[u8]) -> bool {
    frame.bytes.ends_with(payload)
}

fn lan() -> (Lan, Host, Host) {
    let lan = Lan::new().unwrap();
    let r1 = lan.host("r1", &["192.0.2.1/24"]).unwrap();
    let r2 = lan.host("r2", &["192.0.2.2/24"]).unwrap();
    (lan, r1, r2)
}

#[test]
fn a_capture_on_a_lan_sees_each_frame_between_hosts_once() {
    let (lan, r1, r2) = lan();
    let capture = lan.capture().unwrap();
    for number in 0..100_u8 {
        send(&r1, "192.0.2.2:4112", &[b'#', number]);
    }
    let frames = capture.stop().unwrap();
    for number in 0..100_u8 {
        // Nobody listens, so r2 quotes some of them in its complaints.
        let from_r1 = |frame: &&Frame| frame.bytes[6..12] == r1.mac();
        let seen: Vec<_> = frames
            .iter()
            .filter(from_r1)
            .filter(|frame| carries(frame, &[b'#', number]))
            .collect();
        assert_eq!(seen.len(), 1, "datagram {number}");
        assert_eq!(seen[0].bytes[..6], r2.mac());
    }
}

/// The recording thread may not have run since the frames passed.
#[test]
fn the_frames_so_far_include_all_that_passed_before_the_call() {
    let (_lan, r1, _r2) = lan();
    // On the interface of the sender, where a broadcast passes within the call.
    let capture = Capture::start(r1.namespace(), "eth0").unwrap();
    let sender = r1.namespace().run(|| UdpSocket::bind("0.0.0.0:0")).unwrap();
    sender.set_broadcast(true).unwrap();
    for round in 1..=100 {
        for _ in 0..10 {
            sender.send_to(b"further", "192.0.2.255:4112").unwrap();
        }
        let frames = capture.frames();
        let seen = frames.iter().filter(|frame| carries(frame, b"further"));
        assert_eq!(seen.count(), round * 10);
    }
}

#[test]
fn frames_carry_the_time_at_which_they_passed() {
    let (_lan, r1, _r2) = lan();
    // On the interface of the sender: a busy kernel may hand the frame to the bridge later.
    let capture = Capture::start(r1.namespace(), "eth0").unwrap();
    let sender = r1.namespace().run(|| UdpSocket::bind("0.0.0.0:0")).unwrap();
    sender.set_broadcast(true).unwrap();
    // The kernel's clock and this one are read one after the other, so allow for a few
    // microseconds between them.
    let slack = Duration::from_micros(200);
    let is_exact = |payload: &[u8]| {
        let before = Instant::now();
        // No neighbour has to be found first: the frame leaves within the call.
        sender.send_to(payload, "192.0.2.255:4112").unwrap();
        let after = Instant::now();
        let frame = capture
            .wait_for("a broadcast", LONG, |frame| carries(frame, payload))
            .unwrap();
        frame.at + slack >= before && frame.at <= after + slack
    };
    // The kernel begins to note times in the background, some time after the capture has started.
    let mut attempts = (0_u32..).map(u32::to_be_bytes);
    wait_for("times of the kernel", LONG, || {
        is_exact(&attempts.next()?).then_some(())
    })
    .unwrap();
    for payload in [b"first", b"later"] {
        assert!(is_exact(payload));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn wait_for_returns_an_old_frame_or_a_new_one() {
    let (lan, r1, _r2) = lan();
    let capture = lan.capture().unwrap();
    send(&r1, "192.0.2.2:4112", b"first");
    let first = capture
        .wait_for("first", LONG, |frame| carries(frame, b"first"))
        .unwrap();
    let again = capture
        .wait_for("first", LONG, |frame| carries(frame, b"first"))
        .unwrap();
    assert_eq!(first, again);

    send(&r1, "192.0.2.2:4112", b"second");
    let second = capture
        .wait_for("second", LONG, |frame| {
            frame.at > first.at && carries(frame, b"second")
        })
        .unwrap();
    assert!(second.at > first.at);

    let limit = Duration::from_millis(50);
    let error = capture
        .wait_for("a third frame", limit, |frame| carries(frame, b"third"))
        .unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }));
    assert!(error.to_string().contains("a third frame"), "{error}");
}

#[test]
fn a_capture_on_a_host_sees_both_directions_and_nothing_after_the_stop() {
    let (_lan, r1, r2) = lan();
    let capture = Capture::start(r1.namespace(), r1.interface()).unwrap();
    send(&r1, "192.0.2.2:4112", b"sent");
    send(&r2, "192.0.2.1:4112", b"received");
    let frames = capture.stop().unwrap();
    send(&r1, "192.0.2.2:4112", b"late");
    assert!(frames.iter().any(|frame| carries(frame, b"sent")));
    assert!(frames.iter().any(|frame| carries(frame, b"received")));
    assert!(!frames.iter().any(|frame| carries(frame, b"late")));
    assert!(matches!(
        Capture::start(r1.namespace(), "eth7"),
        Err(Error::NoInterface { .. })
    ));
}

/// A frame with a version 3 IPv4 advertisement, VRID 7, priority 100, one address, 1 s, and the
/// given checksum.
fn advertisement(checksum: u16) -> Frame {
    let mut bytes = vec![
        0x01, 0x00, 0x5e, 0x00, 0x00, 0x12, 0x00, 0x00, 0x5e, 0x00, 0x01, 0x07, 0x08,
        0x00, // Ethernet
        0x45, 0xc0, 0x00, 0x20, 0x00, 0x00, 0x00, 0x00, 0xff, 0x70, 0x18,
        0xfc, // IPv4, checksum set below
        192, 0, 2, 1, 224, 0, 0, 18, //
        0x31, 0x07, 100, 1, 0, 100, 0, 0, 192, 0, 2, 254, // VRRP
    ];
    let header = !ones_sum(&[&bytes[14..24], &bytes[26..34]]);
    bytes[24..26].copy_from_slice(&header.to_be_bytes());
    bytes[40..42].copy_from_slice(&checksum.to_be_bytes());
    Frame {
        at: Instant::now(),
        bytes,
    }
}

/// The sum of RFC 1071.
fn ones_sum(parts: &[&[u8]]) -> u16 {
    parts
        .iter()
        .flat_map(|part| part.as_chunks::<2>().0)
        .fold(0_u16, |sum, word| {
            let (sum, carry) = sum.overflowing_add(u16::from_be_bytes(*word));
            sum + u16::from(carry)
        })
}

const MESSAGE: &[u8] = &[0x31, 0x07, 100, 1, 0, 100, 0, 0, 192, 0, 2, 254];
const PSEUDO_HEADER: &[u8] = &[192, 0, 2, 1, 224, 0, 0, 18, 0, 112, 0, 12];

fn dissect(frames: &[Frame], checksum: V3Checksum) -> Vec<vrrp_lab::Packet> {
    let file = tempfile::NamedTempFile::new().unwrap();
    write_pcap(file.path(), frames).unwrap();
    tshark(file.path(), checksum).unwrap()
}

#[test]
fn tshark_reads_the_fields_of_a_capture_file() {
    let packets = dissect(
        &[advertisement(!ones_sum(&[MESSAGE]))],
        V3Checksum::MessageOnly,
    );
    let [packet] = packets.as_slice() else {
        panic!("{packets:?}")
    };
    assert_eq!(packet.field("vrrp.version"), Some("3"));
    assert_eq!(packet.field("vrrp.virt_rtr_id"), Some("7"));
    assert_eq!(packet.field("vrrp.prio"), Some("100"));
    assert_eq!(packet.fields("vrrp.ip_addr"), ["192.0.2.254"]);
    assert_eq!(packet.field("ip.src"), Some("192.0.2.1"));
    assert_eq!(packet.field("no.such.field"), None);
    assert_eq!(packet.complaints(), [""; 0]);
}

#[test]
fn tshark_verifies_the_checksum_in_the_form_asked_for() {
    let forms = [
        (
            V3Checksum::MessageOnly,
            advertisement(!ones_sum(&[MESSAGE])),
        ),
        (
            V3Checksum::PseudoHeader,
            advertisement(!ones_sum(&[PSEUDO_HEADER, MESSAGE])),
        ),
    ];
    for (asked, _) in &forms {
        for (sent, frame) in &forms {
            let packets = dissect(std::slice::from_ref(frame), *asked);
            let complaints = packets[0].complaints();
            assert_eq!(
                complaints.is_empty(),
                asked == sent,
                "{sent:?} as {asked:?}: {complaints:?}"
            );
        }
    }
}

#[test]
fn tshark_complains_about_a_malformed_packet_and_a_wrong_header_checksum() {
    let good = advertisement(!ones_sum(&[MESSAGE]));
    let mut short = good.clone();
    short.bytes.truncate(14 + 20 + 6);
    short.bytes[17] = 26;
    let mut wrong_header = good.clone();
    wrong_header.bytes[25] ^= 1;
    let packets = dissect(&[good, short, wrong_header], V3Checksum::MessageOnly);
    assert!(
        packets[0].complaints().is_empty(),
        "{:?}",
        packets[0].complaints()
    );
    assert!(
        packets[1]
            .complaints()
            .iter()
            .any(|c| c.contains("malformed")),
        "{:?}",
        packets[1].complaints()
    );
    assert!(
        packets[2]
            .complaints()
            .iter()
            .any(|c| c.contains("ip.checksum.status")),
        "{:?}",
        packets[2].complaints()
    );
}

#[test]
fn a_capture_file_keeps_order_and_distances_of_time() {
    let at = Instant::now();
    let frame = advertisement(0);
    let frames = [0, 1_500_000, 2_500_000_001].map(|nanoseconds| Frame {
        at: at.checked_sub(Duration::from_secs(10)).unwrap() + Duration::from_nanos(nanoseconds),
        bytes: frame.bytes.clone(),
    });
    let packets = dissect(&frames, V3Checksum::MessageOnly);
    let relative: Vec<_> = packets
        .iter()
        .map(|packet| packet.field("frame.time_relative").unwrap())
        .collect();
    assert_eq!(relative, ["0.000000000", "0.001500000", "2.500000001"]);
}

#[test]
fn tshark_says_why_it_cannot_read_a_file() {
    let error = tshark("/nonexistent.pcap", V3Checksum::MessageOnly).unwrap_err();
    assert!(matches!(error, Error::Program { .. }));
    assert!(error.to_string().contains("/nonexistent.pcap"), "{error}");
}

#[test]
fn tshark_passes_expert_warnings_on() {
    // Two hosts announce one address: RFC 826 request from and for 192.0.2.254.
    let announcement = |host: u8| {
        let mut bytes = vec![0xff; 6];
        bytes.extend([2, 0, 0, 0, 0, host, 0x08, 0x06]);
        bytes.extend([0, 1, 8, 0, 6, 4, 0, 1]);
        bytes.extend([2, 0, 0, 0, 0, host, 192, 0, 2, 254]);
        bytes.extend([0, 0, 0, 0, 0, 0, 192, 0, 2, 254]);
        Frame {
            at: Instant::now(),
            bytes,
        }
    };
    let packets = dissect(&[announcement(1), announcement(2)], V3Checksum::MessageOnly);
    assert_eq!(packets[0].complaints(), [""; 0]);
    let complaints = packets[1].complaints();
    assert!(
        complaints
            .iter()
            .any(|c| c.contains("Duplicate IP address")),
        "{complaints:?}"
    );
}
