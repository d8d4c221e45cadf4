//! Captures and messages of other projects, which are not part of this repository. Each frame must
//! decode to the values and the verdict in the JSON file beside it.
//!
//! The folder is `$VRRP_VECTORS`, or `shared/vectors` beside the repository. Without it the tests
//! say so and pass, unless `VRRP_VECTORS` or `CI` is set: then they fail.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
};

use pcap_file::pcap::PcapReader;
use serde_json::{Value, json};
use vrrp_proto::{
    Advertisement, ChecksumAcceptance, ChecksumMatch, Counter, DecodeOptions, Decoded, Discard,
    Endpoints, Family, IpHeader, Leniency, MessageAuthentication, TTL, Version,
    frame::{ethernet, ipv4, ipv6},
};

/// The folder, or `None` if it is absent and may be.
fn folder() -> Option<PathBuf> {
    let named = env::var_os("VRRP_VECTORS").map(PathBuf::from);
    let must_exist = named.is_some() || env::var_os("CI").is_some();
    let folder =
        named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors"));
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(
        !must_exist,
        "there is no folder of foreign vectors at {}",
        folder.display()
    );
    eprintln!(
        "NOT TESTED: there is no folder of foreign vectors at {}",
        folder.display()
    );
    None
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// The VRRP message in an Ethernet frame, with the known fields of its IP header.
fn unwrap_ethernet(frame: &[u8]) -> Option<(IpHeader, &[u8])> {
    let frame = ethernet::Frame::parse(frame).ok()?;
    match frame.ethertype {
        ethernet::IPV4 => {
            let packet = ipv4::Packet::parse(frame.payload).ok()?;
            (packet.protocol == 112).then(|| (packet.ip_header(), packet.payload))
        }
        ethernet::IPV6 => {
            let packet = ipv6::Packet::parse(frame.payload).ok()?;
            (packet.next_header == 112).then(|| (packet.ip_header(), packet.payload))
        }
        _ => None,
    }
}

fn number(value: &Value) -> u64 {
    match value {
        Value::String(text) => u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap(),
        other => other.as_u64().unwrap(),
    }
}

/// Compares our decoding of a frame with that of the file.
fn compare(frame: &[u8], expected: &Value) {
    let id = expected["id"].as_str().unwrap();
    let accept = expected["expect"]["accept"].as_bool().unwrap();
    let vrrp = &expected["vrrp"];
    let Some((ip, payload)) = unwrap_ethernet(frame) else {
        assert!(!accept, "{id}: no IP packet was found");
        assert!(vrrp.is_null(), "{id}: the file found a message");
        return;
    };
    if vrrp.is_null() {
        assert!(!accept, "{id}: nothing to compare");
        let strict = Advertisement::decode(payload, &ip, &DecodeOptions::default());
        assert!(strict.is_err(), "{id}: accepted");
        return;
    }

    assert_eq!(
        payload,
        hex(vrrp["payload_hex"].as_str().unwrap()),
        "{id}: payload"
    );
    assert_eq!(
        ip.endpoints.source().to_string(),
        expected["ip"]["src"],
        "{id}: source"
    );
    assert_eq!(
        ip.endpoints.destination().to_string(),
        expected["ip"]["dst"],
        "{id}: destination"
    );
    let ttl = expected["ip"]
        .get("ttl")
        .unwrap_or(&expected["ip"]["hop_limit"]);
    assert_eq!(u64::from(ip.ttl), number(ttl), "{id}: TTL");

    let decoded = match Advertisement::decode(payload, &ip, &DecodeOptions::default()) {
        Ok(decoded) => {
            assert!(
                accept,
                "{id}: accepted, against {}",
                expected["expect"]["reasons"]
            );
            decoded
        }
        Err(discard) => {
            assert!(!accept, "{id}: discarded: {discard}");
            let reasons = expected["expect"]["reasons"].as_array().unwrap();
            let first = reasons.first().and_then(Value::as_str).unwrap();
            let counter = match first {
                "length-short" | "length-long" => Counter::PacketLength,
                "checksum" => Counter::Checksum,
                other => panic!("{id}: no counter is known for the reason {other}"),
            };
            assert_eq!(discard.counter(), Some(counter), "{id}: {discard}");
            return;
        }
    };

    let mut fields = vrrp["fields"].clone();
    fields.as_object_mut().unwrap().remove("auth_text");
    assert_eq!(fields_of(&decoded), fields, "{id}");
    let valid_as = match decoded.checksum {
        ChecksumMatch::MessageOnly => json!(["message_only"]),
        ChecksumMatch::PseudoHeader => json!(["with_pseudo_header"]),
        ChecksumMatch::Both => json!(["message_only", "with_pseudo_header"]),
    };
    assert_eq!(valid_as, vrrp["checksum"]["valid_as"], "{id}: checksum");
    if (decoded.advertisement.version(), ip.endpoints.family()) == (Version::V3, Family::Ipv4) {
        compare_both_checksums(payload, &ip, &vrrp["checksum"]);
    }
}

/// A message with the field names of the files.
fn fields_of(decoded: &Decoded<'_>) -> Value {
    let advertisement = &decoded.advertisement;
    let addresses: Vec<String> = advertisement
        .addresses
        .iter()
        .map(|address| address.to_string())
        .collect();
    let mut fields = json!({
        "version": advertisement.version().number(),
        "type": 1,
        "vrid": advertisement.vrid.get(),
        "priority": advertisement.priority.get(),
        "count": addresses.len(),
        "checksum": format!("0x{:02x}{:02x}", decoded.message[6], decoded.message[7]),
        "addresses": addresses,
    });
    match advertisement.version() {
        Version::V2 => {
            let (auth_type, data) = match advertisement.authentication {
                MessageAuthentication::None => (0, [0; 8]),
                MessageAuthentication::SimpleText(password) => (1, password.octets()),
                other => panic!("authentication {other:?}"),
            };
            fields["auth_type"] = json!(auth_type);
            fields["auth_data"] = json!(data.map(|octet| format!("{octet:02x}")).concat());
            fields["adver_int"] = json!(advertisement.interval.count());
            fields["adver_int_unit"] = json!("s");
        }
        Version::V3 => {
            fields["reserved"] = json!(0);
            fields["max_adver_int"] = json!(advertisement.interval.count());
            fields["adver_int_unit"] = json!("cs");
        }
    }
    fields
}

/// Checks that the error of a corrupt copy contains the checksum in both forms.
fn compare_both_checksums(payload: &[u8], ip: &IpHeader, stated: &Value) {
    let mut corrupt = payload.to_vec();
    corrupt[6..8].copy_from_slice(&[0x5a, 0xa5]);
    let Err(Discard::Checksum(fault)) =
        Advertisement::decode(&corrupt, ip, &DecodeOptions::default())
    else {
        panic!("a corrupt checksum was accepted")
    };
    let stated = |form: &str| u16::try_from(number(&stated[form])).ok();
    assert_eq!(fault.message_only, stated("message_only"));
    assert_eq!(fault.pseudo_header, stated("with_pseudo_header"));
}

#[test]
fn every_frame_of_every_capture_decodes_as_its_file_describes() {
    let Some(folder) = folder() else { return };
    let mut compared = 0;
    for (capture, description) in [
        ("vrrp.pcap", "tcpdump-vrrp.json"),
        (
            "vrrp-vrrp_print-oobr.pcap",
            "tcpdump-vrrp-vrrp_print-oobr.json",
        ),
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
        for (index, expected) in description.iter().enumerate() {
            assert_eq!(number(&expected["frame"]), index as u64 + 1);
            if let Some(frame) = expected.get("frame_hex") {
                compare(&hex(frame.as_str().unwrap()), expected);
                compared += 1;
            }
        }
        let mut reader = PcapReader::new(File::open(folder.join(capture)).unwrap()).unwrap();
        let mut frames = 0;
        while let Some(packet) = reader.next_packet() {
            // The hostile captures announce absurd lengths; their frames are in the JSON files,
            // too.
            let Ok(packet) = packet else { break };
            let expected = &description[frames];
            frames += 1;
            if expected.get("frame_hex").is_none() {
                compare(&packet.data, expected);
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 165 + 3 + 10 + 3);
}

#[test]
fn the_single_messages_are_understood() {
    let Some(folder) = folder() else { return };
    let table = fs::read_to_string(folder.join("messages.tsv")).unwrap();
    let rows: Vec<Vec<&str>> = table
        .lines()
        .skip(1)
        .map(|line| line.split('\t').collect())
        .collect();
    let row = |id: &str| {
        let row = rows
            .iter()
            .find(|row| row[0] == id)
            .unwrap_or_else(|| panic!("no row {id}"));
        (hex(row[2]), serde_json::from_str::<Value>(row[3]).unwrap())
    };
    let strict = DecodeOptions::default();

    let (frame, _) = row("gopacket-v2-prio100");
    let (ip, payload) = unwrap_ethernet(&frame).unwrap();
    let decoded = Advertisement::decode(payload, &ip, &strict).unwrap();
    assert_eq!(decoded.advertisement.priority.get(), 100);
    assert!(
        frame.len() > 14 + 20 + payload.len(),
        "its padding was cut off"
    );

    let anywhere = IpHeader {
        endpoints: Endpoints::multicast([10, 0, 1, 1].into()),
        ttl: TTL,
    };
    let (message, _) = row("holo-v2-vrid51");
    let decoded = Advertisement::decode(&message, &anywhere, &strict).unwrap();
    assert_eq!(decoded.advertisement.vrid.get(), 51);

    // The checksum was left for the kernel to compute, so it cannot match.
    let (message, _) = row("holo-v3-ipv6-vrid1");
    let endpoints = Endpoints::multicast(std::net::Ipv6Addr::LOCALHOST.into());
    let ip = IpHeader {
        endpoints,
        ttl: TTL,
    };
    let options = DecodeOptions {
        leniency: Leniency::ALL,
        ..strict
    };
    assert!(matches!(
        Advertisement::decode(&message, &ip, &options),
        Err(Discard::Checksum(_))
    ));

    let (header, context) = row("holo-ipv4-header");
    let packet = [header, vec![0; 20]].concat();
    let packet = ipv4::Packet::parse(&packet).unwrap();
    assert_eq!(packet.source.to_string(), context["src"]);
    assert_eq!((packet.protocol, packet.ttl), (112, 255));

    let (header, context) = row("holo-eth-header");
    let frame = ethernet::Frame::parse(&header).unwrap();
    let (vrid, _) = frame.source.virtual_router().unwrap();
    assert_eq!(u64::from(vrid.get()), number(&context["vrid"]));

    let (message, context) = row("govrrp-v3-ipv4-vrid240");
    let source: std::net::Ipv4Addr = context["src"].as_str().unwrap().parse().unwrap();
    let ip = IpHeader {
        endpoints: Endpoints::multicast(source.into()),
        ttl: TTL,
    };
    let decoded = Advertisement::decode(&message, &ip, &strict).unwrap();
    assert_eq!(decoded.advertisement.vrid.get(), 240);
    assert_eq!(decoded.checksum, ChecksumMatch::PseudoHeader);
    let rfc_9568 = DecodeOptions {
        v3_ipv4_checksum: ChecksumAcceptance::MessageOnly,
        ..strict
    };
    assert!(Advertisement::decode(&message, &ip, &rfc_9568).is_err());

    // Its IP header has no checksum either; the message is one address and one stray octet.
    let (frame, _) = row("pcpp-v2-truncated-second-addr");
    assert!(unwrap_ethernet(&frame).is_none());
    let message = &frame[34..47];
    assert!(matches!(
        Advertisement::decode(message, &anywhere, &options),
        Err(Discard::PacketLength(_))
    ));
}
