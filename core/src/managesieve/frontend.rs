//! The dialogue with a ManageSieve client before it is logged in.
//!
//! The frontend answers every command itself until AUTHENTICATE makes a login; then it hands the
//! login out and stays silent until it is told the outcome. It knows no backend and no route. A
//! command, and an answer in an exchange, is framed first, literals included, and parsed when it is
//! whole, so a refused one is eaten exactly and answered once; where its extent is lost, the
//! connection ends.
//!
//! Invariants: every unit eaten is answered; nothing a client sent is echoed but NOOP's tag, as a
//! string of its own length; what stands behind the eaten unit is left alone.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{QUOTED_MAX, Sender, Welcome, refusal_text, write_string};
use crate::automaton::{Advance, FrontendAsk};
use crate::close::{By, Reason, Refusal, Toll};
use crate::config::Listener;
use crate::dialogue::{Denied, Ledger, Rejection, Taken, Terms, Turn, say};
use crate::line::{self, LINE_MAX, SASL_MESSAGE_MAX, first_word};
use crate::literal::{Framing, Piece, read_string};
use crate::sasl::encode_base64;
use crate::verdict::{Denial, LAST_WORDS, REFERRED, Referral};

/// Octets of a literal.
pub(crate) const LITERAL_MAX: usize = 16384;

/// Literals of one command.
pub(crate) const LITERALS_MAX: u32 = 64;

/// Octets of NOOP's tag.
pub(crate) const TAG_MAX: usize = QUOTED_MAX;

/// Octets of a mechanism's name (RFC 4422 §3.1).
const MECHANISM_NAME_MAX: usize = 20;

/// Octets of a line that begins with AUTHENTICATE; other lines have [`LINE_MAX`].
pub(crate) const AUTHENTICATE_LINE_MAX: usize =
    "AUTHENTICATE \"\" \"\"\r\n".len() + MECHANISM_NAME_MAX + SASL_MESSAGE_MAX;

/// Octets of a line within an exchange.
pub(crate) const ANSWER_LINE_MAX: usize = "\"\"\r\n".len() + SASL_MESSAGE_MAX;

/// The client's side of a ManageSieve login.
#[derive(Debug)]
pub(crate) struct Frontend {
    terms: Terms,
    turn: Turn,
    framing: Framing,
    ledger: Ledger,
}

type Outcome = Advance<FrontendAsk>;

impl Frontend {
    pub(crate) fn new(listener: Arc<Listener>) -> Self {
        Self {
            terms: Terms::new(listener),
            turn: Turn::Command,
            framing: Framing::default(),
            ledger: Ledger::default(),
        }
    }

    /// Says hello, which is to say what there is; also once TLS is up (RFC 5804 §2.2).
    pub(crate) fn greet(&self, out: &mut Vec<u8>) {
        self.write_capabilities(out);
        out.extend_from_slice(b"OK ");
        write_string(self.terms.listener.banner.as_bytes(), Sender::Server, out);
        out.extend_from_slice(b"\r\n");
    }

    /// TLS is up: whatever was said before it is forgotten, the counters of abuse excepted.
    pub(crate) fn tls_up(&mut self) {
        self.terms.tls = true;
        self.turn = Turn::Command;
        self.framing = Framing::default();
    }

    /// Octets that the client may still send before it is logged in.
    pub(crate) const fn allowance(&self) -> usize {
        self.ledger.allowance()
    }

    /// Eats one unit, if it is the client's turn and a whole one is there.
    pub(crate) fn advance(&mut self, input: &[u8], out: &mut Vec<u8>) -> Outcome {
        let line_max = match self.turn {
            Turn::Command => reach(input),
            Turn::Message(_) | Turn::Challenged => ANSWER_LINE_MAX,
            Turn::Deciding => return wait(),
        };
        let outcome = self.advance_unit(input, line_max, out);
        debug_assert!(outcome.eaten <= input.len(), "eaten bytes were there");
        self.ledger.spend(outcome.eaten);
        outcome
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
        out.extend_from_slice(b"NO ");
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
        let words = denial.words().map(|words| {
            let mut string = Vec::new();
            write_string(words.as_bytes(), Sender::Server, &mut string);
            string
        });
        let ending = self.refuse(denial.refusal(), words.as_deref(), out);
        if ending.is_none() && denial.last {
            say(out, &["BYE \"", LAST_WORDS, "\""]);
            return Some(Reason::Denied);
        }
        ending
    }

    /// The client is to go elsewhere (RFC 5804 §1.3), which ends the session. It goes there with
    /// the name it has, unless it is to have another.
    pub(crate) fn refer(&mut self, referral: &Referral, named: bool, out: &mut Vec<u8>) -> Reason {
        let user = if named { [&referral.user_in_url(), "@"].concat() } else { String::new() };
        let url = ["sieve://", &user, &referral.place()].concat();
        out.extend_from_slice(b"BYE (REFERRAL ");
        write_string(url.as_bytes(), Sender::Server, out);
        say(out, &[") \"", REFERRED, "\""]);
        Reason::Referred
    }

