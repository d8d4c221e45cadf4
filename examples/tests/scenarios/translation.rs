//! Translates the keepalived.conf of a scenario to TOML with the same meaning. It knows the words
//! that the scenarios use, and panics on others.

use std::fmt::Write;

use libtest_mimic::Trial;

/// A word with its arguments, and the lines of its block.
#[derive(Debug)]
struct Entry {
    words: Vec<String>,
    block: Vec<Entry>,
}

impl Entry {
    fn find(&self, word: &str) -> Option<&Self> {
        self.block.iter().find(|entry| entry.words[0] == word)
    }

    fn has(&self, word: &str) -> bool {
        self.find(word).is_some()
    }

    /// The first argument of a word.
    fn value(&self, word: &str) -> Option<&str> {
        self.find(word)?.words.get(1).map(String::as_str)
    }
}

/// Translates the successive configurations of one host. Each gets the scripts of all, because the
/// scripts of a server that a reload removes still run.
pub(super) fn translate(texts: &[String]) -> Vec<String> {
    let mut notes = Vec::new();
    let all: Vec<_> = texts
        .iter()
        .map(|text| services(text, &mut notes))
        .collect();
    notes.sort();
    notes.dedup();
    let mut head = String::from("on_stop = \"remove\"\n");
    if !notes.is_empty() {
        // For keepalived, a server that is up from the start is not an event.
        let script = format!(
            "case \"$EVENT $REASON\" in \"server-up configuration\") exit;; esac; \
             case \"$EVENT $SERVICE $SERVER $TEXT\" in {} esac",
            notes.concat()
        );
        writeln!(head, "notify = [\"/bin/sh\", \"-c\", '''{script}''']").unwrap();
    }
    all.iter().map(|services| head.clone() + services).collect()
}

/// The services and routers of a configuration, without the scripts.
fn services(text: &str, notes: &mut Vec<String>) -> String {
    let mut tokens = tokens(text).into_iter().peekable();
    let entries = block(&mut tokens);
    let mut services = String::new();
    for entry in &entries {
        match entry.words[0].as_str() {
            "global_defs" => {
                if let Some(sync) = entry.find("lvs_sync_daemon") {
                    let (interface, id) = (&sync.words[1], &sync.words[4]);
                    write!(services, "[sync]\ninterface = {interface:?}\nid = {id}\n").unwrap();
                }
            }
            "vrrp_instance" => services += &routers(entry),
            "virtual_server_group" => {}
            "virtual_server" => {
                for (place, key) in keys(entry, &entries).iter().enumerate() {
                    let mut more = Vec::new();
                    services += &service(entry, key, &mut more);
                    // Notifications concern only the first service of a group.
                    if place == 0 {
                        notes.append(&mut more);
                    }
                }
            }
            other => panic!("{other}"),
        }
    }
    services
}

fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    for line in text.lines() {
        let line = line.replace('{', " { ").replace('}', " } ");
        tokens.extend(shlex::split(&line).unwrap());
        tokens.push("\n".into());
    }
    tokens
}

fn block(tokens: &mut std::iter::Peekable<std::vec::IntoIter<String>>) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut words = Vec::new();
    loop {
        let token = tokens.next();
        let is_end = token.as_deref().is_none_or(|token| token == "}");
        match token.as_deref() {
            Some("{") => {
                let block = block(tokens);
                let words = std::mem::take(&mut words);
                entries.push(Entry { words, block });
            }
            Some("\n" | "}") | None if !words.is_empty() => {
                let words = std::mem::take(&mut words);
                entries.push(Entry {
                    words,
                    block: Vec::new(),
                });
            }
            Some("\n" | "}") | None => {}
            Some(word) => words.push(word.to_owned()),
        }
        if is_end {
            return entries;
        }
    }
}

/// The keys of the services of a virtual server.
fn keys(server: &Entry, entries: &[Entry]) -> Vec<String> {
    let protocol = server.value("protocol").unwrap().to_lowercase();
    if server.words[1] != "group" {
        return vec![format!(
            "{protocol} {}:{}",
            server.words[1], server.words[2]
        )];
    }
    let group = entries.iter().find(|entry| {
        entry.words[0] == "virtual_server_group" && entry.words[1] == server.words[2]
    });
    let mut keys = Vec::new();
    for entry in &group.unwrap().block {
        if entry.words[0] == "fwmark" {
            keys.push(format!("mark {}", entry.words[1]));
            continue;
        }
        let (first, last) = entry.words[0]
            .split_once('-')
            .unwrap_or((&entry.words[0], ""));
        let (net, host) = first.rsplit_once('.').unwrap();
        let host: u8 = host.parse().unwrap();
        let last = if last.is_empty() {
            host
        } else {
            last.parse().unwrap()
        };
        for host in host..=last {
            keys.push(format!("{protocol} {net}.{host}:{}", entry.words[1]));
        }
    }
    keys
}

