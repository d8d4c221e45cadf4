//! Requests and replies as octets.

use std::net::IpAddr;

use super::{
    Change, Query, Reply, Request,
    attribute::{
        AF_INET, AF_INET6, BACKUP, KNOWN_FLAGS, MASTER, ONE_PACKET, PERSISTENT,
        SCHEDULER_FLAGS_SHIFT, Writer,
        number::{command, daemon, dest, info, service, stats},
    },
};
use crate::{
    DaemonState, Destination, DestinationKey, Family, ForwardingMethod, GueChecksum, Netmask,
    Service, ServiceKey, Stats, SyncDaemon, Timeouts, Tunnel, UnknownAttribute,
};

impl Request {
    /// The number of octets that [`encode`](Self::encode) writes.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        Writer::measure(|out| self.write(out))
    }

    /// Writes the attributes, which follow the header of generic netlink, and returns the number of
    /// octets that they have. A buffer shorter than [`encoded_len`](Self::encoded_len) ends up with
    /// part of them.
    pub fn encode(&self, buffer: &mut [u8]) -> usize {
        Writer::fill(buffer, |out| self.write(out))
    }

    fn write(&self, out: &mut Writer<'_>) {
        match self {
            Self::Change(change) => write_change(out, change),
            Self::Query(Query::Service(key) | Query::Destinations(key)) => {
                write_service_key(out, *key);
            }
            Self::Query(Query::Services | Query::Daemons | Query::Timeouts | Query::Info) => {}
        }
    }
}

fn write_change(out: &mut Writer<'_>, change: &Change) {
    match change {
        Change::AddService(wanted) | Change::UpdateService(wanted) => {
            out.nest(command::SERVICE, |out| service_settings(out, wanted));
        }
        Change::DeleteService(key) | Change::ZeroService(key) => write_service_key(out, *key),
        Change::AddDestination {
            service,
            destination,
        }
        | Change::UpdateDestination {
            service,
            destination,
        } => {
            write_service_key(out, *service);
            out.nest(command::DEST, |out| destination_settings(out, destination));
        }
        Change::DeleteDestination {
            service,
            destination,
        } => {
            write_service_key(out, *service);
            out.nest(command::DEST, |out| destination_key(out, *destination));
        }
        Change::StartDaemon(wanted) => {
            out.nest(command::DAEMON, |out| daemon_settings(out, wanted));
        }
        Change::StopDaemon(state) => {
            out.nest(command::DAEMON, |out| {
                out.u32(daemon::STATE, daemon_state(*state));
            });
        }
        Change::SetTimeouts(wanted) => timeouts(out, wanted),
        Change::ZeroAll | Change::Flush => {}
    }
}

impl Reply {
    /// The number of octets that [`encode`](Self::encode) writes.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        Writer::measure(|out| self.write(out))
    }

    /// Writes the attributes as the kernel does, with statistics in 64 bit, and returns the number
    /// of octets that they have. Useful for tests that simulate the kernel. A buffer shorter than
    /// [`encoded_len`](Self::encoded_len) ends up with part of them.
    pub fn encode(&self, buffer: &mut [u8]) -> usize {
        Writer::fill(buffer, |out| self.write(out))
    }

    fn write(&self, out: &mut Writer<'_>) {
        match self {
            Self::Service(listed) => out.nest(command::SERVICE, |out| {
                service_settings(out, &listed.service);
                out.nest(service::STATS64, |out| statistics(out, &listed.stats));
                unknown(out, &listed.unknown);
            }),
            Self::Destination(listed) => out.nest(command::DEST, |out| {
                destination_settings(out, &listed.destination);
                out.u32(dest::ACTIVE_CONNS, listed.active_connections);
                out.u32(dest::INACT_CONNS, listed.inactive_connections);
                out.u32(dest::PERSIST_CONNS, listed.persistent_connections);
                out.nest(dest::STATS64, |out| statistics(out, &listed.stats));
                unknown(out, &listed.unknown);
            }),
            Self::Daemon(found) => out.nest(command::DAEMON, |out| daemon_settings(out, found)),
            Self::Timeouts(found) => timeouts(out, found),
            Self::Info(found) => {
                let version = [
                    0,
                    found.version.major,
                    found.version.minor,
                    found.version.patch,
                ];
                out.u32(info::VERSION, u32::from_be_bytes(version));
                out.u32(info::CONN_TAB_SIZE, found.connection_table_size);
            }
        }
    }
}

fn write_service_key(out: &mut Writer<'_>, key: ServiceKey) {
    out.nest(command::SERVICE, |out| service_key(out, key));
}

fn service_key(out: &mut Writer<'_>, key: ServiceKey) {
    out.u16(service::AF, family(key.family()));
    match key {
        ServiceKey::Address {
            protocol,
            address,
            port,
        } => {
            out.u16(service::PROTOCOL, protocol.number());
            out.address(service::ADDR, address);
            out.u16_be(service::PORT, port);
        }
        ServiceKey::FirewallMark { mark, .. } => out.u32(service::FWMARK, mark.get()),
    }
}

