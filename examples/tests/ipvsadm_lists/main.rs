//! The lists of the program `ipvsadm`, against what ipvsadm 1.31 printed for the same tables. In
//! the texts a blank at the end of a line is written `·`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    fmt::Write,
    num::{NonZeroU16, NonZeroU32},
};

use ipvs_netlink::{
    Destination, DestinationKey, Family, ForwardingMethod, GueChecksum, Info, ListedDestination,
    ListedService, Netmask, Persistence, PersistenceEngine, PrefixLength, Protocol, Rates,
    Scheduler, SchedulerFlags, Service, ServiceKey, Stats, TableEntry, Thresholds, Tunnel, Version,
    Weight,
    connections::Connections,
    message::Change,
    rules::{Command, Form},
};
use vrrp_examples::ipvsadm::{
    connections,
    list::{Columns, List},
    names::{self, Names},
};

fn service(key: ServiceKey, scheduler: Scheduler, edit: impl FnOnce(&mut Service)) -> TableEntry {
    let mut service = Service::new(key, scheduler);
    edit(&mut service);
    TableEntry {
        service: ListedService {
            service,
            stats: Stats::default(),
            unknown: Vec::new(),
        },
        destinations: Vec::new(),
    }
}

fn tcp(endpoint: &str) -> ServiceKey {
    ServiceKey::tcp(endpoint.parse::<std::net::SocketAddr>().unwrap())
}

fn udp(endpoint: &str) -> ServiceKey {
    ServiceKey::udp(endpoint.parse::<std::net::SocketAddr>().unwrap())
}

fn mark(mark: u32, family: Family) -> ServiceKey {
    ServiceKey::mark(NonZeroU32::new(mark).unwrap(), family)
}

fn persist(service: &mut Service, timeout: u32, netmask: Option<Netmask>) {
    let netmask = netmask.unwrap_or(Netmask::host(service.key.family()));
    let persistence = Persistence { timeout, netmask };
    service.set_persistence(persistence).unwrap();
}

trait With {
    fn with(self, endpoint: &str, forwarding: ForwardingMethod, weight: u32) -> Self;
}

impl With for TableEntry {
    fn with(mut self, endpoint: &str, forwarding: ForwardingMethod, weight: u32) -> Self {
        let key = DestinationKey::new(endpoint.parse::<std::net::SocketAddr>().unwrap());
        self.destinations.push(ListedDestination {
            destination: Destination {
                weight: Weight::new(weight).unwrap(),
                ..Destination::new(key, forwarding)
            },
            active_connections: 0,
            inactive_connections: 0,
            persistent_connections: 0,
            stats: Stats::default(),
            unknown: Vec::new(),
        });
        self
    }
}

const MASQ: ForwardingMethod = ForwardingMethod::Masquerade;
const ROUTE: ForwardingMethod = ForwardingMethod::DirectRoute;

fn tunnel(tunnel: Tunnel) -> ForwardingMethod {
    ForwardingMethod::Tunnel(tunnel)
}

fn gue(port: u16, checksum: GueChecksum) -> ForwardingMethod {
    let port = NonZeroU16::new(port).unwrap();
    tunnel(Tunnel::Gue { port, checksum })
}

