//! System calls of a running driver that fail for a while, and for good.
//!
//! A seccomp filter on the driver's thread hands each call to a supervisor, which lets the kernel
//! carry it out or answers it with an errno.

#![allow(unsafe_code, reason = "seccomp(2) has no safe wrapper")]

use std::{
    io, mem,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use vrrp_fsm::State;
use vrrp_lab::{Host, wait_for};
use vrrp_net::{Driver, DriverEvent, Fault, Notification, RouterConfig};
use vrrp_proto::{Family, Interval};

use crate::rig::{DriverThread, LIMIT, VIP4, has, in_time, ip, lan_of, router, vrid};

/// The calls that a driver makes in its turns, each with its purpose.
const CALLS: &[(libc::c_long, &str)] = &[
    (libc::SYS_recvmmsg, "receive advertisements"),
    (libc::SYS_sendmmsg, "send advertisements and announcements"),
    (
        libc::SYS_recvfrom,
        "receive from netlink and packet sockets",
    ),
    (libc::SYS_sendto, "send netlink requests"),
    (libc::SYS_read, "read the eventfd, the timer and settings"),
    (libc::SYS_epoll_wait, "wait"),
    (libc::SYS_epoll_pwait2, "wait with a limit in nanoseconds"),
    (libc::SYS_ppoll, "wait for an answer of the kernel"),
    (libc::SYS_epoll_ctl, "watch another descriptor"),
    (libc::SYS_setsockopt, "set filters and memberships"),
    (libc::SYS_getsockopt, "read the size of a buffer"),
    (libc::SYS_bind, "listen on links"),
    (libc::SYS_socket, "open a socket again"),
];

/// The supervisor's treatment of one call.
#[derive(Default)]
struct Injection {
    call: libc::c_long,
    /// 0 to do nothing, and return that everything was sent; with a hold-up, to have the kernel
    /// carry the call out afterwards.
    errno: i32,
    /// The time for which to hold the call up, before the kernel carries it out or it fails.
    hold_up: Option<Duration>,
    /// Whether to take what waits at the descriptor, as where the failure of a socket is all that
    /// there is to read.
    empties: bool,
    /// The end of the treatment, which also ends after `times` calls.
    until: Option<Instant>,
    times: u32,
    /// The number of times that it was done.
    done: u32,
}

type Shared = Arc<Mutex<Injection>>;

/// Supervises the system calls of this thread from now on.
fn supervise(injection: Shared) {
    let statement = |code: u32, k: u32| libc::sock_filter {
        code: u16::try_from(code).unwrap(),
        jt: 0,
        jf: 0,
        k,
    };
    // The number of the call is the first word of seccomp_data.
    let mut program = vec![statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0)];
    for (call, _) in CALLS {
        let number = u32::try_from(*call).unwrap();
        program.push(libc::sock_filter {
            jf: 1,
            ..statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, number)
        });
        program.push(statement(
            libc::BPF_RET | libc::BPF_K,
            libc::SECCOMP_RET_USER_NOTIF,
        ));
    }
    program.push(statement(
        libc::BPF_RET | libc::BPF_K,
        libc::SECCOMP_RET_ALLOW,
    ));
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).unwrap(),
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the program is one that the kernel copies during the call.
    let listener = unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &raw const program,
        )
    };
    assert!(listener >= 0, "{}", io::Error::last_os_error());
    // SAFETY: the descriptor is new.
    let listener = unsafe { OwnedFd::from_raw_fd(i32::try_from(listener).unwrap()) };
    thread::spawn(move || answer_calls(&listener, &injection));
}

/// Starts a driver on a host, and supervises its system calls.
fn supervised(host: &Host) -> (DriverThread, Shared) {
    let shared = Shared::default();
    let running = DriverThread::start_as(host.namespace(), {
        let shared = Arc::clone(&shared);
        move || {
            let driver = Driver::new().unwrap();
            supervise(shared);
            driver
        }
    });
    (running, shared)
}

