use std::{
    collections::BTreeSet,
    env, fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use super::{Guest, Kernel, init, initramfs::Initramfs};
use crate::Error;

/// The variable with the folder that `lab/fetch-kernels` made.
const KERNELS: &str = "DEBIAN_KERNELS";

/// Programs that every guest has, and the Debian packages that they are in.
const PROGRAMS: &[(&str, &str)] = &[
    ("/bin/busybox", "busybox-static"),
    ("/usr/sbin/modprobe", "kmod"),
    ("/usr/sbin/ipvsadm", "ipvsadm"),
    ("/usr/sbin/iptables-legacy", "iptables"),
    ("/usr/sbin/ip6tables-legacy", "iptables"),
    ("/usr/lib/x86_64-linux-gnu/xtables", "iptables"),
    ("/usr/bin/ip", "iproute2"),
    ("/usr/sbin/tc", "iproute2"),
];

/// The modules that every guest has, as the starts of their paths. Their dependencies are added to
/// them.
const MODULES: &[&str] = &[
    "kernel/drivers/net/dummy.",
    "kernel/drivers/net/ifb.",
    "kernel/drivers/net/macvlan.",
    "kernel/drivers/net/tun.",
    "kernel/drivers/net/veth.",
    "kernel/drivers/net/vrf.",
    "kernel/net/bridge/",
    "kernel/net/core/",
    "kernel/net/ipv4/",
    "kernel/net/ipv6/",
    "kernel/net/netfilter/",
    "kernel/net/sched/",
    "kernel/net/sctp/",
];

/// The command that boots Debian's kernel `version` in an emulated machine. All that it writes is
/// in `folder`.
pub(crate) fn command(
    kernel: Kernel,
    version: &str,
    guest: &Guest,
    folder: &Path,
    mark: &str,
) -> Result<Command, Error> {
    let kernels = env::var_os(KERNELS).ok_or(Error::NoKernels { variable: KERNELS })?;
    let root = Path::new(&kernels).join(version);
    let initramfs = folder.join("initramfs");
    pack(kernel, &root, guest, mark, &initramfs)?;

    let mut command = Command::new("qemu-system-x86_64");
    command
        // The presence and the quality of hardware support must make no difference.
        .args(["-accel", "tcg"])
        // This machine has a clock by which the kernel measures its other clocks even on a busy
        // host; a microvm has none.
        .args(["-machine", "q35"])
        .args(["-no-user-config", "-nodefaults", "-no-reboot"])
        .args(["-display", "none", "-serial", "stdio"])
        .args(["-m", &guest.memory.to_string()])
        .arg("-kernel")
        .arg(root.join("vmlinuz"))
        .arg("-initrd")
        .arg(initramfs)
        // On a busy host the first ticks may come late, which the kernel would take for a broken
        // timer.
        .args([
            "-append",
            "console=ttyS0 quiet loglevel=1 panic=-1 no_timer_check",
        ])
        // Some of its files are temporary.
        .env("TMPDIR", folder);
    Ok(command)
}

/// Writes the guest's file system to `archive`.
fn pack(
    kernel: Kernel,
    root: &Path,
    guest: &Guest,
    mark: &str,
    archive: &Path,
) -> Result<(), Error> {
    let mut archive = Initramfs::create(archive)?;
    for (path, package) in PROGRAMS {
        if !Path::new(path).exists() {
            let missing = io::ErrorKind::NotFound.into();
            return Err(Error::starting(path, package, missing));
        }
        archive.add(path.as_ref())?;
    }
    let modules = Path::new("/lib/modules");
    add_modules(&mut archive, &root.join("lib/modules"), modules)?;
    archive.add_stripped(&guest.program)?;
    for file in &guest.files {
        archive.add_stripped(file)?;
    }
    let script = init::script(kernel, guest, modules, mark);
    archive.file("/init".as_ref(), 0o755, &script)?;
    archive.finish()
}

/// Adds the modules, which are on the host in a folder with a folder for each kernel release, to
/// the same in the guest.
fn add_modules(archive: &mut Initramfs, from: &Path, to: &Path) -> Result<(), Error> {
    let list = |folder: &Path| -> Result<Vec<PathBuf>, Error> {
        fs::read_dir(folder)
            .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
            .map_err(Error::os(format!("list {}", folder.display())))
    };
    let read = |path: &Path| fs::read(path).map_err(Error::os(format!("read {}", path.display())));
    for release in list(from)? {
        let to = to.join(release.file_name().unwrap_or_default());
        // The lists that modprobe reads. They name all modules, including those that the guest does
        // not have.
        let is_index = |path: &PathBuf| path.is_file();
        for index in list(&release)?.into_iter().filter(is_index) {
            let name = index.file_name().unwrap_or_default();
            archive.file(&to.join(name), 0o644, &read(&index)?)?;
        }
        let dependencies = read(&release.join("modules.dep"))?;
        for module in with_dependencies(&String::from_utf8_lossy(&dependencies)) {
            archive.file(&to.join(module), 0o644, &read(&release.join(module))?)?;
        }
    }
    Ok(())
}

/// The paths of [`MODULES`] and of all that they need, by a `modules.dep` with lines of the form
/// `path: path path`.
fn with_dependencies(list: &str) -> BTreeSet<&str> {
    list.lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(module, _)| MODULES.iter().any(|start| module.starts_with(start)))
        .flat_map(|(module, needed)| needed.split_ascii_whitespace().chain([module]))
        .collect()
}
