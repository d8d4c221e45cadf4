//! The servers: each greets a client with its number, then echoes its octets.

use std::{
    io,
    net::SocketAddr,
    thread::{self, JoinHandle},
};

use tokio::{
    io::{AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
    runtime::Builder,
    sync::oneshot,
};
use vrrp_lab::Namespace;

use super::Failure;

/// A running server. It ends with this value, and so do its connections.
#[derive(Debug)]
pub(super) struct Server {
    running: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(super) fn start(
        namespace: &Namespace,
        address: SocketAddr,
        number: usize,
    ) -> Result<Self, Failure> {
        // Connections in TIME_WAIT do not prevent its next start: tokio sets SO_REUSEADDR.
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let namespace = namespace.clone();
        let (running, end) = oneshot::channel();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let serve = move || {
            if let Err(error) = namespace.enter() {
                let _ = ready.send(Err(io::Error::other(error)));
                return;
            }
            runtime.block_on(async {
                let listener = match TcpListener::bind(address).await {
                    Ok(listener) => listener,
                    Err(error) => {
                        let _ = ready.send(Err(error));
                        return;
                    }
                };
                let _ = ready.send(Ok(()));
                tokio::select! {
                    () = accept(&listener, number) => {}
                    _ = end => {}
                }
            });
        };
        let thread = thread::Builder::new().name("server".into()).spawn(serve)?;
        is_ready.recv()??;
        Ok(Self {
            running: Some(running),
            thread: Some(thread),
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.running.take();
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

async fn accept(listener: &TcpListener, number: usize) {
    loop {
        // A client that has already gone does not count.
        if let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, number));
        }
    }
}

async fn answer(mut stream: TcpStream, number: usize) -> io::Result<()> {
    let number = u8::try_from(number).unwrap_or(u8::MAX);
    stream.write_all(&[number]).await?;
    let (mut reader, mut writer) = stream.split();
    copy(&mut reader, &mut writer).await?;
    Ok(())
}
