//! Conditions on devices, as pieces of statements.

use crate::build::Build;
use crate::quarantine;
use chrono::{DateTime, Utc};
use windlass_types::image::Digest;
use windlass_types::policy::Filters;

/// That the device of this alias is taken by the filters and by none of the others.
pub(in crate::rollouts) fn filtered(
    sql: &mut Build,
    device: &'static str,
    filters: &Filters,
    without: &[Filters],
) {
    takes(sql, device, filters);
    for other in without {
        sql.text(" AND NOT (");
        takes(sql, device, other);
        sql.text(")");
    }
}

fn takes(sql: &mut Build, device: &'static str, filters: &Filters) {
    // Something to begin with; both databases see through it.
    sql.text("1 = 1");
    if !filters.fleets.is_empty() {
        let fleets = filters.fleets.iter().map(|fleet| fleet.as_str());
        sql.text(" AND ")
            .text(device)
            .text(".fleet_id IN ")
            .list(fleets);
    }
    for (key, value) in &filters.tags {
        sql.text(" AND EXISTS (SELECT 1 FROM device_tags g WHERE g.device_uuid = ")
            .text(device)
            .text(".uuid AND g.key = ")
            .value(key.clone())
            .text(" AND g.value = ")
            .value(value.clone())
            .text(")");
    }
    if !filters.uuids.is_empty() {
        let uuids = filters.uuids.iter().map(|device| device.0);
        sql.text(" AND ").text(device).text(".uuid IN ").list(uuids);
    }
}

/// That the digest is in quarantine for a class of devices that this one belongs to.
pub(in crate::rollouts) fn class_quarantined(sql: &mut Build, uuid: &'static str, digest: &Digest) {
    sql.text("EXISTS (SELECT 1 FROM (SELECT CAST(")
        .value(digest.to_string())
        .text(" AS TEXT) AS digest) z WHERE ")
        .text(&quarantine::of_class(uuid, "z.digest"))
        .text(")");
}

/// That the device is set aside.
pub(in crate::rollouts) fn in_penalty_box(sql: &mut Build, uuid: &'static str, now: DateTime<Utc>) {
    sql.text("EXISTS (SELECT 1 FROM device_penalties p WHERE p.device_uuid = ")
        .text(uuid)
        .text(" AND p.until > ")
        .value(now)
        .text(")");
}
