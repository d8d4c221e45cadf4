use std::fmt::Write;

use proptest::prelude::*;

use super::*;
use crate::{
    DaemonState, Destination, DestinationKey, ForwardingMethod, ServiceKey, Timeouts, Weight,
    testing,
};

/// Names as in /etc/hosts and /etc/services.
fn names() -> Names<'static> {
    Names {
        host: &|name| (name == "localhost").then(|| [127, 0, 0, 1].into()),
        port: &|name, protocol| match (name, protocol) {
            ("http", Protocol::Tcp) => Some(80),
            ("domain", Protocol::Tcp | Protocol::Udp) => Some(53),
            ("tftp", Protocol::Udp) => Some(69),
            _ => None,
        },
    }
}

fn ipvsadm() -> Grammar<'static> {
    Grammar {
        form: Form::Ipvsadm,
        names: Some(names()),
    }
}

fn command(line: &str) -> Result<Command, ParseError> {
    let words: Vec<_> = line.split_whitespace().collect();
    ipvsadm().command(&words)
}

fn problem(line: &str) -> Problem {
    match command(line) {
        Err(error) => error.problem,
        Ok(command) => panic!("{line}: {command:?}"),
    }
}

/// The `-Sn` of ipvsadm 1.31 after a command on an empty table.
const SERVICES: &[(&str, &str)] = &[
    ("-A -t 1.2.3.4:80", "-A -t 1.2.3.4:80 -s wlc"),
    ("-At1.2.3.4:80 -srr", "-A -t 1.2.3.4:80 -s rr"),
    ("-A -t=1.2.3.4:80", "-A -t 1.2.3.4:80 -s wlc"),
    (
        "--add-service --tcp-service=1.2.3.4:80 --scheduler=rr",
        "-A -t 1.2.3.4:80 -s rr",
    ),
    ("-A -t 1.2.3.4:80 --scheduler=", "-A -t 1.2.3.4:80 -s wlc"),
    ("-A -t 1.2.3.4:80 -p", "-A -t 1.2.3.4:80 -s wlc -p 360"),
    ("-A -t 1.2.3.4:80 -p 100", "-A -t 1.2.3.4:80 -s wlc -p 100"),
    ("-A -t 1.2.3.4:80 -p=100", "-A -t 1.2.3.4:80 -s wlc -p 100"),
    (
        "-A -t 1.2.3.4:80 --persistent 77",
        "-A -t 1.2.3.4:80 -s wlc -p 77",
    ),
    ("-A -p -t 1.2.3.4:80 -s rr", "-A -t 1.2.3.4:80 -s rr -p 360"),
    (
        "-A -t 1.2.3.4:80 -p 2678400",
        "-A -t 1.2.3.4:80 -s wlc -p 2678400",
    ),
    ("-A -t 1.2.3.4:80 -p +010", "-A -t 1.2.3.4:80 -s wlc -p 10"),
    ("-A -t 1.2.3.4:80 --", "-A -t 1.2.3.4:80 -s wlc"),
    ("-A -t 1.2.3.4:80 --sort", "-A -t 1.2.3.4:80 -s wlc"),
    ("-A -f 5", "-A -f 5 -s wlc"),
    ("-Af5 -6", "-A -f 5 -6 -s wlc"),
    ("-A -f 5 -6 -6", "-A -f 5 -6 -s wlc"),
    ("-A --fwmark-service 5 --ipv6", "-A -f 5 -6 -s wlc"),
    ("-A -f 010", "-A -f 10 -s wlc"),
    ("-A -f 4294967295", "-A -f -1 -s wlc"),
    ("-A -f 2147483648", "-A -f -2147483648 -s wlc"),
    ("-A -t 1.2.3.4 -p", "-A -t 1.2.3.4:0 -s wlc -p 360"),
    ("-A -t ::1 -p", "-A -t [::1]:0 -s wlc -p 360"),
    ("-A -t [fd00::5]:65535", "-A -t [fd00::5]:65535 -s wlc"),
    ("-A -t [FD00:0:0::0001]:80", "-A -t [fd00::1]:80 -s wlc"),
    (
        "-A -t [::ffff:1.2.3.4]:80",
        "-A -t [::ffff:1.2.3.4]:80 -s wlc",
    ),
    ("-A -t [::1:2]:80", "-A -t [::0.1.0.2]:80 -s wlc"),
    ("-A -t [::2]:80", "-A -t [::2]:80 -s wlc"),
    ("-A -t [0:0:0:0:1:0:0:0]:80", "-A -t [::1:0:0:0]:80 -s wlc"),
    (
        "-A -t [1:0:0:2:0:0:3:4]:80",
        "-A -t [1::2:0:0:3:4]:80 -s wlc",
    ),
    (
        "-A -t [1:0:2:3:4:5:6:7]:80",
        "-A -t [1:0:2:3:4:5:6:7]:80 -s wlc",
    ),
    (
        "-A -t [::ffff:0:1.2.3.4]:80",
        "-A -t [::ffff:0:102:304]:80 -s wlc",
    ),
    ("-A -t 1.2.3.4:+080", "-A -t 1.2.3.4:80 -s wlc"),
    ("-A -t localhost:http", "-A -t 127.0.0.1:80 -s wlc"),
    ("-A -u 1.2.3.4:tftp", "-A -u 1.2.3.4:69 -s wlc"),
    (
        "-A --sctp-service 1.2.3.4:99",
        "-A --sctp-service 1.2.3.4:99 -s wlc",
    ),
    ("-A -t 1.2.772:80", "-A -t 1.2.3.4:80 -s wlc"),
    ("-A -t 16909060:80", "-A -t 1.2.3.4:80 -s wlc"),
    ("-A -t 0x01020304:80", "-A -t 1.2.3.4:80 -s wlc"),
    ("-A -t 01.02.03.010:80", "-A -t 1.2.3.8:80 -s wlc"),
    ("-A -u 1.2.3.4:53 -o", "-A -u 1.2.3.4:53 -s wlc -o"),
    ("-A -f 5 --ops", "-A -f 5 -s wlc -o"),
    (
        "-A -t 1.2.3.4:80 -M 255.255.255.0",
        "-A -t 1.2.3.4:80 -s wlc",
    ),
    (
        "-A -M 255.255.255.0 -t 1.2.3.4:80 -p 7",
        "-A -t 1.2.3.4:80 -s wlc -p 7 -M 255.255.255.0",
    ),
    (
        "-A -t 1.2.3.4:80 -p -M 255.255.255.255",
        "-A -t 1.2.3.4:80 -s wlc -p 360",
    ),
    (
        "-A -t 1.2.3.4:80 -p -M 0.0.0.0",
        "-A -t 1.2.3.4:80 -s wlc -p 360 -M 0.0.0.0",
    ),
    (
        "-A -t 1.2.3.4:80 -p -M 24",
        "-A -t 1.2.3.4:80 -s wlc -p 360 -M 0.0.0.24",
    ),
    (
        "-A -t [fd00::1]:80 -p -M 064",
        "-A -t [fd00::1]:80 -s wlc -p 360 -M 64",
    ),
    (
        "-A -t [fd00::1]:80 -p -M 128",
        "-A -t [fd00::1]:80 -s wlc -p 360",
    ),
    ("-A -f 5 -6 -p -M 1", "-A -f 5 -6 -s wlc -p 360 -M 1"),
    (
        "-A -u 1.2.3.4:5060 --pe sip",
        "-A -u 1.2.3.4:5060 -s wlc --pe sip",
    ),
    (
        "-A -u 1.2.3.4:53 -o -b flag-1 --pe sip -p 9 -s rr",
        "-A -u 1.2.3.4:53 -s rr -p 9 --pe sip -o -b flag-1",
    ),
    (
        "-A -t 1.2.3.4:80 -b flag-3,flag-1",
        "-A -t 1.2.3.4:80 -s wlc -b flag-1,flag-3",
    ),
    (
        "-A -t 1.2.3.4:80 -b ,flag-1,,flag-2,",
        "-A -t 1.2.3.4:80 -s wlc -b flag-1,flag-2",
    ),
    (
        "-A -t 1.2.3.4:80 -b sh-port -s sh",
        "-A -t 1.2.3.4:80 -s sh -b sh-port",
    ),
    (
        "-A -t 1.2.3.4:80 -s sh -b flag-1",
        "-A -t 1.2.3.4:80 -s sh -b sh-fallback",
    ),
    (
        "-A -t 1.2.3.4:80 -s mh -b flag-1,flag-2,flag-3",
        "-A -t 1.2.3.4:80 -s mh -b mh-fallback,mh-port",
    ),
    (
        "-A -t 1.2.3.4:80 -s sh -b flag-3",
        "-A -t 1.2.3.4:80 -s sh -b ",
    ),
];

