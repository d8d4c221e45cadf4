//! Time to decode and to encode a message of IPVS, compared with a copy of its octets and a walk
//! over the headers of its attributes.

use vrrp_benches::{
    Error, Repeat, Table, interleave,
    ipvs::codec::{copy, count_attributes, samples, walk},
};

/// Messages over which allocations are counted.
const MESSAGES: u32 = 1000;

fn main() -> Result<(), Error> {
    let mut table = Table::new(&[
        "work",
        "octets",
        "attributes",
        "best ns",
        "median ns",
        "copy ns",
        "walk ns",
        "x copy",
        "x walk",
        "allocations per message",
    ]);
    let samples = samples()?;
    for sample in &samples {
        let name = format!("decode {}", sample.name);
        compare(&mut table, name, &sample.octets, sample.decode())?;
    }
    for sample in &samples {
        let name = format!("encode {}", sample.name);
        compare(&mut table, name, &sample.encoded(), sample.encode())?;
    }
    println!("{table}");
    Ok(())
}

fn compare(table: &mut Table, name: String, octets: &[u8], mut work: Repeat) -> Result<(), Error> {
    let attributes = count_attributes(octets).ok_or("an attribute is cut short")?;
    let (mut copy, mut walk) = (copy(octets), walk(octets));
    let samples = interleave([&mut work, &mut copy, &mut walk]);
    let [own, copy, walk] = &samples[..] else {
        return Err("three kinds of work".into());
    };
    let allocations = allocation_counter::measure(|| work(MESSAGES)).count_total;
    table.row([
        name,
        octets.len().to_string(),
        attributes.to_string(),
        format!("{:.1}", own.best()),
        format!("{:.1}", own.median()),
        format!("{:.1}", copy.best()),
        format!("{:.1}", walk.best()),
        format!("{:.2}", own.ratio(&[copy])),
        format!("{:.2}", own.ratio(&[walk])),
        format!(
            "{}",
            f64::from(u32::try_from(allocations)?) / f64::from(MESSAGES)
        ),
    ]);
    Ok(())
}
