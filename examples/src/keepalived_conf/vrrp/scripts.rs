//! The programs behind scripts: those that cannot run are dropped.

use super::{Context, finish::Draft};
use crate::keepalived_conf::{
    complaint::{Complaint, Kind},
    configuration::SyncGroup,
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
    uses_scripts |= look_up_notifies(drafts, groups, policy);
    for word in ["notify_fifo_script", "vrrp_notify_fifo_script"] {
        if let Some(script) = context.global.scripts.get(word) {
            uses_scripts |= policy.look_up(&mut script.clone()) == Usability::Usable;
        }
    }
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
) -> bool {
    let mut uses_scripts = false;
    let notifies = drafts
        .iter_mut()
        .map(|draft| &mut draft.instance.notification.commands)
        .chain(groups.iter_mut().map(|group| &mut group.notifies));
    for notifies in notifies {
        notifies.retain(|_, script| {
            let usability = policy.look_up(script);
            uses_scripts |= usability.counts();
            usability.is_kept()
        });
    }
    uses_scripts
}