#[test]
fn services_are_read_as_ipvsadm_reads_them() {
    for (line, saved) in SERVICES {
        let Ok(Command::Change(Change::AddService(service))) = command(line) else {
            panic!("{line}: {:?}", command(line));
        };
        let server = VirtualServer {
            service,
            destinations: Vec::new(),
        };
        assert_eq!(
            print(&[server], Form::Ipvsadm),
            format!("{saved}\n"),
            "{line}"
        );
    }
}

/// The `-Sn` of ipvsadm 1.31 after `-a` with these options.
const DESTINATIONS: &[(&str, &str)] = &[
    (
        "-t 1.2.3.4:80 -r 9.9.9.9",
        "-t 1.2.3.4:80 -r 9.9.9.9:80 -g -w 1",
    ),
    (
        "-t 1.2.3.4:80 -r 9.9.9.9:0",
        "-t 1.2.3.4:80 -r 9.9.9.9:80 -g -w 1",
    ),
    (
        "-t 1.2.3.4:80 -r 9.9.9.9:0 -m",
        "-t 1.2.3.4:80 -r 9.9.9.9:0 -m -w 1",
    ),
    (
        "-t 1.2.3.4:80 -r 9.9.9.9 -m",
        "-t 1.2.3.4:80 -r 9.9.9.9:80 -m -w 1",
    ),
    (
        "-t 1.2.3.4:80 -r 9.9.9.9:81",
        "-t 1.2.3.4:80 -r 9.9.9.9:80 -g -w 1",
    ),
    (
        "-t 1.2.3.4:80 -r 9.9.9.9:81 -i",
        "-t 1.2.3.4:80 -r 9.9.9.9:80 -i -w 1 --tun-type ipip",
    ),
    (
        "-t 1.2.3.4:80 -r 9.9.9.9:81 -m",
        "-t 1.2.3.4:80 -r 9.9.9.9:81 -m -w 1",
    ),
    (
        "-t 1.2.3.4:80 -r 9.9.9.9:http -m",
        "-t 1.2.3.4:80 -r 9.9.9.9:80 -m -w 1",
    ),
    (
        "-u 1.2.3.4:53 -r 9.9.9.9:tftp -m",
        "-u 1.2.3.4:53 -r 9.9.9.9:69 -m -w 1",
    ),
    (
        "-t 1.2.3.4:80 -r fd00::9 -i",
        "-t 1.2.3.4:80 -r [fd00::9]:80 -i -w 1 --tun-type ipip",
    ),
    (
        "-t [fd00::1]:80 -r 9.9.9.9:80 -i",
        "-t [fd00::1]:80 -r 9.9.9.9:80 -i -w 1 --tun-type ipip",
    ),
    (
        "-t 1.2.3.5 -r 9.9.9.9:81",
        "-t 1.2.3.5:0 -r 9.9.9.9:0 -g -w 1",
    ),
    (
        "-t 1.2.3.5 -r 9.9.9.9:81 -m",
        "-t 1.2.3.5:0 -r 9.9.9.9:81 -m -w 1",
    ),
    ("-f 7 -r 9.9.9.9", "-f 7 -r 9.9.9.9:0 -g -w 1"),
    ("-f 7 -r 9.9.9.9:81", "-f 7 -r 9.9.9.9:81 -g -w 1"),
    ("-f 7 -r 9.9.9.9:domain -m", "-f 7 -r 9.9.9.9:53 -m -w 1"),
    (
        "-f 8 -r [fd00::9]:80 -m -6",
        "-f 8 -6 -r [fd00::9]:80 -m -w 1",
    ),
    ("-r 9.9.9.9:81 -m -f 7", "-f 7 -r 9.9.9.9:81 -m -w 1"),
    (
        "-t 1.2.3.4:80 -r 9.9.9.9 -w 0",
        "-t 1.2.3.4:80 -r 9.9.9.9:80 -g -w 0",
    ),
    (
        "-t 1.2.3.4:80 -r 9.9.9.9 -mw 010",
        "-t 1.2.3.4:80 -r 9.9.9.9:80 -m -w 10",
    ),
    (
        "-t 1.2.3.4:80 -r9.9.9.9 -w=3",
        "-t 1.2.3.4:80 -r 9.9.9.9:80 -g -w 3",
    ),
    (
        "-t 1.2.3.4:80 -r 9.9.9.9 -w 2147483647",
        "-t 1.2.3.4:80 -r 9.9.9.9:80 -g -w 2147483647",
    ),
    (
        "-t 1.2.3.4:80 -r 9.9.9.9 -x 50 -y 50",
        "-t 1.2.3.4:80 -r 9.9.9.9:80 -g -w 1",
    ),
    (
        "-t 1.2.3.4:80 -r 9.9.9.9 -i --tun-csum --tun-type gue --tun-port 6080",
        "-t 1.2.3.4:80 -r 9.9.9.9:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-csum",
    ),
    (
        "-t 1.2.3.4:80 -r 9.9.9.9 -i --tun-type gue --tun-port 6080",
        "-t 1.2.3.4:80 -r 9.9.9.9:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-nocsum",
    ),
    (
        "-t 1.2.3.4:80 -r 9.9.9.9 -i --tun-type gue --tun-port 9 --tun-remcsum",
        "-t 1.2.3.4:80 -r 9.9.9.9:80 -i -w 1 --tun-type gue --tun-port 9 --tun-remcsum",
    ),
    (
        "-t 1.2.3.4:80 -r 9.9.9.9 --tun-csum --tun-type gre -i",
        "-t 1.2.3.4:80 -r 9.9.9.9:80 -i -w 1 --tun-type gre --tun-csum",
    ),
    (
        "-t 1.2.3.4:80 -r 9.9.9.9 -i --tun-type gre",
        "-t 1.2.3.4:80 -r 9.9.9.9:80 -i -w 1 --tun-type gre --tun-nocsum",
    ),
];

