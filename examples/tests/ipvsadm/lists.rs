//! Lists and saves: the same octets and the same exit status.

use std::{fs, net::UdpSocket, time::Duration};

use vrrp_lab::{GuestTest, Kernel, guest_tests, wait_for};

use crate::{EVERYTHING, Program, ip, run};

/// Every form of a list and of a save, and every pair of options of a list.
const FORMS: &[&str] = &[
    "",
    "-L",
    "-l",
    "-Ln",
    "-L -n",
    "--list --numeric",
    "-Sn",
    "-S -n",
    "--save --numeric",
    "-Ln --exact",
    "-LXn",
    "-Ln --sort",
    "-Ln --nosort",
    "-Ln --sort --nosort",
    "-Ln --timeout",
    "-L --timeout --exact",
    "-L --timeout --nosort",
    "-L --timeout --tun-info",
    "-L --daemon --tun-info",
    "-L --daemon --rate",
    "-L --daemon --thresholds",
    "-L --timeout --rate",
    "-L --timeout --persistent-conn",
    "-L --syncid 3",
    "-Ln --daemon",
    "-Ln --stats",
    "-Ln --stats --exact",
    "-Ln --stats --nosort",
    "-Ln --rate",
    "-Ln --rate --exact",
    "-Ln --stats --rate",
    "-Ln --rate --stats",
    "-Ln --thresholds",
    "-Ln --thresholds --exact",
    "-Ln --thresholds --stats",
    "-Ln --thresholds --rate",
    "-Ln --persistent-conn",
    "-Ln --persistent-conn --exact",
    "-Ln --persistent-conn --thresholds",
    "-Ln --persistent-conn --stats",
    "-Ln --persistent-conn --rate",
    "-Ln --tun-info",
    "-Ln --tun-info --exact",
    "-Ln --tun-info --nosort",
    "-Ln --tun-info --stats",
    "-Ln --tun-info --rate",
    "-Ln --tun-info --thresholds",
    "-Ln --tun-info --persistent-conn",
    "-Lcn",
    "-L -c -n",
    "-Lcn --persistent-conn",
    "-Lcn --tun-info",
    "-Lcn --exact",
    "-Lcn --nosort",
    "-Ln -t 10.9.0.1:80",
    "-Lnt 10.9.0.1:80",
    "-Ln -t 10.9.0.1:80 --nosort",
    "-Ln -t 10.9.0.1:80 --stats",
    "-Ln -t 10.9.0.1:80 --rate",
    "-Ln -t 10.9.0.1:80 --stats --exact",
    "-Ln -t 10.9.0.1:80 --thresholds",
    "-Ln -t 10.9.0.1:80 --persistent-conn",
    "-Ln -t 10.9.0.2:443 --tun-info",
    "-Ln -u 10.9.0.1:53",
    "-Ln --sctp-service 10.9.0.1:36412",
    "-Ln -t [fd00:9::100]:80",
    "-Ln -f 7",
    "-Ln -f 8 -6",
    // No such service.
    "-Ln -t 10.9.0.99:80",
    "-Ln -t 10.9.0.99:80 --stats",
    "-Ln -u 10.9.0.1:80",
    "-Ln -f 8",
    "-Ln -f 9 -6",
    "-Ln -t 10.9.0.1",
    // Not to be combined.
    "-Ln -n",
    "-Ln -6",
    "-Ln -c -t 10.9.0.1:80",
    "-Ln --timeout -t 10.9.0.1:80",
    "-Ln --daemon -t 10.9.0.1:80",
    "-Lcn --stats",
    "-Lcn --rate",
    "-Lcn --timeout",
    "-Lcn --daemon",
    "-Lcn --thresholds",
    "-Ln --timeout --daemon",
    "-Ln --timeout --stats",
    "-Ln --timeout --thresholds",
    "-Ln --daemon --stats",
    "-Ln --daemon --persistent-conn",
    "-Ln --stats --stats",
    "-Ln --nosort --nosort",
    "-Ln -c -c",
    "-Ln -s rr",
    "-Ln -w 3",
    "-Ln -p",
    "-Ln -r 10.9.50.1:80",
    "-Ln -m",
    "-Ln -o",
    "-Ln -M 255.255.255.255",
    "-Ln -b flag-1",
    "-Ln --pe sip",
    "-Ln -x 3",
    "-Ln --mcast-interface lo",
    "-Ln --tun-type gue",
    "-Ln --tun-csum",
    "-Ln extra",
    "-Ln -h",
    "-Ln -v",
    "-nL",
    "-n",
    "-c",
    "--no-such-option",
    "-Sn -t 10.9.0.1:80",
    "-S --stats",
    "-S --nosort",
    "-S -c",
    "-Sn extra",
];

