//! Values from text and from numbers, as a user types them.

use core::{fmt, str::FromStr, time::Duration};

use crate::{Family, Interval, OutOfRange, Password, Priority, Version, Vrid};

/// A text or a number is not a valid value of the protocol.
///
/// ```
/// use vrrp_proto::{Interval, Priority};
///
/// let problem = "high".parse::<Priority>().unwrap_err();
/// assert_eq!(problem.to_string(), "priority: expected a number, 0 to 255");
/// let problem = "41 s".parse::<Interval>().map(Interval::as_centis);
/// assert_eq!(problem, Ok(4100), "version 2 allows up to 255 seconds");
/// let problem = "0 cs".parse::<Interval>().unwrap_err();
/// assert_eq!(problem.to_string(), "interval in centiseconds 0 is not in 1..=4095");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum InvalidValue {
    /// The number is outside the range of the field.
    OutOfRange(OutOfRange),
    /// The text does not have the form of the field, or the number does not have its unit.
    Form {
        /// The field.
        field: &'static str,
        /// The accepted forms.
        expected: &'static str,
    },
}

impl fmt::Display for InvalidValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfRange(fault) => fault.fmt(f),
            Self::Form { field, expected } => write!(f, "{field}: expected {expected}"),
        }
    }
}

impl core::error::Error for InvalidValue {}

impl From<OutOfRange> for InvalidValue {
    fn from(error: OutOfRange) -> Self {
        Self::OutOfRange(error)
    }
}

const fn form(field: &'static str, expected: &'static str) -> InvalidValue {
    InvalidValue::Form { field, expected }
}

/// A number from 0 to 255, as for [`Priority::new`].
impl FromStr for Priority {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let number = text.parse();
        number
            .map(Self::new)
            .map_err(|_| form("priority", "a number, 0 to 255"))
    }
}

/// A number from 1 to 255.
impl FromStr for Vrid {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let number: u8 = text
            .parse()
            .map_err(|_| form("VRID", "a number, 1 to 255"))?;
        Ok(Self::try_from(number)?)
    }
}

impl TryFrom<u8> for Version {
    type Error = OutOfRange;

    fn try_from(number: u8) -> Result<Self, OutOfRange> {
        match number {
            2 => Ok(Self::V2),
            3 => Ok(Self::V3),
            _ => Err(OutOfRange {
                field: "version",
                value: number.into(),
                lowest: 2,
                highest: 3,
            }),
        }
    }
}

/// `2` or `3`, or the text form `VRRPv2` or `VRRPv3`.
impl FromStr for Version {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        match text.strip_prefix("VRRPv").unwrap_or(text) {
            "2" => Ok(Self::V2),
            "3" => Ok(Self::V3),
            _ => Err(form("version", "2 or 3")),
        }
    }
}

/// `ipv4` or `ipv6`, in either case.
impl FromStr for Family {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        [Self::Ipv4, Self::Ipv6]
            .into_iter()
            .zip(["ipv4", "ipv6"])
            .find_map(|(family, name)| text.eq_ignore_ascii_case(name).then_some(family))
            .ok_or(form("family", "ipv4 or ipv6"))
    }
}

/// A version 3 interval of whole centiseconds, 10 ms to 40.95 s.
///
/// ```
/// use core::time::Duration;
/// use vrrp_proto::Interval;
///
/// assert_eq!(Interval::try_from(Duration::from_millis(250)), Ok(Interval::centis(25)?));
/// let problem = Interval::try_from(Duration::from_millis(255)).unwrap_err();
/// assert_eq!(problem.to_string(), "interval: expected a multiple of 10 ms");
/// # Ok::<(), vrrp_proto::InvalidValue>(())
/// ```
impl TryFrom<Duration> for Interval {
    type Error = InvalidValue;

    fn try_from(duration: Duration) -> Result<Self, InvalidValue> {
        const CENTI: u128 = 10_000_000;
        let nanos = duration.as_nanos();
        if !nanos.is_multiple_of(CENTI) {
            return Err(form("interval", "a multiple of 10 ms"));
        }
        let centis = nanos / CENTI;
        let value = u64::try_from(centis).unwrap_or(u64::MAX);
        let centis = u16::try_from(centis).map_err(|_| OutOfRange {
            field: "interval in centiseconds",
            value,
            lowest: 1,
            highest: 4095,
        })?;
        Ok(Self::centis(centis)?)
    }
}

/// A number with its unit: `s` for version 2, which counts seconds; `cs` or `ms` for version 3,
/// which counts centiseconds. A space may stand between the number and the unit.
impl FromStr for Interval {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let wrong = form("interval", "a number with a unit: 1 s, 100 cs or 1000 ms");
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at_checked(digits).ok_or(wrong)?;
        let number: u64 = number.parse().map_err(|_| wrong)?;
        match unit.strip_prefix(' ').unwrap_or(unit) {
            "s" => {
                let seconds = u8::try_from(number).map_err(|_| OutOfRange {
                    field: "interval in seconds",
                    value: number,
                    lowest: 1,
                    highest: 255,
                })?;
                Ok(Self::seconds(seconds)?)
            }
            "cs" => Self::try_from(Duration::from_millis(number.saturating_mul(10))),
            "ms" => Self::try_from(Duration::from_millis(number)),
            _ => Err(wrong),
        }
    }
}

/// One to eight octets of UTF-8.
impl TryFrom<&str> for Password {
    type Error = OutOfRange;

    fn try_from(text: &str) -> Result<Self, OutOfRange> {
        Self::new(text.as_bytes())
    }
}

/// One to eight octets of UTF-8.
impl FromStr for Password {
    type Err = OutOfRange;

    fn from_str(text: &str) -> Result<Self, OutOfRange> {
        Self::try_from(text)
    }
}