#[test]
fn destinations_are_read_as_ipvsadm_reads_them() {
    for (options, saved) in DESTINATIONS {
        for verb in ["-a", "-e"] {
            let (service, destination) = match command(&format!("{verb} {options}")) {
                Ok(Command::Change(
                    Change::AddDestination {
                        service,
                        destination,
                    }
                    | Change::UpdateDestination {
                        service,
                        destination,
                    },
                )) => (service, destination),
                other => panic!("{options}: {other:?}"),
            };
            let server = VirtualServer {
                service: crate::Service::new(service, crate::Scheduler::WLC),
                destinations: vec![destination],
            };
            let text = print(&[server], Form::Ipvsadm);
            let line = text.lines().nth(1).unwrap();
            assert_eq!(line, format!("-a {saved}"), "{options}");
        }
    }
}

/// Commands that ipvsadm 1.31 refuses with exit status 2.
const REFUSED: &[&str] = &[
    "-A",
    "-A -s rr",
    "-A -E -t 1.2.3.4:80",
    "-AE -t 1.2.3.4:80",
    "-L --set 1 2 3",
    "-A -t 1.2.3.4:80 -p 0",
    "-A -t 1.2.3.4:80 -p 2678401",
    "-A -t 1.2.3.4:80 -p 10x",
    "-A -t 1.2.3.4:80 -p 0x10",
    "-A -t 1.2.3.4:80 -ps rr",
    "-A -p= -t 1.2.3.4:80",
    "-A -t 1.2.3.4:80 extra",
    "-A -t 1.2.3.4:80 -- extra",
    "-A -t 1.2.3.4:80 -p -- 5",
    "-A -t 1.2.3.4:80 -",
    "-A foo -t 1.2.3.4:80",
    "foo -A -t 1.2.3.4:80",
    "-A -t 1.2.3.4:80 -u 1.2.3.4:81",
    "-A -t 1.2.3.4:80 -f 5",
    "-A -t 1.2.3.4:80 -s rr -s wrr",
    "-A -t 1.2.3.4:80 -p -p",
    "-A -6 -f 5",
    "-A6f 5",
    "-A -t 1.2.3.4:80 -6",
    "-A -f 0",
    "-A -f 4294967296",
    "-A -f -1",
    "-A -f 0x10",
    "-A -t 1.2.3.4",
    "-A -t 1.2.3.4:0",
    "-A -t ::1:80",
    "-E -t 1.2.3.4",
    "-A -t 1.2.3.4: -p",
    "-A -t :80",
    "-A -t [::1] -p",
    "-A -t [::1",
    "-A -t [::1]x80",
    "-A -t [1.2.3.4]:80",
    "-A -t [fe80::1%lo]:80",
    "-A -t 1.2.3.4:65536",
    "-A -t 1.2.3.4:-1",
    "-A -t 1.2.3.4:0x50",
    "-A -t 1.2.3.4:80x",
    "-A -t 1.2.3.4:tftp",
    "-A --sctp-service 1.2.3.4:http",
    "-A -t 1.2.3.4:80:90",
    "-A -t nonesuch.invalid:80",
    "-A -t 256.2.3.4:80",
    "-A -t 1.2.3.4.5:80",
    "-A -t 1.2.3.4.:80",
    "-A -t 1.2.3.4:80 -o",
    "-A --sctp-service 1.2.3.4:80 -o",
    "-A -u 1.2.3.4:0 -o",
    "-A -t 1.2.3.4:80 -p -M abc",
    "-A -t 1.2.3.4:80 -p -M 255.255.255.256",
    "-A -t [fd00::1]:80 -p -M 0",
    "-A -t [fd00::1]:80 -p -M 129",
    "-A -t [fd00::1]:80 -p -M /64",
    "-A -t [fd00::1]:80 -p -M 255.255.255.0",
    "-A -f 5 -6 -p -M 255.255.0.0",
    "-A -t 1.2.3.4:80 -b flag-4",
    "-A -t 1.2.3.4:80 -b FLAG-1",
    "-A -t 1.2.3.4:80 -b sh-fallback",
    "-A -t 1.2.3.4:80 -s sh -b sh-port,mh-port",
    "-A -t 1.2.3.4:80 -s mh -b sh-port",
    "-A -t 1.2.3.4:80 -n",
    "-A -t 1.2.3.4:80 -r 1.1.1.1:80",
    "-A -t 1.2.3.4:80 -w 3",
    "-A -t 1.2.3.4:80 -g",
    "-A -t 1.2.3.4:80 --tun-csum",
    "-A -t 1.2.3.4:80 --syncid 3",
    "-D",
    "-D -t 1.2.3.4:80 -s rr",
    "-a -t 1.2.3.4:80",
    "-a -r 9.9.9.9",
    "-d -t 1.2.3.4:80",
    "-d -t 1.2.3.4:80 -r 9.9.9.9 -m",
    "-d -t 1.2.3.4:80 -r 9.9.9.9 -w 3",
    "-a -t 1.2.3.4:80 -r 9.9.9.9:tftp -m",
    "-a -f 7 -r 9.9.9.9:tftp -m",
    "-a -t 1.2.3.4:80 -r :80 -m",
    "-a -t 1.2.3.4:80 -r [fd00::9] -i",
    "-a -t 1.2.3.4:80 -r [::1]:81 -m",
    "-a -t 1.2.3.4:80 -r fd00::9",
    "-a -t [fd00::1]:80 -r localhost:80 -m",
    "-a -f 8 -6 -r 9.9.9.9:80 -m",
    "-a -t 1.2.3.4:80 -r 9.9.9.9 -r 9.9.9.8",
    "-a -t 1.2.3.4:80 -r 9.9.9.9 -g -m",
    "-a -t 1.2.3.4:80 -r 9.9.9.9 -m -m",
    "-a -t 1.2.3.4:80 -r 9.9.9.9 -w -1",
    "-a -t 1.2.3.4:80 -r 9.9.9.9 -w 2147483648",
    "-a -t 1.2.3.4:80 -r 9.9.9.9 -w 3x",
    "-a -t 1.2.3.4:80 -r 9.9.9.9 --weight=",
    "-a -t 1.2.3.4:80 -r 9.9.9.9 -x 2147483648",
    "-a -t 1.2.3.4:80 -r 9.9.9.9 -y abc",
    "-a -t 1.2.3.4:80 -r 9.9.9.9 --tun-type ipip",
    "-a -t 1.2.3.4:80 -r 9.9.9.9 -m --tun-port 6080",
    "-a -t 1.2.3.4:80 -r 9.9.9.9 -i --tun-type IPIP",
    "-a -t 1.2.3.4:80 -r 9.9.9.9 -i --tun-type gue",
    "-a -t 1.2.3.4:80 -r 9.9.9.9 -i --tun-csum",
    "-a -t 1.2.3.4:80 -r 9.9.9.9 -i --tun-port 6080",
    "-a -t 1.2.3.4:80 -r 9.9.9.9 -i --tun-type gue --tun-port 0",
    "-a -t 1.2.3.4:80 -r 9.9.9.9 -i --tun-type gue --tun-port 65536",
    "-a -t 1.2.3.4:80 -r 9.9.9.9 -i --tun-type gue --tun-port 6080 --tun-nocsum --tun-csum",
    "-a -t 1.2.3.4:80 -r 9.9.9.9 -i --tun-type gre --tun-remcsum",
    "-a -t 1.2.3.4:80 -r 9.9.9.9 -i --tun-type gre --tun-port 5",
    "-a -t 1.2.3.4:80 -r 9.9.9.9 -p",
    "-L -n -n",
    "-L -6",
    "-L -t 1.2.3.4:80 -c",
    "-L --timeout -t 1.2.3.4:80",
    "-L --daemon -f 5",
    "-L -c --timeout",
    "-L --daemon --timeout",
    "-L -c --stats",
    "-L -c --thresholds",
    "-L --timeout --stats",
    "-L --daemon --persistent-conn",
    "-L -s rr",
    "-L -h",
    "-L extra",
    "-S -t 1.2.3.4:80",
    "-S --exact",
    "-R -n",
    "-C -n",
    "-C extra",
    "-Z -n",
    "-Z -r 9.9.9.9:80 -t 1.2.3.4:80",
    "--set",
    "--set 1 2",
    "--set 1 2 3 4",
    "--set 2678401 1 1",
    "--set 1 abc 1",
    "--set 1 1 3 -n",
    "--start-daemon slave",
    "--start-daemon --syncid 5 master",
    "--start-daemon master --syncid 256",
    "--start-daemon master --sync-maxlen 0",
    "--start-daemon master --sync-maxlen 65508",
    "--start-daemon master --mcast-group 1.2.3.4",
    "--start-daemon master --mcast-group [ff05::1]",
    "--start-daemon master --mcast-port 0",
    "--start-daemon master --mcast-ttl 0",
    "--start-daemon master --mcast-ttl 256",
    "--start-daemon master extra",
    "--stop-daemon slave",
    "--stop-daemon master --mcast-interface lo",
];

