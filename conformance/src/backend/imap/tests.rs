//! Each command over a loopback socket: in plain text, after STARTTLS, inside TLS from the start.
#![allow(clippy::unwrap_used)]

use std::io::Read;
use std::net::TcpStream;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::super::login::MISTAKES;
use super::super::test_client::{Client, connected, inside_tls, torment};
use super::super::tls::SelfSigned;
use super::super::{Account, Backend, BackendTls, Settings};

const MESSAGE: &[u8] = b"From: Kim <kim@example.org>\r\nTo: alice@example.com\r\n\
    Subject: Lunch\r\nDate: Thu, 1 Feb 2024 10:52:37 +0200\r\n\r\nAt noon?\r\nKim\r\n";

impl Client {
    fn greeted(backend: &Backend) -> Self {
        let mut client = Self::new(connected(backend.address()));
        assert!(client.line().starts_with("* OK [CAPABILITY IMAP4rev1 "));
        client
    }

    fn logged_in(backend: &Backend) -> Self {
        let mut client = Self::greeted(backend);
        client.ok("LOGIN alice@example.com secret");
        client
    }

    fn selected(backend: &Backend) -> Self {
        let mut client = Self::logged_in(backend);
        client.ok("SELECT INBOX");
        client
    }

    /// Everything up to and with the tagged reply.
    fn command(&mut self, command: &str) -> String {
        self.send(format!("t {command}\r\n").as_bytes());
        self.reply()
    }

    fn reply(&mut self) -> String {
        self.until(|line| line.starts_with("t "))
    }

    fn ok(&mut self, command: &str) -> String {
        let reply = self.command(command);
        assert!(reply.lines().last().unwrap().starts_with("t OK"), "{command}: {reply}");
        reply
    }

    /// Fails unless the tagged reply begins like this.
    fn refused(&mut self, command: &str, begins: &str) {
        let reply = self.command(command);
        assert!(reply.lines().last().unwrap().starts_with(begins), "{command}: {reply}");
    }

    fn append(&mut self, mailbox: &str, message: &[u8]) -> String {
        self.send(format!("t APPEND {mailbox} (\\Flagged) {{{}+}}\r\n", message.len()).as_bytes());
        self.send(message);
        self.send(b"\r\n");
        self.reply()
    }
}

fn started(tls: BackendTls) -> Backend {
    let accounts = vec![Account::new("alice@example.com", "secret"), Account::new("q\"\\", "x y")];
    Backend::start(Settings { tls, accounts, ..Settings::default() }).unwrap()
}

fn plain() -> Backend {
    started(BackendTls::Plain)
}

fn with_messages(count: usize) -> Backend {
    let backend = plain();
    for _ in 0..count {
        backend.deliver("alice@example.com", "INBOX", MESSAGE).unwrap();
    }
    backend
}

#[test]
fn the_first_words_in_plain_text() {
    let backend = plain();
    let mut client = Client::greeted(&backend);
    let reply = client.ok("CAPABILITY");
    assert!(
        reply.contains("SASL-IR") && reply.contains("AUTH=PLAIN AUTH=OAUTHBEARER AUTH=XOAUTH2")
    );
    assert!(!reply.contains("STARTTLS") && !reply.contains("LOGINDISABLED"));
    client.ok("noop");
    client.refused("STARTTLS", "t BAD");
    client.refused("SELECT INBOX", "t BAD");
    client.refused("IDLE", "t BAD");
    client.refused("NOOP x", "t BAD");
    assert!(client.ok("LOGOUT").starts_with("* BYE"));
    assert!(client.ended());
}

#[test]
fn starttls_comes_before_a_login() {
    let certificate = SelfSigned::new(&["localhost", "127.0.0.1"]).unwrap();
    let backend = started(BackendTls::StartTls(certificate.server_config().unwrap()));
    let stream = connected(backend.address());
    let mut client = Client::new(stream.try_clone().unwrap());
    assert!(client.line().contains("STARTTLS LOGINDISABLED]"));
    client.refused("LOGIN alice@example.com secret", "t NO [PRIVACYREQUIRED]");
    client.refused("AUTHENTICATE PLAIN", "t NO [PRIVACYREQUIRED]");
    client.ok("STARTTLS");
    let mut client = inside_tls(stream, &certificate);
    assert!(!client.ok("CAPABILITY").contains("STARTTLS"));
    client.refused("STARTTLS", "t BAD");
    client.ok("LOGIN alice@example.com secret");
    let record = backend.sessions().remove(0);
    assert!(record.encrypted && record.login.is_some());
}

