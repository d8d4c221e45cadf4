use std::net::IpAddr;
use std::num::{NonZeroU16, NonZeroU32};

use super::{
    Form, Grammar, ParseError, Problem,
    options::{Name, Options, Verb},
    value,
    word::Word,
};
use crate::{
    DaemonState, Destination, DestinationKey, Family, ForwardingMethod, GueChecksum, InterfaceName,
    MulticastGroup, NameError, Netmask, Persistence, PersistenceEngine, PrefixLength, Protocol,
    Scheduler, SchedulerFlags, Service, ServiceKey, SyncDaemon, Thresholds, Timeouts, Tunnel,
    Weight, message::Change,
};

/// A command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command {
    /// Change something: every command except the following.
    Change(Change),
    /// `-L`: list something.
    List(List),
    /// `-S`: write the table as a text.
    Save {
        /// `-n`: with numbers for addresses and ports.
        numeric: bool,
    },
    /// `-R`: carry out a text.
    Restore,
    /// `-h`.
    Help,
    /// `-v`.
    Version,
}

/// A list and its format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct List {
    /// The content of the list.
    pub listing: Listing,
    /// The only service in it; `None` for all.
    pub service: Option<ServiceKey>,
    /// `-n`: numbers for addresses and ports.
    pub numeric: bool,
    /// `-X`: long numbers in full.
    pub exact: bool,
    /// Whether services and destinations are sorted; not so with `--nosort`.
    pub sorted: bool,
}

/// The content of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Listing {
    /// Services and destinations with their forwarding methods, weights and connections.
    Table,
    /// `--tun-info`: the same with tunnels.
    Tunnels,
    /// `--thresholds`: limits and connections.
    Thresholds,
    /// `--persistent-conn`: weights, connections and clients that are remembered.
    Persistence,
    /// `--stats`: counters.
    Stats,
    /// `--rate`: counters per second.
    Rates,
    /// `-c`: connections.
    Connections {
        /// `--persistent-conn`: with the data of the persistence engine.
        engine_data: bool,
    },
    /// `--timeout`: how long connections are kept.
    Timeouts,
    /// `--daemon`: the sync daemons.
    Daemons,
}

const SERVICE: [Name; 5] = [Name::Tcp, Name::Udp, Name::Sctp, Name::Mark, Name::Ipv6];

const SETTINGS: [Name; 11] = [
    Name::Tcp,
    Name::Udp,
    Name::Sctp,
    Name::Mark,
    Name::Ipv6,
    Name::Scheduler,
    Name::SchedulerFlags,
    Name::Persistent,
    Name::Netmask,
    Name::Engine,
    Name::OnePacket,
];

const SERVER: [Name; 7] = [
    Name::Tcp,
    Name::Udp,
    Name::Sctp,
    Name::Mark,
    Name::Ipv6,
    Name::RealServer,
    Name::OwnPort,
];

const SERVER_SETTINGS: [Name; 20] = [
    Name::Tcp,
    Name::Udp,
    Name::Sctp,
    Name::Mark,
    Name::Ipv6,
    Name::RealServer,
    Name::OwnPort,
    Name::DirectRoute,
    Name::Tunnel,
    Name::Masquerade,
    Name::Local,
    Name::Bypass,
    Name::Weight,
    Name::Upper,
    Name::Lower,
    Name::TunnelType,
    Name::TunnelPort,
    Name::NoChecksum,
    Name::Checksum,
    Name::RemoteChecksum,
];

const LIST: [Name; 17] = [
    Name::Tcp,
    Name::Udp,
    Name::Sctp,
    Name::Mark,
    Name::Ipv6,
    Name::Numeric,
    Name::Connections,
    Name::Timeouts,
    Name::Daemons,
    Name::Stats,
    Name::Rates,
    Name::Exact,
    Name::Thresholds,
    Name::PersistentConnections,
    Name::TunnelInfo,
    Name::NoSort,
    // Accepted and ignored.
    Name::SyncId,
];

