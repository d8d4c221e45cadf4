//! Virtual addresses with their options.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
};

use super::{
    complaint::{Complaint, Kind},
    host::{Host, LONGEST_NAME},
    tree::Entry,
    value::{self, Range},
};

/// An address to add to a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The address.
    pub address: IpAddr,
    /// The length of its prefix.
    pub prefix_len: u8,
    /// The interface that it goes to, if that is not the instance's.
    pub interface: Option<String>,
    /// `host`, `link`, or another scope's name; `global` by default.
    pub scope: String,
    /// The broadcast address; `+` stands for that of the prefix.
    pub broadcast: Option<Broadcast>,
    /// The label, as `ip address` shows it.
    pub label: Option<String>,
    /// The other end of a point-to-point link, with its prefix length.
    pub peer: Option<(IpAddr, u8)>,
    /// Whether its loss takes the instance out of MASTER.
    pub is_tracked: bool,
    /// `use_vmac`: it goes to a virtual MAC on its own interface.
    pub uses_vmac: bool,
    /// The name of the macvlan that it goes to, where that is not the instance's.
    pub macvlan: Option<String>,
    /// `track_group`, of a static address.
    pub track_group: Option<String>,
    /// Flags of IPv6: `home`, `-nodad`, `noprefixroute`, `mngtmpaddr`, `autojoin`.
    pub flags: Vec<&'static str>,
    /// The preferred lifetime of IPv6: `forever`, or seconds.
    pub preferred: Option<String>,
}

/// A broadcast address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broadcast {
    /// The broadcast address of the prefix: host bits set.
    OfPrefix,
    /// The broadcast address of the prefix with the host bits cleared.
    OfPrefixZero,
    /// A given address.
    Address(Ipv4Addr),
}

/// The longest prefix of a family.
const fn longest(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The address at the start of a text, before its prefix length.
pub(super) fn without_length(text: &str) -> Option<IpAddr> {
    text.split('/').next()?.parse().ok()
}

/// Reads `ADDRESS[/LENGTH]`. An invalid length gives a complaint. Its leading digits are used, or
/// the longest length where they are no length from 1: keepalived uses 0, which makes every address
/// of the family a neighbour.
pub(super) fn prefix(text: &str, complain: &mut dyn FnMut(Complaint)) -> Option<(IpAddr, u8)> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let parsed = match address {
        "default" | "any" | "all" if length.is_none() => {
            Some((IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0))
        }
        "default6" if length.is_none() => Some((IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED), 0)),
        _ => address.parse().ok().map(|it: IpAddr| (it, longest(it))),
    };
    let Some((address, whole)) = parsed else {
        complain(
            Complaint::new(Kind::BadAddress, format!("{text:?} is not an IP address"))
                .token(text)
                .help("write a numeric address such as 192.0.2.1/24; names are not looked up"),
        );
        return None;
    };
    let length = match length {
        None => whole,
        Some(length) => {
            let most = longest(address);
            let number = value::number(length, Range::whole(0, most.into()).lenient());
            let usable = number.value.and_then(|value| u8::try_from(value).ok());
            if number.problem.is_some() {
                let used = usable.filter(|length| *length > 0).unwrap_or(most);
                complain(
                    Complaint::new(
                        Kind::BadPrefix,
                        format!(
                            "{length:?} is not a prefix length from 0 to {most}; {used} is used"
                        ),
                    )
                    .token(length),
                );
                used
            } else {
                usable.unwrap_or(most)
            }
        }
    };
    Some((address, length))
}

/// The block that an address stands in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    /// Whether it is `static_ipaddress`, and not a block of an instance.
    pub(super) is_static: bool,
    /// Whether interfaces may come later.
    pub(super) allows_missing_interfaces: bool,
}

