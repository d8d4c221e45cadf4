//! Pseudo-random numbers that are equal on every platform.

use core::time::Duration;

/// SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014): a
/// counter in steps of the golden ratio, with mixed values. Integers only, so a seed gives the same
/// run everywhere.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15;

    /// Makes a sequence that depends on these numbers and their order.
    pub(super) fn of(parts: impl IntoIterator<Item = u64>) -> Self {
        parts.into_iter().fold(Self(0), |mut before, part| {
            let mixed = before.next();
            Self(mixed ^ part)
        })
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(Self::GOLDEN_RATIO);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `bound`; 0 for a bound of 0. By multiplication (Lemire, 2019), whose
    /// bias is at most `bound` in 2^64.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        let product = u128::from(self.next()) * u128::from(bound);
        u64::try_from(product >> 64).unwrap_or(0)
    }

    /// Returns a random element.
    pub(super) fn pick<'a, T>(&mut self, list: &'a [T]) -> Option<&'a T> {
        let place = self.below(list.len() as u64);
        list.get(usize::try_from(place).ok()?)
    }

    /// Returns a time between two times, both included.
    pub(super) fn between(&mut self, shortest: Duration, longest: Duration) -> Duration {
        let span = nanos(longest.saturating_sub(shortest));
        shortest + Duration::from_nanos(self.below(span.saturating_add(1)))
    }

    /// Returns true with this probability in millionths.
    pub(super) fn happens(&mut self, per_million: u32) -> bool {
        self.below(1_000_000) < u64::from(per_million)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn it_gives_the_numbers_of_the_reference_implementation() {
        let mut random = Random(1_234_567);
        let numbers = [(); 3].map(|()| random.next());
        assert_eq!(
            numbers,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423
            ]
        );
    }
}
