//! The command line of ipvsadm 1.31, which is also the grammar of a line of a restored text.
//!
//! The command comes first; options may be bundled (`-Lnt`), have their value in the same word (`-srr`, `--scheduler=rr`) or in the next.

use std::{
    mem::{self, Discriminant},
    net::{IpAddr, Ipv4Addr},
    num::{NonZeroU16, NonZeroU32},
    slice,
};

use ipvs_netlink::{
    DaemonState, Destination, DestinationKey, Family, ForwardingMethod, GueChecksum, InterfaceName,
    MulticastGroup, Netmask, Persistence, PersistenceEngine, PrefixLength, Protocol, Scheduler,
    SchedulerFlags, Service, ServiceKey, SyncDaemon, Thresholds, Timeouts, Tunnel, Weight,
    message::Change,
};

use crate::{
    list::{Columns, List},
    names::{self, Names},
};

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Command {
    /// Change something.
    Change(Change),
    /// List all services, or one.
    Services(Option<ServiceKey>, List, Order),
    /// List the connections; with all of the persistence engines or not.
    Connections(Names, bool),
    /// Show the timeouts.
    Timeouts,
    /// Show the sync daemons.
    Daemons,
    /// Print the table as a text to be restored.
    Save(Names),
    /// Read commands from the standard input.
    Restore,
    /// Print what the options are.
    Help,
    /// Print the version.
    Version,
}

/// In what order services and destinations are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// By key, as ipvsadm compares them.
    Sorted,
    /// As the kernel lists them.
    Kernel,
}

/// Words that are no command.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct UsageError {
    message: String,
    /// The exit status that ipvsadm has for it.
    pub(crate) status: u8,
}

/// An error of what an option says, or of how options go together.
pub(crate) fn wrong(message: impl Into<String>) -> UsageError {
    UsageError {
        message: message.into(),
        status: 2,
    }
}

/// An error of the form: no command, no such option, a value too few or too many.
fn malformed(message: impl Into<String>) -> UsageError {
    UsageError {
        message: message.into(),
        status: 255,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    AddService,
    EditService,
    DeleteService,
    Clear,
    AddServer,
    EditServer,
    DeleteServer,
    List,
    Save,
    Restore,
    Zero,
    Set,
    StartDaemon,
    StopDaemon,
    Help,
    Version,
}

/// What an option is about. No two of the same subject go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    Command(Verb),
    Service(Option<Protocol>),
    Ipv6,
    Server,
    Scheduler,
    SchedulerFlags,
    Persistence,
    Netmask,
    Engine,
    OnePacket,
    Method(ForwardingMethod),
    Weight,
    UpperThreshold,
    LowerThreshold,
    TunnelType,
    TunnelPort,
    Checksum(GueChecksum),
    Numeric,
    Connections,
    Timeouts,
    Daemons,
    Stats,
    Rate,
    Exact,
    Thresholds,
    PersistentConnections,
    TunnelInfo,
    NoSort,
    Sort,
    SyncId,
    Interface,
    Group,
    GroupPort,
    Ttl,
    MaxLength,
}

/// Whether an option has a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    None,
    Needed,
    /// Taken from the next word unless that is an option.
    Possible,
}

