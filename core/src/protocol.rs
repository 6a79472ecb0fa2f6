//! Which protocol a session speaks: the dispatch from the session to one protocol's automata.
//!
//! Each of the enums here has one variant for a protocol, and passes every call on to it. The
//! session uses nothing else of the protocols; a protocol's two automata still do not know each
//! other, and it is here that a backend is given what the client has said to the frontend.
//!
//! Not here: any behaviour. What is the same for several protocols stands in `dialogue` (toward
//! clients) and `handshake` (toward backends). Read next: `imap`, the fullest pair.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::automaton::{Advance, BackendAsk, FrontendAsk};
use crate::close::{AttemptFault, Reason, Refusal, State};
use crate::config::{Listener, Protocol};
use crate::dialogue::Terms;
use crate::guard::Guard;
use crate::handshake::Settings;
use crate::sasl::Login;
use crate::secret::Secret;
use crate::verdict::{Denial, Referral};
use crate::{imap, managesieve, pop3, submission};

/// The client's side of a login.
#[derive(Debug)]
pub(crate) enum Frontend {
    Imap(imap::frontend::Frontend),
    Pop3(pop3::frontend::Frontend),
    ManageSieve(managesieve::frontend::Frontend),
    Submission(submission::frontend::Frontend),
}

/// The backend's side of a login.
#[derive(Debug)]
pub(crate) enum Backend {
    Imap(imap::backend::Backend),
    Pop3(pop3::backend::Backend),
    ManageSieve(managesieve::backend::Backend),
    Submission(submission::backend::Backend),
}

/// What a backend said when it accepted a login.
#[derive(Debug)]
pub(crate) enum Welcome {
    Imap(imap::Welcome),
    Pop3(pop3::Welcome),
    ManageSieve(managesieve::Welcome),
    Submission(submission::Welcome),
}

impl Frontend {
    /// The dialogue that a listener's clients expect; none where they are carried without a login.
    /// `trusted`: the client is a proxy that may say who its own client is.
    pub(crate) fn new(listener: Arc<Listener>, trusted: bool) -> Option<Self> {
        let protocol = listener.protocol;
        let terms = Terms::new(listener, trusted);
        Some(match protocol {
            Protocol::Imap => Self::Imap(imap::frontend::Frontend::new(terms)),
            Protocol::Pop3 => Self::Pop3(pop3::frontend::Frontend::new(terms)),
            Protocol::ManageSieve => Self::ManageSieve(managesieve::frontend::Frontend::new(terms)),
            Protocol::Submission => Self::Submission(submission::frontend::Frontend::new(terms)),
            Protocol::Smtp | Protocol::Lmtp => return None,
        })
    }

    /// The handshake for a login of this client, which passes on what it said before.
    pub(crate) fn backend(&self, login: Arc<Login>, settings: Settings) -> Backend {
        match self {
            Self::Imap(frontend) => {
                let id = frontend.id().clone();
                Backend::Imap(imap::backend::Backend::new(login, settings, id))
            }
            Self::Pop3(frontend) => {
                let modes = frontend.modes().clone();
                Backend::Pop3(pop3::backend::Backend::new(login, settings, modes))
            }
            Self::ManageSieve(_) => {
                Backend::ManageSieve(managesieve::backend::Backend::new(login, settings))
            }
            Self::Submission(frontend) => {
                let names = frontend.names();
                Backend::Submission(submission::backend::Backend::new(login, settings, names))
            }
        }
    }

    /// Says hello.
    pub(crate) fn greet(&self, out: &mut Vec<u8>) {
        match self {
            Self::Imap(frontend) => frontend.greet(out),
            Self::Pop3(frontend) => frontend.greet(out),
            Self::ManageSieve(frontend) => frontend.greet(out),
            Self::Submission(frontend) => frontend.greet(out),
        }
    }

    /// TLS is up: whatever was said before it is forgotten, the counters of abuse excepted.
    pub(crate) fn tls_up(&mut self) {
        match self {
            Self::Imap(frontend) => frontend.tls_up(),
            Self::Pop3(frontend) => frontend.tls_up(),
            Self::ManageSieve(frontend) => frontend.tls_up(),
            Self::Submission(frontend) => frontend.tls_up(),
        }
    }

    /// What the protocol says unasked once TLS is up that the client began by command.
    pub(crate) fn greet_again(&self, out: &mut Vec<u8>) {
        match self {
            Self::Imap(_) | Self::Pop3(_) | Self::Submission(_) => {}
            Self::ManageSieve(frontend) => frontend.greet(out),
        }
    }

    /// Octets that the client may still send before it is logged in.
    pub(crate) const fn allowance(&self) -> usize {
        match self {
            Self::Imap(frontend) => frontend.allowance(),
            Self::Pop3(frontend) => frontend.allowance(),
            Self::ManageSieve(frontend) => frontend.allowance(),
            Self::Submission(frontend) => frontend.allowance(),
        }
    }

