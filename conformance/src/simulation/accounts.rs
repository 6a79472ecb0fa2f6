//! Who lives where, and how one knows them.
//!
//! Passwords and tokens are told from everything else that travels, so that one that shows where
//! it must not is found by its looks.

use std::sync::Arc;

use gatepost_core::config::{Destination, Listener, Protocol, TlsMode};

use crate::script::{Random, listener, route};

/// Accounts of the world.
pub(super) const ACCOUNTS: usize = 9;
/// Backends of the world; account N lives at backend N % SITES.
pub(super) const SITES: usize = 3;

/// An account, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Account(pub(super) usize);

impl Account {
    pub(super) fn name(self) -> String {
        format!("user{}@example.com", self.0)
    }

    /// Of that name, if there is one.
    pub(super) fn named(name: &[u8]) -> Option<Self> {
        (0..ACCOUNTS).map(Self).find(|account| account.name().as_bytes() == name)
    }

    /// Some can only be sent escaped, some only as literals.
    pub(super) fn password(self) -> Vec<u8> {
        let mark = format!("pass{}word", self.0);
        match self.0 % 4 {
            1 => format!("\"{mark}\\").into_bytes(),
            2 => [mark.as_bytes(), "ü".as_bytes()].concat(),
            _ => mark.into_bytes(),
        }
    }

    pub(super) fn token(self) -> String {
        format!("token{}word", self.0)
    }

    pub(super) const fn site(self) -> usize {
        self.0 % SITES
    }
}

/// The configuration of one world.
pub(super) struct Settings {
    pub(super) listener: Arc<Listener>,
    pub(super) destinations: [Arc<Destination>; SITES],
}

impl Settings {
    pub(super) fn random(random: &mut Random) -> Self {
        let tls = ["plain cleartext=yes", "starttls", "starttls cleartext=yes", "implicit"];
        let tls = tls[random.below(tls.len())];
        let retries = random.below(3);
        let text = format!(
            "imap tls={tls} sasl=PLAIN,XOAUTH2 retries={retries} \
             retry_delay=200ms working_interval=3s bridge_idle=60s"
        );
        let listener = listener(&text).expect("a listener");
        let destination = |site: usize, random: &mut Random| {
            let tls = ["plain", "starttls", "implicit"][random.below(3)];
            let forwarding = ["none", "xclient"][random.below(2)];
            let text =
                format!("* -> site{site}.test,twin{site}.test:143 {tls} forwarding={forwarding}");
            route(&text, Protocol::Imap).expect("a route").destination
        };
        Self {
            listener: Arc::new(listener),
            destinations: std::array::from_fn(|site| destination(site, random)),
        }
    }

    pub(super) fn tls(&self, site: usize) -> TlsMode {
        self.destinations[site].endpoint(Protocol::Imap).expect("it serves IMAP").tls
    }

    /// The backend that a destination leads to.
    pub(super) fn site_of(&self, destination: &Destination) -> usize {
        let named = |candidate: &Arc<Destination>| candidate.name == destination.name;
        self.destinations.iter().position(named).expect("a destination of this world")
    }
}

/// Whether so many in a hundred are hit.
pub(super) fn chance(random: &mut Random, percent: usize) -> bool {
    random.below(100) < percent
}
