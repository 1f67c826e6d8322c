//! `windlass keys`.

use crate::cli::Keys;
use crate::exit::Failure;
use crate::output::Out;
use serde_json::json;
use windlass_client::Client;
use windlass_types::device::NewProvisioningKey;
use windlass_types::ids::{OperatorKeyId, ProvisioningKeyId};
use windlass_types::operator::NewOperatorKey;

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
        Keys::CreateOperator { name } => {
            let made = client.create_operator_key(&NewOperatorKey { name }).await?;
            if out.is_json() {
                return out.json(&made);
            }
            out.line(made.key.as_deref().unwrap_or_default())?;
            eprintln!("key {} is {}'s; it is not shown again", made.id, made.name);
            Ok(())
        }
        Keys::ListOperators => {
            let keys = client.operator_keys().await?;
            if out.is_json() {
                return out.json(&keys);
            }
            for key in keys {
                let state = match key.revoked_at {
                    Some(at) => format!("revoked {}", at.format("%Y-%m-%d")),
                    None => "live".to_owned(),
                };
                out.line(format!("{}  {}  {state}", key.id, key.name))?;
            }
            Ok(())
        }
        Keys::RevokeOperator { id } => {
            client.revoke_operator_key(OperatorKeyId(id)).await?;
            if out.is_json() {
                return out.json(&json!({"id": id, "action": "revoked"}));
            }
            out.line(format!("{id} revoked"))
        }
    }
}
