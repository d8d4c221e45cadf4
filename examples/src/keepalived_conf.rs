//! Reads keepalived.conf as keepalived does.
//!
//! The text becomes lines ([`source`]), in which comments, definitions, conditions and includes are
//! resolved; the lines become blocks; the blocks become a [`configuration`] whose values are
//! checked and whose references are resolved. Each step records faults as complaints
//! ([`complaint`]) with their place.
//!
//! keepalived reads a file once for each of its processes, and the passes here do the same, so
//! that a file with unbalanced braces means the same too.

pub mod address;
mod announcing;
mod bfd;
pub mod complaint;
pub mod configuration;
pub mod diagnostic;
mod effect;
mod global;
mod grammar;
pub mod host;
mod link;
pub mod lvs;
mod nearest;
pub mod reload;
mod report;
pub mod route;
pub mod rule;
pub mod script;
pub mod source;
pub mod start;
pub mod sync_daemon;
#[cfg(test)]
pub(crate) mod tests;
mod tracking;
mod tree;
mod value;
mod vrrp;
pub mod word;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use self::{
    complaint::{Complaint, Kind, Weight},
    configuration::Configuration,
    grammar::Reader,
    host::Host,
    script::{DefaultUser, Policy},
    source::{Environment, File, Like, Lines},
    tree::Node,
};
pub use self::{effect::keyword_table, report::report};

/// A configuration that was read, with its complaints.
#[derive(Debug)]
pub struct Reading {
    /// The configuration itself.
    pub configuration: Configuration,
    /// The faults of the text, each once.
    pub complaints: Vec<Complaint>,
    /// The files.
    pub files: Vec<File>,
    /// Whether a daemon starts with it.
    pub is_startable: bool,
    extent: Extent,
}

/// How much of a configuration was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    /// All of it.
    Whole,
    /// A required parameter was missing, which ended the reading.
    BrokenOff,
    /// A strict include did not find its files.
    Refused,
    /// The globals, because the network namespace does not exist.
    Globals,
}

impl Reading {
    /// The exit status of `keepalived -t`: 0, 2 where reading broke off, 4 for a line that is
    /// ignored because its interface does not exist, 5 for an error, 6 where scripts run without
    /// script security or a strict include did not find its files. It is 0 where the network
    /// namespace does not exist, whatever is wrong.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        match self.extent {
            Extent::Whole => {}
            Extent::BrokenOff => return 2,
            Extent::Refused => return 6,
            Extent::Globals => return 0,
        }
        match self.complaints.iter().map(|it| it.weight).max() {
            Some(Weight::Security) => 6,
            Some(Weight::Error) => 5,
            Some(Weight::UnknownInterface) => 4,
            _ => 0,
        }
    }
}

/// Reads the file `path` for a host. A file that cannot be read gives a complaint and an empty
/// configuration, which `keepalived -t` accepts and with which a daemon does not start.
#[must_use]
pub fn read(path: &Path, environment: &Environment, host: &Host) -> Reading {
    let lines = match source::include::refusal(path) {
        None => Lines::read(path, environment).map_err(|error| error.to_string()),
        Some(reason) => Err(reason.to_owned()),
    };
    match lines {
        Ok(lines) => interpret(lines, host),
        Err(reason) => Reading {
            configuration: Configuration::default(),
            complaints: vec![
                Complaint::new(
                    Kind::ConfigFiles,
                    format!(
                        "configuration file {} is not read: {reason}",
                        path.display()
                    ),
                )
                .weight(Weight::Notice),
            ],
            files: Vec::new(),
            is_startable: false,
            extent: Extent::Whole,
        },
    }
}

