//! Requests and their answers over a transport: sequence numbers, batches, lists, time limits.

use std::{ops::RangeInclusive, os::fd::AsFd, time::Duration};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NLMSG_OVERRUN, NetlinkBuffer,
};

use super::socket::{Deadline, Room, Transport, waiting_memory};
use crate::{
    Errno, Error, NoAnswer, Refusal,
    message::{
        Change, DecodeError, FAMILY_NAME, FAMILY_VERSION, Query, Reply, Request,
        attribute::{Writer, attributes, number::controller},
    },
};

/// Changes in one datagram. More are not faster. The answers to this many always fit into the
/// socket's buffer, which holds more than 200: the kernel answers all of them before the send
/// returns.
const CHUNK: usize = 64;

/// The fixed number of the generic netlink controller, and its command that resolves a family.
const CONTROLLER: u16 = 16;
const GET_FAMILY: u8 = 3;

const NETLINK_HEADER: usize = 16;
const GENERIC_HEADER: usize = 4;

/// Stands for a truncated header: no command has the number 0.
const NO_HEADER: [u8; GENERIC_HEADER] = [0; GENERIC_HEADER];

/// The most left-over answers that are discarded before the next request is sent.
const LEFTOVERS: usize = 65_536;

/// How a list arrived: in pieces, each of which shows the table at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Arrival {
    /// The boundaries between pieces, each as the number of replies before it. The total number of
    /// replies is included if the last piece may have been full.
    pub(super) seams: Vec<usize>,
    /// Whether the kernel reported a change of the list.
    pub(super) interrupted: bool,
    /// Whether knowing the memory of the first piece could have ruled out the seam at the end.
    pub(super) needs_probe: bool,
}

/// Collects an [`Arrival`].
#[derive(Debug)]
struct Pieces {
    arrival: Arrival,
    /// The least room that the kernel makes in a piece for this reader.
    room: usize,
    /// Whether the kernel is known to have had memory for that much when it made the first piece.
    is_long: bool,
    replies: usize,
    last: usize,
}

/// The longest object of a list, in octets, with a margin.
const LONGEST_OBJECT: usize = 450;

/// The lengths of a full short piece, which the kernel makes where memory is short
/// (`NLMSG_GOODSIZE`): a page, and at most 8 KiB, less `struct skb_shared_info`, which has 320 to
/// 768 octets.
const SHORT_PIECE: RangeInclusive<usize> = 3_328
    ..=if cfg!(any(target_arch = "x86", target_arch = "x86_64")) {
        4_096
    } else {
        8_192
    };

/// Less memory than the kernel allocates for a long piece, and more than for a short one.
const LONG_MEMORY: usize = 16 * 1024;

impl Pieces {
    fn new(room: usize) -> Self {
        Self {
            arrival: Arrival::default(),
            room,
            is_long: false,
            replies: 0,
            last: 0,
        }
    }

    /// Records the start of a piece.
    fn begin(&mut self, octets: usize) {
        if self.replies > 0 {
            self.arrival.seams.push(self.replies);
        }
        self.last = octets;
    }

    /// Ends the list. If the last piece had room for one more object, the kernel had listed all
    /// objects when it made that piece. Otherwise other programs may have deleted the rest before
    /// the end was sent.
    fn end(mut self) -> Arrival {
        let full = self.last + LONGEST_OBJECT;
        let is_short_and_full = full > *SHORT_PIECE.start() && self.last <= *SHORT_PIECE.end();
        let is_known_long = self.is_long && self.arrival.seams.is_empty();
        if full > self.room || (is_short_and_full && !is_known_long) {
            self.arrival.needs_probe = is_short_and_full && self.arrival.seams.is_empty();
            self.arrival.seams.push(self.replies);
        }
        self.arrival
    }
}

/// A socket with its receive buffer.
#[derive(Debug)]
pub(super) struct Lane<T> {
    pub(super) transport: T,
    room: Room,
    /// Whether answers may still be under way to a request whose caller has given up.
    has_pending_answers: bool,
}