    /// Eats one unit, if it is the client's turn and a whole one is there.
    pub(crate) fn advance(&mut self, input: &[u8], out: &mut Vec<u8>) -> Advance<FrontendAsk> {
        match self {
            Self::Imap(frontend) => frontend.advance(input, out),
            Self::Pop3(frontend) => frontend.advance(input, out),
            Self::ManageSieve(frontend) => frontend.advance(input, out),
            Self::Submission(frontend) => frontend.advance(input, out),
        }
    }

    /// Passes a challenge of the backend on.
    pub(crate) fn challenge(&mut self, challenge: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Imap(frontend) => frontend.challenge(challenge, out),
            Self::Pop3(frontend) => frontend.challenge(challenge, out),
            Self::ManageSieve(frontend) => frontend.challenge(challenge, out),
            Self::Submission(frontend) => frontend.challenge(challenge, out),
        }
    }

    /// The login failed; the client may try again unless this gives a reason to end.
    /// `passed_on`: the backend's own words, for [`Refusal::Credentials`].
    pub(crate) fn refuse(
        &mut self,
        refusal: Refusal,
        passed_on: Option<&[u8]>,
        out: &mut Vec<u8>,
    ) -> Option<Reason> {
        match self {
            Self::Imap(frontend) => frontend.refuse(refusal, passed_on, out),
            Self::Pop3(frontend) => frontend.refuse(refusal, passed_on, out),
            Self::ManageSieve(frontend) => frontend.refuse(refusal, passed_on, out),
            Self::Submission(frontend) => frontend.refuse(refusal, passed_on, out),
        }
    }

    /// Somebody decided against the login; the client may try again unless this gives a reason to
    /// end.
    pub(crate) fn deny(&mut self, denial: &Denial, out: &mut Vec<u8>) -> Option<Reason> {
        match self {
            Self::Imap(frontend) => frontend.deny(denial, out),
            Self::Pop3(frontend) => frontend.deny(denial, out),
            Self::ManageSieve(frontend) => frontend.deny(denial, out),
            Self::Submission(frontend) => frontend.deny(denial, out),
        }
    }

    /// The client is to go elsewhere. `named`: it is to be somebody else there than here.
    pub(crate) fn refer(
        &mut self,
        referral: &Referral,
        named: bool,
        out: &mut Vec<u8>,
    ) -> Option<Reason> {
        match self {
            Self::Imap(frontend) => frontend.refer(referral, out),
            Self::Pop3(frontend) => frontend.refer(referral, out),
            Self::ManageSieve(frontend) => return Some(frontend.refer(referral, named, out)),
            Self::Submission(frontend) => frontend.refer(referral, out),
        }
        None
    }

    /// The login succeeded: the last words before the hand-off. `alert`: what the account's owner
    /// is to read, where the protocol can say it.
    pub(crate) fn accept(&self, welcome: &Welcome, alert: Option<&str>, out: &mut Vec<u8>) {
        match (self, welcome) {
            (Self::Imap(frontend), Welcome::Imap(welcome)) => frontend.accept(welcome, alert, out),
            (Self::Pop3(frontend), Welcome::Pop3(welcome)) => frontend.accept(welcome, out),
            (Self::ManageSieve(frontend), Welcome::ManageSieve(welcome)) => {
                frontend.accept(welcome, out);
            }
            (Self::Submission(frontend), Welcome::Submission(welcome)) => {
                frontend.accept(welcome, out);
            }
            (Self::Imap(_) | Self::Pop3(_) | Self::ManageSieve(_) | Self::Submission(_), _) => {
                debug_assert!(false, "a backend is made by the frontend of its own protocol");
            }
        }
    }

    /// Whether the protocol lets a client hear something while it waits for its login.
    pub(crate) const fn shows_life(&self) -> bool {
        match self {
            Self::Imap(_) => true,
            Self::Pop3(_) | Self::ManageSieve(_) | Self::Submission(_) => false,
        }
    }

    /// A sign of life to a client that waits for its login.
    pub(crate) fn working(&self, out: &mut Vec<u8>) {
        match self {
            Self::Imap(frontend) => frontend.working(out),
            Self::Pop3(_) | Self::ManageSieve(_) | Self::Submission(_) => {
                debug_assert!(false, "there is no word for it");
            }
        }
    }

    /// The last words to a client that is sent away.
    pub(crate) fn goodbye(&self, refusal: Refusal, out: &mut Vec<u8>) {
        match self {
            Self::Imap(frontend) => frontend.goodbye(refusal, out),
            Self::Pop3(frontend) => frontend.goodbye(refusal, out),
            Self::ManageSieve(frontend) => frontend.goodbye(refusal, out),
            Self::Submission(frontend) => frontend.goodbye(refusal, out),
        }
    }
}

