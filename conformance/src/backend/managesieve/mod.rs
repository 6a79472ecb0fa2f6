//! ManageSieve (RFC 5804): scripts are stored, listed and made active, and never run.
//!
//! A script that is UTF-8 and not empty is taken for a valid one. Answers use both forms of a
//! string: an empty challenge is quoted, one with JSON comes as a literal, so that who stands
//! between must understand either. XCLIENT and UNAUTHENTICATE are there for what a proxy does with
//! them. A [`Session`] is free of I/O; [`serve`] around it reads, and does TLS and SASL. Read next:
//! `command`, then `scripts` beside this folder.

mod command;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::connection::{Connection, Output};
use super::login::{self, Denied, Visit};
use super::sasl::{Mechanism, Verdict};
use super::scripts::{SCRIPT_OCTETS, ScriptFault};
use super::store::AccountStore;
use super::{Record, Shared};
use command::{Received, Syntax, Words};

/// Sieve extensions that scripts may name. None of them is ever run.
const SIEVE: &str = "fileinto envelope";

/// The most octets of a script's name (RFC 5804 §1.6 asks for room for 128 characters of UTF-8).
const NAME_OCTETS: usize = 512;

/// The most octets of a string that is sent quoted.
const QUOTED_OCTETS: usize = 1024;

const UNKNOWN: &str = "Unknown command, or not now";

/// Serves one connection to its end.
pub(super) async fn serve(
    shared: Arc<Shared>,
    mut connection: Connection,
    record: Record,
) -> io::Result<()> {
    let mut session = Session { visit: Visit::new(shared, record), account: None };
    session.capabilities(&mut connection.out);
    loop {
        let next = match command::read(&mut connection, session.account.is_some()).await? {
            Received::Command(words) => session.perform(words, &mut connection.out),
            Received::Bad => session.bad("Not a command", &mut connection.out),
            Received::TooLong => {
                connection.out.line("BYE \"Command too long\"");
                Next::End
            }
            Received::Ended => Next::End,
        };
        let next = match next {
            Next::Authenticate(mechanism, initial) => {
                authenticate(&mut session, mechanism, initial, &mut connection).await?
            }
            Next::Command | Next::StartTls | Next::End => next,
        };
        if session.visit.patience_is_over() {
            connection.out.line("BYE \"Too many mistakes\"");
            return connection.finish().await;
        }
        match next {
            Next::StartTls => {
                connection = session.visit.start_tls(connection).await?;
                session.capabilities(&mut connection.out);
            }
            Next::End => return connection.finish().await,
            Next::Command | Next::Authenticate(..) => {}
        }
    }
}

/// What is to be done after a command was answered.
enum Next {
    Command,
    StartTls,
    /// With the initial response, in base64.
    Authenticate(Mechanism, Option<Vec<u8>>),
    End,
}

/// The text behind OK, or a refusal.
type Outcome = Result<&'static str, Refusal>;

/// A NO: its code, with parentheses and a space behind it, and its text.
struct Refusal {
    code: &'static str,
    text: &'static str,
    mistake: bool,
}

const fn no(code: &'static str, text: &'static str) -> Refusal {
    Refusal { code, text, mistake: false }
}

const fn bad(text: &'static str) -> Refusal {
    Refusal { code: "", text, mistake: true }
}

impl From<Syntax> for Refusal {
    fn from(syntax: Syntax) -> Self {
        bad(syntax.0)
    }
}

impl From<ScriptFault> for Refusal {
    fn from(fault: ScriptFault) -> Self {
        match fault {
            ScriptFault::Missing => no("(NONEXISTENT) ", "No such script"),
            ScriptFault::Exists => no("(ALREADYEXISTS) ", "Script exists already"),
            ScriptFault::Active => no("(ACTIVE) ", "The active script cannot be deleted"),
            ScriptFault::TooMany => no("(QUOTA/MAXSCRIPTS) ", "Too many scripts"),
        }
    }
}

const TOO_LONG: Refusal = no("(QUOTA/MAXSIZE) ", "Script too long");

struct Session {
    visit: Visit,
    account: Option<Arc<AccountStore>>,
}

impl Session {
    /// The block that is the greeting, and that follows TLS (RFC 5804 §1.7 and §2.2).
    fn capabilities(&self, out: &mut Output) {
        out.text("\"IMPLEMENTATION\" ");
        string(self.visit.name().as_bytes(), out);
        out.line("");
        let due = self.visit.tls_is_due();
        let mechanisms = if due { String::new() } else { Mechanism::names() };
        out.line(&format!("\"SASL\" \"{mechanisms}\""));
        out.line(&format!("\"SIEVE\" \"{SIEVE}\""));
        if due {
            out.line("\"STARTTLS\"");
        }
        if self.visit.shared.settings.offer_xclient {
            out.line("\"XCLIENT\"");
        }
        out.line("\"UNAUTHENTICATE\"");
        if self.account.is_some() {
            let login = self.visit.record.locked().login.clone();
            if let Some((user, _)) = login {
                out.text("\"OWNER\" ");
                string(user.as_bytes(), out);
                out.line("");
            }
        }
        out.line("\"VERSION\" \"1.0\"");
        out.line("OK \"Ready\"");
    }

