//! Submission to Dovecot, which relays to Postfix, and to Postfix itself; the message comes back
//! by LMTP, IMAP and POP3: smtplib, swaks, and the sessions that they do not show.
//!
//! On the proxied path Postfix delivers through the proxy too.

use std::{net::Ipv4Addr, thread, time::Duration};

use gatepost_conformance::rig::{
    Endpoint, Program, Protocol, Tls, imap, pop3,
    smtp::{Client, Reply},
};

use crate::real::{
    clients::{bounded, output, python},
    identity::CLIENT,
    sessions, sieve,
    stage::{PASSWORD, Path, Stage, account, forwarded_account, posting_account},
};

/// The servers of every check here.
const SERVERS: [Program; 4] =
    [Program::DovecotSubmission, Program::DovecotLmtp, Program::DovecotPop3, Program::Postfix];
/// Text whose dots need care on the way, as it is stored.
pub(crate) const BODY: &str = "One line.\r\n.\r\n..two\r\nA last line.\r\n";
/// How often to look whether a message has arrived, and the pause between.
const LOOKS: u32 = 600;
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Sets the stage for mail to be submitted and delivered.
pub(crate) fn stage(path: Path, needed: &[Program]) -> Option<Stage> {
    Stage::set(path, &[&SERVERS, needed].concat())
}

/// Which server takes the message.
#[derive(Clone, Copy, Debug)]
enum Server {
    Dovecot,
    Postfix,
}

impl Server {
    const BOTH: [Self; 2] = [Self::Dovecot, Self::Postfix];

    fn account(self, backend: Tls) -> String {
        match self {
            Self::Dovecot => account(backend),
            Self::Postfix => posting_account(backend),
        }
    }

    fn endpoint(self, stage: &Stage, client: Tls) -> Endpoint {
        match self {
            Self::Dovecot => stage.endpoint_of(Protocol::Submission, client),
            Self::Postfix => stage.posting_endpoint(client),
        }
    }
}

pub(crate) fn smtplib_submits_and_the_message_is_read_back(path: Path) {
    let Some(stage) = stage(path, &[Program::Python]) else { return };
    for server in Server::BOTH {
        for (client, backend) in path.combinations() {
            let user = server.account(backend);
            let subject = format!("smtplib-{server:?}-{client}-{backend}");
            let endpoint = server.endpoint(&stage, client);
            let recipient = account(backend);
            let message = [recipient.as_str(), &subject, BODY];
            python("submit.py", &endpoint, &[&[&user, PASSWORD][..], &message].concat());
            is_read_back(&stage, &recipient, client, &subject);
        }
    }
}

pub(crate) fn swaks_submits_and_the_message_is_read_back(path: Path) {
    let Some(stage) = stage(path, &[Program::Swaks]) else { return };
    for server in Server::BOTH {
        for (client, backend) in path.combinations() {
            let user = server.account(backend);
            let subject = format!("swaks-{server:?}-{client}-{backend}");
            let mut swaks = swaks(&server.endpoint(&stage, client), &account(backend), &subject);
            swaks.args(["--auth", "PLAIN", "--auth-user", &user, "--auth-password", PASSWORD]);
            let dialogue = output(&mut swaks);
            assert!(dialogue.contains("235 2.7.0 "), "{dialogue}");
            is_read_back(&stage, &account(backend), client, &subject);
        }
    }
}

/// swaks with what every protocol needs.
pub(crate) fn swaks(endpoint: &Endpoint, recipient: &str, subject: &str) -> std::process::Command {
    let mut command = bounded("swaks");
    command.args(["--server", "127.0.0.1", "--port", &endpoint.port.to_string()]);
    command.args(["--from", "carol@example.test", "--to", recipient, "--helo", "client.test"]);
    command.args([
        "--header",
        &format!("Subject: {subject}"),
        "--body",
        &BODY.replace("\r\n", "\n"),
    ]);
    match endpoint.tls {
        Tls::Plain => return command,
        Tls::Starttls => command.arg("--tls"),
        Tls::Implicit => command.arg("--tls-on-connect"),
    };
    command.args(["--tls-verify", "--tls-ca-path"]).arg(&endpoint.authority);
    command
}

