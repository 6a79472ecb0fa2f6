//! Durations as the configuration writes them: a whole number with `ms`, `s`, `m`, `h` or `d`.
//!
//! Invariant: what is read fits the core's clock by far, since it is a year and a day at most.
//! Read next: `reader`.

use core::time::Duration;

/// The longest duration that a configuration may name.
const DAYS_MAX: u64 = 366;

/// The duration that a text stands for; `0` needs no unit.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let unit_at = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(unit_at);
    let number: u64 = digits.parse().ok()?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "" if number == 0 => 0,
        _ => return None,
    };
    let duration = Duration::from_millis(number.checked_mul(milliseconds)?);
    (duration <= Duration::from_secs(DAYS_MAX * 86_400)).then_some(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit() {
        for (text, milliseconds) in [
            ("250ms", 250),
            ("30s", 30_000),
            ("5m", 300_000),
            ("2h", 7_200_000),
            ("1d", 86_400_000),
            ("0", 0),
            ("0s", 0),
        ] {
            assert_eq!(parse(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration() {
        for text in
            ["", "s", "30", "30 s", "-1s", "1.5h", "1S", "1w", "367d", "99999999999999999999s"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
        assert!(parse("366d").is_some());
    }
}
