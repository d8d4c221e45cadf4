//! Objects of the host that are configured with ip(8).

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Write as _},
    process::{Command, Stdio},
    time::Duration,
};

use vrrp_examples::keepalived::host_object::HostObject;

/// Adds objects in order. Returns the complaints of ip(8).
pub(crate) fn add<'a>(objects: impl IntoIterator<Item = &'a HostObject>) -> io::Result<String> {
    batch(objects, HostObject::addition)
}

/// Removes objects, last first. Objects that are already gone are no error.
pub(crate) fn remove<'a>(
    objects: impl IntoIterator<Item = &'a HostObject, IntoIter: DoubleEndedIterator>,
) -> io::Result<()> {
    batch(objects.into_iter().rev(), HostObject::removal).map(drop)
}

fn batch<'a>(
    objects: impl IntoIterator<Item = &'a HostObject>,
    line: impl Fn(&HostObject) -> String,
) -> io::Result<String> {
    let (ipv6, ipv4): (Vec<&HostObject>, Vec<&HostObject>) =
        objects.into_iter().partition(|it| it.is_ipv6());
    let mut complaints = String::new();
    for (family, objects) in [("-4", ipv4), ("-6", ipv6)] {
        if objects.is_empty() {
            continue;
        }
        let lines: String = objects.into_iter().map(&line).collect();
        complaints.push_str(&run(family, &lines)?);
    }
    Ok(complaints)
}

fn run(family: &str, lines: &str) -> io::Result<String> {
    let mut child = Command::new("ip")
        .args([family, "-force", "-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(lines.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    // A line with the number of the failed command follows each refusal, and has no meaning here.
    let refusals = text
        .lines()
        .filter(|line| !line.starts_with("Command failed"));
    Ok(refusals
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect::<Vec<_>>()
        .join("; "))
}

/// The time since the boot of the host.
pub(crate) fn uptime() -> Duration {
    let text = fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds = text.split(' ').next().and_then(|it| it.parse().ok());
    Duration::try_from_secs_f64(seconds.unwrap_or(0.0)).unwrap_or(Duration::ZERO)
}
