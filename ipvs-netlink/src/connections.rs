//! The connections that the kernel balances, from `/proc/net/ip_vs_conn`, the only interface that
//! lists them.
//!
//! ```no_run
//! use ipvs_netlink::connections::Connections;
//!
//! let server = "10.0.0.1:80".parse()?;
//! let mut left = 0;
//! for connection in Connections::open()? {
//!     left += u32::from(connection?.destination == server);
//! }
//! println!("{left} connections of {server} are left");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::{
    fmt, io,
    io::{BufRead, Read},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use crate::{PersistenceEngine, Protocol, name::Name};

/// A connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The transport protocol; `None` for the template of a firewall mark and for anything that is
    /// not TCP, UDP or SCTP.
    pub protocol: Option<Protocol>,
    /// The client. Port 0 stands for a template of persistence.
    pub client: SocketAddr,
    /// The address to which the client connected; for a template of a firewall mark, the mark as an
    /// address.
    pub service: SocketAddr,
    /// The destination that was chosen.
    pub destination: SocketAddr,
    /// Its state.
    pub state: ConnectionState,
    /// The time until it expires without traffic, in whole seconds.
    pub expires: Duration,
    /// The persistence engine with its data, for example a Call-ID.
    pub engine: Option<(PersistenceEngine, String)>,
}

impl Connection {
    /// Whether it is a template, which remembers the destination of a client for persistence.
    #[must_use]
    pub fn is_template(&self) -> bool {
        self.client.port() == 0
    }
}

/// The state of a connection, by the kernel's name: `ESTABLISHED`, `FIN_WAIT`, `UDP`, `ASSURED` …
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionState(Name<15>);

impl ConnectionState {
    /// Its name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for ConnectionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for ConnectionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnectionState({self})")
    }
}

/// Why connections could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionsError {
    /// The file could not be opened or read. It does not exist where the kernel has no IPVS.
    #[error("read the connections: {0}")]
    Read(#[from] io::Error),
    /// A line is not a connection. Those that follow it can still be read.
    #[error("line {line} of the connections: {field} {text:?} cannot be read")]
    Line {
        /// The number of the line, from 1.
        line: usize,
        /// The expected text.
        field: &'static str,
        /// The text of the file.
        text: String,
    },
}

/// The longest line that is accepted. The kernel's lines have at most about 400 octets.
const LONGEST_LINE: u64 = 4096;

/// The connections, one after the other, with room for one line.
///
/// The kernel walks its table during the read, so connections that begin or end in that time may be
/// missing or listed. After a read error the iterator ends.
#[derive(Debug)]
pub struct Connections<R> {
    reader: R,
    line: Vec<u8>,
    number: usize,
    failed: bool,
}

#[cfg(all(feature = "client", target_os = "linux"))]
impl Connections<io::BufReader<std::fs::File>> {
    /// The connections of the network namespace of the calling thread.
    ///
    /// # Errors
    ///
    /// [`ConnectionsError::Read`]; with [`NotFound`](io::ErrorKind::NotFound) where the kernel has
    /// no IPVS.
    pub fn open() -> Result<Self, ConnectionsError> {
        let file = std::fs::File::open("/proc/thread-self/net/ip_vs_conn")?;
        Ok(Self::new(io::BufReader::with_capacity(1 << 16, file)))
    }
}

impl<R: BufRead> Connections<R> {
    /// Reads connections from a text in the kernel's format.
    pub fn new(reader: R) -> Self {
        Self {
            reader,
            line: Vec::new(),
            number: 0,
            failed: false,
        }
    }

    /// Reads the next line, if there is one, and returns whether it is complete; the rest of an
    /// overlong line is skipped.
    fn read_line(&mut self) -> io::Result<Option<bool>> {
        self.line.clear();
        let mut limited = self.reader.by_ref().take(LONGEST_LINE);
        if limited.read_until(b'\n', &mut self.line)? == 0 {
            return Ok(None);
        }
        let is_whole = limited.limit() > 0 || self.line.ends_with(b"\n");
        if !is_whole {
            self.reader.skip_until(b'\n')?;
        }
        Ok(Some(is_whole))
    }
}

