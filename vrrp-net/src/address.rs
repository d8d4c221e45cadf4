//! Virtual addresses as they stand on an interface.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    str::FromStr,
};

use vrrp_proto::{Family, OutOfRange};

/// The scope of an IPv4 address, as in `ip address`. It is ignored for IPv6.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Scope {
    /// Everywhere.
    #[default]
    Global,
    /// On the link.
    Link,
    /// On this host.
    Host,
}

/// Settings that the kernel gets when an address is added. They do not identify the address: an
/// address on an interface counts as the wanted one whatever its settings are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
#[allow(
    clippy::struct_excessive_bools,
    reason = "the flags of ip-address(8), each on or off"
)]
pub struct AddressOptions {
    /// The broadcast address (IPv4). Default none.
    pub broadcast: Option<Ipv4Addr>,
    /// The seconds for which the host prefers the address as a source (IPv6); `u32::MAX` for ever.
    /// Default 0: the address is deprecated, and never chosen.
    pub preferred: u32,
    /// Whether the kernel looks for a duplicate before it uses the address (IPv6). Default false.
    pub detects_duplicates: bool,
    /// `home`: the home address of mobile IPv6.
    pub is_home: bool,
    /// `mngtmpaddr`: the kernel makes temporary addresses of its prefix (IPv6).
    pub manages_temporary: bool,
    /// `noprefixroute`: the kernel adds no route to its prefix.
    pub without_prefix_route: bool,
    /// `autojoin`: the kernel joins the group of a multicast address.
    pub joins_group: bool,
}

impl AddressOptions {
    /// The defaults.
    const NONE: Self = Self {
        broadcast: None,
        preferred: 0,
        detects_duplicates: false,
        is_home: false,
        manages_temporary: false,
        without_prefix_route: false,
        joins_group: false,
    };
}

/// A virtual address, and the settings with which it is put on an interface.
///
/// The prefix length is 32 or 128 unless another is given. With 32 or 128 the address brings no
/// route of its own, and is never the primary address of a subnet, whose removal would remove other
/// addresses of that subnet too.
///
/// ```
/// use vrrp_net::VirtualAddress;
///
/// let address: VirtualAddress = "192.0.2.1".parse()?;
/// assert_eq!(address.to_string(), "192.0.2.1/32");
/// let address: VirtualAddress = "2001:db8::1/64".parse()?;
/// assert_eq!(address.prefix_len(), 64);
/// let error = "192.0.2.1/33".parse::<VirtualAddress>().unwrap_err();
/// assert_eq!(error.to_string(), "prefix length 33 is not in 1..=32");
/// # Ok::<(), vrrp_net::ParseAddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(try_from = "typed::Address", into = "typed::Address")
)]
pub struct VirtualAddress {
    address: IpAddr,
    prefix_len: u8,
    scope: Scope,
    /// `None` for the defaults, which most addresses have.
    extras: Option<Box<Extras>>,
}

/// The rare settings of a virtual address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Extras {
    label: Option<Box<str>>,
    options: AddressOptions,
}

impl VirtualAddress {
    /// An address with a prefix length of 32 or 128.
    #[must_use]
    pub const fn new(address: IpAddr) -> Self {
        Self {
            address,
            prefix_len: if address.is_ipv4() { 32 } else { 128 },
            scope: Scope::Global,
            extras: None,
        }
    }

    /// With further settings.
    #[must_use]
    pub fn with_options(mut self, options: AddressOptions) -> Self {
        let label = self.extras.take().and_then(|it| it.label);
        self.set_extras(Extras { label, options });
        self
    }

    /// The further settings.
    #[must_use]
    pub fn options(&self) -> &AddressOptions {
        self.extras
            .as_deref()
            .map_or(&AddressOptions::NONE, |it| &it.options)
    }

    fn set_extras(&mut self, extras: Extras) {
        let is_default = extras == Extras::default();
        self.extras = (!is_default).then(|| Box::new(extras));
    }

    /// With another prefix length.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] for 0, for more than 32 with IPv4, and for more than 128 with IPv6.
    pub fn with_prefix_len(mut self, prefix_len: u8) -> Result<Self, OutOfRange> {
        let highest = if self.address.is_ipv4() { 32 } else { 128 };
        if prefix_len == 0 || prefix_len > highest {
            return Err(OutOfRange {
                field: "prefix length",
                value: prefix_len.into(),
                lowest: 1,
                highest: highest.into(),
            });
        }
        self.prefix_len = prefix_len;
        Ok(self)
    }

