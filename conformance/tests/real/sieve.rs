//! ManageSieve: sieve-connect, and the sessions that it does not show.

use std::{fs, io::Write as _, net::Ipv4Addr, process::Stdio};

use gatepost_conformance::rig::{Endpoint, Program, Protocol, Tls, managesieve::Client};

use crate::real::{
    clients::bounded,
    identity::CLIENT,
    stage::{ODD, PASSWORD, Path, Stage, account, forwarded_account},
};

const SCRIPT: &str = "require [\"fileinto\"];\r\n# {5}\r\nfileinto \"Elsewhere\";\r\n";

/// Sets the stage for ManageSieve.
fn stage(path: Path, needed: &[Program]) -> Option<Stage> {
    Stage::set(path, &[&[Program::DovecotSieve], needed].concat())
}

/// Dovecot does not serve ManageSieve with implicit TLS; the proxy does, for its clients.
fn combinations(path: Path) -> Vec<(Tls, Tls)> {
    let mut combinations = path.combinations();
    combinations.retain(|(client, backend)| match path {
        Path::Direct => *client != Tls::Implicit,
        Path::Proxied => *backend != Tls::Implicit,
    });
    combinations
}

/// It does not know implicit TLS; in the clear it goes wherever STARTTLS is not offered, which
/// Dovecot itself always does.
pub(crate) fn sieve_connect_uploads_activates_lists_and_fetches(path: Path) {
    let Some(stage) = stage(path, &[Program::SieveConnect]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("near.sieve");
    fs::write(&script, SCRIPT).unwrap();
    for (client, backend) in combinations(path) {
        let offered_anyhow = (path, client) == (Path::Direct, Tls::Plain);
        if client == Tls::Implicit || offered_anyhow {
            continue;
        }
        let endpoint = stage.endpoint_of(Protocol::ManageSieve, client);
        let user = account(backend);
        let run = |options: &[&str]| sieve_connect(&endpoint, &user, options);
        let name = format!("of-{client}");
        let far = ["--remotesieve", &name];
        run(&[&["--upload", "--localsieve", script.to_str().unwrap()][..], &far].concat());
        run(&[&["--activate"][..], &far].concat());
        let list = run(&["--list"]);
        assert!(list.contains(&format!("\"{name}\" ACTIVE")), "{list}");
        let back = folder.path().join(format!("back-{client}-{backend}.sieve"));
        run(&[&["--download", "--localsieve", back.to_str().unwrap()][..], &far].concat());
        let fetched = fs::read_to_string(&back).unwrap();
        assert_eq!(fetched.replace("\r\n", "\n"), SCRIPT.replace("\r\n", "\n"));
    }
}

fn sieve_connect(endpoint: &Endpoint, user: &str, options: &[&str]) -> String {
    let mut command = bounded("sieve-connect");
    command.args(["--server", "localhost", "--4", "--port", &endpoint.port.to_string()]);
    command.args(["--user", user, "--authmech", "PLAIN", "--passwordfd", "0", "--tlscafile"]);
    command.arg(&endpoint.authority).args(options);
    if endpoint.tls == Tls::Plain {
        command.arg("--clearchan");
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(PASSWORD.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{text}{errors}", output.status);
    text
}

pub(crate) fn a_script_is_stored_activated_listed_fetched_and_deleted(path: Path) {
    let Some(stage) = stage(path, &[]) else { return };
    // Longer than what any of the servers reads at once.
    let long = format!("{SCRIPT}# {}\r\n", "long ".repeat(10_000));
    for (client, backend) in combinations(path) {
        let mut session = logged_in(&stage, client, &account(backend));
        for (name, script) in [("short", SCRIPT), ("long", &long)] {
            let stored = session.put_script(name, script).unwrap();
            assert!(stored.is_ok(), "{client}, {backend}: {stored:?}");
        }
        let refused = session.put_script("wrong", "no such command;\r\n").unwrap();
        assert!(refused.last.starts_with("NO"), "{refused:?}");
        assert!(session.command("SETACTIVE \"long\"").unwrap().is_ok());
        let mut list = session.command("LISTSCRIPTS").unwrap().lines;
        list.retain(|line| !line.starts_with("\"of-"));
        list.sort();
        assert_eq!(list, ["\"long\" ACTIVE", "\"short\""]);
        let fetched = session.command("GETSCRIPT \"long\"").unwrap();
        assert_eq!(fetched.lines, [long.as_str()]);
        assert!(session.command("SETACTIVE \"\"").unwrap().is_ok());
        for name in ["short", "long"] {
            assert!(session.command(&format!("DELETESCRIPT \"{name}\"")).unwrap().is_ok());
        }
        assert!(session.command("LOGOUT").unwrap().is_ok());
    }
}

/// A session of this account.
pub(crate) fn logged_in(stage: &Stage, tls: Tls, user: &str) -> Client {
    let endpoint = stage.endpoint_of(Protocol::ManageSieve, tls);
    let mut session = Client::connect(&endpoint).unwrap();
    let reply = session.authenticate_plain(user, PASSWORD).unwrap();
    assert!(reply.is_ok(), "{tls}, {user}: {reply:?}");
    session
}

pub(crate) fn a_wrong_password_is_refused_and_the_right_one_then_accepted(path: Path) {
    let Some(stage) = stage(path, &[]) else { return };
    for (client, backend) in combinations(path) {
        let user = account(backend);
        let endpoint = stage.endpoint_of(Protocol::ManageSieve, client);
        let mut session = Client::connect(&endpoint).unwrap();
        let wrong = session.authenticate_plain(&user, "wrong").unwrap();
        assert!(wrong.last.starts_with("NO "), "{wrong:?}");
        let list = session.command("LISTSCRIPTS").unwrap();
        assert!(list.last.starts_with("NO "), "nobody is logged in: {list:?}");
        assert!(session.authenticate_plain(&user, PASSWORD).unwrap().is_ok());
        assert!(session.command("LISTSCRIPTS").unwrap().is_ok());
    }
}

pub(crate) fn a_password_of_odd_characters_arrives_as_it_is(path: Path) {
    let Some(stage) = stage(path, &[]) else { return };
    let endpoint = stage.endpoint_of(Protocol::ManageSieve, Tls::Starttls);
    let mut session = Client::connect(&endpoint).unwrap();
    let reply = session.authenticate_plain(ODD.user, ODD.password).unwrap();
    assert!(reply.is_ok(), "{reply:?}");
}

pub(crate) fn the_log_shows_where_a_client_connects_from(path: Path) {
    shows_address(path, forwarded_account, CLIENT);
}

pub(crate) fn without_forwarding_the_log_shows_the_proxy(path: Path) {
    shows_address(path, account, Ipv4Addr::LOCALHOST);
}

fn shows_address(path: Path, account: fn(Tls) -> String, address: Ipv4Addr) {
    let Some(stage) = stage(path, &[]) else { return };
    for (count, (client, backend)) in (1..).zip(combinations(path)) {
        let user = account(backend);
        let endpoint = stage.endpoint_of(Protocol::ManageSieve, client);
        let mut session = Client::connect_from(CLIENT, &endpoint).unwrap();
        assert!(session.authenticate_plain(&user, PASSWORD).unwrap().is_ok());
        let login = stage.dovecot.logins(Protocol::ManageSieve, count).pop().unwrap();
        for part in [format!("user=<{user}>,"), format!("rip={address},")] {
            assert!(login.contains(&part), "{client}, {backend}: {part} in {login}");
        }
    }
}
