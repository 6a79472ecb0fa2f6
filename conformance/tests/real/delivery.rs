//! SMTP to Postfix and LMTP to Dovecot, which the proxy carries from the first octet: smtplib,
//! swaks, and a STARTTLS that is between client and backend.

use gatepost_conformance::rig::{Endpoint, Program, Protocol, Tls, smtp::Client};

use crate::real::{
    clients::{output, python},
    front::{Front, Listener, Route},
    stage::{Path, Stage, account},
    submission::{BODY, arrives, is_read_back, stage, swaks},
};

/// How clients may connect: a carried protocol has no STARTTLS of the proxy's.
const MODES: [Tls; 2] = [Tls::Plain, Tls::Implicit];

pub(crate) fn smtplib_delivers_over_smtp_and_lmtp(path: Path) {
    let Some(stage) = stage(path, &[Program::Python]) else { return };
    let recipient = account(Tls::Plain);
    // smtplib has no LMTP within TLS.
    for (protocol, tls, unknown) in [
        (Protocol::Lmtp, Tls::Plain, "nobody@example.test"),
        (Protocol::Smtp, Tls::Plain, "dave@elsewhere.test"),
        (Protocol::Smtp, Tls::Implicit, "dave@elsewhere.test"),
    ] {
        let subject = format!("smtplib-{protocol}-{tls}");
        let endpoint = stage.endpoint_of(protocol, tls);
        let name = protocol.to_string();
        python("deliver.py", &endpoint, &[&name, &recipient, unknown, &subject, BODY]);
        is_read_back(&stage, &recipient, tls, &subject);
    }
}

pub(crate) fn swaks_delivers_over_smtp_and_lmtp(path: Path) {
    let Some(stage) = stage(path, &[Program::Swaks]) else { return };
    for (protocol, dialect) in [(Protocol::Smtp, "ESMTP"), (Protocol::Lmtp, "LMTP")] {
        for tls in MODES {
            let subject = format!("swaks-{protocol}-{tls}");
            let endpoint = stage.endpoint_of(protocol, tls);
            let mut swaks = swaks(&endpoint, &account(Tls::Plain), &subject);
            output(swaks.args(["--protocol", dialect]));
            is_read_back(&stage, &account(Tls::Plain), tls, &subject);
        }
    }
}

/// The certificate that the client sees is the backend's.
pub(crate) fn starttls_is_between_client_and_backend(path: Path) {
    let Some(stage) = stage(path, &[]) else { return };
    let backends =
        [(Protocol::Smtp, &stage.postfix().authority), (Protocol::Lmtp, &stage.dovecot.authority)];
    for (protocol, authority) in backends {
        let endpoint = Endpoint {
            tls: Tls::Starttls,
            authority: authority.authority.clone(),
            ..stage.endpoint_of(protocol, Tls::Plain)
        };
        let mut session = Client::connect(&endpoint).unwrap();
        let subject = format!("starttls-{protocol}");
        deliver(&mut session, &account(Tls::Plain), &subject);
        is_read_back(&stage, &account(Tls::Plain), Tls::Plain, &subject);
    }
}

pub(crate) fn the_proxy_may_go_to_the_backends_by_tls(path: Path) {
    let Some(stage) = stage(path, &[]) else { return };
    let front = front_with_tls(&stage);
    for protocol in [Protocol::Smtp, Protocol::Lmtp] {
        for tls in MODES {
            let mut session = Client::connect(&front.endpoint_of(protocol, tls)).unwrap();
            let subject = format!("inner-{protocol}-{tls}");
            deliver(&mut session, &account(Tls::Plain), &subject);
            arrives(&stage.endpoint(tls), &account(Tls::Plain), "INBOX", &subject);
        }
    }
}

/// A proxy that carries to the stage's servers within TLS.
fn front_with_tls(stage: &Stage) -> Front {
    let pins = [&stage.postfix().authority, &stage.dovecot.authority]
        .map(|authority| format!("\"{}\"", authority.fingerprint));
    let ways = [
        stage.postfix().endpoint(Protocol::Smtp, Tls::Implicit),
        stage.dovecot.endpoint(Protocol::Lmtp, Tls::Implicit),
    ];
    let trust = format!("tls_pinned_cert_sha256 = [{}]\n", pins.join(", "));
    let pass_through = Route { trust, ..Route::to(&ways) };
    let mut listeners = Listener::each(&[Protocol::Smtp, Protocol::Lmtp]);
    listeners.extend(Listener::each(&[Protocol::Imap]));
    let way = Route::to(&[stage.dovecot.endpoint(Protocol::Imap, Tls::Implicit)]);
    let route = Route { user: account(Tls::Plain), ..way };
    Front::start_on(listeners, &[route], Some(&pass_through))
}

/// Delivers a message to one recipient.
fn deliver(session: &mut Client, recipient: &str, subject: &str) {
    for (command, code) in [
        ("MAIL FROM:<carol@elsewhere.test>".to_owned(), "250"),
        (format!("RCPT TO:<{recipient}>"), "250"),
        ("DATA".to_owned(), "354"),
        (format!("Subject: {subject}\r\n\r\n{}.", BODY.replace("\r\n.", "\r\n..")), "250"),
        ("QUIT".to_owned(), "221"),
    ] {
        let reply = session.command(&command).unwrap();
        assert_eq!(reply.code, code, "{command}: {reply:?}");
    }
}
