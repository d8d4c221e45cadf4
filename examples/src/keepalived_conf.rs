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
    script::Policy,
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
    /// A required parameter was missing, which ends the reading.
    is_broken_off: bool,
    /// A strict include did not find its files.
    is_refused: bool,
}

impl Reading {
    /// The exit status of `keepalived -t`: 0, 2 where reading broke off, 4 for a line that is
    /// ignored because its interface does not exist, 5 for an error, 6 where scripts run without
    /// script security or a strict include did not find its files.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        if self.is_refused {
            return 6;
        }
        if self.is_broken_off {
            return 2;
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
            is_broken_off: false,
            is_refused: false,
        },
    }
}

/// Interprets lines for a host.
#[must_use]
pub fn interpret(lines: Lines, host: &Host) -> Reading {
    let mut configuration = Configuration::default();
    let mut complaints = lines.complaints.clone();
    let mut is_broken_off = false;
    let mut is_startable = !lines.is_refused;
    if lines.is_refused {
        return Reading {
            configuration,
            complaints,
            files: lines.files,
            is_startable,
            is_broken_off,
            is_refused: true,
        };
    }
    for reader in Reader::ALL {
        let mut pass = tree::read(&lines, reader);
        complaints.append(&mut pass.complaints);
        if pass.is_broken_off {
            is_broken_off = true;
            is_startable = false;
            break;
        }
        let mut found = Vec::new();
        let surroundings = (host, lines.like);
        is_startable &= resolve(
            reader,
            &pass.nodes,
            surroundings,
            &mut configuration,
            &mut found,
        );
        complaints.append(&mut found);
    }
    let mut seen = BTreeSet::new();
    complaints.retain(|complaint| seen.insert(complaint.clone()));
    Reading {
        configuration,
        complaints,
        files: lines.files,
        is_startable,
        is_broken_off,
        is_refused: false,
    }
}

/// Resolves the blocks of one process. Returns whether the process starts.
fn resolve(
    reader: Reader,
    nodes: &[Node],
    (host, like): (&Host, Like),
    configuration: &mut Configuration,
    complaints: &mut Vec<Complaint>,
) -> bool {
    let blocks = nodes.iter().filter(|node| node.word == "global_defs");
    let global = global::read(blocks, host, complaints);
    let policy = Policy {
        host,
        account: global.script_account,
        is_secure: global.has("enable_script_security"),
    };
    let starts = match reader {
        Reader::Parent => {
            let last = |word: &str| nodes.iter().rev().find(|node| node.word == word);
            let namespace = last("net_namespace").and_then(|node| node.word_at(0));
            configuration.net_namespace = namespace.map(str::to_owned);
            configuration.net_namespace_ipvs = last("net_namespace_ipvs")
                .map(|node| node.word_at(0).unwrap_or_default().to_owned());
            configuration.uses_pid_folder = last("use_pid_dir").is_some();
            true
        }
        Reader::Vrrp => {
            configuration.sync_daemon = sync_daemon::read(nodes, complaints);
            let context = vrrp::Context {
                host,
                policy,
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
                .filter_map(|node| Some(node.word_at(0)?.to_owned()))
                .collect();
            let context = lvs::Context {
                policy,
                global: &global,
                files,
                bfd,
            };
            lvs::resolve(nodes, &context, configuration, complaints);
            true
        }
        Reader::Bfd => {
            let found = nodes
                .iter()
                .filter(|node| node.word == "bfd_instance")
                .filter_map(|node| bfd::read(node, complaints))
                .collect();
            configuration.bfd_instances = found;
            true
        }
    };
    configuration.global = global;
    starts
}
