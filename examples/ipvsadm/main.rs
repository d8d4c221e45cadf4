//! ipvsadm's command line on `ipvs-netlink`: lists, saves and changes the services of the kernel's
//! IPVS, and reconciles them with a file.

mod failure;
mod restore;
mod session;
mod table_file;
mod wanted;
mod watch;

use std::{
    env,
    io::{self, BufWriter, Write},
    process::ExitCode,
};

use failure::Failure;
use ipvs_netlink::rules::{Command, Form};
use session::Session;
use vrrp_examples::ipvsadm::names;

fn main() -> ExitCode {
    match run() {
        Ok(status) => status,
        // The reader of our output has closed it.
        Err(failure) if failure.is_closed_output() => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = writeln!(io::stderr(), "ipvsadm: {failure}");
            failure.status()
        }
    }
}

fn run() -> Result<ExitCode, Failure> {
    let words = env::args_os().skip(1).map(|word| {
        word.into_string()
            .map_err(|word| Failure::NotText(word.to_string_lossy().into_owned()))
    });
    let words = words.collect::<Result<Vec<_>, _>>()?;
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["--diff", options @ ..] => wanted::diff(options),
        ["--apply", options @ ..] => wanted::apply(options),
        ["--watch", options @ ..] => watch::run(options),
        words => {
            let mut session = Session::new(BufWriter::new(io::stdout().lock()));
            match names::grammar(Form::Ipvsadm)
                .command(words)
                .map_err(Box::new)?
            {
                Command::Restore => restore::restore(&mut session),
                command => session.obey(&command).map(|()| ExitCode::SUCCESS),
            }
        }
    }
}
