//! Virtual servers, their real servers and checks.

mod check;
mod defaults;
mod endpoint;
mod finish;
mod forwarding;
mod group;
mod persistence;
mod real_server;
mod scheduling;
mod service;
mod sorry_server;
mod tls;
mod virtual_server;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use self::{
    check::{Check, Detail, TrackedFile, Url},
    defaults::CheckDefaults,
    forwarding::Method,
    group::{GroupEntry, ServiceGroup},
    persistence::Granularity,
    real_server::RealServer,
    service::Service,
    sorry_server::SorryServer,
    tls::TlsFiles,
    virtual_server::VirtualServer,
};
use super::{
    complaint::{Complaint, Kind, Weight},
    configuration::{Configuration, Global, TrackFile},
    script::{Policy, Script},
    tree::Node,
    value,
};

/// The settings and objects outside of virtual servers on which they depend.
pub(super) struct Context<'a> {
    pub(super) policy: Policy<'a>,
    pub(super) global: &'a Global,
    /// `track_file` blocks with the values of the files.
    pub(super) files: BTreeMap<String, (TrackFile, i64)>,
    /// The names of `bfd_instance` blocks.
    pub(super) bfd: Vec<String>,
}

impl Context<'_> {
    /// The commands after these keywords.
    fn commands(
        &self,
        node: &Node,
        words: [&'static str; 2],
        complaints: &mut Vec<Complaint>,
    ) -> BTreeMap<&'static str, Script> {
        let mut commands = BTreeMap::new();
        for word in words {
            if let Some(statement) = node.last(word).filter(|it| !it.words.is_empty()) {
                let script = self.policy.notify(statement, &mut |complaint| {
                    // Without its user, the script is dropped at the start, and `-t` is silent.
                    complaints.push(match complaint.kind {
                        Kind::ScriptUserUnknown => complaint.weight(Weight::Advice),
                        _ => complaint,
                    });
                });
                commands.extend(script.map(|script| (word, script)));
            }
        }
        commands
    }
}

/// Fills in the part of a configuration that belongs to the checker process.
pub(super) fn resolve(
    nodes: &[Node],
    context: &Context<'_>,
    configuration: &mut Configuration,
    complaints: &mut Vec<Complaint>,
) {
    // A group may stand behind the virtual server that uses it.
    for node in nodes.iter().filter(|it| it.word == "virtual_server_group") {
        let group = ServiceGroup::read(node, complaints);
        configuration.virtual_server_groups.extend(group);
    }
    let mut has_tls = false;
    for node in nodes {
        match node.word {
            "SSL" => {
                if has_tls {
                    complaints.push(tls::repeated(node));
                }
                has_tls = true;
                configuration.tls = TlsFiles::read(node, complaints);
            }
            "virtual_server" => {
                let groups = &configuration.virtual_server_groups;
                let server = VirtualServer::read(node, context, groups, complaints);
                configuration.virtual_servers.extend(server);
            }
            _ => {}
        }
    }
    configuration.uses_tls |= configuration
        .virtual_servers
        .iter()
        .flat_map(|it| &it.real_servers)
        .flat_map(|it| &it.checks)
        .any(|it| it.kind == "SSL_GET");
    look_up_scripts(
        &context.policy,
        &mut configuration.virtual_servers,
        complaints,
    );
}

/// Looks up the scripts, and reports where security is off.
fn look_up_scripts(
    policy: &Policy<'_>,
    servers: &mut [VirtualServer],
    complaints: &mut Vec<Complaint>,
) {
    let mut uses_scripts = false;
    let mut keep = |script: &mut Script| {
        let usability = policy.look_up(script);
        uses_scripts |= usability.counts();
        usability.is_kept()
    };
    for server in servers {
        server.scripts.retain(|_, script| keep(script));
        for real in &mut server.real_servers {
            real.scripts.retain(|_, script| keep(script));
            for check in &mut real.checks {
                if let Detail::Misc { script, .. } = &mut check.detail {
                    keep(script);
                }
            }
        }
    }
    if uses_scripts {
        policy.report_use(complaints);
    }
}

/// Whether a `virtual_server` or `real_server` block is read: its words name a service or a
/// server. A daemon at its start takes the leading digits of a malformed port or mark.
pub(super) fn is_usable(node: &Node) -> bool {
    match node.word {
        "virtual_server" => Service::read(node).is_some(),
        _ => endpoint::endpoint(&node.words).is_some(),
    }
}

/// The fault of the words of a `virtual_server` or `real_server` block.
pub(super) fn fault(node: &Node) -> Option<Complaint> {
    let has_number = match (node.word, node.word_at(0)) {
        ("virtual_server", Some("group")) => true,
        ("virtual_server", Some("fwmark")) => {
            let mark = node.word_at(1).map(|it| value::number(it, service::MARKS));
            mark.is_some_and(|it| it.problem.is_none())
        }
        _ => node
            .word_at(1)
            .is_none_or(|it| endpoint::port(it).is_some()),
    };
    let is_usable = is_usable(node);
    if has_number && is_usable {
        return None;
    }
    let words = node.words.join(" ");
    let form = match node.word {
        "virtual_server" => "an address with a port, fwmark and a number, or group and a name",
        _ => "an address with a port",
    };
    Some(
        Complaint::new(
            Kind::BadAddress,
            format!(
                "{}: {words:?} is not {form}; {}",
                node.word,
                if is_usable {
                    "the digits before the fault are used"
                } else {
                    "the block is ignored"
                }
            ),
        )
        .at(node.place)
        .token(words),
    )
}

/// The number after a keyword, if it is one that a count can have.
fn count(node: &Node, word: &str) -> Option<u32> {
    node.number(word).and_then(|it| u32::try_from(it).ok())
}
