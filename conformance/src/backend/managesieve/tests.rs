//! Each command over a loopback socket: in plain text, after STARTTLS, inside TLS from the start.
#![allow(clippy::unwrap_used)]

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::super::login::MISTAKES;
use super::super::test_client::{Client, connected, inside_tls, started, torment};
use super::super::tls::SelfSigned;
use super::super::{Backend, BackendTls, Protocol, SCRIPT_OCTETS, SCRIPTS};
use super::command::COMMAND_OCTETS;

const SCRIPT: &str = "require \"fileinto\";\r\nkeep;\r\n";

fn plain() -> Backend {
    started(Protocol::ManageSieve, BackendTls::Plain)
}

/// The lines up to and with OK, NO or BYE.
fn answer(client: &mut Client) -> String {
    client.until(|line| ["OK", "NO", "BYE"].iter().any(|end| line.starts_with(end)))
}

fn tell(client: &mut Client, command: &str) -> String {
    client.send(format!("{command}\r\n").as_bytes());
    answer(client)
}

fn greeted(backend: &Backend) -> Client {
    let mut client = Client::of(backend);
    assert!(answer(&mut client).ends_with("OK \"Ready\"\n"));
    client
}

fn plain_message() -> String {
    BASE64.encode(b"\0alice@example.com\0secret")
}

fn logged_in(backend: &Backend) -> Client {
    let mut client = greeted(backend);
    client.expect(&format!("AUTHENTICATE \"PLAIN\" \"{}\"", plain_message()), "OK");
    client
}

fn put(client: &mut Client, name: &str, script: &str) -> String {
    tell(client, &format!("PUTSCRIPT \"{name}\" {{{}+}}\r\n{script}", script.len()))
}

#[test]
fn the_first_words_in_plain_text() {
    let backend = plain();
    let mut client = Client::of(&backend);
    let block = answer(&mut client);
    assert_eq!(
        block,
        "\"IMPLEMENTATION\" \"Gatepost trial backend\"\n\
         \"SASL\" \"PLAIN OAUTHBEARER XOAUTH2\"\n\"SIEVE\" \"fileinto envelope\"\n\
         \"XCLIENT\"\n\"UNAUTHENTICATE\"\n\"VERSION\" \"1.0\"\nOK \"Ready\"\n"
    );
    assert_eq!(tell(&mut client, "capability"), block);
    client.expect("NOOP", "OK \"Nothing done\"");
    assert_eq!(client.say("NOOP \"a\\\"b\\\\\""), "OK (TAG \"a\\\"b\\\\\") \"Done\"");
    assert_eq!(client.say("NOOP {3+}\r\na\r\n"), "OK (TAG {3}");
    assert_eq!(client.line(), "a");
    assert_eq!(client.line(), ") \"Done\"");
    client.expect("NOOP x", "NO");
    client.expect("STARTTLS", "NO");
    client.expect("LISTSCRIPTS", "NO");
    client.expect("UNAUTHENTICATE", "NO");
    client.expect("\"NOOP\"", "NO");
    client.expect("", "NO");
    client.expect("LOGOUT", "OK");
    assert!(client.ended());
}

#[test]
fn starttls_comes_before_a_login_and_a_new_block_after_it() {
    let certificate = SelfSigned::new(&["localhost"]).unwrap();
    let tls = BackendTls::StartTls(certificate.server_config().unwrap());
    let backend = started(Protocol::ManageSieve, tls);
    let stream = connected(backend.address());
    let mut client = Client::new(stream.try_clone().unwrap());
    let block = answer(&mut client);
    assert!(block.contains("\"SASL\" \"\"\n") && block.contains("\"STARTTLS\"\n"));
    client.expect("AUTHENTICATE \"PLAIN\"", "NO (ENCRYPT-NEEDED)");
    client.expect("STARTTLS \"now\"", "NO");
    client.expect("STARTTLS", "OK");
    let mut client = inside_tls(stream, &certificate);
    let block = answer(&mut client);
    assert!(block.contains("\"SASL\" \"PLAIN ") && !block.contains("STARTTLS"));
    client.expect("STARTTLS", "NO");
    client.expect(&format!("AUTHENTICATE \"PLAIN\" \"{}\"", plain_message()), "OK");
    assert!(tell(&mut client, "CAPABILITY").contains("\"OWNER\" \"alice@example.com\"\n"));
    assert!(backend.sessions()[0].encrypted);
}

