//! `global_defs`.

use std::{
    net::{IpAddr, Ipv4Addr, ToSocketAddrs as _},
    path::Path,
};

use super::{
    announcing::ExtraPeriod,
    complaint::{Complaint, Kind},
    configuration::Global,
    host::{Account, Host},
    script::{DefaultUser, Policy},
    tree::{Node, Value},
    value::{self, Range},
};

/// Reads all blocks of `global_defs`; later ones add to earlier ones.
pub(super) fn read<'a>(
    blocks: impl Iterator<Item = &'a Node>,
    host: &Host,
    default_user: &DefaultUser,
    complaints: &mut Vec<Complaint>,
) -> Global {
    let mut global = Global {
        script_account: Host::account("keepalived_script", None),
        ..Global::default()
    };
    let statements: Vec<&Node> = blocks.flat_map(|block| &block.children).collect();
    // These keywords also apply to scripts that stand before them.
    let is_secure = statements
        .iter()
        .any(|node| node.word == "enable_script_security");
    if global.script_account.is_none() && (!is_secure || has_early_script(&statements)) {
        global.script_account = Some(Account { uid: 0, gid: 0 });
    }
    for node in &statements {
        if node.word == "script_user" {
            let user = node.word_at(0).unwrap_or_default();
            global.script_account = Host::account(user, node.word_at(1));
            if global.script_account.is_none() {
                default_user.set_reported();
                complaints.push(
                    Complaint::new(
                        Kind::ScriptUserUnknown,
                        format!("there is no user {user:?} to run scripts; scripts that name no user are not used"),
                    )
                    .at(node.place)
                    .token(user),
                );
            }
        }
    }
    let policy = Policy {
        host,
        account: global.script_account,
        default_user,
        is_secure,
    };
    for node in statements {
        statement(node, &policy, &mut global, complaints);
    }
    global
}

/// The keywords of scripts.
const SCRIPTS: [&str; 5] = [
    "startup_script",
    "shutdown_script",
    "notify_fifo_script",
    "vrrp_notify_fifo_script",
    "lvs_notify_fifo_script",
];

/// Whether one of these scripts is used, so that script security matters.
pub(super) fn uses_one_of(words: &[&str], global: &Global, policy: &Policy<'_>) -> bool {
    let mut scripts = words.iter().filter_map(|word| global.scripts.get(word));
    scripts.any(|script| policy.look_up(&mut script.clone()).counts())
}

/// Drops the scripts that cannot run or that script security forbids, with a warning for each.
pub(super) fn drop_unusable_scripts(
    global: &mut Global,
    policy: &Policy<'_>,
    complaints: &mut Vec<Complaint>,
) {
    global.scripts.retain(|word, script| {
        let usability = policy.look_up_or_warn(script, (None, word), complaints);
        usability.is_kept()
    });
}

/// Whether a script without a user stands before `enable_script_security`. It makes root the user
/// of all scripts that name none.
fn has_early_script(statements: &[&Node]) -> bool {
    statements
        .iter()
        .take_while(|node| node.word != "enable_script_security")
        .any(|node| SCRIPTS.contains(&node.word) && node.words.len() == 1)
}

