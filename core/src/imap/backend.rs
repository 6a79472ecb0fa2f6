//! The handshake with an IMAP backend, up to its verdict on the login.
//!
//! Greeting, STARTTLS where configured, capabilities where they are not known, then identity and
//! login in one write; what is said depends only on what the backend said inside the final TLS
//! state. It knows no client: the login came complete, and challenges are handed out.
//!
//! Invariants: a tagged reply counts only while its command is outstanding; nothing but STARTTLS
//! and CAPABILITY is written before TLS; no verdict is passed on while a reply is due. How the
//! login is written stands in `login.rs`, how the client is introduced in `identity.rs`.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;

use super::command::IdFields;
use super::identity::write_id;
use super::login::{Login, Way};
use super::{Capabilities, Received, Sent, State, Welcome, listed, refusal_text};
use crate::automaton::{Advance, BackendAsk};
use crate::close::{AttemptFault, Refusal};
use crate::config::TlsMode;
use crate::handshake::{Quota, Settings, StatusText, surveyed};
use crate::line::{BACKEND_LINE_MAX, first_word, without_controls};
use crate::literal::{Framing, Unit};
use crate::referral::{self, Referral};
use crate::sasl::{decode_base64, encode_base64};
use crate::secret::Secret;

/// The backend's side of an IMAP login.
#[derive(Debug)]
pub(crate) struct Backend {
    settings: Settings,
    /// What the client said of itself, for the ID command.
    client: IdFields,
    login: Login,
    state: State,
    phase: Phase,
    framing: Framing,
    /// What the backend can do in the state in which the login begins.
    capabilities: Known,
    quota: Quota,
    asked: bool,
    introduced: bool,
    /// The client has answered a challenge, and could not do so again.
    answered: bool,
}

#[derive(Debug)]
enum Phase {
    Greeting,
    /// Before TLS: does it offer STARTTLS?
    Offer,
    StartTls,
    Handshake,
    /// CAPABILITY is asked, then the login begins.
    Capability,
    /// The login command is outstanding.
    Login,
    /// It was refused, perhaps because the remembered capabilities are out of date.
    Recheck {
        refused: Verdict,
    },
    /// It was accepted; replies are still due.
    Settling(Welcome),
    Done,
}

/// What is known of the backend's capabilities.
#[derive(Debug)]
enum Known {
    Nothing,
    /// Said in this session, in the current TLS state.
    Said(Capabilities),
    /// Said in an earlier session.
    Remembered(Capabilities),
}

/// A refusal of the login command.
#[derive(Debug)]
enum Verdict {
    No(Vec<u8>),
    Referred(Referral),
    Fault(AttemptFault),
}

type Outcome = Advance<BackendAsk<Welcome>>;
type Ask = BackendAsk<Welcome>;

