//! The dialogue with a POP3 client before it is logged in.
//!
//! The frontend answers every command itself until PASS or AUTH makes a login; then it hands the
//! login out and stays silent until it is told the outcome. It knows no backend and no route.
//!
//! Invariants: every line eaten is answered, once; nothing a client sent is echoed; what stands
//! behind the eaten line is left alone. A line past its verb's limit is refused whole; only one
//! whose end is not in reach ends the connection.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{Modes, Welcome, refusal_text};
use crate::automaton::{Advance, FrontendAsk};
use crate::close::{By, Reason, Refusal, Toll};
use crate::config::Listener;
use crate::dialogue::{Denied, Ledger, Taken, Terms, Turn, bounded_login, say};
use crate::line::{self, LINE_MAX, SASL_MESSAGE_MAX, first_word};
use crate::sasl::encode_base64;
use crate::secret::Secret;
use crate::verdict::{Denial, REFERRED, Referral};

/// Octets of a command's line, its end included (RFC 2449 §4), but for AUTH and PASS.
pub(crate) const COMMAND_MAX: usize = 255;

/// Octets of a mechanism's name (RFC 4422 §3.1).
const MECHANISM_NAME_MAX: usize = 20;

/// Octets within which a line that begins with AUTH must end; other lines have [`LINE_MAX`].
pub(crate) const AUTH_LINE_MAX: usize =
    "AUTH ".len() + MECHANISM_NAME_MAX + " ".len() + SASL_MESSAGE_MAX + "\r\n".len();

/// Octets of a language tag.
pub(crate) const LANGUAGE_MAX: usize = 64;

/// The client's side of a POP3 login.
#[derive(Debug)]
pub(crate) struct Frontend {
    terms: Terms,
    turn: Turn,
    /// What USER named, until PASS.
    user: Option<Vec<u8>>,
    modes: Modes,
    ledger: Ledger,
    /// Octets of the line at the start of the input known to hold no end.
    scanned: usize,
}

type Outcome = Advance<FrontendAsk>;

impl Frontend {
    pub(crate) fn new(listener: Arc<Listener>) -> Self {
        Self {
            terms: Terms::new(listener),
            turn: Turn::Command,
            user: None,
            modes: Modes::default(),
            ledger: Ledger::default(),
            scanned: 0,
        }
    }

    /// Says hello; without a timestamp, since APOP's secret could not be carried on.
    pub(crate) fn greet(&self, out: &mut Vec<u8>) {
        say(out, &["+OK ", &self.terms.listener.banner]);
    }

    /// TLS is up: whatever was said before it is forgotten, the counters of abuse excepted.
    pub(crate) fn tls_up(&mut self) {
        self.terms.tls = true;
        self.turn = Turn::Command;
        self.user = None;
        self.modes = Modes::default();
        self.scanned = 0;
    }

    /// What the client asked for that the backend must hear.
    pub(crate) const fn modes(&self) -> &Modes {
        &self.modes
    }

    /// Octets that the client may still send before it is logged in.
    pub(crate) const fn allowance(&self) -> usize {
        self.ledger.allowance()
    }

    /// Eats one line, if it is the client's turn and a whole one is there.
    pub(crate) fn advance(&mut self, input: &[u8], out: &mut Vec<u8>) -> Outcome {
        let limit = match self.turn {
            Turn::Command => reach(input),
            Turn::Message(_) | Turn::Challenged => SASL_MESSAGE_MAX + "\r\n".len(),
            Turn::Deciding => return wait(),
        };
        match line::within(input, self.scanned.min(input.len()), limit, self.allowance()) {
            line::Framing::Incomplete => {
                self.scanned = input.len();
                wait()
            }
            line::Framing::TooLong => {
                say(out, &["-ERR Line is too long"]);
                limit_exceeded(input.len(), out)
            }
            line::Framing::Spent => limit_exceeded(input.len(), out),
            line::Framing::Whole(found) => {
                self.scanned = 0;
                self.ledger.spend(found.whole);
                let content = &input[..found.content];
                let ask = if matches!(self.turn, Turn::Command) {
                    self.serve(content, found.whole, out)
                } else {
                    let taken = self.turn.take(content);
                    self.follow(taken, out)
                };
                Advance { eaten: found.whole, ask }
            }
        }
    }

