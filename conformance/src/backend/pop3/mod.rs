//! POP3 (RFC 1939) of the INBOX, with what RFC 2449, 2595, 5034 and 6856 add.
//!
//! A login takes a view of the INBOX that does not change; what is deleted goes from the store at
//! QUIT and no sooner. The mailbox is not locked, so several sessions, and IMAP beside them, can
//! have it at once, and a message that another removed can still be read here. UTF8 and LANG are
//! accepted and change nothing: messages leave as they were stored, and there is one language. A
//! [`Session`] is free of I/O but for [`serve`] around it.

#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;

use super::connection::{Connection, Line, Output};
use super::login::{self, Denied, Exchanged, SASL_OCTETS, Visit};
use super::sasl::{self, Mechanism, Verdict};
use super::store::{AccountStore, Content, INBOX, Mailbox};
use super::{Record, Shared};

/// The most octets of a line: room for PASS, and for AUTH with an initial response.
const LINE_OCTETS: usize = SASL_OCTETS;

const NO_SUCH_MESSAGE: &str = "No such message";
const NO_ARGUMENTS: &str = "This command takes no arguments";
const UNKNOWN: &str = "Unknown command, or not now";

/// Serves one connection to its end.
pub(super) async fn serve(
    shared: Arc<Shared>,
    mut connection: Connection,
    record: Record,
) -> io::Result<()> {
    let mut session = Session { visit: Visit::new(shared, record), state: State::Start };
    session.greet(&mut connection.out);
    loop {
        let line = match connection.line(LINE_OCTETS).await? {
            Line::Text(line) => line,
            Line::TooLong => {
                connection.out.line("-ERR Line too long");
                return connection.finish().await;
            }
            Line::Ended => return connection.finish().await,
        };
        let next = match session.perform(&line, &mut connection.out) {
            Next::Authenticate(mechanism, initial) => {
                authenticate(&mut session, mechanism, initial, &mut connection).await?
            }
            next @ (Next::Command | Next::StartTls | Next::End) => next,
        };
        if session.visit.patience_is_over() {
            connection.out.line("-ERR Too many mistakes");
            return connection.finish().await;
        }
        match next {
            Next::StartTls => {
                connection = session.visit.start_tls(connection).await?;
                session.state = State::Start;
            }
            Next::End => return connection.finish().await,
            Next::Command | Next::Authenticate(..) => {}
        }
    }
}

/// What is to be done after a line was answered.
enum Next {
    Command,
    StartTls,
    /// With the initial response, in base64.
    Authenticate(Mechanism, Option<Vec<u8>>),
    End,
}

/// The text behind +OK, or behind -ERR.
type Outcome = Result<String, &'static str>;

enum State {
    Start,
    /// USER was given; PASS may follow.
    Named(Vec<u8>),
    Open(Maildrop),
}

struct Session {
    visit: Visit,
    state: State,
}

impl Session {
    fn greet(&self, out: &mut Output) {
        // Proxies look for this word in the greeting, before they could ask CAPA.
        let xclient = if self.visit.shared.settings.offer_xclient { "[XCLIENT] " } else { "" };
        out.line(&format!("+OK {xclient}{} ready", self.visit.name()));
    }

    fn perform(&mut self, line: &[u8], out: &mut Output) -> Next {
        let end = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
        let verb = String::from_utf8_lossy(&line[..end]).to_ascii_uppercase();
        let rest = line.get(end + 1..).unwrap_or_default();
        let text = std::str::from_utf8(rest).unwrap_or("\u{fffd}").trim_end();
        // A name stands for the very next command only.
        let state = std::mem::replace(&mut self.state, State::Start);
        let outcome = match (verb.as_str(), state) {
            ("QUIT", state) if text.is_empty() => {
                if let State::Open(maildrop) = state {
                    maildrop.update();
                }
                out.line("+OK Bye");
                return Next::End;
            }
            ("PASS", State::Named(user)) => self.pass(&user, rest),
            (_, State::Open(mut maildrop)) => {
                let outcome = match verb.as_str() {
                    "CAPA" => self.capabilities(true, out),
                    "LANG" => language(text, out),
                    _ => maildrop.perform(&verb, text, out),
                };
                self.state = State::Open(maildrop);
                outcome
            }
            ("STLS", _) => match self.tls_allowed(text) {
                Ok(()) => {
                    out.line("+OK Begin TLS");
                    return Next::StartTls;
                }
                Err(refusal) => Err(refusal),
            },
            ("AUTH", _) => match self.auth(text, out) {
                Ok(next) => return next,
                Err(refusal) => Err(refusal),
            },
            _ => self.before_login(&verb, rest, text, out),
        };
        self.reply(outcome, out);
        Next::Command
    }

