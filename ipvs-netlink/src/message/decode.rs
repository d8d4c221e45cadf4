//! Decodes replies and requests. Everything is checked; a message is read whole or not at all.

use std::num::{NonZeroU16, NonZeroU32};

use super::{
    Change, Command, DecodeError, Query, Reply, Request,
    attribute::{
        Attribute, BACKUP, MASTER, ONE_PACKET, PERSISTENT, SCHEDULER_FLAGS_SHIFT, attributes,
        number::{command, daemon, dest, info, service, stats},
    },
};
use crate::{
    DaemonState, Destination, DestinationKey, Family, ForwardingMethod, GueChecksum, Info,
    InterfaceName, ListedDestination, ListedService, MulticastGroup, Netmask, Persistence,
    PersistenceEngine, PrefixLength, Protocol, Scheduler, SchedulerFlags, Service, ServiceKey,
    Stats, SyncDaemon, Thresholds, Timeouts, Tunnel, UnknownAttribute, Version, Weight,
};

impl Reply {
    /// Reads an answer of the kernel: the attributes that follow the header of generic netlink with
    /// this command.
    ///
    /// # Errors
    ///
    /// A [`DecodeError`] with the attribute. Unknown attributes are no error: they are returned as
    /// such.
    pub fn decode(command: u8, octets: &[u8]) -> Result<Self, DecodeError> {
        match Command::from_u8(command) {
            Some(Command::NewService) => {
                let top = TopLevel::read(octets)?;
                ServiceAttributes::read(top.service()?)?
                    .listed()
                    .map(Self::Service)
            }
            Some(Command::NewDest) => {
                let top = TopLevel::read(octets)?;
                DestinationAttributes::read(top.destination()?)?
                    .listed(None)
                    .map(Self::Destination)
            }
            Some(Command::NewDaemon) => {
                read_daemon(TopLevel::read(octets)?.daemon()?).map(Self::Daemon)
            }
            Some(Command::SetConfig) => TopLevel::read(octets)?.timeouts().map(Self::Timeouts),
            Some(Command::SetInfo) => read_info(octets).map(Self::Info),
            _ => Err(DecodeError::Command(command)),
        }
    }
}

impl Request {
    /// Reads a request: the attributes that follow the header of generic netlink with this command.
    /// Useful for tests that simulate the kernel, and to inspect recorded messages.
    ///
    /// # Errors
    ///
    /// A [`DecodeError`] with the attribute.
    pub fn decode(command: u8, octets: &[u8]) -> Result<Self, DecodeError> {
        let refused = DecodeError::Command(command);
        let command = Command::from_u8(command).ok_or_else(|| refused.clone())?;
        let top = TopLevel::read(octets)?;
        let service = || ServiceAttributes::read(top.service()?);
        let key = || service()?.key();
        let destination = || DestinationAttributes::read(top.destination()?);
        Ok(match command {
            Command::NewService => Change::AddService(service()?.service()?).into(),
            Command::SetService => Change::UpdateService(service()?.service()?).into(),
            Command::DelService => Change::DeleteService(key()?).into(),
            Command::GetService if top.service.is_some() => Query::Service(key()?).into(),
            Command::GetService => Query::Services.into(),
            Command::NewDest | Command::SetDest => {
                let service = key()?;
                let destination = destination()?.destination(Some(service.family()))?;
                if command == Command::NewDest {
                    Change::AddDestination {
                        service,
                        destination,
                    }
                    .into()
                } else {
                    Change::UpdateDestination {
                        service,
                        destination,
                    }
                    .into()
                }
            }
            Command::DelDest => {
                let service = key()?;
                let destination = destination()?.key(Some(service.family()))?;
                Change::DeleteDestination {
                    service,
                    destination,
                }
                .into()
            }
            Command::GetDest => Query::Destinations(key()?).into(),
            Command::NewDaemon => Change::StartDaemon(read_daemon(top.daemon()?)?).into(),
            Command::DelDaemon => Change::StopDaemon(read_daemon_state(top.daemon()?)?).into(),
            Command::GetDaemon => Query::Daemons.into(),
            Command::SetConfig => Change::SetTimeouts(top.timeouts_to_set()).into(),
            Command::GetConfig => Query::Timeouts.into(),
            Command::GetInfo => Query::Info.into(),
            Command::Zero if top.service.is_some() => Change::ZeroService(key()?).into(),
            Command::Zero => Change::ZeroAll.into(),
            Command::Flush => Change::Flush.into(),
            Command::SetInfo => return Err(refused),
        })
    }
}

