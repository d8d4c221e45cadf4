//! Instructions of the work on one message, counted by valgrind (`apt-get install valgrind`).
//!
//! The program runs itself under callgrind, which writes a file each time that [`counted`] returns.

use std::{env, fs, io, path::Path, process::Command};

use vrrp_benches::{Error, Repeat, Table, codec, fsm::Step, repeat};

/// The argument with which the program calls itself.
const COUNT: &str = "--count";

/// How often each piece of work is done while it is counted.
const RUNS: u32 = 1000;

struct Case {
    name: String,
    work: Repeat,
    floor: Option<Repeat>,
}

fn main() -> Result<(), Error> {
    let cases = cases()?;
    if env::args().any(|argument| argument == COUNT) {
        for mut work in works(cases) {
            // One-time work, such as looking up memcpy, is not counted.
            work(1);
            counted(&mut work);
        }
        return Ok(());
    }
    print(&cases, &count()?);
    Ok(())
}

fn cases() -> Result<Vec<Case>, Error> {
    let messages = codec::messages()?;
    let mut cases = Vec::new();
    for message in &messages {
        for (what, work) in [("decode", message.decode()), ("encode", message.encode())] {
            cases.push(Case {
                name: format!("{what} {}", message.name),
                work,
                floor: Some(message.floor().at_once),
            });
        }
    }
    let message = messages.get(1).ok_or("no message")?;
    let step = Step::new(*message)?;
    for (name, work) in [
        ("set_priority", message.set_priority()),
        ("check a decoded message", step.check()),
        ("Backup hears its Active", step.backup_receives_active()),
        ("Active advertises", step.active_advertises()),
        ("decode, check, step, next deadline", step.whole_path()),
    ] {
        cases.push(Case {
            name: name.into(),
            work,
            floor: None,
        });
    }
    Ok(cases)
}

/// In the order in which they are counted: the empty loop first.
fn works(cases: Vec<Case>) -> impl Iterator<Item = Repeat> {
    let empty = repeat((), |()| ());
    [empty].into_iter().chain(
        cases
            .into_iter()
            .flat_map(|case| [Some(case.work), case.floor].into_iter().flatten()),
    )
}

#[inline(never)]
fn counted(work: &mut Repeat) {
    work(RUNS);
}

/// Instructions per run of each piece of work, in their order, without those of the loop.
fn count() -> Result<Vec<f64>, Error> {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("out");
    let output = Command::new("valgrind")
        .args([
            "--tool=callgrind",
            "--toggle-collect=instructions::counted",
            "--dump-after=instructions::counted",
        ])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(env::current_exe()?)
        .arg(COUNT)
        .output()
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => "valgrind is not installed (Debian package valgrind)".into(),
            _ => Error::from(error),
        })?;
    if !output.status.success() {
        return Err(format!(
            "valgrind: {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        )
        .into());
    }
    let mut totals = Vec::new();
    // callgrind numbers its files from 1.
    while let Some(total) = total(&folder.path().join(format!("out.{}", totals.len() + 1)))? {
        totals.push(total / f64::from(RUNS));
    }
    let [empty, works @ ..] = &totals[..] else {
        return Err("callgrind has counted nothing".into());
    };
    Ok(works.iter().map(|total| total - empty).collect())
}

/// The instructions in a file of callgrind, or `None` if there is no such file.
fn total(file: &Path) -> Result<Option<f64>, Error> {
    let text = match fs::read_to_string(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text?,
    };
    let total = text
        .lines()
        .find_map(|line| line.strip_prefix("totals: "))
        .ok_or("a file of callgrind's without a total")?;
    Ok(Some(total.parse()?))
}

fn print(cases: &[Case], counts: &[f64]) {
    let mut table = Table::new(&["work", "instructions", "copy and sum", "ratio"]);
    let mut counts = counts.iter();
    for case in cases {
        let own = counts.next().copied();
        let floor = case.floor.as_ref().and_then(|_| counts.next().copied());
        let ratio = own.zip(floor).map(|(own, floor)| own / floor);
        let number =
            |value: Option<f64>| value.map(|value| format!("{value:.0}")).unwrap_or_default();
        table.row([
            case.name.clone(),
            number(own),
            number(floor),
            ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
        ]);
    }
    println!("{table}");
}
