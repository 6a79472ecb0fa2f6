//! Dialogues that make sense, as lists of operations.
//!
//! They are written for no particular configuration: a step that is not asked for is not answered,
//! and what one configuration refuses another one takes.

use gatepost_core::Leg;
use proptest::sample::Index;

/// Something that happens to a session.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    /// Octets arrive.
    Bytes(Leg, Vec<u8>),
    /// The outstanding step succeeds.
    Good,
    /// It fails, in one of the ways in which it can.
    Bad(u8),
    /// An earlier step is answered, again or late, with anything.
    Stale(Index, u8),
    Eof(Leg),
    Lost(Leg, u8),
    /// Milliseconds pass at once; what is due then comes late.
    Pass(u64),
    /// A timeout that is not due.
    EarlyTimeout,
    Drain,
}

/// The password of everybody here.
pub(crate) const PASSWORD: &str = "cUcUmber";

/// Pieces of both sides' lines.
pub(crate) const WORDS: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\"",
    b"\\",
    b"(",
    b")",
    b"[",
    b"]",
    b"*",
    b"* ",
    b"+ ",
    b"a1 ",
    b"A ",
    b"{0}\r\n",
    b"{4}\r\n",
    b"{4+}\r\n",
    b"{17+}\r\n",
    b"{16384}\r\n",
    b"{16385+}\r\n",
    b"{99999999999999999999}\r\n",
    b"{-1}\r\n",
    b"~{4+}\r\n",
    b"NOOP",
    b"LOGOUT",
    b"CAPABILITY",
    b"STARTTLS",
    b"LOGIN",
    b"LOGIN alice cUcUmber\r\n",
    b"AUTHENTICATE ",
    b"PLAIN",
    b"LOGIN ",
    b"XOAUTH2 ",
    b"OAUTHBEARER ",
    b"AGFsaWNlAGNVY1VtYmVy\r\n",
    b"=",
    b"=\r\n",
    b"ID NIL\r\n",
    b"ID (",
    b"\"name\" \"x\"",
    b"a NOOP\r\n",
    b"a NOOP\r\na NOOP\r\na NOOP\r\n",
    b"OK ",
    b"NO ",
    b"BAD ",
    b"BYE ",
    b"PREAUTH ",
    b"[CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN]",
    b"[UNAVAILABLE]",
    b"[AUTHENTICATIONFAILED]",
    b"L OK in\r\n",
    b"L NO no\r\n",
    b"C OK done\r\n",
    b"S OK go\r\n",
    b"I OK\r\n",
    b"* CAPABILITY IMAP4rev1 AUTH=PLAIN STARTTLS ID\r\n",
    b"+OK ",
    b"-ERR ",
    b"[AUTH] ",
    b"[SYS/TEMP] ",
    b".\r\n",
    b"SASL PLAIN\r\n",
    b"USER alice\r\n",
    b"PASS cUcUmber\r\n",
    b"AUTH PLAIN ",
    b"STLS\r\n",
    b"CAPA\r\n",
    b"QUIT\r\n",
    b"\"",
    b"\"PLAIN\" ",
    b"\"AGFsaWNlAGNVY1VtYmVy\"\r\n",
    b"AUTHENTICATE \"PLAIN\" ",
    b"NOOP \"t\"\r\n",
    b"OK (SASL \"AQ==\") \"in\"\r\n",
    b"NO (TRYLATER) \"no\"\r\n",
    b"BYE \"bye\"\r\n",
    b"\"SASL\" \"PLAIN\"\r\n",
    b"EHLO c.example\r\n",
    b"STARTTLS\r\n",
    b"BDAT 20\r\n",
    b"BDAT 99999\r\n",
    b"220 hi\r\n",
    b"250-",
    b"250 AUTH PLAIN\r\n",
    b"250-XCLIENT ADDR HELO\r\n",
    b"334 ",
    b"235 in\r\n",
    b"235-",
    b"454 later\r\n",
    b"535 no\r\n",
    b"* OK hello\r\n",
    b"* BYE bye\r\n",
    b"+ \r\n",
    b"* 1 EXISTS\r\n",
    b"GET / HTTP/1.1\r\n",
    b"XCLIENT ADDR=192.0.2.9 TTL=2 SESSION=a+2Bb\r\n",
    b"XCLIENT TTL=",
    b"HELO=a+20b ",
    b"\"x-originating-ip\" \"192.0.2.9\" ",
    b"\"x-proxy-ttl\" \"1\")\r\n",
];

