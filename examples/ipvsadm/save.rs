//! The text that `-S` prints and `-R` reads, octet for octet that of ipvsadm 1.31.

use std::{
    fmt,
    io::{self, Write},
};

use ipvs_netlink::{
    Destination, Family, ForwardingMethod, GueChecksum, Netmask, Protocol, Service, ServiceKey,
    TableEntry, Tunnel,
};

use crate::{list::flags, names::Names};

/// Writes services with their destinations in the order given. Thresholds are not part of the text.
pub(crate) fn write(out: &mut impl Write, entries: &[TableEntry], names: Names) -> io::Result<()> {
    for entry in entries {
        let service = &entry.service.service;
        let name = service_name(service.key, names);
        writeln!(out, "-A {name} {}", Settings(service))?;
        for listed in &entry.destinations {
            let destination = &listed.destination;
            let key = destination.key;
            let server = names.endpoint(key.address, key.port, protocol(service.key));
            writeln!(out, "-a {name} -r {server} {}", Shape(destination))?;
        }
    }
    Ok(())
}

/// The protocol in which the ports of a service have names.
pub(crate) fn protocol(key: ServiceKey) -> Option<Protocol> {
    match key {
        ServiceKey::Address { protocol, .. } => Some(protocol),
        ServiceKey::FirewallMark { .. } => None,
    }
}

fn service_name(key: ServiceKey, names: Names) -> String {
    match key {
        ServiceKey::Address {
            protocol,
            address,
            port,
        } => {
            let option = match protocol {
                Protocol::Tcp => "-t",
                Protocol::Udp => "-u",
                Protocol::Sctp => "--sctp-service",
            };
            let endpoint = names.endpoint(address, port, Some(protocol));
            format!("{option} {endpoint}")
        }
        // A mark is printed as if it had a sign.
        ServiceKey::FirewallMark { mark, family } => {
            let mark = mark.get().cast_signed();
            match family {
                Family::V4 => format!("-f {mark}"),
                Family::V6 => format!("-f {mark} -6"),
            }
        }
    }
}

struct Settings<'a>(&'a Service);

impl fmt::Display for Settings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let service = self.0;
        write!(f, "-s {}", service.scheduler)?;
        if let Some(persistence) = service.persistence() {
            write!(f, " -p {}", persistence.timeout)?;
            if persistence.netmask != Netmask::host(service.key.family()) {
                write!(f, " -M {}", persistence.netmask)?;
            }
        }
        if let Some(engine) = service.persistence_engine {
            write!(f, " --pe {engine}")?;
        }
        if service.one_packet {
            f.write_str(" -o")?;
        }
        if !service.scheduler_flags.is_empty() {
            write!(
                f,
                " -b {}",
                flags(service.scheduler, service.scheduler_flags)
            )?;
        }
        Ok(())
    }
}

struct Shape<'a>(&'a Destination);

impl fmt::Display for Shape<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let destination = self.0;
        let method = match destination.forwarding {
            ForwardingMethod::Masquerade => "-m",
            ForwardingMethod::Tunnel(_) => "-i",
            ForwardingMethod::DirectRoute | ForwardingMethod::Local => "-g",
            // ipvsadm has no word for it, and this is what comes out.
            ForwardingMethod::Bypass => "(null)",
        };
        write!(f, "{method} -w {}", destination.weight)?;
        let ForwardingMethod::Tunnel(tunnel) = destination.forwarding else {
            return Ok(());
        };
        match tunnel {
            Tunnel::IpIp => f.write_str(" --tun-type ipip"),
            Tunnel::Gue { port, checksum } => {
                let checksum = match checksum {
                    GueChecksum::None => "--tun-nocsum",
                    GueChecksum::Full => "--tun-csum",
                    GueChecksum::Remote => "--tun-remcsum",
                };
                write!(f, " --tun-type gue --tun-port {port} {checksum}")
            }
            Tunnel::Gre { checksum } => {
                let checksum = if checksum {
                    "--tun-csum"
                } else {
                    "--tun-nocsum"
                };
                write!(f, " --tun-type gre {checksum}")
            }
        }
    }
}
