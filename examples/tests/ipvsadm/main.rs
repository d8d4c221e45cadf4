//! The program `ipvsadm` beside ipvsadm 1.31 itself, in real kernels. Each test starts with an
//! empty table in a network namespace of its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

mod commands;
mod guide;
mod lists;
mod reconcile;

use std::{
    ffi::OsStr,
    io::Write,
    path::Path,
    process::{Command, ExitCode, Output, Stdio},
};

use vrrp_lab::{Kernel, Suite, example};

fn main() -> ExitCode {
    let tests = [
        lists::tests(),
        commands::tests(),
        reconcile::tests(),
        guide::tests(),
    ]
    .concat();
    let mut suite = Suite::new(Kernel::ALL, &tests);
    suite.files.push(example("ipvsadm").unwrap());
    suite.run()
}

/// One of the two programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Program {
    Ours,
    Ipvsadm,
}

impl Program {
    const BOTH: [Self; 2] = [Self::Ours, Self::Ipvsadm];

    fn command(self) -> Command {
        match self {
            Self::Ours => Command::new(example("ipvsadm").unwrap()),
            Self::Ipvsadm => Command::new("/usr/sbin/ipvsadm"),
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Ours => Self::Ipvsadm,
            Self::Ipvsadm => Self::Ours,
        }
    }

    /// Runs it with words and a standard input.
    fn feed(self, words: &[&str], input: &str) -> Answer {
        feed(self.command().args(words), input)
    }

    /// Runs it with the words of a line.
    fn run(self, line: &str) -> Answer {
        let words: Vec<_> = line.split_whitespace().collect();
        self.feed(&words, "")
    }

    /// Runs it and returns what it printed; it has to succeed.
    #[track_caller]
    fn prints(self, line: &str) -> String {
        self.run(line).printed()
    }

    /// Makes a table the only one there is.
    #[track_caller]
    fn restore(self, text: &str) {
        self.prints("-C");
        let answer = self.feed(&["-R"], text);
        assert_eq!(answer, Answer::default(), "{self:?} -R");
    }
}

/// What a program did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Answer {
    status: i32,
    stdout: String,
    stderr: String,
}

impl Answer {
    #[track_caller]
    fn printed(self) -> String {
        assert_eq!((self.status, self.stderr.as_str()), (0, ""));
        self.stdout
    }
}

impl From<Output> for Answer {
    fn from(output: Output) -> Self {
        Self {
            status: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Runs a command with a standard input that is shorter than a pipe's buffer.
fn feed(command: &mut Command, input: &str) -> Answer {
    assert!(input.len() < 1 << 16);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that has no use for its input may have ended before this.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap().into()
}

/// Runs another program, which has to succeed.
#[track_caller]
fn run(program: impl AsRef<Path>, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) {
    let status = Command::new(program.as_ref())
        .args(arguments)
        .status()
        .unwrap();
    assert!(status.success(), "{}: {status}", program.as_ref().display());
}

/// Runs iproute2's `ip` with the words of a line.
#[track_caller]
fn ip(line: &str) {
    run("/usr/bin/ip", line.split_whitespace());
}

/// A table with a bit of everything that ipvsadm can say.
const EVERYTHING: &str = "\
-A -t 10.9.0.1:80 -s wrr
-a -t 10.9.0.1:80 -r 192.168.1.1:80 -g -w 65535
-a -t 10.9.0.1:80 -r 10.9.50.1:8080 -m -w 3 -x 100 -y 50
-a -t 10.9.0.1:80 -r 10.9.50.2:80 -m -w 0
-A -t 10.9.0.2:443 -s sh -p 1800 -M 255.255.255.0 -b sh-fallback,sh-port
-a -t 10.9.0.2:443 -r 253.0.0.9:443 -i -w 1
-a -t 10.9.0.2:443 -r [fd00:9::60]:443 -i -w 1
-a -t 10.9.0.2:443 -r 10.9.60.1:443 -i -w 1 --tun-type ipip
-a -t 10.9.0.2:443 -r 10.9.60.2:443 -i -w 1 --tun-type gue --tun-port 6080 --tun-remcsum
-a -t 10.9.0.2:443 -r 10.9.60.3:443 -i -w 1 --tun-type gue --tun-port 6081 --tun-csum
-a -t 10.9.0.2:443 -r 10.9.60.4:443 -i -w 1 --tun-type gue --tun-port 6082 --tun-nocsum
-a -t 10.9.0.2:443 -r 10.9.60.5:443 -i -w 1 --tun-type gre --tun-nocsum
-a -t 10.9.0.2:443 -r 10.9.60.6:443 -i -w 1 --tun-type gre --tun-csum
-A -t 10.9.0.3:0 -s mh -p 360 -b mh-fallback,mh-port
-a -t 10.9.0.3:0 -r 10.9.60.1:0 -g -w 1
-A -u 10.9.0.1:53 -s rr -o
-a -u 10.9.0.1:53 -r 10.9.50.1:5353 -m -w 1
-A -u 10.9.0.4:5060 -s rr -p 60 --pe sip -o
-A --sctp-service 10.9.0.1:36412 -s wlc -p 600
-a --sctp-service 10.9.0.1:36412 -r 10.9.50.9:36412 -m -w 1
-A -t [fd00:9::100]:80 -s rr -p 300 -M 64
-a -t [fd00:9::100]:80 -r [fd00:9::1]:8080 -m -w 2
-A -t [fd00:9::101]:80 -s lc -b flag-1,flag-3
-A -t [::1.2.3.4]:80 -s lc
-A -t [fd00:1234:5678:9abc:def0:1234:5678:9abc]:12345 -s nq
-a -t [fd00:1234:5678:9abc:def0:1234:5678:9abc]:12345 -r [fd00:1234:5678:9abc:def0:1234:5678:9abd]:54321 -m -w 7 -x 2147483647
-A -f 7 -s fo
-a -f 7 -r 10.9.60.1:0 -g -w 5
-a -f 7 -r 10.9.60.2:99 -m -w 1
-A -f 8 -6 -s ovf -p 60
-a -f 8 -6 -r [fd00:9::2]:0 -g -w 1
-A -f 4294967295 -s dh
-A -f 2147483648 -6 -s sed
";
