//! Requests and their answers over a transport: sequence numbers, batches, lists, time limits.

use std::{os::fd::AsFd, time::Duration};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NLMSG_OVERRUN, NetlinkBuffer,
};

use super::socket::{Deadline, Room, Transport};
use crate::{
    Errno, Error, NoAnswer, Refusal,
    message::{
        Change, DecodeError, FAMILY_NAME, FAMILY_VERSION, Query, Reply, Request,
        attribute::{Writer, attributes, number::controller},
    },
};

/// Changes in one datagram. More bring nothing, and this many answers always find room in the socket's buffer, which holds more than 200
/// of them: the kernel answers all before the call that sends them returns.
const CHUNK: usize = 64;

/// The fixed number of the controller of generic netlink, and its command that resolves a family.
const CONTROLLER: u16 = 16;
const GET_FAMILY: u8 = 3;

const NETLINK_HEADER: usize = 16;
const GENERIC_HEADER: usize = 4;

/// Left-over answers that are thrown away before the kernel is asked again.
const LEFTOVERS: usize = 65_536;

/// How a list came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Arrival {
    pieces: usize,
    longest: usize,
    interrupted: bool,
}

impl Arrival {
    /// Counts what was received last. The end of a list, in a datagram of its own of 20 octets, is no piece of it.
    fn count(&mut self, room: &Room) {
        for datagram in room
            .datagrams()
            .flatten()
            .filter(|datagram| datagram.len() > 24)
        {
            self.pieces += 1;
            self.longest = self.longest.max(datagram.len());
        }
    }

    /// Whether the whole list was made at one moment.
    ///
    /// A list in one piece was, if there was room left in the piece for one object more, which takes less than 450 octets. The kernel
    /// makes room for 32 KiB less some 320 octets, or where memory is short for as much less than [`SMALL_PIECE`].
    pub(super) fn is_whole(self) -> bool {
        let room_left = self.longest <= 3_300 || (SMALL_PIECE..=31_900).contains(&self.longest);
        self.pieces <= 1 && room_left && !self.interrupted
    }
}

/// A page, but at most 8 KiB.
const SMALL_PIECE: usize = if cfg!(any(target_arch = "x86", target_arch = "x86_64")) {
    4_096
} else {
    8_192
};

/// A conversation with the kernel.
#[derive(Debug)]
pub(super) struct Exchange<T> {
    pub(super) transport: T,
    pub(super) limit: Duration,
    family: u16,
    sequence: u32,
    /// Whether answers may still be under way that nobody waits for.
    unsettled: bool,
    requests: Vec<u8>,
    room: Room,
}

impl<T: Transport> Exchange<T> {
    /// Finds the family, which loads the module.
    pub(super) async fn open(transport: T, limit: Duration) -> Result<Self, Error> {
        let mut new = Self {
            transport,
            limit,
            family: 0,
            sequence: 0,
            unsettled: false,
            requests: Vec::new(),
            room: Room::new(),
        };
        new.family = new.resolve().await?;
        Ok(new)
    }

    /// Asks, and hands over each answer.
    pub(super) async fn query(
        &mut self,
        query: Query,
        mut each: impl FnMut(Result<Reply, DecodeError>),
    ) -> Result<Arrival, Error> {
        let error = match self.query_once(query, &mut each).await {
            Err(error) => error,
            arrived => return arrived,
        };
        if self.family_moved(&error).await? {
            return self.query_once(query, &mut each).await;
        }
        Err(error)
    }

    async fn query_once(
        &mut self,
        query: Query,
        each: &mut impl FnMut(Result<Reply, DecodeError>),
    ) -> Result<Arrival, Error> {
        let request = Request::from(query);
        let unanswered = |cause| Error::Unanswered {
            request: Box::new(request),
            cause,
        };
        let mut deadline = self.begin().map_err(unanswered)?;
        let flags = if request.is_dump() {
            NLM_F_REQUEST | NLM_F_DUMP
        } else {
            NLM_F_REQUEST
        };
        let sequence = self.push(self.family, flags, &request);
        self.transport
            .send(&self.requests)
            .await
            .map_err(unanswered)?;

        let mut arrival = Arrival::default();
        loop {
            self.transport
                .receive(&mut self.room, &mut deadline)
                .await
                .map_err(unanswered)?;
            for message in messages(&self.room) {
                let message = message.map_err(unanswered)?;
                if message.sequence_number() != sequence {
                    continue;
                }
                arrival.interrupted |= message.flags() & NLM_F_DUMP_INTR != 0;
                match Answer::of(&message) {
                    Answer::Error(Errno(0)) => {}
                    Answer::Error(errno) => {
                        self.unsettled = false;
                        return Err(Refusal { request, errno }.into());
                    }
                    Answer::Done => {
                        self.unsettled = false;
                        arrival.count(&self.room);
                        return Ok(arrival);
                    }
                    Answer::Overrun => return Err(unanswered(NoAnswer::Overrun)),
                    Answer::Family => {
                        each(decode(message.payload()));
                        if !request.is_dump() {
                            self.unsettled = false;
                            return Ok(arrival);
                        }
                    }
                }
            }
            arrival.count(&self.room);
        }
    }