pub(crate) fn tests() -> Vec<GuestTest> {
    const MINUTES: Duration = Duration::from_secs(240);
    let [everything, empty, daemons, traffic] = guest_tests![
        every_form_is_the_same,
        every_form_of_an_empty_table_is_the_same,
        daemons_and_timeouts_are_the_same,
        counters_rates_and_connections_of_traffic_are_the_same,
    ];
    let [names] = guest_tests![names_are_the_same];
    vec![
        everything.within(MINUTES),
        empty.within(MINUTES),
        daemons.within(MINUTES),
        traffic.within(MINUTES),
        // The other guests have no files in which names are looked up.
        names.within(MINUTES).on(&[Kernel::Uml6_1]),
    ]
}

#[track_caller]
fn same(line: &str) {
    let [ours, theirs] = Program::BOTH.map(|program| program.run(line));
    assert_eq!(
        (ours.status, ours.stdout.as_str()),
        (theirs.status, theirs.stdout.as_str()),
        "{line:?}\nours: {}\n{}\ntheirs: {}\n{}",
        ours.stdout,
        ours.stderr,
        theirs.stdout,
        theirs.stderr,
    );
    // A failure has a message.
    assert_eq!(
        ours.stderr.is_empty(),
        ours.status == 0,
        "{line:?}: {ours:?}"
    );
}

fn every_form_is_the_same() {
    Program::Ipvsadm.restore(EVERYTHING);
    assert_eq!(
        Program::Ours.prints("-Sn").lines().count(),
        EVERYTHING.lines().count()
    );
    FORMS.iter().copied().for_each(same);
}

fn every_form_of_an_empty_table_is_the_same() {
    FORMS.iter().copied().for_each(same);
}

fn daemons_and_timeouts_are_the_same() {
    ip("link set lo up");
    ip("link add sync type dummy");
    ip("link set sync up");
    ip("address add fd00:7::1/64 dev sync nodad");
    for line in [
        "--set 1 2 3",
        "--set 0 0 2147483",
        "--start-daemon master --mcast-interface sync --syncid 255 --mcast-group ff02::5:6 --mcast-port 65535 --mcast-ttl 255 --sync-maxlen 1000",
        "--start-daemon backup --mcast-interface lo",
    ] {
        Program::Ipvsadm.prints(line);
        same("-L --timeout");
        same("-L --daemon");
    }
    assert_eq!(
        Program::Ours.prints("-L --timeout"),
        "Timeout (tcp tcpfin udp): 1 2 2147483\n"
    );
    assert_eq!(Program::Ours.prints("-L --daemon").lines().count(), 2);
    for state in ["master", "backup"] {
        Program::Ours.prints(&format!("--stop-daemon {state}"));
        same("-L --daemon");
    }
}

