//! Instants of time.

use core::{
    fmt,
    ops::{Add, Sub},
    time::Duration,
};

/// A point in time, in nanoseconds since an epoch that the caller chooses.
///
/// Every call that depends on time takes an instant. Any monotonic clock works, including a
/// simulated one or a hardware timer. 64 bits last 584 years, and a nanosecond distinguishes the
/// Skew_Times of different priorities (T-12).
///
/// Arithmetic does not overflow: it stops at [`ZERO`](Self::ZERO) and [`MAX`](Self::MAX). A
/// deadline at `MAX` is never reached.
///
/// ```
/// use core::time::Duration;
/// use vrrp_fsm::Instant;
///
/// let now = Instant::from_nanos(5_000_000_000);
/// assert_eq!(now + Duration::from_millis(250), Instant::from_nanos(5_250_000_000));
/// assert_eq!(now - Instant::ZERO, Duration::from_secs(5));
/// assert_eq!(Instant::ZERO - now, Duration::ZERO);
/// assert_eq!(now + Duration::MAX, Instant::MAX);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Instant(u64);

impl Instant {
    /// The epoch.
    pub const ZERO: Self = Self(0);
    /// The end of time: a deadline that is never reached.
    pub const MAX: Self = Self(u64::MAX);

    /// Makes an instant this many nanoseconds after the epoch.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Returns the nanoseconds since the epoch.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Adds a duration, up to [`MAX`](Self::MAX).
    #[must_use]
    pub const fn saturating_add(self, duration: Duration) -> Self {
        self.after(nanos(duration))
    }

    /// Subtracts a duration, down to [`ZERO`](Self::ZERO).
    #[must_use]
    pub const fn saturating_sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(duration)))
    }

    /// Adds a duration. Returns `None` beyond [`MAX`](Self::MAX).
    #[must_use]
    pub fn checked_add(self, duration: Duration) -> Option<Self> {
        let nanos = u64::try_from(duration.as_nanos()).ok()?;
        self.0.checked_add(nanos).map(Self)
    }

    /// Returns the time since an earlier instant; zero if that instant is later.
    #[must_use]
    pub const fn saturating_duration_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    pub(crate) const fn after(self, nanos: u64) -> Self {
        Self(self.0.saturating_add(nanos))
    }

    /// Whether a deadline at this instant is due.
    pub(crate) const fn is_due(self, now: Self) -> bool {
        self.0 <= now.0 && self.0 != Self::MAX.0
    }
}

/// Returns the nanoseconds of a duration, at most `u64::MAX`.
pub(crate) const fn nanos(duration: Duration) -> u64 {
    let whole = duration.as_nanos();
    if whole > u64::MAX as u128 {
        u64::MAX
    } else {
        // The comparison above limits it.
        #[allow(clippy::cast_possible_truncation)]
        {
            whole as u64
        }
    }
}

/// [`saturating_add`](Instant::saturating_add).
impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        self.saturating_add(duration)
    }
}

/// [`saturating_sub`](Instant::saturating_sub).
impl Sub<Duration> for Instant {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        self.saturating_sub(duration)
    }
}

/// [`saturating_duration_since`](Instant::saturating_duration_since).
impl Sub for Instant {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.saturating_duration_since(earlier)
    }
}

/// Seconds since the epoch, with nine digits.
impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NANOS_PER_SECOND: u64 = 1_000_000_000;
        write!(
            f,
            "{}.{:09} s",
            self.0 / NANOS_PER_SECOND,
            self.0 % NANOS_PER_SECOND
        )
    }
}
