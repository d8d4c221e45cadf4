//! The messages to the service manager, on a socket of the test. `keepalived_service` runs systemd
//! itself.

use std::{os::unix::net::UnixDatagram, time::Duration};

use nix::{
    sys::signal::Signal,
    time::{ClockId, clock_gettime},
};

use super::{
    instance,
    rig::{Kind, LIMIT, Rig},
};

/// The socket of a service manager.
struct Manager(UnixDatagram);

impl Manager {
    /// Listens for the program of a host.
    fn of(rig: &Rig, place: usize) -> Self {
        let socket = UnixDatagram::bind(rig.node(place).path("notify")).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        Self(socket)
    }

    /// Receives the next message, as lines.
    #[track_caller]
    fn next(&self) -> Vec<String> {
        let mut buffer = [0; 4096];
        let length = self.0.recv(&mut buffer).unwrap();
        let text = std::str::from_utf8(&buffer[..length]).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// Whether nothing more has been received.
    fn is_empty(&self) -> bool {
        self.0.set_nonblocking(true).unwrap();
        self.0.recv(&mut [0]).is_err()
    }
}

fn monotonic() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap().into()
}

/// Two hosts with this program; the first has scripts for its start and its end.
fn rig() -> Rig {
    let scripts = "script_user root
    startup_script \"DIR/note STARTUP\"
    shutdown_script \"DIR/note SHUTDOWN\"";
    let first = instance(150, "").replacen("script_user root", scripts, 1);
    Rig::new([Kind::Ours; 2], [&first, &instance(100, "")])
}

#[test]
fn the_service_manager_gets_ready_reloading_with_the_time_and_stopping() {
    let mut rig = rig();
    let manager = Manager::of(&rig, 0);
    rig.start(0);
    assert_eq!(manager.next(), ["READY=1"]);
    let before = monotonic();
    rig.node(0).signal(Signal::SIGHUP);
    let reloading = manager.next();
    // sd_notify(3): one message has both, in microseconds.
    let [state, time] = reloading.as_slice() else {
        panic!("{reloading:?}");
    };
    assert_eq!(state, "RELOADING=1");
    let time = time.strip_prefix("MONOTONIC_USEC=").unwrap();
    let time = Duration::from_micros(time.parse().unwrap());
    let microsecond = Duration::from_micros(1);
    assert!(time + microsecond >= before && time <= monotonic());
    assert_eq!(manager.next(), ["READY=1"]);
    // A refused file ends a reload, too.
    let wrong = rig.node(0).config().replace("priority", "prority");
    rig.node(0).write_config(&wrong);
    rig.node(0).signal(Signal::SIGHUP);
    assert_eq!(manager.next()[0], "RELOADING=1");
    assert_eq!(manager.next(), ["READY=1"]);
    rig.stop(0);
    assert_eq!(manager.next(), ["STOPPING=1"]);
    assert!(manager.is_empty());
    let notes = rig.node(0).notes();
    assert_eq!(notes.first().map(String::as_str), Some("STARTUP"));
    assert_eq!(notes.last().map(String::as_str), Some("SHUTDOWN"));
}

#[test]
fn a_replaced_daemon_names_its_successor_as_the_main_process_and_the_service_does_not_stop() {
    let mut rig = rig();
    let manager = Manager::of(&rig, 0);
    rig.start_both();
    assert_eq!(manager.next(), ["READY=1"]);
    let mut before = rig.node(0).process();
    for _ in 0..2 {
        rig.nodes[0].replace();
        let successor = rig.node(0).process();
        assert_ne!(successor, before);
        let mut messages = [manager.next(), manager.next()];
        messages.sort();
        assert_eq!(
            messages.concat(),
            [format!("MAINPID={successor}"), "READY=1".to_owned()]
        );
        before = successor;
    }
    let started = |rig: &Rig| {
        let notes = rig.node(0).notes();
        ["STARTUP", "SHUTDOWN"].map(|it| notes.iter().filter(|note| *note == it).count())
    };
    assert_eq!(started(&rig), [1, 0], "{:?}", rig.node(0).notes());
    assert_eq!(rig.node(1).notes(), ["BACKUP"]);
    rig.stop(0);
    assert_eq!(manager.next(), ["STOPPING=1"]);
    assert!(manager.is_empty());
    assert_eq!(started(&rig), [1, 1], "{:?}", rig.node(0).notes());
}