/// Commands that are served as often as they come.
pub(crate) const COMMANDS: &[&[u8]] = &[
    b"a NOOP\r\n",
    b"a CAPABILITY\r\n",
    b"a ID NIL\r\n",
    b"a\n",
    b"CAPA\r\n",
    b"USER alice\r\n",
    b"EHLO c\r\n",
    b"NOOP\r\n",
];

fn client(text: &str) -> Op {
    Op::Bytes(Leg::Client, text.as_bytes().to_vec())
}

fn backend(text: &str) -> Op {
    Op::Bytes(Leg::Backend, text.as_bytes().to_vec())
}

/// A backend up to the login's verdict, with or without STARTTLS; what was not asked for it says
/// nevertheless, which only a backend without STARTTLS does not bear.
fn plain_backend(said: &str) -> Vec<Op> {
    let greeting = "* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=XOAUTH2] hello\r\n";
    vec![Op::Good, Op::Good, Op::Good, backend(greeting), backend(said)]
}

/// A backend behind STARTTLS.
fn starttls_backend(said: &str) -> Vec<Op> {
    vec![
        Op::Good,
        Op::Good,
        backend("* OK [CAPABILITY IMAP4rev1 STARTTLS] hello\r\n"),
        backend("S OK go\r\n"),
        Op::Good,
        backend("* CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN LITERAL+\r\nC OK done\r\n"),
        backend(said),
    ]
}

/// Admission, TLS where it is implicit, then a client that upgrades where it can.
fn opening() -> Vec<Op> {
    vec![Op::Good, Op::Good, client("s STARTTLS\r\n"), Op::Good]
}

/// All of them. Each logs in under some configuration.
pub(crate) fn all() -> Vec<Vec<Op>> {
    [imap(), pop3(), managesieve(), submission()].concat()
}

fn managesieve() -> Vec<Vec<Op>> {
    let opening = || vec![Op::Good, Op::Good, client("STARTTLS\r\n"), Op::Good];
    let inline = || vec![client("AUTHENTICATE \"PLAIN\" \"AGFsaWNlAGNVY1VtYmVy\"\r\n")];
    let list = "\"SASL\" {13}\r\nPLAIN XOAUTH2\r\n\"XCLIENT\"\r\nOK\r\n";
    let plain_backend =
        |said: &str| vec![Op::Good, Op::Good, Op::Good, backend(list), backend(said)];
    let starttls_backend = vec![
        Op::Good,
        Op::Good,
        backend("\"STARTTLS\"\r\nOK \"hello\"\r\n"),
        backend("OK \"go\"\r\n"),
        Op::Good,
        backend("\"SASL\" \"PLAIN\"\r\nOK\r\n"),
        backend("OK\r\n"),
    ];
    let xoauth2 = "AUTHENTICATE \"XOAUTH2\" {36+}\r\ndXNlcj1hbGljZQFhdXRoPUJlYXJlciB0AQE=\r\n";
    vec![
        [opening(), inline(), plain_backend("OK\r\nOK \"in\"\r\n")].concat(),
        [opening(), inline(), plain_backend("OK (WARNINGS) {2}\r\nin\r\n")].concat(),
        [opening(), inline(), starttls_backend].concat(),
        [
            opening(),
            vec![client("AUTHENTICATE \"PLAIN\"\r\n")],
            vec![client("{20+}\r\nAGFsaWNlAGNVY1VtYmVy\r\nLISTSCRIPTS\r\n")],
            plain_backend("NO (REFERRAL \"sieve://h.test\") {5}\r\nwrong\r\n"),
            inline(),
            plain_backend("OK\r\n"),
        ]
        .concat(),
        [
            opening(),
            vec![client(xoauth2)],
            plain_backend("{4}\r\nAQ==\r\n"),
            vec![client("\"\"\r\n"), backend("OK (SASL \"AQ==\") \"in\"\r\n")],
        ]
        .concat(),
    ]
}

