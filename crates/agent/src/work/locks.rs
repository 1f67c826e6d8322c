//! Locks that apps hold to keep their own update away.

use super::Docker;
use super::attempt::{Place, get};
use futures_util::future;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use windlass_engine::Found;
use windlass_reconcile::ask::LockToAsk;
use windlass_reconcile::observed::Container;
use windlass_reconcile::spec::{LockAt, ServiceKey};

/// How long an app may take to say whether it holds its lock. A look waits for it: what is not known yet
/// would be taken for free.
const LIMIT: Duration = Duration::from_secs(3);
/// How often a lock that is held is asked for again.
const AGAIN: Duration = Duration::from_secs(5);
/// How much of who holds it is told, in characters.
const WHO: usize = 200;
/// HTTP's own word for it (RFC 4918, section 11.3).
const LOCKED: u16 = 423;

impl Docker {
    /// Who holds which lock.
    pub(super) async fn locks(
        &self,
        asked: &BTreeMap<ServiceKey, LockToAsk>,
        found: &[(Found, Container)],
    ) -> BTreeMap<ServiceKey, String> {
        let held: BTreeMap<ServiceKey, String> = future::join_all(
            asked
                .iter()
                .map(async |(key, lock)| Some((*key, holder(lock, found).await?))),
        )
        .await
        .into_iter()
        .flatten()
        .collect();
        if !held.is_empty() {
            self.watch.again_in(AGAIN);
        }
        held
    }
}

async fn holder(lock: &LockToAsk, found: &[(Found, Container)]) -> Option<String> {
    match &lock.lock.at {
        LockAt::File(path) => holder_of_file(Path::new(path)).await,
        LockAt::Http { port, path } => {
            let (container, _) = found.iter().find(|(one, _)| one.id == lock.container)?;
            // An app that cannot be asked holds nothing.
            let address = Place::of(container).address(*port)?;
            let answer = get(&format!("http://{address}{path}"), LIMIT).await.ok()?;
            (answer.status == LOCKED).then(|| {
                let who = answer.body.trim();
                if who.is_empty() {
                    "the app".to_owned()
                } else {
                    who.chars().take(WHO).collect()
                }
            })
        }
    }
}

async fn holder_of_file(path: &Path) -> Option<String> {
    match tokio::fs::read(path).await {
        Ok(text) => {
            let text = String::from_utf8_lossy(&text);
            let who = text.lines().next().unwrap_or_default().trim();
            Some(if who.is_empty() {
                path.display().to_string()
            } else {
                who.chars().take(WHO).collect()
            })
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        // It is there, and that is what counts.
        Err(_) => Some(path.display().to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_a_lock_while_it_is_there_and_says_who_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        assert_eq!(holder_of_file(&path).await, None);
        std::fs::write(&path, "the night shift\n").unwrap();
        assert_eq!(
            holder_of_file(&path).await.as_deref(),
            Some("the night shift")
        );
        std::fs::write(&path, "").unwrap();
        assert_eq!(
            holder_of_file(&path).await,
            Some(path.display().to_string())
        );
    }
}