type OptionRow = (Option<char>, &'static str, Subject, Value);

const IPIP: ForwardingMethod = ForwardingMethod::Tunnel(Tunnel::IpIp);

#[rustfmt::skip]
const OPTIONS: &[OptionRow] = &[
    (Some('A'), "add-service", Subject::Command(Verb::AddService), Value::None),
    (Some('E'), "edit-service", Subject::Command(Verb::EditService), Value::None),
    (Some('D'), "delete-service", Subject::Command(Verb::DeleteService), Value::None),
    (Some('C'), "clear", Subject::Command(Verb::Clear), Value::None),
    (Some('a'), "add-server", Subject::Command(Verb::AddServer), Value::None),
    (Some('e'), "edit-server", Subject::Command(Verb::EditServer), Value::None),
    (Some('d'), "delete-server", Subject::Command(Verb::DeleteServer), Value::None),
    (Some('L'), "list", Subject::Command(Verb::List), Value::None),
    (Some('l'), "list", Subject::Command(Verb::List), Value::None),
    (Some('S'), "save", Subject::Command(Verb::Save), Value::None),
    (Some('R'), "restore", Subject::Command(Verb::Restore), Value::None),
    (Some('Z'), "zero", Subject::Command(Verb::Zero), Value::None),
    (None, "set", Subject::Command(Verb::Set), Value::None),
    (None, "start-daemon", Subject::Command(Verb::StartDaemon), Value::Needed),
    (None, "stop-daemon", Subject::Command(Verb::StopDaemon), Value::Needed),
    (Some('h'), "help", Subject::Command(Verb::Help), Value::None),
    (Some('v'), "version", Subject::Command(Verb::Version), Value::None),
    (Some('t'), "tcp-service", Subject::Service(Some(Protocol::Tcp)), Value::Needed),
    (Some('u'), "udp-service", Subject::Service(Some(Protocol::Udp)), Value::Needed),
    (None, "sctp-service", Subject::Service(Some(Protocol::Sctp)), Value::Needed),
    (Some('f'), "fwmark-service", Subject::Service(None), Value::Needed),
    (Some('6'), "ipv6", Subject::Ipv6, Value::None),
    (Some('r'), "real-server", Subject::Server, Value::Needed),
    (Some('s'), "scheduler", Subject::Scheduler, Value::Needed),
    (Some('b'), "sched-flags", Subject::SchedulerFlags, Value::Needed),
    (Some('p'), "persistent", Subject::Persistence, Value::Possible),
    (Some('M'), "netmask", Subject::Netmask, Value::Needed),
    (None, "pe", Subject::Engine, Value::Needed),
    (Some('o'), "ops", Subject::OnePacket, Value::None),
    (Some('g'), "gatewaying", Subject::Method(ForwardingMethod::DirectRoute), Value::None),
    (Some('m'), "masquerading", Subject::Method(ForwardingMethod::Masquerade), Value::None),
    (Some('i'), "ipip", Subject::Method(IPIP), Value::None),
    (Some('w'), "weight", Subject::Weight, Value::Needed),
    (Some('x'), "u-threshold", Subject::UpperThreshold, Value::Needed),
    (Some('y'), "l-threshold", Subject::LowerThreshold, Value::Needed),
    (None, "tun-type", Subject::TunnelType, Value::Needed),
    (None, "tun-port", Subject::TunnelPort, Value::Needed),
    (None, "tun-nocsum", Subject::Checksum(GueChecksum::None), Value::None),
    (None, "tun-csum", Subject::Checksum(GueChecksum::Full), Value::None),
    (None, "tun-remcsum", Subject::Checksum(GueChecksum::Remote), Value::None),
    (Some('n'), "numeric", Subject::Numeric, Value::None),
    (Some('c'), "connection", Subject::Connections, Value::None),
    (None, "timeout", Subject::Timeouts, Value::None),
    (None, "daemon", Subject::Daemons, Value::None),
    (None, "stats", Subject::Stats, Value::None),
    (None, "rate", Subject::Rate, Value::None),
    (Some('X'), "exact", Subject::Exact, Value::None),
    (None, "thresholds", Subject::Thresholds, Value::None),
    (None, "persistent-conn", Subject::PersistentConnections, Value::None),
    (None, "tun-info", Subject::TunnelInfo, Value::None),
    (None, "nosort", Subject::NoSort, Value::None),
    (None, "sort", Subject::Sort, Value::None),
    (None, "syncid", Subject::SyncId, Value::Needed),
    (None, "mcast-interface", Subject::Interface, Value::Needed),
    (None, "mcast-group", Subject::Group, Value::Needed),
    (None, "mcast-port", Subject::GroupPort, Value::Needed),
    (None, "mcast-ttl", Subject::Ttl, Value::Needed),
    (None, "sync-maxlen", Subject::MaxLength, Value::Needed),
];

/// Whether an option means something to a command.
fn allowed(verb: Verb, subject: Subject) -> bool {
    use Subject as S;
    match verb {
        Verb::AddService | Verb::EditService => matches!(
            subject,
            S::Service(_)
                | S::Ipv6
                | S::Scheduler
                | S::SchedulerFlags
                | S::Persistence
                | S::Netmask
                | S::Engine
                | S::OnePacket
        ),
        Verb::DeleteService | Verb::Zero => matches!(subject, S::Service(_) | S::Ipv6),
        Verb::AddServer | Verb::EditServer => matches!(
            subject,
            S::Service(_)
                | S::Ipv6
                | S::Server
                | S::Method(_)
                | S::Weight
                | S::UpperThreshold
                | S::LowerThreshold
                | S::TunnelType
                | S::TunnelPort
                | S::Checksum(_)
        ),
        Verb::DeleteServer => matches!(subject, S::Service(_) | S::Ipv6 | S::Server),
        Verb::List => matches!(
            subject,
            S::Service(_)
                | S::Ipv6
                | S::Numeric
                | S::Connections
                | S::Timeouts
                | S::Daemons
                | S::Stats
                | S::Rate
                | S::Exact
                | S::Thresholds
                | S::PersistentConnections
                | S::TunnelInfo
                | S::NoSort
                | S::SyncId
        ),
        Verb::Save => matches!(subject, S::Numeric),
        Verb::StartDaemon => matches!(
            subject,
            S::SyncId | S::Interface | S::Group | S::GroupPort | S::Ttl | S::MaxLength
        ),
        Verb::StopDaemon => matches!(subject, S::SyncId),
        Verb::Clear | Verb::Restore | Verb::Set | Verb::Help | Verb::Version => false,
    }
}

/// Options and arguments out of words.
struct Words<'a> {
    words: slice::Iter<'a, &'a str>,
    /// What is left of a word of short options.
    bundle: &'a str,
    options_ended: bool,
}

