//! Maintenance windows: whether one is open, when one opens and closes. See docs/adr/0010-gates.md.
//!
//! A window opens on a day of its zone's calendar and closes on the same day or the next. Where the
//! clock is put forward, a time that does not exist means the first moment after the gap: a window
//! that begins in the gap opens then, one that ends in it closes then, and one that lies in it
//! does not open. Where the clock is put back, a time that comes twice means the first time for opening
//! and the second for closing, so a window is never cut in two; a window that ends just where the clock
//! is put back to closes the first time.

use chrono::{
    DateTime, Datelike, Days, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta,
    TimeZone, Utc, Weekday,
};
use chrono_tz::Tz;
use windlass_types::policy::{Day, MaintenanceWindow};

/// How far ahead openings are looked for, in days: a window opens at least once a week, except where
/// it lies in a gap or on a day that the calendar leaves out.
const DAYS_AHEAD: u64 = 22;
/// A set of windows that is open for so long without a break is open always.
const ALWAYS: TimeDelta = TimeDelta::days(35);
/// A gap and the most that a zone is away from UTC, with room: the day that Samoa left out is the
/// longest gap there is.
const NEAR: TimeDelta = TimeDelta::hours(50);

/// Whether this is the name of an IANA time zone.
#[must_use]
pub fn is_zone(name: &str) -> bool {
    name.parse::<Tz>().is_ok()
}

/// Whether devices of a time zone may be admitted: one of the windows is open, or there are none.
/// Windows without a zone are taken in the devices' own, which is UTC where they have none or one that
/// is not known here.
#[must_use]
pub fn is_open(windows: &[MaintenanceWindow], zone: Option<&str>, now: DateTime<Utc>) -> bool {
    windows.is_empty() || end_of_open(windows, zone, now).is_some()
}

/// The first moment from now on at which a window is open: now where one is. None where none ever is,
/// which a policy that was checked does not have.
#[must_use]
pub fn opens_at(
    windows: &[MaintenanceWindow],
    zone: Option<&str>,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    if is_open(windows, zone, now) {
        return Some(now);
    }
    let starts = windows.iter().filter_map(|window| {
        let hours = Hours::of(window, zone)?;
        let times = hours.around(now, DAYS_AHEAD);
        times.map(|(start, _)| start).find(|start| now < *start)
    });
    starts.min()
}

/// When the windows that are open now have all closed. None where none is open, or always one is.
#[must_use]
pub fn closes_at(
    windows: &[MaintenanceWindow],
    zone: Option<&str>,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let mut end = end_of_open(windows, zone, now)?;
    // A window that opens before another closes, or at that moment, goes on with it.
    while let Some(next) = end_of_open(windows, zone, end) {
        if next - now > ALWAYS {
            return None;
        }
        end = next;
    }
    Some(end)
}

/// Of these time zones those whose devices may be admitted now, in their order.
#[must_use]
pub fn open_zones(
    windows: &[MaintenanceWindow],
    zones: &[Option<String>],
    now: DateTime<Utc>,
) -> Vec<Option<String>> {
    let open = |zone: &&Option<String>| is_open(windows, zone.as_deref(), now);
    zones.iter().filter(open).cloned().collect()
}

/// The latest end of the windows that are open at a moment.
fn end_of_open(
    windows: &[MaintenanceWindow],
    zone: Option<&str>,
    at: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let ends = windows.iter().filter_map(|window| {
        let hours = Hours::of(window, zone)?;
        let open = hours
            .around(at, 1)
            .filter(|(start, end)| *start <= at && at < *end);
        open.map(|(_, end)| end).max()
    });
    ends.max()
}

/// A window as read.
struct Hours<'a> {
    zone: Tz,
    days: &'a [Day],
    start: NaiveTime,
    end: NaiveTime,
}

impl<'a> Hours<'a> {
    /// None where the window names no zone or time that there is: such a window never opens.
    fn of(window: &'a MaintenanceWindow, own: Option<&str>) -> Option<Self> {
        let zone = match &window.time_zone {
            Some(named) => named.parse().ok()?,
            None => own.and_then(|own| own.parse().ok()).unwrap_or(Tz::UTC),
        };
        Some(Self {
            zone,
            days: &window.days,
            start: time(&window.start)?,
            end: time(&window.end)?,
        })
    }

    /// Its openings on the days from two before a moment to so many after it, in their order.
    fn around(
        &self,
        at: DateTime<Utc>,
        days_after: u64,
    ) -> impl Iterator<Item = (DateTime<Utc>, DateTime<Utc>)> {
        // Two: a window of yesterday may last until today, and a day may be left out between them.
        let first = at.with_timezone(&self.zone).date_naive() - Days::new(2);
        (0..=days_after + 2)
            .filter_map(move |day| self.on(first.checked_add_days(Days::new(day))?))
            .filter(|(start, end)| start < end)
    }

    /// When it opens and closes on a day; none where it does not open on such days.
    fn on(&self, day: NaiveDate) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
        if !self.days.is_empty() && !self.days.iter().any(|d| weekday(*d) == day.weekday()) {
            return None;
        }
        let closes = if self.end <= self.start {
            day.checked_add_days(Days::new(1))?
        } else {
            day
        };
        let start = match self.zone.from_local_datetime(&day.and_time(self.start)) {
            LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => at.to_utc(),
            LocalResult::None => self.after_gap(day.and_time(self.start)),
        };
        let end = match self.zone.from_local_datetime(&closes.and_time(self.end)) {
            LocalResult::Single(at) => at.to_utc(),
            LocalResult::Ambiguous(first, second) => {
                // Where the clock goes back to the very end, it never shows a time of the window again.
                let last = closes.and_time(self.end) - TimeDelta::seconds(1);
                match self.zone.from_local_datetime(&last) {
                    LocalResult::Ambiguous(..) => second.to_utc(),
                    LocalResult::Single(_) | LocalResult::None => first.to_utc(),
                }
            }
            LocalResult::None => self.after_gap(closes.and_time(self.end)),
        };
        Some((start, end))
    }

    /// The first moment at which the wall clock is past a time that it leaves out, found by halving.
    fn after_gap(&self, left_out: NaiveDateTime) -> DateTime<Utc> {
        let is_past = |at: DateTime<Utc>| at.with_timezone(&self.zone).naive_local() > left_out;
        let (mut before, mut after) = (left_out.and_utc() - NEAR, left_out.and_utc() + NEAR);
        while after - before > TimeDelta::seconds(1) {
            let middle = before + TimeDelta::seconds((after - before).num_seconds() / 2);
            if is_past(middle) {
                after = middle;
            } else {
                before = middle;
            }
        }
        after
    }
}

/// `HH:MM`, and nothing else.
pub(crate) fn time(text: &str) -> Option<NaiveTime> {
    let (hour, minute) = text.split_once(':')?;
    let number = |part: &str| {
        let digits = part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| part.parse::<u32>().ok()).flatten()
    };
    NaiveTime::from_hms_opt(number(hour)?, number(minute)?, 0)
}

const fn weekday(day: Day) -> Weekday {
    match day {
        Day::Mon => Weekday::Mon,
        Day::Tue => Weekday::Tue,
        Day::Wed => Weekday::Wed,
        Day::Thu => Weekday::Thu,
        Day::Fri => Weekday::Fri,
        Day::Sat => Weekday::Sat,
        Day::Sun => Weekday::Sun,
    }
}

#[cfg(test)]
mod tests;
