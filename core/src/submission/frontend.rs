//! The dialogue with a Submission client before it is logged in.
//!
//! The frontend answers every command itself until AUTH makes a login; then it hands the login out
//! and stays silent until it is told the outcome. It knows no backend and no route.
//!
//! Invariants: every command eaten is answered, once; nothing a client sent is echoed; what stands
//! behind the eaten command is left alone. BDAT's octets belong to it, so that they are never taken
//! for commands. Only CRLF ends a line; a line whose end is not in reach ends the connection.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{Names, Welcome, is_domain_or_literal, refusal_line};
use crate::automaton::{Advance, FrontendAsk};
use crate::close::{By, Reason, Refusal, Toll};
use crate::config::Listener;
use crate::dialogue::{Denied, Ledger, Rejection, Taken, Terms, Turn, say};
use crate::line::{self, SASL_MESSAGE_MAX, first_word};
use crate::sasl::encode_base64;
use crate::verdict::{Denial, LAST_WORDS, Referral, SmtpCode};

/// Octets of a command's line, its end included (RFC 5321 §4.5.3.1.4 asks for 512), but for AUTH.
const COMMAND_MAX: usize = 2048;

/// Octets of a mechanism's name (RFC 4422 §3.1).
const MECHANISM_NAME_MAX: usize = 20;

/// Octets within which a line that begins with AUTH must end.
const AUTH_LINE_MAX: usize =
    "AUTH ".len() + MECHANISM_NAME_MAX + " ".len() + SASL_MESSAGE_MAX + "\r\n".len();

/// Octets of the name in EHLO (RFC 5321 §4.5.3.1.2).
const NAME_MAX: usize = 255;

