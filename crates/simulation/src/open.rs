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
