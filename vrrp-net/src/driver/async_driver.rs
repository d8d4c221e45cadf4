//! A driver inside tokio.

use std::os::fd::{AsFd, OwnedFd};

use tokio::io::unix::AsyncFd;

use super::{Driver, Notification};
use crate::{Error, kernel::sys};

/// A [`Driver`] for a task of tokio: [`next`](Self::next) waits for the next notification, and
/// takes the turns on the way.
///
/// ```no_run
/// use vrrp_net::{AsyncDriver, Driver};
///
/// # async fn example() -> Result<(), vrrp_net::Error> {
/// let mut driver = AsyncDriver::new(Driver::new()?)?;
/// let handle = driver.get_ref().handle();
/// loop {
///     tokio::select! {
///         notification = driver.next() => match notification? {
///             Some(notification) => println!("{notification}"),
///             None => break,
///         },
///         _ = tokio::signal::ctrl_c() => handle.stop(),
///     }
/// }
/// # Ok(())
/// # }
/// ```
///
/// Its timers are exact: they are in the descriptor, and not rounded to the milliseconds of tokio.
/// A turn may take a millisecond, so give it a thread of its own (a runtime of one thread) where
/// other tasks of that thread can take long.
#[derive(Debug)]
pub struct AsyncDriver {
    driver: Driver,
    descriptor: AsyncFd<OwnedFd>,
}

impl AsyncDriver {
    /// Puts a driver into the runtime of tokio that is current, with I/O enabled.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] where the system has no more descriptors.
    ///
    /// # Panics
    ///
    /// Outside a runtime of tokio, as [`AsyncFd`] does.
    pub fn new(driver: Driver) -> Result<Self, Error> {
        let descriptor = driver
            .as_fd()
            .try_clone_to_owned()
            .and_then(sys::register)
            .map_err(Error::os("wait for the driver in tokio"))?;
        Ok(Self { driver, descriptor })
    }

    /// Waits for the next notification; `None` once the driver [is stopped](Driver::is_stopped) and
    /// all are handed out.
    ///
    /// It is cancel-safe: in `tokio::select!` nothing is lost when another branch is first. The
    /// routers make progress only while a call waits here, so call it in a loop.
    ///
    /// # Errors
    ///
    /// As for [`Driver::turn`].
    pub async fn next(&mut self) -> Result<Option<Notification>, Error> {
        loop {
            if let Some(notification) = self.driver.next_notification() {
                return Ok(Some(notification));
            }
            if self.driver.is_stopped() {
                return Ok(None);
            }
            self.driver.arm_timer()?;
            self.descriptor
                .readable()
                .await
                .map_err(Error::os("wait for packets"))?
                .clear_ready();
            self.driver.turn()?;
        }
    }

    /// The driver, for calls that do not change it.
    #[must_use]
    pub const fn get_ref(&self) -> &Driver {
        &self.driver
    }

    /// The driver, for calls that change it.
    pub const fn get_mut(&mut self) -> &mut Driver {
        &mut self.driver
    }

    /// Takes the driver out of tokio.
    #[must_use]
    pub fn into_inner(self) -> Driver {
        self.driver
    }
}
