//! One Rust file, told apart into code and comments.
//!
//! Three copies of the text are kept, all with the same lines and columns (in octets): the code
//! with comments and the content of literals blanked, the same without what is compiled for tests
//! only, and the comments with everything else blanked. So a rule that looks at one of them finds
//! no word of another, and braces in strings confuse nobody.
//!
//! This is no parser: it knows tokens, brackets and `#[cfg(test)]`, which is what the rules need.

/// A file.
pub(crate) struct Source {
    /// From the workspace's root.
    pub(crate) path: String,
    pub(crate) text: String,
    /// Code alone.
    pub(crate) code: String,
    /// Code that is compiled into the product.
    pub(crate) product: String,
    /// Comments alone.
    pub(crate) comments: String,
}

/// A word or a mark of code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    pub(crate) text: &'a str,
    /// Where it begins, in octets.
    pub(crate) at: usize,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let (code, comments) = split(text);
        let is_test = path.split('/').any(|part| matches!(part, "tests" | "benches"))
            || path.ends_with("/tests.rs");
        let product = if is_test { blanked(&code) } else { without_tests(&code) };
        Self { path: path.into(), text: text.into(), code, product, comments }
    }

    /// Modules in files of their own that are compiled for tests only.
    pub(crate) fn test_modules(&self) -> Vec<String> {
        let tokens = tokens(&self.code);
        let mut modules = Vec::new();
        for three in tokens.windows(3) {
            let [keyword, name, end] = three else { continue };
            let is_product = self.product[keyword.at..].starts_with("mod");
            if keyword.text != "mod" || end.text != ";" || is_product {
                continue;
            }
            let folder = self.path.strip_suffix(".rs").unwrap_or(&self.path);
            let folder = ["/mod", "/lib", "/main"]
                .iter()
                .find_map(|name| folder.strip_suffix(name))
                .unwrap_or(folder);
            modules.push(format!("{folder}/{}", name.text));
        }
        modules
    }

    /// It is compiled for tests only.
    pub(crate) fn is_test(&mut self) {
        self.product = blanked(&self.code);
    }

    /// The line that holds an octet, counted from 1.
    pub(crate) fn line_of(&self, at: usize) -> usize {
        1 + self.text.as_bytes()[..at].iter().filter(|octet| **octet == b'\n').count()
    }

    /// The crate's folder.
    pub(crate) fn package(&self) -> &str {
        self.path.split('/').next().unwrap_or_default()
    }

    /// The module's path within its crate; None for files outside `src`.
    pub(crate) fn module(&self) -> Option<Vec<&str>> {
        let (_, inside) = self.path.split_once("/src/")?;
        let mut module: Vec<&str> = inside.strip_suffix(".rs")?.split('/').collect();
        if matches!(module.last(), Some(&("mod" | "lib" | "main"))) {
            module.pop();
        }
        Some(module)
    }
}

/// The tokens of code: identifiers and numbers whole, `::` as one, all else octet by octet.
pub(crate) fn tokens(code: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < code.len() {
        let rest = &code[at..];
        let first = rest.chars().next().unwrap_or(' ');
        let length = if is_word(first) {
            rest.find(|letter| !is_word(letter)).unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        if !first.is_whitespace() {
            tokens.push(Token { text: &rest[..length], at });
        }
        at += length;
    }
    tokens
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// The position of the bracket that closes the one at `open`, which is `{`, `(` or `[`.
pub(crate) fn closing(tokens: &[Token<'_>], open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (position, token) in tokens.iter().enumerate().skip(open) {
        match token.text {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(position);
                }
            }
            _ => {}
        }
    }
    None
}

/// Code and comments of a text.
fn split(text: &str) -> (String, String) {
    let octets = text.as_bytes();
    let mut code = blanked(text).into_bytes();
    let mut comments = code.clone();
    let mut at = 0;
    while at < octets.len() {
        let rest = &octets[at..];
        let (length, target) = match rest {
            [b'/', b'/', ..] => (line_length(rest), Some(&mut comments)),
            [b'/', b'*', ..] => (block_length(rest), Some(&mut comments)),
            _ => match literal_length(rest, at.checked_sub(1).map(|before| octets[before])) {
                Some(length) => (length, None),
                None => (1, Some(&mut code)),
            },
        };
        let end = (at + length).min(octets.len());
        if let Some(target) = target {
            target[at..end].copy_from_slice(&octets[at..end]);
        } else {
            // A literal stays recognisable as one.
            code[at] = b'"';
            code[end - 1] = b'"';
        }
        at = end;
    }
    (String::from_utf8_lossy(&code).into_owned(), String::from_utf8_lossy(&comments).into_owned())
}

fn blanked(text: &str) -> String {
    text.bytes().map(|octet| if octet == b'\n' { '\n' } else { ' ' }).collect()
}

fn line_length(rest: &[u8]) -> usize {
    rest.iter().position(|octet| *octet == b'\n').unwrap_or(rest.len())
}