/// Answers calls until the thread that makes them has ended.
fn answer_calls(listener: &OwnedFd, injection: &Shared) {
    loop {
        let mut poll = libc::pollfd {
            fd: listener.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: the structures are valid for each call, and zeros are valid for them.
        let (received, request) = unsafe {
            libc::poll(&raw mut poll, 1, -1);
            if poll.revents & libc::POLLHUP != 0 {
                return;
            }
            let mut request: libc::seccomp_notif = mem::zeroed();
            let received = libc::ioctl(
                listener.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_RECV,
                &raw mut request,
            );
            (received, request)
        };
        if received != 0 {
            continue;
        }
        let mut injection = injection.lock().unwrap_or_else(PoisonError::into_inner);
        let is_meant = libc::c_long::from(request.data.nr) == injection.call
            && injection.done < injection.times
            && injection.until.is_some_and(|until| Instant::now() < until);
        injection.done += u32::from(is_meant);
        let hold_up = injection.hold_up.filter(|_| is_meant);
        let is_meant = is_meant && (hold_up.is_none() || injection.errno != 0);
        let mut response = libc::seccomp_notif_resp {
            id: request.id,
            val: match injection.errno {
                // The third argument of sendto is the number of bytes.
                0 if is_meant => request.data.args[2].cast_signed(),
                _ => 0,
            },
            error: if is_meant { -injection.errno } else { 0 },
            flags: if is_meant {
                0
            } else {
                u32::try_from(libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE).unwrap()
            },
        };
        if is_meant && injection.empties {
            empty(i32::try_from(request.data.args[0]).unwrap());
        }
        drop(injection);
        thread::sleep(hold_up.unwrap_or_default());
        // SAFETY: the structure is valid. It fails where the thread has died in between.
        unsafe {
            libc::ioctl(
                listener.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_SEND,
                &raw mut response,
            );
        }
    }
}

/// Takes what waits at a socket. The supervisor is under the same filter, so it must not use a call
/// of the list.
fn empty(socket: i32) {
    let mut room = [0; 4096];
    let mut vector = libc::iovec {
        iov_base: room.as_mut_ptr().cast(),
        iov_len: room.len(),
    };
    loop {
        // SAFETY: zeros are valid for the structure, and its pointer is that of the array.
        let received = unsafe {
            let mut header: libc::msghdr = mem::zeroed();
            header.msg_iov = &raw mut vector;
            header.msg_iovlen = 1;
            libc::recvmsg(socket, &raw mut header, libc::MSG_DONTWAIT)
        };
        if received < 0 {
            return;
        }
    }
}

/// Makes a call fail from now on, for `lasts` and at most `times` times.
fn inject(shared: &Shared, call: libc::c_long, errno: i32, lasts: Duration, times: u32) {
    *shared.lock().unwrap() = Injection {
        call,
        errno,
        until: Some(Instant::now() + lasts),
        times,
        ..Injection::default()
    };
}

fn done(shared: &Shared) -> u32 {
    shared.lock().unwrap().done
}

/// A router of this VRID with this interval in hundredths of a second.
fn with_vrid(number: u8, priority: u8, interval: u16, address: &str) -> RouterConfig {
    let mut config = router(Family::Ipv4, priority);
    config.fsm.vrid = vrid(number);
    config.fsm.interval = Interval::centis(interval).unwrap();
    config.addresses = vec![address.parse().unwrap()];
    config
}

/// Runs a driver through its work: a router is added, becomes Active, gets another address, and is
/// removed.
fn use_every_call(running: &DriverThread, what: &str) {
    let config = with_vrid(60, 150, 2, "192.0.2.60/32");
    // A call of the program may fail; it is made again.
    let id = wait_for(&format!("another router while {what}"), LIMIT, || {
        let config = config.clone();
        running.with(move |driver| driver.add(config).ok())
    })
    .unwrap();
    running.wait_for_state(id, State::Active);
    running.with(move |driver| {
        let added = driver.add_address(id, "192.0.2.61".parse().unwrap());
        assert!(added.is_ok(), "{added:?}");
    });
    wait_for(&format!("its addresses while {what}"), LIMIT, || {
        let all = running.with(move |driver| driver.get(id).unwrap().addresses().all(|it| it.1));
        all.then_some(())
    })
    .unwrap();
    // The filter may fail to be made smaller, when the router is gone.
    running.with(move |driver| driver.remove(id).ok());
}

#[test]
fn a_system_call_that_fails_for_a_while_is_made_again() {
    /// The calls that the driver makes in any case.
    const FREQUENT: &[libc::c_long] = &[
        libc::SYS_recvmmsg,
        libc::SYS_sendmmsg,
        libc::SYS_recvfrom,
        libc::SYS_sendto,
        libc::SYS_epoll_pwait2,
        libc::SYS_setsockopt,
        libc::SYS_bind,
    ];
    let (_lan, [r1, r2]) = lan_of::<2>();
    let (running, shared) = supervised(&r1);
    let active = running.with(|driver| driver.add(router(Family::Ipv4, 100)).unwrap());
    running.wait_for_state(active, State::Active);
    // A peer whose advertisements arrive all the time.
    let theirs = with_vrid(52, 200, 50, "192.0.2.52");
    let (peer, peer_id) = DriverThread::with_router(r2.namespace(), theirs);
    peer.wait_for_state(peer_id, State::Active);
    let ours = with_vrid(52, 100, 50, "192.0.2.52");
    let backup = running.with(|driver| driver.add(ours).unwrap());
    running.wait_for_state(backup, State::Backup);

    let errnos = [
        libc::EINTR,
        libc::EAGAIN,
        libc::ENOBUFS,
        libc::ENOMEM,
        libc::EPERM,
    ];
    for (call, name) in CALLS {
        for errno in errnos {
            inject(&shared, *call, errno, LIMIT, 5);
            let what = format!("it cannot {name}: {}", io::Error::from_raw_os_error(errno));
            use_every_call(&running, &what);
            if FREQUENT.contains(call) {
                wait_for(&format!("that {what}"), LIMIT, || {
                    (done(&shared) > 0).then_some(())
                })
                .unwrap();
            }
            assert_eq!(running.state(active), State::Active, "{what}");
            assert_eq!(running.state(backup), State::Backup, "{what}");
        }
    }
    inject(&shared, 0, 0, Duration::ZERO, 0);
    wait_for("no fault", LIMIT, || {
        let count = |driver: &Driver, id| driver.get(id).unwrap().faults().count();
        let faults = running.with(move |driver| count(driver, active) + count(driver, backup));
        (faults == 0).then_some(())
    })
    .unwrap();
    running.wait_for_event("a report", |event| {
        matches!(event, DriverEvent::SystemCallFailed { .. }).then_some(())
    });
    assert!(has(&r1, VIP4));
    running.stop();
    assert!(!has(&r1, VIP4));
}

/// Linux before 5.11 has no epoll_pwait2(2).
#[test]
fn a_kernel_without_a_wait_in_nanoseconds_causes_no_failure() {
    let (_lan, [r1]) = lan_of::<1>();
    let (running, shared) = supervised(&r1);
    let id = running.with(|driver| driver.add(router(Family::Ipv4, 100)).unwrap());
    inject(
        &shared,
        libc::SYS_epoll_pwait2,
        libc::ENOSYS,
        LIMIT,
        u32::MAX,
    );
    running.wait_for_state(id, State::Active);
    use_every_call(&running, "it cannot wait in nanoseconds");
    assert!(done(&shared) > 0);
    for notification in running.stop() {
        let event = notification.event;
        assert!(
            !matches!(event, DriverEvent::SystemCallFailed { .. }),
            "{event}"
        );
    }
}

/// A kernel that takes requests and does not answer.
#[test]
fn a_kernel_that_does_not_answer_holds_up_no_advertisement_and_is_a_fault_until_it_does() {
    in_time(|| {
        let (_lan, [r1, r2]) = lan_of::<2>();
        let (running, shared) = supervised(&r1);
        let id = running.with(|driver| driver.add(router(Family::Ipv4, 200)).unwrap());
        running.wait_for_state(id, State::Active);
        wait_for("the address", LIMIT, || has(&r1, VIP4).then_some(())).unwrap();
        let (peer, peer_id) = DriverThread::with_router(r2.namespace(), router(Family::Ipv4, 100));
        peer.wait_until_it_received(peer_id);

        let lasts = Duration::from_secs(4);
        inject(&shared, libc::SYS_sendto, 0, lasts, u32::MAX);
        let others = running.with(|driver| {
            let others = (60..90).map(|number| {
                let config = with_vrid(number, 150, 10, &format!("192.0.2.{number}/32"));
                driver.add(config).unwrap()
            });
            others.collect::<Vec<_>>()
        });
        let fault = running.wait_for_event("the fault", |event| match event {
            DriverEvent::Fault(fault @ Fault::SystemCallFails(_)) => Some(fault.to_string()),
            _ => None,
        });
        assert!(fault.contains("no answer from the kernel"), "{fault}");
        assert!(!has(&r1, "192.0.2.60/32"));
        running.wait_for_event("the recovery", |event| {
            matches!(event, DriverEvent::Recovered(Fault::SystemCallFails(_))).then_some(())
        });
        wait_for("all addresses", LIMIT, || {
            let others = others.clone();
            let all = running.with(move |driver| {
                let mut routers = others.iter().map(|id| driver.get(*id).unwrap());
                routers.all(|it| it.state() == State::Active && it.addresses().all(|it| it.1))
            });
            all.then_some(())
        })
        .unwrap();
        assert!(has(&r1, "192.0.2.60/32") && has(&r1, "192.0.2.89/32"));
        for id in others {
            let reported = running.log().iter().any(|it| {
                let is_active = matches!(
                    &it.event,
                    DriverEvent::StateChanged(change) if change.to == State::Active
                );
                it.router == Some(id) && is_active
            });
            assert!(reported, "{id}");
        }
        // The peer has never missed three advertisements in a row.
        assert_eq!(peer.count_transitions(State::Active), 0);
        assert_eq!(running.state(id), State::Active);
    });
}

/// A kernel whose lock for network settings another program has.
#[test]
fn changes_that_the_kernel_holds_up_are_reported_with_their_duration() {
    let (_lan, [r1]) = lan_of::<1>();
    let (running, shared) = supervised(&r1);
    let lasts = Duration::from_millis(700);
    *shared.lock().unwrap() = Injection {
        call: libc::SYS_sendto,
        hold_up: Some(lasts),
        until: Some(Instant::now() + LIMIT),
        times: 1,
        ..Injection::default()
    };
    let id = running.with(|driver| driver.add(router(Family::Ipv4, 100)).unwrap());
    let took = running.wait_for_event("the hold-up", |event| match event {
        DriverEvent::ChangesHeldUp { took, .. } => Some((*took, event.to_string())),
        _ => None,
    });
    assert!(took.0 >= lasts, "{took:?}");
    assert!(took.1.starts_with("the kernel took "), "{took:?}");
    running.wait_for_state(id, State::Active);
    assert!(has(&r1, VIP4));
}

/// A stopped process, such as in a paused container, goes on with EINTR from a wait, although
/// packets have arrived since.
#[test]
fn a_wait_that_a_stop_has_interrupted_reports_what_has_arrived_in_the_meantime() {
    in_time(|| {
        let (_lan, [r1, r2]) = lan_of::<2>();
        let (active, active_id) =
            DriverThread::with_router(r2.namespace(), router(Family::Ipv4, 200));
        active.wait_for_state(active_id, State::Active);
        let (backup, shared) = supervised(&r1);
        let id = backup.with(|driver| driver.add(router(Family::Ipv4, 100)).unwrap());
        backup.wait_until_it_received(id);
        // Longer than Active_Down_Interval. The loop waits, then takes a turn, which looks too.
        *shared.lock().unwrap() = Injection {
            call: libc::SYS_epoll_pwait2,
            errno: libc::EINTR,
            hold_up: Some(Duration::from_millis(600)),
            until: Some(Instant::now() + LIMIT),
            times: 2,
            ..Injection::default()
        };
        wait_for("two stops", LIMIT, || (done(&shared) == 2).then_some(())).unwrap();
        // A driver under supervision must not panic, so the log is not held while this may.
        let takeovers = backup.count_transitions(State::Active);
        assert_eq!((takeovers, backup.state(id)), (0, State::Backup));
        assert_eq!(active.count_transitions(State::Backup), 1);
    });
}

/// `ss -K`, for example, leaves an error at a socket, and nothing else.
#[test]
fn a_socket_that_fails_once_and_then_has_nothing_to_read_does_not_keep_the_driver_busy() {
    let (_lan, [r1, r2]) = lan_of::<2>();
    let (running, shared) = supervised(&r1);
    // For half a minute nothing else happens.
    let config = with_vrid(52, 100, 4095, VIP4);
    let id = running.with(|driver| driver.add(config).unwrap());
    running.wait_for_state(id, State::Backup);
    *shared.lock().unwrap() = Injection {
        call: libc::SYS_recvmmsg,
        errno: libc::ECONNABORTED,
        empties: true,
        until: Some(Instant::now() + LIMIT),
        // It advertises in two forms.
        times: 2,
        ..Injection::default()
    };
    // An owner advertises at once.
    let owner = with_vrid(52, 255, 4095, VIP4);
    let (_peer, _) = DriverThread::with_router(r2.namespace(), owner);
    running.wait_for_event("the failure", |event| {
        matches!(event, DriverEvent::SystemCallFailed { .. }).then_some(())
    });
    // The owner advertises again after 41 s.
    wait_for("a rest", LIMIT / 3, || {
        let timeout = running.with(|driver| driver.timeout());
        timeout.is_none_or(|it| !it.is_zero()).then_some(())
    })
    .unwrap();
}

#[test]
fn dumps_that_fail_for_long_are_a_fault_until_they_succeed_and_are_reported_rarely() {
    let (_lan, [r1]) = lan_of::<1>();
    let (running, shared) = supervised(&r1);
    let id = running.with(|driver| driver.add(router(Family::Ipv4, 100)).unwrap());
    running.wait_for_state(id, State::Active);
    wait_for("the address", LIMIT, || has(&r1, VIP4).then_some(())).unwrap();
    running.with(|driver| driver.set_monitor_buffer(4096).unwrap());
    running.while_asleep(|| {
        // More notifications than the buffer holds.
        for number in 1..=100 {
            r1.add_address(&format!("198.51.100.{number}/32")).unwrap();
        }
        let lasts = Duration::from_secs(4);
        inject(&shared, libc::SYS_sendto, libc::EIO, lasts, u32::MAX);
    });
    running.wait_for_event("the fault", |event| {
        matches!(event, DriverEvent::Fault(Fault::SystemCallFails(_))).then_some(())
    });
    let is_report = |it: &&Notification| match &it.event {
        DriverEvent::SystemCallFailed { error, .. } => error.to_string().contains("list"),
        _ => false,
    };
    assert_eq!(running.log().iter().filter(is_report).count(), 1);
    running.wait_for_event("the recovery", |event| {
        matches!(event, DriverEvent::Recovered(Fault::SystemCallFails(_))).then_some(())
    });
    running.wait_for_state(id, State::Active);
    let known = running.with(|driver| driver.interfaces().clone());
    assert!(known.named("eth0").unwrap().has(ip("198.51.100.100")));
}

#[test]
fn a_router_that_cannot_receive_for_long_is_in_fault_until_it_can() {
    let (_lan, [r1, r2]) = lan_of::<2>();
    let (running, shared) = supervised(&r1);
    let id = running.with(|driver| driver.add(router(Family::Ipv4, 100)).unwrap());
    let (peer, peer_id) = DriverThread::with_router(r2.namespace(), router(Family::Ipv4, 200));
    peer.wait_for_state(peer_id, State::Active);
    running.wait_for_state(id, State::Backup);
    inject(
        &shared,
        libc::SYS_recvmmsg,
        libc::ENOMEM,
        Duration::from_secs(6),
        u32::MAX,
    );
    let fault = running.wait_for_event("the fault", |event| match event {
        DriverEvent::Fault(fault @ Fault::CannotReceive(_)) => Some(fault.clone()),
        _ => None,
    });
    assert!(
        fault.to_string().contains("receive advertisements"),
        "{fault}"
    );
    running.wait_for_state(id, State::Initialize);
    running.wait_for_event("the recovery", |event| {
        matches!(event, DriverEvent::Recovered(Fault::CannotReceive(_))).then_some(())
    });
    running.wait_for_state(id, State::Backup);
}
