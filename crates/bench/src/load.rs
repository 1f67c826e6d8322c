//! How much of the machine others had while something was measured, from `/proc`.

use std::collections::HashMap;
use std::fs;

/// Shares of all cores above which figures are not trusted.
const OTHERS: f64 = 0.05;
const STOLEN: f64 = 0.02;

/// The clocks of the machine and of our own processes at one moment, in ticks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Watch {
    /// Of the process whose descendants are ours.
    family: u32,
    total: u64,
    busy: u64,
    stolen: u64,
    ours: u64,
}

impl Watch {
    /// Begins to watch; nothing where there is no `/proc`.
    pub(crate) fn start(family: u32) -> Option<Self> {
        let text = fs::read_to_string("/proc/stat").ok()?;
        let clock = cores_clock(&text)?;
        Some(Self {
            family,
            total: clock.total,
            busy: clock.busy,
            stolen: clock.stolen,
            ours: family_ticks(&processes(), family),
        })
    }

    /// What speaks against what was measured since.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let Some(now) = Self::start(self.family) else {
            return Vec::new();
        };
        let total = now.total.saturating_sub(self.total).max(1) as f64;
        let ours = now.ours.saturating_sub(self.ours);
        let others = now.busy.saturating_sub(self.busy).saturating_sub(ours) as f64 / total;
        let stolen = now.stolen.saturating_sub(self.stolen) as f64 / total;
        let mut complaints = Vec::new();
        if others > OTHERS {
            let percent = others * 100.0;
            complaints.push(format!("other programs had {percent:.0} % of the cores"));
        }
        if stolen > STOLEN {
            let percent = stolen * 100.0;
            complaints.push(format!(
                "other machines had {percent:.0} % of the cores (steal)"
            ));
        }
        complaints
    }
}

struct Clock {
    total: u64,
    busy: u64,
    stolen: u64,
}

/// The first line of `/proc/stat`: user nice system idle iowait irq softirq steal, in ticks. Interrupts
/// count for nobody: they are the network's, and the network is ours.
fn cores_clock(text: &str) -> Option<Clock> {
    let line = text.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<u64> = line
        .split_whitespace()
        .take(8)
        .filter_map(|field| field.parse().ok())
        .collect();
    let [user, nice, system, _, _, _, _, stolen] = ticks[..] else {
        return None;
    };
    Some(Clock {
        total: ticks.iter().sum(),
        busy: user + nice + system,
        stolen,
    })
}

/// Parent and time of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Process {
    parent: u32,
    ticks: u64,
}

fn processes() -> HashMap<u32, Process> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return HashMap::new();
    };
    entries
        .filter_map(|entry| {
            let id: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            // One that ended meanwhile is in its parent's time.
            let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
            Some((id, process(&text)?))
        })
        .collect()
}

/// `/proc/<id>/stat`: after the name in brackets come state and parent, and as the 12th to the 15th its
/// own time and that of its children that have ended (proc_pid_stat(5)).
fn process(text: &str) -> Option<Process> {
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let parent = fields.get(1)?.parse().ok()?;
    let times = fields.get(11..15)?;
    let ticks = times.iter().filter_map(|time| time.parse::<u64>().ok());
    Some(Process {
        parent,
        ticks: ticks.sum(),
    })
}

/// The time of a process and all of its descendants.
fn family_ticks(all: &HashMap<u32, Process>, root: u32) -> u64 {
    let belongs = |mut id: u32| {
        // A process that ends while it is looked at can leave a ring behind; no family is this deep.
        for _ in 0..64 {
            if id == root {
                return true;
            }
            match all.get(&id) {
                Some(process) => id = process.parent,
                None => return false,
            }
        }
        false
    };
    all.iter()
        .filter(|(id, _)| belongs(**id))
        .map(|(_, process)| process.ticks)
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let text = "42 (a b) c) S 7 42 42 0 -1 4194560 90 800 0 0 5 6 7 8 20 0 1 0 1 2 3";
        assert_eq!(
            process(text),
            Some(Process {
                parent: 7,
                ticks: 26
            })
        );
        assert_eq!(process("nothing"), None);
    }

    #[test]
    fn a_family_is_the_process_and_its_descendants() {
        let all: HashMap<u32, Process> = [(1, 0), (10, 1), (11, 10), (12, 11), (20, 1)]
            .into_iter()
            .map(|(id, parent)| {
                (
                    id,
                    Process {
                        parent,
                        ticks: u64::from(id),
                    },
                )
            })
            .collect();
        assert_eq!(family_ticks(&all, 10), 33);
    }

    #[test]
    fn the_clock_of_the_cores_is_read() {
        let clock = cores_clock("cpu  10 20 30 40 5 1 2 3 0 0\ncpu0 1 2 3\n").unwrap();
        assert_eq!((clock.total, clock.busy, clock.stolen), (111, 60, 3));
        assert!(cores_clock("intr 1 2 3").is_none());
    }
}
