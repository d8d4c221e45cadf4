//! The list of connections, octet for octet that of ipvsadm 1.31.

use std::{
    io::{self, Write},
    net::SocketAddr,
};

use ipvs_netlink::{
    Protocol,
    connections::{Connection, ConnectionsError},
};

use super::names::Names;

/// Writes connections as they come. Those that cannot be read are left out and returned as the
/// first error of their kind.
///
/// # Errors
///
/// The writer's.
pub fn write(
    out: &mut impl Write,
    connections: impl Iterator<Item = Result<Connection, ConnectionsError>>,
    names: Names,
    with_engine: bool,
) -> io::Result<Result<(), ConnectionsError>> {
    out.write_all(b"IPVS connection entries\n")?;
    out.write_all(b"pro expire state       source             virtual            destination")?;
    if with_engine {
        out.write_all(b"        pe name          pe_data")?;
    }
    out.write_all(b"\n")?;
    let mut outcome = Ok(());
    for connection in connections {
        match connection {
            Ok(connection) => line(out, &connection, names, with_engine)?,
            Err(error) => outcome = outcome.and(Err(error)),
        }
    }
    Ok(outcome)
}

fn line(
    out: &mut impl Write,
    connection: &Connection,
    names: Names,
    with_engine: bool,
) -> io::Result<()> {
    let protocol = match connection.protocol {
        Some(Protocol::Tcp) => "TCP",
        Some(Protocol::Udp) => "UDP",
        Some(Protocol::Sctp) => "SCTP",
        None => "IP",
    };
    let seconds = connection.expires.as_secs();
    let expires = format!("{:02}:{:02}", seconds / 60, seconds % 60);
    let [client, service, destination] = [
        connection.client,
        connection.service,
        connection.destination,
    ]
    .map(|at: SocketAddr| names.endpoint(at.ip(), at.port(), connection.protocol));
    write!(
        out,
        "{protocol:3} {expires:6} {:11} {client:18} {service:18} ",
        connection.state,
    )?;
    match &connection.engine {
        Some((engine, data)) if with_engine => {
            // Data is read up to its first blank.
            let data = data.split_whitespace().next().unwrap_or_default();
            writeln!(out, "{destination:16} {engine:18} {data}")
        }
        _ => writeln!(out, "{destination}"),
    }
}
