//! The dialogue with an IMAP client before it is logged in.
//!
//! The frontend answers every command itself until one of them is a login; then it hands the login
//! out and stays silent until it is told the outcome. It knows no backend and no route. A command
//! is framed first, literals included, and parsed when it is whole, so a refused command is eaten
//! exactly and answered once; where its extent is lost, the connection ends.
//!
//! Invariants: every unit eaten is answered; nothing a client sent is echoed but a valid tag;
//! what stands behind the eaten unit is left alone. Commands are taken apart in `command.rs`.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use memchr::memrchr;

use super::command::{self, Arguments, BadId, Command, IdFields};
use super::{Welcome, refusal_text};
use crate::automaton::{Advance, FrontendAsk};
use crate::close::{By, Reason, Refusal, Toll};
use crate::config::Listener;
use crate::dialogue::{Denied, Ledger, Taken, Terms, Turn, bounded_login, say};
use crate::line::{self, SASL_MESSAGE_MAX};
use crate::literal::{Framing, Literal, Piece};
use crate::sasl::encode_base64;
use crate::verdict::{Denial, LAST_WORDS, REFERRED, Referral};

/// Octets of one line of a command: ID may be long.
pub(crate) const LINE_MAX: usize = 32768;

/// Octets of a literal.
pub(crate) const LITERAL_MAX: usize = 16384;

/// Octets of a non-synchronising literal where LITERAL- is advertised (RFC 7888 §5).
pub(crate) const LITERAL_MINUS_MAX: usize = 4096;

/// Literals of one command.
pub(crate) const LITERALS_MAX: u32 = 64;

/// What RFC 2221 wants listed where a client may be referred.
const REFERRALS: &str = "LOGIN-REFERRALS";

/// The client's side of an IMAP login.
#[derive(Debug)]
pub(crate) struct Frontend {
    terms: Terms,
    turn: Turn,
    /// The tag of the command that logs in, while that goes on.
    tag: Vec<u8>,
    framing: Framing,
    ledger: Ledger,
    id: IdFields,
}

type Outcome = Advance<FrontendAsk>;

impl Frontend {
    pub(crate) fn new(listener: Arc<Listener>) -> Self {
        Self {
            terms: Terms::new(listener),
            turn: Turn::Command,
            tag: Vec::new(),
            framing: Framing::default(),
            ledger: Ledger::default(),
            id: IdFields::default(),
        }
    }

