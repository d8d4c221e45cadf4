//! Levels of tracked objects.

/// The level of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Level {
    /// It is up.
    Up,
    /// It is down.
    Down,
    /// The number of a [`Kind::Number`](super::Kind::Number).
    Number(i32),
}

impl Level {
    /// Whether it is up, or the number 0.
    #[must_use]
    pub const fn is_up(self) -> bool {
        matches!(self, Self::Up | Self::Number(0))
    }

    pub(super) const fn of(up: bool) -> Self {
        if up { Self::Up } else { Self::Down }
    }
}
