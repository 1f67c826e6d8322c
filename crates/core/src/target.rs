//! Changing target states: another image for the services a rollout is about, and nothing else.

use crate::versions::{Rule, goes_below};
use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};
use windlass_types::ids::StateId;
use windlass_types::image::{Digest, ImageReference, Repository};
use windlass_types::policy::{TagRule, UpdateMethod};
use windlass_types::target::TargetState;

/// Where a service's configuration says how it changes from one container to the next.
const UPDATE_STRATEGY: &str = "updateStrategy";

/// The id of a target state: made from its canonical JSON, so that equal states have equal ids.
#[must_use]
pub fn state_id(state: &TargetState) -> StateId {
    // Maps of `serde_json` and of the state itself are ordered, so the text is canonical. Writing
    // these types to JSON cannot fail: they have text keys only.
    let text = serde_json::to_vec(state).unwrap_or_default();
    let mut bytes = [0_u8; 16];
    for (byte, hashed) in bytes.iter_mut().zip(Sha256::digest(&text)) {
        *byte = hashed;
    }
    StateId(uuid::Builder::from_custom_bytes(bytes).into_uuid())
}

/// A service of a target state that runs an image of some repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceImage {
    /// The app.
    pub app_id: i64,
    /// The service.
    pub service_id: i64,
    /// Its image as written.
    pub image: String,
}

/// The services of a state that a rollout of this repository moves: those on the repository whose
/// present tag the rule takes. A service pinned by digest alone is moved too.
#[must_use]
pub fn services_of(
    state: &TargetState,
    repository: &Repository,
    tag_rule: &TagRule,
) -> Vec<ServiceImage> {
    let Ok(rule) = Rule::new(tag_rule) else {
        return Vec::new();
    };
    state
        .services()
        .filter_map(|(app_id, service)| {
            let image: ImageReference = service.image_name.parse().ok()?;
            let in_scope =
                image.repository() == repository && image.tag().is_none_or(|tag| rule.moves(tag));
            in_scope.then(|| ServiceImage {
                app_id,
                service_id: service.service_id,
                image: service.image_name.clone(),
            })
        })
        .collect()
}

/// The state with this tag and digest for every service the rollout moves; names stay as written.
/// `None` where no service is moved; the same state where all of them are on the image already, also under another tag.
#[must_use]
pub fn with_version(
    state: &TargetState,
    repository: &Repository,
    tag_rule: &TagRule,
    tag: Option<&str>,
    digest: Option<&Digest>,
) -> Option<TargetState> {
    let moved = services_of(state, repository, tag_rule);
    if moved.is_empty() {
        return None;
    }
    let mut next = state.clone();
    for wanted in &moved {
        let image: ImageReference = wanted.image.parse().ok()?;
        if is_there(&image, tag, digest) {
            continue;
        }
        set_image(
            &mut next,
            wanted.app_id,
            wanted.service_id,
            &image.with_version(tag, digest).to_string(),
        );
    }
    Some(next)
}

/// Whether moving the services of a state to this version would take one of them to a lower version.
#[must_use]
pub fn goes_down(
    state: &TargetState,
    repository: &Repository,
    tag_rule: &TagRule,
    tag: Option<&str>,
    digest: Option<&Digest>,
    built_at: BuiltAt<'_>,
) -> bool {
    let images: Vec<String> = services_of(state, repository, tag_rule)
        .into_iter()
        .map(|service| service.image)
        .collect();
    !moved(&images, repository, tag_rule, tag, digest, built_at)
        .higher
        .is_empty()
}

