//! The handshake with a ManageSieve backend, up to its verdict on the login.
//!
//! Capabilities, which come unasked, STARTTLS where configured and capabilities again, then who the
//! client is and its login in one write. It knows no client: the login came complete, and
//! challenges are handed out. Replies have no tags; they come in the order of the commands.
//!
//! Invariants: a reply without a command is a fault; nothing but STARTTLS is written before TLS,
//! and nothing said before it is remembered. Units are taken apart in `reply.rs`.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::convert::Infallible;

use super::reply::{Code, Reply, Status, Unit};
use super::{Sender, State, Welcome, quotable, refusal_text, write_string};
use crate::automaton::{Advance, BackendAsk};
use crate::close::{AttemptFault, Refusal};
use crate::config::TlsMode;
use crate::forward::{announced, xclient_commands};
use crate::handshake::{self, Quota, Settings, surveyed};
use crate::line::{BACKEND_LINE_MAX, without_controls};
use crate::literal::{self, Framing, write_quoted};
use crate::referral;
use crate::sasl::{Login, Mechanism, Proof, decode_base64, encode_base64};
use crate::secret::Secret;

/// There is no login command beside AUTHENTICATE.
type Way = handshake::Way<Infallible>;

/// The backend's side of a ManageSieve login.
#[derive(Debug)]
pub(crate) struct Backend {
    settings: Settings,
    login: Arc<Login>,
    phase: Phase,
    capabilities: Capabilities,
    framing: Framing,
    quota: Quota,
    introduced: bool,
}

#[derive(Debug)]
enum Phase {
    /// The capabilities of the connection are coming in.
    Greeting,
    /// STARTTLS, and the handshake.
    StartTls,
    /// The capabilities inside TLS are coming in.
    Secured,
    /// XCLIENT and the login are outstanding; so many of the first are to be answered.
    Introduction(usize),
    /// The login is outstanding.
    Login,
}

/// What the backend has said of itself in the current TLS state.
#[derive(Debug, Default)]
struct Capabilities {
    starttls: bool,
    /// The attributes of XCLIENT that it names, if it offers that.
    xclient: Option<Vec<u8>>,
    mechanisms: Vec<u8>,
    /// The extensions of Sieve.
    sieve: Vec<u8>,
}

type Outcome = Advance<BackendAsk<Welcome>>;
type Ask = BackendAsk<Welcome>;

impl Backend {
    pub(crate) fn new(login: Arc<Login>, settings: Settings) -> Self {
        Self {
            settings,
            login,
            phase: Phase::Greeting,
            capabilities: Capabilities::default(),
            framing: Framing::default(),
            quota: Quota::default(),
            introduced: false,
        }
    }

    /// Where it stands.
    pub(crate) const fn state(&self) -> State {
        match self.phase {
            Phase::Greeting => State::None,
            Phase::StartTls => State::TlsStart,
            Phase::Secured => State::TlsReady,
            Phase::Introduction(_) => State::Xclient,
            Phase::Login => State::Auth,
        }
    }

    /// Whether anything secret has been written.
    pub(crate) const fn credentials_sent(&self) -> bool {
        match self.phase {
            Phase::Greeting | Phase::StartTls | Phase::Secured => false,
            Phase::Introduction(_) | Phase::Login => true,
        }
    }

    /// Whether the client could not be introduced although it should have been.
    pub(crate) const fn left_out_identity(&self) -> bool {
        self.settings.identity.is_some() && !self.introduced
    }

    /// TLS is up: what was said before it is forgotten, and will be said again unasked.
    pub(crate) fn tls_up(&mut self) {
        debug_assert!(matches!(self.phase, Phase::StartTls), "TLS was not asked for");
        self.phase = Phase::Secured;
        self.framing = Framing::default();
        self.capabilities = Capabilities::default();
    }

    /// Goes on with the login after the survey.
    pub(crate) fn log_in(&mut self, out: &mut Vec<u8>) -> Result<(), AttemptFault> {
        self.settings.survey = false;
        self.begin_login(out).map(|_| ())
    }

    /// Sends the client's answer to a challenge.
    pub(crate) fn respond(&self, response: &Secret, out: &mut Vec<u8>) {
        write_message(response, out);
        out.extend_from_slice(b"\r\n");
    }

