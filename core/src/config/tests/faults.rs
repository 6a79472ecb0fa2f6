//! Every fault that a text can have, with its line and what it says.

use alloc::{format, string::String, vec::Vec};

use super::{changed, extended, faults, parse};
use crate::config::Protocol;

/// Each case is the plain text with a line replaced; it must have this fault, and no other.
fn each(cases: &[(usize, &str, &str)]) {
    for (line, replacement, expected) in cases {
        assert_eq!(faults(&changed(*line, replacement)), [*expected], "{replacement}");
    }
}

#[test]
fn a_typo_names_its_line_and_the_nearest_key() {
    each(&[
        (
            9,
            "host = \"imap.test\"\nhosst = \"imap.test\"",
            "line 10: destination.main.hosst: unknown key; did you mean \"host\"?",
        ),
        (13, "[ruting]\n[routing]", "line 13: ruting: unknown key; did you mean \"routing\"?"),
        (
            1,
            "[tls.certificate.main]\nsbjects = []",
            "line 2: tls.certificate.main.sbjects: unknown key; did you mean \"subjects\"?",
        ),
        (
            2,
            "cert = \"main.pem\"\nexpires = 1",
            "line 3: tls.certificate.main.expires: unknown key; there are cert, key, subjects, \
             default",
        ),
        (
            10,
            "[destination.main.protocol.imaps]\n[destination.main.protocol.imap]",
            "line 10: destination.main.protocol.imaps: unknown key; did you mean \"imap\"?",
        ),
    ]);
}

#[test]
fn every_fault_of_a_file_is_reported_by_line() {
    let text = r#"[tls.certificate.main]
cert = 1
[listener.imaps]
protocol = "imap4"
bind = ["0.0.0.0", "0.0.0.0:993"]
tls = "implict"
sasl = ["PLAIN", "SCRAM-SHA-25"]
[listener.web]
protocol = "http"
bind = ["0.0.0.0:443"]
tls = "implicit"
[destination.main]
hosst = "imap.test"
[destination.main.protocol.imap]
port = 99999
tls = "plain"
[admin]
bind = "127.0.0.1:8443"
[mapping]
lookup_timeout = 5
"#;
    assert_eq!(
        faults(text),
        [
            "line 1: tls.certificate.main.key: is missing; name a PEM file",
            "line 1: routing.default_destination: is missing; write [routing] with \
             default_destination = \"main\"",
            "line 2: tls.certificate.main.cert: must be a string, not an integer; write it in \
             quotes",
            "line 4: listener.imaps.protocol: \"imap4\" is not known here; did you mean \"imap\"?",
            "line 5: listener.imaps.bind: \"0.0.0.0\" is no address with a port; write an address \
             and a port, such as \"0.0.0.0:993\" or \"[::]:993\"",
            "line 6: listener.imaps.tls: \"implict\" is not known here; did you mean \
             \"implicit\"?",
            "line 7: listener.imaps.sasl: \"SCRAM-SHA-25\" is not known here; did you mean \
             \"SCRAM-SHA-256\"?",
            "line 9: listener.web.protocol: HTTP is not carried; remove this listener",
            "line 12: destination.main.host: is missing; name the backend's host",
            "line 13: destination.main.hosst: unknown key; did you mean \"host\"?",
            "line 15: destination.main.protocol.imap.port: 99999 is out of range; it may be 1 to \
             65535",
            "line 16: destination.main.protocol.imap.tls: credentials would travel without TLS; \
             use \"implicit\" or \"starttls\", or set allow_plaintext_auth = true",
            "line 18: admin.bind: is documented but not built yet; remove it to start without it",
            "line 20: mapping.lookup_timeout: must be a duration in quotes, not an integer; write \
             \"5s\" if seconds are meant",
        ]
    );
}

