//! `vrrp_examples::balancer`.

use std::{
    fs,
    io::{Read, Write},
    os::fd::AsRawFd,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use ipvs_netlink::{
    DestinationKey, ServiceKey,
    message::Change,
    plan::{Drain, Draining},
    pool::{Config, Operator, Verdict},
};
use vrrp_examples::{
    balancer::{Balancer, Notice, Options, SavedDrains, SavedState, Stop},
    control::{Command, Server},
    probe::Probe,
};
use vrrp_lab::{GuestTest, guest_tests};

use super::{run, serve, set_up, table};

/// Longer than any step takes in a guest on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

pub(crate) fn tests() -> Vec<GuestTest> {
    guest_tests![
        servers_come_and_go_with_their_checks_and_the_sorry_server_fills_the_gap,
        a_start_adopts_what_the_kernel_has,
        what_another_program_changes_is_put_right,
        a_table_that_is_flushed_every_second_for_a_minute_is_right_within_an_interval,
        after_a_socket_that_failed_the_table_is_right_within_an_interval,
        after_a_stall_no_server_is_out_and_the_table_is_right_within_an_interval,
        a_new_configuration_goes_on_with_what_is_in_both,
        settings_of_the_operator_survive_a_restart,
        a_command_changes_only_what_it_names,
        a_drain_keeps_its_time_across_a_restart,
        a_service_of_an_earlier_run_is_removed,
        a_stop_while_the_table_is_compared_removes_services_too,
        the_end_leaves_removes_or_drains_the_table,
        a_service_that_leaves_does_not_wait_for_a_drain_that_began_before,
        a_dry_run_changes_nothing,
    ]
    .map(|test| test.within(Duration::from_secs(300)))
    .to_vec()
}

fn block_on(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(test);
}

fn service() -> ServiceKey {
    "tcp 192.0.2.1:80".parse().unwrap()
}

fn server(server: u8) -> DestinationKey {
    DestinationKey::new(([10, 0, 0, server], 80))
}

/// A service with these servers, which are checked quickly.
fn config(servers: &[u8], more: &str) -> Config<Probe> {
    let servers: Vec<_> = servers
        .iter()
        .map(|server| format!("{{ address = \"10.0.0.{server}:80\" }}"))
        .collect();
    let text = format!(
        "[[services]]
        service = \"tcp 192.0.2.1:80\"
        scheduler = \"rr\"
        servers = [{}]
        checks = [{{ probe = \"tcp\", interval = \"100ms\", fast_interval = \"50ms\", fall = 2 }}]
        {more}",
        servers.join(", ")
    );
    toml::from_str(&text).unwrap()
}

async fn open(config: Config<Probe>) -> Balancer {
    Balancer::open(config, Options::default()).await.unwrap()
}

/// Runs until this notice comes, and returns all notices up to it.
#[track_caller]
fn until(
    balancer: &mut Balancer,
    mut is_it: impl FnMut(&Notice) -> bool,
) -> impl Future<Output = Vec<Notice>> {
    let caller = std::panic::Location::caller();
    async move {
        let mut notices = Vec::new();
        let end = Instant::now() + LIMIT;
        loop {
            let next = tokio::time::timeout_at(end.into(), balancer.next()).await;
            let Ok(next) = next else {
                let lines: Vec<_> = notices.iter().map(ToString::to_string).collect();
                panic!("{caller}: did not come: {lines:#?}\n{:#?}", table());
            };
            let notice = next.unwrap();
            let is_found = is_it(&notice);
            notices.push(notice);
            if is_found {
                return notices;
            }
        }
    }
}

fn is_compared(notice: &Notice) -> bool {
    matches!(notice, Notice::Compared(_))
}

/// Runs until the table is as expected.
async fn until_table(balancer: &mut Balancer, expected: &[&str]) {
    let end = Instant::now() + LIMIT;
    while table() != expected {
        assert!(Instant::now() < end, "{:#?}, not {expected:#?}", table());
        until(balancer, is_compared).await;
    }
}

const SERVICE: &str = "-A -t 192.0.2.1:80 -s rr";
const FIRST: &str = "-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 1";
const SECOND: &str = "-a -t 192.0.2.1:80 -r 10.0.0.2:80 -m -w 1";
const SORRY: &str = "-a -t 192.0.2.1:80 -r 10.0.0.4:80 -m -w 1";

fn servers_come_and_go_with_their_checks_and_the_sorry_server_fills_the_gap() {
    set_up();
    block_on(async {
        let (first, second) = (serve(1), serve(2));
        let mut balancer = open(config(&[1, 2], "sorry_server = \"10.0.0.4:80\"")).await;
        until_table(&mut balancer, &[SERVICE, FIRST, SECOND]).await;
        drop(first);
        until_table(&mut balancer, &[SERVICE, SECOND]).await;
        drop(second);
        let sorry_out = |notice: &Notice| {
            matches!(notice, Notice::Changed(step)
            if step.change.destination() == Some(server(2)) && matches!(step.change, Change::DeleteDestination { .. }))
        };
        let notices = until(&mut balancer, sorry_out).await;
        // The sorry server is added before the last server is removed.
        let is_sorry_in = |notice: &Notice| {
            matches!(notice, Notice::Changed(step)
            if step.change.destination() == Some(server(4)) && matches!(step.change, Change::AddDestination { .. }))
        };
        assert!(notices.iter().any(is_sorry_in), "{notices:#?}");
        assert_eq!(table(), [SERVICE, SORRY]);
        let _first = serve(1);
        until_table(&mut balancer, &[SERVICE, FIRST]).await;
    });
}

fn a_start_adopts_what_the_kernel_has() {
    set_up();
    run("ipvsadm -A -t 192.0.2.1:80 -s rr");
    run("ipvsadm -a -t 192.0.2.1:80 -r 10.0.0.1:80 -m");
    run("ipvsadm -a -t 192.0.2.1:80 -r 10.0.0.3:80 -m -w 7");
    run("ipvsadm -A -t 192.0.2.9:80 -s lc");
    block_on(async {
        let _first = serve(1);
        let mut balancer = open(config(&[1, 2], "drain = false")).await;
        let notices = until(&mut balancer, is_compared).await;
        let lines: Vec<_> = notices.iter().map(ToString::to_string).collect();
        // Correct entries are left alone, unwanted entries are removed, and another service is
        // foreign.
        assert!(
            !lines.iter().any(|line| line.contains("10.0.0.1:80 masq")),
            "{lines:#?}"
        );
        until_table(&mut balancer, &[SERVICE, "-A -t 192.0.2.9:80 -s lc", FIRST]).await;
    });
}

fn what_another_program_changes_is_put_right() {
    set_up();
    block_on(async {
        let (_first, _second) = (serve(1), serve(2));
        let mut balancer = open(config(&[1, 2], "")).await;
        until_table(&mut balancer, &[SERVICE, FIRST, SECOND]).await;
        for edit in [
            "ipvsadm -C",
            "ipvsadm -d -t 192.0.2.1:80 -r 10.0.0.1:80",
            "ipvsadm -e -t 192.0.2.1:80 -r 10.0.0.2:80 -m -w 9",
            "ipvsadm -E -t 192.0.2.1:80 -s wlc",
            "ipvsadm -D -t 192.0.2.1:80",
        ] {
            run(edit);
            let changed = |notice: &Notice| matches!(notice, Notice::Changed(_));
            let notices = until(&mut balancer, changed).await;
            until(&mut balancer, is_compared).await;
            assert_eq!(table(), [SERVICE, FIRST, SECOND], "{edit}");
            // One interval: a comparison that began before the edit, and the next one.
            let before = notices.iter().filter(|it| is_compared(it)).count();
            assert!(before <= 1, "{edit}: {notices:#?}");
        }
    });
}

fn a_table_that_is_flushed_every_second_for_a_minute_is_right_within_an_interval() {
    set_up();
    run("ipvsadm -A -t 192.0.2.9:80 -s lc");
    block_on(async {
        let (_first, _second) = (serve(1), serve(2));
        let mut config = config(&[1, 2], "");
        // The connections of checks are not accepted, and a listener keeps only a limited number.
        config.services[0].checks[0].interval = Duration::from_secs(1);
        let mut balancer = open(config).await;
        until_table(
            &mut balancer,
            &[SERVICE, "-A -t 192.0.2.9:80 -s lc", FIRST, SECOND],
        )
        .await;
        let end = Instant::now() + Duration::from_secs(60);
        let mut flush = tokio::time::interval(Duration::from_secs(1));
        let mut flushes = 0;
        while Instant::now() < end {
            flush.tick().await;
            run("ipvsadm -D -t 192.0.2.1:80");
            flushes += 1;
            let added = |notice: &Notice| {
                matches!(notice, Notice::Changed(step)
                if matches!(step.change, Change::AddService(_)))
            };
            // A comparison that is already under way may miss the flush; the next one sees it.
            until(&mut balancer, added).await;
            until(&mut balancer, is_compared).await;
            assert_eq!(
                table(),
                [SERVICE, "-A -t 192.0.2.9:80 -s lc", FIRST, SECOND],
                "{flushes}"
            );
        }
        assert!(flushes >= 20, "{flushes}");
    });
}

/// Makes each later call on a generic netlink socket of this process fail.
#[allow(
    unsafe_code,
    reason = "the descriptors belong to sockets of another type"
)]
fn break_netlink_sockets() {
    // The columns are those of the kernel: the protocol is the second one, the inode the last.
    let list = fs::read_to_string("/proc/thread-self/net/netlink").unwrap();
    let generic: Vec<_> = list
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|words| words[1] == libc::NETLINK_GENERIC.to_string())
        .map(|words| format!("socket:[{}]", words[words.len() - 1]))
        .collect();
    let nothing = fs::File::open("/dev/null").unwrap();
    let mut broken = 0;
    for entry in fs::read_dir("/proc/self/fd").unwrap() {
        let path = entry.unwrap().path();
        let name = fs::read_link(&path).unwrap_or_default();
        if generic.iter().any(|socket| name == Path::new(socket)) {
            let number = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
            // SAFETY: the number stays open, and only this test uses the new file.
            let result = unsafe { libc::dup2(nothing.as_raw_fd(), number) };
            assert_eq!(result, number);
            broken += 1;
        }
    }
    assert!(broken > 0, "{list}");
}

const FOREIGN: &str = "-A -t 192.0.2.9:80 -s lc";
const FOREIGN_SERVER: &str = "-a -t 192.0.2.9:80 -r 10.0.0.3:80 -m -w 0";

fn make_a_foreign_service() {
    for line in [FOREIGN, FOREIGN_SERVER] {
        run(&format!("ipvsadm {line}"));
    }
}

/// Waits until the service exists again and the table was compared. Checks that this took one
/// interval: that at most one comparison, which began before, ended without the service.
async fn is_right_again(balancer: &mut Balancer) -> Vec<Notice> {
    let added = |notice: &Notice| matches!(notice, Notice::Changed(step) if matches!(step.change, Change::AddService(_)));
    let mut notices = until(balancer, added).await;
    let before = notices.iter().filter(|it| is_compared(it)).count();
    assert!(before <= 1, "{notices:#?}");
    notices.extend(until(balancer, is_compared).await);
    assert_eq!(
        table(),
        [SERVICE, FOREIGN, FIRST, SECOND, FOREIGN_SERVER],
        "{notices:#?}"
    );
    notices
}

fn after_a_socket_that_failed_the_table_is_right_within_an_interval() {
    set_up();
    make_a_foreign_service();
    block_on(async {
        let (_first, _second) = (serve(1), serve(2));
        let mut config = config(&[1, 2], "");
        // The connections of checks are not accepted, and a listener keeps only a limited number.
        config.services[0].checks[0].interval = Duration::from_secs(1);
        let mut balancer = open(config).await;
        let right = [SERVICE, FOREIGN, FIRST, SECOND, FOREIGN_SERVER];
        until_table(&mut balancer, &right).await;
        for round in 0..5 {
            break_netlink_sockets();
            run("ipvsadm -D -t 192.0.2.1:80");
            let notices = is_right_again(&mut balancer).await;
            let reported = notices.iter().filter(|it| matches!(it, Notice::Trouble(_)));
            assert_eq!(reported.count(), 1, "{round}: {notices:#?}");
        }
    });
}

/// A slow web server on port 80 of 10.0.0.N, which runs until the guest ends. `waiting` counts the
/// requests that it has read and not answered.
fn serve_slowly(server: u8, waiting: &Arc<AtomicU32>) {
    let listener = serve(server);
    let waiting = waiting.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let waiting = waiting.clone();
            thread::spawn(move || {
                let mut request = [0; 1024];
                let _ = stream.read(&mut request);
                waiting.fetch_add(1, Ordering::SeqCst);
                thread::sleep(Duration::from_millis(80));
                waiting.fetch_sub(1, Ordering::SeqCst);
                let _ = stream.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n");
            });
        }
    });
}