fn pop3() -> Vec<Vec<Op>> {
    let opening = || vec![Op::Good, Op::Good, client("STLS\r\n"), Op::Good];
    let user = || vec![client("USER alice\r\nPASS cUcUmber\r\nSTAT\r\n")];
    let list = "+OK\r\nUIDL\r\nSASL PLAIN\r\nUSER\r\n.\r\n";
    let plain_backend = |said: &str| {
        [
            vec![Op::Good, Op::Good, Op::Good],
            vec![backend("+OK hello\r\n"), backend(list), backend(said)],
        ]
        .concat()
    };
    let starttls_backend = [
        vec![Op::Good, Op::Good],
        vec![backend("+OK hello\r\n"), backend("+OK\r\nSTLS\r\n.\r\n")],
        vec![backend("+OK go\r\n"), Op::Good, backend(list), backend("+OK in\r\n")],
    ]
    .concat();
    let xclient = "+OK\r\nXCLIENT\r\nPIPELINING\r\nSASL PLAIN\r\n.\r\n";
    vec![
        [opening(), user(), plain_backend("+OK in\r\n+OK 3 300\r\n")].concat(),
        [opening(), user(), starttls_backend].concat(),
        [
            opening(),
            vec![client("AUTH PLAIN\r\n"), client("AGFsaWNlAGNVY1VtYmVy\r\n")],
            vec![Op::Good, Op::Good, Op::Good, backend("+OK [XCLIENT] hello\r\n")],
            vec![backend(xclient), backend("+OK Updated\r\n"), backend("+OK in\r\n")],
        ]
        .concat(),
        [
            opening(),
            vec![client("AUTH PLAIN AGFsaWNlAGNVY1VtYmVy\r\n")],
            plain_backend("-ERR [AUTH] wrong\r\n"),
            vec![client("USER bob\r\nPASS cUcUmber\r\n")],
            plain_backend("+OK in\r\n"),
        ]
        .concat(),
    ]
}

fn submission() -> Vec<Vec<Op>> {
    let opening = || vec![Op::Good, Op::Good, client("STARTTLS\r\n"), Op::Good];
    let plain = "EHLO c.example\r\nAUTH PLAIN AGFsaWNlAGNVY1VtYmVy\r\nMAIL FROM:<a@b>\r\n";
    let xoauth2 = "AUTH XOAUTH2 dXNlcj1hbGljZQFhdXRoPUJlYXJlciB0AQE=\r\n";
    let list = "250-h\r\n250 AUTH PLAIN XOAUTH2\r\n";
    let plain_backend = |said: &str| {
        [
            vec![Op::Good, Op::Good, Op::Good],
            vec![backend("220 hi\r\n"), backend(list), backend(said)],
        ]
        .concat()
    };
    let starttls_backend = [
        vec![Op::Good, Op::Good],
        vec![backend("220-h\r\n220 hi\r\n"), backend("250-h\r\n250 STARTTLS\r\n")],
        vec![backend("220 go\r\n"), Op::Good, backend(list), backend("235 in\r\n")],
    ]
    .concat();
    let xclient = "250-h\r\n250-XCLIENT ADDR HELO\r\n250 AUTH PLAIN\r\n";
    vec![
        [opening(), vec![client(plain)], plain_backend("235 in\r\n250 ok\r\n")].concat(),
        [opening(), vec![client(plain)], starttls_backend].concat(),
        [
            opening(),
            vec![client("EHLO c.example\r\nBDAT 4\r\nQUITAUTH PLAIN\r\n")],
            vec![client("AGFsaWNlAGNVY1VtYmVy\r\n"), Op::Good, Op::Good, Op::Good],
            vec![backend("220 hi\r\n"), backend(xclient), backend("220 hi\r\n")],
            vec![backend(list), backend("235 in\r\n")],
        ]
        .concat(),
        [
            opening(),
            vec![client(plain)],
            plain_backend("535-no\r\n535 5.7.8 wrong\r\n"),
            vec![client(xoauth2)],
            plain_backend("334 eyJzdGF0dXMiOiI0MDEifQ==\r\n"),
            vec![client("\r\n"), backend("535 expired\r\n"), client(xoauth2)],
            plain_backend("235 in\r\n"),
        ]
        .concat(),
    ]
}

