//! `windlass hold`, `holds` and `unhold`.

use crate::cli::Hold;
use crate::exit::{Exit, Failure};
use crate::lookup;
use crate::output::{Out, Table};
use crate::times::{relative, relative_or_dash};
use chrono::Utc;
use windlass_client::Client;
use windlass_types::api::{HoldState, HoldView, NewHold};
use windlass_types::ids::HoldId;
use windlass_types::image::Repository;

/// `windlass hold WHAT`: a policy by name or id, else a repository.
pub(crate) async fn hold(client: &Client, given: Hold, out: &mut Out) -> Result<(), Failure> {
    let policy = match lookup::policy(client, &given.what).await {
        Ok(policy) => Some(policy.id),
        Err(failure) if failure.exit == Exit::NotFound => None,
        Err(failure) => return Err(failure),
    };
    let repository = match policy {
        Some(_) => None,
        // A name alone could be a repository of Docker Hub, but is a mistyped policy more likely.
        None if !given.what.contains('/') => {
            return Err(Failure::not_found(format!(
                "there is no policy {:?}; a repository is written with its registry, as in docker.io/library/nginx",
                given.what
            )));
        }
        None => Some(given.what.parse::<Repository>().map_err(|error| {
            Failure::usage(format!("{} is no repository: {error}", given.what))
        })?),
    };
    let new = NewHold {
        policy_id: policy,
        repository,
        reason: given.reason,
        ends_at: given.until,
    };
    one(&client.hold(&new).await?, out)
}

/// `windlass holds`.
pub(crate) async fn list(
    client: &Client,
    state: Option<HoldState>,
    out: &mut Out,
) -> Result<(), Failure> {
    let rows = lookup::all(usize::MAX, |page| async move {
        client.holds(state, &page).await
    })
    .await?;
    if out.is_json() {
        return out.json(&rows);
    }
    let names = names(client).await?;
    out.table(&table(&rows, &names), "no holds")
}

/// `windlass unhold ID`.
pub(crate) async fn unhold(
    client: &Client,
    id: HoldId,
    reason: &str,
    out: &mut Out,
) -> Result<(), Failure> {
    one(&client.lift_hold(id, reason).await?, out)
}

type Names = Vec<(windlass_types::ids::PolicyId, String)>;

async fn names(client: &Client) -> Result<Names, Failure> {
    let policies = lookup::policies(client).await?;
    Ok(policies
        .into_iter()
        .map(|policy| (policy.id, policy.spec.name))
        .collect())
}

fn one(view: &HoldView, out: &mut Out) -> Result<(), Failure> {
    if out.is_json() {
        return out.json(view);
    }
    out.table(&table(std::slice::from_ref(view), &Names::new()), "")
}

fn table(rows: &[HoldView], names: &Names) -> Table {
    let now = Utc::now();
    let mut table = Table::new(&["id", "holds", "state", "since", "until", "by", "why"]);
    for row in rows {
        let hold = &row.hold;
        let what = match (&hold.repository, hold.policy_id) {
            (Some(repository), _) => repository.to_string(),
            (None, Some(id)) => {
                let known = names.iter().find(|(known, _)| *known == id);
                known.map_or_else(|| format!("policy {id}"), |(_, name)| name.clone())
            }
            (None, None) => String::new(),
        };
        table.row([
            // Whole, so that it can be given to `unhold`.
            hold.id.to_string(),
            what,
            row.state.to_string(),
            relative(hold.created_at, now),
            relative_or_dash(hold.lifted_at.or(hold.ends_at), now),
            hold.created_by.clone(),
            hold.reason.clone(),
        ]);
    }
    table
}