#[test]
fn plaintext_behind_starttls_ends_the_session() {
    let certificate = SelfSigned::new(&["localhost"]).unwrap();
    let tls = BackendTls::StartTls(certificate.server_config().unwrap());
    let backend = started(Protocol::ManageSieve, tls);
    let mut client = greeted(&backend);
    client.send(b"STARTTLS\r\nNOOP\r\n");
    assert!(client.line().starts_with("OK"));
    assert_eq!(client.line(), "");
}

#[test]
fn tls_from_the_first_byte() {
    let certificate = SelfSigned::new(&["localhost"]).unwrap();
    let tls = BackendTls::Implicit(certificate.server_config().unwrap());
    let backend = started(Protocol::ManageSieve, tls);
    let mut client = inside_tls(connected(backend.address()), &certificate);
    assert!(!answer(&mut client).contains("STARTTLS"));
    client.expect("NOOP", "OK");
}

#[test]
fn authenticate_takes_every_form_of_string() {
    let backend = plain();
    let right = plain_message();
    let wrong = BASE64.encode(b"\0alice@example.com\0nonsense");
    let literal = format!("{{{}+}}\r\n{right}", right.len());
    let mut client = greeted(&backend);
    for (sent, begins) in [
        ("\"*\"", "NO \"Cancelled\""),
        ("*", "NO \"Cancelled\""),
        ("\"%%\"", "NO \"Invalid base64\""),
        ("\"\"", "NO \"Not a message"),
        (&format!("\"{wrong}\""), "NO \"Invalid credentials\""),
        (&literal, "OK"),
    ] {
        assert_eq!(client.say("AUTHENTICATE {5+}\r\nplain"), "\"\"");
        client.expect(sent, begins);
    }
    client.expect(&format!("AUTHENTICATE \"PLAIN\" \"{right}\""), "NO");
    let mut client = greeted(&backend);
    client.expect("AUTHENTICATE \"CRAM-MD5\"", "NO \"Unknown mechanism\"");
    client.expect("AUTHENTICATE PLAIN", "NO \"String expected\"");
    client.expect("AUTHENTICATE \"PLAIN\" \"=\"", "NO \"Not a message");
    client.expect(&format!("AUTHENTICATE \"PLAIN\" {literal}"), "OK");
}

#[test]
fn tokens_are_accepted_or_refused_with_a_challenge() {
    let backend = plain();
    for (mechanism, message) in [
        ("OAUTHBEARER", "n,a=alice@example.com,\x01auth=Bearer TOKEN\x01\x01"),
        ("XOAUTH2", "user=alice@example.com\x01auth=Bearer TOKEN\x01\x01"),
    ] {
        let right = BASE64.encode(message.replace("TOKEN", "token-alice@example.com"));
        let wrong = BASE64.encode(message);
        let mut client = greeted(&backend);
        let announced = client.say(&format!("AUTHENTICATE \"{mechanism}\" \"{wrong}\""));
        let challenge = client.line();
        assert_eq!(announced, format!("{{{}}}", challenge.len()));
        assert!(BASE64.decode(challenge).unwrap().starts_with(b"{\"status\":\""));
        client.expect("\"AQ==\"", "NO \"Invalid credentials\"");
        client.expect(&format!("AUTHENTICATE \"{mechanism}\" \"{right}\""), "OK");
        assert_eq!(backend.sessions().pop().unwrap().login.unwrap().1, mechanism);
    }
}

