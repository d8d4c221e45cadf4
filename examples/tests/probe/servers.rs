//! Probes against real servers from Debian, in a namespace.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use ipvs_netlink::pool::{FailureKind, Outcome};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tempfile::TempDir;
use vrrp_examples::probe::{
    Body, Dns, Http, HttpVersion, Icmp, Pattern, Probe, Question, Smtp, Source, Tls, TlsSettings,
    Udp, probe,
};
use vrrp_lab::{Host, Lan};

use super::{LIMIT, at, kind, lan, run};

/// A server that runs on one host, with a client on another.
struct Server {
    client: Host,
    _other: Host,
    child: Child,
    folder: TempDir,
    _lan: Lan,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Starts a server. `make` writes its files into a folder, and returns its command line.
    fn start(make: impl FnOnce(&Path) -> Vec<String>) -> Self {
        let (lan, client, server) = lan();
        let folder = tempfile::tempdir().unwrap();
        let line = make(folder.path());
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let mut command = server.namespace().command(&line[0]);
        let child = command
            .args(&line[1..])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self {
            client,
            _other: server,
            child,
            folder,
            _lan: lan,
        }
    }

    fn probe(&self, attempt: &Probe, target: &str) -> Outcome {
        run(&self.client, async || {
            probe(attempt, at(target), Instant::now() + LIMIT).await
        })
    }

