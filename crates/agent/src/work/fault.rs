//! Points between two calls of one step, at which tests end the process as `kill -9` does. Not in release builds.

/// Where to end: `within-<step>:<n>` is after the n-th call of the process that changes something, counted over
/// steps of that name. Nowhere by default.
#[derive(Debug, Default)]
pub(super) struct Fault {
    #[cfg(debug_assertions)]
    at: std::sync::Mutex<Option<(String, u32)>>,
}

impl Fault {
    /// Reads where, of the variable that the loop's own points are read from.
    #[cfg(debug_assertions)]
    pub(super) fn from_environment() -> Self {
        let text = std::env::var("WINDLASS_TEST_AGENT_FAULT").unwrap_or_default();
        let at = text.strip_prefix("within-").map(|point| {
            let (step, count) = point.split_once(':').unwrap_or((point, "1"));
            (step.to_owned(), count.parse().unwrap_or(1))
        });
        Self {
            at: std::sync::Mutex::new(at),
        }
    }

    /// A release has no such points.
    #[cfg(not(debug_assertions))]
    pub(super) fn from_environment() -> Self {
        Self::default()
    }

    /// A call of this step has changed something.
    #[cfg(debug_assertions)]
    pub(super) fn within(&self, step: &str) {
        let Ok(mut at) = self.at.lock() else { return };
        if let Some((point, left)) = at.as_mut()
            && point == step
        {
            *left = left.saturating_sub(1);
            if *left == 0 {
                std::process::abort();
            }
        }
    }

    #[cfg(not(debug_assertions))]
    pub(super) fn within(&self, _step: &str) {}
}
