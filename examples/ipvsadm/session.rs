//! The commands, and the state that they share.

use std::io::{self, Write};

use ipvs_netlink::{
    Client, Error, ServiceKey, SyncDaemon, Table, TableEntry,
    connections::Connections,
    message::Change,
    rules::{self, Command, Form, Listing},
};

use vrrp_examples::ipvsadm::{
    connections,
    list::{Columns, List},
    names::Names,
};

use crate::failure::Failure;

const HELP: &str = include_str!("help.txt");

/// A connection to the kernel, opened by the first command that needs it, and the output of lists.
pub(crate) struct Session<W> {
    out: W,
    client: Option<Client>,
}

impl<W: Write> Session<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out, client: None }
    }

    /// Runs a command. `-R` is left to the caller.
    pub(crate) fn obey(&mut self, command: &Command) -> Result<(), Failure> {
        match *command {
            Command::Change(change) => self.client()?.change(change)?,
            Command::List(list) => self.list(list)?,
            Command::Save { numeric } => {
                let servers = self.table()?.servers();
                let text =
                    rules::print_named(&servers, Form::Ipvsadm, |address, port, protocol| {
                        names(numeric).endpoint(address, port, protocol)
                    });
                self.out.write_all(text.as_bytes())?;
            }
            Command::Help => self.out.write_all(HELP.as_bytes())?,
            Command::Version => writeln!(
                self.out,
                "ipvsadm of ipvs-netlink {}, with the command line and the output of ipvsadm 1.31",
                env!("CARGO_PKG_VERSION")
            )?,
            // The caller handles `Restore`. This version of the grammar has no other commands.
            _ => {}
        }
        self.out.flush()?;
        Ok(())
    }

    /// Makes changes in order, and returns the result of each.
    pub(crate) fn apply(&mut self, changes: &[Change]) -> Result<Vec<Result<(), Error>>, Failure> {
        Ok(self.client()?.apply(changes))
    }

    /// Where lists go.
    pub(crate) fn out(&mut self) -> &mut W {
        &mut self.out
    }

    /// The kernel.
    pub(crate) fn client(&mut self) -> Result<&mut Client, Failure> {
        match &mut self.client {
            Some(client) => Ok(client),
            none => Ok(none.insert(Client::open()?)),
        }
    }

    /// All services with their destinations. Unreadable objects, of which there is only a
    /// description, go to standard error.
    pub(crate) fn table(&mut self) -> Result<Table, Failure> {
        let table = self.client()?.confirmed_table()?;
        for object in &table.unreadable {
            let _ = writeln!(io::stderr(), "ipvsadm: not shown: {object}");
        }
        if table.may_be_incomplete {
            let _ = writeln!(
                io::stderr(),
                "ipvsadm: the table changes all the time: something may be missing"
            );
        }
        Ok(table)
    }

    fn list(&mut self, list: rules::List) -> Result<(), Failure> {
        let columns = match list.listing {
            Listing::Connections { engine_data } => {
                return self.connections(names(list.numeric), engine_data);
            }
            Listing::Timeouts => return self.timeouts(),
            Listing::Daemons => return self.daemons(),
            Listing::Tunnels => Columns::Tunnels,
            Listing::Thresholds => Columns::Thresholds,
            Listing::Persistence => Columns::Persistence,
            Listing::Stats => Columns::Counters,
            Listing::Rates => Columns::Rates,
            _ => Columns::Forwarding,
        };
        let mut entries = match list.service {
            None => {
                let info = self.client()?.info()?;
                let entries = self.table()?.entries;
                List::version(&mut self.out, info)?;
                entries
            }
            Some(key) => vec![self.entry(key)?],
        };
        if list.sorted {
            rules::sort_services(&mut entries, |entry| entry.service.service.key);
            for entry in &mut entries {
                rules::sort_destinations(&mut entry.destinations, |listed| listed.destination.key);
            }
        }
        let list = List {
            columns,
            exact: list.exact,
            names: names(list.numeric),
        };
        list.write(&mut self.out, &entries)?;
        Ok(())
    }

    /// One service.
    fn entry(&mut self, key: ServiceKey) -> Result<TableEntry, Failure> {
        let missing = |error: Error| {
            if error.is_missing() {
                Failure::NotListed(error)
            } else {
                Failure::Kernel(error)
            }
        };
        let client = self.client()?;
        Ok(TableEntry {
            service: client.service(key).map_err(missing)?,
            destinations: client.destinations(key).map_err(missing)?,
        })
    }

    fn connections(&mut self, names: Names, with_engine: bool) -> Result<(), Failure> {
        // The file exists only once IPVS is loaded, and opening a client loads the module.
        self.client()?;
        let connections = Connections::open()?;
        connections::write(&mut self.out, connections, names, with_engine)??;
        Ok(())
    }

    fn timeouts(&mut self) -> Result<(), Failure> {
        let timeouts = self.client()?.timeouts()?;
        writeln!(
            self.out,
            "Timeout (tcp tcpfin udp): {} {} {}",
            timeouts.tcp, timeouts.tcp_fin, timeouts.udp
        )?;
        Ok(())
    }

    fn daemons(&mut self) -> Result<(), Failure> {
        for daemon in self.client()?.daemons()? {
            self.daemon(&daemon)?;
        }
        Ok(())
    }

    fn daemon(&mut self, daemon: &SyncDaemon) -> Result<(), Failure> {
        let SyncDaemon {
            state,
            interface,
            sync_id,
            max_length,
            group,
            port,
            ttl,
        } = daemon;
        // Kernels before Linux 4.3 do not report the rest.
        write!(
            self.out,
            "{state} sync daemon (mcast={interface}, syncid={sync_id}"
        )?;
        if let Some(max_length) = max_length {
            write!(self.out, ", maxlen={max_length}")?;
        }
        if let Some(group) = group {
            write!(self.out, ", group={}", group.address())?;
        }
        if let Some(port) = port {
            write!(self.out, ", port={port}")?;
        }
        if let Some(ttl) = ttl {
            write!(self.out, ", ttl={ttl}")?;
        }
        writeln!(self.out, ")")?;
        Ok(())
    }
}

fn names(numeric: bool) -> Names {
    if numeric {
        Names::Numeric
    } else {
        Names::LookedUp
    }
}
