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

/// Reads the commands. Of a repeated keyword, the first one counts.
pub(super) fn read(node: &Node, policy: &Policy<'_>, complaints: &mut Vec<Complaint>) -> Notifies {
    let mut found = BTreeMap::new();
    for (word, name) in COMMANDS {
        let mut statements = node.children_of(word).filter(|it| !it.words.is_empty());
        let Some(first) = statements.next() else {
            continue;
        };
        for again in statements {
            complaints.push(
                Complaint::new(
                    Kind::Duplicate,
                    format!("{word} is given already; the first one counts"),
                )
                .at(again.place),
            );
        }
        let script = policy.notify(first, &mut |complaint| {
            // `-t` only looks at users when the daemon starts.
            if complaint.kind != Kind::ScriptUserUnknown {
                complaints.push(complaint);
            }
        });
        if let Some(script) = script {
            found.insert(name, script);
        }
    }
    found
}
