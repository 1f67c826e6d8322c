//! Bodies that devices send: often gzip, never larger than a limit, checked while they are inflated;
//! and no more of them at once than there is room for.

use super::inflate;
use actix_web::error::PayloadError;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use actix_web::{HttpRequest, web};
use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use futures_util::{Stream, StreamExt};
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use windlass_service::Problem;

/// Bytes of a body at most, inflated: the device protocol's number.
pub(crate) const LIMIT: usize = 10 * 1024 * 1024;

/// How long a sender may be silent in the middle of a body.
const SILENCE: Duration = Duration::from_secs(30);
/// What room is counted in.
const BLOCK: usize = 4096;
/// Bytes of bodies, inflated, that are held at once: read, parsed or on their way to the store. Parsed
/// they take a few times as much.
const ROOM: usize = 256 * 1024 * 1024;

/// The room for bodies, as blocks.
pub(crate) fn room() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(ROOM / BLOCK))
}

/// A body, inflated, and the room it takes, to be kept as long as anything of it is.
#[derive(Debug)]
pub(crate) struct Body {
    /// What was sent.
    pub(crate) bytes: Vec<u8>,
    /// Its room.
    pub(crate) room: OwnedSemaphorePermit,
}

/// Bytes that a body's room stands for.
pub(crate) fn held(room: &OwnedSemaphorePermit) -> usize {
    room.num_permits() * BLOCK
}

/// Takes bytes up to a limit; the first one beyond it is an error, so that nothing is inflated only
/// to be thrown away.
struct Limited {
    bytes: Vec<u8>,
    limit: usize,
    exceeded: bool,
}

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.limit - self.bytes.len() {
            self.exceeded = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How a body is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Plain,
    Gzip,
}

impl Encoding {
    fn of(name: &str) -> Result<Self, Problem> {
        match name.to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(Self::Plain),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            other => Err(Problem::UnsupportedMedia(format!(
                "the content encoding {other:?} is not taken; send gzip, or none"
            ))),
        }
    }
}

enum Sink {
    Plain(Limited),
    Gzip(MultiGzDecoder<Limited>),
}

