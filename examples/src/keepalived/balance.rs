//! Virtual servers as a pool of a load balancer.
//!
//! Each function destructures its input by field name, so a new field of the configuration does
//! not compile until it is used or named here.

mod check;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    num::{NonZeroU16, NonZeroU32},
};

use ipvs_netlink::{
    Destination, DestinationKey, Family, ForwardingMethod, GueChecksum, Netmask, Persistence,
    PersistenceEngine, PrefixLength, Protocol, Scheduler, SchedulerFlags, Service, ServiceKey,
    Thresholds, Tunnel, Weight,
    pool::{Capacity, Config, Panic, Quorum, RealServer, SorryServer, VirtualServer},
};

use super::{
    kernel_settings::{KernelSettings, kernel_settings},
    server_event::{Names, Reaction, ReportedService, service_name},
};
use crate::{
    keepalived_conf::{
        configuration::Configuration,
        lvs::{self, Granularity, GroupEntry, Method, TlsFiles},
        script::Script,
    },
    probe::Probe,
};

/// The settings of a configuration that concern IPVS.
#[derive(Clone, Debug, Default)]
pub struct Balance {
    /// The pool.
    pub config: Config<Probe>,
    /// The servers and services whose changes are reported.
    pub names: Names,
    /// The services with `ha_suspend`, and the address that has to be on this host for their
    /// checks.
    pub suspending: BTreeMap<ServiceKey, IpAddr>,
    /// The settings of IPVS that belong to no service.
    pub kernel: KernelSettings,
    /// The files of `FILE_CHECK` with the values that they get at the start.
    pub files: Vec<(String, (i64, bool))>,
    /// A sentence for each setting that is not supported.
    pub notes: Vec<String>,
}

impl Balance {
    /// Whether there is neither a virtual server nor a sync daemon.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.config.services.is_empty() && self.kernel.sync.is_none()
    }
}

/// Builds a pool from the virtual servers of a configuration.
#[must_use]
pub fn balance(configuration: &Configuration) -> Balance {
    let mut balance = Balance::default();
    balance.kernel = kernel_settings(configuration, &mut balance.notes);
    let switches = &configuration.global.switches;
    balance.names.reports_new_servers = switches.get("rs_init_notifies") == Some(&true);
    for server in &configuration.virtual_servers {
        let keys = keys(server, configuration, &mut balance.notes);
        if keys.is_empty() {
            balance.notes.push(format!(
                "{:?} has no address: it is left out",
                server.service
            ));
        }
        // Scripts of a group run once, for its first service.
        for (place, key) in keys.into_iter().enumerate() {
            let context = Context {
                server,
                key,
                is_first: place == 0,
                tls: &configuration.tls,
            };
            virtual_server(&context, &mut balance);
        }
    }
    balance
}

const fn family(is_ipv6: bool) -> Family {
    if is_ipv6 { Family::V6 } else { Family::V4 }
}

/// The services of a virtual server.
fn keys(
    server: &lvs::VirtualServer,
    configuration: &Configuration,
    notes: &mut Vec<String>,
) -> Vec<ServiceKey> {
    let protocol = match server.protocol {
        Some("UDP") => Protocol::Udp,
        Some("SCTP") => Protocol::Sctp,
        _ => Protocol::Tcp,
    };
    let of_mark = |mark: u32, is_ipv6: Option<bool>| {
        let mark = NonZeroU32::new(mark)?;
        let is_ipv6 = is_ipv6.unwrap_or(server.is_ipv6);
        Some(ServiceKey::mark(mark, family(is_ipv6)))
    };
    match &server.service {
        lvs::Service::Address(address, port) => vec![ServiceKey::new(protocol, *address, *port)],
        lvs::Service::Mark(mark) => of_mark(*mark, None).into_iter().collect(),
        lvs::Service::Group(name) => {
            let group = configuration
                .virtual_server_groups
                .iter()
                .find(|group| group.name == *name);
            let entries = group.into_iter().flat_map(|group| &group.entries);
            entries
                .flat_map(|entry| match entry {
                    GroupEntry::Mark { mark, is_ipv6 } => {
                        of_mark(*mark, *is_ipv6).into_iter().collect::<Vec<_>>()
                    }
                    GroupEntry::Addresses { first, last, port } => {
                        let mut rest = range(*first, *last);
                        let addresses = rest.by_ref().take(MOST_ADDRESSES);
                        let keys: Vec<_> = addresses
                            .map(|address| ServiceKey::new(protocol, address, *port))
                            .collect();
                        if let Some(next) = rest.next() {
                            notes.push(format!(
                                "{name}: {first} to {last} are more than {MOST_ADDRESSES} \
                                 addresses: those from {next} on are left out"
                            ));
                        }
                        keys
                    }
                })
                .collect()
        }
    }
}

