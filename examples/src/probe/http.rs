//! A request over HTTP or HTTPS.

use std::{
    collections::BTreeMap,
    error::Error,
    fmt,
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    str::FromStr,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use http_body_util::{BodyExt, Empty};
use hyper::{
    Request, Response, StatusCode, Version,
    body::{Buf, Bytes, Incoming},
    client::conn::http1,
    header::{CONNECTION, HOST, HeaderName, HeaderValue, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use ipvs_netlink::pool::{FailureKind, Outcome};
use md5::{Digest, Md5 as Hasher};
use serde::{Deserialize, Deserializer, de};
use serde_with::{As, DisplayFromStr};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Pattern, Source, Tls, broken, late, wrong};

/// The time to announce the end of a TLS connection (RFC 8446 section 6.1).
const CLOSING: Duration = Duration::from_secs(1);

/// The longest header of an answer, in bytes.
const HEADER_LIMIT: usize = 64 << 10;

/// One request over HTTP or HTTPS on a connection of its own.
///
/// Redirects are not followed, names are not resolved, and nothing is shared with other requests.
/// The end of the answer is recognised by its length, its chunks, or the end of the connection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// The local side.
    pub source: Source,
    /// TLS, for HTTPS. Default: none.
    #[serde(deserialize_with = "super::tls::optional")]
    pub tls: Option<Tls>,
    /// The version of the request. Default: 1.1.
    pub version: HttpVersion,
    /// The method. Default: GET.
    pub method: Method,
    /// The path, with a query if there is one. Default: `/`.
    pub path: Target,
    /// The virtual host, sent as `Host`. Default: the address and port of the probe.
    pub host: Option<HeaderText>,
    /// Additional headers. `Host`, `User-Agent` and `Connection` replace the default ones.
    pub headers: BTreeMap<HeaderLabel, HeaderText>,
    /// The status codes of a success. Default: 200-299.
    pub status: StatusSet,
    /// The MD5 digest of the body.
    pub md5: Option<Md5>,
    /// The content of the body.
    pub body: Option<Body>,
    /// The bytes of the body that are read. A longer body is a failure if `md5` or `body` need all
    /// of it; otherwise the rest is not read. Default: 1 MiB.
    pub body_limit: u32,
    /// Whether a body that is shorter than its announced length counts as whole, as with
    /// keepalived. Default: no.
    pub accept_short_body: bool,
    /// The limit of each step: the connection, the TLS handshake, the header of the answer, and
    /// each piece of its body. The limit of the whole attempt applies too. Default: none.
    #[serde(deserialize_with = "step_limit")]
    pub step_limit: Option<Duration>,
}

fn step_limit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    crate::toml_file::time(deserializer).map(Some)
}

/// The version of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum HttpVersion {
    /// HTTP/1.0.
    #[serde(rename = "1.0")]
    Http10,
    /// HTTP/1.1.
    #[default]
    #[serde(rename = "1.1")]
    Http11,
}

/// The method of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// The answer has a body.
    #[default]
    Get,
    /// The answer has no body.
    Head,
}

/// A content that a body must have, or must not have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Body {
    /// The expression.
    pub pattern: Pattern,
    /// Whether it must match. If not, a match is a failure.
    pub must_match: bool,
    /// The first byte, from 0, at which a match may start.
    pub from: usize,
    /// The last byte at which a match may start. `None`: any.
    pub to: Option<usize>,
    /// Whether a match has to start on the first line. Default: no.
    pub on_first_line: bool,
}

impl Body {
    /// An expression that must match somewhere.
    #[must_use]
    pub const fn new(pattern: Pattern) -> Self {
        Self {
            pattern,
            must_match: true,
            from: 0,
            to: None,
            on_first_line: false,
        }
    }

    /// Returns where the first match starts, if that is within the bounds.
    #[must_use]
    pub fn find(&self, body: &[u8]) -> Option<usize> {
        let rest = body.get(self.from..).unwrap_or_default();
        let place = self.pattern.find(rest)?;
        let is_beyond_line =
            || self.on_first_line && rest.iter().take(place).any(|byte| *byte == b'\n');
        let place = place + self.from;
        let is_beyond = self.to.is_some_and(|to| place > to);
        (!is_beyond && !is_beyond_line()).then_some(place)
    }

    fn is_as_expected(&self, body: &[u8]) -> bool {
        self.find(body).is_some() == self.must_match
    }
}

