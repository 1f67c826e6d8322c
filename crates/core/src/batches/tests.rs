use super::*;
use BatchSize::{Count, Percent};
use proptest::prelude::*;
use std::collections::BTreeMap;
use uuid::Uuid;

const USUAL: [BatchSize; 3] = [Percent(10), Percent(50), Percent(100)];

#[test]
fn small_fleets_get_fewer_batches_and_never_an_empty_one() {
    let cases: [(i64, &[i64]); 11] = [
        (0, &[]),
        (1, &[1]),
        (2, &[1, 2]),
        (3, &[1, 2, 3]),
        (4, &[1, 2, 4]),
        (7, &[1, 4, 7]),
        (10, &[1, 5, 10]),
        (11, &[2, 6, 11]),
        (40, &[4, 20, 40]),
        (60, &[6, 30, 60]),
        (1_000_000, &[100_000, 500_000, 1_000_000]),
    ];
    for (total, expected) in cases {
        assert_eq!(bounds(total, &USUAL), expected, "{total} devices");
    }
}

#[test]
fn counts_add_devices_and_shares_count_from_the_first_batch_on() {
    let cases: [(i64, &[BatchSize], &[i64]); 7] = [
        (10, &[Count(1), Count(3)], &[1, 4, 10]),
        (3, &[Count(1), Count(3)], &[1, 3]),
        (100, &[Count(1), Percent(10), Count(5)], &[1, 10, 15, 100]),
        (5, &[Count(1), Percent(10), Percent(100)], &[1, 5]),
        (9, &[Percent(100)], &[9]),
        (9, &[], &[9]),
        (4, &[Count(u32::MAX)], &[4]),
    ];
    for (total, sizes, expected) in cases {
        assert_eq!(bounds(total, sizes), expected, "{total} devices, {sizes:?}");
    }
}

#[test]
fn a_rank_is_in_the_first_batch_that_reaches_it() {
    let bounds = [1, 4, 7];
    let batches: Vec<_> = (1..=7).map(|rank| batch_of(rank, &bounds)).collect();
    assert_eq!(batches, [1, 2, 2, 2, 3, 3, 3]);
    assert_eq!(sizes(&bounds), [1, 3, 3]);
    assert_eq!(batch_of(8, &bounds), 3);
    assert_eq!(batch_of(1, &[]), 1);
}

/// Stored rows rest on these numbers: a change of the formula would move devices between batches
/// of rollouts that run.
#[test]
fn the_formula_does_not_change() {
    let device = DeviceId(Uuid::from_u128(0x1234_5678_9abc_4def_8123_4567_89ab_cdef));
    let seen = (
        shuffle_of(device),
        coefficients(42),
        order_key(shuffle_of(device), coefficients(42)),
    );
    assert_eq!(seen, (FIXED_SHUFFLE, FIXED_COEFFICIENTS, FIXED_KEY));
}

const FIXED_SHUFFLE: i64 = 272_215_938;
const FIXED_COEFFICIENTS: (i64, i64) = (605_779_776, 1_426_585_545);
const FIXED_KEY: i64 = 55_769_839;

fn membership(devices: &[Uuid], seed: i64, sizes: &[BatchSize]) -> BTreeMap<Uuid, i64> {
    let map = coefficients(seed);
    let mut order: Vec<_> = devices
        .iter()
        .map(|uuid| (order_key(shuffle_of(DeviceId(*uuid)), map), *uuid))
        .collect();
    order.sort_unstable();
    let bounds = bounds(i64::try_from(order.len()).unwrap(), sizes);
    (1..)
        .zip(order)
        .map(|(rank, (_, uuid))| (uuid, batch_of(rank, &bounds)))
        .collect()
}

fn any_sizes() -> impl Strategy<Value = Vec<BatchSize>> {
    prop::collection::vec(
        prop_oneof![
            (1_u32..=100).prop_map(Percent),
            (1_u32..=50).prop_map(Count)
        ],
        0..8,
    )
}

proptest! {
    #[test]
    fn bounds_rise_strictly_and_end_at_the_total(total in 0_i64..3_000_000, sizes in any_sizes()) {
        let bounds = bounds(total, &sizes);
        prop_assert!(bounds.windows(2).all(|pair| pair[0] < pair[1]));
        prop_assert!(bounds.first().is_none_or(|first| *first > 0));
        prop_assert_eq!(bounds.last().copied().unwrap_or(0), total);
        prop_assert!(bounds.len() <= sizes.len() + 1);
    }

    #[test]
    fn a_batch_has_exactly_its_share(total in 1_i64..2_000, percent in 1_u32..=100) {
        let bounds = bounds(total, &[Percent(percent)]);
        let share = total * i64::from(percent);
        let first = bounds[0];
        prop_assert!(first * 100 >= share && (first - 1) * 100 < share, "{first} of {total}");
    }

    #[test]
    fn every_device_is_in_one_batch_and_no_batch_is_empty(
        ids in prop::collection::btree_set(any::<u128>(), 1..120), seed: i64, sizes in any_sizes(),
    ) {
        let devices: Vec<_> = ids.into_iter().map(Uuid::from_u128).collect();
        let members = membership(&devices, seed, &sizes);
        prop_assert_eq!(members.len(), devices.len());
        let bounds = bounds(i64::try_from(devices.len()).unwrap(), &sizes);
        for (batch, size) in (1..).zip(super::sizes(&bounds)) {
            let found = members.values().filter(|b| **b == batch).count();
            prop_assert_eq!(i64::try_from(found).unwrap(), size);
            prop_assert!(size > 0);
        }
    }

    #[test]
    fn the_order_in_which_devices_are_given_changes_nothing(
        ids in prop::collection::btree_set(any::<u128>(), 1..80), seed: i64, turn: prop::sample::Index,
    ) {
        let devices: Vec<_> = ids.into_iter().map(Uuid::from_u128).collect();
        let mut turned = devices.clone();
        turned.rotate_left(turn.index(devices.len()));
        turned.reverse();
        prop_assert_eq!(membership(&devices, seed, &USUAL), membership(&turned, seed, &USUAL));
    }

    #[test]
    fn the_sum_fits_both_databases(shuffle in 0..MODULUS, seed: i64) {
        let (a, b) = coefficients(seed);
        prop_assert!((1..MODULUS).contains(&a) && (0..MODULUS).contains(&b));
        let wide = (i128::from(shuffle) * i128::from(a) + i128::from(b)) % i128::from(MODULUS);
        prop_assert_eq!(i128::from(order_key(shuffle, (a, b))), wide);
    }
}

#[test]
fn the_first_batch_differs_from_rollout_to_rollout() {
    let devices: Vec<_> = (0..200_u128).map(Uuid::from_u128).collect();
    let first = |seed| -> Vec<Uuid> {
        let members = membership(&devices, seed, &USUAL);
        members
            .into_iter()
            .filter(|(_, batch)| *batch == 1)
            .map(|(uuid, _)| uuid)
            .collect()
    };
    let drawn: std::collections::BTreeSet<_> = (0..100).map(first).collect();
    assert_eq!(
        drawn.len(),
        100,
        "no two of a hundred seeds draw the same twenty devices"
    );
    // Nobody is always first, and everybody is some time: 20 of 200 in each of 100 draws.
    let mut times = BTreeMap::<Uuid, u32>::new();
    for uuid in drawn.iter().flatten() {
        *times.entry(*uuid).or_default() += 1;
    }
    assert!(
        times.values().all(|n| *n < 40) && times.len() > 190,
        "{times:?}"
    );
}
