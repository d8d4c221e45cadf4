//! The program `vrrp_dump`, from its input to its output.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    env,
    fmt::Write as _,
    fs::{self, File},
    io::Write,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};
use vrrp_lab::example;

use pcap_file::{
    DataLink,
    pcap::{PcapHeader, PcapPacket, PcapReader, PcapWriter},
    pcapng::{
        PcapNgWriter,
        blocks::{
            enhanced_packet::EnhancedPacketBlock,
            interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption},
        },
    },
};
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use vrrp_proto::{
    Addresses, Advertisement, ChecksumForm, Endpoints, GROUP_IPV4, Interval, MessageAuthentication,
    Priority, Vrid,
    frame::{
        self, MacAddress,
        arp::{self, GratuitousTarget},
        ethernet, ipv4, neighbor,
    },
};

fn run(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(example("vrrp_dump").unwrap())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).unwrap());
        child.wait_with_output().unwrap()
    })
}

fn records(output: &Output) -> Vec<Value> {
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The records of the program for these lines, all of which it must understand.
fn of_lines(arguments: &[&str], lines: &[String]) -> Vec<Value> {
    let output = run(
        &[&["--json"], arguments].concat(),
        lines.join("\n").as_bytes(),
    );
    assert!(output.status.success(), "{output:?}");
    records(&output)
}

fn of_line(arguments: &[&str], line: &str) -> Value {
    let mut records = of_lines(arguments, &[line.into()]);
    assert_eq!(records.len(), 1, "{records:?}");
    records.remove(0)
}

/// The records of the program for a capture, all of which it must understand.
fn of_capture(path: &Path) -> Vec<Value> {
    let output = run(&["--json", path.to_str().unwrap()], b"");
    assert!(output.status.success(), "{output:?}");
    records(&output)
}

fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut text, octet| {
        write!(text, "{octet:02x}").unwrap();
        text
    })
}

fn octets(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits
        .chunks(2)
        .map(|pair| u8::try_from(pair[0] << 4 | pair[1]).unwrap())
        .collect()
}

/// Version 3 over IPv4, VRID 51, priority 150, from 192.0.2.11, with one address.
fn message() -> Vec<u8> {
    let addresses = [Ipv4Addr::new(192, 0, 2, 1)];
    let advertisement = Advertisement {
        vrid: Vrid::new(51).unwrap(),
        priority: Priority::new(150),
        interval: Interval::DEFAULT_V3,
        authentication: MessageAuthentication::None,
        addresses: Addresses::from(&addresses[..]),
    };
    let mut buffer = [0; 64];
    let endpoints = Endpoints::multicast([192, 0, 2, 11].into());
    let length = advertisement
        .encode(&mut buffer, &endpoints, ChecksumForm::MessageOnly)
        .unwrap();
    buffer[..length].to_vec()
}

/// The same message in an IPv4 packet with this TTL.
fn packet(message: &[u8], ttl: u8) -> Vec<u8> {
    let header = ipv4::Header {
        ttl,
        ..ipv4::Header::advertisement([192, 0, 2, 11].into(), GROUP_IPV4)
    };
    [&header.encode(message.len()).unwrap()[..], message].concat()
}

const VIRTUAL_MAC: MacAddress = MacAddress([0, 0, 0x5e, 0, 1, 51]);

/// The same packet in a frame with these tags.
fn frame(tags: &[u8], packet: &[u8]) -> Vec<u8> {
    let group = frame::multicast_mac(GROUP_IPV4.into());
    let header = ethernet::header(group, VIRTUAL_MAC, ethernet::IPV4);
    [&header[..12], tags, &header[12..], packet].concat()
}

fn line4(message: &[u8]) -> String {
    format!("vrrp4 192.0.2.11 224.0.0.18 {}", hex(message))
}

/// Sets octets 6 and 7 so that the checksum over the message alone is right.
fn sum_up(message: &mut [u8]) {
    message[6..8].fill(0);
    let mut sum: u32 = message
        .chunks(2)
        .map(|word| u32::from(word[0]) << 8 | u32::from(word[1]))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    message[6..8].copy_from_slice(&(!u16::try_from(sum).unwrap()).to_be_bytes());
}

