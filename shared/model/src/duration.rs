//! Durations as people write them. Invariant: no number without a unit, whole milliseconds, at most ten
//! years — so that adding one to any instant of this millennium cannot overflow.

use std::time::Duration;

/// Ten years of 365 days.
pub const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

const DAY: u64 = 24 * 60 * 60 * 1000;
/// Largest first: the order in which they may follow one another.
const UNITS: &[(&str, u64)] = &[
    ("d", DAY),
    ("h", 60 * 60 * 1000),
    ("m", 60 * 1000),
    ("s", 1000),
    ("ms", 1),
];

/// Reads `48h`, `1h30m`, `500ms`, `2d` or ISO 8601 (`PT48H`, `P2DT12H`, `P1W`).
pub fn parse(text: &str) -> Result<Duration, String> {
    let millis = match text.strip_prefix('P') {
        Some(rest) => iso(rest),
        None => sequence(text, UNITS),
    };
    let millis = millis.ok_or_else(|| explain(text))?;
    let duration = Duration::from_millis(millis);
    if duration > LONGEST {
        return Err(format!("`{text}` is longer than ten years (3650d)"));
    }
    Ok(duration)
}

/// The same, and no time at all is none.
pub fn parse_positive(text: &str) -> Result<Duration, String> {
    match parse(text)? {
        Duration::ZERO => Err("must be longer than no time at all".to_owned()),
        duration => Ok(duration),
    }
}

/// Writes what [`parse`] reads, whole milliseconds: `1h30m`, `48h`, `0s`.
pub fn format(duration: Duration) -> String {
    let mut left = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    // Hours, not days: `48h` is how people write it.
    for (unit, size) in &UNITS[1..] {
        if left >= *size {
            text.push_str(&format!("{}{unit}", left / size));
            left %= size;
        }
    }
    if text.is_empty() {
        text.push_str("0s");
    }
    text
}

fn iso(text: &str) -> Option<u64> {
    if let Some(weeks) = text.strip_suffix('W') {
        return number(weeks)?.checked_mul(7 * DAY);
    }
    let (date, time) = match text.split_once('T') {
        // A T must be followed by something.
        Some((_, "")) => return None,
        Some((date, time)) => (date, time),
        None => (text, ""),
    };
    if date.is_empty() && time.is_empty() {
        return None;
    }
    let days = match date {
        "" => 0,
        _ => sequence(date, &[("D", DAY)])?,
    };
    let rest = match time {
        "" => 0,
        _ => sequence(time, &[("H", UNITS[1].1), ("M", UNITS[2].1), ("S", 1000)])?,
    };
    days.checked_add(rest)
}

/// Numbers with units, each unit at most once and from large to small; None if it is anything else.
fn sequence(mut text: &str, mut units: &[(&str, u64)]) -> Option<u64> {
    let mut total = 0_u64;
    if text.is_empty() {
        return None;
    }
    while !text.is_empty() {
        let digits = text.find(|c: char| !c.is_ascii_digit())?;
        let amount = number(&text[..digits])?;
        let rest = &text[digits..];
        let end = rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len());
        let at = units.iter().position(|(unit, _)| *unit == &rest[..end])?;
        total = total.checked_add(amount.checked_mul(units[at].1)?)?;
        units = &units[at + 1..];
        text = &rest[end..];
    }
    Some(total)
}

fn number(digits: &str) -> Option<u64> {
    // `parse` alone would accept a sign.
    digits
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| digits.parse().ok())?
}

fn explain(text: &str) -> String {
    let shown = crate::text::clean(text, 50);
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return format!("`{shown}` has no unit: write for instance `{shown}s` or `{shown}h`");
    }
    format!(
        "`{shown}` is no duration: write numbers with the units d, h, m, s, ms from large to small, such \
         as `48h`, `1h30m` or `PT48H`"
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read() {
        let check = |text: &str, millis: u64| {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        };
        check("48h", 172_800_000);
        check("1h30m", 5_400_000);
        check("500ms", 500);
        check("1m500ms", 60_500);
        check("0s", 0);
        check("2d12h", 216_000_000);
        check("PT48H", 172_800_000);
        check("P2D", 172_800_000);
        check("P1DT1H1M1S", 90_061_000);
        check("P1W", 604_800_000);
        check("3650d", 315_360_000_000);
        check("007s", 7_000);
    }

    #[test]
    fn anything_else_is_refused() {
        let check = |text: &str, want: &str| {
            let error = parse(text).expect_err(text);
            assert!(error.contains(want), "{text:?}: {error}");
        };
        check("48", "`48h`");
        check("3651d", "ten years");
        check("99999999999999999999h", "no duration");
        check("18446744073709551615d", "no duration");
        let none = parse_positive("0s").expect_err("no time at all");
        assert!(none.contains("longer"), "{none}");
        for text in [
            "", " ", "h", "-1h", "+1h", "1.5h", "1 h", "48H", "30m1h", "1h1h", "P", "PT", "P1Y",
            "P1M", "PT1D", "P1H", "1h ", "１h", "1µs", "pt1h", "P1DT", "P1WT1H", "P+1W", "P-1D",
        ] {
            check(text, "no duration");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(millis in 0_u64..=315_360_000_000) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse(&format(duration)), Ok(duration));
        }

        #[test]
        fn no_text_panics(text in "[P0-9dhmsTWDHMS\\PC]{0,30}") {
            let _ = parse(&text);
        }
    }
}
