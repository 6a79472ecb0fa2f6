//! POP3: Python's poplib, curl and fetchmail, and the sessions that they do not show.

use std::{
    fs,
    net::Ipv4Addr,
    os::unix::fs::PermissionsExt as _,
    path::{Path as File, PathBuf},
};

use gatepost_conformance::rig::{Endpoint, Program, Protocol, Tls, pop3::Client};

use crate::real::{
    clients::{append, bounded, curl_options, output, python},
    identity::CLIENT,
    sessions::logged_in,
    stage::{ODD, PASSWORD, Path, Stage, account, forwarded_account},
};

/// A message as it is stored and as it is to come back, whose dots need care on the way.
const MESSAGE: &str =
    "From: carol@example.test\r\nSubject: dotted\r\n\r\n.\r\n..two\r\n.x\r\nend\r\n";

/// Sets the stage for POP3.
fn stage(path: Path, needed: &[Program]) -> Option<Stage> {
    Stage::set(path, &[&[Program::DovecotPop3], needed].concat())
}

/// Empties an account's inbox and puts messages there.
fn fill(stage: &Stage, user: &str, messages: &[&str]) {
    let mut session = logged_in(&stage.endpoint(Tls::Implicit), user);
    let select = session.command("SELECT INBOX").unwrap();
    assert!(select.is_ok(), "{select:?}");
    // An empty mailbox has no 1.
    if !select.untagged.contains(&"* 0 EXISTS".to_owned()) {
        assert!(session.command(r"STORE 1:* +FLAGS.SILENT \Deleted").unwrap().is_ok());
        assert!(session.command("EXPUNGE").unwrap().is_ok());
    }
    for message in messages {
        append(&mut session, "INBOX", message);
    }
    assert!(session.command("LOGOUT").unwrap().is_ok());
}

pub(crate) fn poplib_lists_retrieves_and_deletes(path: Path) {
    let Some(stage) = stage(path, &[Program::Python]) else { return };
    for (client, backend) in path.combinations() {
        fill(&stage, &account(backend), &[MESSAGE, "Subject: second\r\n\r\nshort\r\n"]);
        let endpoint = stage.endpoint_of(Protocol::Pop3, client);
        python("pop3_session.py", &endpoint, &[&account(backend), PASSWORD]);
        // What was deleted is gone for everybody.
        let mut session = Client::connect(&endpoint).unwrap();
        assert!(session.login(&account(backend), PASSWORD).unwrap().starts_with("+OK"));
        assert!(session.command("STAT").unwrap().starts_with("+OK 1 "));
    }
}

pub(crate) fn curl_lists_and_retrieves(path: Path) {
    let Some(stage) = stage(path, &[Program::Curl]) else { return };
    for (client, backend) in path.combinations() {
        let user = account(backend);
        fill(&stage, &user, &[MESSAGE]);
        let endpoint = stage.endpoint_of(Protocol::Pop3, client);
        // AUTH with its response after the prompt, and with it in the command.
        for login in [&[][..], &["--sasl-ir"]] {
            let curl = |file: &str| {
                let mut command = curl_options(&endpoint);
                command.args(["--user", &format!("{user}:{PASSWORD}")]).args(login);
                command.arg(format!("{}/{file}", url(&endpoint)));
                output(&mut command)
            };
            assert!(curl("").starts_with("1 "), "{client}, {backend}");
            assert_eq!(curl("1"), MESSAGE, "{client}, {backend}");
        }
    }
}

fn url(endpoint: &Endpoint) -> String {
    let scheme = if endpoint.tls == Tls::Implicit { "pop3s" } else { "pop3" };
    format!("{scheme}://localhost:{}", endpoint.port)
}

pub(crate) fn fetchmail_pulls_into_a_file(path: Path) {
    let Some(stage) = stage(path, &[Program::Fetchmail]) else { return };
    for (client, backend) in path.combinations() {
        let user = account(backend);
        fill(&stage, &user, &["Subject: first\r\n\r\none\r\n", "Subject: second\r\n\r\ntwo\r\n"]);
        let folder = tempfile::tempdir().unwrap();
        let endpoint = stage.endpoint_of(Protocol::Pop3, client);
        let configuration = fetchmail_configuration(folder.path(), &endpoint, &user);
        output(
            bounded("fetchmail")
                .args(["--nosyslog", "--nodetach", "--pidfile"])
                .arg(folder.path().join("pid"))
                .arg("--fetchmailrc")
                .arg(&configuration)
                .env("HOME", folder.path())
                .env("FETCHMAILHOME", folder.path()),
        );
        let pulled = fs::read_to_string(folder.path().join("mbox")).unwrap();
        for part in ["Subject: first\n", "\none\n", "Subject: second\n", "\ntwo\n"] {
            assert!(pulled.contains(part), "{client}, {backend}: {part:?} in {pulled}");
        }
        let mut session = Client::connect(&endpoint).unwrap();
        assert!(session.login(&user, PASSWORD).unwrap().starts_with("+OK"));
        assert!(session.command("STAT").unwrap().starts_with("+OK 0 "));
    }
}

