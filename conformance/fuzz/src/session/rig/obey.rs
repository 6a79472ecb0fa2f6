//! What a session wants done, judged while it is done.

use std::sync::Arc;

use gatepost_core::config::TlsMode;
use gatepost_core::line::{BACKEND_LINE_MAX, BACKEND_OCTETS_MAX, OUTBOX_FULL, PREAUTH_MAX};
use gatepost_core::{Leg, Note, Outbox, Relay, Step, Target, Ticket, TlsFault};

use super::super::judge::{echoes, is_harmless, reveals};
use super::answers::Kind;
use super::{Backend, Ending, Eof, Rig, Wire, inbox_of, index};

/// Octets that the answer to one command may take beside what a backend said.
const REPLY_MAX: usize = 1024;
/// Octets that one handshake may write at once: a client's own ID and a login, each escaped.
const BACKEND_WRITE_MAX: usize = 2 * PREAUTH_MAX;

impl Rig<'_> {
    /// In the order of the contract: notes, hang up, write, then the step.
    pub(super) fn obey(&mut self, out: Outbox) {
        let Outbox { client, backend, hang_up, step, notes, .. } = out;
        self.take_notes(notes);
        if hang_up {
            assert!(backend.is_empty(), "said to a backend that is hung up");
            self.hang_up();
        }
        let is_last = matches!(step, Some((_, Step::Close(_))));
        let spliced = matches!(step, Some((_, Step::Splice(_))));
        let passed_on = if spliced { BACKEND_OCTETS_MAX } else { BACKEND_LINE_MAX };
        let limit = OUTBOX_FULL + REPLY_MAX + passed_on;
        assert!(client.len() <= limit, "{} octets to the client at once", client.len());
        assert!(self.gossip || !echoes(&client), "a password is echoed");
        assert!(client.is_empty() || !self.shakes_hands(Leg::Client), "said within a handshake");
        if self.settings.listener.bridge.is_some() && !client.is_empty() {
            assert!(is_last && client.starts_with(b"421 "), "said to a client that is carried");
        }
        self.judge_backend(&backend);
        self.told.sent(Leg::Client, &client);
        self.told.sent(Leg::Backend, &backend);
        if let Some((ticket, step)) = step {
            self.begin(ticket, step);
        }
    }

    fn judge_backend(&self, octets: &[u8]) {
        if octets.is_empty() {
            return;
        }
        assert!(octets.len() <= BACKEND_WRITE_MAX, "{} octets to the backend", octets.len());
        let Backend::Up { encrypted } = self.backend else {
            panic!("octets for a backend that is not there")
        };
        assert!(!self.shakes_hands(Leg::Backend), "octets within a handshake");
        let destination = &self.settings.destination;
        if !encrypted && destination.endpoints[0].1.tls != TlsMode::Plain {
            assert!(is_harmless(octets), "said before TLS: {}", octets.escape_ascii());
        }
        let open = encrypted || destination.allow_plaintext_auth;
        assert!(open || !reveals(octets), "a password in the clear");
    }

    /// Every host where an attempt went is judged once.
    fn take_notes(&mut self, notes: Vec<Note>) {
        for note in notes {
            let text = match &note {
                Note::HostJudged { destination, host, client, outcome } => {
                    let awaited = self.unjudged.iter().position(|it| it.label == host.label);
                    let awaited = awaited.expect("a host is judged where an attempt went");
                    self.unjudged.remove(awaited);
                    let place = (&**destination, &**host, destination.endpoints[0].0);
                    self.fleet.judge(place, *outcome, *client, self.now);
                    format!("{} {outcome:?}", host.label)
                }
                Note::AttemptFailed { fault, state, .. } => format!("{fault:?} in {state}"),
                Note::Referred { from, to, followed, .. } => {
                    format!("{} to {}, {followed}", from.label, to.label)
                }
                Note::LoginRefused { user, refusal, .. } => {
                    format!("{} refused, {refusal:?}", user.escape_ascii())
                }
                Note::LoginAccepted { user, .. } => format!("{} accepted", user.escape_ascii()),
                Note::Origin(origin) => format!("{origin:?}"),
                Note::ForwardingNotOffered(_) => "not told who the client is".into(),
                Note::Learned { host, capabilities, .. } => {
                    format!("{} offers {}", host.label, capabilities.escape_ascii())
                }
            };
            self.told.noted(text);
        }
    }

    fn hang_up(&mut self) {
        self.heading = None;
        self.backend = Backend::None;
        self.inbox.backend.clear();
        self.legs[index(Leg::Backend)] = Wire::default();
        if matches!(self.outstanding, Some((_, Kind::Connect | Kind::Tls(Leg::Backend)))) {
            self.outstanding = None;
        }
        self.told.hung_up();
    }

    /// A new step cancels the outstanding one.
    fn begin(&mut self, ticket: Ticket, step: Step) {
        assert!(self.ending.is_none(), "a step after the last one");
        assert!(!self.tickets.contains(&ticket), "two steps have one ticket");
        self.tickets.push(ticket);
        let kind = match step {
            Step::Admit(facts) => {
                self.told.did(format!("{facts:?}"));
                Kind::Admit
            }
            Step::StartTls(leg, _) => {
                self.begin_tls(leg);
                Kind::Tls(leg)
            }
            Step::Lookup(query) => {
                let identifier = query.identifier.as_deref().map(<[u8]>::escape_ascii);
                let identifier = identifier.map(|it| it.to_string());
                self.told.did(format!("lookup {identifier:?}, {}", query.attempt));
                Kind::Lookup
            }
            Step::Connect(target) => {
                self.begin_connect(ticket, &target);
                Kind::Connect
            }
            Step::Splice(relay) => return self.splice(&relay),
            Step::Close(close) => {
                self.told.did(format!("close {close}"));
                self.outstanding = None;
                self.ending = Some(Ending::Closed);
                return;
            }
        };
        self.outstanding = Some((ticket, kind));
    }

    /// From here on what comes from that leg is TLS, leftovers included.
    fn begin_tls(&mut self, leg: Leg) {
        assert!(self.is_there(leg), "a handshake with nobody");
        let inbox = inbox_of(&mut self.inbox, leg);
        let wire = &mut self.legs[index(leg)];
        wire.spoiled = if !inbox.is_empty() || !wire.kernel.is_empty() {
            Some(TlsFault::Protocol)
        } else {
            (wire.eof != Eof::No).then_some(TlsFault::Closed)
        };
        inbox.clear();
        wire.kernel.clear();
        if wire.eof == Eof::Waiting {
            wire.eof = Eof::Told;
        }
        self.told.did(format!("TLS with the {leg}"));
    }

    fn begin_connect(&mut self, ticket: Ticket, target: &Target) {
        assert_eq!(self.backend, Backend::None, "a second backend");
        assert!(self.unjudged.is_empty(), "an attempt ended without a word of its host");
        let destination = &target.destination;
        let tls = destination.endpoints[0].1.tls;
        let carried = self.settings.listener.bridge.is_some();
        let may_be_plain = carried || destination.allow_plaintext_auth;
        assert!(tls != TlsMode::Plain || may_be_plain, "to where no password may go");
        self.backend = Backend::Connecting;
        let host = self.fleet.choose(target, self.now).ok();
        let label = host.as_ref().map(|host| Arc::clone(&host.label));
        self.heading = host.map(|host| (ticket, host));
        self.told.did(format!("connect to {label:?} after {}", target.tried));
    }

    fn splice(&mut self, relay: &Relay) {
        let plain = self.settings.destination.endpoints[0].1.tls == TlsMode::Plain;
        let up = Backend::Up { encrypted: !plain };
        assert_eq!(self.backend, up, "bytes would pass to nobody, or in the clear");
        let told = self.legs[index(Leg::Client)].eof == Eof::Told;
        assert_eq!(relay.client_eof(), told, "an end of stream is lost");
        assert!(self.unjudged.is_empty(), "a hand-off without a word of the host");
        self.told.did(format!("splice, guarded: {}", relay.is_guarded()));
        self.outstanding = None;
        self.ending = Some(Ending::Spliced);
        for leg in [Leg::Client, Leg::Backend] {
            self.told.handed(index(leg), inbox_of(&mut self.inbox, leg));
            self.told.handed(index(leg), &self.legs[index(leg)].kernel);
        }
    }
}