/// A table with a bit of everything.
fn everything() -> Vec<TableEntry> {
    let mut web = service(tcp("10.9.0.1:80"), Scheduler::WRR, |_| {})
        .with("192.168.1.1:80", ROUTE, 65535)
        .with("10.9.50.1:8080", MASQ, 3)
        .with("10.9.50.2:80", MASQ, 0);
    web.destinations[1].destination.thresholds = Thresholds::new(100, 50).unwrap();
    let sctp = ServiceKey::Address {
        protocol: Protocol::Sctp,
        address: "10.9.0.1".parse().unwrap(),
        port: 36412,
    };
    vec![
        web,
        service(tcp("10.9.0.2:443"), Scheduler::SH, |service| {
            service.scheduler_flags = SchedulerFlags::SH_FALLBACK | SchedulerFlags::SH_PORT;
            persist(service, 1800, Some(Netmask::V4([255, 255, 255, 0].into())));
        })
        .with("[fd00:9::60]:443", tunnel(Tunnel::IpIp), 1)
        .with("10.9.60.1:443", tunnel(Tunnel::IpIp), 1)
        .with("10.9.60.2:443", gue(6080, GueChecksum::Remote), 1)
        .with("10.9.60.3:443", gue(6081, GueChecksum::Full), 1)
        .with("10.9.60.4:443", gue(6082, GueChecksum::None), 1)
        .with("10.9.60.5:443", tunnel(Tunnel::Gre { checksum: false }), 1)
        .with("10.9.60.6:443", tunnel(Tunnel::Gre { checksum: true }), 1),
        service(tcp("10.9.0.3:0"), Scheduler::MH, |service| {
            service.scheduler_flags = SchedulerFlags::MH_FALLBACK | SchedulerFlags::MH_PORT;
            persist(service, 360, None);
        })
        .with("10.9.60.1:0", ROUTE, 1),
        service(udp("10.9.0.1:53"), Scheduler::RR, |service| {
            service.one_packet = true;
        })
        .with("10.9.50.1:5353", MASQ, 1),
        service(udp("10.9.0.4:5060"), Scheduler::RR, |service| {
            persist(service, 60, None);
            service.persistence_engine = Some(PersistenceEngine::SIP);
            service.one_packet = true;
        }),
        service(sctp, Scheduler::WLC, |service| persist(service, 600, None)).with(
            "10.9.50.9:36412",
            MASQ,
            1,
        ),
        service(tcp("[fd00:9::100]:80"), Scheduler::RR, |service| {
            persist(service, 300, PrefixLength::new(64).map(Netmask::V6).ok());
        })
        .with("[fd00:9::1]:8080", MASQ, 2),
        service(tcp("[fd00:9::101]:80"), Scheduler::LC, |service| {
            service.scheduler_flags = SchedulerFlags::FLAG_1 | SchedulerFlags::FLAG_3;
        }),
        service(mark(7, Family::V4), Scheduler::FO, |_| {})
            .with("10.9.60.1:0", ROUTE, 5)
            .with("10.9.60.2:99", MASQ, 1),
        service(mark(8, Family::V6), Scheduler::OVF, |service| {
            persist(service, 60, None);
        })
        .with("[fd00:9::2]:0", ROUTE, 1),
    ]
}

/// Two services of one destination each, one of them with the longest numeric names, which have
/// done what `stats` says.
fn busy(stats: Stats) -> Vec<TableEntry> {
    let mut entries = vec![
        service(mark(u32::MAX, Family::V6), Scheduler::RR, |_| {}).with(
            "192.168.100.100:55555",
            MASQ,
            1,
        ),
        service(
            tcp("[fd00:1234:5678:9abc:def0:1234:5678:9abc]:12345"),
            Scheduler::RR,
            |_| {},
        )
        .with("[fd00:1234:5678:9abc:def0:1234:5678:9abd]:12345", MASQ, 1),
    ];
    for entry in &mut entries {
        entry.service.stats = stats;
        entry.destinations[0].stats = stats;
    }
    entries
}

fn counters(numbers: [u64; 5]) -> Stats {
    let [
        connections,
        incoming_packets,
        outgoing_packets,
        incoming_bytes,
        outgoing_bytes,
    ] = numbers;
    Stats {
        connections,
        incoming_packets,
        outgoing_packets,
        incoming_bytes,
        outgoing_bytes,
        rates: Rates {
            connections,
            incoming_packets,
            outgoing_packets,
            incoming_bytes,
            outgoing_bytes,
        },
    }
}

#[track_caller]
fn prints(columns: Columns, exact: bool, entries: &[TableEntry], expected: &str) {
    let list = List {
        columns,
        exact,
        names: Names::Numeric,
    };
    let mut text = Vec::new();
    list.write(&mut text, entries).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert_eq!(text, expected.replace('·', " "), "\n{text}");
}

/// The lines of [`everything`]: services whole, destinations without their columns.
const EVERYTHING: &str = "\
TCP  10.9.0.1:80 wrr
  -> 192.168.1.1:80
  -> 10.9.50.1:8080
  -> 10.9.50.2:80
TCP  10.9.0.2:443 sh (sh-fallback,sh-port) persistent 1800 mask 255.255.255.0
  -> [fd00:9::60]:443
  -> 10.9.60.1:443
  -> 10.9.60.2:443
  -> 10.9.60.3:443
  -> 10.9.60.4:443
  -> 10.9.60.5:443
  -> 10.9.60.6:443
