//! Tests that run inside guests, for test targets with `harness = false`.

use std::{
    collections::HashMap,
    env,
    ffi::OsString,
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, OnceLock, mpsc},
    thread,
    time::{Duration, Instant},
};

use libtest_mimic::{Arguments, ColorSetting, Failed, Trial};

use super::{Guest, Kernel};
use crate::{Error, Namespace};

/// The variable of a guest's environment with the mark that starts the lines about tests.
const MARK: &str = "VRRP_LAB_SUITE_MARK";

/// How long a kernel may take to boot on a machine that is busy with another one.
const BOOTING: Duration = Duration::from_secs(60);

/// A test for a [`Suite`]. [`guest_tests!`](crate::guest_tests) makes it from a function.
#[derive(Clone, Copy, Debug)]
pub struct GuestTest {
    /// Its name, which states the property that it shows.
    pub name: &'static str,
    /// The test, which fails by a panic. It runs as root on a thread of its own, in a fresh
    /// [`Namespace`], so with empty IPVS tables.
    pub run: fn(),
    /// The kernels for which it is meant. It is not listed for the others.
    pub kernels: &'static [Kernel],
    /// How long it may take.
    pub limit: Duration,
}

impl GuestTest {
    /// A test for all kernels with a limit of five minutes, which only a test that hangs reaches.
    #[must_use]
    pub const fn new(name: &'static str, run: fn()) -> Self {
        Self {
            name,
            run,
            kernels: Kernel::ALL,
            limit: Duration::from_secs(300),
        }
    }

    /// The same test for some kernels only.
    #[must_use]
    pub const fn on(self, kernels: &'static [Kernel]) -> Self {
        Self { kernels, ..self }
    }

    /// The same test with another limit.
    #[must_use]
    pub const fn within(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }
}

/// An array of [`GuestTest`]s from functions `fn()`, each with the function's path as its name.
///
/// ```
/// use vrrp_lab::{GuestTest, guest_tests};
///
/// fn one_and_one_is_two() {
///     assert_eq!(1 + 1, 2);
/// }
///
/// let tests: [GuestTest; 1] = guest_tests![one_and_one_is_two];
/// assert_eq!(tests[0].name, "one_and_one_is_two");
/// ```
#[macro_export]
macro_rules! guest_tests {
    ($($test:path),* $(,)?) => {
        [$($crate::GuestTest::new(stringify!($test), $test)),*]
    };
}

/// The `main` of a test target: tests that run in several kernels.
///
/// It takes the command line of Rust's own test harness. Each test is listed once for each of its
/// kernels, as `uml_6_1::name`. A kernel boots when the first of its tests is due, with this same
/// program as the guest's, which there runs all of the kernel's tests that the command line
/// selects, one after another. At most two kernels run at a time.
///
/// ```no_run
/// use std::process::ExitCode;
/// use vrrp_lab::{Kernel, Suite, guest_tests};
///
/// fn the_guest_is_linux() {
///     let version = std::fs::read_to_string("/proc/version").unwrap();
///     assert!(version.starts_with("Linux"), "{version}");
/// }
///
/// fn main() -> ExitCode {
///     Suite::new(Kernel::ALL, &guest_tests![the_guest_is_linux]).run()
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Suite {
    /// The kernels.
    pub kernels: Vec<Kernel>,
    /// The tests. Names must differ.
    pub tests: Vec<GuestTest>,
    /// Further files that the tests need, as in [`Guest::files`]: the path of an example program,
    /// for instance.
    pub files: Vec<PathBuf>,
    /// Further variables of the guest's environment, as in [`Guest::environment`].
    pub environment: Vec<(String, OsString)>,
    /// The memory of each guest in MiB.
    pub memory: u32,
}

impl Suite {
    /// A suite in guests of 256 MiB without further files.
    #[must_use]
    pub fn new(kernels: &[Kernel], tests: &[GuestTest]) -> Self {
        Self {
            kernels: kernels.to_vec(),
            tests: tests.to_vec(),
            files: Vec::new(),
            environment: Vec::new(),
            memory: 256,
        }
    }