/// Makes the services of a state that name this version change to it as the update method says:
/// `config.updateStrategy` is set for blue-green and taken away otherwise (device protocol, section 2).
pub fn set_update_method(
    state: &mut TargetState,
    repository: &Repository,
    tag: Option<&str>,
    digest: Option<&Digest>,
    method: UpdateMethod,
) {
    for service in state
        .apps
        .values_mut()
        .flat_map(|app| app.services.iter_mut())
    {
        let named = service.image_name.parse::<ImageReference>();
        if !named.is_ok_and(|n| n.repository() == repository && is_there(&n, tag, digest)) {
            continue;
        }
        match method {
            UpdateMethod::Recreate => {
                service.config.remove(UPDATE_STRATEGY);
            }
            UpdateMethod::BlueGreen => {
                let says = serde_json::Value::String("blue-green".to_owned());
                service.config.insert(UPDATE_STRATEGY.to_owned(), says);
            }
        }
    }
}

/// The images that targets name, sorted by what a rollout does to them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moved {
    /// Those it moves.
    pub moved: Vec<String>,
    /// Those of them that name the shipped version already.
    pub there: Vec<String>,
    /// Those of them whose tag is a higher version than the shipped one.
    pub higher: Vec<String>,
}

/// When the image of a digest was built, where that is known: [`crate::versions::built_at`].
pub type BuiltAt<'a> = &'a dyn Fn(&Digest) -> Option<DateTime<Utc>>;

/// Which of these images, as written in targets, a rollout of this version moves: those of its
/// repository on a tag that the rule moves, or that are pinned by digest alone.
#[must_use]
pub fn moved(
    images: &[String],
    repository: &Repository,
    tag_rule: &TagRule,
    tag: Option<&str>,
    digest: Option<&Digest>,
    built_at: BuiltAt<'_>,
) -> Moved {
    let mut found = Moved::default();
    let Ok(rule) = Rule::new(tag_rule) else {
        return found;
    };
    let next = (tag, digest.and_then(built_at));
    for text in images {
        let Ok(image) = text.parse::<ImageReference>() else {
            continue;
        };
        if image.repository() != repository || image.tag().is_some_and(|tag| !rule.moves(tag)) {
            continue;
        }
        if is_there(&image, tag, digest) {
            found.there.push(text.clone());
        } else if goes_below(
            &rule,
            (image.tag(), image.digest().and_then(built_at)),
            next,
        ) {
            found.higher.push(text.clone());
        }
        found.moved.push(text.clone());
    }
    found
}

/// Whether an image of the repository is the shipped version already. The digest decides: under another
/// tag it is the same image, and nothing is to be restarted for a name.
fn is_there(image: &ImageReference, tag: Option<&str>, digest: Option<&Digest>) -> bool {
    image.digest() == digest && (digest.is_some() || image.tag() == tag)
}

