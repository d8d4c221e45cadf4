//! Pages of a program over HTTP: metrics, health, status.

use std::{convert::Infallible, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ALLOW, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, sync::Semaphore};

/// The media type of [OpenMetrics](https://prometheus.io/docs/specs/om/open_metrics_spec/).
pub const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The media type of plain text.
pub const TEXT: &str = "text/plain; charset=utf-8";

/// The media type of JSON.
pub const JSON: &str = "application/json";

/// An answer to a request.
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
}

/// Makes the page of a path, such as `/metrics`; `None` for a path without a page.
pub type Pages = Arc<dyn Fn(&str) -> Option<Page> + Send + Sync>;

/// The longest time to send the head of a request.
const HEAD_LIMIT: Duration = Duration::from_secs(5);

/// The most connections at a time.
const CONNECTIONS: usize = 64;

/// Serves pages for ever. A client that is slow, or one of too many, holds up no other.
pub async fn serve(listener: TcpListener, pages: Pages) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // The semaphore is never closed.
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            // The process has no descriptor left: others have to be closed first.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let pages = Arc::clone(&pages);
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let response = respond(&request, &pages);
                async { Ok::<_, Infallible>(response) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_LIMIT)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            // A client that goes away is no fault of the program.
            let _ = connection.await;
            drop(place);
        });
    }
}

fn respond(request: &Request<Incoming>, pages: &Pages) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        let allowed = HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(ALLOW, allowed);
        return response;
    }
    match pages(request.uri().path()) {
        Some(page) => {
            let mut response = Response::new(Full::from(page.body));
            *response.status_mut() = page.status;
            let content_type = HeaderValue::from_static(page.content_type);
            response.headers_mut().insert(CONTENT_TYPE, content_type);
            response
        }
        None => text(StatusCode::NOT_FOUND, "no such page\n"),
    }
}

fn text(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static(TEXT);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}