TCP  10.9.0.3:0 mh (mh-fallback,mh-port) persistent 360
  -> 10.9.60.1:0
UDP  10.9.0.1:53 rr ops
  -> 10.9.50.1:5353
UDP  10.9.0.4:5060 rr persistent 60 pe sip ops
SCTP 10.9.0.1:36412 wlc persistent 600
  -> 10.9.50.9:36412
TCP  [fd00:9::100]:80 rr persistent 300 mask 64
  -> [fd00:9::1]:8080
TCP  [fd00:9::101]:80 lc (flag-1,flag-3)
FWM  7 fo
  -> 10.9.60.1:0
  -> 10.9.60.2:99
FWM  8 IPv6 ovf persistent 60
  -> [fd00:9::2]:0
";

/// The destinations of [`everything`].
const DESTINATIONS: usize = 17;

/// Checks a list of [`everything`] by its headings and the columns of each destination.
#[track_caller]
fn prints_everything(columns: Columns, headings: &str, cells: &[&str; DESTINATIONS]) {
    let mut expected = headings.to_owned();
    let mut cells = cells.iter();
    for line in EVERYTHING.lines() {
        if line.starts_with("  ->") {
            writeln!(expected, "{line:33}{}", cells.next().unwrap()).unwrap();
        } else {
            writeln!(expected, "{line}").unwrap();
        }
    }
    prints(columns, false, &everything(), &expected);
}

/// Checks a list of [`everything`] that has names and five zeros in each line.
#[track_caller]
fn idle_list_has(columns: Columns, headings: &str) {
    let mut expected = headings.to_owned();
    for line in EVERYTHING.lines() {
        // Protocol and address, or the mark with its family. The settings of a service are not
        // shown.
        let name = match line.strip_prefix("FWM  ") {
            Some(mark) if mark.contains("IPv6") => "FWM  8 IPv6",
            Some(_) => "FWM  7",
            None if line.starts_with("  ->") => line,
            None => {
                let end = 5 + line[5..].find(' ').unwrap();
                &line[..end]
            }
        };
        writeln!(expected, "{name:33}{}", "        0".repeat(5)).unwrap();
    }
    prints(columns, false, &everything(), &expected);
}

/// Checks lists of [`busy`] tables: the numbers, and the columns of a service and of a destination.
#[track_caller]
fn prints_numbers(columns: Columns, exact: bool, cases: &[([u64; 5], &str, &str)]) {
    let headings = match columns {
        Columns::Rates => RATES_HEADINGS,
        _ => COUNTERS_HEADINGS,
    };
    for (numbers, service, destination) in cases {
        let mut expected = headings.to_owned();
        for (name, cells) in [
            ("FWM  -1 IPv6", service),
            ("  -> 192.168.100.100:55555", destination),
            (
                "TCP  [fd00:1234:5678:9abc:def0:1234:5678:9abc]:12345",
                service,
            ),
            (
                "  -> [fd00:1234:5678:9abc:def0:1234:5678:9abd]:12345",
                destination,
            ),
        ] {
            writeln!(expected, "{name:33}{cells}").unwrap();
        }
        prints(columns, exact, &busy(counters(*numbers)), &expected);
    }
}

#[test]
fn the_version_has_the_size_of_the_connection_table() {
    let version = Version {
        major: 1,
        minor: 2,
        patch: 1,
    };
    let info = |connection_table_size| Info {
        version,
        connection_table_size,
    };
    let mut text = Vec::new();
    List::version(&mut text, info(4096)).unwrap();
    assert_eq!(text, b"IP Virtual Server version 1.2.1 (size=4096)\n");
}

#[test]
fn the_plain_list_has_method_weight_and_connections() {
    prints_everything(
        Columns::Forwarding,
        "\
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
",
        &[
            " Route   65535  0          0·········",
            " Masq    3      0          0·········",
            " Masq    0      0          0·········",
            " Tunnel  1      0          0·········",
            " Tunnel  1      0          0·········",
            " Tunnel  1      0          0·········",
            " Tunnel  1      0          0·········",
            " Tunnel  1      0          0·········",
            " Tunnel  1      0          0·········",
            " Tunnel  1      0          0·········",
            " Route   1      0          0·········",
            " Masq    1      0          0·········",
            " Masq    1      0          0·········",
            " Masq    2      0          0·········",
            " Route   5      0          0·········",
            " Masq    1      0          0·········",
            " Route   1      0          0·········",
        ],
    );
}

