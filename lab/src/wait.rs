use std::{
    thread,
    time::{Duration, Instant},
};

use crate::Error;

const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// Calls `probe` again and again until it returns a value, for at most `limit`. The pauses grow
/// from a millisecond to a thirtieth of the time waited so far, 20 ms at most, so that many waits
/// do not slow down the programs under test.
///
/// # Errors
///
/// [`Error::Timeout`] naming `what`.
///
/// ```
/// use std::time::{Duration, Instant};
///
/// let started = Instant::now();
/// let waited = vrrp_lab::wait_for("the third millisecond", Duration::from_secs(1), || {
///     let elapsed = started.elapsed();
///     (elapsed >= Duration::from_millis(3)).then_some(elapsed)
/// })?;
/// assert!(waited >= Duration::from_millis(3));
/// # Ok::<(), vrrp_lab::Error>(())
/// ```
pub fn wait_for<T>(
    what: &str,
    limit: Duration,
    mut probe: impl FnMut() -> Option<T>,
) -> Result<T, Error> {
    let start = Instant::now();
    loop {
        // The time is read first, so that a thread that was not scheduled for a while still calls
        // once more.
        let waited = start.elapsed();
        let late = waited >= limit;
        if let Some(answer) = probe() {
            return Ok(answer);
        }
        if late {
            return Err(Error::Timeout {
                what: what.into(),
                limit,
            });
        }
        thread::sleep((waited / 30).clamp(Duration::from_millis(1), LONGEST_PAUSE));
    }
}
