//! Tags that are dates.

use super::key::{Key, Number};

/// Parts of one format at most, literals included.
const MAX_PARTS: usize = 32;

/// A part of a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Four digits of a year.
    Year,
    /// Two digits of a year from 2000 on.
    ShortYear,
    /// 1 to 12.
    Month,
    /// 1 to 53.
    Week,
    /// 1 to 31, as many as the month has.
    Day,
    /// Any number.
    Count,
    /// This character.
    Literal(char),
}

const WORDS: [(&str, Part); 6] = [
    ("YYYY", Part::Year),
    ("YY", Part::ShortYear),
    ("MM", Part::Month),
    ("WW", Part::Week),
    ("DD", Part::Day),
    ("N", Part::Count),
];

/// How dates are written in tags.
#[derive(Debug, Clone)]
pub(super) struct Calendar(Vec<Part>);

impl Calendar {
    pub(super) fn read(format: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = format;
        while let Some(next) = rest.chars().next() {
            let word = WORDS.iter().find(|(word, _)| rest.starts_with(word));
            let (length, part) = match word {
                Some((word, part)) => (word.len(), *part),
                None if next.is_ascii_digit() => {
                    return Err("a digit in it would be read as part of a number".to_owned());
                }
                None => (next.len_utf8(), Part::Literal(next)),
            };
            parts.push(part);
            rest = rest.get(length..).unwrap_or_default();
        }
        let count = |wanted: &[Part]| parts.iter().filter(|part| wanted.contains(part)).count();
        if count(&[Part::Year, Part::ShortYear]) != 1 {
            return Err("it has one year, YYYY or YY".to_owned());
        }
        for (word, part) in WORDS.iter().skip(2).take(3) {
            if count(&[*part]) > 1 {
                return Err(format!("it has {word} at most once"));
            }
        }
        if count(&[Part::Week]) > 0 && count(&[Part::Month, Part::Day]) > 0 {
            return Err("weeks count in the year, so they stand without MM and DD".to_owned());
        }
        if count(&[Part::Day]) > 0 && count(&[Part::Month]) == 0 {
            return Err("a day (DD) needs its month (MM)".to_owned());
        }
        if parts.windows(2).any(|two| {
            matches!(two, [Part::Count, next] if !matches!(next, Part::Literal(_)))
                || matches!(two, [before, Part::Count] if !matches!(before, Part::Literal(_)))
        }) {
            return Err(
                "N stands apart, as in YYYY.MM.N: where it begins could not be told".to_owned(),
            );
        }
        if parts.len() > MAX_PARTS {
            return Err(format!("at most {MAX_PARTS} parts"));
        }
        Ok(Self(parts))
    }

    /// What a tag is compared by: the year, then the month, the day or the week, then the numbers.
    pub(super) fn key(&self, tag: &str) -> Option<Key> {
        let tag = match self.0.first() {
            Some(Part::Literal('v' | 'V')) => tag,
            _ => tag.strip_prefix(['v', 'V']).unwrap_or(tag),
        };
        let (mut year, mut month, mut week, mut day) = (None, None, None, None);
        let mut counts = Vec::new();
        let mut rest = tag;
        for (index, part) in self.0.iter().enumerate() {
            // With another number right behind it a part has all its digits.
            let fixed = self
                .0
                .get(index + 1)
                .is_some_and(|next| !matches!(next, Part::Literal(_)));
            let fixed = fixed
                || index
                    .checked_sub(1)
                    .and_then(|before| self.0.get(before))
                    .is_some_and(|before| !matches!(before, Part::Literal(_)));
            match part {
                Part::Literal(c) => rest = rest.strip_prefix(*c)?,
                Part::Year => year = Some(take(&mut rest, 4, 4)?),
                Part::ShortYear => year = Some(take(&mut rest, 2, 2)? + 2000),
                Part::Month => month = Some(take(&mut rest, if fixed { 2 } else { 1 }, 2)?),
                Part::Week => week = Some(take(&mut rest, if fixed { 2 } else { 1 }, 2)?),
                Part::Day => day = Some(take(&mut rest, if fixed { 2 } else { 1 }, 2)?),
                Part::Count => {
                    let end = rest
                        .find(|c: char| !c.is_ascii_digit())
                        .unwrap_or(rest.len());
                    let (digits, after) = rest.split_at_checked(end)?;
                    counts.push(Number::read(digits)?);
                    rest = after;
                }
            }
        }
        let year = year?;
        if !rest.is_empty() || !is_date(year, month, week, day) {
            return None;
        }
        let parts = [Some(year), month, week, day];
        let date = parts.into_iter().flatten().map(Number::of);
        Some(Key::Numbers(date.chain(counts).collect()))
    }
}

/// Takes a number of at least `min` and at most `max` digits from the front.
fn take(rest: &mut &str, min: usize, max: usize) -> Option<u32> {
    let digits = rest
        .bytes()
        .take(max)
        .take_while(u8::is_ascii_digit)
        .count();
    let (number, after) = rest.split_at_checked(digits)?;
    *rest = after;
    (digits >= min).then(|| number.parse().ok()).flatten()
}

fn is_date(year: u32, month: Option<u32>, week: Option<u32>, day: Option<u32>) -> bool {
    let Ok(year) = i32::try_from(year) else {
        return false;
    };
    let month_is = month.is_none_or(|month| (1..=12).contains(&month));
    let week_is = week.is_none_or(|week| (1..=53).contains(&week));
    let day_is = match (month, day) {
        (Some(month), Some(day)) => chrono::NaiveDate::from_ymd_opt(year, month, day).is_some(),
        _ => true,
    };
    month_is && week_is && day_is
}
