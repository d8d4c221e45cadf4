//! Configurations and notifications in the forms of serde.

#![cfg(feature = "serde")]
#![allow(clippy::unwrap_used, reason = "tests")]

use serde_json::{Value, json};
use vrrp_fsm::{
    Config, Preempt,
    track::{Check, Kind, Object, Weight},
};
use vrrp_net::{
    AddressOptions, Authentication, HmacKeys, HmacMode, Route, RouterConfig, Scope, Transport,
    VirtualAddress, VirtualMac, Watch,
};
use vrrp_proto::{
    Family, Interval, Password, Peer, Priority, Vrid,
    hmac::{AntiReplay, Key},
};

fn round_trip(config: &RouterConfig) -> RouterConfig {
    let text = serde_json::to_string(config).unwrap();
    let again: RouterConfig = serde_json::from_str(&text).unwrap();
    assert_eq!(format!("{again:?}"), format!("{config:?}"), "{text}");
    assert_eq!(serde_json::to_string(&again).unwrap(), text);
    again
}

#[test]
fn a_configuration_has_the_defaults_of_its_fields() {
    let read: RouterConfig = serde_json::from_value(json!({
        "interface": "eth0",
        "fsm": {"vrid": 51, "family": "ipv4"},
        "addresses": ["192.0.2.254/24"],
    }))
    .unwrap();
    let fsm = Config::new(Vrid::new(51).unwrap(), Family::Ipv4);
    let made = RouterConfig::new("eth0", fsm, vec!["192.0.2.254/24".parse().unwrap()]);
    assert_eq!(format!("{read:?}"), format!("{made:?}"));
}

#[test]
fn every_field_of_a_configuration_comes_back() {
    let mut fsm = Config::v2(Vrid::new(7).unwrap());
    fsm.priority = Priority::new(200);
    fsm.interval = Interval::seconds(2).unwrap();
    fsm.preempt = Preempt::AfterDelay(std::time::Duration::from_millis(1500));
    let address = VirtualAddress::new([192, 0, 2, 254].into()).with_scope(Scope::Link);
    let address = address
        .with_label("eth0:1")
        .unwrap()
        .with_options(AddressOptions {
            broadcast: Some([192, 0, 2, 255].into()),
            without_prefix_route: true,
            ..AddressOptions::default()
        });
    let mut config = RouterConfig::new("eth0", fsm, vec![address]);
    config.transport = Transport::Unicast {
        peers: vec![Peer {
            address: [192, 0, 2, 2].into(),
            min_ttl: 254,
            max_ttl: 254,
        }],
    };
    config.listed = vec![[192, 0, 2, 253].into()];
    config.group = Some([224, 0, 0, 77].into());
    config.track_interface = false;
    config.own_deviations.v2_without_addresses = true;
    config.virtual_mac = Some(VirtualMac::default());
    config.routes = vec!["203.0.113.0/24 via 192.0.2.9 metric 10".parse().unwrap()];
    for password in [
        &b"s3cret"[..],
        b"0x41",
        &[0xff, 0, 1],
        b"a\tb",
        b"12345678",
        &[0],
    ] {
        let password = Password::new(password).unwrap();
        config.authentication = Authentication::SimpleText(password);
        let again = round_trip(&config);
        assert!(matches!(again.authentication, Authentication::SimpleText(it) if it == password));
    }
    let keys = [(1, vec![7; 32]), (255, (0..64).collect())];
    config.authentication = Authentication::Hmac(HmacKeys {
        keys: keys
            .map(|(id, octets)| Key::new(id, &octets).unwrap())
            .into(),
        active: 255,
        anti_replay: AntiReplay::time(10).unwrap(),
        mode: HmacMode::Permissive,
    });
    round_trip(&config);
    let object = Object {
        weight: Weight::points(-60).unwrap(),
        ..Object::new("service", Kind::Check(Check::EACH))
    };
    let again: Object = serde_json::from_value(serde_json::to_value(&object).unwrap()).unwrap();
    assert_eq!(again, object);
    let watch = Watch::Route("0.0.0.0/0 dev eth2".parse::<Route>().unwrap());
    let again: Watch = serde_json::from_value(serde_json::to_value(&watch).unwrap()).unwrap();
    assert_eq!(again, watch);
}

#[test]
fn a_value_that_is_not_allowed_is_refused_with_its_range() {
    let refusal = |place: &str, value: Value| {
        let mut config = json!({
            "interface": "eth0",
            "fsm": {"vrid": 51, "family": "ipv4"},
            "addresses": ["192.0.2.254/24"],
        });
        *config.pointer_mut(place).unwrap_or(&mut Value::Null) = value.clone();
        if config.pointer(place).is_none() {
            let (parent, field) = place.rsplit_once('/').unwrap();
            config.pointer_mut(parent).unwrap()[field] = value;
        }
        serde_json::from_value::<RouterConfig>(config)
            .unwrap_err()
            .to_string()
    };
    let cases = [
        ("/fsm/vrid", json!(0), "nonzero"),
        ("/fsm/interval", json!({"centiseconds": 5000}), "1..=4095"),
        ("/fsm/interval", json!({"seconds": 0}), "1..=255"),
        ("/addresses/0", json!("192.0.2.254/33"), "1..=32"),
        ("/routes", json!(["203.0.113.1/24"]), "beyond its prefix"),
        (
            "/authentication",
            json!({"simple_text": "far too long"}),
            "1..=8",
        ),
        ("/authentication", json!({"simple_text": "0x4"}), "1..=8"),
        (
            "/authentication",
            json!({"hmac": {"keys": [{"id": 1, "secret": "00"}]}}),
            "32..=64",
        ),
        (
            "/authentication",
            json!({"hmac": {"keys": [], "active": 1, "anti_replay": {"time": 301}}}),
            "1..=300",
        ),
    ];
    for (place, value, expected) in cases {
        let text = refusal(place, value);
        assert!(text.contains(expected), "{place}: {text}");
    }
    let without: Result<Config, _> = serde_json::from_value(json!({"family": "ipv4"}));
    assert!(without.unwrap_err().to_string().contains("vrid"));
    let weight: Result<Weight, _> = serde_json::from_value(json!(254));
    assert!(
        weight
            .unwrap_err()
            .to_string()
            .contains("-253..=-1 or 1..=253")
    );
}
