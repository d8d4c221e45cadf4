//! Translates a configuration into routers, sync groups and tracked objects of a driver.
//!
//! Each function destructures its input by field name, so a new field of the configuration does
//! not compile until it is used or named here.

use std::{num::NonZeroU8, time::Duration};

use vrrp_fsm::{
    ChecksumSending, Config, Preempt, Profile, StallPolicy,
    track::{Check, Debounce, Kind, Object, Quorum, Weight},
};
use vrrp_net::{
    AddressOptions, AnnouncedAddress, Authentication, HmacKeys, HmacMode, Pacing,
    Route as NetRoute, RouterConfig, Scope, Transport, VirtualAddress, VirtualMac, Watch,
};
use vrrp_proto::{
    ChecksumForm, Family, Interval, Leniency, Password, Peer, Priority, Vrid,
    frame::arp::GratuitousTarget,
    hmac::{AntiReplay, Key},
};

use super::{
    host_object::HostObject,
    link::{self, Names, PlannedIpvlan, PlannedMacvlan},
    link_delay::{debounce, has_delay},
    pacing::pacing,
};
use crate::keepalived_conf::{
    address::Address,
    configuration::{
        self, CheckScript, Configuration, Hmac, Instance, Notifies, Tracked, Tracking, Vmac,
    },
    route::Route,
    script::Script,
};

/// The longest debounce time and the like, to stay within the limits of timers.
const LONGEST: Duration = Duration::from_secs(3600);

/// The settings of a configuration that concern VRRP and the host.
#[derive(Debug, Default)]
pub struct Plan {
    /// The instances that can run.
    pub routers: Vec<PlannedRouter>,
    /// The sync groups.
    pub groups: Vec<PlannedGroup>,
    /// The tracked objects.
    pub objects: Vec<PlannedObject>,
    /// `static_ipaddress`, `static_routes` and `static_rules`.
    pub statics: Vec<HostObject>,
    /// The pace of announcements.
    pub pacing: Pacing,
    /// A sentence for each deviation from the configuration.
    pub notes: Vec<String>,
}

/// An instance.
#[derive(Debug)]
pub struct PlannedRouter {
    /// Its name.
    pub name: String,
    /// Its configuration, without tracked objects.
    pub config: RouterConfig,
    /// The objects that it tracks.
    pub tracked: Vec<Use>,
    /// The objects that ip(8) configures while it is Active.
    pub objects: Vec<HostObject>,
    /// The interface that it runs on, if that is created for it.
    pub ipvlan: Option<PlannedIpvlan>,
    /// The macvlans of its addresses on other interfaces.
    pub macvlans: Vec<PlannedMacvlan>,
    /// The commands for changes.
    pub notify: Notify,
}

/// A sync group.
#[derive(Debug)]
pub struct PlannedGroup {
    /// Its name.
    pub name: String,
    /// The names of its instances.
    pub members: Vec<String>,
    /// The objects that it tracks.
    pub tracked: Vec<Use>,
    /// Whether the weights of members count.
    pub member_weights: bool,
    /// The commands for changes.
    pub notify: Notify,
}

/// What to do when an instance or a sync group changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notify {
    /// The commands, by their name in the configuration.
    pub commands: Notifies,
    /// Whether changes are mailed.
    pub mails: bool,
    /// Whether changes of the priority are reported.
    pub priorities: bool,
}

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
    /// The processes with a name.
    Processes {
        /// The program, then its parameters where they count.
        command: Vec<String>,
        /// How parameters are compared.
        parameters: Parameters,
        /// Whether the whole path of the program is compared.
        is_full: bool,
    },
}

/// How the parameters of a process are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parameters {
    /// They do not count.
    Any,
    /// All have to be the same.
    Exact,
    /// Further parameters may follow.
    Initial,
    /// Further parameters may follow, and the last one may be longer.
    Partial,
}