#[test]
fn thresholds_are_shown_with_connections() {
    prints_everything(
        Columns::Thresholds,
        "\
Prot LocalAddress:Port            Uthreshold Lthreshold ActiveConn InActConn·
  -> RemoteAddress:Port
",
        &[
            " 0          0          0          0·········",
            " 100        50         0          0·········",
            " 0          0          0          0·········",
            " 0          0          0          0·········",
            " 0          0          0          0·········",
            " 0          0          0          0·········",
            " 0          0          0          0·········",
            " 0          0          0          0·········",
            " 0          0          0          0·········",
            " 0          0          0          0·········",
            " 0          0          0          0·········",
            " 0          0          0          0·········",
            " 0          0          0          0·········",
            " 0          0          0          0·········",
            " 0          0          0          0·········",
            " 0          0          0          0·········",
            " 0          0          0          0·········",
        ],
    );
}

#[test]
fn persistent_connections_are_shown_with_weights() {
    prints_everything(
        Columns::Persistence,
        "\
Prot LocalAddress:Port            Weight    PersistConn ActiveConn InActConn·
  -> RemoteAddress:Port
",
        &[
            " 65535     0           0          0·········",
            " 3         0           0          0·········",
            " 0         0           0          0·········",
            " 1         0           0          0·········",
            " 1         0           0          0·········",
            " 1         0           0          0·········",
            " 1         0           0          0·········",
            " 1         0           0          0·········",
            " 1         0           0          0·········",
            " 1         0           0          0·········",
            " 1         0           0          0·········",
            " 1         0           0          0·········",
            " 1         0           0          0·········",
            " 2         0           0          0·········",
            " 5         0           0          0·········",
            " 1         0           0          0·········",
            " 1         0           0          0·········",
        ],
    );
}

#[test]
fn tunnels_have_kind_port_and_checksum() {
    prints_everything(
        Columns::Tunnels,
        "\
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward TunnelInfo    Weight ActiveConn InActConn
",
        &[
            " Route   n/a           65535  0          0·········",
            " Masq    n/a           3      0          0·········",
            " Masq    n/a           0      0          0·········",
            " Tunnel  ipip          1      0          0·········",
            " Tunnel  ipip          1      0          0·········",
            " Tunnel  gue:6080:r+c  1      0          0·········",
            " Tunnel  gue:6081:+c   1      0          0·········",
            " Tunnel  gue:6082:-c   1      0          0·········",
            " Tunnel  gre:-c        1      0          0·········",
            " Tunnel  gre:+c        1      0          0·········",
            " Route   n/a           1      0          0·········",
            " Masq    n/a           1      0          0·········",
            " Masq    n/a           1      0          0·········",
            " Masq    n/a           2      0          0·········",
            " Route   n/a           5      0          0·········",
            " Masq    n/a           1      0          0·········",
            " Route   n/a           1      0          0·········",
        ],
    );
}

#[test]
fn counters_of_an_idle_table() {
    idle_list_has(Columns::Counters, COUNTERS_HEADINGS);
}

#[test]
fn rates_of_an_idle_table() {
    idle_list_has(Columns::Rates, RATES_HEADINGS);
}

#[test]
fn counters_are_cut_to_eight_figures() {
    let cases = [
        (
            [1, 2, 3, 4, 5],
            "        1        2        3        4        5",
            "        1        2        3        4        5",
        ),
        (
            [
                99_999_999,
                100_000_000,
                100_499_999,
                100_500_000,
                999_999_999,
            ],
            " 99999999  100000K  100499K  100500K  999999K",
            " 99999999  100000K  100499K  100500K  999999K",
        ),
        (
            [
                9_999_999_999,
                10_000_000_000,
                99_999_999_999,
                100_000_000_000,
                999_999_999_999,
            ],
            "    9999M   10000M   99999M     100G     999G",
            "    1410M    1410M    1215M     100G     999G",
        ),
        (
            [
                9_999_999_999_999,
                10_000_000_000_000,
                99_999_999_999_999,
                100_000_000_000_000,
                99_999_999_999_999_999,
            ],
            "    9999G   10000G   99999G     100T   99999T",
            "    1316M    1316M  276447K     100T   99999T",
        ),
        (
            [
                4_294_967_295,
                4_294_967_296,
                18_446_744_073_709_551_615,
                9_223_372_036_854_775_808,
                4_294_967_297,
            ],
            "    4294M    4294M18446744T 9223372T    4294M",
            "    4294M        0    4294M 9223372T    4294M",
        ),
    ];
    prints_numbers(Columns::Counters, false, &cases);
}