/// The client's side of a Submission login.
#[derive(Debug)]
pub(crate) struct Frontend {
    terms: Terms,
    turn: Turn,
    /// What EHLO named; nothing before it, and after HELO.
    name: Option<Vec<u8>>,
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
            name: None,
            ledger: Ledger::default(),
            scanned: 0,
        }
    }

    /// Says hello.
    pub(crate) fn greet(&self, out: &mut Vec<u8>) {
        let listener = &self.terms.listener;
        say(out, &["220 ", &listener.hostname, " ESMTP ", &listener.banner]);
    }

    /// TLS is up: whatever was said before it is forgotten, the counters of abuse excepted.
    pub(crate) fn tls_up(&mut self) {
        self.terms.tls = true;
        self.turn = Turn::Command;
        self.name = None;
        self.scanned = 0;
    }

    /// The names for EHLO at a backend.
    pub(crate) fn names(&self) -> Names {
        let proxy = self.terms.listener.hostname.as_bytes().to_vec();
        let client = self.name.clone().filter(|name| is_domain_or_literal(name));
        Names { proxy, client }
    }

    /// Octets that the client may still send before it is logged in.
    pub(crate) const fn allowance(&self) -> usize {
        self.ledger.allowance()
    }

    /// Eats one command, if it is the client's turn and a whole one is there.
    pub(crate) fn advance(&mut self, input: &[u8], out: &mut Vec<u8>) -> Outcome {
        let limit = match self.turn {
            Turn::Command => reach(input),
            Turn::Message(_) | Turn::Challenged => SASL_MESSAGE_MAX + "\r\n".len(),
            Turn::Deciding => return wait(),
        };
        match line::strict_within(input, self.scanned.min(input.len()), limit, self.allowance()) {
            line::Framing::Incomplete => {
                self.scanned = input.len();
                wait()
            }
            line::Framing::TooLong => {
                // RFC 4954 §4 has a code of its own for the lines of an exchange.
                let code = if limit > COMMAND_MAX { "500 5.5.6 " } else { "500 5.5.2 " };
                say(out, &[code, "Line is too long"]);
                limit_exceeded(input.len(), out)
            }
            line::Framing::Spent => limit_exceeded(input.len(), out),
            line::Framing::Whole(found) if matches!(self.turn, Turn::Command) => {
                self.take_command(input, found, out)
            }
            line::Framing::Whole(found) => {
                self.eat(found.whole);
                let taken = self.turn.take(&input[..found.content]);
                Advance { eaten: found.whole, ask: self.follow(taken, out) }
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
        out.extend_from_slice(passed_on.unwrap_or(refusal_line(refusal).as_bytes()));
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
        let own = if denial.judged { "535 5.7.8" } else { "525 5.7.13" };
        let code = denial.smtp_code.as_ref().map_or(own, SmtpCode::as_str);
        let usual = refusal_line(denial.refusal()).strip_prefix(own).unwrap_or_default().trim();
        let words = denial.words().unwrap_or_else(|| usual.into());
        let line = [code, " ", &words].concat();
        let ending = self.refuse(denial.refusal(), Some(line.as_bytes()), out);
        if ending.is_none() && denial.last {
            say(out, &["421 4.7.0 ", LAST_WORDS]);
            return Some(Reason::Denied);
        }
        ending
    }

    /// The client is to go elsewhere, in Dovecot's form, since no RFC has one.
    pub(crate) fn refer(&mut self, referral: &Referral, out: &mut Vec<u8>) {
        let (user, place) = (referral.user_in_url(), referral.place());
        let line = ["550 5.2.900 ", &user, "@", &place, " Referral"].concat();
        self.refuse(Refusal::Referred, Some(line.as_bytes()), out);
    }

    /// The login succeeded: the last words before the hand-off.
    pub(crate) fn accept(&self, welcome: &Welcome, out: &mut Vec<u8>) {
        out.extend_from_slice(b"235 ");
        out.extend_from_slice(&welcome.text);
        out.extend_from_slice(b"\r\n");
    }

    /// The last words to a client that is sent away.
    pub(crate) fn goodbye(&self, refusal: Refusal, out: &mut Vec<u8>) {
        say(out, &[refusal_line(refusal)]);
    }

    const fn eat(&mut self, octets: usize) {
        self.scanned = 0;
        self.ledger.spend(octets);
    }

    /// Takes a command whose line is there, once all that belongs to it is.
    fn take_command(&mut self, input: &[u8], found: line::Line, out: &mut Vec<u8>) -> Outcome {
        let command = trimmed(&input[..found.content]);
        let Some(chunk) = chunk_octets(command) else {
            say(out, &["501 5.5.4 Invalid BDAT arguments"]);
            return limit_exceeded(input.len(), out);
        };
        let whole = found.whole.saturating_add(chunk);
        if whole > self.allowance() {
            say(out, &[AUTHENTICATION_REQUIRED]);
            return limit_exceeded(input.len(), out);
        }
        if whole > input.len() {
            self.scanned = found.content;
            return wait();
        }
        self.eat(whole);
        Advance { eaten: whole, ask: self.serve(command, out) }
    }

    /// Serves one command.
    fn serve(&mut self, command: &[u8], out: &mut Vec<u8>) -> FrontendAsk {
        if line::is_http_request(command) {
            return FrontendAsk::Close(By::Proxy, Reason::Http);
        }
        if command.is_empty() || command.iter().any(u8::is_ascii_control) {
            return self.reject("500 5.5.2 Syntax error", out);
        }
        let (word, rest) = first_word(command);
        let argument = (word.len() < command.len()).then_some(rest);
        let verb = word.to_ascii_uppercase();
        match verb.as_slice() {
            b"EHLO" | b"HELO" => self.take_hello(verb == b"EHLO", rest, out),
            b"AUTH" => self.authenticate(rest, out),
            b"STARTTLS" | b"RSET" | b"QUIT" if argument.is_some() => {
                self.reject("501 5.5.4 Unexpected argument", out)
            }
            b"STARTTLS" if self.terms.offers_tls() => {
                say(out, &["220 2.0.0 Begin TLS negotiation"]);
                FrontendAsk::StartTls
            }
            b"STARTTLS" => self.reject("503 5.5.1 STARTTLS is not available", out),
            b"NOOP" | b"RSET" => served("250 2.0.0 OK", out),
            b"HELP" => served("214 2.0.0 See RFC 6409", out),
            b"VRFY" => served("252 2.0.0 Cannot verify", out),
            b"QUIT" => {
                say(out, &["221 2.0.0 Bye"]);
                FrontendAsk::Close(By::Client, Reason::Logout)
            }
            b"MAIL" | b"RCPT" | b"DATA" | b"BDAT" | b"BURL" | b"EXPN" | b"ETRN" => {
                self.reject(AUTHENTICATION_REQUIRED, out)
            }
            _ => self.reject("500 5.5.1 Unknown command", out),
        }
    }

    /// EHLO and HELO: any visible name will do, but a backend hears only a proper one.
    fn take_hello(&mut self, extended: bool, name: &[u8], out: &mut Vec<u8>) -> FrontendAsk {
        if name.is_empty() {
            return self.reject("501 5.5.4 Domain is missing", out);
        }
        if name.len() > NAME_MAX || !name.iter().all(u8::is_ascii_graphic) {
            return self.reject("501 5.5.4 Invalid domain", out);
        }
        self.name = extended.then(|| name.to_vec());
        let listener = &self.terms.listener;
        if !extended {
            return served(&["250 ", &listener.hostname].concat(), out);
        }
        let mechanisms: Vec<&str> = self.terms.mechanisms().map(|it| it.name()).collect();
        let auth = (!mechanisms.is_empty()).then(|| ["AUTH ", &mechanisms.join(" ")].concat());
        let mut lines = alloc::vec![listener.hostname.as_str()];
        lines.extend(listener.advertise.iter().map(|keyword| keyword.as_str()));
        lines.extend(self.terms.offers_tls().then_some("STARTTLS"));
        lines.extend(auth.as_deref());
        if let Some((last, lines)) = lines.split_last() {
            lines.iter().for_each(|line| say(out, &["250-", line]));
            say(out, &["250 ", last]);
        }
        FrontendAsk::Nothing
    }

    /// RFC 4954 §4.
    fn authenticate(&mut self, argument: &[u8], out: &mut Vec<u8>) -> FrontendAsk {
        if self.name.is_none() {
            return self.reject("503 5.5.1 Send EHLO first", out);
        }
        let (name, rest) = first_word(argument);
        let initial = (name.len() < argument.len()).then_some(rest);
        if name.is_empty() || initial.is_some_and(|it| it.is_empty() || it.contains(&b' ')) {
            return self.reject("501 5.5.4 Invalid AUTH arguments", out);
        }
        match self.terms.mechanism(name) {
            Ok(mechanism) => {
                let taken = self.turn.begin(mechanism, initial);
                self.follow(taken, out)
            }
            Err(Denied::Unsupported) => {
                self.reject("504 5.5.4 Unsupported authentication mechanism", out)
            }
            Err(Denied::TlsNeeded) => self.reject(refusal_line(Refusal::TlsNeeded), out),
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
        say(out, &[rejection_code(why), why.text()]);
        match self.count_bad_command(out) {
            Some(reason) => FrontendAsk::Close(By::Proxy, reason),
            None if relayed => FrontendAsk::Cancel,
            None => FrontendAsk::Nothing,
        }
    }

    /// Answers a command that is not served, and counts it.
    fn reject(&mut self, reply: &str, out: &mut Vec<u8>) -> FrontendAsk {
        say(out, &[reply]);
        let reason = self.count_bad_command(out);
        reason.map_or(FrontendAsk::Nothing, |reason| FrontendAsk::Close(By::Proxy, reason))
    }

    fn count_bad_command(&mut self, out: &mut Vec<u8>) -> Option<Reason> {
        self.ledger.bad_command().then(|| {
            say(out, &["421 4.7.0 Too many bad commands"]);
            Reason::TooManyBadCommands
        })
    }
}

const AUTHENTICATION_REQUIRED: &str = "530 5.7.0 Authentication required";

const fn rejection_code(why: Rejection) -> &'static str {
    match why {
        Rejection::Cancelled => "501 5.7.0 ",
        Rejection::TooLong => "500 5.5.6 ",
        Rejection::Base64 | Rejection::Malformed => "501 5.5.2 ",
    }
}

/// Octets within which the line at the start of the input must end.
fn reach(input: &[u8]) -> usize {
    match input.get(.."AUTH ".len()) {
        Some(start) if start.eq_ignore_ascii_case(b"AUTH ") => AUTH_LINE_MAX,
        Some(_) | None => COMMAND_MAX,
    }
}

/// RFC 5321 §4.1.1: white space before the line's end is nothing.
fn trimmed(line: &[u8]) -> &[u8] {
    let end = line.iter().rposition(|octet| !matches!(octet, b' ' | b'\t'));
    end.map_or(b"", |end| &line[..=end])
}

/// Octets that follow a command's line without waiting for an answer, as RFC 3030 §2 has it for
/// BDAT; nothing, where BDAT does not say how many.
fn chunk_octets(command: &[u8]) -> Option<usize> {
    let (verb, rest) = first_word(command);
    if !verb.eq_ignore_ascii_case(b"BDAT") {
        return Some(0);
    }
    let (size, _) = first_word(rest);
    let digits = size.iter().all(u8::is_ascii_digit);
    let size = core::str::from_utf8(size).ok().filter(|_| digits)?;
    size.parse().ok()
}

fn wait() -> Outcome {
    Advance { eaten: 0, ask: FrontendAsk::More }
}

fn limit_exceeded(eaten: usize, out: &mut Vec<u8>) -> Outcome {
    say(out, &["421 4.7.0 Limit exceeded"]);
    Advance { eaten, ask: FrontendAsk::Close(By::Proxy, Reason::LimitExceeded) }
}

fn served(reply: &str, out: &mut Vec<u8>) -> FrontendAsk {
    say(out, &[reply]);
    FrontendAsk::Nothing
}

/// RFC 4954 §4: an empty challenge is the code and a space.
fn write_challenge(challenge: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"334 ");
    encode_base64(challenge, out);
    out.extend_from_slice(b"\r\n");
}