/// The folder of foreign vectors, or `None` if it is absent and may be. The rule is that of
/// vrrp-proto's tests.
fn foreign_vectors() -> Option<PathBuf> {
    let named = env::var_os("VRRP_VECTORS").map(PathBuf::from);
    let must_exist = named.is_some() || env::var_os("CI").is_some();
    let folder =
        named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors"));
    if folder.is_dir() {
        return Some(folder);
    }
    let message = format!(
        "there is no folder of foreign vectors at {}",
        folder.display()
    );
    assert!(!must_exist, "{message}");
    eprintln!("NOT TESTED: {message}");
    None
}

fn own_vector(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../vrrp-proto/tests/vectors")
        .join(name)
}

/// The frames of a pcap file, with their times.
fn frames(path: &Path) -> Vec<(Duration, Vec<u8>)> {
    let mut reader = PcapReader::new(File::open(path).unwrap()).unwrap();
    let mut frames = Vec::new();
    while let Some(packet) = reader.next_packet() {
        let packet = packet.unwrap();
        frames.push((packet.timestamp, packet.data.into_owned()));
    }
    frames
}

/// Compares a record with the expectation for the frame in the file of vectors.
fn compare(record: Option<&Value>, expected: &Value) {
    let id = &expected["id"];
    let accept = expected["expect"]["accept"].as_bool().unwrap();
    let Some(record) = record else {
        assert!(!accept, "{id} is not shown");
        assert!(expected["vrrp"].is_null(), "{id} is not shown");
        return;
    };
    let verdict = if accept { "accept" } else { "reject" };
    assert_eq!(record["verdict"], verdict, "{id}: {record}");
    assert_eq!(record["reason"].is_null(), accept, "{id}: {record}");
    let vrrp = &expected["vrrp"];
    if vrrp.is_null() {
        return;
    }
    let fields = &vrrp["fields"];
    let (interval, auth) = match fields["version"].as_u64() {
        Some(2) => (
            fields["adver_int"].as_u64().unwrap() * 100,
            match fields["auth_type"].as_u64() {
                Some(0) => "none",
                Some(1) => "simple-text",
                other => panic!("{id}: authentication {other:?}"),
            },
        ),
        _ => (fields["max_adver_int"].as_u64().unwrap(), "none"),
    };
    let checksum = match vrrp["checksum"]["valid_as"].as_array().unwrap()[..] {
        [] => "invalid",
        [ref form] if form == "message_only" => "message-only",
        [_] => "pseudo-header",
        _ => "both",
    };
    let ip = &expected["ip"];
    for (name, value) in [
        ("kind", &json!("vrrp")),
        ("src", &ip["src"]),
        ("dst", &ip["dst"]),
        ("ttl", ip.get("ttl").unwrap_or(&ip["hop_limit"])),
        ("version", &fields["version"]),
        ("vrid", &fields["vrid"]),
        ("priority", &fields["priority"]),
        ("interval_cs", &json!(interval)),
        ("addresses", &fields["addresses"]),
        ("auth", &json!(auth)),
        ("checksum", &json!(checksum)),
    ] {
        assert_eq!(&record[name], value, "{id}: {name}");
    }
    let counter = match expected["expect"]["reasons"][0].as_str() {
        None => Value::Null,
        Some("length-short" | "length-long") => json!("packet-length-errors"),
        Some("checksum") => json!("checksum-errors"),
        Some(other) => panic!("{id}: no counter is known for {other}"),
    };
    assert_eq!(
        record.get("counter").unwrap_or(&Value::Null),
        &counter,
        "{id}"
    );
}

