use std::{env, fs, io};

use nix::{
    sched::{CloneFlags, unshare},
    unistd::{getegid, geteuid},
};

use crate::Error;

/// `CAP_NET_ADMIN`, `CAP_NET_RAW` and `CAP_SYS_ADMIN` of capability.h, as a set.
const NEEDED: u64 = 1 << 12 | 1 << 13 | 1 << 21;

/// The sysctls that can forbid user namespaces, with the values that do.
const FORBIDDING: &[(&str, &str)] = &[
    ("kernel.unprivileged_userns_clone", "0"),
    ("user.max_user_namespaces", "0"),
    ("kernel.apparmor_restrict_unprivileged_userns", "1"),
];

/// Gives a normal user's program the privileges that the lab needs: moves it into a user namespace
/// in which it is root, and into a network namespace that belongs to it. For a process that has the
/// privileges already it does nothing.
///
/// Call it first in `main`: the kernel refuses it once the process has a second thread.
///
/// # Errors
///
/// [`Error::UserNamespacesForbidden`] if the system's settings do not allow it, [`Error::Os`] if
/// the process has more than one thread.
pub fn become_root_in_user_namespace() -> Result<(), Error> {
    if effective_capabilities()? & NEEDED == NEEDED {
        return Ok(());
    }
    let (uid, gid) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER)
        .map_err(io::Error::from)
        // An unprivileged process must give up setgroups before it may map its group.
        .and_then(|()| fs::write("/proc/self/setgroups", "deny"))
        .and_then(|()| fs::write("/proc/self/uid_map", format!("0 {uid} 1")))
        .and_then(|()| fs::write("/proc/self/gid_map", format!("0 {gid} 1")))
        // A step of its own: AppArmor may allow the user namespace and withhold its privileges.
        .and_then(|()| unshare(CloneFlags::CLONE_NEWNET).map_err(io::Error::from))
        .map_err(|source| match source.kind() {
            io::ErrorKind::InvalidInput => Error::Os {
                action: "make a user namespace in a process with several threads".into(),
                source,
            },
            _ => forbidden(source),
        })
}

fn effective_capabilities() -> Result<u64, Error> {
    let status =
        fs::read_to_string("/proc/self/status").map_err(Error::os("read /proc/self/status"))?;
    let set = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .unwrap_or_default();
    Ok(u64::from_str_radix(set.trim(), 16).unwrap_or(0))
}

fn forbidden(source: io::Error) -> Error {
    let settings = FORBIDDING
        .iter()
        .filter(|(name, value)| {
            let path = format!("/proc/sys/{}", name.replace('.', "/"));
            fs::read_to_string(path).is_ok_and(|now| now.trim_end() == *value)
        })
        .map(|(name, value)| format!("{name} = {value}"))
        .collect();
    Error::UserNamespacesForbidden {
        source,
        settings,
        program: env::current_exe().unwrap_or_default(),
    }
}
