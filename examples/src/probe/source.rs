//! The local side of a connection to a server.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use ipvs_netlink::pool::{FailureKind, Outcome};
use nix::errno::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpSocket, TcpStream};

/// The local side of a probe's connection. The default leaves everything to the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Source {
    /// The source address; it has to be on this host.
    pub address: Option<IpAddr>,
    /// The name of the interface that packets leave by and come in by (`SO_BINDTODEVICE`).
    pub interface: Option<String>,
    /// The firewall mark of the packets (`SO_MARK`), with which a check of a server for direct
    /// routing goes through the virtual address. Needs `CAP_NET_ADMIN`.
    pub mark: Option<u32>,
}

impl Source {
    /// Connects to a server over TCP. Dropping the connection resets it, so probes leave no sockets
    /// in TIME_WAIT.
    pub(super) async fn connect(&self, target: SocketAddr) -> Result<TcpStream, Outcome> {
        let socket = self.socket(target)?;
        let stream = socket
            .connect(target)
            .await
            .map_err(|error| refusal(&error))?;
        // A free port of this host may be the target itself: the kernel then connects the socket to
        // itself.
        if stream.local_addr().is_ok_and(|local| local == target) {
            return Err(Outcome::failure(
                FailureKind::Refused,
                "nobody listens: the probe reached itself",
            ));
        }
        Ok(stream)
    }

    fn socket(&self, target: SocketAddr) -> Result<TcpSocket, Outcome> {
        let domain = Domain::for_address(target);
        let kind = Type::STREAM.nonblocking().cloexec();
        let socket =
            Socket::new(domain, kind, Some(Protocol::TCP)).map_err(local("open a socket"))?;
        socket
            .set_linger(Some(Duration::ZERO))
            .map_err(local("set SO_LINGER"))?;
        if let Some(mark) = self.mark {
            let action = format!("set firewall mark {mark}");
            socket.set_mark(mark).map_err(local(&action))?;
        }
        if let Some(interface) = &self.interface {
            let action = format!("bind to interface {interface}");
            let bound = socket.bind_device(Some(interface.as_bytes()));
            bound.map_err(local(&action))?;
        }
        if let Some(address) = self.address {
            let action = format!("bind to address {address}");
            let bound = socket.bind(&SocketAddr::new(address, 0).into());
            bound.map_err(local(&action))?;
        }
        Ok(TcpSocket::from_std_stream(socket.into()))
    }
}

/// For `map_err`: names what this host refused.
fn local(action: &str) -> impl FnOnce(io::Error) -> Outcome {
    move |error| Outcome::LocalFailure(format!("{action}: {error}").into())
}

/// Says of a refused connection whether the server or this host is the cause.
fn refusal(error: &io::Error) -> Outcome {
    let kind = match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ECONNREFUSED) => FailureKind::Refused,
        Some(
            Errno::ENETUNREACH
            | Errno::EHOSTUNREACH
            | Errno::EHOSTDOWN
            | Errno::ENETDOWN
            | Errno::ENONET,
        ) => FailureKind::Unreachable,
        Some(Errno::ECONNRESET | Errno::ECONNABORTED) => FailureKind::Closed,
        Some(Errno::ETIMEDOUT) => FailureKind::TimeLimit,
        // No port left, no memory, a firewall on this host.
        _ => return local("connect")(io::Error::new(error.kind(), error.to_string())),
    };
    Outcome::failure(kind, error.to_string())
}
