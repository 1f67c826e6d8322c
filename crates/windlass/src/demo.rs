//! `windlass demo`: the whole system in this process, simulated devices over real HTTP, a registry
//! of its own; one good release and one bad one.
//!
//! Nothing is staged: the devices really run what they are told, the bad image really fails on a
//! third of them, and everything said at the end is read from the API.

mod checks;
mod stage;
mod story;

use crate::cli::Demo;
use crate::exit::Failure;
use crate::output::Out;
use stage::Stage;
use story::Story;
use tokio_util::sync::CancellationToken;

/// Runs it. Well only where everything ended as it should.
pub(crate) async fn demo(given: &Demo, out: &mut Out) -> Result<(), Failure> {
    let stop = CancellationToken::new();
    windlass_service::cancel_on_signal(&stop);
    let mut story = Story::new(out);
    let stage = Stage::set_up(given, &mut story).await?;
    let told = tokio::select! {
        told = play(&stage, &mut story, given.keep) => told,
        () = stop.cancelled() => Err(Failure::failed("stopped before the end")),
    };
    story.end();
    if given.keep && !stop.is_cancelled() {
        story.keep(stage.url(), stage.key())?;
        stop.cancelled().await;
    }
    stage.tear_down().await;
    told
}

async fn play(stage: &Stage, story: &mut Story<'_>, keep: bool) -> Result<(), Failure> {
    stage.everyone_registered(story).await?;
    stage.everyone_on_v1(story).await?;
    story.listen(stage.client()).await?;
    let good = stage.ship_v2(story).await?;
    let bad = stage.ship_v3(story).await?;
    stage.push_v3_again(story).await?;
    let checks = checks::all(stage, &good, &bad).await?;
    story.summary(&checks, keep.then(|| (stage.url(), stage.key())))
}
