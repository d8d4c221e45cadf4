//! Commands that change something: the same table and the same exit status afterwards. Restored
//! texts: the same table, and an exit status that shows every failure.

use std::time::Duration;

use vrrp_lab::{GuestTest, guest_tests};

use crate::{EVERYTHING, Program, ip};

pub(crate) fn tests() -> Vec<GuestTest> {
    guest_tests![
        what_one_saves_the_other_restores,
        every_command_leaves_the_same_table,
        a_restored_text_goes_on_after_a_refusal,
        a_restored_text_ends_at_a_line_that_is_no_command,
        a_restored_text_may_have_comments,
        help_and_version_are_printed,
        a_refusal_says_what_and_why,
    ]
    .map(|test| test.within(Duration::from_secs(900)))
    .to_vec()
}

/// All that the commands change, as ipvsadm shows it.
fn state() -> String {
    ["-Sn", "-Ln --thresholds", "-L --timeout", "-L --daemon"]
        .map(|list| Program::Ipvsadm.prints(list))
        .concat()
}

fn what_one_saves_the_other_restores() {
    for program in Program::BOTH {
        program.restore(EVERYTHING);
        let saved = program.prints("-Sn");
        let thresholds = program.prints("-Ln --thresholds");
        assert_eq!(program.other().prints("-Sn"), saved);
        assert_eq!(program.other().prints("-Ln --thresholds"), thresholds);
        // What ipvsadm writes of a mark from 2^31 on it does not read.
        let readable = saved
            .replace("-f -1 ", "-f 4294967295 ")
            .replace("-f -2147483648 ", "-f 2147483648 ");
        program.other().restore(&readable);
        assert_eq!(program.prints("-Sn"), saved);
        assert_eq!(program.other().prints("-Sn"), saved);
    }
}

