//! Whole lists, and lists that can be trusted.
//!
//! The kernel makes a list in pieces. Each piece shows the table at one moment; between two pieces
//! the kernel only remembers how many objects it has listed, so it skips objects when others before
//! them are deleted. A skipped object is always missing at a seam: between the last object of one
//! piece and the first of the next.
//!
//! So a list is read twice, by two sockets for which the kernel ends its pieces at different
//! places. If both show the same objects in the same order, and no seam of one is a seam of the
//! other, then all neighbours were listed in one piece at least once, and nothing was between them
//! at that moment.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    hash::Hash,
    time::Duration,
};

use super::{
    exchange::{Arrival, Exchange, Reader},
    operations::unexpected,
    socket::Transport,
};
use crate::{
    DestinationKey, Errno, Error, ListedDestination, ListedService, NoAnswer, ServiceKey, Table,
    TableEntry,
    message::{
        DecodeError, Query, Reply,
        decode::{listed_destination_key, listed_service_key},
    },
};

/// The most repeated readings of a list that is torn or keeps changing.
const ATTEMPTS: usize = 16;

/// The number of identical lists in a row that are trusted although both readers had a seam at the
/// same place. Two are not enough: a program that changes the table periodically tears two lists
/// alike.
const ENOUGH: usize = 3;

/// The most services that are requested one by one. A list of all has about 100 in a piece.
const FEW: usize = 256;

/// The most services without destinations that are requested one by one, to see whether they still
/// exist.
const FEW_EMPTY: usize = 8;

/// The pause before a list is read again. It grows, so readings do not keep step with a program
/// that changes the table.
fn pause(attempt: usize) -> Duration {
    Duration::from_micros(100 << attempt.min(6))
}

/// A list as received, with each object once.
struct List<O, K> {
    objects: Vec<O>,
    unreadable: Vec<DecodeError>,
    /// The places where objects may be missing, each as the number of replies before it.
    seams: Vec<usize>,
    /// The listed keys in order, with `None` for an unreadable object, to compare lists with seams.
    order: Vec<Option<K>>,
    /// Whether the list is known to be torn: it has an object twice, or the kernel reported it.
    is_torn: bool,
    /// The number of identical readings in a row.
    times: usize,
}

impl<O, K: PartialEq> List<O, K> {
    /// Whether nothing can be missing.
    fn is_whole(&self) -> bool {
        !self.is_torn && (self.seams.is_empty() || self.times >= ENOUGH)
    }
}

type Services = List<ListedService, ServiceKey>;
type Destinations = List<ListedDestination, DestinationKey>;

/// The objects of a list.
trait Listed: Sized {
    type Key: Copy + Eq + Hash;

    fn key(&self) -> Self::Key;
    fn pick(reply: Reply) -> Option<Self>;
    /// Reads only the key of a listed object, which is less work than decoding all of it.
    fn read_key(attributes: &[u8]) -> Option<Self::Key>;
}

impl Listed for ListedService {
    type Key = ServiceKey;

    fn key(&self) -> ServiceKey {
        self.service.key
    }

    fn pick(reply: Reply) -> Option<Self> {
        match reply {
            Reply::Service(listed) => Some(listed),
            _ => None,
        }
    }

    fn read_key(attributes: &[u8]) -> Option<ServiceKey> {
        listed_service_key(attributes).ok()
    }
}

impl Listed for ListedDestination {
    type Key = DestinationKey;

    fn key(&self) -> DestinationKey {
        self.destination.key
    }

    fn pick(reply: Reply) -> Option<Self> {
        match reply {
            Reply::Destination(listed) => Some(listed),
            _ => None,
        }
    }

    fn read_key(attributes: &[u8]) -> Option<DestinationKey> {
        listed_destination_key(attributes).ok()
    }
}

impl<T: Transport> Exchange<T> {
    pub(super) async fn services(&mut self) -> Result<Vec<ListedService>, Error> {
        let list: Services = self.list(Reader::Main, Query::Services).await?;
        match list.unreadable.into_iter().next() {
            Some(error) => Err(Error::decode(Query::Services, error)),
            None => Ok(list.objects),
        }
    }

    pub(super) async fn destinations(
        &mut self,
        service: ServiceKey,
    ) -> Result<Vec<ListedDestination>, Error> {
        let query = Query::Destinations(service);
        let list: Destinations = self.list(Reader::Main, query).await?;
        if let Some(error) = list.unreadable.into_iter().next() {
            return Err(Error::decode(Query::Destinations(service), error));
        }
        if list.objects.is_empty() {
            // The kernel answers for a missing service as for one without destinations.
            self.service(service).await?;
        }
        Ok(list.objects)
    }

