//! What a client hears, by class, is one table for all protocols.
//!
//! A row is a class of refusal, a column a protocol. Each cell becomes a byte script, which the
//! core must satisfy in every cut: the same event, told in the protocol's own words. The last test
//! is the promise behind the table: after a wrong password the same connection may try again, as
//! somebody else, on another backend, and no byte of the client reaches the one that refused.

#![allow(missing_docs)]

use std::fmt::Write as _;
use std::fs;

use gatepost_conformance::script;

/// How a protocol says what every protocol says.
struct Tongue {
    name: &'static str,
    /// Its greeting where passwords may travel, and where TLS is needed first.
    greeting: &'static [&'static str],
    greeting_before_tls: &'static [&'static str],
    /// What stands before a login: lines of the client and the answers.
    prelude: &'static [(&'static str, &'static str)],
    prelude_before_tls: &'static [(&'static str, &'static str)],
    /// The login of a PLAIN message, in base64.
    login: fn(&str) -> String,
    /// The tag of an answer.
    tag: &'static str,
    /// What a backend says until it is sent the login, with what it is sent.
    backend: &'static [(char, &'static str)],
    /// The login as the backend sees it.
    backend_login: fn(&str) -> String,
    /// How a backend refuses.
    backend_no: &'static str,
    /// The answers, row by row.
    unavailable: &'static str,
    configuration: &'static str,
    credentials: &'static str,
    tls_needed: &'static str,
    too_many_connections: &'static str,
    too_many_attempts: &'static str,
    bad_characters: &'static str,
    kicked: &'static str,
    shutting_down: &'static str,
    timed_out: &'static str,
}

const IMAP: Tongue = Tongue {
    name: "imap",
    greeting: &["* OK [CAPABILITY IMAP4rev1 SASL-IR LITERAL+ AUTH=PLAIN] ready"],
    greeting_before_tls: &[
        "* OK [CAPABILITY IMAP4rev1 SASL-IR LITERAL+ STARTTLS LOGINDISABLED] ready",
    ],
    prelude: &[],
    prelude_before_tls: &[],
    login: |message| format!("a1 AUTHENTICATE PLAIN {message}"),
    tag: "a1 ",
    backend: &[('B', "* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] hello")],
    backend_login: |message| format!("L AUTHENTICATE PLAIN {message}"),
    backend_no: "L NO [AUTHENTICATIONFAILED] wrong",
    unavailable: "NO [UNAVAILABLE] Account is temporarily unavailable.",
    configuration: "NO [SERVERBUG] Account is temporarily unavailable.",
    credentials: "NO [AUTHENTICATIONFAILED] Authentication failed.",
    tls_needed: "NO [PRIVACYREQUIRED] TLS is required",
    too_many_connections: "* BYE [LIMIT] Too many connections",
    too_many_attempts: "* BYE Too many authentication failures",
    bad_characters: "NO [AUTHENTICATIONFAILED] Invalid credentials",
    kicked: "* BYE Disconnected by an administrator",
    shutting_down: "* BYE Shutting down",
    timed_out: "* BYE Timed out",
};

const POP3: Tongue = Tongue {
    name: "pop3",
    greeting: &["+OK ready"],
    greeting_before_tls: &["+OK ready"],
    prelude: &[],
    prelude_before_tls: &[],
    login: |message| format!("AUTH PLAIN {message}"),
    tag: "",
    backend: &[('B', "+OK hello"), ('>', "CAPA"), ('B', "+OK\\r\\nSASL PLAIN\\r\\n.")],
    backend_login: |message| format!("AUTH PLAIN {message}"),
    backend_no: "-ERR [AUTH] wrong",
    unavailable: "-ERR [SYS/TEMP] Account is temporarily unavailable.",
    configuration: "-ERR [SYS/PERM] Account is temporarily unavailable.",
    credentials: "-ERR [AUTH] Authentication failed.",
    tls_needed: "-ERR [AUTH] TLS is required",
    too_many_connections: "-ERR [SYS/TEMP] Too many connections",
    too_many_attempts: "-ERR [AUTH] Too many authentication failures",
    bad_characters: "-ERR [AUTH] Invalid credentials",
    kicked: "-ERR [SYS/TEMP] Disconnected by an administrator",
    shutting_down: "-ERR [SYS/TEMP] Shutting down",
    timed_out: "-ERR Timed out",
};

