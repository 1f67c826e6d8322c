//! Windows on the days on which clocks change, in zones that are special.

mod laws;
mod table;

use super::*;

fn window(zone: Option<&str>, days: &[Day], start: &str, end: &str) -> MaintenanceWindow {
    MaintenanceWindow {
        time_zone: zone.map(str::to_owned),
        days: days.to_vec(),
        start: start.to_owned(),
        end: end.to_owned(),
    }
}

fn utc(text: &str) -> DateTime<Utc> {
    format!("{text}:00Z").parse().unwrap()
}
