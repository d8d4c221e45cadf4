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
    global,
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
    if look_up_scripts(context, &mut configuration.virtual_servers, complaints) {
        context.policy.report_use(complaints);
    }
}

/// Looks up the scripts, and drops those that cannot run. Returns whether the daemon wants to run
/// one.
fn look_up_scripts(
    context: &Context<'_>,
    servers: &mut [VirtualServer],
    complaints: &mut Vec<Complaint>,
) -> bool {
    // Without virtual servers, there is no checker to run scripts.
    if servers.is_empty() {
        return false;
    }
    let of_fifos = ["notify_fifo_script", "lvs_notify_fifo_script"];
    let mut uses_scripts = global::uses_one_of(&of_fifos, context.global, &context.policy);
    let mut keep = |script: &mut Script, owner: &str, word| {
        let place = (Some(owner), word);
        let usability = context.policy.look_up_or_warn(script, place, complaints);
        uses_scripts |= usability.counts();
        usability.is_kept()
    };
    for server in servers {
        let name = server.service.to_string();
        server
            .scripts
            .retain(|word, script| keep(script, &name, word));
        for real in &mut server.real_servers {
            let name = format!("{name}, [{}]:{}", real.address, real.port);
            real.scripts
                .retain(|word, script| keep(script, &name, word));
            real.checks.retain_mut(|check| match &mut check.detail {
                Detail::Misc { script, .. } => keep(script, &name, "misc_path"),
                _ => true,
            });
        }
    }
    uses_scripts
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
