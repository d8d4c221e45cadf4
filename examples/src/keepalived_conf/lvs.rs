//! Virtual servers, their real servers and checks.

use std::{collections::BTreeMap, fmt::Write as _, net::IpAddr};

use super::{
    complaint::{Complaint, Kind, Weight},
    configuration::{Configuration, Global, TrackFile},
    host::Host,
    script::{self, Policy, Script},
    tree::{Node, Value},
    value::{self, Range},
};
use crate::password::Password;

const SCHEDULERS: [&str; 14] = [
    "rr", "wrr", "lc", "wlc", "lblc", "lblcr", "sh", "mh", "dh", "fo", "ovf", "sed", "nq", "twos",
];

/// The options of an expression.
const REGEX_OPTIONS: [&str; 24] = [
    "allow_empty_class",
    "alt_bsux",
    "alt_circumflex",
    "alt_verbnames",
    "auto_callout",
    "caseless",
    "dollar_endonly",
    "dotall",
    "dupnames",
    "extended",
    "firstline",
    "match_unset_backref",
    "multiline",
    "never_backslash_c",
    "never_ucp",
    "never_utf",
    "no_auto_capture",
    "no_auto_possess",
    "no_dotstar_anchor",
    "no_start_optimize",
    "ucp",
    "ungreedy",
    "use_offset_limit",
    "utf",
];

/// `virtual_server_group`.
#[derive(Clone, Debug)]
pub struct ServiceGroup {
    /// Its name.
    pub name: String,
    /// Its services.
    pub entries: Vec<GroupEntry>,
}

/// A line of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupEntry {
    /// An address, or a range of them, with a port.
    Addresses {
        /// The first address.
        first: IpAddr,
        /// The last one.
        last: IpAddr,
        /// The port.
        port: u16,
    },
    /// A firewall mark.
    Mark(u32),
}

/// The service of a virtual server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Service {
    /// An address and a port.
    Address(IpAddr, u16),
    /// A firewall mark.
    Mark(u32),
    /// A group.
    Group(String),
}

/// `virtual_server`.
#[derive(Clone, Debug)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "as many as the language has flags"
)]
pub struct VirtualServer {
    /// Its service.
    pub service: Service,
    /// `TCP`, `UDP` or `SCTP`; none with a mark.
    pub protocol: Option<&'static str>,
    /// Whether it is of IPv6.
    pub is_ipv6: bool,
    /// The scheduler.
    pub scheduler: String,
    /// Its flags: `ops`, `hashed`, `sh-port` and so on.
    pub flags: Vec<&'static str>,
    /// How packets are forwarded.
    pub method: Method,
    /// Seconds of persistence.
    pub persistence_timeout: Option<u32>,
    /// The netmask or prefix length of persistence.
    pub persistence_granularity: Option<String>,
    /// The persistence engine.
    pub persistence_engine: Option<String>,
    /// The weight of live servers that the quorum needs.
    pub quorum: u32,
    /// How far above and below the quorum its state changes.
    pub hysteresis: u32,
    /// Whether servers start down.
    pub is_alpha: bool,
    /// Whether servers are notified down at the end.
    pub is_omega: bool,
    /// `ha_suspend`.
    pub ha_suspend: bool,
    /// Whether a failed server gets the weight 0.
    pub inhibits_on_failure: bool,
    /// The server that is used while the quorum is lost.
    pub sorry_server: Option<SorryServer>,
    /// `quorum_up` and `quorum_down`.
    pub scripts: BTreeMap<&'static str, Script>,
    /// The host name of HTTP requests.
    pub virtualhost: Option<String>,
    /// Whether changes of the quorum are mailed.
    pub smtp_alert: bool,
    /// Defaults of the checks, in microseconds.
    pub delay_loop: i64,
    /// `connect_timeout` in microseconds.
    pub connect_timeout: i64,
    /// Failures before a check fails, less one, for checks that have no value of their own.
    pub retry: Option<u32>,
    /// Microseconds before a retry.
    pub delay_before_retry: Option<i64>,
    /// Microseconds over which first checks are spread.
    pub warmup: Option<i64>,
    /// The real servers.
    pub real_servers: Vec<RealServer>,
}

/// How packets reach a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Method {
    /// `NAT`, `DR` or `TUN`.
    pub kind: &'static str,
    /// The words after `TUN`: `type gue port 6080` and so on.
    pub options: Vec<String>,
}

impl Method {
    const fn new(kind: &'static str) -> Self {
        Self {
            kind,
            options: Vec::new(),
        }
    }

    /// The method as the oracle prints it.
    #[must_use]
    pub fn describe(&self) -> String {
        if self.kind != "TUN" {
            return self.kind.into();
        }
        let mut words = self.options.iter().map(String::as_str);
        let mut kind = "ipip";
        let mut port = None;
        let mut checksum = None;
        while let Some(word) = words.next() {
            match word {
                "type" => kind = words.next().unwrap_or("ipip"),
                "port" => port = words.next(),
                "nocsum" | "csum" | "remcsum" => checksum = Some(word),
                _ => {}
            }
        }
        let mut text = format!("TUN, type = {}", kind.to_ascii_uppercase());
        if let Some(port) = port {
            let _infallible = write!(text, ", port = {port}");
        }
        let checksum = match (kind, checksum) {
            ("ipip", _) => None,
            (_, Some("csum")) => Some("checksum"),
            (_, Some("remcsum")) => Some("remote checksum"),
            _ => Some("no checksum"),
        };
        if let Some(checksum) = checksum {
            let _infallible = write!(text, ", {checksum}");
        }
        text
    }
}

/// `sorry_server`.
#[derive(Clone, Debug)]
pub struct SorryServer {
    /// Its address.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// How packets reach it.
    pub method: Method,
    /// Whether it stays with weight 0 while it is not needed.
    pub inhibits: bool,
}

/// `real_server`.
#[derive(Clone, Debug)]
pub struct RealServer {
    /// Its address.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// Its weight, with the values that its files add to it at the start.
    pub weight: u32,
    /// Its weight without the values of its files.
    pub configured_weight: u32,
    /// How packets reach it.
    pub method: Method,
    /// Whether it starts down.
    pub is_alpha: bool,
    /// Whether a failure sets its weight to 0.
    pub inhibits_on_failure: bool,
    /// The number of connections above which it gets no new ones.
    pub upper_threshold: u32,
    /// The number of connections below which it gets new ones again.
    pub lower_threshold: u32,
    /// `notify_up` and `notify_down`.
    pub scripts: BTreeMap<&'static str, Script>,
    /// The host name of HTTP requests.
    pub virtualhost: Option<String>,
    /// Whether changes are mailed.
    pub smtp_alert: bool,
    /// `delay_loop` in microseconds.
    pub delay_loop: i64,
    /// `connect_timeout` in microseconds.
    pub connect_timeout: i64,
    /// Failures before a check fails, less one, for checks that have no value of their own.
    pub retry: Option<u32>,
    /// Microseconds before a retry.
    pub delay_before_retry: Option<i64>,
    /// Microseconds over which first checks are spread.
    pub warmup: Option<i64>,
    /// Its checks.
    pub checks: Vec<Check>,
    /// `FILE_CHECK`: track files, each with its weight for this server.
    pub tracked_files: Vec<TrackedFile>,
    /// `BFD_CHECK`: names of BFD instances.
    pub tracked_bfd: Vec<String>,
}

