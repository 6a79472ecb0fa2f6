//! Dates as IMAP and header fields write them, with a zone; and whole days for SEARCH.
//!
//! Only years 1 to 9999 are accepted. A day is counted as its owner wrote it, without regard to the
//! zone, as RFC 3501 §6.4.4 asks of SEARCH.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const SECONDS_A_DAY: i64 = 86_400;

/// A point in time with the zone it was written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Date {
    /// Seconds since the Unix epoch, in the zone's own reckoning.
    local_seconds: i64,
    zone_minutes: i32,
}

impl Date {
    pub(super) fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { local_seconds: i64::try_from(since.as_secs()).unwrap_or(0), zone_minutes: 0 }
    }

    /// `17-Jul-1996 02:44:25 -0700`; the day may have a space in front.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut words = text.trim_start().split(' ');
        let day = parse_day(words.next()?)?;
        let mut clock = words.next()?.split(':').map(|part| digits(part, 2));
        let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
        let zone = words.next()?;
        if clock.next().is_some() || words.next().is_some() {
            return None;
        }
        if hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let (sign, zone) = match zone.as_bytes().first()? {
            b'+' => (1, zone.get(1..)?),
            b'-' => (-1, zone.get(1..)?),
            _ => return None,
        };
        let zone = i32::try_from(digits(zone, 4)?).ok()?;
        Some(Self {
            local_seconds: day * SECONDS_A_DAY + hour * 3600 + minute * 60 + second,
            zone_minutes: sign * (zone / 100 * 60 + zone % 100),
        })
    }

    /// As a header field has it (RFC 5322 §3.3), without the day of the week.
    pub(super) fn field(self) -> String {
        self.to_string().replacen('-', " ", 2)
    }

    /// Days since the epoch, as written.
    pub(super) fn day(self) -> i64 {
        self.local_seconds.div_euclid(SECONDS_A_DAY)
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil(self.day());
        let clock = self.local_seconds.rem_euclid(SECONDS_A_DAY);
        let (hour, minute, second) = (clock / 3600, clock / 60 % 60, clock % 60);
        let name = MONTHS[month - 1];
        let sign = if self.zone_minutes < 0 { '-' } else { '+' };
        let zone = self.zone_minutes.abs();
        let zone = zone / 60 * 100 + zone % 60;
        write!(f, "{day:02}-{name}-{year:04} {hour:02}:{minute:02}:{second:02} {sign}{zone:04}")
    }
}

/// `1-Feb-1994` in days since the epoch.
pub(super) fn parse_day(text: &str) -> Option<i64> {
    let mut parts = text.split('-');
    let (day, month, year) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || day.len() > 2 {
        return None;
    }
    day_number(digits(day, day.len())?, month, digits(year, 4)?)
}

/// The day of a message's Date field: `Tue, 1 Jul 2003 10:52:37 +0200`, week day optional.
pub(super) fn parse_field_day(text: &str) -> Option<i64> {
    let text = text.split_once(',').map_or(text, |(_week_day, rest)| rest);
    let mut words = text.split_ascii_whitespace();
    let (day, month, year) = (words.next()?, words.next()?, words.next()?);
    if day.len() > 2 {
        return None;
    }
    day_number(digits(day, day.len())?, month, digits(year, 4)?)
}

fn day_number(day: i64, month: &str, year: i64) -> Option<i64> {
    let month = 1 + MONTHS.iter().position(|name| name.eq_ignore_ascii_case(month))?;
    let number = days_from_civil(year, month, day);
    (civil(number) == (year, month, day) && year > 0).then_some(number)
}

fn digits(text: &str, length: usize) -> Option<i64> {
    let plain = text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

/// Days since 1970-01-01 in the Gregorian calendar, which repeats every 146,097 days. The year is
/// taken to begin in March, so that the leap day is its last.
fn days_from_civil(year: i64, month: usize, day: i64) -> i64 {
    let shifted = (month as i64 + 9) % 12;
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * shifted + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The inverse: year, month (1 to 12), day.
fn civil(days: i64) -> (i64, usize, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, usize::try_from(month).unwrap_or(1), day)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_is_parsed_prints_as_it_was() {
        for text in [
            "17-Jul-1996 02:44:25 -0700",
            "01-Jan-1970 00:00:00 +0000",
            "29-Feb-2000 23:59:59 +0530",
            "31-Dec-1969 23:59:59 +0000",
        ] {
            assert_eq!(Date::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Date::parse(" 1-Feb-2024 00:00:00 +0000").unwrap().day(), 19_754);
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in [
            "",
            "30-Feb-2024 00:00:00 +0000",
            "01-Jan-2024 24:00:00 +0000",
            "01-Jan-2024 00:00:00",
            "01-Jan-2024 00:00:00 0000",
            "01-Jan-2024 00:00:00 +00ä",
            "01-Foo-2024 00:00:00 +0000",
        ] {
            assert_eq!(Date::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_date_field_counts_as_its_day() {
        assert_eq!(parse_field_day("Thu, 1 Feb 2024 10:52:37 +0200"), Some(19_754));
        assert_eq!(parse_field_day("1 Feb 2024 10:52"), Some(19_754));
        let date = Date::parse("01-Feb-2024 00:00:00 -0130").unwrap();
        assert_eq!(date.field(), "01 Feb 2024 00:00:00 -0130");
        assert_eq!(parse_field_day("yesterday"), None);
    }
}
