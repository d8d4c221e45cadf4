//! Why a server is in or out, as data and as text.

use ipvs_netlink::pool::{Check, In, Limit, Operator, Outcome, Usage, Verdict};

use crate::host::*;

#[test]
fn a_failed_server_is_explained_with_its_last_answer() {
    let check = Check {
        name: "health".into(),
        fall: 2,
        ..plain()
    };
    let mut host = Host::new(config(vec![service(check, &[1, 1])]), |_| good());
    host.run_until(s(0.5));
    host.set_reply(|made| if made.host() == 1 { bad() } else { good() });
    host.run_until(s(2.5));
    let explanation = host.pool.explain(&web(), &key(1)).unwrap();
    assert_eq!(
        explanation.to_string(),
        "10.0.0.1:80 of tcp 192.0.2.1:80: out: failed its checks; down since 2.003 s\n  \
         health of 10.0.0.1:80: down, 2 of 2 failures; \
         last refused (connection refused) at 2.003 s; next at 3.003 s"
    );
    assert_eq!(explanation.counters.failures, 2);
    assert_eq!(explanation.counters.downs, 1);
    assert_eq!(
        host.pool.explain(&web(), &key(2)).unwrap().to_string(),
        "10.0.0.2:80 of tcp 192.0.2.1:80: in; up since 0.000 s; weight 1\n  \
         health of 10.0.0.2:80: up; last success at 2.003 s; next at 3.003 s"
    );
}

#[test]
fn a_server_in_doubt_is_explained() {
    let check = Check { fall: 3, ..plain() };
    let mut host = Host::new(config(vec![service(check, &[1])]), |_| good());
    host.run_until(s(0.5));
    host.set_reply(|made| if made.at < s(2.5) { bad() } else { None });
    host.run_until(s(3.1));
    let check = &host.pool.explain(&web(), &key(1)).unwrap().checks[0];
    assert_eq!(
        (check.verdict, check.failures, check.failures_needed),
        (Verdict::Up, 2, 3)
    );
    assert_eq!(check.running_until, Some(s(3.503)));
    assert!(check.to_string().contains("2 of 3 failures"), "{check}");
}

#[test]
fn weights_are_explained() {
    let mut host = Host::new(config(vec![service(plain(), &[10])]), |_| {
        let weight = ipvs_netlink::pool::WeightReport::Percent(30);
        Some((s(0.001), Outcome::Weight(weight, "30%".into())))
    });
    host.run_until(s(0.5));
    let text = host.pool.explain(&web(), &key(1)).unwrap().to_string();
    assert!(
        text.contains("weight 3 (configured 10, reported 3)"),
        "{text}"
    );
    assert!(text.contains("last success, weight 30 % (30%)"), "{text}");
}

#[test]
fn the_brake_is_explained() {
    let mut service = service(plain(), &[1]);
    service.brake = Some(Limit::Servers(0));
    let mut host = Host::new(config(vec![service]), |_| bad());
    host.run_until(s(0.5));
    let explanation = host.pool.explain(&web(), &key(1)).unwrap();
    assert_eq!(explanation.usage, Usage::In(In::Brake));
    assert_eq!(host.pool.status(&web()).unwrap().braked, 1);
}

#[test]
fn a_draining_server_is_explained() {
    let mut host = Host::new(config(vec![service(plain(), &[1, 1])]), |_| good());
    host.run_until(s(0.5));
    host.pool
        .set_operator(host.now, &web(), &key(1), Operator::Drain)
        .unwrap();
    let text = host.pool.explain(&web(), &key(1)).unwrap().to_string();
    assert!(
        text.starts_with(
            "10.0.0.1:80 of tcp 192.0.2.1:80: out: drained by the operator; \
             up since 0.000 s; draining since 0.500 s"
        ),
        "{text}"
    );
}

#[test]
fn a_status_lists_a_service() {
    let host = Host::new(config(vec![service(plain(), &[1, 2])]), |_| good());
    let status = host.pool.statuses().next().unwrap();
    assert_eq!((status.service, status.live), (web(), 3));
    assert_eq!(status.servers, [key(1), key(2)]);
}