/// `FILE_CHECK`.
#[derive(Clone, Debug)]
pub struct TrackedFile {
    /// The file.
    pub file: TrackFile,
    /// The factor of its number.
    pub weight: i32,
    /// Whether the sign is inverted.
    pub is_reverse: bool,
}

impl TrackedFile {
    /// The factor with its sign.
    #[must_use]
    pub const fn factor(&self) -> i32 {
        if self.is_reverse {
            self.weight.saturating_neg()
        } else {
            self.weight
        }
    }
}

/// A check of a real server.
#[derive(Clone, Debug)]
pub struct Check {
    /// `TCP_CHECK`, `HTTP_GET` and so on.
    pub kind: &'static str,
    /// Whether it starts failed.
    pub is_alpha: bool,
    /// Microseconds between checks.
    pub delay_loop: Option<i64>,
    /// Microseconds over which first checks are spread.
    pub warmup: Option<i64>,
    /// Failures before it fails, less one.
    pub retry: Option<u32>,
    /// Microseconds before a retry.
    pub delay_before_retry: Option<i64>,
    /// `log_all_failures`.
    pub logs_all_failures: bool,
    /// The destination of its connections.
    pub target: Option<(IpAddr, u16)>,
    /// The source of its connections.
    pub bind: Option<(Option<IpAddr>, u16)>,
    /// The interface of its connections.
    pub bind_interface: Option<String>,
    /// The mark of its packets.
    pub mark: Option<u32>,
    /// Microseconds for connecting.
    pub connect_timeout: Option<i64>,
    /// The settings of this kind of check.
    pub detail: Detail,
}

/// The settings of one kind of check.
#[derive(Clone, Debug)]
pub enum Detail {
    /// TCP and PING have none.
    None,
    /// HTTP and HTTPS.
    Http {
        /// `1.0`, `1.0C`, `1.1` and so on.
        protocol: String,
        /// The URLs.
        urls: Vec<Url>,
        /// The host name of requests.
        virtualhost: Option<String>,
        /// Whether the host name is sent in the TLS handshake.
        enable_sni: bool,
        /// The name that is sent in the TLS handshake in place of the host name.
        sni_name: Option<String>,
        /// Whether the URLs are checked without pause after a failure.
        fast_recovery: bool,
    },
    /// SMTP.
    Smtp {
        /// The name in HELO.
        helo: String,
    },
    /// DNS.
    Dns {
        /// The type of the record.
        record: String,
        /// The name that is asked for.
        name: String,
    },
    /// A program.
    Misc {
        /// The command.
        script: Script,
        /// Seconds that it may take.
        timeout: Option<u32>,
        /// Whether its exit status sets the weight.
        is_dynamic: bool,
    },
    /// UDP.
    Udp {
        /// The payload to send, in hexadecimal.
        payload: Option<String>,
        /// The expected reply, in hexadecimal with `X` for any digit.
        reply: Option<String>,
        /// Whether a reply is required.
        requires_reply: bool,
        /// The least length of the answer.
        min_reply: u32,
        /// The greatest length of the answer.
        max_reply: u32,
    },
    /// BFD: the name of the instance.
    Bfd(String),
    /// A file.
    File,
}

/// A URL of an HTTP check.
#[derive(Clone, Debug)]
pub struct Url {
    /// Its path.
    pub path: String,
    /// The MD5 digest of the body.
    pub digest: Option<String>,
    /// Status codes that are good, as ranges.
    pub status: Vec<(u16, u16)>,
    /// The host name of the request.
    pub virtualhost: Option<String>,
    /// A regular expression for the body.
    pub regex: Option<String>,
    /// Whether the expression must not match.
    pub regex_no_match: bool,
    /// `regex_options`, by their names in PCRE2.
    pub regex_options: Vec<String>,
    /// The first byte, from 0, at which a match may start.
    pub regex_min_offset: Option<usize>,
    /// The last byte at which a match may start.
    pub regex_max_offset: Option<usize>,
}

/// `SSL`: the credentials of this client in checks over TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The file with the certificate.
    pub certificate: Option<String>,
    /// The file with its key.
    pub key: Option<String>,
    /// The password of an encrypted key.
    pub password: Option<Password>,
}

/// Resolves the blocks of the checker process.
pub(super) struct Resolver<'a> {
    pub(super) policy: Policy<'a>,
    pub(super) global: &'a Global,
    pub(super) complaints: &'a mut Vec<Complaint>,
    /// `track_file` blocks with the values of the files.
    pub(super) files: BTreeMap<String, (TrackFile, i64)>,
    pub(super) bfd: Vec<String>,
}

/// Times and counts that a real server and its checks take from the virtual server.
#[derive(Clone, Copy)]
struct Defaults {
    delay_loop: i64,
    connect_timeout: i64,
    retry: Option<i64>,
    delay_before_retry: Option<i64>,
    warmup: Option<i64>,
}

impl Defaults {
    fn with(self, node: &Node) -> Self {
        Self {
            delay_loop: node.number("delay_loop").unwrap_or(self.delay_loop),
            connect_timeout: node
                .number("connect_timeout")
                .unwrap_or(self.connect_timeout),
            retry: node.number("retry").or(self.retry),
            delay_before_retry: node
                .number("delay_before_retry")
                .or(self.delay_before_retry),
            warmup: node.number("warmup").or(self.warmup),
        }
    }
}

