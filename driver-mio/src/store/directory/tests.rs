//! A directory before a table whose answers a test gives out one by one.

#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gatepost_core::config;
use tokio::sync::{Mutex, mpsc};

use super::*;

/// What a table says: a name, nothing, or why it cannot say.
type Said = Result<Option<Vec<u8>>, String>;

/// A table that says what it is given.
pub(in crate::store) struct Fake {
    answers: Mutex<mpsc::UnboundedReceiver<Said>>,
    asked: Arc<AtomicUsize>,
}

impl Fake {
    pub(super) async fn ask(&self, _: &[u8]) -> Said {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.answers.lock().await.recv().await.unwrap()
    }
}

struct Stage {
    directory: Directory,
    answers: mpsc::UnboundedSender<Said>,
    asked: Arc<AtomicUsize>,
}

fn stage() -> Stage {
    let text = "[listener.a]\nprotocol = \"imap\"\nbind = [\"127.0.0.1:143\"]\ntls = \"plain\"\n\
        [destination.old]\nhost = \"old.test\"\n\
        protocol.imap = { port = 993, tls = \"implicit\" }\n\
        [destination.new]\nhost = \"new.test\"\n\
        protocol.imap = { port = 993, tls = \"implicit\" }\n\
        [routing]\ndefault_destination = \"old\"\n";
    let (config, _) = config::parse(text).unwrap();
    let (answers, receiver) = mpsc::unbounded_channel();
    let asked = Arc::new(AtomicUsize::new(0));
    let table = Table::Fake(Fake { answers: Mutex::new(receiver), asked: Arc::clone(&asked) });
    let keeping = Keeping {
        entries_max: 10,
        positive_ttl: Duration::from_secs(600),
        negative_ttl: Duration::from_secs(600),
    };
    let directory = Directory::new(table, config.destinations, keeping);
    Stage { directory, answers, asked }
}

impl Stage {
    fn say(&self, name: Option<&str>) {
        self.answers.send(Ok(name.map(|name| name.as_bytes().to_vec()))).unwrap();
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

fn shown(finding: &Finding) -> &str {
    match finding {
        Finding::Found(destination) => &destination.name,
        Finding::NotFound => "not found",
        Finding::Unavailable => "unavailable",
    }
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(test);
}

#[test]
fn an_answer_is_kept_and_workers_find_it() {
    run(async {
        let stage = stage();
        assert!(stage.directory.known(Some(b"alice")).is_none());
        stage.say(Some("new"));
        stage.say(None);
        assert_eq!(shown(&stage.directory.ask(b"alice").await), "new");
        assert_eq!(shown(&stage.directory.ask(b"bob").await), "not found");
        assert_eq!(shown(&stage.directory.known(Some(b"alice")).unwrap()), "new");
        assert_eq!(shown(&stage.directory.known(Some(b"bob")).unwrap()), "not found");
        assert_eq!(shown(&stage.directory.ask(b"alice").await), "new");
        assert_eq!((stage.asked(), stage.directory.kept()), (2, 2));
    });
}

#[test]
fn what_no_table_can_hold_is_not_asked_for() {
    let stage = stage();
    for identifier in [None, Some(&b"b\xf8b"[..])] {
        assert_eq!(shown(&stage.directory.known(identifier).unwrap()), "not found");
    }
    assert_eq!(stage.asked(), 0);
}

#[test]
fn who_asks_the_same_meanwhile_waits_for_the_same_answer() {
    run(async {
        let stage = stage();
        let ask = || stage.directory.ask(b"alice");
        let answer = async {
            while stage.asked() == 0 {
                tokio::task::yield_now().await;
            }
            stage.say(Some("new"));
        };
        let (first, second, third, ()) = tokio::join!(ask(), ask(), ask(), answer);
        assert_eq!([shown(&first), shown(&second), shown(&third)], ["new"; 3]);
        assert_eq!(stage.asked(), 1);
        assert!(stage.directory.asked().is_empty());
    });
}

#[test]
fn a_failure_is_kept_for_nobody() {
    run(async {
        let stage = stage();
        stage.answers.send(Err("down".to_owned())).unwrap();
        stage.say(Some("new"));
        assert_eq!(shown(&stage.directory.ask(b"alice").await), "unavailable");
        assert!(stage.directory.known(Some(b"alice")).is_none());
        assert_eq!(shown(&stage.directory.ask(b"alice").await), "new");
    });
}

#[test]
fn an_unknown_destination_is_a_fault_and_not_the_default() {
    run(async {
        let stage = stage();
        stage.say(Some("nwe"));
        stage.say(Some(""));
        for _ in 0..2 {
            assert_eq!(shown(&stage.directory.ask(b"alice").await), "unavailable");
        }
        assert_eq!((stage.asked(), stage.directory.kept()), (2, 0));
    });
}

#[test]
fn an_answer_from_before_a_change_is_not_kept_nor_given_to_later_questions() {
    run(async {
        let stage = stage();
        let later = async {
            while stage.asked() == 0 {
                tokio::task::yield_now().await;
            }
            stage.directory.forget(Some(b"alice"));
            let asked_after = stage.directory.ask(b"alice");
            let answers = async {
                stage.say(Some("old"));
                stage.say(Some("new"));
            };
            let (asked_after, ()) = tokio::join!(asked_after, answers);
            asked_after
        };
        let (before, after) = tokio::join!(stage.directory.ask(b"alice"), later);
        assert_eq!([shown(&before), shown(&after)], ["old", "new"]);
        assert_eq!(shown(&stage.directory.known(Some(b"alice")).unwrap()), "new");
    });
}

#[test]
fn only_what_is_configured_can_be_written() {
    run(async {
        let stage = stage();
        let written = stage.directory.write(b"alice", "nwe").await;
        assert_eq!(written, Err(WriteFault::UnknownDestination));
        assert_eq!(stage.directory.write(b"alice", "new").await, Err(WriteFault::ReadOnly));
    });
}
