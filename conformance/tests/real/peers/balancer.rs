//! HAProxy and nginx before the proxy, which tell it by a PROXY header who the client is; the
//! backend's log shows what became of that.

use gatepost_conformance::rig::{
    Dovecot, Endpoint, Haproxy, Header, Lane, Nginx, Program, Protocol, Tls, free_port, require,
};

use crate::real::{
    front::{Front, Listener},
    identity::CLIENT,
    peers::{
        ACCOUNTS, BALANCER, OUTER, Session, backend, line_with, network, sees_client, xclient_route,
    },
};

/// The account that everybody here uses.
const USER: &str = ACCOUNTS[0].user;

/// A port behind the balancer, for clients whose TLS is the proxy's business.
const REQUIRED: &str = "allow_plain_auth_without_tls = true\nproxy_protocol = \"required\"\n\
                        proxy_trusted = [\"127.0.0.20\"]\n";
/// The same for clients that may also come by themselves.
const OPTIONAL: &str = "allow_plain_auth_without_tls = true\nproxy_protocol = \"optional\"\n\
                        proxy_trusted = [\"127.0.0.20\"]\n";
/// The same where passwords need TLS.
const PROTECTED: &str = "proxy_protocol = \"required\"\nproxy_trusted = [\"127.0.0.20\"]\n";
/// The same for nginx, which cannot choose the address that it connects from.
const BEHIND_NGINX: &str = "allow_plain_auth_without_tls = true\nproxy_protocol = \"required\"\n\
                            proxy_trusted = [\"127.0.0.1\"]\n";
/// TLS beneath the header, with a certificate that no client sees.
const BENEATH: &str = "proxy_protocol = \"required\"\nproxy_trusted = [\"127.0.0.20\"]\n\
                       proxy_tls = \"beneath\"\ncertificates = [\"proxy\"]\n";

const HEADERS: [Header; 3] = [Header::Version1, Header::Version2, Header::Version2WithTls];

/// A proxy with a port of its own for each kind of client TLS, and its backend.
struct Stage {
    front: Front,
    dovecot: Dovecot,
}

impl Stage {
    fn set(balancer: Program, lines: &'static str) -> Option<Self> {
        if !require(&[Program::Dovecot, Program::Gatepost, balancer]) {
            return None;
        }
        let dovecot = backend(&[Protocol::Imap], &network(OUTER));
        let listeners = Tls::ALL.map(|tls| Listener::new(Protocol::Imap, tls, lines)).to_vec();
        let way = [dovecot.endpoint(Protocol::Imap, Tls::Starttls)];
        let front = Front::start_on(listeners, &[xclient_route(&way, OUTER)], None);
        Some(Self { front, dovecot })
    }

    /// A lane to the port for clients with this TLS.
    fn lane(&self, tls: Tls, header: Header) -> Lane {
        Lane { header, ..Lane::new(free_port().unwrap(), self.front.endpoint(tls).port) }
    }

    /// Where a client comes in that speaks with the proxy through a lane.
    fn through(&self, lane: &Lane, tls: Tls) -> Endpoint {
        Endpoint { port: lane.port, ..self.front.endpoint(tls) }
    }

    /// A client logs in, and the backend knows it and where it came in.
    fn carries(&self, endpoint: &Endpoint) {
        let session = Session::begin(endpoint, USER);
        let parts = [format!("lport={},", endpoint.port), format!("real={OUTER}")];
        sees_client(&self.dovecot, Protocol::Imap, &session, &parts);
    }
}

/// With the proxy's own TLS above the header.
pub(crate) fn a_header_of_any_version_tells_the_client() {
    for lines in [REQUIRED, OPTIONAL] {
        let Some(stage) = Stage::set(Program::Haproxy, lines) else { return };
        let ways: Vec<(Tls, Lane)> = HEADERS
            .into_iter()
            .flat_map(|header| Tls::ALL.map(|tls| (tls, stage.lane(tls, header))))
            .collect();
        let lanes: Vec<Lane> = ways.iter().map(|(_, lane)| lane.clone()).collect();
        let _haproxy = Haproxy::start(BALANCER, &lanes).unwrap();
        for (tls, lane) in &ways {
            stage.carries(&stage.through(lane, *tls));
        }
    }
}

