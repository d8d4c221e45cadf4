//! The table that a text describes.

use std::collections::HashMap;

use super::{Numbered, ParseError, Problem};
use crate::{Destination, DestinationKey, Service, ServiceKey, VirtualServer, message::Change};

/// A service, with the numbers of the lines that added it and its destinations.
struct Entry {
    line: usize,
    service: Service,
    destinations: HashMap<DestinationKey, (usize, Destination)>,
}

pub(super) fn of<'t>(
    changes: impl Iterator<Item = Result<Numbered<'t, Change>, ParseError>>,
) -> Result<Vec<VirtualServer>, ParseError> {
    let mut table = HashMap::new();
    for change in changes {
        let (line, first, change) = change?;
        apply(&mut table, line, change).map_err(|problem| first.refused(problem))?;
    }
    let mut entries: Vec<_> = table.into_values().collect();
    entries.sort_unstable_by_key(|entry| entry.line);
    Ok(entries.into_iter().map(Entry::into_server).collect())
}

fn apply(
    table: &mut HashMap<ServiceKey, Entry>,
    line: usize,
    change: Change,
) -> Result<(), Problem> {
    match change {
        Change::AddService(service) => {
            if table.contains_key(&service.key) {
                return Err(Problem::ServiceExists(service.key));
            }
            let entry = Entry {
                line,
                service,
                destinations: HashMap::new(),
            };
            table.insert(service.key, entry);
        }
        Change::UpdateService(service) => entry(table, service.key)?.service = service,
        Change::DeleteService(service) => {
            entry(table, service)?;
            table.remove(&service);
        }
        Change::AddDestination {
            service,
            destination,
        } => {
            let destinations = &mut entry(table, service)?.destinations;
            if destinations.contains_key(&destination.key) {
                return Err(Problem::DestinationExists {
                    service,
                    destination: destination.key,
                });
            }
            destinations.insert(destination.key, (line, destination));
        }
        Change::UpdateDestination {
            service,
            destination,
        } => {
            let missing = Problem::NoSuchDestination {
                service,
                destination: destination.key,
            };
            let destinations = &mut entry(table, service)?.destinations;
            destinations.get_mut(&destination.key).ok_or(missing)?.1 = destination;
        }
        Change::DeleteDestination {
            service,
            destination,
        } => {
            let missing = Problem::NoSuchDestination {
                service,
                destination,
            };
            let destinations = &mut entry(table, service)?.destinations;
            destinations.remove(&destination).ok_or(missing)?;
        }
        Change::ZeroService(service) => {
            entry(table, service)?;
        }
        Change::Flush => table.clear(),
        Change::ZeroAll
        | Change::SetTimeouts(_)
        | Change::StartDaemon(_)
        | Change::StopDaemon(_) => {}
    }
    Ok(())
}

fn entry(
    table: &mut HashMap<ServiceKey, Entry>,
    service: ServiceKey,
) -> Result<&mut Entry, Problem> {
    table
        .get_mut(&service)
        .ok_or(Problem::NoSuchService(service))
}

impl Entry {
    fn into_server(self) -> VirtualServer {
        let mut destinations: Vec<_> = self.destinations.into_values().collect();
        destinations.sort_unstable_by_key(|(line, _)| *line);
        VirtualServer {
            service: self.service,
            destinations: destinations
                .into_iter()
                .map(|(_, destination)| destination)
                .collect(),
        }
    }
}
