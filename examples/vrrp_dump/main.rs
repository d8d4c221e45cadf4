//! Lists the VRRP packets of captures, or of lines of hexadecimal digits, and a router's decision
//! about each.

mod capture;
mod lines;
mod packet;
mod record;

use std::{
    fmt,
    fs::File,
    io::{self, BufRead, BufReader, Read, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::Parser;
use record::Record;

/// Lists the VRRP packets of captures, or of lines of hexadecimal digits, and the decision of a
/// router about each: accept, or reject with a reason. Gratuitous ARP and neighbor advertisements
/// of virtual MACs are listed too.
///
/// Without FILE, standard input is read: a capture (`tcpdump -U -w - | vrrp_dump`), or lines of one
/// of these forms. HEX may contain blanks, SRC and DST are IP addresses. Blank lines and lines that
/// begin with # are ignored.
///
///   ether HEX                 an Ethernet frame
///   ipv4 HEX | ipv6 HEX       an IP packet
///   vrrp4 SRC DST HEX         a VRRP message from one IPv4 address to another, with a TTL of 255
///   vrrp6 SRC DST HEX         the same for IPv6
///
/// The decision uses only checks that need no configuration of a router. VLAN tags, the IP
/// Authentication Header and the HMAC trailer of draft-cassen-vrrp-auth-hmac are decoded; digests
/// are not verified. Frames of a capture without VRRP are skipped; a line of standard input always
/// has its answer.
///
/// The exit status is 0 when everything could be read, whatever was accepted or rejected. It is 2
/// when a line or a file could not: the error names its line and column, or its frame, and
/// everything else is still listed.
#[derive(Parser)]
#[command(verbatim_doc_comment)]
struct Arguments {
    /// Print one JSON object on each line.
    #[arg(long)]
    json: bool,

    /// Forgive the deviations of deployed implementations, and name each that a packet needed.
    #[arg(long)]
    lenient: bool,

    /// Captures in pcap or pcapng format.
    files: Vec<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut output = Output {
        json: arguments.json,
        failed: false,
    };
    let result = if arguments.files.is_empty() {
        show_standard_input(&mut output, arguments.lenient)
    } else {
        show_files(&mut output, &arguments)
    };
    match result {
        Ok(()) if output.failed => ExitCode::from(2),
        Ok(()) => ExitCode::SUCCESS,
        // The reader of the output has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "vrrp_dump: standard input or output: {error}");
            ExitCode::from(2)
        }
    }
}

fn show_files(output: &mut Output, arguments: &Arguments) -> io::Result<()> {
    for path in &arguments.files {
        let name = path.display();
        match File::open(path).and_then(first_octets) {
            Ok((first, file)) => match capture::Format::of(first) {
                Some(format) => capture::show(output, &name, format, file, arguments.lenient)?,
                None => output.fail(format_args!("{name}: neither a pcap nor a pcapng file")),
            },
            Err(error) => output.fail(format_args!("{name}: {error}")),
        }
    }
    Ok(())
}

fn show_standard_input(output: &mut Output, lenient: bool) -> io::Result<()> {
    let (first, input) = first_octets(io::stdin().lock())?;
    match capture::Format::of(first) {
        Some(format) => capture::show(output, &"standard input", format, input, lenient),
        None => lines::show(output, input, lenient),
    }
}

/// The first four octets of a file, zeros where it is shorter, and the whole file.
fn first_octets(mut file: impl Read) -> io::Result<([u8; 4], impl BufRead)> {
    let mut start = Vec::new();
    file.by_ref().take(4).read_to_end(&mut start)?;
    let mut first = [0; 4];
    for (octet, found) in first.iter_mut().zip(&start) {
        *octet = *found;
    }
    Ok((first, BufReader::new(io::Cursor::new(start).chain(file))))
}

/// Where records and errors go.
struct Output {
    json: bool,
    failed: bool,
}

impl Output {
    fn show(&mut self, record: &Record) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        if self.json {
            serde_json::to_writer(&mut stdout, record)?;
            writeln!(stdout)
        } else {
            writeln!(stdout, "{record}")
        }
    }

    /// Reports input that cannot be read. The rest is still shown.
    fn fail(&mut self, error: fmt::Arguments<'_>) {
        self.failed = true;
        let _ = writeln!(io::stderr(), "vrrp_dump: {error}");
    }
}
