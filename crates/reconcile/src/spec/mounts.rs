//! Volumes, binds and folders in memory.

use super::Mount;
use super::value::{Field, Read};
use serde_json::Value;
use std::collections::BTreeMap;

const SHAPE: &str = "a volume such as name:/path, /host/path:/path:ro or /path";

/// What `volumes` says: mounts, sorted, and folders in memory.
pub(super) fn volumes(field: &Field<'_>) -> Read<(Vec<Mount>, BTreeMap<String, String>)> {
    let mut mounts: Vec<Mount> = Vec::new();
    let mut tmpfs = BTreeMap::new();
    for item in field.list()? {
        let mount = match item.value {
            Value::Object(_) => match of_object(&item)? {
                Kind::Mount(mount) => mount,
                Kind::Tmpfs(target, options) => {
                    tmpfs.insert(target, options);
                    continue;
                }
            },
            _ => of_text(&item, &item.scalar()?)?,
        };
        if mounts.iter().any(|other| other.target == mount.target) {
            return item.wrong(format!("{} is mounted twice", mount.target));
        }
        mounts.push(mount);
    }
    mounts.sort();
    Ok((mounts, tmpfs))
}

/// What `tmpfs` says: a path, a list of `path[:options]`, or a map.
pub(super) fn tmpfs(field: &Field<'_>) -> Read<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    if let Value::Object(map) = field.value {
        for (path, options) in map {
            let options = match options {
                Value::Null => String::new(),
                other => Field::new(format!("{}.{path}", field.at), other).scalar()?,
            };
            found.insert(target(field, path)?, options);
        }
        return Ok(found);
    }
    for item in field.list_or_one()? {
        let text = item.text()?;
        let (path, options) = text.split_once(':').unwrap_or((&text, ""));
        found.insert(target(&item, path)?, options.to_owned());
    }
    Ok(found)
}

enum Kind {
    Mount(Mount),
    Tmpfs(String, String),
}

fn of_text(item: &Field<'_>, text: &str) -> Read<Mount> {
    let parts: Vec<&str> = text.split(':').collect();
    let (from, to, options) = match parts.as_slice() {
        [to] => (None, *to, ""),
        // Without a source the options follow the path.
        [to, options] if to.starts_with('/') && !options.starts_with('/') => (None, *to, *options),
        [from, to] => (Some(*from), *to, ""),
        [from, to, options] => (Some(*from), *to, *options),
        _ => return item.expected(SHAPE),
    };
    let mut read_only = false;
    for option in options.split(',').filter(|o| !o.is_empty()) {
        match option {
            "ro" => read_only = true,
            // What the engine does by itself, or what means something only on other systems.
            "rw" | "z" | "Z" | "cached" | "delegated" | "consistent" => {}
            _ => return item.wrong(format!("{option:?} is no option; ro and rw are")),
        }
    }
    Ok(Mount {
        source: from.map(|from| source(item, from)).transpose()?,
        target: target(item, to)?,
        read_only,
    })
}

fn of_object(item: &Field<'_>) -> Read<Kind> {
    let mut fields = item.fields()?;
    let Some(to) = fields.text(&["target", "destination", "container_path"])? else {
        return item.wrong("target is missing: the path in the container");
    };
    let to = target(item, &to)?;
    let from = fields.text(&["source", "host_path", "name"])?;
    let read_only = fields
        .truth(&["read_only", "readonly"])?
        .unwrap_or_default();
    let kind = fields.text(&["type"])?;
    match kind.as_deref() {
        Some("tmpfs") => Ok(Kind::Tmpfs(to, String::new())),
        Some("bind") if from.as_deref().is_none_or(|from| !from.starts_with('/')) => {
            item.wrong("a bind's source is a path of the host that begins with /")
        }
        Some("bind" | "volume") | None => Ok(Kind::Mount(Mount {
            source: from.map(|from| source(item, &from)).transpose()?,
            target: to,
            read_only,
        })),
        Some(_) => item.wrong("type is not bind, volume or tmpfs"),
    }
}

fn source(item: &Field<'_>, text: &str) -> Read<String> {
    let is_name = text
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphanumeric())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
    if is_name || text.starts_with('/') {
        return Ok(text.to_owned());
    }
    item.wrong(format!(
        "{text:?} is neither a volume's name nor a path of the host that begins with /"
    ))
}

fn target(item: &Field<'_>, text: &str) -> Read<String> {
    if !text.starts_with('/') {
        return item.wrong(format!(
            "{text:?} is no path in the container: it begins with /"
        ));
    }
    Ok(match text.trim_end_matches('/') {
        "" => return item.wrong("the container's root cannot be mounted over"),
        path => path.to_owned(),
    })
}
