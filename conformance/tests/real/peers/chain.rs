//! The whole chain: a client, HAProxy, a proxy, another proxy, Dovecot, over TLS from end to end.
//!
//! HAProxy ends the client's TLS and says so; the first proxy takes that for TLS. From the first to
//! the second proxy the client's address travels by XCLIENT (ID on IMAP) or by a PROXY header, and
//! so it does from there to Dovecot, each way with an account of its own. Everybody trusts the
//! address of the one before, and nobody else's.

use gatepost_conformance::rig::{
    Dovecot, Endpoint, Haproxy, Header, Lane, Program, Protocol, Tls, free_port,
};

use crate::real::{
    front::{Front, Listener, Route},
    peers::{
        ACCOUNTS, BALANCER, INNER, OUTER, Session, WITH_LOGIN, backend, can_run, network,
        sees_client,
    },
};

/// The listener that the balancer reaches: in the clear, and no password without TLS.
const BEHIND_BALANCER: &str = "proxy_protocol = \"required\"\nproxy_trusted = [\"127.0.0.20\"]\n";
/// Those that the first proxy reaches.
const BY_XCLIENT: &str = "forwarding_trusted = [\"127.0.0.30\"]\n";
const BY_HEADER: &str = "proxy_protocol = \"required\"\nproxy_trusted = [\"127.0.0.30\"]\n";

/// How the address travels: from proxy to proxy, and from there to the backend.
const WAYS: [(&str, &str); 4] =
    [("xclient", "xclient"), ("xclient", "proxy"), ("proxy", "xclient"), ("proxy", "proxy")];

pub(crate) fn dovecot_logs_the_client_at_the_far_end() {
    if !can_run(&[Program::Haproxy]) {
        return;
    }
    let dovecot = backend(&WITH_LOGIN, &network(INNER));
    let inner = inner(&dovecot);
    let outer = outer(&inner);
    let lanes = WITH_LOGIN.map(|protocol| Lane {
        ends_tls: true,
        header: Header::Version2WithTls,
        ..Lane::new(free_port().unwrap(), outer.endpoint_of(protocol, Tls::Plain).port)
    });
    let haproxy = Haproxy::start(BALANCER, &lanes).unwrap();
    for (protocol, lane) in WITH_LOGIN.into_iter().zip(&lanes) {
        let endpoint = Endpoint {
            protocol,
            port: lane.port,
            tls: Tls::Implicit,
            authority: haproxy.authority.authority.clone(),
        };
        for (account, (outward, inward)) in ACCOUNTS.iter().zip(WAYS) {
            let session = Session::begin(&endpoint, account.user);
            let mut parts = vec![
                format!("user=<{}>,", account.user),
                ", TLS,".to_owned(),
                format!("real={INNER}"),
            ];
            // Where the client connected to travels too, but for the XCLIENT of Dovecot 2.3, which
            // does not list it.
            if (outward, inward) == ("proxy", "proxy") || protocol == Protocol::Imap {
                parts.push(format!("lport={},", lane.port));
            }
            sees_client(&dovecot, protocol, &session, &parts);
        }
    }
}

/// The second proxy, which leads to the backend.
fn inner(dovecot: &Dovecot) -> Front {
    let tls = |protocol| {
        // Dovecot does not serve it with implicit TLS.
        if protocol == Protocol::ManageSieve { Tls::Starttls } else { Tls::Implicit }
    };
    let listeners = WITH_LOGIN.iter().flat_map(|protocol| {
        [
            Listener::new(*protocol, Tls::Starttls, BY_XCLIENT),
            Listener::new(*protocol, Tls::Implicit, BY_HEADER),
        ]
    });
    let routes = ACCOUNTS.iter().zip(WAYS).map(|(account, (_, inward))| {
        let endpoints = WITH_LOGIN.map(|protocol| {
            if inward == "proxy" {
                dovecot.endpoint_with_header(protocol, tls(protocol))
            } else {
                dovecot.endpoint(protocol, tls(protocol))
            }
        });
        let user = account.user.to_owned();
        Route { user, forwarding: inward, source: Some(INNER), ..Route::to(&endpoints) }
    });
    Front::start_on(listeners.collect(), &routes.collect::<Vec<_>>(), None)
}

/// The first proxy, which leads to the second.
fn outer(inner: &Front) -> Front {
    let listeners = WITH_LOGIN.map(|it| Listener::new(it, Tls::Plain, BEHIND_BALANCER));
    let routes = ACCOUNTS.iter().zip(WAYS).map(|(account, (outward, _))| {
        let tls = if outward == "proxy" { Tls::Implicit } else { Tls::Starttls };
        let endpoints = WITH_LOGIN.map(|protocol| inner.endpoint_of(protocol, tls));
        let user = account.user.to_owned();
        Route { user, forwarding: outward, source: Some(OUTER), ..Route::to(&endpoints) }
    });
    Front::start_on(listeners.to_vec(), &routes.collect::<Vec<_>>(), None)
}
