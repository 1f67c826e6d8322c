//! `windlass keys`.

use crate::cli::Keys;
use crate::exit::Failure;
use crate::output::Out;
use serde_json::json;
use windlass_client::Client;
use windlass_types::device::NewProvisioningKey;
use windlass_types::ids::ProvisioningKeyId;

pub(crate) async fn run(client: &Client, command: Keys, out: &mut Out) -> Result<(), Failure> {
    match command {
        Keys::CreateProvisioning {
            fleet,
            max_devices,
            expires_in_days,
            description,
        } => {
            let wanted = NewProvisioningKey {
                fleet_id: fleet,
                max_devices,
                expires_in_days,
                description,
            };
            let made = client.create_provisioning_key(&wanted).await?;
            if out.is_json() {
                return out.json(&made);
            }
            out.line(made.key.as_deref().unwrap_or_default())?;
            eprintln!(
                "key {} registers up to {} devices into fleet {} until {}; it is not shown again",
                made.id,
                made.max_devices,
                made.fleet_id,
                made.expires_at.format("%Y-%m-%d")
            );
            Ok(())
        }
        Keys::RevokeProvisioning { id } => {
            client
                .revoke_provisioning_key(ProvisioningKeyId(id))
                .await?;
            if out.is_json() {
                return out.json(&json!({"id": id, "action": "revoked"}));
            }
            out.line(format!("{id} revoked"))
        }
    }
}
