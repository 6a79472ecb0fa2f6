//! Each command over a loopback socket: in plain text, after STARTTLS, inside TLS from the start.
#![allow(clippy::unwrap_used)]

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::super::login::MISTAKES;
use super::super::test_client::{Client, connected, inside_tls, started, torment};
use super::super::tls::SelfSigned;
use super::super::{Account, Backend, BackendTls, Protocol, Settings};
use super::envelope::MESSAGE_OCTETS;

const ALICE: &str = "alice@example.com";
const BOB: &str = "bob@example.com";
const MESSAGE: &[u8] = b"Subject: one\r\n\r\nfirst\r\n..dot\r\nlast\r\n";

fn plain() -> Backend {
    started(Protocol::Submission, BackendTls::Plain)
}

fn greeted(backend: &Backend) -> Client {
    let mut client = Client::of(backend);
    assert!(client.line().starts_with("220 localhost ESMTP "));
    client
}

fn ehlo(client: &mut Client) -> String {
    client.send(b"EHLO client.example.org\r\n");
    client.until(|line| !line.starts_with("250-"))
}

fn plain_message() -> String {
    BASE64.encode(b"\0alice@example.com\0secret")
}

fn logged_in(backend: &Backend) -> Client {
    let mut client = greeted(backend);
    ehlo(&mut client);
    client.expect(&format!("AUTH PLAIN {}", plain_message()), "235 2.7.0");
    client
}

fn addressed(client: &mut Client, recipient: &str) {
    client.expect("MAIL FROM:<alice@example.com>", "250 2.1.0");
    client.expect(&format!("RCPT TO:<{recipient}>"), "250 2.1.5");
}

/// Sends what does not end with a line; the next line must begin like this.
fn chunk(client: &mut Client, sent: &str, begins: &str) {
    client.send(sent.as_bytes());
    let answer = client.line();
    assert!(answer.starts_with(begins), "{sent}: {answer}");
}

/// The newest message of an INBOX without the two fields in front.
fn newest(backend: &Backend, user: &str) -> Vec<u8> {
    let message = backend.messages(user, "INBOX").pop().unwrap();
    let text = String::from_utf8(message).unwrap();
    assert!(text.starts_with(
        "Return-Path: <alice@example.com>\r\n\
         Received: from client.example.org ([127.0.0.1])\r\n\tby localhost with ESMTPA;\r\n\t"
    ));
    text.splitn(5, "\r\n").last().unwrap().as_bytes().to_vec()
}

#[test]
fn the_first_words_in_plain_text() {
    let backend = plain();
    let mut client = greeted(&backend);
    client.expect("AUTH PLAIN", "503");
    client.expect("MAIL FROM:<alice@example.com>", "530 5.7.0");
    client.expect("EHLO", "501");
    let extensions = ehlo(&mut client);
    for extension in [
        "PIPELINING",
        "8BITMIME",
        "SIZE 67108864",
        "ENHANCEDSTATUSCODES",
        "CHUNKING",
        "AUTH PLAIN OAUTHBEARER XOAUTH2",
    ] {
        assert!(extensions.lines().any(|line| &line[4..] == extension), "{extension}");
    }
    assert!(!extensions.contains("STARTTLS"));
    client.expect("noop x", "250 2.0.0");
    client.expect("RSET", "250 2.0.0");
    client.expect("RSET x", "501");
    client.expect("VRFY alice", "252");
    client.expect("VRFY", "501");
    client.expect("HELP", "214");
    client.expect("EXPN list", "502");
    client.expect("STARTTLS", "503");
    client.expect("DATA", "503");
    client.expect("WHAT", "500");
    client.expect("HELO client.example.org", "250 localhost");
    client.expect("AUTH PLAIN", "503");
    client.expect("QUIT", "221 2.0.0");
    assert!(client.ended());
}

