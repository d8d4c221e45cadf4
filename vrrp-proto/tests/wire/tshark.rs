//! Decodes everything that the crate builds with tshark, which must be installed.

use std::{fs::File, process::Command};

use pcap_file::pcap::{PcapPacket, PcapWriter};
use vrrp_proto::{
    Addresses, Advertisement, ChecksumForm, Endpoints, Family, Interval, MessageAuthentication,
    Password, Priority, ah,
    frame::{
        MacAddress,
        arp::{self, GratuitousTarget, Operation},
        ipv4, neighbor, virtual_mac,
    },
};

use crate::{
    frames::advertisement_frame,
    support::{
        SENDER_V4, SENDER_V6, VIRTUAL_V4, VIRTUAL_V6, addresses_v4, addresses_v6, framed,
        framed_behind, vrid,
    },
};

/// The values of these fields for each frame; a field that occurs more than once has its values
/// joined by commas.
fn tshark(frames: &[Vec<u8>], fields: &[&str]) -> Vec<Vec<String>> {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut writer = PcapWriter::new(File::create(file.path()).unwrap()).unwrap();
    for frame in frames {
        let length = u32::try_from(frame.len()).unwrap();
        let packet = PcapPacket::new(std::time::Duration::ZERO, length, frame);
        writer.write_packet(&packet).unwrap();
    }
    drop(writer);
    let mut command = Command::new("tshark");
    command
        .arg("-r")
        .arg(file.path())
        .args(["-T", "fields", "-E", "separator=|"]);
    command.args(["-o", "ip.check_checksum:TRUE"]);
    for field in fields {
        command.args(["-e", field]);
    }
    let output = command.output().expect("tshark is not installed");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Vec<String>> = text
        .lines()
        .map(|line| line.split('|').map(str::to_owned).collect())
        .collect();
    assert_eq!(lines.len(), frames.len());
    lines
}

fn encoded(advertisement: &Advertisement<'_>, endpoints: Endpoints) -> Vec<u8> {
    let mut message = Vec::new();
    // tshark expects the pseudo-header form of version 3 over IPv4.
    advertisement
        .put(&mut message, &endpoints, ChecksumForm::PseudoHeader)
        .unwrap();
    message
}

#[test]
fn tshark_finds_no_fault_in_built_frames() {
    let (v4, v6) = (addresses_v4(20), addresses_v6(20));
    let to_v4 = Endpoints::multicast(SENDER_V4.into());
    let to_v6 = Endpoints::multicast(SENDER_V6.into());
    let of_v3 = Advertisement {
        vrid: vrid(51),
        priority: Priority::new(200),
        interval: Interval::centis(4095).unwrap(),
        authentication: MessageAuthentication::None,
        addresses: Addresses::from(&v4[..]),
    };
    let of_v2 = Advertisement {
        interval: Interval::seconds(255).unwrap(),
        ..of_v3
    };
    let password = Password::new(b"s3cret").unwrap();
    let with_password = Advertisement {
        authentication: MessageAuthentication::SimpleText(password),
        ..of_v2
    };
    let of_ipv6 = Advertisement {
        addresses: Addresses::from(&v6[..]),
        ..of_v3
    };

    let inside_ah = encoded(
        &Advertisement {
            authentication: MessageAuthentication::IpAh,
            ..of_v2
        },
        to_v4,
    );
    let header = ipv4::Header {
        protocol: ah::IP_PROTOCOL,
        ..ipv4::Header::advertisement(SENDER_V4, vrrp_proto::GROUP_IPV4)
    };
    let sealed = ah::Key::new(password).seal(&header, &inside_ah, 1).unwrap();

    let mac_v4 = virtual_mac(vrid(51), Family::Ipv4);
    let mac_v6 = virtual_mac(vrid(51), Family::Ipv6);
    let host = MacAddress([2, 0, 0, 0, 0, 0x77]);
    let request = arp::Packet {
        operation: Operation::Request,
        sender_mac: host,
        sender_address: [192, 0, 2, 77].into(),
        target_mac: MacAddress::ZERO,
        target_address: VIRTUAL_V4,
    };
    let solicitation = neighbor::Solicitation {
        source: SENDER_V6,
        target: VIRTUAL_V6,
    };
    let frames = [
        framed(to_v4, &encoded(&of_v2, to_v4)),
        framed(to_v4, &encoded(&with_password, to_v4)),
        framed(to_v4, &encoded(&of_v3, to_v4)),
        framed(to_v6, &encoded(&of_ipv6, to_v6)),
        framed_behind(&sealed, to_v4, &inside_ah),
        advertisement_frame(Family::Ipv6),
        arp::gratuitous(mac_v4, VIRTUAL_V4, GratuitousTarget::VirtualMac).to_vec(),
        arp::gratuitous(mac_v4, VIRTUAL_V4, GratuitousTarget::Broadcast).to_vec(),
        arp::gratuitous(mac_v4, VIRTUAL_V4, GratuitousTarget::Zero).to_vec(),
        arp::reply(&request, mac_v4, mac_v4).to_vec(),
        neighbor::unsolicited(mac_v6, VIRTUAL_V6, VIRTUAL_V6).to_vec(),
        neighbor::solicited(&solicitation, host, mac_v6, mac_v6).to_vec(),
    ];
    let fields = [
        "_ws.malformed",
        "_ws.expert.severity",
        "_ws.expert.message",
        "ip.checksum.status",
        "vrrp.checksum.status",
        "icmpv6.checksum.status",
        "vrrp.version",
        "vrrp.virt_rtr_id",
        "vrrp.prio",
        "vrrp.addr_count",
        "arp.isgratuitous",
        "ah.sequence",
    ];
    // The expert severity, if it is a note or worse; a chat is 0x200000.
    let lines = tshark(&frames, &fields);
    let expected = [
        // malformed, severity, message, IP, VRRP, ICMPv6, version, VRID, priority, count,
        // gratuitous, AH
        "|||1|1||2|51|200|20||",
        "|||1|1||2|51|200|20||",
        "|||1|1||3|51|200|20||",
        "||||1||3|51|200|20||",
        "|||1|1||2|51|200|20||1",
        "||||1||3|51|100|1||",
        "||||||||||1|",
        "||||||||||1|",
        "||||||||||1|",
        "|||||||||||",
        "|||||1||||||",
        "|||||1||||||",
    ];
    for (index, (line, expected)) in lines.iter().zip(expected).enumerate() {
        assert_eq!(line.join("|"), expected, "frame {}", index + 1);
    }
}

#[test]
fn tshark_detects_a_wrong_checksum() {
    // tshark also finds a wrong checksum.
    let mut frame = advertisement_frame(Family::Ipv6);
    let last = frame.len() - 1;
    frame[last] ^= 1;
    assert_eq!(tshark(&[frame], &["vrrp.checksum.status"]), [["0"]]);
}
