//! The one-line protocol of HAProxy's `agent-check`.

use std::{net::SocketAddr, time::Instant};

use ipvs_netlink::pool::{FailureKind, Outcome, WeightReport};
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Bytes, Source, before, closed, within};

/// The longest line that is read, in bytes.
const LONGEST: u64 = 1024;

/// A question to an agent on a server about its state.
///
/// The agent answers with one line of words between blanks, tabs and commas; the last word of each
/// kind counts, and what follows a `#` is a reason. `75%` is a share of the configured weight;
/// `drain` and `maint` are weight 0; `up` and `ready` leave the configured weight; `down`, `fail`
/// and `stopped` are failures. `maxconn:N` is ignored, since IPVS has no such limit.
///
/// An agent that cannot be reached is a [local failure](Outcome::LocalFailure): as with HAProxy, it
/// changes nothing. The server itself needs another check.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Agent {
    /// The local side.
    pub source: Source,
    /// The bytes that are sent first. Default: none.
    pub request: Bytes,
}

impl Agent {
    pub(super) async fn ask(&self, target: SocketAddr, deadline: Instant) -> Outcome {
        match within(before(deadline), self.attempt(target)).await {
            Outcome::Failure(failure) if failure.kind != FailureKind::Reported => {
                Outcome::LocalFailure(format!("no answer of the agent: {}", failure.text).into())
            }
            outcome => outcome,
        }
    }

    async fn attempt(&self, target: SocketAddr) -> Result<Outcome, Outcome> {
        let mut stream = self.source.connect(target).await?;
        stream
            .write_all(&self.request.0)
            .await
            .map_err(|error| closed(&error))?;
        let mut stream = stream.take(LONGEST);
        let mut line = Vec::new();
        while !line.iter().any(|byte| is_end(*byte)) {
            if stream
                .read_buf(&mut line)
                .await
                .map_err(|error| closed(&error))?
                == 0
            {
                break;
            }
        }
        let line = line.split(|byte| is_end(*byte)).next().unwrap_or_default();
        Ok(state(&String::from_utf8_lossy(line)))
    }
}

fn is_end(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

/// Reads the line of an agent.
fn state(line: &str) -> Outcome {
    let (words, reason) = line.split_once('#').unwrap_or((line, ""));
    let is_between = |it: char| it.is_ascii_whitespace() || it == ',';
    let (mut weight, mut is_idle, mut down) = (None, false, None);
    let mut is_empty = true;
    for word in words.split(is_between).filter(|word| !word.is_empty()) {
        match word.to_ascii_lowercase().as_str() {
            "up" => down = None,
            "ready" => is_idle = false,
            "drain" | "maint" => is_idle = true,
            "down" | "fail" | "failed" | "stopped" => down = Some(word),
            word if word.starts_with("maxconn:") => {}
            word => {
                let percent = word.strip_suffix('%').and_then(|it| it.parse::<u32>().ok());
                let Some(percent) = percent else {
                    let text = format!("unknown word {word:?} of the agent");
                    return Outcome::failure(FailureKind::Protocol, text);
                };
                weight = Some(percent);
            }
        }
        is_empty = false;
    }
    let line = line.trim().to_owned();
    match (down, weight, is_idle) {
        _ if is_empty => Outcome::failure(FailureKind::Protocol, "an empty line"),
        (Some(word), ..) => {
            let reason = reason.trim();
            let text = if reason.is_empty() { word } else { reason };
            Outcome::failure(FailureKind::Reported, text.to_owned())
        }
        (None, _, true) => Outcome::Weight(WeightReport::Percent(0), line.into()),
        (None, Some(percent), false) => {
            Outcome::Weight(WeightReport::Percent(percent), line.into())
        }
        (None, None, false) => Outcome::Success(line.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight(percent: u32, line: &'static str) -> Outcome {
        Outcome::Weight(WeightReport::Percent(percent), line.into())
    }

    #[test]
    fn each_word_of_the_agent_has_its_meaning() {
        for (line, expected) in [
            ("up", Outcome::Success("up".into())),
            ("READY, up", Outcome::Success("READY, up".into())),
            ("75%", weight(75, "75%")),
            ("up 150%\tmaxconn:30", weight(150, "up 150%\tmaxconn:30")),
            ("0%", weight(0, "0%")),
            ("drain", weight(0, "drain")),
            ("maint 50%", weight(0, "maint 50%")),
            ("drain ready", Outcome::Success("drain ready".into())),
            (
                "down # disk full",
                Outcome::failure(FailureKind::Reported, "disk full"),
            ),
            ("fail", Outcome::failure(FailureKind::Reported, "fail")),
            ("down up", Outcome::Success("down up".into())),
            ("", Outcome::failure(FailureKind::Protocol, "an empty line")),
            (
                "5%%",
                Outcome::failure(FailureKind::Protocol, "unknown word \"5%%\" of the agent"),
            ),
        ] {
            assert_eq!(state(line), expected, "{line:?}");
        }
    }
}
