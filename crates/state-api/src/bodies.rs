//! Target states as text, ready to be sent: a rollout gives few states to many devices.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use windlass_store::{Error, Session, targets};
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
    /// The fields of these states without the braces around them: `"apps":{…},"config":{…}`.
    ///
    /// # Errors
    /// What the store says.
    pub(crate) async fn get(
        &self,
        session: &mut Session,
        ids: impl Iterator<Item = StateId>,
    ) -> Result<BTreeMap<StateId, Arc<str>>, Error> {
        let (mut texts, mut missing) = (BTreeMap::new(), Vec::new());
        {
            let kept = self.kept();
            for id in ids {
                if texts.contains_key(&id) {
                    continue;
                }
                let text = kept.texts.get(&id).map(Arc::clone);
                if text.is_none() {
                    missing.push(id);
                }
                texts.insert(id, text.unwrap_or_else(|| Arc::from("")));
            }
        }
        if missing.is_empty() {
            return Ok(texts);
        }
        let mut states = targets::states(session, &missing).await?;
        for id in missing {
            let state = states.remove(&id).unwrap_or_default();
            let whole =
                serde_json::to_string(&state).map_err(|error| Error::Encode(error.into()))?;
            let inner = whole.strip_prefix('{').and_then(|s| s.strip_suffix('}'));
            let text: Arc<str> = inner.unwrap_or_default().into();
            self.keep(id, &text);
            texts.insert(id, text);
        }
        Ok(texts)
    }

    fn keep(&self, id: StateId, text: &Arc<str>) {
        let mut kept = self.kept();
        if kept.bytes + text.len() > MOST {
            // Those in use come back at once; that is cheaper than knowing which they are.
            *kept = Kept::default();
        }
        if kept.texts.insert(id, Arc::clone(text)).is_none() {
            kept.bytes += text.len();
        }
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
