//! The lists of services and destinations, octet for octet those of ipvsadm 1.31.

use std::{
    fmt,
    io::{self, Write},
};

use ipvs_netlink::{
    ForwardingMethod, GueChecksum, Info, ListedDestination, Netmask, Protocol, Service, ServiceKey,
    Stats, TableEntry, Tunnel,
};

use super::names::Names;

/// The columns of a list for each destination, and for each service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Columns {
    /// Its forwarding method, weight and connections.
    Forwarding,
    /// The same with the kind of its tunnel (`--tun-info`).
    Tunnels,
    /// Its limits and its connections (`--thresholds`).
    Thresholds,
    /// Its weight and its connections, with those remembered for persistence (`--persistent-conn`).
    Persistence,
    /// Its counters (`--stats`).
    Counters,
    /// Its rates per second (`--rate`).
    Rates,
}

/// How a list is written.
#[derive(Clone, Copy, Debug)]
pub struct List {
    /// The content of the list.
    pub columns: Columns,
    /// Whether long numbers are written out (`--exact`).
    pub exact: bool,
    /// Whether names are looked up.
    pub names: Names,
}

impl List {
    /// Writes the first line of a list of all services.
    ///
    /// # Errors
    ///
    /// The writer's.
    pub fn version(out: &mut impl Write, info: Info) -> io::Result<()> {
        writeln!(
            out,
            "IP Virtual Server version {} (size={})",
            info.version, info.connection_table_size
        )
    }

    /// Writes the names of the columns, and services with their destinations in the order given.
    ///
    /// # Errors
    ///
    /// The writer's.
    pub fn write(self, out: &mut impl Write, entries: &[TableEntry]) -> io::Result<()> {
        out.write_all(self.headings().as_bytes())?;
        for entry in entries {
            self.service(out, entry)?;
            for destination in &entry.destinations {
                self.destination(out, entry, destination)?;
            }
        }
        Ok(())
    }

    fn headings(self) -> &'static str {
        match self.columns {
            Columns::Forwarding => concat!(
                "Prot LocalAddress:Port Scheduler Flags\n",
                "  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n",
            ),
            Columns::Tunnels => concat!(
                "Prot LocalAddress:Port Scheduler Flags\n",
                "  -> RemoteAddress:Port           ",
                "Forward TunnelInfo    Weight ActiveConn InActConn\n",
            ),
            Columns::Thresholds => concat!(
                "Prot LocalAddress:Port            Uthreshold Lthreshold ActiveConn InActConn \n",
                "  -> RemoteAddress:Port\n",
            ),
            Columns::Persistence => concat!(
                "Prot LocalAddress:Port            Weight    PersistConn ActiveConn InActConn \n",
                "  -> RemoteAddress:Port\n",
            ),
            Columns::Counters => concat!(
                "Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes\n",
                "  -> RemoteAddress:Port\n",
            ),
            Columns::Rates => concat!(
                "Prot LocalAddress:Port                 CPS    InPPS   OutPPS    InBPS   OutBPS\n",
                "  -> RemoteAddress:Port\n",
            ),
        }
    }

    fn service(self, out: &mut impl Write, entry: &TableEntry) -> io::Result<()> {
        let service = &entry.service.service;
        let name = self.service_name(service.key);
        let numbers = match self.columns {
            Columns::Counters => counters(&entry.service.stats),
            Columns::Rates => rates(&entry.service.stats),
            _ => return writeln!(out, "{name} {}", Settings(service)),
        };
        write!(out, "{name:33}")?;
        self.numbers(out, &numbers)?;
        writeln!(out)
    }

    fn service_name(self, key: ServiceKey) -> String {
        match key {
            ServiceKey::Address {
                protocol,
                address,
                port,
            } => {
                let word = match protocol {
                    Protocol::Tcp => "TCP",
                    Protocol::Udp => "UDP",
                    Protocol::Sctp => "SCTP",
                };
                let endpoint = self.names.endpoint(address, port, Some(protocol));
                format!("{word:4} {}", cut(&endpoint))
            }
            // A mark is printed as if it had a sign.
            ServiceKey::FirewallMark { mark, family } => {
                let mark = mark.get().cast_signed();
                match family {
                    ipvs_netlink::Family::V4 => format!("FWM  {mark}"),
                    ipvs_netlink::Family::V6 => format!("FWM  {mark} IPv6"),
                }
            }
        }
    }

    fn destination(
        self,
        out: &mut impl Write,
        entry: &TableEntry,
        listed: &ListedDestination,
    ) -> io::Result<()> {
        let protocol = entry.service.service.key.protocol();
        let destination = &listed.destination;
        let key = destination.key;
        let endpoint = self.names.endpoint(key.address, key.port, protocol);
        write!(out, "  -> {:28}", cut(&endpoint))?;

        let active = listed.active_connections;
        let inactive = listed.inactive_connections;
        let weight = destination.weight.get();
        let method = method(destination.forwarding);
        match self.columns {
            Columns::Forwarding => {
                writeln!(out, " {method:7} {weight:<6} {active:<10} {inactive:<10}")
            }
            Columns::Tunnels => {
                let tunnel = TunnelInfo(destination.forwarding).to_string();
                writeln!(
                    out,
                    " {method:7} {tunnel:13} {weight:<6} {active:<10} {inactive:<10}"
                )
            }
            Columns::Thresholds => {
                let thresholds = destination.thresholds;
                writeln!(
                    out,
                    " {:<10} {:<10} {active:<10} {inactive:<10}",
                    thresholds.upper(),
                    thresholds.lower()
                )
            }
            Columns::Persistence => {
                let persistent = listed.persistent_connections;
                writeln!(
                    out,
                    " {weight:<9} {persistent:<11} {active:<10} {inactive:<10}"
                )
            }
            Columns::Counters => {
                let [connections, incoming, outgoing, bytes @ ..] = counters(&listed.stats);
                self.numbers(out, &[low(connections), low(incoming), low(outgoing)])?;
                self.numbers(out, &bytes)?;
                writeln!(out)
            }
            Columns::Rates => {
                let [connections, incoming, outgoing, bytes @ ..] = rates(&listed.stats).map(low);
                for number in [connections, incoming, outgoing] {
                    write!(out, " {number:8}")?;
                }
                self.numbers(out, &bytes)?;
                writeln!(out)
            }
        }
    }

    fn numbers(self, out: &mut impl Write, numbers: &[u64]) -> io::Result<()> {
        numbers.iter().try_for_each(|&number| {
            if self.exact {
                write!(out, " {number:8}")
            } else {
                write!(out, "{}", Scaled(number))
            }
        })
    }
}