#[test]
fn every_frame_of_the_foreign_captures_matches_its_file() {
    let Some(folder) = foreign_vectors() else {
        return;
    };
    let mut compared = 0;
    for (capture, description) in [
        ("vrrp.pcap", "tcpdump-vrrp.json"),
        (
            "vrrp-vrrp_print-oobr-2.pcap",
            "tcpdump-vrrp-vrrp_print-oobr-2.json",
        ),
        ("VRRP-V2.pcap", "pcpp-vrrp-v2.json"),
        ("VRRP-V3-IPv4.pcap", "pcpp-vrrp-v3-ipv4.json"),
        ("VRRP-V3-IPv6.pcap", "pcpp-vrrp-v3-ipv6.json"),
    ] {
        let description = fs::read_to_string(folder.join(description)).unwrap();
        let description: Vec<Value> = serde_json::from_str(&description).unwrap();
        let path = folder.join(capture);
        let shown = run(&["--json", path.to_str().unwrap()], b"");
        let shown = records(&shown);
        for expected in &description {
            let record = shown
                .iter()
                .find(|record| record["frame"] == expected["frame"]);
            compare(record, expected);
            compared += 1;
        }
    }
    assert_eq!(compared, 165 + 10 + 3);
}

#[test]
fn every_foreign_frame_is_the_same_as_a_line() {
    let Some(folder) = foreign_vectors() else {
        return;
    };
    let mut expected = Vec::new();
    let mut lines = Vec::new();
    for (capture, description) in [
        (Some("vrrp.pcap"), "tcpdump-vrrp.json"),
        (None, "tcpdump-vrrp-vrrp_print-oobr.json"),
        (None, "tcpdump-vrrp-vrrp_print-oobr-2.json"),
        (Some("VRRP-V2.pcap"), "pcpp-vrrp-v2.json"),
        (Some("VRRP-V3-IPv4.pcap"), "pcpp-vrrp-v3-ipv4.json"),
        (Some("VRRP-V3-IPv6.pcap"), "pcpp-vrrp-v3-ipv6.json"),
    ] {
        let description = fs::read_to_string(folder.join(description)).unwrap();
        let description: Vec<Value> = serde_json::from_str(&description).unwrap();
        match capture {
            Some(capture) => lines.extend(
                frames(&folder.join(capture))
                    .iter()
                    .map(|(_, frame)| format!("ether {}", hex(frame))),
            ),
            None => lines.extend(
                description
                    .iter()
                    .map(|frame| format!("ether {}", frame["frame_hex"].as_str().unwrap())),
            ),
        }
        expected.extend(description);
    }
    let shown = of_lines(&[], &lines);
    assert_eq!(shown.len(), expected.len());
    for (record, expected) in shown.iter().zip(&expected) {
        compare(Some(record), expected);
    }
}

#[test]
fn the_foreign_messages_are_understood() {
    let Some(folder) = foreign_vectors() else {
        return;
    };
    let table = fs::read_to_string(folder.join("messages.tsv")).unwrap();
    let row = |id: &str| {
        let row = table.lines().find(|row| row.starts_with(id)).unwrap();
        row.split('\t').nth(2).unwrap()
    };
    let ether = of_line(&[], &format!("ether {}", row("gopacket-v2-prio100")));
    assert_eq!(ether["verdict"], "accept");
    let message = row("govrrp-v3-ipv4-vrid240");
    let v3 = of_line(&[], &format!("vrrp4 192.168.0.220 224.0.0.18 {message}"));
    assert_eq!(
        (&v3["vrid"], &v3["checksum"]),
        (&json!(240), &json!("pseudo-header"))
    );
    let message = row("holo-v3-ipv6-vrid1");
    let unsummed = of_line(&[], &format!("vrrp6 fe80::1 ff02::12 {message}"));
    assert_eq!(unsummed["checksum"], "invalid");
    assert_eq!(unsummed["addresses"], json!(["2001:db8::370:7334"]));
    let cut = of_line(
        &[],
        &format!("ether {}", row("pcpp-v2-truncated-second-addr")),
    );
    assert_eq!(
        (&cut["verdict"], &cut["vrid"]),
        (&json!("reject"), &json!(1))
    );
}

