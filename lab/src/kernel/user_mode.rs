use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
};

use super::{Guest, Kernel, init};
use crate::Error;

/// Where Debian has the modules, a folder for each version.
const MODULES: &str = "/usr/lib/uml/modules";

/// The command that boots user-mode Linux on the host's files. All that it writes is in `folder`.
pub(crate) fn command(
    kernel: Kernel,
    guest: &Guest,
    folder: &Path,
    mark: &str,
) -> Result<Command, Error> {
    let init = folder.join("init");
    fs::write(&init, init::script(kernel, guest, MODULES.as_ref(), mark))
        .and_then(|()| fs::set_permissions(&init, Permissions::from_mode(0o755)))
        .map_err(Error::os(format!("write {}", init.display())))?;
    let mut command = Command::new("linux.uml");
    command
        .args(["root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro"])
        .arg(format!("mem={}M", guest.memory))
        .arg(format!("init={}", init.display()))
        .args(["con=null", "con0=null,fd:1", "quiet", "loglevel=1"])
        .arg("umid=guest")
        .arg(format!("uml_dir={}/", folder.display()))
        // Its memory is a file there.
        .env("TMPDIR", folder);
    Ok(command)
}