    /// Passes a challenge of the backend on.
    pub(crate) fn challenge(&mut self, challenge: &[u8], out: &mut Vec<u8>) {
        write_challenge(challenge, out);
        self.turn = Turn::Challenged;
    }

    /// The login failed; the client may try again unless this gives a reason to end.
    /// `passed_on`: the backend's own words, for [`Refusal::Credentials`].
    pub(crate) fn refuse(
        &mut self,
        refusal: Refusal,
        passed_on: Option<&[u8]>,
        out: &mut Vec<u8>,
    ) -> Option<Reason> {
        self.turn = Turn::Command;
        out.extend_from_slice(b"-ERR ");
        out.extend_from_slice(passed_on.unwrap_or(refusal_text(refusal).as_bytes()));
        out.extend_from_slice(b"\r\n");
        match refusal.toll() {
            Toll::Failure => {
                self.ledger.failure(self.terms.listener.max_auth_attempts).then(|| {
                    self.goodbye(Refusal::TooManyAttempts, out);
                    Reason::TooManyAttempts
                })
            }
            Toll::BadCommand => self.count_bad_command(out),
            Toll::Nothing => None,
        }
    }

    /// Somebody decided against the login.
    pub(crate) fn deny(&mut self, denial: &Denial, out: &mut Vec<u8>) -> Option<Reason> {
        let words = denial.words().map(|words| ["[AUTH] ", &words].concat());
        let ending = self.refuse(denial.refusal(), words.as_deref().map(str::as_bytes), out);
        // There is no goodbye in POP3 that would not be the answer to some command.
        ending.or_else(|| denial.last.then_some(Reason::Denied))
    }

    /// The client is to go elsewhere, in Dovecot's form, since no RFC has one.
    pub(crate) fn refer(&mut self, referral: &Referral, out: &mut Vec<u8>) {
        let (user, place) = (referral.user_in_url(), referral.place());
        let words = ["[REFERRAL/", &user, "@", &place, "] ", REFERRED].concat();
        self.refuse(Refusal::Referred, Some(words.as_bytes()), out);
    }

    /// The login succeeded: the last words before the hand-off.
    pub(crate) fn accept(&self, welcome: &Welcome, out: &mut Vec<u8>) {
        let text: &[u8] = if welcome.text.is_empty() { b"Logged in" } else { &welcome.text };
        out.extend_from_slice(b"+OK ");
        out.extend_from_slice(text);
        out.extend_from_slice(b"\r\n");
    }

    /// The last words to a client that is sent away.
    pub(crate) fn goodbye(&self, refusal: Refusal, out: &mut Vec<u8>) {
        say(out, &["-ERR ", refusal_text(refusal)]);
    }

    /// Serves one whole command; `whole` is its length with the line end.
    fn serve(&mut self, command: &[u8], whole: usize, out: &mut Vec<u8>) -> FrontendAsk {
        if line::is_http_request(command) {
            return FrontendAsk::Close(By::Proxy, Reason::Http);
        }
        let (word, rest) = first_word(command);
        let argument = (word.len() < command.len()).then_some(rest);
        let verb = word.to_ascii_uppercase();
        match verb.as_slice() {
            b"AUTH" => self.authenticate(argument, out),
            b"PASS" => self.take_password(argument, out),
            _ if whole > COMMAND_MAX => self.reject("Line is too long", out),
            b"USER" => self.take_user(argument, out),
            b"LANG" if self.terms.advertises("LANG") => self.take_language(argument, out),
            b"CAPA" | b"NOOP" | b"QUIT" | b"STLS" | b"UTF8" if argument.is_some() => {
                self.reject("Unexpected argument", out)
            }
            b"CAPA" => self.list_capabilities(out),
            b"NOOP" => served("NOOP completed", out),
            b"QUIT" => {
                say(out, &["+OK Logging out"]);
                FrontendAsk::Close(By::Client, Reason::Logout)
            }
            b"STLS" => self.start_tls(out),
            b"UTF8" if self.may_use_utf8() => {
                self.modes.utf8 = true;
                served("UTF8 enabled", out)
            }
            b"APOP" => self.reject("APOP is not supported", out),
            b"" => self.reject("Missing command", out),
            _ => self.reject("Command not allowed before authentication", out),
        }
    }

