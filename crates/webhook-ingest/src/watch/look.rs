//! One look at a repository: what its registry says, measured against what is known.

use super::{jitter, pace, write};
use crate::senders::is_attachment;
use crate::state::State;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt as _, stream};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use windlass_core::watch::{Before, Sight, Wishes, look_again, next_look, sight};
use windlass_registry::{Error, ImageFacts, Registry};
use windlass_service::config::FirstLook;
use windlass_store::registry_watch::{self, Claimed, Known, Looked, Present};
use windlass_types::image::{Digest, Repository};
use windlass_types::policy::Policy;

/// Tags of one repository that are asked for at once.
const TOGETHER: usize = 4;
/// New tags that are asked for in one look at most; the others are new in the next.
const MOST_NEW: usize = 200;
/// Tags that are not listed any more of which one look makes sure that they are gone.
const MOST_GONE: usize = 20;
/// How soon is looked again where more was new than one look takes.
const SOON: TimeDelta = TimeDelta::seconds(2);

/// A look.
pub(super) struct Look<'a> {
    pub(super) state: &'a State,
    /// Asked for work that can wait.
    pub(super) registry: &'a Registry,
    pub(super) policies: &'a [Policy],
    pub(super) claimed: &'a Claimed,
}

/// What is known before.
struct Memory {
    known: BTreeMap<String, Known>,
    present: BTreeMap<String, Present>,
    running: BTreeSet<String>,
    webhook_at: Option<DateTime<Utc>>,
}

/// What was seen.
#[derive(Default)]
struct Seen {
    /// How many tags are listed; none where they were not.
    listed: Option<usize>,
    /// Tags to write down.
    tags: BTreeMap<String, Known>,
    /// What is new, in the order in which it was built.
    new: Vec<New>,
    /// The first thing that went wrong.
    error: Option<Error>,
    /// What is odd, though nothing went wrong.
    odd: Option<String>,
    /// Whether there is more.
    more: bool,
}

/// A new version.
pub(super) struct New {
    pub(super) tag: String,
    pub(super) digest: Digest,
    pub(super) asked_at: DateTime<Utc>,
    /// Whether it is what a policy would have shipped, had its push been heard.
    pub(super) newest: bool,
    created: Option<DateTime<Utc>>,
}

/// Whether other tags may be answered where one was answered so.
const fn goes_on(error: &Error) -> bool {
    matches!(error, Error::Other { .. } | Error::Mismatch { .. })
}

/// A tag's digest and when it was asked for; nothing where the registry has no such tag.
type Answer = (String, DateTime<Utc>, Result<Option<Digest>, Error>);

