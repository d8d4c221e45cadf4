//! Frames in pcap and pcapng files.

use std::{
    borrow::Cow,
    collections::BTreeSet,
    fmt,
    io::{self, Read},
    time::{Duration, SystemTime},
};

use pcap_file::{
    DataLink, PcapError, TsResolution,
    pcap::PcapReader,
    pcapng::{
        Block, PcapNgReader,
        blocks::interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption},
    },
};
use serde::{Serialize, Serializer};

use crate::{
    Output,
    packet::{Content, Layer},
    record::{Place, Record},
};

#[derive(Clone, Copy)]
pub(crate) enum Format {
    Pcap,
    PcapNg,
}

impl Format {
    /// The format of a file that starts with these octets.
    pub(crate) fn of(first: [u8; 4]) -> Option<Self> {
        match first {
            // Micro- and nanoseconds, in either byte order.
            [0xa1, 0xb2, 0xc3, 0xd4]
            | [0xd4, 0xc3, 0xb2, 0xa1]
            | [0xa1, 0xb2, 0x3c, 0x4d]
            | [0x4d, 0x3c, 0xb2, 0xa1] => Some(Self::Pcap),
            [0x0a, 0x0d, 0x0d, 0x0a] => Some(Self::PcapNg),
            _ => None,
        }
    }
}

/// Shows the contents of a capture. A broken file is shown up to the fault.
pub(crate) fn show(
    output: &mut Output,
    name: &dyn fmt::Display,
    format: Format,
    file: impl Read,
    lenient: bool,
) -> io::Result<()> {
    let mut number = 0;
    let mut unknown = BTreeSet::new();
    let mut show_frame = |output: &mut Output, frame: Frame<'_>| {
        number += 1;
        let Some(layer) = layer(frame.link) else {
            let link = u32::from(frame.link);
            if unknown.insert(link) {
                output.fail(format_args!(
                    "{name}: frame {number} and others: link type {link} is not known"
                ));
            }
            return Ok(());
        };
        match Content::read(layer, &frame.octets, lenient) {
            Content::Other(_) => Ok(()),
            mut content => {
                let captured = frame.octets.len();
                if frame.original_len as usize > captured {
                    content.add_to_reason(format_args!(
                        "the capture holds {captured} of {} octets",
                        frame.original_len
                    ));
                }
                output.show(&Record {
                    place: Place::Frame {
                        frame: number,
                        time: frame.time.and_then(Timestamp::of),
                    },
                    content,
                })
            }
        }
    };
    let result = match format {
        Format::Pcap => read_pcap(file, |frame| show_frame(output, frame)),
        Format::PcapNg => read_pcapng(file, |frame| show_frame(output, frame)),
    };
    match result {
        Ok(result) => result,
        Err(error) => {
            let detail = std::error::Error::source(&error)
                .map(|source| format!(": {source}"))
                .unwrap_or_default();
            output.fail(format_args!(
                "{name}: cannot be read after frame {number}: {error}{detail}"
            ));
            Ok(())
        }
    }
}

struct Frame<'a> {
    link: DataLink,
    /// Since 1970.
    time: Option<Duration>,
    original_len: u32,
    octets: Cow<'a, [u8]>,
}

/// The outer error is that of the file, the inner one that of showing a frame.
type Outcome = Result<io::Result<()>, PcapError>;

fn read_pcap(file: impl Read, mut on: impl FnMut(Frame<'_>) -> io::Result<()>) -> Outcome {
    let mut reader = PcapReader::new(file)?;
    let header = reader.header();
    // Raw packets, because odd times and lengths are no reason not to show a frame.
    while let Some(packet) = reader.next_raw_packet() {
        let packet = packet?;
        let fraction = u64::from(packet.ts_frac);
        let shown = on(Frame {
            link: header.datalink,
            time: Some(
                Duration::from_secs(packet.ts_sec.into())
                    + match header.ts_resolution {
                        TsResolution::MicroSecond => Duration::from_micros(fraction),
                        TsResolution::NanoSecond => Duration::from_nanos(fraction),
                    },
            ),
            original_len: packet.orig_len,
            octets: packet.data,
        });
        if shown.is_err() {
            return Ok(shown);
        }
    }
    Ok(Ok(()))
}

fn read_pcapng(file: impl Read, mut on: impl FnMut(Frame<'_>) -> io::Result<()>) -> Outcome {
    let mut reader = PcapNgReader::new(file)?;
    let mut interfaces: Vec<(DataLink, u8)> = Vec::new();
    while let Some(block) = reader.next_block() {
        let (interface, units, original_len, octets) = match block? {
            Block::SectionHeader(_) => {
                interfaces.clear();
                continue;
            }
            Block::InterfaceDescription(interface) => {
                interfaces.push((interface.linktype, resolution(&interface)));
                continue;
            }
            Block::EnhancedPacket(packet) => (
                packet.interface_id,
                // The reader takes every unit for a nanosecond.
                Some(packet.timestamp.as_nanos()),
                packet.original_len,
                packet.data,
            ),
            Block::SimplePacket(packet) => (0, None, packet.original_len, packet.data),
            _ => continue,
        };
        let &(link, resolution) = usize::try_from(interface)
            .ok()
            .and_then(|place| interfaces.get(place))
            .ok_or(PcapError::InvalidInterfaceId(interface))?;
        let shown = on(Frame {
            link,
            time: units.and_then(|units| since_1970(units, resolution)),
            original_len,
            octets,
        });
        if shown.is_err() {
            return Ok(shown);
        }
    }
    Ok(Ok(()))
}

/// The option if_tsresol of an interface, or its default: microseconds.
fn resolution(interface: &InterfaceDescriptionBlock<'_>) -> u8 {
    interface
        .options
        .iter()
        .find_map(|option| match option {
            InterfaceDescriptionOption::IfTsResol(resolution) => Some(*resolution),
            _ => None,
        })
        .unwrap_or(6)
}

/// A count of units of 10^-resolution seconds, or of 2^-resolution with the highest bit set.
fn since_1970(units: u128, resolution: u8) -> Option<Duration> {
    let base: u128 = if resolution & 0x80 == 0 { 10 } else { 2 };
    let per_second = base.checked_pow((resolution & 0x7f).into())?;
    let nanos = units.checked_mul(1_000_000_000)? / per_second;
    u64::try_from(nanos).ok().map(Duration::from_nanos)
}

fn layer(link: DataLink) -> Option<Layer> {
    match link {
        DataLink::ETHERNET => Some(Layer::Ethernet),
        DataLink::LINUX_SLL => Some(Layer::Cooked),
        DataLink::LINUX_SLL2 => Some(Layer::Cooked2),
        DataLink::RAW => Some(Layer::Ip),
        DataLink::IPV4 => Some(Layer::Ipv4),
        DataLink::IPV6 => Some(Layer::Ipv6),
        _ => None,
    }
}

/// When a frame was captured, in UTC.
pub(crate) struct Timestamp(SystemTime);

impl Timestamp {
    /// `None` after the year 9999, which RFC 3339 cannot write.
    fn of(since_1970: Duration) -> Option<Self> {
        const YEAR_10000: Duration = Duration::from_secs(253_402_300_800);
        (since_1970 < YEAR_10000).then(|| Self(SystemTime::UNIX_EPOCH + since_1970))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339_micros(self.0).fmt(f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