fn after_a_stall_no_server_is_out_and_the_table_is_right_within_an_interval() {
    set_up();
    make_a_foreign_service();
    let waiting = Arc::default();
    serve_slowly(1, &waiting);
    serve_slowly(2, &waiting);
    block_on(async {
        let mut config = config(&[1, 2], "");
        let check = &mut config.services[0].checks[0];
        check.probes = vec![
            toml::from_str::<Slow>("probe = { http = {} }")
                .unwrap()
                .probe,
        ];
        // One failure is enough to remove a server.
        (check.fall, check.time_limit) = (1, Duration::from_secs(5));
        let mut balancer = open(config).await;
        let right = [SERVICE, FOREIGN, FIRST, SECOND, FOREIGN_SERVER];
        until_table(&mut balancer, &right).await;
        // Some of these stalls are long enough for the pool to forgive lateness; the others are
        // not.
        for (round, stall) in [5_400, 5_600, 6_500, 5_400, 5_600, 6_500]
            .into_iter()
            .enumerate()
        {
            let pause = Instant::now() + Duration::from_millis(30 + 20 * round as u64);
            // The stall begins while all probes wait for their answers.
            let is_waiting = |balancer: &Balancer| {
                let running = balancer.pool().running();
                running > 0 && waiting.load(Ordering::SeqCst) == running
            };
            while Instant::now() < pause || !is_waiting(&balancer) {
                let wait = tokio::time::sleep(Duration::from_millis(5));
                tokio::select! {
                    () = wait => {}
                    _ = balancer.next() => {}
                }
            }
            run("ipvsadm -D -t 192.0.2.1:80");
            // Everything in this thread stops: checks and comparisons.
            thread::sleep(Duration::from_millis(stall));
            let mut notices = is_right_again(&mut balancer).await;
            notices.extend(until(&mut balancer, is_compared).await);
            let down = notices.iter().any(|it| it.to_string().contains(" down"));
            assert!(!down, "{round}: {notices:#?}");
        }
        assert_eq!(balancer.pool().counters().time_limits, 0);
    });
}