    fn list_capabilities(&self, out: &mut Vec<u8>) -> FrontendAsk {
        say(out, &["+OK Capability list follows"]);
        for capability in &self.terms.listener.advertise {
            say(out, &[capability]);
        }
        if self.terms.cleartext_allowed() {
            say(out, &["USER"]);
        }
        if self.terms.mechanisms().next().is_some() {
            out.extend_from_slice(b"SASL");
            for mechanism in self.terms.mechanisms() {
                out.push(b' ');
                out.extend_from_slice(mechanism.name().as_bytes());
            }
            say(out, &[""]);
        }
        if self.terms.offers_tls() {
            say(out, &["STLS"]);
        }
        say(out, &["."]);
        FrontendAsk::Nothing
    }

    /// RFC 6856 §2.1: after UTF8 there is no STLS any more.
    fn start_tls(&mut self, out: &mut Vec<u8>) -> FrontendAsk {
        if !self.terms.offers_tls() || self.modes.utf8 {
            return self.reject("STLS is not available", out);
        }
        say(out, &["+OK Begin TLS negotiation"]);
        FrontendAsk::StartTls
    }

    /// RFC 6856 §2.1: the capability may carry the argument USER.
    fn may_use_utf8(&self) -> bool {
        let mut listed = self.terms.listener.advertise.iter();
        listed.any(|token| first_word(token.as_bytes()).0.eq_ignore_ascii_case(b"UTF8"))
    }

    /// RFC 6856 §3. Which languages there are is the backend's affair; the default one always is.
    fn take_language(&mut self, argument: Option<&[u8]>, out: &mut Vec<u8>) -> FrontendAsk {
        let Some(tag) = argument else {
            say(out, &["+OK Language list follows"]);
            say(out, &["i-default Default language"]);
            say(out, &["."]);
            return FrontendAsk::Nothing;
        };
        let tag_char = |octet: &u8| octet.is_ascii_alphanumeric() || *octet == b'-';
        let is_tag = (1..=LANGUAGE_MAX).contains(&tag.len()) && tag.iter().all(tag_char);
        if tag != b"*" && !is_tag {
            return self.reject("Invalid LANG argument", out);
        }
        self.modes.language = Some(tag.to_vec());
        served("Language is set at login", out)
    }

    /// The whole rest of the line is the name.
    fn take_user(&mut self, argument: Option<&[u8]>, out: &mut Vec<u8>) -> FrontendAsk {
        if !self.terms.cleartext_allowed() {
            return self.reject(refusal_text(Refusal::TlsNeeded), out);
        }
        self.user = None;
        match argument {
            Some(user) if !user.is_empty() => {
                self.user = Some(user.to_vec());
                served("Send the password", out)
            }
            Some(_) | None => self.reject("Missing user name", out),
        }
    }

    /// The whole rest of the line is the password, spaces included.
    fn take_password(&mut self, argument: Option<&[u8]>, out: &mut Vec<u8>) -> FrontendAsk {
        if !self.terms.cleartext_allowed() {
            return self.reject(refusal_text(Refusal::TlsNeeded), out);
        }
        let Some(user) = self.user.take() else {
            return self.reject("USER must come first", out);
        };
        let Some(password) = argument else {
            return self.reject("Missing password", out);
        };
        match bounded_login(user, Secret::from(password)) {
            Some(login) => {
                self.turn = Turn::Deciding;
                FrontendAsk::Login(login)
            }
            None => self.reject("Malformed credentials", out),
        }
    }

