//! The handshake with a POP3 backend, up to its verdict on the login.
//!
//! Greeting, STLS where configured, CAPA where the list is not known, then who the client is, what
//! it asked for (UTF8, LANG), and its login. It knows no client: the login came complete, and
//! challenges are handed out. Replies have no tags; they come in the order of what is [`Due`].
//!
//! Invariants: a reply without a command is a fault; PASS is written only after USER's +OK, and no
//! credential before UTF8's and LANG's; of what was said before TLS only the greeting's word on
//! XCLIENT survives, since Dovecot says it nowhere else, and a refusal of it then costs nothing.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{Modes, State, Welcome, refusal_text};
use crate::automaton::{Advance, BackendAsk};
use crate::close::{AttemptFault, Refusal};
use crate::config::TlsMode;
use crate::forward::{announced, xclient_commands};
use crate::handshake::{self, Quota, Settings, StatusText, surveyed, write_initial};
use crate::line::{self, BACKEND_LINE_MAX, first_word, without_controls};
use crate::referral::{self, Referral};
use crate::sasl::{Login, Mechanism, Proof, decode_base64, encode_base64};
use crate::secret::Secret;

/// Octets of an AUTH command with an initial response (RFC 5034 §4, 2449 §4).
const COMMAND_MAX: usize = 255;

type Way = handshake::Way<()>;

/// The backend's side of a POP3 login.
#[derive(Debug)]
pub(crate) struct Backend {
    settings: Settings,
    modes: Modes,
    login: Arc<Login>,
    /// Replies that are awaited, in order.
    due: VecDeque<Due>,
    /// Commands before the login that are not written yet.
    plan: VecDeque<(Due, Vec<u8>)>,
    /// The lines of a capability list so far, while one is coming in.
    listing: Option<Vec<u8>>,
    capabilities: Known,
    way: Option<Way>,
    /// What follows AUTH's prompt.
    pending: Option<Secret>,
    /// A refusal that the remembered capabilities may have led to.
    refused: Option<Verdict>,
    quota: Quota,
    scanned: usize,
    /// The greeting offers XCLIENT.
    hinted: bool,
    asked: bool,
    introduced: bool,
    exposed: bool,
}

/// What a reply answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    Greeting,
    /// CAPA before TLS: does it offer STLS?
    Offer,
    /// STLS, and the handshake.
    StartTls,
    /// CAPA before the login.
    Capa,
    Xclient,
    /// UTF8 or LANG.
    Mode,
    User,
    Pass,
    Auth,
    /// CAPA after a refusal.
    Recheck,
}

/// What is known of the backend's capabilities.
#[derive(Debug)]
enum Known {
    Nothing,
    /// It has no CAPA (RFC 2449 is an extension): then it has what RFC 1939 has.
    Silent,
    /// Said in this session, in the current TLS state.
    Said(Capabilities),
    /// Said in an earlier session.
    Remembered(Capabilities),
}

/// The lines of a reply to CAPA, each ended by LF.
#[derive(Debug)]
struct Capabilities(Vec<u8>);

