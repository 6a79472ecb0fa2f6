//! Which server an account reaches, and what the client hears when it cannot be reached.

use gatepost_conformance::rig::{
    Account, Authority, Dovecot, Program, Protocol, Services, Tls, dovecot::LOOPBACK, imap::Client,
    require,
};

use crate::real::{
    clients::append,
    front::{Front, Route},
    sessions::logged_in,
    stage::{PASSWORD, Path, Stage, account},
};

const ALICE: &str = "alice@example.test";
const BOB: &str = "bob@example.test";

/// Alice on one server and Bob on another. Both servers would let either of them in.
struct TwoServers {
    front: Front,
    alices: Dovecot,
    bobs: Dovecot,
}

impl TwoServers {
    fn set() -> Option<Self> {
        if !require(&[Program::Dovecot, Program::Gatepost]) {
            return None;
        }
        let accounts = [ALICE, BOB].map(|user| Account { user, password: PASSWORD });
        let services = Services {
            accounts: &accounts,
            protocols: &[Protocol::Imap],
            relay: None,
            trusted: LOOPBACK,
            trusted_headers: LOOPBACK,
            onward: None,
        };
        let alices = Dovecot::start(&services).unwrap();
        let bobs = Dovecot::start(&services).unwrap();
        let front = Front::start(&[
            Route {
                user: ALICE.to_owned(),
                ..Route::to(&[alices.endpoint(Protocol::Imap, Tls::Starttls)])
            },
            Route {
                user: BOB.to_owned(),
                ..Route::to(&[bobs.endpoint(Protocol::Imap, Tls::Implicit)])
            },
        ]);
        Some(Self { front, alices, bobs })
    }
}

pub(crate) fn two_users_reach_two_servers(_: Path) {
    let Some(two) = TwoServers::set() else { return };
    for tls in Tls::ALL {
        let endpoint = two.front.endpoint(tls);
        for user in [ALICE, BOB] {
            let mut session = logged_in(&endpoint, user);
            append(&mut session, "INBOX", &format!("Subject: of {user}\r\n\r\ntext\r\n"));
            assert!(session.command("LOGOUT").unwrap().is_ok());
        }
    }
    for (server, own) in [(&two.alices, ALICE), (&two.bobs, BOB)] {
        let logins = server.logins(Protocol::Imap, Tls::ALL.len());
        assert_eq!(logins.len(), Tls::ALL.len(), "{logins:?}");
        assert!(logins.iter().all(|login| login.contains(&format!("user=<{own}>,"))), "{logins:?}");
        let mut session = logged_in(&server.endpoint(Protocol::Imap, Tls::Plain), own);
        let select = session.command("SELECT INBOX").unwrap();
        assert!(select.untagged.contains(&"* 3 EXISTS".to_owned()), "{select:?}");
    }
}

pub(crate) fn after_a_refusal_another_account_reaches_its_own_server(_: Path) {
    let Some(two) = TwoServers::set() else { return };
    for tls in Tls::ALL {
        let mut session = Client::connect(&two.front.endpoint(tls)).unwrap();
        let refused = session.login(ALICE, "wrong").unwrap();
        assert!(refused.tagged.starts_with("NO [AUTHENTICATIONFAILED] "), "{refused:?}");
        // Alice's server would let Bob in as well, had the session stayed with it.
        assert!(session.login(BOB, PASSWORD).unwrap().is_ok());
        assert!(session.command("LOGOUT").unwrap().is_ok());
    }
    assert_eq!(
        two.bobs.logins(Protocol::Imap, Tls::ALL.len()).len(),
        Tls::ALL.len(),
        "{}",
        two.bobs.log()
    );
    assert!(two.alices.logins(Protocol::Imap, 0).is_empty(), "{}", two.alices.log());
}

pub(crate) fn an_unreachable_server_is_temporary_and_the_connection_stays(_: Path) {
    let Some(mut two) = TwoServers::set() else { return };
    let mut sessions = Tls::ALL.map(|tls| Client::connect(&two.front.endpoint(tls)).unwrap());
    two.alices.stop().unwrap();
    for session in &mut sessions {
        let refused = session.login(ALICE, PASSWORD).unwrap();
        assert!(refused.tagged.starts_with("NO [UNAVAILABLE] "), "{refused:?}");
        assert!(session.command("NOOP").unwrap().is_ok());
        // The other server is none the worse for it, and neither is this connection.
        let reply = session.login(BOB, PASSWORD).unwrap();
        assert!(reply.is_ok(), "{reply:?}");
        assert!(session.command("SELECT INBOX").unwrap().is_ok());
    }
}

pub(crate) fn a_session_ends_with_its_server(_: Path) {
    let Some(mut two) = TwoServers::set() else { return };
    let mut alices = Tls::ALL.map(|tls| logged_in(&two.front.endpoint(tls), ALICE));
    let mut bobs = logged_in(&two.front.endpoint(Tls::Plain), BOB);
    two.alices.stop().unwrap();
    for session in &mut alices {
        // Dovecot may say goodbye; after that the stream ends, with close_notify where there is
        // TLS.
        let end = loop {
            match session.read_line() {
                Ok(line) => assert!(line.starts_with("* BYE "), "{line}"),
                Err(error) => break error,
            }
        };
        assert_eq!(end.kind(), std::io::ErrorKind::UnexpectedEof, "{end}");
        assert!(!end.to_string().contains("close_notify"), "{end}");
    }
    assert!(bobs.command("NOOP").unwrap().is_ok());
}

pub(crate) fn only_the_expected_certificate_gets_credentials(path: Path) {
    let Some(stage) = Stage::set(path, &[]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let stranger = Authority::create(folder.path()).unwrap();
    let pin = |fingerprint: &str| format!("tls_pinned_cert_sha256 = \"{fingerprint}\"\n");
    let named = |name: &str, authority: &Authority| {
        let file = authority.authority.display();
        format!("tls_server_name = \"{name}\"\ntls_ca_file = \"{file}\"\n")
    };
    let dovecot = &stage.dovecot.authority;
    let modes = [Tls::Starttls, Tls::Implicit];
    for tls in modes {
        let route = Route {
            user: account(tls),
            ..Route::to(&[stage.dovecot.endpoint(Protocol::Imap, tls)])
        };
        for (trust, is_right) in [
            (pin(&dovecot.fingerprint), true),
            (pin(&stranger.fingerprint), false),
            (named("localhost", &stranger), false),
            (named("elsewhere.test", dovecot), false),
        ] {
            let front = Front::start(&[Route { trust: trust.clone(), ..route.clone() }]);
            let mut session = Client::connect(&front.endpoint(Tls::Implicit)).unwrap();
            let reply = session.login(&route.user, PASSWORD).unwrap();
            if is_right {
                assert!(reply.is_ok(), "{tls} {trust}: {reply:?}");
                continue;
            }
            assert!(reply.tagged.starts_with("NO [SERVERBUG] "), "{tls} {trust}: {reply:?}");
            assert!(session.command("NOOP").unwrap().is_ok());
        }
    }
    // One for each mode with the right pin, and none of the others.
    assert_eq!(
        stage.dovecot.logins(Protocol::Imap, modes.len()).len(),
        modes.len(),
        "{}",
        stage.dovecot.log()
    );
}
