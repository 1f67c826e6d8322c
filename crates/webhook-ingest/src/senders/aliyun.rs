//! Alibaba Cloud's Container Registry: Docker Hub's shape with a region, and with a digest.
//!
//! Source: <https://www.alibabacloud.com/help/en/acr/user-guide/manage-webhooks>.

use super::fields::{Told, at, content, digest, push, text};
use super::times::time;
use super::{Incoming, Malformed, Reading, Sender};

pub(super) const SENDER: Sender = Sender {
    name: "aliyun",
    recognises,
    read,
};

fn recognises(incoming: &Incoming<'_>) -> bool {
    at(incoming.body, &["push_data"]).is_some()
        && at(incoming.body, &["repository", "region"]).is_some()
}

fn read(incoming: &Incoming<'_>) -> Result<Reading, Malformed> {
    let body = incoming.body;
    let path = text(body, &["repository", "repo_full_name"])
        .ok_or_else(|| Malformed("repository.repo_full_name is missing".to_owned()))?;
    let host = text(body, &["repository", "region"])
        .map(|region| format!("registry.{region}.aliyuncs.com"));
    Ok(Reading {
        delivery_id: None,
        content: content(push(
            incoming,
            Told {
                host: host.as_deref(),
                path,
                field: "repository.repo_full_name",
                tag: text(body, &["push_data", "tag"]),
                digest: digest(body, &["push_data", "digest"]),
                actor: None,
                pushed_at: at(body, &["push_data", "pushed_at"]).and_then(time),
            },
        )?),
    })
}