#[test]
fn refusals_of_ipvsadm_are_refusals() {
    for line in REFUSED {
        assert!(!problem(line).is_malformed(), "{line}: {:?}", problem(line));
    }
}

/// Commands that ipvsadm 1.31 refuses with exit status 255.
const MALFORMED: &[&str] = &[
    "foo",
    "-t 1.2.3.4:80",
    "-nL",
    "-s rr -A -t 1.2.3.4:80",
    "-Q",
    "--nonesuch",
    "-A=x -t 1.2.3.4:80",
    "--add-service=x -t 1.2.3.4:80",
    "--set=1 2 3",
    "--add-serv -t 1.2.3.4:80",
    "-A --fwmark 5",
    "-A --t 1.2.3.4:80",
    "-A -t 1.2.3.4:80 -p -5",
    "-A -t 1.2.3.4:80 -Q",
    "-A -t",
    "-A -t 1.2.3.4:80 -s",
    "-A -t 1.2.3.4:80 --pe",
    "-a -t 1.2.3.4:80 -r 9.9.9.9 --masquerading=3",
    "-a -t 1.2.3.4:80 -r 9.9.9.9 -m=3",
    "--set -1 1 1",
    "--start-daemon",
    "--stop-daemon",
];

#[test]
fn command_lines_that_ipvsadm_rejects_are_malformed() {
    for line in MALFORMED {
        assert!(problem(line).is_malformed(), "{line}: {:?}", problem(line));
    }
}

