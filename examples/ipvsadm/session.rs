//! What each command does.

use std::io::Write;

use ipvs_netlink::{
    Client, Error, Info, ServiceKey, SyncDaemon, TableEntry, connections::Connections,
    message::Change,
};

use crate::{
    connections,
    failure::Failure,
    grammar::{Command, Order},
    list::List,
    names::{self, Names},
    order, save,
};

const HELP: &str = include_str!("help.txt");

/// The kernel, which is asked from the first command on that needs it, and where lists go.
pub(crate) struct Session<W> {
    out: W,
    client: Option<Client>,
}

impl<W: Write> Session<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out, client: None }
    }

    /// Obeys a command, other than that of reading commands.
    pub(crate) fn obey(&mut self, command: &Command) -> Result<(), Failure> {
        match *command {
            Command::Change(change) => self.client()?.change(change)?,
            Command::Services(key, list, order) => self.services(key, list, order)?,
            Command::Connections(names, with_engine) => self.connections(names, with_engine)?,
            Command::Timeouts => {
                let timeouts = self.client()?.timeouts()?;
                writeln!(
                    self.out,
                    "Timeout (tcp tcpfin udp): {} {} {}",
                    timeouts.tcp, timeouts.tcp_fin, timeouts.udp
                )?;
            }
            Command::Daemons => {
                for daemon in self.client()?.daemons()? {
                    self.daemon(&daemon)?;
                }
            }
            Command::Save(names) => {
                let mut entries = self.table()?;
                order::sort(&mut entries);
                save::write(&mut self.out, &entries, names)?;
            }
            Command::Help => self.out.write_all(HELP.as_bytes())?,
            Command::Version => writeln!(
                self.out,
                "ipvsadm of ipvs-netlink {}, with the command line and the output of ipvsadm 1.31",
                env!("CARGO_PKG_VERSION")
            )?,
            Command::Restore => {}
        }
        self.out.flush()?;
        Ok(())
    }

    /// Makes changes in order, and returns what became of each.
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

    /// All services with their destinations. What can only be told of in words goes to standard error.
    pub(crate) fn table(&mut self) -> Result<Vec<TableEntry>, Failure> {
        let table = self.client()?.confirmed_table()?;
        for object in &table.unreadable {
            eprintln!("ipvsadm: not shown: {object}");
        }
        if table.may_be_incomplete {
            eprintln!("ipvsadm: the table changes all the time: something may be missing");
        }
        Ok(table.entries)
    }

    fn services(
        &mut self,
        key: Option<ServiceKey>,
        list: List,
        order: Order,
    ) -> Result<(), Failure> {
        let (info, entries) = self.read(key, order)?;
        if let Some(info) = info {
            List::version(&mut self.out, info)?;
        }
        list.write(&mut self.out, &entries)?;
        Ok(())
    }

    /// Reads one service, or all with what the kernel says of itself.
    fn read(
        &mut self,
        key: Option<ServiceKey>,
        order: Order,
    ) -> Result<(Option<Info>, Vec<TableEntry>), Failure> {
        let (info, mut entries) = match key {
            None => (Some(self.client()?.info()?), self.table()?),
            Some(key) => {
                let client = self.client()?;
                let missing = |error: Error| {
                    if error.is_missing() {
                        Failure::NotListed(error)
                    } else {
                        Failure::Kernel(error)
                    }
                };
                let service = client.service(key).map_err(missing)?;
                let destinations = client.destinations(key).map_err(missing)?;
                let entry = TableEntry {
                    service,
                    destinations,
                };
                (None, vec![entry])
            }
        };
        if order == Order::Sorted {
            order::sort(&mut entries);
        }
        Ok((info, entries))
    }

    fn connections(&mut self, names: Names, with_engine: bool) -> Result<(), Failure> {
        // There is no file where there is no IPVS, and to ask for it is what loads the module.
        self.client()?;
        let connections = Connections::open()?;
        connections::write(&mut self.out, connections, names, with_engine)??;
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
        // A kernel of before Linux 4.3 says nothing of the rest.
        write!(
            self.out,
            "{state} sync daemon (mcast={interface}, syncid={sync_id}"
        )?;
        if let Some(max_length) = max_length {
            write!(self.out, ", maxlen={max_length}")?;
        }
        if let Some(group) = group {
            write!(self.out, ", group={}", names::number(group.address()))?;
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
