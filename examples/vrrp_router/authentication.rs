//! The options for authentication.

use std::{fs, time::Duration};

use clap::{Args, ValueEnum, value_parser};
use vrrp_net::{Authentication, HmacKeys, HmacMode};
use vrrp_proto::{
    OutOfRange, Password,
    hmac::{AntiReplay, Key},
};

use crate::options::invalid;

#[derive(Args)]
#[command(next_help_heading = "Authentication")]
pub(crate) struct AuthenticationArguments {
    /// Authenticate with a password in clear text, 1 to 8 bytes. Version 2 only.
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["ah", "hmac_keys"], value_parser = parse_password)]
    password: Option<Password>,

    /// Authenticate inside IP AH with this key, 1 to 8 bytes. Version 2 only.
    #[arg(long, value_name = "TEXT", conflicts_with = "hmac_keys", value_parser = parse_password)]
    ah: Option<Password>,

    /// Authenticate with an HMAC-SHA256 trailer, as keepalived 2.4.3 does. Can be repeated: each
    /// key verifies.
    ///
    /// ID is 1 to 255. VALUE is a key of 32 to 64 bytes: text, `hex:DIGITS`, or `file:PATH` of a
    /// file that has one of these. In a file the key is not visible in the list of processes.
    #[arg(long = "hmac-key", value_name = "ID:VALUE", value_parser = parse_key)]
    hmac_keys: Vec<(u8, Key)>,

    /// The ID of the key that signs. Default: the first --hmac-key.
    #[arg(long, value_name = "ID", requires = "hmac_keys", value_parser = value_parser!(u8).range(1..))]
    hmac_active: Option<u8>,

    /// Which messages are signed, and which are accepted.
    #[arg(long, value_enum, value_name = "MODE", default_value_t = Mode::Enforce, requires = "hmac_keys")]
    hmac_mode: Mode,

    /// How far the clock of another router may differ in seconds, 1 to 300. Default: three
    /// intervals, and 5 seconds at least.
    #[arg(
        long, value_name = "S", requires = "hmac_keys", conflicts_with = "hmac_monotonic",
        value_parser = value_parser!(u16).range(1..=300)
    )]
    hmac_window: Option<u16>,

    /// Detect replays by the order of messages alone, without regard to clocks.
    #[arg(long, requires = "hmac_keys")]
    hmac_monotonic: bool,
}

/// [`HmacMode`].
#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    /// Sends no trailer; accepts messages with a valid trailer or none. The first step of a
    /// roll-out.
    ReceiveOnly,
    /// Sends a trailer; accepts messages with a valid trailer or none. The second step.
    Permissive,
    /// Sends a trailer; accepts messages with a valid trailer only. The last step.
    Enforce,
}

impl AuthenticationArguments {
    /// Checks the options against the protocol version and the advertisement interval.
    pub(crate) fn into_config(
        self,
        version: u8,
        interval: Duration,
    ) -> Result<Authentication, String> {
        if version != 2 && (self.password.is_some() || self.ah.is_some()) {
            return Err(invalid(
                "--version <VERSION>",
                version,
                "--password and --ah exist in version 2 only",
            ));
        }
        if let Some(password) = self.password {
            return Ok(Authentication::SimpleText(password));
        }
        if let Some(key) = self.ah {
            return Ok(Authentication::Ah(key));
        }
        let Some((first, _)) = self.hmac_keys.first() else {
            return Ok(Authentication::None);
        };
        let anti_replay = if self.hmac_monotonic {
            AntiReplay::Monotonic
        } else {
            let window = self.hmac_window.unwrap_or_else(|| default_window(interval));
            AntiReplay::time(window)
                .map_err(|problem| invalid("--hmac-window <S>", window, problem))?
        };
        Ok(Authentication::Hmac(HmacKeys {
            active: self.hmac_active.unwrap_or(*first),
            keys: self.hmac_keys.into_iter().map(|(_, key)| key).collect(),
            anti_replay,
            mode: match self.hmac_mode {
                Mode::ReceiveOnly => HmacMode::ReceiveOnly,
                Mode::Permissive => HmacMode::Permissive,
                Mode::Enforce => HmacMode::Enforce,
            },
        }))
    }
}

/// Three intervals in whole seconds, 5 to 300, as in keepalived.
fn default_window(interval: Duration) -> u16 {
    let seconds = (interval * 3).as_millis().div_ceil(1000);
    u16::try_from(seconds).unwrap_or(u16::MAX).clamp(5, 300)
}

fn parse_password(text: &str) -> Result<Password, OutOfRange> {
    Password::new(text.as_bytes())
}

fn parse_key(text: &str) -> Result<(u8, Key), String> {
    let (id, value) = text.split_once(':').ok_or("expected ID:VALUE")?;
    let id = id
        .parse()
        .map_err(|_| format!("key id {id} is not in 1..=255"))?;
    let bytes = match value.strip_prefix("file:") {
        Some(path) => {
            let text = fs::read_to_string(path);
            key_bytes(text.map_err(|error| format!("{path}: {error}"))?.trim_end())
        }
        None => key_bytes(value),
    };
    let key = Key::new(id, &bytes?);
    Ok((id, key.map_err(|problem| problem.to_string())?))
}

/// Reads a key that is text or `hex:DIGITS`.
fn key_bytes(text: &str) -> Result<Vec<u8>, String> {
    let Some(digits) = text.strip_prefix("hex:") else {
        return Ok(text.into());
    };
    let pairs = digits.as_bytes().chunks(2);
    let byte = |pair: &[u8]| {
        let pair = str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
        u8::from_str_radix(pair, 16).ok()
    };
    let bytes: Option<Vec<u8>> = pairs.map(byte).collect();
    bytes.ok_or_else(|| "hex: takes an even number of hexadecimal digits".into())
}
