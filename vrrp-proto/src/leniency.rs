//! Deviations from the RFCs that a receiver may forgive.

/// Which deviations seen in the field are forgiven. Each has the name of its row in `docs/conformance.md` section 9.
///
/// As a setting it says what may be forgiven; in [`Decoded::tolerated`](crate::Decoded::tolerated) it says what had to be.
///
/// ```
/// use vrrp_proto::Leniency;
///
/// let lenient = Leniency { surplus: true, ..Leniency::NONE };
/// assert_eq!(lenient.names().collect::<Vec<_>>(), ["surplus"]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct Leniency {
    /// AMB-06: octets after the message, inside the IP packet. They are ignored and handed out as
    /// [`Decoded::surplus`](crate::Decoded::surplus). The checksum is that of the message alone over IPv4, and that of the
    /// whole payload over IPv6.
    pub surplus: bool,
    /// AMB-08: a version 2 message with no address, which keepalived sends when it has none to send.
    pub v2_without_addresses: bool,
    /// AMB-10: an IPv6 message whose first address is not link-local, which FRR and keepalived can be told to send.
    pub first_address_not_link_local: bool,
}

impl Leniency {
    /// Nothing is forgiven.
    pub const NONE: Self = Self {
        surplus: false,
        v2_without_addresses: false,
        first_address_not_link_local: false,
    };

    /// Everything is forgiven.
    pub const ALL: Self = Self {
        surplus: true,
        v2_without_addresses: true,
        first_address_not_link_local: true,
    };

    /// Whether nothing is forgiven.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }

    /// The names of the fields that are set, with hyphens, in the order of the AMB rows.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        [
            (self.surplus, "surplus"),
            (self.v2_without_addresses, "v2-without-addresses"),
            (
                self.first_address_not_link_local,
                "first-address-not-link-local",
            ),
        ]
        .into_iter()
        .filter_map(|(set, name)| set.then_some(name))
    }
}