fn fetchmail_configuration(folder: &File, endpoint: &Endpoint, user: &str) -> PathBuf {
    let tls = match endpoint.tls {
        Tls::Plain => "sslproto ''",
        Tls::Starttls => "sslproto 'TLS1.2+' sslcertck",
        Tls::Implicit => "ssl sslcertck",
    };
    let text = format!(
        "poll localhost protocol pop3 port {} auth password\n\
         user '{user}' password '{PASSWORD}' {tls} sslcertfile '{}' sslcommonname 'localhost'\n\
         no keep fetchall no rewrite mda \"cat >> {}\"\n",
        endpoint.port,
        endpoint.authority.display(),
        folder.join("mbox").display(),
    );
    let file = folder.join("fetchmailrc");
    fs::write(&file, text).unwrap();
    // It refuses a file with a password that others can read.
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    file
}

pub(crate) fn a_wrong_password_is_refused_and_the_right_one_then_accepted(path: Path) {
    let Some(stage) = stage(path, &[]) else { return };
    for (client, backend) in path.combinations() {
        let user = account(backend);
        let endpoint = stage.endpoint_of(Protocol::Pop3, client);
        let mut session = Client::connect(&endpoint).unwrap();
        for wrong in [
            session.login(&user, "wrong").unwrap(),
            session.authenticate_plain(&user, "wrong").unwrap(),
        ] {
            assert!(wrong.starts_with("-ERR [AUTH] "), "{wrong}");
        }
        let stat = session.command("STAT").unwrap();
        assert!(stat.starts_with("-ERR"), "nobody is logged in: {stat}");
        assert!(session.login(&user, PASSWORD).unwrap().starts_with("+OK"));
        assert!(session.command("STAT").unwrap().starts_with("+OK"));
    }
}

pub(crate) fn a_password_of_odd_characters_arrives_as_it_is(path: Path) {
    let Some(stage) = stage(path, &[]) else { return };
    let endpoint = stage.endpoint_of(Protocol::Pop3, Tls::Implicit);
    let mut session = Client::connect(&endpoint).unwrap();
    let reply = session.login(ODD.user, ODD.password).unwrap();
    assert!(reply.starts_with("+OK"), "{reply}");
    let mut session = Client::connect(&endpoint).unwrap();
    let reply = session.authenticate_plain(ODD.user, ODD.password).unwrap();
    assert!(reply.starts_with("+OK"), "{reply}");
}

pub(crate) fn commands_pipelined_behind_the_login_are_answered_in_order(path: Path) {
    let Some(stage) = stage(path, &[]) else { return };
    for (client, backend) in path.combinations() {
        let user = account(backend);
        fill(&stage, &user, &[MESSAGE]);
        let mut session = Client::connect(&stage.endpoint_of(Protocol::Pop3, client)).unwrap();
        let commands =
            format!("USER {user}\r\nPASS {PASSWORD}\r\nSTAT\r\nRETR 1\r\nNOOP\r\nQUIT\r\n");
        session.write(commands.as_bytes()).unwrap();
        for start in ["+OK", "+OK", "+OK 1 ", "+OK"] {
            let line = session.read_line().unwrap();
            assert!(line.starts_with(start), "{client}, {backend}: {line}");
        }
        assert_eq!(session.lines().unwrap().join("\r\n") + "\r\n", MESSAGE);
        for _ in ["NOOP", "QUIT"] {
            assert!(session.read_line().unwrap().starts_with("+OK"));
        }
        session.read_line().unwrap_err();
    }
}

pub(crate) fn the_log_shows_where_a_client_connects_from(path: Path) {
    shows_address(path, forwarded_account, CLIENT);
}

pub(crate) fn without_forwarding_the_log_shows_the_proxy(path: Path) {
    shows_address(path, account, Ipv4Addr::LOCALHOST);
}

fn shows_address(path: Path, account: fn(Tls) -> String, address: Ipv4Addr) {
    let Some(stage) = stage(path, &[]) else { return };
    for (count, (client, backend)) in (1..).zip(path.combinations()) {
        let user = account(backend);
        let endpoint = stage.endpoint_of(Protocol::Pop3, client);
        let mut session = Client::connect_from(CLIENT, &endpoint).unwrap();
        assert!(session.login(&user, PASSWORD).unwrap().starts_with("+OK"));
        let login = stage.dovecot.logins(Protocol::Pop3, count).pop().unwrap();
        for part in [format!("user=<{user}>,"), format!("rip={address},")] {
            assert!(login.contains(&part), "{client}, {backend}: {part} in {login}");
        }
    }
}
