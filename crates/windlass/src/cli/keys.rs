//! Keys.

use clap::Subcommand;
use windlass_types::ids::FleetId;

#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Make a key with which devices register; it is shown once.
    CreateProvisioning {
        /// The fleet its devices join; made where it does not exist.
        #[arg(long)]
        fleet: FleetId,
        /// How many devices it may register.
        #[arg(long, default_value_t = 100)]
        max_devices: i64,
        /// How long it is valid.
        #[arg(long, default_value_t = 365)]
        expires_in_days: i64,
        /// For people.
        #[arg(long, default_value = "")]
        description: String,
    },
    /// Make a provisioning key useless; its devices stay.
    RevokeProvisioning {
        /// The key's id.
        id: uuid::Uuid,
    },
    /// Make a key for another operator, whose orders and approvals then carry their name; it is shown
    /// once.
    CreateOperator {
        /// Their name in the audit trail.
        name: String,
    },
    /// Show whose keys there are.
    ListOperators,
    /// Make an operator's key useless.
    RevokeOperator {
        /// The key's id.
        id: uuid::Uuid,
    },
}
