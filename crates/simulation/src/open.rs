//! Whether a maintenance window is open, reckoned apart from the code under test: all zones that are
//! drawn have a fixed offset, so that minutes are enough.

use chrono::{DateTime, Datelike, TimeDelta, Timelike, Utc};
use windlass_types::policy::{Day, MaintenanceWindow};

/// Zones without summer time, and their offsets in minutes.
pub(crate) const ZONES: [(&str, i64); 4] = [
    ("UTC", 0),
    ("Asia/Kolkata", 330),
    ("Asia/Tokyo", 540),
    ("America/Phoenix", -420),
];

/// Whether a device of this zone may be admitted now.
pub(crate) fn is_open(
    windows: &[MaintenanceWindow],
    device: Option<&str>,
    now: DateTime<Utc>,
) -> bool {
    windows.is_empty() || windows.iter().any(|window| takes(window, device, now))
}

/// How far ahead an opening is looked for: a window has a day of the week at least.
const AHEAD: TimeDelta = TimeDelta::days(8);
/// In steps that are shorter than any window.
const STEP: TimeDelta = TimeDelta::minutes(30);

/// How long no window is open for any of these devices (the windows of their rollout, their zone): none
/// where one is open now, or where nobody waits.
pub(crate) fn closed_for(
    waiting: &[(&[MaintenanceWindow], Option<&str>)],
    now: DateTime<Utc>,
) -> Option<TimeDelta> {
    let open = |at: DateTime<Utc>| {
        waiting
            .iter()
            .any(|(windows, zone)| is_open(windows, *zone, at))
    };
    if waiting.is_empty() || open(now) {
        return None;
    }
    let mut ahead = STEP;
    while ahead < AHEAD {
        if open(now + ahead) {
            return Some(ahead);
        }
        ahead += STEP;
    }
    None
}

fn takes(window: &MaintenanceWindow, device: Option<&str>, now: DateTime<Utc>) -> bool {
    let zone = window.time_zone.as_deref().or(device).unwrap_or("UTC");
    let offset = ZONES
        .iter()
        .find(|(name, _)| *name == zone)
        .map_or(0, |(_, minutes)| *minutes);
    let local = now + TimeDelta::minutes(offset);
    let minute = local.hour() * 60 + local.minute();
    let (Some(start), Some(end)) = (minutes(&window.start), minutes(&window.end)) else {
        return false;
    };
    let today = opens_on(window, local);
    let yesterday = opens_on(window, local - TimeDelta::days(1));
    if start < end {
        today && (start..end).contains(&minute)
    } else {
        (today && minute >= start) || (yesterday && minute < end)
    }
}

fn minutes(text: &str) -> Option<u32> {
    let (hours, minutes) = text.split_once(':')?;
    Some(hours.parse::<u32>().ok()? * 60 + minutes.parse::<u32>().ok()?)
}

fn opens_on(window: &MaintenanceWindow, day: DateTime<Utc>) -> bool {
    let days = [
        Day::Mon,
        Day::Tue,
        Day::Wed,
        Day::Thu,
        Day::Fri,
        Day::Sat,
        Day::Sun,
    ];
    let number = usize::try_from(day.weekday().num_days_from_monday()).unwrap_or(0);
    window.days.is_empty()
        || days
            .get(number)
            .is_some_and(|day| window.days.contains(day))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_times_end_with_the_first_window_of_anybody() {
        let window = |start: &str, end: &str| MaintenanceWindow {
            time_zone: None,
            days: Vec::new(),
            start: start.to_owned(),
            end: end.to_owned(),
        };
        let (early, late) = ([window("02:00", "04:00")], [window("20:00", "23:00")]);
        let now = "2024-01-01T12:10:00Z".parse().unwrap();
        let hours = |waiting: &[(&[MaintenanceWindow], Option<&str>)]| {
            closed_for(waiting, now).map(|closed| closed.num_minutes())
        };
        assert_eq!(hours(&[(&early, None), (&late, None)]), Some(480));
        // In Tokyo it is 21:10.
        assert_eq!(hours(&[(&early, None), (&late, Some("Asia/Tokyo"))]), None);
        assert_eq!(hours(&[(&early, Some("Asia/Tokyo"))]), Some(300));
        assert_eq!(hours(&[]), None);
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_on_which_it_opens() {
        let window = MaintenanceWindow {
            time_zone: Some("Asia/Tokyo".to_owned()),
            days: vec![Day::Mon],
            start: "22:00".to_owned(),
            end: "02:00".to_owned(),
        };
        // Monday 2024-01-01, 22:30 and 01:59 and 02:00 the next day, in Tokyo.
        for (at, open) in [
            ("2024-01-01T13:30:00Z", true),
            ("2024-01-01T16:59:00Z", true),
            ("2024-01-01T17:00:00Z", false),
            ("2023-12-31T13:30:00Z", false),
        ] {
            assert_eq!(
                is_open(std::slice::from_ref(&window), None, at.parse().unwrap()),
                open,
                "{at}"
            );
        }
    }
}
