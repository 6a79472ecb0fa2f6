//! Backends that are told by a PROXY header who the client is: Dovecot, Postfix with and without
//! postscreen, and what stands before a backend itself, nginx and HAProxy.

use std::net::Ipv4Addr;

use gatepost_conformance::rig::{
    Dovecot, Endpoint, Haproxy, Lane, Nginx, Ports, Postfix, Program, Protocol, Services, Tls,
    dovecot::LOOPBACK, free_port, require, smtp,
};

use crate::real::{
    clients::{curl_options, output},
    front::{Front, Listener, Route},
    identity::CLIENT,
    peers::{
        ACCOUNTS, OUTER, Session, WITH_LOGIN, backend, can_run, line_of, line_with, network,
        sees_client,
    },
    stage::PASSWORD,
};

/// An account for each mode of TLS toward the backend.
fn account(tls: Tls) -> &'static str {
    match tls {
        Tls::Plain => ACCOUNTS[0].user,
        Tls::Starttls => ACCOUNTS[1].user,
        Tls::Implicit => ACCOUNTS[2].user,
    }
}

/// A way to a server that is told by a header.
fn route(user: &str, endpoints: &[Endpoint]) -> Route {
    Route { user: user.to_owned(), forwarding: "proxy", ..Route::to(endpoints) }
}

fn dovecot_ways(dovecot: &Dovecot, tls: Tls) -> Vec<Endpoint> {
    let tls_of = |protocol: Protocol| match (protocol, tls) {
        // Dovecot does not serve it with implicit TLS.
        (Protocol::ManageSieve, Tls::Implicit) => Tls::Starttls,
        (_, tls) => tls,
    };
    WITH_LOGIN.iter().map(|it| dovecot.endpoint_with_header(*it, tls_of(*it))).collect()
}

pub(crate) fn dovecot_logs_the_client_of_a_header() {
    if !can_run(&[]) {
        return;
    }
    let dovecot = backend(&WITH_LOGIN, LOOPBACK);
    let front =
        Front::start(&Tls::ALL.map(|tls| route(account(tls), &dovecot_ways(&dovecot, tls))));
    for protocol in WITH_LOGIN {
        for (client, to_backend) in
            Tls::ALL.into_iter().zip([Tls::Starttls, Tls::Implicit, Tls::Plain])
        {
            let endpoint = front.endpoint_of(protocol, client);
            let user = account(to_backend);
            let session = Session::begin(&endpoint, user);
            let parts = [
                format!("user=<{user}>,"),
                "lip=127.0.0.1,".to_owned(),
                format!("lport={},", endpoint.port),
            ];
            sees_client(&dovecot, protocol, &session, &parts);
        }
    }
}

/// The backend's side is in the clear, and the header tells of the client's. Nothing else does: the
/// backend trusts nobody for where they connect from.
pub(crate) fn dovecot_takes_the_clients_tls_from_a_header() {
    if !require(&[Program::Dovecot, Program::Gatepost]) {
        return;
    }
    let dovecot = Dovecot::start(&Services {
        accounts: &ACCOUNTS,
        protocols: &[Protocol::Imap],
        relay: None,
        trusted: "",
        trusted_headers: &network(OUTER),
        onward: None,
    })
    .unwrap();
    let user = account(Tls::Plain);
    let way = route(user, &[dovecot.endpoint_with_header(Protocol::Imap, Tls::Plain)]);
    let front = Front::start(&[Route { source: Some(OUTER), ..way }]);
    for tls in Tls::ALL {
        let session = Session::begin(&front.endpoint(tls), user);
        sees_client(&dovecot, Protocol::Imap, &session, &[format!("real={OUTER}")]);
        let line = line_of(&dovecot, Protocol::Imap, &session);
        let is_protected = [", TLS,", ", secured,"].iter().any(|word| line.contains(word));
        assert_eq!(is_protected, tls != Tls::Plain, "{tls}: {line}");
    }
}

