//! One Dovecot, where it is needed one Postfix, the proxy in front of them, and the configuration
//! that joins them in every combination of TLS.
//!
//! The proxy has a listener for each mode of TLS on the client's side, and a destination for each
//! mode on the backend's side, with and without telling the backend who the client is. The account
//! decides the destination: `starttls@example.test` is reached through STARTTLS,
//! `forwarded-plain@example.test` in the clear with the client's address, and what
//! `posting-plain@example.test` submits goes to Postfix and not to Dovecot. Every account exists on
//! the same Dovecot. On the direct path the accounts are the same and the endpoints are the
//! servers' own.

use gatepost_conformance::rig::{
    Account, Dovecot, Endpoint, Ports, Postfix, Program, Protocol, Services, Tls,
    dovecot::LOOPBACK, raise_open_files, require,
};

use crate::real::front::{Front, Listener, Route};

/// The password of every account but the odd one.
pub(crate) const PASSWORD: &str = "secret";
/// An account whose password needs care in every encoding.
pub(crate) const ODD: Account<'static> =
    Account { user: "odd@example.test", password: " \"quo\\ted\" %40 {5} wörd" };

/// What a check is run through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    /// Straight to the servers.
    Direct,
    /// Through the proxy.
    Proxied,
}

impl Path {
    /// The combinations of TLS, for the client's and the backend's side. Without the proxy there is
    /// no second side.
    pub(crate) fn combinations(self) -> Vec<(Tls, Tls)> {
        let backend: &[Tls] = match self {
            Self::Direct => &[Tls::Plain],
            Self::Proxied => &Tls::ALL,
        };
        Tls::ALL
            .into_iter()
            .flat_map(|client| backend.iter().map(move |tls| (client, *tls)))
            .collect()
    }
}

/// The account that is reached over a backend connection of this kind.
pub(crate) fn account(backend: Tls) -> String {
    format!("{backend}@example.test")
}

/// The same, with the backend told who the client is.
pub(crate) fn forwarded_account(backend: Tls) -> String {
    format!("forwarded-{backend}@example.test")
}

/// The same, with messages for submission given to Postfix, which is told who the client is.
pub(crate) fn posting_account(backend: Tls) -> String {
    format!("posting-{backend}@example.test")
}

/// The servers of one test.
pub(crate) struct Stage {
    // What others connect to ends last.
    front: Option<Front>,
    postfix: Option<Postfix>,
    pub(crate) dovecot: Dovecot,
}

impl Stage {
    /// Sets everything up, unless a program is missing that the servers or the check need. Which
    /// protocols are served follows from the programs; IMAP always is.
    pub(crate) fn set(path: Path, needed: &[Program]) -> Option<Self> {
        let servers: &[Program] = match path {
            Path::Direct => &[Program::Dovecot],
            Path::Proxied => &[Program::Dovecot, Program::Gatepost],
        };
        if !require(&[servers, needed].concat()) {
            return None;
        }
        raise_open_files().unwrap();
        let users: Vec<String> = Tls::ALL
            .into_iter()
            .flat_map(|tls| [account(tls), forwarded_account(tls), posting_account(tls)])
            .collect();
        let mut accounts: Vec<Account<'_>> =
            users.iter().map(|user| Account { user, password: PASSWORD }).collect();
        accounts.push(ODD);
        let ports = needed.contains(&Program::Postfix).then(|| Ports::choose().unwrap());
        let protocols = protocols(needed);
        let dovecot = Dovecot::start(&Services {
            accounts: &accounts,
            protocols: &protocols,
            relay: ports.map(|ports| ports.mail),
            trusted: LOOPBACK,
            trusted_headers: LOOPBACK,
            onward: None,
        })
        .unwrap();
        let mut listeners = Listener::each(&protocols);
        if ports.is_some() {
            listeners.extend(Listener::each(&[Protocol::Smtp]));
        }
        let postfix = ports.map(|ports| {
            let delivery = match path {
                Path::Direct => dovecot.endpoint(Protocol::Lmtp, Tls::Plain).port,
                Path::Proxied => Listener::find(&listeners, Protocol::Lmtp, Tls::Plain).port,
            };
            Postfix::start(ports, &dovecot, delivery).unwrap()
        });
        let front = (path == Path::Proxied).then(|| {
            let pass_through = postfix.as_ref().map(|postfix| {
                Route::to(&[
                    postfix.endpoint(Protocol::Smtp, Tls::Plain),
                    dovecot.endpoint(Protocol::Lmtp, Tls::Plain),
                ])
            });
            let routes = routes(&dovecot, postfix.as_ref(), &protocols);
            Front::start_on(listeners, &routes, pass_through.as_ref())
        });
        Some(Self { front, postfix, dovecot })
    }

