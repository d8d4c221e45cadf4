//! The resources that a process uses.

use std::{
    fs,
    process::{Command, Stdio},
    time::Duration,
};

use crate::Error;

/// The time that all threads of a process have run so far, as the scheduler counts it.
///
/// # Errors
///
/// The system's error for a process that has ended.
pub fn cpu_time(id: u32) -> Result<Duration, Error> {
    let mut total = Duration::ZERO;
    for thread in fs::read_dir(format!("/proc/{id}/task"))? {
        let statistics = fs::read_to_string(thread?.path().join("schedstat"))?;
        let nanoseconds = statistics.split(' ').next().unwrap_or_default().parse()?;
        total += Duration::from_nanos(nanoseconds);
    }
    Ok(total)
}

/// Memory of a program, in KiB.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// Pages that only the process with the routers has, and that it has written: heap, stacks,
    /// relocated data.
    pub private: f64,
    /// Written pages of all processes of the program together. A process shares some with the one
    /// that it was forked from.
    pub program: f64,
    /// All pages of the process with the routers, mapped program text included.
    pub resident: f64,
}

/// Reads the memory of a program. The first process has the routers.
///
/// # Errors
///
/// The system's error for a process that has ended.
pub fn memory(ids: &[u32]) -> Result<Memory, Error> {
    let mut memory = Memory::default();
    for (place, id) in ids.iter().enumerate() {
        let rollup = fs::read_to_string(format!("/proc/{id}/smaps_rollup"))?;
        if place == 0 {
            memory.private = kibibytes(&rollup, "Private_Dirty:")?;
            memory.resident = kibibytes(&rollup, "Rss:")?;
        }
        memory.program += kibibytes(&rollup, "Pss_Dirty:")?;
    }
    Ok(memory)
}

/// A process, all processes that it has started, and all that those have started. The process
/// itself comes first.
///
/// # Errors
///
/// The system's error if processes cannot be listed.
pub fn family(id: u32) -> Result<Vec<u32>, Error> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(child) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // One that has ended in the meantime has no parent.
        let statistics = fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        // The name in parentheses may have blanks and parentheses in it.
        let behind_name = statistics.rsplit_once(") ").map_or("", |(_, rest)| rest);
        let parent = behind_name.split(' ').nth(1);
        if let Some(parent) = parent.and_then(|parent| parent.parse::<u32>().ok()) {
            parents.push((child, parent));
        }
    }
    let mut family = vec![id];
    let mut place = 0;
    while let Some(member) = family.get(place).copied() {
        let children = parents.iter().filter(|(_, parent)| *parent == member);
        family.extend(children.map(|(child, _)| *child));
        place += 1;
    }
    Ok(family)
}

/// A field of a file in `/proc`.
fn kibibytes(text: &str, field: &str) -> Result<f64, Error> {
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
    Ok(number.ok_or_else(|| format!("no {field}"))?.parse()?)
}

/// Counts the system calls of processes by perf(1), for this time. perf counts at the kernel's
/// trace point for their entry, so that the processes run on at almost full speed; with strace(1)
/// they would be late.
///
/// It needs the Debian package linux-perf, and root. Without these, the error has perf's message.
///
/// # Errors
///
/// The error of perf.
pub fn system_calls(ids: [u32; 2], time: Duration) -> Result<[u64; 2], Error> {
    let start = |id: u32| {
        Command::new("perf")
            .args(["stat", "-x,", "-e", "raw_syscalls:sys_enter", "-p"])
            .arg(id.to_string())
            .args(["--timeout", &time.as_millis().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("perf: {error}"))
    };
    let running = [start(ids[0])?, start(ids[1])?];
    let mut counts = [0; 2];
    for (count, perf) in counts.iter_mut().zip(running) {
        let output = perf.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stderr);
        let number = text.lines().find_map(|line| {
            let (number, rest) = line.split_once(',')?;
            rest.contains("sys_enter").then_some(number)
        });
        *count = number
            .and_then(|number| number.parse().ok())
            .ok_or_else(|| format!("perf: {}", text.trim()))?;
    }
    Ok(counts)
}