const DAEMON: [Name; 6] = [
    Name::SyncId,
    Name::Interface,
    Name::Group,
    Name::Port,
    Name::Ttl,
    Name::MaxLength,
];

/// The greatest timeout that ipvsadm takes: 31 days, in seconds.
const LONGEST_TIMEOUT: u32 = 31 * 24 * 60 * 60;

/// The interface of a sync daemon for which none is named.
const DEFAULT_INTERFACE: &str = "eth0";

pub(crate) fn read(grammar: &Grammar<'_>, words: &[Word<'_>]) -> Result<Command, ParseError> {
    if words.is_empty() {
        return Ok(Command::List(List {
            listing: Listing::Table,
            service: None,
            numeric: false,
            exact: false,
            sorted: true,
        }));
    }
    let options = Options::read(grammar.form, words)?;
    Reader {
        grammar,
        options: &options,
    }
    .command()
}

struct Reader<'r, 'a> {
    grammar: &'r Grammar<'r>,
    options: &'r Options<'a>,
}

impl Reader<'_, '_> {
    fn command(&self) -> Result<Command, ParseError> {
        let options = self.options;
        let change = match options.verb {
            Verb::Help => return Ok(Command::Help),
            Verb::Version => return Ok(Command::Version),
            Verb::List => return self.list().map(Command::List),
            Verb::Save => {
                options.only(&[Name::Numeric])?;
                return Ok(Command::Save {
                    numeric: options.has(Name::Numeric),
                });
            }
            Verb::Restore => {
                options.only(&[])?;
                return Ok(Command::Restore);
            }
            Verb::AddService => Change::AddService(self.settings()?),
            Verb::EditService => Change::UpdateService(self.settings()?),
            Verb::DeleteService => {
                options.only(&SERVICE)?;
                Change::DeleteService(self.service()?)
            }
            Verb::AddServer => {
                let (service, destination) = self.destination()?;
                Change::AddDestination {
                    service,
                    destination,
                }
            }
            Verb::EditServer => {
                let (service, destination) = self.destination()?;
                Change::UpdateDestination {
                    service,
                    destination,
                }
            }
            Verb::DeleteServer => {
                options.only(&SERVER)?;
                let service = self.service()?;
                let destination = self.server(service)?;
                Change::DeleteDestination {
                    service,
                    destination,
                }
            }
            Verb::Clear => {
                options.only(&[])?;
                Change::Flush
            }
            Verb::Zero => {
                options.only(&SERVICE)?;
                match self.service_if_any()? {
                    Some(service) => Change::ZeroService(service),
                    None => Change::ZeroAll,
                }
            }
            Verb::Set => Change::SetTimeouts(self.timeouts()?),
            Verb::StartDaemon => Change::StartDaemon(self.daemon()?),
            Verb::StopDaemon => {
                options.only(&[Name::SyncId])?;
                Change::StopDaemon(self.state()?)
            }
        };
        Ok(Command::Change(change))
    }

    fn strict(&self) -> bool {
        self.grammar.form == Form::Ipvsadm
    }

    fn number(
        &self,
        name: Name,
        field: &'static str,
        minimum: u32,
        maximum: u32,
    ) -> Result<Option<u32>, ParseError> {
        self.options
            .value(name)
            .map(|word| value::number(word, field, minimum, maximum))
            .transpose()
    }

    fn short(
        &self,
        name: Name,
        field: &'static str,
        minimum: u16,
        maximum: u16,
    ) -> Result<Option<u16>, ParseError> {
        self.options
            .value(name)
            .map(|word| value::short(word, field, minimum, maximum))
            .transpose()
    }

    /// A name; an empty one counts as none.
    fn name<T>(
        &self,
        name: Name,
        new: impl Fn(&str) -> Result<T, NameError>,
    ) -> Result<Option<T>, ParseError> {
        self.options
            .value(name)
            .filter(|word| !word.text.is_empty())
            .map(|word| new(word.text).map_err(|error| word.refused(Problem::Name(error))))
            .transpose()
    }