    /// Commands with several lines of answer have already written them, and say nothing here.
    fn reply(&mut self, outcome: Outcome, out: &mut Output) {
        match outcome {
            Ok(text) if text.is_empty() => {}
            Ok(text) => out.line(&format!("+OK {text}")),
            Err(text) => {
                if [UNKNOWN, NO_ARGUMENTS].contains(&text) {
                    self.visit.mistake();
                }
                out.line(&format!("-ERR {text}"));
            }
        }
    }

    fn before_login(&mut self, verb: &str, rest: &[u8], text: &str, out: &mut Output) -> Outcome {
        match verb {
            "CAPA" => self.capabilities(false, out),
            "LANG" => language(text, out),
            "NOOP" | "UTF8" if !text.is_empty() => Err(NO_ARGUMENTS),
            "NOOP" => Ok("Nothing done".to_owned()),
            "UTF8" => Ok("UTF8 enabled".to_owned()),
            "USER" if rest.is_empty() => Err("A name is missing"),
            "USER" => {
                self.login_allowed()?;
                self.state = State::Named(rest.to_vec());
                Ok("Send PASS".to_owned())
            }
            "PASS" => Err("USER first"),
            "XCLIENT" if self.visit.shared.settings.offer_xclient => {
                self.visit.identify(login::xclient(text).ok_or("Attributes expected")?);
                Ok("Updated".to_owned())
            }
            _ => Err(UNKNOWN),
        }
    }

    fn capabilities(&self, logged_in: bool, out: &mut Output) -> Outcome {
        out.line("+OK Capabilities follow");
        for capability in ["TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING"] {
            out.line(capability);
        }
        out.line("UTF8");
        out.line("LANG");
        if self.visit.tls_is_due() {
            out.line("STLS");
        } else if !logged_in {
            out.line("USER");
            out.line(&format!("SASL {}", Mechanism::names()));
        }
        out.line("EXPIRE NEVER");
        out.line("IMPLEMENTATION Gatepost-trial-backend");
        out.line(".");
        Ok(String::new())
    }

    fn tls_allowed(&self, arguments: &str) -> Result<(), &'static str> {
        match (arguments.is_empty(), self.visit.tls_is_due()) {
            (false, _) => Err(NO_ARGUMENTS),
            (true, false) => Err(UNKNOWN),
            (true, true) => Ok(()),
        }
    }

    fn login_allowed(&self) -> Result<(), &'static str> {
        if self.visit.tls_is_due() { Err("[AUTH] STLS first") } else { Ok(()) }
    }

    /// The exchange that is to begin; or a list, if that was asked for.
    fn auth(&self, arguments: &str, out: &mut Output) -> Result<Next, &'static str> {
        if arguments.is_empty() {
            out.line("+OK Mechanisms follow");
            if self.login_allowed().is_ok() {
                Mechanism::ALL.iter().for_each(|mechanism| out.line(mechanism.name()));
            }
            out.line(".");
            return Ok(Next::Command);
        }
        self.login_allowed()?;
        let (name, initial) = match arguments.split_once(' ') {
            Some((name, initial)) => (name, Some(initial.as_bytes().to_vec())),
            None => (arguments, None),
        };
        let mechanism = Mechanism::named(name).ok_or("Unknown mechanism")?;
        Ok(Next::Authenticate(mechanism, initial))
    }

    /// The password is the whole rest of the line, spaces included.
    fn pass(&mut self, user: &[u8], password: &[u8]) -> Outcome {
        let verdict = sasl::judge_password(user, password, &self.visit.shared.settings.accounts);
        self.accept(verdict, "USER")
    }

    fn accept(&mut self, verdict: Verdict, how: &str) -> Outcome {
        match self.visit.admit(verdict, how) {
            Ok(account) => {
                let maildrop = Maildrop::open(&account).ok_or("[SYS/PERM] No INBOX")?;
                let answer = format!("Logged in, {} messages", maildrop.messages.len());
                self.state = State::Open(maildrop);
                Ok(answer)
            }
            Err(Denied::Credentials) => Err("[AUTH] Invalid credentials"),
            Err(Denied::Malformed) => Err("Not a message of this mechanism"),
        }
    }
}

/// LANG (RFC 6856 §3): there is one language to list or to choose.
fn language(arguments: &str, out: &mut Output) -> Outcome {
    match arguments {
        "" => {
            out.line("+OK Languages follow");
            out.line("en English");
            out.line(".");
            Ok(String::new())
        }
        "*" | "en" | "EN" | "i-default" => Ok("en Language is English".to_owned()),
        _ => Err("No such language"),
    }
}

/// The rest of an AUTH, to its verdict.
async fn authenticate(
    session: &mut Session,
    mechanism: Mechanism,
    initial: Option<Vec<u8>>,
    connection: &mut Connection,
) -> io::Result<Next> {
    let exchanged = login::exchange(&session.visit, mechanism, initial, "+", connection).await?;
    let outcome = match exchanged {
        Exchanged::Judged(verdict) => session.accept(verdict, mechanism.name()),
        Exchanged::Cancelled => Err("Cancelled"),
        Exchanged::NotBase64 => Err("Invalid base64"),
        Exchanged::TooLong => {
            connection.out.line("-ERR Line too long");
            return Ok(Next::End);
        }
        Exchanged::Ended => return Ok(Next::End),
    };
    session.reply(outcome, &mut connection.out);
    Ok(Next::Command)
}

