#![no_main]
//! Payloads of IP packets, with the first octet of the version in most of them.

use libfuzzer_sys::fuzz_target;

fuzz_target!(|payload: &[u8]| {
    let ip = vrrp_fuzz::ipv4();
    vrrp_fuzz::decode(payload, &ip);
    if let Some((_, rest)) = payload.split_first() {
        let payload = [&[0x31], rest].concat();
        vrrp_fuzz::decode(&payload, &ip);
    }
});
