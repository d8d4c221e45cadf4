//! Addresses and ports as ipvsadm writes them: by number, or by the names that the system has for
//! them.

use std::{
    ffi::{CStr, CString, c_char, c_int},
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    ptr,
    sync::{Mutex, PoisonError},
};

use ipvs_netlink::{
    Protocol,
    rules::{self, Form, Grammar},
};

/// The most characters of an address with its port that any list shows.
const LONGEST: usize = 59;

/// Whether names are looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// The system looks up each address and port; those without a name stay numbers.
    LookedUp,
    /// Everything is a number (`-n`).
    Numeric,
}

impl Names {
    /// An address with its port, as `10.0.0.1:80` or `[fd00::1]:http`. Without a protocol a port
    /// has no name.
    #[must_use]
    pub fn endpoint(self, address: IpAddr, port: u16, protocol: Option<Protocol>) -> String {
        let number = rules::endpoint(address, port, protocol);
        let Self::LookedUp = self else {
            return number;
        };
        let (host, figures) = number.rsplit_once(':').unwrap_or((&number, ""));
        let host = match (host_name(address), address) {
            (Some(name), IpAddr::V4(_)) => name,
            (Some(name), IpAddr::V6(_)) => format!("[{name}]"),
            (None, _) => host.to_owned(),
        };
        let service = protocol.and_then(|protocol| service_name(port, protocol));
        let whole = format!("{host}:{}", service.as_deref().unwrap_or(figures));
        whole.chars().take(LONGEST).collect()
    }
}

/// The grammar of command lines and texts, with the system's names.
#[must_use]
pub fn grammar(form: Form) -> Grammar<'static> {
    Grammar {
        form,
        names: Some(rules::Names {
            host: &host_address,
            port: &service_port,
        }),
    }
}

/// The IPv4 address of a host by its name. As in ipvsadm, a name never gives an IPv6 address.
pub fn host_address(host: &str) -> Option<IpAddr> {
    let found = (host, 0).to_socket_addrs().ok()?;
    found.map(|at| at.ip()).find(IpAddr::is_ipv4)
}

/// The C library keeps the last entry of the database of services in one place for the whole
/// process.
static SERVICES: Mutex<()> = Mutex::new(());

/// Looks an entry of the database of services up, and reads it before another thread can replace
/// it.
fn service_entry<T>(
    look_up: impl FnOnce() -> *mut libc::servent,
    read: impl FnOnce(&libc::servent) -> T,
) -> Option<T> {
    let _lock = SERVICES.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: the pointer is null or an entry that is valid until the next look-up, which needs the
    // lock.
    unsafe { look_up().as_ref() }.map(read)
}

/// Returns the port of a service by its name.
pub fn service_port(name: &str, protocol: Protocol) -> Option<u16> {
    let name = CString::new(name).ok()?;
    let protocol = protocol_name(protocol);
    let port = service_entry(
        // SAFETY: both arguments are strings that end with a zero and outlive the call.
        || unsafe { libc::getservbyname(name.as_ptr(), protocol.as_ptr()) },
        |entry| entry.s_port,
    )?;
    u16::try_from(port).ok().map(u16::from_be)
}

/// Returns the name of a service by its port.
fn service_name(port: u16, protocol: Protocol) -> Option<String> {
    let port = c_int::from(port.to_be());
    let protocol = protocol_name(protocol);
    service_entry(
        // SAFETY: the name of the protocol is a string that ends with a zero.
        || unsafe { libc::getservbyport(port, protocol.as_ptr()) },
        // SAFETY: the name in an entry is a string that ends with a zero.
        |entry| {
            unsafe { CStr::from_ptr(entry.s_name) }
                .to_str()
                .ok()
                .map(str::to_owned)
        },
    )?
}

fn protocol_name(protocol: Protocol) -> &'static CStr {
    match protocol {
        Protocol::Tcp => c"tcp",
        Protocol::Udp => c"udp",
        Protocol::Sctp => c"sctp",
    }
}

/// The name of a host by its address.
fn host_name(address: IpAddr) -> Option<String> {
    let mut name = [0 as c_char; 1025];
    let socket = socket2::SockAddr::from(SocketAddr::new(address, 0));
    // SAFETY: the address is as long as it says, and so is the room for the name; no service is
    // asked for.
    let status = unsafe {
        libc::getnameinfo(
            socket.as_ptr().cast(),
            socket.len(),
            name.as_mut_ptr(),
            u32::try_from(name.len()).ok()?,
            ptr::null_mut(),
            0,
            libc::NI_NAMEREQD,
        )
    };
    if status != 0 {
        return None;
    }
    // SAFETY: after success the room holds a string that ends with a zero.
    let name = unsafe { CStr::from_ptr(name.as_ptr()) };
    name.to_str().ok().map(str::to_owned)
}
