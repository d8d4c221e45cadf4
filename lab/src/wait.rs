use std::{
    thread,
    time::{Duration, Instant},
};

use crate::Error;

/// Calls `probe` every millisecond until it returns a value, for at most `limit`.
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
    let deadline = Instant::now() + limit;
    loop {
        // The time is read first, so that a thread that was not scheduled for a while still calls
        // once more.
        let late = Instant::now() >= deadline;
        if let Some(answer) = probe() {
            return Ok(answer);
        }
        if late {
            return Err(Error::Timeout {
                what: what.into(),
                limit,
            });
        }
        thread::sleep(Duration::from_millis(1));
    }
}