#[test]
fn the_first_of_several_columns_that_ipvsadm_prefers_is_listed() {
    let listings = [
        ("-L", Listing::Table),
        ("-l --tun-info", Listing::Tunnels),
        ("-L --tun-info --persistent-conn", Listing::Persistence),
        ("-L --persistent-conn --thresholds", Listing::Thresholds),
        ("-L --thresholds --rate", Listing::Rates),
        ("-L --rate --stats --syncid 3", Listing::Stats),
        (
            "-Lc --exact --tun-info",
            Listing::Connections { engine_data: false },
        ),
        (
            "-L --connection --persistent-conn",
            Listing::Connections { engine_data: true },
        ),
        ("-L --timeout --exact", Listing::Timeouts),
        ("--list --daemon --nosort", Listing::Daemons),
    ];
    for (line, listing) in listings {
        let Ok(Command::List(list)) = command(line) else {
            panic!("{line}: {:?}", command(line));
        };
        assert_eq!(list.listing, listing, "{line}");
    }
    let one = List {
        listing: Listing::Stats,
        service: Some(ServiceKey::tcp(([1, 2, 3, 4], 80))),
        numeric: true,
        exact: true,
        sorted: false,
    };
    let line = "-LnXt 1.2.3.4:80 --stats --nosort";
    assert_eq!(command(line), Ok(Command::List(one)));
    let all = List {
        listing: Listing::Table,
        service: None,
        numeric: false,
        exact: false,
        sorted: true,
    };
    assert_eq!(command(""), Ok(Command::List(all)));
}

