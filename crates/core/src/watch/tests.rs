use super::*;
use proptest::prelude::*;
use serde_json::json;
use uuid::Uuid;
use windlass_types::ids::PolicyId;

fn policy(image: &str, tag: serde_json::Value, enabled: bool) -> Policy {
    let mut spec = json!({
        "name": image, "image": image, "strategy": "auto", "enabled": enabled,
    });
    spec["tag"] = tag;
    Policy {
        id: PolicyId(Uuid::from_u128(1)),
        version: 1,
        created_at: at(0),
        updated_at: at(0),
        spec: serde_json::from_value(spec).unwrap(),
    }
}

fn glob(pattern: &str) -> serde_json::Value {
    json!({"type": "glob", "pattern": pattern})
}

fn semver(range: &str) -> serde_json::Value {
    json!({"type": "semver", "range": range})
}

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap()
}

fn digest(n: u8) -> Digest {
    format!("sha256:{}", format!("{n:02x}").repeat(32))
        .parse()
        .unwrap()
}

fn set<T: std::str::FromStr<Err: std::fmt::Debug> + Ord>(texts: &[&str]) -> BTreeSet<T> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn what_policies_care_about_is_looked_at() {
    let policies = [
        policy("r.io/demo/*", glob("*"), true),
        policy("r.io/off/*", glob("*"), false),
        policy("docker.io/library/nginx", glob("*"), true),
        policy("not a repository", glob("*"), true),
    ];
    let in_use = set(&[
        "r.io/demo/app",
        "r.io/demo/app/sub",
        "r.io/off/app",
        "other.io/app",
    ]);
    assert_eq!(wanted(&policies, &in_use), set(&["r.io/demo/app", "nginx"]));
}

#[test]
fn fixed_tags_need_no_list() {
    let repository: Repository = "r.io/app".parse().unwrap();
    let fixed = [
        policy("r.io/app", json!({"type": "fixed", "tag": "latest"}), true),
        policy("r.io/*", glob("stable"), true),
        policy("r.io/app", glob("edge"), false),
    ];
    let wishes = Wishes::of(&fixed, &repository);
    assert!(!wishes.needs_list);
    let none = BTreeSet::new();
    assert_eq!(
        wishes.followed(&none, &none, &none, 10),
        ["latest", "stable"]
    );
    let mut more = fixed.to_vec();
    more.push(policy("r.io/app", semver(">=1"), true));
    assert!(Wishes::of(&more, &repository).needs_list);
}

#[test]
fn the_tags_that_can_ship_are_asked_for_first() {
    let repository: Repository = "r.io/app".parse().unwrap();
    let listed: BTreeSet<String> = (0..30)
        .map(|n| format!("1.{n}.0"))
        .chain(["latest".to_owned(), "2.0.0-rc.1".to_owned(), "x".to_owned()])
        .collect();
    let one = Wishes::of(
        &[
            policy("r.io/app", semver(">=1, <2"), true),
            policy("r.io/app", json!({"type": "fixed", "tag": "latest"}), true),
        ],
        &repository,
    );
    let unseen = set(&["1.4.0", "x"]);
    let running = set(&["1.2.0", "1.99.0"]);
    let followed = one.followed(&listed, &unseen, &running, 5);
    // Seen first: 1.4.0; run: 1.2.0 (1.99.0 is not there any more); named: latest; then the newest.
    assert_eq!(
        followed,
        ["1.4.0", "1.2.0", "latest", "1.29.0", "1.28.0", "1.27.0"]
    );
    assert_eq!(one.newest(&listed), set(&["1.29.0"]));
    // A rule without an order has no newest, and follows what there is within its bound.
    let any = Wishes::of(&[policy("r.io/app", glob("*"), true)], &repository);
    assert_eq!(any.newest(&listed), BTreeSet::new());
    assert_eq!(
        any.followed(&listed, &BTreeSet::new(), &BTreeSet::new(), 3)
            .len(),
        3
    );
}