/// Block comments nest.
fn block_length(rest: &[u8]) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at + 1 < rest.len() {
        match &rest[at..at + 2] {
            b"/*" => depth += 1,
            b"*/" => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// The length of the string or character that begins here, if one does.
fn literal_length(rest: &[u8], before: Option<u8>) -> Option<usize> {
    if before.is_some_and(|octet| octet.is_ascii_alphanumeric() || octet == b'_') {
        return None;
    }
    let prefix = rest.iter().take_while(|octet| matches!(octet, b'b' | b'c' | b'r')).count();
    let raw = rest[..prefix].contains(&b'r');
    let hashes = rest[prefix..].iter().take_while(|octet| raw && **octet == b'#').count();
    let open = prefix + hashes;
    match rest.get(open)? {
        b'"' if raw => {
            let end = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
            let inside = &rest[open + 1..];
            let length = inside.windows(end.len()).position(|window| window == end);
            Some(length.map_or(rest.len(), |length| open + 1 + length + end.len()))
        }
        b'"' => Some(quoted_length(rest, open, b'"')),
        // A lifetime has no quote behind its first letter.
        b'\'' if hashes == 0 && is_character(&rest[open + 1..]) => {
            Some(quoted_length(rest, open, b'\''))
        }
        _ => None,
    }
}

fn is_character(inside: &[u8]) -> bool {
    let first = match inside.first() {
        Some(b'\\') => return true,
        Some(0x00..=0x7f) => 1,
        Some(0x80..=0xdf) => 2,
        Some(0xe0..=0xef) => 3,
        Some(_) => 4,
        None => return false,
    };
    inside.get(first) == Some(&b'\'')
}

fn quoted_length(rest: &[u8], open: usize, quote: u8) -> usize {
    let mut at = open + 1;
    while let Some(octet) = rest.get(at) {
        match *octet {
            b'\\' => at += 2,
            octet if octet == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// The code with each item under `#[cfg(test)]` blanked.
fn without_tests(code: &str) -> String {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let tokens = tokens(code);
    let mut product = code.as_bytes().to_vec();
    let mut from = 0;
    while from < tokens.len() {
        let marked = tokens[from..].iter().zip(MARK).filter(|(token, mark)| token.text == *mark);
        if marked.count() < MARK.len() {
            from += 1;
            continue;
        }
        let last = item_end(&tokens, from + MARK.len());
        let end = tokens.get(last).map_or(code.len(), |token| token.at + 1);
        for octet in &mut product[tokens[from].at..end] {
            if *octet != b'\n' {
                *octet = b' ';
            }
        }
        from = last + 1;
    }
    String::from_utf8_lossy(&product).into_owned()
}

/// The last token of the item that begins here: its body's brace, or a semicolon before one.
fn item_end(tokens: &[Token<'_>], from: usize) -> usize {
    let mut at = from;
    while let Some(token) = tokens.get(at) {
        match token.text {
            ";" => return at,
            "{" => return closing(tokens, at).unwrap_or(tokens.len()),
            "(" | "[" => at = closing(tokens, at).unwrap_or(tokens.len()),
            _ => {}
        }
        at += 1;
    }
    tokens.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_and_comments_are_told_apart() {
        let text = "let a = \"// no { \\\" comment\"; // {one}\n/* x /* y */ z */ let b = '\"';\n";
        let source = Source::new("a/src/b.rs", text);
        assert!(source.code.contains("let b ="), "{}", source.code);
        assert!(!source.code.contains('{') && !source.code.contains('x'), "{}", source.code);
        assert!(source.comments.contains("// {one}") && source.comments.contains("z */"));
        assert!(!source.comments.contains("no {"), "{}", source.comments);
        assert_eq!(source.code.len(), text.len());
    }

    #[test]
    fn raw_strings_and_lifetimes() {
        let text = "fn f<'a>(x: &'a str) { r#\"a \"quoted\" {\"#; b'{'; b\"}\"; '\\''; 'ä'; }";
        let source = Source::new("a/src/b.rs", text);
        let tokens = tokens(&source.code);
        let open = tokens.iter().position(|token| token.text == "{").unwrap();
        assert_eq!(closing(&tokens, open), Some(tokens.len() - 1), "{}", source.code);
        assert!(source.code.contains("'a str"));
    }

    #[test]
    fn what_is_compiled_for_tests_is_no_product() {
        let text = "use a;\n#[cfg(test)]\nmod tests;\nfn b() {}\n#[cfg(test)]\n#[allow(x)]\n\
                    mod tests {\n    fn c() { d(); }\n}\nfn e() {}\n";
        let source = Source::new("a/src/b.rs", text);
        for kept in ["use a", "fn b", "fn e"] {
            assert!(source.product.contains(kept), "{kept} in {}", source.product);
        }
        for gone in ["mod tests", "fn c", "d()"] {
            assert!(!source.product.contains(gone), "{gone} in {}", source.product);
        }
        assert_eq!(Source::new("a/tests/b.rs", text).product.trim(), "");
    }

    #[test]
    fn a_file_may_be_declared_a_test_elsewhere() {
        let text = "mod a;\n#[cfg(test)]\nmod samples;\n";
        let modules = |path| Source::new(path, text).test_modules();
        assert_eq!(modules("driver-mio/src/tls/mod.rs"), ["driver-mio/src/tls/samples"]);
        assert_eq!(modules("driver-mio/src/tls.rs"), ["driver-mio/src/tls/samples"]);
    }

    #[test]
    fn modules_are_named_by_their_files() {
        let module = |path| Source::new(path, "").module().map(|module| module.join("::"));
        assert_eq!(module("core/src/imap/mod.rs").as_deref(), Some("imap"));
        assert_eq!(module("core/src/imap/frontend.rs").as_deref(), Some("imap::frontend"));
        assert_eq!(module("core/src/lib.rs").as_deref(), Some(""));
        assert_eq!(module("core/tests/a.rs"), None);
    }
}
