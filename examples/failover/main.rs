//! A small network in which a virtual address moves: three routers with real sockets, a client that
//! pings the address every millisecond, and an Active that dies, comes back, stops and loses its
//! cable.
//!
//! `cargo run --release --example failover` needs no root: the network is made of namespaces that
//! belong to the program.

mod report;
mod scenario;
mod svg;
mod timeline;

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::Parser;

use crate::{report::Report, scenario::Setting};

/// Any error of the program, with a text for people.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Watch a virtual address move.
///
/// Kills, restarts, stops and unplugs the Active of a small network, and measures how long the
/// address does not answer, beside the time that the protocol allows. The network consists of
/// namespaces. It needs no privilege where users may make user namespaces, and leaves nothing
/// behind.
///
/// Exit status: 0 if the address always moved in time; 1 if a move took 50 ms longer than allowed;
/// 2 if the program failed or the address did not move at all. On a busy machine the time for which
/// threads of the program wait for a processor is allowed too.
#[derive(Parser)]
struct Options {
    /// Time between advertisements in centiseconds, 1 to 4095. Version 2 rounds up to whole
    /// seconds.
    #[arg(long, value_name = "CS", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=4095))]
    interval: u16,

    /// Number of routers, 2 to 9.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(2..=9))]
    routers: u8,

    /// Use IPv6 instead of IPv4.
    #[arg(long)]
    ipv6: bool,

    /// Version of VRRP, 2 or 3. Version 2 needs IPv4.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(2..=3))]
    version: u8,

    /// Draw the timeline into this file.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,

    /// Write the packets of the network into this file, for Wireshark.
    ///
    /// Over IPv4, Wireshark reports the checksum of RFC 9568 as wrong unless its preference
    /// vrrp.v3_checksum_as_in_v2 is set.
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,

    /// Print one JSON object and nothing else.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            let _ = writeln!(io::stderr(), "failover: {failure}");
            ExitCode::from(2)
        }
    }
}

/// Returns whether the address always moved in time.
fn run(options: &Options) -> Result<bool, Failure> {
    let setting = Setting::new(
        options.version,
        options.ipv6,
        options.interval,
        options.routers,
    )?;
    // Before any thread is started.
    vrrp_lab::become_root_in_user_namespace()?;
    let mut out = io::stdout();
    if !options.json {
        setting.introduce(&mut out, options.interval)?;
    }
    let recording = scenario::play(&setting, |line| {
        if options.json {
            Ok(())
        } else {
            writeln!(io::stdout(), "  {line}")
        }
    })?;
    let report = Report::new(&setting, &recording);
    if options.json {
        writeln!(out, "{}", serde_json::to_string(&report)?)?;
    } else {
        timeline::print(&mut out, &setting, &recording, &report)?;
        report.print(&mut out)?;
    }
    // Written last, so that a file that cannot be written costs no measurement.
    if let Some(path) = &options.pcap {
        vrrp_lab::write_pcap(path, &recording.frames)?;
    }
    if let Some(path) = &options.svg {
        let picture = svg::draw(&setting, &recording, &report);
        std::fs::write(path, picture)
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    Ok(report.ok)
}
