//! The programs behind scripts: those that cannot run are dropped.

use super::{Context, finish::Draft, notify};
use crate::keepalived_conf::{
    complaint::{Complaint, Kind},
    configuration::SyncGroup,
    global,
    script::{Policy, Usability},
    tracking::Defined,
};

/// Looks up the scripts, drops those that cannot run, and reports where security is off.
pub(super) fn look_up(
    defined: &mut Defined,
    drafts: &mut [Draft<'_>],
    groups: &mut [SyncGroup],
    context: &Context<'_>,
    complaints: &mut Vec<Complaint>,
) {
    // Without instances, there is no VRRP part to run scripts.
    if drafts.is_empty() {
        return;
    }
    let policy = &context.policy;
    let mut uses_scripts = look_up_tracked(defined, drafts, groups, policy, complaints);
    uses_scripts |= look_up_notifies(drafts, groups, policy, complaints);
    let of_fifos = ["notify_fifo_script", "vrrp_notify_fifo_script"];
    uses_scripts |= global::uses_one_of(&of_fifos, context.global, policy);
    if uses_scripts {
        policy.report_use(complaints);
    }
}

/// Looks up the scripts of `vrrp_script`. Returns whether the daemon wants to run one.
fn look_up_tracked(
    defined: &mut Defined,
    drafts: &mut [Draft<'_>],
    groups: &mut [SyncGroup],
    policy: &Policy<'_>,
    complaints: &mut Vec<Complaint>,
) -> bool {
    let mut uses_scripts = false;
    let mut dropped = Vec::new();
    for script in defined.scripts.items_mut() {
        let usability = policy.look_up(&mut script.script);
        uses_scripts |= usability.counts();
        if !usability.is_kept() {
            dropped.push(script.name.clone());
        }
        let problem = match usability {
            Usability::Missing => "cannot be found",
            Usability::Insecure => "can be changed by other users, or is a folder",
            _ => continue,
        };
        complaints.push(
            Complaint::new(
                Kind::ScriptDisabled,
                format!(
                    "the program of vrrp_script {} {problem}; nothing tracks it",
                    script.name
                ),
            )
            .token(&script.name),
        );
    }
    let lists = drafts
        .iter_mut()
        .map(|draft| &mut draft.instance.tracking)
        .chain(groups.iter_mut().map(|group| &mut group.tracking));
    for tracking in lists {
        tracking
            .scripts
            .retain(|tracked| !dropped.contains(&tracked.name));
    }
    uses_scripts
}

/// Looks up the notify commands. Returns whether the daemon wants to run one.
fn look_up_notifies(
    drafts: &mut [Draft<'_>],
    groups: &mut [SyncGroup],
    policy: &Policy<'_>,
    complaints: &mut Vec<Complaint>,
) -> bool {
    let mut uses_scripts = false;
    let of_instances = drafts.iter_mut().map(|draft| {
        let instance = &mut draft.instance;
        (&instance.name, &mut instance.notification.commands)
    });
    let of_groups = groups
        .iter_mut()
        .map(|group| (&group.name, &mut group.notifies));
    for (owner, notifies) in of_instances.chain(of_groups) {
        notifies.retain(|name, script| {
            let place = (Some(owner.as_str()), notify::keyword(name));
            let usability = policy.look_up_or_warn(script, place, complaints);
            uses_scripts |= usability.counts();
            usability.is_kept()
        });
    }
    uses_scripts
}
