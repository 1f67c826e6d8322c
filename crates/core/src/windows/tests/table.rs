use super::*;

/// Zone, window, and for a moment (UTC): open or not, when it opens and closes then.
type Case<'a> = (
    &'a str,
    &'a str,
    (&'a [Day], &'a str, &'a str),
    &'a str,
    Result<&'a str, &'a str>,
);

/// Ok: open, and closes at; Err: closed, and opens at.
fn check(cases: &[Case<'_>]) {
    for (name, zone, (days, start, end), now, expected) in cases {
        // By name and by the device's own zone alike.
        for (named, own) in [(Some(*zone), None), (None, Some(*zone))] {
            let windows = [window(named, days, start, end)];
            let now = utc(now);
            let found = if is_open(&windows, own, now) {
                Ok(closes_at(&windows, own, now).unwrap())
            } else {
                Err(opens_at(&windows, own, now).unwrap())
            };
            assert_eq!(found, expected.map(utc).map_err(utc), "{name}");
        }
    }
}

#[test]
fn a_window_opens_and_closes_on_the_wall_clock() {
    let night: (&[Day], &str, &str) = (&[], "22:00", "05:00");
    check(&[
        (
            "before",
            "UTC",
            (&[], "01:00", "05:00"),
            "2026-01-05T00:59",
            Err("2026-01-05T01:00"),
        ),
        (
            "its first minute",
            "UTC",
            (&[], "01:00", "05:00"),
            "2026-01-05T01:00",
            Ok("2026-01-05T05:00"),
        ),
        (
            "its end is outside",
            "UTC",
            (&[], "01:00", "05:00"),
            "2026-01-05T05:00",
            Err("2026-01-06T01:00"),
        ),
        (
            "over midnight, the evening",
            "UTC",
            night,
            "2026-01-05T23:00",
            Ok("2026-01-06T05:00"),
        ),
        (
            "over midnight, the morning",
            "UTC",
            night,
            "2026-01-06T04:59",
            Ok("2026-01-06T05:00"),
        ),
        (
            "in another zone",
            "America/New_York",
            (&[], "01:00", "05:00"),
            "2026-01-05T06:00",
            Ok("2026-01-05T10:00"),
        ),
        (
            "the day is that on which it opens",
            "UTC",
            (&[Day::Mon], "22:00", "05:00"),
            "2026-01-06T03:00",
            Ok("2026-01-06T05:00"),
        ),
        (
            "not the one on which it closes",
            "UTC",
            (&[Day::Tue], "22:00", "05:00"),
            "2026-01-06T03:00",
            Err("2026-01-06T22:00"),
        ),
        (
            "the day is the zone's",
            "Australia/Lord_Howe",
            (&[Day::Tue], "01:00", "05:00"),
            "2026-01-05T14:30",
            Ok("2026-01-05T18:00"),
        ),
        (
            "next week",
            "UTC",
            (&[Day::Mon], "01:00", "05:00"),
            "2026-01-05T05:00",
            Err("2026-01-12T01:00"),
        ),
        (
            "the same time is a whole day",
            "UTC",
            (&[Day::Mon], "06:00", "06:00"),
            "2026-01-06T05:59",
            Ok("2026-01-06T06:00"),
        ),
    ]);
}

#[test]
fn clocks_that_are_put_forward_leave_a_gap() {
    // Berlin, 29 March 2026: 02:00 is 03:00, at 01:00 UTC.
    check(&[
        (
            "it begins in the gap: the first moment after it",
            "Europe/Berlin",
            (&[], "02:30", "04:00"),
            "2026-03-29T00:59",
            Err("2026-03-29T01:00"),
        ),
        (
            "and is open then",
            "Europe/Berlin",
            (&[], "02:30", "04:00"),
            "2026-03-29T01:00",
            Ok("2026-03-29T02:00"),
        ),
        (
            "it ends in the gap: at its edge",
            "Europe/Berlin",
            (&[], "01:00", "02:30"),
            "2026-03-29T00:30",
            Ok("2026-03-29T01:00"),
        ),
        (
            "it lies in the gap: not on that day",
            "Europe/Berlin",
            (&[], "02:10", "02:50"),
            "2026-03-29T00:30",
            Err("2026-03-30T00:10"),
        ),
        (
            "over the gap: an hour shorter",
            "Europe/Berlin",
            (&[], "01:00", "05:00"),
            "2026-03-29T00:00",
            Ok("2026-03-29T03:00"),
        ),
        (
            "New York, 8 March 2026",
            "America/New_York",
            (&[], "02:15", "03:15"),
            "2026-03-08T06:59",
            Err("2026-03-08T07:00"),
        ),
        // Lord Howe, 4 October 2026: 02:00 is 02:30, at 15:30 UTC of the day before.
        (
            "half an hour on Lord Howe",
            "Australia/Lord_Howe",
            (&[], "02:10", "02:40"),
            "2026-10-03T15:29",
            Err("2026-10-03T15:30"),
        ),
        (
            "of which ten minutes are left",
            "Australia/Lord_Howe",
            (&[], "02:10", "02:40"),
            "2026-10-03T15:30",
            Ok("2026-10-03T15:40"),
        ),
        // Casablanca, 22 March 2026: Ramadan is over, 02:00 is 03:00, at 02:00 UTC.
        (
            "after Ramadan in Casablanca",
            "Africa/Casablanca",
            (&[], "02:30", "04:00"),
            "2026-03-22T01:59",
            Err("2026-03-22T02:00"),
        ),
    ]);
}

#[test]
fn clocks_that_are_put_back_give_a_time_twice() {
    // Berlin, 25 October 2026: 03:00 is 02:00 again, at 01:00 UTC.
    check(&[
        (
            "it opens at the first 02:30",
            "Europe/Berlin",
            (&[], "02:30", "04:00"),
            "2026-10-25T00:29",
            Err("2026-10-25T00:30"),
        ),
        (
            "and stays open through the second",
            "Europe/Berlin",
            (&[], "02:30", "04:00"),
            "2026-10-25T01:10",
            Ok("2026-10-25T03:00"),
        ),
        (
            "it closes at the second 02:30",
            "Europe/Berlin",
            (&[], "01:00", "02:30"),
            "2026-10-25T00:40",
            Ok("2026-10-25T01:30"),
        ),
        (
            "one inside the hour is open from its first to its second",
            "Europe/Berlin",
            (&[], "02:10", "02:40"),
            "2026-10-25T00:50",
            Ok("2026-10-25T01:40"),
        ),
        (
            "New York, 1 November 2026",
            "America/New_York",
            (&[], "00:30", "01:30"),
            "2026-11-01T05:45",
            Ok("2026-11-01T06:30"),
        ),
        // Lord Howe, 5 April 2026: 02:00 is 01:30 again, at 15:00 UTC of the day before.
        (
            "half an hour on Lord Howe",
            "Australia/Lord_Howe",
            (&[], "01:00", "01:45"),
            "2026-04-04T14:50",
            Ok("2026-04-04T15:15"),
        ),
    ]);
}

#[test]
fn a_day_that_a_calendar_leaves_out_has_no_window() {
    // Apia left out Friday, 30 December 2011: Thursday ended at 10:00 UTC, and Saturday began.
    let zone = "Pacific/Apia";
    check(&[
        (
            "a window of that Friday is the next Friday's",
            zone,
            (&[Day::Fri], "01:00", "05:00"),
            "2011-12-30T09:00",
            Err("2012-01-05T11:00"),
        ),
        (
            "Thursday's night ends where Saturday begins",
            zone,
            (&[Day::Thu], "22:00", "05:00"),
            "2011-12-30T09:00",
            Ok("2011-12-30T10:00"),
        ),
        (
            "what is left of Friday's night is on Saturday",
            zone,
            (&[Day::Fri], "22:00", "05:00"),
            "2011-12-30T09:59",
            Err("2011-12-30T10:00"),
        ),
        (
            "Saturday's own",
            zone,
            (&[Day::Sat], "01:00", "05:00"),
            "2011-12-30T09:59",
            Err("2011-12-30T11:00"),
        ),
    ]);
}

#[test]
fn windows_add_up() {
    let day = [
        window(Some("UTC"), &[], "01:00", "03:00"),
        window(Some("UTC"), &[], "02:00", "05:00"),
        window(Some("UTC"), &[], "05:00", "06:00"),
    ];
    assert_eq!(
        closes_at(&day, None, utc("2026-01-05T01:30")),
        Some(utc("2026-01-05T06:00"))
    );
    let always = [
        window(None, &[], "00:00", "12:00"),
        window(None, &[], "12:00", "00:00"),
    ];
    assert!(is_open(
        &always,
        Some("Asia/Tokyo"),
        utc("2026-01-05T01:30")
    ));
    assert_eq!(
        closes_at(&always, Some("Asia/Tokyo"), utc("2026-01-05T01:30")),
        None
    );
    assert!(
        is_open(&[], None, utc("2026-01-05T01:30")),
        "no windows, no limits"
    );
    assert_eq!(closes_at(&[], None, utc("2026-01-05T01:30")), None);
}

#[test]
fn each_device_has_its_own_zone_where_the_window_names_none() {
    let windows = [window(None, &[], "01:00", "03:00")];
    let zones: Vec<_> = [
        None,
        Some("America/New_York"),
        Some("Asia/Tokyo"),
        Some("no/zone"),
    ]
    .map(|zone| zone.map(str::to_owned))
    .into();
    let open = |now| {
        let open = open_zones(&windows, &zones, utc(now));
        let names: Vec<_> = open
            .iter()
            .map(|zone| zone.as_deref().unwrap_or("none"))
            .collect();
        names.join(" ")
    };
    assert_eq!(
        open("2026-01-05T01:30"),
        "none no/zone",
        "UTC where nothing is known"
    );
    assert_eq!(open("2026-01-05T06:30"), "America/New_York");
    assert_eq!(open("2026-01-05T17:00"), "Asia/Tokyo");
    assert_eq!(open("2026-01-05T12:00"), "");
    let named = [window(Some("Asia/Tokyo"), &[], "01:00", "03:00")];
    assert_eq!(open_zones(&named, &zones, utc("2026-01-05T17:00")), zones);
}

#[test]
fn a_window_that_is_none_never_opens() {
    for bad in [
        window(Some("Middle/Earth"), &[], "01:00", "03:00"),
        window(None, &[], "1:00", "03:00"),
        window(None, &[], "01:00", "24:00"),
        window(None, &[], "01:00", "03:60"),
        window(None, &[], "0100", "03:00"),
        window(None, &[], "+1:00", "03:00"),
    ] {
        let windows = [bad];
        assert!(!is_open(&windows, None, utc("2026-01-05T02:00")));
        assert_eq!(opens_at(&windows, None, utc("2026-01-05T02:00")), None);
        assert_eq!(closes_at(&windows, None, utc("2026-01-05T02:00")), None);
    }
    assert!(is_zone("Europe/Berlin") && is_zone("UTC"));
    assert!(!is_zone("Berlin") && !is_zone("") && !is_zone("CET+1"));
}