#[test]
fn packets_of_keepalived_and_frr_are_listed() {
    let keepalived = of_capture(&own_vector("keepalived-2.2.7.pcap"));
    let auth_of = |vrid: u8| -> Vec<&Value> {
        keepalived
            .iter()
            .filter(|record| record["vrid"] == vrid)
            .map(|record| &record["auth"])
            .collect()
    };
    assert_eq!(auth_of(41), ["none", "none"]);
    assert_eq!(auth_of(42), ["simple-text", "simple-text"]);
    assert_eq!(auth_of(43), ["ah", "ah", "ah"], "by multicast");
    assert_eq!(auth_of(53), ["ah", "ah", "ah"], "by unicast");
    for record in &keepalived {
        let verdict = if record["vrid"] == 47 {
            "reject"
        } else {
            "accept"
        };
        assert_eq!(record["verdict"], verdict, "{record}");
    }

    let trailers = of_capture(&own_vector("keepalived-2.4.3.pcap"));
    for record in &trailers {
        let auth = if record["vrid"] == 45 { "none" } else { "hmac" };
        assert_eq!(
            (&record["auth"], &record["verdict"]),
            (&json!(auth), &json!("accept"))
        );
    }

    let frr = of_capture(&own_vector("frr-8.4.4.pcap"));
    let announced: Vec<(&Value, &Value, &Value)> = frr
        .iter()
        .filter(|record| record["kind"] != "vrrp")
        .map(|record| (&record["kind"], &record["vrid"], &record["addresses"][0]))
        .collect();
    assert_eq!(
        announced,
        [
            (&json!("arp"), &json!(71), &json!("10.99.71.1")),
            (
                &json!("neighbor-advertisement"),
                &json!(71),
                &json!("2001:db8:71::1")
            ),
            (&json!("arp"), &json!(72), &json!("10.99.72.1")),
        ]
    );
}

#[test]
fn a_pcapng_file_shows_the_same_as_a_pcap_file() {
    let pcap = own_vector("keepalived-2.2.7.pcap");
    // Microseconds, the default, on the first interface; nanoseconds on the second.
    for (interface, options, unit) in [
        (0, vec![], 1_000),
        (1, vec![InterfaceDescriptionOption::IfTsResol(9)], 1),
    ] {
        let file = NamedTempFile::new().unwrap();
        let mut writer = PcapNgWriter::new(file.reopen().unwrap()).unwrap();
        for options in [vec![], options] {
            writer
                .write_pcapng_block(InterfaceDescriptionBlock {
                    linktype: DataLink::ETHERNET,
                    snaplen: 0,
                    options,
                })
                .unwrap();
        }
        for (time, frame) in frames(&pcap) {
            writer
                .write_pcapng_block(EnhancedPacketBlock {
                    interface_id: interface,
                    timestamp: time / unit,
                    original_len: frame.len().try_into().unwrap(),
                    data: frame.into(),
                    options: vec![],
                })
                .unwrap();
        }
        assert_eq!(of_capture(file.path()), of_capture(&pcap));
    }
}

#[test]
fn a_capture_comes_by_standard_input_too() {
    let path = own_vector("frr-8.4.4.pcap");
    let output = run(&["--json"], &fs::read(&path).unwrap());
    assert_eq!(records(&output), of_capture(&path));
}

fn pcap(link: DataLink, frames: &[(u32, Vec<u8>)]) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    let header = PcapHeader {
        datalink: link,
        ..PcapHeader::default()
    };
    let mut writer = PcapWriter::with_header(file.reopen().unwrap(), header).unwrap();
    for (original_len, frame) in frames {
        writer
            .write_packet(&PcapPacket::new(Duration::ZERO, *original_len, frame))
            .unwrap();
    }
    file
}

#[test]
fn every_link_layer_that_hosts_capture_on_is_understood() {
    let packet = packet(&message(), 255);
    let cooked = [
        &[0, 1, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 8, 0][..],
        &packet,
    ]
    .concat();
    let cooked2 = [
        &[8, 0, 0, 0, 0, 0, 0, 2, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0][..],
        &packet,
    ]
    .concat();
    for (link, octets) in [
        (DataLink::ETHERNET, frame(&[], &packet)),
        (DataLink::LINUX_SLL, cooked),
        (DataLink::LINUX_SLL2, cooked2),
        (DataLink::RAW, packet.clone()),
        (DataLink::IPV4, packet.clone()),
    ] {
        let length = octets.len().try_into().unwrap();
        let file = pcap(link, &[(length, octets)]);
        let records = of_capture(file.path());
        assert_eq!(records.len(), 1, "{link:?}");
        assert_eq!(records[0]["verdict"], "accept", "{link:?}: {}", records[0]);
        assert_eq!(records[0]["vrid"], 51, "{link:?}");
    }
}