/// One line of a backend.
enum Reply<'a> {
    Untagged(&'a [u8]),
    Continuation(&'a [u8]),
    Tagged { sent: Tag, status: Status, rest: &'a [u8] },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tag {
    Id,
    StartTls,
    Capability,
    Login,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Status {
    Ok,
    No,
    Bad,
}

impl Backend {
    pub(crate) fn new(
        login: Arc<crate::sasl::Login>,
        settings: Settings,
        client: IdFields,
    ) -> Self {
        let capabilities = match (&settings.remembered, settings.tls) {
            (Some(list), TlsMode::Implicit | TlsMode::Plain) => {
                Known::Remembered(Capabilities::new(list))
            }
            (None, _) | (Some(_), TlsMode::StartTls) => Known::Nothing,
        };
        Self {
            settings,
            client,
            login: Login::new(login),
            state: State::default(),
            phase: Phase::Greeting,
            framing: Framing::default(),
            capabilities,
            quota: Quota::default(),
            asked: false,
            introduced: false,
            answered: false,
        }
    }

    /// Where it stands.
    pub(crate) const fn state(&self) -> State {
        self.state
    }

    /// Whether anything secret has been written.
    pub(crate) const fn credentials_sent(&self) -> bool {
        self.login.credentials_sent()
    }

    /// The capabilities that had to be asked for and are worth remembering.
    pub(crate) fn learned(&self) -> Option<&[u8]> {
        match (&self.capabilities, self.settings.tls) {
            (Known::Said(list), TlsMode::Implicit | TlsMode::Plain) if self.asked => {
                Some(list.as_bytes())
            }
            (Known::Said(_) | Known::Nothing | Known::Remembered(_), _) => None,
        }
    }

    /// Whether the client could not be introduced although it should have been.
    pub(crate) const fn left_out_identity(&self) -> bool {
        self.settings.identity.is_some() && !self.introduced
    }

    /// TLS is up: what was said before it is forgotten.
    pub(crate) fn tls_up(&mut self, out: &mut Vec<u8>) {
        debug_assert!(matches!(self.phase, Phase::Handshake), "TLS was not asked for");
        self.framing = Framing::default();
        self.capabilities = Known::Nothing;
        self.ask_capability(out);
        self.phase = Phase::Capability;
    }

    /// Goes on with the login after the survey.
    pub(crate) fn log_in(&mut self, out: &mut Vec<u8>) -> Result<(), AttemptFault> {
        self.settings.survey = false;
        self.begin_login(out).map(|_| ())
    }

    /// Sends the client's answer to a challenge.
    pub(crate) fn respond(&mut self, response: &Secret, out: &mut Vec<u8>) {
        encode_base64(response.expose(), out);
        out.extend_from_slice(b"\r\n");
        self.state.send(Sent::AuthContinue);
        self.answered = true;
    }

    /// Eats one line with its literals, if it is there.
    pub(crate) fn advance(&mut self, input: &[u8], out: &mut Vec<u8>) -> Outcome {
        if matches!(self.phase, Phase::Handshake | Phase::Done) {
            return Advance { eaten: 0, ask: BackendAsk::More };
        }
        match self.framing.unit(input, BACKEND_LINE_MAX) {
            Unit::Incomplete => Advance { eaten: 0, ask: BackendAsk::More },
            Unit::TooLong => Advance { eaten: 0, ask: BackendAsk::Fault(AttemptFault::TooLong) },
            Unit::Whole { content, end } => {
                self.framing = Framing::default();
                let ask = match self.quota.spend(end) {
                    Ok(()) => self.take(&input[..content], &input[..end], out),
                    Err(fault) => BackendAsk::Fault(fault),
                };
                Advance { eaten: end, ask }
            }
        }
    }

    /// Takes one line in. `whole` is the line with its end.
    fn take(&mut self, line: &[u8], whole: &[u8], out: &mut Vec<u8>) -> Ask {
        if matches!(self.phase, Phase::Greeting) {
            return self.take_greeting(line, out);
        }
        let asked = match self.understand(line) {
            None => Err(AttemptFault::Protocol),
            Some(Reply::Untagged(text)) => {
                self.take_untagged(text, whole);
                Ok(BackendAsk::Nothing)
            }
            Some(Reply::Continuation(text)) => self.take_continuation(text, out),
            Some(Reply::Tagged { sent, status, rest }) => match sent {
                Tag::Id => self.take_id(),
                Tag::StartTls => self.take_start_tls(status),
                Tag::Capability => self.take_capability(out),
                Tag::Login => self.take_verdict(status, rest, out),
            },
        };
        match asked {
            Ok(BackendAsk::Nothing) => self.settle(),
            Ok(ask) => ask,
            Err(fault) => BackendAsk::Fault(fault),
        }
    }

    fn take_greeting(&mut self, line: &[u8], out: &mut Vec<u8>) -> Ask {
        let Some((word, rest)) = line.strip_prefix(b"* ").map(first_word) else {
            return BackendAsk::Fault(AttemptFault::Protocol);
        };
        if word.eq_ignore_ascii_case(b"BYE") {
            return BackendAsk::Fault(AttemptFault::GreetingBye);
        }
        if word.eq_ignore_ascii_case(b"PREAUTH") {
            return BackendAsk::Fault(AttemptFault::GreetingPreauth);
        }
        if !word.eq_ignore_ascii_case(b"OK") {
            return BackendAsk::Fault(AttemptFault::Protocol);
        }
        self.state.received(Received::Banner);
        let said = listed(StatusText::parse(rest));
        let asked = match (self.settings.tls, said) {
            (TlsMode::StartTls, Some(list)) => self.ask_start_tls(&list, out),
            (TlsMode::StartTls, None) => {
                self.ask_capability(out);
                self.phase = Phase::Offer;
                Ok(BackendAsk::Nothing)
            }
            (TlsMode::Implicit | TlsMode::Plain, Some(list)) => {
                self.capabilities = Known::Said(list);
                self.begin_login(out)
            }
            (TlsMode::Implicit | TlsMode::Plain, None) => self.begin_login(out),
        };
        asked.unwrap_or_else(BackendAsk::Fault)
    }

    fn ask_start_tls(
        &mut self,
        offered: &Capabilities,
        out: &mut Vec<u8>,
    ) -> Result<Ask, AttemptFault> {
        if !offered.has("STARTTLS") {
            return Err(AttemptFault::StartTlsMissing);
        }
        out.extend_from_slice(b"S STARTTLS\r\n");
        self.state.send(Sent::StartTls);
        self.phase = Phase::StartTls;
        Ok(BackendAsk::Nothing)
    }

    fn ask_capability(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"C CAPABILITY\r\n");
        self.state.send(Sent::Capability);
        self.asked = true;
    }

    /// Introduces the client and logs it in, in one write; or asks for capabilities first.
    fn begin_login(&mut self, out: &mut Vec<u8>) -> Result<Ask, AttemptFault> {
        if let Known::Said(list) = &self.capabilities
            && self.settings.survey
        {
            return Ok(BackendAsk::Surveyed(surveyed(list.tokens())));
        }
        let way = match &self.capabilities {
            Known::Nothing => None,
            Known::Said(list) => Some(self.login.choose(list)?),
            Known::Remembered(list) => self.login.choose(list).ok(),
        };
        let (Some(way), Known::Said(list) | Known::Remembered(list)) = (way, &self.capabilities)
        else {
            self.capabilities = Known::Nothing;
            self.ask_capability(out);
            self.phase = Phase::Capability;
            return Ok(BackendAsk::Nothing);
        };
        if let Some(identity) = &self.settings.identity
            && list.has("ID")
            && !self.introduced
        {
            write_id(&self.client, identity, out);
            self.state.send(Sent::Id);
            self.introduced = true;
        }
        self.write_login(way, out);
        Ok(BackendAsk::Nothing)
    }

    fn write_login(&mut self, way: Way, out: &mut Vec<u8>) {
        self.login.begin(way, out);
        self.state.send(match way {
            Way::Command(_) => Sent::Login,
            Way::Initial(_) | Way::Prompted(_) => Sent::Authenticate,
        });
        self.phase = Phase::Login;
    }

    /// Recognises a line; a tagged one only if its command is outstanding.
    fn understand<'a>(&self, line: &'a [u8]) -> Option<Reply<'a>> {
        if let Some(text) = line.strip_prefix(b"+") {
            return Some(Reply::Continuation(text.strip_prefix(b" ").unwrap_or(text)));
        }
        let (tag, rest) = first_word(line);
        let sent = match tag.to_ascii_uppercase().as_slice() {
            b"*" => return Some(Reply::Untagged(rest)),
            b"I" if self.state.awaits(Sent::Id) => Tag::Id,
            b"S" if self.state.awaits(Sent::StartTls) => Tag::StartTls,
            b"C" if self.state.awaits(Sent::Capability) => Tag::Capability,
            b"L" if matches!(self.phase, Phase::Login) => Tag::Login,
            _ => return None,
        };
        let (word, rest) = first_word(rest);
        let status = [(Status::Ok, "OK"), (Status::No, "NO"), (Status::Bad, "BAD")]
            .into_iter()
            .find(|(_, name)| word.eq_ignore_ascii_case(name.as_bytes()))?
            .0;
        Some(Reply::Tagged { sent, status, rest })
    }

    /// Untagged data matters where it lists capabilities, and once the client is logged in.
    fn take_untagged(&mut self, text: &[u8], whole: &[u8]) {
        let (word, rest) = first_word(text);
        let list = word.eq_ignore_ascii_case(b"CAPABILITY").then(|| Capabilities::new(rest));
        let asked = self.state.awaits(Sent::Capability);
        match (&mut self.phase, list) {
            (Phase::Settling(welcome), Some(list)) if asked || welcome.capabilities.is_none() => {
                welcome.capabilities = Some(list);
            }
            (Phase::Settling(welcome), _) => welcome.aftermath.extend_from_slice(whole),
            (Phase::Login, Some(list)) => self.login.granted = Some(list),
            (Phase::Offer | Phase::Capability | Phase::Recheck { .. }, Some(list)) if asked => {
                self.capabilities = Known::Said(list);
            }
            // RFC 9051 §11.3: before login nothing else that is untagged means anything.
            _ => {}
        }
    }

    fn take_continuation(&mut self, text: &[u8], out: &mut Vec<u8>) -> Result<Ask, AttemptFault> {
        if !matches!(self.phase, Phase::Login) {
            return Err(AttemptFault::Protocol);
        }
        self.state.received(Received::AuthContinue);
        let authenticates = !self.state.awaits(Sent::Login);
        self.state.answered(Sent::Authenticate);
        self.state.answered(Sent::AuthContinue);
        if self.login.go_on(out) {
            if authenticates {
                self.state.send(Sent::AuthContinue);
            }
            return Ok(BackendAsk::Nothing);
        }
        if !self.login.is_exchange() {
            return Err(AttemptFault::Protocol);
        }
        decode_base64(text).map(BackendAsk::Challenge).map_err(|_| AttemptFault::Protocol)
    }

    /// Whatever it says to ID: the login does not depend on it.
    fn take_id(&mut self) -> Result<Ask, AttemptFault> {
        self.state.answered(Sent::Id);
        self.state.received(Received::Id);
        Ok(BackendAsk::Nothing)
    }

    fn take_start_tls(&mut self, status: Status) -> Result<Ask, AttemptFault> {
        self.state.answered(Sent::StartTls);
        self.state.received(Received::StartTls);
        match status {
            Status::Ok => {
                self.phase = Phase::Handshake;
                Ok(BackendAsk::StartTls)
            }
            Status::No | Status::Bad => Err(AttemptFault::StartTlsRefused),
        }
    }

    fn take_capability(&mut self, out: &mut Vec<u8>) -> Result<Ask, AttemptFault> {
        self.state.answered(Sent::Capability);
        self.state.received(Received::Capability);
        match mem::replace(&mut self.phase, Phase::Done) {
            Phase::Offer => {
                let offered = mem::replace(&mut self.capabilities, Known::Nothing);
                self.ask_start_tls(offered.said().ok_or(AttemptFault::StartTlsMissing)?, out)
            }
            Phase::Capability => {
                self.capabilities.said().ok_or(AttemptFault::Protocol)?;
                self.begin_login(out)
            }
            Phase::Recheck { refused } => self.try_other_way(refused, out),
            // A backend that will not list them leaves the client to ask for itself.
            Phase::Settling(welcome) => {
                self.phase = Phase::Settling(welcome);
                Ok(BackendAsk::Nothing)
            }
            Phase::Greeting | Phase::StartTls | Phase::Handshake | Phase::Login | Phase::Done => {
                Err(AttemptFault::Protocol)
            }
        }
    }

    /// The remembered list may have led to the refusal: if today's list leads to another way, that
    /// one is gone; if not, the refusal stands.
    fn try_other_way(&mut self, refused: Verdict, out: &mut Vec<u8>) -> Result<Ask, AttemptFault> {
        let Some(list) = self.capabilities.said() else { return refused.deliver() };
        let way = self.login.choose(list)?;
        if self.login.went(way) {
            return refused.deliver();
        }
        self.write_login(way, out);
        Ok(BackendAsk::Nothing)
    }

    fn take_verdict(
        &mut self,
        status: Status,
        rest: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Ask, AttemptFault> {
        for sent in [Sent::Login, Sent::Authenticate, Sent::AuthContinue] {
            self.state.answered(sent);
        }
        self.state.received(Received::Login);
        // Before anybody looks for a response code: what is hidden in one must not be found later.
        let rest = without_controls(rest);
        let reply = StatusText::parse(&rest);
        let verdict = match status {
            // It cannot accept what it has not been told.
            Status::Ok if self.login.is_unfinished() => return Err(AttemptFault::Protocol),
            Status::Ok => {
                self.welcome(reply, out);
                return Ok(BackendAsk::Nothing);
            }
            Status::No => Verdict::of(reply),
            Status::Bad => Verdict::Fault(AttemptFault::CommandRejected),
        };
        let blames_the_way = status == Status::Bad || reply.code.is_none() || reply.is("CANNOT");
        let may_change = matches!(self.capabilities, Known::Remembered(_)) && !self.answered;
        if blames_the_way && may_change {
            self.capabilities = Known::Nothing;
            self.ask_capability(out);
            self.phase = Phase::Recheck { refused: verdict };
            return Ok(BackendAsk::Nothing);
        }
        self.phase = Phase::Done;
        verdict.deliver()
    }

    /// The login is accepted. A client is shown only what the backend lists from here on.
    fn welcome(&mut self, reply: StatusText<'_>, out: &mut Vec<u8>) {
        let said = listed(reply);
        let code = reply
            .code
            .filter(|_| said.is_none() && !reply.is("REFERRAL"))
            .map(|code| [b"[", code, b"]"].concat());
        let capabilities = said.or_else(|| self.login.granted.take());
        if capabilities.is_none() {
            self.ask_capability(out);
        }
        self.phase = Phase::Settling(Welcome {
            capabilities,
            code,
            text: reply.text.to_vec(),
            aftermath: Vec::new(),
        });
    }

    /// Hands the verdict out once nothing of ours is outstanding.
    fn settle(&mut self) -> Ask {
        if let Phase::Settling(welcome) = &mut self.phase
            && self.state.is_quiet()
        {
            let welcome = mem::take(welcome);
            self.phase = Phase::Done;
            return BackendAsk::Accepted(welcome);
        }
        BackendAsk::Nothing
    }
}

impl Known {
    const fn said(&self) -> Option<&Capabilities> {
        match self {
            Self::Said(list) => Some(list),
            Self::Nothing | Self::Remembered(_) => None,
        }
    }
}

impl Verdict {
    /// What a NO means. Codes that speak of the account's backend and not of the credentials are
    /// faults; a referral is not for clients to follow, and a list from before login not for them
    /// to believe.
    fn of(reply: StatusText<'_>) -> Self {
        if reply.is("UNAVAILABLE") {
            return Self::Fault(AttemptFault::Temporary);
        }
        if reply.is("SERVERBUG") || reply.is("PRIVACYREQUIRED") {
            return Self::Fault(AttemptFault::ServerBug);
        }
        if reply.is("REFERRAL") {
            let url = first_word(first_word(reply.code.unwrap_or_default()).1).0;
            let fault = Self::Fault(AttemptFault::Referral);
            return referral::in_url(url, "imap").map_or(fault, Self::Referred);
        }
        let code = reply.code.filter(|_| !reply.is("CAPABILITY"));
        let mut line = match code {
            None if reply.text.is_empty() => {
                return Self::No(refusal_text(Refusal::Credentials).as_bytes().to_vec());
            }
            None => b"[AUTHENTICATIONFAILED]".to_vec(),
            Some(code) => [b"[", code, b"]"].concat(),
        };
        line.push(b' ');
        line.extend_from_slice(reply.text);
        Self::No(line)
    }

    fn deliver(self) -> Result<Ask, AttemptFault> {
        match self {
            Self::No(line) => Ok(BackendAsk::Refused(line)),
            Self::Referred(referral) => Ok(BackendAsk::Referred(referral)),
            Self::Fault(fault) => Err(fault),
        }
    }
}
