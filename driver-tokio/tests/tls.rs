//! TLS on both legs, in memory, over streams that pass nothing on before they are flushed.

#![allow(missing_docs, clippy::unwrap_used)]

mod stage;

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use gatepost_tokio::config::{Host, Protocol, TlsMode};
use gatepost_tokio::{
    Accepted, ConnectFault, Connected, Connector, Gatepost, Reason, Request, Target, TlsFacts,
    Unbuildable, listener, to,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf, duplex,
};
use tokio::sync::mpsc;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use stage::{Counting, Counts, PIPE, begin, builder, home, line, open_listener, peer};

/// A certificate for both sides, and who trusts it.
fn configurations() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let names = ["mail.test", "backend.test"].map(String::from).to_vec();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let chain: CertificateDer<'static> = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(chain.clone()).unwrap();
    let server = ServerConfig::builder().with_no_client_auth();
    let server = server.with_single_cert(vec![chain], key).unwrap();
    let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}

/// Keeps what is written until it is flushed, as a buffered writer may.
struct Lazy {
    stream: DuplexStream,
    kept: Vec<u8>,
}

impl Lazy {
    fn poll_pass(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.kept.is_empty() {
            let written = Pin::new(&mut self.stream).poll_write(context, &self.kept);
            let count = std::task::ready!(written)?;
            self.kept.drain(..count);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Lazy {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Lazy {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.kept.len() > 64 * 1024 {
            std::task::ready!(self.poll_pass(context))?;
        }
        self.kept.extend_from_slice(octets);
        Poll::Ready(Ok(octets.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_pass(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.poll_pass(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

struct LazyInMemory(mpsc::Sender<DuplexStream>);

impl Connector for LazyInMemory {
    type Stream = Lazy;

    async fn connect(&self, _: Target, _: Arc<Host>) -> Result<Connected<Lazy>, ConnectFault> {
        let (near, far) = duplex(PIPE);
        self.0.send(far).await.map_err(|_| ConnectFault::Refused)?;
        let stream = Lazy { stream: near, kept: Vec::new() };
        Ok(Connected::new(stream, ([192, 0, 2, 143], 993).into(), ([192, 0, 2, 1], 9).into()))
    }
}

#[tokio::test]
async fn starttls_outside_and_implicit_tls_inside_lose_nothing() {
    let (server, client_config) = configurations();
    let (sender, mut backends) = mpsc::channel(1);
    let backend_home = home(TlsMode::Implicit);
    let route = move |request: Request| {
        assert_eq!(request.tls.unwrap().server_name.as_deref(), Some("mail.test"));
        let answer = to(&backend_home);
        async move { answer }
    };
    let gatepost = Gatepost::builder(listener(Protocol::Imap, TlsMode::StartTls).unwrap(), route)
        .connector(LazyInMemory(sender))
        .tls(Arc::clone(&server))
        .backend_tls(Arc::clone(&client_config))
        .build()
        .unwrap();
    let (mut client, served) = duplex(PIPE);
    let session = tokio::spawn(gatepost.serve(Lazy { stream: served, kept: Vec::new() }, peer()));
    assert!(line(&mut client).await.contains("STARTTLS"));
    client.write_all(b"a STARTTLS\r\n").await.unwrap();
    assert!(line(&mut client).await.starts_with("a OK "));
    let name = ServerName::try_from("mail.test").unwrap();
    let mut client = TlsConnector::from(client_config).connect(name, client).await.unwrap();
    client.write_all(b"b LOGIN alice secret\r\n").await.unwrap();
    let backend = backends.recv().await.unwrap();
    let mut backend = TlsAcceptor::from(server).accept(backend).await.unwrap();
    backend.write_all(b"* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] hi\r\n").await.unwrap();
    assert_eq!(line(&mut backend).await, "L AUTHENTICATE PLAIN AGFsaWNlAHNlY3JldA==\r\n");
    backend.write_all(b"L OK [CAPABILITY IMAP4rev1] in\r\n").await.unwrap();
    assert!(line(&mut client).await.starts_with("b OK "));

    let many: Vec<u8> = (0..300_000_u32).map(|position| (position % 253) as u8).collect();
    let mut heard = vec![0; many.len()];
    let writes = async {
        backend.write_all(&many).await.unwrap();
        backend.shutdown().await.unwrap();
    };
    let (_, read) = tokio::join!(writes, client.read_exact(&mut heard));
    read.unwrap();
    assert!(heard == many);
    assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0, "close_notify came through");
    client.write_all(b"after the other end\r\n").await.unwrap();
    client.shutdown().await.unwrap();
    let mut rest = String::new();
    backend.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "after the other end\r\n");
    let ended = session.await.unwrap();
    assert_eq!(ended.close.to_string(), "by=backend reason=eof state=relay");
    assert_eq!(ended.session.backend_tls.unwrap().version, "TLSv1.3");
    assert_eq!(ended.session.client_tls.unwrap().cipher, "TLS_AES_256_GCM_SHA384");
}

#[tokio::test]
async fn a_stream_without_its_tls_counts_as_encrypted() {
    let mut closed = open_listener();
    closed.cleartext_without_tls = false;
    let (builder, mut backends) = builder(closed);
    let gatepost = builder.build().unwrap();
    for tls in [None, Some(TlsFacts { version: "TLSv1.3", ..TlsFacts::default() })] {
        let (mut client, served) = duplex(PIPE);
        let mut accepted = Accepted::new(peer());
        if let Some(facts) = tls.clone() {
            accepted = accepted.tls(facts);
        }
        let session = tokio::spawn(gatepost.serve(served, accepted));
        let greeting = line(&mut client).await;
        assert_eq!(greeting.contains("LOGINDISABLED"), tls.is_none(), "{greeting}");
        client.write_all(b"a LOGIN alice secret\r\n").await.unwrap();
        if tls.is_some() {
            stage::take_login(&mut backends.recv().await.unwrap()).await;
        }
        let answer = line(&mut client).await;
        assert_eq!(answer.starts_with("a OK "), tls.is_some(), "{answer}");
        drop(client);
        assert_eq!(session.await.unwrap().session.client_tls, tls);
    }
}

/// What a client hears whose destination cannot be reached safely.
async fn refused(gatepost: &Gatepost) -> String {
    let (mut client, serving) = begin(gatepost);
    let session = tokio::spawn(serving);
    line(&mut client).await;
    client.write_all(b"a LOGIN alice secret\r\n").await.unwrap();
    let heard = line(&mut client).await;
    drop(client);
    assert_eq!(session.await.unwrap().close.reason, Reason::Eof);
    heard
}

#[tokio::test]
async fn nobody_is_logged_in_with_less_tls_than_the_destination_asks_for() {
    let (_, shared) = configurations();
    let mut pinned = (*home(TlsMode::Implicit)).clone();
    pinned.tls_pinned_cert_sha256 = vec![[7; 32]];
    let mut private = (*home(TlsMode::Implicit)).clone();
    private.tls_ca_file = Some("ca.pem".into());
    let unnamed = gatepost_tokio::destination("not a name", 1, Protocol::Imap, TlsMode::Implicit);
    let plain = (*home(TlsMode::Implicit)).clone();
    let cases = [(pinned, true), (private, true), (unnamed.unwrap(), true), (plain, false)];
    for (destination, has_tls) in cases {
        let counts = Arc::new(Counts::default());
        let (sender, _backends) = mpsc::channel(8);
        let home = Arc::new(destination);
        let route = move |_: Request| {
            let answer = to(&home);
            async move { answer }
        };
        let mut builder = Gatepost::builder(open_listener(), route)
            .connector(stage::InMemory(sender))
            .observer(Counting(Arc::clone(&counts)));
        if has_tls {
            builder = builder.backend_tls(Arc::clone(&shared));
        }
        let heard = refused(&builder.build().unwrap()).await;
        assert!(heard.starts_with("a NO [SERVERBUG] "), "{heard}");
        assert_eq!(counts.failed.load(std::sync::atomic::Ordering::Relaxed), 1);
    }
}

#[tokio::test]
async fn what_a_closure_gives_is_what_a_destination_gets() {
    let (server, shared) = configurations();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let names = Arc::clone(&asked);
    let (sender, mut backends) = mpsc::channel(1);
    let home = home(TlsMode::Implicit);
    let route = move |_: Request| {
        let answer = to(&home);
        async move { answer }
    };
    let provider = move |destination: &gatepost_tokio::config::Destination, _: Protocol| {
        names.lock().unwrap().push(destination.name.clone());
        Ok(Arc::clone(&shared))
    };
    let gatepost = Gatepost::builder(open_listener(), route)
        .connector(stage::InMemory(sender))
        .backend_tls(provider)
        .build()
        .unwrap();
    let (mut client, serving) = begin(&gatepost);
    tokio::spawn(serving);
    line(&mut client).await;
    client.write_all(b"a LOGIN alice secret\r\n").await.unwrap();
    let backend = backends.recv().await.unwrap();
    let backend = TlsAcceptor::from(server).accept(backend).await.unwrap();
    assert_eq!(backend.get_ref().1.server_name(), Some("backend.test"));
    assert_eq!(*asked.lock().unwrap(), ["backend.test"]);
}

#[test]
fn a_listener_with_tls_needs_a_certificate() {
    let nowhere = |_: Request| async { gatepost_tokio::Routing::Unavailable };
    for tls in [TlsMode::Implicit, TlsMode::StartTls] {
        let listener = listener(Protocol::Imap, tls).unwrap();
        let built = Gatepost::builder(listener, nowhere).build();
        assert_eq!(built.unwrap_err(), Unbuildable::NoTls);
    }
    let mut listener = open_listener();
    listener.protocol = Protocol::Lmtp;
    let built = Gatepost::builder(listener, nowhere).build();
    assert_eq!(built.unwrap_err(), Unbuildable::NoBridge);
}
