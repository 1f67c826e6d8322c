//! What an agent may be told about how it goes about things.

use serde::{Deserialize, Serialize};

/// How the agent goes about things. Times in seconds, sizes in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// What the names of containers and networks begin with. Names are the engine's, not the scope's:
    /// two agents on one engine need two prefixes.
    pub prefix: String,
    /// What a pull must leave free.
    pub reserve_bytes: u64,
    /// How long a container must run without a restart before it has proved itself.
    pub settle_seconds: u32,
    /// How long probes may take to pass, where the probes themselves do not ask for longer.
    pub deadline_seconds: u32,
    /// How many restarts before it has proved itself make a crash loop.
    pub crash_restarts: u32,
    /// The first pause after a failure that is tried again; it doubles each time.
    pub retry_first_seconds: u32,
    /// The longest pause after a failure.
    pub retry_longest_seconds: u32,
    /// The first pause between two restarts by the agent; it doubles each time.
    pub restart_first_seconds: u32,
    /// The longest pause between two restarts by the agent.
    pub restart_longest_seconds: u32,
    /// How long a container may take to stop where it does not say.
    pub grace_seconds: u32,
    /// How long the old container goes on after the new one was given the service's name, where the service does
    /// not say.
    pub drain_seconds: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            prefix: "windlass".to_owned(),
            // Enough for an engine and a system to go on writing their logs.
            reserve_bytes: 256 << 20,
            settle_seconds: 10,
            deadline_seconds: 300,
            crash_restarts: 3,
            retry_first_seconds: 15,
            retry_longest_seconds: 3600,
            restart_first_seconds: 10,
            restart_longest_seconds: 300,
            // What engines take by themselves.
            grace_seconds: 10,
            // A client that looked the name up before, or met the new one before its network was up, tries again
            // after one second and after three: TCP's first two repetitions.
            drain_seconds: 5,
        }
    }
}
