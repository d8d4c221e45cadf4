//! The error for a number outside its range.

use core::fmt;

/// A number lies outside the range that the protocol allows for a field.
///
/// ```
/// use vrrp_proto::Vrid;
///
/// assert_eq!(Vrid::try_from(0).unwrap_err().to_string(), "VRID 0 is not in 1..=255");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct OutOfRange {
    /// The field.
    pub field: &'static str,
    /// The number.
    pub value: u64,
    /// The lowest number allowed.
    pub lowest: u64,
    /// The highest number allowed.
    pub highest: u64,
}

impl fmt::Display for OutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            field,
            value,
            lowest,
            highest,
        } = self;
        write!(f, "{field} {value} is not in {lowest}..={highest}")
    }
}

impl core::error::Error for OutOfRange {}
