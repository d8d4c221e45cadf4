//! Checks of a real server as checks of the pool, with their probes.

use std::{net::Ipv4Addr, time::Duration};

use ipvs_netlink::pool::{Check, FirstResult, Initial, Pace};

use crate::{
    keepalived::expression,
    keepalived_conf::lvs::{self, Detail, TlsFiles, Url},
    probe::{
        BytePattern, Bytes, Dns, File, Http, HttpVersion, Icmp, Probe, Question,
        Script as ScriptProbe, Smtp, Source, StatusSet, Tcp, Tls, TlsSettings, Udp, User,
    },
};

/// HTTP_GET and SSL_GET restart their time limit for each step, and for each piece of the answer.
/// Here the whole attempt has a limit too, so that an endless answer is a failure.
const STEPS_OF_HTTP: u32 = 10;

/// The time between two reads of a file.
const FILE_PERIOD: Duration = Duration::from_millis(100);

/// The longest time of a check.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The host names for requests to a server whose check or URL names none.
pub(super) struct Hosts<'a> {
    /// The name in `Host`.
    pub(super) request: Option<&'a str>,
    /// The name in the TLS handshake.
    pub(super) handshake: Option<&'a str>,
    pub(super) tls: &'a TlsFiles,
}

/// A check that reads a file. All servers with the same file and factor share it, so its target is
/// a placeholder and not the address of a server.
pub(super) fn of_file(tracked: &lvs::TrackedFile) -> Check<Probe> {
    let mut check = Check::new(Probe::File(File {
        path: tracked.file.path.clone().into(),
        factor: tracked.factor(),
    }));
    check.name = "FILE_CHECK".into();
    check.address = Some(Ipv4Addr::UNSPECIFIED.into());
    check.port = Some(1);
    check.interval = FILE_PERIOD;
    check.fast_interval = Some(FILE_PERIOD);
    check.rising_interval = Some(FILE_PERIOD);
    check.time_limit = LONGEST;
    check.fall = 1;
    check.rise = 1;
    check.initial = Initial::Up;
    check.noise = 0;
    check.spread = Some(Duration::ZERO);
    check
}

fn micros(number: i64) -> Duration {
    let time = Duration::from_micros(u64::try_from(number).unwrap_or(0));
    time.clamp(Duration::from_millis(1), LONGEST)
}

/// The check for the pool; `None` for a check that is translated elsewhere.
pub(super) fn of_probes(
    check: &lvs::Check,
    hosts: &Hosts<'_>,
    defaults: &lvs::CheckDefaults,
    note: &mut impl FnMut(String),
) -> Result<Option<Check<Probe>>, String> {
    let lvs::Check {
        kind,
        is_alpha,
        delay_loop,
        warmup,
        retry,
        delay_before_retry,
        logs_all_failures: _, // Each failure is in the log.
        target,
        bind,
        bind_interface,
        mark,
        connect_timeout,
        detail,
    } = check;
    let source = Source {
        address: bind.and_then(|(address, _)| address),
        port: bind.map(|(_, port)| port).filter(|port| *port != 0),
        interface: bind_interface.clone(),
        mark: *mark,
    };
    let interval = micros(delay_loop.unwrap_or(defaults.delay_loop));
    let connect_timeout = micros(connect_timeout.unwrap_or(defaults.connect_timeout));
    let time_limit = match detail {
        Detail::Misc { timeout, .. } => {
            timeout.map_or(interval, |it| Duration::from_secs(it.into()))
        }
        Detail::Http { .. } => connect_timeout.saturating_mul(STEPS_OF_HTTP),
        _ => connect_timeout,
    };
    let is_fast = matches!(
        detail,
        Detail::Http {
            fast_recovery: true,
            ..
        }
    );
    let given = Given {
        source,
        hosts,
        time_limit: connect_timeout,
    };
    let Some(probes) = probes(kind, detail, given, note)? else {
        return Ok(None);
    };
    let mut result = Check::of(probes);
    result.name = (*kind).into();
    if let Some((address, port)) = target {
        result.address = Some(*address);
        result.port = Some(*port).filter(|port| *port != 0);
    }
    let pause = delay_before_retry.map_or(interval, micros);
    result.interval = interval;
    result.fast_interval = Some(pause);
    result.rising_interval = Some(if is_fast { Duration::ZERO } else { interval });
    result.down_interval = Some(interval);
    result.time_limit = time_limit.clamp(Duration::from_millis(1), LONGEST);
    result.fall = retry.unwrap_or(0).saturating_add(1);
    result.rise = 1;
    result.initial = if *is_alpha {
        Initial::Down
    } else {
        Initial::Up
    };
    result.noise = 0;
    result.spread = Some(warmup.map_or(interval, |it| {
        Duration::from_micros(u64::try_from(it).unwrap_or(0)).min(LONGEST)
    }));
    match detail {
        // First the URL that failed must succeed, and then all URLs.
        Detail::Http { urls, .. } => {
            result.rise = u32::try_from(urls.len()).unwrap_or(u32::MAX - 1) + 1;
            result.down_interval = Some(interval.max(pause));
        }
        Detail::Misc { .. } => result.pace = Pace::AfterStart,
        Detail::Smtp { .. } => {
            result.first_result = FirstResult::Counts;
            result.retry_while_down = true;
        }
        _ => {}
    }
    Ok(Some(result))
}