    /// Where an IMAP client connects on the path under test.
    pub(crate) fn endpoint(&self, tls: Tls) -> Endpoint {
        self.endpoint_of(Protocol::Imap, tls)
    }

    /// Where a client of any protocol connects on the path under test.
    pub(crate) fn endpoint_of(&self, protocol: Protocol, tls: Tls) -> Endpoint {
        match &self.front {
            Some(front) => front.endpoint_of(protocol, tls),
            None if protocol == Protocol::Smtp => self.postfix().endpoint(protocol, tls),
            None => self.dovecot.endpoint(protocol, tls),
        }
    }

    /// Where a client connects to submit messages to Postfix on the path under test.
    pub(crate) fn posting_endpoint(&self, tls: Tls) -> Endpoint {
        let protocol = Protocol::Submission;
        self.front.as_ref().map_or_else(
            || self.postfix().endpoint(protocol, tls),
            |front| front.endpoint_of(protocol, tls),
        )
    }

    /// The Postfix of a check that needs it.
    pub(crate) fn postfix(&self) -> &Postfix {
        self.postfix.as_ref().unwrap()
    }
}

/// What the server is to speak, by the programs that a check needs.
fn protocols(needed: &[Program]) -> Vec<Protocol> {
    let parts = [
        (Program::DovecotPop3, Protocol::Pop3),
        (Program::DovecotSieve, Protocol::ManageSieve),
        (Program::DovecotSubmission, Protocol::Submission),
        (Program::DovecotLmtp, Protocol::Lmtp),
    ];
    let asked = parts.into_iter().filter(|(program, _)| needed.contains(program));
    [Protocol::Imap].into_iter().chain(asked.map(|(_, protocol)| protocol)).collect()
}

fn routes(dovecot: &Dovecot, postfix: Option<&Postfix>, protocols: &[Protocol]) -> Vec<Route> {
    let with_login: Vec<Protocol> =
        protocols.iter().copied().filter(|protocol| *protocol != Protocol::Lmtp).collect();
    let ways = |tls: Tls| -> Vec<Endpoint> {
        let tls_of = |protocol: Protocol| match (protocol, tls) {
            // Dovecot does not serve it with implicit TLS.
            (Protocol::ManageSieve, Tls::Implicit) => Tls::Starttls,
            (_, tls) => tls,
        };
        let endpoint = |protocol: &Protocol| dovecot.endpoint(*protocol, tls_of(*protocol));
        with_login.iter().map(endpoint).collect()
    };
    let mut routes: Vec<Route> = Vec::new();
    for tls in Tls::ALL {
        for (user, forwarding) in [(account(tls), "none"), (forwarded_account(tls), "xclient")] {
            routes.push(Route { user, forwarding, ..Route::to(&ways(tls)) });
        }
        if let Some(postfix) = postfix {
            let way = Route::to(&[postfix.endpoint(Protocol::Submission, tls)]);
            routes.push(Route { user: posting_account(tls), forwarding: "xclient", ..way });
        }
    }
    let user = ODD.user.to_owned();
    routes.push(Route { user, ..Route::to(&ways(Tls::Implicit)) });
    routes
}
