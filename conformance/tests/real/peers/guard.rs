//! After a login of Submission for which the backend was told by XCLIENT who the client is, it
//! would take another XCLIENT from the client too: it trusts our address. It takes none.
//!
//! Postfix itself, and Dovecot with Postfix behind it.

use gatepost_conformance::rig::{
    Dovecot, Endpoint, Ports, Postfix, Program, Protocol, Tls, dovecot::LOOPBACK, pop3, require,
    smtp::Client,
};

use crate::real::{
    front::{Front, Route},
    identity::CLIENT,
    peers::{ACCOUNTS, Session, backend_with, line_with},
    stage::PASSWORD,
    submission::arrives,
};

/// The address that a client would rather have, and no one's.
const FORGED: &str = "192.0.2.7";
/// Whose messages go to Postfix itself, and whose through Dovecot.
const TO_POSTFIX: &str = ACCOUNTS[0].user;
const TO_DOVECOT: &str = ACCOUNTS[1].user;

const PROGRAMS: [Program; 6] = [
    Program::Dovecot,
    Program::DovecotPop3,
    Program::DovecotSubmission,
    Program::DovecotLmtp,
    Program::Postfix,
    Program::Gatepost,
];

struct Stage {
    front: Front,
    postfix: Postfix,
    dovecot: Dovecot,
}

impl Stage {
    fn set() -> Option<Self> {
        if !require(&PROGRAMS) {
            return None;
        }
        let ports = Ports::choose().unwrap();
        let protocols = [Protocol::Imap, Protocol::Pop3, Protocol::Submission, Protocol::Lmtp];
        let dovecot = backend_with(&protocols, LOOPBACK, Some(ports.mail));
        let delivery = dovecot.endpoint(Protocol::Lmtp, Tls::Plain).port;
        let postfix = Postfix::start(ports, &dovecot, delivery).unwrap();
        let route = |user: &str, endpoint: Endpoint| Route {
            user: user.to_owned(),
            forwarding: "xclient",
            ..Route::to(&[endpoint])
        };
        let front = Front::start(&[
            route(TO_POSTFIX, postfix.endpoint(Protocol::Submission, Tls::Starttls)),
            route(TO_DOVECOT, dovecot.endpoint(Protocol::Submission, Tls::Starttls)),
        ]);
        Some(Self { front, postfix, dovecot })
    }

    /// A session of a client, past its login.
    fn session(&self, user: &str) -> Client {
        let endpoint = self.front.endpoint_of(Protocol::Submission, Tls::Implicit);
        let Session::Submission(session) = Session::begin(&endpoint, user) else {
            panic!("{endpoint:?} is not for submission");
        };
        session
    }

    /// Postfix knows the client of a session by its own address, and nobody by the forged one.
    fn is_not_believed(&self, session: &Client) {
        let port = session.source_port().unwrap();
        line_with(|| self.postfix.log(), &[&format!("client=unknown[{CLIENT}]:{port},")]);
        for log in [self.postfix.log(), self.dovecot.log()] {
            assert!(!log.contains(FORGED), "{log}");
        }
    }

    /// A message is in the inbox, and its body is as it was sent.
    fn arrived(&self, user: &str, subject: &str, body: &str) {
        let imap = self.dovecot.endpoint(Protocol::Imap, Tls::Plain);
        let number = arrives(&imap, user, "INBOX", subject);
        let endpoint = self.dovecot.endpoint(Protocol::Pop3, Tls::Plain);
        let mut session = pop3::Client::connect(&endpoint).unwrap();
        assert!(session.login(user, PASSWORD).unwrap().starts_with("+OK"));
        assert!(session.command(&format!("RETR {number}")).unwrap().starts_with("+OK"));
        let lines = session.lines().unwrap();
        let head = lines.iter().position(String::is_empty).unwrap();
        let stored: Vec<&str> = lines[head + 1..].iter().map(String::as_str).collect();
        assert_eq!(stored, body.lines().collect::<Vec<_>>(), "{subject}");
        assert!(session.command("QUIT").unwrap().starts_with("+OK"));
    }
}

/// What a client would say to be somebody else, or to begin anew where nothing would hold any more.
/// Servers are not strict about where a verb begins and ends.
fn claims() -> [String; 6] {
    [
        format!("XCLIENT ADDR={FORGED}"),
        format!("xclient NAME=forged.test ADDR={FORGED} PORT=77"),
        format!("XFORWARD ADDR={FORGED}"),
        "STARTTLS".to_owned(),
        format!("XCLIENT\tADDR={FORGED}"),
        format!(" XCLIENT ADDR={FORGED}"),
    ]
}

fn xclient() -> String {
    let [xclient, ..] = claims();
    xclient
}

/// One at a time.
pub(crate) fn a_typed_xclient_is_refused() {
    let Some(stage) = Stage::set() else { return };
    for user in [TO_POSTFIX, TO_DOVECOT] {
        let mut session = stage.session(user);
        for claim in claims() {
            let reply = session.command(&claim).unwrap();
            assert!(reply.code.starts_with('5'), "{user}, {claim}: {reply:?}");
        }
        begin(&mut session, user);
        stage.is_not_believed(&session);
    }
}

