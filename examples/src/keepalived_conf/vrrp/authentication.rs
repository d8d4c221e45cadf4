//! Authentication: `authentication` of version 2, and `auth_hmac`.

use crate::keepalived_conf::{
    complaint::{Complaint, Kind},
    configuration::{Hmac, HmacMode, Instance},
    tree::Node,
    value::{self, Range},
};

/// The most octets of a password in an advertisement.
const LONGEST_PASSWORD: usize = 8;

/// Reads `authentication`: the type and the password, empty where there is none. `None` without a
/// type.
pub(super) fn legacy(
    node: &Node,
    name: &str,
    complaints: &mut Vec<Complaint>,
) -> Option<(&'static str, String)> {
    let mut kind = None;
    let mut password = None;
    for block in node.children_of("authentication") {
        for statement in &block.children {
            let text = statement.word_at(0).unwrap_or_default();
            match (statement.word, text) {
                ("auth_type", "PASS") => kind = Some("PASS"),
                ("auth_type", "AH") => kind = Some("AH"),
                ("auth_type", _) => complaints.push(
                    Complaint::new(
                        Kind::UnknownValue,
                        format!(
                            "auth_type: {text:?} is not PASS or AH; there is no authentication"
                        ),
                    )
                    .at(statement.place)
                    .token(text)
                    .object(name)
                    .help("write PASS or AH in capital letters"),
                ),
                _ => password = Some(cut(statement, text, complaints)),
            }
        }
    }
    Some((kind?, password.unwrap_or_default()))
}

/// Drops authentication that version 3 and strict mode do not have, and authentication without a
/// password.
pub(super) fn finish(it: &mut Instance, complaints: &mut Vec<Complaint>) {
    let Some((_, password)) = &it.authentication else {
        return;
    };
    let complaint = if it.version == 3 || it.is_strict {
        Complaint::new(
            Kind::AuthIgnored,
            "version 3 and strict mode have no authentication; it is ignored",
        )
    } else if password.is_empty() {
        Complaint::new(
            Kind::AuthNoPassword,
            "authentication has no auth_pass; there is no authentication",
        )
        .help("put auth_type and auth_pass on lines of their own")
    } else {
        return;
    };
    complaints.push(complaint.object(&it.name));
    it.authentication = None;
}

/// The part of a password that an advertisement can hold.
fn cut(statement: &Node, text: &str, complaints: &mut Vec<Complaint>) -> String {
    if text.len() > LONGEST_PASSWORD {
        complaints.push(
            Complaint::new(
                Kind::Truncated,
                "auth_pass is longer than 8 octets; the rest is cut",
            )
            .at(statement.place)
            .token("auth_pass")
            .help("cut it in the file, on both routers"),
        );
    }
    let end = (0..=text.len().min(LONGEST_PASSWORD))
        .rev()
        .find(|at| text.is_char_boundary(*at));
    let cut = text.get(..end.unwrap_or(0)).unwrap_or_default();
    cut.to_owned()
}

/// Reads `auth_hmac`. `None` without a usable key.
pub(super) fn hmac(node: &Node, name: &str, complaints: &mut Vec<Complaint>) -> Option<Hmac> {
    let block = node.last("auth_hmac")?;
    let mut complain = |statement: &Node, problem: &str| {
        complaints.push(
            Complaint::new(Kind::UnknownValue, format!("{} {problem}", statement.word))
                .at(statement.place)
                .object(name),
        );
    };
    let mut hmac = Hmac {
        keys: Vec::new(),
        active: 0,
        is_monotonic: false,
        window: block
            .number("time_window")
            .and_then(|it| u16::try_from(it).ok()),
        mode: HmacMode::Enforce,
    };
    for statement in &block.children {
        if let Err(problem) = hmac_statement(&mut hmac, statement) {
            complain(statement, problem);
        }
    }
    let first = hmac.keys.first().map(|(id, _)| *id);
    let active = block
        .number("active_key")
        .and_then(|it| u8::try_from(it).ok());
    let Some(active) = active.or(first) else {
        complain(block, "has no key; there is no authentication");
        return None;
    };
    hmac.active = active;
    Some(hmac)
}

/// Reads a statement of `auth_hmac`. Returns the fault of a bad one.
fn hmac_statement(hmac: &mut Hmac, statement: &Node) -> Result<(), &'static str> {
    let text = statement.word_at(0).unwrap_or_default();
    match (statement.word, text) {
        ("key", _) => {
            let id = value::number(text, Range::whole(1, 255)).value;
            let id = id.and_then(|it| u8::try_from(it).ok());
            let (Some(id), Some(secret)) = (id, statement.word_at(1)) else {
                return Err("needs an id from 1 to 255 and a secret");
            };
            hmac.keys.push((id, secret.to_owned()));
        }
        ("anti_replay", "time") => hmac.is_monotonic = false,
        ("anti_replay", "monotonic") => hmac.is_monotonic = true,
        ("anti_replay", _) => return Err("is time or monotonic"),
        ("mode", "enforce") => hmac.mode = HmacMode::Enforce,
        ("mode", "permissive") => hmac.mode = HmacMode::Permissive,
        ("mode", "receive-only") => hmac.mode = HmacMode::ReceiveOnly,
        ("mode", _) => return Err("is enforce, permissive or receive-only"),
        _ => {}
    }
    Ok(())
}
