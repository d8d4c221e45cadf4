//! Time of a step of the state machine, octets per router, allocations per packet.

use vrrp_benches::{Error, Table, codec, fsm::Step, interleave, verdict};
use vrrp_fsm::{Action, Actions, Config, VirtualRouter};

/// Messages over which allocations are counted.
const MESSAGES: u32 = 1000;

fn main() -> Result<(), Error> {
    let mut steps = Table::new(&[
        "step",
        "best ns",
        "median ns",
        "budget ns",
        "",
        "allocations per message",
    ]);
    let message = *codec::messages()?.get(1).ok_or("no message")?;
    let step = Step::new(message)?;
    let mut works = [
        (
            "Backup hears its Active",
            step.backup_receives_active(),
            Some(15.0),
        ),
        ("Active advertises", step.active_advertises(), None),
        ("check a decoded message", step.check(), None),
        (
            "decode, check, step, next deadline",
            step.whole_path(),
            None,
        ),
    ];
    let samples = interleave(works.iter_mut().map(|(_, work, _)| work));
    for ((name, work, budget), samples) in works.iter_mut().zip(samples) {
        let allocations = allocation_counter::measure(|| work(MESSAGES)).count_total;
        steps.row([
            (*name).into(),
            format!("{:.1}", samples.best()),
            format!("{:.1}", samples.median()),
            budget.map(|budget| format!("{budget}")).unwrap_or_default(),
            verdict(samples.best(), *budget).into(),
            format!(
                "{}",
                f64::from(u32::try_from(allocations)?) / f64::from(MESSAGES)
            ),
        ]);
    }
    println!(
        "{} ({} octets)\n\n{steps}",
        message.name,
        message.octets.len()
    );

    let mut sizes = Table::new(&["value", "octets", "budget", ""]);
    for (name, octets, budget) in [
        ("VirtualRouter", size_of::<VirtualRouter>(), Some(256.0)),
        ("Config", size_of::<Config>(), None),
        ("Actions", size_of::<Actions>(), None),
        ("Action", size_of::<Action>(), None),
    ] {
        sizes.row([
            name.into(),
            octets.to_string(),
            budget.map(|budget| format!("{budget}")).unwrap_or_default(),
            verdict(f64::from(u32::try_from(octets)?), budget).into(),
        ]);
    }
    println!("{sizes}");
    Ok(())
}