/// The addresses of a range that become services.
const MOST_ADDRESSES: usize = 65536;

/// The addresses of a range.
fn range(first: IpAddr, last: IpAddr) -> Box<dyn Iterator<Item = IpAddr>> {
    match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => {
            let all = first.to_bits()..=last.to_bits();
            Box::new(all.map(|it| Ipv4Addr::from_bits(it).into()))
        }
        (IpAddr::V6(first), IpAddr::V6(last)) => {
            let all = first.to_bits()..=last.to_bits();
            Box::new(all.map(|it| Ipv6Addr::from_bits(it).into()))
        }
        _ => Box::new(std::iter::empty()),
    }
}

/// The service that a real server belongs to.
struct Context<'a> {
    server: &'a lvs::VirtualServer,
    key: ServiceKey,
    /// Whether it is the first service of its virtual server.
    is_first: bool,
    tls: &'a TlsFiles,
}

fn virtual_server(context: &Context<'_>, balance: &mut Balance) {
    let (server, key) = (context.server, context.key);
    let lvs::VirtualServer {
        service: _,
        protocol: _,
        is_ipv6: _,
        scheduler,
        flags,
        method: _, // Each server has its own.
        persistence_timeout,
        persistence_granularity,
        persistence_engine,
        quorum,
        hysteresis,
        is_alpha: _, // Each server has its own.
        is_omega,
        ha_suspend,
        inhibits_on_failure,
        sorry_server,
        scripts,
        virtualhost: _, // Its checks read it.
        smtp_alert,
        defaults: _, // Each check has its own values.
        real_servers,
    } = server;
    let Ok(scheduler) = scheduler.parse::<Scheduler>() else {
        balance
            .notes
            .push(format!("{key}: no scheduler {scheduler}"));
        return;
    };
    let mut service = Service::new(key, scheduler);
    for flag in flags {
        match *flag {
            "ops" => service.one_packet = true,
            "flag-1" => {
                service.scheduler_flags |= SchedulerFlags::FLAG_1;
            }
            "flag-2" => service.scheduler_flags |= SchedulerFlags::FLAG_2,
            "flag-3" => service.scheduler_flags |= SchedulerFlags::FLAG_3,
            _ => {}
        }
    }
    if let Some(engine) = persistence_engine {
        service.persistence_engine = engine.parse::<PersistenceEngine>().ok();
    }
    if let Some(timeout) = persistence_timeout {
        let mut persistence = Persistence::new(*timeout, key.family());
        if let Some(mask) = persistence_granularity.and_then(netmask) {
            persistence.netmask = mask;
        }
        if let Err(error) = service.set_persistence(persistence) {
            balance.notes.push(format!("{key}: {error}"));
        }
    }
    if *ha_suspend && let lvs::Service::Address(address, _) = server.service {
        balance.suspending.insert(key, address);
    }
    let mut result = VirtualServer::new(service);
    result.quorum = Quorum {
        at_least: Capacity::Weight((*quorum).max(1)),
        hysteresis: *hysteresis,
    };
    result.panic = Panic::Off;
    result.drain = None;
    result.inhibit_on_failure = *inhibits_on_failure;
    result.omega = *is_omega;
    result.sorry_server = sorry_server.as_ref().map(|sorry| {
        let lvs::SorryServer {
            address,
            port,
            method,
            inhibits,
            duplicates_real_server: _, // Its key shows that.
        } = sorry;
        let key = DestinationKey::new(SocketAddr::new(*address, *port));
        let mut sorry = SorryServer::new(key, forwarding(method));
        sorry.inhibit = *inhibits;
        sorry
    });
    if context.is_first {
        let reported = ReportedService {
            name: service_name(server),
            protocol: server.protocol,
            reaction: reaction(scripts, ["quorum_up", "quorum_down"], *smtp_alert),
            servers: BTreeMap::new(),
        };
        balance.names.services.insert(key, reported);
    }
    result.servers.reserve_exact(real_servers.len());
    for real in real_servers {
        result.servers.extend(real_server(real, context, balance));
    }
    balance.config.services.push(result);
}

