//! The log: one line for each login and each end, with every field, and never a password.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gatepost_conformance::rig::Tls;

use crate::server::program::Program;
use crate::server::stage::{Backend, Draft};
use crate::server::wire::{PASSWORD, Wire, eventually};

/// A user who would like to write the log himself.
const ODD: &str = "odd user \"q\" by=client\u{202e}\u{e4}";
/// The same with an escape sequence and a line end, which no store would be asked for.
const WORSE: &str = "worse\u{1b}[2J\r\nlogin session=0000";

/// The fields of a line, in order; values as they are.
fn fields(line: &str) -> Vec<(String, String)> {
    let (_, fields) = line.split_once("] ").unwrap();
    let pairs = fields.split(' ').skip(1).map(|field| field.split_once('=').unwrap());
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn message(user: &str) -> String {
    STANDARD.encode(format!("\0{user}\0{PASSWORD}"))
}

/// Everything that may happen to a password.
fn logins(program: &Program, backend: &Backend, undecided: &Backend) {
    let mut near = program.client(Tls::Implicit);
    near.log_in("far@test");
    let mut far = backend.session();
    near.echo(&mut far, "hello");
    near.finish();
    assert_eq!(far.rest().0, b"");
    far.finish();
    assert_eq!(near.rest().0, b"");

    let mut client = program.client(Tls::Plain);
    client.expect("* OK ");
    let authenticate = |client: &mut Wire, user: &str| {
        client.say(format!("a AUTHENTICATE PLAIN {}\r\n", message(user)));
        client.answer("a")
    };
    assert!(authenticate(&mut client, WORSE).starts_with("NO [AUTHENTICATIONFAILED] "));
    assert!(authenticate(&mut client, ODD).starts_with("NO [AUTHENTICATIONFAILED] "));
    client.say(format!("b LOGIN \"broken {PASSWORD}\r\nc {PASSWORD} {PASSWORD}\r\n"));
    assert!(client.answer("b").starts_with("BAD "));
    assert!(client.answer("c").starts_with("BAD "));
    client.say(format!("d LOGIN undecided@test {{{}}}\r\n", PASSWORD.len()));
    client.expect("+");
    client.say(format!("{PASSWORD}\r\n"));
    let mut refusing = undecided.session();
    let login = refusing.line().unwrap();
    let tag = login.split(' ').next().unwrap();
    refusing.say(format!("{tag} NO [AUTHENTICATIONFAILED] {PASSWORD} is wrong\r\n"));
    assert!(client.answer("d").starts_with("NO "));
    client.say(format!("e LOGIN nowhere@test {PASSWORD}\r\n"));
    assert!(client.answer("e").starts_with("NO [UNAVAILABLE] "));
    client.say("f LOGOUT\r\n");
    assert!(client.answer("f").starts_with("OK "));
}

fn run(format: &str, backend: &Backend, undecided: &Backend) -> Option<Program> {
    let server = format!(
        "threads = 2\nlog_level = \"trace\"\nlog_format = \"{format}\"\n\
         backend_connect_retries = 0"
    );
    let draft = Draft::new(&server)
        .listener(Tls::Plain, 0, "max_auth_attempts = 10")
        .listener(Tls::Implicit, 0, "")
        .destination("far", backend, "")
        .destination("undecided", undecided, "")
        .destination_at("nowhere", "127.0.0.1", 1, "allow_plaintext_auth = true\n");
    let program = Program::run(draft)?;
    logins(&program, backend, undecided);
    eventually("both sessions have ended", || {
        (program.lines(&["end", "from_client"]).len() == 2).then_some(())
    });
    Some(program)
}

fn assert_secret(log: &str) {
    for secret in [PASSWORD.to_owned(), message("far@test"), message(ODD), message(WORSE)] {
        assert!(!log.contains(&secret), "a credential is in the log:\n{log}");
    }
    assert!(log.bytes().all(|octet| octet == b'\n' || !octet.is_ascii_control()), "{log:?}");
}

#[test]
fn a_text_log_has_a_line_for_each_login_and_each_end() {
    let (backend, undecided) = (Backend::start(Tls::Implicit), Backend::start_undecided());
    let Some(program) = run("text", &backend, &undecided) else { return };
    assert_secret(&program.log());

    let logins = program.lines(&["] login "]);
    let [login] = &logins[..] else { panic!("{logins:?}") };
    let expected = [
        "session",
        "listener",
        "protocol",
        "client",
        "user",
        "mechanism",
        "client_tls",
        "destination",
        "host",
        "backend_tls",
        "address",
    ];
    let keys = |line: &str| fields(line).into_iter().map(|(key, _)| key).collect::<Vec<_>>();
    assert_eq!(keys(login), expected);
    let of = |line: &str, key: &str| {
        fields(line).into_iter().find(|(known, _)| known == key).map(|(_, value)| value).unwrap()
    };
    assert_eq!(of(login, "listener"), "implicit");
    assert_eq!(of(login, "user"), "far@test");
    assert_eq!(of(login, "address"), backend.address.to_string());
    assert!(of(login, "client_tls").starts_with("TLSv1.3/TLS_"), "{login}");
    assert!(of(login, "backend_tls").starts_with("TLSv1.3/TLS_"), "{login}");

    let session = format!("session={} ", of(login, "session"));
    let ends = program.lines(&["] end ", &session]);
    let [end] = &ends[..] else { panic!("{ends:?}") };
    let more = ["by", "reason", "state", "ms", "login_ms", "from_client", "from_backend"];
    assert_eq!(keys(end), [&expected[..], &more].concat());
    assert!(end.contains(" by=client reason=eof state=relay "), "{end}");
    assert!(end.ends_with(" from_client=7 from_backend=12"), "{end}");

    let refused = program.lines(&["] refused "]);
    let [worse, odd, wrong, outage] = &refused[..] else { panic!("{refused:?}") };
    let whole = "user=worse\\u{1b}[2J\\u{d}\\u{a}login\\u{20}session\\u{3d}0000 ";
    assert!(worse.contains(whole) && worse.ends_with("refusal=bad-characters"), "{worse}");
    let whole = "user=odd\\u{20}user\\u{20}\\u{22}q\\u{22}\\u{20}by\\u{3d}client\\u{202e}\u{e4} ";
    assert!(odd.contains(whole) && odd.ends_with("refusal=bad-characters"), "{odd}");
    assert!(wrong.ends_with("refusal=credentials"), "{wrong}");
    assert!(outage.ends_with("refusal=unavailable"), "{outage}");
    let failed = program.lines(&["] attempt-failed "]);
    assert!(failed.len() == 1 && failed[0].contains(" fault=connect/refused state=connect"));
    let second = program.lines(&["] end ", "by=client reason=logout state=preauth "]);
    assert_eq!(second.len(), 1, "{}", program.log());
    assert_eq!(program.lines(&["] end "]).len(), 2);
}

#[test]
fn a_json_log_has_an_object_in_each_line() {
    let (backend, undecided) = (Backend::start(Tls::Implicit), Backend::start_undecided());
    let Some(program) = run("json", &backend, &undecided) else { return };
    let log = program.log();
    assert_secret(&log);
    assert!(log.is_ascii());
    assert!(log.lines().all(|line| line.starts_with('{') && line.ends_with('}')), "{log}");
    let count = |words: &[&str]| program.lines(words).len();
    assert_eq!(count(&["\"event\":\"login\"", "\"user\":\"far@test\""]), 1);
    assert_eq!(count(&["\"event\":\"end\"", "\"reason\":\"eof\"", "\"from_client\":7"]), 1);
    assert_eq!(count(&["\"event\":\"end\""]), 2);
    let odd = "\"user\":\"odd user \\\"q\\\" by=client\\u202e\\u00e4\"";
    assert_eq!(count(&["\"event\":\"refused\"", odd]), 1);
    assert_eq!(count(&["\"user\":\"worse\\u001b[2J\\r\\nlogin session=0000\""]), 1);
    assert!(log.lines().all(|line| line.contains("\"time_ms\":") && line.contains("\"level\":")));
}

#[test]
fn a_client_behind_a_trusted_proxy_stands_in_the_log_beside_it() {
    let backend = Backend::start(Tls::Plain);
    let draft = Draft::new("log_level = \"trace\"")
        .listener(Tls::Plain, 0, "forwarding_trusted = [\"127.0.0.0/8\"]")
        .destination("far", &backend, "");
    let Some(program) = Program::run(draft) else { return };
    let mut client = program.client(Tls::Plain);
    client.expect("* OK ");
    let told = r#""x-originating-ip" "2001:db8::7" "x-originating-port" "50123""#;
    client.say(format!("a ID ({told} \"x-session-id\" \"front=1\" \"x-proxy-ttl\" \"1\")\r\n"));
    client.expect("* ID ");
    assert!(client.answer("a").starts_with("OK "));
    client.say(format!("b LOGIN far@test {PASSWORD}\r\n"));
    assert!(client.answer("b").starts_with("NO [SERVERBUG] "));
    let failed =
        eventually("the attempt has failed", || program.lines(&["] attempt-failed "]).pop());
    for part in [
        " client=[2001:db8::7]:50123 via=127.0.0.1:",
        " via_session=front\\u{3d}1 ",
        " fault=loop state=connect",
    ] {
        assert!(failed.contains(part), "{part} in {failed}");
    }
    assert!(backend.is_unused());
}
