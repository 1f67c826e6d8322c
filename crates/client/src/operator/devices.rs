//! Devices, their targets and why they are where they are.

use super::{DeviceQuery, NO_QUERY, PageQuery, because};
use crate::Result;
use crate::http::{Client, read, send};
use reqwest::{Method, header};
use windlass_types::api::{DevicePatch, Fleet, NewTarget, Penalty};
use windlass_types::device::{Device, DeviceCurrentState, DeviceTarget};
use windlass_types::ids::DeviceId;
use windlass_types::page::Page;
use windlass_types::why::Why;

impl Client {
    /// Devices set aside for a time, by uuid.
    ///
    /// # Errors
    /// [`crate::Error`].
    pub async fn penalties(&self, page: &PageQuery) -> Result<Page<Penalty>> {
        self.get("/penalties", page).await
    }

    /// Lets a device take part again that was set aside.
    ///
    /// # Errors
    /// [`crate::Error`]; 404 where it was not.
    pub async fn lift_penalty(&self, device: DeviceId, reason: &str) -> Result<()> {
        let request = self
            .request(Method::DELETE, &format!("/penalties/{device}"))
            .json(&because(reason));
        send(request).await.map(|_| ())
    }

    /// Deletes a device: its key stops working at once.
    ///
    /// # Errors
    /// [`crate::Error`]; 404 where there is none.
    pub async fn delete_device(&self, uuid: DeviceId, reason: &str) -> Result<()> {
        let request = self
            .request(Method::DELETE, &format!("/devices/{uuid}"))
            .json(&because(reason));
        send(request).await.map(|_| ())
    }

    /// Devices.
    ///
    /// # Errors
    /// [`crate::Error`].
    pub async fn devices(&self, query: &DeviceQuery) -> Result<Page<Device>> {
        self.get("/devices", query).await
    }

    /// One device.
    ///
    /// # Errors
    /// [`crate::Error`]; 404 where there is none.
    pub async fn device_info(&self, uuid: DeviceId) -> Result<Device> {
        self.get(&format!("/devices/{uuid}"), &NO_QUERY).await
    }

    /// Changes what is given of a device.
    ///
    /// # Errors
    /// [`crate::Error`]; 404 where there is none.
    pub async fn patch_device(&self, uuid: DeviceId, patch: &DevicePatch) -> Result<Device> {
        self.call(Method::PATCH, &format!("/devices/{uuid}"), patch)
            .await
    }

    /// A device's target.
    ///
    /// # Errors
    /// [`crate::Error`]; 404 where there is none.
    pub async fn target(&self, uuid: DeviceId) -> Result<DeviceTarget> {
        self.get(&format!("/devices/{uuid}/target-state"), &NO_QUERY)
            .await
    }

    /// Gives a device another target; with `version` only if its target is still that one.
    ///
    /// # Errors
    /// [`crate::Error`]; 412 where it was changed meanwhile, 400 with the fields that are wrong.
    pub async fn set_target(
        &self,
        uuid: DeviceId,
        version: Option<i64>,
        target: &NewTarget,
    ) -> Result<DeviceTarget> {
        let mut request = self.request(Method::PUT, &format!("/devices/{uuid}/target-state"));
        if let Some(version) = version {
            request = request.header(header::IF_MATCH, format!("\"{version}\""));
        }
        read(send(request.json(target)).await?).await
    }

    /// What a device said last.
    ///
    /// # Errors
    /// [`crate::Error`]; 404 where there is none.
    pub async fn current_state(&self, uuid: DeviceId) -> Result<DeviceCurrentState> {
        self.get(&format!("/devices/{uuid}/current-state"), &NO_QUERY)
            .await
    }

    /// Why a device runs what it runs, or does not move.
    ///
    /// # Errors
    /// [`crate::Error`]; 404 where there is none.
    pub async fn why(&self, uuid: DeviceId) -> Result<Why> {
        self.get(&format!("/devices/{uuid}/why"), &NO_QUERY).await
    }

    /// Fleets.
    ///
    /// # Errors
    /// [`crate::Error`].
    pub async fn fleets(&self, page: &PageQuery) -> Result<Page<Fleet>> {
        self.get("/fleets", page).await
    }
}
