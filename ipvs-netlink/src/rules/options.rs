use super::{Form, ParseError, Problem, word::Word};

/// An option that is not a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Tcp,
    Udp,
    Sctp,
    Mark,
    Ipv6,
    Scheduler,
    SchedulerFlags,
    Persistent,
    Netmask,
    Engine,
    OnePacket,
    RealServer,
    DirectRoute,
    Tunnel,
    Masquerade,
    Local,
    Bypass,
    OwnPort,
    Weight,
    Upper,
    Lower,
    TunnelType,
    TunnelPort,
    NoChecksum,
    Checksum,
    RemoteChecksum,
    Numeric,
    Connections,
    Timeouts,
    Daemons,
    Stats,
    Rates,
    Exact,
    Thresholds,
    PersistentConnections,
    TunnelInfo,
    NoSort,
    Sort,
    SyncId,
    Interface,
    Group,
    Port,
    Ttl,
    MaxLength,
}

/// The value of an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    Nothing,
    Value,
    /// A value, if there is one that does not look like an option.
    PerhapsValue,
}

/// The forwarding method that ipvsadm 1.31 prints for a destination of the bypass method, for which
/// it has no name.
pub(super) const UNNAMED_METHOD: &str = "(null)";

struct Row {
    name: Name,
    long: &'static str,
    short: Option<char>,
    takes: Takes,
}

const fn row(name: Name, long: &'static str, short: Option<char>, takes: Takes) -> Row {
    Row {
        name,
        long,
        short,
        takes,
    }
}

use Takes::{Nothing, PerhapsValue, Value};

const ROWS: &[Row] = &[
    row(Name::Tcp, "--tcp-service", Some('t'), Value),
    row(Name::Udp, "--udp-service", Some('u'), Value),
    row(Name::Sctp, "--sctp-service", None, Value),
    row(Name::Mark, "--fwmark-service", Some('f'), Value),
    row(Name::Ipv6, "--ipv6", Some('6'), Nothing),
    row(Name::Scheduler, "--scheduler", Some('s'), Value),
    row(Name::SchedulerFlags, "--sched-flags", Some('b'), Value),
    row(Name::Persistent, "--persistent", Some('p'), PerhapsValue),
    row(Name::Netmask, "--netmask", Some('M'), Value),
    row(Name::Engine, "--pe", None, Value),
    row(Name::OnePacket, "--ops", Some('o'), Nothing),
    row(Name::RealServer, "--real-server", Some('r'), Value),
    row(Name::DirectRoute, "--gatewaying", Some('g'), Nothing),
    row(Name::Tunnel, "--ipip", Some('i'), Nothing),
    row(Name::Masquerade, "--masquerading", Some('m'), Nothing),
    row(Name::Local, "--local", None, Nothing),
    row(Name::Bypass, "--bypass", None, Nothing),
    row(Name::OwnPort, "--own-port", None, Nothing),
    row(Name::Weight, "--weight", Some('w'), Value),
    row(Name::Upper, "--u-threshold", Some('x'), Value),
    row(Name::Lower, "--l-threshold", Some('y'), Value),
    row(Name::TunnelType, "--tun-type", None, Value),
    row(Name::TunnelPort, "--tun-port", None, Value),
    row(Name::NoChecksum, "--tun-nocsum", None, Nothing),
    row(Name::Checksum, "--tun-csum", None, Nothing),
    row(Name::RemoteChecksum, "--tun-remcsum", None, Nothing),
    row(Name::Numeric, "--numeric", Some('n'), Nothing),
    row(Name::Connections, "--connection", Some('c'), Nothing),
    row(Name::Timeouts, "--timeout", None, Nothing),
    row(Name::Daemons, "--daemon", None, Nothing),
    row(Name::Stats, "--stats", None, Nothing),
    row(Name::Rates, "--rate", None, Nothing),
    row(Name::Exact, "--exact", Some('X'), Nothing),
    row(Name::Thresholds, "--thresholds", None, Nothing),
    row(
        Name::PersistentConnections,
        "--persistent-conn",
        None,
        Nothing,
    ),
    row(Name::TunnelInfo, "--tun-info", None, Nothing),
    row(Name::NoSort, "--nosort", None, Nothing),
    row(Name::Sort, "--sort", None, Nothing),
    row(Name::SyncId, "--syncid", None, Value),
    row(Name::Interface, "--mcast-interface", None, Value),
    row(Name::Group, "--mcast-group", None, Value),
    row(Name::Port, "--mcast-port", None, Value),
    row(Name::Ttl, "--mcast-ttl", None, Value),
    row(Name::MaxLength, "--sync-maxlen", None, Value),
];