#[test]
fn the_other_commands_are_read() {
    let service = ServiceKey::tcp(([1, 2, 3, 4], 80));
    let destination = DestinationKey::new(([9, 9, 9, 9], 80));
    let changes = [
        ("-D -t 1.2.3.4:80", Change::DeleteService(service)),
        (
            "-d -t 1.2.3.4:80 -r 9.9.9.9",
            Change::DeleteDestination {
                service,
                destination,
            },
        ),
        ("-C", Change::Flush),
        ("-Z", Change::ZeroAll),
        ("--zero -t 1.2.3.4:80", Change::ZeroService(service)),
        (
            "--set 0 010 2678400",
            Change::SetTimeouts(Timeouts {
                tcp: 0,
                tcp_fin: 10,
                udp: 2_678_400,
            }),
        ),
        (
            "--stop-daemon=backup",
            Change::StopDaemon(DaemonState::Backup),
        ),
    ];
    for (line, change) in changes {
        assert_eq!(command(line), Ok(Command::Change(change)), "{line}");
    }
    assert_eq!(command("-Sn"), Ok(Command::Save { numeric: true }));
    assert_eq!(command("-R"), Ok(Command::Restore));
    assert_eq!(command("-h -Q extra"), Ok(Command::Help));
    assert_eq!(command("--version -n"), Ok(Command::Version));
    let line = "--start-daemon backup --mcast-interface lo --syncid 255 --mcast-group ff05::1 --mcast-port 65535 --mcast-ttl 255 --sync-maxlen 65507";
    let Ok(Command::Change(Change::StartDaemon(daemon))) = command(line) else {
        panic!("{line}: {:?}", command(line));
    };
    assert_eq!((daemon.interface.as_str(), daemon.sync_id), ("lo", 255));
    assert_eq!(
        (daemon.port, daemon.ttl, daemon.max_length),
        (Some(65535), Some(255), Some(65507))
    );
    assert_eq!(
        daemon.group.map(|group| group.address().to_string()),
        Some("ff05::1".into())
    );
    let Ok(Command::Change(Change::StartDaemon(daemon))) = command("--start-daemon master") else {
        panic!("a daemon without options");
    };
    assert_eq!((daemon.interface.as_str(), daemon.sync_id), ("eth0", 0));
}

#[test]
fn lines_are_divided_as_ipvsadm_divides_them_and_comments_are_skipped() {
    let text = "# a comment\n\n \t\r\nipvsadm ipvsadm -A\t-t\r1.1.1.1:80 # another\r\n  -a -t 1.1.1.1:80 -r 2.2.2.2 -p#no";
    let lines: Vec<_> = ipvsadm().lines(text).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0].as_ref().unwrap().number, 4);
    let error = lines[1].as_ref().unwrap_err();
    assert_eq!(
        error.place,
        Place::Text {
            line: 5,
            column: 31
        }
    );
    let shown = ipvsadm()
        .parse("-A -t 1.1.1.1:80\n  -A -t 1.1.1.1:99999")
        .unwrap_err()
        .to_string();
    assert_eq!(
        shown,
        "line 2, column 9: \"1.1.1.1:99999\": port: expected a number from 0 to 65535"
    );
    let shown = command("-A -t 1.1.1.1:80 -b x").unwrap_err().to_string();
    assert!(
        shown.starts_with("word 5: \"x\": scheduler flags: expected flag-1"),
        "{shown}"
    );
}

#[test]
fn any_command_but_restore_can_be_in_a_text() {
    let grammar = Grammar::default();
    let commands: Vec<_> = grammar.lines("-Ln\n-S\n-h\n-R").collect();
    assert!(commands[..3].iter().all(Result::is_ok));
    assert_eq!(commands[3].as_ref().unwrap_err().problem, Problem::Nested);
    let error = grammar.parse("-C\n  -Ln").unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 2, column 3: \"-Ln\": expected a command that changes the table"
    );
}

#[test]
fn without_a_lookup_a_name_is_an_error_that_says_so() {
    let read = |line: &str| Grammar::default().parse(line).unwrap_err().problem;
    let field = "virtual service";
    assert_eq!(read("-A -t localhost:80"), Problem::NamesAreOff { field });
    assert_eq!(
        read("-A -t 1.2.3.4:http"),
        Problem::NamesAreOff { field: "port" }
    );
}

#[test]
fn a_text_describes_a_table() {
    let text = "
-A -t 1.1.1.1:80 -s rr
-a -t 1.1.1.1:80 -r 2.2.2.2 -m
-a -t 1.1.1.1:80 -r 2.2.2.1 -m
-A -f 3
-A -f 4
-E -t 1.1.1.1:80 -s wrr
-e -t 1.1.1.1:80 -r 2.2.2.2 -m -w 7
-d -t 1.1.1.1:80 -r 2.2.2.1
-D -f 4
-Z
--set 1 2 3
";
    let servers = Grammar::default().servers(text).unwrap();
    assert_eq!(
        print(&servers, Form::Lossless),
        "-A -t 1.1.1.1:80 -s wrr\n-a -t 1.1.1.1:80 -r 2.2.2.2:80 -m -w 7\n-A -f 3 -s wlc\n"
    );
    let cleared = Grammar::default()
        .servers(&format!("{text}-C\n-A -f 9"))
        .unwrap();
    assert_eq!(cleared.len(), 1);
}