    /// Runs the tests that the command line selects and reports their results.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let arguments = Arguments::from_args();
        match (Kernel::current(), env::var(MARK)) {
            (Some(kernel), Ok(mark)) => self.run_in_guest(kernel, &mark, arguments),
            _ => self.run_on_host(arguments),
        }
    }

    fn run_on_host(self, mut arguments: Arguments) -> ExitCode {
        // Here a trial boots a kernel, or waits for one.
        arguments.test_threads = Some(arguments.test_threads.map_or(2, |threads| threads.min(2)));
        let suite = Arc::new(self);
        let show = arguments.nocapture;
        let outcomes: Vec<_> = suite
            .kernels
            .iter()
            .map(|&kernel| (kernel, Arc::new(OnceLock::new())))
            .collect();
        // A kernel's trials are not neighbours, so that one thread does not wait for the kernel of
        // another.
        let trials = suite
            .tests
            .iter()
            .flat_map(|test| outcomes.iter().map(move |outcomes| (test, outcomes)))
            .filter(|(test, (kernel, _))| test.kernels.contains(kernel))
            .map(|(test, (kernel, outcomes))| {
                let (kernel, outcomes) = (*kernel, Arc::clone(outcomes));
                let suite = Arc::clone(&suite);
                let name = trial_name(kernel, test);
                Trial::test(name.clone(), move || {
                    outcomes
                        .get_or_init(|| suite.outcomes(kernel, show))
                        .of(&name)
                })
            })
            .collect();
        libtest_mimic::run(&arguments, trials).exit_code()
    }

    /// Boots `kernel` and lets it run the tests.
    fn outcomes(&self, kernel: Kernel, show: bool) -> Outcomes {
        let mut outcomes = Outcomes::default();
        let end = match self.follow(kernel, show, &mut outcomes) {
            Ok(status) => {
                format!("the guest's program ended with status {status} before this test did")
            }
            Err(error) => error.to_string(),
        };
        if let Some((name, output)) = outcomes.current.take() {
            outcomes.finished.insert(name, Err(output + &end));
        }
        outcomes.end = end;
        outcomes
    }

    fn follow(&self, kernel: Kernel, show: bool, outcomes: &mut Outcomes) -> Result<i32, Error> {
        let program = env::current_exe().map_err(Error::os("find this program"))?;
        let mark = format!("{}-test", std::process::id());
        let mut environment = self.environment.clone();
        environment.push((MARK.into(), mark.clone().into()));
        environment
            .extend(env::var_os("RUST_BACKTRACE").map(|value| ("RUST_BACKTRACE".into(), value)));
        let mut console = kernel.boot(&Guest {
            arguments: env::args_os().skip(1).collect(),
            environment,
            files: self.files.clone(),
            memory: self.memory,
            ..Guest::new(program)
        })?;
        // The guest ends a test that takes too long. If it does not, then it is the guest that
        // hangs.
        let longest = self.tests.iter().map(|test| test.limit).max();
        let silence = BOOTING + longest.unwrap_or_default();
        while let Some(line) = console.next_line(Instant::now() + silence)? {
            if show {
                println!("{kernel}: {line}");
            }
            outcomes.take(&line, &mark);
        }
        console.status()
    }

    fn run_in_guest(self, kernel: Kernel, mark: &str, arguments: Arguments) -> ExitCode {
        let arguments = Arguments {
            test_threads: Some(1),
            color: Some(ColorSetting::Never),
            logfile: None,
            ..arguments
        };
        let trials = self
            .tests
            .into_iter()
            .filter(|test| test.kernels.contains(&kernel))
            .map(|test| {
                let name = trial_name(kernel, &test);
                let mark = mark.to_owned();
                Trial::test(name.clone(), move || {
                    println!("{mark} begins {name}");
                    let result = run_isolated(&name, test);
                    let word = if result.is_ok() { "passed" } else { "failed" };
                    println!("{mark} {word} {name}");
                    result
                })
            })
            .collect();
        libtest_mimic::run(&arguments, trials).exit_code()
    }
}

fn trial_name(kernel: Kernel, test: &GuestTest) -> String {
    format!("{kernel}::{}", test.name)
}

/// Runs a test on a thread of its own in a namespace of its own. The message of a panic has been
/// printed by the time that this returns.
fn run_isolated(name: &str, test: GuestTest) -> Result<(), Failed> {
    let (running, ended) = mpsc::channel::<()>();
    let thread = thread::Builder::new().name(name.into()).spawn(move || {
        let _running = running;
        Namespace::new().and_then(|namespace| namespace.enter())?;
        (test.run)();
        Ok::<(), Error>(())
    })?;
    if ended.recv_timeout(test.limit) == Err(mpsc::RecvTimeoutError::Timeout) {
        println!("the test did not end within {:?}", test.limit);
        return Err(Failed::without_message());
    }
    match thread.join() {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            println!("the test could not begin: {error}");
            Err(Failed::without_message())
        }
        Err(_panic) => Err(Failed::without_message()),
    }
}

/// The report of a guest about its tests.
#[derive(Debug, Default)]
struct Outcomes {
    /// By name. A failed test comes with its output.
    finished: HashMap<String, Result<(), String>>,
    /// The running test, and its output so far.
    current: Option<(String, String)>,
    /// How the guest ended: why the other tests have no outcome.
    end: String,
}

impl Outcomes {
    /// Takes in one line from the guest.
    fn take(&mut self, line: &str, mark: &str) {
        // The mark need not come first: a test, and the guest's own test harness, may leave a line
        // open.
        let (printed, report) = match line.find(mark) {
            Some(at) => (&line[..at], &line[at + mark.len()..]),
            None => (line, ""),
        };
        if let Some((_, output)) = &mut self.current
            && !printed.is_empty()
        {
            output.push_str(printed);
            output.push('\n');
        }
        match report.trim().split_once(' ') {
            Some(("begins", name)) => self.current = Some((name.into(), String::new())),
            Some(("passed", name)) => {
                self.current = None;
                self.finished.insert(name.into(), Ok(()));
            }
            Some(("failed", name)) => {
                let output = self.current.take().map(|(_, output)| output);
                self.finished
                    .insert(name.into(), Err(output.unwrap_or_default()));
            }
            _ => {}
        }
    }

    fn of(&self, name: &str) -> Result<(), Failed> {
        match self.finished.get(name) {
            Some(Ok(())) => Ok(()),
            Some(Err(output)) => Err(output.into()),
            None => Err(self.end.clone().into()),
        }
    }
}
