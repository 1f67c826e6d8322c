//! Which devices a rollout is about, and in which order they come.

use crate::build::Build;
use crate::db::Session;
use crate::error::{Result, parse};
use std::collections::BTreeMap;
use uuid::Uuid;
use windlass_types::ids::DeviceId;
use windlass_types::image::{Digest, Repository};
use windlass_types::policy::Filters;
use windlass_types::rollout::SkipReason;

/// The devices whose target runs one of these images, less those the filters leave out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// The repository the rollout is about.
    pub repository: Repository,
    /// The digest it ships: devices on which it failed before are skipped.
    pub digest: Option<Digest>,
    /// Images in use ([`images_in_use`]) that the rollout moves, as written in targets.
    pub moved: Vec<String>,
    /// Those of them that name the shipped version already.
    pub there: Vec<String>,
    /// Which devices.
    pub filters: Filters,
    /// The order: factor and offset, from the seed.
    pub order: (i64, i64),
}

/// The different images of a repository that targets of devices name, as written there. They are
/// few however many devices there are, so which of them a rollout moves is decided over this list.
///
/// # Errors
/// Whatever the database says.
pub async fn images_in_use(session: &mut Session, repository: &Repository) -> Result<Vec<String>> {
    let rows: Vec<(String,)> = session
        .sql(
            "SELECT DISTINCT s.image FROM target_services s WHERE s.repository = $1 \
             AND EXISTS (SELECT 1 FROM device_targets t WHERE t.state_id = s.state_id) ORDER BY 1",
        )
        .bind(repository.to_string())
        .all()
        .await?;
    Ok(rows.into_iter().map(|(image,)| image).collect())
}

impl Scope {
    /// A query of (uuid, reason, place): the reason why a device is skipped, and its place in the
    /// order of those that are not, or of those that are. There must be images to move.
    pub(super) fn query(&self, sql: &mut Build) {
        sql.text(
            "SELECT x.uuid, x.reason, row_number() OVER (\
               PARTITION BY CASE WHEN x.reason IS NULL THEN 0 ELSE 1 END \
               ORDER BY (x.shuffle * ",
        )
        .value(self.order.0)
        .text(" + ")
        .value(self.order.1)
        .text(
            ") % 2147483647, x.uuid) AS place FROM (\
               SELECT d.uuid, d.shuffle, CASE WHEN NOT d.enabled THEN 'disabled' \
                 WHEN f.device_uuid IS NOT NULL THEN 'failed_here_before' \
                 WHEN s.there = 1 THEN 'already_on_image' END AS reason \
               FROM (SELECT state_id, MIN(",
        );
        if self.there.is_empty() {
            sql.text("0");
        } else {
            sql.text("CASE WHEN image IN ")
                .list(self.there.iter().cloned())
                .text(" THEN 1 ELSE 0 END");
        }
        sql.text(") AS there FROM target_services WHERE repository = ")
            .value(self.repository.to_string())
            .text(" AND image IN ")
            .list(self.moved.iter().cloned())
            .text(
                " GROUP BY state_id) s \
                 JOIN device_targets t ON t.state_id = s.state_id \
                 JOIN devices d ON d.uuid = t.device_uuid \
                 LEFT JOIN device_failed_images f ON f.device_uuid = d.uuid AND f.digest = ",
            )
            .value(self.digest.as_ref().map(Digest::to_string));
        self.filter(sql);
        sql.text(") x");
    }

    fn filter(&self, sql: &mut Build) {
        let mut before = " WHERE ";
        if !self.filters.fleets.is_empty() {
            let fleets = self.filters.fleets.iter().map(|fleet| fleet.as_str());
            sql.text(before).text("d.fleet_id IN ").list(fleets);
            before = " AND ";
        }
        for (key, value) in &self.filters.tags {
            sql.text(before)
                .text(
                    "EXISTS (SELECT 1 FROM device_tags g WHERE g.device_uuid = d.uuid AND g.key = ",
                )
                .value(key.clone())
                .text(" AND g.value = ")
                .value(value.clone())
                .text(")");
            before = " AND ";
        }
        if !self.filters.uuids.is_empty() {
            let uuids = self.filters.uuids.iter().map(|device| device.0);
            sql.text(before).text("d.uuid IN ").list(uuids);
        }
    }
}

/// What a rollout of a scope would be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Preview {
    /// How many devices it would be admitted to, batch by batch.
    pub eligible: i64,
    /// How many it would skip, by reason.
    pub skipped: BTreeMap<SkipReason, i64>,
    /// The first devices: those in the batches by their place, then the skipped ones.
    pub devices: Vec<PreviewDevice>,
}

impl Preview {
    /// All devices in scope.
    #[must_use]
    pub fn total(&self) -> i64 {
        self.eligible + self.skipped.values().sum::<i64>()
    }
}

/// A device of a [`Preview`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreviewDevice {
    /// The device.
    pub device: DeviceId,
    /// Its place, from 1, in the order of the rollout; the batch is `batches::batch_of` of it. Of
    /// skipped devices it is the place among the skipped.
    pub place: i64,
    /// Why it would be skipped.
    pub skip: Option<SkipReason>,
}

/// What a rollout of this scope would be, with at most `limit` of its devices. Writes nothing.
///
/// # Errors
/// Whatever the database says.
pub async fn preview(session: &mut Session, scope: &Scope, limit: i64) -> Result<Preview> {
    let mut preview = Preview::default();
    if scope.moved.is_empty() {
        return Ok(preview);
    }
    let mut sql = Build::new(session.kind());
    sql.text("SELECT reason, COUNT(*) FROM (");
    scope.query(&mut sql);
    sql.text(") y GROUP BY reason");
    let counts: Vec<(Option<String>, i64)> = sql.on(session).all().await?;
    for (reason, devices) in counts {
        match reason {
            None => preview.eligible = devices,
            Some(reason) => {
                let reason = parse("device_rollout_status.reason", &reason)?;
                preview.skipped.insert(reason, devices);
            }
        }
    }
    if limit == 0 {
        return Ok(preview);
    }
    let mut sql = Build::new(session.kind());
    sql.text("SELECT uuid, reason, place FROM (");
    scope.query(&mut sql);
    sql.text(") y ORDER BY CASE WHEN reason IS NULL THEN 0 ELSE 1 END, place LIMIT ")
        .value(limit);
    let rows: Vec<(Uuid, Option<String>, i64)> = sql.on(session).all().await?;
    for (uuid, reason, place) in rows {
        let skip = reason
            .map(|reason| parse("device_rollout_status.reason", &reason))
            .transpose()?;
        preview.devices.push(PreviewDevice {
            device: DeviceId(uuid),
            place,
            skip,
        });
    }
    Ok(preview)
}