enum Item<'a> {
    Option {
        written: String,
        subject: Subject,
        value: Option<&'a str>,
    },
    Argument(&'a str),
}

impl<'a> Words<'a> {
    fn new(words: &'a [&'a str]) -> Self {
        Self {
            words: words.iter(),
            bundle: "",
            options_ended: false,
        }
    }

    fn next(&mut self) -> Result<Option<Item<'a>>, UsageError> {
        if self.bundle.is_empty() {
            let Some(&word) = self.words.next() else {
                return Ok(None);
            };
            match word.strip_prefix('-') {
                None | Some("") => return Ok(Some(Item::Argument(word))),
                Some(_) if self.options_ended => return Ok(Some(Item::Argument(word))),
                Some("-") => {
                    self.options_ended = true;
                    return self.next();
                }
                Some(rest) => match rest.strip_prefix('-') {
                    Some(long) => return self.long(long).map(Some),
                    None => self.bundle = rest,
                },
            }
        }
        self.short().map(Some)
    }

    fn long(&mut self, word: &'a str) -> Result<Item<'a>, UsageError> {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word, None),
        };
        let written = format!("--{name}");
        let row = OPTIONS.iter().find(|(_, long, ..)| *long == name);
        self.option(written, row, value)
    }

    fn short(&mut self) -> Result<Item<'a>, UsageError> {
        let mut rest = self.bundle.chars();
        let letter = rest.next();
        let written = format!("-{}", letter.unwrap_or_default());
        let row = OPTIONS
            .iter()
            .find(|(short, ..)| short.is_some() && *short == letter);
        self.bundle = rest.as_str();
        // The value is what is left of the word, if anything is.
        let takes_value = row.is_some_and(|(.., value)| *value != Value::None);
        let value = if takes_value && !self.bundle.is_empty() {
            let whole = mem::take(&mut self.bundle);
            Some(whole.strip_prefix('=').unwrap_or(whole))
        } else {
            None
        };
        self.option(written, row, value)
    }

    fn option(
        &mut self,
        written: String,
        row: Option<&OptionRow>,
        value: Option<&'a str>,
    ) -> Result<Item<'a>, UsageError> {
        let Some((_, _, subject, takes)) = row else {
            return Err(malformed(format!("{written}: no such option")));
        };
        let value = match (takes, value) {
            (Value::None, Some(value)) => {
                return Err(malformed(format!(
                    "{written}: takes no value, but has {value:?}"
                )));
            }
            (Value::None, None) | (_, Some(_)) => value,
            (Value::Needed, None) => match self.words.next() {
                Some(&next) => Some(next),
                None => return Err(malformed(format!("{written}: a value is missing"))),
            },
            (Value::Possible, None) => match self.words.as_slice().first() {
                Some(&next) if !next.starts_with('-') => {
                    self.words.next();
                    Some(next)
                }
                _ => None,
            },
        };
        Ok(Item::Option {
            written,
            subject: *subject,
            value,
        })
    }
}

