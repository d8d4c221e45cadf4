//! Whole lists, and lists that can be trusted.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    time::Duration,
};

use super::{
    exchange::{Arrival, Exchange},
    operations::unexpected,
    socket::Transport,
};
use crate::{
    DestinationKey, Errno, Error, ListedDestination, ListedService, NoAnswer, ServiceKey, Table,
    TableEntry,
    message::{DecodeError, Query, Reply},
};

/// How often a list is read again that was torn, or that does not come out the same.
const ATTEMPTS: usize = 16;

/// How often in a row a list has to come out the same before it is trusted. Twice is not enough: what another program does in a rhythm tears
/// two lists at the same place.
const ENOUGH: usize = 3;

/// A pause before a list is read again, longer every time, so as not to keep step with whoever changes it.
fn pause(attempt: usize) -> Duration {
    Duration::from_micros(100 << attempt.min(6))
}

/// A list as it came: each object once.
struct List<T> {
    objects: Vec<T>,
    unreadable: Vec<DecodeError>,
    /// Whether nothing can be missing.
    whole: bool,
}

impl<T: Transport> Exchange<T> {
    pub(super) async fn services(&mut self) -> Result<Vec<ListedService>, Error> {
        let list = self.list_services().await?;
        match list.unreadable.into_iter().next() {
            Some(error) => Err(Error::decode(Query::Services, error)),
            None => Ok(list.objects),
        }
    }

    pub(super) async fn destinations(
        &mut self,
        service: ServiceKey,
    ) -> Result<Vec<ListedDestination>, Error> {
        let list = self.list_destinations(service).await?;
        if let Some(error) = list.unreadable.into_iter().next() {
            return Err(Error::decode(Query::Destinations(service), error));
        }
        if list.objects.is_empty() {
            // A service that is not there is answered like one without destinations.
            self.service(service).await?;
        }
        Ok(list.objects)
    }

    /// One destination. There is no way to ask for one, so that it is looked for in lists until it is seen, or its absence is certain.
    pub(super) async fn destination(
        &mut self,
        service: ServiceKey,
        key: DestinationKey,
    ) -> Result<ListedDestination, Error> {
        let is_it = |listed: &ListedDestination| listed.destination.key == key;
        let found = |list: &List<ListedDestination>| list.objects.iter().any(is_it);
        let list = self.read_destinations(service, found).await?;
        let nothing = list.objects.is_empty();
        if let Some(listed) = list.objects.into_iter().find(is_it) {
            return Ok(listed);
        }
        if let Some(error) = list.unreadable.into_iter().next() {
            // This may be it.
            return Err(Error::decode(Query::Destinations(service), error));
        }
        if nothing {
            // A service that is not there is answered like one without destinations.
            self.service(service).await?;
        }
        Err(Error::NoSuchDestination {
            service: Box::new(service),
            destination: Box::new(key),
        })
    }

    pub(super) async fn service(&mut self, key: ServiceKey) -> Result<ListedService, Error> {
        let query = Query::Service(key);
        match self.one(query).await? {
            Reply::Service(found) => Ok(found),
            other => Err(unexpected(query, other.command())),
        }
    }

    /// The one answer to a query.
    pub(super) async fn one(&mut self, query: Query) -> Result<Reply, Error> {
        let mut answer = None;
        self.query(query, |reply| answer = Some(reply)).await?;
        let missing = DecodeError::Missing {
            object: "answer",
            attribute: 0,
        };
        answer
            .unwrap_or(Err(missing))
            .map_err(|error| Error::decode(query, error))
    }

    pub(super) async fn table(&mut self) -> Result<Table, Error> {
        let services = self.list_services().await?;
        let mut table = Table {
            may_be_incomplete: !services.whole,
            unreadable: services.unreadable,
            ..Table::default()
        };
        for service in services.objects {
            let found = self.list_destinations(service.service.key).await?;
            table.take(service, found);
        }
        Ok(table)
    }

    pub(super) async fn confirmed_table(&mut self) -> Result<Table, Error> {
        let services = self.confirmed_services().await?;
        let mut table = Table {
            may_be_incomplete: !services.whole,
            unreadable: services.unreadable,
            ..Table::default()
        };
        for service in services.objects {
            let key = service.service.key;
            let found = self.read_destinations(key, |_| false).await?;
            if found.objects.is_empty() && found.unreadable.is_empty() {
                match self.service(key).await {
                    Err(error) if error.is_missing() => continue,
                    answer => drop(answer?),
                }
            }
            table.take(service, found);
        }
        Ok(table)
    }