#[derive(serde::Deserialize)]
struct Slow {
    probe: Probe,
}

fn a_new_configuration_goes_on_with_what_is_in_both() {
    set_up();
    block_on(async {
        let (_first, _second) = (serve(1), serve(2));
        let mut balancer = open(config(&[1, 3], "drain = false")).await;
        until_table(&mut balancer, &[SERVICE, FIRST]).await;
        let probes = balancer.pool().counters().probes;
        balancer
            .reconfigure(config(&[1, 2, 3], "drain = false"))
            .unwrap();
        until_table(&mut balancer, &[SERVICE, FIRST, SECOND]).await;
        let counters = balancer.pool().counters();
        assert!(
            counters.probes > probes && counters.servers_down <= 1,
            "{counters:?}"
        );
        let wrong = config(&[1, 1], "");
        let error = balancer.reconfigure(wrong).unwrap_err().to_string();
        assert!(error.contains("10.0.0.1:80"), "{error}");
        balancer.reconfigure(Config::default()).unwrap();
        until_table(&mut balancer, &[]).await;
    });
}

fn settings_of_the_operator_survive_a_restart() {
    set_up();
    block_on(async {
        let (_first, _second) = (serve(1), serve(2));
        let mut balancer = open(config(&[1, 2], "")).await;
        until_table(&mut balancer, &[SERVICE, FIRST, SECOND]).await;
        balancer
            .set_operator(&service(), &server(1), Operator::Maintenance)
            .unwrap();
        balancer
            .set_weight(&service(), &server(2), Some(5.into()))
            .unwrap();
        let heavy = "-a -t 192.0.2.1:80 -r 10.0.0.2:80 -m -w 5";
        until_table(&mut balancer, &[SERVICE, heavy]).await;
        let saved = balancer.saved_state();
        balancer.stop(Stop::Leave);
        while balancer.next().await.is_some() {}
        let options = Options {
            saved,
            ..Options::default()
        };
        let mut again = Balancer::open(config(&[1, 2], ""), options).await.unwrap();
        for _ in 0..3 {
            until(&mut again, is_compared).await;
        }
        assert_eq!(table(), [SERVICE, heavy]);
        again
            .set_operator(&service(), &server(1), Operator::Ready)
            .unwrap();
        until_table(&mut again, &[SERVICE, FIRST, heavy]).await;
    });
}

