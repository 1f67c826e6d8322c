//! What containers use of one another: one whose network or namespace another one uses cannot be made anew without it.

use super::Docker;
use super::taken::AT_ONCE;
use crate::taking::Lent;
use futures_util::stream::{self, StreamExt as _};
use std::collections::BTreeMap;
use std::sync::Mutex;
use windlass_engine::Listed;

/// Digits of an id that engines take for the whole.
const SHORTEST: usize = 12;

/// By the id or name of who lends.
pub(super) type Lenders = BTreeMap<String, Lent>;

/// Whose namespaces containers use, by the id of who uses them. It is told only of each container by itself, and cannot be
/// changed, so each is asked for once.
pub(super) type Borrows = Mutex<BTreeMap<String, Vec<String>>>;

impl Docker {
    /// Who lends what, of all containers that there are.
    pub(super) async fn lenders(&self, all: &[Listed]) -> Lenders {
        let known = |id: &String| {
            let known = self.borrows.lock();
            known.is_ok_and(|known| known.contains_key(id))
        };
        let mut ask = Vec::new();
        for one in all.iter().filter(|one| !known(&one.id)) {
            ask.push(async {
                // One that does not tell is asked again with the next look; what is told meanwhile is kept.
                if let Ok(Some(found)) = self.engine.inspect(&one.id).await
                    && let Ok(mut known) = self.borrows.lock()
                {
                    known.insert(found.id, found.borrows.into_iter().collect());
                }
            });
        }
        stream::iter(ask)
            .buffer_unordered(AT_ONCE)
            .collect::<()>()
            .await;
        let mut lenders = Lenders::new();
        let Ok(mut known) = self.borrows.lock() else {
            return lenders;
        };
        known.retain(|id, _| all.iter().any(|one| one.id == *id));
        for one in all {
            let lent = |what| Lent {
                to: one.name.clone(),
                what,
            };
            for from in known.get(&one.id).into_iter().flatten() {
                lenders.insert(from.clone(), lent("processes or shared memory (pid, ipc)"));
            }
            if let Some(from) = one.network_mode.strip_prefix("container:") {
                lenders.insert(from.to_owned(), lent("network (network_mode)"));
            }
        }
        lenders
    }
}

/// To whom a container lends something.
pub(super) fn to(lenders: &Lenders, id: &str, name: &str) -> Option<Lent> {
    let by_short = |from: &str| from.len() >= SHORTEST && id.starts_with(from);
    let mut lent = lenders.iter();
    lent.find(|(from, _)| *from == id || *from == name || by_short(from))
        .map(|(_, lent)| lent.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_lends_is_known_by_id_or_name() {
        let id = "0123456789abcdef";
        let lenders = |from: &str| {
            let lent = Lent {
                to: "guest".to_owned(),
                what: "network (network_mode)",
            };
            Lenders::from([(from.to_owned(), lent)])
        };
        for (from, lends) in [
            (id, true),
            ("vpn", true),
            ("0123456789ab", true),
            ("0123", false),
            ("vp", false),
            ("fedcba987654", false),
        ] {
            assert_eq!(to(&lenders(from), id, "vpn").is_some(), lends, "{from}");
        }
    }
}
