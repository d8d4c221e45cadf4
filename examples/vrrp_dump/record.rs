//! A packet as text and as JSON.

use std::{
    fmt::{self, Display, Formatter},
    net::IpAddr,
};

use serde::Serialize;

use crate::{capture::Timestamp, packet::Content};

/// A packet and its position. The names of the fields are those of the JSON object.
#[derive(Serialize)]
pub(crate) struct Record {
    #[serde(flatten)]
    pub(crate) place: Place,
    #[serde(flatten)]
    pub(crate) content: Content,
}

/// The position of a packet, counted from 1.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum Place {
    Line {
        line: u64,
    },
    Frame {
        frame: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        time: Option<Timestamp>,
    },
}

/// The facts about a packet of protocol 112, or of 51 around it.
#[derive(Serialize)]
pub(crate) struct Packet {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) src: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dst: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ttl: Option<u8>,
    #[serde(flatten)]
    pub(crate) fields: Fields,
    pub(crate) checksum: Option<Checksum>,
    #[serde(flatten)]
    pub(crate) assessment: Assessment,
    /// The deviations that had to be forgiven.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) tolerated: Vec<&'static str>,
}

/// The fields of a message, as far as it goes.
#[derive(Default, Serialize)]
pub(crate) struct Fields {
    pub(crate) version: Option<u8>,
    pub(crate) vrid: Option<u8>,
    pub(crate) priority: Option<u8>,
    pub(crate) interval_cs: Option<u16>,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) auth: Option<String>,
}

/// The forms that the checksum fits.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Checksum {
    MessageOnly,
    PseudoHeader,
    Both,
    Invalid,
}

/// A router's decision about a packet.
#[derive(Serialize)]
pub(crate) struct Assessment {
    pub(crate) verdict: Verdict,
    /// Why it is rejected.
    pub(crate) reason: Option<String>,
    /// The counter of RFC 8347 that counts it, if one does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) counter: Option<&'static str>,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    Accept,
    Reject,
}

impl Assessment {
    pub(crate) const ACCEPT: Self = Self {
        verdict: Verdict::Accept,
        reason: None,
        counter: None,
    };

    pub(crate) fn reject(reason: impl Display) -> Self {
        Self {
            verdict: Verdict::Reject,
            reason: Some(reason.to_string()),
            counter: None,
        }
    }
}

/// An announcement or answer that gives a virtual MAC as the MAC of an address.
#[derive(Serialize)]
pub(crate) struct Announcement {
    pub(crate) vrid: u8,
    pub(crate) family: String,
    pub(crate) mac: String,
    pub(crate) addresses: [IpAddr; 1],
    /// Whether it was sent without a request.
    pub(crate) unsolicited: bool,
}

impl Display for Record {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Line { line } => write!(f, "{line}")?,
            Place::Frame { frame, time } => {
                write!(f, "{frame}")?;
                if let Some(time) = time {
                    write!(f, " {time}")?;
                }
            }
        }
        match &self.content {
            Content::Vrrp(packet) => packet.fmt(f),
            Content::Arp(announcement) => write!(f, " ARP {announcement}"),
            Content::NeighborAdvertisement(announcement) => write!(f, " NA {announcement}"),
            Content::Other(assessment) => write!(f, ": {assessment}"),
        }
    }
}

impl Display for Packet {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Fields {
            version,
            vrid,
            priority,
            interval_cs,
            addresses,
            auth,
        } = &self.fields;
        if let (Some(src), Some(dst)) = (self.src, self.dst) {
            write!(f, " {src} > {dst}")?;
        }
        named(f, "ttl", self.ttl.as_ref())?;
        named(f, "VRRP version", version.as_ref())?;
        named(f, "vrid", vrid.as_ref())?;
        named(f, "priority", priority.as_ref())?;
        named(f, "interval_cs", interval_cs.as_ref())?;
        if !addresses.is_empty() {
            f.write_str(" addresses")?;
            addresses
                .iter()
                .try_for_each(|address| write!(f, " {address}"))?;
        }
        named(f, "auth", auth.as_ref())?;
        if matches!(auth.as_deref(), Some("ah" | "hmac")) {
            f.write_str(" (unverified)")?;
        }
        named(f, "checksum", self.checksum.as_ref())?;
        write!(f, ": {}", self.assessment)?;
        if !self.tolerated.is_empty() {
            write!(f, ", tolerated {}", self.tolerated.join(" "))?;
        }
        Ok(())
    }
}

fn named(f: &mut Formatter<'_>, name: &str, value: Option<&impl Display>) -> fmt::Result {
    match value {
        Some(value) => write!(f, " {name} {value}"),
        None => Ok(()),
    }
}

impl Display for Checksum {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

impl Display for Assessment {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.verdict.serialize(&mut *f)?;
        match &self.reason {
            Some(reason) => write!(f, ", {reason}"),
            None => Ok(()),
        }
    }
}

impl Display for Announcement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self {
            vrid,
            family,
            mac,
            addresses: [address],
            unsolicited,
        } = self;
        let occasion = if *unsolicited { "" } else { " in answer" };
        write!(f, "{address} is at {mac}{occasion}, {family} vrid {vrid}")
    }
}
