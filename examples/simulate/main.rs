//! Many virtual routers on a faulty network, for virtual hours or years, with a verdict on VRRP's
//! properties.

mod capture;
mod mistake;
mod random;
mod report;
mod run;
mod setting;
mod svg;

use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::Parser;
use vrrp_fsm::{fleet::VrrpRouter, sim::Trace};

use crate::{
    mistake::{Faulty, Mistake},
    report::Report,
    run::run,
    setting::Setting,
};

/// Any error of the program, with a text for people.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Simulate virtual routers on a faulty network.
///
/// Each fleet is a host with all the virtual routers. The network loses, doubles and delays
/// messages and is cut; hosts crash, stall and change their configuration. VRRP's properties are
/// checked throughout. The same seed gives the same run.
///
/// Exit status: 0 if all properties held; 1 if one did not, with the seed and the fewest faults
/// that lead to it; 2 if the program failed.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    setting: Setting,

    /// Seed of all random faults. Default: a new one each time.
    #[arg(long, value_name = "S")]
    seed: Option<u64>,

    /// Draw all settings from the seed, and print them.
    #[arg(long, conflicts_with = "Setting")]
    random_settings: bool,

    /// Replay a trace of this program, with the settings and the faults of the file.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seed", "Setting", "random_settings"])]
    replay: Option<PathBuf>,

    /// Write all occurrences into this file, line by line.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,

    /// Write all messages and announcements into this file, for Wireshark.
    ///
    /// Over IPv4, Wireshark reports the checksum of RFC 9568 as wrong unless its preference
    /// vrrp.v3_checksum_as_in_v2 is set.
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,

    /// Draw the states of the first virtual routers over time into this file.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,

    /// Print one JSON object and nothing else.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    match simulate(&Options::parse()) {
        Ok(report) if report.is_ok() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(failure) => {
            let _ = writeln!(io::stderr(), "simulate: {failure}");
            ExitCode::from(2)
        }
    }
}

fn simulate(options: &Options) -> Result<Report, Failure> {
    let (setting, replayed) = match &options.replay {
        None => (None, None),
        Some(path) => {
            let wrong = |failure: Failure| format!("{}: {failure}", path.display());
            let text = fs::read_to_string(path).map_err(|error| wrong(error.into()))?;
            let trace: Trace = text.parse().map_err(|error| wrong(Box::new(error)))?;
            (Some(Setting::of_trace(&text).map_err(wrong)?), Some(trace))
        }
    };
    let seed = match &replayed {
        Some(trace) => trace.seed,
        None => options.seed.map_or_else(run::new_seed, Ok)?,
    };
    let setting = setting.unwrap_or_else(|| {
        if options.random_settings {
            random::setting(seed)
        } else {
            options.setting.clone()
        }
    });
    setting.check()?;
    let replayed = replayed.as_ref();
    let simulate = match setting.mistake {
        // The mistake is in the secrets.
        None | Some(Mistake::WrongSecret) => run::<VrrpRouter>,
        Some(Mistake::IgnoresPriorityZero) => run::<Faulty<{ Mistake::IgnoresPriorityZero as u8 }>>,
        Some(Mistake::AnswersNoRival) => run::<Faulty<{ Mistake::AnswersNoRival as u8 }>>,
        Some(Mistake::AnnouncesNothing) => run::<Faulty<{ Mistake::AnnouncesNothing as u8 }>>,
        Some(Mistake::ForgetsSequenceNumbers) => {
            run::<Faulty<{ Mistake::ForgetsSequenceNumbers as u8 }>>
        }
    };
    let report = simulate(options, &setting, seed, replayed)?;
    let text = if options.json {
        serde_json::to_string(&report)? + "\n"
    } else {
        report.to_string()
    };
    io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| format!("standard output: {error}"))?;
    Ok(report)
}
