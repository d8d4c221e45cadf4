//! Foreign routers in hosts. `frr::` needs root, `keepalived::` only the lab's capabilities.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod frr;
mod keepalived;

use std::{fs, time::Duration};

use vrrp_lab::{Capture, Frame, V3Checksum, tshark, write_pcap};

const LONG: Duration = Duration::from_secs(60);
const FAST: Duration = Duration::from_millis(100);

/// The version and the priority of an IPv4 frame that carries VRRP.
fn advertisement(frame: &Frame) -> Option<(u8, u8)> {
    let bytes = &frame.bytes;
    (bytes.get(12..14)? == [8, 0] && *bytes.get(23)? == 112).then_some((bytes[34] >> 4, bytes[36]))
}

/// Wireshark's dissection of the advertisements in a recording.
fn advertisements(capture: Capture, checksum: V3Checksum) -> Vec<vrrp_lab::Packet> {
    let file = tempfile::NamedTempFile::new().unwrap();
    write_pcap(file.path(), &capture.stop().unwrap()).unwrap();
    let mut packets = tshark(file.path(), checksum).unwrap();
    packets.retain(|packet| packet.field("vrrp.prio").is_some());
    assert!(!packets.is_empty());
    packets
}

/// Processes whose command line contains `text`.
fn processes(text: &str) -> Vec<String> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let command_lines =
        entries.filter_map(|entry| fs::read_to_string(entry.path().join("cmdline")).ok());
    command_lines.filter(|line| line.contains(text)).collect()
}