const SUBMISSION: Tongue = Tongue {
    name: "submission",
    greeting: &["220 mail.example.com ESMTP ready"],
    greeting_before_tls: &["220 mail.example.com ESMTP ready"],
    prelude: &[(
        "EHLO client.test",
        "250-mail.example.com\\r\\n250-PIPELINING\\r\\n250-8BITMIME\\r\\n\
         250-ENHANCEDSTATUSCODES\\r\\n250-DSN\\r\\n250 AUTH PLAIN",
    )],
    prelude_before_tls: &[(
        "EHLO client.test",
        "250-mail.example.com\\r\\n250-PIPELINING\\r\\n250-8BITMIME\\r\\n\
         250-ENHANCEDSTATUSCODES\\r\\n250-DSN\\r\\n250 STARTTLS",
    )],
    login: |message| format!("AUTH PLAIN {message}"),
    tag: "",
    backend: &[
        ('B', "220 hello"),
        ('>', "EHLO client.test"),
        ('B', "250-hello\\r\\n250 AUTH PLAIN"),
    ],
    backend_login: |message| format!("AUTH PLAIN {message}"),
    backend_no: "535 5.7.8 wrong",
    unavailable: "454 4.7.0 Account is temporarily unavailable.",
    configuration: "454 4.3.5 Account is temporarily unavailable.",
    credentials: "535 5.7.8 Authentication failed.",
    tls_needed: "538 5.7.11 TLS is required",
    too_many_connections: "421 4.7.0 Too many connections",
    too_many_attempts: "421 4.7.0 Too many authentication failures",
    bad_characters: "535 5.7.8 Invalid credentials",
    kicked: "421 4.3.2 Disconnected by an administrator",
    shutting_down: "421 4.3.2 Shutting down",
    timed_out: "421 4.4.2 Timed out",
};

const MANAGESIEVE: Tongue = Tongue {
    name: "managesieve",
    greeting: &[
        "\"IMPLEMENTATION\" \"Gatepost\"",
        "\"SASL\" \"PLAIN\"",
        "\"SIEVE\" \"fileinto vacation\"",
        "\"VERSION\" \"1.0\"",
        "OK \"ready\"",
    ],
    greeting_before_tls: &[
        "\"IMPLEMENTATION\" \"Gatepost\"",
        "\"SASL\" \"\"",
        "\"SIEVE\" \"fileinto vacation\"",
        "\"STARTTLS\"",
        "\"VERSION\" \"1.0\"",
        "OK \"ready\"",
    ],
    prelude: &[],
    prelude_before_tls: &[],
    login: |message| format!("AUTHENTICATE \"PLAIN\" \"{message}\""),
    tag: "",
    backend: &[('B', "\"SASL\" \"PLAIN\"\\r\\n\"SIEVE\" \"fileinto\"\\r\\nOK")],
    backend_login: |message| format!("AUTHENTICATE \"PLAIN\" \"{message}\""),
    backend_no: "NO \"wrong\"",
    unavailable: "NO (TRYLATER) \"Account is temporarily unavailable.\"",
    configuration: "NO \"Account is temporarily unavailable.\"",
    credentials: "NO \"Authentication failed.\"",
    tls_needed: "NO (ENCRYPT-NEEDED) \"TLS is required\"",
    too_many_connections: "BYE (TRYLATER) \"Too many connections\"",
    too_many_attempts: "BYE \"Too many authentication failures\"",
    bad_characters: "NO \"Invalid credentials\"",
    kicked: "BYE (TRYLATER) \"Disconnected by an administrator\"",
    shutting_down: "BYE (TRYLATER) \"Shutting down\"",
    timed_out: "BYE \"Timed out\"",
};

