//! The blocking client, with a thread as its kernel at the other end of a pair of sockets.

use std::{
    os::fd::{AsRawFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

use netlink_packet_core::{NLM_F_ACK, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer};
use nix::sys::{
    pthread::{pthread_kill, pthread_self},
    signal::Signal,
    socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair},
};

use super::{
    socket::{Deadline, Room, Transport},
    *,
};
use crate::{
    ForwardingMethod, NoAnswer, Stats,
    message::{
        Command, Query, Reply, Request,
        attribute::{Writer, number::controller},
    },
};

const FAMILY: u16 = 99;
const SERVICE: ([u8; 4], u16) = ([192, 0, 2, 1], 80);

/// Messages of the kernel, by datagrams: their types and payloads.
type Datagrams = Vec<Vec<(u16, Vec<u8>)>>;

/// The attributes of a reply, with their command.
type Octets = (u8, Vec<u8>);

fn pair() -> (OwnedFd, OwnedFd) {
    let flags = SockFlag::SOCK_CLOEXEC;
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).unwrap()
}

/// A client whose kernel answers each message with these datagrams of messages.
fn client_of(
    kernel: impl FnMut(&NetlinkBuffer<&[u8]>) -> Datagrams + Send + 'static,
) -> Result<Client, Error> {
    Client::with(socket_of(kernel), None)
}

/// A socket to such a kernel.
fn socket_of(
    mut kernel: impl FnMut(&NetlinkBuffer<&[u8]>) -> Datagrams + Send + 'static,
) -> OwnedFd {
    let (ours, theirs) = pair();
    thread::spawn(move || {
        let mut room = [0; 16_384];
        loop {
            let length = recv(theirs.as_raw_fd(), &mut room, MsgFlags::empty()).unwrap();
            let mut rest = &room[..length];
            if rest.is_empty() {
                return;
            }
            while let Ok(message) = NetlinkBuffer::new_checked(rest) {
                for datagram in kernel(&message) {
                    let octets: Vec<u8> = datagram
                        .iter()
                        .flat_map(|(kind, payload)| {
                            packet(*kind, message.sequence_number(), payload)
                        })
                        .collect();
                    send(theirs.as_raw_fd(), &octets, MsgFlags::empty()).unwrap();
                }
                rest = &rest[(message.length() as usize).next_multiple_of(4)..];
            }
        }
    });
    ours
}

/// A client, and the changes that its kernel received. The kernel acknowledges all, and answers
/// each query with a list that comes in these pieces.
fn client(
    list: impl FnMut(Query) -> Vec<Vec<Octets>> + Send + 'static,
) -> (Client, mpsc::Receiver<Change>) {
    let (received, changes) = mpsc::channel();
    let client = client_of(kernel_of(received, list));
    (client.unwrap(), changes)
}

/// A client with two sockets, for which a list may come in different pieces.
fn client_with_two(
    main: impl FnMut(Query) -> Vec<Vec<Octets>> + Send + 'static,
    second: impl FnMut(Query) -> Vec<Vec<Octets>> + Send + 'static,
) -> Client {
    let (received, _) = mpsc::channel();
    let main = socket_of(kernel_of(received.clone(), main));
    let second = socket_of(kernel_of(received, second));
    Client::with(main, Some(second)).unwrap()
}

fn kernel_of(
    received: mpsc::Sender<Change>,
    mut list: impl FnMut(Query) -> Vec<Vec<Octets>> + Send + 'static,
) -> impl FnMut(&NetlinkBuffer<&[u8]>) -> Datagrams + Send + 'static {
    move |message| {
        if message.message_type() != FAMILY {
            return vec![vec![family()]];
        }
        let (header, attributes) = message.payload().split_at(4);
        match Request::decode(header[0], attributes).unwrap() {
            Request::Change(change) => {
                received.send(change).unwrap();
                let acknowledged = message.flags() & NLM_F_ACK != 0;
                acknowledged.then(|| vec![error(0)]).into_iter().collect()
            }
            Request::Query(query) => {
                let pieces = list(query);
                let pieces = pieces
                    .iter()
                    .map(|piece| piece.iter().map(|reply| (FAMILY, generic(reply))).collect());
                pieces.chain([vec![(NLMSG_DONE, vec![0; 4])]]).collect()
            }
        }
    }
}

