//! Starting, stopping and removing containers. Doing what is done already is no error.

use crate::engine::{Engine, QUICK, SLOW};
use crate::error::Error;
use bollard::query_parameters::{
    RemoveContainerOptionsBuilder, RestartContainerOptionsBuilder, StartContainerOptions,
    StopContainerOptionsBuilder,
};
use std::time::{Duration, Instant};

/// Beyond the grace: how long the engine may take to end it and to clean up.
const AFTER_GRACE: Duration = Duration::from_secs(60);
/// How long a removal that is under way may take.
const REMOVAL: Duration = Duration::from_secs(120);
/// How often is looked whether it is over.
const LOOK: Duration = Duration::from_millis(200);

impl Engine {
    /// Starts a container. One that runs stays as it is.
    ///
    /// # Errors
    /// [`Error::Refused`] where it cannot be started: a port is taken, the program is not there.
    pub async fn start(&self, id: &str) -> Result<(), Error> {
        self.call("start container", SLOW, async |docker| {
            docker
                .start_container(id, None::<StartContainerOptions>)
                .await
        })
        .await
    }

    /// Lets a container that is held go on.
    ///
    /// # Errors
    /// Where the engine refuses.
    pub async fn unpause(&self, id: &str) -> Result<(), Error> {
        let done = self
            .call("unpause container", SLOW, async |docker| {
                docker.unpause_container(id).await
            })
            .await;
        match done {
            Err(Error::Conflict { message, .. } | Error::Refused { message, .. })
                if message.contains("not paused") =>
            {
                Ok(())
            }
            done => done,
        }
    }

    /// Asks a container to stop by its own signal and ends it after the grace. One that is gone or does
    /// not run is stopped.
    ///
    /// # Errors
    /// Where the engine does not answer or cannot end it.
    pub async fn stop(&self, id: &str, grace: Duration) -> Result<(), Error> {
        let options = StopContainerOptionsBuilder::default()
            .t(seconds(grace))
            .build();
        let done = self
            .call("stop container", grace + AFTER_GRACE, async |docker| {
                docker.stop_container(id, Some(options)).await
            })
            .await;
        match done {
            Err(error) if error.is_missing() => Ok(()),
            done => done,
        }
    }

    /// Stops a container and starts it again.
    ///
    /// # Errors
    /// Where the engine does not answer or refuses.
    pub async fn restart(&self, id: &str, grace: Duration) -> Result<(), Error> {
        let options = RestartContainerOptionsBuilder::default()
            .t(seconds(grace))
            .build();
        self.call(
            "restart container",
            grace + AFTER_GRACE + SLOW,
            async |docker| docker.restart_container(id, Some(options)).await,
        )
        .await
    }

    /// Removes a container that does not run, and none of its volumes. One that is not there is removed;
    /// one whose removal is under way is waited for.
    ///
    /// # Errors
    /// [`Error::Conflict`] where it runs, or where the removal does not come to its end.
    pub async fn remove(&self, id: &str) -> Result<(), Error> {
        let begun = Instant::now();
        loop {
            let options = RemoveContainerOptionsBuilder::default()
                .v(false)
                .force(false)
                .build();
            let done = self
                .call("remove container", SLOW, async |docker| {
                    docker.remove_container(id, Some(options)).await
                })
                .await;
            match done {
                Err(error) if error.is_missing() => return Ok(()),
                // Under way is not done: another asks for its name and does not get it.
                Err(Error::Conflict { ref message, .. })
                    if message.contains("already in progress") && begun.elapsed() < REMOVAL =>
                {
                    tokio::time::sleep(LOOK).await;
                }
                done => return done,
            }
        }
    }

    /// Ends a container at once.
    ///
    /// # Errors
    /// Where the engine does not answer.
    pub async fn kill(&self, id: &str) -> Result<(), Error> {
        let done = self
            .call("kill container", QUICK, async |docker| {
                docker
                    .kill_container(id, None::<bollard::query_parameters::KillContainerOptions>)
                    .await
            })
            .await;
        match done {
            Err(Error::Missing { .. }) => Ok(()),
            Err(Error::Conflict { message, .. }) if message.contains("is not running") => Ok(()),
            done => done,
        }
    }
}

fn seconds(grace: Duration) -> i32 {
    i32::try_from(grace.as_secs()).unwrap_or(i32::MAX)
}
