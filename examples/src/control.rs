//! The socket of a program: its pages over HTTP, and the commands of its operator.
//!
//! [`Control`] accepts connections and hands each [`Request`] to the loop of the program, which
//! answers it. Commands are taken on a UNIX socket only, whose file only its owner can use; a
//! browser that was led astray reaches a TCP port, but no UNIX socket.

use std::{
    fmt, fs,
    future::poll_fn,
    io,
    net::SocketAddr,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Response, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1 as client,
    header::{CONTENT_TYPE, HOST},
    server::conn::http1 as server,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use ipvs_netlink::{DestinationKey, ServiceKey, Weight, pool::Operator};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener, UnixStream},
    sync::{Semaphore, mpsc, oneshot},
};

use crate::balancer::{Balancer, text};

/// The connections that are served at once.
const CONNECTIONS: usize = 32;
/// The longest command, in bytes.
const LONGEST: usize = 4096;
/// How long a client may take to send its request.
const PATIENCE: Duration = Duration::from_secs(5);

/// A command of the operator about a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, clap::Subcommand)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Command {
    /// No new connections; those that it has go on.
    Drain(Server),
    /// Out at once, and not checked.
    Maintain(Server),
    /// Back to what checks decide, with the configured weight.
    Resume(Server),
    /// Another weight.
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
    #[serde(with = "text")]
    pub service: ServiceKey,
    /// The server, such as 10.0.0.1:80.
    #[serde(with = "text")]
    pub server: DestinationKey,
}

impl Command {
    /// Does it. Returns the state of the server as text.
    ///
    /// # Errors
    ///
    /// A [`CommandError`] for an unknown server or a wrong weight; nothing has changed then.
    pub fn apply(self, balancer: &mut Balancer) -> Result<String, CommandError> {
        let failed = |error: &dyn fmt::Display| CommandError(error.to_string());
        let (server, operator, weight) = match self {
            Self::Drain(server) => (server, Operator::Drain, None),
            Self::Maintain(server) => (server, Operator::Maintenance, None),
            Self::Resume(server) => (server, Operator::Ready, None),
            Self::Weight { server, weight } => {
                let weight = Weight::new(weight).map_err(|error| failed(&error))?;
                (server, Operator::Ready, Some(weight))
            }
        };
        let Server { service, server } = server;
        balancer
            .set_operator(&service, &server, operator)
            .and_then(|()| balancer.set_weight(&service, &server, weight))
            .map_err(|error| failed(&error))?;
        let explanation = balancer.pool().explain(&service, &server);
        Ok(explanation.map_or_else(String::new, |it| it.to_string()))
    }
}

/// A question to the program.
#[derive(Debug)]
pub struct Request {
    /// The question.
    pub question: Question,
    answer: oneshot::Sender<Answer>,
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Question {
    /// The page for people: `GET /`.
    Page,
    /// The state as JSON: `GET /status.json`.
    Status,
    /// Metrics for Prometheus: `GET /metrics`.
    Metrics,
    /// `POST /command` on a UNIX socket, with a [`Command`] as JSON.
    Command(Command),
}

/// The answer to a [`Question`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A text of this type.
    Text(&'static str, String),
    /// The command cannot be done, for this reason.
    Refused(String),
}

impl Answer {
    /// HTML.
    pub const HTML: &'static str = "text/html; charset=utf-8";
    /// JSON.
    pub const JSON: &'static str = "application/json";
    /// OpenMetrics.
    pub const METRICS: &'static str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    /// Plain text.
    pub const PLAIN: &'static str = "text/plain; charset=utf-8";
}

impl Request {
    /// Answers. A client that is gone misses nothing.
    pub fn answer(self, answer: Answer) {
        let _ = self.answer.send(answer);
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
    room: Arc<Semaphore>,
}

impl Default for Control {
    fn default() -> Self {
        Self::new()
    }
}

impl Control {
    /// Without sockets: nobody asks.
    #[must_use]
    pub fn new() -> Self {
        let (sender, requests) = mpsc::channel(CONNECTIONS);
        Self {
            requests,
            sender,
            files: Vec::new(),
            tasks: Vec::new(),
            room: Arc::new(Semaphore::new(CONNECTIONS)),
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
        self.serve(true, move |context| {
            let accepted = listener.poll_accept(context);
            accepted.map_ok(|(stream, _)| stream)
        });
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
        self.serve(false, move |context| {
            let accepted = listener.poll_accept(context);
            accepted.map_ok(|(stream, _)| stream)
        });
        Ok(address)
    }

    /// Serves the connections that a listener accepts, as many at once as there is room for.
    fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &mut self,
        takes_commands: bool,
        mut accept: impl FnMut(&mut Context<'_>) -> Poll<io::Result<S>> + Send + 'static,
    ) {
        let (sender, room) = (self.sender.clone(), Arc::clone(&self.room));
        let task = tokio::spawn(async move {
            loop {
                let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
                    return;
                };
                match poll_fn(&mut accept).await {
                    Ok(stream) => serve(stream, takes_commands, sender.clone(), permit),
                    Err(_) => tokio::time::sleep(PATIENCE).await,
                }
            }
        });
        self.tasks.push(task.abort_handle());
    }

