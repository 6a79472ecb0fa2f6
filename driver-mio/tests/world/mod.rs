//! A server with an IMAP backend behind it, both on loopback, and ends to speak to them.
//!
//! The backend knows one dialogue: it greets, takes a login whatever it is, and hands the
//! connection to the test.
#![allow(clippy::unwrap_used, dead_code)]

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use gatepost_core::config;
use gatepost_mio::{Held, Rig, Server, Site};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
};
use tempfile::TempDir;

/// Who hears nothing for so long will not hear anything any more.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// What a client sends to log in.
pub(crate) const LOGIN: &str = "a1 LOGIN alice secret\r\n";
/// What it hears then, and no more.
pub(crate) const LOGGED_IN: &str = "a1 OK [CAPABILITY IMAP4rev1 IDLE] in\r\n";

/// How the legs of a world are, and what is different about its configuration.
#[derive(Default, Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) client_tls: bool,
    pub(crate) backend_tls: bool,
    /// Keys for the `server` table.
    pub(crate) server: &'static str,
    /// Keys for the `listener` table.
    pub(crate) listener: &'static str,
}

/// A server and its backend.
pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) backends: Receiver<End>,
    backend_port: u16,
    kind: Kind,
    client_tls: Arc<ClientConfig>,
    folder: TempDir,
}

/// One end of a connection, with TLS or without.
pub(crate) enum End {
    Plain(TcpStream),
    Client(Box<StreamOwned<ClientConnection, TcpStream>>),
    Server(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl World {
    pub(crate) fn new(kind: Kind) -> Self {
        Self::with(kind, Rig::default())
    }

    pub(crate) fn with(kind: Kind, rig: Rig) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = certificate(&folder);
        let (backend_port, backends) = backend(kind.backend_tls.then(|| server_tls(&cert, &key)));
        let text = text(kind, backend_port, &folder);
        let site = Site::load(&config::parse(&text).unwrap().0).unwrap_or_else(|_| panic!());
        let server = Server::start(site, rig).unwrap();
        let client_tls = client_tls(&cert);
        Self { server, backends, backend_port, kind, client_tls, folder }
    }

    /// A second configuration like this world's, but for its port.
    pub(crate) fn site_at(&self, address: SocketAddr) -> Site {
        let text = self.text().replace("127.0.0.1:0", &address.to_string());
        Site::load(&config::parse(&text).unwrap().0).unwrap_or_else(|_| panic!())
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.addresses("imap").next().unwrap()
    }

    /// The text of its configuration.
    pub(crate) fn text(&self) -> String {
        text(self.kind, self.backend_port, &self.folder)
    }

    /// Where its backend listens on 127.0.0.1.
    pub(crate) fn backend_port(&self) -> u16 {
        self.backend_port
    }

    /// Where its files are.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A client that was not greeted yet.
    pub(crate) fn connect(&self) -> End {
        self.connect_to(self.address())
    }

    /// A client of another server with this world's certificate.
    pub(crate) fn connect_to(&self, address: SocketAddr) -> End {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        if !self.kind.client_tls {
            return End::Plain(socket);
        }
        let name = "mail.test".try_into().unwrap();
        let connection = ClientConnection::new(self.client_tls.clone(), name).unwrap();
        End::Client(Box::new(StreamOwned::new(connection, socket)))
    }

    /// A client that was greeted.
    pub(crate) fn greeted(&self) -> End {
        let mut client = self.connect();
        let greeting = client.line();
        assert!(greeting.starts_with("* OK [CAPABILITY "), "{greeting}");
        client
    }

    /// Both ends of a session that is logged in.
    pub(crate) fn session(&self) -> (End, End) {
        let mut client = self.greeted();
        client.say(LOGIN);
        client.hear(LOGGED_IN);
        (client, self.backends.recv_timeout(PATIENCE).unwrap())
    }

    /// Waits until what the sessions hold is as wanted.
    pub(crate) fn settles(&self, wanted: impl Fn(Held) -> bool) {
        let mut held = self.server.remote().held();
        for _ in 0..400 {
            if wanted(held) {
                return;
            }
            thread::sleep(Duration::from_millis(25));
            held = self.server.remote().held();
        }
        panic!("it stays at {held:?}");
    }
}

impl End {
    pub(crate) fn say(&mut self, text: &str) {
        self.write_all(text.as_bytes()).unwrap();
        self.flush().unwrap();
    }

    /// Reads exactly this.
    pub(crate) fn hear(&mut self, text: &str) {
        let mut heard = vec![0; text.len()];
        self.read_exact(&mut heard).unwrap();
        assert_eq!(String::from_utf8_lossy(&heard), text);
    }