/// Reads only the key of a listed service.
#[cfg(all(feature = "client", target_os = "linux"))]
pub(crate) fn listed_service_key(octets: &[u8]) -> Result<ServiceKey, DecodeError> {
    let is_needed = |kind| {
        let needed = [
            service::AF,
            service::PROTOCOL,
            service::ADDR,
            service::PORT,
            service::FWMARK,
        ];
        needed.contains(&kind)
    };
    let octets = TopLevel::read(octets)?.service()?;
    ServiceAttributes::read_some(octets, is_needed)?.key()
}

/// Reads only the key of a listed destination.
#[cfg(all(feature = "client", target_os = "linux"))]
pub(crate) fn listed_destination_key(octets: &[u8]) -> Result<DestinationKey, DecodeError> {
    let is_needed = |kind| [dest::ADDR, dest::PORT, dest::ADDR_FAMILY].contains(&kind);
    let octets = TopLevel::read(octets)?.destination()?;
    DestinationAttributes::read_some(octets, is_needed)?.key(None)
}

/// The attributes of the top level, except in an info reply, whose numbers mean something
/// else.
#[derive(Default)]
struct TopLevel<'a> {
    service: Option<&'a [u8]>,
    destination: Option<&'a [u8]>,
    daemon: Option<&'a [u8]>,
    tcp: Option<u32>,
    tcp_fin: Option<u32>,
    udp: Option<u32>,
}

impl<'a> TopLevel<'a> {
    const OBJECT: &'static str = "message";

    fn read(octets: &'a [u8]) -> Result<Self, DecodeError> {
        let mut found = Self::default();
        for attribute in attributes(Self::OBJECT, octets) {
            let attribute = attribute?;
            match attribute.kind {
                command::SERVICE => found.service = Some(attribute.value),
                command::DEST => found.destination = Some(attribute.value),
                command::DAEMON => found.daemon = Some(attribute.value),
                command::TIMEOUT_TCP => found.tcp = Some(attribute.u32()?),
                command::TIMEOUT_TCP_FIN => found.tcp_fin = Some(attribute.u32()?),
                command::TIMEOUT_UDP => found.udp = Some(attribute.u32()?),
                _ => {}
            }
        }
        Ok(found)
    }

    fn required<T>(value: Option<T>, number: u16) -> Result<T, DecodeError> {
        Attribute::required(Self::OBJECT, value, number)
    }

    fn service(&self) -> Result<&'a [u8], DecodeError> {
        Self::required(self.service, command::SERVICE)
    }

    fn destination(&self) -> Result<&'a [u8], DecodeError> {
        Self::required(self.destination, command::DEST)
    }

    fn daemon(&self) -> Result<&'a [u8], DecodeError> {
        Self::required(self.daemon, command::DAEMON)
    }

    fn timeouts(&self) -> Result<Timeouts, DecodeError> {
        Ok(Timeouts {
            tcp: Self::required(self.tcp, command::TIMEOUT_TCP)?,
            tcp_fin: Self::required(self.tcp_fin, command::TIMEOUT_TCP_FIN)?,
            udp: Self::required(self.udp, command::TIMEOUT_UDP)?,
        })
    }

    /// A missing timeout keeps the current value, as 0 does.
    fn timeouts_to_set(&self) -> Timeouts {
        Timeouts {
            tcp: self.tcp.unwrap_or(0),
            tcp_fin: self.tcp_fin.unwrap_or(0),
            udp: self.udp.unwrap_or(0),
        }
    }
}

