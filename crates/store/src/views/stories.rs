//! What an answer to "why" rests on, read in a bounded number of statements: a device has at most a
//! few places told of, and only rollouts that have not ended are read in full.

mod device;
mod image;
mod rollout;

pub use device::device_story;
pub use image::image_story;
pub use rollout::{rollout_stories, rollout_story};
