//! keepalived's command line on these crates: reads keepalived.conf, checks it, runs it.

mod background;
mod balancing;
mod daemon;
mod data;
mod fifo;
mod genhash;
mod handed_over;
mod host;
mod ipvs_settings;
mod links;
mod log;
mod mail;
mod options;
mod outlet;
mod pid_files;
mod reload_file;
mod reload_time;
mod saves;
mod scripts;
mod signals;
mod startup_hold;
mod time_file;
mod watch;

use std::{
    fs,
    io::{self, IsTerminal as _, Write as _},
    os::unix::net::UnixStream,
    panic::resume_unwind,
    path::Path,
    process::ExitCode,
    thread,
};

use clap::Parser as _;
use nix::sched::CloneFlags;
use sd_notify::NotifyState;
use vrrp_examples::{
    balancer::TableNamespace,
    keepalived::{
        balance::{Balance, balance},
        translate::{Plan, translate},
    },
    keepalived_conf::{
        self, Reading,
        complaint::Weight,
        configuration::Global,
        host::{Host, namespace_path},
        reload::ReloadSettings,
        source::Environment,
    },
    memory,
    succession::{self, Inheritance, Succession, TakeOverError},
};
use vrrp_net::{Driver, DriverHandle};

use crate::{
    daemon::Daemon,
    handed_over::{HostState, Predecessor},
    links::Links,
    log::Log,
    options::{Format, Options},
    pid_files::PidFiles,
    signals::Signals,
};

pub(crate) type Error = Box<dyn std::error::Error>;

/// The exit status of a daemon whose configuration cannot be used.
const NO_CONFIG: u8 = 6;
/// The exit status of a daemon that cannot start.
const FATAL: u8 = 2;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next() {
        Some(first) if first == "--genhash" => return genhash::run(arguments),
        Some(first) if first == scripts::AWAIT => {
            let process = arguments.next().unwrap_or_default();
            let result = scripts::await_process(&process.to_string_lossy());
            return result.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
        }
        _ => {}
    }
    let options = Options::parse();
    if options.version {
        println!("Keepalived on vrrp-net {}", env!("CARGO_PKG_VERSION"));
        return ExitCode::SUCCESS;
    }
    if let Some(name) = &options.signum {
        let Some(number) = signals::number(name) else {
            eprintln!("--signum {name}: not one of STOP, RELOAD, DATA, STATS, STATS_CLEAR, JSON");
            return ExitCode::FAILURE;
        };
        println!("{number}");
        return ExitCode::SUCCESS;
    }
    if options.test.is_some() {
        return check(&options);
    }
    let result = if options.foreground || options.is_in_background {
        run(&options)
    } else {
        background::start().map_err(Error::from)
    };
    match result {
        Ok(status) => status,
        Err(error) => {
            eprintln!("keepalived: {error}");
            ExitCode::from(FATAL)
        }
    }
}

/// Reads the configuration for this host.
fn read(options: &Options) -> io::Result<(Reading, Host)> {
    let host = Host::read()?;
    let environment = Environment {
        like: options.like(),
        config_id: options
            .config_id
            .clone()
            .or_else(|| Some(host.name.clone())),
        seed: 1,
        namespace: options.namespace.clone(),
    };
    let reading = keepalived_conf::read(&options.file, &environment, &host);
    Ok((reading, host))
}