    fn service(&self) -> Result<ServiceKey, ParseError> {
        self.service_if_any()?.ok_or_else(|| {
            self.options
                .refused(Problem::Lacks("a service: -t, -u, --sctp-service or -f"))
        })
    }

    fn service_if_any(&self) -> Result<Option<ServiceKey>, ParseError> {
        let by_address = [
            (Name::Tcp, Protocol::Tcp),
            (Name::Udp, Protocol::Udp),
            (Name::Sctp, Protocol::Sctp),
        ];
        for (name, protocol) in by_address {
            if let Some(word) = self.options.value(name) {
                let (address, port) =
                    value::endpoint(self.grammar, word, "virtual service", protocol)?;
                return Ok(Some(ServiceKey::Address {
                    protocol,
                    address,
                    port: port.unwrap_or(0),
                }));
            }
        }
        let mark = self.number(Name::Mark, "firewall mark", 1, u32::MAX)?;
        Ok(mark.and_then(NonZeroU32::new).map(|mark| {
            let family = if self.options.has(Name::Ipv6) {
                Family::V6
            } else {
                Family::V4
            };
            ServiceKey::mark(mark, family)
        }))
    }

    fn settings(&self) -> Result<Service, ParseError> {
        let options = self.options;
        options.only(&SETTINGS)?;
        let key = self.service()?;
        let scheduler = self
            .name(Name::Scheduler, Scheduler::new)?
            .unwrap_or(Scheduler::WLC);
        let mut service = Service::new(key, scheduler);
        service.scheduler_flags = self.scheduler_flags(scheduler)?;
        service.persistence_engine = self.name(Name::Engine, PersistenceEngine::new)?;
        // Without persistence a netmask has no effect, but is checked.
        let netmask = self.netmask(key.family())?;
        if let Some(persistent) = options.get(Name::Persistent) {
            let (shortest, longest) = if self.strict() {
                (1, LONGEST_TIMEOUT)
            } else {
                (0, Persistence::MAX_TIMEOUT)
            };
            let timeout = self
                .number(
                    Name::Persistent,
                    "persistence timeout in seconds",
                    shortest,
                    longest,
                )?
                .unwrap_or(Persistence::DEFAULT_TIMEOUT);
            // The two reasons for which this fails are excluded above.
            service
                .set_persistence(Persistence { timeout, netmask })
                .map_err(|_| persistent.refused(Problem::Conflict("the service")))?;
        }
        if let Some(one_packet) = options.get(Name::OnePacket) {
            service.one_packet = true;
            if self.strict() && options.one_of(&[Name::Tcp, Name::Sctp]).is_some() {
                return Err(one_packet.refused(Problem::Conflict(
                    "TCP and SCTP: it is for UDP and firewall marks",
                )));
            }
        }
        let any_port = matches!(key, ServiceKey::Address { port: 0, .. });
        if self.strict() && any_port && service.persistence().is_none() {
            return Err(options.refused(Problem::Lacks(
                "a port, or -p where the service has all ports",
            )));
        }
        Ok(service)
    }

    fn netmask(&self, family: Family) -> Result<Netmask, ParseError> {
        let Some(word) = self.options.value(Name::Netmask) else {
            return Ok(Netmask::host(family));
        };
        match family {
            Family::V4 => value::ipv4(word.text).map(Netmask::V4).ok_or_else(|| {
                word.refused(Problem::Value {
                    field: "netmask",
                    expected: "an IPv4 netmask, as 255.255.255.0",
                })
            }),
            Family::V6 => {
                let bits = value::short(word, "prefix length of the netmask", 1, 128)?;
                let length = u8::try_from(bits)
                    .ok()
                    .and_then(|bits| PrefixLength::new(bits).ok());
                Ok(Netmask::V6(length.unwrap_or(PrefixLength::HOST)))
            }
        }
    }

