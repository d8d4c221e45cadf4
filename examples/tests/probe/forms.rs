//! Probes as a file spells them.

use std::time::Duration;

use ipvs_netlink::pool::Config;
use serde::Deserialize;
use vrrp_examples::probe::{
    Body, BytePattern, Bytes, Dns, Http, HttpVersion, Icmp, Method, Pattern, Probe, Question,
    Script, Smtp, Source, Tcp, Udp, name_places,
};

#[derive(Deserialize)]
struct File {
    probe: Probe,
}

fn read(probe: &str) -> Result<Probe, String> {
    let file = toml::from_str::<File>(&format!("probe = {probe}"));
    let file = file.map_err(|error| error.message().to_owned())?;
    Ok(file.probe)
}

#[test]
fn a_name_alone_is_a_probe_with_its_defaults() {
    for (name, expected) in [
        ("tcp", Probe::Tcp(Tcp::default())),
        ("http", Probe::Http(Box::default())),
        ("dns", Probe::Dns(Dns::default())),
        ("udp", Probe::Udp(Udp::default())),
        ("smtp", Probe::Smtp(Smtp::default())),
        ("icmp", Probe::Icmp(Icmp::default())),
    ] {
        assert_eq!(read(&format!("{name:?}")).unwrap(), expected, "{name}");
        assert_eq!(read(&format!("{{ {name} = {{}} }}")).unwrap(), expected);
    }
}

#[test]
fn each_setting_of_http_is_read() {
    let probe = read(
        r#"{ http = { path = "/a?b=c", host = "web.example", version = "1.0", method = "HEAD",
        status = "200, 300-302", md5 = "d41d8cd98f00b204e9800998ecf8427e", body_limit = 5,
        body = { regex = "error", matches = false, from = 1, to = 9 }, accept_short_body = true,
        step_limit = "3s", headers = { X-Probe = "yes" }, tls = { name = "web.example" },
        source = { address = "127.0.0.1", mark = 3, interface = "lo" } } }"#,
    );
    let Probe::Http(http) = probe.unwrap() else {
        panic!("another probe");
    };
    assert!(http.tls.is_some());
    let expected = Http {
        source: Source {
            address: Some([127, 0, 0, 1].into()),
            mark: Some(3),
            interface: Some("lo".into()),
            port: None,
        },
        tls: http.tls.clone(),
        version: HttpVersion::Http10,
        method: Method::Head,
        path: "/a?b=c".parse().unwrap(),
        host: Some("web.example".parse().unwrap()),
        headers: [("X-Probe".parse().unwrap(), "yes".parse().unwrap())].into(),
        status: "200,300-302".parse().unwrap(),
        md5: Some("d41d8cd98f00b204e9800998ecf8427e".parse().unwrap()),
        body: Some(Body {
            must_match: false,
            from: 1,
            to: Some(9),
            ..Body::new(Pattern::new("error").unwrap())
        }),
        body_limit: 5,
        accept_short_body: true,
        step_limit: Some(Duration::from_secs(3)),
    };
    assert_eq!(*http, expected);
    let plain = read("{ http = { tls = false, status = 204 } }").unwrap();
    let expected = Http {
        status: "204".parse().unwrap(),
        ..Http::default()
    };
    assert_eq!(plain, Probe::Http(Box::new(expected)));
}

#[test]
fn other_probes_are_read_with_their_settings() {
    let dns = Dns {
        question: Question::new("example.com", "AAAA").unwrap(),
        require_records: true,
        ..Dns::default()
    };
    let text = r#"{ dns = { name = "example.com", kind = "AAAA", require_records = true } }"#;
    assert_eq!(read(text).unwrap(), Probe::Dns(dns));
    let by_address = Dns {
        question: Question::new("example.com", "A").unwrap(),
        ..Dns::default()
    };
    let text = r#"{ dns = { name = "example.com" } }"#;
    assert_eq!(read(text).unwrap(), Probe::Dns(by_address));

    let udp = Udp {
        payload: Bytes(vec![0, 0xff]),
        require_reply: true,
        reply: "01 XX".parse::<BytePattern>().unwrap(),
        shortest: 2,
        longest: Some(9),
        ..Udp::default()
    };
    let text = r#"{ udp = { payload = { hex = "00 ff" }, reply = "01 XX", longest = 9 } }"#;
    assert_eq!(read(text).unwrap(), Probe::Udp(udp));

    let mut script = Script::new(vec!["/bin/check".into(), "two words".into()]);
    script.weighs = true;
    let text = r#"{ script = { command = "/bin/check 'two words'", weighs = true } }"#;
    assert_eq!(read(text).unwrap(), Probe::Script(Box::new(script)));
}

