//! Weights of tracked objects.

use super::{Level, TrackError};

/// The effect of an object on the routers that track it: a fault, or points of priority.
///
/// ```
/// use vrrp_fsm::track::Weight;
///
/// let weight = Weight::points(-50)?;
/// assert_eq!(weight.get(), Some(-50));
/// assert_eq!(Weight::FAULT.get(), None);
/// let error = Weight::points(254).unwrap_err();
/// assert_eq!(error.to_string(), "weight 254 must be -253..=-1 or 1..=253");
/// # Ok::<(), vrrp_fsm::track::TrackError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "i16"))]
pub struct Weight(i16);

impl Weight {
    /// While the object is down, the router is in Initialize with
    /// [`ShutdownCause::Fault`](crate::ShutdownCause::Fault), and the router does not leave
    /// Initialize before the object has reported. keepalived writes it as weight 0.
    pub const FAULT: Self = Self(0);

    /// The greatest weight, and the limit of an object's effect on a priority.
    pub const GREATEST: i16 = 253;

    /// Points of priority: a positive number is added while the object is up, a negative one while
    /// it is down. For a [`Kind::Number`](super::Kind::Number), the factor.
    ///
    /// # Errors
    ///
    /// [`TrackError::Weight`] for 0 and outside -253..=253.
    pub const fn points(points: i16) -> Result<Self, TrackError> {
        if points == 0 || points.unsigned_abs() > Self::GREATEST.unsigned_abs() {
            return Err(TrackError::Weight { value: points });
        }
        Ok(Self(points))
    }

    /// Returns the points, or `None` for [`FAULT`](Self::FAULT).
    #[must_use]
    pub const fn get(self) -> Option<i16> {
        match self.0 {
            0 => None,
            points => Some(points),
        }
    }
}

/// [`FAULT`](Weight::FAULT) for 0, as keepalived writes it, else [`points`](Weight::points).
impl TryFrom<i16> for Weight {
    type Error = TrackError;

    fn try_from(points: i16) -> Result<Self, TrackError> {
        match points {
            0 => Ok(Self::FAULT),
            points => Self::points(points),
        }
    }
}

/// The contribution of an object to a router that tracks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Contribution {
    /// Points of priority, -253 to 253.
    Points(i16),
    /// A fault: the router must be in Initialize.
    Fault,
    /// The object may be a fault and has not reported: a router in Initialize stays there.
    Unreported,
}

impl Contribution {
    /// Evaluates an object. `reverse` inverts a fault, and the sign of the points.
    pub(super) fn new(level: Option<Level>, weight: Weight, reverse: bool) -> Self {
        let Some(level) = level else {
            return match weight.get() {
                None => Self::Unreported,
                Some(_) => Self::Points(0),
            };
        };
        let Some(points) = weight.get() else {
            return if level.is_up() == reverse {
                Self::Fault
            } else {
                Self::Points(0)
            };
        };
        let sign = if reverse { -1 } else { 1 };
        let points = sign
            * match level {
                Level::Number(number) => i64::from(number) * i64::from(points),
                Level::Up => i64::from(points.max(0)),
                Level::Down => i64::from(points.min(0)),
            };
        let greatest = i64::from(Weight::GREATEST);
        match i16::try_from(points.min(greatest)) {
            Ok(points) if points >= -Weight::GREATEST => Self::Points(points),
            _ => Self::Fault,
        }
    }
}