    /// Says hello.
    pub(crate) fn greet(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"* OK [CAPABILITY ");
        self.write_capabilities(out);
        say(out, &["] ", &self.terms.listener.banner]);
    }

    /// TLS is up: whatever was said before it is forgotten, the counters of abuse excepted.
    pub(crate) fn tls_up(&mut self) {
        self.terms.tls = true;
        self.turn = Turn::Command;
        self.framing = Framing::default();
        self.id = IdFields::default();
    }

    /// What the client said of itself with ID, without what only a proxy may say.
    pub(crate) const fn id(&self) -> &IdFields {
        &self.id
    }

    /// Octets that the client may still send before it is logged in.
    pub(crate) const fn allowance(&self) -> usize {
        self.ledger.allowance()
    }

    /// Eats one unit, if it is the client's turn and a whole one is there.
    pub(crate) fn advance(&mut self, input: &[u8], out: &mut Vec<u8>) -> Outcome {
        let outcome = match self.turn {
            Turn::Command => self.advance_command(input, out),
            Turn::Message(_) | Turn::Challenged => self.advance_message(input, out),
            Turn::Deciding => wait(),
        };
        debug_assert!(outcome.eaten <= input.len(), "eaten bytes were there");
        self.ledger.spend(outcome.eaten);
        outcome
    }

    /// Passes a challenge of the backend on.
    pub(crate) fn challenge(&mut self, challenge: &[u8], out: &mut Vec<u8>) {
        write_continuation(challenge, out);
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
        out.extend_from_slice(&self.tag);
        out.extend_from_slice(b" NO ");
        out.extend_from_slice(passed_on.unwrap_or(refusal_text(refusal).as_bytes()));
        out.extend_from_slice(b"\r\n");
        match refusal.toll() {
            Toll::Failure => self.count_failure(out),
            Toll::BadCommand => self.count_bad_command(out),
            Toll::Nothing => None,
        }
    }

    /// Somebody decided against the login.
    pub(crate) fn deny(&mut self, denial: &Denial, out: &mut Vec<u8>) -> Option<Reason> {
        let code = if denial.judged { "[AUTHENTICATIONFAILED] " } else { "[CONTACTADMIN] " };
        let words = denial.words().map(|words| [code, &words].concat());
        let ending = self.refuse(denial.refusal(), words.as_deref().map(str::as_bytes), out);
        if ending.is_none() && denial.last {
            say(out, &["* BYE ", LAST_WORDS]);
            return Some(Reason::Denied);
        }
        ending
    }

    /// The client is to go elsewhere (RFC 2221 §4.1). It may go on here as well.
    pub(crate) fn refer(&mut self, referral: &Referral, out: &mut Vec<u8>) {
        let (user, place) = (referral.user_in_url(), referral.place());
        let words = ["[REFERRAL imap://", &user, ";AUTH=*@", &place, "/] ", REFERRED].concat();
        self.refuse(Refusal::Referred, Some(words.as_bytes()), out);
    }

    /// The login succeeded: the last words before the hand-off. `alert`: the account's own.
    pub(crate) fn accept(&self, welcome: &Welcome, alert: Option<&str>, out: &mut Vec<u8>) {
        for alert in self.terms.listener.alert.as_deref().into_iter().chain(alert) {
            say(out, &["* OK [ALERT] ", alert]);
        }
        let inline = welcome.code.is_none();
        if let (Some(list), false) = (&welcome.capabilities, inline) {
            out.extend_from_slice(b"* CAPABILITY ");
            list.write_for_client(out);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(&self.tag);
        out.extend_from_slice(b" OK ");
        match (&welcome.capabilities, &welcome.code) {
            (_, Some(code)) => {
                out.extend_from_slice(code);
                out.push(b' ');
            }
            (Some(list), None) => {
                out.extend_from_slice(b"[CAPABILITY ");
                list.write_for_client(out);
                out.extend_from_slice(b"] ");
            }
            (None, None) => {}
        }
        let text: &[u8] = if welcome.text.is_empty() { b"Logged in" } else { &welcome.text };
        out.extend_from_slice(text);
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&welcome.aftermath);
    }

    /// A sign of life to a client that waits for its login.
    pub(crate) fn working(&self, out: &mut Vec<u8>) {
        say(out, &["* OK Still working"]);
    }

    /// The last words to a client that is sent away.
    pub(crate) fn goodbye(&self, refusal: Refusal, out: &mut Vec<u8>) {
        say(out, &["* BYE ", refusal_text(refusal)]);
    }

    fn advance_command(&mut self, input: &[u8], out: &mut Vec<u8>) -> Outcome {
        loop {
            let piece = self.framing.next(input, LINE_MAX);
            let reach = match piece {
                Piece::Incomplete | Piece::TooLong => input.len() + 1,
                Piece::Literal { end, .. } | Piece::Whole { end, .. } => end,
            };
            match piece {
                // Whichever limit lies first in the stream has been passed.
                Piece::TooLong if self.framing.at + LINE_MAX <= self.allowance() => {
                    return lose_frame(input, "Line is too long", out);
                }
                _ if reach > self.allowance() => return limit_exceeded(input.len(), out),
                Piece::Incomplete | Piece::TooLong => return wait(),
                Piece::Whole { content, end } => {
                    self.framing = Framing::default();
                    let ask = self.serve(&input[..content], out);
                    return Advance { eaten: end, ask };
                }
                Piece::Literal { literal, end } => {
                    if literal.synchronising {
                        if let Some(refused) = self.refuse_literal(&input[..end], literal, out) {
                            self.framing = Framing::default();
                            return Advance { eaten: end, ask: refused };
                        }
                        say(out, &["+ Go ahead"]);
                    } else if literal.size > self.literal_max() {
                        return lose_frame(input, "Literal is too long", out);
                    }
                    if self.framing.skip(literal, end) > LITERALS_MAX {
                        return lose_frame(input, "Too many literals", out);
                    }
                }
            }
        }
    }

    /// A synchronising literal is asked for only where it may become part of a served command;
    /// everywhere else its header ends the command, for the client has sent no more than that.
    fn refuse_literal(
        &mut self,
        begun: &[u8],
        literal: Literal,
        out: &mut Vec<u8>,
    ) -> Option<FrontendAsk> {
        let begun = trim_line_end(begun);
        let wanted = Command::parse(begun).ok().filter(|command| {
            command.is("ID") || (command.is("LOGIN") && self.terms.cleartext_allowed())
        });
        match wanted {
            Some(_) if !stands_as_an_argument(begun) => Some(self.serve(begun, out)),
            Some(command) if literal.size > LITERAL_MAX && command.is("LOGIN") => {
                Some(self.bad(command.tag, "Literal is too long", out))
            }
            Some(_) if literal.size > LITERAL_MAX => Some(self.serve(begun, out)),
            Some(_) => None,
            None => Some(self.serve(begun, out)),
        }
    }

    fn literal_max(&self) -> usize {
        if self.terms.advertises("LITERAL-") { LITERAL_MINUS_MAX } else { LITERAL_MAX }
    }

    /// Serves one whole command.
    fn serve(&mut self, unit: &[u8], out: &mut Vec<u8>) -> FrontendAsk {
        if line::is_http_request(unit) {
            return FrontendAsk::Close(By::Proxy, Reason::Http);
        }
        let command = match Command::parse(unit) {
            Ok(command) => command,
            Err(command::Malformed::Tag) => return self.bad(b"*", "Invalid tag", out),
            Err(command::Malformed::Lone) => return self.bad(b"*", "Missing command", out),
            Err(command::Malformed::Verb(tag)) => return self.bad(tag, "Missing command", out),
        };
        let Command { tag, arguments, .. } = command;
        let verb = command.verb.to_ascii_uppercase();
        match verb.as_slice() {
            b"CAPABILITY" | b"NOOP" | b"LOGOUT" | b"STARTTLS" if !arguments.is_empty() => {
                self.bad(tag, "Unexpected argument", out)
            }
            b"CAPABILITY" => {
                out.extend_from_slice(b"* CAPABILITY ");
                self.write_capabilities(out);
                say(out, &[""]);
                ok(tag, "CAPABILITY completed", out)
            }
            b"NOOP" => ok(tag, "NOOP completed", out),
            b"LOGOUT" => {
                say(out, &["* BYE Logging out"]);
                ok(tag, "LOGOUT completed", out);
                FrontendAsk::Close(By::Client, Reason::Logout)
            }
            b"STARTTLS" => self.start_tls(tag, out),
            b"ID" => self.take_id(tag, arguments, out),
            b"LOGIN" => self.login(tag, arguments, out),
            b"AUTHENTICATE" => self.authenticate(tag, arguments, out),
            _ => self.bad(tag, "Command not allowed before authentication", out),
        }
    }

    fn start_tls(&mut self, tag: &[u8], out: &mut Vec<u8>) -> FrontendAsk {
        if !self.terms.offers_tls() {
            return self.bad(tag, "STARTTLS is not available", out);
        }
        ok(tag, "Begin TLS negotiation", out);
        FrontendAsk::StartTls
    }

    fn take_id(&mut self, tag: &[u8], arguments: Arguments<'_>, out: &mut Vec<u8>) -> FrontendAsk {
        match IdFields::parse(arguments) {
            Ok(fields) => {
                self.id = fields;
                say(out, &["* ID (\"name\" \"Gatepost\")"]);
                ok(tag, "ID completed", out)
            }
            Err(BadId) => self.bad(tag, "Invalid ID parameters", out),
        }
    }

    fn login(&mut self, tag: &[u8], arguments: Arguments<'_>, out: &mut Vec<u8>) -> FrontendAsk {
        if !self.terms.cleartext_allowed() {
            return self.tls_needed(tag, out);
        }
        match command::login(arguments) {
            Some((user, password)) => match bounded_login(user, password) {
                Some(login) => {
                    self.tag = tag.to_vec();
                    self.turn = Turn::Deciding;
                    FrontendAsk::Login(login)
                }
                None => self.bad(tag, "Malformed credentials", out),
            },
            None => self.bad(tag, "Invalid LOGIN arguments", out),
        }
    }

    fn authenticate(
        &mut self,
        tag: &[u8],
        arguments: Arguments<'_>,
        out: &mut Vec<u8>,
    ) -> FrontendAsk {
        let Some((name, initial)) = command::authenticate(arguments) else {
            return self.bad(tag, "Invalid AUTHENTICATE arguments", out);
        };
        let mechanism = match self.terms.mechanism(name) {
            Ok(mechanism) => mechanism,
            Err(Denied::Unsupported) => {
                return self.no(tag, "Unsupported authentication mechanism", out);
            }
            Err(Denied::TlsNeeded) => return self.tls_needed(tag, out),
        };
        self.tag = tag.to_vec();
        let taken = self.turn.begin(mechanism, initial);
        self.follow(taken, out)
    }

    /// Eats one line of an exchange.
    fn advance_message(&mut self, input: &[u8], out: &mut Vec<u8>) -> Outcome {
        let limit = SASL_MESSAGE_MAX + b"\r\n".len();
        match line::within(input, self.framing.scanned, limit, self.allowance()) {
            line::Framing::Incomplete => {
                self.framing.scanned = input.len();
                wait()
            }
            line::Framing::TooLong => {
                out.extend_from_slice(&self.tag);
                say(out, &[" BAD Line is too long"]);
                limit_exceeded(input.len(), out)
            }
            line::Framing::Spent => limit_exceeded(input.len(), out),
            line::Framing::Whole(found) => {
                self.framing = Framing::default();
                let taken = self.turn.take(&input[..found.content]);
                Advance { eaten: found.whole, ask: self.follow(taken, out) }
            }
        }
    }

    /// Does what a message led to.
    fn follow(&mut self, taken: Taken, out: &mut Vec<u8>) -> FrontendAsk {
        let (why, relayed) = match taken {
            Taken::Login(login) => return FrontendAsk::Login(login),
            Taken::Respond(response) => return FrontendAsk::Respond(response),
            Taken::Challenge(challenge) => {
                write_continuation(challenge, out);
                return FrontendAsk::Nothing;
            }
            Taken::Rejected { why, relayed } => (why, relayed),
        };
        out.extend_from_slice(&self.tag);
        say(out, &[" BAD ", why.text()]);
        match self.count_bad_command(out) {
            Some(reason) => FrontendAsk::Close(By::Proxy, reason),
            None if relayed => FrontendAsk::Cancel,
            None => FrontendAsk::Nothing,
        }
    }

    fn write_capabilities(&self, out: &mut Vec<u8>) {
        // A referral is said inside TLS only.
        let holds = |token: &&String| self.terms.tls || !token.eq_ignore_ascii_case(REFERRALS);
        let listed = self.terms.listener.advertise.iter().filter(holds);
        out.extend_from_slice(listed.map(String::as_str).collect::<Vec<_>>().join(" ").as_bytes());
        for mechanism in self.terms.mechanisms() {
            out.extend_from_slice(b" AUTH=");
            out.extend_from_slice(mechanism.name().as_bytes());
        }
        if self.terms.offers_tls() {
            out.extend_from_slice(b" STARTTLS");
        }
        if !self.terms.cleartext_allowed() {
            out.extend_from_slice(b" LOGINDISABLED");
        }
    }

    fn tls_needed(&mut self, tag: &[u8], out: &mut Vec<u8>) -> FrontendAsk {
        self.no(tag, refusal_text(Refusal::TlsNeeded), out)
    }

    fn bad(&mut self, tag: &[u8], text: &str, out: &mut Vec<u8>) -> FrontendAsk {
        self.reject(tag, " BAD ", text, out)
    }

    fn no(&mut self, tag: &[u8], text: &str, out: &mut Vec<u8>) -> FrontendAsk {
        self.reject(tag, " NO ", text, out)
    }

    /// Answers a command that is not served, and counts it.
    fn reject(&mut self, tag: &[u8], status: &str, text: &str, out: &mut Vec<u8>) -> FrontendAsk {
        out.extend_from_slice(tag);
        say(out, &[status, text]);
        let reason = self.count_bad_command(out);
        reason.map_or(FrontendAsk::Nothing, |reason| FrontendAsk::Close(By::Proxy, reason))
    }

    fn count_bad_command(&mut self, out: &mut Vec<u8>) -> Option<Reason> {
        self.ledger.bad_command().then(|| {
            say(out, &["* BYE Too many bad commands"]);
            Reason::TooManyBadCommands
        })
    }

    fn count_failure(&mut self, out: &mut Vec<u8>) -> Option<Reason> {
        self.ledger.failure(self.terms.listener.max_auth_attempts).then(|| {
            self.goodbye(Refusal::TooManyAttempts, out);
            Reason::TooManyAttempts
        })
    }
}

