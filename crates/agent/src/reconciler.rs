//! The loop: look, let the plan decide one step, do it, look again.
//!
//! What a step makes possible is written down, durably, before the step is done. Nothing that is known
//! only here is needed after a kill: the engine and the files tell all of it.

mod aside;
mod fault;
mod kept;
mod own;
mod pulls;
mod seen;
mod taking;

pub use fault::Fault;
pub use kept::Kept;
pub use own::own_container;

use crate::backoff::Backoff;
use crate::link::Offer;
use crate::machine::{Machine, Scene, Trouble};
use crate::picture::Picture;
use crate::ship::Shipped;
use crate::taking::Watching;
use aside::AsideList;
use chrono::{DateTime, Utc};
use pulls::{Pulled, Pulls};
use seen::Seen;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use windlass_reconcile::observed::Observed;
use windlass_reconcile::outcome::{StepFailure, note_of_failure};
use windlass_reconcile::plan::{Plan, plan};
use windlass_reconcile::settings::Settings;
use windlass_reconcile::spec::{UpdateStrategy, Wanted};
use windlass_reconcile::step::Step;

/// How long a look may take.
const LOOK: Duration = Duration::from_secs(60);
/// How long a step may take beside the time it is given itself.
const STEP: Duration = Duration::from_secs(300);
/// A look is had at least this often: events of the engine can be lost.
const RESCAN: Duration = Duration::from_secs(300);
/// How often it is seen whether a person made a claim.
const CLAIMS: Duration = Duration::from_secs(5);
/// How long is waited for an engine that is away, at first and at most.
const AWAY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// A step that is planned again and again though it went well changes nothing: it is slowed down.
const SAME_STEP: u32 = 3;

/// The loop and what it works with.
#[derive(Debug)]
pub struct Reconciler<M> {
    /// The engine.
    pub machine: Arc<M>,
    /// What is kept on disk.
    pub kept: Kept,
    /// How it goes about things.
    pub settings: Settings,
    /// The container that the agent itself runs in.
    pub own: Option<String>,
    /// What the server says.
    pub offers: watch::Receiver<Offer>,
    /// Where it shows how it stands.
    pub pictures: watch::Sender<Arc<Picture>>,
    /// Whose logs are to be shipped.
    pub shipped: watch::Sender<Arc<Shipped>>,
    /// Where tests end the process.
    pub fault: Fault,
    /// Whether containers that somebody else made are taken.
    pub watching: Option<Watching>,
}

/// What is known while the loop runs, and can be found out again after a restart.
struct Turn {
    wanted: Option<Arc<Wanted>>,
    refused: Option<String>,
    aside: AsideList,
    pulls: Pulls,
    seen: Seen,
    last: Option<(Step, u32)>,
    away: Backoff,
    /// Containers that ask to be taken and are not, and why.
    alone: BTreeSet<String>,
}

/// What to do after a look.
enum Next {
    /// Look again.
    Again,
    /// Wait for a change, or until then.
    Wait(Option<DateTime<Utc>>),
    /// Wait for a change, or so long.
    Pause(Duration),
}

impl<M: Machine> Reconciler<M> {
    /// Goes on until shutdown. A step under way is dropped then, and seen again by the next start.
    pub async fn run(mut self, shutdown: &CancellationToken) {
        let mut turn = Turn {
            wanted: self.kept.wanted(),
            refused: None,
            aside: AsideList::default(),
            pulls: Pulls::default(),
            seen: Seen::default(),
            last: None,
            away: Backoff::new(AWAY.0, AWAY.1),
            alone: BTreeSet::new(),
        };
        self.show_book();
        let work = async {
            loop {
                self.take_offer(&mut turn);
                let next = self.turn(&mut turn).await;
                self.rest(&mut turn, next).await;
            }
        };
        shutdown.run_until_cancelled(work).await;
    }

    /// Takes what the server says, where it may be taken: first on disk, then in force.
    fn take_offer(&mut self, turn: &mut Turn) {
        let offer = self.offers.borrow_and_update().clone();
        let target = match offer {
            Offer::None => return,
            Offer::NoTarget(reason) => {
                turn.refused = Some(reason);
                return;
            }
            Offer::Target(target) => target,
        };
        if let Some(reason) = self.kept.refusal(target.version) {
            if turn.refused.as_ref() != Some(&reason) {
                tracing::error!(reason, "the server's target is not taken");
            }
            turn.refused = Some(reason);
            return;
        }
        turn.refused = None;
        match self.kept.take(&target) {
            Ok(false) => {}
            Ok(true) => {
                tracing::info!(target.version = target.version, "a target was taken");
                let wanted = self.kept.wanted();
                for warning in wanted.iter().flat_map(|wanted| &wanted.warnings) {
                    tracing::warn!(warning, "left out of the target");
                }
                if let Some(wanted) = &wanted {
                    turn.pulls.keep_only(wanted);
                }
                turn.wanted = wanted;
                // What was put aside may be mended by the new target.
                turn.aside = AsideList::default();
                turn.last = None;
            }
            Err(error) => {
                tracing::error!(%error, "a target cannot be written down and is not taken yet");
                turn.refused = Some(error.to_string());
            }
        }
    }

