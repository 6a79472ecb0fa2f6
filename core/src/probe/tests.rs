//! Probes as a driver sees them: what backends say in, what is said and found out.

#![allow(clippy::unwrap_used)]

use alloc::{format, string::ToString};

use super::*;
use crate::close::ConnectFault;
use crate::config::parse;
use crate::contract::{BackendFacts, TlsFacts};

const IMPLICIT: &str = "tls = \"implicit\"";
const PLAIN: &str = "tls = \"plain\"";
const STARTTLS: &str = "tls = \"starttls\"";

fn subject(protocol: &str, tls: &str, forwarding: &str, login: bool) -> Subject {
    let text = format!(
        "[listener.i]\nprotocol = \"{protocol}\"\nbind = [\"127.0.0.1:1\"]\ntls = \"plain\"\n\
         allow_plain_auth_without_tls = true\n[destination.d]\nhost = \"h.test\"\n\
         allow_plaintext_auth = true\nforwarding = \"{forwarding}\"\n\
         [destination.d.protocol.{protocol}]\nport = 993\n{tls}\n\
         [routing]\ndefault_destination = \"d\"\nsmtp_passthrough_destination = \"d\"\n"
    );
    let text = match protocol {
        "smtp" => format!("{text}[destination.d.protocol.imap]\nport = 1\ntls = \"plain\"\n")
            .replace("allow_plain_auth_without_tls = true\n", ""),
        _ => text,
    };
    let (config, _) = parse(&text).unwrap_or_else(|faults| panic!("{faults:?}"));
    let password = Secret::from(&b"secret"[..]);
    let login = login.then(|| Arc::new(Login::with_password(b"probe".to_vec(), password)));
    let destination = Arc::clone(&config.destinations[0]);
    let host = Arc::clone(&destination.hosts[0]);
    Subject { destination, host, protocol: config.listeners[0].protocol, login }
}

fn now() -> Instant {
    Instant::from_millis(1000)
}

/// A probe, and what it said.
struct Run {
    probe: Probe,
    out: Outbox,
    inbox: Inbox,
    said: String,
}

impl Run {
    fn new(subject: Subject) -> Self {
        let mut out = Outbox::default();
        let timeout = Duration::from_secs(10);
        let probe = Probe::begin(subject, "mail.example.com", timeout, now(), &mut out);
        Self { probe, out, inbox: Inbox::default(), said: String::new() }
    }

    fn tell(&mut self, event: Event) {
        self.probe.handle(event, now(), &mut self.inbox, &mut self.out);
        self.said.push_str(&String::from_utf8_lossy(&self.out.backend));
        self.out.backend.clear();
    }

    fn answer(&mut self, answer: Answer) {
        let (ticket, _) = self.out.step.take().unwrap();
        self.tell(Event::Answer(ticket, answer));
    }

    fn connect(mut self) -> Self {
        assert!(matches!(self.out.step, Some((_, Step::Connect(_)))));
        let address = ([203, 0, 113, 10], 993).into();
        self.answer(Answer::Connected(BackendFacts { address, local: address, remembered: None }));
        self
    }

    fn secure(mut self) -> Self {
        assert!(matches!(self.out.step, Some((_, Step::StartTls(Leg::Backend, _)))));
        self.answer(Answer::TlsUp(TlsFacts::default()));
        self
    }

    /// The backend says these lines, an octet at a time.
    fn hear(mut self, lines: &[&str]) -> Self {
        for octet in lines.iter().flat_map(|line| format!("{line}\r\n").into_bytes()) {
            self.inbox.backend.push(octet);
            self.tell(Event::Bytes);
        }
        self
    }

    /// What it said, and what it found.
    fn over(self) -> (String, Finding) {
        assert!(matches!(self.out.step, Some((_, Step::Close(_)))), "{:?}", self.probe);
        assert_eq!(self.probe.poll_timeout(), None);
        (self.said, self.probe.result().unwrap().clone())
    }
}

fn list(items: &[&str]) -> Option<Vec<String>> {
    Some(items.iter().map(ToString::to_string).collect())
}

#[test]
fn imap_is_asked_what_it_can_do_and_left() {
    let run = Run::new(subject("imap", IMPLICIT, "none", false)).connect().secure();
    let run = run.hear(&["* OK hello", "* CAPABILITY IMAP4rev1 IDLE", "C OK"]);
    let (said, found) = run.over();
    assert_eq!(said, "C CAPABILITY\r\nQ LOGOUT\r\n");
    assert_eq!(found, Finding { capabilities: list(&["IMAP4rev1", "IDLE"]), fault: None });
    assert_eq!(found.works(), Some(true));
}