    /// Makes changes in order, and returns what became of each.
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
        // One look is enough to tell a family that was registered anew from schedulers that are missing.
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

    /// Sends some changes at once and asks for an acknowledgement of the last. The kernel answers those that fail unasked, in order.
    async fn send_chunk(
        &mut self,
        chunk: &[Change],
        results: &mut Vec<Result<(), Error>>,
    ) -> Result<(), NoAnswer> {
        let start = results.len();
        results.extend(chunk.iter().map(|_| Ok(())));
        let outcome = self.exchange_chunk(chunk, &mut results[start..]).await;
        if let Err(cause) = outcome {
            // What was refused is known; of the others nothing is.
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
        let mut deadline = self.begin()?;
        let first = self.sequence.wrapping_add(1);
        let mut last = first;
        for (number, change) in (1..).zip(chunk) {
            let acknowledge = if number == chunk.len() { NLM_F_ACK } else { 0 };
            last = self.push(self.family, NLM_F_REQUEST | acknowledge, &(*change).into());
        }
        // To stop a daemon the kernel waits for its threads.
        if chunk
            .iter()
            .any(|change| matches!(change, Change::StopDaemon(_)))
        {
            self.transport
                .send_slow(&self.requests, &mut deadline)
                .await?;
        } else {
            self.transport.send(&self.requests).await?;
        }
        loop {
            self.transport
                .receive(&mut self.room, &mut deadline)
                .await?;
            for message in messages(&self.room) {
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
                    self.unsettled = false;
                    return Ok(());
                }
            }
        }
    }

    /// Whether the error comes of a family number that is no longer right, because the module was unloaded and loaded again. If so, the new
    /// one is taken. An error if the module was unloaded and cannot be loaded.
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
        let mut deadline = self.begin().map_err(failed)?;
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
        self.transport.send(&self.requests).await.map_err(failed)?;
        loop {
            self.transport
                .receive(&mut self.room, &mut deadline)
                .await
                .map_err(failed)?;
            for message in messages(&self.room) {
                let message = message.map_err(failed)?;
                if message.sequence_number() != sequence {
                    continue;
                }
                self.unsettled = false;
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

    /// Clears the way for a new request: reads what is left of an earlier one, which also ends a list that was not read to its end.
    fn begin(&mut self) -> Result<Deadline, NoAnswer> {
        let mut deadline = Deadline::new(self.limit);
        if self.unsettled {
            for _ in 0..LEFTOVERS {
                match self.room.receive_now(&self.transport) {
                    Ok(false) => break,
                    Ok(true) | Err(NoAnswer::Overrun) => {}
                    Err(cause) => return Err(cause),
                }
                deadline.check()?;
            }
        }
        self.unsettled = true;
        self.requests.clear();
        Ok(deadline)
    }

    fn push(&mut self, kind: u16, flags: u16, request: &Request) -> u32 {
        let header = (request.command() as u8, FAMILY_VERSION);
        self.push_raw(kind, flags, header, request.encoded_len(), |room| {
            request.encode(room);
        })
    }

    /// Appends a message to what is to be sent, and returns its sequence number.
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
        // A message has some hundred octets.
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
        self.transport.as_fd()
    }
}

/// Set by the kernel in a list that changed while it was handed out. IPVS does not, up to Linux 7.3.
const NLM_F_DUMP_INTR: u16 = 0x10;

/// What a message of the kernel is.
enum Answer {
    /// An error, or with 0 an acknowledgement.
    Error(Errno),
    /// The end of a list.
    Done,
    /// Messages were lost.
    Overrun,
    /// One of the family.
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
fn messages(room: &Room) -> impl Iterator<Item = Result<NetlinkBuffer<&[u8]>, NoAnswer>> {
    room.datagrams().flat_map(|datagram| {
        let mut rest = datagram;
        std::iter::from_fn(move || match rest {
            Err(cause) => {
                rest = Ok(&[]);
                Some(Err(cause))
            }
            Ok([]) => None,
            Ok(octets) => {
                let Ok(message) = NetlinkBuffer::new_checked(octets) else {
                    rest = Ok(&[]);
                    return Some(Err(NoAnswer::Truncated));
                };
                let length = (message.length() as usize).next_multiple_of(4);
                rest = Ok(octets.get(length..).unwrap_or_default());
                Some(Ok(message))
            }
        })
    })
}

fn decode(payload: &[u8]) -> Result<Reply, DecodeError> {
    match payload.split_first_chunk::<GENERIC_HEADER>() {
        Some((header, attributes)) => Reply::decode(header[0], attributes),
        None => Err(DecodeError::Truncated { object: "message" }),
    }
}
