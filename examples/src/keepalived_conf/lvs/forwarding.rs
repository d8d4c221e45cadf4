//! How packets reach a server.

use std::fmt::Write as _;

use super::endpoint;
use crate::keepalived_conf::{
    complaint::{Complaint, Kind},
    tree::Node,
};

/// How packets reach a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Method {
    /// `NAT`, `DR` or `TUN`.
    pub kind: &'static str,
    /// The words after `TUN`: `type gue port 6080` and so on.
    pub options: Vec<String>,
}

impl Method {
    pub(super) const fn new(kind: &'static str) -> Self {
        Self {
            kind,
            options: Vec::new(),
        }
    }

    /// `NAT`, `DR` or `TUN`, if the statement names one of them.
    pub(super) fn kind_of(statement: &Node) -> Option<&'static str> {
        let text = statement.word_at(0)?;
        ["NAT", "DR", "TUN"].into_iter().find(|kind| *kind == text)
    }

    /// Reads a method. `None` if it is none of the three.
    pub(super) fn read(statement: &Node, complaints: &mut Vec<Complaint>) -> Option<Self> {
        let text = statement.word_at(0).unwrap_or_default();
        let kind = Self::kind_of(statement);
        let options = statement.words.get(1..).unwrap_or_default();
        let problem = match kind {
            None => Some(format!("{text:?} is not NAT, DR or TUN")),
            Some(_) => tunnel_problem(options),
        };
        // A tunnel whose options have a fault is a plain one.
        let options = match problem {
            None => options.to_vec(),
            Some(_) => Vec::new(),
        };
        if let Some(problem) = problem {
            complaints.push(
                Complaint::new(Kind::UnknownValue, format!("{}: {problem}", statement.word))
                    .at(statement.place)
                    .token(text)
                    .help("write NAT, DR or TUN in capital letters, behind TUN type ipip, type gre, or type gue port and a number"),
            );
        }
        Some(Self {
            kind: kind?,
            options,
        })
    }

    /// The method as the oracle prints it.
    #[must_use]
    pub fn describe(&self) -> String {
        if self.kind != "TUN" {
            return self.kind.into();
        }
        let mut words = self.options.iter().map(String::as_str);
        let mut kind = "ipip";
        let mut port = None;
        let mut checksum = None;
        while let Some(word) = words.next() {
            match word {
                "type" => kind = words.next().unwrap_or("ipip"),
                "port" => port = words.next(),
                "nocsum" | "csum" | "remcsum" => checksum = Some(word),
                _ => {}
            }
        }
        let mut text = format!("TUN, type = {}", kind.to_ascii_uppercase());
        if let Some(port) = port {
            let _infallible = write!(text, ", port = {port}");
        }
        let checksum = match (kind, checksum) {
            ("ipip", _) => None,
            (_, Some("csum")) => Some("checksum"),
            (_, Some("remcsum")) => Some("remote checksum"),
            _ => Some("no checksum"),
        };
        if let Some(checksum) = checksum {
            let _infallible = write!(text, ", {checksum}");
        }
        text
    }
}

/// The fault of the words after a method, if there is one.
fn tunnel_problem(options: &[String]) -> Option<String> {
    let mut kind = "ipip";
    let mut has_port = false;
    let mut checksum = "nocsum";
    let mut words = options.iter().map(String::as_str);
    while let Some(word) = words.next() {
        match word {
            "type" => {
                kind = words.next().unwrap_or_default();
                if !matches!(kind, "ipip" | "gue" | "gre") {
                    return Some(format!("{kind:?} is no type of tunnel"));
                }
            }
            "port" => {
                has_port = true;
                let port = words.next().unwrap_or_default();
                if endpoint::port(port).is_none_or(|it| it == 0) {
                    return Some(format!("{port:?} is not a port"));
                }
            }
            "nocsum" | "csum" | "remcsum" => checksum = word,
            _ => return Some(format!("{word:?} is no option of a tunnel")),
        }
    }
    if has_port != (kind == "gue") {
        return Some("a tunnel of type gue has a port, others have none".into());
    }
    let has_checksum = match kind {
        "gue" => true,
        "gre" => checksum != "remcsum",
        _ => checksum == "nocsum",
    };
    (!has_checksum).then(|| format!("a tunnel of type {kind} has no {checksum}"))
}