#[test]
fn each_sight_means_what_it_should() {
    let (one, two) = (digest(1), digest(2));
    let before = Before::default();
    let listed = Before {
        listed: true,
        ..before
    };
    let seen = Before {
        seen: true,
        listed: true,
        ..before
    };
    let named = Before {
        digest: Some(&one),
        ..seen
    };
    let version = Before {
        version: Some(Some(&one)),
        ..seen
    };
    let cases: Vec<(&str, Before<'_>, &Digest, Sight)> = vec![
        ("the first look at all", before, &one, Sight::Baseline),
        (
            "a tag that was not in the list",
            listed,
            &one,
            Sight::New { moved: false },
        ),
        ("one that was only listed", seen, &one, Sight::Baseline),
        (
            "one that was not there",
            Before { gone: true, ..seen },
            &one,
            Sight::New { moved: false },
        ),
        ("the same digest", named, &one, Sight::Same),
        ("a moved tag", named, &two, Sight::New { moved: true }),
        (
            "one that was gone and is back as it was",
            Before {
                gone: true,
                ..named
            },
            &one,
            Sight::Same,
        ),
        ("what a webhook told of", version, &one, Sight::Same),
        (
            "what no webhook told of",
            version,
            &two,
            Sight::New { moved: true },
        ),
        (
            "what is being asked for",
            Before {
                version: Some(None),
                ..seen
            },
            &one,
            Sight::Same,
        ),
        (
            "an earlier version, once",
            Before {
                named_before: true,
                ..version
            },
            &two,
            Sight::Doubtful,
        ),
        (
            "an earlier version, twice",
            Before {
                named_before: true,
                doubtful: Some(&two),
                ..version
            },
            &two,
            Sight::New { moved: true },
        ),
        (
            "what was seen last, though a webhook told of another since",
            Before {
                digest: Some(&two),
                ..version
            },
            &two,
            Sight::Doubtful,
        ),
        (
            "a push missed before anybody looked",
            Before {
                version: Some(Some(&one)),
                ..before
            },
            &two,
            Sight::New { moved: true },
        ),
    ];
    for (what, before, digest, expected) in cases {
        assert_eq!(sight(&before, digest), expected, "{what}");
    }
}

const PACE: Pace = Pace {
    alone: TimeDelta::seconds(300),
    with_webhooks: TimeDelta::seconds(3600),
    lately: TimeDelta::days(7),
};

#[test]
fn repositories_with_webhooks_are_looked_at_less() {
    assert_eq!(next_look(at(0), &PACE, None, 0), at(300));
    assert_eq!(next_look(at(0), &PACE, None, 1000), at(270));
    assert_eq!(next_look(at(0), &PACE, Some(at(-60)), 0), at(3600));
    assert_eq!(next_look(at(0), &PACE, Some(at(-8 * 86_400)), 0), at(300));
}

#[test]
fn looks_in_vain_are_repeated_ever_later() {
    assert_eq!(look_again(at(0), &PACE, 0, None, 0), at(10));
    assert_eq!(look_again(at(0), &PACE, 2, None, 0), at(40));
    assert_eq!(look_again(at(0), &PACE, 99, None, 0), at(300));
    let asked = look_again(at(0), &PACE, 0, Some(TimeDelta::seconds(600)), 1000);
    assert_eq!(asked, at(605));
}

proptest! {
    #[test]
    fn no_look_is_sooner_than_half_its_time(failures in 0_i64..100, jitter in 0_u16..2000) {
        let next = look_again(at(0), &PACE, failures, None, jitter);
        prop_assert!(next >= at(5) && next <= at(300));
        let next = next_look(at(0), &PACE, None, jitter);
        prop_assert!(next >= at(270) && next <= at(300));
    }

    #[test]
    fn what_is_named_as_before_is_never_new(
        n in 0_u8..3, listed: bool, gone: bool, doubtful: bool, before: bool,
    ) {
        let digest = digest(n);
        let known = Before {
            seen: true, gone, digest: Some(&digest), listed, named_before: before,
            doubtful: doubtful.then_some(&digest), version: None,
        };
        prop_assert_eq!(sight(&known, &digest), Sight::Same);
    }
}
