//! Views: what is told of a service.

use super::look::Look;
use super::turn::Turn;
use super::verify;
use crate::observed::{Container, ContainerState};
use crate::spec::ServiceKey;
use crate::view::{ServiceView, ViewedContainer, ViewedHealth};
use windlass_types::image::ImageReference;

/// The view of a service that would do this.
pub(super) fn view(look: &Look<'_>, key: ServiceKey, turn: Turn) -> ServiceView {
    let container = speaks(look, key);
    let wanted = look.wanted.services.get(&key);
    let refused = look.wanted.refused.get(&key);
    let good = look.remembered(key).and_then(|of| of.good.as_ref());
    let named = wanted.map(|spec| (&spec.app_name, &spec.name));
    let named = named
        .or(refused.map(|refused| (&refused.app_name, &refused.name)))
        .or(good.map(|spec| (&spec.app_name, &spec.name)))
        .or(container.map(|c| (&c.app_name, &c.service_name)));
    let (app_name, name) = named
        .map(|(a, n)| (a.clone(), n.clone()))
        .unwrap_or_default();
    let health = container
        .filter(|c| c.state == ContainerState::Running)
        .and_then(|c| verify::health(look.spec_of(c)?, c))
        .map(|(status, probe, result)| ViewedHealth {
            status,
            probe: Some(probe),
            checked_at: result.as_ref().map(|result| result.at),
            output: result.map(|result| result.output),
        });
    ServiceView {
        key,
        name,
        app_name,
        wanted_image: wanted
            .map(|spec| spec.image.clone())
            .or(refused.map(|refused| refused.image.clone())),
        container: container.map(|c| viewed(look, c)),
        phase: turn.phase,
        health,
        error: turn.error,
        waits: turn.waits,
    }
}

/// The container that speaks for a service: one that runs, and of these the one that serves; else the one started
/// last.
fn speaks<'a>(look: &Look<'a>, key: ServiceKey) -> Option<&'a Container> {
    let all = look.containers(key).iter().copied();
    all.max_by(|a, b| {
        let by = |c: &Container| (c.is_active(), c.serving && c.is_active(), c.started_at);
        by(a).cmp(&by(b)).then_with(|| b.id.cmp(&a.id))
    })
}

fn viewed(look: &Look<'_>, container: &Container) -> ViewedContainer {
    let digest_of = |name: &str| {
        let reference = name.parse::<ImageReference>().ok()?;
        Some(reference.digest()?.to_string())
    };
    let image = look
        .observed
        .images
        .iter()
        .find(|image| image.id == container.image_id);
    let by_engine = image.and_then(|image| image.names.iter().find_map(|name| digest_of(name)));
    ViewedContainer {
        id: container.id.clone(),
        image: container.image.clone(),
        status: container.state.as_str().to_owned(),
        digest: digest_of(&container.image).or(by_engine),
        restarts: container.restarts,
    }
}
