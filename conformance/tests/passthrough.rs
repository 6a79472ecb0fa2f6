//! SMTP and LMTP through the mio server: a server of the same kind behind it, made by hand, and
//! clients in front, swaks among them where it is installed.
//!
//! The sink knows one dialogue and takes any message. It may begin with TLS, and with a header of
//! the PROXY protocol, which it reads before everything else. What the proxy does at every single
//! point is stated by the byte scripts under `scripts/passthrough/`, not here.

#![allow(missing_docs, clippy::unwrap_used)]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use gatepost_conformance::rig::{Authority, Program, free_port, require};
use gatepost_core::config;
use gatepost_mio::{Rig, Server, Site};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
};
use tempfile::TempDir;

/// Who hears nothing for so long will not hear anything any more.
const PATIENCE: Duration = Duration::from_secs(20);
/// The header's signature, its version and command, and TCP over IPv4.
const HEADER_START: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11";
/// Octets of the two addresses, which the length counts with the fields behind them.
const ADDRESS_OCTETS: usize = 12;

/// How the two legs of a stage are.
#[derive(Clone, Copy)]
struct Kind {
    protocol: &'static str,
    client_tls: bool,
    backend_tls: bool,
    header: bool,
}

const PLAIN: Kind = Kind { protocol: "smtp", client_tls: false, backend_tls: false, header: false };

/// A proxy with a sink behind it, or with nobody.
struct Stage {
    server: Server,
    deliveries: Receiver<Delivery>,
    client_tls: Arc<ClientConfig>,
    authority: Authority,
    _folder: TempDir,
}

/// What the sink took in one session.
#[derive(Debug)]
struct Delivery {
    /// The address in the PROXY protocol's header.
    client: Option<SocketAddr>,
    hello: String,
    message: String,
}

trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

impl Stage {
    fn new(kind: Kind) -> Self {
        let (folder, authority) = authority();
        let (port, deliveries) = sink(kind, &authority);
        Self::before(kind, port, deliveries, folder, authority)
    }

    /// Nobody listens behind the proxy.
    fn deserted(kind: Kind) -> Self {
        let (folder, authority) = authority();
        Self::before(kind, free_port().unwrap(), channel().1, folder, authority)
    }

    /// The sink's certificate is by somebody whom the proxy does not trust.
    fn impostor(kind: Kind) -> Self {
        let (_foreign_folder, foreign) = authority();
        let (port, deliveries) = sink(kind, &foreign);
        let (folder, authority) = authority();
        Self::before(kind, port, deliveries, folder, authority)
    }

    fn before(
        kind: Kind,
        port: u16,
        deliveries: Receiver<Delivery>,
        folder: TempDir,
        authority: Authority,
    ) -> Self {
        let (config, warnings) = config::parse(&configuration(kind, port, &authority)).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        let site = Site::load(&config).unwrap_or_else(|faults| panic!("{faults:?}"));
        let server = Server::start(site, Rig::default()).unwrap();
        let client_tls = client_tls(&authority);
        Self { server, deliveries, client_tls, authority, _folder: folder }
    }

    fn address(&self) -> SocketAddr {
        self.server.addresses("mail").next().unwrap()
    }

    /// A client, and the address that it connects from.
    fn connect(&self, kind: Kind) -> (Box<dyn Stream>, SocketAddr) {
        let socket = TcpStream::connect(self.address()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let from = socket.local_addr().unwrap();
        if !kind.client_tls {
            return (Box::new(socket), from);
        }
        let name = "localhost".try_into().unwrap();
        let connection = ClientConnection::new(self.client_tls.clone(), name).unwrap();
        (Box::new(StreamOwned::new(connection, socket)), from)
    }
}

fn configuration(kind: Kind, port: u16, authority: &Authority) -> String {
    let tls = |tls| if tls { "implicit" } else { "plain" };
    format!(
        r#"
        [server]
        threads = 1
        hostname = "gate.example.com"
        [tls.certificate.main]
        cert = "{certificate}"
        key = "{key}"
        [listener.mail]
        protocol = "{protocol}"
        bind = ["127.0.0.1:0"]
        tls = "{client_tls}"
        [destination.main]
        host = "imap.test"
        [destination.main.protocol.imap]
        port = 993
        tls = "implicit"
        [destination.store]
        host = "localhost"
        tls_ca_file = "{ca}"
        forwarding = "{forwarding}"
        [destination.store.protocol.{protocol}]
        port = {port}
        tls = "{backend_tls}"
        [routing]
        default_destination = "main"
        smtp_passthrough_destination = "store"
        "#,
        certificate = authority.certificate.display(),
        key = authority.key.display(),
        ca = authority.authority.display(),
        protocol = kind.protocol,
        client_tls = tls(kind.client_tls),
        backend_tls = tls(kind.backend_tls),
        forwarding = if kind.header { "proxy" } else { "none" },
    )
}

fn authority() -> (TempDir, Authority) {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::create(folder.path()).unwrap();
    (folder, authority)
}

fn server_tls(authority: &Authority) -> Arc<ServerConfig> {
    let chain = vec![CertificateDer::from_pem_file(&authority.certificate).unwrap()];
    let key = PrivateKeyDer::from_pem_file(&authority.key).unwrap();
    Arc::new(ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap())
}

fn client_tls(authority: &Authority) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&authority.authority).unwrap()).unwrap();
    Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}

