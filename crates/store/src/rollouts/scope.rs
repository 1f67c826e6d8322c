//! Which devices a rollout is about, and in which order they come.

mod filter;
mod placed;
mod preview;
mod rivals;
mod spread;

pub(crate) use placed::place;
pub use preview::{Preview, PreviewDevice, preview};
pub use rivals::{Rival, conflicts};
pub use spread::Spread;
pub(super) use spread::{End, ends};

use crate::build::Build;
use crate::db::Session;
use crate::error::Result;
use crate::{image_facts, quarantine};
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;
use uuid::Uuid;
use windlass_core::versions::Rule;
use windlass_core::{batches, platforms, target};
use windlass_types::ids::{DeviceId, PolicyId, RolloutId};
use windlass_types::image::{Digest, Repository};
use windlass_types::policy::{Filters, RolloutRule, TagRule};

pub(super) use filter::{class_quarantined, filtered, in_penalty_box};

/// What is to ship, to whom and how: what a [`Scope`] is made from.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// The repository.
    pub repository: &'a Repository,
    /// The tag it ships.
    pub tag: Option<&'a str>,
    /// The digest it ships.
    pub digest: Option<&'a Digest>,
    /// Which services of the repository it moves.
    pub tag_rule: &'a TagRule,
    /// Which devices.
    pub filters: &'a Filters,
    /// Not those that policies asked before take.
    pub without: &'a [Filters],
    /// How it runs.
    pub rule: &'a RolloutRule,
    /// Who has a device that two rollouts of the image want.
    pub priority: i32,
    /// The policy; none for a rollout that a person orders, which may go to a lower version.
    pub policy: Option<PolicyId>,
    /// What the order is drawn from.
    pub seed: i64,
}