    /// Reads one destination. The kernel has no query for a single one, so lists are read until one
    /// contains it or its absence is certain.
    pub(super) async fn destination(
        &mut self,
        service: ServiceKey,
        key: DestinationKey,
    ) -> Result<ListedDestination, Error> {
        let is_it = |listed: &ListedDestination| listed.destination.key == key;
        let found = |list: &Destinations| list.objects.iter().any(is_it);
        let list = self.confirm(Query::Destinations(service), found).await?;
        let nothing = list.objects.is_empty();
        if let Some(listed) = list.objects.into_iter().find(is_it) {
            return Ok(listed);
        }
        if let Some(error) = list.unreadable.into_iter().next() {
            // The unreadable object may be the wanted one.
            return Err(Error::decode(Query::Destinations(service), error));
        }
        if nothing {
            // The kernel answers for a missing service as for one without destinations.
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

    /// Returns the only answer to a query.
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
        let services: Services = self.list(Reader::Main, Query::Services).await?;
        let mut table = Table {
            may_be_incomplete: !services.is_whole(),
            unreadable: services.unreadable,
            ..Table::default()
        };
        for service in services.objects {
            let query = Query::Destinations(service.service.key);
            let found = self.list(Reader::Main, query).await?;
            table.take(service, found);
        }
        Ok(table)
    }

    pub(super) async fn confirmed_table(&mut self) -> Result<Table, Error> {
        let services = self.confirmed_services().await?;
        let mut table = Table {
            may_be_incomplete: !services.is_whole(),
            unreadable: services.unreadable,
            ..Table::default()
        };
        for service in services.objects {
            self.confirm_entry(service, &mut table).await?;
        }
        self.drop_vanished(&mut table).await?;
        Ok(table)
    }

    /// Removes services that were deleted in the meantime: their lists look like those of services
    /// without destinations.
    async fn drop_vanished(&mut self, table: &mut Table) -> Result<(), Error> {
        let is_empty = |entry: &&TableEntry| entry.destinations.is_empty();
        let key = |entry: &TableEntry| entry.service.service.key;
        let mut empty: Vec<_> = table.entries.iter().filter(is_empty).map(key).collect();
        if empty.len() > FEW_EMPTY {
            let there = self.confirmed_services().await?;
            let there: HashSet<_> = there.objects.iter().map(Listed::key).collect();
            empty.retain(|key| !there.contains(key));
        }
        let mut vanished = HashSet::new();
        for service in empty {
            match self.service(service).await {
                Err(error) if error.is_missing() => {
                    vanished.insert(service);
                }
                answer => drop(answer?),
            }
        }
        if !vanished.is_empty() {
            table
                .entries
                .retain(|entry| !vanished.contains(&key(entry)));
        }
        Ok(())
    }

    /// Reads some services with their destinations. A few are requested by key; many are looked up
    /// in the list of all.
    pub(super) async fn table_of(&mut self, services: &[ServiceKey]) -> Result<Table, Error> {
        let mut table = Table::default();
        if services.len() > FEW {
            let wanted: HashSet<_> = services.iter().collect();
            let all = self.confirmed_services().await?;
            table.may_be_incomplete = !all.is_whole();
            table.unreadable = all.unreadable;
            for service in all.objects {
                if wanted.contains(&service.service.key) {
                    self.confirm_entry(service, &mut table).await?;
                }
            }
            self.drop_vanished(&mut table).await?;
            return Ok(table);
        }
        for key in services {
            match self.service(*key).await {
                Ok(service) => self.confirm_entry(service, &mut table).await?,
                Err(Error::Decode { error, .. }) => table.unreadable.push(*error),
                Err(error) if error.is_missing() => {}
                Err(error) => return Err(error),
            }
        }
        self.drop_vanished(&mut table).await?;
        Ok(table)
    }

    /// Adds a service with its destinations to a table.
    async fn confirm_entry(
        &mut self,
        service: ListedService,
        table: &mut Table,
    ) -> Result<(), Error> {
        let query = Query::Destinations(service.service.key);
        let found = self.confirm(query, |_| false).await?;
        table.take(service, found);
        Ok(())
    }

    /// Reads all services. A service that is missing from a later list is requested by key.
    async fn confirmed_services(&mut self) -> Result<Services, Error> {
        let mut seen = HashSet::new();
        let see = |list: &Services| {
            if !list.seams.is_empty() || list.is_torn {
                seen.extend(list.objects.iter().map(Listed::key));
            }
            false
        };
        let mut last = self.confirm(Query::Services, see).await?;
        let listed: HashSet<_> = last.objects.iter().map(Listed::key).collect();
        let mut vanished: Vec<_> = seen.difference(&listed).copied().collect();
        vanished.sort_unstable();
        for key in vanished {
            match self.service(key).await {
                Ok(found) => last.objects.push(found),
                Err(error) if error.is_missing() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(last)
    }

    /// Reads a list until nothing can be missing, or until `is_good_enough` accepts it.
    async fn confirm<O: Listed>(
        &mut self,
        query: Query,
        mut is_good_enough: impl FnMut(&List<O, O::Key>) -> bool,
    ) -> Result<List<O, O::Key>, Error> {
        let mut reader = Reader::Main;
        let mut list = self.list(reader, query).await?;
        for attempt in 0..ATTEMPTS {
            if is_good_enough(&list) || list.is_whole() {
                break;
            }
            reader = reader.other();
            if list.is_torn || !self.is_same(&mut list, reader, query).await? {
                list = self.list(reader, query).await?;
            }
            if !list.is_whole() {
                self.main.transport.pause(pause(attempt)).await;
            }
        }
        Ok(list)
    }

    /// Reads the keys of a list again and compares them. If they are the same, only the seams that
    /// both readings share remain.
    async fn is_same<O: Listed>(
        &mut self,
        list: &mut List<O, O::Key>,
        reader: Reader,
        query: Query,
    ) -> Result<bool, Error> {
        let (mut place, mut is_same) = (0, true);
        let arrival = self
            .query_by(reader, query, |_, attributes| {
                is_same &= match list.order.get(place) {
                    // An unreadable object may have any key.
                    Some(None) => true,
                    Some(key) => *key == O::read_key(attributes),
                    None => false,
                };
                place += 1;
            })
            .await;
        let arrival = match arrival {
            Err(error) if is_torn(&error) => return Ok(false),
            arrival => arrival?,
        };
        if arrival.needs_probe {
            self.begin_to_probe();
        }
        if !is_same || place != list.order.len() || arrival.interrupted {
            return Ok(false);
        }
        list.times += 1;
        list.seams.retain(|seam| arrival.seams.contains(seam));
        Ok(true)
    }

    /// Reads a list, and again if answers were lost. If an object is listed twice, the later entry
    /// counts.
    async fn list<O: Listed>(
        &mut self,
        reader: Reader,
        query: Query,
    ) -> Result<List<O, O::Key>, Error> {
        let mut attempt = 1;
        loop {
            let mut objects: Vec<O> = Vec::new();
            let mut unreadable = Vec::new();
            let mut foreign = None;
            let arrival = self
                .query_by(reader, query, |command, attributes| {
                    let reply = Reply::decode(command, attributes);
                    match reply.map(|reply| (reply.command(), O::pick(reply))) {
                        Ok((_, Some(object))) => objects.push(object),
                        Ok((command, None)) => foreign = Some(command),
                        Err(error) => unreadable.push((objects.len() + unreadable.len(), error)),
                    }
                })
                .await;
            match (arrival, foreign) {
                (Ok(_), Some(command)) => return Err(unexpected(query, command)),
                (Ok(arrival), None) if arrival.needs_probe && self.begin_to_probe() => {}
                (Ok(arrival), None) => return Ok(List::new(objects, unreadable, arrival)),
                (Err(error), _) if attempt < ATTEMPTS && is_torn(&error) => attempt += 1,
                (Err(error), _) => return Err(error),
            }
        }
    }
}

impl<O: Listed> List<O, O::Key> {
    /// `unreadable` are numbered among all replies.
    fn new(objects: Vec<O>, unreadable: Vec<(usize, DecodeError)>, arrival: Arrival) -> Self {
        let mut list = Self {
            objects,
            unreadable: Vec::new(),
            seams: arrival.seams,
            order: Vec::new(),
            is_torn: arrival.interrupted,
            times: 1,
        };
        if !list.seams.is_empty() || list.is_torn {
            list.order = list
                .objects
                .iter()
                .map(|object| Some(object.key()))
                .collect();
            for (place, _) in &unreadable {
                list.order.insert(*place, None);
            }
            list.keep_each_once();
        }
        list.unreadable = unreadable.into_iter().map(|(_, error)| error).collect();
        list
    }

    fn keep_each_once(&mut self) {
        let mut places = HashMap::with_capacity(self.objects.len());
        let mut once = Vec::with_capacity(self.objects.len());
        for object in self.objects.drain(..) {
            match places.entry(object.key()) {
                Entry::Vacant(place) => {
                    place.insert(once.len());
                    once.push(object);
                }
                Entry::Occupied(place) => {
                    once[*place.get()] = object;
                    self.is_torn = true;
                }
            }
        }
        self.objects = once;
    }
}

/// Whether an answer was lost, or the kernel was busy with another list, so another attempt may
/// help.
fn is_torn(error: &Error) -> bool {
    matches!(
        error,
        Error::Unanswered {
            cause: NoAnswer::Overrun | NoAnswer::Truncated,
            ..
        }
    ) || error.errno() == Some(Errno::BUSY)
}

impl Table {
    fn take(&mut self, service: ListedService, found: Destinations) {
        self.may_be_incomplete |= !found.is_whole();
        self.unreadable.extend(found.unreadable);
        let mut destinations = found.objects;
        // The lists of all services are kept together.
        destinations.shrink_to_fit();
        self.entries.push(TableEntry {
            service,
            destinations,
        });
    }
}