/// The kernel's answer about the family.
fn family() -> (u16, Vec<u8>) {
    let mut id = vec![0; 8];
    Writer::fill(&mut id, |out| {
        out.octets(controller::FAMILY_ID, &FAMILY.to_ne_bytes());
    });
    (16, generic(&(1, id)))
}

fn error(errno: i32) -> (u16, Vec<u8>) {
    let mut payload = vec![0; 20];
    payload[..4].copy_from_slice(&(-errno).to_ne_bytes());
    (NLMSG_ERROR, payload)
}

fn packet(kind: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let length = 16 + payload.len();
    let mut octets = vec![0; length];
    octets[16..].copy_from_slice(payload);
    let mut header = NetlinkBuffer::new(&mut octets);
    header.set_length(u32::try_from(length).unwrap());
    header.set_message_type(kind);
    header.set_sequence_number(sequence);
    octets
}

fn generic((command, attributes): &Octets) -> Vec<u8> {
    [&[*command, 1, 0, 0], attributes.as_slice()].concat()
}

fn key(number: u8) -> DestinationKey {
    DestinationKey::new(([10, 0, 0, number], 80))
}

fn server(number: u8) -> Destination {
    Destination::new(key(number), ForwardingMethod::Bypass)
}

fn listed(number: u8) -> Octets {
    let reply = Reply::Destination(ListedDestination {
        destination: server(number),
        active_connections: 0,
        inactive_connections: 0,
        persistent_connections: 0,
        stats: Stats::default(),
        unknown: Vec::new(),
    });
    let mut octets = vec![0; reply.encoded_len()];
    reply.encode(&mut octets);
    (Command::NewDest as u8, octets)
}

/// A destination with a forwarding method that there is no word for.
fn unreadable(number: u8) -> Octets {
    let (command, mut octets) = listed(number);
    let method = [8_u16.to_ne_bytes(), 3_u16.to_ne_bytes()].concat();
    let at = octets
        .windows(4)
        .position(|window| window == method)
        .unwrap();
    octets[at + 4..at + 8].copy_from_slice(&5_u32.to_ne_bytes());
    (command, octets)
}

fn heavier(number: u8) -> Change {
    Change::UpdateDestination {
        service: ServiceKey::tcp(SERVICE),
        destination: Destination {
            weight: 5.into(),
            ..server(number)
        },
    }
}

#[test]
fn a_destination_that_a_torn_list_left_out_is_updated() {
    let mut lists = 0;
    let (mut client, changes) = client(move |_| {
        lists += 1;
        match lists {
            1 | 2 => vec![vec![listed(1)], vec![listed(2)]],
            // Once to compare, and once to read the new list.
            3 | 4 => vec![vec![listed(1)], vec![listed(2), listed(3)]],
            more => panic!("list {more} is not needed"),
        }
    });
    // The first is in the first list, the third in the second.
    for number in [1, 3] {
        client
            .update_destination(ServiceKey::tcp(SERVICE), key(number), |server| {
                server.weight = 5.into();
            })
            .unwrap();
        assert_eq!(changes.try_recv(), Ok(heavier(number)));
    }
}

#[test]
fn a_destination_next_to_an_unreadable_one_is_updated() {
    let (mut client, changes) = client(|_| vec![vec![unreadable(1), listed(2)]]);
    let service = ServiceKey::tcp(SERVICE);
    client
        .update_destination(service, key(2), |server| server.weight = 5.into())
        .unwrap();
    assert_eq!(changes.try_recv(), Ok(heavier(2)));
    let other = client.update_destination(service, key(1), |_| {});
    assert!(matches!(other, Err(Error::Decode { .. })), "{other:?}");
}

#[test]
fn a_destination_that_is_in_no_list_is_missing() {
    let (mut client, changes) = client(|_| vec![vec![listed(1)], vec![listed(2)]]);
    let error = client
        .update_destination(ServiceKey::tcp(SERVICE), key(3), |_| {})
        .unwrap_err();
    assert!(error.is_missing(), "{error}");
    assert!(changes.try_recv().is_err());
}

/// Destinations in pieces of these lengths.
fn in_pieces(numbers: &[u8], lengths: &[usize]) -> Vec<Vec<Octets>> {
    let mut rest = numbers;
    let mut pieces = Vec::new();
    for length in lengths {
        let (piece, others) = rest.split_at(*length);
        pieces.push(piece.iter().copied().map(listed).collect());
        rest = others;
    }
    assert_eq!(rest, [] as [u8; 0]);
    pieces
}

