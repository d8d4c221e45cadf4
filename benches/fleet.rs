//! Time of a packet among many routers, octets per router, and ways to keep their deadlines in
//! order and to find the router of a packet.

use vrrp_benches::{
    Error, Repeat, Table, codec,
    deadlines::{Indexed, Lazy, Tree, actives_advertise, backups_receive},
    fleet::{self, Shape},
    index::{self, Index},
    interleave, verdict,
};
use vrrp_fsm::Deadlines;

/// Calls over which allocations are counted.
const CALLS: u32 = 2000;

const SIZES: [u32; 3] = [1_000, 10_000, 100_000];

const SHAPES: [Shape; 4] = [
    Shape {
        routers: 1_000,
        per_interface: 250,
    },
    Shape {
        routers: 10_000,
        per_interface: 250,
    },
    Shape {
        routers: 10_000,
        per_interface: 1,
    },
    Shape {
        routers: 100_000,
        per_interface: 250,
    },
];

fn main() -> Result<(), Error> {
    let message = *codec::messages()?.get(1).ok_or("no message")?;
    println!("{}\n", message.name);
    steps(&message)?;
    memory(&message)?;
    queues();
    indexes()?;
    indexes_in_a_fleet(&message)?;
    Ok(())
}

fn steps(message: &codec::Message) -> Result<(), Error> {
    let mut table = Table::new(&[
        "step",
        "routers",
        "on an interface",
        "best ns",
        "median ns",
        "budget ns",
        "",
        "allocations per call",
    ]);
    for shape in SHAPES {
        let Shape {
            routers,
            per_interface,
        } = shape;
        let mut works = [
            (
                "advertisement in, step, next deadline",
                fleet::receives(message, shape)?,
                (routers == 10_000).then_some(70.0),
            ),
            (
                "timer, advertisement out",
                fleet::advertises(message, shape)?,
                None,
            ),
        ];
        let samples = interleave(works.iter_mut().map(|(_, work, _)| work));
        for ((name, work, budget), samples) in works.iter_mut().zip(samples) {
            let allocations = allocation_counter::measure(|| work(CALLS)).count_total;
            table.row([
                (*name).into(),
                routers.to_string(),
                per_interface.to_string(),
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
    let mut table = Table::new(&[
        "memory",
        "routers",
        "on an interface",
        "octets per router",
        "budget",
        "",
    ]);
    for shape in SHAPES {
        let Shape {
            routers,
            per_interface,
        } = shape;
        for (name, exact) in [
            ("room asked for at once", true),
            ("grown one by one", false),
        ] {
            let mut fleet = None;
            let counted = allocation_counter::measure(|| {
                fleet = Some(fleet::fleet(message, shape, exact));
            });
            fleet.ok_or("no fleet")??;
            let octets = f64::from(u32::try_from(counted.bytes_current)?) / f64::from(routers);
            // With few routers, the room reserved for sixteen more distorts the result.
            let budget = (exact || routers >= 10_000).then_some(512.0);
            table.row([
                name.into(),
                routers.to_string(),
                per_interface.to_string(),
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
        "Backup receives: best ns",
        "median",
        "Active advertises: best ns",
        "median",
    ]);
    for n in SIZES {
        let mut works: Vec<(&str, Repeat)> = vec![
            (
                "Deadlines (tournament)",
                backups_receive(Deadlines::new(), n),
            ),
            (
                "Deadlines (tournament)",
                actives_advertise(Deadlines::new(), n),
            ),
            (
                "indexed heap of 2",
                backups_receive(Indexed::<2>::new(n), n),
            ),
            (
                "indexed heap of 2",
                actives_advertise(Indexed::<2>::new(n), n),
            ),
            (
                "indexed heap of 4",
                backups_receive(Indexed::<4>::new(n), n),
            ),
            (
                "indexed heap of 4",
                actives_advertise(Indexed::<4>::new(n), n),
            ),
            (
                "indexed heap of 8",
                backups_receive(Indexed::<8>::new(n), n),
            ),
            (
                "indexed heap of 8",
                actives_advertise(Indexed::<8>::new(n), n),
            ),
            ("lazy heap of 2", backups_receive(Lazy::new(n), n)),
            ("lazy heap of 2", actives_advertise(Lazy::new(n), n)),
            ("balanced tree", backups_receive(Tree::new(n), n)),
            ("balanced tree", actives_advertise(Tree::new(n), n)),
        ];
        let samples = interleave(works.iter_mut().map(|(_, work)| work));
        for (work, samples) in works.chunks(2).zip(samples.chunks(2)) {
            let ([(name, _), _], [receives, advertises]) = (work, samples) else {
                continue;
            };
            table.row([
                (*name).into(),
                n.to_string(),
                format!("{:.1}", receives.best()),
                format!("{:.1}", receives.median()),
                format!("{:.1}", advertises.best()),
                format!("{:.1}", advertises.median()),
            ]);
        }
    }
    println!("{table}");
}

fn indexes() -> Result<(), Error> {
    let mut table = Table::new(&[
        "index",
        "routers",
        "on an interface",
        "best ns",
        "median",
        "octets per router",
    ]);
    for Shape {
        routers,
        per_interface,
    } in SHAPES
    {
        let keys = index::keys(routers, per_interface);
        let mut rows = [
            measured::<index::Rows>("rows by interface (the fleet's)", &keys)?,
            measured::<index::Numbers>("hash table of numbers", &keys)?,
            measured::<index::Keys>("hash table of keys", &keys)?,
            measured::<index::Tree>("balanced tree", &keys)?,
            measured::<index::List>("sorted list", &keys)?,
        ];
        let samples = interleave(rows.iter_mut().map(|(_, work, _)| work));
        for ((name, _, octets), samples) in rows.iter().zip(samples) {
            table.row([
                (*name).into(),
                routers.to_string(),
                per_interface.to_string(),
                format!("{:.1}", samples.best()),
                format!("{:.1}", samples.median()),
                format!("{octets:.1}"),
            ]);
        }
    }
    println!("{table}");
    Ok(())
}

/// The work, and octets per router.
fn measured<I: Index + 'static>(
    name: &'static str,
    keys: &[index::Key],
) -> Result<(&'static str, Repeat, f64), Error> {
    let mut built = None;
    let counted = allocation_counter::measure(|| built = Some(I::new(keys)));
    let octets = f64::from(u32::try_from(counted.bytes_current)?);
    let routers = f64::from(u32::try_from(keys.len())?);
    Ok((name, index::finds::<I>(keys), octets / routers))
}

/// The effect of an index: all work of a fleet on an advertisement, with each index.
fn indexes_in_a_fleet(message: &codec::Message) -> Result<(), Error> {
    let mut table = Table::new(&[
        "advertisement in, step, next deadline",
        "routers",
        "on an interface",
        "best ns",
        "median",
    ]);
    for shape in SHAPES {
        let mut rows = [
            (
                "rows by interface (the fleet's)",
                fleet::receives_by::<index::Rows>(message, shape)?,
            ),
            (
                "hash table of numbers",
                fleet::receives_by::<index::Numbers>(message, shape)?,
            ),
            (
                "hash table of keys",
                fleet::receives_by::<index::Keys>(message, shape)?,
            ),
        ];
        let samples = interleave(rows.iter_mut().map(|(_, work)| work));
        for ((name, _), samples) in rows.iter().zip(samples) {
            table.row([
                (*name).into(),
                shape.routers.to_string(),
                shape.per_interface.to_string(),
                format!("{:.1}", samples.best()),
                format!("{:.1}", samples.median()),
            ]);
        }
    }
    println!("{table}");
    Ok(())
}
