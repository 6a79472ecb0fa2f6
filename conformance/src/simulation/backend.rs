//! A backend on one connection: correct in many manners, until it has had enough of that.
//!
//! It knows who lives with it, and is strict about what it hears before it has accepted a login:
//! commands of the proxy's, credentials of its own accounts, and none of them without TLS where
//! TLS is due. Once it has accepted one it writes down what it says and hears.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gatepost_core::config::TlsMode;

use super::accounts::{Account, chance};
use super::client::noise;
use super::{Payload, Turn};
use crate::script::Random;

/// A backend on one connection.
pub(super) struct Backend {
    random: Random,
    pub(super) site: usize,
    mode: TlsMode,
    manners: Manners,
    tls: bool,
    state: State,
    hears: Vec<u8>,
    /// A command whose literals are not complete yet.
    begun: Vec<u8>,
    /// Octets of a literal that are due.
    literal: usize,
    /// Commands answered so far.
    replies: usize,
    /// Whom it has accepted.
    pub(super) accepted: Option<Account>,
    /// It accepted somebody before it was asked, and took no notice of anything since.
    pub(super) is_eager: bool,
    /// Every octet it said for the client, behind its acceptance.
    pub(super) said: Vec<u8>,
    /// Every octet of the client's it heard.
    pub(super) heard: Vec<u8>,
    chunks: usize,
    has_ended: bool,
    pub(super) fault: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// TLS comes first.
    FirstHello,
    /// Commands.
    Ready,
    /// STARTTLS is agreed.
    Hello,
    /// A SASL message of that mechanism.
    Message,
    /// Anything, then the refusal of a token.
    Doomed,
    /// Accepted; CAPABILITY is still to come.
    Settling,
    /// Accepted: what comes is the client's.
    Relay,
    /// It has misbehaved, and does not listen any more.
    Deaf,
}

/// How it behaves.
#[derive(Debug)]
struct Manners {
    greets_with_list: bool,
    initial: bool,
    plain: bool,
    literal_plus: bool,
    id: bool,
    accepts: Acceptance,
    /// Says something right behind its acceptance.
    goes_on: bool,
    /// At which reply it misbehaves, the greeting being 0, and how.
    evil: Option<(usize, Evil)>,
}

#[derive(Debug, Clone, Copy)]
enum Acceptance {
    WithList,
    BehindList,
    Bare,
}

#[derive(Debug, Clone, Copy)]
enum Evil {
    Eof,
    Reset,
    Silence,
    Garbage,
    /// Accepts a login that nobody asked for.
    Eager,
    Bye,
    Preauth,
    Endless,
    Continue,
    Unavailable,
    Bad,
}

const EVILS: [Evil; 11] = [
    Evil::Eof,
    Evil::Reset,
    Evil::Silence,
    Evil::Garbage,
    Evil::Eager,
    Evil::Bye,
    Evil::Preauth,
    Evil::Endless,
    Evil::Continue,
    Evil::Unavailable,
    Evil::Bad,
];

impl Manners {
    fn random(random: &mut Random) -> Self {
        let accepts = [Acceptance::WithList, Acceptance::BehindList, Acceptance::Bare];
        Self {
            greets_with_list: chance(random, 70),
            initial: chance(random, 70),
            plain: chance(random, 75),
            literal_plus: chance(random, 50),
            id: chance(random, 60),
            accepts: accepts[random.below(3)],
            goes_on: chance(random, 50),
            evil: chance(random, 20).then(|| (random.below(5), EVILS[random.below(EVILS.len())])),
        }
    }
}

impl Backend {
    pub(super) fn new(seed: u64, site: usize, mode: TlsMode) -> Self {
        let mut random = Random(seed);
        let manners = Manners::random(&mut random);
        Self {
            chunks: random.below(6),
            site,
            mode,
            manners,
            tls: false,
            state: if mode == TlsMode::Implicit { State::FirstHello } else { State::Ready },
            hears: Vec::new(),
            begun: Vec::new(),
            literal: 0,
            replies: 0,
            accepted: None,
            is_eager: false,
            said: Vec::new(),
            heard: Vec::new(),
            has_ended: false,
            fault: None,
            random,
        }
    }

