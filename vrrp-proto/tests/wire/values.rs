//! The values of the crate by themselves: what they hold, and how they read.

use std::net::{IpAddr, Ipv4Addr};

use vrrp_proto::{
    Addresses, AuthenticationMethod, Counter, Endpoints, Family, Interval, Leniency,
    MAX_MESSAGE_LEN, Priority, Version, Vrid, group,
};

use crate::support::{
    SENDER_V4, SENDER_V6, addresses_v4, addresses_v6, decode_ipv4, decode_ipv6, v3, v3_ipv6,
};

#[test]
fn addresses_are_the_same_wherever_they_are_stored() {
    for count in [1, 2, 20, 255] {
        let (v4, v6) = (addresses_v4(count), addresses_v6(count));
        let (message_v4, message_v6) = (v3(&v4), v3_ipv6(&v6));
        let lists: [(Addresses<'_>, Addresses<'_>, Vec<IpAddr>); 2] = [
            (
                Addresses::from(&v4[..]),
                decode_ipv4(&message_v4).unwrap().advertisement.addresses,
                v4.iter().copied().map(IpAddr::from).collect(),
            ),
            (
                Addresses::from(&v6[..]),
                decode_ipv6(&message_v6).unwrap().advertisement.addresses,
                v6.iter().copied().map(IpAddr::from).collect(),
            ),
        ];
        for (of_host, of_wire, expected) in lists {
            assert_eq!(of_host, of_wire);
            for list in [of_host, of_wire] {
                assert_eq!(list.len(), expected.len());
                assert_eq!(list.iter().len(), expected.len());
                assert!(!list.is_empty());
                assert_eq!(list.get(0), Some(expected[0]));
                assert_eq!(list.get(expected.len()), None);
                assert!(list.into_iter().eq(expected.iter().copied()));
                assert_eq!(format!("{list:?}"), format!("{expected:?}"));
            }
        }
    }
}

#[test]
fn an_iterator_knows_how_many_addresses_are_left() {
    let addresses = addresses_v4(3);
    let mut iter = Addresses::from(&addresses[..]).iter();
    for left in [3, 2, 1, 0, 0] {
        assert_eq!(iter.len(), left);
        iter.next();
    }
}

#[test]
fn an_empty_list_is_empty() {
    let addresses = Addresses::from(&[] as &[Ipv4Addr]);
    assert!(addresses.is_empty());
    assert_eq!(addresses.iter().next(), None);
    // It still has a family, and is not the empty list of the other.
    assert_eq!(addresses.family(), Family::Ipv4);
    assert_ne!(addresses, Addresses::from(&[] as &[std::net::Ipv6Addr]));
}

#[test]
fn same_set_looks_at_count_and_members() {
    let [a, b, c] = [1, 2, 3].map(|last| Ipv4Addr::new(192, 0, 2, last));
    let same = |x: &[Ipv4Addr], y: &[Ipv4Addr]| Addresses::from(x).same_set(&Addresses::from(y));
    assert!(same(&[a, b], &[a, b]));
    assert!(same(&[a, b], &[b, a]));
    assert!(!same(&[a, b], &[a]));
    assert!(!same(&[a], &[a, a]));
    assert!(!same(&[a, b], &[a, c]));
    assert!(!same(&[a, a], &[a, b]));
    assert!(!same(&[a, b], &[a, a]));
}

#[test]
fn endpoints_have_one_family() {
    for (source, destination) in [
        (IpAddr::from(SENDER_V4), group(Family::Ipv4)),
        (SENDER_V6.into(), group(Family::Ipv6)),
    ] {
        let endpoints = Endpoints::new(source, destination).unwrap();
        assert_eq!(endpoints, Endpoints::multicast(source));
        assert_eq!(
            (endpoints.source(), endpoints.destination()),
            (source, destination)
        );
        assert_eq!(endpoints.family(), Family::of(source));
    }
    assert_eq!(Endpoints::new(SENDER_V4.into(), group(Family::Ipv6)), None);
    assert_eq!(Endpoints::new(SENDER_V6.into(), group(Family::Ipv4)), None);
}

#[test]
fn amb_28_a_time_in_centiseconds_is_rounded_up_to_seconds() {
    for centis in 1..=4095 {
        let interval = Interval::centis(centis).unwrap();
        let seconds = interval.to_seconds_rounded_up();
        assert_eq!(seconds.version(), Version::V2);
        assert_eq!(seconds.count(), centis.div_ceil(100));
    }
    for seconds in 1..=255 {
        let interval = Interval::seconds(seconds).unwrap();
        assert_eq!(interval.to_seconds_rounded_up(), interval);
        assert_eq!(interval.as_centis(), u16::from(seconds) * 100);
    }
}

#[test]
fn defaults_are_those_of_the_rfcs() {
    assert_eq!(Interval::DEFAULT_V2, Interval::seconds(1).unwrap());
    assert_eq!(Interval::DEFAULT_V3, Interval::centis(100).unwrap());
    assert_eq!(Priority::default().get(), 100);
    assert_eq!(Priority::from(7), Priority::new(7));
    assert!(Priority::OWNER.is_owner() && !Priority::new(254).is_owner());
    assert!(Priority::RESIGN.is_resign() && !Priority::new(1).is_resign());
    assert_eq!(MAX_MESSAGE_LEN, 4088);
}

#[test]
fn values_read_as_an_operator_writes_them() {
    let texts = [
        (Interval::DEFAULT_V2.to_string(), "1 s"),
        (Interval::DEFAULT_V3.to_string(), "100 cs"),
        (Priority::OWNER.to_string(), "255"),
        (Vrid::new(7).unwrap().to_string(), "7"),
        (Version::V2.to_string(), "VRRPv2"),
        (Version::V3.to_string(), "VRRPv3"),
        (Family::Ipv4.to_string(), "IPv4"),
        (Family::Ipv6.to_string(), "IPv6"),
        (Counter::Vrid.to_string(), "vrid-errors"),
        (AuthenticationMethod::None.to_string(), "none"),
        (AuthenticationMethod::SimpleText.to_string(), "simple text"),
        (AuthenticationMethod::IpAh.to_string(), "IP AH"),
        (AuthenticationMethod::Hmac.to_string(), "HMAC trailer"),
        (
            AuthenticationMethod::Unknown(254).to_string(),
            "unknown type 254",
        ),
    ];
    for (text, expected) in texts {
        assert_eq!(text, expected);
    }
}

#[test]
fn a_leniency_names_what_it_forgives() {
    assert_eq!(Leniency::NONE.names().count(), 0);
    assert!(Leniency::NONE.is_none() && !Leniency::ALL.is_none());
    assert_eq!(
        Leniency::ALL.names().collect::<Vec<_>>(),
        [
            "surplus",
            "v2-without-addresses",
            "first-address-not-link-local"
        ]
    );
}
