//! The handshake with a Submission backend, up to its verdict on the login.
//!
//! Greeting, EHLO, STARTTLS where configured and EHLO again, who the client is (XCLIENT) and EHLO
//! again, then the login. One command at a time, so that a reply always answers the one that is
//! awaited. It knows no client: the login came complete, and challenges are handed out.
//!
//! Invariants: what was announced before TLS, or before XCLIENT, decides nothing after it; before
//! TLS only the proxy's own name is said; nothing is eaten behind the verdict.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::reply::{self, ReplyLine};
use super::{Names, State, Welcome};
use crate::automaton::{Advance, BackendAsk};
use crate::close::AttemptFault;
use crate::config::TlsMode;
use crate::forward::{Identity, xclient_commands};
use crate::handshake::{self, Quota, Settings, Way, surveyed, write_initial};
use crate::line::{self, BACKEND_LINE_MAX, first_word};
use crate::referral;
use crate::sasl::{Login, Mechanism, Proof, decode_base64, encode_base64};
use crate::secret::Secret;

/// Octets of an AUTH command with an initial response (RFC 4954 §4, 5321 §4.5.3.1.4).
const COMMAND_MAX: usize = 512;

/// The backend's side of a Submission login.
#[derive(Debug)]
pub(crate) struct Backend {
    settings: Settings,
    names: Names,
    login: Arc<Login>,
    /// What the next reply answers.
    awaited: State,
    /// The code of a reply whose last line is still to come.
    unfinished: Option<u16>,
    extensions: Extensions,
    /// Commands of XCLIENT that are not written yet.
    introduction: VecDeque<Vec<u8>>,
    /// What follows AUTH's prompt.
    pending: Option<Secret>,
    quota: Quota,
    scanned: usize,
    /// The last EHLO said the client's name.
    said_client: bool,
    introduced: bool,
    exposed: bool,
}

/// The lines of a reply to EHLO but the first, each ended by LF.
#[derive(Debug, Default)]
struct Extensions(Vec<u8>);

type Outcome = Advance<BackendAsk<Welcome>>;
type Ask = BackendAsk<Welcome>;

impl Backend {
    pub(crate) fn new(login: Arc<Login>, settings: Settings, names: Names) -> Self {
        Self {
            settings,
            names,
            login,
            awaited: State::Banner,
            unfinished: None,
            extensions: Extensions::default(),
            introduction: VecDeque::new(),
            pending: None,
            quota: Quota::default(),
            scanned: 0,
            said_client: false,
            introduced: false,
            exposed: false,
        }
    }

    /// Where it stands.
    pub(crate) const fn state(&self) -> State {
        self.awaited
    }

    /// Whether anything secret has been written.
    pub(crate) const fn credentials_sent(&self) -> bool {
        self.exposed
    }

    /// Whether the client could not be introduced although it should have been.
    pub(crate) const fn left_out_identity(&self) -> bool {
        self.settings.identity.is_some() && !self.introduced
    }

    /// Whether it was told who the client is, and so trusts our address.
    pub(crate) const fn introduced(&self) -> bool {
        self.introduced
    }

    /// Whether the last EHLO announced BDAT (RFC 3030 §2).
    pub(crate) fn offers_chunking(&self) -> bool {
        self.extensions.has("CHUNKING")
    }

    /// TLS is up: what was said before it is forgotten.
    pub(crate) fn tls_up(&mut self, out: &mut Vec<u8>) {
        debug_assert_eq!(self.awaited, State::StartTls, "TLS was not asked for");
        self.scanned = 0;
        self.say_hello(State::TlsEhlo, out);
    }