/// The proxy sees no TLS; a header that tells of the balancer's is enough, and one that does not is
/// not.
pub(crate) fn the_tls_of_the_balancer_counts_where_it_says_so() {
    let Some(stage) = Stage::set(Program::Haproxy, PROTECTED) else { return };
    let lanes = HEADERS.map(|header| Lane { ends_tls: true, ..stage.lane(Tls::Plain, header) });
    let haproxy = Haproxy::start(BALANCER, &lanes).unwrap();
    for lane in lanes {
        let endpoint = Endpoint {
            tls: Tls::Implicit,
            authority: haproxy.authority.authority.clone(),
            ..stage.through(&lane, Tls::Plain)
        };
        if lane.header == Header::Version2WithTls {
            stage.carries(&endpoint);
            continue;
        }
        let mut session = Session::connect(CLIENT, &endpoint).unwrap();
        let answer = session.try_to_log_in(USER).unwrap();
        assert!(answer.starts_with("NO [PRIVACYREQUIRED] "), "{lane:?}: {answer}");
    }
    // Nor is it enough that the balancer says so of a client in the clear.
    let lane = stage.lane(Tls::Plain, Header::Version2WithTls);
    let _haproxy = Haproxy::start(BALANCER, std::slice::from_ref(&lane)).unwrap();
    let mut session = Session::connect(CLIENT, &stage.through(&lane, Tls::Plain)).unwrap();
    let answer = session.try_to_log_in(USER).unwrap();
    assert!(answer.starts_with("NO [PRIVACYREQUIRED] "), "{answer}");
}

/// A header in TLS: the one lane writes it, the other carries it within TLS of its own.
pub(crate) fn a_header_may_come_within_the_tls_of_the_balancer() {
    let Some(stage) = Stage::set(Program::Haproxy, BENEATH) else { return };
    let mut lanes = Vec::new();
    let mut ways = Vec::new();
    for tls in [Tls::Starttls, Tls::Implicit] {
        let authority = stage.front.beneath.authority.clone();
        let inner = Lane { begins_tls: Some(authority), ..stage.lane(tls, Header::None) };
        for header in HEADERS {
            let outer = Lane { header, ..Lane::new(free_port().unwrap(), inner.port) };
            ways.push((tls, outer.clone()));
            lanes.push(outer);
        }
        lanes.push(inner);
    }
    let _haproxy = Haproxy::start(BALANCER, &lanes).unwrap();
    for (tls, lane) in ways {
        stage.carries(&stage.through(&lane, tls));
    }
}

/// They come by themselves, or from where headers come from and bring none.
pub(crate) fn clients_without_a_header_are_known_by_their_sockets() {
    let Some(stage) = Stage::set(Program::Haproxy, OPTIONAL) else { return };
    for tls in Tls::ALL {
        let endpoint = stage.front.endpoint(tls);
        stage.carries(&endpoint);
        let mut session = Session::connect(BALANCER, &endpoint).unwrap();
        session.log_in(USER);
        let port = format!("rport={},", session.port());
        let line = stage.dovecot.logins_with(&port, Protocol::Imap, 1).concat();
        assert!(line.contains(&format!("rip={BALANCER},")), "{line}");
    }
}

/// The balancer connects for itself ten times a second and says that nobody is behind it.
pub(crate) fn health_checks_do_no_harm() {
    for lines in [REQUIRED, OPTIONAL] {
        let Some(stage) = Stage::set(Program::Haproxy, lines) else { return };
        let lanes = [Header::Version1, Header::Version2]
            .map(|header| Lane { greeting: Some("* OK"), ..stage.lane(Tls::Starttls, header) });
        let haproxy = Haproxy::start(BALANCER, &lanes).unwrap();
        for lane in &lanes {
            let name = format!("lane{}/next", lane.port);
            line_with(|| haproxy.log(), &[&name, "succeeded", "Layer7 check passed"]);
        }
        // Its own checks are sessions of its own address and none of a client's.
        line_with(|| stage.front.proxy.log(), &[" end ", &format!("client={BALANCER}:")]);
        for lane in &lanes {
            stage.carries(&stage.through(lane, Tls::Starttls));
        }
        let log = stage.front.proxy.log();
        for trouble in ["WARN", "ERROR"] {
            assert!(!log.contains(trouble), "{log}");
        }
        assert!(!haproxy.log().contains(" failed"), "{}", haproxy.log());
    }
}

/// nginx's mail proxy takes the login itself and repeats it behind its header.
pub(crate) fn nginx_tells_the_client_by_a_header() {
    let Some(stage) = Stage::set(Program::Nginx, BEHIND_NGINX) else { return };
    let nginx = Nginx::before(stage.front.endpoint(Tls::Plain).port).unwrap();
    stage.carries(&nginx.endpoint(Protocol::Imap, Tls::Plain));
}
