//! Toward backends: over TCP by name, what is remembered of them, and clients on a Unix socket.

#![allow(missing_docs, clippy::unwrap_used)]

mod stage;

use std::sync::Arc;

use gatepost_tokio::config::{Protocol, TlsMode};
use gatepost_tokio::{Gatepost, Request, destination, to};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, UnixStream};

use stage::{begin, builder, line, open_listener, peer};

#[tokio::test]
async fn a_backend_is_found_by_its_name() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let home = destination("localhost", port, Protocol::Imap, TlsMode::Plain).unwrap();
    let home = Arc::new(home);
    let route = move |_: Request| {
        let answer = to(&home);
        async move { answer }
    };
    let gatepost = Gatepost::builder(open_listener(), route).build().unwrap();
    let (mut client, serving) = begin(&gatepost);
    let session = tokio::spawn(serving);
    line(&mut client).await;
    client.write_all(b"a LOGIN alice secret\r\n").await.unwrap();
    let (mut backend, _) = listener.accept().await.unwrap();
    backend.write_all(b"* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] hi\r\n").await.unwrap();
    line(&mut backend).await;
    backend.write_all(b"L OK [CAPABILITY IMAP4rev1] in\r\n").await.unwrap();
    assert!(line(&mut client).await.starts_with("a OK "));
    drop((client, backend));
    let ended = session.await.unwrap();
    assert_eq!(ended.session.backend.unwrap().port(), port);
}

#[tokio::test]
async fn nobody_there_and_no_such_name_are_outages() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    for (host, port) in [("127.0.0.1", free), ("nowhere.invalid", 143)] {
        let home = Arc::new(destination(host, port, Protocol::Imap, TlsMode::Plain).unwrap());
        let route = move |_: Request| {
            let answer = to(&home);
            async move { answer }
        };
        let gatepost = Gatepost::builder(open_listener(), route).build().unwrap();
        let (mut client, serving) = begin(&gatepost);
        tokio::spawn(serving);
        line(&mut client).await;
        client.write_all(b"a LOGIN alice secret\r\n").await.unwrap();
        let heard = line(&mut client).await;
        assert!(heard.starts_with("a NO [UNAVAILABLE] "), "{heard}");
    }
}

#[tokio::test]
async fn what_a_backend_announced_is_remembered_unless_that_is_not_wanted() {
    for remembers in [true, false] {
        let (builder, mut backends) = builder(open_listener());
        let gatepost = builder.remember_capabilities(remembers).build().unwrap();
        for is_first in [true, false] {
            let (mut client, serving) = begin(&gatepost);
            tokio::spawn(serving);
            line(&mut client).await;
            client.write_all(b"a LOGIN alice secret\r\n").await.unwrap();
            let mut backend = backends.recv().await.unwrap();
            backend.write_all(b"* OK hi\r\n").await.unwrap();
            let asked = line(&mut backend).await;
            if remembers && !is_first {
                assert!(asked.starts_with("L AUTHENTICATE PLAIN "), "{asked}");
                continue;
            }
            assert!(asked.ends_with(" CAPABILITY\r\n"), "{asked}");
            let tag = asked.split(' ').next().unwrap();
            let list = format!("* CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN\r\n{tag} OK\r\n");
            backend.write_all(list.as_bytes()).await.unwrap();
            assert!(line(&mut backend).await.starts_with("L AUTHENTICATE PLAIN "));
            backend.write_all(b"L OK [CAPABILITY IMAP4rev1] in\r\n").await.unwrap();
            assert!(line(&mut client).await.starts_with("a OK "));
        }
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_client_may_come_by_a_unix_socket() {
    let (builder, mut backends) = builder(open_listener());
    let gatepost = builder.build().unwrap();
    let (mut client, served) = UnixStream::pair().unwrap();
    let session = tokio::spawn(gatepost.serve(served, peer()));
    line(&mut client).await;
    client.write_all(b"a LOGIN alice secret\r\n").await.unwrap();
    stage::take_login(&mut backends.recv().await.unwrap()).await;
    assert!(line(&mut client).await.starts_with("a OK "));
    drop(client);
    assert!(session.await.unwrap().session.logged_in_after.is_some());
}

#[tokio::test]
async fn a_backend_that_is_the_own_listener_is_never_logged_in_to() {
    for bind in ["127.0.0.1:0", "0.0.0.0:0"] {
        let listener = TcpListener::bind(bind).await.unwrap();
        let at = (std::net::Ipv4Addr::LOCALHOST, listener.local_addr().unwrap().port());
        let home =
            Arc::new(destination("localhost", at.1, Protocol::Imap, TlsMode::Plain).unwrap());
        let route = move |_: Request| {
            let answer = to(&home);
            async move { answer }
        };
        let gatepost = Gatepost::builder(open_listener(), route).build().unwrap();
        let served = gatepost.clone();
        tokio::spawn(async move { served.serve_listener(listener, std::future::pending()).await });
        let mut client = tokio::net::TcpStream::connect(at).await.unwrap();
        line(&mut client).await;
        client.write_all(b"a LOGIN alice secret\r\n").await.unwrap();
        let heard = line(&mut client).await;
        assert!(heard.starts_with("a NO [SERVERBUG] "), "{bind}: {heard}");
    }
}