/// The command that words say. No words say that everything is to be listed.
pub(crate) fn command(words: &[&str]) -> Result<Command, UsageError> {
    let words = if words.is_empty() { &["-L"] } else { words };
    let mut words = Words::new(words);
    let (verb, first_value) = match words.next()? {
        Some(Item::Option {
            subject: Subject::Command(verb),
            value,
            ..
        }) => (verb, value),
        Some(Item::Option { written, .. }) => {
            return Err(malformed(format!(
                "{written}: a command has to come first, such as -L; see --help"
            )));
        }
        Some(Item::Argument(word)) => {
            return Err(malformed(format!(
                "{word:?}: a command has to come first, such as -L; see --help"
            )));
        }
        None => return Err(malformed("there is no command; see --help")),
    };
    match verb {
        // Whatever else there is.
        Verb::Help => return Ok(Command::Help),
        Verb::Version => return Ok(Command::Version),
        _ => {}
    }
    let mut given = Given::default();
    let mut arguments = Vec::new();
    let mut options = Vec::new();
    while let Some(item) = words.next()? {
        match item {
            Item::Argument(word) => arguments.push(word),
            Item::Option {
                written,
                subject,
                value,
            } => {
                given.take(&written, subject, value)?;
                options.push((written, subject));
            }
        }
    }
    let timeouts = if verb == Verb::Set {
        let [tcp, tcp_fin, udp, rest @ ..] = arguments.as_slice() else {
            return Err(wrong(
                "--set: three timeouts are needed: TCP, TCP after a FIN, UDP",
            ));
        };
        let timeout = |what, word| number(what, word, 0, Persistence::MAX_TIMEOUT.into());
        let timeouts = Timeouts {
            tcp: timeout("TCP timeout", tcp)?,
            tcp_fin: timeout("TCP FIN timeout", tcp_fin)?,
            udp: timeout("UDP timeout", udp)?,
        };
        arguments = rest.to_vec();
        timeouts
    } else {
        Timeouts::default()
    };
    if let Some(word) = arguments.first() {
        return Err(wrong(format!("{word:?}: not expected here")));
    }
    for (written, subject) in &options {
        if *subject != Subject::Sort && !allowed(verb, *subject) {
            return Err(wrong(format!("{written}: means nothing to this command")));
        }
    }
    match verb {
        Verb::AddService => given
            .service()
            .map(|it| Command::Change(Change::AddService(it))),
        Verb::EditService => given
            .service()
            .map(|it| Command::Change(Change::UpdateService(it))),
        Verb::DeleteService => given
            .key()
            .map(|key| Command::Change(Change::DeleteService(key))),
        Verb::Clear => Ok(Command::Change(Change::Flush)),
        Verb::AddServer => {
            let (service, destination) = given.destination()?;
            Ok(Command::Change(Change::AddDestination {
                service,
                destination,
            }))
        }
        Verb::EditServer => {
            let (service, destination) = given.destination()?;
            Ok(Command::Change(Change::UpdateDestination {
                service,
                destination,
            }))
        }
        Verb::DeleteServer => {
            let service = given.key()?;
            let destination = given.server(service)?;
            Ok(Command::Change(Change::DeleteDestination {
                service,
                destination,
            }))
        }
        Verb::List => given.list(),
        Verb::Save => Ok(Command::Save(given.names())),
        Verb::Restore => Ok(Command::Restore),
        Verb::Zero => Ok(Command::Change(match given.key {
            Some(_) => Change::ZeroService(given.key()?),
            None => Change::ZeroAll,
        })),
        Verb::Set => Ok(Command::Change(Change::SetTimeouts(timeouts))),
        Verb::StartDaemon => given
            .daemon(state(first_value)?)
            .map(|daemon| Command::Change(Change::StartDaemon(daemon))),
        Verb::StopDaemon => Ok(Command::Change(Change::StopDaemon(state(first_value)?))),
        Verb::Help => Ok(Command::Help),
        Verb::Version => Ok(Command::Version),
    }
}

fn state(word: Option<&str>) -> Result<DaemonState, UsageError> {
    match word {
        Some("master") => Ok(DaemonState::Master),
        Some("backup") => Ok(DaemonState::Backup),
        other => Err(wrong(format!(
            "sync daemon {:?}: master or backup",
            other.unwrap_or_default()
        ))),
    }
}

/// What the options of a command say.
#[derive(Debug, Default)]
struct Given<'a> {
    seen: Vec<Discriminant<Subject>>,
    key: Option<ServiceKey>,
    /// As it was written: the port may be a name, whose meaning depends on the service.
    server: Option<&'a str>,
    scheduler: Option<Scheduler>,
    flags: &'a str,
    persistence: Option<u32>,
    netmask: Option<Netmask>,
    engine: Option<PersistenceEngine>,
    one_packet: bool,
    method: ForwardingMethod,
    weight: Weight,
    thresholds: (u32, u32),
    tunnel: TunnelOptions,
    sync: SyncOptions,
}