/// Gives one service this image. Returns whether the service is there.
pub fn set_image(state: &mut TargetState, app_id: i64, service_id: i64, image: &str) -> bool {
    let mut found = false;
    for service in state
        .apps
        .values_mut()
        .filter(|app| app.app_id == app_id)
        .flat_map(|app| app.services.iter_mut())
        .filter(|service| service.service_id == service_id)
    {
        service.set_image(image);
        found = true;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn state(images: &[&str]) -> TargetState {
        let services: Vec<_> = images
            .iter()
            .enumerate()
            .map(|(n, image)| {
                json!({"serviceId": n + 1, "serviceName": format!("s{n}"), "imageName": image,
                       "state": "running", "config": {"image": image, "ports": ["1:2"]}, "extra": true})
            })
            .collect();
        serde_json::from_value(json!({"apps": {"1": {"appId": 1, "appName": "demo",
            "services": services}}, "config": {"a": 1}}))
        .unwrap()
    }

    #[test]
    fn a_rollout_changes_the_services_it_is_about_and_nothing_else() {
        let before = state(&[
            "r:5000/demo/app:v1",
            "r:5000/demo/other:v1",
            "r:5000/demo/app:beta",
        ]);
        let digest: Digest = format!("sha256:{}", "b".repeat(64)).parse().unwrap();
        let rule = TagRule::Glob {
            pattern: "v*".to_owned(),
        };
        let after = with_version(
            &before,
            &"r:5000/demo/app".parse().unwrap(),
            &rule,
            Some("v2"),
            Some(&digest),
        )
        .unwrap();
        let images: Vec<_> = after
            .services()
            .map(|(_, s)| s.image_name.clone())
            .collect();
        let new = format!("r:5000/demo/app:v2@{digest}");
        assert_eq!(
            images,
            [new.as_str(), "r:5000/demo/other:v1", "r:5000/demo/app:beta"]
        );
        let (_, first) = after.services().next().unwrap();
        assert_eq!(first.config["image"], json!(new));
        assert_eq!(first.config["ports"], json!(["1:2"]));
        assert_eq!(first.rest["extra"], json!(true));
        assert_eq!(after.config, before.config);
    }

    #[test]
    fn the_update_method_is_told_to_the_services_that_are_moved() {
        let repository = "r:5000/demo/app".parse().unwrap();
        let mut next = state(&[
            "r:5000/demo/app:v2",
            "r:5000/demo/app:v1",
            "r:5000/demo/b:v2",
        ]);
        let says = |state: &TargetState| -> Vec<Option<serde_json::Value>> {
            let services = state.services();
            services
                .map(|(_, s)| s.config.get("updateStrategy").cloned())
                .collect()
        };
        let before = next.clone();
        set_update_method(
            &mut next,
            &repository,
            Some("v2"),
            None,
            UpdateMethod::BlueGreen,
        );
        assert_eq!(says(&next), [Some(json!("blue-green")), None, None]);
        set_update_method(
            &mut next,
            &repository,
            Some("v2"),
            None,
            UpdateMethod::Recreate,
        );
        assert_eq!(next, before);
    }

    #[test]
    fn a_state_goes_down_where_one_of_its_moved_services_would() {
        let repository = "r:5000/demo/app".parse().unwrap();
        let rule = TagRule::default();
        let one = state(&[
            "r:5000/demo/app:v1",
            "r:5000/demo/app:v3",
            "r:5000/demo/b:v9",
        ]);
        for (tag, expected) in [
            ("v2", true),
            ("v3", false),
            ("v4", false),
            ("latest", false),
        ] {
            let found = goes_down(&one, &repository, &rule, Some(tag), None, &|_| None);
            assert_eq!(found, expected, "{tag}");
        }
    }

    #[test]
    fn images_in_use_are_sorted_as_targets_would_be_moved() {
        let digest: Digest = format!("sha256:{}", "b".repeat(64)).parse().unwrap();
        let there = format!("r:5000/demo/app:v2@{digest}");
        let pinned = format!("r:5000/demo/app@{digest}");
        let latest = format!("r:5000/demo/app:vlatest@{digest}");
        let images = [
            "r:5000/demo/app:v1",
            "r:5000/demo/app:v2",
            &latest,
            &there,
            &pinned,
            "r:5000/demo/app:beta",
            "r:5000/demo/other:v1",
            "no reference",
        ]
        .map(str::to_owned);
        let rule = TagRule::Glob {
            pattern: "v*".to_owned(),
        };
        let repository = "r:5000/demo/app".parse().unwrap();
        let none = |_: &Digest| None;
        let found = moved(
            &images,
            &repository,
            &rule,
            Some("v2"),
            Some(&digest),
            &none,
        );
        assert_eq!(found.moved, images[..5]);
        assert_eq!(found.there, [latest, there, pinned], "whatever their tag");
        assert!(found.higher.is_empty(), "{:?}", found.higher);
        for image in &images {
            let one = state(&[image]);
            let next = with_version(&one, &repository, &rule, Some("v2"), Some(&digest));
            assert_eq!(next.is_some(), found.moved.contains(image), "{image}");
            assert_eq!(
                next.is_some_and(|next| next == one),
                found.there.contains(image),
                "{image}"
            );
        }
    }

    #[test]
    fn equal_states_have_equal_ids_and_others_others() {
        let one = state(&["a:v1"]);
        let text = serde_json::to_string(&one).unwrap();
        assert_eq!(
            state_id(&one),
            state_id(&serde_json::from_str(&text).unwrap())
        );
        assert_ne!(state_id(&one), state_id(&state(&["a:v2"])));
    }
}