#[test]
fn each_wrong_setting_is_named_with_its_remedy() {
    for (text, expected) in [
        (
            "\"ftp\"",
            "unknown variant `ftp`, expected one of `tcp`, `http`, `dns`, `udp`, `smtp`, `icmp`",
        ),
        ("\"script\"", "script: missing command"),
        ("3", "expected a probe such as \"tcp\""),
        ("{ http = { paht = \"/\" } }", "unknown field `paht`"),
        (
            "{ http = { path = \"health\" } }",
            "use a path that begins with /",
        ),
        (
            "{ http = { path = \"/a b\" } }",
            "use a path that begins with /",
        ),
        (
            "{ http = { status = \"20\" } }",
            "use codes from 100 to 599",
        ),
        (
            "{ http = { md5 = \"12\" } }",
            "use the 32 hexadecimal digits",
        ),
        ("{ http = { body = \"(\" } }", "regular expression \"(\": "),
        (
            "{ http = { host = \"a\\nb\" } }",
            "without control characters",
        ),
        (
            "{ http = { tls = { ca = \"/nowhere\", verify = true } } }",
            "/nowhere: No such file",
        ),
        (
            "{ http = { tls = { key = \"/nowhere\" } } }",
            "use both or none of them",
        ),
        (
            "{ http = { tls = { name = \"a b\" } } }",
            "use a DNS name or an IP address",
        ),
        ("{ dns = { name = \"a..b\" } }", "use a domain name"),
        (
            "{ dns = { kind = \"B\" } }",
            "use a type of records such as A",
        ),
        (
            "{ udp = { payload = { hex = \"0\" } } }",
            "use pairs of hexadecimal digits",
        ),
        (
            "{ udp = { reply = \"0g\" } }",
            "use pairs of hexadecimal digits or X",
        ),
        (
            "{ script = { command = \"check\" } }",
            "use the absolute path of a program",
        ),
        (
            "{ script = { command = \"/a 'b\" } }",
            "a quotation has no end",
        ),
        (
            "{ script = { command = \"/a\", user = \"nobody-at-all\" } }",
            "there is no such user",
        ),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn a_script_of_a_service_names_each_of_its_servers() {
    let text = r#"
        [[services]]
        service = "tcp 192.0.2.1:80"
        checks = [{ probe = "tcp" }, { probe = { script = { command = "/bin/check" } } }]
        servers = [{ address = "10.0.0.1:80" }, { address = "10.0.0.2:80", checks = [{ probe = "icmp" }] }]
        [[services]]
        service = "tcp 192.0.2.1:81"
        checks = [{ probe = "tcp" }]
        servers = [{ address = "10.0.0.1:80" }]
    "#;
    let mut config: Config<Probe> = toml::from_str(text).unwrap();
    name_places(&mut config);
    let [with_script, without] = config.services.as_slice() else {
        panic!("two services");
    };
    assert!(with_script.checks.is_empty());
    let counts: Vec<_> = with_script
        .servers
        .iter()
        .map(|it| it.checks.len())
        .collect();
    assert_eq!(counts, [2, 3]);
    for server in &with_script.servers {
        let [Probe::Script(script)] = server.checks[1].probes.as_slice() else {
            panic!("a script");
        };
        let place = script.place.unwrap();
        assert_eq!(place.service, with_script.key());
        assert_eq!(place.server, server.key());
    }
    assert_eq!(without.checks.len(), 1);
}
