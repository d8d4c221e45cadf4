//! A driver in a task of tokio.

use std::time::{Duration, Instant};

use tokio::{runtime, select, time};
use vrrp_fsm::State;
use vrrp_net::{AsyncDriver, Driver, DriverEvent, Notification};
use vrrp_proto::Family;

use crate::rig::{LIMIT, VIP4, has, lan_of, router};

fn block_on<T>(task: impl Future<Output = T>) -> T {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    runtime
        .unwrap()
        .block_on(async { time::timeout(LIMIT, task).await.unwrap() })
}

fn is_change(notification: &Notification, to: State) -> bool {
    matches!(&notification.event, DriverEvent::StateChanged(change) if change.to == to)
}

#[test]
fn the_next_notification_is_awaited_and_nothing_is_lost_when_the_wait_is_cancelled() {
    let (_lan, [host]) = lan_of::<1>();
    host.namespace().run(|| {
        block_on(async {
            let mut driver = AsyncDriver::new(Driver::new().unwrap()).unwrap();
            driver.get_mut().add(router(Family::Ipv4, 100)).unwrap();
            let (mut log, mut cancelled) = (Vec::new(), 0);
            while !log.iter().any(|it| is_change(it, State::Active)) {
                select! {
                    notification = driver.next() => log.push(notification.unwrap().unwrap()),
                    () = time::sleep(Duration::from_micros(300)) => cancelled += 1,
                }
            }
            assert!(cancelled > 10, "{cancelled}");
            assert!(has(&host, VIP4));
            // Every fault, report and change of state, each once.
            let numbers: Vec<u64> = log.iter().map(|it| it.sequence).collect();
            let expected: Vec<u64> = (1..).take(log.len()).collect();
            assert_eq!(numbers, expected);

            driver.get_ref().handle().stop();
            let mut last = None;
            while let Some(notification) = driver.next().await.unwrap() {
                last = Some(notification);
            }
            assert!(is_change(&last.unwrap(), State::Initialize));
            assert!(!has(&host, VIP4));
            assert!(driver.next().await.unwrap().is_none());
        });
    });
}

#[test]
fn other_threads_and_timers_wake_the_task_up() {
    let (_lan, [host]) = lan_of::<1>();
    host.namespace().run(|| {
        block_on(async {
            let mut driver = AsyncDriver::new(Driver::new().unwrap()).unwrap();
            let id = driver.get_mut().add(router(Family::Ipv4, 100)).unwrap();
            let handle = driver.get_ref().handle();
            let start = Instant::now();
            let thread = std::thread::spawn(move || {
                let sent = move |driver: &mut Driver| {
                    let view = driver.get(id).unwrap();
                    view.machine().counters().advertisements_sent
                };
                // Only its timer makes it advertise.
                while handle.call(sent).unwrap() < 10 {
                    assert!(start.elapsed() < LIMIT);
                    std::thread::sleep(Duration::from_millis(200));
                }
                handle.set_fault(id, "no upstream").unwrap();
                handle.call(|_| ()).unwrap();
                handle.stop();
            });
            let mut log = Vec::new();
            while let Some(notification) = driver.next().await.unwrap() {
                log.push(notification.to_string());
            }
            thread.join().unwrap();
            let is_there = |text: &str| log.iter().any(|line| line.contains(text));
            assert!(is_there("fault: no upstream"), "{log:#?}");
        });
    });
}
