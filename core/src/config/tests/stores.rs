//! What may be said of route stores, and what is wrong with the rest.

use alloc::{format, string::String, vec};
use core::time::Duration;

use super::{config, extended, faults};
use crate::config::{Dialect, Encode, HttpServer, MappingSource};
use crate::secret::Secret;

fn mapping(lines: &str) -> String {
    extended(&format!("[mapping]\n{lines}\n"))
}

fn source(lines: &str) -> MappingSource {
    config(&mapping(lines)).mapping.source
}

#[test]
fn redis() {
    let MappingSource::Redis(store) = source("source = \"redis\"\nredis.url = \"redis://a/\"")
    else {
        panic!("it is Redis")
    };
    assert_eq!(store.url, Secret::from(&b"redis://a/"[..]));
    assert_eq!((&*store.key_prefix, store.pool_size), ("route:", 16));
    let MappingSource::Redis(store) = source(
        "source = \"redis\"\n[mapping.redis]\nurl = \"rediss://u:p@a:1/2\"\nkey_prefix = \"\"\n\
         pool_size = 3",
    ) else {
        panic!("it is Redis")
    };
    assert_eq!((&*store.key_prefix, store.pool_size), ("", 3));
}

#[test]
fn sql() {
    for (url, sign, dialect) in [
        ("postgres://a/b", "$1", Dialect::PostgreSql),
        ("postgresql://a/b", "$1", Dialect::PostgreSql),
        ("mysql://a/b", "?", Dialect::MySql),
        ("mariadb://a/b", "?", Dialect::MySql),
        ("sqlite:///var/lib/routes.db", "?1", Dialect::Sqlite),
    ] {
        let MappingSource::Sql(store) = source(&format!(
            "source = \"sql\"\n[mapping.sql]\nurl = \"{url}\"\nquery = \"SELECT {sign}\""
        )) else {
            panic!("it is SQL")
        };
        assert_eq!(store.dialect, dialect);
        assert_eq!(store.query, format!("SELECT {sign}"));
        assert_eq!((store.upsert_query, store.delete_query, store.pool_size), (None, None, 16));
    }
}

#[test]
fn http() {
    let MappingSource::Http(store) = source(
        "source = \"http\"\n[mapping.http]\nurls = [\"http://a:81/b\", \"https://c\"]\n\
         destination = \"main\"\nheaders = { X-Key = \"k\" }\nencode = \"all\"\n\
         decode_response = true",
    ) else {
        panic!("it is HTTP")
    };
    let server = |tls, host: &str, port, authority: &str, path: &str| HttpServer {
        tls,
        host: host.into(),
        port,
        authority: authority.into(),
        path: path.into(),
    };
    let servers = [server(false, "a", 81, "a:81", "/b"), server(true, "c", 443, "c", "/")];
    assert_eq!(store.servers, servers);
    assert_eq!(store.destination.name, "main");
    assert_eq!(store.headers, vec![("X-Key".into(), Secret::from(&b"k"[..]))]);
    assert_eq!((store.encode, store.decode_response), (Encode::All, true));
}

#[test]
fn how_long_answers_are_kept() {
    let keeping = config(super::PLAIN).mapping.keeping;
    assert_eq!(keeping.positive_ttl, Duration::from_secs(600));
    assert_eq!(keeping.negative_ttl, Duration::from_secs(30));
    assert_eq!(keeping.entries_max, 1_000_000);
    let text = "positive_ttl = \"1h\"\nnegative_ttl = \"0\"\ncache_max_entries = 0\n\
                lookup_timeout = \"2s\"";
    let mapping = config(&mapping(text)).mapping;
    assert_eq!(mapping.keeping.positive_ttl, Duration::from_secs(3600));
    assert_eq!(mapping.keeping.negative_ttl, Duration::ZERO);
    assert_eq!(mapping.keeping.entries_max, 0);
    assert_eq!(mapping.lookup_timeout, Duration::from_secs(2));
}

#[test]
fn a_source_needs_its_table() {
    for (source, key) in [
        ("file", "mapping.file.path"),
        ("http", "mapping.http.urls"),
        ("http", "mapping.http.destination"),
        ("redis", "mapping.redis.url"),
        ("sql", "mapping.sql.url"),
        ("sql", "mapping.sql.query"),
    ] {
        let found = faults(&mapping(&format!("source = \"{source}\"")));
        let start = format!("line 15: {key}: is missing; ");
        assert!(found.iter().any(|fault| fault.starts_with(&start)), "{start}\n{found:?}");
    }
}