const TONGUES: [&Tongue; 4] = [&IMAP, &POP3, &SUBMISSION, &MANAGESIEVE];

const ALICE: &str = "$b64(\\0alice\\0secret)";
const BOB: &str = "$b64(\\0bob\\0other)";
const CONNECTED: &str = "W: client 192.0.2.7:50123 -> 198.51.100.1:143";

#[test]
fn every_class_of_refusal_in_every_protocol() {
    for tongue in TONGUES {
        let scripts = [
            ("unavailable", unavailable(tongue)),
            ("configuration", configuration(tongue)),
            ("credentials", credentials(tongue)),
            ("tls-needed", tls_needed(tongue)),
            ("too-many-connections", too_many_connections(tongue)),
            ("too-many-attempts", too_many_attempts(tongue)),
            ("bad-characters", bad_characters(tongue)),
            ("kicked", sent_away(tongue, "W: kicked", tongue.kicked, "operator reason=kicked")),
            ("drain", sent_away(tongue, "W: drain", tongue.shutting_down, "operator reason=drain")),
            (
                "timed-out",
                sent_away(tongue, "W: 30s pass", tongue.timed_out, "proxy reason=timeout/preauth"),
            ),
        ];
        hold(tongue, &scripts);
    }
}

#[test]
fn a_second_try_in_the_same_connection_reaches_its_own_backend() {
    for tongue in TONGUES {
        let mut text = opening(tongue, "", "route: alice -> one.test:1 plain hide_auth_errors=yes");
        text = text.replacen("\nW:", "\nroute: bob -> two.test:2 plain\nW:", 1);
        // The second login and what follows it come in the same breath as the first.
        line(&mut text, "C", &(tongue.login)(ALICE));
        line(&mut text, "C", &(tongue.login)(BOB));
        line(&mut text, "C", "a3 NOOP");
        reach(&mut text, tongue, "alice", "one.test:1", ALICE);
        line(&mut text, "B", tongue.backend_no);
        line(&mut text, "P", "hang up");
        answer(&mut text, tongue, tongue.credentials);
        reach(&mut text, tongue, "bob", "two.test:2", BOB);
        hold(tongue, &[("second-try", text)]);
    }
}

fn unavailable(tongue: &Tongue) -> String {
    let mut text = opening(tongue, "retries=0", "route: * -> one.test:1 plain");
    line(&mut text, "C", &(tongue.login)(ALICE));
    text.push_str("P: lookup alice\nW: found\nP: connect one.test:1\nW: connect failed refused\n");
    answer(&mut text, tongue, tongue.unavailable);
    text
}

fn configuration(tongue: &Tongue) -> String {
    let mut text = opening(tongue, "", "route: * -> one.test:1 implicit");
    line(&mut text, "C", &(tongue.login)(ALICE));
    text.push_str("P: lookup alice\nW: found\nP: connect one.test:1\nW: connected\n");
    text.push_str("P: starttls backend\nW: tls backend failed certificate\nP: hang up\n");
    answer(&mut text, tongue, tongue.configuration);
    text
}

fn credentials(tongue: &Tongue) -> String {
    let mut text = opening(tongue, "", "route: * -> one.test:1 plain hide_auth_errors=yes");
    line(&mut text, "C", &(tongue.login)(ALICE));
    reach(&mut text, tongue, "alice", "one.test:1", ALICE);
    line(&mut text, "B", tongue.backend_no);
    line(&mut text, "P", "hang up");
    answer(&mut text, tongue, tongue.credentials);
    text
}

fn tls_needed(tongue: &Tongue) -> String {
    let mut text = format!("listen: {} tls=starttls sasl=PLAIN\n{CONNECTED}\n", tongue.name);
    for said in tongue.greeting_before_tls {
        line(&mut text, "P>C", said);
    }
    prelude(&mut text, tongue.prelude_before_tls);
    line(&mut text, "C", &(tongue.login)(ALICE));
    answer(&mut text, tongue, tongue.tls_needed);
    text
}

