//! `UDP_CHECK`.

use super::{Detail, count};
use crate::keepalived_conf::{
    complaint::{Complaint, Kind},
    tree::Node,
};

/// Reads the settings of a UDP check.
pub(super) fn read(node: &Node, complaints: &mut Vec<Complaint>) -> Detail {
    let reply = node.last("require_reply");
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
    for statement in &node.children {
        let text = statement.word_at(0).unwrap_or_default();
        let allows_any = statement.word == "require_reply";
        if matches!(statement.word, "payload" | "require_reply")
            && (statement.words.len() > 1 || !is_hexadecimal(text, allows_any))
        {
            complaints.push(
                Complaint::new(
                    Kind::ValueInvalid,
                    format!("{}: {text:?} is not hexadecimal", statement.word),
                )
                .at(statement.place)
                .token(text),
            );
        }
    }
    Detail::Udp {
        payload: node.text("payload").map(str::to_owned),
        reply: reply.and_then(|it| it.word_at(0)).map(str::to_owned),
        requires_reply: reply.is_some(),
        min_reply,
        max_reply,
    }
}

fn is_hexadecimal(text: &str, allows_any: bool) -> bool {
    text.chars()
        .filter(|c| !c.is_ascii_whitespace())
        .all(|c| c.is_ascii_hexdigit() || (allows_any && matches!(c, 'X' | 'x')))
}
