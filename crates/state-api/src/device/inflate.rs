//! Inflating a small body in one go. What a decompressor keeps is 40 KiB and more, which costs more to make than a
//! report to inflate; so each thread has one and uses it again.

use flate2::{Crc, Decompress, FlushDecompress, Status};
use std::cell::RefCell;

/// Bytes of a body, inflated, that are made in one go at most.
const SMALL: usize = 64 * 1024;
/// The beginning of a gzip file with nothing optional in it (RFC 1952, section 2.3).
const BEGINNING: [u8; 4] = [0x1f, 0x8b, 8, 0];
/// That and time, flags and system; then, behind what is deflated, checksum and length.
const HEADER: usize = 10;
const TRAILER: usize = 8;

thread_local! {
    static INFLATER: RefCell<Decompress> = RefCell::new(Decompress::new(false));
}

/// What these bytes are when inflated, where they are one whole small gzip file of the plain kind. None means
/// that they are to be read the long way, which takes every kind and tells what is wrong.
pub(crate) fn small(bytes: &[u8]) -> Option<Vec<u8>> {
    let (header, rest) = bytes.split_at_checked(HEADER)?;
    let (deflated, trailer) = rest.split_last_chunk::<TRAILER>()?;
    let [c0, c1, c2, c3, l0, l1, l2, l3] = *trailer;
    let length = usize::try_from(u32::from_le_bytes([l0, l1, l2, l3])).ok()?;
    if !header.starts_with(&BEGINNING) || length > SMALL {
        return None;
    }
    // No more is made than the length that they name.
    let mut inflated = Vec::with_capacity(length);
    let whole = INFLATER.with_borrow_mut(|inflater| {
        inflater.reset(false);
        let status = inflater.decompress_vec(deflated, &mut inflated, FlushDecompress::Finish);
        matches!(status, Ok(Status::StreamEnd))
            && usize::try_from(inflater.total_in()) == Ok(deflated.len())
    });
    let mut checksum = Crc::new();
    checksum.update(&inflated);
    let whole =
        whole && inflated.len() == length && checksum.sum() == u32::from_le_bytes([c0, c1, c2, c3]);
    whole.then_some(inflated)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::write::GzEncoder;
    use flate2::{Compression, GzBuilder};
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn one_after_the_other_comes_out_as_it_went_in() {
        for text in ["", "a", &"abc".repeat(10_000), "a"] {
            assert_eq!(small(&gzip(text.as_bytes())).unwrap(), text.as_bytes());
        }
    }

    #[test]
    fn what_is_larger_or_of_another_kind_or_broken_is_left_to_the_long_way() {
        let good = gzip(b"some text");
        let named = GzBuilder::new().filename("a");
        let mut named = named.write(Vec::new(), Compression::default());
        named.write_all(b"some text").unwrap();
        let changed = |at: usize| {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            bytes
        };
        for bytes in [
            Vec::new(),
            b"plain".to_vec(),
            good[..good.len() - 1].to_vec(),
            [&good[..], &good[..]].concat(),
            [&good[..], b"more"].concat(),
            named.finish().unwrap(),
            gzip(&[0; SMALL + 1]),
            changed(0),
            changed(good.len() - 1),
            changed(good.len() - 4),
            changed(good.len() - 8),
            changed(14),
        ] {
            assert_eq!(small(&bytes), None, "{bytes:?}");
        }
        assert_eq!(
            small(&good).unwrap(),
            b"some text",
            "nothing is left behind"
        );
    }
}
