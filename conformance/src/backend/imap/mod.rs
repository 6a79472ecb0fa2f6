//! IMAP4rev1 (RFC 3501) with the extensions that everyday clients ask for; see [`EXTENSIONS`].
//!
//! `\Recent` is never set: it needs to know which session saw a message first, and clients do
//! without. A [`Session`] is free of I/O: it takes one command and fills the output; [`serve`]
//! around it reads, writes, and does what needs more than one answer: TLS, SASL, IDLE. Commands of
//! one kind have a file each: `mailboxes`, `selected` with `fetch` and `search`; `command` reads
//! and parses.

mod command;
mod fetch;
mod mailboxes;
mod search;
mod selected;
mod sequence;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;

use super::connection::{Connection, Line, Output};
use super::date::Date;
use super::login::{self, Denied, Exchanged, SASL_OCTETS, Visit};
use super::message;
use super::sasl::{self, Mechanism, Verdict};
use super::store::{AccountStore, StoreFault};
use super::{Record, Shared};
use command::{Arguments, Command, Received, Syntax};
use selected::{Numbering, Selected};

/// What is advertised besides TLS and SASL mechanisms.
const EXTENSIONS: &str =
    "IMAP4rev1 SASL-IR LITERAL+ ID ENABLE IDLE NAMESPACE CHILDREN UIDPLUS UNSELECT MOVE";

/// The most field-value pairs of one ID: the 30 that RFC 2971 gives a client, and what proxies on
/// the way add.
const ID_PAIRS: usize = login::IDENTITY_PAIRS;

/// Serves one connection to its end.
pub(super) async fn serve(
    shared: Arc<Shared>,
    mut connection: Connection,
    record: Record,
) -> io::Result<()> {
    let mut session = Session::new(shared, record);
    session.greet(&mut connection.out);
    loop {
        let next = match command::read(&mut connection, session.logged_in()).await? {
            Received::Command(command) => session.perform(command, &mut connection.out),
            Received::Bad(reply) => {
                connection.out.line(&reply);
                session.mistake()
            }
            Received::Fatal(reason) => {
                connection.out.line(&format!("* BYE {reason}"));
                Next::End
            }
            Received::Ended => Next::End,
        };
        let next = match next {
            Next::Authenticate(exchange) => {
                authenticate(&mut session, exchange, &mut connection).await?
            }
            Next::Idle(tag) => idle(&mut session, &tag, &mut connection).await?,
            Next::Command | Next::StartTls | Next::End => next,
        };
        if session.visit.patience_is_over() {
            connection.out.line("* BYE Too many mistakes");
            return connection.finish().await;
        }
        match next {
            Next::StartTls => connection = session.visit.start_tls(connection).await?,
            Next::End => return connection.finish().await,
            Next::Command | Next::Authenticate(_) | Next::Idle(_) => {}
        }
    }
}

/// What is to be done after a command was answered.
enum Next {
    Command,
    StartTls,
    Authenticate(Exchange),
    /// With the command's tag.
    Idle(String),
    End,
}

/// An AUTHENTICATE that is going on.
struct Exchange {
    tag: String,
    mechanism: Mechanism,
    /// In base64, `=` for an empty one.
    initial: Option<Vec<u8>>,
}

/// The text behind a tagged OK, or a refusal.
type Outcome = Result<String, Refusal>;

/// A tagged NO or BAD.
struct Refusal {
    bad: bool,
    text: &'static str,
}

impl Refusal {
    const fn no(text: &'static str) -> Self {
        Self { bad: false, text }
    }

    const fn bad(text: &'static str) -> Self {
        Self { bad: true, text }
    }
}

impl From<Syntax> for Refusal {
    fn from(syntax: Syntax) -> Self {
        Self::bad(syntax.0)
    }
}

fn store_refusal(fault: StoreFault) -> Refusal {
    Refusal::no(match fault {
        StoreFault::Missing => "[NONEXISTENT] No such mailbox",
        StoreFault::Exists => "[ALREADYEXISTS] Mailbox exists already",
        StoreFault::Name => "[CANNOT] Not with this name",
        StoreFault::Full => "[OVERQUOTA] Too much for a backend that is for trying out",
    })
}

/// The mailbox is the login's: it goes when a login ends, which only the connection's end does.
enum State {
    Start,
    LoggedIn { account: Arc<AccountStore>, selected: Option<Selected> },
}