#[test]
fn scripts_are_kept_under_their_names() {
    let backend = plain();
    let mut client = logged_in(&backend);
    assert_eq!(tell(&mut client, "LISTSCRIPTS"), "OK \"Listed\"\n");
    client.expect("HAVESPACE \"one\" 100", "OK");
    assert_eq!(put(&mut client, "one", SCRIPT), "OK \"Stored\"\n");
    client.expect("PUTSCRIPT {4+}\r\ntwo\" \"stop;\"", "OK");
    client.expect("SETACTIVE \"one\"", "OK");
    let listed = tell(&mut client, "LISTSCRIPTS");
    assert_eq!(listed, "\"one\" ACTIVE\n\"two\\\"\"\nOK \"Listed\"\n");
    assert_eq!(
        tell(&mut client, "GETSCRIPT \"one\"").replace('\n', "\r\n"),
        format!("{{{}}}\r\n{SCRIPT}\r\nOK \"Sent\"\r\n", SCRIPT.len())
    );
    client.expect("DELETESCRIPT \"one\"", "NO (ACTIVE)");
    client.expect("RENAMESCRIPT \"one\" \"two\\\"\"", "NO (ALREADYEXISTS)");
    client.expect("RENAMESCRIPT \"one\" \"three\"", "OK");
    client.expect("GETSCRIPT \"one\"", "NO (NONEXISTENT)");
    assert_eq!(put(&mut client, "three", "stop;"), "OK \"Stored\"\n");
    assert!(tell(&mut logged_in(&backend), "LISTSCRIPTS").starts_with("\"three\" ACTIVE\n"));
    client.expect("SETACTIVE \"\"", "OK");
    client.expect("DELETESCRIPT \"three\"", "OK");
    client.expect("DELETESCRIPT \"three\"", "NO (NONEXISTENT)");
    client.expect("SETACTIVE \"three\"", "NO (NONEXISTENT)");
    client.expect("RENAMESCRIPT \"three\" \"one\"", "NO (NONEXISTENT)");
    assert_eq!(backend.octets(), "stop;".len());
    let mut bob = greeted(&backend);
    let bobs = BASE64.encode(b"\0bob@example.com\0x y");
    bob.expect(&format!("AUTHENTICATE \"PLAIN\" \"{bobs}\""), "OK");
    assert_eq!(tell(&mut bob, "LISTSCRIPTS"), "OK \"Listed\"\n");
}

#[test]
fn what_is_no_script_or_no_name_is_refused() {
    let backend = plain();
    let mut client = logged_in(&backend);
    client.expect("CHECKSCRIPT \"keep;\"", "OK");
    client.expect("CHECKSCRIPT \"\"", "NO");
    client.expect("PUTSCRIPT \"one\" {0+}\r\n", "NO");
    client.send(b"PUTSCRIPT \"one\" {1+}\r\n\xff\r\n");
    assert!(client.line().starts_with("NO"));
    client.expect("PUTSCRIPT \"\" \"keep;\"", "NO");
    client.expect("PUTSCRIPT {1+}\r\n\n \"keep;\"", "NO");
    client.expect("PUTSCRIPT one \"keep;\"", "NO");
    client.expect("PUTSCRIPT \"one\"", "NO");
    client.expect("PUTSCRIPT \"one\" \"keep;\" \"\"", "NO");
    client.expect("HAVESPACE \"one\" x", "NO");
    client.expect("HAVESPACE \"one\" 99999999999999999999", "NO");
    client.expect(&format!("HAVESPACE \"one\" {}", SCRIPT_OCTETS + 1), "NO (QUOTA/MAXSIZE)");
    assert_eq!(tell(&mut client, "LISTSCRIPTS"), "OK \"Listed\"\n");
}

