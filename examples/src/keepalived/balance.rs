//! Virtual servers as a pool of a load balancer.
//!
//! Each function destructures its input by field name, so a new field of the configuration does
//! not compile until it is used or named here.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    num::{NonZeroU16, NonZeroU32},
    time::Duration,
};

use ipvs_netlink::{
    Destination, DestinationKey, Family, ForwardingMethod, GueChecksum, Netmask, Persistence,
    PersistenceEngine, PrefixLength, Protocol, Scheduler, SchedulerFlags, Service, ServiceKey,
    Thresholds, Tunnel, Weight,
    pool::{
        Capacity, Check, Config, FirstResult, Initial, Pace, Panic, Quorum, RealServer,
        SorryServer, VirtualServer,
    },
};

use super::{
    expression,
    kernel_settings::{KernelSettings, kernel_settings},
    server_event::{Names, Reaction, ReportedService, service_name},
};
use crate::{
    keepalived_conf::{
        configuration::Configuration,
        lvs::{self, Detail, GroupEntry, Method, TlsFiles, Url},
        script::Script,
    },
    probe::{
        BytePattern, Bytes, Dns, File, Http, HttpVersion, Icmp, Probe, Question,
        Script as ScriptProbe, Smtp, Source, StatusSet, Tcp, Tls, TlsSettings, Udp, User,
    },
};

/// HTTP_GET and SSL_GET restart their time limit for each step, and for each piece of the answer.
/// Here the whole attempt has a limit too, so that an endless answer is a failure.
const STEPS_OF_HTTP: u32 = 10;

/// The time between two reads of a file.
const FILE_PERIOD: Duration = Duration::from_millis(100);

/// The longest time of a check.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

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
        let keys = keys(server, configuration);
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
fn keys(server: &lvs::VirtualServer, configuration: &Configuration) -> Vec<ServiceKey> {
    let protocol = match server.protocol {
        Some("UDP") => Protocol::Udp,
        Some("SCTP") => Protocol::Sctp,
        _ => Protocol::Tcp,
    };
    let of_mark = |mark: u32| {
        let mark = NonZeroU32::new(mark)?;
        Some(ServiceKey::mark(mark, family(server.is_ipv6)))
    };
    match &server.service {
        lvs::Service::Address(address, port) => vec![ServiceKey::new(protocol, *address, *port)],
        lvs::Service::Mark(mark) => of_mark(*mark).into_iter().collect(),
        lvs::Service::Group(name) => {
            let group = configuration
                .virtual_server_groups
                .iter()
                .find(|group| group.name == *name);
            let entries = group.into_iter().flat_map(|group| &group.entries);
            entries
                .flat_map(|entry| match entry {
                    GroupEntry::Mark(mark) => of_mark(*mark).into_iter().collect::<Vec<_>>(),
                    GroupEntry::Addresses { first, last, port } => range(*first, *last)
                        .map(|address| ServiceKey::new(protocol, address, *port))
                        .collect(),
                })
                .collect()
        }
    }
}

