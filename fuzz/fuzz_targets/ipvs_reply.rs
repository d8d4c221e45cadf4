#![no_main]
//! Answers of the kernel: the first octet is the command, the others are the attributes. An answer
//! that decodes is encoded, decoded again, and has to be the same.

use ipvs_netlink::message::Reply;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&command, octets)) = input.split_first() else {
        return;
    };
    let reply = match Reply::decode(command, octets) {
        Ok(reply) => reply,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    assert_eq!(reply.command() as u8, command);
    let mut written = vec![0; reply.encoded_len()];
    assert_eq!(reply.encode(&mut written), written.len());
    assert_eq!(Reply::decode(command, &written), Ok(reply));
});
