//! Docker Hub's webhooks: one push of one tag each, neither signed nor numbered, and without a digest.
//!
//! Source: <https://docs.docker.com/docker-hub/repos/manage/webhooks/>.

use super::fields::{Told, artifact, at, content, digest, push, text};
use super::times::time;
use super::{Content, Incoming, Malformed, Reading, Sender};
use windlass_types::image::DEFAULT_REGISTRY;

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
    let read = |content| Reading {
        delivery_id: None,
        content,
    };
    if let Some(reason) = text(body, &["push_data", "media_type"]).and_then(artifact) {
        return Ok(read(Content::Ignored(reason)));
    }
    let told = Told {
        host: Some(DEFAULT_REGISTRY),
        path: &name,
        field: "repository.repo_name",
        tag: text(body, &["push_data", "tag"]),
        digest: digest(body, &["push_data", "digest"]),
        actor: text(body, &["push_data", "pusher"]),
        pushed_at: at(body, &["push_data", "pushed_at"]).and_then(time),
    };
    Ok(read(content(push(incoming, told)?)))
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
