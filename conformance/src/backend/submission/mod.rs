//! Message submission (RFC 6409): SMTP with a login, for mail between users of this backend.
//!
//! A message goes into the INBOX of each recipient, with the trace fields in front that RFC 5321
//! §4.4 asks for; anybody else's address is refused, so that nothing ever leaves. [`EXTENSIONS`]
//! says what is understood. A [`Session`] is free of I/O; [`serve`] around it reads, and does what
//! needs more than one answer: TLS, SASL, DATA and BDAT. Read next: `envelope`, for what MAIL, RCPT
//! and the message itself make up.

mod envelope;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;

use super::connection::{Connection, Line, Output};
use super::login::{self, Denied, Exchanged, Pair, SASL_OCTETS, Visit};
use super::sasl::{Mechanism, Verdict};
use super::store::AccountStore;
use super::{Record, Shared};
use envelope::{Envelope, MESSAGE_OCTETS};

/// What EHLO lists besides STARTTLS, AUTH and XCLIENT.
const EXTENSIONS: [&str; 4] = ["PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES", "CHUNKING"];

/// The attributes of XCLIENT that are offered. Not LOGIN, which would be a login without a
/// password.
const ATTRIBUTES: [&str; 10] = [
    "NAME",
    "ADDR",
    "PORT",
    "HELO",
    "PROTO",
    "DESTADDR",
    "DESTPORT",
    "SESSION",
    "TTL",
    "CLIENT-TRANSPORT",
];

/// The most octets of a line: room for AUTH with an initial response.
const LINE_OCTETS: usize = SASL_OCTETS;

/// What the backend calls itself where a domain is due.
const HOST: &str = "localhost";

/// Serves one connection to its end.
pub(super) async fn serve(
    shared: Arc<Shared>,
    mut connection: Connection,
    record: Record,
) -> io::Result<()> {
    let mut session = Session::new(Visit::new(shared, record));
    session.greet(&mut connection.out);
    loop {
        let line = match connection.line(LINE_OCTETS).await? {
            Line::Text(line) => line,
            Line::TooLong => {
                connection.out.line("500 5.5.2 Line too long");
                return connection.finish().await;
            }
            Line::Ended => return connection.finish().await,
        };
        let next = match session.perform(&line, &mut connection.out) {
            Next::Authenticate(mechanism, initial) => {
                authenticate(&mut session, mechanism, initial, &mut connection).await?
            }
            Next::Data => data(&mut session, &mut connection).await?,
            Next::Chunk { octets, last } => {
                chunk(&mut session, octets, last, &mut connection).await?
            }
            next @ (Next::Command | Next::StartTls | Next::End) => next,
        };
        if session.visit.patience_is_over() {
            connection.out.line(&format!("421 4.7.0 {HOST} Too many mistakes"));
            return connection.finish().await;
        }
        match next {
            Next::StartTls => {
                connection = session.visit.start_tls(connection).await?;
                session.restart();
            }
            Next::End => return connection.finish().await,
            Next::Command | Next::Authenticate(..) | Next::Data | Next::Chunk { .. } => {}
        }
    }
}

/// What is to be done after a line was answered.
enum Next {
    Command,
    StartTls,
    /// With the initial response, in base64.
    Authenticate(Mechanism, Option<Vec<u8>>),
    /// The message follows, up to its dot.
    Data,
    /// So many octets of the message follow. Nothing has been answered yet.
    Chunk {
        octets: u64,
        last: bool,
    },
    End,
}

/// A whole reply of one line, positive or negative.
type Reply = String;

fn reply(text: &str) -> Reply {
    text.to_owned()
}

const SYNTAX: &str = "501 5.5.4 Syntax error in parameters";
const SEQUENCE: &str = "503 5.5.1 Not now";
const UNKNOWN: &str = "500 5.5.1 Unknown command";

/// How the client introduced itself.
enum Hello {
    None,
    Helo(String),
    Ehlo(String),
}

struct Session {
    visit: Visit,
    hello: Hello,
    account: Option<Arc<AccountStore>>,
    envelope: Option<Envelope>,
}

impl Session {
    fn new(visit: Visit) -> Self {
        Self { visit, hello: Hello::None, account: None, envelope: None }
    }

    /// Nothing of what the client said so far counts: after TLS, and after XCLIENT.
    fn restart(&mut self) {
        self.hello = Hello::None;
        self.account = None;
        self.envelope = None;
    }

    fn greet(&self, out: &mut Output) {
        out.line(&format!("220 {HOST} ESMTP {}", self.visit.name()));
    }

