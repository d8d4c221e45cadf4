//! A probe as a file spells it: its name, or a table of its name with its settings.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, value::MapAccessDeserializer},
};

use super::{Agent, Dns, File, Http, Icmp, Probe, Script, Smtp, Tcp, Udp};

/// The names of all probes, for messages.
const NAMES: [&str; 9] = [
    "tcp", "http", "dns", "udp", "smtp", "icmp", "agent", "file", "script",
];

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Form {
    Tcp(Tcp),
    Http(Box<Http>),
    Dns(Dns),
    Udp(Udp),
    Smtp(Smtp),
    Icmp(Icmp),
    Agent(Agent),
    File(File),
    Script(Box<Script>),
}

impl From<Form> for Probe {
    fn from(form: Form) -> Self {
        match form {
            Form::Tcp(tcp) => Self::Tcp(tcp),
            Form::Http(http) => Self::Http(http),
            Form::Dns(dns) => Self::Dns(dns),
            Form::Udp(udp) => Self::Udp(udp),
            Form::Smtp(smtp) => Self::Smtp(smtp),
            Form::Icmp(icmp) => Self::Icmp(icmp),
            Form::Agent(agent) => Self::Agent(agent),
            Form::File(file) => Self::File(file),
            Form::Script(script) => Self::Script(script),
        }
    }
}

impl<'de> Deserialize<'de> for Probe {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Visitor)
    }
}

struct Visitor;

impl<'de> de::Visitor<'de> for Visitor {
    type Value = Probe;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a probe such as \"tcp\" or { http = { path = \"/\" } }")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Probe, E> {
        match name {
            "tcp" => Ok(Probe::Tcp(Tcp::default())),
            "http" => Ok(Probe::Http(Box::default())),
            "dns" => Ok(Probe::Dns(Dns::default())),
            "udp" => Ok(Probe::Udp(Udp::default())),
            "smtp" => Ok(Probe::Smtp(Smtp::default())),
            "icmp" => Ok(Probe::Icmp(Icmp::default())),
            "agent" => Ok(Probe::Agent(Agent::default())),
            "file" => Err(E::custom(
                "file: missing path; use { file = { path = \"…\" } }",
            )),
            "script" => Err(E::custom(
                "script: missing command; use { script = { command = \"…\" } }",
            )),
            other => Err(E::unknown_variant(other, &NAMES)),
        }
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Probe, A::Error> {
        Form::deserialize(MapAccessDeserializer::new(map)).map(Probe::from)
    }
}
