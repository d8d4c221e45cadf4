//! Saves the kernel's table as ipvsadm does, or compares it with such a text.
//!
//! `cargo run --example table_text > saved` and `cargo run --example table_text saved` as root.

use std::{env, fs, time::Duration};

use ipvs_netlink::{
    Client,
    plan::{Draining, Policy, Wanted, plan},
    rules::{self, Form, Grammar},
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut client = Client::open()?;
    let table = client.confirmed_table()?;
    let Some(path) = env::args_os().nth(1) else {
        // Unlike that of ipvsadm, this form keeps connection limits.
        print!("{}", rules::print(&table.servers(), Form::Lossless));
        return Ok(());
    };
    let grammar = Grammar {
        form: Form::Lossless,
        names: None,
    };
    let servers = grammar.servers(&fs::read_to_string(path)?)?;
    let wanted = Wanted::new(&servers);
    let plan = plan(
        &table,
        wanted,
        &Policy::AT_ONCE,
        &Draining::default(),
        Duration::ZERO,
    );
    for step in plan.steps {
        println!("{step}");
    }
    Ok(())
}