    /// RFC 5034 §4; without an argument (RFC 1734's heirs) it lists the mechanisms.
    fn authenticate(&mut self, argument: Option<&[u8]>, out: &mut Vec<u8>) -> FrontendAsk {
        self.user = None;
        let Some(argument) = argument else {
            say(out, &["+OK Mechanism list follows"]);
            for mechanism in self.terms.mechanisms() {
                say(out, &[mechanism.name()]);
            }
            say(out, &["."]);
            return FrontendAsk::Nothing;
        };
        let (name, rest) = first_word(argument);
        let initial = (name.len() < argument.len()).then_some(rest);
        if name.is_empty() || initial.is_some_and(|it| it.is_empty() || it.contains(&b' ')) {
            return self.reject("Invalid AUTH arguments", out);
        }
        match self.terms.mechanism(name) {
            Ok(mechanism) => {
                let taken = self.turn.begin(mechanism, initial);
                self.follow(taken, out)
            }
            Err(Denied::Unsupported) => self.reject("Unsupported authentication mechanism", out),
            Err(Denied::TlsNeeded) => self.reject(refusal_text(Refusal::TlsNeeded), out),
        }
    }

    /// Does what a message led to.
    fn follow(&mut self, taken: Taken, out: &mut Vec<u8>) -> FrontendAsk {
        let (why, relayed) = match taken {
            Taken::Login(login) => return FrontendAsk::Login(login),
            Taken::Respond(response) => return FrontendAsk::Respond(response),
            Taken::Challenge(challenge) => {
                write_challenge(challenge, out);
                return FrontendAsk::Nothing;
            }
            Taken::Rejected { why, relayed } => (why, relayed),
        };
        say(out, &["-ERR ", why.text()]);
        match self.count_bad_command(out) {
            Some(reason) => FrontendAsk::Close(By::Proxy, reason),
            None if relayed => FrontendAsk::Cancel,
            None => FrontendAsk::Nothing,
        }
    }

    /// Answers a command that is not served, and counts it.
    fn reject(&mut self, text: &str, out: &mut Vec<u8>) -> FrontendAsk {
        say(out, &["-ERR ", text]);
        let reason = self.count_bad_command(out);
        reason.map_or(FrontendAsk::Nothing, |reason| FrontendAsk::Close(By::Proxy, reason))
    }

    fn count_bad_command(&mut self, out: &mut Vec<u8>) -> Option<Reason> {
        self.ledger.bad_command().then(|| {
            say(out, &["-ERR Too many bad commands"]);
            Reason::TooManyBadCommands
        })
    }
}

/// Octets within which the line at the start of the input must end.
fn reach(input: &[u8]) -> usize {
    match input.get(.."AUTH ".len()) {
        Some(start) if start.eq_ignore_ascii_case(b"AUTH ") => AUTH_LINE_MAX,
        Some(_) | None => LINE_MAX,
    }
}

fn wait() -> Outcome {
    Advance { eaten: 0, ask: FrontendAsk::More }
}

fn limit_exceeded(eaten: usize, out: &mut Vec<u8>) -> Outcome {
    say(out, &["-ERR Limit exceeded"]);
    Advance { eaten, ask: FrontendAsk::Close(By::Proxy, Reason::LimitExceeded) }
}

fn served(text: &str, out: &mut Vec<u8>) -> FrontendAsk {
    say(out, &["+OK ", text]);
    FrontendAsk::Nothing
}

/// RFC 5034 §4: an empty challenge is a plus sign and a space.
fn write_challenge(challenge: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"+ ");
    encode_base64(challenge, out);
    out.extend_from_slice(b"\r\n");
}