    fn scheduler_flags(&self, scheduler: Scheduler) -> Result<SchedulerFlags, ParseError> {
        let mut flags = SchedulerFlags::NONE;
        let Some(word) = self.options.value(Name::SchedulerFlags) else {
            return Ok(flags);
        };
        for name in word.text.split(',').filter(|name| !name.is_empty()) {
            let (flag, only_with) = match name {
                "flag-1" => (SchedulerFlags::FLAG_1, None),
                "flag-2" => (SchedulerFlags::FLAG_2, None),
                "flag-3" => (SchedulerFlags::FLAG_3, None),
                "sh-fallback" => (SchedulerFlags::SH_FALLBACK, Some(Scheduler::SH)),
                "sh-port" => (SchedulerFlags::SH_PORT, Some(Scheduler::SH)),
                "mh-fallback" => (SchedulerFlags::MH_FALLBACK, Some(Scheduler::MH)),
                "mh-port" => (SchedulerFlags::MH_PORT, Some(Scheduler::MH)),
                _ => {
                    return Err(word.refused(Problem::Value {
                        field: "scheduler flags",
                        expected: "flag-1, flag-2, flag-3, sh-fallback, sh-port, mh-fallback, mh-port, with commas between them",
                    }));
                }
            };
            if only_with.is_some_and(|only| only != scheduler) {
                return Err(word.refused(Problem::Conflict(
                    "the scheduler: sh-fallback and sh-port are for sh, mh-fallback and mh-port for mh",
                )));
            }
            flags |= flag;
        }
        Ok(flags)
    }

    /// The destination that `-r` names, with the port of the service where it names none.
    fn server(&self, service: ServiceKey) -> Result<DestinationKey, ParseError> {
        let lacks = || self.options.refused(Problem::Lacks("a real server: -r"));
        let word = self.options.value(Name::RealServer).ok_or_else(lacks)?;
        let (protocol, service_port) = match service {
            ServiceKey::Address { protocol, port, .. } => (protocol, port),
            ServiceKey::FirewallMark { .. } => (Protocol::Tcp, 0),
        };
        let (address, port) = value::endpoint(self.grammar, word, "real server", protocol)?;
        Ok(DestinationKey {
            address,
            port: port.unwrap_or(service_port),
        })
    }

    fn destination(&self) -> Result<(ServiceKey, Destination), ParseError> {
        let options = self.options;
        options.only(&SERVER_SETTINGS)?;
        let service = self.service()?;
        let mut key = self.server(service)?;
        let forwarding = self.forwarding()?;
        let keeps_port = match forwarding {
            ForwardingMethod::DirectRoute | ForwardingMethod::Tunnel(_) => {
                options.has(Name::OwnPort)
            }
            _ => true,
        };
        if let ServiceKey::Address { port, .. } = service
            && !keeps_port
        {
            key.port = port;
        }
        let tunnels = matches!(forwarding, ForwardingMethod::Tunnel(_));
        if self.strict()
            && !tunnels
            && key.family() != service.family()
            && let Some(server) = options.value(Name::RealServer)
        {
            return Err(server.refused(Problem::Lacks(
                "the address family of the service, or a tunnel (-i)",
            )));
        }
        let weight = self.number(Name::Weight, "weight", 0, Weight::MAX.get())?;
        let weight = weight
            .and_then(|weight| Weight::new(weight).ok())
            .unwrap_or_default();
        Ok((
            service,
            Destination {
                key,
                forwarding,
                weight,
                thresholds: self.thresholds()?,
            },
        ))
    }

    fn thresholds(&self) -> Result<Thresholds, ParseError> {
        let most = i32::MAX.cast_unsigned();
        let upper = self
            .number(Name::Upper, "upper threshold", 0, most)?
            .unwrap_or(0);
        // The kernel refuses a lower limit above the upper one; ipvsadm leaves that to it.
        let lower = self
            .number(Name::Lower, "lower threshold", 0, upper)?
            .unwrap_or(0);
        Ok(Thresholds::new(upper, lower).unwrap_or(Thresholds::NONE))
    }

