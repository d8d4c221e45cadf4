//! The configuration as a file has it.

use std::time::Duration;

use ipvs_netlink::{
    Destination, Family, ForwardingMethod, GueChecksum, Netmask, Persistence, Scheduler,
    SchedulerFlags, Service, ServiceKey, Thresholds, Tunnel,
    plan::Drain,
    pool::{
        Capacity, Check, Config, Effect, FirstResult, Initial, Limit, Pace, Panic, Passive, Quorum,
        RealServer, SorryServer, VirtualServer, WeightReport,
    },
};
use serde::{Deserialize, Serialize};

use crate::host::{key, s, web};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Attempt {
    Tcp,
    Http { path: String },
}

fn read(text: &str) -> Config<Attempt> {
    let config: Config<Attempt> = toml::from_str(text).unwrap();
    config.validate().unwrap();
    config
}

fn error(text: &str) -> String {
    toml::from_str::<Config<Attempt>>(text)
        .unwrap_err()
        .to_string()
}

const WHOLE: &str = r#"
max_running = 100
seed = 7
stall = "2s"

[[services]]
service = "tcp 192.0.2.1:80"
scheduler = "mh"
scheduler_flags = ["mh-port"]
persistence = { timeout = "6m", netmask = "255.255.255.0" }
forwarding = "dr"
quorum = { at_least = "50%", hysteresis = 10 }
sorry_server = "10.0.0.99:80"
brake = "30%"
panic = "off"
inhibit_on_failure = true
omega = true
slow_start = "30s"
drain = "5m"
drain_failed = true
passive = { connections_without_answer = 5 }

[[services.checks]]
name = "health"
probe = { http = { path = "/health" } }
port = 8080
interval = 5
fast_interval = 0.25
rising_interval = "1s"
down_interval = "10s"
time_limit = "1s 500ms"
fall = 4
rise = 3
first_result = "counts"
initial = "down"
pace = "after-start"
noise = 10
spread = "3s"
retry_while_down = true

[[services.servers]]
address = "10.0.0.1:80"
weight = 10
upper_threshold = 100
lower_threshold = 50

[[services.servers]]
address = "10.0.0.2:80"
forwarding = "masquerade"
inhibit_on_failure = false
drain = false

[[services.servers.checks]]
probes = ["tcp", { http = { path = "/a" } }]
effect = { weigh = { percent = 20 } }
"#;

fn whole() -> Config<Attempt> {
    let mut service = Service::new(web(), Scheduler::MH);
    service.scheduler_flags = SchedulerFlags::MH_PORT;
    let netmask = Netmask::V4([255, 255, 255, 0].into());
    service
        .set_persistence(Persistence {
            timeout: 360,
            netmask,
        })
        .unwrap();
    let path = "/health".into();
    let check = Check {
        name: "health".into(),
        port: Some(8080),
        interval: s(5.0),
        fast_interval: Some(s(0.25)),
        rising_interval: Some(s(1.0)),
        down_interval: Some(s(10.0)),
        time_limit: s(1.5),
        fall: 4,
        rise: 3,
        first_result: FirstResult::Counts,
        initial: Initial::Down,
        pace: Pace::AfterStart,
        noise: 10,
        spread: Some(s(3.0)),
        retry_while_down: true,
        ..Check::new(Attempt::Http { path })
    };
    let first = Destination {
        weight: 10.into(),
        thresholds: Thresholds::new(100, 50).unwrap(),
        ..Destination::new(key(1), ForwardingMethod::DirectRoute)
    };
    let second = Destination::new(key(2), ForwardingMethod::Masquerade);
    let own = Check {
        effect: Effect::Weigh(WeightReport::Percent(20)),
        ..Check::of(vec![Attempt::Tcp, Attempt::Http { path: "/a".into() }])
    };
    let at_once = Drain {
        at_most: Duration::ZERO,
        at_most_udp: Duration::ZERO,
        ..Drain::default()
    };
    let server = VirtualServer {
        servers: vec![
            RealServer::new(first),
            RealServer {
                checks: vec![own],
                inhibit_on_failure: Some(false),
                drain: Some(at_once),
                ..RealServer::new(second)
            },
        ],
        checks: vec![check],
        quorum: Quorum {
            at_least: Capacity::Percent(50),
            hysteresis: 10,
        },
        sorry_server: Some(SorryServer::new(key(99), ForwardingMethod::DirectRoute)),
        brake: Some(Limit::Percent(30)),
        panic: Panic::Off,
        inhibit_on_failure: true,
        omega: true,
        slow_start: Some(s(30.0)),
        drain: Some(Drain {
            at_most: s(300.0),
            ..Drain::default()
        }),
        drain_failed: Some(Drain::default()),
        passive: Some(Passive {
            connections_without_answer: 5,
        }),
        ..VirtualServer::new(service)
    };
    Config {
        services: vec![server],
        max_running: 100,
        seed: 7,
        stall: s(2.0),
    }
}

#[test]
fn every_setting_is_read() {
    assert_eq!(read(WHOLE), whole());
}

#[test]
fn a_configuration_is_read_as_it_was_written() {
    let text = toml::to_string(&whole()).unwrap();
    assert_eq!(read(&text), whole(), "{text}");
    let text = serde_json::to_string(&whole()).unwrap();
    assert_eq!(
        serde_json::from_str::<Config<Attempt>>(&text).unwrap(),
        whole()
    );
}