/// The attributes of a service, before they are known to be complete.
#[derive(Default)]
struct ServiceAttributes<'a> {
    family: Option<Family>,
    protocol: Option<Protocol>,
    address: Option<Attribute<'a>>,
    port: Option<u16>,
    mark: Option<Attribute<'a>>,
    scheduler: Option<Scheduler>,
    flags: Option<u32>,
    timeout: Option<u32>,
    netmask: Option<Attribute<'a>>,
    engine: Option<PersistenceEngine>,
    stats: Option<Stats>,
    stats64: Option<Stats>,
    unknown: Vec<UnknownAttribute>,
}

impl<'a> ServiceAttributes<'a> {
    const OBJECT: &'static str = "service";

    fn read(octets: &'a [u8]) -> Result<Self, DecodeError> {
        Self::read_some(octets, |_| true)
    }

    fn read_some(octets: &'a [u8], is_needed: impl Fn(u16) -> bool) -> Result<Self, DecodeError> {
        let mut found = Self::default();
        for attribute in attributes(Self::OBJECT, octets) {
            let attribute = attribute?;
            match attribute.kind {
                kind if !is_needed(kind) => {}
                service::AF => found.family = Some(attribute.family()?),
                service::PROTOCOL => {
                    let protocol = Protocol::from_number(attribute.u16()?);
                    found.protocol = Some(
                        protocol.ok_or_else(|| attribute.refuse("neither TCP, UDP nor SCTP"))?,
                    );
                }
                service::ADDR => found.address = Some(attribute),
                service::PORT => found.port = Some(attribute.u16_be()?),
                service::FWMARK => found.mark = Some(attribute),
                service::SCHED_NAME => {
                    let name = Scheduler::new(attribute.text()?);
                    found.scheduler =
                        Some(name.map_err(|_| attribute.refuse("not a name of a scheduler"))?);
                }
                service::FLAGS => found.flags = Some(read_flags(attribute)?),
                service::TIMEOUT => found.timeout = Some(attribute.u32()?),
                service::NETMASK => found.netmask = Some(attribute),
                service::STATS => found.stats = Some(read_stats(attribute.value)?),
                service::STATS64 => found.stats64 = Some(read_stats(attribute.value)?),
                service::PE_NAME => {
                    found.engine =
                        match attribute.text()? {
                            "" => None,
                            name => Some(PersistenceEngine::new(name).map_err(|_| {
                                attribute.refuse("not a name of a persistence engine")
                            })?),
                        };
                }
                kind => found.unknown.push(UnknownAttribute {
                    kind,
                    value: attribute.value.to_vec(),
                }),
            }
        }
        Ok(found)
    }

    fn required<T>(value: Option<T>, number: u16) -> Result<T, DecodeError> {
        Attribute::required(Self::OBJECT, value, number)
    }

    fn key(&self) -> Result<ServiceKey, DecodeError> {
        let family = Self::required(self.family, service::AF)?;
        if let Some(mark) = self.mark {
            let number =
                NonZeroU32::new(mark.u32()?).ok_or_else(|| mark.refuse("no mark at all"))?;
            return Ok(ServiceKey::FirewallMark {
                mark: number,
                family,
            });
        }
        let address = Self::required(self.address, service::ADDR)?;
        Ok(ServiceKey::Address {
            protocol: Self::required(self.protocol, service::PROTOCOL)?,
            address: address.address(family)?,
            port: Self::required(self.port, service::PORT)?,
        })
    }

    fn netmask(&self, family: Family) -> Result<Netmask, DecodeError> {
        let netmask = Self::required(self.netmask, service::NETMASK)?;
        match family {
            Family::V4 => netmask.ipv4().map(Netmask::V4),
            Family::V6 => u8::try_from(netmask.u32()?)
                .ok()
                .and_then(|bits| PrefixLength::new(bits).ok())
                .map(Netmask::V6)
                .ok_or_else(|| netmask.refuse("not the length of a prefix, 1 to 128")),
        }
    }

