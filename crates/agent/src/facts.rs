//! What the device says of itself and of its load, where that is cheap: files of the kernel.

use crate::config::DeviceSection;
use serde_json::{Map, Value, json};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};

/// What does not change while the agent runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// A name for people.
    pub name: String,
    /// A type for people.
    pub kind: String,
    /// The operating system: `Debian GNU/Linux 12 (bookworm)`.
    pub os_version: Option<String>,
    /// The address of the first network card.
    pub mac_address: Option<String>,
    /// Its IANA time zone.
    pub time_zone: Option<String>,
    /// `linux/amd64`.
    pub platform: String,
}

impl Facts {
    /// Finds them out.
    #[must_use]
    pub fn read(given: &DeviceSection) -> Self {
        let host = text("/etc/hostname").or_else(|| text("/proc/sys/kernel/hostname"));
        Self {
            name: given
                .name
                .clone()
                .or(host)
                .unwrap_or_else(|| "device".to_owned()),
            kind: given.kind.clone(),
            os_version: os_version(),
            mac_address: mac_address(Path::new("/sys/class/net")),
            time_zone: given.time_zone.clone().or_else(time_zone),
            platform: platform(),
        }
    }
}

/// This program's version, as reports say it.
pub const AGENT_VERSION: &str = env!("CARGO_PKG_VERSION");

fn text(path: impl AsRef<Path>) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn os_version() -> Option<String> {
    let release = text("/etc/os-release").or_else(|| text("/usr/lib/os-release"))?;
    let name = release
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(name.trim_matches(['"', '\'']).to_owned())
}

fn time_zone() -> Option<String> {
    // The link is what the system goes by; the file beside it can be from long ago.
    let link = std::fs::read_link("/etc/localtime").ok();
    let linked = link.as_deref().and_then(Path::to_str).and_then(|path| {
        let (_, zone) = path.split_once("/zoneinfo/")?;
        Some(zone.to_owned())
    });
    linked.or_else(|| text("/etc/timezone"))
}

fn platform() -> String {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    };
    format!("{}/{architecture}", std::env::consts::OS)
}

fn mac_address(cards: &Path) -> Option<String> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(cards)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        // Real cards have a device behind them; bridges and loops have none.
        .filter(|card| card.join("device").exists())
        .collect();
    found.sort();
    found
        .iter()
        .filter_map(|card| text(card.join("address")))
        .find(|address| address != "00:00:00:00:00:00")
}

/// The address from which the server is reached; no packet is sent for that.
#[must_use]
pub fn local_ip() -> Option<String> {
    let socket = UdpSocket::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))).ok()?;
    // Any address that is not local will do (RFC 5737).
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    let address = socket.local_addr().ok()?.ip();
    let told = matches!(address, IpAddr::V4(v4) if !v4.is_unspecified());
    told.then(|| address.to_string())
}

/// Processor time since the system started, in ticks: used and all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticks {
    used: u64,
    all: u64,
}

impl Ticks {
    /// Reads `/proc/stat`.
    #[must_use]
    pub fn read() -> Option<Self> {
        Self::parse(&std::fs::read_to_string("/proc/stat").ok()?)
    }

    fn parse(stat: &str) -> Option<Self> {
        let first = stat.lines().next()?.strip_prefix("cpu ")?;
        let ticks: Vec<u64> = first
            .split_ascii_whitespace()
            .filter_map(|field| field.parse().ok())
            // What guests used is in the fields before.
            .take(8)
            .collect();
        let all: u64 = ticks.iter().sum();
        let idle: u64 = ticks.get(3..5)?.iter().sum();
        Some(Self {
            used: all.saturating_sub(idle),
            all,
        })
    }

    /// The share of the processors that was used between two readings, in percent.
    #[must_use]
    pub fn percent_since(self, before: Self) -> Option<u64> {
        let all = self.all.checked_sub(before.all).filter(|all| *all > 0)?;
        let used = self.used.saturating_sub(before.used).min(all);
        used.checked_mul(100).map(|used| used / all)
    }
}

/// The load as reports carry it: whole percents and bytes, so that noise makes no news.
#[must_use]
pub fn load(before: Option<Ticks>, storage: &Path) -> Map<String, Value> {
    let mut load = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            load.insert(name.to_owned(), value);
        }
    };
    let cpu = before.and_then(|before| Ticks::read()?.percent_since(before));
    put("cpu_usage", cpu.map(|percent| json!(percent)));
    if let Some((total, available)) = memory(&text("/proc/meminfo").unwrap_or_default()) {
        put("memory_total", Some(json!(total)));
        put("memory_usage", Some(json!(total.saturating_sub(available))));
    }
    if let Ok(disk) = rustix::fs::statvfs(storage) {
        let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
        put("storage_total", Some(json!(bytes(disk.f_blocks))));
        let used = disk.f_blocks.saturating_sub(disk.f_bfree);
        put("storage_usage", Some(json!(bytes(used))));
    }
    let uptime = text("/proc/uptime").and_then(|text| {
        let (whole, _) = text.split_once('.')?;
        whole.parse::<u64>().ok()
    });
    put("uptime", uptime.map(|seconds| json!(seconds)));
    put("local_ip", local_ip().map(Value::String));
    load
}

/// Bytes of memory: all, and what programs could have.
fn memory(meminfo: &str) -> Option<(u64, u64)> {
    let of = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
        Some(kib * 1024)
    };
    Some((of("MemTotal:")?, of("MemAvailable:")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_files_are_read() {
        let before = Ticks::parse("cpu  100 0 100 700 100 0 0 0 0 0\ncpu0 1 2\n").unwrap();
        let after = Ticks::parse("cpu  150 0 150 850 150 0 0 0 0 0\n").unwrap();
        assert_eq!(after.percent_since(before), Some(33));
        assert_eq!(before.percent_since(after), None);
        assert_eq!(Ticks::parse("garbage"), None);
        let meminfo = "MemTotal:       1000 kB\nMemFree: 1 kB\nMemAvailable:    400 kB\n";
        assert_eq!(memory(meminfo), Some((1_024_000, 409_600)));
        assert_eq!(memory("MemTotal: x"), None);
    }

    #[test]
    fn this_machine_can_be_told_of() {
        let facts = Facts::read(&DeviceSection::default());
        assert!(!facts.name.is_empty());
        assert!(facts.platform.starts_with("linux/"), "{facts:?}");
        let load = load(Ticks::read(), Path::new("/"));
        for name in ["memory_total", "storage_total", "uptime"] {
            assert!(load.get(name).and_then(Value::as_u64) > Some(0), "{load:?}");
        }
    }
}