#[test]
fn starttls_comes_before_a_login_and_what_was_said_is_forgotten() {
    let certificate = SelfSigned::new(&["localhost"]).unwrap();
    let tls = BackendTls::StartTls(certificate.server_config().unwrap());
    let backend = started(Protocol::Submission, tls);
    let stream = connected(backend.address());
    let mut client = Client::new(stream.try_clone().unwrap());
    client.line();
    let extensions = ehlo(&mut client);
    assert!(extensions.contains("STARTTLS\n") && !extensions.contains("AUTH"));
    client.expect("AUTH PLAIN", "538 5.7.11");
    client.expect("STARTTLS now", "501");
    client.expect("STARTTLS", "220");
    let mut client = inside_tls(stream, &certificate);
    client.expect("AUTH PLAIN", "503");
    assert!(!ehlo(&mut client).contains("STARTTLS"));
    client.expect("STARTTLS", "503");
    client.expect(&format!("AUTH PLAIN {}", plain_message()), "235");
    addressed(&mut client, BOB);
    client.expect("DATA", "354");
    client.expect("Subject: x\r\n.", "250");
    let message = backend.messages(BOB, "INBOX").remove(0);
    assert!(String::from_utf8(message).unwrap().contains(" with ESMTPSA;"));
    assert!(backend.sessions()[0].encrypted);
}

#[test]
fn plaintext_behind_starttls_ends_the_session() {
    let certificate = SelfSigned::new(&["localhost"]).unwrap();
    let tls = BackendTls::StartTls(certificate.server_config().unwrap());
    let backend = started(Protocol::Submission, tls);
    let mut client = greeted(&backend);
    client.send(b"STARTTLS\r\nNOOP\r\n");
    assert!(client.line().starts_with("220"));
    assert_eq!(client.line(), "");
}

#[test]
fn auth_with_and_without_initial_response() {
    let backend = plain();
    let mut client = greeted(&backend);
    ehlo(&mut client);
    let wrong = BASE64.encode(b"\0alice@example.com\0nonsense");
    for (answer, begins) in [
        ("*", "501 5.7.0"),
        ("%%", "501 5.5.2"),
        ("", "501 5.5.2"),
        (wrong.as_str(), "535 5.7.8"),
        (plain_message().as_str(), "235 2.7.0"),
    ] {
        assert_eq!(client.say("AUTH plain"), "334");
        client.expect(answer, begins);
    }
    client.expect(&format!("AUTH PLAIN {}", plain_message()), "503");
    let mut client = greeted(&backend);
    ehlo(&mut client);
    client.expect("AUTH CRAM-MD5", "504 5.5.4");
    client.expect("AUTH", "501");
    client.expect("AUTH PLAIN =", "501");
    client.expect(&format!("AUTH PLAIN {wrong}"), "535");
    assert_eq!(backend.sessions().pop().unwrap().refused, 1);
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
        ehlo(&mut client);
        let challenge =
            client.expect(&format!("AUTH {mechanism} {}", BASE64.encode(message)), "334 ");
        assert!(BASE64.decode(&challenge[4..]).unwrap().starts_with(b"{\"status\":\""));
        client.expect("AQ==", "535 5.7.8");
        client.expect(&format!("AUTH {mechanism} {right}"), "235");
        assert_eq!(backend.sessions().pop().unwrap().login.unwrap().1, mechanism);
    }
}

#[test]
fn a_submitted_message_is_in_every_inbox_and_imap_shows_it() {
    let backend = plain();
    let mut client = logged_in(&backend);
    client.expect("MAIL FROM:<alice@example.com> SIZE=100 BODY=8BITMIME AUTH=<>", "250");
    client.expect("MAIL FROM:<alice@example.com>", "503");
    client.expect("RCPT TO:<BOB@example.com>", "250");
    client.expect("RCPT TO:<bob@example.com>", "250");
    client.expect("RCPT TO:<alice@example.com>", "250");
    client.expect("RCPT TO:<carol@example.com>", "550 5.1.1");
    client.expect("RCPT TO:<bob@example.com> NOTIFY=NEVER", "555");
    client.expect("RCPT TO:bob@example.com", "501");
    client.expect("DATA", "354");
    client.send(MESSAGE);
    client.expect(".", "250 2.0.0 Delivered to 2");
    let unstuffed = b"Subject: one\r\n\r\nfirst\r\n.dot\r\nlast\r\n";
    assert_eq!(newest(&backend, BOB), unstuffed);
    assert_eq!(newest(&backend, ALICE), unstuffed);
    assert_eq!(backend.messages(BOB, "INBOX").len(), 1);
    let stored = backend.messages(BOB, "INBOX").remove(0).len();
    assert_eq!(backend.octets(), stored);
    let imap = backend.address_of(Protocol::Imap).unwrap();
    let mut imap = Client::new(connected(imap));
    imap.line();
    imap.expect("a LOGIN bob@example.com \"x y\"", "a OK");
    imap.send(b"b SELECT INBOX\r\nc FETCH 1 ENVELOPE\r\n");
    assert!(imap.until(|line| line.starts_with("c OK")).contains("NIL \"one\" NIL"));
    client.expect("DATA", "503");
}

