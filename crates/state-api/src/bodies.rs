//! Target states as text, ready to be sent: a rollout gives few states to many devices.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use windlass_service::Problem;
use windlass_store::{Session, targets};
use windlass_types::ids::StateId;

/// Bytes kept at most. States are a few kilobytes each, so that is thousands of them.
const MOST: usize = 32 * 1024 * 1024;

#[derive(Default)]
struct Kept {
    texts: HashMap<StateId, Arc<str>>,
    bytes: usize,
}

/// Texts of target states by their ids. An id is made from the content, so none is ever stale.
#[derive(Default)]
pub(crate) struct Bodies(Mutex<Kept>);

impl Bodies {
    /// The fields of this state without the braces around them: `"apps":{…},"config":{…}`.
    ///
    /// # Errors
    /// What the store says.
    pub(crate) async fn get(
        &self,
        session: &mut Session,
        id: StateId,
    ) -> Result<Arc<str>, Problem> {
        if let Some(text) = self.kept().texts.get(&id) {
            return Ok(Arc::clone(text));
        }
        let state = targets::states(session, &[id])
            .await?
            .remove(&id)
            .unwrap_or_default();
        let whole = serde_json::to_string(&state).map_err(Problem::internal)?;
        let inner = whole.strip_prefix('{').and_then(|s| s.strip_suffix('}'));
        let text: Arc<str> = inner.unwrap_or_default().into();
        let mut kept = self.kept();
        if kept.bytes + text.len() > MOST {
            // Those in use come back at once; that is cheaper than knowing which they are.
            *kept = Kept::default();
        }
        if kept.texts.insert(id, Arc::clone(&text)).is_none() {
            kept.bytes += text.len();
        }
        Ok(text)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