#[derive(Clone, Copy, Debug, Default)]
struct SyncOptions {
    id: u8,
    interface: Option<InterfaceName>,
    group: Option<MulticastGroup>,
    port: Option<u16>,
    ttl: Option<u8>,
    max_length: Option<u16>,
}

#[derive(Clone, Copy, Debug, Default)]
struct TunnelOptions {
    kind: Option<TunnelKind>,
    port: Option<NonZeroU16>,
    checksum: Option<GueChecksum>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TunnelKind {
    IpIp,
    Gue,
    Gre,
}

impl<'a> Given<'a> {
    fn take(
        &mut self,
        written: &str,
        subject: Subject,
        value: Option<&'a str>,
    ) -> Result<(), UsageError> {
        if let Subject::Command(_) = subject {
            return Err(wrong(format!("{written}: there is a command already")));
        }
        if subject != Subject::Sort && self.has(subject) && !matches!(subject, Subject::Checksum(_))
        {
            return Err(wrong(format!("{written}: said already, or its like")));
        }
        self.seen.push(mem::discriminant(&subject));
        let text = value.unwrap_or_default();
        match subject {
            Subject::Service(protocol) => self.key = Some(key(written, protocol, text)?),
            Subject::Ipv6 => match &mut self.key {
                Some(ServiceKey::FirewallMark { family, .. }) => *family = Family::V6,
                _ => return Err(wrong(format!("{written}: comes after -f"))),
            },
            Subject::Server => self.server = Some(text),
            Subject::Scheduler => {
                self.scheduler =
                    Some(Scheduler::new(text).map_err(|error| wrong(error.to_string()))?);
            }
            Subject::SchedulerFlags => self.flags = text,
            Subject::Persistence => {
                const LONGEST: u64 = 31 * 24 * 60 * 60;
                let timeout = value
                    .map(|text| number(written, text, 1, LONGEST))
                    .transpose()?;
                self.persistence = Some(timeout.unwrap_or(Persistence::DEFAULT_TIMEOUT));
            }
            Subject::Netmask => self.netmask = Some(self.mask(written, text)?),
            Subject::Engine => {
                let engine = PersistenceEngine::new(text);
                self.engine = Some(engine.map_err(|error| wrong(error.to_string()))?);
            }
            Subject::OnePacket => self.one_packet = true,
            Subject::Method(method) => self.method = method,
            Subject::Weight => {
                let weight = number(written, text, 0, Weight::MAX.get().into())?;
                self.weight = Weight::new(weight).unwrap_or(Weight::MAX);
            }
            Subject::UpperThreshold => self.thresholds.0 = threshold(written, text)?,
            Subject::LowerThreshold => self.thresholds.1 = threshold(written, text)?,
            Subject::TunnelType => {
                self.tunnel.kind = Some(match text {
                    "ipip" => TunnelKind::IpIp,
                    "gue" => TunnelKind::Gue,
                    "gre" => TunnelKind::Gre,
                    _ => return Err(wrong(format!("{written} {text:?}: ipip, gue or gre"))),
                });
            }
            Subject::TunnelPort => {
                self.tunnel.port = NonZeroU16::new(number(written, text, 1, 65535)?)
            }
            Subject::Checksum(checksum) => {
                if self.tunnel.checksum.replace(checksum).is_some() {
                    return Err(wrong(format!(
                        "{written}: there is a checksum option already"
                    )));
                }
            }
            Subject::SyncId => self.sync.id = number(written, text, 0, 255)?,
            Subject::Interface => {
                let interface = InterfaceName::new(text);
                self.sync.interface = Some(interface.map_err(|error| wrong(error.to_string()))?);
            }
            Subject::Group => {
                let group = text.parse::<IpAddr>().ok().and_then(MulticastGroup::new);
                let group = group
                    .ok_or_else(|| wrong(format!("{written} {text:?}: no multicast address")))?;
                self.sync.group = Some(group);
            }
            Subject::GroupPort => self.sync.port = Some(number(written, text, 1, 65535)?),
            Subject::Ttl => self.sync.ttl = Some(number(written, text, 1, 255)?),
            Subject::MaxLength => self.sync.max_length = Some(number(written, text, 1, 65507)?),
            Subject::Command(_)
            | Subject::Numeric
            | Subject::Connections
            | Subject::Timeouts
            | Subject::Daemons
            | Subject::Stats
            | Subject::Rate
            | Subject::Exact
            | Subject::Thresholds
            | Subject::PersistentConnections
            | Subject::TunnelInfo
            | Subject::NoSort
            | Subject::Sort => {}
        }
        Ok(())
    }

