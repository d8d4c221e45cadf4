//! The program as a service of systemd. The test provides the sockets of the service manager and of
//! the journal.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::unix::{fs::MetadataExt, net::UnixDatagram},
    path::Path,
    process::{Child, Command},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    time::{ClockId, clock_gettime},
    unistd::Pid,
};
use vrrp_lab::{GuestTest, example, guest_tests};

use super::{serve, set_up};

/// Longer than any step takes in a guest on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);
/// The journal's socket, which is the same for all programs.
const JOURNAL: &str = "/run/systemd/journal/socket";

pub(crate) fn tests() -> Vec<GuestTest> {
    guest_tests![
        the_service_manager_gets_ready_reloading_watchdog_and_stopping,
        the_journal_gets_fields_and_a_redirected_output_gets_text,
    ]
    .map(|test| test.within(Duration::from_secs(120)))
    .to_vec()
}

const SERVICES: &str = r#"
[[services]]
service = "tcp 192.0.2.1:80"
scheduler = "rr"
servers = [{ address = "10.0.0.1:80" }]
checks = [{ name = "port", probe = "tcp", interval = "200ms", fast_interval = "100ms", fall = 2 }]
"#;

/// The program, killed on drop.
struct Program(Child);

impl Program {
    fn start(folder: &Path, edit: impl FnOnce(&mut Command)) -> Self {
        let file = folder.join("lb.toml");
        fs::write(&file, SERVICES).unwrap();
        let mut command = Command::new(example("load_balancer").unwrap());
        command.arg(file);
        edit(&mut command);
        Self(command.spawn().unwrap())
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id().cast_signed()), signal).unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn listen(path: &Path) -> UnixDatagram {
    let socket = UnixDatagram::bind(path).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    socket
}

/// Receives datagrams until one is accepted.
#[track_caller]
fn until<T>(socket: &UnixDatagram, mut accept: impl FnMut(&[u8]) -> Option<T>) -> T {
    let end = Instant::now() + LIMIT;
    let mut buffer = vec![0; 65536];
    while Instant::now() < end {
        let length = socket.recv(&mut buffer).unwrap();
        if let Some(found) = accept(&buffer[..length]) {
            return found;
        }
    }
    panic!("no such datagram within {LIMIT:?}");
}

#[track_caller]
fn until_state(socket: &UnixDatagram, expected: &str) {
    until(socket, |datagram| {
        let text = std::str::from_utf8(datagram).unwrap();
        text.lines().any(|line| line == expected).then_some(())
    });
}

fn monotonic() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap().into()
}

fn the_service_manager_gets_ready_reloading_watchdog_and_stopping() {
    set_up();
    let _first = serve(1);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let manager = listen(&path);
    let mut program = Program::start(folder.path(), |command| {
        command
            .env("NOTIFY_SOCKET", &path)
            .env("WATCHDOG_USEC", "30000000");
    });
    until_state(&manager, "READY=1");
    until_state(&manager, "WATCHDOG=1");
    let before = monotonic();
    program.signal(Signal::SIGHUP);
    let time = until(&manager, |datagram| {
        let text = std::str::from_utf8(datagram).unwrap();
        let is_reloading = text.lines().any(|line| line == "RELOADING=1");
        // sd_notify(3): one message has both.
        let time = || {
            text.lines()
                .find_map(|line| line.strip_prefix("MONOTONIC_USEC="))
        };
        is_reloading.then(|| time().unwrap().parse().unwrap())
    });
    let time = Duration::from_micros(time);
    let microsecond = Duration::from_micros(1);
    assert!(
        time + microsecond >= before && time <= monotonic(),
        "{before:?} {time:?}"
    );
    until_state(&manager, "READY=1");
    until_state(&manager, "WATCHDOG=1");
    program.signal(Signal::SIGTERM);
    until_state(&manager, "STOPPING=1");
    assert!(program.0.wait().unwrap().success());
}

/// The fields of an entry in the journal's protocol
/// (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>).
fn fields(mut datagram: &[u8]) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    while let Some(end) = datagram.iter().position(|byte| *byte == b'\n') {
        let line = &datagram[..end];
        datagram = &datagram[end + 1..];
        if let Some(equals) = line.iter().position(|byte| *byte == b'=') {
            fields.insert(text(&line[..equals]), text(&line[equals + 1..]));
        } else {
            let (length, rest) = datagram.split_first_chunk().unwrap();
            let length = usize::try_from(u64::from_le_bytes(*length)).unwrap();
            fields.insert(text(line), text(&rest[..length]));
            datagram = &rest[length + 1..];
        }
    }
    fields
}

fn the_journal_gets_fields_and_a_redirected_output_gets_text() {
    set_up();
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(Path::new(JOURNAL).parent().unwrap()).unwrap();
    let journal = listen(JOURNAL.as_ref());
    let path = folder.path().join("output");
    let output = File::create(&path).unwrap();
    let metadata = output.metadata().unwrap();
    let stream = format!("{}:{}", metadata.dev(), metadata.ino());

    // The server's port has no listener.
    let program = Program::start(folder.path(), |command| {
        command.env("JOURNAL_STREAM", &stream);
        command.stdout(output.try_clone().unwrap());
    });
    let entry = until(&journal, |datagram| {
        let fields = fields(datagram);
        let is_down = fields.get("MESSAGE").is_some_and(|it| it.contains("down"));
        (is_down && fields.contains_key("F_CHECK")).then_some(fields)
    });
    for (field, expected) in [
        ("F_SERVICE", "tcp 192.0.2.1:80"),
        ("F_SERVER", "10.0.0.1:80"),
        ("F_CHECK", "port"),
    ] {
        assert_eq!(entry[field], expected, "{entry:#?}");
    }
    assert!(entry["F_REASON"].contains("refused"), "{entry:#?}");
    // The priority is information (systemd.exec(5)), because the state of a server is no fault of
    // this program.
    assert!(
        ["5", "6"].contains(&entry["PRIORITY"].as_str()),
        "{entry:#?}"
    );
    assert_eq!(entry["SYSLOG_IDENTIFIER"], "load_balancer");
    drop(program);
    assert_eq!(fs::read_to_string(&path).unwrap(), "");

    // A program that inherited the variable, and whose output is not the journal.
    let program = Program::start(folder.path(), |command| {
        command.env("JOURNAL_STREAM", "1:1");
        command.stdout(output);
    });
    let end = Instant::now() + LIMIT;
    while !fs::read_to_string(&path)
        .unwrap()
        .contains("10.0.0.1:80 down")
    {
        assert!(Instant::now() < end, "{:?}", fs::read_to_string(&path));
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(program);
    fs::remove_file(JOURNAL).unwrap();
}
