use super::*;
use proptest::prelude::*;

/// Zones with odd changes, and the moments around which their clocks change.
const CHANGES: [(&str, &str); 9] = [
    ("Europe/Berlin", "2026-03-29T01:00"),
    ("Europe/Berlin", "2026-10-25T01:00"),
    ("America/New_York", "2026-03-08T07:00"),
    ("America/New_York", "2026-11-01T06:00"),
    ("Australia/Lord_Howe", "2026-04-04T15:00"),
    ("Australia/Lord_Howe", "2026-10-03T15:30"),
    ("Africa/Casablanca", "2026-02-15T02:00"),
    ("Pacific/Apia", "2011-12-30T10:00"),
    ("UTC", "2026-06-01T00:00"),
];

fn any_time() -> impl Strategy<Value = String> {
    // Half of them where clocks are changed.
    let hour = prop_oneof![0_u32..4, 0_u32..24];
    (hour, 0_u32..60).prop_map(|(hour, minute)| format!("{hour:02}:{minute:02}"))
}

fn any_window() -> impl Strategy<Value = MaintenanceWindow> {
    let days = prop::collection::vec(prop::sample::select(Day::ALL), 0..4);
    (days, any_time(), any_time()).prop_map(|(days, start, end)| window(None, &days, &start, &end))
}

/// A window by looking at the clock alone, from the first minute it shows a time of this opening to
/// the last: `minutes` are all the minutes around a change.
fn openings(
    window: &MaintenanceWindow,
    zone: Tz,
    minutes: &[DateTime<Utc>],
) -> Vec<(DateTime<Utc>, DateTime<Utc>)> {
    let (start, end) = (time(&window.start).unwrap(), time(&window.end).unwrap());
    let mut found: std::collections::BTreeMap<NaiveDate, (DateTime<Utc>, DateTime<Utc>)> =
        std::collections::BTreeMap::new();
    for at in minutes {
        let local = at.with_timezone(&zone).naive_local();
        let over = end <= start;
        let (today, yesterday) = (local.date(), local.date() - Days::new(1));
        let days = [
            (today, local.time() >= start && (over || local.time() < end)),
            (yesterday, over && local.time() < end),
        ];
        for (day, _) in days.iter().filter(|(_, shows)| *shows) {
            let past = *at + TimeDelta::minutes(1);
            found
                .entry(*day)
                .and_modify(|(_, end)| *end = past)
                .or_insert((*at, past));
        }
    }
    let opens = |day: &NaiveDate| {
        window.days.is_empty() || window.days.iter().any(|d| weekday(*d) == day.weekday())
    };
    found
        .into_iter()
        .filter(|(day, _)| opens(day))
        .map(|(_, opening)| opening)
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn minute_by_minute_a_window_is_open_when_the_clock_says_so(
        window in any_window(),
        (zone, change) in prop::sample::select(&CHANGES),
    ) {
        let tz: Tz = zone.parse().unwrap();
        let around = |hours: i64| {
            let from = utc(change) - TimeDelta::hours(hours);
            (0..hours * 120).map(move |minute| from + TimeDelta::minutes(minute))
        };
        let all: Vec<_> = around(80).collect();
        let openings = openings(&window, tz, &all);
        let windows = [window];
        for at in around(28) {
            let expected = openings.iter().any(|(start, end)| *start <= at && at < *end);
            prop_assert_eq!(is_open(&windows, Some(zone), at), expected, "{} at {}", zone, at);
        }
    }

    #[test]
    fn what_is_told_of_the_next_change_is_so(
        windows in prop::collection::vec(any_window(), 1..4),
        (zone, change) in prop::sample::select(&CHANGES),
        minutes in -3000_i64..3000,
        seconds in 0_i64..60,
    ) {
        let now = utc(change) + TimeDelta::minutes(minutes) + TimeDelta::seconds(seconds);
        let second = TimeDelta::seconds(1);
        let zone = Some(zone);
        if is_open(&windows, zone, now) {
            prop_assert_eq!(opens_at(&windows, zone, now), Some(now));
            if let Some(end) = closes_at(&windows, zone, now) {
                prop_assert!(now < end);
                prop_assert!(!is_open(&windows, zone, end));
                prop_assert!(is_open(&windows, zone, end - second));
            }
        } else {
            prop_assert_eq!(closes_at(&windows, zone, now), None);
            let start = opens_at(&windows, zone, now);
            prop_assert!(start.is_some(), "a window opens each week or the week after");
            let start = start.unwrap_or(now);
            prop_assert!(now < start);
            prop_assert!(is_open(&windows, zone, start));
            prop_assert!(!is_open(&windows, zone, start - second));
        }
    }

    #[test]
    fn the_order_of_windows_changes_nothing(
        windows in prop::collection::vec(any_window(), 0..5),
        (zone, change) in prop::sample::select(&CHANGES),
        minutes in -3000_i64..3000,
    ) {
        let now = utc(change) + TimeDelta::minutes(minutes);
        let mut turned = windows.clone();
        turned.reverse();
        let zone = Some(zone);
        prop_assert_eq!(is_open(&windows, zone, now), is_open(&turned, zone, now));
        prop_assert_eq!(opens_at(&windows, zone, now), opens_at(&turned, zone, now));
        prop_assert_eq!(closes_at(&windows, zone, now), closes_at(&turned, zone, now));
    }
}