    /// With a scope.
    #[must_use]
    pub const fn with_scope(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
    }

    /// With a label (IPv4), which `ip address` and old tools show, such as `eth0:vip`.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] when it is empty or longer than 15 octets.
    pub fn with_label(mut self, label: &str) -> Result<Self, OutOfRange> {
        if label.is_empty() || label.len() > 15 {
            return Err(OutOfRange {
                field: "label length",
                value: label.len() as u64,
                lowest: 1,
                highest: 15,
            });
        }
        let options = *self.options();
        self.set_extras(Extras {
            label: Some(label.into()),
            options,
        });
        Ok(self)
    }

    /// The address.
    #[must_use]
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// The prefix length.
    #[must_use]
    pub const fn prefix_len(&self) -> u8 {
        self.prefix_len
    }

    /// The scope.
    #[must_use]
    pub const fn scope(&self) -> Scope {
        self.scope
    }

    /// The label.
    #[must_use]
    pub fn label(&self) -> Option<&str> {
        self.extras.as_ref()?.label.as_deref()
    }

    /// The family.
    #[must_use]
    pub const fn family(&self) -> Family {
        family(self.address)
    }
}

/// The family of an address.
pub(crate) const fn family(address: IpAddr) -> Family {
    match address {
        IpAddr::V4(_) => Family::Ipv4,
        IpAddr::V6(_) => Family::Ipv6,
    }
}

impl From<IpAddr> for VirtualAddress {
    fn from(address: IpAddr) -> Self {
        Self::new(address)
    }
}

impl fmt::Display for VirtualAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)
    }
}

/// The form that a user types: `ADDRESS/LENGTH`, or a table that also has a scope and a label.
#[cfg(feature = "serde")]
mod typed {
    use super::{AddressOptions, Extras, ParseAddressError, Scope, VirtualAddress};

    #[derive(serde::Serialize, serde::Deserialize)]
    #[serde(untagged)]
    pub(super) enum Address {
        Plain(String),
        Detailed {
            address: String,
            #[serde(default)]
            scope: Scope,
            #[serde(default)]
            label: Option<String>,
            #[serde(default)]
            options: AddressOptions,
        },
    }

    impl From<VirtualAddress> for Address {
        fn from(it: VirtualAddress) -> Self {
            let address = it.to_string();
            match (it.scope, it.extras) {
                (Scope::Global, None) => Self::Plain(address),
                (scope, extras) => {
                    let Extras { label, options } = extras.map(|it| *it).unwrap_or_default();
                    Self::Detailed {
                        address,
                        scope,
                        label: label.map(String::from),
                        options,
                    }
                }
            }
        }
    }

    impl TryFrom<Address> for VirtualAddress {
        type Error = ParseAddressError;

        fn try_from(typed: Address) -> Result<Self, ParseAddressError> {
            match typed {
                Address::Plain(address) => address.parse(),
                Address::Detailed {
                    address,
                    scope,
                    label,
                    options,
                } => {
                    let address = address.parse::<Self>()?.with_scope(scope);
                    let address = address.with_options(options);
                    Ok(match label {
                        Some(label) => address.with_label(&label)?,
                        None => address,
                    })
                }
            }
        }
    }
}

/// The reason why a text is not a virtual address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseAddressError {
    /// The text is neither of the form `ADDRESS` nor of the form `ADDRESS/LENGTH`.
    #[error("{text:?} is not of the form ADDRESS or ADDRESS/LENGTH")]
    Form {
        /// The text.
        text: String,
    },
    /// The prefix length is out of range for the family.
    #[error(transparent)]
    PrefixLen(#[from] OutOfRange),
}

impl FromStr for VirtualAddress {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = || ParseAddressError::Form { text: text.into() };
        let (address, prefix_len) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length.parse().map_err(|_| form())?)),
            None => (text, None),
        };
        let address = Self::new(address.parse().map_err(|_| form())?);
        match prefix_len {
            Some(prefix_len) => Ok(address.with_prefix_len(prefix_len)?),
            None => Ok(address),
        }
    }
}
