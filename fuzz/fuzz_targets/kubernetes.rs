//! Any text is read as Kubernetes objects, from a file in JSON or YAML and from a stream in pieces:
//! no panic, memory in proportion to the text and the table, and a table whose promises hold.
#![no_main]

use std::{
    fmt,
    io::{self, Read},
};

use allocation_counter::measure;
use libfuzzer_sys::fuzz_target;
use vrrp_examples::kubernetes::{
    Change, Differences, MAX_DESTINATIONS, Node, Object, ObjectKind, Objects, ReadError, Settings,
    WantedTable, WatchEvent, parse_configuration, read_json, read_yaml, translate, watch_events,
};

/// Octets of memory for each octet of text. An empty YAML node is one octet of text, and its value
/// and the events of the parser are much longer; aliases make it up to four times as much.
const FOR_EACH_OCTET: u64 = 4_096;

/// Octets for each destination and each service of a table.
const FOR_EACH_ENTRY: u64 = 2_048;

/// Room for buffers that do not depend on the text.
const FOR_EACH_CALL: u64 = 1 << 20;

/// Runs `work`, whose memory stays under a limit.
fn within<T>(limit: u64, work: impl FnOnce() -> T) -> T {
    let mut result = None;
    let info = measure(|| result = Some(work()));
    assert!(
        info.bytes_max <= limit,
        "{} octets of memory, of at most {limit}",
        info.bytes_max
    );
    result.expect("the work was done")
}

/// A stream whose octets arrive in pieces.
struct Torn<'a> {
    octets: &'a [u8],
    piece: usize,
}

impl Read for Torn<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let count = room.len().min(self.piece);
        self.octets.read(&mut room[..count])
    }
}

/// Errors as texts, so that two readings can be compared.
fn described<T>(result: Result<T, ReadError>) -> Result<T, String> {
    result.map_err(|error| shown(&error))
}

fn shown(value: &impl fmt::Display) -> String {
    let text = value.to_string();
    assert!(!text.is_empty());
    text
}

fn file(text: &str, read: fn(&str) -> Result<Vec<Object>, ReadError>) {
    let len = text.len() as u64;
    let Ok(found) = within(FOR_EACH_CALL + FOR_EACH_OCTET * len, || {
        described(read(text))
    }) else {
        return;
    };
    let mut objects = Objects::default();
    let replace = || Change::Replace {
        source: "file".into(),
        objects: found.clone(),
    };
    objects.apply(replace());
    assert!(!objects.apply(replace()), "the same is no change");
    table(&mut objects, len);
}

fn stream(octets: &[u8], piece: usize) {
    let len = octets.len() as u64;
    let read = |stream: Torn<'_>| -> Vec<_> { watch_events(stream).map(described).collect() };
    let whole = Torn {
        octets,
        piece: usize::MAX,
    };
    let events = within(FOR_EACH_CALL + FOR_EACH_OCTET * len, || read(whole));
    assert_eq!(events, read(Torn { octets, piece }), "in pieces of {piece}");
    let mut objects = Objects::default();
    for event in events.into_iter().flatten().flatten() {
        shown(&event);
        let source = "stream".into();
        let change = match event {
            WatchEvent::Put { object, .. } => Change::Put { source, object },
            WatchEvent::Delete(object) => Change::Delete {
                source,
                object: object.key().clone(),
            },
        };
        objects.apply(change.clone());
        assert!(!objects.apply(change), "the same is no change");
    }
    table(&mut objects, len);
}

/// Translates the objects, and checks the table.
fn table(objects: &mut Objects, len: u64) {
    let address = |text: &str| text.parse().expect("an address");
    let node = Node {
        name: "a".into(),
        addresses: ["127.0.0.1", "192.0.2.10", "2001:db8::10", "fe80::1"]
            .map(address)
            .into(),
    };
    let services = objects.count(ObjectKind::Service);
    let most = (services * MAX_DESTINATIONS) as u64;
    let table = within(
        FOR_EACH_CALL + FOR_EACH_OCTET * len + FOR_EACH_ENTRY * most,
        || translate(objects, &node, &Settings::default()),
    );
    let servers: Vec<_> = table.servers().collect();
    assert!(servers.is_sorted_by(|one, other| one.service.key < other.service.key));
    for server in &servers {
        assert!(
            server
                .destinations
                .is_sorted_by(|one, other| one.key < other.key)
        );
    }
    let entries: usize = servers.iter().map(|it| 1 + it.destinations.len()).sum();
    assert!(entries <= 2 * services * MAX_DESTINATIONS);
    let problems = table.problems().iter();
    problems.for_each(|problem| drop(shown(problem)));
    let mut kept = WantedTable::new(Settings::default());
    let new = kept.update(objects, &node);
    assert_eq!(kept, table);
    assert!(
        new.services
            .iter()
            .eq(servers.iter().map(|it| &it.service.key))
    );
    assert_eq!(kept.update(objects, &node), Differences::default());
}

fuzz_target!(|input: &[u8]| {
    let Some((kind, octets)) = input.split_first() else {
        return;
    };
    match (kind, std::str::from_utf8(octets)) {
        (b'j', Ok(text)) => file(text, read_json),
        (b'y', Ok(text)) => file(text, read_yaml),
        (b'c', Ok(text)) => drop(parse_configuration(text).map_err(|error| shown(&error))),
        // Any other octet is the length of the pieces.
        (length, _) => stream(octets, usize::from((*length).max(1))),
    }
});
