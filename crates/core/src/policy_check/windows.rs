//! Maintenance windows.

use super::Fields;
use crate::windows;
use windlass_types::policy::MaintenanceWindow;

/// Each of them is looked at for each time zone whenever a batch may go on.
const MAX_WINDOWS: usize = 50;

pub(super) fn check(fields: &mut Fields, given: &[MaintenanceWindow]) {
    if given.len() > MAX_WINDOWS {
        fields.invalid(
            "maintenance_windows",
            format!("at most {MAX_WINDOWS}, not {}", given.len()),
        );
    }
    for (at, window) in given.iter().enumerate() {
        let field = format!("maintenance_windows[{at}]");
        if let Some(zone) = &window.time_zone
            && !windows::is_zone(zone)
        {
            fields.invalid(
                format!("{field}.time_zone"),
                format!("{zone:?} is no IANA time zone; one is Europe/Berlin, another UTC"),
            );
        }
        for (name, text) in [("start", &window.start), ("end", &window.end)] {
            if windows::time(text).is_none() {
                fields.invalid(
                    format!("{field}.{name}"),
                    format!("a time is HH:MM from 00:00 to 23:59, not {text:?}"),
                );
            }
        }
        for (place, day) in window.days.iter().enumerate() {
            if window.days.iter().take(place).any(|before| before == day) {
                fields.invalid(
                    format!("{field}.days[{place}]"),
                    format!("{day} is there already"),
                );
            }
        }
    }
}
