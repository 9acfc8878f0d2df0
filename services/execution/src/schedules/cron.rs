//! Cron expressions: which minutes of the local calendar they name. Invariant: what is parsed comes again and again;
//! an expression that names no day at all is refused.

use chrono::{Datelike, NaiveDate, NaiveTime};

/// Days within which what comes at all comes again: the longest gap is that of a weekday on 29 February, 40 years
/// across the turn of most centuries.
pub const MOST_DAYS: usize = 41 * 366;
const MOST_CHARS: usize = 200;

const MONTHS: [&str; 12] = [
    "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// Words for common expressions.
const WORDS: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

/// One field: a bit for each of its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Field {
    bits: u64,
    /// Whether it begins with `*`: it does not restrict, or only by a step.
    is_star: bool,
}

impl Field {
    fn has(self, value: u32) -> bool {
        self.bits & (1 << value) != 0
    }
}

/// What a field may hold.
struct Range {
    name: &'static str,
    least: u32,
    most: u32,
    /// For the values from `least` on.
    names: &'static [&'static str],
}

const RANGES: [Range; 5] = [
    Range {
        name: "minute",
        least: 0,
        most: 59,
        names: &[],
    },
    Range {
        name: "hour",
        least: 0,
        most: 23,
        names: &[],
    },
    Range {
        name: "day of month",
        least: 1,
        most: 31,
        names: &[],
    },
    Range {
        name: "month",
        least: 1,
        most: 12,
        names: &MONTHS,
    },
    // Both 0 and 7 are Sunday.
    Range {
        name: "day of week",
        least: 0,
        most: 7,
        names: &WEEKDAYS,
    },
];

/// A parsed expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    minute: Field,
    hour: Field,
    day: Field,
    month: Field,
    weekday: Field,
}

impl Cron {
    pub fn parse(text: &str) -> Result<Self, String> {
        let length = text.chars().count();
        if length > MOST_CHARS {
            return Err(format!(
                "has {length} characters; at most {MOST_CHARS} are accepted"
            ));
        }
        let lower = text.trim().to_ascii_lowercase();
        let text = match WORDS.iter().find(|(word, _)| *word == lower) {
            Some((_, meaning)) => meaning,
            None => text,
        };
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        let &[minute, hour, day, month, weekday] = fields.as_slice() else {
            let wanted = "minute, hour, day of month, month, day of week, or a word such as @daily";
            return Err(format!(
                "has {} fields; wanted are five: {wanted}",
                fields.len()
            ));
        };
        let mut cron = Self {
            minute: field(minute, &RANGES[0])?,
            hour: field(hour, &RANGES[1])?,
            day: field(day, &RANGES[2])?,
            month: field(month, &RANGES[3])?,
            weekday: field(weekday, &RANGES[4])?,
        };
        if cron.weekday.has(7) {
            cron.weekday.bits |= 1;
        }
        // Any day will do to look from: the calendar repeats itself after 400 years, and gaps are shorter.
        let from = NaiveDate::from_ymd_opt(2096, 1, 1).expect("a date of the calendar");
        if !from
            .iter_days()
            .take(MOST_DAYS)
            .any(|date| cron.has_day(date))
        {
            return Err("never comes: no month has such a day".to_owned());
        }
        Ok(cron)
    }

    /// Whether it names this day.
    pub fn has_day(&self, date: NaiveDate) -> bool {
        let day = self.day.has(date.day());
        let weekday = self.weekday.has(date.weekday().num_days_from_sunday());
        let fits = match self.day.is_star || self.weekday.is_star {
            true => day && weekday,
            false => day || weekday,
        };
        fits && self.month.has(date.month())
    }

    /// The hours of a day that it names.
    pub fn hours(&self) -> impl Iterator<Item = u32> {
        let hour = self.hour;
        (0..24).filter(move |at| hour.has(*at))
    }

    /// The times of an hour that it names.
    pub fn times(&self, hour: u32) -> impl Iterator<Item = NaiveTime> {
        let minute = self.minute;
        let minutes = (0..60).filter(move |at| minute.has(*at));
        minutes.filter_map(move |minute| NaiveTime::from_hms_opt(hour, minute, 0))
    }

    /// Whether it means times of the day, not the passing of time.
    pub fn is_fixed(&self) -> bool {
        !self.minute.is_star && !self.hour.is_star
    }
}

fn field(text: &str, range: &Range) -> Result<Field, String> {
    let mut bits = 0;
    for item in text.split(',') {
        bits |= self::item(item, range).ok_or_else(|| {
            let Range {
                name, least, most, ..
            } = range;
            let shown = model::text::clean(item, 50);
            format!("`{shown}` is no {name}: wanted are {least} to {most}, `a-b`, `*/n` or `a-b/n`")
        })?;
    }
    let is_star = text.starts_with('*');
    Ok(Field { bits, is_star })
}

fn item(text: &str, range: &Range) -> Option<u64> {
    let (values, step) = match text.split_once('/') {
        Some((values, step)) => (values, Some(number(step)?)),
        None => (text, None),
    };
    let (first, last) = match values.split_once('-') {
        _ if values == "*" => (range.least, range.most),
        Some((first, last)) => (value(first, range)?, value(last, range)?),
        // `5/10` is every tenth from 5 on.
        None if step.is_some() => (value(values, range)?, range.most),
        None => (value(values, range)?, value(values, range)?),
    };
    let step = step.unwrap_or(1);
    if step == 0 || first > last {
        return None;
    }
    let step = usize::try_from(step).ok()?;
    Some(
        (first..=last)
            .step_by(step)
            .fold(0, |bits, at| bits | 1 << at),
    )
}

fn value(text: &str, range: &Range) -> Option<u32> {
    let mut names = range.names.iter();
    let value = match names.position(|name| name.eq_ignore_ascii_case(text)) {
        Some(at) => range.least + u32::try_from(at).ok()?,
        None => number(text)?,
    };
    (range.least..=range.most).contains(&value).then_some(value)
}

/// Digits only: `parse` alone would accept a sign.
fn number(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}
