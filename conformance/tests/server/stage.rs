//! A configuration under construction, the server that runs it, and backends that take every login.
//!
//! A listener is named after its mode of TLS. An account `NAME@test` lives at destination NAME;
//! everybody else at the first one. A backend hands each session that has logged in to the test.

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use gatepost_conformance::backend::tls::SelfSigned;
use gatepost_conformance::rig::{Tls, raise_open_files};
use gatepost_core::config;
use gatepost_mio::{Remote, Rig, Server, Site};
use rustls::ServerConfig;
use tempfile::TempDir;

use crate::server::wire::{LIMIT, Wire};

/// A configuration under construction, with the folder of its files.
pub(crate) struct Draft {
    pub(crate) folder: TempDir,
    /// What listeners show: for `localhost` and 127.0.0.1.
    pub(crate) certificate: SelfSigned,
    text: String,
    map: String,
    destinations: Vec<String>,
    carried_to: Option<String>,
}

impl Draft {
    /// With these lines in the table `server`.
    pub(crate) fn new(server: &str) -> Self {
        raise_open_files().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let certificate = SelfSigned::new(&["localhost", "127.0.0.1"]).unwrap();
        let text = format!("[server]\n{server}\n");
        let mut draft = Self {
            folder,
            certificate,
            text,
            map: String::new(),
            destinations: Vec::new(),
            carried_to: None,
        };
        let (chain, key) = (
            draft.file("main.pem", draft.certificate.certificate_pem()),
            draft.file("main.key", draft.certificate.private_key_pem()),
        );
        draft.add(&format!(
            "[tls.certificate.main]\ncert = \"{chain}\"\nkey = \"{key}\"\ndefault = true\n"
        ));
        draft
    }

    /// Writes a file into the folder; its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Adds lines as they are.
    pub(crate) fn add(&mut self, lines: &str) {
        self.text.push_str(lines);
    }

    /// Adds a listener on a port of 127.0.0.1, 0 for any.
    pub(crate) fn listener(mut self, tls: Tls, port: u16, keys: &str) -> Self {
        let cleartext = tls == Tls::Plain;
        write!(
            self.text,
            "[listener.{tls}]\nprotocol = \"imap\"\nbind = [\"127.0.0.1:{port}\"]\n\
             tls = \"{tls}\"\nallow_plain_auth_without_tls = {cleartext}\n{keys}\n"
        )
        .unwrap();
        self
    }

    /// Adds a destination at a backend; keys may say more of it.
    pub(crate) fn destination(self, name: &str, backend: &Backend, keys: &str) -> Self {
        let authority = backend.certificate.as_ref().map(|certificate| {
            let file = self.file(&format!("{name}-ca.pem"), certificate.certificate_pem());
            format!("tls_server_name = \"localhost\"\ntls_ca_file = \"{file}\"\n")
        });
        let trust = authority.unwrap_or_else(|| "allow_plaintext_auth = true\n".to_owned());
        let host = backend.address.ip().to_string();
        self.destination_at(name, &host, backend.address.port(), &format!("{trust}{keys}"))
    }

    /// Adds a destination at any host. TLS is implicit, unless the keys allow plain text.
    pub(crate) fn destination_at(mut self, name: &str, host: &str, port: u16, keys: &str) -> Self {
        let plain = keys.contains("allow_plaintext_auth = true");
        let tls = if plain { Tls::Plain } else { Tls::Implicit };
        write!(
            self.text,
            "[destination.{name}]\nhost = \"{host}\"\nforwarding = \"none\"\n{keys}\n\
             [destination.{name}.protocol.imap]\nport = {port}\ntls = \"{tls}\"\n"
        )
        .unwrap();
        writeln!(self.map, "{name}@test {name}").unwrap();
        self.destinations.push(name.to_owned());
        self
    }

    /// Adds a destination on several hosts, each an address with its own port, without TLS.
    pub(crate) fn destination_on(mut self, name: &str, at: &[SocketAddr], keys: &str) -> Self {
        let hosts: Vec<String> = at.iter().map(|at| format!("\"{at}\"")).collect();
        write!(
            self.text,
            "[destination.{name}]\nhosts = [{}]\nforwarding = \"none\"\n\
             allow_plaintext_auth = true\n{keys}\n\
             [destination.{name}.protocol.imap]\nport = 143\ntls = \"plain\"\n",
            hosts.join(", ")
        )
        .unwrap();
        writeln!(self.map, "{name}@test {name}").unwrap();
        self.destinations.push(name.to_owned());
        self
    }

    /// The whole text, and the map it names is written.
    pub(crate) fn text(&self) -> String {
        let map = self.file("map", &self.map);
        let default = &self.destinations[0];
        let carried = self.carried_to.as_ref();
        let carried = carried
            .map(|name| format!("smtp_passthrough_destination = \"{name}\"\n"))
            .unwrap_or_default();
        format!(
            "{}[routing]\ndefault_destination = \"{default}\"\n{carried}\
             [mapping]\nsource = \"file\"\n[mapping.file]\npath = \"{map}\"\n",
            self.text
        )
    }

    /// Starts the server in this process.
    pub(crate) fn start(self) -> Stage {
        self.start_with(Rig::default())
    }

    /// The same, with a destination for what is carried.
    pub(crate) fn start_carrying(mut self, destination: &str) -> Stage {
        self.carried_to = Some(destination.to_owned());
        self.start()
    }