impl Resolver<'_> {
    fn complain(&mut self, complaint: Complaint) {
        self.complaints.push(complaint);
    }

    pub(super) fn resolve(mut self, nodes: &[Node], configuration: &mut Configuration) {
        for node in nodes {
            match node.word {
                "virtual_server_group" => {
                    let group = self.group(node);
                    configuration.virtual_server_groups.extend(group);
                }
                "SSL" => {
                    let tls = &mut configuration.tls;
                    let text = |word| node.text(word).map(str::to_owned);
                    tls.certificate = text("certificate").or(tls.certificate.take());
                    tls.key = text("key").or(tls.key.take());
                    let password = node.text("password").map(Password::from);
                    tls.password = password.or(tls.password.take());
                }
                "virtual_server" => {
                    let server = self.virtual_server(node);
                    configuration.virtual_servers.extend(server);
                }
                _ => {}
            }
        }
        // A group that does not exist has no services.
        let groups = &configuration.virtual_server_groups;
        configuration
            .virtual_servers
            .retain(|server| match &server.service {
                Service::Group(name) => groups.iter().any(|group| group.name == *name),
                _ => true,
            });
        configuration.uses_tls |= configuration
            .virtual_servers
            .iter()
            .flat_map(|it| &it.real_servers)
            .flat_map(|it| &it.checks)
            .any(|it| it.kind == "SSL_GET");
        self.security(configuration);
    }

    fn group(&mut self, node: &Node) -> Option<ServiceGroup> {
        let Some(name) = node.word_at(0) else {
            self.complain(
                Complaint::new(
                    Kind::MissingParameter,
                    "virtual_server_group needs a name; it is ignored",
                )
                .at(node.place),
            );
            return None;
        };
        let mut entries = Vec::new();
        for entry in &node.entries {
            let at = |complaint: Complaint| complaint.at(entry.place).object(name);
            let words: Vec<&str> = entry.words.iter().map(String::as_str).collect();
            match words[..] {
                ["fwmark", mark, ..] => {
                    let number = value::number(mark, Range::whole(0, u32::MAX.into()));
                    match number.value.and_then(|it| u32::try_from(it).ok()) {
                        Some(mark) => entries.push(GroupEntry::Mark(mark)),
                        None => self.complain(at(Complaint::new(
                            Kind::ValueInvalid,
                            format!("{mark:?} is not a firewall mark"),
                        )
                        .token(mark))),
                    }
                }
                [addresses, ref rest @ ..] => match range(addresses) {
                    Some((first, last)) => {
                        let port = rest.first().copied().unwrap_or("0");
                        match port_of(port) {
                            Some(port) => entries.push(GroupEntry::Addresses { first, last, port }),
                            None => self.complain(at(Complaint::new(
                                Kind::ValueInvalid,
                                format!("{port:?} is not a port"),
                            )
                            .token(port))),
                        }
                    }
                    None => self.complain(at(Complaint::new(
                        Kind::BadAddress,
                        format!("{addresses:?} is not an address or a range of addresses"),
                    )
                    .token(addresses))),
                },
                [] => {}
            }
        }
        let has_ipv4 = entries
            .iter()
            .any(|it| matches!(it, GroupEntry::Addresses { first, .. } if first.is_ipv4()));
        let has_ipv6 = entries
            .iter()
            .any(|it| matches!(it, GroupEntry::Addresses { first, .. } if first.is_ipv6()));
        let has_mark = entries.iter().any(|it| matches!(it, GroupEntry::Mark(_)));
        if has_ipv4 && has_ipv6 && has_mark {
            self.complain(
                Complaint::new(
                    Kind::Other,
                    format!("virtual_server_group {name} has addresses of both families and a mark, whose family is ambiguous; it is ignored"),
                )
                .at(node.end)
                .object(name),
            );
            return None;
        }
        Some(ServiceGroup {
            name: name.to_owned(),
            entries,
        })
    }

    #[allow(clippy::too_many_lines, reason = "one setting after the other")]
    fn virtual_server(&mut self, node: &Node) -> Option<VirtualServer> {
        let service = service(node)?;
        let label = describe_service(&service);
        let mut protocol = None;
        let mut scheduler = None;
        let mut method = None;
        let mut sorry = None;
        let mut sorry_method = None;
        let mut persistence_timeout = None;
        let mut granularity = None;
        let mut flags = Vec::new();
        for statement in &node.children {
            let text = statement.word_at(0).unwrap_or_default();
            let at = |complaint: Complaint| complaint.at(statement.place).token(text);
            match statement.word {
                "protocol" => match text.to_ascii_uppercase().as_str() {
                    "TCP" if text == "TCP" || text == "tcp" => protocol = Some("TCP"),
                    "UDP" if text == "UDP" || text == "udp" => protocol = Some("UDP"),
                    "SCTP" if text == "SCTP" || text == "sctp" => protocol = Some("SCTP"),
                    _ => self.complain(at(Complaint::new(
                        Kind::UnknownValue,
                        format!("protocol: {text:?} is not TCP, UDP or SCTP"),
                    ))),
                },
                "lb_algo" | "lvs_sched" => {
                    if SCHEDULERS.contains(&text) {
                        scheduler = Some(text.to_owned());
                    } else {
                        self.complain(at(Complaint::new(
                            Kind::UnknownValue,
                            format!(
                                "{}: {text:?} is not a scheduler; wlc is used",
                                statement.word
                            ),
                        )
                        .help(format!("write one of {}", SCHEDULERS.join(", ")))));
                    }
                }
                "lb_kind" | "lvs_method" => {
                    method = self.method(statement).or(method);
                }
                "sorry_server" => {
                    let found = text.parse().ok();
                    let port = match statement.word_at(1) {
                        Some(port) => port_of(port),
                        None => Some(0),
                    };
                    match found.zip(port) {
                        Some(found) => sorry = Some(found),
                        None => self.complain(at(Complaint::new(
                            Kind::BadAddress,
                            format!("sorry_server: {text:?} is not an address with a port; it is not used"),
                        ))),
                    }
                }
                "sorry_server_lvs_method" => {
                    if sorry.is_none() {
                        self.complain(at(Complaint::new(
                            Kind::Other,
                            "sorry_server_lvs_method stands behind sorry_server",
                        )));
                    } else {
                        sorry_method = self.method(statement).or(sorry_method);
                    }
                }
                "sorry_server_inhibit" if sorry.is_none() => {
                    self.complain(at(Complaint::new(
                        Kind::Other,
                        "sorry_server_inhibit stands behind sorry_server",
                    )));
                }
                "persistence_timeout" => {
                    if text.is_empty() {
                        persistence_timeout = Some(360);
                    } else {
                        let number = value::number(text, Range::whole(1, 2_678_400));
                        match number.value.and_then(|it| u32::try_from(it).ok()) {
                            Some(seconds) if number.problem.is_none() => {
                                persistence_timeout = Some(seconds);
                            }
                            _ => self.complain(at(Complaint::new(
                                Kind::ValueInvalid,
                                format!("persistence_timeout: {text:?} is not a number of seconds in 1 to 2678400"),
                            ))),
                        }
                    }
                }
                "persistence_granularity" => {
                    let is_mask = text.parse::<std::net::Ipv4Addr>().is_ok();
                    let is_length = text.parse::<u8>().is_ok_and(|it| (1..=128).contains(&it));
                    if is_mask || is_length {
                        granularity = Some(text.to_owned());
                    } else {
                        self.complain(at(Complaint::new(
                            Kind::ValueInvalid,
                            format!("persistence_granularity: {text:?} is not a netmask or a prefix length"),
                        )));
                    }
                }
                "hashed" | "ops" | "flag-1" | "flag-2" | "flag-3" | "sh-port" | "sh-fallback"
                | "mh-port" | "mh-fallback" => {
                    let needs = match statement.word.get(..2) {
                        Some("sh") => Some("sh"),
                        Some("mh") => Some("mh"),
                        _ => None,
                    };
                    let fits = needs.is_none_or(|it| scheduler.as_deref() == Some(it));
                    if fits {
                        flags.push(statement.word);
                    } else {
                        self.complain(at(Complaint::new(
                            Kind::Other,
                            format!(
                                "{} goes with the scheduler {}, named before it",
                                statement.word,
                                needs.unwrap_or_default()
                            ),
                        )));
                    }
                }
                "ip_family" if !matches!(text, "inet" | "inet6") => {
                    self.complain(at(Complaint::new(
                        Kind::UnknownValue,
                        format!("ip_family: {text:?} is not inet or inet6"),
                    )));
                }
                "quorum" if statement.value == Value::None => {
                    self.complain(at(Complaint::new(
                        Kind::QuorumAdjusted,
                        "quorum has to be at least 1; 1 is used",
                    )));
                }
                _ => {}
            }
        }
        let is_mark = !matches!(service, Service::Address(..));
        let defaults = Defaults {
            delay_loop: 60_000_000,
            connect_timeout: 5_000_000,
            retry: None,
            delay_before_retry: None,
            warmup: None,
        }
        .with(node);
        let mut scripts = BTreeMap::new();
        for word in ["quorum_up", "quorum_down"] {
            if let Some(statement) = node.last(word) {
                let script = self
                    .policy
                    .notify(statement, &mut |complaint| self.complaints.push(complaint));
                scripts.extend(script.map(|script| (word, script)));
            }
        }
        let mut server = VirtualServer {
            protocol,
            is_ipv6: false,
            scheduler: scheduler.clone().unwrap_or_else(|| "wlc".into()),
            flags,
            method: method.clone().unwrap_or_else(|| Method::new("NAT")),
            persistence_timeout: persistence_timeout.or_else(|| {
                let implied = granularity.is_some() || node.has("persistence_engine");
                implied.then_some(360)
            }),
            persistence_granularity: granularity,
            persistence_engine: node.text("persistence_engine").map(str::to_owned),
            quorum: number_u32(node, "quorum").unwrap_or(1),
            hysteresis: number_u32(node, "hysteresis").unwrap_or(0),
            is_alpha: node.has("alpha"),
            is_omega: node.has("omega"),
            ha_suspend: node.has("ha_suspend"),
            inhibits_on_failure: node.has("inhibit_on_failure"),
            sorry_server: None,
            scripts,
            virtualhost: node.text("virtualhost").map(str::to_owned),
            smtp_alert: node.switch("smtp_alert").unwrap_or_else(|| {
                let switches = &self.global.switches;
                switches.get("smtp_alert_checker").copied().unwrap_or(false)
                    || switches.get("smtp_alert").copied().unwrap_or(false)
            }),
            delay_loop: defaults.delay_loop,
            connect_timeout: defaults.connect_timeout,
            retry: defaults.retry.and_then(|it| u32::try_from(it).ok()),
            delay_before_retry: defaults.delay_before_retry,
            warmup: defaults.warmup,
            real_servers: Vec::new(),
            service,
        };
        for statement in node.children_of("real_server") {
            let found = self.real_server(statement, &server, node, defaults);
            server.real_servers.extend(found);
        }
        server.sorry_server = sorry.map(|(address, port)| SorryServer {
            address,
            // By default, the port of the service.
            port: match server.service {
                Service::Address(_, own) if port == 0 => own,
                _ => port,
            },
            method: sorry_method.unwrap_or_else(|| server.method.clone()),
            inhibits: node.has("sorry_server_inhibit"),
        });
        self.finish(
            server,
            &label,
            (protocol, scheduler.is_some(), method.is_some(), is_mark),
        )
    }

    /// Fills in the defaults that keepalived fills in, with a complaint for each.
    #[allow(clippy::too_many_lines, reason = "one setting after the other")]
    fn finish(
        &mut self,
        mut server: VirtualServer,
        label: &str,
        (protocol, has_scheduler, has_method, is_mark): (Option<&'static str>, bool, bool, bool),
    ) -> Option<VirtualServer> {
        let mut say = |kind, text: String| {
            self.complaints
                .push(Complaint::new(kind, text).object(label));
        };
        if server.real_servers.is_empty() {
            say(
                Kind::NoRealServers,
                format!("virtual server {label} has no real servers; it is ignored"),
            );
            return None;
        }
        if matches!(server.service, Service::Mark(_)) {
            if protocol.is_some() {
                say(
                    Kind::ProtocolMissing,
                    format!(
                        "virtual server {label} has a firewall mark, which covers every protocol; protocol is ignored"
                    ),
                );
            }
            server.protocol = None;
        } else if protocol.is_none() {
            say(
                Kind::ProtocolDefault,
                format!("virtual server {label} names no protocol; UDP is used"),
            );
            server.protocol = Some("UDP");
        }
        if !has_scheduler {
            say(
                Kind::NoScheduler,
                format!("virtual server {label} names no scheduler; wlc is used"),
            );
        }
        if !has_method {
            say(
                Kind::NoMethod,
                format!("virtual server {label} names no forwarding method; NAT is used"),
            );
        }
        // A real server that is listed twice is dropped.
        let mut seen = Vec::new();
        server.real_servers.retain(|real| {
            let key = (real.address, real.port);
            if seen.contains(&key) {
                self.complaints.push(
                    Complaint::new(
                        Kind::RemovedDuplicateServer,
                        format!(
                            "real server {} port {} stands twice in {label}; the second is ignored",
                            real.address, real.port
                        ),
                    )
                    .token(real.address.to_string()),
                );
                return false;
            }
            seen.push(key);
            true
        });
        let mut say = |kind, text: String| {
            self.complaints
                .push(Complaint::new(kind, text).object(label));
        };
        if matches!(server.service, Service::Address(_, 0)) && server.persistence_timeout.is_none()
        {
            say(
                Kind::Persistence,
                format!(
                    "virtual server {label} has no port, which goes with persistence only; persistence is used"
                ),
            );
            server.persistence_timeout = Some(360);
        }
        if server.flags.contains(&"ops") && server.protocol != Some("UDP") {
            say(
                Kind::ValueInvalid,
                format!("virtual server {label}: ops goes with UDP only; it is ignored"),
            );
            server.flags.retain(|flag| *flag != "ops");
        }
        // Without address translation, the port cannot change.
        let port = match server.service {
            Service::Address(_, port) => port,
            _ => 0,
        };
        for real in &mut server.real_servers {
            if is_mark {
                if real.port != 0
                    && matches!(server.service, Service::Mark(_))
                    && real.method.kind != "NAT"
                {
                    say(
                        Kind::PortMismatch,
                        format!(
                            "{label}: real server {} has a port, which a firewall mark has not; it is ignored",
                            real.address
                        ),
                    );
                    real.port = 0;
                }
                if real.port != 0
                    && matches!(server.service, Service::Group(_))
                    && real.method.kind != "NAT"
                {
                    say(
                        Kind::PortMismatch,
                        format!(
                            "{label}: real server {} has a port, which does not count",
                            real.address
                        ),
                    );
                }
            } else if real.method.kind != "NAT" && real.port != port {
                if real.port != 0 {
                    say(
                        Kind::PortMismatch,
                        format!(
                            "{label}: {} cannot change the port of real server {}; {port} is used",
                            real.method.kind, real.address
                        ),
                    );
                }
                real.port = port;
            } else if real.port == 0 {
                real.port = port;
            }
        }
        let total: u64 = server
            .real_servers
            .iter()
            .map(|it| u64::from(it.weight))
            .sum();
        if u64::from(server.quorum) > total {
            say(
                Kind::QuorumAdjusted,
                format!(
                    "{label}: quorum {} is more than all weights together, {total}, which is used",
                    server.quorum
                ),
            );
            server.quorum = u32::try_from(total.max(1)).unwrap_or(1);
        }
        if server.hysteresis >= server.quorum && server.hysteresis > 0 {
            say(
                Kind::QuorumAdjusted,
                format!(
                    "{label}: hysteresis {} is not below quorum {}",
                    server.hysteresis, server.quorum
                ),
            );
            server.hysteresis = server.quorum - 1;
        }
        server.is_ipv6 = match &server.service {
            Service::Address(address, _) => address.is_ipv6(),
            _ => server
                .real_servers
                .first()
                .is_some_and(|it| it.address.is_ipv6()),
        };
        Some(server)
    }

    fn method(&mut self, statement: &Node) -> Option<Method> {
        let text = statement.word_at(0).unwrap_or_default();
        let kind = ["NAT", "DR", "TUN"].into_iter().find(|kind| *kind == text);
        let options = statement.words.get(1..).unwrap_or_default();
        let problem = match kind {
            None => Some(format!("{text:?} is not NAT, DR or TUN")),
            Some(_) => tunnel_problem(options),
        };
        if let Some(problem) = problem {
            self.complain(
                Complaint::new(Kind::UnknownValue, format!("{}: {problem}", statement.word))
                    .at(statement.place)
                    .token(text)
                    .help("write NAT, DR or TUN in capital letters, behind TUN type ipip, type gre, or type gue port and a number"),
            );
        }
        Some(Method {
            kind: kind?,
            options: options.to_vec(),
        })
    }

    #[allow(clippy::too_many_lines, reason = "one setting after the other")]
    fn real_server(
        &mut self,
        node: &Node,
        server: &VirtualServer,
        parent: &Node,
        defaults: Defaults,
    ) -> Option<RealServer> {
        let (address, port) = endpoint(&node.words)?;
        if let Service::Address(own, _) = server.service
            && own.is_ipv4() != address.is_ipv4()
            && server.method.kind != "TUN"
        {
            self.complain(
                Complaint::new(
                    Kind::FamilyMismatch,
                    format!("real server {address} is of another family than its virtual server; it is ignored"),
                )
                .at(node.end)
                .token(address.to_string()),
            );
            return None;
        }
        let mut method = server.method.clone();
        for statement in node.children_of("lvs_method") {
            method = self.method(statement).unwrap_or(method);
        }
        let defaults = defaults.with(node);
        let default_weight = parent.number("weight").unwrap_or(1);
        let weight = match node.last("weight") {
            // A weight that is too large for the range is still used.
            Some(statement) => match statement.value {
                Value::Number(number) => number,
                _ => default_weight,
            },
            None => default_weight,
        };
        let mut scripts = BTreeMap::new();
        for word in ["notify_up", "notify_down"] {
            if let Some(statement) = node.last(word) {
                let script = self
                    .policy
                    .notify(statement, &mut |complaint| self.complaints.push(complaint));
                scripts.extend(script.map(|script| (word, script)));
            }
        }
        let check_port = if port == 0 {
            match server.service {
                Service::Address(_, port) if method.kind != "NAT" => port,
                _ => 0,
            }
        } else {
            port
        };
        let mut real = RealServer {
            address,
            port,
            weight: u32::try_from(weight).unwrap_or(1),
            configured_weight: u32::try_from(weight).unwrap_or(1),
            method,
            is_alpha: node.switch("alpha").unwrap_or(server.is_alpha),
            inhibits_on_failure: node
                .switch("inhibit_on_failure")
                .unwrap_or(server.inhibits_on_failure),
            upper_threshold: number_u32(node, "uthreshold").unwrap_or(0),
            lower_threshold: number_u32(node, "lthreshold").unwrap_or(0),
            scripts,
            virtualhost: node.text("virtualhost").map(str::to_owned),
            smtp_alert: node.switch("smtp_alert").unwrap_or_else(|| {
                let switches = &self.global.switches;
                let own = switches.get("smtp_alert_checker");
                own.or(switches.get("smtp_alert")).copied().unwrap_or(true)
            }),
            delay_loop: defaults.delay_loop,
            connect_timeout: defaults.connect_timeout,
            retry: defaults.retry.and_then(|it| u32::try_from(it).ok()),
            delay_before_retry: defaults.delay_before_retry,
            warmup: defaults.warmup,
            checks: Vec::new(),
            tracked_files: Vec::new(),
            tracked_bfd: Vec::new(),
        };
        for check in &node.children {
            if check.word.ends_with("_CHECK") || check.word.ends_with("_GET") {
                self.check(check, &mut real, defaults, check_port);
            }
        }
        Some(real)
    }

    #[allow(clippy::too_many_lines, reason = "one kind of check after the other")]
    fn check(&mut self, node: &Node, real: &mut RealServer, defaults: Defaults, port: u16) {
        let (default_retry, default_delay) = match node.word {
            "HTTP_GET" | "SSL_GET" => (1, Some(3_000_000)),
            "DNS_CHECK" => (3, None),
            "MISC_CHECK" => (0, Some(1_000_000)),
            _ => (1, Some(1_000_000)),
        };
        let own = defaults.with(node);
        let delay_loop = own.delay_loop;
        let retry = node
            .number("nb_get_retry")
            .or(node.number("retry"))
            .or(defaults.retry)
            .unwrap_or(default_retry);
        let mut check = Check {
            kind: node.word,
            is_alpha: node.switch("alpha").unwrap_or(real.is_alpha),
            delay_loop: Some(delay_loop),
            warmup: Some(own.warmup.unwrap_or(delay_loop)),
            retry: u32::try_from(retry).ok(),
            delay_before_retry: Some(
                own.delay_before_retry
                    .or(default_delay)
                    .unwrap_or(delay_loop),
            ),
            logs_all_failures: node.switch("log_all_failures").unwrap_or(false),
            target: Some((real.address, port)),
            bind: None,
            bind_interface: None,
            mark: None,
            connect_timeout: Some(own.connect_timeout),
            detail: Detail::None,
        };
        self.connection(node, &mut check);
        match node.word {
            "HTTP_GET" | "SSL_GET" => match self.http(node) {
                Some(detail) => check.detail = detail,
                None => return,
            },
            "SMTP_CHECK" => {
                check.detail = Detail::Smtp {
                    helo: node
                        .text("helo_name")
                        .unwrap_or("smtpchecker.keepalived.org")
                        .to_owned(),
                };
                real.checks.push(check.clone());
                for host in node.children_of("host") {
                    let mut further = check.clone();
                    further.connect_timeout = Some(host.number("connect_timeout").unwrap_or(0));
                    self.connection(host, &mut further);
                    real.checks.push(further);
                }
                return;
            }
            "DNS_CHECK" => {
                let record = node.text("type").unwrap_or("SOA").to_ascii_uppercase();
                let record = record.as_str();
                let known = [
                    "A", "NS", "CNAME", "SOA", "MX", "TXT", "AAAA", "RRSIG", "DNSKEY",
                ];
                if let Some(statement) = node.last("type")
                    && !known.contains(&record)
                {
                    self.complain(
                        Complaint::new(
                            Kind::UnknownValue,
                            format!("type: {record:?} is not {}", known.join(", ")),
                        )
                        .at(statement.place)
                        .token(record),
                    );
                }
                check.detail = Detail::Dns {
                    record: if known.contains(&record) {
                        record
                    } else {
                        "SOA"
                    }
                    .to_owned(),
                    name: node.text("name").unwrap_or(".").to_owned(),
                };
            }
            "MISC_CHECK" => match self.misc(node) {
                Some(detail) => {
                    check.detail = detail;
                    check.target = None;
                    check.connect_timeout = None;
                }
                None => return,
            },
            "UDP_CHECK" => {
                let reply = node.last("require_reply");
                check.detail = Detail::Udp {
                    payload: node.text("payload").map(str::to_owned),
                    reply: reply.and_then(|it| it.word_at(0)).map(str::to_owned),
                    requires_reply: reply.is_some(),
                    min_reply: number_u32(node, "min_reply_length").unwrap_or(0),
                    max_reply: number_u32(node, "max_reply_length").unwrap_or(255),
                };
                if let Detail::Udp {
                    min_reply,
                    max_reply,
                    ..
                } = check.detail
                    && min_reply > max_reply
                {
                    self.complain(
                        Complaint::new(
                            Kind::Other,
                            format!(
                                "min_reply_length {min_reply} is more than max_reply_length {max_reply}: every answer fails"
                            ),
                        )
                        .at(node.end),
                    );
                }
                for statement in &node.children {
                    let text = statement.word_at(0).unwrap_or_default();
                    let allows_any = statement.word == "require_reply";
                    if matches!(statement.word, "payload" | "require_reply")
                        && (statement.words.len() > 1 || !is_hexadecimal(text, allows_any))
                    {
                        self.complain(
                            Complaint::new(
                                Kind::ValueInvalid,
                                format!("{}: {text:?} is not hexadecimal", statement.word),
                            )
                            .at(statement.place)
                            .token(text),
                        );
                    }
                }
            }
            "BFD_CHECK" => {
                let Some(statement) = node.last("name") else {
                    self.complain(
                        Complaint::new(
                            Kind::MissingParameter,
                            "BFD_CHECK needs the name of a bfd_instance",
                        )
                        .at(node.end),
                    );
                    return;
                };
                let name = statement.word_at(0).unwrap_or_default();
                if !self.bfd.iter().any(|it| it == name) {
                    self.complain(
                        Complaint::new(
                            Kind::NotDefined,
                            format!("there is no bfd_instance {name:?}; the check is ignored"),
                        )
                        .at(statement.place)
                        .token(name),
                    );
                    return;
                }
                check.delay_loop = None;
                check.warmup = None;
                check.retry = None;
                check.delay_before_retry = None;
                check.target = None;
                check.connect_timeout = None;
                check.is_alpha = node.switch("alpha").unwrap_or(false);
                check.detail = Detail::Bfd(name.to_owned());
                real.tracked_bfd.push(name.to_owned());
            }
            "FILE_CHECK" => {
                let Some(statement) = node.last("track_file") else {
                    self.complain(
                        Complaint::new(Kind::NotDefined, "FILE_CHECK needs a track_file")
                            .at(node.end),
                    );
                    return;
                };
                let name = statement.word_at(0).unwrap_or_default();
                let Some((file, value)) = self.files.get(name).cloned() else {
                    self.complain(
                        Complaint::new(
                            Kind::NotDefined,
                            format!("there is no track_file {name:?}; the check is ignored"),
                        )
                        .at(statement.place)
                        .token(name),
                    );
                    self.complain(
                        Complaint::new(
                            Kind::NotDefined,
                            "FILE_CHECK has no usable track_file; it is ignored",
                        )
                        .at(node.end),
                    );
                    return;
                };
                let own = node.number("weight").and_then(|it| i32::try_from(it).ok());
                let is_reverse = match (own, node.last("weight")) {
                    (Some(_), Some(statement)) => statement.word_at(1) == Some("reverse"),
                    _ => file.is_reverse,
                };
                let tracked = TrackedFile {
                    weight: own.unwrap_or(file.weight),
                    is_reverse,
                    file,
                };
                let points = value.saturating_mul(tracked.factor().into());
                let changed = i64::from(real.weight).saturating_add(points);
                real.weight = u32::try_from(changed.max(0)).unwrap_or(0);
                real.tracked_files.push(tracked);
                check.target = None;
                check.connect_timeout = None;
                check.detail = Detail::File;
            }
            _ => {}
        }
        real.checks.push(check);
    }

    fn connection(&mut self, node: &Node, check: &mut Check) {
        for statement in &node.children {
            let text = statement.word_at(0).unwrap_or_default();
            let address = text.parse::<IpAddr>();
            match statement.word {
                "connect_ip" | "bindto" if address.is_err() => self.complain(
                    Complaint::new(
                        Kind::BadAddress,
                        format!("{}: {text:?} is not an IP address", statement.word),
                    )
                    .at(statement.place)
                    .token(text),
                ),
                "connect_ip" => {
                    if let (Ok(address), Some(target)) = (address, check.target.as_mut()) {
                        target.0 = address;
                    }
                }
                "connect_port" => {
                    if let (Value::Number(port), Some(target)) =
                        (statement.value, check.target.as_mut())
                    {
                        target.1 = u16::try_from(port).unwrap_or(0);
                    }
                }
                "bindto" => {
                    let port = check.bind.map_or(0, |(_, port)| port);
                    check.bind = Some((address.ok(), port));
                }
                "bind_port" => {
                    if let Value::Number(port) = statement.value {
                        let address = check.bind.and_then(|(address, _)| address);
                        check.bind = Some((address, u16::try_from(port).unwrap_or(0)));
                    }
                }
                "bind_if" => check.bind_interface = Some(text.to_owned()),
                "fwmark" => {
                    if let Value::Number(mark) = statement.value {
                        check.mark = u32::try_from(mark).ok().filter(|it| *it != 0);
                    }
                }
                "connect_timeout" => {
                    if let Value::Number(time) = statement.value {
                        check.connect_timeout = Some(time);
                    }
                }
                _ => {}
            }
        }
    }

    fn http(&mut self, node: &Node) -> Option<Detail> {
        let mut protocol = "1.0".to_owned();
        for statement in node.children_of("nb_get_retry") {
            self.complain(
                Complaint::new(Kind::Deprecated, "nb_get_retry is deprecated, and obeyed")
                    .at(statement.place)
                    .help("write retry"),
            );
        }
        if let Some(statement) = node.last("http_protocol") {
            let text = statement.word_at(0).unwrap_or_default();
            if matches!(text, "1.0" | "1.0C" | "1.0c" | "1.1") {
                protocol = text.to_ascii_uppercase();
            } else {
                self.complain(
                    Complaint::new(
                        Kind::UnknownValue,
                        format!("http_protocol: {text:?} is not 1.0, 1.0C or 1.1"),
                    )
                    .at(statement.place)
                    .token(text),
                );
            }
        }
        let mut urls = Vec::new();
        for url in node.children_of("url") {
            urls.extend(self.url(url));
        }
        if urls.is_empty() {
            self.complain(
                Complaint::new(
                    Kind::NoUrls,
                    format!("{} has no usable url; the check is ignored", node.word),
                )
                .at(node.end)
                .help("add url { path / }"),
            );
            return None;
        }
        Some(Detail::Http {
            protocol,
            urls,
            virtualhost: node.text("virtualhost").map(str::to_owned),
            enable_sni: node.switch("enable_sni").unwrap_or(false),
            sni_name: node.text("sni_name").map(str::to_owned),
            fast_recovery: node.switch("fast_recovery").unwrap_or(false),
        })
    }

    fn url(&mut self, node: &Node) -> Option<Url> {
        let mut url = Url {
            path: node.text("path").unwrap_or_default().to_owned(),
            digest: None,
            status: Vec::new(),
            virtualhost: node.text("virtualhost").map(str::to_owned),
            regex: node.text("regex").map(str::to_owned),
            regex_no_match: node.has("regex_no_match"),
            regex_options: Vec::new(),
            regex_min_offset: None,
            regex_max_offset: None,
        };
        for statement in &node.children {
            let text = statement.word_at(0).unwrap_or_default();
            match statement.word {
                "digest" => {
                    let is_digest =
                        text.len() == 32 && text.bytes().all(|it| it.is_ascii_hexdigit());
                    if is_digest {
                        url.digest = Some(text.to_ascii_lowercase());
                    } else {
                        self.complain(
                            Complaint::new(
                                Kind::DigestInvalid,
                                format!(
                                    "digest: {text:?} is not 32 hexadecimal digits; it is not used"
                                ),
                            )
                            .at(statement.place)
                            .token(text)
                            .help("genhash prints the digest of a page"),
                        );
                    }
                }
                "status_code" => {
                    for word in &statement.words {
                        let (low, high) = word.split_once('-').unwrap_or((word, word));
                        let range = low.parse::<u16>().ok().zip(high.parse::<u16>().ok());
                        match range {
                            Some((low, high)) if low >= 100 && high <= 999 && low <= high => {
                                url.status.push((low, high));
                            }
                            _ => self.complain(
                                Complaint::new(
                                    Kind::ValueInvalid,
                                    format!("status_code: {word:?} is not a status from 100 to 999 or a range"),
                                )
                                .at(statement.place)
                                .token(word),
                            ),
                        }
                    }
                }
                "regex_options" => self.regex_options(statement, &mut url),
                "regex_min_offset" => url.regex_min_offset = self.offset(statement),
                "regex_max_offset" => url.regex_max_offset = self.offset(statement),
                _ => {}
            }
        }
        if url.status.is_empty() {
            url.status.push((200, 299));
        }
        if url.path.is_empty() {
            self.complain(
                Complaint::new(Kind::NoUrls, "a url needs a path; it is ignored").at(node.end),
            );
            return None;
        }
        Some(url)
    }

    fn regex_options(&mut self, statement: &Node, url: &mut Url) {
        for word in &statement.words {
            if REGEX_OPTIONS.contains(&word.as_str()) {
                url.regex_options.push(word.clone());
            } else {
                self.complain(
                    Complaint::new(
                        Kind::UnknownValue,
                        format!("regex_options: {word:?} is not an option of PCRE2"),
                    )
                    .at(statement.place)
                    .token(word),
                );
            }
        }
    }

    /// The position of the first or last byte at which a match may start.
    fn offset(&mut self, statement: &Node) -> Option<usize> {
        let text = statement.word_at(0).unwrap_or_default();
        let number = value::number(text, Range::whole(0, i64::from(i32::MAX)));
        let offset = number.value.filter(|_| number.problem.is_none());
        if offset.is_none() {
            self.complain(
                Complaint::new(
                    Kind::ValueInvalid,
                    format!("{}: {text:?} is not a number of bytes", statement.word),
                )
                .at(statement.place)
                .token(text),
            );
        }
        offset.and_then(|it| usize::try_from(it).ok())
    }

    fn misc(&mut self, node: &Node) -> Option<Detail> {
        let statement = node.last("misc_path");
        let arguments = statement.and_then(|statement| {
            script::arguments(statement, &mut |complaint| self.complaints.push(complaint))
        });
        let Some(arguments) = arguments else {
            self.complain(
                Complaint::new(
                    Kind::ScriptMissingBody,
                    "MISC_CHECK needs a misc_path; the check is ignored",
                )
                .at(node.end),
            );
            return None;
        };
        let account = match node.last("user") {
            Some(statement) => {
                let user = statement.word_at(0).unwrap_or_default();
                let account = Host::account(user, statement.word_at(1));
                if account.is_none() {
                    self.complain(
                        Complaint::new(
                            Kind::ScriptUserUnknown,
                            format!("there is no user {user:?}; the check is ignored"),
                        )
                        .at(statement.place)
                        .token(user),
                    );
                }
                account?
            }
            None => self.policy.account?,
        };
        Some(Detail::Misc {
            script: Script { arguments, account },
            timeout: number_u32(node, "misc_timeout").filter(|it| *it > 0),
            is_dynamic: node.has("misc_dynamic"),
        })
    }

    /// Looks up the scripts, and reports where security is off.
    fn security(&mut self, configuration: &mut Configuration) {
        let mut uses_scripts = false;
        let policy = self.policy.clone();
        let mut keep = |script: &mut Script| {
            let usability = policy.look_up(script);
            uses_scripts |= usability.counts();
            usability.is_kept()
        };
        for server in &mut configuration.virtual_servers {
            server.scripts.retain(|_, script| keep(script));
            for real in &mut server.real_servers {
                real.scripts.retain(|_, script| keep(script));
                for check in &mut real.checks {
                    if let Detail::Misc { script, .. } = &mut check.detail {
                        keep(script);
                    }
                }
            }
        }
        if uses_scripts && !policy.is_secure {
            self.complain(
                Complaint::new(
                    Kind::ScriptSecurity,
                    "scripts run although enable_script_security is not set",
                )
                .weight(Weight::Security)
                .help("add enable_script_security and script_user to global_defs"),
            );
        }
    }
}