impl<T: Transport> Lane<T> {
    fn new(transport: T, room: Room) -> Self {
        Self {
            transport,
            room,
            has_pending_answers: false,
        }
    }

    /// Clears the way for a new request: reads the rest of an earlier answer, which also ends a
    /// list that was not read to its end.
    fn begin(&mut self, limit: Duration) -> Result<Deadline, NoAnswer> {
        let mut deadline = Deadline::new(limit);
        if self.has_pending_answers {
            for _ in 0..LEFTOVERS {
                match self.room.receive_now(&self.transport) {
                    Ok(false) => break,
                    Ok(true) | Err(NoAnswer::Overrun) => {}
                    Err(cause) => return Err(cause),
                }
                deadline.check()?;
            }
        }
        self.has_pending_answers = true;
        Ok(deadline)
    }

    async fn receive(&mut self, deadline: &mut Deadline) -> Result<(), NoAnswer> {
        self.transport.receive(&mut self.room, deadline).await
    }
}

/// Which socket reads a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    /// The main socket, which also carries everything else.
    Main,
    /// The second socket, whose pieces end elsewhere.
    Second,
}

impl Reader {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Main => Self::Second,
            Self::Second => Self::Main,
        }
    }
}

/// A conversation with the kernel.
#[derive(Debug)]
pub(super) struct Exchange<T> {
    pub(super) main: Lane<T>,
    /// A second socket in the same namespace, to read lists in pieces that end elsewhere.
    pub(super) second: Option<Lane<T>>,
    pub(super) limit: Duration,
    family: u16,
    sequence: u32,
    /// Whether to measure the memory of first pieces. Set after the first list for which it
    /// matters.
    probes: bool,
    requests: Vec<u8>,
}

impl<T: Transport> Exchange<T> {
    /// Finds the family, which loads the module.
    pub(super) async fn open(
        transport: T,
        second: Option<T>,
        limit: Duration,
    ) -> Result<Self, Error> {
        let mut new = Self {
            main: Lane::new(transport, Room::new()),
            second: second.map(|transport| Lane::new(transport, Room::shorter())),
            limit,
            family: 0,
            sequence: 0,
            probes: false,
            requests: Vec::new(),
        };
        new.family = new.resolve().await?;
        Ok(new)
    }

    pub(super) fn lanes(&mut self) -> impl Iterator<Item = &mut Lane<T>> {
        [&mut self.main].into_iter().chain(&mut self.second)
    }

    fn lane(&mut self, reader: Reader) -> &mut Lane<T> {
        match (reader, &mut self.second) {
            (Reader::Second, Some(second)) => second,
            _ => &mut self.main,
        }
    }

    /// Sends a query, and passes each answer to `each`.
    pub(super) async fn query(
        &mut self,
        query: Query,
        mut each: impl FnMut(Result<Reply, DecodeError>),
    ) -> Result<Arrival, Error> {
        self.query_by(Reader::Main, query, |command, attributes| {
            each(Reply::decode(command, attributes));
        })
        .await
    }

    /// Sends a query over one of the sockets, and passes on the command and the attributes of each
    /// answer.
    pub(super) async fn query_by(
        &mut self,
        reader: Reader,
        query: Query,
        mut each: impl FnMut(u8, &[u8]),
    ) -> Result<Arrival, Error> {
        let error = match self.query_once(reader, query, &mut each).await {
            Err(error) => error,
            arrived => return arrived,
        };
        if self.family_moved(&error).await? {
            return self.query_once(reader, query, &mut each).await;
        }
        Err(error)
    }

