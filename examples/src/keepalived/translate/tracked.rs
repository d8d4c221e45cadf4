//! Tracked objects: those that the driver watches, and those that the program probes.

use std::{collections::BTreeSet, num::NonZeroU8, time::Duration};

use vrrp_fsm::track::{Check, Debounce, Kind, Object, Quorum, Weight};
use vrrp_net::Watch;

use super::{Plan, micros};
use crate::{
    keepalived::link_delay::debounce,
    keepalived_conf::{
        configuration::{
            CheckScript, CommandMatch, Configuration, TrackFile, TrackProcess, Tracked, Tracking,
        },
        script::Script,
    },
};

/// The longest debounce time and the like, to stay within the limits of timers.
const LONGEST: Duration = Duration::from_secs(3600);

/// A tracked object as an instance or a sync group uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// The name of the object.
    pub object: String,
    /// The weight of the object.
    pub weight: Weight,
    /// Whether success counts as failure.
    pub is_reverse: bool,
}

/// A tracked object.
#[derive(Debug)]
pub struct PlannedObject {
    /// The object itself.
    pub object: Object,
    /// The source that the driver watches.
    pub watch: Watch,
    /// The source that the program probes.
    pub probe: Option<Probe>,
}

/// A source that the program probes periodically.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// A script.
    Script {
        /// The command.
        script: Script,
        /// The time between the starts of two runs.
        interval: Duration,
        /// How long a run may take.
        timeout: Duration,
        /// Whether it counts as failed until its first result.
        fails_first: bool,
    },
    /// The number in a file.
    File {
        /// The path.
        path: String,
        /// The number that is written at the start, and whether it replaces the content.
        initial: Option<(i64, bool)>,
    },
    /// The number of processes.
    Processes {
        /// The program, then its parameters.
        command: Vec<String>,
        /// Which processes count.
        command_match: CommandMatch,
    },
}

impl Use {
    /// An interface whose failure is a fault.
    pub(super) fn of_interface(name: &str) -> Self {
        Self {
            object: interface_name(name),
            weight: Weight::FAULT,
            is_reverse: false,
        }
    }
}

fn interface_name(name: &str) -> String {
    format!("interface {name}")
}

fn script_name(name: &str) -> String {
    format!("script {name}")
}

fn file_name(name: &str) -> String {
    format!("file {name}")
}

fn process_name(name: &str) -> String {
    format!("process {name}")
}

/// The objects that an instance or a sync group tracks.
pub(super) fn uses(tracking: &Tracking) -> Vec<Use> {
    let Tracking {
        interfaces,
        scripts,
        files,
        processes,
        bfd: _, // There is no BFD engine; each use has a complaint.
    } = tracking;
    let each = |list: &[Tracked], name: fn(&str) -> String| -> Vec<Use> {
        list.iter()
            .map(|tracked| {
                let limit = i32::from(Weight::GREATEST);
                let points = tracked.weight.clamp(-limit, limit);
                let points = i16::try_from(points).unwrap_or(0);
                Use {
                    object: name(&tracked.name),
                    weight: Weight::try_from(points).unwrap_or(Weight::FAULT),
                    is_reverse: tracked.is_reverse,
                }
            })
            .collect()
    };
    [
        each(interfaces, interface_name),
        each(scripts, script_name),
        each(files, file_name),
        each(processes, process_name),
    ]
    .concat()
}

/// Adds the objects that routers and groups of the plan track.
pub(super) fn objects(configuration: &Configuration, plan: &mut Plan) {
    let used = plan
        .routers
        .iter()
        .flat_map(|it| &it.tracked)
        .chain(plan.groups.iter().flat_map(|it| &it.tracked));
    let used: BTreeSet<&str> = used.map(|it| it.object.as_str()).collect();
    let mut objects = Vec::new();
    let mut notes = Vec::new();
    for name in &used {
        if let Some(interface) = name.strip_prefix("interface ") {
            let mut object = Object::new(*name, Kind::Interface);
            object.debounce = debounce(configuration, interface, &mut notes);
            objects.push(PlannedObject {
                object,
                watch: Watch::Interface(interface.into()),
                probe: None,
            });
        }
    }
    let scripts = configuration.scripts.iter().map(script);
    let files = configuration.track_files.iter().map(file);
    let processes = configuration.track_processes.iter().map(process);
    objects.extend(scripts.chain(files).chain(processes));
    objects.retain(|it| used.contains(it.object.name.as_str()));
    plan.objects = objects;
    plan.notes.extend(notes);
}

fn script(check: &CheckScript) -> PlannedObject {
    let CheckScript {
        name,
        script,
        interval,
        timeout,
        weight: _, // Each use has its own.
        is_reverse: _,
        rise,
        fall,
        init_fail,
    } = check;
    let count = |number: u32| {
        let number = u8::try_from(number).unwrap_or(u8::MAX);
        NonZeroU8::new(number).unwrap_or(NonZeroU8::MIN)
    };
    let kind = Kind::Check(Check {
        rise: count(*rise),
        fall: count(*fall),
        stale_after: None,
    });
    let interval = Duration::from_micros(*interval);
    PlannedObject {
        object: Object::new(script_name(name), kind),
        watch: Watch::Host,
        probe: Some(Probe::Script {
            script: script.clone(),
            interval,
            timeout: match timeout {
                0 => interval,
                time => Duration::from_micros(*time),
            },
            fails_first: *init_fail,
        }),
    }
}

fn file(file: &TrackFile) -> PlannedObject {
    let TrackFile {
        name,
        path,
        weight: _, // Each use has its own.
        is_reverse: _,
        initial,
    } = file;
    PlannedObject {
        object: Object::new(file_name(name), Kind::Number),
        watch: Watch::Host,
        probe: Some(Probe::File {
            path: path.clone(),
            initial: *initial,
        }),
    }
}

fn process(process: &TrackProcess) -> PlannedObject {
    let TrackProcess {
        name,
        process: command,
        command_match,
        weight: _, // Each use has its own.
        is_reverse: _,
        quorum,
        quorum_max,
        terminate_delay,
        fork_delay,
    } = process;
    let delay = |time: i64| micros(time).min(LONGEST);
    let mut object = Object::new(
        process_name(name),
        Kind::Processes(Quorum {
            at_least: *quorum,
            at_most: quorum_max.map(|most| most.max(*quorum)),
        }),
    );
    object.debounce = Debounce {
        down: delay(*terminate_delay),
        up: delay(*fork_delay),
    };
    PlannedObject {
        object,
        watch: Watch::Host,
        probe: Some(Probe::Processes {
            command: command.clone(),
            command_match: *command_match,
        }),
    }
}