/// The keyword of a statement in its present spelling.
fn present_spelling(word: &'static str) -> &'static str {
    match word {
        "lvs_flush_onstop" => "lvs_flush_on_stop",
        "vrrp_rlimit_rtime" => "vrrp_rlimit_rttime",
        "checker_rlimit_rtime" => "checker_rlimit_rttime",
        "bfd_rlimit_rtime" => "bfd_rlimit_rttime",
        word => word,
    }
}

/// Reads a statement and stores its value, with its words unless they are unusable.
fn statement(
    node: &Node,
    policy: &Policy<'_>,
    global: &mut Global,
    complaints: &mut Vec<Complaint>,
) {
    let word = present_spelling(node.word);
    match node.value {
        Value::Number(number) => drop(global.numbers.insert(word, number)),
        Value::Switch(is_on) => drop(global.switches.insert(word, is_on)),
        Value::None => {}
    }
    let is_kept = match (node.word, node.word_at(0)) {
        ("notification_email", _) => {
            recipients(node, global, complaints);
            true
        }
        (word, Some(_)) if SCRIPTS.contains(&word) => {
            let script = policy.notify(node, &mut |complaint| complaints.push(complaint));
            if let Some(script) = script {
                global.scripts.insert(word, script);
            } else if matches!(word, "startup_script" | "shutdown_script") {
                complaints.push(
                    Complaint::new(Kind::Other, format!("{word} is not used")).at(node.place),
                );
            }
            true
        }
        ("nftables" | "nftables_ipvs", _) if is_again(word, global) => {
            complaints.push(
                Complaint::new(
                    Kind::Duplicate,
                    format!("{word} is given already; the first one counts"),
                )
                .at(node.place),
            );
            false
        }
        (_, first) => {
            let mut complain = |kind, message: String| {
                complaints.push(Complaint::new(kind, message).at(node.place));
            };
            is_usable(node, first, global, &mut complain)
        }
    };
    if is_kept {
        let word = match word {
            "vrrp_vmac_garp_intvl" => "vrrp_garp_extra_if",
            word => word,
        };
        global.words.insert(word, node.words.clone());
    }
}

/// Checks the values of a statement, and stores those that differ from its words. Returns whether
/// its words are usable.
fn is_usable(
    node: &Node,
    first: Option<&str>,
    global: &mut Global,
    complain: &mut dyn FnMut(Kind, String),
) -> bool {
    match (node.word, first) {
        ("smtp_server", Some(name)) => smtp_server(node, name, global, complain),
        ("smtp_connect_timeout", _) => {
            at_least_one(node, "0 is too short; 1 second is used", global, complain);
            true
        }
        ("vrrp_garp_master_repeat" | "vrrp_garp_master_refresh_repeat", Some(_)) => {
            at_least_one(node, "0 is too few; 1 is used", global, complain);
            true
        }
        ("vrrp_rt_priority" | "checker_rt_priority" | "bfd_rt_priority", Some(_)) => {
            real_time_priority(node, global, complain);
            true
        }
        ("vrrp_cpu_affinity" | "checker_cpu_affinity" | "bfd_cpu_affinity", Some(_)) => {
            are_processors(node, complain)
        }
        ("dynamic_interfaces", Some(word)) => {
            check_word(node, word, "allow_if_changes", complain);
            true
        }
        ("lvs_timeouts", Some(_)) => lvs_timeouts(node, global, complain),
        ("lvs_flush_on_stop" | "lvs_flush_onstop", Some(word)) => {
            check_word(node, word, "VS", complain);
            true
        }
        ("vrrp_mcast_group4" | "vrrp_mcast_group6", Some(text)) => {
            is_multicast(node, text, complain)
        }
        ("vrrp_garp_extra_if" | "vrrp_vmac_garp_intvl", _) => has_period(node, complain),
        // A time file that was named before stays.
        ("reload_time_file", None) => false,
        ("config_save_dir", Some(path)) => is_save_folder(path, complain),
        ("umask", _) => {
            match umask(&node.words) {
                Ok(mask) => global.umask = Some(mask),
                Err(problem) => complain(Kind::ValueInvalid, format!("umask: {problem}")),
            }
            global.umask.is_some()
        }
        ("vrrp_rx_bufs_policy", Some(_)) => is_buffer_policy(&node.words, complain),
        ("include_check", Some(_)) => {
            check_include_options(node, complain);
            true
        }
        _ => true,
    }
}

/// Reads `notification_email`.
fn recipients(node: &Node, global: &mut Global, complaints: &mut Vec<Complaint>) {
    for entry in &node.entries {
        global.email_recipients.extend(entry.words.iter().cloned());
    }
    if node.entries.is_empty() {
        complaints.push(
            Complaint::new(Kind::Other, "notification_email: the block is empty").at(node.end),
        );
    }
}

/// Replaces the number 0 by 1.
fn at_least_one(
    node: &Node,
    problem: &str,
    global: &mut Global,
    complain: &mut dyn FnMut(Kind, String),
) {
    if node.value == Value::Number(0) {
        complain(Kind::ValueInvalid, format!("{}: {problem}", node.word));
        global.numbers.insert(node.word, 1);
    }
}

fn real_time_priority(node: &Node, global: &mut Global, complain: &mut dyn FnMut(Kind, String)) {
    if let Value::Number(number) = node.value
        && !(1..=99).contains(&number)
    {
        complain(
            Kind::NumberOutOfRange,
            format!(
                "{}: {number} is not in 1 to 99; the nearer end is used",
                node.word
            ),
        );
        global.numbers.insert(node.word, number.clamp(1, 99));
    }
}

/// Whether all words are processors of this host.
fn are_processors(node: &Node, complain: &mut dyn FnMut(Kind, String)) -> bool {
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let range = Range::whole(0, i64::try_from(cpus).unwrap_or(1) - 1);
    let mut is_good = true;
    for word in &node.words {
        if value::number(word, range).problem.is_some() {
            is_good = false;
            complain(
                Kind::ValueInvalid,
                format!(
                    "{}: {word:?} is not a processor in {}",
                    node.word,
                    range.describe()
                ),
            );
        }
    }
    is_good
}

/// Checks the word of a statement that has one only.
fn check_word(node: &Node, word: &str, known: &str, complain: &mut dyn FnMut(Kind, String)) {
    if word != known {
        complain(
            Kind::UnknownValue,
            format!("{}: {word:?} is not {known}", node.word),
        );
    }
}

fn is_multicast(node: &Node, text: &str, complain: &mut dyn FnMut(Kind, String)) -> bool {
    let wants_ipv4 = node.word == "vrrp_mcast_group4";
    let is_good = text
        .parse::<IpAddr>()
        .is_ok_and(|address| address.is_multicast() && address.is_ipv4() == wants_ipv4);
    if !is_good {
        complain(
            Kind::BadAddress,
            format!(
                "{}: {text:?} is not a multicast address of its family",
                node.word
            ),
        );
    }
    is_good
}

/// Whether `vrrp_garp_extra_if` has seconds that can be used.
fn has_period(node: &Node, complain: &mut dyn FnMut(Kind, String)) -> bool {
    let period = ExtraPeriod::of_global(node.word, &node.words);
    if let Some((kind, problem)) = period.problem {
        complain(kind, problem);
    }
    period.value.is_some()
}

/// Whether a folder exists, or can be made because its parent does.
fn is_save_folder(path: &str, complain: &mut dyn FnMut(Kind, String)) -> bool {
    let path = Path::new(path);
    let parent = path.parent().filter(|it| !it.as_os_str().is_empty());
    let can_be_made = !path.exists() && parent.is_none_or(Path::is_dir);
    let is_good = path.is_dir() || can_be_made;
    if !is_good {
        let path = path.display();
        complain(
            Kind::Other,
            format!("config_save_dir: {path} is no directory, and its parent must exist"),
        );
    }
    is_good
}

/// Whether a statement that counts once was read before.
fn is_again(word: &str, global: &Global) -> bool {
    global.has(word) || (word == "nftables" && global.has("vrrp_iptables"))
}

/// Reads `umask`: a number as in C, or the names of permissions with `|` between them, with or
/// without blanks.
fn umask(words: &[String]) -> Result<u32, String> {
    let (first, rest) = words.split_first().ok_or("a value is missing")?;
    if first.starts_with(|c: char| c.is_ascii_digit()) {
        if !rest.is_empty() {
            return Err(format!(
                "one number is allowed, and {:?} follows it",
                rest.join(" ")
            ));
        }
        let mask = value::c_number(first).and_then(|mask| u32::try_from(mask).ok());
        return mask.filter(|mask| *mask <= 0o777).ok_or_else(|| {
            format!("{first:?} is not a number from 0 to 0777, octal with a leading 0")
        });
    }
    let mut mask = 0;
    // A word in quotes may contain blanks, but no name does.
    let text = words.join("\n");
    for name in text.split('|').map(|it| it.trim_matches('\n')) {
        let bit = PERMISSIONS.iter().rev().position(|it| *it == name);
        let bit = bit.ok_or_else(|| {
            let names = PERMISSIONS.join(", ");
            format!("{name:?} is not one of {names}, with \"|\" between them")
        })?;
        mask |= 1 << bit;
    }
    Ok(mask)
}

/// The names of permissions, highest bit first.
const PERMISSIONS: [&str; 9] = [
    "IRUSR", "IWUSR", "IXUSR", "IRGRP", "IWGRP", "IXGRP", "IROTH", "IWOTH", "IXOTH",
];

/// Checks `vrrp_rx_bufs_policy`: `MTU` or `ADVERT` in any case, or a size.
fn is_buffer_policy(words: &[String], complain: &mut dyn FnMut(Kind, String)) -> bool {
    let is_word = |word: &String| {
        ["MTU", "ADVERT"]
            .iter()
            .any(|it| word.eq_ignore_ascii_case(it))
    };
    let mut known = words.iter().filter(|word| is_word(word));
    let first = known.next();
    if known.any(|word| first.is_some_and(|first| !word.eq_ignore_ascii_case(first))) {
        complain(
            Kind::ValueInvalid,
            "vrrp_rx_bufs_policy: MTU and ADVERT exclude each other; MTU is used".into(),
        );
    }
    for word in words.iter().filter(|word| !is_word(word)) {
        if word.parse::<u32>().is_err() {
            complain(
                Kind::UnknownValue,
                format!("vrrp_rx_bufs_policy: {word:?} is not MTU, ADVERT or a number"),
            );
        }
    }
    words
        .iter()
        .any(|word| is_word(word) || word.parse::<u32>().is_ok())
}

fn check_include_options(node: &Node, complain: &mut dyn FnMut(Kind, String)) {
    let known = ["readable", "match", "wildcard_match", "brace_match"];
    for word in &node.words {
        if !known.contains(&word.as_str()) {
            complain(
                Kind::UnknownValue,
                format!("include_check: {word:?} is not {}", known.join(", ")),
            );
        }
    }
}

/// Reads `smtp_server`. Returns whether it is usable.
fn smtp_server(
    node: &Node,
    name: &str,
    global: &mut Global,
    complain: &mut dyn FnMut(Kind, String),
) -> bool {
    let server = resolve_server(name, node.word_at(1));
    if server.is_none() {
        complain(
            Kind::Other,
            format!("smtp_server: {name:?} is not an address or name with a port from 1 to 65535"),
        );
    }
    global.smtp_server = server.or(global.smtp_server);
    server.is_some()
}

/// An address or a name, with an optional port.
fn resolve_server(name: &str, port: Option<&str>) -> Option<(IpAddr, u16)> {
    let port = match port {
        None => 25,
        Some(port) => {
            let number = value::number(port, Range::whole(1, 65535));
            u16::try_from(number.value?).ok()?
        }
    };
    if let Ok(address) = name.parse() {
        return Some((address, port));
    }
    if name == "localhost" {
        return Some((Ipv4Addr::LOCALHOST.into(), port));
    }
    // As in inet_aton(3), the last number fills the remaining octets.
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        let parts: Option<Vec<u32>> = name.split('.').map(|part| part.parse().ok()).collect();
        return match parts?[..] {
            [all] => Some((Ipv4Addr::from_bits(all).into(), port)),
            [a @ 0..=255, rest @ 0..=0xff_ffff] => {
                Some((Ipv4Addr::from_bits(a << 24 | rest).into(), port))
            }
            [a @ 0..=255, b @ 0..=255, rest @ 0..=0xffff] => {
                Some((Ipv4Addr::from_bits(a << 24 | b << 16 | rest).into(), port))
            }
            _ => None,
        };
    }
    let mut found = (name, port).to_socket_addrs().ok()?;
    found.next().map(|address| (address.ip(), port))
}