impl<R: BufRead> Iterator for Connections<R> {
    type Item = Result<Connection, ConnectionsError>;

    fn next(&mut self) -> Option<Self::Item> {
        // A file that fails once may fail for ever.
        while !self.failed {
            self.number += 1;
            let is_whole = match self.read_line() {
                Ok(None) => return None,
                Ok(Some(is_whole)) => is_whole,
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error.into()));
                }
            };
            let line = String::from_utf8_lossy(&self.line);
            // The first line names the columns.
            if line.trim().is_empty() || (self.number == 1 && line.starts_with("Pro")) {
                continue;
            }
            let line = line.trim_end_matches('\n');
            let found = if is_whole {
                connection(line)
            } else {
                Err(("end", line))
            };
            return Some(found.map_err(|(field, text)| ConnectionsError::Line {
                line: self.number,
                field,
                text: text.chars().take(64).collect(),
            }));
        }
        None
    }
}

/// A line, or its first unreadable field.
fn connection(line: &str) -> Result<Connection, (&'static str, &str)> {
    let mut fields = Fields(line);
    let protocol = match fields.next("protocol")? {
        "TCP" => Some(Protocol::Tcp),
        "UDP" => Some(Protocol::Udp),
        "SCTP" => Some(Protocol::Sctp),
        _ => None,
    };
    let client = fields.socket_address("client address", "client port")?;
    let service = fields.socket_address("service address", "service port")?;
    let destination = fields.socket_address("destination address", "destination port")?;
    let state = fields.next("state")?;
    let state = Name::new("state", state)
        .map_err(|_| ("state", state))
        .map(ConnectionState)?;
    let expires = fields.next("time")?;
    let expires = expires
        .parse()
        .map_err(|_| ("time", expires))
        .map(Duration::from_secs)?;
    let engine = match fields.next("persistence engine") {
        Err(_) => None,
        Ok(name) => {
            let engine = PersistenceEngine::new(name).map_err(|_| ("persistence engine", name))?;
            Some((engine, fields.0.trim_start().to_owned()))
        }
    };
    Ok(Connection {
        protocol,
        client,
        service,
        destination,
        state,
        expires,
        engine,
    })
}

/// The rest of a line.
struct Fields<'a>(&'a str);

