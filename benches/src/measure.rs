//! Measures in turns, so that everything runs under the same conditions.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

/// A piece of work that runs this many times.
pub type Repeat = Box<dyn FnMut(u32)>;

/// How often a piece of work runs in one sample. A sample takes long compared with the 25 ns of
/// reading the clock.
const RUNS: u32 = 2000;

/// Repeats some work over an input. The compiler knows neither the input nor the use of the result,
/// so it can neither leave out work nor move work out of the loop.
pub fn repeat<I: 'static, O>(mut input: I, work: impl Fn(&mut I) -> O + 'static) -> Repeat {
    Box::new(move |times| {
        for _ in 0..times {
            black_box(&work(black_box(&mut input)));
        }
    })
}

/// Whether the program was called with `--quick`.
#[must_use]
pub fn is_quick() -> bool {
    std::env::args().any(|argument| argument == "--quick")
}

/// Nanoseconds per run, one value a sample.
#[derive(Clone, Debug)]
pub struct Samples(Vec<f64>);

impl FromIterator<Duration> for Samples {
    fn from_iter<I: IntoIterator<Item = Duration>>(samples: I) -> Self {
        let nanoseconds = |sample: Duration| sample.as_secs_f64() * 1e9;
        Self(samples.into_iter().map(nanoseconds).collect())
    }
}

impl Samples {
    /// The fastest sample: the time of the work when nothing disturbs it.
    #[must_use]
    pub fn best(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// The median.
    #[must_use]
    pub fn median(&self) -> f64 {
        median(self.0.clone())
    }

    /// The time as a multiple of that of all `others` together: the median over samples that were
    /// taken one after the other, so that a change of the clock's speed changes both.
    #[must_use]
    pub fn ratio(&self, others: &[&Self]) -> f64 {
        let ratio = |(round, own): (usize, &f64)| {
            own / others.iter().map(|other| other.0[round]).sum::<f64>()
        };
        median(self.0.iter().enumerate().map(ratio).collect())
    }
}

/// The median of these values; not a number where there are none.
#[must_use]
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.get(middle), values.len() % 2) {
        (Some(upper), 0) => f64::midpoint(values[middle - 1], *upper),
        (Some(middle), _) => *middle,
        (None, _) => f64::NAN,
    }
}

/// Measures pieces of work in turns: a sample of each, then the next sample of each.
pub fn interleave<'a>(works: impl IntoIterator<Item = &'a mut Repeat>) -> Vec<Samples> {
    let rounds = if is_quick() { 200 } else { 3000 };
    let mut works: Vec<_> = works
        .into_iter()
        .map(|work| (work, Samples(Vec::with_capacity(rounds))))
        .collect();
    for _ in 0..rounds {
        for (work, samples) in &mut works {
            samples
                .0
                .push(sample(work).as_secs_f64() * 1e9 / f64::from(RUNS));
        }
    }
    works.into_iter().map(|(_, samples)| samples).collect()
}

fn sample(work: &mut Repeat) -> Duration {
    let start = Instant::now();
    work(RUNS);
    start.elapsed()
}

/// Whether a budget is met, in a word.
#[must_use]
pub fn verdict(value: f64, budget: Option<f64>) -> &'static str {
    match budget {
        Some(budget) if value <= budget => "met",
        Some(_) => "missed",
        None => "",
    }
}