/// The destinations of a confirmed list, and whether some may be missing. Each socket gives its
/// lists in turn.
fn confirmed(main: Vec<Vec<Vec<Octets>>>, second: Vec<Vec<Vec<Octets>>>) -> (Vec<u8>, bool) {
    let turns = |lists: Vec<Vec<Vec<Octets>>>| {
        let mut lists = lists.into_iter();
        move |query| match query {
            Query::Services => vec![vec![listed_service()]],
            _ => lists.next().expect("another list is not needed"),
        }
    };
    let mut client = client_with_two(turns(main), turns(second));
    let table = client.confirmed_table().unwrap();
    let last = |listed: &ListedDestination| match listed.destination.key.address {
        std::net::IpAddr::V4(address) => address.octets()[3],
        std::net::IpAddr::V6(_) => 0,
    };
    let numbers = table.entries[0].destinations.iter().map(last).collect();
    (numbers, table.may_be_incomplete)
}

fn listed_service() -> Octets {
    let reply = Reply::Service(ListedService {
        service: Service::new(ServiceKey::tcp(SERVICE), crate::Scheduler::RR),
        stats: Stats::default(),
        unknown: Vec::new(),
    });
    let mut octets = vec![0; reply.encoded_len()];
    reply.encode(&mut octets);
    (Command::NewService as u8, octets)
}

#[test]
fn two_readers_with_seams_at_different_places_confirm_a_list() {
    let all = [1, 2, 3, 4, 5, 6];
    let main = vec![in_pieces(&all, &[3, 3])];
    let second = vec![in_pieces(&all, &[2, 2, 2])];
    assert_eq!(confirmed(main, second), (all.to_vec(), false));
}

#[test]
fn two_readers_with_a_seam_at_the_same_place_need_a_third_list() {
    let all = [1, 2, 3, 4, 5, 6];
    let main = || in_pieces(&all, &[4, 2]);
    let second = || in_pieces(&all, &[2, 2, 2]);
    let found = confirmed(vec![main(), main()], vec![second()]);
    assert_eq!(found, (all.to_vec(), false));
}

#[test]
fn a_list_that_is_torn_at_a_seam_is_not_confirmed_by_the_other_reader() {
    let all = [1, 2, 3, 4, 5, 6];
    // Another program deletes an object of the first piece and adds it again, every time that the
    // first reader reads.
    let main = || in_pieces(&[1, 2, 3, 5, 6], &[3, 2]);
    let second = || in_pieces(&all, &[4, 2]);
    // A list that is different is read once to compare, and once more whole.
    let main = vec![main(), main(), main(), in_pieces(&all, &[3, 3])];
    let found = confirmed(main, vec![second(), second(), second(), second()]);
    assert_eq!(found, (all.to_vec(), false));
}

#[test]
fn a_list_with_an_unreadable_object_is_confirmed() {
    let main = vec![vec![vec![listed(1), unreadable(2)], vec![listed(3)]]];
    let second = vec![vec![vec![listed(1)], vec![unreadable(2), listed(3)]]];
    assert_eq!(confirmed(main, second), (vec![1, 3], false));
}

#[test]
fn a_list_in_another_order_is_another_list() {
    let main = vec![
        in_pieces(&[1, 2, 3, 4], &[2, 2]),
        in_pieces(&[4, 1, 2, 3], &[2, 2]),
    ];
    let second = || in_pieces(&[4, 1, 2, 3], &[3, 1]);
    let second = vec![second(), second()];
    assert_eq!(confirmed(main, second), (vec![4, 1, 2, 3], false));
}

#[test]
fn a_list_with_an_object_twice_is_no_confirmation() {
    let main = vec![
        in_pieces(&[1, 2, 2, 3], &[2, 2]),
        in_pieces(&[1, 2, 3], &[2, 1]),
    ];
    let second = vec![
        in_pieces(&[1, 2, 2, 3], &[3, 1]),
        in_pieces(&[1, 2, 3], &[1, 2]),
    ];
    assert_eq!(confirmed(main, second), (vec![1, 2, 3], false));
}

#[test]
fn a_list_that_never_comes_out_the_same_may_be_incomplete() {
    let lists = |from: u8| {
        let list = move |number| in_pieces(&[from, number, 1], &[2, 1]);
        (10..30).map(list).collect()
    };
    let (_, may_be_incomplete) = confirmed(lists(100), lists(200));
    assert!(may_be_incomplete);
}