impl Name {
    /// The group of options that excludes others of the group: a second `-t` and a `-u` after `-t`
    /// are the same mistake.
    fn group(self) -> Option<&'static str> {
        match self {
            Self::Tcp | Self::Udp | Self::Sctp | Self::Mark => Some("the service"),
            Self::DirectRoute | Self::Tunnel | Self::Masquerade | Self::Local | Self::Bypass => {
                Some("the forwarding method")
            }
            // ipvsadm accepts these any number of times.
            Self::Ipv6 | Self::Sort => None,
            name => Some(name.long()),
        }
    }

    pub(crate) fn long(self) -> &'static str {
        ROWS.iter()
            .find(|row| row.name == self)
            .map_or("", |row| row.long)
    }

    fn is_extension(self) -> bool {
        matches!(self, Self::Local | Self::Bypass | Self::OwnPort)
    }
}

/// A command by the word or letter for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    AddService,
    EditService,
    DeleteService,
    AddServer,
    EditServer,
    DeleteServer,
    Clear,
    Zero,
    List,
    Save,
    Restore,
    Set,
    StartDaemon,
    StopDaemon,
    Help,
    Version,
}

const VERBS: &[(Verb, &str, &[char], Takes)] = &[
    (Verb::AddService, "--add-service", &['A'], Nothing),
    (Verb::EditService, "--edit-service", &['E'], Nothing),
    (Verb::DeleteService, "--delete-service", &['D'], Nothing),
    (Verb::AddServer, "--add-server", &['a'], Nothing),
    (Verb::EditServer, "--edit-server", &['e'], Nothing),
    (Verb::DeleteServer, "--delete-server", &['d'], Nothing),
    (Verb::Clear, "--clear", &['C'], Nothing),
    (Verb::Zero, "--zero", &['Z'], Nothing),
    (Verb::List, "--list", &['L', 'l'], Nothing),
    (Verb::Save, "--save", &['S'], Nothing),
    (Verb::Restore, "--restore", &['R'], Nothing),
    (Verb::Set, "--set", &[], Nothing),
    (Verb::StartDaemon, "--start-daemon", &[], Value),
    (Verb::StopDaemon, "--stop-daemon", &[], Value),
    (Verb::Help, "--help", &['h'], Nothing),
    (Verb::Version, "--version", &['v'], Nothing),
];

impl Verb {
    pub(crate) fn long(self) -> &'static str {
        VERBS
            .iter()
            .find(|(verb, ..)| *verb == self)
            .map_or("", |(_, long, ..)| long)
    }
}

#[derive(Clone, Copy, Debug)]
enum Entry {
    Verb(Verb),
    Name(Name),
}

/// An option of a command line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Given<'a> {
    pub(crate) name: Name,
    /// The word with the option, which may hold others too.
    word: Word<'a>,
    /// Its value; empty for an option without.
    pub(crate) value: Option<Word<'a>>,
}

impl Given<'_> {
    /// An error at the option.
    pub(crate) fn refused(&self, problem: Problem) -> ParseError {
        self.word.refused(problem)
    }
}