    /// Services until nothing can be missing, or until the list comes out the same. What was seen once and then no more is asked for by name.
    async fn confirmed_services(&mut self) -> Result<List<ListedService>, Error> {
        let mut last = self.list_services().await?;
        let mut seen = keys(&last);
        let mut same = 1;
        for attempt in 0..ATTEMPTS {
            if last.whole || same == ENOUGH {
                break;
            }
            self.transport.pause(pause(attempt)).await;
            let next = self.list_services().await?;
            let (before, now) = (keys(&last), keys(&next));
            same = if before == now { same + 1 } else { 1 };
            seen.extend(now);
            last = next;
        }
        let listed = keys(&last);
        let mut vanished: Vec<_> = seen.difference(&listed).copied().collect();
        vanished.sort_unstable();
        for key in vanished {
            match self.service(key).await {
                Ok(found) => last.objects.push(found),
                Err(error) if error.is_missing() => {}
                Err(error) => return Err(error),
            }
        }
        last.whole |= same == ENOUGH;
        Ok(last)
    }

    /// Destinations until nothing can be missing, or until the list comes out the same, there being no way to ask for one; or until one is
    /// good enough.
    async fn read_destinations(
        &mut self,
        service: ServiceKey,
        good_enough: impl Fn(&List<ListedDestination>) -> bool,
    ) -> Result<List<ListedDestination>, Error> {
        let mut last = self.list_destinations(service).await?;
        let mut same = 1;
        for attempt in 0..ATTEMPTS {
            if last.whole || same == ENOUGH || good_enough(&last) {
                break;
            }
            self.transport.pause(pause(attempt)).await;
            let next = self.list_destinations(service).await?;
            same = if destination_keys(&next) == destination_keys(&last) {
                same + 1
            } else {
                1
            };
            last = next;
        }
        last.whole |= same == ENOUGH;
        Ok(last)
    }

    async fn list_services(&mut self) -> Result<List<ListedService>, Error> {
        let key = |listed: &ListedService| listed.service.key;
        let pick = |reply| match reply {
            Reply::Service(listed) => Some(listed),
            _ => None,
        };
        self.list(Query::Services, key, pick).await
    }

    async fn list_destinations(
        &mut self,
        service: ServiceKey,
    ) -> Result<List<ListedDestination>, Error> {
        let key = |listed: &ListedDestination| listed.destination.key;
        let pick = |reply| match reply {
            Reply::Destination(listed) => Some(listed),
            _ => None,
        };
        self.list(Query::Destinations(service), key, pick).await
    }

    /// A list, read again where answers were lost. Of an object that was listed twice, the later one counts.
    async fn list<O, K: Eq + std::hash::Hash>(
        &mut self,
        query: Query,
        key: impl Fn(&O) -> K,
        pick: impl Fn(Reply) -> Option<O>,
    ) -> Result<List<O>, Error> {
        let mut attempt = 1;
        loop {
            let mut objects: Vec<O> = Vec::new();
            let mut unreadable = Vec::new();
            let mut foreign = None;
            let arrival = self
                .query(query, |reply| {
                    match reply.map(|reply| (reply.command(), pick(reply))) {
                        Ok((_, Some(object))) => objects.push(object),
                        Ok((command, None)) => foreign = Some(command),
                        Err(error) => unreadable.push(error),
                    }
                })
                .await;
            match (arrival, foreign) {
                (Ok(_), Some(command)) => return Err(unexpected(query, command)),
                (Ok(arrival), None) => return Ok(List::new(objects, unreadable, arrival, key)),
                (Err(error), _) if attempt < ATTEMPTS && is_torn(&error) => attempt += 1,
                (Err(error), _) => return Err(error),
            }
        }
    }
}

impl<O> List<O> {
    fn new<K: Eq + std::hash::Hash>(
        objects: Vec<O>,
        unreadable: Vec<DecodeError>,
        arrival: Arrival,
        key: impl Fn(&O) -> K,
    ) -> Self {
        if arrival.is_whole() {
            return Self {
                objects,
                unreadable,
                whole: true,
            };
        }
        let mut places = HashMap::with_capacity(objects.len());
        let mut once = Vec::with_capacity(objects.len());
        for object in objects {
            match places.entry(key(&object)) {
                Entry::Vacant(place) => {
                    place.insert(once.len());
                    once.push(object);
                }
                Entry::Occupied(place) => once[*place.get()] = object,
            }
        }
        Self {
            objects: once,
            unreadable,
            whole: false,
        }
    }
}

/// Whether an answer was lost, or the kernel was at another list, so that asking again may help.
fn is_torn(error: &Error) -> bool {
    matches!(
        error,
        Error::Unanswered {
            cause: NoAnswer::Overrun | NoAnswer::Truncated,
            ..
        }
    ) || error.errno() == Some(Errno::BUSY)
}

fn keys(list: &List<ListedService>) -> HashSet<ServiceKey> {
    list.objects
        .iter()
        .map(|listed| listed.service.key)
        .collect()
}

fn destination_keys(list: &List<ListedDestination>) -> HashSet<DestinationKey> {
    list.objects
        .iter()
        .map(|listed| listed.destination.key)
        .collect()
}

impl Table {
    fn take(&mut self, service: ListedService, found: List<ListedDestination>) {
        self.may_be_incomplete |= !found.whole;
        self.unreadable.extend(found.unreadable);
        self.entries.push(TableEntry {
            service,
            destinations: found.objects,
        });
    }
}