/// Commands, each on its own table: the table before it, and the command.
const COMMANDS: &[(&str, &str)] = &[
    ("", "-A -t 10.9.0.1:80"),
    ("", "-A -t 10.9.0.1:80 -s rr"),
    ("", "-A -u 10.9.0.1:80 -s rr -o"),
    ("", "-A --sctp-service 10.9.0.1:80 -s wrr -p"),
    ("", "-A -f 5 -6 -s sh -p 77 -M 64 -b sh-port"),
    ("", "-A -t 10.9.0.1:0 -p 60 -M 255.255.0.0"),
    ("", "-A -t 10.9.0.1 -p"),
    ("", "-At 10.9.0.1:80 -srr"),
    ("", "--add-service --tcp-service 10.9.0.1:80 --scheduler lc"),
    ("", "--add-service --tcp-service=10.9.0.1:80 --scheduler=lc"),
    ("", "-A -u 10.9.0.1:5060 -p --pe sip"),
    ("", "-A -u 10.9.0.1:5060 --pe sip"),
    (WEB, "-A -t 10.9.0.1:80"),
    (WEB, "-E -t 10.9.0.1:80 -s rr"),
    (WEB, "-E -t 10.9.0.1:80 -s rr -p 5"),
    (WEB, "-E -t 10.9.0.2:80 -s rr"),
    (WEB, "-D -t 10.9.0.1:80"),
    (WEB, "-D -t 10.9.0.2:80"),
    (WEB, "-D -u 10.9.0.1:80"),
    (WEB, "-C"),
    (WEB, "-a -t 10.9.0.1:80 -r 10.9.50.2"),
    (WEB, "-a -t 10.9.0.1:80 -r 10.9.50.2:8080"),
    (WEB, "-a -t 10.9.0.1:80 -r 10.9.50.2:8080 -m"),
    (WEB, "-a -t 10.9.0.1:80 -r 10.9.50.2:8080 -i"),
    (WEB, "-a -t 10.9.0.1:80 -r 10.9.50.2 -m -w 65535 -x 9 -y 8"),
    (
        WEB,
        "-a -t 10.9.0.1:80 -r 10.9.50.2 -i --tun-type gue --tun-port 6080 --tun-csum",
    ),
    (
        WEB,
        "-a -t 10.9.0.1:80 -r 10.9.50.2 -i --tun-type gre --tun-csum",
    ),
    (WEB, "-a -t 10.9.0.1:80 -r [fd00:9::1]:80 -i"),
    (WEB, "-a -t 10.9.0.1:80 -r [fd00:9::1]:80 -m"),
    (WEB, "-at 10.9.0.1:80 -r 10.9.50.2 -mw 3"),
    (WEB, "-a -t 10.9.0.1:80 -r 10.9.50.1:8080 -m"),
    (WEB, "-a -t 10.9.0.2:80 -r 10.9.50.2"),
    (WEB, "-e -t 10.9.0.1:80 -r 10.9.50.1:8080 -m -w 9"),
    (WEB, "-e -t 10.9.0.1:80 -r 10.9.50.1:8080 -m -w 9 -x 7"),
    (WEB, "-e -t 10.9.0.1:80 -r 10.9.50.2 -m"),
    (WEB, "-d -t 10.9.0.1:80 -r 10.9.50.1:8080"),
    (WEB, "-d -t 10.9.0.1:80 -r 10.9.50.2:80"),
    (WEB, "-d -t 10.9.0.2:80 -r 10.9.50.1:8080"),
    (WEB, "-Z"),
    (WEB, "-Z -t 10.9.0.1:80"),
    (WEB, "-Z -t 10.9.0.2:80"),
    (WEB, "-Z -f 3"),
    ("", "--set 11 12 13"),
    ("", "--set 0 0 14"),
    ("", "--set 1 2"),
    ("", "--set -1 2 3"),
    ("", "--set 2147484 2 3"),
    ("", "--start-daemon master --mcast-interface lo --syncid 5"),
    ("", "--start-daemon=master --mcast-interface lo"),
    (
        "",
        "--start-daemon backup --mcast-interface lo --mcast-group 239.1.2.3 --mcast-port 9000 --mcast-ttl 3",
    ),
    ("", "--start-daemon backup --mcast-interface nope"),
    (
        "",
        "--start-daemon backup --mcast-interface lo --syncid 256",
    ),
    (
        "",
        "--start-daemon backup --mcast-interface lo --mcast-group 10.0.0.1",
    ),
    ("", "--start-daemon nothing --mcast-interface lo"),
    (
        "--start-daemon master --mcast-interface lo",
        "--start-daemon master --mcast-interface lo",
    ),
    (
        "--start-daemon master --mcast-interface lo",
        "--stop-daemon master",
    ),
    (
        "--start-daemon master --mcast-interface lo",
        "--stop-daemon backup",
    ),
    // What the kernel does not take.
    ("", "-A -t 10.9.0.1:80 -s nope"),
    (WEB, "-a -t 10.9.0.1:80 -r 224.0.0.1:80 -m"),
    // What ipvsadm does not take.
    ("", "-A"),
    ("", "-A -t 10.9.0.1"),
    ("", "-A -t 10.9.0.1:0"),
    ("", "-A -t 10.9.0.1:80 -o"),
    ("", "-A -t 10.9.0.1:80 -p 0"),
    ("", "-A -t 10.9.0.1:80 -p 2678401"),
    ("", "-A -t 10.9.0.1:80 -M 255.0.0.0"),
    ("", "-A -t 10.9.0.1:80 -s rr -b sh-port"),
    ("", "-A -t 10.9.0.1:65536"),
    ("", "-A -f 0"),
    ("", "-A -f 5x"),
    ("", "-A -E -t 10.9.0.1:80"),
    ("", "-A -t 10.9.0.1:80 -w 3"),
    ("", "-A -t 10.9.0.1:80 extra"),
    (WEB, "-a -t 10.9.0.1:80"),
    (WEB, "-a -t 10.9.0.1:80 -r 10.9.50.2 -w 65536"),
    (WEB, "-a -t 10.9.0.1:80 -r 10.9.50.2 -g -m"),
    (WEB, "-a -t 10.9.0.1:80 -r 10.9.50.2 -i --tun-type gue"),
    (
        WEB,
        "-a -t 10.9.0.1:80 -r 10.9.50.2 -i --tun-type gre --tun-remcsum",
    ),
    (WEB, "-D -t 10.9.0.1:80 -s rr"),
    (WEB, "-C -n"),
    (WEB, "-C extra"),
];

const WEB: &str =
    "-A -t 10.9.0.1:80 -s wrr -p\n-a -t 10.9.0.1:80 -r 10.9.50.1:8080 -m -w 2 -x 20 -y 10\n";

fn every_command_leaves_the_same_table() {
    ip("link set lo up");
    for (before, command) in COMMANDS {
        let [ours, theirs] = Program::BOTH.map(|program| {
            Program::Ipvsadm.prints("--set 900 120 300");
            for daemon in ["master", "backup"] {
                // Most often there is none.
                Program::Ipvsadm.run(&format!("--stop-daemon {daemon}"));
            }
            Program::Ipvsadm.restore(before);
            let answer = program.run(command);
            (answer, state())
        });
        assert_eq!(
            (ours.0.status, ours.1.as_str()),
            (theirs.0.status, theirs.1.as_str()),
            "{command}\nours: {:?}\ntheirs: {:?}",
            ours.0,
            theirs.0,
        );
        assert_eq!(ours.0.stdout, "", "{command}");
        assert_eq!(
            ours.0.stderr.is_empty(),
            ours.0.status == 0,
            "{command}: {:?}",
            ours.0
        );
    }
}

