//! What a client claims about itself where it is not trusted: it changes nothing.
//!
//! Every listener here trusts the balancer alone, for headers and for what is forwarded, and the
//! backend trusts the proxy; so whatever the proxy let through would stand in the backend's log.

use std::{io, net::Ipv4Addr};

use gatepost_conformance::rig::{
    Dovecot, Endpoint, Haproxy, Header, Lane, Program, Protocol, Tls, connection::Connection,
    free_port, imap,
};

use crate::real::{
    front::{Front, Listener},
    identity::CLIENT,
    peers::{
        ACCOUNTS, BALANCER, OUTER, Session, WITH_LOGIN, backend, can_run, line_with, network,
        sees_client, xclient_route,
    },
    stage::PASSWORD,
};

/// The address that is claimed, and no one's.
const FORGED: &str = "192.0.2.7";
/// Listeners, by what they make of a header.
const OPTIONAL: &str = "allow_plain_auth_without_tls = true\nproxy_protocol = \"optional\"\n\
                        proxy_trusted = [\"127.0.0.20\"]\nforwarding_trusted = [\"127.0.0.20\"]\n";
const REQUIRED: &str = "proxy_protocol = \"required\"\nproxy_trusted = [\"127.0.0.20\"]\n\
                        forwarding_trusted = [\"127.0.0.3\"]\n";

/// A header of version 1, and one of version 2, that claim the address.
const HEADERS: [&[u8]; 2] = [
    b"PROXY TCP4 192.0.2.7 192.0.2.8 77 143\r\n",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc0\0\x02\x08\0\x4d\0\x8f",
];

struct Stage {
    front: Front,
    dovecot: Dovecot,
}

impl Stage {
    fn set(further: &[Program]) -> Option<Self> {
        if !can_run(further) {
            return None;
        }
        let dovecot = backend(&WITH_LOGIN, &network(OUTER));
        let mut listeners: Vec<Listener> = WITH_LOGIN
            .iter()
            .map(|protocol| Listener::new(*protocol, Tls::Plain, OPTIONAL))
            .collect();
        listeners.push(Listener::new(Protocol::Imap, Tls::Starttls, REQUIRED));
        let ways = WITH_LOGIN.map(|protocol| dovecot.endpoint(protocol, Tls::Starttls));
        let front = Front::start_on(listeners, &[xclient_route(&ways, OUTER)], None);
        Some(Self { front, dovecot })
    }

    /// A client of one protocol claims something before it logs in, and is none the more believed.
    fn is_not_believed(&self, session: &Session, protocol: Protocol) {
        sees_client(&self.dovecot, protocol, session, &[]);
        assert!(!self.dovecot.log().contains(FORGED), "{protocol}: {}", self.dovecot.log());
    }
}

pub(crate) fn a_header_of_an_untrusted_client_changes_nothing() {
    let Some(stage) = Stage::set(&[]) else { return };
    for protocol in WITH_LOGIN {
        let endpoint = stage.front.endpoint_of(protocol, Tls::Plain);
        let mut session = Session::connect(CLIENT, &endpoint).unwrap();
        // It is a command, and not a known one.
        let answer = session.command(HEADERS[0]).unwrap();
        assert!(is_refusal(&answer), "{protocol}: {answer}");
        session.log_in(ACCOUNTS[0].user);
        stage.is_not_believed(&session, protocol);
    }
    // The other version is a few lines of nonsense. On POP3 one of them ends the session.
    let endpoint = stage.front.endpoint_of(Protocol::Imap, Tls::Plain);
    let mut session = imap::Client::connect_from(CLIENT, &endpoint).unwrap();
    session.write(&[HEADERS[1], b"\r\n"].concat()).unwrap();
    let reply = session.login(ACCOUNTS[0].user, PASSWORD).unwrap();
    assert!(reply.is_ok(), "{reply:?}");
    stage.is_not_believed(&Session::Imap(session), Protocol::Imap);
}