    fn perform(&mut self, line: &[u8], out: &mut Output) -> Next {
        let text = std::str::from_utf8(line).unwrap_or("\u{fffd}");
        let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
        let verb = verb.to_ascii_uppercase();
        let rest = rest.trim();
        let answer = match verb.as_str() {
            "EHLO" => return self.ehlo(rest, out),
            "QUIT" if rest.is_empty() => {
                out.line(&format!("221 2.0.0 {HOST} Bye"));
                return Next::End;
            }
            "STARTTLS" => match self.tls_allowed(rest) {
                Ok(()) => {
                    out.line("220 2.0.0 Begin TLS");
                    return Next::StartTls;
                }
                Err(refusal) => refusal,
            },
            "AUTH" => match self.auth(rest) {
                Ok((mechanism, initial)) => return Next::Authenticate(mechanism, initial),
                Err(refusal) => refusal,
            },
            "DATA" => match self.data_allowed(rest) {
                Ok(()) => {
                    out.line("354 End with a dot on a line of its own");
                    return Next::Data;
                }
                Err(refusal) => refusal,
            },
            "BDAT" => match envelope::chunk(rest) {
                Some((octets, last)) => return Next::Chunk { octets, last },
                // What follows is data or a command, and nobody can tell which.
                None => {
                    out.line(SYNTAX);
                    return Next::End;
                }
            },
            "XCLIENT" if self.visit.shared.settings.offer_xclient => match self.xclient(rest) {
                Ok(()) => {
                    self.greet(out);
                    return Next::Command;
                }
                Err(refusal) => refusal,
            },
            _ => self.simple(&verb, rest),
        };
        self.say(&answer, out);
        Next::Command
    }

    fn say(&mut self, answer: &str, out: &mut Output) {
        if answer.starts_with("50") {
            self.visit.mistake();
        }
        out.line(answer);
    }

    /// Commands that are one answer.
    fn simple(&mut self, verb: &str, rest: &str) -> Reply {
        match verb {
            "HELO" if is_domain(rest) => {
                self.envelope = None;
                self.hello = Hello::Helo(rest.to_owned());
                format!("250 {HOST}")
            }
            "RSET" | "QUIT" if !rest.is_empty() => reply(SYNTAX),
            "HELO" => reply(SYNTAX),
            "RSET" => {
                self.envelope = None;
                reply("250 2.0.0 Nothing is kept")
            }
            "NOOP" => reply("250 2.0.0 Nothing done"),
            "HELP" => reply("214 2.0.0 See RFC 6409 and RFC 5321"),
            "VRFY" if rest.is_empty() => reply(SYNTAX),
            "VRFY" => reply("252 2.5.0 Not verified, but RCPT will tell"),
            "EXPN" => reply("502 5.5.1 Not implemented"),
            "MAIL" | "RCPT" if self.account.is_none() => reply("530 5.7.0 Log in first"),
            "MAIL" if self.envelope.is_some() => reply(SEQUENCE),
            "MAIL" => match Envelope::begin(rest) {
                Ok(envelope) => {
                    self.envelope = Some(envelope);
                    reply("250 2.1.0 Sender ok")
                }
                Err(refusal) => reply(refusal),
            },
            "RCPT" => match &mut self.envelope {
                Some(envelope) => reply(envelope.recipient(rest, &self.visit.shared.store)),
                None => reply(SEQUENCE),
            },
            _ => reply(UNKNOWN),
        }
    }

    fn ehlo(&mut self, domain: &str, out: &mut Output) -> Next {
        if !is_domain(domain) {
            self.say(SYNTAX, out);
            return Next::Command;
        }
        self.envelope = None;
        self.hello = Hello::Ehlo(domain.to_owned());
        out.line(&format!("250-{HOST}"));
        for extension in EXTENSIONS {
            out.line(&format!("250-{extension}"));
        }
        if self.visit.shared.settings.offer_xclient {
            out.line(&format!("250-XCLIENT {}", ATTRIBUTES.join(" ")));
        }
        if self.visit.tls_is_due() {
            out.line("250-STARTTLS");
        } else {
            out.line(&format!("250-AUTH {}", Mechanism::names()));
        }
        out.line(&format!("250 SIZE {MESSAGE_OCTETS}"));
        Next::Command
    }

    fn tls_allowed(&self, arguments: &str) -> Result<(), Reply> {
        match (arguments.is_empty(), self.visit.tls_is_due()) {
            (false, _) => Err(reply(SYNTAX)),
            (true, false) => Err(reply("503 5.5.1 STARTTLS is not available")),
            (true, true) => Ok(()),
        }
    }

    fn auth(&self, arguments: &str) -> Result<(Mechanism, Option<Vec<u8>>), Reply> {
        let (name, initial) = match arguments.split_once(' ') {
            Some((name, initial)) => (name, Some(initial.as_bytes().to_vec())),
            None => (arguments, None),
        };
        if name.is_empty() {
            return Err(reply(SYNTAX));
        }
        if self.account.is_some() || !matches!(self.hello, Hello::Ehlo(_)) {
            return Err(reply(SEQUENCE));
        }
        if self.visit.tls_is_due() {
            return Err(reply("538 5.7.11 STARTTLS first"));
        }
        match Mechanism::named(name) {
            Some(mechanism) => Ok((mechanism, initial)),
            None => Err(reply("504 5.5.4 Unknown mechanism")),
        }
    }

