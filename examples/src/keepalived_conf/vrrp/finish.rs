//! Checks and defaults that need the whole of an instance, in keepalived's order.

use std::net::IpAddr;

use super::{Context, authentication, instance::asks_for_unicast};
use crate::keepalived_conf::{
    complaint::{Complaint, Kind},
    configuration::Instance,
    host::Host,
    source::Like,
    tree::Node,
};

/// The most addresses that an advertisement lists.
const MOST_ADDRESSES: usize = 255;

/// An instance that is being read, with facts that only its text has.
pub(super) struct Draft<'a> {
    pub(super) node: &'a Node,
    pub(super) instance: Instance,
    pub(super) has_vrid: bool,
    pub(super) priority_is_given: bool,
    pub(super) wants_master: Option<bool>,
    pub(super) interface: Option<String>,
    /// The configured name of its own macvlan or ipvlan.
    pub(super) device: Option<String>,
}

/// Completes an instance. Returns whether a daemon starts with it.
pub(super) fn finish(
    draft: &mut Draft<'_>,
    is_grouped: bool,
    context: &Context<'_>,
    complaints: &mut Vec<Complaint>,
) -> bool {
    adopt_interface(draft, context);
    if !has_identity(draft, complaints) || !has_addresses(draft, complaints) {
        return false;
    }
    links(draft, complaints);
    own_interface(draft, complaints);
    election(draft, complaints);
    interval(draft, complaints);
    surplus(draft, complaints);
    tracking(draft, is_grouped, complaints);
    source(draft, context.host);
    if !draft.priority_is_given && draft.wants_master == Some(true) {
        let advice = Complaint::advice(
            "state MASTER without a priority makes the instance the owner (255) of its addresses",
            "add a priority, such as 150",
        );
        complaints.push(advice.at(draft.node.place));
    }
    true
}

/// Gives a unicast instance without an interface the one that has its source address. Its
/// advertisements follow the routing table. keepalived has such instances since 2.3.
fn adopt_interface(draft: &mut Draft<'_>, context: &Context<'_>) {
    let it = &mut draft.instance;
    if context.like == Like::Debian12
        || draft.node.has("interface")
        || it.unicast.peers.is_empty()
        || draft.node.has("use_vmac")
        || draft.node.has("use_ipvlan")
    {
        return;
    }
    let Some(source) = it.source else { return };
    let mut interfaces = context.host.interfaces.iter();
    let Some((name, _)) = interfaces.find(|(_, found)| found.addresses.contains(&source)) else {
        return;
    };
    it.interface.clone_from(name);
    it.dont_track_primary = true;
    it.is_routed = true;
    draft.interface = Some(name.clone());
}

/// Checks for VRID and interface, without which no daemon starts.
fn has_identity(draft: &Draft<'_>, complaints: &mut Vec<Complaint>) -> bool {
    let name = draft.instance.name.clone();
    let mut say = |kind, text: &str| complaints.push(Complaint::new(kind, text).object(&name));
    if !draft.has_vrid {
        say(
            Kind::VridMissing,
            "virtual_router_id is missing; the daemon does not start",
        );
        return false;
    }
    if draft.interface.is_none() {
        say(
            Kind::NoSuchInterface,
            "the instance has no interface, which unicast finds by unicast_src_ip; the daemon does not \
             start",
        );
        return false;
    }
    true
}

/// Checks the addresses. Returns whether a daemon starts with them.
fn has_addresses(draft: &mut Draft<'_>, complaints: &mut Vec<Complaint>) -> bool {
    let name = draft.instance.name.clone();
    let mut say = |kind, text: &str| complaints.push(Complaint::new(kind, text).object(&name));
    let it = &mut draft.instance;
    if it.is_strict && it.is_ipv6 && it.version == 2 {
        say(
            Kind::VersionInvalid,
            "IPv6 needs version 3; version 3 is used",
        );
        it.version = 3;
    }
    if it.objects.addresses.is_empty() && !it.objects.excluded.is_empty() && it.version == 2 {
        say(Kind::NoVips, "no address is listed in advertisements");
    } else if it.objects.addresses.is_empty() && !it.may_lack_addresses {
        say(Kind::NoVips, "the instance has no virtual_ipaddress");
        if it.version == 3 || it.is_strict {
            return false;
        }
    }
    if it.is_strict
        && it.is_ipv6
        && let Some(first) = it.objects.addresses.first()
        && !matches!(first.address, IpAddr::V6(address) if address.is_unicast_link_local())
    {
        say(
            Kind::Other,
            "in strict mode the first IPv6 address has to be link-local",
        );
    }
    true
}

