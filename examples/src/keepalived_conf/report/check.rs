//! The checks of real servers.

use serde_json::{Value, json};

use super::form::{flag, list, object, seconds};
use crate::keepalived_conf::{
    host::Account,
    lvs::{Check, Detail, RealServer, Service, Url, VirtualServer},
};

/// The fields of an object, in their order.
type Fields = Vec<(&'static str, Value)>;

pub(super) fn check(server: &VirtualServer, real: &RealServer, check: &Check) -> Value {
    let protocol = server.protocol.unwrap_or("none").to_ascii_lowercase();
    let service = match &server.service {
        Service::Address(address, port) => format!("[{address}]:{protocol}:{port}"),
        Service::Mark(mark) => format!("FWM {mark}"),
        Service::Group(name) => format!("[{name}]:0"),
    };
    let mut fields = vec![
        ("check", json!(check.kind)),
        ("service", json!(service)),
        (
            "server",
            json!(format!("[{}]:{protocol}:{}", real.address, real.port)),
        ),
    ];
    if !matches!(check.detail, Detail::File) {
        fields.extend(pace(check));
    }
    fields.push(("log_all_failures", json!(check.logs_all_failures)));
    fields.extend(connection(check));
    fields.extend(detail(&check.detail));
    // Values that this kind of check does not have are null and not left out.
    Value::Object(
        fields
            .into_iter()
            .filter(|(name, value)| !value.is_null() || is_kept_null(name))
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    )
}

fn pace(check: &Check) -> Fields {
    let time = |time: Option<i64>| time.map_or(Value::Null, seconds);
    vec![
        ("alpha", json!(check.is_alpha)),
        ("retry", json!(check.retry)),
        ("delay_loop_s", time(check.delay_loop)),
        ("warmup_s", time(check.warmup)),
        ("delay_before_retry_s", time(check.delay_before_retry)),
    ]
}

fn connection(check: &Check) -> Fields {
    let mut fields = Vec::new();
    if let Some((address, port)) = check.target {
        fields.push(("connect_to", json!(format!("[{address}]:{port}"))));
    }
    if let Some((Some(address), port)) = check.bind {
        fields.push(("bind_to", json!(format!("[{address}]:{port}"))));
    }
    if let Some(timeout) = check.connect_timeout {
        fields.push(("connect_timeout_s", seconds(timeout)));
    }
    fields.push(("bind_i/f", json!(check.bind_interface)));
    fields.push(("mark", json!(check.mark)));
    fields
}

/// The settings of one kind of check.
fn detail(detail: &Detail) -> Fields {
    match detail {
        Detail::Http {
            protocol,
            urls,
            virtualhost,
            enable_sni,
            sni_name: _,
            fast_recovery,
        } => vec![
            ("http_protocol", json!(protocol)),
            ("virtualhost", json!(virtualhost)),
            (
                if *enable_sni {
                    "enable_sni_set"
                } else {
                    "enable_sni_unset"
                },
                json!(true),
            ),
            (
                if *fast_recovery {
                    "fast_recovery_set"
                } else {
                    "fast_recovery_unset"
                },
                json!(true),
            ),
            ("urls", list(urls, url)),
        ],
        Detail::Smtp { helo } => vec![("helo", json!(helo))],
        Detail::Bfd(name) => vec![("name", json!(name))],
        Detail::Dns { record, name } => vec![
            ("type", json!(record)),
            ("name", json!(if name == "." { "" } else { name })),
        ],
        Detail::Misc {
            script,
            is_dynamic,
            timeout,
        } => {
            let Account { uid, gid } = script.account;
            vec![
                ("argv", json!(script.arguments)),
                ("timeout", json!(timeout.unwrap_or(0))),
                ("dynamic", json!(is_dynamic)),
                ("uid:gid", json!(format!("{uid}:{gid}"))),
            ]
        }
        Detail::Udp {
            payload,
            requires_reply,
            ..
        } => {
            let length = payload.as_ref().map(|it| json!(it.len() / 2));
            vec![
                match length {
                    Some(length) => ("payload_len", length),
                    None => ("payload_specified", json!(false)),
                },
                ("require_reply", json!(requires_reply)),
            ]
        }
        Detail::File | Detail::None => Vec::new(),
    }
}

fn url(url: &Url) -> Value {
    let status = url.status.iter().map(|(low, high)| {
        if low == high {
            low.to_string()
        } else {
            format!("{low}-{high}")
        }
    });
    let regex = url.regex.as_ref();
    object(vec![
        ("path", json!(url.path)),
        ("digest", json!(url.digest)),
        ("virtual_host", json!(url.virtualhost)),
        (
            "regex",
            regex.map_or(Value::Null, |it| json!(format!("\"{it}\""))),
        ),
        ("regex_no_match", flag(url.regex_no_match)),
        ("regex_options:", flag(regex.is_some())),
        ("regex_ref_count", regex.map_or(Value::Null, |_| json!("1"))),
        ("status", json!(status.collect::<Vec<_>>())),
    ])
}

fn is_kept_null(name: &str) -> bool {
    matches!(
        name,
        "retry" | "delay_loop_s" | "warmup_s" | "delay_before_retry_s"
    )
}
