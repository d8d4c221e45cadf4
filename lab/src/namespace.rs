use std::{
    ffi::OsStr,
    fs::{self, File},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    panic::resume_unwind,
    process::Command,
    sync::Arc,
    thread,
};

use ipnet::IpNet;
use nix::sched::{CloneFlags, setns, unshare};

use crate::{
    Error,
    lan::{LINK_UP, parse},
    netlink, sys, wait_for,
};

/// A network namespace of its own, held by a file descriptor.
///
/// It has no name in the file system: once the last clone of this value, the last socket and the
/// last process in it are gone, the kernel removes it with all its interfaces, however the program
/// ended.
///
/// The loopback interface is up. IPv6 duplicate address detection and router advertisements are
/// off, so that addresses are usable at once; IPv6 addresses survive their interface being down;
/// reverse path filters are off.
#[derive(Clone, Debug)]
pub struct Namespace {
    fd: Arc<OwnedFd>,
}

/// Settings of a fresh namespace: whether `/proc/sys/net` starts from the kernel's defaults or from
/// the host's values differs between kernels and families, so each one that matters is written.
const SYSCTLS: &[(&str, &str)] = &[
    ("ipv4.conf.all.rp_filter", "0"),
    ("ipv4.conf.default.rp_filter", "0"),
    ("ipv6.conf.all.disable_ipv6", "0"),
    ("ipv6.conf.default.disable_ipv6", "0"),
    ("ipv6.conf.all.accept_dad", "0"),
    ("ipv6.conf.default.accept_dad", "0"),
    ("ipv6.conf.default.accept_ra", "0"),
    ("ipv6.conf.default.router_solicitations", "0"),
    ("ipv6.conf.all.keep_addr_on_down", "1"),
    ("ipv6.conf.default.keep_addr_on_down", "1"),
];

impl Namespace {
    /// Makes an empty namespace.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] if the process lacks `CAP_SYS_ADMIN` in its user namespace.
    pub fn new() -> Result<Self, Error> {
        let fd = on_own_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET).map_err(Error::os("make a network namespace"))?;
            File::open("/proc/thread-self/ns/net")
                .map_err(Error::os("open /proc/thread-self/ns/net"))
        })?;
        let namespace = Self {
            fd: Arc::new(fd.into()),
        };
        for (name, value) in SYSCTLS {
            namespace.set_sysctl(name, value)?;
        }
        netlink::set_up(&namespace, "lo")?;
        Ok(namespace)
    }

    /// Joins two namespaces by a cable: a veth pair, with an interface of the same name in each,
    /// and its address there, of the form `192.0.2.1/24` or `2001:db8::1/64`. It carries frames
    /// after [`wait_for_link`](Self::wait_for_link), which takes the kernel up to a second, however
    /// many there are.
    ///
    /// # Errors
    ///
    /// [`Error::Address`] for a malformed address, [`Error::Netlink`] if one of them has such an
    /// interface.
    pub fn connect(
        &self,
        other: &Self,
        interface: &str,
        addresses: [&str; 2],
    ) -> Result<(), Error> {
        netlink::add_veth(self, interface, [2, 0, 0, 0, 0, 1], other, interface)?;
        for (end, address) in [self, other].into_iter().zip(addresses) {
            netlink::add_address(end, interface, parse(address)?)?;
            netlink::set_up(end, interface)?;
        }
        Ok(())
    }

    /// Waits until an interface is up and has a carrier.
    ///
    /// # Errors
    ///
    /// [`Error::NoInterface`], or [`Error::Timeout`] if it does not come up.
    pub fn wait_for_link(&self, interface: &str) -> Result<(), Error> {
        let what = format!("the link of {interface} coming up");
        wait_for(&what, LINK_UP, || match netlink::link(self, interface) {
            Ok(link) => link.up.then_some(Ok(())),
            Err(error) => Some(Err(error)),
        })?
    }

    /// Runs `work` on a thread inside the namespace and returns its result. Sockets that it opens
    /// belong to the namespace for good, even if they are used from elsewhere afterwards.
    ///
    /// # Panics
    ///
    /// Panics if `work` panics, or if the kernel refuses a thread or the entry.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let namespace = vrrp_lab::Namespace::new()?;
    /// let socket = namespace.run(|| std::net::UdpSocket::bind("127.0.0.1:0"))?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        on_own_thread(|| {
            #[expect(
                clippy::expect_used,
                reason = "documented: the process that made the namespace may enter it"
            )]
            self.enter().expect("enter a network namespace");
            work()
        })
    }

    /// Moves the calling thread into the namespace for good. Meant for threads that have no other
    /// work.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] if the process lacks `CAP_SYS_ADMIN` in its user namespace.
    pub fn enter(&self) -> Result<(), Error> {
        setns(&*self.fd, CloneFlags::CLONE_NEWNET).map_err(Error::os("enter a network namespace"))
    }

    /// A command whose child starts inside the namespace.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        sys::start_inside(&mut command, Arc::clone(&self.fd));
        command
    }

    /// Writes a sysctl below `net`, for instance `ipv4.ip_forward`. Interface names with dots are
    /// not supported.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] if there is no such sysctl or it does not take the value.
    pub fn set_sysctl(&self, name: &str, value: &str) -> Result<(), Error> {
        self.run(|| fs::write(sysctl_path(name), value))
            .map_err(Error::os(format!("set sysctl net.{name} to {value}")))
    }

    /// Reads a sysctl below `net`.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] if there is no such sysctl.
    pub fn sysctl(&self, name: &str) -> Result<String, Error> {
        let value = self
            .run(|| fs::read_to_string(sysctl_path(name)))
            .map_err(Error::os(format!("read sysctl net.{name}")))?;
        Ok(value.trim_end().into())
    }

    /// The addresses of an interface, tentative ones included, in the kernel's order.
    ///
    /// # Errors
    ///
    /// [`Error::NoInterface`], or [`Error::Netlink`] if the kernel refuses.
    pub fn addresses(&self, interface: &str) -> Result<Vec<IpNet>, Error> {
        let addresses = netlink::addresses(self, interface)?;
        Ok(addresses
            .into_iter()
            .map(|address| address.prefix)
            .collect())
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn sysctl_path(name: &str) -> String {
    format!("/proc/sys/net/{}", name.replace('.', "/"))
}

/// The namespace belongs to the thread, so work that changes it runs on a thread that ends
/// afterwards.
fn on_own_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        scope
            .spawn(work)
            .join()
            .unwrap_or_else(|panic| resume_unwind(panic))
    })
}