/// The devices whose target runs one of these images, less those the filters leave out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// The repository the rollout is about.
    pub repository: Repository,
    /// The digest it ships: devices on which it failed before are skipped, and those of a class for
    /// which it is in quarantine.
    pub digest: Option<Digest>,
    /// Images in use ([`images_in_use`]) that the rollout moves, as written in targets.
    pub moved: Vec<String>,
    /// Those of them that name the shipped version already.
    pub there: Vec<String>,
    /// Those of them that are a higher version, where the rollout may not go below that.
    pub higher: Vec<String>,
    /// Platforms as devices or their operators say them that cannot run what is shipped.
    pub refused: Vec<String>,
    /// Whether the digest may be in quarantine for a class of devices; where it is for none, nobody's class
    /// is looked at.
    pub classes: bool,
    /// Which devices.
    pub filters: Filters,
    /// Not those that one of these takes.
    pub without: Vec<Filters>,
    /// Active rollouts of the repository that have their devices before this one.
    pub held_by: Vec<RolloutId>,
    /// The tag whose values have their shares of the batches apart.
    pub batch_by: Option<String>,
    /// The tags that choose the devices of the first batch; empty where it is not chosen so.
    pub chosen: BTreeMap<String, String>,
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
    /// Every device that runs one of these images of a repository, in this order.
    #[must_use]
    pub fn new(repository: Repository, moved: Vec<String>, order: (i64, i64)) -> Self {
        Self {
            repository,
            digest: None,
            moved,
            there: Vec::new(),
            higher: Vec::new(),
            refused: Vec::new(),
            classes: true,
            filters: Filters::default(),
            without: Vec::new(),
            held_by: Vec::new(),
            batch_by: None,
            chosen: BTreeMap::new(),
            order,
        }
    }

    /// The scope of what is to ship, as the store is now.
    ///
    /// # Errors
    /// Whatever the database says.
    pub async fn of(session: &mut Session, wanted: &Wanted<'_>) -> Result<Self> {
        let images = images_in_use(session, wanted.repository).await?;
        let by_date = Rule::new(wanted.tag_rule).is_ok_and(|rule| rule.is_by_build_date());
        let built = if by_date {
            image_facts::built(session, wanted.repository).await?
        } else {
            BTreeMap::new()
        };
        let sorted = target::moved(
            &images,
            wanted.repository,
            wanted.tag_rule,
            wanted.tag,
            wanted.digest,
            &|digest| built.get(digest).copied(),
        );
        let down = wanted.rule.allow_downgrade || wanted.policy.is_none();
        Ok(Self {
            repository: wanted.repository.clone(),
            digest: wanted.digest.cloned(),
            moved: sorted.moved,
            there: sorted.there,
            higher: if down { Vec::new() } else { sorted.higher },
            refused: refused(session, wanted).await?,
            classes: match wanted.digest {
                Some(digest) => quarantine::for_classes(session, digest).await?,
                None => false,
            },
            filters: wanted.filters.clone(),
            without: wanted.without.to_vec(),
            held_by: rivals::above(session, wanted).await?,
            batch_by: wanted.rule.batch_by.clone(),
            chosen: batches::chosen_tags(wanted.rule),
            order: batches::coefficients(wanted.seed),
        })
    }

    /// A query of (uuid, reason, value, chosen, version, place): what [`Self::rows`] has of a device, and its
    /// place among those of the same value that are not skipped, or that are.
    pub(super) fn query(&self, sql: &mut Build, now: DateTime<Utc>, only: Option<&[DeviceId]>) {
        sql.text(
            "SELECT x.uuid, x.reason, x.value, x.chosen, x.version, row_number() OVER (\
               PARTITION BY CASE WHEN x.reason IS NULL THEN 0 ELSE 1 END, x.value \
               ORDER BY x.chosen DESC, x.order_key, x.uuid) AS place FROM (",
        );
        self.rows(sql, now, only);
        sql.text(") x");
    }

    /// A query of (uuid, order_key, value, chosen, reason, version): where the device stands in the order of
    /// the rollout, before whoever has a higher number; the value it has of the tag of the batches; whether
    /// it is chosen for the first batch; the reason why it is skipped; and its target's version. With `only`
    /// it is about these devices. There must be images to move.
    pub(super) fn rows(&self, sql: &mut Build, now: DateTime<Utc>, only: Option<&[DeviceId]>) {
        sql.text("SELECT d.uuid, (d.shuffle * ")
            .value(self.order.0)
            .text(" + ")
            .value(self.order.1)
            .text(") % 2147483647 AS order_key, t.version, ");
        self.value_of(sql);
        sql.text(" AS value, ");
        self.is_chosen(sql);
        sql.text(" AS chosen, ");
        self.reason(sql);
        sql.text(" AS reason FROM ");
        self.states(sql);
        sql.text(
            " JOIN device_targets t ON t.state_id = s.state_id \
             JOIN devices d ON d.uuid = t.device_uuid \
             LEFT JOIN device_failed_images f ON f.device_uuid = d.uuid AND f.digest = ",
        )
        .value(self.digest.as_ref().map(Digest::to_string))
        .text(" LEFT JOIN device_penalties b ON b.device_uuid = d.uuid AND b.until > ")
        .value(now)
        .text(" WHERE ");
        filtered(sql, "d", &self.filters, &self.without);
        if let Some(only) = only {
            sql.text(" AND d.uuid IN ")
                .list(only.iter().map(|device| device.0));
        }
    }

    fn value_of(&self, sql: &mut Build) {
        match &self.batch_by {
            Some(key) => sql
                .text(
                    "(SELECT g.value FROM device_tags g WHERE g.device_uuid = d.uuid AND g.key = ",
                )
                .value(key.clone())
                .text(")"),
            None => sql.text("CAST(NULL AS TEXT)"),
        };
    }

    fn is_chosen(&self, sql: &mut Build) {
        if self.chosen.is_empty() {
            sql.text("0");
            return;
        }
        let tags = Filters {
            tags: self.chosen.clone(),
            ..Filters::default()
        };
        sql.text("CASE WHEN ");
        filtered(sql, "d", &tags, &[]);
        sql.text(" THEN 1 ELSE 0 END");
    }

    fn reason(&self, sql: &mut Build) {
        sql.text(
            "CASE WHEN NOT d.enabled THEN 'disabled' \
             WHEN b.device_uuid IS NOT NULL THEN 'penalty_box' ",
        );
        if let (Some(digest), true) = (&self.digest, self.classes) {
            sql.text("WHEN ");
            class_quarantined(sql, "d.uuid", digest);
            sql.text(" THEN 'quarantined' ");
        }
        sql.text(
            "WHEN f.device_uuid IS NOT NULL THEN 'failed_here_before' \
             WHEN s.there = 1 THEN 'already_on_image' WHEN s.higher = 1 THEN 'downgrade' ",
        );
        if !self.refused.is_empty() {
            sql.text(
                "WHEN COALESCE((SELECT g.value FROM device_tags g WHERE g.device_uuid = d.uuid \
                 AND g.key = 'platform'), d.platform) IN ",
            )
            .list(self.refused.iter().cloned())
            .text(" THEN 'other_platform' ");
        }
        if !self.held_by.is_empty() {
            sql.text(
                "WHEN EXISTS (SELECT 1 FROM device_rollout_status o WHERE o.device_uuid = d.uuid \
                 AND o.status <> 'skipped' AND o.rollout_id IN ",
            )
            .list(self.held_by.iter().map(|rollout| rollout.0))
            .text(") THEN 'higher_priority' ");
        }
        sql.text("END");
    }

    /// The states with services that are moved; a state is there once all of them are, and higher where
    /// one of them is.
    fn states(&self, sql: &mut Build) {
        sql.text("(SELECT state_id, MIN(");
        one_of(sql, &self.there);
        sql.text(") AS there, MAX(");
        one_of(sql, &self.higher);
        sql.text(") AS higher FROM target_services WHERE repository = ")
            .value(self.repository.to_string())
            .text(" AND image IN ")
            .list(self.moved.iter().cloned())
            .text(" GROUP BY state_id) s");
    }
}

/// Of the platforms that devices have, those that an image is not made for, as far as its registry has
/// told.
async fn refused(session: &mut Session, wanted: &Wanted<'_>) -> Result<Vec<String>> {
    let Some(digest) = wanted.digest else {
        return Ok(Vec::new());
    };
    let known = image_facts::get(session, wanted.repository, digest).await?;
    match known.and_then(|known| known.facts) {
        Some(facts) if !facts.platforms.is_empty() => {
            let said = image_facts::platforms(session).await?;
            Ok(platforms::refused(&said, &facts.platforms))
        }
        _ => Ok(Vec::new()),
    }
}

fn one_of(sql: &mut Build, images: &[String]) {
    if images.is_empty() {
        sql.text("0");
    } else {
        sql.text("CASE WHEN image IN ")
            .list(images.iter().cloned())
            .text(" THEN 1 ELSE 0 END");
    }
}

/// A device's row of a scope's query.
#[derive(sqlx::FromRow)]
pub(super) struct ScopeRow {
    pub(super) uuid: Uuid,
    pub(super) reason: Option<String>,
    pub(super) value: Option<String>,
    pub(super) place: i64,
}