#[test]
fn what_is_not_toml_is_reported_by_line() {
    assert_eq!(
        faults("a = \nb = tru\n[c]\n[c]\n").len(),
        3,
        "each fault of the grammar, and nothing that was guessed from the rest"
    );
    assert_eq!(
        faults(&changed(3, "cert = \"again.pem\"")),
        ["line 3: not TOML: duplicate key cert"]
    );
    assert!(faults(&changed(6, "bind = [")).iter().any(|fault| fault.contains("not TOML")));
    let secret = faults(&changed(6, "bearer_token = hunter2"));
    assert!(secret[0].starts_with("line 6: not TOML: "), "{secret:?}");
    assert!(!secret.concat().contains("hunter2"), "{secret:?}");
    for text in ["\u{0}", "[", "\"", "= 1", "\u{feff}\u{feff}", "a.b.c = {", "'''", "[[[["] {
        assert!(!parse(text).unwrap_err().is_empty(), "{text:?}");
    }
}

#[test]
fn an_empty_file_says_what_is_needed() {
    assert_eq!(
        faults(""),
        [
            "line 1: listener: there is none; add a table such as [listener.imaps]",
            "line 1: destination: there is none; add a table such as [destination.main]",
            "line 1: routing.default_destination: is missing; name a destination in [routing]",
        ]
    );
}

#[test]
fn a_proxy_is_trusted_by_its_address_and_not_by_a_name() {
    let text = changed(7, "tls = \"implicit\"\nforwarding_trusted = [\"proxy.test\"]");
    let expected = "line 8: listener.imaps.forwarding_trusted: \"proxy.test\" is no range of \
                    addresses; write one such as \"192.0.2.0/24\" or \"2001:db8::/32\"";
    assert_eq!(faults(&text), [expected]);
}

#[test]
fn values_of_the_wrong_shape() {
    each(&[
        (
            7,
            "tls = \"implicit\"\nmax_connections = \"5\"",
            "line 8: listener.imaps.max_connections: must be an integer, not a string; write a \
             whole number, without quotes",
        ),
        (
            7,
            "tls = \"implicit\"\nmax_auth_attempts = 0",
            "line 8: listener.imaps.max_auth_attempts: 0 is out of range; it may be 1 to 100",
        ),
        (
            7,
            "tls = \"implicit\"\nmax_connections = -1",
            "line 8: listener.imaps.max_connections: -1 is out of range; it may be 0 to 1000000",
        ),
        (
            7,
            "tls = \"implicit\"\nallow_plain_auth_without_tls = \"yes\"",
            "line 8: listener.imaps.allow_plain_auth_without_tls: must be a boolean, not a \
             string; write true or false, without quotes",
        ),
        (
            7,
            "tls = \"implicit\"\npreauth_timeout = \"30 s\"",
            "line 8: listener.imaps.preauth_timeout: \"30 s\" is no duration; write a whole \
             number with ms, s, m, h or d, such as \"30s\"; 366d at most",
        ),
        (
            7,
            "tls = \"implicit\"\npreauth_timeout = \"0s\"",
            "line 8: listener.imaps.preauth_timeout: may not be zero; write a duration such as \
             \"30s\"",
        ),
        (
            6,
            "bind = \"0.0.0.0:993\"",
            "line 6: listener.imaps.bind: must be a list, not a string; write it in brackets: \
             [\"…\"]",
        ),
        (
            6,
            "bind = []",
            "line 6: listener.imaps.bind: names no address; list addresses, or remove the listener",
        ),
        (
            6,
            "bind = [\"0.0.0.0:993\",\n \"0.0.0.0:993\"]",
            "line 7: listener.imaps.bind: \"0.0.0.0:993\" is listed twice; remove one of them",
        ),
        (
            7,
            "tls = \"implicit\"\nallow = [\n\"192.0.2.0/33\"]",
            "line 9: listener.imaps.allow: \"192.0.2.0/33\" is no range of addresses; write one \
             such as \"192.0.2.0/24\" or \"2001:db8::/32\"",
        ),
        (2, "cert = \"\"", "line 2: tls.certificate.main.cert: \"\" is no path; name a file"),
        (
            2,
            "cert = \"main.pem\"\nsubjects = [\"a b\"]",
            "line 3: tls.certificate.main.subjects: \"a b\" is no host name; write a name such as \
             \"mail.example.com\" or \"*.example.com\"",
        ),
    ]);
}

