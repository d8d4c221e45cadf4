//! Results of probes.

use std::{borrow::Cow, fmt};

use super::WeightReport;

/// The result of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
pub enum Outcome {
    /// The server answered as expected, with the answer as text, such as "200 OK". A weight that
    /// this check reported before no longer counts.
    Success(Cow<'static, str>),
    /// The server answered as expected and reported its weight.
    Weight(WeightReport, Cow<'static, str>),
    /// The server failed.
    Failure(Failure),
    /// The probe could not be made for a reason of this host, such as the lack of a socket or port.
    /// That counts as neither success nor failure, and the probe is repeated.
    LocalFailure(Cow<'static, str>),
}

impl Outcome {
    /// A success without a text.
    pub const SUCCESS: Self = Self::Success(Cow::Borrowed(""));

    /// A failure.
    #[must_use]
    pub fn failure(kind: FailureKind, text: impl Into<Cow<'static, str>>) -> Self {
        Self::Failure(Failure {
            kind,
            text: text.into(),
        })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Success(text) => with_text(f, "success", text),
            Self::Weight(report, text) => {
                write!(f, "success, weight ")?;
                match report {
                    WeightReport::Set(weight) => write!(f, "{weight}")?,
                    WeightReport::Add(points) => write!(f, "{points:+}")?,
                    WeightReport::Percent(percent) => write!(f, "{percent} %")?,
                }
                with_text(f, "", text)
            }
            Self::Failure(failure) => failure.fmt(f),
            Self::LocalFailure(text) => with_text(f, "not made", text),
        }
    }
}

/// The failure of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
pub struct Failure {
    /// The kind.
    pub kind: FailureKind,
    /// The details, such as "connection refused" or "503 Service Unavailable".
    pub text: Cow<'static, str>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        with_text(f, self.kind.as_str(), &self.text)
    }
}

fn with_text(f: &mut fmt::Formatter<'_>, word: &str, text: &str) -> fmt::Result {
    match (word.is_empty(), text.is_empty()) {
        (_, true) => f.write_str(word),
        (true, false) => write!(f, " ({text})"),
        (false, false) => write!(f, "{word} ({text})"),
    }
}

/// The kind of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
pub enum FailureKind {
    /// The server refused the connection.
    Refused,
    /// The server or its network cannot be reached.
    Unreachable,
    /// The time limit passed.
    TimeLimit,
    /// The connection broke.
    Closed,
    /// The TLS handshake failed, or the certificate was not accepted.
    Tls,
    /// The answer breaks the protocol.
    Protocol,
    /// The answer is not as expected.
    Answer,
    /// The server reported itself as down.
    Reported,
    /// The command of a check failed.
    Command,
}

impl FailureKind {
    /// One or two words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::TimeLimit => "time limit",
            Self::Closed => "closed",
            Self::Tls => "tls",
            Self::Protocol => "protocol",
            Self::Answer => "wrong answer",
            Self::Reported => "reported down",
            Self::Command => "command",
        }
    }
}
