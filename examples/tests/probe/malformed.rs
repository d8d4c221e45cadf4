//! Probes against servers that break their protocol, on the loopback interface.

use std::{
    future::poll_fn,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    pin::pin,
    thread,
    time::{Duration, Instant},
};

use ipvs_netlink::pool::{FailureKind, Outcome};
use socket2::SockRef;
use vrrp_examples::probe::{
    Body, Bytes, Dns, Http, HttpVersion, Pattern, Probe, Question, Smtp, Source, Tcp, Tls,
    TlsSettings, Udp,
};

use super::{LIMIT, attempt, kind};

/// The limit of an attempt that should exceed it.
const SHORT: Duration = Duration::from_millis(300);

/// Serves one connection.
fn serve(handle: impl FnOnce(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        handle(stream);
    });
    address
}

/// Reads up to the end of a request's header.
fn read_request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        request.extend(byte);
    }
    String::from_utf8(request).unwrap()
}

/// Serves one HTTP request with these bytes, and closes or keeps the connection open.
fn answer(bytes: impl Into<Vec<u8>>, keep_open: bool) -> SocketAddr {
    let bytes = bytes.into();
    serve(move |mut stream| {
        read_request(&mut stream);
        // The probe may have closed the connection already.
        let _ = stream.write_all(&bytes);
        if keep_open {
            let _ = stream.read(&mut [0]);
        }
    })
}

