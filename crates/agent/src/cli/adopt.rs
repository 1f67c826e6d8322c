//! `adopt`: claims are shown, asked for, and written down.

use super::{Failure, Given};
use crate::adopt::{COMPOSE_PROJECT, NotTaken, Proposal, Stranger, propose};
use crate::config::Config;
use crate::machine::Claims;
use crate::state::{self, StateDir};
use crate::target::Target;
use clap::Args;
use serde_json::json;
use std::io::Write as _;
use windlass_engine::{Engine, Found};
use windlass_reconcile::spec::Wanted;

/// Which containers.
#[derive(Debug, Args)]
pub struct Adopt {
    #[command(flatten)]
    given: Given,
    /// A container: name or id.
    #[arg(required_unless_present = "project", conflicts_with = "project")]
    container: Option<String>,
    /// Every container of this compose project.
    #[arg(long)]
    project: Option<String>,
    /// The service: its name in the target, or APP/SERVICE with their ids. Without it the service that is called as the
    /// container is.
    #[arg(long, conflicts_with = "project")]
    service: Option<String>,
    /// Only say what would be done.
    #[arg(long)]
    dry_run: bool,
    /// Do it; without this it is only said.
    #[arg(long, conflicts_with = "dry_run")]
    yes: bool,
}

/// Shows what would be claimed, and claims it where that is wanted.
pub(super) async fn adopt(given: &Adopt, json: bool) -> Result<(), Failure> {
    let config = given.given.load()?;
    let state = StateDir::open(&config.state_dir)?;
    let strangers = strangers(&config, given).await?;
    let wanted = wanted(&state)?;
    // Held until the claims are written: the agent writes them too.
    let _guard = state.guard(state::CLAIMS)?;
    let mut claims = state
        .read::<Claims>(state::CLAIMS)?
        .map(|kept| kept.value)
        .unwrap_or_default();
    let mut proposals = Vec::new();
    for stranger in strangers {
        let service = given.service.as_deref();
        let proposal = propose(stranger, service, wanted.as_ref(), &claims)?;
        claims.insert(proposal.stranger.id.clone(), proposal.claim.clone());
        proposals.push(proposal);
    }
    show(&proposals, given.yes, json).map_err(Failure::System)?;
    if given.yes {
        state.write(state::CLAIMS, &claims)?;
    } else if !given.dry_run {
        return Err(Failure::Unasked);
    }
    Ok(())
}

async fn strangers(config: &Config, given: &Adopt) -> Result<Vec<Stranger>, Failure> {
    let address = config.engine.address.parse();
    let engine = Engine::new(address.map_err(|error| Failure::Engine(format!("{error}")))?);
    let away = |error: windlass_engine::Error| Failure::Engine(error.to_string());
    let (ids, missing) = match (&given.container, &given.project) {
        (Some(container), _) => (
            vec![container.clone()],
            format!("the engine has no container {container}"),
        ),
        (None, Some(project)) => {
            let label = format!("{COMPOSE_PROJECT}={project}");
            (
                engine.list(&[label]).await.map_err(away)?,
                format!("the engine has no container of a compose project {project}"),
            )
        }
        (None, None) => (Vec::new(), "no container is named".to_owned()),
    };
    let mut found = Vec::new();
    for id in ids {
        found.extend(engine.inspect(&id).await.map_err(away)?.map(stranger));
    }
    if found.is_empty() {
        return Err(Failure::NotFound(missing));
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

fn stranger(found: Found) -> Stranger {
    Stranger {
        id: found.id,
        name: found.name,
        image: found.image,
        labels: found.labels,
    }
}

fn wanted(state: &StateDir) -> Result<Option<Wanted>, Failure> {
    let target = state.read::<Target>(state::TARGET)?;
    Ok(target.map(|kept| Wanted::read(&kept.value.state, kept.value.version)))
}

fn show(proposals: &[Proposal], done: bool, json: bool) -> std::io::Result<()> {
    let mut text = String::new();
    if json {
        let list: Vec<_> = proposals
            .iter()
            .map(|p| {
                json!({
                    "container": p.stranger.id, "name": p.stranger.name,
                    "service": p.claim.service, "image": p.claim.image,
                    "notes": p.notes, "claimed": done,
                })
            })
            .collect();
        text = format!("{:#}\n", json!(list));
    } else {
        for proposal in proposals {
            let id = &proposal.stranger.id;
            text.push_str(&format!(
                "{} ({}) {} service {}: left alone until the service changes\n",
                proposal.stranger.name,
                id.get(..12).unwrap_or(id),
                if done { "is" } else { "would be" },
                proposal.claim.service,
            ));
            for note in &proposal.notes {
                text.push_str(&format!("  {note}\n"));
            }
        }
    }
    std::io::stdout().write_all(text.as_bytes())
}

impl From<NotTaken> for Failure {
    fn from(not_taken: NotTaken) -> Self {
        Self::Refused(not_taken.to_string())
    }
}