impl Sink {
    fn new(encoding: Encoding, limit: usize) -> Self {
        let limited = Limited {
            bytes: Vec::new(),
            limit,
            exceeded: false,
        };
        match encoding {
            Encoding::Plain => Self::Plain(limited),
            Encoding::Gzip => Self::Gzip(MultiGzDecoder::new(limited)),
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        let (taken, limited) = match self {
            Self::Plain(limited) => (limited.write_all(bytes), &*limited),
            Self::Gzip(decoder) => (decoder.write_all(bytes), decoder.get_ref()),
        };
        taken.map_err(|error| fault(&error, limited))
    }

    /// Bytes so far, inflated.
    fn len(&self) -> usize {
        match self {
            Self::Plain(limited) => limited.bytes.len(),
            Self::Gzip(decoder) => decoder.get_ref().bytes.len(),
        }
    }

    fn finish(self) -> Result<Vec<u8>, Problem> {
        match self {
            Self::Plain(limited) => Ok(limited.bytes),
            Self::Gzip(mut decoder) => match decoder.try_finish() {
                Ok(()) => Ok(std::mem::take(&mut decoder.get_mut().bytes)),
                Err(error) => Err(fault(&error, decoder.get_ref())),
            },
        }
    }
}

fn fault(error: &io::Error, limited: &Limited) -> Problem {
    if limited.exceeded {
        too_large(limited.limit)
    } else {
        Problem::Malformed(format!("the body is not valid gzip: {error}"))
    }
}

fn too_large(limit: usize) -> Problem {
    Problem::TooLarge(format!("the body is larger than {limit} bytes"))
}

/// The request's body, inflated.
///
/// # Errors
/// 413 beyond the limit, 415 for an encoding that is not taken, 400 for what cannot be inflated, 408
/// for a sender that falls silent, 503 while there is no room.
pub(crate) async fn read(
    room: &Arc<Semaphore>,
    request: &HttpRequest,
    payload: web::Payload,
) -> Result<Body, Problem> {
    let header = |name| {
        request
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    let announced: Option<usize> = header(CONTENT_LENGTH).and_then(|text| text.parse().ok());
    if announced.is_some_and(|length| length > LIMIT) {
        return Err(too_large(LIMIT));
    }
    let encoding = Encoding::of(header(CONTENT_ENCODING).unwrap_or_default())?;
    collect(room, encoding, SILENCE, payload).await
}

async fn collect(
    room: &Arc<Semaphore>,
    encoding: Encoding,
    silence: Duration,
    mut payload: impl Stream<Item = Result<Bytes, PayloadError>> + Unpin,
) -> Result<Body, Problem> {
    let mut taken = more(room, 1)?;
    let mut received = 0_usize;
    let mut sink = None;
    // The first piece, while it may be the whole body.
    let mut first: Option<Bytes> = None;
    loop {
        let chunk = match timeout(silence, payload.next()).await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => break,
            Err(_) => return Err(Problem::TooSlow(silence.as_secs())),
        };
        let chunk = chunk
            .map_err(|error| Problem::Malformed(format!("the body cannot be read: {error}")))?;
        received = received.saturating_add(chunk.len());
        if received > LIMIT {
            return Err(too_large(LIMIT));
        }
        if received == chunk.len() && received <= BLOCK {
            first = Some(chunk);
            continue;
        }
        let sink = sink.get_or_insert_with(|| Sink::new(encoding, LIMIT));
        for chunk in first.take().iter().chain([&chunk]) {
            take(room, &mut taken, sink, chunk)?;
        }
    }
    let small = match (&first, encoding) {
        (Some(whole), Encoding::Gzip) => inflate::small(whole),
        (None, _) | (_, Encoding::Plain) => None,
    };
    let bytes = match small {
        Some(bytes) => bytes,
        None => {
            let mut sink = sink.unwrap_or_else(|| Sink::new(encoding, LIMIT));
            if let Some(chunk) = &first {
                take(room, &mut taken, &mut sink, chunk)?;
            }
            sink.finish()?
        }
    };
    claim(room, &mut taken, bytes.len())?;
    Ok(Body { bytes, room: taken })
}

/// Takes in a piece of a body.
fn take(
    room: &Arc<Semaphore>,
    taken: &mut OwnedSemaphorePermit,
    sink: &mut Sink,
    chunk: &[u8],
) -> Result<(), Problem> {
    // In smaller ones: a few bytes may be inflated to a thousand times as many, and those that there
    // is no room for are not to be made first.
    for piece in chunk.chunks(BLOCK) {
        sink.take(piece)?;
        claim(room, taken, sink.len())?;
    }
    Ok(())
}

/// Takes the room that this many bytes need beyond what was taken.
fn claim(
    room: &Arc<Semaphore>,
    taken: &mut OwnedSemaphorePermit,
    bytes: usize,
) -> Result<(), Problem> {
    let missing = bytes.div_ceil(BLOCK).saturating_sub(taken.num_permits());
    if missing > 0 {
        taken.merge(more(room, missing)?);
    }
    Ok(())
}

fn more(room: &Arc<Semaphore>, blocks: usize) -> Result<OwnedSemaphorePermit, Problem> {
    // It never waits: those who wait with a part of what they need would wait for each other.
    u32::try_from(blocks)
        .ok()
        .and_then(|blocks| Arc::clone(room).try_acquire_many_owned(blocks).ok())
        .ok_or(Problem::Unavailable(None))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn inflate(bytes: &[u8], limit: usize) -> Result<Vec<u8>, Problem> {
        let mut sink = Sink::new(Encoding::Gzip, limit);
        for chunk in bytes.chunks(7) {
            sink.take(chunk)?;
        }
        sink.finish()
    }

    async fn collected(room: &Arc<Semaphore>, bytes: &[u8]) -> Result<Body, Problem> {
        let payload = futures_util::stream::iter([Ok(Bytes::from(gzip(bytes)))]);
        collect(room, Encoding::Gzip, SILENCE, payload).await
    }

    #[tokio::test]
    async fn a_body_is_the_same_in_one_piece_and_in_many() {
        for text in ["", "a", &"ab".repeat(9_000), &"abc".repeat(90_000)] {
            for (encoding, bytes) in [
                (Encoding::Gzip, gzip(text.as_bytes())),
                (Encoding::Plain, text.as_bytes().to_vec()),
            ] {
                for size in [1, 17, BLOCK, usize::MAX] {
                    let pieces = bytes
                        .chunks(size)
                        .map(|piece| Ok(Bytes::copy_from_slice(piece)));
                    let payload = futures_util::stream::iter(pieces);
                    let body = collect(&room(), encoding, SILENCE, payload).await.unwrap();
                    assert!(body.bytes == text.as_bytes(), "{size}, {encoding:?}");
                }
            }
        }
    }

    #[tokio::test]
    async fn bodies_beyond_the_room_are_put_off_until_others_are_gone() {
        let room = Arc::new(Semaphore::new(100));
        let first = collected(&room, &[7; 60 * BLOCK]).await.unwrap();
        assert_eq!(held(&first.room), 60 * BLOCK);
        let second = collected(&room, &[7; 60 * BLOCK]).await;
        assert!(matches!(second, Err(Problem::Unavailable(None))));
        assert_eq!(room.available_permits(), 40, "what failed holds nothing");
        drop(first);
        collected(&room, &[7; 60 * BLOCK]).await.unwrap();
        assert_eq!(room.available_permits(), 100);
    }

    #[tokio::test]
    async fn a_sender_that_falls_silent_is_told_so() {
        let some = futures_util::stream::iter([Ok(Bytes::from_static(b"{"))]);
        let payload = some.chain(futures_util::stream::pending());
        let outcome = collect(&room(), Encoding::Plain, Duration::from_millis(20), payload).await;
        assert!(matches!(outcome, Err(Problem::TooSlow(_))), "{outcome:?}");
    }

    #[test]
    fn what_fits_is_inflated_and_one_byte_more_is_too_large() {
        let text = b"a".repeat(1000);
        assert_eq!(inflate(&gzip(&text), 1000).unwrap(), text);
        let error = inflate(&gzip(&text), 999).unwrap_err();
        assert!(matches!(error, Problem::TooLarge(_)), "{error:?}");
    }

    #[test]
    fn a_bomb_is_stopped_while_it_is_inflated() {
        let bomb = gzip(&vec![0; 50_000_000]);
        let mut sink = Sink::new(Encoding::Gzip, 10_000);
        let error = bomb.chunks(64).find_map(|chunk| sink.take(chunk).err());
        assert!(matches!(error, Some(Problem::TooLarge(_))), "{error:?}");
        let Sink::Gzip(decoder) = &sink else {
            panic!("not gzip")
        };
        assert!(decoder.get_ref().bytes.capacity() < 100_000);
    }

    #[test]
    fn what_is_cut_off_or_no_gzip_is_malformed() {
        let whole = gzip(b"some text");
        for bytes in [&whole[..whole.len() - 3], b"plain", b"\x1f\x8b"] {
            let error = inflate(bytes, 1000).unwrap_err();
            assert!(matches!(error, Problem::Malformed(_)), "{error:?}");
        }
    }

    #[test]
    fn other_encodings_are_not_taken() {
        let error = Encoding::of("br").err();
        assert!(matches!(error, Some(Problem::UnsupportedMedia(_))));
    }
}
