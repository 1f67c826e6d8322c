//! One newtype per id, so that no id is taken for another.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A text that is none of the values it may be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is no {what}; allowed: {}", allowed.trim_end())]
pub struct Unknown {
    /// The type that was expected.
    pub what: &'static str,
    /// What was given.
    pub value: String,
    /// The values that are allowed, for people.
    pub allowed: &'static str,
}

macro_rules! uuid_id {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
            utoipa::ToSchema,
        )]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }
    };
}

uuid_id!(
    /// A device: the uuid it made for itself (a v4, by the device protocol).
    DeviceId
);
uuid_id!(
    /// A rollout (UUIDv7).
    RolloutId
);
uuid_id!(
    /// A policy (UUIDv7).
    PolicyId
);
uuid_id!(
    /// An operator's key (UUIDv7).
    OperatorKeyId
);
uuid_id!(
    /// A freeze (UUIDv7).
    FreezeId
);
uuid_id!(
    /// A hold on a policy or a repository (UUIDv7).
    HoldId
);
uuid_id!(
    /// A plan of a rollout, made by a dry run (UUIDv7).
    PlanId
);
uuid_id!(
    /// A webhook delivery as stored (UUIDv7); not the sender's own delivery id.
    DeliveryId
);
uuid_id!(
    /// One image version that was seen: repository, tag and digest at a time (UUIDv7).
    ImageVersionId
);
uuid_id!(
    /// A provisioning key (UUIDv7); not the key itself.
    ProvisioningKeyId
);
uuid_id!(
    /// A report made by our own agent (UUIDv7, made by the device).
    ReportId
);
uuid_id!(
    /// An operator's command on a rollout (UUIDv7).
    CommandId
);
uuid_id!(
    /// A rollout that an operator asked for by hand (UUIDv7).
    TriggerId
);
uuid_id!(
    /// A shared target state: the first 16 bytes of the SHA-256 of its canonical JSON.
    StateId
);
uuid_id!(
    /// What ties together everything one push caused, from the webhook to the last verdict (UUIDv7).
    CorrelationId
);

/// A fleet's name: 1 to 64 of `a-z A-Z 0-9 . _ -`, beginning with a letter or digit.
#[derive(
    Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]*$")]
pub struct FleetId(String);

/// Why a text is no fleet name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no fleet name: 1 to 64 letters, digits, '.', '_' or '-', beginning with a letter or digit"
)]
pub struct InvalidFleetId(pub String);

impl FleetId {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for FleetId {
    type Error = InvalidFleetId;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let head = text
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_alphanumeric());
        let rest = text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if head && rest && text.len() <= 64 {
            Ok(Self(text))
        } else {
            Err(InvalidFleetId(text))
        }
    }
}

impl std::str::FromStr for FleetId {
    type Err = InvalidFleetId;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.to_owned().try_into()
    }
}

impl From<FleetId> for String {
    fn from(id: FleetId) -> Self {
        id.0
    }
}

impl std::fmt::Display for FleetId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}
