//! The time between advertisements, in the unit of the wire.

use core::{fmt, num::NonZeroU16, time::Duration};

use crate::{OutOfRange, Version};

const NANOS_PER_CENTI: u64 = 10_000_000;

/// An advertisement interval in the unit that its version has on the wire: whole seconds in version
/// 2 (1 to 255), centiseconds in version 3 (1 to 4095; RFC 9568 section 5.2.7 with erratum 8301).
///
/// ```
/// use core::time::Duration;
/// use vrrp_proto::{Interval, Version};
///
/// let default = Interval::centis(100)?;
/// assert_eq!(default.version(), Version::V3);
/// assert_eq!(default.as_duration(), Duration::from_secs(1));
/// assert!(Interval::centis(4096).is_err());
/// assert_eq!(Interval::seconds(2)?.as_centis(), 200);
/// # Ok::<(), vrrp_proto::OutOfRange>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(try_from = "typed::Count", into = "typed::Count")
)]
pub struct Interval {
    version: Version,
    count: NonZeroU16,
}

impl Interval {
    /// One second in version 2, the default of RFC 3768.
    pub const DEFAULT_V2: Self = Self {
        version: Version::V2,
        count: NonZeroU16::MIN,
    };
    /// 100 centiseconds in version 3, the default of RFC 9568.
    pub const DEFAULT_V3: Self = Self {
        version: Version::V3,
        count: NonZeroU16::MIN.saturating_add(99),
    };

    /// Makes a version 2 interval of 1 to 255 seconds.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] for 0.
    pub const fn seconds(seconds: u8) -> Result<Self, OutOfRange> {
        match NonZeroU16::new(seconds as u16) {
            Some(count) => Ok(Self {
                version: Version::V2,
                count,
            }),
            None => Err(Self::out_of_range("interval in seconds", 0, Version::V2)),
        }
    }

    /// Makes a version 3 interval of 1 to 4095 centiseconds.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] for 0 and above 4095.
    pub const fn centis(centis: u16) -> Result<Self, OutOfRange> {
        match NonZeroU16::new(centis) {
            Some(count) if centis <= Version::V3.highest_interval() => Ok(Self {
                version: Version::V3,
                count,
            }),
            _ => Err(Self::out_of_range(
                "interval in centiseconds",
                centis,
                Version::V3,
            )),
        }
    }

    const fn out_of_range(field: &'static str, value: u16, version: Version) -> OutOfRange {
        OutOfRange {
            field,
            value: value as u64,
            lowest: 1,
            highest: version.highest_interval() as u64,
        }
    }

    /// Returns the version whose unit the interval has.
    #[must_use]
    pub const fn version(self) -> Version {
        self.version
    }

    /// Returns the number on the wire: seconds in version 2, centiseconds in version 3.
    #[must_use]
    pub const fn count(self) -> u16 {
        self.count.get()
    }

    /// Converts to centiseconds, exactly in both versions; at most 25 500.
    #[must_use]
    pub const fn as_centis(self) -> u16 {
        match self.version {
            Version::V2 => self.count.get() * 100,
            Version::V3 => self.count.get(),
        }
    }

    /// Converts to nanoseconds, exactly.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.as_centis() as u64 * NANOS_PER_CENTI
    }

    /// Converts to a duration, exactly.
    #[must_use]
    pub const fn as_duration(self) -> Duration {
        Duration::from_nanos(self.as_nanos())
    }

    /// Converts to version 2, rounded up to whole seconds (AMB-28). An Active that sends both
    /// versions uses it for its version 2 messages.
    #[must_use]
    pub const fn to_seconds_rounded_up(self) -> Self {
        // At most 255 either way, and at least 1 because the count is not zero.
        let seconds = self.as_centis().div_ceil(100);
        Self {
            version: Version::V2,
            count: NonZeroU16::MIN.saturating_add(seconds - 1),
        }
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version {
            Version::V2 => write!(f, "{} s", self.count),
            Version::V3 => write!(f, "{} cs", self.count),
        }
    }
}

/// The form in a configuration: the number with its unit.
#[cfg(feature = "serde")]
mod typed {
    use super::Interval;
    use crate::{OutOfRange, Version};

    #[derive(serde::Serialize, serde::Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub(super) enum Count {
        Seconds(u8),
        Centiseconds(u16),
    }

    impl From<Interval> for Count {
        fn from(interval: Interval) -> Self {
            match interval.version {
                // At most 255.
                Version::V2 => Self::Seconds(u8::try_from(interval.count.get()).unwrap_or(u8::MAX)),
                Version::V3 => Self::Centiseconds(interval.count.get()),
            }
        }
    }

    impl TryFrom<Count> for Interval {
        type Error = OutOfRange;

        fn try_from(count: Count) -> Result<Self, OutOfRange> {
            match count {
                Count::Seconds(seconds) => Self::seconds(seconds),
                Count::Centiseconds(centis) => Self::centis(centis),
            }
        }
    }
}