fn routers(instance: &Entry) -> String {
    let mut text = String::new();
    let vrid: u8 = instance
        .value("virtual_router_id")
        .unwrap()
        .parse()
        .unwrap();
    let addresses = &instance.find("virtual_ipaddress").unwrap().block;
    for (place, address) in addresses.iter().enumerate() {
        // An address on another interface gets a router of its own, in the same sync group.
        let interface = match address.words.get(2) {
            Some(interface) => interface,
            None => instance.value("interface").unwrap(),
        };
        let vrid = vrid + u8::try_from(place).unwrap();
        let priority = instance.value("priority").unwrap();
        let address = &address.words[0];
        write!(
            text,
            "[[routers]]\ninterface = {interface:?}\nvrid = {vrid}\npriority = {priority}\n\
             addresses = [{address:?}]\n"
        )
        .unwrap();
    }
    text
}

fn scheduler(server: &Entry) -> &str {
    server.value("lvs_sched").unwrap()
}

fn service(server: &Entry, key: &str, notes: &mut Vec<String>) -> String {
    let mut text = format!(
        "[[services]]\nservice = {key:?}\nscheduler = {:?}\npanic = \"off\"\ndrain = false\n",
        scheduler(server)
    );
    for (word, setting) in [
        ("inhibit_on_failure", "inhibit_on_failure"),
        ("omega", "omega"),
    ] {
        if server.has(word) {
            writeln!(text, "{setting} = true").unwrap();
        }
    }
    if let Some(quorum) = server.value("quorum") {
        let hysteresis = server.value("hysteresis").unwrap_or("0");
        writeln!(
            text,
            "quorum = {{ at_least = {quorum}, hysteresis = {hysteresis} }}"
        )
        .unwrap();
    }
    if let Some(sorry) = server.find("sorry_server") {
        let inhibit = server.has("sorry_server_inhibit");
        let address = format!("{}:{}", sorry.words[1], sorry.words[2]);
        writeln!(
            text,
            "sorry_server = {{ address = {address:?}, inhibit = {inhibit} }}"
        )
        .unwrap();
    }
    if let Some(timeout) = server.value("persistence_timeout") {
        let netmask = server.value("persistence_granularity").unwrap();
        writeln!(
            text,
            "persistence = {{ timeout = {timeout}, netmask = {netmask:?} }}"
        )
        .unwrap();
    }
    for (event, word) in [
        ("quorum-gained", "quorum_up"),
        ("quorum-lost", "quorum_down"),
    ] {
        if let Some(command) = server.value(word) {
            notes.push(format!("\"{event} {key} \"*) exec {command};; "));
        }
    }
    let real = server.block.iter();
    for real in real.filter(|entry| entry.words[0] == "real_server") {
        let address = format!("{}:{}", real.words[1], real.words[2]);
        let weight = real.value("weight").unwrap_or("1");
        write!(
            text,
            "[[services.servers]]\naddress = {address:?}\nweight = {weight}\n"
        )
        .unwrap();
        if let Some(command) = real.value("notify_up") {
            notes.push(format!(
                "\"server-up {key} {address} \"*) exec {command};; "
            ));
        }
        if let Some(command) = real.value("notify_down") {
            notes.push(format!(
                "\"server-down {key} {address} \"*|\"server-removed {key} {address} \"*\"was up\"*) \
                 exec {command};; "
            ));
        }
        for check in &real.block {
            if check.words[0].ends_with("_CHECK") || check.words[0].ends_with("_GET") {
                text += &self::check(server, check);
            }
        }
    }
    text
}

