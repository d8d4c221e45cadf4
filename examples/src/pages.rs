//! Pages of a program over HTTP, on TCP ports and UNIX sockets.
//!
//! [`serve`] accepts connections and asks the program for a [`Page`] for each [`Query`]. A client
//! that is slow, sends too much or breaks the protocol delays no other.

use std::{convert::Infallible, sync::Arc, time::Duration};

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ALLOW, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
};

/// The media type of HTML.
pub const HTML: &str = "text/html; charset=utf-8";

/// The media type of JSON.
pub const JSON: &str = "application/json";

/// The media type of [OpenMetrics](https://prometheus.io/docs/specs/om/open_metrics_spec/).
pub const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The media type of plain text.
pub const TEXT: &str = "text/plain; charset=utf-8";

/// The most connections of a listener at a time.
const CONNECTIONS: usize = 64;

/// The longest time to send the head of a request, and the longest time to send its body.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest time to take the answer.
const LONGEST_ANSWER: Duration = Duration::from_secs(30);

/// The longest body of a request, in bytes.
const LONGEST: usize = 4096;

/// The pause after a connection that could not be accepted, for instance because the process has no
/// descriptor left.
const PAUSE: Duration = Duration::from_millis(100);

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// GET or HEAD of a path, such as `/metrics`.
    Get(String),
    /// POST of a body, of at most 4096 bytes, to a path.
    Post(String, Bytes),
}

/// An answer to a [`Query`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The status code.
    pub status: StatusCode,
    /// The media type.
    pub content_type: &'static str,
    /// The body.
    pub body: String,
}

impl Page {
    /// A page with status 200.
    #[must_use]
    pub fn ok(content_type: &'static str, body: String) -> Self {
        Self {
            status: StatusCode::OK,
            content_type,
            body,
        }
    }

    /// A line of plain text with another status.
    #[must_use]
    pub fn error(status: StatusCode, text: impl Into<String>) -> Self {
        let mut body = text.into();
        body.push('\n');
        Self {
            status,
            content_type: TEXT,
            body,
        }
    }
}

/// A socket that accepts connections.
#[derive(Debug)]
pub enum Listener {
    /// A TCP port. It takes no POST, because a page in the operator's browser can send one there.
    Tcp(TcpListener),
    /// A UNIX socket.
    Unix(UnixListener),
}