    async fn query_once(
        &mut self,
        reader: Reader,
        query: Query,
        each: &mut impl FnMut(u8, &[u8]),
    ) -> Result<Arrival, Error> {
        let request = Request::from(query);
        let unanswered = |cause| Error::Unanswered {
            request: Box::new(request),
            cause,
        };
        let flags = if request.is_dump() {
            NLM_F_REQUEST | NLM_F_DUMP
        } else {
            NLM_F_REQUEST
        };
        self.requests.clear();
        let sequence = self.push(self.family, flags, &request);
        let requests = std::mem::take(&mut self.requests);
        let (limit, probes) = (self.limit, self.probes && request.is_dump());
        let lane = self.lane(reader);
        let mut deadline = lane.begin(limit).map_err(unanswered)?;
        let sent = lane.transport.send(&requests).await;
        let mut pieces = Pieces::new(lane.room.piece());
        if probes {
            // Only the first piece waits to be read. A short piece takes far less memory than this.
            let memory = waiting_memory(&lane.transport);
            pieces.is_long = memory.is_some_and(|memory| memory > LONG_MEMORY);
        }
        self.requests = requests;
        sent.map_err(unanswered)?;

        let lane = self.lane(reader);
        let mut arrival = Arrival::default();
        loop {
            lane.receive(&mut deadline).await.map_err(unanswered)?;
            for datagram in lane.room.datagrams() {
                let octets = datagram.map_err(unanswered)?;
                let mut is_counted = false;
                for message in messages(octets) {
                    let message = message.map_err(unanswered)?;
                    if message.sequence_number() != sequence {
                        continue;
                    }
                    arrival.interrupted |= message.flags() & NLM_F_DUMP_INTR != 0;
                    match Answer::of(&message) {
                        Answer::Error(Errno(0)) => {}
                        Answer::Error(errno) => {
                            lane.has_pending_answers = false;
                            return Err(Refusal { request, errno }.into());
                        }
                        Answer::Done => {
                            lane.has_pending_answers = false;
                            let interrupted = arrival.interrupted;
                            return Ok(Arrival {
                                interrupted,
                                ..pieces.end()
                            });
                        }
                        Answer::Overrun => return Err(unanswered(NoAnswer::Overrun)),
                        Answer::Family => {
                            let payload = message.payload().split_first_chunk();
                            let (header, attributes) = payload.unwrap_or((&NO_HEADER, &[]));
                            each(header[0], attributes);
                            if !request.is_dump() {
                                lane.has_pending_answers = false;
                                return Ok(arrival);
                            }
                            if !is_counted {
                                pieces.begin(octets.len());
                                is_counted = true;
                            }
                            pieces.replies += 1;
                        }
                    }
                }
            }
        }
    }

    /// Starts to measure the memory of first pieces. Returns false if it did so already.
    pub(super) fn begin_to_probe(&mut self) -> bool {
        !std::mem::replace(&mut self.probes, true)
    }

    /// Makes changes in order, and returns their results.
    pub(super) async fn apply(&mut self, changes: &[Change]) -> Vec<Result<(), Error>> {
        let mut results = Vec::with_capacity(changes.len());
        let mut slow = changes.chunks(CHUNK);
        while let Some(chunk) = slow.next() {
            let sent = self.apply_chunk(chunk, &mut results).await;
            if sent.is_err() {
                let rest = slow.flatten();
                results.extend(rest.map(|change| Err(Error::NotSent(Box::new(*change)))));
                break;
            }
        }
        results
    }

    async fn apply_chunk(
        &mut self,
        chunk: &[Change],
        results: &mut Vec<Result<(), Error>>,
    ) -> Result<(), NoAnswer> {
        let start = results.len();
        let mut sent = self.send_chunk(chunk, results).await;
        // One request distinguishes a family with a new number from missing schedulers.
        let stale = results[start..]
            .first()
            .and_then(|result| result.as_ref().err().cloned());
        if let Some(error) = stale
            && results[start..].iter().all(|result| {
                result
                    .as_ref()
                    .is_err_and(|error| error.errno() == Some(Errno::NO_ENTRY))
            })
        {
            match self.family_moved(&error).await {
                Ok(false) => {}
                Ok(true) => {
                    results.truncate(start);
                    sent = self.send_chunk(chunk, results).await;
                }
                Err(gone) => results[start..].fill(Err(gone)),
            }
        }
        sent
    }

