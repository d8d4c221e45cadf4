#![no_main]
//! Requests of clients: the first octet is the command, the others are the attributes. A request
//! that decodes is encoded, decoded again, and has to be the same.

use ipvs_netlink::message::Request;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&command, octets)) = input.split_first() else {
        return;
    };
    let request = match Request::decode(command, octets) {
        Ok(request) => request,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    assert_eq!(request.command() as u8, command);
    assert!(!request.to_string().is_empty());
    let mut written = vec![0; request.encoded_len()];
    assert_eq!(request.encode(&mut written), written.len());
    assert_eq!(Request::decode(command, &written), Ok(request));
});