/// The fault of the words after `TUN`, if there is one.
fn tunnel_problem(options: &[String]) -> Option<String> {
    let mut kind = "ipip";
    let mut has_port = false;
    let mut words = options.iter().map(String::as_str);
    while let Some(word) = words.next() {
        match word {
            "type" => {
                kind = words.next().unwrap_or_default();
                if !matches!(kind, "ipip" | "gue" | "gre") {
                    return Some(format!("{kind:?} is no type of tunnel"));
                }
            }
            "port" => {
                has_port = true;
                let port = words.next().unwrap_or_default();
                if port_of(port).is_none() {
                    return Some(format!("{port:?} is not a port"));
                }
            }
            "nocsum" | "csum" | "remcsum" => {}
            _ => return Some(format!("{word:?} is no option of a tunnel")),
        }
    }
    (has_port != (kind == "gue"))
        .then(|| "a tunnel of type gue has a port, others have none".into())
}

/// An address with an optional port.
fn endpoint(words: &[String]) -> Option<(IpAddr, u16)> {
    let address = words.first()?.parse().ok()?;
    let port = match words.get(1) {
        Some(port) => port_of(port)?,
        None => 0,
    };
    Some((address, port))
}

/// The service of a `virtual_server` statement.
fn service(node: &Node) -> Option<Service> {
    match node.word_at(0)? {
        "fwmark" => {
            let number = value::number(node.word_at(1)?, Range::whole(0, u32::MAX.into()));
            if number.problem.is_some() {
                return None;
            }
            u32::try_from(number.value?).ok().map(Service::Mark)
        }
        "group" => Some(Service::Group(node.word_at(1)?.to_owned())),
        _ => endpoint(&node.words).map(|(address, port)| Service::Address(address, port)),
    }
}