impl Look<'_> {
    /// Looks, for so long at most, and writes down what came of it.
    pub(super) async fn run(&self, most: Duration) -> windlass_store::Result<()> {
        let memory = self.remember().await?;
        let wishes = Wishes::of(self.policies, self.repository());
        let seen = match tokio::time::timeout(most, self.look(&wishes, &memory)).await {
            Ok(seen) => seen,
            Err(_) => Seen {
                error: Some(Error::Unreachable {
                    image: self.repository().to_string(),
                    reason: format!("it takes longer than {} s", most.as_secs()),
                    retry_after: None,
                }),
                ..Seen::default()
            },
        };
        self.write(memory, seen).await
    }

    fn repository(&self) -> &Repository {
        &self.claimed.repository
    }

    async fn remember(&self) -> windlass_store::Result<Memory> {
        let repository = self.repository();
        let mut session = self.state.deps.store.read().await?;
        Ok(Memory {
            known: registry_watch::known(&mut session, repository).await?,
            present: registry_watch::present(&mut session, repository).await?,
            running: registry_watch::running(&mut session, repository).await?,
            webhook_at: registry_watch::webhook_at(&mut session, repository).await?,
        })
    }

    async fn look(&self, wishes: &Wishes, memory: &Memory) -> Seen {
        let mut seen = Seen::default();
        let mut listed = BTreeSet::new();
        if wishes.needs_list {
            match self.registry.tags(self.repository()).await {
                Ok(tags) => listed = tags.names,
                Err(error) => {
                    seen.error = Some(error);
                    return seen;
                }
            }
            listed.retain(|tag| !is_attachment(tag));
            let had = memory.known.values().filter(|tag| tag.gone_at.is_none());
            let had = had.count();
            if listed.is_empty() && had > 0 {
                // A registry whose storage is away says so too.
                seen.odd = Some(format!(
                    "it lists no tags, though it had {had}; not believed"
                ));
                return seen;
            }
            seen.listed = Some(listed.len());
        }
        // At the first look everything is unseen and nothing is new.
        let mut unseen: BTreeSet<String> = BTreeSet::new();
        if self.claimed.listed_at.is_some() {
            let mut new = listed
                .iter()
                .filter(|tag| !memory.known.contains_key(*tag) && wishes.take(tag));
            unseen = new.by_ref().take(MOST_NEW).cloned().collect();
            seen.more = new.next().is_some();
        }
        let most = usize::try_from(self.state.watch.tags).unwrap_or(usize::MAX);
        let followed = wishes.followed(&listed, &unseen, &memory.running, most);
        let newest = match self.state.watch.first_look {
            FirstLook::Newest => wishes.newest(&listed),
            FirstLook::Record => BTreeSet::new(),
        };
        self.ask(followed, &newest, memory, &mut seen).await;
        if seen.error.is_none() && seen.listed.is_some() {
            self.miss(&listed, memory, &mut seen).await;
        }
        // What is only listed is known from now on, whatever a policy will take of it later; what was to
        // be asked for and was not is still new in the next look.
        let first = self.claimed.listed_at.is_none();
        for tag in &listed {
            if (first || !wishes.take(tag))
                && !memory.known.contains_key(tag)
                && !seen.tags.contains_key(tag)
                && !seen.new.iter().any(|new| new.tag == *tag)
            {
                seen.tags.insert(tag.clone(), Known::default());
            }
        }
        seen.new
            .sort_by(|a, b| (a.created, &a.tag).cmp(&(b.created, &b.tag)));
        seen
    }

    /// Asks what these tags name, until the registry does not answer any more.
    async fn ask(
        &self,
        tags: Vec<String>,
        newest: &BTreeSet<String>,
        memory: &Memory,
        seen: &mut Seen,
    ) {
        for (tag, asked_at, answer) in self.resolve_all(tags).await {
            let before = memory.known.get(&tag);
            let digest = match answer {
                Ok(Some(digest)) => digest,
                Ok(None) => {
                    if before.is_none_or(|known| known.gone_at.is_none()) {
                        let known = before.cloned().unwrap_or_default();
                        let gone_at = Some(asked_at);
                        seen.tags.insert(tag, Known { gone_at, ..known });
                    }
                    continue;
                }
                Err(error) => {
                    seen.error.get_or_insert(error);
                    continue;
                }
            };
            let present = memory.present.get(&tag);
            let newest = newest.contains(&tag) && present.is_none();
            let known = before.cloned().unwrap_or_default();
            let meaning = sight(&self.before(before, present, false), &digest);
            match meaning {
                // Whether it was named before is looked up where it is written.
                Sight::New { .. } | Sight::Doubtful => {}
                _ if newest => {}
                Sight::Same | Sight::Baseline => {
                    let now = Known {
                        digest: Some(digest),
                        ..Known::default()
                    };
                    if now != known {
                        seen.tags.insert(tag, now);
                    }
                    continue;
                }
            }
            match self.registry.facts(self.repository(), &digest).await {
                // A chart or a signature under a tag of its own.
                Ok(ImageFacts { artifact: true, .. }) => {
                    let digest = Some(digest);
                    seen.tags.insert(
                        tag,
                        Known {
                            digest,
                            ..Known::default()
                        },
                    );
                }
                Ok(ImageFacts { created, .. }) => seen.new.push(New {
                    tag,
                    digest,
                    asked_at,
                    newest,
                    created,
                }),
                // The tag moved on, or was deleted, between two questions.
                Err(Error::NotFound { .. }) => {}
                Err(error) => {
                    seen.error.get_or_insert(error);
                }
            }
        }
    }

    /// What is known of a tag, for judging it.
    pub(super) fn before<'b>(
        &self,
        known: Option<&'b Known>,
        present: Option<&'b Present>,
        named_before: bool,
    ) -> Before<'b> {
        Before {
            seen: known.is_some(),
            gone: known.is_some_and(|known| known.gone_at.is_some()),
            digest: known.and_then(|known| known.digest.as_ref()),
            doubtful: known.and_then(|known| known.doubtful.as_ref()),
            version: present.map(|present| present.digest.as_ref()),
            named_before,
            listed: self.claimed.listed_at.is_some(),
        }
    }

    /// Asks what these tags name, several at once, up to the first answer after which it is of no use to
    /// go on. Nothing else is asked meanwhile: a question that is begun may hold the budget's row, and
    /// only goes on while it is waited for.
    async fn resolve_all(&self, tags: Vec<String>) -> Vec<Answer> {
        let mut asked = stream::iter(tags)
            .map(|tag| self.resolve(tag))
            .buffer_unordered(TOGETHER);
        let mut answers = Vec::new();
        while let Some(answer) = asked.next().await {
            let last = answer.2.as_ref().is_err_and(|error| !goes_on(error));
            answers.push(answer);
            if last {
                break;
            }
        }
        answers
    }

    async fn resolve(&self, tag: String) -> Answer {
        let asked_at = self.state.deps.store.clock().now();
        let answer = match self.registry.digest(self.repository(), &tag).await {
            Ok(digest) => Ok(Some(digest)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        };
        (tag, asked_at, answer)
    }

    /// Makes sure of tags that are not listed any more: a list may be short, a 404 is an answer.
    async fn miss(&self, listed: &BTreeSet<String>, memory: &Memory, seen: &mut Seen) {
        let missing = memory
            .known
            .iter()
            .filter(|(tag, known)| {
                known.digest.is_some() && known.gone_at.is_none() && !listed.contains(*tag)
            })
            .take(MOST_GONE);
        for (tag, known) in missing {
            let (_, asked_at, answer) = self.resolve(tag.clone()).await;
            match answer {
                Ok(Some(_)) => {}
                Ok(None) => {
                    tracing::info!(
                        image.repository = %self.repository(),
                        image.tag = tag,
                        "a tag is not in its registry any more"
                    );
                    let gone_at = Some(asked_at);
                    let known = known.clone();
                    seen.tags.insert(tag.clone(), Known { gone_at, ..known });
                }
                Err(error) => {
                    seen.error.get_or_insert(error);
                    return;
                }
            }
        }
    }

    async fn write(&self, memory: Memory, mut seen: Seen) -> windlass_store::Result<()> {
        for new in std::mem::take(&mut seen.new) {
            let known = memory.known.get(&new.tag);
            if let Some(after) = write::found(self, &new, known).await? {
                seen.tags.insert(new.tag, after);
            }
        }
        let store = &self.state.deps.store;
        let mut tx = store.begin().await?;
        let (now, pace) = (tx.now(), pace(&self.state.watch));
        let retry_after = seen
            .error
            .as_ref()
            .and_then(Error::retry_after)
            .and_then(|wait| TimeDelta::from_std(wait).ok());
        let kind = seen.error.as_ref().map_or("ok", Error::kind);
        let error = seen.error.map(|error| error.to_string()).or(seen.odd);
        let next = if error.is_some() {
            look_again(now, &pace, self.claimed.failures, retry_after, jitter())
        } else if seen.more {
            now + SOON
        } else {
            next_look(now, &pace, memory.webhook_at, jitter())
        };
        if let Some(error) = &error {
            tracing::warn!(
                image.repository = %self.repository(),
                failures = self.claimed.failures + 1,
                error,
                "a look at a repository came to nothing"
            );
        }
        self.state
            .metrics
            .watch
            .looks
            .with_label_values(&[kind])
            .inc();
        registry_watch::remember(&mut tx, self.repository(), &seen.tags).await?;
        let look = Looked {
            tags: seen.listed.and_then(|count| i64::try_from(count).ok()),
            error,
            next,
        };
        if !registry_watch::looked(&mut tx, self.claimed, &look).await? {
            // Another replica has it by now, and looks itself.
            return tx.rollback().await;
        }
        tx.commit().await.map(|_| ())
    }
}
