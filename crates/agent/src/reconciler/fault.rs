//! Points at which tests end the process as `kill -9` does. Not in release builds.

use windlass_reconcile::step::Step;

/// Where to end: `before-<step>` or `after-<step>`, with `:<n>` for the n-th time. Nowhere by default.
#[derive(Debug, Default)]
pub struct Fault {
    #[cfg(debug_assertions)]
    at: std::sync::Mutex<Option<(String, u32)>>,
}

impl Fault {
    /// Reads where.
    #[must_use]
    #[cfg(debug_assertions)]
    pub fn parse(text: &str) -> Self {
        let (point, count) = match text.split_once(':') {
            Some((point, count)) => (point, count.parse().unwrap_or(1)),
            None => (text, 1),
        };
        Self {
            at: std::sync::Mutex::new(Some((point.to_owned(), count))),
        }
    }

    /// A release has no such points.
    #[must_use]
    #[cfg(not(debug_assertions))]
    pub fn parse(_text: &str) -> Self {
        Self::default()
    }

    #[cfg(debug_assertions)]
    pub(super) fn at(&self, when: &str, step: &Step) {
        let Ok(mut at) = self.at.lock() else { return };
        if let Some((point, count)) = at.as_mut()
            && point.split_once('-') == Some((when, step.name()))
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                std::process::abort();
            }
        }
    }

    #[cfg(not(debug_assertions))]
    pub(super) fn at(&self, _when: &str, _step: &Step) {}
}