    /// One look and at most one step.
    async fn turn(&mut self, turn: &mut Turn) -> Next {
        let Some(wanted) = turn.wanted.clone() else {
            self.show(turn, None, None);
            return Next::Wait(None);
        };
        for pulled in turn.pulls.ended() {
            self.after_pull(turn, &wanted, pulled);
        }
        let mut scene = self.kept.scene(wanted);
        let looked = timeout(LOOK, self.machine.observe(&scene)).await;
        let mut observed = match looked.unwrap_or_else(|_| Err(no_answer(LOOK))) {
            Ok(observed) => observed,
            Err(trouble) => return self.away(turn, &trouble),
        };
        match self.take(turn, &scene, &observed).await {
            Ok(false) => {}
            Ok(true) => return Next::Again,
            Err(trouble) => return self.away(turn, &trouble),
        }
        turn.away.reset();
        self.kept.leave(&scene, &mut observed);
        self.kept.drop_stale_claims(&scene, &observed);
        // After all that was written down and seen: a plan takes what is further off than anything can be for
        // the work of a clock that was put back.
        let now = Utc::now();
        turn.seen.tell(&mut observed, &scene.memory, Instant::now());
        observed.pulling = turn.pulls.images();
        observed.aside = turn.aside.at(now);
        self.never_stop_itself_first(&mut scene, &observed);
        let Plan {
            step,
            views,
            look_again_at,
            refused,
        } = plan(&scene.wanted, &observed, &scene.memory, &self.settings, now);
        if refused.is_some() {
            turn.refused = refused;
        }
        let ships = self.kept.ships(&views);
        self.shipped.send_if_modified(|shipped| {
            let changed = **shipped != ships;
            *shipped = Arc::new(ships);
            changed
        });
        let doing = step.as_ref().map(|step| step.name().to_owned());
        self.show(turn, Some((views, doing)), None);
        match step {
            None => {
                turn.last = None;
                let until = [look_again_at, turn.aside.next()]
                    .into_iter()
                    .flatten()
                    .min();
                Next::Wait(until)
            }
            Some(step) => self.step(turn, &scene, &observed, step).await,
        }
    }

    /// Does one step.
    async fn step(
        &mut self,
        turn: &mut Turn,
        scene: &Scene,
        observed: &Observed,
        step: Step,
    ) -> Next {
        let again = match &turn.last {
            Some((last, times)) if *last == step => times.saturating_add(1),
            _ => 0,
        };
        turn.last = Some((step.clone(), again));
        if again >= SAME_STEP {
            let pause = Duration::from_secs(1 << again.min(6));
            tracing::warn!(step = step.name(), "planned again though it was done");
            // Done all the same: it may be what mends it. Only not in a spin.
            sleep(pause).await;
        }
        self.fault.at("before", &step);
        let mut memory = (*scene.memory).clone();
        if memory.write(&step) {
            tracing::debug!(step = step.name(), subject = step.subject(), "written down");
            let written = self.kept.remember(memory);
            self.fault.at("after", &step);
            return match written {
                Ok(()) => Next::Again,
                Err(error) => {
                    let text = error.to_string();
                    tracing::error!(
                        error = text,
                        "nothing is done before it can be written down"
                    );
                    self.show(turn, None, Some(text));
                    Next::Pause(turn.away.next(None))
                }
            };
        }
        if let Step::Pull { service, image } = &step {
            tracing::info!(service = %service, image, "pulling");
            turn.pulls
                .begin(&self.machine, scene, &step, observed, service, image);
            self.fault.at("after", &step);
            // Told at once: the next look can take long.
            return Next::Again;
        }
        tracing::info!(step = step.name(), subject = step.subject(), "doing");
        let within = STEP + given(&step);
        let done = timeout(within, self.machine.execute(scene, &step)).await;
        self.fault.at("after", &step);
        match done.unwrap_or_else(|_| Err(no_answer(within))) {
            Ok(()) => {
                turn.aside.clear(&step.subject());
                Next::Again
            }
            Err(Trouble::Away(reason)) => self.away(turn, &Trouble::Away(reason)),
            Err(Trouble::Failed(failure)) => {
                self.failed(turn, &step, &failure, scene, observed);
                Next::Again
            }
        }
    }

