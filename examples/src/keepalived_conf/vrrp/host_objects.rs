//! Addresses, routes and rules, of instances and static ones.

use super::Context;
use crate::keepalived_conf::{
    address::{Address, Block},
    complaint::{Complaint, Kind},
    route::Route,
    rule::Rule,
    source::Place,
    tree::{Entry, Node},
};

/// Reads the addresses of a list.
pub(super) fn addresses(
    list: &Node,
    context: &Context<'_>,
    complaints: &mut Vec<Complaint>,
) -> Vec<Address> {
    let found = addresses_with_places(list, context, complaints);
    found.into_iter().map(|(address, _)| address).collect()
}

/// Reads the addresses of a list that are of the instance's family.
pub(super) fn family_addresses(
    list: &Node,
    name: &str,
    is_ipv6: bool,
    context: &Context<'_>,
    complaints: &mut Vec<Complaint>,
) -> Vec<Address> {
    let mut kept = Vec::new();
    for (address, entry) in addresses_with_places(list, context, complaints) {
        if address.address.is_ipv6() == is_ipv6 {
            kept.push(address);
        } else {
            complaints.push(
                Complaint::new(
                    Kind::FamilyMismatch,
                    format!(
                        "{} is of another family than the instance; it is not used",
                        address.address
                    ),
                )
                .at(entry)
                .object(name)
                .help("put it into virtual_ipaddress_excluded, or make a second instance"),
            );
        }
    }
    kept
}

/// The address of a line, if it is used.
pub(super) fn address(entry: &Entry, context: &Context<'_>) -> Option<Address> {
    let block = Block {
        is_static: false,
        allows_missing_interfaces: context.is_dynamic(),
    };
    Address::read(entry, context.host, block, &mut |_| {})
}

fn addresses_with_places(
    list: &Node,
    context: &Context<'_>,
    complaints: &mut Vec<Complaint>,
) -> Vec<(Address, Place)> {
    let block = Block {
        is_static: list.word == "static_ipaddress",
        allows_missing_interfaces: context.is_dynamic(),
    };
    let mut found = Vec::new();
    for entry in &list.entries {
        let address = Address::read(entry, context.host, block, &mut |complaint| {
            complaints.push(complaint);
        });
        found.extend(address.map(|address| (address, entry.place)));
    }
    found
}

/// Reads the routes of a list.
pub(super) fn routes(
    list: &Node,
    context: &Context<'_>,
    complaints: &mut Vec<Complaint>,
) -> Vec<Route> {
    let knows = known_interfaces(context);
    let mut found = Vec::new();
    for entry in &list.entries {
        let mut complain = |complaint| complaints.push(complaint);
        found.extend(Route::read(entry, &knows, &mut complain));
    }
    found
}

/// Reads the rules of a list. A rule without a priority gets the next one, as in keepalived.
pub(super) fn rules(
    list: &Node,
    context: &Context<'_>,
    next_priority: &mut u32,
    complaints: &mut Vec<Complaint>,
) -> Vec<Rule> {
    let knows = known_interfaces(context);
    let mut found = Vec::new();
    for entry in &list.entries {
        let mut complain = |complaint| complaints.push(complaint);
        let rule = Rule::read(entry, &knows, next_priority, &mut complain);
        found.extend(rule);
    }
    found
}

/// Complains of track groups that static objects name and that are not defined before them.
pub(super) fn check_track_groups(node: &Node, nodes: &[Node], complaints: &mut Vec<Complaint>) {
    for entry in &node.entries {
        let mut words = entry.words.iter();
        let name = words
            .by_ref()
            .find(|word| *word == "track_group")
            .and(words.next());
        let Some(name) = name else { continue };
        let is_before = |it: &&Node| {
            it.word == "track_group" && it.word_at(0) == Some(name) && it.place < entry.place
        };
        if !nodes.iter().any(|it| is_before(&it)) {
            complaints.push(
                Complaint::new(
                    Kind::NotDefined,
                    format!("there is no track_group {name:?} before this line"),
                )
                .at(entry.place)
                .token(name),
            );
        }
    }
}

/// Returns whether an interface may be named: it exists, or interfaces may come later.
fn known_interfaces<'a>(context: &Context<'a>) -> impl Fn(&str) -> bool + use<'a> {
    let (host, is_dynamic) = (context.host, context.is_dynamic());
    move |name| is_dynamic || host.interfaces.contains_key(name)
}
