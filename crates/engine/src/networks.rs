//! Networks of user-defined bridges, where containers find each other by name.

use crate::create::Attachment;
use crate::engine::{Engine, QUICK, SLOW};
use crate::error::Error;
use bollard::models::{
    EndpointSettings, NetworkConnectRequest, NetworkCreateRequest, NetworkDisconnectRequest,
};
use bollard::query_parameters::ListNetworksOptionsBuilder;
use std::collections::{BTreeMap, HashMap};

/// A network as the engine has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundNetwork {
    /// The engine's id.
    pub id: String,
    /// Its name; engines let two have the same.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

impl Engine {
    /// The networks that carry every one of these labels.
    ///
    /// # Errors
    /// Where the engine does not answer.
    pub async fn networks(&self, labels: &[String]) -> Result<Vec<FoundNetwork>, Error> {
        self.networks_by("label", labels.to_vec()).await
    }

    async fn networks_by(&self, key: &str, of: Vec<String>) -> Result<Vec<FoundNetwork>, Error> {
        let filters = HashMap::from([(key.to_owned(), of)]);
        let options = ListNetworksOptionsBuilder::default()
            .filters(&filters)
            .build();
        let found = self
            .call("list networks", QUICK, async |docker| {
                docker.list_networks(Some(options)).await
            })
            .await?;
        Ok(found
            .into_iter()
            .filter_map(|one| {
                Some(FoundNetwork {
                    id: one.id?,
                    name: one.name?,
                    labels: one.labels.unwrap_or_default().into_iter().collect(),
                })
            })
            .collect())
    }

    /// Makes a bridge with a name of its own. One that is there with the same labels is taken; one with
    /// others is not ours.
    ///
    /// # Errors
    /// [`Error::Conflict`] where the name is another's; where the engine refuses.
    pub async fn create_network(
        &self,
        name: &str,
        labels: &BTreeMap<String, String>,
    ) -> Result<(), Error> {
        const ACTION: &str = "create network";
        // Engines do not keep names of networks apart by themselves (`CheckDuplicate` is best effort and gone
        // since API 1.44), so it is looked at first.
        let same = self
            .networks_by("name", vec![name.to_owned()])
            .await?
            .into_iter()
            .find(|network| network.name == name);
        if let Some(network) = same {
            let ours = labels
                .iter()
                .all(|(label, value)| network.labels.get(label) == Some(value));
            return if ours {
                Ok(())
            } else {
                Err(Error::Conflict {
                    action: ACTION,
                    message: format!("a network {name} is there that is not this agent's"),
                })
            };
        }
        let request = NetworkCreateRequest {
            name: name.to_owned(),
            driver: Some("bridge".to_owned()),
            labels: Some(labels.clone().into_iter().collect()),
            ..Default::default()
        };
        self.call(ACTION, SLOW, async |docker| {
            docker.create_network(request).await
        })
        .await
        .map(|_| ())
    }

    /// Removes a network; one that is not there is removed.
    ///
    /// # Errors
    /// Where the engine refuses, as it does while containers are in it.
    pub async fn remove_network(&self, name: &str) -> Result<(), Error> {
        let done = self
            .call("remove network", SLOW, async |docker| {
                docker.remove_network(name).await
            })
            .await;
        match done {
            Err(error) if error.is_missing() => Ok(()),
            done => done,
        }
    }

    /// Puts a container into a network under names. One that is in it under these names already stays so.
    ///
    /// # Errors
    /// Where the engine refuses.
    pub async fn attach(&self, container: &str, to: &Attachment) -> Result<(), Error> {
        let request = NetworkConnectRequest {
            container: container.to_owned(),
            endpoint_config: Some(endpoint(to)),
        };
        self.call("attach to network", SLOW, async |docker| {
            docker.connect_network(&to.network, request).await
        })
        .await
    }

    /// Takes a container out of a network; one that is not in it is out.
    ///
    /// # Errors
    /// Where the engine refuses.
    pub async fn detach(&self, container: &str, network: &str) -> Result<(), Error> {
        let request = NetworkDisconnectRequest {
            container: container.to_owned(),
            force: Some(true),
        };
        let done = self
            .call("detach from network", SLOW, async |docker| {
                docker.disconnect_network(network, request).await
            })
            .await;
        match done {
            Err(Error::Missing { .. }) => Ok(()),
            Err(Error::Refused { message, .. } | Error::Conflict { message, .. })
                if message.contains("is not connected to") =>
            {
                Ok(())
            }
            done => done,
        }
    }
}

pub(crate) fn endpoint(to: &Attachment) -> EndpointSettings {
    EndpointSettings {
        aliases: Some(to.aliases.clone()),
        ..Default::default()
    }
}