#[test]
fn nothing_that_was_said_before_tls_is_learned() {
    let run = Run::new(subject("imap", STARTTLS, "none", false)).connect();
    let run = run.hear(&["* OK [CAPABILITY IMAP4rev1 STARTTLS X-PLAIN] hello", "S OK"]).secure();
    let (said, found) = run.hear(&["* CAPABILITY IMAP4rev1 X-TLS", "C OK"]).over();
    assert_eq!(said, "S STARTTLS\r\nC CAPABILITY\r\nQ LOGOUT\r\n");
    assert_eq!(found.capabilities, list(&["IMAP4rev1", "X-TLS"]));
}

#[test]
fn an_account_is_logged_in() {
    let run = Run::new(subject("imap", PLAIN, "none", true)).connect();
    let run = run.hear(&["* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] hello"]);
    let run = run.hear(&["L OK [CAPABILITY IMAP4rev1 MOVE] in"]);
    let (said, found) = run.over();
    assert!(said.ends_with("L AUTHENTICATE PLAIN AHByb2JlAHNlY3JldA==\r\nQ LOGOUT\r\n"), "{said}");
    assert_eq!(found.capabilities, list(&["IMAP4rev1", "SASL-IR", "AUTH=PLAIN"]));
    assert_eq!(found.works(), Some(true));
}

/// Or a mistyped password would take every host from everybody.
#[test]
fn a_refused_account_takes_no_host_out_of_service() {
    let run = Run::new(subject("imap", PLAIN, "none", true)).connect();
    let run = run.hear(&["* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] hello", "L NO no"]);
    let (_, found) = run.over();
    assert!(matches!(found.fault, Some((Trouble::Refused, _))));
    assert_eq!(found.works(), Some(true));
}

#[test]
fn the_other_protocols_are_asked_in_their_own_words() {
    let run = Run::new(subject("pop3", PLAIN, "none", false)).connect();
    let (said, found) = run.hear(&["+OK hello", "+OK", "TOP", "EXPIRE 30", "."]).over();
    assert_eq!(
        (said.as_str(), found.capabilities),
        ("CAPA\r\nQUIT\r\n", list(&["TOP", "EXPIRE 30"]))
    );

    let run = Run::new(subject("managesieve", PLAIN, "none", false)).connect();
    let run = run.hear(&["\"SASL\" \"PLAIN\"", "\"SIEVE\" \"fileinto body\"", "OK"]);
    let (said, found) = run.over();
    assert_eq!((said.as_str(), found.capabilities), ("LOGOUT\r\n", list(&["fileinto", "body"])));

    let run = Run::new(subject("submission", PLAIN, "none", false)).connect();
    let (said, found) = run.hear(&["220 hello", "250-h", "250-SIZE 7", "250 DSN"]).over();
    assert_eq!(said, "EHLO mail.example.com\r\nQUIT\r\n");
    assert_eq!(found.capabilities, list(&["SIZE 7", "DSN"]));
}

#[test]
fn what_is_carried_need_only_be_there() {
    let (said, found) = Run::new(subject("smtp", PLAIN, "proxy", false)).connect().over();
    assert_eq!(said, "\r\n\r\n\0\r\nQUIT\n \0\0\0", "a header of the proxy's own");
    assert_eq!(found, Finding { capabilities: None, fault: None });
}

#[test]
fn a_host_that_fails_does_not_work() {
    let mut run = Run::new(subject("imap", IMPLICIT, "none", false));
    run.answer(Answer::ConnectFailed(ConnectFault::Refused));
    let (_, found) = run.over();
    assert_eq!(found.works(), Some(false));

    let mut run = Run::new(subject("imap", IMPLICIT, "none", false));
    run.answer(Answer::ConnectFailed(ConnectFault::Exhausted));
    assert_eq!(run.over().1.works(), None, "it is this side that has no descriptor left");

    let mut run = Run::new(subject("imap", PLAIN, "none", false)).connect();
    run.tell(Event::Eof(Leg::Backend));
    assert_eq!(run.over().1.works(), Some(false));

    let run = Run::new(subject("imap", PLAIN, "none", false)).connect().hear(&["* BYE full"]);
    assert_eq!(run.over().1.works(), Some(false));
}

#[test]
fn its_time_has_an_end() {
    let mut run = Run::new(subject("imap", PLAIN, "none", false)).connect();
    let (due, _) = run.probe.poll_timeout().unwrap();
    assert_eq!(due, now() + Duration::from_secs(10));
    run.tell(Event::Timeout);
    assert!(run.out.step.is_none(), "a timeout that comes early says nothing");
    run.probe.handle(Event::Timeout, due, &mut run.inbox, &mut run.out);
    let (_, found) = run.over();
    assert_eq!(found.works(), Some(false));
    assert!(matches!(found.fault, Some((Trouble::Fault(AttemptFault::TimedOut), _))));
}

#[test]
fn an_operators_word_ends_it_without_a_judgement() {
    let mut run = Run::new(subject("imap", PLAIN, "none", false)).connect();
    run.tell(Event::Drain);
    assert!(matches!(run.out.step, Some((_, Step::Close(_)))));
    assert_eq!((run.probe.result(), run.said.as_str()), (None, ""));
}
