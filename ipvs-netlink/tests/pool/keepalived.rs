//! keepalived's rules are reachable as settings. D is delay_loop, R is retry, B is
//! delay_before_retry, T is the time that a failing attempt takes.

use std::time::Duration;

use ipvs_netlink::pool::{
    Check, FirstResult, Initial, Level, Pace, Panic, PoolChange, VirtualServer,
};

use crate::host::*;

/// TCP_CHECK, with a warm-up of 0.
fn tcp(d: f64, r: u32, b: f64, connect_timeout: f64) -> Check<&'static str> {
    Check {
        interval: s(d),
        fast_interval: Some(s(b)),
        rising_interval: Some(s(d)),
        down_interval: Some(s(d)),
        time_limit: s(connect_timeout),
        fall: r + 1,
        rise: 1,
        first_result: FirstResult::Decides,
        initial: Initial::Up,
        pace: Pace::AfterEnd,
        noise: 0,
        spread: Some(Duration::ZERO),
        ..Check::new("tcp")
    }
}

/// HTTP_GET of these URLs: back after the failed URL and then all of them.
fn http(d: f64, r: u32, b: f64, urls: &[&'static str]) -> Check<&'static str> {
    Check {
        probes: urls.to_vec(),
        rise: u32::try_from(urls.len()).unwrap() + 1,
        down_interval: Some(s(d.max(b))),
        ..tcp(d, r, b, 5.0)
    }
}

fn keepalived(check: Check<&'static str>, weights: &[u16]) -> VirtualServer<&'static str> {
    VirtualServer {
        panic: Panic::Off,
        drain: None,
        ..service(check, weights)
    }
}

/// Runs a server that is good until `dies` and again from `lives`; the time from there to the
/// change.
fn delay(
    check: Check<&'static str>,
    dies: f64,
    lives: f64,
    failing: impl Fn() -> Reply + 'static,
) -> (Duration, Duration) {
    let mut host = Host::new(config(vec![keepalived(check, &[1])]), move |made| {
        if made.at >= s(dies) && made.at < s(lives) {
            return failing();
        }
        Some((Duration::ZERO, ipvs_netlink::pool::Outcome::SUCCESS))
    });
    host.run_until(s(lives));
    let down = host.time_of(PoolChange::ServerDown(key(1))) - s(dies);
    host.events.clear();
    host.run_until(s(lives + 1000.0));
    (down, host.time_of(PoolChange::ServerUp(key(1))) - s(lives))
}

#[allow(clippy::unnecessary_wraps)]
fn refuses() -> Reply {
    Some((Duration::ZERO, refused()))
}

fn vanishes() -> Reply {
    None
}

#[test]
fn tcp_refused_is_out_after_the_interval_and_the_retries() {
    // Probes at 0, 10, 20; dead from 12: U(0,D) = 8, then R B = 3.
    let (down, up) = delay(tcp(10.0, 3, 1.0, 5.0), 12.0, 61.0, refuses);
    assert_eq!(down, s(8.0 + 3.0));
    // Down from 23, tried every 10: 33, 43, 53, 63.
    assert_eq!(up, s(2.0));
}

#[test]
fn tcp_vanished_is_out_after_the_time_limits_too() {
    let (down, up) = delay(tcp(10.0, 1, 1.0, 5.0), 12.0, 60.0, vanishes);
    // U(0,D) + (R+1) T + R B
    assert_eq!(down, s(8.0 + 10.0 + 1.0));
    // Down from 31; probes 41 to 46, 56 to 61, 71.
    assert_eq!(up, s(11.0));
}

#[test]
fn the_first_result_of_a_check_needs_no_retries() {
    let mut host = Host::new(
        config(vec![keepalived(tcp(10.0, 3, 1.0, 5.0), &[1])]),
        |_| bad(),
    );
    host.run_until(s(1.0));
    assert_eq!(host.time_of(PoolChange::ServerDown(key(1))), s(0.001));
}

#[test]
fn http_asks_urls_in_turn_and_comes_back_after_a_round() {
    // One URL, D = 5, B = 1, R = 3: U(0, D) + R B; back after two successes, D apart.
    let (down, up) = delay(http(5.0, 3, 1.0, &["/"]), 12.0, 60.0, refuses);
    assert_eq!(down, s(3.0 + 3.0));
    // Down from 18: 23, 28, … 58, 63 good, 68 good.
    assert_eq!(up, s(8.0));

    // Two URLs: the failed one, then both.
    let (_, up) = delay(http(5.0, 3, 1.0, &["/a", "/b"]), 12.0, 60.0, refuses);
    assert_eq!(up, s(13.0));
}

#[test]
fn fast_recovery_makes_the_round_without_waiting_and_stays_calm_when_it_fails() {
    let check = Check {
        rising_interval: Some(Duration::ZERO),
        ..http(2.0, 0, 1.0, &["/a", "/b"])
    };
    // keepalived: hundreds of requests a second once /b fails in the round.
    let mut host = Host::new(config(vec![keepalived(check, &[1])]), |made| {
        if made.attempt == "/b" && made.at < s(50.0) {
            bad()
        } else {
            good()
        }
    });
    host.run_until(s(50.0));
    assert!(host.made.len() < 60, "{}", host.made.len());
    host.run_until(s(60.0));
    assert_eq!(host.wanted(), [(1, 1)]);
}

#[test]
fn dns_with_its_defaults_is_out_after_four_time_limits_and_three_intervals() {
    // D = 60, R = 3, B = D, T = 5.
    let (down, _) = delay(tcp(60.0, 3, 60.0, 5.0), 1.0, 500.0, vanishes);
    assert_eq!(down, s(59.0 + 4.0 * 5.0 + 3.0 * 60.0));
}

#[test]
fn misc_runs_from_start_to_start() {
    let check = Check {
        pace: Pace::AfterStart,
        ..tcp(10.0, 0, 1.0, 10.0)
    };
    let mut host = Host::new(config(vec![keepalived(check, &[1])]), |_| {
        Some((s(4.0), ipvs_netlink::pool::Outcome::SUCCESS))
    });
    host.run_until(s(35.0));
    assert_eq!(host.starts(1), [s(0.0), s(10.0), s(20.0), s(30.0)]);
}

#[test]
fn smtp_uses_its_retries_at_first_and_while_it_is_down() {
    let check = Check {
        first_result: FirstResult::Counts,
        retry_while_down: true,
        ..tcp(10.0, 2, 1.0, 5.0)
    };
    let mut host = Host::new(config(vec![keepalived(check, &[1])]), |_| refuses());
    host.run_until(s(25.0));
    assert_eq!(host.time_of(PoolChange::ServerDown(key(1))), s(2.0));
    let starts: Vec<f64> = host.starts(1).iter().map(Duration::as_secs_f64).collect();
    assert_eq!(starts, [0.0, 1.0, 2.0, 12.0, 13.0, 14.0, 24.0, 25.0]);
}

#[test]
fn warmup_spreads_first_probes_and_phases_stay() {
    let check = Check {
        spread: Some(s(10.0)),
        ..tcp(10.0, 1, 1.0, 5.0)
    };
    let mut host = Host::new(config(vec![keepalived(check, &[1; 100])]), |_| {
        Some((Duration::ZERO, ipvs_netlink::pool::Outcome::SUCCESS))
    });
    host.run_until(s(100.0));
    for server in 1..=100 {
        let starts = host.starts(server);
        assert!(starts[0] < s(10.0));
        assert!(starts.windows(2).all(|pair| pair[1] - pair[0] == s(10.0)));
    }
}

#[test]
fn omega_reports_servers_and_the_quorum_at_stop() {
    for omega in [false, true] {
        let mut service = keepalived(tcp(1.0, 0, 1.0, 1.0), &[1, 1]);
        service.omega = omega;
        let mut host = Host::new(config(vec![service]), |made| {
            if made.host() == 1 { bad() } else { good() }
        });
        host.run_until(s(0.5));
        host.changes();
        host.pool.stop(host.now);
        let expected: &[&str] = if omega {
            &["server 10.0.0.2:80 down", "quorum lost, weight 0 of 1"]
        } else {
            &[]
        };
        assert_eq!(host.changes(), expected);
        assert!(host.pool.wanted().is_empty());
        assert_eq!(host.pool.owned(), [web()]);
        host.run_until(s(100.0));
        assert_eq!(host.pool.poll_timeout(), None);
    }
}

/// A service with alpha whose first server fails.
fn alpha(sorry_server: bool) -> VirtualServer<&'static str> {
    let check = Check {
        initial: Initial::Down,
        ..tcp(1.0, 0, 1.0, 1.0)
    };
    let mut service = keepalived(check, &[1, 1]);
    service.sorry_server = sorry_server.then(sorry);
    service
}

#[test]
fn alpha_reports_a_server_as_down_once_its_first_check_has_failed() {
    let mut host = Host::new(config(vec![alpha(false)]), |made| {
        if made.host() == 1 { bad() } else { good() }
    });
    let added = ["server 10.0.0.1:80 added", "server 10.0.0.2:80 added"];
    assert_eq!(host.changes(), added);
    host.run_until(s(5.5));
    let expected = [
        "server 10.0.0.1:80 down",
        "server 10.0.0.2:80 up",
        "quorum gained, weight 1 of 1",
    ];
    assert_eq!(host.time_of(PoolChange::ServerDown(key(1))), s(0.001));
    assert_eq!(host.changes(), expected);
}

#[test]
fn alpha_reports_a_lost_quorum_at_the_start_where_a_sorry_server_is_in() {
    let mut host = Host::new(config(vec![alpha(true)]), |_| good());
    assert_eq!(host.pool.quorum(&web()), Some(Level::Down));
    assert_eq!(host.wanted(), [(99, 1)]);
    let expected = ["quorum lost, weight 0 of 1", "sorry server 10.0.0.99:80 in"];
    assert_eq!(host.changes()[2..], expected);
    host.run_until(s(0.5));
    let expected = [
        "server 10.0.0.1:80 up",
        "quorum gained, weight 1 of 1",
        "sorry server 10.0.0.99:80 out",
        "server 10.0.0.2:80 up",
    ];
    assert_eq!(host.changes(), expected);
}

#[test]
fn a_reload_does_not_confirm_that_alpha_is_down() {
    let mut host = Host::new(config(vec![alpha(false)]), |_| None);
    host.changes();
    host.reload(config(vec![alpha(false)]));
    assert_eq!(host.changes(), [""; 0]);
    host.run_until(s(1.5));
    let down = [
        "server 10.0.0.1:80 down",
        "server 10.0.0.2:80 down",
        "quorum lost, weight 0 of 1",
    ];
    assert_eq!(host.changes(), down);
}

#[test]
fn ha_suspend_keeps_the_table_and_resumes_at_once() {
    let mut host = Host::new(
        config(vec![keepalived(tcp(10.0, 0, 1.0, 5.0), &[1, 1])]),
        |_| good(),
    );
    host.pool.set_suspended(host.now, &web(), true).unwrap();
    host.run_until(s(33.0));
    assert!(host.made.is_empty());
    assert_eq!(host.wanted(), [(1, 1), (2, 1)]);
    host.set_reply(|made| if made.host() == 1 { bad() } else { good() });
    host.pool.set_suspended(host.now, &web(), false).unwrap();
    host.run_until(s(33.1));
    // keepalived: up to D later.
    assert_eq!(host.wanted(), [(2, 1)]);
    assert_eq!(host.changes()[5..7], ["checks suspended", "checks resumed"]);
}