    /// The login succeeded: the last words before the hand-off.
    pub(crate) fn accept(&self, welcome: &Welcome, out: &mut Vec<u8>) {
        out.extend_from_slice(b"OK ");
        if let Some(message) = &welcome.sasl {
            out.extend_from_slice(b"(SASL ");
            write_string(message, Sender::Server, out);
            out.extend_from_slice(b") ");
        }
        let text: &[u8] = if welcome.text.is_empty() { b"Logged in" } else { &welcome.text };
        write_string(text, Sender::Server, out);
        out.extend_from_slice(b"\r\n");
    }

    /// The last words to a client that is sent away.
    pub(crate) fn goodbye(&self, refusal: Refusal, out: &mut Vec<u8>) {
        say(out, &["BYE ", refusal_text(refusal)]);
    }

    fn advance_unit(&mut self, input: &[u8], line_max: usize, out: &mut Vec<u8>) -> Outcome {
        loop {
            let piece = self.framing.next(input, line_max);
            let reach = match piece {
                Piece::Incomplete | Piece::TooLong => input.len() + 1,
                Piece::Literal { end, .. } | Piece::Whole { end, .. } => end,
            };
            match piece {
                // Whichever limit lies first in the stream has been passed.
                Piece::TooLong if self.framing.at + line_max <= self.allowance() => {
                    return lose_frame(input, "Line is too long", out);
                }
                _ if reach > self.allowance() => return limit_exceeded(input.len(), out),
                Piece::Incomplete | Piece::TooLong => return wait(),
                Piece::Whole { content, end } => {
                    self.framing = Framing::default();
                    let unit = &input[..content];
                    let ask = match self.turn {
                        Turn::Command => self.serve(unit, out),
                        Turn::Message(_) | Turn::Challenged | Turn::Deciding => {
                            self.take_answer(unit, out)
                        }
                    };
                    return Advance { eaten: end, ask };
                }
                // Whether a client's literal has its plus sign or not: there is no word with which
                // a server could ask for it, so it comes unasked (RFC 5804 §4).
                Piece::Literal { literal, end } => {
                    if literal.size > LITERAL_MAX {
                        return lose_frame(input, "Literal is too long", out);
                    }
                    if self.framing.skip(literal, end) > LITERALS_MAX {
                        return lose_frame(input, "Too many literals", out);
                    }
                }
            }
        }
    }

    /// Serves one whole command.
    fn serve(&mut self, command: &[u8], out: &mut Vec<u8>) -> FrontendAsk {
        if line::is_http_request(command) {
            return FrontendAsk::Close(By::Proxy, Reason::Http);
        }
        let (word, rest) = first_word(command);
        let argument = (word.len() < command.len()).then_some(rest);
        let verb = word.to_ascii_uppercase();
        match verb.as_slice() {
            b"CAPABILITY" | b"LOGOUT" | b"STARTTLS" if argument.is_some() => {
                self.reject("Unexpected argument", out)
            }
            b"CAPABILITY" => {
                self.write_capabilities(out);
                served("CAPABILITY completed", out)
            }
            b"NOOP" => self.stand_by(argument, out),
            b"LOGOUT" => {
                say(out, &["OK \"Logged out\""]);
                FrontendAsk::Close(By::Client, Reason::Logout)
            }
            b"STARTTLS" if self.terms.offers_tls() => {
                say(out, &["OK \"Begin TLS negotiation\""]);
                FrontendAsk::StartTls
            }
            b"STARTTLS" => self.reject("STARTTLS is not available", out),
            b"AUTHENTICATE" => self.authenticate(argument, out),
            [first, ..] if first.is_ascii_alphabetic() => {
                self.reject("Command not allowed before authentication", out)
            }
            _ => self.reject("Missing command", out),
        }
    }

    /// RFC 5804 §2.13: the tag comes back in a response code.
    fn stand_by(&mut self, argument: Option<&[u8]>, out: &mut Vec<u8>) -> FrontendAsk {
        let Some(argument) = argument else {
            return served("NOOP completed", out);
        };
        match only_string(argument).filter(|tag| tag.len() <= TAG_MAX) {
            Some(tag) => {
                out.extend_from_slice(b"OK (TAG ");
                write_string(&tag, Sender::Server, out);
                say(out, &[") \"NOOP completed\""]);
                FrontendAsk::Nothing
            }
            None => self.reject("Invalid NOOP argument", out),
        }
    }

    /// RFC 5804 §2.1. An initial response is base64 and nothing else; an empty one is empty.
    fn authenticate(&mut self, argument: Option<&[u8]>, out: &mut Vec<u8>) -> FrontendAsk {
        let Some(Opening { mechanism, message }) = argument.and_then(Opening::parse) else {
            return self.reject("Invalid AUTHENTICATE arguments", out);
        };
        match self.terms.mechanism(&mechanism) {
            Ok(mechanism) => {
                let opened = self.turn.begin(mechanism, None);
                let taken = match message {
                    Some(message) => self.turn.take(&message),
                    None => opened,
                };
                self.follow(taken, out)
            }
            Err(Denied::Unsupported) => self.reject("Unsupported authentication mechanism", out),
            Err(Denied::TlsNeeded) => self.refuse_command(refusal_text(Refusal::TlsNeeded), out),
        }
    }

