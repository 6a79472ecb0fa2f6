//! A backend that refers a login to another host.
//!
//! It is followed if the destination's configuration allows that host, over TLS that is verified
//! for it, a few times at most and never back to where the login has been. Otherwise the client
//! hears of an outage: its credentials are not at fault, and it could not go there itself.
//!
//! Invariant: no referral leads credentials anywhere that the configuration does not name. Read
//! next: `crate::referral`, for how a referral is written.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::attempt::{Attempt, Errand};
use super::{Phase, Session};
use crate::close::{AttemptFault, State};
use crate::config::{Destination, Endpoint, Host, TlsMode};
use crate::contract::{Note, Outbox};
use crate::health::Outcome;
use crate::time::Instant;
use crate::verdict::Referral;

/// Referrals that one login follows.
const REFERRALS_MAX: usize = 4;

/// Where a login was referred.
#[derive(Debug, Default)]
pub(super) struct Referrals {
    /// In order; it goes to the last one.
    hosts: Vec<Arc<Host>>,
    /// Where it has been, by name and port.
    places: Vec<(String, u16)>,
}

impl Referrals {
    pub(super) fn to(&self) -> Option<&Arc<Host>> {
        self.hosts.last()
    }

    pub(super) fn count(&self) -> u8 {
        u8::try_from(self.hosts.len()).unwrap_or(u8::MAX)
    }
}

impl Session {
    /// Follows a referral, or refuses the login.
    pub(super) fn send_on(
        &mut self,
        mut attempt: Attempt,
        referral: &Referral,
        state: State,
        now: Instant,
        out: &mut Outbox,
    ) {
        let protocol = self.listener.protocol;
        let destination = Arc::clone(&attempt.dial.destination);
        let fault = AttemptFault::Referral;
        let (Some(endpoint), Some(from)) =
            (destination.endpoint(protocol), attempt.dial.host.clone())
        else {
            return self.give_up(Errand::Login(attempt), fault, state, now, out);
        };
        let place = |host: &Host| (host.name.to_ascii_lowercase(), endpoint.port_on(host));
        let to = Arc::new(Host::on(&referral.host, referral.port.unwrap_or(endpoint.port)));
        let been = &mut attempt.dial.referrals;
        been.places.push(place(&from));
        let followed = may_go(&destination, endpoint, &referral.host)
            && been.hosts.len() < REFERRALS_MAX
            && !been.places.contains(&place(&to))
            && !attempt.challenged;
        let (destination, named) = (Arc::clone(&destination), Arc::clone(&to));
        out.notes.push(Note::Referred { destination, from, to: named, followed });
        if !followed {
            return self.give_up(Errand::Login(attempt), fault, state, now, out);
        }
        attempt.dial.referrals.hosts.push(to);
        self.judge(&mut attempt.dial, Outcome::Works, out);
        self.hang_up(out);
        attempt.dial.avoid.clear();
        attempt.dial.start_over();
        self.phase = Phase::Over;
        self.connect(Errand::Login(attempt), now, out);
    }
}

/// Whether credentials may go to a host that a backend names.
fn may_go(destination: &Destination, endpoint: &Endpoint, host: &str) -> bool {
    let pinned = !destination.tls_pinned_cert_sha256.is_empty();
    let verified = pinned || !destination.tls_allow_invalid_certs;
    let encrypted = match endpoint.tls {
        TlsMode::Implicit | TlsMode::StartTls => true,
        TlsMode::Plain => false,
    };
    verified && encrypted && destination.referral_hosts.iter().any(|named| named.covers(host))
}