#[test]
fn plaintext_behind_starttls_ends_the_session() {
    let certificate = SelfSigned::new(&["localhost"]).unwrap();
    let backend = started(BackendTls::StartTls(certificate.server_config().unwrap()));
    let mut client = Client::greeted(&backend);
    client.send(b"t STARTTLS\r\nu NOOP\r\n");
    assert!(client.line().starts_with("t OK"));
    assert_eq!(client.line(), "");
}

#[test]
fn tls_from_the_first_byte() {
    let certificate = SelfSigned::new(&["localhost"]).unwrap();
    let backend = started(BackendTls::Implicit(certificate.server_config().unwrap()));
    let mut client = inside_tls(connected(backend.address()), &certificate);
    assert!(client.line().contains("AUTH=PLAIN"));
    client.ok("LOGIN alice@example.com secret");
    let big = [MESSAGE, &b"x".repeat(3 << 20)].concat();
    assert!(client.append("INBOX", &big).contains("t OK [APPENDUID "));
    client.ok("SELECT INBOX");
    client.send(b"t FETCH 1 BODY.PEEK[]\r\n");
    assert_eq!(client.line(), format!("* 1 FETCH (BODY[] {{{}}}", big.len()));
    let mut fetched = vec![0; big.len()];
    client.0.read_exact(&mut fetched).unwrap();
    assert!(fetched == big);
    assert!(client.reply().starts_with(")\nt OK"));
}

#[test]
fn login_takes_every_form_of_string() {
    let backend = plain();
    Client::logged_in(&backend);
    Client::greeted(&backend).ok("LOGIN \"q\\\"\\\\\" \"x y\"");
    Client::greeted(&backend).ok("LOGIN {3+}\r\nq\"\\ {3+}\r\nx y");
    let mut client = Client::greeted(&backend);
    client.send(b"t LOGIN {3}\r\n");
    assert!(client.line().starts_with("+ "));
    client.send(b"q\"\\ {3}\r\n");
    assert!(client.line().starts_with("+ "));
    client.send(b"x y\r\n");
    assert!(client.line().starts_with("t OK [CAPABILITY IMAP4rev1 "));
    client.refused("LOGIN a b", "t BAD");
    client.refused("LOGIN", "t BAD");
}

#[test]
fn wrong_credentials_are_refused_and_counted() {
    let backend = plain();
    let mut client = Client::greeted(&backend);
    client.refused("LOGIN alice@example.com wrong", "t NO [AUTHENTICATIONFAILED]");
    client.refused("LOGIN nobody secret", "t NO [AUTHENTICATIONFAILED]");
    client.ok("LOGIN alice@example.com secret");
    let record = backend.sessions().remove(0);
    assert_eq!(record.refused, 2);
    assert_eq!(record.login, Some(("alice@example.com".into(), "LOGIN".into())));
}

#[test]
fn plain_with_and_without_an_initial_response() {
    let backend = plain();
    let right = BASE64.encode(b"\0alice@example.com\0secret");
    Client::greeted(&backend).ok(&format!("AUTHENTICATE PLAIN {right}"));
    let mut client = Client::greeted(&backend);
    for (answer, begins) in [
        ("*", "t BAD"),
        ("=", "t BAD"),
        ("bm8=", "t BAD"),
        (&BASE64.encode(b"\0alice@example.com\0no"), "t NO [AUTHENTICATIONFAILED]"),
        (&right, "t OK [CAPABILITY "),
    ] {
        client.send(b"t authenticate plain\r\n");
        assert_eq!(client.line(), "+");
        client.send(format!("{answer}\r\n").as_bytes());
        let reply = client.line();
        assert!(reply.starts_with(begins), "{answer}: {reply}");
    }
    Client::greeted(&backend).refused("AUTHENTICATE CRAM-MD5", "t NO");
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
        let mut client = Client::greeted(&backend);
        client.send(format!("t AUTHENTICATE {mechanism} {wrong}\r\n").as_bytes());
        let challenge = client.line();
        let json = BASE64.decode(challenge.strip_prefix("+ ").unwrap()).unwrap();
        assert!(json.starts_with(b"{\"status\":\""));
        client.send(b"AQ==\r\n");
        assert!(client.line().starts_with("t NO [AUTHENTICATIONFAILED]"));
        client.ok(&format!("AUTHENTICATE {mechanism} {right}"));
        let login = backend.sessions().pop().unwrap().login.unwrap();
        assert_eq!(login.1, mechanism);
    }
}

