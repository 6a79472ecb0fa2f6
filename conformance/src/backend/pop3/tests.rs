//! Each command over a loopback socket: in plain text, after STLS, inside TLS from the start.
#![allow(clippy::unwrap_used)]

use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::super::login::MISTAKES;
use super::super::test_client::{Client, connected, inside_tls, started, torment};
use super::super::tls::SelfSigned;
use super::super::{Backend, BackendTls, Protocol};

const ALICE: &str = "alice@example.com";
const MESSAGE: &[u8] = b"Subject: one\r\n\r\nfirst\r\n.dot\r\nlast\r\n";

fn plain() -> Backend {
    started(Protocol::Pop3, BackendTls::Plain)
}

fn with_mail() -> Backend {
    let backend = plain();
    for message in [MESSAGE, b"Subject: two\n\n.\nunended", b"Subject: three\r\n\r\n"] {
        backend.deliver(ALICE, "INBOX", message).unwrap();
    }
    backend
}

fn greeted(backend: &Backend) -> Client {
    let mut client = Client::of(backend);
    assert!(client.line().starts_with("+OK "));
    client
}

fn logged_in(backend: &Backend) -> Client {
    let mut client = greeted(backend);
    client.expect(&format!("USER {ALICE}"), "+OK");
    client.expect("PASS secret", "+OK");
    client
}

/// The whole answer of several lines.
fn listed(client: &mut Client, command: &str) -> String {
    client.expect(command, "+OK");
    client.until(|line| line == ".")
}

#[test]
fn capabilities_tell_what_is_possible_now() {
    let backend = plain();
    let mut client = greeted(&backend);
    let before = listed(&mut client, "capa");
    for capability in
        ["TOP", "UIDL", "RESP-CODES", "PIPELINING", "USER", "SASL PLAIN OAUTHBEARER XOAUTH2"]
    {
        assert!(before.lines().any(|line| line == capability), "{capability}: {before}");
    }
    assert!(!before.contains("STLS"));
    let after = listed(&mut logged_in(&backend), "CAPA");
    assert!(after.contains("UIDL\n") && !after.contains("SASL") && !after.contains("USER\n"));
    assert_eq!(listed(&mut client, "AUTH"), "PLAIN\nOAUTHBEARER\nXOAUTH2\n.\n");
    assert_eq!(listed(&mut client, "LANG"), "en English\n.\n");
    client.expect("LANG *", "+OK en");
    client.expect("LANG tlh", "-ERR");
    client.expect("UTF8", "+OK");
    client.expect("NOOP", "+OK");
    client.expect("STLS", "-ERR");
    client.expect("STAT", "-ERR");
    client.expect("QUIT", "+OK");
    assert!(client.ended());
}

#[test]
fn stls_comes_before_a_login() {
    let certificate = SelfSigned::new(&["localhost"]).unwrap();
    let tls = BackendTls::StartTls(certificate.server_config().unwrap());
    let backend = started(Protocol::Pop3, tls);
    let stream = connected(backend.address());
    let mut client = Client::new(stream.try_clone().unwrap());
    client.line();
    let capabilities = listed(&mut client, "CAPA");
    assert!(capabilities.contains("STLS\n") && !capabilities.contains("SASL"));
    assert!(!capabilities.contains("USER\n"));
    client.expect(&format!("USER {ALICE}"), "-ERR [AUTH]");
    client.expect("AUTH PLAIN", "-ERR [AUTH]");
    assert_eq!(listed(&mut client, "AUTH"), ".\n");
    client.expect("STLS now", "-ERR");
    client.expect("STLS", "+OK");
    let mut client = inside_tls(stream, &certificate);
    assert!(!listed(&mut client, "CAPA").contains("STLS"));
    client.expect("STLS", "-ERR");
    client.expect(&format!("USER {ALICE}"), "+OK");
    client.expect("PASS secret", "+OK");
    let record = backend.sessions().remove(0);
    assert!(record.encrypted && record.protocol == Protocol::Pop3);
    assert_eq!(record.login, Some((ALICE.to_owned(), "USER".to_owned())));
}

#[test]
fn plaintext_behind_stls_ends_the_session() {
    let certificate = SelfSigned::new(&["localhost"]).unwrap();
    let tls = BackendTls::StartTls(certificate.server_config().unwrap());
    let backend = started(Protocol::Pop3, tls);
    let mut client = greeted(&backend);
    client.send(b"STLS\r\nCAPA\r\n");
    assert!(client.line().starts_with("+OK"));
    assert_eq!(client.line(), "");
}