/// A refusal of the login.
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
    Ok(&'a [u8]),
    Err(&'a [u8]),
    Prompt(&'a [u8]),
}

impl Backend {
    pub(crate) fn new(login: Arc<Login>, settings: Settings, modes: Modes) -> Self {
        let capabilities = match (&settings.remembered, settings.tls) {
            (Some(list), TlsMode::Implicit | TlsMode::Plain) => {
                Known::Remembered(Capabilities(list.to_vec()))
            }
            (None, _) | (Some(_), TlsMode::StartTls) => Known::Nothing,
        };
        Self {
            settings,
            modes,
            login,
            due: VecDeque::from([Due::Greeting]),
            plan: VecDeque::new(),
            listing: None,
            capabilities,
            way: None,
            pending: None,
            refused: None,
            quota: Quota::default(),
            scanned: 0,
            hinted: false,
            asked: false,
            introduced: false,
            exposed: false,
        }
    }

    /// Where it stands.
    pub(crate) fn state(&self) -> State {
        match self.due.front() {
            Some(Due::Greeting) => State::Banner,
            Some(Due::Offer | Due::Capa | Due::Recheck) => State::Capa,
            Some(Due::StartTls) => State::StartTls,
            Some(Due::Xclient) => State::Xclient,
            Some(Due::Mode) => State::Utf8,
            Some(Due::User) => State::Login1,
            Some(Due::Auth) if self.pending.is_some() => State::Login1,
            Some(Due::Auth | Due::Pass) | None => State::Login2,
        }
    }

    /// Whether anything secret has been written.
    pub(crate) const fn credentials_sent(&self) -> bool {
        self.exposed
    }

    /// The capabilities that had to be asked for and are worth remembering.
    pub(crate) fn learned(&self) -> Option<&[u8]> {
        match (&self.capabilities, self.settings.tls) {
            (Known::Said(list), TlsMode::Implicit | TlsMode::Plain) if self.asked => Some(&list.0),
            (Known::Said(_) | Known::Nothing | Known::Silent | Known::Remembered(_), _) => None,
        }
    }

    /// Whether the client could not be introduced although it should have been.
    pub(crate) const fn left_out_identity(&self) -> bool {
        self.settings.identity.is_some() && !self.introduced
    }

    /// TLS is up: what was said before it is forgotten.
    pub(crate) fn tls_up(&mut self, out: &mut Vec<u8>) {
        debug_assert_eq!(self.due.front(), Some(&Due::StartTls), "TLS was not asked for");
        self.due.clear();
        self.scanned = 0;
        self.capabilities = Known::Nothing;
        self.hinted &= self.settings.verified;
        self.ask_capabilities(Due::Capa, out);
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
    }

    /// Eats one line, if it is there.
    pub(crate) fn advance(&mut self, input: &[u8], out: &mut Vec<u8>) -> Outcome {
        match line::lenient(input, self.scanned.min(input.len()), BACKEND_LINE_MAX) {
            line::Framing::Incomplete => {
                self.scanned = input.len();
                Advance { eaten: 0, ask: BackendAsk::More }
            }
            line::Framing::TooLong | line::Framing::Spent => {
                Advance { eaten: 0, ask: BackendAsk::Fault(AttemptFault::TooLong) }
            }
            line::Framing::Whole(found) => {
                self.scanned = 0;
                let taken = self.quota.spend(found.whole);
                let taken = taken.and_then(|()| self.take(&input[..found.content], out));
                Advance { eaten: found.whole, ask: taken.unwrap_or_else(BackendAsk::Fault) }
            }
        }
    }

    fn take(&mut self, line: &[u8], out: &mut Vec<u8>) -> Result<Ask, AttemptFault> {
        if self.listing.is_some() {
            return self.take_listed(line, out);
        }
        let due = *self.due.front().ok_or(AttemptFault::Protocol)?;
        let reply = Reply::parse(line).ok_or(AttemptFault::Protocol)?;
        if let (Due::Auth, Reply::Prompt(text)) = (due, &reply) {
            return self.take_prompt(text, out);
        }
        let (accepted, text) = match reply {
            Reply::Ok(text) => (true, text),
            Reply::Err(text) => (false, text),
            Reply::Prompt(_) => return Err(AttemptFault::Protocol),
        };
        match due {
            Due::Greeting => self.take_greeting(accepted, text, out),
            Due::Offer | Due::Capa | Due::Recheck if accepted => {
                self.listing = Some(Vec::new());
                Ok(BackendAsk::Nothing)
            }
            Due::Offer | Due::Capa | Due::Recheck => {
                self.capabilities = Known::Silent;
                self.take_capabilities(out)
            }
            Due::StartTls if accepted => Ok(BackendAsk::StartTls),
            Due::StartTls => Err(AttemptFault::StartTlsRefused),
            Due::Xclient => {
                self.introduced &= accepted;
                self.go_on(out)
            }
            Due::Mode if accepted => self.go_on(out),
            Due::Mode => Err(match StatusText::parse(text).is("SYS/TEMP") {
                true => AttemptFault::Temporary,
                false => AttemptFault::ModeRefused,
            }),
            Due::User if accepted => Ok(self.write_password(out)),
            Due::Auth if accepted && self.pending.is_some() => Err(AttemptFault::Protocol),
            Due::Pass | Due::Auth if accepted => {
                Ok(BackendAsk::Accepted(Welcome { text: without_controls(text) }))
            }
            Due::User | Due::Pass | Due::Auth => self.take_refusal(text, out),
        }
    }

    fn take_greeting(
        &mut self,
        accepted: bool,
        text: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Ask, AttemptFault> {
        self.due.clear();
        if !accepted {
            return Err(AttemptFault::GreetingBye);
        }
        self.hinted = StatusText::parse(text).is("XCLIENT");
        match self.settings.tls {
            TlsMode::StartTls => {
                self.ask_capabilities(Due::Offer, out);
                Ok(BackendAsk::Nothing)
            }
            TlsMode::Implicit | TlsMode::Plain => self.begin_login(out),
        }
    }

    fn ask_capabilities(&mut self, due: Due, out: &mut Vec<u8>) {
        out.extend_from_slice(b"CAPA\r\n");
        self.due.push_back(due);
        self.asked = true;
    }

    /// Takes one line of a list; a dot alone ends it (RFC 1939 §3).
    fn take_listed(&mut self, line: &[u8], out: &mut Vec<u8>) -> Result<Ask, AttemptFault> {
        if line != b"." {
            if let Some(list) = &mut self.listing {
                list.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
                list.push(b'\n');
            }
            return Ok(BackendAsk::Nothing);
        }
        self.capabilities = Known::Said(Capabilities(self.listing.take().unwrap_or_default()));
        self.take_capabilities(out)
    }

    fn take_capabilities(&mut self, out: &mut Vec<u8>) -> Result<Ask, AttemptFault> {
        let due = self.due.pop_front();
        if due == Some(Due::Offer) {
            if !self.capabilities.has("STLS") {
                return Err(AttemptFault::StartTlsMissing);
            }
            out.extend_from_slice(b"STLS\r\n");
            self.due.push_back(Due::StartTls);
            return Ok(BackendAsk::Nothing);
        }
        match self.refused.take() {
            Some(refused) => self.try_other_way(refused, out),
            None => self.begin_login(out),
        }
    }

    /// Finds the way to log in and begins it; or asks for capabilities first.
    fn begin_login(&mut self, out: &mut Vec<u8>) -> Result<Ask, AttemptFault> {
        match &self.capabilities {
            Known::Said(list) if self.settings.survey => {
                return Ok(BackendAsk::Surveyed(surveyed(list.whole_lines())));
            }
            Known::Silent if self.settings.survey => {
                return Ok(BackendAsk::Surveyed(Vec::new()));
            }
            Known::Said(_) | Known::Silent | Known::Nothing | Known::Remembered(_) => {}
        }
        self.way = match &self.capabilities {
            Known::Nothing => None,
            Known::Remembered(_) => self.choose().ok(),
            Known::Silent | Known::Said(_) => Some(self.choose()?),
        };
        if self.way.is_none() {
            self.capabilities = Known::Nothing;
            self.ask_capabilities(Due::Capa, out);
            return Ok(BackendAsk::Nothing);
        }
        let listed = self.capabilities.list().and_then(Capabilities::xclient);
        let offered = listed.or_else(|| self.hinted.then_some(&[]));
        if let Some(identity) = &self.settings.identity
            && let Some(list) = offered
        {
            // Dovecot, which gave the command its meaning here, takes v6 addresses as they are.
            let attributes = announced(identity.xclient_attributes(""), list);
            let commands = xclient_commands(&attributes);
            self.plan.extend(commands.into_iter().map(|command| (Due::Xclient, command)));
            self.introduced = attributes.iter().any(|(name, _)| *name == "ADDR");
        }
        if let Some(language) = &self.modes.language {
            self.plan.push_back((Due::Mode, [b"LANG ", language.as_slice()].concat()));
        }
        if self.modes.utf8 {
            self.plan.push_back((Due::Mode, b"UTF8".to_vec()));
        }
        self.write_next(out);
        Ok(BackendAsk::Nothing)
    }

    fn choose(&self) -> Result<Way, AttemptFault> {
        let offers = |mechanism: Mechanism| self.capabilities.offers(mechanism);
        let fits = |mechanism: Mechanism, message: usize| {
            "AUTH  \r\n".len() + mechanism.name().len() + message <= COMMAND_MAX
        };
        // RFC 2449 §6.3: who lists capabilities lists USER, if it may be used.
        let command = match &self.capabilities {
            Known::Silent => true,
            Known::Nothing | Known::Said(_) | Known::Remembered(_) => self.capabilities.has("USER"),
        };
        handshake::choose(&self.login, offers, fits, command.then_some(()))
    }

    /// One of the commands before the login was answered.
    fn go_on(&mut self, out: &mut Vec<u8>) -> Result<Ask, AttemptFault> {
        self.due.pop_front();
        if self.due.is_empty() {
            self.write_next(out);
        }
        Ok(BackendAsk::Nothing)
    }

    /// Writes what can be written now: one command; where the backend takes several at once, all
    /// whose turn does not depend on an answer.
    fn write_next(&mut self, out: &mut Vec<u8>) {
        let pipelining = self.may_pipeline();
        while let Some((due, command)) = self.plan.pop_front() {
            out.extend_from_slice(&command);
            out.extend_from_slice(b"\r\n");
            self.due.push_back(due);
            if !pipelining {
                return;
            }
        }
        if !self.due.contains(&Due::Mode) {
            self.write_login(out);
        }
    }

    /// RFC 2449 §6.8. A remembered word is not enough: if it is out of date, commands may get lost.
    fn may_pipeline(&self) -> bool {
        match &self.capabilities {
            Known::Said(list) => list.has("PIPELINING"),
            Known::Remembered(list) => self.hinted && list.has("PIPELINING"),
            Known::Nothing | Known::Silent => false,
        }
    }

    fn write_login(&mut self, out: &mut Vec<u8>) {
        let message = self.login.first_message();
        let (mechanism, initial) = match self.way {
            Some(Way::Initial(mechanism)) => (mechanism, true),
            Some(Way::Prompted(mechanism)) => (mechanism, false),
            Some(Way::Command(())) | None => return self.write_user(out),
        };
        out.extend_from_slice(b"AUTH ");
        out.extend_from_slice(mechanism.name().as_bytes());
        if initial {
            out.push(b' ');
            write_initial(message.expose(), out);
            self.exposed = true;
        } else {
            self.pending = Some(message);
        }
        out.extend_from_slice(b"\r\n");
        self.due.push_back(Due::Auth);
    }

    fn write_user(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"USER ");
        out.extend_from_slice(self.login.user().unwrap_or_default());
        out.extend_from_slice(b"\r\n");
        self.due.push_back(Due::User);
    }

    fn write_password(&mut self, out: &mut Vec<u8>) -> Ask {
        self.due.pop_front();
        if let Proof::Password(credential) = &self.login.proof {
            out.extend_from_slice(b"PASS ");
            out.extend_from_slice(credential.password.expose());
            out.extend_from_slice(b"\r\n");
        }
        self.exposed = true;
        self.due.push_back(Due::Pass);
        BackendAsk::Nothing
    }

    fn take_prompt(&mut self, text: &[u8], out: &mut Vec<u8>) -> Result<Ask, AttemptFault> {
        if let Some(message) = self.pending.take() {
            encode_base64(message.expose(), out);
            out.extend_from_slice(b"\r\n");
            self.exposed = true;
            return Ok(BackendAsk::Nothing);
        }
        match &self.login.proof {
            Proof::Exchange { .. } => {
                decode_base64(text).map(BackendAsk::Challenge).map_err(|_| AttemptFault::Protocol)
            }
            Proof::Password(_) => Err(AttemptFault::Protocol),
        }
    }

    fn take_refusal(&mut self, text: &[u8], out: &mut Vec<u8>) -> Result<Ask, AttemptFault> {
        self.due.pop_front();
        let text = without_controls(text);
        let reply = StatusText::parse(&text);
        let verdict = Verdict::of(reply);
        if reply.code.is_none() && matches!(self.capabilities, Known::Remembered(_)) {
            self.refused = Some(verdict);
            self.pending = None;
            self.capabilities = Known::Nothing;
            self.ask_capabilities(Due::Recheck, out);
            return Ok(BackendAsk::Nothing);
        }
        verdict.deliver()
    }

    /// The remembered list may have led to the refusal: if today's list leads to another way, that
    /// one is gone; if not, the refusal stands.
    fn try_other_way(&mut self, refused: Verdict, out: &mut Vec<u8>) -> Result<Ask, AttemptFault> {
        let way = Some(self.choose()?);
        if self.way == way {
            return refused.deliver();
        }
        self.way = way;
        self.write_login(out);
        Ok(BackendAsk::Nothing)
    }
}

impl<'a> Reply<'a> {
    fn parse(line: &'a [u8]) -> Option<Self> {
        let (word, text) = first_word(line);
        match word.to_ascii_uppercase().as_slice() {
            b"+OK" => Some(Self::Ok(text)),
            b"-ERR" => Some(Self::Err(text)),
            b"+" => Some(Self::Prompt(text)),
            _ => None,
        }
    }
}

impl Known {
    const fn list(&self) -> Option<&Capabilities> {
        match self {
            Self::Said(list) | Self::Remembered(list) => Some(list),
            Self::Nothing | Self::Silent => None,
        }
    }

    fn has(&self, tag: &str) -> bool {
        self.list().is_some_and(|list| list.has(tag))
    }

    fn offers(&self, mechanism: Mechanism) -> bool {
        self.list().is_some_and(|list| list.offers(mechanism))
    }
}

impl Capabilities {
    /// Tags and their arguments.
    fn whole_lines(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|&octet| octet == b'\n').filter(|line| !line.is_empty())
    }

    fn lines(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.split(|&octet| octet == b'\n').map(first_word)
    }

    fn has(&self, tag: &str) -> bool {
        self.lines().any(|(listed, _)| listed.eq_ignore_ascii_case(tag.as_bytes()))
    }

    /// The attributes that it names with XCLIENT, if that is listed.
    fn xclient(&self) -> Option<&[u8]> {
        let mut lines = self.lines();
        lines.find(|(tag, _)| tag.eq_ignore_ascii_case(b"XCLIENT")).map(|(_, names)| names)
    }

    fn offers(&self, mechanism: Mechanism) -> bool {
        self.lines().filter(|(tag, _)| tag.eq_ignore_ascii_case(b"SASL")).any(|(_, names)| {
            names
                .split(|&octet| octet == b' ')
                .any(|name| name.eq_ignore_ascii_case(mechanism.name().as_bytes()))
        })
    }
}

impl Verdict {
    /// What an -ERR means. Codes that speak of the account's backend and not of the credentials
    /// are faults; a referral is not for clients to follow.
    fn of(reply: StatusText<'_>) -> Self {
        if reply.is("SYS/TEMP") {
            return Self::Fault(AttemptFault::Temporary);
        }
        if reply.is("SYS/PERM") {
            return Self::Fault(AttemptFault::ServerBug);
        }
        let code = match reply.code {
            None if reply.text.is_empty() => {
                return Self::No(refusal_text(Refusal::Credentials).as_bytes().to_vec());
            }
            Some(code) => match code.split_at_checked("REFERRAL".len()) {
                Some((word, rest)) if word.eq_ignore_ascii_case(b"REFERRAL") => {
                    let found = rest.strip_prefix(b"/").and_then(referral::at_place);
                    return found.map_or(Self::Fault(AttemptFault::Referral), Self::Referred);
                }
                Some(_) | None => code,
            },
            None => b"AUTH",
        };
        let space: &[u8] = if reply.text.is_empty() { b"" } else { b" " };
        Self::No([b"[", code, b"]", space, reply.text].concat())
    }

    fn deliver(self) -> Result<Ask, AttemptFault> {
        match self {
            Self::No(line) => Ok(BackendAsk::Refused(line)),
            Self::Referred(referral) => Ok(BackendAsk::Referred(referral)),
            Self::Fault(fault) => Err(fault),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::Identity;

    const CAPA: &[&str] = &["CAPA"];

    fn backend(tls: TlsMode, verified: bool) -> Backend {
        let identity = Identity {
            client: ([192, 0, 2, 7], 50123).into(),
            local: ([198, 51, 100, 1], 110).into(),
            ttl: 6,
            session: "a1".into(),
            client_tls: true,
            server_name: None,
        };
        let settings =
            Settings { tls, verified, identity: Some(identity), remembered: None, survey: false };
        let login = Login::with_password(b"alice".to_vec(), Secret::from(&b"secret"[..]));
        Backend::new(Arc::new(login), settings, Modes::default())
    }

    /// The first words of what is said to these lines.
    fn said(backend: &mut Backend, input: &str) -> Vec<Vec<u8>> {
        let (mut input, mut out) = (input.as_bytes(), Vec::new());
        while !input.is_empty() {
            let advance = backend.advance(input, &mut out);
            assert!(advance.eaten > 0, "a whole line each");
            input = &input[advance.eaten..];
            if matches!(advance.ask, BackendAsk::StartTls) {
                backend.tls_up(&mut out);
            }
        }
        out.split(|&octet| octet == b'\n')
            .map(|line| first_word(line.trim_ascii_end()).0.to_vec())
            .filter(|word| !word.is_empty())
            .collect()
    }

    fn is(words: &[Vec<u8>], expected: &[&str]) -> bool {
        words.iter().map(Vec::as_slice).eq(expected.iter().map(|word| word.as_bytes()))
    }

    #[test]
    fn a_hint_from_before_tls_counts_only_where_tls_proves_who_spoke() {
        for (verified, next) in [(true, "XCLIENT"), (false, "AUTH")] {
            let mut backend = backend(TlsMode::StartTls, verified);
            assert!(is(&said(&mut backend, "+OK [XCLIENT] hello\r\n"), CAPA));
            assert!(is(&said(&mut backend, "+OK\r\nSTLS\r\n.\r\n"), &["STLS"]));
            assert!(is(&said(&mut backend, "+OK\r\n"), CAPA));
            assert!(is(&said(&mut backend, "+OK\r\nSASL PLAIN\r\n.\r\n"), &[next]));
            assert_eq!(backend.left_out_identity(), !verified);
            assert_eq!(backend.learned(), None);
        }
    }

    #[test]
    fn a_refused_xclient_left_the_client_unknown() {
        for (answer, left_out) in [("+OK", false), ("-ERR", true)] {
            let mut backend = backend(TlsMode::Plain, true);
            said(&mut backend, "+OK [XCLIENT] hello\r\n+OK\r\nSASL PLAIN\r\n.\r\n");
            assert!(is(&said(&mut backend, &[answer, "\r\n"].concat()), &["AUTH"]));
            assert_eq!(backend.left_out_identity(), left_out);
        }
    }

    #[test]
    fn a_list_that_was_asked_for_is_worth_remembering() {
        let mut listing = backend(TlsMode::Implicit, true);
        assert!(is(&said(&mut listing, "+OK hello\r\n"), CAPA));
        assert_eq!(listing.learned(), None);
        said(&mut listing, "+OK\r\nUIDL\r\nSASL PLAIN\r\n.\r\n");
        assert_eq!(listing.learned(), Some(&b"UIDL\nSASL PLAIN\n"[..]));
        let mut silent = backend(TlsMode::Implicit, true);
        assert!(is(&said(&mut silent, "+OK hello\r\n-ERR what\r\n"), &["CAPA", "USER"]));
        assert_eq!(silent.learned(), None);
    }
}
