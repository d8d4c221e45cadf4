//! Validation.

use std::time::Duration;

use ipvs_netlink::Table;
use ipvs_netlink::pool::{
    Capacity, Check, Config, Limit, Panic, Passive, Pool, Quorum, VirtualServer,
};

use crate::host::*;

type PoolChange = Box<dyn FnOnce(&mut VirtualServer<&'static str>)>;

/// The errors of the service with this change, one a line.
fn errors(change: impl FnOnce(&mut VirtualServer<&'static str>)) -> String {
    let mut service = service(plain(), &[1]);
    change(&mut service);
    let error = Pool::new(Duration::ZERO, config(vec![service]), &Table::default());
    error.map(|_| ()).unwrap_err().to_string()
}

#[test]
fn each_error_names_place_field_value_range_and_remedy() {
    assert_eq!(
        errors(|service| service.checks[0].fall = 0),
        "tcp 192.0.2.1:80: check 1: fall: 0 is not allowed: 1 or more; \
         use 1 to act on each failure"
    );
    assert_eq!(
        errors(|service| {
            service.servers[0].checks.push(Check {
                name: "health".into(),
                interval: Duration::ZERO,
                fast_interval: Some(s(1.0)),
                down_interval: Some(s(1.0)),
                ..Check::new("http")
            });
        }),
        "tcp 192.0.2.1:80: server 10.0.0.1:80: check \"health\": interval: 0 s is not allowed: \
         1 ms to 1 day; write a time with its unit, such as \"500ms\" or \"2s\""
    );
}

#[test]
fn every_field_has_its_range() {
    let hour = s(3600.0);
    let changes: Vec<(&str, PoolChange)> = vec![
        (
            "probes",
            Box::new(|service| service.checks[0].probes.clear()),
        ),
        ("rise", Box::new(|service| service.checks[0].rise = 0)),
        ("noise", Box::new(|service| service.checks[0].noise = 51)),
        (
            "time_limit",
            Box::new(|service| service.checks[0].time_limit = Duration::ZERO),
        ),
        (
            "spread",
            Box::new(move |service| service.checks[0].spread = Some(hour * 25)),
        ),
        (
            "fast_interval",
            Box::new(|service| {
                service.checks[0].fast_interval = Some(Duration::ZERO);
            }),
        ),
        (
            "rising_interval",
            Box::new(move |service| {
                service.checks[0].rising_interval = Some(hour * 25);
            }),
        ),
        (
            "down_interval",
            Box::new(|service| {
                service.checks[0].down_interval = Some(Duration::ZERO);
            }),
        ),
        (
            "quorum",
            Box::new(|service| service.quorum.at_least = Capacity::Weight(0)),
        ),
        (
            "quorum",
            Box::new(|service| service.quorum.at_least = Capacity::Percent(101)),
        ),
        (
            "hysteresis",
            Box::new(|service| {
                service.quorum = Quorum {
                    at_least: Capacity::Weight(3),
                    hysteresis: 3,
                };
            }),
        ),
        (
            "brake",
            Box::new(|service| service.brake = Some(Limit::Percent(101))),
        ),
        (
            "panic",
            Box::new(|service| service.panic = Panic::BelowPercent(0)),
        ),
        (
            "slow_start",
            Box::new(|service| service.slow_start = Some(Duration::ZERO)),
        ),
        (
            "connections_without_answer",
            Box::new(|service| {
                service.passive = Some(Passive {
                    connections_without_answer: 0,
                });
            }),
        ),
        (
            "sorry_server",
            Box::new(|service| {
                let mut sorry = sorry();
                sorry.destination.weight = 0.into();
                service.sorry_server = Some(sorry);
            }),
        ),
        (
            "server",
            Box::new(|service| service.servers.push(server(1, 1))),
        ),
    ];
    for (field, change) in changes {
        let text = errors(change);
        assert!(text.contains(&format!(": {field}: ")), "{field}: {text}");
        assert!(text.contains(" is not allowed: "), "{text}");
    }
}

#[test]
fn all_errors_are_reported_at_once() {
    let text = errors(|service| {
        service.checks[0].fall = 0;
        service.checks[0].rise = 0;
        service.quorum.at_least = Capacity::Weight(0);
    });
    assert_eq!(text.lines().count(), 3);
}

#[test]
fn services_twice_and_no_probes_at_all_are_errors() {
    let config = Config {
        max_running: 0,
        ..config(vec![service(plain(), &[1]), service(plain(), &[1])])
    };
    let text = config.validate().unwrap_err().to_string();
    assert_eq!(
        text,
        "max_running: 0 is not allowed: 1 or more; leave it out for 500\n\
         tcp 192.0.2.1:80: service: tcp 192.0.2.1:80 is not allowed: each service once; \
         merge the two services"
    );
}

#[test]
fn a_rising_interval_of_0_is_allowed() {
    let check = Check {
        rising_interval: Some(Duration::ZERO),
        ..plain()
    };
    assert!(config(vec![service(check, &[1])]).validate().is_ok());
}
