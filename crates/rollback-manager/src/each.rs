//! One after the other, so that what is wrong with one rollout stops no other.

use windlass_store::{Error, Result};
use windlass_types::ids::RolloutId;

/// The first thing that went wrong in a pass over rollouts.
#[derive(Debug, Default)]
pub(crate) struct Trouble(Option<Error>);

impl Trouble {
    /// Notes what became of one rollout; what it gave, where nothing went wrong.
    pub(crate) fn note<T>(&mut self, rollout: RolloutId, result: Result<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                tracing::warn!(rollout.id = %rollout, %error, "a rollout is passed over");
                self.0.get_or_insert(error);
                None
            }
        }
    }

    /// The end of the pass.
    ///
    /// # Errors
    /// The first thing that went wrong.
    pub(crate) fn end<T>(self, value: T) -> Result<T> {
        self.0.map_or(Ok(value), Err)
    }
}