    fn has(&self, subject: Subject) -> bool {
        self.seen.contains(&mem::discriminant(&subject))
    }

    fn names(&self) -> Names {
        if self.has(Subject::Numeric) {
            Names::Numeric
        } else {
            Names::LookedUp
        }
    }

    /// A mask of the family of the service as far as it is known: where it is not, of IPv4.
    fn mask(&self, written: &str, text: &str) -> Result<Netmask, UsageError> {
        match self.key.map_or(Family::V4, |key| key.family()) {
            Family::V4 => ipv4(text)
                .map(Netmask::V4)
                .ok_or_else(|| wrong(format!("{written} {text:?}: no IPv4 mask"))),
            Family::V6 => number(written, text, 1, 128)
                .map(|bits| Netmask::V6(PrefixLength::new(bits).unwrap_or(PrefixLength::HOST))),
        }
    }

    fn key(&self) -> Result<ServiceKey, UsageError> {
        self.key
            .ok_or_else(|| wrong("a service is needed: -t, -u, --sctp-service or -f"))
    }

    fn service(&self) -> Result<Service, UsageError> {
        let key = self.key()?;
        if let ServiceKey::Address { protocol, port, .. } = key {
            if port == 0 && self.persistence.is_none() {
                return Err(wrong(
                    "port 0: all ports are for persistent services (-p) only",
                ));
            }
            if self.one_packet && protocol != Protocol::Udp {
                return Err(wrong("-o: one-packet scheduling is for UDP and marks only"));
            }
        }
        let mut service = Service::new(key, self.scheduler.unwrap_or(Scheduler::WLC));
        service.scheduler_flags = flags(self.flags, service.scheduler)?;
        service.persistence_engine = self.engine;
        service.one_packet = self.one_packet;
        if let Some(timeout) = self.persistence {
            // A mask that was read as one of IPv4 says nothing of IPv6.
            let netmask = self.netmask.filter(|mask| mask.family() == key.family());
            let netmask = netmask.unwrap_or(Netmask::host(key.family()));
            service
                .set_persistence(Persistence { timeout, netmask })
                .map_err(|error| wrong(error.to_string()))?;
        }
        Ok(service)
    }

    /// The server as it is written; without a port that of the service.
    fn server(&self, service: ServiceKey) -> Result<DestinationKey, UsageError> {
        let text = self.server.ok_or_else(|| wrong("a server is needed: -r"))?;
        let (protocol, service_port) = match service {
            ServiceKey::Address { protocol, port, .. } => (protocol, port),
            ServiceKey::FirewallMark { .. } => (Protocol::Tcp, 0),
        };
        let (address, port) = endpoint("-r", text, protocol)?;
        let port = port.unwrap_or(service_port);
        Ok(DestinationKey { address, port })
    }

    fn destination(&self) -> Result<(ServiceKey, Destination), UsageError> {
        let service = self.key()?;
        let mut key = self.server(service)?;
        let forwarding = self.forwarding()?;
        // Only masquerading changes the port.
        if let (ServiceKey::Address { port, .. }, true) =
            (service, forwarding != ForwardingMethod::Masquerade)
        {
            key.port = port;
        }
        if key.family() != service.family() && !matches!(forwarding, ForwardingMethod::Tunnel(_)) {
            return Err(wrong(
                "-r: a server of the other address family is reached by a tunnel (-i) only",
            ));
        }
        let (upper, lower) = self.thresholds;
        let thresholds = Thresholds::new(upper, lower).ok_or_else(|| {
            malformed(format!(
                "-y {lower}: the lower threshold is at most the upper one, {upper}"
            ))
        })?;
        let destination = Destination {
            weight: self.weight,
            thresholds,
            ..Destination::new(key, forwarding)
        };
        Ok((service, destination))
    }