    fn accept(&mut self, verdict: Verdict, how: &str) -> Reply {
        match self.visit.admit(verdict, how) {
            Ok(account) => {
                self.account = Some(account);
                reply("235 2.7.0 Logged in")
            }
            Err(Denied::Credentials) => reply("535 5.7.8 Invalid credentials"),
            Err(Denied::Malformed) => reply("501 5.5.2 Not a message of this mechanism"),
        }
    }

    /// As Postfix has it: only what was offered, not in a transaction, and the session begins anew.
    fn xclient(&mut self, arguments: &str) -> Result<(), Reply> {
        if self.envelope.is_some() || matches!(self.hello, Hello::None) {
            return Err(reply(SEQUENCE));
        }
        let known = |(name, _): &Pair| {
            ATTRIBUTES.iter().any(|attribute| attribute.eq_ignore_ascii_case(name))
        };
        match login::xclient(arguments) {
            Some(pairs) if pairs.iter().all(known) => {
                self.visit.identify(pairs);
                self.restart();
                Ok(())
            }
            Some(_) | None => Err(reply(SYNTAX)),
        }
    }

    fn data_allowed(&self, arguments: &str) -> Result<(), Reply> {
        match &self.envelope {
            _ if !arguments.is_empty() => Err(reply(SYNTAX)),
            Some(envelope) if envelope.in_chunks() => Err(reply(SEQUENCE)),
            Some(envelope) if envelope.has_recipients() => Ok(()),
            Some(_) => Err(reply("554 5.5.1 No valid recipients")),
            None => Err(reply(SEQUENCE)),
        }
    }

    /// The message is complete, or was too long.
    fn message(&mut self, message: Option<Vec<u8>>) -> Reply {
        let (Some(envelope), Some(account)) = (self.envelope.take(), &self.account) else {
            return reply(SEQUENCE);
        };
        let Some(message) = message else {
            return reply(envelope::TOO_LONG);
        };
        let hello = match &self.hello {
            Hello::None => "unknown",
            Hello::Helo(name) | Hello::Ehlo(name) => name,
        };
        envelope.deliver(message, hello, account, &self.visit)
    }
}

/// A domain or an address literal, or what clients send instead of one.
fn is_domain(text: &str) -> bool {
    (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The rest of an AUTH, to its verdict.
async fn authenticate(
    session: &mut Session,
    mechanism: Mechanism,
    initial: Option<Vec<u8>>,
    connection: &mut Connection,
) -> io::Result<Next> {
    let exchanged = login::exchange(&session.visit, mechanism, initial, "334", connection).await?;
    let answer = match exchanged {
        Exchanged::Judged(verdict) => session.accept(verdict, mechanism.name()),
        Exchanged::Cancelled => reply("501 5.7.0 Cancelled"),
        Exchanged::NotBase64 => reply("501 5.5.2 Invalid base64"),
        Exchanged::TooLong => {
            connection.out.line("500 5.5.6 Line too long");
            return Ok(Next::End);
        }
        Exchanged::Ended => return Ok(Next::End),
    };
    session.say(&answer, &mut connection.out);
    Ok(Next::Command)
}

/// The rest of a DATA, to its answer.
async fn data(session: &mut Session, connection: &mut Connection) -> io::Result<Next> {
    let Some(message) = connection.dotted(MESSAGE_OCTETS).await? else {
        return Ok(Next::End);
    };
    let answer = session.message(message);
    session.say(&answer, &mut connection.out);
    Ok(Next::Command)
}

/// One BDAT: its octets are read, whether they are welcome or not (RFC 3030 §2).
async fn chunk(
    session: &mut Session,
    octets: u64,
    last: bool,
    connection: &mut Connection,
) -> io::Result<Next> {
    let room = session.envelope.as_ref().and_then(Envelope::room_for_chunk);
    let answer = if room.is_none_or(|room| octets > room as u64) {
        if !connection.skip(octets).await? {
            return Ok(Next::End);
        }
        match &mut session.envelope {
            Some(envelope) => reply(envelope.refuse_chunk(last)),
            None => reply(SEQUENCE),
        }
    } else {
        // Within the room, hence within usize.
        let Some(chunk) = connection.octets(octets as usize).await? else {
            return Ok(Next::End);
        };
        if let Some(envelope) = &mut session.envelope {
            envelope.add_chunk(chunk);
        }
        match &mut session.envelope {
            Some(envelope) if last => {
                let message = envelope.take_chunks();
                session.message(Some(message))
            }
            Some(_) | None => format!("250 2.0.0 {octets} octets received"),
        }
    };
    session.say(&answer, &mut connection.out);
    Ok(Next::Command)
}