    fn bad(&mut self, text: &'static str, out: &mut Output) -> Next {
        self.reply(Err(bad(text)), out);
        Next::Command
    }

    fn perform(&mut self, mut words: Words, out: &mut Output) -> Next {
        let Some(verb) = words.verb() else {
            return self.bad("Command expected", out);
        };
        let outcome = match verb.as_str() {
            "LOGOUT" => match words.end() {
                Ok(()) => {
                    out.line("OK \"Bye\"");
                    return Next::End;
                }
                Err(syntax) => Err(syntax.into()),
            },
            "STARTTLS" => match self.tls_allowed(&words) {
                Ok(()) => {
                    out.line("OK \"Begin TLS\"");
                    return Next::StartTls;
                }
                Err(refusal) => Err(refusal),
            },
            "AUTHENTICATE" => match self.exchange(&mut words) {
                Ok((mechanism, initial)) => return Next::Authenticate(mechanism, initial),
                Err(refusal) => Err(refusal),
            },
            "CAPABILITY" if words.is_empty() => {
                self.capabilities(out);
                return Next::Command;
            }
            "NOOP" if !words.is_empty() => match echo(&mut words, out) {
                Ok(()) => return Next::Command,
                Err(syntax) => Err(syntax.into()),
            },
            "NOOP" => Ok("Nothing done"),
            _ => self.simple(&verb, &mut words, out),
        };
        self.reply(outcome, out);
        Next::Command
    }

    fn reply(&mut self, outcome: Outcome, out: &mut Output) {
        match outcome {
            Ok(text) => out.line(&format!("OK \"{text}\"")),
            Err(Refusal { code, text, mistake }) => {
                if mistake {
                    self.visit.mistake();
                }
                out.line(&format!("NO {code}\"{text}\""));
            }
        }
    }

    /// Commands that are one answer.
    fn simple(&mut self, verb: &str, words: &mut Words, out: &mut Output) -> Outcome {
        match (verb, &self.account) {
            ("XCLIENT", None) if self.visit.shared.settings.offer_xclient => {
                let pairs = login::xclient(&words.bare()?).ok_or(bad("Attributes expected"))?;
                self.visit.identify(pairs);
                Ok("Updated")
            }
            ("UNAUTHENTICATE", Some(_)) => {
                words.end()?;
                self.account = None;
                Ok("Logged out, and still here")
            }
            (_, Some(account)) => on_scripts(verb, account, words, out),
            (_, None) => Err(bad(UNKNOWN)),
        }
    }

    fn tls_allowed(&self, words: &Words) -> Result<(), Refusal> {
        words.end()?;
        if self.visit.tls_is_due() { Ok(()) } else { Err(bad("STARTTLS is not available")) }
    }

    fn exchange(&self, words: &mut Words) -> Result<(Mechanism, Option<Vec<u8>>), Refusal> {
        let name = words.text()?;
        let initial = if words.is_empty() { None } else { Some(words.text()?) };
        words.end()?;
        if self.account.is_some() {
            return Err(bad("Already logged in"));
        }
        if self.visit.tls_is_due() {
            return Err(no("(ENCRYPT-NEEDED) ", "STARTTLS first"));
        }
        let mechanism = Mechanism::named(&String::from_utf8_lossy(&name));
        Ok((mechanism.ok_or(no("", "Unknown mechanism"))?, initial))
    }

    fn accept(&mut self, verdict: Verdict, how: &str) -> Outcome {
        match self.visit.admit(verdict, how) {
            Ok(account) => {
                self.account = Some(account);
                Ok("Logged in")
            }
            Err(Denied::Credentials) => Err(no("", "Invalid credentials")),
            Err(Denied::Malformed) => Err(bad("Not a message of this mechanism")),
        }
    }
}