    fn forwarding(&self) -> Result<ForwardingMethod, UsageError> {
        let TunnelOptions {
            kind,
            port,
            checksum,
        } = self.tunnel;
        if self.method != IPIP {
            if kind.is_some() || port.is_some() || checksum.is_some() {
                return Err(wrong("--tun-...: tunnel options go with -i only"));
            }
            return Ok(self.method);
        }
        let tunnel = match (kind.unwrap_or(TunnelKind::IpIp), port, checksum) {
            (TunnelKind::IpIp, None, None) => Tunnel::IpIp,
            (TunnelKind::IpIp, ..) => {
                return Err(wrong("--tun-type ipip: has no port and no checksum"));
            }
            (TunnelKind::Gue, Some(port), checksum) => Tunnel::Gue {
                port,
                checksum: checksum.unwrap_or_default(),
            },
            (TunnelKind::Gue, None, _) => return Err(wrong("--tun-type gue: needs --tun-port")),
            (TunnelKind::Gre, None, None | Some(GueChecksum::None)) => {
                Tunnel::Gre { checksum: false }
            }
            (TunnelKind::Gre, None, Some(GueChecksum::Full)) => Tunnel::Gre { checksum: true },
            (TunnelKind::Gre, ..) => {
                return Err(wrong("--tun-type gre: has no port and no remote checksum"));
            }
        };
        Ok(ForwardingMethod::Tunnel(tunnel))
    }

    fn list(&self) -> Result<Command, UsageError> {
        let conflict = || wrong("these options of a list do not go together");
        let instead = [
            Subject::Connections,
            Subject::Timeouts,
            Subject::Daemons,
            Subject::Service(None),
        ];
        if instead.iter().filter(|subject| self.has(**subject)).count() > 1 {
            return Err(conflict());
        }
        let persistent = self.has(Subject::PersistentConnections);
        let columns = [Subject::Stats, Subject::Rate, Subject::Thresholds];
        let columns = columns.iter().any(|subject| self.has(*subject));
        if self.has(Subject::Connections) {
            return if columns {
                Err(conflict())
            } else {
                Ok(Command::Connections(self.names(), persistent))
            };
        }
        for (subject, command) in [
            (Subject::Timeouts, Command::Timeouts),
            (Subject::Daemons, Command::Daemons),
        ] {
            if self.has(subject) {
                return if columns || persistent {
                    Err(conflict())
                } else {
                    Ok(command)
                };
            }
        }
        let columns = if self.has(Subject::Stats) {
            Columns::Counters
        } else if self.has(Subject::Rate) {
            Columns::Rates
        } else if self.has(Subject::Thresholds) {
            Columns::Thresholds
        } else if persistent {
            Columns::Persistence
        } else if self.has(Subject::TunnelInfo) {
            Columns::Tunnels
        } else {
            Columns::Forwarding
        };
        let list = List {
            columns,
            exact: self.has(Subject::Exact),
            names: self.names(),
        };
        let order = if self.has(Subject::NoSort) {
            Order::Kernel
        } else {
            Order::Sorted
        };
        Ok(Command::Services(self.key, list, order))
    }

    fn daemon(&self, state: DaemonState) -> Result<SyncDaemon, UsageError> {
        let SyncOptions {
            id,
            interface,
            group,
            port,
            ttl,
            max_length,
        } = self.sync;
        let interface = match interface {
            Some(interface) => interface,
            None => InterfaceName::new("eth0").map_err(|error| wrong(error.to_string()))?,
        };
        Ok(SyncDaemon {
            max_length,
            group,
            port,
            ttl,
            ..SyncDaemon::new(state, interface, id)
        })
    }
}

fn key(written: &str, protocol: Option<Protocol>, text: &str) -> Result<ServiceKey, UsageError> {
    match protocol {
        Some(protocol) => {
            endpoint(written, text, protocol).map(|(address, port)| ServiceKey::Address {
                protocol,
                address,
                port: port.unwrap_or(0),
            })
        }
        None => {
            // A save writes a mark from 2^31 on as if it had a sign. ipvsadm itself does not read that.
            let signed = text.parse().ok().filter(|mark: &i32| *mark < 0);
            let mark = match signed {
                Some(mark) => mark.cast_unsigned(),
                None => number(written, text, 1, u32::MAX.into())?,
            };
            Ok(ServiceKey::mark(
                NonZeroU32::new(mark).unwrap_or(NonZeroU32::MIN),
                Family::V4,
            ))
        }
    }
}

/// A number in figures, perhaps after a plus sign.
fn number<T: TryFrom<u64>>(
    written: &str,
    text: &str,
    least: u64,
    most: u64,
) -> Result<T, UsageError> {
    let number = text
        .parse()
        .ok()
        .filter(|number| (least..=most).contains(number));
    number
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| {
            wrong(format!(
                "{written} {text:?}: a number from {least} to {most}"
            ))
        })
}

