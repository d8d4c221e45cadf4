//! `SSL`: the credentials of checks over TLS.

use crate::{keepalived_conf::tree::Node, password::Password};

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
    pub(super) fn read(&mut self, node: &Node) {
        let text = |word| node.text(word).map(str::to_owned);
        self.certificate = text("certificate").or(self.certificate.take());
        self.key = text("key").or(self.key.take());
        let password = node.text("password").map(Password::from);
        self.password = password.or(self.password.take());
    }
}
