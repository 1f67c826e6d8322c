//! What a push means for its tag: a first version, a move, or nothing new.
//!
//! Registries tell of one push several times: they retry, they send two events for it, two endpoints
//! hear of it. They also tell late and out of order. The rules are in docs/adr/0004-pushes-and-duplicates.md.

use chrono::{DateTime, TimeDelta, Utc};
use windlass_types::delivery::SeenVersion;
use windlass_types::ids::ImageVersionId;
use windlass_types::image::Digest;

/// Two tellings of one digest that carry no time of their own count as one push when they come within
/// this: the longest that senders were seen to retry at a pace that nobody would push at.
pub const SAME_PUSH: TimeDelta = TimeDelta::minutes(10);

/// A sender's time may be ahead of ours by this much; one that is further ahead is not believed,
/// because every true push after it would look late.
pub const CLOCKS_APART: TimeDelta = TimeDelta::hours(1);

/// What a push means for its tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// The first version seen under this tag.
    First,
    /// The tag moves from this version to a new one.
    Moves(ImageVersionId),
    /// It gives this version, whose digest was not known, its digest.
    Completes(ImageVersionId),
    /// This version is what was pushed; it is known.
    Repeats(ImageVersionId),
    /// It was pushed before this version, which the tag names now.
    Late(ImageVersionId),
}

/// The sender's time, where it can be true.
#[must_use]
pub fn believable(
    pushed_at: Option<DateTime<Utc>>,
    received_at: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    pushed_at.filter(|at| at.signed_duration_since(received_at) <= CLOCKS_APART)
}

/// What a push means for a tag of which these versions were seen. Of the versions, only the present
/// one and those with the pushed digest matter; their order does not.
#[must_use]
pub fn meaning(
    seen: &[SeenVersion],
    digest: Option<&Digest>,
    pushed_at: Option<DateTime<Utc>>,
    received_at: DateTime<Utc>,
) -> Meaning {
    let pushed_at = believable(pushed_at, received_at);
    let latest = |a: &&SeenVersion, b: &&SeenVersion| (a.seen_at, a.id).cmp(&(b.seen_at, b.id));
    let Some(present) = seen
        .iter()
        .filter(|version| version.replaced_at.is_none())
        .max_by(latest)
    else {
        return Meaning::First;
    };
    match (digest, &present.digest) {
        // What the tag names is being asked for already; the answer covers this push too.
        (None, None) => return Meaning::Repeats(present.id),
        (Some(digest), Some(named)) if digest == named => return Meaning::Repeats(present.id),
        (None | Some(_), _) => {}
    }
    if let Some(digest) = digest {
        let repeated = seen
            .iter()
            .filter(|version| version.replaced_at.is_some())
            .filter(|version| version.digest.as_ref() == Some(digest))
            .filter(|version| is_repeat_of(version, pushed_at, received_at))
            .max_by(latest);
        if let Some(version) = repeated {
            return Meaning::Repeats(version.id);
        }
    }
    match (pushed_at, present.pushed_at) {
        (Some(at), Some(present_at)) if at < present_at => return Meaning::Late(present.id),
        (Some(at), Some(present_at)) if at == present_at && digest.is_none() => {
            return Meaning::Repeats(present.id);
        }
        _ => {}
    }
    if digest.is_some() && present.digest.is_none() {
        Meaning::Completes(present.id)
    } else {
        Meaning::Moves(present.id)
    }
}

/// The versions seen of a tag, as they compare with a push that is told again long after it was
/// received: what carries no time of its own was pushed when it was seen first. Without this a delivery of
/// last week would look like the newest of all.
#[must_use]
pub fn as_timed(mut seen: Vec<SeenVersion>) -> Vec<SeenVersion> {
    for version in &mut seen {
        version.pushed_at = version.pushed_at.or(Some(version.seen_at));
    }
    seen
}

/// Whether a push of a replaced version's digest tells of that version again, rather than of the tag
/// moved back to it.
fn is_repeat_of(
    version: &SeenVersion,
    pushed_at: Option<DateTime<Utc>>,
    received_at: DateTime<Utc>,
) -> bool {
    match (pushed_at, version.pushed_at) {
        (Some(at), Some(before)) => at <= before,
        _ => received_at.signed_duration_since(version.seen_at) <= SAME_PUSH,
    }
}