fn threshold(written: &str, text: &str) -> Result<u32, UsageError> {
    number(written, text, 0, i32::MAX.unsigned_abs().into())
}

/// Flags of a scheduler, separated by commas.
fn flags(text: &str, scheduler: Scheduler) -> Result<SchedulerFlags, UsageError> {
    let mut flags = SchedulerFlags::NONE;
    for name in text.split(',').filter(|name| !name.is_empty()) {
        let (flag, of) = match name {
            "flag-1" => (SchedulerFlags::FLAG_1, None),
            "flag-2" => (SchedulerFlags::FLAG_2, None),
            "flag-3" => (SchedulerFlags::FLAG_3, None),
            "sh-fallback" => (SchedulerFlags::SH_FALLBACK, Some(Scheduler::SH)),
            "sh-port" => (SchedulerFlags::SH_PORT, Some(Scheduler::SH)),
            "mh-fallback" => (SchedulerFlags::MH_FALLBACK, Some(Scheduler::MH)),
            "mh-port" => (SchedulerFlags::MH_PORT, Some(Scheduler::MH)),
            _ => return Err(wrong(format!("-b {name:?}: no such flag"))),
        };
        if of.is_some_and(|of| of != scheduler) {
            return Err(wrong(format!(
                "-b {name:?}: is not for the scheduler {scheduler}"
            )));
        }
        flags |= flag;
    }
    Ok(flags)
}

/// An address with a port, if there is one: `10.0.0.1:80`, `host:http`, `10.0.0.1`, `[fd00::1]:80`, `fd00::1`.
fn endpoint(
    written: &str,
    text: &str,
    protocol: Protocol,
) -> Result<(IpAddr, Option<u16>), UsageError> {
    let illegal = || wrong(format!("{written} {text:?}: no address, or no port of it"));
    let port = |port: &str| -> Option<u16> {
        let figures = port.strip_prefix('+').unwrap_or(port);
        if figures.starts_with(|c: char| c.is_ascii_digit()) {
            figures.parse().ok()
        } else {
            names::service_port(port, protocol)
        }
    };
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or_else(illegal)?;
        let name = rest.strip_prefix(':').ok_or_else(illegal)?;
        (host, Some(port(name).ok_or_else(illegal)?))
    } else if text.matches(':').count() == 1 {
        let (host, name) = text.split_once(':').ok_or_else(illegal)?;
        (host, Some(port(name).ok_or_else(illegal)?))
    } else {
        (text, None)
    };
    let in_brackets = text.starts_with('[');
    let address = ipv4(host).map(IpAddr::V4);
    let address = address.or_else(|| host.parse().ok());
    let address = address.or_else(|| {
        // A name without brackets is one of IPv4.
        if in_brackets {
            names::address_of(host)
        } else {
            names::ipv4_of(host)
        }
    });
    let address = address.ok_or_else(illegal)?;
    // The brackets of an IPv4 address do away with its port.
    let port = port.filter(|_| address.is_ipv6() || !in_brackets);
    Ok((address, port))
}

/// An IPv4 address as the C library reads it: up to four numbers, decimal, octal or hexadecimal, of which the last fills what is left.
fn ipv4(text: &str) -> Option<Ipv4Addr> {
    let parts: Vec<_> = text.split('.').collect();
    let (last, first) = parts.split_last()?;
    if first.len() > 3 {
        return None;
    }
    let mut bits = 0_u32;
    for (part, shift) in first.iter().zip([24, 16, 8]) {
        bits |= part_of_ipv4(part).filter(|part| *part < 256)? << shift;
    }
    let room = 32 - 8 * first.len();
    let last = part_of_ipv4(last).filter(|part| u64::from(*part) < 1 << room)?;
    Some(Ipv4Addr::from_bits(bits | last))
}

fn part_of_ipv4(text: &str) -> Option<u32> {
    let (figures, radix) = match text.strip_prefix("0x").or(text.strip_prefix("0X")) {
        Some(figures) => (figures, 16),
        None if text.len() > 1 && text.starts_with('0') => (text, 8),
        None => (text, 10),
    };
    // A sign is none of it.
    figures.chars().all(|c| c.is_digit(radix)).then_some(())?;
    u32::from_str_radix(figures, radix).ok()
}
