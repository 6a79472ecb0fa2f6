//! Shutdown and kick: who may finish, who hears goodbye, and when it is over.

#![allow(missing_docs, clippy::unwrap_used)]

mod stage;

use std::time::Duration;

use gatepost_tokio::{By, Reason};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::Instant;

use stage::{Relayed, begin, builder, line, log_in, open_listener, take_login};

#[tokio::test(start_paused = true)]
async fn a_shutdown_sends_idle_clients_away_and_lets_logins_finish() {
    let (builder, mut backends) = builder(open_listener());
    let gatepost = builder.shutdown_grace(Duration::from_secs(30)).build().unwrap();
    let (mut waiting, serving) = begin(&gatepost);
    let waits = tokio::spawn(serving);
    line(&mut waiting).await;
    let (mut busy, serving) = begin(&gatepost);
    let works = tokio::spawn(serving);
    line(&mut busy).await;
    busy.write_all(b"a LOGIN alice secret\r\n").await.unwrap();
    let mut backend = backends.recv().await.unwrap();

    gatepost.shutdown();
    let begun = Instant::now();
    assert!(line(&mut waiting).await.starts_with("* BYE "));
    assert_eq!(waiting.read(&mut [0; 8]).await.unwrap(), 0);
    drop(waiting);
    assert_eq!(waits.await.unwrap().close.reason, Reason::Drain);

    take_login(&mut backend).await;
    assert!(line(&mut busy).await.starts_with("a OK "), "a login in flight finishes");
    busy.write_all(b"b NOOP\r\n").await.unwrap();
    assert_eq!(line(&mut backend).await, "b NOOP\r\n");
    assert_eq!(busy.read(&mut [0; 8]).await.unwrap(), 0);
    let waited = begun.elapsed();
    assert!(waited >= Duration::from_secs(20) && waited <= Duration::from_secs(31), "{waited:?}");
    drop((busy, backend));
    let close = works.await.unwrap().close;
    assert_eq!((close.by, close.reason), (By::Operator, Reason::Drain));

    let (mut late, serving) = begin(&gatepost);
    let late_session = tokio::spawn(serving);
    let mut heard = String::new();
    late.read_to_string(&mut heard).await.unwrap();
    assert!(!heard.contains("* OK "), "{heard}");
    drop(late);
    assert_eq!(late_session.await.unwrap().close.reason, Reason::Drain);
}

#[tokio::test(start_paused = true)]
async fn a_login_that_does_not_finish_ends_with_the_grace() {
    let mut listener = open_listener();
    listener.backend_timeout = Duration::from_secs(600);
    let (builder, mut backends) = builder(listener);
    let gatepost = builder.shutdown_grace(Duration::from_secs(3)).build().unwrap();
    let (mut client, serving) = begin(&gatepost);
    let session = tokio::spawn(serving);
    line(&mut client).await;
    client.write_all(b"a LOGIN alice secret\r\n").await.unwrap();
    let _silent = backends.recv().await.unwrap();
    gatepost.shutdown();
    assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
    drop(client);
    let close = session.await.unwrap().close;
    assert_eq!((close.by, close.reason), (By::Operator, Reason::Drain));
    assert!(close.after <= Duration::from_secs(3));
}

#[tokio::test]
async fn a_kick_ends_those_that_are_there_and_nobody_after() {
    let (builder, mut backends) = builder(open_listener());
    let gatepost = builder.build().unwrap();
    let Relayed { mut client, mut backend, session } = log_in(&gatepost, &mut backends).await;
    let (mut waiting, serving) = begin(&gatepost);
    let waits = tokio::spawn(serving);
    line(&mut waiting).await;
    gatepost.kick_all();
    assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
    assert_eq!(backend.read(&mut [0; 8]).await.unwrap(), 0);
    assert!(line(&mut waiting).await.starts_with("* BYE "));
    drop((client, backend, waiting));
    assert_eq!(session.await.unwrap().close.reason, Reason::Kicked);
    assert_eq!(waits.await.unwrap().close.reason, Reason::Kicked);
    log_in(&gatepost, &mut backends).await;
}

async fn listening() -> (std::net::SocketAddr, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    (listener.local_addr().unwrap(), listener)
}

#[tokio::test]
async fn a_listener_returns_when_its_last_session_is_over() {
    let (builder, _backends) = builder(open_listener());
    let gatepost = builder.build().unwrap();
    let (address, listener) = listening().await;
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn({
        let gatepost = gatepost.clone();
        let shutdown = async { stopped.await.unwrap_or(()) };
        async move { gatepost.serve_listener(listener, shutdown).await }
    });
    let mut client = TcpStream::connect(address).await.unwrap();
    line(&mut client).await;
    stop.send(()).unwrap();
    assert!(line(&mut client).await.starts_with("* BYE "));
    drop(client);
    serving.await.unwrap();
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens");
}

#[tokio::test]
async fn a_shutdown_by_hand_ends_accepting_too() {
    let (builder, _backends) = builder(open_listener());
    let gatepost = builder.build().unwrap();
    let (address, listener) = listening().await;
    let other = gatepost.clone();
    let serving = tokio::spawn(async move {
        other.serve_listener(listener, std::future::pending()).await;
    });
    let mut client = TcpStream::connect(address).await.unwrap();
    line(&mut client).await;
    gatepost.shutdown();
    line(&mut client).await;
    drop(client);
    serving.await.unwrap();
}
