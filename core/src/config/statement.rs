//! SQL statements, as far as their placeholders go.
//!
//! Not here: whether a statement is right; the database says so. What is counted here would
//! otherwise fail at the first login, and at every one.
//! Invariant: what stands in quotes, in a comment or in a dollar-quoted text is no placeholder.

/// What a database speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Placeholders are `$1` and `$2`.
    PostgreSql,
    /// Placeholders are question marks, MariaDB's too.
    MySql,
    /// Placeholders are question marks, or `$1` and `$2`.
    Sqlite,
}

/// Why the placeholders of a statement cannot be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Uncountable {
    /// Something that was opened is not closed.
    Open,
    /// One number is left out, or both kinds are there.
    Mixed,
}

impl Uncountable {
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Open => "ends within quotes or a comment",
            Self::Mixed => "leaves a placeholder out, or mixes two kinds of them",
        }
    }
}

impl Dialect {
    /// How an address begins.
    pub(super) const SCHEMES: [(&'static str, Self); 5] = [
        ("postgres://", Self::PostgreSql),
        ("postgresql://", Self::PostgreSql),
        ("mysql://", Self::MySql),
        ("mariadb://", Self::MySql),
        ("sqlite:", Self::Sqlite),
    ];

    /// How to write placeholders.
    pub(super) const fn placeholder_shape(self) -> &'static str {
        match self {
            Self::PostgreSql => "write the identifier as $1, and the destination as $2",
            Self::MySql => "write a question mark for each, the identifier first",
            Self::Sqlite => "write ?1 or $1 for the identifier, and ?2 or $2 for the destination",
        }
    }

    const fn has_question_marks(self) -> bool {
        match self {
            Self::PostgreSql => false,
            Self::MySql | Self::Sqlite => true,
        }
    }

    const fn has_numbers(self) -> bool {
        match self {
            Self::MySql => false,
            Self::PostgreSql | Self::Sqlite => true,
        }
    }
}

/// The values that a statement takes.
pub(super) fn placeholders(sql: &str, dialect: Dialect) -> Result<usize, Uncountable> {
    let bytes = sql.as_bytes();
    let (mut at, mut plain) = (0, 0);
    let mut numbers = [false; 9];
    while let Some(octet) = bytes.get(at) {
        let rest = &bytes[at..];
        if let Some(length) = skipped(rest, dialect)? {
            at += length;
            continue;
        }
        at += 1;
        let numbered = match octet {
            b'$' => dialect.has_numbers(),
            b'?' => dialect.has_question_marks(),
            _ => continue,
        };
        let digits = rest[1..].iter().take_while(|digit| digit.is_ascii_digit()).count();
        match (octet, digits) {
            (b'?', 0) if numbered => plain += 1,
            (_, 1) if numbered && dialect.has_numbers() && (b'1'..=b'9').contains(&rest[1]) => {
                numbers[usize::from(rest[1] - b'1')] = true;
                at += 1;
            }
            (_, 2..) if numbered && dialect.has_numbers() => return Err(Uncountable::Mixed),
            (_, _) => {}
        }
    }
    let highest = numbers.iter().rposition(|used| *used).map_or(0, |last| last + 1);
    let gaps = numbers[..highest].iter().any(|used| !used);
    if gaps || (plain > 0 && highest > 0) {
        return Err(Uncountable::Mixed);
    }
    Ok(plain.max(highest))
}

/// Octets of a quoted text or a comment that begins here, if one does.
fn skipped(rest: &[u8], dialect: Dialect) -> Result<Option<usize>, Uncountable> {
    let (opening, closing): (usize, &[u8]) = match rest {
        [quote @ (b'\'' | b'"' | b'`'), ..] => (1, core::slice::from_ref(quote)),
        [b'-', b'-', ..] => {
            let end = rest.iter().position(|octet| *octet == b'\n').unwrap_or(rest.len());
            return Ok(Some(end));
        }
        [b'/', b'*', ..] => (2, b"*/"),
        [b'$', b'$', ..] if dialect == Dialect::PostgreSql => (2, b"$$"),
        _ => return Ok(None),
    };
    let end = memchr::memmem::find(&rest[opening..], closing).ok_or(Uncountable::Open)?;
    Ok(Some(opening + end + closing.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_counted_where_they_count() {
        use Dialect::{MySql, PostgreSql, Sqlite};
        for (sql, dialect, count) in [
            ("SELECT d FROM r WHERE i = $1", PostgreSql, 1),
            ("SELECT d FROM r WHERE i = $1 OR a = $1", PostgreSql, 1),
            ("SELECT d FROM r WHERE i = ?", PostgreSql, 0),
            ("SELECT d FROM r WHERE j ? 'a' AND i = $1", PostgreSql, 1),
            ("INSERT INTO r VALUES ($1, $2)", PostgreSql, 2),
            ("SELECT '$1''$2', \"$3\", $$ $4 $$ -- $5\n /* $6 */", PostgreSql, 0),
            ("SELECT d FROM r WHERE i = ?", MySql, 1),
            ("SELECT d FROM r WHERE i = $1", MySql, 0),
            ("INSERT INTO r VALUES (?, ?)", MySql, 2),
            ("SELECT `?`, '?' -- ?", MySql, 0),
            ("SELECT d FROM r WHERE i = ?1 OR a = ?1", Sqlite, 1),
            ("SELECT d FROM r WHERE i = $1", Sqlite, 1),
            ("SELECT d FROM r WHERE i = ?", Sqlite, 1),
        ] {
            assert_eq!(placeholders(sql, dialect), Ok(count), "{sql}");
        }
    }

    #[test]
    fn what_cannot_be_counted() {
        use Dialect::{PostgreSql, Sqlite};
        assert_eq!(placeholders("SELECT 'a", PostgreSql), Err(Uncountable::Open));
        assert_eq!(placeholders("SELECT /* a", PostgreSql), Err(Uncountable::Open));
        assert_eq!(placeholders("SELECT $2", PostgreSql), Err(Uncountable::Mixed));
        assert_eq!(placeholders("SELECT $12", PostgreSql), Err(Uncountable::Mixed));
        assert_eq!(placeholders("SELECT ?, $1", Sqlite), Err(Uncountable::Mixed));
    }
}