/// The table of `docs/pool.md`, "keepalived's words", as code.
fn check(server: &Entry, check: &Entry) -> String {
    let delay = server.value("delay_loop").unwrap();
    let warmup = server.value("warmup").unwrap_or(delay);
    let initial = if server.has("alpha") { "down" } else { "up" };
    let limit = check.value("connect_timeout").unwrap_or("5");
    let number = |word: &str, default: u32| {
        let value = check.value(word).map(|value| value.parse().unwrap());
        value.unwrap_or(default)
    };
    let seconds: u32 = delay.parse().unwrap();
    let mut text = format!(
        "[[services.servers.checks]]\ninterval = {delay}\nrising_interval = {delay}\nnoise = 0\n\
         spread = {warmup}\ninitial = {initial:?}\n"
    );
    let (probe, retry, before, rise, more) = match check.words[0].as_str() {
        "TCP_CHECK" => ("\"tcp\"".to_owned(), 1, 1, 1, ""),
        "PING_CHECK" => ("\"icmp\"".to_owned(), 1, 1, 1, ""),
        "HTTP_GET" | "SSL_GET" => (http(check), 1, 3, 2, ""),
        "DNS_CHECK" => (dns(check), 3, seconds, 1, ""),
        "UDP_CHECK" => (udp(check), 1, 1, 1, ""),
        "SMTP_CHECK" => {
            let helo = check.value("helo_name").unwrap();
            let probe = format!("{{ smtp = {{ helo = {helo:?} }} }}");
            let more = "first_result = \"counts\"\nretry_while_down = true\n";
            (probe, 1, 1, 1, more)
        }
        "MISC_CHECK" => (script(check), 0, 1, 1, "pace = \"after-start\"\n"),
        other => panic!("{other}"),
    };
    let before = number("delay_before_retry", before);
    let down = if rise == 2 {
        before.max(seconds)
    } else {
        seconds
    };
    let limit = check.value("misc_timeout").unwrap_or(limit);
    write!(
        text,
        "probe = {probe}\nfall = {}\nrise = {rise}\nfast_interval = {before}\n\
         down_interval = {down}\ntime_limit = {limit}\n{more}",
        number("retry", retry) + 1
    )
    .unwrap();
    text
}

fn http(check: &Entry) -> String {
    let url = check.find("url").unwrap();
    let mut settings = vec![format!("path = {:?}", url.value("path").unwrap())];
    if let Some(status) = url.value("status_code") {
        settings.push(format!("status = {status}"));
    }
    if let Some(digest) = url.value("digest") {
        settings.push(format!("md5 = {digest:?}"));
    }
    let host = url.value("virtualhost");
    settings.extend(host.map(|host| format!("host = {host:?}")));
    if check.words[0] == "SSL_GET" {
        let name = host.filter(|_| check.has("enable_sni"));
        settings.push(match name {
            Some(name) => format!("tls = {{ name = {name:?} }}"),
            None => "tls = true".into(),
        });
    }
    format!("{{ http = {{ {} }} }}", settings.join(", "))
}

fn dns(check: &Entry) -> String {
    match check.value("name") {
        Some(name) => {
            let kind = check.value("type").unwrap_or("SOA");
            format!("{{ dns = {{ name = {name:?}, kind = {kind:?} }} }}")
        }
        None => "\"dns\"".into(),
    }
}

fn udp(check: &Entry) -> String {
    let mut settings = Vec::new();
    if let Some(payload) = check.value("payload") {
        settings.push(format!("payload = {{ hex = {payload:?} }}"));
    }
    if let Some(reply) = check.value("require_reply") {
        settings.push(format!("reply = {reply:?}, shortest = 0"));
    }
    format!("{{ udp = {{ {} }} }}", settings.join(", "))
}

fn script(check: &Entry) -> String {
    let command = check.value("misc_path").unwrap();
    let weighs = check.has("misc_dynamic");
    format!("{{ script = {{ command = {command:?}, weighs = {weighs} }} }}")
}

/// The tests of this module.
pub(super) fn trials() -> Vec<Trial> {
    let run = || {
        a_configuration_is_translated();
        Ok(())
    };
    vec![Trial::test(
        "translation::a_configuration_is_translated",
        run,
    )]
}

fn a_configuration_is_translated() {
    let text = "virtual_server 10.0.0.100 80 {\n delay_loop 2\n lvs_sched rr\n protocol TCP\n \
                warmup 0\n real_server 10.1.0.11 80 {\n  weight 3\n  notify_up \"x up\"\n  \
                TCP_CHECK { connect_timeout 1 }\n }\n}";
    let toml = translate(&[text.to_owned()]).remove(0);
    let value: toml::Value = toml::from_str(&toml).unwrap();
    let server = &value["services"][0]["servers"][0];
    assert_eq!(server["weight"].as_integer(), Some(3), "{toml}");
    assert_eq!(server["checks"][0]["time_limit"].as_integer(), Some(1));
    let notify = value["notify"][2].as_str().unwrap();
    assert!(notify.contains("exec x up;;"), "{notify}");
}
