//! The socket of a program: its pages over HTTP, and the commands of its operator.
//!
//! [`Control`] accepts connections and hands each [`Request`] to the loop of the program, which
//! answers it. Commands are accepted on a UNIX socket only, whose file only its owner can use: a
//! foreign page in a browser can send requests to a TCP port, but not to a UNIX socket.

use std::{
    fmt, fs, io,
    net::SocketAddr,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
};

use http_body_util::{BodyExt, Full};
use hyper::{StatusCode, body::Bytes, client::conn::http1 as client, header::HOST};
use hyper_util::rt::TokioIo;
use ipvs_netlink::{
    DestinationKey, ServiceKey, Weight,
    pool::{Operator, UnknownServer},
};
use serde::{Deserialize, Serialize};
use serde_with::{As, DisplayFromStr};
use tokio::{
    net::{TcpListener, UnixListener, UnixStream},
    sync::{mpsc, oneshot},
};

use crate::{
    balancer::Balancer,
    pages::{HTML, JSON, Listener, OPEN_METRICS, Page, Query, TEXT, serve},
    status::{History, RouterLine, page::SERVICE_PATH},
};

/// The requests that may wait for the loop of the program.
const WAITING: usize = 32;

/// A command of the operator about a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, clap::Subcommand)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Command {
    /// Give it no new connections; existing ones continue.
    Drain(Server),
    /// Take it out at once and stop its checks.
    Maintain(Server),
    /// Return to the state that its checks decide, with the configured weight.
    Resume(Server),
    /// Set another weight. A server in maintenance or a drain stays there.
    Weight {
        /// The server.
        #[serde(flatten)]
        #[command(flatten)]
        server: Server,
        /// The weight, 0 to 2147483647.
        weight: u32,
    },
}

/// A server of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, clap::Args)]
pub struct Server {
    /// The service, such as "tcp 192.0.2.1:80".
    #[serde(with = "As::<DisplayFromStr>")]
    pub service: ServiceKey,
    /// The server, such as 10.0.0.1:80.
    #[serde(with = "As::<DisplayFromStr>")]
    pub server: DestinationKey,
}

impl Command {
    /// Applies the command. Returns the state of the server as text.
    ///
    /// # Errors
    ///
    /// A [`CommandError`] for an unknown server or a wrong weight; nothing has changed then.
    pub fn apply(self, balancer: &mut Balancer) -> Result<String, CommandError> {
        let failed = |error: &dyn fmt::Display| CommandError(error.to_string());
        // Other settings stay: a weight returns no server to service, and a drain keeps the
        // weight for later.
        let (server, operator, weight) = match self {
            Self::Drain(server) => (server, Some(Operator::Drain), None),
            Self::Maintain(server) => (server, Some(Operator::Maintenance), None),
            Self::Resume(server) => (server, Some(Operator::Ready), Some(None)),
            Self::Weight { server, weight } => {
                let weight = Weight::new(weight).map_err(|error| failed(&error))?;
                (server, None, Some(Some(weight)))
            }
        };
        let Server { service, server } = server;
        let mut apply = || {
            if let Some(operator) = operator {
                balancer.set_operator(&service, &server, operator)?;
            }
            if let Some(weight) = weight {
                balancer.set_weight(&service, &server, weight)?;
            }
            Ok(())
        };
        apply().map_err(|error: UnknownServer| failed(&error))?;
        let explanation = balancer.pool().explain(&service, &server);
        Ok(explanation.map_or_else(String::new, |it| it.to_string()))
    }
}

/// A question to the program, with the way to answer it.
#[derive(Debug)]
pub struct Request {
    /// The question.
    pub question: Question,
    answer: oneshot::Sender<Page>,
}

/// The request of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// The page for people: `GET /`.
    Page,
    /// The page of a service, by its name: `GET /service/tcp-192.0.2.1:80`.
    Service(String),
    /// The state as JSON: `GET /status.json`.
    Status,
    /// Metrics for Prometheus: `GET /metrics`.
    Metrics,
    /// `POST /command` on a UNIX socket, with a [`Command`] as JSON.
    Command(Command),
}

impl Question {
    /// Builds the answer: a page of the state, or the result of a command.
    pub fn answer(
        &self,
        history: &History,
        balancer: &mut Balancer,
        routers: Vec<RouterLine>,
    ) -> Page {
        if let Self::Command(command) = self {
            return match command.apply(balancer) {
                Ok(text) => Page::ok(TEXT, text),
                Err(error) => Page::error(StatusCode::CONFLICT, error.to_string()),
            };
        }
        let status = history.status(balancer, routers);
        match self {
            Self::Service(name) => match status.html_of(name) {
                Some(html) => Page::ok(HTML, html),
                None => Page::error(StatusCode::NOT_FOUND, format!("no service {name}")),
            },
            Self::Metrics => Page::ok(OPEN_METRICS, status.metrics()),
            Self::Status => match serde_json::to_string_pretty(&status) {
                Ok(json) => Page::ok(JSON, json),
                Err(error) => Page::error(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
            },
            Self::Page | Self::Command(_) => Page::ok(HTML, status.html()),
        }
    }
}

impl Request {
    /// Sends the answer, unless the client is gone.
    pub fn answer(self, page: Page) {
        let _ = self.answer.send(page);
    }
}

/// The sockets of a program.
#[derive(Debug)]
pub struct Control {
    requests: mpsc::Receiver<Request>,
    sender: mpsc::Sender<Request>,
    /// Files that are removed at the end.
    files: Vec<PathBuf>,
    tasks: Vec<tokio::task::AbortHandle>,
}

impl Default for Control {
    fn default() -> Self {
        Self::new()
    }
}

impl Control {
    /// No sockets, and so no requests.
    #[must_use]
    pub fn new() -> Self {
        let (sender, requests) = mpsc::channel(WAITING);
        Self {
            requests,
            sender,
            files: Vec::new(),
            tasks: Vec::new(),
        }
    }