    /// Waits for the next question. It is cancel-safe.
    pub async fn next(&mut self) -> Request {
        match self.requests.recv().await {
            Some(request) => request,
            // This has a sender itself.
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

/// Serves one connection.
fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    takes_commands: bool,
    sender: mpsc::Sender<Request>,
    permit: tokio::sync::OwnedSemaphorePermit,
) {
    tokio::spawn(async move {
        let service = service_fn(move |request| {
            let sender = sender.clone();
            async move { Ok::<_, hyper::Error>(reply(request, takes_commands, &sender).await) }
        });
        // A client that breaks the protocol harms itself only.
        let _ = server::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(PATIENCE)
            .serve_connection(TokioIo::new(stream), service)
            .await;
        drop(permit);
    });
}

async fn reply(
    request: hyper::Request<Incoming>,
    takes_commands: bool,
    sender: &mpsc::Sender<Request>,
) -> Response<Full<Bytes>> {
    let plain = |status, text: String| response(status, Answer::PLAIN, text);
    let question = match (request.method(), request.uri().path()) {
        (&Method::GET, "/") => Question::Page,
        (&Method::GET, "/status.json") => Question::Status,
        (&Method::GET, "/metrics") => Question::Metrics,
        (&Method::POST, "/command") if takes_commands => {
            let body = Limited::new(request.into_body(), LONGEST).collect();
            let body = match tokio::time::timeout(PATIENCE, body).await {
                Ok(Ok(body)) => body.to_bytes(),
                Ok(Err(error)) => return plain(StatusCode::BAD_REQUEST, error.to_string()),
                Err(_) => return plain(StatusCode::REQUEST_TIMEOUT, "too slow".into()),
            };
            match serde_json::from_slice(&body) {
                Ok(command) => Question::Command(command),
                Err(error) => return plain(StatusCode::BAD_REQUEST, error.to_string()),
            }
        }
        (_, "/command") => {
            let text = "commands are taken by POST on the UNIX socket";
            return plain(StatusCode::METHOD_NOT_ALLOWED, text.into());
        }
        _ => {
            let text = "use /, /status.json, /metrics or /command";
            return plain(StatusCode::NOT_FOUND, text.into());
        }
    };
    let (answer, answered) = oneshot::channel();
    let request = Request { question, answer };
    let gone = || plain(StatusCode::SERVICE_UNAVAILABLE, "the program ends".into());
    if sender.send(request).await.is_err() {
        return gone();
    }
    match answered.await {
        Ok(Answer::Text(kind, text)) => response(StatusCode::OK, kind, text),
        Ok(Answer::Refused(text)) => plain(StatusCode::CONFLICT, text),
        Err(_) => gone(),
    }
}

fn response(status: StatusCode, kind: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    let kind = hyper::header::HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
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
    let text = String::from_utf8_lossy(&body).into_owned();
    if status == StatusCode::OK {
        Ok(text)
    } else {
        Err(CommandError(text))
    }
}