/// The INBOX as it was at the login.
struct Maildrop {
    mailbox: Arc<Mailbox>,
    messages: Vec<Entry>,
}

struct Entry {
    uid: u32,
    content: Arc<Content>,
    deleted: bool,
}

impl Maildrop {
    fn open(account: &AccountStore) -> Option<Self> {
        let mailbox = account.mailbox(INBOX)?;
        let entry = |message: &super::store::Message| Entry {
            uid: message.uid,
            content: Arc::clone(&message.content),
            deleted: false,
        };
        let messages = mailbox.messages().list().iter().map(entry).collect();
        Some(Self { mailbox, messages })
    }

    fn perform(&mut self, verb: &str, arguments: &str, out: &mut Output) -> Outcome {
        match verb {
            "STAT" | "RSET" | "NOOP" if !arguments.is_empty() => Err(NO_ARGUMENTS),
            "STAT" => Ok(self.sum()),
            "NOOP" => Ok("Nothing done".to_owned()),
            "RSET" => {
                self.messages.iter_mut().for_each(|entry| entry.deleted = false);
                Ok("Nothing is deleted".to_owned())
            }
            "LIST" => self.list(arguments, |entry| entry.content.wire().octets.to_string(), out),
            "UIDL" => {
                let validity = self.mailbox.validity();
                self.list(arguments, |entry| format!("{validity:08x}{:08x}", entry.uid), out)
            }
            "RETR" => {
                let content = &self.message(arguments)?.content;
                out.line(&format!("+OK {} octets", content.wire().octets));
                out.dotted(content, 0..content.bytes().len());
                Ok(String::new())
            }
            "TOP" => self.top(arguments, out),
            "DELE" => {
                let index = self.index(arguments)?;
                self.messages[index].deleted = true;
                Ok("Deleted at QUIT".to_owned())
            }
            _ => Err(UNKNOWN),
        }
    }

    /// Number and octets of what is not deleted.
    fn sum(&self) -> String {
        let there = || self.messages.iter().filter(|entry| !entry.deleted);
        let octets: usize = there().map(|entry| entry.content.wire().octets).sum();
        format!("{} {octets}", there().count())
    }

    /// Something about one message or, in several lines, about all.
    fn list(&self, arguments: &str, about: impl Fn(&Entry) -> String, out: &mut Output) -> Outcome {
        if !arguments.is_empty() {
            let index = self.index(arguments)?;
            return Ok(format!("{} {}", index + 1, about(&self.messages[index])));
        }
        out.line(&format!("+OK {}", self.sum()));
        for (index, entry) in self.messages.iter().enumerate().filter(|(_, entry)| !entry.deleted) {
            out.line(&format!("{} {}", index + 1, about(entry)));
        }
        out.line(".");
        Ok(String::new())
    }

    /// The header, the empty line, and as many lines of the body as are asked for.
    fn top(&self, arguments: &str, out: &mut Output) -> Outcome {
        let (message, lines) = arguments.split_once(' ').ok_or("Two numbers expected")?;
        let content = &self.message(message)?.content;
        let lines = number(lines).ok_or("Two numbers expected")?;
        let (bytes, header) = (content.bytes(), content.header_length());
        let end = match lines.checked_sub(1) {
            None => header,
            Some(skipped) => memchr::memchr_iter(b'\n', &bytes[header..])
                .nth(skipped)
                .map_or(bytes.len(), |end| header + end + 1),
        };
        out.line("+OK Top of message follows");
        out.dotted(content, 0..end);
        Ok(String::new())
    }

    fn message(&self, arguments: &str) -> Result<&Entry, &'static str> {
        Ok(&self.messages[self.index(arguments)?])
    }

    /// The position of a message that is not deleted.
    fn index(&self, arguments: &str) -> Result<usize, &'static str> {
        let index = number(arguments).and_then(|number| number.checked_sub(1));
        let there = |index: &usize| self.messages.get(*index).is_some_and(|entry| !entry.deleted);
        index.filter(there).ok_or(NO_SUCH_MESSAGE)
    }

    /// QUIT: what is deleted goes.
    fn update(self) {
        let deleted = self.messages.iter().filter(|entry| entry.deleted);
        let deleted: Vec<u32> = deleted.map(|entry| entry.uid).collect();
        if !deleted.is_empty() {
            self.mailbox.change(|messages| {
                messages.remove(|message| deleted.binary_search(&message.uid).is_ok());
            });
        }
    }
}

fn number(text: &str) -> Option<usize> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}
