//! Number of a virtual router.

use core::{fmt, num::NonZeroU8};

use crate::OutOfRange;

/// Virtual Router Identifier, 1 to 255 (RFC 9568 section 6.1). There is no default.
///
/// ```
/// use vrrp_proto::Vrid;
///
/// let vrid = Vrid::new(51).ok_or("not a VRID")?;
/// assert_eq!(vrid.get(), 51);
/// assert_eq!(Vrid::new(0), None);
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Vrid(NonZeroU8);

impl Vrid {
    /// The lowest VRID, 1.
    pub const MIN: Self = Self(NonZeroU8::MIN);

    /// Makes an identifier of a number. Returns `None` for 0.
    #[must_use]
    pub const fn new(number: u8) -> Option<Self> {
        match NonZeroU8::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// Returns the number, 1 to 255.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0.get()
    }
}

impl TryFrom<u8> for Vrid {
    type Error = OutOfRange;

    fn try_from(number: u8) -> Result<Self, OutOfRange> {
        Self::new(number).ok_or(OutOfRange {
            field: "VRID",
            value: u64::from(number),
            lowest: 1,
            highest: 255,
        })
    }
}

impl fmt::Display for Vrid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
