//! `UDP_CHECK`.

use super::{Detail, count};
use crate::keepalived_conf::{
    complaint::{Complaint, Kind},
    tree::Node,
};

/// Reads the settings of a UDP check.
pub(super) fn read(node: &Node, complaints: &mut Vec<Complaint>) -> Detail {
    let min_reply = count(node, "min_reply_length").unwrap_or(0);
    let max_reply = count(node, "max_reply_length").unwrap_or(255);
    if min_reply > max_reply {
        complaints.push(
            Complaint::new(
                Kind::Other,
                format!(
                    "min_reply_length {min_reply} is more than max_reply_length {max_reply}: every answer fails"
                ),
            )
            .at(node.end),
        );
    }
    let mut payload = None;
    let mut reply = None;
    for statement in &node.children {
        let (text, allows_any) = match statement.word {
            "payload" => (&mut payload, false),
            "require_reply" => (&mut reply, true),
            _ => continue,
        };
        if statement.words.is_empty() {
            continue;
        }
        let octets = octets(&statement.words, allows_any);
        if octets.is_none() {
            let words = statement.words.join(" ");
            complaints.push(
                Complaint::new(
                    Kind::ValueInvalid,
                    format!(
                        "{}: {words:?} is not hexadecimal; it is not used",
                        statement.word
                    ),
                )
                .at(statement.place)
                .token(words),
            );
        }
        // An invalid text also empties the valid one before it.
        *text = octets.or(text.take().map(|_| String::new()));
    }
    Detail::Udp {
        payload,
        reply,
        requires_reply: node.has("require_reply"),
        min_reply,
        max_reply,
    }
}

/// The hexadecimal digits of octets, two of each, with `X` for any digit where that is allowed. A
/// single digit at the end of a word is an octet of its own.
fn octets(words: &[String], allows_any: bool) -> Option<String> {
    let mut octets = String::new();
    for word in words.iter().flat_map(|it| it.split_whitespace()) {
        let digits: Vec<char> = word.chars().collect();
        for pair in digits.chunks(2) {
            if pair.len() == 1 {
                octets.push('0');
            }
            octets.extend(pair);
        }
    }
    let is_digit = |c: char| c.is_ascii_hexdigit() || (allows_any && matches!(c, 'X' | 'x'));
    octets.chars().all(is_digit).then_some(octets)
}