impl Backend {
    /// The handshake of a probe, which stops before the login; none for protocols that are carried.
    pub(crate) fn of_probe(
        protocol: Protocol,
        login: Arc<Login>,
        settings: Settings,
        hostname: &str,
    ) -> Option<Self> {
        Some(match protocol {
            Protocol::Imap => {
                // It says nothing of a client.
                Self::Imap(imap::backend::Backend::new(login, settings, Default::default()))
            }
            Protocol::Pop3 => {
                let modes = pop3::Modes::default();
                Self::Pop3(pop3::backend::Backend::new(login, settings, modes))
            }
            Protocol::ManageSieve => {
                Self::ManageSieve(managesieve::backend::Backend::new(login, settings))
            }
            Protocol::Submission => {
                let proxy = hostname.as_bytes().to_vec();
                let names = submission::Names { client: None, proxy, protocol: "ESMTP" };
                Self::Submission(submission::backend::Backend::new(login, settings, names))
            }
            Protocol::Smtp | Protocol::Lmtp => return None,
        })
    }

    /// Goes on with the login after the survey.
    pub(crate) fn log_in(&mut self, out: &mut Vec<u8>) -> Result<(), AttemptFault> {
        match self {
            Self::Imap(backend) => backend.log_in(out),
            Self::Pop3(backend) => backend.log_in(out),
            Self::ManageSieve(backend) => backend.log_in(out),
            Self::Submission(backend) => backend.log_in(out),
        }
    }

    /// The protocol's goodbye, to be said where nothing is outstanding.
    pub(crate) const fn farewell(&self) -> &'static [u8] {
        match self {
            Self::Imap(_) => b"Q LOGOUT\r\n",
            Self::Pop3(_) | Self::Submission(_) => b"QUIT\r\n",
            Self::ManageSieve(_) => b"LOGOUT\r\n",
        }
    }

    /// Where it stands.
    pub(crate) fn state(&self) -> State {
        match self {
            Self::Imap(backend) => State::Imap(backend.state()),
            Self::Pop3(backend) => State::Pop3(backend.state()),
            Self::ManageSieve(backend) => State::ManageSieve(backend.state()),
            Self::Submission(backend) => State::Submission(backend.state()),
        }
    }

    /// Whether anything secret has been written.
    pub(crate) const fn credentials_sent(&self) -> bool {
        match self {
            Self::Imap(backend) => backend.credentials_sent(),
            Self::Pop3(backend) => backend.credentials_sent(),
            Self::ManageSieve(backend) => backend.credentials_sent(),
            Self::Submission(backend) => backend.credentials_sent(),
        }
    }

    /// The capabilities that had to be asked for and are worth remembering.
    pub(crate) fn learned(&self) -> Option<&[u8]> {
        match self {
            Self::Imap(backend) => backend.learned(),
            Self::Pop3(backend) => backend.learned(),
            // What there is comes unasked, so there is nothing to remember.
            Self::ManageSieve(_) => None,
            // EHLO is due in every session, and what it tells is never remembered.
            Self::Submission(_) => None,
        }
    }

    /// Whether the client could not be introduced although it should have been.
    pub(crate) const fn left_out_identity(&self) -> bool {
        match self {
            Self::Imap(backend) => backend.left_out_identity(),
            Self::Pop3(backend) => backend.left_out_identity(),
            Self::ManageSieve(backend) => backend.left_out_identity(),
            Self::Submission(backend) => backend.left_out_identity(),
        }
    }

    /// What guards the session after the hand-off. `asked_for`: by the destination, where the
    /// protocol leaves the choice.
    pub(crate) fn guard(&self, asked_for: bool) -> Option<Guard> {
        match self {
            Self::Submission(backend) => {
                backend.introduced().then(|| Guard::submission(backend.offers_chunking()))
            }
            Self::Imap(_) => asked_for.then(Guard::imap),
            Self::ManageSieve(_) => asked_for.then(Guard::managesieve),
            Self::Pop3(_) => None,
        }
    }

    /// TLS is up: what was said before it is forgotten.
    pub(crate) fn tls_up(&mut self, out: &mut Vec<u8>) {
        match self {
            Self::Imap(backend) => backend.tls_up(out),
            Self::Pop3(backend) => backend.tls_up(out),
            Self::ManageSieve(backend) => backend.tls_up(),
            Self::Submission(backend) => backend.tls_up(out),
        }
    }

    /// Sends the client's answer to a challenge.
    pub(crate) fn respond(&mut self, response: &Secret, out: &mut Vec<u8>) {
        match self {
            Self::Imap(backend) => backend.respond(response, out),
            Self::Pop3(backend) => backend.respond(response, out),
            Self::ManageSieve(backend) => backend.respond(response, out),
            Self::Submission(backend) => backend.respond(response, out),
        }
    }

    /// Eats one unit, if it is there.
    pub(crate) fn advance(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Advance<BackendAsk<Welcome>> {
        match self {
            Self::Imap(backend) => backend.advance(input, out).map(Welcome::Imap),
            Self::Pop3(backend) => backend.advance(input, out).map(Welcome::Pop3),
            Self::ManageSieve(backend) => backend.advance(input, out).map(Welcome::ManageSieve),
            Self::Submission(backend) => backend.advance(input, out).map(Welcome::Submission),
        }
    }
}