struct Session {
    visit: Visit,
    state: State,
}

impl Session {
    fn new(shared: Arc<Shared>, record: Record) -> Self {
        Self { visit: Visit::new(shared, record), state: State::Start }
    }

    fn logged_in(&self) -> bool {
        matches!(self.state, State::LoggedIn { .. })
    }

    fn greet(&self, out: &mut Output) {
        out.line(&format!("* OK [CAPABILITY {}] {} ready", self.capabilities(), self.visit.name()));
    }

    fn capabilities(&self) -> String {
        if self.logged_in() {
            return EXTENSIONS.to_owned();
        }
        if self.visit.tls_is_due() {
            return format!("{EXTENSIONS} STARTTLS LOGINDISABLED");
        }
        let mechanisms = Mechanism::ALL.map(|mechanism| format!("AUTH={}", mechanism.name()));
        format!("{EXTENSIONS} {}", mechanisms.join(" "))
    }

    fn mistake(&mut self) -> Next {
        self.visit.mistake();
        Next::Command
    }

    /// One command: untagged replies, then news of the mailbox, then the tagged reply. The commands
    /// that go on after their first answer are told apart here.
    fn perform(&mut self, command: Command, out: &mut Output) -> Next {
        let Command { tag, verb, mut arguments } = command;
        let outcome = match verb.as_str() {
            "STARTTLS" => match self.starttls_allowed(&mut arguments) {
                Ok(()) => {
                    out.line(&format!("{tag} OK Begin TLS"));
                    return Next::StartTls;
                }
                Err(refusal) => Err(refusal),
            },
            "AUTHENTICATE" => match self.exchange(&tag, &mut arguments) {
                Ok(exchange) => return Next::Authenticate(exchange),
                Err(refusal) => Err(refusal),
            },
            "IDLE" => match (self.logged_in(), arguments.end()) {
                (true, Ok(())) => return Next::Idle(tag),
                (false, _) => Err(Refusal::bad("Log in first")),
                (_, Err(syntax)) => Err(syntax.into()),
            },
            "LOGOUT" => match arguments.end() {
                Ok(()) => {
                    out.line("* BYE Logging out");
                    out.line(&format!("{tag} OK LOGOUT completed"));
                    return Next::End;
                }
                Err(syntax) => Err(syntax.into()),
            },
            _ => self.simple(&verb, &mut arguments, out),
        };
        self.report(!matches!(verb.as_str(), "FETCH" | "STORE" | "SEARCH"), out);
        self.reply(&tag, outcome, out);
        Next::Command
    }

    fn reply(&mut self, tag: &str, outcome: Outcome, out: &mut Output) {
        match outcome {
            Ok(text) => out.line(&format!("{tag} OK {text}")),
            Err(Refusal { bad, text }) => {
                if bad {
                    self.visit.mistake();
                }
                out.line(&format!("{tag} {} {text}", if bad { "BAD" } else { "NO" }));
            }
        }
    }

    fn report(&mut self, expunged: bool, out: &mut Output) {
        if let State::LoggedIn { selected: Some(selected), .. } = &mut self.state {
            selected.report(expunged, out);
        }
    }

    /// Commands that are one answer.
    fn simple(&mut self, verb: &str, arguments: &mut Arguments, out: &mut Output) -> Outcome {
        match verb {
            "CAPABILITY" => {
                arguments.end()?;
                out.line(&format!("* CAPABILITY {}", self.capabilities()));
                Ok("CAPABILITY completed".into())
            }
            "NOOP" => {
                arguments.end()?;
                Ok("NOOP completed".into())
            }
            "ID" => self.id(arguments, out),
            "LOGIN" => self.login(arguments),
            _ => match &mut self.state {
                State::Start => Err(Refusal::bad("Unknown command, or not before login")),
                State::LoggedIn { account, selected } => {
                    let discard = self.visit.shared.settings.discard_appended;
                    logged_in(verb, account, selected, discard, arguments, out)
                }
            },
        }
    }