/// Makes a plan. `uptime` is the time since the host booted.
#[must_use]
pub fn translate(configuration: &Configuration, uptime: Duration) -> Plan {
    let mut plan = Plan::default();
    let hold = startup_hold(configuration, uptime);
    let mut names = Names::of(configuration);
    for instance in &configuration.instances {
        let name = &instance.name;
        let mut notes = Vec::new();
        match router(instance, configuration, hold, &mut names, &mut notes) {
            Ok(router) => plan.routers.push(router),
            Err(problem) => notes.push(format!("the instance does not run: {problem}")),
        }
        let notes = notes.into_iter().map(|note| format!("({name}) {note}"));
        plan.notes.extend(notes);
    }
    for group in &configuration.sync_groups {
        let group = sync_group(group, &plan.routers, &mut plan.notes);
        plan.groups.extend(group);
    }
    objects(configuration, &mut plan);
    statics(configuration, &mut plan);
    plan.pacing = pacing(configuration);
    plan
}

/// `vrrp_startup_delay` and `vrrp_delay_after_boot`, the larger of which wins.
fn startup_hold(configuration: &Configuration, uptime: Duration) -> Duration {
    let number = |word: &str| configuration.global.numbers.get(word).copied();
    let delay = micros(number("vrrp_startup_delay").unwrap_or(0));
    let after_boot = micros(number("vrrp_delay_after_boot").unwrap_or(0));
    delay.max(after_boot.saturating_sub(uptime))
}

/// A time in microseconds; a negative number counts as 0.
pub(super) fn micros(number: i64) -> Duration {
    Duration::from_micros(u64::try_from(number).unwrap_or(0))
}