#[test]
fn hosts_and_names() {
    each(&[
        (
            9,
            "host = \"[2001:db8::1]\"",
            "line 9: destination.main.host: \"[2001:db8::1]\" is neither a host name nor an \
             address; write the address without brackets",
        ),
        (
            9,
            "host = \"imap.test:993\"",
            "line 9: destination.main.host: \"imap.test:993\" is neither a host name nor an \
             address; write the name alone; the port belongs in the table of its protocol",
        ),
        (
            9,
            "host = \"192.0.2\"",
            "line 9: destination.main.host: \"192.0.2\" is neither a host name nor an address; \
             write a name such as \"imap1.example.com\", or an address",
        ),
        (
            9,
            "host = \"192.0.2.1\"",
            "line 9: destination.main.host: is an address, which gives TLS no name to verify; set \
             tls_server_name or tls_pinned_cert_sha256",
        ),
        (
            9,
            "host = \"imap.test\"\nsource_ips = [\"192.0.2.1:0\"]",
            "line 10: destination.main.source_ips: \"192.0.2.1:0\" is no address; write one such \
             as \"192.0.2.1\" or \"2001:db8::1\"",
        ),
        (
            9,
            "host = \"imap.test\"\ntls_pinned_cert_sha256 = \"abcd\"",
            "line 10: destination.main.tls_pinned_cert_sha256: \"abcd\" is no SHA-256; write 64 \
             hexadecimal digits, with or without colons",
        ),
        (
            9,
            "host = \"imap.test\"\ntls_client_key = \"k\"",
            "line 10: destination.main.tls_client_key: needs tls_client_cert; set both or neither",
        ),
        (
            9,
            "host = \"imap.test\"\n[destination.\"a\\nb\"]\nhost = \"b.test\"\n\
             [destination.\"a\\nb\".protocol.imap]\nport = 1\ntls = \"implicit\"",
            "line 10: destination.a\\nb: is no name; use 1 to 64 letters, digits, dots, hyphens \
             and underscores",
        ),
    ]);
}

#[test]
fn tables_that_need_each_other() {
    each(&[
        (
            14,
            "default_destination = \"mian\"",
            "line 14: routing.default_destination: there is no destination \"mian\"; did you mean \
             \"main\"?",
        ),
        (
            14,
            "default_destination = \"elsewhere\"",
            "line 14: routing.default_destination: there is no destination \"elsewhere\"; add \
             [destination.elsewhere], or name another",
        ),
        (
            10,
            "[destination.main.protocol.pop3]",
            "line 5: listener.imaps.protocol: the default destination \"main\" lacks imap; add \
             [destination.main.protocol.imap]",
        ),
        (
            7,
            "tls = \"implicit\"\ncertificates = [\"mein\"]",
            "line 8: listener.imaps.certificates: there is no certificate \"mein\"; did you mean \
             \"main\"?",
        ),
        (
            7,
            "tls = \"implicit\"\ncertificates = []",
            "line 8: listener.imaps.certificates: leaves the listener without a certificate; name \
             one, or remove the key to use all",
        ),
        (
            3,
            "key = \"main.key\"\ndefault = true\n[tls.certificate.b]\ncert = \"b\"\nkey = \"b\"\n\
             default = true",
            "line 8: tls.certificate.b.default: \"main\" is the default already; let one \
             certificate be it",
        ),
    ]);
    let lines: Vec<_> = super::PLAIN.lines().skip(3).collect();
    assert_eq!(
        faults(&lines.join("\n")),
        ["line 4: listener.imaps.tls: needs a certificate, and there is none; add a table \
             such as [tls.certificate.main] with cert and key"]
    );
    assert_eq!(
        faults(&extended("[mapping]\nsource = \"file\"\n")),
        ["line 15: mapping.file.path: is missing; name the map file in [mapping.file], or take \
          source away"]
    );
    assert_eq!(
        faults(&extended("[mapping.file]\npath = \"users.map\"\n")),
        ["line 15: mapping.file: has no effect, since mapping.source does not name it; add \
          source = \"file\" to [mapping]"]
    );
    let text = extended("[destination.silent]\nhost = \"b.test\"\n");
    assert_eq!(
        faults(&text),
        ["line 15: destination.silent.protocol: names no protocol; add a table such as \
          [destination.silent.protocol.imap]"]
    );
}