fn a_command_changes_only_what_it_names() {
    set_up();
    block_on(async {
        let (_first, _second) = (serve(1), serve(2));
        let mut balancer = open(config(&[1, 2], "")).await;
        until_table(&mut balancer, &[SERVICE, FIRST, SECOND]).await;
        let server = Server {
            service: service(),
            server: server(1),
        };
        let weight = |weight| Command::Weight { server, weight };
        let mut state_after = |command: Command| {
            command.apply(&mut balancer).unwrap();
            let it = balancer.pool().explain(&server.service, &server.server);
            it.map(|it| (it.operator, it.operator_weight)).unwrap()
        };
        for (command, expected) in [
            (Command::Maintain(server), (Operator::Maintenance, None)),
            (weight(5), (Operator::Maintenance, Some(5.into()))),
            (Command::Drain(server), (Operator::Drain, Some(5.into()))),
            (weight(7), (Operator::Drain, Some(7.into()))),
            (Command::Resume(server), (Operator::Ready, None)),
            (weight(3), (Operator::Ready, Some(3.into()))),
        ] {
            assert_eq!(state_after(command), expected, "{command:?}");
        }
        until_table(
            &mut balancer,
            &[SERVICE, &FIRST.replace("-w 1", "-w 3"), SECOND],
        )
        .await;
    });
}