/// `-t`: prints the faults of the configuration, and returns keepalived's exit status.
fn check(options: &Options) -> ExitCode {
    let (reading, host) = match read(options) {
        Ok(read) => read,
        Err(error) => {
            eprintln!("the interfaces of this host cannot be listed: {error}");
            return ExitCode::FAILURE;
        }
    };
    let file = options.test.as_ref().filter(|it| it.as_os_str() != "-");
    let text = match options.format {
        Format::Json => format!("{}\n", keepalived_conf::report(&reading, &host)),
        Format::Text => {
            let is_coloured = file.is_none() && io::stdout().is_terminal();
            keepalived_conf::diagnostic::render(&reading, is_coloured)
        }
    };
    let written = match file {
        Some(path) => fs::write(path, text),
        None => io::stdout().write_all(text.as_bytes()),
    };
    if let Err(error) = written {
        eprintln!("keepalived: {error}");
        return ExitCode::FAILURE;
    }
    let has_warnings = reading
        .complaints
        .iter()
        .any(|it| it.weight > Weight::Remark);
    let status = reading.exit_status();
    // The process is about to end, and a large configuration takes time to free.
    std::mem::forget(reading);
    ExitCode::from(match status {
        0 if options.strict && has_warnings => 5,
        status => status,
    })
}

