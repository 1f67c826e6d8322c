//! Amounts: bytes, processors, durations.

use super::value::{Field, Read};
use serde_json::Value;

/// Bytes: a number, or one with k, m, g, t (of 1024, as engines read it), also as `Ki`, `KiB`, `kb`.
pub(super) fn bytes(field: &Field<'_>) -> Read<u64> {
    const WHAT: &str = "a size such as 64Mi, 512m, 1g or a number of bytes";
    let text = field.scalar()?.trim().to_ascii_lowercase();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let shift = match unit.trim() {
        "" | "b" => 0,
        "k" | "kb" | "ki" | "kib" => 10,
        "m" | "mb" | "mi" | "mib" => 20,
        "g" | "gb" | "gi" | "gib" => 30,
        "t" | "tb" | "ti" | "tib" => 40,
        _ => return field.expected(WHAT),
    };
    match thousandths(number) {
        Some(amount) if amount > 0 => Ok((u128::from(amount) << shift)
            .div_ceil(1000)
            .try_into()
            .unwrap_or(u64::MAX)),
        _ => field.expected(WHAT),
    }
}

/// Thousandths of a processor: `0.5`, `2`, `500m`.
pub(super) fn cpu(field: &Field<'_>) -> Read<u64> {
    let text = field.scalar()?;
    let amount = match text.trim().strip_suffix('m') {
        Some(milli) => milli.parse().ok(),
        None => thousandths(text.trim()),
    };
    match amount {
        Some(amount) if amount > 0 => Ok(amount),
        _ => field.expected("a number of processors such as 0.5, 2 or 500m"),
    }
}

/// Whole seconds, rounded up: a number of seconds, or `1m30s`, `500ms`, `2h`.
pub(super) fn seconds(field: &Field<'_>) -> Read<u32> {
    const WHAT: &str = "a duration such as 30s, 1m30s or a number of seconds";
    if let Value::Number(number) = field.value {
        return match thousandths(&number.to_string()) {
            Some(milli) => Ok(whole(milli)),
            None => field.expected(WHAT),
        };
    }
    let text = field.scalar()?.trim().to_ascii_lowercase();
    let mut rest = text.as_str();
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, after) = rest.split_at(end);
        let end = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let (Some(amount), Some(per_unit)) = (
            thousandths(number),
            match unit {
                "" if after.is_empty() => Some(1_000_000_u64),
                "us" | "µs" => Some(1),
                "ms" => Some(1000),
                "s" => Some(1_000_000),
                "m" => Some(60_000_000),
                "h" => Some(3_600_000_000),
                _ => None,
            },
        ) else {
            return field.expected(WHAT);
        };
        // In millionths of a millisecond, so that nothing is lost before the end.
        total = total.saturating_add(amount.saturating_mul(per_unit));
        rest = after;
    }
    if text.is_empty() {
        return field.expected(WHAT);
    }
    Ok(whole(total.div_ceil(1_000_000)))
}

/// Milliseconds as whole seconds, rounded up.
fn whole(milli: u64) -> u32 {
    u32::try_from(milli.div_ceil(1000)).unwrap_or(u32::MAX)
}

/// A decimal number in thousandths, without a detour over floating point.
fn thousandths(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty() && part.is_empty() || !part.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let whole: u64 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let digits: String = part.chars().chain("000".chars()).take(3).collect();
    whole
        .checked_mul(1000)?
        .checked_add(digits.parse::<u64>().ok()?)
}