#[test]
fn a_full_short_piece_ends_a_list_only_where_the_kernel_had_memory_for_a_long_one() {
    // In these sockets a datagram never has as much memory as a long piece.
    let all: Vec<u8> = (1..=16).collect();
    let whole = || in_pieces(&all, &[16]);
    let length: usize = whole()[0].iter().map(|(_, octets)| octets.len() + 20).sum();
    assert!((3_328..=4_096).contains(&length), "{length}");
    // Once more to look at the memory, then three times because all seams are at the same place.
    let found = confirmed(vec![whole(), whole(), whole()], vec![whole()]);
    assert_eq!(found, (all.clone(), false));
    let short = |count: usize| in_pieces(&all[..count], &[count]);
    assert_eq!(
        confirmed(vec![short(10)], vec![]),
        (all[..10].to_vec(), false)
    );
}

#[test]
fn errors_name_a_module_that_was_unloaded_for_good() {
    let mut is_there = true;
    let mut client = client_of(move |_| {
        let answer = if std::mem::take(&mut is_there) {
            family()
        } else {
            error(libc::ENOENT)
        };
        vec![vec![answer]]
    })
    .unwrap();
    assert_eq!(client.info(), Err(Error::Unavailable));
    let service = Service::new(ServiceKey::tcp(SERVICE), crate::Scheduler::RR);
    let changes = [Change::AddService(service), heavier(1)];
    assert_eq!(
        client.apply(&changes),
        [Err(Error::Unavailable), Err(Error::Unavailable)]
    );
}

#[test]
fn a_failure_without_a_number_is_no_success() {
    let (ours, _silent) = pair();
    let limit = Duration::from_millis(10);
    let transport = Blocking::new(ours, limit).unwrap();
    let error = ready(Exchange::open(transport, None, limit)).unwrap_err();
    assert_eq!(error.errno(), Some(crate::Errno(libc::ETIMEDOUT)));
    let error = Client::open_path("a\0b").unwrap_err();
    assert_eq!(error.errno(), Some(crate::Errno(libc::EINVAL)));
}

#[test]
fn a_time_limit_may_be_as_long_as_can_be_said() {
    let (mut client, _changes) = client(|_| (0..40).map(|number| vec![listed(number)]).collect());
    client.set_timeout(Duration::MAX).unwrap();
    let found = client.destinations(ServiceKey::tcp(SERVICE)).unwrap();
    assert_eq!(found.len(), 40);
}

#[test]
fn signals_that_keep_coming_do_not_make_a_call_wait_for_ever() {
    const SIGNALS: usize = 300;
    signal_hook::flag::register(signal_hook::consts::SIGUSR1, Arc::default()).unwrap();
    let (ours, _silent) = pair();
    let limit = Duration::from_millis(50);
    let mut transport = Blocking::new(ours, limit).unwrap();
    let waiting = pthread_self();
    let over = AtomicBool::new(false);
    let sent = thread::scope(|scope| {
        let signals = scope.spawn(|| {
            (0..SIGNALS)
                .take_while(|_| {
                    pthread_kill(waiting, Signal::SIGUSR1).unwrap();
                    thread::sleep(Duration::from_millis(10));
                    !over.load(Ordering::Relaxed)
                })
                .count()
        });
        let answer = ready(transport.receive(&mut Room::new(), &mut Deadline::new(limit)));
        over.store(true, Ordering::Relaxed);
        assert_eq!(answer, Err(NoAnswer::TimedOut));
        signals.join().unwrap()
    });
    assert!(sent < SIGNALS, "it waited until there were no more signals");
}

#[test]
fn one_call_receives_four_datagrams_in_order() {
    let (ours, theirs) = pair();
    for number in 1..=5_u8 {
        send(theirs.as_raw_fd(), &[number; 3], MsgFlags::empty()).unwrap();
    }
    let mut room = Room::new();
    for expected in [&[1, 2, 3, 4][..], &[5]] {
        assert_eq!(room.receive_now(&ours), Ok(true));
        let received: Vec<_> = room.datagrams().map(|octets| octets.unwrap()[0]).collect();
        assert_eq!(received, expected);
    }
    assert_eq!(room.receive_now(&ours), Ok(false));
}
