//! After the login: bytes, ends, silence and a side that does not read, all in memory.

#![allow(missing_docs, clippy::unwrap_used)]

mod stage;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use gatepost_tokio::{By, Reason};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::time::{advance, timeout};

use stage::{Counting, Counts, PIPE, Relayed, builder, line, log_in, open_listener};

/// Octets that one direction of a relay may hold beside the streams' own.
const SLICE: usize = 32 * 1024;

#[tokio::test]
async fn a_session_passes_bytes_and_says_what_it_was() {
    let counts = Arc::new(Counts::default());
    let (builder, mut backends) = builder(open_listener());
    let gatepost = builder.observer(Counting(Arc::clone(&counts))).build().unwrap();
    let Relayed { mut client, mut backend, session } = log_in(&gatepost, &mut backends).await;
    client.write_all(b"b NOOP\r\n").await.unwrap();
    assert_eq!(line(&mut backend).await, "b NOOP\r\n");
    backend.write_all(b"* 3 EXISTS\r\nb OK done\r\n").await.unwrap();
    assert_eq!(line(&mut client).await, "* 3 EXISTS\r\n");
    assert_eq!(line(&mut client).await, "b OK done\r\n");
    drop(backend);
    drop(client);
    let ended = session.await.unwrap();
    assert_eq!(ended.close.reason, Reason::Eof);
    let facts = &ended.session;
    assert_eq!((facts.from_client, facts.from_backend), (8, 23));
    assert_eq!(facts.user, b"alice");
    assert_eq!(facts.host.as_ref().unwrap().name, "backend.test");
    assert_eq!(facts.backend.unwrap().port(), 143);
    assert_eq!(counts.accepted.load(Ordering::Relaxed), 1);
    assert_eq!(*counts.ended.lock().unwrap(), [ended.close.to_string()]);
}

#[tokio::test]
async fn an_end_of_one_direction_leaves_the_other_open() {
    let (builder, mut backends) = builder(open_listener());
    let gatepost = builder.build().unwrap();
    for client_first in [true, false] {
        let Relayed { client, backend, session } = log_in(&gatepost, &mut backends).await;
        let (mut first, mut second) =
            if client_first { (client, backend) } else { (backend, client) };
        first.write_all(b"last words\r\n").await.unwrap();
        first.shutdown().await.unwrap();
        let mut heard = String::new();
        second.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "last words\r\n");
        second.write_all(b"an answer\r\n").await.unwrap();
        assert_eq!(line(&mut first).await, "an answer\r\n");
        second.shutdown().await.unwrap();
        assert_eq!(first.read(&mut [0; 8]).await.unwrap(), 0);
        let by = if client_first { By::Client } else { By::Backend };
        assert_eq!(session.await.unwrap().close.by, by);
    }
}

/// Writes until nothing more is taken; how much that was.
async fn fill(stream: &mut DuplexStream) -> usize {
    let mut taken = 0;
    loop {
        let octets: Vec<u8> = (taken..taken + 1024).map(pattern).collect();
        let write = stream.write(&octets);
        match timeout(Duration::from_secs(1), write).await {
            Ok(count) => taken += count.unwrap(),
            Err(_) => return taken,
        }
        assert!(taken < 1 << 20, "it takes more and more");
    }
}

fn pattern(position: usize) -> u8 {
    (position % 251) as u8
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_stops_the_other_side_and_loses_nothing() {
    let (builder, mut backends) = builder(open_listener());
    let gatepost = builder.build().unwrap();
    for from_backend in [true, false] {
        let Relayed { client, backend, session } = log_in(&gatepost, &mut backends).await;
        let (mut writer, mut reader) =
            if from_backend { (backend, client) } else { (client, backend) };
        let taken = fill(&mut writer).await;
        assert!(taken <= 2 * PIPE + SLICE, "{taken} octets wait somewhere");
        writer.shutdown().await.unwrap();
        // The other direction is not held up by it.
        reader.write_all(b"still here\r\n").await.unwrap();
        assert_eq!(line(&mut writer).await, "still here\r\n");
        let mut heard = Vec::new();
        reader.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard.len(), taken);
        assert!(heard.iter().enumerate().all(|(at, octet)| *octet == pattern(at)));
        drop((reader, writer));
        session.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn silence_ends_a_session_and_every_octet_puts_that_off() {
    let mut listener = open_listener();
    listener.bridge_idle = Duration::from_secs(60);
    let (builder, mut backends) = builder(listener);
    let gatepost = builder.build().unwrap();
    let Relayed { mut client, mut backend, session } = log_in(&gatepost, &mut backends).await;
    for _ in 0..3 {
        advance(Duration::from_secs(59)).await;
        backend.write_all(b"*").await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), b'*');
    }
    let begun = tokio::time::Instant::now();
    assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
    assert!(begun.elapsed() >= Duration::from_secs(60));
    let ended = session.await.unwrap();
    assert_eq!(
        (ended.close.by, ended.close.reason.to_string()),
        (By::Proxy, "timeout/idle".into())
    );
}

#[tokio::test]
async fn what_is_slipped_behind_a_login_and_its_answer_goes_first() {
    let (builder, mut backends) = builder(open_listener());
    let gatepost = builder.build().unwrap();
    let (mut client, serving) = stage::begin(&gatepost);
    let session = tokio::spawn(serving);
    assert!(line(&mut client).await.starts_with("* OK "));
    client.write_all(b"a LOGIN alice secret\r\nb NOOP\r\n").await.unwrap();
    client.shutdown().await.unwrap();
    let mut backend = backends.recv().await.unwrap();
    backend.write_all(b"* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] hi\r\n").await.unwrap();
    line(&mut backend).await;
    backend.write_all(b"L OK [CAPABILITY IMAP4rev1] in\r\n* 7 EXISTS\r\n").await.unwrap();
    let mut rest = String::new();
    backend.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "b NOOP\r\n", "and then the end that the client had sent");
    backend.write_all(b"b OK\r\n").await.unwrap();
    drop(backend);
    let heard = stage::rest(client).await;
    assert_eq!(heard, ["a OK [CAPABILITY IMAP4rev1] in", "* 7 EXISTS", "b OK"]);
    let facts = session.await.unwrap().session;
    assert_eq!((facts.from_client, facts.from_backend), (8, 18));
}
