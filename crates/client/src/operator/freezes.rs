//! Freezes and the stop of everything.

use super::{PageQuery, because};
use crate::Result;
use crate::http::Client;
use reqwest::Method;
use serde::Serialize;
use windlass_types::api::{FreezeState, FreezeView, NewFreeze, Stopped};
use windlass_types::ids::FreezeId;
use windlass_types::page::Page;

impl Client {
    /// Freezes, the one made last first; with `state` only those that stand so.
    ///
    /// # Errors
    /// [`crate::Error`].
    pub async fn freezes(
        &self,
        state: Option<FreezeState>,
        page: &PageQuery,
    ) -> Result<Page<FreezeView>> {
        #[derive(Serialize)]
        struct Query<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            state: Option<FreezeState>,
            #[serde(flatten)]
            page: &'a PageQuery,
        }
        self.get("/freezes", &Query { state, page }).await
    }

    /// Plans a time in which nothing is admitted.
    ///
    /// # Errors
    /// [`crate::Error`]; 400 with the fields that are wrong.
    pub async fn freeze(&self, freeze: &NewFreeze) -> Result<FreezeView> {
        self.call(Method::POST, "/freezes", freeze).await
    }

    /// Ends a freeze, or takes one back that is to come.
    ///
    /// # Errors
    /// [`crate::Error`]; 404 where there is none.
    pub async fn lift_freeze(&self, id: FreezeId, reason: &str) -> Result<FreezeView> {
        let path = format!("/freezes/{id}/lift");
        self.call(Method::POST, &path, &because(reason)).await
    }

    /// Stops all rollouts.
    ///
    /// # Errors
    /// [`crate::Error`].
    pub async fn stop(&self, reason: &str) -> Result<Stopped> {
        self.call(Method::POST, "/stop", &because(reason)).await
    }

    /// Lets rollouts go on after [`Client::stop`].
    ///
    /// # Errors
    /// [`crate::Error`].
    pub async fn lift_stop(&self, reason: &str) -> Result<Stopped> {
        self.call(Method::POST, "/stop/lift", &because(reason))
            .await
    }
}