/// Waits until a message is in the inbox, and reads it over IMAP and POP3.
pub(crate) fn is_read_back(stage: &Stage, user: &str, tls: Tls, subject: &str) {
    let number = arrives(&stage.endpoint(tls), user, "INBOX", subject);
    let mut session = sessions::logged_in(&stage.endpoint(tls), user);
    assert!(session.command("SELECT INBOX").unwrap().is_ok());
    let text = session.command(&format!("FETCH {number} BODY.PEEK[TEXT]")).unwrap();
    contains_body(&text.untagged);
    assert!(session.command("LOGOUT").unwrap().is_ok());

    let mut session = pop3::Client::connect(&stage.endpoint_of(Protocol::Pop3, tls)).unwrap();
    assert!(session.login(user, PASSWORD).unwrap().starts_with("+OK"));
    assert!(session.command(&format!("RETR {number}")).unwrap().starts_with("+OK"));
    let lines = session.lines().unwrap();
    assert!(lines.contains(&format!("Subject: {subject}")), "{lines:?}");
    contains_body(&lines);
    assert!(session.command("QUIT").unwrap().starts_with("+OK"));
}

fn contains_body(lines: &[String]) {
    let body: Vec<&str> = BODY.lines().collect();
    let is_there = lines.windows(body.len()).any(|part| part == body);
    assert!(is_there, "{lines:?}");
}

/// The number of the message in a mailbox, once it is there.
pub(crate) fn arrives(endpoint: &Endpoint, user: &str, mailbox: &str, subject: &str) -> u32 {
    let mut session: imap::Client = sessions::logged_in(endpoint, user);
    for _ in 0..LOOKS {
        // The mailbox may not exist before its first message.
        if session.command(&format!("SELECT {mailbox}")).unwrap().is_ok() {
            let search = session.command(&format!("SEARCH SUBJECT {subject}")).unwrap();
            let found = search.untagged.iter().find_map(|line| line.strip_prefix("* SEARCH "));
            if let Some(number) = found {
                return number.parse().unwrap();
            }
        }
        thread::sleep(LOOK_INTERVAL);
    }
    panic!("{subject} did not arrive in {mailbox} of {user}");
}

pub(crate) fn a_wrong_password_is_refused_and_the_right_one_then_accepted(path: Path) {
    let Some(stage) = stage(path, &[]) else { return };
    for server in Server::BOTH {
        for (client, backend) in path.combinations() {
            let user = server.account(backend);
            let mut session = Client::connect(&server.endpoint(&stage, client)).unwrap();
            for _ in 0..2 {
                let wrong = session.authenticate_plain(&user, "wrong").unwrap();
                assert_eq!(wrong.code, "535", "{server:?}, {client}, {backend}: {wrong:?}");
            }
            let right = session.authenticate_plain(&user, PASSWORD).unwrap();
            assert_eq!(right.code, "235", "{server:?}, {client}, {backend}: {right:?}");
            assert!(envelope(&mut session, &account(backend)).is_ok());
        }
    }
}

/// Begins a message to one recipient, and answers what the server says to that.
fn envelope(session: &mut Client, recipient: &str) -> Reply {
    let mail = session.command("MAIL FROM:<carol@example.test>").unwrap();
    assert!(mail.is_ok(), "{mail:?}");
    session.command(&format!("RCPT TO:<{recipient}>")).unwrap()
}

pub(crate) fn nobody_submits_without_logging_in(path: Path) {
    let Some(stage) = stage(path, &[]) else { return };
    for client in Tls::ALL {
        let endpoint = stage.endpoint_of(Protocol::Submission, client);
        let mut session = Client::connect(&endpoint).unwrap();
        let mail = session.command("MAIL FROM:<carol@example.test>").unwrap();
        assert_eq!(mail.code, "530", "{client}: {mail:?}");
        let login = session.authenticate_plain(&account(Tls::Plain), PASSWORD).unwrap();
        assert!(login.is_ok(), "{client}: {login:?}");
        assert!(session.command("MAIL FROM:<carol@example.test>").unwrap().is_ok());
    }
}

/// The rig's Postfix trusts nobody for where they come from, or a login would prove nothing.
pub(crate) fn only_who_has_logged_in_sends_elsewhere(path: Path) {
    let Some(stage) = stage(path, &[]) else { return };
    let elsewhere = "dave@elsewhere.test";
    let mut stranger = Client::connect(&stage.endpoint_of(Protocol::Smtp, Tls::Plain)).unwrap();
    let refused = envelope(&mut stranger, elsewhere);
    assert!(refused.lines.concat().contains("Relay access denied"), "{refused:?}");
    for (client, backend) in path.combinations() {
        let mut session = Client::connect(&stage.posting_endpoint(client)).unwrap();
        let login = session.authenticate_plain(&posting_account(backend), PASSWORD).unwrap();
        assert!(login.is_ok(), "{client}, {backend}: {login:?}");
        let recipient = envelope(&mut session, elsewhere);
        assert!(recipient.is_ok(), "{client}, {backend}: {recipient:?}");
    }
}

