//! The clients: each makes a request at a steady pace, and keeps connections open.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::Builder,
    sync::watch,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use vrrp_lab::Namespace;

use super::{Connection, Failure, Request, SERVICE};

/// How often a client makes a request.
const INTERVAL: Duration = Duration::from_millis(40);
/// How long a request may take. It is shorter than TCP's first retransmission of a lost SYN, so
/// each loss is seen.
const PATIENCE: Duration = Duration::from_millis(900);
/// The connections that each client keeps open.
pub(super) const CONNECTIONS: usize = 15;
/// How often a byte is sent over such a connection.
const BEAT: Duration = Duration::from_millis(100);
/// A connection without an answer for this time is broken.
const BROKEN: Duration = Duration::from_secs(20);

/// The records of the clients so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Records(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    requests: Vec<Request>,
    connections: Vec<Connection>,
}

impl Records {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this server, or with `None` any server, has answered a request that began at or
    /// after `since`.
    pub(super) fn has_answer(&self, since: Instant, server: Option<usize>) -> bool {
        let is_it = |request: &Request| {
            let is_from = server.is_none_or(|server| request.server == Some(server));
            request.at >= since && request.server.is_some() && is_from
        };
        let inner = self.lock();
        let recent = inner.requests.iter().rev();
        recent.take(1000).any(is_it)
    }

    /// The end of the last request without an answer.
    pub(super) fn last_failure(&self) -> Option<Instant> {
        let inner = self.lock();
        let mut failed = inner.requests.iter().rev().take(1000);
        let last = failed.find(|request| request.server.is_none());
        last.map(Request::end)
    }

    /// The number of connections that were opened to stay open.
    pub(super) fn connections(&self) -> usize {
        self.lock().connections.len()
    }

    /// Records an exchange over an open connection. Returns whether the connection continues.
    fn note(&self, place: usize, is_answered: bool, took: Duration) -> bool {
        let mut inner = self.lock();
        // The list is taken at the end of the play.
        let Some(connection) = inner.connections.get_mut(place) else {
            return false;
        };
        if is_answered {
            connection.longest_pause = connection.longest_pause.max(took);
        } else {
            connection.broken = Some(Instant::now());
        }
        is_answered
    }

    /// All records, in order.
    pub(super) fn take(&self) -> (Vec<Request>, Vec<Connection>) {
        let mut inner = self.lock();
        (
            std::mem::take(&mut inner.requests),
            std::mem::take(&mut inner.connections),
        )
    }
}

/// A running client. It ends with this value.
#[derive(Debug)]
pub(super) struct Client {
    /// Whether connections must stay open. The channel is closed at the end.
    keeps: Option<watch::Sender<bool>>,
    thread: Option<JoinHandle<()>>,
}

impl Client {
    pub(super) fn start(namespace: &Namespace, records: &Records) -> Result<Self, Failure> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (namespace, records) = (namespace.clone(), records.clone());
        let (keeps, order) = watch::channel(false);
        let work = move || {
            if namespace.enter().is_ok() {
                runtime.block_on(run(&records, order));
            }
        };
        let thread = thread::Builder::new().name("client".into()).spawn(work)?;
        Ok(Self {
            keeps: Some(keeps),
            thread: Some(thread),
        })
    }

    /// Opens the connections that stay open.
    pub(super) fn keep_connections(&self) {
        if let Some(keeps) = &self.keeps {
            keeps.send_replace(true);
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.keeps.take();
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Makes requests until the order to keep connections is withdrawn for good.
async fn run(records: &Records, mut order: watch::Receiver<bool>) {
    let mut tick = interval(INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {
                let records = records.clone();
                tokio::spawn(async move {
                    let at = Instant::now();
                    let server = request().await;
                    let request = Request { at, took: at.elapsed(), server };
                    records.lock().requests.push(request);
                });
            }
            changed = order.changed() => {
                if changed.is_err() {
                    return;
                }
                for _ in 0..CONNECTIONS {
                    tokio::spawn(keep(records.clone()));
                }
            }
        }
    }
}

async fn connect() -> io::Result<(TcpStream, usize)> {
    let mut stream = TcpStream::connect(SocketAddr::from(SERVICE)).await?;
    let number = stream.read_u8().await?;
    Ok((stream, number.into()))
}

/// Opens a connection, and returns the number of the server that answers.
async fn request() -> Option<usize> {
    let connected = timeout(PATIENCE, connect()).await;
    connected.ok()?.ok().map(|(_, server)| server)
}

/// Keeps a connection open until it breaks.
async fn keep(records: Records) {
    let (mut stream, server) = loop {
        match timeout(PATIENCE, connect()).await {
            Ok(Ok(connected)) => break connected,
            _ => sleep(BEAT).await,
        }
    };
    let place = {
        let mut inner = records.lock();
        inner.connections.push(Connection {
            server,
            broken: None,
            longest_pause: Duration::ZERO,
        });
        inner.connections.len() - 1
    };
    loop {
        let sent = Instant::now();
        let exchange = async {
            stream.write_u8(0).await?;
            stream.read_u8().await
        };
        let is_answered = matches!(timeout(BROKEN, exchange).await, Ok(Ok(_)));
        if !records.note(place, is_answered, sent.elapsed()) {
            return;
        }
        sleep(BEAT).await;
    }
}