impl Address {
    /// Reads a line of an address block. `None` if the address is not used.
    pub(super) fn read(
        entry: &Entry,
        host: &Host,
        block: Block,
        complain: &mut dyn FnMut(Complaint),
    ) -> Option<Self> {
        let mut words = entry.words.iter().map(String::as_str);
        let first = words.next()?;
        let at = |complaint: Complaint| complaint.at(entry.place);
        let (address, prefix_len) = match first {
            "default" | "any" | "all" | "default6" => {
                complain(at(Complaint::new(
                    Kind::BadAddress,
                    format!("{first:?} is not an IP address"),
                )
                .token(first)));
                return None;
            }
            _ => prefix(first, &mut |complaint| complain(at(complaint)))?,
        };
        let mut result = Self {
            address,
            prefix_len,
            interface: None,
            scope: "global".into(),
            broadcast: None,
            label: None,
            peer: None,
            is_tracked: true,
            uses_vmac: false,
            macvlan: None,
            track_group: None,
            flags: Vec::new(),
            preferred: address
                .is_ipv6()
                .then(|| if prefix_len == 128 { "0" } else { "forever" }.to_owned()),
        };
        let mut is_usable = true;
        while let Some(word) = words.next() {
            let flag = ["home", "-nodad", "noprefixroute", "mngtmpaddr", "autojoin"]
                .into_iter()
                .find(|flag| *flag == word);
            if let Some(flag) = flag {
                result.flags.push(flag);
                continue;
            }
            match word {
                "no_track" => result.is_tracked = false,
                "use_vmac" if !block.is_static => result.uses_vmac = true,
                "dev" | "scope" | "brd" | "broadcast" | "label" | "peer" | "preferred_lft"
                | "track_group"
                    if word != "track_group" || block.is_static =>
                {
                    let Some(value) = words.next() else {
                        complain(at(Complaint::new(
                            Kind::MissingParameter,
                            format!("{word} of {first} needs a value; the address is not used"),
                        )));
                        return None;
                    };
                    let mut complain = |complaint| complain(at(complaint));
                    is_usable &= result.option(word, value, (host, block), &mut complain);
                }
                _ => complain(at(Complaint::new(
                    Kind::UnknownValue,
                    format!("{word:?} is no option of an address; it is ignored"),
                )
                .token(word)
                .help("each address stands on a line of its own"))),
            }
        }
        is_usable.then_some(result)
    }

    /// Reads an option. Returns whether the address is used with it.
    fn option(
        &mut self,
        word: &str,
        value: &str,
        (host, block): (&Host, Block),
        complain: &mut dyn FnMut(Complaint),
    ) -> bool {
        match word {
            "dev" => {
                if self.interface.is_some() {
                    complain(
                        Complaint::new(
                            Kind::Duplicate,
                            "an address has one dev; the address is not used",
                        )
                        .token(value),
                    );
                    return false;
                }
                if !host.interfaces.contains_key(value) && !block.allows_missing_interfaces {
                    complain(no_such_interface(value));
                }
                self.interface = Some(value.into());
            }
            "scope" => self.read_scope(value, complain),
            "brd" | "broadcast" => return self.read_broadcast(value, complain),
            "label" => return self.read_label(value, complain),
            "peer" => self.read_peer(value, complain),
            "track_group" => self.track_group = Some(value.into()),
            _ => self.read_preferred(value, complain),
        }
        true
    }

    fn read_scope(&mut self, value: &str, complain: &mut dyn FnMut(Complaint)) {
        let Some(scope) = scope(value) else {
            complain(
                Complaint::new(
                    Kind::UnknownValue,
                    format!("{value:?} is no scope; it is ignored"),
                )
                .token(value)
                .help("write global, site, link, host, nowhere, or a number up to 255"),
            );
            return;
        };
        if self.address.is_ipv6() {
            complain(
                Complaint::new(
                    Kind::ScopeIgnored,
                    "IPv6 addresses have the scope that their bits say; the option is ignored",
                )
                .token(format!("{}/{}", self.address, self.prefix_len)),
            );
        } else {
            self.scope = scope;
        }
    }

    fn read_broadcast(&mut self, value: &str, complain: &mut dyn FnMut(Complaint)) -> bool {
        let broadcast = match (value, value.parse()) {
            _ if self.address.is_ipv6() => None,
            ("+", _) => Some(Broadcast::OfPrefix),
            ("-", _) => Some(Broadcast::OfPrefixZero),
            (_, Ok(address)) => Some(Broadcast::Address(address)),
            _ => None,
        };
        if broadcast.is_none() {
            complain(
                Complaint::new(
                    Kind::BadAddress,
                    format!("{value:?} is not a broadcast address; the address is not used"),
                )
                .token(value),
            );
        }
        self.broadcast = broadcast;
        broadcast.is_some()
    }

    fn read_label(&mut self, value: &str, complain: &mut dyn FnMut(Complaint)) -> bool {
        if value.len() > LONGEST_NAME {
            complain(
                Complaint::new(
                    Kind::NameTooLong,
                    format!(
                        "the label {value:?} has {} characters, at most {LONGEST_NAME} are possible; the address is not used",
                        value.len()
                    ),
                )
                .token(value),
            );
            return false;
        }
        if self.address.is_ipv6() {
            complain(
                Complaint::new(
                    Kind::Other,
                    "IPv6 addresses have no label; the label is ignored",
                )
                .token(value),
            );
        } else {
            self.label = Some(value.into());
        }
        true
    }

    fn read_peer(&mut self, value: &str, complain: &mut dyn FnMut(Complaint)) {
        match peer(value, complain) {
            Some((peer, _)) if peer.is_ipv4() != self.address.is_ipv4() => complain(
                Complaint::new(
                    Kind::FamilyMismatch,
                    format!(
                        "the peer {value} is of another family than {}",
                        self.address
                    ),
                )
                .token(value),
            ),
            Some((peer, length)) => {
                if self.prefix_len != longest(self.address) {
                    complain(Complaint::new(
                        Kind::Other,
                        "with a peer, the prefix length stands behind the peer's address",
                    ));
                    self.prefix_len = longest(self.address);
                    self.preferred = self.address.is_ipv6().then(|| "0".to_owned());
                }
                self.peer = Some((peer, length));
            }
            None => {}
        }
    }

