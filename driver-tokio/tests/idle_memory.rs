//! What an idle session costs: the figure that the crate's documentation names, measured.
//!
//! Clients and backends are in this process too, but own no heap while they are idle: blocking
//! sockets, whose TLS is forgotten once the login is done. The kernel's share is not counted.
//! `IDLE_SESSIONS` takes another number of sessions.

#![cfg(target_os = "linux")]
#![allow(missing_docs, clippy::unwrap_used)]

use std::fs::read_to_string;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use gatepost_tokio::config::{Protocol, TlsMode};
use gatepost_tokio::{Gatepost, Request, destination, listener, to};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, Stream,
};

/// A limit that only a buffer kept while idle would exceed, in octets: without TLS and with it on
/// both legs.
const PLAIN_MAX: usize = 6 * 1024;
const TLS_MAX: usize = 40 * 1024;

/// Sessions that are not counted.
const WARM_UP: usize = 50;

struct Stage {
    clients: std::net::SocketAddr,
    backends: TcpListener,
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    tls: bool,
    _runtime: tokio::runtime::Runtime,
}

impl Stage {
    fn new(tls: bool) -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let chain: CertificateDer<'static> = made.cert.der().clone();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(chain.clone()).unwrap();
        let server = ServerConfig::builder().with_no_client_auth();
        let server = Arc::new(server.with_single_cert(vec![chain], key).unwrap());
        let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let client = Arc::new(client);

        let mode = if tls { TlsMode::Implicit } else { TlsMode::Plain };
        let backends = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = backends.local_addr().unwrap().port();
        let mut home = destination("127.0.0.1", port, Protocol::Imap, mode).unwrap();
        home.tls_server_name = Some("localhost".to_owned());
        let home = Arc::new(home);
        let route = move |_: Request| {
            let answer = to(&home);
            async move { answer }
        };
        let mut imap = listener(Protocol::Imap, mode).unwrap();
        imap.cleartext_without_tls = true;
        let gatepost = Gatepost::builder(imap, route)
            .tls(Arc::clone(&server))
            .backend_tls(Arc::clone(&client))
            .build()
            .unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = { runtime }.worker_threads(1).enable_all().build().unwrap();
        let socket = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let clients = socket.local_addr().unwrap();
        runtime.spawn(async move {
            gatepost.serve_listener(socket, std::future::pending()).await;
        });
        Self { clients, backends, server, client, tls, _runtime: runtime }
    }

    /// A session that is logged in: both sockets at its ends.
    fn log_in(&self) -> [TcpStream; 2] {
        let mut client = TcpStream::connect(self.clients).unwrap();
        client.set_nodelay(true).unwrap();
        if !self.tls {
            let mut backend = None;
            self.converse(&mut client, || backend.insert(self.accept()));
            return [client, backend.unwrap()];
        }
        let name = ServerName::try_from("localhost").unwrap();
        let mut outer = ClientConnection::new(Arc::clone(&self.client), name).unwrap();
        let mut inner = ServerConnection::new(Arc::clone(&self.server)).unwrap();
        let mut backend = None;
        let mut over = None;
        self.converse(&mut Stream::new(&mut outer, &mut client), || {
            let socket = backend.insert(self.accept());
            over.insert(Stream::new(&mut inner, socket))
        });
        [client, backend.unwrap()]
    }

    fn accept(&self) -> TcpStream {
        let (socket, _) = self.backends.accept().unwrap();
        socket.set_nodelay(true).unwrap();
        socket
    }

    fn converse<'a, B: Read + Write + 'a>(
        &self,
        client: &mut (impl Read + Write),
        accept: impl FnOnce() -> &'a mut B,
    ) {
        assert!(line(client).starts_with("* OK "));
        client.write_all(b"a LOGIN alice secret\r\n").unwrap();
        client.flush().unwrap();
        let backend = accept();
        backend.write_all(b"* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] hi\r\n").unwrap();
        backend.flush().unwrap();
        assert!(line(backend).starts_with("L AUTHENTICATE "));
        backend.write_all(b"L OK [CAPABILITY IMAP4rev1] in\r\n").unwrap();
        backend.flush().unwrap();
        assert!(line(client).starts_with("a OK "));
        // As a mailbox is opened: what passes must leave no buffer behind.
        backend.write_all(&[b'x'; 20_000]).unwrap();
        backend.write_all(b"\r\n").unwrap();
        backend.flush().unwrap();
        assert_eq!(line(client).len(), 20_002);
    }
}

fn line(stream: &mut impl Read) -> String {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line
}

/// Octets of memory that this process has.
fn resident() -> usize {
    let rollup = read_to_string("/proc/self/smaps_rollup").unwrap();
    let anonymous = rollup.lines().find(|line| line.starts_with("Private_Dirty:")).unwrap();
    anonymous.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

fn per_session(tls: bool) -> usize {
    let count = sessions();
    let stage = Stage::new(tls);
    let mut held: Vec<_> = (0..WARM_UP).map(|_| stage.log_in()).collect();
    held.reserve(count);
    let before = resident();
    held.extend((0..count).map(|_| stage.log_in()));
    resident().saturating_sub(before) / count
}

/// As many as are wanted, and as the limit of open files allows: each has four.
fn sessions() -> usize {
    let wanted = std::env::var("IDLE_SESSIONS").map_or(400, |text| text.parse().unwrap());
    let limits = read_to_string("/proc/self/limits").unwrap();
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let files = files.split_whitespace().next().unwrap().parse().unwrap_or(usize::MAX);
    wanted.min((files / 4).saturating_sub(2 * WARM_UP)).max(1)
}

#[test]
fn an_idle_session_holds_no_buffer() {
    let (plain, tls) = (per_session(false), per_session(true));
    println!("an idle session: {plain} octets without TLS, {tls} with TLS on both legs");
    assert!((1..PLAIN_MAX).contains(&plain), "{plain} octets");
    assert!((1..TLS_MAX).contains(&tls), "{tls} octets");
}
