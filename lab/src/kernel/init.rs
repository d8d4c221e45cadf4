use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::Path};

use super::{Guest, Kernel};

/// The script that is the guest's first process. It prints lines that start with `mark` for
/// [`Console`](super::console::Console).
pub(crate) fn script(kernel: Kernel, guest: &Guest, modules: &Path, mark: &str) -> Vec<u8> {
    let mut script = b"#!/bin/busybox sh\n".to_vec();
    script.extend_from_slice(b"mark=");
    quote(&mut script, mark.as_ref());
    script.extend_from_slice(b"\nmodules=");
    quote(&mut script, modules.as_os_str());
    script.extend_from_slice(b"\nguest() {\n    env ");
    let kernel = (Kernel::VARIABLE, kernel.name().as_ref());
    let environment = guest.environment.iter();
    for (name, value) in environment
        .map(|(name, value)| (name.as_str(), value.as_os_str()))
        .chain([kernel])
    {
        script.extend_from_slice(name.as_bytes());
        script.push(b'=');
        quote(&mut script, value);
        script.push(b' ');
    }
    quote(&mut script, guest.program.as_os_str());
    for argument in &guest.arguments {
        script.push(b' ');
        quote(&mut script, argument);
    }
    script.extend_from_slice(b"\n}\n\n");
    script.extend_from_slice(include_bytes!("init.sh"));
    script
}

/// Appends `text` as one word of the shell.
fn quote(script: &mut Vec<u8>, text: &OsStr) {
    script.push(b'\'');
    for &byte in text.as_bytes() {
        match byte {
            b'\'' => script.extend_from_slice(br"'\''"),
            _ => script.push(byte),
        }
    }
    script.push(b'\'');
}