fn a_drain_keeps_its_time_across_a_restart() {
    set_up();
    block_on(async {
        let (_first, _second) = (serve(1), serve(2));
        let mut balancer = open(config(&[1], "drain = \"10m\"")).await;
        until_table(&mut balancer, &[SERVICE, FIRST]).await;
        let connecting = tokio::net::TcpStream::connect("192.0.2.1:80");
        let _connection = connecting.await.unwrap();
        let without = config(&[2], "drain = \"10m\"");
        balancer.reconfigure(without.clone()).unwrap();
        let drained = FIRST.replace("-w 1", "-w 0");
        until_table(&mut balancer, &[SERVICE, &drained, SECOND]).await;
        until(&mut balancer, is_compared).await;
        let place = (service(), server(1));
        let begun = balancer.draining().destinations[&place];
        let mut saved = balancer.saved_state();
        balancer.stop(Stop::Leave);
        while balancer.next().await.is_some() {}
        drop(balancer);

        let with = |saved| Options {
            saved,
            ..Options::default()
        };
        let again = Balancer::open(without.clone(), with(saved.clone())).await;
        let mut again = again.unwrap();
        until(&mut again, is_compared).await;
        assert_eq!(table(), [SERVICE, &drained, SECOND]);
        assert_eq!(again.draining().destinations[&place], begun);
        drop(again);

        // With a shorter time, the drain had ended before this start.
        let mut draining = Draining::default();
        let mut over = begun;
        over.rule = over.rule.map(|rule| Drain {
            at_most: Duration::from_millis(1),
            ..rule
        });
        draining.destinations.insert(place, over);
        saved.drains = SavedDrains::of(&draining);
        let mut last = Balancer::open(without, with(saved)).await.unwrap();
        until(&mut last, is_compared).await;
        assert_eq!(table(), [SERVICE, SECOND]);
        until(&mut last, is_compared).await;
        assert_eq!(last.saved_state().drains, SavedDrains::default());
    });
}

fn a_stop_while_the_table_is_compared_removes_services_too() {
    set_up();
    block_on(async {
        let _first = serve(1);
        let mut balancer = open(config(&[1], "")).await;
        until_table(&mut balancer, &[SERVICE, FIRST]).await;
        balancer.set_interval(Duration::ZERO);
        // Begins a comparison without waiting for its end.
        let at_once = Duration::ZERO;
        while tokio::time::timeout(at_once, balancer.next()).await.is_ok() {}
        balancer.stop(Stop::Remove);
        while balancer.next().await.is_some() {}
        assert_eq!(table(), [""; 0]);
    });
}