/// The part of an endpoint that a list shows: all of an IPv6 endpoint, the first 28 characters of
/// an IPv4 endpoint.
fn cut(endpoint: &str) -> &str {
    if endpoint.starts_with('[') {
        return endpoint;
    }
    endpoint
        .char_indices()
        .nth(28)
        .map_or(endpoint, |(at, _)| &endpoint[..at])
}

/// The 32 bits of a destination's number that ipvsadm keeps.
fn low(number: u64) -> u64 {
    number & u64::from(u32::MAX)
}

fn counters(stats: &Stats) -> [u64; 5] {
    [
        stats.connections,
        stats.incoming_packets,
        stats.outgoing_packets,
        stats.incoming_bytes,
        stats.outgoing_bytes,
    ]
}

fn rates(stats: &Stats) -> [u64; 5] {
    let rates = &stats.rates;
    [
        rates.connections,
        rates.incoming_packets,
        rates.outgoing_packets,
        rates.incoming_bytes,
        rates.outgoing_bytes,
    ]
}

/// A number in nine columns: written out below 10^8, and from there truncated, not rounded, to
/// thousands and so on.
struct Scaled(u64);

impl fmt::Display for Scaled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.0;
        match number {
            0..=99_999_999 => write!(f, "{number:9}"),
            100_000_000..=999_999_999 => write!(f, "{:8}K", number / 1_000),
            1_000_000_000..=99_999_999_999 => write!(f, "{:8}M", number / 1_000_000),
            100_000_000_000..=99_999_999_999_999 => write!(f, "{:8}G", number / 1_000_000_000),
            _ => write!(f, "{:8}T", number / 1_000_000_000_000),
        }
    }
}

/// The settings of a service: scheduler, its flags, persistence, persistence engine, one-packet
/// scheduling.
struct Settings<'a>(&'a Service);

impl fmt::Display for Settings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let service = self.0;
        write!(f, "{}", service.scheduler)?;
        if !service.scheduler_flags.is_empty() {
            let names = service.scheduler_flags.names(service.scheduler);
            write!(f, " ({})", names.flatten().collect::<Vec<_>>().join(","))?;
        }
        if let Some(persistence) = service.persistence() {
            write!(f, " persistent {}", persistence.timeout)?;
            if persistence.netmask != Netmask::host(service.key.family()) {
                write!(f, " mask {}", persistence.netmask)?;
            }
            // Without persistence an engine is not shown.
            if let Some(engine) = service.persistence_engine {
                write!(f, " pe {engine}")?;
            }
        }
        if service.one_packet {
            f.write_str(" ops")?;
        }
        Ok(())
    }
}

fn method(forwarding: ForwardingMethod) -> &'static str {
    match forwarding {
        ForwardingMethod::Masquerade => "Masq",
        ForwardingMethod::Local => "Local",
        ForwardingMethod::Tunnel(_) => "Tunnel",
        ForwardingMethod::DirectRoute => "Route",
        // The word that ipvsadm prints, because it has no name for this method.
        ForwardingMethod::Bypass => "(null)",
    }
}

/// The kind of a tunnel: `gue:6080:r+c`.
struct TunnelInfo(ForwardingMethod);

impl fmt::Display for TunnelInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ForwardingMethod::Tunnel(tunnel) = self.0 else {
            return f.write_str("n/a");
        };
        match tunnel {
            Tunnel::IpIp => f.write_str("ipip"),
            Tunnel::Gue { port, checksum } => {
                let checksum = match checksum {
                    GueChecksum::None => "-c",
                    GueChecksum::Full => "+c",
                    GueChecksum::Remote => "r+c",
                };
                write!(f, "gue:{port}:{checksum}")
            }
            Tunnel::Gre { checksum } => f.write_str(if checksum { "gre:+c" } else { "gre:-c" }),
        }
    }
}
