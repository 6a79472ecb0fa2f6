//! A function fits a screen, a file a sitting, a line a window; a module says what it is.

use super::source::{Source, closing, tokens};
use super::tree::{Finding, Rule};

/// Lines of a file, its tests left out.
const FILE_LINES_MAX: usize = 600;
/// Lines of a function, from `fn` to its last brace.
const FUNCTION_LINES_MAX: usize = 70;
/// Characters of a line.
pub(crate) const COLUMNS_MAX: usize = 100;

pub(crate) fn check(source: &Source) -> Vec<Finding> {
    let finding = |rule, line, what| Finding { rule, path: source.path.clone(), line, what };
    let mut findings = Vec::new();
    let lines = lines_without_tests(source);
    if lines > FILE_LINES_MAX {
        findings.push(finding(Rule::FileLength, 0, format!("{lines} lines without tests")));
    }
    for (position, line) in source.text.lines().enumerate() {
        let columns = line.chars().count();
        if columns > COLUMNS_MAX {
            findings.push(finding(Rule::Columns, position + 1, format!("{columns} columns")));
        }
    }
    for Function { name, line, lines } in functions(source) {
        if lines > FUNCTION_LINES_MAX {
            findings.push(finding(Rule::FunctionLength, line, format!("fn {name}: {lines} lines")));
        }
    }
    if !source.text.starts_with("//!") {
        let what = "a file opens with `//!`, what it is".into();
        findings.push(finding(Rule::ModuleDoc, 1, what));
    }
    findings
}

fn lines_without_tests(source: &Source) -> usize {
    let all = source.text.lines().count();
    if source.product.trim().is_empty() {
        return 0;
    }
    // Where the code of a line is gone from the product, it was a test's; comments between such
    // lines are a test's too.
    let code = source.code.lines().zip(source.product.lines());
    let mut tests = 0;
    let mut undecided = 0;
    let mut in_tests = false;
    for (code, product) in code {
        let is_blank = code.trim().is_empty();
        if is_blank {
            undecided += 1;
            continue;
        }
        let is_test = product.trim().is_empty();
        if in_tests && is_test {
            tests += undecided;
        }
        tests += usize::from(is_test);
        in_tests = is_test;
        undecided = 0;
    }
    all - tests
}

struct Function<'a> {
    name: &'a str,
    line: usize,
    lines: usize,
}

fn functions(source: &Source) -> Vec<Function<'_>> {
    let tokens = tokens(&source.code);
    let mut functions = Vec::new();
    for (position, pair) in tokens.windows(2).enumerate() {
        let [keyword, name] = pair else { continue };
        // `fn(u8) -> u8` is a type.
        if keyword.text != "fn" || name.text == "(" {
            continue;
        }
        let mut at = position + 2;
        while let Some(token) = tokens.get(at) {
            match token.text {
                "(" | "[" => at = closing(&tokens, at).unwrap_or(tokens.len()),
                ";" => break,
                "{" => {
                    let Some(end) = closing(&tokens, at) else { break };
                    let line = source.line_of(keyword.at);
                    let lines = source.line_of(tokens[end].at) - line + 1;
                    functions.push(Function { name: name.text, line, lines });
                    break;
                }
                _ => {}
            }
            at += 1;
        }
    }
    functions
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Vec<(Rule, usize)> {
        let found = check(&Source::new("core/src/sample.rs", text));
        found.into_iter().map(|finding| (finding.rule, finding.line)).collect()
    }

    fn function(lines: usize) -> String {
        format!("fn f(a: [u8; 2]) -> u8 {{\n{}}}\n", "    g(\"}\");\n".repeat(lines - 2))
    }

    #[test]
    fn a_function_of_seventy_lines_fits_and_one_more_does_not() {
        let head = "//! A sample.\ntrait T { fn declared(&self); }\ntype F = fn(u8) -> u8;\n";
        assert_eq!(rules(&format!("{head}{}", function(70))), []);
        assert_eq!(rules(&format!("{head}{}", function(71))), [(Rule::FunctionLength, 4)]);
    }

    #[test]
    fn a_file_of_six_hundred_lines_fits_however_long_its_tests() {
        let tests =
            "#[cfg(test)]\nmod tests {\n    // Many.\n    const B: u8 = 1;\n}\n".repeat(300);
        let full = format!("//! A sample.\n{}", "const A: u8 = 1;\n".repeat(599));
        assert_eq!(rules(&format!("{full}{tests}")), []);
        assert_eq!(rules(&format!("{full}\n{tests}")), [(Rule::FileLength, 0)]);
    }

    #[test]
    fn columns_are_characters() {
        let line = |columns: usize| format!("//! A sample.\n// {}\n", "ä".repeat(columns - 3));
        assert_eq!(rules(&line(100)), []);
        assert_eq!(rules(&line(101)), [(Rule::Columns, 2)]);
    }

    #[test]
    fn a_file_says_what_it_is() {
        assert_eq!(rules("// A sample.\n"), [(Rule::ModuleDoc, 1)]);
    }
}