    fn service(&self) -> Result<Service, DecodeError> {
        let key = self.key()?;
        let flags = Self::required(self.flags, service::FLAGS)?;
        let timeout = Self::required(self.timeout, service::TIMEOUT)?;
        let persistence = if flags & PERSISTENT == 0 {
            None
        } else {
            Some(Persistence {
                timeout,
                netmask: self.netmask(key.family())?,
            })
        };
        let scheduler = Self::required(self.scheduler, service::SCHED_NAME)?;
        let mut found = Service::new(key, scheduler).with_kernel_persistence(persistence);
        found.one_packet = flags & ONE_PACKET != 0;
        found.scheduler_flags =
            SchedulerFlags::from_bits((flags >> SCHEDULER_FLAGS_SHIFT & 7) as u8);
        found.persistence_engine = self.engine;
        Ok(found)
    }

    fn listed(self) -> Result<ListedService, DecodeError> {
        Ok(ListedService {
            service: self.service()?,
            stats: self.stats64.or(self.stats).unwrap_or_default(),
            unknown: self.unknown,
        })
    }
}

/// Reads flags: first their values, then a mask of the flags that apply.
fn read_flags(attribute: Attribute<'_>) -> Result<u32, DecodeError> {
    let (flags, mask) = attribute.u32_pair()?;
    Ok(flags & mask)
}

/// The attributes of a destination, before they are known to be complete.
#[derive(Default)]
struct DestinationAttributes<'a> {
    address: Option<Attribute<'a>>,
    port: Option<u16>,
    family: Option<Family>,
    method: Option<Attribute<'a>>,
    weight: Option<Attribute<'a>>,
    upper: Option<u32>,
    lower: Option<u32>,
    tunnel: Option<Attribute<'a>>,
    tunnel_port: Option<Attribute<'a>>,
    tunnel_flags: Option<Attribute<'a>>,
    active: Option<u32>,
    inactive: Option<u32>,
    persistent: Option<u32>,
    stats: Option<Stats>,
    stats64: Option<Stats>,
    unknown: Vec<UnknownAttribute>,
}

impl<'a> DestinationAttributes<'a> {
    const OBJECT: &'static str = "destination";

    fn read(octets: &'a [u8]) -> Result<Self, DecodeError> {
        Self::read_some(octets, |_| true)
    }

    fn read_some(octets: &'a [u8], is_needed: impl Fn(u16) -> bool) -> Result<Self, DecodeError> {
        let mut found = Self::default();
        for attribute in attributes(Self::OBJECT, octets) {
            let attribute = attribute?;
            match attribute.kind {
                kind if !is_needed(kind) => {}
                dest::ADDR => found.address = Some(attribute),
                dest::PORT => found.port = Some(attribute.u16_be()?),
                // Zero stands for the family of the service.
                dest::ADDR_FAMILY if attribute.u16()? == 0 => {}
                dest::ADDR_FAMILY => found.family = Some(attribute.family()?),
                dest::FWD_METHOD => found.method = Some(attribute),
                dest::WEIGHT => found.weight = Some(attribute),
                dest::U_THRESH => found.upper = Some(attribute.u32()?),
                dest::L_THRESH => found.lower = Some(attribute.u32()?),
                dest::TUN_TYPE => found.tunnel = Some(attribute),
                dest::TUN_PORT => found.tunnel_port = Some(attribute),
                dest::TUN_FLAGS => found.tunnel_flags = Some(attribute),
                dest::ACTIVE_CONNS => found.active = Some(attribute.u32()?),
                dest::INACT_CONNS => found.inactive = Some(attribute.u32()?),
                dest::PERSIST_CONNS => found.persistent = Some(attribute.u32()?),
                dest::STATS => found.stats = Some(read_stats(attribute.value)?),
                dest::STATS64 => found.stats64 = Some(read_stats(attribute.value)?),
                kind => found.unknown.push(UnknownAttribute {
                    kind,
                    value: attribute.value.to_vec(),
                }),
            }
        }
        Ok(found)
    }

    fn required<T>(value: Option<T>, number: u16) -> Result<T, DecodeError> {
        Attribute::required(Self::OBJECT, value, number)
    }

