//! The status page, as a validator and a browser without JavaScript see it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use std::{
    fs,
    future::ready,
    process::{Command, Output},
};

use tokio::net::TcpListener;
use vrrp_examples::{
    pages::{HTML, Listener, Page, serve},
    status::{DrainLine, Line, ProbeCounts, Rates, RouterLine, ServerLine, ServiceLine, Status},
};

fn server(number: u32, health: &str) -> ServerLine {
    let is_up = health == "up";
    ServerLine {
        server: format!("10.0.0.{number}:80"),
        health: health.into(),
        in_use: is_up,
        usage: if is_up {
            "in"
        } else {
            "out: failed its checks"
        }
        .into(),
        since: 61.0 * f64::from(number),
        weight: is_up.then_some(number),
        operator: "ready".into(),
        connections: 12 * number,
        rates: Rates {
            connections: f64::from(number) * 1.5,
            ..Rates::default()
        },
        answers: vec![if is_up {
            "health: success: 200 OK".into()
        } else {
            "health: failure: wrong answer: <h1>503 & more</h1>".into()
        }],
        explanation: format!("10.0.0.{number}:80 of tcp 192.0.2.1:80: {health}; 3 checks in a row"),
    }
}

fn service(number: u32, is_good: bool) -> ServiceLine {
    ServiceLine {
        service: format!("tcp 192.0.2.1:{number}"),
        quorum: if is_good { "up" } else { "down" },
        live: if is_good { 3 } else { 0 },
        sorry: !is_good,
        braked: 0,
        panicking: 0,
        rates: Rates {
            connections: 9.0,
            packets: 1234.0,
            bytes: 99_999.0,
        },
        sparkline: (0..60).map(|it| f64::from(it * 7 % 11)).collect(),
        servers: vec![
            server(1, if is_good { "up" } else { "down" }),
            server(2, if is_good { "up" } else { "down" }),
            server(3, if is_good { "up" } else { "waiting" }),
        ],
    }
}

fn status(services: u32) -> Status {
    Status {
        host: "lb1.example".into(),
        uptime: 93_784.0,
        routers: vec![RouterLine {
            interface: "eth0".into(),
            vrid: 51,
            state: "Active".into(),
            priority: 150,
            addresses: vec!["192.0.2.100/24".into(), "192.0.2.101/24".into()],
            explanation: "priority 150; quorum is up".into(),
        }],
        services: (1..=services)
            .map(|it| service(79 + it, it % 50 != 2))
            .collect(),
        probes_running: 3,
        probes: ProbeCounts {
            successes: 123_456,
            failures: 78,
            local_failures: 0,
        },
        draining: vec![DrainLine {
            service: "tcp 192.0.2.1:80".into(),
            server: "10.0.0.4:80".into(),
            left: 92.0,
        }],
        refused: vec!["add service tcp 192.0.2.1:9: no such scheduler".into()],
        events: (0..50_u32)
            .map(|it| Line {
                time: 1_700_000_000.0 - f64::from(it) * 7.0,
                text: "tcp 192.0.2.1:81: server 10.0.0.1:80 down (health: timed out)".into(),
            })
            .collect(),
    }
}

/// Pages of all kinds.
fn pages() -> Vec<String> {
    let mut without = status(0);
    without.routers.clear();
    without.refused.clear();
    without.draining.clear();
    without.events.clear();
    let many = status(500);
    let one = many.html_of("tcp-192.0.2.1:81").unwrap();
    vec![without.html(), status(3).html(), many.html(), one]
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&*output.stdout, &*output.stderr].concat()).into_owned()
}

#[test]
fn a_validator_finds_no_mistake_in_the_pages() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("page.html");
    let check = |page: &str| {
        fs::write(&path, page).unwrap();
        let mut command = Command::new("tidy");
        // tidy does not know the meaning of empty cells and of omitted tags.
        command.args([
            "-q",
            "-e",
            "--drop-empty-elements",
            "no",
            "--omit-optional-tags",
            "yes",
        ]);
        let output = command
            .arg(&path)
            .output()
            .expect("tidy, of the package tidy");
        text(&output)
    };
    for page in pages() {
        assert_eq!(check(&page), "", "{page}");
    }
    // A real fault is found.
    let wrong = status(3).html().replace("</table>", "</missing>");
    assert!(check(&wrong).contains("missing"));
}

#[tokio::test]
async fn a_browser_without_javascript_shows_everything() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let page = status(3).html();
    let answer = move |_| ready(Page::ok(HTML, page.clone()));
    tokio::spawn(serve(Listener::Tcp(listener), answer));
    let browse = move || {
        // The browser creates a folder of its own there.
        let home = tempfile::tempdir().unwrap();
        let mut command = Command::new("w3m");
        command.args(["-dump", "-cols", "120", "-o", "meta_refresh=false"]);
        command
            .arg(format!("http://{address}/"))
            .env("HOME", home.path());
        command.output().expect("w3m, of the package w3m")
    };
    let output = tokio::task::spawn_blocking(browse).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    let shown = text(&output);
    for part in [
        "Load balancer lb1.example",
        "Virtual router 51 on eth0",
        "tcp 192.0.2.1:82",
        "10.0.0.3:80",
        "wrong answer: <h1>503 & more</h1>",
        "3 checks in a row",
        "Refused by the kernel",
        "10.0.0.4:80 of tcp 192.0.2.1:80 for at most 1 min 32 s",
        "2023-11-14T22:13:20Z",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}