#[test]
fn an_identity_is_answered_and_recorded() {
    let backend = plain();
    let mut client = Client::greeted(&backend);
    let reply = client.ok("ID (\"x-originating-ip\" \"192.0.2.7\" \"name\" NIL)");
    assert!(reply.starts_with("* ID (\"name\" \"Gatepost trial backend\" "));
    client.ok("ID NIL");
    client.refused("ID (\"a\")", "t BAD");
    client.refused(&format!("ID ({})", ["\"a\" NIL"; 65].join(" ")), "t BAD");
    let record = backend.sessions().remove(0);
    let expected = [("x-originating-ip", Some("192.0.2.7")), ("name", None)];
    assert_eq!(record.identity, expected.map(|(k, v)| (k.to_owned(), v.map(str::to_owned))));
}

#[test]
fn mailboxes_are_listed_made_and_removed() {
    let backend = plain();
    let mut client = Client::logged_in(&backend);
    assert_eq!(client.ok("ENABLE CONDSTORE"), "* ENABLED\nt OK ENABLE completed\n");
    assert!(client.ok("NAMESPACE").starts_with("* NAMESPACE ((\"\" \"/\")) NIL NIL"));
    assert!(client.ok("LIST \"\" \"\"").starts_with("* LIST (\\Noselect) \"/\" \"\""));
    client.ok("CREATE Work/Plans");
    client.ok("CREATE Work");
    client.refused("CREATE inbox", "t NO [ALREADYEXISTS]");
    client.refused("DELETE INBOX", "t NO");
    client.refused("DELETE Nothing", "t NO [NONEXISTENT]");
    let top = client.ok("LIST \"\" %");
    assert_eq!(
        top,
        "* LIST (\\HasNoChildren) \"/\" \"INBOX\"\n* LIST (\\HasChildren) \"/\" \"Work\"\n\
         t OK LIST completed\n"
    );
    assert!(client.ok("LIST Work/ *").contains("\"Work/Plans\""));
    client.ok("SUBSCRIBE Work");
    assert!(client.ok("LSUB \"\" *").contains("\"Work\""));
    client.ok("UNSUBSCRIBE Work");
    assert!(!client.ok("LSUB \"\" *").contains("\"Work\""));
    client.ok("RENAME Work Play");
    client.ok("DELETE Play/Plans");
    assert!(!client.ok("LIST \"\" *").contains("Work"));
    assert!(client.append("Play", MESSAGE).contains("t OK"));
    let status = client.ok("STATUS Play (MESSAGES UIDNEXT UNSEEN RECENT SIZE)");
    let size = MESSAGE.len();
    let expected = format!("(MESSAGES 1 UIDNEXT 2 UNSEEN 1 RECENT 0 SIZE {size})");
    assert!(status.starts_with(&format!("* STATUS \"Play\" {expected}")), "{status}");
    client.refused("STATUS Play (NOSUCH)", "t BAD");
    client.refused("STATUS Nothing (MESSAGES)", "t NO");
}

#[test]
fn a_mailbox_is_selected_and_left() {
    let backend = with_messages(2);
    let mut client = Client::logged_in(&backend);
    let reply = client.ok("SELECT inbox");
    for part in [
        "* 2 EXISTS",
        "* 0 RECENT",
        "[UNSEEN 1]",
        "[UIDNEXT 3]",
        "[UIDVALIDITY ",
        "* FLAGS (",
        "[PERMANENTFLAGS (",
        "t OK [READ-WRITE]",
    ] {
        assert!(reply.contains(part), "{part}: {reply}");
    }
    client.ok("CHECK");
    client.ok("STORE 1 FLAGS.SILENT (\\Deleted)");
    client.ok("UNSELECT");
    client.refused("FETCH 1 FLAGS", "t BAD");
    assert!(client.ok("EXAMINE INBOX").contains("t OK [READ-ONLY]"));
    client.refused("STORE 1 FLAGS (\\Seen)", "t NO");
    client.refused("EXPUNGE", "t NO");
    client.ok("FETCH 1 BODY[]");
    client.ok("CLOSE");
    assert_eq!(backend.messages("alice@example.com", "INBOX").len(), 2);
    client.refused("SELECT Nothing", "t NO");
    client.ok("SELECT INBOX");
    client.ok("CLOSE");
    assert_eq!(backend.messages("alice@example.com", "INBOX").len(), 1);
    client.ok("SELECT INBOX");
    client.refused("SELECT Nothing", "t NO");
    client.refused("CHECK", "t BAD");
}

