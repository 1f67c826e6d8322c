//! Docker Hub's webhooks: one push of one tag each, neither signed nor numbered, and without a digest.
//!
//! Source: <https://docs.docker.com/docker-hub/repos/manage/webhooks/>.

use super::fields::{artifact, at, attachment, digest, text};
use super::times::time;
use super::{Content, Incoming, Malformed, Reading, Sender};
use windlass_types::delivery::{ParsedPush, ReasonCode};
use windlass_types::image::{DEFAULT_REGISTRY, Repository, is_tag};

pub(super) const SENDER: Sender = Sender {
    name: "docker_hub",
    recognises,
    read,
};

fn recognises(incoming: &Incoming<'_>) -> bool {
    incoming.header("x-github-event").is_none()
        && at(incoming.body, &["push_data"]).is_some()
        && at(incoming.body, &["repository"]).is_some()
        // Aliyun has taken over the shape and names a region.
        && at(incoming.body, &["repository", "region"]).is_none()
}

fn read(incoming: &Incoming<'_>) -> Result<Reading, Malformed> {
    let body = incoming.body;
    let missing = |field: &str| {
        Malformed(format!(
            "{field} is missing; a delivery of Docker Hub has push_data.tag and repository.repo_name"
        ))
    };
    if !at(body, &["push_data"]).is_some_and(serde_json::Value::is_object) {
        return Err(missing("push_data"));
    }
    let name = repository_name(incoming).ok_or_else(|| missing("repository.repo_name"))?;
    let registry = incoming.registry.unwrap_or(DEFAULT_REGISTRY);
    let repository = Repository::new(registry, &name.to_ascii_lowercase())
        .map_err(|error| Malformed(format!("repository.repo_name: {error}")))?;
    let ignored = |reason| {
        Ok(Reading {
            delivery_id: None,
            content: Content::Ignored(reason),
        })
    };
    let Some(tag) = text(body, &["push_data", "tag"]) else {
        return ignored(ReasonCode::Untagged);
    };
    if !is_tag(tag) {
        return Err(Malformed(format!("push_data.tag: {tag:?} is no tag")));
    }
    let kind = text(body, &["push_data", "media_type"]).and_then(artifact);
    if let Some(reason) = kind.or_else(|| attachment(tag)) {
        return ignored(reason);
    }
    let push = ParsedPush {
        repository,
        tag: tag.to_owned(),
        digest: digest(body, &["push_data", "digest"]),
        actor: text(body, &["push_data", "pusher"]).map(str::to_owned),
        pushed_at: at(body, &["push_data", "pushed_at"]).and_then(time),
    };
    Ok(Reading {
        delivery_id: None,
        content: Content::Pushes(vec![push]),
    })
}

/// The full name; older deliveries have it in two parts only.
fn repository_name(incoming: &Incoming<'_>) -> Option<String> {
    let body = incoming.body;
    if let Some(name) = text(body, &["repository", "repo_name"]) {
        return Some(name.to_owned());
    }
    let name = text(body, &["repository", "name"])?;
    let namespace = text(body, &["repository", "namespace"])?;
    Some(format!("{namespace}/{name}"))
}