fn a_restored_text_goes_on_after_a_refusal() {
    let text = "\
-A -t 10.9.0.1:80 -s rr

ipvsadm -A -t 10.9.0.1:80 -s wrr
-a -t 10.9.0.2:80 -r 10.9.50.1 -m
   -a\t-t 10.9.0.1:80   -r 10.9.50.1 -m\r
-A -t 10.9.0.3:80 -s nope
--set 7 8 9
-D -t 10.9.0.4:80
-Z
";
    let [ours, theirs] = Program::BOTH.map(|program| {
        Program::Ipvsadm.prints("--set 1 2 3");
        Program::Ipvsadm.prints("-C");
        (program.feed(&["-R"], text), state())
    });
    assert_eq!(ours.1, theirs.1);
    assert!(ours.1.contains("-r 10.9.50.1:80 -m"), "{}", ours.1);
    assert!(ours.1.contains(": 7 8 9\n"), "{}", ours.1);

    // ipvsadm reports the last line only.
    assert_eq!(theirs.0.status, 0);
    assert_eq!((ours.0.status, ours.0.stdout.as_str()), (255, ""));
    let lines: Vec<_> = ours.0.stderr.lines().collect();
    let starts = ["line 3: ", "line 4: ", "line 6: ", "line 8: "];
    assert_eq!(lines.len(), starts.len(), "{lines:#?}");
    for (line, start) in lines.iter().zip(starts) {
        assert!(line.contains(start), "{line}");
    }
    assert!(lines[2].contains("'nope'"), "{}", lines[2]);
}

fn a_restored_text_ends_at_a_line_that_is_no_command() {
    for line in [
        "-Q -t 10.9.0.8:80",
        "-A -t 10.9.0.10:80 -s rr -b \"sh-port\"",
        "-A -t 10.9.0.9",
    ] {
        let text = format!("-A -t 10.9.0.1:80 -s rr\n{line}\n-A -t 10.9.0.2:80 -s rr\n");
        let [ours, theirs] = Program::BOTH.map(|program| {
            Program::Ipvsadm.prints("-C");
            (program.feed(&["-R"], &text), state())
        });
        assert_eq!(ours.1, theirs.1);
        assert!(!ours.1.contains("10.9.0.2"), "{}", ours.1);
        assert_eq!(ours.0.status, theirs.0.status, "{line}: {:?}", ours.0);
        assert!(ours.0.stderr.contains("line 2"), "{:?}", ours.0);
    }
}

fn a_restored_text_may_have_comments() {
    let text = "# a comment\n-A -t 10.9.0.1:80 -s rr # and another\n#-C\n";
    Program::Ours.restore(text);
    assert_eq!(Program::Ipvsadm.prints("-Sn"), "-A -t 10.9.0.1:80 -s rr\n");
}

fn help_and_version_are_printed() {
    for words in ["-h", "--help", "-h -t 10.9.0.1:80"] {
        let help = Program::Ours.prints(words);
        for option in [
            "-A",
            "-E",
            "-D",
            "-C",
            "-R",
            "-S",
            "-a",
            "-e",
            "-d",
            "-L",
            "-Z",
            "--set",
            "--start-daemon",
            "--stop-daemon",
            "--diff",
            "--apply",
            "--watch",
            "exit status",
        ] {
            assert!(help.contains(option), "{option}: {help}");
        }
    }
    for words in ["-v", "--version"] {
        assert!(Program::Ours.prints(words).starts_with("ipvsadm "));
    }
}

fn a_refusal_says_what_and_why() {
    for (command, message) in [
        ("-D -t 10.9.0.1:80", "no such service"),
        (
            "-A -t 10.9.0.1:80 -s nope",
            "scheduler 'nope' is not available",
        ),
        ("--stop-daemon master", "no such sync daemon"),
        ("-a -t 10.9.0.1:80 -r 10.9.50.1", "no such service"),
    ] {
        let answer = Program::Ours.run(command);
        assert_eq!(answer.status, 255, "{answer:?}");
        assert!(answer.stderr.starts_with("ipvsadm: "), "{answer:?}");
        assert!(answer.stderr.contains(message), "{answer:?}");
        assert_eq!(answer.stderr.lines().count(), 1, "{answer:?}");
    }
}
