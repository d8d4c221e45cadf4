//! Settings of the kernel for one interface: set, read back, and put back.

use std::{fmt, fs, io, path::PathBuf};

use vrrp_proto::Family;

use crate::{Capability, Error};

/// A setting of an interface below `net.ipv4.conf` or `net.ipv6.conf`, in the network namespace of
/// the thread that reads or sets it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sysctl<'a> {
    pub(crate) family: Family,
    /// The name of the interface, or `all`.
    pub(crate) interface: &'a str,
    pub(crate) key: &'a str,
}

impl Sysctl<'_> {
    fn path(&self) -> PathBuf {
        let family = match self.family {
            Family::Ipv4 => "ipv4",
            Family::Ipv6 => "ipv6",
        };
        // A name may contain dots, which would split it in the dotted form, but no slash.
        ["/proc/sys/net", family, "conf", self.interface, self.key]
            .iter()
            .collect()
    }

    /// The value.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] where there is no such setting (`NotFound`: no such interface, or a kernel
    /// without the family).
    pub(crate) fn get(&self) -> Result<i32, Error> {
        let text =
            fs::read_to_string(self.path()).map_err(Error::os(format!("read sysctl {self}")))?;
        text.trim().parse().map_err(|_| {
            let cause = format!("{:?} is not a number", text.trim());
            let cause = io::Error::new(io::ErrorKind::InvalidData, cause);
            Error::os(format!("read sysctl {self}"))(cause)
        })
    }

    /// Sets the value where it differs, reads it back, and returns the old one. A setting that has
    /// the value already is not written, so a container with read-only settings works once its host
    /// has set them.
    ///
    /// # Errors
    ///
    /// As for [`get`](Self::get); [`Error::Capability`] without `CAP_NET_ADMIN`; [`Error::Os`]
    /// where the settings are read-only, or where the kernel did not keep the value.
    pub(crate) fn set(&self, value: i32) -> Result<i32, Error> {
        let old = self.get()?;
        if old != value {
            let action = || format!("set sysctl {self} from {old} to {value}");
            fs::write(self.path(), value.to_string())
                .map_err(Error::privileged(action(), Capability::NetAdmin))?;
            let now = self.get()?;
            if now != value {
                let cause = io::Error::other(format!("the kernel kept {now}"));
                return Err(Error::os(action())(cause));
            }
        }
        Ok(old)
    }

    /// Whether the kernel has the family, on this interface.
    pub(crate) fn exists(&self) -> bool {
        self.path().exists()
    }
}

/// Whether raw sockets that are bound to no device receive packets of interfaces in VRFs, in the
/// network namespace of the calling thread (`net.ipv4.raw_l3mdev_accept`, of both families). A
/// kernel without the setting has no VRFs.
pub(crate) fn receives_from_vrfs() -> bool {
    fs::read_to_string("/proc/sys/net/ipv4/raw_l3mdev_accept")
        .map_or(true, |value| value.trim() != "0")
}

impl fmt::Display for Sysctl<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = match self.family {
            Family::Ipv4 => "ipv4",
            Family::Ipv6 => "ipv6",
        };
        let (interface, key) = (self.interface, self.key);
        write!(f, "net/{family}/conf/{interface}/{key}")
    }
}