/// When to ask a registry again that did not tell a digest: doubled from two seconds up to a quarter
/// of an hour, never sooner than the registry asks for (which is believed up to an hour).
#[must_use]
pub fn ask_again_after(attempts: i64, retry_after: Option<TimeDelta>) -> TimeDelta {
    let exponent = u32::try_from(attempts.clamp(1, 10)).unwrap_or(10);
    let doubled = TimeDelta::seconds(2_i64.saturating_pow(exponent)).min(TimeDelta::minutes(15));
    retry_after.map_or(doubled, |wait| doubled.max(wait.min(TimeDelta::hours(1))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use uuid::Uuid;
    use windlass_types::delivery::PushKind;
    use windlass_types::ids::CorrelationId;

    #[test]
    fn what_is_told_again_is_as_old_as_it_was_received() {
        // Received in minute 5 without a time; the tag moved in minute 9, also without one.
        let seen = || vec![version(1, Some(2), None, 9, None)];
        let told =
            |seen: Vec<SeenVersion>, pushed| meaning(&seen, Some(&digest(1)), pushed, at(50));
        assert!(matches!(told(seen(), Some(at(5))), Meaning::Moves(_)));
        assert!(matches!(
            told(as_timed(seen()), Some(at(5))),
            Meaning::Late(_)
        ));
        assert!(matches!(
            told(as_timed(seen()), Some(at(10))),
            Meaning::Moves(_)
        ));
    }

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + minute * 60, 0).unwrap()
    }

    fn digest(n: u8) -> Digest {
        format!("sha256:{}", format!("{n:02x}").repeat(32))
            .parse()
            .unwrap()
    }

    /// A version: id, digest, pushed, seen, replaced.
    fn version(
        id: u128,
        named: Option<u8>,
        pushed: Option<i64>,
        seen: i64,
        replaced: Option<i64>,
    ) -> SeenVersion {
        SeenVersion {
            id: Uuid::from_u128(id).into(),
            repository: "r.io/app".parse().unwrap(),
            tag: "v1".to_owned(),
            digest: named.map(digest),
            kind: PushKind::New,
            actor: None,
            pushed_at: pushed.map(at),
            seen_at: at(seen),
            delivery_id: None,
            correlation_id: CorrelationId(Uuid::nil()),
            replaced_at: replaced.map(at),
            resolve_attempts: 0,
            resolve_error: None,
        }
    }

    #[test]
    fn each_push_means_what_it_should() {
        let one = |v| vec![v];
        let present = || version(1, Some(1), Some(10), 10, None);
        let untimed = || version(1, Some(1), None, 10, None);
        let unknown = || version(1, None, Some(10), 10, None);
        let moved = || {
            vec![
                version(1, Some(1), Some(10), 10, Some(20)),
                version(2, Some(2), Some(20), 20, None),
            ]
        };
        let moved_untimed = || {
            vec![
                version(1, Some(1), None, 10, Some(15)),
                version(2, Some(2), None, 15, None),
            ]
        };
        let id = |n: u128| ImageVersionId(Uuid::from_u128(n));
        // (what, versions seen, digest, pushed, received, meaning)
        type Case = (
            &'static str,
            Vec<SeenVersion>,
            Option<u8>,
            Option<i64>,
            i64,
            Meaning,
        );
        let cases: Vec<Case> = vec![
            (
                "nothing was seen",
                vec![],
                Some(1),
                None,
                10,
                Meaning::First,
            ),
            (
                "nothing was seen, digest unknown",
                vec![],
                None,
                None,
                10,
                Meaning::First,
            ),
            (
                "the present digest again",
                one(present()),
                Some(1),
                Some(10),
                11,
                Meaning::Repeats(id(1)),
            ),
            (
                "the present digest again, newly pushed",
                one(present()),
                Some(1),
                Some(50),
                51,
                Meaning::Repeats(id(1)),
            ),
            (
                "the present digest again, much later, untimed",
                one(untimed()),
                Some(1),
                None,
                999,
                Meaning::Repeats(id(1)),
            ),
            (
                "another digest",
                one(present()),
                Some(2),
                Some(20),
                20,
                Meaning::Moves(id(1)),
            ),
            (
                "another digest, untimed, at once",
                one(untimed()),
                Some(2),
                None,
                10,
                Meaning::Moves(id(1)),
            ),
            (
                "another digest in the same second",
                one(present()),
                Some(2),
                Some(10),
                10,
                Meaning::Moves(id(1)),
            ),
            (
                "another digest, pushed before the present one",
                one(present()),
                Some(2),
                Some(9),
                11,
                Meaning::Late(id(1)),
            ),
            (
                "another digest, from a clock far ahead",
                one(present()),
                Some(2),
                Some(9999),
                11,
                Meaning::Moves(id(1)),
            ),
            (
                "the replaced digest again, told late",
                moved(),
                Some(1),
                Some(10),
                500,
                Meaning::Repeats(id(1)),
            ),
            (
                "the tag moved back",
                moved(),
                Some(1),
                Some(30),
                30,
                Meaning::Moves(id(2)),
            ),
            (
                "the replaced digest again, untimed, at once",
                moved_untimed(),
                Some(1),
                None,
                16,
                Meaning::Repeats(id(1)),
            ),
            (
                "the tag moved back, untimed, later",
                moved_untimed(),
                Some(1),
                None,
                60,
                Meaning::Moves(id(2)),
            ),
            (
                "no digest, the same time",
                one(present()),
                None,
                Some(10),
                11,
                Meaning::Repeats(id(1)),
            ),
            (
                "no digest, a later time",
                one(present()),
                None,
                Some(11),
                11,
                Meaning::Moves(id(1)),
            ),
            (
                "no digest, an earlier time",
                one(present()),
                None,
                Some(9),
                11,
                Meaning::Late(id(1)),
            ),
            (
                "no digest, no time",
                one(present()),
                None,
                None,
                11,
                Meaning::Moves(id(1)),
            ),
            (
                "no digest while it is asked for",
                one(unknown()),
                None,
                Some(20),
                20,
                Meaning::Repeats(id(1)),
            ),
            (
                "the digest that is asked for",
                one(unknown()),
                Some(1),
                Some(10),
                11,
                Meaning::Completes(id(1)),
            ),
            (
                "a digest pushed before the one asked for",
                one(unknown()),
                Some(1),
                Some(9),
                11,
                Meaning::Late(id(1)),
            ),
            (
                "a replaced digest told again while another is asked for",
                vec![
                    version(1, Some(1), Some(10), 10, Some(20)),
                    version(2, None, Some(20), 20, None),
                ],
                Some(1),
                Some(10),
                21,
                Meaning::Repeats(id(1)),
            ),
        ];
        for (what, seen, named, pushed, received, expected) in cases {
            let digest = named.map(digest);
            let got = meaning(&seen, digest.as_ref(), pushed.map(at), at(received));
            assert_eq!(got, expected, "{what}");
        }
    }

    #[test]
    fn a_registry_is_asked_less_and_less_often() {
        let waits: Vec<i64> = (1..=12)
            .map(|n| ask_again_after(n, None).num_seconds())
            .collect();
        assert_eq!(waits, [2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900]);
        let hour = Some(TimeDelta::days(3));
        assert_eq!(ask_again_after(1, hour), TimeDelta::hours(1));
        assert_eq!(
            ask_again_after(1, Some(TimeDelta::seconds(-5))).num_seconds(),
            2
        );
    }

    fn push() -> impl Strategy<Value = (Option<u8>, Option<i64>, i64)> {
        (
            proptest::option::of(0_u8..3),
            proptest::option::of(0_i64..60),
            0_i64..60,
        )
    }

    /// Does to the versions what the service does to the rows.
    fn apply(seen: &mut Vec<SeenVersion>, push: &(Option<u8>, Option<i64>, i64)) -> Meaning {
        let (named, pushed, received) = *push;
        let named_digest = named.map(digest);
        let pushed_at = believable(pushed.map(at), at(received));
        let what = meaning(seen, named_digest.as_ref(), pushed_at, at(received));
        match what {
            Meaning::First | Meaning::Moves(_) => {
                for version in seen.iter_mut() {
                    version.replaced_at.get_or_insert(at(received));
                }
                let mut new = version(seen.len() as u128 + 1, named, None, received, None);
                new.pushed_at = pushed_at;
                seen.push(new);
            }
            Meaning::Completes(id) => {
                for version in seen.iter_mut().filter(|v| v.id == id) {
                    version.digest.clone_from(&named_digest);
                }
            }
            Meaning::Repeats(_) | Meaning::Late(_) => {}
        }
        what
    }

    proptest! {
        #[test]
        fn telling_a_digest_twice_changes_nothing(pushes in proptest::collection::vec(push(), 1..12)) {
            let mut seen = Vec::new();
            for push in &pushes {
                let first = apply(&mut seen, push);
                if push.0.is_some() {
                    let again = apply(&mut seen, push);
                    prop_assert!(
                        matches!(again, Meaning::Repeats(_)) || again == first,
                        "{again:?} after {first:?}"
                    );
                    prop_assert!(!matches!(again, Meaning::First | Meaning::Moves(_)));
                }
            }
        }

        #[test]
        fn a_tag_has_one_present_version_and_order_does_not_matter(
            pushes in proptest::collection::vec(push(), 1..12), last in push()
        ) {
            let mut seen = Vec::new();
            for push in &pushes {
                apply(&mut seen, push);
                prop_assert_eq!(seen.iter().filter(|v| v.replaced_at.is_none()).count(), 1);
            }
            let named = last.0.map(digest);
            let forward = meaning(&seen, named.as_ref(), last.1.map(at), at(last.2));
            seen.reverse();
            prop_assert_eq!(forward, meaning(&seen, named.as_ref(), last.1.map(at), at(last.2)));
        }
    }
}
