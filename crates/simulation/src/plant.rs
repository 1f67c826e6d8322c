//! Faults planted on purpose: a step that stands in for a real one and does it wrong. That they are
//! found shows that the laws can fail.

use crate::broken::Held;
use crate::world::World;

/// A planted fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    /// Admits by what was read before a pause.
    IgnoresPause,
    /// Puts devices back on the tag that the repository had before, whatever each of them proved.
    TagOfBefore,
    /// Counts devices in flight in memory, which a crash forgets.
    CountsInMemory,
}

/// Does what is planted, where something is.
pub(crate) async fn step(world: &mut World) -> Held {
    match world.plant {
        None => Ok(()),
        Some(_) => Ok(()),
    }
}
