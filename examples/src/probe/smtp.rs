//! The dialogue of SMTP.

use std::net::SocketAddr;

use ipvs_netlink::pool::{FailureKind, Outcome};
use serde::Deserialize;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

use super::{Source, broken, closed, excerpt, wrong};

/// The longest line of a reply, in bytes. RFC 5321 section 4.5.3.1.5 allows 512.
const LONGEST_LINE: u64 = 2048;
/// The most lines of a reply.
const MOST_LINES: usize = 100;

/// The dialogue of SMTP (RFC 5321) up to the greeting of the client: 220, `HELO`, 250, `QUIT`, and
/// the reply to that. Replies of several lines are read as a whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Smtp {
    /// The local side.
    pub source: Source,
    /// The name of this host in `HELO`. Default: `health-check.invalid`.
    pub helo: String,
}

impl Default for Smtp {
    fn default() -> Self {
        Self {
            source: Source::default(),
            helo: "health-check.invalid".into(),
        }
    }
}

impl Smtp {
    pub(super) async fn attempt(&self, target: SocketAddr) -> Result<Outcome, Outcome> {
        let mut stream = BufReader::new(self.source.connect(target).await?);
        let banner = expect(&mut stream, 220).await?;
        let helo = format!("HELO {}\r\n", self.helo);
        stream
            .write_all(helo.as_bytes())
            .await
            .map_err(|error| closed(&error))?;
        expect(&mut stream, 250).await?;
        stream
            .write_all(b"QUIT\r\n")
            .await
            .map_err(|error| closed(&error))?;
        reply(&mut stream).await?;
        Ok(Outcome::Success(format!("220 {banner}").into()))
    }
}

/// Reads a reply, which must have this code. Returns the text of its last line.
async fn expect(stream: &mut BufReader<TcpStream>, code: u16) -> Result<String, Outcome> {
    let (found, text) = reply(stream).await?;
    if found == code {
        Ok(text)
    } else {
        Err(wrong(format!("{found} {text}, expected {code}")))
    }
}

/// Reads a reply: its code, and the text of its last line.
async fn reply(stream: &mut BufReader<TcpStream>) -> Result<(u16, String), Outcome> {
    for _ in 0..MOST_LINES {
        let mut line = Vec::new();
        let mut limited = stream.take(LONGEST_LINE);
        let read = limited
            .read_until(b'\n', &mut line)
            .await
            .map_err(|error| closed(&error))?;
        if read == 0 {
            let text = "the connection ended before the reply";
            return Err(Outcome::failure(FailureKind::Closed, text));
        }
        let line = line.trim_ascii_end();
        let malformed = || broken(format!("a reply of {:?}", excerpt(line)));
        let (digits, rest) = line.split_at_checked(3).ok_or_else(malformed)?;
        let digits = std::str::from_utf8(digits).map_err(|_| malformed())?;
        let code: u16 = digits.parse().map_err(|_| malformed())?;
        match rest.first() {
            Some(b'-') => {}
            Some(b' ') | None => return Ok((code, excerpt(rest))),
            Some(_) => return Err(malformed()),
        }
    }
    Err(broken(format!("a reply of more than {MOST_LINES} lines")))
}
