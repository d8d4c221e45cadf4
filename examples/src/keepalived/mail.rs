//! Mails about changes: `smtp_alert`.

use std::{net::SocketAddr, time::Duration};

use ipvs_netlink::pool;
use lettre::{
    Address, Message,
    message::{Mailbox, header::ContentType},
};

use super::{
    event::{Change, Event, Party},
    server_event::ServerEvent,
};
use crate::keepalived_conf::configuration::Global;

/// The time limit of a connection where `smtp_connect_timeout` gives none.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// The server that accepts mails, and their recipients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailSettings {
    /// `smtp_server`.
    pub server: SocketAddr,
    /// `smtp_helo_name`. Default: the name of the host.
    pub helo: String,
    /// `smtp_connect_timeout`: for the connection, and for each answer.
    pub time_limit: Duration,
    /// `router_id`. Default: the name of the host.
    pub router: String,
    /// `notification_email_from`. Default: `root` on the host.
    pub from: Mailbox,
    /// `notification_email`.
    pub to: Vec<Mailbox>,
    /// `no_email_faults`: no mails about faults.
    pub without_faults: bool,
}

impl MailSettings {
    /// Reads the settings; `None` without a server or without a recipient. `notes` gets a sentence
    /// for each address that cannot be used.
    #[must_use]
    pub fn of(global: &Global, host: &str, notes: &mut Vec<String>) -> Option<Self> {
        let mut mailbox = |word: &str, text: &str| {
            let found = mailbox(text, host);
            if found.is_none() {
                notes.push(format!(
                    "{word}: {text:?} is no mail address: it is not used"
                ));
            }
            found
        };
        let from = global.text("notification_email_from");
        let from = from.and_then(|text| mailbox("notification_email_from", text));
        let to: Vec<Mailbox> = global
            .email_recipients
            .iter()
            .filter_map(|text| mailbox("notification_email", text))
            .collect();
        let limit = global.numbers.get("smtp_connect_timeout");
        let limit = limit.and_then(|seconds| u64::try_from(*seconds).ok());
        let text = |word| global.text(word).unwrap_or(host).to_owned();
        let from = from.or_else(|| mailbox("notification_email_from", "root"))?;
        Some(Self {
            server: global.smtp_server.filter(|_| !to.is_empty())?.into(),
            helo: text("smtp_helo_name"),
            time_limit: limit.map_or(TIME_LIMIT, Duration::from_secs),
            router: text("router_id"),
            from,
            to,
            without_faults: global.has("no_email_faults"),
        })
    }

    /// A mail about a change.
    ///
    /// # Errors
    ///
    /// The error of the library, for an address that a mail cannot have.
    pub fn message(&self, alert: &Alert) -> Result<Message, lettre::error::Error> {
        let mut message = Message::builder()
            .from(self.from.clone())
            .subject(format!("[{}] {}", self.router, alert.subject))
            .date_now()
            .header(ContentType::TEXT_PLAIN);
        for recipient in &self.to {
            message = message.to(recipient.clone());
        }
        message.body(format!("{}\r\n", alert.text))
    }
}

/// An address with or without a name. A user without a domain belongs to this host, or to
/// `localhost` if the name of the host cannot be part of an address.
fn mailbox(text: &str, host: &str) -> Option<Mailbox> {
    if let Ok(mailbox) = text.parse() {
        return Some(mailbox);
    }
    let bare = !text.contains(['@', '<', ' ']);
    let mut hosts = [host, "localhost"].into_iter().filter(|_| bare);
    let address = hosts.find_map(|host| Address::new(text, host).ok());
    address.map(|address| Mailbox::new(None, address))
}

/// The content of a mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// The subject, after the name of the router.
    pub subject: String,
    /// The text.
    pub text: String,
}

impl Alert {
    /// The mail about a change of an instance or a sync group, if there is one.
    #[must_use]
    pub fn of_event(event: &Event) -> Option<Self> {
        let words = match (event.change, event.party) {
            (Change::Master, _) => "Entering MASTER state",
            (Change::Backup, _) => "Entering BACKUP state",
            (Change::Fault | Change::Removed, _) => "Entering FAULT state",
            (Change::Stop, _) => "Stopping",
            (Change::Deleted, Party::Instance) => "Deleted",
            _ => return None,
        };
        let name = &event.name;
        let state = event.change.word();
        Some(match event.party {
            Party::Instance => Self {
                subject: format!("VRRP Instance {name} - {words}"),
                text: format!("{name}: {state}, priority {}", event.priority),
            },
            Party::Group => Self {
                subject: format!("VRRP Group {name} - {words}"),
                text: format!("{name}: all instances are {state}"),
            },
        })
    }

    /// The mail about a change of a real server or a quorum, if there is one. Servers that a new
    /// configuration adds have none.
    #[must_use]
    pub fn of_server(event: &ServerEvent<'_>, of_pool: &pool::Event) -> Option<Self> {
        let is_new =
            event.is_up && event.server.is_some() && of_pool.cause == pool::Cause::Configuration;
        (event.is_mailed() && !is_new).then(|| Self {
            subject: event.mail_subject(),
            text: of_pool.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use vrrp_proto::Priority;

    use super::*;

    fn global() -> Global {
        Global {
            email_recipients: vec!["root".into(), "Night Shift <night@example.org>".into()],
            smtp_server: Some((Ipv4Addr::LOCALHOST.into(), 25)),
            ..Global::default()
        }
    }

    #[test]
    fn mails_need_a_server_and_a_recipient() {
        let of = |global: &Global| MailSettings::of(global, "host.example", &mut Vec::new());
        let settings = of(&global()).unwrap();
        let to: Vec<String> = settings.to.iter().map(ToString::to_string).collect();
        assert_eq!(to, ["root@host.example", "Night Shift <night@example.org>"]);
        assert_eq!(settings.from.to_string(), "root@host.example");
        assert_eq!(
            (&*settings.helo, &*settings.router),
            ("host.example", "host.example")
        );
        let nameless = MailSettings::of(&global(), "(none)", &mut Vec::new());
        assert_eq!(nameless.unwrap().from.to_string(), "root@localhost");
        let no_server = Global {
            smtp_server: None,
            ..global()
        };
        assert_eq!(of(&no_server), None);
        let nobody = Global {
            email_recipients: vec!["a b".into()],
            ..global()
        };
        let mut notes = Vec::new();
        assert_eq!(MailSettings::of(&nobody, "host", &mut notes), None);
        assert!(notes[0].contains("\"a b\" is no mail address"), "{notes:?}");
    }

    #[test]
    fn a_change_of_state_has_the_subject_of_keepalived() {
        let priority = Priority::new(7);
        for (change, words) in [
            (Change::Master, Some("Entering MASTER state")),
            (Change::Backup, Some("Entering BACKUP state")),
            (Change::Fault, Some("Entering FAULT state")),
            (Change::Stop, Some("Stopping")),
            (Change::Deleted, Some("Deleted")),
            (Change::RivalDetected, None),
            (Change::MasterPriority, None),
        ] {
            let alert = Alert::of_event(&Event::of_instance("V", change, priority));
            let expected = words.map(|words| format!("VRRP Instance V - {words}"));
            assert_eq!(alert.map(|it| it.subject), expected);
            let alert = Alert::of_event(&Event::of_group("G", change));
            let words = words.filter(|_| change != Change::Deleted);
            let expected = words.map(|words| format!("VRRP Group G - {words}"));
            assert_eq!(alert.map(|it| it.subject), expected);
        }
    }
}