#[test]
fn scripts_have_limits() {
    let backend = plain();
    let mut client = logged_in(&backend);
    assert_eq!(put(&mut client, "big", &"#".repeat(SCRIPT_OCTETS)), "OK \"Stored\"\n");
    for number in 1..SCRIPTS {
        assert_eq!(put(&mut client, &number.to_string(), SCRIPT), "OK \"Stored\"\n");
    }
    client.expect("HAVESPACE \"more\" 1", "NO (QUOTA/MAXSCRIPTS)");
    assert!(put(&mut client, "more", SCRIPT).starts_with("NO (QUOTA/MAXSCRIPTS)"));
    client.expect("HAVESPACE \"big\" 1", "OK");
    assert_eq!(put(&mut client, "big", SCRIPT), "OK \"Stored\"\n");
    client.send(format!("PUTSCRIPT \"big\" {{{}+}}\r\n", SCRIPT_OCTETS + 1).as_bytes());
    assert!(client.line().starts_with("BYE"));
    assert!(client.ended());
}

#[test]
fn xclient_and_unauthenticate() {
    let backend = plain();
    let mut client = greeted(&backend);
    client.expect("XCLIENT ADDR=192.0.2.7 PORT=50123", "OK");
    client.expect("XCLIENT nothing", "NO");
    client.expect("XCLIENT \"ADDR=1\"", "NO");
    let expected = [("ADDR", "192.0.2.7"), ("PORT", "50123")];
    let expected = expected.map(|(name, value)| (name.to_owned(), Some(value.to_owned())));
    assert_eq!(backend.sessions().remove(0).identity, expected);
    client.expect(&format!("AUTHENTICATE \"PLAIN\" \"{}\"", plain_message()), "OK");
    client.expect("XCLIENT ADDR=192.0.2.7", "NO");
    client.expect("UNAUTHENTICATE", "OK");
    client.expect("LISTSCRIPTS", "NO");
    assert!(!tell(&mut client, "CAPABILITY").contains("OWNER"));
}

#[test]
fn pipelined_commands_are_answered_in_order() {
    let backend = plain();
    let mut client = greeted(&backend);
    let login = format!("AUTHENTICATE \"PLAIN\" \"{}\"\r\n", plain_message());
    let rest = "PUTSCRIPT \"a\" {5+}\r\nkeep;\r\nSETACTIVE \"a\"\r\nLISTSCRIPTS\r\nLOGOUT\r\n";
    client.send((login + rest).as_bytes());
    for expected in ["OK \"Logged in\"", "OK \"Stored\"", "OK \"Active\"", "\"a\" ACTIVE"] {
        assert_eq!(client.line(), expected);
    }
    assert_eq!(client.line(), "OK \"Listed\"");
    assert_eq!(client.line(), "OK \"Bye\"");
    assert!(client.ended());
}

#[test]
fn mistakes_and_long_commands_end_a_session() {
    let backend = plain();
    let mut client = greeted(&backend);
    for _ in 1..MISTAKES {
        client.expect("HALLO", "NO");
    }
    client.expect("NOOP", "OK");
    client.expect("HALLO", "NO");
    assert!(client.line().starts_with("BYE"));
    assert!(client.ended());
    for input in [vec![b'x'; COMMAND_OCTETS + 1], b"NOOP {99999999+}\r\n".to_vec()] {
        let mut client = greeted(&backend);
        client.send(&input);
        assert!(client.line().starts_with("BYE"));
        assert!(client.ended());
    }
}

#[test]
fn nothing_that_is_sent_harms_the_backend() {
    let backend = plain();
    let script = format!(
        "CAPABILITY\r\nAUTHENTICATE \"PLAIN\" \"{}\"\r\nPUTSCRIPT \"a\" {{5+}}\r\nkeep;\r\n\
         LISTSCRIPTS\r\nSETACTIVE \"a\"\r\nGETSCRIPT {{1+}}\r\na\r\nRENAMESCRIPT \"a\" \"b\"\r\n\
         HAVESPACE \"b\" 17\r\nCHECKSCRIPT \"stop;\"\r\nDELETESCRIPT \"b\"\r\nNOOP \"t\"\r\n\
         UNAUTHENTICATE\r\nAUTHENTICATE \"XOAUTH2\"\r\n\"\"\r\nLOGOUT\r\n",
        plain_message()
    );
    torment(&backend, script.as_bytes(), b"\"IMPLEMENTATION\" ");
    logged_in(&backend).expect("NOOP", "OK");
}
