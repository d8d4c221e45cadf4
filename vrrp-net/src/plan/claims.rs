//! Claims of other running instances on the same host, and the text by which instances state them.

use std::{collections::BTreeSet, fmt, net::IpAddr, str::FromStr};

use vrrp_proto::{Family, Vrid};

use crate::Route;

/// The last line of the claims.
const END: &str = "end";

/// The beginning of the line of a thing that is in use now.
const USED: &str = "uses ";

/// A thing on the host that one instance may have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Claim {
    Address(u32, IpAddr),
    Discard(IpAddr),
    Route(IpAddr, u8, u32),
    Link(u32),
    /// The settings of the parent of a macvlan.
    Parent(u32),
    /// The virtual MAC of one family and VRID on a parent. An instance claims it while it has a
    /// macvlan with it.
    VirtualMac(u32, Family, Vrid),
}

/// The claims of instances.
///
/// A claim stands whatever the state of its router is, so nothing of a live instance is taken for a
/// left-over. The things in use are those of the routers that are Active now: two instances may
/// claim one address, and it is removed with the last Active.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Claims {
    all: BTreeSet<Claim>,
    used: BTreeSet<Claim>,
    /// The virtual MACs that other instances keep if this one has them too.
    kept: BTreeSet<Claim>,
}

impl Claims {
    /// Parses the claims of an instance, once the last line is there.
    pub(crate) fn parse(answer: &[u8]) -> Option<Self> {
        // Checked first, because this runs for every part of a long answer.
        let lines = answer.strip_suffix(b"\n")?.strip_suffix(END.as_bytes())?;
        let lines = std::str::from_utf8(lines).ok()?;
        if !lines.is_empty() && !lines.ends_with('\n') {
            return None;
        }
        let mut claims = Self::default();
        for line in lines.lines() {
            let used = line.strip_prefix(USED);
            // Things that this version does not know are skipped: it cannot remove them either.
            if let Ok(claim) = used.unwrap_or(line).parse::<Claim>() {
                claims.add(claim, used.is_some());
            }
        }
        Some(claims)
    }

    /// Adds the claims of another instance. Where this one has a virtual MAC too, one of the two
    /// keeps it.
    pub(crate) fn extend(&mut self, other: &Self, keeps_virtual_macs: bool) {
        self.all.extend(other.all.iter().cloned());
        self.used.extend(other.used.iter().cloned());
        if keeps_virtual_macs {
            let macs = other.used.iter().filter(|it| it.is_virtual_mac());
            self.kept.extend(macs.cloned());
        }
    }

    /// Assumes that an address is in use, until the instances are asked.
    pub(super) fn doubt_address(&mut self, interface: u32, local: IpAddr) {
        self.add(Claim::Address(interface, local), true);
    }

    /// Forgets the things in use: their instance does not answer. It still has its macvlans.
    pub(crate) fn forget_use(&mut self) {
        self.used.retain(Claim::is_virtual_mac);
    }

    /// Adds something that an instance may have.
    pub(super) fn add(&mut self, claim: Claim, is_used: bool) {
        if is_used {
            self.used.insert(claim.clone());
        }
        self.all.insert(claim);
    }

    /// Whether an instance claims this, in use or not.
    pub(crate) fn include(&self, claim: &Claim) -> bool {
        self.all.contains(claim)
    }

    /// Whether an instance uses this now.
    pub(crate) fn use_now(&self, claim: &Claim) -> bool {
        self.used.contains(claim)
    }

    /// Whether an instance uses this virtual MAC, and keeps it where this one `has` it too.
    pub(super) fn keep_virtual_mac(&self, claim: &Claim, has: bool) -> bool {
        let set = if has { &self.kept } else { &self.used };
        set.contains(claim)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether both claim the same thing.
    pub(crate) fn overlap(&self, other: &Self) -> bool {
        !self.all.is_disjoint(&other.all)
    }
}

impl fmt::Display for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for claim in &self.all {
            let prefix = if self.used.contains(claim) { USED } else { "" };
            writeln!(f, "{prefix}{claim}")?;
        }
        writeln!(f, "{END}")
    }
}

impl Claim {
    const fn is_virtual_mac(&self) -> bool {
        matches!(self, Self::VirtualMac(..))
    }

    pub(super) fn of_route(route: &Route) -> Self {
        if route.discards() {
            return Self::Discard(route.destination());
        }
        Self::Route(route.destination(), route.prefix_len(), route.table())
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(interface, local) => write!(f, "address {interface} {local}"),
            Self::Discard(local) => write!(f, "discard {local}"),
            Self::Route(destination, prefix_len, table) => {
                write!(f, "route {destination}/{prefix_len} table {table}")
            }
            Self::Link(interface) => write!(f, "link {interface}"),
            Self::Parent(interface) => write!(f, "parent {interface}"),
            Self::VirtualMac(interface, family, vrid) => {
                write!(f, "mac {interface} {family} {vrid}")
            }
        }
    }
}

/// The line is not a claim that this version knows.
pub(crate) struct Unknown;

impl FromStr for Claim {
    type Err = Unknown;

    fn from_str(line: &str) -> Result<Self, Unknown> {
        fn read<T: FromStr>(word: &str) -> Result<T, Unknown> {
            word.parse().map_err(|_| Unknown)
        }
        let words: Vec<&str> = line.split(' ').collect();
        Ok(match words[..] {
            ["address", interface, local] => Self::Address(read(interface)?, read(local)?),
            ["discard", local] => Self::Discard(read(local)?),
            ["route", prefix, "table", table] => {
                let (destination, prefix_len) = prefix.split_once('/').ok_or(Unknown)?;
                Self::Route(read(destination)?, read(prefix_len)?, read(table)?)
            }
            ["link", interface] => Self::Link(read(interface)?),
            ["parent", interface] => Self::Parent(read(interface)?),
            ["mac", interface, family, vrid] => {
                let family = [Family::Ipv4, Family::Ipv6]
                    .into_iter()
                    .find(|it| it.to_string() == family);
                Self::VirtualMac(read(interface)?, family.ok_or(Unknown)?, read(vrid)?)
            }
            _ => return Err(Unknown),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_without_an_end_are_none() {
        let text = b"uses address 2 192.0.2.254\nlink 7\nrule 1\nend\n";
        let claims = Claims::parse(text).unwrap();
        let local = "192.0.2.254".parse().unwrap();
        for (interface, is_claimed) in [(2, true), (3, false)] {
            let address = Claim::Address(interface, local);
            assert_eq!(claims.include(&address), is_claimed);
            assert_eq!(claims.use_now(&address), is_claimed);
        }
        let link = Claim::Link(7);
        assert!(claims.include(&link) && !claims.use_now(&link));
        assert_eq!(Claims::parse(claims.to_string().as_bytes()), Some(claims));
        for end in [text.len() - 1, text.len() - 4, 0] {
            assert_eq!(Claims::parse(&text[..end]), None);
        }
    }

    #[test]
    fn every_claim_reads_as_it_was_written() {
        let local: IpAddr = "2001:db8::1".parse().unwrap();
        for claim in [
            Claim::Address(3, local),
            Claim::Discard(local),
            Claim::Route(local, 64, 254),
            Claim::Link(3),
            Claim::Parent(3),
            Claim::VirtualMac(3, Family::Ipv6, Vrid::MIN),
        ] {
            assert_eq!(claim.to_string().parse().ok(), Some(claim));
        }
    }
}