    /// Makes an attempt until the server listens.
    #[track_caller]
    fn first(&self, attempt: &Probe, target: &str) -> Outcome {
        let end = Instant::now() + LIMIT;
        loop {
            let outcome = self.probe(attempt, target);
            let refused = matches!(&outcome, Outcome::Failure(failure) if failure.kind == FailureKind::Refused);
            if !refused {
                return outcome;
            }
            if Instant::now() > end {
                let log = fs::read_to_string(self.folder.path().join("log")).unwrap();
                panic!("{outcome}\n{log}");
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(String::from).collect()
}

/// Creates a self-signed certificate and its key in a folder.
fn certificate(folder: &Path, name: &str, alternative: &str) {
    let mut command = Command::new("openssl");
    let output = command
        .args(words(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2",
        ))
        .args(["-subj", &format!("/CN={name}"), "-addext", alternative])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(folder.join(format!("{name}.key")))
        .arg("-out")
        .arg(folder.join(format!("{name}.pem")))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

fn https(tls: TlsSettings) -> Probe {
    Probe::Http(Box::new(Http {
        tls: Some(Tls::new(tls).unwrap()),
        ..Http::default()
    }))
}

const OK: &str = "200 OK";

/// nginx with four sites: plain HTTP, HTTPS by default and by name, and HTTPS with client
/// certificates.
fn nginx() -> Server {
    Server::start(|folder| {
        certificate(folder, "default", "subjectAltName=IP:192.0.2.2");
        certificate(folder, "web.example", "subjectAltName=DNS:web.example");
        certificate(folder, "client", "subjectAltName=DNS:client");
        let dir = folder.display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {dir}/{name};\n"))
            .concat();
        let config = format!(
            "daemon off; master_process off; pid {dir}/pid; error_log stderr; events {{}}
            http {{
                access_log off; {temporary}
                server {{
                    listen 192.0.2.2:80;
                    location / {{ return 200 \"hello\"; }}
                    location /gone {{ return 404; }}
                    location /host {{ return 200 \"$host $server_protocol\"; }}
                }}
                server {{
                    listen 192.0.2.2:443 ssl default_server;
                    ssl_certificate {dir}/default.pem; ssl_certificate_key {dir}/default.key;
                    location / {{ return 200 \"[$ssl_server_name]\"; }}
                }}
                server {{
                    listen 192.0.2.2:443 ssl; server_name web.example;
                    ssl_certificate {dir}/web.example.pem; ssl_certificate_key {dir}/web.example.key;
                    location / {{ return 200 \"[$ssl_server_name]\"; }}
                }}
                server {{
                    listen 192.0.2.2:444 ssl;
                    ssl_certificate {dir}/default.pem; ssl_certificate_key {dir}/default.key;
                    ssl_client_certificate {dir}/client.pem; ssl_verify_client on;
                    location / {{ return 200 \"$ssl_client_verify\"; }}
                }}
            }}"
        );
        fs::write(folder.join("conf"), config).unwrap();
        words(&format!("nginx -e stderr -p {dir} -c {dir}/conf"))
    })
}

#[test]
fn nginx_answers_http_probes() {
    let server = nginx();
    let ok = Outcome::Success(OK.into());
    let content = |pattern: &str| Some(Body::new(Pattern::new(pattern).unwrap()));
    let hello = Http {
        md5: Some("5d41402abc4b2a76b9719d911017c592".parse().unwrap()),
        ..Http::default()
    };
    assert_eq!(
        server.first(&Probe::Http(Box::new(hello)), "192.0.2.2:80"),
        ok
    );
    for (version, expected) in [
        (HttpVersion::Http10, "^web.example HTTP/1.0$"),
        (HttpVersion::Http11, "^web.example HTTP/1.1$"),
    ] {
        let by_host = Http {
            version,
            path: "/host".parse().unwrap(),
            host: Some("web.example".parse().unwrap()),
            body: content(expected),
            ..Http::default()
        };
        assert_eq!(
            server.probe(&Probe::Http(Box::new(by_host)), "192.0.2.2:80"),
            ok
        );
    }
    let gone = |status: &str| {
        Probe::Http(Box::new(Http {
            path: "/gone".parse().unwrap(),
            status: status.parse().unwrap(),
            ..Http::default()
        }))
    };
    let outcome = server.probe(&gone("200-299"), "192.0.2.2:80");
    assert_eq!(kind(&outcome), FailureKind::Answer);
    assert!(outcome.to_string().contains("404 Not Found"), "{outcome}");
    let outcome = server.probe(&gone("404"), "192.0.2.2:80");
    assert_eq!(outcome, Outcome::Success("404 Not Found".into()));
}

#[test]
fn nginx_answers_https_probes() {
    let server = nginx();
    let ok = Outcome::Success(OK.into());
    let content = |pattern: &str| Some(Body::new(Pattern::new(pattern).unwrap()));
    // nginx listens once it answers.
    server.first(&Probe::Http(Box::default()), "192.0.2.2:80");
    // Without verification any certificate is accepted. The name is sent only if there is one.
    for (name, expected) in [
        (None, r"^\[\]$"),
        (Some("web.example"), r"^\[web.example\]$"),
    ] {
        let tls = TlsSettings {
            name: name.map(String::from),
            ..TlsSettings::default()
        };
        let probe = Probe::Http(Box::new(Http {
            tls: Some(Tls::new(tls).unwrap()),
            body: content(expected),
            ..Http::default()
        }));
        assert_eq!(server.probe(&probe, "192.0.2.2:443"), ok, "{name:?}");
    }
    let verified = |name: Option<&str>, ca: &str| {
        https(TlsSettings {
            name: name.map(String::from),
            verify: true,
            ca: Some(server.folder.path().join(ca)),
            ..TlsSettings::default()
        })
    };
    for (name, ca) in [
        (None, "default.pem"),
        (Some("web.example"), "web.example.pem"),
    ] {
        let outcome = server.probe(&verified(name, ca), "192.0.2.2:443");
        assert_eq!(outcome, ok, "{name:?}");
    }
    for (name, ca) in [
        (None, "web.example.pem"),
        (Some("web.example"), "default.pem"),
        (Some("other.example"), "default.pem"),
    ] {
        let outcome = server.probe(&verified(name, ca), "192.0.2.2:443");
        assert_eq!(kind(&outcome), FailureKind::Tls, "{name:?} {ca}: {outcome}");
    }
    let with_client = https(TlsSettings {
        certificate: Some(server.folder.path().join("client.pem")),
        key: Some(server.folder.path().join("client.key")),
        ..TlsSettings::default()
    });
    assert_eq!(server.probe(&with_client, "192.0.2.2:444"), ok);
    let file = |name: &str| server.folder.path().join(name);
    encrypt(&file("client.key"), &file("encrypted.key"));
    let with_password = https(TlsSettings {
        certificate: Some(file("client.pem")),
        key: Some(file("encrypted.key")),
        password: Some(PASSWORD.into()),
        ..TlsSettings::default()
    });
    assert_eq!(server.probe(&with_password, "192.0.2.2:444"), ok);
    let without = server.probe(&https(TlsSettings::default()), "192.0.2.2:444");
    assert!(without.to_string().contains("400 Bad Request"), "{without}");
}

const PASSWORD: &str = "a long secret";

/// Encrypts a key, as OpenSSL does by default.
fn encrypt(key: &Path, encrypted: &Path) {
    let mut command = Command::new("openssl");
    let command = command.args(["pkcs8", "-topk8", "-passout", &format!("pass:{PASSWORD}")]);
    let output = command
        .arg("-in")
        .arg(key)
        .arg("-out")
        .arg(encrypted)
        .output();
    let output = output.unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn an_encrypted_key_that_cannot_be_used_is_named_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    certificate(folder.path(), "client", "subjectAltName=DNS:client");
    encrypt(&file("client.key"), &file("encrypted.key"));
    let mut command = Command::new("openssl");
    let command = command.args(words("ec -aes256 -passout pass:x"));
    let command = command.arg("-in").arg(file("client.key"));
    let output = command.arg("-out").arg(file("old.key")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let error = |key: &str, password: Option<&str>| {
        let tls = Tls::new(TlsSettings {
            certificate: Some(file("client.pem")),
            key: Some(file(key)),
            password: password.map(Into::into),
            ..TlsSettings::default()
        });
        tls.unwrap_err().to_string()
    };
    for (key, password, part) in [
        ("encrypted.key", None, "name its password"),
        ("encrypted.key", Some("wrong"), "does not decrypt it"),
        ("old.key", Some("x"), "openssl pkcs8 -topk8"),
    ] {
        let error = error(key, password);
        assert!(error.contains(part) && error.contains(key), "{error}");
    }
}

/// Serves one answer over TLS. Returns whether the client announced the end of the connection.
fn serve_once(folder: &Path, listener: &TcpListener) -> bool {
    let read = |name: &str| fs::read(folder.join(name)).unwrap();
    let chain = CertificateDer::pem_slice_iter(&read("one.pem"))
        .collect::<Result<Vec<_>, _>>()
        .unwrap();
    let key = PrivateKeyDer::from_pem_slice(&read("one.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let (stream, _) = listener.accept().unwrap();
    let connection = ServerConnection::new(Arc::new(config)).unwrap();
    let mut stream = StreamOwned::new(connection, stream);
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        request.push(byte[0]);
    }
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
    stream.write_all(answer).unwrap();
    // An end of the connection that was not announced is an error.
    matches!(stream.read(&mut byte), Ok(0))
}

#[test]
fn the_end_of_a_tls_connection_is_announced_at_once() {
    let folder = tempfile::tempdir().unwrap();
    certificate(folder.path(), "one", "subjectAltName=DNS:one");
    // The body is read, or is not read if the status is not the expected one.
    for status in ["200", "404"] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = listener.local_addr().unwrap();
        let attempt = Probe::Http(Box::new(Http {
            tls: Some(Tls::new(TlsSettings::default()).unwrap()),
            status: status.parse().unwrap(),
            ..Http::default()
        }));
        let is_announced = thread::scope(|scope| {
            let server = scope.spawn(|| serve_once(folder.path(), &listener));
            let outcome = super::attempt(&attempt, target, LIMIT);
            assert_eq!(outcome == Outcome::Success(OK.into()), status == "200");
            server.join().unwrap()
        });
        assert!(is_announced, "{status}");
    }
}

#[test]
fn a_certificate_that_changed_makes_another_tls() {
    let folder = tempfile::tempdir().unwrap();
    let settings = TlsSettings {
        verify: true,
        ca: Some(folder.path().join("one.pem")),
        ..TlsSettings::default()
    };
    certificate(folder.path(), "one", "subjectAltName=DNS:one");
    let first = Tls::new(settings.clone()).unwrap();
    assert_eq!(first, Tls::new(settings.clone()).unwrap());
    certificate(folder.path(), "one", "subjectAltName=DNS:one");
    assert_ne!(first, Tls::new(settings).unwrap());
}

#[test]
fn haproxy_answers_an_http_probe() {
    let server = Server::start(|folder| {
        let config = "defaults
            mode http
            timeout client 10s
            timeout connect 10s
            timeout server 10s
        frontend main
            bind 192.0.2.2:80
            http-request return status 200 content-type text/plain string \"up\" if { path /up }
            http-request return status 503 content-type text/plain string \"down\"\n";
        fs::write(folder.join("conf"), config).unwrap();
        words(&format!("haproxy -db -f {}/conf", folder.display()))
    });
    let path = |path: &str| {
        Probe::Http(Box::new(Http {
            path: path.parse().unwrap(),
            body: Some(Body::new(Pattern::new("^up$").unwrap())),
            ..Http::default()
        }))
    };
    let outcome = server.first(&path("/up"), "192.0.2.2:80");
    assert_eq!(outcome, Outcome::Success(OK.into()));
    let outcome = server.probe(&path("/"), "192.0.2.2:80");
    assert_eq!(kind(&outcome), FailureKind::Answer);
    assert!(outcome.to_string().contains("503"), "{outcome}");
}

#[test]
fn dnsmasq_answers_a_dns_probe() {
    let server = Server::start(|_| {
        words(
            "dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts --user=root
            --pid-file= --listen-address=192.0.2.2 --bind-interfaces --cache-size=0
            --host-record=up.example,192.0.2.9 --local=/up.example/ --local=/nx.example/",
        )
    });
    let ask = |name: &str, kind: &str| {
        Probe::Dns(Dns {
            question: Question::new(name, kind).unwrap(),
            require_records: true,
            ..Dns::default()
        })
    };
    let outcome = server.first(&ask("up.example", "A"), "192.0.2.2:53");
    assert_eq!(outcome, Outcome::Success("NOERROR, 1 records".into()));
    let outcome = server.probe(&ask("up.example", "AAAA"), "192.0.2.2:53");
    assert!(
        outcome.to_string().contains("NOERROR without records"),
        "{outcome}"
    );
    let outcome = server.probe(&ask("a.nx.example", "A"), "192.0.2.2:53");
    assert_eq!(kind(&outcome), FailureKind::Answer);
    assert!(outcome.to_string().contains("NXDOMAIN"), "{outcome}");
    let udp = Probe::Udp(Udp::default());
    assert_eq!(
        server.probe(&udp, "192.0.2.2:54").to_string(),
        "refused (Connection refused (os error 111))"
    );
}

#[test]
fn a_mail_server_answers_an_smtp_probe() {
    let server = Server::start(|_| words("/usr/bin/python3 -m aiosmtpd -n -l 192.0.2.2:25"));
    let outcome = server.first(&Probe::Smtp(Smtp::default()), "192.0.2.2:25");
    let text = outcome.to_string();
    assert!(
        text.starts_with("success (220 ") && text.contains("SMTP"),
        "{text}"
    );
}

#[test]
fn icmp_is_answered_over_both_kinds_of_socket_and_both_families() {
    let (_lan, client, server) = lan();
    let ping = |target: &str, source: Source, limit: Duration| {
        let attempt = Probe::Icmp(Icmp { source });
        run(&client, async || {
            probe(&attempt, at(target), Instant::now() + limit).await
        })
    };
    // With the first range, no group may use datagram sockets for ICMP.
    for range in ["1 0", "0 2147483647"] {
        let namespace = client.namespace();
        namespace
            .set_sysctl("ipv4.ping_group_range", range)
            .unwrap();
        for target in ["192.0.2.2:0", "[2001:db8::2]:0", "192.0.2.1:0"] {
            let outcome = ping(target, Source::default(), LIMIT);
            assert_eq!(outcome, Outcome::SUCCESS, "{range}: {target}");
        }
    }
    let source = Source {
        address: Some("192.0.2.7".parse().unwrap()),
        ..Source::default()
    };
    assert_eq!(ping("192.0.2.2:0", source, LIMIT), Outcome::SUCCESS);
    let outcome = ping("203.0.113.1:0", Source::default(), LIMIT);
    assert_eq!(kind(&outcome), FailureKind::Unreachable);
    server.partition().unwrap();
    let outcome = ping("192.0.2.2:0", Source::default(), Duration::from_millis(300));
    assert_eq!(kind(&outcome), FailureKind::TimeLimit);
}

#[test]
fn a_source_of_another_network_is_a_local_failure_of_every_probe() {
    let (_lan, client, _server) = lan();
    let source = Source {
        address: Some("192.0.2.99".parse().unwrap()),
        ..Source::default()
    };
    for attempt in [
        Probe::Http(Box::new(Http {
            source: source.clone(),
            ..Http::default()
        })),
        Probe::Dns(Dns {
            source: source.clone(),
            ..Dns::default()
        }),
        Probe::Udp(Udp {
            source: source.clone(),
            ..Udp::default()
        }),
        Probe::Smtp(Smtp {
            source: source.clone(),
            ..Smtp::default()
        }),
        Probe::Icmp(Icmp {
            source: source.clone(),
        }),
    ] {
        let outcome = run(&client, async || {
            probe(&attempt, at("192.0.2.2:80"), Instant::now() + LIMIT).await
        });
        super::assert_local(&outcome, "bind to address 192.0.2.99");
    }
}