/// Commands that need a login.
fn on_scripts(verb: &str, account: &AccountStore, words: &mut Words, out: &mut Output) -> Outcome {
    match verb {
        "HAVESPACE" => {
            let (name, octets) = (name(words)?, words.number()?);
            words.end()?;
            if octets > SCRIPT_OCTETS as u64 {
                return Err(TOO_LONG);
            }
            account.scripts().room_for(&name)?;
            Ok("There is room")
        }
        "PUTSCRIPT" => {
            let (name, script) = (name(words)?, words.text()?);
            words.end()?;
            let content = account.content(checked(script)?);
            let content = content.map_err(|_| no("(QUOTA) ", "The store is full"))?;
            account.scripts().put(&name, content)?;
            Ok("Stored")
        }
        "CHECKSCRIPT" => {
            let script = words.text()?;
            words.end()?;
            checked(script)?;
            Ok("Nothing wrong")
        }
        "LISTSCRIPTS" => {
            words.end()?;
            for (name, active) in account.scripts().names() {
                string(name.as_bytes(), out);
                out.line(if active { " ACTIVE" } else { "" });
            }
            Ok("Listed")
        }
        "SETACTIVE" => {
            let name = String::from_utf8(words.text()?).map_err(|_| bad("Name not in UTF-8"))?;
            words.end()?;
            account.scripts().activate(Some(name.as_str()).filter(|name| !name.is_empty()))?;
            Ok("Active")
        }
        "GETSCRIPT" => {
            let name = name(words)?;
            words.end()?;
            let content = account.scripts().content(&name)?;
            out.line(&format!("{{{}}}", content.bytes().len()));
            out.body(&content, 0..content.bytes().len());
            out.line("");
            Ok("Sent")
        }
        "DELETESCRIPT" => {
            let name = name(words)?;
            words.end()?;
            account.scripts().delete(&name)?;
            Ok("Deleted")
        }
        "RENAMESCRIPT" => {
            let (from, to) = (name(words)?, name(words)?);
            words.end()?;
            account.scripts().rename(&from, &to)?;
            Ok("Renamed")
        }
        _ => Err(bad(UNKNOWN)),
    }
}

/// A script's name: some UTF-8 without control characters (RFC 5804 §1.6).
fn name(words: &mut Words) -> Result<String, Refusal> {
    let name = String::from_utf8(words.text()?).map_err(|_| bad("Name not in UTF-8"))?;
    let odd = |letter: char| letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}');
    if name.is_empty() || name.len() > NAME_OCTETS || name.contains(odd) {
        return Err(no("", "Not a name for a script"));
    }
    Ok(name)
}

/// All that is checked of a script.
fn checked(script: Vec<u8>) -> Result<Vec<u8>, Refusal> {
    if script.len() > SCRIPT_OCTETS {
        return Err(TOO_LONG);
    }
    let sound = !script.is_empty() && std::str::from_utf8(&script).is_ok();
    if sound { Ok(script) } else { Err(no("", "A script is some text in UTF-8")) }
}

/// NOOP with a string that comes back (RFC 5804 §2.13).
fn echo(words: &mut Words, out: &mut Output) -> Result<(), Syntax> {
    let tag = words.text()?;
    words.end()?;
    out.text("OK (TAG ");
    string(&tag, out);
    out.line(") \"Done\"");
    Ok(())
}

/// A string: quoted where that is possible, or a literal.
fn string(text: &[u8], out: &mut Output) {
    let quotable = |byte: &u8| !matches!(byte, 0 | b'\r' | b'\n');
    let quotable = text.len() <= QUOTED_OCTETS
        && text.iter().all(quotable)
        && std::str::from_utf8(text).is_ok();
    if !quotable {
        return literal(text, out);
    }
    out.text("\"");
    for byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.text("\\");
        }
        out.bytes(&[*byte]);
    }
    out.text("\"");
}

fn literal(text: &[u8], out: &mut Output) {
    out.line(&format!("{{{}}}", text.len()));
    out.bytes(text);
}

/// The rest of an AUTHENTICATE, to its verdict (RFC 5804 §2.1).
async fn authenticate(
    session: &mut Session,
    mechanism: Mechanism,
    initial: Option<Vec<u8>>,
    connection: &mut Connection,
) -> io::Result<Next> {
    let message = match initial {
        // An empty message, as some clients write it.
        Some(initial) if initial == b"=" => Vec::new(),
        Some(initial) => initial,
        None => {
            connection.out.line("\"\"");
            match answer(connection).await? {
                Ok(message) => message,
                Err(next) => return Ok(next),
            }
        }
    };
    let outcome = match BASE64.decode(&message) {
        Ok(message) => {
            let verdict = mechanism.judge(&message, &session.visit.shared.settings.accounts);
            if let Verdict::RefusedAfter(challenge) = &verdict {
                literal(BASE64.encode(challenge).as_bytes(), &mut connection.out);
                connection.out.line("");
                // What the client says to this changes nothing (RFC 7628 §3.2.3).
                if let Err(next) = answer(connection).await? {
                    return Ok(next);
                }
            }
            session.accept(verdict, mechanism.name())
        }
        Err(_) if message == b"*" => Err(bad("Cancelled")),
        Err(_) => Err(bad("Invalid base64")),
    };
    session.reply(outcome, &mut connection.out);
    Ok(Next::Command)
}

/// The client's string; what is no string at all counts as a cancellation.
async fn answer(connection: &mut Connection) -> io::Result<Result<Vec<u8>, Next>> {
    Ok(match command::read(connection, false).await? {
        Received::Command(mut words) => match (words.text(), words.end()) {
            (Ok(text), Ok(())) => Ok(text),
            (Ok(_) | Err(_), _) => Ok(b"*".to_vec()),
        },
        Received::Bad => Ok(b"*".to_vec()),
        Received::TooLong => {
            connection.out.line("BYE \"Command too long\"");
            Err(Next::End)
        }
        Received::Ended => Err(Next::End),
    })
}
