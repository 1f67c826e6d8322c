//! Rollouts by hand, plans, images and their quarantine.

use super::{NO_QUERY, PageQuery, TriggerAnswer, because};
use crate::Result;
use crate::http::{Client, read, send};
use reqwest::{Method, StatusCode};
use windlass_types::api::{ImageVersion, QuarantinedDigest, RolloutPlan, Trigger, TriggerRequest};
use windlass_types::ids::{PlanId, TriggerId};
use windlass_types::image::Digest;
use windlass_types::page::Page;
use windlass_types::why::ImageWhy;

impl Client {
    /// Asks for a rollout by hand, or for what it would do.
    ///
    /// # Errors
    /// [`crate::Error`]; 400 and 422 with the fields that are wrong.
    pub async fn trigger(&self, request: &TriggerRequest) -> Result<TriggerAnswer> {
        let sent = self
            .request(Method::POST, "/images/trigger-update")
            .json(request);
        let response = send(sent).await?;
        if response.status() == StatusCode::OK {
            return Ok(TriggerAnswer::Plan(Box::new(read(response).await?)));
        }
        Ok(TriggerAnswer::Trigger(Box::new(read(response).await?)))
    }

    /// A plan that a dry run showed.
    ///
    /// # Errors
    /// [`crate::Error`]; 404 where there is none, or it is too old.
    pub async fn rollout_plan(&self, id: PlanId) -> Result<RolloutPlan> {
        self.get(&format!("/rollout-plans/{id}"), &NO_QUERY).await
    }

    /// Ships a plan exactly as it was shown.
    ///
    /// # Errors
    /// [`crate::Error`]; 409 with what changed since, 404 where there is no such plan.
    pub async fn apply_plan(&self, id: PlanId, reason: &str) -> Result<Trigger> {
        let path = format!("/rollout-plans/{id}/apply");
        self.call(Method::POST, &path, &because(reason)).await
    }

    /// A trigger and what became of it.
    ///
    /// # Errors
    /// [`crate::Error`]; 404 where there is none.
    pub async fn trigger_status(&self, id: TriggerId) -> Result<Trigger> {
        self.get(&format!("/images/triggers/{id}"), &NO_QUERY).await
    }

    /// Versions of images that were seen, latest first.
    ///
    /// # Errors
    /// [`crate::Error`].
    pub async fn image_versions(&self, page: &PageQuery) -> Result<Page<ImageVersion>> {
        self.get("/images/versions", page).await
    }

    /// Digests that ship no more.
    ///
    /// # Errors
    /// [`crate::Error`].
    pub async fn quarantine(&self, page: &PageQuery) -> Result<Page<QuarantinedDigest>> {
        self.get("/quarantine", page).await
    }

    /// Lets a digest be shipped again, to all devices.
    ///
    /// # Errors
    /// [`crate::Error`]; 404 where it is not in quarantine.
    pub async fn lift_quarantine(&self, digest: &Digest, reason: &str) -> Result<()> {
        self.lift_quarantine_of(digest, None, reason).await
    }

    /// Lets a digest be shipped again, to the devices with this tag alone.
    ///
    /// # Errors
    /// [`crate::Error`]; 404 where it is not in quarantine for them.
    pub async fn lift_quarantine_of(
        &self,
        digest: &Digest,
        class: Option<(&str, &str)>,
        reason: &str,
    ) -> Result<()> {
        let mut request = self.request(Method::DELETE, &format!("/quarantine/{digest}"));
        if let Some((key, value)) = class {
            request = request.query(&[("tag_key", key), ("tag_value", value)]);
        }
        send(request.json(&because(reason))).await.map(|_| ())
    }

    /// Why a pushed image went to devices, or did not.
    ///
    /// # Errors
    /// [`crate::Error`]; 400 for what is no image reference.
    pub async fn image_why(&self, image: &str) -> Result<ImageWhy> {
        self.get("/images/why", &[("image", image)]).await
    }
}
