//! Services, servers, schedulers and forwarding methods as text.

use std::net::SocketAddr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{
    DestinationKey, Family, ForwardingMethod, GueChecksum, Netmask, PersistenceEngine, Scheduler,
    ServiceKey, Tunnel,
};

/// Makes a type that is the text that its value prints.
macro_rules! word {
    ($(#[$docs:meta])* $name:ident($value:ty), $parse:path) => {
        $(#[$docs])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) struct $name(pub(crate) $value);

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                $parse(&text).map(Self).map_err(de::Error::custom)
            }
        }
    };
}

word!(
    /// A service, such as `tcp 192.0.2.1:80` or `mark 5`.
    ServiceText(ServiceKey),
    service
);
word!(
    /// A server, such as `10.0.0.1:8080`.
    Server(DestinationKey),
    server
);
word!(
    /// A forwarding method, such as `masquerade`.
    Forwarding(ForwardingMethod),
    forwarding
);
word!(
    /// A scheduler, such as `wrr`.
    SchedulerText(Scheduler),
    Scheduler::new
);
word!(
    /// A persistence engine.
    EngineText(PersistenceEngine),
    PersistenceEngine::new
);

/// A protocol with an address and port, or a mark.
fn service(text: &str) -> Result<ServiceKey, String> {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let socket = |socket: &str| socket.parse::<SocketAddr>().ok();
    let mark = |mark: &str| mark.parse().ok();
    let key = match *words {
        ["tcp", address] => socket(address).map(ServiceKey::tcp),
        ["udp", address] => socket(address).map(ServiceKey::udp),
        ["sctp", address] => socket(address).map(ServiceKey::sctp),
        ["mark", number] => mark(number).map(|mark| ServiceKey::mark(mark, Family::V4)),
        ["mark", number, "ipv6"] => mark(number).map(|mark| ServiceKey::mark(mark, Family::V6)),
        _ => None,
    };
    key.ok_or_else(|| {
        let expected = "tcp, udp or sctp with ADDRESS:PORT, or mark with a number from 1";
        format!("service {text:?}: use {expected}")
    })
}

fn server(text: &str) -> Result<DestinationKey, String> {
    let socket = text.parse::<SocketAddr>();
    socket
        .map(DestinationKey::new)
        .map_err(|_| format!("server {text:?}: use ADDRESS:PORT or [IPV6]:PORT"))
}

/// The text that a forwarding method prints, or keepalived's name of it.
fn forwarding(text: &str) -> Result<ForwardingMethod, String> {
    let lower = text.to_ascii_lowercase();
    let words: Vec<&str> = lower.split_ascii_whitespace().collect();
    let tunnel = |tunnel| Some(ForwardingMethod::Tunnel(tunnel));
    let gue = |port: &str, checksum| {
        let port = port.parse().ok()?;
        tunnel(Tunnel::Gue { port, checksum })
    };
    let method = match *words {
        ["masquerade" | "nat"] => Some(ForwardingMethod::Masquerade),
        ["direct", "route"] | ["dr"] => Some(ForwardingMethod::DirectRoute),
        ["local"] => Some(ForwardingMethod::Local),
        ["bypass"] => Some(ForwardingMethod::Bypass),
        ["tun"] | ["tunnel", "ipip"] => tunnel(Tunnel::IpIp),
        ["tunnel", "gre"] => tunnel(Tunnel::Gre { checksum: false }),
        ["tunnel", "gre", "checksum"] => tunnel(Tunnel::Gre { checksum: true }),
        ["tunnel", "gue", "port", port] => gue(port, GueChecksum::None),
        ["tunnel", "gue", "port", port, "checksum"] => gue(port, GueChecksum::Full),
        ["tunnel", "gue", "port", port, "remote", "checksum"] => gue(port, GueChecksum::Remote),
        _ => None,
    };
    method.ok_or_else(|| {
        let expected = "masquerade, direct route, tunnel with its type, local or bypass";
        format!("forwarding {text:?}: use {expected}")
    })
}

/// A netmask: an IPv4 mask such as `255.255.255.0`, or the length of an IPv6 prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(
    untagged,
    expecting = "an IPv4 mask such as \"255.255.255.0\", or an IPv6 prefix length"
)]
pub(crate) enum NetmaskForm {
    Mask(std::net::Ipv4Addr),
    Length(u8),
}

impl From<Netmask> for NetmaskForm {
    fn from(netmask: Netmask) -> Self {
        match netmask {
            Netmask::V4(mask) => Self::Mask(mask),
            Netmask::V6(length) => Self::Length(length.get()),
        }
    }
}
