//! A client with a plan: it says hello, does this and that, logs in, talks, and leaves.
//!
//! It is strict about what it hears before it is logged in: every line is untagged, a request to
//! continue, or the answer to a command of its own. What it sends and, once logged in, receives it
//! writes down.

use std::collections::{BTreeSet, VecDeque};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gatepost_core::config::TlsMode;

use super::accounts::{ACCOUNTS, Account, chance};
use super::{Payload, Turn};
use crate::script::Random;

/// A client.
pub(super) struct Client {
    random: Random,
    plan: VecDeque<Intent>,
    awaits: Awaits,
    tls: bool,
    hears: Vec<u8>,
    tags: BTreeSet<String>,
    continuation: VecDeque<Vec<u8>>,
    /// Every octet it sent, TLS taken off.
    pub(super) sent: Vec<u8>,
    /// Where in `sent` its latest login ended.
    pub(super) login_end: usize,
    login: Option<(String, Account)>,
    /// As whom it believes to be logged in.
    pub(super) logged_in: Option<Account>,
    /// Every octet it received once logged in.
    pub(super) received: Vec<u8>,
    chunks: usize,
    has_left: bool,
    pub(super) fault: Option<String>,
}

#[derive(Debug)]
enum Intent {
    StartTls {
        inject: bool,
    },
    Command(&'static str),
    /// So many commands at once that nobody could answer them in one breath.
    Flood,
    /// Answered without a tag.
    Nonsense(&'static str),
    Login {
        account: Account,
        correct: bool,
        way: Way,
        pipelined: bool,
    },
    Silence,
    Leave(Payload),
}

#[derive(Debug, Clone, Copy)]
enum Way {
    Login,
    LoginLiterals,
    LoginWaiting,
    Plain,
    PlainWaiting,
    XOAuth2,
}

#[derive(Debug, PartialEq, Eq)]
enum Awaits {
    /// The handshake before the greeting.
    FirstHello,
    Greeting,
    Tagged(String),
    /// The answer to STARTTLS.
    Go(String),
    Hello,
    /// Its own next idea.
    Nothing,
    /// Whatever comes: it is logged in.
    Anything,
}

const TAGGED: [&str; 6] =
    ["CAPABILITY", "NOOP", "ID NIL", "ID (\"name\" \"sim\")", "FOO", "NOOP x"];
const NONSENSE: [&str; 4] = ["\r\n", "* \r\n", "++\r\n", "\u{1}\r\n"];
const WAYS: [Way; 6] = [
    Way::Login,
    Way::LoginLiterals,
    Way::LoginWaiting,
    Way::Plain,
    Way::PlainWaiting,
    Way::XOAuth2,
];

impl Client {
    pub(super) fn new(seed: u64, tls: TlsMode) -> Self {
        let mut random = Random(seed);
        let plan = plan(&mut random, tls);
        let implicit = tls == TlsMode::Implicit;
        Self {
            chunks: random.below(8),
            random,
            plan,
            awaits: if implicit { Awaits::FirstHello } else { Awaits::Greeting },
            tls: false,
            hears: Vec::new(),
            tags: BTreeSet::new(),
            continuation: VecDeque::new(),
            sent: Vec::new(),
            login_end: 0,
            login: None,
            logged_in: None,
            received: Vec::new(),
            has_left: false,
            fault: None,
        }
    }

    /// It has connected.
    pub(super) fn start(&mut self) -> Turn {
        let mut turn = Turn::default();
        if self.awaits == Awaits::FirstHello {
            turn.sends.push(Payload::Hello);
        }
        turn
    }

    /// It leaves without a word.
    pub(super) fn vanish(&mut self) -> Turn {
        let mut turn = Turn::default();
        let last = if chance(&mut self.random, 50) { Payload::Eof } else { Payload::Reset };
        self.leave(last, &mut turn);
        turn
    }

    /// Something arrived from the proxy.
    pub(super) fn arrive(&mut self, payload: Payload) -> Turn {
        let mut turn = Turn::default();
        match payload {
            Payload::Hello => {
                if !self.hears.is_empty() {
                    self.fault = Some("the client heard something behind STARTTLS's OK".into());
                }
                self.tls = true;
                if self.awaits == Awaits::FirstHello {
                    self.awaits = Awaits::Greeting;
                } else {
                    self.think(&mut turn);
                }
            }
            Payload::Octets { tls, .. } if tls != self.tls => {
                self.fault = Some("octets of another layer reached the client".into());
            }
            Payload::Octets { octets, .. } if self.awaits == Awaits::Anything => {
                self.received.extend_from_slice(&octets);
            }
            Payload::Octets { octets, .. } => {
                self.hears.extend_from_slice(&octets);
                self.listen(&mut turn);
            }
            Payload::Eof | Payload::Reset => self.leave(Payload::Eof, &mut turn),
        }
        turn
    }

    /// Its thinking time is over.
    pub(super) fn tick(&mut self) -> Turn {
        let mut turn = Turn::default();
        if self.has_left {
            return turn;
        }
        if self.awaits == Awaits::Anything {
            self.talk(&mut turn);
        } else if self.awaits == Awaits::Nothing {
            match self.plan.pop_front() {
                Some(intent) => self.follow(intent, &mut turn),
                None => self.leave(Payload::Eof, &mut turn),
            }
        }
        turn
    }

    fn think(&mut self, turn: &mut Turn) {
        self.awaits = Awaits::Nothing;
        turn.tick = Some(self.random.below(400) as u64);
    }

    fn say(&mut self, octets: &[u8], turn: &mut Turn) {
        if !self.has_left {
            self.sent.extend_from_slice(octets);
            turn.octets(self.tls, octets);
        }
    }

    fn leave(&mut self, last: Payload, turn: &mut Turn) {
        if !self.has_left {
            self.has_left = true;
            turn.sends.push(last);
        }
    }

    /// Sends something once logged in; after the last thing, the end.
    fn talk(&mut self, turn: &mut Turn) {
        if self.chunks == 0 {
            // Some are idle until somebody loses patience.
            if chance(&mut self.random, 85) {
                self.leave(Payload::Eof, turn);
            }
            return;
        }
        self.chunks -= 1;
        let octets = noise(&mut self.random);
        self.say(&octets, turn);
        turn.tick = Some(self.random.below(6000) as u64);
    }

    fn follow(&mut self, intent: Intent, turn: &mut Turn) {
        let tag = format!("t{}", self.tags.len());
        match intent {
            Intent::Silence => {}
            Intent::Leave(last) => self.leave(last, turn),
            Intent::Nonsense(text) => {
                self.say(text.as_bytes(), turn);
                self.think(turn);
            }
            Intent::Command(verb) => {
                self.say(format!("{tag} {verb}\r\n").as_bytes(), turn);
                self.tags.insert(tag.clone());
                self.awaits = Awaits::Tagged(tag);
            }
            Intent::Flood => {
                let text = format!("{}{tag} NOOP\r\n", "f CAPABILITY\r\n".repeat(300));
                self.say(text.as_bytes(), turn);
                self.tags.extend([tag.clone(), "f".into()]);
                self.awaits = Awaits::Tagged(tag);
            }
            Intent::StartTls { inject } => {
                let mut text = format!("{tag} STARTTLS\r\n");
                if inject {
                    text.push_str("evil NOOP\r\n");
                }
                self.say(text.as_bytes(), turn);
                self.tags.insert(tag.clone());
                self.awaits = Awaits::Go(tag);
            }
            Intent::Login { account, correct, way, pipelined } => {
                self.log_in(&tag, account, correct, way, turn);
                self.tags.insert(tag.clone());
                self.awaits = Awaits::Tagged(tag.clone());
                self.login = Some((tag, account));
                if pipelined && self.continuation.is_empty() {
                    self.tags.insert("p".into());
                    self.say(b"p NOOP\r\n", turn);
                }
            }
        }
    }

    fn log_in(&mut self, tag: &str, account: Account, correct: bool, way: Way, turn: &mut Turn) {
        let name = account.name();
        let mut password = account.password();
        if !correct {
            password.push(b'x');
        }
        let line = |text: &[u8]| [text, b"\r\n"].concat();
        let start = |verb: &str| format!("{tag} {verb}").into_bytes();
        let plain = STANDARD.encode([b"\0", name.as_bytes(), b"\0", &password].concat());
        let mut pieces = match way {
            Way::Login => vec![
                [start("LOGIN "), quoted(&name.into_bytes()), vec![b' '], quoted(&password)]
                    .concat(),
            ],
            Way::LoginLiterals => {
                let text =
                    format!("LOGIN {{{}+}}\r\n{name} {{{}+}}\r\n", name.len(), password.len());
                vec![[start(&text), password].concat()]
            }
            Way::LoginWaiting => {
                let first = start(&format!("LOGIN {{{}}}", name.len()));
                vec![first, format!("{name} {{{}}}", password.len()).into_bytes(), password]
            }
            Way::Plain => vec![start(&format!("AUTHENTICATE PLAIN {plain}"))],
            Way::PlainWaiting => vec![start("AUTHENTICATE PLAIN"), plain.into_bytes()],
            Way::XOAuth2 => {
                let token = if correct { account.token() } else { "wrong".into() };
                let message = format!("user={name}\u{1}auth=Bearer {token}\u{1}\u{1}");
                let message = STANDARD.encode(message);
                // A refusal comes as a challenge, which is answered with nothing.
                vec![start(&format!("AUTHENTICATE XOAUTH2 {message}")), Vec::new()]
            }
        };
        self.continuation = pieces.drain(1..).map(|piece| line(&piece)).collect();
        let first = line(&pieces[0]);
        self.say(&first, turn);
        self.login_end = self.sent.len();
    }

    /// Takes in what it heard, line by line.
    fn listen(&mut self, turn: &mut Turn) {
        while let Some(end) = self.hears.iter().position(|octet| *octet == b'\n') {
            let line: Vec<u8> = self.hears.drain(..=end).collect();
            let text = String::from_utf8_lossy(&line).into_owned();
            self.take(&text, turn);
            if self.awaits == Awaits::Anything {
                self.received = std::mem::take(&mut self.hears);
                return;
            }
        }
    }

    fn take(&mut self, line: &str, turn: &mut Turn) {
        if line.starts_with("+ ") {
            if let Some(piece) = self.continuation.pop_front() {
                self.say(&piece, turn);
                self.login_end = self.sent.len();
            }
            return;
        }
        if self.awaits == Awaits::Greeting && line.starts_with("* OK") {
            return self.think(turn);
        }
        let (tag, rest) = line.split_once(' ').unwrap_or((line, ""));
        if tag != "*" && !self.tags.contains(tag) {
            self.fault = Some(format!("the client never sent a command {line:?} could answer"));
        }
        let is_ok = rest.starts_with("OK");
        match &self.awaits {
            Awaits::Go(awaited) if awaited == tag => {
                if is_ok {
                    self.awaits = Awaits::Hello;
                    if !self.has_left {
                        turn.sends.push(Payload::Hello);
                    }
                } else {
                    self.think(turn);
                }
            }
            Awaits::Tagged(awaited) if awaited == tag => {
                self.continuation.clear();
                let login = self.login.take_if(|(login, _)| login == tag);
                if let (Some((_, account)), true) = (login, is_ok) {
                    self.logged_in = Some(account);
                    self.awaits = Awaits::Anything;
                    turn.tick = Some(self.random.below(400) as u64);
                } else {
                    self.think(turn);
                }
            }
            Awaits::Go(_)
            | Awaits::Tagged(_)
            | Awaits::FirstHello
            | Awaits::Greeting
            | Awaits::Hello
            | Awaits::Nothing
            | Awaits::Anything => {}
        }
    }
}

fn plan(random: &mut Random, tls: TlsMode) -> VecDeque<Intent> {
    let mut plan = VecDeque::new();
    if tls == TlsMode::StartTls && chance(random, 85) {
        plan.push_back(Intent::StartTls { inject: chance(random, 8) });
    }
    for _ in 0..1 + random.below(4) {
        for _ in 0..random.below(3) {
            plan.push_back(Intent::Command(TAGGED[random.below(TAGGED.len())]));
        }
        if chance(random, 15) {
            plan.push_back(Intent::Nonsense(NONSENSE[random.below(NONSENSE.len())]));
        }
        plan.push_back(match random.below(100) {
            0..2 => Intent::Silence,
            2..4 => Intent::Leave(Payload::Eof),
            4..6 => Intent::Leave(Payload::Reset),
            6..8 => Intent::Command("LOGOUT"),
            8..14 => Intent::Flood,
            _ => Intent::Login {
                account: Account(random.below(ACCOUNTS)),
                correct: chance(random, 75),
                way: WAYS[random.below(WAYS.len())],
                pipelined: chance(random, 40),
            },
        });
    }
    plan
}

fn quoted(text: &[u8]) -> Vec<u8> {
    let mut quoted = vec![b'"'];
    for octet in text {
        if matches!(octet, b'"' | b'\\') {
            quoted.push(b'\\');
        }
        quoted.push(*octet);
    }
    quoted.push(b'"');
    quoted
}

/// What passes once bytes pass: anything.
pub(super) fn noise(random: &mut Random) -> Vec<u8> {
    let scale = 1 << random.below(13);
    let length = 1 + random.below(scale);
    (0..length).map(|_| random.below(256) as u8).collect()
}
