//! What the automata of a protocol say to the session between them.
//!
//! A frontend and a backend do not know each other; both answer one call with the octets they ate
//! and what they ask for. The session acts on it. Each call eats at most one unit, so whatever
//! lies behind that unit still belongs to whoever comes next: TLS, the backend, the relay.

use alloc::string::String;
use alloc::vec::Vec;

use crate::close::{AttemptFault, By, Reason};
use crate::introduction::Introduction;
use crate::sasl::Login;
use crate::secret::Secret;
use crate::verdict::Referral;

/// The outcome of one call to an automaton.
#[derive(Debug)]
pub(crate) struct Advance<Ask> {
    /// Octets eaten from the start of the input: one unit, or none.
    pub(crate) eaten: usize,
    /// What the automaton asks for.
    pub(crate) ask: Ask,
}

/// What a frontend asks for. What it wants to say stands in the outbox already.
#[derive(Debug)]
pub(crate) enum FrontendAsk {
    /// More bytes: no whole unit is there.
    More,
    /// Nothing: a unit was served, and the next may be.
    Nothing,
    /// TLS; the client has been told to begin.
    StartTls,
    /// That what a trusted proxy tells of its client is believed; it has been told so.
    Introduced(Introduction),
    /// The login of this client.
    Login(Login),
    /// Its answer to a challenge of the backend, decoded, to go there.
    Respond(Secret),
    /// The client gave up the exchange with the backend; it has been told.
    Cancel,
    /// The end; the client has been told.
    Close(By, Reason),
}

/// What a backend automaton asks for. `W` is what its protocol has to say on success.
#[derive(Debug)]
pub(crate) enum BackendAsk<W> {
    /// More bytes: no whole unit is there.
    More,
    /// Nothing: a unit was taken in, and the next may be.
    Nothing,
    /// TLS; the backend has agreed.
    StartTls,
    /// What comes next: all that the backend can do is known, and nobody logs in yet. Asked only
    /// where the settings want a survey.
    Surveyed(Vec<String>),
    /// The client's answer to this challenge.
    Challenge(Secret),
    /// The verdict: logged in, and no reply to any command of ours is due any more.
    Accepted(W),
    /// The verdict: refused, in the backend's words, cleaned.
    Refused(Vec<u8>),
    /// The verdict: the account lives elsewhere.
    Referred(Referral),
    /// The attempt failed.
    Fault(AttemptFault),
}

impl<W> Advance<BackendAsk<W>> {
    /// The same, with the welcome in another type.
    pub(crate) fn map<V>(self, welcome: impl FnOnce(W) -> V) -> Advance<BackendAsk<V>> {
        let ask = match self.ask {
            BackendAsk::More => BackendAsk::More,
            BackendAsk::Nothing => BackendAsk::Nothing,
            BackendAsk::StartTls => BackendAsk::StartTls,
            BackendAsk::Surveyed(list) => BackendAsk::Surveyed(list),
            BackendAsk::Challenge(challenge) => BackendAsk::Challenge(challenge),
            BackendAsk::Accepted(words) => BackendAsk::Accepted(welcome(words)),
            BackendAsk::Refused(line) => BackendAsk::Refused(line),
            BackendAsk::Referred(referral) => BackendAsk::Referred(referral),
            BackendAsk::Fault(fault) => BackendAsk::Fault(fault),
        };
        Advance { eaten: self.eaten, ask }
    }
}
