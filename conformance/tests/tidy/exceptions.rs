//! What may differ from a rule, and why: the one list.

use super::tree::{Finding, Rule};

/// A place where a rule does not hold.
pub(crate) struct Exception {
    pub(crate) rule: Rule,
    /// The file, from the workspace's root.
    pub(crate) path: &'static str,
    /// A part of what is found there.
    pub(crate) what: &'static str,
    pub(crate) reason: &'static str,
}

/// All of them.
pub(crate) const EXCEPTIONS: &[Exception] = &[];

/// The findings that no exception covers, and a finding for each exception that covers nothing or
/// gives no reason.
pub(crate) fn without_excepted(
    findings: Vec<Finding>,
    exceptions: &'static [Exception],
) -> Vec<Finding> {
    let covers = |exception: &Exception, finding: &Finding| {
        exception.rule == finding.rule
            && exception.path == finding.path
            && finding.what.contains(exception.what)
    };
    let mut left = Vec::new();
    for exception in exceptions {
        let problem = if exception.reason.trim().len() < 10 {
            "has no reason"
        } else if findings.iter().any(|finding| covers(exception, finding)) {
            continue;
        } else {
            "is not needed any more"
        };
        let what = format!("the exception {:?} for {:?} {problem}", exception.what, exception.rule);
        left.push(Finding { rule: Rule::Exception, path: exception.path.into(), line: 0, what });
    }
    let open = |finding: &Finding| !exceptions.iter().any(|exception| covers(exception, finding));
    left.extend(findings.into_iter().filter(open));
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Exception = Exception {
        rule: Rule::FunctionLength,
        path: "core/src/a.rs",
        what: "fn long",
        reason: "a table in the form of a match",
    };

    fn finding(rule: Rule, what: &str) -> Finding {
        Finding { rule, path: "core/src/a.rs".into(), line: 7, what: what.into() }
    }

    #[test]
    fn an_exception_covers_its_finding_and_nothing_else() {
        const LIST: &[Exception] = &[LONG];
        let found = vec![
            finding(Rule::FunctionLength, "fn long: 80 lines"),
            finding(Rule::Word, "fn long"),
        ];
        let left = without_excepted(found, LIST);
        assert_eq!(left.iter().map(|finding| finding.rule).collect::<Vec<_>>(), [Rule::Word]);
    }

    #[test]
    fn an_exception_without_need_or_reason_is_a_finding() {
        const UNREASONED: &[Exception] = &[Exception { reason: " ", ..LONG }];
        const LIST: &[Exception] = &[LONG];
        let left = without_excepted(Vec::new(), LIST);
        assert!(left[0].what.ends_with("not needed any more"), "{}", left[0]);
        let left = without_excepted(vec![finding(Rule::FunctionLength, "fn long")], UNREASONED);
        assert!(left[0].what.ends_with("has no reason"), "{}", left[0]);
    }
}
