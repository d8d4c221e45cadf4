use vrrp_lab::{Guest, Kernel};

use crate::Error;

/// Boots a kernel with a program as its only work, and prints the lines of the program.
///
/// # Errors
///
/// The kernel cannot be booted, or the program ends with another status than 0.
pub fn run_guest(kernel: Kernel, guest: &Guest) -> Result<(), Error> {
    match kernel.run(guest, |line| println!("{line}"))? {
        0 => Ok(()),
        status => Err(format!("the guest ended with status {status}").into()),
    }
}
