//! Values from the text that they print, and some names that operators use.

use std::{net::SocketAddr, num::NonZeroU32, str::FromStr};

use crate::{
    DestinationKey, Family, ForwardingMethod, GueChecksum, Protocol, ServiceKey, TextError, Tunnel,
};

impl FromStr for Protocol {
    type Err = TextError;

    /// `tcp`, `udp` or `sctp`, in any case.
    fn from_str(text: &str) -> Result<Self, TextError> {
        match text.to_ascii_lowercase().as_str() {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            "sctp" => Ok(Self::Sctp),
            _ => Err(TextError::new("protocol", text, "tcp, udp or sctp")),
        }
    }
}

impl FromStr for ServiceKey {
    type Err = TextError;

    /// The text that it prints: `tcp 192.0.2.1:80`, `udp [2001:db8::1]:53`, `mark 5` or `mark 5
    /// ipv6`.
    fn from_str(text: &str) -> Result<Self, TextError> {
        let refused = || {
            let expected =
                "a protocol and ADDRESS:PORT, or mark and a number from 1, perhaps with ipv6";
            TextError::new("service", text, expected)
        };
        let words: Vec<_> = text.split_ascii_whitespace().collect();
        match *words {
            ["mark", mark] | ["mark", mark, "ipv6"] => {
                let mark: NonZeroU32 = mark.parse().map_err(|_| refused())?;
                let family = if words.len() == 3 {
                    Family::V6
                } else {
                    Family::V4
                };
                Ok(Self::mark(mark, family))
            }
            [protocol, socket] => {
                let protocol: Protocol = protocol.parse().map_err(|_| refused())?;
                let socket: SocketAddr = socket.parse().map_err(|_| refused())?;
                Ok(Self::new(protocol, socket.ip(), socket.port()))
            }
            _ => Err(refused()),
        }
    }
}

impl FromStr for DestinationKey {
    type Err = TextError;

    /// The text that it prints: `10.0.0.1:8080` or `[2001:db8::1]:8080`.
    fn from_str(text: &str) -> Result<Self, TextError> {
        let refused = || TextError::new("destination", text, "ADDRESS:PORT or [IPV6]:PORT");
        let socket: SocketAddr = text.parse().map_err(|_| refused())?;
        Ok(socket.into())
    }
}

impl FromStr for ForwardingMethod {
    type Err = TextError;

    /// The text that it prints, such as `masquerade`, `direct route` or `tunnel gue port 6080`, or
    /// keepalived's name: `nat`, `dr` or `tun`, in any case.
    fn from_str(text: &str) -> Result<Self, TextError> {
        let lower = text.to_ascii_lowercase();
        let words: Vec<_> = lower.split_ascii_whitespace().collect();
        match *words {
            ["masquerade" | "nat"] => Ok(Self::Masquerade),
            ["local"] => Ok(Self::Local),
            ["direct", "route"] | ["dr"] => Ok(Self::DirectRoute),
            ["bypass"] => Ok(Self::Bypass),
            ["tun"] => Ok(Self::Tunnel(Tunnel::IpIp)),
            ["tunnel", ref tunnel @ ..] => self::tunnel(tunnel)
                .map(Self::Tunnel)
                .ok_or_else(|| refused_tunnel(text)),
            _ => {
                let expected = "masquerade, direct route, tunnel and its type, local or bypass";
                Err(TextError::new("forwarding method", text, expected))
            }
        }
    }
}

impl FromStr for Tunnel {
    type Err = TextError;

    /// The text that it prints: `ipip`, `gre`, `gre checksum`, or `gue port 6080`, followed by
    /// nothing, `checksum` or `remote checksum`.
    fn from_str(text: &str) -> Result<Self, TextError> {
        let words: Vec<_> = text.split_ascii_whitespace().collect();
        tunnel(&words).ok_or_else(|| refused_tunnel(text))
    }
}

fn tunnel(words: &[&str]) -> Option<Tunnel> {
    match *words {
        ["ipip"] => Some(Tunnel::IpIp),
        ["gre"] => Some(Tunnel::Gre { checksum: false }),
        ["gre", "checksum"] => Some(Tunnel::Gre { checksum: true }),
        ["gue", "port", port, ref checksum @ ..] => {
            let port = port.parse().ok()?;
            let checksum = match *checksum {
                [] => GueChecksum::None,
                ["checksum"] => GueChecksum::Full,
                ["remote", "checksum"] => GueChecksum::Remote,
                _ => return None,
            };
            Some(Tunnel::Gue { port, checksum })
        }
        _ => None,
    }
}

fn refused_tunnel(text: &str) -> TextError {
    let expected = "ipip, gre, or gue port and a number from 1 to 65535, perhaps with checksum";
    TextError::new("tunnel", text, expected)
}

#[cfg(test)]
mod tests {
    use std::fmt::{Debug, Display};

    use proptest::prelude::*;

    use super::*;
    use crate::testing;

    fn is_read_back<T: FromStr + Display + Debug + PartialEq>(value: &T)
    where
        T::Err: Debug,
    {
        assert_eq!(&value.to_string().parse::<T>().unwrap(), value);
    }

    proptest! {
        #[test]
        fn printed_values_are_read_back(
            service in testing::service_key(),
            destination in testing::destination(),
        ) {
            is_read_back(&service);
            is_read_back(&destination.key);
            is_read_back(&destination.forwarding);
        }

        #[test]
        fn any_text_is_read_or_refused(text: String) {
            let _ = text.parse::<ServiceKey>();
            let _ = text.parse::<DestinationKey>();
            let _ = text.parse::<ForwardingMethod>();
        }
    }

    #[test]
    fn names_of_operators_are_read() {
        assert_eq!("NAT".parse(), Ok(ForwardingMethod::Masquerade));
        assert_eq!("dr".parse(), Ok(ForwardingMethod::DirectRoute));
        assert_eq!("TUN".parse(), Ok(ForwardingMethod::Tunnel(Tunnel::IpIp)));
        assert_eq!("UDP".parse(), Ok(Protocol::Udp));
    }

    #[test]
    fn errors_name_the_text_and_the_expected_form() {
        let service = "tcp 192.0.2.1".parse::<ServiceKey>().unwrap_err();
        let text = "service \"tcp 192.0.2.1\": expected a protocol and ADDRESS:PORT, \
             or mark and a number from 1, perhaps with ipv6";
        assert_eq!(service.to_string(), text);
        for wrong in ["", "mark 0", "mark 5 ipv4", "icmp 192.0.2.1:80", "tcp"] {
            assert!(wrong.parse::<ServiceKey>().is_err(), "{wrong}");
        }
        for wrong in ["tunnel", "tunnel gue", "tunnel gue port 0", "route"] {
            assert!(wrong.parse::<ForwardingMethod>().is_err(), "{wrong}");
        }
        assert!("10.0.0.1".parse::<DestinationKey>().is_err());
    }
}
