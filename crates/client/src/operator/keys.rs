//! Keys of operators and of those who register devices.

use super::NO_QUERY;
use crate::Result;
use crate::http::{Client, send};
use reqwest::Method;
use windlass_types::device::{NewProvisioningKey, ProvisioningKey};
use windlass_types::ids::{OperatorKeyId, ProvisioningKeyId};
use windlass_types::operator::{NewOperatorKey, OperatorKey};

impl Client {
    /// Makes an operator's key; the answer is the only one that shows it.
    ///
    /// # Errors
    /// [`crate::Error`]; 409 where the name is or was somebody's.
    pub async fn create_operator_key(&self, key: &NewOperatorKey) -> Result<OperatorKey> {
        self.call(Method::POST, "/operator-keys", key).await
    }

    /// All operators' keys, without the keys themselves.
    ///
    /// # Errors
    /// [`crate::Error`].
    pub async fn operator_keys(&self) -> Result<Vec<OperatorKey>> {
        self.get("/operator-keys", &NO_QUERY).await
    }

    /// Revokes an operator's key.
    ///
    /// # Errors
    /// [`crate::Error`]; 404 where there is none, 409 where it is the last.
    pub async fn revoke_operator_key(&self, id: OperatorKeyId) -> Result<()> {
        send(self.request(Method::DELETE, &format!("/operator-keys/{id}")))
            .await
            .map(|_| ())
    }

    /// Makes a provisioning key; the answer is the only one that shows it.
    ///
    /// # Errors
    /// [`crate::Error`]; 400 with the fields that are wrong.
    pub async fn create_provisioning_key(
        &self,
        key: &NewProvisioningKey,
    ) -> Result<ProvisioningKey> {
        self.call(Method::POST, "/provisioning-keys", key).await
    }

    /// Revokes a provisioning key.
    ///
    /// # Errors
    /// [`crate::Error`]; 404 where there is none.
    pub async fn revoke_provisioning_key(&self, id: ProvisioningKeyId) -> Result<()> {
        send(self.request(Method::DELETE, &format!("/provisioning-keys/{id}")))
            .await
            .map(|_| ())
    }
}
