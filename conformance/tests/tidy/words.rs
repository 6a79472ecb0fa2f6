//! Words that promise or say nothing, names that say nothing, calls that libraries do not make,
//! and paths that are true on one machine only.
//!
//! In Rust, comments and code are searched and the content of strings is not, paths excepted; in
//! other texts everything is.

use super::source::{Source, Token, tokens};
use super::tree::{Finding, Rule, Text};

/// Marks of unfinished work, as whole words.
const UNFINISHED: [&str; 3] = ["TODO", "FIXME", "XXX"];
/// A promise that nobody keeps.
const TEMPORARY: &str = "for now";
/// Parts of names that say nothing about what bears them.
const EMPTY_NAMES: [&str; 7] =
    ["util", "utils", "common", "manager", "helper", "helpers", "utilities"];
/// Folders at the root under which those of one person or one machine lie.
const MACHINE_FOLDERS: [&str; 4] = ["home", "root", "work", "Users"];
/// Macros by which a library would write past its caller.
const PRINTING: [&str; 5] = ["println", "print", "eprintln", "eprint", "dbg"];
/// Words that a name follows.
const NAMING: [&str; 9] =
    ["fn", "struct", "enum", "trait", "mod", "type", "const", "static", "let"];

pub(crate) fn check_source(source: &Source) -> Vec<Finding> {
    let mut found = Vec::new();
    for text in [&source.comments, &source.code] {
        found.extend(words(text));
    }
    found.extend(machine_paths(&source.text));
    found.extend(names(source));
    found.extend(calls(source));
    let finding = |(rule, at, what)| {
        let line = if at == WHOLE_FILE { 0 } else { source.line_of(at) };
        Finding { rule, path: source.path.clone(), line, what }
    };
    found.into_iter().map(finding).collect()
}

pub(crate) fn check_text(text: &Text) -> Vec<Finding> {
    let mut found = words(&text.text);
    found.extend(machine_paths(&text.text));
    let finding = |(rule, at, what): Found| {
        let line = 1 + text.text[..at].matches('\n').count();
        Finding { rule, path: text.path.clone(), line, what }
    };
    found.into_iter().map(finding).collect()
}

type Found = (Rule, usize, String);

/// In place of a position.
const WHOLE_FILE: usize = usize::MAX;

fn words(text: &str) -> Vec<Found> {
    let mut found = Vec::new();
    for Token { text: word, at } in tokens(text) {
        if UNFINISHED.contains(&word) {
            found.push((Rule::Word, at, word.into()));
        }
    }
    // The phrase may be broken by a line's end and the marks of a comment.
    let words: Vec<Token<'_>> =
        tokens(text).into_iter().filter(|token| !matches!(token.text, "/" | "!" | "#")).collect();
    let mut phrase = TEMPORARY.split(' ');
    let (first, second) = (phrase.next(), phrase.next());
    for pair in words.windows(2) {
        let is = |token: Token<'_>, word: Option<&str>| {
            word.is_some_and(|word| token.text.eq_ignore_ascii_case(word))
        };
        if is(pair[0], first) && is(pair[1], second) {
            found.push((Rule::Word, pair[0].at, TEMPORARY.into()));
        }
    }
    found
}

fn machine_paths(text: &str) -> Vec<Found> {
    let hits = MACHINE_FOLDERS.iter().flat_map(|folder| {
        let path = format!("/{folder}/");
        // Within a longer path it means something else.
        let begins = |at: &usize| {
            !text[..*at].ends_with(|before: char| before.is_alphanumeric() || before == '.')
        };
        let places: Vec<usize> =
            text.match_indices(&path).map(|(at, _)| at).filter(begins).collect();
        places.into_iter().map(move |at| (Rule::MachinePath, at, path.clone()))
    });
    hits.collect()
}

fn names(source: &Source) -> Vec<Found> {
    let mut found = Vec::new();
    let tokens = tokens(&source.code);
    for (position, Token { text: name, at }) in tokens.iter().enumerate().skip(1) {
        let mut before = position - 1;
        if tokens[before].text == "mut" && before > 0 {
            before -= 1;
        }
        let is_named = NAMING.contains(&tokens[before].text);
        if is_named && says_nothing(name) {
            found.push((Rule::Name, *at, (*name).to_string()));
        }
    }
    for part in source.path.split(['/', '.']) {
        if says_nothing(part) {
            found.push((Rule::Name, WHOLE_FILE, part.into()));
        }
    }
    found
}

