//! Scripts that continue although they were killed: they wait in the kernel, or a process that left
//! their group has their output.
//!
//! A probe is an attempt without a state, so they are kept here, for all probes of the process. No
//! thread waits for them: the next attempt looks whether they have ended.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::Script;
use crate::command::Process;

/// A script and its target.
pub(super) type Key = (Script, SocketAddr);

type Processes = BTreeMap<Key, Vec<Process>>;

static PROCESSES: Mutex<Processes> = Mutex::new(BTreeMap::new());

fn lock() -> MutexGuard<'static, Processes> {
    PROCESSES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether an earlier run of the script has not ended.
pub(super) fn is_stuck(key: &Key) -> bool {
    let mut stuck = lock();
    let Some(processes) = stuck.get_mut(key) else {
        return false;
    };
    processes.retain_mut(|process| !process.has_ended());
    let is_stuck = !processes.is_empty();
    if !is_stuck {
        stuck.remove(key);
    }
    is_stuck
}

/// Keeps a run that cannot be ended.
pub(super) fn keep(key: Key, process: Process) {
    let mut stuck = lock();
    // Those of scripts that are no longer configured are not asked for.
    stuck.retain(|_, processes| {
        processes.retain_mut(|process| !process.has_ended());
        !processes.is_empty()
    });
    stuck.entry(key).or_default().push(process);
}
