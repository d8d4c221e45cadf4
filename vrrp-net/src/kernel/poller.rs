//! One descriptor for everything that a driver waits for: epoll(7), with a timer inside if
//! requested.

use std::{
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, epoll, poll},
    io::Errno,
    time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create,
        timerfd_settime,
    },
};

use super::sys;

/// The most descriptors that one call reports: more than a driver has, except where many other
/// instances are connected to it.
const EVENTS: usize = 16;

/// The token of the timer.
const TIMER: u64 = u64::MAX;

/// Descriptors that are about to be closed.
///
/// They stay open until they have left the poller. The kernel removes a descriptor from an epoll
/// only with its last duplicate, and a child process holds one between fork(2) and execve(2): the
/// poller would report it again and again, and it could no longer be read or removed.
#[derive(Debug, Default)]
pub(crate) struct Closing(Vec<OwnedFd>);

impl Closing {
    /// Adds a descriptor.
    pub(crate) fn push(&mut self, source: impl Into<OwnedFd>) {
        self.0.push(source.into());
    }
}

/// Waits for descriptors. The poller itself is a descriptor that is readable while one of them is.
#[derive(Debug)]
pub(crate) struct Poller {
    epoll: OwnedFd,
    timer: Option<Timer>,
}

#[derive(Debug)]
struct Timer {
    descriptor: OwnedFd,
    is_armed: bool,
}

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            timer: None,
        })
    }

    /// Adds a descriptor, level-triggered. A descriptor that was added before stays with its token.
    /// [Close](Self::close) it through the poller.
    pub(crate) fn add(&self, source: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        let data = epoll::EventData::new_u64(token);
        match epoll::add(&self.epoll, source, data, epoll::EventFlags::IN) {
            Err(Errno::EXIST) => Ok(()),
            result => Ok(result?),
        }
    }

    /// Forgets a descriptor, until it is added again.
    pub(crate) fn remove(&self, source: BorrowedFd<'_>) -> io::Result<()> {
        match epoll::delete(&self.epoll, source) {
            Err(Errno::NOENT) => Ok(()),
            result => Ok(result?),
        }
    }

    /// Closes descriptors, whether or not they were added.
    pub(crate) fn close(&self, closing: &mut Closing) {
        for source in closing.0.drain(..) {
            if let Err(error) = self.remove(source.as_fd()) {
                tracing::debug!(%error, "a closed descriptor may still be reported");
            }
        }
    }

    /// Waits until a descriptor is readable or has an error, but not longer than the limit, and
    /// hands out the tokens. A signal ends the wait.
    ///
    /// Returns whether these are all. Where it is false, any descriptor may be readable: after a
    /// signal, because the process may have been stopped since the kernel looked, and where more
    /// are readable than one call reports.
    pub(crate) fn wait(
        &self,
        limit: Option<Duration>,
        mut on: impl FnMut(u64),
    ) -> io::Result<bool> {
        let mut on = |token| {
            if token != TIMER {
                on(token);
            }
        };
        let limit = limit.map(timespec);
        let mut room = [const { MaybeUninit::uninit() }; EVENTS];
        let reported = match epoll::wait(&self.epoll, &mut room, limit.as_ref()) {
            Ok((ready, _)) => {
                for event in ready.iter() {
                    on(event.data.u64());
                }
                Ok(ready.len())
            }
            // Linux before 5.11, or a seccomp filter, without epoll_pwait2(2).
            Err(Errno::NOSYS | Errno::PERM) => {
                let source = PollFd::new(&self.epoll, PollFlags::IN);
                match poll(&mut [source], limit.as_ref()) {
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
                sys::epoll_now::<EVENTS>(self.epoll.as_fd(), on)
            }
            Err(error) => Err(error.into()),
        };
        match reported {
            Ok(count) => Ok(count < EVENTS),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Also makes the descriptor readable when this time is over, until a [wait](Self::wait)
    /// returns or it is armed for another time; `None` for never. Arming the timer costs one system
    /// call each time.
    pub(crate) fn arm(&mut self, after: Option<Duration>) -> io::Result<()> {
        let timer = match &mut self.timer {
            Some(timer) => timer,
            None if after.is_none() => return Ok(()),
            none => {
                let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
                let descriptor = timerfd_create(TimerfdClockId::Monotonic, flags)?;
                let data = epoll::EventData::new_u64(TIMER);
                // An expired timer is not read, so it is reported only once.
                let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
                epoll::add(&self.epoll, &descriptor, data, flags)?;
                none.insert(Timer {
                    descriptor,
                    is_armed: false,
                })
            }
        };
        if after.is_none() && !timer.is_armed {
            return Ok(());
        }
        // Zero would disarm it.
        let after = after.map_or(Duration::ZERO, |it| it.max(Duration::from_nanos(1)));
        timer.is_armed = !after.is_zero();
        let value = Itimerspec {
            it_interval: timespec(Duration::ZERO),
            it_value: timespec(after),
        };
        timerfd_settime(&timer.descriptor, TimerfdTimerFlags::empty(), &value)?;
        Ok(())
    }
}

impl AsFd for Poller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        os::unix::net::UnixStream,
        time::Instant,
    };

    use super::*;

    fn ready(poller: &Poller, limit: Duration) -> Vec<u64> {
        let mut tokens = Vec::new();
        poller
            .wait(Some(limit), |token| tokens.push(token))
            .unwrap();
        tokens
    }

    fn is_readable(poller: &Poller, limit: Duration) -> bool {
        let source = PollFd::new(poller, PollFlags::IN);
        poll(&mut [source], Some(&timespec(limit))).unwrap() == 1
    }

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn a_descriptor_is_reported_by_its_token_until_it_is_read() {
        let poller = Poller::new().unwrap();
        let (mut near, mut far) = UnixStream::pair().unwrap();
        poller.add(near.as_fd(), 7).unwrap();
        poller.add(near.as_fd(), 7).unwrap();
        assert!(ready(&poller, Duration::ZERO).is_empty());
        far.write_all(b"x").unwrap();
        assert_eq!(ready(&poller, LONG), [7]);
        assert_eq!(ready(&poller, LONG), [7], "level-triggered");
        assert!(is_readable(&poller, LONG));
        near.read_exact(&mut [0]).unwrap();
        assert!(ready(&poller, Duration::ZERO).is_empty());
        drop(near);
        assert!(!is_readable(&poller, Duration::ZERO));
    }

    #[test]
    fn a_full_list_is_reported_as_such() {
        let poller = Poller::new().unwrap();
        let pairs: Vec<_> = (0..EVENTS).map(|_| UnixStream::pair().unwrap()).collect();
        for ((near, far), token) in pairs.iter().zip(0..) {
            let mut tokens = Vec::new();
            let is_complete = poller.wait(Some(Duration::ZERO), |it| tokens.push(it));
            assert!(is_complete.unwrap(), "{tokens:?}");
            poller.add(near.as_fd(), token).unwrap();
            (&*far).write_all(b"x").unwrap();
        }
        let mut tokens = Vec::new();
        let is_complete = poller.wait(Some(Duration::ZERO), |it| tokens.push(it));
        assert!(!is_complete.unwrap(), "there may be more");
        assert_eq!(tokens.len(), EVENTS);
    }

    #[test]
    fn a_closed_descriptor_is_not_reported_although_a_child_has_a_duplicate() {
        let poller = Poller::new().unwrap();
        let (near, far) = UnixStream::pair().unwrap();
        poller.add(near.as_fd(), 7).unwrap();
        // A child process has such a copy between fork and execve.
        let duplicate = near.try_clone().unwrap();
        let mut closing = Closing::default();
        closing.push(near);
        // A descriptor that was never added.
        closing.push(UnixStream::pair().unwrap().0);
        poller.close(&mut closing);
        drop(far);
        assert!(ready(&poller, Duration::ZERO).is_empty());
        assert!(!is_readable(&poller, Duration::ZERO));
        drop(duplicate);
    }

    #[test]
    fn a_wait_ends_between_two_milliseconds() {
        let poller = Poller::new().unwrap();
        let limit = Duration::from_micros(300);
        let begin = Instant::now();
        loop {
            let start = Instant::now();
            assert!(ready(&poller, limit).is_empty());
            let lasted = start.elapsed();
            assert!(lasted >= limit, "{lasted:?}");
            if lasted < Duration::from_millis(1) {
                break;
            }
            // Other programs may have the processor in the meantime.
            assert!(begin.elapsed() < LONG, "{lasted:?}");
        }
    }

    #[test]
    fn an_armed_timer_makes_the_descriptor_readable_without_a_token() {
        let mut poller = Poller::new().unwrap();
        poller.arm(None).unwrap();
        assert!(!is_readable(&poller, Duration::ZERO));
        poller.arm(Some(Duration::ZERO)).unwrap();
        assert!(is_readable(&poller, LONG));
        assert!(ready(&poller, LONG).is_empty());
        // It is reported once, so a wait with a limit does not end at once for ever.
        assert!(!is_readable(&poller, Duration::ZERO));
        let (start, limit) = (Instant::now(), Duration::from_millis(20));
        assert!(ready(&poller, limit).is_empty());
        assert!(start.elapsed() >= limit);
        poller.arm(Some(LONG)).unwrap();
        assert!(!is_readable(&poller, Duration::ZERO));
        poller.arm(Some(Duration::from_millis(1))).unwrap();
        assert!(is_readable(&poller, LONG));
        poller.arm(None).unwrap();
        assert!(!is_readable(&poller, Duration::ZERO));
    }
}