fn says_nothing(name: &str) -> bool {
    let snake: String = name
        .chars()
        .flat_map(|letter| {
            let gap = if letter.is_uppercase() { Some('_') } else { None };
            gap.into_iter().chain(letter.to_lowercase())
        })
        .collect();
    name.starts_with("get_") || snake.split(['_', '-']).any(|part| EMPTY_NAMES.contains(&part))
}

fn calls(source: &Source) -> Vec<Found> {
    let is_library = source.path.starts_with("core/src/")
        || (source.path.starts_with("driver-")
            && source.path.contains("/src/")
            && !source.path.ends_with("/main.rs"));
    let mut found = Vec::new();
    let tokens = tokens(&source.product);
    for (position, token) in tokens.iter().enumerate() {
        let is_at = |offset: usize, text: &str| {
            tokens.get(position + offset).is_some_and(|token| token.text == text)
        };
        if is_library && PRINTING.contains(&token.text) && is_at(1, "!") {
            found.push((Rule::Call, token.at, format!("{}!", token.text)));
        }
        if token.text == "." && is_at(1, "unwrap") && is_at(2, "(") && is_at(3, ")") {
            found.push((Rule::Call, token.at, "unwrap()".into()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<(Rule, usize, String)> {
        let found = check_source(&Source::new(path, text));
        found.into_iter().map(|finding| (finding.rule, finding.line, finding.what)).collect()
    }

    fn one(path: &str, text: &str, rule: Rule, line: usize, what: &str) {
        assert_eq!(found(path, text), [(rule, line, what.to_string())], "{text}");
    }

    const LIBRARY: &str = "core/src/sample.rs";

    #[test]
    fn marks_of_unfinished_work() {
        one(LIBRARY, "fn a() {}\n// TODO: b\n", Rule::Word, 2, "TODO");
        one(LIBRARY, "/// XXX\nfn a() {}\n", Rule::Word, 1, "XXX");
        one(LIBRARY, "// It is so for\n// now.\n", Rule::Word, 1, "for now");
        one(LIBRARY, "//! For now it is.\n", Rule::Word, 1, "for now");
        assert_eq!(found(LIBRARY, "const A: &str = \"TODO\"; // for nowhere, TODOS\n"), []);
    }

    #[test]
    fn texts_are_searched_whole() {
        let text = Text { path: "README.md".into(), text: "One.\nFIXME: two\n".into() };
        let found = check_text(&text);
        assert_eq!((found.len(), found[0].line, found[0].rule), (1, 2, Rule::Word));
        let text = format!("dir = \"/{}/me\"\n", MACHINE_FOLDERS[0]);
        let text = Text { path: "a.toml".into(), text };
        assert_eq!(check_text(&text)[0].rule, Rule::MachinePath);
    }

    #[test]
    fn names_that_say_nothing() {
        one(LIBRARY, "fn get_name() {}\n", Rule::Name, 1, "get_name");
        one(LIBRARY, "\nstruct SessionManager;\n", Rule::Name, 2, "SessionManager");
        one(LIBRARY, "mod util;\n", Rule::Name, 1, "util");
        one(LIBRARY, "let mut io_helper = 1;\n", Rule::Name, 1, "io_helper");
        one("core/src/common.rs", "", Rule::Name, 0, "common");
        assert_eq!(found(LIBRARY, "fn a() { map.get_mut(); Fault::NoCommonGround }\n"), []);
    }

    #[test]
    fn calls_that_libraries_do_not_make() {
        one(LIBRARY, "fn a() { println!(\"b\"); }\n", Rule::Call, 1, "println!");
        one("driver-mio/src/leg.rs", "fn a() { dbg!(b) }\n", Rule::Call, 1, "dbg!");
        one("conformance/src/a.rs", "fn a() {\n b.unwrap() }\n", Rule::Call, 2, "unwrap()");
        assert_eq!(found("driver-mio/src/main.rs", "fn a() { println!(\"b\"); }\n"), []);
        assert_eq!(found("core/tests/a.rs", "fn a() { b.unwrap() }\n"), []);
        assert_eq!(found(LIBRARY, "#[cfg(test)]\nmod tests { fn a() { b.unwrap() } }\n"), []);
    }

    #[test]
    fn paths_of_one_machine() {
        for folder in MACHINE_FOLDERS {
            let path = format!("/{folder}/");
            let text = format!("const A: &str = \"{path}me/x\";\n");
            one(LIBRARY, &text, Rule::MachinePath, 1, &path);
            assert_eq!(found(LIBRARY, &format!("// a{path}b\n")), []);
        }
    }
}
