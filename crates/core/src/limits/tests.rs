use super::*;
use proptest::prelude::*;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(1_000_000 + seconds)
}

fn limits(count: Option<u32>, percent: Option<u32>, ramp: Option<Ramp>) -> Limits {
    Limits {
        max_in_flight: count,
        max_in_flight_percent: percent,
        per_minute: ramp,
        ..Limits::default()
    }
}

const fn ramp(base: u32, factor: f64, after_successes: u32, max: Option<u32>) -> Ramp {
    Ramp {
        base,
        factor,
        after_successes,
        max,
    }
}

const NOTHING: Use<'_> = Use {
    devices: 1000,
    in_flight: 0,
    successes: 0,
    lately: &[],
    just_now: 0,
    judged_by: None,
};

#[test]
fn devices_in_flight_are_counted_against_the_smaller_limit() {
    let cases = [
        ("nothing is limited", None, None, 900, Some(i64::MAX)),
        ("a count", Some(10), None, 4, Some(6)),
        ("a count that is full", Some(10), None, 10, None),
        ("a count that was lowered", Some(10), None, 30, None),
        ("a share", None, Some(5), 20, Some(30)),
        ("both: the share", Some(100), Some(5), 20, Some(30)),
        ("both: the count", Some(25), Some(5), 20, Some(5)),
    ];
    for (name, count, percent, in_flight, expected) in cases {
        let used = Use {
            in_flight,
            judged_by: Some(at(90)),
            ..NOTHING
        };
        let found = free(&limits(count, percent, None), &used, at(0));
        assert_eq!(found.as_ref().ok().copied(), expected, "{name}");
        if let Err(held) = found {
            assert_eq!(held.until, Some(at(90)), "{name}");
        }
    }
    for devices in 0..20 {
        let share = in_flight(&limits(None, Some(5), None), devices);
        assert_eq!(share, Some(1), "a share of {devices} devices is one");
    }
}

#[test]
fn a_ramp_rises_by_its_factor_and_stops_at_its_cap() {
    let cases = [
        (ramp(5, 2.0, 10, None), 0, 5),
        (ramp(5, 2.0, 10, None), 9, 5),
        (ramp(5, 2.0, 10, None), 10, 10),
        (ramp(5, 2.0, 10, None), 39, 40),
        (ramp(5, 2.0, 10, Some(30)), 39, 30),
        (ramp(5, 1.5, 1, None), 1, 7),
        (ramp(5, 1.0, 1, None), i64::MAX, 5),
        (ramp(5, 10.0, 1, None), i64::MAX, i64::from(u32::MAX)),
        (ramp(5, 10.0, 1, Some(100)), i64::MAX, 100),
        (ramp(50, 2.0, 1, Some(10)), 0, 10),
        (ramp(0, 0.0, 0, Some(0)), 5, 1),
        (ramp(5, f64::NAN, 1, None), 5, 5),
        (ramp(5, 2.0, 1, None), -7, 5),
    ];
    for (rule, successes, expected) in cases {
        assert_eq!(rate(&rule, successes), expected, "{rule:?} {successes}");
    }
}

#[test]
fn a_minute_frees_up_when_its_oldest_slices_leave_it() {
    let slices = |parts: &[(i64, i64)]| -> Vec<Slice> {
        let slices = parts.iter().map(|(seconds, devices)| Slice {
            at: at(*seconds),
            devices: *devices,
        });
        slices.collect()
    };
    let rule = limits(None, None, Some(ramp(10, 1.0, 1, None)));
    let until = |parts: &[(i64, i64)], just_now| {
        let used = Use {
            lately: &slices(parts),
            just_now,
            ..NOTHING
        };
        free(&rule, &used, at(0)).map_err(|held| held.until)
    };
    assert_eq!(until(&[], 0), Ok(10));
    assert_eq!(until(&[(-60, 10)], 0), Ok(10), "a minute ago is over");
    assert_eq!(until(&[(-59, 4)], 0), Ok(6));
    assert_eq!(until(&[(-59, 4), (-10, 6)], 0), Err(Some(at(1))));
    assert_eq!(
        until(&[(-10, 6), (-59, 4)], 0),
        Err(Some(at(1))),
        "in any order"
    );
    assert_eq!(until(&[(-59, 4), (-10, 10)], 0), Err(Some(at(50))));
    assert_eq!(until(&[(-59, 4)], 6), Err(Some(at(1))));
    assert_eq!(until(&[], 10), Err(Some(at(60))));
}

proptest! {
    #[test]
    fn no_numbers_make_it_panic_or_admit_too_many(
        numbers in prop::array::uniform4(any::<i64>()),
        count in prop::option::of(1_u32..), percent in prop::option::of(0_u32..200),
        base in any::<u32>(), factor in any::<f64>(), after in any::<u32>(), max in prop::option::of(any::<u32>()),
        slices in prop::collection::vec((-90_i64..1, 0_i64..), 0..5),
    ) {
        let lately: Vec<_> = slices.iter().map(|(seconds, devices)| Slice { at: at(*seconds), devices: *devices }).collect();
        let [devices, in_flight_now, successes, just_now] = numbers;
        let used = Use { devices, in_flight: in_flight_now, successes, lately: &lately, just_now, judged_by: None };
        let rule = limits(count, percent, Some(ramp(base, factor, after, max)));
        match free(&rule, &used, at(0)) {
            Ok(free) => {
                prop_assert!(free >= 1);
                if in_flight_now >= 0 {
                    let most = in_flight(&rule, devices).unwrap_or(i64::MAX);
                    prop_assert!(free.saturating_add(in_flight_now) <= most);
                }
                prop_assert!(free <= rate(&ramp(base, factor, after, max), successes));
            }
            Err(held) => prop_assert!(held.until.is_none_or(|until| at(0) < until)),
        }
    }
}
