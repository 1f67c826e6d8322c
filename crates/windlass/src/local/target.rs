//! The target of the machine's own agent: what is held, on the images that rollouts gave it.

use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use windlass_agent::taking::Book;
use windlass_core::versions::Rule;
use windlass_reconcile::spec::ServiceKey;
use windlass_types::image::{Digest, ImageReference};
use windlass_types::policy::PolicySpec;
use windlass_types::target::{TargetApp, TargetService, TargetState};

/// The same target with what is held in it, and without what is held no more. Services that a person put there stay; one
/// that is held as it was keeps the image that it has been given since, and so does one whose very container, held in `before`
/// as the target says it, was changed while it ran.
pub(super) fn following(state: &TargetState, before: &Book, book: &Book) -> TargetState {
    let mut next = state.clone();
    let mut there = BTreeSet::new();
    let mut images = BTreeMap::new();
    for app in next.apps.values_mut() {
        let app_id = app.app_id;
        app.services.retain(|service| {
            let Some(settings) = settings(service) else {
                return true;
            };
            let key = ServiceKey {
                app: app_id,
                service: service.service_id,
            };
            let stays = book
                .get(&key)
                .is_some_and(|taken| taken.settings == settings);
            let same = before.get(&key).zip(book.get(&key));
            let same = same
                .is_some_and(|(was, is)| was.settings == settings && was.container == is.container);
            if stays {
                there.insert(key);
            } else if same {
                images.insert(key, service.image_name.clone());
            }
            stays
        });
    }
    for (key, taken) in book.iter().filter(|(key, _)| !there.contains(key)) {
        let app = next
            .apps
            .entry(key.app.to_string())
            .or_insert_with(|| TargetApp {
                app_id: key.app,
                app_name: taken.app_name.clone(),
                services: Vec::new(),
                rest: Map::new(),
            });
        let mut service = taken.service(*key);
        if let Some(image) = images.get(key) {
            service.set_image(image);
        }
        app.services.push(service);
        app.services.sort_by_key(|service| service.service_id);
    }
    let had = |key: &String| {
        state
            .apps
            .get(key)
            .is_some_and(|app| app.services.is_empty())
    };
    next.apps
        .retain(|key, app| !app.services.is_empty() || had(key));
    next
}

/// Whether a service that a policy moves from or to this tag runs something else than what it names.
pub(super) fn lacks(state: &TargetState, spec: &PolicySpec, tag: &str, digest: &Digest) -> bool {
    let Ok(rule) = Rule::new(&spec.tag) else {
        return false;
    };
    rule.takes(tag)
        && state.services().any(|(_, service)| {
            service
                .image_name
                .parse::<ImageReference>()
                .is_ok_and(|image| {
                    image.repository().to_string() == spec.image
                        && rule.moves(image.tag().unwrap_or("latest"))
                        && image.digest() != Some(digest)
                })
        })
}

/// The name of the settings that a service is made from, of one that was taken.
fn settings(service: &TargetService) -> Option<&str> {
    service.config.get("settings").and_then(Value::as_str)
}

#[cfg(test)]
mod tests;