#[test]
fn a_large_message_inside_tls_comes_out_as_it_was() {
    let certificate = SelfSigned::new(&["localhost"]).unwrap();
    let tls = BackendTls::Implicit(certificate.server_config().unwrap());
    let backend = started(Protocol::Pop3, tls);
    let big = [MESSAGE, &b"x".repeat(3 << 20), b"\r\n"].concat();
    let smooth = [&b"Subject: s\r\n\r\n"[..], &b"y".repeat(3 << 20), b"\r\n"].concat();
    backend.deliver(ALICE, "INBOX", &big).unwrap();
    backend.deliver(ALICE, "INBOX", &smooth).unwrap();
    let mut client = inside_tls(connected(backend.address()), &certificate);
    client.line();
    client.say(&format!("USER {ALICE}"));
    client.expect("PASS secret", "+OK");
    for (number, message) in [("1", &big), ("2", &smooth)] {
        client.expect(&format!("RETR {number}"), &format!("+OK {} octets", message.len()));
        let stuffed = if number == "1" { message.len() + 1 } else { message.len() };
        let mut sent = vec![0; stuffed];
        client.0.read_exact(&mut sent).unwrap();
        let at = sent.windows(6).position(|part| part == b"\n..dot");
        assert_eq!(at.is_some(), number == "1");
        assert!(String::from_utf8(sent).unwrap().replace("\n..", "\n.").as_bytes() == *message);
        assert_eq!(client.line(), ".");
    }
}

#[test]
fn a_password_is_the_rest_of_the_line() {
    let backend = plain();
    let mut client = greeted(&backend);
    client.expect("PASS secret", "-ERR");
    client.expect("USER bob@example.com", "+OK");
    client.expect("PASS x", "-ERR [AUTH]");
    client.expect("PASS x y", "-ERR USER first");
    client.expect("USER", "-ERR");
    client.expect("USER bob@example.com", "+OK");
    client.expect("NOOP", "+OK");
    client.expect("PASS x y", "-ERR USER first");
    client.expect("user bob@example.com", "+OK");
    client.expect("pass x y", "+OK");
    client.expect("USER bob@example.com", "-ERR");
    assert_eq!(backend.sessions()[0].refused, 1);
}

#[test]
fn auth_with_and_without_initial_response() {
    let backend = plain();
    let right = BASE64.encode(b"\0alice@example.com\0secret");
    let wrong = BASE64.encode(b"\0alice@example.com\0nonsense");
    let mut client = greeted(&backend);
    for (answer, begins) in [
        ("*", "-ERR Cancelled"),
        ("%%", "-ERR Invalid base64"),
        ("", "-ERR Not a message"),
        (wrong.as_str(), "-ERR [AUTH]"),
        (right.as_str(), "+OK"),
    ] {
        assert_eq!(client.say("AUTH plain"), "+");
        client.expect(answer, begins);
    }
    let mut client = greeted(&backend);
    client.expect("AUTH CRAM-MD5", "-ERR");
    client.expect("AUTH PLAIN =", "-ERR Not a message");
    client.expect(&format!("AUTH PLAIN {right}"), "+OK");
    client.expect("STAT", "+OK 0 0");
}

#[test]
fn tokens_are_accepted_or_refused_with_a_challenge() {
    let backend = plain();
    for (mechanism, message) in [
        ("OAUTHBEARER", "n,a=alice@example.com,\x01auth=Bearer TOKEN\x01\x01"),
        ("XOAUTH2", "user=alice@example.com\x01auth=Bearer TOKEN\x01\x01"),
    ] {
        let right = BASE64.encode(message.replace("TOKEN", "token-alice@example.com"));
        let mut client = greeted(&backend);
        let challenge =
            client.expect(&format!("AUTH {mechanism} {}", BASE64.encode(message)), "+ ");
        assert!(BASE64.decode(&challenge[2..]).unwrap().starts_with(b"{\"status\":\""));
        client.expect("AQ==", "-ERR [AUTH]");
        client.expect(&format!("AUTH {mechanism} {right}"), "+OK");
        assert_eq!(backend.sessions().pop().unwrap().login.unwrap().1, mechanism);
    }
}

#[test]
fn messages_are_counted_listed_and_read() {
    let backend = with_mail();
    let mut client = logged_in(&backend);
    let sizes = [MESSAGE.len(), 28, 18];
    assert_eq!(client.say("STAT"), format!("+OK 3 {}", sizes.iter().sum::<usize>()));
    assert_eq!(
        listed(&mut client, "LIST"),
        format!("1 {}\n2 {}\n3 {}\n.\n", sizes[0], sizes[1], sizes[2])
    );
    assert_eq!(client.say("LIST 2"), "+OK 2 28");
    let ids = listed(&mut client, "UIDL");
    assert_eq!(ids.lines().count(), 4);
    let second = ids.lines().nth(1).unwrap();
    assert!(second.ends_with("00000002"));
    assert_eq!(client.say("UIDL 2"), format!("+OK {second}"));
    assert_eq!(listed(&mut client, "RETR 1"), "Subject: one\n\nfirst\n..dot\nlast\n.\n");
    assert_eq!(listed(&mut client, "RETR 2"), "Subject: two\n\n..\nunended\n.\n");
    assert_eq!(listed(&mut client, "TOP 1 0"), "Subject: one\n\n.\n");
    assert_eq!(listed(&mut client, "TOP 1 2"), "Subject: one\n\nfirst\n..dot\n.\n");
    assert_eq!(listed(&mut client, "TOP 2 99"), "Subject: two\n\n..\nunended\n.\n");
    assert_eq!(listed(&mut client, "TOP 3 1"), "Subject: three\n\n.\n");
    for wrong in ["RETR", "RETR 0", "RETR 4", "RETR x", "RETR +1", "LIST 4", "UIDL 0", "TOP 1"] {
        client.expect(wrong, "-ERR");
    }
    client.expect("STAT 1", "-ERR");
    client.expect("APOP a b", "-ERR");
}

