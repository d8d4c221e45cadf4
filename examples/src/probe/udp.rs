//! A UDP datagram.

use std::{net::SocketAddr, time::Instant};

use ipvs_netlink::pool::Outcome;
use serde::{Deserialize, Deserializer};

use super::{BytePattern, Bytes, Source, before, excerpt, source::refusal, wrong};

/// A UDP datagram, and perhaps its answer.
///
/// An ICMP error is a failure. Without [`require_reply`](Self::require_reply) silence is a success,
/// which only proves that nothing refused the datagram.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Udp {
    /// The local side.
    pub source: Source,
    /// The datagram. Default: the text `health-check`.
    pub payload: Bytes,
    /// Whether an answer is required. In a file, it is required if `reply` is given.
    pub require_reply: bool,
    /// The first bytes of an answer.
    pub reply: BytePattern,
    /// The shortest answer, in bytes. In a file, the length of `reply` is the default.
    pub shortest: usize,
    /// The longest answer, in bytes. `None`: any.
    pub longest: Option<usize>,
}

impl Default for Udp {
    fn default() -> Self {
        Self {
            source: Source::default(),
            payload: Bytes(b"health-check".to_vec()),
            require_reply: false,
            reply: BytePattern::default(),
            shortest: 0,
            longest: None,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    #[serde(default)]
    source: Source,
    payload: Option<Bytes>,
    require_reply: Option<bool>,
    reply: Option<BytePattern>,
    shortest: Option<usize>,
    longest: Option<usize>,
}

impl<'de> Deserialize<'de> for Udp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let form = Form::deserialize(deserializer)?;
        let default = Self::default();
        let require_reply = form.require_reply.unwrap_or(form.reply.is_some());
        let reply = form.reply.unwrap_or_default();
        Ok(Self {
            source: form.source,
            payload: form.payload.unwrap_or(default.payload),
            require_reply,
            shortest: form.shortest.unwrap_or(reply.len()),
            longest: form.longest,
            reply,
        })
    }
}

impl Udp {
    pub(super) async fn attempt(
        &self,
        target: SocketAddr,
        deadline: Instant,
    ) -> Result<Outcome, Outcome> {
        let socket = self.source.datagrams(target)?;
        let sent = socket.send(&self.payload.0).await;
        sent.map_err(|error| refusal(&error))?;
        let mut buffer = vec![0; 1 << 16];
        let answer = socket.recv(&mut buffer);
        let answer = if self.require_reply {
            answer.await
        } else {
            let end = before(deadline);
            match tokio::time::timeout_at(end.into(), answer).await {
                Ok(answer) => answer,
                Err(_) => return Ok(Outcome::Success("no answer".into())),
            }
        };
        let length = answer.map_err(|error| refusal(&error))?;
        let answer = buffer.get(..length).unwrap_or_default();
        if length < self.shortest || self.longest.is_some_and(|longest| length > longest) {
            return Err(wrong(format!("an answer of {length} bytes")));
        }
        if !self.reply.matches(answer) {
            return Err(wrong(format!("an answer of {:?}", excerpt(answer))));
        }
        Ok(Outcome::Success(
            format!("an answer of {length} bytes").into(),
        ))
    }
}