fn imap() -> Vec<Vec<Op>> {
    let verdict = "L OK [CAPABILITY IMAP4rev1 IDLE] in\r\n* 3 EXISTS\r\n";
    let no_id = "L OK in\r\n* CAPABILITY IMAP4rev1\r\nC OK done\r\n";
    let refusal = "L NO [AUTHENTICATIONFAILED] wrong\r\n";
    let xoauth2 = "a AUTHENTICATE XOAUTH2 dXNlcj1hbGljZQFhdXRoPUJlYXJlciB0AQE=\r\n";
    let knows_id = "* OK [CAPABILITY IMAP4rev1 SASL-IR ID AUTH=PLAIN] hello\r\n";
    let id = "i ID (\"name\" \"x\" \"X-Originating-IP\" \"192.0.2.9\")\r\n";
    let ops = |parts: Vec<Vec<Op>>| {
        let mut ops = opening();
        ops.extend(parts.concat());
        ops
    };
    vec![
        ops(vec![vec![client("a LOGIN alice cUcUmber\r\n")], plain_backend(verdict)]),
        ops(vec![vec![client("a LOGIN alice cUcUmber\r\nb NOOP\r\n")], plain_backend(no_id)]),
        ops(vec![vec![client("a LOGIN alice cUcUmber\r\n")], starttls_backend(verdict)]),
        ops(vec![
            vec![client("a AUTHENTICATE PLAIN AGFsaWNlAGNVY1VtYmVy\r\n")],
            plain_backend(verdict),
        ]),
        ops(vec![
            vec![client("a AUTHENTICATE PLAIN\r\n"), client("AGFsaWNlAGNVY1VtYmVy\r\n")],
            starttls_backend(verdict),
        ]),
        ops(vec![
            vec![client(id), client("a LOGIN {5+}\r\nalice {8}\r\n"), client("cUcUmber\r\n")],
            vec![Op::Good, Op::Good, Op::Good, backend(knows_id), backend("I OK\r\n")],
            vec![backend(verdict)],
        ]),
        ops(vec![
            vec![client("a LOGIN alice cUcUmber\r\n")],
            plain_backend(refusal),
            vec![client("b LOGIN bob cUcUmber\r\n")],
            plain_backend(verdict),
        ]),
        ops(vec![
            vec![client("a LOGIN alice cUcUmber\r\n"), Op::Good, Op::Bad(1)],
            plain_backend(verdict)[1..].to_vec(),
        ]),
        ops(vec![
            vec![client(xoauth2)],
            plain_backend("+ eyJzdGF0dXMiOiI0MDEifQ==\r\n"),
            vec![client("\r\n"), backend("L NO [AUTHENTICATIONFAILED] expired\r\n")],
            vec![client(xoauth2)],
            plain_backend(verdict),
        ]),
        ops(vec![
            vec![client("a LOGIN alice \"cUcUmber\"\r\n"), Op::Good, Op::Good, Op::Good],
            vec![backend("* OK [CAPABILITY IMAP4rev1] hello\r\n"), backend("L OK in\r\n")],
            vec![backend("* CAPABILITY IMAP4rev1\r\nC OK done\r\n")],
        ]),
    ]
}
