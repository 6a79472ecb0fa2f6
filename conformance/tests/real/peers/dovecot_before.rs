//! Dovecot as a proxy before ours: what it forwards of its client reaches the backend behind us.
//!
//! It is told of in the words of Dovecot, an ID on IMAP and XCLIENT elsewhere, which Dovecot 2.3
//! sends to whom offers it. With STARTTLS between the two it sends its ID before TLS and never
//! again, and what was said in the clear counts for nothing within TLS: there the address is
//! Dovecot's.

use gatepost_conformance::rig::{Dovecot, Onward, Protocol, Services, Tls};

use crate::real::{
    front::{Front, Listener},
    peers::{
        ACCOUNTS, ANOTHER, OUTER, Session, WITH_LOGIN, backend, can_run, network, sees_client,
        xclient_route,
    },
};

/// It trusts the other proxy.
const BEHIND_DOVECOT: &str = "forwarding_trusted = [\"127.0.0.50\"]\n";

pub(crate) fn the_client_of_dovecots_proxy_reaches_the_backend() {
    if !can_run(&[]) {
        return;
    }
    let dovecot = backend(&WITH_LOGIN, &network(OUTER));
    let listeners = WITH_LOGIN.iter().flat_map(|protocol| {
        [Tls::Starttls, Tls::Implicit].map(|tls| Listener::new(*protocol, tls, BEHIND_DOVECOT))
    });
    let ways = WITH_LOGIN.map(|protocol| dovecot.endpoint(protocol, Tls::Starttls));
    let front = Front::start_on(listeners.collect(), &[xclient_route(&ways, OUTER)], None);
    for tls in [Tls::Starttls, Tls::Implicit] {
        let endpoints = WITH_LOGIN.map(|protocol| front.endpoint_of(protocol, tls));
        let before = Dovecot::start(&Services {
            accounts: &[],
            protocols: &WITH_LOGIN,
            relay: None,
            trusted: "",
            trusted_headers: "",
            onward: Some(Onward { endpoints: &endpoints, source: ANOTHER }),
        })
        .unwrap();
        for protocol in WITH_LOGIN {
            let endpoint = before.endpoint(protocol, Tls::Starttls);
            if (protocol, tls) == (Protocol::Imap, Tls::Starttls) {
                let _session = Session::begin(&endpoint, ACCOUNTS[1].user);
                let user = format!("user=<{}>,", ACCOUNTS[1].user);
                let line = dovecot.logins_with(&user, protocol, 1).concat();
                assert!(line.contains(&format!("rip={ANOTHER},")), "{line}");
                continue;
            }
            let session = Session::begin(&endpoint, ACCOUNTS[0].user);
            sees_client(&dovecot, protocol, &session, &[format!("real={OUTER}")]);
        }
    }
}
