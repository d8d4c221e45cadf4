//! keepalived's command line on these crates.
//!
//! Today it reads and checks: `keepalived -t -f FILE`.

use std::{io::IsTerminal as _, path::PathBuf, process::ExitCode};

use clap::{Parser, ValueEnum};
use vrrp_examples::keepalived_conf::{self, host::Host, source::Environment};

/// Reads keepalived.conf, and says what is wrong with it.
#[derive(Debug, Parser)]
struct Options {
    /// The configuration file.
    #[arg(
        short = 'f',
        long = "use-file",
        default_value = "/etc/keepalived/keepalived.conf"
    )]
    file: PathBuf,
    /// Check the configuration and exit: status 0, 2, 5 or 6 as keepalived has it.
    #[arg(short = 't', long = "config-test")]
    test: bool,
    /// The configuration id that lines beginning with `@` are compared with.
    #[arg(short = 'i', long = "config-id")]
    config_id: Option<String>,
    /// Treat every warning as an error: exit status 5 instead of 0.
    #[arg(long)]
    strict: bool,
    /// How complaints are printed.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people: the line, a mark under the word, and help.
    Text,
    /// For programs: one object.
    Json,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let host = match Host::read() {
        Ok(host) => host,
        Err(error) => {
            eprintln!("the interfaces of this host cannot be listed: {error}");
            return ExitCode::FAILURE;
        }
    };
    let environment = Environment {
        config_id: options
            .config_id
            .clone()
            .or_else(|| Some(host.name.clone())),
        seed: 1,
    };
    let reading = keepalived_conf::read(&options.file, &environment, &host);
    match options.format {
        Format::Json => println!("{}", keepalived_conf::report(&reading, &host)),
        Format::Text => {
            let is_coloured = std::io::stdout().is_terminal();
            print!(
                "{}",
                keepalived_conf::diagnostic::render(&reading, is_coloured)
            );
        }
    }
    let is_clean = reading.complaints.is_empty();
    let status = match reading.exit_status() {
        0 if options.strict && !is_clean => 5,
        status => status,
    };
    ExitCode::from(status)
}
