//! The facts about a host on which the meaning of a configuration depends: interfaces, users,
//! files.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
};

use nix::unistd::{Group, User};

/// An interface of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Its addresses, in the kernel's order.
    pub addresses: Vec<IpAddr>,
    /// Whether it is a loopback interface.
    pub is_loopback: bool,
    /// The kind of a virtual link, such as `macvlan`. Empty for a physical one.
    pub kind: String,
}

impl Interface {
    /// The first IPv4 address.
    #[must_use]
    pub fn ipv4(&self) -> Option<Ipv4Addr> {
        self.addresses.iter().find_map(|address| match address {
            IpAddr::V4(address) => Some(*address),
            IpAddr::V6(_) => None,
        })
    }

    /// The first link-local IPv6 address.
    #[must_use]
    pub fn link_local(&self) -> Option<Ipv6Addr> {
        self.addresses.iter().find_map(|address| match address {
            IpAddr::V6(address) if address.is_unicast_link_local() => Some(*address),
            _ => None,
        })
    }
}

/// The most octets in the name of an interface (`IFNAMSIZ` without the final 0).
pub(super) const LONGEST_NAME: usize = 15;

/// The file of the network namespace of this name (ip-netns(8)).
#[must_use]
pub fn namespace_path(name: &str) -> PathBuf {
    Path::new("/run/netns").join(name)
}

/// A user with a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// The user's id.
    pub uid: u32,
    /// The group's id.
    pub gid: u32,
}

/// A host for which a configuration is read.
#[derive(Clone, Debug, Default)]
pub struct Host {
    /// The interfaces by name.
    pub interfaces: BTreeMap<String, Interface>,
    /// The host's name.
    pub name: String,
    /// The folders in which a script without a slash is looked for.
    pub path: Vec<PathBuf>,
}

impl Host {
    /// This host, in the network namespace of the calling thread.
    ///
    /// # Errors
    ///
    /// An [`io::Error`](std::io::Error) when the interfaces cannot be listed.
    #[cfg(feature = "programs")]
    pub fn read() -> std::io::Result<Self> {
        let mut interfaces: BTreeMap<String, Interface> = BTreeMap::new();
        for found in nix::ifaddrs::getifaddrs()? {
            let interface = interfaces.entry(found.interface_name).or_default();
            interface.is_loopback = found
                .flags
                .contains(nix::net::if_::InterfaceFlags::IFF_LOOPBACK);
            if let Some(address) = &found.address {
                let ipv4 = address.as_sockaddr_in().map(|it| IpAddr::V4(it.ip()));
                let ipv6 = address.as_sockaddr_in6().map(|it| IpAddr::V6(it.ip()));
                interface.addresses.extend(ipv4.or(ipv6));
            }
        }
        let mut netlink = vrrp_net::Netlink::open().map_err(std::io::Error::other)?;
        let links = netlink.interfaces().map_err(std::io::Error::other)?;
        for link in links.iter().map(|it| &it.link) {
            if let Some(found) = interfaces.get_mut(&link.name) {
                found.kind.clone_from(&link.kind);
            }
        }
        let name = nix::unistd::gethostname()?.to_string_lossy().into_owned();
        let path =
            std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
        Ok(Self {
            interfaces,
            name,
            path: std::env::split_paths(&path).collect(),
        })
    }

    /// Whether an interface has this name that is not of this kind.
    pub(super) fn has_other(&self, name: &str, kind: &str) -> bool {
        let found = self.interfaces.get(name);
        found.is_some_and(|found| found.kind != kind)
    }

    /// A user, with the group of that name or the user's own.
    #[must_use]
    pub fn account(user: &str, group: Option<&str>) -> Option<Account> {
        let user = User::from_name(user).ok()??;
        let gid = match group {
            Some(group) => Group::from_name(group).ok()??.gid,
            None => user.gid,
        };
        Some(Account {
            uid: user.uid.as_raw(),
            gid: gid.as_raw(),
        })
    }

    /// Where a program is: the path itself, or the first hit in the search path.
    #[must_use]
    pub fn program(&self, name: &str) -> Option<PathBuf> {
        if name.contains('/') {
            // Only the folder is resolved, because a program may depend on the name by which it is
            // called.
            let path = Path::new(name);
            let folder = path.parent()?.canonicalize().ok()?;
            return Some(folder.join(path.file_name()?)).filter(|it| it.exists());
        }
        self.path.iter().find_map(|folder| {
            folder
                .join(name)
                .canonicalize()
                .ok()
                .filter(|it| it.is_file())
        })
    }
}