fn a_service_of_an_earlier_run_is_removed() {
    set_up();
    run("ipvsadm -A -t 192.0.2.1:81 -s rr");
    run("ipvsadm -A -t 192.0.2.1:82 -s rr");
    block_on(async {
        let saved = SavedState {
            services: vec!["tcp 192.0.2.1:81".parse().unwrap()],
            ..SavedState::default()
        };
        let options = Options {
            saved,
            ..Options::default()
        };
        let mut balancer = Balancer::open(Config::default(), options).await.unwrap();
        until_table(&mut balancer, &["-A -t 192.0.2.1:82 -s rr"]).await;
        // The next reading shows that it is gone.
        until(&mut balancer, is_compared).await;
        assert_eq!(balancer.owned(), []);
    });
}

fn the_end_leaves_removes_or_drains_the_table() {
    set_up();
    block_on(async {
        let _first = serve(1);
        for (stop, expected) in [
            (Stop::Leave, &[SERVICE, FIRST][..]),
            (Stop::Remove, &[]),
            (Stop::Drain(LIMIT), &[]),
        ] {
            let mut balancer = open(config(&[1], "omega = true")).await;
            let is_up = |balancer: &Balancer| {
                let explanation = balancer.pool().explain(&service(), &server(1));
                explanation.is_some_and(|it| it.health == Verdict::Up)
            };
            while !is_up(&balancer) {
                until(&mut balancer, |_| true).await;
            }
            until_table(&mut balancer, &[SERVICE, FIRST]).await;
            balancer.stop(stop);
            let mut lines = Vec::new();
            while let Some(notice) = balancer.next().await {
                lines.push(notice.to_string());
            }
            assert_eq!(table(), expected, "{stop:?}: {lines:#?}");
            let down = "tcp 192.0.2.1:80: server 10.0.0.1:80 down (stop)";
            assert!(lines.iter().any(|line| line == down), "{lines:#?}");
        }
    });
}

fn a_service_that_leaves_does_not_wait_for_a_drain_that_began_before() {
    set_up();
    block_on(async {
        let (_first, _second) = (serve(1), serve(2));
        let drained = FIRST.replace("-w 1", "-w 0");
        for leave in [
            &(|balancer: &mut Balancer| balancer.stop(Stop::Remove)) as &dyn Fn(&mut Balancer),
            &|balancer| balancer.stop(Stop::Drain(Duration::from_secs(1))),
            &|balancer| balancer.reconfigure(Config::default()).unwrap(),
        ] {
            // The operator's drain is that of the configuration, far longer than the test.
            let mut balancer = open(config(&[1, 2], "drain = \"10m\"")).await;
            until_table(&mut balancer, &[SERVICE, FIRST, SECOND]).await;
            let mut connections = Vec::new();
            for _ in 0..2 {
                let connecting = tokio::net::TcpStream::connect("192.0.2.1:80");
                connections.push(connecting.await.unwrap());
            }
            balancer
                .set_operator(&service(), &server(1), Operator::Drain)
                .unwrap();
            until_table(&mut balancer, &[SERVICE, &drained, SECOND]).await;
            until(&mut balancer, is_compared).await;
            leave(&mut balancer);
            until_table(&mut balancer, &[]).await;
        }
    });
}

fn a_dry_run_changes_nothing() {
    set_up();
    run("ipvsadm -A -t 192.0.2.1:80 -s wlc");
    let before = table();
    block_on(async {
        let _first = serve(1);
        let options = Options {
            dry_run: true,
            ..Options::default()
        };
        let mut balancer = Balancer::open(config(&[1], ""), options).await.unwrap();
        let added = |notice: &Notice| {
            matches!(notice, Notice::Changed(step)
            if matches!(step.change, Change::AddDestination { .. }))
        };
        until(&mut balancer, added).await;
        balancer.stop(Stop::Remove);
        while balancer.next().await.is_some() {}
    });
    assert_eq!(table(), before);
}