fn too_many_connections(tongue: &Tongue) -> String {
    let mut text = format!("listen: {}\n{CONNECTED} refused=limit\n", tongue.name);
    line(&mut text, "P>C", tongue.too_many_connections);
    line(&mut text, "P", "close by=proxy reason=too-many-connections state=admit");
    text
}

fn too_many_attempts(tongue: &Tongue) -> String {
    let route = "route: * -> one.test:1 plain hide_auth_errors=yes";
    let mut text = opening(tongue, "max_auth_attempts=1", route);
    line(&mut text, "C", &(tongue.login)(ALICE));
    reach(&mut text, tongue, "alice", "one.test:1", ALICE);
    line(&mut text, "B", tongue.backend_no);
    line(&mut text, "P", "hang up");
    answer(&mut text, tongue, tongue.credentials);
    line(&mut text, "P>C", tongue.too_many_attempts);
    line(&mut text, "P", "close by=proxy reason=too-many-attempts state=preauth");
    text
}

fn bad_characters(tongue: &Tongue) -> String {
    let mut text = opening(tongue, "", "route: * -> one.test:1 plain");
    for message in ["$b64(\\0alice\\0sec\\rret)", "$b64(\\0al\\nice\\0secret)", "$b64(\\0a b\\0s)"]
    {
        line(&mut text, "C", &(tongue.login)(message));
        answer(&mut text, tongue, tongue.bad_characters);
    }
    text
}

fn sent_away(tongue: &Tongue, event: &str, words: &str, close: &str) -> String {
    let mut text = opening(tongue, "", "route: * -> one.test:1 plain");
    text.push_str(event);
    text.push('\n');
    line(&mut text, "P>C", words);
    line(&mut text, "P", &format!("close by={close} state=preauth"));
    text
}

/// Header, greeting and prelude of a listener on which passwords may travel.
fn opening(tongue: &Tongue, keys: &str, route: &str) -> String {
    let mut text = format!("listen: {} cleartext=yes sasl=PLAIN {keys}\n", tongue.name);
    text = text.trim_end().to_owned();
    let _ = write!(text, "\n{route}\n{CONNECTED}\n");
    for said in tongue.greeting {
        line(&mut text, "P>C", said);
    }
    prelude(&mut text, tongue.prelude);
    text
}

fn prelude(text: &mut String, exchanges: &[(&str, &str)]) {
    for (said, answered) in exchanges {
        line(text, "C", said);
        line(text, "P>C", answered);
    }
}

/// From the login to what the backend is sent of it.
fn reach(text: &mut String, tongue: &Tongue, user: &str, at: &str, message: &str) {
    let _ = write!(text, "P: lookup {user}\nW: found\nP: connect {at}\nW: connected\n");
    for (who, said) in tongue.backend {
        line(text, if *who == 'B' { "B" } else { "P>B" }, said);
    }
    line(text, "P>B", &(tongue.backend_login)(message));
}

fn answer(text: &mut String, tongue: &Tongue, words: &str) {
    line(text, "P>C", &format!("{}{words}", tongue.tag));
}

fn line(text: &mut String, key: &str, said: &str) {
    let _ = writeln!(text, "{key}: {said}");
}

/// Runs scripts in every cut.
fn hold(tongue: &Tongue, scripts: &[(&str, String)]) {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in scripts {
        let path = folder.path().join(format!("{}-{name}.script", tongue.name));
        fs::write(path, format!("# {name} in {}.\n{text}", tongue.name)).expect("a script");
    }
    let outcome = script::run(folder.path()).expect("readable scripts");
    let failures: Vec<String> = outcome.failures.iter().map(ToString::to_string).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let filtered = std::env::var_os("SCRIPT").is_some();
    assert!(filtered || outcome.scripts == scripts.len(), "{} scripts ran", outcome.scripts);
}
