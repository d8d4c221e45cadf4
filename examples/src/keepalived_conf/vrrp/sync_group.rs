//! Sync groups.

use super::{Context, finish::Draft, notify};
use crate::keepalived_conf::{
    complaint::{Complaint, Kind},
    configuration::{Instance, SyncGroup, Tracked, Tracking},
    tracking::Defined,
    tree::Node,
};

/// Reads a group, with the names of its members as they are written.
pub(super) fn read(
    node: &Node,
    context: &Context<'_>,
    defined: &Defined,
    complaints: &mut Vec<Complaint>,
) -> SyncGroup {
    let name = node.word_at(0).unwrap_or_default().to_owned();
    let mut members = Vec::new();
    for list in node.children_of("group") {
        if list.entries.is_empty() {
            let complaint = Complaint::new(Kind::Other, "a group block without members");
            complaints.push(complaint.at(list.end).object(&name));
        }
        members.extend(list.entries.iter().flat_map(|entry| entry.words.clone()));
    }
    let tracking = context.tracking(node, &name, defined, complaints);
    let notifies = notify::read(node, &context.policy, complaints);
    SyncGroup {
        tracking,
        notifies,
        smtp_alert: node.switch("smtp_alert").unwrap_or(context.mails()),
        tracking_weight: node.has("sync_group_tracking_weight") || node.has("global_tracking"),
        notify_priority_changes: node.switch("notify_priority_changes").unwrap_or(false),
        members,
        name,
    }
}

/// Connects groups with their members, drops groups without any, and applies the rules of groups
/// about weights.
pub(super) fn finish(
    groups: &mut Vec<SyncGroup>,
    drafts: &mut [Draft<'_>],
    complaints: &mut Vec<Complaint>,
) {
    for group in groups.iter_mut() {
        join(group, drafts, complaints);
    }
    groups.retain(|group| has_members(group, complaints));
    for group in groups {
        initial_state(group, drafts);
        weights(group, drafts, complaints);
    }
}

/// `state MASTER` has no effect in a group, unless all members are owners.
fn initial_state(group: &SyncGroup, drafts: &mut [Draft<'_>]) {
    let is_member = |draft: &&mut Draft<'_>| group.members.contains(&draft.instance.name);
    let mut members: Vec<_> = drafts.iter_mut().filter(is_member).collect();
    if !members
        .iter()
        .all(|it| it.instance.election.priority == 255)
    {
        for member in &mut members {
            member.instance.election.starts_as_master = false;
        }
    }
}

/// Keeps the members that are instances and in no other group.
fn join(group: &mut SyncGroup, drafts: &mut [Draft<'_>], complaints: &mut Vec<Complaint>) {
    for member in std::mem::take(&mut group.members) {
        let found = drafts
            .iter_mut()
            .find(|draft| draft.instance.name == member);
        let Some(draft) = found else {
            complaints.push(
                Complaint::new(
                    Kind::NotDefined,
                    format!(
                        "sync group {} names {member:?}, which is no instance",
                        group.name
                    ),
                )
                .token(&member),
            );
            continue;
        };
        if let Some(other) = &draft.instance.sync_group {
            let text = format!(
                "{member} is in the sync groups {other} and {}; the first one counts",
                group.name
            );
            complaints.push(Complaint::new(Kind::InTwoGroups, text).token(&member));
            continue;
        }
        draft.instance.sync_group = Some(group.name.clone());
        draft.instance.notification.priority_changes |= group.notify_priority_changes;
        group.members.push(member);
    }
}

fn has_members(group: &SyncGroup, complaints: &mut Vec<Complaint>) -> bool {
    match group.members.len() {
        0 => complaints.push(Complaint::new(
            Kind::NoRealServers,
            format!("sync group {} has no members; it is ignored", group.name),
        )),
        1 => complaints.push(Complaint::new(
            Kind::GroupOfOne,
            format!("sync group {} has one member only", group.name),
        )),
        _ => {}
    }
    !group.members.is_empty()
}

/// Drops weights inside a group, unless the group counts them.
fn weights(group: &mut SyncGroup, drafts: &mut [Draft<'_>], complaints: &mut Vec<Complaint>) {
    let mut has_owner = false;
    for draft in drafts {
        let instance = &mut draft.instance;
        if !group.members.contains(&instance.name) {
            continue;
        }
        has_owner |= instance.election.priority == 255;
        if !group.tracking_weight {
            drop_weights(
                &mut instance.tracking,
                &instance.name,
                &group.name,
                complaints,
            );
        }
        complain_of_both(instance, &group.tracking, complaints);
    }
    if has_owner {
        drop_weights_of_owner(group, complaints);
    }
}

/// Drops the weights of a member. A script with a weight is not tracked.
fn drop_weights(tracking: &mut Tracking, name: &str, group: &str, complaints: &mut Vec<Complaint>) {
    tracking.scripts.retain(|tracked| {
        if tracked.weight != 0 {
            complaints.push(weight_in_group("script", tracked, group).object(name));
        }
        tracked.weight == 0
    });
    for (kind, list) in [
        ("interface", &mut tracking.interfaces),
        ("file", &mut tracking.files),
        ("BFD instance", &mut tracking.bfd),
    ] {
        // An owner's weights already have a complaint.
        for tracked in list.iter_mut().filter(|tracked| tracked.weight != 0) {
            complaints.push(weight_in_group(kind, tracked, group).object(name));
            tracked.weight = 0;
        }
    }
}

/// Complains of interfaces that a member and its group track. A member tracks its own interface,
/// unless it has `dont_track_primary`.
fn complain_of_both(member: &Instance, group: &Tracking, complaints: &mut Vec<Complaint>) {
    let is_own = |name: &str| name == member.interface && !member.dont_track_primary;
    let listed = &member.tracking.interfaces;
    for Tracked { name, .. } in &group.interfaces {
        if is_own(name) || listed.iter().any(|it| it.name == *name) {
            complaints.push(
                Complaint::new(
                    Kind::OnInstanceAndGroup,
                    format!("{name} is tracked by the instance and by its group"),
                )
                .token(name)
                .object(&member.name),
            );
        }
    }
}

/// Drops the weights of a group with an owner, whose priority does not change.
fn drop_weights_of_owner(group: &mut SyncGroup, complaints: &mut Vec<Complaint>) {
    let tracking = &mut group.tracking;
    for tracked in tracking.interfaces.iter_mut().chain(&mut tracking.scripts) {
        if tracked.weight != 0 {
            complaints.push(
                Complaint::new(
                    Kind::OwnerTrackingIgnored,
                    format!("a group with an owner (255) cannot track {} with a weight; the weight is ignored", tracked.name),
                )
                .object(&group.name),
            );
            tracked.weight = 0;
        }
    }
}

/// The complaint about a weight that does not count in a sync group.
fn weight_in_group(kind: &str, tracked: &Tracked, group: &str) -> Complaint {
    Complaint::new(
        Kind::SyncGroupWeight,
        format!(
            "the weight of {kind} {} does not count in sync group {group}",
            tracked.name
        ),
    )
    .token(&tracked.name)
    .help("add sync_group_tracking_weight to the group, or leave the weight out")
}
