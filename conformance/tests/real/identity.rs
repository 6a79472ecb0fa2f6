//! Who the backend thinks the client is, as its log tells it.

use std::net::Ipv4Addr;

use gatepost_conformance::rig::{Protocol, Tls, imap::Client};

use crate::real::stage::{PASSWORD, Path, Stage, account, forwarded_account};

/// An address of loopback that neither the proxy nor any other client uses.
pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

pub(crate) fn the_log_shows_where_a_client_connects_from(path: Path) {
    let Some(stage) = Stage::set(path, &[]) else { return };
    let combinations = path.combinations();
    for (count, (client, backend)) in (1..).zip(&combinations) {
        let user = forwarded_account(*backend);
        let mut session = Client::connect_from(CLIENT, &stage.endpoint(*client)).unwrap();
        assert!(session.login(&user, PASSWORD).unwrap().is_ok());
        let login = stage.dovecot.logins(Protocol::Imap, count).pop().unwrap();
        for part in [format!("user=<{user}>,"), "rip=127.0.0.2,".into(), "lip=127.0.0.1,".into()] {
            assert!(login.contains(&part), "{client}, {backend}: {part} in {login}");
        }
    }
    trusts_an_id(&stage, combinations.len());
}

/// Dovecot takes an address from an ID, or the check above would prove nothing about forwarding.
fn trusts_an_id(stage: &Stage, earlier_logins: usize) {
    let mut session =
        Client::connect(&stage.dovecot.endpoint(Protocol::Imap, Tls::Implicit)).unwrap();
    let reply = session.command(r#"ID ("x-originating-ip" "192.0.2.7")"#).unwrap();
    assert!(reply.is_ok(), "{reply:?}");
    assert!(session.login(&account(Tls::Plain), PASSWORD).unwrap().is_ok());
    let login = stage.dovecot.logins(Protocol::Imap, earlier_logins + 1).pop().unwrap();
    assert!(login.contains("rip=192.0.2.7,"), "{login}");
}

pub(crate) fn without_forwarding_the_log_shows_the_proxy(path: Path) {
    let Some(stage) = Stage::set(path, &[]) else { return };
    for (count, (client, backend)) in (1..).zip(path.combinations()) {
        let user = account(backend);
        let mut session = Client::connect_from(CLIENT, &stage.endpoint(client)).unwrap();
        // What a client claims about itself is no more trusted than before.
        let claim = r#"ID ("name" "tester" "x-originating-ip" "192.0.2.7")"#;
        assert!(session.command(claim).unwrap().is_ok());
        assert!(session.login(&user, PASSWORD).unwrap().is_ok());
        let login = stage.dovecot.logins(Protocol::Imap, count).pop().unwrap();
        for part in [format!("user=<{user}>,"), "rip=127.0.0.1,".into()] {
            assert!(login.contains(&part), "{client}, {backend}: {part} in {login}");
        }
    }
}