impl<'a> Fields<'a> {
    fn next(&mut self, what: &'static str) -> Result<&'a str, (&'static str, &'a str)> {
        let rest = self.0.trim_start_matches(' ');
        let end = rest.find(' ').unwrap_or(rest.len());
        let (field, rest) = rest.split_at(end);
        self.0 = rest;
        if field.is_empty() {
            Err((what, ""))
        } else {
            Ok(field)
        }
    }

    fn socket_address(
        &mut self,
        address_field: &'static str,
        port_field: &'static str,
    ) -> Result<SocketAddr, (&'static str, &'a str)> {
        let text = self.next(address_field)?;
        let address = address(text).ok_or((address_field, text))?;
        let text = self.next(port_field)?;
        let port = u16::from_str_radix(text, 16).map_err(|_| (port_field, text))?;
        Ok(SocketAddr::new(address, port))
    }
}

/// An address as the kernel writes it: eight hexadecimal digits, or eight groups of four.
fn address(text: &str) -> Option<IpAddr> {
    if text.contains(':') {
        text.trim_start_matches('[')
            .trim_end_matches(']')
            .parse::<Ipv6Addr>()
            .ok()
            .map(IpAddr::V6)
    } else {
        let number = u32::from_str_radix(text, 16)
            .ok()
            .filter(|_| text.len() == 8)?;
        Some(Ipv4Addr::from_bits(number).into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "\
Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData
TCP fd00:0009:0000:0000:0000:0000:0000:0100 8286 fd00:0009:0000:0000:0000:0000:0000:0100 0050 fd00:0009:0000:0000:0000:0000:0000:0001 1F90 ESTABLISHED       9
TCP 0A090001 86F8 0A090001 0050 0A093201 1F90 FIN_WAIT         19
IP  0A090001 0000 00000007 0000 0A093201 0000 NONE            299
UDP 0A090001 13C4 0A090002 13C4 0A093201 13C4 UDP             299 sip a84b4c76e66710@pc33.example.com
TCP 0A090001 86F8 0A090001 0050 fd00:0009:0000:0000:0000:0000:0000:0001 1F90 SYN_RECV         59
";

    fn read(text: &str) -> Vec<Result<Connection, String>> {
        Connections::new(text.as_bytes())
            .map(|found| found.map_err(|error| error.to_string()))
            .collect()
    }

    #[test]
    fn both_families_and_a_destination_of_the_other_are_read() {
        let found: Vec<_> = read(TEXT).into_iter().map(Result::unwrap).collect();
        assert_eq!(found.len(), 5);
        assert_eq!(found[0].client, "[fd00:9::100]:33414".parse().unwrap());
        assert_eq!(found[0].destination, "[fd00:9::1]:8080".parse().unwrap());
        assert_eq!(found[1].service, "10.9.0.1:80".parse().unwrap());
        assert_eq!(found[1].state.as_str(), "FIN_WAIT");
        assert_eq!(found[1].expires, Duration::from_secs(19));
        assert_eq!(found[4].destination, "[fd00:9::1]:8080".parse().unwrap());
    }

    #[test]
    fn a_template_differs_from_a_connection() {
        let found: Vec<_> = read(TEXT)
            .into_iter()
            .map(|found| found.unwrap().is_template())
            .collect();
        assert_eq!(found, [false, false, true, false, false]);
    }

    #[test]
    fn the_column_of_the_persistence_engine_is_read() {
        let engine = (
            PersistenceEngine::SIP,
            "a84b4c76e66710@pc33.example.com".to_owned(),
        );
        assert_eq!(read(TEXT)[3].as_ref().unwrap().engine, Some(engine));
        assert_eq!(read(TEXT)[1].as_ref().unwrap().engine, None);
    }

    #[test]
    fn a_line_that_cannot_be_read_is_named_and_those_after_it_are_read() {
        let text = TEXT.replace("0A093201 1F90 FIN_WAIT", "0A09320 1F90 FIN_WAIT");
        let found = read(&text);
        assert_eq!(
            found[1],
            Err(
                "line 3 of the connections: destination address \"0A09320\" cannot be read"
                    .to_owned()
            )
        );
        assert!(found[2].is_ok());
    }

    #[test]
    fn an_error_of_a_short_line_names_the_missing_field() {
        let found = read("TCP 0A090001 86F8 0A090001 0050\n");
        assert_eq!(
            found,
            [Err(
                "line 1 of the connections: destination address \"\" cannot be read".to_owned()
            )]
        );
    }

    #[test]
    fn a_line_that_is_too_long_is_skipped_and_takes_no_room() {
        let lines: Vec<_> = TEXT.lines().collect();
        let long = lines[4].to_owned() + &"x".repeat(1 << 20);
        let text = [lines[1], &long, lines[2]].join("\n");
        let mut found = Connections::new(text.as_bytes());
        assert!(matches!(found.next(), Some(Ok(_))));
        assert!(matches!(
            found.next(),
            Some(Err(ConnectionsError::Line { line: 2, .. }))
        ));
        assert!(found.line.capacity() < 1 << 16);
        assert!(matches!(found.next(), Some(Ok(_))));
        assert!(found.next().is_none());
    }

    #[test]
    fn nothing_follows_an_error_of_reading() {
        /// A file that returns its text and then fails on every read.
        struct Failing(&'static [u8]);

        impl io::Read for Failing {
            fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
                match self.0.read(room)? {
                    0 => Err(io::Error::other("gone")),
                    octets => Ok(octets),
                }
            }
        }

        let line = b"TCP 0A090001 86F8 0A090001 0050 0A093201 1F90 FIN_WAIT         19\n";
        let mut found = Connections::new(io::BufReader::new(Failing(line)));
        assert!(matches!(found.next(), Some(Ok(_))));
        assert!(matches!(found.next(), Some(Err(ConnectionsError::Read(_)))));
        assert!(found.next().is_none());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[ -~\n]{0,200}") {
            for _ in Connections::new(text.as_bytes()) {}
        }
    }
}
