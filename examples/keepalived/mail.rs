//! Sends mails, from a thread of its own.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{self, Receiver, SyncSender, TrySendError},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use lettre::{SmtpTransport, Transport as _, transport::smtp::extension::ClientId};
use vrrp_examples::keepalived::mail::{Alert, MailSettings};

use crate::log::Log;

/// The most mails that may wait.
const WAITING: usize = 1024;

/// The time between two checks whether the thread has ended.
const PAUSE: Duration = Duration::from_millis(5);

/// Accepts mails from any thread without blocking: a slow server delays only mails.
#[derive(Clone, Debug)]
pub(crate) struct Mailer {
    log: Log,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    settings: Option<Arc<MailSettings>>,
    /// The thread, once there has been a mail.
    thread: Option<(SyncSender<Job>, JoinHandle<()>)>,
}

/// A queued mail, with the settings at the time of its change.
struct Job {
    settings: Arc<MailSettings>,
    alert: Alert,
}

impl Mailer {
    pub(crate) fn new(log: Log) -> Self {
        Self {
            log,
            shared: Arc::default(),
        }
    }

    /// Sets the server and the recipients. With `None`, no mails are sent.
    pub(crate) fn set(&self, settings: Option<MailSettings>) {
        self.lock().settings = settings.map(Arc::new);
    }

    /// Whether faults are not mailed.
    pub(crate) fn is_without_faults(&self) -> bool {
        let settings = &self.lock().settings;
        settings.as_ref().is_some_and(|it| it.without_faults)
    }

    /// Queues a mail. If the queue is full, the mail is lost, which is logged.
    pub(crate) fn send(&self, alert: Alert) {
        let shared = &mut *self.lock();
        let Some(settings) = shared.settings.clone() else {
            return;
        };
        let (sender, _) = match &mut shared.thread {
            Some(thread) => thread,
            none => match self.start() {
                Ok(thread) => none.insert(thread),
                Err(error) => {
                    self.log.warning(&format!("no thread for mails: {error}"));
                    return;
                }
            },
        };
        match sender.try_send(Job { settings, alert }) {
            Ok(()) => {}
            Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) => self.log.warning(
                &format!("the mail {:?} is lost: {WAITING} wait", job.alert.subject),
            ),
        }
    }

    fn start(&self) -> std::io::Result<(SyncSender<Job>, JoinHandle<()>)> {
        let (sender, jobs) = mpsc::sync_channel(WAITING);
        let log = self.log.clone();
        let thread = thread::Builder::new()
            .name("mail".into())
            .spawn(move || serve(&jobs, &log))?;
        Ok((sender, thread))
    }

    /// Waits until all mails are sent, for a bounded time.
    pub(crate) fn close(&self, limit: Duration) {
        let Some((sender, thread)) = self.lock().thread.take() else {
            return;
        };
        drop(sender);
        let end = Instant::now() + limit;
        while !thread.is_finished() && Instant::now() < end {
            thread::sleep(PAUSE);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn serve(jobs: &Receiver<Job>, log: &Log) {
    for Job { settings, alert } in jobs {
        match send(&settings, &alert) {
            Ok(()) => log.detail(&format!("mailed: {}", alert.subject)),
            Err(error) => log.warning(&format!("the mail {:?} is lost: {error}", alert.subject)),
        }
    }
}

/// Sends a mail over a connection of its own, without encryption, as keepalived does.
fn send(settings: &MailSettings, alert: &Alert) -> Result<(), crate::Error> {
    let message = settings.message(alert)?;
    let server = settings.server;
    SmtpTransport::builder_dangerous(server.ip().to_string())
        .port(server.port())
        .hello_name(ClientId::Domain(settings.helo.clone()))
        .timeout(Some(settings.time_limit))
        .build()
        .send(&message)?;
    Ok(())
}
