//! The crate's only unsafe code.
#![allow(unsafe_code)]

use std::{
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::Command,
    sync::Arc,
};

use nix::sched::{CloneFlags, setns};

/// Lets the child of `command` start inside the network namespace `namespace`.
pub(crate) fn start_inside(command: &mut Command, namespace: Arc<OwnedFd>) {
    // SAFETY: setns is a bare system call; it neither allocates nor takes a lock, so it may run between fork and exec.
    unsafe {
        command.pre_exec(move || {
            setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET).map_err(io::Error::from)
        });
    }
}