#[test]
fn exact_counters_are_written_out() {
    let cases = [
        (
            [1, 2, 3, 4, 5],
            "        1        2        3        4        5",
            "        1        2        3        4        5",
        ),
        (
            [
                99_999_999,
                100_000_000,
                100_499_999,
                100_500_000,
                999_999_999,
            ],
            " 99999999 100000000 100499999 100500000 999999999",
            " 99999999 100000000 100499999 100500000 999999999",
        ),
        (
            [
                9_999_999_999,
                10_000_000_000,
                99_999_999_999,
                100_000_000_000,
                999_999_999_999,
            ],
            " 9999999999 10000000000 99999999999 100000000000 999999999999",
            " 1410065407 1410065408 1215752191 100000000000 999999999999",
        ),
        (
            [
                9_999_999_999_999,
                10_000_000_000_000,
                99_999_999_999_999,
                100_000_000_000_000,
                99_999_999_999_999_999,
            ],
            " 9999999999999 10000000000000 99999999999999 100000000000000 99999999999999999",
            " 1316134911 1316134912 276447231 100000000000000 99999999999999999",
        ),
        (
            [
                4_294_967_295,
                4_294_967_296,
                18_446_744_073_709_551_615,
                9_223_372_036_854_775_808,
                4_294_967_297,
            ],
            " 4294967295 4294967296 18446744073709551615 9223372036854775808 4294967297",
            " 4294967295        0 4294967295 9223372036854775808 4294967297",
        ),
    ];
    prints_numbers(Columns::Counters, true, &cases);
}

#[test]
fn rates_are_cut_to_eight_figures_except_three_of_a_destination() {
    let cases = [
        (
            [6, 7, 8, 9, 10],
            "        6        7        8        9       10",
            "        6        7        8        9       10",
        ),
        (
            [
                99_999_999,
                100_000_000,
                100_499_999,
                100_500_000,
                999_999_999,
            ],
            " 99999999  100000K  100499K  100500K  999999K",
            " 99999999 100000000 100499999  100500K  999999K",
        ),
        (
            [
                9_999_999_999,
                10_000_000_000,
                99_999_999_999,
                100_000_000_000,
                999_999_999_999,
            ],
            "    9999M   10000M   99999M     100G     999G",
            " 1410065407 1410065408 1215752191    1215M    3567M",
        ),
        (
            [
                9_999_999_999_999,
                10_000_000_000_000,
                99_999_999_999_999,
                100_000_000_000_000,
                18_446_744_073_709_551_615,
            ],
            "    9999G   10000G   99999G     100T18446744T",
            " 1316134911 1316134912 276447231  276447K    4294M",
        ),
        (
            [
                4_294_967_295,
                4_294_967_296,
                18_446_744_073_709_551_615,
                9_223_372_036_854_775_808,
                4_294_967_297,
            ],
            "    4294M    4294M18446744T 9223372T    4294M",
            " 4294967295        0 4294967295        0        1",
        ),
    ];
    prints_numbers(Columns::Rates, false, &cases);
}

#[test]
fn exact_rates_are_written_out() {
    let cases = [
        (
            [6, 7, 8, 9, 10],
            "        6        7        8        9       10",
            "        6        7        8        9       10",
        ),
        (
            [
                99_999_999,
                100_000_000,
                100_499_999,
                100_500_000,
                999_999_999,
            ],
            " 99999999 100000000 100499999 100500000 999999999",
            " 99999999 100000000 100499999 100500000 999999999",
        ),
        (
            [
                9_999_999_999,
                10_000_000_000,
                99_999_999_999,
                100_000_000_000,
                999_999_999_999,
            ],
            " 9999999999 10000000000 99999999999 100000000000 999999999999",
            " 1410065407 1410065408 1215752191 1215752192 3567587327",
        ),
        (
            [
                9_999_999_999_999,
                10_000_000_000_000,
                99_999_999_999_999,
                100_000_000_000_000,
                18_446_744_073_709_551_615,
            ],
            " 9999999999999 10000000000000 99999999999999 100000000000000 18446744073709551615",
            " 1316134911 1316134912 276447231 276447232 4294967295",
        ),
        (
            [
                4_294_967_295,
                4_294_967_296,
                18_446_744_073_709_551_615,
                9_223_372_036_854_775_808,
                4_294_967_297,
            ],
            " 4294967295 4294967296 18446744073709551615 9223372036854775808 4294967297",
            " 4294967295        0 4294967295        0        1",
        ),
    ];
    prints_numbers(Columns::Rates, true, &cases);
}

