//! The commands that run when an instance or a sync group changes.

use std::collections::BTreeMap;

use crate::keepalived_conf::{
    complaint::{Complaint, Kind},
    configuration::Notifies,
    script::Policy,
    tree::Node,
};

/// The keywords, with their names in the oracle.
const COMMANDS: [(&str, &str); 7] = [
    ("notify_backup", "backup"),
    ("notify_master", "master"),
    ("notify_fault", "fault"),
    ("notify_stop", "stop"),
    ("notify_deleted", "deleted"),
    ("notify_master_rx_lower_pri", "master rx lower pri"),
    ("notify", "generic"),
];

/// The keyword of a command.
pub(super) fn keyword(name: &str) -> &'static str {
    let found = COMMANDS.iter().find(|(_, it)| *it == name);
    found.map_or("notify", |(word, _)| word)
}

/// Reads the commands in the order of the file. Of a repeated keyword, the first one counts.
pub(super) fn read(node: &Node, policy: &Policy<'_>, complaints: &mut Vec<Complaint>) -> Notifies {
    let mut found = BTreeMap::new();
    let mut given = Vec::new();
    for statement in node.children.iter().filter(|it| !it.words.is_empty()) {
        let Some((word, name)) = COMMANDS.iter().find(|(word, _)| *word == statement.word) else {
            continue;
        };
        if given.contains(word) {
            complaints.push(
                Complaint::new(
                    Kind::Duplicate,
                    format!("{word} is given already; the first one counts"),
                )
                .at(statement.place),
            );
            continue;
        }
        given.push(*word);
        let script = policy.notify(statement, &mut |complaint| {
            // `-t` only looks at users when the daemon starts.
            if complaint.kind != Kind::ScriptUserUnknown {
                complaints.push(complaint);
            }
        });
        if let Some(script) = script {
            found.insert(*name, script);
        }
    }
    found
}
