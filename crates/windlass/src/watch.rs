//! Following a rollout to its end.

use crate::exit::Failure;
use crate::output::Out;
use crate::progress::Board;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use windlass_client::Client;
use windlass_types::ids::RolloutId;
use windlass_types::rollout::{RolloutStatus, RolloutView};

/// How often the server is asked; quick enough for a bar, slow enough for a server.
const EVERY: Duration = Duration::from_millis(500);
/// How long a server may be away, such as for a restart, before that is an error.
const PATIENCE: Duration = Duration::from_secs(30);

/// When to stop following.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Until {
    /// Goes on through pauses.
    pub(crate) through_pauses: bool,
    /// Gives up after this.
    pub(crate) timeout: Option<Duration>,
}

/// Follows a rollout until it ends or pauses. Well only where it completed.
pub(crate) async fn watch(
    client: &Client,
    id: RolloutId,
    until: Until,
    out: &mut Out,
) -> Result<(), Failure> {
    let started = Instant::now();
    let mut board = Board::new(out);
    let mut away_since = None;
    loop {
        match client.rollout(id).await {
            Ok(view) => {
                away_since = None;
                board.show(&view, out)?;
                if let Some(end) = ending(&view, until.through_pauses) {
                    board.finish();
                    return end;
                }
            }
            Err(error) if error.is_transient() => {
                let since = *away_since.get_or_insert_with(Instant::now);
                if since.elapsed() > PATIENCE || started.elapsed() < EVERY {
                    return Err(error.into());
                }
            }
            Err(error) => return Err(error.into()),
        }
        if until.timeout.is_some_and(|limit| started.elapsed() > limit) {
            return Err(Failure::failed("the rollout did not end in time"));
        }
        sleep(EVERY).await;
    }
}

fn ending(view: &RolloutView, through_pauses: bool) -> Option<Result<(), Failure>> {
    let rollout = &view.rollout;
    let ended = match rollout.status {
        RolloutStatus::Completed => return Some(Ok(())),
        RolloutStatus::Paused => !through_pauses,
        status => status.is_final(),
    };
    ended.then(|| {
        let why = rollout
            .status_detail
            .clone()
            .or_else(|| rollout.status_reason.map(|reason| reason.to_string()));
        let why = why.map(|why| format!(": {why}")).unwrap_or_default();
        Err(Failure::failed(format!(
            "the rollout is {}{why}",
            rollout.status
        )))
    })
}
