//! Settings drawn at random.

use fastrand::Rng;

use crate::setting::{Authentication, Setting, Unicast, WINDOW};

/// The approximate number of messages that are received in a run with random settings: about a
/// second's work.
const MESSAGES: f64 = 200_000.0;

/// Draws settings from a seed: every option of the program except mistakes. The number of hours
/// follows from the others, so that every run takes about as long.
///
/// A message takes less than half of an interval. With longer delays a Backup can miss an Active
/// that no fault has disturbed. Where authentication limits the age of messages, a message takes
/// less than 90 % of that limit.
pub(crate) fn setting(seed: u64) -> Setting {
    let mut random = Rng::with_seed(seed);
    let routers = random.u32(1..=12);
    let fleets = random.u32(1..=7);
    let interval = whole(logarithmic(&mut random, 1.0, 4095.0));
    let longest_delay = f64::from(interval) * 10_000.0 * 0.45;
    let seconds = f64::from(interval) / 100.0;
    let hours = MESSAGES * seconds / f64::from(routers * fleets) / 3600.0;
    let mut setting = Setting {
        routers,
        fleets,
        // Three digits, so that the printed settings are the same.
        hours: (hours.clamp(0.01, 1000.0) * 1000.0).round() / 1000.0,
        interval: u16::try_from(interval).unwrap_or(u16::MAX),
        delay: whole(logarithmic(&mut random, 50.0, longest_delay)).into(),
        loss: per_cent(&mut random, 200),
        duplication: per_cent(&mut random, 50),
        late: per_cent(&mut random, 20),
        resent: per_cent(&mut random, 20),
        unicast: pick(&mut random, &[Unicast::None, Unicast::Half, Unicast::All]),
        authentication: pick(
            &mut random,
            &[
                Authentication::None,
                Authentication::Password,
                Authentication::Ah,
                Authentication::Hmac,
                Authentication::HmacTime,
            ],
        ),
        faults_every: if random.u8(0..8) == 0 {
            0
        } else {
            whole(logarithmic(&mut random, 10.0, 3000.0))
        },
        faults_last: random.u32(1..=120),
        groups: random.u32(0..=routers / 2),
        mistake: None,
    };
    if setting.authentication == Authentication::HmacTime {
        setting.delay = setting.delay.min(u64::from(WINDOW) * 900_000);
    }
    setting
}

/// Draws a number whose order of magnitude is uniform.
fn logarithmic(random: &mut Rng, lowest: f64, highest: f64) -> f64 {
    (lowest.ln() + random.f64() * (highest / lowest).ln()).exp()
}

fn whole(number: f64) -> u32 {
    // It is positive, and less than 2^32.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let whole = number.round() as u32;
    whole
}

/// Draws zero half of the time, else up to this many tenths of a per cent.
fn per_cent(random: &mut Rng, tenths: u32) -> f64 {
    if random.bool() {
        return 0.0;
    }
    f64::from(random.u32(1..=tenths)) / 10.0
}

fn pick<T: Copy>(random: &mut Rng, list: &[T]) -> T {
    list[random.usize(..list.len())]
}
