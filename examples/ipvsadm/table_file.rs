//! The table that a file describes: the result of restoring it onto an empty table.

use std::{
    fs,
    io::{self, Read},
};

use ipvs_netlink::{VirtualServer, rules::Form};

use vrrp_examples::ipvsadm::names;

use crate::failure::Failure;

/// Reads a file, or with `-` the standard input. The file may say everything that a table can hold,
/// not only the things that ipvsadm saves.
pub(crate) fn read(path: &str) -> Result<Vec<VirtualServer>, Failure> {
    let (name, text) = if path == "-" {
        let mut text = String::new();
        let read = io::stdin().lock().read_to_string(&mut text);
        ("standard input", read.map(|_| text))
    } else {
        (path, fs::read_to_string(path))
    };
    let text = text.map_err(|error| Failure::File {
        path: name.into(),
        error,
    })?;
    names::grammar(Form::Lossless)
        .servers(&text)
        .map_err(|error| Failure::Text {
            name: name.to_owned(),
            error: Box::new(error),
        })
}
