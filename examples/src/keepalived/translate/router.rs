//! Instances.

use std::time::Duration;

use vrrp_fsm::{ChecksumSending, Config, Preempt, Profile, StallPolicy};
use vrrp_net::{RouterConfig, Transport, UnicastPath, VirtualMac};
use vrrp_proto::{
    ChecksumForm, Family, Interval, Leniency, Peer, Priority, Vrid, frame::arp::GratuitousTarget,
};

use super::{Notify, PlannedRouter, authentication::authenticate, host_objects, micros, tracked};
use crate::{
    keepalived::{link, link_delay::has_delay},
    keepalived_conf::configuration::{
        self, Configuration, Election, Instance, Notification, Unicast, Vmac,
    },
};

/// Translates an instance. The error is the reason why it cannot run.
pub(super) fn router(
    instance: &Instance,
    configuration: &Configuration,
    notes: &mut Vec<String>,
) -> Result<PlannedRouter, String> {
    let Instance {
        name,
        version,
        is_ipv6,
        interface,
        is_routed,
        vmac,
        ipvlan,
        source,
        source_is_configured,
        tracks_source: _, // A source address that is missing is a fault in any case.
        multicast,
        unicast,
        vrid,
        interval,
        election,
        accept,
        is_strict: _, // It has changed other fields.
        skips_address_check,
        dont_track_primary,
        promote_secondaries: _, // On during each removal.
        authentication,
        hmac,
        may_lack_addresses: _,
        checksum_is_of_message,
        objects: _, // They are placed below.
        garp: _,    // The announcements of the machine have it.
        garp_extra: _,
        tracking,
        notification,
        debug: _,
        kernel_rx_buf_size: _,
        use_vmac_addr: _, // The addresses carry it.
        sync_group: _,
    } = instance;

    if unicast.lacks_peers && unicast.fails_without_peers {
        return Err("unicast_fault_no_peer is given, and there is no unicast_peer".into());
    }
    let family = if *is_ipv6 { Family::Ipv6 } else { Family::Ipv4 };
    let vrid = Vrid::new(*vrid).ok_or("virtual_router_id is missing")?;
    let mut fsm = machine(*version, family, vrid, *interval)?;
    elect(*version, election, &mut fsm);
    fsm.checksum = ChecksumSending::Fixed(if *checksum_is_of_message {
        ChecksumForm::MessageOnly
    } else {
        ChecksumForm::PseudoHeader
    });
    announcements(instance, configuration, &mut fsm);

    let ipvlan = ipvlan.as_ref().map(|it| link::ipvlan(instance, it));
    let runs_on = ipvlan.as_ref().map_or(interface, |it| &it.name);
    let mut config = RouterConfig::new(runs_on.as_str(), fsm, Vec::new());
    config.own_deviations = Leniency {
        v2_without_addresses: true,
        first_address_not_link_local: true,
        ..Leniency::NONE
    };
    config.leniency = config.own_deviations;
    config.check_addresses = !skips_address_check;
    // With delays, the interface is a tracked object instead.
    let is_delayed = has_delay(configuration, interface);
    config.track_interface = !dont_track_primary && !is_delayed;
    config.enforce_accept_mode = !accept;
    config.gratuitous_arp = GratuitousTarget::Broadcast;
    config.group = Some(*multicast).filter(|group| *group != vrrp_proto::group(family));
    config.source = source.filter(|_| *source_is_configured);
    config.authentication = authenticate(authentication.as_ref(), hmac.as_ref(), fsm.interval)?;
    config.virtual_mac = vmac.as_ref().map(|vmac| virtual_mac(vmac, notes));
    use_unicast(unicast, &mut config, notes);
    if *is_routed {
        config.unicast_path = UnicastPath::RoutingTable;
    }
    let mut router = PlannedRouter {
        name: name.clone(),
        config,
        tracked: tracked::uses(tracking),
        objects: Vec::new(),
        ipvlan,
        macvlans: Vec::new(),
        notify: notify(notification),
    };
    if is_delayed && !dont_track_primary {
        router.tracked.push(tracked::Use::of_interface(interface));
    }
    track_interfaces_of_objects(instance, &mut router);
    host_objects::place(instance, &mut router, notes);
    if router.config.addresses.is_empty() && router.config.listed.is_empty() && *version != 2 {
        return Err(
            "version 3 cannot advertise without an address: add one, or set version 2".into(),
        );
    }
    Ok(router)
}

/// The state machine of a version, with its interval.
fn machine(version: u8, family: Family, vrid: Vrid, interval: i64) -> Result<Config, String> {
    let mut fsm = match (version, family) {
        (2, Family::Ipv6) => return Err("version 2 over IPv6 is in no RFC: set version 3".into()),
        (2, Family::Ipv4) => Config::v2(vrid),
        _ => Config::new(vrid, family),
    };
    fsm.interval = if version == 2 {
        let seconds = u8::try_from(interval / 1_000_000).unwrap_or(u8::MAX);
        Interval::seconds(seconds).map_err(|error| error.to_string())?
    } else {
        let centis = u16::try_from(interval / 10_000).unwrap_or(u16::MAX);
        Interval::centis(centis).map_err(|error| error.to_string())?
    };
    Ok(fsm)
}

