//! The checks of real servers: the settings of all kinds, and those of the small kinds.

mod connection;
mod http;
mod tracked;
mod udp;

use std::net::IpAddr;

pub use self::{http::Url, tracked::TrackedFile};
use super::{Context, RealServer, count, endpoint};
use crate::keepalived_conf::{
    complaint::{Complaint, Kind},
    host::Host,
    script::{self, Script},
    tree::Node,
};

/// A check of a real server.
#[derive(Clone, Debug)]
pub struct Check {
    /// `TCP_CHECK`, `HTTP_GET` and so on.
    pub kind: &'static str,
    /// Whether it starts failed.
    pub is_alpha: bool,
    /// Microseconds between checks.
    pub delay_loop: Option<i64>,
    /// Microseconds over which first checks are spread.
    pub warmup: Option<i64>,
    /// Failures before it fails, less one.
    pub retry: Option<u32>,
    /// Microseconds before a retry.
    pub delay_before_retry: Option<i64>,
    /// `log_all_failures`.
    pub logs_all_failures: bool,
    /// The destination of its connections.
    pub target: Option<(IpAddr, u16)>,
    /// The source of its connections.
    pub bind: Option<(Option<IpAddr>, u16)>,
    /// The interface of its connections.
    pub bind_interface: Option<String>,
    /// The mark of its packets.
    pub mark: Option<u32>,
    /// Microseconds for connecting.
    pub connect_timeout: Option<i64>,
    /// The settings of this kind of check.
    pub detail: Detail,
}

/// The settings of one kind of check.
#[derive(Clone, Debug)]
pub enum Detail {
    /// TCP and PING have none.
    None,
    /// HTTP and HTTPS.
    Http {
        /// `1.0`, `1.0C`, `1.1` and so on.
        protocol: String,
        /// The URLs.
        urls: Vec<Url>,
        /// The host name of requests.
        virtualhost: Option<String>,
        /// Whether the host name is sent in the TLS handshake.
        enable_sni: bool,
        /// The name that is sent in the TLS handshake in place of the host name.
        sni_name: Option<String>,
        /// Whether the URLs are checked without pause after a failure.
        fast_recovery: bool,
    },
    /// SMTP.
    Smtp {
        /// The name in HELO.
        helo: String,
    },
    /// DNS.
    Dns {
        /// The type of the record.
        record: String,
        /// The name that is asked for.
        name: String,
    },
    /// A program.
    Misc {
        /// The command.
        script: Script,
        /// Seconds that it may take.
        timeout: Option<u32>,
        /// Whether its exit status sets the weight.
        is_dynamic: bool,
    },
    /// UDP.
    Udp {
        /// The payload to send, in hexadecimal.
        payload: Option<String>,
        /// The expected reply, in hexadecimal with `X` for any digit.
        reply: Option<String>,
        /// Whether a reply is required.
        requires_reply: bool,
        /// The least length of the answer.
        min_reply: u32,
        /// The greatest length of the answer.
        max_reply: u32,
    },
    /// BFD: the name of the instance.
    Bfd(String),
    /// A file.
    File,
}

impl RealServer {
    /// Reads a check and adds it, unless it is ignored.
    pub(super) fn read_check(
        &mut self,
        node: &Node,
        port: u16,
        context: &Context<'_>,
        complaints: &mut Vec<Complaint>,
    ) {
        let mut check = Check::of_any_kind(node, self, port);
        check.read_connection(node, complaints);
        let detail = match node.word {
            "HTTP_GET" | "SSL_GET" => http::read(node, complaints),
            "SMTP_CHECK" => Some(smtp(node)),
            "DNS_CHECK" => Some(dns(node, complaints)),
            "MISC_CHECK" => misc(node, context, complaints),
            "UDP_CHECK" => Some(udp::read(node, complaints)),
            "BFD_CHECK" => tracked::bfd(node, self, context, complaints),
            "FILE_CHECK" => tracked::file(node, self, context, complaints),
            _ => Some(Detail::None),
        };
        let Some(detail) = detail else {
            return;
        };
        check.leave_out(&detail, node);
        check.detail = detail;
        let start = (self.address, port);
        let hosts: Vec<Check> = node
            .children_of("host")
            .map(|host| check.of_host(host, start, complaints))
            .collect();
        // Beside hosts, the block is a check of its own only with a connection of its own.
        if hosts.is_empty() || names_connection(node) {
            self.checks.push(check);
        }
        self.checks.extend(hosts);
    }
}

