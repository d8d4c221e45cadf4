//! Checks and defaults that need the whole of a virtual server, in keepalived's order.

use super::{
    RealServer, Service, ServiceGroup, SorryServer, VirtualServer, group::GroupEntry,
    persistence::DEFAULT_TIMEOUT,
};
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
/// server is ignored. One of a group that does not exist is ignored in silence.
pub(super) fn finish(
    mut server: VirtualServer,
    given: Given,
    groups: &[ServiceGroup],
    complaints: &mut Vec<Complaint>,
) -> Option<VirtualServer> {
    let services = match &server.service {
        Service::Address(_, port) => Services::Port(*port),
        Service::Mark(_) => Services::Mark,
        Service::Group(name) => Services::Group(groups.iter().find(|it| it.name == *name)?),
    };
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
    protocol(&mut server, services, &mut about);
    scheduling(given, &mut about);
    duplicates(&mut server, &mut about);
    persistence(&mut server, services, &mut about);
    one_packet_scheduling(&mut server, &mut about);
    sorry_server(&mut server, services, &mut about);
    for real in &mut server.real_servers {
        port_of_real_server(real, services, &mut about);
    }
    quorum(&mut server, &mut about);
    Some(server)
}

/// The services of a virtual server, as far as ports depend on them.
#[derive(Clone, Copy)]
enum Services<'a> {
    Port(u16),
    Mark,
    Group(&'a ServiceGroup),
}

impl Services<'_> {
    /// Whether they have no protocol.
    fn are_marks(self, of_ipv6: bool) -> bool {
        match self {
            Self::Port(_) => false,
            Self::Mark => true,
            Self::Group(group) => group.is_of_marks(of_ipv6),
        }
    }

    fn have_port_zero(self) -> bool {
        match self {
            Self::Port(port) => port == 0,
            Self::Mark => false,
            Self::Group(group) => group.has_port_zero(),
        }
    }
}

/// Completes the protocol. A mark has none.
fn protocol(server: &mut VirtualServer, services: Services<'_>, about: &mut About<'_>) {
    let label = &about.label;
    if services.are_marks(server.is_ipv6) {
        if server.protocol.take().is_some() {
            let text = format!(
                "virtual server {label} has firewall marks only, which cover every protocol; protocol is ignored"
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
fn persistence(server: &mut VirtualServer, services: Services<'_>, about: &mut About<'_>) {
    if services.have_port_zero() && server.persistence_timeout.is_none() {
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

/// Completes the sorry server. One that is also a real server is inhibited as that one is.
fn sorry_server(server: &mut VirtualServer, services: Services<'_>, about: &mut About<'_>) {
    let Some(sorry) = &mut server.sorry_server else {
        return;
    };
    let mut servers = server.real_servers.iter();
    let same = servers.find(|it| (it.address, it.port) == (sorry.address, sorry.port));
    if let Some(real) = same
        && real.inhibits_on_failure != sorry.inhibits
    {
        let text = format!(
            "{}: real server {} is also the sorry server, but only one of them has inhibit; that of the real server is used",
            about.label, real.address
        );
        about.say(Kind::Other, text);
        sorry.inhibits = real.inhibits_on_failure;
    }
    let SorryServer {
        address,
        port,
        method,
        duplicates_real_server,
        ..
    } = sorry;
    *duplicates_real_server = same.is_some();
    // With translation, a sorry server without a port is shown without one; packets keep theirs.
    if *port != 0 || method.kind != "NAT" {
        let name = format!("sorry server {address}");
        *port = port_without_translation(&name, *port, method.kind, services, about);
    }
}

/// Completes the port of a real server.
fn port_of_real_server(real: &mut RealServer, services: Services<'_>, about: &mut About<'_>) {
    let name = format!("real server {}", real.address);
    real.port = port_without_translation(&name, real.port, real.method.kind, services, about);
}

/// The port of a server. Without address translation, the port of a packet cannot change.
fn port_without_translation(
    name: &str,
    port: u16,
    method: &str,
    services: Services<'_>,
    about: &mut About<'_>,
) -> u16 {
    let label = &about.label;
    let is_free = method == "NAT" || port == 0;
    let (problem, used) = match services {
        Services::Port(own) if port == 0 => return own,
        Services::Port(own) if !is_free && port != own => (
            format!("{label}: {method} cannot change the port of {name}; {own} is used"),
            own,
        ),
        Services::Mark if !is_free => (
            format!("{label}: {name} has a port, which a firewall mark has not; it is ignored"),
            0,
        ),
        Services::Group(group) if !is_free => match group.mismatch(port) {
            None => return port,
            Some(GroupEntry::Mark { mark, .. }) => (
                format!("{label}: {name} has a port, which does not count for mark {mark}"),
                port,
            ),
            Some(GroupEntry::Addresses {
                first, port: own, ..
            }) => (
                format!(
                    "{label}: {method} cannot change port {own} of {first} to that of {name}, {port}"
                ),
                port,
            ),
        },
        _ => return port,
    };
    about.say(Kind::PortMismatch, problem);
    used
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