const COUNTERS_HEADINGS: &str = "\
Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes
  -> RemoteAddress:Port
";

const RATES_HEADINGS: &str = "\
Prot LocalAddress:Port                 CPS    InPPS   OutPPS    InBPS   OutBPS
  -> RemoteAddress:Port
";

const CONNECTIONS: &str = "\
Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData
TCP fd00:0009:0000:0000:0000:0000:0000:0100 8286 fd00:0009:0000:0000:0000:0000:0000:0100 0050 fd00:0009:0000:0000:0000:0000:0000:0001 1F90 ESTABLISHED       9
TCP fd00:1234:5678:9abc:def0:1234:5678:9abc FFFF fd00:1234:5678:9abc:def0:1234:5678:9abc FFFF fd00:1234:5678:9abc:def0:1234:5678:9abd FFFF ESTABLISHED     899
TCP 0A090001 86F8 0A090001 0050 0A093201 1F90 FIN_WAIT         19
TCP C0A86464 FFFF C0A86464 FFFF C0A86464 FFFF ESTABLISHED       0
UDP 0A090001 C92C 0A090001 0035 0A093201 14E9 UDP              29
UDP 0A090001 C92C 0A090001 0035 0A093263 0045 UDP            5999
SCTP 0A090001 C92C 0A090001 8E3C 0A093209 8E3C COOKIE_ECHOED    6000
SCTP 0A090001 0050 0A090001 0050 0A093209 0050 ESTABLISHED    6000
TCP 0A090001 0000 0A090001 0050 0A093201 1F90 ASSURED         299
IP  0A090001 0000 00000007 0000 0A093201 0000 NONE            299
IP  0A090001 0000 00000007 0050 0A093201 0050 NONE            360000
UDP 0A090001 13C4 0A090002 13C4 0A093201 13C4 UDP             299 sip a84b4c76e66710@pc33.example.com
UDP 0A090001 0000 0A090002 13C4 0A093201 13C4 UDP             299 sip a84b4c76 with blanks
TCP 0A090001 86F8 0A090001 0050 fd00:0009:0000:0000:0000:0000:0000:0001 1F90 SYN_RECV         59
";

#[track_caller]
fn lists_connections(with_engine: bool, expected: &str) {
    let mut text = Vec::new();
    let connections = Connections::new(CONNECTIONS.as_bytes());
    connections::write(&mut text, connections, Names::Numeric, with_engine)
        .unwrap()
        .unwrap();
    let text = String::from_utf8(text).unwrap();
    assert_eq!(text, expected, "\n{text}");
}

#[test]
fn connections_have_minutes_state_and_endpoints() {
    lists_connections(
        false,
        "\
IPVS connection entries
pro expire state       source             virtual            destination
TCP 00:09  ESTABLISHED [fd00:9::100]:33414 [fd00:9::100]:80   [fd00:9::1]:8080
TCP 14:59  ESTABLISHED [fd00:1234:5678:9abc:def0:1234:5678:9abc]:65535 [fd00:1234:5678:9abc:def0:1234:5678:9abc]:65535 [fd00:1234:5678:9abc:def0:1234:5678:9abd]:65535
TCP 00:19  FIN_WAIT    10.9.0.1:34552     10.9.0.1:80        10.9.50.1:8080
TCP 00:00  ESTABLISHED 192.168.100.100:65535 192.168.100.100:65535 192.168.100.100:65535
UDP 00:29  UDP         10.9.0.1:51500     10.9.0.1:53        10.9.50.1:5353
UDP 99:59  UDP         10.9.0.1:51500     10.9.0.1:53        10.9.50.99:69
SCTP 100:00 COOKIE_ECHOED 10.9.0.1:51500     10.9.0.1:36412     10.9.50.9:36412
SCTP 100:00 ESTABLISHED 10.9.0.1:80        10.9.0.1:80        10.9.50.9:80
TCP 04:59  ASSURED     10.9.0.1:0         10.9.0.1:80        10.9.50.1:8080
IP  04:59  NONE        10.9.0.1:0         0.0.0.7:0          10.9.50.1:0
IP  6000:00 NONE        10.9.0.1:0         0.0.0.7:80         10.9.50.1:80
UDP 04:59  UDP         10.9.0.1:5060      10.9.0.2:5060      10.9.50.1:5060
UDP 04:59  UDP         10.9.0.1:0         10.9.0.2:5060      10.9.50.1:5060
TCP 00:59  SYN_RECV    10.9.0.1:34552     10.9.0.1:80        [fd00:9::1]:8080
",
    );
}

