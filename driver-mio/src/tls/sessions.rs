//! Sessions with backends that later logins resume.
//!
//! In place of rustls' own store, which keeps eight tickets for a name: a proxy opens many
//! connections to one backend at a time, each login takes a ticket out before the one that will
//! replace it has come, and every login that finds none pays for a whole handshake with its chain
//! of certificates. Sixteen clients that log in side by side resumed three times out of four with
//! eight tickets. Invariant: a ticket is given out once (RFC 8446 §C.4), the newest first.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;

/// Tickets that are kept for one name; each takes about half a KiB.
const TICKETS_MAX: usize = 64;
/// Names of one destination for which something is kept.
const NAMES_MAX: usize = 256;

/// The sessions of one destination.
#[derive(Default)]
pub(super) struct Sessions(Mutex<HashMap<ServerName<'static>, Session>>);

/// What is remembered of one name.
#[derive(Default)]
struct Session {
    group: Option<NamedGroup>,
    tls12: Option<Tls12ClientSessionValue>,
    /// Oldest first.
    tickets: VecDeque<Tls13ClientSessionValue>,
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, HashMap<ServerName<'static>, Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, name: ServerName<'static>, change: impl FnOnce(&mut Session)) {
        let mut sessions = self.lock();
        if sessions.len() < NAMES_MAX || sessions.contains_key(&name) {
            change(sessions.entry(name).or_default());
        }
    }
}

impl ClientSessionStore for Sessions {
    fn set_kx_hint(&self, server_name: ServerName<'static>, group: NamedGroup) {
        self.change(server_name, |session| session.group = Some(group));
    }

    fn kx_hint(&self, server_name: &ServerName<'_>) -> Option<NamedGroup> {
        self.lock().get(&server_name.to_owned())?.group
    }

    fn set_tls12_session(&self, server_name: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.change(server_name, |session| session.tls12 = Some(value));
    }

    fn tls12_session(&self, server_name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.lock().get(&server_name.to_owned())?.tls12.clone()
    }

    fn remove_tls12_session(&self, server_name: &ServerName<'static>) {
        if let Some(session) = self.lock().get_mut(server_name) {
            session.tls12 = None;
        }
    }

    fn insert_tls13_ticket(
        &self,
        server_name: ServerName<'static>,
        value: Tls13ClientSessionValue,
    ) {
        self.change(server_name, |session| {
            if session.tickets.len() >= TICKETS_MAX {
                session.tickets.pop_front();
            }
            session.tickets.push_back(value);
        });
    }

    fn take_tls13_ticket(
        &self,
        server_name: &ServerName<'static>,
    ) -> Option<Tls13ClientSessionValue> {
        self.lock().get_mut(server_name)?.tickets.pop_back()
    }
}

impl fmt::Debug for Sessions {
    /// Names nothing: what it holds is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").finish_non_exhaustive()
    }
}
