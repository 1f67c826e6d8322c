//! Has target and policies follow what the agent holds: level by level, so that what was lost or done twice is made
//! good by the next round.

use super::restore::HadTaken;
use super::{target, wishes};
use crate::lookup;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use windlass_agent::taking::Book;
use windlass_client::Client;
use windlass_service::Deps;
use windlass_store::{plans, registry_watch};
use windlass_types::api::NewTarget;
use windlass_types::ids::DeviceId;
use windlass_types::image::ImageReference;
use windlass_types::policy::Policy;
use windlass_types::target::TargetState;

/// What changes together is followed together: compose stops, removes and starts.
const GATHER: Duration = Duration::from_secs(1);
/// How often it is seen whether a person changed what was made here.
const RESCAN: Duration = Duration::from_secs(60);
/// How long is waited after a round that failed.
const AGAIN: Duration = Duration::from_secs(2);

/// After so many of them in a row it is told.
const TELL: u32 = 5;

/// What follows.
pub(super) struct Follower {
    pub(super) client: Client,
    pub(super) deps: Deps,
    pub(super) uuid: DeviceId,
    pub(super) book: watch::Receiver<Arc<Book>>,
    pub(super) said: watch::Sender<Arc<Vec<String>>>,
    pub(super) had: HadTaken,
}

impl Follower {
    /// Goes on for ever.
    pub(super) async fn run(mut self) {
        // The agent shows what it holds from before as its first act; an empty book before that is none.
        if self.book.changed().await.is_err() {
            return;
        }
        let mut failures = 0_u32;
        let mut before = Arc::new(Book::new());
        loop {
            tokio::time::sleep(GATHER).await;
            let book = Arc::clone(&self.book.borrow_and_update());
            let wait = match self.round(&before, &book).await {
                Ok(()) => {
                    failures = 0;
                    before = book;
                    RESCAN
                }
                Err(reason) => {
                    // The first may be one of a server that has just begun, or of a change between two requests.
                    failures += 1;
                    if failures == TELL {
                        tracing::warn!(reason, "target and policies do not follow what is held");
                    } else {
                        tracing::debug!(reason, "target and policies do not follow yet");
                    }
                    AGAIN
                }
            };
            let changed = async {
                if self.book.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = changed => {}
            }
        }
    }

    async fn round(&self, before: &Book, book: &Book) -> Result<(), String> {
        let told = |error: windlass_store::Error| error.to_string();
        self.had
            .restore(&self.deps, self.uuid)
            .await
            .map_err(told)?;
        self.baseline(book).await?;
        let known = lookup::policies(&self.client)
            .await
            .map_err(|error| error.message)?;
        let wishes = wishes::of(book, &known);
        // First the policies: what is new in the target is not to be moved by one that it does not ask for.
        self.policies(&wishes, &known).await?;
        let target = self.target(before, book).await?;
        self.passed_over(&wishes, &target).await?;
        self.said.send_if_modified(|said| {
            let changed = **said != wishes.said;
            for sentence in wishes.said.iter().filter(|one| !said.contains(one)) {
                tracing::warn!(why = sentence, "labels are not followed");
            }
            *said = Arc::new(wishes.said.clone());
            changed
        });
        Ok(())
    }

    /// Writes down what each tag named when the container was started from it, where nothing is known of the tag: what it
    /// names by now is then news.
    async fn baseline(&self, book: &Book) -> Result<(), String> {
        let told = |error: windlass_store::Error| error.to_string();
        let mut session = self.deps.store.begin().await.map_err(told)?;
        let mut new = false;
        for taken in book.values() {
            let Ok(image) = taken.image.parse::<ImageReference>() else {
                continue;
            };
            let (Some(tag), Some(digest)) = (image.tag(), image.digest()) else {
                continue;
            };
            let seeded = registry_watch::seed(&mut session, image.repository(), tag, digest).await;
            new |= seeded.map_err(told)?;
        }
        if new {
            self.deps.commit(session).await.map_err(told)?;
        }
        Ok(())
    }

    async fn target(&self, before: &Book, book: &Book) -> Result<TargetState, String> {
        let told = |error: windlass_client::Error| error.to_string();
        let known = self.client.target(self.uuid).await.map_err(told)?;
        let next = target::following(&known.state, before, book);
        if next == known.state {
            return Ok(next);
        }
        let next = NewTarget {
            apps: next.apps,
            config: next.config,
        };
        let set = self
            .client
            .set_target(self.uuid, Some(known.version), &next)
            .await;
        Ok(set.map_err(told)?.state)
    }

    /// Has those versions planned anew that were passed over while policy or target were not there: a container that was
    /// let go for a moment, or a process that ended between the two.
    async fn passed_over(
        &self,
        wishes: &wishes::Wishes,
        target: &TargetState,
    ) -> Result<(), String> {
        let told = |error: windlass_store::Error| error.to_string();
        let mut session = self.deps.store.begin().await.map_err(told)?;
        let mut any = false;
        for spec in wishes.policies.values() {
            let Ok(repository) = spec.image.parse() else {
                continue;
            };
            let passed = plans::passed_over(&mut session, &repository, &spec.name, self.uuid).await;
            for version in passed.map_err(told)? {
                if target::lacks(target, spec, &version.tag, &version.digest) {
                    let opened = plans::reopen(&mut session, &version).await;
                    any |= opened.map_err(told)?;
                }
            }
        }
        if any {
            self.deps.commit(session).await.map_err(told)?;
        }
        Ok(())
    }

    async fn policies(&self, wishes: &wishes::Wishes, known: &[Policy]) -> Result<(), String> {
        let told = |error: windlass_client::Error| error.to_string();
        for (name, spec) in &wishes.policies {
            match known.iter().find(|policy| policy.spec.name == *name) {
                None => {
                    self.client.create_policy(spec).await.map_err(told)?;
                }
                Some(policy) if policy.spec == *spec => {}
                Some(policy) => {
                    let version = Some(policy.version);
                    let done = self.client.update_policy(policy.id, version, spec).await;
                    done.map_err(told)?;
                }
            }
        }
        let stale = known
            .iter()
            .filter(|policy| wishes::is_ours(&policy.spec))
            .filter(|policy| !wishes.policies.contains_key(&policy.spec.name));
        for policy in stale {
            self.client.delete_policy(policy.id).await.map_err(told)?;
        }
        Ok(())
    }
}
