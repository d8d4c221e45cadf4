//! Time to decode and to encode a message, compared with the floor.

use vrrp_benches::{
    Error, Repeat, Table,
    codec::{self, Message},
    interleave, verdict,
};

fn main() -> Result<(), Error> {
    let mut table = Table::new(&[
        "work",
        "octets",
        "best ns",
        "median ns",
        "copy ns",
        "sum ns",
        "x floor",
        "budget",
        "",
        "x with pseudo-header",
        "x in one loop",
    ]);
    let messages = codec::messages()?;
    for message in &messages {
        compare(
            &mut table,
            "decode",
            message,
            message.decode(),
            Some(message.decode_budget()),
        );
    }
    for message in &messages {
        compare(&mut table, "encode", message, message.encode(), None);
    }
    if let Some(message) = messages.first() {
        compare(
            &mut table,
            "set_priority",
            message,
            message.set_priority(),
            None,
        );
    }
    println!("{table}");
    Ok(())
}

fn compare(
    table: &mut Table,
    what: &str,
    message: &Message,
    mut work: Repeat,
    budget: Option<f64>,
) {
    let mut floor = message.floor();
    let samples = interleave([
        &mut work,
        &mut floor.copy,
        &mut floor.sum,
        &mut floor.sum_with_pseudo_header,
        &mut floor.at_once,
    ]);
    let [work, copy, sum, sum_with_pseudo_header, at_once] = &samples[..] else {
        return;
    };
    let ratio = work.ratio(&[copy, sum]);
    table.row([
        format!("{what} {}", message.name),
        message.octets.len().to_string(),
        format!("{:.1}", work.best()),
        format!("{:.1}", work.median()),
        format!("{:.1}", copy.best()),
        format!("{:.1}", sum.best()),
        format!("{ratio:.2}"),
        budget.map(|budget| format!("{budget}")).unwrap_or_default(),
        verdict(ratio, budget).into(),
        format!("{:.2}", work.ratio(&[copy, sum_with_pseudo_header])),
        format!("{:.2}", work.ratio(&[at_once])),
    ]);
}