    /// Eats one line with its literals, if it is there.
    pub(crate) fn advance(&mut self, input: &[u8], out: &mut Vec<u8>) -> Outcome {
        match self.framing.unit(input, BACKEND_LINE_MAX) {
            literal::Unit::Incomplete => Advance { eaten: 0, ask: BackendAsk::More },
            literal::Unit::TooLong => {
                Advance { eaten: 0, ask: BackendAsk::Fault(AttemptFault::TooLong) }
            }
            literal::Unit::Whole { content, end } => {
                self.framing = Framing::default();
                let taken = self.quota.spend(end);
                let taken = taken.and_then(|()| self.take(&input[..content], out));
                Advance { eaten: end, ask: taken.unwrap_or_else(BackendAsk::Fault) }
            }
        }
    }

    fn take(&mut self, unit: &[u8], out: &mut Vec<u8>) -> Result<Ask, AttemptFault> {
        match (&self.phase, Unit::parse(unit).ok_or(AttemptFault::Protocol)?) {
            (Phase::Greeting | Phase::Secured, Unit::Strings(name, value)) => {
                self.capabilities.take(&name, value.as_deref().unwrap_or_default());
                Ok(BackendAsk::Nothing)
            }
            (Phase::Login, Unit::Strings(challenge, None)) => self.take_challenge(&challenge),
            (Phase::StartTls | Phase::Introduction(_) | Phase::Login, Unit::Strings(..)) => {
                Err(AttemptFault::Protocol)
            }
            (_, Unit::Reply(reply)) => self.take_reply(&reply, out),
        }
    }

    fn take_reply(&mut self, reply: &Reply, out: &mut Vec<u8>) -> Result<Ask, AttemptFault> {
        match (&self.phase, reply.status) {
            (Phase::Greeting, Status::Ok) if self.settings.tls == TlsMode::StartTls => {
                self.ask_start_tls(out)
            }
            (Phase::Greeting | Phase::Secured, Status::Ok) => self.begin_login(out),
            (Phase::Greeting | Phase::Secured, Status::No | Status::Bye) => {
                Err(AttemptFault::GreetingBye)
            }
            (Phase::StartTls, Status::Ok) => Ok(BackendAsk::StartTls),
            (Phase::StartTls, Status::No) => Err(AttemptFault::StartTlsRefused),
            (Phase::Introduction(due), Status::Ok | Status::No) => {
                self.introduced &= reply.status == Status::Ok;
                self.phase = match due - 1 {
                    0 => Phase::Login,
                    due => Phase::Introduction(due),
                };
                Ok(BackendAsk::Nothing)
            }
            (Phase::Login, Status::Ok) => self.welcome(reply),
            (Phase::Login, Status::No) => refused(reply),
            (Phase::Login, Status::Bye) if reply.is("REFERRAL") => refused(reply),
            (_, Status::Bye) if reply.is("TRYLATER") => Err(try_later(reply)),
            // It closes the connection, and only says so first.
            (_, Status::Bye) => Err(AttemptFault::Eof),
        }
    }

    fn ask_start_tls(&mut self, out: &mut Vec<u8>) -> Result<Ask, AttemptFault> {
        if !self.capabilities.starttls {
            return Err(AttemptFault::StartTlsMissing);
        }
        out.extend_from_slice(b"STARTTLS\r\n");
        self.phase = Phase::StartTls;
        Ok(BackendAsk::Nothing)
    }

    /// Introduces the client and logs it in, in one write: whatever the backend says to the first,
    /// the login follows.
    fn begin_login(&mut self, out: &mut Vec<u8>) -> Result<Ask, AttemptFault> {
        if self.settings.survey {
            let extensions = self.capabilities.sieve.split(|&octet| octet == b' ');
            let extensions = extensions.filter(|extension| !extension.is_empty());
            return Ok(BackendAsk::Surveyed(surveyed(extensions)));
        }
        let offers = |mechanism: Mechanism| self.capabilities.offers(mechanism);
        // A literal holds a message of any length (RFC 5804 §2.1).
        let way: Way = handshake::choose(&self.login, offers, |_, _| true, None)?;
        let mechanism = match way {
            Way::Initial(mechanism) | Way::Prompted(mechanism) => mechanism,
            Way::Command(never) => match never {},
        };
        let mut introductions = 0;
        if let Some(identity) = &self.settings.identity
            && let Some(list) = &self.capabilities.xclient
        {
            // Dovecot, which gave the command its meaning here, takes v6 addresses as they are.
            let attributes = announced(identity.xclient_attributes(""), list);
            self.introduced = attributes.iter().any(|(name, _)| *name == "ADDR");
            for command in xclient_commands(&attributes) {
                out.extend_from_slice(&command);
                out.extend_from_slice(b"\r\n");
                introductions += 1;
            }
        }
        out.extend_from_slice(b"AUTHENTICATE ");
        write_quoted(mechanism.name().as_bytes(), out);
        out.push(b' ');
        write_message(&self.login.first_message(), out);
        out.extend_from_slice(b"\r\n");
        self.phase = match introductions {
            0 => Phase::Login,
            due => Phase::Introduction(due),
        };
        Ok(BackendAsk::Nothing)
    }