    /// Listens on a UNIX socket, for pages and commands. A socket that an ended program has left is
    /// replaced.
    ///
    /// # Errors
    ///
    /// The system's; [`io::ErrorKind::AddrInUse`] if a program answers there or the file is no
    /// socket.
    pub async fn listen_unix(&mut self, path: &Path) -> io::Result<()> {
        if let Ok(metadata) = fs::symlink_metadata(path) {
            let is_socket = metadata.file_type().is_socket();
            if !is_socket || UnixStream::connect(path).await.is_ok() {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            fs::remove_file(path)?;
        }
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        self.files.push(path.to_owned());
        self.serve(Listener::Unix(listener));
        Ok(())
    }

    /// Listens on a TCP port, for pages only.
    ///
    /// # Errors
    ///
    /// The system's.
    pub async fn listen_tcp(&mut self, address: SocketAddr) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        self.serve(Listener::Tcp(listener));
        Ok(address)
    }

    fn serve(&mut self, listener: Listener) {
        let sender = self.sender.clone();
        let task = tokio::spawn(serve(listener, move |query| ask(query, sender.clone())));
        self.tasks.push(task.abort_handle());
    }

    /// Waits for the next question. It is cancel-safe.
    pub async fn next(&mut self) -> Request {
        match self.requests.recv().await {
            Some(request) => request,
            // This cannot happen, because `self` has a sender itself.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::AbortHandle::abort);
        for file in &self.files {
            let _ = fs::remove_file(file);
        }
    }
}

/// Hands a request to the loop of the program, and returns its answer.
async fn ask(query: Query, sender: mpsc::Sender<Request>) -> Page {
    let question = match query {
        Query::Get(path) => match path.as_str() {
            "/" => Question::Page,
            "/status.json" => Question::Status,
            "/metrics" => Question::Metrics,
            "/command" => {
                let text = "commands are taken by POST on the UNIX socket";
                return Page::error(StatusCode::METHOD_NOT_ALLOWED, text);
            }
            path => match path.strip_prefix(SERVICE_PATH) {
                Some(name) => Question::Service(name.to_owned()),
                None => return not_found(),
            },
        },
        Query::Post(path, body) if path == "/command" => match serde_json::from_slice(&body) {
            Ok(command) => Question::Command(command),
            Err(error) => return Page::error(StatusCode::BAD_REQUEST, error.to_string()),
        },
        Query::Post(..) => return not_found(),
    };
    let (answer, answered) = oneshot::channel();
    let is_sent = sender.send(Request { question, answer }).await.is_ok();
    let page = if is_sent { answered.await.ok() } else { None };
    page.unwrap_or_else(|| Page::error(StatusCode::SERVICE_UNAVAILABLE, "the program ends"))
}

fn not_found() -> Page {
    let text = "use /, /service/NAME, /status.json, /metrics or /command";
    Page::error(StatusCode::NOT_FOUND, text)
}

/// A command could not be sent or done.
#[derive(Debug)]
pub struct CommandError(String);

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CommandError {}

/// Sends a command to the program that listens on this socket. Returns its answer.
///
/// # Errors
///
/// A [`CommandError`] with the reason.
pub async fn send(path: &Path, command: &Command) -> Result<String, CommandError> {
    let failed = |error: &dyn fmt::Display| CommandError(format!("{}: {error}", path.display()));
    let stream = UnixStream::connect(path)
        .await
        .map_err(|error| failed(&error))?;
    let (mut sender, connection) = client::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| failed(&error))?;
    let connection = tokio::spawn(connection);
    let body = serde_json::to_vec(command).map_err(|error| failed(&error))?;
    let request = hyper::Request::post("/command")
        .header(HOST, "localhost")
        .body(Full::<Bytes>::new(body.into()))
        .map_err(|error| failed(&error))?;
    let answer = sender
        .send_request(request)
        .await
        .map_err(|error| failed(&error))?;
    let status = answer.status();
    let body = answer.into_body().collect().await;
    let body = body.map_err(|error| failed(&error))?.to_bytes();
    connection.abort();
    let text = String::from_utf8_lossy(&body).trim_end().to_owned();
    if status == StatusCode::OK {
        Ok(text)
    } else {
        Err(CommandError(text))
    }
}