/// Among others that were sent with it, each of which gets its own answer.
pub(crate) fn replies_stay_in_order_around_a_refused_xclient() {
    let Some(stage) = Stage::set() else { return };
    for user in [TO_POSTFIX, TO_DOVECOT] {
        let mut session = stage.session(user);
        let (xclient, mail) = (xclient(), format!("MAIL FROM:<{user}>"));
        // Without a recipient there is no 354, and what follows is commands and not data.
        let commands = ["NOOP", &xclient, &mail, "DATA", &xclient, "RSET", "NOOP"];
        assert_eq!(kinds(&mut session, &commands), "2525522", "{user}");
        let recipient = format!("RCPT TO:<{user}>");
        assert_eq!(kinds(&mut session, &[&mail, &xclient, &recipient, "DATA"]), "2523", "{user}");
        // A line of the message, the end of it, and commands right behind.
        let commands = [&format!("\r\n{xclient}\r\n."), xclient.as_str(), "NOOP"];
        assert_eq!(kinds(&mut session, &commands), "252", "{user}");
        stage.is_not_believed(&session);
    }
}

/// Servers take a bare LF for the end of a line, and for that of a message too; one of them takes
/// it with any number of CRs.
pub(crate) fn a_bare_line_feed_hides_no_xclient() {
    let Some(stage) = Stage::set() else { return };
    for user in [TO_POSTFIX, TO_DOVECOT] {
        let mut session = stage.session(user);
        session.write(format!("NOOP\n{}\nNOOP\r\n", xclient()).as_bytes()).unwrap();
        let kinds: Vec<String> = (0..3).map(|_| session.reply().unwrap().code).collect();
        assert_eq!(kinds[0], "250", "{user}: {kinds:?}");
        assert!(kinds[1].starts_with('5'), "{user}: {kinds:?}");
        assert_eq!(kinds[2], "250", "{user}: {kinds:?}");
        for end in ["\n.\n", "\n.\r\n", "\r\n.\n", "\r\n.\r\r\n"] {
            let mut session = stage.session(user);
            begin(&mut session, user);
            assert_eq!(session.command("DATA").unwrap().code, "354");
            let text = format!("Subject: lf\r\n\r\ntext{end}{}\r\n", xclient());
            session.write(text.as_bytes()).unwrap();
            // Whatever ended the message for the server, this ends it for everybody.
            session.write(format!(".\r\nMAIL FROM:<{user}>\r\n").as_bytes()).unwrap();
            assert_eq!(session.reply().unwrap().code, "250", "{user}, {end:?}");
            session.write(format!("RCPT TO:<{user}>\r\nQUIT\r\n").as_bytes()).unwrap();
            while session.reply().is_ok_and(|reply| reply.code != "221") {}
            stage.is_not_believed(&session);
        }
    }
}

/// By DATA and by BDAT, whose chunks are counted and not read.
pub(crate) fn a_message_that_says_xclient_arrives_unchanged() {
    let Some(stage) = Stage::set() else { return };
    for user in [TO_POSTFIX, TO_DOVECOT] {
        for verb in ["DATA", "BDAT"] {
            let mut session = stage.session(user);
            let subject = format!("{verb}-of-{user}").replace(['@', '.'], "-");
            let body = format!("{}\r\n.\r\n.{}\r\n", claims().join("\r\n"), xclient());
            begin(&mut session, user);
            send(&mut session, verb, &format!("Subject: {subject}\r\n\r\n{body}"));
            // And the connection is at a command again.
            assert_eq!(kinds(&mut session, &[&xclient(), "NOOP"]), "52", "{user}, {verb}");
            stage.arrived(user, &subject, &body);
            stage.is_not_believed(&session);
        }
    }
}

/// Begins a message to oneself.
fn begin(session: &mut Client, user: &str) {
    for command in [format!("MAIL FROM:<{user}>"), format!("RCPT TO:<{user}>")] {
        let reply = session.command(&command).unwrap();
        assert_eq!(reply.code, "250", "{command}: {reply:?}");
    }
}

/// Sends a message with one of the two verbs.
fn send(session: &mut Client, verb: &str, message: &str) {
    let is_bdat = verb == "BDAT";
    let reply = if is_bdat {
        // Two chunks, the first of which ends in the middle of a verb. Behind it comes no line end.
        let (first, second) = message.split_at(message.find("CLIENT").unwrap());
        session.write(format!("BDAT {}\r\n{first}", first.len()).as_bytes()).unwrap();
        assert_eq!(session.reply().unwrap().code, "250");
        session.write(format!("BDAT {} LAST\r\n{second}", second.len()).as_bytes()).unwrap();
        session.reply().unwrap()
    } else {
        assert_eq!(session.command("DATA").unwrap().code, "354");
        session.command(&format!("{}.", message.replace("\r\n.", "\r\n.."))).unwrap()
    };
    assert_eq!(reply.code, "250", "{verb}: {reply:?}");
}

/// Sends commands in one write, and answers the first digits of their replies.
fn kinds(session: &mut Client, commands: &[&str]) -> String {
    session.write((commands.join("\r\n") + "\r\n").as_bytes()).unwrap();
    commands.iter().map(|_| session.reply().unwrap().code.remove(0)).collect()
}
