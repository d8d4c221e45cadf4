//! The table that a file describes: what there is after it was restored onto an empty one.

use std::{
    fs,
    io::{self, Read},
};

use ipvs_netlink::{ServiceKey, VirtualServer, message::Change};

use crate::{
    failure::Failure,
    grammar::Command,
    restore::{self, Line},
};

/// Reads a file, or with `-` the standard input.
pub(crate) fn read(path: &str) -> Result<Vec<VirtualServer>, Failure> {
    let (name, text) = if path == "-" {
        let mut text = String::new();
        let read = io::stdin().lock().read_to_string(&mut text);
        ("standard input", read.map(|_| text))
    } else {
        (path, fs::read_to_string(path))
    };
    let text = text.map_err(|error| Failure::File {
        path: name.into(),
        error,
    })?;
    let mut servers = Vec::new();
    for line in restore::commands(name, &text) {
        let refuse = |line, problem: String| Failure::Line {
            name: name.to_owned(),
            line,
            problem,
            status: 2,
        };
        match line {
            Ok(Line {
                number,
                command: Command::Change(change),
            }) => follow(&mut servers, change).map_err(|problem| refuse(number, problem))?,
            Ok(Line { number, .. }) => {
                let problem = "not a command that changes the table".to_owned();
                return Err(refuse(number, problem));
            }
            Err(Failure::Line { line, problem, .. }) => return Err(refuse(line, problem)),
            Err(failure) => return Err(failure),
        }
    }
    Ok(servers)
}

/// Makes a change to a table. Timeouts, daemons and counters are no part of it.
fn follow(servers: &mut Vec<VirtualServer>, change: Change) -> Result<(), String> {
    match change {
        Change::AddService(service) => {
            if position(servers, service.key).is_ok() {
                return Err(format!("{}: added twice", service.key));
            }
            servers.push(VirtualServer {
                service,
                destinations: Vec::new(),
            });
        }
        Change::UpdateService(service) => {
            let at = position(servers, service.key)?;
            servers[at].service = service;
        }
        Change::DeleteService(key) => {
            let at = position(servers, key)?;
            servers.remove(at);
        }
        Change::AddDestination {
            service,
            destination,
        } => {
            let at = position(servers, service)?;
            let destinations = &mut servers[at].destinations;
            if destinations
                .iter()
                .any(|there| there.key == destination.key)
            {
                return Err(format!("{} of {service}: added twice", destination.key));
            }
            destinations.push(destination);
        }
        Change::UpdateDestination {
            service,
            destination,
        } => {
            let at = position(servers, service)?;
            let there = servers[at]
                .destinations
                .iter_mut()
                .find(|there| there.key == destination.key);
            let missing = || format!("{} of {service}: is not there", destination.key);
            *there.ok_or_else(missing)? = destination;
        }
        Change::DeleteDestination {
            service,
            destination,
        } => {
            let at = position(servers, service)?;
            let destinations = &mut servers[at].destinations;
            let before = destinations.len();
            destinations.retain(|there| there.key != destination);
            if destinations.len() == before {
                return Err(format!("{destination} of {service}: is not there"));
            }
        }
        Change::Flush => servers.clear(),
        Change::StartDaemon(_)
        | Change::StopDaemon(_)
        | Change::SetTimeouts(_)
        | Change::ZeroService(_)
        | Change::ZeroAll => {}
    }
    Ok(())
}

/// Where a service is. Most lines are about the one that was added last.
fn position(servers: &[VirtualServer], key: ServiceKey) -> Result<usize, String> {
    servers
        .iter()
        .rposition(|server| server.service.key == key)
        .ok_or_else(|| format!("{key}: is not there"))
}
