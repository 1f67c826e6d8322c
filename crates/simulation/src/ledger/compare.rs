//! What is stored against what the log tells.

use super::Ledger;
use crate::broken::{Broken, Held, Law};
use crate::model::{Row, rollout_id};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;
use windlass_store::Store;
use windlass_types::ids::DeviceId;

type RolloutRow = (Uuid, String, Option<String>, i64);
type DeviceRow = (
    Uuid,
    Uuid,
    i64,
    String,
    Option<String>,
    Option<i64>,
    Option<String>,
);

impl Ledger {
    /// Compares everything.
    ///
    /// # Errors
    /// The first thing that the log does not tell.
    pub(crate) async fn compare(&self, store: &Store) -> Held {
        let mut read = store.read().await?;
        let rollouts: Vec<RolloutRow> = read
            .sql("SELECT id, status, status_reason, current_batch FROM image_rollouts ORDER BY id")
            .all()
            .await?;
        let rows: Vec<DeviceRow> = read
            .sql(
                "SELECT rollout_id, device_uuid, batch, status, reason, target_version, verdict \
                 FROM device_rollout_status ORDER BY rollout_id, device_uuid",
            )
            .all()
            .await?;
        for (id, status, reason, batch) in &rollouts {
            let id = rollout_id(*id);
            let Some(told) = self.model.rollouts.get(&id) else {
                return Err(untold(format!("rollout {id} is not in the log")));
            };
            let says = (told.status.as_str(), told.reason.as_deref(), told.batch);
            let is = (status.as_str(), reason.as_deref(), *batch);
            if says != is {
                return Err(untold(format!(
                    "rollout {id} is {is:?}, the log says {says:?}"
                )));
            }
        }
        let mut untouched: BTreeMap<Uuid, BTreeMap<(String, Option<String>), i64>> =
            BTreeMap::new();
        for (rollout, device, batch, status, reason, target_version, verdict) in rows {
            let told = self.model.rollouts.get(&rollout_id(rollout));
            let Some(told) = told.and_then(|told| told.rows.get(&DeviceId(device))) else {
                *untouched
                    .entry(rollout)
                    .or_default()
                    .entry((status, reason))
                    .or_default() += 1;
                continue;
            };
            let is = Row {
                status,
                batch,
                target_version,
                reason,
                verdict,
            };
            // Whether a device on its way back is silent is looked up, not told: it is no change of state.
            let mut told = told.clone();
            if is.status == "rolling_back" && is.reason.as_deref() == Some("unreachable") {
                told.reason.clone_from(&is.reason);
            }
            if told != is {
                return Err(untold(format!(
                    "device {device} in rollout {rollout} is {is:?}, the log says {told:?}"
                )));
            }
        }
        for (rollout, counts) in untouched {
            self.compare_untouched(rollout, &counts)?;
        }
        self.compare_rest(&mut read).await
    }

    /// Devices that nothing has happened to are told as numbers.
    fn compare_untouched(
        &self,
        rollout: Uuid,
        counts: &BTreeMap<(String, Option<String>), i64>,
    ) -> Held {
        let Some(told) = self.model.rollouts.get(&rollout_id(rollout)) else {
            return Ok(());
        };
        for ((status, reason), count) in counts {
            let says = match (status.as_str(), reason.as_deref()) {
                ("pending", None) if !told.let_go => *count,
                ("skipped", Some("rollout_ended")) if told.let_go => *count,
                ("skipped", Some(reason)) => told.left_out.get(reason).copied().unwrap_or(0),
                _ => 0,
            };
            // Of those left out from the beginning some may have been taken in since.
            if *count > says {
                return Err(untold(format!(
                    "{count} devices of rollout {rollout} are {status} ({reason:?}), the log tells of {says}"
                )));
            }
        }
        Ok(())
    }

    async fn compare_rest(&self, read: &mut windlass_store::Session) -> Held {
        let quarantine: Vec<(String, String, String)> = read
            .sql("SELECT digest, tag_key, tag_value FROM quarantined_digests")
            .all()
            .await?;
        differ(
            "quarantine",
            &quarantine.into_iter().collect(),
            &self.model.quarantine,
        )?;
        let freezes: Vec<(Uuid,)> = read
            .sql("SELECT id FROM freezes WHERE lifted_at IS NULL")
            .all()
            .await?;
        let freezes: BTreeSet<String> = freezes.into_iter().map(|(id,)| id.to_string()).collect();
        differ("open freezes", &freezes, &self.model.freezes)?;
        let approvals: Vec<(Uuid, i64, String)> = read
            .sql("SELECT rollout_id, batch, actor FROM rollout_approvals")
            .all()
            .await?;
        let approvals = approvals
            .into_iter()
            .map(|(id, batch, actor)| (rollout_id(id), batch, actor))
            .collect();
        differ("approvals", &approvals, &self.model.approvals)?;
        let versions: Vec<(Uuid, i64)> = read
            .sql("SELECT device_uuid, version FROM device_targets")
            .all()
            .await?;
        let versions: BTreeSet<(DeviceId, i64)> = versions
            .into_iter()
            .map(|(id, v)| (DeviceId(id), v))
            .collect();
        let told = self
            .model
            .versions
            .iter()
            .map(|(id, v)| (*id, *v))
            .collect();
        differ("versions of targets", &versions, &told)
    }
}

fn untold(detail: String) -> Broken {
    Broken::law(Law::LogTellsAll, detail)
}

fn differ<T: Ord + std::fmt::Debug>(what: &str, stored: &BTreeSet<T>, told: &BTreeSet<T>) -> Held {
    let untold_: Vec<&T> = stored.difference(told).collect();
    let gone: Vec<&T> = told.difference(stored).collect();
    if untold_.is_empty() && gone.is_empty() {
        return Ok(());
    }
    Err(untold(format!(
        "{what}: stored and not told {untold_:?}, told and not stored {gone:?}"
    )))
}