#[test]
fn messages_are_fetched_in_whole_and_in_part() {
    let backend = with_messages(2);
    let mut client = Client::selected(&backend);
    let size = MESSAGE.len();
    assert_eq!(
        client.ok("FETCH 1:* (UID FLAGS RFC822.SIZE)"),
        format!(
            "* 1 FETCH (UID 1 FLAGS () RFC822.SIZE {size})\n\
             * 2 FETCH (UID 2 FLAGS () RFC822.SIZE {size})\nt OK FETCH completed\n"
        )
    );
    assert!(
        client.ok("FETCH 1 ENVELOPE").contains("\"Lunch\" ((\"Kim\" NIL \"kim\" \"example.org\"))")
    );
    assert!(client.ok("FETCH 1 BODYSTRUCTURE").contains(
        "BODYSTRUCTURE (\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \
         \"7bit\" 15 2 NIL NIL NIL NIL)"
    ));
    assert!(client.ok("FETCH 1 BODY").contains("BODY (\"text\" \"plain\""));
    assert!(client.ok("FETCH 1 INTERNALDATE").contains("INTERNALDATE \""));
    assert_eq!(
        client.ok("FETCH 1 BODY.PEEK[HEADER.FIELDS (subject)]"),
        "* 1 FETCH (BODY[HEADER.FIELDS (\"subject\")] {18}\nSubject: Lunch\n\n)\n\
         t OK FETCH completed\n"
    );
    assert_eq!(
        client.ok("FETCH 1 BODY.PEEK[TEXT]<3.4>"),
        "* 1 FETCH (BODY[TEXT]<3> {4}\nnoon)\nt OK FETCH completed\n"
    );
    assert!(client.ok("FETCH 1 BODY.PEEK[2]").contains("BODY[2] NIL"));
    assert!(client.ok("FETCH 2 RFC822.HEADER").contains("Subject: Lunch\n"));
    assert!(client.ok("UID FETCH 2 FLAGS").contains("* 2 FETCH (UID 2 FLAGS ())"));
    let whole = client.ok("UID FETCH 2 BODY[]");
    assert!(
        whole.starts_with(&format!("* 2 FETCH (UID 2 BODY[] {{{size}}}\nFrom: Kim")),
        "{whole}"
    );
    assert!(whole.contains(" FLAGS (\\Seen))"), "{whole}");
    assert_eq!(client.ok("FETCH 7 FLAGS"), "t OK FETCH completed\n");
    client.refused("FETCH 0 FLAGS", "t BAD");
    client.refused("FETCH 1 (FLAGS", "t BAD");
}

#[test]
fn flags_are_stored_and_searched() {
    let backend = with_messages(3);
    let mut client = Client::selected(&backend);
    let stored = client.ok("STORE 1:2 +FLAGS (\\seen $Label1)");
    assert!(stored.contains("* 2 FETCH (FLAGS ($Label1 \\Seen))"));
    assert!(client.ok("UID STORE 2 -FLAGS \\Seen").contains("* 2 FETCH (UID 2 FLAGS ($Label1))"));
    assert_eq!(client.ok("STORE 3 FLAGS.SILENT (\\Deleted)"), "t OK STORE completed\n");
    for (keys, found) in [
        ("ALL", " 1 2 3"),
        ("SEEN", " 1"),
        ("UNSEEN UNDELETED", " 2"),
        ("KEYWORD $label1", " 1 2"),
        ("OR SEEN DELETED", " 1 3"),
        ("NOT (1:2)", " 3"),
        ("UID 2:*", " 2 3"),
        ("FROM kim SUBJECT \"lUNCH\" TEXT noon", " 1 2 3"),
        ("BODY Subject", ""),
        ("HEADER to alice", " 1 2 3"),
        ("SENTON 1-Feb-2024", " 1 2 3"),
        ("SENTBEFORE 1-Feb-2024", ""),
        ("LARGER 10 SMALLER 100000 SINCE 1-Feb-2024", " 1 2 3"),
        ("NEW", ""),
    ] {
        let reply = client.ok(&format!("SEARCH {keys}"));
        assert_eq!(reply, format!("* SEARCH{found}\nt OK SEARCH completed\n"), "{keys}");
    }
    client.refused("SEARCH NOSUCH", "t BAD");
    client.refused("SEARCH CHARSET KOI8-R ALL", "t NO [BADCHARSET");
    client.refused("STORE 1 FLAG (\\Seen)", "t BAD");
}