/// Interprets lines for a host.
#[must_use]
pub fn interpret(lines: Lines, host: &Host) -> Reading {
    let mut configuration = Configuration::default();
    let mut complaints = lines.complaints.clone();
    let mut extent = Extent::Whole;
    let mut is_startable = !lines.is_refused;
    if lines.is_refused {
        return Reading {
            configuration,
            complaints,
            files: lines.files,
            is_startable,
            extent: Extent::Refused,
        };
    }
    let default_user = DefaultUser::default();
    for reader in Reader::ALL {
        let mut pass = tree::read(&lines, reader);
        complaints.append(&mut pass.complaints);
        if pass.is_broken_off {
            extent = Extent::BrokenOff;
            is_startable = false;
            break;
        }
        let mut found = Vec::new();
        let surroundings = (host, lines.like, &default_user);
        is_startable &= resolve(
            reader,
            &pass.nodes,
            surroundings,
            &mut configuration,
            &mut found,
        );
        default_user.report(&mut found);
        complaints.append(&mut found);
        if let Some(name) = &configuration.net_namespace
            && !lines.has_namespace
            && !host::namespace_path(name).exists()
        {
            // The other parts belong to a host that is not there.
            complaints.push(
                Complaint::new(
                    Kind::Other,
                    format!("there is no network namespace {name:?}: only global_defs is checked, and the daemon does not start"),
                )
                .weight(Weight::Advice)
                .help(format!("create it with ip netns add {name}")),
            );
            is_startable = false;
            extent = Extent::Globals;
            break;
        }
    }
    let mut seen = BTreeSet::new();
    complaints.retain(|complaint| seen.insert(complaint.clone()));
    Reading {
        configuration,
        complaints,
        files: lines.files,
        is_startable,
        extent,
    }
}

/// Resolves the blocks of one process. Returns whether the process starts.
fn resolve(
    reader: Reader,
    nodes: &[Node],
    (host, like, default_user): (&Host, Like, &DefaultUser),
    configuration: &mut Configuration,
    complaints: &mut Vec<Complaint>,
) -> bool {
    let blocks = nodes.iter().filter(|node| node.word == "global_defs");
    let mut global = global::read(blocks, host, default_user, complaints);
    let policy = Policy {
        host,
        account: global.script_account,
        default_user,
        is_secure: global.has("enable_script_security"),
    };
    let starts = match reader {
        Reader::Parent => {
            let last = |word: &str| nodes.iter().rev().find(|node| node.word == word);
            let mut names = nodes.iter().filter(|node| node.word == "net_namespace");
            // The first name counts.
            let namespace = names.find_map(|node| node.word_at(0));
            for again in names.filter(|node| !node.words.is_empty()) {
                complaints.push(
                    Complaint::new(
                        Kind::Duplicate,
                        "net_namespace is given already; the first one counts",
                    )
                    .at(again.place),
                );
            }
            configuration.net_namespace = namespace.map(str::to_owned);
            let scripts = ["startup_script", "shutdown_script"];
            if global::uses_one_of(&scripts, &global, &policy) {
                policy.report_use(complaints);
            }
            configuration.net_namespace_ipvs = last("net_namespace_ipvs")
                .map(|node| node.word_at(0).unwrap_or_default().to_owned());
            configuration.instance = nodes
                .iter()
                .find(|node| node.word == "instance")
                .and_then(|node| node.word_at(0))
                .map(str::to_owned);
            configuration.uses_pid_folder = last("use_pid_dir").is_some();
            true
        }
        Reader::Vrrp => {
            configuration.sync_daemon = sync_daemon::read(nodes, complaints);
            let context = vrrp::Context {
                host,
                policy: policy.clone(),
                global: &global,
                like,
            };
            vrrp::resolve(nodes, &context, configuration, complaints)
        }
        Reader::Checker => {
            let mut ignored = Vec::new();
            let files = nodes
                .iter()
                .filter(|node| matches!(node.word, "track_file" | "vrrp_track_file"))
                .filter_map(|node| tracking::file(node, &mut ignored))
                .map(|file| {
                    let text = std::fs::read_to_string(&file.path).unwrap_or_default();
                    let value = text.trim().parse().unwrap_or(0);
                    (file.name.clone(), (file, value))
                })
                .collect::<BTreeMap<_, _>>();
            let bfd = nodes
                .iter()
                .filter(|node| node.word == "bfd_instance")
                .filter_map(|node| bfd::name(node).map(str::to_owned))
                .collect();
            let context = lvs::Context {
                policy: policy.clone(),
                global: &global,
                files,
                bfd,
            };
            lvs::resolve(nodes, &context, configuration, complaints);
            true
        }
        Reader::Bfd => {
            let found = nodes.iter().filter(|node| node.word == "bfd_instance");
            configuration.bfd_instances = bfd::read(found, complaints);
            true
        }
    };
    global::drop_unusable_scripts(&mut global, &policy, complaints);
    configuration.global = global;
    starts
}
