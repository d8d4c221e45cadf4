//! Routes: virtual ones, which are in place while a router is Active, and tracked ones.

use std::{fmt, net::IpAddr, str::FromStr};

use vrrp_proto::Family;

use crate::{Error, address::family};

/// The mark of virtual routes in the kernel (`rtm_protocol`): the IP protocol number of VRRP, which
/// no other program uses.
pub const ROUTE_PROTOCOL: u8 = 112;

/// The table that is used where none is named (`RT_TABLE_MAIN`).
const MAIN: u32 = 254;

/// The table that is looked up before all others (`RT_TABLE_LOCAL`).
const LOCAL: u32 = 255;

/// A route: a virtual one, which is there while a router is Active
/// ([`RouterConfig::routes`](crate::RouterConfig::routes)), or one that is tracked
/// ([`Watch::Route`](crate::Watch::Route)).
///
/// Its text form is a part of the syntax of `ip route`:
///
/// ```
/// use vrrp_net::Route;
///
/// let text = "203.0.113.0/24 via 192.0.2.9 dev eth1 src 192.0.2.254 metric 10 table 100";
/// let route: Route = text.parse()?;
/// assert_eq!(route.to_string(), text);
/// let error = "203.0.113.1/24".parse::<Route>().unwrap_err();
/// let problem = "destination: 203.0.113.1/24 has bits beyond its prefix; 203.0.113.0/24 has none";
/// assert_eq!(error.to_string(), problem);
/// # Ok::<(), vrrp_net::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "String", into = "String"))]
pub struct Route {
    destination: IpAddr,
    prefix_len: u8,
    gateway: Option<IpAddr>,
    interface: Option<String>,
    source: Option<IpAddr>,
    metric: Option<u32>,
    table: u32,
    discards: bool,
}

impl Route {
    /// A route to a prefix, in the main table.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a length over 32 or 128, and for an address with bits beyond the
    /// prefix.
    pub fn new(destination: IpAddr, prefix_len: u8) -> Result<Self, Error> {
        let highest = if destination.is_ipv4() { 32 } else { 128 };
        if prefix_len > highest {
            let problem = format!("prefix length {prefix_len} is not in 0..={highest}");
            return Err(invalid("destination", problem));
        }
        let first = first_of(destination, prefix_len);
        if first != destination {
            let problem = format!(
                "{destination}/{prefix_len} has bits beyond its prefix; {first}/{prefix_len} has none"
            );
            return Err(invalid("destination", problem));
        }
        Ok(Self {
            destination,
            prefix_len,
            gateway: None,
            interface: None,
            source: None,
            metric: None,
            table: MAIN,
            discards: false,
        })
    }

    /// The host drop route of RFC 9568 section 8.3.1: packets to this address are discarded, and
    /// not forwarded either (M-09). It is in the table `local`, where the address would be if the
    /// host had it, and so comes before every rule for tables of the host.
    #[must_use]
    pub const fn discard(address: IpAddr) -> Self {
        Self {
            destination: address,
            prefix_len: if address.is_ipv4() { 32 } else { 128 },
            gateway: None,
            interface: None,
            source: None,
            metric: None,
            table: LOCAL,
            discards: true,
        }
    }

    /// With a gateway. Without an [interface](Self::with_interface) the kernel finds the interface
    /// that leads to the gateway.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for an address of the other family.
    pub fn with_gateway(mut self, gateway: IpAddr) -> Result<Self, Error> {
        self.check_family("gateway", gateway)?;
        self.gateway = Some(gateway);
        Ok(self)
    }

    /// With the interface of this name.
    #[must_use]
    pub fn with_interface(mut self, interface: impl Into<String>) -> Self {
        self.interface = Some(interface.into());
        self
    }

    /// With the source address of packets that the host sends; usually a virtual address of the
    /// router.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for an address of the other family.
    pub fn with_source(mut self, source: IpAddr) -> Result<Self, Error> {
        self.check_family("source", source)?;
        self.source = Some(source);
        Ok(self)
    }

    /// With a metric: of several routes to a prefix, the route with the lowest metric is used.
    /// Without one, the kernel takes 0 for IPv4 and 1024 for IPv6.
    #[must_use]
    pub const fn with_metric(mut self, metric: u32) -> Self {
        self.metric = Some(metric);
        self
    }

    /// In a table other than the main one.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for table 0, which does not exist.
    pub fn with_table(mut self, table: u32) -> Result<Self, Error> {
        if table == 0 {
            return Err(invalid("table", format!("0 is not in 1..={}", u32::MAX)));
        }
        self.table = table;
        Ok(self)
    }

    /// The first address of the prefix.
    #[must_use]
    pub const fn destination(&self) -> IpAddr {
        self.destination
    }

    /// The length of the prefix.
    #[must_use]
    pub const fn prefix_len(&self) -> u8 {
        self.prefix_len
    }

    /// The gateway.
    #[must_use]
    pub const fn gateway(&self) -> Option<IpAddr> {
        self.gateway
    }

    /// The name of the interface.
    #[must_use]
    pub fn interface(&self) -> Option<&str> {
        self.interface.as_deref()
    }

    /// The source address of packets that the host sends.
    #[must_use]
    pub const fn source(&self) -> Option<IpAddr> {
        self.source
    }

