//! Requests and answers as they are on the wire.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use super::*;
use crate::config::{Encode, HttpServer, HttpStore, MappingSource, Protocol, parse};
use crate::contract::{Peer, Query, SessionId, TlsFacts};
use crate::sasl::{Credential, Login, Mechanism, Proof, encode_base64};
use crate::verdict::CHALLENGE_MAX;

fn store(encode: Encode) -> HttpStore {
    let text = "[listener.a]\nprotocol = \"imap\"\nbind = [\"127.0.0.1:143\"]\ntls = \"plain\"\n\
        [destination.main]\nhost = \"imap.test\"\n\
        protocol.imap = { port = 993, tls = \"implicit\" }\n\
        [routing]\ndefault_destination = \"main\"\n[mapping]\nsource = \"http\"\n[mapping.http]\n\
        urls = [\"http://auth.test:8080/mail?v=1\"]\ndestination = \"main\"\n\
        headers = { X-Key = \"s3cret\" }\n";
    let (config, _) = parse(text).expect("it is a configuration");
    let MappingSource::Http(store) = config.mapping.source else { panic!("it names HTTP") };
    HttpStore { encode, ..store }
}

fn with_password(user: &[u8], password: &[u8]) -> Login {
    Login::with_password(user.to_vec(), Secret::from(password))
}

fn query(login: Login, protocol: Protocol) -> Query {
    Query {
        identifier: None,
        login: Arc::new(login),
        protocol,
        client: "[::ffff:192.0.2.7]:50123".parse().expect("an address"),
        local: "198.51.100.1:143".parse().expect("an address"),
        header: None,
        tls: None,
        session: SessionId(0xabcd),
        attempt: 2,
    }
}

fn asked(query: &Query, encode: Encode) -> String {
    let store = store(encode);
    let server: &HttpServer = &store.servers[0];
    let request = request(query, &store, server).expect("there is something to judge");
    String::from_utf8_lossy(request.expose()).into_owned()
}

#[test]
fn a_request_is_nginx_s_and_tells_more() {
    let asked =
        asked(&query(with_password(b"a b%", b"p\xc3\xa9 %\x01"), Protocol::Imap), Encode::Nginx);
    let expected = [
        "GET /mail?v=1 HTTP/1.0",
        "Host: auth.test",
        "Auth-Method: plain",
        "Auth-User: a%20b%25",
        "Auth-Pass: p\u{e9}%20%25%01",
        "Auth-Protocol: imap",
        "Auth-Login-Attempt: 2",
        "Client-IP: 192.0.2.7",
        "Client-Port: 50123",
        "Server-IP: 198.51.100.1",
        "Server-Port: 143",
        "Auth-Session: 000000000000abcd",
        "Auth-Mechanism: PLAIN",
        "X-Key: s3cret",
        "",
        "",
    ];
    assert_eq!(asked, expected.join("\r\n"));
}

#[test]
fn what_a_balancer_s_header_said_is_told_beside_who_the_client_is() {
    let mut query = query(with_password(b"a", b"b"), Protocol::Submission);
    query.client = "192.0.2.9:50999".parse().expect("an address");
    query.header = Some(Peer {
        client: "[2001:db8::7]:50123".parse().expect("an address"),
        local: "[2001:db8::1]:587".parse().expect("an address"),
    });
    query.tls = Some(TlsFacts { version: "TLSv1.3", ..TlsFacts::default() });
    let asked = asked(&query, Encode::Nginx);
    let lines = "Client-IP: 192.0.2.9\r\nClient-Host: [UNAVAILABLE]\r\n\
        Proxy-Protocol-Addr: 2001:db8::7\r\nProxy-Protocol-Port: 50123\r\n\
        Proxy-Protocol-Server-Addr: 2001:db8::1\r\nProxy-Protocol-Server-Port: 587\r\n\
        Auth-SSL: on\r\n";
    assert!(asked.contains(lines), "{asked}");
}

#[test]
fn bytes_that_are_no_ascii_are_escaped_where_that_is_asked_for() {
    let query = query(with_password(b"b\xf8", b"p\x7f\xff"), Protocol::Pop3);
    let asked = asked(&query, Encode::All);
    assert!(asked.contains("Auth-User: b%F8\r\nAuth-Pass: p%7F%FF\r\n"), "{asked}");
    let store = store(Encode::Nginx);
    let raw = request(&query, &store, &store.servers[0]).expect("there is something to judge");
    let line = b"Auth-Pass: p\x7f\xff\r\n";
    assert!(raw.expose().windows(line.len()).any(|window| window == line));
}