/// Checks interfaces that are created for the instance, and unicast.
fn links(draft: &mut Draft<'_>, complaints: &mut Vec<Complaint>) {
    let name = draft.instance.name.clone();
    let mut say = |kind, text: &str| complaints.push(Complaint::new(kind, text).object(&name));
    let it = &mut draft.instance;
    let sends_from_parent =
        draft.node.has("vmac_xmit_base") || (it.ipvlan.is_some() && asks_for_unicast(draft.node));
    if it.vmac.is_none() && sends_from_parent {
        say(Kind::Other, "vmac_xmit_base goes with use_vmac only");
    }
    let own_address = it.ipvlan.as_ref().map(|it| it.address);
    if own_address == Some(None) && !it.is_ipv6 && it.source.is_none() {
        say(
            Kind::Other,
            "an IPv4 ipvlan needs a source address; the instance stays in fault",
        );
    }
    if it.promote_secondaries && (it.vmac.is_some() || it.ipvlan.is_some()) {
        say(
            Kind::Other,
            "promote_secondaries is always on for an interface of the instance's own",
        );
        it.promote_secondaries = false;
    }
    if it.unicast.lacks_peers && !it.unicast.fails_without_peers {
        say(
            Kind::Deprecated,
            "a keyword of unicast is given without any unicast_peer; multicast is used",
        );
    }
}

/// Puts addresses that name the instance's interface, or its macvlan, where its other addresses
/// are.
fn own_interface(draft: &mut Draft<'_>, complaints: &mut Vec<Complaint>) {
    let it = &mut draft.instance;
    let device = it.vmac.as_ref().map(|vmac| vmac.device.as_str());
    for address in it
        .objects
        .addresses
        .iter_mut()
        .chain(&mut it.objects.excluded)
    {
        let named = address.interface.as_deref();
        let is_own = named.is_none_or(|named| named == it.interface || Some(named) == device);
        if !is_own || address.address.is_ipv6() != it.is_ipv6 {
            continue;
        }
        address.interface = None;
        if address.uses_vmac && device.is_some() {
            complaints.push(
                Complaint::new(
                    Kind::Other,
                    format!(
                        "{}: use_vmac of the instance applies to its addresses",
                        address.address
                    ),
                )
                .object(&it.name),
            );
            address.uses_vmac = false;
        }
    }
}

/// Completes state, priority, preemption and authentication, and applies the rules of strict mode.
fn election(draft: &mut Draft<'_>, complaints: &mut Vec<Complaint>) {
    let name = draft.instance.name.clone();
    authentication::finish(&mut draft.instance, complaints);
    let mut say = |kind, text: &str| complaints.push(Complaint::new(kind, text).object(&name));
    let it = &mut draft.instance;
    let is_owner = it.election.priority == 255;
    it.election.starts_as_master = draft.wants_master.unwrap_or(is_owner);
    if it.election.starts_as_master && !is_owner && matches!(it.authentication, Some(("AH", _))) {
        say(
            Kind::Other,
            "state MASTER has no effect with auth_type AH: the first sequence number comes from \
             another router",
        );
        it.election.starts_as_master = false;
    }
    if it.is_strict && it.election.starts_as_master != is_owner {
        say(
            Kind::StrictState,
            "in strict mode state MASTER goes with priority 255 only",
        );
        it.election.starts_as_master = is_owner;
    }
    if !it.election.preempt && (is_owner || (it.election.starts_as_master && !it.is_strict)) {
        say(
            Kind::NopreemptCleared,
            "nopreempt has no effect with state MASTER or priority 255; it is ignored",
        );
        it.election.preempt = true;
    }
    if it.election.preempt_delay > 0 {
        let reason = if it.is_strict {
            Some("strict mode")
        } else if !it.election.preempt {
            Some("nopreempt")
        } else if it.election.starts_as_master {
            Some("state MASTER")
        } else {
            None
        };
        if let Some(reason) = reason {
            say(
                Kind::PreemptDelayIgnored,
                &format!("preempt_delay has no effect with {reason}; it is ignored"),
            );
            it.election.preempt_delay = 0;
        }
    }
    if it.is_strict {
        if it.election.down_timer_adverts != 3 {
            say(Kind::Strict, "in strict mode down_timer_adverts is 3");
            it.election.down_timer_adverts = 3;
        }
        it.garp.lower_prio_delay = 0;
        it.garp.lower_prio_repeat = 0;
        it.election.answers_lower_priority = false;
        it.election.advertises_before_yield = false;
        if draft.node.has("accept") && it.accept && !is_owner && it.version == 2 {
            say(
                Kind::Strict,
                "in strict mode only the owner accepts packets; accept is ignored",
            );
        }
        it.accept = is_owner;
    }
}

