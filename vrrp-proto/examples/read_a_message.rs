//! Reads a VRRP message in hexadecimal digits, as `tcpdump -x` shows it, and prints its fields.
//!
//! `cargo run -p vrrp-proto --example read_a_message -- 192.0.2.11 3133c801006402010a000001`

use std::{env, error::Error, net::Ipv4Addr};

use vrrp_proto::{Advertisement, DecodeOptions, Endpoints, IpHeader, Leniency, TTL};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let source: Ipv4Addr = match arguments.next() {
        Some(text) => text.parse()?,
        None => Ipv4Addr::new(192, 0, 2, 11),
    };
    let digits = arguments.next();
    let message = octets(digits.as_deref().unwrap_or("3133640100c8a801c0000201"))?;

    let ip = IpHeader {
        endpoints: Endpoints::multicast(source.into()),
        ttl: TTL,
    };
    let options = DecodeOptions {
        leniency: Leniency::ALL,
        ..DecodeOptions::default()
    };
    match Advertisement::decode(&message, &ip, &options) {
        Ok(decoded) => {
            let advertisement = decoded.advertisement;
            println!("{} from {source}", advertisement.version());
            println!("VRID      {}", advertisement.vrid);
            println!("priority  {}", advertisement.priority);
            println!("interval  {}", advertisement.interval);
            println!("addresses {:?}", advertisement.addresses);
            println!("checksum  {:?}", decoded.checksum);
            for name in decoded.tolerated.names() {
                println!("tolerated {name}");
            }
        }
        Err(discard) => match discard.counter() {
            Some(counter) => println!("discarded ({counter}): {discard}"),
            None => println!("discarded: {discard}"),
        },
    }
    Ok(())
}

fn octets(digits: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    if !digits.len().is_multiple_of(2) || !digits.is_ascii() {
        return Err("expected an even number of hexadecimal digits".into());
    }
    let pairs = (0..digits.len()).step_by(2);
    let octet = |place| Ok(u8::from_str_radix(&digits[place..place + 2], 16)?);
    pairs.map(octet).collect()
}