#[test]
fn a_packet_that_the_capture_cut_off_says_so() {
    let mut cut = frame(&[], &packet(&message(), 255));
    let length = cut.len().try_into().unwrap();
    cut.truncate(14 + 20 + 8);
    let file = pcap(DataLink::ETHERNET, &[(length, cut)]);
    let record = &of_capture(file.path())[0];
    let reason = record["reason"].as_str().unwrap();
    assert!(
        reason.ends_with("the capture holds 42 of 46 octets"),
        "{reason}"
    );
    assert_eq!(
        (&record["vrid"], &record["priority"]),
        (&json!(51), &json!(150))
    );
    assert_eq!(record["addresses"], json!([]));
}

#[test]
fn each_form_of_line_is_understood() {
    let message = message();
    let packet = packet(&message, 255);
    let expected = json!({
        "kind": "vrrp", "src": "192.0.2.11", "dst": "224.0.0.18", "ttl": 255, "version": 3, "vrid": 51, "priority": 150,
        "interval_cs": 100, "addresses": ["192.0.2.1"], "auth": "none", "checksum": "message-only", "verdict": "accept",
        "reason": null, "line": 1,
    });
    let ether = format!("ether {}", hex(&frame(&[], &packet)));
    assert_eq!(of_line(&[], &ether), expected);
    assert_eq!(of_line(&[], &format!("ipv4 {}", hex(&packet))), expected);
    let mut without_ttl = expected;
    without_ttl.as_object_mut().unwrap().remove("ttl");
    assert_eq!(of_line(&[], &line4(&message)), without_ttl);
    let spaced: Vec<String> = message.iter().map(|octet| format!("{octet:02X}")).collect();
    let spaced = format!("  vrrp4\t192.0.2.11 224.0.0.18 {} \r", spaced.join(" "));
    assert_eq!(of_line(&[], &spaced), without_ttl);

    let own = own_vector("keepalived-2.2.7.pcap");
    let (_, ipv6) = frames(&own)
        .into_iter()
        .find(|(_, frame)| frame[12..14] == [0x86, 0xdd] && frame[20] == 112)
        .unwrap();
    let whole = of_line(&[], &format!("ipv6 {}", hex(&ipv6[14..])));
    assert_eq!(
        (&whole["ttl"], &whole["verdict"]),
        (&json!(255), &json!("accept"))
    );
    let source = whole["src"].as_str().unwrap();
    let bare = of_line(
        &[],
        &format!("vrrp6 {source} ff02::12 {}", hex(&ipv6[54..])),
    );
    assert_eq!(bare.get("ttl"), None);
    for name in [
        "vrid",
        "priority",
        "addresses",
        "checksum",
        "verdict",
        "dst",
    ] {
        assert_eq!(bare[name], whole[name], "{name}");
    }
}

#[test]
fn blank_lines_and_comments_are_passed_over_and_counted() {
    let lines = ["# what R1 sent".into(), String::new(), line4(&message())];
    let records = of_lines(&[], &lines);
    assert_eq!(records.len(), 1);
    assert_eq!(records[0]["line"], 3);
}

#[test]
fn vlan_tags_are_seen_through() {
    let packet = packet(&message(), 255);
    for tags in [
        &[0x81, 0x00, 0x20, 0x07][..],
        &[0x88, 0xa8, 0x00, 0x64, 0x81, 0x00, 0x00, 0x07],
    ] {
        let record = of_line(&[], &format!("ether {}", hex(&frame(tags, &packet))));
        assert_eq!(
            (&record["verdict"], &record["vrid"]),
            (&json!("accept"), &json!(51))
        );
    }
}