/// Adjusts the interval to the steps and bounds of its version.
fn interval(draft: &mut Draft<'_>, complaints: &mut Vec<Complaint>) {
    let name = draft.instance.name.clone();
    let mut say = |kind, text: &str| complaints.push(Complaint::new(kind, text).object(&name));
    let it = &mut draft.instance;
    if it.version == 2 {
        if it.interval % 1_000_000 != 0 {
            say(
                Kind::AdvertIntRounded,
                "version 2 has intervals of whole seconds; advert_int is rounded",
            );
            it.interval = ((it.interval + 500_000) / 1_000_000).max(1) * 1_000_000;
        }
    } else if it.interval > 40_950_000 {
        say(
            Kind::AdvertIntRounded,
            "version 3 has intervals up to 40.95 seconds; 40.95 is used",
        );
        it.interval = 40_950_000;
    } else if it.interval % 10_000 != 0 {
        say(
            Kind::AdvertIntRounded,
            "version 3 has intervals in steps of 10 ms; advert_int is rounded",
        );
        it.interval = ((it.interval + 5000) / 10_000).max(1) * 10_000;
    }
}

/// Moves addresses that do not fit into an advertisement to the excluded ones.
fn surplus(draft: &mut Draft<'_>, complaints: &mut Vec<Complaint>) {
    let it = &mut draft.instance;
    if it.objects.addresses.len() > MOST_ADDRESSES {
        let count = it.objects.addresses.len();
        complaints.push(
            Complaint::new(
                Kind::VipsMovedToExcluded,
                format!("{count} addresses do not fit into an advertisement; those behind the first {MOST_ADDRESSES} are not listed in it"),
            )
            .token(count.to_string())
            .object(&it.name),
        );
        let mut surplus = it.objects.addresses.split_off(MOST_ADDRESSES);
        surplus.append(&mut it.objects.excluded);
        it.objects.excluded = surplus;
    }
}

/// Drops tracked objects that have no effect.
fn tracking(draft: &mut Draft<'_>, is_grouped: bool, complaints: &mut Vec<Complaint>) {
    let name = draft.instance.name.clone();
    let it = &mut draft.instance;
    let own = draft.interface.clone().unwrap_or_default();
    let before = it.tracking.interfaces.len();
    it.tracking.interfaces.retain(|tracked| tracked.name != own);
    if it.tracking.interfaces.len() != before && !it.dont_track_primary {
        complaints.push(
            Complaint::new(
                Kind::OwnInterfaceTracked,
                format!("{own} is the instance's own interface, which is tracked anyway"),
            )
            .token(&own)
            .object(&name),
        );
    }
    if it.election.priority == 255 && !is_grouped {
        let tracking = &mut it.tracking;
        for list in [
            &mut tracking.interfaces,
            &mut tracking.scripts,
            &mut tracking.files,
            &mut tracking.processes,
            &mut tracking.bfd,
        ] {
            list.retain(|tracked| {
                if tracked.weight != 0 {
                    complaints.push(
                        Complaint::new(
                            Kind::OwnerTrackingIgnored,
                            format!("the priority of the owner (255) does not change: {} is not tracked", tracked.name),
                        )
                        .token(&tracked.name)
                        .object(&name),
                    );
                }
                tracked.weight == 0
            });
        }
    }
}

/// The address to advertise from, where none is configured.
fn source(draft: &mut Draft<'_>, host: &Host) {
    let it = &mut draft.instance;
    let interface = host.interfaces.get(&it.interface);
    if it.source.is_none() {
        it.source = interface.and_then(|found| {
            if it.is_ipv6 {
                found.link_local().map(IpAddr::V6)
            } else {
                found.ipv4().map(IpAddr::V4)
            }
        });
    }
}