    fn forwarding(&self) -> Result<ForwardingMethod, ParseError> {
        let options = self.options;
        if options.has(Name::Tunnel) {
            return self.tunnel().map(ForwardingMethod::Tunnel);
        }
        let of_tunnels = [
            Name::TunnelType,
            Name::TunnelPort,
            Name::NoChecksum,
            Name::Checksum,
            Name::RemoteChecksum,
        ];
        if let Some(given) = options.one_of(&of_tunnels) {
            return Err(given.refused(Problem::Lacks("a tunnel: -i")));
        }
        Ok(if options.has(Name::Masquerade) {
            ForwardingMethod::Masquerade
        } else if options.has(Name::Local) {
            ForwardingMethod::Local
        } else if options.has(Name::Bypass) {
            ForwardingMethod::Bypass
        } else {
            ForwardingMethod::DirectRoute
        })
    }

    fn tunnel(&self) -> Result<Tunnel, ParseError> {
        let options = self.options;
        let without = |names: &[Name], kind| match options.one_of(names) {
            Some(given) => Err(given.refused(Problem::Conflict(kind))),
            None => Ok(()),
        };
        let checksums = [Name::NoChecksum, Name::Checksum, Name::RemoteChecksum];
        if let Some(first) = options.one_of(&checksums)
            && let Some(second) = checksums
                .iter()
                .filter_map(|name| options.get(*name))
                .find(|given| given.name != first.name)
        {
            return Err(second.refused(Problem::Conflict(first.name.long())));
        }
        let Some(kind) = options.value(Name::TunnelType) else {
            without(&checksums, "tunnels of type ipip")?;
            without(&[Name::TunnelPort], "tunnels of type ipip")?;
            return Ok(Tunnel::IpIp);
        };
        match kind.text {
            "ipip" => {
                without(&checksums, "tunnels of type ipip")?;
                without(&[Name::TunnelPort], "tunnels of type ipip")?;
                Ok(Tunnel::IpIp)
            }
            "gue" => {
                let port = self
                    .short(Name::TunnelPort, "tunnel port", 1, u16::MAX)?
                    .and_then(NonZeroU16::new)
                    .ok_or_else(|| kind.refused(Problem::Lacks("a port: --tun-port")))?;
                let checksum = if options.has(Name::Checksum) {
                    GueChecksum::Full
                } else if options.has(Name::RemoteChecksum) {
                    GueChecksum::Remote
                } else {
                    GueChecksum::None
                };
                Ok(Tunnel::Gue { port, checksum })
            }
            "gre" => {
                without(
                    &[Name::TunnelPort, Name::RemoteChecksum],
                    "tunnels of type gre",
                )?;
                let checksum = options.has(Name::Checksum);
                Ok(Tunnel::Gre { checksum })
            }
            _ => Err(kind.refused(Problem::Value {
                field: "tunnel type",
                expected: "ipip, gue or gre",
            })),
        }
    }

    fn list(&self) -> Result<List, ParseError> {
        let options = self.options;
        options.only(&LIST)?;
        let service = self.service_if_any()?;
        // At most one of these options selects the content of a list.
        let alone = [
            Name::Connections,
            Name::Timeouts,
            Name::Daemons,
            Name::Tcp,
            Name::Udp,
            Name::Sctp,
            Name::Mark,
        ];
        let first = options.one_of(&alone);
        if let Some(first) = first
            && let Some(second) = alone
                .iter()
                .filter_map(|name| options.get(*name))
                .find(|given| given.name != first.name)
        {
            return Err(second.refused(Problem::Conflict(first.name.long())));
        }
        let no_columns: &[Name] = match first.map(|given| given.name) {
            Some(Name::Connections) => &[Name::Stats, Name::Rates, Name::Thresholds],
            Some(Name::Timeouts | Name::Daemons) => &[
                Name::Stats,
                Name::Rates,
                Name::Thresholds,
                Name::PersistentConnections,
            ],
            _ => &[],
        };
        if let (Some(first), Some(column)) = (first, options.one_of(no_columns)) {
            return Err(column.refused(Problem::Conflict(first.name.long())));
        }
        // Several column options are allowed: the first of these applies.
        let listings = [
            (
                Name::Connections,
                Listing::Connections {
                    engine_data: options.has(Name::PersistentConnections),
                },
            ),
            (Name::Timeouts, Listing::Timeouts),
            (Name::Daemons, Listing::Daemons),
            (Name::Stats, Listing::Stats),
            (Name::Rates, Listing::Rates),
            (Name::Thresholds, Listing::Thresholds),
            (Name::PersistentConnections, Listing::Persistence),
            (Name::TunnelInfo, Listing::Tunnels),
        ];
        let listing = listings
            .into_iter()
            .find(|(name, _)| options.has(*name))
            .map_or(Listing::Table, |(_, listing)| listing);
        Ok(List {
            listing,
            service,
            numeric: options.has(Name::Numeric),
            exact: options.has(Name::Exact),
            sorted: !options.has(Name::NoSort),
        })
    }

