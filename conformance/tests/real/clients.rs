//! Everyday mail clients: Python's imaplib, curl and mbsync, each over every kind of connection.
//!
//! The clients check certificates, against the one authority that they are told of. What they
//! should see is judged here or, for imaplib, in the Python programs beside this file.

use std::{
    fs,
    path::{Path as File, PathBuf},
    process::Command,
};

use gatepost_conformance::rig::{Endpoint, Program, Tls, imap::Client};

use crate::real::stage::{PASSWORD, Path, Stage, account};

/// A client that hangs is killed after so many seconds, so that it fails its test.
const CLIENT_LIMIT_SECONDS: &str = "180";
/// A message as it is stored and as it is to come back.
const MESSAGE: &str = "From: carol@example.test\r\nTo: dave@example.test\r\n\
                       Subject: across the bridge\r\n\r\n\
                       One line.\r\n.\r\nA last line: \u{e4}.\r\n";

pub(crate) fn imaplib_logs_in_appends_fetches_and_searches(path: Path) {
    let Some(stage) = Stage::set(path, &[Program::Python]) else { return };
    for (client, backend) in path.combinations() {
        python("session.py", &stage.endpoint(client), &[&account(backend), PASSWORD]);
    }
}

pub(crate) fn a_message_of_50_mib_goes_up_and_comes_down_unchanged(path: Path) {
    let Some(stage) = Stage::set(path, &[Program::Python]) else { return };
    for (client, backend) in path.combinations() {
        python("large_message.py", &stage.endpoint(client), &[&account(backend), PASSWORD]);
    }
}

pub(crate) fn curl_appends_lists_and_fetches(path: Path) {
    let Some(stage) = Stage::set(path, &[Program::Curl]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("message");
    fs::write(&file, MESSAGE).unwrap();
    for (client, backend) in path.combinations() {
        let endpoint = stage.endpoint(client);
        let user = account(backend);
        // AUTHENTICATE with its response after the prompt, and with it in the command.
        for (number, login) in [&[][..], &["--sasl-ir"]].into_iter().enumerate() {
            let mailbox = format!("curl-{client}-{number}");
            let curl = |url: &str, options: &[&str]| {
                output(&mut curl(&endpoint, &user, url, &[login, options].concat()))
            };
            curl("", &["--request", &format!("CREATE {mailbox}")]);
            curl(&mailbox, &["--upload-file", file.to_str().unwrap()]);
            let list = curl("", &[]);
            assert!(list.contains(&format!(" {mailbox}\r\n")), "{list}");
            let search = curl(&format!("{mailbox}?SUBJECT%20bridge"), &[]);
            assert_eq!(search, "* SEARCH 1\r\n");
            assert_eq!(curl(&format!("{mailbox};MAILINDEX=1"), &[]), MESSAGE);
        }
    }
}

fn curl(endpoint: &Endpoint, user: &str, path: &str, options: &[&str]) -> Command {
    let scheme = if endpoint.tls == Tls::Implicit { "imaps" } else { "imap" };
    let mut command = curl_options(endpoint);
    command.args(["--user", &format!("{user}:{PASSWORD}")]).args(options);
    command.arg(format!("{scheme}://localhost:{}/{path}", endpoint.port));
    command
}

/// curl with what every protocol needs.
pub(crate) fn curl_options(endpoint: &Endpoint) -> Command {
    let mut command = bounded("curl");
    command.args(["--silent", "--show-error", "--ipv4", "--cacert"]).arg(&endpoint.authority);
    if endpoint.tls == Tls::Starttls {
        command.arg("--ssl-reqd");
    }
    command
}

pub(crate) fn mbsync_pulls_and_pushes(path: Path) {
    let Some(stage) = Stage::set(path, &[Program::Mbsync]) else { return };
    for (client, backend) in path.combinations() {
        let endpoint = stage.endpoint(client);
        let user = account(backend);
        let mailbox = format!("mbsync-{client}");
        let mut session = Client::connect(&endpoint).unwrap();
        assert!(session.login(&user, PASSWORD).unwrap().is_ok());
        assert!(session.command(&format!("CREATE {mailbox}")).unwrap().is_ok());
        for number in 1..=3 {
            append(
                &mut session,
                &mailbox,
                &format!("Subject: far {number}\r\n\r\ntext {number}\r\n"),
            );
        }

        let folder = tempfile::tempdir().unwrap();
        let configuration = mbsync_configuration(folder.path(), &endpoint, &user, &mailbox);
        let sync = || output(bounded("mbsync").arg("--config").arg(&configuration).arg("all"));
        sync();
        let near = folder.path().join("near").join(&mailbox);
        assert_eq!(messages(&near).len(), 3);
        fs::write(near.join("new").join("1.near"), "Subject: near\n\nfrom here\n").unwrap();
        sync();

        assert!(session.command(&format!("SELECT {mailbox}")).unwrap().is_ok());
        let search = session.command("SEARCH SUBJECT near").unwrap();
        assert!(search.untagged.contains(&"* SEARCH 4".to_owned()), "{search:?}");
        for number in 1..=3 {
            let wanted = format!("Subject: far {number}\n");
            let has_it = |text: &String| text.contains(&wanted);
            assert!(messages(&near).iter().any(has_it), "{wanted}");
        }
    }
}

/// Appends over the raw session.
pub(crate) fn append(session: &mut Client, mailbox: &str, message: &str) {
    let command = format!("APPEND {mailbox} {{{}+}}\r\n{message}", message.len());
    let reply = session.command(&command).unwrap();
    assert!(reply.is_ok(), "{reply:?}");
}

fn mbsync_configuration(folder: &File, endpoint: &Endpoint, user: &str, mailbox: &str) -> PathBuf {
    let near = folder.join("near");
    fs::create_dir(&near).unwrap();
    let tls = match endpoint.tls {
        Tls::Plain => "None",
        Tls::Starttls => "STARTTLS",
        Tls::Implicit => "IMAPS",
    };
    let text = format!(
        "IMAPStore far\nHost localhost\nPort {}\nUser {user}\nPass {PASSWORD}\nAuthMechs LOGIN\n\
         SSLType {tls}\nCertificateFile {}\nSystemCertificates no\n\n\
         MaildirStore near\nPath {near}/\nInbox {near}/INBOX\nSubFolders Verbatim\n\n\
         Channel all\nFar :far:\nNear :near:\nPatterns {mailbox}\n\
         Create Near\nSync All\nSyncState *\n",
        endpoint.port,
        endpoint.authority.display(),
        near = near.display(),
    );
    let file = folder.join("mbsyncrc");
    fs::write(&file, text).unwrap();
    file
}

fn messages(maildir: &File) -> Vec<String> {
    ["new", "cur"]
        .into_iter()
        .flat_map(|part| fs::read_dir(maildir.join(part)).unwrap())
        .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect()
}

/// Runs one of the Python programs beside this file.
pub(crate) fn python(program: &str, endpoint: &Endpoint, arguments: &[&str]) {
    let folder = File::new(env!("CARGO_MANIFEST_DIR")).join("tests/real");
    let mut command = bounded("python3");
    // -B: it leaves no compiled files among the sources.
    command.arg("-B").arg(folder.join(program)).arg(endpoint.port.to_string());
    command.arg(endpoint.tls.to_string()).arg(&endpoint.authority).args(arguments);
    output(&mut command);
}

/// A command that ends in any case.
pub(crate) fn bounded(program: &str) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", CLIENT_LIMIT_SECONDS, program]);
    command
}

/// Runs a command that must succeed, and answers what it wrote.
pub(crate) fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{text}{errors}", output.status);
    text
}
