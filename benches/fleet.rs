//! Time of a packet among many routers, octets per router, and ways to keep their deadlines in order.

use vrrp_benches::{
    Error, Repeat, Table, codec,
    deadlines::{Indexed, Lazy, Tree, actives_advertise, backups_hear},
    fleet, interleave, verdict,
};
use vrrp_fsm::Deadlines;

/// Calls over which allocations are counted.
const CALLS: u32 = 2000;

const SIZES: [u32; 3] = [1_000, 10_000, 100_000];

fn main() -> Result<(), Error> {
    let message = *codec::messages()?.get(1).ok_or("no message")?;
    println!("{}\n", message.name);
    steps(&message)?;
    memory(&message)?;
    queues();
    Ok(())
}

fn steps(message: &codec::Message) -> Result<(), Error> {
    let mut table = Table::new(&[
        "step",
        "routers",
        "best ns",
        "median ns",
        "budget ns",
        "",
        "allocations per call",
    ]);
    for routers in SIZES {
        let mut works = [
            (
                "advertisement in, step, next deadline",
                fleet::hears(message, routers)?,
                (routers == 10_000).then_some(70.0),
            ),
            (
                "timer, advertisement out",
                fleet::advertises(message, routers)?,
                None,
            ),
        ];
        let samples = interleave(works.iter_mut().map(|(_, work, _)| work));
        for ((name, work, budget), samples) in works.iter_mut().zip(samples) {
            let allocations = allocation_counter::measure(|| work(CALLS)).count_total;
            table.row([
                (*name).into(),
                routers.to_string(),
                format!("{:.1}", samples.best()),
                format!("{:.1}", samples.median()),
                budget.map(|budget| format!("{budget}")).unwrap_or_default(),
                verdict(samples.median(), *budget).into(),
                format!(
                    "{}",
                    f64::from(u32::try_from(allocations)?) / f64::from(CALLS)
                ),
            ]);
        }
    }
    println!("{table}");
    Ok(())
}

fn memory(message: &codec::Message) -> Result<(), Error> {
    let mut table = Table::new(&["memory", "routers", "octets per router", "budget", ""]);
    for routers in SIZES {
        for (name, exact) in [
            ("room asked for at once", true),
            ("grown one by one", false),
        ] {
            let mut fleet = None;
            let counted = allocation_counter::measure(|| {
                fleet = Some(fleet::fleet(message, routers, exact));
            });
            fleet.ok_or("no fleet")??;
            let octets = f64::from(u32::try_from(counted.bytes_current)?) / f64::from(routers);
            // Where it is few, the room for sixteen more counts.
            let budget = (exact || routers >= 10_000).then_some(512.0);
            table.row([
                name.into(),
                routers.to_string(),
                format!("{octets:.0}"),
                budget.map(|budget| format!("{budget}")).unwrap_or_default(),
                verdict(octets, budget).into(),
            ]);
        }
    }
    println!("{table}");
    Ok(())
}

fn queues() {
    let mut table = Table::new(&[
        "deadlines",
        "routers",
        "Backup hears: best ns",
        "median",
        "Active advertises: best ns",
        "median",
    ]);
    for n in SIZES {
        let mut works: Vec<(&str, Repeat)> = vec![
            ("Deadlines (tournament)", backups_hear(Deadlines::new(), n)),
            (
                "Deadlines (tournament)",
                actives_advertise(Deadlines::new(), n),
            ),
            ("indexed heap of 2", backups_hear(Indexed::<2>::new(n), n)),
            (
                "indexed heap of 2",
                actives_advertise(Indexed::<2>::new(n), n),
            ),
            ("indexed heap of 4", backups_hear(Indexed::<4>::new(n), n)),
            (
                "indexed heap of 4",
                actives_advertise(Indexed::<4>::new(n), n),
            ),
            ("indexed heap of 8", backups_hear(Indexed::<8>::new(n), n)),
            (
                "indexed heap of 8",
                actives_advertise(Indexed::<8>::new(n), n),
            ),
            ("lazy heap of 2", backups_hear(Lazy::new(n), n)),
            ("lazy heap of 2", actives_advertise(Lazy::new(n), n)),
            ("balanced tree", backups_hear(Tree::new(n), n)),
            ("balanced tree", actives_advertise(Tree::new(n), n)),
        ];
        let samples = interleave(works.iter_mut().map(|(_, work)| work));
        for (work, samples) in works.chunks(2).zip(samples.chunks(2)) {
            let ([(name, _), _], [hears, advertises]) = (work, samples) else {
                continue;
            };
            table.row([
                (*name).into(),
                n.to_string(),
                format!("{:.1}", hears.best()),
                format!("{:.1}", hears.median()),
                format!("{:.1}", advertises.best()),
                format!("{:.1}", advertises.median()),
            ]);
        }
    }
    println!("{table}");
}