    fn timeouts(&self) -> Result<Timeouts, ParseError> {
        let mut options = self.options.clone();
        let values = std::mem::take(&mut options.rest);
        options.only(&[])?;
        let [tcp, tcp_fin, udp, rest @ ..] = &values[..] else {
            return Err(options.refused(Problem::Lacks(
                "three timeouts: TCP, TCP after a FIN, UDP; 0 keeps one",
            )));
        };
        if let Some(word) = rest.first() {
            return Err(word.refused(Problem::UnexpectedWord));
        }
        let timeout = |word: &Word<'_>, field| value::number(*word, field, 0, LONGEST_TIMEOUT);
        Ok(Timeouts {
            tcp: timeout(tcp, "TCP timeout in seconds")?,
            tcp_fin: timeout(tcp_fin, "TCP FIN timeout in seconds")?,
            udp: timeout(udp, "UDP timeout in seconds")?,
        })
    }

    fn state(&self) -> Result<DaemonState, ParseError> {
        let word = self.options.value;
        let word = word.ok_or_else(|| self.options.refused(Problem::MissingValue))?;
        match word.text {
            "master" => Ok(DaemonState::Master),
            "backup" => Ok(DaemonState::Backup),
            _ => Err(word.refused(Problem::Value {
                field: "sync daemon",
                expected: "master or backup",
            })),
        }
    }

    fn daemon(&self) -> Result<SyncDaemon, ParseError> {
        let options = self.options;
        let state = self.state()?;
        options.only(&DAEMON)?;
        let interface = match self.name(Name::Interface, InterfaceName::new)? {
            Some(interface) => interface,
            None => InterfaceName::new(DEFAULT_INTERFACE)
                .map_err(|error| options.refused(Problem::Name(error)))?,
        };
        let octet = |number: u16| u8::try_from(number).unwrap_or(u8::MAX);
        let sync_id = self.short(Name::SyncId, "sync ID", 0, 255)?;
        let ttl = self.short(Name::Ttl, "TTL of the multicasts", 1, 255)?;
        Ok(SyncDaemon {
            max_length: self.short(Name::MaxLength, "length of sync messages", 1, 65507)?,
            group: self.group()?,
            port: self.short(Name::Port, "port of the multicasts", 1, u16::MAX)?,
            ttl: ttl.map(octet),
            ..SyncDaemon::new(state, interface, sync_id.map_or(0, octet))
        })
    }

    fn group(&self) -> Result<Option<MulticastGroup>, ParseError> {
        let Some(word) = self.options.value(Name::Group) else {
            return Ok(None);
        };
        let group = word
            .text
            .parse::<IpAddr>()
            .ok()
            .and_then(|address| MulticastGroup::new(address).ok());
        group.map(Some).ok_or_else(|| {
            word.refused(Problem::Value {
                field: "multicast group",
                expected: "a multicast address, as 224.0.0.81 or ff02::81",
            })
        })
    }
}
