//! Passwords and keys.

use vrrp_net::{Authentication, HmacKeys, HmacMode};
use vrrp_proto::{
    Interval, Password,
    hmac::{AntiReplay, Key},
};

use crate::keepalived_conf::configuration::{self, Hmac};

/// The authentication of an instance: `auth_hmac`, or else `authentication`.
pub(super) fn authenticate(
    legacy: Option<&(&'static str, String)>,
    hmac: Option<&Hmac>,
    interval: Interval,
) -> Result<Authentication, String> {
    if let Some(hmac) = hmac {
        return keys(hmac, interval).map(Authentication::Hmac);
    }
    let Some((kind, password)) = legacy else {
        return Ok(Authentication::None);
    };
    let password = Password::new(password.as_bytes()).map_err(|error| error.to_string())?;
    Ok(match *kind {
        "AH" => Authentication::Ah(password),
        _ => Authentication::SimpleText(password),
    })
}

fn keys(hmac: &Hmac, interval: Interval) -> Result<HmacKeys, String> {
    let Hmac {
        keys,
        active,
        is_monotonic,
        window,
        mode,
    } = hmac;
    let keys: Result<Vec<Key>, String> = keys
        .iter()
        .map(|(id, secret)| {
            let key = Key::new(*id, &secret_bytes(secret)?);
            key.map_err(|error| format!("auth_hmac key {id}: {error}"))
        })
        .collect();
    let default = || {
        let seconds = (interval.as_duration() * 3).as_millis().div_ceil(1000);
        u16::try_from(seconds).unwrap_or(u16::MAX).clamp(5, 300)
    };
    Ok(HmacKeys {
        keys: keys?,
        active: *active,
        anti_replay: if *is_monotonic {
            AntiReplay::Monotonic
        } else {
            let window = window.unwrap_or_else(default);
            AntiReplay::time(window).map_err(|error| format!("time_window: {error}"))?
        },
        mode: match mode {
            configuration::HmacMode::ReceiveOnly => HmacMode::ReceiveOnly,
            configuration::HmacMode::Permissive => HmacMode::Permissive,
            configuration::HmacMode::Enforce => HmacMode::Enforce,
        },
    })
}

/// A secret: text, `hex:` with digits, or `file:` with the path of a file that contains a secret.
fn secret_bytes(secret: &str) -> Result<Vec<u8>, String> {
    let text = match secret.strip_prefix("file:") {
        None => secret.to_owned(),
        Some(path) => std::fs::read_to_string(path)
            .map_err(|error| format!("auth_hmac: {path}: {error}"))?
            .trim_end()
            .to_owned(),
    };
    let Some(digits) = text.strip_prefix("hex:") else {
        return Ok(text.into_bytes());
    };
    let pairs = digits.as_bytes().chunks(2).map(|pair| {
        let pair = str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
        u8::from_str_radix(pair, 16).ok()
    });
    let bytes: Option<Vec<u8>> = pairs.collect();
    bytes.ok_or_else(|| "auth_hmac: hex: takes an even number of hexadecimal digits".into())
}