/// Listens, and tells of everything that was delivered.
fn sink(kind: Kind, authority: &Authority) -> (u16, Receiver<Delivery>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let tls = kind.backend_tls.then(|| server_tls(authority));
    let (sender, deliveries) = channel();
    thread::spawn(move || {
        for socket in listener.incoming() {
            let (tls, sender) = (tls.clone(), sender.clone());
            // A session that came to nothing is not the sink's affair.
            thread::spawn(move || serve(socket?, tls, kind, &sender));
        }
    });
    (port, deliveries)
}

/// One session of the sink.
fn serve(
    mut socket: TcpStream,
    tls: Option<Arc<ServerConfig>>,
    kind: Kind,
    deliveries: &Sender<Delivery>,
) -> io::Result<()> {
    socket.set_read_timeout(Some(PATIENCE))?;
    let client = if kind.header { Some(read_header(&mut socket)?) } else { None };
    let stream: Box<dyn Stream> = match tls {
        None => Box::new(socket),
        Some(tls) => {
            let connection = ServerConnection::new(tls).map_err(io::Error::other)?;
            Box::new(StreamOwned::new(connection, socket))
        }
    };
    let mut stream = BufReader::new(stream);
    say(&mut stream, "220 store.example.com ready\r\n")?;
    let (mut hello, mut message) = (String::new(), String::new());
    loop {
        let line = line(&mut stream)?;
        let verb = line.trim_end().split(' ').next().unwrap_or_default().to_ascii_uppercase();
        let reply = match verb.as_str() {
            "EHLO" | "LHLO" => {
                hello = line;
                "250-store.example.com\r\n250 PIPELINING\r\n"
            }
            "DATA" => {
                say(&mut stream, "354 go on\r\n")?;
                message = read_message(&mut stream)?;
                "250 2.0.0 taken\r\n"
            }
            "QUIT" => break,
            _ => "250 2.0.0 OK\r\n",
        };
        say(&mut stream, reply)?;
    }
    say(&mut stream, "221 2.0.0 Bye\r\n")?;
    deliveries.send(Delivery { client, hello, message }).map_err(io::Error::other)
}

fn read_header(socket: &mut TcpStream) -> io::Result<SocketAddr> {
    let mut header = [0; 28];
    socket.read_exact(&mut header)?;
    if !header.starts_with(HEADER_START) {
        return Err(io::Error::other("no header of the PROXY protocol"));
    }
    let length = usize::from(u16::from_be_bytes([header[14], header[15]]));
    let mut fields = vec![0; length.saturating_sub(ADDRESS_OCTETS)];
    socket.read_exact(&mut fields)?;
    let address = Ipv4Addr::new(header[16], header[17], header[18], header[19]);
    Ok(SocketAddr::from((address, u16::from_be_bytes([header[24], header[25]]))))
}

fn say(stream: &mut BufReader<Box<dyn Stream>>, text: &str) -> io::Result<()> {
    stream.get_mut().write_all(text.as_bytes())?;
    stream.get_mut().flush()
}

fn line(stream: &mut BufReader<Box<dyn Stream>>) -> io::Result<String> {
    let mut line = String::new();
    match stream.read_line(&mut line)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(line),
    }
}

fn read_message(stream: &mut BufReader<Box<dyn Stream>>) -> io::Result<String> {
    let mut message = String::new();
    loop {
        match line(stream)?.as_str() {
            ".\r\n" => return Ok(message),
            line => message.push_str(line),
        }
    }
}

