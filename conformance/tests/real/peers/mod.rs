//! The backend sees the real client: what stands in the logs of real servers when there are real
//! balancers and further proxies on the way.
//!
//! Every party connects from an address of its own, so that a log tells whose address it shows, and
//! each trusts those alone that are before it. The client's port goes the same way as its address,
//! and since no two sessions of a test have the same one, a line of a log is found by it. A check
//! asserts what the backend's log says; that a login worked is not enough.

use std::{io, net::Ipv4Addr, thread, time::Duration};

use gatepost_conformance::rig::{
    Account, Dovecot, Endpoint, Program, Protocol, Services, imap, managesieve, pop3, require, smtp,
};

use crate::real::{front::Route, identity::CLIENT, stage::PASSWORD};

pub(crate) mod balancer;
pub(crate) mod behind;
pub(crate) mod chain;
pub(crate) mod dovecot_before;
pub(crate) mod forgery;
pub(crate) mod guard;
pub(crate) mod loops;

/// Who connects from where: the balancer, the proxy that is reached first, the one behind it, and a
/// proxy of another make.
const BALANCER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 20);
const OUTER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 30);
const INNER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 40);
const ANOTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 50);

/// How often to look for what must show shortly in a log, and the pause between.
const LOOKS: u32 = 500;
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// The protocols with a login.
const WITH_LOGIN: [Protocol; 4] =
    [Protocol::Imap, Protocol::Pop3, Protocol::ManageSieve, Protocol::Submission];

/// A client's session that is logged in.
#[derive(Debug)]
enum Session {
    Imap(imap::Client),
    Pop3(pop3::Client),
    ManageSieve(managesieve::Client),
    Submission(smtp::Client),
}

impl Session {
    /// Connects from an address of loopback.
    fn connect(source: Ipv4Addr, endpoint: &Endpoint) -> io::Result<Self> {
        Ok(match endpoint.protocol {
            Protocol::Imap => Self::Imap(imap::Client::connect_from(source, endpoint)?),
            Protocol::Pop3 => Self::Pop3(pop3::Client::connect_from(source, endpoint)?),
            Protocol::ManageSieve => {
                Self::ManageSieve(managesieve::Client::connect_from(source, endpoint)?)
            }
            Protocol::Submission | Protocol::Smtp | Protocol::Lmtp => {
                Self::Submission(smtp::Client::connect_from(source, endpoint)?)
            }
        })
    }

    /// Connects from the client's address and logs in.
    ///
    /// Panics if the login is refused.
    fn begin(endpoint: &Endpoint, user: &str) -> Self {
        let mut session = Self::connect(CLIENT, endpoint).unwrap();
        session.log_in(user);
        session
    }

    /// Logs in.
    ///
    /// Panics if the login is refused.
    fn log_in(&mut self, user: &str) {
        let answer = self.try_to_log_in(user).unwrap();
        let is_in = ["OK", "+OK", "235"].iter().any(|word| answer.starts_with(word));
        assert!(is_in, "{user} on {self:?}: {answer}");
    }

    /// Tries to, and answers what the server says to it.
    fn try_to_log_in(&mut self, user: &str) -> io::Result<String> {
        Ok(match self {
            Self::Imap(session) => session.authenticate_plain(user, PASSWORD)?.tagged,
            Self::Pop3(session) => session.authenticate_plain(user, PASSWORD)?,
            Self::ManageSieve(session) => session.authenticate_plain(user, PASSWORD)?.last,
            Self::Submission(session) => {
                let reply = session.authenticate_plain(user, PASSWORD)?;
                format!("{} {}", reply.code, reply.lines.join(" / "))
            }
        })
    }

    /// Sends a command as it is, line end and all, and answers the last line of what it gets.
    fn command(&mut self, command: &[u8]) -> io::Result<String> {
        match self {
            Self::Imap(session) => {
                session.write(command)?;
                session.read_line()
            }
            Self::Pop3(session) => {
                session.write(command)?;
                session.read_line()
            }
            Self::ManageSieve(session) => {
                session.write(command)?;
                Ok(session.reply()?.last)
            }
            Self::Submission(session) => {
                session.write(command)?;
                Ok(session.reply()?.code)
            }
        }
    }

    /// The port that it comes from.
    fn port(&self) -> u16 {
        let port = match self {
            Self::Imap(session) => session.source_port(),
            Self::Pop3(session) => session.source_port(),
            Self::ManageSieve(session) => session.source_port(),
            Self::Submission(session) => session.source_port(),
        };
        port.unwrap()
    }
}

/// The accounts of every check here: one for each way that its proxy has to the backend.
const ACCOUNTS: [Account<'static>; 4] = [
    Account { user: "first@example.test", password: PASSWORD },
    Account { user: "second@example.test", password: PASSWORD },
    Account { user: "third@example.test", password: PASSWORD },
    Account { user: "fourth@example.test", password: PASSWORD },
];

/// What a backend needs for every protocol with a login.
const BACKEND: [Program; 5] = [
    Program::Dovecot,
    Program::DovecotPop3,
    Program::DovecotSieve,
    Program::DovecotSubmission,
    Program::Gatepost,
];

/// Whether a check with a backend for every protocol can be run.
fn can_run(further: &[Program]) -> bool {
    require(&[&BACKEND, further].concat())
}

/// A backend that believes these networks alone.
fn backend(protocols: &[Protocol], trusted: &str) -> Dovecot {
    backend_with(protocols, trusted, None)
}

/// The same with a relay for what is submitted.
fn backend_with(protocols: &[Protocol], trusted: &str, relay: Option<u16>) -> Dovecot {
    let services = Services {
        accounts: &ACCOUNTS,
        protocols,
        relay,
        trusted,
        trusted_headers: trusted,
        onward: None,
    };
    Dovecot::start(&services).unwrap()
}

/// One address, as a network.
fn network(address: Ipv4Addr) -> String {
    format!("{address}/32")
}

/// Everybody's way to a backend, which is told by XCLIENT or ID, from an address of ours.
fn xclient_route(endpoints: &[Endpoint], source: Ipv4Addr) -> Route {
    Route { forwarding: "xclient", source: Some(source), ..Route::to(endpoints) }
}

/// The backend's line about a client's login, which tells its port.
fn line_of(dovecot: &Dovecot, protocol: Protocol, session: &Session) -> String {
    let port = format!("rport={},", session.port());
    let lines = dovecot.logins_with(&port, protocol, 1);
    assert_eq!(lines.len(), 1, "{port} of {session:?} in {}", dovecot.log());
    lines.into_iter().next().unwrap()
}

/// The backend's log shows the client's address and port, and all of `parts`, on the line of this
/// session.
fn sees_client(dovecot: &Dovecot, protocol: Protocol, session: &Session, parts: &[String]) {
    let line = line_of(dovecot, protocol, session);
    for part in parts.iter().chain([&format!("rip={CLIENT},")]) {
        assert!(line.contains(part.as_str()), "{protocol}: {part} in {line}");
    }
}

/// Waits until a log has a line with all of these parts, and answers it.
fn line_with(log: impl Fn() -> String, parts: &[&str]) -> String {
    for _ in 0..LOOKS {
        let log = log();
        let mut lines = log.lines();
        if let Some(line) = lines.find(|line| parts.iter().all(|part| line.contains(part))) {
            return line.to_owned();
        }
        thread::sleep(LOOK_INTERVAL);
    }
    panic!("no line with {parts:?} in:\n{}", log());
}
