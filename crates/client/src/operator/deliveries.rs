//! Webhooks and registries.

use super::{DeliveryQuery, NO_QUERY, PageQuery};
use crate::Result;
use crate::http::{Client, read, send};
use reqwest::{Method, header};
use windlass_types::delivery::{Delivery, DeliveryDetail, EndpointHealth, Replayed, Tried};
use windlass_types::ids::DeliveryId;
use windlass_types::page::Page;
use windlass_types::registry::RegistryWatch;

impl Client {
    /// Webhook deliveries, latest first; served by webhook-ingest, which `windlass up` has at the
    /// same address.
    ///
    /// # Errors
    /// [`crate::Error`].
    pub async fn deliveries(&self, query: &DeliveryQuery) -> Result<Page<Delivery>> {
        self.get("/webhooks/deliveries", query).await
    }

    /// One delivery with what is kept of it.
    ///
    /// # Errors
    /// [`crate::Error`]; 404 where there is none.
    pub async fn delivery(&self, id: DeliveryId) -> Result<DeliveryDetail> {
        self.get(&format!("/webhooks/deliveries/{id}"), &NO_QUERY)
            .await
    }

    /// The body of a delivery as it was received.
    ///
    /// # Errors
    /// [`crate::Error`]; 404 where it is no longer kept.
    pub async fn delivery_body(&self, id: DeliveryId) -> Result<Vec<u8>> {
        let path = format!("/webhooks/deliveries/{id}/body");
        let response = send(self.request(Method::GET, &path)).await?;
        let body = response.bytes().await.map_err(crate::Error::Transport)?;
        Ok(body.to_vec())
    }

    /// Reads a delivery again with today's parser.
    ///
    /// # Errors
    /// [`crate::Error`]; 404 where there is none, 409 where its body or its endpoint is gone.
    pub async fn replay_delivery(&self, id: DeliveryId) -> Result<Replayed> {
        let path = format!("/webhooks/deliveries/{id}/replay");
        read(send(self.request(Method::POST, &path)).await?).await
    }

    /// What an endpoint would read a delivery as; nothing is stored. Headers are those that senders are
    /// recognised by, such as `x-github-event`.
    ///
    /// # Errors
    /// [`crate::Error`]; 404 where the configuration has no such endpoint.
    pub async fn try_delivery(
        &self,
        endpoint: &str,
        headers: &[(String, String)],
        body: Vec<u8>,
    ) -> Result<Tried> {
        let mut request = self
            .request(Method::POST, &format!("/webhooks/{endpoint}/test"))
            .header(header::CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        read(send(request.body(body)).await?).await
    }

    /// How every webhook endpoint is doing, counted over so many days.
    ///
    /// # Errors
    /// [`crate::Error`].
    pub async fn webhook_endpoints(&self, days: Option<u32>) -> Result<Vec<EndpointHealth>> {
        let query: Vec<(&str, u32)> = days.into_iter().map(|days| ("days", days)).collect();
        self.get("/webhooks/endpoints", &query).await
    }

    /// The repositories that are looked at, and how often their registries may be asked; served by
    /// webhook-ingest, which `windlass up` has at the same address.
    ///
    /// # Errors
    /// [`crate::Error`].
    pub async fn registry_watch(&self, page: &PageQuery) -> Result<RegistryWatch> {
        self.get("/registry-watch", page).await
    }
}