    /// Sends some changes at once and asks for an acknowledgement of the last. The kernel reports
    /// failed changes without a request to do so, in order.
    async fn send_chunk(
        &mut self,
        chunk: &[Change],
        results: &mut Vec<Result<(), Error>>,
    ) -> Result<(), NoAnswer> {
        let start = results.len();
        results.extend(chunk.iter().map(|_| Ok(())));
        let outcome = self.exchange_chunk(chunk, &mut results[start..]).await;
        if let Err(cause) = outcome {
            // Refusals are known; the results of the others are not.
            for (result, change) in results[start..].iter_mut().zip(chunk) {
                if result.is_ok() {
                    *result = Err(Error::Unanswered {
                        request: Box::new((*change).into()),
                        cause,
                    });
                }
            }
        }
        outcome
    }

    async fn exchange_chunk(
        &mut self,
        chunk: &[Change],
        results: &mut [Result<(), Error>],
    ) -> Result<(), NoAnswer> {
        let mut deadline = self.main.begin(self.limit)?;
        self.requests.clear();
        let first = self.sequence.wrapping_add(1);
        let mut last = first;
        for (number, change) in (1..).zip(chunk) {
            let acknowledge = if number == chunk.len() { NLM_F_ACK } else { 0 };
            last = self.push(self.family, NLM_F_REQUEST | acknowledge, &(*change).into());
        }
        // The kernel waits for a daemon's threads when it stops the daemon.
        if chunk
            .iter()
            .any(|change| matches!(change, Change::StopDaemon(_)))
        {
            let transport = &mut self.main.transport;
            transport.send_slow(&self.requests, &mut deadline).await?;
        } else {
            self.main.transport.send(&self.requests).await?;
        }
        loop {
            self.main.receive(&mut deadline).await?;
            for message in all_messages(&self.main.room) {
                let message = message?;
                let place = message.sequence_number().wrapping_sub(first) as usize;
                let Some((change, result)) = chunk.get(place).zip(results.get_mut(place)) else {
                    continue;
                };
                match Answer::of(&message) {
                    Answer::Overrun => return Err(NoAnswer::Overrun),
                    Answer::Error(Errno(0)) | Answer::Done | Answer::Family => {}
                    Answer::Error(errno) => {
                        *result = Err(Refusal {
                            request: (*change).into(),
                            errno,
                        }
                        .into());
                    }
                }
                if message.sequence_number() == last {
                    self.main.has_pending_answers = false;
                    return Ok(());
                }
            }
        }
    }

    /// Whether the error comes from a stale family number, after the module was unloaded and loaded
    /// again. If so, adopts the new number. Fails if the module was unloaded and cannot be loaded.
    async fn family_moved(&mut self, error: &Error) -> Result<bool, Error> {
        if error.errno() != Some(Errno::NO_ENTRY) {
            return Ok(false);
        }
        match self.resolve().await {
            Ok(family) => Ok(std::mem::replace(&mut self.family, family) != family),
            Err(Error::Unavailable) => Err(Error::Unavailable),
            Err(_) => Ok(false),
        }
    }

    async fn resolve(&mut self) -> Result<u16, Error> {
        let failed = |cause| Error::System {
            doing: "find the family IPVS",
            errno: match cause {
                NoAnswer::TimedOut => Errno(libc::ETIMEDOUT),
                NoAnswer::Overrun => Errno(libc::ENOBUFS),
                NoAnswer::Truncated => Errno(libc::EMSGSIZE),
                NoAnswer::Socket(errno) => errno,
            },
        };
        let mut deadline = self.main.begin(self.limit).map_err(failed)?;
        self.requests.clear();
        let name = |out: &mut Writer<'_>| out.text(controller::FAMILY_NAME, FAMILY_NAME);
        let sequence = self.push_raw(
            CONTROLLER,
            NLM_F_REQUEST,
            (GET_FAMILY, 1),
            Writer::measure(name),
            |room| {
                Writer::fill(room, name);
            },
        );
        let transport = &mut self.main.transport;
        transport.send(&self.requests).await.map_err(failed)?;
        loop {
            self.main.receive(&mut deadline).await.map_err(failed)?;
            for message in all_messages(&self.main.room) {
                let message = message.map_err(failed)?;
                if message.sequence_number() != sequence {
                    continue;
                }
                self.main.has_pending_answers = false;
                return match Answer::of(&message) {
                    Answer::Error(Errno::NO_ENTRY) => Err(Error::Unavailable),
                    Answer::Error(errno) => Err(Error::System {
                        doing: "find the family IPVS",
                        errno,
                    }),
                    _ => attributes(
                        "family",
                        message.payload().get(GENERIC_HEADER..).unwrap_or_default(),
                    )
                    .flatten()
                    .find(|attribute| attribute.kind == controller::FAMILY_ID)
                    .and_then(|attribute| attribute.u16().ok())
                    .ok_or(Error::Unavailable),
                };
            }
        }
    }

