//! `HTTP_GET` and `SSL_GET`.

use super::Detail;
use crate::keepalived_conf::{
    complaint::{Complaint, Kind, Weight},
    tree::Node,
    value::{self, Range},
};

/// The options of an expression.
const REGEX_OPTIONS: [&str; 24] = [
    "allow_empty_class",
    "alt_bsux",
    "alt_circumflex",
    "alt_verbnames",
    "auto_callout",
    "caseless",
    "dollar_endonly",
    "dotall",
    "dupnames",
    "extended",
    "firstline",
    "match_unset_backref",
    "multiline",
    "never_backslash_c",
    "never_ucp",
    "never_utf",
    "no_auto_capture",
    "no_auto_possess",
    "no_dotstar_anchor",
    "no_start_optimize",
    "ucp",
    "ungreedy",
    "use_offset_limit",
    "utf",
];

/// A URL of an HTTP check.
#[derive(Clone, Debug)]
pub struct Url {
    /// Its path.
    pub path: String,
    /// The MD5 digest of the body.
    pub digest: Option<String>,
    /// Status codes that are good, as ranges.
    pub status: Vec<(u16, u16)>,
    /// The host name of the request.
    pub virtualhost: Option<String>,
    /// A regular expression for the body.
    pub regex: Option<String>,
    /// Whether the expression must not match.
    pub regex_no_match: bool,
    /// `regex_options`, by their names in PCRE2.
    pub regex_options: Vec<String>,
    /// The first byte, from 0, at which a match may start.
    pub regex_min_offset: Option<usize>,
    /// The last byte at which a match may start.
    pub regex_max_offset: Option<usize>,
}

/// Reads the settings of a check over HTTP. `None` if it is ignored.
pub(super) fn read(node: &Node, complaints: &mut Vec<Complaint>) -> Option<Detail> {
    for statement in node.children_of("nb_get_retry") {
        complaints.push(
            Complaint::new(Kind::Deprecated, "nb_get_retry is deprecated, and obeyed")
                .at(statement.place)
                .help("write retry"),
        );
    }
    let protocol = protocol(node, complaints);
    let mut urls = Vec::new();
    for url in node.children_of("url") {
        urls.extend(Url::read(url, complaints));
    }
    if urls.is_empty() {
        complaints.push(
            Complaint::new(
                Kind::NoUrls,
                format!("{} has no usable url; the check is ignored", node.word),
            )
            .at(node.end)
            .help("add url { path / }"),
        );
        return None;
    }
    Some(Detail::Http {
        protocol,
        urls,
        virtualhost: node.text("virtualhost").map(str::to_owned),
        enable_sni: node.switch("enable_sni").unwrap_or(false),
        sni_name: node.text("sni_name").map(str::to_owned),
        fast_recovery: node.switch("fast_recovery").unwrap_or(false),
    })
}

/// The version of HTTP, by default 1.0.
fn protocol(node: &Node, complaints: &mut Vec<Complaint>) -> String {
    let Some(statement) = node.last("http_protocol") else {
        return "1.0".to_owned();
    };
    let text = statement.word_at(0).unwrap_or_default();
    if matches!(text, "1.0" | "1.0C" | "1.0c" | "1.1") {
        return text.to_ascii_uppercase();
    }
    complaints.push(
        Complaint::new(
            Kind::UnknownValue,
            format!("http_protocol: {text:?} is not 1.0, 1.0C or 1.1"),
        )
        .at(statement.place)
        .token(text),
    );
    "1.0".to_owned()
}

impl Url {
    /// Reads a URL. `None` if it is ignored.
    fn read(node: &Node, complaints: &mut Vec<Complaint>) -> Option<Self> {
        let mut url = Self {
            path: node.text("path").unwrap_or_default().to_owned(),
            digest: None,
            status: Vec::new(),
            virtualhost: node.text("virtualhost").map(str::to_owned),
            regex: node.text("regex").map(str::to_owned),
            regex_no_match: node.has("regex_no_match"),
            regex_options: Vec::new(),
            regex_min_offset: None,
            regex_max_offset: None,
        };
        for statement in &node.children {
            match statement.word {
                "digest" => url.read_digest(statement, complaints),
                "status_code" => url.read_status(statement, complaints),
                "regex_options" => url.read_regex_options(statement, complaints),
                "regex_min_offset" => url.regex_min_offset = offset(statement, complaints),
                "regex_max_offset" => url.regex_max_offset = offset(statement, complaints),
                _ => {}
            }
        }
        if url.status.is_empty() {
            url.status.push((200, 299));
        }
        if url.path.is_empty() {
            complaints.push(
                Complaint::new(Kind::NoUrls, "a url needs a path; it is ignored").at(node.end),
            );
            return None;
        }
        Some(url)
    }

    fn read_digest(&mut self, statement: &Node, complaints: &mut Vec<Complaint>) {
        let text = statement.word_at(0).unwrap_or_default();
        if text.len() == 32 && text.bytes().all(|it| it.is_ascii_hexdigit()) {
            self.digest = Some(text.to_ascii_lowercase());
            return;
        }
        complaints.push(
            Complaint::new(
                Kind::DigestInvalid,
                format!("digest: {text:?} is not 32 hexadecimal digits; it is not used"),
            )
            .at(statement.place)
            .token(text)
            .help("genhash prints the digest of a page"),
        );
    }

    fn read_status(&mut self, statement: &Node, complaints: &mut Vec<Complaint>) {
        for word in &statement.words {
            let (low, high) = word.split_once('-').unwrap_or((word, word));
            let range = low.parse::<u16>().ok().zip(high.parse::<u16>().ok());
            match range {
                Some((low, high)) if low >= 100 && high <= 599 && low <= high => {
                    self.status.push((low, high));
                }
                _ => complaints.push(
                    Complaint::new(
                        Kind::ValueInvalid,
                        format!("status_code: {word:?} is not a status from 100 to 599 or a range"),
                    )
                    .at(statement.place)
                    .token(word),
                ),
            }
        }
    }

    fn read_regex_options(&mut self, statement: &Node, complaints: &mut Vec<Complaint>) {
        for word in &statement.words {
            if REGEX_OPTIONS.contains(&word.as_str()) {
                self.regex_options.push(word.clone());
            } else {
                complaints.push(
                    Complaint::new(
                        Kind::UnknownValue,
                        format!("regex_options: {word:?} is not an option of PCRE2"),
                    )
                    .weight(Weight::Advice)
                    .at(statement.place)
                    .token(word),
                );
            }
        }
    }
}

/// The position of the first or last byte at which a match may start.
fn offset(statement: &Node, complaints: &mut Vec<Complaint>) -> Option<usize> {
    let text = statement.word_at(0).unwrap_or_default();
    let number = value::number(text, Range::whole(0, i64::from(i32::MAX)));
    let offset = number.value.filter(|_| number.problem.is_none());
    if offset.is_none() {
        complaints.push(
            Complaint::new(
                Kind::ValueInvalid,
                format!("{}: {text:?} is not a number of bytes", statement.word),
            )
            .at(statement.place)
            .token(text),
        );
    }
    offset.and_then(|it| usize::try_from(it).ok())
}
