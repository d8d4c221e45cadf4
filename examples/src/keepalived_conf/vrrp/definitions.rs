//! The definitions of objects that instances and groups track.

use std::collections::BTreeSet;

use crate::keepalived_conf::{
    bfd,
    complaint::Complaint,
    configuration::Configuration,
    script::Policy,
    tracking::{self, Defined},
    tree::Node,
};

/// Reads a block that defines an object.
pub(super) fn read(
    node: &Node,
    policy: &Policy<'_>,
    defined: &mut Defined,
    complaints: &mut Vec<Complaint>,
) {
    match node.word {
        "vrrp_script" => {
            if let Some(script) = tracking::script(node, policy, complaints) {
                let name = script.name.clone();
                defined.scripts.add(&name, script);
            }
        }
        "track_file" | "vrrp_track_file" => {
            if let Some(file) = tracking::file(node, complaints) {
                let name = file.name.clone();
                defined.files.add(&name, file);
            }
        }
        "vrrp_track_process" => {
            if let Some(process) = tracking::process(node, complaints) {
                let name = process.name.clone();
                defined.processes.add(&name, process);
            }
        }
        "bfd_instance" => {
            // An instance that the BFD part disables can still be tracked.
            if let Some(name) = bfd::name(node) {
                defined.bfd.add(name, bfd::weight(node));
            }
        }
        _ => {}
    }
}

/// Adds the scripts and files that are tracked, and all processes, to a configuration.
pub(super) fn keep_tracked(defined: Defined, configuration: &mut Configuration) {
    let mut names: [BTreeSet<String>; 2] = Default::default();
    let lists = configuration
        .instances
        .iter()
        .map(|it| &it.tracking)
        .chain(configuration.sync_groups.iter().map(|it| &it.tracking));
    for tracking in lists {
        let [scripts, files] = &mut names;
        scripts.extend(tracking.scripts.iter().map(|it| it.name.clone()));
        files.extend(tracking.files.iter().map(|it| it.name.clone()));
    }
    let [scripts, files] = names;
    let Defined {
        scripts: known_scripts,
        files: known_files,
        processes: known_processes,
        ..
    } = defined;
    configuration.scripts = known_scripts
        .into_items()
        .into_iter()
        .filter(|it| scripts.contains(&it.name))
        .collect();
    configuration.track_files = known_files
        .into_items()
        .into_iter()
        .filter(|it| files.contains(&it.name))
        .collect();
    configuration.track_processes = known_processes.into_items();
}
