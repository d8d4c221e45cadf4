//! All messages of a run as a capture.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
    time::Duration,
};

use pcap_file::{
    DataLink, Endianness, TsResolution,
    pcap::{PcapHeader, PcapPacket, PcapWriter},
};
use vrrp_fsm::{Instant, sim::Packet};

use crate::{Failure, run::create};

pub(crate) struct Capture(PcapWriter<BufWriter<File>>);

impl Capture {
    pub(crate) fn create(path: &Path) -> Result<Self, Failure> {
        let header = PcapHeader {
            datalink: DataLink::ETHERNET,
            ts_resolution: TsResolution::NanoSecond,
            endianness: Endianness::Little,
            ..PcapHeader::default()
        };
        Ok(Self(PcapWriter::with_header(create(path)?, header)?))
    }

    pub(crate) fn write(&mut self, at: Instant, packet: &Packet) -> Result<(), Failure> {
        let frame = packet.frame();
        let since_start: Duration = at - Instant::ZERO;
        let length = u32::try_from(frame.len())?;
        self.0
            .write_packet(&PcapPacket::new(since_start, length, &frame))?;
        Ok(())
    }

    /// Writes what is still held back.
    pub(crate) fn close(self) -> Result<(), Failure> {
        Ok(self.0.into_writer().flush()?)
    }
}