/// In a file: the expression, or a table.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "a regular expression, or a table with regex, matches, from, to"
)]
enum BodyForm {
    Text(String),
    Whole(WholeBody),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WholeBody {
    regex: String,
    matches: Option<bool>,
    from: Option<usize>,
    to: Option<usize>,
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pattern = |text: &str| text.parse().map_err(de::Error::custom);
        Ok(match BodyForm::deserialize(deserializer)? {
            BodyForm::Text(text) => Self::new(pattern(&text)?),
            BodyForm::Whole(whole) => Self {
                pattern: pattern(&whole.regex)?,
                must_match: whole.matches.unwrap_or(true),
                from: whole.from.unwrap_or(0),
                to: whole.to,
                on_first_line: false,
            },
        })
    }
}

/// Makes a text that is checked when it is read.
macro_rules! text {
    ($(#[$docs:meta])* $name:ident, $check:expr, $expected:literal) => {
        $(#[$docs])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = WrongText;

            fn from_str(text: &str) -> Result<Self, WrongText> {
                let check: fn(&str) -> bool = $check;
                if check(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(WrongText { text: text.to_owned(), expected: $expected })
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                As::<DisplayFromStr>::deserialize(deserializer)
            }
        }
    };
}

/// A text that is not valid in its place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?}: use {expected}")]
pub struct WrongText {
    text: String,
    expected: &'static str,
}

text!(
    /// The target of a request: a path with a query, such as `/health?full=1`.
    Target,
    |text| text.starts_with('/') && text.parse::<hyper::Uri>().is_ok(),
    "a path that begins with / and has no blanks"
);
text!(
    /// The name of a header.
    HeaderLabel,
    |text| HeaderName::from_bytes(text.as_bytes()).is_ok(),
    "a name of a header, such as X-Probe"
);
text!(
    /// The value of a header.
    HeaderText,
    |text| HeaderValue::from_str(text).is_ok(),
    "a value of a header, without control characters"
);

/// A set of status codes, such as `200-299, 404`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StatusSet(Vec<(u16, u16)>);

impl StatusSet {
    /// A set of ranges, each from its first to its last code.
    #[must_use]
    pub fn new(ranges: Vec<(u16, u16)>) -> Self {
        Self(ranges)
    }

    /// Whether it has this code.
    #[must_use]
    pub fn contains(&self, status: u16) -> bool {
        let mut ranges = self.0.iter();
        ranges.any(|(first, last)| (*first..=*last).contains(&status))
    }
}

impl Default for StatusSet {
    /// 200-299.
    fn default() -> Self {
        Self(vec![(200, 299)])
    }
}

impl fmt::Display for StatusSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (first, last)) in self.0.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(f, "{comma}{first}")?;
            if last > first {
                write!(f, "-{last}")?;
            }
        }
        Ok(())
    }
}

impl FromStr for StatusSet {
    type Err = WrongText;

    fn from_str(text: &str) -> Result<Self, WrongText> {
        let code = |text: &str| {
            let code = text.trim().parse::<u16>().ok();
            code.filter(|code| (100..=599).contains(code))
        };
        let ranges: Option<Vec<_>> = text
            .split(',')
            .map(|range| {
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                let (first, last) = (code(first)?, code(last)?);
                (first <= last).then_some((first, last))
            })
            .collect();
        ranges.map(Self).ok_or_else(|| WrongText {
            text: text.to_owned(),
            expected: "codes from 100 to 599 and ranges, such as \"200-299, 404\"",
        })
    }
}

impl<'de> Deserialize<'de> for StatusSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a status, or statuses such as \"200-299, 404\"")]
        enum Form {
            Code(u16),
            Text(String),
        }
        match Form::deserialize(deserializer)? {
            Form::Code(code) => code.to_string().parse(),
            Form::Text(text) => text.parse(),
        }
        .map_err(de::Error::custom)
    }
}

/// An MD5 digest, as `md5sum` prints it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Md5([u8; 16]);

impl fmt::Display for Md5 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Md5 {
    type Err = WrongText;

    fn from_str(text: &str) -> Result<Self, WrongText> {
        let bytes = super::Bytes::from_hex(text).ok();
        let digest = bytes.and_then(|bytes| bytes.0.try_into().ok());
        digest.map(Self).ok_or_else(|| WrongText {
            text: text.to_owned(),
            expected: "the 32 hexadecimal digits that md5sum prints",
        })
    }
}

impl<'de> Deserialize<'de> for Md5 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        As::<DisplayFromStr>::deserialize(deserializer)
    }
}

impl Default for Http {
    fn default() -> Self {
        Self {
            source: Source::default(),
            tls: None,
            version: HttpVersion::default(),
            method: Method::default(),
            path: Target("/".into()),
            host: None,
            headers: BTreeMap::new(),
            status: StatusSet::default(),
            md5: None,
            body: None,
            body_limit: 1 << 20,
            accept_short_body: false,
            step_limit: None,
        }
    }
}

