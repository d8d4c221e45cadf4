//! Checks and defaults that need the whole of a virtual server, in keepalived's order.

use super::{RealServer, Service, VirtualServer, persistence::DEFAULT_TIMEOUT};
use crate::keepalived_conf::complaint::{Complaint, Kind};

/// The settings that the block itself names.
#[derive(Clone, Copy)]
pub(super) struct Given {
    pub(super) scheduler: bool,
    pub(super) method: bool,
}

/// Adds complaints about one virtual server.
struct About<'a> {
    label: String,
    complaints: &'a mut Vec<Complaint>,
}

impl About<'_> {
    fn say(&mut self, kind: Kind, text: String) {
        let complaint = Complaint::new(kind, text).object(&self.label);
        self.complaints.push(complaint);
    }
}

/// Fills in the defaults that keepalived fills in, with a complaint for each. `None` if the virtual
/// server is ignored.
pub(super) fn finish(
    mut server: VirtualServer,
    given: Given,
    complaints: &mut Vec<Complaint>,
) -> Option<VirtualServer> {
    let mut about = About {
        label: server.service.to_string(),
        complaints,
    };
    if server.real_servers.is_empty() {
        let text = format!(
            "virtual server {} has no real servers; it is ignored",
            about.label
        );
        about.say(Kind::NoRealServers, text);
        return None;
    }
    protocol(&mut server, &mut about);
    scheduling(given, &mut about);
    duplicates(&mut server, &mut about);
    persistence(&mut server, &mut about);
    one_packet_scheduling(&mut server, &mut about);
    ports(&mut server, &mut about);
    quorum(&mut server, &mut about);
    server.is_ipv6 = match &server.service {
        Service::Address(address, _) => address.is_ipv6(),
        _ => server
            .real_servers
            .first()
            .is_some_and(|it| it.address.is_ipv6()),
    };
    Some(server)
}

/// Completes the protocol. A mark has none.
fn protocol(server: &mut VirtualServer, about: &mut About<'_>) {
    let label = &about.label;
    if matches!(server.service, Service::Mark(_)) {
        if server.protocol.take().is_some() {
            let text = format!(
                "virtual server {label} has a firewall mark, which covers every protocol; protocol is ignored"
            );
            about.say(Kind::ProtocolMissing, text);
        }
    } else if server.protocol.is_none() {
        let text = format!("virtual server {label} names no protocol; UDP is used");
        about.say(Kind::ProtocolDefault, text);
        server.protocol = Some("UDP");
    }
}

/// Reports defaults of the scheduler and the forwarding method.
fn scheduling(given: Given, about: &mut About<'_>) {
    if !given.scheduler {
        let text = format!(
            "virtual server {} names no scheduler; wlc is used",
            about.label
        );
        about.say(Kind::NoScheduler, text);
    }
    if !given.method {
        let text = format!(
            "virtual server {} names no forwarding method; NAT is used",
            about.label
        );
        about.say(Kind::NoMethod, text);
    }
}

/// Drops a real server that is listed twice.
fn duplicates(server: &mut VirtualServer, about: &mut About<'_>) {
    let mut seen = Vec::new();
    server.real_servers.retain(|real| {
        let key = (real.address, real.port);
        if seen.contains(&key) {
            about.complaints.push(
                Complaint::new(
                    Kind::RemovedDuplicateServer,
                    format!(
                        "real server {} port {} stands twice in {}; the second is ignored",
                        real.address, real.port, about.label
                    ),
                )
                .token(real.address.to_string()),
            );
            return false;
        }
        seen.push(key);
        true
    });
}

/// Adds persistence to a service without a port.
fn persistence(server: &mut VirtualServer, about: &mut About<'_>) {
    if matches!(server.service, Service::Address(_, 0)) && server.persistence_timeout.is_none() {
        let text = format!(
            "virtual server {} has no port, which goes with persistence only; persistence is used",
            about.label
        );
        about.say(Kind::Persistence, text);
        server.persistence_timeout = Some(DEFAULT_TIMEOUT);
    }
}

/// Drops `ops` from protocols with connections.
fn one_packet_scheduling(server: &mut VirtualServer, about: &mut About<'_>) {
    if server.flags.contains(&"ops") && server.protocol != Some("UDP") {
        let text = format!(
            "virtual server {}: ops goes with UDP only; it is ignored",
            about.label
        );
        about.say(Kind::ValueInvalid, text);
        server.flags.retain(|flag| *flag != "ops");
    }
}

/// Completes the ports of real servers. Without address translation, the port cannot change.
fn ports(server: &mut VirtualServer, about: &mut About<'_>) {
    for real in &mut server.real_servers {
        match server.service {
            Service::Address(_, port) => port_of_address(real, port, about),
            Service::Mark(_) => port_of_mark(real, about),
            Service::Group(_) => port_of_group(real, about),
        }
    }
}

fn port_of_address(real: &mut RealServer, port: u16, about: &mut About<'_>) {
    if real.method.kind != "NAT" && real.port != port {
        if real.port != 0 {
            let text = format!(
                "{}: {} cannot change the port of real server {}; {port} is used",
                about.label, real.method.kind, real.address
            );
            about.say(Kind::PortMismatch, text);
        }
        real.port = port;
    } else if real.port == 0 {
        real.port = port;
    }
}

fn port_of_mark(real: &mut RealServer, about: &mut About<'_>) {
    if real.port != 0 && real.method.kind != "NAT" {
        let text = format!(
            "{}: real server {} has a port, which a firewall mark has not; it is ignored",
            about.label, real.address
        );
        about.say(Kind::PortMismatch, text);
        real.port = 0;
    }
}

fn port_of_group(real: &RealServer, about: &mut About<'_>) {
    if real.port != 0 && real.method.kind != "NAT" {
        let text = format!(
            "{}: real server {} has a port, which does not count",
            about.label, real.address
        );
        about.say(Kind::PortMismatch, text);
    }
}

/// Brings the quorum and its hysteresis into reach.
fn quorum(server: &mut VirtualServer, about: &mut About<'_>) {
    let weights = server.real_servers.iter().map(|it| u64::from(it.weight));
    let total: u64 = weights.sum();
    if u64::from(server.quorum) > total {
        let text = format!(
            "{}: quorum {} is more than all weights together, {total}, which is used",
            about.label, server.quorum
        );
        about.say(Kind::QuorumAdjusted, text);
        server.quorum = u32::try_from(total.max(1)).unwrap_or(1);
    }
    if server.hysteresis >= server.quorum && server.hysteresis > 0 {
        let text = format!(
            "{}: hysteresis {} is not below quorum {}",
            about.label, server.hysteresis, server.quorum
        );
        about.say(Kind::QuorumAdjusted, text);
        server.hysteresis = server.quorum - 1;
    }
}
