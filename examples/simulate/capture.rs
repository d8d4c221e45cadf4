//! All packets on the LANs of a run, as a capture.

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
use vrrp_fsm::{Instant, sim::Occurrence};

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

    pub(crate) fn note(&mut self, at: Instant, occurrence: &Occurrence<'_>) -> Result<(), Failure> {
        match occurrence {
            Occurrence::Sent(packet) => self.write(at, &packet.frame()),
            Occurrence::Announced(announcement) => announcement
                .frames()
                .try_for_each(|frame| self.write(at, &frame)),
            _ => Ok(()),
        }
    }

    fn write(&mut self, at: Instant, frame: &[u8]) -> Result<(), Failure> {
        let since_start: Duration = at - Instant::ZERO;
        let length = u32::try_from(frame.len())?;
        self.0
            .write_packet(&PcapPacket::new(since_start, length, frame))?;
        Ok(())
    }

    /// Writes the packets that are still buffered.
    pub(crate) fn close(self) -> Result<(), Failure> {
        Ok(self.0.into_writer().flush()?)
    }
}