/// Sends a byte every 20 ms until the other side has closed.
fn trickle(mut stream: TcpStream, bytes: impl Iterator<Item = u8>) {
    for byte in bytes {
        if stream.write_all(&[byte]).is_err() {
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn http(http: Http) -> Probe {
    Probe::Http(Box::new(http))
}

fn plain() -> Probe {
    http(Http::default())
}

/// The MD5 digest of "hello".
fn hello() -> Http {
    Http {
        md5: Some("5d41402abc4b2a76b9719d911017c592".parse().unwrap()),
        body: Some(Body::new(Pattern::new("^hello$").unwrap())),
        ..Http::default()
    }
}

#[test]
fn http_understands_every_form_of_a_proper_answer() {
    let long = format!(
        "HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 5\r\n\r\nhello",
        "y".repeat(9000)
    );
    for (name, bytes) in [
        (
            "length",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        ),
        (
            "lower case, more behind",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello again",
        ),
        (
            "chunks",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n",
        ),
        (
            "100 first",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        ),
        (
            "no reason",
            "HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello",
        ),
        (
            "bare line feeds",
            "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
        ),
        (
            "Latin-1",
            "HTTP/1.1 200 OK\r\nX: \u{e9}\r\nContent-Length: 5\r\n\r\nhello",
        ),
        ("long header", &long),
    ] {
        let outcome = attempt(&http(hello()), answer(bytes, true), LIMIT);
        assert_eq!(outcome, Outcome::Success("200 OK".into()), "{name}");
    }
    // Without a length, the body ends with the connection.
    let bytes = "HTTP/1.0 200 OK\r\n\r\nhello";
    let outcome = attempt(&http(hello()), answer(bytes, false), LIMIT);
    assert_eq!(outcome, Outcome::Success("200 OK".into()));
}

#[test]
fn http_names_what_is_wrong_with_an_answer() {
    let longer = format!("HTTP/1.1 200 OK\r\n{}", "X: y\r\n".repeat(20_000));
    for (name, bytes, expected) in [
        (
            "garbage",
            "\u{0}\u{1}garbage\r\n\r\n",
            FailureKind::Protocol,
        ),
        ("HTTP/0.9", "<html>hello</html>", FailureKind::Protocol),
        ("ICY", "ICY 200 OK\r\n\r\n", FailureKind::Protocol),
        (
            "two lengths",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
            FailureKind::Protocol,
        ),
        (
            "wrong chunk",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n",
            FailureKind::Closed,
        ),
        ("long header", &longer, FailureKind::Protocol),
        ("nothing", "", FailureKind::Closed),
        (
            "half a header",
            "HTTP/1.1 200 OK\r\nX: ",
            FailureKind::Closed,
        ),
        (
            "short body",
            "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello",
            FailureKind::Closed,
        ),
        (
            "redirect",
            "HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n",
            FailureKind::Answer,
        ),
        (
            "error",
            "HTTP/1.1 503 Sorry\r\nContent-Length: 0\r\n\r\n",
            FailureKind::Answer,
        ),
        (
            "other content",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhallo",
            FailureKind::Answer,
        ),
    ] {
        let outcome = attempt(&http(hello()), answer(bytes, false), LIMIT);
        assert_eq!(kind(&outcome), expected, "{name}: {outcome}");
    }
}

#[test]
fn http_takes_a_short_body_as_whole_only_where_it_is_allowed_to() {
    let lenient = Http {
        accept_short_body: true,
        ..hello()
    };
    let bytes = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello";
    let outcome = attempt(&http(lenient), answer(bytes, false), LIMIT);
    assert_eq!(outcome, Outcome::Success("200 OK".into()));
}

#[test]
fn one_limit_covers_the_whole_of_an_http_attempt() {
    let header = b"HTTP/1.1 200 OK\r\n\r\n";
    let silent = serve(|mut stream| {
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let slow_header = serve(|mut stream| {
        read_request(&mut stream);
        trickle(
            stream,
            b"HTTP/1.1 200 OK\r\nX: "
                .iter()
                .copied()
                .chain(std::iter::repeat(b'y')),
        );
    });
    let slow_body = serve(|mut stream| {
        read_request(&mut stream);
        trickle(
            stream,
            header.iter().copied().chain(std::iter::repeat(b'y')),
        );
    });
    let open = answer(header, true);
    for (name, server) in [
        ("silent", silent),
        ("slow header", slow_header),
        ("slow body", slow_body),
        ("open", open),
    ] {
        let started = Instant::now();
        let outcome = attempt(&plain(), server, SHORT);
        assert_eq!(kind(&outcome), FailureKind::TimeLimit, "{name}: {outcome}");
        assert!(started.elapsed() >= SHORT, "{name}");
    }
}

#[test]
fn a_limit_of_steps_lets_a_slow_body_end_and_no_silence() {
    let limited = || {
        http(Http {
            step_limit: Some(SHORT),
            ..Http::default()
        })
    };
    let header = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n";
    // Each piece arrives within the limit, but not all of them together.
    let slow = serve(move |mut stream| {
        read_request(&mut stream);
        stream.write_all(header.as_bytes()).unwrap();
        for _ in 0..4 {
            thread::sleep(SHORT / 2);
            stream.write_all(b"y").unwrap();
        }
    });
    let started = Instant::now();
    let outcome = attempt(&limited(), slow, LIMIT);
    assert_eq!(outcome, Outcome::Success("200 OK".into()));
    assert!(started.elapsed() > SHORT);
    let silent = serve(|mut stream| {
        let _ = stream.read_to_end(&mut Vec::new());
    });
    for (name, server) in [("no answer", silent), ("no body", answer(header, true))] {
        let started = Instant::now();
        let outcome = attempt(&limited(), server, LIMIT);
        assert_eq!(kind(&outcome), FailureKind::TimeLimit, "{name}: {outcome}");
        assert!(started.elapsed() < LIMIT, "{name}");
    }
}

#[test]
fn a_body_without_end_is_read_up_to_its_limit() {
    let endless = || {
        serve(|mut stream| {
            read_request(&mut stream);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
            while stream.write_all(&[b'x'; 4096]).is_ok() {}
        })
    };
    let outcome = attempt(&plain(), endless(), LIMIT);
    assert_eq!(outcome, Outcome::Success("200 OK".into()));
    let outcome = attempt(&http(hello()), endless(), LIMIT);
    assert_eq!(kind(&outcome), FailureKind::Answer);
    assert!(
        outcome.to_string().contains("more than 1048576 bytes"),
        "{outcome}"
    );
}

#[test]
fn a_reset_is_a_closed_connection() {
    let reset = serve(|mut stream| {
        read_request(&mut stream);
        SockRef::from(&stream)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    });
    let outcome = attempt(&plain(), reset, LIMIT);
    assert_eq!(kind(&outcome), FailureKind::Closed);
}

#[test]
fn http_sends_what_is_configured() {
    for (probe, expected) in [
        (
            Http::default(),
            "GET / HTTP/1.1\r\nhost: 127.0.0.1:PORT\r\nuser-agent: health-check\r\nconnection: close\r\n\r\n",
        ),
        (
            Http {
                version: HttpVersion::Http10,
                path: "/health?deep=1".parse().unwrap(),
                host: Some("web.example".parse().unwrap()),
                headers: [
                    ("User-Agent".parse().unwrap(), "probe".parse().unwrap()),
                    ("X-Probe".parse().unwrap(), "yes".parse().unwrap()),
                ]
                .into(),
                ..Http::default()
            },
            "GET /health?deep=1 HTTP/1.0\r\nhost: web.example\r\nuser-agent: probe\r\nx-probe: yes\r\n\r\n",
        ),
    ] {
        let (sender, receiver) = std::sync::mpsc::channel();
        let server = serve(move |mut stream| {
            sender.send(read_request(&mut stream)).unwrap();
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                .unwrap();
        });
        let outcome = attempt(&http(probe), server, LIMIT);
        assert_eq!(outcome, Outcome::Success("200 OK".into()));
        let expected = expected.replace("PORT", &server.port().to_string());
        assert_eq!(receiver.recv().unwrap(), expected);
    }
}

#[test]
fn a_server_without_tls_fails_an_https_probe() {
    let https = http(Http {
        tls: Some(Tls::new(TlsSettings::default()).unwrap()),
        ..Http::default()
    });
    let plain = serve(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        let _ = stream.read(&mut [0; 4096]);
    });
    let outcome = attempt(&https, plain, LIMIT);
    assert_eq!(kind(&outcome), FailureKind::Tls, "{outcome}");
    let closing = serve(drop);
    let outcome = attempt(&https, closing, LIMIT);
    assert_eq!(kind(&outcome), FailureKind::Closed, "{outcome}");
    let silent = serve(|mut stream| {
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let outcome = attempt(&https, silent, SHORT);
    assert_eq!(kind(&outcome), FailureKind::TimeLimit, "{outcome}");
}

/// Serves one SMTP dialogue with these replies, each to one line.
fn smtp(replies: &'static [&'static str]) -> SocketAddr {
    serve(move |mut stream| {
        for reply in replies {
            let _ = stream.write_all(reply.as_bytes());
            let mut byte = [0];
            while stream.read(&mut byte).is_ok_and(|read| read == 1) && byte != *b"\n" {}
        }
    })
}

#[test]
fn smtp_goes_through_the_dialogue_and_names_the_wrong_reply() {
    let probe = Probe::Smtp(Smtp::default());
    let proper: &[&str] = &["220-a\r\n220 b\r\n", "250-c\r\n250 d\r\n", "221 e\r\n"];
    let outcome = attempt(&probe, smtp(proper), LIMIT);
    assert_eq!(outcome, Outcome::Success("220 b".into()));
    for (replies, expected) in [
        (&["554 no\r\n"][..], FailureKind::Answer),
        (&["220 a\r\n", "502 no\r\n"], FailureKind::Answer),
        (&["220 a\r\n", "250 b\r\n"], FailureKind::Closed),
        (&["hello\r\n"], FailureKind::Protocol),
        (&["220?a\r\n"], FailureKind::Protocol),
        (&["22\r\n"], FailureKind::Protocol),
        (&[], FailureKind::Closed),
    ] {
        let outcome = attempt(&probe, smtp(replies), LIMIT);
        assert_eq!(kind(&outcome), expected, "{replies:?}: {outcome}");
    }
    let endless = serve(|mut stream| while stream.write_all(b"220-a\r\n").is_ok() {});
    let outcome = attempt(&probe, endless, LIMIT);
    assert_eq!(kind(&outcome), FailureKind::Protocol, "{outcome}");
    let silent = serve(|stream| trickle(stream, std::iter::repeat(b'2')));
    let outcome = attempt(&probe, silent, SHORT);
    assert_eq!(kind(&outcome), FailureKind::TimeLimit, "{outcome}");
}

/// Answers one datagram.
fn datagrams(answers: impl FnOnce(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 1024];
        let (length, from) = socket.recv_from(&mut buffer).unwrap();
        for answer in answers(&buffer[..length]) {
            socket.send_to(&answer, from).unwrap();
        }
        // The socket stays open, so that no error comes back.
        thread::sleep(SHORT * 2);
    });
    address
}

fn closed_port() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap()
}

#[test]
fn udp_takes_silence_and_answers_as_configured() {
    let any = Udp::default();
    let proper = Udp {
        payload: Bytes(vec![1, 2]),
        require_reply: true,
        reply: "0X ff".parse().unwrap(),
        shortest: 2,
        longest: Some(3),
        ..Udp::default()
    };
    let silent = || datagrams(|_| Vec::new());
    let outcome = attempt(&Probe::Udp(any.clone()), silent(), SHORT);
    assert_eq!(outcome, Outcome::Success("no answer".into()));
    let outcome = attempt(&Probe::Udp(proper.clone()), silent(), SHORT);
    assert_eq!(kind(&outcome), FailureKind::TimeLimit);
    for (reply, expected) in [
        (&[5, 0xff][..], None),
        (&[5, 0xff, 0], None),
        (&[0x15, 0xff], Some(FailureKind::Answer)),
        (&[5], Some(FailureKind::Answer)),
        (&[5, 0xff, 0, 0], Some(FailureKind::Answer)),
    ] {
        let server = datagrams(move |request| {
            assert_eq!(request, [1, 2]);
            vec![reply.to_vec()]
        });
        let outcome = attempt(&Probe::Udp(proper.clone()), server, LIMIT);
        match expected {
            None => assert!(matches!(outcome, Outcome::Success(_)), "{outcome}"),
            Some(expected) => assert_eq!(kind(&outcome), expected, "{reply:?}"),
        }
    }
    let outcome = attempt(&Probe::Udp(any), closed_port(), LIMIT);
    assert_eq!(kind(&outcome), FailureKind::Refused);
}

#[test]
fn dns_waits_for_the_answer_to_its_own_query() {
    let probe = Probe::Dns(Dns {
        question: Question::new("www.example", "A").unwrap(),
        ..Dns::default()
    });
    // The header of an answer, RFC 1035 section 4.1.1, with another code for errors.
    let reply = |query: &[u8], code: u8| {
        let mut reply = query.to_vec();
        reply[2] |= 0x80;
        reply[3] = code;
        reply
    };
    let foreign = move |query: &[u8]| {
        let mut foreign = reply(query, 3);
        foreign[0] ^= 1;
        foreign
    };
    let server =
        datagrams(move |query| vec![vec![1], foreign(query), query.to_vec(), reply(query, 0)]);
    let outcome = attempt(&probe, server, LIMIT);
    assert_eq!(outcome, Outcome::Success("NOERROR, 0 records".into()));
    for code in [1, 2, 3, 5] {
        let server = datagrams(move |query| vec![reply(query, code)]);
        let outcome = attempt(&probe, server, LIMIT);
        assert_eq!(kind(&outcome), FailureKind::Answer, "{code}");
    }
    let server = datagrams(|_| vec![b"garbage, longer than a header".to_vec()]);
    let outcome = attempt(&probe, server, SHORT);
    assert_eq!(kind(&outcome), FailureKind::TimeLimit);
    let needs_records = Probe::Dns(Dns {
        require_records: true,
        ..Dns::default()
    });
    let server = datagrams(move |query| vec![reply(query, 0)]);
    let outcome = attempt(&needs_records, server, LIMIT);
    assert_eq!(kind(&outcome), FailureKind::Answer);
    let outcome = attempt(&probe, closed_port(), LIMIT);
    assert_eq!(kind(&outcome), FailureKind::Refused);
}

#[test]
fn a_source_port_is_used_again_and_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = closed_port().port();
    let probe = Probe::Tcp(Tcp {
        source: Source {
            port: Some(port),
            ..Source::default()
        },
    });
    for _ in 0..3 {
        let outcome = attempt(&probe, listener.local_addr().unwrap(), LIMIT);
        assert_eq!(outcome, Outcome::SUCCESS);
        let (_, from) = listener.accept().unwrap();
        assert_eq!(from.port(), port);
    }
}

#[test]
fn a_request_over_http_takes_a_turn_of_its_task_for_each_event_of_its_socket() {
    // An order by chance would need another turn in half of the cases.
    for _ in 0..16 {
        let address = answer("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", true);
        let probe = http(hello());
        let mut turns = 0;
        let outcome = super::block_on(async {
            let deadline = Instant::now() + LIMIT;
            let mut attempt = pin!(vrrp_examples::probe::probe(&probe, address, deadline));
            poll_fn(|context| {
                turns += 1;
                attempt.as_mut().poll(context)
            })
            .await
        });
        assert!(matches!(outcome, Outcome::Success(_)), "{outcome:?}");
        // The start, the connection, and the answer.
        assert!(turns <= 3, "{turns} turns");
    }
}