    /// Reads the preferred lifetime, which IPv4 addresses do not have.
    fn read_preferred(&mut self, value: &str, complain: &mut dyn FnMut(Complaint)) {
        let seconds = value::number(value, Range::whole(0, u32::MAX.into()).lenient());
        let time = match (value, seconds.value) {
            ("forever", _) => Some("forever".to_owned()),
            (_, Some(seconds)) if seconds == i64::from(u32::MAX) => Some("forever".to_owned()),
            (_, seconds) => seconds.map(|seconds| seconds.to_string()),
        };
        if value != "forever" && seconds.problem.is_some() {
            complain(
                Complaint::new(
                    Kind::ValueInvalid,
                    format!("{value:?} is not a preferred lifetime"),
                )
                .token(value)
                .help("write forever, or seconds"),
            );
        }
        if self.address.is_ipv6() && time.is_some() {
            self.preferred = time;
        }
    }

    /// The address as the oracle prints it, on this interface.
    #[must_use]
    pub fn describe(&self, interface: &str) -> String {
        use fmt::Write as _;

        let mut text = self.address.to_string();
        if self.prefix_len != longest(self.address) {
            let _infallible = write!(text, "/{}", self.prefix_len);
        }
        match self.broadcast {
            Some(Broadcast::Address(address)) => {
                let _infallible = write!(text, " brd {address}");
            }
            Some(Broadcast::OfPrefix | Broadcast::OfPrefixZero) => {
                if let Some(address) = self.broadcast_address() {
                    let _infallible = write!(text, " brd {address}");
                }
            }
            None => {}
        }
        let vmac = if self.uses_vmac { " use_vmac" } else { "" };
        let _infallible = write!(text, " dev {interface}{vmac} scope {}", self.scope);
        if let Some(label) = &self.label {
            let _infallible = write!(text, " label {label}");
        }
        if let Some((peer, length)) = self.peer {
            let _infallible = write!(text, " peer {peer}/{length}");
        }
        for flag in &self.flags {
            let _infallible = write!(text, " {flag}");
        }
        match self.preferred.as_deref() {
            Some("0") => text.push_str(" deprecated"),
            Some(time) => {
                let _infallible = write!(text, " preferred_lft {time}");
            }
            None => {}
        }
        if !self.is_tracked {
            text.push_str(" no_track");
        }
        text
    }

    /// The broadcast address, if it has one.
    #[must_use]
    pub fn broadcast_address(&self) -> Option<Ipv4Addr> {
        let IpAddr::V4(address) = self.address else {
            return None;
        };
        let hosts = u32::MAX.checked_shr(self.prefix_len.into()).unwrap_or(0);
        Some(match self.broadcast? {
            Broadcast::Address(address) => address,
            Broadcast::OfPrefix => Ipv4Addr::from_bits(address.to_bits() | hosts),
            Broadcast::OfPrefixZero => Ipv4Addr::from_bits(address.to_bits() & !hosts),
        })
    }
}

/// The name of a scope, or its number where it has no name.
fn scope(text: &str) -> Option<String> {
    let number = match text {
        "global" => 0,
        "site" => 200,
        "link" => 253,
        "host" => 254,
        "nowhere" => 255,
        _ => u8::try_from(super::route::number(text)?).ok()?,
    };
    Some(match number {
        0 => "global".into(),
        200 => "site".into(),
        253 => "link".into(),
        254 => "host".into(),
        255 => "nowhere".into(),
        number => number.to_string(),
    })
}

/// The other end of a point-to-point link: an address, which keepalived 2.2.7 reads without a
/// prefix length.
fn peer(text: &str, complain: &mut dyn FnMut(Complaint)) -> Option<(IpAddr, u8)> {
    let address = text.parse().ok().map(|it: IpAddr| (it, longest(it)));
    if address.is_none() {
        complain(
            Complaint::new(
                Kind::BadAddress,
                format!("{text:?} is not the address of a peer; it is ignored"),
            )
            .token(text),
        );
    }
    address
}

/// Reads the name of an interface. `knows` says whether it may be named.
pub(super) fn interface(
    name: &str,
    knows: &dyn Fn(&str) -> bool,
    complain: &mut dyn FnMut(Complaint),
) -> String {
    if !knows(name) {
        complain(no_such_interface(name));
    }
    name.to_owned()
}

/// The complaint about an interface that the host does not have.
pub(super) fn no_such_interface(name: &str) -> Complaint {
    Complaint::new(
        Kind::NoSuchInterface,
        format!("this host has no interface {name:?}"),
    )
    .token(name)
    .help("write the name of an interface that exists, or dynamic_interfaces in global_defs")
}
