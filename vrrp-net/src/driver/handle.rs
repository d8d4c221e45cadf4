//! Requests of other threads to the driver.

use std::{
    mem,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
};

use rustix::event::{EventfdFlags, eventfd};
use vrrp_fsm::{
    fleet::RouterId,
    track::{ObjectId, Report},
};

use super::{Driver, DriverEvent};
use crate::Error;

type Request = Box<dyn FnOnce(&mut Driver) + Send>;

/// Sends requests to a [`Driver`] from any thread: [`Driver::handle`]. Each method wakes the
/// driver, and the driver serves the requests in its next turn, in the order of the calls.
///
/// ```no_run
/// use vrrp_net::Driver;
///
/// let mut driver = Driver::new()?;
/// let handle = driver.handle();
/// std::thread::spawn(move || {
///     let routers = handle.call(|driver| driver.routers().count())?;
///     println!("{routers} routers");
///     handle.stop();
///     Ok::<(), vrrp_net::Error>(())
/// });
/// driver.run(|notification| println!("{notification}"))?;
/// # Ok::<(), vrrp_net::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct DriverHandle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    must_stop: AtomicBool,
    requests: Mutex<Requests>,
    event: OwnedFd,
}

/// The requests for the driver's next turn; `None` once the driver accepts no more.
struct Requests(Option<Vec<Request>>);

impl std::fmt::Debug for Requests {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let waiting = self.0.as_ref().map(Vec::len);
        f.debug_tuple("Requests").field(&waiting).finish()
    }
}

impl Shared {
    /// The guard is never held while a request runs or is dropped, so that a panic leaves the list
    /// whole.
    fn requests(&self) -> MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        // It fails only when so many wake-ups wait that the descriptor is readable anyway.
        let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
    }
}

impl DriverHandle {
    /// Stops the driver: in its next turn each Active resigns, the addresses are removed, and from
    /// then on [`Driver::is_stopped`] is true. A driver that is stopped does not start again.
    ///
    /// It is safe to call in a signal handler's thread, but not in the signal handler itself.
    pub fn stop(&self) {
        self.0.must_stop.store(true, Ordering::Release);
        self.0.wake();
    }

    /// Whether [`stop`](Self::stop) was called, or the driver has ended.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.0.must_stop.load(Ordering::Acquire) || self.0.requests().0.is_none()
    }

    /// Reports about a tracked object: [`Driver::report`]. It does not wait. A report that the
    /// driver refuses causes a [`DriverEvent::RequestRefused`].
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`].
    pub fn report(&self, object: ObjectId, report: Report) -> Result<(), Error> {
        self.request(move |driver| driver.report(object, report))
    }

    /// Sets a fault of a router: [`Driver::set_fault`]. Like [`report`](Self::report), it does not
    /// wait.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`].
    pub fn set_fault(&self, router: RouterId, cause: impl Into<String>) -> Result<(), Error> {
        let cause = cause.into();
        self.request(move |driver| driver.set_fault(router, &cause))
    }

    /// Ends a fault of a router: [`Driver::clear_fault`]. Like [`report`](Self::report), it does
    /// not wait.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`].
    pub fn clear_fault(&self, router: RouterId, cause: impl Into<String>) -> Result<(), Error> {
        let cause = cause.into();
        self.request(move |driver| driver.clear_fault(router, &cause))
    }

    fn request(
        &self,
        request: impl FnOnce(&mut Driver) -> Result<(), Error> + Send + 'static,
    ) -> Result<(), Error> {
        self.submit(move |driver| {
            if let Err(error) = request(driver) {
                driver.notify(None, DriverEvent::RequestRefused(error));
            }
        })
    }

    /// Runs a request with the driver on the driver's thread, without waiting for it.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`]. A driver that ends before its next turn drops the request.
    pub fn submit(&self, request: impl FnOnce(&mut Driver) + Send + 'static) -> Result<(), Error> {
        let is_taken = match &mut self.0.requests().0 {
            Some(waiting) => {
                waiting.push(Box::new(request));
                true
            }
            None => false,
        };
        if !is_taken {
            return Err(Error::Stopped);
        }
        self.0.wake();
        Ok(())
    }

    /// Runs a request with the driver on the driver's thread, and waits for the result. A call on
    /// the driver's own thread would never return: use the driver directly there.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`], also when the driver ends before it takes a turn.
    pub fn call<T: Send + 'static>(
        &self,
        request: impl FnOnce(&mut Driver) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (answer, answered) = mpsc::sync_channel(1);
        self.submit(move |driver| {
            // This fails if the calling thread has panicked.
            let _ = answer.send(request(driver));
        })?;
        answered.recv().map_err(|_| Error::Stopped)
    }
}

/// The driver's end of its handles.
#[derive(Debug)]
pub(super) struct Inbox(DriverHandle);

impl Inbox {
    pub(super) fn new() -> Result<Self, Error> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        let event = event.map_err(|errno| Error::os("make an eventfd")(errno.into()))?;
        Ok(Self(DriverHandle(Arc::new(Shared {
            must_stop: AtomicBool::new(false),
            requests: Mutex::new(Requests(Some(Vec::new()))),
            event,
        }))))
    }

    pub(super) fn handle(&self) -> DriverHandle {
        self.0.clone()
    }

    /// Takes the requests since the last time.
    pub(super) fn take(&self) -> Vec<Request> {
        let shared = &self.0.0;
        // The event is cleared before the list is taken, so a request in between wakes the driver
        // again.
        let _ = rustix::io::read(&shared.event, &mut [0_u8; 8]);
        let mut requests = shared.requests();
        requests.0.as_mut().map(mem::take).unwrap_or_default()
    }

    /// Whether the driver must stop.
    pub(super) fn must_stop(&self) -> bool {
        self.0.0.must_stop.load(Ordering::Acquire)
    }

    /// Takes no more requests, and drops those that wait.
    pub(super) fn close(&self) {
        let waiting = self.0.0.requests().0.take();
        // They are dropped without the lock, because they may own handles.
        drop(waiting);
    }
}

impl AsFd for Inbox {
    /// Readable when there is something to take.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.0.event.as_fd()
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.close();
    }
}