#[test]
fn nothing_that_a_client_gives_leaves_its_line() {
    let login = Login {
        mechanism: Mechanism::Plain,
        proof: Proof::Password(Credential {
            authzid: b"x\nAuth-User: root".to_vec(),
            user: b"a\r\nAuth-User: root".to_vec(),
            password: Secret::from(&b"\r\n\r\n"[..]),
        }),
    };
    let mut query = query(login, Protocol::Imap);
    let server_name = Some("a\r\nb".to_string());
    query.tls = Some(TlsFacts { server_name, ..TlsFacts::default() });
    let asked = asked(&query, Encode::Nginx);
    assert_eq!(asked.matches("\nAuth-User:").count(), 1, "{asked}");
    assert_eq!(asked.matches("\r\n\r\n").count(), 1, "{asked}");
    assert!(asked.contains("\r\nAuth-SSL-Server-Name: a%0D%0Ab\r\n"), "{asked}");
    assert!(asked.contains("\r\nAuth-Authzid: x%0AAuth-User:%20root\r\n"), "{asked}");
}

#[test]
fn protocols_methods_and_tls_have_the_names_that_servers_know() {
    let mut query = query(with_password(b"a", b"b"), Protocol::Submission);
    for (cipher, name) in [
        ("TLS13_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384"),
        ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256"),
        ("TLS_NEW", "TLS_NEW"),
    ] {
        let server_name = Some("mail.test".to_string());
        query.tls =
            Some(TlsFacts { version: "TLSv1.3", cipher, server_name, resumed: false, alpn: None });
        let asked = asked(&query, Encode::Nginx);
        let lines = format!(
            "Auth-Protocol: smtp\r\nAuth-Login-Attempt: 2\r\nClient-IP: 192.0.2.7\r\n\
             Client-Host: [UNAVAILABLE]\r\nAuth-SSL: on\r\nAuth-SSL-Protocol: TLSv1.3\r\n\
             Auth-SSL-Cipher: {name}\r\nAuth-SSL-Server-Name: mail.test\r\nClient-Port: 50123\r\n"
        );
        assert!(asked.contains(&lines), "{asked}");
    }
    query.protocol = Protocol::ManageSieve;
    assert!(asked(&query, Encode::Nginx).contains("Auth-Protocol: sieve\r\n"));
}

#[test]
fn a_token_is_told_as_a_password_is() {
    for (mechanism, message, method) in [
        (Mechanism::XOAuth2, &b"user=a@b\x01auth=Bearer tok.en\x01\x01"[..], "xoauth2"),
        (
            Mechanism::OAuthBearer,
            b"n,a=a@b,\x01host=h\x01auth=bearer tok.en\x01\x01",
            "oauthbearer",
        ),
    ] {
        let proof = Proof::Exchange { initial: Secret::from(message), user: Some(b"a@b".to_vec()) };
        let asked = asked(&query(Login { mechanism, proof }, Protocol::Imap), Encode::Nginx);
        let lines =
            format!("Auth-Method: {method}\r\nAuth-User: a@b\r\nAuth-Pass: tok.en\r\nAuth-Prot");
        assert!(asked.contains(&lines), "{asked}");
    }
}

#[test]
fn nobody_is_judged_by_a_name_alone() {
    let store = store(Encode::Nginx);
    for (mechanism, message) in [
        (Mechanism::ScramSha256, &b"n,,n=alice,r=abc"[..]),
        (Mechanism::XOAuth2, b"user=alice\x01\x01"),
        (Mechanism::OAuthBearer, b"n,a=alice,\x01auth=Bearer \x01\x01"),
        (Mechanism::OAuthBearer, b"n,a=alice,\x01auth=Basic abc\x01\x01"),
    ] {
        let initial = Secret::from(message);
        let proof = Proof::Exchange { initial, user: Some(b"alice".to_vec()) };
        let query = query(Login { mechanism, proof }, Protocol::Imap);
        assert_eq!(request(&query, &store, &store.servers[0]), None, "{mechanism:?}");
    }
    let query = query(with_password(b"alice", b""), Protocol::Imap);
    assert_eq!(request(&query, &store, &store.servers[0]), None);
}

fn answered(head: &[u8]) -> Result<Verdict, AnswerFault> {
    verdict(head, false)
}