    /// Takes a client's word in an exchange: one string.
    fn take_answer(&mut self, unit: &[u8], out: &mut Vec<u8>) -> FrontendAsk {
        let taken = match only_string(unit) {
            Some(message) => self.turn.take(&message),
            None => self.turn.reject(Rejection::Malformed),
        };
        self.follow(taken, out)
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
        say(out, &["NO \"", why.text(), "\""]);
        match self.count_bad_command(out) {
            Some(reason) => FrontendAsk::Close(By::Proxy, reason),
            None if relayed => FrontendAsk::Cancel,
            None => FrontendAsk::Nothing,
        }
    }

    /// RFC 5804 §1.7.
    fn write_capabilities(&self, out: &mut Vec<u8>) {
        let listener = &self.terms.listener;
        let mechanisms: Vec<&str> = self.terms.mechanisms().map(|it| it.name()).collect();
        let extensions = &listener.advertise;
        write_capability("IMPLEMENTATION", &listener.implementation, out);
        write_capability("SASL", &mechanisms.join(" "), out);
        write_capability("SIEVE", &extensions.join(" "), out);
        if self.terms.advertises("enotify") {
            // Who lists that extension names its methods; this is the one that all have.
            write_capability("NOTIFY", "mailto", out);
        }
        if self.terms.offers_tls() {
            say(out, &["\"STARTTLS\""]);
        }
        write_capability("VERSION", "1.0", out);
    }

    fn reject(&mut self, text: &str, out: &mut Vec<u8>) -> FrontendAsk {
        self.refuse_command(&["\"", text, "\""].concat(), out)
    }

    /// Answers a command that is not served, and counts it.
    fn refuse_command(&mut self, code_and_text: &str, out: &mut Vec<u8>) -> FrontendAsk {
        say(out, &["NO ", code_and_text]);
        let reason = self.count_bad_command(out);
        reason.map_or(FrontendAsk::Nothing, |reason| FrontendAsk::Close(By::Proxy, reason))
    }

    fn count_bad_command(&mut self, out: &mut Vec<u8>) -> Option<Reason> {
        self.ledger.bad_command().then(|| {
            say(out, &["BYE \"Too many bad commands\""]);
            Reason::TooManyBadCommands
        })
    }
}

/// Octets within which each line of the command at the start of the input must end.
fn reach(input: &[u8]) -> usize {
    match input.get(.."AUTHENTICATE ".len()) {
        Some(start) if start.eq_ignore_ascii_case(b"AUTHENTICATE ") => AUTHENTICATE_LINE_MAX,
        Some(_) | None => LINE_MAX,
    }
}

fn wait() -> Outcome {
    Advance { eaten: 0, ask: FrontendAsk::More }
}

/// A limit was passed in a place from which the input cannot be followed any further.
fn lose_frame(input: &[u8], text: &str, out: &mut Vec<u8>) -> Outcome {
    say(out, &["NO \"", text, "\""]);
    limit_exceeded(input.len(), out)
}

fn limit_exceeded(eaten: usize, out: &mut Vec<u8>) -> Outcome {
    say(out, &["BYE \"Limit exceeded\""]);
    Advance { eaten, ask: FrontendAsk::Close(By::Proxy, Reason::LimitExceeded) }
}

fn served(text: &str, out: &mut Vec<u8>) -> FrontendAsk {
    say(out, &["OK \"", text, "\""]);
    FrontendAsk::Nothing
}

/// A text that is one string and no more.
fn only_string(text: &[u8]) -> Option<Cow<'_, [u8]>> {
    let (string, rest) = read_string(text)?;
    rest.is_empty().then_some(string)
}

/// What AUTHENTICATE names.
struct Opening<'a> {
    mechanism: Cow<'a, [u8]>,
    message: Option<Cow<'a, [u8]>>,
}

impl<'a> Opening<'a> {
    fn parse(arguments: &'a [u8]) -> Option<Self> {
        let (mechanism, rest) = read_string(arguments)?;
        let message = match rest.strip_prefix(b" ") {
            Some(rest) => Some(only_string(rest)?),
            None if rest.is_empty() => None,
            None => return None,
        };
        Some(Self { mechanism, message })
    }
}

fn write_capability(name: &str, value: &str, out: &mut Vec<u8>) {
    write_string(name.as_bytes(), Sender::Server, out);
    out.push(b' ');
    write_string(value.as_bytes(), Sender::Server, out);
    out.extend_from_slice(b"\r\n");
}

fn write_challenge(challenge: &[u8], out: &mut Vec<u8>) {
    let mut message = Vec::new();
    encode_base64(challenge, &mut message);
    write_string(&message, Sender::Server, out);
    out.extend_from_slice(b"\r\n");
}
