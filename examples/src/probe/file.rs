//! A number in a file on this host that adjusts the weight of a server.

use std::path::PathBuf;

use ipvs_netlink::pool::{FailureKind, Outcome, WeightReport};
use serde::Deserialize;

use crate::tracked::text_of_number;

/// A file with a whole number in it. The number times `factor` is added to the weight of the
/// server.
///
/// A sum below 0 is weight 0. The server fails where the product is -2³¹ or less, and with the
/// factor 0 at any number except 0. A file that cannot be read, or has no number, changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// The path.
    pub path: PathBuf,
    /// The factor. Default: 1.
    #[serde(default = "one")]
    pub factor: i32,
}

const fn one() -> i32 {
    1
}

impl File {
    /// Reads the file.
    pub(super) fn read(&self) -> Outcome {
        match text_of_number(&self.path) {
            Ok(text) => self.outcome(&text),
            Err(error) => Outcome::LocalFailure(format!("{}: {error}", self.path.display()).into()),
        }
    }

    fn outcome(&self, text: &str) -> Outcome {
        let Ok(number) = text.trim().parse::<i64>() else {
            let text = format!("{}: no whole number", self.path.display());
            return Outcome::LocalFailure(text.into());
        };
        let points = number.saturating_mul(self.factor.into());
        if points <= i32::MIN.into() || (self.factor == 0 && number != 0) {
            let text = format!("{number} in {}", self.path.display());
            return Outcome::failure(FailureKind::Reported, text);
        }
        let points = points.min(i32::MAX.into());
        Outcome::Weight(WeightReport::Add(points), number.to_string().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_adds_to_the_weight_and_the_least_one_is_a_failure() {
        let file = |factor| File {
            path: "/x".into(),
            factor,
        };
        let points = |factor, text| match file(factor).outcome(text) {
            Outcome::Weight(WeightReport::Add(points), _) => Some(points),
            _ => None,
        };
        assert_eq!(points(1, "5\n"), Some(5));
        assert_eq!(points(-3, " 5"), Some(-15));
        assert_eq!(points(1, "-2147483647"), Some(-2_147_483_647));
        assert_eq!(points(2, "9223372036854775807"), Some(i32::MAX.into()));
        let failures = [
            (1, "-2147483648"),
            (-1, "2147483648"),
            (2, "-2000000000"),
            (0, "1"),
        ];
        assert_eq!(points(0, "0"), Some(0));
        for (factor, text) in failures {
            let outcome = file(factor).outcome(text);
            assert!(
                matches!(outcome, Outcome::Failure(_)),
                "{factor} {text}: {outcome}"
            );
        }
        for text in ["", "x", "1 2"] {
            let outcome = file(1).outcome(text);
            assert!(
                matches!(outcome, Outcome::LocalFailure(_)),
                "{text:?}: {outcome}"
            );
        }
        let missing = File {
            path: "/nonexistent/number".into(),
            factor: 1,
        };
        assert!(matches!(missing.read(), Outcome::LocalFailure(_)));
    }
}