/// The settings that a probe takes from its check and its server.
struct Given<'a> {
    source: Source,
    hosts: &'a Hosts<'a>,
    /// The limit for each step of a request.
    time_limit: Duration,
}

/// The probes of a check; `None` for a check that is translated elsewhere.
fn probes(
    kind: &str,
    detail: &Detail,
    given: Given<'_>,
    note: &mut impl FnMut(String),
) -> Result<Option<Vec<Probe>>, String> {
    let Given {
        source,
        hosts,
        time_limit,
    } = given;
    Ok(Some(match detail {
        Detail::None if kind == "PING_CHECK" => vec![Probe::Icmp(Icmp { source })],
        Detail::None => vec![Probe::Tcp(Tcp { source })],
        Detail::Http {
            protocol,
            urls,
            virtualhost,
            enable_sni,
            sni_name,
            fast_recovery: _,
        } => {
            let own = virtualhost.as_deref();
            let each = |url: &Url| {
                let of_url = url.virtualhost.as_deref().or(own);
                let host = of_url.or(hosts.request);
                let mut http = http(url, protocol, host, &source, note)?;
                if kind == "SSL_GET" {
                    let name = enable_sni.then(|| of_url.or(hosts.handshake)).flatten();
                    let name = sni_name.as_deref().or(name);
                    http.tls = Some(tls(name, hosts.tls)?);
                }
                http.step_limit = Some(time_limit);
                Ok(Probe::Http(Box::new(http)))
            };
            urls.iter().map(each).collect::<Result<_, String>>()?
        }
        Detail::Smtp { helo } => vec![Probe::Smtp(Smtp {
            source,
            helo: helo.clone(),
        })],
        Detail::Dns { record, name } => {
            let name = if name.is_empty() { "." } else { name };
            let question = Question::new(name, record).map_err(|error| error.to_string())?;
            vec![Probe::Dns(Dns {
                source,
                question,
                require_records: false,
            })]
        }
        Detail::Misc {
            script,
            timeout: _,
            is_dynamic,
        } => {
            let mut probe = ScriptProbe::new(script.arguments.clone());
            probe.weighs = *is_dynamic;
            let account = script.account;
            probe.user = Some(User::new(account.uid.into(), account.gid.into()));
            vec![Probe::Script(Box::new(probe))]
        }
        Detail::Udp {
            payload,
            reply,
            requires_reply,
            min_reply,
            max_reply,
        } => {
            let bytes = |text: &String| Bytes::from_hex(text).map_err(|it| it.to_string());
            let pattern = |text: &String| text.parse::<BytePattern>().map_err(|it| it.to_string());
            vec![Probe::Udp(Udp {
                source,
                payload: payload.as_ref().map(bytes).transpose()?.unwrap_or_default(),
                require_reply: *requires_reply,
                reply: reply.as_ref().map(pattern).transpose()?.unwrap_or_default(),
                shortest: *min_reply as usize,
                longest: Some(*max_reply as usize),
            })]
        }
        // Files have checks of their own.
        Detail::Bfd(_) | Detail::File => return Ok(None),
    }))
}

fn http(
    url: &Url,
    protocol: &str,
    host: Option<&str>,
    source: &Source,
    note: &mut impl FnMut(String),
) -> Result<Http, String> {
    let Url {
        path,
        digest,
        status,
        virtualhost: _, // The host has it.
        regex,
        regex_no_match,
        regex_options,
        regex_min_offset,
        regex_max_offset,
    } = url;
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let mut http = Http {
        source: source.clone(),
        version: if protocol.starts_with("1.1") {
            HttpVersion::Http11
        } else {
            HttpVersion::Http10
        },
        path: path.parse().map_err(|error| text(&error))?,
        accept_short_body: true,
        ..Http::default()
    };
    http.host = match host {
        Some(host) => Some(host.parse().map_err(|error| text(&error))?),
        None => None,
    };
    if !status.is_empty() {
        http.status = StatusSet::new(status.clone());
    }
    if let Some(digest) = digest {
        http.md5 = Some(digest.parse().map_err(|error| text(&error))?);
    }
    if let Some(regex) = regex {
        let mut body = expression::body(regex, regex_options, note)?;
        body.must_match = !regex_no_match;
        let (from, to) = (regex_min_offset.unwrap_or(0), *regex_max_offset);
        // As in keepalived, bounds that leave no position between them are ignored.
        if to.is_none_or(|to| from <= to) {
            body.from = from;
            body.to = to;
        }
        http.body = Some(body);
    }
    Ok(http)
}

fn tls(name: Option<&str>, files: &TlsFiles) -> Result<Tls, String> {
    let TlsFiles {
        certificate,
        key,
        password,
    } = files.clone();
    let settings = TlsSettings {
        name: name.map(str::to_owned),
        certificate: certificate.map(Into::into),
        key: key.map(Into::into),
        password,
        ..TlsSettings::default()
    };
    Tls::new(settings).map_err(|error| error.to_string())
}