/// A command with its options, as popt divides words.
#[derive(Clone, Debug)]
pub(crate) struct Options<'a> {
    pub(crate) verb: Verb,
    /// The word with the command.
    pub(crate) command: Word<'a>,
    /// The value of the command.
    pub(crate) value: Option<Word<'a>>,
    /// Words that belong to no option.
    pub(crate) rest: Vec<Word<'a>>,
    given: Vec<Given<'a>>,
}

impl<'a> Options<'a> {
    /// Divides the words of a command. There is at least one.
    pub(crate) fn read(form: Form, words: &[Word<'a>]) -> Result<Self, ParseError> {
        Divider {
            form,
            words,
            next: 0,
        }
        .run()
    }

    pub(crate) fn get(&self, name: Name) -> Option<&Given<'a>> {
        self.given.iter().find(|given| given.name == name)
    }

    pub(crate) fn has(&self, name: Name) -> bool {
        self.get(name).is_some()
    }

    /// The value of an option.
    pub(crate) fn value(&self, name: Name) -> Option<Word<'a>> {
        self.get(name)?.value
    }

    /// The first given option of several.
    pub(crate) fn one_of(&self, names: &[Name]) -> Option<&Given<'a>> {
        self.given.iter().find(|given| names.contains(&given.name))
    }

    /// An error of the command as a whole.
    pub(crate) fn refused(&self, problem: Problem) -> ParseError {
        self.command.refused(problem)
    }

    /// Refuses every option that is not among these.
    pub(crate) fn only(&self, names: &[Name]) -> Result<(), ParseError> {
        if let Some(word) = self.rest.first() {
            return Err(word.refused(Problem::UnexpectedWord));
        }
        let foreign = |given: &&Given<'a>| given.name != Name::Sort && !names.contains(&given.name);
        match self.given.iter().find(foreign) {
            Some(given) if given.name == Name::Ipv6 => {
                Err(given.refused(Problem::FamilyWithoutMark))
            }
            Some(given) => Err(given.refused(Problem::NotTaken {
                command: self.verb.long(),
            })),
            None => Ok(()),
        }
    }

    fn add(&mut self, given: Given<'a>) -> Result<(), ParseError> {
        let group = given.name.group();
        if let Some(group) = group
            && self
                .given
                .iter()
                .any(|other| other.name.group() == Some(group))
        {
            return Err(given.refused(Problem::Repeated(group)));
        }
        if given.name == Name::Ipv6 && !self.has(Name::Mark) {
            return Err(given.refused(Problem::FamilyWithoutMark));
        }
        self.given.push(given);
        Ok(())
    }
}

struct Divider<'w, 'a> {
    form: Form,
    words: &'w [Word<'a>],
    next: usize,
}

