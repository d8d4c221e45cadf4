//! Tables as text.

use std::{
    fmt::{self, Write},
    net::{IpAddr, Ipv4Addr},
};

use super::{Form, options::UNNAMED_METHOD, sort_destinations, sort_services};
use crate::{
    Destination, Family, ForwardingMethod, GueChecksum, Netmask, Protocol, Scheduler,
    SchedulerFlags, Service, ServiceKey, Thresholds, Tunnel, VirtualServer,
};

/// Writes a table as ipvsadm saves it, a line for each service and each destination, in the order
/// of [`sort_services`] and [`sort_destinations`].
///
/// With [`Form::Ipvsadm`] it is the output of `ipvsadm -Sn`, byte for byte, if the services and
/// destinations are in the order in which the kernel lists them. With [`Form::Lossless`] a
/// [`Grammar`](super::Grammar) of that form reads the text back, apart from times longer than
/// [`Persistence::MAX_TIMEOUT`](crate::Persistence::MAX_TIMEOUT) and limits above 2³¹ − 1, which
/// some kernels accept from other programs.
#[must_use]
pub fn print(servers: &[VirtualServer], form: Form) -> String {
    print_named(servers, form, endpoint)
}

/// Like [`print()`], with `endpoint` to write an address with a port. It receives the protocol of
/// the service, if that has one.
///
/// ```
/// use ipvs_netlink::{Scheduler, Service, ServiceKey, VirtualServer, rules::{self, Form}};
///
/// let service = Service::new(ServiceKey::tcp(([192, 0, 2, 1], 80)), Scheduler::RR);
/// let servers = [VirtualServer { service, destinations: vec![] }];
/// let text = rules::print_named(&servers, Form::Ipvsadm, |address, port, _| match port {
///     80 => format!("{address}:http"),
///     _ => rules::endpoint(address, port, None),
/// });
/// assert_eq!(text, "-A -t 192.0.2.1:http -s rr\n");
/// ```
#[must_use]
pub fn print_named(
    servers: &[VirtualServer],
    form: Form,
    endpoint: impl Fn(IpAddr, u16, Option<Protocol>) -> String,
) -> String {
    let mut servers: Vec<_> = servers.iter().collect();
    sort_services(&mut servers, |server| server.service.key);
    let printer = Printer { form, endpoint };
    let mut text = String::new();
    for server in servers {
        let mut destinations: Vec<_> = server.destinations.iter().collect();
        sort_destinations(&mut destinations, |destination| destination.key);
        // Writing to a `String` does not fail.
        let _ = printer.service(&mut text, &server.service);
        for destination in destinations {
            let _ = printer.destination(&mut text, server.service.key, destination);
        }
    }
    text
}

/// An address with a port as ipvsadm writes it with `-n`: `192.0.2.1:80`, `[2001:db8::1]:80`.
///
/// The C library writes the last 32 bits of an address in `::/96` as an IPv4 address, unless the
/// first 16 of them are 0. The protocol is ignored; it is an argument because [`print_named`]
/// passes one.
#[must_use]
pub fn endpoint(address: IpAddr, port: u16, _protocol: Option<Protocol>) -> String {
    match address {
        IpAddr::V4(address) => format!("{address}:{port}"),
        IpAddr::V6(address) => match address.segments() {
            [0, 0, 0, 0, 0, 0, high, low] if high != 0 => {
                let last = Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
                format!("[::{last}]:{port}")
            }
            _ => format!("[{address}]:{port}"),
        },
    }
}

struct Printer<E> {
    form: Form,
    endpoint: E,
}

impl<E: Fn(IpAddr, u16, Option<Protocol>) -> String> Printer<E> {
    fn lossless(&self) -> bool {
        self.form == Form::Lossless
    }