#[test]
fn what_is_deleted_goes_at_quit_and_not_before() {
    let backend = with_mail();
    let mut client = logged_in(&backend);
    client.expect("DELE 2", "+OK");
    client.expect("DELE 2", "-ERR");
    client.expect("RETR 2", "-ERR");
    assert_eq!(client.say("STAT"), format!("+OK 2 {}", MESSAGE.len() + 18));
    assert_eq!(listed(&mut client, "LIST"), format!("1 {}\n3 18\n.\n", MESSAGE.len()));
    client.expect("RSET", "+OK");
    client.expect("STAT", "+OK 3 ");
    client.expect("DELE 1", "+OK");
    drop(client);
    let mut client = logged_in(&backend);
    client.expect("STAT", "+OK 3 ");
    client.expect("DELE 1", "+OK");
    client.expect("DELE 3", "+OK");
    assert_eq!(backend.messages(ALICE, "INBOX").len(), 3);
    client.expect("QUIT", "+OK");
    assert!(client.ended());
    assert_eq!(backend.messages(ALICE, "INBOX"), [b"Subject: two\n\n.\nunended"]);
    assert!(logged_in(&backend).say("UIDL 1").ends_with("00000002"));
}

#[test]
fn a_session_keeps_its_view() {
    let backend = with_mail();
    let mut client = logged_in(&backend);
    let mut other = logged_in(&backend);
    other.expect("DELE 1", "+OK");
    other.expect("QUIT", "+OK");
    assert!(other.ended());
    backend.deliver(ALICE, "INBOX", MESSAGE).unwrap();
    client.expect("STAT", "+OK 3 ");
    assert!(listed(&mut client, "RETR 1").starts_with("Subject: one"));
    client.expect("DELE 1", "+OK");
    client.expect("QUIT", "+OK");
    assert!(client.ended());
    assert_eq!(backend.messages(ALICE, "INBOX").len(), 3);
}

#[test]
fn xclient_is_recorded() {
    let backend = plain();
    let mut client = Client::of(&backend);
    assert!(client.line().starts_with("+OK [XCLIENT] "));
    client.expect("XCLIENT ADDR=192.0.2.7 PORT=50123", "+OK");
    client.expect("XCLIENT nothing", "-ERR");
    let expected = [("ADDR", "192.0.2.7"), ("PORT", "50123")];
    let expected = expected.map(|(name, value)| (name.to_owned(), Some(value.to_owned())));
    assert_eq!(backend.sessions().remove(0).identity, expected);
    let mut client = logged_in(&backend);
    client.expect("XCLIENT ADDR=192.0.2.7", "-ERR");
}

#[test]
fn pipelined_commands_are_answered_in_order() {
    let backend = with_mail();
    let mut client = greeted(&backend);
    client.send(b"USER alice@example.com\r\nPASS secret\r\nSTAT\r\nTOP 3 0\r\nQUIT\r\n");
    assert_eq!(client.line(), "+OK Send PASS");
    assert_eq!(client.line(), "+OK Logged in, 3 messages");
    assert!(client.line().starts_with("+OK 3 "));
    client.until(|line| line == ".");
    assert_eq!(client.line(), "+OK Bye");
    assert!(client.ended());
}

#[test]
fn mistakes_and_long_lines_end_a_session() {
    let backend = plain();
    let mut client = greeted(&backend);
    for _ in 1..MISTAKES {
        client.expect("HELO", "-ERR");
    }
    client.expect("NOOP", "+OK");
    client.expect("HELO", "-ERR");
    assert!(client.line().starts_with("-ERR Too many"));
    assert!(client.ended());
    let mut client = greeted(&backend);
    client.send(&vec![b'x'; super::LINE_OCTETS + 1]);
    assert!(client.line().starts_with("-ERR"));
    assert!(client.ended());
}

#[test]
fn nothing_that_is_sent_harms_the_backend() {
    let backend = with_mail();
    let script = b"CAPA\r\nUSER alice@example.com\r\nPASS secret\r\nSTAT\r\nLIST 1\r\nUIDL\r\n\
        TOP 1 2\r\nRETR 2\r\nDELE 3\r\nRSET\r\nAUTH PLAIN =\r\nLANG *\r\n";
    torment(&backend, script, b"+OK ");
    logged_in(&backend).expect("NOOP", "+OK");
}