    /// The metric.
    #[must_use]
    pub const fn metric(&self) -> Option<u32> {
        self.metric
    }

    /// The table.
    #[must_use]
    pub const fn table(&self) -> u32 {
        self.table
    }

    /// Whether it [discards](Self::discard) the packets that it matches.
    #[must_use]
    pub const fn discards(&self) -> bool {
        self.discards
    }

    /// The family.
    #[must_use]
    pub const fn family(&self) -> Family {
        family(self.destination)
    }

    /// Whether the kernel may report this route as `reported`: it adds a metric where none was
    /// asked for, and leaves the name of the interface out.
    pub(crate) fn is_reported_as(&self, reported: &Self) -> bool {
        self.destination == reported.destination
            && self.prefix_len == reported.prefix_len
            && self.table == reported.table
            && self.gateway == reported.gateway
            && self
                .metric
                .is_none_or(|metric| reported.metric.unwrap_or(0) == metric)
    }

    fn check_family(&self, field: &'static str, address: IpAddr) -> Result<(), Error> {
        if family(address) == self.family() {
            return Ok(());
        }
        let family = self.family();
        let problem = format!("{address} is not of the route's family, {family}");
        Err(invalid(field, problem))
    }
}

/// The first address of the prefix that an address is in.
fn first_of(address: IpAddr, prefix_len: u8) -> IpAddr {
    let prefix_len = u32::from(prefix_len);
    match address {
        IpAddr::V4(address) => {
            let mask = !u32::MAX.checked_shr(prefix_len).unwrap_or(0);
            std::net::Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = !u128::MAX.checked_shr(prefix_len).unwrap_or(0);
            std::net::Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

const fn invalid(field: &'static str, problem: String) -> Error {
    Error::Invalid { field, problem }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.discards {
            f.write_str("blackhole ")?;
        }
        write!(f, "{}/{}", self.destination, self.prefix_len)?;
        if let Some(gateway) = self.gateway {
            write!(f, " via {gateway}")?;
        }
        if let Some(interface) = &self.interface {
            write!(f, " dev {interface}")?;
        }
        if let Some(source) = self.source {
            write!(f, " src {source}")?;
        }
        if let Some(metric) = self.metric {
            write!(f, " metric {metric}")?;
        }
        if self.table != MAIN {
            write!(f, " table {}", self.table)?;
        }
        Ok(())
    }
}

impl From<Route> for String {
    fn from(route: Route) -> Self {
        route.to_string()
    }
}

impl TryFrom<String> for Route {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl FromStr for Route {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let malformed = |field, word: &str| invalid(field, format!("{word:?} is not of its form"));
        let mut words = text.split_whitespace();
        let destination = words.next().unwrap_or_default();
        let (address, length) = match destination.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (destination, None),
        };
        let address: IpAddr = address
            .parse()
            .map_err(|_| malformed("destination", destination))?;
        let length = match length {
            Some(length) => length
                .parse()
                .map_err(|_| malformed("destination", destination))?,
            None if address.is_ipv4() => 32,
            None => 128,
        };
        let mut route = Self::new(address, length)?;
        while let Some(key) = words.next() {
            let value = words.next().unwrap_or_default();
            let address = |field| value.parse().map_err(|_| malformed(field, value));
            let number = |field| value.parse().map_err(|_| malformed(field, value));
            route = match key {
                "via" => route.with_gateway(address("gateway")?)?,
                "dev" if !value.is_empty() => route.with_interface(value),
                "src" => route.with_source(address("source")?)?,
                "metric" => route.with_metric(number("metric")?),
                "table" => route.with_table(number("table")?)?,
                _ => {
                    let problem =
                        format!("{key:?} is not one of via, dev, src, metric, table with a value");
                    return Err(invalid("route", problem));
                }
            };
        }
        Ok(route)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_read_as_it_is_written() {
        for text in [
            "0.0.0.0/0 via 192.0.2.9",
            "::/0 via fe80::1 dev eth0",
            "203.0.113.7/32",
            "2001:db8:1::/48 dev eth0 src 2001:db8::254 metric 5 table 4294967295",
        ] {
            assert_eq!(text.parse::<Route>().unwrap().to_string(), text);
        }
        let host: Route = "2001:db8::1".parse().unwrap();
        assert_eq!(host.to_string(), "2001:db8::1/128");
    }

    #[test]
    fn a_text_that_is_no_route_is_refused_with_the_field() {
        for (text, field) in [
            ("", "destination"),
            ("192.0.2.0/33", "destination"),
            ("192.0.2.1/24", "destination"),
            ("192.0.2.0/24 via 2001:db8::1", "gateway"),
            ("192.0.2.0/24 via", "gateway"),
            ("192.0.2.0/24 dev", "route"),
            ("192.0.2.0/24 src ::1", "source"),
            ("192.0.2.0/24 metric -1", "metric"),
            ("192.0.2.0/24 table 0", "table"),
            ("192.0.2.0/24 onlink", "route"),
        ] {
            let error = text.parse::<Route>().unwrap_err();
            assert!(
                matches!(error, Error::Invalid { field: named, .. } if named == field),
                "{text}: {error}"
            );
        }
    }
}