fn wait() -> Outcome {
    Advance { eaten: 0, ask: FrontendAsk::More }
}

/// A limit was passed in a place from which the input cannot be followed any further.
fn lose_frame(input: &[u8], text: &str, out: &mut Vec<u8>) -> Outcome {
    let tag = match Command::parse(input) {
        Ok(Command { tag, .. }) | Err(command::Malformed::Verb(tag)) => tag,
        Err(command::Malformed::Tag | command::Malformed::Lone) => b"*",
    };
    out.extend_from_slice(tag);
    say(out, &[" BAD ", text]);
    limit_exceeded(input.len(), out)
}

fn limit_exceeded(eaten: usize, out: &mut Vec<u8>) -> Outcome {
    say(out, &["* BYE Limit exceeded"]);
    Advance { eaten, ask: FrontendAsk::Close(By::Proxy, Reason::LimitExceeded) }
}

fn ok(tag: &[u8], text: &str, out: &mut Vec<u8>) -> FrontendAsk {
    out.extend_from_slice(tag);
    say(out, &[" OK ", text]);
    FrontendAsk::Nothing
}

fn write_continuation(message: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"+ ");
    encode_base64(message, out);
    out.extend_from_slice(b"\r\n");
}

/// Whether the literal announced at the end of a line is one of a command's arguments.
fn stands_as_an_argument(line: &[u8]) -> bool {
    let before = memrchr(b'{', line).and_then(|open| open.checked_sub(1));
    before.is_some_and(|at| matches!(line[at], b' ' | b'('))
}

fn trim_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}