    /// Goes on with the login after the survey.
    pub(crate) fn log_in(&mut self, out: &mut Vec<u8>) -> Result<(), AttemptFault> {
        self.settings.survey = false;
        self.go_on(out).map(|_| ())
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
                let taken = taken.and_then(|()| self.take_line(&input[..found.content], out));
                Advance { eaten: found.whole, ask: taken.unwrap_or_else(BackendAsk::Fault) }
            }
        }
    }

    fn take_line(&mut self, line: &[u8], out: &mut Vec<u8>) -> Result<Ask, AttemptFault> {
        let ReplyLine { code, last, text } =
            ReplyLine::parse(line).ok_or(AttemptFault::Protocol)?;
        let begun = self.unfinished.take();
        if begun.is_some_and(|begun| begun != code) {
            return Err(AttemptFault::Protocol);
        }
        if begun.is_some() && self.awaits_ehlo() {
            self.extensions.add(text);
        }
        if !last {
            self.unfinished = Some(code);
            return Ok(BackendAsk::Nothing);
        }
        match self.awaited {
            State::Banner => match code {
                220 => Ok(self.say_hello(State::Ehlo, out)),
                400..=499 => Err(AttemptFault::GreetingBye),
                _ => Err(AttemptFault::Protocol),
            },
            State::Ehlo | State::TlsEhlo | State::XclientEhlo => self.take_hello(code, out),
            State::StartTls => match code {
                220 => Ok(BackendAsk::StartTls),
                300..=399 => Err(AttemptFault::Protocol),
                400..=499 => Err(AttemptFault::Temporary),
                _ => Err(AttemptFault::StartTlsRefused),
            },
            State::Xclient => self.take_introduced(code, out),
            State::Authenticate => self.take_verdict(code, text, begun.is_some(), out),
        }
    }

    const fn awaits_ehlo(&self) -> bool {
        matches!(self.awaited, State::Ehlo | State::TlsEhlo | State::XclientEhlo)
    }

    /// Writes EHLO: with the client's name, unless the leg is yet to be encrypted.
    fn say_hello(&mut self, awaited: State, out: &mut Vec<u8>) -> Ask {
        let before_tls = awaited == State::Ehlo && self.settings.tls == TlsMode::StartTls;
        let client = self.names.client.as_ref().filter(|_| !before_tls);
        self.said_client = client.is_some();
        out.extend_from_slice(b"EHLO ");
        out.extend_from_slice(client.unwrap_or(&self.names.proxy));
        out.extend_from_slice(b"\r\n");
        self.extensions = Extensions::default();
        self.awaited = awaited;
        BackendAsk::Nothing
    }

    fn take_hello(&mut self, code: u16, out: &mut Vec<u8>) -> Result<Ask, AttemptFault> {
        match code {
            250 => self.go_on(out),
            // The name may be what displeases, and nobody shall be locked out by a client's.
            500..=599 if self.said_client => {
                self.names.client = None;
                Ok(self.say_hello(self.awaited, out))
            }
            400..=499 => Err(AttemptFault::Temporary),
            500..=599 => Err(AttemptFault::CommandRejected),
            _ => Err(AttemptFault::Protocol),
        }
    }

    /// EHLO was answered.
    fn go_on(&mut self, out: &mut Vec<u8>) -> Result<Ask, AttemptFault> {
        if self.awaited == State::Ehlo && self.settings.tls == TlsMode::StartTls {
            if !self.extensions.has("STARTTLS") {
                return Err(AttemptFault::StartTlsMissing);
            }
            out.extend_from_slice(b"STARTTLS\r\n");
            self.awaited = State::StartTls;
            return Ok(BackendAsk::Nothing);
        }
        if self.settings.survey {
            let lines = self.extensions.0.split(|&octet| octet == b'\n');
            let lines = lines.filter(|line| !line.is_empty());
            return Ok(BackendAsk::Surveyed(surveyed(lines)));
        }
        if self.awaited != State::XclientEhlo
            && let Some(identity) = &self.settings.identity
        {
            let attributes = self.announced(identity);
            self.introduced = attributes.iter().any(|(name, _)| *name == "ADDR");
            self.introduction = xclient_commands(&attributes).into();
        }
        match self.introduction.pop_front() {
            Some(command) => Ok(self.introduce(&command, out)),
            None => self.write_login(out),
        }
    }

    /// What there is to tell of the client, by what the backend wants to hear. ADDR stands first,
    /// so that where one command cannot hold them all it goes last.
    fn announced(&self, identity: &Identity) -> Vec<(&'static str, String)> {
        let mut attributes = identity.xclient_attributes("IPV6:");
        let name = self.names.client.as_deref().map(String::from_utf8_lossy);
        attributes.extend(name.map(|name| ("HELO", name.into_owned())));
        attributes.push(("PROTO", String::from(self.names.protocol)));
        attributes.retain(|(name, _)| self.extensions.lists("XCLIENT", name));
        attributes
    }

    fn introduce(&mut self, command: &[u8], out: &mut Vec<u8>) -> Ask {
        out.extend_from_slice(command);
        out.extend_from_slice(b"\r\n");
        self.awaited = State::Xclient;
        BackendAsk::Nothing
    }

    /// XCLIENT was answered. It begins the session anew, wherever it was accepted.
    fn take_introduced(&mut self, code: u16, out: &mut Vec<u8>) -> Result<Ask, AttemptFault> {
        match code {
            200..=299 => {
                if let Some(command) = self.introduction.pop_front() {
                    return Ok(self.introduce(&command, out));
                }
            }
            421 => return Err(AttemptFault::Temporary),
            400..=599 => {
                self.introduced = false;
                self.introduction.clear();
            }
            _ => return Err(AttemptFault::Protocol),
        }
        Ok(self.say_hello(State::XclientEhlo, out))
    }

    fn write_login(&mut self, out: &mut Vec<u8>) -> Result<Ask, AttemptFault> {
        let offers = |mechanism: Mechanism| self.extensions.lists("AUTH", mechanism.name());
        let fits = |mechanism: Mechanism, message: usize| {
            "AUTH  \r\n".len() + mechanism.name().len() + message <= COMMAND_MAX
        };
        let (mechanism, initial) = match handshake::choose(&self.login, offers, fits, None)? {
            Way::Initial(mechanism) => (mechanism, true),
            Way::Prompted(mechanism) => (mechanism, false),
            Way::Command(()) => return Err(AttemptFault::NoWayToLogIn),
        };
        let message = self.login.first_message();
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
        self.awaited = State::Authenticate;
        Ok(BackendAsk::Nothing)
    }

    /// AUTH, or a message of it, was answered (RFC 4954 §4, §6). Codes that speak of the command
    /// and not of the credentials are faults.
    fn take_verdict(
        &mut self,
        code: u16,
        text: &[u8],
        in_lines: bool,
        out: &mut Vec<u8>,
    ) -> Result<Ask, AttemptFault> {
        match code {
            334 if !in_lines => self.take_prompt(text, out),
            235 if self.pending.is_none() => {
                Ok(BackendAsk::Accepted(Welcome { text: reply::welcome(text) }))
            }
            400..=499 if reply::blames_configuration(text) => Err(AttemptFault::ServerBug),
            400..=499 => Err(AttemptFault::Temporary),
            500..=503 => Err(AttemptFault::CommandRejected),
            504 | 530 | 538 => Err(AttemptFault::ServerBug),
            550 if let Some(place) = reply::referral(text) => {
                let found = referral::at_place(&place).ok_or(AttemptFault::Referral)?;
                Ok(BackendAsk::Referred(found))
            }
            505..=599 => Ok(BackendAsk::Refused(reply::refusal(code, text))),
            _ => Err(AttemptFault::Protocol),
        }
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
}

impl Extensions {
    fn add(&mut self, line: &[u8]) {
        self.0.extend_from_slice(line);
        self.0.push(b'\n');
    }

    /// Keywords and their parameters.
    fn lines(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.split(|&octet| octet == b'\n').map(first_word)
    }

    fn has(&self, keyword: &str) -> bool {
        self.lines().any(|(listed, _)| listed.eq_ignore_ascii_case(keyword.as_bytes()))
    }

    /// Whether a keyword stands there with that parameter.
    fn lists(&self, keyword: &str, parameter: &str) -> bool {
        let of_keyword =
            self.lines().filter(|(listed, _)| listed.eq_ignore_ascii_case(keyword.as_bytes()));
        let mut listed = of_keyword.flat_map(|(_, names)| names.split(|&octet| octet == b' '));
        listed.any(|name| name.eq_ignore_ascii_case(parameter.as_bytes()))
    }
}