#[test]
fn announcements_of_virtual_macs_are_shown_and_no_others() {
    let address = Ipv4Addr::new(192, 0, 2, 1);
    let gratuitous = arp::gratuitous(VIRTUAL_MAC, address, GratuitousTarget::default());
    let record = of_line(&[], &format!("ether {}", hex(&gratuitous)));
    assert_eq!(
        record,
        json!({
            "line": 1, "kind": "arp", "vrid": 51, "family": "IPv4", "mac": "00:00:5e:00:01:33", "addresses": ["192.0.2.1"],
            "unsolicited": true,
        })
    );

    let host = MacAddress([2, 0, 0, 0, 0, 9]);
    let request = arp::Packet {
        operation: arp::Operation::Request,
        sender_mac: host,
        sender_address: [192, 0, 2, 9].into(),
        target_mac: MacAddress::ZERO,
        target_address: address,
    };
    let reply = arp::reply(&request, VIRTUAL_MAC, VIRTUAL_MAC);
    let record = of_line(&[], &format!("ether {}", hex(&reply)));
    assert_eq!(
        (&record["kind"], &record["unsolicited"]),
        (&json!("arp"), &json!(false))
    );

    let mac = MacAddress([0, 0, 0x5e, 0, 2, 51]);
    let target = "2001:db8::1".parse().unwrap();
    let neighbor = neighbor::unsolicited(mac, target, target);
    let record = of_line(&[], &format!("ether {}", hex(&neighbor)));
    assert_eq!(record["kind"], "neighbor-advertisement");
    assert_eq!(
        (&record["family"], &record["vrid"]),
        (&json!("IPv6"), &json!(51))
    );

    // A physical MAC, and a request.
    let physical = arp::gratuitous(host, address, GratuitousTarget::default());
    let mut asking = gratuitous;
    asking[38..42].copy_from_slice(&[192, 0, 2, 9]);
    for frame in [physical, asking] {
        let record = of_line(&[], &format!("ether {}", hex(&frame)));
        assert_eq!(
            (&record["kind"], &record["verdict"]),
            (&json!("other"), &json!("reject"))
        );
    }
    let file = pcap(
        DataLink::ETHERNET,
        &[(42, physical.to_vec()), (42, asking.to_vec())],
    );
    assert_eq!(of_capture(file.path()), Vec::<Value>::new());
}

#[test]
fn each_checksum_has_its_name() {
    let mut wrong = message();
    wrong[7] ^= 1;
    assert_eq!(of_line(&[], &line4(&wrong))["checksum"], "invalid");
    assert_eq!(of_line(&[], &line4(&message()))["checksum"], "message-only");
    // The words of this pseudo-header sum to 0xffff: 0x0001 + 0x1f70 + 0xe000 + 0x0012 + 112 + 12.
    let both = format!("vrrp4 0.1.31.112 224.0.0.18 {}", hex(&message()));
    assert_eq!(of_line(&[], &both)["checksum"], "both");
    let capture = of_capture(&own_vector("frr-8.4.4.pcap"));
    assert_eq!(capture[0]["checksum"], "pseudo-header");
}

/// The same message with another octet here, and a checksum that fits.
fn altered(place: usize, octet: u8) -> Vec<u8> {
    let mut message = message();
    message[place] = octet;
    sum_up(&mut message);
    message
}