/// Why a `virtual_server` or `real_server` block is skipped.
pub(super) fn refusal(node: &Node) -> Option<Complaint> {
    let is_usable = match node.word {
        "virtual_server" => service(node).is_some(),
        _ => endpoint(&node.words).is_some(),
    };
    if is_usable {
        return None;
    }
    let words = node.words.join(" ");
    let form = match node.word {
        "virtual_server" => "an address with a port, fwmark and a number, or group and a name",
        _ => "an address with a port",
    };
    Some(
        Complaint::new(
            Kind::BadAddress,
            format!(
                "{}: {words:?} is not {form}; the block is ignored",
                node.word
            ),
        )
        .at(node.place)
        .token(words),
    )
}

fn number_u32(node: &Node, word: &str) -> Option<u32> {
    node.number(word).and_then(|it| u32::try_from(it).ok())
}

fn is_hexadecimal(text: &str, allows_any: bool) -> bool {
    text.chars()
        .filter(|c| !c.is_ascii_whitespace())
        .all(|c| c.is_ascii_hexdigit() || (allows_any && matches!(c, 'X' | 'x')))
}

fn port_of(text: &str) -> Option<u16> {
    let number = value::number(text, Range::whole(i64::from(text != "0"), 65535));
    if number.problem.is_some() {
        return None;
    }
    number.value.and_then(|it| u16::try_from(it).ok())
}

/// An address, or a range of them such as `192.0.2.1-20`.
fn range(text: &str) -> Option<(IpAddr, IpAddr)> {
    let Some((first, last)) = text.split_once('-') else {
        let address = text.parse().ok()?;
        return Some((address, address));
    };
    let first: IpAddr = first.parse().ok()?;
    let last = match first {
        IpAddr::V4(first) => {
            let [a, b, c, low] = first.octets();
            let high = last.parse::<u8>().ok().filter(|high| *high >= low)?;
            IpAddr::from([a, b, c, high])
        }
        IpAddr::V6(first) => {
            let mut segments = first.segments();
            let high = u16::from_str_radix(last, 16).ok()?;
            let end = segments.last_mut()?;
            if high < *end {
                return None;
            }
            *end = high;
            IpAddr::from(segments)
        }
    };
    Some((first, last))
}

/// The name of a service in complaints.
fn describe_service(service: &Service) -> String {
    match service {
        Service::Address(address, port) => format!("[{address}]:{port}"),
        Service::Mark(mark) => format!("fwmark {mark}"),
        Service::Group(name) => format!("group {name}"),
    }
}