#[test]
fn credentials_stay_encrypted_toward_backends() {
    for protocol in ["imap", "pop3", "managesieve", "submission"] {
        let text = format!(
            "[destination.b]\nhost = \"b.test\"\n[destination.b.protocol.{protocol}]\n\
             port = 1\ntls = \"plain\"\n"
        );
        assert_eq!(
            faults(&extended(&text)),
            [format!(
                "line 19: destination.b.protocol.{protocol}.tls: credentials would travel without \
                 TLS; use \"implicit\" or \"starttls\", or set allow_plaintext_auth = true"
            )]
        );
        let allowed = text.replace("b.test\"", "b.test\"\nallow_plaintext_auth = true");
        assert!(parse(&extended(&allowed)).is_ok());
    }
}

#[test]
fn carried_protocols_have_neither_starttls_nor_xclient() {
    for protocol in [Protocol::Smtp.name(), Protocol::Lmtp.name()] {
        let text = format!(
            "[destination.b]\nhost = \"b.test\"\nforwarding = \"xclient\"\n\
             [destination.b.protocol.{protocol}]\nport = 25\ntls = \"starttls\"\n"
        );
        assert_eq!(
            faults(&extended(&text)),
            [
                format!(
                    "line 18: destination.b.protocol.{protocol}.forwarding: {protocol} is carried \
                     from the first byte, so there is no XCLIENT; set it to \"proxy\" or \"none\""
                ),
                format!(
                    "line 20: destination.b.protocol.{protocol}.tls: {protocol} is carried from \
                     the first byte, so there is no STARTTLS; use \"implicit\" or \"plain\""
                ),
            ]
        );
    }
}

/// A listener from line 15 on, the last table being routing.
fn carried(protocol: &str, tls: &str, more: &str) -> String {
    let listener = format!(
        "[listener.mx]\nprotocol = \"{protocol}\"\nbind = [\"0.0.0.0:25\"]\ntls = \"{tls}\"\n"
    );
    extended(&[more, &listener].concat())
}

#[test]
fn carried_listeners_need_a_destination_that_speaks_their_protocol() {
    let key = "smtp_passthrough_destination";
    for protocol in [Protocol::Smtp.name(), Protocol::Lmtp.name()] {
        assert_eq!(
            faults(&carried(protocol, "plain", "")),
            [format!(
                "line 16: listener.mx.protocol: {protocol} is carried, and no destination is \
                 named for it; write [routing] with {key}"
            )]
        );
        assert_eq!(
            faults(&carried(protocol, "plain", &format!("{key} = \"mian\"\n"))),
            [format!(
                "line 15: routing.{key}: there is no destination \"mian\"; did you mean \"main\"?"
            )]
        );
        assert_eq!(
            faults(&carried(protocol, "plain", &format!("{key} = \"main\"\n"))),
            [format!(
                "line 17: listener.mx.protocol: the pass-through destination \"main\" lacks \
                 {protocol}; add [destination.main.protocol.{protocol}]"
            )]
        );
    }
}

#[test]
fn carried_listeners_have_no_starttls() {
    let destination = "smtp_passthrough_destination = \"main\"\n\
                       [destination.main.protocol.smtp]\nport = 2525\ntls = \"plain\"\n";
    assert_eq!(
        faults(&carried("smtp", "starttls", destination)),
        ["line 22: listener.mx.tls: smtp is carried from the first byte, so there is no STARTTLS \
          of the proxy's; use \"implicit\" or \"plain\""]
    );
}

#[test]
fn two_listeners_never_share_an_address_and_port() {
    let text = extended(
        "[listener.second]\nprotocol = \"imap\"\ntls = \"implicit\"\n\
         bind = [\"127.0.0.1:993\",\n\"0.0.0.0:993\"]\n",
    );
    assert_eq!(
        faults(&text),
        ["line 19: listener.second.bind: 0.0.0.0:993 belongs to the listener \"imaps\" already; \
          give each its own address or port"]
    );
}