fn service_settings(out: &mut Writer<'_>, wanted: &Service) {
    service_key(out, wanted.key);
    out.text(service::SCHED_NAME, wanted.scheduler.as_str());

    let mut flags = u32::from(wanted.scheduler_flags.bits()) << SCHEDULER_FLAGS_SHIFT;
    if wanted.persistence().is_some() {
        flags |= PERSISTENT;
    }
    if wanted.one_packet {
        flags |= ONE_PACKET;
    }
    let mut value = [0; 8];
    value[..4].copy_from_slice(&flags.to_ne_bytes());
    value[4..].copy_from_slice(&KNOWN_FLAGS.to_ne_bytes());
    out.octets(service::FLAGS, &value);

    // The kernel requires both for every service, persistent or not.
    let (timeout, netmask) = wanted.persistence().map_or_else(
        || (0, Netmask::host(wanted.key.family())),
        |persistence| (persistence.timeout, persistence.netmask),
    );
    out.u32(service::TIMEOUT, timeout);
    match netmask {
        Netmask::V4(mask) => out.octets(service::NETMASK, &mask.octets()),
        Netmask::V6(length) => out.u32(service::NETMASK, length.get().into()),
    }
    if let Some(engine) = wanted.persistence_engine {
        out.text(service::PE_NAME, engine.as_str());
    }
}

fn destination_key(out: &mut Writer<'_>, key: DestinationKey) {
    out.address(dest::ADDR, key.address);
    out.u16_be(dest::PORT, key.port);
    out.u16(dest::ADDR_FAMILY, family(key.family()));
}

fn destination_settings(out: &mut Writer<'_>, wanted: &Destination) {
    destination_key(out, wanted.key);
    let method = match wanted.forwarding {
        ForwardingMethod::Masquerade => 0,
        ForwardingMethod::Local => 1,
        ForwardingMethod::Tunnel(_) => 2,
        ForwardingMethod::DirectRoute => 3,
        ForwardingMethod::Bypass => 4,
    };
    out.u32(dest::FWD_METHOD, method);
    out.u32(dest::WEIGHT, wanted.weight.get());
    out.u32(dest::U_THRESH, wanted.thresholds.upper());
    out.u32(dest::L_THRESH, wanted.thresholds.lower());
    if let ForwardingMethod::Tunnel(tunnel) = wanted.forwarding {
        let (kind, port, flags) = match tunnel {
            Tunnel::IpIp => (0, 0, 0),
            Tunnel::Gue { port, checksum } => {
                let flags = match checksum {
                    GueChecksum::None => 0,
                    GueChecksum::Full => 1,
                    GueChecksum::Remote => 2,
                };
                (1, port.get(), flags)
            }
            Tunnel::Gre { checksum } => (2, 0, u16::from(checksum)),
        };
        out.u8(dest::TUN_TYPE, kind);
        out.u16_be(dest::TUN_PORT, port);
        out.u16(dest::TUN_FLAGS, flags);
    }
}

fn daemon_settings(out: &mut Writer<'_>, wanted: &SyncDaemon) {
    out.u32(daemon::STATE, daemon_state(wanted.state));
    out.text(daemon::MCAST_IFN, wanted.interface.as_str());
    out.u32(daemon::SYNC_ID, wanted.sync_id.into());
    if let Some(length) = wanted.max_length {
        out.u16(daemon::SYNC_MAXLEN, length);
    }
    match wanted.group.map(IpAddr::from) {
        Some(IpAddr::V4(group)) => out.octets(daemon::MCAST_GROUP, &group.octets()),
        Some(IpAddr::V6(group)) => out.octets(daemon::MCAST_GROUP6, &group.octets()),
        None => {}
    }
    if let Some(port) = wanted.port {
        out.u16(daemon::MCAST_PORT, port);
    }
    if let Some(ttl) = wanted.ttl {
        out.u8(daemon::MCAST_TTL, ttl);
    }
}

fn timeouts(out: &mut Writer<'_>, wanted: &Timeouts) {
    out.u32(command::TIMEOUT_TCP, wanted.tcp);
    out.u32(command::TIMEOUT_TCP_FIN, wanted.tcp_fin);
    out.u32(command::TIMEOUT_UDP, wanted.udp);
}

fn statistics(out: &mut Writer<'_>, found: &Stats) {
    out.u64(stats::CONNS, found.connections);
    out.u64(stats::INPKTS, found.incoming_packets);
    out.u64(stats::OUTPKTS, found.outgoing_packets);
    out.u64(stats::INBYTES, found.incoming_bytes);
    out.u64(stats::OUTBYTES, found.outgoing_bytes);
    out.u64(stats::CPS, found.rates.connections);
    out.u64(stats::INPPS, found.rates.incoming_packets);
    out.u64(stats::OUTPPS, found.rates.outgoing_packets);
    out.u64(stats::INBPS, found.rates.incoming_bytes);
    out.u64(stats::OUTBPS, found.rates.outgoing_bytes);
}

fn unknown(out: &mut Writer<'_>, attributes: &[UnknownAttribute]) {
    for attribute in attributes {
        out.octets(attribute.kind, &attribute.value);
    }
}

fn family(family: Family) -> u16 {
    match family {
        Family::V4 => AF_INET,
        Family::V6 => AF_INET6,
    }
}

fn daemon_state(state: DaemonState) -> u32 {
    match state {
        DaemonState::Master => MASTER,
        DaemonState::Backup => BACKUP,
    }
}