    /// The key. Kernels send the family from Linux 3.18 on; a request may leave it to the service.
    fn key(&self, of_the_service: Option<Family>) -> Result<DestinationKey, DecodeError> {
        let family = Self::required(self.family.or(of_the_service), dest::ADDR_FAMILY)?;
        let address = Self::required(self.address, dest::ADDR)?;
        Ok(DestinationKey {
            address: address.address(family)?,
            port: Self::required(self.port, dest::PORT)?,
        })
    }

    fn forwarding(&self) -> Result<ForwardingMethod, DecodeError> {
        let method = Self::required(self.method, dest::FWD_METHOD)?;
        // The field holds other flags of a connection too: the method is in the last three bits.
        Ok(match method.u32()? & 7 {
            0 => ForwardingMethod::Masquerade,
            1 => ForwardingMethod::Local,
            2 => ForwardingMethod::Tunnel(self.tunnel()?),
            3 => ForwardingMethod::DirectRoute,
            4 => ForwardingMethod::Bypass,
            _ => return Err(method.refuse("not a forwarding method")),
        })
    }

    fn tunnel(&self) -> Result<Tunnel, DecodeError> {
        let Some(kind) = self.tunnel else {
            return Ok(Tunnel::IpIp);
        };
        let flags = self.tunnel_flags.map_or(Ok(0), |flags| flags.u16())?;
        let refuse_flags = || match self.tunnel_flags {
            Some(attribute) => attribute.refuse("not a checksum of this tunnel"),
            None => Attribute::missing(Self::OBJECT, dest::TUN_FLAGS),
        };
        Ok(match kind.u8()? {
            0 => Tunnel::IpIp,
            1 => {
                let port = Self::required(self.tunnel_port, dest::TUN_PORT)?;
                Tunnel::Gue {
                    port: NonZeroU16::new(port.u16_be()?)
                        .ok_or_else(|| port.refuse("a GUE tunnel needs a port"))?,
                    checksum: match flags {
                        0 => GueChecksum::None,
                        1 => GueChecksum::Full,
                        2 => GueChecksum::Remote,
                        _ => return Err(refuse_flags()),
                    },
                }
            }
            2 => match flags {
                0 => Tunnel::Gre { checksum: false },
                1 => Tunnel::Gre { checksum: true },
                _ => return Err(refuse_flags()),
            },
            _ => return Err(kind.refuse("not a kind of tunnel")),
        })
    }

    fn destination(&self, of_the_service: Option<Family>) -> Result<Destination, DecodeError> {
        let weight = Self::required(self.weight, dest::WEIGHT)?;
        let upper = Self::required(self.upper, dest::U_THRESH)?;
        let lower = Self::required(self.lower, dest::L_THRESH)?;
        Ok(Destination {
            key: self.key(of_the_service)?,
            forwarding: self.forwarding()?,
            weight: Weight::new(weight.u32()?)
                .map_err(|_| weight.refuse("not a weight, 0 to 2147483647"))?,
            thresholds: Thresholds::from_kernel(upper, lower),
        })
    }

    fn listed(self, of_the_service: Option<Family>) -> Result<ListedDestination, DecodeError> {
        Ok(ListedDestination {
            destination: self.destination(of_the_service)?,
            active_connections: Self::required(self.active, dest::ACTIVE_CONNS)?,
            inactive_connections: Self::required(self.inactive, dest::INACT_CONNS)?,
            persistent_connections: Self::required(self.persistent, dest::PERSIST_CONNS)?,
            stats: self.stats64.or(self.stats).unwrap_or_default(),
            unknown: self.unknown,
        })
    }
}

const DAEMON: &str = "sync daemon";

fn read_daemon_state(octets: &[u8]) -> Result<DaemonState, DecodeError> {
    for attribute in attributes(DAEMON, octets) {
        let attribute = attribute?;
        if attribute.kind == daemon::STATE {
            return daemon_state(attribute);
        }
    }
    Err(Attribute::missing(DAEMON, daemon::STATE))
}