    /// Writes down that a step failed, or puts what it is about aside for a while.
    fn failed(
        &mut self,
        turn: &mut Turn,
        step: &Step,
        failure: &StepFailure,
        scene: &Scene,
        observed: &Observed,
    ) {
        let now = Utc::now();
        tracing::warn!(
            step = step.name(),
            subject = step.subject(),
            class = failure.class.as_str(),
            error = failure.message,
            "a step failed"
        );
        let note = note_of_failure(
            step,
            failure,
            &scene.wanted,
            observed,
            &self.kept.memory,
            &self.settings,
            now,
        );
        let Some((service, note)) = note else {
            turn.aside
                .put(step.subject(), &failure.message, &self.settings, now);
            return;
        };
        let mut memory = (*self.kept.memory).clone();
        memory.apply(service, note);
        if let Err(error) = self.kept.remember(memory) {
            tracing::error!(%error, "a failure cannot be written down");
            turn.aside
                .put(step.subject(), &failure.message, &self.settings, now);
        }
    }

    /// What came of a pull, judged by what is wanted now: the target may have changed meanwhile.
    fn after_pull(&mut self, turn: &mut Turn, wanted: &Arc<Wanted>, pulled: Pulled) {
        let subject = pulled.step.subject();
        match pulled.result {
            Ok(()) => {
                tracing::info!(image = pulled.image, "pulled");
                turn.aside.clear(&subject);
            }
            // The engine going away says nothing of the image.
            Err(Trouble::Away(reason)) => {
                turn.aside.put(subject, &reason, &self.settings, Utc::now());
            }
            Err(Trouble::Failed(failure)) => {
                let scene = self.kept.scene(Arc::clone(wanted));
                self.failed(turn, &pulled.step, &failure, &scene, &pulled.observed);
            }
        }
    }

    fn away(&self, turn: &mut Turn, trouble: &Trouble) -> Next {
        let text = trouble.to_string();
        let known = self.pictures.borrow().trouble.clone();
        if known.as_ref() == Some(&text) {
            tracing::debug!(error = text, "still");
        } else {
            tracing::error!(error = text, "nothing can be done; what runs is left alone");
        }
        self.show(turn, None, Some(text));
        Next::Pause(turn.away.next(None))
    }

    /// The agent's own container, where it is a service of the target, changes hand over hand: the new one
    /// waits beside it for the state directory, and has it when the old one is stopped.
    fn never_stop_itself_first(&self, scene: &mut Scene, observed: &Observed) {
        let Some(own) = &self.own else { return };
        let container = observed.containers.iter().find(|c| c.id == *own);
        let service = container.map(|container| container.service);
        if let Some(service) = service
            && let Some(spec) = Arc::make_mut(&mut scene.wanted).services.get_mut(&service)
        {
            spec.update = UpdateStrategy::BlueGreen;
        }
    }

    fn show(
        &self,
        turn: &Turn,
        seen: Option<(Vec<windlass_reconcile::view::ServiceView>, Option<String>)>,
        trouble: Option<String>,
    ) {
        let (services, doing) = seen.map_or((None, None), |(views, doing)| (Some(views), doing));
        let picture = Picture {
            at: Some(Utc::now()),
            version: self.kept.version(),
            refused: turn.refused.clone(),
            services,
            trouble,
            doing,
            warnings: turn
                .wanted
                .as_ref()
                .map(|wanted| wanted.warnings.clone())
                .unwrap_or_default(),
            left_alone: self.left_alone(turn),
        };
        self.pictures.send_replace(Arc::new(picture));
    }

    /// Waits for what makes another look worth while.
    async fn rest(&mut self, turn: &mut Turn, next: Next) {
        let wait = match next {
            Next::Again => return,
            Next::Pause(pause) => pause,
            Next::Wait(None) => RESCAN,
            Next::Wait(Some(until)) => (until - Utc::now())
                .to_std()
                .unwrap_or(Duration::ZERO)
                // A time that is past already must not make a spin.
                .clamp(Duration::from_millis(50), RESCAN),
        };
        let offers = &mut self.offers;
        let offered = async {
            if offers.changed().await.is_err() {
                // Nobody polls any more; what is wanted stays.
                std::future::pending::<()>().await;
            }
        };
        let said = self.watching.as_mut().map(|watching| &mut watching.said);
        let said = async {
            if let Some(said) = said
                && said.changed().await.is_ok()
            {
                return;
            }
            std::future::pending::<()>().await;
        };
        let kept = &self.kept;
        let claims = async {
            loop {
                sleep(CLAIMS).await;
                if kept.claims_changed() {
                    return;
                }
            }
        };
        tokio::select! {
            () = sleep(wait) => {}
            () = offered => {}
            () = self.machine.changed() => {}
            () = said => {}
            () = turn.pulls.one_ended() => {}
            () = claims => {}
        }
    }
}

/// The time that a step is given by the plan.
fn given(step: &Step) -> Duration {
    match step {
        Step::Stop { grace_seconds, .. } | Step::Restart { grace_seconds, .. } => {
            Duration::from_secs(u64::from(*grace_seconds))
        }
        _ => Duration::ZERO,
    }
}

fn no_answer(within: Duration) -> Trouble {
    Trouble::Away(format!("no answer within {} s", within.as_secs()))
}
