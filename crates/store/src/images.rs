//! Versions of images that were seen, and what is asked by hand.