pub(crate) fn the_logs_show_where_a_client_connects_from(path: Path) {
    let Some(stage) = stage(path, &[]) else { return };
    for (count, (client, backend)) in (1..).zip(path.combinations()) {
        let user = forwarded_account(backend);
        let mut session = connect(&stage.endpoint_of(Protocol::Submission, client), &user);
        let login = stage.dovecot.logins(Protocol::Submission, count).pop().unwrap();
        for part in [format!("user=<{user}>,"), format!("rip={CLIENT},")] {
            assert!(login.contains(&part), "{client}, {backend}: {part} in {login}");
        }
        // Dovecot tells Postfix in its turn.
        is_received(&stage, &mut session, &format!("sasl_method=XCLIENT, {}", named(&user)));
    }
    for (client, backend) in path.combinations() {
        let user = posting_account(backend);
        let mut session = connect(&stage.posting_endpoint(client), &user);
        is_received(&stage, &mut session, &format!("sasl_method=PLAIN, {}", named(&user)));
    }
}

fn named(user: &str) -> String {
    format!("sasl_username={user}")
}

/// Begins a message, and sees that Postfix knows where it comes from.
fn is_received(stage: &Stage, session: &mut Client, login: &str) {
    assert!(envelope(session, &account(Tls::Plain)).is_ok());
    let port = session.source_port().unwrap();
    let wanted = format!("client=unknown[{CLIENT}]:{port}, {login}");
    assert!(received(stage, &wanted), "{wanted}: {}", stage.postfix().log());
}

fn connect(endpoint: &Endpoint, user: &str) -> Client {
    let mut session = Client::connect_from(CLIENT, endpoint).unwrap();
    let login = session.authenticate_plain(user, PASSWORD).unwrap();
    assert!(login.is_ok(), "{login:?}");
    session
}

/// Whether a line of Postfix's log ends with this: it may be a moment late.
fn received(stage: &Stage, end: &str) -> bool {
    for _ in 0..LOOKS {
        if stage.postfix().log().lines().any(|line| line.ends_with(end)) {
            return true;
        }
        thread::sleep(LOOK_INTERVAL);
    }
    false
}

pub(crate) fn without_forwarding_the_log_shows_the_proxy(path: Path) {
    let Some(stage) = stage(path, &[]) else { return };
    for (count, (client, backend)) in (1..).zip(path.combinations()) {
        let user = account(backend);
        connect(&stage.endpoint_of(Protocol::Submission, client), &user);
        let login = stage.dovecot.logins(Protocol::Submission, count).pop().unwrap();
        for part in [format!("user=<{user}>,"), format!("rip={},", Ipv4Addr::LOCALHOST)] {
            assert!(login.contains(&part), "{client}, {backend}: {part} in {login}");
        }
    }
}

pub(crate) fn a_script_files_what_is_submitted(path: Path) {
    let Some(stage) = stage(path, &[Program::DovecotSieve, Program::Swaks]) else { return };
    let user = account(Tls::Starttls);
    let mut session = sieve::logged_in(&stage, Tls::Starttls, &user);
    let script = "require [\"fileinto\"];\r\nif header :contains \"Subject\" \"filed\" \
                  { fileinto \"Elsewhere\"; }\r\n";
    assert!(session.put_script("filing", script).unwrap().is_ok());
    for (subject, mailbox, active) in [
        ("filed-not-yet", "INBOX", ""),
        ("filed", "Elsewhere", "filing"),
        ("other", "INBOX", "filing"),
    ] {
        assert!(session.command(&format!("SETACTIVE \"{active}\"")).unwrap().is_ok());
        let endpoint = stage.endpoint_of(Protocol::Submission, Tls::Implicit);
        let mut swaks = swaks(&endpoint, &user, subject);
        swaks.args(["--auth", "PLAIN", "--auth-user", &user, "--auth-password", PASSWORD]);
        output(&mut swaks);
        arrives(&stage.endpoint(Tls::Implicit), &user, mailbox, subject);
    }
}
