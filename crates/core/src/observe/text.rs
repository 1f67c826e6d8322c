//! Texts from devices, cut to a bound.

/// An image reference at most: 255 of a path, a host, a tag of 128, a digest.
pub(super) const IMAGE: usize = 640;
/// A word: a status, a phase, an id.
pub(super) const WORD: usize = 128;
/// What an error or a probe says.
pub(super) const MESSAGE: usize = 2000;

/// At most so many bytes of a text, cut between characters.
pub(super) fn cut(text: &str, limit: usize) -> String {
    let mut end = text.len().min(limit);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}