#[test]
fn connections_of_a_persistence_engine_have_the_first_word_of_its_data() {
    lists_connections(
        true,
        "\
IPVS connection entries
pro expire state       source             virtual            destination        pe name          pe_data
TCP 00:09  ESTABLISHED [fd00:9::100]:33414 [fd00:9::100]:80   [fd00:9::1]:8080
TCP 14:59  ESTABLISHED [fd00:1234:5678:9abc:def0:1234:5678:9abc]:65535 [fd00:1234:5678:9abc:def0:1234:5678:9abc]:65535 [fd00:1234:5678:9abc:def0:1234:5678:9abd]:65535
TCP 00:19  FIN_WAIT    10.9.0.1:34552     10.9.0.1:80        10.9.50.1:8080
TCP 00:00  ESTABLISHED 192.168.100.100:65535 192.168.100.100:65535 192.168.100.100:65535
UDP 00:29  UDP         10.9.0.1:51500     10.9.0.1:53        10.9.50.1:5353
UDP 99:59  UDP         10.9.0.1:51500     10.9.0.1:53        10.9.50.99:69
SCTP 100:00 COOKIE_ECHOED 10.9.0.1:51500     10.9.0.1:36412     10.9.50.9:36412
SCTP 100:00 ESTABLISHED 10.9.0.1:80        10.9.0.1:80        10.9.50.9:80
TCP 04:59  ASSURED     10.9.0.1:0         10.9.0.1:80        10.9.50.1:8080
IP  04:59  NONE        10.9.0.1:0         0.0.0.7:0          10.9.50.1:0
IP  6000:00 NONE        10.9.0.1:0         0.0.0.7:80         10.9.50.1:80
UDP 04:59  UDP         10.9.0.1:5060      10.9.0.2:5060      10.9.50.1:5060   sip                a84b4c76e66710@pc33.example.com
UDP 04:59  UDP         10.9.0.1:0         10.9.0.2:5060      10.9.50.1:5060   sip                a84b4c76
TCP 00:59  SYN_RECV    10.9.0.1:34552     10.9.0.1:80        [fd00:9::1]:8080
",
    );
}

#[test]
fn a_connection_that_cannot_be_read_does_not_hide_the_others() {
    let mut text = Vec::new();
    let broken = CONNECTIONS.replacen("0A090001", "0A09000", 1);
    let connections = Connections::new(broken.as_bytes());
    let outcome = connections::write(&mut text, connections, Names::Numeric, false).unwrap();
    assert!(
        outcome
            .unwrap_err()
            .to_string()
            .starts_with("line 4 of the connections")
    );
    let lines = String::from_utf8(text).unwrap().lines().count();
    // Two lines of headings take the place of the one and of the bad line.
    assert_eq!(lines, CONNECTIONS.lines().count());
}

#[test]
fn settings_that_ipvsadm_cannot_name_are_printed_as_it_prints_them() {
    let entries = [service(tcp("10.9.0.1:80"), Scheduler::SH, |service| {
        service.scheduler_flags = SchedulerFlags::FLAG_3;
        persist(service, 0, Some(Netmask::V4([1, 0, 0, 128].into())));
    })
    .with("192.168.1.1:80", ForwardingMethod::Bypass, 2_147_483_647)
    .with("192.168.1.2:80", ForwardingMethod::Local, 65536)];
    prints(
        Columns::Forwarding,
        false,
        &entries,
        "\
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  10.9.0.1:80 sh () persistent 0 mask 1.0.0.128
  -> 192.168.1.1:80               (null)  2147483647 0          0·········
  -> 192.168.1.2:80               Local   65536  0          0·········
",
    );
}