    /// The same in another world.
    pub(crate) fn start_with(self, rig: Rig) -> Stage {
        let text = self.text();
        let (config, _) =
            config::parse(&text).unwrap_or_else(|faults| panic!("{faults:?}\n{text}"));
        let site = Site::load(&config).unwrap_or_else(|faults| panic!("{faults:?}\n{text}"));
        let server = Server::start(site, rig).unwrap();
        Stage { remote: server.remote(), server, draft: self }
    }
}

/// A server that runs in this process, until it is dropped.
pub(crate) struct Stage {
    pub(crate) remote: Remote,
    pub(crate) server: Server,
    pub(crate) draft: Draft,
}

impl Stage {
    /// Where the listener of this mode is.
    pub(crate) fn address(&self, tls: Tls) -> SocketAddr {
        self.server.addresses(&tls.to_string()).next().unwrap()
    }

    /// A client that has come through its handshake, if there is one, and no further.
    pub(crate) fn client(&self, tls: Tls) -> Wire {
        let mut wire = Wire::connect(self.address(tls));
        if tls == Tls::Implicit {
            let config = self.draft.certificate.client_config().unwrap();
            wire.secure(config, "localhost").unwrap();
        }
        wire
    }

    /// Both ends of a session that has logged in.
    pub(crate) fn session(&self, tls: Tls, user: &str, backend: &Backend) -> (Wire, Wire) {
        let mut client = self.client(tls);
        client.log_in(user);
        (client, backend.session())
    }
}

/// A backend that takes every login.
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    pub(crate) certificate: Option<SelfSigned>,
    sessions: Receiver<Wire>,
}

impl Backend {
    /// On a free port of 127.0.0.1, with TLS from the first byte or none.
    pub(crate) fn start(tls: Tls) -> Self {
        let certificate = (tls == Tls::Implicit).then(|| SelfSigned::new(&["localhost"]).unwrap());
        Self::start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), certificate)
    }

    /// At this address, showing this certificate if there is one.
    pub(crate) fn start_at(address: SocketAddr, certificate: Option<SelfSigned>) -> Self {
        let config = certificate.as_ref().map(|certificate| certificate.server_config().unwrap());
        let (address, sessions) = serve(address, config, log_in);
        Self { address, certificate, sessions }
    }

    /// On a free port of 127.0.0.1, with TLS of any kind from the first byte.
    pub(crate) fn start_showing(config: Arc<ServerConfig>) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (address, sessions) = serve(address, Some(config), log_in);
        Self { address, certificate: None, sessions }
    }

    /// One that greets, and hands over its sessions before they have logged in.
    pub(crate) fn start_undecided() -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (address, sessions) = serve(address, None, |mut wire, ready| {
            greet(&mut wire);
            let _ = ready.send(wire);
        });
        Self { address, certificate: None, sessions }
    }

    /// The next session.
    pub(crate) fn session(&self) -> Wire {
        self.sessions.recv_timeout(LIMIT).unwrap()
    }

    /// Whether there was none.
    pub(crate) fn is_unused(&self) -> bool {
        self.sessions.try_recv().is_err()
    }
}

fn serve(
    address: SocketAddr,
    config: Option<Arc<ServerConfig>>,
    begin: impl Fn(Wire, Sender<Wire>) + Send + Sync + 'static,
) -> (SocketAddr, Receiver<Wire>) {
    let listener = TcpListener::bind(address).unwrap();
    let address = listener.local_addr().unwrap();
    let (ready, sessions) = channel();
    let begin = Arc::new(begin);
    thread::spawn(move || {
        for socket in listener.incoming() {
            let (begin, config, ready) = (Arc::clone(&begin), config.clone(), ready.clone());
            let Ok(socket) = socket else { continue };
            thread::spawn(move || {
                let mut wire = Wire::new(socket);
                // A peer that does not like our certificate is no session.
                if config.is_none_or(|config| wire.serve(config).is_ok()) {
                    begin(wire, ready);
                }
            });
        }
    });
    (address, sessions)
}

/// Takes the login and hands the session over.
fn log_in(mut wire: Wire, ready: Sender<Wire>) {
    if conduct(&mut wire).is_some() {
        // The test may be over.
        let _ = ready.send(wire);
    }
}

fn greet(wire: &mut Wire) {
    wire.say("* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN ID] ready\r\n");
}

/// A backend's part of a login, which it accepts. None: the connection came to nothing.
fn conduct(wire: &mut Wire) -> Option<()> {
    greet(wire);
    loop {
        let line = wire.line().ok()?;
        let (tag, command) = line.split_once(' ')?;
        if command.starts_with("AUTHENTICATE") || command.starts_with("LOGIN") {
            wire.say(format!("{tag} OK [CAPABILITY IMAP4rev1] in\r\n"));
            return Some(());
        }
        if command.starts_with("CAPABILITY") {
            wire.say("* CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN ID\r\n");
        }
        wire.say(format!("{tag} OK done\r\n"));
    }
}

/// Every combination of TLS on the two legs.
pub(crate) const LEGS: [(Tls, Tls); 4] = [
    (Tls::Plain, Tls::Plain),
    (Tls::Implicit, Tls::Plain),
    (Tls::Plain, Tls::Implicit),
    (Tls::Implicit, Tls::Implicit),
];

/// A second address of loopback.
pub(crate) const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