#[test]
fn a_table_needs_a_source() {
    assert_eq!(
        faults(&mapping("redis.url = \"redis://a/\"")),
        ["line 16: mapping.redis: has no effect, since mapping.source does not name it; add \
          source = \"redis\" to [mapping]"]
    );
}

#[test]
fn addresses_are_never_quoted() {
    for (source, url) in [
        ("redis", "http://:secret@a/"),
        ("redis", "redis://:sec ret@a/"),
        ("redis", "redis://"),
        ("sql", "oracle://me:secret@a/b"),
        ("sql", "postgres://"),
        ("sql", "sqlite:"),
        ("http", "http://me:secret@a/"),
    ] {
        let key = if source == "http" { "urls" } else { "url" };
        let value = if source == "http" { format!("[\"{url}\"]") } else { format!("\"{url}\"") };
        let found = faults(&mapping(&format!(
            "source = \"{source}\"\n{source}.{key} = {value}\n{source}.query = \"SELECT $1\""
        )));
        let place = format!("mapping.{source}.{key}: ");
        assert!(found.iter().any(|fault| fault.contains(&place)), "{url} {found:?}");
        assert!(found.iter().all(|fault| !fault.contains("secret")), "{found:?}");
    }
}

#[test]
fn statements_have_as_many_placeholders_as_there_are_values() {
    let sql = |url: &str, keys: &str| {
        let table = format!("[mapping.sql]\nurl = \"{url}\"\n{keys}");
        faults(&mapping(&format!("source = \"sql\"\n{table}")))
    };
    assert_eq!(
        sql("postgres://a/b", "query = \"SELECT d FROM r WHERE i = ?\""),
        ["line 19: mapping.sql.query: has 0 placeholders, and is given 1: the identifier; \
             write the identifier as $1, and the destination as $2"]
    );
    assert_eq!(
        sql("mysql://a/b", "query = \"SELECT ?\"\nupsert_query = \"REPLACE INTO r VALUES (?)\""),
        ["line 20: mapping.sql.upsert_query: has 1 placeholder, and is given 2: identifier and \
          destination; write a question mark for each, the identifier first"]
    );
    assert_eq!(
        sql("sqlite:a", "query = \"SELECT '?\"\ndelete_query = \"DELETE FROM r\""),
        [
            "line 19: mapping.sql.query: ends within quotes or a comment; write ?1 or $1 for the \
             identifier, and ?2 or $2 for the destination",
            "line 20: mapping.sql.delete_query: has 0 placeholders, and is given 1: the \
             identifier; write ?1 or $1 for the identifier, and ?2 or $2 for the destination",
        ]
    );
}

#[test]
fn the_destination_of_http_speaks_what_clients_log_in_by() {
    let text = mapping(
        "source = \"http\"\nhttp.urls = [\"http://a/\"]\nhttp.destination = \"other\"\n\
         [destination.other]\nhost = \"o\"\nprotocol.pop3 = { port = 995, tls = \"implicit\" }",
    );
    assert_eq!(
        faults(&text),
        ["line 5: listener.imaps.protocol: the destination \"other\" of mapping.http lacks imap; \
          add [destination.other.protocol.imap]"]
    );
    let unknown =
        mapping("source = \"http\"\nhttp.urls = [\"http://a/\"]\nhttp.destination = \"mian\"");
    assert_eq!(
        faults(&unknown),
        ["line 18: mapping.http.destination: there is no destination \"mian\"; did you mean \
          \"main\"?"]
    );
}

#[test]
fn headers_are_one_s_own() {
    let header = |name: &str, value: &str| {
        faults(&mapping(&format!("source = \"http\"\nhttp.headers = {{ {name} = {value} }}")))
    };
    for (name, value, problem) in [
        ("\"X Key\"", "\"k\"", "is no name of a header"),
        ("X_Key", "\"k\"", "is no name of a header"),
        ("Auth-User", "\"k\"", "is a header of the protocol itself"),
        ("HOST", "\"k\"", "is a header of the protocol itself"),
        ("X-Key", "\"a\\r\\nb\"", "holds a control character"),
        ("X-Key", "1", "must be a string"),
    ] {
        let found = header(name, value);
        assert!(found.iter().any(|fault| fault.contains(problem)), "{name} {found:?}");
    }
    let found = faults(&mapping("source = \"http\"\nhttp.headers = [\"X-Key: k\"]"));
    assert!(found.iter().any(|fault| fault.contains("headers: must be a table")), "{found:?}");
}
