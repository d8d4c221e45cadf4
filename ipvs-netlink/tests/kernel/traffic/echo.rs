//! Servers that identify themselves and echo the data that they receive, and the client's side.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::atomic::{AtomicU16, Ordering},
    thread,
    time::Duration,
};

use tokio::{io::AsyncWriteExt, runtime};
use vrrp_lab::Namespace;

/// How long a client waits for an answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The ports of every server.
const PORTS: [u16; 2] = [80, 443];

/// The longest datagram that is repeated.
const DATAGRAM: usize = 2048;

/// Servers in several namespaces, which end when this is dropped.
#[derive(Debug)]
pub(crate) struct EchoServers(runtime::Runtime);

impl EchoServers {
    pub(crate) fn new() -> Self {
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_io()
            .build();
        Self(runtime.unwrap())
    }

    /// Starts a server inside `namespace`. Over TCP it sends its number and then echoes; over UDP
    /// it answers with its number and the data that it received.
    pub(crate) fn start(&self, namespace: &Namespace, number: u8, addresses: &[IpAddr]) {
        let _inside = self.0.enter();
        for &address in addresses {
            for port in PORTS {
                let address = SocketAddr::new(address, port);
                let (listener, socket) = namespace.run(|| {
                    (
                        TcpListener::bind(address).unwrap(),
                        UdpSocket::bind(address).unwrap(),
                    )
                });
                listener.set_nonblocking(true).unwrap();
                socket.set_nonblocking(true).unwrap();
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let socket = tokio::net::UdpSocket::from_std(socket).unwrap();
                tokio::spawn(accept(listener, number));
                tokio::spawn(answer(socket, number));
            }
        }
    }
}

async fn accept(listener: tokio::net::TcpListener, number: u8) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(repeat(stream, number));
    }
}

async fn repeat(mut stream: tokio::net::TcpStream, number: u8) -> io::Result<()> {
    stream.write_u8(number).await?;
    let (mut from, mut to) = stream.split();
    tokio::io::copy(&mut from, &mut to).await?;
    Ok(())
}

async fn answer(socket: tokio::net::UdpSocket, number: u8) -> io::Result<()> {
    let mut datagram = [number; DATAGRAM];
    loop {
        let (length, client) = socket.recv_from(&mut datagram[1..]).await?;
        socket.send_to(&datagram[..=length], client).await?;
    }
}

/// Octets that differ, so that lost or misplaced ones are noticed.
pub(crate) fn octets(length: usize) -> Vec<u8> {
    (0..=250).cycle().take(length).collect()
}

/// A connection to a service.
#[derive(Debug)]
pub(crate) struct Conversation {
    pub(crate) stream: TcpStream,
    /// The number of the server at the other end.
    pub(crate) server: u8,
}

impl Conversation {
    /// Connects and receives the server's number.
    pub(crate) fn begin(service: SocketAddr) -> io::Result<Self> {
        let mut stream = TcpStream::connect_timeout(&service, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut server = 0;
        stream.read_exact(std::slice::from_mut(&mut server))?;
        Ok(Self { stream, server })
    }

    /// Sends `octets` and reads them again.
    pub(crate) fn exchange(&mut self, octets: &[u8]) -> io::Result<()> {
        let mut writer = self.stream.try_clone()?;
        let mut received = vec![0; octets.len()];
        // At the same time: together they may be more than fits into the buffers on the way.
        thread::scope(|scope| {
            let sent = scope.spawn(move || writer.write_all(octets));
            self.stream.read_exact(&mut received)?;
            sent.join().unwrap()
        })?;
        assert_eq!(received, octets, "what server {} repeated", self.server);
        Ok(())
    }
}

/// The number of the server that a new connection to `service` reaches.
pub(crate) fn connect(service: SocketAddr) -> u8 {
    Conversation::begin(service).unwrap().server
}

/// A socket for datagrams to `service`, with a port that no earlier socket of this process had:
/// IPVS takes datagrams from the same port for the same connection, for minutes.
pub(crate) fn datagrams_to(service: SocketAddr) -> UdpSocket {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let port = 10_000 + NEXT.fetch_add(1, Ordering::Relaxed) % 20_000;
    let any: IpAddr = if service.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    let socket = UdpSocket::bind((any, port)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect(service).unwrap();
    socket
}

/// Sends `octets` in a datagram, receives the echo, and returns the number of the server that sent
/// it.
pub(crate) fn ask(socket: &UdpSocket, octets: &[u8]) -> u8 {
    socket.send(octets).unwrap();
    let mut answer = [0; DATAGRAM];
    let length = socket.recv(&mut answer).unwrap();
    assert_eq!(&answer[1..length], octets);
    answer[0]
}