/// Reads the configuration as the daemon does: in a thread of its own.
///
/// Reading takes many times the memory of its result. The allocator gives each thread an area of
/// its own, so what the daemon keeps does not lie between the gaps that reading leaves, and the
/// whole area can be returned.
fn read_apart(options: &Options) -> io::Result<Reading> {
    thread::scope(|scope| {
        let read = || read(options).map(|(reading, _)| reading);
        let reader = thread::Builder::new()
            .name("reader".into())
            .spawn_scoped(scope, read)?;
        reader.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

fn run(options: &Options) -> Result<ExitCode, Error> {
    let reading = read_apart(options)?;
    let facility = log::facility(&options.log_facility).ok_or_else(|| {
        format!(
            "--log-facility {}: not 0 to 7, local0 to local7, user or daemon",
            options.log_facility
        )
    })?;
    let table_namespace = table_namespace(&reading)?;
    enter_namespace(options, &reading)?;
    set_umask(options, &reading)?;
    if options.is_in_background {
        background::detach()?;
    }
    let log = Log::open(
        options.log_console,
        options.log_file.as_deref(),
        (!options.no_syslog).then_some(facility),
        options.log_detail,
    )?;
    for (option, reason) in options.without_effect() {
        log.info(&format!("{option} has no effect: {reason}"));
    }
    for line in keepalived_conf::diagnostic::render(&reading, false).lines() {
        log.info(line);
    }
    // A program that writes the configuration may be waiting.
    if let Some(path) = ReloadSettings::of(&reading.configuration).file {
        reload_file::remove(&path, &log);
    }
    if let Some(status) = refusal(options, &reading) {
        log.warning("the configuration cannot be used; the daemon does not start");
        return Ok(ExitCode::from(status));
    }
    let result = serve(options, reading, table_namespace, &log);
    if let Err(error) = &result {
        log.warning(&format!("the daemon ends: {error}"));
    }
    result.map(|()| ExitCode::SUCCESS)
}

/// The exit status, if no daemon can run with this configuration.
fn refusal(options: &Options, reading: &Reading) -> Option<u8> {
    let misses_file = options.all_config
        && reading
            .complaints
            .iter()
            .any(|it| it.kind == keepalived_conf::complaint::Kind::ConfigFiles);
    if reading.is_startable && !misses_file {
        return None;
    }
    Some(if reading.files.is_empty() || misses_file {
        NO_CONFIG
    } else {
        FATAL
    })
}

/// Takes over from the daemon that listens at a socket, if there is such a daemon.
fn take_over(socket: &Path, log: &Log) -> Result<Option<Inheritance>, Error> {
    match succession::take_over(socket) {
        Ok(Some(inheritance)) => {
            log.info("took over from the running daemon");
            Ok(Some(inheritance))
        }
        Ok(None) => {
            log.info("there is no daemon to take over from");
            Ok(None)
        }
        Err(TakeOverError::Connect(error)) => Err(format!("{}: {error}", socket.display()).into()),
        Err(TakeOverError::Driver(error)) => Err(error.into()),
    }
}

/// Listens for successors. Where that is not possible, the daemon runs without.
fn listen(
    options: &Options,
    is_successor: bool,
    driver: DriverHandle,
    log: &Log,
) -> Option<Succession> {
    let attempts = log.clone();
    let report = move |result| match result {
        Ok(()) => attempts.info("handed over to another daemon"),
        Err(error) => attempts.warning(&format!("the hand-over failed: {error}")),
    };
    let socket = &options.replace_socket;
    let listening = if is_successor {
        Succession::listen_after_predecessor(socket, driver, report)
    } else {
        Succession::listen(socket, driver, report)
    };
    let note = |error| {
        let socket = socket.display();
        log.warning(&format!("--replace is not possible: {socket}: {error}"));
    };
    listening.map_err(note).ok()
}

/// Receives the objects of the daemon before.
fn greet(connection: UnixStream, options: &Options, log: &Log) -> Predecessor {
    let host = HostState::receive(&connection).unwrap_or_else(|error| {
        log.warning(&format!(
            "addresses, routes and rules of the daemon before that the configuration no longer \
             names stay: {error}"
        ));
        HostState::default()
    });
    let process = handed_over::process_of(&connection);
    // Without virtual servers of its own, it leaves those of the other daemon alone.
    let connection = (!options.vrrp_only).then_some(connection);
    Predecessor {
        host,
        process,
        connection,
    }
}

/// Runs the daemon from its first router to its end.
fn serve(
    options: &Options,
    reading: Reading,
    table_namespace: TableNamespace,
    log: &Log,
) -> Result<(), Error> {
    // Before the first address, so that no signal leaves one behind.
    let signals = Signals::new()?;
    // What can fail or takes time comes before the take-over: after it, no router runs until the
    // driver has its first turn, and the other daemon ends.
    let mut pid_files = PidFiles::open(options, &reading)?;
    let links = Links::new()?;
    let plan = plan_of(options, &reading);
    let balance = balance_of(options, &reading);
    let taken = if options.replace {
        take_over(&options.replace_socket, log)?
    } else {
        None
    };
    let is_successor = taken.is_some();
    let (driver, predecessor) = if let Some(taken) = taken {
        let predecessor = greet(taken.predecessor, options, log);
        (taken.driver, Some(predecessor))
    } else {
        pid_files.refuse_second()?;
        (Driver::new()?, None)
    };
    match pid_files.write() {
        Err(error) if is_successor => log.warning(&error.to_string()),
        result => result?,
    }
    let serving = signals.serve(driver.handle())?;
    let succession = listen(options, is_successor, driver.handle(), log);
    // The service starts and ends once, however often the program is replaced in between.
    if !is_successor {
        run_script(&reading.configuration.global, "startup_script", log);
    }
    if options.dump {
        log.info(&format!("{:?}", reading.configuration));
    }
    let mut daemon = Daemon::new(
        driver,
        &reading,
        links,
        predecessor,
        options.page,
        table_namespace,
        log.clone(),
    );
    daemon.obey_log_unknown_vrids();
    daemon.save_configuration(&reading.files);
    drop(reading);
    daemon.apply(plan);
    daemon.balance(balance);
    systemd(&[NotifyState::Ready]);
    log.info("Startup complete");
    if options.is_in_background {
        background::report_ready()?;
    }
    memory::return_unused();
    let reload = |log: &Log| match read_apart(options) {
        Ok(reading) => {
            let plan = plan_of(options, &reading);
            let balance = balance_of(options, &reading);
            (reading, plan, balance)
        }
        Err(error) => {
            log.warning(&format!("the configuration cannot be read: {error}"));
            // No daemon starts with it, so the running one stays as it is.
            let nothing = keepalived_conf::source::Lines::default();
            let mut reading = keepalived_conf::interpret(nothing, &Host::default());
            reading.is_startable = false;
            (reading, Plan::default(), Balance::default())
        }
    };
    let result = daemon.run(&serving, reload, options.lenient_reload);
    // The thread may be waiting for an answer of the driver, which takes no more turns.
    daemon.driver.refuse_requests();
    let heir = succession.and_then(Succession::end);
    let successor = heir.as_ref().and_then(|it| it.process);
    // The service goes on as another process. Only the main process can name it.
    systemd(&[successor.map_or(NotifyState::Stopping, NotifyState::MainPid)]);
    let global = daemon.global.clone();
    let connection = heir.map(|it| it.connection);
    let is_replaced = connection.is_some();
    let must_stop = || serving.must_stop();
    let ended = daemon.end(connection, options.keep_vrrp, options.keep_ipvs, &must_stop);
    if let Some(successor) = successor
        && serving.must_stop()
    {
        log.info("asked to stop: the other daemon stops, too");
        if let Err(error) = succession::end_successor(successor) {
            log.warning(&format!("process {successor} may go on: {error}"));
        }
    }
    drop(serving);
    if !is_replaced {
        run_script(&global, "shutdown_script", log);
    }
    drop(pid_files);
    log.info("Stopped");
    result.and(ended)
}

/// Reports to the service manager, where there is one.
pub(crate) fn systemd(states: &[NotifyState<'_>]) {
    // Without a service manager there is nothing to notify.
    let _ = sd_notify::notify(states);
}

/// The plan for VRRP; empty with `--check`.
fn plan_of(options: &Options, reading: &Reading) -> Plan {
    if options.checks_only {
        return Plan::default();
    }
    translate(&reading.configuration, host::uptime())
}

/// The virtual servers for IPVS; none with `--vrrp`.
fn balance_of(options: &Options, reading: &Reading) -> Balance {
    if options.vrrp_only {
        return Balance::default();
    }
    balance(&reading.configuration)
}

/// Runs `startup_script` or `shutdown_script` to its end.
fn run_script(global: &Global, word: &str, log: &Log) {
    use std::os::fd::AsFd as _;
    use vrrp_examples::command::{Limits, run};

    let script = global.scripts.get(word);
    let Some(command) = script.and_then(watch::command_of) else {
        return;
    };
    let seconds = global.numbers.get(format!("{word}_timeout").as_str());
    let seconds = seconds.copied().unwrap_or(10);
    let Ok((never, _open)) = io::pipe() else {
        return;
    };
    let limits = Limits {
        run: std::time::Duration::from_secs(u64::try_from(seconds).unwrap_or(10)),
        grace: std::time::Duration::from_secs(2),
    };
    run(command, limits, never.as_fd(), |result, output| {
        if let Err(failure) = result {
            log.warning(format!("the script failed: {failure} {output}").trim_end());
        }
    });
}

/// The network namespace of the virtual servers. With `net_namespace_ipvs` it is the named one, or
/// without a name the one in which the program was started; else it is that of the daemon. Checks
/// run in the namespace of the daemon.
fn table_namespace(reading: &Reading) -> Result<TableNamespace, Error> {
    let path = match reading.configuration.net_namespace_ipvs.as_deref() {
        None => return Ok(TableNamespace::default()),
        Some("") => "/proc/thread-self/ns/net".into(),
        Some(name) => namespace_path(name),
    };
    let opened = TableNamespace::open(&path);
    opened.map_err(|error| format!("net_namespace_ipvs: {}: {error}", path.display()).into())
}

/// Enters the network namespace of `net_namespace` or `--namespace`.
fn enter_namespace(options: &Options, reading: &Reading) -> Result<(), Error> {
    let own = reading.configuration.net_namespace.as_deref();
    let Some(name) = options.namespace.as_deref().or(own) else {
        return Ok(());
    };
    let path = namespace_path(name);
    let namespace =
        fs::File::open(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    nix::sched::setns(namespace, CloneFlags::CLONE_NEWNET)?;
    Ok(())
}

fn set_umask(options: &Options, reading: &Reading) -> Result<(), Error> {
    let bits = match options.umask.as_deref() {
        Some(text) => {
            u32::from_str_radix(text, 8).map_err(|_| format!("--umask {text}: not octal"))?
        }
        None => match reading.configuration.global.umask {
            Some(bits) => bits,
            None => return Ok(()),
        },
    };
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(bits));
    Ok(())
}