impl Check {
    /// The settings that each kind of check has.
    fn of_any_kind(node: &Node, real: &RealServer, port: u16) -> Self {
        let (default_retry, default_delay) = match node.word {
            "HTTP_GET" | "SSL_GET" => (1, Some(3_000_000)),
            "DNS_CHECK" => (3, None),
            "MISC_CHECK" => (0, Some(1_000_000)),
            _ => (1, Some(1_000_000)),
        };
        let own = real.defaults.with(node);
        let delay_loop = own.delay_loop;
        let retry = node
            .number("nb_get_retry")
            .or(node.number("retry"))
            .or(real.defaults.retry)
            .unwrap_or(default_retry);
        Self {
            kind: node.word,
            is_alpha: node.switch("alpha").unwrap_or(real.is_alpha),
            delay_loop: Some(delay_loop),
            warmup: Some(own.warmup.unwrap_or(delay_loop)),
            retry: u32::try_from(retry).ok(),
            delay_before_retry: Some(
                own.delay_before_retry
                    .or(default_delay)
                    .unwrap_or(delay_loop),
            ),
            logs_all_failures: node.switch("log_all_failures").unwrap_or(false),
            target: Some((real.address, port)),
            bind: None,
            bind_interface: None,
            mark: None,
            connect_timeout: Some(own.connect_timeout),
            detail: Detail::None,
        }
    }

    /// The same check of another host, which `SMTP_CHECK` can name.
    fn of_host(&self, host: &Node, start: (IpAddr, u16), complaints: &mut Vec<Complaint>) -> Self {
        let mut further = Self {
            target: Some(start),
            bind: None,
            bind_interface: None,
            mark: None,
            connect_timeout: Some(host.number("connect_timeout").unwrap_or(0)),
            is_alpha: host.switch("alpha").unwrap_or(self.is_alpha),
            delay_loop: host.number("delay_loop").or(self.delay_loop),
            warmup: host.number("warmup").or(self.warmup),
            retry: count(host, "retry").or(self.retry),
            delay_before_retry: host
                .number("delay_before_retry")
                .or(self.delay_before_retry),
            logs_all_failures: host
                .switch("log_all_failures")
                .unwrap_or(self.logs_all_failures),
            ..self.clone()
        };
        further.read_connection(host, complaints);
        further
    }

    /// Leaves out the settings that this kind of check does not have.
    fn leave_out(&mut self, detail: &Detail, node: &Node) {
        if matches!(detail, Detail::Misc { .. } | Detail::Bfd(_) | Detail::File) {
            self.target = None;
            self.connect_timeout = None;
        }
        if matches!(detail, Detail::Bfd(_)) {
            self.delay_loop = None;
            self.warmup = None;
            self.retry = None;
            self.delay_before_retry = None;
            self.is_alpha = node.switch("alpha").unwrap_or(false);
        }
    }
}

/// Whether the block of a check names a part of its connection.
fn names_connection(node: &Node) -> bool {
    node.children.iter().any(|it| match it.word {
        "connect_ip" | "bindto" => it.word_at(0).and_then(endpoint::address).is_some(),
        "connect_port" | "bind_port" | "bind_if" | "fwmark" | "connect_timeout" => true,
        _ => false,
    })
}

fn smtp(node: &Node) -> Detail {
    let helo = node.text("helo_name");
    Detail::Smtp {
        helo: helo.unwrap_or("smtpchecker.keepalived.org").to_owned(),
    }
}

fn dns(node: &Node, complaints: &mut Vec<Complaint>) -> Detail {
    const RECORDS: [&str; 9] = [
        "A", "NS", "CNAME", "SOA", "MX", "TXT", "AAAA", "RRSIG", "DNSKEY",
    ];
    let record = node.text("type").unwrap_or("SOA").to_ascii_uppercase();
    let is_known = RECORDS.contains(&record.as_str());
    if let Some(statement) = node.last("type")
        && !is_known
    {
        complaints.push(
            Complaint::new(
                Kind::UnknownValue,
                format!("type: {record:?} is not {}", RECORDS.join(", ")),
            )
            .at(statement.place)
            .token(&record),
        );
    }
    Detail::Dns {
        record: if is_known { record } else { "SOA".to_owned() },
        name: node.text("name").unwrap_or(".").to_owned(),
    }
}

fn misc(node: &Node, context: &Context<'_>, complaints: &mut Vec<Complaint>) -> Option<Detail> {
    let statement = node.last("misc_path");
    let arguments = statement.and_then(|statement| {
        script::arguments(statement, &mut |complaint| complaints.push(complaint))
    });
    let Some(arguments) = arguments else {
        complaints.push(
            Complaint::new(
                Kind::ScriptMissingBody,
                "MISC_CHECK needs a misc_path; the check is ignored",
            )
            .at(node.end),
        );
        return None;
    };
    let account = if let Some(statement) = node.last("user") {
        let user = statement.word_at(0).unwrap_or_default();
        let account = Host::account(user, statement.word_at(1));
        if account.is_none() {
            complaints.push(
                Complaint::new(
                    Kind::ScriptUserUnknown,
                    format!("there is no user {user:?}; the check is ignored"),
                )
                .at(statement.place)
                .token(user),
            );
        }
        account?
    } else {
        let account = context.policy.default_account(node.end);
        if account.is_none() {
            complaints.push(
                Complaint::new(
                    Kind::NoScriptUser,
                    "there is nobody to run the program of MISC_CHECK; the check is ignored",
                )
                .at(node.end),
            );
        }
        account?
    };
    Some(Detail::Misc {
        script: Script { arguments, account },
        timeout: count(node, "misc_timeout").filter(|it| *it > 0),
        is_dynamic: node.has("misc_dynamic"),
    })
}