#[test]
fn messages_are_appended_with_flags_and_date() {
    let backend = plain();
    let mut client = Client::selected(&backend);
    let reply = client.append("INBOX", MESSAGE);
    assert!(reply.starts_with("* 1 EXISTS\nt OK [APPENDUID "), "{reply}");
    client.send(format!("t APPEND INBOX \" 5-Mar-2021 01:02:03 -0130\" {{{}}}\r\n", 4).as_bytes());
    assert!(client.line().starts_with("+ "));
    client.send(b"A: b\r\n");
    client.until(|line| line.starts_with("t OK [APPENDUID "));
    let fetched = client.ok("FETCH 1:2 (FLAGS INTERNALDATE)");
    assert!(fetched.contains("* 1 FETCH (FLAGS (\\Flagged)"), "{fetched}");
    assert!(fetched.contains("INTERNALDATE \"05-Mar-2021 01:02:03 -0130\""), "{fetched}");
    assert_eq!(backend.messages("alice@example.com", "INBOX"), [MESSAGE, b"A: b"]);
    assert_eq!(backend.octets(), MESSAGE.len() + 4);
    assert!(client.append("Nothing", MESSAGE).contains("t NO [TRYCREATE]"));
    client.refused("APPEND INBOX \"yesterday\" {1+}\r\nx", "t BAD");
    client.refused("APPEND INBOX {67108865}", "t NO [TOOBIG]");
    client.ok("NOOP");
}

#[test]
fn appended_messages_can_be_forgotten() {
    let accounts = vec![Account::new("alice@example.com", "secret")];
    let settings = Settings { accounts, discard_appended: true, ..Settings::default() };
    let backend = Backend::start(settings).unwrap();
    let mut client = Client::logged_in(&backend);
    assert!(client.append("INBOX", MESSAGE).contains("t OK"));
    assert_eq!(backend.octets(), 0);
}

#[test]
fn messages_are_copied_moved_and_expunged() {
    let backend = with_messages(4);
    let mut client = Client::selected(&backend);
    client.refused("COPY 1 Archive", "t NO [TRYCREATE]");
    client.ok("CREATE Archive");
    let reply = client.ok("COPY 1,3:4 Archive");
    assert!(reply.contains(" 1,3:4 1:3] COPY completed"), "{reply}");
    let reply = client.ok("UID MOVE 2 Archive");
    assert!(reply.contains(" 2 4] Moved\n* 2 EXPUNGE\nt OK"), "{reply}");
    client.ok("STORE 1:3 +FLAGS.SILENT (\\Deleted)");
    assert_eq!(client.ok("UID EXPUNGE 3"), "* 2 EXPUNGE\nt OK EXPUNGE completed\n");
    assert_eq!(client.ok("EXPUNGE"), "* 1 EXPUNGE\n* 1 EXPUNGE\nt OK EXPUNGE completed\n");
    assert_eq!(backend.messages("alice@example.com", "Archive").len(), 4);
    assert_eq!(client.ok("COPY 1 Archive"), "t OK Nothing to do\n");
}

#[test]
fn numbers_do_not_shift_under_a_session() {
    let backend = with_messages(3);
    let mut one = Client::selected(&backend);
    let mut other = Client::selected(&backend);
    other.ok("STORE 3 FLAGS.SILENT (\\Flagged)");
    other.ok("STORE 1 FLAGS.SILENT (\\Deleted)");
    other.ok("EXPUNGE");
    let fetched = one.ok("FETCH 1:3 UID");
    assert!(fetched.starts_with("* 2 FETCH (UID 2)\n* 3 FETCH (UID 3)\n"), "{fetched}");
    assert!(fetched.contains("* 3 FETCH (UID 3 FLAGS (\\Flagged))"), "{fetched}");
    assert_eq!(one.ok("NOOP"), "* 1 EXPUNGE\nt OK NOOP completed\n");
    assert_eq!(one.ok("NOOP"), "t OK NOOP completed\n");
}