/// Where a header is required nobody else is served, and the backend hears of nothing.
pub(crate) fn a_required_header_is_not_taken_from_an_untrusted_client() {
    let Some(stage) = Stage::set(&[]) else { return };
    let endpoint = stage.front.endpoint_of(Protocol::Imap, Tls::Starttls);
    for header in HEADERS {
        let mut connection = Connection::open(CLIENT, &endpoint).unwrap();
        let port = connection.source_port().unwrap();
        // The proxy may have closed it already.
        let _ = connection.write(header);
        let end = connection.read_line().unwrap_err();
        let closed = [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset];
        assert!(closed.contains(&end.kind()), "{end:?}");
        line_with(|| stage.front.proxy.log(), &[" end ", &format!("client={CLIENT}:{port} ")]);
    }
    assert!(!stage.front.proxy.log().contains(FORGED), "{}", stage.front.proxy.log());
    assert!(!stage.dovecot.log().contains(FORGED), "{}", stage.dovecot.log());
}

/// ID on IMAP, XCLIENT elsewhere; with the number of hops that would end the session as a loop.
pub(crate) fn what_an_untrusted_client_forwards_changes_nothing() {
    let Some(stage) = Stage::set(&[]) else { return };
    for protocol in WITH_LOGIN {
        let endpoint = stage.front.endpoint_of(protocol, Tls::Plain);
        let mut session = Session::connect(CLIENT, &endpoint).unwrap();
        let answer = session.command(claim(protocol).as_bytes()).unwrap();
        // An ID is for everybody; what it says of another address is dropped.
        assert_eq!(is_refusal(&answer), protocol != Protocol::Imap, "{protocol}: {answer}");
        session.log_in(ACCOUNTS[0].user);
        stage.is_not_believed(&session, protocol);
    }
}

/// Who may forward is judged by the socket's address, which is the balancer's, and not by the
/// address that the balancer tells of its client.
pub(crate) fn a_client_behind_a_balancer_forwards_nothing() {
    let Some(stage) = Stage::set(&[Program::Haproxy]) else { return };
    let Endpoint { port: to, .. } = stage.front.endpoint_of(Protocol::Imap, Tls::Starttls);
    let lane = Lane { header: Header::Version2, ..Lane::new(free_port().unwrap(), to) };
    let endpoint =
        Endpoint { port: lane.port, ..stage.front.endpoint_of(Protocol::Imap, Tls::Starttls) };
    let _haproxy = Haproxy::start(BALANCER, &[lane]).unwrap();
    let trusted = Ipv4Addr::new(127, 0, 0, 3);
    let mut session = Session::connect(trusted, &endpoint).unwrap();
    // A second header is no header any more.
    let answer = session.command(HEADERS[0]).unwrap();
    assert!(is_refusal(&answer), "{answer}");
    session.command(claim(Protocol::Imap).as_bytes()).unwrap();
    session.log_in(ACCOUNTS[0].user);
    let port = format!("rport={},", session.port());
    let line = stage.dovecot.logins_with(&port, Protocol::Imap, 1).concat();
    assert!(line.contains(&format!("rip={trusted},")), "{line}");
    assert!(!stage.dovecot.log().contains(FORGED), "{}", stage.dovecot.log());
}

/// A claim in the words of a protocol, as a whole command.
fn claim(protocol: Protocol) -> String {
    match protocol {
        Protocol::Imap => format!(
            "t0 ID (\"name\" \"tester\" \"x-originating-ip\" \"{FORGED}\" \
             \"x-originating-port\" \"77\" \"x-session-id\" \"forged\" \"x-proxy-ttl\" \"1\")\r\n"
        ),
        Protocol::ManageSieve => format!("XCLIENT \"ADDR={FORGED}\" \"PORT=77\" \"TTL=1\"\r\n"),
        Protocol::Pop3 | Protocol::Submission | Protocol::Smtp | Protocol::Lmtp => {
            format!("XCLIENT ADDR={FORGED} PORT=77 TTL=1\r\n")
        }
    }
}

/// Whether a command was not carried out, in any protocol.
fn is_refusal(answer: &str) -> bool {
    ["BAD", "NO", "-ERR", "50", "55"].iter().any(|word| answer.contains(word))
}