    /// Somebody has connected.
    pub(super) fn start(&mut self) -> Turn {
        let mut turn = Turn::default();
        if self.state == State::Ready {
            self.greet(&mut turn);
        }
        turn
    }

    /// Something arrived from the proxy.
    pub(super) fn arrive(&mut self, payload: Payload) -> Turn {
        let mut turn = Turn::default();
        match payload {
            _ if self.state == State::Deaf => {}
            Payload::Hello => {
                turn.sends.push(Payload::Hello);
                self.tls = true;
                if self.state == State::FirstHello {
                    self.state = State::Ready;
                    self.greet(&mut turn);
                } else {
                    self.state = State::Ready;
                }
            }
            Payload::Octets { tls, .. } if tls != self.tls => {
                self.fault = Some("octets of another layer reached the backend".into());
            }
            Payload::Octets { octets, .. } if self.state == State::Relay => {
                self.heard.extend_from_slice(&octets);
                if chance(&mut self.random, 60) {
                    let answer = noise(&mut self.random);
                    self.tell(&answer, &mut turn);
                }
            }
            Payload::Octets { octets, .. } => {
                self.hears.extend_from_slice(&octets);
                self.listen(&mut turn);
            }
            Payload::Eof if self.state == State::Relay => {
                let last = noise(&mut self.random);
                self.tell(&last, &mut turn);
                self.end(Payload::Eof, &mut turn);
            }
            Payload::Eof | Payload::Reset => self.end(Payload::Eof, &mut turn),
        }
        turn
    }

    /// Says something unasked, once it may; at last some end it.
    pub(super) fn tick(&mut self) -> Turn {
        let mut turn = Turn::default();
        if self.state != State::Relay || self.has_ended {
            return turn;
        }
        if self.chunks > 0 {
            self.chunks -= 1;
            let octets = noise(&mut self.random);
            self.tell(&octets, &mut turn);
            turn.tick = Some(self.random.below(5000) as u64);
        } else if chance(&mut self.random, 15) {
            self.end(Payload::Eof, &mut turn);
        } else if chance(&mut self.random, 5) {
            self.end(Payload::Reset, &mut turn);
        }
        turn
    }

    fn end(&mut self, last: Payload, turn: &mut Turn) {
        if !self.has_ended {
            self.has_ended = true;
            turn.sends.push(last);
        }
    }

    fn say(&mut self, text: &str, turn: &mut Turn) {
        if !self.has_ended {
            turn.octets(self.tls, text.as_bytes());
        }
    }

    /// Says something for the client.
    fn tell(&mut self, octets: &[u8], turn: &mut Turn) {
        if !self.has_ended {
            self.said.extend_from_slice(octets);
            turn.octets(self.tls, octets);
        }
    }

    fn list(&self) -> String {
        let mut list = String::from("IMAP4rev1");
        let manners = &self.manners;
        let must_plain = manners.plain || self.mode == TlsMode::StartTls && !self.tls;
        for (has, word) in [
            (manners.initial, " SASL-IR"),
            (must_plain, " AUTH=PLAIN"),
            (true, " AUTH=XOAUTH2"),
            (manners.literal_plus, " LITERAL+"),
            (manners.id, " ID"),
            (self.mode == TlsMode::StartTls && !self.tls, " STARTTLS"),
        ] {
            list.push_str(if has { word } else { "" });
        }
        list
    }

    fn greet(&mut self, turn: &mut Turn) {
        if self.misbehaves(turn) {
            return;
        }
        let code = format!("[CAPABILITY {}] ", self.list());
        let code = if self.manners.greets_with_list { &code } else { "" };
        self.say(&format!("* OK {code}hello\r\n"), turn);
    }