fn counters_rates_and_connections_of_traffic_are_the_same() {
    ip("link set lo up");
    ip("address add 10.9.0.1/32 dev lo");
    ip("link add away type dummy");
    ip("link set away up");
    ip("address add 10.9.50.254/24 dev away");
    ip("address add fd00:9::fe/64 dev away nodad");
    ip("address add fd00:9::100/128 dev lo nodad");
    Program::Ipvsadm.restore(
        "-A -u 10.9.0.1:53 -s rr\n\
         -a -u 10.9.0.1:53 -r 10.9.50.1:5353 -m\n\
         -a -u 10.9.0.1:53 -r 10.9.50.2:53 -g\n\
         -A -u 10.9.0.1:99 -s rr -p 60\n\
         -a -u 10.9.0.1:99 -r 10.9.50.1:99 -m\n\
         -A -u [fd00:9::100]:53 -s rr\n\
         -a -u [fd00:9::100]:53 -r [fd00:9::1]:5353 -m\n",
    );
    for (from, to) in [
        ("10.9.0.1:0", "10.9.0.1:53"),
        ("10.9.0.1:0", "10.9.0.1:53"),
        ("10.9.0.1:40000", "10.9.0.1:99"),
        ("[fd00:9::100]:0", "[fd00:9::100]:53"),
    ] {
        let client = UdpSocket::bind(from).unwrap();
        for _ in 0..3000 {
            // The servers are not there, and some kernels say so.
            let _ = client.send_to(&[0; 1000], to);
        }
    }
    // Until the kernel's estimator has seen it.
    wait_for("packets to be counted", Duration::from_secs(120), || {
        let stats = Program::Ours.prints("-Ln --stats --exact");
        (stats.contains(" 6000 ") && stats.matches(" 3000 ").count() >= 5).then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}: {}", Program::Ours.prints("-Ln --stats --exact")));
    for line in [
        "-Ln",
        "-Ln --stats",
        "-Ln --stats --exact",
        "-Ln --rate",
        "-Ln --rate --exact",
        "-Ln --persistent-conn",
        "-Ln --thresholds",
        "-Lcn",
        "-Lcn --persistent-conn",
    ] {
        let list = steady(line);
        assert!(list.lines().count() > 5, "{line}: {list}");
        if line.starts_with("-Lc") {
            assert!(list.contains("[fd00:9::100]:53"), "{list}");
            assert!(list.contains(" 10.9.0.1:0 "), "a template: {list}");
        }
    }
    Program::Ours.prints("-Z");
    assert!(
        !Program::Ours
            .prints("-Ln --stats --exact")
            .contains(" 6000 ")
    );
    same("-Ln --stats");
}

/// Compares a list that changes with time: theirs has to be the same as ours before and after it,
/// if these two are. Connections expire by the second in between.
#[track_caller]
fn steady(line: &str) -> String {
    let lists = wait_for("a moment without change", Duration::from_secs(60), || {
        let before = Program::Ours.prints(line);
        let theirs = Program::Ipvsadm.prints(line);
        let after = Program::Ours.prints(line);
        (timeless(&before) == timeless(&after)).then_some([before, theirs, after])
    });
    let [before, theirs, after] = lists.unwrap();
    assert_eq!(timeless(&before), timeless(&theirs), "{line}");
    for ((before, theirs), after) in before.lines().zip(theirs.lines()).zip(after.lines()) {
        let [before, theirs, after] = [before, theirs, after].map(expiry);
        assert!(after <= theirs && theirs <= before, "{line}: {theirs:?}");
    }
    before
}

/// The seconds until the connection of this line expires.
fn expiry(line: &str) -> Option<u32> {
    let (minutes, seconds) = line.split_whitespace().nth(1)?.split_once(':')?;
    Some(minutes.parse::<u32>().ok()? * 60 + seconds.parse::<u32>().ok()?)
}

/// A list without the times until connections expire.
fn timeless(list: &str) -> String {
    let lines = list.lines().map(|line| match expiry(line) {
        Some(_) => line.replacen(line.split_whitespace().nth(1).unwrap(), "MM:SS", 1),
        None => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn names_are_the_same() {
    // Files of our own in the place of the system's, until the kernel ends.
    let known = [("/etc/hosts", HOSTS), ("/etc/services", SERVICES)];
    for (path, content) in known {
        let own = std::env::temp_dir().join(path.replace('/', "_"));
        fs::write(&own, content).unwrap();
        run(
            "/bin/busybox",
            [
                "mount".as_ref(),
                "--bind".as_ref(),
                own.as_os_str(),
                path.as_ref(),
            ],
        );
    }
    Program::Ipvsadm.restore(NAMED);
    for line in [
        "-L",
        "-S",
        "-L --stats",
        "-L --rate",
        "-L --thresholds",
        "-L --persistent-conn",
        "-L --tun-info",
        "-L -t vip.example.com:http",
        "-L -u vip.example.com:domain",
        "-L -t v6.example.com:http",
    ] {
        same(line);
    }
    let saved = Program::Ours.prints("-S");
    assert!(saved.contains("-A -u vip.example.com:domain "), "{saved}");

    // A table saved by name is restored by name, unless a name is cut or one of IPv6.
    let saved = saved
        .lines()
        .filter(|line| !line.contains("long") && !line.contains('['));
    let saved: String = saved.flat_map(|line| [line, "\n"]).collect();
    Program::Ours.restore(&saved);
    assert_eq!(Program::Ours.prints("-S"), saved);
    same("-Sn");

    for path in known.map(|(path, _)| path) {
        run("/bin/busybox", ["umount", path]);
    }
}

const HOSTS: &str = "\
127.0.0.1 localhost
10.9.0.1 vip.example.com vip
10.9.0.2 this-is-a-very-long-name-indeed.example.com
10.9.0.3 exactly-twenty-one-ch
10.9.50.1 a123456789b123456789c12
10.9.50.2 a123456789b123456789c123
10.9.50.3 a123456789b123456789c1234567
10.9.50.4 a123456789b123456789c12345678
10.9.50.5 a-name-so-long-that-even-a-save-does-not-hold-all-of-it.example.com
10.9.50.10 a.example.com
fd00:9::100 v6.example.com
fd00:9::1 a-long-name-of-an-ipv6-address.example.com
fd00:9::2 short6
fd00:9::3 a-name-so-long-that-even-a-save-does-not-hold-all-of-it6.example.com
";

const SERVICES: &str = "\
http 80/tcp www
domain 53/tcp
domain 53/udp
tftp 69/udp
alongservicename 8080/tcp
sctponly 36412/sctp
";

const NAMED: &str = "\
-A -t 10.9.0.1:80 -s wrr
-a -t 10.9.0.1:80 -r 10.9.50.1:80 -m
-a -t 10.9.0.1:80 -r 10.9.50.2:80 -m
-a -t 10.9.0.1:80 -r 10.9.50.3:80 -m
-a -t 10.9.0.1:80 -r 10.9.50.4:80 -m
-a -t 10.9.0.1:80 -r 10.9.50.5:80 -m
-a -t 10.9.0.1:80 -r 10.9.50.10:8080 -m
-a -t 10.9.0.1:80 -r 10.9.50.10:69 -m
-A -t 10.9.0.1:0 -s wrr -p
-A -t 10.9.0.2:80 -s rr
-A -t 10.9.0.3:8080 -s rr
-A -u 10.9.0.1:53 -s rr
-a -u 10.9.0.1:53 -r 10.9.50.10:69 -m
-a -u 10.9.0.1:53 -r 10.9.50.10:80 -m
-A --sctp-service 10.9.0.1:36412 -s rr
-a --sctp-service 10.9.0.1:36412 -r 10.9.50.10:80 -m
-A -t [fd00:9::100]:80 -s rr
-a -t [fd00:9::100]:80 -r [fd00:9::1]:8080 -m
-a -t [fd00:9::100]:80 -r [fd00:9::2]:8080 -m
-a -t [fd00:9::100]:80 -r [fd00:9::3]:8080 -m
-A -f 7 -s rr
-a -f 7 -r 10.9.50.10:80 -m
-A -f 8 -6 -s rr
-a -f 8 -6 -r [fd00:9::2]:80 -m
";
