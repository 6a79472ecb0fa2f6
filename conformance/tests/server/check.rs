//! What `gatepost check` and a failing `gatepost run` say of a configuration.

use std::net::TcpListener;
use std::path::Path;

use gatepost_conformance::rig::Tls;

use crate::server::program::output;
use crate::server::stage::{Backend, Draft};

/// Status, stdout and stderr of a subcommand. None: there is no program.
fn outcome(subcommand: &str, file: &Path) -> Option<(i32, String, String)> {
    let output = output(subcommand, file)?;
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    Some((output.status.code().unwrap(), text(&output.stdout), text(&output.stderr)))
}

#[test]
fn every_fault_of_the_text_is_told_with_its_line_and_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gatepost.toml");
    let text = "[listener.imap]\nprotocol = \"imap\"\nbind = [\"127.0.0.1:0\"]\ntls = \"plain\"\n\
                max_connexions = 5\nallow_plain_auth_without_tls = true\n\
                [destination.main]\nhost = \"127.0.0.1\"\nallow_plaintext_auth = true\n\
                [destination.main.protocol.imap]\nport = 70000\ntls = \"plain\"\n\
                [routing]\ndefault_destination = \"mian\"\n";
    std::fs::write(&file, text).unwrap();
    let name = file.display();
    for subcommand in ["check", "run"] {
        let Some((status, out, err)) = outcome(subcommand, &file) else { return };
        assert_eq!((status, out.as_str()), (1, ""));
        let lines: Vec<&str> = err.lines().collect();
        assert_eq!(lines.len(), 3, "{err}");
        let unknown = format!(
            "{name}:5: listener.imap.max_connexions: unknown key; did you mean \"max_connections\"?"
        );
        assert_eq!(lines[0], unknown);
        assert!(lines[1].starts_with(&format!("{name}:11: destination.main.protocol.imap.port: ")));
        assert!(lines[2].starts_with(&format!("{name}:14: routing.default_destination: ")));
        assert!(lines.iter().all(|line| line.contains("; ")), "{err}");
    }
}

#[test]
fn every_fault_of_what_it_names_is_told() {
    let backend = Backend::start(Tls::Plain);
    let mut draft = Draft::new("")
        .listener(Tls::Plain, 0, "")
        .listener(Tls::Implicit, 0, "")
        .destination("far", &backend, "");
    let folder = draft.folder.path().to_owned();
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    draft.add(&format!(
        "[tls.certificate.gone]\ncert = \"{0}\"\nkey = \"{1}\"\n\
         [tls.certificate.mixed]\ncert = \"{1}\"\nkey = \"{1}\"\n\
         [tls.certificate.crossed]\ncert = \"{2}\"\nkey = \"{3}\"\n",
        path("gone.pem"),
        path("main.key"),
        path("main.pem"),
        draft.file(
            "other.key",
            gatepost_conformance::backend::tls::SelfSigned::new(&["x.test"])
                .unwrap()
                .private_key_pem()
        ),
    ));
    let file = folder.join("gatepost.toml");
    std::fs::write(&file, draft.text()).unwrap();
    draft.file("map", "# accounts\nalice@test far\nbob@test fra\n");
    let Some((status, out, err)) = outcome("check", &file) else { return };
    assert_eq!((status, out.as_str()), (1, ""), "{err}");
    let told = |words: &[&str]| {
        let found = err.lines().filter(|line| words.iter().all(|word| line.contains(word)));
        assert_eq!(found.count(), 1, "{words:?} in\n{err}");
    };
    told(&["tls.certificate.gone: ", "gone.pem: cannot be read"]);
    told(&["tls.certificate.mixed: ", "main.key: no certificate in this file; "]);
    told(&["tls.certificate.crossed: ", "other.key cannot serve it", "; both files must "]);
    told(&[&format!("{}:3: unknown destination \"fra\"", path("map"))]);
    assert_eq!(err.lines().count(), 4, "{err}");

    std::fs::remove_file(folder.join("map")).unwrap();
    let (status, _, err) = outcome("check", &file).unwrap();
    assert_eq!(status, 1);
    assert!(err.contains(&format!("{}: cannot be read", path("map"))), "{err}");
}

#[test]
fn a_good_configuration_is_summed_up() {
    let backend = Backend::start(Tls::Plain);
    let draft = Draft::new("")
        .listener(Tls::Plain, 0, "")
        .listener(Tls::Implicit, 0, "")
        .destination("far", &backend, "");
    draft.file("gatepost.toml", &draft.text());
    let file = draft.folder.path().join("gatepost.toml");
    let Some((status, out, err)) = outcome("check", &file) else { return };
    assert_eq!((status, err.as_str()), (0, ""));
    let expected = format!(
        "listener.plain: imap (plain) on 127.0.0.1:0\n\
         listener.implicit: imap (implicit) on 127.0.0.1:0\n\
         destination.far: 127.0.0.1 (imap {} plain)\n\
         default destination: far\nmapped accounts: 1\n{}: no fault found\n",
        backend.address.port(),
        file.display()
    );
    assert_eq!(out, expected);
}

#[test]
fn a_server_that_cannot_serve_binds_nothing() {
    let backend = Backend::start(Tls::Plain);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let draft = Draft::new("log_level = \"trace\"")
        .listener(Tls::Plain, port, "")
        .destination("far", &backend, "");
    draft.file("gatepost.toml", &draft.text());
    let file = draft.folder.path().join("gatepost.toml");
    draft.file("map", "nonsense\n");
    let Some((status, _, err)) = outcome("run", &file) else { return };
    assert_eq!(status, 1);
    // The port is taken, and that is not even noticed.
    assert!(err.contains("map:1: expected an identifier"), "{err}");
    assert!(!err.contains("listen"), "{err}");

    draft.file("map", "");
    let (status, _, err) = outcome("run", &file).unwrap();
    assert_eq!(status, 1);
    assert!(err.contains(&format!("listener.plain: cannot listen on 127.0.0.1:{port}: ")), "{err}");

    let missing = draft.folder.path().join("missing.toml");
    let (status, _, err) = outcome("run", &missing).unwrap();
    assert_eq!(status, 1);
    assert!(err.starts_with(&format!("{}: cannot be read: ", missing.display())), "{err}");
}