#[allow(
    clippy::too_many_lines,
    reason = "every field of an instance is taken apart by name"
)]
fn router(
    instance: &Instance,
    configuration: &Configuration,
    hold: Duration,
    names: &mut Names,
    notes: &mut Vec<String>,
) -> Result<PlannedRouter, String> {
    let Instance {
        name,
        version,
        is_ipv6,
        starts_as_master: _, // It only shortens the first wait.
        interface,
        vmac,
        source,
        source_is_configured: _,
        tracks_source: _, // A source address that is missing is a fault in any case.
        multicast,
        vrid,
        priority,
        interval,
        accept,
        preempt,
        preempt_delay,
        is_strict: _, // It has changed other fields.
        skips_address_check,
        dont_track_primary,
        promote_secondaries: _, // On during each removal.
        authentication,
        hmac,
        may_lack_addresses: _,
        owner_ignores_others,
        yields_after_stall,
        checksum_is_of_message,
        ipvlan,
        addresses,
        excluded,
        routes,
        rules,
        peers,
        unicast_ttl,
        check_unicast_source: _, // Only peers are accepted.
        unicast_without_peers,
        garp: _,
        garp_extra: _,
        down_timer_adverts,
        answers_lower_priority,
        advertises_before_yield,
        tracking,
        notifies,
        smtp_alert,
        notify_priority_changes,
        notifies_deleted: _,
        debug: _,
        kernel_rx_buf_size: _,
        old_unicast_checksum: _, // Both forms are accepted.
        use_vmac_addr: _,        // The addresses carry it.
        unicast_fault_no_peer,
        sync_group: _,
    } = instance;

    if *unicast_without_peers && *unicast_fault_no_peer {
        return Err("unicast_fault_no_peer is given, and there is no unicast_peer".into());
    }
    let family = if *is_ipv6 { Family::Ipv6 } else { Family::Ipv4 };
    let vrid = Vrid::new(*vrid).ok_or("virtual_router_id is missing")?;
    let mut fsm = match (version, family) {
        (2, Family::Ipv6) => return Err("version 2 over IPv6 is in no RFC: set version 3".into()),
        (2, Family::Ipv4) => Config::v2(vrid),
        _ => Config::new(vrid, family),
    };
    fsm.interval = if *version == 2 {
        let seconds = u8::try_from(interval / 1_000_000).unwrap_or(u8::MAX);
        Interval::seconds(seconds).map_err(|error| error.to_string())?
    } else {
        let centis = u16::try_from(interval / 10_000).unwrap_or(u16::MAX);
        Interval::centis(centis).map_err(|error| error.to_string())?
    };
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
    fsm.startup_hold = hold;
    fsm.advertise_on_yield = *advertises_before_yield;
    fsm.checksum = ChecksumSending::Fixed(if *checksum_is_of_message {
        ChecksumForm::MessageOnly
    } else {
        ChecksumForm::PseudoHeader
    });
    if *yields_after_stall && !preempt {
        fsm.stall = StallPolicy::Yield;
    }
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
    config.source = source.filter(|_| instance.source_is_configured);
    config.authentication = authenticate(authentication.as_ref(), hmac.as_ref(), fsm.interval)?;
    config.virtual_mac = vmac.as_ref().map(|vmac| virtual_mac(vmac, notes));
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
    if let Some(ttl) = *unicast_ttl {
        if ttl == 0 {
            notes.push("unicast_ttl 0 reaches no peer: 1 is used".into());
        }
        config.unicast_ttl = ttl.max(1);
    }
    let mut router = PlannedRouter {
        name: name.clone(),
        config,
        tracked: uses(tracking),
        objects: Vec::new(),
        ipvlan,
        macvlans: Vec::new(),
        notify: Notify {
            commands: notifies.clone(),
            mails: *smtp_alert,
            priorities: *notify_priority_changes,
        },
    };
    if is_delayed && !dont_track_primary {
        router.tracked.push(Use {
            object: interface_name(interface),
            weight: Weight::FAULT,
            is_reverse: false,
        });
    }
    for name in interfaces_of_objects(instance) {
        let object = interface_name(name);
        // An interface that is tracked by name keeps its weight.
        if router.tracked.iter().all(|it| it.object != object) {
            router.tracked.push(Use {
                object,
                weight: Weight::FAULT,
                is_reverse: false,
            });
        }
    }
    place(addresses, excluded, instance, names, &mut router, notes);
    if router.config.addresses.is_empty() && router.config.listed.is_empty() && *version != 2 {
        return Err(
            "version 3 cannot advertise without an address: add one, or set version 2".into(),
        );
    }
    for route in routes {
        match plain_route(route) {
            Some(route) => router.config.routes.push(route),
            None => router.objects.push(HostObject::route(route)),
        }
    }
    router.objects.extend(rules.iter().map(HostObject::rule));
    Ok(router)
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

fn authenticate(
    legacy: Option<&(&'static str, String)>,
    hmac: Option<&Hmac>,
    interval: Interval,
) -> Result<Authentication, String> {
    if let Some(hmac) = hmac {
        return keys(hmac, interval).map(Authentication::Hmac);
    }
    let Some((kind, password)) = legacy else {
        return Ok(Authentication::None);
    };
    let password = Password::new(password.as_bytes()).map_err(|error| error.to_string())?;
    Ok(match *kind {
        "AH" => Authentication::Ah(password),
        _ => Authentication::SimpleText(password),
    })
}

fn keys(hmac: &Hmac, interval: Interval) -> Result<HmacKeys, String> {
    let Hmac {
        keys,
        active,
        is_monotonic,
        window,
        mode,
    } = hmac;
    let keys: Result<Vec<Key>, String> = keys
        .iter()
        .map(|(id, secret)| {
            let key = Key::new(*id, &secret_bytes(secret)?);
            key.map_err(|error| format!("auth_hmac key {id}: {error}"))
        })
        .collect();
    let default = || {
        let seconds = (interval.as_duration() * 3).as_millis().div_ceil(1000);
        u16::try_from(seconds).unwrap_or(u16::MAX).clamp(5, 300)
    };
    Ok(HmacKeys {
        keys: keys?,
        active: *active,
        anti_replay: if *is_monotonic {
            AntiReplay::Monotonic
        } else {
            let window = window.unwrap_or_else(default);
            AntiReplay::time(window).map_err(|error| format!("time_window: {error}"))?
        },
        mode: match mode {
            configuration::HmacMode::ReceiveOnly => HmacMode::ReceiveOnly,
            configuration::HmacMode::Permissive => HmacMode::Permissive,
            configuration::HmacMode::Enforce => HmacMode::Enforce,
        },
    })
}

/// A secret: text, `hex:` with digits, or `file:` with the path of a file that contains a secret.
fn secret_bytes(secret: &str) -> Result<Vec<u8>, String> {
    let text = match secret.strip_prefix("file:") {
        None => secret.to_owned(),
        Some(path) => std::fs::read_to_string(path)
            .map_err(|error| format!("auth_hmac: {path}: {error}"))?
            .trim_end()
            .to_owned(),
    };
    let Some(digits) = text.strip_prefix("hex:") else {
        return Ok(text.into_bytes());
    };
    let pairs = digits.as_bytes().chunks(2).map(|pair| {
        let pair = str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
        u8::from_str_radix(pair, 16).ok()
    });
    let bytes: Option<Vec<u8>> = pairs.collect();
    bytes.ok_or_else(|| "auth_hmac: hex: takes an even number of hexadecimal digits".into())
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

/// The other interfaces that addresses and routes name, unless they are not tracked. While such an
/// interface is down, the instance cannot have everything that it advertises.
fn interfaces_of_objects(instance: &Instance) -> std::collections::BTreeSet<&str> {
    let addresses = instance.addresses.iter().chain(&instance.excluded);
    let addresses = addresses.filter(|it| it.is_tracked);
    let routes = instance.routes.iter().filter(|it| it.is_tracked);
    addresses
        .filter_map(|it| it.interface.as_deref())
        .chain(routes.filter_map(|it| it.interface.as_deref()))
        .filter(|name| *name != instance.interface)
        .collect()
}

/// Divides the addresses between the driver and ip(8).
fn place(
    addresses: &[Address],
    excluded: &[Address],
    instance: &Instance,
    names: &mut Names,
    router: &mut PlannedRouter,
    notes: &mut Vec<String>,
) {
    let vrid = router.config.fsm.vrid;
    let mut seen = std::collections::BTreeSet::new();
    for (address, is_listed) in addresses
        .iter()
        .map(|it| (it, true))
        .chain(excluded.iter().map(|it| (it, false)))
    {
        if !seen.insert(address.address) {
            notes.push(format!(
                "{} stands twice in the instance; the first one counts",
                address.address
            ));
            continue;
        }
        let own = router.config.interface.as_str();
        let macvlan = names.macvlan(instance, vrid, address, &mut router.macvlans);
        let chosen = macvlan.as_deref().or(address.interface.as_deref());
        // With an ipvlan, the addresses stay on its parent.
        let interface = chosen.unwrap_or(&instance.interface);
        let is_elsewhere = interface != own || (chosen.is_some() && instance.vmac.is_some());
        let plain = (!is_elsewhere && address.peer.is_none())
            .then(|| virtual_address(address))
            .flatten();
        match plain {
            Some(address) if is_listed => router.config.addresses.push(address),
            Some(address) => router.config.excluded.push(address),
            None => {
                if is_listed {
                    router.config.listed.push(address.address);
                }
                let object = HostObject::address(address, interface);
                router.objects.push(object);
                let mut announced = AnnouncedAddress::new(interface, address.address);
                announced.refresh = instance
                    .garp_extra
                    .filter(|(is_all, _)| *is_all || macvlan.is_some())
                    .map(|(_, seconds)| micros(seconds * 1_000_000));
                router.config.announced.push(announced);
            }
        }
    }
}

/// An address for the driver, if the driver can express it.
fn virtual_address(address: &Address) -> Option<VirtualAddress> {
    let Address {
        address: own,
        prefix_len,
        interface: _,
        scope,
        broadcast: _,
        label,
        peer: _,
        is_tracked: _, // A removed address is restored anyway.
        uses_vmac: _,
        track_group: _,
        flags,
        preferred,
    } = address;
    let scope = match scope.as_str() {
        "global" => Scope::Global,
        "link" => Scope::Link,
        "host" => Scope::Host,
        _ => return None,
    };
    let has = |flag: &str| flags.contains(&flag);
    let options = AddressOptions {
        broadcast: address.broadcast_address(),
        preferred: match preferred.as_deref() {
            None => 0,
            Some("forever") => u32::MAX,
            Some(seconds) => seconds.parse().ok()?,
        },
        detects_duplicates: has("-nodad"),
        is_home: has("home"),
        manages_temporary: has("mngtmpaddr"),
        without_prefix_route: has("noprefixroute"),
        joins_group: has("autojoin"),
    };
    let result = VirtualAddress::new(*own)
        .with_prefix_len(*prefix_len)
        .ok()?
        .with_scope(scope)
        .with_options(options);
    match label {
        Some(label) => result.with_label(label).ok(),
        None => Some(result),
    }
}

/// A route for the driver, if the driver can express it.
fn plain_route(route: &Route) -> Option<NetRoute> {
    let Route {
        kind,
        destination,
        source,
        gateway,
        interface,
        table,
        protocol: None | Some(18),
        scope: None,
        metric,
        is_onlink: false,
        mtu: None,
        locks_mtu: _,
        hops,
        is_tracked: _, // A removed route is restored anyway.
        asks_no_tracking: _,
        further,
    } = route
    else {
        return None;
    };
    if kind != "unicast" || !hops.is_empty() || !further.is_empty() {
        return None;
    }
    let (destination, length) = (*destination)?;
    let mut result = NetRoute::new(destination, length).ok()?;
    if let Some(gateway) = gateway {
        result = result.with_gateway(*gateway).ok()?;
    }
    if let Some(interface) = interface {
        result = result.with_interface(interface);
    }
    if let Some(source) = source {
        result = result.with_source(*source).ok()?;
    }
    if let Some(metric) = metric {
        result = result.with_metric(*metric);
    }
    if let Some(table) = table {
        result = result.with_table(*table).ok()?;
    }
    Some(result)
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
fn uses(tracking: &Tracking) -> Vec<Use> {
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

fn sync_group(
    group: &configuration::SyncGroup,
    routers: &[PlannedRouter],
    notes: &mut Vec<String>,
) -> Option<PlannedGroup> {
    let configuration::SyncGroup {
        name,
        members,
        tracking,
        notifies,
        smtp_alert,
        tracking_weight,
        notify_priority_changes,
    } = group;
    let mut running = members.clone();
    running.retain(|member| routers.iter().any(|router| router.name == *member));
    if running.len() < members.len() {
        notes.push(format!(
            "(sync group {name}) members that do not run are left out"
        ));
    }
    let owns = |member: &String| {
        let router = routers.iter().find(|router| router.name == *member);
        router.is_some_and(|router| router.config.fsm.is_owner())
    };
    let owners = running.iter().filter(|member| owns(member)).count();
    if owners > 0 && owners < running.len() {
        notes.push(format!(
            "(sync group {name}) priority 255 and other priorities do not go together: the group is not made"
        ));
        return None;
    }
    (!running.is_empty()).then(|| PlannedGroup {
        name: name.clone(),
        members: running,
        tracked: uses(tracking),
        member_weights: *tracking_weight,
        notify: Notify {
            commands: notifies.clone(),
            mails: *smtp_alert,
            priorities: *notify_priority_changes,
        },
    })
}

fn objects(configuration: &Configuration, plan: &mut Plan) {
    let used = plan
        .routers
        .iter()
        .flat_map(|it| &it.tracked)
        .chain(plan.groups.iter().flat_map(|it| &it.tracked));
    let used: std::collections::BTreeSet<&str> = used.map(|it| it.object.as_str()).collect();
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
    let interval = Duration::from_secs((*interval).into());
    PlannedObject {
        object: Object::new(script_name(name), kind),
        watch: Watch::Host,
        probe: Some(Probe::Script {
            script: script.clone(),
            interval,
            timeout: match timeout {
                0 => interval,
                seconds => Duration::from_secs((*seconds).into()),
            },
            fails_first: *init_fail,
        }),
    }
}

fn file(file: &configuration::TrackFile) -> PlannedObject {
    let configuration::TrackFile {
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

fn process(process: &configuration::TrackProcess) -> PlannedObject {
    let configuration::TrackProcess {
        name,
        process: command,
        param_match,
        weight: _, // Each use has its own.
        is_reverse: _,
        quorum,
        quorum_max,
        terminate_delay,
        fork_delay,
        full_command,
    } = process;
    let delay = |time: Option<i64>| micros(time.unwrap_or(0)).min(LONGEST);
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
            parameters: match param_match.as_deref() {
                Some("initial") => Parameters::Initial,
                Some("partial") => Parameters::Partial,
                Some(_) => Parameters::Exact,
                None if command.len() > 1 => Parameters::Exact,
                None => Parameters::Any,
            },
            is_full: *full_command,
        }),
    }
}

fn statics(configuration: &Configuration, plan: &mut Plan) {
    let default = configuration.global.text("default_interface");
    for address in &configuration.static_addresses {
        if let Some(group) = &address.track_group {
            plan.notes.push(format!(
                "track_group {group} of the static address {} is not supported: its loss changes nothing",
                address.address
            ));
        }
        let interface = address.interface.as_deref().or(default).unwrap_or("eth0");
        plan.statics.push(HostObject::address(address, interface));
    }
    let routes = configuration.static_routes.iter().map(HostObject::route);
    plan.statics.extend(routes);
    let rules = configuration.static_rules.iter().map(HostObject::rule);
    plan.statics.extend(rules);
}
