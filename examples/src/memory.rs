//! The memory of the process.

/// Returns unused memory to the system.
///
/// Reading a large configuration takes several times its size, and the allocator of glibc keeps
/// freed memory below the last block in use. Other allocators are left alone.
pub fn return_unused() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the function has no preconditions, and locks the heaps that it works on.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(all(test, target_env = "gnu"))]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn memory_below_a_piece_in_use_is_returned() {
        let resident_kib = || {
            let status = fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            let number = line.unwrap().trim_end_matches("kB").trim();
            number.parse::<usize>().unwrap()
        };
        // Small enough for the heap, which cannot shrink below its last block in use.
        let mut pieces: Vec<_> = (0..6000).map(|_| vec![1_u8; 16 << 10]).collect();
        let last = pieces.pop();
        drop(pieces);
        let before = resident_kib();
        return_unused();
        let after = resident_kib();
        assert!(after + (64 << 10) < before, "{before} KiB, then {after}");
        drop(last);
    }
}