/// The longest timeout of IPVS: 31 days, in seconds.
const LONGEST_TIMEOUT: i64 = 31 * 24 * 3600;

fn lvs_timeouts(node: &Node, global: &mut Global, complain: &mut dyn FnMut(Kind, String)) -> bool {
    let mut found_one = false;
    let mut words = node.words.iter();
    while let Some(word) = words.next() {
        let place = ["tcp", "tcpfin", "udp"].iter().position(|it| it == word);
        let (Some(place), Some(text)) = (place, words.as_slice().first()) else {
            if place.is_some() || words.as_slice().is_empty() {
                break;
            }
            complain(
                Kind::UnknownValue,
                format!("lvs_timeouts: {word:?} is not tcp, tcpfin or udp"),
            );
            return found_one;
        };
        words.next();
        let number = value::number(text, Range::whole(0, LONGEST_TIMEOUT));
        match number.value.and_then(|value| u32::try_from(value).ok()) {
            Some(value) if number.problem.is_none() => {
                found_one = true;
                if let Some(slot) = global.lvs_timeouts.get_mut(place) {
                    *slot = Some(value);
                }
            }
            _ => complain(
                Kind::ValueInvalid,
                format!("lvs_timeouts: {word} {text:?} is not a number of seconds"),
            ),
        }
    }
    if !found_one {
        complain(
            Kind::MissingParameter,
            "lvs_timeouts needs at least one of tcp, tcpfin and udp with seconds".into(),
        );
    }
    found_one
}