    fn key(&self, text: &mut String, key: ServiceKey) -> fmt::Result {
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
                let endpoint = (self.endpoint)(address, port, Some(protocol));
                write!(text, " {option} {endpoint}")
            }
            ServiceKey::FirewallMark { mark, family } => {
                if self.lossless() {
                    write!(text, " -f {mark}")?;
                } else {
                    write!(text, " -f {}", mark.get().cast_signed())?;
                }
                text.write_str(match family {
                    Family::V4 => "",
                    Family::V6 => " -6",
                })
            }
        }
    }

    fn service(&self, text: &mut String, service: &Service) -> fmt::Result {
        text.write_str("-A")?;
        self.key(text, service.key)?;
        name(text, "-s", service.scheduler.as_str())?;
        if let Some(persistence) = service.persistence() {
            write!(text, " -p {}", persistence.timeout)?;
            if persistence.netmask != Netmask::host(service.key.family()) {
                write!(text, " -M {}", persistence.netmask)?;
            }
        }
        if let Some(engine) = service.persistence_engine {
            name(text, "--pe", engine.as_str())?;
        }
        if service.one_packet {
            text.write_str(" -o")?;
        }
        if !service.scheduler_flags.is_empty() {
            let flags = self.flags(service.scheduler, service.scheduler_flags);
            write!(text, " -b {flags}")?;
        }
        text.write_char('\n')
    }

    /// The flags under the names that they have with the scheduler. With some schedulers the third
    /// flag has no name.
    fn flags(&self, scheduler: Scheduler, flags: SchedulerFlags) -> String {
        let unnamed = self.lossless().then_some("flag-3");
        let names: Vec<_> = flags
            .names(scheduler)
            .filter_map(|name| name.or(unnamed))
            .collect();
        names.join(",")
    }

    fn destination(
        &self,
        text: &mut String,
        service: ServiceKey,
        destination: &Destination,
    ) -> fmt::Result {
        let Destination {
            key,
            forwarding,
            weight,
            thresholds,
        } = *destination;
        let service_port = match service {
            ServiceKey::Address { port, .. } => port,
            ServiceKey::FirewallMark { .. } => key.port,
        };
        text.write_str("-a")?;
        self.key(text, service)?;
        let endpoint = (self.endpoint)(key.address, key.port, service.protocol());
        write!(text, " -r {endpoint} {}", self.method(forwarding))?;
        let port_of_service = matches!(
            forwarding,
            ForwardingMethod::DirectRoute | ForwardingMethod::Tunnel(_)
        );
        if self.lossless() && port_of_service && key.port != service_port {
            text.write_str(" --own-port")?;
        }
        write!(text, " -w {weight}")?;
        if self.lossless() && thresholds != Thresholds::NONE {
            write!(text, " -x {} -y {}", thresholds.upper(), thresholds.lower())?;
        }
        if let ForwardingMethod::Tunnel(tunnel) = forwarding {
            self::tunnel(text, tunnel)?;
        }
        text.write_char('\n')
    }

    fn method(&self, forwarding: ForwardingMethod) -> &'static str {
        match forwarding {
            ForwardingMethod::Masquerade => "-m",
            ForwardingMethod::Tunnel(_) => "-i",
            ForwardingMethod::Local if self.lossless() => "--local",
            ForwardingMethod::Bypass if self.lossless() => "--bypass",
            ForwardingMethod::DirectRoute | ForwardingMethod::Local => "-g",
            // The word that ipvsadm prints but does not read.
            ForwardingMethod::Bypass => UNNAMED_METHOD,
        }
    }
}

/// An option with a name, which at the start of a word could be taken for a comment.
fn name(text: &mut String, option: &str, name: &str) -> fmt::Result {
    let separator = if name.starts_with('#') { '=' } else { ' ' };
    write!(text, " {option}{separator}{name}")
}

fn tunnel(text: &mut String, tunnel: Tunnel) -> fmt::Result {
    match tunnel {
        Tunnel::IpIp => text.write_str(" --tun-type ipip"),
        Tunnel::Gue { port, checksum } => {
            let checksum = match checksum {
                GueChecksum::None => "--tun-nocsum",
                GueChecksum::Full => "--tun-csum",
                GueChecksum::Remote => "--tun-remcsum",
            };
            write!(text, " --tun-type gue --tun-port {port} {checksum}")
        }
        Tunnel::Gre { checksum } => {
            let checksum = if checksum {
                "--tun-csum"
            } else {
                "--tun-nocsum"
            };
            write!(text, " --tun-type gre {checksum}")
        }
    }
}