/// The settings that decide which router is Active.
fn elect(version: u8, election: &Election, fsm: &mut Config) {
    let Election {
        priority,
        starts_as_master: _, // It only shortens the first wait.
        preempt,
        preempt_delay,
        down_timer_adverts,
        answers_lower_priority,
        advertises_before_yield,
        owner_ignores_others,
        yields_after_stall,
    } = election;
    fsm.priority = Priority::new(*priority);
    fsm.preempt = match (preempt, micros(*preempt_delay)) {
        (false, _) => Preempt::Never,
        (true, Duration::ZERO) => Preempt::Always,
        (true, delay) => Preempt::AfterDelay(delay),
    };
    fsm.profile = match (version, *answers_lower_priority && !owner_ignores_others) {
        (_, true) => Profile::Rfc9568,
        (2, false) => Profile::Rfc3768,
        (_, false) => Profile::Rfc5798,
    };
    fsm.missed_advertisements = u8::try_from(*down_timer_adverts).unwrap_or(3);
    fsm.advertise_on_yield = *advertises_before_yield;
    if *yields_after_stall && !preempt {
        fsm.stall = StallPolicy::Yield;
    }
}

/// The GARP settings.
fn announcements(instance: &Instance, configuration: &Configuration, fsm: &mut Config) {
    let count = |number: i64| u8::try_from(number.max(0)).unwrap_or(u8::MAX);
    let delay = |seconds: i64| {
        let seconds = u64::try_from(seconds).ok().filter(|it| *it > 0)?;
        Some(Duration::from_secs(seconds).min(Config::LONGEST_DELAY))
    };
    let garp = &instance.garp;
    let policy = &mut fsm.announce;
    policy.repeat = count(garp.repeat).max(1);
    policy.second_burst_after = delay(garp.delay);
    policy.refresh = delay(garp.refresh);
    policy.refresh_repeat = count(garp.refresh_repeat).max(1);
    policy.rival_repeat = count(garp.lower_prio_repeat);
    policy.rival_second_burst_after = delay(garp.lower_prio_delay);
    let switches = &configuration.global.switches;
    if switches.get("vrrp_min_garp").copied().unwrap_or(false) {
        policy.repeat = 1;
        policy.second_burst_after = None;
    }
}

/// The settings of unicast.
fn use_unicast(unicast: &Unicast, config: &mut RouterConfig, notes: &mut Vec<String>) {
    let Unicast {
        peers,
        ttl,
        checks_source: _, // Only peers are accepted.
        lacks_peers: _,
        fails_without_peers: _,
        old_checksum: _, // Both forms are accepted.
    } = unicast;
    if !peers.is_empty() {
        let peers = peers.iter().map(|peer| {
            let configuration::Peer {
                address,
                min_ttl,
                max_ttl,
            } = peer;
            Peer::new(*address)
                .with_min_ttl(*min_ttl)
                .with_max_ttl(*max_ttl)
        });
        config.transport = Transport::Unicast {
            peers: peers.collect(),
        };
    }
    if let Some(ttl) = *ttl {
        if ttl == 0 {
            notes.push("unicast_ttl 0 reaches no peer: 1 is used".into());
        }
        config.unicast_ttl = ttl.max(1);
    }
}

fn virtual_mac(vmac: &Vmac, notes: &mut Vec<String>) -> VirtualMac {
    let Vmac {
        device,
        own_address,
        transmits_from_parent,
    } = vmac;
    if let Some(address) = own_address {
        notes.push(format!(
            "the hardware address {address} of use_vmac is not supported: that of VRRP is used"
        ));
    }
    VirtualMac {
        name: Some(device.clone()),
        advertise_from_interface: *transmits_from_parent,
    }
}

fn notify(notification: &Notification) -> Notify {
    let Notification {
        commands,
        smtp_alert,
        priority_changes,
        deleted,
    } = notification;
    Notify {
        commands: commands.clone(),
        mails: *smtp_alert,
        priorities: *priority_changes,
        removal: *deleted,
    }
}

/// Tracks the other interfaces that addresses and routes name.
fn track_interfaces_of_objects(instance: &Instance, router: &mut PlannedRouter) {
    for name in host_objects::interfaces(instance) {
        let of_interface = tracked::Use::of_interface(name);
        // An interface that is tracked by name keeps its weight.
        let mut others = router.tracked.iter();
        if others.all(|it| it.object != of_interface.object) {
            router.tracked.push(of_interface);
        }
    }
}
