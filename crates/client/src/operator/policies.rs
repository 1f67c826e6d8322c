//! Policies and holds.

use super::{NO_QUERY, PageQuery, because};
use crate::Result;
use crate::http::{Client, read, send};
use reqwest::{Method, header};
use serde::Serialize;
use windlass_types::api::{HoldState, HoldView, NewHold, PolicyTest, PolicyTestRequest};
use windlass_types::ids::{HoldId, PolicyId};
use windlass_types::page::Page;
use windlass_types::policy::{Policy, PolicySpec};

impl Client {
    /// Policies, oldest first.
    ///
    /// # Errors
    /// [`crate::Error`].
    pub async fn policies(&self, page: &PageQuery) -> Result<Page<Policy>> {
        self.get("/image-policies", page).await
    }

    /// One policy.
    ///
    /// # Errors
    /// [`crate::Error`]; 404 where there is none.
    pub async fn policy(&self, id: PolicyId) -> Result<Policy> {
        self.get(&format!("/image-policies/{id}"), &NO_QUERY).await
    }

    /// Makes a policy.
    ///
    /// # Errors
    /// [`crate::Error`]; 409 for a name that is taken, 400 and 422 with the fields that are wrong.
    pub async fn create_policy(&self, spec: &PolicySpec) -> Result<Policy> {
        self.call(Method::POST, "/image-policies", spec).await
    }

    /// Changes a policy; with `version` only if it is still that one.
    ///
    /// # Errors
    /// [`crate::Error`]; 412 where it was changed meanwhile.
    pub async fn update_policy(
        &self,
        id: PolicyId,
        version: Option<i64>,
        spec: &PolicySpec,
    ) -> Result<Policy> {
        let mut request = self.request(Method::PUT, &format!("/image-policies/{id}"));
        if let Some(version) = version {
            request = request.header(header::IF_MATCH, format!("\"{version}\""));
        }
        read(send(request.json(spec)).await?).await
    }

    /// Deletes a policy.
    ///
    /// # Errors
    /// [`crate::Error`]; 404 where there is none.
    pub async fn delete_policy(&self, id: PolicyId) -> Result<()> {
        send(self.request(Method::DELETE, &format!("/image-policies/{id}")))
            .await
            .map(|_| ())
    }

    /// Switches a policy on or off.
    ///
    /// # Errors
    /// [`crate::Error`]; 404 where there is none.
    pub async fn enable_policy(&self, id: PolicyId, enabled: bool, reason: &str) -> Result<Policy> {
        let switch = if enabled { "enable" } else { "disable" };
        let path = format!("/image-policies/{id}/{switch}");
        self.call(Method::POST, &path, &because(reason)).await
    }

    /// What a push of this image would do, by all policies or by this one alone.
    ///
    /// # Errors
    /// [`crate::Error`]; 400 for what is no image, 404 where there is no such policy.
    pub async fn test_policies(&self, id: Option<PolicyId>, image: &str) -> Result<PolicyTest> {
        let path = match id {
            Some(id) => format!("/image-policies/{id}/test"),
            None => "/image-policies/test".to_owned(),
        };
        let image = PolicyTestRequest {
            image: image.to_owned(),
        };
        self.call(Method::POST, &path, &image).await
    }

    /// Holds, the one made last first; with `state` only those that stand so.
    ///
    /// # Errors
    /// [`crate::Error`].
    pub async fn holds(
        &self,
        state: Option<HoldState>,
        page: &PageQuery,
    ) -> Result<Page<HoldView>> {
        #[derive(Serialize)]
        struct Query<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            state: Option<HoldState>,
            #[serde(flatten)]
            page: &'a PageQuery,
        }
        self.get("/holds", &Query { state, page }).await
    }

    /// Holds a policy or a repository: nothing new of it ships.
    ///
    /// # Errors
    /// [`crate::Error`]; 400 with the fields that are wrong, 404 where there is no such policy.
    pub async fn hold(&self, hold: &NewHold) -> Result<HoldView> {
        self.call(Method::POST, "/holds", hold).await
    }

    /// Ends a hold.
    ///
    /// # Errors
    /// [`crate::Error`]; 404 where there is none.
    pub async fn lift_hold(&self, id: HoldId, reason: &str) -> Result<HoldView> {
        let path = format!("/holds/{id}/lift");
        self.call(Method::POST, &path, &because(reason)).await
    }
}