/// Serves the pages that `answer` makes, forever.
pub async fn serve<A>(listener: Listener, answer: impl Fn(Query) -> A + Clone + Send + 'static)
where
    A: Future<Output = Page> + Send + 'static,
{
    serve_within(LONGEST_ANSWER, listener, answer).await;
}

/// Serves pages; a client has this time to take one.
async fn serve_within<A>(
    longest_answer: Duration,
    listener: Listener,
    answer: impl Fn(Query) -> A + Clone + Send + 'static,
) where
    A: Future<Output = Page> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let accepted = match &listener {
            Listener::Tcp(listener) => listener.accept().await.map(|(stream, _)| {
                serve_one(stream, answer.clone(), false, longest_answer, place);
            }),
            Listener::Unix(listener) => listener.accept().await.map(|(stream, _)| {
                serve_one(stream, answer.clone(), true, longest_answer, place);
            }),
        };
        if accepted.is_err() {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn serve_one<A>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    answer: impl Fn(Query) -> A + Clone + Send + 'static,
    takes_posts: bool,
    longest_answer: Duration,
    place: OwnedSemaphorePermit,
) where
    A: Future<Output = Page> + Send + 'static,
{
    tokio::spawn(async move {
        let answered = Arc::new(Notify::new());
        let is_answered = Arc::clone(&answered);
        let service = service_fn(move |request| {
            let (answer, answered) = (answer.clone(), Arc::clone(&answered));
            async move {
                let page = match read(request, takes_posts).await {
                    Ok(query) => answer(query).await,
                    Err(page) => page,
                };
                answered.notify_one();
                Ok::<_, Infallible>(response(page, takes_posts))
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(PATIENCE)
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service);
        let late = async {
            is_answered.notified().await;
            tokio::time::sleep(longest_answer).await;
        };
        // A client that goes away, or does not read, is not an error of the program.
        tokio::select! {
            _ = connection => {}
            () = late => {}
        }
        drop(place);
    });
}

/// Reads a request. An error is the page for it.
async fn read(request: Request<Incoming>, takes_posts: bool) -> Result<Query, Page> {
    let path = request.uri().path().to_owned();
    match *request.method() {
        Method::GET | Method::HEAD => Ok(Query::Get(path)),
        Method::POST if takes_posts => {
            let body = Limited::new(request.into_body(), LONGEST).collect();
            match tokio::time::timeout(PATIENCE, body).await {
                Ok(Ok(body)) => Ok(Query::Post(path, body.to_bytes())),
                Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Page::error(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    format!("the body is longer than {LONGEST} bytes"),
                )),
                Ok(Err(error)) => Err(Page::error(StatusCode::BAD_REQUEST, error.to_string())),
                Err(_) => Err(Page::error(StatusCode::REQUEST_TIMEOUT, "too slow")),
            }
        }
        Method::POST => Err(Page::error(
            StatusCode::METHOD_NOT_ALLOWED,
            "a TCP port takes no POST; use the UNIX socket",
        )),
        _ => Err(Page::error(
            StatusCode::METHOD_NOT_ALLOWED,
            "use GET, HEAD or POST",
        )),
    }
}

fn response(page: Page, takes_posts: bool) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(page.body));
    *response.status_mut() = page.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(page.content_type));
    if page.status == StatusCode::METHOD_NOT_ALLOWED {
        let allowed = if takes_posts {
            "GET, HEAD, POST"
        } else {
            "GET, HEAD"
        };
        headers.insert(ALLOW, HeaderValue::from_static(allowed));
    }
    response
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpStream, UnixStream},
    };

    use super::*;

    async fn echo(query: Query) -> Page {
        match query {
            Query::Get(path) => Page::ok(TEXT, format!("path {path}")),
            Query::Post(path, body) => Page::ok(TEXT, format!("{} bytes to {path}", body.len())),
        }
    }

    async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> String {
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn a_port_serves_pages_and_takes_no_post() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap();
        tokio::spawn(serve(Listener::Tcp(listener), echo));
        let ask = async |request: &str| {
            let stream = TcpStream::connect(port).await.unwrap();
            exchange(stream, request).await
        };
        let get = ask("GET /a HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(get.starts_with("HTTP/1.1 200 OK\r\n"), "{get}");
        assert!(get.ends_with("\r\n\r\npath /a"), "{get}");
        let head = ask("HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(head.ends_with("\r\n\r\n") && head.contains("content-length: 7\r\n"));
        for method in ["POST", "PUT"] {
            let request = format!("{method} /a HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
            let refused = ask(&request).await;
            assert!(refused.starts_with("HTTP/1.1 405 "), "{refused}");
            assert!(refused.contains("\r\nallow: GET, HEAD\r\n"), "{refused}");
        }
    }

    #[tokio::test]
    async fn a_unix_socket_takes_a_post_of_at_most_4096_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        tokio::spawn(serve(Listener::Unix(listener), echo));
        for (length, expected) in [
            (0, "0 bytes to /a"),
            (4096, "4096 bytes to /a"),
            (4097, "the body is longer than 4096 bytes\n"),
        ] {
            let stream = UnixStream::connect(&path).await.unwrap();
            let head = format!("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
            let answer = exchange(stream, &(head + &"x".repeat(length))).await;
            assert!(answer.ends_with(expected), "{length}: {answer}");
        }
    }

    #[tokio::test]
    async fn a_slow_client_is_cut_off_and_keeps_no_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        tokio::spawn(serve(Listener::Unix(listener), echo));
        let mut slow = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut stream = UnixStream::connect(&path).await.unwrap();
            stream.write_all(b"GET /a HTTP/1.1\r\n").await.unwrap();
            slow.push(stream);
        }
        let stream = UnixStream::connect(&path).await.unwrap();
        let answer = exchange(stream, "GET /b HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(answer.ends_with("path /b"), "{answer}");
    }

    #[tokio::test]
    async fn a_client_that_takes_no_answer_is_cut_off_and_keeps_no_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        // More than sockets hold.
        let large = async |_| Page::ok(TEXT, "x".repeat(4 << 20));
        tokio::spawn(serve_within(
            Duration::from_millis(100),
            Listener::Unix(listener),
            large,
        ));
        let request = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n";
        let mut idle = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut stream = UnixStream::connect(&path).await.unwrap();
            stream.write_all(request).await.unwrap();
            idle.push(stream);
        }
        let mut stream = UnixStream::connect(&path).await.unwrap();
        stream.write_all(request).await.unwrap();
        let first = tokio::time::timeout(Duration::from_secs(120), stream.read_u8()).await;
        assert_eq!(first.unwrap().unwrap(), b'H');
    }
}