impl Http {
    /// Requests the page, and returns the MD5 digest of its body. The page has to come by the
    /// deadline and with an expected status; nothing else is compared.
    ///
    /// # Errors
    ///
    /// The failure of the attempt.
    pub async fn digest(&self, target: SocketAddr, deadline: Instant) -> Result<Md5, Outcome> {
        let ask = self.ask(target, Parts::DIGEST);
        let answer = match tokio::time::timeout_at(deadline.into(), ask).await {
            Ok(answer) => answer?,
            Err(_) => return Err(late()),
        };
        Ok(Md5(answer.hasher.finalize().into()))
    }

    pub(super) async fn attempt(&self, target: SocketAddr) -> Result<Outcome, Outcome> {
        let parts = Parts {
            digest: self.md5.is_some(),
            content: self.body.is_some(),
        };
        let answer = self.ask(target, parts).await?;
        self.compare(answer)
    }

    async fn ask(&self, target: SocketAddr, parts: Parts) -> Result<Answer, Outcome> {
        let stream = self.step(self.source.connect(target)).await??;
        match &self.tls {
            None => self.exchange(stream, target, parts, false).await,
            Some(tls) => {
                let stream = self.step(tls.connect(stream, target.ip())).await??;
                self.exchange(stream, target, parts, true).await
            }
        }
    }

    async fn exchange<S>(
        &self,
        stream: S,
        target: SocketAddr,
        parts: Parts,
        announces_end: bool,
    ) -> Result<Answer, Outcome>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let request = self.request(target)?;
        let stream = TokioIo::new(UntilEnd {
            stream,
            announces_end,
        });
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(HEADER_LIMIT)
            .handshake(stream)
            .await
            .map_err(|error| failure(&error))?;
        // When it ends it drops the sender, which ends the connection.
        let mut answer = pin!(async move {
            let response = self.step(sender.send_request(request)).await?;
            self.read(response.map_err(|error| failure(&error))?, parts)
                .await
        });
        let mut connection = pin!(connection);
        let mut is_open = true;
        let outcome = poll_fn(|context| {
            // The request goes from the first to the second, and the answer comes back: in this
            // order, neither waits for another turn of the task.
            if let Poll::Ready(outcome) = answer.as_mut().poll(context) {
                return Poll::Ready(outcome);
            }
            // Errors of the connection reach the request or its body.
            is_open = is_open && connection.as_mut().poll(context).is_pending();
            answer.as_mut().poll(context)
        })
        .await;
        if announces_end && is_open {
            // The answer counts even if the end cannot be announced.
            let _ = tokio::time::timeout(CLOSING, connection).await;
        }
        outcome
    }

    /// Runs a step within its limit.
    async fn step<T>(&self, step: impl Future<Output = T>) -> Result<T, Outcome> {
        match self.step_limit {
            None => Ok(step.await),
            Some(limit) => tokio::time::timeout(limit, step).await.map_err(|_| late()),
        }
    }

    fn request(&self, target: SocketAddr) -> Result<Request<Empty<Bytes>>, Outcome> {
        let (version, connection) = match self.version {
            HttpVersion::Http10 => (Version::HTTP_10, None),
            HttpVersion::Http11 => (Version::HTTP_11, Some(HeaderValue::from_static("close"))),
        };
        let method = match self.method {
            Method::Get => hyper::Method::GET,
            Method::Head => hyper::Method::HEAD,
        };
        let wrong = |error: &dyn fmt::Display| {
            Outcome::LocalFailure(format!("make the request: {error}").into())
        };
        let mut request = Request::builder()
            .method(method)
            .uri(&self.path.0)
            .version(version)
            .body(Empty::new())
            .map_err(|error| wrong(&error))?;
        let host = match &self.host {
            Some(host) => HeaderValue::from_str(&host.0),
            None => HeaderValue::try_from(target.to_string()),
        };
        let headers = request.headers_mut();
        headers.insert(HOST, host.map_err(|error| wrong(&error))?);
        headers.insert(USER_AGENT, HeaderValue::from_static("health-check"));
        if let Some(connection) = connection {
            headers.insert(CONNECTION, connection);
        }
        for (name, value) in &self.headers {
            let name = HeaderName::from_bytes(name.0.as_bytes()).map_err(|error| wrong(&error))?;
            let value = HeaderValue::from_str(&value.0).map_err(|error| wrong(&error))?;
            headers.insert(name, value);
        }
        Ok(request)
    }

    /// Reads an answer that has an expected status.
    async fn read(&self, response: Response<Incoming>, parts: Parts) -> Result<Answer, Outcome> {
        let (head, mut body) = response.into_parts();
        let status = head.status;
        if !self.status.contains(status.as_u16()) {
            return Err(wrong(format!("{status}, expected {}", self.status)));
        }
        let must_be_whole = parts.digest || parts.content;
        let limit = usize::try_from(self.body_limit).unwrap_or(usize::MAX);
        let (mut hasher, mut content, mut length) = (Hasher::new(), Vec::new(), 0_usize);
        while let Some(frame) = self.step(body.frame()).await? {
            let data = match frame {
                Ok(frame) => frame.into_data().unwrap_or_default(),
                Err(error) if self.accept_short_body && is_short(&error) => break,
                Err(error) => return Err(failure(&error)),
            };
            length += data.remaining();
            if length > limit {
                if must_be_whole {
                    return Err(wrong(format!("a body of more than {limit} bytes")));
                }
                break;
            }
            if parts.digest {
                hasher.update(&data);
            }
            if parts.content {
                content.extend_from_slice(&data);
            }
        }
        Ok(Answer {
            status,
            hasher,
            content,
        })
    }

    /// Compares the body of an answer with the expected one: digest, content.
    fn compare(&self, answer: Answer) -> Result<Outcome, Outcome> {
        let Answer {
            status,
            hasher,
            content,
        } = answer;
        if let Some(expected) = self.md5 {
            let found = Md5(hasher.finalize().into());
            if found != expected {
                return Err(wrong(format!("body with MD5 {found}, expected {expected}")));
            }
        }
        if let Some(expected) = &self.body
            && !expected.is_as_expected(&content)
        {
            let (verb, pattern) = (
                if expected.must_match {
                    "does not match"
                } else {
                    "matches"
                },
                &expected.pattern,
            );
            return Err(wrong(format!("body {verb} {pattern}")));
        }
        Ok(Outcome::Success(status.to_string().into()))
    }
}

