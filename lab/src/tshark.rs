use std::{collections::BTreeMap, io::ErrorKind, path::Path, process::Command};

use serde_json::Value;

use crate::Error;

/// The data that the checksum of VRRP version 3 over IPv4 covers, which a message does not show.
/// (Version 2 has the first form, IPv6 always the second.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum V3Checksum {
    /// The message alone: RFC 9568 section 5.2.8.
    MessageOnly,
    /// A pseudo-header and the message: the common reading of RFC 5798.
    PseudoHeader,
}

/// Wireshark's dissection of one frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    fields: BTreeMap<String, Vec<String>>,
    complaints: Vec<String>,
}

impl Packet {
    /// The first value of a field by its Wireshark name, for instance `vrrp.prio`, as Wireshark
    /// writes it.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields(name).first().map(String::as_str)
    }

    /// All values of a field that occurs more than once, for instance `vrrp.ip_addr`, in the order
    /// of the packet.
    #[must_use]
    pub fn fields(&self, name: &str) -> &[String] {
        self.fields.get(name).map_or(&[], Vec::as_slice)
    }

    /// Wireshark's complaints about the packet: that it is malformed, wrong checksums, and expert
    /// information of severity warning and error. Empty for a good packet.
    #[must_use]
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }

    fn read(layers: &Value) -> Self {
        let mut packet = Self {
            fields: BTreeMap::new(),
            complaints: Vec::new(),
        };
        packet.collect(layers);
        packet
    }

    /// The tree of layers and sub-trees, flattened.
    fn collect(&mut self, tree: &Value) {
        let Value::Object(members) = tree else { return };
        if let Some(complaint) = expert_complaint(members) {
            self.complaints.push(complaint);
        }
        for (name, value) in members {
            if name == "_ws.malformed" {
                self.complaints.push("malformed packet".into());
            }
            let values = match value {
                Value::Array(values) => values.as_slice(),
                value => std::slice::from_ref(value),
            };
            for value in values {
                match value {
                    Value::String(text) => {
                        if name.ends_with(".checksum.status") && text == BAD_CHECKSUM {
                            self.complaints.push(format!("{name}: bad"));
                        }
                        self.fields
                            .entry(name.clone())
                            .or_default()
                            .push(text.clone());
                    }
                    tree => self.collect(tree),
                }
            }
        }
    }
}

/// Wireshark's `PROTO_CHECKSUM_E_BAD`.
const BAD_CHECKSUM: &str = "0";

/// Wireshark's `PI_WARN`; `PI_ERROR` is greater, notes and remarks are less.
const WARNING: u32 = 0x0060_0000;

fn expert_complaint(members: &serde_json::Map<String, Value>) -> Option<String> {
    let severity = members
        .get("_ws.expert.severity")?
        .as_str()?
        .parse::<u32>()
        .ok()?;
    let message = members.get("_ws.expert.message")?.as_str()?;
    (severity >= WARNING).then(|| message.into())
}

/// Like [`tshark`], for a capture that has version 3 checksums in both forms: each packet is
/// dissected in the form that gives fewer complaints.
///
/// # Errors
///
/// As for [`tshark`].
pub fn tshark_in_either_form(path: impl AsRef<Path>) -> Result<Vec<Packet>, Error> {
    let pseudo_header = tshark(&path, V3Checksum::PseudoHeader)?;
    let message_only = tshark(&path, V3Checksum::MessageOnly)?;
    let pairs = pseudo_header.into_iter().zip(message_only);
    Ok(pairs
        .map(|(one, other)| {
            if one.complaints().len() <= other.complaints().len() {
                one
            } else {
                other
            }
        })
        .collect())
}

/// Dissects a capture file with Wireshark. Its settings are the defaults, except that IPv4 header
/// checksums are verified. VRRP checksums are verified in the form given.
///
/// # Errors
///
/// [`Error::MissingProgram`]; [`Error::Program`] if the file cannot be read.
pub fn tshark(path: impl AsRef<Path>, checksum: V3Checksum) -> Result<Vec<Packet>, Error> {
    let as_in_v2 = match checksum {
        V3Checksum::MessageOnly => "TRUE",
        V3Checksum::PseudoHeader => "FALSE",
    };
    let output = Command::new("tshark")
        .arg("-r")
        .arg(path.as_ref())
        .args([
            "-n",
            "-T",
            "json",
            "--no-duplicate-keys",
            "-o",
            "ip.check_checksum:TRUE",
            "-o",
        ])
        .arg(format!("vrrp.v3_checksum_as_in_v2:{as_in_v2}"))
        // The settings of the user must not matter.
        .env("WIRESHARK_CONFIG_DIR", "/nonexistent")
        .output()
        .map_err(|source| match source.kind() {
            ErrorKind::NotFound => Error::MissingProgram {
                program: "tshark".into(),
                package: "tshark",
            },
            _ => Error::Os {
                action: "start tshark".into(),
                source,
            },
        })?;
    if !output.status.success() {
        return Err(Error::Program {
            program: "tshark".into(),
            what: format!("ended: {}", output.status),
            output: String::from_utf8_lossy(&output.stderr).into_owned(),
        });
    }
    let packets: Vec<Value> = serde_json::from_slice(&output.stdout)?;
    Ok(packets
        .iter()
        .map(|packet| Packet::read(&packet["_source"]["layers"]))
        .collect())
}