#[test]
fn a_line_that_the_kernel_would_refuse_is_an_error_with_line_and_column() {
    let service = ServiceKey::tcp(([1, 1, 1, 1], 80));
    let destination = DestinationKey::new(([2, 2, 2, 2], 80));
    let exists = Problem::DestinationExists {
        service,
        destination,
    };
    let missing = Problem::NoSuchDestination {
        service,
        destination,
    };
    let cases = [
        ("-A -t 1.1.1.1:80", Problem::ServiceExists(service)),
        (
            "-D -t 1.1.1.1:80\n-E -t 1.1.1.1:80",
            Problem::NoSuchService(service),
        ),
        (
            "-D -t 1.1.1.1:80\n-a -t 1.1.1.1:80 -r 2.2.2.2",
            Problem::NoSuchService(service),
        ),
        ("-C\n-Z -t 1.1.1.1:80", Problem::NoSuchService(service)),
        (
            "-a -t 1.1.1.1:80 -r 2.2.2.2\n-a -t 1.1.1.1:80 -r 2.2.2.2 -m",
            exists,
        ),
        ("-e -t 1.1.1.1:80 -r 2.2.2.2", missing.clone()),
        ("-d -t 1.1.1.1:80 -r 2.2.2.2", missing),
    ];
    for (lines, problem) in cases {
        let text = format!("-A -t 1.1.1.1:80\n{lines}\n-A -f 1").replace('\n', "\n \t");
        let error = Grammar::default().servers(&text).unwrap_err();
        assert_eq!(error.problem, problem, "{lines}");
        let line = 1 + lines.lines().count();
        assert_eq!(error.place, Place::Text { line, column: 3 }, "{lines}");
        assert!(
            lines.lines().last().unwrap().starts_with(&error.word),
            "{error}"
        );
    }
}

#[test]
fn words_of_the_lossless_form_are_refused_by_the_other() {
    let lines = [
        "-A -t 1.2.3.4:0",
        "-A -t 1.2.3.4:80 -o",
        "-A -t 1.2.3.4:80 -p 0",
        "-A -t 1.2.3.4:80 -p 4294967",
        "-a -t 1.2.3.4:80 -r 9.9.9.9 --local",
        "-a -t 1.2.3.4:80 -r 9.9.9.9 --bypass",
        "-a -t 1.2.3.4:80 -r 9.9.9.9:81 --own-port",
        "-a -t 1.2.3.4:80 -r fd00::9 -m",
    ];
    for line in lines {
        assert!(command(line).is_err(), "{line}");
        assert!(Grammar::default().parse(line).is_ok(), "{line}");
    }
    let rules = Grammar::default()
        .parse("-a -t 1.2.3.4:80 -r 9.9.9.9:81 --own-port")
        .unwrap();
    let destination = rules[0].change.destination();
    assert_eq!(destination, Some(DestinationKey::new(([9, 9, 9, 9], 81))));
}

#[test]
fn settings_that_ipvsadm_loses_are_lost_in_its_form_only() {
    let key = DestinationKey::new(([10, 0, 0, 1], 81));
    let destination = Destination {
        weight: Weight::ZERO,
        thresholds: crate::Thresholds::new(9, 3).unwrap(),
        ..Destination::new(key, ForwardingMethod::Local)
    };
    let service = crate::Service::new(ServiceKey::tcp(([1, 1, 1, 1], 80)), crate::Scheduler::RR);
    let server = VirtualServer {
        service,
        destinations: vec![destination],
    };
    let saved = print(std::slice::from_ref(&server), Form::Ipvsadm);
    assert!(saved.ends_with("-r 10.0.0.1:81 -g -w 0\n"), "{saved}");
    let saved = print(&[server], Form::Lossless);
    assert!(
        saved.ends_with("-r 10.0.0.1:81 --local -w 0 -x 9 -y 3\n"),
        "{saved}"
    );
}

#[test]
fn a_bypass_destination_is_read_as_ipvsadm_saves_it() {
    let key = DestinationKey::new(([10, 0, 0, 1], 80));
    let destination = Destination::new(key, ForwardingMethod::Bypass);
    let service = crate::Service::new(ServiceKey::tcp(([1, 1, 1, 1], 80)), crate::Scheduler::RR);
    let server = VirtualServer {
        service,
        destinations: vec![destination],
    };
    let saved = print(&[server], Form::Ipvsadm);
    assert!(saved.contains("-r 10.0.0.1:80 (null) -w 1"), "{saved}");
    for form in [Form::Ipvsadm, Form::Lossless] {
        let grammar = Grammar {
            form,
            ..Grammar::default()
        };
        let rules = grammar.parse(&saved).unwrap();
        let service = service.key;
        let add = Change::AddDestination {
            service,
            destination,
        };
        assert_eq!(rules[1].change, add);
    }
    for wrong in [
        "-a -t 1.2.3.4:80 -r 9.9.9.9 (null) -m",
        "-A -t 1.2.3.4:80 (null)",
        "-d -t 1.2.3.4:80 -r 9.9.9.9 (null)",
        "(null) -a -t 1.2.3.4:80 -r 9.9.9.9",
    ] {
        assert!(command(wrong).is_err(), "{wrong}");
    }
}

