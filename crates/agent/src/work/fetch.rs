//! Getting images: what registries offer, pulls, mirrors.

use super::look::targets;
use super::{Docker, failed, names};
use crate::machine::{Scene, Trouble};
use std::collections::{BTreeMap, BTreeSet};
use windlass_engine::{Error, Login};
use windlass_reconcile::memory::FailureClass;
use windlass_reconcile::observed::Offer;
use windlass_types::image::ImageReference;

impl Docker {
    /// What was found out of images that still matter.
    pub(super) fn offers(&self, scene: &Scene) -> BTreeMap<String, Offer> {
        let matter: BTreeSet<&String> = targets(scene).collect();
        let Ok(mut offers) = self.offers.lock() else {
            return BTreeMap::new();
        };
        offers.retain(|image, _| matter.contains(image));
        offers.clone()
    }

    /// Asks what a registry has under an image's name. What cannot be found out is left open, and the
    /// pull tells what is wrong.
    pub(super) async fn inspect(&self, target: &str) -> Result<(), Trouble> {
        let mut offer = Offer::default();
        if let Ok(image) = target.parse::<ImageReference>() {
            for place in self.places(&image) {
                match self.offered(&place).await {
                    Ok(found) => {
                        offer = found;
                        break;
                    }
                    Err(Trouble::Away(reason)) => return Err(Trouble::Away(reason)),
                    Err(Trouble::Failed(failure)) => {
                        tracing::debug!(image = %place, error = failure.message, "not told");
                    }
                }
            }
        }
        if let Ok(mut offers) = self.offers.lock() {
            offers.insert(target.to_owned(), offer);
        }
        Ok(())
    }

    async fn offered(&self, image: &ImageReference) -> Result<Offer, Trouble> {
        let login = self.login(image).await?;
        let offered = self
            .engine
            .offered(image, login.as_ref())
            .await
            .map_err(|error| self.trouble(FailureClass::Registry, &error))?;
        Ok(Offer {
            platforms: offered.platforms,
            bytes: self.room(image, login.as_ref()).await,
        })
    }

    /// Pulls an image from its mirror, or from its registry where the mirror has not got it.
    pub(super) async fn fetch(&self, target: &str) -> Result<(), Trouble> {
        // What was offered may have changed until the next time.
        if let Ok(mut offers) = self.offers.lock() {
            offers.remove(target);
        }
        let image: ImageReference = target
            .parse()
            .map_err(|error| failed(FailureClass::Config, format!("{error}")))?;
        let mut last = failed(FailureClass::Registry, format!("{target}: nowhere to pull"));
        for place in self.places(&image) {
            match self.pull_from(&place).await {
                Ok(()) => {
                    self.fault.within("pull");
                    self.call_as(&place, &image).await?;
                    return self.fits(&place).await;
                }
                Err(Trouble::Away(reason)) => return Err(Trouble::Away(reason)),
                Err(trouble) => {
                    if place != image {
                        tracing::warn!(image = %place, error = %trouble, "the mirror does not give it");
                    }
                    last = trouble;
                }
            }
        }
        Err(last)
    }

    async fn pull_from(&self, place: &ImageReference) -> Result<(), Trouble> {
        let login = self.login(place).await?;
        let mut tenths = 0;
        let tell = |progress: windlass_engine::Progress| {
            let now = (progress.done * 10)
                .checked_div(progress.total)
                .unwrap_or(0);
            if now > tenths {
                tenths = now;
                tracing::debug!(
                    image = %place,
                    bytes.done = progress.done,
                    bytes.total = progress.total,
                    "pulling"
                );
            }
        };
        self.engine
            .pull(place, login.as_ref(), self.pull, tell)
            .await
            .map_err(|error| self.trouble(FailureClass::Registry, &error))
    }

    /// An image that a mirror gave is called as the target calls it, where a name can be given: by a
    /// digest it is known in any repository.
    async fn call_as(&self, place: &ImageReference, image: &ImageReference) -> Result<(), Trouble> {
        if place == image || image.digest().is_some() {
            return Ok(());
        }
        let tag = image.tag().unwrap_or("latest");
        self.engine
            .tag(&names::plain(place), image.name(), tag)
            .await
            .map_err(|error| self.trouble(FailureClass::Pull, &error))?;
        self.fault.within("pull");
        Ok(())
    }

    /// Engines take an image for another platform where there is no other; it is not kept.
    async fn fits(&self, place: &ImageReference) -> Result<(), Trouble> {
        let name = names::plain(place);
        let trouble = |error: Error| self.trouble(FailureClass::Pull, &error);
        let found = self.engine.image(&name).await.map_err(trouble)?;
        let engine = self.info().await?.platform;
        let foreign = found
            .and_then(|image| image.platform)
            .filter(|image| !can_run(image, &engine));
        let Some(foreign) = foreign else {
            return Ok(());
        };
        self.engine.remove_image(&name).await.map_err(trouble)?;
        Err(failed(
            FailureClass::Pull,
            format!("{place} is for {foreign}, and this is {engine}"),
        ))
    }

    /// Where an image may be had, in the order in which it is tried.
    fn places(&self, image: &ImageReference) -> Vec<ImageReference> {
        names::mirrored(image, &self.mirrors)
            .into_iter()
            .chain([image.clone()])
            .collect()
    }

    async fn login(&self, image: &ImageReference) -> Result<Option<Login>, Trouble> {
        self.credentials
            .of(image.repository().registry())
            .await
            .map_err(|error| failed(FailureClass::Auth, format!("{image}: {error}")))
    }
}

/// Whether a processor of one kind runs what is made for another; of variants the engine itself is the judge.
pub(super) fn can_run(image: &str, engine: &str) -> bool {
    let kind = |platform: &str| -> (String, String) {
        let mut parts = platform.split('/').map(str::to_owned);
        (
            parts.next().unwrap_or_default(),
            parts.next().unwrap_or_default(),
        )
    };
    let ((os, made_for), (engine_os, runs_on)) = (kind(image), kind(engine));
    os == engine_os
        && (made_for == runs_on
            || matches!(
                (runs_on.as_str(), made_for.as_str()),
                ("arm64", "arm") | ("amd64", "386")
            ))
}

#[cfg(test)]
mod tests {
    use super::can_run;

    #[test]
    fn a_processor_runs_its_own_kind_and_what_is_for_older_ones() {
        for (image, engine, runs) in [
            ("linux/amd64", "linux/amd64", true),
            ("linux/386", "linux/amd64", true),
            ("linux/arm/v7", "linux/arm64", true),
            ("linux/arm64/v8", "linux/arm64", true),
            ("linux/arm64", "linux/amd64", false),
            ("linux/arm64", "linux/arm/v7", false),
            ("windows/amd64", "linux/amd64", false),
        ] {
            assert_eq!(can_run(image, engine), runs, "{image} on {engine}");
        }
    }
}