/// The parts of a body that are needed.
#[derive(Clone, Copy)]
struct Parts {
    digest: bool,
    content: bool,
}

impl Parts {
    const DIGEST: Self = Self {
        digest: true,
        content: false,
    };
}

/// An answer with an expected status.
struct Answer {
    status: StatusCode,
    hasher: Hasher,
    content: Vec<u8>,
}

/// Whether the connection ended before the body did.
fn is_short(error: &hyper::Error) -> bool {
    error.is_incomplete_message()
        || source(error).is_some_and(|error| error.kind() == io::ErrorKind::UnexpectedEof)
}

fn source(error: &hyper::Error) -> Option<&io::Error> {
    error.source()?.downcast_ref()
}

/// Names the failure of an exchange.
fn failure(error: &hyper::Error) -> Outcome {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    if error.is_parse() {
        broken(text)
    } else {
        Outcome::failure(FailureKind::Closed, text)
    }
}

/// A stream in which the end of a TLS connection without a close notification is an end, because
/// many servers close this way. The length of the answer shows whether something is missing.
///
/// A connection without TLS is not shut down: a probe drops it, which resets it.
struct UntilEnd<S> {
    stream: S,
    announces_end: bool,
}

impl<S: AsyncRead + Unpin> AsyncRead for UntilEnd<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_read(context, buffer) {
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Poll::Ready(Ok(()))
            }
            other => other,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for UntilEnd<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.announces_end {
            Pin::new(&mut self.stream).poll_shutdown(context)
        } else {
            Poll::Ready(Ok(()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_sets_are_read_and_printed() {
        let set: StatusSet = "200-204,404 , 500-599".parse().unwrap();
        assert_eq!(set.to_string(), "200-204, 404, 500-599");
        for (code, expected) in [(199, false), (204, true), (404, true), (405, false)] {
            assert_eq!(set.contains(code), expected, "{code}");
        }
        for wrong in ["", "99", "600", "300-200", "200-", "ok"] {
            assert!(wrong.parse::<StatusSet>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_match_counts_within_its_bounds() {
        let mut body = Body::new(Pattern::new("ok").unwrap());
        assert!(body.is_as_expected(b"it is ok"));
        body.to = Some(5);
        assert!(!body.is_as_expected(b"it is ok"));
        body.to = Some(6);
        assert!(body.is_as_expected(b"it is ok"));
        body.from = 7;
        assert!(!body.is_as_expected(b"it is ok"));
        body.must_match = false;
        assert!(body.is_as_expected(b"it is ok") && body.is_as_expected(b""));
    }
}