#[test]
fn a_rejected_packet_shows_every_field_that_can_be_read() {
    let whole = of_line(&[], &line4(&message()));
    let mut version_2 = octets("21339602000000000102030401020305 0000000000000000");
    sum_up(&mut version_2);
    for (counter, reason, message, ttl, differs) in [
        ("ip-ttl-errors", "TTL 254", message(), 254, json!({})),
        (
            "version-errors",
            "version 4",
            altered(0, 0x41),
            255,
            json!({"version": 4, "interval_cs": null, "addresses": [], "auth": null, "checksum": null}),
        ),
        (
            "invalid-type-pkts-rcvd",
            "type 2",
            altered(0, 0x32),
            255,
            json!({}),
        ),
        (
            "vrid-errors",
            "VRID 0",
            altered(1, 0),
            255,
            json!({"vrid": 0}),
        ),
        (
            "interval-errors",
            "VRRPv3 interval 0",
            altered(5, 0),
            255,
            json!({"interval_cs": 0}),
        ),
        (
            "interval-errors",
            "VRRPv2 interval 0",
            version_2,
            255,
            json!({"version": 2, "interval_cs": 0, "addresses": ["1.2.3.4", "1.2.3.5"]}),
        ),
    ] {
        let record = of_line(&[], &format!("ipv4 {}", hex(&packet(&message, ttl))));
        assert_eq!(record["verdict"], "reject", "{reason}");
        assert_eq!(record["counter"], counter, "{reason}");
        assert_eq!(record["ttl"], ttl, "{reason}");
        let stated = record["reason"].as_str().unwrap();
        assert!(stated.starts_with(reason), "{reason}: {stated}");
        for name in [
            "version",
            "vrid",
            "priority",
            "interval_cs",
            "addresses",
            "auth",
            "checksum",
        ] {
            let expected = differs.get(name).unwrap_or(&whole[name]);
            assert_eq!(&record[name], expected, "{reason}: {name}");
        }
    }

    let stub = of_line(&[], &line4(&message()[..3]));
    assert_eq!(
        (&stub["vrid"], &stub["priority"]),
        (&json!(51), &json!(150))
    );
    assert_eq!(
        (&stub["interval_cs"], &stub["verdict"]),
        (&Value::Null, &json!("reject"))
    );

    // Packets that no router would process: the IPv4 header is corrupt, or the packet is a
    // fragment.
    let mut corrupt = packet(&message(), 255);
    corrupt[1] ^= 0x10;
    let record = of_line(&[], &format!("ipv4 {}", hex(&corrupt)));
    assert_eq!(
        (&record["vrid"], &record["src"]),
        (&json!(51), &json!("192.0.2.11"))
    );
    assert_eq!(record["verdict"], "reject");

    let elsewhere = of_line(&[], &line4(&message()).replace("224.0.0.18", "224.0.0.5"));
    assert_eq!(elsewhere["verdict"], "reject");
}

#[test]
fn lenient_names_each_tolerance_that_a_packet_needed() {
    let mut surplus = message();
    surplus.push(0);
    let mut without_addresses = octets("21339600000100000000000000000000");
    sum_up(&mut without_addresses);
    let first_not_link_local = frames(&own_vector("frr-8.4.4.pcap"))
        .into_iter()
        .map(|(_, frame)| frame)
        .find(|frame| frame[12..14] == [0x86, 0xdd] && frame[20] == 112)
        .unwrap();
    for (line, tolerated) in [
        (line4(&surplus), "surplus"),
        (line4(&without_addresses), "v2-without-addresses"),
        (
            format!("ether {}", hex(&first_not_link_local)),
            "first-address-not-link-local",
        ),
    ] {
        let strict = of_line(&[], &line);
        assert_eq!(strict["verdict"], "reject", "{tolerated}");
        assert_eq!(strict.get("tolerated"), None);
        let lenient = of_line(&["--lenient"], &line);
        assert_eq!(lenient["verdict"], "accept", "{tolerated}");
        assert_eq!(lenient["tolerated"], json!([tolerated]));
        for name in [
            "version",
            "vrid",
            "priority",
            "interval_cs",
            "addresses",
            "checksum",
        ] {
            assert_eq!(strict[name], lenient[name], "{tolerated}: {name}");
        }
    }
    assert_eq!(
        of_line(&["--lenient"], &line4(&message())).get("tolerated"),
        None
    );
}