#[test]
fn a_persistence_engine_is_shown_after_the_mask_and_only_with_persistence() {
    let engine = |edit: fn(&mut Service)| {
        service(udp("10.9.0.1:5060"), Scheduler::WLC, |service| {
            service.persistence_engine = Some(PersistenceEngine::SIP);
            edit(service);
        })
    };
    let entries = [
        engine(|_| {}),
        engine(|service| persist(service, 60, Some(Netmask::V4([255, 0, 0, 0].into())))),
    ];
    prints(
        Columns::Forwarding,
        false,
        &entries,
        "\
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
UDP  10.9.0.1:5060 wlc
UDP  10.9.0.1:5060 wlc persistent 60 mask 255.0.0.0 pe sip
",
    );
}

#[test]
fn the_widest_numbers_push_the_columns() {
    let mut entries = busy(Stats::default());
    for destination in entries.iter_mut().flat_map(|entry| &mut entry.destinations) {
        destination.destination.thresholds = Thresholds::new(2_147_483_647, 2_147_483_647).unwrap();
        destination.active_connections = u32::MAX;
        destination.inactive_connections = 2_147_483_648;
        destination.persistent_connections = 4_000_000_000;
    }
    prints(
        Columns::Thresholds,
        false,
        &entries,
        "\
Prot LocalAddress:Port            Uthreshold Lthreshold ActiveConn InActConn·
  -> RemoteAddress:Port
FWM  -1 IPv6 rr
  -> 192.168.100.100:55555        2147483647 2147483647 4294967295 2147483648
TCP  [fd00:1234:5678:9abc:def0:1234:5678:9abc]:12345 rr
  -> [fd00:1234:5678:9abc:def0:1234:5678:9abd]:12345 2147483647 2147483647 4294967295 2147483648
",
    );
    prints(
        Columns::Persistence,
        false,
        &entries,
        "\
Prot LocalAddress:Port            Weight    PersistConn ActiveConn InActConn·
  -> RemoteAddress:Port
FWM  -1 IPv6 rr
  -> 192.168.100.100:55555        1         4000000000  4294967295 2147483648
TCP  [fd00:1234:5678:9abc:def0:1234:5678:9abc]:12345 rr
  -> [fd00:1234:5678:9abc:def0:1234:5678:9abd]:12345 1         4000000000  4294967295 2147483648
",
    );
}

#[test]
fn the_grammar_reads_names_of_the_system() {
    let command = names::grammar(Form::Ipvsadm).command(&["-A", "-t", "localhost:http"]);
    let service = Service::new(tcp("127.0.0.1:80"), Scheduler::WLC);
    assert_eq!(command, Ok(Command::Change(Change::AddService(service))));
}

#[test]
fn names_of_services_are_found_both_ways() {
    let web = Names::LookedUp.endpoint("192.0.2.1".parse().unwrap(), 80, Some(Protocol::Tcp));
    assert!(web.ends_with(":http"), "{web}");
    assert_eq!(names::service_port("http", Protocol::Tcp), Some(80));
    assert_eq!(names::service_port("domain", Protocol::Udp), Some(53));
    assert_eq!(names::service_port("no-such-service", Protocol::Tcp), None);
    assert_eq!(names::host_address("127.0.0.1"), "127.0.0.1".parse().ok());
    assert_eq!(names::host_address("localhost"), "127.0.0.1".parse().ok());
}

#[test]
fn many_threads_find_their_own_names_of_services() {
    let find = |port: u16, name: &'static str| {
        move || {
            for _ in 0..2_000 {
                assert_eq!(names::service_port(name, Protocol::Tcp), Some(port));
                let text =
                    Names::LookedUp.endpoint([127, 0, 0, 1].into(), port, Some(Protocol::Tcp));
                assert!(text.ends_with(&format!(":{name}")), "{text}");
            }
        }
    };
    std::thread::scope(|scope| {
        for (port, name) in [(80, "http"), (25, "smtp"), (22, "ssh"), (110, "pop3")] {
            scope.spawn(find(port, name));
        }
    });
}