/// Delivers one message, and checks that every reply is the sink's own.
fn deliver(stage: &Stage, kind: Kind, hello: &str) -> SocketAddr {
    let (stream, from) = stage.connect(kind);
    let mut client = BufReader::new(stream);
    assert_eq!(line(&mut client).unwrap(), "220 store.example.com ready\r\n");
    say(&mut client, &format!("{hello} client.example.org\r\n")).unwrap();
    assert_eq!(line(&mut client).unwrap(), "250-store.example.com\r\n");
    assert_eq!(line(&mut client).unwrap(), "250 PIPELINING\r\n");
    say(&mut client, "MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n").unwrap();
    for reply in ["250 2.0.0 OK\r\n", "250 2.0.0 OK\r\n", "354 go on\r\n"] {
        assert_eq!(line(&mut client).unwrap(), reply);
    }
    say(&mut client, "Subject: one\r\n\r\nSTARTTLS\r\n.\r\nQUIT\r\n").unwrap();
    assert_eq!(line(&mut client).unwrap(), "250 2.0.0 taken\r\n");
    assert_eq!(line(&mut client).unwrap(), "221 2.0.0 Bye\r\n");
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"");
    from
}

#[test]
fn a_message_passes_on_every_combination_of_legs() {
    for (client_tls, backend_tls) in [(false, false), (true, false), (false, true), (true, true)] {
        for header in [false, true] {
            let kind = Kind { client_tls, backend_tls, header, ..PLAIN };
            let stage = Stage::new(kind);
            let from = deliver(&stage, kind, "EHLO");
            let delivery = stage.deliveries.recv_timeout(PATIENCE).unwrap();
            assert_eq!(delivery.client, header.then_some(from));
            assert_eq!(delivery.hello, "EHLO client.example.org\r\n");
            assert_eq!(delivery.message, "Subject: one\r\n\r\nSTARTTLS\r\n");
        }
    }
}

#[test]
fn lmtp_passes_likewise() {
    let kind = Kind { protocol: "lmtp", ..PLAIN };
    let stage = Stage::new(kind);
    deliver(&stage, kind, "LHLO");
    let delivery = stage.deliveries.recv_timeout(PATIENCE).unwrap();
    assert_eq!(delivery.hello, "LHLO client.example.org\r\n");
}

#[test]
fn a_whole_session_in_one_write_is_answered_in_order() {
    let stage = Stage::new(PLAIN);
    let mut client = TcpStream::connect(stage.address()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    // Much more than is kept while the backend is connected to.
    let body = "x".repeat(998) + "\r\n";
    let message = body.repeat(300);
    client.write_all(format!("EHLO a\r\nDATA\r\n{message}.\r\nQUIT\r\n").as_bytes()).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut heard = String::new();
    client.read_to_string(&mut heard).unwrap();
    assert_eq!(
        heard,
        "220 store.example.com ready\r\n250-store.example.com\r\n250 PIPELINING\r\n\
         354 go on\r\n250 2.0.0 taken\r\n221 2.0.0 Bye\r\n"
    );
    let delivery = stage.deliveries.recv_timeout(PATIENCE).unwrap();
    assert_eq!(delivery.message, message);
}

#[test]
fn without_a_backend_the_client_hears_421() {
    for client_tls in [false, true] {
        let kind = Kind { client_tls, ..PLAIN };
        let stage = Stage::deserted(kind);
        let mut heard = String::new();
        stage.connect(kind).0.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "421 4.4.1 gate.example.com Service is temporarily unavailable\r\n");
    }
}

#[test]
fn a_backend_that_cannot_prove_itself_gets_nothing() {
    let kind = Kind { backend_tls: true, ..PLAIN };
    let stage = Stage::impostor(kind);
    let mut heard = String::new();
    stage.connect(kind).0.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "421 4.3.5 gate.example.com Service is temporarily unavailable\r\n");
}

#[test]
fn swaks_delivers_through_tls_on_both_legs() {
    if !require(&[Program::Swaks]) {
        return;
    }
    let kind = Kind { client_tls: true, backend_tls: true, header: true, ..PLAIN };
    let stage = Stage::new(kind);
    let output = Command::new("swaks")
        .args(["--server", "127.0.0.1", "--port", &stage.address().port().to_string()])
        .args(["--tls-on-connect", "--tls-verify", "--tls-ca-path"])
        .arg(&stage.authority.authority)
        .args(["--helo", "client.example.org", "--from", "a@example.org"])
        .args(["--to", "b@example.com", "--body", "through the gate", "--timeout", "20s"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let delivery = stage.deliveries.recv_timeout(PATIENCE).unwrap();
    assert_eq!(delivery.client.map(|it| it.ip()), Some(Ipv4Addr::LOCALHOST.into()));
    assert_eq!(delivery.hello, "EHLO client.example.org\r\n");
    assert!(delivery.message.contains("\r\n\r\nthrough the gate\r\n"), "{}", delivery.message);
}