    fn id(&mut self, arguments: &mut Arguments, out: &mut Output) -> Outcome {
        arguments.space()?;
        let mut pairs = Vec::new();
        if arguments.eat(b'(') {
            while !arguments.eat(b')') {
                if !pairs.is_empty() {
                    arguments.space()?;
                }
                let name = String::from_utf8_lossy(&arguments.string()?).into_owned();
                arguments.space()?;
                let value = arguments.nstring()?;
                let value = value.map(|value| String::from_utf8_lossy(&value).into_owned());
                pairs.push((name, value));
                if pairs.len() > ID_PAIRS {
                    return Err(Refusal::bad("Too many fields"));
                }
            }
        } else if arguments.nstring()?.is_some() {
            return Err(Refusal::bad("List or NIL expected"));
        }
        arguments.end()?;
        self.visit.identify(pairs);
        out.text("* ID (\"name\" ");
        out.bytes(&message::nstring(Some(self.visit.shared.settings.name.as_bytes())));
        out.line(&format!(" \"version\" \"{}\")", env!("CARGO_PKG_VERSION")));
        Ok("ID completed".into())
    }

    fn starttls_allowed(&self, arguments: &mut Arguments) -> Result<(), Refusal> {
        arguments.end()?;
        if !self.visit.tls_is_due() || self.logged_in() {
            return Err(Refusal::bad("STARTTLS is not available"));
        }
        Ok(())
    }

    fn login_allowed(&self) -> Result<(), Refusal> {
        if self.logged_in() {
            return Err(Refusal::bad("Already logged in"));
        }
        if self.visit.tls_is_due() {
            return Err(Refusal::no("[PRIVACYREQUIRED] STARTTLS first"));
        }
        Ok(())
    }

    fn login(&mut self, arguments: &mut Arguments) -> Outcome {
        arguments.space()?;
        let user = arguments.astring()?;
        arguments.space()?;
        let password = arguments.astring()?;
        arguments.end()?;
        self.login_allowed()?;
        let verdict = sasl::judge_password(&user, &password, &self.visit.shared.settings.accounts);
        self.accept(verdict, "LOGIN")
    }

    fn exchange(&self, tag: &str, arguments: &mut Arguments) -> Result<Exchange, Refusal> {
        arguments.space()?;
        let name = arguments.atom()?;
        let initial = match arguments.eat(b' ') {
            true => Some(arguments.astring()?),
            false => None,
        };
        arguments.end()?;
        self.login_allowed()?;
        let Some(mechanism) = Mechanism::named(&name) else {
            return Err(Refusal::no("[CANNOT] Unknown mechanism"));
        };
        Ok(Exchange { tag: tag.to_owned(), mechanism, initial })
    }

    fn accept(&mut self, verdict: Verdict, how: &str) -> Outcome {
        match self.visit.admit(verdict, how) {
            Ok(account) => {
                self.state = State::LoggedIn { account, selected: None };
                Ok(format!("[CAPABILITY {}] Logged in", self.capabilities()))
            }
            Err(Denied::Credentials) => {
                Err(Refusal::no("[AUTHENTICATIONFAILED] Invalid credentials"))
            }
            Err(Denied::Malformed) => Err(Refusal::bad("Not a message of this mechanism")),
        }
    }
}

/// Commands that need a login.
fn logged_in(
    verb: &str,
    account: &Arc<AccountStore>,
    selected: &mut Option<Selected>,
    discard_appended: bool,
    arguments: &mut Arguments,
    out: &mut Output,
) -> Outcome {
    match verb {
        "ENABLE" => {
            arguments.space()?;
            arguments.atom()?;
            while arguments.eat(b' ') {
                arguments.atom()?;
            }
            arguments.end()?;
            // Nothing that is offered here needs to be enabled.
            out.line("* ENABLED");
            Ok("ENABLE completed".into())
        }
        "NAMESPACE" => {
            arguments.end()?;
            out.line("* NAMESPACE ((\"\" \"/\")) NIL NIL");
            Ok("NAMESPACE completed".into())
        }
        "LIST" | "LSUB" => mailboxes::list(verb, account, arguments, out),
        "STATUS" => mailboxes::status(account, arguments, out),
        "CREATE" | "DELETE" | "SUBSCRIBE" | "UNSUBSCRIBE" => {
            mailboxes::change(verb, account, arguments)
        }
        "RENAME" => mailboxes::rename(account, arguments),
        "APPEND" => selected::append(account, discard_appended, arguments),
        "SELECT" | "EXAMINE" => {
            // Even a SELECT that fails leaves the mailbox that was selected (RFC 3501 §6.3.1).
            *selected = None;
            let mailbox = mailboxes::named(account, arguments)?;
            let read_only = verb == "EXAMINE";
            *selected = Some(Selected::open(mailbox, read_only, out));
            let code = if read_only { "[READ-ONLY]" } else { "[READ-WRITE]" };
            Ok(format!("{code} {verb} completed"))
        }
        _ => match selected {
            Some(_) if matches!(verb, "CLOSE" | "UNSELECT") => {
                arguments.end()?;
                if let Some(left) = selected.take().filter(|_| verb == "CLOSE") {
                    left.expunge_silently();
                }
                Ok(format!("{verb} completed"))
            }
            Some(selected) => on_messages(verb, account, selected, arguments, out),
            None => Err(Refusal::bad("Unknown command, or no mailbox selected")),
        },
    }
}