impl<'a> Divider<'_, 'a> {
    fn run(mut self) -> Result<Options<'a>, ParseError> {
        let mut options: Option<Options<'a>> = None;
        while let Some(word) = self.take() {
            if word.text == "--" {
                for word in std::iter::from_fn(|| self.take()) {
                    Self::bare(&mut options, word)?;
                }
            } else if word.text.starts_with("--") {
                self.long(&mut options, word)?;
            } else if word.text.len() > 1 && word.text.starts_with('-') {
                self.bundle(&mut options, word)?;
            } else if let Some(options) = &mut options
                && word.text == UNNAMED_METHOD
                && matches!(options.verb, Verb::AddServer | Verb::EditServer)
            {
                options.add(Given {
                    name: Name::Bypass,
                    word,
                    value: None,
                })?;
            } else if options.is_none() && self.words.len() == 1 {
                return Err(word.refused(Problem::NoCommand));
            } else {
                Self::bare(&mut options, word)?;
            }
            if let Some(Options {
                verb: Verb::Help | Verb::Version,
                ..
            }) = options
            {
                break;
            }
        }
        options.ok_or_else(|| match self.words.first() {
            Some(word) => word.refused(Problem::NoCommand),
            None => ParseError {
                place: super::Place::Word(1),
                word: String::new(),
                problem: Problem::NoCommand,
            },
        })
    }

    fn take(&mut self) -> Option<Word<'a>> {
        let word = self.words.get(self.next).copied();
        self.next += usize::from(word.is_some());
        word
    }

    /// A word that belongs to no option.
    fn bare(options: &mut Option<Options<'a>>, word: Word<'a>) -> Result<(), ParseError> {
        match options {
            Some(options) if options.verb == Verb::Set => {
                options.rest.push(word);
                Ok(())
            }
            _ => Err(word.refused(Problem::UnexpectedWord)),
        }
    }

    fn long(
        &mut self,
        options: &mut Option<Options<'a>>,
        word: Word<'a>,
    ) -> Result<(), ParseError> {
        let (text, value) = match word.text.split_once('=') {
            Some((text, value)) => (
                text,
                Some(Word {
                    text: value,
                    ..word
                }),
            ),
            None => (word.text, None),
        };
        let name = ROWS
            .iter()
            .find(|row| row.long == text)
            .map(|row| (Entry::Name(row.name), row.takes));
        let verb = VERBS
            .iter()
            .find(|(_, long, ..)| *long == text)
            .map(|(verb, .., takes)| (Entry::Verb(*verb), *takes));
        self.entry(options, name.or(verb), word, value)
    }

    fn bundle(
        &mut self,
        options: &mut Option<Options<'a>>,
        word: Word<'a>,
    ) -> Result<(), ParseError> {
        let mut letters = word.text[1..].chars();
        while let Some(letter) = letters.next() {
            let name = ROWS
                .iter()
                .find(|row| row.short == Some(letter))
                .map(|row| (Entry::Name(row.name), row.takes));
            let verb = VERBS
                .iter()
                .find(|(_, _, letters, _)| letters.contains(&letter))
                .map(|(verb, .., takes)| (Entry::Verb(*verb), *takes));
            let entry = name.or(verb);
            let left = letters.as_str();
            let value = match entry {
                Some((_, Value | PerhapsValue)) if !left.is_empty() => {
                    letters = "".chars();
                    Some(left.strip_prefix('=').unwrap_or(left))
                }
                _ => left.strip_prefix('='),
            };
            let value = value.map(|text| Word { text, ..word });
            self.entry(options, entry, word, value)?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        options: &mut Option<Options<'a>>,
        entry: Option<(Entry, Takes)>,
        word: Word<'a>,
        attached: Option<Word<'a>>,
    ) -> Result<(), ParseError> {
        // Without a command ipvsadm does not look at the rest.
        if options.is_none() && !matches!(entry, Some((Entry::Verb(_), _))) {
            return Err(word.refused(Problem::NoCommand));
        }
        let Some((entry, takes)) = entry else {
            return Err(word.refused(Problem::UnknownOption));
        };
        let follows = self.words.get(self.next);
        let value = match (takes, attached) {
            (Nothing, Some(_)) => return Err(word.refused(Problem::UnexpectedValue)),
            (Nothing, None) => None,
            (_, Some(value)) => Some(value),
            (PerhapsValue, None) if follows.is_none_or(|word| word.text.starts_with('-')) => None,
            (_, None) => match self.take() {
                Some(value) => Some(value),
                None => return Err(word.refused(Problem::MissingValue)),
            },
        };
        match (entry, options) {
            (Entry::Verb(verb), options @ None) => {
                *options = Some(Options {
                    verb,
                    command: word,
                    value,
                    rest: Vec::new(),
                    given: Vec::new(),
                });
                Ok(())
            }
            (Entry::Verb(_), Some(_)) => Err(word.refused(Problem::SecondCommand)),
            (Entry::Name(name), Some(_)) if self.form == Form::Ipvsadm && name.is_extension() => {
                Err(word.refused(Problem::UnknownOption))
            }
            (Entry::Name(name), Some(options)) => options.add(Given { name, word, value }),
            (Entry::Name(_), None) => Err(word.refused(Problem::NoCommand)),
        }
    }
}