#[test]
fn a_bare_line_feed_does_not_end_a_message() {
    let backend = plain();
    let mut client = logged_in(&backend);
    addressed(&mut client, BOB);
    client.expect("DATA", "354");
    client.send(b"Subject: x\r\n\r\n\n.\nMAIL FROM:<a>\r\n\n.\r\nend\r\n");
    client.expect(".", "250");
    let message = newest(&backend, BOB);
    assert_eq!(message, b"Subject: x\r\n\r\n\n.\nMAIL FROM:<a>\r\n\n.\r\nend\r\n");
}

#[test]
fn chunks_make_up_a_message() {
    let backend = plain();
    let mut client = logged_in(&backend);
    chunk(&mut client, "BDAT 3\r\nabc", "503");
    client.expect("MAIL FROM:<alice@example.com>", "250");
    chunk(&mut client, "BDAT 5 LAST\r\nabc\r\n", "554 5.5.1");
    client.expect("RCPT TO:<bob@example.com>", "250");
    client.send(b"BDAT 14\r\nSubject: x\r\n\r\nBDAT 6\r\n.\r\n\r\n.BDAT 0 LAST\r\n");
    assert_eq!(client.line(), "250 2.0.0 14 octets received");
    assert_eq!(client.line(), "250 2.0.0 6 octets received");
    assert_eq!(client.line(), "250 2.0.0 Delivered to 1");
    assert_eq!(newest(&backend, BOB), b"Subject: x\r\n\r\n.\r\n\r\n.");
    addressed(&mut client, BOB);
    chunk(&mut client, "BDAT 2\r\nab", "250");
    client.expect("DATA", "503");
    client.expect("RCPT TO:<bob@example.com>", "503");
    client.expect("RSET", "250");
    addressed(&mut client, BOB);
    chunk(&mut client, "BDAT 5 LAST\r\nA: b\n", "250 2.0.0 Delivered");
    client.expect("BDAT x", "501");
    assert!(client.ended());
}

#[test]
fn a_message_past_the_limit_is_refused_and_the_session_goes_on() {
    let backend = plain();
    let mut client = logged_in(&backend);
    client.expect(&format!("MAIL FROM:<> SIZE={}", MESSAGE_OCTETS + 1), "552 5.3.4");
    client.expect("MAIL FROM:<> SIZE=x", "501");
    client.expect("MAIL FROM:<> BODY=BINARYMIME", "501");
    client.expect("MAIL FROM:<> SMTPUTF8", "555");
    addressed(&mut client, BOB);
    client.expect("DATA", "354");
    let line = [&b"x".repeat(1022)[..], b"\r\n"].concat();
    for _ in 0..MESSAGE_OCTETS / line.len() {
        client.send(&line);
    }
    client.expect("x\r\n.", "552 5.3.4");
    addressed(&mut client, BOB);
    client.send(format!("BDAT {}\r\n", MESSAGE_OCTETS + 1).as_bytes());
    for _ in 0..MESSAGE_OCTETS / line.len() {
        client.send(&line);
    }
    chunk(&mut client, "x", "552 5.3.4");
    chunk(&mut client, "BDAT 3 LAST\r\nabc", "503");
    client.expect("RSET", "250");
    addressed(&mut client, BOB);
    client.expect("DATA", "354");
    client.expect(".", "250");
    assert_eq!(backend.messages(BOB, "INBOX").len(), 1);
}

