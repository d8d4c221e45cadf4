//! The value types of the crate: their ranges and their text.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use vrrp_proto::{
    Addresses, AuthenticationMethod, Counter, Endpoints, Family, Interval, InvalidValue, Leniency,
    MAX_MESSAGE_LEN, OutOfRange, Password, Priority, Version, Vrid, group,
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
    // An empty list still has a family, and differs from the empty list of the other family.
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
fn a_leniency_names_its_deviations() {
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

#[test]
fn text_forms_are_read_back() {
    for priority in 0..=255 {
        let priority = Priority::new(priority);
        assert_eq!(priority.to_string().parse(), Ok(priority));
    }
    for vrid in (1..=255).filter_map(Vrid::new) {
        assert_eq!(vrid.to_string().parse(), Ok(vrid));
    }
    for interval in (1..=4095)
        .map(Interval::centis)
        .chain((1..=255).map(Interval::seconds))
    {
        let interval = interval.unwrap();
        assert_eq!(interval.to_string().parse(), Ok(interval));
    }
    for version in [Version::V2, Version::V3] {
        assert_eq!(version.to_string().parse(), Ok(version));
        assert_eq!(version.number().to_string().parse(), Ok(version));
        assert_eq!(Version::try_from(version.number()), Ok(version));
    }
    for family in [Family::Ipv4, Family::Ipv6] {
        assert_eq!(family.to_string().parse(), Ok(family));
    }
    assert_eq!("s3cret".parse(), Password::new(b"s3cret"));
}

#[test]
fn text_that_is_no_value_is_refused_with_the_accepted_forms() {
    let text = |problem: InvalidValue| problem.to_string();
    for wrong in ["", "256", "-1", "1.5", "high"] {
        let problem = wrong.parse::<Priority>().unwrap_err();
        assert_eq!(text(problem), "priority: expected a number, 0 to 255");
    }
    let problem = "0".parse::<Vrid>().unwrap_err();
    assert_eq!(text(problem), "VRID 0 is not in 1..=255");
    let problem = "4".parse::<Version>().unwrap_err();
    assert_eq!(text(problem), "version: expected 2 or 3");
    assert_eq!(
        Version::try_from(4).unwrap_err().to_string(),
        "version 4 is not in 2..=3"
    );
    let problem = "ip".parse::<Family>().unwrap_err();
    assert_eq!(text(problem), "family: expected ipv4 or ipv6");
    for wrong in ["", "1", "s", "1 m", "1  s", "-1 s", "1.5 s", "\u{e9}1 s"] {
        let problem = wrong.parse::<Interval>().unwrap_err();
        let expected = "interval: expected a number with a unit: 1 s, 100 cs or 1000 ms";
        assert_eq!(text(problem), expected, "{wrong}");
    }
    for (wrong, expected) in [
        ("0 s", "interval in seconds 0 is not in 1..=255"),
        ("256 s", "interval in seconds 256 is not in 1..=255"),
        ("0 cs", "interval in centiseconds 0 is not in 1..=4095"),
        ("4096cs", "interval in centiseconds 4096 is not in 1..=4095"),
        (
            "40960 ms",
            "interval in centiseconds 4096 is not in 1..=4095",
        ),
        ("15 ms", "interval: expected a multiple of 10 ms"),
    ] {
        assert_eq!(text(wrong.parse::<Interval>().unwrap_err()), expected);
    }
    assert!("123456789".parse::<Password>().is_err());
}

#[test]
fn a_duration_is_an_interval_of_version_3() {
    let centis = |duration| Interval::try_from(duration).map(|it| (it.version(), it.count()));
    assert_eq!(centis(Duration::from_millis(10)), Ok((Version::V3, 1)));
    assert_eq!(
        centis(Duration::from_millis(40_950)),
        Ok((Version::V3, 4095))
    );
    for (wrong, value) in [
        (Duration::ZERO, 0),
        (Duration::from_millis(40_960), 4096),
        (Duration::from_secs(u64::MAX / 100), u64::MAX / 100 * 100),
    ] {
        let range = OutOfRange {
            field: "interval in centiseconds",
            value,
            lowest: 1,
            highest: 4095,
        };
        assert_eq!(centis(wrong), Err(InvalidValue::OutOfRange(range)));
    }
    let odd = Duration::from_nanos(10_000_001);
    assert!(matches!(centis(odd), Err(InvalidValue::Form { .. })));
}

#[test]
fn endpoints_are_ordered_by_family_source_and_destination() {
    let from = |last| Endpoints::multicast(IpAddr::from([192, 0, 2, last]));
    let v6 = Endpoints::multicast(SENDER_V6.into());
    let mut list = [v6, from(10), from(9)];
    list.sort();
    assert_eq!(list, [from(9), from(10), v6]);
}