/// Commands that need a selected mailbox.
fn on_messages(
    verb: &str,
    account: &AccountStore,
    selected: &mut Selected,
    arguments: &mut Arguments,
    out: &mut Output,
) -> Outcome {
    let (verb, numbering) = match verb {
        "UID" => {
            arguments.space()?;
            (arguments.atom()?.to_ascii_uppercase(), Numbering::Uid)
        }
        _ => (verb.to_owned(), Numbering::Sequence),
    };
    match verb.as_str() {
        "CHECK" if numbering == Numbering::Sequence => {
            arguments.end()?;
            Ok("CHECK completed".into())
        }
        "FETCH" => selected.fetch(numbering, arguments, out),
        "STORE" => selected.store(numbering, arguments, out),
        "SEARCH" => selected.search(numbering, arguments, out),
        "COPY" => selected.copy(numbering, false, account, arguments, out),
        "MOVE" => selected.copy(numbering, true, account, arguments, out),
        "EXPUNGE" => selected.expunge(numbering, arguments),
        _ => Err(Refusal::bad("Unknown command")),
    }
}

/// The rest of an AUTHENTICATE, to its tagged reply.
async fn authenticate(
    session: &mut Session,
    exchange: Exchange,
    connection: &mut Connection,
) -> io::Result<Next> {
    let Exchange { tag, mechanism, initial } = exchange;
    let exchanged = login::exchange(&session.visit, mechanism, initial, "+", connection).await?;
    let outcome = match exchanged {
        Exchanged::Judged(verdict) => session.accept(verdict, mechanism.name()),
        Exchanged::Cancelled => Err(Refusal::bad("Cancelled")),
        Exchanged::NotBase64 => Err(Refusal::bad("Invalid base64")),
        Exchanged::TooLong => {
            connection.out.line("* BYE Line too long");
            return Ok(Next::End);
        }
        Exchanged::Ended => return Ok(Next::End),
    };
    session.reply(&tag, outcome, &mut connection.out);
    Ok(Next::Command)
}

/// IDLE (RFC 2177): tells news of the selected mailbox until the client says something.
async fn idle(session: &mut Session, tag: &str, connection: &mut Connection) -> io::Result<Next> {
    connection.out.line("+ Idling");
    let mut changes = match &session.state {
        State::LoggedIn { selected: Some(selected), .. } => Some(selected.mailbox().watch()),
        State::LoggedIn { selected: None, .. } | State::Start => None,
    };
    loop {
        session.report(true, &mut connection.out);
        connection.flush().await?;
        let Some(changes) = &mut changes else { break };
        tokio::select! {
            arrived = connection.wait_for_input() => {
                arrived?;
                break;
            }
            // The session holds the mailbox, so the sender cannot be gone.
            _ = changes.changed() => {}
        }
    }
    let outcome = match connection.line(SASL_OCTETS).await? {
        Line::Text(line) if line.eq_ignore_ascii_case(b"DONE") => Ok("IDLE completed".to_owned()),
        Line::Text(_) => Err(Refusal::bad("DONE expected")),
        Line::TooLong => {
            connection.out.line("* BYE Line too long");
            return Ok(Next::End);
        }
        Line::Ended => return Ok(Next::End),
    };
    session.report(true, &mut connection.out);
    session.reply(tag, outcome, &mut connection.out);
    Ok(Next::Command)
}
