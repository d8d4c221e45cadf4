//! The time for which threads wait for a processor: how much a busy machine holds a program up.

use std::{collections::BTreeMap, fs, time::Duration};

/// Returns how long the calling thread has waited for a processor while it could run, since its
/// start. Zero where the kernel does not count it (`CONFIG_SCHED_INFO`, proc_pid_schedstat(5)).
///
/// A test adds the increase to the time that it allows the thread. On an idle machine that is next
/// to nothing, so the test stays as strict as it was.
///
/// ```
/// let before = vrrp_lab::processor_wait();
/// std::thread::yield_now();
/// assert!(vrrp_lab::processor_wait() >= before);
/// ```
#[must_use]
pub fn processor_wait() -> Duration {
    wait_in("/proc/thread-self/schedstat").unwrap_or_default()
}

/// The second of three numbers: nanoseconds in the queue of a processor.
fn wait_in(path: &str) -> Option<Duration> {
    let text = fs::read_to_string(path).ok()?;
    let nanos = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(Duration::from_nanos(nanos))
}

/// The [waits](processor_wait) of all threads of this process at one time.
#[derive(Clone, Debug)]
pub struct ProcessorWaits(BTreeMap<String, Duration>);

impl ProcessorWaits {
    /// Reads the waits of all threads.
    #[must_use]
    pub fn now() -> Self {
        let threads = fs::read_dir("/proc/self/task").into_iter().flatten();
        let wait = |thread: fs::DirEntry| {
            let name = thread.file_name().into_string().ok()?;
            let wait = wait_in(&format!("/proc/self/task/{name}/schedstat"))?;
            Some((name, wait))
        };
        Self(threads.filter_map(|it| wait(it.ok()?)).collect())
    }

    /// Returns how long the threads have waited since then, all together. Threads that have ended
    /// are not counted.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        let waited = |(name, wait): (&String, &Duration)| {
            let before = self.0.get(name).copied().unwrap_or_default();
            wait.saturating_sub(before)
        };
        Self::now().0.iter().map(waited).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Barrier,
            atomic::{AtomicBool, Ordering},
        },
        thread,
    };

    use super::*;

    /// More threads than processors that all want to run.
    #[test]
    fn threads_that_share_too_few_processors_wait() {
        let count = 2 * thread::available_parallelism().unwrap().get();
        let before = ProcessorWaits::now();
        let stop = AtomicBool::new(false);
        let started = Barrier::new(count + 1);
        thread::scope(|scope| {
            let spin = || {
                let before = processor_wait();
                started.wait();
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
                processor_wait().saturating_sub(before)
            };
            let threads: Vec<_> = (0..count).map(|_| scope.spawn(spin)).collect();
            started.wait();
            thread::sleep(Duration::from_millis(100));
            let of_all = before.elapsed();
            stop.store(true, Ordering::Relaxed);
            let of_each = threads.into_iter().map(|it| it.join().unwrap());
            // Half of the threads wait at a time; another test may have the processor as well.
            assert!(of_each.sum::<Duration>() >= Duration::from_millis(50));
            assert!(of_all >= Duration::from_millis(50), "{of_all:?}");
        });
    }
}
