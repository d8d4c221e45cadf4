//! `SSL`: the credentials of checks over TLS.

use crate::{
    keepalived_conf::{
        complaint::{Complaint, Kind},
        tree::Node,
    },
    password::Password,
};

/// `SSL`: the credentials of this client in checks over TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The file with the certificate.
    pub certificate: Option<String>,
    /// The file with its key.
    pub key: Option<String>,
    /// The password of an encrypted key.
    pub password: Option<Password>,
}

impl TlsFiles {
    /// Reads a block; of a repeated setting, the last one counts.
    pub(super) fn read(node: &Node, complaints: &mut Vec<Complaint>) -> Self {
        for (place, statement) in node.children.iter().enumerate() {
            let mut before = node.children.iter().take(place);
            if before.any(|it| it.word == statement.word && !it.words.is_empty()) {
                complaints.push(repeated(statement));
            }
        }
        let text = |word| node.text(word).map(str::to_owned);
        Self {
            certificate: text("certificate"),
            key: text("key"),
            password: node.text("password").map(Password::from),
        }
    }
}

/// The complaint about a statement or block that replaces an earlier one.
pub(super) fn repeated(node: &Node) -> Complaint {
    Complaint::new(
        Kind::Duplicate,
        format!(
            "{} stands here a second time; it replaces the first one",
            node.word
        ),
    )
    .at(node.place)
    .token(node.word)
}
