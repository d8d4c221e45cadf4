//! Services, servers, schedulers and forwarding methods as text.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{DestinationKey, ForwardingMethod, Netmask, PersistenceEngine, Scheduler, ServiceKey};

/// Defines a type that reads and writes its value as the text that it prints.
macro_rules! word {
    ($(#[$docs:meta])* $name:ident($value:ty)) => {
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
                parse(deserializer).map(Self)
            }
        }
    };
}

word!(
    /// A service, such as `tcp 192.0.2.1:80` or `mark 5`.
    ServiceText(ServiceKey)
);
word!(
    /// A server, such as `10.0.0.1:8080`.
    Server(DestinationKey)
);
word!(
    /// A forwarding method, such as `masquerade`.
    Forwarding(ForwardingMethod)
);
word!(
    /// A scheduler, such as `wrr`.
    SchedulerText(Scheduler)
);
word!(
    /// A persistence engine.
    EngineText(PersistenceEngine)
);

/// A value as the text that it prints, for `serde(with)`.
pub(crate) mod as_text {
    use std::{fmt, str::FromStr};

    use serde::{Deserializer, Serializer};

    pub(crate) fn serialize<T, S>(value: &T, serializer: S) -> Result<S::Ok, S::Error>
    where
        T: fmt::Display,
        S: Serializer,
    {
        serializer.collect_str(value)
    }

    pub(crate) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: fmt::Display>,
        D: Deserializer<'de>,
    {
        super::parse(deserializer)
    }
}

fn parse<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: FromStr<Err: fmt::Display>,
    D: Deserializer<'de>,
{
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(de::Error::custom)
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
