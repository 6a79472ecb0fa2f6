//! Sessions that packaged clients do not show: waiting, crowding, failing and trying again, running
//! ahead.

use std::{
    sync::{Arc, Barrier},
    thread,
};

use gatepost_conformance::rig::{Endpoint, Tls, imap::Client};

use crate::real::{
    clients::append,
    stage::{ODD, PASSWORD, Path, Stage, account},
};

/// How many sessions are open at once.
const CROWD: usize = 500;
/// Threads that share them out.
const CROWD_THREADS: usize = 10;

pub(crate) fn idle_is_told_of_a_message_that_another_session_appends(path: Path) {
    let Some(stage) = Stage::set(path, &[]) else { return };
    for (client, backend) in path.combinations() {
        let endpoint = stage.endpoint(client);
        let user = account(backend);
        let mut waiting = logged_in(&endpoint, &user);
        let mailbox = format!("idle-{client}");
        assert!(waiting.command(&format!("CREATE {mailbox}")).unwrap().is_ok());
        assert!(waiting.command(&format!("SELECT {mailbox}")).unwrap().is_ok());
        let tag = waiting.send("IDLE").unwrap();
        assert!(waiting.read_line().unwrap().starts_with('+'));

        append(&mut logged_in(&endpoint, &user), &mailbox, "Subject: news\r\n\r\ntext\r\n");

        assert_eq!(waiting.read_line().unwrap(), "* 1 EXISTS");
        waiting.write(b"DONE\r\n").unwrap();
        assert!(waiting.reply(&tag).unwrap().is_ok());
    }
}

pub(crate) fn five_hundred_sessions_at_once(path: Path) {
    let combinations: &[(Tls, Tls)] = match path {
        Path::Direct => &[(Tls::Plain, Tls::Plain)],
        Path::Proxied => &[(Tls::Plain, Tls::Plain), (Tls::Implicit, Tls::Starttls)],
    };
    for (client, backend) in combinations {
        // A stage for each: Dovecot takes a moment to get rid of so many processes.
        let Some(stage) = Stage::set(path, &[]) else { return };
        let endpoint = stage.endpoint(*client);
        let all_in = Arc::new(Barrier::new(CROWD_THREADS));
        let threads: Vec<_> = (0..CROWD_THREADS)
            .map(|_| {
                let (endpoint, user) = (endpoint.clone(), account(*backend));
                let all_in = Arc::clone(&all_in);
                thread::spawn(move || crowd(&endpoint, &user, &all_in))
            })
            .collect();
        // Joined one and all before any is judged: the servers must not go while sessions are in
        // use.
        let outcomes: Vec<_> = threads.into_iter().map(thread::JoinHandle::join).collect();
        for outcome in outcomes {
            outcome.unwrap().unwrap();
        }
    }
}

/// Opens a thread's share of the sessions, waits until every thread has, and then uses each.
fn crowd(endpoint: &Endpoint, user: &str, all_in: &Barrier) -> Result<(), String> {
    let open = || -> Result<Vec<Client>, String> {
        (0..CROWD / CROWD_THREADS)
            .map(|_| {
                let mut session = Client::connect(endpoint).map_err(|error| error.to_string())?;
                let reply = session.login(user, PASSWORD).map_err(|error| error.to_string())?;
                if reply.is_ok() { Ok(session) } else { Err(reply.tagged) }
            })
            .collect()
    };
    let sessions = open();
    // Reached also by a thread that failed, or the others would wait for it for ever.
    all_in.wait();
    let mut sessions = sessions?;
    for command in ["NOOP", "LOGOUT"] {
        for session in &mut sessions {
            let reply = session.command(command).map_err(|error| error.to_string())?;
            if !reply.is_ok() {
                return Err(reply.tagged);
            }
        }
    }
    Ok(())
}

pub(crate) fn a_wrong_password_is_refused_and_the_right_one_then_accepted(path: Path) {
    let Some(stage) = Stage::set(path, &[]) else { return };
    for (client, backend) in path.combinations() {
        let user = account(backend);
        let mut session = Client::connect(&stage.endpoint(client)).unwrap();
        for wrong in [
            session.login(&user, "wrong").unwrap(),
            session.authenticate_plain(&user, "wrong").unwrap(),
        ] {
            assert!(wrong.tagged.starts_with("NO [AUTHENTICATIONFAILED] "), "{wrong:?}");
        }
        let select = session.command("SELECT INBOX").unwrap();
        assert!(!select.is_ok(), "nobody is logged in: {select:?}");
        assert!(session.login(&user, PASSWORD).unwrap().is_ok());
        assert!(session.command("SELECT INBOX").unwrap().is_ok());
    }
}

pub(crate) fn a_password_of_odd_characters_arrives_as_it_is(path: Path) {
    let Some(stage) = Stage::set(path, &[]) else { return };
    let endpoint = stage.endpoint(Tls::Implicit);
    let mut session = Client::connect(&endpoint).unwrap();
    let reply = session.authenticate_plain(ODD.user, ODD.password).unwrap();
    assert!(reply.is_ok(), "{reply:?}");

    // 8-bit octets are not for quoted strings, so a literal carries them; it waits for the prompt.
    let mut session = Client::connect(&endpoint).unwrap();
    let tag = session.send(&format!("LOGIN {} {{{}}}", ODD.user, ODD.password.len())).unwrap();
    assert!(session.read_line().unwrap().starts_with('+'));
    session.write(format!("{}\r\n", ODD.password).as_bytes()).unwrap();
    let reply = session.reply(&tag).unwrap();
    assert!(reply.is_ok(), "{reply:?}");
}

pub(crate) fn commands_pipelined_behind_the_login_are_answered_in_order(path: Path) {
    let Some(stage) = Stage::set(path, &[]) else { return };
    for (client, backend) in path.combinations() {
        let mut session = Client::connect(&stage.endpoint(client)).unwrap();
        let login = format!("LOGIN {} {PASSWORD}", account(backend));
        session
            .write(format!("a {login}\r\nb SELECT INBOX\r\nc LOGOUT\r\nd NOOP\r\n").as_bytes())
            .unwrap();
        assert!(session.reply("a").unwrap().is_ok());
        assert!(session.reply("b").unwrap().is_ok());
        let goodbye = session.reply("c").unwrap();
        assert!(goodbye.is_ok() && goodbye.untagged.iter().any(|line| line.starts_with("* BYE")));
        session.read_line().unwrap_err();
    }
}

/// A session of this account.
pub(crate) fn logged_in(endpoint: &Endpoint, user: &str) -> Client {
    let mut session = Client::connect(endpoint).unwrap();
    let reply = session.login(user, PASSWORD).unwrap();
    assert!(reply.is_ok(), "{reply:?}");
    session
}