#[test]
fn a_destination_is_never_one_of_our_own_listeners() {
    let cases = [
        ("0.0.0.0:993", "127.0.0.1"),
        ("0.0.0.0:993", "127.9.9.9"),
        ("0.0.0.0:993", "0.0.0.0"),
        ("0.0.0.0:993", "::ffff:127.0.0.1"),
        ("0.0.0.0:993", "localhost"),
        ("[::]:993", "LocalHost"),
        ("[::]:993", "::1"),
        ("[::1]:993", "::"),
        ("127.0.0.1:993", "127.0.0.1"),
        ("192.0.2.1:993", "192.0.2.1"),
    ];
    for (bind, host) in cases {
        let text = changed(9, &format!("host = \"{host}\"\ntls_server_name = \"imap.test\""));
        assert_eq!(
            faults(&text.replace("0.0.0.0:993", bind)),
            [format!(
                "line 12: destination.main.protocol.imap.port: {host} port 993 is the proxy's own \
                 listener \"imaps\"; name the backend's own address"
            )]
        );
    }
}

#[test]
fn what_clients_are_told_before_login() {
    let imap = |keys: &str| faults(&extended(&format!("[capabilities.imap]\n{keys}\n")));
    let advertise = |list: &str| imap(&format!("advertise = [\"IMAP4rev1\", {list}]"));
    let told = |text: &str| [format!("line 16: capabilities.imap.{text}")];
    assert_eq!(
        advertise("\"LITERAL+\", \"literal-\""),
        told("advertise: LITERAL+ and LITERAL- exclude each other; list one of them")
    );
    for (word, problem) in [
        ("STARTTLS", "is told by the proxy itself, when it is so"),
        ("logindisabled", "is told by the proxy itself, when it is so"),
        ("AUTH=PLAIN", "is told by the proxy itself, from the key sasl"),
        ("LOGIN-REFERRALS", "is told by the proxy itself, where a mapping step refers"),
        ("COMPRESS=DEFLATE", "cannot be honoured before login"),
        ("UNAUTHENTICATE", "cannot be honoured, since a session stays with its backend"),
    ] {
        let expected = told(&format!("advertise: \"{word}\" {problem}; take it out of the list"));
        assert_eq!(advertise(&format!("\"{word}\"")), expected);
    }
    for word in ["", "A B", "A(B", "É", "A\\u0000", "A]", "A*", "A%", "A\\\"", "A\\\\", "A{1}"] {
        let found = advertise(&format!("\"{word}\""));
        assert!(found.len() == 1 && found[0].contains("is no capability"), "{word} {found:?}");
    }
    assert_eq!(
        imap("advertise = [\"ID\"]"),
        told(
            "advertise: clients need IMAP4rev1 or IMAP4rev2 in the list; list both, or the one \
              that the backends speak"
        )
    );
    assert_eq!(
        imap("advertise = \"auto\""),
        told(
            "advertise: \"auto\" is learned by probes, and \"main\" has none; set probe_interval = \
             \"60s\" in [destination.main]"
        )
    );
    assert_eq!(
        imap("sasl = []"),
        told("sasl: names no mechanism; remove the key to offer the usual ones")
    );
    assert_eq!(
        imap("sasl = [\"PLAN\"]"),
        told("sasl: \"PLAN\" is not known here; did you mean \"PLAIN\"?")
    );
    assert_eq!(
        imap("banner = \"one\\r\\n* BYE two\""),
        told(
            "banner: holds a control character, which would end the line or forge another; write \
              it in one line of visible characters"
        )
    );
    assert_eq!(
        imap("banner = \"\""),
        told("banner: is empty; clients need a text; remove the key for the usual one")
    );
    assert_eq!(
        imap(&format!("banner = \"{}\"", "x".repeat(513))),
        told("banner: is 513 octets long; shorten it to 512 octets")
    );
    assert_eq!(imap(&format!("banner = \"{}\"\nsasl = []", "x".repeat(512))).len(), 1);
    let alert = faults(&changed(7, "tls = \"implicit\"\nalert = \"a\\u0085b\""));
    assert!(alert[0].starts_with("line 8: listener.imaps.alert: holds a control"), "{alert:?}");
}