    fn take_challenge(&self, text: &[u8]) -> Result<Ask, AttemptFault> {
        match &self.login.proof {
            Proof::Exchange { .. } => {
                decode_base64(text).map(BackendAsk::Challenge).map_err(|_| AttemptFault::Protocol)
            }
            Proof::Password(_) => Err(AttemptFault::Protocol),
        }
    }

    /// The login is accepted. Only in an exchange with the client has the backend more to say.
    fn welcome(&self, reply: &Reply) -> Result<Ask, AttemptFault> {
        let code = reply.code.as_ref().filter(|_| reply.is("SASL"));
        let sasl = match &self.login.proof {
            Proof::Exchange { .. } => code.and_then(|code| code.argument()),
            Proof::Password(_) => None,
        };
        if sasl.is_some_and(|message| decode_base64(message).is_err()) {
            return Err(AttemptFault::Protocol);
        }
        let text = quotable(&reply.text).into_bytes();
        Ok(BackendAsk::Accepted(Welcome { sasl: sasl.map(<[u8]>::to_vec), text }))
    }
}

impl Capabilities {
    fn take(&mut self, name: &[u8], value: &[u8]) {
        match name.to_ascii_uppercase().as_slice() {
            b"STARTTLS" => self.starttls = true,
            b"XCLIENT" => self.xclient = Some(value.to_vec()),
            b"SIEVE" => self.sieve = without_controls(value),
            b"SASL" => self.mechanisms = without_controls(value),
            _ => {}
        }
    }

    fn offers(&self, mechanism: Mechanism) -> bool {
        self.mechanisms
            .split(|&octet| octet == b' ')
            .any(|name| name.eq_ignore_ascii_case(mechanism.name().as_bytes()))
    }
}

/// What a NO means. Codes that speak of the account's backend and not of the credentials are
/// faults; a referral is not for clients to follow.
fn refused(reply: &Reply) -> Result<Ask, AttemptFault> {
    if reply.is("TRYLATER") {
        return Err(try_later(reply));
    }
    if reply.is("ENCRYPT-NEEDED") {
        return Err(AttemptFault::ServerBug);
    }
    if reply.is("REFERRAL") {
        let url = reply.code.as_ref().and_then(Code::argument).unwrap_or_default();
        let found = referral::in_url(url, "sieve").ok_or(AttemptFault::Referral)?;
        return Ok(BackendAsk::Referred(found));
    }
    let mut line = Vec::new();
    if let Some(code) = &reply.code {
        line.push(b'(');
        line.extend_from_slice(code.as_bytes());
        line.extend_from_slice(b") ");
    }
    let text = quotable(&reply.text);
    if text.is_empty() {
        line.extend_from_slice(refusal_text(Refusal::Credentials).as_bytes());
    } else {
        write_quoted(text.as_bytes(), &mut line);
    }
    Ok(BackendAsk::Refused(line))
}

/// Dovecot says with NORETRY that its configuration is at fault.
fn try_later(reply: &Reply) -> AttemptFault {
    match reply.is("TRYLATER/NORETRY") {
        true => AttemptFault::ServerBug,
        false => AttemptFault::Temporary,
    }
}

/// A message of an exchange, as the string that it travels in.
fn write_message(message: &Secret, out: &mut Vec<u8>) {
    let mut text = Vec::new();
    encode_base64(message.expose(), &mut text);
    write_string(Secret::new(text).expose(), Sender::Client, out);
}
