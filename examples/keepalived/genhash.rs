//! `--genhash`: prints the digest of a page, for `digest` of a check.

use std::{
    ffi::OsString,
    net::{IpAddr, SocketAddr},
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Parser;
use vrrp_examples::probe::{
    HeaderText, Http, HttpVersion, Source, StatusSet, Target, Tls, TlsSettings,
};

use crate::Error;

/// The options behind `--genhash`.
#[derive(Debug, Parser)]
#[command(
    name = "keepalived --genhash",
    about = "Prints the MD5 digest of a page, as a check with `digest` computes it",
    disable_version_flag = true
)]
struct Options {
    /// The address of the server.
    #[arg(short = 's', long, value_name = "ADDRESS")]
    server: IpAddr,
    /// The port of the server.
    #[arg(short = 'p', long, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// The path of the page.
    #[arg(short = 'u', long, value_name = "PATH")]
    url: Target,
    /// Use TLS.
    #[arg(short = 'S', long)]
    use_ssl: bool,
    /// Send the virtual host in the TLS handshake.
    #[arg(short = 'I', long)]
    use_sni: bool,
    /// The host in the request. Default: the address and port of the server.
    #[arg(short = 'V', long = "use-virtualhost", value_name = "HOST")]
    virtual_host: Option<HeaderText>,
    /// The mark of the packets.
    #[arg(short = 'm', long, value_name = "MARK")]
    fwmark: Option<u32>,
    /// The version of the request: 1.0, 1.0C or 1.1.
    #[arg(short = 'P', long, value_name = "VERSION", default_value = "1.0")]
    protocol: Protocol,
    /// The time limit in seconds.
    #[arg(short = 't', long, value_name = "SECONDS", default_value = "60")]
    timeout: u32,
    /// Print the time that the page took as well.
    #[arg(short = 'v', long)]
    verbose: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Protocol {
    #[value(name = "1.0")]
    Http10,
    #[value(name = "1.0C", alias = "1.0c")]
    Http10Close,
    #[value(name = "1.1")]
    Http11,
}

/// Runs with the arguments after `--genhash`. The exit status is 1 if there is no digest.
pub(crate) fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let name = OsString::from("keepalived --genhash");
    let options = Options::parse_from(std::iter::once(name).chain(arguments));
    match digest(&options) {
        Ok(digest) => {
            println!("{digest}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("keepalived --genhash: {error}");
            ExitCode::FAILURE
        }
    }
}

fn digest(options: &Options) -> Result<String, Error> {
    let request = request(options)?;
    let target = SocketAddr::new(options.server, options.port);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let started = Instant::now();
    let deadline = started + Duration::from_secs(options.timeout.into());
    let digest = runtime.block_on(request.digest(target, deadline));
    let digest = digest.map_err(|outcome| outcome.to_string())?;
    if options.verbose {
        println!("{} in {:?}", options.url.as_str(), started.elapsed());
    }
    Ok(digest.to_string())
}

fn request(options: &Options) -> Result<Http, Error> {
    let mut request = Http {
        source: Source {
            mark: options.fwmark,
            ..Source::default()
        },
        version: match options.protocol {
            Protocol::Http10 | Protocol::Http10Close => HttpVersion::Http10,
            Protocol::Http11 => HttpVersion::Http11,
        },
        path: options.url.clone(),
        host: options.virtual_host.clone(),
        // The digest of an error page is a digest as well.
        status: StatusSet::new(vec![(100, 999)]),
        body_limit: u32::MAX,
        accept_short_body: true,
        ..Http::default()
    };
    if matches!(options.protocol, Protocol::Http10Close) {
        let close = ("Connection".parse()?, "close".parse()?);
        request.headers.insert(close.0, close.1);
    }
    if options.use_ssl {
        let host = options.virtual_host.as_ref().filter(|_| options.use_sni);
        request.tls = Some(Tls::new(TlsSettings {
            name: host.map(|host| host.as_str().to_owned()),
            ..TlsSettings::default()
        })?);
    }
    Ok(request)
}