#[test]
fn settings_that_are_left_out_have_their_defaults() {
    let config = read(
        r#"
        [[services]]
        service = "tcp 192.0.2.1:80"
        checks = [{ probe = "tcp" }]
        servers = [{ address = "10.0.0.1:80" }]
        "#,
    );
    let mut server = VirtualServer::new(Service::new(web(), Scheduler::WLC));
    server.checks.push(Check::new(Attempt::Tcp));
    let destination = Destination::new(key(1), ForwardingMethod::Masquerade);
    server.servers.push(RealServer::new(destination));
    assert_eq!(
        config,
        Config {
            services: vec![server],
            ..Config::default()
        }
    );
}

#[test]
fn short_forms_are_read() {
    let with = |line: &str| {
        let text = format!("[[services]]\nservice = \"tcp 192.0.2.1:80\"\n{line}\n");
        read(&text).services.remove(0)
    };
    assert_eq!(with("quorum = 3").quorum.at_least, Capacity::Weight(3));
    assert_eq!(
        with("quorum = \"50 %\"").quorum.at_least,
        Capacity::Percent(50)
    );
    assert_eq!(with("brake = 2").brake, Some(Limit::Servers(2)));
    assert_eq!(with("panic = \"50%\"").panic, Panic::BelowPercent(50));
    assert_eq!(
        with("panic = \"when-none-is-left\"").panic,
        Panic::WhenNoneIsLeft
    );
    assert_eq!(with("drain = false").drain, None);
    assert_eq!(
        with("persistence = 300")
            .service
            .persistence()
            .unwrap()
            .timeout,
        300
    );
    let sorry = with("sorry_server = { address = \"10.0.0.99:80\", inhibit = true }");
    assert!(sorry.sorry_server.unwrap().inhibit);
}

#[test]
fn errors_name_the_field_and_the_remedy() {
    let with = |line: &str| {
        error(&format!(
            "[[services]]\nservice = \"tcp 192.0.2.1:80\"\n{line}\n"
        ))
    };
    for (text, expected) in [
        (error("max_runing = 1"), "unknown field `max_runing`"),
        (
            error("stall = \"2 parsecs\""),
            "expected a time such as \"500ms\" or \"2s\"",
        ),
        (error("stall = -1"), "expected a time"),
        (
            error("[[services]]\nservice = \"tcp 192.0.2.1\""),
            "192.0.2.1",
        ),
        (
            with("quorum = \"half\""),
            "a weight, a share such as \"50%\"",
        ),
        (
            with("panic = 50"),
            "expected a share such as \"50%\", not a number",
        ),
        (
            with("drain = \"soon\""),
            "true, false, a time such as \"15m\"",
        ),
        (
            with("checks = [{ interval = 1 }]"),
            "add the attempt that the check makes",
        ),
        (
            with("checks = [{ probe = \"tcp\", probes = [\"tcp\"] }]"),
            "use one of them",
        ),
        (
            with("checks = [{ probe = \"tcp\", fal = 1 }]"),
            "unknown field `fal`",
        ),
        (
            with("servers = [{ address = \"10.0.0.1:80\", weight = 3000000000 }]"),
            "2147483647",
        ),
        (
            with("servers = [{ address = \"10.0.0.1:80\", lower_threshold = 5 }]"),
            "lower_threshold <= upper_threshold",
        ),
        (with("persistence = 0.5"), "use whole seconds"),
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

#[test]
fn services_and_forwarding_methods_are_the_text_that_they_print() {
    let mark = std::num::NonZeroU32::new(5).unwrap();
    let port = std::num::NonZeroU16::new(6080).unwrap();
    let keys = [
        web(),
        ServiceKey::udp((std::net::Ipv6Addr::LOCALHOST, 53)),
        ServiceKey::sctp(([192, 0, 2, 1], 7)),
        ServiceKey::mark(mark, Family::V4),
        ServiceKey::mark(mark, Family::V6),
    ];
    let gue = |checksum| ForwardingMethod::Tunnel(Tunnel::Gue { port, checksum });
    let methods = [
        ForwardingMethod::Masquerade,
        ForwardingMethod::Local,
        ForwardingMethod::DirectRoute,
        ForwardingMethod::Bypass,
        ForwardingMethod::Tunnel(Tunnel::IpIp),
        ForwardingMethod::Tunnel(Tunnel::Gre { checksum: false }),
        ForwardingMethod::Tunnel(Tunnel::Gre { checksum: true }),
        gue(GueChecksum::None),
        gue(GueChecksum::Full),
        gue(GueChecksum::Remote),
    ];
    let mut services = Vec::new();
    for key in keys {
        let mut server = VirtualServer::new(Service::new(key, Scheduler::WRR));
        for (host, method) in (1..).zip(methods) {
            let destination = Destination::new(crate::host::key(host), method);
            server.servers.push(RealServer::new(destination));
        }
        services.push(server);
    }
    let config: Config<Attempt> = Config {
        services,
        ..Config::default()
    };
    assert_eq!(read(&toml::to_string(&config).unwrap()), config);
}
