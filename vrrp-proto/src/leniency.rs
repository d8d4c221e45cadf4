//! Deviations from the RFCs that a receiver may tolerate.

/// Deviations from the RFCs, seen in the field, that are tolerated. `docs/conformance.md` section 9
/// describes each.
///
/// In [`DecodeOptions`](crate::DecodeOptions) these are the deviations that are allowed; in
/// [`Decoded::tolerated`](crate::Decoded::tolerated) those that a message has.
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
    /// AMB-06: octets after the message, inside the IP packet. They are ignored and returned as
    /// [`Decoded::surplus`](crate::Decoded::surplus). The checksum is that of the message alone
    /// over IPv4, and that of the whole payload over IPv6.
    pub surplus: bool,
    /// AMB-08: a version 2 message without an address, as keepalived sends it when it has none.
    pub v2_without_addresses: bool,
    /// AMB-10: an IPv6 message whose first address is not link-local, as FRR and keepalived send it
    /// if so configured.
    pub first_address_not_link_local: bool,
}

impl Leniency {
    /// No deviation.
    pub const NONE: Self = Self {
        surplus: false,
        v2_without_addresses: false,
        first_address_not_link_local: false,
    };

    /// Every deviation.
    pub const ALL: Self = Self {
        surplus: true,
        v2_without_addresses: true,
        first_address_not_link_local: true,
    };

    /// Whether it contains no deviation.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }

    /// Returns the names of the deviations, with hyphens, in the order of the AMB rows.
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
