//! Finding what a person means: whole listings, and short ids.

use crate::exit::Failure;
use std::future::Future;
use uuid::Uuid;
use windlass_client::{Client, DeviceQuery, PageQuery, RolloutQuery};
use windlass_types::device::Device;
use windlass_types::ids::{DeviceId, RolloutId};
use windlass_types::page::Page;
use windlass_types::policy::Policy;
use windlass_types::rollout::RolloutView;

/// Rows of a page; the server may give fewer.
const PAGE: u32 = 200;
/// How many of those that could be meant are listed.
const LISTED: usize = 20;

/// Up to `limit` rows of a listing, page after page.
pub(crate) async fn all<T, F>(
    limit: usize,
    mut page: impl FnMut(PageQuery) -> F,
) -> Result<Vec<T>, Failure>
where
    F: Future<Output = windlass_client::Result<Page<T>>>,
{
    let mut rows = Vec::new();
    let mut after = None;
    loop {
        let missing = u32::try_from(limit - rows.len()).unwrap_or(PAGE).min(PAGE);
        let query = PageQuery {
            limit: Some(missing),
            after: after.take(),
        };
        let got = page(query).await?;
        rows.extend(got.items);
        after = got.next;
        if after.is_none() || rows.len() >= limit {
            rows.truncate(limit);
            return Ok(rows);
        }
    }
}

pub(crate) async fn rollouts(
    client: &Client,
    query: &RolloutQuery,
    limit: usize,
) -> Result<Vec<RolloutView>, Failure> {
    all(limit, |page| {
        let query = RolloutQuery {
            page,
            ..query.clone()
        };
        async move { client.rollouts(&query).await }
    })
    .await
}

pub(crate) async fn devices(
    client: &Client,
    query: &DeviceQuery,
    limit: usize,
) -> Result<Vec<Device>, Failure> {
    all(limit, |page| {
        let query = DeviceQuery {
            page,
            ..query.clone()
        };
        async move { client.devices(&query).await }
    })
    .await
}

pub(crate) async fn policies(client: &Client) -> Result<Vec<Policy>, Failure> {
    all(
        usize::MAX,
        |page| async move { client.policies(&page).await },
    )
    .await
}

/// A rollout by id, by a part of it, or `latest`.
pub(crate) async fn rollout(client: &Client, wanted: &str) -> Result<RolloutId, Failure> {
    if let Ok(id) = wanted.parse() {
        return Ok(id);
    }
    let limit = if wanted == "latest" { 1 } else { usize::MAX };
    let known = rollouts(client, &RolloutQuery::default(), limit).await?;
    if wanted == "latest" {
        return known
            .first()
            .map(|view| view.rollout.id)
            .ok_or_else(|| Failure::not_found("there is no rollout yet"));
    }
    let ids = known.iter().map(|view| (view.rollout.id.0, None));
    only("rollout", wanted, ids).map(RolloutId)
}

/// A device by uuid, by a part of it, or by name.
pub(crate) async fn device(client: &Client, wanted: &str) -> Result<DeviceId, Failure> {
    if let Ok(id) = wanted.parse() {
        return Ok(id);
    }
    let known = devices(client, &DeviceQuery::default(), usize::MAX).await?;
    let ids = known
        .iter()
        .map(|device| (device.uuid.0, Some(device.name.as_str())));
    only("device", wanted, ids).map(DeviceId)
}

/// A policy by id, by a part of it, or by name.
pub(crate) async fn policy(client: &Client, wanted: &str) -> Result<Policy, Failure> {
    let known = policies(client).await?;
    let ids = known
        .iter()
        .map(|policy| (policy.id.0, Some(policy.spec.name.as_str())));
    let id = only("policy", wanted, ids)?;
    known
        .into_iter()
        .find(|policy| policy.id.0 == id)
        .ok_or_else(|| Failure::not_found(format!("there is no policy {wanted}")))
}

/// The one that has this name, or whose id begins or ends like this. A name goes before a part of an
/// id; neither is guessed at where several have it.
fn only<'a>(
    what: &str,
    wanted: &str,
    known: impl Iterator<Item = (Uuid, Option<&'a str>)>,
) -> Result<Uuid, Failure> {
    let digits = wanted.replace('-', "").to_ascii_lowercase();
    let (mut named, mut found) = (Vec::new(), Vec::new());
    for (id, name) in known {
        if name == Some(wanted) {
            named.push(id);
        }
        let text = id.simple().to_string();
        // One or two digits would be a guess.
        if digits.len() >= 3 && (text.starts_with(&digits) || text.ends_with(&digits)) {
            found.push(id);
        }
    }
    let (found, how) = if named.is_empty() {
        (found, "could be")
    } else {
        (named, "is the name of")
    };
    match found.as_slice() {
        [one] => Ok(*one),
        [] => Err(Failure::not_found(format!("there is no {what} {wanted}"))),
        many => {
            let mut text = format!(
                "{wanted} {how} {} {what}s; give more of the id:",
                many.len()
            );
            for id in many.iter().take(LISTED) {
                text.push_str(&format!("\n  {id}"));
            }
            if many.len() > LISTED {
                text.push_str("\n  …");
            }
            Err(Failure::usage(text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    const TWINS: [Uuid; 2] = [
        Uuid::from_u128(0xcc01 << 112),
        Uuid::from_u128(0xcc02 << 112),
    ];

    fn find(wanted: &str) -> Result<Uuid, Exit> {
        look_up(wanted).map_err(|failure| failure.exit)
    }

    fn look_up(wanted: &str) -> Result<Uuid, Failure> {
        let known = [
            (
                Uuid::from_u128(0xaaaa_0000_0000_0000_0000_0000_0000_1111),
                Some("gate"),
            ),
            (
                Uuid::from_u128(0xaaaa_0000_0000_0000_0000_0000_0000_2222),
                Some("pump"),
            ),
            (TWINS[0], Some("valve")),
            (TWINS[1], Some("valve")),
        ];
        only("device", wanted, known.into_iter())
    }

    #[test]
    fn ids_may_be_cut_at_either_end_as_long_as_one_is_meant() {
        assert_eq!(find("1111").unwrap().as_u128() & 0xffff, 0x1111);
        assert_eq!(find("pump").unwrap().as_u128() & 0xffff, 0x2222);
        assert_eq!(find("aaaa"), Err(Exit::Usage));
        assert_eq!(find("bbbb"), Err(Exit::NotFound));
        assert_eq!(find("1"), Err(Exit::NotFound));
    }

    #[test]
    fn a_name_of_several_is_refused_with_the_ids_of_all() {
        let failure = look_up("valve").unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        for id in TWINS {
            assert!(failure.message.contains(&id.to_string()), "{failure:?}");
        }
        assert_eq!(find("cc02").unwrap(), TWINS[1]);
    }
}