#[test]
fn submitted_messages_can_be_forgotten() {
    let accounts = vec![Account::new(ALICE, "secret")];
    let protocols = vec![Protocol::Submission];
    let settings = Settings { protocols, accounts, discard_appended: true, ..Settings::default() };
    let backend = Backend::start(settings).unwrap();
    let mut client = logged_in(&backend);
    addressed(&mut client, ALICE);
    client.expect("DATA", "354");
    client.expect("x\r\n.", "250 2.0.0 Accepted, and forgotten");
    assert_eq!(backend.octets(), 0);
}

#[test]
fn xclient_is_recorded_and_the_session_begins_anew() {
    let backend = plain();
    let mut client = greeted(&backend);
    client.expect("XCLIENT ADDR=192.0.2.7", "503");
    let extensions = ehlo(&mut client);
    assert!(extensions.contains("250-XCLIENT NAME ADDR PORT HELO PROTO "));
    assert!(!extensions.contains("LOGIN"));
    client.expect("XCLIENT LOGIN=bob@example.com", "501");
    client.expect("XCLIENT ADDR=IPV6:2001:db8::7 PORT=50123 HELO=a+2Bb", "220 localhost ESMTP");
    client.expect("AUTH PLAIN", "503");
    ehlo(&mut client);
    client.expect(&format!("AUTH PLAIN {}", plain_message()), "235");
    let expected = [("ADDR", "IPV6:2001:db8::7"), ("PORT", "50123"), ("HELO", "a+2Bb")];
    let expected = expected.map(|(name, value)| (name.to_owned(), Some(value.to_owned())));
    assert_eq!(backend.sessions().remove(0).identity, expected);
    addressed(&mut client, BOB);
    client.expect("XCLIENT ADDR=192.0.2.7", "503");
    client.expect("RSET", "250");
    client.expect("XCLIENT ADDR=192.0.2.7", "220");
    client.expect("MAIL FROM:<>", "530");
    assert_eq!(backend.sessions().remove(0).identity.len(), 4);
}

#[test]
fn pipelined_commands_are_answered_in_order() {
    let backend = plain();
    let mut client = logged_in(&backend);
    client.send(
        b"RSET\r\nMAIL FROM:<alice@example.com>\r\nRCPT TO:<carol@example.com>\r\n\
          RCPT TO:<bob@example.com>\r\nDATA\r\nA: b\r\n.\r\nMAIL FROM:<>\r\nDATA\r\nQUIT\r\n",
    );
    let codes: Vec<String> = (0..9).map(|_| client.line()[..3].to_owned()).collect();
    assert_eq!(codes, ["250", "250", "550", "250", "354", "250", "250", "554", "221"]);
    assert!(client.ended());
    assert_eq!(newest(&backend, BOB), b"A: b\r\n");
}

#[test]
fn mistakes_and_long_lines_end_a_session() {
    let backend = plain();
    let mut client = greeted(&backend);
    for _ in 1..MISTAKES {
        client.expect("HALLO", "500");
    }
    client.expect("NOOP", "250");
    client.expect("HALLO", "500");
    assert!(client.line().starts_with("421"));
    assert!(client.ended());
    let mut client = greeted(&backend);
    client.send(&vec![b'x'; super::LINE_OCTETS + 1]);
    assert!(client.line().starts_with("500"));
    assert!(client.ended());
}

#[test]
fn nothing_that_is_sent_harms_the_backend() {
    let backend = plain();
    let script = format!(
        "EHLO client.example.org\r\nAUTH PLAIN {}\r\nMAIL FROM:<alice@example.com> SIZE=9\r\n\
         RCPT TO:<bob@example.com>\r\nDATA\r\nA: b\r\n..\r\n.\r\nMAIL FROM:<>\r\n\
         RCPT TO:<bob@example.com>\r\nBDAT 3\r\nabcBDAT 2 LAST\r\n\r\nVRFY x\r\n\
         XCLIENT ADDR=192.0.2.7\r\nQUIT\r\n",
        plain_message()
    );
    torment(&backend, script.as_bytes(), b"220 ");
    logged_in(&backend).expect("NOOP", "250");
}
