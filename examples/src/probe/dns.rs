//! A query over DNS.

use std::{fmt, net::SocketAddr, str::FromStr};

use domain::base::{Message, MessageBuilder, Name, Rtype, iana::Rcode};
use ipvs_netlink::pool::Outcome;
use serde::{Deserialize, Deserializer, de};

use super::{
    Source,
    source::{local, refusal},
    wrong,
};

/// The longest answer over UDP that is read, in bytes.
const LONGEST: usize = 4096;

/// A DNS query over UDP, with recursion desired.
///
/// An answer without error (NOERROR) is a success. Datagrams that do not answer the query are
/// ignored, so only the time limit ends the wait.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dns {
    /// The local side.
    pub source: Source,
    /// The question. Default: the SOA of the root.
    pub question: Question,
    /// Whether the answer needs at least one record. Default: no.
    pub require_records: bool,
}

/// A question: a name, and the type of its records.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Question {
    name: Name<Vec<u8>>,
    kind: Rtype,
}

/// A question that cannot be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuestionError {
    /// The name is not a domain name.
    #[error("name {0:?}: use a domain name of at most 255 bytes: {1}")]
    Name(String, String),
    /// The kind is not a type of records.
    #[error("kind {0:?}: use a type of records such as A, AAAA, MX or TYPE65")]
    Kind(String),
}

impl Question {
    /// A question for records of a type such as `A`.
    ///
    /// # Errors
    ///
    /// A [`QuestionError`] that names the wrong part.
    pub fn new(name: &str, kind: &str) -> Result<Self, QuestionError> {
        let wrong = |error: &dyn fmt::Display| QuestionError::Name(name.into(), error.to_string());
        Ok(Self {
            name: Name::from_str(name).map_err(|error| wrong(&error))?,
            kind: kind
                .parse()
                .map_err(|_| QuestionError::Kind(kind.to_owned()))?,
        })
    }
}

impl Default for Question {
    fn default() -> Self {
        Self {
            name: Name::root_vec(),
            kind: Rtype::SOA,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    #[serde(default)]
    source: Source,
    name: Option<String>,
    kind: Option<String>,
    #[serde(default)]
    require_records: bool,
}

impl<'de> Deserialize<'de> for Dns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let form = Form::deserialize(deserializer)?;
        let (name, kind) = (form.name.as_deref(), form.kind.as_deref());
        // A name without a type is queried for its address.
        let kind = kind.unwrap_or(if name.is_some() { "A" } else { "SOA" });
        let question = Question::new(name.unwrap_or("."), kind);
        Ok(Self {
            source: form.source,
            question: question.map_err(de::Error::custom)?,
            require_records: form.require_records,
        })
    }
}

impl Dns {
    pub(super) async fn attempt(&self, target: SocketAddr) -> Result<Outcome, Outcome> {
        let socket = self.source.datagrams(target)?;
        let id = fastrand::u16(..);
        let query = self.query(id)?;
        socket.send(&query).await.map_err(|error| refusal(&error))?;
        let mut buffer = vec![0; LONGEST];
        loop {
            let received = socket.recv(&mut buffer).await;
            let length = received.map_err(|error| refusal(&error))?;
            let answer = buffer.get(..length).unwrap_or_default();
            let Ok(answer) = Message::from_octets(answer) else {
                continue;
            };
            let header = answer.header();
            if header.id() != id || !header.qr() {
                continue;
            }
            let records = answer.header_counts().ancount();
            return match header.rcode() {
                Rcode::NOERROR if self.require_records && records == 0 => {
                    Err(wrong("NOERROR without records".into()))
                }
                Rcode::NOERROR => Ok(Outcome::Success(
                    format!("NOERROR, {records} records").into(),
                )),
                rcode => Err(wrong(rcode.to_string())),
            };
        }
    }

    fn query(&self, id: u16) -> Result<Vec<u8>, Outcome> {
        let mut message = MessageBuilder::new_vec();
        message.header_mut().set_id(id);
        message.header_mut().set_rd(true);
        let mut question = message.question();
        question
            .push((&self.question.name, self.question.kind))
            .map_err(|error| local("make the query")(std::io::Error::other(error.to_string())))?;
        Ok(question.finish())
    }
}