fn daemon_state(attribute: Attribute<'_>) -> Result<DaemonState, DecodeError> {
    match attribute.u32()? {
        MASTER => Ok(DaemonState::Master),
        BACKUP => Ok(DaemonState::Backup),
        _ => Err(attribute.refuse("neither master nor backup")),
    }
}

fn read_daemon(octets: &[u8]) -> Result<SyncDaemon, DecodeError> {
    let (mut state, mut interface, mut sync_id) = (None, None, None);
    let (mut max_length, mut group, mut port, mut ttl) = (None, None, None, None);
    for attribute in attributes(DAEMON, octets) {
        let attribute = attribute?;
        let not_multicast = || attribute.refuse("not a multicast group");
        match attribute.kind {
            daemon::STATE => state = Some(daemon_state(attribute)?),
            daemon::MCAST_IFN => {
                let name = InterfaceName::new(attribute.text()?);
                interface = Some(name.map_err(|_| attribute.refuse("not a name of an interface"))?);
            }
            daemon::SYNC_ID => {
                let id = u8::try_from(attribute.u32()?);
                sync_id = Some(id.map_err(|_| attribute.refuse("not a sync id, 0 to 255"))?);
            }
            daemon::SYNC_MAXLEN => max_length = Some(attribute.u16()?),
            daemon::MCAST_GROUP => {
                group = Some(MulticastGroup::new(attribute.ipv4()?).map_err(|_| not_multicast())?);
            }
            daemon::MCAST_GROUP6 => {
                group = Some(MulticastGroup::new(attribute.ipv6()?).map_err(|_| not_multicast())?);
            }
            daemon::MCAST_PORT => port = Some(attribute.u16()?),
            daemon::MCAST_TTL => ttl = Some(attribute.u8()?),
            _ => {}
        }
    }
    Ok(SyncDaemon {
        state: Attribute::required(DAEMON, state, daemon::STATE)?,
        interface: Attribute::required(DAEMON, interface, daemon::MCAST_IFN)?,
        sync_id: Attribute::required(DAEMON, sync_id, daemon::SYNC_ID)?,
        max_length,
        group,
        port,
        ttl,
    })
}

fn read_info(octets: &[u8]) -> Result<Info, DecodeError> {
    const OBJECT: &str = "info";
    let (mut version, mut size) = (None, None);
    for attribute in attributes(OBJECT, octets) {
        let attribute = attribute?;
        match attribute.kind {
            info::VERSION => {
                let [_, major, minor, patch] = attribute.u32()?.to_be_bytes();
                version = Some(Version {
                    major,
                    minor,
                    patch,
                });
            }
            info::CONN_TAB_SIZE => size = Some(attribute.u32()?),
            _ => {}
        }
    }
    Ok(Info {
        version: Attribute::required(OBJECT, version, info::VERSION)?,
        connection_table_size: Attribute::required(OBJECT, size, info::CONN_TAB_SIZE)?,
    })
}

/// Statistics in 32 or in 64 bit: numbers and meanings are the same. A missing counter is 0.
fn read_stats(octets: &[u8]) -> Result<Stats, DecodeError> {
    let mut found = Stats::default();
    for attribute in attributes("statistics", octets) {
        let attribute = attribute?;
        let field = match attribute.kind {
            stats::CONNS => &mut found.connections,
            stats::INPKTS => &mut found.incoming_packets,
            stats::OUTPKTS => &mut found.outgoing_packets,
            stats::INBYTES => &mut found.incoming_bytes,
            stats::OUTBYTES => &mut found.outgoing_bytes,
            stats::CPS => &mut found.rates.connections,
            stats::INPPS => &mut found.rates.incoming_packets,
            stats::OUTPPS => &mut found.rates.outgoing_packets,
            stats::INBPS => &mut found.rates.incoming_bytes,
            stats::OUTBPS => &mut found.rates.outgoing_bytes,
            // Padding, which some kernels put before 64-bit numbers, and counters of newer kernels.
            _ => continue,
        };
        *field = attribute.counter()?;
    }
    Ok(found)
}
