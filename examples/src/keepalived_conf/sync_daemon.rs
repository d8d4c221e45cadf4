//! `lvs_sync_daemon`, and `lvs_sync_daemon_interface` of an instance.

use std::net::IpAddr;

use super::{
    complaint::{Complaint, Kind},
    host::LONGEST_NAME,
    tree::Node,
    value::{self, Range},
};

/// The synchronisation of connections with another load balancer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncDaemon {
    /// The interface.
    pub interface: String,
    /// The instance whose state determines the role; without one, both roles run.
    pub instance: Option<String>,
    /// The id of the group of load balancers. Default: the VRID of the instance, or 0.
    pub id: Option<u8>,
    /// The longest message in bytes.
    pub max_length: Option<u16>,
    /// The UDP port.
    pub port: Option<u16>,
    /// The TTL or hop limit.
    pub ttl: Option<u8>,
    /// The multicast group.
    pub group: Option<IpAddr>,
}

/// Reads the setting from `global_defs`, or from the first instance that has one. If `global_defs`
/// has several, the first counts.
pub(super) fn read(nodes: &[Node], complaints: &mut Vec<Complaint>) -> Option<SyncDaemon> {
    let mut found = None;
    for block in nodes.iter().filter(|node| node.word == "global_defs") {
        for statement in block.children_of("lvs_sync_daemon") {
            if found.is_some() {
                complaints.push(
                    Complaint::new(
                        Kind::Other,
                        "lvs_sync_daemon stands twice; the first one is used",
                    )
                    .at(statement.place),
                );
                continue;
            }
            found = statement_of(statement, complaints);
        }
    }
    let mut of_instances = nodes.iter().filter(|node| node.word == "vrrp_instance");
    found.or_else(|| {
        of_instances.find_map(|node| {
            Some(SyncDaemon {
                interface: node.text("lvs_sync_daemon_interface")?.to_owned(),
                instance: Some(node.word_at(0)?.to_owned()),
                ..SyncDaemon::default()
            })
        })
    })
}

fn statement_of(statement: &Node, complaints: &mut Vec<Complaint>) -> Option<SyncDaemon> {
    let mut complain = |kind, text: String, token: &str| {
        let complaint = Complaint::new(kind, format!("lvs_sync_daemon: {text}"));
        complaints.push(complaint.at(statement.place).token(token));
    };
    let interface = statement.word_at(0)?;
    if interface.len() > LONGEST_NAME {
        let text = format!(
            "the name {interface:?} has more than {LONGEST_NAME} bytes; the setting is not used"
        );
        complain(Kind::ValueInvalid, text, interface);
        return None;
    }
    let mut daemon = SyncDaemon {
        interface: interface.to_owned(),
        ..SyncDaemon::default()
    };
    let mut words = statement
        .words
        .iter()
        .map(String::as_str)
        .enumerate()
        .skip(1);
    while let Some((place, word)) = words.next() {
        let range = match word {
            "id" => Range::whole(0, 255),
            "maxlen" => Range::whole(1, 65507),
            "port" => Range::whole(1, 65535),
            "ttl" => Range::whole(1, 255),
            "inst" | "group" => Range::whole(0, 0),
            // The older form: interface, instance, id.
            _ if place == 1 => {
                daemon.instance = Some(word.to_owned());
                continue;
            }
            _ if place == 2 && word.parse::<u8>().is_ok() => {
                daemon.id = word.parse().ok();
                complain(Kind::Other, "write \"id\" before the id".into(), word);
                continue;
            }
            _ => {
                let text = format!("{word:?} is not inst, id, maxlen, port, ttl or group");
                complain(Kind::UnknownValue, text, word);
                continue;
            }
        };
        let Some((_, text)) = words.next() else {
            complain(
                Kind::MissingParameter,
                format!("{word} needs a value"),
                word,
            );
            break;
        };
        let number = value::number(text, range);
        let number = number.value.filter(|_| number.problem.is_none());
        let is_good = match word {
            "inst" => {
                daemon.instance = Some(text.to_owned());
                true
            }
            "group" => {
                let group = text.parse().ok();
                daemon.group = group.filter(IpAddr::is_multicast);
                daemon.group.is_some()
            }
            "id" => {
                daemon.id = number.and_then(|it| it.try_into().ok());
                daemon.id.is_some()
            }
            "maxlen" => {
                daemon.max_length = number.and_then(|it| it.try_into().ok());
                daemon.max_length.is_some()
            }
            "port" => {
                daemon.port = number.and_then(|it| it.try_into().ok());
                daemon.port.is_some()
            }
            _ => {
                daemon.ttl = number.and_then(|it| it.try_into().ok());
                daemon.ttl.is_some()
            }
        };
        if !is_good {
            let expected = if word == "group" {
                "a multicast address".to_owned()
            } else {
                format!("a number in {}", range.describe())
            };
            complain(
                Kind::ValueInvalid,
                format!("{word} {text:?} is not {expected}; it is not used"),
                text,
            );
        }
    }
    Some(daemon)
}