    fn push(&mut self, kind: u16, flags: u16, request: &Request) -> u32 {
        let header = (request.command() as u8, FAMILY_VERSION);
        self.push_raw(kind, flags, header, request.encoded_len(), |room| {
            request.encode(room);
        })
    }

    /// Appends a message to the send buffer, and returns its sequence number.
    fn push_raw(
        &mut self,
        kind: u16,
        flags: u16,
        (command, version): (u8, u8),
        length: usize,
        write: impl FnOnce(&mut [u8]),
    ) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        let start = self.requests.len();
        let total = NETLINK_HEADER + GENERIC_HEADER + length;
        self.requests.resize(start + total, 0);
        let (header, payload) = self.requests[start..].split_at_mut(NETLINK_HEADER);
        let mut header = NetlinkBuffer::new(header);
        // A message has a few hundred octets.
        #[allow(clippy::cast_possible_truncation)]
        header.set_length(total as u32);
        header.set_message_type(kind);
        header.set_flags(flags);
        header.set_sequence_number(self.sequence);
        payload[0] = command;
        payload[1] = version;
        write(&mut payload[GENERIC_HEADER..]);
        self.sequence
    }
}

impl<T: AsFd> AsFd for Exchange<T> {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.main.transport.as_fd()
    }
}

/// Set by the kernel in a list that changed during the dump. IPVS never sets it, up to Linux 7.3.
const NLM_F_DUMP_INTR: u16 = 0x10;

/// The kind of a message from the kernel.
enum Answer {
    /// An error, or with 0 an acknowledgement.
    Error(Errno),
    /// The end of a list.
    Done,
    /// Messages were lost.
    Overrun,
    /// A message of the family.
    Family,
}

impl Answer {
    fn of(message: &NetlinkBuffer<&[u8]>) -> Self {
        let errno = || {
            let code = message
                .payload()
                .first_chunk()
                .map_or(0, |code| i32::from_ne_bytes(*code));
            Errno(code.saturating_neg())
        };
        match message.message_type() {
            NLMSG_ERROR => Self::Error(errno()),
            // A list that failed ends with an error number.
            NLMSG_DONE if errno().0 > 0 => Self::Error(errno()),
            NLMSG_DONE => Self::Done,
            NLMSG_OVERRUN => Self::Overrun,
            _ => Self::Family,
        }
    }
}

/// The messages that were received last.
fn all_messages(room: &Room) -> impl Iterator<Item = Result<NetlinkBuffer<&[u8]>, NoAnswer>> {
    room.datagrams().flat_map(|datagram| {
        let (octets, cut) = match datagram {
            Ok(octets) => (octets, None),
            Err(cause) => (&[][..], Some(Err(cause))),
        };
        messages(octets).chain(cut)
    })
}

/// The messages of a datagram.
fn messages(datagram: &[u8]) -> impl Iterator<Item = Result<NetlinkBuffer<&[u8]>, NoAnswer>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let Ok(message) = NetlinkBuffer::new_checked(rest) else {
            rest = &[];
            return Some(Err(NoAnswer::Truncated));
        };
        let length = (message.length() as usize).next_multiple_of(4);
        rest = rest.get(length..).unwrap_or_default();
        Some(Ok(message))
    })
}