#[test]
fn a_line_that_cannot_be_read_is_named_and_loses_no_other() {
    let good = line4(&message());
    let input = [
        "ether 0g",
        "ipv4 123",
        &good,
        "tcp 00",
        "vrrp4 192.0.2.11",
        "vrrp6 fe80::1 192.0.2.1 00",
        "ipv6",
        "vrrp4 \u{e9} 224.0.0.18 00",
        &good,
    ];
    let output = run(&["--json"], input.join("\n").as_bytes());
    assert_eq!(output.status.code(), Some(2));
    let lines: Vec<Value> = records(&output)
        .into_iter()
        .map(|mut record| record["line"].take())
        .collect();
    assert_eq!(lines, [3, 9]);
    let errors = String::from_utf8(output.stderr).unwrap();
    let errors: Vec<&str> = errors.lines().collect();
    assert_eq!(
        errors,
        [
            "vrrp_dump: line 1, column 8: 'g' is not a hexadecimal digit",
            "vrrp_dump: line 2, column 9: the last octet, after 1 whole ones, has one digit",
            "vrrp_dump: line 4, column 1: \"tcp\" is not ether, ipv4, ipv6, vrrp4 or vrrp6",
            "vrrp_dump: line 5, column 17: DST is missing",
            "vrrp_dump: line 6, column 15: DST \"192.0.2.1\" is not an IPv6 address",
            "vrrp_dump: line 7, column 5: HEX is missing",
            "vrrp_dump: line 8, column 7: SRC \"\u{e9}\" is not an IPv4 address",
        ]
    );
}

#[test]
fn an_endless_line_does_not_fill_the_memory() {
    let mut input = b"ether ".to_vec();
    input.resize(3 << 20, b'0');
    input.extend_from_slice(format!("\n{}\n", line4(&message())).as_bytes());
    let output = run(&["--json"], &input);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(records(&output)[0]["line"], 2);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(
        errors.contains("line 1, column 262144: longer than"),
        "{errors}"
    );
}

#[test]
fn a_broken_capture_is_shown_up_to_there() {
    let whole = fs::read(own_vector("keepalived-2.2.7.pcap")).unwrap();
    let file = NamedTempFile::new().unwrap();
    fs::write(file.path(), &whole[..whole.len() - 1]).unwrap();
    let path = file.path().to_str().unwrap();
    let output = run(&["--json", path], b"");
    assert_eq!(output.status.code(), Some(2));
    let shown = records(&output).len();
    assert_eq!(
        shown,
        of_capture(&own_vector("keepalived-2.2.7.pcap")).len() - 1
    );
    let errors = String::from_utf8(output.stderr).unwrap();
    let expected = format!("vrrp_dump: {path}: cannot be read after frame ");
    assert!(errors.starts_with(&expected), "{errors}");
}

#[test]
fn a_file_that_is_no_capture_is_refused_and_the_next_is_shown() {
    let text = NamedTempFile::new().unwrap();
    fs::write(text.path(), line4(&message())).unwrap();
    let relay = pcap(DataLink::FRELAY, &[(1, vec![0]), (1, vec![0])]);
    let good = own_vector("frr-8.4.4.pcap");
    let output = run(
        &[
            "--json",
            text.path().to_str().unwrap(),
            "/nonexistent/capture",
            relay.path().to_str().unwrap(),
            good.to_str().unwrap(),
        ],
        b"",
    );
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(records(&output), of_capture(&good));
    let errors = String::from_utf8(output.stderr).unwrap();
    let errors: Vec<&str> = errors.lines().collect();
    assert_eq!(errors.len(), 3, "{errors:?}");
    assert!(errors[0].ends_with("neither a pcap nor a pcapng file"));
    assert!(errors[1].contains("/nonexistent/capture: No such file"));
    assert!(errors[2].ends_with("frame 1 and others: link type 107 is not known"));
}

#[test]
fn a_line_of_text_says_it_all() {
    let mut surplus = message();
    surplus.push(0);
    let input = [line4(&message()), line4(&surplus)].join("\n");
    let output = run(&["--lenient"], input.as_bytes());
    let all = "192.0.2.11 > 224.0.0.18 VRRP version 3 vrid 51 priority 150 interval_cs 100 addresses 192.0.2.1 auth none checksum \
               message-only: accept";
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        format!("1 {all}\n2 {all}, tolerated surplus\n")
    );
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let mut child = Command::new(example("vrrp_dump").unwrap())
        .arg(own_vector("keepalived-2.2.7.pcap"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}