pub(crate) fn postfix_logs_the_client_of_a_header() {
    if !require(&[Program::Dovecot, Program::DovecotLmtp, Program::Postfix, Program::Gatepost]) {
        return;
    }
    let dovecot = backend(&[Protocol::Imap, Protocol::Lmtp], LOOPBACK);
    let ports = Ports::choose().unwrap();
    let delivery = dovecot.endpoint(Protocol::Lmtp, Tls::Plain);
    let postfix = Postfix::start(ports, &dovecot, delivery.port).unwrap();
    let ways = [Tls::Plain, Tls::Starttls]
        .map(|tls| route(account(tls), &[postfix.endpoint_with_header(Protocol::Submission, tls)]));
    let screened = postfix.endpoint_with_header(Protocol::Smtp, Tls::Plain);
    let carried = route("", &[screened]);
    let mut listeners = Listener::each(&[Protocol::Submission]);
    listeners.push(Listener::new(Protocol::Smtp, Tls::Plain, ""));
    let front = Front::start_on(listeners, &ways, Some(&carried));

    for (client, to_backend) in
        [(Tls::Plain, Tls::Starttls), (Tls::Starttls, Tls::Plain), (Tls::Implicit, Tls::Starttls)]
    {
        let user = account(to_backend);
        let endpoint = front.endpoint_of(Protocol::Submission, client);
        let Session::Submission(mut session) = Session::begin(&endpoint, user) else {
            panic!("submission is not {endpoint:?}");
        };
        assert!(session.command("MAIL FROM:<carol@example.test>").unwrap().is_ok());
        assert!(session.command(&format!("RCPT TO:<{user}>")).unwrap().is_ok());
        let whence = format!("client=unknown[{CLIENT}]:{},", session.source_port().unwrap());
        line_with(|| postfix.log(), &[&whence, &format!("sasl_username={user}")]);
    }

    let endpoint = front.endpoint_of(Protocol::Smtp, Tls::Plain);
    let session = smtp::Client::connect_from(CLIENT, &endpoint).unwrap();
    let connection = format!(
        "CONNECT from [{CLIENT}]:{} to [127.0.0.1]:{}",
        session.source_port().unwrap(),
        endpoint.port
    );
    line_with(|| postfix.log(), &["postscreen", &connection]);
}

/// What stands before the backend reads the header and carries the rest.
pub(crate) fn nginx_logs_the_client_of_a_header() {
    if !require(&[Program::Dovecot, Program::Nginx, Program::Gatepost]) {
        return;
    }
    let dovecot = backend(&[Protocol::Imap], LOOPBACK);
    for tls in Tls::ALL {
        let backend = dovecot.endpoint(Protocol::Imap, tls);
        let nginx = Nginx::behind(backend.port).unwrap();
        let way = Endpoint { port: nginx.endpoint(Protocol::Imap, tls).port, ..backend };
        let front = Front::start(&[route(account(tls), &[way])]);
        let endpoint = front.endpoint(tls);
        let session = Session::begin(&endpoint, account(tls));
        let port = session.port();
        // It logs a session when it is over.
        drop(session);
        let line = format!("client={CLIENT}:{port} server=127.0.0.1:{}", endpoint.port);
        line_with(|| nginx.log(), &[&line]);
    }
}

pub(crate) fn haproxy_logs_the_client_of_a_header() {
    let Some(stage) = BehindHaproxy::set(&[]) else { return };
    for tls in Tls::ALL {
        let endpoint = stage.front.endpoint(tls);
        let session = Session::begin(&endpoint, account(Tls::Implicit));
        let addresses =
            format!("client={CLIENT}:{} server=127.0.0.1:{}", session.port(), endpoint.port);
        let line = line_with(|| stage.haproxy.log(), &[&addresses]);
        assert!(line.contains(" authority=- "), "nobody asked for a name: {line}");
    }
}

/// The name that the client asked for in its handshake, and that of the session in our log.
pub(crate) fn haproxy_logs_what_a_header_says_besides() {
    let Some(stage) = BehindHaproxy::set(&[Program::Curl]) else { return };
    let endpoint = stage.front.endpoint(Tls::Implicit);
    let mut curl = curl_options(&endpoint);
    let login = format!("{}:{PASSWORD}", account(Tls::Implicit));
    curl.args(["--interface", &CLIENT.to_string(), "--user", &login]);
    output(curl.arg(format!("imaps://localhost:{}/", endpoint.port)));
    let line = line_with(|| stage.haproxy.log(), &[&format!("client={CLIENT}:")]);
    assert!(line.contains(" authority=localhost "), "{line}");
    let (_, name) = line.split_once(" id=").unwrap();
    let login = line_with(|| stage.front.proxy.log(), &[" login ", &format!("client={CLIENT}:")]);
    assert!(login.contains(&format!("session={name} ")), "{name} in {login}");
}

/// The proxy, HAProxy behind it and Dovecot behind that.
struct BehindHaproxy {
    front: Front,
    haproxy: Haproxy,
    _dovecot: Dovecot,
}

impl BehindHaproxy {
    fn set(needed: &[Program]) -> Option<Self> {
        let servers = [Program::Dovecot, Program::Haproxy, Program::Gatepost];
        if !require(&[&servers, needed].concat()) {
            return None;
        }
        let dovecot = backend(&[Protocol::Imap], LOOPBACK);
        let endpoint = dovecot.endpoint(Protocol::Imap, Tls::Implicit);
        let lane = Lane { takes_header: true, ..Lane::new(free_port().unwrap(), endpoint.port) };
        let way = Endpoint { port: lane.port, ..endpoint };
        let haproxy = Haproxy::start(Ipv4Addr::LOCALHOST, &[lane]).unwrap();
        let front = Front::start(&[route(account(Tls::Implicit), &[way])]);
        Some(Self { front, haproxy, _dovecot: dovecot })
    }
}