/// The addresses of a range; keepalived allows ranges of 256 at most.
fn range(first: IpAddr, last: IpAddr) -> Box<dyn Iterator<Item = IpAddr>> {
    match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => {
            let all = first.to_bits()..=last.to_bits();
            Box::new(all.take(256).map(|it| Ipv4Addr::from_bits(it).into()))
        }
        (IpAddr::V6(first), IpAddr::V6(last)) => {
            let all = first.to_bits()..=last.to_bits();
            Box::new(all.take(65536).map(|it| Ipv6Addr::from_bits(it).into()))
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
        delay_loop: _, // Each check has its own.
        connect_timeout: _,
        retry: _,
        delay_before_retry: _,
        warmup: _,
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
            "flag-1" | "sh-fallback" | "mh-fallback" => {
                service.scheduler_flags |= SchedulerFlags::FLAG_1;
            }
            "flag-2" | "sh-port" | "mh-port" => service.scheduler_flags |= SchedulerFlags::FLAG_2,
            "flag-3" => service.scheduler_flags |= SchedulerFlags::FLAG_3,
            _ => {}
        }
    }
    if let Some(engine) = persistence_engine {
        service.persistence_engine = engine.parse::<PersistenceEngine>().ok();
    }
    if let Some(timeout) = persistence_timeout {
        let mut persistence = Persistence::new(*timeout, key.family());
        if let Some(mask) = persistence_granularity
            .as_ref()
            .and_then(|it| netmask(it, key))
        {
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

fn netmask(text: &str, key: ServiceKey) -> Option<Netmask> {
    match key.family() {
        Family::V4 => text.parse().ok().map(Netmask::V4).or_else(|| {
            let length: u32 = text.parse().ok().filter(|it| *it <= 32)?;
            let hosts = u32::MAX.checked_shr(length).unwrap_or(0);
            Some(Netmask::V4(Ipv4Addr::from_bits(!hosts)))
        }),
        Family::V6 => {
            let length = text.parse().ok()?;
            PrefixLength::new(length).ok().map(Netmask::V6)
        }
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
        delay_loop,
        connect_timeout,
        retry: _,
        delay_before_retry: _,
        warmup: _,
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
    let hosts = Hosts {
        request: virtualhost.as_deref().or(of_service),
        handshake: of_service,
        tls: context.tls,
    };
    result
        .checks
        .reserve_exact(checks.len() + tracked_files.len());
    for check in checks {
        match check_of(check, &hosts, (*delay_loop, *connect_timeout), &mut note) {
            Ok(Some(check)) => result.checks.push(check),
            Ok(None) => {}
            Err(problem) => {
                note(format!("the server is left out: {}: {problem}", check.kind));
                return None;
            }
        }
    }
    for tracked in tracked_files {
        result.checks.push(file_check(tracked));
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

/// The host names for requests to a server whose check or URL names none.
struct Hosts<'a> {
    /// The name in `Host`.
    request: Option<&'a str>,
    /// The name in the TLS handshake.
    handshake: Option<&'a str>,
    tls: &'a TlsFiles,
}

/// A check that reads a file. All servers with the same file and factor share it, so its target is
/// a placeholder and not the address of a server.
fn file_check(tracked: &lvs::TrackedFile) -> Check<Probe> {
    let mut check = Check::new(Probe::File(File {
        path: tracked.file.path.clone().into(),
        factor: tracked.factor(),
    }));
    check.name = "FILE_CHECK".into();
    check.address = Some(Ipv4Addr::UNSPECIFIED.into());
    check.port = Some(1);
    check.interval = FILE_PERIOD;
    check.fast_interval = Some(FILE_PERIOD);
    check.rising_interval = Some(FILE_PERIOD);
    check.time_limit = LONGEST;
    check.fall = 1;
    check.rise = 1;
    check.initial = Initial::Up;
    check.noise = 0;
    check.spread = Some(Duration::ZERO);
    check
}

fn micros(number: i64) -> Duration {
    let time = Duration::from_micros(u64::try_from(number).unwrap_or(0));
    time.clamp(Duration::from_millis(1), LONGEST)
}

/// The check for the pool; `None` for a check that is translated elsewhere.
fn check_of(
    check: &lvs::Check,
    hosts: &Hosts<'_>,
    defaults: (i64, i64),
    note: &mut impl FnMut(String),
) -> Result<Option<Check<Probe>>, String> {
    let lvs::Check {
        kind,
        is_alpha,
        delay_loop,
        warmup,
        retry,
        delay_before_retry,
        logs_all_failures: _, // Each failure is in the log.
        target,
        bind,
        bind_interface,
        mark,
        connect_timeout,
        detail,
    } = check;
    let source = Source {
        address: bind.and_then(|(address, _)| address),
        port: bind.map(|(_, port)| port).filter(|port| *port != 0),
        interface: bind_interface.clone(),
        mark: *mark,
    };
    let interval = micros(delay_loop.unwrap_or(defaults.0));
    let connect_timeout = micros(connect_timeout.unwrap_or(defaults.1));
    let time_limit = match detail {
        Detail::Misc { timeout, .. } => {
            timeout.map_or(interval, |it| Duration::from_secs(it.into()))
        }
        Detail::Http { .. } => connect_timeout.saturating_mul(STEPS_OF_HTTP),
        _ => connect_timeout,
    };
    let is_fast = matches!(
        detail,
        Detail::Http {
            fast_recovery: true,
            ..
        }
    );
    let given = Given {
        source,
        hosts,
        time_limit: connect_timeout,
    };
    let Some(probes) = probes(kind, detail, given, note)? else {
        return Ok(None);
    };
    let mut result = Check::of(probes);
    result.name = (*kind).into();
    if let Some((address, port)) = target {
        result.address = Some(*address);
        result.port = Some(*port).filter(|port| *port != 0);
    }
    let pause = delay_before_retry.map_or(interval, micros);
    result.interval = interval;
    result.fast_interval = Some(pause);
    result.rising_interval = Some(if is_fast { Duration::ZERO } else { interval });
    result.down_interval = Some(interval);
    result.time_limit = time_limit.clamp(Duration::from_millis(1), LONGEST);
    result.fall = retry.unwrap_or(0).saturating_add(1);
    result.rise = 1;
    result.initial = if *is_alpha {
        Initial::Down
    } else {
        Initial::Up
    };
    result.noise = 0;
    result.spread = Some(warmup.map_or(interval, |it| {
        Duration::from_micros(u64::try_from(it).unwrap_or(0)).min(LONGEST)
    }));
    match detail {
        // First the URL that failed must succeed, and then all URLs.
        Detail::Http { urls, .. } => {
            result.rise = u32::try_from(urls.len()).unwrap_or(u32::MAX - 1) + 1;
            result.down_interval = Some(interval.max(pause));
        }
        Detail::Misc { .. } => result.pace = Pace::AfterStart,
        Detail::Smtp { .. } => {
            result.first_result = FirstResult::Counts;
            result.retry_while_down = true;
        }
        _ => {}
    }
    Ok(Some(result))
}

/// The settings that a probe takes from its check and its server.
struct Given<'a> {
    source: Source,
    hosts: &'a Hosts<'a>,
    /// The limit for each step of a request.
    time_limit: Duration,
}

/// The probes of a check; `None` for a check that is translated elsewhere.
fn probes(
    kind: &str,
    detail: &Detail,
    given: Given<'_>,
    note: &mut impl FnMut(String),
) -> Result<Option<Vec<Probe>>, String> {
    let Given {
        source,
        hosts,
        time_limit,
    } = given;
    Ok(Some(match detail {
        Detail::None if kind == "PING_CHECK" => vec![Probe::Icmp(Icmp { source })],
        Detail::None => vec![Probe::Tcp(Tcp { source })],
        Detail::Http {
            protocol,
            urls,
            virtualhost,
            enable_sni,
            sni_name,
            fast_recovery: _,
        } => {
            let own = virtualhost.as_deref();
            let each = |url: &Url| {
                let of_url = url.virtualhost.as_deref().or(own);
                let host = of_url.or(hosts.request);
                let mut http = http(url, protocol, host, &source, note)?;
                if kind == "SSL_GET" {
                    let name = enable_sni.then(|| of_url.or(hosts.handshake)).flatten();
                    let name = sni_name.as_deref().or(name);
                    http.tls = Some(tls(name, hosts.tls)?);
                }
                http.step_limit = Some(time_limit);
                Ok(Probe::Http(Box::new(http)))
            };
            urls.iter().map(each).collect::<Result<_, String>>()?
        }
        Detail::Smtp { helo } => vec![Probe::Smtp(Smtp {
            source,
            helo: helo.clone(),
        })],
        Detail::Dns { record, name } => {
            let name = if name.is_empty() { "." } else { name };
            let question = Question::new(name, record).map_err(|error| error.to_string())?;
            vec![Probe::Dns(Dns {
                source,
                question,
                require_records: false,
            })]
        }
        Detail::Misc {
            script,
            timeout: _,
            is_dynamic,
        } => {
            let mut probe = ScriptProbe::new(script.arguments.clone());
            probe.weighs = *is_dynamic;
            let account = script.account;
            probe.user = Some(User::new(account.uid.into(), account.gid.into()));
            vec![Probe::Script(Box::new(probe))]
        }
        Detail::Udp {
            payload,
            reply,
            requires_reply,
            min_reply,
            max_reply,
        } => {
            let bytes = |text: &String| Bytes::from_hex(text).map_err(|it| it.to_string());
            let pattern = |text: &String| text.parse::<BytePattern>().map_err(|it| it.to_string());
            vec![Probe::Udp(Udp {
                source,
                payload: payload.as_ref().map(bytes).transpose()?.unwrap_or_default(),
                require_reply: *requires_reply,
                reply: reply.as_ref().map(pattern).transpose()?.unwrap_or_default(),
                shortest: *min_reply as usize,
                longest: Some(*max_reply as usize),
            })]
        }
        // Files have checks of their own.
        Detail::Bfd(_) | Detail::File => return Ok(None),
    }))
}

fn http(
    url: &Url,
    protocol: &str,
    host: Option<&str>,
    source: &Source,
    note: &mut impl FnMut(String),
) -> Result<Http, String> {
    let Url {
        path,
        digest,
        status,
        virtualhost: _, // The host has it.
        regex,
        regex_no_match,
        regex_options,
        regex_min_offset,
        regex_max_offset,
    } = url;
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let mut http = Http {
        source: source.clone(),
        version: if protocol.starts_with("1.1") {
            HttpVersion::Http11
        } else {
            HttpVersion::Http10
        },
        path: path.parse().map_err(|error| text(&error))?,
        accept_short_body: true,
        ..Http::default()
    };
    http.host = match host {
        Some(host) => Some(host.parse().map_err(|error| text(&error))?),
        None => None,
    };
    if !status.is_empty() {
        http.status = StatusSet::new(status.clone());
    }
    if let Some(digest) = digest {
        http.md5 = Some(digest.parse().map_err(|error| text(&error))?);
    }
    if let Some(regex) = regex {
        let mut body = expression::body(regex, regex_options, note)?;
        body.must_match = !regex_no_match;
        let (from, to) = (regex_min_offset.unwrap_or(0), *regex_max_offset);
        // As in keepalived, bounds that leave no position between them are ignored.
        if to.is_none_or(|to| from <= to) {
            body.from = from;
            body.to = to;
        }
        http.body = Some(body);
    }
    Ok(http)
}

fn tls(name: Option<&str>, files: &TlsFiles) -> Result<Tls, String> {
    let TlsFiles {
        certificate,
        key,
        password,
    } = files.clone();
    let settings = TlsSettings {
        name: name.map(str::to_owned),
        certificate: certificate.map(Into::into),
        key: key.map(Into::into),
        password,
        ..TlsSettings::default()
    };
    Tls::new(settings).map_err(|error| error.to_string())
}
