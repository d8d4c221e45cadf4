//! What ipvsadm does not have: differences, reconciling, and a list that is written again and
//! again.

use std::{
    env, fs,
    io::{BufRead, BufReader, Lines},
    net::UdpSocket,
    path::PathBuf,
    process::{Child, ChildStdout, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use vrrp_lab::{GuestTest, guest_tests, wait_for};

use crate::{EVERYTHING, Program, ip};

pub(crate) fn tests() -> Vec<GuestTest> {
    guest_tests![
        what_is_as_wanted_differs_in_nothing,
        a_difference_is_a_line_for_each_change_and_changes_nothing,
        a_table_is_made_what_a_file_says,
        a_file_may_be_the_standard_input,
        a_removed_server_with_connections_is_drained_first,
        what_is_refused_is_said_once_and_keeps_what_it_was_to_replace,
        a_file_that_cannot_be_read_changes_nothing,
        watching_ends_after_so_many_lists,
        watching_ends_with_a_signal,
        watching_does_not_make_up_for_lists_that_a_stop_kept_from_being_written,
        watching_takes_the_options_of_a_list,
    ]
    .map(|test| test.within(Duration::from_secs(900)))
    .to_vec()
}

/// A file with a text, which stays until the guest ends.
fn file(name: &str, text: &str) -> String {
    let path: PathBuf = env::temp_dir().join(name);
    fs::write(&path, text).unwrap();
    path.into_os_string().into_string().unwrap()
}

/// [`EVERYTHING`] with seven differences: an address that goes with its server, one that comes with
/// its server, a server that goes, one that comes, a weight, a scheduler, and a limit.
fn seven_differences() -> String {
    let wanted = EVERYTHING
        .replace(
            "-A --sctp-service 10.9.0.1:36412 -s wlc -p 600\n",
            "-A -t 10.9.0.7:80 -s rr\n",
        )
        .replace(
            "-a --sctp-service 10.9.0.1:36412 -r 10.9.50.9:36412 -m -w 1\n",
            "-a -t 10.9.0.7:80 -r 10.9.50.1:80 -m -w 1\n",
        )
        .replace("-r 10.9.50.2:80 -m -w 0", "-r 10.9.50.3:80 -m -w 0")
        .replace("-w 65535", "-w 9")
        .replace("-s lc -b flag-1,flag-3", "-s wlc -b flag-1,flag-3")
        .replace("-x 100 -y 50", "-x 100");
    assert_ne!(wanted, EVERYTHING);
    wanted
}

fn what_is_as_wanted_differs_in_nothing() {
    let file = file("same", EVERYTHING);
    Program::Ipvsadm.restore(EVERYTHING);
    for option in ["--diff", "--apply"] {
        let answer = Program::Ours.feed(&[option, &file], "");
        assert_eq!(
            (answer.status, answer.stdout.as_str()),
            (0, ""),
            "{option}: {answer:?}"
        );
    }
}

fn a_difference_is_a_line_for_each_change_and_changes_nothing() {
    let file = file("diff", &seven_differences());
    Program::Ipvsadm.restore(EVERYTHING);
    let before = Program::Ipvsadm.prints("-Sn");
    let answer = Program::Ours.feed(&["--diff", &file], "");
    assert_eq!(
        (answer.status, answer.stderr.as_str()),
        (1, ""),
        "{answer:?}"
    );
    let lines: Vec<_> = answer.stdout.lines().collect();
    for change in [
        "add service tcp 10.9.0.7:80",
        "add destination 10.9.50.1:80",
        "add destination 10.9.50.3:80",
        "update destination 192.168.1.1:80",
        "update destination 10.9.50.1:8080",
        "delete destination 10.9.50.2:80",
        "update service tcp [fd00:9::101]:80",
        "delete service sctp 10.9.0.1:36412",
    ] {
        let found = lines.iter().filter(|line| line.contains(change)).count();
        assert_eq!(found, 1, "{change}: {lines:#?}");
    }
    assert_eq!(lines.len(), 8, "{lines:#?}");
    assert_eq!(Program::Ipvsadm.prints("-Sn"), before);
}

fn a_table_is_made_what_a_file_says() {
    let wanted = seven_differences();
    Program::Ipvsadm.restore(&wanted);
    let state = || ["-Sn", "-Ln --thresholds"].map(|list| Program::Ipvsadm.prints(list));
    let expected = state();
    let file = file("apply", &wanted);
    for before in [EVERYTHING, ""] {
        Program::Ipvsadm.restore(before);
        let answer = Program::Ours.feed(&["--apply", &file], "");
        assert_eq!(
            (answer.status, answer.stderr.as_str()),
            (0, ""),
            "{answer:?}"
        );
        assert!(
            answer.stdout.contains("add service tcp 10.9.0.7:80"),
            "{answer:?}"
        );
        assert_eq!(state(), expected);
        assert_eq!(Program::Ours.feed(&["--diff", &file], "").status, 0);
    }
}

fn a_file_may_be_the_standard_input() {
    Program::Ipvsadm.restore(EVERYTHING);
    let answer = Program::Ours.feed(&["--diff", "-"], EVERYTHING);
    assert_eq!(
        (answer.status, answer.stdout.as_str()),
        (0, ""),
        "{answer:?}"
    );
    Program::Ours.feed(&["--apply", "-"], "").printed();
    assert_eq!(Program::Ipvsadm.prints("-Sn"), "");
}

fn a_removed_server_with_connections_is_drained_first() {
    ip("link set lo up");
    ip("address add 10.9.0.1/32 dev lo");
    ip("link add away type dummy");
    ip("link set away up");
    ip("address add 10.9.50.254/24 dev away");
    let service = "-A -u 10.9.0.1:53 -s rr\n-a -u 10.9.0.1:53 -r 10.9.50.2:53 -m -w 1\n";
    let leaving = "-a -u 10.9.0.1:53 -r 10.9.50.1:53 -m -w 1\n";
    // Connections of UDP are remembered for four seconds.
    Program::Ipvsadm.prints("--set 0 0 4");
    Program::Ipvsadm.restore(&format!("{service}{leaving}"));
    let clients = [(); 2].map(|()| UdpSocket::bind("10.9.0.1:0").unwrap());
    for client in &clients {
        client.send_to(b"?", "10.9.0.1:53").unwrap();
    }

    let file = file("drain", service);
    let begun = Instant::now();
    let mut command = Program::Ours.command();
    let mut child = command
        .args(["--apply", &file])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for("a weight of 0", Duration::from_secs(120), || {
        // The program may need longer for its start than the connections are remembered.
        for client in &clients {
            client.send_to(b"?", "10.9.0.1:53").unwrap();
        }
        let drained = "-a -u 10.9.0.1:53 -r 10.9.50.1:53 -m -w 0\n";
        Program::Ipvsadm
            .prints("-Sn")
            .contains(drained)
            .then_some(())
    })
    .unwrap();
    assert!(child.wait().unwrap().success());
    assert!(
        begun.elapsed() > Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(Program::Ipvsadm.prints("-Sn"), service);
}

fn what_is_refused_is_said_once_and_keeps_what_it_was_to_replace() {
    let table = |first: &str, second: &str| {
        format!(
            "-A -t 10.9.0.1:80 -s rr\n-a -t 10.9.0.1:80 -r {first}:80 -m -w 1\n\
             -A -t 10.9.0.2:80 -s rr\n-a -t 10.9.0.2:80 -r {second}:80 -m -w 1\n"
        )
    };
    Program::Ipvsadm.restore(&table("10.9.50.1", "10.9.50.1"));
    let wanted = table("255.255.255.255", "10.9.50.2");
    let answer = Program::Ours.feed(&["--apply", "-"], &wanted);
    assert_eq!(answer.status, 255, "{answer:?}");
    let said: Vec<_> = answer.stderr.lines().collect();
    assert_eq!(said.len(), 2, "{answer:?}");
    assert!(said[0].contains("255.255.255.255"), "{answer:?}");
    assert!(
        said[1].contains("10.9.50.1") && said[1].contains("skipped"),
        "{answer:?}"
    );
    assert_eq!(
        Program::Ipvsadm.prints("-Sn"),
        table("10.9.50.1", "10.9.50.2")
    );
}

fn a_file_that_cannot_be_read_changes_nothing() {
    Program::Ipvsadm.restore(EVERYTHING);
    let before = Program::Ipvsadm.prints("-Sn");
    let broken = file(
        "broken",
        "-A -t 10.9.0.1:80 -s rr\n-A -t 10.9.0.2:80 -q rr\n",
    );
    let doubled = file("doubled", "-A -t 10.9.0.1:80\n-A -t 10.9.0.1:80\n");
    for (path, words) in [
        (broken.as_str(), ["line 2", "-q"]),
        (doubled.as_str(), ["line 2", "10.9.0.1:80"]),
        ("/nonexistent/file", ["/nonexistent/file", "No such file"]),
    ] {
        for option in ["--diff", "--apply"] {
            let answer = Program::Ours.feed(&[option, path], "");
            assert_eq!(
                (answer.status, answer.stdout.as_str()),
                (2, ""),
                "{answer:?}"
            );
            for word in words {
                assert!(answer.stderr.contains(word), "{word}: {answer:?}");
            }
        }
    }
    assert_eq!(Program::Ipvsadm.prints("-Sn"), before);
}

fn watching_ends_after_so_many_lists() {
    Program::Ipvsadm.restore(EVERYTHING);
    let begun = Instant::now();
    let text = Program::Ours.prints("--watch -n --count 3");
    assert!(
        begun.elapsed() >= Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    let lists: Vec<_> = text.split("\n\n").map(str::trim_end).collect();
    assert_eq!(lists.len(), 3, "{text}");
    let expected = Program::Ipvsadm.prints("-Ln --rate");
    for list in lists {
        assert_eq!(list, expected.trim_end());
    }
}

/// Starts a program that writes lists again and again, and returns it with its lines.
fn watch() -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut command = Program::Ours.command();
    command.args(["--watch", "-n"]).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines)
}

fn watching_ends_with_a_signal() {
    Program::Ipvsadm.restore(EVERYTHING);
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let (mut child, mut lines) = watch();
        lines.next().unwrap().unwrap();
        kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
        let rest: Vec<_> = lines.map(Result::unwrap).collect();
        assert!(child.wait().unwrap().success());
        // The list that was begun is there to its end.
        assert!(rest.last().unwrap().starts_with("FWM  "), "{rest:#?}");
    }
}

fn watching_does_not_make_up_for_lists_that_a_stop_kept_from_being_written() {
    Program::Ipvsadm.restore("-A -t 10.9.0.1:80 -s rr\n");
    let (mut child, lines) = watch();
    let pid = Pid::from_raw(child.id().try_into().unwrap());
    let mut lists = lines
        .map(Result::unwrap)
        .filter(|line| line.starts_with("IP Virtual Server"));
    lists.next().unwrap();
    kill(pid, Signal::SIGSTOP).unwrap();
    thread::sleep(Duration::from_secs(5));
    let begun = Instant::now();
    kill(pid, Signal::SIGCONT).unwrap();
    // Of those that were written before the stop, one may be among these.
    let mut written = 0;
    while begun.elapsed() < Duration::from_secs(1) {
        lists.next().unwrap();
        written += 1;
    }
    let seconds = begun.elapsed().as_secs();
    kill(pid, Signal::SIGTERM).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(written <= 2 + seconds, "{written} in {seconds} s");
}

fn watching_takes_the_options_of_a_list() {
    Program::Ipvsadm.restore(EVERYTHING);
    for options in ["-n --stats --exact", "-n --nosort", "-n -t 10.9.0.1:80"] {
        let watched = Program::Ours.prints(&format!("--watch {options} --count 1"));
        let columns = if options.contains("--stats") {
            ""
        } else {
            "--rate"
        };
        assert_eq!(
            watched,
            Program::Ipvsadm.prints(&format!("-L {options} {columns}"))
        );
    }
    for wrong in [
        "--watch -c",
        "--watch --count 0",
        "--watch --count x",
        "--watch -A",
    ] {
        let answer = Program::Ours.run(wrong);
        assert_eq!(
            (answer.status, answer.stdout.as_str()),
            (2, ""),
            "{wrong}: {answer:?}"
        );
        assert!(!answer.stderr.is_empty());
    }
}