#[test]
fn idle_tells_what_others_do() {
    let backend = with_messages(1);
    let mut one = Client::selected(&backend);
    one.send(b"t IDLE\r\n");
    assert!(one.line().starts_with("+ "));
    let mut other = Client::selected(&backend);
    other.append("INBOX", MESSAGE);
    assert_eq!(one.line(), "* 2 EXISTS");
    backend.deliver("alice@example.com", "INBOX", MESSAGE).unwrap();
    assert_eq!(one.line(), "* 3 EXISTS");
    other.ok("STORE 1 +FLAGS (\\Deleted)");
    assert_eq!(one.line(), "* 1 FETCH (UID 1 FLAGS (\\Deleted))");
    other.ok("EXPUNGE");
    assert_eq!(one.line(), "* 1 EXPUNGE");
    one.send(b"done\r\n");
    assert_eq!(one.line(), "t OK IDLE completed");
    one.send(b"t IDLE\r\nNOOP\r\n");
    assert!(one.line().starts_with("+ "));
    assert!(one.line().starts_with("t BAD"));
}

#[test]
fn pipelined_commands_are_answered_in_order() {
    let backend = with_messages(1);
    let mut client = Client::greeted(&backend);
    client.send(
        b"a LOGIN alice@example.com secret\r\nb SELECT INBOX\r\nc FETCH 1 UID\r\nd LOGOUT\r\n",
    );
    client.until(|line| line.starts_with("a OK"));
    client.until(|line| line.starts_with("b OK"));
    client.until(|line| line.starts_with("c OK"));
    client.until(|line| line.starts_with("d OK"));
    assert!(client.ended());
}

#[test]
fn mistakes_end_a_session_but_not_at_once() {
    let backend = plain();
    let mut client = Client::greeted(&backend);
    for _ in 1..MISTAKES {
        client.send(b"\r\n");
        assert_eq!(client.line(), "* BAD Invalid tag");
    }
    client.ok("NOOP");
    client.send(b"\r\n");
    client.line();
    assert!(client.line().starts_with("* BYE"));
    assert!(client.ended());
}

#[test]
fn a_line_or_literal_past_its_limit_ends_the_session() {
    let backend = plain();
    for input in
        [vec![b'x'; super::command::COMMAND_OCTETS + 1], b"t LOGIN {99999999+}\r\n".to_vec()]
    {
        let mut client = Client::greeted(&backend);
        client.send(&input);
        assert!(client.line().starts_with("* BYE"));
        assert!(client.ended());
    }
}

/// Commands with single octets changed, in and out of a login: every session ends in an orderly way
/// and the backend lives.
#[test]
fn nothing_that_is_sent_harms_the_backend() {
    let backend = with_messages(2);
    let script: &[u8] = b"a LOGIN alice@example.com {6+}\r\nsecret\r\nb SELECT \"INBOX\"\r\n\
        c FETCH 1:* (ENVELOPE BODY[HEADER.FIELDS (To)]<1.9> BODYSTRUCTURE)\r\n\
        d SEARCH OR (NOT SEEN 1) SINCE 1-Feb-2024\r\ne STORE 1,2 +FLAGS (\\Seen x)\r\n\
        f APPEND INBOX (x) \"01-Feb-2024 00:00:00 +0000\" {3+}\r\nA:b\r\ng LIST \"\" %*\r\n\
        h STATUS INBOX (MESSAGES)\r\ni UID COPY 1,2 INBOX\r\nj ID (\"a\" NIL)\r\nk LOGOUT\r\n";
    torment(&backend, script, b"* OK ");
    Client::logged_in(&backend).ok("NOOP");
}

#[test]
fn dropping_a_backend_ends_its_sessions() {
    let backend = plain();
    let mut client = Client::selected(&backend);
    let address = backend.address();
    drop(backend);
    assert!(client.ended());
    assert!(TcpStream::connect(address).is_err());
}
