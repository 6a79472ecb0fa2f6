//! A balancer in front of the service, and headers toward backends: what an embedder learns, and
//! what leaves in one piece. What is said on every leg is in the scripts.

#![allow(missing_docs, clippy::unwrap_used)]

mod stage;

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use gatepost_tokio::config::{Balancers, Forwarding, Host, Listener, Protocol, TlsMode};
use gatepost_tokio::{
    ConnectFault, Connected, Connector, Gatepost, Request, Target, Unbuildable, destination, to,
};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf, duplex,
};

use stage::{PIPE, begin, builder, line, open_listener, take_login};

/// The first octet of a TLS record that holds a part of a handshake, RFC 8446 §5.1.
const HANDSHAKE: u8 = 22;

fn behind_a_balancer(tls: Option<&str>) -> Listener {
    let trusted = vec!["192.0.2.7".parse().unwrap()];
    let balancers = Balancers { required: true, trusted, tls: tls.map(String::from) };
    Listener { balancers: Some(balancers), ..open_listener() }
}

#[tokio::test]
async fn an_embedder_learns_who_the_client_is() {
    let (service, mut backends) = builder(behind_a_balancer(None));
    let gatepost = service.build().unwrap();
    let (mut client, serving) = begin(&gatepost);
    let session = tokio::spawn(serving);
    client.write_all(b"PROXY TCP4 203.0.113.7 198.51.100.9 50123 143\r\n").await.unwrap();
    assert!(line(&mut client).await.starts_with("* OK "));
    client.write_all(b"a LOGIN alice secret\r\n").await.unwrap();
    take_login(&mut backends.recv().await.unwrap()).await;
    drop(client);
    let facts = session.await.unwrap().session;
    assert_eq!(facts.client, "203.0.113.7:50123".parse().unwrap());
    assert_eq!(facts.peer, stage::peer());
}

#[test]
fn tls_under_the_header_needs_its_configuration() {
    let (service, _) = builder(behind_a_balancer(Some("balancers")));
    assert_eq!(service.build().unwrap_err(), Unbuildable::NoBalancerTls);
}

/// Remembers each write.
struct Recording {
    stream: DuplexStream,
    writes: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl AsyncRead for Recording {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Recording {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writes.lock().unwrap().push(octets.to_vec());
        Pin::new(&mut self.stream).poll_write(context, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Connects to somebody who reads and says nothing.
struct Silent(Arc<Mutex<Vec<Vec<u8>>>>);

impl Connector for Silent {
    type Stream = Recording;

    async fn connect(&self, _: Target, _: Arc<Host>) -> Result<Connected<Recording>, ConnectFault> {
        let (stream, mut far) = duplex(PIPE);
        tokio::spawn(async move {
            let mut octets = [0; PIPE];
            let _ = far.read(&mut octets).await;
        });
        let stream = Recording { stream, writes: Arc::clone(&self.0) };
        Ok(Connected::new(stream, ([192, 0, 2, 143], 993).into(), ([192, 0, 2, 1], 49152).into()))
    }
}

#[tokio::test]
async fn a_header_and_the_first_record_of_a_handshake_are_one_write() {
    let mut home = destination("backend.test", 993, Protocol::Imap, TlsMode::Implicit).unwrap();
    home.endpoints[0].1.forwarding = Forwarding::Proxy;
    let home = Arc::new(home);
    let router = move |_: Request| {
        let answer = to(&home);
        async move { answer }
    };
    let mut listener = open_listener();
    listener.connect_retries = 0;
    let writes = Arc::default();
    let trust = ClientConfig::builder()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let gatepost = Gatepost::builder(listener, router)
        .connector(Silent(Arc::clone(&writes)))
        .backend_tls(Arc::new(trust))
        .build()
        .unwrap();
    let (mut client, serving) = begin(&gatepost);
    let session = tokio::spawn(serving);
    assert!(line(&mut client).await.starts_with("* OK "));
    client.write_all(b"a LOGIN alice secret\r\n").await.unwrap();
    assert!(line(&mut client).await.starts_with("a NO [UNAVAILABLE] "));
    drop(client);
    session.await.unwrap();
    let writes = writes.lock().unwrap();
    let [first, ..] = &writes[..] else { panic!("nothing was written") };
    assert!(first.starts_with(b"\r\n\r\n\0\r\nQUIT\n\x21"), "{}", first.escape_ascii());
    let header = 16 + usize::from(u16::from_be_bytes([first[14], first[15]]));
    assert_eq!(first.get(header), Some(&HANDSHAKE), "{}", first.escape_ascii());
}