/// Endpoints in the order in which the kernel listed them, and in the one in which ipvsadm 1.31
/// did.
#[test]
fn the_order_is_that_of_ipvsadm_where_its_comparison_runs_in_a_circle() {
    let listed = [
        "200.0.0.1:80",
        "127.0.0.1:80",
        "128.0.0.1:80",
        "9.0.0.1:70",
        "9.0.0.1:80",
    ];
    let key = |text: &&str| DestinationKey::new(text.parse::<std::net::SocketAddr>().unwrap());
    let mut pair = vec!["9.0.0.1:80", "200.0.0.1:80"];
    sort_destinations(&mut pair, key);
    assert_eq!(pair, ["200.0.0.1:80", "9.0.0.1:80"]);
    let mut sorted = listed.to_vec();
    sort_destinations(&mut sorted, key);
    // The halves are 127, 200 and 9:70, 9:80, 128 when they are merged.
    assert_eq!(
        sorted,
        [
            "9.0.0.1:70",
            "9.0.0.1:80",
            "127.0.0.1:80",
            "128.0.0.1:80",
            "200.0.0.1:80",
        ]
    );
    let mut words = vec!["[fd00::2]:9", "[fd00::1:0]:9", "[fd00:8000::]:1", "[::1]:1"];
    sort_destinations(&mut words, key);
    assert_eq!(
        words,
        ["[fd00::2]:9", "[fd00::1:0]:9", "[fd00:8000::]:1", "[::1]:1"]
    );
}

/// A list of the kernel, newest first, and the list that ipvsadm 1.31 showed.
#[test]
fn addresses_of_two_families_are_compared_as_the_first_of_them() {
    let v4 = "253.0.0.0:80";
    let listed = [
        ("[fd00::1]:70", [false, true]),
        ("[fd00::1]:90", [false, false]),
        ("[fd00:0:8000::1]:90", [true, false]),
        ("[fd00:0:8000::1]:70", [true, true]),
        ("[fd00::]:70", [true, true]),
        ("[fd00::]:90", [false, false]),
    ];
    let key = |text: &&str| DestinationKey::new(text.parse::<std::net::SocketAddr>().unwrap());
    for (v6, v6_is_first) in listed {
        for (mut pair, v6_is_first) in [vec![v6, v4], vec![v4, v6]].into_iter().zip(v6_is_first) {
            let before = pair.clone();
            sort_destinations(&mut pair, key);
            assert_eq!(pair[0] == v6, v6_is_first, "{before:?}");
        }
    }
}

#[test]
fn services_are_sorted_by_mark_family_protocol_address_and_port() {
    let sorted = "-A -f 4294967295\n-A -t 1.1.1.1:80\n-A -t 1.1.1.1:81\n-A -t 1.1.1.2:80\n-A -u 1.1.1.1:80\n\
                  -A --sctp-service 1.1.1.1:1\n-A -t [::1]:80\n-A -u [::1]:80\n-A -f 1\n-A -f 1 -6\n-A -f 2\n";
    let mut reversed = String::new();
    for line in sorted.lines().rev() {
        writeln!(reversed, "{line}").unwrap();
    }
    let servers = Grammar::default().servers(&reversed).unwrap();
    assert_eq!(
        print(&servers, Form::Lossless).replace(" -s wlc", ""),
        sorted
    );
}

proptest! {
    #[test]
    fn every_table_is_read_as_it_was_printed(mut table in testing::table(8, 6)) {
        let text = print(&table, Form::Lossless);
        let mut read = Grammar::default().servers(&text).unwrap();
        // Both in an order of their own: the printed text is sorted.
        for servers in [&mut table, &mut read] {
            servers.sort_by_key(|server| server.service.key);
            for server in servers {
                server.destinations.sort_by_key(|destination| destination.key);
            }
        }
        prop_assert_eq!(read, table);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
        let _ = Grammar::default().servers(&text);
        let _ = ipvsadm().servers(&text);
    }

    #[test]
    fn any_words_are_read_or_refused(words in prop::collection::vec(
        prop_oneof![
            3 => "-[a-zA-Z6]{1,3}(=?[0-9.:]{0,12})?",
            2 => "[0-9a-f.:\\[\\]]{0,20}",
            1 => "--[a-z-]{1,12}(=[0-9]{0,4})?",
            3 => prop::sample::select(vec!["-A", "-a", "-t", "-f", "-r", "1.2.3.4:80", "-p", "-m", "7", "--set", "#", "-"]).prop_map(str::to_owned),
        ], 0..9)) {
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let by_words = ipvsadm().command(&words);
        // A command line is read as a line of a text is.
        if let Ok(Command::Change(change)) = by_words && !words.iter().any(|word| word.is_empty() || word.starts_with('#')) {
            let rules = ipvsadm().parse(&words.join(" ")).unwrap();
            prop_assert_eq!(rules[0].change, change);
        }
    }
}
