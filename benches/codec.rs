//! Time to decode and to encode a message, beside the floor.

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
        "floor ns",
        "x floor",
        "budget",
        "",
        "x floor + pseudo-header",
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
    let mut floor_with_pseudo_header = message.floor_with_pseudo_header();
    let works = [&mut work, &mut floor]
        .into_iter()
        .chain(&mut floor_with_pseudo_header);
    let [work, floor, rest @ ..] = &interleave(works)[..] else {
        return;
    };
    let ratio = work.ratio(floor);
    table.row([
        format!("{what} {}", message.name),
        message.octets.len().to_string(),
        format!("{:.1}", work.best()),
        format!("{:.1}", work.median()),
        format!("{:.1}", floor.best()),
        format!("{ratio:.2}"),
        budget.map(|budget| format!("{budget}")).unwrap_or_default(),
        verdict(ratio, budget).into(),
        rest.first()
            .map(|floor| format!("{:.2}", work.ratio(floor)))
            .unwrap_or_default(),
    ]);
}