/// The reaction to changes, with the scripts of these keywords.
fn reaction(
    scripts: &BTreeMap<&'static str, Script>,
    [up, down]: [&str; 2],
    mails: bool,
) -> Reaction {
    Reaction {
        up: scripts.get(up).cloned(),
        down: scripts.get(down).cloned(),
        mails,
    }
}

fn netmask(granularity: Granularity) -> Option<Netmask> {
    match granularity {
        Granularity::Mask(mask) => Some(Netmask::V4(mask)),
        Granularity::Length(length) => PrefixLength::new(length).ok().map(Netmask::V6),
    }
}

fn forwarding(method: &Method) -> ForwardingMethod {
    let Method { kind, options } = method;
    if *kind != "TUN" {
        return match *kind {
            "DR" => ForwardingMethod::DirectRoute,
            _ => ForwardingMethod::Masquerade,
        };
    }
    let has = |word: &str| options.iter().any(|it| it == word);
    let behind = |word: &str| {
        let mut words = options.iter();
        words.find(|it| *it == word).and(words.next())
    };
    let tunnel = match behind("type").map(String::as_str) {
        Some("gre") => Tunnel::Gre {
            checksum: has("csum"),
        },
        Some("gue") => {
            let port = behind("port").and_then(|it| it.parse().ok());
            match port.and_then(NonZeroU16::new) {
                Some(port) => Tunnel::Gue {
                    port,
                    checksum: if has("csum") {
                        GueChecksum::Full
                    } else if has("remcsum") {
                        GueChecksum::Remote
                    } else {
                        GueChecksum::None
                    },
                },
                None => Tunnel::IpIp,
            }
        }
        _ => Tunnel::IpIp,
    };
    ForwardingMethod::Tunnel(tunnel)
}

fn real_server(
    real: &lvs::RealServer,
    context: &Context<'_>,
    balance: &mut Balance,
) -> Option<RealServer<Probe>> {
    let lvs::RealServer {
        address,
        port,
        weight: _, // It has the values of files in it.
        configured_weight,
        method,
        is_alpha: _, // Each check has its own.
        inhibits_on_failure,
        upper_threshold,
        lower_threshold,
        scripts,
        virtualhost,
        smtp_alert,
        defaults,
        checks,
        tracked_files,
        tracked_bfd,
    } = real;
    let service = context.key;
    let key = DestinationKey::new(SocketAddr::new(*address, *port));
    let mut destination = Destination::new(key, forwarding(method));
    let mut note = |text: String| balance.notes.push(format!("{service} {key}: {text}"));
    match Weight::new(*configured_weight) {
        Ok(weight) => destination.weight = weight,
        Err(error) => note(error.to_string()),
    }
    match Thresholds::new(*upper_threshold, *lower_threshold) {
        Ok(thresholds) => destination.thresholds = thresholds,
        Err(error) => note(error.to_string()),
    }
    if !tracked_bfd.is_empty() {
        note("BFD_CHECK is not supported: there is no BFD engine".into());
    }
    let mut result = RealServer::new(destination);
    result.inhibit_on_failure = Some(*inhibits_on_failure);
    let of_service = context.server.virtualhost.as_deref();
    let hosts = check::Hosts {
        request: virtualhost.as_deref().or(of_service),
        handshake: of_service,
        tls: context.tls,
    };
    result
        .checks
        .reserve_exact(checks.len() + tracked_files.len());
    for check in checks {
        match check::of_probes(check, &hosts, defaults, &mut note) {
            Ok(Some(check)) => result.checks.push(check),
            Ok(None) => {}
            Err(problem) => {
                note(format!("the server is left out: {}: {problem}", check.kind));
                return None;
            }
        }
    }
    for tracked in tracked_files {
        result.checks.push(check::of_file(tracked));
        let initial = tracked.file.initial;
        let initial = initial.map(|initial| (tracked.file.path.clone(), initial));
        balance.files.extend(initial);
    }
    let reported = balance.names.services.get_mut(&service);
    if let Some(reported) = reported.filter(|_| context.is_first) {
        let reaction = reaction(scripts, ["notify_up", "notify_down"], *smtp_alert);
        reported.servers.insert(key, reaction.boxed());
    }
    Some(result)
}