fn accepted(head: &[u8]) -> Acceptance {
    match answered(head) {
        Ok(Verdict::Accepted(acceptance)) => acceptance,
        other => panic!("{other:?}"),
    }
}

fn denied(head: &[u8]) -> Denial {
    match answered(head) {
        Ok(Verdict::Denied(denial)) => denial,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_head_is_whole_at_its_blank_line_and_in_every_cut() {
    let received = b"HTTP/1.0 200 OK\r\nA: b\n\r\nbody\r\n\r\n";
    let whole = &received[..b"HTTP/1.0 200 OK\r\nA: b\n".len()];
    for end in 0..=received.len() {
        let expected = (end >= whole.len() + 2).then_some(whole);
        assert_eq!(whole_head(&received[..end]), expected, "{end}");
    }
}

#[test]
fn the_status_line_says_nothing() {
    for first in ["HTTP/1.0 200 OK", "HTTP/1.1 401 Unauthorized", "HTTP/1.1 500", "HTTP/9"] {
        let head =
            format!("{first}\r\nAuth-Status: OK\r\nAuth-Server: 192.0.2.1\r\nAuth-Port: 143");
        assert_eq!(accepted(head.as_bytes()).port, 143);
    }
    let bare = accepted(b"auth-server: 192.0.2.1\nAUTH-PORT: 143\n");
    assert_eq!((&*bare.host, bare.port), ("192.0.2.1", 143), "no status counts as success");
    assert_eq!(answered(b"HTTP/1.1 200 OK\r\n"), Err(AnswerFault::NoAddress));
    assert_eq!(answered(b"HTTP/1.1 200 OK\r\nAuth-Status: OK\r\n"), Err(AnswerFault::NoAddress));
}

#[test]
fn addresses_are_literals_or_names_and_nothing_else() {
    let answer = |server: &str, port: &str| {
        answered(format!("Auth-Status: OK\nAuth-Server: {server}\nAuth-Port: {port}\n").as_bytes())
    };
    for (server, host) in [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("imap.test", "imap.test"),
    ] {
        match answer(server, "993") {
            Ok(Verdict::Accepted(acceptance)) => assert_eq!(acceptance.host, host),
            other => panic!("{other:?}"),
        }
    }
    for (server, port) in [
        ("unix:/run/a", "143"),
        ("192.0.2.1:143", "143"),
        ("[imap.test]", "143"),
        ("a b", "143"),
        ("", "143"),
        ("192.0.2.1", "0"),
        ("192.0.2.1", "65536"),
        ("192.0.2.1", "+1"),
        ("192.0.2.1", ""),
    ] {
        assert_eq!(answer(server, port), Err(AnswerFault::Address), "{server} {port}");
    }
}

#[test]
fn a_refusal_is_whatever_is_not_exactly_ok_or_wait() {
    for text in ["Invalid login or password", "ok", "Ok", "wait", "OK.", ""] {
        let denial = denied(format!("Auth-Status:  {text} \r\nAuth-Server: x\r\n").as_bytes());
        assert_eq!((&*denial.text, denial.judged), (text.as_bytes(), true));
        assert_eq!((denial.hold, denial.last), (None, true));
    }
    let denial = denied(b"Auth-Status: no\r\nAuth-Wait: 3\r\nAuth-Error-Code: 535 5.7.0\r\n");
    assert_eq!((denial.hold, denial.last), (Some(Duration::from_secs(3)), false));
    assert_eq!(denial.smtp_code.map(|code| code.to_string()), Some("535 5.7.0".to_string()));
    for wait in ["0", "x", "-1", ""] {
        assert!(denied(format!("Auth-Status: no\nAuth-Wait: {wait}\n").as_bytes()).last, "{wait}");
    }
    assert_eq!(
        answered(b"Auth-Status: WAIT\nAuth-Wait: 7\n"),
        Ok(Verdict::Wait(Duration::from_secs(7)))
    );
    assert_eq!(answered(b"Auth-Status: WAIT\n"), Ok(Verdict::Wait(Duration::ZERO)));
}

#[test]
fn a_refusal_may_say_why_in_base64() {
    let told = |text: &str| {
        denied(format!("Auth-Status: no\r\nAuth-Error-SASL: {text}\r\n").as_bytes()).challenge
    };
    assert_eq!(told("eyJzdGF0dXMiOiI0MDAifQ=="), Some(b"{\"status\":\"400\"}".to_vec()));
    for none in ["", "{}", "eyJ9=", "e30=e30=", "e30 ="] {
        assert_eq!(told(none), None, "{none:?}");
    }
    let encoded = |octets: usize| {
        let mut text = Vec::new();
        encode_base64(&vec![b'x'; octets], &mut text);
        String::from_utf8(text).expect("base64 is ASCII")
    };
    assert_eq!(told(&encoded(CHALLENGE_MAX)).map(|it| it.len()), Some(CHALLENGE_MAX));
    assert_eq!(told(&encoded(CHALLENGE_MAX + 1)), None);
    assert_eq!(denied(b"Auth-Status: no\r\n").challenge, None);
}

#[test]
fn lines_have_nginx_s_shape() {
    let rest = "Auth-Server: 192.0.2.1\r\nAuth-Port: 1\r\n";
    for good in ["X-Lone-Name", "x:", "1-x: y:z", "X: \u{fc}\t"] {
        accepted(format!("{good}\r\n{rest}").as_bytes());
    }
    for bad in ["X_Y: z", " folded", "-x: y", ": y", "X Y: z", "X: a\rb", "X: \0", "<html>"] {
        assert_eq!(
            answered(format!("{bad}\r\n{rest}").as_bytes()),
            Err(AnswerFault::Shape),
            "{bad}"
        );
    }
}

#[test]
fn names_and_passwords_for_the_backend_cannot_leave_their_place() {
    let head = |user: &str, pass: &str| {
        format!("Auth-Server: 192.0.2.1\nAuth-Port: 1\nAuth-User: {user}\nAuth-Pass: {pass}\n")
    };
    let plain = accepted(head("a%20b", "p%00").as_bytes());
    assert_eq!(plain.user, Some(b"a%20b".to_vec()));
    assert_eq!(plain.password, Some(Secret::from(&b"p%00"[..])));
    match verdict(head("a%20b%", "%e2%82%ac%zz").as_bytes(), true) {
        Ok(Verdict::Accepted(decoded)) => {
            assert_eq!(decoded.user, Some(b"a b%".to_vec()));
            assert_eq!(decoded.password, Some(Secret::from("\u{20ac}%zz".as_bytes())));
        }
        other => panic!("{other:?}"),
    }
    let long = "a".repeat(crate::line::USER_MAX + 1);
    for (user, pass) in [("a%0d%0ab", "p"), ("a", "p%00"), ("a", "%0A"), ("", "p"), (&*long, "p")] {
        let fault = verdict(head(user, pass).as_bytes(), true);
        assert_eq!(fault, Err(AnswerFault::Credentials), "{user} {pass}");
    }
}

#[test]
fn credentials_of_the_server_s_choice_are_for_the_account_that_it_judged() {
    let given = Login {
        mechanism: Mechanism::Login,
        proof: Proof::Password(Credential {
            authzid: b"boss".to_vec(),
            user: b"alice".to_vec(),
            password: Secret::from(&b"own"[..]),
        }),
    };
    let acceptance = |user: Option<&[u8]>, password: Option<&[u8]>| Acceptance {
        host: "192.0.2.1".to_string(),
        port: 1,
        user: user.map(<[u8]>::to_vec),
        password: password.map(Secret::from),
    };
    let told = |given: &Login, accepted: &Acceptance| -> Option<Vec<Vec<u8>>> {
        let login = login(given, accepted).expect("it can be told")?;
        let Proof::Password(credential) = &login.proof else { panic!("it is a password") };
        let password = credential.password.expose().to_vec();
        Some(vec![credential.authzid.clone(), credential.user.clone(), password])
    };
    let three = |user: &[u8], password: &[u8]| Some(vec![vec![], user.to_vec(), password.to_vec()]);
    assert_eq!(told(&given, &acceptance(None, None)), None);
    assert_eq!(told(&given, &acceptance(None, Some(b"new"))), three(b"alice", b"new"));
    assert_eq!(told(&given, &acceptance(Some(b"al"), None)), three(b"al", b"own"));
    assert_eq!(told(&given, &acceptance(Some(b"al"), Some(b"new"))), three(b"al", b"new"));
    let initial = Secret::from(&b"user=a\x01auth=Bearer t\x01\x01"[..]);
    let proof = Proof::Exchange { initial, user: Some(b"a".to_vec()) };
    let token = Login { mechanism: Mechanism::XOAuth2, proof };
    assert_eq!(told(&token, &acceptance(None, Some(b"new"))), three(b"a", b"new"));
    assert_eq!(login(&token, &acceptance(Some(b"al"), None)), Err(AnswerFault::NoPassword));
}