#[test]
fn what_pop3_clients_are_told_before_login() {
    let advertise =
        |list: &str| faults(&extended(&format!("[capabilities.pop3]\nadvertise = {list}\n")));
    let told = |text: &str| [format!("line 16: capabilities.pop3.advertise: {text}")];
    for (line, problem) in [
        ("user", "is told by the proxy itself, when it is so"),
        ("STLS", "is told by the proxy itself, when it is so"),
        ("SASL PLAIN", "is told by the proxy itself, from the key sasl"),
        ("XCLIENT", "is not for clients to use"),
    ] {
        let expected = told(&format!("\"{line}\" {problem}; take it out of the list"));
        assert_eq!(advertise(&format!("[\"{line}\"]")), expected);
    }
    for line in ["", " TOP", "TOP ", "EXPIRE  30", "TOP\\r\\nUSER", "É", ".", ".TOP"] {
        let found = advertise(&format!("[\"{line}\"]"));
        assert!(found.len() == 1 && found[0].contains("is no capability"), "{line} {found:?}");
    }
}

#[test]
fn what_managesieve_clients_are_told_before_login() {
    let told = |keys: &str| faults(&extended(&format!("[capabilities.managesieve]\n{keys}\n")));
    for word in ["", "a b", "É", "a\\\"b", "a\\\\b", "a\\r\\nOK", &"x".repeat(65)] {
        let found = told(&format!("sieve = [\"fileinto\", \"{word}\"]"));
        assert!(found.len() == 1 && found[0].contains("is no Sieve extension"), "{word} {found:?}");
    }
    assert!(parse(&extended("[capabilities.managesieve]\nsieve = []\n")).is_ok());
    assert_eq!(
        told("implementation = \"\""),
        ["line 16: capabilities.managesieve.implementation: is empty; clients need a text; \
             remove the key for the usual one"]
    );
}

#[test]
fn what_submission_clients_are_told_before_login() {
    let ehlo =
        |list: &str| faults(&extended(&format!("[capabilities.submission]\nehlo = {list}\n")));
    let told = |text: &str| [format!("line 16: capabilities.submission.ehlo: {text}")];
    for (line, problem) in [
        ("starttls", "is told by the proxy itself, when it is so"),
        ("AUTH PLAIN", "is told by the proxy itself, from the key sasl"),
        ("XCLIENT ADDR", "is not for clients to use"),
        ("XFORWARD", "is not for clients to use"),
    ] {
        let expected = told(&format!("\"{line}\" {problem}; take it out of the list"));
        assert_eq!(ehlo(&format!("[\"{line}\"]")), expected);
    }
    for line in ["", " DSN", "DSN ", "SIZE  30", "DSN\\r\\nHELP", "É", "-DSN", "AUTH=PLAIN"] {
        let found = ehlo(&format!("[\"{line}\"]"));
        assert!(found.len() == 1 && found[0].contains("is no keyword"), "{line} {found:?}");
    }
}

#[test]
fn tables_that_are_not_built_are_refused_even_when_empty() {
    assert_eq!(
        faults(&extended("[admin]\n")),
        ["line 15: admin: is documented but not built yet; remove it to start without it"]
    );
    assert_eq!(
        faults("oauth = 1\n").first().map(String::as_str),
        Some("line 1: oauth: must be a table; write it as a [header]")
    );
}

#[test]
fn cipher_suites() {
    let protocols = |keys: &str| faults(&extended(&format!("[tls.protocols]\n{keys}\n")));
    assert_eq!(
        protocols("disable_cipher_suites = [\"TLS_AES_128_GCM_SHA256\"]"),
        ["line 16: tls.protocols.disable_cipher_suites: \"TLS_AES_128_GCM_SHA256\" is not known \
          here; did you mean \"TLS13_AES_128_GCM_SHA256\"?"]
    );
    assert_eq!(
        protocols(
            "min_version = \"1.3\"\ndisable_cipher_suites = [\"TLS13_AES_128_GCM_SHA256\", \
             \"TLS13_AES_256_GCM_SHA384\", \"TLS13_CHACHA20_POLY1305_SHA256\"]"
        ),
        ["line 17: tls.protocols.disable_cipher_suites: leaves no cipher suite for the TLS \
          versions that are allowed; take some out of the list"]
    );
    assert_eq!(
        protocols("min_version = \"1.1\""),
        ["line 16: tls.protocols.min_version: \"1.1\" is not known here; did you mean \"1.2\"?"]
    );
}

#[test]
fn separators_are_single_characters() {
    assert_eq!(
        faults(&changed(14, "default_destination = \"main\"\nmaster_user_separators = [\"%%\"]")),
        ["line 15: routing.master_user_separators: \"%%\" is no separator; write one visible \
          character"]
    );
}