    /// Counts a reply; at the appointed one it does something else instead.
    fn misbehaves(&mut self, turn: &mut Turn) -> bool {
        let reply = self.replies;
        self.replies += 1;
        let Some((_, evil)) = self.manners.evil.filter(|(at, _)| *at == reply) else {
            return false;
        };
        match evil {
            Evil::Eof => self.end(Payload::Eof, turn),
            Evil::Reset => self.end(Payload::Reset, turn),
            Evil::Silence => {}
            Evil::Garbage => self.say("\u{0}\u{7f} junk\r\n", turn),
            Evil::Eager => {
                self.is_eager = true;
                let list = self.list();
                self.say(&format!("* OK [CAPABILITY {list}] hello\r\nL OK come in\r\n"), turn);
            }
            Evil::Bye => self.say("* BYE no\r\n", turn),
            Evil::Preauth => self.say("* PREAUTH come in\r\n", turn),
            Evil::Endless => self.say(&"x".repeat(9000), turn),
            Evil::Continue => self.say("+ more\r\n", turn),
            Evil::Unavailable => self.say("L NO [UNAVAILABLE] later\r\n", turn),
            Evil::Bad => self.say("L BAD what\r\n", turn),
        }
        self.state = State::Deaf;
        true
    }

    /// Takes in what it heard, line by line and literal by literal.
    fn listen(&mut self, turn: &mut Turn) {
        loop {
            if matches!(self.state, State::Relay | State::Deaf) {
                if self.state == State::Relay {
                    self.heard.append(&mut self.hears);
                }
                return;
            }
            if self.literal > 0 {
                let count = self.literal.min(self.hears.len());
                self.begun.extend(self.hears.drain(..count));
                self.literal -= count;
            }
            let Some(end) = self.hears.iter().position(|octet| *octet == b'\n') else { return };
            if self.literal > 0 {
                return;
            }
            self.begun.extend(self.hears.drain(..=end));
            let (length, waits) = announced(&self.begun);
            if let Some(length) = length {
                self.literal = length;
                if !waits && !self.manners.literal_plus {
                    self.fault = Some("a literal came that was not asked for".into());
                }
                if waits {
                    self.say("+ go\r\n", turn);
                }
                continue;
            }
            let mut line = std::mem::take(&mut self.begun);
            line.truncate(line.len() - 2);
            self.take(&line, turn);
        }
    }

    fn take(&mut self, line: &[u8], turn: &mut Turn) {
        let text = String::from_utf8_lossy(line).into_owned();
        match self.state {
            State::Message => return self.judge_plain(&text, turn),
            State::Doomed => {
                self.state = State::Ready;
                return self.refuse(turn);
            }
            State::FirstHello | State::Hello => {
                self.fault = Some(format!("{text:?} was said before TLS"));
                return;
            }
            State::Ready | State::Settling | State::Relay | State::Deaf => {}
        }
        let settling = self.state == State::Settling;
        if settling && text == "C CAPABILITY" {
            self.state = State::Relay;
            turn.tick = Some(self.random.below(3000) as u64);
            let list = self.list();
            return self.say(&format!("* CAPABILITY {list}\r\nC OK done\r\n"), turn);
        }
        if self.misbehaves(turn) {
            return;
        }
        let words: Vec<&str> = text.split(' ').collect();
        match words.as_slice() {
            _ if settling => self.fault = Some(format!("{text:?} instead of CAPABILITY")),
            ["C", "CAPABILITY"] => {
                let list = self.list();
                self.say(&format!("* CAPABILITY {list}\r\nC OK done\r\n"), turn);
            }
            ["S", "STARTTLS"] if self.mode == TlsMode::StartTls && !self.tls => {
                self.state = State::Hello;
                self.say("S OK go\r\n", turn);
            }
            ["I", "ID", ..] => self.say("* ID NIL\r\nI OK\r\n", turn),
            ["L", ..] if self.mode != TlsMode::Plain && !self.tls => {
                self.fault = Some("credentials came without TLS".into());
            }
            ["L", "AUTHENTICATE", "PLAIN", ..] if !self.manners.plain => {
                self.say("L BAD no such mechanism\r\n", turn);
            }
            ["L", "AUTHENTICATE", _, _] if !self.manners.initial => {
                self.say("L BAD one argument too many\r\n", turn);
            }
            ["L", "AUTHENTICATE", "PLAIN"] => {
                self.state = State::Message;
                self.say("+ \r\n", turn);
            }
            ["L", "AUTHENTICATE", "PLAIN", message] => self.judge_plain(message, turn),
            ["L", "AUTHENTICATE", "XOAUTH2"] => {
                self.state = State::Message;
                self.say("+ \r\n", turn);
            }
            ["L", "AUTHENTICATE", "XOAUTH2", message] => self.judge_plain(message, turn),
            ["L", "LOGIN", ..] => {
                let strings = strings(&line["L LOGIN ".len()..]);
                self.judge(&strings[0], &strings[1], turn);
            }
            _ => self.fault = Some(format!("{text:?} is no command of the proxy's")),
        }
    }