    pub(crate) fn line(&mut self) -> String {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut octet = [0];
            self.read_exact(&mut octet).unwrap();
            line.push(octet[0]);
        }
        String::from_utf8(line).unwrap()
    }

    /// Reads what is left until the end of stream, which must be in good order.
    pub(crate) fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        self.read_to_end(&mut rest).unwrap();
        String::from_utf8(rest).unwrap()
    }

    /// Says nothing any more.
    pub(crate) fn end(&mut self) {
        match self {
            Self::Plain(_) => {}
            Self::Client(stream) => stream.conn.send_close_notify(),
            Self::Server(stream) => stream.conn.send_close_notify(),
        }
        self.flush().unwrap();
        self.socket().shutdown(Shutdown::Write).unwrap();
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Client(stream) => &stream.sock,
            Self::Server(stream) => &stream.sock,
        }
    }
}

impl Read for End {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Client(stream) => stream.read(buffer),
            Self::Server(stream) => stream.read(buffer),
        }
    }
}

impl Write for End {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Client(stream) => stream.write(bytes),
            Self::Server(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Client(stream) => stream.flush(),
            Self::Server(stream) => stream.flush(),
        }
    }
}

fn text(kind: Kind, backend_port: u16, folder: &TempDir) -> String {
    let tls = |tls| if tls { "implicit" } else { "plain" };
    let folder = folder.path().display();
    format!(
        r#"
        [server]
        threads = 2
        hostname = "mail.test"
        {server}
        [tls.certificate.main]
        cert = "{folder}/cert.pem"
        key = "{folder}/key.pem"
        [listener.imap]
        protocol = "imap"
        bind = ["127.0.0.1:0"]
        tls = "{client_tls}"
        allow_plain_auth_without_tls = true
        {listener}
        [destination.main]
        host = "localhost"
        tls_server_name = "mail.test"
        tls_ca_file = "{folder}/cert.pem"
        allow_plaintext_auth = true
        forwarding = "none"
        [destination.main.protocol.imap]
        port = {backend_port}
        tls = "{backend_tls}"
        [routing]
        default_destination = "main"
        "#,
        server = kind.server,
        listener = kind.listener,
        client_tls = tls(kind.client_tls),
        backend_tls = tls(kind.backend_tls),
    )
}

/// Listens, and hands on every connection that has logged in.
fn backend(tls: Option<Arc<ServerConfig>>) -> (u16, Receiver<End>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sessions, logged_in) = channel();
    thread::spawn(move || {
        for socket in listener.incoming() {
            let (tls, sessions) = (tls.clone(), sessions.clone());
            // A session that came to nothing is not the backend's affair.
            thread::spawn(move || {
                let end = log_in(socket.unwrap(), tls).ok()?;
                sessions.send(end).ok()
            });
        }
    });
    (port, logged_in)
}

fn log_in(socket: TcpStream, tls: Option<Arc<ServerConfig>>) -> io::Result<End> {
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_nodelay(true)?;
    let mut end = match tls {
        None => End::Plain(socket),
        Some(tls) => {
            let connection = ServerConnection::new(tls).map_err(io::Error::other)?;
            End::Server(Box::new(StreamOwned::new(connection, socket)))
        }
    };
    end.write_all(b"* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] hello\r\n")?;
    end.flush()?;
    let mut login = [0; "L AUTHENTICATE PLAIN AGFsaWNlAHNlY3JldA==\r\n".len()];
    end.read_exact(&mut login)?;
    assert_eq!(&login, b"L AUTHENTICATE PLAIN AGFsaWNlAHNlY3JldA==\r\n");
    end.write_all(b"L OK [CAPABILITY IMAP4rev1 IDLE] in\r\n")?;
    end.flush()?;
    Ok(end)
}

fn certificate(folder: &TempDir) -> (PathBuf, PathBuf) {
    let made = rcgen::generate_simple_self_signed(["mail.test".to_owned()]).unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    fs::write(&cert, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    (cert, key)
}

fn server_tls(cert: &PathBuf, key: &PathBuf) -> Arc<ServerConfig> {
    let chain = vec![CertificateDer::from_pem_file(cert).unwrap()];
    let key = PrivateKeyDer::from_pem_file(key).unwrap();
    let builder = ServerConfig::builder().with_no_client_auth();
    Arc::new(builder.with_single_cert(chain, key).unwrap())
}

fn client_tls(cert: &PathBuf) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(cert).unwrap()).unwrap();
    Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}
