//! The local side of a probe.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::OwnedFd,
    time::Duration,
};

use ipvs_netlink::pool::{FailureKind, Outcome};
use nix::errno::Errno;
use serde::Deserialize;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};

/// The local side of a probe. The default leaves everything to the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Source {
    /// The source address; it has to be on this host.
    pub address: Option<IpAddr>,
    /// The source port. With it only one probe can run at a time.
    pub port: Option<u16>,
    /// The name of the interface by which packets leave and arrive (`SO_BINDTODEVICE`).
    pub interface: Option<String>,
    /// The firewall mark of the packets (`SO_MARK`), with which a check of a server for direct
    /// routing goes through the virtual address. It needs `CAP_NET_ADMIN`.
    pub mark: Option<u32>,
}

impl Source {
    /// Connects to a server over TCP. Dropping the connection resets it, so probes leave no sockets
    /// in TIME_WAIT.
    pub(super) async fn connect(&self, target: SocketAddr) -> Result<TcpStream, Outcome> {
        let socket = self.socket(target, Type::STREAM, Protocol::TCP)?;
        socket
            .set_linger(Some(Duration::ZERO))
            .map_err(local("set SO_LINGER"))?;
        if self.port.is_some() {
            socket
                .set_reuse_address(true)
                .map_err(local("set SO_REUSEADDR"))?;
        }
        self.bind(&socket, target)?;
        let stream = TcpSocket::from_std_stream(socket.into())
            .connect(target)
            .await
            .map_err(|error| refusal(&error))?;
        // The free port that this host chooses may be the target's: the kernel then connects the
        // socket to itself.
        if stream.local_addr().is_ok_and(|local| local == target) {
            return Err(Outcome::failure(
                FailureKind::Refused,
                "nobody listens: the probe reached itself",
            ));
        }
        Ok(stream)
    }

    /// Opens a UDP socket that is connected to a server, so that it gets its ICMP errors.
    pub(super) fn datagrams(&self, target: SocketAddr) -> Result<UdpSocket, Outcome> {
        let socket = self.socket(target, Type::DGRAM, Protocol::UDP)?;
        self.bind(&socket, target)?;
        connected(socket, target)
    }

    /// Opens an ICMP socket that is connected to a server, and reports whether it is a raw one.
    ///
    /// Without a raw socket, the groups of this process need `net.ipv4.ping_group_range`.
    pub(super) fn echoes(&self, target: IpAddr) -> Result<(UdpSocket, bool), Outcome> {
        let target = SocketAddr::new(target, 0);
        let protocol = if target.is_ipv4() {
            Protocol::ICMPV4
        } else {
            Protocol::ICMPV6
        };
        let (socket, is_raw) = match self.socket(target, Type::DGRAM, protocol) {
            Ok(socket) => (socket, false),
            Err(_) => (self.socket(target, Type::RAW, protocol)?, true),
        };
        if self.address.is_some() {
            self.bind(&socket, target)?;
        }
        Ok((connected(socket, target)?, is_raw))
    }

    fn socket(
        &self,
        target: SocketAddr,
        kind: Type,
        protocol: Protocol,
    ) -> Result<Socket, Outcome> {
        let domain = Domain::for_address(target);
        let kind = kind.nonblocking().cloexec();
        let socket = Socket::new(domain, kind, Some(protocol)).map_err(local("open a socket"))?;
        if let Some(mark) = self.mark {
            let action = format!("set firewall mark {mark}");
            socket.set_mark(mark).map_err(local(&action))?;
        }
        if let Some(interface) = &self.interface {
            let action = format!("bind to interface {interface}");
            let bound = socket.bind_device(Some(interface.as_bytes()));
            bound.map_err(local(&action))?;
        }
        Ok(socket)
    }

    fn bind(&self, socket: &Socket, target: SocketAddr) -> Result<(), Outcome> {
        let (address, action) = match (self.address, self.port) {
            (None, None) => return Ok(()),
            (Some(address), None) => (address, format!("bind to address {address}")),
            (None, Some(port)) if target.is_ipv4() => {
                ([0; 4].into(), format!("bind to port {port}"))
            }
            (None, Some(port)) => ([0; 16].into(), format!("bind to port {port}")),
            (Some(address), Some(port)) => {
                (address, format!("bind to address {address}, port {port}"))
            }
        };
        let local_side = SocketAddr::new(address, self.port.unwrap_or(0));
        socket.bind(&local_side.into()).map_err(local(&action))
    }
}

/// tokio's UDP socket sends and receives on any socket of datagrams.
fn connected(socket: Socket, target: SocketAddr) -> Result<UdpSocket, Outcome> {
    socket
        .connect(&target.into())
        .map_err(|error| refusal(&error))?;
    let socket = std::net::UdpSocket::from(OwnedFd::from(socket));
    UdpSocket::from_std(socket).map_err(local("watch a socket"))
}

/// For `map_err`: names the action that this host refused.
pub(super) fn local(action: &str) -> impl FnOnce(io::Error) -> Outcome {
    move |error| Outcome::LocalFailure(format!("{action}: {error}").into())
}

/// Decides whether the server or this host caused the refusal of a connection or datagram.
pub(super) fn refusal(error: &io::Error) -> Outcome {
    let kind = match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ECONNREFUSED) => FailureKind::Refused,
        Some(
            Errno::ENETUNREACH
            | Errno::EHOSTUNREACH
            | Errno::EHOSTDOWN
            | Errno::ENETDOWN
            | Errno::ENONET
            | Errno::ENOPROTOOPT,
        ) => FailureKind::Unreachable,
        Some(Errno::ECONNRESET | Errno::ECONNABORTED) => FailureKind::Closed,
        Some(Errno::ETIMEDOUT) => FailureKind::TimeLimit,
        // For example no free port, no memory, or a firewall on this host.
        _ => return local("connect")(io::Error::new(error.kind(), error.to_string())),
    };
    Outcome::failure(kind, error.to_string())
}