    /// A message of PLAIN, or one of XOAUTH2, which looks different.
    fn judge_plain(&mut self, message: &str, turn: &mut Turn) {
        self.state = State::Ready;
        let message = STANDARD.decode(message).unwrap_or_default();
        if message.starts_with(b"user=") {
            let mut fields = message.split(|octet| *octet == 1);
            let name = fields.next().and_then(|field| field.strip_prefix(b"user="));
            let token = fields.next().and_then(|field| field.strip_prefix(b"auth=Bearer "));
            let account = name.and_then(Account::named);
            if account.is_some_and(|account| token == Some(account.token().as_bytes())) {
                self.accept(account, turn);
            } else {
                self.state = State::Doomed;
                self.say("+ eyJzdGF0dXMiOiI0MDEifQ==\r\n", turn);
            }
            return;
        }
        let mut fields = message.splitn(3, |octet| *octet == 0).skip(1);
        let (name, password) = (fields.next(), fields.next());
        self.judge(name.unwrap_or_default(), password.unwrap_or_default(), turn);
    }

    fn judge(&mut self, name: &[u8], password: &[u8], turn: &mut Turn) {
        match Account::named(name) {
            Some(account) if account.password() == password => self.accept(Some(account), turn),
            Some(_) => self.refuse(turn),
            None => self.fault = Some(format!("nobody is called {}", name.escape_ascii())),
        }
    }

    fn refuse(&mut self, turn: &mut Turn) {
        self.say("L NO [AUTHENTICATIONFAILED] wrong\r\n", turn);
    }

    fn accept(&mut self, account: Option<Account>, turn: &mut Turn) {
        if account.is_none_or(|account| account.site() != self.site) {
            self.fault = Some(format!("{account:?} does not live at backend {}", self.site));
        }
        self.accepted = account;
        self.state = State::Relay;
        turn.tick = Some(self.random.below(3000) as u64);
        match self.manners.accepts {
            Acceptance::WithList => self.say("L OK [CAPABILITY IMAP4rev1 IDLE] in\r\n", turn),
            Acceptance::BehindList => {
                self.say("* CAPABILITY IMAP4rev1 IDLE\r\nL OK in\r\n", turn);
            }
            Acceptance::Bare => {
                self.state = State::Settling;
                turn.tick = None;
                self.say("L OK in\r\n", turn);
            }
        }
        if self.manners.goes_on {
            self.tell(b"* 3 EXISTS\r\n", turn);
        }
    }
}

/// The literal announced at the end of a line, and whether its sender waits.
fn announced(line: &[u8]) -> (Option<usize>, bool) {
    let text = String::from_utf8_lossy(line);
    let inner = text.trim_end().strip_suffix('}').and_then(|text| text.rsplit_once('{'));
    let Some((_, digits)) = inner else { return (None, false) };
    let waits = !digits.ends_with('+');
    (digits.trim_end_matches('+').parse().ok(), waits)
}

/// The strings of a line, quoted or literal.
fn strings(mut rest: &[u8]) -> [Vec<u8>; 2] {
    std::array::from_fn(|_| {
        let mut text = Vec::new();
        let mut at = 1;
        if rest.first() == Some(&b'{') {
            let end = rest.iter().position(|octet| *octet == b'\n').unwrap_or(0);
            let length = announced(&rest[..=end]).0.unwrap_or_default();
            at = end + 1 + length;
            text.extend_from_slice(&rest[end + 1..at]);
        } else {
            while rest.get(at).is_some_and(|octet| *octet != b'"') {
                at += usize::from(rest[at] == b'\\');
                text.push(rest[at]);
                at += 1;
            }
            at += 1;
        }
        rest = rest.get(at + 1..).unwrap_or_default();
        text
    })
}
